//! A two-sided quoter that polls nothing, against a venue that tells of fills only when it is asked: order answers, the
//! answers to cancels, and the resolver's own questions are all that the gate learns from.

use super::*;
use portcullis_model::action::{
    Action, ActionKind, ClientOrderId, MarketId, MarketKind, Order, OrderRef, OrderType, Side,
    TimeInForce,
};
use portcullis_model::decide::{Caller, Facts, Space, Verdict, decide};
use portcullis_model::id::{EntryId, FIRST_VENUE, Name, StrategyId, VirtualKeyId};
use portcullis_model::number::{Amount, Price, Quantity, Round};
use portcullis_model::refusal::Refusal;
use portcullis_model::release::{Authority, Files, Judgement, Release};
use portcullis_model::report::{OrderReport, Sent};
use portcullis_model::state::{Effect, LevelKey};
use portcullis_model::table;

const MANDATES: &str = r#"
[firm]
order_value = "1000"
price_tolerance = "5%"
price_age = "10s"
message_rate = "unlimited"
reserved_message_rate = "unlimited"
repeat = "unlimited"
turnover_1h = "unlimited"
turnover_1d = "unlimited"
turnover_7d = "unlimited"
turnover_30d = "unlimited"
open_orders = "200"
position = "60000"
loss = "10000"
venue_weight = "unlimited"
[firm.markets."BTCUSDT"]
"#;

struct All;
impl Authority for All {
    fn judge(&self, _: StrategyId, _: ActionKind, _: AccountId, _: &table::Facts<'_>) -> Judgement {
        Judgement::Permit {
            policy: "all".to_owned(),
        }
    }
}

fn release() -> Release {
    let files: Files = [
        ("authority.cedar", ""),
        ("mandates.toml", MANDATES),
        ("values.toml", "currency = \"USD\"\nequal = [\"USDT\"]"),
        ("hosts.toml", ""),
        (
            "markets/binance.json",
            r#"[{"symbol":"BTCUSDT","base":"BTC","quote":"USDT"}]"#,
        ),
    ]
    .map(|(name, text)| (name.to_owned(), text.to_owned()))
    .into();
    Release::load(&files, Box::new(All)).unwrap()
}

const START: Timestamp = Timestamp(1_790_000_000_000_000);
const CALLER: Caller = Caller {
    strategy: StrategyId(2),
    virtual_key: VirtualKeyId(9),
    account: AccountId(1),
    source: std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
};
const FACTS: Facts = Facts {
    space: Space::Plenty,
    unsynced_us: 0,
    weight: 1,
};
const PRICE: &[u8] = b"60000";
const SIZE: &[u8] = b"0.01";

/// One order as the venue has it.
struct AtVenue {
    client: ClientOrderId,
    executed: Quantity,
    status: OrderStatus,
}

/// The venue, the gate's fold, and what the quoter did.
struct Site {
    release: Release,
    state: State,
    resolver: Resolver,
    venue: Vec<AtVenue>,
    now: Timestamp,
    refused: Vec<Refusal>,
    questions: u32,
}

impl Site {
    fn new() -> Self {
        let mut state = State::default();
        let name = |text: &str| Name::new(text).unwrap();
        for effect in [
            Effect::SiteCreated { name: name("site") },
            Effect::AccountAdded {
                name: name("main"),
                venue: name("binance"),
            },
            Effect::StrategyAdded {
                name: name("quoter"),
                desk: None,
                observe: false,
            },
            Effect::Released {
                hash: vec![0; 32].into(),
            },
        ] {
            state.apply(EntryId(state.entries), START, &[effect]);
        }
        Self {
            release: release(),
            state,
            resolver: Resolver::default(),
            venue: Vec::new(),
            now: START,
            refused: Vec::new(),
            questions: 0,
        }
    }

    fn fold(&mut self, effects: &[Effect]) -> EntryId {
        let entry = EntryId(self.state.entries);
        self.state.apply(entry, self.now, effects);
        entry
    }

