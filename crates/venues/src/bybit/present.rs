//! From a request as it arrived to its parts. Strict on every header and byte that could give it a second meaning.

use crate::catalog::{Catalog, Method, Security, Service};
use crate::document::{self, Node};
use crate::error::DecodeError;
use crate::form;
use crate::present::{Fields, Presented, body_text, is_media, read_key, refuse_header, unsigned};
use crate::request::RawRequest;
use crate::signature::{Given, HmacText, SIGNATURE_BYTES_MAX};

/// What the venue assumes if a program sends no receive window.
pub const RECEIVE_WINDOW_MS_DEFAULT: u64 = 5_000;
/// A longer one is refused.
pub const RECEIVE_WINDOW_MS_MAX: u64 = 60_000;

pub(super) fn present<'a>(
    catalog: &'a Catalog,
    service: &'a Service,
    request: &RawRequest<'a>,
) -> Result<Presented<'a>, DecodeError> {
    let (path, query) = request.path_and_query()?;
    let (endpoint, rule) = catalog.wanted(service, request.method, path)?;
    let headers = read_headers(request)?;
    let body = body_text(request)?;
    let (fields, payload) = if rule.method == Method::Get {
        if !body.is_empty() {
            return Err(DecodeError::BodyNotTaken);
        }
        let mut fields = Vec::with_capacity(8);
        form::fields(query, "", &mut fields)?;
        let in_query = fields.len();
        (Fields::Form(fields, in_query), query)
    } else {
        // The venue signs no query here: whatever stood in it would be nobody's word.
        if request.target.contains(&b'?') {
            return Err(DecodeError::Encoding {
                why: "a POST has a query; send the fields in the JSON body",
            });
        }
        if !headers.json {
            return Err(DecodeError::ContentType);
        }
        let Node::Object(object) = document::read(body)? else {
            return Err(DecodeError::Encoding {
                why: "the body is no JSON object",
            });
        };
        (Fields::Json(object), body)
    };
    let timestamp_ms = headers.timestamp.map(time_ms).transpose()?;
    let window_ms = headers
        .window
        .map_or(Ok(RECEIVE_WINDOW_MS_DEFAULT), window_ms)?;
    let mut message = String::new();
    let mut api_key = None;
    let mut signature = None;
    // What is sent beside a public call is dropped.
    if rule.security != Security::None {
        let key = read_key(headers.api_key.ok_or(DecodeError::KeyMissing)?, b"")?;
        let text = headers.signature.ok_or_else(|| unsigned(rule))?;
        let timestamp = headers.timestamp.ok_or(DecodeError::TimestampMissing)?;
        write_message(
            &mut message,
            timestamp,
            key,
            headers.window.unwrap_or_default(),
            payload,
        );
        api_key = Some(key);
        signature = Some(Given {
            text,
            hmac: HmacText::Hex,
            is_encoded: false,
        });
    }
    Ok(Presented {
        endpoint,
        service,
        rule,
        api_key,
        signature,
        timestamp_us: timestamp_ms.map(|ms| ms.saturating_mul(1000)),
        receive_window_us: window_ms.saturating_mul(1000),
        fields,
        in_path: rule.in_path(path).unwrap_or_default(),
        message: message.into(),
        time_unit: None,
    })
}

/// What is signed. Neither method nor path is part of it.
pub(super) fn write_message(
    out: &mut String,
    timestamp: &str,
    api_key: &str,
    window: &str,
    payload: &str,
) {
    for part in [timestamp, api_key, window, payload] {
        out.push_str(part);
    }
}

#[derive(Default)]
struct HeadersRead<'a> {
    api_key: Option<&'a [u8]>,
    signature: Option<&'a str>,
    timestamp: Option<&'a str>,
    window: Option<&'a str>,
    json: bool,
}

/// The scheme's headers, each once. Broker tags (`Referer`) are dropped: the venue's request has none.
fn read_headers<'a>(request: &RawRequest<'a>) -> Result<HeadersRead<'a>, DecodeError> {
    let mut read = HeadersRead::default();
    let (mut content_type, mut sign_type) = (None, None);
    for header in request.headers {
        let value: &'a [u8] = header.value;
        let Some(name) = NAMES
            .iter()
            .find(|name| header.name.eq_ignore_ascii_case(name))
        else {
            refuse_header(header.name, value)?;
            continue;
        };
        let text = || std::str::from_utf8(value);
        let is_first = match *name {
            API_KEY => read.api_key.replace(value).is_none(),
            SIGN => {
                let text = text()
                    .ok()
                    .filter(|text| text.len() <= SIGNATURE_BYTES_MAX * 2)
                    .ok_or(DecodeError::SignatureMalformed)?;
                read.signature.replace(text).is_none()
            }
            TIMESTAMP => {
                let text = text().map_err(|_| DecodeError::Timestamp)?;
                read.timestamp.replace(text).is_none()
            }
            RECV_WINDOW => {
                let text = text().map_err(|_| DecodeError::ReceiveWindow)?;
                read.window.replace(text).is_none()
            }
            SIGN_TYPE => {
                if value != b"2" {
                    return Err(DecodeError::Header {
                        name: SIGN_TYPE,
                        why: "is not 2; leave it out",
                    });
                }
                sign_type.replace(value).is_none()
            }
            _ => content_type.replace(value).is_none(),
        };
        if !is_first {
            return Err(DecodeError::HeaderRepeated { name });
        }
    }
    read.json = content_type.is_some_and(|value| is_media(value, "application/json"));
    Ok(read)
}

const API_KEY: &str = "x-bapi-api-key";
const SIGN: &str = "x-bapi-sign";
const TIMESTAMP: &str = "x-bapi-timestamp";
const RECV_WINDOW: &str = "x-bapi-recv-window";
const SIGN_TYPE: &str = "x-bapi-sign-type";
const NAMES: [&str; 6] = [
    API_KEY,
    SIGN,
    TIMESTAMP,
    RECV_WINDOW,
    SIGN_TYPE,
    "content-type",
];

/// Milliseconds, 13 digits.
pub(super) fn time_ms(text: &str) -> Result<u64, DecodeError> {
    let plain =
        text.len() == 13 && text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
    text.parse()
        .ok()
        .filter(|_| plain)
        .ok_or(DecodeError::Timestamp)
}

/// Whole milliseconds, more than zero and at most a minute.
pub(super) fn window_ms(text: &str) -> Result<u64, DecodeError> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
    text.parse()
        .ok()
        .filter(|ms| plain && (1..=RECEIVE_WINDOW_MS_MAX).contains(ms))
        .ok_or(DecodeError::ReceiveWindow)
}
