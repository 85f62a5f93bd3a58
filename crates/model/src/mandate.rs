//! Mandates: how much. Typed numbers at firm, account, desk and strategy; an order must fit all of them. A number that a
//! lower level does not have adds nothing there: what the level above allows still holds, since its usage counts too. The
//! firm must have each number, or say `"unlimited"`.
//!
//! ```toml
//! [firm]
//! order_value = "50000"          # site currency
//! price_tolerance = "5%"         # against the reference price, on the side that pays away
//! price_age = "10s"
//! message_rate = "50/1s"
//! reserved_message_rate = "20/1s" # more of it for cancels and reducing orders
//! repeat = "20/1s"               # the same order again
//! turnover_1h = "1000000"
//! turnover_1d = "5000000"
//! turnover_7d = "unlimited"
//! turnover_30d = "unlimited"
//! reducing_turnover = "10x"      # what reduces may take a window to so many times its limit
//! open_orders = "200"
//! position = "250000"
//! loss = "10000"                 # a UTC day
//! venue_weight = "3000"          # a minute
//! leverage = "5"                 # the highest that a program may set; absent everywhere: none may be set
//! margin_mode = ["ISOLATED"]     # that it may set, in the venue's words
//! position_mode = "no"           # whether it may change between one-way and hedge mode
//! trip = "loss"                  # what stops a strategy until an operator re-arms it: loss, repeat, or none
//!
//! [firm.markets."BTC*"]          # `*` stands for any run of characters; a whole name comes first, then the longest pattern;
//!                                # in full `[venue/][kind:]SYMBOL`, as in "bybit/usd_futures:BTCUSDT"
//! floor = "1000"
//! ceiling = "500000"
//! quantity = "5"
//!
//! [strategy.quoter]
//! order_value = "2000"
//! ```

use crate::action::{MarketId, MarketKind};
use crate::id::Name;
use crate::number::{NumberError, Price, Quantity, Value};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;

/// A number, or the word `unlimited`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit<T> {
    Is(T),
    Unlimited,
}

impl<T: Copy> Limit<T> {
    pub fn get(self) -> Option<T> {
        match self {
            Self::Is(limit) => Some(limit),
            Self::Unlimited => None,
        }
    }
}

/// So many in so long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    pub count: u64,
    pub per_us: u64,
}

/// Where no level says anything of what reduces.
pub const REDUCING_DEFAULT: Limit<u64> = Limit::Is(10);
const TIMES_MAX: u64 = 1_000_000;
/// A thousandth.
const LEVERAGE_UNIT: i128 = crate::number::ONE / 1_000;

/// The most that a rate may count, and the longest it may take: beyond them arithmetic would need more care.
const RATE_COUNT_MAX: u64 = 1_000_000;
const RATE_US_MAX: u64 = 86_400_000_000;

/// Bounds of one market that no feed can move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MarketBounds {
    /// As it stands in the mandate: `[venue/][kind:]SYMBOL-PATTERN`.
    pub pattern: String,
    /// Absent: of every venue.
    venue: Option<Name>,
    kind: MarketKind,
    symbol: String,
    pub floor: Option<Price>,
    pub ceiling: Option<Price>,
    pub quantity: Option<Quantity>,
}

impl MarketBounds {
    fn is_pattern(&self) -> bool {
        self.symbol.contains('*')
    }

    /// Whole names before patterns, longer patterns before shorter ones, those of one venue before those of every venue.
    fn rank(&self) -> (bool, usize, &str, MarketKind, bool, Option<&Name>) {
        let length = if self.is_pattern() {
            usize::MAX - self.symbol.len()
        } else {
            0
        };
        let every = self.venue.is_none();
        let venue = self.venue.as_ref();
        (
            self.is_pattern(),
            length,
            &self.symbol,
            self.kind,
            every,
            venue,
        )
    }

    /// Whether its pattern names the market.
    #[must_use]
    pub fn fits(&self, id: &MarketId) -> bool {
        self.kind == id.kind
            && self.venue.as_ref().is_none_or(|venue| *venue == id.venue)
            && fits(&self.symbol, id.symbol.as_str())
    }
}