    fn report(&self, id: u64, is_cancel: bool) -> Report {
        let order = &self.venue[usize::try_from(id).unwrap()];
        let own = Some(order.client.clone());
        Report::Order(OrderReport {
            market: MarketKind::Spot,
            symbol: "BTCUSDT".into(),
            order_id: id.into(),
            client_order_id: if is_cancel {
                Some("cancel".into())
            } else {
                own.clone()
            },
            list_id: None,
            status: order.status,
            side: None,
            order_type: None,
            time_in_force: None,
            price: None,
            original_quantity: Some(Quantity::parse(SIZE).unwrap()),
            executed_quantity: Some(order.executed),
            executed_quote: Price::parse(PRICE)
                .unwrap()
                .times(order.executed, Round::Up),
            time_ms: None,
            original_client_order_id: own.filter(|_| is_cancel),
            algo: false,
            became: None,
            average_price: None,
        })
    }

    /// Decides and records; `None`: refused.
    fn decided(&mut self, action: &Action) -> Option<(EntryId, Vec<(u8, OrderNumber)>)> {
        let actions = std::slice::from_ref(action);
        let targets = self.state.targets(CALLER.account, actions);
        match decide(
            &self.release,
            &self.state,
            CALLER,
            actions,
            &FACTS,
            self.now,
        )
        .verdict
        {
            Verdict::Approved(effects) => Some((self.fold(&effects), targets)),
            Verdict::Refused(refusal) => {
                self.refused.push(refusal);
                None
            }
        }
    }

    fn answered(
        &mut self,
        entry: EntryId,
        sent: Sent,
        reports: &[Report],
        targets: &[(u8, OrderNumber)],
    ) -> bool {
        let mut effects = self
            .state
            .settle(CALLER.account, entry, sent, reports, None)
            .effects;
        effects.extend(self.state.doubted(reports, targets));
        self.fold(&effects);
        !effects.is_empty()
    }

    /// `is_lost`: the order stands at the venue, and no answer came.
    fn quote(&mut self, side: Side, client: &str, is_lost: bool) {
        let order = Order {
            market: MarketKind::Spot,
            symbol: "BTCUSDT".into(),
            side,
            order_type: OrderType::LimitMaker,
            time_in_force: None::<TimeInForce>,
            quantity: Quantity::parse(SIZE).ok(),
            quote_quantity: None::<Amount>,
            price: Price::parse(PRICE).ok(),
            stop_price: None,
            trailing_delta: None,
            iceberg_quantity: None,
            client_order_id: Some(client.into()),
            list_client_order_id: None,
            leg: None,
            reduce_only: false,
            borrows: false,
            pegged: false,
            replaces: false,
            position_side: None,
            close_position: false,
            algo: false,
        };
        let Some((entry, _)) = self.decided(&Action::PlaceOrder(order)) else {
            return;
        };
        self.venue.push(AtVenue {
            client: client.into(),
            executed: Quantity::ZERO,
            status: OrderStatus::Open,
        });
        let id = self.venue.len() as u64 - 1;
        if is_lost {
            self.answered(entry, Sent::MaybeSent, &[], &[]);
        } else {
            let report = self.report(id, false);
            self.answered(entry, Sent::Sent, &[report], &[]);
        }
    }

    fn cancel(&mut self, client: &str) {
        let action = Action::CancelOrder(OrderRef {
            market: MarketKind::Spot,
            symbol: "BTCUSDT".into(),
            order_id: None,
            client_order_id: Some(client.into()),
            list: false,
            algo: false,
        });
        // One that the gate knows to have filled gets the venue's own "unknown order" from the gate.
        let before = self.refused.len();
        let Some((entry, targets)) = self.decided(&action) else {
            assert!(matches!(
                self.refused.pop(),
                Some(Refusal::NotYourOrder { .. })
            ));
            assert_eq!(self.refused.len(), before);
            return;
        };
        let at = self.venue.iter().rposition(|o| o.client.as_str() == client);
        let at = at.unwrap();
        if self.venue[at].status == OrderStatus::Open {
            self.venue[at].status = OrderStatus::Cancelled;
            let report = self.report(at as u64, true);
            self.answered(entry, Sent::Sent, &[report], &[]);
        } else {
            let refused = Report::Refused { code: -2011 };
            self.answered(entry, Sent::Sent, &[refused], &targets);
        }
    }

