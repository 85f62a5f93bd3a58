//! Asks the venue for every order whose end is not known, as strategy `gate`, with the read key: so a program that polls
//! nothing is not refused for fills that the venue would report, and an order whose answer was lost is found again.
//!
//! Pure: it says what to ask, and is told what came of it. Open orders are asked for by market in one call; one that is
//! missing there, or whose fate is unknown, is asked for by itself. Nothing new widens the time between, up to a bound.

use portcullis_model::action::{MarketKind, Symbol};
use portcullis_model::id::{AccountId, OrderId, Timestamp};
use portcullis_model::report::{OrderStatus, Report};
use portcullis_model::state::{Called, OpenOrder, OrderNumber, State};
use portcullis_venues::Question;
use std::collections::{BTreeMap, BTreeSet};

/// Between two looks at one market, at least and at most.
pub const MARKET_EVERY_US: (u64, u64) = (1_000_000, 10_000_000);
/// Between two questions for one order, at least and at most.
pub const ORDER_EVERY_US: (u64, u64) = (1_000_000, 60_000_000);
/// An order may still arrive at the venue until its window has passed: nobody asks before this, since "no such order"
/// would then not be the end of it. Twice the longest window of an order, and a second.
pub const SETTLED_AFTER_US: u64 = 3_000_000;
/// An order that the venue has accepted is looked after from this on: who quotes and cancels faster needs no look.
pub const LOOK_AFTER_US: u64 = 1_000_000;
/// Between two questions for many orders of one market, at least and at most.
pub const ORDERS_EVERY_US: (u64, u64) = (1_000_000, 10_000_000);
/// From so many orders of one market on that each want an answer, one question asks for all of them.
pub const TOGETHER_MIN: usize = 4;
/// Orders in the answer to it. A full answer is not the last word: who quotes faster than so many in a second would leave us
/// ever further behind, so the next question follows at once.
const TOGETHER_MAX: u32 = 1_000;
/// Request weight that the resolver may use in a minute, of the 6,000 that Binance grants an address: enough for one
/// question for many orders a second, and looks beside it. While nothing fills unseen it uses a small part.
pub const WEIGHT_PER_MINUTE: u32 = 1_800;
/// Questions under way at once.
pub const ASKED_MAX: usize = 8;
/// Weight of one look at a market, of one order, and of many orders.
const WEIGHTS: (u32, u32, u32) = (6, 4, 20);

/// What to ask.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ask {
    Market {
        account: AccountId,
        market: MarketKind,
        symbol: Symbol,
    },
    Order {
        account: AccountId,
        number: OrderNumber,
        /// Where what is done stands, since the answer before did not show it.
        done: bool,
    },
    /// The fate of all orders of a market from one number on.
    Orders {
        account: AccountId,
        market: MarketKind,
        symbol: Symbol,
        from: u64,
    },
}

impl Ask {
    #[must_use]
    pub fn account(&self) -> AccountId {
        match self {
            Self::Market { account, .. }
            | Self::Order { account, .. }
            | Self::Orders { account, .. } => *account,
        }
    }

    /// The order asked for by itself.
    #[must_use]
    pub fn order(&self) -> Option<OrderNumber> {
        match self {
            Self::Order { number, .. } => Some(*number),
            Self::Market { .. } | Self::Orders { .. } => None,
        }
    }

