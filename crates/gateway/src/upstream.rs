//! Egress without its loop: jobs taken from the signer, connections to venues, answers on their way back. A job is sent
//! at most once: from the moment a byte of it may have left, it is only ever asked about. What happens to each job ends in
//! exactly one [`Outcome`], which is queued before the answer is.

mod sockets;

pub use sockets::{
    FRAMES_PER_SOCKET, FRAMES_PER_SOCKET_MAX, OPENINGS_MAX, OPENINGS_US, PIPE_BYTES_MAX,
    PIPE_FRAMES_MAX, PIPES_PER_HOST_MAX, SOCKET_AGE_US_MAX, SOCKET_IDLE_US_MAX,
    SOCKETS_PER_HOST_MAX, STREAMS_PER_HOST_MAX,
};

use crate::answer::{self, Body, Broken, Head};
use crate::budget::{Ask, Budgets, Hold, MINUTE_US};
use crate::metrics::EgressCounts;
use crate::neighbour::put;
use crate::table::Table;
use crate::timer;
use crate::tls;
use crate::transport::{Received, Transport};
use crate::watch::Change;
use minicbor::bytes::ByteSlice;
use portcullis_model::id::{AccountId, EntryId, RequestId, StrategyId};
use portcullis_model::report::{Report, Sent};
use portcullis_model::wire::{
    self, ANSWER_WINDOW_BYTES, AnswerAborted, AnswerChunk, AnswerHead, CHUNK_BYTES_MAX, Discard,
    Discarded, Header, Hosts, Lane, Orphans, Outcome, SUMMARY_BYTES_MAX, Send, Venue, Window, kind,
};
use portcullis_room::control::VenueLimits;
use portcullis_room::poll::Interest;
use portcullis_venues::Asked;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use sockets::Socket;
use std::collections::{HashMap, HashSet, VecDeque};
use std::io::Write;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;

/// Connections to one host at most; further jobs wait in their lane.
pub const CONNECTIONS_PER_HOST_MAX: usize = 128;
/// Jobs that wait for a connection of one host at most; the next one is `NotSent`. The signer's own bound for each lane
/// is `LINK_FRAMES_MAX`.
pub const WAITING_PER_HOST_MAX: usize = 4096;
/// And their bytes.
pub const WAITING_BYTES_MAX: usize = 16 << 20;
/// An idle connection is closed after this, well before venues close theirs: what is sent into a closing connection is
/// `MaybeSent`.
pub const IDLE_US_MAX: u64 = 25_000_000;
/// Connecting and agreeing on TLS may take this long; then the jobs that wait for it are `NotSent`.
pub const CONNECT_US_MAX: u64 = 5_000_000;
/// A connection that is not there after this no longer counts as on its way: another is tried, at the next address.
const SLOW_CONNECT_US: u64 = 1_000_000;
/// A connection that ends so soon after it was begun, and without an answer, was made in vain.
const IN_VAIN_US: u64 = 1_000_000;
/// After a connection in vain none is made for this long while others are at work; after the second in a row none at all, for
/// twice as long each time, up to [`RETRY_US_MAX`], and then one at a time until one brings an answer. A job that finds no
/// connection meanwhile is `NotSent` at once. So a venue that refuses or closes costs a handshake now and then, and is not
/// stormed by us.
const RETRY_US: u64 = 100_000;
pub const RETRY_US_MAX: u64 = 1_600_000;
/// A host's addresses are looked up again when a connection is made and they are older than this.
pub const ADDRESSES_FRESH_US: u64 = 60_000_000;
/// Bytes for ingress that its link has not taken yet, at most: beyond it answers stay with the venue, and those that are
/// held whole are dropped. A summary never is.
pub const INGRESS_BYTES_MAX: usize = 8 << 20;
/// From the first byte out to the head of the answer; then the job is `MaybeSent`.
pub const ANSWER_US_MAX: u64 = 30_000_000;
/// A client that takes nothing of its answer for this long loses the answer.
pub const STALL_US_MAX: u64 = 30_000_000;
/// Reports in one frame at most: 200 of the largest fit.
const REPORTS_PER_FRAME_MAX: usize = 150;
/// Bytes of held answers at most, over all jobs: once their summaries are taken, and the same again while they arrive.
/// Beyond it an answer is dropped, or no longer held for its summary.
const HELD_BYTES_MAX: usize = 48 << 20;
/// Answers below this are not counted while they arrive.
const HELD_SMALL_BYTES: usize = 256 << 10;
/// An idle connection's buffer is given back above this.
const INPUT_BYTES_KEPT: usize = 16 << 10;

/// A connection's place in the table, with a number that is never used twice.
pub type Key = u64;

/// One signed request, ready to be written.
#[derive(Debug)]
struct Job {
    id: RequestId,
    entry: Option<EntryId>,
    strategy: StrategyId,
    account: Option<AccountId>,
    lane: Lane,
    host: usize,
    endpoint: u16,
    /// What the budget still counts as under way for it.
    weight: u32,
    orders: u32,
    not_after_us: u64,
    summarize: bool,
    /// The endpoint, if the venue counts it apart.
    apart: Option<u16>,
    bytes: Vec<u8>,
    /// Path and query within `bytes`: which symbol a list was asked for.
    target: Range<usize>,
    /// Where the body begins in `bytes`: which market an order is of, where the answer leaves it out.
    body: usize,
    /// It opens a stream.
    stream: bool,
    /// It is of this pipe, or opens it.
    pipe: Option<RequestId>,
    /// When its first byte was handed to a connection.
    started_us: u64,
    /// It must not be handed to another connection: it was once, or a halt has asked about it.
    retried: bool,
}

/// How far an answer is.
#[derive(Debug)]
enum Reading {
    Head,
    /// Held whole for the summary.
    Held {
        head: Head,
        body: Body,
        bytes: Vec<u8>,
    },
    /// Passed on as it comes; `window` bytes may still be sent ahead of the client.
    Streamed {
        body: Body,
        keep_alive: bool,
        window: u32,
        since_us: u64,
        /// What was held before it turned out to be too long, and how much of it is passed on.
        ahead: Vec<u8>,
        ahead_at: usize,
    },
}

#[derive(Debug)]
struct Connection {
    transport: Transport,
    host: usize,
    job: Option<Job>,
    reading: Reading,
    input: Vec<u8>,
    /// Since when it is idle, connecting, or waiting for its answer.
    since_us: u64,
    made_us: u64,
    /// It has carried an answer.
    answered: bool,
    /// Connected and agreed on TLS.
    ready: bool,
    /// Not read from: its client has no window.
    paused: bool,
    /// What the poll watches it for.
    watched: Option<Interest>,
}

#[derive(Debug)]
struct Place {
    facts: wire::Host,
    tls: Arc<ClientConfig>,
    name: Option<ServerName<'static>>,
    addresses: Vec<SocketAddr>,
    /// The address is a number: it needs no look-up.
    is_literal: bool,
    /// When they were looked up, or asked for.
    looked_up_us: u64,
    next_address: usize,
    idle: Vec<Key>,
    connections: usize,
    connecting: usize,
    /// Of these, those that take long.
    slow: usize,
    /// Connections in vain, in a row, and the moment of the last.
    in_vain: u32,
    failed_us: u64,
    /// Not before this is a connection tried again.
    retry_us: u64,
    /// WebSocket is spoken with it.
    speaks_frames: bool,
    /// When WebSockets were opened to it of late.
    openings: VecDeque<u64>,
    /// By lane, served in lane order.
    waiting: [VecDeque<Job>; 6],
    waiting_bytes: usize,
    budgets: Budgets,
}

impl Place {
    fn waiting(&self) -> usize {
        self.waiting.iter().map(VecDeque::len).sum()
    }

