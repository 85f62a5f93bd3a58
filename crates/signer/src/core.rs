//! The signer without its loop: verify, decode, decide, record, sign, for one turn of requests at a time. Frames come in
//! and frames go out; the loop around it only moves bytes. Everything that changes the state is an entry first.
//!
//! Trusts nobody: ingress may lie about what it was sent (then no signature fits), egress about what became of a request
//! (then the reservations of that strategy are wrong: what grows stays within its mandate, and what seems to reduce within
//! a multiple of its turnover; SECURITY.md has the figures).
//!
//! Absent: sockets, files but the log's, clocks (each call is told the time), and release of anything unwritten.

mod commands;
mod own;
mod session;
mod status;

pub use status::Seal;
pub(crate) use status::{Shown, usage};

use crate::clock::{Clock, Reading};
use crate::events::Events;
use crate::failures::Failures;
use crate::keyring::{Approved, KeyError, Keyring, Signing};
use crate::log_file::{Log, LogError, Queued, Recorded, Wake};
use crate::metrics::{Gauges, Metrics};
use crate::replay::{First, Mark, Replay, Seen, mark};
use crate::resolver::Resolver;
use crate::secrets::{Held, Secret};
use crate::virtual_keys::{self, Checkers, SiteSecret};
use minicbor::bytes::ByteVec;
use own::Own;
use portcullis_model::action::{Action, ActionKind, Duty, Stamp};
use portcullis_model::command::Answer;
use portcullis_model::decide::{Caller, Decision, Facts, Verdict, decide};
use portcullis_model::entry::{Body, BodyError, OUTCOME_PARTS_MAX, What};
use portcullis_model::halt::{Halt, Level, Passage, Scope};
use portcullis_model::id::{
    AccountId, EntryId, GATE, KeyId, RequestId, StrategyId, Timestamp, VirtualKeyId,
};
use portcullis_model::log::Entry;
use portcullis_model::refusal::{Class, Refusal};
use portcullis_model::release::{Authority, Files, Release};
use portcullis_model::report::{Report, Sent};
use portcullis_model::state::{Effect, Impossible, OrderNumber, Settled, State};
use portcullis_model::table::Network;
use portcullis_model::wire::{
    self, Close, Discarded, FRAME_METHOD, Header, LINK_FRAMES_MAX, Lane, Outcome, Reply, Request,
    Send, Told, Venue, kind,
};
use portcullis_model::{Map, Set};
use portcullis_room::confine::SandboxReport;
use portcullis_room::control::Peer;
use portcullis_venues::{
    Actions, Catalog, DecodeError, Dialect, Presented, REFUSAL_HEADER, RawRequest, Ready, Service,
    Unsigned,
};
use serde_json::json;
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// An order's receive window at most, whatever the program asked for.
pub const ORDER_WINDOW_US_MAX: u64 = 1_000_000;
/// A program's clock may be ahead by this much (Binance's own rule).
pub const AHEAD_US_MAX: u64 = 1_000_000;
/// Entries from one snapshot to the next while it runs, and so what a start folds at most after it was killed: some 7 us each,
/// a third of a second. And at an orderly end, where a copy of the state costs nobody.
pub const SNAPSHOT_EVERY: u64 = 50_000;
pub const SNAPSHOT_AT_END: u64 = 10_000;
/// What was accepted before a start is remembered this long after it: the longest receive window, and more.
const REMEMBERED_US: u64 = 70_000_000;
/// What a sealed gate says to programs.
pub(crate) const SEALED: &str = "the gate is sealed; its operator has to unseal it";
/// Reports that are kept while answers arrive in parts. Egress sends the parts of one answer without another's between, so
/// this is one answer's bound; what is beyond it is cut, and proves nothing about what is missing.
const REPORTS_MAX: usize = 20_000;
/// Of what cannot be: so many orders are named in one entry, and an alarm comes at most so often.
const IMPOSSIBLE_TOLD_MAX: usize = 10;
const IMPOSSIBLE_EVERY_US: u64 = 60_000_000;
/// Connections of one virtual key that are remembered, to be closed when it is revoked. Beyond it the oldest over HTTP are
/// forgotten, and close at their next request. A WebSocket is never forgotten, since a stream needs no next request to be
/// heard: of more than that the oldest is closed.
const CONNECTIONS_MAX: usize = 256;
/// Streams that are listened to at most, far above what an honest egress keeps; what is said on others settles nothing, and
/// is asked for.
const STREAMS_MAX: usize = 4_096;

/// Frames of one turn. They may leave only after [`Core::finish`] has succeeded.
#[derive(Debug, Default)]
pub struct Turn {
    pub to_ingress: Vec<u8>,
    pub to_egress: Vec<u8>,
    queued: Vec<Queued<Approved<Meta>>>,
}

/// What is kept of a request beside what is signed.
#[derive(Debug)]
pub struct Meta {
    caller: Caller,
    id: RequestId,
    lane: Lane,
    host: u16,
    /// The release by which `host` is counted.
    release: u64,
    endpoint: u16,
    weight: u32,
    orders: u32,
    not_after_us: u64,
    summarize: bool,
    /// It opens a stream, for this connection.
    stream: Option<u64>,
    /// It is of a pipe.
    pipe: Option<RequestId>,
    kinds: Vec<ActionKind>,
    /// Open orders that its cancels point at, by position of the action.
    targets: Vec<(u8, OrderNumber)>,
    /// Every action is a cancel, a read, or known to reduce.
    reserved: bool,
    /// After this the venue accepts it no more.
    until: Timestamp,
    own: Option<Own>,
}

/// A request at egress, until its outcome.
#[derive(Debug)]
struct Flight {
    entry: Option<EntryId>,
    caller: Option<Caller>,
    lane: Lane,
    endpoint: u16,
    kinds: Vec<ActionKind>,
    targets: Vec<(u8, OrderNumber)>,
    reserved: bool,
    until: Timestamp,
    own: Option<Own>,
    stream: Option<u64>,
    pipe: Option<RequestId>,
    reports: Vec<Report>,
    /// Not all of its reports were kept.
    is_cut: bool,
}

/// A signed request whose outcome nobody will tell, or whose outcome may not be true.
#[derive(Debug)]
struct Lost {
    entry: EntryId,
    /// Not known after a start: then it counts in every scope.
    of: Option<(Caller, Vec<ActionKind>, bool)>,
    until: Timestamp,
}

/// Compiles a release's authority. The signer's program gives the Cedar compiler; a test its own.
pub trait Compile: std::marker::Send + Sync {
    /// What is wrong comes back as text for the operator.
    fn compile(&self, files: &Files, state: &State) -> Result<Box<dyn Authority>, String>;
}

/// What a signer starts with.
pub struct Start {
    pub log: Log,
    /// Entries under the newest snapshot.
    pub kept_at: u64,
    /// What every entry so far adds up to.
    pub state: State,
    /// Bytes of a write that had been cut short.
    pub torn_bytes: u64,
    /// Where releases lie.
    pub releases: PathBuf,
    pub compile: Arc<dyn Compile>,
    pub keyring: Keyring<Meta>,
    /// Absent: sealed.
    pub site_secret: Option<SiteSecret>,
    /// Opened secrets, for keys that the log names or will name.
    pub held: Held,
    pub seal: Seal,
    /// Wakes the loop when a helper is done.
    pub wake: Wake,
    pub reading: Reading,
}

/// Adds an entry to the state.
pub fn fold(state: &mut State, index: EntryId, entry: &Entry) -> Result<(), CoreError> {
    let body = Body::from_entry(entry).map_err(|why| CoreError::Entry { entry: index, why })?;
    state.apply(index, body.at, &body.private.effects);
    Ok(())
}

/// The catalog as a release has it.
fn catalog_of(files: &Files) -> Result<Arc<Catalog>, String> {
    Catalog::of_release(files).map_err(|why| why.to_string())
}

/// Why a signer does not start, or goes no further.
#[derive(Debug)]
pub enum CoreError {
    Log(LogError),
    /// An entry that this program cannot read.
    Entry {
        entry: EntryId,
        why: BodyError,
    },
    /// The release in force is not on the disk, is not what the log names, or does not compile.
    Release(String),
    /// The site is not what it should be: what, and what to do.
    Site(String),
    /// The kernel refused what the loop cannot do without.
    Io(std::io::Error),
}

impl std::fmt::Display for CoreError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Log(error) => error.fmt(f),
            Self::Entry { entry, why } => write!(f, "entry {entry}: {why}"),
            Self::Release(why) => write!(f, "the release in force cannot be loaded: {why}"),
            Self::Site(why) => f.write_str(why),
            Self::Io(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for CoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Log(error) => Some(error),
            Self::Entry { why, .. } => Some(why),
            Self::Io(error) => Some(error),
            Self::Release(_) | Self::Site(_) => None,
        }
    }
}

