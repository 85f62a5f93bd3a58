//! What a strict exchange understands of a request, or why it refuses it.
//!
//! Pure: no clock, socket or state but the keys. It decides everything that a request alone decides: path, parameters and
//! their forms, which of them an order of that type needs, signature, time, and the right of the key. What depends on the
//! market (symbols, filters, balances) comes after, in `exchange`. Written from the venue's documents, apart from the gate's
//! decoder on purpose: tests compare the two.

use crate::decimal::{self, BadDecimal};
use crate::endpoints::{self, Endpoint, Kind, SIGNED, Security};
use crate::keys::Keys;
use crate::refusal::Refusal;
use std::collections::{BTreeMap, HashSet};

/// The longest target and the longest body that are read. Longer ones get 414 and 413.
pub const TARGET_BYTES_MAX: usize = 16 * 1024;
/// See [`TARGET_BYTES_MAX`].
pub const BODY_BYTES_MAX: usize = 64 * 1024;

/// What was understood of an accepted request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Understood {
    /// HTTP method of the call.
    pub method: &'static str,
    /// Path of the call.
    pub path: &'static str,
    /// All parameters by name, percent-decoded; the signature is not among them.
    pub params: BTreeMap<String, String>,
    /// The API key, where the call has one.
    pub key: Option<String>,
    /// The request's own time in microseconds, where it is signed.
    pub timestamp_us: Option<u64>,
}

impl Understood {
    /// The text of a parameter that was sent.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.params.get(name).map(String::as_str)
    }

    /// The call in the table.
    #[must_use]
    pub fn endpoint(&self) -> Option<&'static Endpoint> {
        endpoints::at(self.path)?
            .iter()
            .copied()
            .find(|e| e.method == self.method)
    }

    /// A decimal that was sent; its form has been checked.
    #[must_use]
    pub fn decimal(&self, name: &str) -> Option<decimal::D> {
        self.get(name).and_then(|t| decimal::parse(t).ok())
    }

    /// A whole number that was sent.
    #[must_use]
    pub fn long(&self, name: &str) -> Option<u64> {
        self.get(name).and_then(|t| t.parse().ok())
    }
}

/// Judges one request as the exchange would at `now_us` (microseconds since 1970).
///
/// # Errors
/// The venue's refusal.
pub fn check(
    method: &str,
    target: &[u8],
    headers: &[(&str, &[u8])],
    body: &[u8],
    keys: &Keys,
    now_us: u64,
) -> Result<Understood, Refusal> {
    let request = read(method, target, headers, body)?;
    judge(&request, keys, now_us)
}

/// A request taken apart, before anything is judged.
#[derive(Debug)]
pub struct Request<'a> {
    /// The call.
    pub endpoint: &'static Endpoint,
    /// All parameters, decoded, without the signature.
    pub params: BTreeMap<String, String>,
    /// The signature's text, decoded.
    pub signature: Option<String>,
    /// What is signed: query and body as sent, without the signature.
    pub payload: Vec<u8>,
    /// The key header as sent.
    pub key: Option<&'a [u8]>,
}

