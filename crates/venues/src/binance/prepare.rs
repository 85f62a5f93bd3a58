//! The request that the venue gets: typed fields in one fixed order and form, then `recvWindow`, `timestamp`, and the
//! signature last. Not one byte of the program's request is copied.

use super::{Actions, Binance, Signature};
use crate::catalog::{Method, Security};
use crate::form::encode_into;
use portcullis_model::action::Stamp;
use std::fmt::Write as _;

/// A request whose keyed operation is still open: sign [`Unsigned::message`], then [`Unsigned::finish`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsigned {
    pub method: &'static str,
    path: String,
    fields: String,
    in_body: bool,
    /// No key and no signature: public data.
    pub is_public: bool,
    time_unit: Option<&'static str>,
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
    /// The bytes to sign.
    #[must_use]
    pub fn message(&self) -> &[u8] {
        self.fields.as_bytes()
    }

    /// Places the real key's id and the signature made with it.
    #[must_use]
    pub fn finish(mut self, api_key: &str, signature: &Signature) -> Ready {
        if !self.is_public {
            self.fields.push_str("&signature=");
            signature.write(&mut self.fields);
        }
        self.ready(Some(api_key))
    }

    /// A public request: no credential. `None` where the venue wants one.
    #[must_use]
    pub fn finish_public(self) -> Option<Ready> {
        self.is_public.then(|| self.ready(None))
    }

    fn ready(self, api_key: Option<&str>) -> Ready {
        let mut headers = Vec::with_capacity(3);
        if let Some(key) = api_key.filter(|_| !self.is_public) {
            headers.push(("x-mbx-apikey", key.to_owned()));
        }
        if let Some(unit) = self.time_unit {
            headers.push(("x-mbx-time-unit", unit.to_owned()));
        }
        let (target, body) = if self.in_body {
            headers.push((
                "content-type",
                "application/x-www-form-urlencoded".to_owned(),
            ));
            (self.path, self.fields)
        } else if self.fields.is_empty() {
            (self.path, String::new())
        } else {
            let mut target = self.path;
            target.push('?');
            target.push_str(&self.fields);
            (target, String::new())
        };
        Ready {
            method: self.method,
            target,
            headers,
            body,
        }
    }
}

pub(super) fn prepare(venue: &Binance, actions: &Actions, stamp: Stamp) -> Unsigned {
    let mut fields = String::with_capacity(320);
    let Some(rule) = venue.catalog.endpoint(actions.endpoint) else {
        // Actions of another catalog: an empty GET of nothing, which the venue refuses.
        return Unsigned {
            method: "GET",
            path: "/".to_owned(),
            fields,
            in_body: false,
            is_public: true,
            time_unit: None,
        };
    };
    let mut text = String::new();
    for (at, value) in &actions.fields {
        let Some(field) = rule.fields.get(usize::from(*at)) else {
            continue;
        };
        next(&mut fields, &field.name);
        text.clear();
        field.ty.write(value, &mut text);
        encode_into(&mut fields, &text);
    }
    for (name, value) in &actions.unnamed {
        next(&mut fields, name);
        encode_into(&mut fields, value);
    }
    let is_public = rule.security == Security::None;
    if !is_public {
        next(&mut fields, "recvWindow");
        let _ = write!(fields, "{}", stamp.receive_window_ms);
        next(&mut fields, "timestamp");
        let _ = write!(fields, "{}", stamp.venue_time_ms);
    }
    Unsigned {
        method: rule.method.name(),
        path: rule.path.clone(),
        fields,
        in_body: matches!(rule.method, Method::Post | Method::Put),
        is_public,
        time_unit: actions.time_unit,
    }
}

fn next(out: &mut String, name: &str) {
    if !out.is_empty() {
        out.push('&');
    }
    out.push_str(name);
    out.push('=');
}
