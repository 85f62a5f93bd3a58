//! The Binance WebSocket API under attack: an ingress that says which connection a frame came by, an egress that hands frames
//! in as it likes and invents what streams tell.

use crate::common::write_frame;
use crate::egress::{METHODS, price};
use crate::gate::{Asked, Credential, DUTIES, Fate, Firm, Gate, Signed, now_us, request_of, sign};
use crate::lies::{TURNOVER, mandates, report};
use crate::table::row;
use crate::world::{self, Books, Effect, GATE};
use portcullis_model::action::{MarketKind, Symbol};
use portcullis_model::id::RequestId;
use portcullis_model::report::{OrderStatus, Report, Sent};
use portcullis_model::wire::{Gone, Told, kind};
use portcullis_sim::frames::Api;
use portcullis_sim::venue::Venue;
use portcullis_venues::Catalog;
use std::collections::{BTreeMap, BTreeSet};

const HOST: &str = "ws-api.binance.com";
const FRAMES: Firm = Firm {
    venue: "binance",
    hosts: &["api.binance.com", HOST],
    ..crate::gate::SPOT
};

/// The text that is signed: all but the signature, sorted by name.
fn message(params: &BTreeMap<&str, String>) -> String {
    let parts: Vec<String> = params
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    parts.join("&")
}

/// A frame of a program, signed or not, as ingress hands it on.
fn frame(
    credential: &Credential,
    method: &str,
    fields: &[(&str, &str)],
    signs: bool,
    connection: u64,
) -> Asked {
    let mut params: BTreeMap<&str, String> =
        fields.iter().map(|(n, v)| (*n, (*v).to_owned())).collect();
    params.insert("timestamp", (now_us() / 1_000).to_string());
    if signs {
        params.insert("apiKey", credential.api_key.clone());
        let signature = sign(credential, message(&params).as_bytes());
        params.insert("signature", signature);
    }
    let body = serde_json::json!({ "id": "1", "method": method, "params": params });
    Asked {
        method: "WS".to_owned(),
        target: b"/ws-api/v3".to_vec(),
        headers: Vec::new(),
        body: body.to_string().into_bytes(),
        source: vec![127, 0, 0, 1],
        connection,
        host: HOST,
    }
}

fn order<'a>(client: &'a str, own_price: &'a str) -> Vec<(&'static str, &'a str)> {
    vec![
        ("symbol", "BTCUSDT"),
        ("side", "BUY"),
        ("type", "LIMIT"),
        ("timeInForce", "GTC"),
        ("quantity", "0.01"),
        ("price", own_price),
        ("newClientOrderId", client),
    ]
}

