//! Egress' WebSocket connections to venues. Many requests are under way on one, each under an id of ours that no two ever
//! have, so that an answer belongs to exactly one of them. A connection is kept while it is used, answers pings, is asked
//! itself when the venue falls silent, and gives way to a new one before the venue ends it after a day.
//!
//! At most once, as everywhere: a frame that was handed to a connection, or of which a byte may have left, is never sent
//! again; when the connection ends it is `MaybeSent`. Signed requests and public ones have connections of their own, so that
//! a market's long answer delays no order and ends no order's connection.
//!
//! A pipe is the one WebSocket at the venue of one WebSocket of a program: opened at its word, never anew, with the ids that
//! the program gave, and it ends when either end does.

use super::{
    ANSWER_US_MAX, CONNECT_US_MAX, INGRESS_BYTES_MAX, Job, Key, SLOW_CONNECT_US, Turn, Upstream,
    kind_name,
};
use crate::answer::Head;
use crate::neighbour::put;
use crate::transport::{Received, Transport};
use crate::venue;
use crate::watch::Change;
use crate::websocket::{self, Decoder, Event, From, Kind};
use portcullis_model::id::{EntryId, RequestId};
use portcullis_model::report::Sent;
use portcullis_model::wire::{
    CHUNK_BYTES_MAX, Lane, Leave, Push, SUMMARY_BYTES_MAX, StreamEnded, Told, kind,
};
use portcullis_room::poll::Interest;
use portcullis_venues::Asked;
use std::collections::HashMap;
use std::fmt::Write;

/// WebSockets of one kind to one host at most.
pub const SOCKETS_PER_HOST_MAX: usize = 4;
/// Requests under way on one WebSocket before another is opened, and at most on the last one.
pub const FRAMES_PER_SOCKET: usize = 64;
pub const FRAMES_PER_SOCKET_MAX: usize = 512;
/// A WebSocket is replaced at this age: venues end them after 24 hours.
pub const SOCKET_AGE_US_MAX: u64 = 23 * 3_600_000_000;
/// A WebSocket without a request for this long is closed.
pub const SOCKET_IDLE_US_MAX: u64 = 900_000_000;
/// After so long without a byte the venue is asked whether it is there; venues that ping do so more often.
const QUIET_US: u64 = 60_000_000;
/// And how long it has for its answer.
const QUIET_ANSWER_US: u64 = 15_000_000;
/// A public answer at most; one to a signed request is held to `SUMMARY_BYTES_MAX`, as over HTTP.
const PUBLIC_BYTES_MAX: usize = 32 << 20;
/// The handshake's answer at most.
const HANDSHAKE_BYTES_MAX: usize = 16_384;

/// Streams to one host at most: each has a WebSocket of its own. The next one is `NotSent`.
pub const STREAMS_PER_HOST_MAX: usize = 256;

/// Pipes to one host at most, and WebSockets of all kinds opened to it within [`OPENINGS_US`] before a program gets no more of
/// its own: venues bound both, and ban an address that goes beyond (Binance: 300 connections in five minutes). Those that
/// orders share are few, and are not held up.
pub const PIPES_PER_HOST_MAX: usize = 512;
pub const OPENINGS_MAX: usize = 200;
pub const OPENINGS_US: u64 = 300_000_000;
/// Frames of one pipe that wait for their answer at most.
pub const PIPE_FRAMES_MAX: usize = 256;
/// A message of a venue on a pipe at most.
pub const PIPE_BYTES_MAX: usize = 4 << 20;

/// What a WebSocket is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Signed,
    Public,
    /// What this request subscribes to.
    Stream(RequestId),
    /// The pipe that this request opened.
    Pipe(RequestId),
}

impl Class {
    fn of(job: &Job) -> Self {
        match job.lane {
            _ if job.stream => Self::Stream(job.id),
            _ if job.pipe.is_some() => Self::Pipe(job.pipe.unwrap_or(job.id)),
            Lane::Public => Self::Public,
            _ => Self::Signed,
        }
    }
}

#[derive(Debug)]
pub(super) struct Socket {
    transport: Transport,
    pub(super) host: usize,
    class: Class,
    /// What the handshake is made with, and what must come back.
    target: Box<[u8]>,
    accept: String,
    /// TLS is agreed on, and the handshake is out.
    is_asked: bool,
    /// The venue has changed to WebSocket.
    is_open: bool,
    /// Nothing more is sent on it; it ends when it has its answers.
    is_retiring: bool,
    /// The endpoint that opened a stream, or a pipe, which goes on.
    streams: Option<u16>,
    /// The request that opens a pipe, until it is open.
    pub(super) opening: Option<Job>,
    /// Frames of a pipe under way, by their ids.
    ids: HashMap<Box<str>, u64>,
    /// Something of an account was sent on a pipe: the signer is told what is said there.
    is_private: bool,
    /// The code of the venue's close.
    close_code: Option<u16>,
    decoder: Decoder,
    input: Vec<u8>,
    /// Under way, by the number in their id.
    pub(super) jobs: HashMap<u64, Job>,
    made_us: u64,
    /// When a request was sent last, or it opened.
    used_us: u64,
    heard_us: u64,
    pinged_us: u64,
    watched: Option<Interest>,
}

