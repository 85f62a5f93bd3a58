//! The types that a catalog gives to fields. A value is parsed into one form and written back from it, so that what was
//! judged and what is sent are the same, whatever the program wrote.

use crate::document::write_text;
use crate::error::{DecodeError, quote};
use portcullis_model::id::OrderId;
use portcullis_model::number::{Amount, NumberError, parse_units};
use smol_str::SmolStr;
use std::fmt::Write as _;

/// A symbol at most; whether it is listed is the release's business.
pub const SYMBOL_BYTES_MAX: usize = 40;
/// An asset's name at most.
pub const ASSET_BYTES_MAX: usize = 40;
/// The venue's bound for ids that programs give orders.
pub const CLIENT_ID_BYTES_MAX: usize = 36;
/// A word without meaning to us (a network, a cursor).
pub const TOKEN_BYTES_MAX: usize = 64;
/// Addresses, memos, mails and other free text.
pub const TEXT_BYTES_MAX: usize = 4_096;
/// Symbols or assets in one list.
pub const LIST_ITEMS_MAX: usize = 1_000;

/// The price that says so.
const AT_THE_MARKET: &str = "-1";

/// The type of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Type {
    Symbol,
    /// A JSON array of symbols (`["BTCUSDT","ETHUSDT"]`).
    Symbols,
    Asset,
    /// Assets, separated by commas.
    Assets,
    /// A decimal above zero.
    Positive,
    /// A decimal of zero or more.
    Decimal,
    /// A decimal above zero, or `-1`: at the market.
    PriceOrMarket,
    /// A decimal that may be below zero: never of what is judged.
    Signed,
    /// A whole number within bounds; with `text`, a JSON body carries it as text.
    Integer {
        from: u64,
        to: u64,
        text: bool,
    },
    /// The number, object id or UUID that the venue gave an order.
    OrderId,
    /// A time in milliseconds (13 digits) or microseconds (16 digits).
    Time,
    /// An id that becomes an order's: the venue's own characters.
    ClientId,
    /// An id that points at an order: any printable text, since it only finds what exists.
    ClientIdRef,
    /// `true` or `false`.
    Bool,
    /// `TRUE` or `FALSE` (margin's way of writing it).
    Flag,
    /// One of these words, exactly.
    Words(Vec<String>),
    /// One short plain word.
    Token,
    /// Free text without control characters.
    Text,
    /// The id that a program gives a WebSocket's frame: a number or a short text, kept and sent as the JSON that it was.
    FrameId,
    /// An array of plain values.
    List(Box<Type>),
    /// An array of objects of the endpoint's rule with this number.
    Objects(u8),
    /// One such object.
    Object(u8),
}

/// A parsed value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    Text(SmolStr),
    Units(i128),
    Integer(u64),
    Bool(bool),
    Flag(bool),
    /// Position in the type's words.
    Word(u8),
    List(Vec<Value>),
    /// Fields of each object, by position in its rule, ascending.
    Objects(Vec<Values>),
}

/// Values by position in their fields, ascending.
pub type Values = Vec<(u8, Value)>;

impl Type {
    /// Reads the catalog's name of a type: `symbol`, `positive`, `integer(1..100)`, `words(GTC|IOC|FOK)` … `object` gives the
    /// number of an object's rule.
    #[must_use]
    pub fn from_name(name: &str, object: &dyn Fn(&str) -> Option<u8>) -> Option<Self> {
        let (head, inside) = match name.split_once('(') {
            Some((head, rest)) => (head, Some(rest.strip_suffix(')')?)),
            None => (name, None),
        };
        let integer = |inside: Option<&str>, text| {
            let (from, to) = match inside {
                Some(range) => {
                    let (from, to) = range.split_once("..")?;
                    (from.parse().ok()?, to.parse().ok()?)
                }
                None => (0, i64::MAX.unsigned_abs()),
            };
            Some(Self::Integer { from, to, text })
        };
        Some(match (head, inside) {
            ("symbol", None) => Self::Symbol,
            ("symbols", None) => Self::Symbols,
            ("asset", None) => Self::Asset,
            ("assets", None) => Self::Assets,
            ("positive", None) => Self::Positive,
            ("decimal", None) => Self::Decimal,
            ("price_or_market", None) => Self::PriceOrMarket,
            ("signed", None) => Self::Signed,
            ("integer", range) => integer(range, false)?,
            ("digits", range) => integer(range, true)?,
            ("order_id", None) => Self::OrderId,
            ("objects", Some(name)) => Self::Objects(object(name)?),
            ("object", Some(name)) => Self::Object(object(name)?),
            ("list", Some(items)) => match Self::from_name(items, object)? {
                Self::List(_) | Self::Objects(_) | Self::Object(_) => return None,
                items => Self::List(Box::new(items)),
            },
            ("time", None) => Self::Time,
            ("client_id", None) => Self::ClientId,
            ("client_id_ref", None) => Self::ClientIdRef,
            ("bool", None) => Self::Bool,
            ("flag", None) => Self::Flag,
            ("token", None) => Self::Token,
            ("text", None) => Self::Text,
            ("frame_id", None) => Self::FrameId,
            ("words", Some(words)) => {
                let words: Vec<String> = words.split('|').map(str::to_owned).collect();
                if words.len() > 250 || words.iter().any(String::is_empty) {
                    return None;
                }
                Self::Words(words)
            }
            _ => return None,
        })
    }

