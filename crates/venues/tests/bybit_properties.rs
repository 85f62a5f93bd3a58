//! What a reader of this crate believes of Bybit's requests and answers, over arbitrary input.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests state what must hold"
)]

use portcullis_model::action::Stamp;
use portcullis_model::id::Timestamp;
use portcullis_model::wire::{BODY_BYTES_MAX, Header};
use portcullis_venues::{
    Actions, Asked, Catalog, DecodeError, RawRequest, Signature, VerifyKey, raw_http,
};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

fn read(method: &str, target: &[u8], body: &[u8]) -> Result<Actions, DecodeError> {
    let headers: Vec<Header> = [
        ("x-bapi-api-key", "Key"),
        ("x-bapi-sign", "00"),
        ("x-bapi-timestamp", "1790000000123"),
        ("content-type", "application/json"),
    ]
    .iter()
    .map(|(name, value)| Header {
        name,
        value: value.as_bytes().into(),
    })
    .collect();
    let raw = RawRequest {
        method,
        host: "api.bybit.com",
        target,
        headers: &headers,
        body,
    };
    let presented = Catalog::builtin().unwrap().present(&raw)?;
    let _ = presented.verify(&VerifyKey::hmac(b"secret"));
    presented.decode(Some("pc-1"))
}

/// Calls with fields that make them whole.
fn calls() -> Vec<(&'static str, Value)> {
    vec![
        (
            "/v5/order/create",
            json!({"category": "linear", "symbol": "BTCUSDT", "side": "Buy", "orderType": "Limit", "qty": "1.50", "price": "65000.1"}),
        ),
        (
            "/v5/order/create",
            json!({"category": "spot", "symbol": "BTCUSDT", "side": "Sell", "orderType": "Market", "qty": "25", "marketUnit": "quoteCoin"}),
        ),
        (
            "/v5/order/create",
            json!({"category": "inverse", "symbol": "BTCUSD", "side": "Sell", "orderType": "Limit", "qty": 100, "price": 65000.5,
                   "positionIdx": 1, "takeProfit": "60000", "tpslMode": "Partial", "tpOrderType": "Limit", "tpLimitPrice": "59990"}),
        ),
        (
            "/v5/order/create",
            json!({"category": "linear", "symbol": "BTCUSDT", "side": "Sell", "orderType": "Market", "qty": "0", "reduceOnly": true, "closeOnTrigger": true}),
        ),
        (
            "/v5/order/amend",
            json!({"category": "linear", "symbol": "BTCUSDT", "orderId": "c6f055d9-7f21-4079-913d-e6523a9cfffa", "qty": "2.0"}),
        ),
        (
            "/v5/order/cancel",
            json!({"category": "spot", "symbol": "BTCUSDT", "orderLinkId": "a b/c"}),
        ),
        (
            "/v5/asset/withdraw/create",
            json!({"coin": "USDT", "chain": "TRX", "address": "T \"X\\Y", "amount": "12.50", "timestamp": 1_790_000_000_123_u64, "accountType": "FUND"}),
        ),
        (
            "/v5/position/set-leverage",
            json!({"category": "linear", "symbol": "BTCUSDT", "buyLeverage": "5", "sellLeverage": "5.0"}),
        ),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        "[0-9]{1,4}(\\.[0-9]{1,4})?".prop_map(Value::from),
        "[a-zA-Z0-9 \"\\\\/币.-]{0,12}".prop_map(Value::from),
        proptest::sample::select(vec![
            "Buy", "Sell", "Limit", "Market", "spot", "linear", "option", "true", "Full",
            "Partial", "GTC", "PostOnly",
        ])
        .prop_map(Value::from),
        (0u32..100_000).prop_map(Value::from),
        (-1000.0f64..100_000.0).prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        Just(Value::Null),
        Just(json!([])),
        Just(json!({"a": 1})),
    ]
}

#[derive(Debug, Clone)]
struct Attempt {
    call: usize,
    /// A field changed, or one put beside.
    change: Option<(usize, Value)>,
    beside: Option<(String, Value)>,
    in_batch: bool,
}

fn attempt() -> impl Strategy<Value = Attempt> {
    let names = proptest::sample::select(vec![
        "orderLinkId",
        "reduceOnly",
        "positionIdx",
        "timeInForce",
        "stopLoss",
        "triggerPrice",
        "forceChain",
        "foo",
        "Symbol",
        "smpType",
        "isLeverage",
        "timestamp",
    ])
    .prop_map(str::to_owned);
    (
        0..calls().len(),
        proptest::option::weighted(0.4, (0usize..8, value())),
        proptest::option::weighted(0.3, (names, value())),
        any::<bool>(),
    )
        .prop_map(|(call, change, beside, in_batch)| Attempt {
            call,
            change,
            beside,
            in_batch,
        })
}

impl Attempt {
    fn request(&self) -> (&'static str, Value) {
        let (path, body) = calls().swap_remove(self.call);
        let Value::Object(mut fields) = body else {
            panic!("no object")
        };
        if let Some((at, value)) = &self.change {
            let name = fields.keys().nth(at % fields.len()).unwrap().clone();
            fields.insert(name, value.clone());
        }
        if let Some((name, value)) = &self.beside {
            fields.insert(name.clone(), value.clone());
        }
        if !(self.in_batch && path == "/v5/order/create") {
            return (path, Value::Object(fields));
        }
        let category = fields.remove("category").unwrap();
        (
            "/v5/order/create-batch",
            json!({"category": category, "request": [fields]}),
        )
    }
}

