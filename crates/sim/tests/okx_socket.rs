//! The simulated OKX's WebSockets: login, orders by frame, the account's channels, public channels.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests state what must hold"
)]

use aws_lc_rs::hmac;
use portcullis_sim::ears::{self, Ears};
use portcullis_sim::venue::{Kind, Options, Venue};
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr};

const NOW_US: u64 = 1_790_000_000_123_000;
const HOME: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// BTC-USDT, and its swap.
const PAIR: u64 = 10_000;

struct World {
    venue: Venue,
    now_us: u64,
    ids: u64,
}

fn world() -> World {
    let options = Options {
        kind: Kind::Okx,
        seed: Some(7),
        moving: false,
        ..Options::default()
    };
    World {
        venue: Venue::new(options, NOW_US),
        now_us: NOW_US,
        ids: 0,
    }
}

struct Socket(Box<dyn Ears>);

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for part in bytes.chunks(3) {
        let all =
            part.iter().fold(0_u32, |all, b| all << 8 | u32::from(*b)) << (8 * (3 - part.len()));
        for at in 0..4 {
            if at <= part.len() {
                out.push(char::from(LETTERS[(all >> (18 - 6 * at) & 63) as usize]));
            } else {
                out.push('=');
            }
        }
    }
    out
}

impl World {
    fn open(&mut self, path: &str) -> Socket {
        let host: &[(&str, &[u8])] = &[("Host", b"ws.okx.com")];
        Socket(ears::open(&mut self.venue, path, host).expect("a WebSocket"))
    }

    fn text(&mut self, socket: &mut Socket, text: &str) -> String {
        let mut all = socket.0.hear(&mut self.venue, HOME, text, self.now_us);
        assert_eq!(all.len(), 1);
        all.remove(0).answer.expect("an answer").body
    }

    fn say(&mut self, socket: &mut Socket, frame: &Value) -> Value {
        serde_json::from_str(&self.text(socket, &frame.to_string())).unwrap()
    }

    fn told(&mut self, socket: &mut Socket) -> Vec<Value> {
        let all = socket.0.tell(&self.venue);
        all.iter()
            .map(|t| serde_json::from_str(t).unwrap())
            .collect()
    }

    fn login(&self, duty: &str, seconds: u64) -> Value {
        let handed = self.venue.handed.iter().find(|h| h.duty == duty).unwrap();
        let secret = handed.secret.clone().unwrap();
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let tag = hmac::sign(&key, format!("{seconds}GET/users/self/verify").as_bytes());
        json!({"op": "login", "args": [{
            "apiKey": handed.key, "passphrase": handed.passphrase, "timestamp": seconds.to_string(), "sign": base64(tag.as_ref()),
        }]})
    }

    fn logged_in(&mut self, path: &str, duty: &str) -> Socket {
        let mut socket = self.open(path);
        let login = self.login(duty, self.now_us / 1_000_000);
        let told = self.say(&mut socket, &login);
        assert_eq!(
            (&told["event"], &told["code"]),
            (&json!("login"), &json!("0")),
            "{told}"
        );
        socket
    }

    fn op(&mut self, socket: &mut Socket, op: &str, args: &Value) -> Value {
        self.ids += 1;
        let frame = json!({"id": format!("r{}", self.ids), "op": op, "args": args});
        self.say(socket, &frame)
    }

    fn subscribe(&mut self, socket: &mut Socket, arg: &Value) -> Value {
        self.say(socket, &json!({"op": "subscribe", "args": [arg]}))
    }
}

fn order(more: &Value) -> Value {
    let mut one = json!({"instIdCode": PAIR, "tdMode": "cash", "side": "buy", "ordType": "limit", "sz": "0.01", "px": "60000"});
    for (name, value) in more.as_object().unwrap() {
        one[name] = value.clone();
    }
    one
}

#[test]
fn a_login_is_signed_and_fresh() {
    let mut w = world();
    let now = w.now_us / 1_000_000;
    let mut socket = w.open("/ws/v5/private");
    for (change, code) in [
        (json!({"timestamp": "soon"}), "60004"),
        (json!({"timestamp": (now - 31).to_string()}), "60006"),
        (json!({"apiKey": "nobody"}), "60005"),
        (json!({"passphrase": "other"}), "60024"),
        (json!({"timestamp": (now - 1).to_string()}), "60007"),
    ] {
        let mut login = w.login("trade", now);
        for (name, value) in change.as_object().unwrap() {
            login["args"][0][name] = value.clone();
        }
        let told = w.say(&mut socket, &login);
        assert_eq!(
            (&told["event"], &told["code"]),
            (&json!("error"), &json!(code)),
            "{told}"
        );
    }
    let told = w.op(&mut socket, "order", &json!([order(&json!({}))]));
    assert_eq!(told["code"], "60011", "{told}");
    let told = w.subscribe(
        &mut socket,
        &json!({"channel": "orders", "instType": "ANY"}),
    );
    assert_eq!(told["code"], "60011", "{told}");
    // A number is a time too.
    let mut login = w.login("trade", now);
    login["args"][0]["timestamp"] = json!(now);
    assert_eq!(w.say(&mut socket, &login)["event"], "login");
    assert_eq!(w.text(&mut socket, "ping"), "pong");
    assert!(ears::open(&mut w.venue, "/ws/v5/nowhere", &[("Host", b"ws.okx.com")]).is_none());
    assert!(ears::open(&mut w.venue, "/ws/v5/private", &[("Host", b"example.com")]).is_none());
}

