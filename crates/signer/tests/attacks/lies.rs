//! A4 again: what egress can reach by lying about what became of requests. The program is in the same hands, and asks for
//! all it can get.

use crate::common::ask;
use crate::egress::price;
use crate::gate::{DUTIES, Event, Fate, Gate, Signed, now_us, request_of};
use crate::table::row;
use crate::world;
use portcullis_model::action::{ClientOrderId, MarketKind, Side, Symbol};
use portcullis_model::command::{Answer, Command};
use portcullis_model::halt::{Level, Scope};
use portcullis_model::id::{EntryId, RequestId};
use portcullis_model::number::{Amount, Price, Quantity};
use portcullis_model::report::{OrderReport, OrderStatus, Report, Sent};
use portcullis_model::wire::{Discarded, Outcome, Venue as VenueFrame, kind};
use portcullis_sim::venue::Venue;
use std::time::{Duration, Instant};

/// Of the strategy, a day.
pub const TURNOVER: f64 = 1_000_000.0;
/// What a window of it may come to by orders that reduce: the default.
const REDUCING: f64 = 10.0;
/// Orders asked for in a row that are refused: then there is no more to get.
const REFUSED_MAX: usize = 25;
/// Orders asked for at most.
const ORDERS_MAX: usize = 500;
const QUANTITY: f64 = 0.5;

pub fn mandates(price: f64) -> String {
    let of = |n| {
        format!(
            "\n[strategy.strategy{n}]\nturnover_1d = \"{TURNOVER}\"\nopen_orders = \"5\"\nposition = \"100000\"\n"
        )
    };
    let strategies: String = (0..KINDS.len()).map(of).collect();
    format!(
        r#"
[firm]
order_value = "50000"
price_tolerance = "5%"
price_age = "60s"
message_rate = "1000000/1s"
reserved_message_rate = "1000000/1s"
repeat = "unlimited"
turnover_1h = "unlimited"
turnover_1d = "unlimited"
turnover_7d = "unlimited"
turnover_30d = "unlimited"
open_orders = "unlimited"
position = "unlimited"
loss = "unlimited"
venue_weight = "unlimited"
[firm.markets."BTC*"]
floor = "{}"
ceiling = "{}"
quantity = "1"
{strategies}"#,
        (price / 2.0) as u64,
        (price * 2.0) as u64
    )
}

/// What each strategy does all the time.
const KINDS: [&[(&str, &str)]; 5] = [
    &[("BUY", "LIMIT")],
    &[("SELL", "LIMIT")],
    &[("BUY", "MARKET")],
    &[("SELL", "MARKET")],
    &[("BUY", "LIMIT"), ("SELL", "LIMIT")],
];

/// What an egress says about an order, in the place of the truth.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Lie {
    /// It was never sent.
    NotSent,
    /// The venue refused it.
    Refused,
    /// It was cancelled without a fill.
    Expired,
    /// It filled, a million times over.
    HugeFill,
    /// It filled the other way round, at another price.
    StrangeFill,
    /// Buys filled, sells expired: every sell then looks like one that reduces.
    BuysFillSellsExpire,
    /// Nothing at all.
    Silence,
    /// The market is at the floor of the mandate.
    LowPrice,
    /// Far below it.
    NoPrice,
    /// At the ceiling.
    HighPrice,
}

const LIES: [Lie; 10] = [
    Lie::NotSent,
    Lie::Refused,
    Lie::Expired,
    Lie::HugeFill,
    Lie::StrangeFill,
    Lie::BuysFillSellsExpire,
    Lie::Silence,
    Lie::LowPrice,
    Lie::NoPrice,
    Lie::HighPrice,
];

pub fn report(signed: &Signed, status: OrderStatus, executed: i128, quote: i128) -> Report {
    let client = signed.field("newClientOrderId").unwrap();
    Report::Order(OrderReport {
        market: MarketKind::Spot,
        symbol: Symbol::from("BTCUSDT"),
        order_id: (1_000_000 + signed.id.seq).into(),
        client_order_id: Some(ClientOrderId::from(client)),
        list_id: None,
        status,
        side: None,
        order_type: None,
        time_in_force: None,
        price: None,
        original_quantity: None,
        executed_quantity: Some(Quantity(executed)),
        executed_quote: Some(Amount(quote)),
        time_ms: Some(now_us() / 1_000),
        original_client_order_id: None,
        algo: false,
        became: None,
        average_price: None,
    })
}