/// What came in a read, apart from the connection that it came by.
enum Heard {
    Text(String),
    Pong(Vec<u8>),
    Closed(Option<u16>),
    Broken(&'static str),
}

impl Upstream {
    /// Gives waiting jobs to WebSockets, and makes some for the rest.
    pub(super) fn serve_frames(&mut self, host: usize, turn: &mut Turn) {
        let mut kept: Vec<Job> = Vec::new();
        // What nothing can be sent for now, and where its first job wants a WebSocket.
        let mut waits: Vec<(Class, Vec<u8>)> = Vec::new();
        loop {
            let Some(place) = self.places.get_mut(host) else {
                return;
            };
            let Some(job) = place.pop() else { break };
            let why = if job.not_after_us != 0 && self.now_us > job.not_after_us {
                "too_late"
            } else if place.budgets.of(job.apart).banned_until_us() > self.now_us {
                "venue_asked_to_wait"
            } else if job.pipe == Some(job.id) {
                self.open_pipe(host, job, turn);
                continue;
            } else if job.pipe.is_some_and(|pipe| self.pipe(pipe).is_none()) {
                "pipe_closed"
            } else {
                let class = Class::of(&job);
                let found = match waits.iter().any(|(waiting, _)| *waiting == class) {
                    true => None,
                    false => self.socket_for(host, class, &job),
                };
                match found {
                    Some(key) if job.pipe.is_some() => self.write_pipe(key, job, turn),
                    Some(key) => self.write_frame(key, job, turn),
                    None => {
                        let target = job.bytes.get(job.target.clone()).unwrap_or_default();
                        if !waits.iter().any(|(waiting, _)| *waiting == class) {
                            waits.push((class, target.to_vec()));
                        }
                        kept.push(job);
                    }
                }
                continue;
            };
            self.fail(job, Sent::NotSent, why, turn);
        }
        let Some(place) = self.places.get_mut(host) else {
            return;
        };
        for job in kept.into_iter().rev() {
            place.push(job, true);
        }
        for (class, target) in waits {
            if !matches!(class, Class::Pipe(_)) && !self.open_socket(host, class, &target, turn) {
                return;
            }
        }
    }

    /// The WebSocket of a pipe.
    fn pipe(&self, id: RequestId) -> Option<Key> {
        let mut all = self.sockets.iter();
        all.find(|(_, socket)| socket.class == Class::Pipe(id))
            .map(|(key, _)| *key)
    }

    /// Begins a pipe's WebSocket. It is tried once: whether to try again is its program's affair.
    fn open_pipe(&mut self, host: usize, job: Job, turn: &mut Turn) {
        let id = job.id;
        let pipes = self
            .sockets
            .values()
            .filter(|it| it.host == host && matches!(it.class, Class::Pipe(_)));
        let (count, now) = (pipes.count(), self.now_us);
        let Some(place) = self.places.get_mut(host) else {
            return self.fail(job, Sent::NotSent, "release_changed", turn);
        };
        if count >= PIPES_PER_HOST_MAX || !place.takes_another(now) {
            return self.fail(job, Sent::NotSent, "venue_connections", turn);
        }
        if !self.may_connect(host, turn) {
            return self.fail(job, Sent::NotSent, "connections_fail", turn);
        }
        let target = job
            .bytes
            .get(job.target.clone())
            .unwrap_or_default()
            .to_vec();
        let class = Class::Pipe(id);
        match self.dial_socket(host, class, &target, turn) {
            Ok(key) => {
                if let Some(socket) = self.sockets.get_mut(&key) {
                    socket.opening = Some(job);
                }
            }
            Err(why) => {
                self.in_vain(host, now);
                self.fail(job, Sent::NotSent, &why, turn);
                self.unreachable(host, &why, turn);
            }
        }
    }

    /// A pipe is open: its program is told before it hears anything of it.
    fn pipe_opened(&mut self, key: Key, turn: &mut Turn) {
        let Some(socket) = self.sockets.get_mut(&key) else {
            return;
        };
        let Some(mut job) = socket.opening.take() else {
            return;
        };
        socket.streams = Some(job.endpoint);
        self.pipe_handed_over(&mut job, 101, turn);
    }

    /// Nothing that the gate waits for comes back for this: it is `Sent` by being handed to the connection.
    fn pipe_handed_over(&mut self, job: &mut Job, status: u16, turn: &mut Turn) {
        if let Some(place) = self.places.get_mut(job.host) {
            let budget = place.budgets.of(job.apart);
            budget.finished(std::mem::take(&mut job.weight));
        }
        let (id, entry) = (job.id, job.entry);
        let took = self.now_us.saturating_sub(job.started_us);
        self.finish(id, entry, Sent::Sent, status, Vec::new(), None, took, turn);
        self.pass_on(id, &Head::of_frame(status), Vec::new(), turn);
    }

