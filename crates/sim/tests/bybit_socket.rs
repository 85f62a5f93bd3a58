//! The simulated Bybit's WebSockets: logon, orders by frame, the account's stream, public streams.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests state what must hold"
)]

use aws_lc_rs::hmac;
use portcullis_sim::ears::{self, Ears};
use portcullis_sim::keys::hex;
use portcullis_sim::venue::{Kind, Options, Venue};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

const NOW_US: u64 = 1_790_000_000_123_000;
const HOME: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

struct World {
    venue: Venue,
    now_us: u64,
    ids: u64,
}

fn world(moving: bool) -> World {
    let options = Options {
        kind: Kind::Bybit,
        seed: Some(7),
        moving,
        ..Options::default()
    };
    World {
        venue: Venue::new(options, NOW_US),
        now_us: NOW_US,
        ids: 0,
    }
}

struct Socket(Box<dyn Ears>);

impl World {
    fn open(&mut self, path: &str) -> Socket {
        let host: &[(&str, &[u8])] = &[("Host", b"stream.bybit.com")];
        Socket(ears::open(&mut self.venue, path, host).expect("a WebSocket"))
    }

    fn say(&mut self, socket: &mut Socket, frame: &Value) -> Value {
        self.text(socket, &frame.to_string())
    }

    fn text(&mut self, socket: &mut Socket, text: &str) -> Value {
        let mut all = socket.0.hear(&mut self.venue, HOME, text, self.now_us);
        assert_eq!(all.len(), 1);
        let answer = all.remove(0).answer.expect("an answer");
        serde_json::from_str(&answer.body).unwrap()
    }

    fn told(&mut self, socket: &mut Socket) -> Vec<Value> {
        let all = socket.0.tell(&self.venue);
        all.iter()
            .map(|t| serde_json::from_str(t).unwrap())
            .collect()
    }

    fn auth(&self, duty: &str, expires: u64) -> Value {
        let handed = self.venue.handed.iter().find(|h| h.duty == duty).unwrap();
        let secret = handed.secret.clone().unwrap();
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let sign = hex(hmac::sign(&key, format!("GET/realtime{expires}").as_bytes()).as_ref());
        json!({"op": "auth", "args": [handed.key, expires, sign]})
    }

    fn logged_on(&mut self, path: &str, duty: &str) -> Socket {
        let mut socket = self.open(path);
        let auth = self.auth(duty, self.now_us / 1000 + 1000);
        let told = self.say(&mut socket, &auth);
        assert!(told["retCode"] == 0 || told["success"] == true, "{told}");
        socket
    }

    fn op(&mut self, socket: &mut Socket, op: &str, arg: &Value) -> Value {
        self.ids += 1;
        let frame = json!({
            "reqId": format!("r{}", self.ids), "op": op, "args": [arg], "header": {"X-BAPI-TIMESTAMP": (self.now_us / 1000).to_string()},
        });
        self.say(socket, &frame)
    }
}

fn order(price: &str) -> Value {
    json!({
        "category": "linear", "symbol": "BTCUSDT", "side": "Buy", "orderType": "Limit", "qty": "0.01", "price": price,
        "orderLinkId": format!("mine-{price}"),
    })
}

#[test]
fn a_logon_is_signed_ahead_and_taken_once() {
    let mut w = world(false);
    let mut trade = w.open("/v5/trade");
    let now = w.now_us / 1000;
    for (expires, code) in [(now, 10_004), (now + 1000, 0), (now + 2000, 20_001)] {
        let auth = w.auth("trade", expires);
        let told = w.say(&mut trade, &auth);
        assert_eq!(told["retCode"], code, "{told}");
        assert_eq!(told["op"], "auth");
    }
    let mut private = w.open("/v5/private");
    let mut auth = w.auth("read", now + 1000);
    auth["args"][2] = "00".into();
    assert_eq!(w.say(&mut private, &auth)["success"], false);
    auth["args"][0] = "nobody".into();
    assert_eq!(w.say(&mut private, &auth)["success"], false);
    let subscribe = json!({"op": "subscribe", "args": ["order"]});
    assert_eq!(w.say(&mut private, &subscribe)["success"], false);
    assert_eq!(
        w.say(&mut private, &w.auth("read", now + 1000))["success"],
        true
    );
    assert_eq!(w.say(&mut private, &subscribe)["success"], true);
    assert_eq!(w.say(&mut private, &subscribe)["success"], false);
}

#[test]
fn a_key_that_may_not_trade_does_not_and_nobody_does_before_the_logon() {
    let mut w = world(false);
    let mut socket = w.open("/v5/trade");
    assert_eq!(
        w.op(&mut socket, "order.create", &order("50000"))["retCode"],
        10_003
    );
    let mut socket = w.logged_on("/v5/trade", "read");
    assert_eq!(
        w.op(&mut socket, "order.create", &order("50000"))["retCode"],
        10_005
    );
}

