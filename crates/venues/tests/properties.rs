//! What a reader of this crate believes, over arbitrary input.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests state what must hold"
)]

use portcullis_model::action::Stamp;
use portcullis_model::id::Timestamp;
use portcullis_model::wire::Header;
use portcullis_venues::{Actions, Catalog, Signature, VerifyKey};
use portcullis_venues::{DecodeError, RawRequest, raw_http};
use proptest::prelude::*;
use std::collections::BTreeMap;

#[path = "suite/host.rs"]
mod host;

fn read(method: &str, target: &[u8], body: &[u8]) -> Result<Actions, DecodeError> {
    let headers: Vec<Header> = [
        ("x-mbx-apikey", "Key"),
        ("content-type", "application/x-www-form-urlencoded"),
    ]
    .iter()
    .map(|(name, value)| Header {
        name,
        value: value.as_bytes().into(),
    })
    .collect();
    let raw = RawRequest {
        method,
        host: host::of(std::str::from_utf8(target).unwrap_or_default()),
        target,
        headers: &headers,
        body,
    };
    let presented = Catalog::builtin().unwrap().present(&raw)?;
    let _ = presented.verify(&VerifyKey::hmac(b"secret"));
    presented.decode(Some("pc-1"))
}

/// A plain reader of forms, written apart from the crate's: what a strict exchange would see.
fn plain(text: &str) -> BTreeMap<String, String> {
    let unescape = |text: &str| {
        let bytes = text.as_bytes();
        let mut out = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            match bytes[at] {
                b'%' => {
                    out.push(u8::from_str_radix(&text[at + 1..at + 3], 16).unwrap());
                    at += 2;
                }
                b'+' => out.push(b' '),
                b => out.push(b),
            }
            at += 1;
        }
        String::from_utf8(out).unwrap()
    };
    text.split('&')
        .filter(|p| !p.is_empty())
        .map(|part| {
            let (name, value) = part.split_once('=').unwrap();
            (unescape(name), unescape(value))
        })
        .collect()
}

/// Calls with fields that make them whole.
const CALLS: [(&str, &str, &str); 14] = [
    (
        "POST",
        "/api/v3/order",
        "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=1.50&price=65000.1",
    ),
    (
        "POST",
        "/api/v3/order",
        "symbol=币安人生USDT&side=SELL&type=MARKET&quoteOrderQty=20",
    ),
    (
        "DELETE",
        "/api/v3/order",
        "symbol=BTCUSDT&orderId=7&origClientOrderId=a b/c+d",
    ),
    (
        "POST",
        "/sapi/v1/capital/withdraw/apply",
        "coin=USDT&address=T X+Y%&amount=3.10&addressTag=m&n=o;#",
    ),
    (
        "POST",
        "/sapi/v1/asset/transfer",
        "type=MAIN_UMFUTURE&asset=USDT&amount=5",
    ),
    ("DELETE", "/api/v3/openOrders", "symbol=BTCUSDT"),
    (
        "GET",
        "/api/v3/myTrades",
        "symbol=BTCUSDT&limit=5&cursor=x-1",
    ),
    (
        "POST",
        "/sapi/v1/margin/order",
        "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=1&price=2&isIsolated=true",
    ),
    (
        "POST",
        "/api/v3/order/cancelReplace",
        "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=1&price=2&cancelReplaceMode=ALLOW_FAILURE&cancelOrderId=3",
    ),
    (
        "POST",
        "/fapi/v1/order",
        "symbol=BTCUSDT&side=SELL&type=LIMIT&timeInForce=GTX&quantity=1.50&price=65000.1&reduceOnly=true",
    ),
    (
        "POST",
        "/dapi/v1/order",
        "symbol=BTCUSD_PERP&side=SELL&type=MARKET&quantity=3&positionSide=LONG",
    ),
    (
        "POST",
        "/fapi/v1/algoOrder",
        "algoType=CONDITIONAL&symbol=BTCUSDT&side=SELL&type=STOP_MARKET&closePosition=true&triggerPrice=5.10",
    ),
    (
        "PUT",
        "/fapi/v1/order",
        "symbol=BTCUSDT&side=BUY&orderId=7&quantity=1.0&price=2.50",
    ),
    ("POST", "/fapi/v1/leverage", "symbol=BTCUSDT&leverage=5"),
];

fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        "[0-9]{1,4}(\\.[0-9]{1,4})?",
        "[a-zA-Z0-9%+&=;#币 ._-]{0,12}",
        Just("BUY".to_owned()),
        Just("MARKET".to_owned()),
        Just("true".to_owned()),
        "[0-9eE+.-]{1,6}",
    ]
}

#[derive(Debug, Clone)]
struct Attempt {
    call: usize,
    /// A field changed, or one put beside.
    change: Option<(usize, String)>,
    beside: Option<(String, String)>,
    /// For each byte of a value in turn: encode it? For each field in turn: into the body?
    encode: Vec<bool>,
    into_body: Vec<bool>,
    backwards: bool,
}

fn attempt() -> impl Strategy<Value = Attempt> {
    let beside = (
        proptest::sample::select(vec![
            "newClientOrderId",
            "recvWindow",
            "stopPrice",
            "foo",
            "Symbol",
            "symbol",
            "strategyId",
        ]),
        word(),
    )
        .prop_map(|(name, value)| (name.to_owned(), value));
    (
        0..CALLS.len(),
        proptest::option::weighted(0.4, (0usize..8, word())),
        proptest::option::weighted(0.3, beside),
        proptest::collection::vec(any::<bool>(), 64),
        proptest::collection::vec(any::<bool>(), 8),
        any::<bool>(),
    )
        .prop_map(
            |(call, change, beside, encode, into_body, backwards)| Attempt {
                call,
                change,
                beside,
                encode,
                into_body,
                backwards,
            },
        )
}

impl Attempt {
    /// Query and body. What would end a value, or cannot stand in a target, is always encoded; a changed value is raw.
    fn forms(&self) -> (String, String) {
        let (method, _, whole) = CALLS[self.call];
        let mut fields: Vec<(String, String)> = Vec::new();
        for part in whole.split('&') {
            match part.split_once('=') {
                Some((name, value)) if name.len() > 1 => {
                    fields.push((name.to_owned(), value.to_owned()))
                }
                // The withdrawal's memo holds `&` and `=` itself.
                _ => fields.last_mut().unwrap().1.push_str(&format!("&{part}")),
            }
        }
        let mut encode = self.encode.iter().cycle();
        let mut texts: Vec<String> = fields
            .iter()
            .map(|(name, value)| {
                let mut text = format!("{name}=");
                for b in value.bytes() {
                    let must = !b.is_ascii_alphanumeric() && !b"._-/".contains(&b);
                    match b {
                        b' ' if *encode.next().unwrap() => text.push('+'),
                        _ if must || *encode.next().unwrap() => text.push_str(&format!("%{b:02x}")),
                        _ => text.push(b as char),
                    }
                }
                text
            })
            .collect();
        if let Some((at, value)) = &self.change {
            let at = at % fields.len();
            texts[at] = format!("{}={value}", fields[at].0);
        }
        texts.extend(
            self.beside
                .iter()
                .map(|(name, value)| format!("{name}={value}")),
        );
        if self.backwards {
            texts.reverse();
        }
        let (mut query, mut body) = (Vec::new(), Vec::new());
        for (text, into_body) in texts.into_iter().zip(self.into_body.iter().cycle()) {
            if *into_body && method != "GET" {
                body.push(text)
            } else {
                query.push(text)
            }
        }
        (query.join("&"), body.join("&"))
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), path in "/[a-z0-9/?&=%+]{0,40}") {
        let _ = raw_http(&bytes);
        let _ = read("POST", b"/api/v3/order", &bytes);
        let _ = read("GET", &bytes, b"");
        let _ = read("GET", path.as_bytes(), b"");
    }

}

