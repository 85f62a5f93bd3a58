//! Reading `name=value&…` in the one way that every strict reader shares. A form that two readers could understand
//! differently is refused: empty parts, encoded names, raw `=` or `;` in a value, broken escapes, text that is not UTF-8.

use crate::error::{DecodeError, quote};
use std::borrow::Cow;

/// Fields of one request at most, query and body together.
pub const FIELDS_MAX: usize = 64;
/// A field's value at most, decoded.
pub const VALUE_BYTES_MAX: usize = 8_192;

/// One field, decoded.
#[derive(Debug, Clone)]
pub struct Field<'a> {
    pub name: &'a str,
    pub value: Cow<'a, str>,
    /// As it was sent.
    pub raw_value: &'a str,
    /// Where its part `name=value` begins.
    start: usize,
}

impl<'a> Field<'a> {
    /// One that stands elsewhere, and is written plain.
    pub(crate) fn plain(name: &'a str, value: &'a str) -> Self {
        Self {
            name,
            value: Cow::Borrowed(value),
            raw_value: value,
            start: 0,
        }
    }
}

/// Splits and decodes a query or body, in order. The field called `opaque` (the signature) keeps its value as sent.
pub fn fields<'a>(
    text: &'a str,
    opaque: &str,
    out: &mut Vec<Field<'a>>,
) -> Result<(), DecodeError> {
    if text.is_empty() {
        return Ok(());
    }
    let bytes = text.as_bytes();
    let mut start = 0;
    loop {
        let rest = bytes.get(start..).unwrap_or_default();
        let end = start + memchr::memchr(b'&', rest).unwrap_or(rest.len());
        // `=` and `&` are ASCII: the cuts lie between characters.
        let part = text.get(start..end).unwrap_or_default();
        let (name, raw_value) = memchr::memchr(b'=', part.as_bytes())
            .and_then(|at| Some((part.get(..at)?, part.get(at + 1..)?)))
            .ok_or(DecodeError::Encoding {
                why: "a part is not `name=value`",
            })?;
        if name.is_empty() || !name.bytes().all(is_name_byte) {
            return Err(DecodeError::Encoding {
                why: "a name has other characters than letters, digits, `_`, `-` and `.`",
            });
        }
        if out.len() == FIELDS_MAX {
            return Err(DecodeError::TooManyFields);
        }
        if out.iter().any(|f| f.name == name) {
            return Err(DecodeError::FieldRepeated { field: quote(name) });
        }
        let value = if name == opaque {
            Cow::Borrowed(raw_value)
        } else {
            decode(raw_value)?
        };
        out.push(Field {
            name,
            value,
            raw_value,
            start,
        });
        if end == bytes.len() {
            return Ok(());
        }
        start = end + 1;
    }
}

/// What the text says without this part.
pub fn without<'a>(text: &'a str, field: &Field<'_>) -> Cow<'a, str> {
    let end = field.start + field.name.len() + 1 + field.raw_value.len();
    let before = text.get(..field.start).unwrap_or_default();
    match text.get(end + 1..) {
        // It is the last one, as usual.
        None => Cow::Borrowed(before.strip_suffix('&').unwrap_or(before)),
        Some(after) => Cow::Owned([before, after].concat()),
    }
}

/// A letter, digit, `_`, `-` or `.`: what a name is made of.
const NAME: u8 = 1;
/// `%` and `+`: the value has to be decoded.
const ESCAPE: u8 = 2;
/// `=`, `;` and `#`: another reader could cut the value there.
const CUT: u8 = 4;
const CONTROL: u8 = 8;

/// What each byte is.
const BYTES: [u8; 256] = {
    let mut table = [0; 256];
    let mut at = 0;
    while at < 256 {
        table[at] = match at as u8 {
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'_' | b'-' | b'.' => NAME,
            b'%' | b'+' => ESCAPE,
            b'=' | b';' | b'#' => CUT,
            0..0x20 | 0x7f => CONTROL,
            _ => 0,
        };
        at += 1;
    }
    table
};

fn class(b: u8) -> u8 {
    BYTES.get(usize::from(b)).copied().unwrap_or(CONTROL)
}

fn is_name_byte(b: u8) -> bool {
    class(b) == NAME
}

