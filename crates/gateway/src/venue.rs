//! What the gateway needs from a venue's code: the words of an answer that the gate itself gives, the summary of the venue's,
//! and how the venue counts.

use portcullis_model::refusal::Class;
use portcullis_model::report::Report;
use portcullis_venues::Asked;
use portcullis_venues::dialect::{Answered, FrameHead};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// A gate's own answer in the venue's format: status and JSON body.
#[must_use]
pub fn refuse(venue: &str, class: Class, message: &str) -> (u16, Vec<u8>) {
    portcullis_venues::dialect::of(venue).map_or_else(
        || (503, b"{}".to_vec()),
        |dialect| dialect.refuse(class, message, None),
    )
}

/// What an answer to a request says, in our words.
#[must_use]
pub fn summarize(endpoint: u16, asked: Asked<'_>, status: u16, body: &[u8]) -> Vec<Report> {
    portcullis_venues::summarize(endpoint, asked, status, body)
}

/// The venue counts calls of this target apart, each endpoint by itself.
#[must_use]
pub fn counts_apart(venue: &str, target: &[u8]) -> bool {
    portcullis_venues::dialect::of(venue).is_some_and(|dialect| dialect.counts_apart(target))
}

/// What an event of a stream that a request on this endpoint opened says, in our words.
#[must_use]
pub fn summarize_event(endpoint: u16, event: &[u8]) -> Vec<Report> {
    portcullis_venues::summarize_event(endpoint, event)
}

/// How long the venue bans an address by an answer of this status, in its own way.
#[must_use]
pub fn ban_s(venue: &str, status: u16) -> Option<u64> {
    portcullis_venues::dialect::of(venue)?.ban_s(status)
}

/// How long a venue's 429 holds that does not say so itself.
#[must_use]
pub fn hold_s(venue: &str) -> Option<u64> {
    portcullis_venues::dialect::of(venue)?.hold_s()
}

/// What is spoken on a WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaks {
    /// Requests with an `id`, and one answer to each, on connections of the venue that many share.
    Api,
    /// Whatever the venue speaks there, on a connection of its own.
    Pipe,
}

/// What a venue speaks on a WebSocket that a program opens at one of its hosts with this target, and which host it is for;
/// `None`: nothing.
#[must_use]
pub fn socket<'h>(venue: &str, host: &'h str, target: &[u8]) -> Option<(Speaks, &'h str)> {
    let has_pipes = || {
        let catalog = portcullis_venues::Catalog::builtin().ok()?;
        catalog.service(host).filter(|service| service.pipe)
    };
    let api = match venue {
        "binance" => portcullis_venues::binance::api_host(target),
        _ => None,
    };
    match api {
        Some(host) => Some((Speaks::Api, host)),
        None => has_pipes().map(|_| (Speaks::Pipe, host)),
    }
}

/// What a frame on a pipe asks, and under which id.
#[must_use]
pub fn frame_head<'a>(venue: &str, frame: &'a str) -> Option<FrameHead<'a>> {
    portcullis_venues::dialect::of(venue)?.frame_head(frame)
}

/// Which frame a message on a pipe answers.
#[must_use]
pub fn answered<'a>(venue: &str, message: &'a str) -> Option<Answered<'a>> {
    portcullis_venues::dialect::of(venue)?.answered(message)
}

/// The gate's no on a pipe, as the venue would write it there.
#[must_use]
pub fn frame_refusal(venue: &str, head: &FrameHead<'_>, status: u16, body: &[u8]) -> String {
    let body = std::str::from_utf8(body).unwrap_or("{}");
    portcullis_venues::dialect::of(venue).map_or_else(
        || "{}".to_owned(),
        |dialect| dialect.frame_refusal(head, status, body),
    )
}

/// What ingress itself answers, or must know, of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    Other,
    /// Opens a pipe.
    Connect,
    LogOn,
    /// Opens a stream.
    Subscribe,
    /// Ends one, or all, of its connection.
    Unsubscribe,
    /// Asks which there are.
    Subscriptions,
}

