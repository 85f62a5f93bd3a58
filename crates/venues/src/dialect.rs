//! What a catalog cannot say of a venue: where credential, signature and time stand and what they cover, what the fields of
//! one order mean together, how a refusal is worded, and how an answer is read. One a venue; everything else is shared.

use crate::actions::Named;
use crate::catalog::{Catalog, Endpoint, Service};
use crate::error::DecodeError;
use crate::listing::{Listed, Listing};
use crate::prepare::{Body, Ready, Unsigned};
use crate::present::Presented;
use crate::question::{InWords, Question};
use crate::refusals::RefusalCode;
use crate::request::RawRequest;
use crate::signature::{Credential, Signature};
use crate::summary::Asked;
use portcullis_model::action::{Action, Duty, MarketKind, Order, Symbol};
use portcullis_model::id::EntryId;
use portcullis_model::refusal::Class;
use portcullis_model::report::Report;
use std::borrow::Cow;
use std::fmt;

/// What a program asks about its connection's session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionCall {
    Status,
    LogOut,
}

/// A connection's session, to be told.
#[derive(Debug, Clone, Copy)]
pub struct Session<'a> {
    /// The key, and since when, if it is logged on.
    pub logged_on: Option<(&'a str, u64)>,
    /// The connection has a stream of its account.
    pub has_stream: bool,
    pub now_ms: u64,
}

/// The operation that opens a pipe: a request with the method `WS`, an empty body, and the target of the WebSocket's handshake.
/// Catalogs name it as the path of an endpoint.
pub const CONNECT: &str = "CONNECT";

/// What ingress and egress read of a frame for or from a pipe, without judging it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameHead<'a> {
    /// The program's id as JSON writes it (`7`, `"a"`), by which an answer is known; `null` if there is none.
    pub id: Cow<'a, str>,
    /// What is asked: the path of an endpoint.
    pub operation: Cow<'a, str>,
}

/// An answer that a venue gives on a pipe to one frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered<'a> {
    /// The frame's id as JSON writes it.
    pub id: Cow<'a, str>,
    /// As of a REST call: 200, or what an error of this kind would have.
    pub status: u16,
    /// What [`Dialect::summarize`] reads.
    pub body: &'a str,
}

/// A frame of the gate's own that opens a stream. Nothing of it is verified; it is decoded and built like any program's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listen {
    pub host: &'static str,
    pub target: &'static str,
    pub frame: &'static str,
}

/// Whether a venue's keys have a passphrase, and how it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passphrase {
    None,
    /// As it is.
    Plain,
    /// Its HMAC under the secret, in base64.
    Signed,
}

/// A venue's own ways.
pub trait Dialect: fmt::Debug + Send + Sync {
    /// The venue's name in catalogs, accounts and releases.
    fn venue(&self) -> &'static str;

