//! The gate's no in Bybit's words. The venue itself answers 200 with a `retCode` in almost every case, and pybit reads the
//! body of nothing else: where a class has a fitting code, the status is 200. pybit repeats the codes 10002, 10006, 30034,
//! 30035, 130035 and 130150 by itself: with those the status is another, so that it raises at once.

use crate::refusals::{RefusalCode, code};
use portcullis_model::refusal::Class;

/// Every class.
pub const REFUSALS: [RefusalCode; 11] = [
    code(Class::BadRequest, "bad-request", 200, 10_001, "BadRequest"),
    code(
        Class::Unauthenticated,
        "unauthenticated",
        200,
        10_003,
        "AuthenticationError",
    ),
    code(
        Class::BadSignature,
        "bad-signature",
        200,
        10_004,
        "AuthenticationError",
    ),
    // pybit would widen the window and repeat.
    code(Class::BadTime, "bad-time", 400, 10_002, "InvalidNonce"),
    code(
        Class::NotPermitted,
        "not-permitted",
        200,
        10_024,
        "PermissionDenied",
    ),
    code(
        Class::OrderLimit,
        "order-limit",
        200,
        170_210,
        "InvalidOrder",
    ),
    // 10006 and 10018 are the venue's own, which pybit waits for.
    code(
        Class::RateLimited,
        "rate-limited",
        200,
        170_222,
        "RateLimitExceeded",
    ),
    // CCXT tells it by these words alone.
    RefusalCode {
        prefix: "Portcullis: Not supported symbols: ",
        ..code(
            Class::UnknownMarket,
            "unknown-market",
            200,
            10_001,
            "BadSymbol",
        )
    },
    code(
        Class::UnknownOrder,
        "unknown-order",
        200,
        110_001,
        "OrderNotFound",
    ),
    // Code 0 leaves it to the status, which is the only way to `ExchangeNotAvailable`.
    code(
        Class::NotAvailable,
        "not-available",
        503,
        0,
        "ExchangeNotAvailable",
    ),
    code(
        Class::StatusUnknown,
        "status-unknown",
        504,
        170_007,
        "RequestTimeout",
    ),
];
