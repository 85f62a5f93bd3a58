//! What the exchanges' requests and answers mean. A venue is a signing scheme (code) and a catalog of endpoints (data).
//!
//! A program's request becomes parts ([`binance::Presented`]), is verified with its virtual key, and becomes typed
//! [`binance::Actions`]; the venue's request is built from those alone ([`binance::Unsigned`]). What could be understood
//! in two ways is refused, and what the catalog does not name is refused.
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

pub mod against;
pub mod binance;
pub mod catalog;
pub mod error;
pub mod form;
pub mod json;
pub mod request;
pub mod value;

pub use against::{Against, AgainstError, Lost, against};
pub use binance::{REFUSAL_HEADER, refuse, summarize};
pub use catalog::{Catalog, CatalogError, Endpoint};
pub use error::DecodeError;
pub use json::decode_json;
pub use request::{RawHttp, RawRequest, raw_http};
