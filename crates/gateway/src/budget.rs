//! How much of a venue's rate limits is left, and who may have it. Venues count request weight by source address and
//! orders by account; whoever goes on after a 429 is banned (418). So egress counts what it sent and what the venue says
//! it counted (which shows strangers on the same address too), keeps a reserve for cancels, reducing orders, operators
//! and the gate's own reads, sheds public calls and reads first, gives each strategy its share, and stops short.
//!
//! Source: Binance spot API, "Limits" (`X-MBX-USED-WEIGHT-1M`, `X-MBX-ORDER-COUNT-10S`, `Retry-After`). Beside spot (`/sapi`) each
//! endpoint has limits of its own: 12,000 a minute for an address, or 180,000 for an account. The catalog writes a weight of
//! the second kind as its fifteenth, so that both are counted against 12,000.
//! OKX counts each call by itself over two seconds, for a user or an instrument; its weights are parts of the same 12,000.

use crate::table::Table;
use portcullis_model::id::{AccountId, StrategyId};
use portcullis_model::wire::Lane;
use portcullis_room::control::VenueLimits;

pub(crate) const MINUTE_US: u64 = 60_000_000;
const TEN_SECONDS_US: u64 = 10_000_000;
/// A report of the venue counts until its minute is over, and this much longer for clocks that differ.
const REPORT_GRACE_US: u64 = 1_000_000;
/// Without a `Retry-After`, how long a 429 and a 418 hold.
const HOLD_429_US: u64 = MINUTE_US;
const HOLD_418_US: u64 = 2 * MINUTE_US;
/// A `Retry-After` beyond three days is read as three days, the longest ban the venue documents.
const HOLD_MAX_US: u64 = 3 * 24 * 3600 * 1_000_000;
/// What the venue grants an address each minute for an endpoint that it counts apart.
const APART_WEIGHT_PER_MINUTE: u32 = 12_000;
/// Until the venue has answered once, a run of egress sends this many thousandths of a limit at most: of what the run before
/// it sent last it knows all but the last second.
const UNHEARD: u64 = 250;
/// Thousandths of the limit below which any strategy may use more than its share.
const SPARE: u64 = 500;
/// Strategies and accounts that are counted apart; the rest share one count. Bounded by the signer, this is a backstop.
const KEYS_MAX: usize = 65_536;

/// Up to how many thousandths of the limit a lane may go. What is above belongs to the lanes before it.
fn ceiling(lane: Lane) -> u64 {
    match lane {
        Lane::Operator | Lane::Outcome | Lane::Cancel => 970,
        Lane::Order => 900,
        Lane::Read => 800,
        Lane::Public => 700,
    }
}

/// Why a request was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// The venue asked to wait until this boot-clock time (429, 418).
    Banned { until_us: u64 },
    /// The venue's weight for this address is used up to this lane's ceiling.
    Weight,
    /// The strategy has had its share of the weight.
    Share,
    /// The account's order rate is used up.
    OrderRate,
}

impl Hold {
    /// The word in outcomes, metrics and log lines.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Banned { .. } => "venue_asked_to_wait",
            Self::Weight => "venue_weight",
            Self::Share => "venue_weight_share",
            Self::OrderRate => "venue_order_rate",
        }
    }
}

/// A count over the last `span`, in 16 buckets: never less than the true count over the venue's own window.
#[derive(Debug, Clone)]
struct Sliding {
    buckets: [u32; Self::BUCKETS + 1],
    /// Number of the newest bucket.
    newest: u64,
    sum: u64,
}

impl Sliding {
    const BUCKETS: usize = 16;

    fn new() -> Self {
        Self {
            buckets: [0; Self::BUCKETS + 1],
            newest: 0,
            sum: 0,
        }
    }

    fn advance(&mut self, now_us: u64, span_us: u64) {
        let bucket = now_us / (span_us / Self::BUCKETS as u64).max(1);
        let steps = bucket
            .saturating_sub(self.newest)
            .min(self.buckets.len() as u64);
        for step in 1..=steps {
            let at = ((self.newest + step) % self.buckets.len() as u64) as usize;
            if let Some(slot) = self.buckets.get_mut(at) {
                self.sum -= u64::from(*slot);
                *slot = 0;
            }
        }
        if steps == self.buckets.len() as u64 {
            self.sum = 0;
            self.buckets = [0; Self::BUCKETS + 1];
        }
        self.newest = self.newest.max(bucket);
    }

