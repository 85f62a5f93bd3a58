//! Frames of the venue's WebSockets. A frame is one JSON object of `op`, `args`, `id` and, with an order, `expTime`; the text
//! `ping` is one too. Only `login` is signed: what follows on the connection is its session's.
//!
//! On a WebSocket the venue goes by `instIdCode`, its own number of an instrument, before `instId`. What is judged is the
//! name: a number that the release does not know, or that is another instrument's, is refused.

use super::present::{PASSPHRASE_BYTES_MAX, RECEIVE_WINDOW_US, is_printable};
use crate::catalog::{Catalog, Endpoint, Service};
use crate::dialect::{Answered, CONNECT, FrameHead};
use crate::document::{Node, Object, read, write_text};
use crate::error::{DecodeError, quote};
use crate::prepare::{Ready, Unsigned};
use crate::present::{Fields, Presented, body_text, read_key};
use crate::request::RawRequest;
use crate::signature::{Credential, Given, HmacText, Signature};
use crate::value::Type;
use portcullis_model::action::Symbol;
use portcullis_model::wire::FRAME_METHOD;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

pub(super) const LOGIN: &str = "login";
const PING: &str = "ping";
/// Behind an operation, in the catalog: that of what is an account's own.
const PRIVATE: &str = ".private";
/// What a login signs behind its time.
const LOGIN_TEXT: &str = "GET/users/self/verify";
/// Operations that the venue drops once their `expTime` has passed.
const EXPIRING: [&str; 4] = ["order", "batch-orders", "amend-order", "batch-amend-orders"];

pub(super) fn present<'a>(
    catalog: &'a Catalog,
    service: &'a Service,
    request: &RawRequest<'a>,
) -> Result<Presented<'a>, DecodeError> {
    let text = body_text(request)?;
    let presented = |operation: &str, fields| {
        let (endpoint, rule) = catalog.wanted(service, FRAME_METHOD, operation)?;
        Ok(Presented {
            endpoint,
            service,
            rule,
            api_key: None,
            signature: None,
            timestamp_us: None,
            receive_window_us: RECEIVE_WINDOW_US,
            fields: Fields::Json(fields),
            in_path: Vec::new(),
            // Nobody signed it, but one frame is told from another by it.
            message: Cow::Borrowed(text),
            time_unit: None,
        })
    };
    if request.body.is_empty() {
        let (path, query) = request.path_and_query()?;
        // `?brokerId=9999` is the demo.
        if !query.is_empty() || request.target.contains(&b'?') {
            return Err(DecodeError::Target);
        }
        let path = path.strip_prefix('/').ok_or(DecodeError::Target)?;
        let path = Node::Text(Cow::Borrowed(path));
        return presented(CONNECT, vec![(Cow::Borrowed("path"), path)]);
    }
    if text == PING {
        return presented(PING, Object::new());
    }
    let bad = |why| DecodeError::Encoding { why };
    let Node::Object(frame) = read(text)? else {
        return Err(bad("a frame is one JSON object, or the text `ping`"));
    };
    let (mut operation, mut args, mut fields) = (None, Vec::new(), Object::new());
    for (name, value) in frame {
        match (&*name, value) {
            ("op", Node::Text(text)) => operation = Some(text),
            ("args", Node::Array(items)) => {
                args = items
                    .into_iter()
                    .map(|item| match item {
                        Node::Object(object) => Ok(object),
                        _ => Err(bad("`args` holds something that is no JSON object")),
                    })
                    .collect::<Result<Vec<Object<'a>>, _>>()?;
            }
            ("op" | "args", _) => return Err(bad("`op` or `args` is of the wrong JSON type")),
            ("id" | "expTime", value) => fields.push((name, value)),
            _ => {
                return Err(DecodeError::FieldUnknown {
                    field: quote(&name),
                    path: "a frame".to_owned(),
                });
            }
        }
    }
    let operation = operation.ok_or(bad("a frame has an `op`"))?;
    if operation.contains('.') {
        // Of the catalog's own making.
        return Err(DecodeError::UnknownEndpoint {
            method: FRAME_METHOD.to_owned(),
            path: quote(&operation),
        });
    }
    if operation == LOGIN {
        let mut args = args.into_iter();
        let (Some(arguments), None) = (args.next(), args.next()) else {
            return Err(bad("one login, of one key, a connection"));
        };
        return login(presented(LOGIN, fields)?, arguments);
    }
    let private = format!("{operation}{PRIVATE}");
    let of_account = |arg: &Object<'_>| {
        let named = catalog.endpoint_at(service, crate::catalog::Method::Ws, &private);
        named.is_some_and(|(_, rule)| has_channel(rule, arg))
    };
    let is_private = args.iter().any(of_account);
    for arg in &mut args {
        if !operation.ends_with("subscribe") {
            name_instrument(catalog, service, arg)?;
        }
    }
    fields.push((
        Cow::Borrowed("args"),
        Node::Array(args.into_iter().map(Node::Object).collect()),
    ));
    presented(if is_private { &private } else { &operation }, fields)
}

