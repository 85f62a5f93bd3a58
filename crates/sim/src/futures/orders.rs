//! Orders of futures as requests ask for them: which parameters a type needs and which it may not have, JSON of batches, and
//! the refusals that the house gives, in the venue's words.

use super::house::{Deny, House, Leg, Life, NewOrder, Trigger};
use crate::book::Side;
use crate::decimal::{D, ONE, d, parse, short};
use crate::refusal::Refusal;
use std::collections::BTreeMap;

/// Parameters by name.
pub type Params = BTreeMap<String, String>;

/// Orders in a batch, at most.
pub const BATCH_MAX: usize = 5;
/// Orders that one call may cancel by number.
pub const CANCEL_MAX: usize = 10;

/// An order read out of a request.
#[derive(Debug)]
pub struct Read {
    /// Contract.
    pub contract: usize,
    /// The order.
    pub new: NewOrder,
    /// Answers as soon as it is accepted, before it is matched.
    pub ack: bool,
}

/// The refusal for what the house denies.
#[must_use]
pub fn refusal(deny: Deny) -> Refusal {
    let (code, msg): (i64, String) = match deny {
        Deny::Closed => (-4140, "Invalid symbol status for opening position.".into()),
        Deny::PriceZero => (-4001, "Price less than 0.".into()),
        Deny::Precision => (
            -1111,
            "Precision is over the maximum defined for this asset.".into(),
        ),
        Deny::PriceMax => (-4002, "Price greater than max price.".into()),
        Deny::PriceMin => (-4013, "Price less than min price.".into()),
        Deny::Tick => (-4014, "Price not increased by tick size.".into()),
        Deny::PriceHigh(bound) => (
            -4016,
            format!("Limit price can't be higher than {}.", short(bound)),
        ),
        Deny::PriceLow(bound) => (
            -4024,
            format!("Limit price can't be lower than {}.", short(bound)),
        ),
        Deny::QuantityZero => (-4003, "Quantity less than or equal to zero.".into()),
        Deny::QuantityMax => (-4005, "Quantity greater than max quantity.".into()),
        Deny::Value(bound) => (
            -4164,
            format!(
                "Order's notional must be no smaller than {} (unless you choose reduce only).",
                short(super::position::shown(bound))
            ),
        ),
        Deny::Duplicate => (-4116, "ClientOrderId is duplicated.".into()),
        Deny::PositionSide => (
            -4061,
            "Order's position side does not match user's setting.".into(),
        ),
        Deny::ReduceOnly => (-2022, "ReduceOnly Order is rejected.".into()),
        Deny::Margin => (-2019, "Margin is insufficient.".into()),
        Deny::ValueMax => (
            -2027,
            "Exceeded the maximum allowable position at current leverage.".into(),
        ),
        Deny::Orders => (-2025, "Reach max open order limit.".into()),
        Deny::Stops => (-4045, "Reach max stop order limit.".into()),
        Deny::Immediate => (-2021, "Order would immediately trigger.".into()),
        Deny::Takes => (
            -5022,
            "Due to the order could not be executed as maker, the Post Only order will be rejected. \
             The order will not be recorded in the order history"
                .into(),
        ),
        Deny::Unfilled => (
            -5021,
            "Due to the order could not be filled immediately, the FOK order has been rejected. \
             The order will not be recorded in the order history"
                .into(),
        ),
        Deny::NoDepth => (-5041, "No depth matches this BBO order".into()),
        Deny::CloseExists => (
            -4130,
            "An open stop or take profit order with GTE and closePosition in the direction is existing.".into(),
        ),
        Deny::Unknown => (-2011, "Unknown order sent.".into()),
        Deny::LimitOnly => (-5025, "Only limit order is supported.".into()),
        Deny::Same => (-5027, "No need to modify the order.".into()),
        Deny::Amends => (-5026, "Exceed maximum modify order limit.".into()),
        Deny::Leverage => (-4028, "Leverage is not valid".into()),
        Deny::LeverageIsolated => (
            -4161,
            "Leverage reduction is not supported in Isolated Margin Mode with open positions".into(),
        ),
        Deny::LeverageMargin => (
            -2028,
            "Leverage is smaller than permitted: insufficient margin balance".into(),
        ),
        Deny::OpenOrders => (
            -4047,
            "Margin type cannot be changed if there exists open orders.".into(),
        ),
        Deny::HasPosition => (
            -4048,
            "Margin type cannot be changed if there exists position.".into(),
        ),
        Deny::Isolated => (
            -4167,
            "Unable to adjust to Multi-Assets mode with symbols of USDⓈ-M Futures under isolated-margin mode.".into(),
        ),
        Deny::Joint => (
            -4168,
            "Unable to adjust to isolated-margin mode under the Multi-Assets mode.".into(),
        ),
        Deny::NotIsolated => (-4049, "Add margin only support for isolated position.".into()),
        Deny::NoPosition => (-4054, "Cannot add position margin: position is 0.".into()),
        Deny::Wallet => (-4050, "Cross balance insufficient.".into()),
        Deny::IsolatedWallet => (-4051, "Isolated balance insufficient.".into()),
    };
    Refusal::new(code, msg)
}

