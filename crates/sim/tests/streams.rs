//! Market streams, user streams of futures and the WebSocket APIs of the simulated Binance, frame by frame.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests state what must hold"
)]

use aws_lc_rs::hmac;
use portcullis_sim::ears::{self, Ears};
use portcullis_sim::keys::hex;
use portcullis_sim::venue::{Options, Venue};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

const NOW_US: u64 = 1_790_000_000_123_000;
const HOME: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

struct Client {
    venue: Venue,
    key: String,
    secret: String,
    now_us: u64,
}

fn client() -> Client {
    let options = Options {
        seed: Some(7),
        moving: false,
        ..Options::default()
    };
    let mut venue = Venue::new(options, NOW_US);
    let accounts = &venue.exchange.accounts;
    let firm = accounts.iter().position(|a| a.name == "firm").unwrap();
    let handed = venue.hand_hmac(firm, "all");
    Client {
        venue,
        key: handed.key,
        secret: handed.secret.unwrap(),
        now_us: NOW_US,
    }
}

impl Client {
    fn sign(&self, payload: &str) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.secret.as_bytes());
        hex(hmac::sign(&key, payload.as_bytes()).as_ref())
    }

    #[track_caller]
    fn ok(&mut self, method: &str, path: &str, params: &str) -> Value {
        let payload = format!("{params}&timestamp={}", self.now_us / 1000);
        let full = format!("{payload}&signature={}", self.sign(&payload));
        let (full, params) = match path.ends_with("listenKey") {
            true => (params.to_owned(), full),
            false => (full, String::new()),
        };
        drop(params);
        let host = match path.get(..5) {
            Some("/fapi") => "fapi.binance.com",
            Some("/dapi") => "dapi.binance.com",
            _ => "api.binance.com",
        };
        let headers: [(&str, &[u8]); 2] = [
            ("Host", host.as_bytes()),
            ("X-MBX-APIKEY", self.key.as_bytes()),
        ];
        let outcome = self.venue.handle(
            HOME,
            method,
            path.as_bytes(),
            &headers,
            full.as_bytes(),
            self.now_us,
        );
        let answer = outcome.answer.unwrap();
        assert_eq!(answer.status, 200, "{method} {path}: {}", answer.body);
        serde_json::from_str(&answer.body).unwrap()
    }

    fn open(&mut self, host: &str, target: &str) -> Option<Box<dyn Ears>> {
        ears::open(&mut self.venue, target, &[("Host", host.as_bytes())])
    }

    #[track_caller]
    fn say(&mut self, ears: &mut dyn Ears, frame: &Value) -> Value {
        let text = frame.to_string();
        let mut all = ears.hear(&mut self.venue, HOME, &text, self.now_us);
        assert_eq!(all.len(), 1);
        let answer = all.pop().unwrap().answer.unwrap();
        serde_json::from_str(&answer.body).unwrap()
    }

    fn told(&mut self, ears: &mut dyn Ears) -> Vec<Value> {
        self.venue.pass(self.now_us);
        let all = ears.tell(&self.venue);
        all.iter()
            .map(|t| serde_json::from_str(t).unwrap())
            .collect()
    }

    /// A frame of a WebSocket API, signed over its parameters by name.
    fn signed(&self, method: &str, params: &[(&str, &str)]) -> Value {
        let mut all: BTreeMap<&str, String> =
            params.iter().map(|(n, v)| (*n, (*v).to_owned())).collect();
        all.insert("apiKey", self.key.clone());
        all.insert("timestamp", (self.now_us / 1000).to_string());
        let payload: Vec<String> = all.iter().map(|(n, v)| format!("{n}={v}")).collect();
        all.insert("signature", self.sign(&payload.join("&")));
        json!({"id": 5, "method": method, "params": all})
    }
}

fn kinds(events: &[Value]) -> Vec<String> {
    let word = |v: &Value| v.as_str().unwrap_or("").to_owned();
    events
        .iter()
        .map(|e| {
            format!("{} {}", word(&e["e"]), word(&e["o"]["x"]))
                .trim()
                .to_owned()
        })
        .collect()
}