const ONE: i128 = 1_000_000_000_000_000_000;

impl Lie {
    fn tell(self, gate: &mut Gate, signed: &Signed, price: f64) {
        let is_buy = signed.field("side").as_deref() == Some("BUY");
        let quantity = (QUANTITY * 1e6) as i128 * (ONE / 1_000_000);
        let cost = (QUANTITY * price) as i128 * ONE;
        let (sent, status, reports) = match self {
            Self::Silence => return,
            Self::NotSent | Self::LowPrice | Self::NoPrice | Self::HighPrice => {
                (Sent::NotSent, 0, Vec::new())
            }
            Self::Refused => (Sent::Sent, 400, vec![Report::Refused { code: -2010 }]),
            Self::BuysFillSellsExpire if is_buy => (
                Sent::Sent,
                200,
                vec![report(signed, OrderStatus::Filled, quantity, cost)],
            ),
            Self::Expired | Self::BuysFillSellsExpire => (
                Sent::Sent,
                200,
                vec![report(signed, OrderStatus::Expired, 0, 0)],
            ),
            Self::HugeFill => {
                let huge = report(signed, OrderStatus::Filled, i128::MAX / 4, i128::MAX / 4);
                (Sent::Sent, 200, vec![huge])
            }
            Self::StrangeFill => {
                let strange = [
                    report(signed, OrderStatus::Open, quantity / 2, 1),
                    report(signed, OrderStatus::Open, -quantity, -cost),
                    report(signed, OrderStatus::Filled, quantity / 4, i128::MIN / 4),
                ];
                (Sent::Sent, 200, strange.to_vec())
            }
        };
        gate.say(signed, sent, status, reports.clone());
        // Said twice, of another run, of another entry, of a request that never was: it changes nothing more.
        gate.say(signed, sent, status, reports.clone());
        for (epoch, seq, entry) in [
            (9, signed.id.seq, signed.entry),
            (1, 77, Some(EntryId(3))),
            (0, u64::MAX, None),
        ] {
            let mut other = signed.clone();
            (other.id, other.entry) = (RequestId { epoch, seq }, entry);
            gate.say(&other, sent, status, reports.clone());
        }
        let venue = VenueFrame {
            host: 0,
            weight_used: u32::MAX,
            banned_until_us: 0,
            connections: u32::MAX,
        };
        crate::common::write_frame(&mut gate.from_egress, kind::VENUE, &venue);
    }

    /// What is said to the gate's own questions.
    fn own(self, gate: &mut Gate, signed: &Signed, venue: &mut Venue, price: f64) {
        let said = match self {
            Self::LowPrice => price / 2.0,
            Self::NoPrice => 0.01,
            Self::HighPrice => price * 2.0,
            _ => price,
        };
        if signed.path().contains("ticker/price") {
            let price = Price((said * 100.0) as i128 * (ONE / 100));
            let symbol = Symbol::from("BTCUSDT");
            gate.say(
                signed,
                Sent::Sent,
                200,
                vec![Report::Price {
                    symbol,
                    price,
                    market: MarketKind::Spot,
                }],
            );
        } else if signed.path().ends_with("/time") {
            // Half an hour off.
            let time_ms = now_us() / 1_000 + 1_800_000;
            gate.say(signed, Sent::Sent, 200, vec![Report::VenueTime { time_ms }]);
        } else if self == Self::Silence {
        } else if matches!(self, Self::HugeFill | Self::StrangeFill) {
            gate.honest(signed, venue);
        } else {
            // Whatever order was asked about does not exist.
            gate.say(signed, Sent::Sent, 400, vec![Report::NoSuchOrder]);
        }
    }
}

/// What was signed, at the market's true price where it has no own.
#[derive(Debug, Default)]
struct Signatures {
    bought: f64,
    sold: f64,
    orders: usize,
    /// The first refusal of each side.
    refused: Vec<String>,
}

