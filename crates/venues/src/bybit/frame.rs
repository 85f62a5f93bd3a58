//! Frames of the venue's WebSockets: public streams, the account's own stream, order entry. A frame is one JSON object of
//! `op`, `args` and an id; of order entry also a `header`. Its `op` is the endpoint, on the account's own stream with
//! `private/` before it; an order's only argument are a REST call's fields.
//!
//! The venue signs nothing but the logon (`auth`), and of that nothing but the time until which it is good. Which frames came
//! on whose connection the caller knows.

use super::present::{RECEIVE_WINDOW_MS_DEFAULT, time_ms, window_ms};
use crate::catalog::{Catalog, Service};
use crate::dialect::{Answered, CONNECT, FrameHead};
use crate::document::{Node, Object, read, write_text};
use crate::error::{DecodeError, quote};
use crate::form;
use crate::prepare::{Ready, Unsigned};
use crate::present::{Fields, Presented, body_text, read_key};
use crate::request::RawRequest;
use crate::signature::{Credential, Given, HmacText, SIGNATURE_BYTES_MAX, Signature};
use portcullis_model::wire::FRAME_METHOD;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Order entry, and the account's own stream.
pub const TRADE: &str = "/v5/trade";
pub const PRIVATE: &str = "/v5/private";
const PUBLIC: &str = "/v5/public/";
/// How long before its expiry a logon may have been signed. The venue looks at the expiry alone.
pub const LOGON_MS: u64 = 10_000;
const LOGON: &str = "auth";
/// What is signed of a logon, before its expiry.
const LOGON_SIGNED: &str = "GET/realtime";
/// Before a topic's subscription that is an account's.
const OWN: &str = "private/";

pub(super) fn present<'a>(
    catalog: &'a Catalog,
    service: &'a Service,
    request: &RawRequest<'a>,
) -> Result<Presented<'a>, DecodeError> {
    let (place, query) = request.path_and_query()?;
    if request.body.is_empty() {
        let mut fields: Object<'a> = Vec::with_capacity(2);
        fields.push((Cow::Borrowed("path"), Node::Text(Cow::Borrowed(place))));
        let mut parts = Vec::new();
        form::fields(query, "", &mut parts)?;
        for part in parts {
            fields.push((Cow::Borrowed(part.name), Node::Text(part.value)));
        }
        return presented(catalog, service, CONNECT, Sent::of(fields));
    }
    let frame = Frame::read(body_text(request)?, place)?;
    let op = frame.op.clone();
    let bad = |why| Err(DecodeError::Encoding { why });
    match (place, &*op) {
        (_, "ping") => presented(catalog, service, "ping", Sent::of(frame.id_alone()?)),
        (TRADE | PRIVATE, LOGON) => presented(catalog, service, LOGON, frame.logon()?),
        (PRIVATE, "subscribe" | "unsubscribe") => {
            let path = format!("{OWN}{op}");
            presented(catalog, service, &path, frame.topics(request)?)
        }
        (_, "subscribe" | "unsubscribe") if place.starts_with(PUBLIC) => {
            presented(catalog, service, &op, frame.topics(request)?)
        }
        (TRADE, _) if op.starts_with("order.") => {
            presented(catalog, service, &op, frame.order(request)?)
        }
        _ => bad("the WebSocket at this path has no such `op`"),
    }
}

/// What a frame bears.
struct Sent<'a> {
    fields: Object<'a>,
    api_key: Option<&'a str>,
    signature: Option<&'a str>,
    /// Time and window, in milliseconds.
    good: Option<(u64, u64)>,
    message: Cow<'a, str>,
}

impl<'a> Sent<'a> {
    fn of(fields: Object<'a>) -> Self {
        Self {
            fields,
            api_key: None,
            signature: None,
            good: None,
            message: Cow::Borrowed(""),
        }
    }
}

fn presented<'a>(
    catalog: &'a Catalog,
    service: &'a Service,
    path: &str,
    sent: Sent<'a>,
) -> Result<Presented<'a>, DecodeError> {
    let (endpoint, rule) = catalog.wanted(service, FRAME_METHOD, path)?;
    let window_ms = sent.good.map_or(RECEIVE_WINDOW_MS_DEFAULT, |(_, ms)| ms);
    Ok(Presented {
        endpoint,
        service,
        rule,
        api_key: sent.api_key,
        signature: sent.signature.map(|text| Given {
            text,
            hmac: HmacText::Hex,
            is_encoded: false,
        }),
        timestamp_us: sent.good.map(|(ms, _)| ms.saturating_mul(1000)),
        receive_window_us: window_ms.saturating_mul(1000),
        fields: Fields::Json(sent.fields),
        in_path: Vec::new(),
        message: sent.message,
        time_unit: None,
    })
}

