//! KuCoin spot: signed headers over the whole request, ids in paths, JSON bodies. It sees no key store and no socket: a
//! signature is made and a credential placed by the caller.
//!
//! What the scheme signs, here as at the venue: time, method, path with query, and body. The venue takes a query signed as it
//! reads once decoded, which is what its client libraries sign, and so does the gate.

mod listing;
mod orders;
mod present;
mod questions;
mod refusals;
mod summary;

pub use present::RECEIVE_WINDOW_US;
pub use refusals::REFUSALS;

use crate::actions::Named;
use crate::catalog::{Catalog, Endpoint, Service};
use crate::dialect::{Dialect, Passphrase};
use crate::error::DecodeError;
use crate::listing::{Listed, Listing};
use crate::order_fields::{Fields, missing, not_with, wrong};
use crate::prepare::{Body, Ready, Unsigned};
use crate::present::Presented;
use crate::question::{InWords, Question};
use crate::refusals::RefusalCode;
use crate::request::RawRequest;
use crate::signature::{Credential, HmacText, Signature};
use crate::summary::Asked;
use crate::value::Value;
use portcullis_model::action::{Action, MarketKind, Movement, Order, Symbol};
use portcullis_model::report::Report;
use std::borrow::Cow;

/// The venue's dialect.
#[derive(Debug)]
pub struct KuCoin;

const HOST: &str = "api.kucoin.com";
/// How a key's passphrase is sent: its HMAC.
const KEY_VERSION: &str = "2";

impl Dialect for KuCoin {
    fn venue(&self) -> &'static str {
        "kucoin"
    }

    fn scheme_fields(&self) -> &'static [&'static str] {
        &[]
    }

    fn passphrase(&self) -> Passphrase {
        Passphrase::Signed
    }

    fn key_header(&self) -> &'static str {
        "kc-api-key"
    }

    fn present<'a>(
        &self,
        catalog: &'a Catalog,
        service: &'a Service,
        request: &RawRequest<'a>,
    ) -> Result<Presented<'a>, DecodeError> {
        present::present(catalog, service, request)
    }

    fn other_message<'a>(&self, presented: &Presented<'a>) -> Option<(String, Option<&'a str>)> {
        present::decoded_message(presented)
    }

    fn orders(
        &self,
        _: &Endpoint,
        named: &[Named<'_>],
        market: MarketKind,
        symbol: Symbol,
    ) -> Result<Vec<Order>, DecodeError> {
        orders::order(named, market, symbol).map(|order| vec![order])
    }

    fn adjust(
        &self,
        _: &Endpoint,
        named: &[Named<'_>],
        action: &mut Action,
    ) -> Result<(), DecodeError> {
        let fields = Fields(named);
        match action {
            Action::Withdraw(_) | Action::TransferOut(_) if fields.is_true("isInner") => Err(
                wrong("isInner", "is true: say who gets it by `withdrawType`"),
            ),
            Action::TransferOut(movement) => {
                // The same digits are one person as a number of the venue's and another as a telephone's.
                if movement.network.is_some() {
                    return Err(not_with("chain", "a transfer to another user"));
                }
                movement.network = fields.word_of("withdrawType").map(str::to_lowercase);
                Ok(())
            }
            Action::TransferInside(movement) | Action::TransferOwn(movement) => {
                between(fields, movement)
            }
            _ => Ok(()),
        }
    }

    fn body(&self) -> Body {
        Body::Json
    }

    fn message<'a>(&self, request: &'a Unsigned, _: &str) -> Cow<'a, [u8]> {
        let mut message = request.stamp.venue_time_ms.to_string();
        message.push_str(request.method);
        message.push_str(&request.path);
        match request.body {
            Body::Json => message.push_str(&request.fields),
            _ if request.fields.is_empty() => {}
            // Of our own writing: it decodes.
            _ => present::push_decoded(&mut message, &request.fields),
        }
        Cow::Owned(message.into_bytes())
    }

    fn finish(
        &self,
        request: Unsigned,
        credential: Credential<'_>,
        signature: &Signature,
    ) -> Ready {
        let mut sign = String::with_capacity(44);
        signature.push_to(HmacText::Base64, &mut sign);
        let passphrase = credential.passphrase.unwrap_or_default().to_owned();
        let time = request.stamp.venue_time_ms.to_string();
        let mut headers = Vec::with_capacity(6);
        headers.push(("kc-api-key", credential.api_key.to_owned()));
        headers.push(("kc-api-sign", sign));
        headers.push(("kc-api-timestamp", time));
        headers.push(("kc-api-passphrase", passphrase));
        headers.push(("kc-api-key-version", KEY_VERSION.to_owned()));
        request.ready(headers)
    }

    /// It counts over half a minute.
    fn hold_s(&self) -> Option<u64> {
        Some(30)
    }

    fn listings(&self) -> &'static [Listing] {
        &listing::LISTINGS
    }

    fn listed(&self, _: &Listing, answer: &[u8]) -> Result<Listed, String> {
        listing::read(answer)
    }

    fn refusals(&self) -> &'static [RefusalCode; 11] {
        &REFUSALS
    }

    fn refusal_body(&self, row: &RefusalCode, message: &str) -> serde_json::Value {
        serde_json::json!({ "code": row.code.to_string(), "msg": message })
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
}

/// The main account in a transfer's `address`: it has no name at the venue.
const MAIN_ACCOUNT: &str = "main";

/// Who has it and who gets it, where a transfer's `type` says that.
fn between(fields: Fields<'_>, movement: &mut Movement) -> Result<(), DecodeError> {
    let Some(kind) = fields.word_of("type") else {
        return Ok(());
    };
    let user = |name: &str| match fields.named(name) {
        Some((_, Value::Text(text))) => Some(text.to_string()),
        _ => None,
    };
    let (from, to) = (user("fromUserId"), user("toUserId"));
    match (kind, from, to) {
        ("INTERNAL", None, None) => {}
        ("PARENT_TO_SUB", None, Some(to)) => movement.address = Some(to),
        ("SUB_TO_PARENT", Some(from), None) => {
            movement.from = Some(from);
            movement.address = Some(MAIN_ACCOUNT.to_owned());
        }
        ("PARENT_TO_SUB", _, None) => return Err(missing("toUserId")),
        ("SUB_TO_PARENT", None, _) => return Err(missing("fromUserId")),
        (_, Some(_), _) => return Err(not_with("fromUserId", format!("`{kind}`"))),
        (_, None, _) => return Err(not_with("toUserId", format!("`{kind}`"))),
    }
    Ok(())
}
