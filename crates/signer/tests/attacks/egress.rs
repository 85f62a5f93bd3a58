//! A4: code execution in `egress`. It gets every request that the signer signs, and hands it to the exchange as it likes.

use crate::common::MANDATES;
use crate::gate::{DUTIES, Fate, Gate, Signed, now_us, request_of};
use crate::table::row;
use crate::world::{self, Books, Effect};
use portcullis_model::action::ActionKind;
use portcullis_model::report::Sent;
use portcullis_sim::venue::Venue;
use portcullis_venues::catalog::FieldRule;
use portcullis_venues::value::Type;
use portcullis_venues::{Asked, Catalog};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

pub const METHODS: [&str; 4] = ["GET", "POST", "PUT", "DELETE"];
/// What every signed request has, whatever it asks.
const SCHEME: [&str; 3] = ["recvWindow", "timestamp", "signature"];

/// Everything that the signer hands out for requests of every kind, and the world that it was signed for.
pub struct Harvest {
    /// Orders, cancels, amendments, lists.
    pub trades: Vec<Signed>,
    pub reads: Vec<Signed>,
    setup: Vec<(Signed, u64)>,
    began_us: u64,
    keys: BTreeMap<String, String>,
}

/// The venue with the orders that the harvest's cancels point at.
pub struct World {
    pub venue: Venue,
    pub books: Books,
}

impl Harvest {
    pub fn world(&self, orders_per_10s: u64) -> World {
        let mut venue = world::venue(self.began_us, orders_per_10s);
        for (signed, at) in &self.setup {
            let (status, body) = world::deliver(&mut venue, signed, *at);
            assert_eq!(status, 200, "{body}");
        }
        // Quotes follow the clock: what changes after this was done by a request.
        let books = Books::of(&venue);
        World { venue, books }
    }

    fn duty(&self, signed: &Signed) -> &str {
        let key = signed.key().expect("signed");
        let mut found = self.keys.iter().filter(|(_, id)| **id == key);
        found.next().expect("a key of the site").0
    }

    fn all(&self) -> impl Iterator<Item = &Signed> {
        self.trades.iter().chain(&self.reads)
    }
}

pub fn price(venue: &Venue) -> f64 {
    let market = venue.exchange.market("BTCUSDT").unwrap();
    let text = portcullis_sim::decimal::text(venue.exchange.markets[market].last);
    text.parse().unwrap()
}

