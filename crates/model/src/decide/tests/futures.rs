//! Positions of futures: what an order is worth, what reduces, what was lost.

use super::*;
use crate::id::OrderId;

const MANDATES: &str = r#"
[firm]
order_value = "50000"
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
position = "100000"
loss = "1000"
venue_weight = "unlimited"
[firm.markets."BTC*"]
[firm.markets."usd_futures:BTC*"]
ceiling = "500000"
quantity = "5"
[firm.markets."coin_futures:BTC*"]
"#;

const OKX: AccountId = AccountId(6);
const USDM: (MarketKind, &str) = (MarketKind::UsdFutures, "BTCUSDT");
const COINM: (MarketKind, &str) = (MarketKind::CoinFutures, "BTCUSD_PERP");
const SWAP: (MarketKind, &str) = (MarketKind::UsdFutures, "BTC-USDT-SWAP");

fn release_of(mandates: &str, values: &str) -> Release {
    let files: Files = [
        ("authority.cedar", String::new()),
        ("mandates.toml", mandates.to_owned()),
        (
            "values.toml",
            format!("currency = \"USD\"\nequal = [\"USDT\"]\n{values}"),
        ),
        ("hosts.toml", String::new()),
        (
            "markets/binance.json",
            r#"[{"symbol":"BTCUSDT","base":"BTC","quote":"USDT"},
                {"symbol":"BTCUSDT","base":"BTC","quote":"USDT","kind":"usd_futures"},
                {"symbol":"BTCUSD_PERP","base":"BTC","quote":"USD","kind":"coin_futures","inverse":true,"contract_size":"100"}]"#
                .to_owned(),
        ),
        (
            "markets/okx.json",
            r#"[{"symbol":"BTC-USDT-SWAP","base":"BTC","quote":"USDT","kind":"usd_futures","contract_size":"0.01"}]"#
                .to_owned(),
        ),
    ]
    .map(|(name, text)| (name.to_owned(), text))
    .into();
    Release::load(&files, Box::new(All)).unwrap()
}

fn futures() -> Release {
    release_of(MANDATES, "")
}

fn tell(state: &mut State, effects: &[Effect]) -> EntryId {
    let entry = EntryId(state.entries);
    state.apply(entry, NOW, effects);
    entry
}

fn price(state: &mut State, (kind, symbol): (MarketKind, &str), venue: &str, price: &str) {
    let effect = Effect::Price {
        symbol: symbol.into(),
        price: price.parse().unwrap(),
        market: kind,
        venue: Some(name(venue)),
    };
    tell(state, &[effect]);
}

fn site() -> State {
    let mut state = state();
    tell(
        &mut state,
        &[Effect::AccountAdded {
            name: name("okx"),
            venue: name("okx"),
        }],
    );
    price(&mut state, USDM, "binance", "60000");
    price(&mut state, COINM, "binance", "60000");
    price(&mut state, SWAP, "okx", "60000");
    state
}

/// A limit order at 60000, or a market order.
fn order(of: (MarketKind, &str), side: Side, quantity: &str, at: Option<&str>) -> Order {
    let text = format!("buy {quantity} {} at 60000", of.1);
    let Action::PlaceOrder(order) = action(&text) else {
        panic!("{text}")
    };
    Order {
        market: of.0,
        side,
        price: at.map(|at| at.parse().unwrap()),
        order_type: match at {
            Some(_) => OrderType::Limit,
            None => OrderType::Market,
        },
        ..order
    }
}

fn ask(release: &Release, state: &State, order: Order) -> Decision {
    let account = if order.symbol.as_str() == SWAP.1 {
        OKX
    } else {
        ACCOUNT
    };
    let caller = Caller { account, ..CALLER };
    let action = [Action::PlaceOrder(order)];
    decide(release, state, caller, &action, &FACTS, NOW)
}

/// Approved and recorded: its number.
fn enter(release: &Release, state: &mut State, order: Order) -> EntryId {
    let decision = ask(release, state, order);
    match decision.verdict {
        Verdict::Approved(effects) => tell(state, &effects),
        Verdict::Refused(refusal) => panic!("{refusal}"),
    }
}

