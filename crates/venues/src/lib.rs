//! What the exchanges' requests and answers mean. A venue is a dialect (code) and a catalog of endpoints (data).
//!
//! A program's request becomes parts ([`Presented`]), is verified with its virtual key, and becomes typed [`Actions`]; the
//! venue's request is built from those alone ([`Unsigned`]). What could be understood in two ways is refused, and what the
//! catalog does not name is refused.
//!
//! Deliberately absent: keys (a caller signs), sockets, clocks, randomness, and any judgement whether an action is allowed.
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        reason = "tests state what must hold"
    )
)]

pub mod actions;
pub mod against;
pub mod binance;
pub mod bybit;
pub mod catalog;
pub mod dialect;
pub mod document;
pub mod error;
pub mod form;
pub mod json;
pub mod kucoin;
pub mod listing;
pub mod okx;
mod order_fields;
pub mod prepare;
pub mod present;
pub mod question;
pub mod refusals;
pub mod request;
pub mod signature;
pub mod summary;
pub mod value;

pub use actions::Actions;
pub use against::{Against, AgainstError, Lost, against};
pub use catalog::{Catalog, CatalogError, Endpoint, Method, Service};
pub use dialect::{Dialect, Passphrase};
pub use error::DecodeError;
pub use json::decode_json;
pub use prepare::{Ready, Unsigned};
pub use present::Presented;
pub use question::{InWords, Question};
pub use refusals::REFUSAL_HEADER;
pub use request::{RawHttp, RawRequest, raw_http};
pub use signature::{Credential, Signature, VerifyKey};
pub use summary::{Asked, summarize, summarize_event};

impl Catalog {
    /// Reads credential, signature and fields; nothing is verified yet.
    pub fn present<'a>(&'a self, request: &RawRequest<'a>) -> Result<Presented<'a>, DecodeError> {
        let service = self
            .service(request.host)
            .ok_or_else(|| DecodeError::UnknownHost {
                host: error::quote(request.host),
            })?;
        service.dialect.present(self, service, request)
    }

    /// What a request asks, without looking at its signature: for the command line and for tests.
    pub fn decode(&self, request: &RawRequest<'_>) -> Result<Actions, DecodeError> {
        self.present(request)?.decode(None)
    }
}