/// A program's orders of every kind. `t1` to `t5` and the list `l1` are open.
fn menu(price: f64, ids: &BTreeMap<String, u64>) -> Vec<(&'static str, &'static str, String)> {
    let at = |times: f64| format!("{}", (price * times) as u64);
    let (lo, below, hi, above) = (at(0.98), at(0.97), at(1.02), at(1.03));
    let mut menu = Vec::new();
    let orders = [
        format!("side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.01&price={lo}"),
        format!(
            "side=SELL&type=LIMIT&timeInForce=GTC&quantity=0.01&price={hi}&newClientOrderId=own-id"
        ),
        format!(
            "side=BUY&type=LIMIT&timeInForce=IOC&quantity=0.01&price={hi}&newOrderRespType=FULL"
        ),
        format!(
            "side=SELL&type=LIMIT&timeInForce=FOK&quantity=0.01&price={lo}&selfTradePreventionMode=EXPIRE_MAKER"
        ),
        format!("side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.01&price={lo}&icebergQty=0.002"),
        format!("side=SELL&type=LIMIT_MAKER&quantity=0.01&price={hi}&strategyId=7"),
        "side=BUY&type=MARKET&quantity=0.01".to_owned(),
        "side=SELL&type=MARKET&quantity=0.01".to_owned(),
        "side=BUY&type=MARKET&quoteOrderQty=500".to_owned(),
        "side=SELL&type=MARKET&quoteOrderQty=500".to_owned(),
        format!("side=SELL&type=STOP_LOSS&quantity=0.01&stopPrice={lo}"),
        format!(
            "side=SELL&type=STOP_LOSS_LIMIT&timeInForce=GTC&quantity=0.01&price={lo}&stopPrice={lo}"
        ),
        format!("side=SELL&type=TAKE_PROFIT&quantity=0.01&stopPrice={hi}"),
        format!(
            "side=BUY&type=TAKE_PROFIT_LIMIT&timeInForce=GTC&quantity=0.01&price={lo}&stopPrice={lo}"
        ),
        "side=SELL&type=STOP_LOSS&quantity=0.01&trailingDelta=100".to_owned(),
    ];
    for order in &orders {
        for path in ["/api/v3/order", "/api/v3/order/test"] {
            menu.push(("POST", path, order.clone()));
        }
    }
    for path in ["/api/v3/sor/order", "/api/v3/sor/order/test"] {
        menu.push((
            "POST",
            path,
            "side=BUY&type=MARKET&quantity=0.01".to_owned(),
        ));
    }
    menu.push(("DELETE", "/api/v3/order", "origClientOrderId=t1".to_owned()));
    menu.push(("DELETE", "/api/v3/order", format!("orderId={}", ids["t2"])));
    menu.push(("DELETE", "/api/v3/openOrders", String::new()));
    menu.push((
        "DELETE",
        "/api/v3/orderList",
        "listClientOrderId=l1".to_owned(),
    ));
    let replace = format!(
        "{}&cancelReplaceMode=STOP_ON_FAILURE&cancelOrigClientOrderId=t3",
        orders[0]
    );
    menu.push(("POST", "/api/v3/order/cancelReplace", replace));
    menu.push((
        "PUT",
        "/api/v3/order/amend/keepPriority",
        "origClientOrderId=t4&newQty=0.005".to_owned(),
    ));
    menu.push((
        "POST",
        "/api/v3/order/oco",
        format!("side=SELL&quantity=0.01&price={hi}&stopPrice={lo}&stopLimitPrice={lo}&stopLimitTimeInForce=GTC"),
    ));
    let pair = |above_leg: &str, below_leg: &str| {
        format!(
            "{above_leg}Type=LIMIT_MAKER&{above_leg}Price={above}&{below_leg}Type=STOP_LOSS&{below_leg}StopPrice={below}"
        )
    };
    menu.push((
        "POST",
        "/api/v3/orderList/oco",
        format!("side=SELL&quantity=0.01&{}", pair("above", "below")),
    ));
    let working = format!(
        "workingType=LIMIT&workingSide=BUY&workingPrice={lo}&workingQuantity=0.01&workingTimeInForce=GTC"
    );
    let pending =
        format!("pendingType=LIMIT&pendingSide=SELL&pendingPrice={hi}&pendingTimeInForce=GTC");
    menu.push((
        "POST",
        "/api/v3/orderList/oto",
        format!("{working}&{pending}&pendingQuantity=0.01"),
    ));
    menu.push((
        "POST",
        "/api/v3/orderList/opo",
        format!("{working}&{pending}"),
    ));
    let pending = format!("pendingSide=SELL&{}", pair("pendingAbove", "pendingBelow"));
    menu.push((
        "POST",
        "/api/v3/orderList/otoco",
        format!("{working}&{pending}&pendingQuantity=0.01"),
    ));
    menu.push((
        "POST",
        "/api/v3/orderList/opoco",
        format!("{working}&{pending}"),
    ));
    menu.into_iter()
        .map(|(method, path, fields)| {
            let fields = match fields.as_str() {
                "" => "symbol=BTCUSDT".to_owned(),
                fields => format!("symbol=BTCUSDT&{fields}"),
            };
            (method, path, fields)
        })
        .collect()
}

