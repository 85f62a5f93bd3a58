//! Tables of calls as text: method, path, what a key needs, rate, fields with their forms.
//!
//! A line is `METHOD path need rate fields…`, or `set NAME: fields…` for fields that several calls share. `rate` is a number
//! of requests in a number of seconds, `10` or `60/2`, with `*` where each market counts apart. A field is `name=form`, with
//! `!` after the name where it must be there; `*NAME` stands for the fields of a set.

use crate::decimal;
use crate::keys::Right;
use serde_json::{Map, Value};

/// Fields and their values, those that are absent left out.
pub type Fields = Map<String, Value>;

/// The form of a field.
#[derive(Debug, Clone)]
pub enum Form {
    /// Text of printable characters.
    Text,
    /// A name of letters, digits, `-` and `_`, in capitals.
    Name,
    /// A decimal in quotes, zero or more.
    Decimal,
    /// The same, or a whole number without quotes, as some client sends it.
    Loose,
    /// A decimal in quotes, above or below zero.
    Signed,
    /// A whole number.
    Int,
    /// True or false.
    Bool,
    /// An id that the client chose: letters, digits and, where it says so, `-` and `_`; at most so many.
    Id(usize, bool),
    /// One of a few words.
    Words(Vec<&'static str>),
    /// Objects with these fields, at most so many.
    Objects(Vec<Field>, usize),
    /// One such object.
    Object(Vec<Field>),
    /// A list of texts.
    List,
}

/// A field of a call.
#[derive(Debug, Clone)]
pub struct Field {
    /// Name.
    pub name: &'static str,
    /// Form.
    pub form: Form,
    /// Must be there.
    pub must: bool,
}

/// A call.
#[derive(Debug)]
pub struct Call {
    /// HTTP method.
    pub method: &'static str,
    /// Path.
    pub path: &'static str,
    /// What the key needs; nothing where anybody may call.
    pub need: Option<Right>,
    /// Requests.
    pub rate: usize,
    /// In so many milliseconds.
    pub window_ms: u64,
    /// Each market counts apart.
    pub by_market: bool,
    /// Its fields.
    pub fields: Vec<Field>,
}

impl Call {
    /// Whether the body may be an array of objects, and its field.
    #[must_use]
    pub fn array(&self) -> Option<(&[Field], usize)> {
        self.fields.iter().find_map(|f| match (&f.form, f.name) {
            (Form::Objects(fields, max), "") => Some((fields.as_slice(), *max)),
            _ => None,
        })
    }
}

/// Why fields are refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wrong {
    /// One is missing.
    Missing(&'static str),
    /// One has another form.
    Malformed(String),
    /// One is not known.
    Unknown(String),
    /// More objects than there may be.
    TooMany(usize),
}

/// How a venue reads fields.
#[derive(Debug, Clone, Copy)]
pub struct Manner {
    /// Everything is text: numbers and switches too.
    pub text: bool,
    /// Null, empty text and empty lists are as if they were not there.
    pub empty_is_absent: bool,
    /// Unknown fields are refused.
    pub known_only: bool,
}

/// All lines of a table.
///
/// # Errors
/// The line that is none.
pub fn parse(text: &'static str) -> Result<Vec<Call>, String> {
    let mut sets: Vec<(&'static str, Vec<Field>)> = Vec::new();
    let mut calls = Vec::new();
    for line in text
        .lines()
        .filter(|l| !l.is_empty() && !l.starts_with('#'))
    {
        let bad = || format!("not a line of a table: {line}");
        if let Some(rest) = line.strip_prefix("set ") {
            let (name, rest) = rest.split_once(':').ok_or_else(bad)?;
            let fields = fields(rest, &sets).ok_or_else(bad)?;
            sets.push((name, fields));
            continue;
        }
        let mut words = line.splitn(5, ' ');
        let mut word = || words.next();
        let (Some(method), Some(path), Some(need), Some(rate)) = (word(), word(), word(), word())
        else {
            return Err(bad());
        };
        let need = match need {
            "public" => None,
            "read" => Some(Right::Read),
            "trade" => Some(Right::Trade),
            "transfer" => Some(Right::UniversalTransfer),
            "sub" => Some(Right::InternalTransfer),
            "withdraw" => Some(Right::Withdraw),
            "admin" => Some(Right::Admin),
            _ => return Err(bad()),
        };
        let (rate, by_market) = match rate.strip_suffix('*') {
            Some(rate) => (rate, true),
            None => (rate, false),
        };
        let (rate, seconds) = rate.split_once('/').unwrap_or((rate, "1"));
        let seconds: u64 = seconds.parse().map_err(|_| bad())?;
        calls.push(Call {
            method,
            path,
            need,
            rate: rate.parse().map_err(|_| bad())?,
            window_ms: seconds * 1000,
            by_market,
            fields: fields(word().unwrap_or(""), &sets).ok_or_else(bad)?,
        });
    }
    Ok(calls)
}

fn fields(text: &'static str, sets: &[(&'static str, Vec<Field>)]) -> Option<Vec<Field>> {
    let set = |name: &str| {
        sets.iter()
            .find(|(n, _)| *n == name)
            .map(|(_, fields)| fields.clone())
    };
    let mut all = Vec::new();
    for word in text.split_ascii_whitespace() {
        if let Some(name) = word.strip_prefix('*') {
            all.extend(set(name)?);
            continue;
        }
        let (name, form) = word.split_once('=')?;
        let (name, must) = match name.strip_suffix('!') {
            Some(name) => (name, true),
            None => (name, false),
        };
        let form = match form {
            "text" => Form::Text,
            "name" => Form::Name,
            "decimal" => Form::Decimal,
            "loose" => Form::Loose,
            "signed" => Form::Signed,
            "int" => Form::Int,
            "bool" => Form::Bool,
            "list" => Form::List,
            "id40" => Form::Id(40, true),
            "id36" => Form::Id(36, true),
            "id32" => Form::Id(32, false),
            "id16" => Form::Id(16, false),
            _ => {
                if let Some(inner) = form.strip_prefix('[').and_then(|f| f.strip_suffix(']')) {
                    let (name, max) = inner.split_once(';')?;
                    Form::Objects(set(name)?, max.parse().ok()?)
                } else if let Some(name) = form.strip_prefix('{').and_then(|f| f.strip_suffix('}'))
                {
                    Form::Object(set(name)?)
                } else {
                    Form::Words(form.split('|').collect())
                }
            }
        };
        all.push(Field { name, form, must });
    }
    Some(all)
}