/// The venue says that so many of its contracts filled, at an average price.
fn fill(state: &mut State, entry: EntryId, id: u64, client: &str, executed: &str, at: &str) {
    let number = OrderNumber { entry, leg: 0 };
    let known = state.told(number).unwrap().clone();
    let report = Report::Order(OrderReport {
        market: known.market,
        symbol: known.symbol.clone(),
        order_id: id.into(),
        client_order_id: Some(client.into()),
        list_id: None,
        status: OrderStatus::Open,
        side: Some(known.side),
        order_type: None,
        time_in_force: None,
        price: None,
        original_quantity: None,
        executed_quantity: Some(executed.parse().unwrap()),
        executed_quote: None,
        time_ms: None,
        original_client_order_id: None,
        algo: known.algo,
        became: None,
        average_price: Some(at.parse().unwrap()),
    });
    let settled = state.settle(known.account, entry, Sent::Sent, &[report], None);
    assert_eq!(settled.impossible, []);
    tell(state, &settled.effects);
}

/// Bought or sold, and filled at 60000.
fn hold(release: &Release, state: &mut State, of: (MarketKind, &str), side: Side, quantity: &str) {
    let client = format!("h{}", state.entries);
    let order = Order {
        client_order_id: Some(client.as_str().into()),
        ..order(of, side, quantity, Some("60000"))
    };
    let entry = enter(release, state, order);
    fill(state, entry, entry.0, &client, quantity, "60000");
}

#[test]
fn a_contract_is_worth_its_size() {
    let (release, state) = (futures(), site());
    for (of, quantity, expected) in [
        (USDM, "0.8", "approved"),
        (USDM, "0.9", "order value of firm: asked 54000, limit 50000"),
        // A hundredth of a coin each.
        (SWAP, "80", "approved"),
        (SWAP, "100", "order value of firm: asked 60000, limit 50000"),
        (SWAP, "501", "quantity above cap of firm: asked 5.01, cap 5"),
        // 100 USD each.
        (COINM, "500", "approved"),
        (
            COINM,
            "501",
            "order value of firm: asked 50100, limit 50000",
        ),
    ] {
        for side in [Side::Buy, Side::Sell] {
            let order = order(of, side, quantity, Some("60000"));
            let found = say(&ask(&release, &state, order));
            assert_eq!(found, expected, "{quantity} {of:?}");
        }
    }
    // Another venue's market of the same name is not this account's.
    let stranger = order((MarketKind::UsdFutures, "ETHUSDT"), Side::Buy, "1", None);
    assert!(say(&ask(&release, &state, stranger)).contains("not in the release"));
}

#[test]
fn facts_that_contradict_themselves_do_not_load() {
    for market in [
        r#"{"symbol":"A","base":"B","quote":"USD","kind":"coin_futures"}"#,
        r#"{"symbol":"A","base":"B","quote":"USD","kind":"coin_futures","inverse":true}"#,
        r#"{"symbol":"A","base":"B","quote":"USD","inverse":true,"contract_size":"1"}"#,
        r#"{"symbol":"A","base":"B","quote":"USD","kind":"usd_futures","contract_size":"0"}"#,
        r#"{"symbol":"A","base":"B","quote":"USD","contract_size":"10"}"#,
        r#"{"symbol":"A","base":"B","quote":"USD","kind":"usd_futures","settle":"B"}"#,
        r#"{"symbol":"A","base":"B","quote":"USD","contract_sise":"10"}"#,
    ] {
        let files: Files = [
            ("authority.cedar", ""),
            ("mandates.toml", MANDATES),
            ("values.toml", "currency = \"USD\""),
            ("hosts.toml", ""),
            ("markets/x.json", &format!("[{market}]")),
        ]
        .map(|(name, text)| (name.to_owned(), text.to_owned()))
        .into();
        assert!(Release::load(&files, Box::new(All)).is_err(), "{market}");
    }
}

#[test]
fn in_one_way_mode_what_the_venue_holds_to_reduce_reduces_and_nothing_else_is_taken_for_it() {
    let release = release_of(&MANDATES.replace("100000", "30000"), "");
    let mut state = site();
    hold(&release, &mut state, USDM, Side::Buy, "0.4");
    let sell = |quantity: &str| order(USDM, Side::Sell, quantity, Some("60000"));
    let is_reducing = |state: &State, order: Order| {
        let decision = ask(&release, state, order);
        matches!(decision.verdict, Verdict::Approved(_)) && decision.reserved
    };
    assert!(is_reducing(&state, sell("0.4")));
    assert!(!is_reducing(&state, sell("0.41")));
    // Whatever was folded: the venue does not let it open.
    let exit = |quantity: &str| Order {
        reduce_only: true,
        ..sell(quantity)
    };
    assert!(is_reducing(&state, exit("0.8")));
    // Its resting takes from what a plain order may be known to reduce, and makes nothing wider.
    enter(&release, &mut state, exit("0.3"));
    assert!(is_reducing(&state, sell("0.1")));
    assert!(!is_reducing(&state, sell("0.11")));
    let usage = &state.usage[&LevelKey::Strategy(QUOTER)];
    let place = Place::new(ACCOUNT, USDM.0, &USDM.1.into(), None);
    let position = usage.position(&"BTC".into(), &place).unwrap();
    assert_eq!(position.widest(None), position.base.0);
    // On spot nobody holds an order to it.
    let spot = Order {
        market: MarketKind::Spot,
        ..exit("0.1")
    };
    let decision = ask(&release, &state, spot);
    assert!(!decision.reserved);
    // What was bought as a future is not there to be sold on spot.
    let spot = order(
        (MarketKind::Spot, "BTCUSDT"),
        Side::Sell,
        "0.1",
        Some("60000"),
    );
    assert!(!ask(&release, &state, spot).reserved);
}

