//! Why a request was not understood. Each reason names its class (what a client library should make of it) and says
//! first the fact, then what to do. It is the program's fault, or the catalog's: never ours.

use portcullis_model::number::NumberError;
use portcullis_model::refusal::Class;
use std::fmt;

/// What of a program's text is repeated in a message at most, so that answers and logs stay small.
pub const QUOTE_BYTES_MAX: usize = 64;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DecodeError {
    // The bytes.
    Http {
        why: &'static str,
    },
    Target,
    HeaderRepeated {
        name: &'static str,
    },
    Header {
        name: &'static str,
        why: &'static str,
    },
    ContentType,
    BodyNotTaken,
    Encoding {
        why: &'static str,
    },
    TooManyFields,

    // The credential and its signature.
    KeyMissing,
    KeyMalformed,
    SignatureMissing,
    SignatureMalformed,
    SignatureWrong,
    /// Verifies only against decoded values, one of which could be read in two ways.
    SignatureAmbiguous {
        field: String,
    },
    SignatureOnPublic,
    TimestampMissing,
    Timestamp,
    ReceiveWindow,

    // The endpoint.
    UnknownHost {
        host: String,
    },
    UnknownEndpoint {
        method: String,
        path: String,
    },
    NotReviewed {
        method: String,
        path: String,
        action: &'static str,
    },
    /// The answer would hand the program a secret of the account.
    Secret {
        method: String,
        path: String,
        why: String,
    },

    // The fields.
    FieldRepeated {
        field: String,
    },
    FieldUnknown {
        field: String,
        path: String,
    },
    FieldMissing {
        field: String,
    },
    OneOfMissing {
        fields: String,
    },
    FieldsExclude {
        fields: String,
    },
    FieldNotWanted {
        field: String,
        with: String,
    },
    FieldNumber {
        field: String,
        why: NumberError,
    },
    FieldValue {
        field: String,
        why: String,
    },
}