/// Limits that set a strategy to `reduce-only` when it reaches them, until an operator resumes it (RTS 6 Art. 15(3)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trip {
    pub loss: bool,
    pub repeat: bool,
}

impl Trip {
    /// Where no level says anything: who has lost a day's limit does not begin anew the next day by itself.
    pub const DEFAULT: Self = Self {
        loss: true,
        repeat: false,
    };
}

/// The numbers of one level. `None`: nothing is added at this level.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mandate {
    /// What refusals call it: `firm`, `strategy quoter`.
    pub rule: String,
    pub order_value: Option<Limit<Value>>,
    /// Millionths of the reference price.
    pub price_tolerance: Option<Limit<u64>>,
    pub price_age_us: Option<u64>,
    pub message_rate: Option<Limit<Rate>>,
    pub reserved_message_rate: Option<Limit<Rate>>,
    pub repeat: Option<Limit<Rate>>,
    /// 1 h, 1 d, 7 d, 30 d.
    pub turnover: [Option<Limit<Value>>; 4],
    /// How many times its limit a window of a strategy may come to by orders known to reduce. The nearest level that says
    /// so decides.
    pub reducing_turnover: Option<Limit<u64>>,
    pub open_orders: Option<Limit<u64>>,
    pub position: Option<Limit<Value>>,
    pub loss: Option<Limit<Value>>,
    pub venue_weight: Option<Limit<u64>>,
    /// The highest leverage that a `Configure` may set, in thousandths.
    pub leverage_milli: Option<Limit<u64>>,
    /// Margin modes that it may set, in the venue's words, whatever their case.
    pub margin_modes: Option<Vec<String>>,
    /// Whether it may change between one-way and hedge mode.
    pub position_mode: Option<bool>,
    /// Which limits stop a strategy once it has reached them. The nearest level that says so decides.
    pub trip: Option<Trip>,
    /// Empty: this level names none, and the level above decides. Whole names first, sorted; then patterns, the longest
    /// first.
    pub markets: Vec<MarketBounds>,
}

impl Mandate {
    /// The bounds of the market: those under its whole name, otherwise those of the longest pattern that fits.
    #[must_use]
    pub fn market(&self, id: &MarketId) -> Option<&MarketBounds> {
        let named = self.markets.partition_point(|bounds| !bounds.is_pattern());
        let (names, patterns) = self.markets.split_at_checked(named)?;
        let symbol = id.symbol.as_str();
        let from = names.partition_point(|bounds| bounds.symbol.as_str() < symbol);
        names
            .iter()
            .skip(from)
            .take_while(|bounds| bounds.symbol == symbol)
            .chain(patterns)
            .find(|bounds| bounds.fits(id))
    }
}

/// All mandates of a site.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mandates {
    pub firm: Mandate,
    pub accounts: BTreeMap<Name, Mandate>,
    pub desks: BTreeMap<Name, Mandate>,
    pub strategies: BTreeMap<Name, Mandate>,
}

/// Why a mandate file does not load: where, what, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MandateError {
    pub place: String,
    pub what: String,
}

impl fmt::Display for MandateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}