    fn push(&mut self, job: Job, front: bool) {
        self.waiting_bytes += job.bytes.len();
        if let Some(lane) = self.waiting.get_mut(job.lane as usize) {
            match front {
                true => lane.push_front(job),
                false => lane.push_back(job),
            }
        }
    }

    /// Whether the venue takes one more WebSocket of a program's own now.
    fn takes_another(&mut self, now_us: u64) -> bool {
        self.openings
            .retain(|at| now_us.saturating_sub(*at) <= OPENINGS_US);
        self.openings.len() < OPENINGS_MAX
    }

    /// The next job: the first lane's first.
    fn pop(&mut self) -> Option<Job> {
        let job = self.waiting.iter_mut().find_map(VecDeque::pop_front)?;
        self.waiting_bytes = self.waiting_bytes.saturating_sub(job.bytes.len());
        Some(job)
    }

    fn take_all(&mut self) -> Vec<Job> {
        self.waiting_bytes = 0;
        self.waiting.iter_mut().flat_map(std::mem::take).collect()
    }

    /// Connections that are tried at a time for so many waiting jobs.
    fn tries(&self, waiting: usize) -> usize {
        match self.in_vain {
            0 => waiting,
            _ => waiting.min(1),
        }
    }

    /// What the signer is told of it.
    fn venue(&mut self, host: usize, now_us: u64) -> Venue {
        let limits = self.limits(now_us);
        Venue {
            host: u16::try_from(host).unwrap_or(u16::MAX),
            weight_used: limits.weight_used,
            banned_until_us: limits.banned_until_us,
            connections: u32::try_from(self.connections).unwrap_or(u32::MAX),
        }
    }

    fn limits(&mut self, now_us: u64) -> VenueLimits {
        self.budgets.limits(&self.facts.name, now_us)
    }
}

/// An answer that is held whole in memory until its client has taken it.
#[derive(Debug)]
struct Held {
    bytes: Vec<u8>,
    at: usize,
    window: u32,
    since_us: u64,
}

/// Frames for the neighbours and changes for the poll, filled by the methods of [`Upstream`].
#[derive(Debug, Default)]
pub struct Turn {
    pub to_signer: Vec<u8>,
    pub to_ingress: Vec<u8>,
    /// Connections that are new, or may be waited for otherwise than before: see `change`.
    pub watch: Vec<Key>,
    /// Hosts whose names must be looked up.
    pub resolve: Vec<String>,
    /// Bytes that the link to ingress has not taken yet.
    pub ingress_waiting: usize,
    /// What an operator should read.
    pub lines: Vec<Line>,
    /// What the next run must know has changed: [`Upstream::limits`] is to be told.
    pub limits: bool,
}

/// Something that happened at a venue's side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// No connection to a host can be made.
    Unreachable { host: String, why: String },
    /// A host showed a certificate that the release does not allow.
    CertificateRefused { host: String },
    /// A venue answered 429 or 418: nothing goes out until then.
    AskedToWait {
        host: String,
        status: u16,
        wait_us: u64,
    },
}

/// All that egress knows.
#[derive(Debug)]
pub struct Upstream {
    /// Boot clock and time of day at the start of this turn, microseconds.
    now_us: u64,
    wall_us: u64,
    ingress_epoch: u32,
    places: Vec<Place>,
    roots: Vec<Vec<u8>>,
    /// Limits of hosts that there is no place for: of the run before this one, or of a release before.
    before: Vec<VenueLimits>,
    /// Requests taken when the limits were told last.
    told_at: u64,
    connections: Table<Connection>,
    /// Connections that speak WebSocket.
    sockets: Table<Socket>,
    next_key: Key,
    /// The number in the id of the next frame.
    next_frame: u64,
    /// A frame that is being written.
    out: Vec<u8>,
    /// Which connection carries the answer of a request, for windows.
    streams: HashMap<RequestId, Key>,
    held: HashMap<RequestId, Held>,
    held_bytes: usize,
    scratch: Vec<u8>,
    is_ending: bool,
    pub counts: EgressCounts,
}

impl Upstream {
    /// `before`: what the run before this one told.
    #[must_use]
    pub fn new(first_key: Key, before: Vec<VenueLimits>) -> Self {
        Self {
            now_us: 0,
            wall_us: 0,
            ingress_epoch: 0,
            places: Vec::new(),
            roots: Vec::new(),
            before,
            told_at: 0,
            connections: Table::default(),
            sockets: Table::default(),
            next_key: first_key,
            next_frame: 1,
            out: Vec::new(),
            streams: HashMap::new(),
            held: HashMap::new(),
            held_bytes: 0,
            scratch: vec![0; crate::transport::READ_BYTES_MAX],
            is_ending: false,
            counts: EgressCounts::default(),
        }
    }

    /// Reads the clocks for this turn.
    pub fn set_time(&mut self, boot_us: u64, wall_us: u64) {
        self.now_us = boot_us;
        self.wall_us = wall_us;
    }

    /// A new run of ingress: answers of the run before are dropped, their summaries are not.
    pub fn set_ingress_epoch(&mut self, epoch: u32, turn: &mut Turn) {
        self.ingress_epoch = epoch;
        self.end_streams(turn);
        self.held.clear();
        self.held_bytes = 0;
        // The rest of an answer that nobody waits for: its summary is out.
        let unwanted: Vec<Key> = self.streams.values().copied().collect();
        for key in unwanted {
            self.drop_connection(key, "ingress_restarted", turn);
        }
    }

    /// The signer is gone. What has not left may not leave any more: a halt in its next run does not know of it. What is
    /// under way goes on.
    pub fn signer_lost(&mut self, turn: &mut Turn) {
        let jobs: Vec<Job> = self.places.iter_mut().flat_map(Place::take_all).collect();
        self.counts.discarded += jobs.len() as u64;
        for job in jobs {
            self.fail(job, Sent::NotSent, "signer_restarted", turn);
        }
        self.end_known_streams(turn);
    }

    /// Ingress has lost its signer and asks for these. What is held has its answer in time; of the rest nobody will say more.
    pub fn orphans(&mut self, asked: &Orphans, turn: &mut Turn) {
        let waiting = self
            .places
            .iter()
            .flat_map(|place| &place.waiting)
            .flatten();
        let frames = self
            .sockets
            .values()
            .flat_map(|it| it.jobs.values().chain(&it.opening));
        let under_way = self.connections.values().filter_map(|it| it.job.as_ref());
        let under_way = under_way.chain(frames);
        let held: HashSet<RequestId> = waiting
            .chain(under_way)
            .map(|job| job.id)
            .chain(self.held.keys().copied())
            .collect();
        for seq in &asked.seqs {
            let id = RequestId {
                epoch: asked.epoch,
                seq: *seq,
            };
            if !held.contains(&id) {
                self.abort(id, Sent::MaybeSent, "signer_restarted", turn);
            }
        }
    }

