mod amend;
mod futures;

use super::*;
use crate::action::{
    Asset, ClientOrderId, Leg, MarketKind, Movement, PositionSide, ReadOf, TimeInForce,
};
use crate::halt::{By, Halt, Level};
use crate::id::{EntryId, FIRST_VENUE, Name};
use crate::release::{Authority, Files};
use crate::report::{OrderReport, Report, Sent, TradeReport};
use crate::state::{Impossible, LevelKey, OrderNumber, Settled};
use minicbor::bytes::ByteVec;
use proptest::prelude::*;

const FIRM: &str = r#"
[firm]
order_value = "50000"
price_tolerance = "5%"
price_age = "10s"
message_rate = "50/1s"
reserved_message_rate = "20/1s"
repeat = "20/1s"
turnover_1h = "1000000"
turnover_1d = "5000000"
turnover_7d = "unlimited"
turnover_30d = "unlimited"
open_orders = "200"
position = "250000"
loss = "10000"
venue_weight = "3000"
[firm.markets."BTC*"]
floor = "1000"
ceiling = "500000"
quantity = "5"
"#;

struct All;
impl Authority for All {
    fn judge(&self, _: StrategyId, _: ActionKind, _: AccountId, _: &table::Facts<'_>) -> Judgement {
        Judgement::Permit {
            policy: "all".to_owned(),
        }
    }
}

fn release(mandates: &str) -> Release {
    release_with(mandates, "")
}