/// Decodes one value: `%XX` is a byte, `+` a space (as forms have it); the result is UTF-8 without control characters.
pub fn decode(raw: &str) -> Result<Cow<'_, str>, DecodeError> {
    let bytes = raw.as_bytes();
    let found = bytes.iter().fold(0, |found, b| found | class(*b));
    if found & CUT != 0 {
        return Err(DecodeError::Encoding {
            why: "a value holds `=`, `;` or `#`; percent-encode it",
        });
    }
    if found & CONTROL != 0 {
        return Err(DecodeError::Encoding {
            why: "a value holds a control character",
        });
    }
    if bytes.len() > VALUE_BYTES_MAX * 3 {
        return Err(DecodeError::Encoding {
            why: "a value is longer than 8192 bytes",
        });
    }
    if found & ESCAPE == 0 {
        return Ok(Cow::Borrowed(raw));
    }
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes.iter();
    while let Some(&b) = rest.next() {
        out.push(match b {
            b'+' => b' ',
            b'%' => {
                let high = rest.next().copied().and_then(hex);
                let low = rest.next().copied().and_then(hex);
                let (Some(high), Some(low)) = (high, low) else {
                    return Err(DecodeError::Encoding {
                        why: "a `%` is not followed by two hex digits",
                    });
                };
                high << 4 | low
            }
            _ => b,
        });
    }
    let text = String::from_utf8(out).map_err(|_| DecodeError::Encoding {
        why: "a value is not UTF-8",
    })?;
    if text.chars().any(char::is_control) {
        return Err(DecodeError::Encoding {
            why: "a value holds a control character",
        });
    }
    Ok(Cow::Owned(text))
}

pub(crate) fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// Appends `text`, everything percent-encoded but letters, digits and `-._~` (RFC 3986), so that there is one form.
pub fn encode_into(out: &mut String, text: &str) {
    for &b in text.as_bytes() {
        if is_name_byte(b) || b == b'~' {
            out.push(b as char);
        } else {
            out.push('%');
            for nibble in [b >> 4, b & 15] {
                out.push(HEX.get(usize::from(nibble)).map_or('0', |&h| h as char));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<&[(&str, &str)]>) {
        let mut out = Vec::new();
        let read = fields(text, "signature", &mut out);
        let got: Vec<(&str, &str)> = out.iter().map(|f| (f.name, &*f.value)).collect();
        match expected {
            Some(expected) => assert_eq!((read, &got[..]), (Ok(()), expected), "{text}"),
            None => assert!(read.is_err(), "{text}: {got:?}"),
        }
    }

    #[test]
    fn forms_are_read_in_one_way() {
        check("", Some(&[]));
        check("a=1&b=2", Some(&[("a", "1"), ("b", "2")]));
        check("a=x+y%20z%2B", Some(&[("a", "x y z+")]));
        check("a=%E5%B8%81", Some(&[("a", "币")]));
        check("a=币", Some(&[("a", "币")]));
        check("signature=ab+/%2B==", Some(&[("signature", "ab+/%2B==")]));
        check("a=", Some(&[("a", "")]));
    }

    #[test]
    fn what_could_be_read_twice_is_refused() {
        for text in [
            "&",
            "a=1&",
            "&a=1",
            "a=1&&b=2",
            "a",
            "=1",
            "a=1=2",
            "a=1;b=2",
            "a=1#b",
            "%61=1",
            "a b=1",
            "a+b=1",
            "a=%",
            "a=%1",
            "a=%zz",
            "a=%G0",
            "a=%00",
            "a=%0a",
            "a=%7f",
            "a=%c0%80",
            "a=%C0%AF",
            "a=%ff",
            "a=%ED%A0%80",
            "a=%C2%85",
            "a=1&a=1",
            "a=1&a=2",
            "signature=1&signature=1",
            "a=\n",
            "a=\0",
            "a=%u0041",
            "a=% 41",
            "a[]=1",
        ] {
            check(text, None);
        }
        let many = (0..=FIELDS_MAX)
            .map(|n| format!("f{n}=1"))
            .collect::<Vec<_>>()
            .join("&");
        check(&many, None);
    }

    #[test]
    fn a_part_is_left_out() {
        for (text, rest) in [
            ("signature=1", ""),
            ("a=1&signature=1", "a=1"),
            ("signature=1&a=1", "a=1"),
            ("a=1&signature=1&b=2", "a=1&b=2"),
            ("xsignature=2&signature=", "xsignature=2"),
        ] {
            let mut out = Vec::new();
            fields(text, "signature", &mut out).unwrap();
            let signature = out.iter().find(|f| f.name == "signature").unwrap();
            assert_eq!(without(text, signature), rest, "{text}");
        }
    }

    #[test]
    fn encoding_decodes_to_itself() {
        for text in ["", "abc-._~", "a b+c&d=e%#;/", "币安人生USDT", "\"[{}]\""] {
            let mut out = String::new();
            encode_into(&mut out, text);
            assert!(
                out.bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-._~%".contains(&b))
            );
            assert_eq!(decode(&out).unwrap(), text);
        }
    }
}