    /// The release's hosts. Connections and jobs of hosts that are unchanged go on; those of others end. After an error
    /// there is no host.
    pub fn set_hosts(&mut self, hosts: &Hosts, turn: &mut Turn) -> Result<(), tls::TlsError> {
        let roots: Vec<Vec<u8>> = hosts.roots.iter().map(|root| root.to_vec()).collect();
        let same_roots = roots == self.roots;
        let mut old: Vec<Option<Place>> = std::mem::take(&mut self.places)
            .into_iter()
            .map(Some)
            .collect();
        // Where each old place went.
        let mut moved: Vec<Option<usize>> = vec![None; old.len()];
        let mut places = Vec::with_capacity(hosts.hosts.len());
        let mut made = Ok(());
        for host in &hosts.hosts {
            let kept = old.iter_mut().enumerate().find_map(|(at, slot)| {
                let same = same_roots && slot.as_ref().is_some_and(|place| place.facts == *host);
                same.then(|| slot.take().map(|place| (at, place))).flatten()
            });
            if let Some((at, mut place)) = kept {
                if let Some(slot) = moved.get_mut(at) {
                    *slot = Some(places.len());
                }
                for job in place.waiting.iter_mut().flatten() {
                    job.host = places.len();
                }
                places.push(place);
                continue;
            }
            match self.place(host, &roots, turn) {
                Ok(mut place) => {
                    // The venue's counts and its requests to wait are of our address, not of the release.
                    let before = old
                        .iter_mut()
                        .flatten()
                        .find(|before| before.facts.name == host.name);
                    if let Some(before) = before {
                        std::mem::swap(&mut place.budgets, &mut before.budgets);
                        place
                            .budgets
                            .set_limits(host.weight_per_minute, host.orders_per_10s);
                    }
                    places.push(place);
                }
                Err(error) => {
                    made = Err(error);
                    break;
                }
            }
        }
        if made.is_err() {
            // Half a release is none.
            old.extend(places.drain(..).map(Some));
            moved = vec![None; old.len()];
        }
        let now = self.now_us;
        let mut left: Vec<VenueLimits> = old
            .iter_mut()
            .flatten()
            .map(|place| place.limits(now))
            .filter(|left| !places.iter().any(|place| place.facts.name == left.host))
            .collect();
        self.before.append(&mut left);
        let gone = |host: usize| moved.get(host).copied().flatten().is_none();
        let keys: Vec<Key> = self
            .connections
            .iter()
            .filter(|(_, connection)| gone(connection.host))
            .map(|(key, _)| *key)
            .collect();
        let sockets: Vec<Key> = self
            .sockets
            .iter()
            .filter(|(_, socket)| gone(socket.host))
            .map(|(key, _)| *key)
            .collect();
        let jobs: Vec<Job> = old.iter_mut().flatten().flat_map(Place::take_all).collect();
        self.places = places;
        self.roots = match made {
            Ok(()) => roots,
            Err(_) => Vec::new(),
        };
        for key in keys {
            if let Some(connection) = self.connections.get_mut(&key) {
                connection.host = usize::MAX;
                if let Some(job) = &mut connection.job {
                    job.host = usize::MAX;
                }
            }
            self.drop_connection(key, "release_changed", turn);
        }
        for key in sockets {
            if let Some(socket) = self.sockets.get_mut(&key) {
                socket.host = usize::MAX;
                for job in socket.jobs.values_mut().chain(&mut socket.opening) {
                    job.host = usize::MAX;
                }
            }
            self.drop_socket(key, "release_changed", turn);
        }
        for socket in self.sockets.values_mut() {
            socket.host = moved
                .get(socket.host)
                .copied()
                .flatten()
                .unwrap_or(usize::MAX);
            for job in socket.jobs.values_mut().chain(&mut socket.opening) {
                job.host = socket.host;
            }
        }
        for connection in self.connections.values_mut() {
            connection.host = moved
                .get(connection.host)
                .copied()
                .flatten()
                .unwrap_or(usize::MAX);
            if let Some(job) = &mut connection.job {
                job.host = connection.host;
            }
        }
        for mut job in jobs {
            job.host = usize::MAX;
            self.fail(job, Sent::NotSent, "release_changed", turn);
        }
        for (host, place) in self.places.iter_mut().enumerate() {
            let venue = place.venue(host, now);
            if venue.banned_until_us > now {
                put(&mut turn.to_signer, kind::VENUE, &venue);
            }
        }
        made
    }

    /// What the next run of egress must know. Bounded by the hosts of the releases that this run saw within the last minute,
    /// or while a venue asked to wait.
    pub fn limits(&mut self) -> Vec<VenueLimits> {
        let now = self.now_us;
        self.before
            .retain(|before| before.banned_until_us.max(before.at_us + MINUTE_US) > now);
        let places = self.places.iter_mut().map(|place| place.limits(now));
        places.chain(self.before.iter().cloned()).collect()
    }

    fn place(
        &mut self,
        host: &wire::Host,
        roots: &[Vec<u8>],
        turn: &mut Turn,
    ) -> Result<Place, tls::TlsError> {
        let addresses: Vec<SocketAddr> = host.address.parse().into_iter().collect();
        let is_literal = !addresses.is_empty();
        if !is_literal {
            turn.resolve.push(host.address.clone());
        }
        let mut budgets = Budgets::new(host.weight_per_minute, host.orders_per_10s);
        let (now, tls) = (self.now_us, tls::client(host, roots)?);
        self.before.retain(|before| {
            let is_other = before.host != host.name;
            if !is_other {
                budgets.recall(before, now);
            }
            is_other
        });
        Ok(Place {
            tls,
            name: ServerName::try_from(host.name.clone()).ok(),
            addresses,
            is_literal,
            looked_up_us: self.now_us,
            next_address: 0,
            idle: Vec::new(),
            connections: 0,
            connecting: 0,
            slow: 0,
            in_vain: 0,
            failed_us: 0,
            retry_us: 0,
            speaks_frames: false,
            openings: VecDeque::new(),
            waiting: Default::default(),
            waiting_bytes: 0,
            budgets,
            facts: host.clone(),
        })
    }

    /// Addresses of a host, looked up by `up`.
    pub fn set_addresses(&mut self, address: &str, found: &[SocketAddr], turn: &mut Turn) {
        for at in 0..self.places.len() {
            let Some(place) = self
                .places
                .get_mut(at)
                .filter(|place| place.facts.address == address)
            else {
                continue;
            };
            place.looked_up_us = self.now_us;
            // A name that is not found now and was before: the old addresses are better than none.
            if !found.is_empty() {
                place.addresses = found.to_vec();
                place.addresses.truncate(ADDRESSES_MAX);
                self.serve(at, turn);
            } else if place.addresses.is_empty() && place.waiting() > 0 {
                self.unreachable(at, "address_unknown", turn);
            }
        }
    }

    /// A signed request from the signer.
    pub fn take(&mut self, send: &Send<'_>, turn: &mut Turn) {
        self.counts.taken += 1;
        if self.is_ending {
            return self.refuse(send, "egress_ends", turn);
        }
        let host = usize::from(send.host);
        let Some(place) = self.places.get_mut(host) else {
            return self.refuse(send, "no_such_host", turn);
        };
        if send.not_after_us != 0 && self.now_us > send.not_after_us {
            return self.refuse(send, "too_late", turn);
        }
        let apart =
            crate::venue::counts_apart(&place.facts.venue, send.target).then_some(send.endpoint);
        let ask = Ask {
            lane: send.lane,
            strategy: send.strategy,
            account: send.account,
            weight: send.weight,
            orders: send.orders,
            share: send.share,
        };
        let is_frame = send.method == wire::FRAME_METHOD;
        if is_frame != place.speaks_frames {
            if place.connections > 0 || place.waiting() > 0 {
                // A host speaks one or the other.
                return self.refuse(send, "no_such_host", turn);
            }
            place.speaks_frames = is_frame;
        }
        if send.stream && self.streams_of(host) >= STREAMS_PER_HOST_MAX {
            return self.refuse(send, "too_many_streams", turn);
        }
        let now = self.now_us;
        // Programs do not use up what the gate listens by itself.
        if send.stream
            && send.id.epoch != 0
            && let Some(place) = self.places.get_mut(host)
            && !place.takes_another(now)
        {
            return self.refuse(send, "venue_connections", turn);
        }
        let Some(place) = self.places.get_mut(host) else {
            return;
        };
        if let Err(hold) = place.budgets.of(apart).take(ask, self.now_us) {
            self.counts.hold(hold);
            return self.refuse(send, hold.name(), turn);
        }
        let (bytes, target, body) = match is_frame {
            true => (
                [&send.target[..], &send.body[..]].concat(),
                0..send.target.len(),
                send.target.len(),
            ),
            false => render(send, &place.facts.name),
        };
        let full = place.waiting() >= WAITING_PER_HOST_MAX
            || place.waiting_bytes + bytes.len() > WAITING_BYTES_MAX;
        let job = Job {
            id: send.id,
            entry: send.entry,
            strategy: send.strategy,
            account: send.account,
            lane: send.lane,
            host,
            endpoint: send.endpoint,
            weight: send.weight,
            orders: send.orders,
            not_after_us: send.not_after_us,
            summarize: send.summarize,
            apart,
            bytes,
            target,
            body,
            stream: send.stream,
            pipe: send.pipe,
            started_us: 0,
            retried: false,
        };
        if full {
            return self.fail(job, Sent::NotSent, "too_many_waiting", turn);
        }
        place.push(job, false);
        self.serve(host, turn);
    }

