//! Frames of the WebSocket API: what real clients sent and the exchange published verifies, says the same as over REST, and
//! is rebuilt to a frame that verifies under the real key; what could be read twice is refused.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests state what must hold"
)]

use aws_lc_rs::hmac;
use portcullis_model::action::{Action, Stamp};
use portcullis_model::id::Timestamp;
use portcullis_model::report::{OrderStatus, Report};
use portcullis_model::wire::Header;
use portcullis_venues::catalog::Method;
use portcullis_venues::{Actions, Asked, Catalog, RawRequest, Signature, VerifyKey};
use serde_json::{Value, json};

const SECRET: &[u8] = b"the real one";

fn raw(frame: &str) -> RawRequest<'_> {
    RawRequest {
        method: "WS",
        host: "ws-api.binance.com",
        target: b"/ws-api/v3",
        headers: &[],
        body: frame.as_bytes(),
    }
}

fn catalog() -> &'static Catalog {
    Catalog::builtin().unwrap()
}

fn tag(secret: &[u8], message: &str) -> [u8; 32] {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    hmac::sign(&key, message.as_bytes())
        .as_ref()
        .try_into()
        .unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// The venue's rule, written again from its documents.
fn signed_text(params: &Value) -> String {
    let mut all: Vec<(String, String)> = params
        .as_object()
        .unwrap()
        .iter()
        .filter(|(name, _)| *name != "signature")
        .map(|(name, value)| {
            let text = match value {
                Value::String(text) => text.clone(),
                value => value.to_string(),
            };
            (name.clone(), text)
        })
        .collect();
    all.sort();
    let parts: Vec<String> = all.iter().map(|(n, v)| format!("{n}={v}")).collect();
    parts.join("&")
}

/// A frame that a program signed with the toy secret.
fn frame(method: &str, params: Value) -> String {
    let mut params = params;
    params["apiKey"] = json!("Key");
    params["timestamp"] = json!(1_790_000_000_123u64);
    params["signature"] = json!(hex(&tag(b"toy", &signed_text(&params))));
    json!({ "id": 1, "method": method, "params": params }).to_string()
}

fn decode(frame: &str) -> Result<Actions, &'static str> {
    let raw = raw(frame);
    let presented = catalog().present(&raw).map_err(|e| e.code())?;
    if !presented.is_public() && !presented.is_of_session() {
        presented
            .verify(&VerifyKey::hmac(b"toy"))
            .map_err(|e| e.code())?;
    }
    presented.decode(None).map_err(|e| e.code())
}

fn stamp() -> Stamp {
    Stamp {
        venue_time_ms: 1_790_000_000_500,
        receive_window_ms: 1_000,
        at: Timestamp(1_790_000_000_500_000),
    }
}

/// What the venue gets.
fn rebuilt(actions: &Actions) -> Value {
    let unsigned = catalog().prepare(actions, stamp()).unwrap();
    let ready = match unsigned.is_public {
        true => unsigned.finish_public().unwrap(),
        false => {
            let message = String::from_utf8(unsigned.message("RealKey").into_owned()).unwrap();
            unsigned.finish(
                "RealKey".into(),
                &Signature::HmacSha256(tag(SECRET, &message)),
            )
        }
    };
    assert_eq!(
        (ready.method, &*ready.target, ready.headers.len()),
        ("WS", "/ws-api/v3", 0)
    );
    assert!(
        ready.body.starts_with("{\"method\":"),
        "egress puts an id before it"
    );
    serde_json::from_str(&ready.body).unwrap()
}

