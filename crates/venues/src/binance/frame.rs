//! Frames of the WebSocket API: one JSON object of `id`, `method` and `params`. The method is the endpoint, the parameters are
//! a REST call's fields; what is signed are all parameters but the signature, sorted by name, as `name=value` with `&`
//! between, in UTF-8 and not percent-encoded. The `id` belongs to the connection and means nothing here.
//!
//! A signed call without key and signature is of a session that its program has logged on to; whose it is the caller knows.

use super::present::{RECEIVE_WINDOW_US_DEFAULT, time_us, window_us};
use crate::catalog::{Catalog, Security, Service};
use crate::document::{Node, Object, read, write_text};
use crate::error::{DecodeError, quote};
use crate::form::encode_into;
use crate::prepare::{Ready, Unsigned};
use crate::present::{Fields, Presented, body_text, read_key};
use crate::request::RawRequest;
use crate::signature::{Credential, Given, HmacText, Signature};
use portcullis_model::action::MarketKind;
use portcullis_model::wire::FRAME_METHOD;
use serde::Deserialize;
use std::borrow::Cow;
use std::fmt::Write as _;

/// Where spot's WebSocket API is opened.
pub const TARGET: &str = "/ws-api/v3";

/// Where each WebSocket API is opened, at which host, and which market's it is.
const APIS: [(&str, &str, MarketKind); 3] = [
    (TARGET, "ws-api.binance.com", MarketKind::Spot),
    ("/ws-fapi/v1", "ws-fapi.binance.com", MarketKind::UsdFutures),
    (
        "/ws-dapi/v1",
        "ws-dapi.binance.com",
        MarketKind::CoinFutures,
    ),
];

/// The host whose WebSocket API is spoken where a program opens one with this target. What it may say there changes nothing
/// that matters: the venue's connections are shared, count in milliseconds and tell the rate limits.
#[must_use]
pub fn api_host(target: &[u8]) -> Option<&'static str> {
    let target = std::str::from_utf8(target).ok()?;
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    let is_harmless = |part: &str| {
        matches!(
            part,
            "timeUnit=MILLISECOND"
                | "timeUnit=millisecond"
                | "returnRateLimits=true"
                | "returnRateLimits=false"
        )
    };
    let fits = query
        .is_none_or(|query| query.split('&').count() <= 2 && query.split('&').all(is_harmless));
    let (_, host, _) = APIS.iter().find(|(own, ..)| *own == path && fits)?;
    Some(host)
}

fn target(market: MarketKind) -> &'static str {
    APIS.iter()
        .find(|(.., own)| *own == market)
        .map_or(TARGET, |(target, ..)| target)
}

/// Subscribes to the account's events with the session's key. The gate makes it the signed call of [`SUBSCRIBE_SIGNED`].
pub const SUBSCRIBE: &str = "userDataStream.subscribe";
pub const SUBSCRIBE_SIGNED: &str = "userDataStream.subscribe.signature";

/// Names of the scheme, which no endpoint has as a field.
const SCHEME: [&str; 4] = ["apiKey", "signature", "timestamp", "recvWindow"];