#[test]
fn ingress_between_connections() {
    let mut venue = world::venue(now_us(), u64::MAX / 4);
    let lo = format!("{}", (price(&venue) * 0.98) as u64);
    let mut gate = Gate::at(FRAMES, &venue, &DUTIES, crate::common::MANDATES, 2);
    let (one, two) = (gate.credentials[0].clone(), gate.credentials[1].clone());
    gate.until_priced(&mut venue);
    let mut tried = 0;
    let mut refused = |gate: &mut Gate, venue: &mut Venue, asked: &Asked| {
        tried += 1;
        let fate = gate.ask(asked, venue);
        assert!(!fate.is_signed(), "{asked:?}: {fate:?}");
        fate
    };
    // Nobody has logged on: bare frames are nobody's.
    for connection in 0..20 {
        refused(
            &mut gate,
            &mut venue,
            &frame(&one, "order.place", &order("a", &lo), false, connection),
        );
    }
    // A logon is one connection's, and once; a wrong one is none.
    let logon = frame(&one, "session.logon", &[], true, 7);
    let Fate::Refused { status: 200, .. } = gate.ask(&logon, &mut venue) else {
        panic!("not logged on")
    };
    for connection in 0..20 {
        let mut again = logon.clone();
        again.connection = connection;
        let fate = refused(&mut gate, &mut venue, &again);
        assert!(matches!(fate, Fate::Refused { status, .. } if status != 200));
        if connection != 7 {
            refused(
                &mut gate,
                &mut venue,
                &frame(&one, "order.place", &order("b", &lo), false, connection),
            );
        }
    }
    let forged = Credential {
        api_key: one.api_key.clone(),
        secret: "guess".to_owned(),
    };
    refused(
        &mut gate,
        &mut venue,
        &frame(&forged, "session.logon", &[], true, 8),
    );
    refused(
        &mut gate,
        &mut venue,
        &frame(&one, "order.place", &order("c", &lo), false, 8),
    );
    // On the connection that it is of, as often as it differs: a repeat is one.
    let bare = frame(&one, "order.place", &order("d", &lo), false, 7);
    let signed = gate.ask(&bare, &mut venue).signed();
    assert!(
        signed.entry.is_some() && !String::from_utf8_lossy(&signed.body).contains(&one.api_key)
    );
    gate.say(&signed, Sent::NotSent, 0, Vec::new());
    for _ in 0..20 {
        refused(&mut gate, &mut venue, &bare);
    }
    // A signed frame is once, by whatever connection.
    let whole = frame(&two, "order.place", &order("e", &lo), true, 9);
    let mut times = 0;
    for connection in 0..50 {
        let mut again = whole.clone();
        again.connection = connection;
        if let Fate::Signed(signed) = gate.ask(&again, &mut venue) {
            times += 1;
            gate.say(&signed, Sent::NotSent, 0, Vec::new());
        }
    }
    assert_eq!(times, 1);
    // What was signed for one way is nothing on the other: a frame as a query and a form, a form as a frame.
    let text: serde_json::Value = serde_json::from_slice(&whole.body).unwrap();
    let params: BTreeMap<&str, String> = text["params"]
        .as_object()
        .unwrap()
        .iter()
        .filter(|(name, _)| *name != "signature")
        .map(|(name, value)| (name.as_str(), value.as_str().unwrap().to_owned()))
        .collect();
    let signature = text["params"]["signature"].as_str().unwrap();
    for path in [
        "/api/v3/order",
        "/api/v3/order/test",
        "/sapi/v1/capital/withdraw/apply",
    ] {
        for in_body in [true, false] {
            let text = format!("{}&signature={signature}", message(&params));
            let mut rest = request_of(&two, "POST", path, "");
            rest.target = if in_body {
                path.to_owned()
            } else {
                format!("{path}?{text}")
            }
            .into_bytes();
            rest.body = if in_body {
                text.into_bytes()
            } else {
                Vec::new()
            };
            refused(&mut gate, &mut venue, &rest);
        }
    }
    let fields = format!(
        "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.01&price={lo}&newClientOrderId=f"
    );
    let rest = request_of(&two, "POST", "/api/v3/order", &fields);
    let text = String::from_utf8(rest.body.clone()).unwrap();
    let mut params: serde_json::Map<String, serde_json::Value> = text
        .split('&')
        .map(|part| part.split_once('=').unwrap())
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect();
    for with_key in [true, false] {
        if with_key {
            params.insert("apiKey".to_owned(), two.api_key.clone().into());
        } else {
            params.remove("apiKey");
        }
        let mut as_frame = whole.clone();
        let body = serde_json::json!({ "id": 1, "method": "order.place", "params": params });
        as_frame.body = body.to_string().into_bytes();
        refused(&mut gate, &mut venue, &as_frame);
    }
    // Frames that are none, or two at once; another target, host, method; headers that mean nothing here.
    let good =
        String::from_utf8(frame(&one, "order.place", &order("g", &lo), true, 7).body).unwrap();
    for bad in [
        good.replacen("\"id\"", "\"method\":\"account.status\",\"id\"", 1),
        good.replacen("\"params\"", "\"params\":{},\"params\"", 1),
        good.replacen("\"method\"", "\"m\\u0065thod\":\"ping\",\"method\"", 1),
        format!("[{good}]"),
        format!("{good}{good}"),
        good.replacen('{', "{\"foo\":1,", 1),
        good.replace("0.01", "0.010"),
        good.replace("\"0.01\"", "1e-2"),
        good.replace("\"0.01\"", "[\"0.01\"]"),
        good.replace("order.place", "order.PLACE"),
        good.replace("order.place", "v3/v3/order.place"),
        good.replace("\"id\":\"1\"", "\"id\":{}"),
    ] {
        let mut asked = whole.clone();
        asked.body = bad.into_bytes();
        refused(&mut gate, &mut venue, &asked);
    }
    for (target, host, method) in [
        ("/ws-api/v3?x=1", HOST, "WS"),
        ("/ws-api/v3", "api.binance.com", "WS"),
        ("/ws-api/v3", HOST, "POST"),
        ("/api/v3/order", HOST, "WS"),
        ("/ws-api/v3", "api.bybit.com", "WS"),
    ] {
        let mut asked = frame(&one, "order.place", &order("h", &lo), true, 7);
        (asked.target, asked.host, asked.method) =
            (target.as_bytes().to_vec(), host, method.to_owned());
        refused(&mut gate, &mut venue, &asked);
    }
    // Its end, as ingress tells it; and what ingress invents ends nobody else's.
    for connection in [8, 9, u64::MAX] {
        write_frame(&mut gate.to_signer, kind::GONE, &Gone { connection });
    }
    let signed = gate
        .ask(
            &frame(&one, "order.place", &order("i", &lo), false, 7),
            &mut venue,
        )
        .signed();
    gate.say(&signed, Sent::NotSent, 0, Vec::new());
    write_frame(&mut gate.to_signer, kind::GONE, &Gone { connection: 7 });
    refused(
        &mut gate,
        &mut venue,
        &frame(&one, "order.place", &order("j", &lo), false, 7),
    );
    // A new run of ingress has nobody's sessions.
    let logon = frame(&two, "session.logon", &[], true, 3);
    assert!(!gate.ask(&logon, &mut venue).is_signed());
    gate.link_ingress();
    refused(
        &mut gate,
        &mut venue,
        &frame(&two, "order.place", &order("k", &lo), false, 3),
    );
    gate.told_nobody();
    gate.program.stop();
    row(
        "A3",
        "frames: of other connections, runs, hosts and ways; logons again; forms as frames and frames as forms; frames that are two",
        tried + 50,
        "a logon once, a signed frame once; on a connection that has logged on, that program's mandate",
    );
}