    /// Writes a program's frame on its pipe, as the signer made it.
    fn write_pipe(&mut self, key: Key, mut job: Job, turn: &mut Turn) {
        job.started_us = self.now_us;
        let Some(socket) = self.sockets.get_mut(&key) else {
            return self.fail(job, Sent::NotSent, "pipe_closed", turn);
        };
        let place = self.places.get(socket.host);
        let Some(place) = place.filter(|_| job.host == socket.host) else {
            return self.fail(job, Sent::NotSent, "release_changed", turn);
        };
        let frame = job.bytes.get(job.body..).unwrap_or_default();
        let Some((text, mask)) = std::str::from_utf8(frame).ok().zip(random()) else {
            return self.fail(job, Sent::NotSent, "no_frame", turn);
        };
        // Of what changes something the venue's answer is awaited: it must be known by its id.
        let id: Option<Box<str>> = match job.summarize {
            true => match venue::frame_head(&place.facts.venue, text) {
                Some(head) if head.id == "null" || socket.ids.contains_key(&*head.id) => {
                    return self.fail(job, Sent::NotSent, "id_in_use", turn);
                }
                Some(_) if socket.ids.len() >= PIPE_FRAMES_MAX => {
                    return self.fail(job, Sent::NotSent, "too_many_waiting", turn);
                }
                Some(head) => Some(head.id.into()),
                None => return self.fail(job, Sent::NotSent, "no_frame", turn),
            },
            false => None,
        };
        socket.used_us = self.now_us;
        socket.is_private |= job.account.is_some();
        self.out.clear();
        websocket::push(&mut self.out, Kind::Text, true, frame, Some(mask));
        socket.transport.mark();
        let written = socket.transport.send(&self.out);
        let is_pending = socket.transport.is_pending();
        let touched = written.is_ok() || socket.transport.touched();
        match (touched, id) {
            (false, _) => self.fail(job, Sent::NotSent, "pipe_closed", turn),
            (true, Some(id)) => {
                let number = self.next_frame;
                self.next_frame += 1;
                socket.ids.insert(id, number);
                socket.jobs.insert(number, job);
            }
            (true, None) if written.is_ok() => self.pipe_handed_over(&mut job, 200, turn),
            (true, None) => self.fail(job, Sent::MaybeSent, "pipe_closed", turn),
        }
        if let Err(error) = written {
            return self.drop_socket(key, kind_name(&error), turn);
        }
        if is_pending {
            turn.watch.push(key);
        }
    }

    /// A message of a venue on a pipe: the signer is told what it says first, and then the program gets it as it is.
    fn pipe_heard(&mut self, key: Key, text: &str, turn: &mut Turn) {
        let Some(socket) = self.sockets.get_mut(&key) else {
            return;
        };
        let (Class::Pipe(id), Some(endpoint)) = (socket.class, socket.streams) else {
            return;
        };
        let host = socket.host;
        let mut answers = None;
        if socket.is_private
            && let Some(place) = self.places.get_mut(host)
        {
            let answered = match socket.ids.is_empty() {
                true => None,
                false => venue::answered(&place.facts.venue, text),
            };
            answers = answered.and_then(|said| {
                let number = socket.ids.remove(&*said.id)?;
                Some((socket.jobs.remove(&number)?, said))
            });
            if let Some((job, said)) = &mut answers {
                let budget = place.budgets.of(job.apart);
                budget.finished(std::mem::take(&mut job.weight));
                if matches!(said.status, 429 | 418) {
                    let (apart, status) = (job.apart, said.status);
                    place.budgets.refused(apart, status, None, self.now_us);
                    self.asked_to_wait(host, apart, status, turn);
                }
            } else {
                let reports = venue::summarize_event(endpoint, text.as_bytes());
                if !reports.is_empty() {
                    let ended = false;
                    let told = Told { id, reports, ended };
                    put(&mut turn.to_signer, kind::TOLD, &told);
                }
            }
        }
        if let Some((job, said)) = answers {
            let asked = Asked {
                target: job.bytes.get(job.target.clone()).unwrap_or_default(),
                body: job.bytes.get(job.body..).unwrap_or_default(),
            };
            let body = said.body.as_bytes();
            let reports = venue::summarize(job.endpoint, asked, said.status, body);
            let (id, entry, status) = (job.id, job.entry, said.status);
            let took = self.now_us.saturating_sub(job.started_us);
            self.finish(id, entry, Sent::Sent, status, reports, None, took, turn);
            // The message itself follows like any other.
            self.pass_on(id, &Head::of_frame(200), Vec::new(), turn);
        }
        if !self.reaches_ingress(id) {
            return;
        }
        if turn.ingress_waiting + turn.to_ingress.len() + text.len() > INGRESS_BYTES_MAX {
            self.counts.answers_dropped += 1;
            return self.drop_socket(key, "too_many_large_answers", turn);
        }
        let mut parts = text.as_bytes().chunks(CHUNK_BYTES_MAX).peekable();
        while let Some(part) = parts.next() {
            let push = Push {
                id,
                body: part.into(),
                more: parts.peek().is_some(),
            };
            put(&mut turn.to_ingress, kind::PUSH, &push);
        }
    }

