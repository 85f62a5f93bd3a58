//! The simulated OKX: what it accepts, and what it refuses with which code.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests state what must hold"
)]

use aws_lc_rs::hmac;
use portcullis_sim::keys::base64;
use portcullis_sim::okx::CALLS;
use portcullis_sim::venue::{Kind, Options, Venue};
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr};

const NOW_US: u64 = 1_790_000_000_123_000;
const HOME: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const AWAY: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

struct Client {
    venue: Venue,
    key: String,
    secret: String,
    passphrase: String,
    /// Milliseconds after 14:13:20.123 of the day; at most 39 s, so that the time is easy to write.
    later: u64,
}

fn client(duty: &str) -> Client {
    let options = Options {
        kind: Kind::Okx,
        seed: Some(7),
        moving: false,
        ..Options::default()
    };
    let venue = Venue::new(options, NOW_US);
    let handed = venue.handed.iter().find(|h| h.duty == duty).unwrap();
    let (key, secret, passphrase) = (
        handed.key.clone(),
        handed.secret.clone().unwrap(),
        handed.passphrase.clone().unwrap(),
    );
    Client {
        venue,
        key,
        secret,
        passphrase,
        later: 0,
    }
}

impl Client {
    fn time(&self) -> String {
        let ms = 20_123 + self.later;
        format!("2026-09-21T14:13:{:02}.{:03}Z", ms / 1000, ms % 1000)
    }

    fn sign(&self, text: &str) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.secret.as_bytes());
        base64(hmac::sign(&key, text.as_bytes()).as_ref())
    }

    fn raw(
        &mut self,
        from: IpAddr,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> (u16, Value) {
        let mut all: Vec<(&str, &[u8])> = vec![("Host", b"www.okx.com")];
        all.extend(headers.iter().map(|(n, v)| (*n, v.as_bytes())));
        let now = NOW_US + self.later * 1000;
        let outcome =
            self.venue
                .handle(from, method, target.as_bytes(), &all, body.as_bytes(), now);
        let answer = outcome.answer.unwrap();
        (
            answer.status,
            serde_json::from_str(&answer.body).unwrap_or(Value::Null),
        )
    }

    fn send(&mut self, method: &str, target: &str, body: &str) -> (u16, Value) {
        let time = self.time();
        let sign = self.sign(&format!("{time}{method}{target}{body}"));
        let (key, passphrase) = (self.key.clone(), self.passphrase.clone());
        let headers = [
            ("OK-ACCESS-KEY", key.as_str()),
            ("OK-ACCESS-SIGN", &sign),
            ("OK-ACCESS-TIMESTAMP", &time),
            ("OK-ACCESS-PASSPHRASE", &passphrase),
            ("Content-Type", "application/json"),
        ];
        self.raw(HOME, method, target, &headers, body)
    }

    /// The code of the order, or of the request where it did not get so far.
    fn code(&mut self, path: &str, body: &str) -> String {
        let (_, answer) = self.send("POST", path, body);
        let item = &answer["data"][0]["sCode"];
        item.as_str()
            .or(answer["code"].as_str())
            .unwrap()
            .to_owned()
    }

    fn get(&mut self, target: &str) -> Vec<Value> {
        let (_, answer) = self.send("GET", target, "");
        assert_eq!(answer["code"], "0", "{answer}");
        answer["data"].as_array().unwrap().clone()
    }

    fn ok(&mut self, path: &str, body: &Value) -> Value {
        let (_, answer) = self.send("POST", path, &body.to_string());
        assert_eq!(answer["code"], "0", "{answer}");
        answer["data"][0].clone()
    }
}

const ORDER: &str = r#"{"instId":"BTC-USDT","tdMode":"cash","side":"buy","ordType":"limit","sz":"0.01","px":"60000"}"#;
const PLACE: &str = "/api/v5/trade/order";

#[test]
fn every_line_of_the_table_is_read_and_answered() {
    let lines = include_str!("../src/okx/calls.txt")
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
            if call.method == "POST" { "{}" } else { "" },
        );
        assert!(
            !answer.to_string().contains("50026"),
            "{} {answer}",
            call.path
        );
    }
}