#[test]
fn an_order_that_closes_a_position_reduces_and_nothing_beside_it_is_known_to() {
    let release = futures();
    let mut state = site();
    hold(&release, &mut state, USDM, Side::Buy, "0.4");
    let stop = Order {
        order_type: OrderType::StopLoss,
        quantity: None,
        price: None,
        time_in_force: None,
        stop_price: Some("55000".parse().unwrap()),
        close_position: true,
        algo: true,
        client_order_id: Some("stop".into()),
        ..order(USDM, Side::Sell, "1", None)
    };
    let decision = ask(&release, &state, stop.clone());
    assert_eq!(
        (say(&decision).as_str(), decision.reserved),
        ("approved", true)
    );
    let both = Order {
        quantity: Some("1".parse().unwrap()),
        ..stop.clone()
    };
    assert!(say(&ask(&release, &state, both)).contains("not known beforehand"));
    let entry = enter(&release, &mut state, stop);
    let sell = order(USDM, Side::Sell, "0.1", Some("60000"));
    assert!(!ask(&release, &state, sell.clone()).reserved);
    // Triggered, it is another order, and what that one fills is its own.
    let report = |algo: bool, id: u64, status, executed: &str| {
        Report::Order(OrderReport {
            market: USDM.0,
            symbol: USDM.1.into(),
            order_id: id.into(),
            client_order_id: Some("stop".into()).filter(|_| algo),
            list_id: None,
            status,
            side: Some(Side::Sell),
            order_type: None,
            time_in_force: None,
            price: None,
            original_quantity: None,
            executed_quantity: Some(executed.parse().unwrap()),
            executed_quote: None,
            time_ms: None,
            original_client_order_id: None,
            algo,
            became: algo.then_some(OrderId::from(77)),
            average_price: Some("55000".parse().unwrap()),
        })
    };
    for report in [
        report(true, 5, OrderStatus::Open, "0"),
        report(false, 77, OrderStatus::Filled, "0.4"),
    ] {
        let settled = state.settle(ACCOUNT, entry, Sent::Sent, &[report], None);
        assert_eq!(settled.impossible, []);
        tell(&mut state, &settled.effects);
    }
    let place = Place::new(ACCOUNT, USDM.0, &USDM.1.into(), None);
    let usage = &state.usage[&LevelKey::Firm];
    let position = usage.position(&"BTC".into(), &place).unwrap();
    assert_eq!(*position, Position::default());
    assert_eq!(usage.open_orders, 1, "the first order is still open");
    assert!(!state.orders.contains_key(&OrderNumber { entry, leg: 0 }));
}

#[test]
fn positions_of_an_asset_add_up_and_are_netted_only_in_a_hedge_group() {
    let values = "[[hedge_group]]\nname = \"basis\"\naccounts = [\"main\"]\n";
    for (values, expected) in [
        ("", "position of firm: could become 126000, limit 100000"),
        (values, "approved"),
    ] {
        let release = release_of(MANDATES, values);
        let mut state = site();
        hold(
            &release,
            &mut state,
            (MarketKind::Spot, "BTCUSDT"),
            Side::Buy,
            "0.7",
        );
        hold(&release, &mut state, COINM, Side::Sell, "420");
        let more = order(USDM, Side::Sell, "0.7", Some("60000"));
        assert_eq!(say(&ask(&release, &state, more)), expected, "{values}");
    }
}