/// The frame as egress sends it.
fn with_id(signed: &Signed, body: &[u8]) -> String {
    let text = String::from_utf8(body.to_vec()).unwrap();
    format!("{{\"id\":\"{}\",{}", signed.id.seq, &text[1..])
}

#[test]
fn egress_with_signed_frames() {
    let began = now_us();
    let mut venue = world::venue(began, u64::MAX / 4);
    let p = price(&venue);
    let lo = format!("{}", (p * 0.98) as u64);
    let mut gate = Gate::at(FRAMES, &venue, &DUTIES, crate::common::MANDATES, 1);
    let program = gate.credentials[0].clone();
    gate.until_priced(&mut venue);
    let mut all = Vec::new();
    let market = [
        ("symbol", "BTCUSDT"),
        ("side", "SELL"),
        ("type", "MARKET"),
        ("quantity", "0.01"),
    ];
    for (method, fields) in [
        ("order.place", order("own-id", &lo)),
        ("order.place", market.to_vec()),
        ("order.test", order("test-id", &lo)),
        ("account.status", Vec::new()),
        ("openOrders.status", vec![("symbol", "BTCUSDT")]),
        ("userDataStream.subscribe.signature", Vec::new()),
        ("myTrades", vec![("symbol", "BTCUSDT")]),
    ] {
        let fate = gate.ask(&frame(&program, method, &fields, true, 7), &mut venue);
        let Fate::Signed(signed) = fate else {
            panic!("{method}: {fate:?}")
        };
        gate.say(&signed, Sent::NotSent, 0, Vec::new());
        all.push(signed);
    }
    gate.told_nobody();
    let keys = gate.keys.clone();
    gate.program.stop();
    let catalog = Catalog::builtin().unwrap();
    let methods: BTreeSet<&str> = catalog
        .endpoints()
        .filter(|(_, rule)| rule.method.name() == "WS")
        .map(|(_, rule)| rule.path.as_str())
        .collect();
    let paths: BTreeSet<&str> = catalog
        .endpoints()
        .filter(|(_, rule)| rule.path.starts_with("/api/") || rule.path.starts_with("/sapi/"))
        .map(|(_, rule)| rule.path.as_str())
        .collect();
    let (mut tried, mut got) = (0, BTreeSet::new());
    let fresh = || {
        let venue = world::venue(began, u64::MAX / 4);
        let books = Books::of(&venue);
        (venue, books)
    };
    let (mut venue, mut before) = fresh();
    for signed in &all {
        let body: serde_json::Value = serde_json::from_slice(&signed.body).unwrap();
        let params = body["params"].as_object().unwrap();
        let text = |value: &serde_json::Value| {
            value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned)
        };
        let number = |name: &str| text(&params[name]).parse::<u64>().unwrap();
        let (at, ends) = (
            number("timestamp") * 1_000 + 5_000,
            (number("timestamp") + number("recvWindow")) * 1_000,
        );
        let key = text(&params["apiKey"]);
        let duty = keys.iter().find(|(_, id)| **id == key).unwrap().0.clone();
        assert!(matches!(duty.as_str(), "read" | "trade"));
        assert!(duty == "read" || number("recvWindow") <= 1_000);
        // Under every method; with a bit flipped; after its window.
        for method in &methods {
            let mut other = body.clone();
            other["method"] = (*method).into();
            tried += 1;
            venue.frame(
                Api::Spot,
                GATE,
                &with_id(signed, other.to_string().as_bytes()),
                0,
                at,
            );
            let effects = before.changes(&Books::of(&venue));
            if !effects.is_empty() {
                for effect in effects {
                    got.insert((duty.clone(), (*method).to_owned(), effect));
                }
                (venue, before) = fresh();
            }
        }
        for place in 0..signed.body.len() {
            let mut other = signed.body.clone();
            other[place] ^= 1;
            let Ok(text) = String::from_utf8(other) else {
                continue;
            };
            tried += 1;
            // The method is not signed: what became of it under another is counted above.
            let mut flipped: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
            if flipped["method"] == body["method"] && flipped != body {
                flipped["id"] = 1.into();
                venue.frame(Api::Spot, GATE, &flipped.to_string(), 0, at);
                assert_eq!(before.changes(&Books::of(&venue)), [], "{text}");
            }
        }
        tried += 1;
        venue.frame(
            Api::Spot,
            GATE,
            &with_id(signed, &signed.body),
            0,
            ends + 1_000,
        );
        assert_eq!(before.changes(&Books::of(&venue)), []);
        // Over REST, under every call: as the text that was signed.
        let plain: BTreeMap<&str, String> = params
            .iter()
            .filter(|(name, _)| *name != "signature")
            .map(|(name, value)| (name.as_str(), text(value)))
            .collect();
        let query = format!(
            "{}&signature={}",
            message(&plain),
            text(&params["signature"])
        );
        let headers = [("x-mbx-apikey", key.as_bytes())];
        for path in &paths {
            for method in METHODS {
                tried += 1;
                let target = format!("{path}?{query}");
                let target = target.as_bytes();
                let (status, _) = world::raw(&mut venue, GATE, method, target, &headers, b"", at);
                if status != 200 || method == "GET" {
                    continue;
                }
                let effects = before.changes(&Books::of(&venue));
                if !effects.is_empty() {
                    for effect in effects {
                        got.insert((duty.clone(), format!("{method} {path}"), effect));
                    }
                    (venue, before) = fresh();
                }
            }
        }
        assert_eq!(before.changes(&Books::of(&venue)), [], "over REST: {query}");
    }
    for (duty, place, effect) in &got {
        println!("  signed by `{duty}`, took effect at {place}: {effect:?}");
        // As of what is signed for REST: `egress.rs`.
        let allowed: &[Effect] = match duty.as_str() {
            "trade" if place.contains("cancel") || place.ends_with("/claim") => {
                &[Effect::Stream, Effect::Trading, Effect::Beside]
            }
            "trade" => &[Effect::Stream, Effect::Trading],
            _ => &[Effect::Stream],
        };
        assert!(allowed.contains(effect), "{duty} {place} {effect:?}");
    }
    let over_rest = got
        .iter()
        .filter(|(_, place, _)| place.contains('/'))
        .count();
    assert!(got.iter().any(|(_, method, _)| method == "order.place"));
    row(
        "A4",
        &format!(
            "{} signed frames under every method of the WebSocket API and every call over REST, with a bit flipped, and late",
            all.len()
        ),
        tried,
        &format!(
            "read key: nothing written; trade key: spot orders and cancels, and at {over_rest} calls over REST what a signed form gets there; late: nothing"
        ),
    );
}

