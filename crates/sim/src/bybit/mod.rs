//! A simulated Bybit v5.
//!
//! Neither method nor path is signed, as there: what a signature is good for is the query of a GET or the body of a POST.
//! What the documents leave open it takes strictly: an unknown field on a call that changes something is refused.

mod account;
mod contracts;
mod market;
mod socket;
mod trade;

use crate::decimal::{self, D, short};
use crate::refusal::Refusal;
use crate::v5::spot::Why;
use crate::v5::table::{self, Call, Fields, Manner, Wrong};
use crate::v5::{Reply, Sent, json};
use crate::venue::Venue;
use serde_json::{Value, json};
use std::sync::LazyLock;

pub use socket::open;

/// Requests of an address in five seconds; more get 403 for ten minutes.
pub const ADDRESS_REQUESTS: usize = 600;
/// Milliseconds that a request is good for where it says nothing.
const WINDOW_MS: u64 = 5_000;
/// Milliseconds that a request may be ahead of the venue.
const AHEAD_MS: u64 = 1_000;
const BAN_MS: u64 = 600_000;

/// The calls.
pub static CALLS: LazyLock<Vec<Call>> =
    LazyLock::new(|| table::parse(include_str!("calls.txt")).unwrap_or_default());

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
        int(&self.fields, name)
    }

    fn account(&self) -> Result<usize, Refusal> {
        self.owner.map(|(account, _)| account).ok_or_else(no_key)
    }

    fn limit(&self, default: usize, max: usize) -> Result<usize, Refusal> {
        match self.int("limit") {
            None => Ok(default),
            Some(0) => Err(params("limit")),
            Some(number) => Ok(usize::try_from(number).unwrap_or(max).min(max)),
        }
    }
}

fn text<'a>(fields: &'a Fields, name: &str) -> Option<&'a str> {
    fields.get(name)?.as_str()
}

fn decimal(fields: &Fields, name: &str) -> Option<D> {
    decimal::parse(text(fields, name)?).ok()
}

