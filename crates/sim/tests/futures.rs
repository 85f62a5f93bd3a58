//! The simulated futures as requests meet them: what is refused and how, what is answered, limits and rights.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests state what must hold"
)]

use aws_lc_rs::hmac;
use portcullis_sim::keys::{hex, unbase64};
use portcullis_sim::venue::{Options, Outcome, Venue};
use portcullis_sim::{Key, Keys, Material};
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr};

const NOW_US: u64 = 1_790_000_000_123_000;
const HOME: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

struct Client {
    venue: Venue,
    key: String,
    secret: String,
    now_us: u64,
}

fn client(duty: &str) -> Client {
    with(duty, Options::default())
}

fn with(duty: &str, options: Options) -> Client {
    let mut venue = Venue::new(
        Options {
            seed: Some(7),
            moving: false,
            ..options
        },
        NOW_US,
    );
    let account = venue
        .exchange
        .accounts
        .iter()
        .position(|a| a.name == "firm");
    let handed = venue.hand_hmac(account.unwrap(), duty);
    Client {
        venue,
        key: handed.key,
        secret: handed.secret.unwrap(),
        now_us: NOW_US,
    }
}

fn encode(text: &str) -> String {
    text.bytes()
        .map(|b| {
            if b.is_ascii_alphanumeric() || b"-_.".contains(&b) {
                char::from(b).to_string()
            } else {
                format!("%{b:02X}")
            }
        })
        .collect()
}

impl Client {
    fn outcome(&mut self, method: &str, path: &str, params: &str) -> Outcome {
        let join = if params.is_empty() { "" } else { "&" };
        let payload = format!("{params}{join}timestamp={}", self.now_us / 1000);
        let mac = hmac::sign(
            &hmac::Key::new(hmac::HMAC_SHA256, self.secret.as_bytes()),
            payload.as_bytes(),
        );
        let full = format!("{payload}&signature={}", hex(mac.as_ref()));
        let (target, body) = if method == "GET" {
            (format!("{path}?{full}"), String::new())
        } else {
            (path.to_owned(), full)
        };
        let host = if path.starts_with("/fapi") {
            "fapi.binance.com"
        } else if path.starts_with("/dapi") {
            "dapi.binance.com"
        } else {
            "api.binance.com"
        };
        let headers: [(&str, &[u8]); 2] = [
            ("Host", host.as_bytes()),
            ("X-MBX-APIKEY", self.key.as_bytes()),
        ];
        self.venue.handle(
            HOME,
            method,
            target.as_bytes(),
            &headers,
            body.as_bytes(),
            self.now_us,
        )
    }

    fn send(&mut self, method: &str, path: &str, params: &str) -> Value {
        let answer = self.outcome(method, path, params).answer.unwrap();
        serde_json::from_str(&answer.body).unwrap_or_else(|_| json!({"code": answer.status}))
    }

    #[track_caller]
    fn ok(&mut self, method: &str, path: &str, params: &str) -> Value {
        let answer = self.outcome(method, path, params).answer.unwrap();
        assert_eq!(
            answer.status, 200,
            "{method} {path} {params}: {}",
            answer.body
        );
        serde_json::from_str(&answer.body).unwrap()
    }

    fn public(&mut self, target: &str) -> Value {
        let headers: [(&str, &[u8]); 1] = [("Host", b"localhost")];
        let outcome = self
            .venue
            .handle(HOME, "GET", target.as_bytes(), &headers, b"", self.now_us);
        serde_json::from_str(&outcome.answer.unwrap().body).unwrap()
    }

    fn price(&mut self, symbol: &str, price: &str) {
        let market = self.venue.exchange.market(symbol).unwrap();
        let price = portcullis_sim::decimal::d(price);
        self.venue
            .makers
            .set_price(&mut self.venue.exchange, market, price);
        self.venue.futures.follow(&self.venue.exchange);
    }
}

const LIMIT: &str = "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.01&price=64000";
const COIN: &str = "symbol=BTCUSD_PERP&side=BUY&type=LIMIT&timeInForce=GTC&quantity=3&price=64000";