#[test]
fn frames_of_real_clients_and_published_ones_verify_and_are_rebuilt() {
    let path = format!(
        "{}/../../vectors/binance/frames.json",
        env!("CARGO_MANIFEST_DIR")
    );
    let all: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(all.len(), 5);
    for vector in all {
        let label = vector["label"].as_str().unwrap();
        let text = vector["frame"].as_str().unwrap();
        let credentials = &vector["credentials"];
        let key = match vector["scheme"].as_str().unwrap() {
            "binance-hmac" => VerifyKey::hmac(credentials["secret"].as_str().unwrap().as_bytes()),
            _ => {
                let pem = credentials["public_key"].as_str().unwrap();
                let der: String = pem.lines().filter(|l| !l.starts_with('-')).collect();
                VerifyKey::ed25519(&base64(&der)).unwrap()
            }
        };
        let request = raw(text);
        assert_eq!(
            request.target,
            vector["target"].as_str().unwrap().as_bytes()
        );
        let presented = catalog().present(&request).unwrap();
        assert_eq!(presented.api_key, credentials["key"].as_str(), "{label}");
        presented
            .verify(&key)
            .unwrap_or_else(|e| panic!("{label}: {e}"));
        for (from, to) in [
            ("\"timestamp\":1", "\"timestamp\":2"),
            ("apiKey\":\"", "apiKey\":\"x"),
        ] {
            let other = text.replacen(from, to, 1).replacen(
                &from.replace(':', ": "),
                &to.replace(':', ": "),
                1,
            );
            assert_ne!(other, text, "{label}");
            let changed = catalog()
                .present(&raw(&other))
                .map(|p| p.verify(&key).is_ok());
            assert_ne!(changed.ok(), Some(true), "{label}: {from}");
        }
        let actions = presented
            .decode(Some("pc-1"))
            .unwrap_or_else(|e| panic!("{label}: {e}"));
        let frame = rebuilt(&actions);
        let asked: Value = serde_json::from_str(text).unwrap();
        assert_eq!(frame["method"], asked["method"], "{label}");
        let signature = hex(&tag(SECRET, &signed_text(&frame["params"])));
        assert_eq!(frame["params"]["signature"], signature, "{label}");
        assert_eq!(frame["params"]["apiKey"], "RealKey");
        assert_eq!(frame["params"]["recvWindow"], 1_000);
        for name in [
            "symbol",
            "side",
            "type",
            "timeInForce",
            "newClientOrderId",
            "newOrderRespType",
        ] {
            if asked["params"].get(name).is_some() {
                assert_eq!(
                    frame["params"][name], asked["params"][name],
                    "{label}: {name}"
                );
            }
        }
    }
}

fn base64(text: &str) -> Vec<u8> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bits = text
        .bytes()
        .filter_map(|b| DIGITS.iter().position(|d| *d == b));
    let mut out = Vec::new();
    while let (Some(a), Some(b)) = (bits.next(), bits.next()) {
        let (c, d) = (bits.next(), bits.next());
        let group = a << 18 | b << 12 | c.unwrap_or(0) << 6 | d.unwrap_or(0);
        out.push((group >> 16) as u8);
        if c.is_some() {
            out.push((group >> 8) as u8);
        }
        if d.is_some() {
            out.push(group as u8);
        }
    }
    out
}

