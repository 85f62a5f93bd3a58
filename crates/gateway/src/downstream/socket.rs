//! Programs' WebSocket connections. A frame of text is a request like any other: it goes to the signer with the method
//! `WS`, the target of the connection and the text as body, many at a time and each with its own place; its answer is a
//! frame that bears the id that the program gave. Answers that come in parts are written as fragments of one message, and
//! what comes meanwhile waits behind them, bounded.
//!
//! A program that reads slowly, sends half a frame and no more, or breaks the protocol loses its own connection.

use super::{Asked, Downstream, Key, REQUEST_US_MAX, State};
use crate::request;
use crate::venue::{self, Call, Speaks};
use crate::websocket::{self, Decoder, Event, From, Kind, Violation};
use portcullis_model::id::RequestId;
use portcullis_model::refusal::Class;
use portcullis_model::wire::{
    ANSWER_WINDOW_BYTES, BODY_BYTES_MAX, FRAME_METHOD, Gone, Leave, Push, StreamEnded, kind,
};
use portcullis_venues::dialect::FrameHead;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::VecDeque;
use std::io::Write;

/// Requests of one WebSocket under way at most; at the bound nothing more is read from it until an answer is out.
pub const SOCKET_IN_FLIGHT_MAX: usize = 256;
/// A request's `id` at most, as the program wrote it; a longer one is refused.
pub const SOCKET_ID_BYTES_MAX: usize = 256;
/// Bytes for one WebSocket that its program has not taken, at most; beyond it the connection ends.
pub const SOCKET_UNSENT_BYTES_MAX: usize = 1 << 20;
/// Bytes that wait behind messages in parts, over all connections; beyond it the connection that adds to them ends.
pub const SOCKET_BEHIND_BYTES_MAX: usize = 32 << 20;
/// A WebSocket that nothing came from for this long is asked whether it is there, and ended after as long again.
pub const SOCKET_QUIET_US_MAX: u64 = 180_000_000;

/// The same of a pipe: a message of a venue may be as long as [`crate::upstream::PIPE_BYTES_MAX`].
pub const PIPE_UNSENT_BYTES_MAX: usize = 8 << 20;

/// Subscriptions of one WebSocket at most.
pub const SUBSCRIPTIONS_MAX: usize = 64;

/// The close codes that we say ourselves.
const GOING_AWAY: u16 = 1001;
const POLICY: u16 = 1008;

/// A connection that has changed to WebSocket.
#[derive(Debug)]
pub(super) struct Socket {
    /// Of the opening request.
    target: Box<[u8]>,
    /// The venue host that its frames are for.
    host: Box<str>,
    /// The request that opened its pipe.
    pipe: Option<u64>,
    decoder: Decoder,
    /// What `partial_bytes` counts of the decoder.
    pub(super) kept: usize,
    in_flight: usize,
    /// The message that is being written in parts.
    writing: Option<u64>,
    /// What waits behind it.
    behind: VecDeque<Behind>,
    /// Bytes sent since the program had taken all.
    pub(super) unsent: usize,
    /// When something came last.
    heard_us: u64,
    /// Since when a message is there in part.
    partial_us: Option<u64>,
    is_asked: bool,
    /// It has had an answer: it is not pushed out for others.
    pub(super) is_used: bool,
    /// It ends when its answers are out.
    is_leaving: bool,
    /// Its program has logged on, with the signer that is there now.
    is_logged_on: bool,
    /// Its streams: the request that opened each, and the number that its program knows it by.
    subscriptions: Vec<(u64, u32)>,
    next_subscription: u32,
}

#[derive(Debug)]
struct Behind {
    seq: u64,
    bytes: Vec<u8>,
    is_whole: bool,
}

impl Socket {
    /// Nothing of it is under way.
    pub(super) fn is_quiet(&self) -> bool {
        self.in_flight == 0 && self.partial_us.is_none()
    }

    fn behind_bytes(&self) -> usize {
        self.behind.iter().map(|it| it.bytes.len()).sum()
    }
}

/// What is kept of a request for a pipe until the venue has answered.
#[derive(Debug)]
pub(super) struct Upgrade {
    host: Box<str>,
    target: Box<[u8]>,
    accept: String,
}

