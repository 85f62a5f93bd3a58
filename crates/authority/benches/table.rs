//! What a decision of the compiled table costs, and what loading 1,000 policies for 1,000 strategies takes.
//! docs/spec/authority.md has the figures. Run: `cargo bench -p portcullis-authority`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a benchmark stops at what it did not expect"
)]

use criterion::{Criterion, criterion_group, criterion_main};
use portcullis_authority::{
    Account, DEFAULT_POLICY, Governing, Oracle, Roster, Strategy, check, compile,
};
use portcullis_model::action::{ActionKind, MarketKind, OrderType, Side};
use portcullis_model::id::{AccountId, Name, StrategyId, Timestamp};
use portcullis_model::release::Authority;
use portcullis_model::table::{Facts, Table};
use std::fmt::Write;
use std::hint::black_box;
use std::time::{Duration, Instant};

const STRATEGIES: u64 = 1_000;
const POLICIES: usize = 1_000;

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .sample_size(50);
    targets = evaluate
}

criterion_main!(benches);

fn evaluate(criterion: &mut Criterion) {
    let small = loaded("default, 1 strategy", DEFAULT_POLICY, &roster(1));
    let mut group = criterion.benchmark_group("evaluate");
    let mut case = |name: &str, table: &Table, strategy: u64, market: &str| {
        let (strategy, account) = (StrategyId(10_000 + strategy), AccountId(1));
        let facts = order(market);
        let asked = 200_000;
        let before = processor_ns();
        for _ in 0..asked {
            let _ = black_box(table.evaluate(
                strategy,
                account,
                ActionKind::PlaceOrder,
                black_box(&facts),
            ));
        }
        println!(
            "{name}: {} ns of processor time",
            (processor_ns() - before) / asked
        );
        group.bench_function(name, |b| {
            b.iter(|| table.evaluate(strategy, account, ActionKind::PlaceOrder, black_box(&facts)))
        });
    };
    case("default", &small, 0, "M7");
    for (name, text) in [
        ("mixed", mixed()),
        ("markets", markets()),
        ("patterns", patterns()),
        ("figures", figures()),
    ] {
        let table = loaded(name, &text, &roster(STRATEGIES));
        case(&format!("{name}, first that fits"), &table, 500, "M7");
        case(&format!("{name}, nothing fits"), &table, 500, "none");
    }
    drop(group);

    let roster = roster(STRATEGIES);
    let rules = check(&mixed()).unwrap();
    let table = compile(&rules, &roster).unwrap();
    let oracle = Oracle::new(rules, roster).unwrap();
    let facts = order("M7");
    let mut group = criterion.benchmark_group("beside it");
    group.bench_function("Cedar, the same question", |b| {
        b.iter(|| {
            oracle.decide(
                StrategyId(10_500),
                AccountId(1),
                ActionKind::PlaceOrder,
                black_box(&facts),
            )
        })
    });
    let governing = Governing::new(table, oracle).unwrap();
    group.bench_function("judge, Cedar looking on", |b| {
        b.iter(|| {
            governing.judge(
                StrategyId(10_500),
                ActionKind::PlaceOrder,
                AccountId(1),
                black_box(&facts),
            )
        })
    });
}

/// Says what loading took.
fn loaded(name: &str, text: &str, roster: &Roster) -> Table {
    let (before, started) = (resident_kib(), Instant::now());
    let rules = check(text).unwrap();
    let checked = started.elapsed();
    let table = compile(&rules, roster).unwrap();
    let compiled = started.elapsed() - checked;
    let with_table = resident_kib();
    let oracle = Oracle::new(rules, roster.clone()).unwrap();
    println!(
        "load {name}: check {checked:.1?}, compile {compiled:.1?}, oracle {:.1?}; policies and table {} KiB, with oracle {} KiB; {:?}",
        started.elapsed() - checked - compiled,
        with_table.saturating_sub(before),
        resident_kib().saturating_sub(before),
        table.size(),
    );
    drop(oracle);
    table
}