fn get_all(lie: Lie, kinds: &[usize]) -> Vec<Signatures> {
    let mut venue = world::venue(now_us(), u64::MAX / 4);
    let price = price(&venue);
    let mut gate = Gate::start(&venue, &DUTIES, &mandates(price), KINDS.len());
    let until = Instant::now() + Duration::from_secs(10);
    let mut priced = false;
    while !priced && Instant::now() < until {
        if let Some(Event::Signed(signed)) = gate.event(Duration::from_millis(50)) {
            priced = signed.path().contains("ticker/price");
            lie.own(&mut gate, &signed, &mut venue, price);
        }
    }
    // The lie about the time puts the gate's stamps half a second ahead, and with them its own beginning.
    let until = Instant::now() + Duration::from_millis(700);
    while Instant::now() < until {
        if let Some(Event::Signed(signed)) = gate.event(Duration::from_millis(50)) {
            lie.own(&mut gate, &signed, &mut venue, price);
        }
    }
    let all = kinds.iter().map(|kind| {
        let program = gate.credentials[*kind].clone();
        let mut got = Signatures::default();
        for (side, order_type) in KINDS[*kind] {
            let (mut refused, mut asked_for, mut told) = (0, 0, None);
            while refused < REFUSED_MAX && asked_for < ORDERS_MAX {
                asked_for += 1;
                let own_price = if *side == "BUY" {
                    price * 1.02
                } else {
                    price * 0.98
                } as u64;
                let fields = match *order_type {
                    "LIMIT" => format!("&timeInForce=GTC&price={own_price}"),
                    _ => String::new(),
                };
                let id = gate.next_id();
                let fields = format!(
                    "symbol=BTCUSDT&side={side}&type={order_type}&quantity={QUANTITY}&newClientOrderId=l{}{fields}",
                    id.seq
                );
                let asked = request_of(&program, "POST", "/api/v3/order", &fields);
                gate.hand(&asked, id);
                let signed = loop {
                    match gate.event(Duration::from_secs(20)).expect("an answer") {
                        Event::Signed(signed) if signed.id == id => break Some(signed),
                        Event::Replied { id: of, body, .. } if of == id => {
                            told.get_or_insert(body);
                            break None;
                        }
                        Event::Signed(signed) if signed.id.epoch == 0 => {
                            lie.own(&mut gate, &signed, &mut venue, price);
                        }
                        _ => {}
                    }
                };
                let Some(signed) = signed else {
                    refused += 1;
                    continue;
                };
                refused = 0;
                got.orders += 1;
                match *side {
                    "BUY" if *order_type == "LIMIT" => got.bought += QUANTITY * own_price as f64,
                    "BUY" => got.bought += QUANTITY * price,
                    _ => got.sold += QUANTITY * price,
                }
                // A stamp of the venue's clock is at most half a second off, whatever egress says the time is.
                assert!(signed.starts_us() < now_us() + 501_000, "{}", signed.text());
                lie.tell(&mut gate, &signed, price);
            }
            got.refused.extend(told);
        }
        got
    });
    let all = all.collect();
    gate.told_nobody();
    gate.program.stop();
    all
}

#[test]
fn lies_about_outcomes_and_prices() {
    for lie in LIES {
        for (kind, got) in get_all(lie, &[0, 1, 2, 3]).iter().enumerate() {
            let (all, kinds) = (got.bought + got.sold, KINDS[kind]);
            let refused = got
                .refused
                .first()
                .map_or("nothing refused", String::as_str);
            println!(
                "  {lie:?} {kinds:?}: {} orders, {all:.0} of {TURNOVER:.0}; then {refused}",
                got.orders
            );
            // Where the price is the lie, tolerance and floor refuse some of them whole; a fill below zero is no message, and
            // costs egress its link.
            let is_none = matches!(
                lie,
                Lie::LowPrice | Lie::NoPrice | Lie::HighPrice | Lie::StrangeFill
            );
            assert!(got.orders > 0 || is_none, "{lie:?} {kinds:?}: {got:?}");
            // A price that egress invents is held to the mandate's floor and ceiling, a factor of two here.
            assert!(all <= TURNOVER * 2.0, "{lie:?} {kinds:?}: {got:?}");
            let has_price = kind == 0;
            assert!(!has_price || all <= TURNOVER, "{lie:?} {kinds:?}: {got:?}");
        }
    }
    row(
        "A4 + A2",
        "lies about outcomes (never sent, refused, expired, filled a million times over, filled backwards, nothing; twice, of other \
         runs and entries), about prices and the time, while a program only buys, or only sells",
        LIES.len() * 4,
        "never more signed than the turnover; for orders without a price of their own, times true price over the lowest that the mandate allows",
    );
}