/// Takes a request apart.
///
/// # Errors
/// Unknown path or method, a body where none belongs, parameters that are no parameters.
pub fn read<'a>(
    method: &str,
    target: &'a [u8],
    headers: &[(&str, &'a [u8])],
    body: &'a [u8],
) -> Result<Request<'a>, Refusal> {
    let html = |status, text: &str| Refusal::new(0, text).status(status);
    if target.len() > TARGET_BYTES_MAX {
        return Err(html(414, "414 Request-URI Too Large"));
    }
    if body.len() > BODY_BYTES_MAX {
        return Err(html(413, "413 Request Entity Too Large"));
    }
    if !target.iter().all(u8::is_ascii_graphic) || target.contains(&b'#') {
        return Err(html(400, "400 Bad request"));
    }
    let text = std::str::from_utf8(target).map_err(|_| html(400, "400 Bad request"))?;
    let (path, query) = text.split_once('?').unwrap_or((text, ""));
    // No decoding and no normalising of the path: a path is one of the table's, byte by byte, or unknown.
    let calls = endpoints::at(path).ok_or_else(|| html(404, "404 Not found"))?;
    let endpoint = *calls
        .iter()
        .find(|e| e.method == method)
        .ok_or_else(|| Refusal::new(0, "405 Method Not Allowed").status(405))?;
    // The content network before the venue answers 403 to a GET with a body.
    if method == "GET" && !body.is_empty() {
        return Err(html(403, "403 ERROR: The request could not be satisfied."));
    }
    let header = |name: &str| {
        let mut found = headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
        match (found.next(), found.next()) {
            (Some((_, value)), None) => Ok(Some(*value)),
            (None, _) => Ok(None),
            (Some(_), Some(_)) => Err(html(400, "400 Bad request")),
        }
    };
    if !body.is_empty() {
        let form = header("content-type")?.is_none_or(|value| {
            let kind = value.split(|b| *b == b';').next().unwrap_or(value);
            kind.trim_ascii()
                .eq_ignore_ascii_case(b"application/x-www-form-urlencoded")
        });
        if !form {
            return Err(html(415, "415 Unsupported Media Type"));
        }
    }
    let key = header("x-mbx-apikey")?;
    // Since 2026-01-15 what is signed must be percent-encoded before it is signed: bytes that are not ASCII are no such text.
    if !body.iter().all(|b| b.is_ascii_graphic() || *b == b' ') {
        return Err(if body.is_ascii() {
            Refusal::new(-1100, "Illegal characters found in a parameter.")
        } else {
            Refusal::new(-1022, "Signature for this request is not valid.")
        });
    }
    let body = std::str::from_utf8(body).map_err(|_| html(400, "400 Bad request"))?;
    let mut params = BTreeMap::new();
    let mut payload = String::with_capacity(query.len() + body.len());
    let in_query = split(query, &mut params, &mut payload, &HashSet::new())?;
    let names: HashSet<String> = params.keys().cloned().collect();
    let in_body = split(body, &mut params, &mut payload, &names)?;
    let signature = match (in_query, in_body) {
        (Some(_), Some(_)) => return Err(duplicate("signature")),
        (a, b) => a.or(b),
    };
    Ok(Request {
        endpoint,
        params,
        signature,
        payload: payload.into_bytes(),
        key,
    })
}

fn duplicate(name: &str) -> Refusal {
    Refusal::new(
        -1101,
        format!("Duplicate values for parameter '{name}' detected."),
    )
}

/// Splits `text` into `params`, appends it without the signature to `payload`, gives the signature. A name in `above` was in
/// the query already, which is used; twice in one text is refused.
fn split(
    text: &str,
    params: &mut BTreeMap<String, String>,
    payload: &mut String,
    above: &HashSet<String>,
) -> Result<Option<String>, Refusal> {
    let mut signature = None;
    if text.is_empty() {
        return Ok(None);
    }
    let mut here = HashSet::new();
    let mut first = true;
    for piece in text.split('&') {
        let illegal = || Refusal::new(-1100, "Illegal characters found in a parameter.");
        let (name, value) = piece.split_once('=').ok_or_else(illegal)?;
        let name = decode(name).ok_or_else(illegal)?;
        let value = decode(value).ok_or_else(illegal)?;
        if name.is_empty() {
            return Err(illegal());
        }
        if !here.insert(name.clone()) {
            return Err(duplicate(&name));
        }
        if name == "signature" {
            signature = Some(value);
            continue;
        }
        if !first {
            payload.push('&');
        }
        first = false;
        payload.push_str(piece);
        if !above.contains(&name) {
            params.insert(name, value);
        }
    }
    Ok(signature)
}

