//! OKX v5: signed headers over the whole request, JSON bodies, orders and conditional orders of every kind of instrument on
//! one host. It sees no key store and no socket: a signature is made and a credential placed by the caller.
//!
//! What the scheme signs, here as at the venue: time, method, path with query, and body. Not the headers: whether a request
//! is of the demo is refused from programs and owned by the site, and a deadline (`expTime`) is the gate's own.

mod frame;
mod instrument;
mod listing;
mod orders;
mod present;
mod questions;
mod refusals;
mod summary;
mod time;

pub use present::RECEIVE_WINDOW_US;
pub use refusals::REFUSALS;

use crate::actions::{Named, text};
use crate::catalog::{Catalog, Endpoint, Meaning, Service};
use crate::dialect::{Answered, Dialect, FrameHead, Passphrase};
use crate::error::DecodeError;
use crate::listing::{Listed, Listing};
use crate::prepare::{Body, Ready, Unsigned};
use crate::present::Presented;
use crate::question::{InWords, Question};
use crate::refusals::RefusalCode;
use crate::request::RawRequest;
use crate::signature::{Credential, HmacText, Signature};
use crate::summary::Asked;
use crate::value::Value;
use portcullis_model::action::{Action, Duty, MarketKind, Movement, Order, Symbol};
use portcullis_model::report::Report;
use portcullis_model::wire::FRAME_METHOD;
use std::borrow::Cow;

/// The venue's dialect.
#[derive(Debug)]
pub struct Okx;

/// Calls that the venue drops once the header `expTime` has passed.
const EXPIRING: [&str; 4] = [
    "/api/v5/trade/order",
    "/api/v5/trade/batch-orders",
    "/api/v5/trade/amend-order",
    "/api/v5/trade/amend-batch-orders",
];