/// A number of a body, or the digits of a query.
fn int(fields: &Fields, name: &str) -> Option<u64> {
    let value = fields.get(name)?;
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

fn flag(fields: &Fields, name: &str) -> bool {
    fields.get(name).and_then(Value::as_bool).unwrap_or(false)
}

fn no_key() -> Refusal {
    Refusal::new(10003, "API key is invalid.").status(200)
}

fn refuse(code: i64, msg: impl Into<String>) -> Refusal {
    Refusal::new(code, msg).status(200)
}

fn params(name: &str) -> Refusal {
    refuse(10001, format!("params error: {name} invalid"))
}

/// A spot order's refusal in the venue's words.
fn spot_refusal(why: Why) -> Refusal {
    let (code, msg) = match why {
        Why::Closed => (170151, "The trading pair is not open yet"),
        Why::PriceZero => (170130, "Data sent for parameter 'price' is not valid."),
        Why::Tick => (170134, "Order price decimal too long."),
        Why::PriceHigh => (170132, "Order price too high."),
        Why::PriceLow => (170133, "Order price lower than the minimum."),
        Why::Step => (170137, "Order volume decimal too long."),
        Why::Small => (170136, "Order quantity lower than the minimum."),
        Why::Large => (170381, "Order quantity too large."),
        Why::Value => (170140, "Order value exceeded lower limit."),
        Why::Orders | Why::Stops => (
            170810,
            "Cannot exceed maximum of 500 conditional, TP/SL and active orders.",
        ),
        Why::Poor => (170131, "Insufficient balance."),
        Why::Duplicate => (170141, "Duplicate clientOrderId"),
        Why::Trigger => (170202, "Please enter the TP/SL price."),
        Why::NoBook => (170210, "New order rejected."),
        Why::Unknown => (170213, "Order does not exist."),
        Why::Same => (
            10001,
            "The order remains unchanged as the parameters entered match the existing ones.",
        ),
        Why::Fixed => (170312, "The current order does not support modification"),
    };
    refuse(code, msg)
}

/// One request.
pub fn answer(venue: &mut Venue, sent: &Sent<'_>) -> Reply {
    if let Err(reply) = address(venue, sent) {
        return reply;
    }
    let Some(call) = CALLS.iter().find(|c| c.path == sent.path) else {
        return Reply::page(404, "Not Found");
    };
    if call.method != sent.method {
        return Reply::page(404, "Not Found");
    }
    if sent.method == "GET" && !sent.body.is_empty() {
        return Reply::page(403, "Forbidden");
    }
    let mut limit = None;
    let done = heard(venue, sent, call, &mut limit);
    let (status, code, msg, result, more) = match done {
        Ok(mut result) => {
            let more = result
                .as_object_mut()
                .and_then(|r| r.remove("retExtInfo"))
                .unwrap_or_else(|| json!({}));
            (200, 0, "OK".to_owned(), result, more)
        }
        Err(refusal) => (
            refusal.status,
            refusal.code,
            refusal.msg,
            json!({}),
            json!({}),
        ),
    };
    let body = json!({"retCode": code, "retMsg": msg, "result": result, "retExtInfo": more, "time": sent.now});
    let mut reply = Reply::json(status, code, &body);
    if let Some((limit, left, reset)) = limit {
        reply.answer.headers = vec![
            ("X-Bapi-Limit", limit.to_string()),
            ("X-Bapi-Limit-Status", left.to_string()),
            ("X-Bapi-Limit-Reset-Timestamp", reset.to_string()),
        ];
    }
    reply
}

/// What an address may ask.
fn address(venue: &mut Venue, sent: &Sent<'_>) -> Result<(), Reply> {
    let now = sent.now;
    let until = venue.v5.banned.get(&sent.from).copied().unwrap_or(0);
    let limit = ADDRESS_REQUESTS * venue.options.limits_times;
    if now < until
        || venue
            .v5
            .addresses
            .take(sent.from, limit, 5_000, now)
            .is_err()
    {
        if now >= until {
            venue.v5.banned.insert(sent.from, now + BAN_MS);
        }
        return Err(Reply::page(403, "access too frequent"));
    }
    Ok(())
}

fn heard(
    venue: &mut Venue,
    sent: &Sent<'_>,
    call: &'static Call,
    limit: &mut Option<(usize, usize, u64)>,
) -> Done {
    let owner = match call.need {
        None => None,
        Some(_) => Some(authentic(venue, sent)?),
    };
    let reads = sent.method == "GET";
    let given = if reads {
        table::query(sent.query).ok_or_else(|| refuse(10001, "Request parameter error."))?
    } else {
        if !sent.query.is_empty() || !sent.is_json() {
            return Err(refuse(10001, "Request parameter error."));
        }
        match json::parse(sent.body) {
            Some(Value::Object(fields)) => fields,
            None if sent.body.is_empty() && call.fields.is_empty() => Fields::new(),
            _ => return Err(refuse(10001, "Request parameter error.")),
        }
    };
    judge(venue, owner, call, &given, sent.now, limit)
}

/// A call with its fields, by whoever it is.
fn judge(
    venue: &mut Venue,
    owner: Option<(usize, &str)>,
    call: &'static Call,
    given: &Fields,
    now: u64,
    limit: &mut Option<(usize, usize, u64)>,
) -> Done {
    let reads = call.method == "GET";
    let category = given.get("category").and_then(Value::as_str).unwrap_or("");
    if let Some((account, _)) = owner {
        // Contracts have half of what spot has, counted apart.
        let trades = call.path.starts_with("/v5/order/") && !reads;
        let of = if trades { category } else { "" };
        let half = trades && category != "spot" && call.rate > 10;
        let max = call.rate / if half { 2 } else { 1 } * venue.options.limits_times;
        let key = (account, call.path, of.to_owned());
        match venue.v5.calls.take(key, max, call.window_ms, now) {
            Ok(left) => *limit = Some((max, left, now)),
            Err(reset) => {
                *limit = Some((max, 0, reset));
                return Err(refuse(
                    10006,
                    "Too many visits. Exceeded the API Rate Limit.",
                ));
            }
        }
    }
    let manner = Manner {
        text: reads,
        empty_is_absent: false,
        known_only: !reads,
    };
    let fields = table::check(&call.fields, given, manner).map_err(|wrong| match wrong {
        Wrong::Missing(name) => params(name),
        Wrong::Malformed(name) | Wrong::Unknown(name) => params(&name),
        Wrong::TooMany(max) => refuse(10001, format!("The number of orders cannot exceed {max}.")),
    })?;
    if let (Some((_, key)), Some(need)) = (owner, call.need)
        && !venue.may(key, need)
    {
        return Err(refuse(
            10005,
            "Permission denied, please check your API key permissions.",
        ));
    }
    let asked = Asked { owner, fields, now };
    match call.path {
        path if path.starts_with("/v5/market/") => market::answer(venue, path, &asked),
        path if path.starts_with("/v5/order/")
            || path.starts_with("/v5/execution/")
            || path.starts_with("/v5/position/") =>
        {
            trade::answer(venue, path, &asked)
        }
        path => account::answer(venue, path, &asked),
    }
}

/// Whose request it is: time, key, signature and address, in the venue's order.
fn authentic<'a>(venue: &Venue, sent: &Sent<'a>) -> Result<(usize, &'a str), Refusal> {
    let header = |name| sent.header(name).map_err(|_| params(name));
    let (Some(key), Some(signature), Some(time)) = (
        header("X-BAPI-API-KEY")?,
        header("X-BAPI-SIGN")?,
        header("X-BAPI-TIMESTAMP")?,
    ) else {
        return Err(refuse(10003, "API key is invalid.").status(401));
    };
    let window = header("X-BAPI-RECV-WINDOW")?;
    in_time(time, window, sent.now)?;
    let known = venue.keys.find(key).ok_or_else(no_key)?;
    let mut payload = format!("{time}{key}{}", window.unwrap_or("")).into_bytes();
    payload.extend_from_slice(if sent.method == "GET" {
        sent.query.as_bytes()
    } else {
        sent.body
    });
    // HMAC is hex in small letters here, RSA is Base64.
    if signature.bytes().any(|b| b.is_ascii_uppercase()) && known.is_hmac()
        || !known.verifies(&payload, signature)
    {
        return Err(refuse(
            10004,
            "error sign! Please check your signature generation algorithm.",
        ));
    }
    if !known.ips.is_empty() && !known.ips.contains(&sent.from) {
        return Err(refuse(
            10010,
            "Unmatched IP, please check your API key's bound IP addresses.",
        ));
    }
    Ok((known.account, key))
}