#[test]
fn frames_are_read_strictly() {
    let mut w = world(false);
    let mut socket = w.logged_on("/v5/trade", "trade");
    let time = (w.now_us / 1000).to_string();
    let header = json!({"X-BAPI-TIMESTAMP": time});
    let good = order("50000");
    for (frame, code) in [
        (
            json!({"op": "order.make", "args": [good], "header": header}),
            10_404,
        ),
        (json!({"op": "order.create", "args": [good]}), 10_001),
        (
            json!({"op": "order.create", "args": [good, good], "header": header}),
            10_001,
        ),
        (
            json!({"op": "order.create", "args": [good], "header": {"X-BAPI-TIMESTAMP": "1"}}),
            10_002,
        ),
        (
            json!({"op": "order.create", "args": [good], "header": {"X-BAPI-TIMESTAMP": time, "X": 1}}),
            10_001,
        ),
        (
            json!({"op": "order.create", "args": [good], "header": header, "more": 1}),
            10_001,
        ),
        (
            json!({"op": "order.create", "args": [good], "header": header, "reqId": "x".repeat(37)}),
            10_001,
        ),
        (
            json!({"op": "order.create", "args": [{"category": "linear", "unknown": 1}], "header": header}),
            10_001,
        ),
        (
            json!({"op": "order.create", "args": [good], "header": header, "reqId": "one"}),
            0,
        ),
        (
            json!({"op": "order.create", "args": [good], "header": header, "reqId": "one"}),
            20_006,
        ),
    ] {
        let told = w.say(&mut socket, &frame);
        assert_eq!(told["retCode"], code, "{frame} {told}");
    }
    assert_eq!(
        w.text(&mut socket, r#"{"op":"ping","op":"ping"}"#)["retCode"],
        10_001
    );
    assert_eq!(w.text(&mut socket, r#"{"op":"ping"}"#)["op"], "pong");
    let mut public = w.open("/v5/public/linear");
    assert_eq!(
        w.text(&mut public, r#"{"op":"ping","req_id":"7"}"#)["ret_msg"],
        "pong"
    );
    // CCXT numbers its requests, those of order entry apart.
    let told = w.text(
        &mut public,
        r#"{"op":"subscribe","req_id":7,"args":["tickers.BTCUSDT"]}"#,
    );
    assert_eq!(
        (&told["success"], &told["req_id"]),
        (&true.into(), &"7".into())
    );
    assert_eq!(
        w.text(&mut socket, r#"{"op":"ping","reqId":7}"#)["retCode"],
        10_001
    );
    assert!(ears::open(&mut w.venue, "/v5/trade", &[("Host", b"api.bybit.com")]).is_none());
}

#[test]
fn orders_by_frame_are_the_calls_that_they_are_and_the_account_hears_of_them() {
    let mut w = world(false);
    let mut private = w.logged_on("/v5/private", "read");
    let subscribe = json!({"op": "subscribe", "req_id": "s", "args": ["order", "execution", "position", "wallet"]});
    assert_eq!(w.say(&mut private, &subscribe)["req_id"], "s");
    assert_eq!(w.told(&mut private), Vec::<Value>::new());
    let mut trade = w.logged_on("/v5/trade", "trade");

    let placed = w.op(&mut trade, "order.create", &order("50000"));
    assert_eq!(
        (&placed["retCode"], &placed["reqId"]),
        (&json!(0), &json!("r1")),
        "{placed}"
    );
    assert_eq!(placed["header"]["X-Bapi-Limit"], "10");
    let id = placed["data"]["orderId"].clone();
    let told = w.told(&mut private);
    let new = &told.iter().find(|t| t["topic"] == "order").unwrap()["data"][0];
    assert_eq!(
        (&new["orderId"], &new["orderStatus"], &new["category"]),
        (&id, &json!("New"), &json!("linear"))
    );

    let amend = json!({"category": "linear", "symbol": "BTCUSDT", "orderId": id, "qty": "0.02"});
    assert_eq!(w.op(&mut trade, "order.amend", &amend)["retCode"], 0);
    assert_eq!(w.told(&mut private)[0]["data"][0]["qty"], "0.02");
    let cancel = json!({"category": "linear", "symbol": "BTCUSDT", "orderId": id});
    assert_eq!(w.op(&mut trade, "order.cancel", &cancel)["retCode"], 0);
    assert_eq!(
        w.told(&mut private)[0]["data"][0]["orderStatus"],
        "Cancelled"
    );
    assert_eq!(
        w.op(&mut trade, "order.cancel", &cancel)["retCode"],
        110_001
    );

    let entry = json!({"symbol": "BTCUSDT", "side": "Buy", "orderType": "Market", "qty": "0.01"});
    let batch = json!({"category": "linear", "request": [entry, {"symbol": "NONE", "side": "Buy", "orderType": "Market", "qty": "1"}]});
    let both = w.op(&mut trade, "order.create-batch", &batch);
    assert_eq!(both["retExtInfo"]["list"][0]["code"], 0, "{both}");
    assert_ne!(both["retExtInfo"]["list"][1]["code"], 0);
    let told = w.told(&mut private);
    let of = |topic: &str| told.iter().find(|t| t["topic"] == topic).unwrap()["data"][0].clone();
    assert_eq!(of("order")["orderStatus"], "Filled");
    assert_eq!(
        of("execution")["orderId"],
        both["data"]["list"][0]["orderId"]
    );
    assert_eq!(
        (&of("position")["side"], &of("position")["size"]),
        (&json!("Buy"), &json!("0.01"))
    );
    assert_eq!(of("wallet")["accountType"], "UNIFIED");
    assert_eq!(
        w.told(&mut private),
        Vec::<Value>::new(),
        "nothing is told twice"
    );

    let exit = json!({"category": "linear", "symbol": "BTCUSDT", "side": "Sell", "orderType": "Market", "qty": "0.01", "reduceOnly": true});
    assert_eq!(w.op(&mut trade, "order.create", &exit)["retCode"], 0);
    let told = w.told(&mut private);
    let of = |topic: &str| told.iter().find(|t| t["topic"] == topic).unwrap()["data"][0].clone();
    assert_eq!(
        (&of("position")["side"], &of("position")["size"]),
        (&json!(""), &json!("0"))
    );

    let spot = json!({"category": "spot", "symbol": "BTCUSDT", "side": "Buy", "orderType": "Market", "qty": "1000"});
    assert_eq!(w.op(&mut trade, "order.create", &spot)["retCode"], 0);
    let told = w.told(&mut private);
    let fill = &told.iter().find(|t| t["topic"] == "execution").unwrap()["data"][0];
    assert_eq!(
        (&fill["category"], &fill["side"]),
        (&json!("spot"), &json!("Buy"))
    );
}

#[test]
fn what_changes_of_a_book_adds_up_to_the_book() {
    let mut w = world(true);
    let mut socket = w.open("/v5/public/spot");
    let topics = [
        "orderbook.50.BTCUSDT",
        "publicTrade.BTCUSDT",
        "tickers.BTCUSDT",
        "kline.1.BTCUSDT",
    ];
    assert_eq!(
        w.say(&mut socket, &json!({"op": "subscribe", "args": topics}))["success"],
        true
    );
    for bad in [
        "orderbook.7.BTCUSDT",
        "publicTrade.NONE",
        "order",
        "tickers",
    ] {
        let told = w.say(&mut socket, &json!({"op": "subscribe", "args": [bad]}));
        assert_eq!(told["success"], false, "{bad}");
    }
    let mut book: BTreeMap<(String, String), String> = BTreeMap::new();
    let (mut seen, mut deltas) = (BTreeMap::new(), 0);
    for _ in 0..200 {
        for message in w.told(&mut socket) {
            let topic = message["topic"].as_str().unwrap().to_owned();
            *seen.entry(topic.clone()).or_insert(0) += 1;
            if topic != topics[0] {
                continue;
            }
            match message["type"].as_str() {
                Some("snapshot") => book.clear(),
                _ => deltas += 1,
            }
            for side in ["b", "a"] {
                for level in message["data"][side].as_array().unwrap() {
                    let (price, size) = (level[0].as_str().unwrap(), level[1].as_str().unwrap());
                    let key = (side.to_owned(), price.to_owned());
                    match size {
                        "0" => drop(book.remove(&key).expect("a level that was there")),
                        _ => drop(book.insert(key, size.to_owned())),
                    }
                }
            }
        }
        let target = b"/v5/market/orderbook?category=spot&symbol=BTCUSDT&limit=50";
        let host: &[(&str, &[u8])] = &[("Host", b"api.bybit.com")];
        let answer = w.venue.handle(HOME, "GET", target, host, b"", w.now_us);
        let rest: Value = serde_json::from_str(&answer.answer.unwrap().body).unwrap();
        let mut whole = BTreeMap::new();
        for side in ["b", "a"] {
            for level in rest["result"][side].as_array().unwrap() {
                let text = |at: usize| level[at].as_str().unwrap().to_owned();
                whole.insert((side.to_owned(), text(0)), text(1));
            }
        }
        assert_eq!(book, whole);
        w.now_us += 500_000;
        let now = w.now_us;
        w.venue.pass(now);
    }
    assert!(deltas > 5, "{deltas}");
    for topic in topics {
        assert!(seen.contains_key(topic), "{topic} {seen:?}");
    }
}