pub(super) fn present<'a>(
    catalog: &'a Catalog,
    service: &'a Service,
    request: &RawRequest<'a>,
) -> Result<Presented<'a>, DecodeError> {
    let bad = |why| DecodeError::Encoding { why };
    let host = api_host(request.target);
    if host != Some(service.host.as_str()) {
        return Err(DecodeError::Target);
    }
    let Node::Object(frame) = read(body_text(request)?)? else {
        return Err(bad("a frame is one JSON object"));
    };
    let (mut method, mut params) = (None, Object::new());
    for (name, value) in frame {
        match (&*name, value) {
            ("id", Node::Text(_) | Node::Number(_) | Node::Null) => {}
            ("method", Node::Text(text)) => method = Some(text),
            ("params", Node::Object(object)) => params = object,
            ("id" | "method" | "params", _) => {
                return Err(bad("`id`, `method` or `params` is of the wrong JSON type"));
            }
            _ => {
                return Err(DecodeError::FieldUnknown {
                    field: quote(&name),
                    path: "a frame".to_owned(),
                });
            }
        }
    }
    let method = method.ok_or(bad("a frame has a `method`"))?;
    // Spot lets a version stand before it.
    let path = method
        .strip_prefix("v3/")
        .filter(|_| host == Some("ws-api.binance.com"))
        .unwrap_or(&method);
    let (endpoint, rule) = catalog.wanted(service, FRAME_METHOD, path)?;

    let (mut key, mut signature, mut timestamp, mut window) = (None, None, None, None);
    for (name, value) in &params {
        match (&**name, value) {
            // Without escapes: neither has a character that needs one.
            ("apiKey", Node::Text(Cow::Borrowed(text))) => key = Some(*text),
            ("apiKey", _) => return Err(DecodeError::KeyMalformed),
            ("signature", Node::Text(Cow::Borrowed(text))) => signature = Some(*text),
            ("signature", _) => return Err(DecodeError::SignatureMalformed),
            ("timestamp", value) => timestamp = Some(plain(value).ok_or(DecodeError::Timestamp)?),
            ("recvWindow", value) => window = Some(plain(value).ok_or(DecodeError::ReceiveWindow)?),
            _ => {}
        }
    }
    let timestamp_us = timestamp.as_deref().map(time_us).transpose()?;
    let receive_window_us = window
        .as_deref()
        .map_or(Ok(RECEIVE_WINDOW_US_DEFAULT), window_us)?;
    let api_key = match (rule.security, key, signature) {
        (Security::None, _, None) if timestamp.is_none() && window.is_none() => None,
        (Security::None, ..) => return Err(DecodeError::SignatureOnPublic),
        (_, None, None) => None,
        (_, Some(key), Some(_)) => Some(read_key(key.as_bytes(), b"")?),
        (_, None, Some(_)) => return Err(DecodeError::KeyMissing),
        (_, Some(_), None) => return Err(DecodeError::SignatureMissing),
    };
    let needs_time = rule.security != Security::None && (api_key.is_some() || path != SUBSCRIBE);
    if needs_time && timestamp.is_none() {
        return Err(DecodeError::TimestampMissing);
    }
    let message = match rule.security {
        Security::None => String::new(),
        _ => message(&params, &[])?,
    };
    params.retain(|(name, _)| !SCHEME.contains(&&**name));
    Ok(Presented {
        endpoint,
        service,
        rule,
        api_key,
        signature: signature.map(|text| Given {
            text,
            hmac: HmacText::Hex,
            is_encoded: false,
        }),
        timestamp_us,
        receive_window_us,
        fields: Fields::Json(params),
        in_path: Vec::new(),
        message: Cow::Owned(message),
        time_unit: None,
    })
}

/// The text of a value that stands in a signed message: as a program's library writes it there.
fn plain<'n>(value: &'n Node<'_>) -> Option<Cow<'n, str>> {
    Some(match value {
        Node::Text(text) => Cow::Borrowed(&**text),
        Node::Number(text) => Cow::Borrowed(text),
        Node::Bool(true) => Cow::Borrowed("true"),
        Node::Bool(false) => Cow::Borrowed("false"),
        Node::Null | Node::Array(_) | Node::Object(_) => return None,
    })
}