/// An egress that invents what a stream tells, while its program only buys.
#[test]
fn egress_invents_what_streams_tell() {
    let mut venue = world::venue(now_us(), u64::MAX / 4);
    let p = price(&venue);
    let mut gate = Gate::at(FRAMES, &venue, &DUTIES, &mandates(p), 1);
    let program = gate.credentials[0].clone();
    gate.until_priced(&mut venue);
    let told = |gate: &mut Gate, id: RequestId, reports: Vec<Report>, ended: bool| {
        let told = Told { id, reports, ended };
        write_frame(&mut gate.from_egress, kind::TOLD, &told)
    };
    let subscribe = frame(&program, "userDataStream.subscribe.signature", &[], true, 7);
    let stream = gate.ask(&subscribe, &mut venue).signed();
    gate.say(&stream, Sent::Sent, 200, Vec::new());
    let own = format!("{}", (p * 1.02) as u64);
    let buy = |gate: &mut Gate, venue: &mut Venue, client: &str| {
        let fields = format!(
            "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.5&price={own}&newClientOrderId={client}"
        );
        let asked = request_of(&program, "POST", "/api/v3/order", &fields);
        gate.ask(&asked, venue)
    };
    let first = buy(&mut gate, &mut venue, "first").signed();
    let open = |gate: &mut Gate| gate.program.status()["open_orders"].clone();
    let impossible = |gate: &mut Gate| -> u64 {
        let page = gate.program.metrics();
        page.lines()
            .filter(|line| line.starts_with("portcullis_") && line.contains("impossible"))
            .filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok())
            .sum()
    };
    let before = (gate.entries(), open(&mut gate), impossible(&mut gate));
    let fill = report(&first, OrderStatus::Filled, i128::MAX / 4, i128::MAX / 4);
    let mut foreign = fill.clone();
    if let Report::Order(order) = &mut foreign {
        order.client_order_id = Some("nobodys".into());
    }
    let mut elsewhere = fill.clone();
    if let Report::Order(order) = &mut elsewhere {
        order.market = MarketKind::UsdFutures;
    }
    let mut other_symbol = fill.clone();
    if let Report::Order(order) = &mut other_symbol {
        order.symbol = Symbol::from("ETHUSDT");
    }
    let no = Report::NoSuchOrder;
    let refused = Report::Refused { code: -2010 };
    let mut tried = 0;
    // Of streams that nobody opened, of nobody's orders, and what no stream says: nothing.
    for seq in 0..200 {
        let id = RequestId { epoch: 9, seq };
        tried += 1;
        told(&mut gate, id, vec![fill.clone()], seq % 2 == 0);
    }
    for reports in [
        vec![foreign.clone()],
        vec![elsewhere],
        vec![other_symbol],
        vec![no, refused],
        Vec::new(),
        vec![foreign; 100],
    ] {
        tried += 1;
        told(&mut gate, stream.id, reports, false);
    }
    let after = (gate.entries(), open(&mut gate), impossible(&mut gate));
    assert!(
        after.0 <= before.0 + 4,
        "{} to {}: the clock's own at most",
        before.0,
        after.0
    );
    assert_eq!((after.1, after.2), (before.1, before.2));
    // Invented fills of its own order: as much as it could be, an alarm, and counted once.
    for _ in 0..200 {
        tried += 1;
        told(&mut gate, stream.id, vec![fill.clone()], false);
    }
    gate.say(&first, Sent::Sent, 200, Vec::new());
    let entries = gate.entries();
    assert!(
        entries <= after.0 + 8,
        "{entries}: said two hundred times, and counted once"
    );
    assert!(impossible(&mut gate) > before.2);
    // Fills told of every order do not lend more than the turnover.
    let (mut bought, mut orders) = (0.5 * own.parse::<f64>().unwrap(), 1);
    let refusal = loop {
        orders += 1;
        assert!(orders < 500);
        match buy(&mut gate, &mut venue, &format!("l{orders}")) {
            Fate::Signed(signed) => {
                bought += 0.5 * own.parse::<f64>().unwrap();
                tried += 3;
                let fill = report(&signed, OrderStatus::Filled, i128::MAX / 4, i128::MAX / 4);
                let gone = report(&signed, OrderStatus::Cancelled, 0, 0);
                told(&mut gate, stream.id, vec![gone, fill.clone()], false);
                told(&mut gate, stream.id, vec![fill], false);
                gate.say(&signed, Sent::Sent, 200, Vec::new());
            }
            Fate::Refused { body, .. } => break body,
            Fate::Silent => panic!("no answer"),
        }
    };
    // As far as the position goes, which the fills that were told have made.
    let ends = ["turnover", "position"]
        .iter()
        .any(|word| refusal.contains(word));
    assert!(ends, "{refusal}");
    assert!(bought <= TURNOVER, "{bought}");
    // After its end it tells nothing more.
    told(&mut gate, stream.id, Vec::new(), true);
    let entries = gate.entries();
    tried += 1;
    told(&mut gate, stream.id, vec![fill], false);
    assert!(gate.entries() <= entries + 2);
    gate.told_nobody();
    gate.program.stop();
    row(
        "A4 + A2",
        "streams: fills invented, out of range, of nobody's orders and other markets, of streams that nobody opened or that ended",
        tried,
        &format!(
            "an order counts as all of itself at most, once, with an alarm; {bought:.0} of {TURNOVER:.0} turnover signed"
        ),
    );
}
