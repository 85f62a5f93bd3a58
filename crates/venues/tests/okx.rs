//! OKX against its vectors, and what real clients send there: every request of CCXT and python-okx verifies, asks what it should,
//! and is rebuilt to a request that asks the same and verifies under the new key.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests state what must hold"
)]

mod suite;

venue_suite!(okx);

use aws_lc_rs::hmac;
use okx::{Sent, base64};
use portcullis_model::action::Action;
use portcullis_model::id::EntryId;
use portcullis_model::report::Report;
use portcullis_venues::okx::{RECEIVE_WINDOW_US, REFUSALS};
use portcullis_venues::signature::Credential;
use portcullis_venues::{Asked, Catalog, Signature, VerifyKey};
use proptest::prelude::*;
use serde_json::Value;
use std::io::Write;
use std::process::{Command, Stdio};

mod okx {
    use super::suite::{Sample, Understood};
    use portcullis_model::action::Stamp;
    use portcullis_model::id::Timestamp;
    use portcullis_model::wire::Header;
    use portcullis_venues::signature::Credential;
    use portcullis_venues::{Actions, Catalog, DecodeError, RawRequest, Signature};

    pub const STAMP: Stamp = Stamp {
        venue_time_ms: 1_790_000_000_999,
        receive_window_ms: 1000,
        at: Timestamp(0),
    };

    pub struct Sent {
        pub method: String,
        pub target: String,
        pub headers: Vec<(String, String)>,
        pub body: Vec<u8>,
    }

    impl Sent {
        pub fn with<T>(&self, then: impl FnOnce(&RawRequest<'_>) -> T) -> T {
            let headers: Vec<Header> = self
                .headers
                .iter()
                .map(|(name, value)| Header {
                    name,
                    value: value.as_bytes().into(),
                })
                .collect();
            then(&RawRequest {
                method: &self.method,
                host: "www.okx.com",
                target: self.target.as_bytes(),
                headers: &headers,
                body: &self.body,
            })
        }

        pub fn decode(&self) -> Result<Actions, DecodeError> {
            self.with(|raw| Catalog::builtin().unwrap().decode(raw))
        }
    }

    /// With what a client puts beside it. `bare`: nothing but what the sample has.
    pub fn sent(sample: &Sample) -> Sent {
        let mut headers: Vec<(String, String)> = sample
            .headers
            .iter()
            .map(|[n, v]| (n.clone(), v.clone()))
            .collect();
        for (name, value) in [
            ("OK-ACCESS-KEY", "c0ffee00-0000-4000-8000-00000000beef"),
            (
                "OK-ACCESS-SIGN",
                "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
            ),
            ("OK-ACCESS-TIMESTAMP", "2026-09-21T14:13:20.123Z"),
            ("OK-ACCESS-PASSPHRASE", "pc-pass-1"),
            ("Content-Type", "application/json"),
        ] {
            if !sample.bare && !headers.iter().any(|(n, _)| n == name) {
                headers.push((name.to_owned(), value.to_owned()));
            }
        }
        Sent {
            method: sample.method.clone(),
            target: sample.target.clone(),
            headers,
            body: sample.body.clone().into_bytes(),
        }
    }

    pub fn rebuilt(actions: &Actions) -> (Sent, String) {
        let unsigned = Catalog::builtin().unwrap().prepare(actions, STAMP).unwrap();
        let credential = Credential {
            api_key: "RealKey",
            passphrase: Some("real passphrase"),
        };
        let ready = unsigned.finish(credential, &Signature::HmacSha256([7; 32]));
        let what = if ready.body.is_empty() {
            ready.target.clone()
        } else {
            ready.body.clone()
        };
        let sent = Sent {
            method: ready.method.to_owned(),
            target: ready.target,
            headers: ready
                .headers
                .into_iter()
                .map(|(n, v)| (n.to_owned(), v))
                .collect(),
            body: ready.body.into_bytes(),
        };
        (sent, what)
    }

    pub fn decode(sample: &Sample) -> Result<Understood, String> {
        let code = |e: DecodeError| format!("{}: {e}", e.code());
        let actions = sent(sample).decode().map_err(code)?;
        let (again, what) = rebuilt(&actions);
        let again = again.decode().map_err(|e| format!("rebuilt: {e}"))?;
        Ok(Understood {
            actions: serde_json::to_value(&actions.list).unwrap(),
            sent: what,
            again: serde_json::to_value(&again.list).unwrap(),
        })
    }

