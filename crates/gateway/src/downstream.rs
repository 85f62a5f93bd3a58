//! Ingress without its loop: connections of programs, their requests on the way to the signer, and answers on the way
//! back. One request is in flight on a connection at a time, so answers are in order; what a client sends ahead waits in
//! its own bounded buffer. A connection that has changed to WebSocket has many under way ([`socket`]). Everything a client
//! can do is bounded here, and costs only the client.

mod socket;

pub use socket::{
    PIPE_UNSENT_BYTES_MAX, SOCKET_BEHIND_BYTES_MAX, SOCKET_ID_BYTES_MAX, SOCKET_IN_FLIGHT_MAX,
    SOCKET_QUIET_US_MAX, SOCKET_UNSENT_BYTES_MAX, SUBSCRIPTIONS_MAX,
};

use crate::metrics::IngressCounts;
use crate::neighbour::put;
use crate::request::{self, Malformed, Parse};
use crate::table::Table;
use crate::timer;
use crate::transport::{Received, Transport};
use crate::venue::{self, Call};
use crate::watch::Change;
use crate::websocket;
use minicbor::bytes::ByteSlice;
use portcullis_model::id::RequestId;
use portcullis_model::refusal::Class;
use portcullis_model::report::Sent;
use portcullis_model::wire::{
    self, ANSWER_WINDOW_BYTES, AnswerAborted, AnswerChunk, AnswerHead, Close, Header, Orphans,
    REQUESTS_WAITING_MAX, Reply, Request, Window, kind,
};
use portcullis_room::poll::Interest;
use rustls::ServerConfig;
use socket::{Socket, Upgrade};
use std::collections::HashMap;
use std::io::Write;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;

/// Connections at most, and fewer where the system allows the process fewer descriptors. At the bound those that have
/// been idle for longest make room; if none is idle, the new one is closed.
pub const CONNECTIONS_MAX: usize = 16_384;
/// So many idle connections are closed at once when there is no room: looking for them costs a look at each.
const ROOM_MADE: usize = 64;
/// Requests at the signer and egress at most. The next one is refused, `NotSent`, before anything is recorded.
pub const IN_FLIGHT_MAX: usize = 4096;
/// Of these, and of the signer's credits, places that only cancels (`DELETE`, and frames whose method has `cancel` in it) may
/// take.
pub const IN_FLIGHT_RESERVE: usize = 128;
/// Bytes of requests that the link to the signer has not taken yet, at most; beyond it requests are refused, `NotSent`.
pub const SIGNER_BYTES_MAX: usize = 4 << 20;
/// One source's requests in flight at most, in parts of all: a flood from one address leaves others room. Loopback,
/// where all programs may share one address, is not counted.
pub const IN_FLIGHT_PER_SOURCE_MAX: usize = 2048;
/// From a request's first byte to its last.
pub const REQUEST_US_MAX: u64 = 10_000_000;
/// A connection without a request is closed after this.
pub const IDLE_US_MAX: u64 = 900_000_000;
/// TLS must be agreed on within this.
pub const HANDSHAKE_US_MAX: u64 = 10_000_000;
/// TLS handshakes begun in a second, at most: each takes some hundred microseconds from everybody's requests. Whoever comes
/// then waits in the listener's queue for the next second; plain listeners go on.
pub const HANDSHAKES_PER_SECOND_MAX: u32 = 200;
/// Of these, those of one source (loopback apart). Its further connections are closed at once, so that others need not wait
/// behind them.
pub const HANDSHAKES_PER_SOURCE_MAX: u32 = 100;
const SECOND_US: u64 = 1_000_000;
/// A client that takes nothing of its answer for this long is closed.
pub const STALL_US_MAX: u64 = 30_000_000;
/// The other rooms answer well before this; it is the last resort.
pub const ANSWER_US_MAX: u64 = 60_000_000;
/// A client that was refused in the middle of its request is listened to for this long, and to so many bytes, so that
/// it reads why: closing at once would reset the connection, and its answer with it.
pub const LINGER_US_MAX: u64 = 3_000_000;
pub const LINGER_BYTES_MAX: u64 = 16 << 20;
/// Bytes of requests that are not whole, over all connections. Beyond it a connection that brings more of one is closed;
/// a request that arrives at once is never kept.
pub const PARTIAL_BYTES_MAX: usize = 64 << 20;
/// A buffer kept for the next read has at most this capacity.
const SPARE_BYTES_MAX: usize = 2 * crate::transport::READ_BYTES_MAX;

pub type Key = u64;

/// One place where programs connect.
#[derive(Debug, Clone)]
pub struct Listener {
    /// Venue whose dialect is spoken there.
    pub venue: String,
    /// Which of its hosts programs believe they speak to.
    pub host: String,
    pub tls: Option<Arc<ServerConfig>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// No request, or a part of one.
    Reading,
    /// At the signer or egress; nothing of the answer is out.
    Waiting { seq: u64 },
    /// The head of the answer is out.
    Answering {
        seq: u64,
        chunked: bool,
        left: Option<u64>,
    },
    /// The answer is complete, and the client has not taken all of it: the next request waits.
    Draining,
    /// The last answer is being written; then it ends.
    Ending,
    /// The last answer is out, and what still comes is thrown away.
    Lingering { left: u64 },
    /// It speaks WebSocket.
    Open,
}

#[derive(Debug)]
struct Connection {
    transport: Transport,
    listener: u16,
    source: IpAddr,
    state: State,
    input: Vec<u8>,
    /// When the state, or the first byte of a request, began.
    since_us: u64,
    /// Reading is switched off: it has sent ahead of its answer, or has ended its side.
    paused: bool,
    /// The connection ends after this answer.
    close: bool,
    /// It was refused in the middle of what it sends.
    linger: bool,
    /// What the poll watches it for.
    watched: Option<Interest>,
    /// Answer bytes taken from egress that its window does not know of yet.
    owed: u32,
    /// It asks for a pipe.
    upgrade: Option<Box<Upgrade>>,
    /// It has changed to WebSocket.
    socket: Option<Box<Socket>>,
}