/// What was given, judged: each field known and in its form, those that must be there are.
///
/// # Errors
/// What is wrong first.
pub fn check(fields: &[Field], given: &Fields, manner: Manner) -> Result<Fields, Wrong> {
    let mut out = Fields::new();
    for (name, value) in given {
        let empty = value.is_null()
            || value.as_str().is_some_and(str::is_empty)
            || value.as_array().is_some_and(Vec::is_empty);
        let absent = manner.empty_is_absent && empty;
        let Some(field) = fields.iter().find(|f| f.name == name) else {
            if manner.known_only && !absent {
                return Err(Wrong::Unknown(name.clone()));
            }
            continue;
        };
        if absent {
            continue;
        }
        out.insert(name.clone(), form(field, value, manner)?);
    }
    match fields.iter().find(|f| f.must && !out.contains_key(f.name)) {
        Some(missing) => Err(Wrong::Missing(missing.name)),
        None => Ok(out),
    }
}

fn form(field: &Field, value: &Value, manner: Manner) -> Result<Value, Wrong> {
    let malformed = || Wrong::Malformed(field.name.to_owned());
    let text = || value.as_str().ok_or_else(malformed);
    let when = |good: bool| {
        if good {
            Ok(value.clone())
        } else {
            Err(malformed())
        }
    };
    match &field.form {
        Form::Text => {
            let text = text()?;
            when(!text.is_empty() && text.len() <= 1024 && !text.chars().any(char::is_control))
        }
        Form::Name => {
            let legal = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b"-_,".contains(&b);
            let text = text()?;
            when((1..=60).contains(&text.len()) && text.bytes().all(legal))
        }
        Form::Decimal => when(decimal::parse(text()?).is_ok()),
        Form::Loose => match value.as_u64() {
            Some(number) => Ok(Value::from(number.to_string())),
            None => when(decimal::parse(text()?).is_ok()),
        },
        Form::Signed => {
            let text = text()?;
            when(decimal::parse(text.strip_prefix('-').unwrap_or(text)).is_ok())
        }
        Form::Int => {
            let digits =
                |t: &str| (1..=18).contains(&t.len()) && t.bytes().all(|b| b.is_ascii_digit());
            when(match value {
                Value::Number(number) => !manner.text && number.as_u64().is_some(),
                Value::String(text) => manner.text && digits(text),
                _ => false,
            })
        }
        Form::Bool => match value {
            Value::Bool(_) => Ok(value.clone()),
            Value::String(text) if manner.text && (text == "true" || text == "false") => {
                Ok(Value::Bool(text == "true"))
            }
            _ => Err(malformed()),
        },
        Form::Id(max, dashes) => {
            let legal = |b: u8| b.is_ascii_alphanumeric() || *dashes && b"-_".contains(&b);
            let text = text()?;
            when((1..=*max).contains(&text.len()) && text.bytes().all(legal))
        }
        Form::Words(words) => when(words.contains(&text()?)),
        Form::List => when(value.as_array().is_some_and(|all| {
            all.iter()
                .all(|one| one.as_str().is_some_and(|t| !t.is_empty()))
        })),
        Form::Objects(fields, max) => {
            let all = value.as_array().ok_or_else(malformed)?;
            objects(fields, all, *max, manner).map(Value::from)
        }
        Form::Object(fields) => {
            let one = value.as_object().ok_or_else(malformed)?;
            check(fields, one, manner).map(Value::from)
        }
    }
}