impl std::error::Error for MandateError {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    firm: Option<Text>,
    #[serde(default)]
    account: BTreeMap<String, Text>,
    #[serde(default)]
    desk: BTreeMap<String, Text>,
    #[serde(default)]
    strategy: BTreeMap<String, Text>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    order_value: Option<String>,
    price_tolerance: Option<String>,
    price_age: Option<String>,
    message_rate: Option<String>,
    reserved_message_rate: Option<String>,
    repeat: Option<String>,
    turnover_1h: Option<String>,
    turnover_1d: Option<String>,
    turnover_7d: Option<String>,
    turnover_30d: Option<String>,
    reducing_turnover: Option<String>,
    open_orders: Option<String>,
    position: Option<String>,
    loss: Option<String>,
    venue_weight: Option<String>,
    leverage: Option<String>,
    margin_mode: Option<Vec<String>>,
    position_mode: Option<String>,
    trip: Option<String>,
    #[serde(default)]
    markets: BTreeMap<String, MarketText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MarketText {
    floor: Option<String>,
    ceiling: Option<String>,
    quantity: Option<String>,
}

impl Mandates {
    /// Reads `mandates.toml`. The firm must have each number and at least one market.
    pub fn parse(text: &str) -> Result<Self, MandateError> {
        let file: File = toml::from_str(text).map_err(|e| MandateError {
            place: "mandates.toml".to_owned(),
            what: e.to_string(),
        })?;
        let firm = file
            .firm
            .ok_or_else(|| error("firm", "is missing; every number of the firm must be there"))?;
        let firm = mandate("firm".to_owned(), firm)?;
        complete(&firm)?;
        let levels = |word: &str, map: BTreeMap<String, Text>| {
            map.into_iter()
                .map(|(name, text)| {
                    let rule = format!("{word} {name}");
                    let name = Name::new(&name).map_err(|e| error(&rule, &e.to_string()))?;
                    Ok((name, mandate(rule, text)?))
                })
                .collect::<Result<BTreeMap<_, _>, MandateError>>()
        };
        Ok(Self {
            firm,
            accounts: levels("account", file.account)?,
            desks: levels("desk", file.desk)?,
            strategies: levels("strategy", file.strategy)?,
        })
    }

    /// Numbers of the firm that say `unlimited`: `status` shows them.
    #[must_use]
    pub fn unlimited(&self) -> Vec<&'static str> {
        let firm = &self.firm;
        let mut names = Vec::new();
        let mut note = |name, unlimited| {
            if unlimited {
                names.push(name);
            }
        };
        note("order_value", firm.order_value == Some(Limit::Unlimited));
        note(
            "price_tolerance",
            firm.price_tolerance == Some(Limit::Unlimited),
        );
        note("message_rate", firm.message_rate == Some(Limit::Unlimited));
        note(
            "reserved_message_rate",
            firm.reserved_message_rate == Some(Limit::Unlimited),
        );
        note("repeat", firm.repeat == Some(Limit::Unlimited));
        for (name, limit) in ["turnover_1h", "turnover_1d", "turnover_7d", "turnover_30d"]
            .into_iter()
            .zip(&firm.turnover)
        {
            note(name, *limit == Some(Limit::Unlimited));
        }
        note(
            "reducing_turnover",
            firm.reducing_turnover == Some(Limit::Unlimited),
        );
        note("open_orders", firm.open_orders == Some(Limit::Unlimited));
        note("position", firm.position == Some(Limit::Unlimited));
        note("loss", firm.loss == Some(Limit::Unlimited));
        note("venue_weight", firm.venue_weight == Some(Limit::Unlimited));
        note("leverage", firm.leverage_milli == Some(Limit::Unlimited));
        names
    }
}

fn error(place: &str, what: &str) -> MandateError {
    MandateError {
        place: format!("mandates.toml, {place}"),
        what: what.to_owned(),
    }
}

fn complete(firm: &Mandate) -> Result<(), MandateError> {
    let missing = [
        ("order_value", firm.order_value.is_none()),
        ("price_tolerance", firm.price_tolerance.is_none()),
        ("price_age", firm.price_age_us.is_none()),
        ("message_rate", firm.message_rate.is_none()),
        (
            "reserved_message_rate",
            firm.reserved_message_rate.is_none(),
        ),
        ("repeat", firm.repeat.is_none()),
        (
            "turnover_1h",
            firm.turnover.first().is_none_or(Option::is_none),
        ),
        (
            "turnover_1d",
            firm.turnover.get(1).is_none_or(Option::is_none),
        ),
        (
            "turnover_7d",
            firm.turnover.get(2).is_none_or(Option::is_none),
        ),
        (
            "turnover_30d",
            firm.turnover.get(3).is_none_or(Option::is_none),
        ),
        ("open_orders", firm.open_orders.is_none()),
        ("position", firm.position.is_none()),
        ("loss", firm.loss.is_none()),
        ("venue_weight", firm.venue_weight.is_none()),
        ("markets", firm.markets.is_empty()),
    ];
    match missing.iter().find(|(_, missing)| *missing) {
        Some((name, _)) => Err(error(
            "firm",
            &format!("`{name}` is missing; give a number, or say \"unlimited\""),
        )),
        None => Ok(()),
    }
}