/// TLS handshakes begun within a second.
#[derive(Debug, Default)]
struct Handshakes {
    since_us: u64,
    begun: u32,
    /// Bounded by `begun`.
    by_source: HashMap<IpAddr, u32>,
}

impl Handshakes {
    /// How long the next one must wait.
    fn wait_us(&mut self, now_us: u64) -> u64 {
        let age = now_us.saturating_sub(self.since_us);
        if age >= SECOND_US {
            self.since_us = now_us;
            self.begun = 0;
            self.by_source.clear();
        }
        match self.begun < HANDSHAKES_PER_SECOND_MAX {
            true => 0,
            false => SECOND_US.saturating_sub(age),
        }
    }

    /// `false`: this source has begun enough.
    fn begin(&mut self, source: IpAddr) -> bool {
        if !source.is_loopback() {
            let own = self.by_source.entry(source).or_default();
            if *own >= HANDSHAKES_PER_SOURCE_MAX {
                return false;
            }
            *own += 1;
        }
        self.begun += 1;
        true
    }
}

/// Requests in flight.
#[derive(Debug)]
struct Flight {
    key: Key,
    since_us: u64,
    /// Of a WebSocket's request: its `id` as the program wrote it.
    id: Option<Box<str>>,
    /// What it is to ingress.
    call: Call,
}

/// A request on its way to the signer.
struct Asked<'a> {
    /// The venue host that it is for, if that is not the listener's.
    host: Option<&'a str>,
    method: &'a str,
    target: &'a [u8],
    headers: Vec<Header<'a>>,
    body: &'a [u8],
    own_id: Option<&'a str>,
    call: Call,
}

/// Frames for the neighbours and changes for the poll.
#[derive(Debug, Default)]
pub struct Turn {
    pub to_signer: Vec<u8>,
    pub to_egress: Vec<u8>,
    /// Bytes that the link to the signer has not taken yet.
    pub signer_waiting: usize,
    /// Connections that are new, or may be waited for otherwise than before: see `change`.
    pub watch: Vec<Key>,
}

#[derive(Debug)]
pub struct Downstream {
    epoch: u32,
    now_us: u64,
    listeners: Vec<Listener>,
    connections: Table<Connection>,
    connections_max: usize,
    next_key: Key,
    next_seq: u64,
    flights: Table<Flight>,
    by_source: HashMap<IpAddr, usize>,
    handshakes: Handshakes,
    scratch: Vec<u8>,
    spare: Vec<u8>,
    /// What is being written to a client.
    out: Vec<u8>,
    /// A WebSocket's message that is being looked at.
    text: String,
    /// Bytes that wait behind WebSockets' messages in parts.
    behind_bytes: usize,
    /// WebSockets that have ended, for the other rooms.
    gone: Vec<Key>,
    /// Whose streams there are, by the number of the request that opened each.
    streams: Table<Key>,
    /// Streams that nobody wants any more, for egress.
    left: Vec<u64>,
    /// Bytes in `input` of all connections.
    partial_bytes: usize,
    /// Requests that the signer takes now.
    credits: usize,
    /// Egress has greeted: it knows which run of ingress its answers are for.
    egress_is_there: bool,
    is_ending: bool,
    /// Of requests below this number egress was asked whether it has them, or they are answered.
    asked_below: u64,
    pub counts: IngressCounts,
}

impl Downstream {
    #[must_use]
    pub fn new(epoch: u32, listeners: Vec<Listener>, first_key: Key) -> Self {
        Self {
            epoch,
            now_us: 0,
            listeners,
            connections: Table::default(),
            connections_max: CONNECTIONS_MAX,
            next_key: first_key,
            next_seq: 0,
            flights: Table::default(),
            by_source: HashMap::new(),
            handshakes: Handshakes::default(),
            scratch: vec![0; crate::transport::READ_BYTES_MAX],
            spare: Vec::new(),
            out: Vec::new(),
            text: String::new(),
            behind_bytes: 0,
            gone: Vec::new(),
            streams: Table::default(),
            left: Vec::new(),
            partial_bytes: 0,
            credits: 0,
            egress_is_there: false,
            is_ending: false,
            asked_below: 0,
            counts: IngressCounts::default(),
        }
    }

    pub fn set_time(&mut self, boot_us: u64) {
        self.now_us = boot_us;
    }

    /// The process has no descriptor for one more: what it has now is the bound, and what is idle makes room.
    pub fn descriptors_ran_out(&mut self) {
        self.connections_max = self.connections.len().clamp(1, self.connections_max);
        if !self.make_room() {
            self.counts.connections_refused += 1;
        }
    }

    /// The room ends: what comes from here on is refused, and an answer is the last of its connection.
    pub fn no_more(&mut self, turn: &mut Turn) {
        self.credits = 0;
        self.is_ending = true;
        self.leave_sockets(turn);
        for connection in self.connections.values_mut() {
            connection.close = true;
        }
    }

    /// A new signer is there, and takes this many requests.
    pub fn signer_is_there(&mut self) {
        if !self.is_ending {
            self.credits = REQUESTS_WAITING_MAX as usize;
        }
    }

    /// A new egress is there, and knows this run.
    pub fn egress_is_there(&mut self) {
        self.egress_is_there = true;
    }

    /// The signer has taken so many requests out of its queue.
    pub fn credit(&mut self, frames: u32) {
        if self.is_ending {
            return;
        }
        self.credits = self
            .credits
            .saturating_add(frames as usize)
            .min(REQUESTS_WAITING_MAX as usize);
    }