struct Frame<'a> {
    op: Cow<'a, str>,
    /// The name that the venue has for it at this place, and the id.
    id: Option<(&'static str, Node<'a>)>,
    args: Vec<Node<'a>>,
    header: Object<'a>,
}

impl<'a> Frame<'a> {
    fn read(text: &'a str, place: &str) -> Result<Self, DecodeError> {
        let bad = |why| DecodeError::Encoding { why };
        let Node::Object(object) = read(text)? else {
            return Err(bad("a frame is one JSON object"));
        };
        let (mut op, mut id, mut args, mut header) = (None, None, Vec::new(), Object::new());
        for (name, value) in object {
            match (&*name, value) {
                ("op", Node::Text(text)) => op = Some(text),
                // CCXT names it so everywhere, where nothing but a ping is concerned.
                ("reqId" | "req_id", value) if id.is_none() => {
                    let name = if place == TRADE { "reqId" } else { "req_id" };
                    id = Some((name, value));
                }
                ("args", Node::Array(items)) => args = items,
                ("header", Node::Object(object)) if place == TRADE => header = object,
                ("op" | "args", _) => {
                    return Err(bad("`op` or `args` is of the wrong JSON type"));
                }
                _ => {
                    return Err(DecodeError::FieldUnknown {
                        field: quote(&name),
                        path: "a frame".to_owned(),
                    });
                }
            }
        }
        Ok(Self {
            op: op.ok_or(bad("a frame has an `op`"))?,
            id,
            args,
            header,
        })
    }

    fn is_bare(&self) -> Result<(), DecodeError> {
        match self.header.is_empty() {
            true => Ok(()),
            false => Err(DecodeError::FieldNotWanted {
                field: "header".to_owned(),
                with: self.op.to_string(),
            }),
        }
    }

    fn id(&mut self, fields: &mut Object<'a>) {
        if let Some((name, id)) = self.id.take() {
            fields.push((Cow::Borrowed(name), id));
        }
    }

    fn id_alone(mut self) -> Result<Object<'a>, DecodeError> {
        self.is_bare()?;
        let mut fields = Object::new();
        self.id(&mut fields);
        match self.args.is_empty() {
            true => Ok(fields),
            false => Err(DecodeError::FieldNotWanted {
                field: "args".to_owned(),
                with: self.op.to_string(),
            }),
        }
    }

    fn topics(mut self, request: &RawRequest<'a>) -> Result<Sent<'a>, DecodeError> {
        self.is_bare()?;
        let mut fields = Object::new();
        self.id(&mut fields);
        let args = std::mem::take(&mut self.args);
        fields.push((Cow::Borrowed("args"), Node::Array(args)));
        Ok(Sent {
            message: Cow::Borrowed(body_text(request)?),
            ..Sent::of(fields)
        })
    }

    /// `["key", expiry, "signature"]`.
    fn logon(mut self) -> Result<Sent<'a>, DecodeError> {
        self.is_bare()?;
        let mut fields = Object::new();
        self.id(&mut fields);
        let mut args = std::mem::take(&mut self.args).into_iter();
        let (key, expires, signature) = (args.next(), args.next(), args.next());
        if args.next().is_some() {
            return Err(DecodeError::Encoding {
                why: "`args` of a logon are key, expiry and signature",
            });
        }
        let api_key = match key {
            // Without escapes: neither has a character that needs one.
            Some(Node::Text(Cow::Borrowed(text))) => read_key(text.as_bytes(), b"")?,
            Some(_) => return Err(DecodeError::KeyMalformed),
            None => return Err(DecodeError::KeyMissing),
        };
        let expires = match expires {
            Some(Node::Text(text)) => text,
            Some(Node::Number(text)) => Cow::Borrowed(text),
            _ => return Err(DecodeError::TimestampMissing),
        };
        let signature = match signature {
            Some(Node::Text(Cow::Borrowed(text))) if text.len() <= SIGNATURE_BYTES_MAX * 2 => text,
            Some(_) => return Err(DecodeError::SignatureMalformed),
            None => return Err(DecodeError::SignatureMissing),
        };
        let signed_ms = time_ms(&expires)?.saturating_sub(LOGON_MS);
        Ok(Sent {
            api_key: Some(api_key),
            signature: Some(signature),
            good: Some((signed_ms, LOGON_MS)),
            message: Cow::Owned(format!("{LOGON_SIGNED}{expires}")),
            ..Sent::of(fields)
        })
    }

    /// One object of a REST call's fields, and when it was sent.
    fn order(mut self, request: &RawRequest<'a>) -> Result<Sent<'a>, DecodeError> {
        let mut args = std::mem::take(&mut self.args).into_iter();
        let (Some(Node::Object(mut fields)), None) = (args.next(), args.next()) else {
            return Err(DecodeError::Encoding {
                why: "`args` of an order hold one object",
            });
        };
        if let Some((name, _)) = fields.iter().find(|(name, _)| is_id(name)) {
            return Err(DecodeError::FieldUnknown {
                field: quote(name),
                path: "an order's `args`".to_owned(),
            });
        }
        self.id(&mut fields);
        let (mut timestamp, mut window) = (None, None);
        for (name, value) in std::mem::take(&mut self.header) {
            let text = match value {
                Node::Text(text) => text,
                Node::Number(text) => Cow::Borrowed(text),
                _ => return Err(DecodeError::Timestamp),
            };
            match &*name {
                "X-BAPI-TIMESTAMP" => timestamp = Some(time_ms(&text)?),
                "X-BAPI-RECV-WINDOW" => window = Some(window_ms(&text)?),
                // A broker's tag ends here, as over REST.
                "Referer" => {}
                _ => {
                    return Err(DecodeError::FieldUnknown {
                        field: quote(&name),
                        path: "a frame's `header`".to_owned(),
                    });
                }
            }
        }
        let timestamp = timestamp.ok_or(DecodeError::TimestampMissing)?;
        Ok(Sent {
            good: Some((timestamp, window.unwrap_or(RECEIVE_WINDOW_MS_DEFAULT))),
            message: Cow::Borrowed(body_text(request)?),
            ..Sent::of(fields)
        })
    }
}

