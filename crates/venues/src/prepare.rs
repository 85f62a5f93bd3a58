//! The request that the venue gets: typed fields in one fixed order and form, what the scheme puts beside them, and the
//! signature last. Not one byte of the program's request is copied.

use crate::actions::Actions;
use crate::catalog::{Catalog, Endpoint, FieldRule, Method, Security};
use crate::dialect::{Dialect, Passphrase};
use crate::document::write_text;
use crate::form::encode_into;
use crate::signature::{Credential, Signature};
use crate::value::{Type, Value};
use portcullis_model::action::MarketKind;
use portcullis_model::action::Stamp;
use std::borrow::Cow;
use std::fmt::Write as _;

/// A request whose keyed operation is still open: sign [`Unsigned::message`], then [`Unsigned::finish`].
#[derive(Debug, Clone)]
pub struct Unsigned {
    pub(crate) dialect: &'static dyn Dialect,
    pub method: &'static str,
    pub(crate) path: String,
    pub(crate) market: MarketKind,
    /// A form, for query or body; or a JSON body.
    pub(crate) fields: String,
    pub(crate) body: Body,
    /// No key and no signature: public data.
    pub is_public: bool,
    pub(crate) stamp: Stamp,
    time_unit: Option<&'static str>,
}

/// Where the fields of a request stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// In the query; there is no body.
    Query,
    /// A form in the body.
    Form,
    /// JSON in the body.
    Json,
    /// JSON in a WebSocket's frame.
    Frame,
}

/// A request ready to go. The caller adds Host and Content-Length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ready {
    pub method: &'static str,
    pub target: String,
    pub headers: Vec<(&'static str, String)>,
    pub body: String,
}

impl Unsigned {
    /// The bytes to sign with the key of this id.
    #[must_use]
    pub fn message(&self, api_key: &str) -> Cow<'_, [u8]> {
        self.dialect.message(self, api_key)
    }

    /// How the passphrase of a real key is to be placed.
    #[must_use]
    pub fn passphrase(&self) -> Passphrase {
        self.dialect.passphrase()
    }

    /// Places the real key's id and the signature made with it.
    #[must_use]
    pub fn finish(self, credential: Credential<'_>, signature: &Signature) -> Ready {
        if self.is_public {
            return self.ready(Vec::with_capacity(2));
        }
        self.dialect.finish(self, credential, signature)
    }

    /// A public request: no credential. `None` where the venue wants one.
    #[must_use]
    pub fn finish_public(self) -> Option<Ready> {
        self.is_public.then(|| self.ready(Vec::with_capacity(2)))
    }

    /// Path, and the query where fields stand in it.
    #[must_use]
    pub fn target(&self) -> String {
        match self.body {
            Body::Query if !self.fields.is_empty() => format!("{}?{}", self.path, self.fields),
            _ => self.path.clone(),
        }
    }

    /// Appends a whole number of the scheme's to a form.
    pub(crate) fn field(&mut self, name: &str, number: u64) {
        next(&mut self.fields, name);
        let _ = write!(self.fields, "{number}");
    }

    /// With the scheme's headers in place.
    pub(crate) fn ready(self, mut headers: Vec<(&'static str, String)>) -> Ready {
        if self.body == Body::Frame {
            return self.dialect.frame(self);
        }
        if let Some(unit) = self.time_unit {
            headers.push(("x-mbx-time-unit", unit.to_owned()));
        }
        let (target, body) = match self.body {
            Body::Query if self.fields.is_empty() => (self.path, String::new()),
            Body::Query => {
                let mut target = self.path;
                target.push('?');
                target.push_str(&self.fields);
                (target, String::new())
            }
            Body::Form => {
                headers.push((
                    "content-type",
                    "application/x-www-form-urlencoded".to_owned(),
                ));
                (self.path, self.fields)
            }
            Body::Json | Body::Frame => {
                headers.push(("content-type", "application/json".to_owned()));
                (self.path, self.fields)
            }
        };
        Ready {
            method: self.method,
            target,
            headers,
            body,
        }
    }
}