    /// Field names that belong to the scheme, which [`Dialect::present`] reads: no catalog field is called so, in whatever
    /// case, and none passes unnamed.
    fn scheme_fields(&self) -> &'static [&'static str];

    /// What stands of a real key beside its secret.
    fn passphrase(&self) -> Passphrase {
        Passphrase::None
    }

    /// The header, in lower case, that carries the program's key: lanes take turns by it before anything is verified.
    fn key_header(&self) -> &'static str;

    /// Reads endpoint, credential, signature, time and fields. Nothing is verified yet.
    fn present<'a>(
        &self,
        catalog: &'a Catalog,
        service: &'a Service,
        request: &RawRequest<'a>,
    ) -> Result<Presented<'a>, DecodeError>;

    /// Endpoint and key of a WebSocket's frame, at a glance: lanes take turns by them before anything is verified.
    fn glance<'a>(&self, body: &'a [u8]) -> Option<(Cow<'a, str>, Cow<'a, str>)> {
        let _ = body;
        None
    }

    /// Another message that the venue's client libraries sign for the same request, and a field that makes it ambiguous.
    fn other_message<'a>(&self, presented: &Presented<'a>) -> Option<(String, Option<&'a str>)> {
        let _ = presented;
        None
    }

    /// An empty value is the same as none: the venue takes it so, and its libraries send it.
    fn empty_is_absent(&self) -> bool {
        false
    }

    /// The id of the order with this number in a request, from letters and digits that are the request's own.
    fn mint(&self, mint: &str, number: u8) -> String {
        format!("{mint}-{number}")
    }

    /// Which market a request is of.
    fn market(&self, rule: &Endpoint, named: &[Named<'_>]) -> Result<MarketKind, DecodeError> {
        let _ = named;
        Ok(rule.market)
    }

    /// What the fields of one order (or one order list) mean together. `named` are the request's fields, then the
    /// object's; what the venue would refuse, or might quietly leave out, is refused.
    fn orders(
        &self,
        rule: &Endpoint,
        named: &[Named<'_>],
        market: MarketKind,
        symbol: Symbol,
    ) -> Result<Vec<Order>, DecodeError>;

    /// What else the fields mean together, beside orders: who gets what is moved, and what is refused there.
    fn adjust(
        &self,
        rule: &Endpoint,
        named: &[Named<'_>],
        action: &mut Action,
    ) -> Result<(), DecodeError> {
        let _ = (rule, named, action);
        Ok(())
    }

    /// Where the fields of a call that is no GET or DELETE stand.
    fn body(&self) -> Body {
        Body::Form
    }

    /// How long after its stamp the venue takes a signed request with this window, in microseconds, whoever hands it in and
    /// whatever of it is not signed.
    fn accepted_us(&self, window_ms: u32) -> u64 {
        u64::from(window_ms) * 1_000
    }

    /// Fields that the scheme puts beside the request's own, before anything is signed.
    fn stamp(&self, request: &mut Unsigned) {
        let _ = request;
    }

    /// The bytes to sign.
    fn message<'a>(&self, request: &'a Unsigned, api_key: &str) -> Cow<'a, [u8]>;

    /// Places the real key's id and the signature made with it.
    fn finish(&self, request: Unsigned, credential: Credential<'_>, signature: &Signature)
    -> Ready;

    /// A WebSocket's frame, of parameters as JSON: what is sent, without an `id`, and where the WebSocket is opened.
    fn frame(&self, request: Unsigned) -> Ready {
        Ready {
            method: request.method,
            target: request.path,
            headers: Vec::new(),
            body: request.fields,
        }
    }

    /// Whether an endpoint is about the session of its connection.
    fn session_call(&self, rule: &Endpoint) -> Option<SessionCall> {
        let _ = rule;
        None
    }

    /// What a program is told of its session.
    fn session(&self, session: &Session<'_>) -> serde_json::Value {
        let _ = session;
        serde_json::json!({})
    }

    /// The gate's no, one code a class.
    fn refusals(&self) -> &'static [RefusalCode; 11];

    /// A refusal's JSON body.
    fn refusal_body(&self, row: &RefusalCode, message: &str) -> serde_json::Value;

    /// What the gate answers for a class: HTTP status and body, with the entry that recorded it.
    fn refuse(&self, class: Class, message: &str, entry: Option<EntryId>) -> (u16, Vec<u8>) {
        let row = crate::refusals::row(self.refusals(), class);
        let mut text = format!("{}{message}", row.prefix);
        if let Some(entry) = entry {
            text.push_str(&format!(" (entry {entry})"));
        }
        let body = self.refusal_body(&row, &text);
        (row.status, body.to_string().into_bytes())
    }

    /// What an answer to a request says. `None`: it cannot be read; what was read before is kept.
    fn summarize(
        &self,
        rule: &Endpoint,
        asked: Asked<'_>,
        status: u16,
        body: &[u8],
        out: &mut Vec<Report>,
    ) -> Option<()>;

    /// Where the venue lists its markets.
    fn listings(&self) -> &'static [Listing] {
        &[]
    }

    /// The markets in an answer to one of [`Dialect::listings`]; what cannot be valued, or is gone, is left out.
    fn listed(&self, listing: &Listing, answer: &[u8]) -> Result<Listed, String> {
        let _ = answer;
        Err(format!("`{}` is no list of this venue", listing.target))
    }

    /// The venue counts calls of this path apart, each endpoint by itself; the rest share one limit.
    fn counts_apart(&self, target: &[u8]) -> bool {
        let _ = target;
        false
    }

    /// A question of the gate's own about markets of a kind. `None`: the venue cannot be asked that, or nobody wrote how.
    fn ask(&self, kind: MarketKind, question: &Question<'_>) -> Option<InWords> {
        let _ = (kind, question);
        None
    }

    /// How the gate itself subscribes to what becomes of an account's orders. `None`: it cannot, or nobody wrote how.
    fn listen(&self) -> Option<Listen> {
        None
    }

    /// Whether a call subscribes to what the venue says unasked.
    fn opens_stream(&self, rule: &Endpoint) -> bool {
        let _ = rule;
        false
    }

    /// What an event of such a stream says.
    fn summarize_event(&self, rule: &Endpoint, event: &[u8], out: &mut Vec<Report>) -> Option<()> {
        let _ = (rule, event, out);
        None
    }

    /// What a program's frame on a pipe asks, and under which id. `None`: it is not understood.
    fn frame_head<'a>(&self, frame: &'a str) -> Option<FrameHead<'a>> {
        let _ = frame;
        None
    }

    /// The gate's no to a frame on a pipe, as the venue would write it there: `body` is a refusal's of [`Dialect::refuse`].
    fn frame_refusal(&self, head: &FrameHead<'_>, status: u16, body: &str) -> String {
        let _ = status;
        format!("{{\"error\":{body},\"id\":{}}}", head.id)
    }

    /// Which frame a venue's message on a pipe answers. `None`: none, it is an event, or the dialect cannot tell.
    fn answered<'a>(&self, message: &'a str) -> Option<Answered<'a>> {
        let _ = message;
        None
    }

    /// Two logons of one program may be the same words: the venue has them signed with nothing but the second in them.
    fn logons_repeat(&self) -> bool {
        false
    }

    /// The least duty of a key that logs on to a pipe which was opened with this target.
    fn logon_duty(&self, target: &[u8]) -> Duty {
        let _ = target;
        Duty::Trade
    }

    /// How many seconds an address has to be silent after an answer of this status, by which the venue bans it: where it does
    /// not say so itself, and not as 418.
    fn ban_s(&self, status: u16) -> Option<u64> {
        let _ = status;
        None
    }

    /// Over how many seconds the venue counts calls, and hence how long its 429 holds, where it says no `Retry-After` with it.
    fn hold_s(&self) -> Option<u64> {
        None
    }

    /// A virtual key's public text, in the shape that the venue's client libraries accept.
    fn virtual_key(&self, random: &[u8; 64]) -> String {
        crate::signature::letters_and_digits(random)
    }
}

/// The dialects, one a venue.
static DIALECTS: &[&dyn Dialect] = &[
    &crate::binance::Binance,
    &crate::bybit::Bybit,
    &crate::okx::Okx,
    &crate::kucoin::KuCoin,
];

/// The dialect of a venue.
#[must_use]
pub fn of(venue: &str) -> Option<&'static dyn Dialect> {
    DIALECTS.iter().find(|d| d.venue() == venue).copied()
}

/// Every dialect.
pub fn all() -> impl Iterator<Item = &'static dyn Dialect> {
    DIALECTS.iter().copied()
}