#[test]
fn who_asks() {
    let mut c = client("trade");
    assert_eq!(c.code(PLACE, ORDER), "0");
    let (key, passphrase, time) = (c.key.clone(), c.passphrase.clone(), c.time());
    let good = c.sign(&format!("{time}POST{PLACE}{ORDER}"));
    let other = c.sign(&format!("{time}POST/api/v5/trade/cancel-order{ORDER}"));
    let get = c.sign(&format!("{time}GET{PLACE}{ORDER}"));
    let hex: String = good.bytes().map(|b| format!("{b:02x}")).collect();
    let at = |time: &str| {
        (
            c.sign(&format!("{time}POST{PLACE}{ORDER}")),
            time.to_owned(),
        )
    };
    let times = [
        ("2026-09-21T14:13:50.123Z", "0"),
        ("2026-09-21T14:13:50.124Z", "50102"),
        ("2026-09-21T14:12:50.123Z", "0"),
        ("2026-09-21T14:12:50.122Z", "50102"),
        ("1790000000.123", "50112"),
        ("2026-09-21T14:13:20Z", "50112"),
    ]
    .map(|(time, code)| (at(time), code));
    let mut with = |from: IpAddr,
                    key: &str,
                    passphrase: &str,
                    sign: &str,
                    time: &str,
                    more: &[(&str, &str)]| {
        let mut headers = vec![
            ("OK-ACCESS-KEY", key),
            ("OK-ACCESS-SIGN", sign),
            ("OK-ACCESS-TIMESTAMP", time),
            ("OK-ACCESS-PASSPHRASE", passphrase),
            ("Content-Type", "application/json"),
        ];
        headers.retain(|(_, value)| !value.is_empty());
        headers.extend_from_slice(more);
        let (status, answer) = c.raw(from, "POST", PLACE, &headers, ORDER);
        let code = answer["code"].as_str().unwrap().to_owned();
        assert_eq!(status == 401, code != "0", "{answer}");
        code
    };
    assert_eq!(with(HOME, &key, &passphrase, &good, &time, &[]), "0");
    for sign in [other.as_str(), &get, &hex, "zz", &good[1..]] {
        assert_eq!(
            with(HOME, &key, &passphrase, sign, &time, &[]),
            "50113",
            "{sign}"
        );
    }
    for ((sign, time), code) in &times {
        assert_eq!(
            with(HOME, &key, &passphrase, sign, time, &[]),
            *code,
            "{time}"
        );
    }
    assert_eq!(with(HOME, "", &passphrase, &good, &time, &[]), "50103");
    assert_eq!(with(HOME, &key, "", &good, &time, &[]), "50104");
    assert_eq!(with(HOME, &key, &passphrase, "", &time, &[]), "50106");
    assert_eq!(with(HOME, &key, &passphrase, &good, "", &[]), "50107");
    assert_eq!(
        with(HOME, "nobody", &passphrase, &good, &time, &[]),
        "50111"
    );
    assert_eq!(with(HOME, &key, "other", &good, &time, &[]), "50105");
    assert_eq!(
        with(
            HOME,
            &key,
            &passphrase,
            &good,
            &time,
            &[("OK-ACCESS-KEY", &key)]
        ),
        "50114"
    );
    assert_eq!(
        with(
            HOME,
            &key,
            &passphrase,
            &good,
            &time,
            &[("x-simulated-trading", "0")]
        ),
        "0"
    );
    assert_eq!(
        with(
            HOME,
            &key,
            &passphrase,
            &good,
            &time,
            &[("x-simulated-trading", "1")]
        ),
        "50101"
    );
    c.venue.keys.change(&key).unwrap().ips = vec![AWAY];
    assert_eq!(c.code(PLACE, ORDER), "50110");
    c.venue.keys.change(&key).unwrap().revoked = true;
    assert_eq!(c.code(PLACE, ORDER), "50111");
}