fn is_id(name: &str) -> bool {
    matches!(name, "reqId" | "req_id")
}

/// Until when the gate's own logon is good.
fn expires_ms(request: &Unsigned) -> u64 {
    let stamp = request.stamp;
    stamp
        .venue_time_ms
        .saturating_add(u64::from(stamp.receive_window_ms))
}

/// What the real key signs: of a logon its expiry. No other frame is signed; what stands here for one is good for nothing.
pub(super) fn message_of(request: &Unsigned) -> String {
    match &*request.path {
        LOGON => format!("{LOGON_SIGNED}{}", expires_ms(request)),
        _ => "-".to_owned(),
    }
}

/// The logon of the real key.
pub(super) fn finish(
    request: Unsigned,
    credential: Credential<'_>,
    signature: &Signature,
) -> Ready {
    if request.path != LOGON {
        return ready(request);
    }
    let mut args = String::from("[");
    write_text(&mut args, credential.api_key);
    let _ = write!(args, ",{},", expires_ms(&request));
    let mut text = String::new();
    signature.push_to(HmacText::Hex, &mut text);
    write_text(&mut args, &text);
    args.push(']');
    written(request, Some(&args))
}

/// A frame that nobody signs.
pub(super) fn ready(request: Unsigned) -> Ready {
    written(request, None)
}

/// A frame as the venue documents it, or the target of the handshake. The fields were written by us.
fn written(request: Unsigned, args: Option<&str>) -> Ready {
    let mut fields: BTreeMap<String, &RawValue> =
        serde_json::from_str(&request.fields).unwrap_or_default();
    let text = |value: &RawValue| serde_json::from_str::<String>(value.get()).unwrap_or_default();
    let (mut target, mut body) = (String::new(), String::new());
    if request.path == CONNECT {
        target = fields
            .get("path")
            .map(|path| text(path))
            .unwrap_or_default();
        if let Some(time) = fields.get("max_active_time") {
            let _ = write!(target, "?max_active_time={}", text(time));
        }
    } else {
        let op = request.path.strip_prefix(OWN).unwrap_or(&request.path);
        body.push('{');
        for name in ["reqId", "req_id"] {
            if let Some(id) = fields.remove(name) {
                let _ = write!(body, "\"{name}\":{},", id.get());
            }
        }
        body.push_str("\"op\":");
        write_text(&mut body, op);
        if let Some(args) = args {
            let _ = write!(body, ",\"args\":{args}");
        } else if op.starts_with("order.") {
            let stamp = request.stamp;
            let _ = write!(
                body,
                ",\"header\":{{\"X-BAPI-TIMESTAMP\":\"{}\",\"X-BAPI-RECV-WINDOW\":\"{}\"}},\"args\":[{{",
                stamp.venue_time_ms, stamp.receive_window_ms
            );
            for (at, (name, value)) in fields.iter().enumerate() {
                if at > 0 {
                    body.push(',');
                }
                write_text(&mut body, name);
                let _ = write!(body, ":{}", value.get());
            }
            body.push_str("}]");
        } else if let Some(topics) = fields.get("args") {
            let _ = write!(body, ",\"args\":{}", topics.get());
        }
        body.push('}');
    }
    Ready {
        method: request.method,
        target,
        headers: Vec::new(),
        body,
    }
}