/// What is signed: these parameters and `also`, sorted by name.
fn message(params: &Object<'_>, also: &[(&str, &str)]) -> Result<String, DecodeError> {
    let mut all: Vec<(&str, Cow<'_, str>)> = Vec::with_capacity(params.len() + also.len());
    for (name, value) in params {
        if name != "signature" {
            let text = plain(value).ok_or(DecodeError::Encoding {
                why: "a signed frame holds a parameter that is no text, number or truth",
            })?;
            all.push((name, text));
        }
    }
    all.extend(
        also.iter()
            .map(|(name, text)| (*name, Cow::Borrowed(*text))),
    );
    all.sort_unstable();
    let mut out = String::with_capacity(320);
    for (name, text) in all {
        if !out.is_empty() {
            out.push('&');
        }
        out.push_str(name);
        out.push('=');
        out.push_str(&text);
    }
    Ok(out)
}

/// What the real key signs. The parameters were written by us: they are read again so that what is signed is what is sent.
pub(super) fn message_of(request: &Unsigned, api_key: &str) -> String {
    let stamp = request.stamp;
    let (window, time) = (
        stamp.receive_window_ms.to_string(),
        stamp.venue_time_ms.to_string(),
    );
    let also = [
        ("apiKey", api_key),
        ("recvWindow", &*window),
        ("timestamp", &*time),
    ];
    match read(&request.fields) {
        Ok(Node::Object(params)) => message(&params, &also).unwrap_or_default(),
        // Of parameters that we did not write: the signature fits nothing.
        _ => String::new(),
    }
}

/// The frame with the real key's id and its signature. Egress puts an `id` of its own before the method.
pub(super) fn finish(
    mut request: Unsigned,
    credential: Credential<'_>,
    signature: &Signature,
) -> Ready {
    let stamp = request.stamp;
    let fields = &mut request.fields;
    if fields.ends_with('}') {
        fields.pop();
    }
    if !fields.ends_with('{') {
        fields.push(',');
    }
    fields.push_str("\"apiKey\":");
    write_text(fields, credential.api_key);
    let _ = write!(
        fields,
        ",\"recvWindow\":{},\"timestamp\":{},\"signature\":\"",
        stamp.receive_window_ms, stamp.venue_time_ms
    );
    signature.push_to(HmacText::Hex, fields);
    fields.push_str("\"}");
    ready(request)
}

/// The frame as it is.
pub(super) fn ready(request: Unsigned) -> Ready {
    let method = match &*request.path {
        SUBSCRIBE => SUBSCRIBE_SIGNED,
        path => path,
    };
    let mut body = String::with_capacity(request.fields.len() + 64);
    body.push_str("{\"method\":");
    write_text(&mut body, method);
    body.push_str(",\"params\":");
    body.push_str(&request.fields);
    body.push('}');
    Ready {
        method: request.method,
        target: target(request.market).to_owned(),
        headers: Vec::new(),
        body,
    }
}

/// Method and key of a frame, at a glance and before anything is checked: for its place in the queue.
pub(super) fn glance(body: &[u8]) -> Option<(Cow<'_, str>, Cow<'_, str>)> {
    #[derive(Deserialize)]
    struct Frame<'a> {
        #[serde(borrow)]
        method: Cow<'a, str>,
        #[serde(borrow, default)]
        params: Params<'a>,
    }
    #[derive(Deserialize, Default)]
    #[serde(rename_all = "camelCase")]
    struct Params<'a> {
        #[serde(borrow, default)]
        api_key: Cow<'a, str>,
    }
    let frame: Frame<'_> = serde_json::from_slice(body).ok()?;
    Some((frame.method, frame.params.api_key))
}

/// Where a REST call for the same would have gone, as far as a summary asks: which symbol a frame names.
pub(super) fn target_of(frame: &[u8]) -> Vec<u8> {
    #[derive(Deserialize)]
    struct Frame<'a> {
        #[serde(borrow)]
        params: Params<'a>,
    }
    #[derive(Deserialize)]
    struct Params<'a> {
        #[serde(borrow)]
        symbol: Option<Cow<'a, str>>,
    }
    let mut target = TARGET.to_owned();
    let frame: Option<Frame<'_>> = serde_json::from_slice(frame).ok();
    if let Some(symbol) = frame.and_then(|frame| frame.params.symbol) {
        target.push_str("?symbol=");
        encode_into(&mut target, &symbol);
    }
    target.into_bytes()
}
