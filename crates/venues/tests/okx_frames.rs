//! OKX's WebSockets: a login verifies and is signed anew, orders by frame ask what REST's would, an instrument's number is the
//! release's, and what the venue says there is read.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests state what must hold"
)]

use portcullis_model::action::{Action, Duty, MarketKind, Stamp};
use portcullis_model::id::Timestamp;
use portcullis_model::release::Files;
use portcullis_model::report::{OrderStatus, Report};
use portcullis_venues::signature::Credential;
use portcullis_venues::{
    Actions, Asked, Catalog, DecodeError, RawRequest, Signature, VerifyKey, dialect, summarize,
    summarize_event,
};
use std::sync::Arc;

const STAMP: Stamp = Stamp {
    venue_time_ms: 1_790_000_000_999,
    receive_window_ms: 1000,
    at: Timestamp(0),
};
/// Of CCXT Pro 4.5.90, with throwaway credentials and a clock held at 2026-09-21T14:13:20.123Z.
const SECRET: &[u8] = b"pcvs-throwaway-not-a-real-secret-0123456789abcdefghijklmnopqrstu";

fn catalog() -> Arc<Catalog> {
    let markets = r#"[
        {"symbol": "BTC-USDT", "base": "BTC", "quote": "USDT", "code": 10000},
        {"symbol": "BTC-USDT-SWAP", "base": "BTC", "quote": "USDT", "kind": "usd_futures", "contract_size": "0.01", "code": 20000},
        {"symbol": "ETH-USDT", "base": "ETH", "quote": "USDT"}
    ]"#;
    let files = Files::from([("markets/okx.json".to_owned(), markets.to_owned())]);
    Catalog::of_release(&files).unwrap()
}

fn with<T>(target: &str, body: &str, then: impl FnOnce(&RawRequest<'_>) -> T) -> T {
    then(&RawRequest {
        method: "WS",
        host: "ws.okx.com",
        target: target.as_bytes(),
        headers: &[],
        body: body.as_bytes(),
    })
}

fn decode(body: &str) -> Result<Actions, DecodeError> {
    with("/ws/v5/private", body, |raw| catalog().decode(raw))
}

fn sent(body: &str) -> String {
    let actions = decode(body).unwrap_or_else(|e| panic!("{body}: {e}"));
    let credential = Credential {
        api_key: "RealKey",
        passphrase: Some("the \"real\" passphrase"),
    };
    let unsigned = catalog().prepare(&actions, STAMP).unwrap();
    unsigned
        .finish(credential, &Signature::HmacSha256([7; 32]))
        .body
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for part in bytes.chunks(3) {
        let all =
            part.iter().fold(0_u32, |all, b| all << 8 | u32::from(*b)) << (8 * (3 - part.len()));
        for at in 0..4 {
            match at <= part.len() {
                true => out.push(char::from(LETTERS[(all >> (18 - 6 * at) & 63) as usize])),
                false => out.push('='),
            }
        }
    }
    out
}

fn refused(body: &str, code: &str) {
    let error = decode(body).expect_err(body);
    assert_eq!(error.code(), code, "{body}: {error}");
}

#[test]
fn a_login_of_ccxt_verifies_and_goes_out_as_the_real_keys() {
    let key = "PcVirtKeyHmac0000000000000000000000000000000000000000000000000001";
    let mac = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, SECRET);
    let tag = aws_lc_rs::hmac::sign(&mac, b"1790000000GET/users/self/verify");
    let sign = base64(tag.as_ref());
    // As a text (CCXT), or as a number (python-okx).
    for time in ["\"1790000000\"", "1790000000"] {
        let frame = format!(
            r#"{{"op":"login","args":[{{"apiKey":"{key}","passphrase":"pc-pass-1","timestamp":{time},"sign":"{sign}"}}]}}"#
        );
        with("/ws/v5/private", &frame, |raw| {
            let catalog = catalog();
            let presented = catalog.present(raw).unwrap();
            assert_eq!(presented.api_key, Some(key));
            assert_eq!(presented.timestamp_us, Some(1_790_000_000_000_000));
            assert!(presented.verify(&VerifyKey::hmac(SECRET)).is_ok());
            assert!(presented.verify(&VerifyKey::hmac(b"another")).is_err());
        });
        let out = sent(&frame);
        assert!(!out.contains("PcVirt") && !out.contains("pc-pass"), "{out}");
        let out: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(out["op"], "login");
        assert_eq!(out["args"][0]["apiKey"], "RealKey");
        assert_eq!(out["args"][0]["passphrase"], "the \"real\" passphrase");
        assert_eq!(out["args"][0]["timestamp"], "1790000000");
    }
    let unsigned = catalog().prepare(&decode(&format!(
        r#"{{"op":"login","args":[{{"apiKey":"{key}","passphrase":"p","timestamp":1790000000,"sign":"{sign}"}}]}}"#
    )).unwrap(), STAMP).unwrap();
    assert_eq!(
        &*unsigned.message("RealKey"),
        b"1790000000GET/users/self/verify"
    );
}