    /// Makes one more WebSocket if there may be one. `false`: the host has no address, or fails.
    fn open_socket(&mut self, host: usize, class: Class, target: &[u8], turn: &mut Turn) -> bool {
        let of_class =
            |socket: &&Socket| socket.host == host && socket.class == class && !socket.is_retiring;
        let count = self.sockets.values().filter(of_class).count();
        let is_opening = self
            .sockets
            .values()
            .filter(of_class)
            .any(|socket| !socket.is_open);
        let most = match class {
            Class::Signed | Class::Public => SOCKETS_PER_HOST_MAX,
            Class::Stream(_) | Class::Pipe(_) => 1,
        };
        if is_opening || count >= most {
            return true;
        }
        if !self.may_connect(host, turn) {
            return false;
        }
        match self.dial_socket(host, class, target, turn) {
            Ok(_) => true,
            Err(why) => {
                self.in_vain(host, self.now_us);
                self.unreachable(host, &why, turn);
                false
            }
        }
    }

    fn dial_socket(
        &mut self,
        host: usize,
        class: Class,
        target: &[u8],
        turn: &mut Turn,
    ) -> Result<Key, String> {
        let transport = self.dial(host)?;
        if let Some(place) = self.places.get_mut(host) {
            place.openings.push_back(self.now_us);
        }
        let key = self.next_key;
        self.next_key += 1;
        let message_bytes_max = match class {
            Class::Signed | Class::Stream(_) => SUMMARY_BYTES_MAX,
            Class::Public => PUBLIC_BYTES_MAX,
            Class::Pipe(_) => PIPE_BYTES_MAX,
        };
        let now = self.now_us;
        self.sockets.insert(
            key,
            Socket {
                transport,
                host,
                class,
                target: target.into(),
                accept: String::new(),
                is_asked: false,
                is_open: false,
                is_retiring: false,
                streams: None,
                opening: None,
                ids: HashMap::new(),
                is_private: false,
                close_code: None,
                decoder: Decoder::new(From::Venue, message_bytes_max),
                input: Vec::new(),
                jobs: HashMap::new(),
                made_us: now,
                used_us: now,
                heard_us: now,
                pinged_us: 0,
                watched: None,
            },
        );
        turn.watch.push(key);
        Ok(key)
    }

    /// The WebSocket that takes this job: the least busy one that is open and has written everything.
    fn socket_for(&self, host: usize, class: Class, job: &Job) -> Option<Key> {
        if let Class::Pipe(id) = class {
            let key = self.pipe(id)?;
            let socket = self.sockets.get(&key)?;
            let is_free = socket.is_open && !socket.transport.is_pending();
            return is_free.then_some(key);
        }
        let target = job.bytes.get(job.target.clone()).unwrap_or_default();
        let all = || {
            self.sockets.iter().filter(|(_, socket)| {
                socket.host == host
                    && socket.class == class
                    && *socket.target == *target
                    && !socket.is_retiring
            })
        };
        let (key, socket) = all()
            .filter(|(_, socket)| socket.is_open && !socket.transport.is_pending())
            .min_by_key(|(_, socket)| socket.jobs.len())?;
        let may_open = all().count() < SOCKETS_PER_HOST_MAX;
        let most = match may_open {
            true => FRAMES_PER_SOCKET,
            false => FRAMES_PER_SOCKET_MAX,
        };
        (socket.jobs.len() < most).then_some(*key)
    }

    fn write_frame(&mut self, key: Key, mut job: Job, turn: &mut Turn) {
        job.started_us = self.now_us;
        let number = self.next_frame;
        self.next_frame += 1;
        let mut text = String::with_capacity(job.bytes.len() + 32);
        // Writing into a `String` cannot fail.
        let _ = write!(text, "{{\"id\":\"{number:x}\",");
        let frame = job.bytes.get(job.body..).unwrap_or_default();
        // The signer's frames are objects in UTF-8: what follows the brace is the rest of one.
        let rest = frame
            .get(1..)
            .and_then(|rest| std::str::from_utf8(rest).ok());
        let (Some(rest), Some(mask)) = (rest, random()) else {
            return self.fail(job, Sent::NotSent, "no_frame", turn);
        };
        text.push_str(rest);
        let Some(socket) = self.sockets.get_mut(&key) else {
            return self.again(job, turn);
        };
        socket.used_us = self.now_us;
        self.out.clear();
        websocket::push(&mut self.out, Kind::Text, true, text.as_bytes(), Some(mask));
        socket.transport.mark();
        let written = socket.transport.send(&self.out);
        match written {
            Ok(()) => {
                socket.jobs.insert(number, job);
                if socket.transport.is_pending() {
                    turn.watch.push(key);
                }
            }
            Err(error) => {
                match socket.transport.touched() {
                    true => {
                        socket.jobs.insert(number, job);
                    }
                    false => self.again(job, turn),
                }
                self.drop_socket(key, kind_name(&error), turn);
            }
        }
    }

    pub(super) fn is_socket(&self, key: Key) -> bool {
        self.sockets.contains_key(&key)
    }