/// What is kept of a pipe's frame for the gate's own answer: its id, and what it asks.
fn pipe_id(head: &FrameHead<'_>) -> String {
    format!("{}\n{}", head.id, head.operation)
}

/// What ingress itself reads of a frame. The rest is the signer's.
#[derive(Deserialize)]
struct ApiFrame<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    method: Option<Cow<'a, str>>,
    #[serde(default)]
    params: Option<Params>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Params {
    subscription_id: Option<u32>,
}

impl Downstream {
    /// A request that asks to change to WebSocket.
    pub(super) fn upgrade(
        &mut self,
        key: Key,
        parsed: &request::Request<'_>,
        turn: &mut super::Turn,
    ) {
        let Some(connection) = self.connections.get_mut(&key) else {
            return;
        };
        let venue = self
            .listeners
            .get(usize::from(connection.listener))
            .map_or("", |listener| listener.venue.as_str());
        let host = self
            .listeners
            .get(usize::from(connection.listener))
            .map_or("", |listener| listener.host.as_str());
        let checked = match venue::socket(venue, host, parsed.target) {
            Some(spoken) => websocket::accept(parsed).map(|accept| (spoken, accept)),
            None => Err((404, "no WebSocket is spoken at this path")),
        };
        let ((speaks, host), accept) = match checked {
            Ok(((speaks, host), accept)) => ((speaks, host.to_owned()), accept),
            Err((status, text)) => {
                self.counts.sockets_refused += 1;
                return self.answer_here(key, Some(status), Class::BadRequest, text, true, turn);
            }
        };
        connection.close |= parsed.close;
        match speaks {
            Speaks::Api => self.switch(key, &host, parsed.target, &accept, None, turn),
            Speaks::Pipe => self.connect(key, &host, parsed.target, accept, turn),
        }
    }

    /// Asks for a pipe: whether its program may change to WebSocket is known when the venue has.
    fn connect(
        &mut self,
        key: Key,
        host: &str,
        target: &[u8],
        accept: String,
        turn: &mut super::Turn,
    ) {
        let Some(source) = self.connections.get(&key).map(|it| it.source) else {
            return;
        };
        if let Some(why) = self.is_full(source, false, turn) {
            self.counts.no_credit += 1;
            return self.answer_here(key, None, Class::NotAvailable, why, false, turn);
        }
        let asked = Asked {
            host: Some(host),
            method: FRAME_METHOD,
            target,
            headers: Vec::new(),
            body: b"",
            own_id: None,
            call: Call::Connect,
        };
        let Some(seq) = self.hand_on(key, asked, turn) else {
            return self.answer_here(key, None, Class::BadRequest, "too long", true, turn);
        };
        if let Some(connection) = self.connections.get_mut(&key) {
            connection.state = State::Waiting { seq };
            connection.since_us = self.now_us;
            connection.upgrade = Some(Box::new(Upgrade {
                host: host.into(),
                target: target.into(),
                accept,
            }));
        }
    }

    /// The venue has opened a pipe, or says with a status why not.
    pub(super) fn connected(&mut self, key: Key, seq: u64, turn: &mut super::Turn) {
        self.landed(seq);
        let Some(connection) = self.connections.get_mut(&key) else {
            return;
        };
        let is_over = connection.close;
        let Some(upgrade) = connection.upgrade.take().filter(|_| !is_over) else {
            // It was to end meanwhile.
            self.unwanted(seq);
            self.gone.push(key);
            return self.end(key);
        };
        let Upgrade {
            host,
            target,
            accept,
        } = *upgrade;
        self.streams.insert(seq, key);
        self.switch(key, &host, &target, &accept, Some(seq), turn);
        // What it has sent ahead.
        if let Some(connection) = self.connections.get_mut(&key)
            && connection.state == State::Open
        {
            connection.paused = false;
            turn.watch.push(key);
            let mut input = std::mem::take(&mut connection.input);
            self.partial_bytes = self.partial_bytes.saturating_sub(input.len());
            self.frames(key, &mut input, turn);
            self.keep(key, input);
        }
    }

    /// Nobody waits for this pipe any more.
    pub(super) fn unwanted(&mut self, seq: u64) {
        self.left.push(seq);
    }