impl From<LogError> for CoreError {
    fn from(error: LogError) -> Self {
        Self::Log(error)
    }
}

/// The signer's heart. No `Debug`: it holds the keys.
pub struct Core {
    /// With what the release in force adds to the catalog.
    catalog: Arc<Catalog>,
    pub state: State,
    release: Option<Arc<Release>>,
    log: Log,
    keyring: Keyring<Meta>,
    checkers: Checkers,
    site_secret: Option<SiteSecret>,
    held: Held,
    seal: Seal,
    wake: Wake,
    /// What confines each room, as it was told.
    sandboxes: BTreeMap<Peer, SandboxReport>,
    /// What egress knows of each venue host.
    venues: BTreeMap<u16, Venue>,
    replay: Replay,
    clock: Clock,
    started: Timestamp,
    releases: PathBuf,
    compile: Arc<dyn Compile>,
    compiling: Option<commands::Compiling>,
    recompile_again: bool,
    ingress_epoch: Option<u32>,
    egress_is_up: bool,
    flights: Map<RequestId, Flight>,
    /// Reports of all of them together.
    reports_kept: usize,
    /// Requests from their approval to their outcome. Ingress may lie, and give one number twice.
    live: Set<RequestId>,
    /// Handed to a run of egress that is gone, or by a run of this signer that is: the venue may still accept them.
    lost: Vec<Lost>,
    /// Answered, and still within the window in which the venue would accept them: that they were answered, or dropped, is
    /// egress's word.
    answered: VecDeque<Lost>,
    /// Requests of each lane between approval and outcome.
    in_lane: BTreeMap<Lane, u32>,
    /// Recorded, and not released before it survives a loss of power.
    unsynced: VecDeque<Recorded<Approved<Meta>>>,
    halting: Vec<commands::Halting>,
    answers: Vec<(u64, Option<EntryId>, Answer)>,
    connections: Map<VirtualKeyId, Connections>,
    sessions: session::Sessions,
    pipes: session::Pipes,
    /// Pipes that egress has to be told to end, with the turn.
    leaves: Vec<RequestId>,
    /// Releases that came into force in this run: places of hosts are of one of them.
    releases_seen: u64,
    /// Streams that are open, by the request that opened each.
    streams: Map<RequestId, session::Stream>,
    /// Each strategy's share of the venue's weight, in thousandths; and where virtual keys in force may come from. Both
    /// follow from the state, and are made anew when a command or the clock changes it.
    share: u16,
    bound: Vec<Network>,
    /// When the next virtual key expires.
    expires_at: Timestamp,
    resolver: Resolver,
    own: own::Schedule,
    failures: Failures,
    /// When the next alarm for what cannot be is due.
    impossible_at: Timestamp,
    pub events: Events,
    pub metrics: Metrics,
    /// Entries under the newest snapshot.
    kept_at: u64,
    stopping: bool,
}

/// Who asks for public data.
enum Whose {
    Gate(Own),
    Program { pipe: Option<RequestId> },
}

/// A refusal before a decision.
enum Early {
    Decode(DecodeError),
    Class(Class, &'static str, &'static str),
    /// The first one's refusal, again.
    Again(u16, Vec<u8>, &'static str),
    Core(CoreError),
}

impl From<DecodeError> for Early {
    fn from(error: DecodeError) -> Self {
        Self::Decode(error)
    }
}

impl From<CoreError> for Early {
    fn from(error: CoreError) -> Self {
        Self::Core(error)
    }
}

impl Core {
    /// Loads the release that the log names, takes the secrets, and records the start.
    pub fn start(start: Start) -> Result<Self, CoreError> {
        let state = start.state;
        let (release, catalog) = match state.release {
            Some(hash) => {
                let files = crate::releases::load(&start.releases, &hash)
                    .map_err(|why| CoreError::Release(why.to_string()))?;
                let authority = start
                    .compile
                    .compile(&files, &state)
                    .map_err(CoreError::Release)?;
                let release = Release::load(&files, authority)
                    .map_err(|why| CoreError::Release(why.to_string()))?;
                let catalog = catalog_of(&files).map_err(CoreError::Release)?;
                (Some(Arc::new(release)), catalog)
            }
            None => (None, catalog_of(&Files::new()).map_err(CoreError::Release)?),
        };
        let clock = Clock::new(start.reading, state.time, state.jumped_us);
        let mut core = Self {
            catalog,
            release,
            log: start.log,
            keyring: start.keyring,
            checkers: Checkers::default(),
            site_secret: start.site_secret,
            held: start.held,
            seal: start.seal,
            wake: start.wake,
            sandboxes: BTreeMap::new(),
            venues: BTreeMap::new(),
            replay: Replay::default(),
            started: clock.now(),
            clock,
            state,
            releases: start.releases,
            compile: start.compile,
            compiling: None,
            recompile_again: false,
            ingress_epoch: None,
            egress_is_up: true,
            flights: Map::default(),
            reports_kept: 0,
            live: Set::default(),
            lost: Vec::new(),
            answered: VecDeque::new(),
            impossible_at: Timestamp(0),
            in_lane: BTreeMap::new(),
            unsynced: VecDeque::new(),
            halting: Vec::new(),
            answers: Vec::new(),
            connections: Map::default(),
            sessions: session::Sessions::default(),
            pipes: session::Pipes::default(),
            leaves: Vec::new(),
            releases_seen: 0,
            streams: Map::default(),
            share: 1_000,
            bound: Vec::new(),
            expires_at: Timestamp(0),
            resolver: Resolver::default(),
            own: own::Schedule::default(),
            failures: Failures::default(),
            events: Events::default(),
            metrics: Metrics::default(),
            kept_at: start.kept_at,
            stopping: false,
        };
        core.keyring.wakes(Arc::clone(&core.wake));
        // Of whose venue each is, is not remembered: the longest.
        let window_ms = u32::try_from(ORDER_WINDOW_US_MAX / 1_000).unwrap_or(u32::MAX);
        let accepted_us = core
            .state
            .accounts
            .values()
            .filter_map(|account| core.catalog.venue(account.venue.as_str()))
            .map(|dialect| dialect.accepted_us(window_ms))
            .fold(ORDER_WINDOW_US_MAX, u64::max);
        for (entry, (at, seen)) in &core.state.seen {
            let until = at.plus_us(REMEMBERED_US);
            // Whose it was the log says elsewhere; it is in nobody's part.
            core.replay
                .keep(VirtualKeyId(0), Mark(*seen), First::Approved(*entry), until);
            // The run before this one signed it, and its outcome may not have come.
            core.lost.push(Lost {
                entry: *entry,
                of: None,
                until: at.plus_us(accepted_us),
            });
        }
        core.failures.minute(core.clock.now());
        core.refresh();
        core.open_held();
        if core.state.entries > 0 {
            let mut body = core.body(What::Started);
            body.regulator.text = Some(format!(
                "term {}; {} bytes of a write that was cut short are gone",
                core.log.term(),
                start.torn_bytes
            ));
            core.note(body)?;
        }
        core.log.flush()?;
        // What this start had to fold, the next one need not.
        if core.state.entries - core.kept_at >= SNAPSHOT_AT_END {
            core.snapshot();
        }
        core.events.event(
            "started",
            json!({ "entries": core.state.entries, "term": core.log.term(), "sealed": core.is_sealed() }),
        );
        Ok(core)
    }

    fn body(&self, what: What) -> Body {
        Body::new(what, self.clock.now().max(self.state.time))
    }

    /// Records and applies. The entry is written with the turn.
    fn append<T>(&mut self, body: Body, approved: T) -> Result<(Queued<T>, EntryId), CoreError> {
        let index = self.log.next();
        let queued = self.log.append(body.to_entry(), approved)?;
        self.state.apply(index, body.at, &body.private.effects);
        Ok((queued, index))
    }

    /// The same, where nothing waits for it to be written.
    fn note(&mut self, body: Body) -> Result<EntryId, CoreError> {
        let (queued, entry) = self.append(body, ())?;
        drop(queued);
        Ok(entry)
    }

    /// A sealed gate answers "exchange not available".
    #[must_use]
    pub fn is_sealed(&self) -> bool {
        self.site_secret.is_none() || self.keyring.is_empty()
    }

    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stopping
    }

    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    pub fn keyring_mut(&mut self) -> &mut Keyring<Meta> {
        &mut self.keyring
    }

    /// Ends in order: what is under way is waited for a moment, new requests are refused.
    pub fn stop(&mut self) {
        self.stopping = true;
    }

    /// Secrets that were opened: keys that the log names are taken at once, the rest is kept until the log names it.
    pub fn secrets(&mut self, secrets: Vec<Secret>) {
        let mut names = Vec::new();
        for secret in secrets {
            names.push(secret.name.clone());
            self.held.keep(secret);
        }
        self.events.event("secrets", json!({ "names": names }));
        self.open_held();
    }

