//! Reading JSON in the one way that every strict reader shares: no name twice, no number that another reader could round,
//! nothing after the end, bounded depth and size. Numbers keep their text.

use crate::error::{DecodeError, quote};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// Objects and arrays within each other at most.
pub const DEPTH_MAX: usize = 5;
/// Names of one object at most.
pub const NAMES_MAX: usize = 64;
/// Items of one array at most.
pub const ITEMS_MAX: usize = 1_000;

/// A value as it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node<'a> {
    Text(Cow<'a, str>),
    /// As it was written.
    Number(&'a str),
    Bool(bool),
    Null,
    Array(Vec<Node<'a>>),
    Object(Object<'a>),
}

/// Names and values, in the order in which they were sent.
pub type Object<'a> = Vec<(Cow<'a, str>, Node<'a>)>;

/// The whole text as one value.
pub fn read(text: &str) -> Result<Node<'_>, DecodeError> {
    let raw: &RawValue = serde_json::from_str(text).map_err(|_| DecodeError::Encoding {
        why: "the body is no JSON",
    })?;
    node(raw, DEPTH_MAX)
}

fn node(raw: &RawValue, depth: usize) -> Result<Node<'_>, DecodeError> {
    let bad = |why| DecodeError::Encoding { why };
    let text = raw.get();
    Ok(match text.as_bytes().first() {
        Some(b'"') => {
            let Text(text) =
                serde_json::from_str(text).map_err(|_| bad("a JSON text is not UTF-8"))?;
            if text.chars().any(char::is_control) {
                return Err(bad("a value holds a control character"));
            }
            Node::Text(text)
        }
        Some(b't') => Node::Bool(true),
        Some(b'f') => Node::Bool(false),
        Some(b'n') => Node::Null,
        Some(b'{') => {
            let below = depth
                .checked_sub(1)
                .ok_or(bad("the JSON is nested too deep"))?;
            let Names(names) = serde_json::from_str(text)
                .map_err(|_| bad("a JSON object is malformed or has too many names"))?;
            let mut object: Object<'_> = Vec::with_capacity(names.len());
            for (Text(name), raw) in names {
                if object.iter().any(|(known, _)| *known == name) {
                    return Err(DecodeError::FieldRepeated {
                        field: quote(&name),
                    });
                }
                object.push((name, node(raw, below)?));
            }
            Node::Object(object)
        }
        Some(b'[') => {
            let below = depth
                .checked_sub(1)
                .ok_or(bad("the JSON is nested too deep"))?;
            let Items(items) = serde_json::from_str(text)
                .map_err(|_| bad("a JSON array is malformed or has too many items"))?;
            Node::Array(
                items
                    .into_iter()
                    .map(|raw| node(raw, below))
                    .collect::<Result<_, _>>()?,
            )
        }
        _ => Node::Number(text),
    })
}

/// A JSON string, borrowed unless it has escapes.
#[derive(Debug, Clone)]
pub(crate) struct Text<'a>(pub Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Strings;
        impl<'de> Visitor<'de> for Strings {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Strings)
    }
}

struct Names<'a>(Vec<(Text<'a>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Names<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Maps;
        impl<'de> Visitor<'de> for Maps {
            type Value = Names<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "an object of at most {NAMES_MAX} names")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut names = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    if names.len() == NAMES_MAX {
                        return Err(serde::de::Error::invalid_length(NAMES_MAX + 1, &self));
                    }
                    names.push(entry);
                }
                Ok(Names(names))
            }
        }
        deserializer.deserialize_map(Maps)
    }
}

struct Items<'a>(Vec<&'a RawValue>);

impl<'de: 'a, 'a> Deserialize<'de> for Items<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Lists;
        impl<'de> Visitor<'de> for Lists {
            type Value = Items<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "an array of at most {ITEMS_MAX} items")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    if items.len() == ITEMS_MAX {
                        return Err(serde::de::Error::invalid_length(ITEMS_MAX + 1, &self));
                    }
                    items.push(item);
                }
                Ok(Items(items))
            }
        }
        deserializer.deserialize_seq(Lists)
    }
}

/// Appends a JSON string in its one form: everything that is not a control character, a quote or a backslash stands for
/// itself (RFC 8259).
pub fn write_text(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            c if c.is_control() => {
                use fmt::Write as _;
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_what_was_written() {
        let Node::Object(object) =
            read(r#" {"a":"1\u0042","n":1.50e3,"t":true,"z":null,"l":[1,"x"],"o":{"b":false}} "#)
                .unwrap()
        else {
            panic!("no object")
        };
        let text = |t: &'static str| Node::Text(t.into());
        assert_eq!(
            object,
            [
                ("a".into(), text("1B")),
                ("n".into(), Node::Number("1.50e3")),
                ("t".into(), Node::Bool(true)),
                ("z".into(), Node::Null),
                ("l".into(), Node::Array(vec![Node::Number("1"), text("x")])),
                (
                    "o".into(),
                    Node::Object(vec![("b".into(), Node::Bool(false))])
                ),
            ]
        );
    }

    #[test]
    fn what_could_be_read_twice_is_refused() {
        let deep = format!("{}{}", "[".repeat(DEPTH_MAX + 1), "]".repeat(DEPTH_MAX + 1));
        let long = format!("[{}1]", "1,".repeat(ITEMS_MAX));
        let wide = format!(
            "{{{}}}",
            (0..=NAMES_MAX)
                .map(|n| format!("\"f{n}\":1"))
                .collect::<Vec<_>>()
                .join(",")
        );
        for text in [
            "",
            "{",
            "{}x",
            "{} {}",
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"o":{"a":1,"a":2}}"#,
            r#"[{"a":1,"a":2}]"#,
            r#"{a:1}"#,
            r#"{'a':1}"#,
            r#"{"a":01}"#,
            r#"{"a":+1}"#,
            r#"{"a":.5}"#,
            r#"{"a":NaN}"#,
            r#"{"a":Infinity}"#,
            r#"{"a":1,}"#,
            r#"{"a":"\u0000"}"#,
            r#"{"a":"\ud800"}"#,
            "{\"a\":\"\n\"}",
            "{\"a\":1}\0",
            "/* x */{}",
            &deep,
            &long,
            &wide,
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn text_is_written_as_it_reads() {
        for text in ["", "a", "币\"\\/", "\u{1}\u{7f}"] {
            let mut out = String::new();
            write_text(&mut out, text);
            assert_eq!(serde_json::from_str::<String>(&out).unwrap(), text);
        }
    }
}