/// A text of a field's type.
fn text_of(rule: &FieldRule) -> String {
    match &rule.ty {
        Type::Symbol => "BTCUSDT".to_owned(),
        Type::Symbols => "%5B%22BTCUSDT%22%5D".to_owned(),
        Type::Asset | Type::Assets => "USDT".to_owned(),
        Type::Positive | Type::Decimal | Type::PriceOrMarket => "1".to_owned(),
        Type::Integer { from, to, .. } => (1.max(*from)).min(*to).to_string(),
        Type::Signed | Type::OrderId => "1".to_owned(),
        Type::Time => (now_us() / 1_000).to_string(),
        Type::ClientId | Type::ClientIdRef => "t5".to_owned(),
        Type::Bool => "true".to_owned(),
        Type::Flag => "TRUE".to_owned(),
        Type::Words(words) => words[0].clone(),
        Type::Token | Type::Text | Type::FrameId => "a".to_owned(),
        // No spot call has them.
        Type::List(_) | Type::Objects(_) | Type::Object(_) => "%5B%5D".to_owned(),
    }
}

/// Every other call of the catalog, with the fields that it must have and with all that it may have.
fn other_calls() -> Vec<(&'static str, String, String)> {
    let mut calls = Vec::new();
    let catalog = Catalog::builtin().unwrap();
    for (_, endpoint) in catalog.endpoints() {
        // The listener is this venue's: no other's call can be asked there.
        if catalog.service_of(endpoint).map(|s| s.venue()) != Some("binance") {
            continue;
        }
        if matches!(
            endpoint.action,
            ActionKind::PlaceOrder
                | ActionKind::TestOrder
                | ActionKind::CancelOrder
                | ActionKind::CancelAll
                | ActionKind::AmendOrder
        ) && endpoint.path.starts_with("/api/")
        {
            continue;
        }
        let fields = |wanted: &dyn Fn(&FieldRule) -> bool| {
            let fields = endpoint.fields.iter().filter(|rule| wanted(rule));
            let fields: Vec<String> = fields
                .map(|rule| format!("{}={}", rule.name, text_of(rule)))
                .collect();
            fields.join("&")
        };
        let one_of: BTreeSet<&String> = endpoint
            .one_of
            .iter()
            .filter_map(|names| names.first())
            .collect();
        let must = fields(&|rule| rule.required || one_of.contains(&rule.name));
        let all = fields(&|_| true);
        for fields in [must, all] {
            calls.push((endpoint.method.name(), endpoint.path.clone(), fields));
        }
    }
    calls.dedup();
    calls
}

pub static HARVEST: LazyLock<Harvest> = LazyLock::new(|| {
    let began_us = now_us();
    let mut venue = world::venue(began_us, u64::MAX / 4);
    let mut gate = Gate::start(&venue, &DUTIES, MANDATES, 1);
    let quoter = gate.credentials[0].clone();
    gate.until_priced(&mut venue);
    let price = price(&venue);
    let mut setup = Vec::new();
    let mut ids = BTreeMap::new();
    let far = (price * 0.9) as u64;
    let mut open = |gate: &mut Gate, path: &str, fields: &str| {
        let asked = request_of(&quoter, "POST", path, fields);
        let signed = gate.ask(&asked, &mut venue).signed();
        let at = now_us();
        let (status, body) = world::deliver(&mut venue, &signed, at);
        assert_eq!(status, 200, "{body}");
        let target = &signed.target;
        let reports = portcullis_venues::summarize(
            signed.endpoint,
            Asked {
                target,
                body: &signed.body,
            },
            status,
            body.as_bytes(),
        );
        gate.say(&signed, Sent::Sent, status, reports);
        setup.push((signed, at));
        serde_json::from_str::<serde_json::Value>(&body).unwrap()
    };
    for client in ["t1", "t2", "t3", "t4", "t5"] {
        let fields = format!(
            "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.01&price={far}&newClientOrderId={client}"
        );
        let order = open(&mut gate, "/api/v3/order", &fields);
        ids.insert(client.to_owned(), order["orderId"].as_u64().unwrap());
    }
    let (above, below) = ((price * 1.1) as u64, (price * 0.97) as u64);
    let list = format!(
        "symbol=BTCUSDT&listClientOrderId=l1&side=SELL&quantity=0.01&aboveType=LIMIT_MAKER&abovePrice={above}\
         &belowType=STOP_LOSS&belowStopPrice={below}"
    );
    open(&mut gate, "/api/v3/orderList/oco", &list);

    let mut trades = Vec::new();
    for (method, path, fields) in menu(price, &ids) {
        let asked = request_of(&quoter, method, path, &fields);
        match gate.ask(&asked, &mut venue) {
            Fate::Signed(signed) => {
                // Held: what it points at stays as it is.
                gate.say(&signed, Sent::NotSent, 0, Vec::new());
                trades.push(signed);
            }
            other => panic!("{method} {path} {fields}: {other:?}"),
        }
    }
    let mut reads = Vec::new();
    let (mut refused, mut calls) = (0, 0);
    for (method, path, fields) in other_calls() {
        calls += 1;
        let asked = request_of(&quoter, method, &path, &fields);
        match gate.ask(&asked, &mut venue) {
            Fate::Signed(signed) => {
                gate.say(&signed, Sent::NotSent, 0, Vec::new());
                if signed.key().is_some() {
                    reads.push(signed);
                }
            }
            Fate::Refused { .. } => refused += 1,
            Fate::Silent => panic!("no word about {method} {path} {fields}"),
        }
    }
    reads.extend(
        gate.own
            .iter()
            .filter(|signed| signed.key().is_some())
            .cloned(),
    );
    gate.told_nobody();
    println!(
        "signed: {} orders and cancels, {} reads; refused: {refused} of {calls} other calls",
        trades.len(),
        reads.len()
    );
    let keys = gate.keys.clone();
    gate.program.stop();
    Harvest {
        trades,
        reads,
        setup,
        began_us,
        keys,
    }
});