    fn open_held(&mut self) {
        let named: Vec<_> = self
            .state
            .keys
            .iter()
            .map(|(id, key)| (*id, key.clone()))
            .collect();
        for (id, key) in named {
            let Some(secret) = self.held.take(&key.sealed) else {
                continue;
            };
            if let Err(why) = self.keyring.open(id, &key.api_key, key.scheme, &secret) {
                self.events.alert(
                    "key-unusable",
                    json!({ "key": id, "sealed": key.sealed, "why": why.to_string() }),
                );
            }
        }
    }

    /// What confines a room. What is unavailable is recorded: the log says under which protection it was made.
    pub fn sandbox(&mut self, room: Peer, report: SandboxReport) -> Result<(), CoreError> {
        let missing = status::unavailable(&report);
        if self.sandboxes.get(&room) != Some(&report) && !missing.is_empty() {
            let mut body = self.body(What::Started);
            body.regulator.text = Some(format!(
                "{room} runs without: {}",
                missing.join("; ").chars().take(1_000).collect::<String>()
            ));
            self.note(body)?;
            self.events.alert(
                "unconfined",
                json!({ "of": room.name(), "unavailable": missing }),
            );
        }
        self.sandboxes.insert(room, report);
        Ok(())
    }

    /// What egress knows of a host.
    pub fn venue(&mut self, venue: Venue) {
        let hosts = self
            .release
            .as_ref()
            .map_or(0, |release| release.hosts.hosts.len());
        if usize::from(venue.host) < hosts {
            self.venues.insert(venue.host, venue);
        }
    }

    /// A run of ingress began: what an older one sends is dropped.
    pub fn ingress_started(&mut self, epoch: u32) {
        self.ingress_epoch = Some(epoch);
        self.connections.clear();
        self.pipes_lost();
        self.sessions.clear();
    }

    /// A run of egress began: it gets the hosts.
    pub fn egress_started(&mut self, turn: &mut Turn) {
        self.egress_is_up = true;
        if let Some(release) = &self.release {
            // Hosts are few; a release with more than fit a frame is refused when it is loaded.
            let _ = wire::frame(&mut turn.to_egress, kind::HOSTS, &release.hosts);
        }
    }

    /// Egress is gone: what it had may have been sent.
    pub fn egress_gone(&mut self, turn: &mut Turn) {
        self.egress_awaited(turn);
        self.events.alert("egress-gone", json!({}));
    }

    /// It is not there yet, which at a start is no alarm.
    pub fn egress_awaited(&mut self, turn: &mut Turn) {
        self.egress_is_up = false;
        let now = self.clock.now();
        self.forget_lost();
        for (id, flight) in std::mem::take(&mut self.flights) {
            self.live.remove(&id);
            // Those with a helper, or waiting for the disk, still count.
            self.leave_lane(flight.lane);
            if flight.own.is_none() {
                // Ingress has told whom it knew to wait when its own link broke; this is for who came after.
                let (class, text) = match flight.kinds.iter().all(|kind| kind.is_read()) {
                    true => (Class::NotAvailable, "the way to the venue broke; ask again"),
                    false => (
                        Class::StatusUnknown,
                        "the way to the venue broke and it may have been sent; ask for the order",
                    ),
                };
                let dialect = self.dialect(flight.endpoint);
                reply(turn, dialect, id, class, text, "egress-gone", flight.entry);
            }
            if flight.own.is_none()
                && let (Some(entry), Some(caller)) = (flight.entry, flight.caller)
            {
                if flight.until.plus_us(commands::CLOCK_DOUBT_US) > now {
                    self.lost.push(Lost {
                        entry,
                        of: Some((caller, flight.kinds, flight.reserved)),
                        until: flight.until,
                    });
                }
                self.metrics
                    .outcomes
                    .entry("maybe_sent")
                    .and_modify(|n| *n += 1)
                    .or_insert(1);
            }
        }
        self.reports_kept = 0;
        self.pipes_lost();
        self.streams.clear();
        self.venues.clear();
        self.own.reset();
        self.resolver.reset(now);
        self.commands_egress_gone();
    }

    /// What the venue takes no more is nobody's affair any more.
    fn forget_lost(&mut self) {
        let now = self.clock.now();
        self.lost
            .retain(|one| one.until.plus_us(commands::CLOCK_DOUBT_US) > now);
    }

    /// A jump of the clock that was seen is an entry, so that a start does not forget it.
    fn record_jump(&mut self) -> Result<(), CoreError> {
        if self.clock.jumped_us() == self.state.jumped_us || self.state.entries == 0 {
            return Ok(());
        }
        let by_us = self.clock.jumped_us();
        let mut body = self.body(What::Clock);
        body.regulator.text =
            by_us.map(|by_us| format!("the clock jumped by {by_us} microseconds"));
        body.private.effects = vec![Effect::Jumped { by_us }];
        self.note(body).map(drop)
    }

    /// Takes a look at the clocks.
    pub fn look(&mut self, reading: Reading) {
        if let Some(jump) = self.clock.tick(reading) {
            self.events
                .alert("clock-jumped", json!({ "microseconds": jump }));
        }
    }

    /// A program's request. Its answer, if the gate itself gives it, is in `turn`; what is approved waits for
    /// [`Core::finish`].
    pub fn request(
        &mut self,
        request: &Request<'_>,
        reading: Reading,
        turn: &mut Turn,
    ) -> Result<(), CoreError> {
        self.look(reading);
        if self
            .ingress_epoch
            .is_some_and(|epoch| epoch != request.id.epoch)
        {
            self.metrics.foreign_frames += 1;
            return Ok(());
        }
        if self.live.contains(&request.id) || self.flights.contains_key(&request.id) {
            // An honest ingress never gives a number twice; what is under way must not be forgotten for it.
            self.metrics.foreign_frames += 1;
            return Ok(());
        }
        if self.stopping {
            let text = "the gate is being restarted; nothing was sent";
            reply(
                turn,
                dialect_at(&self.catalog, request.host),
                request.id,
                Class::NotAvailable,
                text,
                "stopping",
                None,
            );
            return Ok(());
        }
        let catalog = Arc::clone(&self.catalog);
        let raw = RawRequest {
            method: request.method,
            host: request.host,
            target: request.target,
            headers: &request.headers,
            body: request.body,
        };
        let mut key = None;
        let (class, message, code) = match self.judge(&catalog, &raw, request, &mut key, turn) {
            Ok(()) => return Ok(()),
            Err(Early::Core(error)) => return Err(error),
            Err(Early::Again(status, body, code)) => {
                self.failures.count(key, "repeated");
                reply_with(turn, request.id, status, &body, code);
                return Ok(());
            }
            Err(Early::Decode(error)) => (error.class(), error.to_string(), error.code()),
            Err(Early::Class(class, message, code)) => (class, message.to_owned(), code),
        };
        self.metrics.failed += 1;
        self.failures.count(key, code);
        let dialect = dialect_at(&catalog, request.host);
        reply(turn, dialect, request.id, class, &message, code, None);
        Ok(())
    }