/// Whether a rule of subscriptions names the channel of one.
fn has_channel(rule: &Endpoint, arg: &Object<'_>) -> bool {
    let channel = arg.iter().find_map(|(name, value)| match value {
        Node::Text(text) if name == "channel" => Some(&**text),
        _ => None,
    });
    let known = rule
        .objects
        .iter()
        .flat_map(|object| &object.fields)
        .find(|field| field.name == "channel");
    match (channel, known.map(|field| &field.ty)) {
        (Some(channel), Some(Type::Words(words))) => words.iter().any(|word| word == channel),
        _ => false,
    }
}

/// Puts name and number of an instrument beside each other.
fn name_instrument(
    catalog: &Catalog,
    service: &Service,
    arg: &mut Object<'_>,
) -> Result<(), DecodeError> {
    let bad = |why: &str| DecodeError::FieldValue {
        field: "instIdCode".to_owned(),
        why: why.to_owned(),
    };
    // CCXT writes `null` where its market has none.
    arg.retain(|(name, value)| name != "instIdCode" || *value != Node::Null);
    let of = |wanted: &str| arg.iter().find(|(name, _)| name == wanted).map(|(_, v)| v);
    let venue = service.venue();
    match (of("instId"), of("instIdCode")) {
        (name, Some(code)) => {
            let code: u64 = match code {
                Node::Number(text) => text.parse().ok(),
                Node::Text(text) => text.parse().ok(),
                _ => None,
            }
            .ok_or_else(|| bad("is no whole number"))?;
            let known = catalog.coded(venue, code).ok_or_else(|| {
                bad("is the number of no market in the release; `portcullis market fetch okx` reads them")
            })?;
            match name {
                Some(Node::Text(name)) if **name == *known.0 => {}
                Some(_) => {
                    return Err(bad(
                        "is the number of another instrument than `instId` names",
                    ));
                }
                None => {
                    let name = Cow::Owned(known.0.to_string());
                    arg.push((Cow::Borrowed("instId"), Node::Text(name)));
                }
            }
        }
        (Some(Node::Text(name)), None) => {
            if let Some(code) = catalog.code_of(venue, &Symbol((**name).into())) {
                let code = Node::Text(Cow::Owned(code.to_string()));
                arg.push((Cow::Borrowed("instIdCode"), code));
            }
        }
        _ => {}
    }
    Ok(())
}