#[test]
fn streams_come_and_go() {
    let mut c = client();
    let mut ears = c.open("stream.binance.com:9443", "/ws").unwrap();
    assert!(!ears.listens());
    let ears = &mut *ears;
    let names = json!(["btcusdt@trade", "btcusdt@aggTrade", "btcusdt@depth5@100ms"]);
    let frame = json!({"method": "SUBSCRIBE", "params": names, "id": 1});
    assert_eq!(c.say(ears, &frame), json!({"result": null, "id": 1}));
    let list = json!({"method": "LIST_SUBSCRIPTIONS", "id": "x"});
    assert_eq!(c.say(ears, &list), json!({"result": names, "id": "x"}));
    let _ = c.told(ears);
    c.ok(
        "POST",
        "/api/v3/order",
        "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.01",
    );
    c.now_us += 200_000;
    let told = c.told(ears);
    let trades: Vec<&Value> = told.iter().filter(|e| e["e"] == "trade").collect();
    assert_eq!((trades.len(), &trades[0]["q"]), (1, &json!("0.01000000")));
    assert_eq!(told.iter().filter(|e| e["e"] == "aggTrade").count(), 1);
    let levels = told.iter().find(|e| e["bids"].is_array()).unwrap();
    assert_eq!(levels["asks"].as_array().unwrap().len(), 5);
    let combined = json!({"method": "SET_PROPERTY", "params": ["combined", true], "id": 3});
    assert_eq!(c.say(ears, &combined)["result"], Value::Null);
    let frame = json!({"method": "UNSUBSCRIBE", "params": ["btcusdt@depth5@100ms"], "id": 2});
    assert_eq!(c.say(ears, &frame)["result"], Value::Null);
    c.ok(
        "POST",
        "/api/v3/order",
        "symbol=BTCUSDT&side=SELL&type=MARKET&quantity=0.01",
    );
    c.now_us += 1_200_000;
    let told = c.told(ears);
    let names: Vec<&Value> = told.iter().map(|e| &e["stream"]).collect();
    assert_eq!(names, [&json!("btcusdt@trade"), &json!("btcusdt@aggTrade")]);
    let wrong = json!({"method": "PLACE", "id": 9});
    let answer = c.say(ears, &wrong);
    assert_eq!(
        (&answer["error"]["code"], &answer["id"]),
        (&json!(2), &json!(9))
    );
    // A sixth frame in a second ends it.
    let again = ears.hear(&mut c.venue, HOME, &list.to_string(), c.now_us);
    let more: Vec<bool> = (0..5)
        .map(|_| ears.hear(&mut c.venue, HOME, &list.to_string(), c.now_us)[0].close)
        .collect();
    assert!(!again[0].close && more.ends_with(&[true]), "{more:?}");
    for (host, target) in [
        ("api.binance.com", "/ws/btcusdt@trade"),
        ("stream.binance.com", "/private/ws"),
        ("stream.binance.com", "/wss"),
        ("fstream.binance.com", "/ws-fapi/v1"),
    ] {
        assert!(c.open(host, target).is_none(), "{host}{target}");
    }
}

#[test]
fn every_stream_says_something_and_a_wrong_route_nothing() {
    let mut c = client();
    let both = [
        "trade",
        "aggTrade",
        "depth@100ms",
        "depth20",
        "bookTicker",
        "kline_1m",
        "ticker",
        "miniTicker",
    ];
    let futures = ["markPrice", "markPrice@1s"];
    let tables = [
        ("stream.binance.com", "", "btcusdt", true),
        ("fstream.binance.com", "", "btcusdt", false),
        ("fstream.binance.com", "/public", "btcusdt", false),
        ("fstream.binance.com", "/market", "btcusdt", false),
        ("dstream.binance.com", "", "btcusd_perp", false),
    ];
    for (host, route, symbol, spot) in tables {
        let more = if spot { &[][..] } else { &futures[..] };
        for name in both.iter().chain(more) {
            let mut ears = c
                .open(host, &format!("{route}/stream?streams={symbol}@{name}"))
                .unwrap();
            let mut told = c.told(&mut *ears);
            c.ok(
                "POST",
                "/api/v3/order",
                "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.01",
            );
            c.ok(
                "POST",
                "/fapi/v1/order",
                "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.01",
            );
            c.ok(
                "POST",
                "/dapi/v1/order",
                "symbol=BTCUSD_PERP&side=BUY&type=MARKET&quantity=1",
            );
            c.now_us += 4_000_000;
            told.extend(c.told(&mut *ears));
            let book = name.starts_with("depth") || *name == "bookTicker" || *name == "trade";
            let served = match route {
                "/public" => book,
                "/market" => !book,
                _ => true,
            };
            assert_eq!(!told.is_empty(), served, "{host}{route} {name}");
            assert!(
                told.iter()
                    .all(|e| e["stream"] == format!("{symbol}@{name}"))
            );
        }
    }
    for (host, name) in [
        ("stream.binance.com", "!ticker@arr"),
        ("stream.binance.com", "!miniTicker@arr"),
        ("fstream.binance.com", "!markPrice@arr@1s"),
        ("fstream.binance.com", "!ticker@arr"),
    ] {
        let mut ears = c.open(host, &format!("/ws/{name}")).unwrap();
        let told = c.told(&mut *ears);
        assert!(
            told[0].as_array().is_some_and(|all| all.len() > 3),
            "{name}"
        );
    }
}