    pub fn base64(text: &str) -> Vec<u8> {
        let digit = |b: u8| match b {
            b'A'..=b'Z' => b - b'A',
            b'a'..=b'z' => b - b'a' + 26,
            b'0'..=b'9' => b - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            other => panic!("{other}"),
        };
        let mut out = Vec::new();
        let (mut bits, mut count) = (0u32, 0);
        for b in text.bytes().filter(|b| *b != b'=') {
            bits = bits << 6 | u32::from(digit(b));
            count += 6;
            if count >= 8 {
                count -= 8;
                out.push((bits >> count) as u8);
                bits &= (1 << count) - 1;
            }
        }
        out
    }
}

fn file(name: &str) -> Vec<Value> {
    serde_json::from_str(&suite::file("okx", name)).unwrap()
}

fn capture(capture: &Value) -> Sent {
    let text = |v: &Value| v.as_str().unwrap().to_owned();
    Sent {
        method: text(&capture["method"]),
        target: text(&capture["target"]),
        headers: capture["headers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|h| (text(&h[0]), text(&h[1])))
            .collect(),
        body: base64(capture["body_b64"].as_str().unwrap()),
    }
}

fn label(capture: &Value) -> String {
    format!("{} {}", capture["client"], capture["label"])
}

fn key(capture: &Value) -> VerifyKey {
    VerifyKey::hmac(
        capture["credentials"]["secret"]
            .as_str()
            .unwrap()
            .as_bytes(),
    )
}

/// In one word each.
fn kinds(list: &[Action]) -> String {
    let names: Vec<&str> = list.iter().map(|action| action.kind().name()).collect();
    names.join(" ")
}

/// What a captured request asks, where that is not what its path says.
fn expected(path: &str, label: &str) -> &'static str {
    match (path, label) {
        (_, "swap post_only with exits" | "swap with exits") => "PlaceOrder PlaceOrder PlaceOrder",
        (_, "batch" | "oco") => "PlaceOrder PlaceOrder",
        (_, "cancel several" | "cancel several symbols" | "batch cancel") => {
            "CancelOrder CancelOrder"
        }
        (_, "amend several") => "AmendOrder AmendOrder",
        (_, "to another user") => "TransferOut",
        (_, "transfer to a sub-account" | "sub-account transfer") => "TransferOwn",
        (_, "borrow") => "Borrow",
        ("/api/v5/trade/order" | "/api/v5/trade/order-algo", "order") => "Read",
        ("/api/v5/account/set-leverage" | "/api/v5/account/set-position-mode", _)
        | ("/api/v5/account/set-account-level" | "/api/v5/account/position/margin-balance", _) => {
            "Configure"
        }
        (
            "/api/v5/trade/order"
            | "/api/v5/trade/batch-orders"
            | "/api/v5/trade/order-algo"
            | "/api/v5/trade/close-position",
            _,
        ) => "PlaceOrder",
        (
            "/api/v5/trade/cancel-order"
            | "/api/v5/trade/cancel-batch-orders"
            | "/api/v5/trade/cancel-algos",
            _,
        ) => "CancelOrder",
        ("/api/v5/trade/amend-order" | "/api/v5/trade/amend-algos", _) => "AmendOrder",
        ("/api/v5/trade/cancel-all-after", _) => "DeadMan",
        (path, _) if path.starts_with("/api/v5/asset/convert/") => "Convert",
        ("/api/v5/trade/easy-convert", _) => "Convert",
        ("/api/v5/asset/withdrawal", _) => "Withdraw",
        ("/api/v5/asset/transfer", _) => "TransferInside",
        ("/api/v5/asset/deposit-address", _) => "DepositAddress",
        (path, _) if path.starts_with("/api/v5/market/") || path.starts_with("/api/v5/public/") => {
            "Public"
        }
        _ => "Read",
    }
}

#[test]
fn every_captured_request_verifies_decodes_and_is_rebuilt() {
    let venue = Catalog::builtin().unwrap();
    let captures = file("captures.json");
    assert!(captures.len() >= 107);
    let secret = b"the real secret";
    for capture_of in &captures {
        let label = label(capture_of);
        let sent = capture(capture_of);
        let actions = sent.with(|raw| {
            let presented = venue
                .present(raw)
                .unwrap_or_else(|e| panic!("{label}: {e}"));
            if !presented.is_public() {
                assert_eq!(
                    presented.timestamp_us,
                    Some(1_790_000_000_123_000),
                    "{label}"
                );
                presented
                    .verify(&key(capture_of))
                    .unwrap_or_else(|e| panic!("{label}: {e}"));
            }
            presented.decode(None)
        });
        // It has a field of no meaning, made to hold every special character: signed right, and not understood.
        if capture_of["label"] == "query with special" {
            assert_eq!(actions.unwrap_err().code(), "field-unknown", "{label}");
            continue;
        }
        let actions = actions.unwrap_or_else(|e| panic!("{label}: {e}"));
        let path = sent.target.split('?').next().unwrap();
        assert_eq!(
            kinds(&actions.list),
            expected(path, capture_of["label"].as_str().unwrap()),
            "{label}: {:?}",
            actions.list
        );
        let unsigned = venue.prepare(&actions, okx::STAMP).unwrap();
        let tag = hmac::sign(
            &hmac::Key::new(hmac::HMAC_SHA256, secret),
            &unsigned.message("TheRealKey"),
        );
        let credential = Credential {
            api_key: "TheRealKey",
            passphrase: Some("the real passphrase"),
        };
        let is_public = unsigned.is_public;
        let signature = Signature::HmacSha256(tag.as_ref().try_into().unwrap());
        let ready = unsigned.finish(credential, &signature);
        let headers: Vec<(String, String)> = ready
            .headers
            .iter()
            .map(|(n, v)| ((*n).to_owned(), v.clone()))
            .collect();
        let all = format!("{} {} {headers:?}", ready.target, ready.body);
        for foreign in ["PcVirtKey", "c0ffee00", "pcvs-", "PCVS", "pc-pass"] {
            assert!(
                !all.contains(foreign),
                "{label}: something of the program's goes out: {all}"
            );
        }
        assert_eq!(all.contains("the real passphrase"), !is_public, "{label}");
        let rebuilt = Sent {
            method: ready.method.to_owned(),
            target: ready.target,
            headers,
            body: ready.body.into_bytes(),
        };
        rebuilt.with(|raw| {
            let presented = venue
                .present(raw)
                .unwrap_or_else(|e| panic!("{label} rebuilt: {e}"));
            if !is_public {
                presented
                    .verify(&VerifyKey::hmac(secret))
                    .unwrap_or_else(|e| panic!("{label} rebuilt: {e}"));
            }
            let again = presented
                .decode(None)
                .unwrap_or_else(|e| panic!("{label} rebuilt: {e}"));
            assert_eq!(again.list, actions.list, "{label}");
        });
    }
}

#[test]
fn a_changed_byte_never_verifies() {
    let venue = Catalog::builtin().unwrap();
    for capture_of in &file("captures.json") {
        let key = key(capture_of);
        let mut sent = capture(capture_of);
        let verifies = |sent: &Sent| {
            sent.with(|raw| match venue.present(raw) {
                Ok(presented) if !presented.is_public() => presented.verify(&key).is_ok(),
                _ => false,
            })
        };
        for at in 0..sent.body.len() {
            sent.body[at] ^= 1;
            assert!(!verifies(&sent), "{}: byte {at}", label(capture_of));
            sent.body[at] ^= 1;
        }
        for other in ["GET", "POST"] {
            let mut changed = capture(capture_of);
            if changed.method != other {
                changed.method = other.to_owned();
                assert!(!verifies(&changed), "{}: {other}", label(capture_of));
            }
        }
        let mut longer = capture(capture_of);
        longer.target.push_str(if longer.target.contains('?') {
            "&limit=1"
        } else {
            "?limit=1"
        });
        assert!(!verifies(&longer), "{}", label(capture_of));
        for header in ["OK-ACCESS-TIMESTAMP", "OK-ACCESS-SIGN"] {
            let mut changed = capture(capture_of);
            for (_, value) in changed
                .headers
                .iter_mut()
                .filter(|(n, _)| n.eq_ignore_ascii_case(header))
            {
                let first = if header.ends_with("SIGN") {
                    "A"
                } else {
                    "2026-09-21T14:13:20.124Z"
                };
                value.replace_range(..first.len(), first);
            }
            if changed.headers != capture(capture_of).headers {
                assert!(!verifies(&changed), "{}: {header}", label(capture_of));
            }
        }
    }
}

#[test]
fn a_third_partys_vector_is_the_scheme() {
    let mut seen = 0;
    for vector in file("published.json") {
        let secret = vector["inputs"]["secret"].as_str().unwrap();
        let payload = vector["inputs"]["payload"].as_str().unwrap();
        let (time, rest) = payload.split_at(24);
        let (method, target) = rest.split_at(3);
        let sent = Sent {
            method: method.to_owned(),
            target: target.to_owned(),
            headers: vec![
                ("OK-ACCESS-KEY".into(), "any".into()),
                ("OK-ACCESS-PASSPHRASE".into(), "any".into()),
                ("OK-ACCESS-TIMESTAMP".into(), time.into()),
                (
                    "OK-ACCESS-SIGN".into(),
                    vector["expected"].as_str().unwrap().into(),
                ),
            ],
            body: Vec::new(),
        };
        sent.with(|raw| {
            let presented = Catalog::builtin().unwrap().present(raw).unwrap();
            presented
                .verify(&VerifyKey::hmac(secret.as_bytes()))
                .unwrap();
            assert_eq!(presented.decode(None).unwrap().list.len(), 1);
        });
        seen += 1;
    }
    assert_eq!(seen, 1);
}

/// An order on the wire, its headers in question.
fn order() -> Sent {
    let all = file("captures.json");
    capture(all.iter().find(|c| c["label"] == "spot limit").unwrap())
}

fn refused(sent: &Sent) -> &'static str {
    match sent.decode() {
        Ok(actions) => panic!("passes as {:?}", actions.list),
        Err(refusal) => refusal.code(),
    }
}

