//! From a request as it arrived to its parts: endpoint, API key, signature, time, fields. Strict on every header and
//! byte that could give it a second meaning.

use super::Binance;
use super::signature::{self, VerifyKey};
use crate::catalog::Meaning;
use crate::catalog::{Endpoint, Method, Security};
use crate::error::{DecodeError, quote};
use crate::form::{self, Field};
use crate::request::RawRequest;
use std::borrow::Cow;

/// What the venue assumes if a program sends no `recvWindow`.
pub const RECEIVE_WINDOW_US_DEFAULT: u64 = 5_000_000;
/// The venue takes no longer one; a longer one is refused.
pub const RECEIVE_WINDOW_US_MAX: u64 = 60_000_000;
/// An API key at most.
pub const API_KEY_BYTES_MAX: usize = 128;

/// A request in its parts.
#[derive(Debug)]
pub struct Presented<'a> {
    /// Position in the catalog.
    pub endpoint: u16,
    pub(super) rule: &'a Endpoint,
    /// Absent only on public endpoints (where one that is sent is dropped).
    pub api_key: Option<&'a str>,
    /// The value of `signature` as it was sent.
    signature: Option<&'a str>,
    /// The program's own time.
    pub timestamp_us: Option<u64>,
    pub receive_window_us: u64,
    /// Every field, query first.
    all: Vec<Field<'a>>,
    /// How many of them stood in the query.
    query_fields: usize,
    as_sent: Cow<'a, str>,
    pub(super) time_unit: Option<&'static str>,
}

impl<'a> Presented<'a> {
    #[must_use]
    pub fn rule(&self) -> &'a Endpoint {
        self.rule
    }

    /// Every field but the scheme's, query first.
    pub(super) fn fields(&self) -> impl Iterator<Item = &Field<'a>> {
        self.all
            .iter()
            .filter(|field| !matches!(field.name, "signature" | "timestamp" | "recvWindow"))
    }

    /// The venue does not ask for a signature, nor does the gate.
    #[must_use]
    pub fn is_public(&self) -> bool {
        self.rule.security == Security::None
    }

    /// Checks the program's signature over the request as it arrived. Gives back the message that it covers: with the
    /// virtual key, method and path, the identity of this statement (for replay).
    ///
    /// The venue's own rule is the query followed by the body, as sent, without `signature`. python-binance signs the
    /// decoded values instead; that is taken where no decoded value could be read in two ways.
    pub fn verify(&self, key: &VerifyKey) -> Result<Cow<'_, [u8]>, DecodeError> {
        let sent = self.signature.ok_or(DecodeError::SignatureMissing)?;
        let given = signature::read(key, sent)?;
        if key.verifies(self.as_sent.as_bytes(), &given) {
            return Ok(Cow::Borrowed(self.as_sent.as_bytes()));
        }
        let (decoded, ambiguous) = self.decoded_message();
        if decoded == *self.as_sent || !key.verifies(decoded.as_bytes(), &given) {
            return Err(DecodeError::SignatureWrong);
        }
        match ambiguous {
            Some(field) => Err(DecodeError::SignatureAmbiguous {
                field: quote(field),
            }),
            None => Ok(Cow::Owned(decoded.into_bytes())),
        }
    }

    /// The message over decoded values (`symbol` alone stays encoded), and a field that makes it ambiguous: the same
    /// text could then be the as-sent form of another request.
    fn decoded_message(&self) -> (String, Option<&'a str>) {
        let mut out = String::with_capacity(self.as_sent.len());
        let mut ambiguous = None;
        for (at, field) in self.all.iter().enumerate() {
            if field.name == "signature" {
                continue;
            }
            if !out.is_empty() && at != self.query_fields {
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
            let names_an_order = self
                .rule
                .field(field.name)
                .is_some_and(|(_, rule)| rule.meaning == Meaning::RefClientId);
            let unclear = |b: u8| {
                matches!(b, b'&' | b'=' | b'#' | b'%' | b';') || (b == b'+' && !names_an_order)
            };
            if field.value.bytes().any(unclear) {
                ambiguous.get_or_insert(field.name);
            }
        }
        (out, ambiguous)
    }
}

