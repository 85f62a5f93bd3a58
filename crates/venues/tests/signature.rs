//! Where a signature may stand, what it covers, and when a signature over decoded values is no longer clear.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests state what must hold"
)]

use aws_lc_rs::hmac;
use portcullis_model::wire::Header;
use portcullis_venues::RawRequest;
use portcullis_venues::{Catalog, VerifyKey};

const SECRET: &[u8] = b"pcvs-throwaway-not-a-real-secret";

fn tag(message: &str) -> String {
    hmac::sign(
        &hmac::Key::new(hmac::HMAC_SHA256, SECRET),
        message.as_bytes(),
    )
    .as_ref()
    .iter()
    .map(|b| format!("{b:02x}"))
    .collect()
}

/// The verified message, or the refusal's code.
fn verify(method: &str, target: &str, body: &str) -> Result<String, &'static str> {
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
        host: "api.binance.com",
        target: target.as_bytes(),
        headers: &headers,
        body: body.as_bytes(),
    };
    let presented = Catalog::builtin()
        .unwrap()
        .present(&raw)
        .map_err(|e| e.code())?;
    let message = presented
        .verify(&VerifyKey::hmac(SECRET))
        .map_err(|e| e.code())?;
    Ok(String::from_utf8(message.into_owned()).unwrap())
}

const WHOLE: &str = "symbol=BTCUSDT&orderId=1&timestamp=1790000000123";

#[test]
fn a_signature_may_stand_anywhere_once() {
    let t = tag(WHOLE);
    let path = "/api/v3/order";
    for (target, body) in [
        (format!("{path}?{WHOLE}&signature={t}"), String::new()),
        (format!("{path}?signature={t}&{WHOLE}"), String::new()),
        (
            format!("{path}?symbol=BTCUSDT&signature={t}&orderId=1&timestamp=1790000000123"),
            String::new(),
        ),
        (path.to_owned(), format!("{WHOLE}&signature={t}")),
        (path.to_owned(), format!("signature={t}&{WHOLE}")),
        (format!("{path}?signature={t}"), WHOLE.to_owned()),
        (format!("{path}?{WHOLE}"), format!("signature={t}")),
        (
            format!("{path}?{WHOLE}&signature={}", t.to_uppercase()),
            String::new(),
        ),
    ] {
        assert_eq!(
            verify("DELETE", &target, &body).as_deref(),
            Ok(WHOLE),
            "{target} {body}"
        );
    }
    // Query followed by body, without anything between.
    let joined = tag("symbol=BTCUSDTorderId=1&timestamp=1790000000123");
    assert!(
        verify(
            "DELETE",
            &format!("{path}?symbol=BTCUSDT"),
            &format!("orderId=1&timestamp=1790000000123&signature={joined}")
        )
        .is_ok()
    );
    for (target, body, code) in [
        (
            format!("{path}?symbol=BTCUSDT"),
            format!("orderId=1&timestamp=1790000000123&signature={t}"),
            "signature-wrong",
        ),
        (
            format!("{path}?{WHOLE}&signature={t}&signature={t}"),
            String::new(),
            "field-repeated",
        ),
        (
            format!("{path}?{WHOLE}&signature={t}"),
            format!("signature={t}"),
            "field-repeated",
        ),
        (
            format!("{path}?{WHOLE}&signature="),
            String::new(),
            "signature-malformed",
        ),
        (
            format!("{path}?{WHOLE}&signature={}", &t[1..]),
            String::new(),
            "signature-malformed",
        ),
        (
            format!("{path}?{WHOLE}&signature={t}0"),
            String::new(),
            "signature-malformed",
        ),
        (
            format!("{path}?{WHOLE}&signature=%"),
            String::new(),
            "signature-malformed",
        ),
        (
            format!("{path}?{WHOLE}&signature={}g", &t[1..]),
            String::new(),
            "signature-malformed",
        ),
        (
            format!("{path}?{WHOLE}&signature={}", tag("x")),
            String::new(),
            "signature-wrong",
        ),
        (
            format!("{path}?{WHOLE}&Signature={t}"),
            String::new(),
            "signature-missing",
        ),
        (
            format!("{path}?{WHOLE}"),
            String::new(),
            "signature-missing",
        ),
    ] {
        assert_eq!(
            verify("DELETE", &target, &body),
            Err(code),
            "{target} {body}"
        );
    }
}

/// Clients ask for a listen key with their API key alone: that a signature is missing would be no help.
#[test]
fn a_stream_key_is_refused_for_what_it_is() {
    for (method, path) in [
        ("POST", "/api/v3/userDataStream"),
        ("PUT", "/api/v3/userDataStream?listenKey=abc"),
        ("POST", "/sapi/v1/userDataStream"),
        ("POST", "/sapi/v1/margin/listen-key"),
    ] {
        assert_eq!(verify(method, path, ""), Err("secret-in-answer"), "{path}");
    }
}

/// node-binance-api sends an empty key with public calls: nobody looks at it there.
#[test]
fn a_public_call_may_carry_any_key() {
    let present = |target: &str, key: &str| {
        let headers: Vec<Header> = vec![Header {
            name: "x-mbx-apikey",
            value: key.as_bytes().into(),
        }];
        let raw = RawRequest {
            method: "GET",
            host: "api.binance.com",
            target: target.as_bytes(),
            headers: &headers,
            body: b"",
        };
        Catalog::builtin()
            .unwrap()
            .present(&raw)
            .map(|p| p.is_public())
            .map_err(|e| e.code())
    };
    let signed = format!(
        "/api/v3/account?timestamp=1790000000123&signature={}",
        tag("x")
    );
    for key in ["", "a b", "\u{fc}"] {
        assert_eq!(present("/api/v3/time", key), Ok(true), "{key}");
        assert_eq!(present(&signed, key), Err("key-malformed"), "{key}");
    }
}

#[test]
fn decoded_values_are_taken_where_they_are_clear() {
    let withdraw = |tail_sent: &str, signed: &str| {
        let head = "coin=USDT&amount=1&address=T&timestamp=1790000000123";
        let t = tag(&format!("{head}&addressTag={signed}"));
        verify(
            "POST",
            "/sapi/v1/capital/withdraw/apply",
            &format!("{head}&addressTag={tail_sent}&signature={t}"),
        )
        .map(|_| ())
    };
    assert_eq!(withdraw("memo+1", "memo 1"), Ok(()));
    assert_eq!(withdraw("memo%201", "memo 1"), Ok(()));
    assert_eq!(withdraw("memo%201", "memo%201"), Ok(()));
    assert_eq!(withdraw("%E5%B8%81", "币"), Ok(()));
    // The same message as sent would be another memo.
    for (sent, signed) in [
        ("a%2Bb", "a+b"),
        ("a%2520b", "a%20b"),
        ("a%26name%3Dx", "a&name=x"),
        ("a%3Db", "a=b"),
        ("a%23b", "a#b"),
        ("a%3Bb", "a;b"),
    ] {
        assert_eq!(withdraw(sent, signed), Err("signature-ambiguous"), "{sent}");
    }
    assert_eq!(withdraw("memo%202", "memo 1"), Err("signature-wrong"));
}
