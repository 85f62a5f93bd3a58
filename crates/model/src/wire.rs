//! What the rooms tell each other. A frame is `u32 big-endian length | u8 kind | canonical CBOR`; the length counts kind
//! and CBOR. Rooms of different builds refuse each other in the first frame.
//!
//! ```text
//! ingress ── Request ──▶ signer ── Send, Discard, Hosts, Leave ─▶ egress
//! ingress ◀─ Reply ───── signer ◀─ Outcome, Discarded ──── egress
//! ingress ◀─ AnswerHead, AnswerChunk, AnswerAborted ──────── egress
//! ingress ◀─ Push, StreamEnded ───────────────────────────── egress
//! ingress ── Window, Orphans, Leave ───────────────────────▶ egress
//! ```
//!
//! No room waits to write to another. Ingress spends a credit for each request ([`REQUESTS_WAITING_MAX`]), the signer keeps
//! at most [`LINK_FRAMES_MAX`] requests of a lane at egress, an answer has a window; without room a request is refused,
//! `NotSent`, before anything is recorded. `docs/spec/wire.md` has it all.

use crate::id::{AccountId, EntryId, RequestId, StrategyId};
use crate::report::{Report, Sent};
use minicbor::bytes::{ByteSlice, ByteVec};
use minicbor::{Decode, Encode};
use serde::Serialize;

/// A frame's length at most, kind and CBOR together. A longer one ends the link.
pub const FRAME_BYTES_MAX: usize = 65_536;
/// A request's head (line and headers) at most; a longer one is refused with status 431.
pub const HEAD_BYTES_MAX: usize = 16_384;
/// A request's body at most; a longer one is refused with status 413.
pub const BODY_BYTES_MAX: usize = 32_768;
/// Headers of a request at most.
pub const HEADERS_MAX: usize = 64;
/// Requests of one lane that the signer has handed to egress and has no outcome of; beyond it the signer refuses,
/// `NotSent`, before anything is recorded. A thousand connections, each with a request under way, fit.
pub const LINK_FRAMES_MAX: u32 = 1_024;
/// Requests that ingress has handed to the signer and the signer has not taken up. Ingress starts with so many credits
/// when the signer greets it, and gets them back by `Credit`; without one it refuses, `NotSent`.
pub const REQUESTS_WAITING_MAX: u32 = 2_048;
/// The signer may owe this many credits before it must give them back: a credit alone is not worth a wake-up.
pub const CREDITS_OWED_MAX: u32 = 64;
/// An answer's part in one frame at most.
pub const CHUNK_BYTES_MAX: usize = 32_768;
/// Bytes of one answer that egress may send ahead of the client; `Window` gives more.
pub const ANSWER_WINDOW_BYTES: u32 = 131_072;
/// An answer that the signer needs a summary of is held whole up to this; a longer one is `Unreadable` and streamed.
pub const SUMMARY_BYTES_MAX: usize = 4 << 20;

/// The method of a request that is a WebSocket's text frame: its body is the frame, its target where the WebSocket was opened.
pub const FRAME_METHOD: &str = "WS";

/// Kinds of frames. One space for all links, so that a frame on the wrong link is refused.
pub mod kind {
    pub const HELLO: u8 = 1;
    pub const CREDIT: u8 = 2;
    pub const LOG: u8 = 3;
    pub const REQUEST: u8 = 16;
    pub const GONE: u8 = 17;
    pub const REPLY: u8 = 32;
    pub const CLOSE: u8 = 33;
    pub const SEND: u8 = 48;
    pub const DISCARD: u8 = 49;
    pub const HOSTS: u8 = 50;
    pub const OUTCOME: u8 = 64;
    pub const DISCARDED: u8 = 65;
    pub const VENUE: u8 = 66;
    pub const TOLD: u8 = 67;
    pub const ANSWER_HEAD: u8 = 80;
    pub const ANSWER_CHUNK: u8 = 81;
    pub const ANSWER_ABORTED: u8 = 82;
    pub const PUSH: u8 = 83;
    pub const STREAM_ENDED: u8 = 84;
    pub const WINDOW: u8 = 96;
    pub const ORPHANS: u8 = 97;
    pub const LEAVE: u8 = 98;
}

/// Lanes, in the order in which they are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize)]
#[cbor(index_only)]
#[serde(rename_all = "snake_case")]
pub enum Lane {
    #[n(0)]
    Operator,
    #[n(1)]
    Outcome,
    /// Cancels and orders known to reduce: they may use the reserve of venue weight.
    #[n(2)]
    Cancel,
    #[n(3)]
    Order,
    /// Reads of a program; shed before orders.
    #[n(4)]
    Read,
    /// Public data; shed first.
    #[n(5)]
    Public,
}