    /// Whether TLS is spoken at a listener.
    #[must_use]
    pub fn is_tls(&self, listener: usize) -> bool {
        self.listeners
            .get(listener)
            .is_some_and(|listener| listener.tls.is_some())
    }

    /// How long the next connection of a listener has to stay in its queue: not at all, or to the end of a second that
    /// has had its handshakes.
    pub fn accept_in_us(&mut self, listener: usize) -> u64 {
        if !self.is_tls(listener) {
            return 0;
        }
        let wait = self.handshakes.wait_us(self.now_us);
        self.counts.handshakes_paused += u64::from(wait > 0);
        wait
    }

    /// A new connection; the socket is non-blocking.
    pub fn accept(&mut self, socket: TcpStream, peer: SocketAddr, listener: u16, turn: &mut Turn) {
        if self.connections.len() >= self.connections_max && !self.make_room() {
            self.counts.connections_refused += 1;
            return;
        }
        let Some(config) = self.listeners.get(usize::from(listener)) else {
            return;
        };
        let source = peer.ip().to_canonical();
        if config.tls.is_some() && !self.handshakes.begin(source) {
            self.counts.handshakes_refused += 1;
            return;
        }
        let transport = match &config.tls {
            None => Transport::plain(socket),
            Some(tls) => match rustls::ServerConnection::new(Arc::clone(tls)) {
                Ok(tls) => Transport::tls(socket, tls.into()),
                Err(_) => {
                    self.counts.tls_failed += 1;
                    return;
                }
            },
        };
        let connection = Connection {
            transport,
            listener,
            source,
            state: State::Reading,
            input: Vec::new(),
            since_us: self.now_us,
            paused: false,
            close: false,
            linger: false,
            watched: None,
            owed: 0,
            upgrade: None,
            socket: None,
        };
        let key = self.next_key;
        self.next_key += 1;
        self.connections.insert(key, connection);
        self.counts.connections_taken += 1;
        self.counts.connections_open = self.connections.len() as u64;
        turn.watch.push(key);
    }

    /// Closes some of the connections that have been idle for longest. `false`: none is idle.
    pub fn make_room(&mut self) -> bool {
        let mut idle: Vec<(u64, Key)> = self
            .connections
            .iter()
            .filter(|(_, c)| match c.socket.as_deref() {
                None => c.state == State::Reading && c.input.is_empty(),
                Some(socket) => socket.is_quiet() && !socket.is_used,
            })
            .map(|(key, c)| (c.since_us, *key))
            .collect();
        if idle.len() > ROOM_MADE {
            idle.select_nth_unstable(ROOM_MADE);
            idle.truncate(ROOM_MADE);
        }
        for (_, key) in &idle {
            self.end(*key);
        }
        self.counts.connections_pushed_out += idle.len() as u64;
        !idle.is_empty()
    }

    /// The loop says that a connection can be read from or written to, or is gone both ways.
    pub fn ready(&mut self, key: Key, readable: bool, writable: bool, gone: bool, turn: &mut Turn) {
        let Some(connection) = self.connections.get_mut(&key) else {
            return;
        };
        // Not read from, and yet the poll wakes for its end: nobody is there to take an answer.
        let unread = matches!(
            connection.watched,
            Some(Interest::Nothing | Interest::Write)
        );
        if gone && unread {
            return self.end(key);
        }
        if writable && connection.transport.is_pending() {
            match connection.transport.flush() {
                Ok(drained) => {
                    if drained {
                        turn.watch.push(key);
                        if let Some(socket) = connection.socket.as_deref_mut() {
                            socket.unsent = 0;
                        }
                    }
                    // An answer that the client takes, however slowly; a request is on time or not whatever we write.
                    if connection.state != State::Reading {
                        connection.since_us = self.now_us;
                    }
                    self.drained(key, turn);
                }
                Err(_) => return self.end(key),
            }
        }
        if readable && !unread {
            self.read(key, turn);
        }
    }

    /// After a write: gives egress the window back, and ends what was to end.
    fn drained(&mut self, key: Key, turn: &mut Turn) {
        let Some(connection) = self.connections.get_mut(&key) else {
            return;
        };
        if connection.transport.is_pending() {
            return;
        }
        match connection.state {
            State::Ending => self.finish(key, turn),
            State::Draining => self.rest(key, turn),
            State::Answering { seq, .. } if connection.owed > 0 => {
                let window = Window {
                    id: RequestId {
                        epoch: self.epoch,
                        seq,
                    },
                    bytes: connection.owed,
                };
                connection.owed = 0;
                put(&mut turn.to_egress, kind::WINDOW, &window);
            }
            State::Open if connection.owed > 0 => {
                let owed = std::mem::take(&mut connection.owed);
                if let Some(seq) = self.writing(key) {
                    let id = RequestId {
                        epoch: self.epoch,
                        seq,
                    };
                    let window = Window { id, bytes: owed };
                    put(&mut turn.to_egress, kind::WINDOW, &window);
                }
            }
            _ => {}
        }
    }

    /// The last answer is out: the connection ends, or listens on for a moment so that its client reads it.
    fn finish(&mut self, key: Key, turn: &mut Turn) {
        let Some(connection) = self.connections.get_mut(&key) else {
            return;
        };
        if !connection.linger {
            return self.end(key);
        }
        connection.transport.goodbye();
        if connection
            .transport
            .socket()
            .shutdown(std::net::Shutdown::Write)
            .is_err()
        {
            return self.end(key);
        }
        connection.state = State::Lingering {
            left: LINGER_BYTES_MAX,
        };
        connection.since_us = self.now_us;
        connection.paused = false;
        turn.watch.push(key);
    }

