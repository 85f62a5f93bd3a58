//! A request in its parts: endpoint, credential, signature, time, fields. Reading them is the dialect's; checking the
//! signature is shared.

use crate::catalog::{Endpoint, Security, Service};
use crate::document::Object;
use crate::error::{DecodeError, quote};
use crate::form::Field;
use crate::request::RawRequest;
use crate::signature::{self, Given, VerifyKey};
use std::borrow::Cow;

/// An API key at most.
pub const API_KEY_BYTES_MAX: usize = 128;

/// A request in its parts.
#[derive(Debug)]
pub struct Presented<'a> {
    /// Position in the catalog.
    pub endpoint: u16,
    pub(crate) service: &'a Service,
    pub(crate) rule: &'a Endpoint,
    /// Absent only on public endpoints (where one that is sent is dropped).
    pub api_key: Option<&'a str>,
    /// As it was sent.
    pub(crate) signature: Option<Given<'a>>,
    /// The program's own time.
    pub timestamp_us: Option<u64>,
    pub receive_window_us: u64,
    pub(crate) fields: Fields<'a>,
    /// Fields that are segments of the path.
    pub(crate) in_path: Vec<Field<'a>>,
    /// What the venue's own rule says is signed; of a session's unsigned frame, its text: two that are not the same statement
    /// must not have the same.
    pub(crate) message: Cow<'a, str>,
    pub(crate) time_unit: Option<&'static str>,
}

/// Fields as they were sent.
#[derive(Debug)]
pub enum Fields<'a> {
    /// Query first; how many of them stood in the query.
    Form(Vec<Field<'a>>, usize),
    Json(Object<'a>),
    /// The whole body is a list of objects.
    Array(Vec<Object<'a>>),
}

impl<'a> Presented<'a> {
    #[must_use]
    pub fn rule(&self) -> &'a Endpoint {
        self.rule
    }

    /// The venue and host that it is for.
    #[must_use]
    pub fn service(&self) -> &'a Service {
        self.service
    }

    /// What the program's signature covers, or would cover: with the virtual key, method and path, the identity of this
    /// statement. Of a session's frame nobody has checked it.
    #[must_use]
    pub fn message(&self) -> &[u8] {
        self.message.as_bytes()
    }

    /// It bears no credential and needs one: it is of a session that its program has logged on to.
    #[must_use]
    pub fn is_of_session(&self) -> bool {
        !self.is_public() && self.api_key.is_none()
    }

    /// The venue does not ask for a signature, nor does the gate.
    #[must_use]
    pub fn is_public(&self) -> bool {
        self.rule.security == Security::None
    }

    /// Checks the program's signature over the request as it arrived. Gives back the message that it covers: with the
    /// virtual key, method and path, the identity of this statement (for replay).
    pub fn verify(&self, key: &VerifyKey) -> Result<Cow<'_, [u8]>, DecodeError> {
        let given = self.signature.ok_or(DecodeError::SignatureMissing)?;
        let given = signature::read(key, given)?;
        if key.verifies(self.message.as_bytes(), &given) {
            return Ok(Cow::Borrowed(self.message.as_bytes()));
        }
        let Some((other, ambiguous)) = self.service.dialect.other_message(self) else {
            return Err(DecodeError::SignatureWrong);
        };
        if other == *self.message || !key.verifies(other.as_bytes(), &given) {
            return Err(DecodeError::SignatureWrong);
        }
        match ambiguous {
            Some(field) => Err(DecodeError::SignatureAmbiguous {
                field: quote(field),
            }),
            None => Ok(Cow::Owned(other.into_bytes())),
        }
    }
}

/// An API key of plain characters: letters, digits and `also`.
pub(crate) fn read_key<'a>(value: &'a [u8], also: &[u8]) -> Result<&'a str, DecodeError> {
    std::str::from_utf8(value)
        .ok()
        .filter(|k| {
            (1..=API_KEY_BYTES_MAX).contains(&k.len())
                && k.bytes()
                    .all(|b| b.is_ascii_alphanumeric() || also.contains(&b))
        })
        .ok_or(DecodeError::KeyMalformed)
}

/// Headers that no venue gives a meaning that the gate could follow.
pub(crate) fn refuse_header(name: &str, value: &[u8]) -> Result<(), DecodeError> {
    let refuse = |name, why| Err(DecodeError::Header { name, why });
    match name.len() {
        16 if name.eq_ignore_ascii_case("content-encoding") && value != b"identity" => refuse(
            "content-encoding",
            "a packed body is not read; send it plain",
        ),
        13 | 15..=24
            if name.eq_ignore_ascii_case("x-http-method")
                || name.eq_ignore_ascii_case("x-http-method-override")
                || name.eq_ignore_ascii_case("x-method-override") =>
        {
            refuse(
                "x-http-method-override",
                "the method is the one of the request line; leave it out",
            )
        }
        _ => Ok(()),
    }
}

/// A media type, with nothing behind it but a charset of UTF-8.
pub(crate) fn is_media(value: &[u8], wanted: &str) -> bool {
    let mut parts = value.split(|&b| b == b';');
    let media = parts.next().unwrap_or_default().trim_ascii();
    let charset = parts.next().map(<[u8]>::trim_ascii);
    media.eq_ignore_ascii_case(wanted.as_bytes())
        && charset.is_none_or(|c| c.eq_ignore_ascii_case(b"charset=utf-8"))
        && parts.next().is_none()
}

/// The body as text.
pub(crate) fn body_text<'a>(request: &RawRequest<'a>) -> Result<&'a str, DecodeError> {
    std::str::from_utf8(request.body).map_err(|_| DecodeError::Encoding {
        why: "the body is not UTF-8",
    })
}

/// The error of a call that came without a signature.
pub(crate) fn unsigned(rule: &Endpoint) -> DecodeError {
    // Clients send these with a key alone, and no signature would help them.
    match &rule.secret {
        Some(why) => DecodeError::Secret {
            method: rule.method.name().to_owned(),
            path: rule.path.clone(),
            why: why.clone(),
        },
        None => DecodeError::SignatureMissing,
    }
}