#[test]
fn sells_that_only_seem_to_reduce() {
    let got = &get_all(Lie::BuysFillSellsExpire, &[4])[0];
    println!("  {got:?}");
    assert!(got.bought > 0.0 && got.bought <= TURNOVER);
    let all = got.bought + got.sold;
    assert!(all <= TURNOVER * REDUCING, "{got:?}");
    let refused = got.refused.last().unwrap();
    assert!(refused.contains("what reduces"), "{refused}");
    row(
        "A4 + A2",
        "buys said to fill and sells said to expire, so that each sell seems to reduce",
        got.orders,
        &format!(
            "the turnover holds for the buys ({:.0} of {TURNOVER:.0}); sells end when all that was signed stands at {REDUCING} times \
             the turnover ({all:.0})",
            got.bought
        ),
    );
}

#[test]
fn tests_that_are_handed_in_as_orders() {
    let mut venue = world::venue(now_us(), u64::MAX / 4);
    let price = price(&venue);
    let mut gate = Gate::start(&venue, &DUTIES, &mandates(price), 1);
    let program = gate.credentials[0].clone();
    gate.until_priced(&mut venue);
    let own_price = (price * 1.02) as u64;
    let (mut asked_for, mut taken, mut bought) = (0, 0, 0.0);
    let refused = loop {
        asked_for += 1;
        assert!(asked_for <= ORDERS_MAX, "tests go on for ever: {bought}");
        let fields = format!(
            "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=IOC&quantity={QUANTITY}&price={own_price}&newClientOrderId=t{asked_for}"
        );
        let asked = request_of(&program, "POST", "/api/v3/order/test", &fields);
        match gate.ask(&asked, &mut venue) {
            Fate::Signed(mut signed) => {
                gate.honest(&signed, &mut venue);
                signed.target = b"/api/v3/order".to_vec();
                let (status, _) = world::deliver(&mut venue, &signed, now_us());
                taken += usize::from(status == 200);
                bought += QUANTITY * own_price as f64;
            }
            Fate::Refused { body, .. } => break body,
            Fate::Silent => panic!("no answer"),
        }
    };
    gate.program.stop();
    assert!(taken > 0 && bought <= TURNOVER, "{taken} {bought}");
    assert!(refused.contains("turnover"), "{refused}");
    row(
        "A4 + A2",
        "test orders, handed in as orders",
        asked_for,
        &format!(
            "{taken} became orders; all of them within the turnover ({bought:.0} of {TURNOVER:.0})"
        ),
    );
}