    fn add(&mut self, weight: u32) {
        let at = (self.newest % self.buckets.len() as u64) as usize;
        if let Some(slot) = self.buckets.get_mut(at) {
            *slot = slot.saturating_add(weight);
            self.sum += u64::from(weight);
        }
    }
}

impl Sliding {
    /// Takes back what was added and did not happen, from the newest on: what is left counts for no longer than it should.
    fn take_back(&mut self, weight: u32) {
        let mut left = weight;
        for step in 0..self.buckets.len() as u64 {
            let Some(bucket) = self.newest.checked_sub(step) else {
                return;
            };
            let at = (bucket % self.buckets.len() as u64) as usize;
            if let Some(slot) = self.buckets.get_mut(at) {
                let taken = left.min(*slot);
                *slot -= taken;
                self.sum -= u64::from(taken);
                left -= taken;
            }
            if left == 0 {
                return;
            }
        }
    }
}

/// What the venue last said it had counted.
#[derive(Debug, Clone, Copy, Default)]
struct Report {
    used: u64,
    until_us: u64,
}

impl Report {
    fn at(self, now_us: u64) -> u64 {
        if now_us < self.until_us { self.used } else { 0 }
    }
}

#[derive(Debug)]
struct Orders {
    sent: Sliding,
    reported: Report,
}

/// What is asked of the budget for one request.
#[derive(Debug, Clone, Copy)]
pub struct Ask {
    pub lane: Lane,
    pub strategy: StrategyId,
    pub account: Option<AccountId>,
    pub weight: u32,
    pub orders: u32,
    /// Thousandths of the weight that are this strategy's.
    pub share: u16,
}

/// One venue host's limits, as seen from this machine's address.
#[derive(Debug)]
pub struct Budget {
    weight_per_minute: u64,
    orders_per_10s: u64,
    sent: Sliding,
    /// What runs before this one sent.
    before: Sliding,
    under_way: u64,
    reported: Report,
    banned_until_us: u64,
    /// The venue has answered this run.
    heard: bool,
    strategies: Table<Sliding, StrategyId>,
    accounts: Table<Orders, AccountId>,
}

impl Budget {
    fn new(weight_per_minute: u32, orders_per_10s: u32) -> Self {
        Self {
            weight_per_minute: weight_per_minute.into(),
            orders_per_10s: orders_per_10s.into(),
            sent: Sliding::new(),
            before: Sliding::new(),
            under_way: 0,
            reported: Report::default(),
            banned_until_us: 0,
            heard: false,
            strategies: Table::default(),
            accounts: Table::default(),
        }
    }

    /// Other limits for the same counts: the release changed.
    pub fn set_limits(&mut self, weight_per_minute: u32, orders_per_10s: u32) {
        self.weight_per_minute = weight_per_minute.into();
        self.orders_per_10s = orders_per_10s.into();
    }

    /// Takes what a request needs, or says why it must not go. Times are boot clock, microseconds.
    pub fn take(&mut self, ask: Ask, now_us: u64) -> Result<(), Hold> {
        if now_us < self.banned_until_us {
            return Err(Hold::Banned {
                until_us: self.banned_until_us,
            });
        }
        let weight = u64::from(ask.weight);
        let used = self.used(now_us);
        // One request always goes first: the venue is heard by its answer, and some weigh half a minute.
        let is_unheard = !self.heard
            && self.sent.sum > 0
            && (self.sent.sum + weight) * 1000 > self.weight_per_minute * UNHEARD;
        if is_unheard || (used + weight) * 1000 > self.weight_per_minute * ceiling(ask.lane) {
            return Err(Hold::Weight);
        }
        let strategy = bounded(
            &mut self.strategies,
            ask.strategy,
            StrategyId(u64::MAX),
            Sliding::new,
        );
        strategy.advance(now_us, MINUTE_US);
        let own = (strategy.sum + weight) * 1000;
        let reserved = matches!(ask.lane, Lane::Operator | Lane::Outcome | Lane::Cancel);
        let spare = (used + weight) * 1000 <= self.weight_per_minute * SPARE;
        if !reserved && !spare && own > self.weight_per_minute * u64::from(ask.share) {
            return Err(Hold::Share);
        }
        if let (Some(account), 1..) = (ask.account, ask.orders) {
            let fresh = || Orders {
                sent: Sliding::new(),
                reported: Report::default(),
            };
            let orders = bounded(&mut self.accounts, account, AccountId(u64::MAX), fresh);
            orders.sent.advance(now_us, TEN_SECONDS_US);
            let so_far = orders.sent.sum.max(orders.reported.at(now_us));
            if (so_far + u64::from(ask.orders)) * 1000 > self.orders_per_10s * ceiling(ask.lane) {
                return Err(Hold::OrderRate);
            }
            orders.sent.add(ask.orders);
        }
        strategy.add(ask.weight);
        self.sent.add(ask.weight);
        self.under_way += weight;
        Ok(())
    }