#[test]
fn what_a_conditional_order_could_fill_at_is_what_it_is_worth() {
    let (release, state) = (futures(), site());
    let trailing = |side, delta| Order {
        order_type: OrderType::TrailingStop,
        trailing_delta: delta,
        time_in_force: None,
        ..order(USDM, side, "0.8", None)
    };
    // 0.8 at 60000, and a tenth more where it may turn; a buy may cost the tolerance more.
    for (side, delta, expected) in [
        (Side::Sell, Some(0), "approved"),
        (
            Side::Sell,
            Some(1_000),
            "order value of firm: asked 52800, limit 50000",
        ),
        (
            Side::Buy,
            Some(0),
            "order value of firm: asked 50400, limit 50000",
        ),
        (
            Side::Sell,
            None,
            "what the order on `BTCUSDT` could be worth is not known beforehand",
        ),
    ] {
        assert_eq!(say(&ask(&release, &state, trailing(side, delta))), expected);
    }
    let stop = Order {
        order_type: OrderType::StopLoss,
        stop_price: Some("65000".parse().unwrap()),
        time_in_force: None,
        ..order(USDM, Side::Buy, "0.8", None)
    };
    assert_eq!(
        say(&ask(&release, &state, stop)),
        "order value of firm: asked 54600, limit 50000"
    );
}

#[test]
fn a_loss_of_inverse_contracts_is_counted_in_the_sites_currency() {
    let release = futures();
    let mut state = site();
    // 50,000 USD long from 60,000 on: at 50,000 each it has lost 50,000/50,000 - 50,000/60,000 coins, worth 60,000 on spot.
    hold(&release, &mut state, COINM, Side::Buy, "500");
    price(&mut state, COINM, "binance", "50000");
    let lost = |state: &State| lost_today(&release, state, &state.usage[&LevelKey::Firm]);
    let text = lost(&state).to_string();
    assert!(text.starts_with("10000"), "{text}");
    let more = order(COINM, Side::Buy, "1", Some("50000"));
    assert!(say(&ask(&release, &state, more)).starts_with("loss of firm: lost 10000"));
    // Short it would have gained.
    let mut state = site();
    hold(&release, &mut state, COINM, Side::Sell, "500");
    price(&mut state, COINM, "binance", "50000");
    assert_eq!(lost(&state), Value::ZERO);
    // A linear one, in contracts of another size.
    let mut state = site();
    hold(&release, &mut state, SWAP, Side::Buy, "80");
    price(&mut state, SWAP, "okx", "59000");
    assert_eq!(lost(&state).to_string(), "800");
}

#[test]
fn settings_are_those_of_a_mandated_market() {
    let release = release_of(
        &format!("{MANDATES}[strategy.quoter]\nleverage = \"5\"\n"),
        "",
    );
    let set = |kind, symbol: &str| {
        let action = Action::Configure(Setting {
            symbol: Some(symbol.into()),
            to: Some("3".to_owned()),
            setting: Some(SettingKind::Leverage),
            market: Some(kind),
        });
        say(&decide(&release, &site(), CALLER, &[action], &FACTS, NOW))
    };
    assert_eq!(set(MarketKind::UsdFutures, "BTCUSDT"), "approved");
    assert_eq!(
        set(MarketKind::UsdFutures, "ETHUSDT"),
        "market `ETHUSDT` is not in the mandate of firm"
    );
}