impl Dialect for Okx {
    fn venue(&self) -> &'static str {
        "okx"
    }

    fn scheme_fields(&self) -> &'static [&'static str] {
        &[]
    }

    fn passphrase(&self) -> Passphrase {
        Passphrase::Plain
    }

    fn key_header(&self) -> &'static str {
        "ok-access-key"
    }

    fn present<'a>(
        &self,
        catalog: &'a Catalog,
        service: &'a Service,
        request: &RawRequest<'a>,
    ) -> Result<Presented<'a>, DecodeError> {
        match request.method == FRAME_METHOD {
            true => frame::present(catalog, service, request),
            false => present::present(catalog, service, request),
        }
    }

    fn glance<'a>(&self, body: &'a [u8]) -> Option<(Cow<'a, str>, Cow<'a, str>)> {
        frame::glance(body)
    }

    fn empty_is_absent(&self) -> bool {
        true
    }

    fn mint(&self, mint: &str, number: u8) -> String {
        // Letters and digits alone; `n` is in no number of the gate's.
        format!("{mint}n{number}")
    }

    fn market(&self, rule: &Endpoint, named: &[Named<'_>]) -> Result<MarketKind, DecodeError> {
        orders::market(rule, named)
    }

    fn orders(
        &self,
        rule: &Endpoint,
        named: &[Named<'_>],
        market: MarketKind,
        symbol: Symbol,
    ) -> Result<Vec<Order>, DecodeError> {
        orders::orders(rule, named, market, symbol)
    }

    fn adjust(
        &self,
        rule: &Endpoint,
        named: &[Named<'_>],
        action: &mut Action,
    ) -> Result<(), DecodeError> {
        let movement = match action {
            Action::TransferInside(movement)
            | Action::TransferOwn(movement)
            | Action::TransferOut(movement)
            | Action::Withdraw(movement) => movement,
            _ => return Ok(()),
        };
        adjust_movement(rule, named, movement)
    }

    fn body(&self) -> Body {
        Body::Json
    }

    /// The signed time alone ends it: the deadline (`expTime`) stands in a header, which nobody signs, and few calls take one.
    fn accepted_us(&self, _: u32) -> u64 {
        RECEIVE_WINDOW_US
    }

    fn message<'a>(&self, request: &'a Unsigned, _: &str) -> Cow<'a, [u8]> {
        if request.body == Body::Frame {
            return Cow::Owned(frame::message(request).into_bytes());
        }
        let mut message = time::write_ms(request.stamp.venue_time_ms);
        message.push_str(request.method);
        message.push_str(&request.target());
        if request.body == Body::Json {
            message.push_str(&request.fields);
        }
        Cow::Owned(message.into_bytes())
    }

    fn finish(
        &self,
        request: Unsigned,
        credential: Credential<'_>,
        signature: &Signature,
    ) -> Ready {
        if request.body == Body::Frame {
            return frame::finish(request, credential, signature);
        }
        let stamp = request.stamp;
        let mut sign = String::with_capacity(44);
        signature.push_to(HmacText::Base64, &mut sign);
        let mut headers = Vec::with_capacity(6);
        headers.push(("ok-access-key", credential.api_key.to_owned()));
        headers.push(("ok-access-sign", sign));
        headers.push(("ok-access-timestamp", time::write_ms(stamp.venue_time_ms)));
        headers.push((
            "ok-access-passphrase",
            credential.passphrase.unwrap_or_default().to_owned(),
        ));
        if request.body == Body::Json && EXPIRING.contains(&request.path.as_str()) {
            let until = stamp.venue_time_ms + u64::from(stamp.receive_window_ms);
            headers.push(("exptime", until.to_string()));
        }
        request.ready(headers)
    }

    fn frame(&self, request: Unsigned) -> Ready {
        frame::ready(request)
    }

    fn frame_head<'a>(&self, frame: &'a str) -> Option<FrameHead<'a>> {
        frame::head(frame)
    }

    fn frame_refusal(&self, head: &FrameHead<'_>, _: u16, body: &str) -> String {
        frame::refusal(head, body)
    }

    fn answered<'a>(&self, message: &'a str) -> Option<Answered<'a>> {
        frame::answered(message)
    }

    fn logons_repeat(&self) -> bool {
        true
    }

    /// Orders stand on the private WebSocket alone.
    fn logon_duty(&self, target: &[u8]) -> Duty {
        match target == b"/ws/v5/private" {
            true => Duty::Trade,
            false => Duty::Read,
        }
    }

    fn summarize_event(&self, _: &Endpoint, event: &[u8], out: &mut Vec<Report>) -> Option<()> {
        summary::event(event, out)
    }

    /// All of them.
    fn counts_apart(&self, _: &[u8]) -> bool {
        true
    }

    fn hold_s(&self) -> Option<u64> {
        Some(2)
    }

    fn listings(&self) -> &'static [Listing] {
        &listing::LISTINGS
    }

    fn listed(&self, listing: &Listing, answer: &[u8]) -> Result<Listed, String> {
        listing::read(listing, answer)
    }

    fn refusals(&self) -> &'static [RefusalCode; 11] {
        &REFUSALS
    }

    fn refusal_body(&self, row: &RefusalCode, message: &str) -> serde_json::Value {
        refusals::body(row, message)
    }

    fn summarize(
        &self,
        rule: &Endpoint,
        asked: Asked<'_>,
        status: u16,
        body: &[u8],
        out: &mut Vec<Report>,
    ) -> Option<()> {
        summary::summarize(rule, asked, status, body, out)
    }

    fn ask(&self, kind: MarketKind, question: &Question<'_>) -> Option<InWords> {
        questions::ask(kind, question)
    }

    /// A UUID of its fourth kind, as the venue's keys are.
    fn virtual_key(&self, random: &[u8; 64]) -> String {
        let mut text = String::with_capacity(36);
        for (at, byte) in (0u8..).zip(random).take(16) {
            if matches!(at, 4 | 6 | 8 | 10) {
                text.push('-');
            }
            let byte = match at {
                6 => byte & 0x0f | 0x40,
                8 => byte & 0x3f | 0x80,
                _ => *byte,
            };
            text.push_str(&format!("{byte:02x}"));
        }
        text
    }
}