/// Whether a request came when its program meant it to.
fn in_time(time: &str, window: Option<&str>, now: u64) -> Result<(), Refusal> {
    let digits = |t: &str| (1..=15).contains(&t.len()) && t.bytes().all(|b| b.is_ascii_digit());
    if !digits(time) || window.is_some_and(|w| !digits(w)) {
        return Err(refuse(10001, "Request parameter error."));
    }
    let at: u64 = time.parse().unwrap_or(0);
    let good_ms: u64 = window.map_or(WINDOW_MS, |w| w.parse().unwrap_or(0));
    if at + good_ms < now || at >= now + AHEAD_MS {
        return Err(refuse(
            10002,
            format!(
                "invalid request, please check your server timestamp or recv_window param. req_timestamp[{at}],server_timestamp[{now}],recv_window[{good_ms}]"
            ),
        ));
    }
    Ok(())
}

/// A page of a list and the cursor of the next.
fn page(
    asked: &Asked<'_>,
    all: Vec<Value>,
    default: usize,
    max: usize,
) -> Result<(Vec<Value>, String), Refusal> {
    let limit = asked.limit(default, max)?;
    let skip: usize = match asked.text("cursor") {
        None => 0,
        Some(text) => text
            .strip_prefix("page:")
            .and_then(|t| t.parse().ok())
            .ok_or_else(|| params("cursor"))?,
    };
    let more = all.len() > skip + limit;
    let cursor = if more {
        format!("page%3A{}", skip + limit)
    } else {
        String::new()
    };
    Ok((all.into_iter().skip(skip).take(limit).collect(), cursor))
}

/// A number as the venue writes it.
fn shown(number: D) -> String {
    short(number)
}