/// The ways of writing one signed text into a request: the split between query and body is not signed.
fn shapes(path: &str, text: &str) -> [(String, String); 3] {
    let (fields, signature) = text.rsplit_once('&').unwrap();
    [
        (format!("{path}?{text}"), String::new()),
        (path.to_owned(), text.to_owned()),
        (format!("{path}?{fields}"), signature.to_owned()),
    ]
}

fn paths() -> BTreeSet<String> {
    let catalog = Catalog::builtin().unwrap();
    catalog
        .endpoints()
        .map(|(_, endpoint)| endpoint.path.clone())
        .collect()
}

/// One of each: reads with the same fields are the same text to the venue, but for values.
fn distinct(harvest: &Harvest) -> Vec<&Signed> {
    let mut seen = BTreeSet::new();
    let mut some: Vec<&Signed> = harvest.trades.iter().collect();
    for read in &harvest.reads {
        let names: BTreeSet<String> = read
            .text()
            .split('&')
            .filter_map(|piece| piece.split_once('='))
            .map(|(name, _)| name.to_owned())
            .filter(|name| !SCHEME.contains(&name.as_str()))
            .collect();
        if seen.insert((read.key(), names)) {
            some.push(read);
        }
    }
    some
}

#[test]
fn signed_requests_under_every_method_and_path() {
    let harvest = &*HARVEST;
    let mut world = harvest.world(u64::MAX / 4);
    let (mut tried, mut accepted) = (0, 0);
    // Which key's requests did what, where.
    let mut got: BTreeMap<(String, String, Effect), usize> = BTreeMap::new();
    let known: Vec<(String, bool)> = paths()
        .into_iter()
        .map(|path| {
            let at = harvest.began_us;
            let missing = METHODS.iter().all(|method| {
                let headers: [(&str, &[u8]); 0] = [];
                world::raw(
                    &mut world.venue,
                    world::GATE,
                    method,
                    path.as_bytes(),
                    &headers,
                    b"",
                    at,
                )
                .0 == 404
            });
            (path, !missing)
        })
        .collect();
    let some = distinct(harvest);
    for signed in &some {
        let (text, at) = (signed.text(), signed.starts_us() + 5_000);
        let duty = harvest.duty(signed).to_owned();
        for (path, is_known) in &known {
            for method in METHODS {
                // The simulator has not all that the catalog names: what it answers with 404 is tried once.
                let shapes = shapes(path, &text);
                let ways = match (is_known, duty.as_str()) {
                    (false, _) => 1,
                    (true, "read") => 2,
                    (true, _) => 3,
                };
                let shapes = &shapes[..ways];
                for (target, body) in shapes {
                    tried += 1;
                    let (status, _) = world::request(
                        &mut world.venue,
                        method,
                        target.as_bytes(),
                        signed,
                        body.as_bytes(),
                        at,
                    );
                    if status != 200 {
                        continue;
                    }
                    accepted += 1;
                    // A read that wrote would be found at the end.
                    if method == "GET" {
                        continue;
                    }
                    let after = Books::of(&world.venue);
                    let effects = world.books.changes(&after);
                    if !effects.is_empty() {
                        for effect in effects {
                            *got.entry((duty.clone(), format!("{method} {path}"), effect))
                                .or_default() += 1;
                        }
                        world = harvest.world(u64::MAX / 4);
                    }
                }
            }
        }
        // Nor did anything happen that was answered with a refusal.
        assert_eq!(world.books.changes(&Books::of(&world.venue)), [], "{text}");
    }
    for ((duty, place, effect), times) in &got {
        println!("  signed by `{duty}`, took effect at {place}: {effect:?}, {times} times");
    }
    for (duty, place, effect) in got.keys() {
        let allowed: &[Effect] = match duty.as_str() {
            "read" => &[Effect::Stream],
            // The parameterless calls of other products that a key with the right to trade may make.
            "trade" if place.contains("cancel") || place.ends_with("/claim") => {
                &[Effect::Stream, Effect::Trading, Effect::Beside]
            }
            "trade" => &[Effect::Stream, Effect::Trading],
            other => panic!("nothing here needs the key `{other}`, and it signed"),
        };
        assert!(allowed.contains(effect), "{duty} {place}: {effect:?}");
    }
    let places = |duty: &str, effect: Effect| {
        let places = got.keys().filter(|(d, _, e)| d == duty && *e == effect);
        places
            .map(|(_, place, _)| place.clone())
            .collect::<Vec<_>>()
    };
    assert!(!places("trade", Effect::Trading).is_empty());
    row(
        "A4",
        &format!(
            "{} different signed requests under 4 methods and {} paths, in query, body and split",
            some.len(),
            known.len()
        ),
        tried,
        &format!(
            "{accepted} accepted. Signed by the read key: nothing written, nothing moved. Signed by the trade key: orders and cancels of \
             the firm's spot account at {}, and cancels and claims of other products at {}; no value moved, no key made. Streams to listen to at {} calls",
            places("trade", Effect::Trading).join(", "),
            places("trade", Effect::Beside).join(", "),
            places("trade", Effect::Stream).len(),
        ),
    );
}