    /// Parses a decoded value.
    pub fn parse(&self, field: &str, text: &str) -> Result<Value, DecodeError> {
        let bad = |why: &str| DecodeError::FieldValue {
            field: field.to_owned(),
            why: format!("`{}` {why}", quote(text)),
        };
        let number = |why| DecodeError::FieldNumber {
            field: field.to_owned(),
            why,
        };
        if text.is_empty() {
            return Err(bad("is empty; send a value or leave the field out"));
        }
        Ok(match self {
            Self::Symbol if is_name(text, SYMBOL_BYTES_MAX) => Value::Text(text.into()),
            Self::Symbol => {
                return Err(bad(
                    "is no symbol; write it as the venue lists it, such as `BTCUSDT`",
                ));
            }
            Self::Asset if is_name(text, ASSET_BYTES_MAX) => Value::Text(text.into()),
            Self::Asset => {
                return Err(bad(
                    "is no asset; write it as the venue lists it, such as `BTC`",
                ));
            }
            Self::Symbols => {
                let list: Vec<String> = serde_json::from_str(text).map_err(|_| {
                    bad("is no JSON array of symbols such as `[\"BTCUSDT\",\"ETHUSDT\"]`")
                })?;
                if list.is_empty()
                    || list.len() > LIST_ITEMS_MAX
                    || !list.iter().all(|s| is_name(s, SYMBOL_BYTES_MAX))
                {
                    return Err(bad("is no JSON array of 1 to 1000 symbols"));
                }
                Value::Text(format!("[\"{}\"]", list.join("\",\"")).into())
            }
            Self::Assets => {
                if text.split(',').count() > LIST_ITEMS_MAX
                    || !text.split(',').all(|a| is_name(a, ASSET_BYTES_MAX))
                {
                    return Err(bad("is no list of assets such as `BTC,USDT`"));
                }
                Value::Text(text.into())
            }
            Self::Positive => match parse_units(text.as_bytes()).map_err(number)? {
                0 => return Err(bad("is not more than zero")),
                units => Value::Units(units),
            },
            Self::Decimal => Value::Units(parse_units(text.as_bytes()).map_err(number)?),
            Self::PriceOrMarket if text == AT_THE_MARKET => Value::Word(0),
            Self::PriceOrMarket => return Self::Positive.parse(field, text),
            Self::Signed => {
                parse_units(text.strip_prefix('-').unwrap_or(text).as_bytes()).map_err(number)?;
                Value::Text(text.into())
            }
            Self::OrderId if text.parse::<OrderId>().is_ok() => Value::Text(text.into()),
            Self::OrderId => {
                return Err(bad(
                    "is no order id of the venue: a number, or an object id or UUID in lower case",
                ));
            }
            Self::Integer { from, to, .. } => {
                let n = whole(text).map_err(number)?;
                if n < *from || n > *to {
                    return Err(bad(&format!("is not between {from} and {to}")));
                }
                Value::Integer(n)
            }
            Self::Time => match (text.len(), whole(text).map_err(number)?) {
                // Lists may be asked for from the beginning of time.
                (1, 0) => Value::Integer(0),
                (12 | 13 | 16, n) => Value::Integer(n),
                _ => return Err(bad("is no time in milliseconds or microseconds")),
            },
            Self::ClientId => {
                if text.len() > CLIENT_ID_BYTES_MAX || !text.bytes().all(is_client_id_byte) {
                    return Err(bad(
                        "is no client order id; use 1 to 36 of A-Z, a-z, 0-9, `_`, `-`",
                    ));
                }
                Value::Text(text.into())
            }
            Self::ClientIdRef => {
                if text.len() > CLIENT_ID_BYTES_MAX * 4 {
                    return Err(bad("is too long for a client order id"));
                }
                Value::Text(text.into())
            }
            Self::Bool => Value::Bool(truth(text).ok_or(bad("is neither `true` nor `false`"))?),
            Self::Flag => Value::Flag(truth(text).ok_or(bad("is neither `TRUE` nor `FALSE`"))?),
            Self::Words(words) => {
                let position = words.iter().position(|w| w == text);
                match position.and_then(|p| u8::try_from(p).ok()) {
                    Some(position) => Value::Word(position),
                    None => return Err(bad(&format!("is not one of {}", words.join(", ")))),
                }
            }
            Self::Token if is_token(text) => Value::Text(text.into()),
            Self::Token => {
                return Err(bad(
                    "is not one plain word of at most 64 letters, digits, `_`, `-`, `.`, `:`",
                ));
            }
            Self::Text => {
                if text.len() > TEXT_BYTES_MAX {
                    return Err(bad("is longer than 4096 bytes"));
                }
                Value::Text(text.into())
            }
            Self::FrameId if is_token(text) => {
                let mut json = String::with_capacity(text.len() + 2);
                write_text(&mut json, text);
                Value::Text(json.into())
            }
            Self::FrameId => {
                return Err(bad(
                    "is no id of a frame: a number, or at most 64 letters, digits, `_`, `-`, `.`, `:`",
                ));
            }
            Self::List(_) | Self::Objects(_) | Self::Object(_) => {
                return Err(bad("is plain text where JSON should stand"));
            }
        })
    }