    /// A job that never became one.
    fn refuse(&mut self, send: &Send<'_>, why: &str, turn: &mut Turn) {
        self.finish(
            send.id,
            send.entry,
            Sent::NotSent,
            0,
            Vec::new(),
            Some(why),
            0,
            turn,
        );
        self.abort(send.id, Sent::NotSent, why, turn);
    }

    /// Gives waiting jobs to idle connections, and makes connections for the rest.
    fn serve(&mut self, host: usize, turn: &mut Turn) {
        if self.places.get(host).is_some_and(|it| it.speaks_frames) {
            if self.has_addresses(host, turn) {
                self.serve_frames(host, turn);
            }
            return;
        }
        loop {
            let Some(place) = self.places.get_mut(host) else {
                return;
            };
            let Some(job) = place.pop() else { return };
            let why = if job.not_after_us != 0 && self.now_us > job.not_after_us {
                "too_late"
            } else if place.budgets.of(job.apart).banned_until_us() > self.now_us {
                // It was let through before the venue asked to wait.
                "venue_asked_to_wait"
            } else if let Some(key) = place.idle.pop() {
                self.write(key, job, turn);
                continue;
            } else {
                place.push(job, true);
                break;
            };
            self.fail(job, Sent::NotSent, why, turn);
        }
        let Some(place) = self.places.get(host) else {
            return;
        };
        let waiting = place.waiting();
        if !self.has_addresses(host, turn) {
            return;
        }
        while let Some(place) = self.places.get(host)
            && place.connecting.saturating_sub(place.slow) < place.tries(waiting)
            && place.connections < CONNECTIONS_PER_HOST_MAX
        {
            if !self.may_connect(host, turn) {
                return;
            }
            if let Err(why) = self.connect(host, turn) {
                self.in_vain(host, self.now_us);
                self.unreachable(host, &why, turn);
                return;
            }
        }
    }

    /// Whether a host's addresses are known. If not, the look-up is asked for once; its answer, or a second, ends the wait.
    fn has_addresses(&mut self, host: usize, turn: &mut Turn) -> bool {
        let Some(place) = self.places.get_mut(host) else {
            return false;
        };
        let is_known = !place.addresses.is_empty();
        if !is_known && self.now_us.saturating_sub(place.looked_up_us) > LOOK_UP_US_MAX {
            place.looked_up_us = self.now_us;
            turn.resolve.push(place.facts.address.clone());
            self.unreachable(host, "address_unknown", turn);
        }
        is_known
    }

    /// Whether another connection may be tried now. Jobs that could wait for nothing else are `NotSent`.
    fn may_connect(&mut self, host: usize, turn: &mut Turn) -> bool {
        let Some(place) = self.places.get_mut(host) else {
            return false;
        };
        if place.retry_us > self.now_us {
            if place.connections > 0 {
                return false;
            }
            if place.in_vain > 1 {
                for job in place.take_all() {
                    self.counts.held_connections += 1;
                    self.fail(job, Sent::NotSent, "connections_fail", turn);
                }
                return false;
            }
        }
        if !place.is_literal && self.now_us.saturating_sub(place.looked_up_us) > ADDRESSES_FRESH_US
        {
            place.looked_up_us = self.now_us;
            turn.resolve.push(place.facts.address.clone());
        }
        true
    }

    /// Begins a connection to a host, and counts it.
    fn dial(&mut self, host: usize) -> Result<Transport, String> {
        let place = self.places.get_mut(host).ok_or("no_such_host")?;
        let address = place
            .addresses
            .get(place.next_address % place.addresses.len().max(1))
            .copied()
            .ok_or("address_unknown")?;
        place.next_address = place.next_address.wrapping_add(1);
        let socket = crate::dial(address).map_err(|e| e.kind().to_string())?;
        let Some(name) = place.name.clone() else {
            return Err("host_name_is_no_dns_name".to_owned());
        };
        let tls = rustls::ClientConnection::new(Arc::clone(&place.tls), name)
            .map_err(|e| e.to_string())?;
        place.connections += 1;
        place.connecting += 1;
        self.counts.connections_made += 1;
        Ok(Transport::tls(socket, tls.into()))
    }

    fn connect(&mut self, host: usize, turn: &mut Turn) -> Result<(), String> {
        let transport = self.dial(host)?;
        let key = self.next_key;
        self.next_key += 1;
        let connection = Connection {
            transport,
            host,
            job: None,
            reading: Reading::Head,
            input: Vec::new(),
            since_us: self.now_us,
            made_us: self.now_us,
            answered: false,
            ready: false,
            paused: false,
            watched: None,
        };
        self.connections.insert(key, connection);
        turn.watch.push(key);
        Ok(())
    }

    fn write(&mut self, key: Key, mut job: Job, turn: &mut Turn) {
        job.started_us = self.now_us;
        let Some(connection) = self.connections.get_mut(&key) else {
            return self.again(job, turn);
        };
        connection.since_us = self.now_us;
        connection.reading = Reading::Head;
        connection.transport.mark();
        let written = connection.transport.send(&job.bytes);
        connection.job = Some(job);
        match written {
            Ok(()) if connection.transport.is_pending() => turn.watch.push(key),
            Ok(()) => {}
            Err(error) => self.drop_connection(key, kind_name(&error), turn),
        }
    }

    /// A job whose connection was closed before a byte of it left goes to the front of its lane, once.
    fn again(&mut self, mut job: Job, turn: &mut Turn) {
        if job.retried {
            return self.fail(job, Sent::NotSent, "connection_closed", turn);
        }
        job.retried = true;
        let host = job.host;
        match self.places.get_mut(host) {
            Some(place) => place.push(job, true),
            None => return self.fail(job, Sent::NotSent, "release_changed", turn),
        }
        self.serve(host, turn);
    }

    /// The loop says that a connection can be read from, written to, or both.
    pub fn ready(&mut self, key: Key, readable: bool, writable: bool, turn: &mut Turn) {
        if self.is_socket(key) {
            return self.socket_ready(key, readable, writable, turn);
        }
        if writable
            && let Some(connection) = self.connections.get_mut(&key)
            && (connection.transport.is_pending() || !connection.ready)
        {
            let late = connection
                .job
                .as_ref()
                .is_some_and(|job| job.not_after_us != 0 && self.now_us > job.not_after_us);
            if late && !connection.transport.touched() {
                // It waited in front of the socket for too long; with the connection its bytes go.
                return self.drop_connection(key, "too_late", turn);
            }
            let was_pending = connection.transport.is_pending();
            match connection.transport.flush() {
                Ok(drained) if was_pending && drained => turn.watch.push(key),
                Ok(_) => {}
                Err(error) => return self.drop_connection(key, kind_name(&error), turn),
            }
        }
        let paused = |connection: &Connection| connection.paused;
        if readable && !self.connections.get(&key).is_some_and(paused) {
            self.read(key, turn);
        }
        self.became_ready(key, turn);
    }