/// A side.
///
/// # Errors
/// It is none.
pub fn side(params: &Params) -> Result<Side, Refusal> {
    match params.get("side").map(String::as_str) {
        Some("BUY") => Ok(Side::Buy),
        Some("SELL") => Ok(Side::Sell),
        _ => Err(Refusal::new(-1117, "Invalid side.")),
    }
}

/// The position side of a request; `BOTH` where it says nothing.
#[must_use]
pub fn leg(params: &Params) -> Leg {
    match params.get("positionSide").map(String::as_str) {
        Some("LONG") => Leg::Long,
        Some("SHORT") => Leg::Short,
        _ => Leg::Both,
    }
}

/// The level of the book that a word names, seen from an order's side.
#[must_use]
pub fn level(word: &str, side: Side) -> Option<(Side, usize)> {
    let (of, number) = match word.rsplit_once('_') {
        Some((of, number)) => (of, number.parse().ok()?),
        None => (word, 1),
    };
    match of {
        "OPPONENT" => Some((side.other(), number)),
        "QUEUE" => Some((side, number)),
        _ => None,
    }
}

fn word(params: &Params, name: &str, all: &[&'static str]) -> &'static str {
    params
        .get(name)
        .and_then(|text| all.iter().copied().find(|one| one == text))
        .unwrap_or(all.first().copied().unwrap_or(""))
}

/// Words of price matching.
pub const PRICE_MATCH: [&str; 9] = [
    "NONE",
    "OPPONENT",
    "OPPONENT_5",
    "OPPONENT_10",
    "OPPONENT_20",
    "QUEUE",
    "QUEUE_5",
    "QUEUE_10",
    "QUEUE_20",
];
const KINDS: [&str; 7] = [
    "LIMIT",
    "MARKET",
    "STOP",
    "STOP_MARKET",
    "TAKE_PROFIT",
    "TAKE_PROFIT_MARKET",
    "TRAILING_STOP_MARKET",
];

/// Reads one order whose parameters are known and in their forms. `algo`: it came to the conditional orders' own call.
///
/// # Errors
/// The venue's refusal.
pub fn read(house: &House, account: usize, params: &Params, algo: bool) -> Result<Read, Refusal> {
    let has = |name: &str| params.contains_key(name);
    let number = |name: &str| params.get(name).and_then(|t| parse(t).ok());
    let truth = |name: &str| params.get(name).is_some_and(|t| t == "true");
    let contract = house
        .find_contract(params.get("symbol").map_or("", String::as_str))
        .ok_or_else(Refusal::symbol)?;
    let side = side(params)?;
    let kind = word(params, "type", &KINDS);
    let waits = !matches!(kind, "LIMIT" | "MARKET");
    if waits && !algo {
        return Err(Refusal::new(
            -4120,
            "Order type not supported for this endpoint. Please use the Algo Order API endpoints instead.",
        ));
    }
    let (stop, activation) = if algo {
        ("triggerPrice", "activatePrice")
    } else {
        ("stopPrice", "activationPrice")
    };
    let limit = matches!(kind, "LIMIT" | "STOP" | "TAKE_PROFIT");
    let trailing = kind == "TRAILING_STOP_MARKET";
    // What goes with its type.
    for (name, fits) in [
        ("price", limit),
        ("timeInForce", kind != "MARKET"),
        (stop, waits && !trailing),
        (activation, trailing),
        ("callbackRate", trailing),
        ("workingType", waits),
        ("priceProtect", waits && !trailing),
    ] {
        if has(name) && !fits {
            return Err(Refusal::not_required(name));
        }
    }
    let close = truth("closePosition");
    if close && !matches!(kind, "STOP_MARKET" | "TAKE_PROFIT_MARKET") {
        return Err(Refusal::new(
            -4136,
            format!("Target strategy invalid for orderType {kind},closePosition true"),
        ));
    }
    if close && has("quantity") {
        return Err(Refusal::new(
            -4137,
            "Quantity must be zero with closePosition equals true",
        ));
    }
    if has("reduceOnly") && (close || house.accounts[account].hedge) {
        return Err(Refusal::not_required("reduceonly"));
    }
    if !close && !has("quantity") {
        return Err(Refusal::mandatory("quantity"));
    }
    let leg = leg(params);
    if close
        && matches!(
            (leg, side),
            (Leg::Long, Side::Buy) | (Leg::Short, Side::Sell)
        )
    {
        return Err(refusal(Deny::ReduceOnly));
    }
    let price_match = word(params, "priceMatch", &PRICE_MATCH);
    let matched = level(price_match, side);
    if matched.is_some() {
        if !limit {
            return Err(Refusal::new(
                -5038,
                "Price match only supports order type: LIMIT, STOP AND TAKE_PROFIT",
            ));
        }
        if has("price") {
            return Err(Refusal::not_required("price"));
        }
    } else if limit && !has("price") {
        return Err(Refusal::mandatory("price"));
    }
    if kind == "LIMIT" && !has("timeInForce") {
        return Err(Refusal::mandatory("timeInForce"));
    }
    if waits && !trailing && !has(stop) {
        return Err(Refusal::mandatory(stop));
    }
    let callback = number("callbackRate");
    if trailing {
        match callback {
            None => return Err(Refusal::mandatory("callbackRate")),
            Some(rate) if rate < d("0.1") || rate > 10 * ONE || rate % d("0.1") != 0 => {
                return Err(Refusal::new(-2007, "Invalid callBack rate"));
            }
            Some(_) => {}
        }
    }
    let life = life(params, house.now, limit)?;
    if life == Life::Rpi && !house.takes_rpi {
        return Err(Refusal::new(-1115, "Invalid timeInForce."));
    }
    if matched.is_some()
        && matches!(life, Life::Fok | Life::Ioc)
        && price_match.starts_with("QUEUE")
    {
        return Err(Refusal::new(-5037, "Invalid price match"));
    }
    let rising = match kind {
        "TAKE_PROFIT" | "TAKE_PROFIT_MARKET" => side == Side::Sell,
        _ => side == Side::Buy,
    };
    let trigger = waits.then(|| Trigger {
        rising,
        price: number(if trailing { activation } else { stop }).unwrap_or(0),
        // In hundredths: 1 is one per cent.
        trailing: callback.map(|rate| rate / 100),
        extreme: None,
        by_mark: params.get("workingType").is_some_and(|t| t == "MARK_PRICE"),
        protect: truth("priceProtect"),
    });
    let new = NewOrder {
        side,
        leg,
        kind,
        price: if limit {
            number("price").or(Some(0))
        } else {
            None
        },
        quantity: number("quantity").unwrap_or(0),
        life,
        reduce: truth("reduceOnly"),
        close,
        trigger,
        matched,
        price_match,
        client_id: if algo {
            None
        } else {
            params.get("newClientOrderId").cloned()
        },
        stp: word(
            params,
            "selfTradePreventionMode",
            &["NONE", "EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH"],
        ),
    };
    Ok(Read {
        contract,
        new,
        ack: params.get("newOrderRespType").is_none_or(|t| t == "ACK"),
    })
}

fn life(params: &Params, now: u64, limit: bool) -> Result<Life, Refusal> {
    let text = params.get("timeInForce").map(String::as_str);
    if params.contains_key("goodTillDate") && text != Some("GTD") {
        return Err(Refusal::not_required("goodTillDate"));
    }
    if !limit && matches!(text, Some("GTX" | "RPI" | "FOK" | "IOC")) {
        return Err(Refusal::new(-1115, "Invalid timeInForce."));
    }
    Ok(match text {
        Some("IOC") => Life::Ioc,
        Some("FOK") => Life::Fok,
        Some("GTX") => Life::Gtx,
        Some("RPI") => Life::Rpi,
        Some("GTD") => {
            let until: u64 = params
                .get("goodTillDate")
                .and_then(|t| t.parse().ok())
                .ok_or_else(|| Refusal::mandatory("goodTillDate"))?;
            if until <= now + 600_000 || until >= 253_402_300_799_000 {
                return Err(Refusal::new(
                    -5040,
                    "The goodTillDate timestamp must be greater than the current time plus 600 seconds and smaller than 253402300799000",
                ));
            }
            // Whole seconds.
            Life::Gtd(until / 1000 * 1000)
        }
        _ => Life::Gtc,
    })
}

/// The orders of a batch: a JSON array of flat objects. Values are texts, numbers or truths; a name twice, something nested
/// or anything behind the array makes it none.
#[must_use]
pub fn batch(text: &str) -> Option<Vec<Params>> {
    let mut json = Json(text.trim());
    json.take('[')?;
    let mut all = Vec::new();
    if json.take(']').is_some() {
        return json.0.is_empty().then_some(all);
    }
    loop {
        all.push(json.object()?);
        if json.take(',').is_none() {
            json.take(']')?;
            return json.0.is_empty().then_some(all);
        }
    }
}

/// A JSON array of plain values.
#[must_use]
pub fn list(text: &str) -> Option<Vec<String>> {
    let mut json = Json(text.trim());
    json.take('[')?;
    let mut all = Vec::new();
    loop {
        all.push(json.value()?);
        if json.take(',').is_none() {
            json.take(']')?;
            return json.0.is_empty().then_some(all);
        }
    }
}

/// What is left of a JSON text.
struct Json<'a>(&'a str);

impl Json<'_> {
    fn take(&mut self, what: char) -> Option<()> {
        self.0 = self.0.trim_start().strip_prefix(what)?;
        self.0 = self.0.trim_start();
        Some(())
    }

    fn object(&mut self) -> Option<Params> {
        self.take('{')?;
        let mut params = Params::new();
        if self.take('}').is_some() {
            return Some(params);
        }
        loop {
            let name = self.string()?;
            self.take(':')?;
            let value = self.value()?;
            if params.insert(name, value).is_some() {
                return None;
            }
            if self.take(',').is_none() {
                self.take('}')?;
                return Some(params);
            }
        }
    }

    fn value(&mut self) -> Option<String> {
        if self.0.starts_with('"') {
            return self.string();
        }
        let end = self
            .0
            .find(|c: char| !(c.is_ascii_alphanumeric() || "+-.".contains(c)))
            .unwrap_or(self.0.len());
        let (word, rest) = self.0.split_at_checked(end)?;
        let legal = matches!(word, "true" | "false")
            || serde_json::from_str::<serde_json::Number>(word).is_ok();
        if !legal {
            return None;
        }
        self.0 = rest.trim_start();
        Some(word.to_owned())
    }

    fn string(&mut self) -> Option<String> {
        let mut escaped = false;
        let end = self
            .0
            .char_indices()
            .skip(1)
            .find(|(_, c)| {
                let ends = *c == '"' && !escaped;
                escaped = *c == '\\' && !escaped;
                ends
            })
            .map(|(at, _)| at)?;
        let (text, rest) = self.0.split_at_checked(end + 1)?;
        self.0 = rest.trim_start();
        serde_json::from_str(text).ok()
    }
}