    /// A connection changes to WebSocket.
    fn switch(
        &mut self,
        key: Key,
        host: &str,
        target: &[u8],
        accept: &str,
        pipe: Option<u64>,
        turn: &mut super::Turn,
    ) {
        let Some(connection) = self.connections.get_mut(&key) else {
            return;
        };
        self.out.clear();
        // Writing into a `Vec` cannot fail.
        let _ = write!(
            self.out,
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\
             sec-websocket-accept: {accept}\r\n\r\n"
        );
        connection.socket = Some(Box::new(Socket {
            target: target.into(),
            host: host.into(),
            pipe,
            decoder: Decoder::new(From::Program, BODY_BYTES_MAX),
            kept: 0,
            in_flight: 0,
            writing: None,
            behind: VecDeque::new(),
            unsent: 0,
            heard_us: self.now_us,
            partial_us: None,
            is_asked: false,
            is_used: pipe.is_some(),
            is_leaving: self.is_ending,
            is_logged_on: false,
            subscriptions: Vec::new(),
            next_subscription: 0,
        }));
        connection.state = State::Open;
        connection.since_us = self.now_us;
        self.counts.sockets_opened += 1;
        self.send_out(key, turn);
    }

    /// Writes `self.out` to a WebSocket.
    fn send_out(&mut self, key: Key, turn: &mut super::Turn) {
        let Some(connection) = self.connections.get_mut(&key) else {
            return;
        };
        let was_pending = connection.transport.is_pending();
        if connection.transport.send(&self.out).is_err() {
            return self.end(key);
        }
        let is_pending = connection.transport.is_pending();
        let Some(socket) = connection.socket.as_deref_mut() else {
            return;
        };
        socket.unsent = match is_pending {
            true => socket.unsent + self.out.len(),
            false => 0,
        };
        if is_pending && !was_pending {
            connection.since_us = self.now_us;
            turn.watch.push(key);
        }
        let most = match socket.pipe {
            Some(_) => PIPE_UNSENT_BYTES_MAX,
            None => SOCKET_UNSENT_BYTES_MAX,
        };
        if socket.unsent > most {
            self.counts.slow_clients += 1;
            return self.end(key);
        }
        self.drained(key, turn);
    }

    /// Takes whole frames from `input`, and leaves the rest in it.
    pub(super) fn frames(&mut self, key: Key, input: &mut Vec<u8>, turn: &mut super::Turn) {
        let mut text = std::mem::take(&mut self.text);
        let mut at = 0;
        loop {
            let Some(connection) = self.connections.get_mut(&key) else {
                at = input.len();
                break;
            };
            let Some(socket) = connection.socket.as_deref_mut() else {
                break;
            };
            if connection.state != State::Open || socket.is_leaving {
                // It has been told that it ends; what it still says is not heard.
                at = input.len();
                break;
            }
            if socket.in_flight >= SOCKET_IN_FLIGHT_MAX {
                if !connection.paused {
                    connection.paused = true;
                    turn.watch.push(key);
                }
                break;
            }
            let before = at;
            let event = socket.decoder.next(input, &mut at);
            if at > before {
                socket.heard_us = self.now_us;
                socket.is_asked = false;
            }
            match event {
                Ok(None) => break,
                Ok(Some(Event::Text(said))) => {
                    text.clear();
                    text.push_str(said);
                    self.frame(key, &text, turn);
                }
                Ok(Some(Event::Ping(payload))) => {
                    self.out.clear();
                    websocket::push(&mut self.out, Kind::Pong, true, payload, None);
                    self.send_out(key, turn);
                }
                Ok(Some(Event::Pong)) => {}
                Ok(Some(Event::Close(code))) => {
                    self.close_socket(key, code.unwrap_or(1000), "", turn);
                }
                Err(violation) => {
                    self.violated(key, violation, turn);
                }
            }
        }
        input.drain(..at.min(input.len()));
        let kept_before = match self.connections.get_mut(&key) {
            Some(connection) => connection.socket.as_deref_mut().map(|socket| {
                let is_partial = !input.is_empty() || socket.decoder.is_within();
                let is_paused = connection.paused;
                socket.partial_us =
                    (is_partial && !is_paused).then(|| socket.partial_us.unwrap_or(self.now_us));
                let before = std::mem::replace(&mut socket.kept, socket.decoder.kept());
                (before, socket.kept)
            }),
            None => None,
        };
        if let Some((before, now)) = kept_before {
            self.partial_bytes = self.partial_bytes.saturating_sub(before) + now;
        }
        if text.capacity() <= super::SPARE_BYTES_MAX {
            self.text = text;
        }
    }

