//! The simulated Bybit: what it accepts, and what it refuses with which code.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests state what must hold"
)]

use aws_lc_rs::hmac;
use portcullis_sim::bybit::CALLS;
use portcullis_sim::keys::hex;
use portcullis_sim::venue::{Kind, Options, Venue};
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr};

const NOW_US: u64 = 1_790_000_000_123_000;
const NOW_MS: u64 = NOW_US / 1000;
const HOME: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

struct Client {
    venue: Venue,
    key: String,
    secret: String,
    now_us: u64,
    headers: Vec<(String, u16)>,
}

fn client(duty: &str) -> Client {
    let options = Options {
        kind: Kind::Bybit,
        seed: Some(7),
        moving: false,
        ..Options::default()
    };
    let venue = Venue::new(options, NOW_US);
    let handed = venue.handed.iter().find(|h| h.duty == duty).unwrap();
    let (key, secret) = (handed.key.clone(), handed.secret.clone().unwrap());
    Client {
        venue,
        key,
        secret,
        now_us: NOW_US,
        headers: Vec::new(),
    }
}

impl Client {
    fn sign(&self, time: u64, window: &str, payload: &str) -> String {
        let text = format!("{time}{}{window}{payload}", self.key);
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.secret.as_bytes());
        hex(hmac::sign(&key, text.as_bytes()).as_ref())
    }

    fn raw(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> (u16, Value) {
        let mut all: Vec<(&str, &[u8])> = vec![("Host", b"api.bybit.com")];
        all.extend(headers.iter().map(|(n, v)| (*n, v.as_bytes())));
        let outcome = self.venue.handle(
            HOME,
            method,
            target.as_bytes(),
            &all,
            body.as_bytes(),
            self.now_us,
        );
        let answer = outcome.answer.unwrap();
        self.headers = answer
            .headers
            .iter()
            .map(|(n, v)| (format!("{n}: {v}"), answer.status))
            .collect();
        (
            answer.status,
            serde_json::from_str(&answer.body).unwrap_or(Value::Null),
        )
    }

    fn send(&mut self, method: &str, path: &str, query: &str, body: &str) -> (u16, Value) {
        let time = self.now_us / 1000;
        let payload = if method == "GET" { query } else { body };
        let (sign, key, time) = (
            self.sign(time, "5000", payload),
            self.key.clone(),
            time.to_string(),
        );
        let target = if query.is_empty() {
            path.to_owned()
        } else {
            format!("{path}?{query}")
        };
        let headers = [
            ("X-BAPI-API-KEY", key.as_str()),
            ("X-BAPI-SIGN", &sign),
            ("X-BAPI-TIMESTAMP", &time),
            ("X-BAPI-RECV-WINDOW", "5000"),
            ("Content-Type", "application/json"),
        ];
        self.raw(method, &target, &headers, body)
    }

    fn code(&mut self, method: &str, path: &str, query: &str, body: &str) -> i64 {
        let (status, answer) = self.send(method, path, query, body);
        assert_eq!(status, 200, "{answer}");
        answer["retCode"].as_i64().unwrap()
    }

    fn post(&mut self, path: &str, body: &Value) -> Value {
        self.send("POST", path, "", &body.to_string()).1
    }

    fn ok(&mut self, path: &str, body: &Value) -> Value {
        let answer = self.post(path, body);
        assert_eq!(answer["retCode"], 0, "{answer}");
        answer["result"].clone()
    }

    fn list(&mut self, path: &str, query: &str) -> Vec<Value> {
        let (_, answer) = self.send("GET", path, query, "");
        assert_eq!(answer["retCode"], 0, "{answer}");
        answer["result"]["list"].as_array().unwrap().clone()
    }
}

const ORDER: &str = r#"{"category":"spot","symbol":"BTCUSDT","side":"Buy","orderType":"Limit","qty":"0.01","price":"60000"}"#;
const CREATE: &str = "/v5/order/create";

#[test]
fn every_line_of_the_table_is_read_and_answered() {
    let lines = include_str!("../src/bybit/calls.txt")
        .lines()
        .filter(|l| l.starts_with("GET") || l.starts_with("POST"))
        .count();
    assert_eq!(CALLS.len(), lines);
    let mut c = client("all");
    for call in CALLS.iter() {
        // Nothing falls through to the end of the table of what is done.
        let (_, answer) = c.send(
            call.method,
            call.path,
            "",
            if call.method == "POST" { "{}" } else { "" },
        );
        assert_ne!(answer["retCode"], 10016, "{} {answer}", call.path);
    }
}