pub(super) fn present<'a>(
    venue: &'a Binance,
    request: &RawRequest<'a>,
) -> Result<Presented<'a>, DecodeError> {
    if request.host != venue.catalog.host && !super::HOSTS.contains(&request.host) {
        return Err(DecodeError::UnknownHost {
            host: quote(request.host),
        });
    }
    let (path, query) = request.path_and_query()?;
    let (endpoint, rule) = Method::from_name(request.method)
        .and_then(|method| venue.catalog.find(method, path))
        .ok_or_else(|| DecodeError::UnknownEndpoint {
            method: quote(request.method),
            path: quote(path),
        })?;
    let headers = read_headers(request)?;
    let body = std::str::from_utf8(request.body).map_err(|_| DecodeError::Encoding {
        why: "the body is not UTF-8",
    })?;
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
            let key = read_key(headers.api_key.ok_or(DecodeError::KeyMissing)?)?;
            if signature.is_none() {
                // Clients send these with a key alone, and no signature would help them.
                return Err(match &rule.secret {
                    Some(why) => DecodeError::Secret {
                        method: rule.method.name().to_owned(),
                        path: rule.path.clone(),
                        why: why.clone(),
                    },
                    None => DecodeError::SignatureMissing,
                });
            }
            if timestamp.is_none() {
                return Err(DecodeError::TimestampMissing);
            }
            Some(key)
        }
    };
    let as_sent = without_signature(query, body, &all, query_fields);
    Ok(Presented {
        endpoint,
        rule,
        api_key,
        signature,
        timestamp_us,
        receive_window_us,
        all,
        query_fields,
        as_sent,
        time_unit: headers.time_unit,
    })
}

/// An API key in the form that the venue's have. Public calls may carry anything there (some clients send an empty one).
fn read_key(value: &[u8]) -> Result<&str, DecodeError> {
    std::str::from_utf8(value)
        .ok()
        .filter(|k| {
            (1..=API_KEY_BYTES_MAX).contains(&k.len())
                && k.bytes().all(|b| b.is_ascii_alphanumeric())
        })
        .ok_or(DecodeError::KeyMalformed)
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
            16 if header.name.eq_ignore_ascii_case("content-encoding") && value != b"identity" => {
                return refuse(
                    "content-encoding",
                    "a packed body is not read; send it plain",
                );
            }
            13 | 15..=24
                if header.name.eq_ignore_ascii_case("x-http-method")
                    || header.name.eq_ignore_ascii_case("x-http-method-override")
                    || header.name.eq_ignore_ascii_case("x-method-override") =>
            {
                return refuse(
                    "x-http-method-override",
                    "the method is the one of the request line; leave it out",
                );
            }
            _ => {}
        }
    }
    let form = content_type.is_some_and(|value| {
        let mut parts = value.split(|&b| b == b';');
        let media = parts.next().unwrap_or_default().trim_ascii();
        let charset = parts.next().map(<[u8]>::trim_ascii);
        media.eq_ignore_ascii_case(b"application/x-www-form-urlencoded")
            && charset.is_none_or(|c| c.eq_ignore_ascii_case(b"charset=utf-8"))
            && parts.next().is_none()
    });
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
fn time_us(text: &str) -> Result<u64, DecodeError> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
    match (plain, text.len(), text.parse::<u64>()) {
        (true, 13, Ok(ms)) => Ok(ms.saturating_mul(1000)),
        (true, 16, Ok(us)) => Ok(us),
        _ => Err(DecodeError::Timestamp),
    }
}

/// Milliseconds with at most three decimals, more than zero and at most a minute.
fn window_us(text: &str) -> Result<u64, DecodeError> {
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