/// Key, signature and time of a login.
fn login<'a>(
    mut presented: Presented<'a>,
    arguments: Object<'a>,
) -> Result<Presented<'a>, DecodeError> {
    let (mut key, mut sign, mut time, mut passphrase) = (None, None, None, None);
    for (name, value) in arguments {
        match (&*name, value) {
            // Without escapes: none has a character that needs one.
            ("apiKey", Node::Text(Cow::Borrowed(text))) => key = Some(text),
            ("apiKey", _) => return Err(DecodeError::KeyMalformed),
            ("sign", Node::Text(Cow::Borrowed(text))) => sign = Some(text),
            ("sign", _) => return Err(DecodeError::SignatureMalformed),
            // python-okx writes a number.
            ("timestamp", Node::Text(Cow::Borrowed(text)) | Node::Number(text)) => {
                time = Some(text)
            }
            ("timestamp", _) => return Err(DecodeError::Timestamp),
            ("passphrase", Node::Text(text)) => passphrase = Some(text),
            _ => {
                return Err(DecodeError::FieldUnknown {
                    field: quote(&name),
                    path: LOGIN.to_owned(),
                });
            }
        }
    }
    let is_plain = |p: &Cow<'_, str>| {
        (1..=PASSPHRASE_BYTES_MAX).contains(&p.len()) && p.as_bytes().iter().all(is_printable)
    };
    if !passphrase.as_ref().is_some_and(is_plain) {
        return Err(DecodeError::FieldValue {
            field: "passphrase".to_owned(),
            why: "is missing or no plain text; any text will do, the venue's own is placed by the gate"
                .to_owned(),
        });
    }
    let key = key.ok_or(DecodeError::KeyMissing)?;
    let time = time.ok_or(DecodeError::TimestampMissing)?;
    let seconds: u64 = Some(time)
        .filter(|t| t.len() == 10 && t.bytes().all(|b| b.is_ascii_digit()))
        .and_then(|t| t.parse().ok())
        .ok_or(DecodeError::Timestamp)?;
    presented.api_key = Some(read_key(key.as_bytes(), b"-")?);
    presented.signature = Some(Given {
        text: sign.ok_or(DecodeError::SignatureMissing)?,
        hmac: HmacText::Base64,
        is_encoded: false,
    });
    presented.timestamp_us = Some(seconds * 1_000_000);
    presented.message = Cow::Owned(format!("{time}{LOGIN_TEXT}"));
    Ok(presented)
}

/// What the real key signs: of a login. Nothing else on a WebSocket is signed.
pub(super) fn message(request: &Unsigned) -> String {
    format!("{}{LOGIN_TEXT}", request.stamp.venue_time_ms / 1000)
}

/// The login with the real key's id, passphrase and signature.
pub(super) fn finish(
    mut request: Unsigned,
    credential: Credential<'_>,
    signature: &Signature,
) -> Ready {
    if request.path == LOGIN {
        let mut args = String::with_capacity(256);
        args.push_str("\"args\":[{\"apiKey\":");
        write_text(&mut args, credential.api_key);
        args.push_str(",\"passphrase\":");
        write_text(&mut args, credential.passphrase.unwrap_or_default());
        args.push_str(",\"sign\":\"");
        signature.push_to(HmacText::Base64, &mut args);
        args.push_str("\",\"timestamp\":\"");
        args.push_str(&(request.stamp.venue_time_ms / 1000).to_string());
        args.push_str("\"}]");
        push(&mut request.fields, &args);
    }
    ready(request)
}

/// A frame as it is sent, or the target of the handshake. The fields were written by us.
pub(super) fn ready(mut request: Unsigned) -> Ready {
    let mut target = String::from("/");
    let mut body = String::new();
    match &*request.path {
        CONNECT => target.push_str(&path_of(&request.fields).unwrap_or_default()),
        PING => body.push_str(PING),
        path => {
            if EXPIRING.contains(&path) {
                let stamp = request.stamp;
                let until = stamp.venue_time_ms + u64::from(stamp.receive_window_ms);
                expire(&mut request.fields, until);
            }
            body.reserve(request.fields.len() + 32);
            body.push_str("{\"op\":");
            write_text(&mut body, path.strip_suffix(PRIVATE).unwrap_or(path));
            let rest = request.fields.strip_prefix('{').unwrap_or("}");
            if rest != "}" {
                body.push(',');
            }
            body.push_str(rest);
        }
    }
    Ready {
        method: request.method,
        target,
        headers: Vec::new(),
        body,
    }
}

/// When the venue takes an order no more, in ms: the program's own time, if that is sooner than the gate's.
fn expire(fields: &mut String, until: u64) {
    const NAME: &str = "\"expTime\":";
    let Some(at) = fields.find(NAME).map(|at| at + NAME.len()) else {
        return push(fields, &format!("{NAME}\"{until}\""));
    };
    // As a number or as text, as the program wrote it.
    let at = at + usize::from(fields.as_bytes().get(at) == Some(&b'"'));
    let digits = fields.get(at..).map_or(0, |rest| {
        rest.bytes().take_while(u8::is_ascii_digit).count()
    });
    let asked: Option<u64> = fields
        .get(at..at + digits)
        .and_then(|text| text.parse().ok());
    if asked.is_none_or(|asked| asked > until) {
        fields.replace_range(at..at + digits, &until.to_string());
    }
}