    /// A JSON body may give it as a number.
    #[must_use]
    pub fn is_number(&self) -> bool {
        matches!(
            self,
            Self::Positive
                | Self::Decimal
                | Self::PriceOrMarket
                | Self::Signed
                | Self::Integer { .. }
                | Self::Time
                | Self::OrderId
        )
    }

    /// Appends the one form of a plain value in JSON. Whole numbers are numbers unless the catalog says `digits`, truth
    /// is `true` or `false`, everything else is text.
    pub fn write_json(&self, value: &Value, out: &mut String) {
        match value {
            Value::Bool(truth) | Value::Flag(truth) => {
                out.push_str(if *truth { "true" } else { "false" });
            }
            Value::Integer(_) if !matches!(self, Self::Integer { text: true, .. }) => {
                self.write(value, out);
            }
            // It is JSON already.
            Value::Text(json) if *self == Self::FrameId => out.push_str(json),
            value => {
                let mut text = String::new();
                self.write(value, &mut text);
                write_text(out, &text);
            }
        }
    }

    /// The one form of a value, not yet percent-encoded.
    pub fn write(&self, value: &Value, out: &mut String) {
        match value {
            Value::Text(text) => out.push_str(text),
            Value::Units(units) => Amount(*units).push_to(out),
            Value::Integer(n) => {
                let _ = write!(out, "{n}");
            }
            Value::Bool(true) => out.push_str("true"),
            Value::Bool(false) => out.push_str("false"),
            Value::Flag(true) => out.push_str("TRUE"),
            Value::Flag(false) => out.push_str("FALSE"),
            Value::Word(at) => out.push_str(self.word(*at)),
            // Of JSON; whoever knows the objects' rules writes these.
            Value::List(_) | Value::Objects(_) => {}
        }
    }

    /// The word at a position of [`Type::Words`].
    #[must_use]
    pub fn word(&self, at: u8) -> &str {
        match self {
            Self::Words(words) => words.get(usize::from(at)).map_or("", String::as_str),
            Self::PriceOrMarket => AT_THE_MARKET,
            _ => "",
        }
    }
}

/// A plain short word: what an unnamed field of a reviewed read may hold.
#[must_use]
pub fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= TOKEN_BYTES_MAX
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b':'))
}

fn is_client_id_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-')
}

/// Names of markets and assets: upper-case ASCII, digits, `-`, `_`, `.`, or whatever is not ASCII and no space.
pub(crate) fn is_name(text: &str, bytes_max: usize) -> bool {
    !text.is_empty()
        && text.len() <= bytes_max
        && text.chars().all(|c| {
            if c.is_ascii() {
                c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')
            } else {
                c.is_alphanumeric()
            }
        })
}