    fn became_ready(&mut self, key: Key, turn: &mut Turn) {
        let Some(connection) = self.connections.get_mut(&key) else {
            return;
        };
        if connection.ready || connection.transport.is_handshaking() {
            return;
        }
        connection.ready = true;
        connection.since_us = self.now_us;
        let host = connection.host;
        turn.watch.push(key);
        if let Some(place) = self.places.get_mut(host) {
            place.connecting = place.connecting.saturating_sub(1);
            place.slow = place.slow.min(place.connecting);
            place.idle.push(key);
        }
        self.serve(host, turn);
    }

    fn read(&mut self, key: Key, turn: &mut Turn) {
        let Some(connection) = self.connections.get_mut(&key) else {
            return;
        };
        let received = connection
            .transport
            .receive(&mut self.scratch, &mut connection.input);
        let pending = connection.transport.is_pending();
        match received {
            Ok(Received::Bytes(0)) => {
                if pending {
                    turn.watch.push(key);
                }
            }
            Ok(Received::Bytes(_)) => {
                self.progress(key, turn);
                let ended = |connection: &Connection| {
                    !connection.paused && connection.transport.has_ended()
                };
                if self.connections.get(&key).is_some_and(ended) {
                    self.closed(key, turn);
                }
            }
            Ok(Received::Closed) => self.closed(key, turn),
            Err(error) => self.drop_connection(key, kind_name(&error), turn),
        }
    }

    /// Takes the answer further with what has arrived.
    fn progress(&mut self, key: Key, turn: &mut Turn) {
        loop {
            let Some(connection) = self.connections.get_mut(&key) else {
                return;
            };
            if connection.job.is_none() {
                // A venue that speaks unasked: nobody knows what its bytes would answer.
                if !connection.input.is_empty() {
                    self.drop_connection(key, "unasked_bytes", turn);
                }
                return;
            }
            let step = match &mut connection.reading {
                Reading::Head => match answer::head(&connection.input) {
                    Ok(None) => return,
                    Ok(Some((head, used))) => {
                        connection.input.drain(..used);
                        self.begin(key, head, turn)
                    }
                    Err(broken) => Err(broken),
                },
                Reading::Held { body, bytes, .. } => {
                    match body.take(
                        &connection.input,
                        bytes,
                        SUMMARY_BYTES_MAX.saturating_sub(bytes.len()),
                    ) {
                        Err(broken) => Err(broken),
                        Ok(used) => {
                            connection.input.drain(..used);
                            if body.is_done() {
                                self.held_whole(key, turn);
                                return;
                            }
                            let length = bytes.len();
                            if length >= SUMMARY_BYTES_MAX
                                || length > HELD_SMALL_BYTES && self.holding() > HELD_BYTES_MAX
                            {
                                self.too_long_to_hold(key, turn);
                                continue;
                            }
                            return;
                        }
                    }
                }
                Reading::Streamed { .. } => match self.stream(key, turn) {
                    Ok(true) => continue,
                    Ok(false) => return,
                    Err(broken) => Err(broken),
                },
            };
            if let Err(broken) = step {
                return self.broken(key, broken, turn);
            }
        }
    }

    /// The head is there: note the venue's counts, and choose between holding and streaming.
    fn begin(&mut self, key: Key, head: Head, turn: &mut Turn) -> Result<(), Broken> {
        let Some(connection) = self.connections.get_mut(&key) else {
            return Ok(());
        };
        let Some(job) = connection.job.as_mut() else {
            return Ok(());
        };
        connection.answered = true;
        if let Some(place) = self.places.get_mut(connection.host) {
            (place.in_vain, place.retry_us) = (0, 0);
            let number = |name: &str| {
                std::str::from_utf8(head.headers.get(name)?)
                    .ok()?
                    .trim()
                    .parse::<u64>()
                    .ok()
            };
            let apart = job.apart;
            let budget = place.budgets.of(apart);
            budget.finished(std::mem::take(&mut job.weight));
            let used = match apart {
                Some(_) => None,
                None => number("x-mbx-used-weight-1m"),
            };
            let orders = job.account.zip(number("x-mbx-order-count-10s"));
            budget.reported(used, orders, self.now_us, self.wall_us);
            let ban = crate::venue::ban_s(&place.facts.venue, head.status);
            if ban.is_some() || matches!(head.status, 429 | 418) {
                let hold = crate::venue::hold_s(&place.facts.venue);
                let after = number("retry-after").or(ban).or(hold);
                // A ban is of the address, however a venue says it.
                let status = ban.map_or(head.status, |_| 418);
                place.budgets.refused(apart, status, after, self.now_us);
                let host = connection.host;
                self.asked_to_wait(host, apart, head.status, turn);
            }
        }
        let Some(connection) = self.connections.get_mut(&key) else {
            return Ok(());
        };
        let Some(job) = connection.job.as_mut() else {
            return Ok(());
        };
        let body = Body::new(&head);
        let hold = (job.summarize
            || body.is_done()
            || head.length.is_some_and(|n| n <= CHUNK_BYTES_MAX as u64))
            && head.length.is_none_or(|n| n <= SUMMARY_BYTES_MAX as u64);
        if hold {
            let expected = head.length.unwrap_or(0).min(HELD_SMALL_BYTES as u64) as usize;
            let (bytes, body) = if head.length == Some(connection.input.len() as u64) {
                // It is all there, and nothing else.
                (std::mem::take(&mut connection.input), Body::done())
            } else {
                (Vec::with_capacity(expected), body)
            };
            connection.reading = Reading::Held { head, body, bytes };
            return Ok(());
        }
        let reports = if job.summarize {
            vec![Report::Unreadable]
        } else {
            Vec::new()
        };
        self.start_stream(key, &head, body, Vec::new(), reports, turn);
        Ok(())
    }

    /// A venue has asked us to wait: the signer, an operator and the next run are told.
    fn asked_to_wait(&mut self, host: usize, apart: Option<u16>, status: u16, turn: &mut Turn) {
        let Some(place) = self.places.get_mut(host) else {
            return;
        };
        self.counts.venue_waits += 1;
        turn.limits = true;
        turn.lines.push(Line::AskedToWait {
            host: place.facts.name.clone(),
            status,
            wait_us: place
                .budgets
                .of(apart)
                .banned_until_us()
                .saturating_sub(self.now_us),
        });
        let venue = place.venue(host, self.now_us);
        put(&mut turn.to_signer, kind::VENUE, &venue);
    }

    /// Bytes of answers that arrive and are held until they are whole.
    fn holding(&self) -> usize {
        self.connections
            .values()
            .map(|connection| match &connection.reading {
                Reading::Held { bytes, .. } => bytes.len(),
                Reading::Streamed { ahead, .. } => ahead.len(),
                Reading::Head => 0,
            })
            .sum()
    }

    /// The summary is given up (the answer is longer than is held): pass on what there is, and the rest as it comes.
    fn too_long_to_hold(&mut self, key: Key, turn: &mut Turn) {
        let Some(connection) = self.connections.get_mut(&key) else {
            return;
        };
        if let Reading::Held { head, body, bytes } =
            std::mem::replace(&mut connection.reading, Reading::Head)
        {
            self.start_stream(key, &head, body, bytes, vec![Report::Unreadable], turn);
        }
    }

    fn start_stream(
        &mut self,
        key: Key,
        head: &Head,
        body: Body,
        ahead: Vec<u8>,
        reports: Vec<Report>,
        turn: &mut Turn,
    ) {
        let Some(connection) = self.connections.get_mut(&key) else {
            return;
        };
        let Some(job) = connection.job.as_ref() else {
            return;
        };
        let (id, entry, took) = (
            job.id,
            job.entry,
            self.now_us.saturating_sub(job.started_us),
        );
        connection.reading = Reading::Streamed {
            body,
            keep_alive: head.keep_alive,
            window: ANSWER_WINDOW_BYTES,
            since_us: self.now_us,
            ahead,
            ahead_at: 0,
        };
        self.streams.insert(id, key);
        self.finish(
            id,
            entry,
            Sent::Sent,
            head.status,
            reports,
            None,
            took,
            turn,
        );
        if self.reaches_ingress(id) {
            put_head(&mut turn.to_ingress, id, head, head.length, &[], false);
        }
    }