#[test]
fn what_is_not_understood_is_refused() {
    let order = |from: &str, to: &str| {
        assert!(ORDER.contains(from), "{from}");
        ORDER.replace(from, to)
    };
    let mut c = client("all");
    for (body, code) in [
        (String::new(), "50000"),
        ("{".to_owned(), "50002"),
        (format!("[{ORDER}]"), "50002"),
        (order("}", r#","sz":"0.02"}"#), "50002"),
        (order("}", r#","other":"1"}"#), "51000"),
        (order("}", r#","other":""}"#), "0"),
        (order("}", r#","clOrdId":"","posSide":null}"#), "0"),
        (order(r#""sz":"0.01""#, r#""sz":0.01"#), "51000"),
        (order(r#""sz":"0.01""#, r#""sz":"1e-2""#), "51000"),
        (order(r#""sz":"0.01","#, ""), "50014"),
        (order(r#""sz":"0.01""#, r#""sz":"""#), "50014"),
        (order("buy", "Buy"), "51000"),
        (order("limit", "gtc"), "51000"),
        (order("cash", "cross"), "51010"),
        (order("BTC-USDT", "BTCUSDT"), "51001"),
        (order("BTC-USDT", "LUNA-USDT"), "51021"),
        (order(r#","px":"60000""#, ""), "50014"),
        (order("60000", "0"), "51000"),
        (order("60000", "60000.001"), "51000"),
        (order("60000", "600000"), "51006"),
        (order("60000", "600"), "51006"),
        (order("0.01", "0.000001"), "51121"),
        (order("0.01", "0.00001"), "51020"),
        (order("0.01", "100000"), "51005"),
        (order("0.01", "100"), "51008"),
        (order("}", r#","clOrdId":"a-b"}"#), "51000"),
        (
            order("}", &format!(r#","clOrdId":"{}"}}"#, "a".repeat(33))),
            "51000",
        ),
        (order("}", r#","posSide":"long"}"#), "51000"),
        (order("}", r#","reduceOnly":true}"#), "51000"),
        (order("}", r#","reduceOnly":"false"}"#), "0"),
        (
            order("}", r#","attachAlgoOrds":[{"tpTriggerPx":"70000"}]}"#),
            "51000",
        ),
        (
            order(
                "}",
                r#","attachAlgoOrds":[{"tpTriggerPx":"59000","tpOrdPx":"-1"}]}"#,
            ),
            "51046",
        ),
        (
            order(
                "}",
                r#","attachAlgoOrds":[{"slTriggerPx":"61000","slOrdPx":"-1"}]}"#,
            ),
            "51047",
        ),
        (
            order(
                "}",
                r#","attachAlgoOrds":[{"slTriggerPx":"59000","slOrdPx":"-2"}]}"#,
            ),
            "51000",
        ),
        (
            order("}", r#","attachAlgoOrds":[{"sl":"59000"}]}"#),
            "51000",
        ),
    ] {
        c.later += 100;
        assert_eq!(c.code(PLACE, &body), code, "{body}");
    }
    c.later += 2_000;
    assert_eq!(c.get("/api/v5/trade/orders-pending").len(), 3);
    // Another kind of body; a query beside one; a body with GET; methods, paths and names.
    let (key, passphrase, time) = (c.key.clone(), c.passphrase.clone(), c.time());
    let sign = c.sign(&format!("{time}POST{PLACE}{ORDER}"));
    let headers = [
        ("OK-ACCESS-KEY", key.as_str()),
        ("OK-ACCESS-SIGN", &sign),
        ("OK-ACCESS-TIMESTAMP", &time),
        ("OK-ACCESS-PASSPHRASE", &passphrase),
        ("Content-Type", "application/x-www-form-urlencoded"),
    ];
    assert_eq!(
        c.raw(HOME, "POST", PLACE, &headers, ORDER).1["code"],
        "50006"
    );
    assert_eq!(
        c.code("/api/v5/trade/order?instId=BTC-USDT", ORDER),
        "51000"
    );
    assert_eq!(
        c.send("GET", "/api/v5/account/config", "{}").1["code"],
        "50000"
    );
    assert_eq!(c.send("PUT", PLACE, ORDER).0, 405);
    assert_eq!(c.send("POST", "/api/v5/trade/order/", ORDER).0, 404);
    let foreign: [(&str, &[u8]); 1] = [("Host", b"api.bybit.com")];
    let outcome = c
        .venue
        .handle(HOME, "GET", b"/api/v5/public/time", &foreign, b"", NOW_US);
    assert_eq!(outcome.answer.unwrap().status, 403);
    for query in [
        "instType=SPOT&instType=SPOT",
        "instType=%2",
        "instType",
        "limit=101",
        "limit=x",
    ] {
        let (_, answer) = c.send("GET", &format!("/api/v5/trade/orders-pending?{query}"), "");
        assert_eq!(answer["code"], "51000", "{query}");
    }
}

#[test]
fn orders_live_as_they_should() {
    let mut c = client("all");
    let order = |more: Value| {
        let mut order: Value = serde_json::from_str(ORDER).unwrap();
        for (name, value) in more.as_object().unwrap() {
            order[name] = value.clone();
        }
        order
    };
    let find = |c: &mut Client, id: &Value| {
        let target = format!("{PLACE}?instId=BTC-USDT&ordId={}", id.as_str().unwrap());
        c.get(&target)[0].clone()
    };
    let id = c.ok(PLACE, &order(json!({})))["ordId"].clone();
    c.ok(
        "/api/v5/trade/amend-order",
        &json!({"instId": "BTC-USDT", "ordId": id, "newPx": "61000"}),
    );
    assert_eq!(
        c.get("/api/v5/account/balance?ccy=USDT")[0]["details"][0]["ordFrozen"],
        "610"
    );
    c.ok(
        "/api/v5/trade/amend-order",
        &json!({"instId": "BTC-USDT", "ordId": id, "newPx": "70000"}),
    );
    assert_eq!(find(&mut c, &id)["state"], "filled");
    let which = json!({"instId": "BTC-USDT", "ordId": id}).to_string();
    assert_eq!(c.code("/api/v5/trade/cancel-order", &which), "51400");
    assert_eq!(
        c.code("/api/v5/trade/cancel-order", r#"{"instId":"BTC-USDT"}"#),
        "51407"
    );
    // Never takes: accepted, and cancelled.
    let id = c.ok(
        PLACE,
        &order(json!({"px": "70000", "ordType": "post_only"})),
    )["ordId"]
        .clone();
    assert_eq!(
        (
            &find(&mut c, &id)["state"],
            &find(&mut c, &id)["cancelSource"]
        ),
        (&json!("canceled"), &json!("31"))
    );
    // By value, as market buys are without a unit.
    let mut market = order(json!({"ordType": "market", "sz": "650"}));
    market.as_object_mut().unwrap().remove("px");
    let id = c.ok(PLACE, &market)["ordId"].clone();
    assert_eq!(
        (&find(&mut c, &id)["tgtCcy"], &find(&mut c, &id)["state"]),
        (&json!("quote_ccy"), &json!("filled"))
    );
    assert_eq!(c.get("/api/v5/trade/fills?instType=SPOT")[0]["side"], "buy");
    // A batch: each for itself, twenty at most, always a list.
    let batch = format!("[{ORDER},{}]", ORDER.replace("0.01", "100"));
    let (_, answer) = c.send("POST", "/api/v5/trade/batch-orders", &batch);
    assert_eq!(
        (&answer["code"], &answer["data"][1]["sCode"]),
        (&json!("2"), &json!("51008"))
    );
    let many = format!("[{}]", vec![ORDER; 21].join(","));
    assert_eq!(c.code("/api/v5/trade/batch-orders", &many), "51111");
    assert_eq!(c.code("/api/v5/trade/batch-orders", ORDER), "50002");
    assert_eq!(c.code("/api/v5/trade/batch-orders", "[]"), "51000");
    // A conditional order, and a pair of which one cancels the other.
    c.later += 2_000;
    let algo = |more: Value| {
        let mut algo = json!({"instId": "BTC-USDT", "tdMode": "cash", "side": "sell", "ordType": "conditional", "sz": "0.01"});
        for (name, value) in more.as_object().unwrap() {
            algo[name] = value.clone();
        }
        algo
    };
    let path = "/api/v5/trade/order-algo";
    assert_eq!(
        c.code(
            path,
            &algo(json!({"slTriggerPx": "70000", "slOrdPx": "-1"})).to_string()
        ),
        "51280"
    );
    assert_eq!(
        c.code(
            path,
            &algo(json!({"tpTriggerPx": "60000", "tpOrdPx": "-1"})).to_string()
        ),
        "51279"
    );
    assert_eq!(
        c.code(path, &algo(json!({"tpTriggerPx": "80000"})).to_string()),
        "51000"
    );
    let pair = json!({"ordType": "oco", "tpTriggerPx": "66000", "tpOrdPx": "-1", "slTriggerPx": "60000", "slOrdPx": "59900"});
    let id = c.ok(path, &algo(pair))["algoId"].clone();
    let waits = c.get("/api/v5/trade/orders-algo-pending?ordType=oco");
    assert_eq!(
        (waits.len(), &waits[0]["algoId"], &waits[0]["slOrdPx"]),
        (1, &id, &json!("59900"))
    );
    let market = c.venue.exchange.market("BTC-USDT").unwrap();
    let price = portcullis_sim::decimal::d("66010");
    let Venue {
        makers, exchange, ..
    } = &mut c.venue;
    makers.set_price(exchange, market, price);
    assert!(
        c.get("/api/v5/trade/orders-algo-pending?ordType=oco")
            .is_empty()
    );
    assert_eq!(
        c.get("/api/v5/trade/fills?instType=SPOT")[0]["side"],
        "sell"
    );
    // The venue cancels all when its time has come, unless it is told again.
    assert_eq!(c.get("/api/v5/trade/orders-pending").len(), 1);
    assert_eq!(
        c.code("/api/v5/trade/cancel-all-after", r#"{"timeOut":"5"}"#),
        "51000"
    );
    c.later += 2_000;
    c.ok("/api/v5/trade/cancel-all-after", &json!({"timeOut": "10"}));
    c.later += 9_999;
    assert_eq!(c.get("/api/v5/trade/orders-pending").len(), 1);
    c.later += 1;
    assert!(c.get("/api/v5/trade/orders-pending").is_empty());
    for asset in 0..c.venue.exchange.assets.len() {
        let fresh = Venue::new(c.venue.options.clone(), NOW_US);
        assert_eq!(c.venue.exchange.total(asset), fresh.exchange.total(asset));
    }
}

/// Everything of an asset: on spot, and behind swaps.
fn whole(venue: &Venue, asset: usize) -> i128 {
    let houses = venue.futures.houses.iter().map(|h| h.total(asset));
    portcullis_sim::futures::position::money(venue.exchange.total(asset)) + houses.sum::<i128>()
}

#[test]
fn swaps_share_the_wallet_with_spot() {
    let mut c = client("all");
    let swap =
        r#"{"instId":"BTC-USDT-SWAP","tdMode":"cross","side":"buy","ordType":"market","sz":"100"}"#;
    let with = |from: &str, to: &str| {
        assert!(swap.contains(from), "{from}");
        swap.replace(from, to)
    };
    let free = |c: &mut Client| {
        let details = c.get("/api/v5/account/balance?ccy=USDT")[0]["details"][0].clone();
        details["availBal"]
            .as_str()
            .unwrap()
            .parse::<f64>()
            .unwrap()
    };
    let before = free(&mut c);
    for (body, code) in [
        (with("cross", "cash"), "51000"),
        (with("BTC-USDT-SWAP", "LUNA-USDT-SWAP"), "51022"),
        (with("BTC-USDT-SWAP", "NONE-USDT-SWAP"), "51001"),
        (with(r#""sz":"100""#, r#""sz":"0""#), "51020"),
        (with(r#""market""#, r#""limit""#), "50014"),
        (with(r#""market""#, r#""limit","px":"64000.01""#), "51000"),
        (with(r#""market""#, r#""limit","px":"650000""#), "51006"),
        (
            with(r#""market""#, r#""limit","px":"66000","posSide":"long""#),
            "51000",
        ),
        (with("}", r#","reduceOnly":true}"#), "51169"),
        (
            with(
                r#""market","sz":"100""#,
                r#""limit","px":"64000","sz":"100000""#,
            ),
            "51008",
        ),
    ] {
        assert_eq!(c.code(PLACE, &body), code, "{body}");
    }
    assert!((free(&mut c) - before).abs() < 1.0);
    // A hundred contracts are one coin; the position holds a twentieth of its worth.
    assert_eq!(c.code(PLACE, swap), "0");
    let held = c.get("/api/v5/account/positions?instType=SWAP");
    assert_eq!(
        (held.len(), &held[0]["pos"], &held[0]["posSide"]),
        (1, &json!("100"), &json!("net"))
    );
    assert!((before - free(&mut c) - 3_250.0).abs() < 100.0);
    // A sale of more than there is turns it, unless it may only reduce.
    let sell = with("buy", "sell").replace("100", "300");
    assert_eq!(
        c.code(PLACE, &sell.replace('}', r#","reduceOnly":"true"}"#)),
        "0"
    );
    assert!(c.get("/api/v5/account/positions?instType=SWAP").is_empty());
    let fills = c.get("/api/v5/trade/fills?instType=SWAP&instId=BTC-USDT-SWAP");
    let sold: f64 = fills
        .iter()
        .filter(|f| f["side"] == "sell")
        .map(|f| f["fillSz"].as_str().unwrap().parse::<f64>().unwrap())
        .sum();
    assert!((sold - 100.0).abs() < 1e-9, "{sold}");
    assert_eq!(
        c.code(
            "/api/v5/trade/close-position",
            r#"{"instId":"BTC-USDT-SWAP","mgnMode":"cross"}"#
        ),
        "51023"
    );
    // What the venue cancels when its time has come are orders of swaps too.
    let rests = with(r#""market""#, r#""limit","px":"64000""#);
    assert_eq!(c.code(PLACE, &rests), "0");
    c.ok("/api/v5/trade/cancel-all-after", &json!({"timeOut": "10"}));
    c.later += 10_000;
    assert!(
        c.get("/api/v5/trade/orders-pending?instType=SWAP")
            .is_empty()
    );
    for asset in 0..c.venue.exchange.assets.len() {
        let fresh = Venue::new(c.venue.options.clone(), NOW_US);
        assert_eq!(whole(&c.venue, asset), whole(&fresh, asset));
    }
}

#[test]
fn rates() {
    let mut c = client("all");
    let statuses: Vec<u16> = (0..6)
        .map(|_| c.send("GET", "/api/v5/account/config", "").0)
        .collect();
    assert_eq!(statuses, [200, 200, 200, 200, 200, 429]);
    assert_eq!(
        c.send("GET", "/api/v5/account/config", "").1["code"],
        "50011"
    );
    c.later += 2_000;
    assert_eq!(c.send("GET", "/api/v5/account/config", "").0, 200);
    // Each market apart; each order of a batch counts.
    let cancel = |market: &str| json!({"instId": market, "ordId": "1"}).to_string();
    for _ in 0..60 {
        assert_eq!(
            c.code("/api/v5/trade/cancel-order", &cancel("BTC-USDT")),
            "51400"
        );
    }
    assert_eq!(
        c.code("/api/v5/trade/cancel-order", &cancel("BTC-USDT")),
        "50011"
    );
    assert_eq!(
        c.code("/api/v5/trade/cancel-order", &cancel("ETH-USDT")),
        "51400"
    );
    let twenty = format!("[{}]", vec![cancel("BTC-USDT"); 20].join(","));
    for _ in 0..15 {
        assert_eq!(
            c.code("/api/v5/trade/cancel-batch-orders", &twenty),
            "51400"
        );
    }
    assert_eq!(
        c.code("/api/v5/trade/cancel-batch-orders", &twenty),
        "50011"
    );
    // Without a key the address counts.
    let time = |c: &mut Client, from| c.raw(from, "GET", "/api/v5/public/time", &[], "").0;
    for _ in 0..10 {
        assert_eq!(time(&mut c, HOME), 200);
    }
    assert_eq!((time(&mut c, HOME), time(&mut c, AWAY)), (429, 200));
}

#[test]
fn rights() {
    let transfer = r#"{"ccy":"USDT","amt":"1","from":"18","to":"6"}"#;
    let withdraw = r#"{"ccy":"USDT","amt":"1","dest":"4","toAddr":"0xabc","chain":"USDT-USDT"}"#;
    for (duty, path, body, codes) in [
        ("read", PLACE, ORDER, &["50120"][..]),
        ("trade", PLACE, ORDER, &["0"]),
        // Transfers need the right to trade there, so that a key that moves value trades too.
        ("move", PLACE, ORDER, &["0"]),
        ("read", "/api/v5/asset/transfer", transfer, &["50120"]),
        ("trade", "/api/v5/asset/transfer", transfer, &["0"]),
        ("trade", "/api/v5/asset/withdrawal", withdraw, &["50120"]),
        ("move", "/api/v5/asset/withdrawal", withdraw, &["58350"]),
    ] {
        let mut c = client(duty);
        let code = c.code(path, body);
        assert!(codes.contains(&code.as_str()), "{duty} {path}: {code}");
    }
    let mut c = client("move");
    c.ok(
        "/api/v5/asset/transfer",
        &serde_json::from_str(transfer).unwrap(),
    );
    assert_eq!(c.code("/api/v5/asset/withdrawal", withdraw), "0");
    assert_eq!(
        c.get("/api/v5/account/config")[0]["perm"],
        "read_only,trade,withdraw"
    );
}