#[test]
fn changes_of_the_book_lead_from_one_answer_to_the_next() {
    for (host, symbol, path, params) in [
        (
            "stream.binance.com",
            "btcusdt",
            "/api/v3/order",
            "symbol=BTCUSDT",
        ),
        (
            "fstream.binance.com",
            "btcusdt",
            "/fapi/v1/order",
            "symbol=BTCUSDT",
        ),
    ] {
        let mut c = client();
        c.venue.pass(c.now_us);
        let mut ears = c.open(host, &format!("/ws/{symbol}@depth@100ms")).unwrap();
        let ears = &mut *ears;
        let book = |c: &mut Client| -> (u64, [BTreeMap<String, String>; 2]) {
            let target = format!("{}?{params}&limit=1000", path.replace("order", "depth"));
            let headers: [(&str, &[u8]); 1] = [("Host", b"localhost")];
            let outcome = c
                .venue
                .handle(HOME, "GET", target.as_bytes(), &headers, b"", c.now_us);
            let body: Value = serde_json::from_str(&outcome.answer.unwrap().body).unwrap();
            let side = |name: &str| {
                serde_json::from_value::<Vec<[String; 2]>>(body[name].clone())
                    .unwrap()
                    .into_iter()
                    .map(|[p, q]| (p, q))
                    .collect()
            };
            (
                body["lastUpdateId"].as_u64().unwrap(),
                [side("bids"), side("asks")],
            )
        };
        let (mut at, mut own) = book(&mut c);
        for i in 0_u32..20 {
            let side = if i % 3 == 0 { "SELL" } else { "BUY" };
            let price = 60_000 + 50 * (i % 7);
            let order = match i % 4 {
                0 => "type=MARKET".to_owned(),
                _ if side == "BUY" => format!("type=LIMIT&timeInForce=GTC&price={price}"),
                _ => "type=LIMIT&timeInForce=GTC&price=67000".to_owned(),
            };
            c.ok(
                "POST",
                path,
                &format!("{params}&side={side}&quantity=0.01&{order}"),
            );
            c.now_us += 150_000;
            for event in c.told(ears) {
                assert_eq!(event["U"].as_u64().unwrap(), at + 1);
                at = event["u"].as_u64().unwrap();
                for (own, side) in own.iter_mut().zip(["b", "a"]) {
                    for level in event[side].as_array().unwrap() {
                        let word = |i: usize| level[i].as_str().unwrap().to_owned();
                        match word(1).trim_matches(['0', '.']).is_empty() {
                            true => drop(own.remove(&word(0))),
                            false => drop(own.insert(word(0), word(1))),
                        }
                    }
                }
            }
            let (now, theirs) = book(&mut c);
            assert_eq!((at, &own), (now, &theirs), "{host} after {i}");
        }
    }
}