/// Percent-decoding of a form; `None` where it is none: `+` is a space, every `%` has two hex digits, the result is UTF-8 without control characters.
#[must_use]
pub fn decode(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'+' => out.push(b' '),
            b'%' => {
                let high = char::from(bytes.next()?).to_digit(16)?;
                let low = char::from(bytes.next()?).to_digit(16)?;
                out.push(u8::try_from(high * 16 + low).ok()?);
            }
            _ => out.push(byte),
        }
    }
    let text = String::from_utf8(out).ok()?;
    (!text.chars().any(char::is_control)).then_some(text)
}

/// Judges a request that was taken apart.
///
/// # Errors
/// The venue's refusal.
pub fn judge(request: &Request<'_>, keys: &Keys, now_us: u64) -> Result<Understood, Refusal> {
    let endpoint = request.endpoint;
    let mut understood = Understood {
        method: endpoint.method,
        path: endpoint.path,
        params: request.params.clone(),
        key: None,
        timestamp_us: None,
    };
    match endpoint.security {
        // A key or a signature on a public call is not looked at; their parameters count as unknown ones.
        Security::Public => {}
        Security::KeyOnly => {
            let (text, _) = key(request, keys)?;
            understood.key = Some(text);
        }
        Security::Signed(right) => {
            let text = key_text(request)?;
            let timestamp = match request.params.get("timestamp") {
                None => return Err(Refusal::mandatory("timestamp")),
                Some(text) => long("timestamp", text)?,
            };
            let window = match request.params.get("recvWindow") {
                None => 5_000_000,
                Some(text) => recv_window(text)?,
            };
            let signature = match request.signature.as_deref() {
                None | Some("") => return Err(Refusal::mandatory("signature")),
                Some(text) => text,
            };
            if !signature
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"+/=".contains(&b))
            {
                return Err(Refusal::illegal("signature", "^[A-Za-z0-9+/=]+$"));
            }
            let (_, key) = key(request, keys)?;
            // Microseconds from 10^15 on, as the venue tells them apart.
            let stamp = if timestamp >= 1_000_000_000_000_000 {
                timestamp
            } else {
                timestamp.saturating_mul(1000)
            };
            if stamp >= now_us.saturating_add(1_000_000) {
                return Err(Refusal::new(
                    -1021,
                    "Timestamp for this request was 1000ms ahead of the server's time.",
                ));
            }
            if now_us.saturating_sub(stamp) > window {
                return Err(Refusal::new(
                    -1021,
                    "Timestamp for this request is outside of the recvWindow.",
                ));
            }
            if !key.verifies(&request.payload, signature) {
                return Err(Refusal::new(
                    -1022,
                    "Signature for this request is not valid.",
                ));
            }
            if !key.rights.has(right) {
                return Err(Refusal::key());
            }
            understood.key = Some(text);
            understood.timestamp_us = Some(stamp);
        }
    }
    parameters(endpoint, &understood.params, request.signature.is_some())?;
    if !endpoint.futures() {
        crate::order_rules::check(endpoint.path, &understood.params)?;
    }
    Ok(understood)
}

fn key_text(request: &Request<'_>) -> Result<String, Refusal> {
    let bad = || Refusal::new(-2014, "API-key format invalid.").status(401);
    let bytes = request.key.ok_or_else(bad)?;
    if !(16..=128).contains(&bytes.len()) || !bytes.iter().all(u8::is_ascii_alphanumeric) {
        return Err(bad());
    }
    String::from_utf8(bytes.to_vec()).map_err(|_| bad())
}

fn key<'k>(
    request: &Request<'_>,
    keys: &'k Keys,
) -> Result<(String, &'k crate::keys::Key), Refusal> {
    let text = key_text(request)?;
    let key = keys.find(&text).ok_or_else(Refusal::key)?;
    Ok((text, key))
}

