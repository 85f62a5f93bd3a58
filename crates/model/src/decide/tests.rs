use super::*;
use crate::action::{Asset, ClientOrderId, MarketKind, Movement, TimeInForce};
use crate::halt::{By, Halt, Level};
use crate::id::{EntryId, Name};
use crate::release::{Authority, Files};
use crate::report::{OrderReport, Report, Sent};
use crate::state::LevelKey;
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
    let markets: String = ["BTCUSDT", "ETHUSDT"]
        .map(|s| format!(r#"{{"symbol":"{s}","base":"{}","quote":"USDT"}}"#, &s[..3]))
        .join(",");
    let files: Files = [
        ("authority.cedar", String::new()),
        ("mandates.toml", mandates.to_owned()),
        (
            "values.toml",
            "currency = \"USD\"\nequal = [\"USDT\"]".to_owned(),
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
        order_id: id,
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
    });
    let effects = state.settle(ACCOUNT, entry, Sent::Sent, &[report], None);
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
    let nothing = state.settle(ACCOUNT, entry, Sent::MaybeSent, &[], None);
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
    let effects = state.settle(ACCOUNT, entry, Sent::NotSent, &[], None);
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
    let holding = state.usage[&LevelKey::Strategy(QUOTER)].holdings[&Symbol::from("BTCUSDT")];
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
            let before = state.usage.get(&LevelKey::Strategy(QUOTER)).and_then(|u| u.holdings.get(&Symbol::from("BTCUSDT"))).copied().unwrap_or_default();
            let entry = EntryId(state.entries);
            state.apply(entry, NOW, &effects);
            let executed = format!("0.0{:02}", filled.min(size));
            answer(&mut state, entry, n as u64, &format!("c{n}"), &executed, OrderStatus::Open);
            let after = state.usage[&LevelKey::Strategy(QUOTER)].holdings[&Symbol::from("BTCUSDT")];
            if n >= 6 {
                prop_assert!(after.base.0.abs() <= before.base.0.abs());
                prop_assert!(after.base.0 == 0 || before.base.0.signum() == after.base.0.signum());
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
fn a_test_order_is_judged_as_an_order_and_spends_nothing_of_another() {
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
    assert_eq!(spent(&[Action::TestOrder(order.clone())]), "0");
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
        spent(&[Action::TestOrder(order.clone()), Action::PlaceOrder(order)]),
        "6000"
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
