//! What a client library would lose: its requests, captured, against a catalog. Run over the captures of a new version
//! before it is deployed, it says which of its calls the gate would refuse, and why.
//!
//! A capture list is a JSON array of objects: `method`, `target`, `headers` (`[[name, value], …]`), `body` (text) or
//! `body_b64`; `client` and `label` say what it is. With `scheme` (the venue and how it is signed: `binance-hmac`, `binance-ed25519`, `bybit-v5-rsa`) and
//! `credentials` (`secret`, or `public_key` in PEM) the signature is checked too; a capture of another scheme's venue is
//! passed over. Keys in such a file are throwaways, made for the capture.

use crate::catalog::Catalog;
use crate::error::DecodeError;
use crate::request::RawRequest;
use crate::signature::{VerifyKey, decode_base64};
use portcullis_model::wire::Header;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Captures in one list at most.
pub const CAPTURES_MAX: usize = 100_000;

#[derive(Deserialize)]
struct Capture {
    #[serde(default)]
    client: String,
    #[serde(default)]
    label: String,
    method: String,
    target: String,
    #[serde(default)]
    headers: Vec<(String, String)>,
    body: Option<String>,
    body_b64: Option<String>,
    scheme: Option<String>,
    credentials: Option<Credentials>,
}

#[derive(Deserialize)]
struct Credentials {
    secret: Option<String>,
    public_key: Option<String>,
}

/// What became of the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Against {
    pub requests: usize,
    pub understood: usize,
    /// Of another venue's scheme.
    pub skipped: usize,
    pub lost: Vec<Lost>,
}

/// A request that the gate would refuse.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Lost {
    pub client: String,
    pub label: String,
    pub method: String,
    pub path: String,
    pub code: &'static str,
    pub message: String,
}

/// A list that cannot be read: which capture, and what about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgainstError {
    Json(String),
    TooMany,
    Body { at: usize },
    Key { at: usize },
}

impl fmt::Display for AgainstError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(why) => write!(
                f,
                "no capture list: {why}; it is a JSON array of objects with `method`, `target`, `headers`, `body_b64`"
            ),
            Self::TooMany => write!(f, "more than {CAPTURES_MAX} captures; split the list"),
            Self::Body { at } => write!(f, "capture {at}: `body_b64` is no base64"),
            Self::Key { at } => write!(
                f,
                "capture {at}: `credentials` hold no key of its `scheme`; leave both out to skip signatures"
            ),
        }
    }
}

impl std::error::Error for AgainstError {}

/// Reads every request of a capture list as the gate would.
pub fn against(catalog: &Catalog, venue: &str, captures: &str) -> Result<Against, AgainstError> {
    let list: Vec<Capture> =
        serde_json::from_str(captures).map_err(|why| AgainstError::Json(why.to_string()))?;
    if list.len() > CAPTURES_MAX {
        return Err(AgainstError::TooMany);
    }
    let mut found = Against {
        requests: list.len(),
        understood: 0,
        skipped: 0,
        lost: Vec::new(),
    };
    for (at, capture) in list.into_iter().enumerate() {
        if capture
            .scheme
            .as_ref()
            .is_some_and(|scheme| scheme.split('-').next() != Some(venue))
        {
            found.skipped += 1;
            continue;
        }
        match read(catalog, venue, &capture, at)? {
            Ok(()) => found.understood += 1,
            Err(refusal) => {
                let (path, _) = capture
                    .target
                    .split_once('?')
                    .unwrap_or((&capture.target, ""));
                found.lost.push(Lost {
                    path: path.to_owned(),
                    client: capture.client,
                    label: capture.label,
                    method: capture.method,
                    code: refusal.code(),
                    message: refusal.to_string(),
                });
            }
        }
    }
    Ok(found)
}

fn read(
    catalog: &Catalog,
    venue: &str,
    capture: &Capture,
    at: usize,
) -> Result<Result<(), DecodeError>, AgainstError> {
    let body = match (&capture.body_b64, &capture.body) {
        (Some(text), _) => decode_base64(text).ok_or(AgainstError::Body { at })?,
        (None, text) => text.clone().unwrap_or_default().into_bytes(),
    };
    let key = key(capture, at)?;
    let host = capture
        .headers
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case("host"))
        .and_then(|(_, value)| value.split(':').next());
    let headers: Vec<Header<'_>> = capture
        .headers
        .iter()
        .map(|(name, value)| Header {
            name,
            value: value.as_bytes().into(),
        })
        .collect();
    let mut request = RawRequest {
        method: &capture.method,
        host: host.unwrap_or_default(),
        target: capture.target.as_bytes(),
        headers: &headers,
        body: &body,
    };
    request.host = catalog.host_for(venue, &request).unwrap_or_default();
    Ok(catalog.present(&request).and_then(|presented| {
        if let Some(key) = key.filter(|_| !presented.is_public()) {
            presented.verify(&key)?;
        }
        presented.decode(None).map(drop)
    }))
}

fn key(capture: &Capture, at: usize) -> Result<Option<VerifyKey>, AgainstError> {
    let (Some(scheme), Some(credentials)) = (&capture.scheme, &capture.credentials) else {
        return Ok(None);
    };
    let der = || {
        let pem = credentials.public_key.as_ref()?;
        let text: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        decode_base64(&text)
    };
    let key = match scheme.as_str() {
        hmac if hmac.ends_with("-hmac") => credentials
            .secret
            .as_ref()
            .map(|secret| VerifyKey::hmac(secret.as_bytes())),
        public if public.ends_with("-ed25519") => der().and_then(|der| VerifyKey::ed25519(&der)),
        public if public.ends_with("-rsa") => der().and_then(|der| VerifyKey::rsa(&der)),
        _ => None,
    };
    key.map(Some).ok_or(AgainstError::Key { at })
}