fn release_with(mandates: &str, values: &str) -> Release {
    let markets: String = ["BTCUSDT", "ETHUSDT", "BTCUSDC", "ETHBTC", "BNBUSDT"]
        .map(|s| {
            let (base, quote) = s.split_at(3);
            format!(r#"{{"symbol":"{s}","base":"{base}","quote":"{quote}"}}"#)
        })
        .join(",");
    let files: Files = [
        ("authority.cedar", String::new()),
        ("mandates.toml", mandates.to_owned()),
        (
            "values.toml",
            format!("currency = \"USD\"\nequal = [\"USDT\", \"USDC\"]\n{values}"),
        ),
        ("hosts.toml", String::new()),
        ("markets/binance.json", format!("[{markets}]")),
    ]
    .map(|(name, text)| (name.to_owned(), text))
    .into();
    Release::load(&files, Box::new(All)).unwrap()
}

const NOW: Timestamp = Timestamp(1_790_000_000_000_000);
const ACCOUNT: AccountId = AccountId(1);
const QUOTER: StrategyId = StrategyId(2);
const OTHER: StrategyId = StrategyId(3);
const CALLER: Caller = Caller {
    strategy: QUOTER,
    virtual_key: VirtualKeyId(9),
    account: ACCOUNT,
    source: IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
};

fn market(symbol: &str) -> MarketId {
    MarketId {
        symbol: symbol.into(),
        kind: MarketKind::Spot,
        venue: FIRST_VENUE,
    }
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn state() -> State {
    let mut state = State::default();
    let strategy = |n: &str| Effect::StrategyAdded {
        name: name(n),
        desk: Some(name("mm")),
        observe: false,
    };
    for (id, effect) in [
        Effect::SiteCreated { name: name("site") },
        Effect::AccountAdded {
            name: name("main"),
            venue: name("binance"),
        },
        strategy("quoter"),
        strategy("other"),
        Effect::Released {
            hash: ByteVec::from(vec![0; 32]),
        },
        Effect::Price {
            symbol: "BTCUSDT".into(),
            price: Price::parse(b"60000").unwrap(),
            market: MarketKind::Spot,
            venue: None,
        },
    ]
    .into_iter()
    .enumerate()
    {
        state.apply(EntryId(id as u64), NOW, &[effect]);
    }
    state
}

const FACTS: Facts = Facts {
    space: Space::Plenty,
    unsynced_us: 0,
    weight: 1,
};

/// `buy 1 BTCUSDT at 60000`, `sell 1 BTCUSDT`, `cancel BTCUSDT c1`.
fn action(text: &str) -> Action {
    let words: Vec<&str> = text.split(' ').collect();
    match words[0] {
        "cancel" => Action::CancelOrder(OrderRef {
            market: MarketKind::Spot,
            symbol: words[1].into(),
            order_id: None,
            client_order_id: Some(words[2].into()),
            list: false,
            algo: false,
        }),
        "withdraw" => Action::Withdraw(Movement::default()),
        side => {
            let price = words.get(4).map(|p| p.parse().unwrap());
            Action::PlaceOrder(Order {
                market: MarketKind::Spot,
                symbol: words[2].into(),
                side: if side == "buy" { Side::Buy } else { Side::Sell },
                order_type: if price.is_some() {
                    OrderType::Limit
                } else {
                    OrderType::Market
                },
                time_in_force: price.map(|_| TimeInForce::Gtc),
                quantity: Some(words[1].parse().unwrap()),
                quote_quantity: None,
                price,
                stop_price: None,
                trailing_delta: None,
                iceberg_quantity: None,
                client_order_id: words.get(5).map(|id| ClientOrderId::from(*id)),
                list_client_order_id: None,
                leg: None,
                reduce_only: false,
                borrows: false,
                pegged: false,
                replaces: false,
                position_side: None,
                close_position: false,
                algo: false,
            })
        }
    }
}

fn judge(release: &Release, state: &State, text: &str) -> Decision {
    let actions: Vec<Action> = text.split("; ").map(action).collect();
    decide(release, state, CALLER, &actions, &FACTS, NOW)
}

fn say(decision: &Decision) -> String {
    match &decision.verdict {
        Verdict::Approved(_) => match &decision.would_refuse {
            Some(refusal) => format!("observed {refusal}"),
            None => "approved".to_owned(),
        },
        Verdict::Refused(refusal) => refusal.to_string(),
    }
}

fn check(extra: &str, text: &str, expected: &str) {
    let found = say(&judge(&release(&format!("{FIRM}{extra}")), &state(), text));
    assert_eq!(found, expected, "{text}");
}

/// Places an order and gives its number.
fn place(release: &Release, state: &mut State, text: &str) -> EntryId {
    let entry = EntryId(state.entries);
    match judge(release, state, text).verdict {
        Verdict::Approved(effects) => state.apply(entry, NOW, &effects),
        Verdict::Refused(refusal) => panic!("{text}: {refusal}"),
    }
    entry
}

fn answer(
    state: &mut State,
    entry: EntryId,
    id: u64,
    client: &str,
    executed: &str,
    status: OrderStatus,
) {
    let executed: Quantity = executed.parse().unwrap();
    let report = Report::Order(OrderReport {
        market: MarketKind::Spot,
        symbol: "BTCUSDT".into(),
        order_id: id.into(),
        client_order_id: Some(client.into()),
        list_id: None,
        status,
        side: None,
        order_type: None,
        time_in_force: None,
        price: None,
        original_quantity: None,
        executed_quantity: Some(executed),
        executed_quote: Price::parse(b"60000").unwrap().times(executed, Round::Up),
        time_ms: None,
        original_client_order_id: None,
        algo: false,
        became: None,
        average_price: None,
    });
    let effects = state
        .settle(ACCOUNT, entry, Sent::Sent, &[report], None)
        .effects;
    state.apply(EntryId(state.entries), NOW, &effects);
}

#[test]
fn each_number_refuses_with_its_figures() {
    check("", "buy 0.5 BTCUSDT at 60000", "approved");
    check("", "buy 0.5 BTCUSDT", "approved");
    check(
        "",
        "buy 1 BTCUSDT at 60000",
        "order value of firm: asked 60000, limit 50000",
    );
    check(
        "",
        "buy 0.1 BTCUSDT at 63001",
        "price tolerance of firm: asked 63001, limit 63000 at reference 60000",
    );
    check(
        "",
        "sell 0.1 BTCUSDT at 56999",
        "price tolerance of firm: asked 56999, limit 57000 at reference 60000",
    );
    check(
        "",
        "buy 0.1 BTCUSDT at 999",
        "price below floor of firm: asked 999, floor 1000",
    );
    check(
        "",
        "sell 0.00001 BTCUSDT at 500001",
        "price above ceiling of firm: asked 500001, ceiling 500000",
    );
    check(
        "",
        "buy 6 BTCUSDT at 1000",
        "quantity above cap of firm: asked 6, cap 5",
    );
    check(
        "",
        "buy 1 ETHUSDT at 3000",
        "market `ETHUSDT` is not in the mandate of firm",
    );
    check(
        "",
        "buy 1 DOGEUSDT at 1",
        "market `DOGEUSDT` is not in the release; fetch market facts",
    );
    check(
        "",
        "withdraw",
        "Withdraw moves value, and no mandate allows it",
    );
    check(
        "[strategy.quoter]\norder_value = \"100\"",
        "buy 0.1 BTCUSDT at 60000",
        "order value of strategy quoter: asked 6000, limit 100",
    );
    check(
        "[desk.mm]\nturnover_1h = \"100\"",
        "buy 0.1 BTCUSDT at 60000",
        "turnover of desk mm: used 0, asked 6000, limit 100",
    );
    check(
        "[account.main]\nopen_orders = \"0\"",
        "buy 0.1 BTCUSDT at 60000",
        "open orders of account main: asked 1, limit 0",
    );
    check(
        "[strategy.quoter]\nposition = \"5000\"",
        "buy 0.1 BTCUSDT at 60000",
        "position of strategy quoter: could become 6000, limit 5000",
    );
    check(
        "",
        "cancel BTCUSDT nobodys",
        "the order on `BTCUSDT` is not known to be this strategy's",
    );
}

#[test]
fn settings_pass_only_where_a_mandate_has_a_number() {
    let set = |extra: &str, setting, to: &str| {
        let action = Action::Configure(Setting {
            symbol: Some("BTCUSDT".into()),
            to: Some(to.to_owned()),
            setting: Some(setting),
            market: Some(MarketKind::Spot),
        });
        let release = release(&format!("{FIRM}{extra}"));
        say(&decide(&release, &state(), CALLER, &[action], &FACTS, NOW))
    };
    use SettingKind::{Leverage, MarginMode, PositionMode};
    for (setting, to, refused) in [
        (Leverage, "1", "`leverage` of firm: asked 1, allowed none"),
        (
            MarginMode,
            "CROSSED",
            "`margin_mode` of firm: asked CROSSED, allowed none",
        ),
        (
            PositionMode,
            "true",
            "`position_mode` of firm: asked true, allowed none",
        ),
    ] {
        assert_eq!(set("", setting, to), refused);
    }
    let some = "[strategy.quoter]\nleverage = \"12.5\"\nmargin_mode = [\"crossed\"]\nposition_mode = \"yes\"\n";
    for (setting, to, expected) in [
        (Leverage, "12", "approved"),
        (Leverage, "12.5", "approved"),
        (
            Leverage,
            "12.5001",
            "`leverage` of strategy quoter: asked 12.5001, allowed 12.5",
        ),
        (
            Leverage,
            "many",
            "`leverage` of strategy quoter: asked many, allowed 12.5",
        ),
        (MarginMode, "CROSSED", "approved"),
        (
            MarginMode,
            "ISOLATED",
            "`margin_mode` of strategy quoter: asked ISOLATED, allowed crossed",
        ),
        (PositionMode, "true", "approved"),
    ] {
        assert_eq!(set(some, setting, to), expected);
    }
    // Every level that names it must allow it.
    let both = format!("{some}[desk.mm]\nleverage = \"2\"\nposition_mode = \"no\"\n");
    assert_eq!(
        set(&both, Leverage, "3"),
        "`leverage` of desk mm: asked 3, allowed 2"
    );
    assert_eq!(
        set(&both, PositionMode, "true"),
        "`position_mode` of desk mm: asked true, allowed none"
    );
}

#[test]
fn a_programs_dead_man_is_refused() {
    let action = Action::DeadMan(Setting::default());
    let decision = decide(&release(FIRM), &state(), CALLER, &[action], &FACTS, NOW);
    assert_eq!(decision.verdict, Verdict::Refused(Refusal::DeadManOfGate));
}

#[test]
fn what_no_spot_market_takes_is_refused() {
    let release = release(FIRM);
    let mut state = state();
    place(&release, &mut state, "buy 0.1 BTCUSDT at 60000 a");
    let order = || match action("buy 0.1 BTCUSDT at 60000") {
        Action::PlaceOrder(order) => order,
        other => panic!("{other:?}"),
    };
    let cancel = || match action("cancel BTCUSDT a") {
        Action::CancelOrder(order) => order,
        other => panic!("{other:?}"),
    };
    for action in [
        Action::PlaceOrder(Order {
            market: MarketKind::UsdFutures,
            ..order()
        }),
        Action::PlaceOrder(Order {
            market: MarketKind::Option,
            ..order()
        }),
        Action::PlaceOrder(Order {
            position_side: Some(PositionSide::Long),
            ..order()
        }),
        Action::PlaceOrder(Order {
            close_position: true,
            quantity: None,
            ..order()
        }),
        Action::PlaceOrder(Order {
            order_type: OrderType::TrailingStop,
            trailing_delta: Some(100),
            ..order()
        }),
        // The same ids name another order there.
        Action::CancelOrder(OrderRef {
            market: MarketKind::UsdFutures,
            ..cancel()
        }),
        Action::CancelOrder(OrderRef {
            algo: true,
            ..cancel()
        }),
    ] {
        let decision = decide(&release, &state, CALLER, &[action], &FACTS, NOW);
        assert!(matches!(decision.verdict, Verdict::Refused(_)));
    }
    let cancel = [Action::CancelOrder(cancel())];
    let decision = decide(&release, &state, CALLER, &cancel, &FACTS, NOW);
    assert_eq!(say(&decision), "approved");
}

#[test]
fn a_batch_is_judged_whole() {
    let rule = "[strategy.quoter]\nturnover_1h = \"10000\"";
    check(rule, "buy 0.1 BTCUSDT at 60000", "approved");
    check(
        rule,
        "buy 0.1 BTCUSDT at 60000; buy 0.1 BTCUSDT at 60001",
        "turnover of strategy quoter: used 6000, asked 6000.1, limit 10000",
    );
    check(
        "[strategy.quoter]\nopen_orders = \"1\"",
        "buy 0.1 BTCUSDT at 60000; sell 0.1 BTCUSDT at 60001",
        "open orders of strategy quoter: asked 2, limit 1",
    );
}

#[test]
fn an_unknown_outcome_stays_reserved_until_it_is_known() {
    let release = release(&format!("{FIRM}[strategy.quoter]\nopen_orders = \"1\"\n"));
    let mut state = state();
    let entry = place(&release, &mut state, "buy 0.1 BTCUSDT at 60000 a");
    let refused = "open orders of strategy quoter: asked 2, limit 1";
    assert_eq!(
        say(&judge(&release, &state, "buy 0.1 BTCUSDT at 60000 b")),
        refused
    );
    let nothing = state
        .settle(ACCOUNT, entry, Sent::MaybeSent, &[], None)
        .effects;
    assert_eq!(nothing, []);
    answer(&mut state, entry, 7, "a", "0", OrderStatus::Unknown);
    assert_eq!(
        say(&judge(&release, &state, "buy 0.1 BTCUSDT at 60000 b")),
        refused,
        "an unknown word frees nothing"
    );
    answer(&mut state, entry, 7, "a", "0", OrderStatus::Cancelled);
    assert_eq!(
        say(&judge(&release, &state, "buy 0.1 BTCUSDT at 60000 b")),
        "approved"
    );
    assert!(state.orders.is_empty());
    let entry = place(&release, &mut state, "buy 0.1 BTCUSDT at 60000 c");
    let effects = state
        .settle(ACCOUNT, entry, Sent::NotSent, &[], None)
        .effects;
    state.apply(EntryId(state.entries), NOW, &effects);
    assert!(state.orders.is_empty());
}

#[test]
fn fills_are_counted_once_however_often_they_are_told() {
    let release = release(FIRM);
    let mut state = state();
    let entry = place(&release, &mut state, "buy 0.3 BTCUSDT at 60000 a");
    for executed in ["0.1", "0.1", "0.2", "0.1", "0.2"] {
        answer(&mut state, entry, 7, "a", executed, OrderStatus::Open);
    }
    let holding = state.usage[&LevelKey::Strategy(QUOTER)].holdings[&market("BTCUSDT")];
    assert_eq!(
        (holding.base.to_string(), holding.open_buys.to_string()),
        ("0.2".to_owned(), "0.1".to_owned())
    );
    assert_eq!(holding.cash.to_string(), "-12000");
}

#[test]
fn limits_stop_risk_from_growing_and_let_it_shrink() {
    let rule = "[strategy.quoter]\nturnover_1h = \"12000\"\nopen_orders = \"1\"\nmessage_rate = \"1000/1s\"\n";
    let release = release(&format!("{FIRM}{rule}"));
    let mut state = state();
    let entry = place(&release, &mut state, "buy 0.2 BTCUSDT at 60000 a");
    answer(&mut state, entry, 7, "a", "0.2", OrderStatus::Filled);
    assert!(say(&judge(&release, &state, "buy 0.01 BTCUSDT at 60000")).starts_with("turnover"));
    assert_eq!(
        say(&judge(&release, &state, "sell 0.2 BTCUSDT at 60000")),
        "approved"
    );
    assert!(
        say(&judge(&release, &state, "sell 0.21 BTCUSDT at 60000")).starts_with("turnover"),
        "beyond the position"
    );
    place(&release, &mut state, "sell 0.15 BTCUSDT at 60000 b");
    assert!(
        say(&judge(&release, &state, "sell 0.06 BTCUSDT at 60000")).starts_with("turnover"),
        "with what is open"
    );
    assert_eq!(
        say(&judge(&release, &state, "sell 0.05 BTCUSDT at 60000")),
        "approved"
    );
    assert!(
        say(&judge(&release, &state, "sell 0.05 BTCUSDT at 56999")).starts_with("price tolerance"),
        "tolerance holds"
    );
}

#[test]
fn without_a_fresh_price_only_what_is_bounded_by_itself_passes() {
    let release = release(FIRM);
    let state = state();
    let later = NOW.plus_us(10_000_001);
    let at = |text: &str| {
        say(&decide(
            &release,
            &state,
            CALLER,
            &[action(text)],
            &FACTS,
            later,
        ))
    };
    assert_eq!(at("buy 0.1 BTCUSDT at 60000"), "approved");
    let refused = "no fresh reference price of `BTCUSDT`, and the order would increase risk";
    assert_eq!(at("sell 0.1 BTCUSDT at 60000"), refused);
    assert_eq!(at("buy 0.1 BTCUSDT"), refused);
}

#[test]
fn halts_refuse_what_their_level_says() {
    let release = release(FIRM);
    for (level, order, cancel) in [
        (Level::Freeze, "approved", "approved"),
        (
            Level::ReduceOnly,
            "halted: desk mm is at level reduce-only",
            "approved",
        ),
        (
            Level::CancelOnly,
            "halted: desk mm is at level cancel-only",
            "approved",
        ),
        (
            Level::Lock,
            "halted: desk mm is at level lock",
            "halted: desk mm is at level lock",
        ),
    ] {
        let mut state = state();
        let entry = place(&release, &mut state, "buy 0.1 BTCUSDT at 60000 a");
        answer(&mut state, entry, 7, "a", "0.05", OrderStatus::Open);
        let halt = Halt {
            scope: Scope::Desk(name("mm")),
            level,
            since: NOW,
            reason: "test".to_owned(),
            by: By::Operator("me".to_owned()),
        };
        state.apply(EntryId(state.entries), NOW, &[Effect::Halted(halt)]);
        assert_eq!(
            say(&judge(&release, &state, "buy 0.1 BTCUSDT at 60000")),
            order
        );
        assert_eq!(say(&judge(&release, &state, "cancel BTCUSDT a")), cancel);
        let reducing = say(&judge(&release, &state, "sell 0.05 BTCUSDT at 60000"));
        assert_eq!(
            reducing == "approved",
            level <= Level::ReduceOnly,
            "{level}: {reducing}"
        );
    }
}

#[test]
fn another_strategys_order_is_not_ours() {
    let release = release(FIRM);
    let mut state = state();
    place(&release, &mut state, "buy 0.1 BTCUSDT at 60000 a");
    let theirs = Caller {
        strategy: OTHER,
        ..CALLER
    };
    let found = decide(
        &release,
        &state,
        theirs,
        &[action("cancel BTCUSDT a")],
        &FACTS,
        NOW,
    );
    assert_eq!(
        say(&found),
        "the order on `BTCUSDT` is not known to be this strategy's"
    );
}

#[test]
fn rates_and_throttles_hold_and_cancels_have_their_own() {
    let release = release(&format!(
        "{FIRM}[strategy.quoter]\nmessage_rate = \"3/1s\"\nreserved_message_rate = \"2/1s\"\n"
    ));
    let mut state = state();
    for n in 0..3 {
        place(
            &release,
            &mut state,
            &format!("buy 0.1 BTCUSDT at 6000{n} c{n}"),
        );
    }
    assert_eq!(
        say(&judge(&release, &state, "buy 0.1 BTCUSDT at 60000")),
        "message rate of strategy quoter: limit 3 each 1 s"
    );
    place(&release, &mut state, "cancel BTCUSDT c0");
    place(&release, &mut state, "cancel BTCUSDT c1");
    assert!(say(&judge(&release, &state, "cancel BTCUSDT c2")).starts_with("message rate"));
    let release = self::release(&format!("{FIRM}[strategy.quoter]\nrepeat = \"2/1s\"\n"));
    let mut state = self::state();
    place(&release, &mut state, "buy 0.1 BTCUSDT at 60000 a");
    place(&release, &mut state, "buy 0.1 BTCUSDT at 60000 b");
    assert!(
        say(&judge(&release, &state, "buy 0.1 BTCUSDT at 60000 c")).starts_with("the same order")
    );
    assert_eq!(
        say(&judge(&release, &state, "buy 0.1 BTCUSDT at 60001 c")),
        "approved"
    );
}

#[test]
fn a_loss_stops_growth_until_the_next_day() {
    let release = release(&format!("{FIRM}[strategy.quoter]\nloss = \"1000\"\n"));
    let mut state = state();
    let entry = place(&release, &mut state, "buy 0.5 BTCUSDT at 60000 a");
    answer(&mut state, entry, 7, "a", "0.5", OrderStatus::Filled);
    let fall = Effect::Price {
        symbol: "BTCUSDT".into(),
        price: "57900".parse().unwrap(),
        market: MarketKind::Spot,
        venue: None,
    };
    state.apply(EntryId(state.entries), NOW, &[fall]);
    assert_eq!(
        say(&judge(&release, &state, "buy 0.1 BTCUSDT at 57900")),
        "loss of strategy quoter: lost 1050 today, limit 1000"
    );
    assert_eq!(
        say(&judge(&release, &state, "sell 0.5 BTCUSDT at 57900")),
        "approved"
    );
    state.apply(EntryId(state.entries), NOW, &[Effect::Day { day: 1 }]);
    assert_eq!(
        say(&judge(&release, &state, "buy 0.1 BTCUSDT at 57900")),
        "approved"
    );
}

#[test]
fn observing_records_what_enforcing_would_refuse() {
    let release = release(FIRM);
    let mut state = state();
    state.apply(
        EntryId(state.entries),
        NOW,
        &[Effect::StrategyMode {
            strategy: QUOTER,
            observe: true,
        }],
    );
    assert_eq!(
        say(&judge(&release, &state, "buy 1 BTCUSDT at 60000")),
        "observed order value of firm: asked 60000, limit 50000"
    );
    assert_eq!(
        say(&judge(&release, &state, "withdraw")),
        "Withdraw moves value, and no mandate allows it"
    );
    assert!(say(&judge(&release, &state, "cancel BTCUSDT nobodys")).contains("not known to be"));
}

#[test]
fn when_the_log_is_short_of_disk_only_what_lessens_risk_passes() {
    let release = release(FIRM);
    let mut state = state();
    place(&release, &mut state, "buy 0.1 BTCUSDT at 60000 a");
    for facts in [
        Facts {
            space: Space::ReserveOnly,
            ..FACTS
        },
        Facts {
            unsynced_us: UNSYNCED_US_MAX + 1,
            ..FACTS
        },
    ] {
        let at = |text: &str| {
            say(&decide(
                &release,
                &state,
                CALLER,
                &[action(text)],
                &facts,
                NOW,
            ))
        };
        assert!(at("buy 0.1 BTCUSDT at 60000").contains("only cancels and reducing orders pass"));
        assert_eq!(at("cancel BTCUSDT a"), "approved");
    }
}

#[test]
fn quotes_of_a_quoter_that_polls_nothing_are_never_refused_for_fills_that_the_venue_reported() {
    let rule = "[strategy.quoter]\nopen_orders = \"2\"\nposition = \"13000\"\nmessage_rate = \"1000000/1s\"\nrepeat = \"unlimited\"\nturnover_1h = \"unlimited\"\n";
    let firm = FIRM
        .replace(
            "message_rate = \"50/1s\"\nreserved",
            "message_rate = \"unlimited\"\nreserved",
        )
        .replace("turnover_1h = \"1000000\"", "turnover_1h = \"unlimited\"")
        .replace("turnover_1d = \"5000000\"", "turnover_1d = \"unlimited\"")
        .replace("venue_weight = \"3000\"", "venue_weight = \"unlimited\"");
    let release = release(&format!("{firm}{rule}"));
    let mut state = state();
    for n in 0..10_000u64 {
        let mut entries = Vec::new();
        for (side, leg) in [("buy", 'b'), ("sell", 's')] {
            let client = format!("{leg}{n}");
            let entry = place(
                &release,
                &mut state,
                &format!("{side} 0.1 BTCUSDT at 60000 {client}"),
            );
            entries.push((entry, client, 2 * n + u64::from(leg == 's')));
        }
        // Whatever filled is told in the answers (here: at the cancel), as a venue does.
        for (at, (entry, client, id)) in entries.iter().enumerate() {
            let executed = if (n + at as u64).is_multiple_of(3) {
                "0.1"
            } else {
                "0"
            };
            let status = if executed == "0" {
                OrderStatus::Cancelled
            } else {
                OrderStatus::Filled
            };
            answer(&mut state, *entry, *id, client, executed, status);
        }
    }
    assert!(state.orders.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_tighter_limit_never_turns_a_refusal_into_an_approval(
        limit in 1u32..100_000, tighter in 1u32..100_000, size in 1u32..200, price in 55_000u32..65_000, sell: bool,
    ) {
        let (loose, tight) = (limit.max(tighter), limit.min(tighter));
        for key in ["order_value", "turnover_1h", "position"] {
            let side = if sell { "sell" } else { "buy" };
            let text = format!("{side} 0.{size:03} BTCUSDT at {price}");
            let at = |n: u32| say(&judge(&release(&format!("{FIRM}[strategy.quoter]\n{key} = \"{n}\"\n")), &state(), &text));
            prop_assert!(at(loose) == "approved" || at(tight) != "approved", "{key} {loose} {tight} {text}");
        }
    }

    #[test]
    fn what_passes_as_reducing_never_grows_a_position_under_any_outcome(
        steps in proptest::collection::vec((any::<bool>(), 1u32..40, 0u32..41), 1..25),
    ) {
        let release = release(FIRM);
        let mut state = state();
        let halt = |state: &mut State, on: bool| {
            let effect = match on {
                true => Effect::Halted(Halt { scope: Scope::Firm, level: Level::ReduceOnly, since: NOW, reason: String::new(), by: By::Rule("t".to_owned()) }),
                false => Effect::Resumed { scope: Scope::Firm, level: None },
            };
            state.apply(EntryId(state.entries), NOW, &[effect]);
        };
        for (n, (sell, size, filled)) in steps.into_iter().enumerate() {
            // First a position, then under `reduce-only` whatever comes.
            if n == 6 { halt(&mut state, true); }
            let side = if sell { "sell" } else { "buy" };
            let decision = judge(&release, &state, &format!("{side} 0.0{size:02} BTCUSDT at 60000 c{n}"));
            let Verdict::Approved(effects) = decision.verdict else { continue };
            let before = state.usage.get(&LevelKey::Strategy(QUOTER)).and_then(|u| u.holdings.get(&market("BTCUSDT"))).copied().unwrap_or_default();
            let entry = EntryId(state.entries);
            state.apply(entry, NOW, &effects);
            let executed = format!("0.0{:02}", filled.min(size));
            answer(&mut state, entry, n as u64, &format!("c{n}"), &executed, OrderStatus::Open);
            let after = state.usage[&LevelKey::Strategy(QUOTER)].holdings[&market("BTCUSDT")];
            if n >= 6 {
                prop_assert!(after.base.0.abs() <= before.base.0.abs());
                prop_assert!(after.base.0 == 0 || before.base.0.signum() == after.base.0.signum());
            }
        }
    }

    #[test]
    fn what_is_kept_of_a_loss_is_what_the_holdings_say(
        steps in proptest::collection::vec((0u8..5, any::<bool>(), 1u32..40, 1u32..9), 1..40),
    ) {
        let text = FIRM.replace("\"BTC*\"", "\"*\"").replace("floor = \"1000\"\n", "");
        let release = release(&text);
        let mut state = state();
        feed(&mut state, "BTCUSDC", "60000");
        for (n, (what, sell, size, price)) in steps.into_iter().enumerate() {
            let symbol = if size % 2 == 0 { "BTCUSDT" } else { "BTCUSDC" };
            match what {
                0 => fold(&mut state, &[Effect::Day { day: n as u64 }]),
                1 => feed(&mut state, symbol, &format!("5{price}000")),
                _ => {
                    let text = format!("{} 0.0{size:02} {symbol} at 5{price}000 c{n}", if sell { "sell" } else { "buy" });
                    let Verdict::Approved(effects) = judge(&release, &state, &text).verdict else { continue };
                    let entry = EntryId(state.entries);
                    fold(&mut state, &effects);
                    let filled = said(symbol, n as u64, &format!("c{n}"), &format!("0.0{size:02}"), OrderStatus::Filled);
                    settle(&mut state, entry, &[Report::Order(filled)]);
                }
            }
            for usage in state.usage.values() {
                let whole = usage.holdings.iter().fold(0i128, |sum, (symbol, held)| {
                    let last = state.prices[symbol].0;
                    let now = last.times(held.base, Round::Down).unwrap().0 + held.cash.0;
                    let before = held.day_price.unwrap_or(last);
                    sum + now - before.times(held.day_base, Round::Down).unwrap().0 - held.day_cash.0
                });
                prop_assert_eq!(usage.gained().map(|(_, amount)| amount.0).sum::<i128>(), whole);
            }
        }
    }

    #[test]
    fn the_fold_does_not_depend_on_encoding(orders in proptest::collection::vec((1u32..40, any::<bool>()), 1..20)) {
        let release = release(FIRM);
        let mut state = state();
        let mut copy = state.clone();
        for (n, (size, filled)) in orders.into_iter().enumerate() {
            let Verdict::Approved(effects) = judge(&release, &state, &format!("buy 0.0{size:02} BTCUSDT at 60000 c{n}")).verdict else { continue };
            let entry = EntryId(state.entries);
            let bytes = minicbor::to_vec(&effects).unwrap();
            state.apply(entry, NOW, &effects);
            copy.apply(entry, NOW, &minicbor::decode::<Vec<Effect>>(&bytes).unwrap());
            let status = if filled { OrderStatus::Filled } else { OrderStatus::Cancelled };
            let executed = if filled { format!("0.0{size:02}") } else { "0".to_owned() };
            let answered = EntryId(state.entries);
            answer(&mut state, entry, n as u64, &format!("c{n}"), &executed, status);
            answer(&mut copy, entry, n as u64, &format!("c{n}"), &executed, status);
            prop_assert_eq!(state.entries, answered.0 + 1);
        }
        prop_assert_eq!(&state, &copy);
        prop_assert_eq!(state.usage[&LevelKey::Firm].open_orders, 0);
    }
}

#[test]
fn assets_declared_equal_count_as_the_currency() {
    let release = release(FIRM);
    assert!(release.is_currency(&Asset::from("USDT")) && release.is_currency(&Asset::from("USD")));
    assert!(!release.is_currency(&Asset::from("BTC")));
}

#[test]
fn a_reduce_only_refusal_names_the_halt_that_covers_the_caller() {
    let release = release(FIRM);
    let mut state = state();
    for scope in [Scope::Account(AccountId(0)), Scope::Strategy(QUOTER)] {
        let halt = Halt {
            scope,
            level: Level::ReduceOnly,
            since: NOW,
            reason: "test".to_owned(),
            by: By::Operator("me".to_owned()),
        };
        state.apply(EntryId(state.entries), NOW, &[Effect::Halted(halt)]);
    }
    assert_eq!(
        say(&judge(&release, &state, "buy 0.1 BTCUSDT at 60000")),
        "halted: strategy 2 is at level reduce-only"
    );
}

#[test]
fn a_test_order_is_judged_as_an_order_and_turns_over_as_much() {
    let rule = "[strategy.quoter]\nturnover_1h = \"10000\"\nopen_orders = \"1\"\n";
    let release = release(&format!("{FIRM}{rule}"));
    let Action::PlaceOrder(order) = action("buy 0.1 BTCUSDT at 60000") else {
        panic!()
    };
    let spent = |actions: &[Action]| match decide(&release, &state(), CALLER, actions, &FACTS, NOW)
        .verdict
    {
        Verdict::Approved(effects) => match &effects[0] {
            Effect::Spent { turnover, .. } => turnover.to_string(),
            other => panic!("{other:?}"),
        },
        Verdict::Refused(refusal) => refusal.to_string(),
    };
    assert_eq!(spent(&[Action::TestOrder(order.clone())]), "6000");
    assert_eq!(
        spent(&[
            Action::PlaceOrder(order.clone()),
            Action::TestOrder(Order {
                quantity: "0.01".parse().ok(),
                ..order.clone()
            })
        ]),
        "open orders of strategy quoter: asked 2, limit 1"
    );
    assert_eq!(
        spent(&[
            Action::TestOrder(order.clone()),
            Action::PlaceOrder(order.clone())
        ]),
        "turnover of strategy quoter: used 6000, asked 6000, limit 10000"
    );
    // What was asked as a test may have been handed in as an order.
    let mut state = state();
    place_all(&release, &mut state, &[Action::TestOrder(order.clone())]);
    assert_eq!(state.usage[&LevelKey::Firm].open_orders, 0);
    let next = decide_on(&release, &state, &[Action::PlaceOrder(order)]);
    assert_eq!(
        say(&next),
        "turnover of strategy quoter: used 6000, asked 6000, limit 10000"
    );
}

#[test]
fn a_market_order_is_held_to_floor_and_ceiling_by_the_reference() {
    let release = release(FIRM);
    for (price, expected) in [
        ("999", "price below floor of firm: asked 999, floor 1000"),
        (
            "500001",
            "price above ceiling of firm: asked 500001, ceiling 500000",
        ),
        ("60000", "approved"),
    ] {
        let mut state = state();
        let feed = Effect::Price {
            symbol: "BTCUSDT".into(),
            price: price.parse().unwrap(),
            market: MarketKind::Spot,
            venue: None,
        };
        state.apply(EntryId(state.entries), NOW, &[feed]);
        assert_eq!(say(&judge(&release, &state, "buy 0.001 BTCUSDT")), expected);
    }
}

#[test]
fn an_exit_by_market_order_is_never_refused_for_a_stale_price() {
    let release = release(FIRM);
    let mut state = state();
    let entry = place(&release, &mut state, "buy 0.2 BTCUSDT at 60000 a");
    answer(&mut state, entry, 7, "a", "0.2", OrderStatus::Filled);
    let later = NOW.plus_us(10_000_001);
    let at = |text: &str| decide(&release, &state, CALLER, &[action(text)], &FACTS, later);
    let exit = at("sell 0.2 BTCUSDT");
    assert_eq!(say(&exit), "approved");
    let Verdict::Approved(effects) = exit.verdict else {
        panic!()
    };
    // It is counted at the last price that was known.
    assert!(
        matches!(&effects[0], Effect::Spent { turnover, .. } if turnover.to_string() == "12000")
    );
    let refused = "no fresh reference price of `BTCUSDT`, and the order would increase risk";
    assert_eq!(say(&at("sell 0.21 BTCUSDT")), refused);
    assert_eq!(say(&at("buy 0.1 BTCUSDT")), refused);
}

/// Applies effects as the next entry.
fn fold(state: &mut State, effects: &[Effect]) {
    state.apply(EntryId(state.entries), NOW, effects);
}

fn order_of(text: &str) -> Order {
    match action(text) {
        Action::PlaceOrder(order) => order,
        other => panic!("{other:?}"),
    }
}

fn decide_on(release: &Release, state: &State, actions: &[Action]) -> Decision {
    decide(release, state, CALLER, actions, &FACTS, NOW)
}

fn place_all(release: &Release, state: &mut State, actions: &[Action]) -> EntryId {
    let entry = EntryId(state.entries);
    match decide_on(release, state, actions).verdict {
        Verdict::Approved(effects) => fold(state, &effects),
        Verdict::Refused(refusal) => panic!("{refusal}"),
    }
    entry
}

/// What the venue says of an order, without figures that a test does not need.
fn said(symbol: &str, id: u64, client: &str, executed: &str, status: OrderStatus) -> OrderReport {
    let executed: Quantity = executed.parse().unwrap();
    OrderReport {
        market: MarketKind::Spot,
        symbol: symbol.into(),
        order_id: id.into(),
        client_order_id: Some(client.into()),
        list_id: None,
        status,
        side: None,
        order_type: None,
        time_in_force: None,
        price: None,
        original_quantity: None,
        executed_quantity: Some(executed),
        executed_quote: Price::parse(b"60000").unwrap().times(executed, Round::Up),
        time_ms: None,
        original_client_order_id: None,
        algo: false,
        became: None,
        average_price: None,
    }
}

fn settle(state: &mut State, entry: EntryId, reports: &[Report]) {
    let effects = state
        .settle(ACCOUNT, entry, Sent::Sent, reports, None)
        .effects;
    fold(state, &effects);
}

fn legs(texts: &[(&str, Leg)]) -> Vec<Action> {
    texts
        .iter()
        .map(|(text, leg)| {
            let mut order = order_of(text);
            order.leg = Some(*leg);
            order.list_client_order_id = Some("list".into());
            Action::PlaceOrder(order)
        })
        .collect()
}

#[test]
fn the_leg_that_stays_when_the_other_ends_is_counted() {
    let release = release(FIRM);
    let mut state = state();
    let oco = legs(&[
        ("sell 0.1 BTCUSDT at 61000 above", Leg::Above),
        ("sell 0.1 BTCUSDT at 59500 below", Leg::Below),
    ]);
    let entry = place_all(&release, &mut state, &oco);
    let open = |state: &State| {
        let usage = &state.usage[&LevelKey::Strategy(QUOTER)];
        let holding = usage.holdings[&market("BTCUSDT")];
        (usage.open_orders, holding.open_sells.to_string())
    };
    assert_eq!(open(&state), (2, "0.1".to_owned()));
    // The stop was reached: the venue ended the limit leg, and the stop leg may still fill.
    let ended = said("BTCUSDT", 7, "above", "0", OrderStatus::Expired);
    settle(&mut state, entry, &[Report::Order(ended)]);
    assert_eq!(open(&state), (1, "0.1".to_owned()));
    let filled = said("BTCUSDT", 8, "below", "0.1", OrderStatus::Filled);
    settle(&mut state, entry, &[Report::Order(filled)]);
    assert_eq!(open(&state), (0, "0".to_owned()));
}

#[test]
fn a_pending_leg_of_an_opo_is_as_large_as_its_working_leg() {
    let release = release(FIRM);
    let state = state();
    let mut opo = legs(&[
        ("buy 0.1 BTCUSDT at 60000 w", Leg::Working),
        ("sell 0.1 BTCUSDT at 61000 p", Leg::Pending),
    ]);
    if let Some(Action::PlaceOrder(pending)) = opo.last_mut() {
        pending.quantity = None;
    }
    let decision = decide_on(&release, &state, &opo);
    let Verdict::Approved(effects) = decision.verdict else {
        panic!("{}", say(&decision))
    };
    let Some(Effect::Reserved { order, .. }) = effects.last() else {
        panic!()
    };
    assert_eq!(order.quantity.to_string(), "0.1");
    // Without a working leg nobody knows how large it is.
    assert!(say(&decide_on(&release, &state, &opo[1..])).contains("not known beforehand"));
}

#[test]
fn what_fills_in_an_answer_beside_its_order_is_counted_once() {
    let release = release(FIRM);
    let mut state = state();
    let entry = place(&release, &mut state, "buy 0.3 BTCUSDT at 60000 a");
    answer(&mut state, entry, 7, "a", "0", OrderStatus::Open);
    let trade = |id: u64| {
        Report::Trade(TradeReport {
            market: MarketKind::Spot,
            symbol: "BTCUSDT".into(),
            trade_id: id.into(),
            order_id: 7.into(),
            side: Side::Buy,
            price: "60000".parse().unwrap(),
            quantity: "0.1".parse().unwrap(),
            quote: Some("6000".parse().unwrap()),
            commission: Amount::ZERO,
            commission_asset: "BTC".into(),
            time_ms: 0,
        })
    };
    let order =
        |executed: &str| Report::Order(said("BTCUSDT", 7, "a", executed, OrderStatus::Open));
    let base = |state: &State| {
        state.usage[&LevelKey::Firm].holdings[&market("BTCUSDT")]
            .base
            .to_string()
    };
    settle(&mut state, entry, &[order("0.1"), trade(1)]);
    assert_eq!(base(&state), "0.1");
    settle(
        &mut state,
        entry,
        &[order("0.1"), order("0.1"), trade(1), trade(1)],
    );
    assert_eq!(base(&state), "0.1", "the same trade twice is one trade");
    settle(&mut state, entry, &[trade(1), trade(2), order("0.2")]);
    assert_eq!(base(&state), "0.2");
    settle(&mut state, entry, &[order("0.3"), order("0.2")]);
    assert_eq!(base(&state), "0.3");
}

#[test]
fn somebody_elses_order_with_our_client_id_is_not_ours() {
    let release = release(FIRM);
    let mut state = state();
    let entry = place(&release, &mut state, "buy 0.3 BTCUSDT at 60000 a");
    answer(&mut state, entry, 7, "a", "0", OrderStatus::Open);
    let read = EntryId(state.entries);
    let foreign = said("BTCUSDT", 9, "a", "0.3", OrderStatus::Filled);
    settle(&mut state, read, &[Report::Order(foreign)]);
    assert_eq!(state.orders.len(), 1, "ours is order 7");
    assert_eq!(
        state.usage[&LevelKey::Firm].holdings[&market("BTCUSDT")].base,
        Quantity::ZERO
    );
    // Nor does our client id open the way to their order.
    let cancel = Action::CancelOrder(OrderRef {
        market: MarketKind::Spot,
        symbol: "BTCUSDT".into(),
        order_id: Some(9.into()),
        client_order_id: Some("a".into()),
        list: false,
        algo: false,
    });
    assert!(say(&decide_on(&release, &state, &[cancel])).contains("not known to be"));
}

#[test]
fn a_client_id_of_anothers_open_order_is_refused() {
    let release = release(FIRM);
    let mut state = state();
    place(&release, &mut state, "buy 0.1 BTCUSDT at 60000 a");
    let theirs = Caller {
        strategy: OTHER,
        ..CALLER
    };
    let again = |caller| {
        let actions = [action("buy 0.1 BTCUSDT at 60000 a")];
        say(&decide(&release, &state, caller, &actions, &FACTS, NOW))
    };
    assert_eq!(
        again(theirs),
        "the client order id `a` is that of an open order of another strategy, or of another order of this request"
    );
    assert_eq!(again(CALLER), "approved", "the venue judges one's own");
}

#[test]
fn two_orders_of_one_request_have_two_ids() {
    let (release, state) = (release(FIRM), state());
    let batch = |second: &str| {
        let orders = ["buy 0.1 BTCUSDT at 60000 a", second].map(order_of);
        say(&decide_on(
            &release,
            &state,
            &orders.map(Action::PlaceOrder),
        ))
    };
    let refused = batch("sell 0.1 BTCUSDT at 61000 a");
    assert!(
        refused.contains("another order of this request"),
        "{refused}"
    );
    let passes = batch("sell 0.1 BTCUSDT at 61000 b");
    assert_eq!(passes, "approved");
}

#[test]
fn an_order_is_cancelled_by_its_id_though_a_later_one_with_it_was_refused() {
    let (release, mut state) = (release(FIRM), state());
    place(&release, &mut state, "buy 0.1 BTCUSDT at 60000 a");
    let second = place(&release, &mut state, "buy 0.2 BTCUSDT at 60000 a");
    settle(&mut state, second, &[Report::Refused { code: -2010 }]);
    assert_eq!(state.orders.len(), 1);
    let cancel = decide_on(&release, &state, &[action("cancel BTCUSDT a")]);
    assert!(
        matches!(cancel.verdict, Verdict::Approved(_)),
        "{}",
        say(&cancel)
    );
}

#[test]
fn an_amended_order_goes_by_its_new_name() {
    let release = release(FIRM);
    let mut state = state();
    let entry = place(&release, &mut state, "buy 0.3 BTCUSDT at 60000 a");
    answer(&mut state, entry, 7, "a", "0", OrderStatus::Open);
    let amend = |quantity: &str, price: Option<&str>| {
        Action::AmendOrder(Amend {
            order: OrderRef {
                market: MarketKind::Spot,
                symbol: "BTCUSDT".into(),
                order_id: None,
                client_order_id: Some("a".into()),
                list: false,
                algo: false,
            },
            quantity: quantity.parse().ok(),
            price: price.and_then(|p| p.parse().ok()),
            new_client_order_id: Some("b".into()),
        })
    };
    // More, or another price, is judged as what the order would be then.
    assert_eq!(
        say(&decide_on(&release, &state, &[amend("0.9", None)])),
        "order value of firm: asked 54000, limit 50000"
    );
    assert_eq!(
        say(&decide_on(&release, &state, &[amend("0.2", Some("63001"))])),
        "price tolerance of firm: asked 63001, limit 63000 at reference 60000"
    );
    let entry = place_all(&release, &mut state, &[amend("0.2", None)]);
    let mut amended = said("BTCUSDT", 7, "b", "0", OrderStatus::Open);
    amended.original_client_order_id = Some("a".into());
    amended.original_quantity = "0.2".parse().ok();
    settle(&mut state, entry, &[Report::Order(amended)]);
    let holding = state.usage[&LevelKey::Strategy(QUOTER)].holdings[&market("BTCUSDT")];
    assert_eq!(holding.open_buys.to_string(), "0.2");
    assert_eq!(
        say(&judge(&release, &state, "cancel BTCUSDT b")),
        "approved"
    );
    assert!(say(&judge(&release, &state, "cancel BTCUSDT a")).contains("not known to be"));
}

fn read(of: ReadOf) -> Action {
    Action::Read(crate::action::Read {
        of,
        market: Some(MarketKind::Spot),
        symbol: None,
    })
}

#[test]
fn reads_spend_neither_the_reserve_of_cancels_nor_more_than_their_weight() {
    let rule = "[strategy.quoter]\nmessage_rate = \"2/1s\"\nreserved_message_rate = \"2/1s\"\nvenue_weight = \"3\"\n";
    let release = release(&format!("{FIRM}{rule}"));
    let mut state = state();
    place(&release, &mut state, "buy 0.1 BTCUSDT at 60000 a");
    place_all(&release, &mut state, &[read(ReadOf::Orders)]);
    let refused = "message rate of strategy quoter: limit 2 each 1 s";
    for of in [ReadOf::Orders, ReadOf::Balances, ReadOf::Trades] {
        let decision = decide_on(&release, &state, &[read(of)]);
        assert_eq!(say(&decision), refused);
        assert!(!decision.reserved);
    }
    assert_eq!(
        say(&judge(&release, &state, "cancel BTCUSDT a")),
        "approved"
    );
    let heavy = Facts { weight: 4, ..FACTS };
    let fresh = self::state();
    assert_eq!(
        say(&decide(
            &release,
            &fresh,
            CALLER,
            &[read(ReadOf::Orders)],
            &heavy,
            NOW
        )),
        "venue weight of strategy quoter: asked 4 this minute, limit 3"
    );
}

#[test]
fn the_last_room_of_the_log_takes_reads_of_orders_and_positions_alone() {
    let release = release(FIRM);
    let facts = Facts {
        space: Space::ReserveOnly,
        ..FACTS
    };
    for (of, passes) in [
        (ReadOf::Orders, true),
        (ReadOf::Balances, true),
        (ReadOf::Trades, false),
        (ReadOf::Account, false),
    ] {
        let found = say(&decide(
            &release,
            &state(),
            CALLER,
            &[read(of)],
            &facts,
            NOW,
        ));
        assert_eq!(found == "approved", passes, "{of:?} {found}");
    }
}

#[test]
fn a_test_order_leaves_the_throttle_alone() {
    let release = release(&format!("{FIRM}[strategy.quoter]\nrepeat = \"1/1s\"\n"));
    let mut state = state();
    let test = Action::TestOrder(order_of("buy 0.1 BTCUSDT at 60000"));
    for _ in 0..3 {
        place_all(&release, &mut state, std::slice::from_ref(&test));
    }
    place(&release, &mut state, "buy 0.1 BTCUSDT at 60000");
    assert!(say(&decide_on(&release, &state, &[test])).starts_with("the same order"));
}

#[test]
fn an_order_by_amount_is_not_known_to_reduce() {
    let release = release(FIRM);
    let mut state = state();
    let entry = place(&release, &mut state, "buy 0.2 BTCUSDT at 60000 a");
    answer(&mut state, entry, 7, "a", "0.2", OrderStatus::Filled);
    let halt = Halt {
        scope: Scope::Firm,
        level: Level::ReduceOnly,
        since: NOW,
        reason: "test".to_owned(),
        by: By::Operator("me".to_owned()),
    };
    fold(&mut state, &[Effect::Halted(halt)]);
    assert_eq!(
        say(&judge(&release, &state, "sell 0.1 BTCUSDT")),
        "approved"
    );
    // If the price falls while it is under way, it sells more than is held.
    let mut sale = order_of("sell 0.1 BTCUSDT");
    (sale.quantity, sale.quote_quantity) = (None, "6000".parse().ok());
    assert_eq!(
        say(&decide_on(&release, &state, &[Action::PlaceOrder(sale)])),
        "halted: firm is at level reduce-only"
    );
}

#[test]
fn a_position_is_valued_at_no_less_than_the_last_known_price() {
    let release = release(&format!("{FIRM}[strategy.quoter]\nposition = \"13000\"\n"));
    let mut state = state();
    let entry = place(&release, &mut state, "buy 0.2 BTCUSDT at 60000 a");
    answer(&mut state, entry, 7, "a", "0.2", OrderStatus::Filled);
    let later = NOW.plus_us(10_000_001);
    let low = [action("buy 1 BTCUSDT at 2000")];
    assert_eq!(
        say(&decide(&release, &state, CALLER, &low, &FACTS, later)),
        "position of strategy quoter: could become 72000, limit 13000"
    );
}

#[test]
fn what_one_strategy_lessens_is_not_growth_of_the_firm() {
    // The firm is short by another strategy's sales, beyond its limit; buying back does not grow that.
    let release = release(&FIRM.replace("position = \"250000\"", "position = \"7000\""));
    let mut state = state();
    for (n, client) in ["a", "b"].into_iter().enumerate() {
        let theirs = Caller {
            strategy: OTHER,
            ..CALLER
        };
        let actions = [action(&format!("sell 0.05 BTCUSDT at 60000 {client}"))];
        let Verdict::Approved(effects) =
            decide(&release, &state, theirs, &actions, &FACTS, NOW).verdict
        else {
            panic!()
        };
        let entry = EntryId(state.entries);
        fold(&mut state, &effects);
        answer(
            &mut state,
            entry,
            n as u64,
            client,
            "0.05",
            OrderStatus::Filled,
        );
    }
    let rise = Effect::Price {
        symbol: "BTCUSDT".into(),
        price: "90000".parse().unwrap(),
        market: MarketKind::Spot,
        venue: None,
    };
    fold(&mut state, &[rise]);
    assert_eq!(
        say(&judge(&release, &state, "buy 0.01 BTCUSDT at 90000")),
        "approved"
    );
    assert!(
        say(&judge(&release, &state, "sell 0.01 BTCUSDT at 90000")).starts_with("position of firm")
    );
}

/// Fills an order of the caller's at once.
fn hold(release: &Release, state: &mut State, caller: Caller, text: &str) {
    let order = order_of(text);
    let client = order.client_order_id.clone().unwrap();
    let quantity = order.quantity.unwrap().to_string();
    let (symbol, id) = (order.symbol.0.clone(), state.entries);
    let entry = EntryId(state.entries);
    let actions = [Action::PlaceOrder(order)];
    match decide(release, state, caller, &actions, &FACTS, NOW).verdict {
        Verdict::Approved(effects) => fold(state, &effects),
        Verdict::Refused(refusal) => panic!("{text}: {refusal}"),
    }
    let filled = said(&symbol, id, client.as_str(), &quantity, OrderStatus::Filled);
    let effects = state.settle(
        caller.account,
        entry,
        Sent::Sent,
        &[Report::Order(filled)],
        None,
    );
    fold(state, &effects.effects);
}

fn reduce_only(state: &mut State) {
    let halt = Halt {
        scope: Scope::Firm,
        level: Level::ReduceOnly,
        since: NOW,
        reason: "test".to_owned(),
        by: By::Operator("me".to_owned()),
    };
    fold(state, &[Effect::Halted(halt)]);
}

fn feed(state: &mut State, symbol: &str, price: &str) {
    let effect = Effect::Price {
        symbol: symbol.into(),
        price: price.parse().unwrap(),
        market: MarketKind::Spot,
        venue: None,
    };
    fold(state, &[effect]);
}

#[test]
fn a_position_is_one_whatever_it_is_traded_against() {
    let release = release(&format!("{FIRM}[strategy.quoter]\nposition = \"13000\"\n"));
    let mut state = state();
    feed(&mut state, "BTCUSDC", "60000");
    hold(&release, &mut state, CALLER, "buy 0.2 BTCUSDT at 60000 a");
    assert_eq!(
        say(&judge(&release, &state, "buy 0.1 BTCUSDC at 60000")),
        "position of strategy quoter: could become 18000, limit 13000"
    );
    reduce_only(&mut state);
    assert_eq!(
        say(&judge(&release, &state, "sell 0.2 BTCUSDC at 60000 b")),
        "approved"
    );
    assert!(say(&judge(&release, &state, "sell 0.21 BTCUSDC at 60000")).starts_with("halted"));
    place(&release, &mut state, "sell 0.15 BTCUSDC at 60000 b");
    assert!(say(&judge(&release, &state, "sell 0.06 BTCUSDT at 60000")).starts_with("halted"));
    assert_eq!(
        say(&judge(&release, &state, "sell 0.05 BTCUSDT at 60000")),
        "approved"
    );
}

#[test]
fn each_account_counts_alone_unless_a_hedge_group_joins_them() {
    let second = Caller {
        account: AccountId(6),
        ..CALLER
    };
    let run = |values: &str| {
        let text = FIRM.replace("position = \"250000\"", "position = \"13000\"");
        let release = release_with(&text, values);
        let mut state = state();
        let account = Effect::AccountAdded {
            name: name("second"),
            venue: name("binance"),
        };
        fold(&mut state, &[account]);
        hold(&release, &mut state, CALLER, "buy 0.2 BTCUSDT at 60000 a");
        let on_second = |state: &State, text: &str| {
            say(&decide(
                &release,
                state,
                second,
                &[action(text)],
                &FACTS,
                NOW,
            ))
        };
        let grown = on_second(&state, "sell 0.1 BTCUSDT at 60000");
        reduce_only(&mut state);
        (grown, on_second(&state, "sell 0.1 BTCUSDT at 60000"))
    };
    // Long here and short there is no net position by itself: the firm could come to 0.3 BTC of them.
    assert_eq!(
        run(""),
        (
            "position of firm: could become 18000, limit 13000".to_owned(),
            "halted: firm is at level reduce-only".to_owned()
        )
    );
    let joined = "[[hedge_group]]\nname = \"btc\"\naccounts = [\"main\", \"second\"]\n";
    let passes = ("approved".to_owned(), "approved".to_owned());
    assert_eq!(run(joined), passes);
    assert_eq!(
        run(&format!("{joined}assets = [\"BTC\", \"WBTC\"]\n")),
        passes
    );
    assert_ne!(run(&format!("{joined}assets = [\"ETH\"]\n")), passes);
    assert_ne!(
        run("[[hedge_group]]\nname = \"btc\"\naccounts = [\"main\"]\n"),
        passes
    );
}

#[test]
fn assets_of_a_hedge_group_count_as_one() {
    let text = FIRM
        .replace("\"BTC*\"", "\"*\"")
        .replace("floor = \"1000\"\n", "");
    let group = "[[hedge_group]]\nname = \"b\"\nassets = [\"BTC\", \"ETH\"]\n";
    let release = release_with(&text, group);
    let mut state = state();
    feed(&mut state, "ETHUSDT", "3000");
    hold(&release, &mut state, CALLER, "buy 0.2 BTCUSDT at 60000 a");
    reduce_only(&mut state);
    assert_eq!(
        say(&judge(&release, &state, "sell 0.2 ETHUSDT at 3000")),
        "approved"
    );
    assert!(say(&judge(&release, &state, "sell 0.3 ETHUSDT at 3000")).starts_with("halted"));
}

#[test]
fn a_loss_in_another_quote_is_valued_at_its_last_known_price() {
    let text = FIRM
        .replace("\"BTC*\"", "\"*\"")
        .replace("floor = \"1000\"\n", "");
    let release = release(&format!("{text}[strategy.quoter]\nloss = \"1000\"\n"));
    let mut state = state();
    feed(&mut state, "ETHBTC", "0.05");
    let entry = place(&release, &mut state, "buy 2 ETHBTC at 0.05 a");
    let mut filled = said("ETHBTC", 7, "a", "2", OrderStatus::Filled);
    filled.executed_quote = "0.1".parse().ok();
    settle(&mut state, entry, &[Report::Order(filled)]);
    feed(&mut state, "ETHBTC", "0.04");
    // 0.02 BTC at 60,000; and the bitcoin price is stale by then.
    let later = NOW.plus_us(10_000_001);
    let fresh = Effect::Price {
        symbol: "ETHBTC".into(),
        price: "0.04".parse().unwrap(),
        market: MarketKind::Spot,
        venue: None,
    };
    state.apply(EntryId(state.entries), later, &[fresh]);
    let usage = &state.usage[&LevelKey::Strategy(QUOTER)];
    assert_eq!(lost_today(&release, &state, usage).to_string(), "1200");
}

#[test]
fn a_loss_stops_the_strategy_until_it_is_re_armed() {
    let release = release(&format!("{FIRM}[strategy.quoter]\nloss = \"1000\"\n"));
    let mut state = state();
    let key = Effect::VirtualKeyIssued {
        strategy: QUOTER,
        account: ACCOUNT,
        scheme: crate::action::Scheme::HmacSha256,
        api_key: "k".to_owned(),
        public_key: ByteVec::from(Vec::new()),
        expires: Timestamp(u64::MAX),
        sources: Vec::new(),
        canary: false,
    };
    fold(&mut state, &[key]);
    hold(&release, &mut state, CALLER, "buy 0.5 BTCUSDT at 60000 a");
    assert_eq!(trips(&release, &state, NOW), []);
    feed(&mut state, "BTCUSDT", "57900");
    let found = judge(&release, &state, "buy 0.1 BTCUSDT at 57900");
    let halt = found.trip.clone().unwrap();
    assert_eq!(
        (halt.scope.clone(), halt.level, halt.by.clone()),
        (
            Scope::Strategy(QUOTER),
            Level::ReduceOnly,
            By::Rule("loss of strategy quoter".to_owned())
        )
    );
    assert_eq!(
        halt.reason,
        "loss of strategy quoter: lost 1050 today, limit 1000"
    );
    // It is found without being asked, too.
    assert_eq!(trips(&release, &state, NOW), std::slice::from_ref(&halt));
    fold(&mut state, &[Effect::Halted(halt.clone())]);
    assert_eq!(trips(&release, &state, NOW), []);
    // A new day alone does not re-arm it.
    fold(&mut state, &[Effect::Day { day: 1 }]);
    let next_day = judge(&release, &state, "buy 0.1 BTCUSDT at 57900");
    assert_eq!(say(&next_day), "halted: strategy 2 is at level reduce-only");
    assert_eq!(next_day.trip, None);
    assert_eq!(
        say(&judge(&release, &state, "sell 0.5 BTCUSDT at 57900")),
        "approved"
    );
    let resumed = Effect::Resumed {
        scope: halt.scope,
        level: None,
    };
    fold(&mut state, &[resumed]);
    assert_eq!(
        say(&judge(&release, &state, "buy 0.1 BTCUSDT at 57900")),
        "approved"
    );
}

#[test]
fn what_trips_is_what_the_nearest_level_says() {
    for (rules, tripped) in [
        ("[strategy.quoter]\nrepeat = \"1/1s\"\n", None),
        (
            "[strategy.quoter]\nrepeat = \"1/1s\"\ntrip = \"loss, repeat\"\n",
            Some("repeat of strategy quoter"),
        ),
        (
            "[desk.mm]\ntrip = \"repeat\"\n[strategy.quoter]\nrepeat = \"1/1s\"\n",
            Some("repeat of strategy quoter"),
        ),
        (
            "[desk.mm]\ntrip = \"repeat\"\n[strategy.quoter]\nrepeat = \"1/1s\"\ntrip = \"none\"\n",
            None,
        ),
    ] {
        let release = release(&format!("{FIRM}{rules}"));
        let mut state = state();
        place(&release, &mut state, "buy 0.1 BTCUSDT at 60000 a");
        let found = judge(&release, &state, "buy 0.1 BTCUSDT at 60000 b");
        assert!(say(&found).starts_with("the same order"));
        let by = found.trip.map(|halt| halt.by);
        assert_eq!(by, tripped.map(|rule| By::Rule(rule.to_owned())), "{rules}");
    }
}

#[test]
fn an_answer_that_tells_nothing_new_changes_nothing() {
    let release = release(FIRM);
    let mut state = state();
    let entry = place(&release, &mut state, "buy 0.3 BTCUSDT at 60000 a");
    let report = [Report::Order(said(
        "BTCUSDT",
        7,
        "a",
        "0.1",
        OrderStatus::Open,
    ))];
    let first = state
        .settle(ACCOUNT, entry, Sent::Sent, &report, None)
        .effects;
    assert_eq!(first.len(), 1);
    fold(&mut state, &first);
    let read = EntryId(state.entries);
    assert_eq!(
        state.settle(ACCOUNT, read, Sent::Sent, &report, None),
        Settled::default()
    );
}

#[test]
fn an_order_that_replaces_another_is_no_open_order_more() {
    let release = release(&format!("{FIRM}[strategy.quoter]\nopen_orders = \"1\"\n"));
    let mut state = state();
    let entry = place(&release, &mut state, "buy 0.1 BTCUSDT at 60000 a");
    answer(&mut state, entry, 7, "a", "0", OrderStatus::Open);
    let replace = |replaces: bool, cancel: &str| {
        let mut order = order_of("buy 0.1 BTCUSDT at 60001 b");
        order.replaces = replaces;
        vec![action(cancel), Action::PlaceOrder(order)]
    };
    let refused = "open orders of strategy quoter: asked 2, limit 1";
    let at = |actions: &[Action]| say(&decide_on(&release, &state, actions));
    assert_eq!(at(&replace(true, "cancel BTCUSDT a")), "approved");
    assert_eq!(
        at(&replace(false, "cancel BTCUSDT a")),
        refused,
        "both may stand"
    );
    assert!(at(&replace(true, "cancel BTCUSDT nobodys")).contains("not known to be"));
    assert_eq!(at(&replace(true, "cancel BTCUSDT a")[1..]), refused);
    let mut two = replace(true, "cancel BTCUSDT a");
    let mut second = order_of("buy 0.1 BTCUSDT at 60001 c");
    second.replaces = true;
    two.push(Action::PlaceOrder(second));
    assert_eq!(at(&two), refused, "one cancel frees one");
    // The old one is counted until its end is known; if it was not cancelled, the new one never was.
    let entry = place_all(&release, &mut state, &replace(true, "cancel BTCUSDT a"));
    assert_eq!(state.orders.len(), 2);
    let failed = [
        Report::ActionRefused {
            position: 0,
            code: -2011,
        },
        Report::ActionRefused {
            position: 1,
            code: -2022,
        },
    ];
    settle(&mut state, entry, &failed);
    assert_eq!(state.orders.len(), 1);
    assert_eq!(state.usage[&LevelKey::Firm].open_orders, 1);
}

#[test]
fn the_price_that_values_a_quote_asset_is_asked_for_too() {
    let release = release(
        &FIRM
            .replace("\"BTC*\"", "\"ETHBTC\"")
            .replace("floor = \"1000\"\n", ""),
    );
    let priced: Vec<String> = release
        .priced()
        .into_iter()
        .map(|id| id.symbol.to_string())
        .collect();
    assert_eq!(priced, ["BTCUSDC", "BTCUSDT", "ETHBTC"]);
}

fn held(state: &State) -> (String, String) {
    let holding = state
        .usage
        .get(&LevelKey::Strategy(QUOTER))
        .and_then(|usage| usage.holdings.get(&market("BTCUSDT")))
        .copied()
        .unwrap_or_default();
    (holding.base.to_string(), holding.cash.to_string())
}

fn told(state: &mut State, entry: EntryId, reports: &[Report]) -> Vec<Impossible> {
    let settled = state.settle(ACCOUNT, entry, Sent::Sent, reports, None);
    fold(state, &settled.effects);
    settled.impossible.into_iter().map(|(_, why)| why).collect()
}

fn filled(client: &str, executed: &str, quote: &str) -> OrderReport {
    OrderReport {
        executed_quote: Some(quote.parse().unwrap()),
        ..said("BTCUSDT", 7, client, executed, OrderStatus::Filled)
    }
}

#[test]
fn no_fill_is_more_than_its_order_nor_beyond_its_price() {
    let release = release(FIRM);
    let check = |order: &str,
                 report: &dyn Fn(&mut OrderReport),
                 expected: (&str, &str),
                 why: &[Impossible]| {
        let mut state = state();
        let entry = place(&release, &mut state, order);
        let mut said = filled("a", "0.1", "6000");
        report(&mut said);
        let found = told(&mut state, entry, &[Report::Order(said)]);
        let (base, cash) = held(&state);
        assert_eq!((base.as_str(), cash.as_str()), expected, "{order}");
        assert_eq!(found, why, "{order}");
    };
    let more = |report: &mut OrderReport| {
        report.executed_quantity = Some(Quantity(i128::MAX / 4));
        report.executed_quote = Some(Amount(i128::MAX / 4));
    };
    let cost = |quote: &'static str| {
        move |report: &mut OrderReport| report.executed_quote = Some(quote.parse().unwrap())
    };
    use Impossible::{BeyondItsPrice, MoreThanOrdered, OtherSide};
    let (buy, sell) = ("buy 0.1 BTCUSDT at 60000 a", "sell 0.1 BTCUSDT at 60000 a");
    check(
        buy,
        &more,
        ("0.1", "-6000"),
        &[MoreThanOrdered, BeyondItsPrice],
    );
    check(buy, &cost("6000"), ("0.1", "-6000"), &[]);
    check(buy, &cost("5000"), ("0.1", "-5000"), &[]);
    check(buy, &cost("6000.00000001"), ("0.1", "-6000"), &[]);
    check(buy, &cost("7000"), ("0.1", "-6000"), &[BeyondItsPrice]);
    check(sell, &cost("6100"), ("-0.1", "6100"), &[]);
    check(sell, &cost("5000"), ("-0.1", "6000"), &[BeyondItsPrice]);
    // What it cost is not told: what it may have cost at most.
    check(
        buy,
        &|report| report.executed_quote = None,
        ("0.1", "-6000"),
        &[],
    );
    check(
        buy,
        &|report| report.side = Some(Side::Sell),
        ("0", "0"),
        &[OtherSide],
    );
    // A quantity that grew after it was signed grows nothing.
    let grown = |report: &mut OrderReport| {
        report.status = OrderStatus::Open;
        report.original_quantity = "5".parse().ok();
    };
    check(buy, &grown, ("0.1", "-6000"), &[]);
    let mut state = state();
    let entry = place(&release, &mut state, buy);
    let mut report = filled("a", "0", "0");
    grown(&mut report);
    told(&mut state, entry, &[Report::Order(report)]);
    assert_eq!(
        told(
            &mut state,
            entry,
            &[Report::Order(filled("a", "5", "300000"))]
        ),
        [MoreThanOrdered, BeyondItsPrice]
    );
    assert_eq!(held(&state).0, "0.1");
    // Numbers at the ends of what can be told break nothing.
    for (quantity, quote) in [
        (i128::MIN, i128::MIN),
        (i128::MAX, i128::MIN),
        (i128::MIN, i128::MAX),
    ] {
        let mut state = self::state();
        let entry = place(&release, &mut state, sell);
        let report = OrderReport {
            executed_quantity: Some(Quantity(quantity)),
            executed_quote: Some(Amount(quote)),
            ..filled("a", "0", "0")
        };
        told(&mut state, entry, &[Report::Order(report)]);
    }
}

fn trade(id: u64, side: Side, quantity: &str, fee: &str, asset: &str) -> Report {
    let quantity: Quantity = quantity.parse().unwrap();
    let price = Price::parse(b"60000").unwrap();
    Report::Trade(TradeReport {
        market: MarketKind::Spot,
        symbol: "BTCUSDT".into(),
        trade_id: id.into(),
        order_id: 7.into(),
        side,
        price,
        quantity,
        quote: price.times(quantity, Round::Up),
        commission: fee.parse().unwrap(),
        commission_asset: asset.into(),
        time_ms: 0,
    })
}

#[test]
fn what_is_told_after_an_order_ended_is_counted() {
    let release = release(FIRM);
    let mut state = state();
    let entry = place(&release, &mut state, "buy 0.3 BTCUSDT at 60000 a");
    settle(
        &mut state,
        entry,
        &[Report::Order(said(
            "BTCUSDT",
            7,
            "a",
            "0",
            OrderStatus::Open,
        ))],
    );
    // Said to have ended without a fill; its trades are told later, in parts, one of them twice.
    settle(
        &mut state,
        entry,
        &[Report::Order(said(
            "BTCUSDT",
            7,
            "a",
            "0",
            OrderStatus::Cancelled,
        ))],
    );
    assert!(state.orders.is_empty());
    let late = |state: &mut State, reports: &[Report]| told(state, EntryId(999), reports);
    let one = trade(1, Side::Buy, "0.1", "0", "BTC");
    assert_eq!(
        late(&mut state, std::slice::from_ref(&one)),
        [Impossible::AfterItsEnd]
    );
    assert_eq!(held(&state).0, "0.1");
    assert_eq!(late(&mut state, std::slice::from_ref(&one)), []);
    assert_eq!(held(&state).0, "0.1");
    late(&mut state, &[trade(2, Side::Buy, "0.1", "0", "BTC")]);
    assert_eq!(held(&state), ("0.2".to_owned(), "-12000".to_owned()));
    // By its total too, and never more than was ordered.
    late(
        &mut state,
        &[Report::Order(said(
            "BTCUSDT",
            7,
            "a",
            "0.3",
            OrderStatus::Filled,
        ))],
    );
    assert_eq!(held(&state), ("0.3".to_owned(), "-18000".to_owned()));
    let more = late(&mut state, &[trade(3, Side::Buy, "0.2", "0", "BTC")]);
    assert_eq!(
        (more, held(&state).0),
        (vec![Impossible::MoreThanOrdered], "0.3".to_owned())
    );
    assert_eq!(state.usage[&LevelKey::Firm].open_orders, 0);
    // Another order may go by its name; both are told apart by the venue's numbers.
    let entry = place(&release, &mut state, "buy 0.1 BTCUSDT at 60000 a");
    settle(
        &mut state,
        entry,
        &[Report::Order(said(
            "BTCUSDT",
            8,
            "a",
            "0",
            OrderStatus::Open,
        ))],
    );
    late(&mut state, &[trade(4, Side::Buy, "0.1", "0", "BTC")]);
    assert_eq!((held(&state).0, state.orders.len()), ("0.3".to_owned(), 1));
}

#[test]
fn of_ended_orders_so_many_are_remembered() {
    use crate::state::ENDED_MAX;
    let firm = FIRM
        .replace("\"50/1s\"", "\"unlimited\"")
        .replace("\"3000\"", "\"unlimited\"");
    let release = release(
        &firm
            .replace("turnover_1h = \"1000000\"", "turnover_1h = \"unlimited\"")
            .replace("repeat = \"20/1s\"", "repeat = \"unlimited\"")
            .replace("turnover_1d = \"5000000\"", "turnover_1d = \"unlimited\""),
    );
    let mut state = state();
    let mut first = None;
    for n in 0..=ENDED_MAX as u64 {
        let entry = place(
            &release,
            &mut state,
            &format!("buy 0.001 BTCUSDT at 60000 c{n}"),
        );
        let ended = said(
            "BTCUSDT",
            100 + n,
            &format!("c{n}"),
            "0",
            OrderStatus::Cancelled,
        );
        settle(&mut state, entry, &[Report::Order(ended)]);
        first.get_or_insert(OrderNumber { entry, leg: 0 });
        assert_eq!(
            state.told(first.unwrap()).is_some(),
            n < ENDED_MAX as u64,
            "{n}"
        );
    }
    let copy = State::from_bytes(&state.to_bytes()).unwrap();
    assert_eq!(copy, state);
}

#[test]
fn fees_that_are_told_are_lost_once() {
    let release = release(&format!("{FIRM}[strategy.quoter]\nloss = \"100\"\n"));
    let lost = |state: &State| {
        lost_today(&release, state, &state.usage[&LevelKey::Strategy(QUOTER)]).to_string()
    };
    let begin = |side: &str| {
        let mut state = state();
        feed(&mut state, "BNBUSDT", "600");
        let entry = place(
            &release,
            &mut state,
            &format!("{side} 0.1 BTCUSDT at 60000 a"),
        );
        (state, entry)
    };
    let order = || Report::Order(filled("a", "0.1", "6000"));
    for (side, of, fee, asset, expected) in [
        ("sell", Side::Sell, "6", "USDT", "6"),
        // Kept of what was bought: it counts at what it cost.
        ("buy", Side::Buy, "0.0001", "BTC", "6"),
        ("buy", Side::Buy, "0.01", "BNB", "6"),
        // No fee is more than its trade.
        ("sell", Side::Sell, "900000", "USDT", "6000"),
        ("buy", Side::Buy, "0", "BTC", "0"),
    ] {
        let (mut state, entry) = begin(side);
        let answer = [order(), trade(1, of, "0.1", fee, asset)];
        settle(&mut state, entry, &answer);
        assert_eq!(lost(&state), expected, "{side} {fee} {asset}");
        // The program reads its trades, again and again; the order has ended.
        for _ in 0..3 {
            settle(&mut state, EntryId(999), &answer[1..]);
        }
        assert_eq!(lost(&state), expected, "{side} {fee} {asset}");
        fold(&mut state, &[Effect::Day { day: 1 }]);
        assert_eq!(lost(&state), "0");
    }
}

/// Buys that are said to fill, sells that are said to expire: each sell then looks like one that reduces.
#[test]
fn what_seems_to_reduce_comes_to_an_end() {
    let turned_over = |rule: &str, say_nothing: bool| {
        let unlimited = FIRM
            .replace("\"50/1s\"", "\"unlimited\"")
            .replace("\"20/1s\"", "\"unlimited\"")
            .replace("\"3000\"", "\"unlimited\"");
        let release = release(&format!(
            "{unlimited}[strategy.quoter]\nturnover_1d = \"60000\"\n{rule}"
        ));
        let mut state = state();
        hold(&release, &mut state, CALLER, "buy 0.5 BTCUSDT at 60000 a");
        if say_nothing {
            // No price any more: limits that need one are passed over for what reduces.
            state.prices.clear();
        }
        let mut sold = 0u32;
        while sold < 2_000 {
            let text = format!("sell 0.1 BTCUSDT at 60000 s{sold}");
            let decision = judge(&release, &state, &text);
            let Verdict::Approved(effects) = decision.verdict else {
                return (sold, say(&decision));
            };
            let entry = EntryId(state.entries);
            fold(&mut state, &effects);
            let gone = said(
                "BTCUSDT",
                10_000 + u64::from(sold),
                &format!("s{sold}"),
                "0",
                OrderStatus::Expired,
            );
            settle(&mut state, entry, &[Report::Order(gone)]);
            sold += 1;
        }
        (sold, "goes on".to_owned())
    };
    // 30,000 bought; what reduces may take the sum to ten times 60,000.
    let refused =
        "turnover of what reduces, strategy quoter: used 600000, asked 6000, limit 600000";
    assert_eq!(turned_over("", false), (95, refused.to_owned()));
    assert_eq!(turned_over("", true), (95, refused.to_owned()));
    let refused =
        "turnover of what reduces, strategy quoter: used 120000, asked 6000, limit 120000";
    assert_eq!(
        turned_over("reducing_turnover = \"2x\"\n", false),
        (15, refused.to_owned())
    );
    assert_eq!(
        turned_over("reducing_turnover = \"unlimited\"\n", false),
        (2_000, "goes on".to_owned())
    );
}

/// An exit that is replaced again and again stays open where no program of good faith goes: the same strategy may place
/// its whole position anew dozens of times after its turnover is spent, and no other strategy can take that from it.
#[test]
fn an_exit_is_replaced_long_after_the_turnover_is_spent() {
    let unlimited = FIRM
        .replace("\"50/1s\"", "\"unlimited\"")
        .replace("\"20/1s\"", "\"unlimited\"")
        .replace("\"3000\"", "\"unlimited\"");
    let release = release(&unlimited);
    let mut state = state();
    let other = Caller {
        strategy: OTHER,
        ..CALLER
    };
    hold(&release, &mut state, CALLER, "buy 0.8 BTCUSDT at 60000 a");
    hold(&release, &mut state, other, "buy 0.8 BTCUSDT at 60000 o");
    for (caller, times) in [(other, 190), (CALLER, 190)] {
        for n in 0..times {
            let id = format!("x{}n{n}", caller.strategy.0);
            let order = Action::PlaceOrder(order_of(&format!("sell 0.8 BTCUSDT at 60000 {id}")));
            let decision = decide(&release, &state, caller, &[order], &FACTS, NOW);
            let Verdict::Approved(effects) = &decision.verdict else {
                panic!("{n}: {}", say(&decision))
            };
            let entry = EntryId(state.entries);
            fold(&mut state, effects);
            let cancelled = said(
                "BTCUSDT",
                50_000 + entry.0,
                &id,
                "0",
                OrderStatus::Cancelled,
            );
            settle(&mut state, entry, &[Report::Order(cancelled)]);
        }
    }
}

#[test]
fn what_reduces_in_another_quote_counts_at_its_last_known_rate() {
    let text = FIRM
        .replace("\"BTC*\"", "\"*\"")
        .replace("floor = \"1000\"\n", "");
    let release = release(&text);
    let mut state = state();
    feed(&mut state, "ETHBTC", "0.05");
    hold(&release, &mut state, CALLER, "buy 1 ETHBTC at 0.05 a");
    let later = Timestamp(NOW.0 + 60_000_000);
    let sell = action("sell 1 ETHBTC at 0.05 b");
    let decision = decide(&release, &state, CALLER, &[sell], &FACTS, later);
    let Verdict::Approved(effects) = &decision.verdict else {
        panic!("{}", say(&decision))
    };
    assert!(
        matches!(&effects[0], Effect::Spent { turnover, .. } if turnover.to_string() == "3000")
    );
    // A market whose price nobody ever told: an order without a price would turn over nothing.
    let sell = action("sell 0.1 BTCUSDC");
    hold(&release, &mut state, CALLER, "buy 0.1 BTCUSDT at 60000 c");
    assert!(say(&decide(&release, &state, CALLER, &[sell], &FACTS, later)).contains("BTCUSDC"));
}

#[test]
fn a_market_buy_counts_as_the_dearest_limit_buy() {
    check("", "buy 0.79 BTCUSDT", "approved");
    check(
        "",
        "buy 0.8 BTCUSDT",
        "order value of firm: asked 50400, limit 50000",
    );
    check("", "sell 0.8 BTCUSDT", "approved");
}

#[test]
fn a_loss_that_was_re_armed_counts_from_then_on() {
    let release = release(&format!("{FIRM}[strategy.quoter]\nloss = \"1000\"\n"));
    let mut state = state();
    let key = Effect::VirtualKeyIssued {
        strategy: QUOTER,
        account: ACCOUNT,
        scheme: crate::action::Scheme::HmacSha256,
        api_key: "k".to_owned(),
        public_key: ByteVec::from(Vec::new()),
        expires: Timestamp(u64::MAX),
        sources: Vec::new(),
        canary: false,
    };
    fold(&mut state, &[key]);
    hold(&release, &mut state, CALLER, "buy 0.5 BTCUSDT at 60000 a");
    feed(&mut state, "BTCUSDT", "57900");
    let [halt] = trips(&release, &state, NOW).try_into().unwrap();
    let scope = halt.scope.clone();
    fold(&mut state, &[Effect::Halted(halt)]);
    let lost = lost_at(&release, &state, QUOTER, NOW);
    assert_eq!(lost, std::slice::from_ref(&scope));
    let re_armed = lost.into_iter().map(|scope| Effect::Rearmed { scope });
    let effects: Vec<Effect> = re_armed
        .chain([Effect::Resumed { scope, level: None }])
        .collect();
    fold(&mut state, &effects);
    assert_eq!(trips(&release, &state, NOW), []);
    assert_eq!(
        say(&judge(&release, &state, "buy 0.1 BTCUSDT at 57900")),
        "approved"
    );
    // The firm's own count goes on.
    let lost = lost_today(&release, &state, &state.usage[&LevelKey::Firm]);
    assert_eq!(lost.to_string(), "1050");
    feed(&mut state, "BTCUSDT", "55800");
    assert_eq!(trips(&release, &state, NOW).len(), 1);
}
