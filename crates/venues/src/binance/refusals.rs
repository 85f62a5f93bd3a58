//! The gate's no in Binance's words. python-binance raises `BinanceAPIException` with the code, always.

use crate::refusals::{RefusalCode, code};
use portcullis_model::refusal::Class;

/// Every class.
pub const REFUSALS: [RefusalCode; 11] = [
    code(Class::BadRequest, "bad-request", 400, -1130, "BadRequest"),
    code(
        Class::Unauthenticated,
        "unauthenticated",
        401,
        -2014,
        "AuthenticationError",
    ),
    code(
        Class::BadSignature,
        "bad-signature",
        400,
        -1022,
        "AuthenticationError",
    ),
    code(Class::BadTime, "bad-time", 400, -1021, "InvalidNonce"),
    // -2015 alone would be taken for a ban once a call has succeeded; the words make it a matter of permission.
    RefusalCode {
        prefix: "Portcullis: key has no operation privilege: ",
        ..code(
            Class::NotPermitted,
            "not-permitted",
            403,
            -2015,
            "PermissionDenied",
        )
    },
    code(Class::OrderLimit, "order-limit", 400, -2010, "InvalidOrder"),
    // Not status 429: CCXT would take it for a ban of the address.
    code(
        Class::RateLimited,
        "rate-limited",
        400,
        -1015,
        "RateLimitExceeded",
    ),
    code(
        Class::UnknownMarket,
        "unknown-market",
        400,
        -1121,
        "BadSymbol",
    ),
    code(
        Class::UnknownOrder,
        "unknown-order",
        400,
        -2011,
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
        -1007,
        "RequestTimeout",
    ),
];
