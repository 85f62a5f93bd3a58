//! What every dialect asks of the fields of one order, and how it says no.

use crate::actions::Named;
use crate::catalog::{Attribute, Meaning};
use crate::error::DecodeError;
use crate::value::Value;
use portcullis_model::action::ClientOrderId;
use portcullis_model::number::Price;

/// Named fields of one order, or of one exit.
#[derive(Clone, Copy)]
pub(crate) struct Fields<'a>(pub &'a [Named<'a>]);

impl<'a> Fields<'a> {
    pub fn get(self, attribute: Attribute) -> Option<Named<'a>> {
        self.0
            .iter()
            .find(|(f, _)| matches!(f.meaning, Meaning::Order(_, a) if a == attribute))
            .copied()
    }

    pub fn units(self, attribute: Attribute) -> Option<i128> {
        match self.get(attribute) {
            Some((_, Value::Units(units))) => Some(*units),
            _ => None,
        }
    }

    pub fn word(self, attribute: Attribute) -> Option<&'a str> {
        word(self.get(attribute))
    }

    pub fn is(self, attribute: Attribute) -> bool {
        matches!(self.get(attribute), Some((_, Value::Bool(true))))
    }

    pub fn text(self, attribute: Attribute) -> Option<ClientOrderId> {
        match self.get(attribute) {
            Some((_, Value::Text(text))) => Some(ClientOrderId(text.clone())),
            _ => None,
        }
    }

    /// A field by its own name, one without meaning.
    pub fn named(self, name: &str) -> Option<Named<'a>> {
        self.0.iter().find(|(f, _)| f.name == name).copied()
    }

    pub fn is_named(self, name: &str) -> bool {
        self.named(name).is_some()
    }

    /// It is there, and true.
    pub fn is_true(self, name: &str) -> bool {
        matches!(self.named(name), Some((_, Value::Bool(true))))
    }

    pub fn word_of(self, name: &str) -> Option<&'a str> {
        word(self.named(name))
    }

    /// The price of an exit or of a triggered order: absent, at the market (-1), or a limit.
    pub fn limit(self, attribute: Attribute) -> Option<Option<Price>> {
        match self.get(attribute)? {
            (_, Value::Units(units)) => Some(Some(Price(*units))),
            _ => Some(None),
        }
    }
}

fn word(named: Option<Named<'_>>) -> Option<&str> {
    match named {
        Some((field, Value::Word(at))) => Some(field.ty.word(*at)),
        _ => None,
    }
}

pub(crate) fn missing(field: &str) -> DecodeError {
    DecodeError::FieldMissing {
        field: field.to_owned(),
    }
}

pub(crate) fn one_of(fields: &str) -> DecodeError {
    DecodeError::OneOfMissing {
        fields: fields.to_owned(),
    }
}

pub(crate) fn not_with(field: &str, with: impl Into<String>) -> DecodeError {
    DecodeError::FieldNotWanted {
        field: field.to_owned(),
        with: with.into(),
    }
}

pub(crate) fn wrong(field: &str, why: &str) -> DecodeError {
    DecodeError::FieldValue {
        field: field.to_owned(),
        why: why.to_owned(),
    }
}
