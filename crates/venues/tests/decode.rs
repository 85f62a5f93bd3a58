//! `portcullis decode`: which of the venue's hosts a raw request is for, and what it asks there.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests state what must hold"
)]

use portcullis_venues::{Catalog, decode_json};
use serde_json::{Value, json};

fn decode(host: &str, method: &str, target: &str, body: &str) -> (Value, bool) {
    let raw = format!(
        "{method} {target} HTTP/1.1\r\nHost: {host}\r\nX-MBX-APIKEY: Key\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    decode_json(Catalog::builtin().unwrap(), "binance", raw.as_bytes())
}

const SIGNED: &str = "timestamp=1790000000123&signature=00";

#[test]
fn the_host_says_which_market_an_order_is_for() {
    for (host, path, symbol, market) in [
        (
            "fapi.binance.com",
            "/fapi/v1/order",
            "BTCUSDT",
            "usd_futures",
        ),
        (
            "dapi.binance.com",
            "/dapi/v1/order",
            "BTCUSD_PERP",
            "coin_futures",
        ),
        ("api.binance.com", "/api/v3/order", "BTCUSDT", "spot"),
        // A gate on loopback: the path alone says it.
        ("127.0.0.1:8450", "/fapi/v1/order", "BTCUSDT", "usd_futures"),
        (
            "gate.example:443",
            "/dapi/v1/order",
            "BTCUSD_PERP",
            "coin_futures",
        ),
    ] {
        let body = format!("symbol={symbol}&side=BUY&type=MARKET&quantity=1&{SIGNED}");
        let (json, understood) = decode(host, "POST", path, &body);
        assert!(understood, "{json}");
        assert_eq!(json["venue"], "binance");
        assert_eq!(json["endpoint"], format!("POST {path}"));
        assert_eq!(json["actions"][0]["market"], market, "{host} {path}");
        assert_eq!(json["actions"][0]["symbol"], symbol);
    }
}

#[test]
fn a_call_of_another_host_is_none_of_the_one_named() {
    let body = format!("symbol=BTCUSDT&side=BUY&type=MARKET&quantity=1&{SIGNED}");
    for (host, path) in [
        ("fapi.binance.com", "/dapi/v1/order"),
        ("dapi.binance.com", "/fapi/v1/order"),
        ("api.binance.com", "/fapi/v1/order"),
        ("fapi.binance.com", "/api/v3/order"),
    ] {
        let (json, understood) = decode(host, "POST", path, &body);
        assert!(!understood);
        assert_eq!(json["refusal"]["code"], "unknown-endpoint", "{host} {path}");
    }
    // Both hosts serve this path, with other fields.
    let target =
        "/futures/data/openInterestHist?pair=BTCUSD&contractType=PERPETUAL&period=5m".to_owned();
    assert!(decode("dapi.binance.com", "GET", &target, "").1);
    // USD-M has a symbol there.
    let (json, understood) = decode("fapi.binance.com", "GET", &target, "");
    assert!(!understood);
    assert_eq!(json["refusal"]["code"], "field-missing");
}

#[test]
fn a_batch_is_an_action_for_each_of_its_orders() {
    let orders = r#"[{"symbol":"BTCUSDT","side":"BUY","type":"MARKET","quantity":"1"},{"symbol":"ETHUSDT","side":"SELL","type":"LIMIT","timeInForce":"GTX","quantity":2,"price":3000,"positionSide":"LONG"}]"#;
    let body = format!("batchOrders={orders}&{SIGNED}");
    let (json, understood) = decode("fapi.binance.com", "POST", "/fapi/v1/batchOrders", &body);
    assert!(understood, "{json}");
    assert_eq!(
        json["actions"],
        json!([
            {"kind": "PlaceOrder", "market": "usd_futures", "symbol": "BTCUSDT", "side": "buy", "type": "market", "quantity": "1"},
            {"kind": "PlaceOrder", "market": "usd_futures", "symbol": "ETHUSDT", "side": "sell", "type": "limit_maker", "quantity": "2", "price": "3000", "reduce_only": true, "position_side": "long"},
        ])
    );
}

/// Each order of a batch that has no id gets one of its own, and none that has one loses it.
#[test]
fn ids_in_a_batch_are_each_their_own() {
    use portcullis_model::action::Action;
    use portcullis_model::wire::Header;
    use portcullis_venues::RawRequest;
    let one = r#"{"symbol":"BTCUSDT","side":"BUY","type":"MARKET","quantity":"1"}"#;
    let named = one.replace("}", r#","newClientOrderId":"mine"}"#);
    let body = format!("batchOrders=[{one},{named},{one}]&{SIGNED}");
    let headers = [
        ("x-mbx-apikey", "Key"),
        ("content-type", "application/x-www-form-urlencoded"),
    ]
    .map(|(name, value)| Header {
        name,
        value: value.as_bytes().into(),
    });
    let actions = Catalog::builtin()
        .unwrap()
        .present(&RawRequest {
            method: "POST",
            host: "fapi.binance.com",
            target: b"/fapi/v1/batchOrders",
            headers: &headers,
            body: body.as_bytes(),
        })
        .unwrap()
        .decode(Some("pc-7"))
        .unwrap();
    let ids: Vec<String> = actions
        .list
        .iter()
        .map(|action| match action {
            Action::PlaceOrder(order) => order.client_order_id.as_ref().unwrap().to_string(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(ids, ["pc-7-0", "mine", "pc-7-2"]);
    // Whatever a batch holds, the venue counts five orders.
    assert_eq!((actions.weight, actions.orders), (5, 5));
}

/// What CCXT and pybit send to Bybit, as one raw request each.
#[test]
fn requests_of_bybits_clients_are_understood() {
    let raw = |host: &str, body: &str| {
        format!(
            "POST /v5/order/create HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nX-BAPI-API-KEY: Key\r\nX-BAPI-SIGN: 00\r\n\
             X-BAPI-TIMESTAMP: 1790000000123\r\nX-BAPI-RECV-WINDOW: 5000\r\nReferer: CCXT\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let order = r#"{"category":"linear","symbol":"BTCUSDT","side":"Sell","orderType":"Market","qty":"0.01","reduceOnly":true}"#;
    for host in ["api.bybit.com", "api.bytick.com", "127.0.0.1:8450"] {
        let catalog = Catalog::builtin().unwrap();
        let (json, understood) = decode_json(catalog, "bybit", raw(host, order).as_bytes());
        assert!(understood, "{json}");
        assert_eq!(
            json,
            json!({ "venue": "bybit", "endpoint": "POST /v5/order/create", "actions": [{
                "kind": "PlaceOrder", "market": "usd_futures", "symbol": "BTCUSDT", "side": "sell", "type": "market",
                "quantity": "0.01", "reduce_only": true,
            }] })
        );
        let twice = order.replace("}", r#","qty":"9"}"#);
        let (json, understood) = decode_json(catalog, "bybit", raw(host, &twice).as_bytes());
        assert!(!understood);
        assert_eq!(json["refusal"]["code"], "field-repeated");
    }
}