    /// The answer to a request taken before has come, or will not come.
    pub fn finished(&mut self, weight: u32) {
        self.under_way = self.under_way.saturating_sub(weight.into());
        // Until the venue reports again, it has counted this beyond what it reported.
        self.reported.used = self.reported.used.saturating_add(weight.into());
    }

    /// A request taken before has not left: it counts for nothing.
    pub fn returned(
        &mut self,
        strategy: StrategyId,
        account: Option<AccountId>,
        weight: u32,
        orders: u32,
        now_us: u64,
    ) {
        self.under_way = self.under_way.saturating_sub(weight.into());
        self.sent.advance(now_us, MINUTE_US);
        self.sent.take_back(weight);
        if let Some(own) = self.strategies.get_mut(&strategy) {
            own.advance(now_us, MINUTE_US);
            own.take_back(weight);
        }
        if let Some(own) = account.and_then(|account| self.accounts.get_mut(&account)) {
            own.sent.advance(now_us, TEN_SECONDS_US);
            own.sent.take_back(orders);
        }
    }

    /// The venue's own counts, from an answer's headers. `wall_us` is the time of day: the venue's minute starts with it.
    pub fn reported(
        &mut self,
        weight: Option<u64>,
        orders: Option<(AccountId, u64)>,
        now_us: u64,
        wall_us: u64,
    ) {
        self.heard = true;
        if let Some(used) = weight {
            self.reported = Report {
                used,
                until_us: now_us + MINUTE_US - wall_us % MINUTE_US + REPORT_GRACE_US,
            };
        }
        if let Some((account, used)) = orders
            && let Some(orders) = self.accounts.get_mut(&account)
        {
            let until_us = now_us + TEN_SECONDS_US - wall_us % TEN_SECONDS_US + REPORT_GRACE_US;
            orders.reported = Report { used, until_us };
        }
    }

    /// The venue answered 429 or 418: nothing goes out until it says so.
    pub fn refused(&mut self, status: u16, retry_after_s: Option<u64>, now_us: u64) {
        let hold = match (retry_after_s, status) {
            (Some(seconds), _) => seconds
                .saturating_mul(1_000_000)
                .clamp(1_000_000, HOLD_MAX_US),
            (None, 418) => HOLD_418_US,
            (None, _) => HOLD_429_US,
        };
        self.banned_until_us = self.banned_until_us.max(now_us.saturating_add(hold));
    }

    /// What the run of egress before this one knew: how long the venue asked to wait, and the weight that was used at some
    /// moment. All of that weight counts as used then, which is never too early to forget it.
    pub fn recall(&mut self, before: &VenueLimits, now_us: u64) {
        self.banned_until_us = before
            .banned_until_us
            .min(now_us.saturating_add(HOLD_MAX_US));
        self.before.advance(before.at_us.min(now_us), MINUTE_US);
        self.before.add(before.weight_used);
    }

    /// Weight used now: the larger of our own count and the venue's, and what is under way.
    pub fn used(&mut self, now_us: u64) -> u64 {
        self.sent.advance(now_us, MINUTE_US);
        self.before.advance(now_us, MINUTE_US);
        (self.sent.sum + self.before.sum).max(self.reported.at(now_us) + self.under_way)
    }

    #[must_use]
    pub fn banned_until_us(&self) -> u64 {
        self.banned_until_us
    }

    /// Forgets strategies that sent nothing for a minute. Called from the room's timer.
    pub fn tidy(&mut self, now_us: u64) {
        self.strategies.retain(|_, sliding| {
            sliding.advance(now_us, MINUTE_US);
            sliding.sum > 0
        });
        self.accounts.retain(|_, orders| {
            orders.sent.advance(now_us, TEN_SECONDS_US);
            orders.sent.sum > 0 || orders.reported.at(now_us) > 0
        });
    }
}

/// The budgets of one host: what shares one limit, and each endpoint that the venue counts apart.
#[derive(Debug)]
pub struct Budgets {
    shared: Budget,
    /// By position in the catalog, which bounds their number.
    apart: Table<Budget, u16>,
    /// The venue asked for a pause of all that is counted apart.
    apart_until_us: u64,
    orders_per_10s: u32,
}