    /// The loop says that a WebSocket can be read from, written to, or both.
    pub(super) fn socket_ready(
        &mut self,
        key: Key,
        readable: bool,
        writable: bool,
        turn: &mut Turn,
    ) {
        if writable
            && let Some(socket) = self.sockets.get_mut(&key)
            && (socket.transport.is_pending() || !socket.is_asked)
        {
            let (was_pending, host) = (socket.transport.is_pending(), socket.host);
            match socket.transport.flush() {
                Ok(drained) if was_pending && drained => {
                    turn.watch.push(key);
                    self.serve(host, turn);
                }
                Ok(_) => {}
                Err(error) => return self.drop_socket(key, kind_name(&error), turn),
            }
        }
        if readable {
            self.read_socket(key, turn);
        }
        self.ask(key, turn);
    }

    /// Sends the opening handshake once TLS is agreed on.
    fn ask(&mut self, key: Key, turn: &mut Turn) {
        let Some(socket) = self.sockets.get_mut(&key) else {
            return;
        };
        if socket.is_asked || socket.transport.is_handshaking() {
            return;
        }
        let name = self
            .places
            .get(socket.host)
            .map_or("", |place| place.facts.name.as_str());
        let mut random = [0; 16];
        if aws_lc_rs::rand::fill(&mut random).is_err() {
            return self.drop_socket(key, "no_random", turn);
        }
        let key_text = websocket::key_of(&random);
        socket.accept = websocket::accept_of(key_text.as_bytes());
        socket.is_asked = true;
        let mut request = b"GET ".to_vec();
        request.extend_from_slice(&socket.target);
        request.extend_from_slice(b" HTTP/1.1\r\nHost: ");
        request.extend_from_slice(name.as_bytes());
        request.extend_from_slice(
            b"\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ",
        );
        request.extend_from_slice(key_text.as_bytes());
        request.extend_from_slice(b"\r\n\r\n");
        let sent = socket.transport.send(&request);
        turn.watch.push(key);
        if let Err(error) = sent {
            self.drop_socket(key, kind_name(&error), turn);
        }
    }

    fn read_socket(&mut self, key: Key, turn: &mut Turn) {
        let Some(socket) = self.sockets.get_mut(&key) else {
            return;
        };
        let received = socket
            .transport
            .receive(&mut self.scratch, &mut socket.input);
        let pending = socket.transport.is_pending();
        match received {
            Ok(Received::Bytes(0)) => {
                if pending {
                    turn.watch.push(key);
                }
            }
            Ok(Received::Bytes(_)) => {
                socket.heard_us = self.now_us;
                socket.pinged_us = 0;
                self.hear(key, turn);
                let ended = |socket: &Socket| socket.transport.has_ended();
                if self.sockets.get(&key).is_some_and(ended) {
                    self.drop_socket(key, "venue_closed", turn);
                }
            }
            Ok(Received::Closed) => self.drop_socket(key, "venue_closed", turn),
            Err(error) => self.drop_socket(key, kind_name(&error), turn),
        }
    }

    /// Takes what has arrived: the handshake's answer, then frames.
    fn hear(&mut self, key: Key, turn: &mut Turn) {
        let Some(socket) = self.sockets.get_mut(&key) else {
            return;
        };
        if !socket.is_open {
            match opened(&socket.input, &socket.accept) {
                Ok(None) if socket.input.len() < HANDSHAKE_BYTES_MAX => return,
                Ok(None) => return self.drop_socket(key, "handshake_refused", turn),
                Err(refused) => return self.refused_socket(key, refused, turn),
                Ok(Some(used)) => {
                    socket.input.drain(..used);
                    socket.is_open = true;
                    socket.used_us = self.now_us;
                    let host = socket.host;
                    self.counts.sockets_opened += 1;
                    if let Some(place) = self.places.get_mut(host) {
                        place.connecting = place.connecting.saturating_sub(1);
                        place.slow = place.slow.min(place.connecting);
                        (place.in_vain, place.retry_us) = (0, 0);
                    }
                    self.pipe_opened(key, turn);
                    self.serve(host, turn);
                }
            }
        }
        let mut heard = Vec::new();
        let Some(socket) = self.sockets.get_mut(&key) else {
            return;
        };
        let mut at = 0;
        loop {
            heard.push(match socket.decoder.next(&mut socket.input, &mut at) {
                Ok(None) => break,
                Ok(Some(Event::Text(text))) => Heard::Text(text.to_owned()),
                Ok(Some(Event::Ping(payload))) => Heard::Pong(payload.to_vec()),
                Ok(Some(Event::Pong)) => continue,
                Ok(Some(Event::Close(code))) => Heard::Closed(code),
                Err(violation) => Heard::Broken(violation.name()),
            });
            if matches!(heard.last(), Some(Heard::Closed(_) | Heard::Broken(_))) {
                break;
            }
        }
        socket.input.drain(..at.min(socket.input.len()));
        if socket.input.is_empty() && socket.input.capacity() > super::INPUT_BYTES_KEPT {
            socket.input = Vec::new();
        }
        for what in heard {
            match what {
                Heard::Text(text) => self.frame_heard(key, &text, turn),
                Heard::Pong(payload) => self.say(key, Kind::Pong, &payload, turn),
                Heard::Closed(code) => {
                    if let Some(socket) = self.sockets.get_mut(&key) {
                        socket.close_code = code;
                    }
                    self.say(key, Kind::Close, &[], turn);
                    self.drop_socket(key, "venue_closed", turn);
                }
                Heard::Broken(why) => {
                    self.counts.answers_broken += 1;
                    self.drop_socket(key, why, turn);
                }
            }
        }
    }