#[test]
fn held_repeated_and_after_the_window() {
    let harvest = &*HARVEST;
    let mut late = 0;
    let mut held = 0;
    for signed in harvest.all() {
        let is_read = harvest.duty(signed) == "read";
        // The program asked for a minute: what changes something gets a second.
        assert!(
            is_read || signed.number("recvWindow").unwrap() <= 1_000,
            "{}",
            signed.text()
        );
        assert!(signed.number("recvWindow").unwrap() <= 60_000);
    }
    for signed in &harvest.trades {
        let mut world = harvest.world(u64::MAX / 4);
        let (status, body) = world::deliver(&mut world.venue, signed, signed.starts_us() + 5_000);
        let at_once = (status, world.books.changes(&Books::of(&world.venue)));
        assert_eq!(status, 200, "{body}");
        let mut world = harvest.world(u64::MAX / 4);
        let (status, _) = world::deliver(&mut world.venue, signed, signed.ends_us());
        let last = (status, world.books.changes(&Books::of(&world.venue)));
        assert_eq!(at_once, last, "held to the last moment: {}", signed.text());
        held += 1;
    }
    let mut world = harvest.world(u64::MAX / 4);
    for signed in distinct(harvest) {
        let text = signed.text();
        for path in paths().iter().filter(|path| path.starts_with("/api/")) {
            for method in METHODS {
                for (target, body) in &shapes(path, &text)[..2] {
                    late += 1;
                    let at = signed.ends_us() + 1_000;
                    world::request(
                        &mut world.venue,
                        method,
                        target.as_bytes(),
                        signed,
                        body.as_bytes(),
                        at,
                    );
                }
            }
        }
        let effects = world.books.changes(&Books::of(&world.venue));
        assert!(
            effects.iter().all(|effect| *effect == Effect::Stream),
            "{effects:?} {text}"
        );
    }
    row(
        "A4",
        "held until the last millisecond of the receive window",
        held,
        "as at once: an order lives at most 1 s",
    );
    row(
        "A4",
        "any of them a millisecond after its receive window, at every spot call",
        late,
        "nothing",
    );

    // Again and again within the second: the venue's own order limit is what ends it.
    for (what, name, value) in [
        ("a market order", "type", "MARKET"),
        (
            "a resting order, which has an id",
            "newClientOrderId",
            "own-id",
        ),
        ("a cancel", "origClientOrderId", "t1"),
    ] {
        let is_it = |signed: &&Signed| {
            signed.path() == "/api/v3/order" && signed.field(name).as_deref() == Some(value)
        };
        let signed = harvest.trades.iter().find(is_it).unwrap();
        let mut world = harvest.world(100);
        let begun = world
            .venue
            .exchange
            .accounts
            .iter()
            .find(|a| a.name == world::FIRM)
            .unwrap();
        let orders_before: usize = begun.orders.iter().map(|orders| orders.len()).sum();
        let took = (0..500)
            .filter(|n| {
                world::deliver(&mut world.venue, signed, signed.starts_us() + 1_000 * n).0 == 200
            })
            .count();
        let firm = world
            .venue
            .exchange
            .accounts
            .iter()
            .find(|a| a.name == world::FIRM)
            .unwrap();
        let orders: usize = firm.orders.iter().map(|orders| orders.len()).sum();
        let effects = world.books.changes(&Books::of(&world.venue));
        assert!(
            effects.iter().all(|effect| *effect == Effect::Trading),
            "{effects:?}"
        );
        assert!(orders - orders_before <= took);
        row(
            "A4",
            &format!("{what}, sent 500 times within its second"),
            500,
            &format!(
                "accepted {took} times: {} orders more",
                orders - orders_before
            ),
        );
    }
}