#[test]
fn a_frame_asks_what_its_rest_twin_asks() {
    let form = [
        ("content-type", "application/x-www-form-urlencoded"),
        ("x-mbx-apikey", "Key"),
    ];
    let headers: Vec<Header<'_>> = form
        .iter()
        .map(|(name, value)| Header {
            name,
            value: value.as_bytes().into(),
        })
        .collect();
    let tail = "&timestamp=1790000000123&signature=00";
    for (method, params, rest, target, body) in [
        (
            "order.place",
            json!({"symbol": "BTCUSDT", "side": "SELL", "type": "STOP_LOSS_LIMIT", "timeInForce": "GTC", "quantity": "0.5", "price": "52000.00", "stopPrice": "53000", "strategyId": 7}),
            "POST",
            "/api/v3/order",
            "symbol=BTCUSDT&side=SELL&type=STOP_LOSS_LIMIT&timeInForce=GTC&quantity=0.5&price=52000&stopPrice=53000&strategyId=7",
        ),
        (
            "v3/order.place",
            json!({"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quoteOrderQty": 100.5}),
            "POST",
            "/api/v3/order",
            "symbol=BTCUSDT&side=BUY&type=MARKET&quoteOrderQty=100.5",
        ),
        (
            "order.cancel",
            json!({"symbol": "BTCUSDT", "orderId": 12, "cancelRestrictions": "ONLY_NEW"}),
            "DELETE",
            "/api/v3/order?symbol=BTCUSDT&orderId=12&cancelRestrictions=ONLY_NEW",
            "",
        ),
        (
            "openOrders.cancelAll",
            json!({"symbol": "BTCUSDT"}),
            "DELETE",
            "/api/v3/openOrders?symbol=BTCUSDT",
            "",
        ),
        (
            "order.cancelReplace",
            json!({"symbol": "BTCUSDT", "cancelReplaceMode": "STOP_ON_FAILURE", "cancelOrigClientOrderId": "a", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "price": "1", "quantity": "2"}),
            "POST",
            "/api/v3/order/cancelReplace",
            "symbol=BTCUSDT&cancelReplaceMode=STOP_ON_FAILURE&cancelOrigClientOrderId=a&side=BUY&type=LIMIT&timeInForce=GTC&price=1&quantity=2",
        ),
        (
            "orderList.place.oco",
            json!({"symbol": "BTCUSDT", "side": "SELL", "quantity": "1", "aboveType": "LIMIT_MAKER", "abovePrice": "9", "belowType": "STOP_LOSS", "belowStopPrice": "5"}),
            "POST",
            "/api/v3/orderList/oco",
            "symbol=BTCUSDT&side=SELL&quantity=1&aboveType=LIMIT_MAKER&abovePrice=9&belowType=STOP_LOSS&belowStopPrice=5",
        ),
        (
            "orderList.cancel",
            json!({"symbol": "BTCUSDT", "orderListId": 9}),
            "DELETE",
            "/api/v3/orderList?symbol=BTCUSDT&orderListId=9",
            "",
        ),
        (
            "order.amend.keepPriority",
            json!({"symbol": "BTCUSDT", "orderId": 4, "newQty": "0.1"}),
            "PUT",
            "/api/v3/order/amend/keepPriority",
            "symbol=BTCUSDT&orderId=4&newQty=0.1",
        ),
        (
            "openOrders.status",
            json!({"symbol": "BTCUSDT"}),
            "GET",
            "/api/v3/openOrders?symbol=BTCUSDT",
            "",
        ),
        (
            "account.status",
            json!({}),
            "GET",
            "/api/v3/account?omitZeroBalances=true",
            "",
        ),
    ] {
        let asked =
            decode(&frame(method, params)).unwrap_or_else(|code| panic!("{method}: {code}"));
        let (target, body) = match body {
            "" => (format!("{target}{tail}"), String::new()),
            body => (target.to_owned(), format!("{body}{tail}")),
        };
        let twin = RawRequest {
            method: rest,
            host: "api.binance.com",
            target: target.as_bytes(),
            headers: &headers,
            body: body.as_bytes(),
        };
        let twin = catalog().decode(&twin).unwrap();
        assert_eq!(asked.list, twin.list, "{method}");
        assert_eq!(
            (asked.weight, asked.orders),
            (twin.weight, twin.orders),
            "{method}"
        );
        let again = rebuilt(&asked);
        let signature = hex(&tag(SECRET, &signed_text(&again["params"])));
        assert_eq!(again["params"]["signature"], signature, "{method}");
        // What the venue gets means the same.
        let mut again = again;
        again["params"]["apiKey"] = json!("Key");
        again["params"]["signature"] = json!(hex(&tag(b"toy", &signed_text(&again["params"]))));
        assert_eq!(
            decode(&again.to_string()).unwrap().list,
            asked.list,
            "{method}"
        );
    }
}