/// Receive window in microseconds.
fn recv_window(text: &str) -> Result<u64, Refusal> {
    const RANGE: &str = "^([0-9]{1,5})(\\.[0-9]{1,3})?$";
    let (whole, part) = text
        .split_once('.')
        .map_or((text, None), |(w, p)| (w, Some(p)));
    let digits =
        |t: &str, max: usize| (1..=max).contains(&t.len()) && t.bytes().all(|b| b.is_ascii_digit());
    if text.is_empty() {
        return Err(Refusal::new(-1105, "Parameter 'recvWindow' was empty."));
    }
    if !digits(whole, 20) || part.is_some_and(|p| !digits(p, 3)) {
        return Err(Refusal::illegal("recvWindow", RANGE));
    }
    let part: u64 = part.map_or(0, |p| format!("{p:0<3}").parse().unwrap_or(0));
    let window = whole
        .parse::<u64>()
        .unwrap_or(u64::MAX)
        .saturating_mul(1000)
        .saturating_add(part);
    if window > 60_000_000 {
        return Err(Refusal::new(-1131, "recvWindow must be less than 60000."));
    }
    Ok(window)
}

fn long(name: &str, text: &str) -> Result<u64, Refusal> {
    const RANGE: &str = "^[0-9]{1,20}$";
    if text.is_empty() {
        return Err(Refusal::mandatory(name));
    }
    if text.len() > 20 || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Refusal::illegal(name, RANGE));
    }
    match text.parse::<u64>() {
        Ok(value) if i64::try_from(value).is_ok() => Ok(value),
        _ => Err(Refusal::new(
            -1108,
            format!("Parameter '{name}' overflowed."),
        )),
    }
}

/// Known, whole, in their forms.
///
/// # Errors
/// The venue's refusal.
pub fn parameters(
    endpoint: &Endpoint,
    params: &BTreeMap<String, String>,
    signature: bool,
) -> Result<(), Refusal> {
    let signed = matches!(endpoint.security, Security::Signed(_));
    if !endpoint.sapi() {
        let known = |name: &str| endpoint.param(name).is_some() || signed && SIGNED.contains(&name);
        let read = params.keys().filter(|name| known(name)).count();
        let sent = params.len() + usize::from(signature && !signed);
        if read < sent {
            return Err(if signed {
                Refusal::new(
                    -1104,
                    format!(
                        "Not all sent parameters were read; read '{}' parameter(s) but was sent '{}'.",
                        read + 1,
                        sent + 1
                    ),
                )
            } else {
                Refusal::new(
                    -1101,
                    format!("Too many parameters; expected '{read}' and received '{sent}'."),
                )
            });
        }
    }
    for param in endpoint.params.iter().copied().flatten() {
        let Some(text) = params.get(param.name) else {
            if param.must {
                return Err(Refusal::mandatory(param.name));
            }
            continue;
        };
        if text.is_empty() {
            return Err(if param.must {
                Refusal::mandatory(param.name)
            } else {
                Refusal::new(-1105, format!("Parameter '{}' was empty.", param.name))
            });
        }
        form(param.name, param.kind, text)?;
    }
    Ok(())
}

