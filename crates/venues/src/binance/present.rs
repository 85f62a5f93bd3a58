//! From a request as it arrived to its parts: endpoint, API key, signature, time, fields. Strict on every header and
//! byte that could give it a second meaning.

use crate::catalog::Meaning;
use crate::catalog::{Catalog, Method, Security, Service};
use crate::error::DecodeError;
use crate::form::{self, Field};
use crate::present::{Fields, Presented, body_text, is_media, read_key, refuse_header, unsigned};
use crate::request::RawRequest;
use crate::signature::{Given, HmacText};
use std::borrow::Cow;

/// What the venue assumes if a program sends no `recvWindow`.
pub const RECEIVE_WINDOW_US_DEFAULT: u64 = 5_000_000;
/// The venue takes no longer one; a longer one is refused.
pub const RECEIVE_WINDOW_US_MAX: u64 = 60_000_000;

/// The message over decoded values (`symbol` alone stays encoded), as python-binance signs it, and a field that makes it
/// ambiguous: the same text could then be the as-sent form of another request. The venue's own rule is the query followed
/// by the body, as sent, without `signature`.
pub(super) fn decoded_message<'a>(presented: &Presented<'a>) -> Option<(String, Option<&'a str>)> {
    let Fields::Form(all, query_fields) = &presented.fields else {
        return None;
    };
    let mut out = String::with_capacity(presented.message.len());
    let mut ambiguous = None;
    for (at, field) in all.iter().enumerate() {
        if field.name == "signature" {
            continue;
        }
        if !out.is_empty() && at != *query_fields {
            out.push('&');
        }
        out.push_str(field.name);
        out.push('=');
        if field.name == "symbol" {
            form::encode_into(&mut out, &field.value);
            continue;
        }
        out.push_str(&field.value);
        // An id that points at an order may hold a `+`: read as a space it would name no order that can exist.
        let names_an_order = presented
            .rule
            .field(field.name)
            .is_some_and(|(_, rule)| rule.meaning == Meaning::RefClientId);
        let unclear =
            |b: u8| matches!(b, b'&' | b'=' | b'#' | b'%' | b';') || (b == b'+' && !names_an_order);
        if field.value.bytes().any(unclear) {
            ambiguous.get_or_insert(field.name);
        }
    }
    Some((out, ambiguous))
}

pub(super) fn present<'a>(
    catalog: &'a Catalog,
    service: &'a Service,
    request: &RawRequest<'a>,
) -> Result<Presented<'a>, DecodeError> {
    let (path, query) = request.path_and_query()?;
    let (endpoint, rule) = catalog.wanted(service, request.method, path)?;
    let headers = read_headers(request)?;
    let body = body_text(request)?;
    if !body.is_empty() {
        if rule.method == Method::Get {
            return Err(DecodeError::BodyNotTaken);
        }
        if !headers.form {
            return Err(DecodeError::ContentType);
        }
    }
    let mut all = Vec::with_capacity(16);
    form::fields(query, "signature", &mut all)?;
    let query_fields = all.len();
    form::fields(body, "signature", &mut all)?;

    let (mut signature, mut timestamp, mut window) = (None, None, None);
    for field in &all {
        match field.name {
            "signature" => signature = Some(field.raw_value),
            "timestamp" => timestamp = Some(&*field.value),
            "recvWindow" => window = Some(&*field.value),
            _ => {}
        }
    }
    let timestamp_us = timestamp.map(time_us).transpose()?;
    let receive_window_us = window.map_or(Ok(RECEIVE_WINDOW_US_DEFAULT), window_us)?;
    let api_key = match rule.security {
        Security::None => {
            if signature.is_some() || timestamp.is_some() || window.is_some() {
                return Err(DecodeError::SignatureOnPublic);
            }
            None
        }
        Security::Signed | Security::Key => {
            let key = read_key(headers.api_key.ok_or(DecodeError::KeyMissing)?, b"")?;
            if signature.is_none() {
                return Err(unsigned(rule));
            }
            if timestamp.is_none() {
                return Err(DecodeError::TimestampMissing);
            }
            Some(key)
        }
    };
    let message = without_signature(query, body, &all, query_fields);
    Ok(Presented {
        endpoint,
        service,
        rule,
        api_key,
        signature: signature.map(|text| Given {
            text,
            hmac: HmacText::Hex,
            is_encoded: true,
        }),
        timestamp_us,
        receive_window_us,
        fields: Fields::Form(all, query_fields),
        in_path: rule.in_path(path).unwrap_or_default(),
        message,
        time_unit: headers.time_unit,
    })
}