/// Adds a member to an object.
fn push(object: &mut String, member: &str) {
    if object.ends_with('}') {
        object.pop();
    }
    if !object.ends_with('{') {
        object.push(',');
    }
    object.push_str(member);
    object.push('}');
}

fn path_of(fields: &str) -> Option<String> {
    let Node::Object(fields) = read(fields).ok()? else {
        return None;
    };
    fields.into_iter().find_map(|(name, value)| match value {
        Node::Text(text) if name == "path" => Some(text.into_owned()),
        _ => None,
    })
}

#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    op: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    event: Option<Cow<'a, str>>,
}

/// What ingress reads of a frame.
pub(super) fn head(frame: &str) -> Option<FrameHead<'_>> {
    if frame == PING {
        return Some(FrameHead {
            id: Cow::Borrowed("null"),
            operation: Cow::Borrowed(PING),
        });
    }
    let head: Head<'_> = serde_json::from_str(frame).ok()?;
    Some(FrameHead {
        id: Cow::Borrowed(head.id.map_or("null", RawValue::get)),
        operation: head.op?,
    })
}

/// Operation and key of a frame, at a glance and before anything is checked: for its place in the queue.
pub(super) fn glance(body: &[u8]) -> Option<(Cow<'_, str>, Cow<'_, str>)> {
    let frame = std::str::from_utf8(body).ok()?;
    Some((head(frame)?.operation, Cow::Borrowed("")))
}

/// Which frame of orders a message answers. What is said of subscriptions and logins answers none of those, though a program
/// may have given both one id; nor does what the venue could not read, of which nobody knows what it was.
pub(super) fn answered(message: &str) -> Option<Answered<'_>> {
    let head: Head<'_> = serde_json::from_str(message).ok()?;
    let is_of_orders = head.op.is_some() && head.event.is_none();
    is_of_orders.then(|| Answered {
        id: Cow::Borrowed(head.id.map_or("null", RawValue::get)),
        status: 200,
        body: message,
    })
}

/// The gate's no, as the venue writes one: of orders the body of a REST call with the operation, of everything else an event.
pub(super) fn refusal(head: &FrameHead<'_>, body: &str) -> String {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct No<'a> {
        #[serde(borrow)]
        code: Cow<'a, str>,
        #[serde(borrow)]
        msg: Cow<'a, str>,
        #[serde(borrow, default)]
        data: Vec<OfOrder<'a>>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct OfOrder<'a> {
        #[serde(borrow)]
        s_code: Cow<'a, str>,
        #[serde(borrow)]
        s_msg: Cow<'a, str>,
    }
    let mut out = String::with_capacity(body.len() + 96);
    out.push('{');
    if head.id != "null" {
        out.push_str("\"id\":");
        out.push_str(&head.id);
        out.push(',');
    }
    let is_event = matches!(&*head.operation, LOGIN | PING | "subscribe" | "unsubscribe");
    match serde_json::from_str::<No<'_>>(body) {
        Ok(no) if is_event => {
            let (code, msg) = match no.data.into_iter().next() {
                Some(of) => (of.s_code, of.s_msg),
                None => (no.code, no.msg),
            };
            out.push_str("\"event\":\"error\",\"code\":");
            write_text(&mut out, &code);
            out.push_str(",\"msg\":");
            write_text(&mut out, &msg);
            out.push_str(",\"connId\":\"portcullis\"}");
        }
        _ => {
            out.push_str("\"op\":");
            write_text(&mut out, &head.operation);
            out.push(',');
            out.push_str(body.strip_prefix('{').unwrap_or("}"));
        }
    }
    out
}

/// The instruments that a frame's orders are of.
pub(super) fn args<'n, 'a>(frame: &'n Object<'a>) -> Option<Vec<&'n Object<'a>>> {
    let args = frame.iter().find_map(|(name, value)| match value {
        Node::Array(items) if name == "args" => Some(items),
        _ => None,
    })?;
    args.iter()
        .map(|item| match item {
            Node::Object(object) => Some(object),
            _ => None,
        })
        .collect()
}