#[test]
fn signed_requests_rewritten() {
    let harvest = &*HARVEST;
    let (mut tried, mut moved) = (0, 0);
    let mut world = harvest.world(u64::MAX / 4);
    for signed in &harvest.trades {
        let text = signed.text();
        let path = signed.path();
        let at = signed.starts_us() + 5_000;
        // One bit of the text, a signature of another request, a field more.
        let mut others: Vec<String> = Vec::new();
        for place in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[place] ^= 1;
            others.extend(String::from_utf8(bytes));
        }
        let (fields, signature) = text.rsplit_once("&signature=").unwrap();
        for other in &harvest.trades {
            let foreign = other.field("signature").unwrap();
            if foreign != signature {
                others.push(format!("{fields}&signature={foreign}"));
            }
        }
        for more in [
            "price=1",
            "quantity=9",
            "asset=USDT&amount=5",
            "newClientOrderId=x",
        ] {
            others.push(format!("{more}&{text}"));
            others.push(format!("{text}&{more}"));
        }
        others.push(text.to_uppercase());
        for other in &others {
            let (target, body) = match signed.body.is_empty() {
                true => (format!("{path}?{other}"), String::new()),
                false => (path.clone(), other.clone()),
            };
            tried += 1;
            world::request(
                &mut world.venue,
                &signed.method,
                target.as_bytes(),
                signed,
                body.as_bytes(),
                at,
            );
        }
        // Another key of the site, or two.
        for key in harvest
            .keys
            .values()
            .filter(|key| **key != signed.key().unwrap())
        {
            let mut swapped = signed.clone();
            for (name, value) in &mut swapped.headers {
                if name == "x-mbx-apikey" {
                    *value = key.clone().into_bytes();
                }
            }
            tried += 2;
            world::deliver(&mut world.venue, &swapped, at);
            swapped.headers.push((
                "x-mbx-apikey".to_owned(),
                signed.key().unwrap().into_bytes(),
            ));
            world::deliver(&mut world.venue, &swapped, at);
        }
        assert_eq!(world.books.changes(&Books::of(&world.venue)), [], "{text}");
        // Cut anywhere into query and body: it means what it meant, or nothing.
        let mut honest = harvest.world(u64::MAX / 4);
        world::deliver(&mut honest.venue, signed, at);
        let honest = Books::of(&honest.venue);
        for place in 0..=text.len() {
            tried += 1;
            let (query, body) = text.split_at(place);
            let target = format!("{path}?{query}");
            let (status, _) = world::request(
                &mut world.venue,
                &signed.method,
                target.as_bytes(),
                signed,
                body.as_bytes(),
                at,
            );
            if status == 200 {
                let after = Books::of(&world.venue);
                assert!(
                    after == honest || after == world.books,
                    "cut at {place}: {text}"
                );
                moved += 1;
                world = harvest.world(u64::MAX / 4);
            }
        }
    }
    row(
        "A4",
        "signed orders and cancels with a bit flipped, a field more, another request's signature, another key, and cut anywhere into query and body",
        tried,
        &format!("nothing; {moved} cuts were accepted, as what was signed"),
    );
}

