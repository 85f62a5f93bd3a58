//! From a request as it arrived to its parts. Credential, signature and time stand in headers; what is signed is the time, the
//! method, path and query, and the body, as sent. Unsigned stay all other headers: what they could change is refused or
//! owned by the gate.

use super::instrument::Instrument;
use super::time;
use crate::catalog::{Catalog, Method, Security, Service};
use crate::document::{Node, Object, read};
use crate::error::DecodeError;
use crate::form;
use crate::present::{Fields, Presented, body_text, is_media, read_key, refuse_header, unsigned};
use crate::request::RawRequest;
use crate::signature::{Given, HmacText};
use portcullis_model::action::MarketKind;
use std::borrow::Cow;

/// The venue refuses a time that differs by more.
pub const RECEIVE_WINDOW_US: u64 = 30_000_000;
/// A program's passphrase at most. It proves nothing here: any plain one is taken, as the client libraries send one.
pub const PASSPHRASE_BYTES_MAX: usize = 128;

pub(super) fn present<'a>(
    catalog: &'a Catalog,
    service: &'a Service,
    request: &RawRequest<'a>,
) -> Result<Presented<'a>, DecodeError> {
    let (path, query) = request.path_and_query()?;
    let (endpoint, rule) = catalog.wanted(service, request.method, path)?;
    let headers = read_headers(request)?;
    let body = body_text(request)?;
    let fields = if rule.method == Method::Get {
        if !body.is_empty() {
            return Err(DecodeError::BodyNotTaken);
        }
        let mut all = Vec::with_capacity(8);
        form::fields(query, "", &mut all)?;
        let in_query = all.len();
        Fields::Form(all, in_query)
    } else {
        if !query.is_empty() || request.target.ends_with(b"?") {
            return Err(DecodeError::Encoding {
                why: "the venue reads a POST's fields from its body; leave the query out",
            });
        }
        if body.is_empty() {
            Fields::Json(Vec::new())
        } else if headers.json {
            read_body(body, rule.array.is_some())?
        } else {
            return Err(DecodeError::ContentType);
        }
    };
    let (mut signature, mut api_key, mut timestamp_us) = (None, None, None);
    let mut receive_window_us = RECEIVE_WINDOW_US;
    let mut message = String::new();
    if matches!(rule.security, Security::Signed | Security::Key) {
        api_key = Some(read_key(headers.key.ok_or(DecodeError::KeyMissing)?, b"-")?);
        let sign = headers.sign.ok_or_else(|| unsigned(rule))?;
        let text = std::str::from_utf8(sign).map_err(|_| DecodeError::SignatureMalformed)?;
        signature = Some(Given {
            text,
            hmac: HmacText::Base64,
            is_encoded: false,
        });
        let time = headers.timestamp.ok_or(DecodeError::TimestampMissing)?;
        let time = std::str::from_utf8(time).map_err(|_| DecodeError::Timestamp)?;
        let sent_us = time::read_us(time).ok_or(DecodeError::Timestamp)?;
        timestamp_us = Some(sent_us);
        if let Some(until) = headers.until {
            receive_window_us = window_us(until, sent_us)?;
        }
        let is_plain =
            |p: &&[u8]| (1..=PASSPHRASE_BYTES_MAX).contains(&p.len()) && p.iter().all(is_printable);
        if headers.passphrase.filter(is_plain).is_none() {
            return Err(DecodeError::Header {
                name: "ok-access-passphrase",
                why: "is missing or no plain text; any text will do, the venue's own is placed by the gate",
            });
        }
        message.reserve(time.len() + request.target.len() + body.len() + 8);
        message.push_str(time);
        message.push_str(request.method);
        // Checked as ASCII above.
        message.push_str(&String::from_utf8_lossy(request.target));
        message.push_str(body);
    }
    Ok(Presented {
        endpoint,
        service,
        rule,
        api_key,
        signature,
        timestamp_us,
        receive_window_us,
        fields,
        in_path: rule.in_path(path).unwrap_or_default(),
        message: Cow::Owned(message),
        time_unit: None,
    })
}