    fn linger(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(&key) else {
            return;
        };
        let State::Lingering { left } = &mut connection.state else {
            return;
        };
        match connection.transport.discard(&mut self.scratch) {
            Ok(Received::Bytes(n)) if (n as u64) < *left => *left -= n as u64,
            _ => self.end(key),
        }
    }

    fn read(&mut self, key: Key, turn: &mut Turn) {
        let Some(connection) = self.connections.get_mut(&key) else {
            return;
        };
        if matches!(connection.state, State::Lingering { .. }) {
            return self.linger(key);
        }
        // An idle connection keeps no buffer: it borrows the spare one.
        let mut input = match connection.input.is_empty() {
            true => std::mem::take(&mut self.spare),
            false => std::mem::take(&mut connection.input),
        };
        let was_empty = input.is_empty();
        self.partial_bytes = self.partial_bytes.saturating_sub(input.len());
        let received = connection.transport.receive(&mut self.scratch, &mut input);
        match received {
            Ok(Received::Bytes(n)) => {
                if connection.transport.is_pending() {
                    turn.watch.push(key);
                }
                if n > 0 && !matches!(connection.state, State::Reading | State::Open) {
                    // It sends ahead: this much is kept, and the rest stays with the kernel until its answer is out.
                    connection.paused = true;
                    turn.watch.push(key);
                } else if n > 0 && was_empty {
                    connection.since_us = self.now_us;
                }
                self.requests(key, &mut input, turn);
                self.keep(key, input);
            }
            Ok(Received::Closed) => {
                // A client may end its side and still wait for the answer.
                if matches!(connection.state, State::Reading | State::Open) {
                    self.end(key);
                } else {
                    connection.close = true;
                    connection.paused = true;
                    turn.watch.push(key);
                }
                input.clear();
                self.keep(key, input);
            }
            Err(error) => {
                if connection.transport.is_handshaking()
                    && error.kind() == std::io::ErrorKind::InvalidData
                {
                    self.counts.tls_failed += 1;
                }
                self.end(key);
                input.clear();
                self.keep(key, input);
            }
        }
    }

    /// Puts a buffer back: to its connection if something is left in it, else as the spare one.
    fn keep(&mut self, key: Key, mut input: Vec<u8>) {
        let length = input.len();
        if length > 0 && self.partial_bytes + length > PARTIAL_BYTES_MAX {
            self.counts.partial_refused += 1;
            self.end(key);
        } else if length > 0
            && let Some(connection) = self.connections.get_mut(&key)
        {
            self.partial_bytes += length;
            if input.capacity() <= 2 * length + 4096 {
                connection.input = input;
                return;
            }
            // A few bytes do not hold a large buffer.
            connection.input = input.clone();
        }
        if input.capacity() <= SPARE_BYTES_MAX {
            input.clear();
            self.spare = input;
        }
    }

    /// Takes whole requests from the front of `input`, one at a time.
    fn requests(&mut self, key: Key, input: &mut Vec<u8>, turn: &mut Turn) {
        while let Some(connection) = self.connections.get(&key) {
            if connection.state == State::Open {
                return self.frames(key, input, turn);
            }
            if connection.state != State::Reading || input.is_empty() {
                return;
            }
            match request::parse(input) {
                Parse::Partial { .. } => return,
                Parse::Refused(malformed) => {
                    self.counts.malformed(malformed);
                    self.refuse_malformed(key, malformed, turn);
                    input.clear();
                    return;
                }
                Parse::Complete(mut parsed) => {
                    let length = parsed.length;
                    match websocket::is_upgrade(&parsed) {
                        true => self.upgrade(key, &parsed, turn),
                        false => self.forward(key, &mut parsed, turn),
                    }
                    input.drain(..length);
                }
            }
        }
    }

    /// Hands a request to the signer, or refuses it for want of room.
    fn forward(&mut self, key: Key, parsed: &mut request::Request<'_>, turn: &mut Turn) {
        let Some(connection) = self.connections.get_mut(&key) else {
            return;
        };
        connection.close |= parsed.close;
        let source = connection.source;
        if let Some(why) = self.is_full(source, parsed.method == "DELETE", turn) {
            self.counts.no_credit += 1;
            return self.answer_here(key, None, Class::NotAvailable, why, false, turn);
        }
        parsed.headers.retain(|(name, _)| {
            !NOT_HANDED_ON
                .iter()
                .any(|dropped| name.eq_ignore_ascii_case(dropped))
        });
        // One buffer for all names in lower case.
        let mut names = String::with_capacity(256);
        for (name, _) in &parsed.headers {
            names.push_str(name);
        }
        names.make_ascii_lowercase();
        let mut rest = names.as_str();
        let mut headers = Vec::with_capacity(parsed.headers.len());
        for (name, value) in &parsed.headers {
            let (name, after) = rest.split_at_checked(name.len()).unwrap_or((rest, ""));
            rest = after;
            headers.push(Header {
                name,
                value: (*value).into(),
            });
        }
        let asked = Asked {
            host: None,
            method: parsed.method,
            target: parsed.target,
            headers,
            body: parsed.body,
            own_id: None,
            call: Call::Other,
        };
        let Some(seq) = self.hand_on(key, asked, turn) else {
            self.counts.malformed(Malformed::HeadTooLong);
            return self.refuse_malformed(key, Malformed::HeadTooLong, turn);
        };
        if let Some(connection) = self.connections.get_mut(&key) {
            connection.state = State::Waiting { seq };
            connection.since_us = self.now_us;
        }
    }