#[test]
fn key_ids_alone() {
    let harvest = &*HARVEST;
    let mut world = harvest.world(u64::MAX / 4);
    let (mut tried, mut places) = (0, BTreeSet::new());
    let seen: BTreeSet<String> = harvest.all().filter_map(Signed::key).collect();
    for key in &seen {
        for path in paths() {
            for method in METHODS {
                for text in [
                    "",
                    "symbol=BTCUSDT",
                    "timestamp=1&signature=00",
                    "listenKey=x",
                ] {
                    let target = format!("{path}?{text}");
                    tried += 1;
                    let headers = [("x-mbx-apikey", key.as_bytes())];
                    let at = harvest.began_us + 1_000;
                    let (status, _) = world::raw(
                        &mut world.venue,
                        world::ELSEWHERE,
                        method,
                        target.as_bytes(),
                        &headers,
                        b"",
                        at,
                    );
                    if status != 200 {
                        continue;
                    }
                    let after = Books::of(&world.venue);
                    for effect in world.books.changes(&after) {
                        assert_eq!(effect, Effect::Stream, "{method} {target}");
                        places.insert(format!("{method} {path}"));
                    }
                    world.books = after;
                }
            }
        }
    }
    assert_eq!(world.books.changes(&Books::of(&world.venue)), []);
    row(
        "A4",
        "the ids of the real keys alone, without a signature, from anywhere",
        tried,
        &format!(
            "streams of the account to listen to, at {} calls; nothing written",
            places.len()
        ),
    );
}