/// A decimal among parameters.
#[must_use]
pub fn amount(params: &Params, name: &str) -> Option<D> {
    params.get(name).and_then(|t| parse(t).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_flat_and_whole() {
        let all =
            batch(r#" [{"symbol":"BTCUSDT","quantity":0.1,"reduceOnly":true}, {"a":"b\"c"}] "#)
                .map(|all| format!("{all:?}"));
        assert_eq!(
            all.as_deref(),
            Some(
                r#"[{"quantity": "0.1", "reduceOnly": "true", "symbol": "BTCUSDT"}, {"a": "b\"c"}]"#
            )
        );
        for bad in [
            "",
            "[",
            "[{}",
            "{}",
            r#"[{"a":"1","a":"2"}]"#,
            r#"[{"a":{"b":1}}]"#,
            r#"[{"a":[1]}]"#,
            r#"[{"a":null}]"#,
            r#"[{"a":1}] x"#,
            r#"[{"a":1},]"#,
            r#"[{"a":01}]"#,
            r#"[{"a":"1}]"#,
            r#"[{"a" "1"}]"#,
        ] {
            assert_eq!(batch(bad), None, "{bad}");
        }
        assert_eq!(list("[1,2]"), Some(vec!["1".to_owned(), "2".to_owned()]));
        assert_eq!(list("[1,2"), None);
        assert_eq!(list("[]"), None);
    }
}