    /// Why there is no room for one more request, if there is none.
    fn is_full(&self, source: IpAddr, is_cancel: bool, turn: &Turn) -> Option<&'static str> {
        let reserve = if is_cancel { 0 } else { IN_FLIGHT_RESERVE };
        let from_source = match source.is_loopback() {
            true => 0,
            false => self.by_source.get(&source).copied().unwrap_or(0),
        };
        if self.credits == 0 || !self.egress_is_there {
            return Some("a part of the gate is starting; nothing was sent, try again");
        }
        let is_full = self.flights.len() + reserve >= IN_FLIGHT_MAX
            || self.credits <= reserve
            || from_source >= IN_FLIGHT_PER_SOURCE_MAX
            || turn.signer_waiting + turn.to_signer.len() >= SIGNER_BYTES_MAX;
        is_full
            .then_some("too many requests are under way in the gate; nothing was sent, try again")
    }

    /// Frames a request for the signer, and gives its number; `None`: it does not fit a frame.
    fn hand_on(&mut self, key: Key, asked: Asked<'_>, turn: &mut Turn) -> Option<u64> {
        let connection = self.connections.get(&key)?;
        let seq = self.next_seq;
        let (v4, v6);
        let source: &[u8] = match connection.source {
            IpAddr::V4(address) => {
                v4 = address.octets();
                &v4
            }
            IpAddr::V6(address) => {
                v6 = address.octets();
                &v6
            }
        };
        let request = Request {
            id: RequestId {
                epoch: self.epoch,
                seq,
            },
            connection: key,
            host: asked.host.unwrap_or_else(|| {
                self.listeners
                    .get(usize::from(connection.listener))
                    .map_or("", |listener| listener.host.as_str())
            }),
            source: source.into(),
            method: asked.method,
            target: asked.target.into(),
            headers: asked.headers,
            body: asked.body.into(),
        };
        wire::frame(&mut turn.to_signer, kind::REQUEST, &request).ok()?;
        self.next_seq += 1;
        self.credits = self.credits.saturating_sub(1);
        self.counts.requests += 1;
        if !connection.source.is_loopback() {
            *self.by_source.entry(connection.source).or_default() += 1;
        }
        self.flights.insert(
            seq,
            Flight {
                key,
                since_us: self.now_us,
                id: asked.own_id.map(Box::from),
                call: asked.call,
            },
        );
        Some(seq)
    }

    fn refuse_malformed(&mut self, key: Key, malformed: Malformed, turn: &mut Turn) {
        let (status, text) = malformed.answer();
        if let Some(connection) = self.connections.get_mut(&key) {
            connection.linger = true;
        }
        self.answer_here(key, Some(status), Class::BadRequest, text, true, turn);
    }

    /// An answer that ingress itself gives, in the venue's format.
    fn answer_here(
        &mut self,
        key: Key,
        status: Option<u16>,
        class: Class,
        text: &str,
        close: bool,
        turn: &mut Turn,
    ) {
        let Some(connection) = self.connections.get_mut(&key) else {
            return;
        };
        let venue = self
            .listeners
            .get(usize::from(connection.listener))
            .map_or("", |l| l.venue.as_str());
        let (usual, body) = venue::refuse(venue, class, text);
        let reason: &[u8] = b"ingress";
        let headers = [
            Header {
                name: "content-type",
                value: (&b"application/json;charset=UTF-8"[..]).into(),
            },
            Header {
                name: "x-portcullis-refusal",
                value: reason.into(),
            },
        ];
        connection.close |= close;
        self.write_whole(key, status.unwrap_or(usual), &headers, &body, turn);
    }

    /// Writes a whole answer and goes back to reading.
    fn write_whole(
        &mut self,
        key: Key,
        status: u16,
        headers: &[Header<'_>],
        body: &[u8],
        turn: &mut Turn,
    ) {
        let Some(connection) = self.connections.get_mut(&key) else {
            return;
        };
        let length = Length::Known(body.len() as u64);
        self.out.clear();
        push_head(&mut self.out, status, headers, length, connection.close);
        self.out.extend_from_slice(body);
        if connection.transport.send(&self.out).is_err() {
            return self.end(key);
        }
        self.answered(key, turn);
    }

    /// The answer's last byte is handed to the connection.
    fn answered(&mut self, key: Key, turn: &mut Turn) {
        let Some(connection) = self.connections.get_mut(&key) else {
            return;
        };
        connection.since_us = self.now_us;
        connection.owed = 0;
        let pending = connection.transport.is_pending();
        match (connection.close, pending) {
            (true, true) => {
                connection.state = State::Ending;
                connection.paused = true;
                turn.watch.push(key);
            }
            (true, false) => self.finish(key, turn),
            (false, true) => {
                connection.state = State::Draining;
                turn.watch.push(key);
            }
            (false, false) => self.rest(key, turn),
        }
    }

    /// The answer is with the client: the next request may come, or is there already.
    fn rest(&mut self, key: Key, turn: &mut Turn) {
        let Some(connection) = self.connections.get_mut(&key) else {
            return;
        };
        connection.state = State::Reading;
        connection.since_us = self.now_us;
        if connection.close {
            return self.finish(key, turn);
        }
        if !connection.input.is_empty() {
            let mut input = std::mem::take(&mut connection.input);
            self.partial_bytes = self.partial_bytes.saturating_sub(input.len());
            self.requests(key, &mut input, turn);
            self.keep(key, input);
        }
        // While something that it sent ahead is left, nothing more is taken in.
        if let Some(connection) = self.connections.get_mut(&key)
            && connection.paused
            && connection.state == State::Reading
        {
            connection.paused = false;
            turn.watch.push(key);
        }
    }

    /// The connection that waits for `id`, if it still does.
    fn waiting(&mut self, id: RequestId) -> Option<Key> {
        if id.epoch != self.epoch {
            return None;
        }
        self.flights.get(&id.seq).map(|flight| flight.key)
    }

    fn landed(&mut self, seq: u64) {
        let Some(flight) = self.flights.remove(&seq) else {
            return;
        };
        self.counts
            .took
            .observe(self.now_us.saturating_sub(flight.since_us));
        let Some(connection) = self.connections.get(&flight.key) else {
            return;
        };
        let source = connection.source;
        self.less_from(source);
    }

    fn call_of(&self, seq: u64) -> Call {
        self.flights.get(&seq).map_or(Call::Other, |it| it.call)
    }

    /// The `id` that a program gave, if it is a WebSocket's request.
    fn own_id(&self, seq: u64) -> Option<Box<str>> {
        self.flights.get(&seq)?.id.clone()
    }

    fn less_from(&mut self, source: IpAddr) {
        if let Some(count) = self.by_source.get_mut(&source) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.by_source.remove(&source);
            }
        }
    }

    /// The signer answers itself.
    pub fn reply(&mut self, reply: &Reply<'_>, turn: &mut Turn) {
        let Some(key) = self.waiting(reply.id) else {
            return;
        };
        let own_id = self.own_id(reply.id.seq);
        let logs_on = self.call_of(reply.id.seq) == Call::LogOn;
        self.landed(reply.id.seq);
        self.counts.replies += 1;
        if logs_on && reply.status == 200 {
            self.logged_on(key);
        }
        if let Some(id) = own_id {
            let seq = Some(reply.id.seq);
            self.say_answer(key, seq, &id, reply.status, reply.body, turn);
            return self.frame_landed(key, turn);
        }
        self.write_whole(key, reply.status, &reply.headers, reply.body, turn);
    }

    /// The venue's answer begins.
    pub fn answer_head(&mut self, head: &AnswerHead<'_>, turn: &mut Turn) {
        let Some(key) = self.waiting(head.id) else {
            if head.status == SWITCHED && head.id.epoch == self.epoch {
                self.unwanted(head.id.seq);
            }
            return;
        };
        self.counts.answers += 1;
        if head.status == SWITCHED {
            return match self.call_of(head.id.seq) {
                Call::Connect => self.connected(key, head.id.seq, turn),
                // Nothing else changes its connection.
                _ => self.end(key),
            };
        }
        if self.is_pipe(key) {
            // Its answer comes, or came, as the venue writes it; this says that nothing more is waited for.
            self.landed(head.id.seq);
            return self.frame_landed(key, turn);
        }
        if let Some(id) = self.own_id(head.id.seq) {
            if self.call_of(head.id.seq) == Call::Subscribe && head.status == 200 && head.last {
                return self.subscribed(key, head.id.seq, &id, turn);
            }
            // Egress has taken its own id out of the frame.
            let mut text = format!("{{\"id\":{id},").into_bytes();
            text.extend_from_slice(head.body);
            let (seq, counted) = (head.id.seq, head.body.len());
            self.say(key, seq, &text, counted, head.last, turn);
            if head.last {
                self.landed(seq);
                self.frame_landed(key, turn);
            }
            return;
        }
        if head.last {
            self.landed(head.id.seq);
            return self.write_whole(key, head.status, &head.headers, head.body, turn);
        }
        let Some(connection) = self.connections.get_mut(&key) else {
            return;
        };
        let length = head.length.map_or(Length::Chunked, Length::Known);
        self.out.clear();
        push_head(
            &mut self.out,
            head.status,
            &head.headers,
            length,
            connection.close,
        );
        let left = head
            .length
            .map(|length| length.saturating_sub(head.body.len() as u64));
        let chunked = head.length.is_none();
        push_part(&mut self.out, head.body, chunked);
        connection.state = State::Answering {
            seq: head.id.seq,
            chunked,
            left,
        };
        connection.since_us = self.now_us;
        connection.owed = connection
            .owed
            .saturating_add(u32::try_from(head.body.len()).unwrap_or(u32::MAX));
        if connection.transport.send(&self.out).is_err() {
            return self.end(key);
        }
        if connection.transport.is_pending() {
            turn.watch.push(key);
        }
        self.drained(key, turn);
    }

    /// More of the venue's answer.
    pub fn answer_chunk(&mut self, chunk: &AnswerChunk<'_>, turn: &mut Turn) {
        let Some(key) = self.waiting(chunk.id) else {
            return;
        };
        let Some(connection) = self.connections.get_mut(&key) else {
            return;
        };
        if connection.socket.is_some() {
            let (seq, counted) = (chunk.id.seq, chunk.body.len());
            self.say(key, seq, chunk.body, counted, chunk.last, turn);
            if chunk.last {
                self.landed(seq);
                self.frame_landed(key, turn);
            }
            return;
        }
        let State::Answering { seq, chunked, left } = connection.state else {
            return;
        };
        self.out.clear();
        push_part(&mut self.out, chunk.body, chunked);
        let left = left.map(|left| left.checked_sub(chunk.body.len() as u64));
        let short = match left {
            Some(None) => true,
            Some(Some(left)) => chunk.last && left != 0,
            None => false,
        };
        let owed = connection
            .owed
            .saturating_add(u32::try_from(chunk.body.len()).unwrap_or(u32::MAX));
        if owed > ANSWER_WINDOW_BYTES {
            // Egress does not keep to the window: this client is not what the gate's memory is for.
            self.counts.slow_clients += 1;
            return self.end(key);
        }
        if short {
            // Egress does not keep to the length it gave: the client must not take what follows for the next answer.
            return self.end(key);
        }
        connection.state = State::Answering {
            seq,
            chunked,
            left: left.flatten(),
        };
        connection.owed = owed;
        if chunk.last && chunked {
            self.out.extend_from_slice(b"0\r\n\r\n");
        }
        if connection.transport.send(&self.out).is_err() {
            return self.end(key);
        }
        if chunk.last {
            self.landed(seq);
            return self.answered(key, turn);
        }
        if connection.transport.is_pending() {
            turn.watch.push(key);
        }
        self.drained(key, turn);
    }

    /// There is no whole answer.
    pub fn answer_aborted(&mut self, aborted: &AnswerAborted, turn: &mut Turn) {
        let Some(key) = self.waiting(aborted.id) else {
            return;
        };
        let own_id = self.own_id(aborted.id.seq);
        self.landed(aborted.id.seq);
        self.counts.aborted += 1;
        let Some(connection) = self.connections.get(&key) else {
            return;
        };
        let is_begun = match &own_id {
            Some(_) => self.writing(key) == Some(aborted.id.seq),
            None => !matches!(connection.state, State::Waiting { .. }),
        };
        if is_begun {
            return self.end(key);
        }
        let (class, text) = match aborted.sent {
            Sent::NotSent if aborted.why.starts_with("venue_") => (
                Class::RateLimited,
                format!(
                    "not sent: {} (the gate keeps the venue's rate limits); try again later",
                    aborted.why
                ),
            ),
            Sent::NotSent => (Class::NotAvailable, format!("not sent: {}", aborted.why)),
            Sent::MaybeSent | Sent::Sent => (
                Class::StatusUnknown,
                format!(
                    "it may have reached the exchange ({}); ask for the order before you send it again",
                    aborted.why
                ),
            ),
        };
        if let Some(id) = own_id {
            self.refuse_frame(key, &id, class, &text, turn);
            return self.frame_landed(key, turn);
        }
        self.answer_here(key, None, class, &text, false, turn);
    }

    /// The signer ends connections: a key was revoked, has expired, or is locked.
    pub fn close(&mut self, close: &Close, turn: &mut Turn) {
        for key in &close.connections {
            let Some(connection) = self.connections.get_mut(key) else {
                continue;
            };
            match connection.state {
                // Its answer is on the way: it ends after it.
                State::Waiting { .. } | State::Answering { .. } => connection.close = true,
                State::Draining => {
                    connection.close = true;
                    connection.state = State::Ending;
                }
                State::Ending | State::Lingering { .. } => {}
                State::Reading => self.end(*key),
                State::Open => self.close_by_policy(*key, turn),
            }
        }
    }

    /// The signer is gone, and with it what it had not handed on. Egress answers what it holds, and is asked which of the
    /// requests in flight it does not: their programs are told at once.
    pub fn signer_lost(&mut self, turn: &mut Turn) {
        self.credits = 0;
        self.sessions_lost(turn);
        let before = std::mem::replace(&mut self.asked_below, self.next_seq);
        let seqs: Vec<u64> = self
            .flights
            .keys()
            .copied()
            .filter(|seq| *seq >= before)
            .collect();
        if !seqs.is_empty() {
            // `IN_FLIGHT_MAX` numbers of nine bytes fit a frame.
            let orphans = Orphans {
                epoch: self.epoch,
                seqs,
            };
            put(&mut turn.to_egress, kind::ORPHANS, &orphans);
        }
    }

    /// Egress was replaced: nobody will answer what was under way.
    pub fn lost(&mut self, turn: &mut Turn) {
        self.egress_is_there = false;
        self.streams_lost(turn);
        let flights: Vec<(u64, Key)> = self
            .flights
            .iter()
            .map(|(seq, flight)| (*seq, flight.key))
            .collect();
        for (seq, key) in flights {
            let own_id = self.own_id(seq);
            self.landed(seq);
            self.counts.aborted += 1;
            if let Some(id) = own_id {
                if self.writing(key) == Some(seq) {
                    self.end(key);
                } else {
                    self.refuse_frame(key, &id, Class::StatusUnknown, RESTARTED, turn);
                    self.frame_landed(key, turn);
                }
                continue;
            }
            match self
                .connections
                .get(&key)
                .map(|connection| connection.state)
            {
                Some(State::Waiting { .. }) => {
                    self.answer_here(key, None, Class::StatusUnknown, RESTARTED, false, turn);
                }
                Some(_) => self.end(key),
                None => {}
            }
        }
    }

    /// Looks at all deadlines, and says when to look again: in a second while something is under way, when the longest
    /// idle connection ends otherwise, and not at all without connections.
    pub fn tick(&mut self, turn: &mut Turn) -> Option<u64> {
        let now = self.now_us;
        let mut ended = Vec::new();
        let mut late = Vec::new();
        let mut unanswered = Vec::new();
        let mut soon = false;
        let mut idle_since: Option<u64> = None;
        for (key, connection) in &self.connections {
            let age = now.saturating_sub(connection.since_us);
            if connection.state == State::Open {
                continue;
            }
            if connection.state == State::Reading
                && connection.input.is_empty()
                && !connection.transport.is_handshaking()
            {
                idle_since =
                    Some(idle_since.map_or(connection.since_us, |s| s.min(connection.since_us)));
            } else {
                soon = true;
            }
            match connection.state {
                _ if connection.transport.is_handshaking() && age > HANDSHAKE_US_MAX => {
                    ended.push((*key, false))
                }
                _ if connection.transport.is_handshaking() => {}
                State::Reading if !connection.input.is_empty() && age > REQUEST_US_MAX => {
                    late.push(*key)
                }
                State::Reading if age > IDLE_US_MAX => ended.push((*key, false)),
                State::Waiting { seq } if age > ANSWER_US_MAX => unanswered.push((seq, *key)),
                State::Answering { .. } | State::Draining | State::Ending if age > STALL_US_MAX => {
                    ended.push((*key, true))
                }
                State::Lingering { .. } if age > LINGER_US_MAX => ended.push((*key, false)),
                _ => {}
            }
        }
        for (key, slow) in ended {
            self.counts.slow_clients += u64::from(slow);
            self.end(key);
        }
        for key in late {
            self.counts.timed_out += 1;
            if let Some(connection) = self.connections.get_mut(&key) {
                self.partial_bytes = self.partial_bytes.saturating_sub(connection.input.len());
                connection.input = Vec::new();
                connection.linger = true;
            }
            let text = "the request did not arrive whole within 10 seconds; send it at once";
            self.answer_here(key, Some(408), Class::BadRequest, text, true, turn);
        }
        for (seq, key) in unanswered {
            self.landed(seq);
            self.counts.timed_out += 1;
            let text = "no answer within 60 seconds; the request may have reached the exchange, ask for the order";
            self.answer_here(key, None, Class::StatusUnknown, text, false, turn);
        }
        let (sockets_soon, sockets_next) = self.tick_sockets(turn);
        let waited: Vec<u64> = self
            .flights
            .iter()
            .filter(|(_, it)| it.id.is_some() && now.saturating_sub(it.since_us) > ANSWER_US_MAX)
            .map(|(seq, _)| *seq)
            .collect();
        for seq in waited {
            self.counts.timed_out += 1;
            let aborted = AnswerAborted {
                id: RequestId {
                    epoch: self.epoch,
                    seq,
                },
                sent: Sent::MaybeSent,
                why: "no answer within 60 seconds".to_owned(),
            };
            self.answer_aborted(&aborted, turn);
        }
        let idle_ends = idle_since.map(|since| since.saturating_add(IDLE_US_MAX));
        let first = match (idle_ends, sockets_next) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        timer::next_look(now, soon || sockets_soon, first)
    }

    /// Ends a connection. A request of it that is under way goes on; its answer is dropped.
    fn end(&mut self, key: Key) {
        let Some(mut connection) = self.connections.remove(&key) else {
            return;
        };
        connection.transport.goodbye();
        self.partial_bytes = self.partial_bytes.saturating_sub(connection.input.len());
        if let State::Waiting { seq } | State::Answering { seq, .. } = connection.state
            && let Some(flight) = self.flights.remove(&seq)
        {
            self.less_from(connection.source);
            if flight.call == Call::Connect {
                self.gone.push(key);
            }
        }
        if let Some(socket) = connection.socket.take() {
            let before = self.flights.len();
            self.flights.retain(|_, flight| flight.key != key);
            if !connection.source.is_loopback() {
                for _ in self.flights.len()..before {
                    self.less_from(connection.source);
                }
            }
            self.socket_ended(key, &socket);
        }
        self.counts.connections_open = self.connections.len() as u64;
    }

    /// What the poll should watch a connection for, if that is not what it watches it for.
    pub fn change(&mut self, key: Key) -> Option<Change<'_>> {
        let connection = self.connections.get_mut(&key)?;
        let writes = connection.transport.is_pending();
        let socket = connection.transport.socket();
        Change::of(socket, &mut connection.watched, !connection.paused, writes)
    }

    /// The poll does not take it.
    pub fn unwatchable(&mut self, key: Key) {
        self.counts.connections_refused += 1;
        self.end(key);
    }

    /// Requests that wait for their answer.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.flights.len()
    }
}