/// What a frame's method is to ingress.
#[must_use]
pub fn call(method: &str) -> Call {
    match method.strip_prefix("v3/").unwrap_or(method) {
        "session.logon" => Call::LogOn,
        "userDataStream.subscribe" | "userDataStream.subscribe.signature" => Call::Subscribe,
        "userDataStream.unsubscribe" => Call::Unsubscribe,
        "session.subscriptions" => Call::Subscriptions,
        _ => Call::Other,
    }
}

/// A message of a venue on a WebSocket.
#[derive(Debug, Default)]
pub struct Frame<'a> {
    /// The number in the id that we gave the request.
    pub number: Option<u64>,
    pub status: u16,
    /// What a REST call's body would be.
    pub body: &'a str,
    /// The message without its id and its opening brace: what follows the program's own id.
    pub rest: Cow<'a, str>,
    /// The venue's counts.
    pub weight_1m: Option<u64>,
    pub orders_10s: Option<u64>,
    /// The venue asks to wait until then.
    pub retry_at_ms: Option<u64>,
    /// An error that names no request.
    pub is_about_connection: bool,
    /// The venue will end the connection soon.
    pub is_farewell: bool,
    /// What it says unasked.
    pub event: Option<&'a str>,
}

/// Reads a message of a venue. `None`: it is none of those that we know.
#[must_use]
pub fn frame<'a>(venue: &str, text: &'a str) -> Option<Frame<'a>> {
    let _ = venue;
    let said: Said<'_> = serde_json::from_str(text).ok()?;
    if let Some(event) = said.event {
        let head: EventHead<'_> = serde_json::from_str(event.get()).ok()?;
        return Some(Frame {
            is_farewell: head.e == "serverShutdown",
            event: Some(event.get()),
            ..Frame::default()
        });
    }
    let id = said.id.map_or("null", RawValue::get);
    let number = id
        .strip_prefix('"')
        .and_then(|id| id.strip_suffix('"'))
        .and_then(|digits| u64::from_str_radix(digits, 16).ok());
    let (name, body) = match (said.result, said.error) {
        (Some(result), None) => ("result", result.get()),
        (None, Some(error)) => ("error", error.get()),
        _ => return None,
    };
    let status = said.status?;
    // As the venue writes it, or else the same members in its order.
    let as_written = text
        .strip_prefix("{\"id\":")
        .and_then(|rest| rest.strip_prefix(id))
        .and_then(|rest| rest.strip_prefix(','));
    let rest = match as_written {
        Some(rest) => Cow::Borrowed(rest),
        None => {
            let mut rest = format!("\"status\":{status},\"{name}\":{body}");
            if let Some(limits) = said.rate_limits {
                rest.push_str(",\"rateLimits\":");
                rest.push_str(limits.get());
            }
            rest.push('}');
            Cow::Owned(rest)
        }
    };
    let limits: Vec<RateLimit<'_>> = said
        .rate_limits
        .and_then(|limits| serde_json::from_str(limits.get()).ok())
        .unwrap_or_default();
    let count = |kind: &str, interval: &str, number: u64| {
        limits
            .iter()
            .find(|it| {
                it.rate_limit_type == kind && it.interval == interval && it.interval_num == number
            })
            .map(|it| it.count)
    };
    let failed: Option<Failed> = said
        .error
        .and_then(|error| serde_json::from_str(error.get()).ok());
    Some(Frame {
        number,
        status,
        body,
        rest,
        weight_1m: count("REQUEST_WEIGHT", "MINUTE", 1),
        orders_10s: count("ORDERS", "SECOND", 10),
        retry_at_ms: failed.and_then(|failed| failed.data?.retry_after),
        is_about_connection: number.is_none() && name == "error",
        is_farewell: false,
        event: None,
    })
}

#[derive(Deserialize)]
struct Said<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(default)]
    status: Option<u16>,
    #[serde(borrow, default)]
    result: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "rateLimits")]
    rate_limits: Option<&'a RawValue>,
    #[serde(borrow, default)]
    event: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct EventHead<'a> {
    #[serde(borrow)]
    e: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RateLimit<'a> {
    #[serde(borrow)]
    rate_limit_type: Cow<'a, str>,
    #[serde(borrow)]
    interval: Cow<'a, str>,
    interval_num: u64,
    count: u64,
}

#[derive(Deserialize)]
struct Failed {
    data: Option<FailedData>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FailedData {
    retry_after: Option<u64>,
}
