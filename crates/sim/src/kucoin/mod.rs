//! A simulated KuCoin, spot.
//!
//! Signed is everything that says what is asked: time, method, path with query, body. What the documents leave open it
//! takes strictly: an unknown field on a call that changes something is refused.

mod account;
mod market;
mod trade;

use crate::decimal::{self, D, short};
use crate::refusal::Refusal;
use crate::v5::spot::Why;
use crate::v5::table::{self, Call, Fields, Manner, Wrong};
use crate::v5::{Reply, Sent, json};
use crate::venue::Venue;
use serde_json::{Value, json};
use std::sync::LazyLock;

/// Milliseconds that a request's time may be away from the venue's.
const WINDOW_MS: u64 = 5_000;
/// The code of an answer that is no refusal.
const SUCCESS: i64 = 200_000;

/// The calls.
pub static CALLS: LazyLock<Vec<Call>> =
    LazyLock::new(|| table::parse(include_str!("calls.txt")).unwrap_or_default());

/// What goes into `data`.
type Done = Result<Value, Refusal>;

/// What was asked, by whom.
struct Asked<'a> {
    /// Account of the key, and the key.
    owner: Option<(usize, &'a str)>,
    fields: Fields,
    now: u64,
}

impl Asked<'_> {
    fn text(&self, name: &str) -> Option<&str> {
        text(&self.fields, name)
    }

    fn int(&self, name: &str) -> Option<u64> {
        self.text(name)?.parse().ok()
    }

    fn account(&self) -> Result<usize, Refusal> {
        let account = self.owner.map(|(account, _)| account);
        account.ok_or_else(|| denied(400_003, "KC-API-KEY not exists"))
    }
}

fn text<'a>(fields: &'a Fields, name: &str) -> Option<&'a str> {
    fields.get(name)?.as_str()
}

fn decimal(fields: &Fields, name: &str) -> Option<D> {
    decimal::parse(text(fields, name)?).ok()
}

fn flag(fields: &Fields, name: &str) -> bool {
    fields.get(name).and_then(Value::as_bool).unwrap_or(false)
}

fn refuse(code: i64, msg: impl Into<String>) -> Refusal {
    Refusal::new(code, msg).status(200)
}

fn parameter(name: &str) -> Refusal {
    Refusal::new(400_100, format!("parameter error: {name}"))
}

fn denied(code: i64, msg: impl Into<String>) -> Refusal {
    Refusal::new(code, msg).status(401)
}

fn no_symbol() -> Refusal {
    refuse(400_600, "validation.createOrder.symbolNotAvailable")
}

fn no_order() -> Refusal {
    refuse(400_100, "order_not_exist_or_not_allow_to_cancel")
}

/// A spot order's refusal in the venue's words.
fn spot_refusal(why: Why) -> Refusal {
    let (code, msg) = match why {
        Why::Closed => (400_600, "validation.createOrder.symbolNotAvailable"),
        Why::PriceZero | Why::Tick => (400_100, "Price increment invalid."),
        Why::PriceHigh | Why::PriceLow => (400_370, "Price is beyond its limit."),
        Why::Step => (600_100, "Order size increment invalid."),
        Why::Small => (400_100, "Order size below the minimum requirement."),
        Why::Value => (600_101, "The order funds should more then 0.1 USDT."),
        Why::Large => (400_100, "Order size above the maximum."),
        Why::Orders | Why::Stops => (400_200, "Too many open orders."),
        Why::Poor => (200_004, "Balance insufficient!"),
        Why::Duplicate => (400_100, "clientOid duplicate"),
        Why::Trigger | Why::NoBook | Why::Same | Why::Fixed => (400_100, "parameter error"),
        Why::Unknown => return no_order(),
    };
    refuse(code, msg)
}

