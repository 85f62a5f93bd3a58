//! The gate's no in KuCoin's words. CCXT looks at the code first, and at the status only where the code says success; the
//! Python libraries raise by the status, then by the code. None repeats a request by itself.

use crate::refusals::{RefusalCode, code};
use portcullis_model::refusal::Class;

/// Every class.
pub const REFUSALS: [RefusalCode; 11] = [
    code(Class::BadRequest, "bad-request", 400, 400_100, "BadRequest"),
    code(
        Class::Unauthenticated,
        "unauthenticated",
        401,
        400_003,
        "AuthenticationError",
    ),
    code(
        Class::BadSignature,
        "bad-signature",
        401,
        400_005,
        "AuthenticationError",
    ),
    code(Class::BadTime, "bad-time", 400, 400_002, "InvalidNonce"),
    // 400007 would say it better; CCXT takes it for a wrong key.
    code(
        Class::NotPermitted,
        "not-permitted",
        403,
        130_302,
        "PermissionDenied",
    ),
    code(
        Class::OrderLimit,
        "order-limit",
        400,
        400_200,
        "InvalidOrder",
    ),
    code(
        Class::RateLimited,
        "rate-limited",
        429,
        429_000,
        "RateLimitExceeded",
    ),
    code(
        Class::UnknownMarket,
        "unknown-market",
        400,
        400_600,
        "BadSymbol",
    ),
    code(
        Class::UnknownOrder,
        "unknown-order",
        400,
        126_043,
        "OrderNotFound",
    ),
    code(
        Class::NotAvailable,
        "not-available",
        503,
        500_000,
        "ExchangeNotAvailable",
    ),
    // No code is a timeout to CCXT: 200 leaves it to the status, and is no success to anybody else (that is 200000).
    code(
        Class::StatusUnknown,
        "status-unknown",
        504,
        200,
        "RequestTimeout",
    ),
];