#[test]
fn who_asks() {
    let mut c = client("trade");
    assert_eq!(c.code("POST", CREATE, "", ORDER), 0);
    let key = c.key.clone();
    let good = c.sign(NOW_MS, "5000", ORDER);
    let time = NOW_MS.to_string();
    let with = |c: &mut Client, key: &str, sign: &str, time: &str, window: Option<&str>| {
        let mut headers = vec![
            ("X-BAPI-API-KEY", key),
            ("X-BAPI-SIGN", sign),
            ("X-BAPI-TIMESTAMP", time),
            ("Content-Type", "application/json"),
        ];
        if let Some(window) = window {
            headers.push(("X-BAPI-RECV-WINDOW", window));
        }
        let (_, answer) = c.raw("POST", CREATE, &headers, ORDER);
        answer["retCode"].as_i64().unwrap()
    };
    assert_eq!(with(&mut c, &key, &good, &time, Some("5000")), 0);
    assert_eq!(with(&mut c, "nobody", &good, &time, Some("5000")), 10003);
    let mut changed = good.clone();
    let last = changed.pop().unwrap();
    changed.push(if last == '0' { '1' } else { '0' });
    for sign in ["", "zz", &changed, &good.to_uppercase()] {
        assert_eq!(
            with(&mut c, &key, sign, &time, Some("5000")),
            10004,
            "{sign}"
        );
    }
    // The window is signed: another one, or none, is another text.
    assert_eq!(with(&mut c, &key, &good, &time, Some("5001")), 10004);
    assert_eq!(with(&mut c, &key, &good, &time, None), 10004);
    let none = c.sign(NOW_MS, "", ORDER);
    assert_eq!(with(&mut c, &key, &none, &time, None), 0);
    // [now - window, now + 1000)
    for (at, code) in [
        (NOW_MS - 5000, 0),
        (NOW_MS - 5001, 10002),
        (NOW_MS + 999, 0),
        (NOW_MS + 1000, 10002),
    ] {
        let sign = c.sign(at, "5000", ORDER);
        assert_eq!(
            with(&mut c, &key, &sign, &at.to_string(), Some("5000")),
            code,
            "{at}"
        );
    }
    assert_eq!(with(&mut c, &key, &good, "now", Some("5000")), 10001);
    let (status, answer) = c.raw("GET", "/v5/account/info", &[], "");
    assert_eq!((status, answer["retCode"].as_i64()), (401, Some(10003)));
    // Neither method nor path is signed: the same signature is good for another call.
    let sign = c.sign(NOW_MS, "5000", "");
    let headers = [
        ("X-BAPI-API-KEY", key.as_str()),
        ("X-BAPI-SIGN", &sign),
        ("X-BAPI-TIMESTAMP", &time),
        ("X-BAPI-RECV-WINDOW", "5000"),
    ];
    for path in ["/v5/account/info", "/v5/user/query-api"] {
        assert_eq!(c.raw("GET", path, &headers, "").1["retCode"], 0);
    }
    // A header twice is none.
    let twice = [&headers[..], &headers[..1]].concat();
    assert_eq!(
        c.raw("GET", "/v5/account/info", &twice, "").1["retCode"],
        10001
    );
    c.venue.keys.change(&key).unwrap().ips = vec![IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))];
    assert_eq!(c.code("GET", "/v5/account/info", "", ""), 10010);
    c.venue.keys.change(&key).unwrap().revoked = true;
    assert_eq!(c.code("GET", "/v5/account/info", "", ""), 10003);
}