fn position(state: &State, side: PositionSide) -> Position {
    let place = Place::new(ACCOUNT, USDM.0, &USDM.1.into(), Some(side));
    let usage = state.usage.get(&LevelKey::Strategy(QUOTER));
    usage
        .and_then(|usage| usage.position(&"BTC".into(), &place))
        .copied()
        .unwrap_or_default()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Orders of both sides and directions, filled bit by bit, each fill told late and in any order.
    #[test]
    fn in_hedge_mode_what_reduces_never_grows_a_position(
        orders in prop::collection::vec((any::<bool>(), any::<bool>(), 1u32..5), 1..12),
        told in prop::collection::vec((any::<prop::sample::Index>(), 1u32..5), 0..40),
    ) {
        use PositionSide::{Long, Short};
        let release = futures();
        let mut state = site();
        let mut entered = Vec::new();
        for (n, (is_long, opens, quantity)) in orders.iter().enumerate() {
            let position_side = if *is_long { Long } else { Short };
            let side = if *is_long == *opens { Side::Buy } else { Side::Sell };
            let client = format!("p{n}");
            let order = Order {
                position_side: Some(position_side),
                client_order_id: Some(client.as_str().into()),
                // What it says of itself is not looked at.
                reduce_only: *opens,
                ..order(USDM, side, &format!("0.0{quantity}"), Some("60000"))
            };
            let before = [Long, Short].map(|side| position(&state, side));
            let decision = ask(&release, &state, order.clone());
            prop_assert_eq!(decision.reserved, !opens);
            let entry = enter(&release, &mut state, order);
            for (side, before) in [Long, Short].into_iter().zip(before) {
                let after = position(&state, side);
                let grown = after.widest(Some(side)) - before.widest(Some(side));
                let expected = if *opens && side == position_side { i128::from(*quantity) * ONE / 100 } else { 0 };
                prop_assert_eq!(grown, expected);
            }
            entered.push((entry, position_side, *opens, *quantity, client, 0u32));
        }
        for (which, part) in told {
            let at = which.index(entered.len());
            let (entry, side, opens, quantity, client, filled) = &mut entered[at];
            *filled = (*filled + part).min(*quantity);
            let other = if *side == Long { Short } else { Long };
            let before = (position(&state, *side), position(&state, other));
            fill(&mut state, *entry, entry.0, client, &format!("0.0{filled}"), "60000");
            let after = position(&state, *side);
            prop_assert_eq!(position(&state, other), before.1);
            let grown = after.widest(Some(*side)) - before.0.widest(Some(*side));
            // An opening fill was counted when it was reserved; a reducing one can only lessen.
            prop_assert!(*opens || grown <= 0);
        }
        // Once all is told what is held is what was filled.
        for side in [Long, Short] {
            let sum: i64 = entered
                .iter()
                .filter(|(_, of, ..)| *of == side)
                .map(|(_, _, opens, _, _, filled)| if *opens { i64::from(*filled) } else { -i64::from(*filled) })
                .sum();
            let sign = if side == Long { 1 } else { -1 };
            prop_assert_eq!(position(&state, side).base.0, i128::from(sign * sum) * ONE / 100);
        }
    }

    /// Against exact rationals: `contracts * 100 USD`, and `N/p0 - N/p1` coins of gain.
    #[test]
    fn inverse_contracts_are_worth_what_rationals_say(
        contracts in 1i128..400, buy in any::<bool>(), p0 in 59_000i128..61_000, p1 in 1_000i128..500_000,
    ) {
        let release = futures();
        let mut state = site();
        let side = if buy { Side::Buy } else { Side::Sell };
        let client = "inverse";
        let order = Order {
            client_order_id: Some(client.into()),
            ..order(COINM, side, &contracts.to_string(), Some(&p0.to_string()))
        };
        let Verdict::Approved(effects) = ask(&release, &state, order.clone()).verdict else { panic!() };
        let Some(Effect::Spent { turnover, .. }) = effects.first() else { panic!() };
        prop_assert_eq!(turnover.0, contracts * 100 * 1_000_000);
        let entry = enter(&release, &mut state, order);
        fill(&mut state, entry, 9, client, &contracts.to_string(), &p0.to_string());
        price(&mut state, COINM, "binance", &p1.to_string());
        let usage = &state.usage[&LevelKey::Firm];
        let gained = usage.gained().find(|(asset, _)| asset.as_str() == "BTC");
        let gained = gained.map_or(0, |(_, amount)| amount.0);
        // gained * p0 * p1 against N * (p1 - p0) * 10^18, long; the other way short.
        let face = contracts * 100 * if buy { 1 } else { -1 };
        let exact = face * (p1 - p0) * ONE;
        let scale = p0 * p1;
        prop_assert!((gained * scale - exact).abs() <= 2 * scale, "{gained}");
    }
}

#[test]
fn a_conditional_order_is_found_by_its_number_or_its_name_alone() {
    let release = futures();
    let mut state = site();
    let stop = Order {
        order_type: OrderType::StopLoss,
        price: None,
        time_in_force: None,
        stop_price: Some("55000".parse().unwrap()),
        reduce_only: true,
        algo: true,
        client_order_id: Some("stop".into()),
        ..order(USDM, Side::Sell, "0.1", None)
    };
    let entry = enter(&release, &mut state, stop);
    fill(&mut state, entry, 5, "stop", "0", "55000");
    let find = |symbol: &str, algo: bool, number: Option<u64>, client: Option<&str>| {
        let (symbol, client) = (symbol.into(), client.map(|id| id.into()));
        let called = Called {
            market: USDM.0,
            symbol: &symbol,
            algo,
            order_id: number.map(OrderId::from),
            client: client.as_ref(),
        };
        state.find(ACCOUNT, called)
    };
    let known = Some(OrderNumber { entry, leg: 0 });
    assert_eq!(find(USDM.1, true, Some(5), None), known);
    assert_eq!(find("", true, Some(5), None), known);
    assert_eq!(find("", true, None, Some("stop")), known);
    for other in [
        find("ETHUSDT", true, Some(5), None),
        find("", true, Some(6), None),
        find("", true, None, Some("other")),
        find("", false, Some(5), None),
        find(USDM.1, false, Some(5), None),
        find("", false, None, Some("stop")),
    ] {
        assert_eq!(other, None);
    }
}