impl Catalog {
    /// The request that the venue gets, built from the typed fields alone, its keyed operation still open. `None`: the
    /// actions are of another catalog.
    #[must_use]
    pub fn prepare(&self, actions: &Actions, stamp: Stamp) -> Option<Unsigned> {
        let rule = self.endpoint(actions.endpoint)?;
        let dialect = self.service_of(rule)?.dialect;
        let body = match rule.method {
            Method::Get | Method::Delete => Body::Query,
            Method::Post | Method::Put => dialect.body(),
            Method::Ws => Body::Frame,
        };
        let mut fields = String::with_capacity(320);
        match body {
            Body::Json | Body::Frame => write_body(rule, actions, &mut fields),
            Body::Query | Body::Form => write_form(rule, actions, &mut fields),
        }
        let mut request = Unsigned {
            dialect,
            method: rule.method.name(),
            path: rule.path_with(&actions.fields),
            market: rule.market,
            fields,
            body,
            is_public: rule.security == Security::None,
            stamp,
            time_unit: actions.time_unit,
        };
        if !request.is_public {
            dialect.stamp(&mut request);
        }
        Some(request)
    }
}

fn write_form(rule: &Endpoint, actions: &Actions, out: &mut String) {
    let mut text = String::new();
    for (at, value) in &actions.fields {
        let Some(field) = rule.fields.get(usize::from(*at)).filter(|f| !f.in_path) else {
            continue;
        };
        next(out, &field.name);
        text.clear();
        match value {
            Value::List(_) | Value::Objects(_) => {
                write_json(rule, &field.ty, value, Body::Form, &mut text);
            }
            value => field.ty.write(value, &mut text),
        }
        encode_into(out, &text);
    }
    for (name, value) in &actions.unnamed {
        next(out, name);
        encode_into(out, value);
    }
}

fn write_body(rule: &Endpoint, actions: &Actions, out: &mut String) {
    match (rule.array.and_then(|at| rule.object(at)), &actions.array) {
        (Some(object), Some(items)) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write_object(rule, &object.fields, item, &[], Body::Json, out);
            }
            out.push(']');
        }
        _ => {
            let (fields, unnamed) = (&actions.fields, &actions.unnamed);
            write_object(rule, &rule.fields, fields, unnamed, Body::Json, out);
        }
    }
}

fn write_object(
    rule: &Endpoint,
    rules: &[FieldRule],
    values: &[(u8, Value)],
    unnamed: &[(String, String)],
    body: Body,
    out: &mut String,
) {
    out.push('{');
    let mut is_first = true;
    let mut name = |out: &mut String, name: &str| {
        if !std::mem::take(&mut is_first) {
            out.push(',');
        }
        write_text(out, name);
        out.push(':');
    };
    for (at, value) in values {
        let Some(field) = rules.get(usize::from(*at)).filter(|f| !f.in_path) else {
            continue;
        };
        name(out, &field.name);
        write_json(rule, &field.ty, value, body, out);
    }
    for (field, value) in unnamed {
        name(out, field);
        write_text(out, value);
    }
    out.push('}');
}

/// `body`: where the JSON stands. In a form a truth is text, as the form's own are.
fn write_json(rule: &Endpoint, ty: &Type, value: &Value, body: Body, out: &mut String) {
    match (ty, value) {
        (Type::List(of), Value::List(items)) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                of.write_json(item, out);
            }
            out.push(']');
        }
        (Type::Objects(object) | Type::Object(object), Value::Objects(items)) => {
            let rules = rule.object(*object).map_or(&[][..], |o| &o.fields);
            let is_list = matches!(ty, Type::Objects(_));
            if is_list {
                out.push('[');
            }
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write_object(rule, rules, item, &[], body, out);
            }
            if is_list {
                out.push(']');
            }
        }
        (ty, Value::Bool(_) | Value::Flag(_)) if body != Body::Json => {
            out.push('"');
            ty.write(value, out);
            out.push('"');
        }
        (ty, value) => ty.write_json(value, out),
    }
}

fn next(out: &mut String, name: &str) {
    if !out.is_empty() {
        out.push('&');
    }
    out.push_str(name);
    out.push('=');
}
