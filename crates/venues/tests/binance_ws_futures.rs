//! Frames of the WebSocket APIs of futures: each asks what its REST twin asks, goes to its own place, and is taken nowhere else.
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
use portcullis_venues::catalog::Method;
use portcullis_venues::{Actions, Asked, Catalog, RawRequest, Signature, VerifyKey};
use serde_json::{Value, json};

const USD: (&str, &str) = ("ws-fapi.binance.com", "/ws-fapi/v1");
const COIN: (&str, &str) = ("ws-dapi.binance.com", "/ws-dapi/v1");

fn catalog() -> &'static Catalog {
    Catalog::builtin().unwrap()
}

fn tag(secret: &[u8], message: &str) -> [u8; 32] {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let tag = hmac::sign(&key, message.as_bytes());
    tag.as_ref().try_into().unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// The venue's rule, written again from its documents.
fn signed_text(params: &Value) -> String {
    let mut all: Vec<String> = params
        .as_object()
        .unwrap()
        .iter()
        .filter(|(name, _)| *name != "signature")
        .map(|(name, value)| match value {
            Value::String(text) => format!("{name}={text}"),
            value => format!("{name}={value}"),
        })
        .collect();
    all.sort();
    all.join("&")
}

fn frame(method: &str, params: &Value) -> String {
    let mut params = params.clone();
    params["apiKey"] = json!("Key");
    params["timestamp"] = json!(1_790_000_000_123u64);
    params["signature"] = json!(hex(&tag(b"toy", &signed_text(&params))));
    json!({ "id": 1, "method": method, "params": params }).to_string()
}

fn decode((host, target): (&str, &str), frame: &str) -> Result<Actions, &'static str> {
    let raw = RawRequest {
        method: "WS",
        host,
        target: target.as_bytes(),
        headers: &[],
        body: frame.as_bytes(),
    };
    let presented = catalog().present(&raw).map_err(|e| e.code())?;
    let verified = presented.verify(&VerifyKey::hmac(b"toy"));
    verified.map_err(|e| e.code())?;
    presented.decode(None).map_err(|e| e.code())
}

#[test]
fn every_method_is_its_twin_field_by_field() {
    for (ws, rest, twins) in [
        (
            USD.0,
            "fapi.binance.com",
            &[
                ("depth", Method::Get, "/fapi/v1/depth"),
                ("ticker.price", Method::Get, "/fapi/v1/ticker/price"),
                ("ticker.book", Method::Get, "/fapi/v1/ticker/bookTicker"),
                ("order.place", Method::Post, "/fapi/v1/order"),
                ("order.modify", Method::Put, "/fapi/v1/order"),
                ("order.cancel", Method::Delete, "/fapi/v1/order"),
                ("order.status", Method::Get, "/fapi/v1/order"),
                ("algoOrder.place", Method::Post, "/fapi/v1/algoOrder"),
                ("algoOrder.cancel", Method::Delete, "/fapi/v1/algoOrder"),
                ("account.position", Method::Get, "/fapi/v2/positionRisk"),
                ("v2/account.position", Method::Get, "/fapi/v3/positionRisk"),
                ("account.balance", Method::Get, "/fapi/v2/balance"),
                ("v2/account.balance", Method::Get, "/fapi/v3/balance"),
                ("account.status", Method::Get, "/fapi/v2/account"),
                ("v2/account.status", Method::Get, "/fapi/v3/account"),
            ][..],
        ),
        (
            COIN.0,
            "dapi.binance.com",
            &[
                ("order.place", Method::Post, "/dapi/v1/order"),
                ("order.modify", Method::Put, "/dapi/v1/order"),
                ("order.cancel", Method::Delete, "/dapi/v1/order"),
                ("order.status", Method::Get, "/dapi/v1/order"),
                ("account.position", Method::Get, "/dapi/v1/positionRisk"),
                ("account.balance", Method::Get, "/dapi/v1/balance"),
                ("account.status", Method::Get, "/dapi/v1/account"),
            ][..],
        ),
    ] {
        let own = catalog()
            .endpoints()
            .filter(|(_, e)| catalog().service_of(e).unwrap().host == ws)
            .filter(|(_, e)| !e.path.starts_with("session."));
        assert_eq!(own.count(), twins.len(), "{ws}");
        for (path, method, twin) in twins {
            let (_, ws) = catalog().find(ws, Method::Ws, path).unwrap();
            let (_, rest) = catalog().find(rest, *method, twin).unwrap();
            let said = |e: &portcullis_venues::Endpoint| {
                let fields: Vec<String> = e
                    .fields
                    .iter()
                    .filter(|f| f.name != "returnRateLimits")
                    .map(|f| format!("{} {:?} {} {:?}", f.name, f.ty, f.required, f.meaning))
                    .collect();
                let more = (
                    e.action, e.market, e.of, e.answer, e.algo, e.orders, e.weight,
                );
                (fields, format!("{more:?} {:?} {:?}", e.one_of, e.exclude))
            };
            assert_eq!(said(ws), said(rest), "{path}");
            assert!(ws.reviewed, "{path}");
        }
    }
}

