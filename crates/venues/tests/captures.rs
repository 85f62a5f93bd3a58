//! What real clients sent to each venue: every signed request verifies, decodes, and is rebuilt to a request that decodes
//! to the same actions and verifies under the new key; a changed byte does not. And signatures that others published.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests state what must hold"
)]

use aws_lc_rs::hmac;
use portcullis_model::action::Stamp;
use portcullis_model::id::Timestamp;
use portcullis_model::wire::Header;
use portcullis_venues::RawRequest;
use portcullis_venues::{Catalog, Signature, VerifyKey};
use serde_json::Value;

#[path = "suite/host.rs"]
mod host;

/// The folders of `vectors/` with captures, and how many there are at least.
const FOLDERS: [(&str, usize); 3] = [("binance", 27), ("binance_futures", 70), ("bybit", 25)];

fn file(venue: &str, name: &str) -> Vec<Value> {
    let path = format!(
        "{}/../../vectors/{venue}/{name}",
        env!("CARGO_MANIFEST_DIR")
    );
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn base64(text: &str) -> Vec<u8> {
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
    for b in text
        .bytes()
        .filter(|b| !b.is_ascii_whitespace() && *b != b'=')
    {
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

fn key(capture: &Value) -> VerifyKey {
    let credentials = &capture["credentials"];
    let der = |pem: &Value| {
        base64(
            &pem.as_str()
                .unwrap()
                .lines()
                .filter(|l| !l.starts_with('-'))
                .collect::<String>(),
        )
    };
    match capture["scheme"].as_str().unwrap() {
        hmac if hmac.ends_with("-hmac") => {
            VerifyKey::hmac(credentials["secret"].as_str().unwrap().as_bytes())
        }
        ed if ed.ends_with("-ed25519") => {
            VerifyKey::ed25519(&der(&credentials["public_key"])).unwrap()
        }
        rsa if rsa.ends_with("-rsa") => VerifyKey::rsa(&der(&credentials["public_key"])).unwrap(),
        other => panic!("{other}"),
    }
}

#[derive(Clone)]
struct Sent {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Sent {
    fn of(capture: &Value) -> Self {
        let headers = capture["headers"].as_array().unwrap();
        let text = |v: &Value| v.as_str().unwrap().to_owned();
        Self {
            method: text(&capture["method"]),
            target: text(&capture["target"]),
            headers: headers.iter().map(|h| (text(&h[0]), text(&h[1]))).collect(),
            body: base64(capture["body_b64"].as_str().unwrap()),
        }
    }

    fn with<T>(&self, then: impl FnOnce(&RawRequest<'_>) -> T) -> T {
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
            host: host::of(&self.target),
            target: self.target.as_bytes(),
            headers: &headers,
            body: &self.body,
        })
    }
}

#[test]
fn every_captured_request_verifies_decodes_and_is_rebuilt() {
    for (name, least) in FOLDERS {
        let captures = file(name, "captures.json");
        assert!(captures.len() >= least, "{name}");
        for capture in &captures {
            check(capture);
        }
    }
}

fn check(capture: &Value) {
    let catalog = Catalog::builtin().unwrap();
    let label = format!("{} {}", capture["client"], capture["label"]);
    let key = key(capture);
    let sent = Sent::of(capture);
    let actions = sent.with(|raw| {
        let presented = catalog
            .present(raw)
            .unwrap_or_else(|e| panic!("{label}: {e}"));
        presented
            .verify(&key)
            .unwrap_or_else(|e| panic!("{label}: {e}"));
        presented
            .decode(None)
            .unwrap_or_else(|e| panic!("{label}: {e}"))
    });
    assert!(!actions.list.is_empty(), "{label}");
    if let Some(expected) = capture.get("actions") {
        let asked = serde_json::to_value(&actions.list).unwrap();
        assert_eq!(&asked, expected, "{label}: {asked}");
    }
    let stamp = Stamp {
        venue_time_ms: 1_790_000_000_999,
        receive_window_ms: 1000,
        at: Timestamp(0),
    };
    let unsigned = catalog.prepare(&actions, stamp).unwrap();
    let secret = b"the real secret";
    let tag = hmac::sign(
        &hmac::Key::new(hmac::HMAC_SHA256, secret),
        &unsigned.message("TheRealKey"),
    );
    let ready = unsigned.finish(
        "TheRealKey".into(),
        &Signature::HmacSha256(tag.as_ref().try_into().unwrap()),
    );
    let rebuilt = Sent {
        method: ready.method.to_owned(),
        target: ready.target.clone(),
        headers: ready
            .headers
            .iter()
            .map(|(n, v)| ((*n).to_owned(), v.clone()))
            .collect(),
        body: ready.body.clone().into_bytes(),
    };
    let all = format!("{}{}{:?}", ready.target, ready.body, ready.headers);
    for foreign in ["PcVirtKey", "pcvs-", "CCXT"] {
        assert!(
            !all.contains(foreign),
            "{label}: something of the virtual key goes out"
        );
    }
    if host::of(&ready.target) != "api.bybit.com" {
        let all = format!("{}{}", ready.target, ready.body);
        let last = all.rsplit('&').next().unwrap();
        assert!(
            last.starts_with("signature="),
            "{label}: the signature is not last: {all}"
        );
    }
    rebuilt.with(|raw| {
        let presented = catalog
            .present(raw)
            .unwrap_or_else(|e| panic!("{label} rebuilt: {e}"));
        presented
            .verify(&VerifyKey::hmac(secret))
            .unwrap_or_else(|e| panic!("{label} rebuilt: {e}"));
        let again = presented
            .decode(None)
            .unwrap_or_else(|e| panic!("{label} rebuilt: {e}"));
        assert_eq!(again.list, actions.list, "{label}");
    });
}

#[test]
fn a_changed_byte_never_verifies_as_another_request() {
    let catalog = Catalog::builtin().unwrap();
    for (name, _) in FOLDERS {
        for capture in &file(name, "captures.json") {
            let key = key(capture);
            let sent = Sent::of(capture);
            let original = sent.with(|raw| catalog.decode(raw).unwrap().list);
            let query = sent.target.find('?').map_or(sent.target.len(), |at| at + 1);
            let in_query = (query..sent.target.len()).map(|at| (at, true));
            let in_body = (0..sent.body.len()).map(|at| (at, false));
            for (at, is_query) in in_query.chain(in_body) {
                let mut changed = sent.clone();
                if is_query {
                    let mut target = changed.target.into_bytes();
                    target[at] ^= 1;
                    let Ok(target) = String::from_utf8(target) else {
                        continue;
                    };
                    changed.target = target;
                } else {
                    changed.body[at] ^= 1;
                }
                changed.with(|raw| {
                    let Ok(presented) = catalog.present(raw) else {
                        return;
                    };
                    if presented.verify(&key).is_ok() {
                        // Only the signature's own spelling may vary (the case of a hex digit); what it asks may not.
                        assert_eq!(
                            presented.decode(None).map(|a| a.list).ok(),
                            Some(original.clone())
                        );
                    }
                });
            }
        }
    }
}

#[test]
fn the_exchanges_own_examples_verify() {
    let venue = Catalog::builtin().unwrap();
    let mut seen = 0;
    let futures = file("binance_futures", "published.json");
    for vector in file("binance", "published.json").into_iter().chain(futures) {
        let inputs = &vector["inputs"];
        let (Some(secret), Some(payload)) = (inputs["secret"].as_str(), inputs["payload"].as_str())
        else {
            continue;
        };
        let expected = vector["expected"].as_str().unwrap();
        if payload.contains("apiKey=") {
            continue;
        }
        let tag = hmac::sign(
            &hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()),
            payload.as_bytes(),
        );
        let hex: String = tag.as_ref().iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, expected, "{}", vector["id"]);
        // The documentation's mixed example has its first fields in the query; as one body the payload is the same.
        let sent = Sent {
            method: "POST".to_owned(),
            target: match vector["id"].as_str().unwrap().contains("futures") {
                true => "/fapi/v1/order".to_owned(),
                false => "/api/v3/order".to_owned(),
            },
            headers: vec![
                (
                    "X-MBX-APIKEY".to_owned(),
                    "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A".to_owned(),
                ),
                (
                    "Content-Type".to_owned(),
                    "application/x-www-form-urlencoded".to_owned(),
                ),
            ],
            body: format!("{payload}&signature={expected}").into_bytes(),
        };
        sent.with(|raw| match venue.present(raw) {
            Ok(presented) => {
                presented
                    .verify(&VerifyKey::hmac(secret.as_bytes()))
                    .unwrap();
                seen += 1;
            }
            // Its query and body run together without `&` there, which no single body can show.
            Err(_) => assert!(
                vector["id"].as_str().unwrap().contains("mix"),
                "{}",
                vector["id"]
            ),
        });
    }
    assert!(seen >= 3, "{seen}");
}

/// Signatures of the same scheme that another client's tests have: what is signed, and what comes out.
#[test]
fn the_third_party_signatures_of_bybit_verify() {
    let catalog = Catalog::builtin().unwrap();
    let mut seen = 0;
    for vector in file("bybit", "third_party.json") {
        let secret = vector["inputs"]["secret"].as_str().unwrap();
        let message = vector["inputs"]["payload"].as_str().unwrap();
        let expected = vector["expected"].as_str().unwrap();
        let tag = hmac::sign(
            &hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()),
            message.as_bytes(),
        );
        let hex: String = tag.as_ref().iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, expected, "{}", vector["id"]);
        // Its key id has a `_`, which no key of the venue or of ours has; the log-in of a stream is no request.
        let Some(payload) = message.strip_prefix("1700000000000test_api_key5000") else {
            continue;
        };
        let (method, target, body) = match payload.starts_with('{') {
            true => ("POST", "/v5/order/cancel".to_owned(), payload),
            false => ("GET", format!("/v5/order/realtime?{payload}"), ""),
        };
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let mut sent = Sent {
            method: method.to_owned(),
            target,
            headers: vec![
                header("x-bapi-api-key", "testapikey"),
                header("x-bapi-timestamp", "1700000000000"),
                header("x-bapi-recv-window", "5000"),
                header("x-bapi-sign", expected),
                header("content-type", "application/json"),
            ],
            body: body.as_bytes().to_vec(),
        };
        let verifies = |sent: &Sent| {
            sent.with(|raw| {
                let presented = catalog.present(raw)?;
                let key = VerifyKey::hmac(secret.as_bytes());
                presented.verify(&key).map(drop)
            })
        };
        // Under another key id it is another message.
        assert!(verifies(&sent).is_err());
        let again = message.replace("test_api_key", "testapikey");
        let tag = hmac::sign(
            &hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()),
            again.as_bytes(),
        );
        sent.headers[3].1 = tag.as_ref().iter().map(|b| format!("{b:02X}")).collect();
        verifies(&sent).unwrap();
        seen += 1;
    }
    assert_eq!(seen, 2);
}