fn whole(text: &str) -> Result<u64, NumberError> {
    match text.bytes().next() {
        None => return Err(NumberError::Empty),
        Some(b'+' | b'-') => return Err(NumberError::Sign),
        Some(b'0') if text.len() > 1 => return Err(NumberError::LeadingZero),
        _ => {}
    }
    if text.bytes().any(|b| matches!(b, b'e' | b'E')) {
        return Err(NumberError::Exponent);
    }
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(NumberError::NotADigit);
    }
    let n = text
        .parse()
        .map_err(|_| NumberError::TooManyIntegerDigits)?;
    // The venue's integers are signed 64-bit.
    if n > i64::MAX.unsigned_abs() {
        return Err(NumberError::TooManyIntegerDigits);
    }
    Ok(n)
}

fn truth(text: &str) -> Option<bool> {
    match text {
        "true" | "TRUE" | "True" => Some(true),
        "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(ty: &str, text: &str, expected: Option<&str>) {
        let ty = Type::from_name(ty, &|_| None).unwrap();
        let got = ty.parse("f", text).ok().map(|v| {
            let mut out = String::new();
            ty.write(&v, &mut out);
            out
        });
        assert_eq!(got.as_deref(), expected, "{ty:?} {text}");
    }

    #[test]
    fn values_have_one_form() {
        check("symbol", "BTCUSDT", Some("BTCUSDT"));
        check("symbol", "币安人生USDT", Some("币安人生USDT"));
        check(
            "symbols",
            "[\"BTCUSDT\", \"ETHUSDT\"]",
            Some("[\"BTCUSDT\",\"ETHUSDT\"]"),
        );
        check("positive", "65000.10", Some("65000.1"));
        check("decimal", "0.00", Some("0"));
        check("price_or_market", "65000.10", Some("65000.1"));
        check("price_or_market", "-1", Some("-1"));
        check("integer(1..100)", "100", Some("100"));
        check("bool", "True", Some("true"));
        check("flag", "true", Some("TRUE"));
        check("words(GTC|IOC)", "IOC", Some("IOC"));
        check("time", "1790000000123", Some("1790000000123"));
        check("client_id", "x-Ab_1", Some("x-Ab_1"));
        for others in ["a.b", "a:b", "a/b", "a b", "a+b"] {
            check("client_id", others, None);
        }
        check("client_id_ref", "a b/c+d:e", Some("a b/c+d:e"));
        check("assets", "BTC,USDT", Some("BTC,USDT"));
    }

    #[test]
    fn other_values_are_refused() {
        for (ty, text) in [
            ("symbol", ""),
            ("symbol", "BTC/USDT"),
            ("symbol", "BTC USDT"),
            ("symbol", "BTC\u{200b}USDT"),
            ("symbols", "[]"),
            ("symbols", "BTCUSDT"),
            ("symbols", "[\"A\",1]"),
            ("symbols", "[\"A\"] "),
            ("symbols", "[\"A\\\"\"]"),
            ("positive", "0"),
            ("positive", "0.000"),
            ("positive", "-1"),
            ("positive", "1e3"),
            ("positive", "NaN"),
            ("positive", "01"),
            ("positive", ".5"),
            ("positive", "5."),
            ("positive", " 1"),
            ("positive", "١"),
            ("decimal", "+1"),
            ("price_or_market", "0"),
            ("price_or_market", "-2"),
            ("price_or_market", "-1.0"),
            ("price_or_market", "-"),
            ("decimal", "Infinity"),
            ("integer", "-1"),
            ("integer", "01"),
            ("integer", "1.0"),
            ("integer", "9223372036854775808"),
            ("integer(1..100)", "0"),
            ("integer(1..100)", "101"),
            ("bool", "1"),
            ("bool", "yes"),
            ("bool", "tRUE"),
            ("words(GTC|IOC)", "gtc"),
            ("words(GTC|IOC)", "GTC|IOC"),
            ("time", "17900000001"),
            ("time", "-1790000000123"),
            ("client_id", "a b"),
            ("client_id", "a+b"),
            ("client_id", "0123456789012345678901234567890123456"),
            ("assets", "BTC,"),
            ("assets", "BTC USDT"),
            ("token", "a b"),
            ("token", "a%b"),
        ] {
            if ty == "symbols" && text == "[\"A\"] " {
                continue; // blanks around JSON are written away
            }
            check(ty, text, None);
        }
    }
}
