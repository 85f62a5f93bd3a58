//! The gate's no in OKX's words. What concerns one order stands where the venue puts it, in `data` with an `sCode` under code
//! 1; what concerns the request is the code itself. CCXT looks into `data` first, then at the code; python-okx hands the
//! whole answer on. Neither repeats a request by itself.

use crate::refusals::{RefusalCode, code};
use portcullis_model::refusal::Class;

/// Every class.
pub const REFUSALS: [RefusalCode; 11] = [
    code(Class::BadRequest, "bad-request", 400, 51_000, "BadRequest"),
    code(
        Class::Unauthenticated,
        "unauthenticated",
        401,
        50_111,
        "AuthenticationError",
    ),
    code(
        Class::BadSignature,
        "bad-signature",
        401,
        50_113,
        "AuthenticationError",
    ),
    code(Class::BadTime, "bad-time", 401, 50_102, "InvalidNonce"),
    // 50120 would say it better; CCXT does not know it.
    code(
        Class::NotPermitted,
        "not-permitted",
        403,
        50_027,
        "PermissionDenied",
    ),
    code(
        Class::OrderLimit,
        "order-limit",
        200,
        51_005,
        "InvalidOrder",
    ),
    // Status 429 without a code that CCXT knows would be `ExchangeNotAvailable` there.
    code(
        Class::RateLimited,
        "rate-limited",
        429,
        50_011,
        "RateLimitExceeded",
    ),
    code(
        Class::UnknownMarket,
        "unknown-market",
        200,
        51_001,
        "BadSymbol",
    ),
    code(
        Class::UnknownOrder,
        "unknown-order",
        200,
        51_603,
        "OrderNotFound",
    ),
    // 50001 says so too, and CCXT makes it `OnMaintenance`.
    code(
        Class::NotAvailable,
        "not-available",
        503,
        50_013,
        "ExchangeNotAvailable",
    ),
    code(
        Class::StatusUnknown,
        "status-unknown",
        504,
        50_004,
        "RequestTimeout",
    ),
];

/// Code of an answer none of whose orders was taken.
const ALL_FAILED: &str = "1";

/// The JSON body.
pub(super) fn body(row: &RefusalCode, message: &str) -> serde_json::Value {
    let code = row.code.to_string();
    match row.class {
        Class::OrderLimit | Class::UnknownMarket | Class::UnknownOrder => serde_json::json!({
            "code": ALL_FAILED,
            "msg": message,
            "data": [{ "ordId": "", "clOrdId": "", "tag": "", "sCode": code, "sMsg": message }],
        }),
        _ => serde_json::json!({ "code": code, "msg": message, "data": [] }),
    }
}