/// The call of a request, and the fields in its path. One that is written out comes first.
fn call(sent: &Sent<'_>) -> Option<(&'static Call, Fields)> {
    let of_method = || CALLS.iter().filter(|c| c.method == sent.method);
    if let Some(call) = of_method().find(|c| c.path == sent.path && !c.path.contains('{')) {
        return Some((call, Fields::new()));
    }
    of_method().find_map(|call| Some((call, in_path(call.path, sent.path)?)))
}

fn in_path(wanted: &str, path: &str) -> Option<Fields> {
    let mut fields = Fields::new();
    let mut segments = path.split('/');
    for wanted in wanted.split('/') {
        let segment = segments.next()?;
        let name = wanted.strip_prefix('{').and_then(|w| w.strip_suffix('}'));
        match name {
            Some(name) => {
                fields.insert(name.to_owned(), Value::from(segment));
            }
            None if segment == wanted => {}
            None => return None,
        }
    }
    (segments.next().is_none() && !fields.is_empty()).then_some(fields)
}

/// One request.
pub fn answer(venue: &mut Venue, sent: &Sent<'_>) -> Reply {
    let done = match call(sent) {
        Some((call, in_path)) => heard(venue, sent, call, in_path),
        None => Err(Refusal::new(404_000, "URL Not Found").status(404)),
    };
    match done {
        Ok(data) => Reply::json(200, 0, &json!({"code": SUCCESS.to_string(), "data": data})),
        Err(no) => {
            let body = json!({"code": no.code.to_string(), "msg": no.msg});
            Reply::json(no.status, no.code, &body)
        }
    }
}

fn heard(venue: &mut Venue, sent: &Sent<'_>, call: &'static Call, in_path: Fields) -> Done {
    let owner = match call.need {
        None => None,
        Some(_) => Some(authentic(venue, sent)?),
    };
    let is_post = sent.method == "POST";
    let manner = Manner {
        text: !is_post,
        empty_is_absent: false,
        // CCXT says of a read what it is of by itself.
        known_only: sent.method != "GET",
    };
    let mut given = body(sent)?;
    for (name, value) in in_path {
        if given.insert(name.clone(), value).is_some() {
            return Err(parameter(&name));
        }
    }
    let fields = table::check(&call.fields, &given, manner).map_err(|wrong| match wrong {
        Wrong::Missing(name) => parameter(name),
        Wrong::Malformed(name) | Wrong::Unknown(name) => parameter(&name),
        Wrong::TooMany(_) => parameter("orderList"),
    })?;
    rate(venue, sent, call, owner.map(|(account, _)| account))?;
    if let (Some((_, key)), Some(need)) = (owner, call.need)
        && !venue.may(key, need)
    {
        return Err(Refusal::new(400_007, "Access denied, require more permission.").status(403));
    }
    let asked = Asked {
        owner,
        fields,
        now: sent.now,
    };
    match call.path {
        path if path.starts_with("/api/v1/hf/") && path != "/api/v1/hf/accounts/opened" => {
            trade::answer(venue, call, &asked)
        }
        path if call.need.is_some() => account::answer(venue, path, &asked),
        path => market::answer(venue, path, &asked),
    }
}

/// The fields of a query or of a body.
fn body(sent: &Sent<'_>) -> Result<Fields, Refusal> {
    if sent.method != "POST" {
        if !sent.body.is_empty() {
            return Err(parameter("body"));
        }
        return table::query(sent.query).ok_or_else(|| parameter("query"));
    }
    if !sent.query.is_empty() {
        return Err(parameter("query"));
    }
    if !sent.is_json() {
        return Err(Refusal::new(415_000, "Unsupported Media Type").status(415));
    }
    match json::parse(sent.body) {
        Some(Value::Object(fields)) => Ok(fields),
        _ => Err(parameter("body")),
    }
}