    fn judge(
        &mut self,
        catalog: &Catalog,
        raw: &RawRequest<'_>,
        request: &Request<'_>,
        known: &mut Option<VirtualKeyId>,
        turn: &mut Turn,
    ) -> Result<(), Early> {
        let presented = catalog.present(raw)?;
        let pipe = self.pipe_of(&presented, request)?;
        if presented.is_public() {
            return match self.session_call(&presented, request, turn) {
                true => Ok(()),
                false => self.public(&presented, request, pipe, turn),
            };
        }
        let unknown = || {
            Early::Class(
                Class::Unauthenticated,
                "the API key is no virtual key of this site",
                "unknown-key",
            )
        };
        let id = match presented.api_key {
            Some(api_key) => *self.state.by_api_key.get(api_key).ok_or_else(unknown)?,
            None => self.sessions.key(request.connection).ok_or(NO_SESSION)?,
        };
        let key = self.state.virtual_keys.get(&id).ok_or_else(unknown)?;
        *known = Some(id);
        let sealed = Early::Class(Class::NotAvailable, SEALED, "sealed");
        let Some(checker) = self.checkers.of(id, key, self.site_secret.as_ref()) else {
            return Err(if self.site_secret.is_none() {
                sealed
            } else {
                unknown()
            });
        };
        let message = match presented.is_of_session() {
            // Its logon was verified, and who speaks on its connection is ingress' word.
            true => std::borrow::Cow::Borrowed(presented.message()),
            false => presented.verify(&checker.verify)?,
        };
        let source = virtual_keys::source(request.source);
        if key.canary {
            return self
                .canary(id, request)
                .map_err(Early::Core)
                .and(Err(unknown()));
        }
        if key.revoked {
            return Err(Early::Class(
                Class::Unauthenticated,
                "the virtual key was revoked",
                "revoked",
            ));
        }
        if self.clock.now() >= key.expires {
            return Err(Early::Class(
                Class::Unauthenticated,
                "the virtual key has expired; its operator issues a new one",
                "expired",
            ));
        }
        let Some(source) = source.filter(|source| checker.allows(*source)) else {
            return Err(Early::Class(
                Class::NotPermitted,
                "the virtual key may not be used from this address",
                "wrong-source",
            ));
        };
        if self.is_sealed() {
            return Err(sealed);
        }
        if self.clock.jumped_us().is_some() {
            return Err(Early::Class(
                Class::NotAvailable,
                "the gate's clock jumped; its operator has to confirm the time",
                "clock-jumped",
            ));
        }
        let caller = Caller {
            strategy: key.strategy,
            virtual_key: id,
            account: key.account,
            source,
        };
        let service = presented.service();
        let venue = self.state.accounts.get(&key.account).map(|a| &a.venue);
        if venue.is_none_or(|venue| venue.as_str() != service.venue()) {
            return Err(Early::Class(
                Class::NotPermitted,
                "the virtual key is for an account at another venue",
                "wrong-venue",
            ));
        }
        let host = self.host_of(service).ok_or(NO_HOST)?;
        let connections = self.connections.entry(id).or_default();
        let is_frame = request.method == FRAME_METHOD;
        if let Some(pushed_out) = connections.note(request.connection, is_frame) {
            close(turn, [pushed_out].into());
        }

        // A program keeps the venue's time; so does this.
        let venue_now = self.clock.venue_now(service.venue());
        let stamped = match presented.timestamp_us {
            Some(at) => Timestamp(at),
            // Its catalog lets a session's call be without one.
            None if presented.is_of_session() => venue_now,
            None => return Err(DecodeError::TimestampMissing.into()),
        };
        let window = presented.receive_window_us;
        let left = window.saturating_sub(venue_now.since_us(stamped));
        if stamped.0 > venue_now.0.saturating_add(AHEAD_US_MAX) || left < 1_000 {
            return Err(Early::Class(
                Class::BadTime,
                "the timestamp is outside the receive window",
                "timestamp",
            ));
        }
        if self.clock.from_venue(service.venue(), stamped) < self.started {
            return Err(Early::Class(
                Class::BadTime,
                "the timestamp is from before the gate started; sign the request again",
                "before-start",
            ));
        }
        // Over REST a session is the venue's: a listen token, say, is asked for and answered there.
        let logs_on =
            presented.rule().action == ActionKind::Session && request.method == FRAME_METHOD;
        if logs_on && pipe.is_some() {
            self.may_log_on(&caller, host, request.connection)?;
        } else if logs_on {
            let until = stamped.plus_us(window.saturating_add(AHEAD_US_MAX));
            return self.log_on(&presented, caller, request, &message, until, turn);
        }
        let mint = format!("pc{:x}t{:x}", self.log.next().0, self.log.term());
        let actions = match presented.decode(Some(&mint)) {
            Ok(actions) => actions,
            Err(error) => {
                let endpoint = presented.rule().name();
                return Ok(self.not_understood(caller, request, endpoint, &error, turn)?);
            }
        };
        let reads = actions.list.iter().all(|action| action.kind().is_read());
        let repeats = logs_on && presented.service().dialect.logons_repeat();
        let mark = match reads || repeats {
            true => None,
            false => {
                // A logon by a pipe is taken once for each place: a program that opens several at once may sign the same words.
                let path = match pipe.filter(|_| logs_on) {
                    Some(_) => std::borrow::Cow::Owned(format!(
                        "{} {}",
                        presented.rule().path,
                        String::from_utf8_lossy(request.target)
                    )),
                    None => std::borrow::Cow::Borrowed(&*presented.rule().path),
                };
                let mark = mark(id, request.method, &path, &message);
                match self.replay.look(id, &mark, venue_now) {
                    Seen::New => {}
                    Seen::Repeated(First::Approved(_)) if logs_on => {
                        return Err(Early::Class(
                            Class::BadSignature,
                            "this logon was seen before; sign a new one",
                            "repeated",
                        ));
                    }
                    Seen::Repeated(First::Approved(_)) => {
                        return Err(Early::Class(
                            Class::StatusUnknown,
                            "this request was seen before and was approved; ask for the order",
                            "repeated",
                        ));
                    }
                    Seen::Repeated(First::Refused { status, body, code }) => {
                        return Err(Early::Again(*status, body.clone(), code));
                    }
                    Seen::Full => {
                        return Err(Early::Class(
                            Class::NotAvailable,
                            "too many requests are remembered; try again later",
                            "replay-full",
                        ));
                    }
                }
                Some((mark, stamped.plus_us(window.saturating_add(AHEAD_US_MAX))))
            }
        };

        let facts = Facts {
            space: self.log.space(),
            unsynced_us: self.unsynced_us(),
            weight: actions.weight,
        };
        let now = self.clock.now();
        let decision = match &self.release {
            Some(release) => decide(release, &self.state, caller, &actions.list, &facts, now),
            None => Decision {
                verdict: Verdict::Refused(Refusal::NoRelease),
                would_refuse: None,
                reserved: false,
                duty: Duty::Read,
                trip: None,
            },
        };
        let lane = lane(reads, decision.reserved);
        let of_pipe = pipe.filter(|_| presented.is_of_session());
        let real = match (&decision.verdict, of_pipe) {
            (Verdict::Refused(_), _) => KeyChoice::None,
            (Verdict::Approved(_), Some(_)) => {
                self.logged_on_key(request.connection, caller.account, decision.duty)
            }
            (Verdict::Approved(_), None) if logs_on => {
                let duty = presented.service().dialect.logon_duty(request.target);
                self.key_for(caller.account, duty)
            }
            (Verdict::Approved(_), None) => self.key_for(caller.account, decision.duty),
        };
        let verdict = match (decision.verdict, real) {
            (Verdict::Approved(_), KeyChoice::None) => Verdict::Refused(Refusal::NoKey {
                duty: decision.duty,
            }),
            // What a key that can write has signed, egress can hand in elsewhere: no field is in it that nobody reviewed.
            (Verdict::Approved(_), KeyChoice::Open(key))
                if actions.has_unnamed() && self.can_write(key) =>
            {
                Verdict::Refused(Refusal::OneKeyForAll)
            }
            (verdict, _) => verdict,
        };
        let mut body = self.body(match verdict {
            Verdict::Approved(_) => What::Approved,
            Verdict::Refused(_) => What::Refused,
        });
        body.public.venue = Some(presented.service().venue().to_owned());
        body.public.endpoint = Some(presented.rule().name());
        body.regulator.strategy = Some(caller.strategy);
        body.regulator.account = Some(caller.account);
        body.private.virtual_key = Some(id);
        body.private.source = Some(ByteVec::from(request.source.to_vec()));
        body.private.would_refuse = decision.would_refuse;
        let trip = decision.trip;
        body.private.unsynced_us = facts.unsynced_us;
        body.private.weight = actions.weight;
        body.private.release = self
            .state
            .release
            .and_then(|hash| hash.get(..8).map(|part| ByteVec::from(part.to_vec())));
        match verdict {
            Verdict::Approved(effects) => {
                let real = match real {
                    KeyChoice::Open(real) => real,
                    KeyChoice::Sealed | KeyChoice::None => return Err(sealed),
                };
                if !self.has_room(lane) || !self.keyring.has_room(real) {
                    return Err(Early::Class(
                        Class::NotAvailable,
                        "the way to the venue is full or gone; nothing was sent",
                        "no-credit",
                    ));
                }
                let left = if reads {
                    left
                } else {
                    left.min(ORDER_WINDOW_US_MAX)
                };
                let window_ms = u32::try_from(left / 1_000).unwrap_or(60_000).max(1);
                let stamp = Stamp {
                    venue_time_ms: venue_now.as_ms(),
                    receive_window_ms: window_ms,
                    at: now,
                };
                let meta = Meta {
                    caller,
                    id: request.id,
                    lane,
                    host,
                    release: self.releases_seen,
                    endpoint: actions.endpoint,
                    weight: actions.weight,
                    orders: actions.orders,
                    not_after_us: self.clock.boot_us().saturating_add(left),
                    // Whether the venue has taken a logon is seen by what it says of the frames that follow.
                    summarize: presented.rule().is_summarized() && !logs_on,
                    stream: presented
                        .service()
                        .dialect
                        .opens_stream(presented.rule())
                        .then_some(request.connection),
                    pipe,
                    kinds: actions.list.iter().map(Action::kind).collect(),
                    targets: self.state.targets(caller.account, &actions.list),
                    reserved: decision.reserved,
                    until: now
                        .plus_us(service.dialect.accepted_us(window_ms) + 1_000)
                        .plus_us(self.clock.venue_behind_us(service.venue())),
                    own: None,
                };
                let approved = Approved {
                    key: real,
                    unsigned: catalog.prepare(&actions, stamp).ok_or(Early::Class(
                        Class::NotAvailable,
                        "the endpoint is no longer in the catalog; ask again",
                        "no-endpoint",
                    ))?,
                    meta,
                };
                body.private.effects = effects;
                if let Some((mark, _)) = &mark {
                    body.private.effects.push(Effect::Seen { mark: mark.0 });
                }
                body.regulator.key = Some(real);
                body.regulator.stamp = Some(stamp);
                body.regulator.actions = actions.list;
                let (queued, entry) = self.append(body, approved)?;
                if let Some((mark, until)) = mark {
                    self.replay.keep(id, mark, First::Approved(entry), until);
                }
                if logs_on {
                    self.pipe_logs_on(request.connection, caller, real, entry);
                }
                self.live.insert(request.id);
                *self.in_lane.entry(lane).or_default() += 1;
                *self.metrics.approved.entry(lane).or_default() += 1;
                turn.queued.push(queued);
                Ok(())
            }
            Verdict::Refused(refusal) => {
                body.public.refusal = Some(refusal.code().to_owned());
                body.regulator.refusal = Some(refusal.clone());
                body.regulator.actions = actions.list;
                // A flood must not fill the disk: above their rate refusals are counted.
                let recorded = trip.is_some()
                    || match refusal {
                        Refusal::MessageRate { .. } => self.failures.is_flood_recorded(id, now),
                        _ => self.failures.is_recorded(id, now),
                    };
                if let Some(halt) = trip {
                    self.tripped(&halt);
                    body.private.effects = vec![Effect::Halted(halt)];
                }
                let entry = if recorded {
                    Some(self.note(body)?)
                } else {
                    self.failures.count(Some(id), refusal.code());
                    None
                };
                self.metrics.refused(refusal.code());
                self.told_refused(caller.strategy, refusal.code(), entry);
                let (status, text) = presented.service().dialect.refuse(
                    refusal.class(),
                    &refusal.to_string(),
                    entry,
                );
                reply_with(turn, request.id, status, &text, refusal.code());
                if let Some((mark, until)) = mark {
                    let first = First::Refused {
                        status,
                        body: text,
                        code: refusal.code(),
                    };
                    self.replay.keep(id, mark, first, until);
                }
                Ok(())
            }
        }
    }