#[test]
fn every_method_is_its_twin_field_by_field() {
    let twins = [
        ("order.place", Method::Post, "order"),
        ("order.test", Method::Post, "order/test"),
        ("order.cancel", Method::Delete, "order"),
        ("order.cancelReplace", Method::Post, "order/cancelReplace"),
        (
            "order.amend.keepPriority",
            Method::Put,
            "order/amend/keepPriority",
        ),
        ("openOrders.cancelAll", Method::Delete, "openOrders"),
        ("orderList.place", Method::Post, "order/oco"),
        ("orderList.place.oco", Method::Post, "orderList/oco"),
        ("orderList.place.oto", Method::Post, "orderList/oto"),
        ("orderList.place.otoco", Method::Post, "orderList/otoco"),
        ("orderList.place.opo", Method::Post, "orderList/opo"),
        ("orderList.place.opoco", Method::Post, "orderList/opoco"),
        ("orderList.cancel", Method::Delete, "orderList"),
        ("sor.order.place", Method::Post, "sor/order"),
        ("sor.order.test", Method::Post, "sor/order/test"),
        ("account.status", Method::Get, "account"),
        ("order.status", Method::Get, "order"),
        ("openOrders.status", Method::Get, "openOrders"),
        ("allOrders", Method::Get, "allOrders"),
        ("orderList.status", Method::Get, "orderList"),
        ("openOrderLists.status", Method::Get, "openOrderList"),
        ("allOrderLists", Method::Get, "allOrderList"),
        ("myTrades", Method::Get, "myTrades"),
        ("account.rateLimits.orders", Method::Get, "rateLimit/order"),
        ("myPreventedMatches", Method::Get, "myPreventedMatches"),
        ("myAllocations", Method::Get, "myAllocations"),
        ("account.commission", Method::Get, "account/commission"),
        ("order.amendments", Method::Get, "order/amendments"),
        ("myFilters", Method::Get, "myFilters"),
    ];
    let signed: Vec<&str> = catalog()
        .endpoints()
        .filter(|(_, e)| {
            e.method == Method::Ws && e.security == portcullis_venues::catalog::Security::Signed
        })
        .filter(|(_, e)| catalog().service_of(e).unwrap().host == "ws-api.binance.com")
        .map(|(_, e)| e.path.as_str())
        .filter(|path| !path.starts_with("session.") && !path.starts_with("userDataStream."))
        .collect();
    assert_eq!(signed.len(), twins.len());
    for (path, method, rest) in twins {
        let (_, ws) = catalog()
            .find("ws-api.binance.com", Method::Ws, path)
            .unwrap();
        let (_, rest) = catalog()
            .find("api.binance.com", method, &format!("/api/v3/{rest}"))
            .unwrap();
        let fields = |e: &portcullis_venues::Endpoint| -> Vec<String> {
            e.fields
                .iter()
                .filter(|f| f.name != "returnRateLimits")
                .map(|f| format!("{} {:?} {} {:?}", f.name, f.ty, f.required, f.meaning))
                .collect()
        };
        assert_eq!(fields(ws), fields(rest), "{path}");
        assert_eq!(
            (
                ws.action,
                ws.of,
                ws.answer,
                ws.list,
                ws.orders,
                ws.weight,
                &ws.legs,
                &ws.one_of,
                &ws.exclude,
                ws.reviewed
            ),
            (
                rest.action,
                rest.of,
                rest.answer,
                rest.list,
                rest.orders,
                rest.weight,
                &rest.legs,
                &rest.one_of,
                &rest.exclude,
                true
            ),
            "{path}"
        );
    }
}