    /// What is asked, and of which kind of market.
    #[must_use]
    pub fn question<'a>(&'a self, state: &'a State) -> Option<(MarketKind, Question<'a>)> {
        Some(match self {
            Self::Market { market, symbol, .. } => {
                let algo = false;
                (*market, Question::OpenOrders { symbol, algo })
            }
            Self::Order { number, done, .. } => {
                let order = state.orders.get(number)?;
                // What has become another order is asked for as that one.
                let question = Question::Order {
                    symbol: &order.symbol,
                    algo: order.algo && order.became.is_none(),
                    order_id: order.became.or(order.order_id),
                    client: order.client_order_id.as_ref(),
                    done: *done,
                };
                (order.market, question)
            }
            Self::Orders {
                market,
                symbol,
                from,
                ..
            } => {
                let question = Question::OrdersFrom {
                    symbol,
                    number: *from,
                    limit: TOGETHER_MAX,
                };
                (*market, question)
            }
        })
    }

    /// What it is paced by: where its orders begin, and where one is looked for, changes from one time to the next.
    fn key(&self) -> Self {
        match self {
            Self::Order {
                account, number, ..
            } => Self::Order {
                account: *account,
                number: *number,
                done: false,
            },
            Self::Orders {
                account,
                market,
                symbol,
                ..
            } => Self::Orders {
                account: *account,
                market: *market,
                symbol: symbol.clone(),
                from: 0,
            },
            other => other.clone(),
        }
    }

    fn weight(&self) -> u32 {
        match self {
            Self::Market { .. } => WEIGHTS.0,
            Self::Order { .. } => WEIGHTS.1,
            Self::Orders { .. } => WEIGHTS.2,
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Pace {
    next: Timestamp,
    every_us: u64,
}

/// What is asked, and when.
#[derive(Debug, Default)]
pub struct Resolver {
    paces: BTreeMap<Ask, Pace>,
    asked: BTreeSet<Ask>,
    /// Orders that a whole list of open orders did not show.
    missing: BTreeSet<OrderNumber>,
    /// Orders that the answer about them alone did not show: the next question is the other one.
    unseen: BTreeSet<OrderNumber>,
    /// When each order was first seen here.
    since: BTreeMap<OrderNumber, Timestamp>,
    minute: (u64, u32),
}

impl Resolver {
    /// What to ask now. Each stays asked until [`Resolver::answered`] or [`Resolver::failed`].
    pub fn due(&mut self, state: &State, now: Timestamp) -> Vec<Ask> {
        self.since
            .retain(|number, _| state.orders.contains_key(number));
        self.missing
            .retain(|number| state.orders.contains_key(number));
        self.unseen
            .retain(|number| state.orders.contains_key(number));
        let mut wanted = BTreeSet::new();
        type Numbered = (OrderNumber, Option<OrderId>);
        let mut alone: BTreeMap<(AccountId, MarketKind, &Symbol), Vec<Numbered>> = BTreeMap::new();
        for (number, order) in &state.orders {
            let since = now.since_us(*self.since.entry(*number).or_insert(now));
            let is_amending = state.is_amending(*number);
            let by_itself = self.alone(number, order, is_amending);
            // What the venue has numbered has arrived there: if it is in doubt, nothing is to be waited for.
            let is_doubted = order.status == OrderStatus::Unknown || self.missing.contains(number);
            let after = match (order.order_id, is_doubted) {
                (Some(_), true) => 0,
                (Some(_), false) => LOOK_AFTER_US,
                (None, _) => SETTLED_AFTER_US,
            };
            if since < after {
                continue;
            }
            if by_itself {
                // A conditional order is numbered elsewhere.
                let id = order.order_id.filter(|_| !order.algo);
                alone
                    .entry((order.account, order.market, &order.symbol))
                    .or_default()
                    .push((*number, id));
            } else {
                wanted.insert(Ask::Market {
                    account: order.account,
                    market: order.market,
                    symbol: order.symbol.clone(),
                });
            }
        }
        for ((account, market, symbol), orders) in alone {
            // Only numbers have an order among themselves.
            let numbered = || {
                orders
                    .iter()
                    .filter_map(|(_, id)| id.and_then(OrderId::number))
            };
            let from = numbered().min().filter(|number| {
                numbered().count() >= TOGETHER_MIN
                    && lists_from(state, account, market, symbol, *number)
            });
            let together = from.is_some();
            if let Some(from) = from {
                wanted.insert(Ask::Orders {
                    account,
                    market,
                    symbol: symbol.clone(),
                    from,
                });
            }
            let each = orders.iter().filter(|(number, id)| {
                // A list settles no amendment.
                !together || id.and_then(OrderId::number).is_none() || state.is_amending(*number)
            });
            wanted.extend(each.map(|(number, _)| Ask::Order {
                account,
                number: *number,
                done: self.unseen.contains(number),
            }));
        }
        let keys: BTreeSet<Ask> = wanted.iter().map(Ask::key).collect();
        self.paces.retain(|ask, _| keys.contains(ask));
        let minute = now.0 / 60_000_000;
        if self.minute.0 != minute {
            self.minute = (minute, 0);
        }
        let mut due = Vec::new();
        let mut ready: Vec<(Timestamp, Ask)> = wanted
            .into_iter()
            .map(|ask| (ask.key(), ask))
            .filter(|(key, _)| !self.asked.contains(key))
            .map(|(key, ask)| {
                let pace = self.paces.get(&key);
                (pace.map_or(Timestamp(0), |pace| pace.next), ask)
            })
            .filter(|(next, _)| *next <= now)
            .collect();
        // The longest waiting first, so that none starves under the weight's bound.
        ready.sort();
        for (_, ask) in ready {
            let weight = ask.weight();
            if self.asked.len() >= ASKED_MAX || self.minute.1 + weight > WEIGHT_PER_MINUTE {
                break;
            }
            self.minute.1 += weight;
            self.asked.insert(ask.key());
            due.push(ask);
        }
        due
    }

    /// An order that the market's list would not tell enough of: of futures it is never the whole, since conditional orders
    /// stand elsewhere.
    fn alone(&self, number: &OrderNumber, order: &OpenOrder, is_amending: bool) -> bool {
        let can_be_named = order.order_id.is_some() || order.client_order_id.is_some();
        can_be_named
            && (order.market != MarketKind::Spot
                || is_amending
                || order.status == OrderStatus::Unknown
                || self.missing.contains(number))
    }

    /// The answer has been folded. `changed`: it told something new.
    pub fn answered(
        &mut self,
        ask: &Ask,
        state: &State,
        reports: &[Report],
        changed: bool,
        now: Timestamp,
    ) {
        self.asked.remove(&ask.key());
        if let Ask::Market {
            account,
            market,
            symbol,
        } = ask
        {
            let whole = reports
                .iter()
                .any(|report| matches!(report, Report::OpenOrdersComplete { .. }));
            if whole {
                let listed: BTreeSet<OrderId> = reports
                    .iter()
                    .filter_map(|report| match report {
                        Report::Order(order) => Some(order.order_id),
                        _ => None,
                    })
                    .collect();
                for (number, order) in &state.orders {
                    let settled = self
                        .since
                        .get(number)
                        .is_some_and(|since| now.since_us(*since) >= SETTLED_AFTER_US);
                    let absent = order.order_id.is_none_or(|id| !listed.contains(&id));
                    let of = order.account == *account && order.market == *market;
                    if of && order.symbol == *symbol && settled && absent {
                        self.missing.insert(*number);
                    }
                }
            }
        } else if let Ask::Order { number, done, .. } = ask {
            self.missing.remove(number);
            let is_seen = reports.iter().any(|it| matches!(it, Report::Order(_)));
            match is_seen || *done {
                true => self.unseen.remove(number),
                false => self.unseen.insert(*number),
            };
        } else {
            for report in reports {
                if let Report::Order(order) = report {
                    let called = Called {
                        market: order.market,
                        symbol: &order.symbol,
                        algo: order.algo,
                        order_id: Some(order.order_id),
                        client: order.client_order_id.as_ref(),
                    };
                    if let Some(number) = state.find(ask.account(), called) {
                        self.missing.remove(&number);
                    }
                }
            }
        }
        self.pace(ask, changed, now);
        let is_full = matches!(ask, Ask::Orders { .. }) && reports.len() >= TOGETHER_MAX as usize;
        if let Some(pace) = self
            .paces
            .get_mut(&ask.key())
            .filter(|_| is_full && changed)
        {
            pace.next = now;
        }
    }

    /// No answer came, or none was asked for.
    pub fn failed(&mut self, ask: &Ask, now: Timestamp) {
        self.asked.remove(&ask.key());
        self.pace(ask, false, now);
    }

    fn pace(&mut self, ask: &Ask, changed: bool, now: Timestamp) {
        let (least, most) = match ask {
            Ask::Market { .. } => MARKET_EVERY_US,
            Ask::Order { .. } => ORDER_EVERY_US,
            Ask::Orders { .. } => ORDERS_EVERY_US,
        };
        let key = ask.key();
        let every_us = match self.paces.get(&key) {
            Some(pace) if !changed => (pace.every_us * 2).min(most),
            _ => least,
        };
        let pace = Pace {
            next: now.plus_us(every_us),
            every_us,
        };
        self.paces.insert(key, pace);
    }

    /// Egress is gone: what was asked gets no answer.
    pub fn reset(&mut self, now: Timestamp) {
        for key in std::mem::take(&mut self.asked) {
            self.pace(&key, false, now);
        }
    }
}

#[cfg(test)]
mod quotes;

/// Whether the account's venue can be asked for orders from a number on; if not, each is asked for by itself.
fn lists_from(
    state: &State,
    account: AccountId,
    market: MarketKind,
    symbol: &Symbol,
    number: u64,
) -> bool {
    let question = Question::OrdersFrom {
        symbol,
        number,
        limit: TOGETHER_MAX,
    };
    state.accounts.get(&account).is_none_or(|account| {
        portcullis_venues::dialect::of(account.venue.as_str())
            .is_some_and(|dialect| dialect.ask(market, &question).is_some())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_model::action::Side;
    use portcullis_model::id::{EntryId, Name, StrategyId};
    use portcullis_model::number::{Amount, Quantity};
    use portcullis_model::report::OrderReport;
    use portcullis_model::state::Effect;

    const NOW: Timestamp = Timestamp(1_790_000_000_000_000);

    fn state(orders: u64, status: OrderStatus) -> State {
        let mut state = State::default();
        for n in 0..orders {
            let order = OpenOrder {
                strategy: StrategyId(2),
                account: AccountId(1),
                symbol: "BTCUSDT".into(),
                side: Side::Buy,
                quantity: Quantity(10),
                client_order_id: Some(format!("c{n}").into()),
                list_client_order_id: None,
                order_id: (status != OrderStatus::Unknown).then_some(n.into()),
                list_id: None,
                executed: Quantity::ZERO,
                executed_quote: Amount::ZERO,
                status,
                alternative: false,
                base: None,
                quote: None,
                price: None,
                market: MarketKind::Spot,
                position_side: None,
                contract: None,
                settle: None,
                reduces: false,
                algo: false,
                became: None,
                most: None,
            };
            state.apply(EntryId(n), NOW, &[Effect::Reserved { leg: 0, order }]);
        }
        state
    }

    /// A signed question in Binance's words, without what its scheme puts there.
    fn target(ask: &Ask, state: &State) -> String {
        let dialect = portcullis_venues::dialect::of("binance").unwrap();
        let (kind, question) = ask.question(state).unwrap();
        let words = dialect.ask(kind, &question).unwrap();
        let (target, _) = words.target.split_once("&timestamp=").unwrap();
        target.to_owned()
    }

    fn report(order_id: u64) -> Report {
        Report::Order(OrderReport {
            market: MarketKind::Spot,
            symbol: "BTCUSDT".into(),
            order_id: order_id.into(),
            client_order_id: None,
            list_id: None,
            status: OrderStatus::Open,
            side: None,
            order_type: None,
            time_in_force: None,
            price: None,
            original_quantity: None,
            executed_quantity: None,
            executed_quote: None,
            time_ms: None,
            original_client_order_id: None,
            algo: false,
            became: None,
            average_price: None,
        })
    }

    #[test]
    fn nobody_asks_before_an_order_must_have_arrived() {
        let state = state(1, OrderStatus::Unknown);
        let mut resolver = Resolver::default();
        assert!(resolver.due(&state, NOW).is_empty());
        assert!(
            resolver
                .due(&state, NOW.plus_us(SETTLED_AFTER_US - 1))
                .is_empty()
        );
        let due = resolver.due(&state, NOW.plus_us(SETTLED_AFTER_US));
        assert_eq!(due.len(), 1);
        assert_eq!(
            target(&due[0], &state),
            "/api/v3/order?symbol=BTCUSDT&origClientOrderId=c0"
        );
        assert!(
            resolver
                .due(&state, NOW.plus_us(SETTLED_AFTER_US))
                .is_empty(),
            "asked once"
        );
    }

    #[test]
    fn open_orders_are_asked_for_by_market_and_a_missing_one_by_itself() {
        let state = state(3, OrderStatus::Open);
        let mut resolver = Resolver::default();
        resolver.due(&state, NOW);
        let now = NOW.plus_us(SETTLED_AFTER_US);
        let due = resolver.due(&state, now);
        assert_eq!(due.len(), 1, "one look for three orders");
        let complete = Report::OpenOrdersComplete {
            market: MarketKind::Spot,
            symbol: Some("BTCUSDT".into()),
        };
        resolver.answered(
            &due[0],
            &state,
            &[report(0), report(2), complete],
            false,
            now,
        );
        let due = resolver.due(&state, now);
        let number = OrderNumber {
            entry: EntryId(1),
            leg: 0,
        };
        assert_eq!(
            due,
            [Ask::Order {
                account: AccountId(1),
                number,
                done: false
            }]
        );
        assert_eq!(
            target(&due[0], &state),
            "/api/v3/order?symbol=BTCUSDT&orderId=1"
        );
    }

    #[test]
    fn an_order_that_one_answer_does_not_show_is_looked_for_in_the_other_place() {
        let mut state = state(1, OrderStatus::Open);
        let number = OrderNumber {
            entry: EntryId(0),
            leg: 0,
        };
        let effects = state.doubted(&[Report::Refused { code: 1 }], &[(0, number)]);
        state.apply(EntryId(state.entries), NOW, &effects);
        let mut resolver = Resolver::default();
        let mut now = NOW;
        // Not there, not there either, there, and still there: an empty answer turns to the other place, and back.
        for (done, reports) in [
            (false, vec![]),
            (true, vec![]),
            (false, vec![]),
            (true, vec![report(0)]),
            (false, vec![report(0)]),
            (false, vec![]),
        ] {
            now = now.plus_us(ORDER_EVERY_US.1);
            let due = resolver.due(&state, now);
            assert_eq!(
                due,
                [Ask::Order {
                    account: AccountId(1),
                    number,
                    done
                }]
            );
            resolver.answered(&due[0], &state, &reports, false, now);
        }
    }

    #[test]
    fn a_list_cut_short_proves_nothing() {
        let state = state(2, OrderStatus::Open);
        let mut resolver = Resolver::default();
        resolver.due(&state, NOW);
        let now = NOW.plus_us(SETTLED_AFTER_US);
        let due = resolver.due(&state, now);
        resolver.answered(&due[0], &state, &[report(0)], false, now);
        assert!(resolver.due(&state, now).is_empty());
    }

    #[test]
    fn an_order_in_doubt_is_asked_for_at_once_and_many_are_asked_for_together() {
        let mut state = state(9, OrderStatus::Open);
        let mut resolver = Resolver::default();
        assert!(resolver.due(&state, NOW).is_empty());
        let doubt = |state: &mut State, n: u64| {
            let number = OrderNumber {
                entry: EntryId(n),
                leg: 0,
            };
            let effects = state.doubted(&[Report::Refused { code: -2011 }], &[(0, number)]);
            state.apply(EntryId(state.entries), NOW, &effects);
        };
        doubt(&mut state, 4);
        let due = resolver.due(&state, NOW);
        let targets: Vec<_> = due.iter().map(|ask| target(ask, &state)).collect();
        assert_eq!(targets, ["/api/v3/order?symbol=BTCUSDT&orderId=4"]);
        for n in [7, 2, 5] {
            doubt(&mut state, n);
        }
        let due = resolver.due(&state, NOW);
        let targets: Vec<_> = due.iter().map(|ask| target(ask, &state)).collect();
        assert_eq!(
            targets,
            ["/api/v3/allOrders?symbol=BTCUSDT&orderId=2&limit=1000"]
        );
        // An answer that is there sets the pace, wherever the next one begins.
        resolver.answered(&due[0], &state, &[report(2)], true, NOW);
        assert!(resolver.due(&state, NOW.plus_us(999_999)).is_empty());
        let later = NOW.plus_us(1_000_000);
        let due = resolver.due(&state, later);
        let together = |due: &[Ask]| {
            due.iter()
                .find(|ask| matches!(ask, Ask::Orders { .. }))
                .cloned()
        };
        let ask = together(&due).unwrap();
        // A full one that told something is followed by the next at once; one that told nothing is not.
        let full: Vec<Report> = (0..1_000).map(report).collect();
        resolver.answered(&ask, &state, &full, true, later);
        let ask = together(&resolver.due(&state, later)).unwrap();
        resolver.answered(&ask, &state, &full, false, later);
        assert!(together(&resolver.due(&state, later.plus_us(999_999))).is_none());
    }

    #[test]
    fn a_venue_whose_lists_begin_with_the_newest_is_asked_for_each_order() {
        let mut state = state(9, OrderStatus::Open);
        let account = Effect::AccountAdded {
            name: Name::new("a").unwrap(),
            venue: Name::new("okx").unwrap(),
        };
        state.apply(EntryId(1), NOW, &[account]);
        for n in [7, 4, 2, 5] {
            let number = OrderNumber {
                entry: EntryId(n),
                leg: 0,
            };
            let effects = state.doubted(&[Report::Refused { code: 51_400 }], &[(0, number)]);
            state.apply(EntryId(state.entries), NOW, &effects);
        }
        let due = Resolver::default().due(&state, NOW);
        let numbers: Vec<_> = due
            .iter()
            .filter_map(Ask::order)
            .map(|it| it.entry.0)
            .collect();
        assert_eq!(numbers, [2, 4, 5, 7]);
    }

    #[test]
    fn questions_back_off_and_stay_within_their_weight() {
        let state = state(1_000, OrderStatus::Unknown);
        let mut resolver = Resolver::default();
        resolver.due(&state, NOW);
        let mut asked = 0;
        let mut per_minute = BTreeMap::<u64, u32>::new();
        for second in 3..200u64 {
            let now = NOW.plus_us(second * 1_000_000);
            for ask in resolver.due(&state, now) {
                asked += 1;
                *per_minute.entry(now.0 / 60_000_000).or_default() += ask.weight();
                resolver.failed(&ask, now);
            }
        }
        assert!(asked > 300, "{asked}");
        assert!(
            per_minute
                .values()
                .all(|weight| *weight <= WEIGHT_PER_MINUTE)
        );
    }
}
