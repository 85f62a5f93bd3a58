//! A simulated OKX v5.
//!
//! Signed is everything that says what is asked: time, method, path with query, body. What the documents leave open it
//! takes strictly: an unknown field on a call that changes something is refused.
//! On its WebSockets only the login is signed.

mod account;
mod contracts;
mod events;
mod market;
mod socket;
mod trade;

pub use socket::open;

use crate::decimal::{self, D, short};
use crate::keys::{Key, Right};
use crate::refusal::Refusal;
use crate::v5::spot::Why;
use crate::v5::table::{self, Call, Fields, Manner, Wrong};
use crate::v5::{Reply, Sent, json};
use crate::venue::Venue;
use serde_json::{Value, json};
use std::net::IpAddr;
use std::sync::LazyLock;

/// Milliseconds that a request's time may be away from the venue's.
const WINDOW_MS: u64 = 30_000;

/// The calls.
pub static CALLS: LazyLock<Vec<Call>> =
    LazyLock::new(|| table::parse(include_str!("calls.txt")).unwrap_or_default());

/// What goes into `data`.
type Done = Result<Vec<Value>, Refusal>;

/// What was asked, by whom.
struct Asked<'a> {
    /// Account of the key, and the key.
    owner: Option<(usize, &'a str)>,
    fields: Fields,
    /// The objects of a body that is an array.
    several: Vec<Value>,
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
        self.owner
            .map(|(account, _)| account)
            .ok_or_else(|| refuse(50111, "Invalid OK-ACCESS-KEY"))
    }

    fn limit(&self, name: &str, default: usize, max: usize) -> Result<usize, Refusal> {
        match self.int(name) {
            None => Ok(default),
            Some(0) => Err(parameter(name)),
            Some(number) if number > max as u64 => Err(parameter(name)),
            Some(number) => Ok(usize::try_from(number).unwrap_or(max)),
        }
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
    Refusal::new(51000, format!("Parameter {name} error"))
}

fn denied(code: i64, msg: impl Into<String>) -> Refusal {
    Refusal::new(code, msg).status(401)
}

/// A spot order's refusal in the venue's words.
fn spot_refusal(why: Why) -> Refusal {
    let (code, msg) = match why {
        Why::Closed => (51021, "The contract will be listed soon."),
        Why::PriceZero => (51000, "Parameter px error"),
        Why::Tick => (51000, "Parameter px error: not a multiple of the tick size"),
        Why::PriceHigh | Why::PriceLow => (51006, "Order price is not within the price limit."),
        Why::Step => (51121, "Order quantity must be a multiple of the lot size."),
        Why::Small | Why::Value => (
            51020,
            "Your order should meet or exceed the minimum order amount.",
        ),
        Why::Large => (51005, "Your order amount exceeds the max order amount."),
        Why::Orders | Why::Stops => (51025, "Order count exceeds the limit."),
        Why::Poor => (51008, "Order failed. Insufficient balance in account."),
        Why::Duplicate => (51016, "Client order ID already exists."),
        Why::Trigger => (
            51278,
            "SL trigger price cannot be lower than the last price",
        ),
        Why::NoBook => (51109, "No orders at the current price."),
        Why::Unknown => (
            51400,
            "Cancellation failed as the order has been filled, canceled or does not exist.",
        ),
        Why::Same => (51500, "You must enter a price, quantity, or TP/SL."),
        Why::Fixed => (
            51506,
            "Order modification is not supported for this order type.",
        ),
    };
    refuse(code, msg)
}

/// One request.
pub fn answer(venue: &mut Venue, sent: &Sent<'_>) -> Reply {
    let Some(call) = CALLS
        .iter()
        .find(|c| c.path == sent.path && c.method == sent.method)
    else {
        let other = CALLS.iter().any(|c| c.path == sent.path);
        let (status, code, msg) = if other {
            (405, 50115, "Invalid request method.")
        } else {
            (404, 404, "Not Found")
        };
        return told(
            sent,
            call_none(),
            Err(Refusal::new(code, msg).status(status)),
        );
    };
    let done = heard(venue, sent, call);
    told(sent, Some(call), done)
}

fn call_none() -> Option<&'static Call> {
    None
}

/// The answer around what was done. Of several orders each says for itself what became of it.
fn told(sent: &Sent<'_>, call: Option<&'static Call>, done: Done) -> Reply {
    let trades = call.is_some_and(|c| c.path.starts_with("/api/v5/trade/") && c.method == "POST");
    let (status, code, msg, data) = match done {
        Ok(data) => {
            let failed = data
                .iter()
                .filter(|one| one["sCode"].as_str().is_some_and(|code| code != "0"))
                .count();
            match failed {
                0 => (200, 0, String::new(), data),
                n if n == data.len() => (200, 1, "All operations failed".to_owned(), data),
                _ => (
                    200,
                    2,
                    "Bulk operation partially succeeded.".to_owned(),
                    data,
                ),
            }
        }
        Err(refusal) => (refusal.status, refusal.code, refusal.msg, Vec::new()),
    };
    let mut body = json!({"code": code.to_string(), "msg": msg, "data": data});
    if trades {
        body["inTime"] = json!(format!("{}000", sent.now));
        body["outTime"] = json!(format!("{}000", sent.now));
    }
    Reply::json(status, code, &body)
}

