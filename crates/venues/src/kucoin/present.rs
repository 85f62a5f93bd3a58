//! From a request as it arrived to its parts. Credential, signature and time stand in headers; what is signed is the time, the
//! method, path and query, and the body. A partner's headers say nothing that is believed and end here.

use crate::catalog::{Catalog, Method, Security, Service};
use crate::document::{Node, read};
use crate::error::DecodeError;
use crate::form;
use crate::present::{Fields, Presented, body_text, is_media, read_key, refuse_header, unsigned};
use crate::request::RawRequest;
use crate::signature::{Given, HmacText};

/// The venue refuses a time that differs by more.
pub const RECEIVE_WINDOW_US: u64 = 5_000_000;
/// A program's passphrase at most, or its HMAC. It proves nothing here: any plain one is taken.
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
    let fields = match rule.method {
        Method::Get | Method::Delete => {
            if !body.is_empty() {
                return Err(DecodeError::BodyNotTaken);
            }
            let mut all = Vec::with_capacity(8);
            form::fields(query, "", &mut all)?;
            let in_query = all.len();
            Fields::Form(all, in_query)
        }
        _ if request.target.contains(&b'?') => {
            return Err(DecodeError::Encoding {
                why: "a POST has a query; send the fields in the JSON body",
            });
        }
        _ if body.is_empty() => Fields::Json(Vec::new()),
        _ if !headers.json => return Err(DecodeError::ContentType),
        _ => match read(body)? {
            Node::Object(object) => Fields::Json(object),
            _ => {
                return Err(DecodeError::Encoding {
                    why: "the body is no JSON object",
                });
            }
        },
    };
    let (mut signature, mut api_key, mut timestamp_us) = (None, None, None);
    let mut message = String::new();
    // What is sent beside a public call is dropped.
    if rule.security != Security::None {
        api_key = Some(read_key(headers.key.ok_or(DecodeError::KeyMissing)?, b"-")?);
        let sign = headers.sign.ok_or_else(|| unsigned(rule))?;
        let text = std::str::from_utf8(sign).map_err(|_| DecodeError::SignatureMalformed)?;
        signature = Some(Given {
            text,
            hmac: HmacText::Base64,
            is_encoded: false,
        });
        let time = headers.timestamp.ok_or(DecodeError::TimestampMissing)?;
        let (time, sent_us) = time_us(time).ok_or(DecodeError::Timestamp)?;
        timestamp_us = Some(sent_us);
        let is_plain = |p: &&[u8]| {
            (1..=PASSPHRASE_BYTES_MAX).contains(&p.len())
                && p.iter().all(|b| matches!(b, b' '..=b'~'))
        };
        if headers.passphrase.filter(is_plain).is_none() {
            return Err(DecodeError::Header {
                name: "kc-api-passphrase",
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
        receive_window_us: RECEIVE_WINDOW_US,
        fields,
        in_path: rule.in_path(path).unwrap_or_default(),
        message: message.into(),
        time_unit: None,
    })
}

/// The message over the decoded query, as the client libraries sign it, and a field that makes it ambiguous.
pub(super) fn decoded_message<'a>(presented: &Presented<'a>) -> Option<(String, Option<&'a str>)> {
    let Fields::Form(all, _) = &presented.fields else {
        return None;
    };
    let (head, _) = presented.message.split_once('?')?;
    let mut out = head.to_owned();
    for (at, field) in all.iter().enumerate() {
        out.push(if at == 0 { '?' } else { '&' });
        out.push_str(field.name);
        out.push('=');
        out.push_str(&field.value);
    }
    let unclear = |b: u8| matches!(b, b'&' | b'=' | b'#' | b'%' | b';' | b'+');
    let ambiguous = all.iter().find(|f| f.value.bytes().any(unclear));
    Some((out, ambiguous.map(|f| f.name)))
}

/// A query of the gate's own writing, as it reads.
pub(super) fn push_decoded(out: &mut String, query: &str) {
    let mut fields = Vec::with_capacity(8);
    if form::fields(query, "", &mut fields).is_err() {
        out.push('?');
        out.push_str(query);
        return;
    }
    for (at, field) in fields.iter().enumerate() {
        out.push(if at == 0 { '?' } else { '&' });
        out.push_str(field.name);
        out.push('=');
        out.push_str(&field.value);
    }
}

#[derive(Default)]
struct HeadersRead<'a> {
    key: Option<&'a [u8]>,
    sign: Option<&'a [u8]>,
    timestamp: Option<&'a [u8]>,
    passphrase: Option<&'a [u8]>,
    json: bool,
}

fn read_headers<'a>(request: &RawRequest<'a>) -> Result<HeadersRead<'a>, DecodeError> {
    let once = |name| request.header(name);
    for header in request.headers {
        refuse_header(header.name, header.value)?;
    }
    if let Some(version) = once("kc-api-key-version")?
        && !matches!(version, b"1" | b"2" | b"3")
    {
        return Err(DecodeError::Header {
            name: "kc-api-key-version",
            why: "is not 1, 2 or 3",
        });
    }
    Ok(HeadersRead {
        key: once("kc-api-key")?,
        sign: once("kc-api-sign")?,
        timestamp: once("kc-api-timestamp")?,
        passphrase: once("kc-api-passphrase")?,
        json: once("content-type")?.is_some_and(|value| is_media(value, "application/json")),
    })
}

/// Milliseconds, 13 digits.
fn time_us(value: &[u8]) -> Option<(&str, u64)> {
    let text = std::str::from_utf8(value).ok()?;
    let plain =
        text.len() == 13 && text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
    let ms: u64 = plain.then(|| text.parse().ok())??;
    Some((text, ms.checked_mul(1000)?))
}