    /// A control frame of ours.
    fn say(&mut self, key: Key, what: Kind, payload: &[u8], turn: &mut Turn) {
        let Some(mask) = random() else { return };
        let Some(socket) = self.sockets.get_mut(&key) else {
            return;
        };
        self.out.clear();
        websocket::push(&mut self.out, what, true, payload, Some(mask));
        let sent = socket.transport.send(&self.out);
        if socket.transport.is_pending() {
            turn.watch.push(key);
        }
        if let Err(error) = sent {
            self.drop_socket(key, kind_name(&error), turn);
        }
    }

    /// One message of a venue.
    fn frame_heard(&mut self, key: Key, text: &str, turn: &mut Turn) {
        let Some(socket) = self.sockets.get_mut(&key) else {
            return;
        };
        if matches!(socket.class, Class::Pipe(_)) {
            return self.pipe_heard(key, text, turn);
        }
        let host = socket.host;
        let Some(place) = self.places.get_mut(host) else {
            return;
        };
        let Some(said) = venue::frame(&place.facts.venue, text) else {
            self.counts.answers_broken += 1;
            return self.drop_socket(key, "a frame of the venue is not understood", turn);
        };
        if said.is_farewell {
            socket.is_retiring = true;
            return self.retired(key, turn);
        }
        if let (Some(event), Some(endpoint), Class::Stream(id)) =
            (said.event, socket.streams, socket.class)
        {
            return self.told(key, id, endpoint, event, turn);
        }
        let Some(mut job) = said.number.and_then(|number| socket.jobs.remove(&number)) else {
            if said.is_about_connection {
                // It says that something is wrong, and not with what: nobody knows what is answered.
                return self.drop_socket(key, "venue_error", turn);
            }
            // Its request was given up, or it is nobody's.
            self.counts.frames_unasked += 1;
            return;
        };
        let status = said.status;
        let budget = place.budgets.of(job.apart);
        budget.finished(std::mem::take(&mut job.weight));
        let orders = job.account.zip(said.orders_10s);
        budget.reported(said.weight_1m, orders, self.now_us, self.wall_us);
        if matches!(status, 429 | 418) {
            let after = said.retry_at_ms.map(|at| {
                at.saturating_mul(1_000)
                    .saturating_sub(self.wall_us)
                    .div_ceil(1_000_000)
            });
            place.budgets.refused(job.apart, status, after, self.now_us);
            self.asked_to_wait(host, job.apart, status, turn);
        }
        let reports = match job.summarize {
            true => {
                let asked = Asked {
                    target: job.bytes.get(job.target.clone()).unwrap_or_default(),
                    body: job.bytes.get(job.body..).unwrap_or_default(),
                };
                venue::summarize(job.endpoint, asked, status, said.body.as_bytes())
            }
            false => Vec::new(),
        };
        let took = self.now_us.saturating_sub(job.started_us);
        if job.stream
            && let Some(socket) = self.sockets.get_mut(&key)
        {
            socket.streams = (status == 200).then_some(job.endpoint);
            socket.is_retiring |= status != 200;
        }
        self.finish(
            job.id,
            job.entry,
            Sent::Sent,
            status,
            reports,
            None,
            took,
            turn,
        );
        self.pass_on(
            job.id,
            &Head::of_frame(status),
            said.rest.into_owned().into_bytes(),
            turn,
        );
        self.retired(key, turn);
        self.serve(host, turn);
    }

    /// What a venue says on a stream: the signer is told first.
    fn told(&mut self, key: Key, id: RequestId, endpoint: u16, event: &str, turn: &mut Turn) {
        let reports = venue::summarize_event(endpoint, event.as_bytes());
        if !reports.is_empty() {
            let told = Told {
                id,
                reports,
                ended: false,
            };
            put(&mut turn.to_signer, kind::TOLD, &told);
        }
        if !self.reaches_ingress(id) {
            return;
        }
        if event.len() > CHUNK_BYTES_MAX {
            return self.drop_socket(key, "event_too_long", turn);
        }
        if turn.ingress_waiting + turn.to_ingress.len() > INGRESS_BYTES_MAX {
            self.counts.answers_dropped += 1;
            return self.drop_socket(key, "too_many_large_answers", turn);
        }
        let push = Push {
            id,
            body: event.as_bytes().into(),
            more: false,
        };
        put(&mut turn.to_ingress, kind::PUSH, &push);
    }

    /// A program wants its stream no more.
    pub fn leave(&mut self, leave: Leave, turn: &mut Turn) {
        let of_it = [Class::Stream(leave.id), Class::Pipe(leave.id)];
        let key = self
            .sockets
            .iter()
            .find(|(_, socket)| of_it.contains(&socket.class))
            .map(|(key, _)| *key);
        if let Some(key) = key {
            self.say(key, Kind::Close, &1000u16.to_be_bytes(), turn);
            return self.drop_socket(key, "program_gone", turn);
        }
        let mut left = Vec::new();
        for place in &mut self.places {
            for job in place.take_all() {
                match job.id == leave.id {
                    true => left.push(job),
                    false => place.push(job, false),
                }
            }
        }
        for job in left {
            self.fail(job, Sent::NotSent, "program_gone", turn);
        }
    }