fn form(name: &str, kind: Kind, text: &str) -> Result<(), Refusal> {
    let word = |words: &[&str], code: i64, msg: &str| {
        if words.contains(&text) {
            Ok(())
        } else {
            Err(Refusal::new(code, msg))
        }
    };
    match kind {
        Kind::Symbol => symbol(name, text),
        Kind::Symbols => {
            let list: Vec<String> = serde_json::from_str(text)
                .map_err(|_| Refusal::illegal(name, "^\\[(\"[\\w\\-._&&[^a-z]]{1,50}\"(,\"[\\w\\-._&&[^a-z]]{1,50}\"){0,}){0,1}\\]$"))?;
            if list.is_empty() {
                return Err(Refusal::mandatory(name));
            }
            let mut seen = HashSet::new();
            for one in &list {
                symbol(name, one)?;
                if !seen.insert(one) {
                    return Err(Refusal::new(
                        -1151,
                        "Symbol is present multiple times in the list.",
                    ));
                }
            }
            Ok(())
        }
        Kind::ClientId => {
            let legal = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
            if text.len() <= 36 && text.bytes().all(legal) {
                Ok(())
            } else {
                Err(Refusal::illegal(name, "^[a-zA-Z0-9-_]{1,36}$"))
            }
        }
        Kind::LongClientId => {
            let legal = |b: u8| b.is_ascii_alphanumeric() || b"-_.:/".contains(&b);
            if text.len() > 36 {
                Err(Refusal::new(
                    -4015,
                    "Client order id length should not be more than 36 chars",
                ))
            } else if text.bytes().all(legal) {
                Ok(())
            } else {
                Err(Refusal::illegal(name, "^[\\.A-Z\\:/a-z0-9_-]{1,36}$"))
            }
        }
        Kind::Decimal => match decimal::parse(text) {
            Ok(_) => Ok(()),
            Err(BadDecimal::Illegal) => {
                Err(Refusal::illegal(name, "^([0-9]{1,20})(\\.[0-9]{1,20})?$"))
            }
            Err(BadDecimal::Precision) => Err(Refusal::new(
                -1111,
                format!("Parameter '{name}' has too much precision."),
            )),
        },
        Kind::Long => long(name, text).map(|_| ()),
        Kind::Int => match long(name, text)? {
            value if i32::try_from(value).is_ok() => Ok(()),
            _ => Err(Refusal::new(
                -1108,
                format!("Parameter '{name}' overflowed."),
            )),
        },
        Kind::Bool => word(
            &["true", "false"],
            -1100,
            &format!(
                "Illegal characters found in parameter '{name}'; legal range is 'true|false'."
            ),
        ),
        Kind::Side => word(&["BUY", "SELL"], -1117, "Invalid side."),
        Kind::OrderType => word(
            &[
                "LIMIT",
                "MARKET",
                "STOP_LOSS",
                "STOP_LOSS_LIMIT",
                "TAKE_PROFIT",
                "TAKE_PROFIT_LIMIT",
                "LIMIT_MAKER",
            ],
            -1116,
            "Invalid orderType.",
        ),
        Kind::TimeInForce => word(&["GTC", "IOC", "FOK"], -1115, "Invalid timeInForce."),
        Kind::RespType => word(
            &["ACK", "RESULT", "FULL"],
            -1102,
            &Refusal::mandatory(name).msg,
        ),
        Kind::Stp => word(
            &[
                "NONE",
                "EXPIRE_TAKER",
                "EXPIRE_MAKER",
                "EXPIRE_BOTH",
                "DECREMENT",
                "TRANSFER",
            ],
            -1130,
            &format!("Data sent for parameter '{name}' is not valid."),
        ),
        Kind::Words(words) => {
            let (code, msg) = match name {
                "cancelRestrictions" => (-1145, "Invalid cancelRestrictions".to_owned()),
                "symbolStatus" => (-1122, "Invalid symbolStatus.".to_owned()),
                "type" => (-1139, "Invalid ticker type.".to_owned()),
                _ => (
                    -1130,
                    format!("Data sent for parameter '{name}' is not valid."),
                ),
            };
            word(words, code, &msg)
        }
        Kind::Coded(words, code, msg) => word(words, code, msg),
        Kind::Interval => word(&INTERVALS, -1120, "Invalid interval."),
        Kind::Text => Ok(()),
    }
}

/// Candle intervals.
pub const INTERVALS: [&str; 16] = [
    "1s", "1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w",
    "1M",
];

fn symbol(name: &str, text: &str) -> Result<(), Refusal> {
    let legal = |c: char| (c.is_alphanumeric() && !c.is_ascii_lowercase()) || "-._".contains(c);
    if (1..=50).contains(&text.chars().count()) && text.chars().all(legal) {
        Ok(())
    } else {
        Err(Refusal::illegal(name, "^[\\w\\-._&&[^a-z]]{1,50}$"))
    }
}