    /// A verified statement that the catalog cannot read is a refusal like any other: it has an entry, up to their rate.
    fn not_understood(
        &mut self,
        caller: Caller,
        request: &Request<'_>,
        endpoint: String,
        error: &DecodeError,
        turn: &mut Turn,
    ) -> Result<(), CoreError> {
        let code = error.code();
        let entry = if self
            .failures
            .is_recorded(caller.virtual_key, self.clock.now())
        {
            let mut body = self.body(What::Refused);
            body.public.venue = self
                .catalog
                .service(request.host)
                .map(|service| service.venue().to_owned());
            body.public.endpoint = Some(endpoint);
            body.public.refusal = Some(code.to_owned());
            body.regulator.strategy = Some(caller.strategy);
            body.regulator.account = Some(caller.account);
            body.regulator.text = Some(error.to_string().chars().take(500).collect());
            body.private.virtual_key = Some(caller.virtual_key);
            body.private.source = Some(ByteVec::from(request.source.to_vec()));
            Some(self.note(body)?)
        } else {
            self.failures.count(Some(caller.virtual_key), code);
            None
        };
        self.metrics.refused(code);
        self.told_refused(caller.strategy, code, entry);
        reply(
            turn,
            dialect_at(&self.catalog, request.host),
            request.id,
            error.class(),
            &error.to_string(),
            code,
            entry,
        );
        Ok(())
    }

    /// A line for each refusal that has an entry; whoever floods shall not fill the disk by our lines either.
    fn told_refused(&mut self, strategy: StrategyId, code: &'static str, entry: Option<EntryId>) {
        if let Some(entry) = entry {
            self.events.event(
                "refused",
                json!({ "strategy": strategy, "code": code, "entry": entry }),
            );
        }
    }

    /// Public data goes on unsigned and unrecorded, from the sources of virtual keys only.
    fn public(
        &mut self,
        presented: &Presented<'_>,
        request: &Request<'_>,
        pipe: Option<RequestId>,
        turn: &mut Turn,
    ) -> Result<(), Early> {
        let source = virtual_keys::source(request.source);
        if !source.is_some_and(|source| self.is_bound(source)) {
            return Err(Early::Class(
                Class::NotPermitted,
                "no virtual key of this site may be used from this address",
                "wrong-source",
            ));
        }
        if !self.has_room(Lane::Public) {
            return Err(Early::Class(
                Class::NotAvailable,
                "the way to the venue is full or gone; nothing was sent",
                "no-credit",
            ));
        }
        let actions = presented.decode(None)?;
        let stamp = Stamp {
            venue_time_ms: self.clock.venue_now(presented.service().venue()).as_ms(),
            receive_window_ms: 0,
            at: self.clock.now(),
        };
        let host = self.host_of(presented.service()).ok_or(NO_HOST)?;
        let ready = self
            .catalog
            .prepare(&actions, stamp)
            .and_then(Unsigned::finish_public)
            .ok_or(Early::Class(
                Class::BadRequest,
                "the endpoint wants a signature",
                "not-public",
            ))?;
        self.metrics.public += 1;
        if pipe == Some(request.id) {
            self.pipe_opens(request);
        }
        let whose = Whose::Program { pipe };
        self.forward_public(request.id, host, &actions, &ready, whose, turn);
        Ok(())
    }

    fn forward_public(
        &mut self,
        id: RequestId,
        host: u16,
        actions: &Actions,
        ready: &Ready,
        whose: Whose,
        turn: &mut Turn,
    ) {
        let (own, pipe) = match whose {
            Whose::Gate(own) => (Some(own), None),
            Whose::Program { pipe } => (None, pipe),
        };
        let out = Out {
            id,
            entry: None,
            strategy: GATE,
            account: None,
            lane: if own.is_some() {
                Lane::Operator
            } else {
                Lane::Public
            },
            host,
            endpoint: actions.endpoint,
            weight: actions.weight,
            orders: 0,
            not_after_us: 0,
            summarize: own.is_some(),
            stream: false,
            pipe,
            share: self.share,
        };
        if !send(turn, &out, ready) {
            let text = "the request is too long once it is encoded";
            let dialect = self.dialect(actions.endpoint);
            reply(turn, dialect, id, Class::BadRequest, text, "too-long", None);
            return;
        }
        *self.in_lane.entry(out.lane).or_default() += 1;
        let flight = Flight {
            entry: None,
            caller: None,
            lane: out.lane,
            endpoint: out.endpoint,
            kinds: Vec::new(),
            targets: Vec::new(),
            reserved: true,
            until: self.clock.now(),
            own,
            stream: None,
            pipe,
            reports: Vec::new(),
            is_cut: false,
        };
        self.flights.insert(id, flight);
    }

    /// Where the release has the venue's host.
    fn host_of(&self, service: &Service) -> Option<u16> {
        let hosts = &self.release.as_ref()?.hosts.hosts;
        let at = hosts.iter().position(|host| service.serves(&host.name))?;
        u16::try_from(at).ok()
    }