#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow, rename = "reqId", alias = "req_id")]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    op: Cow<'a, str>,
}

/// What ingress and egress read of a frame.
pub(super) fn head(frame: &str) -> Option<FrameHead<'_>> {
    let head: Head<'_> = serde_json::from_str(frame).ok()?;
    Some(FrameHead {
        id: Cow::Borrowed(head.id.map_or("null", RawValue::get)),
        operation: head.op,
    })
}

/// Operation and key of a frame, at a glance: of a logon the key stands in it, of what follows nowhere.
pub(super) fn glance(body: &[u8]) -> Option<(Cow<'_, str>, Cow<'_, str>)> {
    #[derive(Deserialize)]
    struct Glance<'a> {
        #[serde(borrow)]
        op: Cow<'a, str>,
        #[serde(borrow, default)]
        args: Vec<&'a RawValue>,
    }
    let frame: Glance<'_> = serde_json::from_slice(body).ok()?;
    let key = match &*frame.op {
        LOGON => frame
            .args
            .first()
            .and_then(|raw| serde_json::from_str(raw.get()).ok()),
        _ => None,
    };
    Some((frame.op, Cow::Owned(key.unwrap_or_default())))
}

/// Which order's frame a message answers.
pub(super) fn answered(message: &str) -> Option<Answered<'_>> {
    let head: Head<'_> = serde_json::from_str(message).ok()?;
    let id = head.id.filter(|_| head.op.starts_with("order."))?;
    Some(Answered {
        id: Cow::Borrowed(id.get()),
        status: 200,
        body: message,
    })
}

/// The gate's no to a frame. A code that leaves it to HTTP's status would say here that all is well: what stands instead is the
/// venue's for a fault of its own.
pub(super) fn refusal(head: &FrameHead<'_>, body: &str) -> String {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Refused {
        ret_code: i64,
        ret_msg: String,
    }
    let refused: Option<Refused> = serde_json::from_str(body).ok();
    let (code, text) = match refused {
        Some(it) if it.ret_code != 0 => (it.ret_code, it.ret_msg),
        Some(it) => (10_016, it.ret_msg),
        None => (10_016, body.to_owned()),
    };
    let op = &*head.operation;
    let mut out = match op.starts_with("order.") {
        true => serde_json::json!({
            "retCode": code, "retMsg": text, "op": op, "data": {}, "retExtInfo": {}, "header": {}, "connId": "",
        }),
        // Which of the two forms it is depends on where the frame was sent; a library reads the one that it knows.
        false => serde_json::json!({
            "success": false, "ret_msg": text, "retCode": code, "retMsg": text, "op": op, "conn_id": "", "connId": "",
        }),
    };
    let id: Option<serde_json::Value> = serde_json::from_str(&head.id).ok();
    if let (Some(id), Some(out)) = (id.filter(|id| !id.is_null()), out.as_object_mut()) {
        let name = if op.starts_with("order.") {
            "reqId"
        } else {
            "req_id"
        };
        out.insert(name.to_owned(), id);
    }
    out.to_string()
}

/// Fields of the order in a frame that was sent.
pub(super) fn order_of(frame: &[u8]) -> Option<&[u8]> {
    #[derive(Deserialize)]
    struct Args<'a> {
        #[serde(borrow)]
        args: Vec<&'a RawValue>,
    }
    let frame: Args<'_> = serde_json::from_slice(frame).ok()?;
    Some(frame.args.first()?.get().as_bytes())
}