#[test]
fn orders_go_round_and_are_told() {
    let mut w = world();
    let mut socket = w.logged_in("/ws/v5/private", "trade");
    let told = w.subscribe(
        &mut socket,
        &json!({"channel": "orders", "instType": "SPOT"}),
    );
    assert_eq!(told["event"], "subscribe", "{told}");
    assert!(w.told(&mut socket).is_empty());
    let placed = w.op(
        &mut socket,
        "order",
        &json!([order(&json!({"clOrdId": "mine1"}))]),
    );
    assert_eq!(
        (&placed["op"], &placed["code"], &placed["data"][0]["sCode"]),
        (&json!("order"), &json!("0"), &json!("0")),
        "{placed}"
    );
    let number = placed["data"][0]["ordId"].clone();
    let told = w.told(&mut socket);
    assert_eq!(told.len(), 1, "{told:?}");
    let of = &told[0]["data"][0];
    assert_eq!(
        (&of["ordId"], &of["clOrdId"], &of["state"]),
        (&number, &json!("mine1"), &json!("live"))
    );
    let amended = w.op(
        &mut socket,
        "amend-order",
        &json!([{"instIdCode": PAIR, "ordId": number, "newSz": "0.005"}]),
    );
    assert_eq!(amended["code"], "0", "{amended}");
    let told = w.told(&mut socket);
    assert_eq!(
        (
            &told[0]["data"][0]["sz"],
            &told[0]["data"][0]["amendResult"]
        ),
        (&json!("0.005"), &json!("0")),
        "{told:?}"
    );
    let gone = w.op(
        &mut socket,
        "cancel-order",
        &json!([{"instIdCode": PAIR, "ordId": number}]),
    );
    assert_eq!(gone["code"], "0", "{gone}");
    assert_eq!(w.told(&mut socket)[0]["data"][0]["state"], "canceled");
    let again = w.op(
        &mut socket,
        "cancel-order",
        &json!([{"instIdCode": PAIR, "ordId": number}]),
    );
    assert_eq!(
        (&again["code"], &again["data"][0]["sCode"]),
        (&json!("1"), &json!("51400")),
        "{again}"
    );
    assert!(w.told(&mut socket).is_empty());
}

#[test]
fn fills_add_up_to_what_the_order_says() {
    let mut w = world();
    let mut socket = w.logged_in("/ws/v5/private", "trade");
    for arg in [
        json!({"channel": "orders", "instType": "ANY"}),
        json!({"channel": "account"}),
        json!({"channel": "fills"}),
    ] {
        assert_eq!(w.subscribe(&mut socket, &arg)["event"], "subscribe");
    }
    let told = w.told(&mut socket);
    assert_eq!(
        (told.len(), &told[0]["eventType"]),
        (1, &json!("snapshot")),
        "{told:?}"
    );
    let buys = json!([{"instIdCode": PAIR, "tdMode": "cash", "side": "buy", "ordType": "market", "sz": "0.5", "tgtCcy": "base_ccy"}]);
    let placed = w.op(&mut socket, "batch-orders", &buys);
    assert_eq!(placed["code"], "0", "{placed}");
    let told = w.told(&mut socket);
    let of = |channel: &str| -> Vec<&Value> {
        told.iter()
            .filter(|t| t["arg"]["channel"] == channel)
            .map(|t| &t["data"][0])
            .collect()
    };
    let orders = of("orders");
    assert_eq!(orders[0]["state"], "live", "{told:?}");
    let last = orders.last().unwrap();
    assert_eq!(
        (&last["state"], &last["accFillSz"]),
        (&json!("filled"), &json!("0.5"))
    );
    let number = |value: &Value| value.as_str().unwrap().parse::<f64>().unwrap();
    let sum: f64 = of("fills").iter().map(|f| number(&f["fillSz"])).sum();
    assert!((sum - 0.5).abs() < 1e-9, "{told:?}");
    assert_eq!(of("fills").len(), orders.len() - 1);
    assert_eq!(of("account").len(), 1, "{told:?}");
}