/// First frame of each link.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Hello {
    /// Hash of the build; both ends must agree.
    #[n(0)]
    pub build: ByteVec,
    /// `ingress`, `signer` or `egress`.
    #[n(1)]
    pub room: String,
    /// The run of ingress (links with ingress), or of the sender.
    #[n(2)]
    pub epoch: u32,
}

/// How far the signer's log was when it was opened: the first frame that the signer sends once it may append. The other
/// rooms remember it for as long as they run, and refuse a signer that goes back: then an older copy of the log was put in
/// its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Log {
    #[n(0)]
    pub size: u64,
    /// Root of the tree over so many entries.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub root: [u8; 32],
}

impl Log {
    /// Whether a log that was `before` can be this one now.
    #[must_use]
    pub fn goes_on_from(&self, before: &Self) -> bool {
        self.size > before.size || self == before
    }
}

/// Gives credit for `frames` more frames of `lane`. Travels the other way on the pair of links.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Credit {
    #[n(0)]
    pub lane: Lane,
    #[n(1)]
    pub frames: u32,
}

/// A program's request as it arrived. Borrowed from the frame.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Request<'b> {
    #[n(0)]
    pub id: RequestId,
    /// Which connection it came by, so that a revoked key's connections can be closed.
    #[n(1)]
    pub connection: u64,
    /// The venue host whose listener it came by.
    #[b(2)]
    pub host: &'b str,
    /// The peer's address, 4 or 16 bytes.
    #[b(3)]
    pub source: &'b ByteSlice,
    #[b(4)]
    pub method: &'b str,
    /// Path and query exactly as sent.
    #[b(5)]
    pub target: &'b ByteSlice,
    /// Names in lower case; values trimmed of surrounding blanks; no name twice unless the client sent it twice.
    #[b(6)]
    pub headers: Vec<Header<'b>>,
    #[b(7)]
    pub body: &'b ByteSlice,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Header<'b> {
    #[b(0)]
    pub name: &'b str,
    #[b(1)]
    pub value: &'b ByteSlice,
}

/// A program's WebSocket has ended, and with it its session and its subscriptions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Gone {
    #[n(0)]
    pub connection: u64,
}

/// The signer's own answer to a request (a refusal, or an answer kept from before).
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Reply<'b> {
    #[n(0)]
    pub id: RequestId,
    #[n(1)]
    pub status: u16,
    #[b(2)]
    pub headers: Vec<Header<'b>>,
    #[b(3)]
    pub body: &'b ByteSlice,
}

/// Close these connections: their virtual key was revoked or has expired, or a halt of level `lock` holds.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Close {
    #[n(0)]
    pub connections: Vec<u64>,
}

/// A signed request for the venue.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Send<'b> {
    #[n(0)]
    pub id: RequestId,
    /// The entry that recorded it; none for public data.
    #[n(1)]
    pub entry: Option<EntryId>,
    #[n(2)]
    pub strategy: StrategyId,
    #[n(3)]
    pub account: Option<AccountId>,
    #[n(4)]
    pub lane: Lane,
    /// Index into [`Hosts::hosts`].
    #[n(5)]
    pub host: u16,
    /// Index of the endpoint in the venue's catalog: how to read the answer.
    #[n(6)]
    pub endpoint: u16,
    /// Request weight at the venue.
    #[n(7)]
    pub weight: u32,
    /// Orders that count against the venue's order rate.
    #[n(8)]
    pub orders: u32,
    /// Boot clock, microseconds: not sent after it. 0: no deadline but the room's own.
    #[n(9)]
    pub not_after_us: u64,
    #[b(10)]
    pub method: &'b str,
    #[b(11)]
    pub target: &'b ByteSlice,
    #[b(12)]
    pub headers: Vec<Header<'b>>,
    #[b(13)]
    pub body: &'b ByteSlice,
    /// The signer wants the answer's reports.
    #[n(14)]
    pub summarize: bool,
    /// The strategy's share of the venue's weight, in thousandths.
    #[n(15)]
    pub share: u16,
    /// It opens a stream: its WebSocket is its own, and what the venue says there unasked goes on under its id.
    #[n(16)]
    pub stream: bool,
    /// It is of a pipe, a program's WebSocket with one of its own at the venue: the request that opened it, or opens it if
    /// that is this one.
    #[n(17)]
    pub pipe: Option<RequestId>,
}

/// Drop what has not left yet. Egress answers [`Discarded`] for the same token.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Discard {
    #[n(0)]
    pub token: u64,
    /// Entries to drop.
    #[n(1)]
    pub entries: Vec<EntryId>,
}

