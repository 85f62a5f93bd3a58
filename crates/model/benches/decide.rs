//! What a decision costs with 1,000 strategies, 1,000 rules and 1,000 markets: `cargo bench -p portcullis-model`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a benchmark"
)]

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use portcullis_model::action::{
    Action, ActionKind, MarketKind, Order, OrderRef, OrderType, Side, TimeInForce,
};
use portcullis_model::decide::{Caller, Facts, Space, Verdict, decide};
use portcullis_model::id::{AccountId, EntryId, Name, StrategyId, Timestamp, VirtualKeyId};
use portcullis_model::release::{Files, Release};
use portcullis_model::report::{OrderReport, OrderStatus, Report, Sent};
use portcullis_model::state::{Effect, State};
use portcullis_model::table::{Builder, Effect as Says, PolicyIndex, Slot, Table, Test};
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

const STRATEGIES: u64 = 1_000;
const MARKETS: u64 = 1_000;
const RULES: u32 = 1_000;
const NOW: Timestamp = Timestamp(1_790_000_000_000_000);
const ACCOUNT: AccountId = AccountId(1);
const FACTS: Facts = Facts {
    space: Space::Plenty,
    unsynced_us: 0,
    weight: 1,
};

fn symbol(n: u64) -> String {
    format!("M{n:03}USDT")
}

/// Half of the rules permit one market each up to a value, half forbid one market above a value.
fn authority() -> Table {
    let says = |n: u32| {
        if n.is_multiple_of(2) {
            Says::Permit
        } else {
            Says::Forbid
        }
    };
    let policies = (0..RULES)
        .map(|n| (format!("rule-{n}").into(), says(n)))
        .collect();
    let strategies: Vec<_> = (2..2 + STRATEGIES).map(StrategyId).collect();
    let mut builder = Builder::new(policies, strategies.clone(), vec![ACCOUNT]);
    let all: Vec<_> = (0..RULES)
        .map(|n| {
            let market = |n: u64| Test::TextIn {
                slot: Slot::Market,
                words: [symbol(n).into()].into(),
            };
            let value = |low, high| Test::LongIn {
                slot: Slot::Value,
                low,
                high,
            };
            let test = match says(n) {
                Says::Permit => [market(u64::from(n / 2)), value(0, 1_000_000_000_000)],
                Says::Forbid => [market(u64::from(n / 2)), value(900_000_000_000, i64::MAX)],
            };
            (PolicyIndex(n), builder.test(&Test::All(test.into())))
        })
        .collect();
    let cancel = builder.test(&Test::Always);
    let group = builder.group(|kind| match kind {
        ActionKind::PlaceOrder => all.clone(),
        ActionKind::CancelOrder => vec![(PolicyIndex(0), cancel)],
        _ => Vec::new(),
    });
    let row = builder.row(&[group]);
    for strategy in strategies {
        builder.place(strategy, ACCOUNT, row);
    }
    builder.finish()
}