#[test]
fn what_is_not_as_it_must_be_is_refused() {
    let mut w = world();
    let mut socket = w.logged_in("/ws/v5/private", "trade");
    let name_alone = json!([{"instId": "BTC-USDT", "tdMode": "cash", "side": "buy", "ordType": "limit", "sz": "0.01", "px": "60000"}]);
    assert_eq!(w.op(&mut socket, "order", &name_alone)["code"], "50014");
    assert_eq!(
        w.op(
            &mut socket,
            "order",
            &json!([order(&json!({"instIdCode": 77}))])
        )["code"],
        "51001"
    );
    assert_eq!(
        w.op(&mut socket, "order", &json!([order(&json!({"odd": "1"}))]))["code"],
        "51000"
    );
    assert_eq!(
        w.op(
            &mut socket,
            "order",
            &json!([order(&json!({})), order(&json!({}))])
        )["code"],
        "60012"
    );
    for text in [
        "{",
        "[]",
        r#"{"op":"order","args":[{}],"more":1}"#,
        r#"{"op":"nothing","args":[]}"#,
        r#"{"op":"order","args":{}}"#,
    ] {
        let told: Value = serde_json::from_str(&w.text(&mut socket, text)).unwrap();
        assert_eq!(told["code"], "60012", "{text}");
    }
    let late = json!({"id": "l1", "op": "order", "args": [order(&json!({}))], "expTime": (w.now_us / 1000 - 1).to_string()});
    assert_eq!(w.say(&mut socket, &late)["code"], "50004");
    let mut reads = w.logged_in("/ws/v5/private", "read");
    assert_eq!(
        w.op(&mut reads, "order", &json!([order(&json!({}))]))["code"],
        "50120"
    );
    let mut public = w.logged_in("/ws/v5/public", "trade");
    assert_eq!(
        w.op(&mut public, "order", &json!([order(&json!({}))]))["code"],
        "60012"
    );
    for arg in [
        json!({"channel": "orders", "instType": "ANY"}),
        json!({"channel": "books", "instId": "NO-PAIR"}),
        json!({"channel": "nothing"}),
    ] {
        assert_eq!(w.subscribe(&mut public, &arg)["code"], "60018", "{arg}");
    }
}

#[test]
fn public_channels_begin_with_what_is() {
    let mut w = world();
    let mut socket = w.open("/ws/v5/public");
    for channel in ["books", "books5", "bbo-tbt", "tickers", "trades"] {
        let told = w.subscribe(
            &mut socket,
            &json!({"channel": channel, "instId": "BTC-USDT"}),
        );
        assert_eq!(told["event"], "subscribe", "{told}");
    }
    let told = w.subscribe(
        &mut socket,
        &json!({"channel": "mark-price", "instId": "BTC-USDT-SWAP"}),
    );
    assert_eq!(told["event"], "subscribe", "{told}");
    let told = w.told(&mut socket);
    let of = |channel: &str| {
        told.iter()
            .find(|t| t["arg"]["channel"] == channel)
            .cloned()
            .unwrap_or_default()
    };
    assert_eq!(of("books")["action"], "snapshot", "{told:?}");
    assert_eq!(
        of("bbo-tbt")["data"][0]["asks"].as_array().unwrap().len(),
        1
    );
    assert_eq!(of("books5")["data"][0]["bids"].as_array().unwrap().len(), 5);
    assert!(of("tickers")["data"][0]["last"].is_string());
    assert!(of("mark-price")["data"][0]["markPx"].is_string());
    // Nothing moved.
    assert!(w.told(&mut socket).is_empty());
    let mut trader = w.logged_in("/ws/v5/private", "trade");
    let last: f64 = of("tickers")["data"][0]["last"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    let rests = order(&json!({"px": format!("{:.1}", last * 0.999)}));
    assert_eq!(w.op(&mut trader, "order", &json!([rests]))["code"], "0");
    let told = w.told(&mut socket);
    let book = told
        .iter()
        .find(|t| t["arg"]["channel"] == "books")
        .unwrap();
    assert_eq!(book["action"], "update");
    assert_eq!(
        book["data"][0]["prevSeqId"],
        of("books")["data"][0]["seqId"]
    );
    let mut business = w.open("/ws/v5/business");
    let told = w.subscribe(
        &mut business,
        &json!({"channel": "candle1m", "instId": "BTC-USDT"}),
    );
    assert_eq!(told["event"], "subscribe", "{told}");
    assert_eq!(
        w.told(&mut business)[0]["data"][0]
            .as_array()
            .unwrap()
            .len(),
        9
    );
}