    /// Passes on what the window allows. `true`: look again; `false`: wait.
    fn stream(&mut self, key: Key, turn: &mut Turn) -> Result<bool, Broken> {
        let Some(connection) = self.connections.get_mut(&key) else {
            return Ok(false);
        };
        let Some(job) = connection.job.as_ref() else {
            return Ok(false);
        };
        let Reading::Streamed {
            body,
            keep_alive,
            window,
            since_us,
            ahead,
            ahead_at,
        } = &mut connection.reading
        else {
            return Ok(false);
        };
        let (id, keep_alive) = (job.id, *keep_alive);
        let wanted = id.epoch != 0 && self.ingress_epoch == id.epoch;
        let limit = if !wanted {
            CHUNK_BYTES_MAX
        } else if turn.ingress_waiting + turn.to_ingress.len() > INGRESS_BYTES_MAX {
            0
        } else {
            (*window as usize).min(CHUNK_BYTES_MAX)
        };
        if limit == 0 && !(body.is_done() && ahead.is_empty()) {
            if !connection.paused {
                connection.paused = true;
                *since_us = self.now_us;
                turn.watch.push(key);
            }
            return Ok(false);
        }
        let mut part = Vec::new();
        let used = if ahead.is_empty() {
            let used = body.take(&connection.input, &mut part, limit)?;
            connection.input.drain(..used);
            used
        } else {
            let rest = ahead.get(*ahead_at..).unwrap_or_default();
            part.extend_from_slice(rest.get(..limit).unwrap_or(rest));
            *ahead_at += part.len();
            if *ahead_at >= ahead.len() {
                *ahead = Vec::new();
            }
            part.len()
        };
        let done = body.is_done() && ahead.is_empty();
        if wanted {
            *window = window.saturating_sub(u32::try_from(part.len()).unwrap_or(u32::MAX));
            if done || !part.is_empty() {
                let chunk = AnswerChunk {
                    id,
                    body: part[..].into(),
                    last: done,
                };
                put(&mut turn.to_ingress, kind::ANSWER_CHUNK, &chunk);
            }
        }
        if done {
            self.streams.remove(&id);
            self.release(key, keep_alive, turn);
            return Ok(false);
        }
        Ok(used > 0)
    }

    /// A held answer is whole: the summary goes to the signer, then the answer to ingress.
    fn held_whole(&mut self, key: Key, turn: &mut Turn) {
        let Some(connection) = self.connections.get_mut(&key) else {
            return;
        };
        let Reading::Held { head, bytes, .. } =
            std::mem::replace(&mut connection.reading, Reading::Head)
        else {
            return;
        };
        let Some(job) = connection.job.take() else {
            return;
        };
        let reports = match (job.summarize, self.places.get(job.host)) {
            (true, Some(_)) => crate::venue::summarize(
                job.endpoint,
                Asked {
                    target: job.bytes.get(job.target).unwrap_or_default(),
                    body: job.bytes.get(job.body..).unwrap_or_default(),
                },
                head.status,
                &bytes,
            ),
            _ => Vec::new(),
        };
        let took = self.now_us.saturating_sub(job.started_us);
        self.finish(
            job.id,
            job.entry,
            Sent::Sent,
            head.status,
            reports,
            None,
            took,
            turn,
        );
        let mut bytes = self.pass_on(job.id, &head, bytes, turn);
        if let Some(connection) = self.connections.get_mut(&key)
            && connection.input.is_empty()
            && connection.input.capacity() < bytes.capacity()
        {
            // Room for the next answer.
            bytes.clear();
            connection.input = bytes;
        }
        self.release(key, head.keep_alive, turn);
    }

    /// Gives a whole answer to ingress, as far as the window goes, and keeps the rest. Gives the buffer back if it does not.
    fn pass_on(&mut self, id: RequestId, head: &Head, bytes: Vec<u8>, turn: &mut Turn) -> Vec<u8> {
        if !self.reaches_ingress(id) {
            return bytes;
        }
        if turn.ingress_waiting + turn.to_ingress.len() > INGRESS_BYTES_MAX
            || bytes.len() > CHUNK_BYTES_MAX && self.held_bytes + bytes.len() > HELD_BYTES_MAX
        {
            self.counts.answers_dropped += 1;
            self.abort(id, Sent::Sent, "too_many_large_answers", turn);
            return bytes;
        }
        let first = bytes.len().min(CHUNK_BYTES_MAX);
        let part = bytes.get(..first).unwrap_or_default();
        put_head(
            &mut turn.to_ingress,
            id,
            head,
            Some(bytes.len() as u64),
            part,
            first == bytes.len(),
        );
        if first == bytes.len() {
            return bytes;
        }
        self.held_bytes += bytes.len();
        let window = ANSWER_WINDOW_BYTES.saturating_sub(first as u32);
        self.held.insert(
            id,
            Held {
                bytes,
                at: first,
                window,
                since_us: self.now_us,
            },
        );
        self.pass_held(id, turn);
        Vec::new()
    }

    fn pass_held(&mut self, id: RequestId, turn: &mut Turn) {
        let Some(held) = self.held.get_mut(&id) else {
            return;
        };
        held.since_us = self.now_us;
        while held.window > 0 && held.at < held.bytes.len() {
            let n = (held.bytes.len() - held.at)
                .min(held.window as usize)
                .min(CHUNK_BYTES_MAX);
            let part = held.bytes.get(held.at..held.at + n).unwrap_or_default();
            held.at += n;
            held.window -= n as u32;
            let last = held.at == held.bytes.len();
            put(
                &mut turn.to_ingress,
                kind::ANSWER_CHUNK,
                &AnswerChunk {
                    id,
                    body: part.into(),
                    last,
                },
            );
        }
        if held.at == held.bytes.len() {
            self.held_bytes = self.held_bytes.saturating_sub(held.bytes.len());
            self.held.remove(&id);
        }
    }

    /// A client has taken more of its answer.
    pub fn window(&mut self, window: Window, turn: &mut Turn) {
        if let Some(held) = self.held.get_mut(&window.id) {
            held.window = held
                .window
                .saturating_add(window.bytes)
                .min(ANSWER_WINDOW_BYTES);
            return self.pass_held(window.id, turn);
        }
        let Some(&key) = self.streams.get(&window.id) else {
            return;
        };
        let Some(connection) = self.connections.get_mut(&key) else {
            return;
        };
        if let Reading::Streamed {
            window: left,
            since_us,
            ..
        } = &mut connection.reading
        {
            *left = left.saturating_add(window.bytes).min(ANSWER_WINDOW_BYTES);
            *since_us = self.now_us;
        }
        if std::mem::take(&mut connection.paused) {
            turn.watch.push(key);
        }
        self.progress(key, turn);
    }

    /// The connection has carried its answer: it takes the next job, or rests, or ends.
    fn release(&mut self, key: Key, keep_alive: bool, turn: &mut Turn) {
        let Some(connection) = self.connections.get_mut(&key) else {
            return;
        };
        connection.job = None;
        connection.reading = Reading::Head;
        connection.since_us = self.now_us;
        connection.paused = false;
        if connection.input.capacity() > INPUT_BYTES_KEPT && connection.input.is_empty() {
            connection.input = Vec::new();
        }
        let host = connection.host;
        if !keep_alive || !connection.input.is_empty() {
            self.drop_connection(key, "", turn);
        } else if let Some(place) = self.places.get_mut(host) {
            place.idle.push(key);
        }
        self.serve(host, turn);
    }