fn heard(venue: &mut Venue, sent: &Sent<'_>, call: &'static Call) -> Done {
    let owner = match call.need {
        None => None,
        Some(_) => Some(authentic(venue, sent)?),
    };
    let manner = Manner {
        text: true,
        empty_is_absent: true,
        known_only: sent.method == "POST",
    };
    let (given, several) = body(sent, call)?;
    let wrong = |wrong| match wrong {
        Wrong::Missing(name) => Refusal::new(50014, format!("Parameter {name} cannot be empty.")),
        Wrong::Malformed(name) | Wrong::Unknown(name) => parameter(&name),
        Wrong::TooMany(max) => refuse(
            51111,
            format!("Maximum {max} orders can be placed in bulk."),
        ),
    };
    let (mut fields, mut all) = (Fields::new(), Vec::new());
    match call.array() {
        None => fields = table::check(&call.fields, &given, manner).map_err(wrong)?,
        Some((of, max)) => all = table::objects(of, &several, max, manner).map_err(wrong)?,
    }
    rate(
        venue,
        (sent.from, sent.now),
        call,
        owner.map(|(account, _)| account),
        &fields,
        &all,
    )?;
    if let (Some((_, key)), Some(need)) = (owner, call.need)
        && !venue.keys.find(key).is_some_and(|key| may(key, need))
    {
        return Err(denied(
            50120,
            "This API key doesn't have permission to use this function.",
        ));
    }
    let asked = Asked {
        owner,
        fields,
        several: all,
        now: sent.now,
    };
    match call.path {
        path if path.starts_with("/api/v5/trade/") => trade::answer(venue, call, path, &asked),
        path if path.starts_with("/api/v5/account/") || path.starts_with("/api/v5/asset/") => {
            account::answer(venue, path, &asked)
        }
        path => market::answer(venue, path, &asked),
    }
}

/// The fields of a query or of a body, or the objects of a body.
fn body(sent: &Sent<'_>, call: &Call) -> Result<(Fields, Vec<Value>), Refusal> {
    if sent.method == "GET" {
        if !sent.body.is_empty() {
            return Err(Refusal::new(50000, "Body must be empty for GET requests."));
        }
        let query = table::query(sent.query);
        return query
            .map(|q| (q, Vec::new()))
            .ok_or_else(|| Refusal::new(51000, "Parameter error"));
    }
    if !sent.query.is_empty() {
        return Err(Refusal::new(51000, "Parameter error"));
    }
    if !sent.is_json() {
        return Err(Refusal::new(
            50006,
            "Invalid Content-Type, please use \"application/json\" format",
        ));
    }
    if sent.body.is_empty() {
        return Err(Refusal::new(
            50000,
            "Body for POST request cannot be empty.",
        ));
    }
    match (json::parse(sent.body), call.array().is_some()) {
        (Some(Value::Object(fields)), false) => Ok((fields, Vec::new())),
        (Some(Value::Array(all)), true) => Ok((Fields::new(), all)),
        _ => Err(Refusal::new(50002, "JSON syntax error")),
    }
}

/// Requests by account, or by address where nobody signs; of several orders each counts.
fn rate(
    venue: &mut Venue,
    (from, now): (IpAddr, u64),
    call: &'static Call,
    account: Option<usize>,
    fields: &Fields,
    all: &[Value],
) -> Result<(), Refusal> {
    let limit = call.rate * venue.options.limits_times;
    let market = |fields: &Fields| {
        let names = ["instId", "instType"];
        let name = names.iter().find_map(|n| text(fields, n)).unwrap_or("");
        if call.by_market {
            name.to_owned()
        } else {
            String::new()
        }
    };
    let markets: Vec<String> = if all.is_empty() {
        vec![market(fields)]
    } else {
        let objects = all.iter().filter_map(Value::as_object);
        objects.map(market).collect()
    };
    for market in markets {
        let key = match account {
            Some(account) => (account, call.path, market),
            None => (usize::MAX, call.path, format!("{from} {market}")),
        };
        if venue
            .v5
            .calls
            .take(key, limit, call.window_ms, now)
            .is_err()
        {
            return Err(Refusal::new(50011, "Too Many Requests").status(429));
        }
    }
    Ok(())
}

/// What a key may do. There are three rights at this venue: reading, trading (with it transfers and settings), withdrawing.
fn may(key: &Key, need: Right) -> bool {
    match need {
        Right::Trade => trades(key),
        need => key.rights.has(need),
    }
}

