//! The gate's no in Binance's words. One code a class, chosen so that CCXT and python-binance raise what fits and neither
//! repeats the request by itself. The table is in `docs/spec/refusals.md` and is checked against both libraries.

use portcullis_model::id::EntryId;
use portcullis_model::refusal::Class;

/// Says that the gate refused, not the venue, and why in a word.
pub const REFUSAL_HEADER: &str = "x-portcullis-refusal";

/// One row: what a class becomes, and what the libraries raise for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefusalCode {
    pub class: Class,
    /// What the class is called in documents.
    pub name: &'static str,
    pub status: u16,
    pub code: i64,
    /// CCXT's exception. python-binance raises `BinanceAPIException` with `code`, always.
    pub ccxt: &'static str,
    /// Stands before the reason; CCXT tells some classes by words.
    prefix: &'static str,
}

const fn row(
    class: Class,
    name: &'static str,
    status: u16,
    code: i64,
    ccxt: &'static str,
) -> RefusalCode {
    RefusalCode {
        class,
        name,
        status,
        code,
        ccxt,
        prefix: "Portcullis: ",
    }
}

/// Every class.
pub const REFUSALS: [RefusalCode; 11] = [
    row(Class::BadRequest, "bad-request", 400, -1130, "BadRequest"),
    row(
        Class::Unauthenticated,
        "unauthenticated",
        401,
        -2014,
        "AuthenticationError",
    ),
    row(
        Class::BadSignature,
        "bad-signature",
        400,
        -1022,
        "AuthenticationError",
    ),
    row(Class::BadTime, "bad-time", 400, -1021, "InvalidNonce"),
    // -2015 alone would be taken for a ban once a call has succeeded; the words make it a matter of permission.
    RefusalCode {
        prefix: "Portcullis: key has no operation privilege: ",
        ..row(
            Class::NotPermitted,
            "not-permitted",
            403,
            -2015,
            "PermissionDenied",
        )
    },
    row(Class::OrderLimit, "order-limit", 400, -2010, "InvalidOrder"),
    // Not status 429: CCXT would take it for a ban of the address.
    row(
        Class::RateLimited,
        "rate-limited",
        400,
        -1015,
        "RateLimitExceeded",
    ),
    row(
        Class::UnknownMarket,
        "unknown-market",
        400,
        -1121,
        "BadSymbol",
    ),
    row(
        Class::UnknownOrder,
        "unknown-order",
        400,
        -2011,
        "OrderNotFound",
    ),
    // Code 0 leaves it to the status, which is the only way to `ExchangeNotAvailable`.
    row(
        Class::NotAvailable,
        "not-available",
        503,
        0,
        "ExchangeNotAvailable",
    ),
    row(
        Class::StatusUnknown,
        "status-unknown",
        504,
        -1007,
        "RequestTimeout",
    ),
];

/// The row of a class.
#[must_use]
pub fn refusal_code(class: Class) -> RefusalCode {
    let [
        bad_request,
        unauthenticated,
        signature,
        time,
        permitted,
        limit,
        rate,
        market,
        order,
        available,
        unknown,
    ] = REFUSALS;
    match class {
        Class::BadRequest => bad_request,
        Class::Unauthenticated => unauthenticated,
        Class::BadSignature => signature,
        Class::BadTime => time,
        Class::NotPermitted => permitted,
        Class::OrderLimit => limit,
        Class::RateLimited => rate,
        Class::UnknownMarket => market,
        Class::UnknownOrder => order,
        Class::NotAvailable => available,
        Class::StatusUnknown => unknown,
    }
}

/// Status and JSON body of a refusal, with the entry that recorded it.
#[must_use]
pub fn refuse(class: Class, message: &str, entry: Option<EntryId>) -> (u16, Vec<u8>) {
    let row = refusal_code(class);
    let mut text = format!("{}{message}", row.prefix);
    if let Some(entry) = entry {
        text.push_str(&format!(" (entry {entry})"));
    }
    let body = serde_json::json!({ "code": row.code, "msg": text });
    (row.status, body.to_string().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_has_its_row() {
        for row in REFUSALS {
            assert_eq!(refusal_code(row.class), row);
            let (status, body) = refuse(row.class, "a `\"b\"`", Some(EntryId(7)));
            let json: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(
                (status, json["code"].as_i64()),
                (row.status, Some(row.code))
            );
            let message = json["msg"].as_str().unwrap();
            assert!(
                message.starts_with("Portcullis: ") && message.ends_with("a `\"b\"` (entry 7)"),
                "{message}"
            );
        }
    }
}