#[test]
fn headers_stand_once_and_in_their_form() {
    for name in [
        "OK-ACCESS-KEY",
        "OK-ACCESS-SIGN",
        "OK-ACCESS-TIMESTAMP",
        "OK-ACCESS-PASSPHRASE",
        "Content-Type",
    ] {
        let mut twice = order();
        let at = twice.headers.iter().position(|(n, _)| n == name).unwrap();
        let (_, value) = twice.headers[at].clone();
        twice.headers.push((name.to_lowercase(), value));
        assert_eq!(refused(&twice), "header-repeated", "{name}");
        let mut without = order();
        without.headers.remove(at);
        let expected = match name {
            "OK-ACCESS-KEY" => "key-missing",
            "OK-ACCESS-SIGN" => "signature-missing",
            "OK-ACCESS-TIMESTAMP" => "timestamp-missing",
            "OK-ACCESS-PASSPHRASE" => "header",
            _ => "content-type",
        };
        assert_eq!(refused(&without), expected, "{name}");
    }
    for (name, value, expected) in [
        ("OK-ACCESS-KEY", "", "key-malformed"),
        ("OK-ACCESS-KEY", "a b", "key-malformed"),
        ("OK-ACCESS-PASSPHRASE", "", "header"),
        ("OK-ACCESS-PASSPHRASE", "a\tb", "header"),
        ("OK-ACCESS-TIMESTAMP", "1790000000123", "timestamp"),
        ("OK-ACCESS-TIMESTAMP", "1790000000.123", "timestamp"),
        ("OK-ACCESS-TIMESTAMP", "2026-09-21T14:13:20Z", "timestamp"),
        (
            "OK-ACCESS-TIMESTAMP",
            "2026-09-21T14:13:20.123+00:00",
            "timestamp",
        ),
        ("x-simulated-trading", "1", "header"),
        ("x-simulated-trading", "", "header"),
        ("X-Simulated-Trading", "true", "header"),
        ("Content-Type", "text/plain", "content-type"),
        (
            "Content-Type",
            "application/json; charset=utf-16",
            "content-type",
        ),
        (
            "Content-Type",
            "application/x-www-form-urlencoded",
            "content-type",
        ),
        ("Content-Encoding", "gzip", "header"),
        ("X-HTTP-Method-Override", "GET", "header"),
        ("expTime", "1790000000123", "receive-window"),
        ("expTime", "1790000000", "receive-window"),
        ("expTime", "soon", "receive-window"),
    ] {
        let mut sent = order();
        sent.headers.retain(|(n, _)| !n.eq_ignore_ascii_case(name));
        sent.headers.push((name.to_owned(), value.to_owned()));
        assert_eq!(refused(&sent), expected, "{name}: {value}");
    }
    for (name, value) in [
        ("x-simulated-trading", "0"),
        ("OK-ACCESS-PASSPHRASE", "something else entirely"),
        ("Content-Type", "application/json; charset=utf-8"),
        ("expTime", "1790000001123"),
    ] {
        let mut sent = order();
        sent.headers.retain(|(n, _)| !n.eq_ignore_ascii_case(name));
        sent.headers.push((name.to_owned(), value.to_owned()));
        sent.decode().unwrap_or_else(|e| panic!("{name}: {e}"));
    }
}

#[test]
fn a_program_may_name_a_shorter_deadline_than_the_venues() {
    let venue = Catalog::builtin().unwrap();
    for (until, expected) in [
        (None, RECEIVE_WINDOW_US),
        (Some("1790000000124"), 1_000),
        (Some("1790000001123"), 1_000_000),
        (Some("1800000000000"), RECEIVE_WINDOW_US),
    ] {
        let mut sent = order();
        if let Some(until) = until {
            sent.headers.push(("expTime".into(), until.into()));
        }
        sent.with(|raw| {
            assert_eq!(
                venue.present(raw).unwrap().receive_window_us,
                expected,
                "{until:?}"
            );
        });
    }
    // The gate's own goes out with orders and amendments, and with nothing else.
    for (label, expected) in [
        ("spot limit", true),
        ("amend several", true),
        ("cancel", false),
        ("balance", false),
    ] {
        let all = file("captures.json");
        let sent = capture(all.iter().find(|c| c["label"] == label).unwrap());
        let (rebuilt, _) = okx::rebuilt(&sent.decode().unwrap());
        let until = rebuilt.headers.iter().find(|(n, _)| n == "exptime");
        assert_eq!(
            until.map(|(_, v)| &**v),
            expected.then_some("1790000001999"),
            "{label}"
        );
        assert!(
            !rebuilt
                .headers
                .iter()
                .any(|(n, _)| n == "x-simulated-trading")
        );
    }
}