/// A JSON body: an object, or a list of objects where the call takes one. A single object stands for a list of it.
fn read_body(body: &str, takes_array: bool) -> Result<Fields<'_>, DecodeError> {
    let is_no_object = || DecodeError::Encoding {
        why: "the body is no JSON object, nor a list of them",
    };
    match read(body)? {
        Node::Object(object) if takes_array => Ok(Fields::Array(vec![object])),
        Node::Object(object) => Ok(Fields::Json(object)),
        Node::Array(items) => items
            .into_iter()
            .map(|item| match item {
                Node::Object(object) => Ok(object),
                _ => Err(is_no_object()),
            })
            .collect::<Result<Vec<Object<'_>>, _>>()
            .map(Fields::Array),
        _ => Err(is_no_object()),
    }
}

#[derive(Default)]
struct HeadersRead<'a> {
    key: Option<&'a [u8]>,
    sign: Option<&'a [u8]>,
    timestamp: Option<&'a [u8]>,
    passphrase: Option<&'a [u8]>,
    until: Option<&'a [u8]>,
    json: bool,
}

fn read_headers<'a>(request: &RawRequest<'a>) -> Result<HeadersRead<'a>, DecodeError> {
    let mut read = HeadersRead::default();
    let mut content_type = None;
    let mut simulated = None;
    for header in request.headers {
        let value: &'a [u8] = header.value;
        let once = |place: &mut Option<&'a [u8]>, name| match place.replace(value) {
            None => Ok(()),
            Some(_) => Err(DecodeError::HeaderRepeated { name }),
        };
        let is = |name| header.name.eq_ignore_ascii_case(name);
        match header.name.len() {
            13 if is("ok-access-key") => once(&mut read.key, "ok-access-key")?,
            14 if is("ok-access-sign") => once(&mut read.sign, "ok-access-sign")?,
            19 if is("ok-access-timestamp") => once(&mut read.timestamp, "ok-access-timestamp")?,
            20 if is("ok-access-passphrase") => {
                once(&mut read.passphrase, "ok-access-passphrase")?;
            }
            7 if is("exptime") => once(&mut read.until, "expTime")?,
            12 if is("content-type") => once(&mut content_type, "content-type")?,
            19 if is("x-simulated-trading") => {
                once(&mut simulated, "x-simulated-trading")?;
                if value != b"0" {
                    return Err(DecodeError::Header {
                        name: "x-simulated-trading",
                        why: "whether an account is a demo is the site's to say; send `0` (python-okx: flag=\"0\") or leave it out",
                    });
                }
            }
            _ => refuse_header(header.name, value)?,
        }
    }
    read.json = content_type.is_some_and(|value| is_media(value, "application/json"));
    Ok(read)
}

/// What is left until the program's own deadline, a time in milliseconds.
fn window_us(until: &[u8], sent_us: u64) -> Result<u64, DecodeError> {
    std::str::from_utf8(until)
        .ok()
        .filter(|t| t.len() == 13 && t.bytes().all(|b| b.is_ascii_digit()))
        .and_then(|t| t.parse::<u64>().ok())
        .and_then(|ms| ms.checked_mul(1000)?.checked_sub(sent_us))
        .filter(|us| *us > 0)
        .map(|us| us.min(RECEIVE_WINDOW_US))
        .ok_or(DecodeError::ReceiveWindow)
}

pub(super) fn is_printable(b: &u8) -> bool {
    matches!(b, b' '..=b'~')
}

/// The instruments and markets that a request body is of, in order: answers to orders leave them out.
pub(super) fn asked_of(body: &[u8]) -> Option<Vec<(String, MarketKind)>> {
    let body = std::str::from_utf8(body).ok()?;
    let items = match read_body(body, true).ok()? {
        Fields::Array(items) => items,
        _ => return None,
    };
    // A frame's orders stand in it.
    let items = match items.as_slice() {
        [frame] => super::frame::args(frame).unwrap_or_else(|| vec![frame]),
        items => items.iter().collect(),
    };
    items
        .into_iter()
        .map(|object| {
            let text = |wanted: &str| {
                object.iter().find_map(|(name, value)| match value {
                    Node::Text(text) if name == wanted => Some(&**text),
                    _ => None,
                })
            };
            let id = text("instId")?;
            let market = match (Instrument::of(id)?, text("tdMode")) {
                (Instrument::Pair, Some("cross" | "isolated")) => MarketKind::Margin,
                (kind, _) => kind.market(),
            };
            Some((id.to_owned(), market))
        })
        .collect()
}