fn release() -> Release {
    let mut mandates = r#"
[firm]
order_value = "500000"
price_tolerance = "5%"
price_age = "10s"
message_rate = "1000000/1s"
reserved_message_rate = "1000000/1s"
repeat = "1000000/1s"
turnover_1h = "100000000000"
turnover_1d = "500000000000"
turnover_7d = "500000000000"
turnover_30d = "500000000000"
open_orders = "1000000"
position = "2500000"
loss = "1000000"
venue_weight = "1000000000"
"#
    .to_owned();
    for n in 0..MARKETS {
        mandates.push_str(&format!(
            "[firm.markets.\"{}\"]\nfloor = \"1\"\nceiling = \"500000\"\nquantity = \"50\"\n",
            symbol(n)
        ));
    }
    mandates.push_str("[account.main]\nopen_orders = \"900000\"\nloss = \"900000\"\n");
    for n in 0..10 {
        mandates.push_str(&format!("[desk.d{n}]\nposition = \"2000000\"\n"));
    }
    for n in 0..STRATEGIES {
        mandates.push_str(&format!(
            "[strategy.s{n}]\norder_value = \"10000\"\nposition = \"100000\"\nopen_orders = \"50\"\nloss = \"5000\"\nturnover_1h = \"100000000\"\n[strategy.s{n}.markets.\"M*\"]\nfloor = \"2\"\n"
        ));
    }
    let markets: Vec<String> = (0..MARKETS)
        .map(|n| {
            let (symbol, base) = (symbol(n), format!("M{n:03}"));
            format!(r#"{{"symbol":"{symbol}","base":"{base}","quote":"USDT"}}"#)
        })
        .collect();
    let files: Files = [
        ("authority.cedar", String::new()),
        ("mandates.toml", mandates),
        (
            "values.toml",
            "currency = \"USD\"\nequal = [\"USDT\"]".to_owned(),
        ),
        ("hosts.toml", String::new()),
        ("markets/binance.json", format!("[{}]", markets.join(","))),
    ]
    .map(|(name, text)| (name.to_owned(), text))
    .into();
    Release::load(&files, Box::new(authority())).unwrap()
}

fn caller(n: u64) -> Caller {
    Caller {
        strategy: StrategyId(2 + n),
        virtual_key: VirtualKeyId(9),
        account: ACCOUNT,
        source: IpAddr::V4(Ipv4Addr::LOCALHOST),
    }
}

fn order(n: u64, client: &str) -> Action {
    Action::PlaceOrder(Order {
        market: MarketKind::Spot,
        symbol: symbol(n / 2).as_str().into(),
        side: Side::Buy,
        order_type: OrderType::Limit,
        time_in_force: Some(TimeInForce::Gtc),
        quantity: "0.1".parse().ok(),
        quote_quantity: None,
        price: "101.5".parse().ok(),
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
    })
}

/// Every strategy has bought in its market and has an order open.
fn state(release: &Release) -> State {
    let mut state = State::default();
    let name = |text: &str| Name::new(text).unwrap();
    let fold = |state: &mut State, effects: &[Effect]| {
        state.apply(EntryId(state.entries), NOW, effects);
    };
    fold(&mut state, &[Effect::SiteCreated { name: name("site") }]);
    let account = Effect::AccountAdded {
        name: name("main"),
        venue: name("binance"),
    };
    fold(&mut state, &[account]);
    for n in 0..STRATEGIES {
        let strategy = Effect::StrategyAdded {
            name: name(&format!("s{n}")),
            desk: Some(name(&format!("d{}", n % 10))),
            observe: false,
        };
        fold(&mut state, &[strategy]);
    }
    let released = Effect::Released {
        hash: vec![0; 32].into(),
    };
    fold(&mut state, &[released]);
    for n in 0..MARKETS {
        let price = Effect::Price {
            symbol: symbol(n).as_str().into(),
            price: "101".parse().unwrap(),
            market: MarketKind::Spot,
            venue: None,
        };
        fold(&mut state, &[price]);
    }
    for n in 0..STRATEGIES {
        for (kind, status) in [("f", OrderStatus::Filled), ("o", OrderStatus::Open)] {
            let client = format!("{kind}{n}");
            let entry = EntryId(state.entries);
            let actions = [order(n, &client)];
            match decide(release, &state, caller(n), &actions, &FACTS, NOW).verdict {
                Verdict::Approved(effects) => fold(&mut state, &effects),
                Verdict::Refused(refusal) => panic!("{refusal}"),
            }
            let filled = if status == OrderStatus::Filled {
                "0.1"
            } else {
                "0"
            };
            let report = Report::Order(OrderReport {
                market: MarketKind::Spot,
                symbol: symbol(n / 2).as_str().into(),
                order_id: (10 * n + u64::from(kind == "o")).into(),
                client_order_id: Some(client.as_str().into()),
                list_id: None,
                status,
                side: None,
                order_type: None,
                time_in_force: None,
                price: None,
                original_quantity: None,
                executed_quantity: filled.parse().ok(),
                executed_quote: if filled == "0" { "0" } else { "10.15" }.parse().ok(),
                time_ms: None,
                original_client_order_id: None,
                algo: false,
                became: None,
                average_price: None,
            });
            let effects = state
                .settle(ACCOUNT, entry, Sent::Sent, &[report], None)
                .effects;
            fold(&mut state, &effects);
        }
    }
    state
}

fn stages(c: &mut Criterion) {
    let release = release();
    let state = state(&release);
    let asks =
        |n: u64, actions: &[Action]| decide(&release, &state, caller(n), actions, &FACTS, NOW);
    let orders: Vec<[Action; 1]> = (0..STRATEGIES).map(|n| [order(n, "new")]).collect();
    for (n, order) in (0..STRATEGIES).zip(&orders) {
        assert!(matches!(asks(n, order).verdict, Verdict::Approved(_)));
    }
    let mut n = 0;
    c.bench_function("decide/order", |b| {
        b.iter(|| {
            n = (n + 7) % STRATEGIES;
            asks(n, black_box(&orders[n as usize]))
        });
    });
    let cancels: Vec<[Action; 1]> = (0..STRATEGIES)
        .map(|n| {
            [Action::CancelOrder(OrderRef {
                market: MarketKind::Spot,
                symbol: symbol(n / 2).as_str().into(),
                order_id: None,
                client_order_id: Some(format!("o{n}").as_str().into()),
                list: false,
                algo: false,
            })]
        })
        .collect();
    c.bench_function("decide/cancel", |b| {
        b.iter(|| {
            n = (n + 7) % STRATEGIES;
            asks(n, black_box(&cancels[n as usize]))
        });
    });
    let Verdict::Approved(effects) = asks(5, &orders[5]).verdict else {
        panic!()
    };
    c.bench_function("apply/order", |b| {
        let mut state = state.clone();
        b.iter_batched(
            || effects.clone(),
            |effects| state.apply(EntryId(state.entries), NOW, &effects),
            BatchSize::SmallInput,
        );
    });
}

criterion_group!(benches, stages);
criterion_main!(benches);
