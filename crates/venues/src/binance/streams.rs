//! Public market streams: frames of a pipe. A frame is one JSON object of `id`, `method` and `params`; the handshake's target
//! may name streams too (`/ws/a@trade`, `/stream?streams=a@trade/b@depth`). Nothing is signed, so nothing here may name a
//! stream that is an account's own: its name is a secret that opens it (a listen key), and a token of the gate's stands
//! for it, or it is refused.

use super::present::RECEIVE_WINDOW_US_DEFAULT;
use crate::catalog::{Catalog, Service};
use crate::dialect::{CONNECT, FrameHead};
use crate::document::{Node, Object, read};
use crate::error::{DecodeError, quote};
use crate::form::{decode, encode_into, fields};
use crate::prepare::{Ready, Unsigned};
use crate::present::{Fields, Presented, body_text};
use crate::request::RawRequest;
use crate::value::SYMBOL_BYTES_MAX;
use portcullis_model::wire::FRAME_METHOD;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// A stream's name at most.
const NAME_BYTES_MAX: usize = 128;

pub(super) fn present<'a>(
    catalog: &'a Catalog,
    service: &'a Service,
    request: &RawRequest<'a>,
) -> Result<Presented<'a>, DecodeError> {
    let (operation, fields) = match request.body.is_empty() {
        true => (Cow::Borrowed(CONNECT), handshake(request)?),
        false => frame(body_text(request)?)?,
    };
    let (endpoint, rule) = catalog.wanted(service, FRAME_METHOD, &operation)?;
    Ok(Presented {
        endpoint,
        service,
        rule,
        api_key: None,
        signature: None,
        timestamp_us: None,
        receive_window_us: RECEIVE_WINDOW_US_DEFAULT,
        fields: Fields::Json(fields),
        in_path: Vec::new(),
        message: Cow::Borrowed(""),
        time_unit: None,
    })
}

/// The target of a handshake: `path` is what stands before the names, `streams` the names.
fn handshake<'a>(request: &RawRequest<'a>) -> Result<Object<'a>, DecodeError> {
    let (path, query) = request.path_and_query()?;
    let path = path.strip_prefix('/').ok_or(DecodeError::Target)?;
    // `/ws/` and `/public/ws/` are followed by names.
    let (path, mut names) = match path.split_once("ws/") {
        Some((before, names)) => (path.get(..before.len() + 2).unwrap_or(path), names),
        None => (path, ""),
    };
    // A number there is a client library's own, and no name.
    if names.len() <= 4 && names.bytes().all(|b| b.is_ascii_digit()) {
        names = "";
    }
    let mut out: Object<'a> = vec![(Cow::Borrowed("path"), Node::Text(Cow::Borrowed(path)))];
    let mut parts = Vec::new();
    fields(query, "streams", &mut parts)?;
    for part in parts {
        match part.name {
            // More of them than one text may be long: decoded one by one.
            "streams" if names.is_empty() && !part.raw_value.is_empty() => names = part.raw_value,
            name => out.push((Cow::Borrowed(name), Node::Text(part.value))),
        }
    }
    if !names.is_empty() {
        let list = names
            .split('/')
            // A `+` there is one of an offset from UTC, and no space.
            .map(|raw| name(decode(raw)?.replace(' ', "+").into()))
            .collect::<Result<_, _>>()?;
        out.push((Cow::Borrowed("streams"), Node::Array(list)));
    }
    Ok(out)
}

fn frame(text: &str) -> Result<(Cow<'_, str>, Object<'_>), DecodeError> {
    let bad = |why| DecodeError::Encoding { why };
    let Node::Object(frame) = read(text)? else {
        return Err(bad("a frame is one JSON object"));
    };
    let (mut method, mut params, mut out) = (None, Vec::new(), Object::new());
    for (field, value) in frame {
        match (&*field, value) {
            ("method", Node::Text(text)) => method = Some(text),
            ("params", Node::Array(items)) => params = items,
            ("id", Node::Null) => {}
            ("id", value) => out.push((field, value)),
            ("method" | "params", _) => {
                return Err(bad("`method` or `params` is of the wrong JSON type"));
            }
            _ => {
                return Err(DecodeError::FieldUnknown {
                    field: quote(&field),
                    path: "a frame".to_owned(),
                });
            }
        }
    }
    let method = method.ok_or(bad("a frame has a `method`"))?;
    let mut params = params.into_iter();
    match &*method {
        "SUBSCRIBE" | "UNSUBSCRIBE" => {
            let names = params
                .by_ref()
                .map(|item| match item {
                    Node::Text(text) => name(text),
                    _ => Err(bad("`params` holds something that is no name of a stream")),
                })
                .collect::<Result<_, _>>()?;
            out.push((Cow::Borrowed("params"), Node::Array(names)));
        }
        "SET_PROPERTY" | "GET_PROPERTY" => {
            for field in ["name", "value"] {
                if let Some(value) = params.next() {
                    out.push((Cow::Borrowed(field), value));
                }
            }
        }
        _ => {}
    }
    match params.next() {
        None => Ok((method, out)),
        Some(_) => Err(bad("`params` holds more than the method has")),
    }
}