struct HeadersRead<'a> {
    api_key: Option<&'a [u8]>,
    form: bool,
    time_unit: Option<&'static str>,
}

fn read_headers<'a>(request: &RawRequest<'a>) -> Result<HeadersRead<'a>, DecodeError> {
    let mut api_key = None;
    let mut content_type = None;
    let mut time_unit = None;
    for header in request.headers {
        let value: &'a [u8] = header.value;
        let refuse = |name, why| Err(DecodeError::Header { name, why });
        match header.name.len() {
            6 if header.name.eq_ignore_ascii_case("accept") && contains(value, b"sbe") => {
                return refuse(
                    "accept",
                    "binary answers are not read by the gate; ask for JSON",
                );
            }
            9 if header.name.eq_ignore_ascii_case("x-mbx-sbe") => {
                return refuse(
                    "x-mbx-sbe",
                    "binary answers are not read by the gate; ask for JSON",
                );
            }
            12 if header.name.eq_ignore_ascii_case("x-mbx-apikey") => {
                if api_key.is_some() {
                    return Err(DecodeError::HeaderRepeated {
                        name: "x-mbx-apikey",
                    });
                }
                api_key = Some(value);
            }
            12 if header.name.eq_ignore_ascii_case("content-type")
                && content_type.replace(value).is_some() =>
            {
                return Err(DecodeError::HeaderRepeated {
                    name: "content-type",
                });
            }
            15 if header.name.eq_ignore_ascii_case("x-mbx-time-unit") => {
                if time_unit.is_some() {
                    return Err(DecodeError::HeaderRepeated {
                        name: "x-mbx-time-unit",
                    });
                }
                time_unit = Some(match value {
                    b"MICROSECOND" | b"microsecond" => "MICROSECOND",
                    b"MILLISECOND" | b"millisecond" => "MILLISECOND",
                    _ => {
                        return refuse("x-mbx-time-unit", "is neither MILLISECOND nor MICROSECOND");
                    }
                });
            }
            _ => refuse_header(header.name, value)?,
        }
    }
    let form =
        content_type.is_some_and(|value| is_media(value, "application/x-www-form-urlencoded"));
    Ok(HeadersRead {
        api_key,
        form,
        time_unit,
    })
}

fn contains(value: &[u8], word: &[u8]) -> bool {
    value
        .windows(word.len())
        .any(|w| w.eq_ignore_ascii_case(word))
}

/// Query followed by body, without the `signature` in one of them.
fn without_signature<'a>(
    query: &'a str,
    body: &'a str,
    all: &[Field<'_>],
    query_fields: usize,
) -> Cow<'a, str> {
    let signature = all.iter().position(|field| field.name == "signature");
    let (query, body) = match signature.and_then(|at| Some((at, all.get(at)?))) {
        None => (Cow::Borrowed(query), Cow::Borrowed(body)),
        Some((at, field)) if at < query_fields => {
            (form::without(query, field), Cow::Borrowed(body))
        }
        Some((_, field)) => (Cow::Borrowed(query), form::without(body, field)),
    };
    match (query, body) {
        (query, body) if body.is_empty() => query,
        (query, body) if query.is_empty() => body,
        (query, body) => Cow::Owned(query.into_owned() + &body),
    }
}

/// Milliseconds (13 digits) or microseconds (16).
pub(super) fn time_us(text: &str) -> Result<u64, DecodeError> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
    match (plain, text.len(), text.parse::<u64>()) {
        (true, 13, Ok(ms)) => Ok(ms.saturating_mul(1000)),
        (true, 16, Ok(us)) => Ok(us),
        _ => Err(DecodeError::Timestamp),
    }
}

/// Milliseconds with at most three decimals, more than zero and at most a minute.
pub(super) fn window_us(text: &str) -> Result<u64, DecodeError> {
    const UNITS_PER_US: i128 = portcullis_model::number::ONE / 1000;
    let units = portcullis_model::number::parse_units(text.as_bytes())
        .map_err(|_| DecodeError::ReceiveWindow)?;
    if units % UNITS_PER_US != 0 {
        return Err(DecodeError::ReceiveWindow);
    }
    u64::try_from(units / UNITS_PER_US)
        .ok()
        .filter(|us| (1..=RECEIVE_WINDOW_US_MAX).contains(us))
        .ok_or(DecodeError::ReceiveWindow)
}