impl DecodeError {
    /// What a client library should make of it.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::KeyMissing | Self::KeyMalformed => Class::Unauthenticated,
            Self::SignatureMissing
            | Self::SignatureMalformed
            | Self::SignatureWrong
            | Self::SignatureAmbiguous { .. } => Class::BadSignature,
            Self::TimestampMissing | Self::Timestamp | Self::ReceiveWindow => Class::BadTime,
            Self::UnknownHost { .. }
            | Self::UnknownEndpoint { .. }
            | Self::NotReviewed { .. }
            | Self::Secret { .. } => Class::NotPermitted,
            _ => Class::BadRequest,
        }
    }

    /// A word for logs, metrics and `--json`: one a reason.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Http { .. } => "http",
            Self::Target => "target",
            Self::HeaderRepeated { .. } => "header-repeated",
            Self::Header { .. } => "header",
            Self::ContentType => "content-type",
            Self::BodyNotTaken => "body-not-taken",
            Self::Encoding { .. } => "encoding",
            Self::TooManyFields => "too-many-fields",
            Self::KeyMissing => "key-missing",
            Self::KeyMalformed => "key-malformed",
            Self::SignatureMissing => "signature-missing",
            Self::SignatureMalformed => "signature-malformed",
            Self::SignatureWrong => "signature-wrong",
            Self::SignatureAmbiguous { .. } => "signature-ambiguous",
            Self::SignatureOnPublic => "signature-on-public",
            Self::TimestampMissing => "timestamp-missing",
            Self::Timestamp => "timestamp",
            Self::ReceiveWindow => "receive-window",
            Self::UnknownHost { .. } => "unknown-host",
            Self::UnknownEndpoint { .. } => "unknown-endpoint",
            Self::NotReviewed { .. } => "not-reviewed",
            Self::Secret { .. } => "secret-in-answer",
            Self::FieldRepeated { .. } => "field-repeated",
            Self::FieldUnknown { .. } => "field-unknown",
            Self::FieldMissing { .. } => "field-missing",
            Self::OneOfMissing { .. } => "field-missing",
            Self::FieldsExclude { .. } => "fields-exclude",
            Self::FieldNotWanted { .. } => "field-not-wanted",
            Self::FieldNumber { .. } => "field-number",
            Self::FieldValue { .. } => "field-value",
        }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http { why } => write!(f, "request is not plain HTTP/1.1: {why}"),
            Self::Target => f.write_str("target is not a path with at most one query in visible ASCII"),
            Self::HeaderRepeated { name } => write!(f, "header `{name}` is sent twice; send it once"),
            Self::Header { name, why } => write!(f, "header `{name}`: {why}"),
            Self::ContentType => f.write_str(
                "body is not declared as what the venue takes: `application/x-www-form-urlencoded`, or `application/json`",
            ),
            Self::BodyNotTaken => f.write_str("GET takes no body; send the fields in the query"),
            Self::Encoding { why } => write!(f, "fields cannot be read in one way only: {why}"),
            Self::TooManyFields => f.write_str("request has more than 64 fields"),
            Self::KeyMissing => f.write_str("no API key; send the virtual key in the header where the venue has it"),
            Self::KeyMalformed => f.write_str("API key is not 1 to 128 letters and digits"),
            Self::SignatureMissing => f.write_str("no signature; sign the request with the virtual key's secret"),
            Self::SignatureMalformed => {
                f.write_str("signature has not the form of its scheme (64 hex digits, or base64)")
            }
            Self::SignatureWrong => f.write_str("signature does not match the request; check the secret and what was signed"),
            Self::SignatureAmbiguous { field } => write!(
                f,
                "signature covers the decoded value of `{field}`, which could be read in two ways; sign the fields as they are sent"
            ),
            Self::SignatureOnPublic => f.write_str("this endpoint is public; send it without `signature` and `timestamp`"),
            Self::TimestampMissing => f.write_str("no timestamp; send the time in milliseconds"),
            Self::Timestamp => f.write_str("timestamp is not a time in milliseconds or microseconds"),
            Self::ReceiveWindow => f.write_str("receive window is not more than 0 and at most 60000 milliseconds"),
            Self::UnknownHost { host } => write!(f, "no catalog for host `{host}`"),
            Self::UnknownEndpoint { method, path } => write!(
                f,
                "the catalog does not name `{method} {path}`; look in the catalog of the venue, a site adds to it in catalog.d/"
            ),
            Self::NotReviewed { method, path, action } => write!(
                f,
                "`{method} {path}` ({action}) is in the catalog but nobody reviewed its fields; look in the catalog of the venue, a site reviews it in catalog.d/"
            ),
            Self::Secret { method, path, why } => write!(f, "`{method} {path}` is not passed: {why}"),
            Self::FieldRepeated { field } => write!(f, "field `{field}` is sent more than once; send it once"),
            Self::FieldUnknown { field, path } => write!(
                f,
                "the catalog does not name field `{field}` of `{path}`; leave it out, or add it in the site's catalog.d/"
            ),
            Self::FieldMissing { field } => write!(f, "field `{field}` is missing; send it"),
            Self::OneOfMissing { fields } => write!(f, "none of {fields} is sent; send one"),
            Self::FieldsExclude { fields } => write!(f, "{fields} exclude each other; send one of them"),
            Self::FieldNotWanted { field, with } => write!(f, "field `{field}` does not go with {with}; leave it out"),
            Self::FieldNumber { field, why } => write!(f, "field `{field}`: {why}"),
            Self::FieldValue { field, why } => write!(f, "field `{field}`: {why}"),
        }
    }
}

impl std::error::Error for DecodeError {}

/// The start of an outside text for a message: printable, and never longer than [`QUOTE_BYTES_MAX`].
#[must_use]
pub fn quote(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if out.len() + c.len_utf8() > QUOTE_BYTES_MAX {
            out.push('…');
            break;
        }
        out.push(if c.is_control() || c == '`' {
            '\u{fffd}'
        } else {
            c
        });
    }
    out
}