    /// Whose words an endpoint speaks.
    fn dialect(&self, endpoint: u16) -> &'static dyn Dialect {
        let host = self
            .catalog
            .endpoint(endpoint)
            .and_then(|endpoint| self.catalog.service_of(endpoint))
            .map_or("", |service| service.host.as_str());
        dialect_at(&self.catalog, host)
    }

    /// Whether any virtual key in force may come from here.
    fn is_bound(&self, source: IpAddr) -> bool {
        let source = source.to_canonical();
        self.bound.iter().any(|network| network.contains(source))
    }

    /// Makes anew what follows from the state and would cost too much for each request.
    fn refresh(&mut self) {
        let now = self.clock.now();
        let active = self
            .state
            .strategies
            .values()
            .filter(|s| !s.revoked)
            .count();
        self.share = u16::try_from(1_000 / active.max(1)).unwrap_or(1_000).max(1);
        let bound: HashSet<Network> = self
            .state
            .virtual_keys
            .values()
            .filter(|key| !key.revoked && !key.canary && key.expires > now)
            .flat_map(|key| &key.sources)
            .filter_map(|text| Network::parse(text))
            .collect();
        self.bound = bound.into_iter().collect();
        self.expires_at = self
            .state
            .virtual_keys
            .values()
            .map(|key| key.expires)
            .filter(|expires| *expires > now)
            .min()
            .unwrap_or(Timestamp(u64::MAX));
    }

    /// Somebody has a credential that no program uses.
    fn canary(&mut self, id: VirtualKeyId, request: &Request<'_>) -> Result<(), CoreError> {
        let now = self.clock.now();
        let source = virtual_keys::source(request.source).map(|source| source.to_string());
        self.metrics.refused("canary");
        if !self.failures.is_recorded(id, now) {
            return Ok(());
        }
        let mut body = self.body(What::Canary);
        let key = self.state.virtual_keys.get(&id);
        body.regulator.strategy = key.map(|key| key.strategy);
        body.regulator.account = key.map(|key| key.account);
        body.private.virtual_key = Some(id);
        body.private.source = Some(ByteVec::from(request.source.to_vec()));
        let strategy = key.map(|key| key.strategy);
        let entry = self.note(body)?;
        self.events.alert(
            "canary",
            json!({ "virtual_key": id, "left_with": strategy, "source": source, "entry": entry }),
        );
        Ok(())
    }

    fn unsynced_us(&self) -> u64 {
        u64::try_from(self.log.unsynced_for().as_micros()).unwrap_or(u64::MAX)
    }

    fn has_room(&self, lane: Lane) -> bool {
        self.egress_is_up && self.in_lane.get(&lane).is_none_or(|n| *n < LINK_FRAMES_MAX)
    }

    /// The key of exactly this duty, so that what reads cannot write and what trades cannot move value. An account that
    /// has one key for all uses it; `status` says what that costs.
    fn key_for(&self, account: AccountId, duty: Duty) -> KeyChoice {
        let mut all = self
            .state
            .keys
            .iter()
            .filter(|(_, key)| key.account == account);
        let first = all.next();
        let only = all.next().is_none();
        let chosen = match first {
            Some((id, key)) if only && key.duty >= duty => Some(*id),
            _ => {
                let mut exact = self
                    .state
                    .keys
                    .iter()
                    .filter(|(_, key)| key.account == account && key.duty == duty)
                    .map(|(id, _)| *id)
                    .peekable();
                let newest_sealed = exact.peek().copied();
                exact.find(|id| self.keyring.is_open(*id)).or(newest_sealed)
            }
        };
        match chosen {
            Some(id) if self.keyring.is_open(id) => KeyChoice::Open(id),
            Some(_) => KeyChoice::Sealed,
            None => KeyChoice::None,
        }
    }

    /// The key that a pipe is logged on with, if it is still one of its account's and may do this.
    fn logged_on_key(&self, connection: u64, account: AccountId, duty: Duty) -> KeyChoice {
        let of_pipe = self.pipes.key(connection).filter(|id| {
            let key = self.state.keys.get(id);
            key.is_some_and(|key| key.account == account && key.duty >= duty)
        });
        match of_pipe {
            Some(id) if self.keyring.is_open(id) => KeyChoice::Open(id),
            Some(_) => KeyChoice::Sealed,
            None => KeyChoice::None,
        }
    }

    fn can_write(&self, key: KeyId) -> bool {
        self.state
            .keys
            .get(&key)
            .is_none_or(|key| key.duty > Duty::Read)
    }

    /// Ends a turn: writes every queued entry in one call, looks at halts once more, signs, and frames what egress gets.
    pub fn finish(&mut self, turn: &mut Turn, reading: Reading) -> Result<(), CoreError> {
        self.look(reading);
        self.log.flush()?;
        for queued in std::mem::take(&mut turn.queued) {
            let Ok(recorded) = self.log.recorded(queued) else {
                return Err(LogError::Ended.into());
            };
            let moves_value =
                |kind: &ActionKind| kind.moves_value_out() || kind.duty() > Duty::Trade;
            if recorded.approved().meta.kinds.iter().any(moves_value) {
                self.unsynced.push_back(recorded);
            } else {
                self.release(recorded, turn)?;
            }
        }
        while self
            .unsynced
            .front()
            .is_some_and(|recorded| recorded.entry().0 < self.log.synced())
        {
            if let Some(recorded) = self.unsynced.pop_front() {
                self.release(recorded, turn)?;
            }
        }
        while let Some(done) = self.keyring.finished() {
            self.signed(done, turn)?;
        }
        // What was dropped has its entries too.
        self.log.flush()?;
        for id in std::mem::take(&mut self.leaves) {
            let _ = wire::frame(&mut turn.to_egress, kind::LEAVE, &wire::Leave { id });
        }
        Ok(())
    }

    /// How far the log was when it was opened, for the other rooms to remember.
    #[must_use]
    pub fn log_head(&self) -> wire::Log {
        let (size, root) = self.log.opened();
        wire::Log { size, root }
    }

    /// Requests at egress without an outcome.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.flights.len()
    }

    /// Streams are open: what they say is waited for.
    #[must_use]
    pub fn has_streams(&self) -> bool {
        !self.streams.is_empty()
    }

    /// A halt waits for egress.
    #[must_use]
    pub fn is_halting(&self) -> bool {
        self.halting.iter().any(|halting| halting.waits)
    }

    /// Something that waited for the disk can go on. If not, the loop will be woken when it can.
    #[must_use]
    pub fn has_news(&self) -> bool {
        let waiting = self.answers.iter().filter_map(|(_, entry, _)| *entry);
        let Some(first) = waiting
            .chain(self.unsynced.front().map(Recorded::entry))
            .min()
        else {
            return false;
        };
        self.log.want_synced(first);
        first.0 < self.log.synced() || self.log.has_failed()
    }

    /// Signatures that helpers are making, or that wait for the disk: the loop will be woken for them.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.keyring.slow() > 0
            || !self.unsynced.is_empty()
            || !self.answers.is_empty()
            || !self.halting.is_empty()
            || self.compiling.is_some()
    }

    fn release(
        &mut self,
        recorded: Recorded<Approved<Meta>>,
        turn: &mut Turn,
    ) -> Result<(), CoreError> {
        let meta = &recorded.approved().meta;
        if let Some(level) = self.halted(&meta.caller, &meta.kinds, meta.reserved) {
            let entry = recorded.entry();
            let meta = recorded.into_approved().meta;
            return self.drop_held(&meta, entry, &held_back(level), turn);
        }
        let signing = self.keyring.sign(recorded);
        self.signed(signing, turn)
    }

    fn signed(&mut self, signing: Signing<Meta>, turn: &mut Turn) -> Result<(), CoreError> {
        let signed = match signing {
            Signing::Slow(_) => return Ok(()),
            Signing::Failed(meta, entry, why) => {
                self.events.alert(
                    "not-signed",
                    json!({ "entry": entry, "why": why.to_string() }),
                );
                let text = match why {
                    KeyError::NotOpen(_) => "the gate is sealed; nothing was sent".to_owned(),
                    why => format!("not signed: {why}; nothing was sent"),
                };
                return self.drop_held(&meta, entry, &text, turn);
            }
            Signing::Done(signed) => signed,
        };
        // A slow signature may have been overtaken by a halt, or by its own deadline.
        let meta = signed.meta;
        if let Some(level) = self.halted(&meta.caller, &meta.kinds, meta.reserved) {
            return self.drop_held(&meta, signed.entry, &held_back(level), turn);
        }
        if self.clock.boot_us() > meta.not_after_us {
            let text = "its receive window passed before it was signed; nothing was sent";
            return self.drop_held(&meta, signed.entry, text, turn);
        }
        if !self.egress_is_up {
            let text = "the way to the venue is gone; nothing was sent";
            return self.drop_held(&meta, signed.entry, text, turn);
        }
        if meta.release != self.releases_seen {
            let text = "another release came into force before it was signed; nothing was sent";
            return self.drop_held(&meta, signed.entry, text, turn);
        }
        let out = Out {
            id: meta.id,
            entry: Some(signed.entry),
            strategy: meta.caller.strategy,
            account: Some(meta.caller.account),
            lane: meta.lane,
            host: meta.host,
            endpoint: meta.endpoint,
            weight: meta.weight,
            orders: meta.orders,
            not_after_us: meta.not_after_us,
            summarize: meta.summarize,
            stream: meta.stream.is_some(),
            pipe: meta.pipe,
            share: self.share,
        };
        if !send(turn, &out, &signed.ready) {
            // A rebuilt request is no longer than the one that fitted a frame on its way in, but for its escapes.
            let text = "the request is too long once it is encoded; nothing was sent";
            return self.drop_held(&meta, signed.entry, text, turn);
        }
        self.metrics.signed += 1;
        let flight = Flight {
            entry: Some(signed.entry),
            caller: Some(meta.caller),
            lane: meta.lane,
            endpoint: meta.endpoint,
            kinds: meta.kinds,
            targets: meta.targets,
            reserved: meta.reserved,
            until: meta.until,
            own: meta.own,
            stream: meta.stream,
            pipe: meta.pipe,
            reports: Vec::new(),
            is_cut: false,
        };
        self.flights.insert(meta.id, flight);
        Ok(())
    }

    /// Recorded, and never released: its reservation ends, and its program is told that nothing was sent.
    fn drop_held(
        &mut self,
        meta: &Meta,
        entry: EntryId,
        why: &str,
        turn: &mut Turn,
    ) -> Result<(), CoreError> {
        self.leave_lane(meta.lane);
        self.live.remove(&meta.id);
        self.metrics.dropped += 1;
        self.not_logged_on(meta.pipe, &meta.kinds);
        let mut body = self.body(What::Dropped);
        body.public.of = Some(entry);
        body.regulator.strategy = Some(meta.caller.strategy);
        body.regulator.account = Some(meta.caller.account);
        body.regulator.text = Some(why.to_owned());
        body.regulator.sent = Some(Sent::NotSent);
        body.private.effects = self
            .state
            .settle(meta.caller.account, entry, Sent::NotSent, &[], None)
            .effects;
        self.note(body)?;
        match &meta.own {
            Some(own) => self.own_failed(own),
            None => reply(
                turn,
                self.dialect(meta.endpoint),
                meta.id,
                Class::NotAvailable,
                why,
                "held-back",
                Some(entry),
            ),
        }
        Ok(())
    }

    fn leave_lane(&mut self, lane: Lane) {
        if let Some(n) = self.in_lane.get_mut(&lane) {
            *n = n.saturating_sub(1);
        }
    }

    /// The level of a halt in force that refuses this.
    fn halted(&self, caller: &Caller, kinds: &[ActionKind], reserved: bool) -> Option<Level> {
        if self.state.halts.is_empty() || caller.strategy == GATE {
            return None;
        }
        self.state
            .halts
            .values()
            .find(|halt| {
                self.covers(&halt.scope, caller)
                    && kinds.iter().any(|kind| refuses(halt, *kind, reserved))
            })
            .map(|halt| halt.level)
    }

    fn covers(&self, scope: &Scope, caller: &Caller) -> bool {
        match scope {
            Scope::Firm => true,
            Scope::Venue(name) => self
                .state
                .accounts
                .get(&caller.account)
                .is_some_and(|account| account.venue == *name),
            Scope::Account(id) => *id == caller.account,
            Scope::Desk(name) => self
                .state
                .strategies
                .get(&caller.strategy)
                .and_then(|strategy| strategy.desk.as_ref())
                .is_some_and(|desk| desk == name),
            Scope::Strategy(id) => *id == caller.strategy,
            Scope::VirtualKey(id) => *id == caller.virtual_key,
        }
    }

    /// What became of a request, as egress says.
    pub fn outcome(&mut self, outcome: &Outcome, reading: Reading) -> Result<(), CoreError> {
        self.look(reading);
        let Some(flight) = self.flights.get_mut(&outcome.id) else {
            self.metrics.foreign_frames += 1;
            return Ok(());
        };
        if outcome.entry.is_some() && outcome.entry != flight.entry {
            self.metrics.foreign_frames += 1;
            return Ok(());
        }
        if self.reports_kept.saturating_add(outcome.reports.len()) > REPORTS_MAX {
            flight.is_cut = true;
        } else {
            self.reports_kept += outcome.reports.len();
            flight.reports.extend(outcome.reports.iter().cloned());
        }
        if outcome.more {
            return Ok(());
        }
        let Some(mut flight) = self.flights.remove(&outcome.id) else {
            return Ok(());
        };
        self.reports_kept = self.reports_kept.saturating_sub(flight.reports.len());
        if flight.is_cut {
            flight
                .reports
                .retain(|report| !matches!(report, Report::OpenOrdersComplete { .. }));
        }
        self.live.remove(&outcome.id);
        self.leave_lane(flight.lane);
        let word = match outcome.sent {
            Sent::NotSent => "not_sent",
            Sent::MaybeSent => "maybe_sent",
            Sent::Sent => "sent",
        };
        *self.metrics.outcomes.entry(word).or_default() += 1;
        let mut is_new = false;
        if let (Some(entry), Some(caller)) = (flight.entry, flight.caller) {
            let asked = flight.own.as_ref().and_then(Own::order);
            let Settled {
                mut effects,
                impossible,
            } = self
                .state
                .settle(caller.account, entry, outcome.sent, &flight.reports, asked);
            if outcome.sent == Sent::Sent {
                effects.extend(self.state.doubted(&flight.reports, &flight.targets));
            }
            is_new = !effects.is_empty();
            let why = self.impossible(&impossible);
            self.settle(&flight, outcome, &effects, why)?;
        }
        if outcome.sent != Sent::Sent {
            self.not_logged_on(flight.pipe, &flight.kinds);
        }
        if flight.pipe == Some(outcome.id) && (outcome.sent, outcome.status) != (Sent::Sent, 101) {
            self.pipe_ended(outcome.id);
        }
        if let (Some(connection), Sent::Sent, 200) = (flight.stream, outcome.sent, outcome.status)
            && let (Some(entry), Some(caller)) = (flight.entry, flight.caller)
        {
            // As many as an honest egress keeps; one that ends none of them fills no memory.
            if self.streams.len() < STREAMS_MAX {
                let stream = session::Stream {
                    entry,
                    caller,
                    connection,
                };
                self.streams.insert(outcome.id, stream);
            } else {
                self.leaves.push(outcome.id);
                if let Some(own @ Own::Listen(_)) = &flight.own {
                    self.own_failed(own);
                }
            }
        }
        if let Some(own) = &flight.own {
            self.own_outcome(own, outcome, &flight.reports, is_new)?;
        } else if let (Some(entry), Some(caller)) = (flight.entry, flight.caller)
            && !flight.kinds.iter().all(|kind| kind.is_read())
        {
            self.answered(entry, caller, flight);
        }
        Ok(())
    }

    /// What a stream said: it settles orders like an answer. Fills come so within a moment; who asks the venue finds the rest.
    pub fn told(&mut self, told: &Told, reading: Reading) -> Result<(), CoreError> {
        self.look(reading);
        let Some(session::Stream { entry, caller, .. }) = self.streams.get(&told.id).copied()
        else {
            self.metrics.foreign_frames += 1;
            return Ok(());
        };
        if told.ended {
            if caller.strategy == GATE {
                let until = self.clock.now().plus_us(own::LISTEN_AGAIN_US);
                self.own.deaf(caller.account, until);
            }
            self.pipe_ended(told.id);
            self.streams.remove(&told.id);
        }
        self.metrics.events += 1;
        let facts = |report: &&Report| matches!(report, Report::Order(_) | Report::Trade(_));
        let reports: Vec<Report> = told.reports.iter().filter(facts).cloned().collect();
        let Settled {
            effects,
            impossible,
        } = self
            .state
            .settle(caller.account, entry, Sent::Sent, &reports, None);
        let why = self.impossible(&impossible);
        if effects.is_empty() && why.is_none() {
            return Ok(());
        }
        for part in effects.chunks(OUTCOME_PARTS_MAX) {
            let mut body = self.body(What::Outcome);
            body.public.of = Some(entry);
            body.regulator.strategy = Some(caller.strategy);
            body.regulator.account = Some(caller.account);
            body.regulator.sent = Some(Sent::Sent);
            body.regulator.status = Some(200);
            body.regulator.text = why.clone();
            body.regulator.reports = reports.iter().take(OUTCOME_PARTS_MAX).cloned().collect();
            body.private.effects = part.to_vec();
            self.note(body)?;
        }
        Ok(())
    }

    /// Something was told that cannot be: egress lies, or the venue does, or we are wrong. It is evidence for a person.
    fn impossible(&mut self, found: &[(OrderNumber, Impossible)]) -> Option<String> {
        if found.is_empty() {
            return None;
        }
        for (_, why) in found {
            *self.metrics.impossible.entry(why.name()).or_default() += 1;
        }
        let words: Vec<String> = found
            .iter()
            .take(IMPOSSIBLE_TOLD_MAX)
            .map(|(order, why)| format!("{} of the order of entry {}", why.name(), order.entry))
            .collect();
        let text = format!("told what cannot be: {}", words.join(", "));
        let now = self.clock.now();
        if now >= self.impossible_at {
            self.impossible_at = now.plus_us(IMPOSSIBLE_EVERY_US);
            self.events.alert("impossible", json!({ "what": text }));
        }
        Some(text)
    }

    /// Whatever egress says became of it, the venue may accept it until its window has passed.
    fn answered(&mut self, entry: EntryId, caller: Caller, flight: Flight) {
        let now = self.clock.now();
        while self
            .answered
            .front()
            .is_some_and(|one| one.until.plus_us(commands::CLOCK_DOUBT_US) <= now)
        {
            self.answered.pop_front();
        }
        self.answered.push_back(Lost {
            entry,
            of: Some((caller, flight.kinds, flight.reserved)),
            until: flight.until,
        });
    }

    /// Writes what an outcome changed; of what only reads, nothing if nothing changed.
    fn settle(
        &mut self,
        flight: &Flight,
        outcome: &Outcome,
        effects: &[Effect],
        impossible: Option<String>,
    ) -> Result<(), CoreError> {
        let reads = flight.kinds.iter().all(|kind| kind.is_read());
        if effects.is_empty() && reads && impossible.is_none() {
            return Ok(());
        }
        let mut parts = effects.chunks(OUTCOME_PARTS_MAX);
        let mut next = Some(parts.next().unwrap_or_default());
        while let Some(part) = next {
            let mut body = self.body(What::Outcome);
            body.public.of = flight.entry;
            body.regulator.strategy = flight.caller.map(|caller| caller.strategy);
            body.regulator.account = flight.caller.map(|caller| caller.account);
            body.regulator.sent = Some(outcome.sent);
            body.regulator.status = Some(outcome.status);
            body.regulator.text = impossible.clone().or_else(|| {
                let why = outcome.why.as_ref();
                why.map(|why| why.chars().take(200).collect())
            });
            if !reads {
                body.regulator.reports = flight
                    .reports
                    .iter()
                    .take(OUTCOME_PARTS_MAX)
                    .cloned()
                    .collect();
            }
            body.private.effects = part.to_vec();
            self.note(body)?;
            next = parts.next();
        }
        Ok(())
    }

    /// What egress says became of a discard.
    pub fn discarded(&mut self, discarded: &Discarded) {
        self.commands_discarded(discarded);
    }

    /// Connections of these keys are to be closed.
    fn close_connections(&mut self, keys: &[VirtualKeyId], turn: &mut Turn) {
        for key in keys {
            self.checkers.forget(*key);
            // Before egress is told, so that ingress is told too, whatever the one of them does.
            let connections = self.connections.remove(key);
            self.hang_up(*key, turn);
            self.sessions.end(*key);
            if let Some(connections) = connections {
                close(turn, connections.all().collect());
            }
        }
        self.refresh();
        self.hang_up_unbound(turn);
    }

    /// The logon of a pipe was not sent, or nobody knows: what follows there is of no session.
    fn not_logged_on(&mut self, pipe: Option<RequestId>, kinds: &[ActionKind]) {
        if let Some(id) = pipe
            && kinds.contains(&ActionKind::Session)
        {
            self.pipe_ended(id);
            self.leaves.push(id);
        }
    }

    /// The page of metrics.
    #[must_use]
    pub fn metrics_text(&self) -> String {
        let keys_open = self
            .state
            .keys
            .keys()
            .filter(|id| self.keyring.is_open(**id));
        self.metrics.text(&Gauges {
            entries: self.state.entries,
            unsynced_us: self.unsynced_us(),
            under_way: self.flights.len() as u64,
            slow: self.keyring.slow() as u64,
            open_orders: self.state.orders.len() as u64,
            halts: self.state.halts.len() as u64,
            statements: self.replay.len() as u64,
            keys_open: keys_open.count() as u64,
            clock_jumped: self.clock.jumped_us().is_some(),
            venue_offset_us: self.clock.furthest().map_or(0, |(_, offset)| offset),
        })
    }

    /// Keeps the fold as a snapshot, now and then. Between turns, since it copies the state.
    pub fn keep_snapshot(&mut self) {
        if self.state.entries - self.kept_at >= SNAPSHOT_EVERY {
            self.snapshot();
        }
    }

    fn snapshot(&mut self) {
        self.log.snapshot(&self.state);
        self.kept_at = self.state.entries;
    }

    /// Ends in order: everything is written, synced and under a checkpoint.
    pub fn close(mut self) -> Result<(), CoreError> {
        if self.state.entries - self.kept_at >= SNAPSHOT_AT_END {
            self.snapshot();
        }
        Ok(self.log.close()?)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum KeyChoice {
    Open(KeyId),
    /// There is one, and it is not open.
    Sealed,
    None,
}

fn held_back(level: Level) -> String {
    format!("halted at level {level} before it was signed; nothing was sent")
}

fn refuses(halt: &Halt, kind: ActionKind, reserved: bool) -> bool {
    match halt.level.passage(kind) {
        Passage::Refused => true,
        Passage::IfReducing => !reserved,
        Passage::Passes => false,
    }
}

fn lane(reads: bool, reserved: bool) -> Lane {
    match (reads, reserved) {
        (true, _) => Lane::Read,
        (false, true) => Lane::Cancel,
        (false, false) => Lane::Order,
    }
}

/// Connections that a virtual key was used on.
#[derive(Debug, Default)]
struct Connections {
    http: VecDeque<u64>,
    sockets: VecDeque<u64>,
}

impl Connections {
    /// `Some`: a WebSocket that has to end, since it could not be ended later.
    fn note(&mut self, connection: u64, is_socket: bool) -> Option<u64> {
        let of_kind = match is_socket {
            true => &mut self.sockets,
            false => &mut self.http,
        };
        if of_kind.contains(&connection) {
            return None;
        }
        of_kind.push_back(connection);
        let oldest = (of_kind.len() > CONNECTIONS_MAX).then(|| of_kind.pop_front())?;
        oldest.filter(|_| is_socket)
    }

    fn all(&self) -> impl Iterator<Item = u64> {
        self.http.iter().chain(&self.sockets).copied()
    }
}

/// Ends connections of programs.
fn close(turn: &mut Turn, connections: Vec<u64>) {
    // 512 numbers at most are far shorter than a frame.
    let _ = wire::frame(&mut turn.to_ingress, kind::CLOSE, &Close { connections });
}

struct Out {
    id: RequestId,
    entry: Option<EntryId>,
    strategy: StrategyId,
    account: Option<AccountId>,
    lane: Lane,
    host: u16,
    endpoint: u16,
    weight: u32,
    orders: u32,
    not_after_us: u64,
    summarize: bool,
    stream: bool,
    pipe: Option<RequestId>,
    share: u16,
}

/// Frames a request for egress; `false`: it would not fit, and nothing was framed.
fn send(turn: &mut Turn, out: &Out, ready: &Ready) -> bool {
    let headers = ready
        .headers
        .iter()
        .map(|(name, value)| Header {
            name,
            value: value.as_bytes().into(),
        })
        .collect();
    let send = Send {
        id: out.id,
        entry: out.entry,
        strategy: out.strategy,
        account: out.account,
        lane: out.lane,
        host: out.host,
        endpoint: out.endpoint,
        weight: out.weight,
        orders: out.orders,
        not_after_us: out.not_after_us,
        method: ready.method,
        target: ready.target.as_bytes().into(),
        headers,
        body: ready.body.as_bytes().into(),
        summarize: out.summarize,
        stream: out.stream,
        pipe: out.pipe,
        share: out.share,
    };
    wire::frame(&mut turn.to_egress, kind::SEND, &send).is_ok()
}

/// What a program is told whose frame is nobody's.
const NO_SESSION: Early = Early::Class(
    Class::Unauthenticated,
    "the frame is not signed and its connection has no session; log on, or sign it",
    "no-session",
);

/// What a program is told where a site's listener names a host that its release does not.
const NO_HOST: Early = Early::Class(
    Class::NotAvailable,
    "the release names no such venue host; its operator adds it to hosts.toml",
    "no-host",
);

/// Whose words a listener speaks.
pub(crate) fn dialect_at(catalog: &Catalog, host: &str) -> &'static dyn Dialect {
    catalog
        .service(host)
        .map_or(&portcullis_venues::binance::Binance, |service| {
            service.dialect
        })
}