/// Requests by account, or by address where nobody signs.
fn rate(
    venue: &mut Venue,
    sent: &Sent<'_>,
    call: &'static Call,
    account: Option<usize>,
) -> Result<(), Refusal> {
    let limit = call.rate * venue.options.limits_times;
    let key = match account {
        Some(account) => (account, call.path, String::new()),
        None => (usize::MAX, call.path, sent.from.to_string()),
    };
    let taken = venue.v5.calls.take(key, limit, call.window_ms, sent.now);
    taken
        .map(drop)
        .map_err(|_| Refusal::new(429_000, "Too many requests.").status(429))
}

/// Whose request it is.
fn authentic<'a>(venue: &Venue, sent: &Sent<'a>) -> Result<(usize, &'a str), Refusal> {
    let header = |name: &'static str| {
        let value = sent.header(name).ok().flatten().filter(|v| !v.is_empty());
        value.ok_or_else(|| {
            denied(
                400_001,
                "Any of KC-API-KEY, KC-API-SIGN, KC-API-TIMESTAMP, KC-API-PASSPHRASE is missing in your request header",
            )
        })
    };
    let key = header("KC-API-KEY")?;
    let signature = header("KC-API-SIGN")?;
    let time = header("KC-API-TIMESTAMP")?;
    let passphrase = header("KC-API-PASSPHRASE")?;
    let at: u64 = Some(time)
        .filter(|t| t.len() == 13 && t.bytes().all(|b| b.is_ascii_digit()))
        .and_then(|t| t.parse().ok())
        .ok_or_else(|| Refusal::new(400_002, "KC-API-TIMESTAMP Invalid"))?;
    if at.abs_diff(sent.now) > WINDOW_MS {
        return Err(Refusal::new(400_002, "KC-API-TIMESTAMP Invalid"));
    }
    let known = venue
        .keys
        .find(key)
        .ok_or_else(|| denied(400_003, "KC-API-KEY not exists"))?;
    // Keys here are of the newer versions, whose passphrase is sent as its HMAC.
    let version = sent.header("KC-API-KEY-VERSION").ok().flatten();
    let own = known.passphrase.as_deref().unwrap_or("");
    if !matches!(version, Some("2" | "3"))
        || own.is_empty()
        || !known.verifies_base64(own.as_bytes(), passphrase)
    {
        return Err(denied(400_004, "KC-API-PASSPHRASE error"));
    }
    let mut payload = format!("{time}{}{}", sent.method, decoded(sent)?).into_bytes();
    payload.extend_from_slice(sent.body);
    if !known.verifies_base64(&payload, signature) {
        return Err(denied(400_005, "Signature error"));
    }
    if !known.ips.is_empty() && !known.ips.contains(&sent.from) {
        return Err(denied(
            400_006,
            "The requested ip address is not in the api whitelist",
        ));
    }
    Ok((known.account, key))
}

/// The target as it reads once its query is decoded: what is signed.
fn decoded(sent: &Sent<'_>) -> Result<String, Refusal> {
    let mut text = sent.path.to_owned();
    for (at, piece) in sent.query.split('&').filter(|p| !p.is_empty()).enumerate() {
        let (name, value) = piece.split_once('=').ok_or_else(|| parameter("query"))?;
        let value = crate::strict::decode(value).ok_or_else(|| parameter("query"))?;
        text.push(if at == 0 { '?' } else { '&' });
        text.push_str(name);
        text.push('=');
        text.push_str(&value);
    }
    Ok(text)
}

/// A number as the venue writes it.
fn shown(number: D) -> String {
    short(number)
}

#[cfg(test)]
mod tests {
    use super::{CALLS, in_path};

    #[test]
    fn the_table_is_whole() {
        assert!(CALLS.len() > 25);
    }

    #[test]
    fn fields_in_paths() {
        let wanted = "/a/{id}/b";
        assert!(in_path(wanted, "/a/1/b").is_some());
        for path in ["/a/b", "/a/1/c", "/a/1/b/", "/a/1", "a/1/b"] {
            assert!(in_path(wanted, path).is_none(), "{path}");
        }
    }
}