/// A line: method, path, parameters, code.
#[test]
fn what_is_refused_and_how() {
    let mut c = client("trade");
    let order = "/fapi/v1/order";
    for (method, path, params, code) in [
        ("POST", order, "", -1102),
        ("POST", order, "symbol=BTCUSDT", -1102),
        (
            "POST",
            order,
            "symbol=NOPE&side=BUY&type=MARKET&quantity=1",
            -1121,
        ),
        (
            "POST",
            order,
            "symbol=BTCUSD_PERP&side=BUY&type=MARKET&quantity=1",
            -1121,
        ),
        (
            "POST",
            order,
            "symbol=BTCUSDT&side=buy&type=MARKET&quantity=1",
            -1117,
        ),
        (
            "POST",
            order,
            "symbol=BTCUSDT&side=BUY&type=LIMIT_MAKER&quantity=1",
            -1116,
        ),
        (
            "POST",
            order,
            "symbol=BTCUSDT&side=BUY&type=LIMIT&quantity=1&price=64000",
            -1102,
        ),
        (
            "POST",
            order,
            "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=1",
            -1102,
        ),
        (
            "POST",
            order,
            "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&price=64000",
            -1102,
        ),
        (
            "POST",
            order,
            "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTE&quantity=1&price=64000",
            -1115,
        ),
        (
            "POST",
            order,
            "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=1&price=64000",
            -1106,
        ),
        (
            "POST",
            order,
            "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=1&timeInForce=GTC",
            -1106,
        ),
        (
            "POST",
            order,
            "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=1&quoteOrderQty=5",
            -1104,
        ),
        (
            "POST",
            order,
            "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=-1",
            -1100,
        ),
        (
            "POST",
            order,
            "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0",
            -4003,
        ),
        (
            "POST",
            order,
            "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.0015",
            -1111,
        ),
        (
            "POST",
            order,
            "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.001",
            -4164,
        ),
        (
            "POST",
            order,
            "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=1000",
            -4005,
        ),
        (
            "POST",
            order,
            "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=50",
            -2019,
        ),
        (
            "POST",
            order,
            "symbol=LUNAUSDT&side=BUY&type=MARKET&quantity=100",
            -4140,
        ),
        (
            "POST",
            order,
            "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.01&price=64000.05",
            -1111,
        ),
        (
            "POST",
            order,
            "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.01&price=70000",
            -4016,
        ),
        (
            "POST",
            order,
            "symbol=BTCUSDT&side=SELL&type=LIMIT&timeInForce=GTC&quantity=0.01&price=60000",
            -4024,
        ),
        (
            "POST",
            order,
            "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.01&price=64000&positionSide=LONG",
            -4061,
        ),
        (
            "POST",
            order,
            "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.01&price=64000&positionSide=UP",
            -4060,
        ),
        (
            "POST",
            order,
            "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.01&price=64000&reduceOnly=true",
            -2022,
        ),
        (
            "POST",
            order,
            "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.01&price=64000&reduceOnly=True",
            -1100,
        ),
        (
            "POST",
            order,
            "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTX&quantity=0.01&price=66000",
            -5022,
        ),
        (
            "POST",
            order,
            "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=FOK&quantity=0.01&price=64000",
            -5021,
        ),
        (
            "POST",
            order,
            "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTD&quantity=0.01&price=64000",
            -1102,
        ),
        (
            "POST",
            order,
            "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTD&quantity=0.01&price=64000&goodTillDate=1790000500000",
            -5040,
        ),
        (
            "POST",
            order,
            "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.01&price=64000&goodTillDate=1790009000000",
            -1106,
        ),
        (
            "POST",
            order,
            "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.01&price=64000&priceMatch=QUEUE",
            -1106,
        ),
        (
            "POST",
            order,
            "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.01&priceMatch=QUEUE",
            -5038,
        ),
        (
            "POST",
            order,
            "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.01&priceMatch=QUEUE_3",
            -5037,
        ),
        (
            "POST",
            order,
            "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.01&priceMatch=OPPONENT_20&selfTradePreventionMode=DECREMENT",
            -5039,
        ),
        (
            "POST",
            order,
            "symbol=BTCUSDT&side=SELL&type=STOP_MARKET&quantity=0.01&stopPrice=60000",
            -4120,
        ),
        (
            "POST",
            order,
            "symbol=BTCUSDT&side=SELL&type=TRAILING_STOP_MARKET&quantity=0.01&callbackRate=1",
            -4120,
        ),
        (
            "POST",
            order,
            "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.01&closePosition=true",
            -4136,
        ),
        (
            "POST",
            order,
            "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.01&newClientOrderId=a b",
            -1100,
        ),
        (
            "POST",
            order,
            "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.01&newClientOrderId=0123456789012345678901234567890123456",
            -4015,
        ),
        (
            "POST",
            order,
            "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.01&newOrderRespType=FULL",
            -1136,
        ),
        ("DELETE", order, "symbol=BTCUSDT", -1102),
        ("DELETE", order, "symbol=BTCUSDT&orderId=1", -2011),
        ("GET", order, "symbol=BTCUSDT&orderId=1", -2013),
        (
            "GET",
            "/fapi/v1/openOrder",
            "symbol=BTCUSDT&origClientOrderId=nope",
            -2013,
        ),
        (
            "PUT",
            order,
            "symbol=BTCUSDT&side=BUY&quantity=1&price=64000&orderId=1",
            -2013,
        ),
        (
            "POST",
            "/fapi/v1/leverage",
            "symbol=BTCUSDT&leverage=126",
            -4028,
        ),
        (
            "POST",
            "/fapi/v1/leverage",
            "symbol=BTCUSDT&leverage=0",
            -4028,
        ),
        (
            "POST",
            "/fapi/v1/marginType",
            "symbol=BTCUSDT&marginType=CROSSED",
            -4046,
        ),
        (
            "POST",
            "/fapi/v1/marginType",
            "symbol=BTCUSDT&marginType=CROSS",
            -1130,
        ),
        (
            "POST",
            "/fapi/v1/positionSide/dual",
            "dualSidePosition=false",
            -4059,
        ),
        (
            "POST",
            "/fapi/v1/multiAssetsMargin",
            "multiAssetsMargin=false",
            -4171,
        ),
        (
            "POST",
            "/fapi/v1/positionMargin",
            "symbol=BTCUSDT&amount=5&type=1",
            -4049,
        ),
        (
            "POST",
            "/fapi/v1/positionMargin",
            "symbol=BTCUSDT&amount=0&type=1",
            -4055,
        ),
        (
            "POST",
            "/fapi/v1/positionMargin",
            "symbol=BTCUSDT&amount=5&type=3",
            -1130,
        ),
        (
            "POST",
            "/fapi/v1/countdownCancelAll",
            "symbol=BTCUSDT",
            -1102,
        ),
        ("POST", "/fapi/v1/batchOrders", "batchOrders=%5B%5D", -4082),
        ("POST", "/fapi/v1/batchOrders", "batchOrders=nothing", -1130),
        ("DELETE", "/fapi/v1/batchOrders", "symbol=BTCUSDT", -1102),
        (
            "DELETE",
            "/fapi/v1/batchOrders",
            "symbol=BTCUSDT&orderIdList=%5B1%2C2%2C3%2C4%2C5%2C6%2C7%2C8%2C9%2C10%2C11%5D",
            -4032,
        ),
        (
            "DELETE",
            "/fapi/v1/batchOrders",
            "symbol=BTCUSDT&orderIdList=%5B%22a%22%5D",
            -1130,
        ),
        ("DELETE", "/fapi/v1/algoOrder", "algoId=1", -2011),
        ("DELETE", "/fapi/v1/algoOrder", "", -1102),
        (
            "GET",
            "/fapi/v1/userTrades",
            "symbol=BTCUSDT&fromId=1&startTime=2",
            -1128,
        ),
        (
            "GET",
            "/fapi/v1/allOrders",
            "symbol=BTCUSDT&startTime=5&endTime=2",
            -1023,
        ),
        ("GET", "/fapi/v1/depth", "symbol=BTCUSDT&limit=7", -1101),
        ("GET", "/dapi/v1/allOrders", "", -1102),
        (
            "GET",
            "/dapi/v1/openOrders",
            "symbol=BTCUSD_PERP&pair=BTCUSD",
            -1128,
        ),
        ("GET", "/dapi/v1/openOrders", "pair=NOPE", -4144),
        (
            "POST",
            "/dapi/v1/order",
            "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=1",
            -1121,
        ),
        (
            "POST",
            "/dapi/v1/order",
            "symbol=BTCUSD_PERP&side=BUY&type=MARKET&quantity=1.5",
            -1111,
        ),
        (
            "POST",
            "/dapi/v1/order",
            "symbol=BTCUSD_PERP&side=BUY&type=MARKET&quantity=30000",
            -2019,
        ),
        (
            "POST",
            "/dapi/v1/order",
            "symbol=BTCUSD_PERP&side=BUY&type=LIMIT&timeInForce=GTD&quantity=1&price=64000&goodTillDate=1790000500000",
            -5040,
        ),
        (
            "POST",
            "/dapi/v1/order",
            "symbol=BTCUSD_PERP&side=SELL&type=STOP_MARKET&quantity=1",
            -4120,
        ),
        (
            "POST",
            "/dapi/v1/algoOrder",
            "algoType=CONDITIONAL&symbol=BTCUSD_PERP&side=SELL&type=STOP_MARKET&quantity=1&triggerPrice=66000",
            -2021,
        ),
        (
            "POST",
            "/dapi/v1/algoOrder",
            "algoType=CONDITIONAL&symbol=BTCUSD_PERP&side=SELL&type=STOP_MARKET&quantity=1&closePosition=true&triggerPrice=60000",
            -4137,
        ),
        (
            "POST",
            "/dapi/v1/algoOrder",
            "algoType=CONDITIONAL&symbol=BTCUSD_PERP&side=SELL&type=STOP_MARKET&reduceOnly=true&closePosition=true&triggerPrice=60000",
            -1106,
        ),
        (
            "POST",
            "/dapi/v1/algoOrder",
            "algoType=CONDITIONAL&symbol=BTCUSD_PERP&side=SELL&type=TRAILING_STOP_MARKET&quantity=1&callbackRate=11",
            -2007,
        ),
        (
            "POST",
            "/dapi/v1/algoOrder",
            "algoType=CONDITIONAL&symbol=BTCUSD_PERP&side=SELL&type=TRAILING_STOP_MARKET&quantity=1&callbackRate=1&activatePrice=60000",
            -2021,
        ),
        (
            "POST",
            "/fapi/v1/algoOrder",
            "algoType=TWAP&symbol=BTCUSDT&side=SELL&type=STOP_MARKET&quantity=0.01&triggerPrice=60000",
            -1130,
        ),
        (
            "POST",
            "/fapi/v1/algoOrder",
            "algoType=CONDITIONAL&symbol=BTCUSDT&side=SELL&type=LIMIT&quantity=0.01&price=60000",
            -1116,
        ),
        (
            "POST",
            "/fapi/v1/algoOrder",
            "algoType=CONDITIONAL&symbol=BTCUSDT&side=SELL&type=STOP_MARKET&quantity=0.01&stopPrice=60000",
            -1104,
        ),
        (
            "POST",
            "/fapi/v1/algoOrder",
            "algoType=CONDITIONAL&symbol=BTCUSDT&side=SELL&type=STOP&quantity=0.01&triggerPrice=60000",
            -1102,
        ),
        (
            "POST",
            "/fapi/v1/algoOrder",
            "algoType=CONDITIONAL&symbol=BTCUSDT&side=BUY&type=STOP_MARKET&quantity=0.01&triggerPrice=60000",
            -2021,
        ),
    ] {
        let params = params.replace(' ', "%20");
        let body = c.send(method, path, &params);
        assert_eq!(
            body["code"].as_i64(),
            Some(code),
            "{method} {path} {params}: {body}"
        );
    }
    assert!(
        c.venue
            .futures
            .houses
            .iter()
            .all(|h| h.accounts[3].open.is_empty() && h.accounts[3].positions.is_empty())
    );
    let depth = c.public("/fapi/v1/depth?symbol=BTCUSDT&limit=7");
    assert_eq!(depth["code"], -4021);
}