#[test]
fn what_is_not_understood_is_refused() {
    let order = |from: &str, to: &str| {
        assert!(ORDER.contains(from), "{from}");
        ORDER.replace(from, to)
    };
    let mut c = client("all");
    for (body, code) in [
        (String::new(), 10001),
        ("{".to_owned(), 10001),
        ("[]".to_owned(), 10001),
        (order("}", r#","qty":"0.02"}"#), 10001),
        (order("}", r#","other":"1"}"#), 10001),
        (order(r#""qty":"0.01""#, r#""qty":0.01"#), 10001),
        (order(r#""qty":"0.01""#, r#""qty":"1e-2""#), 10001),
        (order(r#""qty":"0.01""#, r#""qty":"-0.01""#), 10001),
        (order(r#""qty":"0.01""#, r#""qty":"""#), 10001),
        (order(r#""qty":"0.01","#, ""), 10001),
        (order("spot", "option"), 10001),
        (order("spot", "SPOT"), 10001),
        (order("BTCUSDT", "btcusdt"), 10001),
        (order("BTCUSDT", "NONEUSDT"), 170_121),
        (order("BTCUSDT", "LUNAUSDT"), 170_151),
        (order("Buy", "BUY"), 10001),
        (order("Limit", "LIMIT"), 10001),
        (order(r#","price":"60000""#, ""), 170_130),
        (order("60000", "0"), 170_130),
        (order("60000", "60000.001"), 170_134),
        (order("60000", "600000"), 170_132),
        (order("60000", "600"), 170_133),
        (order("0.01", "0.000001"), 170_137),
        (order("0.01", "0.00001"), 170_140),
        (order("0.01", "100000"), 170_381),
        (order("0.01", "100"), 170_131),
        (order("}", r#","timeInForce":"GTX"}"#), 10001),
        (order("}", r#","positionIdx":1}"#), 10001),
        (order("}", r#","positionIdx":"0"}"#), 10001),
        (order("}", r#","isLeverage":1}"#), 170_344),
        (order("}", r#","reduceOnly":true}"#), 10001),
        (order("}", r#","reduceOnly":"true"}"#), 10001),
        (order("}", r#","triggerPrice":"70000"}"#), 170_201),
        (order("}", r#","orderFilter":"StopOrder"}"#), 170_202),
        (order("}", r#","orderLinkId":"a b"}"#), 10001),
        (
            order("}", &format!(r#","orderLinkId":"{}"}}"#, "a".repeat(37))),
            10001,
        ),
        (
            order("}", r#","takeProfit":"70000","tpLimitPrice":"70000"}"#),
            10001,
        ),
        (order("}", r#","takeProfit":"70000.001"}"#), 170_134),
    ] {
        c.now_us += 100_000;
        assert_eq!(c.code("POST", CREATE, "", &body), code, "{body}");
    }
    assert!(c.list("/v5/order/realtime", "category=spot").is_empty());
    // A query beside a body, or another kind of body.
    c.now_us += 1_000_000;
    assert_eq!(c.code("POST", CREATE, "category=spot", ORDER), 10001);
    let (sign, key, time) = (
        c.sign(c.now_us / 1000, "", ORDER),
        c.key.clone(),
        (c.now_us / 1000).to_string(),
    );
    let headers = [
        ("X-BAPI-API-KEY", key.as_str()),
        ("X-BAPI-SIGN", &sign),
        ("X-BAPI-TIMESTAMP", &time),
        ("Content-Type", "application/x-www-form-urlencoded"),
    ];
    assert_eq!(c.raw("POST", CREATE, &headers, ORDER).1["retCode"], 10001);
    // Paths byte by byte, methods as documented, no body with GET, one Host of its own.
    for (method, path, body, status) in [
        ("POST", "/v5/order/create/", ORDER, 404),
        ("POST", "/V5/order/create", ORDER, 404),
        ("GET", CREATE, "", 404),
        ("PUT", CREATE, ORDER, 404),
        ("GET", "/v5/account/info", "{}", 403),
    ] {
        assert_eq!(c.send(method, path, "", body).0, status, "{method} {path}");
    }
    let foreign: [(&str, &[u8]); 1] = [("Host", b"api.binance.com")];
    let outcome = c
        .venue
        .handle(HOME, "GET", b"/v5/market/time", &foreign, b"", c.now_us);
    assert_eq!(outcome.answer.unwrap().status, 403);
    // Queries: a name twice, an escape that is none.
    for query in [
        "category=spot&category=spot",
        "category=spo%74&symbol=%2",
        "category",
        "category=spot&limit=x",
    ] {
        assert_eq!(
            c.code("GET", "/v5/order/realtime", query, ""),
            10001,
            "{query}"
        );
    }
}

#[test]
fn orders_live_as_they_should() {
    let mut c = client("all");
    let which = |id: &Value| json!({"category": "spot", "symbol": "BTCUSDT", "orderId": id});
    let order = |more: Value| {
        let mut order: Value = serde_json::from_str(ORDER).unwrap();
        for (name, value) in more.as_object().unwrap() {
            order[name] = value.clone();
        }
        order
    };
    let find = |c: &mut Client, id: &Value| {
        let query = format!("category=spot&orderId={}", id.as_str().unwrap());
        c.list("/v5/order/realtime", &query)
            .first()
            .cloned()
            .unwrap_or(Value::Null)
    };
    // A price that goes up locks more, and takes what it then reaches.
    let id = c.ok(CREATE, &order(json!({})))["orderId"].clone();
    let locked = |c: &mut Client| {
        c.list(
            "/v5/account/wallet-balance",
            "accountType=UNIFIED&coin=USDT",
        )[0]["coin"][0]["locked"]
            .clone()
    };
    assert_eq!(locked(&mut c), "600");
    let mut change = which(&id);
    change["price"] = json!("61000");
    c.ok("/v5/order/amend", &change);
    assert_eq!(locked(&mut c), "610");
    assert_eq!(c.post("/v5/order/amend", &change)["retCode"], 10001);
    change["qty"] = json!("0.02");
    c.ok("/v5/order/amend", &change);
    assert_eq!(locked(&mut c), "1220");
    change["qty"] = json!("10000");
    assert_ne!(c.post("/v5/order/amend", &change)["retCode"], 0);
    assert_eq!(locked(&mut c), "1220");
    change["qty"] = json!("0.01");
    change["price"] = json!("70000");
    c.ok("/v5/order/amend", &change);
    assert_eq!(find(&mut c, &id)["orderStatus"], "Filled");
    assert_eq!(locked(&mut c), "0");
    assert_eq!(c.post("/v5/order/cancel", &which(&id))["retCode"], 170_213);
    // By another account's key it is not there.
    let stranger = c
        .venue
        .exchange
        .accounts
        .iter()
        .position(|a| a.name == "stranger")
        .unwrap();
    let hers = *c.venue.exchange.accounts[stranger].orders[0]
        .front()
        .unwrap();
    let number = portcullis_sim::v5::spot::number(0, hers).to_string();
    assert_eq!(
        c.post("/v5/order/cancel", &which(&json!(number)))["retCode"],
        170_213
    );
    // Never takes: accepted, and cancelled.
    let id = c.ok(
        CREATE,
        &order(json!({"price": "70000", "timeInForce": "PostOnly"})),
    )["orderId"]
        .clone();
    let found = find(&mut c, &id);
    assert_eq!(
        (&found["orderStatus"], &found["rejectReason"]),
        (&json!("Cancelled"), &json!("EC_PostOnlyWillTakeLiquidity"))
    );
    // By value, as market buys are without a unit; sells by quantity.
    let id = c.ok(CREATE, &order(json!({"orderType": "Market", "qty": "650"})))["orderId"].clone();
    let found = find(&mut c, &id);
    assert_eq!(
        (&found["marketUnit"], &found["orderStatus"]),
        (&json!("quoteCoin"), &json!("Filled"))
    );
    let id = c.ok(
        CREATE,
        &order(json!({"orderType": "Market", "side": "Sell"})),
    )["orderId"]
        .clone();
    assert_eq!(find(&mut c, &id)["cumExecQty"], "0.01");
    // A client's id is used once, whatever became of the first.
    let id = c.ok(CREATE, &order(json!({"orderLinkId": "once"})))["orderId"].clone();
    c.ok("/v5/order/cancel", &which(&id));
    assert_eq!(
        c.post(CREATE, &order(json!({"orderLinkId": "once"})))["retCode"],
        170_141
    );
    // A batch: each for itself.
    let batch = json!({"category": "spot", "request": [
        {"symbol": "BTCUSDT", "side": "Buy", "orderType": "Limit", "qty": "0.01", "price": "50000"},
        {"symbol": "BTCUSDT", "side": "Buy", "orderType": "Limit", "qty": "100", "price": "60000"},
    ]});
    let answer = c.post("/v5/order/create-batch", &batch);
    let codes: Vec<i64> = answer["retExtInfo"]["list"]
        .as_array()
        .unwrap()
        .iter()
        .map(|i| i["code"].as_i64().unwrap())
        .collect();
    assert_eq!(codes, [0, 170_131]);
    let many: Vec<Value> = (0..11).map(|_| batch["request"][0].clone()).collect();
    assert_eq!(
        c.post(
            "/v5/order/create-batch",
            &json!({"category": "spot", "request": many})
        )["retCode"],
        10001
    );
    c.ok(
        "/v5/order/cancel-all",
        &json!({"category": "spot", "symbol": "BTCUSDT"}),
    );
    assert!(c.list("/v5/order/realtime", "category=spot").is_empty());
    // Everything is still there.
    for asset in 0..c.venue.exchange.assets.len() {
        let fresh = Venue::new(c.venue.options.clone(), NOW_US);
        assert_eq!(c.venue.exchange.total(asset), fresh.exchange.total(asset));
    }
}

/// Everything of an asset: on spot, and behind contracts.
fn whole(venue: &Venue, asset: usize) -> i128 {
    let houses = venue.futures.houses.iter().map(|h| h.total(asset));
    portcullis_sim::futures::position::money(venue.exchange.total(asset)) + houses.sum::<i128>()
}

#[test]
fn contracts_share_the_wallet_with_spot() {
    let mut c = client("all");
    let order = |more: Value| {
        let mut order = json!({"category": "linear", "symbol": "BTCUSDT", "side": "Buy", "orderType": "Market", "qty": "1"});
        for (name, value) in more.as_object().unwrap() {
            order[name] = value.clone();
        }
        order
    };
    let position = |c: &mut Client, symbol: &str| {
        let list = c.list(
            "/v5/position/list",
            &format!("category=linear&symbol={symbol}"),
        );
        list[0].clone()
    };
    let free = |c: &mut Client| {
        let wallet = c.list("/v5/account/wallet-balance", "accountType=UNIFIED");
        wallet[0]["totalAvailableBalance"]
            .as_str()
            .unwrap()
            .parse::<f64>()
            .unwrap()
    };
    let before = free(&mut c);
    for (body, code) in [
        (order(json!({"symbol": "NONE"})), 10001),
        (order(json!({"symbol": "LUNAUSDT"})), 110_074),
        (order(json!({"reduceOnly": true})), 110_017),
        (order(json!({"positionIdx": 1})), 10001),
        (order(json!({"orderType": "Limit"})), 10001),
        (
            order(json!({"orderType": "Limit", "price": "650000"})),
            110_003,
        ),
        (
            order(json!({"orderType": "Limit", "price": "65000.01"})),
            10001,
        ),
        (order(json!({"qty": "0.0001"})), 10001),
        (order(json!({"takeProfit": "60000"})), 10001),
        (order(json!({"stopLoss": "70000"})), 10001),
        (order(json!({"marketUnit": "quoteCoin"})), 10001),
        (
            order(json!({"orderType": "Limit", "price": "64000", "qty": "1000"})),
            110_007,
        ),
    ] {
        c.now_us += 200_000;
        assert_eq!(c.post(CREATE, &body)["retCode"], code, "{body}");
    }
    assert!((free(&mut c) - before).abs() < 1.0);
    // A position holds a twentieth of its worth, from the wallet that spot uses.
    c.now_us += 1_000_000;
    c.ok(
        CREATE,
        &order(json!({"takeProfit": "70000", "stopLoss": "60000"})),
    );
    let held = position(&mut c, "BTCUSDT");
    assert_eq!(
        (&held["side"], &held["size"], &held["leverage"]),
        (&json!("Buy"), &json!("1"), &json!("20"))
    );
    assert_eq!(
        (&held["takeProfit"], &held["stopLoss"]),
        (&json!("70000"), &json!("60000"))
    );
    assert!((before - free(&mut c) - 3_250.0).abs() < 100.0);
    let spot = json!({"category": "spot", "symbol": "BTCUSDT", "side": "Buy", "orderType": "Limit", "qty": "15.37", "price": "65000"});
    assert_eq!(c.post(CREATE, &spot)["retCode"], 170_131);
    // What only reduces reduces; the rest of it is not there.
    c.ok(
        CREATE,
        &order(json!({"side": "Sell", "qty": "0.4", "reduceOnly": true})),
    );
    assert_eq!(position(&mut c, "BTCUSDT")["size"], "0.6");
    assert_eq!(
        c.post(
            "/v5/position/switch-mode",
            &json!({"category": "linear", "coin": "USDT", "mode": 3})
        )["retCode"],
        110_028
    );
    // The price falls: the stop closes all, and the exits are gone.
    let price = portcullis_sim::decimal::d("59990");
    let Venue {
        makers, exchange, ..
    } = &mut c.venue;
    makers.set_price(exchange, 0, price);
    c.now_us += 1_000_000;
    let held = position(&mut c, "BTCUSDT");
    assert_eq!(
        (&held["size"], &held["stopLoss"]),
        (&json!("0"), &json!(""))
    );
    let lost = before - free(&mut c);
    assert!(lost > 2_900.0, "{lost}");
    // Hedge mode: two positions, each named.
    let open = c.list("/v5/order/realtime", "category=linear&settleCoin=USDT");
    for one in &open {
        c.ok(
            "/v5/order/cancel",
            &json!({"category": "linear", "symbol": "BTCUSDT", "orderId": one["orderId"]}),
        );
    }
    c.ok(
        "/v5/position/switch-mode",
        &json!({"category": "linear", "coin": "USDT", "mode": 3}),
    );
    c.ok(
        "/v5/position/switch-mode",
        &json!({"category": "linear", "coin": "USDT", "mode": 3}),
    );
    assert_eq!(
        c.post(
            "/v5/position/switch-mode",
            &json!({"category": "linear", "symbol": "BTCUSDT", "mode": 3})
        )["retCode"],
        110_025
    );
    assert_eq!(c.post(CREATE, &order(json!({})))["retCode"], 10001);
    c.ok(CREATE, &order(json!({"positionIdx": 1})));
    c.ok(
        CREATE,
        &order(json!({"positionIdx": 2, "side": "Sell", "qty": "0.5"})),
    );
    let both = c.list("/v5/position/list", "category=linear&settleCoin=USDT");
    let sizes: Vec<(&str, &str)> = both
        .iter()
        .map(|p| (p["side"].as_str().unwrap(), p["size"].as_str().unwrap()))
        .collect();
    assert_eq!(sizes, [("Buy", "1"), ("Sell", "0.5")]);
    let batch = json!({"category": "linear", "request": [
        {"symbol": "BTCUSDT", "side": "Sell", "orderType": "Market", "qty": "1", "positionIdx": 1, "reduceOnly": true},
        {"symbol": "BTCUSDT", "side": "Buy", "orderType": "Market", "qty": "0.5", "positionIdx": 2, "reduceOnly": true},
    ]});
    c.ok("/v5/order/create-batch", &batch);
    assert!(
        c.list("/v5/position/list", "category=linear&settleCoin=USDT")
            .is_empty()
    );
    for asset in 0..c.venue.exchange.assets.len() {
        let fresh = Venue::new(c.venue.options.clone(), NOW_US);
        assert_eq!(whole(&c.venue, asset), whole(&fresh, asset));
    }
}

#[test]
fn rates_are_counted_by_call_and_category() {
    let mut c = client("all");
    let mut codes = Vec::new();
    for _ in 0..22 {
        codes.push(c.code("POST", "/v5/order/cancel-all", "", r#"{"category":"spot"}"#));
    }
    assert_eq!(codes.iter().filter(|code| **code == 0).count(), 20);
    assert_eq!(codes[20..], [10006, 10006]);
    let names: Vec<String> = c.headers.iter().map(|(h, _)| h.clone()).collect();
    assert_eq!(names[..2], ["X-Bapi-Limit: 20", "X-Bapi-Limit-Status: 0"]);
    assert_eq!(
        names[2],
        format!("X-Bapi-Limit-Reset-Timestamp: {}", NOW_MS + 1000)
    );
    // Another call, and a second later.
    assert_eq!(c.code("POST", CREATE, "", ORDER), 0);
    c.now_us += 1_000_000;
    assert_eq!(
        c.code("POST", "/v5/order/cancel-all", "", r#"{"category":"spot"}"#),
        0
    );
    // The address: 600 in five seconds, then nothing for ten minutes.
    c.now_us += 10_000_000;
    let statuses: Vec<u16> = (0..601)
        .map(|_| c.raw("GET", "/v5/market/time", &[], "").0)
        .collect();
    assert!(statuses[..600].iter().all(|s| *s == 200));
    assert_eq!(statuses[600], 403);
    c.now_us += 599_000_000;
    assert_eq!(c.raw("GET", "/v5/market/time", &[], "").0, 403);
    c.now_us += 2_000_000;
    assert_eq!(c.raw("GET", "/v5/market/time", &[], "").0, 200);
}

#[test]
fn rights() {
    for (duty, path, body, may) in [
        ("read", CREATE, ORDER, false),
        ("move", CREATE, ORDER, false),
        ("trade", CREATE, ORDER, true),
        (
            "trade",
            "/v5/asset/withdraw/create",
            r#"{"coin":"USDT","chain":"ETH","address":"a","amount":"1","timestamp":1790000000123,"accountType":"UTA"}"#,
            false,
        ),
        (
            "move",
            "/v5/asset/withdraw/create",
            r#"{"coin":"USDT","chain":"ETH","address":"a","amount":"1","timestamp":1790000000123,"accountType":"UTA"}"#,
            true,
        ),
        (
            "trade",
            "/v5/asset/transfer/inter-transfer",
            r#"{"transferId":"42c0cfb0-6bca-c242-bc76-4e6df6cbcb16","coin":"USDT","amount":"1","fromAccountType":"UNIFIED","toAccountType":"FUND"}"#,
            false,
        ),
        (
            "move",
            "/v5/asset/transfer/inter-transfer",
            r#"{"transferId":"42c0cfb0-6bca-c242-bc76-4e6df6cbcb16","coin":"USDT","amount":"1","fromAccountType":"UNIFIED","toAccountType":"FUND"}"#,
            true,
        ),
        ("trade", "/v5/user/update-api", r#"{"readOnly":1}"#, false),
        ("trade", "/v5/user/delete-api", "{}", false),
        (
            "move",
            "/v5/user/update-api",
            r#"{"permissions":{"Wallet":["Withdraw"]}}"#,
            false,
        ),
        (
            "move",
            "/v5/user/update-api",
            r#"{"permissions":{"Spot":["SpotTrade"]}}"#,
            true,
        ),
    ] {
        let mut c = client(duty);
        let code = c.code("POST", path, "", body);
        assert_eq!(code == 0, may, "{duty} {path}: {code}");
        assert!(
            may || matches!(code, 10005 | 10001),
            "{duty} {path}: {code}"
        );
    }
}

#[test]
fn margin_is_isolated_for_a_whole_account() {
    let mut c = client("all");
    let assets = c.venue.exchange.assets.len();
    let before: Vec<i128> = (0..assets).map(|a| whole(&c.venue, a)).collect();
    let mode = |c: &mut Client| {
        c.send("GET", "/v5/account/info", "", "").1["result"]["marginMode"].clone()
    };
    let set = |c: &mut Client, mode: &str| {
        c.post(
            "/v5/account/set-margin-mode",
            &json!({ "setMarginMode": mode }),
        )["retCode"]
            .clone()
    };
    assert_eq!(mode(&mut c), "REGULAR_MARGIN");
    // Once more is no fault.
    assert_eq!(set(&mut c, "ISOLATED_MARGIN"), 0);
    assert_eq!(set(&mut c, "ISOLATED_MARGIN"), 0);
    assert_eq!(set(&mut c, "PORTFOLIO_MARGIN"), 3_400_045);
    assert_eq!(mode(&mut c), "ISOLATED_MARGIN");
    let order = |side: &str| json!({"category": "linear", "symbol": "BTCUSDT", "side": side, "orderType": "Market", "qty": "0.1"});
    c.ok(CREATE, &order("Buy"));
    // Not with a position.
    assert_eq!(set(&mut c, "REGULAR_MARGIN"), 3_400_045);
    c.ok(CREATE, &order("Sell"));
    assert_eq!(set(&mut c, "REGULAR_MARGIN"), 0);
    assert_eq!(mode(&mut c), "REGULAR_MARGIN");
    let after: Vec<i128> = (0..assets).map(|a| whole(&c.venue, a)).collect();
    assert_eq!(before, after);
}

#[test]
fn what_is_public_of_contracts() {
    let mut c = client("read");
    let tiers = c.list("/v5/market/risk-limit", "category=linear&symbol=BTCUSDT");
    assert_eq!(tiers[0]["id"], 1);
    assert_eq!(tiers[0]["isLowestRisk"], 1);
    let caps: Vec<f64> = tiers
        .iter()
        .map(|t| t["riskLimitValue"].as_str().unwrap().parse().unwrap())
        .collect();
    assert!(
        caps.len() > 1 && caps.windows(2).all(|w| w[0] < w[1]),
        "{caps:?}"
    );
    let marks = c.list(
        "/v5/market/mark-price-kline",
        "category=linear&symbol=BTCUSDT&interval=1&limit=3",
    );
    assert_eq!(marks.len(), 3);
    assert!(marks.iter().all(|m| m.as_array().unwrap().len() == 5));
}