#[test]
fn lies_about_what_was_dropped() {
    let mut venue = world::venue(now_us(), u64::MAX / 4);
    let price = price(&venue);
    let mut gate = Gate::start(&venue, &DUTIES, &mandates(price), 1);
    let program = gate.credentials[0].clone();
    gate.until_priced(&mut venue);
    let fields = format!(
        "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.01&price={}",
        (price * 0.9) as u64
    );
    let signed = gate
        .ask(
            &request_of(&program, "POST", "/api/v3/order", &fields),
            &mut venue,
        )
        .signed();
    let mut operator = gate.program.operator.try_clone().unwrap();
    let halt = Command::Halt {
        scope: Scope::Firm,
        level: Level::CancelOnly,
        reason: "test".to_owned(),
    };
    let asking = std::thread::spawn(move || ask(&mut operator, &halt));
    let mut lied = false;
    while !lied {
        match gate.event(Duration::from_secs(20)).expect("a discard") {
            Event::Discard(discard) => {
                lied = true;
                let discarded = Discarded {
                    token: discard.token,
                    discarded: discard.entries,
                    under_way: Vec::new(),
                    done: vec![EntryId(1), EntryId(u64::MAX)],
                };
                let strange = Discarded {
                    token: discard.token + 1,
                    ..discarded.clone()
                };
                crate::common::write_frame(&mut gate.from_egress, kind::DISCARDED, &strange);
                crate::common::write_frame(&mut gate.from_egress, kind::DISCARDED, &discarded);
            }
            other => gate.meanwhile(other, &mut venue),
        }
    }
    let Answer::Halted(halted) = asking.join().unwrap() else {
        panic!("not halted")
    };
    // It was not dropped; what ends it is the receive window that it was signed with.
    let (status, _) = world::deliver(&mut venue, &signed, signed.ends_us());
    assert_eq!(status, 200);
    assert!(
        signed.ends_us() <= halted.none_after.0,
        "{} {}",
        signed.ends_us(),
        halted.none_after.0
    );
    let (status, body) = world::deliver(&mut venue, &signed, signed.ends_us() + 1_000);
    assert_ne!(status, 200, "{body}");
    // Nothing is signed any more.
    for n in 0..50 {
        let fate = gate.ask(
            &request_of(
                &program,
                "POST",
                "/api/v3/order",
                &format!("{fields}&newClientOrderId=n{n}"),
            ),
            &mut venue,
        );
        assert!(
            matches!(&fate, Fate::Refused { body, .. } if body.contains("cancel-only")),
            "{fate:?}"
        );
    }
    let open = gate.program.status()["open_orders"].clone();
    gate.program.stop();
    row(
        "A4",
        "says that it dropped what it sends after the halt",
        1,
        &format!(
            "the order takes effect within its second, before the moment that `halt` names; nothing is signed any more. \
             (The gate counts {open} open orders.)"
        ),
    );
}

#[test]
fn garbage_from_egress() {
    let mut venue = world::venue(now_us(), u64::MAX / 4);
    let mut gate = Gate::start(&venue, &DUTIES, crate::common::MANDATES, 1);
    let program = gate.credentials[0].clone();
    gate.until_priced(&mut venue);
    let mut tried = 0;
    for garbage in crate::ingress::garbage() {
        use std::io::Write;
        tried += 1;
        let _ = gate.from_egress.write_all(&garbage);
        let _ = gate.from_egress.flush();
        // A new egress, as `up` would start it; and everything works.
        gate.link_egress();
        let fields =
            format!("symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.01&newClientOrderId=g{tried}");
        let asked = request_of(&program, "POST", "/api/v3/order", &fields);
        let signed = gate.ask(&asked, &mut venue).signed();
        gate.honest(&signed, &mut venue);
    }
    // Frames of the right form, of other rooms.
    let outcome = Outcome {
        id: RequestId { epoch: 1, seq: 1 },
        entry: None,
        sent: Sent::Sent,
        status: 200,
        reports: (0..1_000)
            .map(|n| Report::Price {
                symbol: Symbol::from(format!("S{n}")),
                price: Price(1),
                market: MarketKind::Spot,
            })
            .collect(),
        why: Some("x".repeat(10_000)),
        took_us: u64::MAX,
        more: true,
    };
    for _ in 0..200 {
        tried += 1;
        crate::common::write_frame(&mut gate.from_egress, kind::OUTCOME, &outcome);
    }
    let side = Side::Buy;
    let fields =
        format!("symbol=BTCUSDT&side={side:?}&type=MARKET&quantity=0.01").replace("Buy", "BUY");
    let signed = gate
        .ask(
            &request_of(&program, "POST", "/api/v3/order", &fields),
            &mut venue,
        )
        .signed();
    // An answer that never ends is bounded in what is kept of it.
    for _ in 0..100 {
        let endless = Outcome {
            id: signed.id,
            entry: signed.entry,
            ..outcome.clone()
        };
        crate::common::write_frame(&mut gate.from_egress, kind::OUTCOME, &endless);
    }
    gate.program.status();
    assert!(resident_kib(&gate) < 200_000, "{} KiB", resident_kib(&gate));
    gate.program.stop();
    row(
        "A4",
        "garbage, frames of other rooms, endless answers",
        tried,
        "its link is cut; the next egress serves",
    );
}

/// Memory of the signer.
pub fn resident_kib(gate: &Gate) -> u64 {
    let pid = gate.program.running.process.pid();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