/// Objects of a list, each judged.
///
/// # Errors
/// What is wrong first.
pub fn objects(
    fields: &[Field],
    all: &[Value],
    max: usize,
    manner: Manner,
) -> Result<Vec<Value>, Wrong> {
    if all.is_empty() {
        return Err(Wrong::Malformed("[]".to_owned()));
    }
    if all.len() > max {
        return Err(Wrong::TooMany(max));
    }
    all.iter()
        .map(|one| {
            let one = one
                .as_object()
                .ok_or_else(|| Wrong::Malformed("[]".to_owned()))?;
            check(fields, one, manner).map(Value::from)
        })
        .collect()
}

/// Fields of a query; a name twice, an escape that is none or a piece without `=` makes it none.
#[must_use]
pub fn query(text: &str) -> Option<Fields> {
    let mut all = Fields::new();
    for piece in text.split('&').filter(|_| !text.is_empty()) {
        let (name, value) = piece.split_once('=')?;
        let value = crate::strict::decode(value)?;
        if all
            .insert(crate::strict::decode(name)?, Value::from(value))
            .is_some()
        {
            return None;
        }
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str =
        "set leg: side!=buy|sell sz!=decimal\nPOST /x trade 60/2* a!=int b=bool legs=[leg;2]\n";

    #[test]
    fn a_line_that_is_none_is_named() {
        assert!(parse("POST /x trade").is_err());
        assert!(parse("POST /x nobody 1").is_err());
        assert!(parse("POST /x trade 1 a").is_err());
        assert!(parse("POST /x trade 1 *none").is_err());
        assert!(parse(TABLE).is_ok());
    }

    #[test]
    fn forms() {
        let calls = parse(
            "set leg: side!=buy|sell sz!=decimal\nPOST /x trade 60/2* n=int b=bool id=id32 px=signed legs=[leg;2] what=text\n",
        )
        .unwrap_or_default();
        let call = calls
            .first()
            .map(|c| c.fields.as_slice())
            .unwrap_or_default();
        let manner = |text| Manner {
            text,
            empty_is_absent: text,
            known_only: true,
        };
        let judge = |json: &str, text| {
            let given = super::super::json::parse(json.as_bytes()).unwrap_or_default();
            check(
                call,
                given.as_object().unwrap_or(&Fields::new()),
                manner(text),
            )
            .is_ok()
        };
        for (json, as_text, as_json) in [
            (r#"{"n":1}"#, false, true),
            (r#"{"n":"1"}"#, true, false),
            (r#"{"n":-1}"#, false, false),
            (r#"{"n":1.5}"#, false, false),
            (r#"{"b":true}"#, true, true),
            (r#"{"b":"true"}"#, true, false),
            (r#"{"b":1}"#, false, false),
            (r#"{"id":"a-b"}"#, false, false),
            (r#"{"id":"ab"}"#, true, true),
            (r#"{"px":"-1"}"#, true, true),
            (r#"{"px":"--1"}"#, false, false),
            (r#"{"px":-1}"#, false, false),
            (r#"{"legs":[{"side":"buy","sz":"1"}]}"#, true, true),
            (r#"{"legs":[{"side":"buy"}]}"#, false, false),
            (r#"{"legs":[]}"#, true, false),
            (
                r#"{"legs":[{"side":"buy","sz":"1","x":"1"}]}"#,
                false,
                false,
            ),
            (r#"{"other":"1"}"#, false, false),
            (r#"{"what":""}"#, true, false),
            (r#"{"what":null}"#, true, false),
        ] {
            assert_eq!(judge(json, true), as_text, "{json}");
            assert_eq!(judge(json, false), as_json, "{json}");
        }
    }

    #[test]
    fn queries() {
        assert_eq!(query("").map(|q| q.len()), Some(0));
        assert_eq!(query("a=1&b=%20").map(|q| q.len()), Some(2));
        for bad in ["a", "a=1&a=1", "a=%2", "a=1&", "%61=1&a=2"] {
            assert_eq!(query(bad), None, "{bad}");
        }
    }
}
