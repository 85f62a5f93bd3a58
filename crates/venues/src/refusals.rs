//! The gate's no in the venue's words: one code a class, chosen so that the venue's client libraries raise what fits and
//! none repeats the request by itself. The tables are in `docs/spec/refusals.md` and are checked against those libraries.

use portcullis_model::refusal::Class;

/// Says that the gate refused, not the venue, and why in a word.
pub const REFUSAL_HEADER: &str = "x-portcullis-refusal";

/// One row: what a class becomes, and what the libraries raise for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefusalCode {
    pub class: Class,
    /// What the class is called in documents.
    pub name: &'static str,
    /// HTTP status.
    pub status: u16,
    pub code: i64,
    /// CCXT's exception.
    pub ccxt: &'static str,
    /// Stands before the reason; CCXT tells some classes by words.
    pub prefix: &'static str,
}

pub(crate) const fn code(
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

/// The row of a class, in a table that has the classes in their own order.
pub(crate) fn row(table: &[RefusalCode; 11], class: Class) -> RefusalCode {
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
    ] = *table;
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

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_model::id::EntryId;

    #[test]
    fn every_venue_has_a_row_for_every_class() {
        for dialect in crate::dialect::all() {
            for known in *dialect.refusals() {
                assert_eq!(row(dialect.refusals(), known.class), known);
                let (status, body) = dialect.refuse(known.class, "a `\"b\"`", Some(EntryId(7)));
                let text = String::from_utf8(body).unwrap();
                let json: serde_json::Value = serde_json::from_str(&text).unwrap();
                assert_eq!(status, known.status);
                assert!(json.is_object());
                assert!(
                    text.contains("Portcullis: ") && text.contains("(entry 7)"),
                    "{text}"
                );
                assert!(text.contains(r#"a `\"b\"`"#), "{text}");
            }
        }
    }
}