fn mandate(rule: String, text: Text) -> Result<Mandate, MandateError> {
    let value = |key: &str, text: Option<String>| {
        limited(&rule, key, text, |t| {
            t.parse::<Value>().map_err(|e: NumberError| e.to_string())
        })
    };
    let count = |key: &str, text: Option<String>| {
        limited(&rule, key, text, |t| {
            t.parse::<u64>()
                .map_err(|_| "is not a whole number".to_owned())
        })
    };
    let rate = |key: &str, text: Option<String>| limited(&rule, key, text, parse_rate);
    let markets = text
        .markets
        .into_iter()
        .map(|(pattern, market)| {
            let place = format!("{rule}, market `{pattern}`");
            let number = |key: &str, text: Option<String>| -> Result<Option<i128>, MandateError> {
                text.map(|t| crate::number::parse_units(t.as_bytes()))
                    .transpose()
                    .map_err(|e| error(&place, &format!("`{key}`: {e}")))
            };
            let (venue, kind, symbol) =
                parse_market(&pattern).map_err(|what| error(&place, &what))?;
            Ok(MarketBounds {
                venue,
                kind,
                symbol,
                floor: number("floor", market.floor)?.map(Price),
                ceiling: number("ceiling", market.ceiling)?.map(Price),
                quantity: number("quantity", market.quantity)?.map(Quantity),
                pattern,
            })
        })
        .collect::<Result<Vec<_>, MandateError>>()?;
    let mut markets = markets;
    markets.sort_by(|a, b| a.rank().cmp(&b.rank()));
    if let Some([_, twice]) = markets.array_windows().find(|[a, b]| a.rank() == b.rank()) {
        let what = format!("market `{}` stands twice", twice.pattern);
        return Err(error(&rule, &what));
    }
    Ok(Mandate {
        order_value: value("order_value", text.order_value)?,
        price_tolerance: limited(
            &rule,
            "price_tolerance",
            text.price_tolerance,
            parse_percent,
        )?,
        price_age_us: text
            .price_age
            .map(|t| parse_duration(&t).map_err(|e| error(&rule, &format!("`price_age` {e}"))))
            .transpose()?,
        message_rate: rate("message_rate", text.message_rate)?,
        reserved_message_rate: rate("reserved_message_rate", text.reserved_message_rate)?,
        repeat: rate("repeat", text.repeat)?,
        turnover: [
            value("turnover_1h", text.turnover_1h)?,
            value("turnover_1d", text.turnover_1d)?,
            value("turnover_7d", text.turnover_7d)?,
            value("turnover_30d", text.turnover_30d)?,
        ],
        reducing_turnover: limited(
            &rule,
            "reducing_turnover",
            text.reducing_turnover,
            parse_times,
        )?,
        open_orders: count("open_orders", text.open_orders)?,
        position: value("position", text.position)?,
        loss: value("loss", text.loss)?,
        venue_weight: count("venue_weight", text.venue_weight)?,
        leverage_milli: limited(&rule, "leverage", text.leverage, |t| {
            parse_leverage(t)
                .ok_or_else(|| "is not a leverage; write for example \"10\"".to_owned())
        })?,
        margin_modes: text.margin_mode,
        position_mode: match text.position_mode.as_deref() {
            None => None,
            Some("yes") => Some(true),
            Some("no") => Some(false),
            Some(other) => {
                let what = format!("`position_mode` = \"{other}\" is neither `yes` nor `no`");
                return Err(error(&rule, &what));
            }
        },
        trip: text
            .trip
            .map(|t| parse_trip(&t).map_err(|e| error(&rule, &format!("`trip` = \"{t}\" {e}"))))
            .transpose()?,
        markets,
        rule,
    })
}