    /// One text frame of a program on a pipe. What it says is its venue's own; ingress reads its id and what it asks alone.
    fn pipe_frame(&mut self, key: Key, text: &str, turn: &mut super::Turn) {
        let Some(connection) = self.connections.get(&key) else {
            return;
        };
        let Some(socket) = connection.socket.as_deref() else {
            return;
        };
        let venue = self
            .listeners
            .get(usize::from(connection.listener))
            .map_or("", |listener| listener.venue.as_str());
        let head = venue::frame_head(venue, text)
            .filter(|head| head.id.len() + head.operation.len() <= SOCKET_ID_BYTES_MAX);
        let Some(head) = head else {
            self.counts.sockets_malformed += 1;
            let why = "the frame is not one that the venue documents";
            return self.refuse_frame(key, "null", Class::BadRequest, why, turn);
        };
        let own = pipe_id(&head);
        let is_cancel = head.operation.contains("cancel");
        if let Some(why) = self.is_full(connection.source, is_cancel, turn) {
            self.counts.no_credit += 1;
            return self.refuse_frame(key, &own, Class::NotAvailable, why, turn);
        }
        let (target, host) = (socket.target.clone(), socket.host.clone());
        let asked = Asked {
            host: Some(&host),
            method: FRAME_METHOD,
            target: &target,
            headers: Vec::new(),
            body: text.as_bytes(),
            own_id: Some(&own),
            call: Call::Other,
        };
        // An empty one would ask for a pipe.
        let handed = match text.is_empty() {
            true => None,
            false => self.hand_on(key, asked, turn),
        };
        if handed.is_none() {
            let why = "the frame is too long, or empty";
            return self.refuse_frame(key, &own, Class::BadRequest, why, turn);
        }
        if let Some(connection) = self.connections.get_mut(&key)
            && let Some(socket) = connection.socket.as_deref_mut()
        {
            socket.in_flight += 1;
        }
    }

    /// Whether a connection is a pipe's.
    pub(super) fn is_pipe(&self, key: Key) -> bool {
        let socket = self
            .connections
            .get(&key)
            .and_then(|it| it.socket.as_deref());
        socket.is_some_and(|socket| socket.pipe.is_some())
    }

