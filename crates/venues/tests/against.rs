//! What a new client version would lose is said beforehand.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests state what must hold"
)]

use portcullis_venues::Catalog;
use portcullis_venues::against::{AgainstError, against};
use serde_json::{Value, json};

fn captures() -> Vec<Value> {
    let of = |folder: &str| -> Vec<Value> {
        let path = format!(
            "{}/../../vectors/{folder}/captures.json",
            env!("CARGO_MANIFEST_DIR")
        );
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
    };
    [of("binance"), of("binance_futures")].concat()
}

/// Code and message's beginning of each loss.
fn lost(captures: &[Value]) -> Vec<(&'static str, String)> {
    let text = serde_json::to_string(captures).unwrap();
    let found = against(Catalog::builtin().unwrap(), "binance", &text).unwrap();
    assert_eq!(
        found.requests,
        found.understood + found.skipped + found.lost.len()
    );
    found
        .lost
        .into_iter()
        .map(|lost| (lost.code, lost.message))
        .collect()
}

#[test]
fn the_clients_of_today_lose_nothing() {
    let captures = captures();
    assert!(captures.len() >= 97);
    assert_eq!(lost(&captures), []);
}

#[test]
fn a_new_field_path_body_or_signature_is_a_loss_that_names_itself() {
    let order = captures()[0].clone();
    let unsigned = |target: &str, body: &str| {
        let mut capture = order.clone();
        capture["credentials"] = Value::Null;
        capture["target"] = json!(target);
        capture["body_b64"] = Value::Null;
        capture["body"] = json!(body);
        capture
    };
    let whole = "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=1&timestamp=1790000000123";
    for (capture, code, words) in [
        (
            unsigned("/api/v3/order", &format!("{whole}&signature=00")),
            "",
            "",
        ),
        (
            unsigned("/api/v3/order", &format!("{whole}&newThing=1&signature=00")),
            "field-unknown",
            "`newThing`",
        ),
        (
            unsigned("/api/v4/order", &format!("{whole}&signature=00")),
            "unknown-endpoint",
            "/api/v4/order",
        ),
        (
            unsigned(
                "/sapi/v1/algo/spot/newOrderTwap",
                &format!("{whole}&signature=00"),
            ),
            "not-reviewed",
            "reviewed",
        ),
        (
            unsigned("/api/v3/order", whole),
            "signature-missing",
            "signature",
        ),
        (
            unsigned("/api/v3/order", "{\"symbol\":\"BTCUSDT\"}"),
            "encoding",
            "",
        ),
    ] {
        let found = lost(&[capture]);
        match code {
            "" => assert_eq!(found, []),
            _ => assert!(
                found.len() == 1 && found[0].0 == code && found[0].1.contains(words),
                "{code}: {found:?}"
            ),
        }
    }
    let mut forged = order.clone();
    forged["credentials"]["secret"] = json!("another");
    assert_eq!(lost(&[forged])[0].0, "signature-wrong");
    let mut other = order;
    other["scheme"] = json!("okx");
    assert_eq!(lost(&[other]), []);
}

#[test]
fn a_list_that_cannot_be_read_says_what_is_wrong() {
    let venue = Catalog::builtin().unwrap();
    let mut capture = captures()[0].clone();
    for text in ["", "{}", "[{}]", "[1]"] {
        let error = against(venue, "binance", text).unwrap_err();
        assert!(error.to_string().contains("JSON array"), "{error}");
    }
    capture["body_b64"] = json!("***");
    let text = json!([captures()[0], capture]).to_string();
    assert_eq!(
        against(venue, "binance", &text),
        Err(AgainstError::Body { at: 1 })
    );
    let mut capture = captures()[0].clone();
    capture["credentials"] = json!({});
    let text = json!([capture]).to_string();
    assert_eq!(
        against(venue, "binance", &text),
        Err(AgainstError::Key { at: 0 })
    );
}