/// The same but for the form of numbers and truths.
fn same(sent: &Value, got: &Value) -> bool {
    let plain = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let (sent, got) = (plain(sent), plain(got));
    let number = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    let truth = |text: &str| matches!(text.to_lowercase().as_str(), "true" | "false");
    sent == got || number(&sent) == got || truth(&sent) && sent.to_lowercase() == got
}

fn compare(sent: &Map<String, Value>, got: &Map<String, Value>) -> Result<(), TestCaseError> {
    for (name, value) in sent {
        let now = got.get(name);
        if let (Value::Array(items), Some(Value::Array(now))) = (value, now) {
            prop_assert_eq!(items.len(), now.len());
            for (item, now) in items.iter().zip(now) {
                compare(item.as_object().unwrap(), now.as_object().unwrap())?;
            }
            continue;
        }
        prop_assert!(
            now.is_some_and(|now| same(value, now)),
            "{name}: {value} became {now:?}"
        );
    }
    for (name, value) in got {
        let ours = name == "orderLinkId" && value.as_str().is_some_and(|v| v.starts_with("pc-1-"));
        prop_assert!(sent.contains_key(name) || ours, "{name}: {value} was added");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), text in "[{}\\[\\]\":,a-z0-9\\\\]{0,60}") {
        let _ = raw_http(&bytes);
        for body in [&bytes[..], text.as_bytes()] {
            let _ = read("POST", b"/v5/order/create", body);
            let _ = read("POST", b"/v5/order/create-batch", body);
            let _ = read("GET", body, b"");
        }
    }

    #[test]
    fn no_answer_panics(status in 100u16..600, code in -1i64..200_000, text in "[{}\\[\\]\":,a-z0-9\\\\]{0,60}") {
        let catalog = Catalog::builtin().unwrap();
        let body = format!("{{\"retCode\":{code},\"result\":{text}}}");
        let asked = Asked { target: text.as_bytes(), body: text.as_bytes() };
        for (endpoint, rule) in catalog.endpoints() {
            if rule.path.starts_with("/v5/") {
                for body in [body.as_bytes(), text.as_bytes()] {
                    let _ = catalog.summarize(endpoint, asked, status, body);
                }
            }
        }
    }
}

/// What is accepted is rebuilt to a body that a plain reader of JSON sees the same fields in: every field that the program sent,
/// with the same value but for the form of numbers and truths, and none more but the id that we gave.
#[test]
fn what_is_sent_is_what_was_understood() {
    const CASES: u32 = 10_000;
    let accepted = std::cell::Cell::new(0u32);
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(CASES));
    let result = runner.run(&attempt(), |attempt| {
        let (path, sent) = attempt.request();
        let body = sent.to_string();
        let Ok(actions) = read("POST", path.as_bytes(), body.as_bytes()) else {
            return Ok(());
        };
        accepted.set(accepted.get() + 1);
        let stamp = Stamp {
            venue_time_ms: 1_790_000_000_999,
            receive_window_ms: 1000,
            at: Timestamp(0),
        };
        let ready = Catalog::builtin()
            .unwrap()
            .prepare(&actions, stamp)
            .unwrap()
            .finish("Key".into(), &Signature::HmacSha256([0; 32]));
        prop_assert_eq!(&ready.target, path);
        let got: Value = serde_json::from_str(&ready.body).unwrap();
        compare(sent.as_object().unwrap(), got.as_object().unwrap())?;
        let again = read(ready.method, ready.target.as_bytes(), ready.body.as_bytes()).unwrap();
        prop_assert_eq!(again.list, actions.list);
        Ok(())
    });
    result.unwrap_or_else(|e| panic!("{e}"));
    // Enough of both: neither side of the property is idle.
    assert!(
        (CASES / 5..CASES * 9 / 10).contains(&accepted.get()),
        "{} of {CASES} accepted",
        accepted.get()
    );
}

/// The longest body that the gate takes is read or refused, and one that says more orders than the venue takes is refused.
#[test]
fn long_bodies_are_read_or_refused() {
    let item = r#"{"symbol":"BTCUSDT","side":"Buy","orderType":"Limit","qty":"1","price":"65000"}"#;
    let batch = |count: usize| {
        let items = vec![item; count].join(",");
        read(
            "POST",
            b"/v5/order/create-batch",
            format!(r#"{{"category":"linear","request":[{items}]}}"#).as_bytes(),
        )
    };
    assert_eq!(batch(20).unwrap().list.len(), 20);
    assert_eq!(batch(20).unwrap().orders, 20);
    assert!(batch(21).is_err());
    assert!(batch(BODY_BYTES_MAX / item.len()).is_err());
    let blank = " ".repeat(BODY_BYTES_MAX - 200);
    let padded = format!(
        r#"{{{blank}"category":"linear","symbol":"BTCUSDT","side":"Buy","orderType":"Market","qty":"1"}}"#
    );
    let actions = read("POST", b"/v5/order/create", padded.as_bytes()).unwrap();
    let stamp = Stamp {
        venue_time_ms: 1_790_000_000_999,
        receive_window_ms: 1000,
        at: Timestamp(0),
    };
    let unsigned = Catalog::builtin()
        .unwrap()
        .prepare(&actions, stamp)
        .unwrap();
    assert!(unsigned.message("Key").len() < 300, "no blank goes on");
    let deep = format!(
        r#"{{"category":"linear","request":{}{}}}"#,
        "[".repeat(BODY_BYTES_MAX / 3),
        "]".repeat(BODY_BYTES_MAX / 3)
    );
    assert!(read("POST", b"/v5/order/create-batch", deep.as_bytes()).is_err());
}