/// The status by which egress says that a pipe is open.
const SWITCHED: u16 = 101;

const RESTARTED: &str =
    "a part of the gate restarted; the request may have reached the exchange, ask for the order";

/// Headers that concern the connection or the client's own library; no scheme signs them and no decision needs them.
const NOT_HANDED_ON: [&str; 10] = [
    "accept",
    "accept-encoding",
    "accept-language",
    "connection",
    "keep-alive",
    "user-agent",
    "cache-control",
    "pragma",
    "cookie",
    "priority",
];

enum Length {
    Known(u64),
    Chunked,
}

fn push_head(
    bytes: &mut Vec<u8>,
    status: u16,
    headers: &[Header<'_>],
    length: Length,
    close: bool,
) {
    // Writing into a `Vec` cannot fail.
    let _ = write!(
        bytes,
        "HTTP/1.1 {}{}",
        status.clamp(200, 999),
        reason(status)
    );
    for header in headers {
        // What a neighbour says must not end the line early.
        let (name, value): (&[u8], &ByteSlice) = (header.name.as_bytes(), header.value);
        if memchr::memchr3(b'\r', b'\n', 0, value).is_some()
            || memchr::memchr3(b'\r', b'\n', 0, name).is_some()
            || memchr::memchr2(b':', b' ', name).is_some()
        {
            continue;
        }
        bytes.extend_from_slice(name);
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value);
        bytes.extend_from_slice(b"\r\n");
    }
    match length {
        Length::Known(length) => {
            let _ = write!(bytes, "content-length: {length}\r\n");
        }
        Length::Chunked => bytes.extend_from_slice(b"transfer-encoding: chunked\r\n"),
    }
    if close {
        bytes.extend_from_slice(b"connection: close\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => " OK\r\n",
        400 => " Bad Request\r\n",
        401 => " Unauthorized\r\n",
        403 => " Forbidden\r\n",
        404 => " Not Found\r\n",
        408 => " Request Timeout\r\n",
        418 => " I'm a teapot\r\n",
        429 => " Too Many Requests\r\n",
        500 => " Internal Server Error\r\n",
        503 => " Service Unavailable\r\n",
        504 => " Gateway Timeout\r\n",
        _ => " \r\n",
    }
}

fn push_part(bytes: &mut Vec<u8>, part: &[u8], chunked: bool) {
    if part.is_empty() {
        return;
    }
    if chunked {
        let _ = write!(bytes, "{:x}\r\n", part.len());
    }
    bytes.extend_from_slice(part);
    if chunked {
        bytes.extend_from_slice(b"\r\n");
    }
}