/// What is accepted is rebuilt to a request that a plain reader of forms sees the same fields in: every field that the
/// program sent, with the same value but for the form of numbers and truths, and none more but ours.
#[test]
fn what_is_sent_is_what_was_understood() {
    const CASES: u32 = 20_000;
    let accepted = std::cell::Cell::new(0u32);
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(CASES));
    let result = runner.run(&attempt(), |attempt| {
        let (method, path, _) = CALLS[attempt.call];
        let (query, body) = attempt.forms();
        let mark = if query.is_empty() { "" } else { "&" };
        let target = format!("{path}?{query}{mark}timestamp=1790000000123&signature=00");
        let Ok(actions) = read(method, target.as_bytes(), body.as_bytes()) else {
            return Ok(());
        };
        accepted.set(accepted.get() + 1);
        let venue = Catalog::builtin().unwrap();
        let stamp = Stamp {
            venue_time_ms: 1_790_000_000_999,
            receive_window_ms: 1000,
            at: Timestamp(0),
        };
        let ready = venue
            .prepare(&actions, stamp)
            .unwrap()
            .finish("Key".into(), &Signature::HmacSha256([0; 32]));
        let before: BTreeMap<_, _> = plain(&query).into_iter().chain(plain(&body)).collect();
        let (_, sent) = ready.target.split_once('?').unwrap_or(("", &ready.body));
        let mut after = plain(sent);
        for ours in ["timestamp", "signature", "recvWindow"] {
            prop_assert!(after.remove(ours).is_some());
        }
        for (name, value) in &before {
            if name == "recvWindow" {
                continue;
            }
            let got = after.remove(name);
            let number = |text: &str| text.trim_end_matches('0').trim_end_matches('.').to_owned();
            let same = got.as_deref().is_some_and(|got| {
                let truth = matches!(
                    value.as_str(),
                    "true" | "false" | "TRUE" | "FALSE" | "True" | "False"
                );
                got == value
                    || truth && got.eq_ignore_ascii_case(value)
                    || value.contains('.') && number(got) == number(value)
                    || value.contains('.') && got == number(value)
            });
            prop_assert!(same, "{name}={value} became {got:?}");
        }
        // What is left is an id that we gave.
        prop_assert!(
            after.iter().all(
                |(n, v)| (n.ends_with("lientOrderId") || n == "clientAlgoId")
                    && v.starts_with("pc-1-")
            ),
            "{after:?}"
        );
        // And it decodes to the same.
        let again = read(ready.method, ready.target.as_bytes(), ready.body.as_bytes()).unwrap();
        prop_assert_eq!(again.list, actions.list);
        Ok(())
    });
    result.unwrap_or_else(|e| panic!("{e}"));
    // Enough of both: neither side of the property is idle.
    assert!(
        (CASES / 4..CASES * 9 / 10).contains(&accepted.get()),
        "{} of {CASES} accepted",
        accepted.get()
    );
}