impl Budgets {
    #[must_use]
    pub fn new(weight_per_minute: u32, orders_per_10s: u32) -> Self {
        Self {
            shared: Budget::new(weight_per_minute, orders_per_10s),
            apart: Table::default(),
            apart_until_us: 0,
            orders_per_10s,
        }
    }

    /// Other limits for the same counts: the release changed.
    pub fn set_limits(&mut self, weight_per_minute: u32, orders_per_10s: u32) {
        self.orders_per_10s = orders_per_10s;
        self.shared.set_limits(weight_per_minute, orders_per_10s);
        for budget in self.apart.values_mut() {
            budget.set_limits(APART_WEIGHT_PER_MINUTE, orders_per_10s);
        }
    }

    /// What the next run must know of this host. Limits that are counted apart are not told one by one.
    pub fn limits(&mut self, host: &str, now_us: u64) -> VenueLimits {
        VenueLimits {
            host: host.to_owned(),
            banned_until_us: self.shared.banned_until_us.max(self.apart_until_us),
            weight_used: u32::try_from(self.shared.used(now_us)).unwrap_or(u32::MAX),
            at_us: now_us,
        }
    }

    /// What the run before this one told. Which limits the venue asked to wait for is not said: all wait.
    pub fn recall(&mut self, before: &VenueLimits, now_us: u64) {
        self.shared.recall(before, now_us);
        self.apart_until_us = self.apart_until_us.max(self.shared.banned_until_us);
    }

    /// The budget of an endpoint that is counted apart, or the shared one.
    pub fn of(&mut self, apart: Option<u16>) -> &mut Budget {
        let Some(endpoint) = apart else {
            return &mut self.shared;
        };
        let (orders, until_us) = (self.orders_per_10s, self.apart_until_us);
        self.apart.entry(endpoint).or_insert_with(|| {
            let mut fresh = Budget::new(APART_WEIGHT_PER_MINUTE, orders);
            fresh.banned_until_us = until_us;
            fresh
        })
    }

    /// The venue answered 429 or 418. Whatever is counted apart waits together, since the venue counts refused calls by
    /// address; a 418 is of the address, whatever it was earned with.
    pub fn refused(
        &mut self,
        apart: Option<u16>,
        status: u16,
        retry_after_s: Option<u64>,
        now_us: u64,
    ) {
        if apart.is_none() || status == 418 {
            self.shared.refused(status, retry_after_s, now_us);
        }
        if apart.is_some() || status == 418 {
            let mut longest = Budget::new(0, 0);
            longest.refused(status, retry_after_s, now_us);
            self.apart_until_us = self.apart_until_us.max(longest.banned_until_us);
            for budget in self.apart.values_mut() {
                budget.banned_until_us = budget.banned_until_us.max(self.apart_until_us);
            }
        }
    }

    /// Forgets what was not used for a minute. Called from the room's timer.
    pub fn tidy(&mut self, now_us: u64) {
        self.shared.tidy(now_us);
        self.apart.retain(|_, budget| {
            budget.tidy(now_us);
            budget.used(now_us) > 0
        });
    }
}