    /// Streams and pipes of a run of ingress that is gone are nobody's.
    pub(super) fn end_streams(&mut self, turn: &mut Turn) {
        let epoch = self.ingress_epoch;
        let gone = |id: RequestId| id.epoch != 0 && id.epoch != epoch;
        self.end_streams_where(gone, "ingress_restarted", turn);
    }

    /// Those that a signer which is gone knew of, and the next one does not.
    pub(super) fn end_known_streams(&mut self, turn: &mut Turn) {
        self.end_streams_where(|_| true, "signer_restarted", turn);
    }

    fn end_streams_where(&mut self, is_it: impl Fn(RequestId) -> bool, why: &str, turn: &mut Turn) {
        let keys: Vec<Key> = self
            .sockets
            .iter()
            .filter(|(_, socket)| match socket.class {
                Class::Stream(id) | Class::Pipe(id) => is_it(id),
                Class::Signed | Class::Public => false,
            })
            .map(|(key, _)| *key)
            .collect();
        for key in keys {
            self.drop_socket(key, why, turn);
        }
    }

    /// Streams to a host, and those that are to be.
    pub(super) fn streams_of(&self, host: usize) -> usize {
        let is_stream = |socket: &&Socket| matches!(socket.class, Class::Stream(_));
        let open = self.sockets.values().filter(|socket| socket.host == host);
        let waiting = self.places.get(host).map_or(0, |place| {
            place
                .waiting
                .iter()
                .flatten()
                .filter(|job| job.stream)
                .count()
        });
        open.filter(is_stream).count() + waiting
    }

    /// Ends a WebSocket that has had its last answer.
    fn retired(&mut self, key: Key, turn: &mut Turn) {
        let is_done = |socket: &Socket| socket.is_retiring && socket.jobs.is_empty();
        if self.sockets.get(&key).is_some_and(is_done) {
            self.say(key, Kind::Close, &1000u16.to_be_bytes(), turn);
            self.drop_socket(key, "", turn);
        }
    }

    /// The venue did not change to WebSocket.
    fn refused_socket(&mut self, key: Key, status: u16, turn: &mut Turn) {
        if matches!(status, 429 | 418)
            && let Some(host) = self.sockets.get(&key).map(|socket| socket.host)
            && let Some(place) = self.places.get_mut(host)
        {
            place.budgets.refused(None, status, None, self.now_us);
            self.asked_to_wait(host, None, status, turn);
        }
        // Of a pipe it is the answer to its program's own handshake.
        if let Some(socket) = self.sockets.get_mut(&key)
            && (300..600).contains(&status)
            && let Some(mut job) = socket.opening.take()
        {
            self.pipe_handed_over(&mut job, status, turn);
        }
        self.drop_socket(key, "handshake_refused", turn);
    }

    /// Ends a WebSocket. What is under way on it may have been sent.
    pub(super) fn drop_socket(&mut self, key: Key, why: &str, turn: &mut Turn) {
        let Some(mut socket) = self.sockets.remove(&key) else {
            return;
        };
        socket.transport.goodbye();
        let host = socket.host;
        if let Some(place) = self.places.get_mut(host) {
            place.connections = place.connections.saturating_sub(1);
            if !socket.is_open {
                place.connecting = place.connecting.saturating_sub(1);
                place.slow = place.slow.min(place.connecting);
            }
        }
        if !socket.is_open {
            self.in_vain(host, socket.made_us);
        }
        if let Some(job) = socket.opening.take() {
            // Its own frames come after: nothing of the program has left.
            self.fail(job, Sent::NotSent, why, turn);
        }
        let mut jobs: Vec<Job> = std::mem::take(&mut socket.jobs).into_values().collect();
        jobs.sort_by_key(|job| job.id.seq);
        for job in jobs {
            self.fail(job, Sent::MaybeSent, why, turn);
        }
        // Programs are told what became of their frames before their connection ends.
        if let (Class::Stream(id) | Class::Pipe(id), Some(_)) = (socket.class, socket.streams) {
            let told = Told {
                id,
                reports: Vec::new(),
                ended: true,
            };
            put(&mut turn.to_signer, kind::TOLD, &told);
            if self.reaches_ingress(id) {
                let ended = StreamEnded {
                    id,
                    why: why.to_owned(),
                    code: socket.close_code,
                };
                put(&mut turn.to_ingress, kind::STREAM_ENDED, &ended);
            }
        }
        if !socket.is_open {
            self.unreachable(host, why, turn);
        }
    }

    /// Entries under way on WebSockets, of those asked for.
    pub(super) fn frames_under_way(
        &self,
        is_asked: impl Fn(Option<EntryId>) -> bool,
    ) -> Vec<EntryId> {
        let jobs = self
            .sockets
            .values()
            .flat_map(|socket| socket.jobs.values());
        jobs.filter_map(|job| job.entry.filter(|_| is_asked(job.entry)))
            .collect()
    }