fn limited<T>(
    rule: &str,
    key: &str,
    text: Option<String>,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<Option<Limit<T>>, MandateError> {
    match text.as_deref() {
        None => Ok(None),
        Some("unlimited") => Ok(Some(Limit::Unlimited)),
        Some(text) => parse(text)
            .map(|n| Some(Limit::Is(n)))
            .map_err(|e| error(rule, &format!("`{key}` = \"{text}\" {e}"))),
    }
}

/// `5%` or `0.25%`, in millionths.
pub(crate) fn parse_percent(text: &str) -> Result<u64, String> {
    let number = text
        .strip_suffix('%')
        .ok_or("is not a percentage; write for example \"5%\"")?;
    let units = crate::number::parse_units(number.as_bytes()).map_err(|e| e.to_string())?;
    let millionths = units / (crate::number::ONE / 10_000);
    u64::try_from(millionths)
        .ok()
        .filter(|n| *n <= 1_000_000)
        .ok_or_else(|| "is more than 100%".to_owned())
}

/// `10` or `12.5`, in thousandths, rounded up.
#[must_use]
pub fn parse_leverage(text: &str) -> Option<u64> {
    let units = crate::number::parse_units(text.as_bytes()).ok()?;
    let milli = units.checked_add(LEVERAGE_UNIT - 1)? / LEVERAGE_UNIT;
    u64::try_from(milli).ok().filter(|n| *n > 0)
}

/// `10x`.
fn parse_times(text: &str) -> Result<u64, String> {
    text.strip_suffix('x')
        .and_then(|number| number.parse::<u64>().ok())
        .filter(|n| (1..=TIMES_MAX).contains(n))
        .ok_or_else(|| format!("is not a multiple of 1 to {TIMES_MAX}; write for example \"10x\""))
}

/// `50/1s`.
fn parse_rate(text: &str) -> Result<Rate, String> {
    let wrong = "is not a rate; write for example \"50/1s\"";
    let (count, per) = text.split_once('/').ok_or(wrong)?;
    let count = count
        .parse::<u64>()
        .ok()
        .filter(|n| (1..=RATE_COUNT_MAX).contains(n))
        .ok_or(wrong)?;
    let per_us = parse_duration(per)?;
    Ok(Rate { count, per_us })
}

/// `loss, repeat`, `loss`, `none`.
fn parse_trip(text: &str) -> Result<Trip, String> {
    let mut trip = Trip {
        loss: false,
        repeat: false,
    };
    if text == "none" {
        return Ok(trip);
    }
    for word in text.split(',') {
        match word.trim() {
            "loss" => trip.loss = true,
            "repeat" => trip.repeat = true,
            _ => return Err("is none of `loss`, `repeat`, `loss, repeat`, `none`".to_owned()),
        }
    }
    Ok(trip)
}

/// `500ms`, `10s`, `5m`, `1h`, in microseconds.
fn parse_duration(text: &str) -> Result<u64, String> {
    let wrong = "is not a length of time; write for example \"10s\" (ms, s, m, h)";
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let scale = match unit {
        "ms" => 1_000,
        "s" => 1_000_000,
        "m" => 60_000_000,
        "h" => 3_600_000_000,
        _ => return Err(wrong.to_owned()),
    };
    let number: u64 = number.parse().map_err(|_| wrong)?;
    number
        .checked_mul(scale)
        .filter(|us| (1..=RATE_US_MAX).contains(us))
        .ok_or_else(|| wrong.to_owned())
}

/// `[venue/][kind:]SYMBOL-PATTERN`.
fn parse_market(text: &str) -> Result<(Option<Name>, MarketKind, String), String> {
    let (venue, rest) = match text.split_once('/') {
        Some((venue, rest)) => (Some(Name::new(venue).map_err(|e| e.to_string())?), rest),
        None => (None, text),
    };
    let (kind, symbol) = match rest.split_once(':') {
        Some((word, symbol)) => {
            let kind = MarketKind::by_name(word);
            (
                kind.ok_or_else(|| format!("`{word}` is no kind of market"))?,
                symbol,
            )
        }
        None => (MarketKind::Spot, rest),
    };
    if symbol.is_empty() {
        return Err("has no symbol".to_owned());
    }
    Ok((venue, kind, symbol.to_owned()))
}

/// `*` stands for any run of characters.
fn fits(pattern: &str, symbol: &str) -> bool {
    let Some((first, after)) = pattern.split_once('*') else {
        return pattern == symbol;
    };
    let (middle, last) = match after.rsplit_once('*') {
        Some((middle, last)) => (Some(middle), last),
        None => (None, after),
    };
    let rest = symbol.strip_prefix(first);
    let Some(mut rest) = rest.and_then(|rest| rest.strip_suffix(last)) else {
        return false;
    };
    for part in middle.into_iter().flat_map(|middle| middle.split('*')) {
        match rest.find(part) {
            Some(at) => rest = rest.get(at + part.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) const FIRM: &str = r#"
        [firm]
        order_value = "50000"
        price_tolerance = "5%"
        price_age = "10s"
        message_rate = "50/1s"
        reserved_message_rate = "20/1s"
        repeat = "20/1s"
        turnover_1h = "1000000"
        turnover_1d = "5000000"
        turnover_7d = "unlimited"
        turnover_30d = "unlimited"
        open_orders = "200"
        position = "250000"
        loss = "10000"
        venue_weight = "3000"
        [firm.markets."BTC*"]
        floor = "1000"
    "#;

    #[test]
    fn numbers_are_read_and_unlimited_is_named() {
        let mandates = Mandates::parse(FIRM).unwrap();
        assert_eq!(mandates.firm.price_tolerance, Some(Limit::Is(50_000)));
        assert_eq!(
            mandates.firm.message_rate,
            Some(Limit::Is(Rate {
                count: 50,
                per_us: 1_000_000
            }))
        );
        assert_eq!(mandates.unlimited(), ["turnover_7d", "turnover_30d"]);
    }

    #[test]
    fn a_firm_without_a_number_does_not_load() {
        for line in FIRM
            .lines()
            .filter(|l| l.contains('=') && !l.contains("floor"))
        {
            let error = Mandates::parse(&FIRM.replace(line, ""))
                .unwrap_err()
                .to_string();
            assert!(
                error.contains(line.split('=').next().unwrap().trim()),
                "{line}: {error}"
            );
        }
    }

    #[test]
    fn what_cannot_be_read_says_where_and_what_to_write() {
        for (from, to, expected) in [
            (
                "order_value = \"50000\"",
                "order_value = \"5e4\"",
                "exponent",
            ),
            ("price_tolerance = \"5%\"", "price_tolerance = \"5\"", "5%"),
            ("message_rate = \"50/1s\"", "message_rate = \"50\"", "50/1s"),
            ("price_age = \"10s\"", "price_age = \"10\"", "10s"),
            (
                "open_orders = \"200\"",
                "open_orders = \"many\"",
                "whole number",
            ),
            (
                "loss = \"10000\"",
                "loss = \"10000\"\ntrip = \"losses\"",
                "`loss, repeat`",
            ),
            (
                "loss = \"10000\"",
                "loss = \"10000\"\nlosses = \"1\"",
                "losses",
            ),
            (
                "loss = \"10000\"",
                "loss = \"10000\"\nleverage = \"0\"",
                "not a leverage",
            ),
            (
                "loss = \"10000\"",
                "loss = \"10000\"\nposition_mode = \"maybe\"",
                "`yes`",
            ),
        ] {
            let error = Mandates::parse(&FIRM.replacen(from, to, 1))
                .unwrap_err()
                .to_string();
            assert!(error.contains(expected), "{to}: {error}");
        }
    }

    #[test]
    fn a_whole_name_holds_before_patterns_and_a_longer_pattern_before_a_shorter() {
        let text = FIRM.replace(
            "[firm.markets.\"BTC*\"]",
            "[firm.markets.\"*\"]\nfloor = \"1\"\n[firm.markets.\"BTC*\"]\nfloor = \"2\"\n\
             [firm.markets.\"BTCUSDT\"]\nfloor = \"3\"\n[firm.markets.\"*USDC\"]",
        );
        let firm = Mandates::parse(&text).unwrap().firm;
        for (symbol, floor) in [
            ("BTCUSDT", "3"),
            ("BTCEUR", "2"),
            ("ETHUSDT", "1"),
            ("ETHUSDC", "1000"),
            ("BTCUSDC", "1000"),
        ] {
            let found = firm.market(&id("binance/", symbol));
            let found = found.and_then(|bounds| bounds.floor);
            assert_eq!(found.unwrap().to_string(), floor, "{symbol}");
        }
    }

    fn id(venue: &str, rest: &str) -> MarketId {
        let (venue, kind, symbol) = parse_market(&format!("{venue}{rest}")).unwrap();
        MarketId {
            symbol: symbol.into(),
            kind,
            venue: venue.unwrap(),
        }
    }

    #[test]
    fn a_market_is_of_a_venue_and_a_kind() {
        let text = FIRM.replace(
            "[firm.markets.\"BTC*\"]\n        floor = \"1000\"",
            "[firm.markets.\"BTC*\"]\nfloor = \"1\"\n\
             [firm.markets.\"usd_futures:BTC*\"]\nfloor = \"2\"\n\
             [firm.markets.\"bybit/usd_futures:BTC*\"]\nfloor = \"3\"\n\
             [firm.markets.\"okx/BTC-USDT\"]\nfloor = \"4\"\n\
             [firm.markets.\"coin_futures:BTCUSD_PERP\"]\nfloor = \"5\"",
        );
        let firm = Mandates::parse(&text).unwrap().firm;
        let floor = |venue, rest| {
            let floor = firm.market(&id(venue, rest))?.floor?;
            Some(floor.to_string())
        };
        for (venue, rest, expected) in [
            ("binance/", "BTCUSDT", Some("1")),
            ("binance/", "usd_futures:BTCUSDT", Some("2")),
            ("bybit/", "usd_futures:BTCUSDT", Some("3")),
            ("bybit/", "BTCUSDT", Some("1")),
            ("okx/", "BTC-USDT", Some("4")),
            ("binance/", "BTC-USDT", Some("1")),
            ("binance/", "coin_futures:BTCUSD_PERP", Some("5")),
            ("binance/", "margin:BTCUSDT", None),
            ("binance/", "coin_futures:BTCUSD_270625", None),
            ("binance/", "option:BTC-270625-100000-C", None),
        ] {
            assert_eq!(floor(venue, rest).as_deref(), expected, "{venue}{rest}");
        }
        for pattern in ["futures:BTC*", "Binance/BTC*", "spot:", "/BTC*", "bybit/"] {
            let text = FIRM.replace("BTC*", pattern);
            assert!(Mandates::parse(&text).is_err(), "{pattern}");
        }
    }

    #[test]
    fn patterns_fit_whole_symbols() {
        for (pattern, symbol, expected) in [
            ("BTCUSDT", "BTCUSDT", true),
            ("BTCUSDT", "BTCUSDTX", false),
            ("BTC*", "BTCUSDT", true),
            ("*USDT", "BTCUSDT", true),
            ("*USDT", "USDTBTC", false),
            ("B*S*T", "BTCUSDT", true),
            ("B*S*T", "BT", false),
            ("B*C*S*T", "BTCUSDT", true),
            ("B*S*C*T", "BTCUSDT", false),
            ("**", "x", true),
            ("AB*BA", "ABA", false),
            ("*", "anything", true),
            ("A*A", "A", false),
            ("币安*", "币安人生USDT", true),
        ] {
            assert_eq!(fits(pattern, symbol), expected, "{pattern} {symbol}");
        }
    }
}