#[test]
fn a_listen_key_tells_what_happens_to_its_account() {
    for (service, host, symbol, contracts, price) in [
        (
            "/fapi/v1",
            "fstream.binance.com",
            "BTCUSDT",
            "0.010",
            "60000",
        ),
        (
            "/dapi/v1",
            "dstream.binance.com",
            "BTCUSD_PERP",
            "2",
            "60000",
        ),
    ] {
        let mut c = client();
        let at = |call: &str| format!("{service}/{call}");
        let key = c.ok("POST", &at("listenKey"), "")["listenKey"].clone();
        let key = key.as_str().unwrap();
        let mut ears = c.open(host, &format!("/ws/{key}")).unwrap();
        let ears = &mut *ears;
        let limit = format!(
            "symbol={symbol}&side=BUY&type=LIMIT&timeInForce=GTC&quantity={contracts}&price={price}"
        );
        let order = c.ok("POST", &at("order"), &limit);
        let told = c.told(ears);
        assert_eq!(kinds(&told), ["ORDER_TRADE_UPDATE NEW"]);
        assert_eq!(
            (&told[0]["o"]["i"], &told[0]["o"]["X"]),
            (&order["orderId"], &json!("NEW"))
        );
        let id = order["orderId"].to_string();
        c.ok(
            "PUT",
            &at("order"),
            &format!("symbol={symbol}&side=BUY&orderId={id}&quantity={contracts}&price=60100"),
        );
        let told = c.told(ears);
        assert_eq!(kinds(&told), ["ORDER_TRADE_UPDATE AMENDMENT"]);
        assert_eq!(
            told[0]["o"]["p"]
                .as_str()
                .unwrap()
                .trim_end_matches(['0', '.']),
            "601"
        );
        c.ok(
            "DELETE",
            &at("order"),
            &format!("symbol={symbol}&orderId={id}"),
        );
        assert_eq!(kinds(&c.told(ears)), ["ORDER_TRADE_UPDATE CANCELED"]);
        c.ok(
            "POST",
            &at("order"),
            &format!("symbol={symbol}&side=BUY&type=MARKET&quantity={contracts}"),
        );
        let told = c.told(ears);
        assert_eq!(
            kinds(&told),
            [
                "ORDER_TRADE_UPDATE NEW",
                "ACCOUNT_UPDATE",
                "TRADE_LITE",
                "ORDER_TRADE_UPDATE TRADE"
            ]
        );
        let (account, lite, trade) = (&told[1]["a"], &told[2], &told[3]["o"]);
        assert_eq!(account["P"][0]["pa"], json!(contracts));
        assert_eq!((&lite["l"], &lite["i"]), (&json!(contracts), &trade["i"]));
        assert_eq!(
            (&trade["X"], &trade["z"]),
            (&json!("FILLED"), &json!(contracts))
        );
        assert!(
            !trade["n"]
                .as_str()
                .unwrap()
                .trim_matches(['0', '.'])
                .is_empty(),
            "{trade}"
        );
        c.ok(
            "POST",
            &at("leverage"),
            &format!("symbol={symbol}&leverage=7"),
        );
        let told = c.told(ears);
        assert_eq!(kinds(&told), ["ACCOUNT_CONFIG_UPDATE"]);
        assert_eq!(told[0]["ac"], json!({"s": symbol, "l": 7}));
        assert_eq!(c.told(ears), Vec::<Value>::new());
        // Kept alive, it outlives its hour; then it expires.
        c.now_us += 3_000_000_000;
        c.ok("PUT", &at("listenKey"), "");
        c.now_us += 3_000_000_000;
        assert!(!kinds(&c.told(ears)).contains(&"listenKeyExpired".to_owned()));
        c.now_us += 700_000_000;
        let told = c.told(ears);
        assert_eq!(kinds(&told).last().unwrap(), "listenKeyExpired");
        assert_eq!(told.last().unwrap()["listenKey"], json!(key));
        // A new one, at the path that is for it alone; taken back, it ends.
        let key = c.ok("POST", &at("listenKey"), "")["listenKey"].clone();
        let key = key.as_str().unwrap();
        let target = match service {
            "/fapi/v1" => format!("/private/ws?listenKey={key}"),
            _ => format!("/stream?streams={key}"),
        };
        let mut ears = c.open(host, &target).unwrap();
        c.ok("POST", &at("order"), &limit);
        assert_eq!(c.told(&mut *ears).len(), 1);
        c.ok("DELETE", &at("listenKey"), "");
        assert!(!ears.done());
        let _ = c.told(&mut *ears);
        assert!(ears.done());
        // The other kind's streams do not know it.
        let mut other = c.open("stream.binance.com", &format!("/ws/{key}")).unwrap();
        c.ok("POST", &at("order"), &limit);
        assert!(c.told(&mut *other).is_empty());
    }
}

#[test]
fn the_websocket_apis_of_futures_are_their_calls() {
    for (host, target, symbol, quantity) in [
        ("ws-fapi.binance.com", "/ws-fapi/v1", "BTCUSDT", "0.01"),
        ("ws-dapi.binance.com", "/ws-dapi/v1", "BTCUSD_PERP", "2"),
    ] {
        let mut c = client();
        let mut ears = c.open(host, target).unwrap();
        let ears = &mut *ears;
        let place = [
            ("symbol", symbol),
            ("side", "BUY"),
            ("type", "LIMIT"),
            ("timeInForce", "GTC"),
            ("quantity", quantity),
            ("price", "60000"),
        ];
        let frame = c.signed("order.place", &place);
        let placed = c.say(ears, &frame);
        assert_eq!(placed["status"], 200, "{placed}");
        let id = placed["result"]["orderId"].to_string();
        let modify = [
            ("symbol", symbol),
            ("side", "BUY"),
            ("orderId", &id),
            ("quantity", quantity),
            ("price", "60100"),
        ];
        let frame = c.signed("order.modify", &modify);
        let modified = c.say(ears, &frame);
        assert_eq!(modified["result"]["orderId"].to_string(), id, "{modified}");
        let of = [("symbol", symbol), ("orderId", &*id)];
        for (method, status) in [("order.status", "NEW"), ("order.cancel", "CANCELED")] {
            let frame = c.signed(method, &of);
            assert_eq!(c.say(ears, &frame)["result"]["status"], status);
        }
        let frame = c.signed("account.position", &[]);
        assert!(c.say(ears, &frame)["result"].is_array());
        let mut frame = c.signed("order.place", &place);
        frame["params"]["quantity"] = json!("9");
        assert_eq!(c.say(ears, &frame)["error"]["code"], -1022);
        let frame = c.signed("openOrders.cancelAll", &of);
        assert_eq!(c.say(ears, &frame)["error"]["code"], -1000);
        assert!(c.open("fapi.binance.com", target).is_none());
    }
}
