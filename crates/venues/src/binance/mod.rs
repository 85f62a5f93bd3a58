//! Binance: the query-string scheme, orders in its words, refusals, answers. It sees no key store and no socket: a signature
//! is made and a credential placed by the caller, who is told which bytes and where.
//!
//! What the scheme does not sign, here as at the venue: method, path and host. They are taken as they arrived; the gate
//! judges the action that they name, and the key that signs is the least that can do it.

mod frame;
mod futures;
mod futures_summary;
mod listing;
mod orders;
mod present;
mod questions;
mod refusals;
mod streams;
mod summary;

pub use frame::{SUBSCRIBE, SUBSCRIBE_SIGNED, api_host};
pub use present::{RECEIVE_WINDOW_US_DEFAULT, RECEIVE_WINDOW_US_MAX};
pub use refusals::REFUSALS;

use crate::actions::Named;
use crate::catalog::{Catalog, Endpoint, Method, Service};
use crate::dialect::{Dialect, FrameHead, Listen, Session, SessionCall};
use crate::error::DecodeError;
use crate::form::encode_into;
use crate::listing::{Listed, Listing};
use crate::prepare::{Body, Ready, Unsigned};
use crate::present::Presented;
use crate::question::{InWords, Question};
use crate::refusals::RefusalCode;
use crate::request::RawRequest;
use crate::signature::{Credential, HmacText, Signature};
use crate::summary::Asked;
use portcullis_model::action::{MarketKind, Order, Symbol};
use portcullis_model::report::Report;
use portcullis_model::wire::FRAME_METHOD;
use std::borrow::Cow;

/// The venue's dialect.
#[derive(Debug)]
pub struct Binance;

impl Dialect for Binance {
    fn venue(&self) -> &'static str {
        "binance"
    }

    fn scheme_fields(&self) -> &'static [&'static str] {
        &["signature", "timestamp", "recvWindow"]
    }

    fn key_header(&self) -> &'static str {
        "x-mbx-apikey"
    }

    fn present<'a>(
        &self,
        catalog: &'a Catalog,
        service: &'a Service,
        request: &RawRequest<'a>,
    ) -> Result<Presented<'a>, DecodeError> {
        match request.method == FRAME_METHOD {
            true if service.pipe => streams::present(catalog, service, request),
            true => frame::present(catalog, service, request),
            false => present::present(catalog, service, request),
        }
    }

    fn glance<'a>(&self, body: &'a [u8]) -> Option<(Cow<'a, str>, Cow<'a, str>)> {
        frame::glance(body)
    }

    fn other_message<'a>(&self, presented: &Presented<'a>) -> Option<(String, Option<&'a str>)> {
        present::decoded_message(presented)
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

    fn stamp(&self, request: &mut Unsigned) {
        if request.body == Body::Frame {
            // It stands beside the key, which is not known yet.
            return;
        }
        let stamp = request.stamp;
        request.field("recvWindow", stamp.receive_window_ms.into());
        request.field("timestamp", stamp.venue_time_ms);
    }

    fn message<'a>(&self, request: &'a Unsigned, api_key: &str) -> Cow<'a, [u8]> {
        match request.body {
            Body::Frame => Cow::Owned(frame::message_of(request, api_key).into_bytes()),
            _ => Cow::Borrowed(request.fields.as_bytes()),
        }
    }

    fn finish(
        &self,
        mut request: Unsigned,
        credential: Credential<'_>,
        signature: &Signature,
    ) -> Ready {
        if request.body == Body::Frame {
            return frame::finish(request, credential, signature);
        }
        request.fields.push_str("&signature=");
        if let Signature::HmacSha256(_) = signature {
            signature.push_to(HmacText::Hex, &mut request.fields);
        } else {
            let mut text = String::new();
            signature.push_to(HmacText::Hex, &mut text);
            encode_into(&mut request.fields, &text);
        }
        let mut headers = Vec::with_capacity(3);
        headers.push(("x-mbx-apikey", credential.api_key.to_owned()));
        request.ready(headers)
    }

    fn frame(&self, request: Unsigned) -> Ready {
        match streams::is_one(&request.path) {
            true => streams::ready(&request).unwrap_or_else(|| frame::ready(request)),
            false => frame::ready(request),
        }
    }

    fn frame_head<'a>(&self, frame: &'a str) -> Option<FrameHead<'a>> {
        streams::head(frame)
    }

    fn ask(&self, kind: MarketKind, question: &Question<'_>) -> Option<InWords> {
        questions::ask(kind, question)
    }

    fn listen(&self) -> Option<Listen> {
        Some(Listen {
            host: "ws-api.binance.com",
            target: frame::TARGET,
            frame: r#"{"method":"userDataStream.subscribe"}"#,
        })
    }

    fn opens_stream(&self, rule: &Endpoint) -> bool {
        rule.method == Method::Ws && matches!(&*rule.path, SUBSCRIBE | SUBSCRIBE_SIGNED)
    }

    fn summarize_event(&self, rule: &Endpoint, event: &[u8], out: &mut Vec<Report>) -> Option<()> {
        summary::event(rule, event, out)
    }

    fn session_call(&self, rule: &Endpoint) -> Option<SessionCall> {
        match (rule.method, &*rule.path) {
            (Method::Ws, "session.status") => Some(SessionCall::Status),
            (Method::Ws, "session.logout") => Some(SessionCall::LogOut),
            _ => None,
        }
    }

    fn session(&self, session: &Session<'_>) -> serde_json::Value {
        serde_json::json!({
            "apiKey": session.logged_on.map(|(key, _)| key),
            "authorizedSince": session.logged_on.map(|(_, since)| since),
            "connectedSince": session.logged_on.map_or(session.now_ms, |(_, since)| since),
            "returnRateLimits": false,
            "serverTime": session.now_ms,
            "userDataStream": session.has_stream,
        })
    }

    fn counts_apart(&self, target: &[u8]) -> bool {
        target.starts_with(b"/sapi/")
    }

    fn listings(&self) -> &'static [Listing] {
        &listing::LISTINGS
    }

    fn listed(&self, listing: &Listing, answer: &[u8]) -> Result<Listed, String> {
        listing::read(listing.kind, answer)
    }

    fn refusals(&self) -> &'static [RefusalCode; 11] {
        &REFUSALS
    }

    fn refusal_body(&self, row: &RefusalCode, message: &str) -> serde_json::Value {
        serde_json::json!({ "code": row.code, "msg": message })
    }

    fn summarize(
        &self,
        rule: &Endpoint,
        asked: Asked<'_>,
        status: u16,
        body: &[u8],
        out: &mut Vec<Report>,
    ) -> Option<()> {
        let target = match rule.method {
            Method::Ws => Cow::Owned(frame::target_of(asked.body)),
            _ => Cow::Borrowed(asked.target),
        };
        summary::summarize(rule, &target, status, body, out)
    }
}