#[test]
fn loose_frames_are_refused() {
    let good = frame("order.cancel", json!({"symbol": "BTCUSDT", "orderId": 12}));
    assert!(decode(&good).is_ok());
    for (from, to, code) in [
        ("{\"id\":1", "{\"id\":{}", "encoding"),
        ("{\"id\":1", "{\"id\":1,\"id\":1", "field-repeated"),
        ("{\"id\":1", "{\"id\":1,\"extra\":1", "field-unknown"),
        ("\"order.cancel\"", "\"order.place\"", "field-unknown"),
        ("\"order.cancel\"", "\"order.Cancel\"", "unknown-endpoint"),
        ("\"order.cancel\"", "7", "encoding"),
        (
            "\"orderId\":12",
            "\"orderId\":12,\"orderId\":12",
            "field-repeated",
        ),
        (
            "\"orderId\":12",
            "\"orderId\":12,\"orderid\":13",
            "signature-wrong",
        ),
        ("\"orderId\":12", "\"orderId\":13", "signature-wrong"),
        ("\"orderId\":12", "\"orderId\":[12]", "encoding"),
        ("\"apiKey\":\"Key\"", "\"apiKey\":7", "key-malformed"),
        ("\"apiKey\":\"Key\",", "", "key-missing"),
        (
            "\"timestamp\":1790000000123",
            "\"timestamp\":\"now\"",
            "timestamp",
        ),
        (
            "\"timestamp\":1790000000123",
            "\"timestamp\":17900000001.23",
            "timestamp",
        ),
    ] {
        let bad = good.replacen(from, to, 1);
        assert_ne!(bad, good, "{from}");
        let said = decode(&bad).map(|a| a.list);
        assert_eq!(said, Err(code), "{from} -> {to}");
    }
    assert_eq!(decode("[]").unwrap_err(), "encoding");
    assert_eq!(decode("{}x").unwrap_err(), "encoding");
    let unknown = frame(
        "order.cancel",
        json!({"symbol": "BTCUSDT", "orderId": 12, "side": "BUY"}),
    );
    assert_eq!(decode(&unknown).unwrap_err(), "field-unknown");
    // Another target is another WebSocket.
    let mut elsewhere = raw(&good);
    elsewhere.target = b"/ws-api/v3?timeUnit=MICROSECOND";
    assert!(catalog().present(&elsewhere).is_err());
}

#[test]
fn frames_without_credential_are_public_or_of_a_session() {
    let public =
        r#"{"id":null,"method":"exchangeInfo","params":{"symbols":["BTCUSDT","ETHUSDT"]}}"#;
    let actions = decode(public).unwrap();
    assert!(matches!(actions.list[..], [Action::Public(_)]));
    assert_eq!(
        rebuilt(&actions),
        json!({"method": "exchangeInfo", "params": {"symbols": ["BTCUSDT", "ETHUSDT"]}})
    );
    let of_session = r#"{"id":1,"method":"order.cancel","params":{"symbol":"BTCUSDT","orderId":1,"timestamp":1790000000123}}"#;
    let request = raw(of_session);
    let presented = catalog().present(&request).unwrap();
    assert!(presented.is_of_session() && presented.verify(&VerifyKey::hmac(b"toy")).is_err());
    assert_eq!(
        presented.message(),
        b"orderId=1&symbol=BTCUSDT&timestamp=1790000000123"
    );
    let frame = rebuilt(&decode(of_session).unwrap());
    assert_eq!(
        frame["params"]["apiKey"], "RealKey",
        "it is signed all the same"
    );
    let late = of_session.replace(",\"timestamp\":1790000000123", "");
    assert_eq!(decode(&late).unwrap_err(), "timestamp-missing");
    let signed =
        r#"{"id":1,"method":"depth","params":{"symbol":"BTCUSDT","timestamp":1790000000123}}"#;
    assert_eq!(decode(signed).unwrap_err(), "signature-on-public");
}

#[test]
fn answers_are_read_as_over_rest() {
    let (number, _) = catalog()
        .find("ws-api.binance.com", Method::Ws, "order.place")
        .unwrap();
    let result = json!({"symbol": "BTCUSDT", "orderId": 12_510_053_279u64, "orderListId": -1, "clientOrderId": "a", "transactTime": 1_655_716_096_505u64,
        "price": "0.1", "origQty": "10", "executedQty": "0", "cummulativeQuoteQty": "0", "status": "NEW", "timeInForce": "GTC", "type": "LIMIT", "side": "BUY"});
    let reports = catalog().summarize(number, Asked::default(), 200, result.to_string().as_bytes());
    let [Report::Order(order)] = &reports[..] else {
        panic!("{reports:?}")
    };
    assert_eq!(order.status, OrderStatus::Open);
    let (number, _) = catalog()
        .find("ws-api.binance.com", Method::Ws, "openOrders.status")
        .unwrap();
    let body = r#"{"method":"openOrders.status","params":{"symbol":"ETHUSDT"}}"#;
    let asked = Asked {
        target: b"/ws-api/v3",
        body: body.as_bytes(),
    };
    let reports = catalog().summarize(number, asked, 200, b"[]");
    let [
        Report::OpenOrdersComplete {
            symbol: Some(symbol),
            ..
        },
    ] = &reports[..]
    else {
        panic!("{reports:?}")
    };
    assert_eq!(symbol.0, "ETHUSDT");
}