#[test]
fn rights_and_limits() {
    // The right is the key's own.
    for (duty, reads, trades) in [
        ("read", true, false),
        ("spot", true, false),
        ("futures", true, true),
        ("trade", true, true),
        ("move", true, false),
        ("all", true, true),
    ] {
        let mut c = client(duty);
        for (call, may) in [
            (("GET", "/fapi/v2/balance", ""), reads),
            (("POST", "/fapi/v1/order", LIMIT), trades),
            (("POST", "/dapi/v1/order", COIN), trades),
            (
                ("POST", "/fapi/v1/leverage", "symbol=BTCUSDT&leverage=5"),
                trades,
            ),
        ] {
            let (method, path, params) = call;
            let status = c.outcome(method, path, params).answer.unwrap().status;
            assert_eq!(status, if may { 200 } else { 401 }, "{duty} {path}");
        }
    }
    let header = |outcome: &Outcome, name: &str| {
        let headers = &outcome.answer.as_ref().unwrap().headers;
        headers
            .iter()
            .find(|(n, _)| *n == name)
            .map(|(_, v)| v.clone())
    };
    let mut c = with(
        "trade",
        Options {
            futures_weight_per_minute: 40,
            futures_orders: [6, 8],
            tolerated: 1,
            ..Options::default()
        },
    );
    let one = c.outcome("POST", "/fapi/v1/order", LIMIT);
    assert_eq!(header(&one, "x-mbx-order-count-10s").as_deref(), Some("1"));
    assert_eq!(header(&one, "x-mbx-order-count-1m").as_deref(), Some("1"));
    assert_eq!(header(&one, "x-mbx-used-weight-1m").as_deref(), Some("0"));
    // A batch is five in ten seconds, one in a minute, and weighs five.
    let batch = format!(
        "batchOrders={}",
        encode(r#"[{"symbol":"BTCUSDT","side":"BUY","type":"MARKET","quantity":"0.01"}]"#)
    );
    let two = c.outcome("POST", "/fapi/v1/batchOrders", &batch);
    assert_eq!(header(&two, "x-mbx-order-count-10s").as_deref(), Some("6"));
    assert_eq!(header(&two, "x-mbx-order-count-1m").as_deref(), Some("2"));
    assert_eq!(header(&two, "x-mbx-used-weight-1m").as_deref(), Some("5"));
    let three = c.outcome("POST", "/fapi/v1/order", LIMIT).answer.unwrap();
    assert_eq!(three.status, 429);
    assert!(three.body.contains("-1015"), "{}", three.body);
    // COIN-M counts with it.
    let other = c.outcome("POST", "/dapi/v1/order", COIN).answer.unwrap();
    assert_eq!(other.status, 429);
    c.now_us += 10_000_000;
    let other = c.outcome("POST", "/dapi/v1/order", COIN);
    assert_eq!(
        header(&other, "x-mbx-order-count-10s").as_deref(),
        Some("1")
    );
    assert_eq!(header(&other, "x-mbx-order-count-1m").as_deref(), Some("3"));
    assert_eq!(header(&other, "x-mbx-used-weight-1m").as_deref(), Some("5"));
    for _ in 0..7 {
        c.outcome("GET", "/fapi/v2/account", "");
    }
    let statuses: Vec<u16> = (0..2)
        .map(|_| {
            c.outcome("GET", "/fapi/v2/account", "")
                .answer
                .unwrap()
                .status
        })
        .collect();
    assert_eq!(statuses, [429, 418]);
    // And so does the weight.
    assert_eq!(
        c.outcome("GET", "/dapi/v1/account", "")
            .answer
            .unwrap()
            .status,
        418
    );
}

#[test]
fn an_order_from_its_placing_to_its_end() {
    let mut c = client("trade");
    let placed = c.ok(
        "POST",
        "/fapi/v1/order",
        &format!("{LIMIT}&newClientOrderId=one"),
    );
    assert_eq!(
        (
            placed["status"].as_str(),
            placed["origQty"].as_str(),
            placed["price"].as_str()
        ),
        (Some("NEW"), Some("0.010"), Some("64000.0"))
    );
    assert_eq!(
        c.send(
            "POST",
            "/fapi/v1/order",
            &format!("{LIMIT}&newClientOrderId=one")
        )["code"],
        -4116
    );
    let amended = c.ok(
        "PUT",
        "/fapi/v1/order",
        "symbol=BTCUSDT&side=BUY&quantity=0.02&price=63000&origClientOrderId=one&modifyId=9",
    );
    assert_eq!(
        (
            amended["origQty"].as_str(),
            amended["price"].as_str(),
            amended["modifyId"].as_u64()
        ),
        (Some("0.020"), Some("63000.0"), Some(9))
    );
    assert_eq!(
        c.send(
            "PUT",
            "/fapi/v1/order",
            "symbol=BTCUSDT&side=BUY&quantity=0.02&price=63000&origClientOrderId=one"
        )["code"],
        -5027
    );
    assert_eq!(
        c.send(
            "PUT",
            "/fapi/v1/order",
            "symbol=BTCUSDT&side=SELL&quantity=0.03&price=63000&origClientOrderId=one"
        )["code"],
        -2013
    );
    assert_eq!(
        c.send(
            "PUT",
            "/fapi/v1/order",
            "symbol=BTCUSDT&side=BUY&quantity=0.03&origClientOrderId=one"
        )["code"],
        -1102
    );
    let changes = c.ok(
        "GET",
        "/fapi/v1/orderAmendment",
        "symbol=BTCUSDT&origClientOrderId=one",
    );
    assert_eq!(
        changes[0]["amendment"]["price"],
        json!({"before": "64000.0", "after": "63000.0"})
    );
    assert_eq!(
        c.ok("GET", "/fapi/v1/openOrders", "")[0]["clientOrderId"],
        "one"
    );
    assert_eq!(
        c.ok(
            "DELETE",
            "/fapi/v1/order",
            "symbol=BTCUSDT&origClientOrderId=one"
        )["status"],
        "CANCELED"
    );
    assert_eq!(
        c.send(
            "DELETE",
            "/fapi/v1/order",
            "symbol=BTCUSDT&origClientOrderId=one"
        )["code"],
        -2011
    );
    // At market: acknowledged before it is matched, or answered with its result.
    let market = "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.5";
    let ack = c.ok("POST", "/fapi/v1/order", market);
    assert_eq!(
        (ack["status"].as_str(), ack["executedQty"].as_str()),
        (Some("NEW"), Some("0.000"))
    );
    assert_eq!(
        c.ok(
            "GET",
            "/fapi/v1/order",
            &format!("symbol=BTCUSDT&orderId={}", ack["orderId"])
        )["status"],
        "FILLED"
    );
    let done = c.ok(
        "POST",
        "/fapi/v1/order",
        &format!("{market}&newOrderRespType=RESULT"),
    );
    assert_eq!(
        (done["status"].as_str(), done["executedQty"].as_str()),
        (Some("FILLED"), Some("0.500"))
    );
    let risk = c.ok("GET", "/fapi/v2/positionRisk", "symbol=BTCUSDT");
    assert_eq!(
        (
            risk[0]["positionAmt"].as_str(),
            risk[0]["leverage"].as_str(),
            risk[0]["marginType"].as_str()
        ),
        (Some("1.000"), Some("20"), Some("cross"))
    );
    let three = c.ok("GET", "/fapi/v3/positionRisk", "");
    assert_eq!(three.as_array().unwrap().len(), 1);
    assert_eq!(three[0]["marginAsset"], "USDT");
    // Reduces, never opens.
    let out = c.ok(
        "POST",
        "/fapi/v1/order",
        "symbol=BTCUSDT&side=SELL&type=MARKET&quantity=3&reduceOnly=true&newOrderRespType=RESULT",
    );
    assert_eq!(out["executedQty"], "1.000");
    assert!(
        c.ok("GET", "/fapi/v3/positionRisk", "")
            .as_array()
            .unwrap()
            .is_empty()
    );
    let trades = c.ok("GET", "/fapi/v1/userTrades", "symbol=BTCUSDT");
    assert!(trades.as_array().unwrap().len() >= 3);
    let income = c.ok("GET", "/fapi/v1/income", "incomeType=COMMISSION");
    assert_eq!(
        income.as_array().unwrap().len(),
        trades.as_array().unwrap().len()
    );
    assert_eq!(
        c.ok("GET", "/fapi/v1/allOrders", "symbol=BTCUSDT")
            .as_array()
            .unwrap()
            .len(),
        4
    );
}

#[test]
fn hedge_mode() {
    let mut c = client("trade");
    c.ok(
        "POST",
        "/fapi/v1/positionSide/dual",
        "dualSidePosition=true",
    );
    assert_eq!(
        c.ok("GET", "/fapi/v1/positionSide/dual", "")["dualSidePosition"],
        true
    );
    let order = |side: &str, leg: &str, quantity: &str, more: &str| {
        format!(
            "symbol=BTCUSDT&side={side}&type=MARKET&quantity={quantity}{leg}{more}&newOrderRespType=RESULT"
        )
    };
    for (params, code) in [
        (order("BUY", "", "0.1", ""), -4061),
        (order("BUY", "&positionSide=BOTH", "0.1", ""), -4061),
        (
            order("BUY", "&positionSide=LONG", "0.1", "&reduceOnly=true"),
            -1106,
        ),
        (
            order("BUY", "&positionSide=LONG", "0.1", "&reduceOnly=false"),
            -1106,
        ),
        (order("SELL", "&positionSide=LONG", "0.1", ""), -2022),
        (order("BUY", "&positionSide=SHORT", "0.1", ""), -2022),
    ] {
        assert_eq!(
            c.send("POST", "/fapi/v1/order", &params)["code"],
            code,
            "{params}"
        );
    }
    c.ok(
        "POST",
        "/fapi/v1/order",
        &order("BUY", "&positionSide=LONG", "0.3", ""),
    );
    c.ok(
        "POST",
        "/fapi/v1/order",
        &order("SELL", "&positionSide=SHORT", "0.2", ""),
    );
    let risk = c.ok("GET", "/fapi/v2/positionRisk", "symbol=BTCUSDT");
    let amounts: Vec<&str> = risk
        .as_array()
        .unwrap()
        .iter()
        .map(|p| p["positionAmt"].as_str().unwrap())
        .collect();
    assert_eq!(amounts, ["0.300", "-0.200"]);
    // What closes a side may be no more than the side has, resting orders included.
    assert_eq!(
        c.send(
            "POST",
            "/fapi/v1/order",
            &order("SELL", "&positionSide=LONG", "0.4", "")
        )["code"],
        -2022
    );
    let exit = "symbol=BTCUSDT&side=SELL&positionSide=LONG&type=LIMIT&timeInForce=GTC&quantity=0.2&price=66000";
    c.ok("POST", "/fapi/v1/order", exit);
    assert_eq!(c.send("POST", "/fapi/v1/order", exit)["code"], -2022);
    assert_eq!(
        c.send(
            "POST",
            "/fapi/v1/positionSide/dual",
            "dualSidePosition=false"
        )["code"],
        -4067
    );
    c.ok("DELETE", "/fapi/v1/allOpenOrders", "symbol=BTCUSDT");
    assert_eq!(
        c.send(
            "POST",
            "/fapi/v1/positionSide/dual",
            "dualSidePosition=false"
        )["code"],
        -4068
    );
    c.ok(
        "POST",
        "/fapi/v1/order",
        &order("SELL", "&positionSide=LONG", "0.3", ""),
    );
    c.ok(
        "POST",
        "/fapi/v1/order",
        &order("BUY", "&positionSide=SHORT", "0.2", ""),
    );
    c.ok(
        "POST",
        "/fapi/v1/positionSide/dual",
        "dualSidePosition=false",
    );
    // Both kinds have one mode.
    c.ok(
        "POST",
        "/fapi/v1/positionSide/dual",
        "dualSidePosition=true",
    );
    assert_eq!(
        c.ok("GET", "/dapi/v1/positionSide/dual", "")["dualSidePosition"],
        true
    );
    assert_eq!(c.send("POST", "/dapi/v1/order", COIN)["code"], -4061);
    c.ok(
        "POST",
        "/dapi/v1/order",
        &format!("{COIN}&positionSide=LONG"),
    );
    let back = c.send(
        "POST",
        "/fapi/v1/positionSide/dual",
        "dualSidePosition=false",
    );
    assert_eq!(back["code"], -4067);
    c.ok("DELETE", "/dapi/v1/allOpenOrders", "symbol=BTCUSD_PERP");
    c.ok(
        "POST",
        "/dapi/v1/positionSide/dual",
        "dualSidePosition=false",
    );
    assert_eq!(
        c.ok("GET", "/fapi/v1/positionSide/dual", "")["dualSidePosition"],
        false
    );
}

#[test]
fn batches_answer_each() {
    let mut c = client("trade");
    let order = |quantity: &str, more: &str| {
        format!(
            r#"{{"symbol":"BTCUSDT","side":"BUY","type":"LIMIT","timeInForce":"GTC","quantity":{quantity},"price":"64000"{more}}}"#
        )
    };
    let send = |c: &mut Client, method: &str, all: &[String]| {
        let text = encode(&format!("[{}]", all.join(",")));
        c.send(
            method,
            "/fapi/v1/batchOrders",
            &format!("batchOrders={text}"),
        )
    };
    let mixed = send(
        &mut c,
        "POST",
        &[
            order("\"0.01\"", ""),
            order("0", ""),
            order("0.02", r#","newClientOrderId":"b3""#),
            order("\"0.01\"", r#","odd":"1""#),
            order("\"0.01\"", r#","reduceOnly":"true""#),
        ],
    );
    let codes: Vec<Value> = mixed
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v.get("code").unwrap_or(&v["status"]).clone())
        .collect();
    assert_eq!(
        codes,
        [
            json!("NEW"),
            json!(-4003),
            json!("NEW"),
            json!(-1104),
            json!(-2022)
        ]
    );
    let many: Vec<String> = (0..6).map(|_| order("\"0.01\"", "")).collect();
    assert_eq!(send(&mut c, "POST", &many)["code"], -4082);
    // A name twice is no order: which of the two would it be?
    assert_eq!(
        send(&mut c, "POST", &[order("\"0.01\"", r#","quantity":"5""#)])["code"],
        -1130
    );
    let ids: Vec<u64> = c
        .ok("GET", "/fapi/v1/openOrders", "symbol=BTCUSDT")
        .as_array()
        .unwrap()
        .iter()
        .map(|o| o["orderId"].as_u64().unwrap())
        .collect();
    assert_eq!(ids.len(), 2);
    let amend = |id: u64, price: &str| {
        format!(
            r#"{{"symbol":"BTCUSDT","side":"BUY","orderId":{id},"quantity":"0.03","price":"{price}"}}"#
        )
    };
    let amended = send(&mut c, "PUT", &[amend(ids[0], "63000"), amend(7, "63000")]);
    assert_eq!(
        (amended[0]["price"].as_str(), amended[1]["code"].as_i64()),
        (Some("63000.0"), Some(-2013))
    );
    let gone = c.ok(
        "DELETE",
        "/fapi/v1/batchOrders",
        &format!(
            "symbol=BTCUSDT&orderIdList={}",
            encode(&format!("[{},7]", ids[0]))
        ),
    );
    assert_eq!(
        (gone[0]["status"].as_str(), gone[1]["code"].as_i64()),
        (Some("CANCELED"), Some(-2011))
    );
    let gone = c.ok(
        "DELETE",
        "/fapi/v1/batchOrders",
        &format!(
            "symbol=BTCUSDT&origClientOrderIdList={}",
            encode(r#"["b3"]"#)
        ),
    );
    assert_eq!(gone[0]["status"], "CANCELED");
}

#[test]
fn conditional_orders() {
    let mut c = client("trade");
    c.ok(
        "POST",
        "/fapi/v1/order",
        "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.5",
    );
    let algo = |more: &str| format!("algoType=CONDITIONAL&symbol=BTCUSDT&side=SELL{more}");
    let stop = c.ok("POST", "/fapi/v1/algoOrder", &algo("&type=STOP_MARKET&triggerPrice=64000&closePosition=true&workingType=MARK_PRICE&clientAlgoId=stop"));
    assert_eq!(
        (
            stop["algoStatus"].as_str(),
            stop["orderType"].as_str(),
            stop["closePosition"].as_bool()
        ),
        (Some("NEW"), Some("STOP_MARKET"), Some(true))
    );
    let take = c.ok(
        "POST",
        "/fapi/v1/algoOrder",
        &algo("&type=TAKE_PROFIT&triggerPrice=66000&price=66000&quantity=0.5&reduceOnly=true"),
    );
    assert_eq!(
        c.send(
            "POST",
            "/fapi/v1/algoOrder",
            &algo("&type=STOP_MARKET&triggerPrice=63000&closePosition=true")
        )["code"],
        -4130
    );
    assert_eq!(
        c.ok("GET", "/fapi/v1/openAlgoOrders", "")
            .as_array()
            .unwrap()
            .len(),
        2
    );
    // Their numbers are not orders'.
    assert_eq!(
        c.send(
            "DELETE",
            "/fapi/v1/order",
            &format!("symbol=BTCUSDT&orderId={}", stop["algoId"])
        )["code"],
        -2011
    );
    assert_eq!(
        c.ok(
            "DELETE",
            "/fapi/v1/algoOrder",
            &format!("algoId={}", take["algoId"])
        )["code"],
        "200"
    );
    c.price("BTCUSDT", "63900");
    let woken = c.ok("GET", "/fapi/v1/algoOrder", "clientAlgoId=stop");
    assert_eq!(woken["algoStatus"], "FINISHED");
    let became = c.ok(
        "GET",
        "/fapi/v1/order",
        &format!(
            "symbol=BTCUSDT&orderId={}",
            woken["actualOrderId"].as_str().unwrap()
        ),
    );
    assert_eq!(
        (
            became["status"].as_str(),
            became["type"].as_str(),
            became["executedQty"].as_str()
        ),
        (Some("FILLED"), Some("MARKET"), Some("0.500"))
    );
    assert!(
        c.ok("GET", "/fapi/v3/positionRisk", "")
            .as_array()
            .unwrap()
            .is_empty()
    );
    // COIN-M alike; a stop with a limit becomes a limit order.
    c.ok(
        "POST",
        "/dapi/v1/order",
        "symbol=BTCUSD_PERP&side=BUY&type=MARKET&quantity=10",
    );
    let stop = "algoType=CONDITIONAL&symbol=BTCUSD_PERP&side=SELL&type=STOP&timeInForce=GTC&quantity=10&price=63000&triggerPrice=63500&reduceOnly=true";
    let stop = c.ok("POST", "/dapi/v1/algoOrder", stop);
    c.price("BTCUSDT", "63400");
    let woken = c.ok(
        "GET",
        "/dapi/v1/algoOrder",
        &format!("algoId={}", stop["algoId"]),
    );
    assert_eq!(
        (woken["algoStatus"].as_str(), woken["actualType"].as_str()),
        (Some("FINISHED"), Some("LIMIT"))
    );
    let became = format!(
        "symbol=BTCUSD_PERP&orderId={}",
        woken["actualOrderId"].as_str().unwrap()
    );
    let became = c.ok("GET", "/dapi/v1/order", &became);
    assert_eq!(
        (became["origType"].as_str(), became["status"].as_str()),
        (Some("STOP"), Some("FILLED"))
    );
    let trail = c.ok("POST", "/dapi/v1/algoOrder", "algoType=CONDITIONAL&symbol=BTCUSD_PERP&side=BUY&type=TRAILING_STOP_MARKET&quantity=10&callbackRate=1.5&activatePrice=63000");
    assert_eq!(
        (
            trail["callbackRate"].as_str(),
            trail["activatePrice"].as_str()
        ),
        (Some("1.5"), Some("63000.0"))
    );
    c.ok("DELETE", "/dapi/v1/algoOpenOrders", "symbol=BTCUSD_PERP");
    assert!(
        c.ok("GET", "/dapi/v1/openAlgoOrders", "")
            .as_array()
            .unwrap()
            .is_empty()
    );
}

#[test]
fn margin_settings() {
    let mut c = client("trade");
    let changed = c.ok("POST", "/fapi/v1/leverage", "symbol=BTCUSDT&leverage=100");
    assert_eq!(
        (
            changed["leverage"].as_u64(),
            changed["maxNotionalValue"].as_str()
        ),
        (Some(100), Some("800000"))
    );
    assert_eq!(
        c.send(
            "POST",
            "/fapi/v1/order",
            "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=13"
        )["code"],
        -2027
    );
    c.ok(
        "POST",
        "/fapi/v1/marginType",
        "symbol=BTCUSDT&marginType=ISOLATED",
    );
    assert_eq!(
        c.send(
            "POST",
            "/fapi/v1/multiAssetsMargin",
            "multiAssetsMargin=true"
        )["code"],
        -4167
    );
    c.ok(
        "POST",
        "/fapi/v1/order",
        "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=1",
    );
    assert_eq!(
        c.send(
            "POST",
            "/fapi/v1/marginType",
            "symbol=BTCUSDT&marginType=CROSSED"
        )["code"],
        -4048
    );
    assert_eq!(
        c.send("POST", "/fapi/v1/leverage", "symbol=BTCUSDT&leverage=50")["code"],
        -4161
    );
    assert_eq!(
        c.send(
            "POST",
            "/fapi/v1/positionMargin",
            "symbol=BTCUSDT&amount=200000&type=1"
        )["code"],
        -4050
    );
    let risk = |c: &mut Client| c.ok("GET", "/fapi/v2/positionRisk", "symbol=BTCUSDT")[0].clone();
    let number = |v: &Value| v.as_str().unwrap().parse::<f64>().unwrap();
    let before = number(&risk(&mut c)["liquidationPrice"]);
    let moved = c.ok(
        "POST",
        "/fapi/v1/positionMargin",
        "symbol=BTCUSDT&amount=1000&type=1",
    );
    assert_eq!(
        (
            moved["amount"].as_f64(),
            moved["code"].as_i64(),
            moved["type"].as_i64()
        ),
        (Some(1000.0), Some(200), Some(1))
    );
    let after = number(&risk(&mut c)["liquidationPrice"]);
    assert!(
        (before - after - 1000.0 / 0.996).abs() < 1.0,
        "{before} {after}"
    );
    assert_eq!(
        c.ok("GET", "/fapi/v1/positionMargin/history", "symbol=BTCUSDT")[0]["amount"],
        "1000.00000000"
    );
    // Just above it lives, just below it is gone, and the rest of the wallet is untouched.
    c.price("BTCUSDT", &format!("{:.2}", after + 5.0));
    assert_eq!(risk(&mut c)["positionAmt"], "1.000");
    let wallet = number(&c.ok("GET", "/fapi/v2/account", "")["totalCrossWalletBalance"]);
    c.price("BTCUSDT", &format!("{:.2}", after - 5.0));
    assert_eq!(risk(&mut c)["positionAmt"], "0.000");
    assert!(number(&c.ok("GET", "/fapi/v2/account", "")["totalCrossWalletBalance"]) >= wallet);
    let forced = c.ok("GET", "/fapi/v1/forceOrders", "");
    assert_eq!(forced.as_array().unwrap().len(), 1);
    assert!(
        forced[0]["clientOrderId"]
            .as_str()
            .unwrap()
            .starts_with("autoclose-")
    );
    // All assets back each other: more than the dollars alone would carry.
    c.ok(
        "POST",
        "/fapi/v1/marginType",
        "symbol=BTCUSDT&marginType=CROSSED",
    );
    let single = number(&c.ok("GET", "/fapi/v2/account", "")["availableBalance"]);
    c.ok(
        "POST",
        "/fapi/v1/multiAssetsMargin",
        "multiAssetsMargin=true",
    );
    let joint = number(&c.ok("GET", "/fapi/v2/account", "")["availableBalance"]);
    assert!((joint - single - 20_000.0).abs() < 1.0, "{single} {joint}");
    assert_eq!(
        c.send(
            "POST",
            "/fapi/v1/marginType",
            "symbol=ETHUSDT&marginType=ISOLATED"
        )["code"],
        -4168
    );
}

#[test]
fn wallets_and_funding() {
    let mut c = client("all");
    let wallet = |c: &mut Client, asset: &str, path: &str| {
        let all = c.ok("GET", path, "");
        let one = all
            .as_array()
            .unwrap()
            .iter()
            .find(|b| b["asset"] == asset)
            .unwrap();
        one["balance"].as_str().unwrap().to_owned()
    };
    assert_eq!(
        wallet(&mut c, "USDT", "/fapi/v2/balance"),
        "100000.00000000"
    );
    c.ok(
        "POST",
        "/sapi/v1/asset/transfer",
        "type=MAIN_UMFUTURE&asset=USDT&amount=500.5",
    );
    assert_eq!(
        wallet(&mut c, "USDT", "/fapi/v2/balance"),
        "100500.50000000"
    );
    c.ok(
        "POST",
        "/sapi/v1/asset/transfer",
        "type=MAIN_CMFUTURE&asset=BTC&amount=1",
    );
    assert_eq!(wallet(&mut c, "BTC", "/dapi/v1/balance"), "3.00000000");
    c.ok(
        "POST",
        "/sapi/v1/asset/transfer",
        "type=CMFUTURE_MAIN&asset=BTC&amount=3",
    );
    // What backs a position does not leave.
    c.ok(
        "POST",
        "/fapi/v1/order",
        "symbol=BTCUSDT&side=SELL&type=MARKET&quantity=10",
    );
    let poor = c.send(
        "POST",
        "/sapi/v1/asset/transfer",
        "type=UMFUTURE_MAIN&asset=USDT&amount=80000",
    );
    assert_eq!(poor["code"], -5013);
    c.ok(
        "POST",
        "/sapi/v1/asset/transfer",
        "type=UMFUTURE_MAIN&asset=USDT&amount=50000",
    );
    // Eight hours later the short is paid.
    let next = c.public("/fapi/v1/premiumIndex?symbol=BTCUSDT")["nextFundingTime"]
        .as_u64()
        .unwrap();
    c.now_us = (next + 1) * 1000;
    let paid = c.ok("GET", "/fapi/v1/income", "incomeType=FUNDING_FEE");
    assert!(
        (paid[0]["income"].as_str().unwrap().parse::<f64>().unwrap() - 65.0).abs() < 0.1,
        "{paid}"
    );
    assert_eq!(
        c.public("/fapi/v1/fundingRate?symbol=BTCUSDT")[0]["fundingTime"],
        next
    );
}

#[test]
fn sub_accounts_have_wallets_too() {
    let mut c = client("all");
    let email = c.ok(
        "POST",
        "/sapi/v1/sub-account/virtualSubAccount",
        "subAccountString=desk",
    )["email"]
        .as_str()
        .unwrap()
        .to_owned();
    let encoded = email.replace('@', "%40");
    let send = |c: &mut Client, path: &str, params: &str| c.ok("POST", path, params);
    let universal = "/sapi/v1/sub-account/universalTransfer";
    send(
        &mut c,
        universal,
        &format!(
            "toEmail={encoded}&fromAccountType=SPOT&toAccountType=USDT_FUTURE&asset=USDT&amount=700"
        ),
    );
    send(
        &mut c,
        "/sapi/v1/sub-account/futures/transfer",
        &format!("email={encoded}&asset=USDT&amount=100&type=2"),
    );
    let wrong = format!("fromEmail={encoded}&toEmail=nobody&futuresType=1&asset=USDT&amount=50");
    assert_eq!(
        c.send(
            "POST",
            "/sapi/v1/sub-account/futures/internalTransfer",
            &wrong
        )["code"],
        -12022
    );
    let poor = format!(
        "fromEmail={encoded}&fromAccountType=USDT_FUTURE&toAccountType=SPOT&asset=USDT&amount=601"
    );
    assert_eq!(c.send("POST", universal, &poor)["code"], -5013);
    send(&mut c, universal, &poor.replace("601", "600"));
    let sub = c
        .venue
        .exchange
        .accounts
        .iter()
        .position(|a| a.name == email)
        .unwrap();
    let usdt = c.venue.exchange.asset("USDT").unwrap();
    assert_eq!(
        c.venue.exchange.accounts[sub].spot[usdt].free,
        portcullis_sim::decimal::d("100")
    );
    assert_eq!(c.venue.futures.houses[0].sums(sub, usdt).wallet, 0);
}

#[test]
fn withdrawals_by_the_address_book() {
    let mut c = client("all");
    let firm = c
        .venue
        .exchange
        .accounts
        .iter()
        .position(|a| a.name == "firm")
        .unwrap();
    let control = |c: &mut Client, path: &str, body: Value| {
        portcullis_sim::control::answer(
            &mut c.venue,
            "POST",
            path,
            body.to_string().as_bytes(),
            NOW_US,
        )
        .status
    };
    assert_eq!(
        control(&mut c, "/whitelist", json!({"account": "firm", "on": true})),
        200
    );
    let apply = "/sapi/v1/capital/withdraw/apply";
    let to = |address: &str| format!("coin=USDT&network=TRX&address={address}&amount=10");
    assert_eq!(c.send("POST", apply, &to("TAAA"))["code"], -4035);
    assert_eq!(
        control(
            &mut c,
            "/addresses",
            json!({"account": "firm", "coin": "USDT", "network": "TRX", "address": "TAAA", "name": "cold"})
        ),
        200
    );
    c.ok("POST", apply, &to("TAAA"));
    assert_eq!(c.send("POST", apply, &to("TBBB"))["code"], -4035);
    assert_eq!(
        c.ok("GET", "/sapi/v1/capital/withdraw/address/list", "")[0]["address"],
        "TAAA"
    );
    // A deposit is told with its own time.
    assert_eq!(
        control(
            &mut c,
            "/deposit",
            json!({"account": "firm", "asset": "BTC", "amount": "1.5", "network": "BTC"})
        ),
        200
    );
    c.now_us += 60_000_000;
    let told = c.ok("GET", "/sapi/v1/capital/deposit/hisrec", "coin=BTC");
    assert_eq!(
        (told[0]["amount"].as_str(), told[0]["insertTime"].as_u64()),
        (Some("1.50000000"), Some(NOW_US / 1000))
    );
    assert_eq!(
        told[0]["address"],
        c.ok("GET", "/sapi/v1/capital/deposit/address", "coin=BTC")["address"]
    );
    assert_eq!(c.venue.exchange.accounts[firm].addresses.len(), 1);
}

#[test]
fn countdown_cancels() {
    let mut c = client("trade");
    c.ok("POST", "/fapi/v1/order", LIMIT);
    c.ok(
        "POST",
        "/fapi/v1/order",
        "symbol=ETHUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.1&price=3400",
    );
    assert_eq!(
        c.ok(
            "POST",
            "/fapi/v1/countdownCancelAll",
            "symbol=BTCUSDT&countdownTime=5000"
        )["countdownTime"],
        "5000"
    );
    c.now_us += 4_000_000;
    c.ok(
        "POST",
        "/fapi/v1/countdownCancelAll",
        "symbol=BTCUSDT&countdownTime=5000",
    );
    c.now_us += 4_000_000;
    assert_eq!(
        c.ok("GET", "/fapi/v1/openOrders", "")
            .as_array()
            .unwrap()
            .len(),
        2
    );
    c.now_us += 1_000_000;
    let left = c.ok("GET", "/fapi/v1/openOrders", "");
    assert_eq!(
        (left.as_array().unwrap().len(), left[0]["symbol"].as_str()),
        (1, Some("ETHUSDT"))
    );
    c.ok(
        "POST",
        "/fapi/v1/countdownCancelAll",
        "symbol=ETHUSDT&countdownTime=5000",
    );
    c.ok(
        "POST",
        "/fapi/v1/countdownCancelAll",
        "symbol=ETHUSDT&countdownTime=0",
    );
    c.now_us += 9_000_000;
    assert_eq!(
        c.ok("GET", "/fapi/v1/openOrders", "")
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn every_read_answers() {
    let mut c = client("trade");
    c.ok(
        "POST",
        "/fapi/v1/order",
        "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.5",
    );
    c.ok(
        "POST",
        "/dapi/v1/order",
        "symbol=BTCUSD_PERP&side=SELL&type=MARKET&quantity=5",
    );
    let now = c.now_us / 1000;
    let mut count = 0;
    for endpoint in portcullis_sim::futures::calls::CALLS
        .iter()
        .filter(|e| e.method == "GET")
    {
        use portcullis_sim::endpoints::{Kind, Security};
        let symbol = if endpoint.path.starts_with("/fapi") {
            "BTCUSDT"
        } else {
            "BTCUSD_PERP"
        };
        let pair = symbol.trim_end_matches("_PERP");
        let mut params = Vec::new();
        for param in endpoint.params.iter().copied().flatten().filter(|p| p.must) {
            let value = match (param.name, param.kind) {
                ("pair", _) => pair.to_owned(),
                ("symbol", _) => symbol.to_owned(),
                (_, Kind::Interval) => "1h".to_owned(),
                ("contractType", _) => "PERPETUAL".to_owned(),
                (_, Kind::Long) => now.to_string(),
                other => panic!("{other:?}"),
            };
            params.push(format!("{}={value}", param.name));
        }
        if matches!(endpoint.path, "/dapi/v1/allOrders" | "/dapi/v1/userTrades") {
            params.push(format!("symbol={symbol}"));
        }
        if endpoint.path.ends_with("/order")
            || endpoint.path.ends_with("/openOrder")
            || endpoint.path.ends_with("/algoOrder")
            || endpoint.path.ends_with("/orderAmendment")
        {
            continue;
        }
        if endpoint.security == Security::KeyOnly {
            continue;
        }
        let params = params.join("&");
        let body = if endpoint.security == Security::Public {
            c.public(&format!("{}?{params}", endpoint.path))
        } else {
            c.ok("GET", endpoint.path, &params)
        };
        assert!(body.get("code").is_none(), "{}: {body}", endpoint.path);
        count += 1;
        c.venue.forgive();
    }
    assert!(count > 80, "{count}");
    let info = c.public("/dapi/v1/exchangeInfo");
    let perpetual = &info["symbols"][0];
    assert_eq!(
        (
            perpetual["symbol"].as_str(),
            perpetual["contractSize"].as_u64(),
            perpetual["marginAsset"].as_str()
        ),
        (Some("BTCUSD_PERP"), Some(100), Some("BTC"))
    );
}

fn vectors(name: &str) -> String {
    let path = format!(
        "{}/../../vectors/binance_futures/{name}",
        env!("CARGO_MANIFEST_DIR")
    );
    std::fs::read_to_string(path).unwrap()
}

/// What unmodified clients send verifies, and with one bit changed it does not.
#[test]
fn real_clients_requests_verify() {
    let captures: Vec<Value> = serde_json::from_str(&vectors("captures.json")).unwrap();
    let mut count = 0;
    for capture in captures {
        let text = |name: &str| capture[name].as_str().unwrap();
        let target = text("target");
        if portcullis_sim::futures::Service::of(target).is_none() {
            continue;
        }
        assert_eq!(text("scheme"), "binance-hmac");
        let own = &capture["credentials"];
        let (key, secret) = (
            own["key"].as_str().unwrap(),
            own["secret"].as_str().unwrap(),
        );
        let mut keys = Keys::default();
        keys.add(key, Key::new(3, 0, "trade", Material::hmac(secret)));
        let headers: Vec<(String, String)> =
            serde_json::from_value(capture["headers"].clone()).unwrap();
        let headers: Vec<(&str, &[u8])> = headers
            .iter()
            .map(|(n, v)| (n.as_str(), v.as_bytes()))
            .collect();
        let body = unbase64(text("body_b64")).unwrap_or_default();
        let check = |target: &[u8], body: &[u8]| {
            portcullis_sim::check(text("method"), target, &headers, body, &keys, NOW_US)
        };
        let done = check(target.as_bytes(), &body);
        assert!(done.is_ok(), "{}: {done:?}", text("label"));
        let (mut target, mut body) = (target.as_bytes().to_vec(), body);
        let bytes = if body.is_empty() {
            &mut target
        } else {
            &mut body
        };
        let at = bytes.windows(10).position(|w| w == b"recvWindow").unwrap() + 11;
        bytes[at] ^= 1;
        assert_eq!(check(&target, &body).map_err(|r| r.code), Err(-1022));
        count += 1;
    }
    assert!(count > 50, "{count}");
}

/// What the gate's vectors say that the venue gets is what a strict venue takes.
#[test]
fn what_the_gate_sends_is_accepted() {
    let cases: toml::Value = toml::from_str(&vectors("accepted.toml")).unwrap();
    let (key, secret) = ("A".repeat(64), "B".repeat(64));
    let mut keys = Keys::default();
    keys.add(&key, Key::new(3, 0, "trade", Material::hmac(&secret)));
    let (mut count, mut wrong) = (0, Vec::new());
    for case in cases["case"].as_array().unwrap() {
        let text = |name: &str| case.get(name).and_then(toml::Value::as_str).unwrap_or("");
        let path = text("path").split('?').next().unwrap();
        let Some(sent) = case.get("sent").and_then(toml::Value::as_str) else {
            continue;
        };
        // Conversions of futures are not simulated.
        if portcullis_sim::futures::Service::of(path).is_none()
            || sent.contains("someday=")
            || path.contains("/convert/")
        {
            continue;
        }
        let join = if sent.is_empty() { "" } else { "&" };
        let payload = format!("{sent}{join}recvWindow=1000&timestamp={}", NOW_US / 1000);
        let mac = hmac::sign(
            &hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()),
            payload.as_bytes(),
        );
        let full = format!("{payload}&signature={}", hex(mac.as_ref()));
        let method = text("method");
        let public = portcullis_sim::futures::calls::call(method, path)
            .is_some_and(|e| e.security == portcullis_sim::endpoints::Security::Public);
        let (target, body) = match (public, method) {
            (true, _) => (format!("{path}?{sent}"), String::new()),
            (false, "GET") => (format!("{path}?{full}"), String::new()),
            (false, _) => (path.to_owned(), full),
        };
        let headers: [(&str, &[u8]); 1] = [("X-MBX-APIKEY", key.as_bytes())];
        if let Err(refusal) = portcullis_sim::check(
            method,
            target.as_bytes(),
            &headers,
            body.as_bytes(),
            &keys,
            NOW_US,
        ) {
            wrong.push(format!(
                "{}: {method} {path} {sent}: {refusal:?}",
                text("about")
            ));
        }
        count += 1;
    }
    assert!(count > 15, "{count}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn retail_price_improvement_may_be_absent() {
    for takes_rpi in [true, false] {
        let mut c = with(
            "trade",
            Options {
                takes_rpi,
                ..Options::default()
            },
        );
        let info = c.public("/fapi/v1/exchangeInfo");
        let lives = info["symbols"][0]["timeInForce"].as_array().unwrap();
        assert_eq!(lives.contains(&json!("RPI")), takes_rpi, "{lives:?}");
        let order = LIMIT.replace("GTC", "RPI");
        assert_ne!(order, LIMIT);
        let answer = c.outcome("POST", "/fapi/v1/order", &order).answer.unwrap();
        assert_eq!(answer.status == 200, takes_rpi, "{}", answer.body);
        assert_eq!(answer.body.contains("-1115"), !takes_rpi, "{}", answer.body);
    }
}