/// A good answer of the gate's own.
fn reply_body(turn: &mut Turn, id: RequestId, body: &[u8]) {
    let reply = Reply {
        id,
        status: 200,
        headers: Vec::new(),
        body: body.into(),
    };
    // What the gate says of itself is far shorter than a frame.
    let _ = wire::frame(&mut turn.to_ingress, kind::REPLY, &reply);
}

pub(crate) fn reply(
    turn: &mut Turn,
    dialect: &dyn Dialect,
    id: RequestId,
    class: Class,
    message: &str,
    code: &str,
    entry: Option<EntryId>,
) {
    let (status, body) = dialect.refuse(class, message, entry);
    reply_with(turn, id, status, &body, code);
}

fn reply_with(turn: &mut Turn, id: RequestId, status: u16, body: &[u8], code: &str) {
    let headers = vec![
        Header {
            name: "content-type",
            value: (&b"application/json;charset=UTF-8"[..]).into(),
        },
        Header {
            name: REFUSAL_HEADER,
            value: code.as_bytes().into(),
        },
    ];
    let reply = Reply {
        id,
        status,
        headers,
        body: body.into(),
    };
    // A refusal is far shorter than a frame: its message is bounded by the fields it quotes.
    let _ = wire::frame(&mut turn.to_ingress, kind::REPLY, &reply);
}

#[cfg(test)]
mod tests;