#[test]
fn a_sessions_subscription_becomes_a_signed_one() {
    let of_session = r#"{"id":1,"method":"userDataStream.subscribe"}"#;
    let presented_of = raw(of_session);
    let presented = catalog().present(&presented_of).unwrap();
    assert!(presented.is_of_session() && presented.timestamp_us.is_none());
    let frame = rebuilt(&presented.decode(None).unwrap());
    assert_eq!(frame["method"], "userDataStream.subscribe.signature");
    let signature = hex(&tag(SECRET, &signed_text(&frame["params"])));
    assert_eq!(frame["params"]["signature"], signature);
}

#[test]
fn events_of_orders_are_read_as_their_answers() {
    let (number, rule) = catalog()
        .find(
            "ws-api.binance.com",
            Method::Ws,
            "userDataStream.subscribe.signature",
        )
        .unwrap();
    let dialect = catalog().service_of(rule).unwrap().dialect;
    assert!(dialect.opens_stream(rule));
    let event = |more: &str| {
        let mut event: Value = serde_json::from_str(
            r#"{"e":"executionReport","E":1499405658658,"s":"ETHBTC","c":"mine","S":"BUY","o":"LIMIT","f":"GTC","q":"1.00000000","p":"0.10264410","P":"0","F":"0","g":-1,"C":"","x":"NEW","X":"NEW","r":"NONE","i":4293153,"l":"0.00000000","z":"0.00000000","L":"0.00000000","n":"0","N":null,"T":1499405658657,"t":-1,"I":8641984,"w":true,"m":false,"M":false,"O":1499405658657,"Z":"0.00000000","Y":"0.00000000","Q":"0.00000000","W":1499405658657,"V":"NONE"}"#,
        )
        .unwrap();
        let more: Value = serde_json::from_str(more).unwrap();
        for (name, value) in more.as_object().unwrap() {
            event[name] = value.clone();
        }
        portcullis_venues::summarize_event(number, event.to_string().as_bytes())
    };
    let reports = event("{}");
    let [Report::Order(order)] = &reports[..] else {
        panic!("{reports:?}")
    };
    assert_eq!(order.status, OrderStatus::Open);
    assert_eq!(order.client_order_id.as_ref().unwrap().0, "mine");
    let reports = event(
        r#"{"x":"TRADE","X":"PARTIALLY_FILLED","l":"0.4","z":"0.4","L":"0.1","n":"0.0004","N":"BNB","t":9,"Z":"0.04"}"#,
    );
    let [Report::Order(order), Report::Trade(trade)] = &reports[..] else {
        panic!("{reports:?}")
    };
    assert_eq!(order.executed_quantity.unwrap(), "0.4".parse().unwrap());
    assert_eq!(
        (trade.trade_id.to_string(), trade.quantity),
        ("9".to_owned(), "0.4".parse().unwrap())
    );
    let reports = event(r#"{"x":"CANCELED","X":"CANCELED","c":"cancel-1","C":"mine"}"#);
    let [Report::Order(order)] = &reports[..] else {
        panic!("{reports:?}")
    };
    assert_eq!(order.status, OrderStatus::Cancelled);
    assert_eq!(order.original_client_order_id.as_ref().unwrap().0, "mine");
    // What is no order's, or cannot be read, tells nothing.
    assert!(event(r#"{"e":"outboundAccountPosition"}"#).is_empty());
    assert!(event(r#"{"q":"a lot"}"#).is_empty());
    assert!(portcullis_venues::summarize_event(number, b"{").is_empty());
}