    /// One text frame of a program.
    fn frame(&mut self, key: Key, text: &str, turn: &mut super::Turn) {
        if self.is_pipe(key) {
            return self.pipe_frame(key, text, turn);
        }
        let asked = match serde_json::from_str::<ApiFrame<'_>>(text) {
            Ok(asked) => asked,
            Err(_) => {
                self.counts.sockets_malformed += 1;
                let why = "a frame is one JSON object with `id`, `method` and `params`, each once";
                return self.refuse_frame(key, "null", Class::BadRequest, why, turn);
            }
        };
        let id = asked.id.map_or("null", RawValue::get);
        let is_id = id == "null"
            || id.len() <= SOCKET_ID_BYTES_MAX
                && id
                    .bytes()
                    .next()
                    .is_some_and(|b| b == b'"' || b == b'-' || b.is_ascii_digit());
        let Some(method) = asked.method.filter(|_| is_id) else {
            self.counts.sockets_malformed += 1;
            let why = "a frame has a `method`, and an `id` that is a number, a text or null, of 256 bytes at most";
            return self.refuse_frame(key, "null", Class::BadRequest, why, turn);
        };
        let is_cancel = method.contains("cancel");
        let call = venue::call(&method);
        if matches!(call, Call::Unsubscribe | Call::Subscriptions) {
            let wanted = asked.params.and_then(|params| params.subscription_id);
            return self.about_streams(key, id, call, wanted, turn);
        }
        let Some(connection) = self.connections.get(&key) else {
            return;
        };
        let Some(socket) = connection.socket.as_deref() else {
            return;
        };
        if call == Call::Subscribe && socket.subscriptions.len() >= SUBSCRIPTIONS_MAX {
            let why = "too many subscriptions on one connection; nothing was sent";
            return self.refuse_frame(key, id, Class::RateLimited, why, turn);
        }
        if let Some(why) = self.is_full(connection.source, is_cancel, turn) {
            self.counts.no_credit += 1;
            return self.refuse_frame(key, id, Class::NotAvailable, why, turn);
        }
        let (target, host) = (socket.target.clone(), socket.host.clone());
        let asked = Asked {
            host: Some(&host),
            method: FRAME_METHOD,
            target: &target,
            headers: Vec::new(),
            body: text.as_bytes(),
            own_id: Some(id),
            call,
        };
        let handed = self.hand_on(key, asked, turn);
        if handed.is_none() {
            let why = "the frame is too long";
            return self.refuse_frame(key, id, Class::BadRequest, why, turn);
        }
        if let Some(connection) = self.connections.get_mut(&key)
            && let Some(socket) = connection.socket.as_deref_mut()
        {
            socket.in_flight += 1;
        }
    }

    /// An answer that ingress itself gives to a frame.
    pub(super) fn refuse_frame(
        &mut self,
        key: Key,
        id: &str,
        class: Class,
        why: &str,
        turn: &mut super::Turn,
    ) {
        let Some(connection) = self.connections.get(&key) else {
            return;
        };
        let venue = self
            .listeners
            .get(usize::from(connection.listener))
            .map_or("", |listener| listener.venue.as_str());
        let (status, body) = venue::refuse(venue, class, why);
        self.say_answer(key, None, id, status, &body, turn);
    }

    /// A whole answer of the gate to a frame: status and JSON body, as of a REST call.
    pub(super) fn say_answer(
        &mut self,
        key: Key,
        seq: Option<u64>,
        id: &str,
        status: u16,
        body: &[u8],
        turn: &mut super::Turn,
    ) {
        let Some(connection) = self.connections.get(&key) else {
            return;
        };
        let Some(socket) = connection.socket.as_deref() else {
            return;
        };
        if socket.pipe.is_some() {
            let venue = self
                .listeners
                .get(usize::from(connection.listener))
                .map_or("", |listener| listener.venue.as_str());
            let (id, operation) = id.split_once('\n').unwrap_or((id, ""));
            let head = FrameHead {
                id: id.into(),
                operation: operation.into(),
            };
            let text = venue::frame_refusal(venue, &head, status, body);
            return self.say(key, u64::MAX, text.as_bytes(), 0, true, turn);
        }
        let mut text = Vec::with_capacity(body.len() + id.len() + 64);
        // Writing into a `Vec` cannot fail.
        let _ = write!(
            text,
            "{{\"id\":{id},\"status\":{status},\"{}\":",
            if status == 200 { "result" } else { "error" }
        );
        text.extend_from_slice(body);
        text.push(b'}');
        // A message of its own: no number of a request is as large.
        self.say(key, seq.unwrap_or(u64::MAX), &text, 0, true, turn);
    }

    /// A message for a program, whole or a part of one. `counted`: bytes of it that egress has counted against a window.
    pub(super) fn say(
        &mut self,
        key: Key,
        seq: u64,
        payload: &[u8],
        counted: usize,
        is_last: bool,
        turn: &mut super::Turn,
    ) {
        let Some(connection) = self.connections.get_mut(&key) else {
            return;
        };
        let Some(socket) = connection.socket.as_deref_mut() else {
            return;
        };
        if connection.state != State::Open {
            return;
        }
        self.out.clear();
        match socket.writing {
            None => {
                websocket::push(&mut self.out, Kind::Text, is_last, payload, None);
                socket.writing = (!is_last).then_some(seq);
            }
            Some(now) if now == seq => {
                websocket::push(&mut self.out, Kind::More, is_last, payload, None);
                if is_last {
                    socket.writing = None;
                }
            }
            Some(_) => {
                // INVARIANT: `behind_bytes` is the sum over all connections; `end` and the lines below keep it.
                self.behind_bytes += payload.len();
                let open = socket
                    .behind
                    .iter_mut()
                    .find(|it| it.seq == seq && !it.is_whole);
                let length = match open {
                    Some(it) => {
                        it.bytes.extend_from_slice(payload);
                        it.is_whole = is_last;
                        it.bytes.len()
                    }
                    None => {
                        socket.behind.push_back(Behind {
                            seq,
                            bytes: payload.to_vec(),
                            is_whole: is_last,
                        });
                        payload.len()
                    }
                };
                let too_much = length > ANSWER_WINDOW_BYTES as usize + 2 * SOCKET_ID_BYTES_MAX
                    || socket.behind.len() > 2 * SOCKET_IN_FLIGHT_MAX
                    || self.behind_bytes > SOCKET_BEHIND_BYTES_MAX;
                if too_much {
                    self.counts.slow_clients += 1;
                    self.end(key);
                }
                return;
            }
        }
        connection.owed = match socket.writing {
            Some(_) => connection
                .owed
                .saturating_add(u32::try_from(counted).unwrap_or(u32::MAX)),
            None => 0,
        };
        // What waited behind a message that is whole now.
        while socket.writing.is_none()
            && let Some(next) = socket.behind.pop_front()
        {
            self.behind_bytes = self.behind_bytes.saturating_sub(next.bytes.len());
            websocket::push(&mut self.out, Kind::Text, next.is_whole, &next.bytes, None);
            if !next.is_whole {
                socket.writing = Some(next.seq);
                connection.owed = u32::try_from(next.bytes.len()).unwrap_or(u32::MAX);
            }
        }
        let too_much = connection.owed > ANSWER_WINDOW_BYTES + 2 * SOCKET_ID_BYTES_MAX as u32;
        if too_much {
            // Egress does not keep to the window.
            self.counts.slow_clients += 1;
            return self.end(key);
        }
        socket.is_used = true;
        self.send_out(key, turn);
    }

    /// The message that is being written on a connection, for its window.
    pub(super) fn writing(&self, key: Key) -> Option<u64> {
        self.connections.get(&key)?.socket.as_deref()?.writing
    }

    /// A request of a WebSocket has its answer: there is room for another.
    pub(super) fn frame_landed(&mut self, key: Key, turn: &mut super::Turn) {
        let Some(connection) = self.connections.get_mut(&key) else {
            return;
        };
        let Some(socket) = connection.socket.as_deref_mut() else {
            return;
        };
        socket.in_flight = socket.in_flight.saturating_sub(1);
        if socket.is_leaving && socket.in_flight == 0 {
            return self.close_socket(key, GOING_AWAY, "the gate is ending", turn);
        }
        if connection.paused && connection.state == State::Open {
            connection.paused = false;
            turn.watch.push(key);
            let mut input = std::mem::take(&mut connection.input);
            self.partial_bytes = self.partial_bytes.saturating_sub(input.len());
            self.frames(key, &mut input, turn);
            self.keep(key, input);
        }
    }

    fn violated(&mut self, key: Key, violation: Violation, turn: &mut super::Turn) {
        self.counts.sockets_malformed += 1;
        self.close_socket(key, violation.code(), violation.name(), turn);
    }

    /// Says that the connection ends, and ends it once that is out. Its requests under way go on; their answers are dropped.
    pub(super) fn close_socket(
        &mut self,
        key: Key,
        code: u16,
        reason: &str,
        turn: &mut super::Turn,
    ) {
        let Some(connection) = self.connections.get_mut(&key) else {
            return;
        };
        if connection.state != State::Open {
            return;
        }
        self.out.clear();
        websocket::push_close(&mut self.out, code, reason, None);
        if connection.transport.send(&self.out).is_err() {
            return self.end(key);
        }
        connection.close = true;
        connection.linger = true;
        connection.paused = true;
        connection.state = State::Ending;
        connection.since_us = self.now_us;
        turn.watch.push(key);
        self.drained(key, turn);
    }

    /// The signer ends a connection.
    pub(super) fn close_by_policy(&mut self, key: Key, turn: &mut super::Turn) {
        let why = "the key was revoked, has expired, or is locked";
        self.close_socket(key, POLICY, why, turn);
    }

    /// A stream is open: it gets a number that is its connection's own.
    pub(super) fn subscribed(&mut self, key: Key, seq: u64, id: &str, turn: &mut super::Turn) {
        let number = self
            .connections
            .get_mut(&key)
            .filter(|it| it.state == State::Open)
            .and_then(|it| it.socket.as_deref_mut())
            .map(|socket| {
                let number = socket.next_subscription;
                socket.next_subscription = number.wrapping_add(1);
                socket.subscriptions.push((seq, number));
                number
            });
        match number {
            Some(number) => {
                self.streams.insert(seq, key);
                let body = format!("{{\"subscriptionId\":{number}}}");
                self.say_answer(key, Some(seq), id, 200, body.as_bytes(), turn);
            }
            None => self.left.push(seq),
        }
        self.landed(seq);
        self.frame_landed(key, turn);
    }

    /// What a program asks about the streams of its own connection.
    fn about_streams(
        &mut self,
        key: Key,
        id: &str,
        call: Call,
        wanted: Option<u32>,
        turn: &mut super::Turn,
    ) {
        let Some(socket) = self
            .connections
            .get_mut(&key)
            .and_then(|it| it.socket.as_deref_mut())
        else {
            return;
        };
        let body = if call == Call::Unsubscribe {
            let (left, kept) = std::mem::take(&mut socket.subscriptions)
                .into_iter()
                .partition(|(_, number)| wanted.is_none_or(|wanted| wanted == *number));
            socket.subscriptions = kept;
            let left: Vec<(u64, u32)> = left;
            for (seq, _) in &left {
                self.streams.remove(seq);
                self.left.push(*seq);
            }
            "{}".to_owned()
        } else {
            let all: Vec<String> = socket
                .subscriptions
                .iter()
                .map(|(_, number)| format!("{{\"subscriptionId\":{number}}}"))
                .collect();
            format!("[{}]", all.join(","))
        };
        self.say_answer(key, None, id, 200, body.as_bytes(), turn);
    }

    /// What a venue says on a stream.
    pub fn push(&mut self, push: &Push<'_>, turn: &mut super::Turn) {
        let key = match push.id.epoch == self.epoch {
            true => self.streams.get(&push.id.seq).copied(),
            false => return,
        };
        let Some(key) = key else {
            // Nobody has it any more.
            return self.unwanted(push.id.seq);
        };
        if self.is_pipe(key) {
            self.counts.pushes += 1;
            return self.say(key, push.id.seq, push.body, 0, !push.more, turn);
        }
        let number = self
            .connections
            .get(&key)
            .and_then(|it| it.socket.as_deref())
            .and_then(|socket| {
                socket
                    .subscriptions
                    .iter()
                    .find(|(seq, _)| *seq == push.id.seq)
            })
            .map(|(_, number)| *number);
        let Some(number) = number else { return };
        self.counts.pushes += 1;
        let mut text = format!("{{\"subscriptionId\":{number},\"event\":").into_bytes();
        text.extend_from_slice(push.body);
        text.push(b'}');
        // A message of its own: no number of a request is as large.
        self.say(key, u64::MAX, &text, 0, true, turn);
    }

    /// A stream has ended: so does its program's connection, as it would at the venue.
    pub fn stream_ended(&mut self, ended: &StreamEnded, turn: &mut super::Turn) {
        if ended.id.epoch != self.epoch {
            return;
        }
        if let Some(key) = self.streams.remove(&ended.id.seq) {
            let why = match self.is_pipe(key) {
                true => ended.why.as_str(),
                false => "the venue ended the stream; subscribe again",
            };
            self.close_socket(key, ended.code.unwrap_or(GOING_AWAY), why, turn);
        }
    }

    /// Egress is gone, and the streams with it.
    pub(super) fn streams_lost(&mut self, turn: &mut super::Turn) {
        let mut keys: Vec<Key> = self.streams.drain().map(|(_, key)| key).collect();
        keys.sort_unstable();
        keys.dedup();
        for key in keys {
            let why = "a part of the gate restarted; subscribe again";
            self.close_socket(key, GOING_AWAY, why, turn);
        }
    }

    pub(super) fn logged_on(&mut self, key: Key) {
        if let Some(connection) = self.connections.get_mut(&key)
            && let Some(socket) = connection.socket.as_deref_mut()
        {
            socket.is_logged_on = true;
        }
    }

    /// The signer that knew who had logged on is gone: their connections end, so that their programs log on again. What is
    /// under way on them goes on.
    pub(super) fn sessions_lost(&mut self, turn: &mut super::Turn) {
        let logged_on: Vec<Key> = self
            .connections
            .iter()
            .filter(|(_, it)| it.socket.as_deref().is_some_and(|it| it.is_logged_on))
            .map(|(key, _)| *key)
            .collect();
        for key in logged_on {
            let why = "a part of the gate restarted; log on again";
            self.close_socket(key, GOING_AWAY, why, turn);
        }
    }

    /// The room ends: WebSockets without a request under way are told at once, the others after their answers.
    pub(super) fn leave_sockets(&mut self, turn: &mut super::Turn) {
        let mut quiet = Vec::new();
        for (key, connection) in &mut self.connections {
            if let Some(socket) = connection.socket.as_deref_mut() {
                match socket.in_flight {
                    0 => quiet.push(*key),
                    _ => socket.is_leaving = true,
                }
            }
        }
        for key in quiet {
            self.close_socket(key, GOING_AWAY, "the gate is ending", turn);
        }
    }

    /// Looks at the deadlines of WebSockets, and says when to look again: `true`: soon; a moment: the first that will have
    /// been quiet for long.
    pub(super) fn tick_sockets(&mut self, turn: &mut super::Turn) -> (bool, Option<u64>) {
        let now = self.now_us;
        let (mut soon, mut first): (bool, Option<u64>) = (false, None);
        let (mut ask, mut late, mut gone) = (Vec::new(), Vec::new(), Vec::new());
        for (key, connection) in &self.connections {
            let Some(socket) = connection.socket.as_deref() else {
                continue;
            };
            if connection.state != State::Open {
                continue;
            }
            let quiet = now.saturating_sub(socket.heard_us);
            let is_pending = connection.transport.is_pending();
            if !socket.is_quiet() || is_pending {
                soon = true;
            }
            if is_pending && now.saturating_sub(connection.since_us) > super::STALL_US_MAX {
                gone.push(*key);
            } else if socket
                .partial_us
                .is_some_and(|since| now.saturating_sub(since) > REQUEST_US_MAX)
            {
                late.push(*key);
            } else if quiet > 2 * SOCKET_QUIET_US_MAX {
                gone.push(*key);
            } else if quiet > SOCKET_QUIET_US_MAX && !socket.is_asked {
                ask.push(*key);
            }
            let next = match quiet > SOCKET_QUIET_US_MAX {
                true => socket.heard_us.saturating_add(2 * SOCKET_QUIET_US_MAX),
                false => socket.heard_us.saturating_add(SOCKET_QUIET_US_MAX),
            };
            first = Some(first.map_or(next, |at| at.min(next)));
        }
        for key in ask {
            if let Some(connection) = self.connections.get_mut(&key)
                && let Some(socket) = connection.socket.as_deref_mut()
            {
                socket.is_asked = true;
            }
            self.out.clear();
            websocket::push(&mut self.out, Kind::Ping, true, b"", None);
            self.send_out(key, turn);
        }
        for key in late {
            self.counts.timed_out += 1;
            let why = "the frame did not arrive whole within 10 seconds; send it at once";
            self.close_socket(key, POLICY, why, turn);
        }
        for key in gone {
            self.counts.slow_clients += 1;
            self.end(key);
        }
        (soon, first)
    }

    /// A WebSocket has ended: its requests are forgotten, and the other rooms are told.
    pub(super) fn socket_ended(&mut self, key: Key, socket: &Socket) {
        self.partial_bytes = self.partial_bytes.saturating_sub(socket.kept);
        self.behind_bytes = self.behind_bytes.saturating_sub(socket.behind_bytes());
        self.gone.push(key);
        if let Some(seq) = socket.pipe
            && self.streams.remove(&seq).is_some()
        {
            self.left.push(seq);
        }
        for (seq, _) in &socket.subscriptions {
            if self.streams.remove(seq).is_some() {
                self.left.push(*seq);
            }
        }
    }

    /// Tells the other rooms which WebSockets and streams have ended. Once a turn, before its frames leave.
    pub fn farewells(&mut self, turn: &mut super::Turn) {
        for connection in self.gone.drain(..) {
            let gone = Gone { connection };
            crate::neighbour::put(&mut turn.to_signer, kind::GONE, &gone);
        }
        for seq in self.left.drain(..) {
            let id = RequestId {
                epoch: self.epoch,
                seq,
            };
            crate::neighbour::put(&mut turn.to_egress, kind::LEAVE, &Leave { id });
        }
    }
}