#[test]
fn a_frame_is_rebuilt_for_its_own_place_and_taken_nowhere_else() {
    for (at, other, symbol) in [(USD, COIN, "BTCUSDT"), (COIN, USD, "BTCUSD_PERP")] {
        let order = json!({
            "symbol": symbol, "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "2", "price": "60000",
            "newClientOrderId": "a", "returnRateLimits": false,
        });
        let text = frame("order.place", &order);
        let asked = decode(at, &text).unwrap();
        assert!(matches!(&asked.list[..], [Action::PlaceOrder(o)] if o.market.is_future()));
        let stamp = Stamp {
            venue_time_ms: 1_790_000_000_500,
            receive_window_ms: 1_000,
            at: Timestamp(1_790_000_000_500_000),
        };
        let unsigned = catalog().prepare(&asked, stamp).unwrap();
        let message = String::from_utf8(unsigned.message("Real").into_owned()).unwrap();
        let tagged = tag(b"the real one", &message);
        let ready = unsigned.finish("Real".into(), &Signature::HmacSha256(tagged));
        assert_eq!((ready.method, &*ready.target), ("WS", at.1));
        let sent: Value = serde_json::from_str(&ready.body).unwrap();
        assert_eq!(signed_text(&sent["params"]), message);
        assert_eq!(sent["params"]["signature"], json!(hex(&tagged)));
        let modify = json!({"symbol": symbol, "side": "BUY", "orderId": 7, "quantity": "3", "price": "60100"});
        let modify = decode(at, &frame("order.modify", &modify)).unwrap();
        assert!(
            matches!(&modify.list[..], [Action::AmendOrder(a)] if a.price.is_some() && a.quantity.is_some())
        );
        // A host has its own target alone. What the host says is not signed: at another API's it is that one's order.
        assert_eq!(decode((at.0, other.1), &text).unwrap_err(), "target");
        assert!(decode((at.0, "/ws-api/v3"), &text).is_err());
        assert!(
            decode(("ws-api.binance.com", "/ws-api/v3"), &text).is_ok_and(
                |asked| matches!(&asked.list[..], [Action::PlaceOrder(o)] if !o.market.is_future())
            )
        );
        let spot = frame("v3/order.place", &order);
        assert!(decode(at, &spot).is_err());
        // A listen key would work without the gate.
        assert!(decode(at, &frame("userDataStream.start", &json!({}))).is_err());
    }
}

#[test]
fn answers_are_read_as_over_rest() {
    let (_, rule) = catalog().find(USD.0, Method::Ws, "order.place").unwrap();
    let dialect = catalog().service_of(rule).unwrap().dialect;
    let asked = frame("order.place", &json!({"symbol": "BTCUSDT"}));
    let asked = Asked {
        target: USD.1.as_bytes(),
        body: asked.as_bytes(),
    };
    let body = br#"{"orderId":7,"symbol":"BTCUSDT","status":"NEW","clientOrderId":"a","price":"60000","avgPrice":"0.00","origQty":"2","executedQty":"0","cumQuote":"0","side":"BUY","type":"LIMIT","timeInForce":"GTC","updateTime":1790000000123}"#;
    let mut out = Vec::new();
    dialect.summarize(rule, asked, 200, body, &mut out).unwrap();
    assert!(
        matches!(&out[..], [Report::Order(o)] if o.status == OrderStatus::Open && o.market.is_future())
    );
}

#[test]
fn a_batch_counts_as_the_venue_counts_it() {
    for (host, path) in [
        ("fapi.binance.com", "/fapi/v1/batchOrders"),
        ("dapi.binance.com", "/dapi/v1/batchOrders"),
    ] {
        for method in [Method::Post, Method::Put] {
            let (_, rule) = catalog().find(host, method, path).unwrap();
            assert_eq!((rule.orders, rule.orders_whole, rule.weight), (5, true, 5));
        }
        let (_, one) = catalog()
            .find(host, Method::Post, &path.replace("batchOrders", "order"))
            .unwrap();
        assert_eq!((one.orders, one.orders_whole), (1, false));
    }
}