/// One object of a batch as a program may write it: each value as text, or bare.
fn object() -> impl Strategy<Value = Vec<(String, String)>> {
    let value = |plain: &'static str| {
        prop_oneof![
            9 => Just(plain.to_owned()),
            1 => word().prop_map(|w| serde_json::to_string(&w).unwrap()),
            1 => "[0-9eE+.-]{1,6}|true|null|\\[\\]|\\{\\}",
        ]
    };
    let fields = (
        value("\"BTCUSDT\""),
        value("\"BUY\""),
        value("\"LIMIT\""),
        value("\"GTC\""),
        prop_oneof![value("\"1.50\""), value("1.50")],
        prop_oneof![value("\"60000.0\""), value("60000.0")],
        prop_oneof![value("\"true\""), value("true")],
    );
    (
        fields,
        proptest::option::weighted(
            0.1,
            (
                proptest::sample::select(vec!["symbol", "Side", "stopPrice", "foo"]),
                word(),
            ),
        ),
        any::<u64>(),
    )
        .prop_map(
            |((symbol, side, ty, force, quantity, price, reduces), beside, order)| {
                let mut fields: Vec<(String, String)> = [
                    ("symbol", symbol),
                    ("side", side),
                    ("type", ty),
                    ("timeInForce", force),
                    ("quantity", quantity),
                    ("price", price),
                    ("reduceOnly", reduces),
                ]
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect();
                if let Some((name, text)) = beside {
                    fields.push((name.to_owned(), serde_json::to_string(&text).unwrap()));
                }
                let at = usize::try_from(order % 7).unwrap();
                fields.rotate_left(at);
                fields
            },
        )
}

/// A batch that is accepted is rebuilt to one in which a plain reader of JSON sees the same: as many orders in the same
/// sequence, each with every field that the program wrote and none more but ids of ours.
#[test]
fn a_batch_that_is_sent_is_what_was_understood() {
    const CASES: u32 = 10_000;
    let accepted = std::cell::Cell::new(0u32);
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(CASES));
    let batch = (proptest::collection::vec(object(), 0..4), any::<bool>());
    let result = runner.run(&batch, |(objects, encoded)| {
        let texts: Vec<String> = objects
            .iter()
            .map(|fields| {
                let parts: Vec<String> = fields
                    .iter()
                    .map(|(name, value)| format!("\"{name}\": {value}"))
                    .collect();
                format!("{{{}}}", parts.join(","))
            })
            .collect();
        let json = format!("[{}]", texts.join(", "));
        let mut value = String::new();
        for b in json.bytes() {
            match b {
                b if encoded && !b.is_ascii_alphanumeric() => value.push_str(&format!("%{b:02X}")),
                b'%' | b'+' | b'&' | b'=' | b'#' | b';' | 0..=32 | 127.. => {
                    value.push_str(&format!("%{b:02X}"));
                }
                b => value.push(char::from(b)),
            }
        }
        let body = format!("batchOrders={value}&timestamp=1790000000123&signature=00");
        let Ok(actions) = read("POST", b"/fapi/v1/batchOrders", body.as_bytes()) else {
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
        let plainly = |text: &serde_json::Value| match text {
            serde_json::Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let number = |text: &str| text.trim_end_matches('0').trim_end_matches('.').to_owned();
        let parse = |text: &str| -> Vec<BTreeMap<String, serde_json::Value>> {
            serde_json::from_str(text).unwrap()
        };
        let sent = parse(&plain(&ready.body)["batchOrders"]);
        let meant = parse(&json);
        prop_assert_eq!(sent.len(), meant.len());
        prop_assert_eq!(sent.len(), actions.list.len());
        for (mut sent, meant) in sent.into_iter().zip(meant) {
            let id = sent.remove("newClientOrderId");
            prop_assert!(plainly(&id.unwrap()).starts_with("pc-1-"));
            prop_assert_eq!(sent.len(), meant.len());
            for (name, value) in meant {
                let (value, got) = (plainly(&value), plainly(&sent[&name]));
                let same = got == value
                    || got.eq_ignore_ascii_case(&value)
                    || value.contains('.')
                        && (number(&got) == number(&value) || got == number(&value));
                prop_assert!(same, "{name}={value} became {got}");
            }
        }
        let again = read("POST", ready.target.as_bytes(), ready.body.as_bytes()).unwrap();
        prop_assert_eq!(again.list, actions.list);
        Ok(())
    });
    result.unwrap_or_else(|e| panic!("{e}"));
    assert!(
        (CASES / 20..CASES * 9 / 10).contains(&accepted.get()),
        "{} of {CASES} accepted",
        accepted.get()
    );
}