/// Who gets it, where the fields say that together.
fn adjust_movement(
    rule: &Endpoint,
    named: &[Named<'_>],
    movement: &mut Movement,
) -> Result<(), DecodeError> {
    let field = |name: &str| named.iter().find(|(f, _)| f.name == name);
    let word = |name: &str| match field(name) {
        Some((f, Value::Word(at))) => f.ty.word(*at),
        _ => "",
    };
    let missing = |field: &str| DecodeError::FieldMissing {
        field: field.to_owned(),
    };
    for name in ["loanTrans", "omitPosRisk"] {
        if let Some((_, Value::Bool(true))) = field(name) {
            return Err(DecodeError::FieldValue {
                field: name.to_owned(),
                why: "is true: what was borrowed, or holds a position, would leave with it"
                    .to_owned(),
            });
        }
    }
    match rule.path.as_str() {
        "/api/v5/asset/transfer" => {
            let account = movement.memo.take();
            match (word("type"), account) {
                ("0", None) => {}
                ("0", Some(_)) => {
                    return Err(DecodeError::FieldNotWanted {
                        field: "subAcct".to_owned(),
                        with: "a transfer within the account".to_owned(),
                    });
                }
                // From the main account's key, or from a sub-account's, to a sub-account.
                ("1" | "4", Some(account)) => movement.address = Some(account),
                // From a sub-account, by the main account's key.
                ("2", Some(account)) => {
                    movement.from = Some(account);
                    movement.address = Some(MAIN_ACCOUNT.to_owned());
                }
                ("3", None) => movement.address = Some(MAIN_ACCOUNT.to_owned()),
                ("3", Some(_)) => {
                    return Err(DecodeError::FieldNotWanted {
                        field: "subAcct".to_owned(),
                        with: "a transfer to the main account".to_owned(),
                    });
                }
                _ => return Err(missing("subAcct")),
            }
        }
        "/api/v5/asset/withdrawal" if word("dest") == "3" => {
            if movement.network.is_some() {
                return Err(DecodeError::FieldNotWanted {
                    field: "chain".to_owned(),
                    with: "a transfer to another user".to_owned(),
                });
            }
            // The same digits are one person as a number of the venue's and another as a telephone's.
            let kind = match (word("toAddrType"), text(named, Meaning::Memo)) {
                ("2", None) => "uid",
                ("2", Some(_)) => {
                    return Err(DecodeError::FieldNotWanted {
                        field: "areaCode".to_owned(),
                        with: "a user's number".to_owned(),
                    });
                }
                (_, Some(_)) => "phone",
                _ => "login",
            };
            movement.network = Some(kind.to_owned());
        }
        "/api/v5/asset/withdrawal" => {
            for name in ["areaCode", "toAddrType"] {
                if field(name).is_some() && word(name) != "1" {
                    return Err(DecodeError::FieldNotWanted {
                        field: name.to_owned(),
                        with: "a withdrawal on chain".to_owned(),
                    });
                }
            }
        }
        _ => {}
    }
    Ok(())
}

/// The main account in a transfer's `address`: it has no name at the venue.
const MAIN_ACCOUNT: &str = "main";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn virtual_keys_are_uuids() {
        let mut random = [0xff; 64];
        assert_eq!(
            Okx.virtual_key(&random),
            "ffffffff-ffff-4fff-bfff-ffffffffffff"
        );
        random[..16].copy_from_slice(&(0..16).collect::<Vec<u8>>());
        assert_eq!(
            Okx.virtual_key(&random),
            "00010203-0405-4607-8809-0a0b0c0d0e0f"
        );
    }

    #[test]
    fn minted_ids_are_the_venues() {
        let id = Okx.mint("pcffffffffffft3", 255);
        assert!(id.len() <= orders::CLIENT_ID_BYTES_MAX);
        assert!(id.bytes().all(|b| b.is_ascii_alphanumeric()));
        assert_ne!(Okx.mint("pc1t1", 11), Okx.mint("pc1t11", 1));
    }
}
