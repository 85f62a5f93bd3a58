//! Bybit v5: credential and signature in headers, JSON bodies, orders by category, refusals and answers in its envelope. It
//! sees no key store and no socket: a signature is made and a credential placed by the caller, who is told which bytes and
//! where.
//!
//! What the scheme does not sign, here as at the venue: method, path and host. A signed query is never a JSON body, nor the
//! other way round, so a signed read is no order; within one of the two, the gate judges what the path makes of it.

mod frame;
mod listing;
mod orders;
mod present;
mod questions;
mod refusals;
mod summary;

pub use frame::{LOGON_MS, PRIVATE, TRADE};
pub use present::{RECEIVE_WINDOW_MS_DEFAULT, RECEIVE_WINDOW_MS_MAX};
pub use refusals::REFUSALS;

use crate::actions::{Named, find};
use crate::catalog::{Catalog, Endpoint, Meaning, Method, Service};
use crate::dialect::{Answered, Dialect, FrameHead};
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
use portcullis_model::action::{Duty, MarketKind, Order, Symbol};
use portcullis_model::report::Report;
use portcullis_model::wire::FRAME_METHOD;
use std::borrow::Cow;

/// The venue's dialect.
#[derive(Debug)]
pub struct Bybit;

impl Dialect for Bybit {
    fn venue(&self) -> &'static str {
        "bybit"
    }

    /// It has none: the scheme stands in headers.
    fn scheme_fields(&self) -> &'static [&'static str] {
        &[]
    }

    fn key_header(&self) -> &'static str {
        "x-bapi-api-key"
    }

    fn present<'a>(
        &self,
        catalog: &'a Catalog,
        service: &'a Service,
        request: &RawRequest<'a>,
    ) -> Result<Presented<'a>, DecodeError> {
        match service.pipe && request.method == FRAME_METHOD {
            true => frame::present(catalog, service, request),
            false => present::present(catalog, service, request),
        }
    }

    fn glance<'a>(&self, body: &'a [u8]) -> Option<(Cow<'a, str>, Cow<'a, str>)> {
        frame::glance(body)
    }

    /// `category` says it; a spot order that may borrow is a margin order.
    fn market(&self, rule: &Endpoint, named: &[Named<'_>]) -> Result<MarketKind, DecodeError> {
        let Some((field, Value::Word(at))) = find(named, Meaning::Market) else {
            return Ok(rule.market);
        };
        let market = market_of(field.ty.word(*at)).unwrap_or(rule.market);
        match market {
            MarketKind::Spot if orders::borrows(named) => Ok(MarketKind::Margin),
            market => Ok(market),
        }
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

    fn ask(&self, kind: MarketKind, question: &Question<'_>) -> Option<InWords> {
        questions::ask(kind, question)
    }

    fn body(&self) -> Body {
        Body::Json
    }

    /// Time, key id, receive window, then the query or the body.
    fn message<'a>(&self, request: &'a Unsigned, api_key: &str) -> Cow<'a, [u8]> {
        if request.body == Body::Frame {
            return Cow::Owned(frame::message_of(request).into_bytes());
        }
        let stamp = request.stamp;
        let mut message = String::with_capacity(request.fields.len() + api_key.len() + 24);
        present::write_message(
            &mut message,
            &stamp.venue_time_ms.to_string(),
            api_key,
            &stamp.receive_window_ms.to_string(),
            &request.fields,
        );
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
        let mut text = String::with_capacity(64);
        signature.push_to(HmacText::Hex, &mut text);
        let mut headers = Vec::with_capacity(6);
        headers.push(("x-bapi-api-key", credential.api_key.to_owned()));
        headers.push(("x-bapi-timestamp", stamp.venue_time_ms.to_string()));
        headers.push(("x-bapi-recv-window", stamp.receive_window_ms.to_string()));
        headers.push(("x-bapi-sign", text));
        request.ready(headers)
    }

    fn frame(&self, request: Unsigned) -> Ready {
        frame::ready(request)
    }

    fn frame_head<'a>(&self, frame: &'a str) -> Option<FrameHead<'a>> {
        frame::head(frame)
    }

    fn frame_refusal(&self, head: &FrameHead<'_>, _status: u16, body: &str) -> String {
        frame::refusal(head, body)
    }

    fn answered<'a>(&self, message: &'a str) -> Option<Answered<'a>> {
        frame::answered(message)
    }

    /// The account's own stream is read.
    fn logon_duty(&self, target: &[u8]) -> Duty {
        match target.starts_with(PRIVATE.as_bytes()) {
            true => Duty::Read,
            false => Duty::Trade,
        }
    }

    fn summarize_event(&self, _rule: &Endpoint, event: &[u8], out: &mut Vec<Report>) -> Option<()> {
        summary::event(event, out)
    }

    /// All but public data: by account, so many a second.
    fn counts_apart(&self, target: &[u8]) -> bool {
        !target.starts_with(b"/v5/market/")
    }

    fn listings(&self) -> &'static [Listing] {
        &listing::LISTINGS
    }

    fn listed(&self, listing: &Listing, answer: &[u8]) -> Result<Listed, String> {
        listing::read(listing, answer)
    }

    /// "Access too frequent", and nothing of JSON: it goes on for as long as the address goes on.
    fn ban_s(&self, status: u16) -> Option<u64> {
        (status == 403).then_some(600)
    }

    fn refusals(&self) -> &'static [RefusalCode; 11] {
        &REFUSALS
    }

    /// The venue's envelope. Its `time` is left at 0: no clock is read here, and no library reads it from a refusal.
    fn refusal_body(&self, row: &RefusalCode, message: &str) -> serde_json::Value {
        serde_json::json!({
            "retCode": row.code, "retMsg": message, "result": {}, "retExtInfo": {}, "time": 0,
        })
    }

    fn summarize(
        &self,
        rule: &Endpoint,
        asked: Asked<'_>,
        status: u16,
        body: &[u8],
        out: &mut Vec<Report>,
    ) -> Option<()> {
        match rule.method {
            Method::Ws => {
                let order = frame::order_of(asked.body).unwrap_or_default();
                summary::summarize(
                    rule,
                    Asked {
                        body: order,
                        ..asked
                    },
                    status,
                    body,
                    out,
                )
            }
            _ => summary::summarize(rule, asked, status, body, out),
        }
    }
}

/// The venue's word for a market. Linear contracts settle in a dollar coin, inverse ones in what they are of.
fn market_of(category: &str) -> Option<MarketKind> {
    Some(match category {
        "spot" => MarketKind::Spot,
        "linear" => MarketKind::UsdFutures,
        "inverse" => MarketKind::CoinFutures,
        "option" => MarketKind::Option,
        _ => return None,
    })
}