/// What became of a [`Discard`]: each of its entries stands in exactly one list.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Discarded {
    #[n(0)]
    pub token: u64,
    /// Dropped: no byte left.
    #[n(1)]
    pub discarded: Vec<EntryId>,
    /// At least a byte left and no answer has come.
    #[n(2)]
    pub under_way: Vec<EntryId>,
    /// Answered before, or not known to this run of egress.
    #[n(3)]
    pub done: Vec<EntryId>,
}

/// The venue hosts of the release, with what certificates they may show. Egress connects to no other.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Hosts {
    #[n(0)]
    pub hosts: Vec<Host>,
    /// Extra roots for them, DER.
    #[n(1)]
    pub roots: Vec<ByteVec>,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Host {
    /// Catalog it belongs to (`binance`).
    #[n(0)]
    pub venue: String,
    /// The name that catalogs and signatures use (`api.binance.com`).
    #[n(1)]
    pub name: String,
    /// Where it is: `host:port`; the same as `name` on port 443 unless the release says otherwise.
    #[n(2)]
    pub address: String,
    /// SHA-256 of the SubjectPublicKeyInfo that its certificate must have; empty: any that the roots allow.
    #[n(3)]
    pub pins: Vec<ByteVec>,
    /// Trust the public web's roots too (Mozilla's set), not only the release's own.
    #[n(4)]
    pub public_roots: bool,
    /// Request weight that the venue grants an address each minute.
    #[n(5)]
    pub weight_per_minute: u32,
    /// Orders that the venue grants an account each 10 seconds.
    #[n(6)]
    pub orders_per_10s: u32,
}

/// What became of a [`Send`]. Egress sends it before it sends the answer to ingress.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Outcome {
    #[n(0)]
    pub id: RequestId,
    #[n(1)]
    pub entry: Option<EntryId>,
    #[n(2)]
    pub sent: Sent,
    /// HTTP status, 0 if no answer came.
    #[n(3)]
    pub status: u16,
    #[n(4)]
    pub reports: Vec<Report>,
    /// Why it was not sent, or how it failed (one of `gateway`'s words): for the program's answer and the log.
    #[n(5)]
    pub why: Option<String>,
    /// From the first byte out to the last byte in, microseconds.
    #[n(6)]
    pub took_us: u64,
    /// Reports are split over frames; the last one has `false`.
    #[n(7)]
    pub more: bool,
}

/// What egress knows of a host: shown by `status`, and used to refuse early.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize)]
pub struct Venue {
    #[n(0)]
    pub host: u16,
    /// Weight used in this minute by the venue's own count.
    #[n(1)]
    pub weight_used: u32,
    /// Boot clock, microseconds, until which egress sends nothing (429, 418); 0: not banned.
    #[n(2)]
    pub banned_until_us: u64,
    #[n(3)]
    pub connections: u32,
}

/// What a stream or pipe said, before ingress gets it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Told {
    /// Of the request that opened it.
    #[n(0)]
    pub id: RequestId,
    #[n(1)]
    pub reports: Vec<Report>,
    /// Nothing more comes.
    #[n(2)]
    pub ended: bool,
}

/// What a venue says unasked on a stream, and whatever it says on a pipe.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Push<'b> {
    /// Of the request that opened it.
    #[n(0)]
    pub id: RequestId,
    #[b(1)]
    pub body: &'b ByteSlice,
    /// The message goes on in the next one with this id.
    #[n(2)]
    pub more: bool,
}

/// The venue has ended a stream or pipe, or it was lost: its program's connection ends.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct StreamEnded {
    #[n(0)]
    pub id: RequestId,
    #[n(1)]
    pub why: String,
    /// The code of the venue's own close.
    #[n(2)]
    pub code: Option<u16>,
}

/// The head of a venue's answer, with its first bytes.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct AnswerHead<'b> {
    #[n(0)]
    pub id: RequestId,
    #[n(1)]
    pub status: u16,
    #[b(2)]
    pub headers: Vec<Header<'b>>,
    /// The body's length if it is known.
    #[n(3)]
    pub length: Option<u64>,
    #[b(4)]
    pub body: &'b ByteSlice,
    /// Nothing follows.
    #[n(5)]
    pub last: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct AnswerChunk<'b> {
    #[n(0)]
    pub id: RequestId,
    #[b(1)]
    pub body: &'b ByteSlice,
    #[n(2)]
    pub last: bool,
}

