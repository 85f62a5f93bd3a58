//! A typed no. A refusal is an ordinary answer: it names the rule, the limit and what was asked, goes into the log as an
//! approval does, and reaches the program in the venue's own words.

use serde::{Deserialize, Serialize};

/// What a client library should make of a refusal: each venue has one code of its own for each class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// The request is malformed or says something that the venue would not accept.
    BadRequest,
    /// No, a wrong, an expired or a revoked credential.
    Unauthenticated,
    /// The signature does not match the bytes.
    BadSignature,
    /// Its time is outside the window.
    BadTime,
    /// Authority, source address, duty, or an endpoint that nobody reviewed: asking again will not help.
    NotPermitted,
    /// A limit on one order or on what orders add up to.
    OrderLimit,
    /// A message rate or throttle: later it passes.
    RateLimited,
    /// The market is not one of the mandate or of the release.
    UnknownMarket,
    /// The order is not one of this strategy's.
    UnknownOrder,
    /// Halted, sealed, no credit, the log cannot be written, the venue refuses our key, address or clock, or is not
    /// reached: exchange not available. Nothing was sent.
    NotAvailable,
    /// It may have been sent, or was seen before and its outcome is not known: ask for the order.
    StatusUnknown,
}