    fn fill(&mut self, client: &str) {
        if let Some(order) = self.venue.iter_mut().rfind(|o| o.client.as_str() == client)
            && order.status == OrderStatus::Open
        {
            order.executed = Quantity::parse(SIZE).unwrap();
            order.status = OrderStatus::Filled;
        }
    }

    /// What the resolver asks, answered as the venue would.
    fn resolve(&mut self) {
        for ask in self.resolver.due(&self.state, self.now) {
            self.questions += ask.weight();
            let entry = self.fold(&[]);
            let reports: Vec<Report> = match &ask {
                Ask::Market { .. } => {
                    let open = (0..self.venue.len())
                        .filter(|at| self.venue[*at].status == OrderStatus::Open)
                        .map(|at| self.report(at as u64, false));
                    let complete = Report::OpenOrdersComplete {
                        market: MarketKind::Spot,
                        symbol: Some("BTCUSDT".into()),
                    };
                    open.chain([complete]).collect()
                }
                Ask::Orders { from, .. } => (*from..self.venue.len() as u64)
                    .take(1_000)
                    .map(|id| self.report(id, false))
                    .collect(),
                Ask::Order { number, .. } => {
                    let order = &self.state.orders[number];
                    let client = order.client_order_id.clone();
                    let found = match order.order_id {
                        Some(id) => usize::try_from(id.number().unwrap()).ok(),
                        None => self
                            .venue
                            .iter()
                            .rposition(|o| Some(&o.client) == client.as_ref()),
                    };
                    match found {
                        Some(at) => vec![self.report(at as u64, false)],
                        None => vec![Report::NoSuchOrder],
                    }
                }
            };
            let changed = self.answered(entry, Sent::Sent, &reports, &[]);
            self.resolver
                .answered(&ask, &self.state, &reports, changed, self.now);
        }
    }
}

#[test]
fn twenty_thousand_quotes_are_never_refused_for_a_fill_that_the_venue_would_report() {
    let mut site = Site::new();
    for n in 0..10_000u64 {
        // A hundred rounds a second.
        site.now = START.plus_us(n * 10_000);
        if n.is_multiple_of(100) {
            let price = Effect::Price {
                symbol: "BTCUSDT".into(),
                price: Price::parse(PRICE).unwrap(),
                market: MarketKind::Spot,
                venue: None,
            };
            site.fold(&[price]);
        }
        if n > 0 {
            site.cancel(&format!("b{}", n - 1));
            site.cancel(&format!("s{}", n - 1));
        }
        site.quote(Side::Buy, &format!("b{n}"), n % 211 == 0);
        site.quote(Side::Sell, &format!("s{n}"), n % 307 == 0);
        // One side of two rounds in three fills, and nobody is told.
        match n % 3 {
            0 => site.fill(&format!("b{n}")),
            1 => site.fill(&format!("s{n}")),
            _ => {}
        }
        if n.is_multiple_of(20) {
            site.resolve();
        }
    }
    assert_eq!(site.refused.len(), 0, "{:?}", site.refused.first());
    // The quoter stops. What is left is found, and the fold is what the venue has.
    site.cancel("b9999");
    site.cancel("s9999");
    for second in 1..200u64 {
        site.now = START.plus_us(100_000_000 + second * 1_000_000);
        site.resolve();
    }
    assert!(
        site.state.orders.is_empty(),
        "{:?}",
        site.state.orders.len()
    );
    let filled = |side: &str| {
        let orders = site
            .venue
            .iter()
            .filter(|o| o.client.as_str().starts_with(side));
        orders.map(|o| o.executed.0).sum::<i128>()
    };
    let held = site.state.usage[&LevelKey::Firm].holdings[&market("BTCUSDT")];
    assert_eq!(held.base.0, filled("b") - filled("s"));
    assert_eq!(held.open_buys.0 + held.open_sells.0, 0);
    assert!(filled("b") > 0 && filled("s") > 0);
}

fn market(symbol: &str) -> MarketId {
    MarketId {
        symbol: symbol.into(),
        kind: MarketKind::Spot,
        venue: FIRST_VENUE,
    }
}