    fn closed(&mut self, key: Key, turn: &mut Turn) {
        let Some(connection) = self.connections.get_mut(&key) else {
            return;
        };
        let ended = match &mut connection.reading {
            Reading::Held { body, .. } | Reading::Streamed { body, .. } => body.close(),
            Reading::Head => Err(Broken::Cut),
        };
        match ended {
            Ok(()) if connection.job.is_some() => match connection.reading {
                Reading::Held { .. } => self.held_whole(key, turn),
                _ => {
                    let _ = self.stream(key, turn);
                }
            },
            _ => self.drop_connection(key, "venue_closed", turn),
        }
    }

    fn broken(&mut self, key: Key, broken: Broken, turn: &mut Turn) {
        self.counts.answers_broken += 1;
        self.drop_connection(key, &broken.to_string(), turn);
    }

    /// Ends a connection. Its job is sent again only if no byte of it can have left.
    fn drop_connection(&mut self, key: Key, why: &str, turn: &mut Turn) {
        let Some(mut connection) = self.connections.remove(&key) else {
            return;
        };
        connection.transport.goodbye();
        let host = connection.host;
        if let Some(place) = self.places.get_mut(host) {
            place.connections = place.connections.saturating_sub(1);
            place.idle.retain(|idle| *idle != key);
            if !connection.ready {
                place.connecting = place.connecting.saturating_sub(1);
                place.slow = place.slow.min(place.connecting);
            }
        }
        // What was too late was so for us, not for the venue.
        let age = self.now_us.saturating_sub(connection.made_us);
        if !connection.answered && why != "too_late" && (!connection.ready || age < IN_VAIN_US) {
            self.in_vain(host, connection.made_us);
        }
        match connection.job.take() {
            Some(job) if !connection.transport.touched() => self.again(job, turn),
            Some(job) => match connection.reading {
                Reading::Streamed { .. } => {
                    // The outcome is out already; only the rest of the answer is lost.
                    self.streams.remove(&job.id);
                    self.abort(job.id, Sent::Sent, why, turn);
                }
                _ => self.fail(job, Sent::MaybeSent, why, turn),
            },
            None if !connection.ready => self.unreachable(host, why, turn),
            None => {}
        }
    }

    /// A connection that was begun then was in vain. Of many begun together one counts.
    fn in_vain(&mut self, host: usize, made_us: u64) {
        self.counts.connections_in_vain += 1;
        let Some(place) = self.places.get_mut(host) else {
            return;
        };
        if made_us < place.failed_us {
            return;
        }
        place.in_vain = place.in_vain.saturating_add(1);
        place.failed_us = self.now_us;
        let pause = RETRY_US << place.in_vain.saturating_sub(2).min(8);
        place.retry_us = self.now_us.saturating_add(pause.min(RETRY_US_MAX));
    }

    /// A connection could not be made. The jobs that wait are `NotSent`, unless another connection is there or on its way.
    fn unreachable(&mut self, host: usize, why: &str, turn: &mut Turn) {
        self.counts.connections_failed += 1;
        let Some(place) = self.places.get_mut(host) else {
            return;
        };
        let name = place.facts.name.clone();
        turn.lines.push(match why {
            "tls_failed" => Line::CertificateRefused { host: name },
            why => Line::Unreachable {
                host: name,
                why: why.to_owned(),
            },
        });
        if place.connections > 0 {
            return;
        }
        for job in place.take_all() {
            self.fail(job, Sent::NotSent, why, turn);
        }
    }

    fn fail(&mut self, job: Job, sent: Sent, why: &str, turn: &mut Turn) {
        if let Some(place) = self.places.get_mut(job.host) {
            let budget = place.budgets.of(job.apart);
            match sent {
                Sent::NotSent => {
                    budget.returned(
                        job.strategy,
                        job.account,
                        job.weight,
                        job.orders,
                        self.now_us,
                    );
                }
                Sent::MaybeSent | Sent::Sent => budget.finished(job.weight),
            }
        }
        let took = if job.started_us == 0 {
            0
        } else {
            self.now_us.saturating_sub(job.started_us)
        };
        self.finish(
            job.id,
            job.entry,
            sent,
            0,
            Vec::new(),
            Some(why),
            took,
            turn,
        );
        self.abort(job.id, sent, why, turn);
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of one outcome")]
    fn finish(
        &mut self,
        id: RequestId,
        entry: Option<EntryId>,
        sent: Sent,
        status: u16,
        reports: Vec<Report>,
        why: Option<&str>,
        took_us: u64,
        turn: &mut Turn,
    ) {
        self.counts.outcome(sent, took_us);
        let mut outcome = Outcome {
            id,
            entry,
            sent,
            status,
            reports: Vec::new(),
            why: why.map(str::to_owned),
            took_us,
            more: false,
        };
        let mut left = reports;
        loop {
            let rest = left.split_off(left.len().min(REPORTS_PER_FRAME_MAX));
            outcome.reports = std::mem::replace(&mut left, rest);
            outcome.more = !left.is_empty();
            put(&mut turn.to_signer, kind::OUTCOME, &outcome);
            if left.is_empty() {
                return;
            }
        }
    }

    fn reaches_ingress(&self, id: RequestId) -> bool {
        id.epoch != 0 && id.epoch == self.ingress_epoch
    }

    fn abort(&mut self, id: RequestId, sent: Sent, why: &str, turn: &mut Turn) {
        if self.reaches_ingress(id) {
            put(
                &mut turn.to_ingress,
                kind::ANSWER_ABORTED,
                &AnswerAborted {
                    id,
                    sent,
                    why: why.to_owned(),
                },
            );
        }
    }

    /// A halt: drops what has not left, and says of each entry what became of it.
    pub fn discard(&mut self, discard: &Discard, turn: &mut Turn) {
        let mut asked: Vec<EntryId> = discard.entries.clone();
        asked.sort_unstable();
        let is_asked =
            |entry: Option<EntryId>| entry.is_some_and(|entry| asked.binary_search(&entry).is_ok());
        let mut dropped = Vec::new();
        for place in &mut self.places {
            for job in place.take_all() {
                match is_asked(job.entry) {
                    true => dropped.push(job),
                    false => place.push(job, false),
                }
            }
        }
        let mut under_way = Vec::new();
        for connection in self.connections.values_mut() {
            let streamed = matches!(connection.reading, Reading::Streamed { .. });
            if let Some(job) = connection
                .job
                .as_mut()
                .filter(|job| is_asked(job.entry) && !streamed)
            {
                // A job on a connection has been handed to the kernel, or to TLS which may have: treat it as left. If it
                // has not, and the connection ends, it is not sent by another.
                job.retried = true;
                under_way.extend(job.entry);
            }
        }
        let frames = self.frames_under_way(is_asked);
        under_way.extend(frames);
        let discarded: Vec<EntryId> = dropped.iter().filter_map(|job| job.entry).collect();
        let done = discard
            .entries
            .iter()
            .filter(|entry| !discarded.contains(entry) && !under_way.contains(entry))
            .copied()
            .collect();
        for job in dropped {
            self.fail(job, Sent::NotSent, "halted", turn);
        }
        self.counts.discarded += discarded.len() as u64;
        put(
            &mut turn.to_signer,
            kind::DISCARDED,
            &Discarded {
                token: discard.token,
                discarded,
                under_way,
                done,
            },
        );
    }

    /// Looks at all deadlines, and says when to look again: in a second while something is under way, when the longest
    /// idle connection ends otherwise, and not at all without connections.
    pub fn tick(&mut self, turn: &mut Turn) -> Option<u64> {
        let now = self.now_us;
        turn.limits |= self.told_at != self.counts.taken;
        self.told_at = self.counts.taken;
        let mut ended: Vec<(Key, &str)> = Vec::new();
        let mut soon = !self.held.is_empty();
        let mut idle_since: Option<u64> = None;
        for place in &mut self.places {
            place.slow = 0;
        }
        let (sockets_soon, sockets_next) = self.tick_sockets(turn);
        soon |= sockets_soon;
        for (key, connection) in &self.connections {
            let age = now.saturating_sub(connection.since_us);
            match (&connection.job, &connection.reading) {
                (None, _) if connection.ready => {
                    idle_since = Some(
                        idle_since.map_or(connection.since_us, |s| s.min(connection.since_us)),
                    );
                }
                _ => soon = true,
            }
            match (&connection.job, &connection.reading) {
                (None, _) if !connection.ready && age > CONNECT_US_MAX => {
                    ended.push((*key, "connect_timed_out"))
                }
                (None, _) if !connection.ready && age > SLOW_CONNECT_US => {
                    if let Some(place) = self.places.get_mut(connection.host) {
                        place.slow += 1;
                    }
                }
                (None, _) if connection.ready && age > IDLE_US_MAX => ended.push((*key, "idle")),
                (Some(_), Reading::Streamed { since_us, .. })
                    if now.saturating_sub(*since_us) > STALL_US_MAX =>
                {
                    ended.push((*key, "client_too_slow"));
                }
                (Some(job), Reading::Head)
                    if job.not_after_us != 0
                        && now > job.not_after_us
                        && !connection.transport.touched() =>
                {
                    ended.push((*key, "too_late"));
                }
                (Some(_), Reading::Head | Reading::Held { .. }) if age > ANSWER_US_MAX => {
                    ended.push((*key, "answer_timed_out"));
                }
                _ => {}
            }
        }
        for (key, why) in ended {
            self.drop_connection(key, why, turn);
        }
        let stalled: Vec<RequestId> = self
            .held
            .iter()
            .filter(|(_, held)| now.saturating_sub(held.since_us) > STALL_US_MAX)
            .map(|(id, _)| *id)
            .collect();
        for id in stalled {
            if let Some(held) = self.held.remove(&id) {
                self.held_bytes = self.held_bytes.saturating_sub(held.bytes.len());
                self.counts.answers_dropped += 1;
                self.abort(id, Sent::Sent, "client_too_slow", turn);
            }
        }
        for at in 0..self.places.len() {
            if let Some(place) = self.places.get_mut(at) {
                place.budgets.tidy(now);
            }
            self.serve(at, turn);
            soon |= self.places.get(at).is_some_and(|place| place.waiting() > 0);
        }
        let idle_ends = idle_since.map(|since| since.saturating_add(IDLE_US_MAX));
        let first = match (idle_ends, sockets_next) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        timer::next_look(now, soon, first)
    }

    /// The link to ingress has room again: answers that waited for it go on.
    pub fn ingress_has_room(&mut self, turn: &mut Turn) {
        let waiting: Vec<Key> = self
            .streams
            .values()
            .copied()
            .filter(|key| {
                self.connections.get(key).is_some_and(|connection| {
                    connection.paused
                        && matches!(connection.reading, Reading::Streamed { window, .. } if window > 0)
                })
            })
            .collect();
        for key in waiting {
            if let Some(connection) = self.connections.get_mut(&key) {
                connection.paused = false;
                turn.watch.push(key);
            }
            self.progress(key, turn);
        }
    }

    /// What the poll should watch a connection for, if that is not what it watches it for.
    pub fn change(&mut self, key: Key) -> Option<Change<'_>> {
        if self.is_socket(key) {
            return self.socket_change(key);
        }
        let connection = self.connections.get_mut(&key)?;
        let writes = connection.transport.is_pending() || !connection.ready;
        let socket = connection.transport.socket();
        Change::of(socket, &mut connection.watched, !connection.paused, writes)
    }