/// What a site with one key for all costs: egress can hand in what a program asks to read as something else. The gate
/// signs no field on a read there that nobody reviewed, so nothing leaves the firm; what the reviewed fields, or none, are
/// enough for takes effect.
#[test]
fn one_key_for_all_lets_no_withdrawal_through_program_and_egress_together() {
    let began = now_us();
    let mut venue = world::venue(began, u64::MAX / 4);
    let all = [(portcullis_model::action::Duty::Admin, "all")];
    let withdrawal = "coin=USDT&address=0xthief&amount=1000&network=ETH";
    // Keys by duty: the read is signed, and its key moves nothing.
    let mut gate = Gate::start(&venue, &DUTIES, MANDATES, 1);
    let thief = gate.credentials[0].clone();
    let asked = request_of(&thief, "GET", "/api/v3/account", withdrawal);
    let signed = gate.ask(&asked, &mut venue).signed();
    gate.program.stop();
    let target = format!("/sapi/v1/capital/withdraw/apply?{}", signed.text());
    let at = signed.starts_us() + 5_000;
    let (status, body) = world::request(&mut venue, "POST", target.as_bytes(), &signed, b"", at);
    assert!(status != 200 && venue.withdrawals.is_empty(), "{body}");
    // One key for all.
    let mut gate = Gate::start(&venue, &all, MANDATES, 1);
    let warnings = gate.program.status()["warnings"].to_string();
    assert!(warnings.contains("one key for all"), "{warnings}");
    let thief = gate.credentials[0].clone();
    let asked = request_of(&thief, "GET", "/api/v3/account", withdrawal);
    let fate = gate.ask(&asked, &mut venue);
    assert!(
        matches!(&fate, Fate::Refused { body, .. } if body.contains("one key for all")),
        "{fate:?}"
    );
    // Every read with every field that it is reviewed to have, under every call that the simulator has.
    let mut reads = Vec::new();
    for (method, path, fields) in other_calls() {
        let asked = request_of(&thief, method, &path, &fields);
        if let Fate::Signed(signed) = gate.ask(&asked, &mut venue) {
            gate.say(&signed, Sent::NotSent, 0, Vec::new());
            if signed.key().is_some() {
                reads.push(signed);
            }
        }
    }
    gate.program.stop();
    let known: Vec<String> = paths()
        .into_iter()
        .filter(|path| {
            METHODS.iter().any(|method| {
                let headers: [(&str, &[u8]); 0] = [];
                let path = path.as_bytes();
                world::raw(&mut venue, world::GATE, method, path, &headers, b"", began).0 != 404
            })
        })
        .collect();
    // At one moment, so that what changes was done by a request and not by the market.
    let at = reads.iter().map(Signed::starts_us).max().unwrap() + 5_000;
    let time = b"/api/v3/time";
    let headers: [(&str, &[u8]); 0] = [];
    world::raw(&mut venue, world::GATE, "GET", time, &headers, b"", at);
    let mut before = Books::of(&venue);
    let (mut tried, mut seen, mut got) = (0, BTreeSet::new(), BTreeMap::new());
    for signed in &reads {
        let text = signed.text();
        let names: BTreeSet<String> = text
            .split('&')
            .filter_map(|piece| piece.split_once('='))
            .map(|(name, _)| name.to_owned())
            .collect();
        if !seen.insert(names) {
            continue;
        }
        for path in &known {
            for method in ["POST", "PUT", "DELETE"] {
                tried += 1;
                let target = format!("{path}?{text}");
                let (status, _) =
                    world::request(&mut venue, method, target.as_bytes(), signed, b"", at);
                if status != 200 {
                    continue;
                }
                let after = Books::of(&venue);
                for effect in before.changes(&after) {
                    let places: &mut BTreeSet<String> = got.entry(effect).or_default();
                    places.insert(format!("{method} {path}"));
                }
                before = after;
            }
        }
    }
    for (effect, places) in &got {
        println!("  one key for all, handed in as something else: {effect:?} at {places:?}");
    }
    assert!(venue.withdrawals.is_empty());
    assert!(!got.contains_key(&Effect::Keys), "{got:?}");
    // A sub-account more, which has nothing.
    for place in got.get(&Effect::Others).into_iter().flatten() {
        assert_eq!(place, "POST /sapi/v1/broker/subAccount");
    }
    assert!(!reads.is_empty() && tried > 1_000);
    let all: BTreeSet<&String> = got
        .iter()
        .filter(|(effect, _)| **effect != Effect::Stream)
        .flat_map(|(_, places)| places)
        .collect();
    let moved = got.get(&Effect::Value).map_or(0, BTreeSet::len);
    row(
        "A2 + A4",
        &format!(
            "a read with a withdrawal's fields, handed in as a withdrawal; with one key for all also {} different reads under every call",
            seen.len()
        ),
        tried + 2,
        &format!(
            "keys by duty: refused by the venue. One key for all: the gate refuses the fields that nobody reviewed; with the reviewed ones, or \
             none, no withdrawal and no key; value moved within the account at {} calls, something else changed at {}",
            moved,
            all.len() - moved
        ),
    );
}