#[test]
fn a_body_is_read_in_one_way_only() {
    let mut get = order();
    get.method = "GET".into();
    get.target = "/api/v5/trade/order?instId=BTC-USDT&ordId=1".into();
    assert_eq!(refused(&get), "body-not-taken");
    for target in ["/api/v5/trade/order?tag=a", "/api/v5/trade/order?"] {
        let mut query = order();
        query.target = target.into();
        assert_eq!(refused(&query), "encoding", "{target}");
    }
    let item =
        r#"{"instId":"BTC-USDT","tdMode":"cash","side":"buy","ordType":"limit","sz":"1","px":"2"}"#;
    let batch = |items: usize| format!("[{}]", vec![item; items].join(","));
    for (target, body, expected) in [
        ("/api/v5/trade/order", item.to_owned(), ""),
        ("/api/v5/trade/batch-orders", batch(1), ""),
        ("/api/v5/trade/batch-orders", batch(20), ""),
        // The venue takes one order for a list of it.
        ("/api/v5/trade/batch-orders", item.to_owned(), ""),
        ("/api/v5/trade/batch-orders", batch(21), "field-value"),
        ("/api/v5/trade/batch-orders", "[]".into(), "field-value"),
        ("/api/v5/trade/batch-orders", "[1]".into(), "encoding"),
        ("/api/v5/trade/batch-orders", "[null]".into(), "encoding"),
        (
            "/api/v5/trade/batch-orders",
            format!("[{item},[]]"),
            "encoding",
        ),
        (
            "/api/v5/trade/batch-orders",
            format!("[[{item}]]"),
            "encoding",
        ),
        (
            "/api/v5/trade/batch-orders",
            format!("[{item},{{}}]"),
            "field-missing",
        ),
        ("/api/v5/trade/order", batch(1), "field-value"),
        ("/api/v5/trade/order", format!("{item} "), ""),
        ("/api/v5/trade/order", format!("{item}x"), "encoding"),
        ("/api/v5/trade/order", format!("{item}{item}"), "encoding"),
        ("/api/v5/trade/order", format!("{item}\0"), "encoding"),
        ("/api/v5/trade/order", "".into(), "field-missing"),
        ("/api/v5/trade/order", "{}".into(), "field-missing"),
        ("/api/v5/trade/order", "null".into(), "encoding"),
        ("/api/v5/trade/order", "\"x\"".into(), "encoding"),
        (
            "/api/v5/trade/order",
            item.replace("cash", "\u{7f}"),
            "encoding",
        ),
        (
            "/api/v5/trade/order",
            item.replace("}", r#","sz":"1"}"#),
            "field-repeated",
        ),
        (
            "/api/v5/trade/order",
            item.replace("}", r#","s\u007a":"1"}"#),
            "field-repeated",
        ),
        (
            "/api/v5/trade/order",
            item.replace("}", r#","SZ":"1"}"#),
            "field-unknown",
        ),
        (
            "/api/v5/trade/order",
            item.replace("}", r#","autoCxl":"x"}"#),
            "field-unknown",
        ),
        (
            "/api/v5/trade/order",
            item.replace("}", r#","nested":{"sz":"1"}}"#),
            "field-unknown",
        ),
        (
            "/api/v5/trade/order",
            item.replace("}", r#","attachAlgoOrds":{}}"#),
            "field-value",
        ),
        (
            "/api/v5/trade/order",
            item.replace("}", r#","attachAlgoOrds":"[]"}"#),
            "field-value",
        ),
        (
            "/api/v5/trade/order",
            item.replace("}", r#","attachAlgoOrds":[{}]}"#),
            "field-missing",
        ),
        (
            "/api/v5/trade/order",
            item.replace(
                "}",
                r#","attachAlgoOrds":[{"slTriggerPx":"1","slOrdPx":"-1","x":"1"}]}"#,
            ),
            "field-unknown",
        ),
        // Empty ones are none, as the venue has it and python-okx sends them.
        (
            "/api/v5/trade/order",
            item.replace("}", r#","attachAlgoOrds":[]}"#),
            "",
        ),
        (
            "/api/v5/trade/order",
            item.replace("}", r#","attachAlgoOrds":null,"pxUsd":""}"#),
            "",
        ),
    ] {
        let mut sent = order();
        sent.target = target.into();
        sent.body = body.clone().into_bytes();
        match sent.decode() {
            Ok(_) => assert_eq!(expected, "", "{target} {body}"),
            Err(refusal) => assert_eq!(refusal.code(), expected, "{target} {body}: {refusal}"),
        }
    }
}

#[test]
fn an_order_without_an_id_gets_one_that_the_venue_takes() {
    let venue = Catalog::builtin().unwrap();
    let all = file("captures.json");
    let sent = capture(
        all.iter()
            .find(|c| c["label"] == "batch" && c["client"] == "python-okx 0.4.4")
            .unwrap(),
    );
    let actions = sent.with(|raw| venue.present(raw).unwrap().decode(Some("pcfft2")).unwrap());
    let ids: Vec<String> = actions
        .list
        .iter()
        .map(|action| match action {
            Action::PlaceOrder(order) => order.client_order_id.clone().unwrap().to_string(),
            _ => panic!("{action:?}"),
        })
        .collect();
    assert_eq!(ids, ["pcfft2n0", "pcb2"]);
    // So does what is attached to it.
    let sent = capture(
        all.iter()
            .find(|c| c["label"] == "swap with exits")
            .unwrap(),
    );
    let actions = sent.with(|raw| venue.present(raw).unwrap().decode(Some("pcfft2")).unwrap());
    let exits: Vec<String> = actions
        .list
        .iter()
        .filter_map(|action| match action {
            Action::PlaceOrder(order) => order.list_client_order_id.as_ref(),
            _ => None,
        })
        .map(ToString::to_string)
        .collect();
    assert_eq!(exits, ["pcfft2n1", "pcfft2n1"]);
    let (rebuilt, body) = okx::rebuilt(&actions);
    assert!(body.contains(r#""attachAlgoClOrdId":"pcfft2n1""#), "{body}");
    assert_eq!(rebuilt.decode().unwrap().list, actions.list);
}

#[test]
fn the_documented_table_is_the_codes() {
    let text = std::fs::read_to_string(format!(
        "{}/../../docs/spec/refusals.md",
        env!("CARGO_MANIFEST_DIR")
    ))
    .unwrap();
    let (_, text) = text.split_once("### OKX").expect("a part about OKX");
    for row in REFUSALS {
        let line = text
            .lines()
            .find(|l| l.starts_with(&format!("| {:?} |", row.class)))
            .unwrap_or_else(|| panic!("no row for {:?}", row.class));
        let rest = format!("| {} | {} | `{}` |", row.status, row.code, row.ccxt);
        assert!(line.contains(&rest), "{line}\nshould have\n{rest}");
    }
}

/// Needs Python with CCXT, and python-okx where it is installed: `PORTCULLIS_TEST_PYTHON` names it, and where it is not set the
/// test says that it was left out (`./test` sets it).
#[test]
fn both_libraries_make_of_a_refusal_what_fits() {
    let Ok(python) = std::env::var("PORTCULLIS_TEST_PYTHON") else {
        eprintln!("left out: PORTCULLIS_TEST_PYTHON is not set");
        return;
    };
    let dialect = portcullis_venues::dialect::of("okx").unwrap();
    let rows: Vec<Value> = REFUSALS
        .iter()
        .map(|row| {
            let (status, body) = dialect.refuse(
                row.class,
                "order of 5 BTC is above the limit of 1 BTC",
                Some(EntryId(88_213)),
            );
            serde_json::json!({
                "name": row.name, "status": status, "code": row.code, "ccxt": row.ccxt,
                "body": String::from_utf8(body).unwrap(),
            })
        })
        .collect();
    let mut child = Command::new(python)
        .arg(format!(
            "{}/tests/okx_clients.py",
            env!("CARGO_MANIFEST_DIR")
        ))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let rows = serde_json::to_string(&rows).unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(rows.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    eprintln!("{said}");
}

/// What an answer says, a line a report.
fn summarized(call: &str, asked: &str, status: u16, answer: &str) -> Vec<String> {
    let venue = Catalog::builtin().unwrap();
    let (method, path) = call.split_once(' ').unwrap();
    let method = portcullis_venues::Method::from_name(method).unwrap();
    let (endpoint, _) = venue.find("www.okx.com", method, path).unwrap();
    let (target, body) = match asked.strip_prefix('?') {
        Some(_) => (format!("{path}{asked}"), ""),
        None => (path.to_owned(), asked),
    };
    let asked = Asked {
        target: target.as_bytes(),
        body: body.as_bytes(),
    };
    venue
        .summarize(endpoint, asked, status, answer.as_bytes())
        .iter()
        .map(|report| match report {
            Report::Order(o) => {
                let said = serde_json::to_value(o).unwrap();
                let mut parts: Vec<String> = said
                    .as_object()
                    .unwrap()
                    .iter()
                    .filter(|(_, v)| !v.is_null() && **v != Value::Bool(false))
                    .map(|(n, v)| format!("{n}={}", v.to_string().trim_matches('"')))
                    .collect();
                // Whoever else is built along decides the order of names in a JSON object.
                parts.sort();
                format!("order {}", parts.join(" "))
            }
            Report::Trade(t) => format!(
                "trade {} of {} {:?} {:?} {} {} at {} fee {} {}",
                t.trade_id,
                t.order_id,
                t.market,
                t.side,
                t.quantity,
                t.symbol,
                t.price,
                t.commission,
                t.commission_asset
            ),
            other => format!("{other:?}"),
        })
        .collect()
}

const ORDER: &str = r#"{"instId":"BTC-USDT","tdMode":"cash","side":"buy","ordType":"limit","sz":"1","px":"2","clOrdId":"a"}"#;
const SWAP: &str = r#"{"instId":"BTC-USDT-SWAP","tdMode":"cross","side":"buy","ordType":"limit","sz":"1","px":"2"}"#;

#[test]
fn acknowledgements_name_what_was_asked() {
    let ok = |id: &str, client: &str| {
        format!(
            r#"{{"ordId":"{id}","clOrdId":"{client}","tag":"","ts":"1695190491421","sCode":"0","sMsg":""}}"#
        )
    };
    let no = |code: &str| {
        format!(r#"{{"ordId":"","clOrdId":"","tag":"","sCode":"{code}","sMsg":"no"}}"#)
    };
    let answer = |code: &str, items: &[String]| {
        format!(
            r#"{{"code":"{code}","msg":"","data":[{}],"inTime":"1","outTime":"2"}}"#,
            items.join(",")
        )
    };
    let batch = format!("[{ORDER},{SWAP}]");
    let spot = "order client_order_id=a market=spot order_id=1 status=open symbol=BTC-USDT time_ms=1695190491421";
    let swap = "order market=usd_futures order_id=2 status=open symbol=BTC-USDT-SWAP time_ms=1695190491421";
    for (call, asked, reply, expected) in [
        ("POST /api/v5/trade/order", ORDER, answer("0", &[ok("1", "a")]), vec![spot]),
        ("POST /api/v5/trade/batch-orders", &*batch, answer("0", &[ok("1", "a"), ok("2", "")]), vec![spot, swap]),
        // Some of a batch.
        (
            "POST /api/v5/trade/batch-orders",
            &batch,
            answer("2", &[ok("1", "a"), no("51008")]),
            vec![spot, "ActionRefused { position: 1, code: 51008 }"],
        ),
        (
            "POST /api/v5/trade/batch-orders",
            &batch,
            answer("1", &[no("51008"), no("51020")]),
            vec!["ActionRefused { position: 0, code: 51008 }", "ActionRefused { position: 1, code: 51020 }"],
        ),
        ("POST /api/v5/trade/order", ORDER, answer("1", &[no("51008")]), vec!["Refused { code: 51008 }"]),
        ("POST /api/v5/trade/order", ORDER, answer("50011", &[]), vec!["Refused { code: 50011 }"]),
        // What the venue does not know itself is no refusal.
        ("POST /api/v5/trade/order", ORDER, answer("50004", &[]), vec!["Unreadable"]),
        ("POST /api/v5/trade/order", ORDER, answer("50026", &[]), vec!["Unreadable"]),
        ("POST /api/v5/trade/order", ORDER, answer("1", &[no("50004")]), vec!["Unreadable"]),
        (
            "POST /api/v5/trade/batch-orders",
            &batch,
            answer("2", &[ok("1", "a"), no("50013")]),
            vec![spot, "Unreadable"],
        ),
        // Not one item for each that was asked: which is which is not known.
        ("POST /api/v5/trade/batch-orders", &batch, answer("0", &[ok("1", "a")]), vec!["Unreadable"]),
        ("POST /api/v5/trade/order", "", answer("0", &[ok("1", "a")]), vec!["Unreadable"]),
        (
            "POST /api/v5/trade/cancel-order",
            r#"{"instId":"BTC-USDT","ordId":"1"}"#,
            answer("0", &[ok("1", "a")]),
            vec!["order client_order_id=a market=spot order_id=1 status=unknown symbol=BTC-USDT time_ms=1695190491421"],
        ),
        (
            "POST /api/v5/trade/cancel-order",
            r#"{"instId":"BTC-USDT","ordId":"1"}"#,
            answer("1", &[no("51400")]),
            vec!["Refused { code: 51400 }"],
        ),
        (
            "POST /api/v5/trade/order-algo",
            &SWAP.replace("limit", "trigger"),
            r#"{"code":"0","data":[{"algoClOrdId":"o1","algoId":"7","clOrdId":"","sCode":"0","sMsg":"","tag":""}],"msg":""}"#.into(),
            vec!["order algo=true client_order_id=o1 market=usd_futures order_id=7 status=open symbol=BTC-USDT-SWAP"],
        ),
        (
            "POST /api/v5/trade/close-position",
            r#"{"instId":"BTC-USDT-SWAP","mgnMode":"cross","posSide":"long"}"#,
            r#"{"code":"0","data":[{"clOrdId":"","instId":"BTC-USDT-SWAP","posSide":"long","tag":""}],"msg":""}"#.into(),
            vec![],
        ),
    ] {
        assert_eq!(summarized(call, asked, 200, &reply), expected, "{call} {reply}");
    }
    for (status, body, expected) in [
        (429, "", "Refused { code: 429 }"),
        (403, "<html>", "Refused { code: 403 }"),
        (502, "<html>", "Unreadable"),
        (504, r#"{"code":"50001","msg":"","data":[]}"#, "Unreadable"),
        (200, "", "Unreadable"),
        (200, r#"{"code":0}"#, "Unreadable"),
        (200, r#"{"code":"0"}"#, "Unreadable"),
        (500, r#"{"code":"0","data":[]}"#, "Unreadable"),
    ] {
        assert_eq!(
            summarized("POST /api/v5/trade/order", ORDER, status, body),
            [expected],
            "{status} {body}"
        );
    }
}

#[test]
fn orders_and_fills_are_read_whole() {
    let order = |more: &str| {
        format!(
            r#"{{"code":"0","msg":"","data":[{{"accFillSz":"0.5","algoClOrdId":"","algoId":"","avgPx":"51858","cTime":"1","clOrdId":"a","fee":"-1","instId":"BTC-USDT","instType":"SPOT","ordId":"68","ordType":"limit","px":"51900","side":"buy","state":"partially_filled","sz":"1","tgtCcy":"","uTime":"2","future":[1]{more}}}]}}"#
        )
    };
    let one = "GET /api/v5/trade/order";
    let asked = "?instId=BTC-USDT&ordId=68";
    assert_eq!(
        summarized(one, asked, 200, &order("")),
        [
            "order average_price=51858 client_order_id=a executed_quantity=0.5 market=spot order_id=68 order_type=limit original_quantity=1 price=51900 side=buy status=open symbol=BTC-USDT time_in_force=gtc time_ms=2"
        ]
    );
    // What it was to spend is no quantity.
    let spent = order("")
        .replace(
            r#""ordType":"limit","px":"51900""#,
            r#""ordType":"market","px":"""#,
        )
        .replace(r#""tgtCcy":"""#, r#""tgtCcy":"quote_ccy""#);
    assert_eq!(
        summarized(one, asked, 200, &spent),
        [
            "order average_price=51858 client_order_id=a executed_quantity=0.5 market=spot order_id=68 order_type=market side=buy status=open symbol=BTC-USDT time_ms=2"
        ]
    );
    for (word, status) in [
        ("live", "open"),
        ("filled", "filled"),
        ("canceled", "cancelled"),
        ("mmp_canceled", "cancelled"),
        ("something new", "unknown"),
    ] {
        let said = summarized(
            one,
            asked,
            200,
            &order("").replace("partially_filled", word),
        );
        assert!(said[0].contains(&format!("status={status} ")), "{said:?}");
    }
    assert_eq!(
        summarized(
            one,
            asked,
            200,
            r#"{"code":"51603","msg":"Order does not exist","data":[]}"#
        ),
        ["NoSuchOrder"]
    );
    // A conditional order that became another.
    assert_eq!(
        summarized(
            "GET /api/v5/trade/order-algo",
            "?algoId=7",
            200,
            r#"{"code":"0","msg":"","data":[{"algoId":"7","algoClOrdId":"o1","instId":"BTC-USD-SWAP","instType":"SWAP","ordId":"68","ordType":"trigger","side":"sell","state":"effective","sz":"3"}]}"#
        ),
        [
            "order algo=true became=68 client_order_id=o1 market=coin_futures order_id=7 original_quantity=3 side=sell status=unknown symbol=BTC-USD-SWAP"
        ]
    );
    assert_eq!(
        summarized(
            "GET /api/v5/trade/fills",
            "?instType=SWAP",
            200,
            r#"{"code":"0","msg":"","data":[
                {"instType":"SWAP","instId":"BTC-USDT-SWAP","tradeId":"5","ordId":"68","clOrdId":"","fillPx":"60000","fillSz":"2","side":"sell","posSide":"net","execType":"M","feeCcy":"USDT","fee":"-0.24","ts":"9","fillTime":"8"},
                {"instType":"MARGIN","instId":"BTC-USDT","tradeId":"6","ordId":"69","fillPx":"60000","fillSz":"0.1","side":"buy","feeCcy":"USDT","fee":"0.01","ts":"9"}]}"#
        ),
        [
            "trade 5 of 68 UsdFutures Sell 2 BTC-USDT-SWAP at 60000 fee 0.24 USDT",
            "trade 6 of 69 Margin Buy 0.1 BTC-USDT at 60000 fee -0.01 USDT",
        ]
    );
}

#[test]
fn a_list_is_whole_only_if_nothing_narrowed_it() {
    let item = r#"{"accFillSz":"0","avgPx":"","clOrdId":"","instId":"BTC-USDT","instType":"SPOT","ordId":"68","ordType":"limit","px":"1","side":"buy","state":"live","sz":"1"}"#;
    let list = |items: usize| {
        format!(
            r#"{{"code":"0","msg":"","data":[{}]}}"#,
            vec![item; items].join(",")
        )
    };
    let whole = |asked: &str, items: usize| {
        let said = summarized("GET /api/v5/trade/orders-pending", asked, 200, &list(items));
        said.iter()
            .filter(|line| line.starts_with("OpenOrdersComplete"))
            .count()
    };
    for (asked, items, expected) in [
        ("?", 0, 5),
        ("?", 99, 5),
        ("?", 100, 0),
        ("?limit=10", 9, 5),
        ("?limit=10", 10, 0),
        ("?instId=BTC-USDT", 1, 2),
        ("?instId=BTC-USDT-SWAP", 0, 1),
        ("?instType=SPOT", 0, 0),
        ("?instId=BTC-USDT&after=1", 0, 0),
        ("?instId=BTC-USDT&state=live", 0, 0),
        ("?ordType=limit", 0, 0),
    ] {
        assert_eq!(whole(asked, items), expected, "{asked} {items}");
    }
}

#[test]
fn public_answers_are_prices_and_the_time() {
    assert_eq!(
        summarized(
            "GET /api/v5/market/tickers",
            "?instType=SWAP",
            200,
            r#"{"code":"0","msg":"","data":[{"instType":"SWAP","instId":"BTC-USD-SWAP","last":"60000.1"},{"instId":"X","last":"1"},{"instId":"BTC-USDT","last":""},{"instId":"ETH-USDT","last":"0"}]}"#
        ),
        [
            r#"Price { symbol: Symbol("BTC-USD-SWAP"), price: Price(60000100000000000000000), market: CoinFutures }"#
        ]
    );
    assert_eq!(
        summarized(
            "GET /api/v5/public/time",
            "?",
            200,
            r#"{"code":"0","msg":"","data":[{"ts":"1597026383085"}]}"#
        ),
        ["VenueTime { time_ms: 1597026383085 }"]
    );
}

#[test]
fn nothing_that_a_venue_says_panics() {
    let venue = Catalog::builtin().unwrap();
    let full = r#"{"code":"0","msg":"","data":[{"accFillSz":"0.5","avgPx":"1","clOrdId":"a","instId":"BTC-USDT","instType":"SPOT","ordId":"68","ordType":"limit","px":"1","side":"buy","state":"live","sz":"1","algoId":"1","tradeId":"1","fillPx":"1","fillSz":"1","fee":"-1","feeCcy":"A","last":"1","ts":"1","sCode":"0"}]}"#;
    for (endpoint, rule) in venue.endpoints() {
        if !rule.path.starts_with("/api/v5/")
            || rule.answer == portcullis_venues::catalog::Answer::Plain
        {
            continue;
        }
        for at in 0..full.len() {
            let mut bytes = full.as_bytes().to_vec();
            bytes[at] ^= 0x15;
            for body in [&full.as_bytes()[..at], &bytes] {
                let asked = Asked {
                    target: b"/?instId=%",
                    body: ORDER.as_bytes(),
                };
                let _ = venue.summarize(endpoint, asked, 200, body);
            }
        }
    }
}

#[test]
fn the_command_line_reads_what_clients_send() {
    let venue = Catalog::builtin().unwrap();
    let found =
        portcullis_venues::against(venue, "okx", &suite::file("okx", "captures.json")).unwrap();
    assert_eq!(
        (found.requests, found.understood, found.skipped),
        (107, 106, 0),
        "{:?}",
        found.lost
    );
    assert_eq!(found.lost[0].label, "query with special");
    for wanted in ["spot limit", "batch", "withdraw"] {
        let all = file("captures.json");
        let sent = capture(all.iter().find(|c| c["label"] == wanted).unwrap());
        let mut raw = format!("{} {} HTTP/1.1\r\n", sent.method, sent.target);
        for (name, value) in &sent.headers {
            raw.push_str(&format!("{name}: {value}\r\n"));
        }
        raw.push_str("\r\n");
        let raw = [raw.as_bytes(), &sent.body].concat();
        let (json, understood) = portcullis_venues::decode_json(venue, "okx", &raw);
        assert!(understood, "{wanted}: {json}");
        assert_eq!(json["venue"], "okx");
        let list = serde_json::to_value(sent.decode().unwrap().list).unwrap();
        assert_eq!(json["actions"], list, "{wanted}");
    }
}

/// Calls whose bodies hold every kind of value.
const CALLS: [(&str, &str); 9] = [
    ("/api/v5/trade/order", ORDER),
    (
        "/api/v5/trade/order",
        r#"{"instId":"BTC-USDT-SWAP","tdMode":"cross","side":"sell","posSide":"short","ordType":"limit","sz":"1","px":"2","attachAlgoOrds":[{"slTriggerPx":"3","slOrdPx":"-1"}]}"#,
    ),
    (
        "/api/v5/trade/order-algo",
        r#"{"instId":"BTC-USDT-SWAP","tdMode":"cross","side":"sell","ordType":"oco","sz":"1","tpTriggerPx":"5","tpOrdPx":"-1","slTriggerPx":"3","slOrdPx":"2.50"}"#,
    ),
    (
        "/api/v5/trade/amend-order",
        r#"{"instId":"BTC-USDT","ordId":"7","newSz":"1.50","newPx":"2"}"#,
    ),
    (
        "/api/v5/trade/cancel-order",
        r#"{"instId":"BTC-USDT","ordId":"7"}"#,
    ),
    (
        "/api/v5/asset/withdrawal",
        r#"{"ccy":"BTC","amt":"1","dest":"4","toAddr":"a b:1","chain":"BTC-Bitcoin","rcvrInfo":{"walletType":"private"}}"#,
    ),
    (
        "/api/v5/asset/transfer",
        r#"{"ccy":"BTC","amt":"1","type":"0","from":"6","to":"18"}"#,
    ),
    (
        "/api/v5/account/set-leverage",
        r#"{"instId":"BTC-USDT-SWAP","lever":"5","mgnMode":"cross"}"#,
    ),
    (
        "/api/v5/trade/easy-convert",
        r#"{"fromCcy":["ADA","USDC"],"toCcy":"OKB"}"#,
    ),
];

/// A JSON value as any other reader would compare it: numbers as what they are, truth as truth, nothing as nothing.
fn plain(value: &Value) -> Option<Value> {
    Some(match value {
        Value::Null => return None,
        Value::String(text) if text.is_empty() => return None,
        Value::Array(items) if items.is_empty() => return None,
        Value::Array(items) => items.iter().filter_map(plain).collect(),
        Value::Object(fields) => Value::Object(
            fields
                .iter()
                .filter_map(|(name, value)| Some((name.clone(), plain(value)?)))
                .collect(),
        ),
        Value::String(text) if text.eq_ignore_ascii_case("true") => Value::Bool(true),
        Value::String(text) if text.eq_ignore_ascii_case("false") => Value::Bool(false),
        Value::Number(number) => plain(&Value::String(number.to_string()))?,
        Value::String(text) if text.contains('.') && text.parse::<f64>().is_ok() => {
            Value::String(text.trim_end_matches('0').trim_end_matches('.').to_owned())
        }
        other => other.clone(),
    })
}

fn posted(path: &str, body: &str) -> Sent {
    Sent {
        target: path.to_owned(),
        body: body.as_bytes().to_vec(),
        ..order()
    }
}

/// What passes reaches the venue as it was said: no field more, none less, none other.
fn passes_as_said(path: &str, body: &str) {
    let Ok(actions) = posted(path, body).decode() else {
        return;
    };
    assert!(!actions.list.is_empty());
    let (again, sent) = okx::rebuilt(&actions);
    let said: Value = serde_json::from_str(body).unwrap();
    let sent: Value = serde_json::from_str(&sent).unwrap();
    assert_eq!(plain(&said), plain(&sent), "{body}");
    assert_eq!(again.decode().unwrap().list, actions.list, "{body}");
}

fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        "\"[0-9]{1,4}(\\.[0-9]{1,4})?\"",
        "[0-9]{1,4}(\\.[0-9]{1,4})?",
        "\"[a-zA-Z0-9 %:._-]{0,40}\"",
        "-?[0-9eE+.]{1,6}",
        Just("\"-1\"".to_owned()),
        Just("\"buy\"".to_owned()),
        Just("\"market\"".to_owned()),
        Just("\"cash\"".to_owned()),
        Just("\"BTC-USD-261225\"".to_owned()),
        Just("true".to_owned()),
        Just("null".to_owned()),
        Just("\"\"".to_owned()),
        Just("[]".to_owned()),
        Just("{}".to_owned()),
        Just("[{\"slTriggerPx\":\"3\",\"slOrdPx\":\"-1\"},{}]".to_owned()),
    ]
}

const NAMES: [&str; 26] = [
    "instId",
    "tdMode",
    "side",
    "posSide",
    "ordType",
    "sz",
    "px",
    "clOrdId",
    "tag",
    "reduceOnly",
    "tgtCcy",
    "ccy",
    "banAmend",
    "attachAlgoOrds",
    "slTriggerPx",
    "slOrdPx",
    "tpTriggerPx",
    "ordId",
    "newSz",
    "amt",
    "type",
    "dest",
    "toAddr",
    "subAcct",
    "lever",
    "fromCcy",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn what_passes_is_what_was_said(call in 0..CALLS.len(), changes in proptest::collection::vec((0..NAMES.len(), word()), 0..4)) {
        let (path, body) = CALLS[call];
        let mut fields: Vec<(String, String)> = serde_json::from_str::<serde_json::Map<String, Value>>(body)
            .unwrap()
            .into_iter()
            .map(|(name, value)| (name, value.to_string()))
            .collect();
        for (name, value) in changes {
            let name = NAMES[name];
            match fields.iter_mut().find(|(n, _)| n == name) {
                Some((_, old)) => *old = value,
                None => fields.push((name.to_owned(), value)),
            }
        }
        let parts: Vec<String> = fields.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        passes_as_said(path, &format!("{{{}}}", parts.join(",")));
    }

    #[test]
    fn no_bytes_panic(call in 0..CALLS.len(), at in 0usize..300, with in "[\\x00-\\x7f]{0,4}", cut in 0usize..4) {
        let (path, body) = CALLS[call];
        let at = at.min(body.len());
        let to = (at + cut).min(body.len());
        passes_as_said(path, &format!("{}{with}{}", &body[..at], &body[to..]));
    }

    #[test]
    fn a_signature_is_of_one_statement(call in 0..CALLS.len(), at in 0usize..300, with in "[ -~]{1,3}") {
        let (path, body) = CALLS[call];
        let secret = b"a secret";
        let time = "2026-09-21T14:13:20.123Z";
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), format!("{time}POST{path}{body}").as_bytes());
        let mut sent = posted(path, body);
        let at = at.min(body.len());
        let verifies = |sent: &Sent| sent.with(|raw| {
            Catalog::builtin().unwrap().present(raw).is_ok_and(|p| p.verify(&VerifyKey::hmac(secret)).is_ok())
        });
        sent.headers.retain(|(n, _)| n != "OK-ACCESS-SIGN");
        sent.headers.push(("OK-ACCESS-SIGN".to_owned(), to_base64(tag.as_ref())));
        prop_assert!(verifies(&sent));
        sent.body = format!("{}{with}{}", &body[..at], &body[at..]).into_bytes();
        prop_assert!(!verifies(&sent));
    }
}

fn to_base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let group = chunk
            .iter()
            .enumerate()
            .fold(0u32, |n, (i, b)| n | u32::from(*b) << (16 - 8 * i));
        for i in 0..4 {
            out.push(if i <= chunk.len() {
                ALPHABET[(group >> (18 - 6 * i) & 63) as usize] as char
            } else {
                '='
            });
        }
    }
    out
}