/// The entry of `key`, or the one that all share once there are [`KEYS_MAX`].
fn bounded<K: std::hash::Hash + Eq, V>(
    map: &mut Table<V, K>,
    key: K,
    shared: K,
    new: impl FnOnce() -> V,
) -> &mut V {
    let key = if map.len() >= KEYS_MAX && !map.contains_key(&key) {
        shared
    } else {
        key
    };
    map.entry(key).or_insert_with(new)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: u64 = 43_200_000_000;

    fn ask(lane: Lane, strategy: u64, weight: u32) -> Ask {
        Ask {
            lane,
            strategy: StrategyId(strategy),
            account: Some(AccountId(1)),
            weight,
            orders: 0,
            share: 200,
        }
    }

    /// How many requests of `weight` pass at `now`.
    fn passes(budget: &mut Budget, ask: Ask, now: u64) -> u64 {
        let mut n = 0;
        while n < 100_000 && budget.take(ask, now).is_ok() {
            budget.finished(ask.weight);
            n += 1;
        }
        n
    }

    #[test]
    fn a_flood_of_reads_leaves_orders_and_cancels_their_part() {
        let mut budget = Budget::new(6000, 100);
        budget.reported(None, None, NOON, NOON);
        assert_eq!(
            passes(&mut budget, ask(Lane::Public, 1, 1), NOON),
            3000,
            "beyond the half each has its share"
        );
        assert_eq!(
            passes(&mut budget, ask(Lane::Read, 2, 1), NOON),
            1200,
            "a share of 200 thousandths"
        );
        assert_eq!(
            passes(&mut budget, ask(Lane::Read, 3, 1), NOON),
            600,
            "reads end at 800 thousandths"
        );
        assert_eq!(
            passes(&mut budget, ask(Lane::Order, 4, 1), NOON),
            600,
            "orders end at 900"
        );
        assert_eq!(
            passes(&mut budget, ask(Lane::Cancel, 4, 1), NOON),
            420,
            "cancels end at 970"
        );
        assert_eq!(
            budget.take(ask(Lane::Cancel, 4, 1), NOON),
            Err(Hold::Weight)
        );
        assert!(
            budget
                .take(ask(Lane::Public, 1, 1), NOON + MINUTE_US + 4_000_000)
                .is_ok(),
            "a minute later"
        );
    }

    #[test]
    fn a_heavy_call_is_not_held_back_for_ever() {
        let mut budgets = Budgets::new(6000, 100);
        let heavy = ask(Lane::Read, 1, 6000);
        assert!(budgets.of(Some(1)).take(heavy, NOON).is_ok());
        assert!(
            budgets
                .of(Some(1))
                .take(ask(Lane::Read, 1, 1), NOON)
                .is_err()
        );
    }

    #[test]
    fn endpoints_beside_spot_have_limits_of_their_own_and_wait_together() {
        let mut budgets = Budgets::new(6000, 100);
        for endpoint in [None, Some(1), Some(2)] {
            budgets.of(endpoint).reported(None, None, NOON, NOON);
        }
        let long = ask(Lane::Read, 1, 1200);
        assert_eq!(passes(budgets.of(Some(1)), long, NOON), 5);
        for endpoint in [None, Some(2), Some(3)] {
            assert!(
                budgets.of(endpoint).take(long, NOON).is_ok(),
                "{endpoint:?}"
            );
        }
        let late = NOON + 1_000_000;
        budgets.refused(Some(1), 429, Some(2), NOON);
        assert!(budgets.of(None).take(ask(Lane::Read, 1, 1), late).is_ok());
        for endpoint in [1, 2, 4] {
            assert!(
                budgets.of(Some(endpoint)).banned_until_us() > late,
                "{endpoint}"
            );
        }
        budgets.refused(Some(1), 418, Some(60), NOON);
        assert!(budgets.of(None).banned_until_us() > late);
        for (endpoint, weight) in [(1, 6000), (2, 1200), (3, 1200)] {
            budgets.of(Some(endpoint)).finished(weight);
        }
        budgets.tidy(NOON + 3 * MINUTE_US);
        assert!(budgets.apart.is_empty());
    }

    #[test]
    fn a_run_that_has_heard_nothing_yet_goes_slowly() {
        let mut budget = Budget::new(6000, 100);
        assert_eq!(passes(&mut budget, ask(Lane::Cancel, 1, 1), NOON), 1500);
        budget.reported(Some(5800), None, NOON, NOON);
        assert_eq!(passes(&mut budget, ask(Lane::Cancel, 1, 1), NOON), 20);
    }

    #[test]
    fn what_the_run_before_used_still_counts() {
        let mut budget = Budget::new(6000, 100);
        let before = |banned_until_us| VenueLimits {
            host: "h".to_owned(),
            banned_until_us,
            weight_used: 5000,
            at_us: NOON - 30_000_000,
        };
        budget.recall(&before(NOON + 5_000_000), NOON);
        assert_eq!(
            budget.take(ask(Lane::Operator, 0, 1), NOON + 4_999_999),
            Err(Hold::Banned {
                until_us: NOON + 5_000_000
            })
        );
        let now = NOON + 5_000_000;
        assert_eq!(budget.take(ask(Lane::Read, 1, 1), now), Err(Hold::Weight));
        assert_eq!(passes(&mut budget, ask(Lane::Cancel, 1, 1), now), 820);
        // Its minute is over; the venue has not answered this run.
        let later = now + 30_000_000;
        assert_eq!(passes(&mut budget, ask(Lane::Cancel, 1, 1), later), 680);
        budget.recall(&before(u64::MAX), NOON);
        assert_eq!(budget.banned_until_us(), NOON + HOLD_MAX_US);
    }

    #[test]
    fn a_stranger_on_the_same_address_is_seen_in_the_venues_count() {
        let mut budget = Budget::new(6000, 100);
        budget.reported(Some(5000), None, NOON, NOON);
        assert_eq!(budget.take(ask(Lane::Read, 1, 1), NOON), Err(Hold::Weight));
        assert!(
            budget.take(ask(Lane::Order, 1, 1), NOON).is_ok(),
            "an order within its share"
        );
        assert!(budget.take(ask(Lane::Cancel, 1, 1), NOON).is_ok());
        budget.reported(Some(5900), None, NOON, NOON);
        assert_eq!(
            budget.take(ask(Lane::Cancel, 1, 1), NOON),
            Err(Hold::Weight)
        );
        assert!(
            budget
                .take(ask(Lane::Read, 1, 1), NOON + MINUTE_US + REPORT_GRACE_US)
                .is_ok(),
            "the venue's next minute"
        );
    }

    #[test]
    fn what_is_under_way_counts_before_the_venue_reports_it() {
        let mut budget = Budget::new(1000, 100);
        budget.reported(Some(900), None, NOON, NOON);
        assert!(budget.take(ask(Lane::Cancel, 1, 50), NOON).is_ok());
        assert_eq!(
            budget.take(ask(Lane::Cancel, 1, 50), NOON),
            Err(Hold::Weight)
        );
        budget.finished(50);
        assert_eq!(
            budget.take(ask(Lane::Cancel, 1, 50), NOON),
            Err(Hold::Weight),
            "it was counted, whether its answer came or not"
        );
        budget.reported(Some(910), None, NOON, NOON);
        assert!(budget.take(ask(Lane::Cancel, 1, 50), NOON).is_ok());
    }

    #[test]
    fn what_has_not_left_is_given_back() {
        let mut budget = Budget::new(1000, 10);
        budget.reported(None, None, NOON, NOON);
        let order = Ask {
            orders: 1,
            ..ask(Lane::Cancel, 1, 100)
        };
        for _ in 0..50 {
            budget.take(order, NOON).unwrap();
            budget.returned(order.strategy, order.account, 100, 1, NOON);
        }
        assert_eq!(budget.used(NOON), 0);
        assert_eq!(passes(&mut budget, order, NOON), 9);
    }

    #[test]
    fn nothing_goes_out_while_the_venue_asks_to_wait() {
        let mut budget = Budget::new(6000, 100);
        budget.refused(429, Some(7), NOON);
        let held = Err(Hold::Banned {
            until_us: NOON + 7_000_000,
        });
        assert_eq!(
            budget.take(ask(Lane::Operator, 0, 1), NOON + 6_999_999),
            held
        );
        assert!(
            budget
                .take(ask(Lane::Operator, 0, 1), NOON + 7_000_000)
                .is_ok()
        );
        budget.refused(418, None, NOON);
        assert_eq!(budget.banned_until_us(), NOON + HOLD_418_US);
        budget.refused(429, Some(u64::MAX), NOON);
        assert_eq!(budget.banned_until_us(), NOON + HOLD_MAX_US);
    }

    #[test]
    fn orders_are_counted_by_account() {
        let mut budget = Budget::new(1_000_000, 100);
        budget.reported(None, None, NOON, NOON);
        let order = |account| Ask {
            account: Some(AccountId(account)),
            orders: 1,
            ..ask(Lane::Order, 1, 1)
        };
        assert_eq!(passes(&mut budget, order(1), NOON), 90);
        assert_eq!(budget.take(order(1), NOON), Err(Hold::OrderRate));
        assert_eq!(passes(&mut budget, order(2), NOON), 90);
        assert!(
            budget
                .take(order(1), NOON + TEN_SECONDS_US + 1_000_000)
                .is_ok()
        );
        budget.reported(
            None,
            Some((AccountId(1), 100)),
            NOON + 12_000_000,
            NOON + 12_000_000,
        );
        assert_eq!(
            budget.take(order(1), NOON + 12_000_000),
            Err(Hold::OrderRate),
            "the venue saw others' orders"
        );
    }

    #[test]
    fn the_sliding_count_forgets_only_what_is_wholly_out() {
        let mut sliding = Sliding::new();
        for second in 0..120u64 {
            sliding.advance(second * 1_000_000, MINUTE_US);
            sliding.add(1);
            assert!(sliding.sum > second.min(59), "at {second}");
            assert!(sliding.sum <= 65, "at {second}: {}", sliding.sum);
        }
        sliding.advance(1_000_000_000, MINUTE_US);
        assert_eq!(sliding.sum, 0);
    }
}