/// No (whole) answer: ingress answers the program with the venue's own words for it if the head has not gone out yet,
/// and closes the connection otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct AnswerAborted {
    #[n(0)]
    pub id: RequestId,
    #[n(1)]
    pub sent: Sent,
    #[n(2)]
    pub why: String,
}

/// The client has taken `bytes` more of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Window {
    #[n(0)]
    pub id: RequestId,
    #[n(1)]
    pub bytes: u32,
}

/// The signer is gone, and these requests were on their way: of those that egress does not hold, it says so at once.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Orphans {
    #[n(0)]
    pub epoch: u32,
    #[n(1)]
    pub seqs: Vec<u64>,
}

/// A program wants a stream or pipe no more, or is gone; or the signer ends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Leave {
    #[n(0)]
    pub id: RequestId,
}

/// Where encodings go. minicbor writes single bytes mostly, and its own writer for `Vec` is a call for each.
struct Appending<'a>(&'a mut Vec<u8>);

impl minicbor::encode::Write for Appending<'_> {
    type Error = std::convert::Infallible;

    #[inline(always)]
    fn write_all(&mut self, bytes: &[u8]) -> Result<(), Self::Error> {
        match bytes {
            [byte] => self.0.push(*byte),
            bytes => self.0.extend_from_slice(bytes),
        }
        Ok(())
    }
}

/// Appends the canonical encoding of a message. It fails only where the message's own encoding does.
pub fn encode<T: Encode<()>>(out: &mut Vec<u8>, message: &T) -> Result<(), FrameTooLong> {
    minicbor::encode(message, Appending(out)).map_err(|_| FrameTooLong)
}

/// Appends a frame to `out`. An encoding longer than [`FRAME_BYTES_MAX`] leaves `out` as it was.
pub fn frame<T: Encode<()>>(out: &mut Vec<u8>, kind: u8, message: &T) -> Result<(), FrameTooLong> {
    let start = out.len();
    out.extend([0, 0, 0, 0, kind]);
    // Encoding into a `Vec` cannot fail but by a length that the message cannot have.
    let encoded = encode(out, message);
    let length = out.len() - start - 4;
    if encoded.is_err() || length > FRAME_BYTES_MAX {
        out.truncate(start);
        return Err(FrameTooLong);
    }
    let length = u32::try_from(length)
        .map_err(|_| FrameTooLong)?
        .to_be_bytes();
    if let Some(head) = out.get_mut(start..start + 4) {
        head.copy_from_slice(&length);
    }
    Ok(())
}

/// A message would not fit a frame; nothing was queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameTooLong;

impl std::fmt::Display for FrameTooLong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "message is longer than a frame of {FRAME_BYTES_MAX} bytes"
        )
    }
}

impl std::error::Error for FrameTooLong {}

/// Decodes a frame's CBOR whole: bytes left over are an error.
pub fn message<'b, T: Decode<'b, ()>>(cbor: &'b [u8]) -> Result<T, minicbor::decode::Error> {
    let mut decoder = minicbor::Decoder::new(cbor);
    let message = decoder.decode()?;
    if decoder.position() != cbor.len() {
        return Err(minicbor::decode::Error::message("bytes after the message"));
    }
    Ok(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_framed_request_decodes_to_itself() {
        let request = Request {
            id: RequestId { epoch: 3, seq: 9 },
            connection: 4,
            host: "api.binance.com",
            source: (&[127u8, 0, 0, 1][..]).into(),
            method: "POST",
            target: (&b"/api/v3/order?a=b"[..]).into(),
            headers: vec![Header {
                name: "x-mbx-apikey",
                value: (&b"k"[..]).into(),
            }],
            body: (&b"symbol=BTCUSDT"[..]).into(),
        };
        let mut out = Vec::new();
        frame(&mut out, kind::REQUEST, &request).unwrap();
        let length = u32::from_be_bytes(out[..4].try_into().unwrap()) as usize;
        assert_eq!((length, out[4]), (out.len() - 4, kind::REQUEST));
        assert_eq!(message::<Request>(&out[5..]).unwrap(), request);
        out.push(0);
        assert!(message::<Request>(&out[5..]).is_err());
    }

    #[test]
    fn a_message_longer_than_a_frame_leaves_nothing() {
        let body = vec![0u8; FRAME_BYTES_MAX];
        let chunk = AnswerChunk {
            id: RequestId { epoch: 0, seq: 0 },
            body: body[..].into(),
            last: true,
        };
        let mut out = vec![7];
        assert_eq!(
            frame(&mut out, kind::ANSWER_CHUNK, &chunk),
            Err(FrameTooLong)
        );
        assert_eq!(out, [7]);
    }
}
