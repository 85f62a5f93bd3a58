//! Asks the venue for every order whose end is not known, as strategy `gate`, with the read key: so a program that polls
//! nothing is not refused for fills that the venue would report, and an order whose answer was lost is found again.
//!
//! Pure: it says what to ask, and is told what came of it. Open orders are asked for by market in one call; one that is
//! missing there, or whose fate is unknown, is asked for by itself. Nothing new widens the time between, up to a bound.

use portcullis_model::action::Symbol;
use portcullis_model::id::{AccountId, Timestamp};
use portcullis_model::report::{OrderStatus, Report};
use portcullis_model::state::{OpenOrder, OrderNumber, State};
use std::collections::{BTreeMap, BTreeSet};

/// Between two looks at one market, at least and at most.
pub const MARKET_EVERY_US: (u64, u64) = (1_000_000, 10_000_000);
/// Between two questions for one order, at least and at most.
pub const ORDER_EVERY_US: (u64, u64) = (1_000_000, 60_000_000);
/// An order may still arrive at the venue until its window has passed: nobody asks before this, since "no such order"
/// would then not be the end of it. Twice the longest window of an order, and a second.
pub const SETTLED_AFTER_US: u64 = 3_000_000;
/// Request weight that the resolver may use in a minute: a tenth of what Binance grants an address.
pub const WEIGHT_PER_MINUTE: u32 = 600;
/// Questions under way at once.
pub const ASKED_MAX: usize = 8;
/// Weight of one look at a market, and of one order.
const WEIGHTS: (u32, u32) = (6, 4);

/// What to ask.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ask {
    Market {
        account: AccountId,
        symbol: Symbol,
    },
    Order {
        account: AccountId,
        number: OrderNumber,
    },
}

impl Ask {
    #[must_use]
    pub fn account(&self) -> AccountId {
        match self {
            Self::Market { account, .. } | Self::Order { account, .. } => *account,
        }
    }

    /// The order asked for by itself.
    #[must_use]
    pub fn order(&self) -> Option<OrderNumber> {
        match self {
            Self::Order { number, .. } => Some(*number),
            Self::Market { .. } => None,
        }
    }

    /// Path and query of the question, in the venue's words.
    #[must_use]
    pub fn target(&self, state: &State) -> Option<String> {
        match self {
            Self::Market { symbol, .. } => {
                let mut target = "/api/v3/openOrders?symbol=".to_owned();
                portcullis_venues::form::encode_into(&mut target, symbol.as_str());
                Some(target)
            }
            Self::Order { number, .. } => {
                let order = state.orders.get(number)?;
                let mut target = "/api/v3/order?symbol=".to_owned();
                portcullis_venues::form::encode_into(&mut target, order.symbol.as_str());
                match (order.order_id, &order.client_order_id) {
                    (Some(id), _) => target.push_str(&format!("&orderId={id}")),
                    (None, Some(client)) => {
                        target.push_str("&origClientOrderId=");
                        portcullis_venues::form::encode_into(&mut target, client.as_str());
                    }
                    (None, None) => return None,
                }
                Some(target)
            }
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
        let mut wanted = BTreeSet::new();
        for (number, order) in &state.orders {
            let since = *self.since.entry(*number).or_insert(now);
            if now.since_us(since) < SETTLED_AFTER_US {
                continue;
            }
            if self.alone(number, order) {
                wanted.insert(Ask::Order {
                    account: order.account,
                    number: *number,
                });
            } else {
                wanted.insert(Ask::Market {
                    account: order.account,
                    symbol: order.symbol.clone(),
                });
            }
        }
        self.paces.retain(|ask, _| wanted.contains(ask));
        let minute = now.0 / 60_000_000;
        if self.minute.0 != minute {
            self.minute = (minute, 0);
        }
        let mut due = Vec::new();
        let mut ready: Vec<(Timestamp, Ask)> = wanted
            .into_iter()
            .filter(|ask| !self.asked.contains(ask))
            .map(|ask| {
                (
                    self.paces.get(&ask).map_or(Timestamp(0), |pace| pace.next),
                    ask,
                )
            })
            .filter(|(next, _)| *next <= now)
            .collect();
        // The longest waiting first, so that none starves under the weight's bound.
        ready.sort();
        for (_, ask) in ready {
            let weight = match ask {
                Ask::Market { .. } => WEIGHTS.0,
                Ask::Order { .. } => WEIGHTS.1,
            };
            if self.asked.len() >= ASKED_MAX || self.minute.1 + weight > WEIGHT_PER_MINUTE {
                break;
            }
            self.minute.1 += weight;
            self.asked.insert(ask.clone());
            due.push(ask);
        }
        due
    }

    /// An order that the market's list would not tell enough of.
    fn alone(&self, number: &OrderNumber, order: &OpenOrder) -> bool {
        let can_be_named = order.order_id.is_some() || order.client_order_id.is_some();
        can_be_named && (order.status == OrderStatus::Unknown || self.missing.contains(number))
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
        self.asked.remove(ask);
        if let Ask::Market { account, symbol } = ask {
            let whole = reports
                .iter()
                .any(|report| matches!(report, Report::OpenOrdersComplete { .. }));
            if whole {
                let listed: BTreeSet<u64> = reports
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
                    if order.account == *account && order.symbol == *symbol && settled && absent {
                        self.missing.insert(*number);
                    }
                }
            }
        } else if let Ask::Order { number, .. } = ask {
            self.missing.remove(number);
        }
        self.pace(ask, changed, now);
    }

    /// No answer came, or none was asked for.
    pub fn failed(&mut self, ask: &Ask, now: Timestamp) {
        self.asked.remove(ask);
        self.pace(ask, false, now);
    }

    fn pace(&mut self, ask: &Ask, changed: bool, now: Timestamp) {
        let (least, most) = match ask {
            Ask::Market { .. } => MARKET_EVERY_US,
            Ask::Order { .. } => ORDER_EVERY_US,
        };
        let every_us = match self.paces.get(ask) {
            Some(pace) if !changed => (pace.every_us * 2).min(most),
            _ => least,
        };
        let pace = Pace {
            next: now.plus_us(every_us),
            every_us,
        };
        self.paces.insert(ask.clone(), pace);
    }

    /// Egress is gone: what was asked gets no answer.
    pub fn reset(&mut self, now: Timestamp) {
        for ask in std::mem::take(&mut self.asked) {
            self.pace(&ask, false, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_model::action::{ClientOrderId, MarketKind, Side};
    use portcullis_model::id::{EntryId, StrategyId};
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
                client_order_id: Some(ClientOrderId(format!("c{n}"))),
                list_client_order_id: None,
                order_id: (status != OrderStatus::Unknown).then_some(n),
                list_id: None,
                executed: Quantity::ZERO,
                executed_quote: Amount::ZERO,
                status,
                alternative: false,
                base: None,
                quote: None,
            };
            state.apply(EntryId(n), NOW, &[Effect::Reserved { leg: 0, order }]);
        }
        state
    }

    fn report(order_id: u64) -> Report {
        Report::Order(OrderReport {
            market: MarketKind::Spot,
            symbol: "BTCUSDT".into(),
            order_id,
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
            due[0].target(&state).unwrap(),
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
                number
            }]
        );
        assert_eq!(
            due[0].target(&state).unwrap(),
            "/api/v3/order?symbol=BTCUSDT&orderId=1"
        );
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
                *per_minute.entry(now.0 / 60_000_000).or_default() += WEIGHTS.1;
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