/// A name of a public stream: of a market, with `@` behind it (`btcusdt@trade`), or of all (`!bookTicker`). A listen key has
/// neither, and is longer than any market's name.
fn name(text: Cow<'_, str>) -> Result<Node<'_>, DecodeError> {
    let is_plain = text.len() <= NAME_BYTES_MAX
        && text
            .chars()
            .all(|c| c.is_alphanumeric() || "_@!.:+-".contains(c));
    let is_public = match text.split_once('@') {
        Some((market, what)) => (1..=SYMBOL_BYTES_MAX).contains(&market.len()) && !what.is_empty(),
        None => text.starts_with('!') && text.len() <= SYMBOL_BYTES_MAX,
    };
    match is_plain && is_public {
        true => Ok(Node::Text(text)),
        false => Err(DecodeError::FieldValue {
            field: "streams".to_owned(),
            why:
                "holds a name that is no public stream's, such as `btcusdt@trade` or `!bookTicker`"
                    .to_owned(),
        }),
    }
}

/// Whether an operation is one of these.
pub(super) fn is_one(path: &str) -> bool {
    matches!(
        path,
        CONNECT
            | "SUBSCRIBE"
            | "UNSUBSCRIBE"
            | "LIST_SUBSCRIPTIONS"
            | "SET_PROPERTY"
            | "GET_PROPERTY"
    )
}

/// A frame as it is sent, or the target of the handshake. The fields were written by us.
pub(super) fn ready(request: &Unsigned) -> Option<Ready> {
    let Node::Object(fields) = read(&request.fields).ok()? else {
        return None;
    };
    let of = |name: &str| fields.iter().find(|(it, _)| it == name).map(|(_, it)| it);
    let names = |name: &str| -> Vec<&str> {
        match of(name) {
            Some(Node::Array(items)) => items
                .iter()
                .filter_map(|item| match item {
                    Node::Text(text) => Some(&**text),
                    _ => None,
                })
                .collect(),
            _ => Vec::new(),
        }
    };
    let text = |name: &str| match of(name) {
        Some(Node::Text(text)) => Some(&**text),
        _ => None,
    };
    let (mut target, mut body) = (String::from("/"), String::new());
    if request.path == CONNECT {
        let path = text("path")?;
        target.push_str(path);
        let names = names("streams");
        let mut next = '?';
        if !names.is_empty() {
            match path.ends_with("ws") {
                true => target.push('/'),
                false => {
                    target.push_str("?streams=");
                    next = '&';
                }
            }
        }
        for (at, name) in names.into_iter().enumerate() {
            if at > 0 {
                target.push('/');
            }
            for c in name.chars() {
                match c.is_ascii() {
                    true => target.push(c),
                    false => encode_into(&mut target, c.encode_utf8(&mut [0; 4])),
                }
            }
        }
        if let Some(unit) = text("timeUnit") {
            target.push(next);
            target.push_str("timeUnit=");
            target.push_str(unit);
        }
    } else {
        let mut frame = serde_json::Map::new();
        frame.insert("method".to_owned(), request.path.as_str().into());
        match &*request.path {
            "SUBSCRIBE" | "UNSUBSCRIBE" => {
                frame.insert("params".to_owned(), names("params").into());
            }
            "SET_PROPERTY" => {
                let value = matches!(of("value"), Some(Node::Bool(true)));
                let params = serde_json::json!([text("name")?, value]);
                frame.insert("params".to_owned(), params);
            }
            "GET_PROPERTY" => {
                frame.insert("params".to_owned(), serde_json::json!([text("name")?]));
            }
            _ => {}
        }
        match of("id") {
            Some(Node::Text(id)) => {
                frame.insert("id".to_owned(), (&**id).into());
            }
            Some(Node::Number(id)) => {
                frame.insert("id".to_owned(), id.parse::<u64>().ok()?.into());
            }
            _ => {}
        }
        body = serde_json::Value::Object(frame).to_string();
    }
    Some(Ready {
        method: request.method,
        target,
        headers: Vec::new(),
        body,
    })
}

/// What ingress reads of a frame.
pub(super) fn head(frame: &str) -> Option<FrameHead<'_>> {
    #[derive(Deserialize)]
    struct Head<'a> {
        #[serde(borrow, default)]
        id: Option<&'a RawValue>,
        #[serde(borrow)]
        method: Cow<'a, str>,
    }
    let head: Head<'_> = serde_json::from_str(frame).ok()?;
    Some(FrameHead {
        id: Cow::Borrowed(head.id.map_or("null", RawValue::get)),
        operation: head.method,
    })
}