/// What this thread has had of a processor: on a shared machine the clock says something else.
fn processor_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ')
        .next()
        .and_then(|n| n.parse().ok())
        .unwrap_or(0)
}

fn resident_kib() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = text
        .split(' ')
        .nth(1)
        .and_then(|n| n.parse().ok())
        .unwrap_or(0);
    pages * 4
}

fn order(market: &str) -> Facts<'_> {
    let mut facts = Facts::new(
        [10, 0, 0, 5].into(),
        Timestamp::from_ms(1_795_305_660_000),
        false,
    );
    facts.market = Some(market);
    facts.market_kind = Some(MarketKind::Spot);
    facts.side = Some(Side::Buy);
    facts.order_type = Some(OrderType::Limit);
    facts.value = Some(1_000_000);
    facts.reduces = Some(false);
    facts.post_only = Some(false);
    facts.borrows = Some(false);
    facts
}

fn roster(strategies: u64) -> Roster {
    let name = |text: &str| Name::new(text).unwrap();
    let mut roster = Roster::empty(Some(name("site")));
    for at in 1..=4 {
        roster.accounts.push(Account {
            id: AccountId(at),
            name: name(&format!("acc-{at}")),
            venue: name("binance"),
        });
    }
    for at in 0..strategies {
        roster.strategies.push(Strategy {
            id: StrategyId(10_000 + at),
            name: name(&format!("s-{at}")),
            desk: Some(name(&format!("desk-{}", at % 20))),
            accounts: vec![AccountId(1), AccountId(1 + at % 4)],
        });
    }
    roster
}

/// What a firm may write: a third about one strategy each, a third about desks, a third about everybody.
fn mixed() -> String {
    let mut text = DEFAULT_POLICY.to_owned();
    for at in 0..POLICIES - 4 {
        let bound = 1_000_000 + at;
        match at % 3 {
            0 => write!(
                text,
                "@id(\"own-{at}\") forbid (principal == Strategy::\"s-{at}\", action in Action::\"Trade\", resource is Account)
                 unless {{ context.value <= {bound} && context.source.isInRange(ip(\"10.0.0.0/8\")) }};\n"
            ),
            1 => write!(
                text,
                "@id(\"desk-{at}\") forbid (principal is Strategy in Desk::\"desk-{}\", action in Action::\"Trade\", resource is Account)
                 when {{ context.market == \"D{at}\" && context.value > {bound} }};\n",
                at % 20
            ),
            _ => write!(
                text,
                "@id(\"all-{at}\") forbid (principal is Strategy, action in Action::\"Trade\", resource is Account)
                 when {{ context.market == \"X{at}\" && principal.accounts.contains(resource) && context.side == \"buy\" }};\n"
            ),
        }
        .unwrap();
    }
    text
}

/// Every policy about everybody, each for markets of its own.
fn markets() -> String {
    let mut text = String::new();
    for at in 0..POLICIES {
        write!(
            text,
            "@id(\"market-{at}\") permit (principal is Strategy, action in Action::\"Trade\", resource is Account)
             when {{ [\"M{at}\", \"N{at}\"].contains(context.market) && context.value <= {} }};\n",
            2_000_000 + at
        )
        .unwrap();
    }
    text
}

/// As many as pass, each to be looked at for every order: patterns.
fn patterns() -> String {
    everybody(49, |at| {
        format!("context.market like \"*Z{at}*\" && context.value > {at}")
    })
}

/// The same: figures and words.
fn figures() -> String {
    everybody(210, |at| {
        format!("context.value > {} && context.side == \"sell\"", at)
    })
}

fn everybody(count: usize, condition: impl Fn(usize) -> String) -> String {
    (0..count)
        .map(|at| {
            format!(
                "@id(\"p-{at}\") forbid (principal is Strategy, action in Action::\"Trade\", resource is Account)
                 when {{ {} }};\n",
                condition(at)
            )
        })
        .collect()
}