#[test]
fn what_nobody_signed_is_told_apart_by_its_text() {
    let frame = |id: &str| {
        format!(
            r#"{{"id":"{id}","op":"order","args":[{{"instId":"BTC-USDT","tdMode":"cash","side":"buy","ordType":"limit","sz":"1","px":"60000"}}]}}"#
        )
    };
    let message = |body: &str| {
        with("/ws/v5/private", body, |raw| {
            catalog().present(raw).unwrap().message().to_vec()
        })
    };
    assert_eq!(message(&frame("1")), frame("1").as_bytes());
    assert_ne!(message(&frame("1")), message(&frame("2")));
}

#[test]
fn logins_that_are_none() {
    let ok = r#"{"apiKey":"k","passphrase":"p","timestamp":"1790000000","sign":"s"}"#;
    assert!(decode(&format!(r#"{{"op":"login","args":[{ok}]}}"#)).is_ok());
    for bad in [
        format!(r#"{{"op":"login","args":[{ok},{ok}]}}"#),
        r#"{"op":"login","args":[]}"#.to_owned(),
        format!(
            r#"{{"op":"login","args":[{}]}}"#,
            ok.replace("\"passphrase\":\"p\",", "")
        ),
        format!(
            r#"{{"op":"login","args":[{}]}}"#,
            ok.replace("\"apiKey\":\"k\",", "")
        ),
        format!(
            r#"{{"op":"login","args":[{}]}}"#,
            ok.replace(",\"sign\":\"s\"", "")
        ),
        format!(
            r#"{{"op":"login","args":[{}]}}"#,
            ok.replace("1790000000", "1790000000.5")
        ),
        format!(
            r#"{{"op":"login","args":[{}]}}"#,
            ok.replace("\"sign\"", "\"more\":\"1\",\"sign\"")
        ),
        format!(r#"{{"op":"login","args":[{ok}],"more":1}}"#),
    ] {
        assert!(decode(&bad).is_err(), "{bad}");
    }
}

#[test]
fn orders_ask_what_the_number_names() {
    let order = r#"{"id":"a1","op":"batch-orders","args":[{"instIdCode":20000,"tdMode":"cross","side":"buy","ordType":"limit","sz":"1","px":"60000","clOrdId":"mine"}]}"#;
    let actions = decode(order).unwrap();
    let Action::PlaceOrder(placed) = &actions.list[0] else {
        panic!("{actions:?}");
    };
    assert_eq!(
        (&*placed.symbol.0, placed.market),
        ("BTC-USDT-SWAP", MarketKind::UsdFutures)
    );
    let out: serde_json::Value = serde_json::from_str(&sent(order)).unwrap();
    assert_eq!(out["op"], "batch-orders");
    assert_eq!(out["id"], "a1");
    assert_eq!(
        (&out["args"][0]["instId"], &out["args"][0]["instIdCode"]),
        (&"BTC-USDT-SWAP".into(), &20000.into())
    );
    // The gate's deadline.
    assert_eq!(out["expTime"], (STAMP.venue_time_ms + 1000).to_string());
    // A program's own deadline stands if it is sooner.
    let until = |asked: u64| {
        let order = order.replacen("\"op\"", &format!("\"expTime\":\"{asked}\",\"op\""), 1);
        let out: serde_json::Value = serde_json::from_str(&sent(&order)).unwrap();
        out["expTime"]
            .to_string()
            .trim_matches('"')
            .parse::<u64>()
            .unwrap()
    };
    let gates = STAMP.venue_time_ms + 1000;
    assert_eq!(until(gates - 1), gates - 1);
    assert_eq!(until(gates + 3_600_000), gates);
    // Two frames are two statements.
    let other = order.replace("60000", "60001");
    let message = |body: &str| {
        with("/ws/v5/private", body, |raw| {
            catalog().present(raw).unwrap().message().to_owned()
        })
    };
    assert_ne!(message(order), message(&other));
    // A name gets its number; one that has none goes as it is; `null` is nothing.
    let named = r#"{"id":"a2","op":"cancel-order","args":[{"instId":"BTC-USDT","ordId":"123"}]}"#;
    assert!(
        sent(named).contains("\"instIdCode\":10000"),
        "{}",
        sent(named)
    );
    let bare = r#"{"id":"a3","op":"cancel-order","args":[{"instId":"ETH-USDT","instIdCode":null,"ordId":"123"}]}"#;
    assert!(!sent(bare).contains("instIdCode"), "{}", sent(bare));
    refused(
        r#"{"id":"a4","op":"cancel-order","args":[{"instIdCode":7,"ordId":"123"}]}"#,
        "field-value",
    );
    refused(
        r#"{"id":"a5","op":"cancel-order","args":[{"instId":"BTC-USDT","instIdCode":20000,"ordId":"123"}]}"#,
        "field-value",
    );
    refused(
        r#"{"id":"a6","op":"cancel-order","args":[{"ordId":"123"}]}"#,
        "field-missing",
    );
}

#[test]
fn what_nobody_reviewed_is_refused() {
    let order = r#"{"instId":"BTC-USDT","tdMode":"cash","side":"buy","ordType":"limit","sz":"1","px":"60000"}"#;
    assert!(decode(&format!(r#"{{"id":"a","op":"order","args":[{order}]}}"#)).is_ok());
    for bad in [
        format!(r#"{{"id":"a","op":"order","args":[{order},{order}]}}"#),
        format!(r#"{{"op":"order","args":[{order}]}}"#),
        format!(r#"{{"id":"a","op":"order","args":[{order}],"more":1}}"#),
        format!(r#"{{"id":"a","op":"order","args":[{}]}}"#, order.replace("\"px\"", "\"pxUsd\"")),
        r#"{"id":"a","op":"mass-cancel","args":[{"instType":"OPTION","instFamily":"BTC-USD"}]}"#.to_owned(),
        r#"{"id":"a","op":"subscribe.private","args":[{"channel":"account"}]}"#.to_owned(),
        r#"{"op":"subscribe","args":[{"channel":"deposit-info"}]}"#.to_owned(),
        r#"{"op":"subscribe","args":[{"channel":"account"},{"channel":"trades","instId":"BTC-USDT"}]}"#.to_owned(),
        "pong".to_owned(),
    ] {
        assert!(decode(&bad).is_err(), "{bad}");
    }
    for target in [
        "/ws/v5/private?brokerId=9999",
        "/ws/v5/other",
        "/ws/v5/private?",
    ] {
        assert!(
            with(target, "", |raw| catalog().decode(raw)).is_err(),
            "{target}"
        );
    }
}

#[test]
fn subscriptions_of_the_account_are_reads_of_a_session() {
    let of = |frame: &str| {
        with("/ws/v5/private", frame, |raw| {
            let presented = catalog();
            let presented = presented.present(raw).unwrap();
            (presented.is_public(), presented.is_of_session())
        })
    };
    assert_eq!(
        of(r#"{"op":"subscribe","args":[{"channel":"books","instId":"BTC-USDT"}]}"#),
        (true, false)
    );
    assert_eq!(
        of(r#"{"op":"subscribe","args":[{"channel":"orders","instType":"ANY"}]}"#),
        (false, true)
    );
    assert_eq!(of("ping"), (true, false));
    let private = r#"{"op":"subscribe","args":[{"channel":"orders","instType":"ANY"}]}"#;
    assert_eq!(
        sent(private),
        r#"{"op":"subscribe","args":[{"channel":"orders","instType":"ANY"}]}"#
    );
    assert_eq!(sent("ping"), "ping");
    let connect = with("/ws/v5/business", "", |raw| catalog().decode(raw)).unwrap();
    let ready = catalog()
        .prepare(&connect, STAMP)
        .unwrap()
        .finish_public()
        .unwrap();
    assert_eq!((&*ready.target, &*ready.body), ("/ws/v5/business", ""));
    let okx = dialect::of("okx").unwrap();
    assert_eq!(okx.logon_duty(b"/ws/v5/private"), Duty::Trade);
    assert_eq!(okx.logon_duty(b"/ws/v5/business"), Duty::Read);
}

#[test]
fn answers_and_events_are_read() {
    let okx = dialect::of("okx").unwrap();
    let message = r#"{"id":"a1","op":"order","code":"0","msg":"","data":[{"clOrdId":"mine","ordId":"77","tag":"","ts":"1790000000000","sCode":"0","sMsg":""}]}"#;
    let answered = okx.answered(message).unwrap();
    assert_eq!((&*answered.id, answered.status), ("\"a1\"", 200));
    let order = r#"{"op":"order","args":[{"instId":"BTC-USDT","tdMode":"cash","side":"buy","ordType":"limit","sz":"1","px":"60000"}],"id":"a1"}"#;
    let actions = decode(order).unwrap();
    let asked = Asked {
        target: b"/ws/v5/private",
        body: order.as_bytes(),
    };
    let reports = summarize(
        actions.endpoint,
        asked,
        answered.status,
        answered.body.as_bytes(),
    );
    let [Report::Order(report)] = &reports[..] else {
        panic!("{reports:?}");
    };
    assert_eq!(
        (report.order_id.to_string(), report.status),
        ("77".to_owned(), OrderStatus::Open)
    );
    let failed = r#"{"id":"a1","op":"order","code":"1","msg":"","data":[{"clOrdId":"","ordId":"","sCode":"51008","sMsg":"no"}]}"#;
    assert_eq!(
        summarize(actions.endpoint, asked, 200, failed.as_bytes()),
        [Report::Refused { code: 51_008 }]
    );
    assert!(
        okx.answered(r#"{"arg":{"channel":"orders"},"data":[]}"#)
            .is_none()
    );
    // What is said of a login or a subscription answers no order, whatever id it has.
    for event in [
        r#"{"event":"login","code":"0","msg":"","connId":"a"}"#,
        r#"{"id":"a1","event":"subscribe","arg":{"channel":"orders"},"connId":"a"}"#,
        r#"{"id":"a1","event":"error","code":"60018","msg":"no such channel","connId":"a"}"#,
        r#"{"id":"a1","event":"error","op":"order","code":"60018","msg":"","connId":"a"}"#,
    ] {
        assert!(okx.answered(event).is_none(), "{event}");
    }
    let event = r#"{"arg":{"channel":"orders","instType":"ANY","uid":"1"},"data":[{"instType":"SPOT","instId":"BTC-USDT","ordId":"77","clOrdId":"mine","ordType":"limit","side":"buy","sz":"1","px":"60000","accFillSz":"0.4","avgPx":"59999","state":"partially_filled","uTime":"1790000000001","tgtCcy":""}]}"#;
    let connect = with("/ws/v5/private", "", |raw| catalog().decode(raw)).unwrap();
    let reports = summarize_event(connect.endpoint, event.as_bytes());
    let [Report::Order(report)] = &reports[..] else {
        panic!("{reports:?}");
    };
    assert_eq!(report.executed_quantity.unwrap().to_string(), "0.4");
}

#[test]
fn the_gates_no_is_the_venues() {
    let okx = dialect::of("okx").unwrap();
    let head = |frame: &'static str| okx.frame_head(frame).unwrap();
    let (status, body) = okx.refuse(
        portcullis_model::refusal::Class::OrderLimit,
        "too much",
        None,
    );
    let body = String::from_utf8(body).unwrap();
    let order: serde_json::Value = serde_json::from_str(&okx.frame_refusal(
        &head(r#"{"id":"a1","op":"order","args":[]}"#),
        status,
        &body,
    ))
    .unwrap();
    assert_eq!(
        (&order["id"], &order["op"], &order["data"][0]["sCode"]),
        (&"a1".into(), &"order".into(), &"51005".into())
    );
    let login: serde_json::Value = serde_json::from_str(&okx.frame_refusal(
        &head(r#"{"op":"login","args":[]}"#),
        status,
        &body,
    ))
    .unwrap();
    assert_eq!(
        (&login["event"], &login["code"]),
        (&"error".into(), &"51005".into())
    );
    assert!(login.get("id").is_none());
}