fn trades(key: &Key) -> bool {
    [Right::Trade, Right::UniversalTransfer, Right::Admin]
        .iter()
        .any(|right| key.rights.has(*right))
}

/// Whose request it is.
fn authentic<'a>(venue: &Venue, sent: &Sent<'a>) -> Result<(usize, &'a str), Refusal> {
    let header = |name: &'static str, code| {
        let value = sent
            .header(name)
            .map_err(|_| denied(50114, "Invalid Authorization"))?;
        value
            .filter(|v| !v.is_empty())
            .ok_or_else(|| denied(code, format!("Request header \"{name}\" cannot be empty")))
    };
    let key = header("OK-ACCESS-KEY", 50103)?;
    let passphrase = header("OK-ACCESS-PASSPHRASE", 50104)?;
    let signature = header("OK-ACCESS-SIGN", 50106)?;
    let time = header("OK-ACCESS-TIMESTAMP", 50107)?;
    let at = iso(time).ok_or_else(|| denied(50112, "Invalid OK-ACCESS-TIMESTAMP"))?;
    if at.abs_diff(sent.now) > WINDOW_MS {
        return Err(denied(50102, "Timestamp request expired"));
    }
    let known = venue
        .keys
        .find(key)
        .ok_or_else(|| denied(50111, "Invalid OK-ACCESS-KEY"))?;
    match sent.header("x-simulated-trading") {
        Ok(None | Some("0")) => {}
        // Keys here are of live accounts.
        _ => return Err(denied(50101, "APIKey does not match current environment.")),
    }
    if known.passphrase.as_deref() != Some(passphrase) {
        return Err(denied(
            50105,
            "Request header \"OK-ACCESS-PASSPHRASE\" incorrect.",
        ));
    }
    let mut payload = format!("{time}{}{}", sent.method, sent.target).into_bytes();
    payload.extend_from_slice(sent.body);
    if !known.verifies_base64(&payload, signature) {
        return Err(denied(50113, "Invalid Sign"));
    }
    if !known.ips.is_empty() && !known.ips.contains(&sent.from) {
        return Err(denied(
            50110,
            format!(
                "Your IP {} is not included in your API key's {key} IP whitelist.",
                sent.from
            ),
        ));
    }
    Ok((known.account, key))
}

/// Milliseconds of a time like `2026-09-21T14:13:20.123Z`.
fn iso(text: &str) -> Option<u64> {
    const FORM: &[u8] = b"0000-00-00T00:00:00.000Z";
    let fits = text.len() == FORM.len()
        && text.bytes().zip(FORM).all(|(b, f)| {
            if *f == b'0' {
                b.is_ascii_digit()
            } else {
                b == *f
            }
        });
    if !fits {
        return None;
    }
    let part = |from: usize, to: usize| text.get(from..to)?.parse::<u64>().ok();
    let (year, month, day) = (part(0, 4)?, part(5, 7)?, part(8, 10)?);
    let (hour, minute, second, ms) = (part(11, 13)?, part(14, 16)?, part(17, 19)?, part(20, 23)?);
    let leap = |y: u64| y.is_multiple_of(4) && !y.is_multiple_of(100) || y.is_multiple_of(400);
    let lengths = [
        31,
        if leap(year) { 29 } else { 28 },
        31,
        30,
        31,
        30,
        31,
        31,
        30,
        31,
        30,
        31,
    ];
    let months = usize::try_from(month).ok()?.checked_sub(1)?;
    let length = *lengths.get(months)?;
    if year < 1970 || day == 0 || day > length || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let years: u64 = (1970..year).map(|y| if leap(y) { 366 } else { 365 }).sum();
    let days = years + lengths.iter().take(months).sum::<u64>() + day - 1;
    Some((((days * 24 + hour) * 60 + minute) * 60 + second) * 1000 + ms)
}

/// A number as the venue writes it.
fn shown(number: D) -> String {
    short(number)
}

#[cfg(test)]
mod tests {
    use super::iso;

    #[test]
    fn times() {
        assert_eq!(iso("1970-01-01T00:00:00.000Z"), Some(0));
        assert_eq!(iso("2026-09-21T14:13:20.123Z"), Some(1_790_000_000_123));
        assert_eq!(iso("2024-02-29T23:59:59.999Z"), Some(1_709_251_199_999));
        for bad in [
            "2026-09-21T14:13:20Z",
            "2026-09-21T14:13:20.123",
            "2026-09-21 14:13:20.123Z",
            "2026-02-29T00:00:00.000Z",
            "2026-13-01T00:00:00.000Z",
            "2026-00-01T00:00:00.000Z",
            "2026-09-21T24:00:00.000Z",
            "+026-09-21T14:13:20.123Z",
            "1790000000.123",
            "",
        ] {
            assert_eq!(iso(bad), None, "{bad}");
        }
    }
}