    /// Looks at the deadlines of WebSockets; the same as of [`super::Upstream::tick`].
    pub(super) fn tick_sockets(&mut self, turn: &mut Turn) -> (bool, Option<u64>) {
        let now = self.now_us;
        let (mut soon, mut first): (bool, Option<u64>) = (false, None);
        let mut ended: Vec<(Key, &str)> = Vec::new();
        let (mut ping, mut renew) = (Vec::new(), Vec::new());
        let mut late: Vec<(Key, u64)> = Vec::new();
        for (key, socket) in &mut self.sockets {
            let since = |then: u64| now.saturating_sub(then);
            if !socket.is_open {
                soon = true;
                if since(socket.made_us) > CONNECT_US_MAX {
                    ended.push((*key, "connect_timed_out"));
                } else if since(socket.made_us) > SLOW_CONNECT_US
                    && let Some(place) = self.places.get_mut(socket.host)
                {
                    place.slow += 1;
                }
                continue;
            }
            soon |= !socket.jobs.is_empty() || socket.pinged_us != 0;
            for (number, job) in &socket.jobs {
                if since(job.started_us) > ANSWER_US_MAX {
                    late.push((*key, *number));
                    socket.is_retiring |= !matches!(socket.class, Class::Pipe(_));
                }
            }
            if socket.pinged_us != 0 && since(socket.pinged_us) > QUIET_ANSWER_US {
                ended.push((*key, "venue_silent"));
            } else if socket.pinged_us == 0 && since(socket.heard_us) > QUIET_US {
                socket.pinged_us = now;
                ping.push(*key);
            } else if socket.streams.is_some() {
                // It is there to wait; the venue ends it after a day, and its program begins anew.
            } else if !socket.is_retiring && since(socket.made_us) > SOCKET_AGE_US_MAX {
                socket.is_retiring = true;
                renew.push((*key, socket.host, socket.class, socket.target.clone()));
            } else if socket.jobs.is_empty() && since(socket.used_us) > SOCKET_IDLE_US_MAX {
                ended.push((*key, "idle"));
            }
            let quiet = socket.heard_us + QUIET_US;
            let next = match socket.streams {
                Some(_) => quiet,
                None => quiet
                    .min(socket.used_us + SOCKET_IDLE_US_MAX)
                    .min(socket.made_us + SOCKET_AGE_US_MAX),
            };
            first = Some(first.map_or(next, |at| at.min(next)));
        }
        for (key, number) in late {
            // On a pipe its id stays taken: an answer that comes yet is no other frame's.
            let socket = self.sockets.get_mut(&key);
            let job = socket.and_then(|socket| socket.jobs.remove(&number));
            if let Some(job) = job {
                self.fail(job, Sent::MaybeSent, "answer_timed_out", turn);
            }
            self.retired(key, turn);
        }
        for key in ping {
            soon = true;
            self.say(key, Kind::Ping, &[], turn);
        }
        for (key, host, class, target) in renew {
            self.open_socket(host, class, &target, turn);
            self.retired(key, turn);
        }
        for (key, why) in ended {
            if why == "idle" {
                self.say(key, Kind::Close, &1000u16.to_be_bytes(), turn);
            }
            self.drop_socket(key, why, turn);
        }
        (soon, first)
    }

    /// What the poll should watch a WebSocket for, if that is not what it watches it for.
    pub(super) fn socket_change(&mut self, key: Key) -> Option<Change<'_>> {
        let socket = self.sockets.get_mut(&key)?;
        let writes = socket.transport.is_pending() || !socket.is_asked;
        Change::of(socket.transport.socket(), &mut socket.watched, true, writes)
    }
}

/// Reads the answer to the handshake: how long it is, or `None` if it is not whole yet. The error is its status.
fn opened(bytes: &[u8], accept: &str) -> Result<Option<usize>, u16> {
    let mut slots = [httparse::EMPTY_HEADER; 64];
    let mut parsed = httparse::Response::new(&mut slots);
    let length = match parsed.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(0),
    };
    let status = parsed.code.unwrap_or(0);
    let once = |wanted: &str| {
        let mut all = parsed
            .headers
            .iter()
            .filter(|header| header.name.eq_ignore_ascii_case(wanted));
        all.next()
            .filter(|_| all.next().is_none())
            .map(|header| header.value)
    };
    let absent = |unwanted: &str| {
        !parsed
            .headers
            .iter()
            .any(|header| header.name.eq_ignore_ascii_case(unwanted))
    };
    let fits = status == 101
        && parsed.version == Some(1)
        && once("upgrade").is_some_and(|value| value.eq_ignore_ascii_case(b"websocket"))
        && once("connection").is_some_and(|value| value.eq_ignore_ascii_case(b"upgrade"))
        && once("sec-websocket-accept") == Some(accept.as_bytes())
        && absent("sec-websocket-extensions")
        && absent("sec-websocket-protocol");
    match fits {
        true => Ok(Some(length)),
        false => Err(status),
    }
}

/// A mask: bytes that nobody can foresee.
fn random() -> Option<[u8; 4]> {
    let mut bytes = [0; 4];
    aws_lc_rs::rand::fill(&mut bytes).is_ok().then_some(bytes)
}