    /// The poll does not take it.
    pub fn unwatchable(&mut self, key: Key, turn: &mut Turn) {
        self.drop_socket(key, "cannot_be_watched", turn);
        self.drop_connection(key, "cannot_be_watched", turn);
    }

    #[must_use]
    pub fn load(&self) -> Load {
        let busy = |connection: &&Connection| connection.job.is_some();
        let frames: usize = self.sockets.values().map(|it| it.jobs.len()).sum();
        Load {
            connections: self.connections.len() + self.sockets.len(),
            waiting: self.places.iter().map(Place::waiting).sum(),
            under_way: self.connections.values().filter(busy).count() + frames,
        }
    }

    /// The room ends: what waits is not sent, and nothing more is taken.
    pub fn no_more(&mut self, turn: &mut Turn) {
        self.is_ending = true;
        let jobs: Vec<Job> = self.places.iter_mut().flat_map(Place::take_all).collect();
        for job in jobs {
            self.fail(job, Sent::NotSent, "egress_ends", turn);
        }
    }

    /// Every request has its outcome, and every answer is handed over.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.held.is_empty()
            && !self.connections.values().any(|c| c.job.is_some())
            && self.sockets.values().all(|it| it.jobs.is_empty())
    }
}

/// What egress has in hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    pub connections: usize,
    /// Jobs that wait for a connection.
    pub waiting: usize,
    /// Jobs that are with a connection.
    pub under_way: usize,
}

/// A look-up that is not answered within this is not waited for.
const LOOK_UP_US_MAX: u64 = 1_000_000;
/// Addresses of one host that are used.
const ADDRESSES_MAX: usize = 16;

/// The bytes of a request, from the parts that the signer made. Nothing in them came from a client as it was.
/// Gives the place of the target in them, too.
fn render(send: &Send<'_>, host: &str) -> (Vec<u8>, Range<usize>, usize) {
    let mut bytes = Vec::with_capacity(512 + send.target.len() + send.body.len());
    bytes.extend_from_slice(send.method.as_bytes());
    bytes.push(b' ');
    let target = bytes.len()..bytes.len() + send.target.len();
    bytes.extend_from_slice(send.target);
    bytes.extend_from_slice(b" HTTP/1.1\r\nHost: ");
    bytes.extend_from_slice(host.as_bytes());
    bytes.extend_from_slice(b"\r\n");
    for header in &send.headers {
        bytes.extend_from_slice(header.name.as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(header.value);
        bytes.extend_from_slice(b"\r\n");
    }
    if !send.body.is_empty() || matches!(send.method, "POST" | "PUT") {
        // Writing into a `Vec` cannot fail.
        let _ = write!(bytes, "Content-Length: {}\r\n", send.body.len());
    }
    bytes.extend_from_slice(b"\r\n");
    let body = bytes.len();
    bytes.extend_from_slice(send.body);
    (bytes, target, body)
}

fn put_head(
    out: &mut Vec<u8>,
    id: RequestId,
    head: &Head,
    length: Option<u64>,
    body: &[u8],
    last: bool,
) {
    let mut headers = Vec::with_capacity(head.headers.len());
    headers.extend(head.headers.iter().map(|(name, value)| Header {
        name,
        value: <&ByteSlice>::from(value),
    }));
    put(
        out,
        kind::ANSWER_HEAD,
        &AnswerHead {
            id,
            status: head.status,
            headers,
            length,
            body: body.into(),
            last,
        },
    );
}

fn kind_name(error: &std::io::Error) -> &'static str {
    use std::io::ErrorKind as K;
    match error.kind() {
        K::ConnectionRefused => "connection_refused",
        K::ConnectionReset | K::ConnectionAborted | K::BrokenPipe => "connection_reset",
        K::TimedOut => "connection_timed_out",
        K::InvalidData => "tls_failed",
        _ => "connection_failed",
    }
}

/// The hold that budgets give, for the counts.
impl EgressCounts {
    fn hold(&mut self, hold: Hold) {
        match hold {
            Hold::Banned { .. } => self.held_banned += 1,
            Hold::Weight => self.held_weight += 1,
            Hold::Share => self.held_share += 1,
            Hold::OrderRate => self.held_order_rate += 1,
        }
    }
}
