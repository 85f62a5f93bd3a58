//! `portcullis up`: starts the three rooms, ties them together, and keeps them running. It binds listeners and looks up
//! names, because the rooms may not; it holds no secret, and nothing of a request passes through it.
//!
//! A room that ends is started again within a second, later if it goes on ending; its neighbours get new links. Listening
//! sockets stay here, so connections wait meanwhile. A room is trusted with nothing: what it says is bounded, and a room
//! that does not listen is killed.

mod lines;
mod page;
mod webhook;

use crate::Context;
use crate::desk::{self, Ask};
use crate::fail::{DONE, Done, Fail, plain};
use crate::https;
use crate::operator;
use crate::seal::{self, Given, Opener, Opening};
use crate::show;
use crate::site::{self, Site};
use lines::Lines;
use portcullis_room::clock::Monotonic;
use portcullis_room::confine::SandboxReport;
use portcullis_room::control::{
    EgressSettings, FromRoom, IngressSettings, ListenerSettings, Peer, Received, TlsSettings,
    ToRoom,
};
use portcullis_room::io::{Flow, set_nonblocking};
use portcullis_room::poll::{Interest, Poll, Token, Trigger, Waker};
use portcullis_room::{BUILD_ID, spawn};
use serde_json::{Map, Value, json};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::{ErrorKind, IsTerminal, PipeReader, Write};
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{self as unix_net, UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;
use webhook::Webhook;

/// A room that ends is started again after this, doubled each time it ends soon, up to [`AGAIN_MAX`]: the gate is back
/// within a second however often somebody kills a room, and one that cannot start costs little while it tries.
const AGAIN_FIRST: Duration = Duration::from_millis(25);
const AGAIN_MAX: Duration = Duration::from_millis(800);
/// A room that ran so long did not end "soon".
const STEADY: Duration = Duration::from_secs(2);
/// How long a room may take to end when it is told to; then it is killed.
const END_WITHIN: Duration = Duration::from_secs(5);
/// How long a room may leave a message unread; then it is killed.
const LISTEN_WITHIN: Duration = Duration::from_secs(1);
/// How long rooms may take for the page of metrics; what has not come by then is left out.
const PAGE_WITHIN: Duration = Duration::from_secs(1);
/// A line of a room at most; what is longer is cut.
const LINE_BYTES_MAX: usize = 65_536;
/// Names that are looked up at a time; a lookup beyond it finds nothing, and egress asks again.
const LOOKUPS_MAX: usize = 8;
/// `host:port` at most.
const ADDRESS_BYTES_MAX: usize = 300;
/// Addresses of one name at most.
const FOUND_MAX: usize = 16;
/// A listener's certificate chain and its key at most.
const CHAIN_BYTES_MAX: u64 = 262_144;
const KEY_BYTES_MAX: u64 = 65_536;
/// Connections to up.sock and to the page of metrics at a time; beyond it they are closed.
const GUESTS_MAX: usize = 16;

#[derive(clap::Args)]
#[command(after_help = "Examples:
  portcullis up
  portcullis up --require-sandbox
  portcullis up --ready-fd 3 3>ready.json      for a script that waits for it

Lines on standard output are JSON, one an event. It runs until SIGINT or SIGTERM, and ends the rooms in order. Where the site has a passphrase and nobody types it, the gate starts sealed, and programs get \"exchange not available\" until `portcullis unseal`.")]
pub struct Arguments {
    /// Refuse to start where the kernel cannot confine the rooms
    #[arg(long)]
    require_sandbox: bool,
    /// Write the line that says it is ready to this descriptor, too
    #[arg(long, value_name = "FD")]
    ready_fd: Option<u32>,
}

/// What other threads tell the loop.
enum Happened {
    Signal,
    Found {
        address: String,
        found: Vec<SocketAddr>,
    },
    Unsealed(Result<(), Fail>),
    Asked {
        ask: Ask,
        fd: Option<OwnedFd>,
        answer: Sender<Value>,
    },
    Page(Sender<String>),
}

/// To the loop, from any thread.
#[derive(Clone)]
struct Bell {
    to: Sender<Happened>,
    waker: Waker,
}

impl Bell {
    fn ring(&self, happened: Happened) {
        let _ = self.to.send(happened);
        self.waker.wake();
    }
}

const ROOMS: [Peer; 3] = [Peer::Ingress, Peer::Signer, Peer::Egress];
const WAKER: Token = Token(100);

fn token(peer: Peer, of: u64) -> Token {
    let room = match peer {
        Peer::Ingress => 0,
        Peer::Signer => 1,
        Peer::Egress => 2,
    };
    Token(room * 4 + of)
}

const CONTROL: u64 = 0;
const EVENTS: u64 = 1;
const PROCESS: u64 = 2;

struct Slot {
    peer: Peer,
    running: Option<Running>,
    /// Starts after the first.
    restarts: u64,
    /// Ends that nobody asked for.
    ended: u64,
    /// Ends in a row that came soon.
    soon: u32,
    again_at: Option<Monotonic>,
    /// Who asked for a restart, and since when it is under way.
    asker: Option<(Sender<Value>, Monotonic)>,
}

struct Running {
    room: spawn::Running,
    epoch: u32,
    since: Monotonic,
    is_ready: bool,
    sandbox: SandboxReport,
    /// The end of a line that has not come whole yet.
    rest: Vec<u8>,
    /// Why it said that it ends.
    why: Option<String>,
    kill_at: Option<Monotonic>,
    /// Told to end.
    is_ending: bool,
    /// A signer that has no secrets yet: it gets them once egress is linked, or is known to be gone.
    wants_secrets: bool,
}

struct Bound {
    listeners: Vec<TcpListener>,
    operator: UnixListener,
    metrics: Option<SocketAddr>,
}

/// A page of metrics that waits for rooms.
struct Page {
    token: u64,
    answer: Sender<String>,
    texts: BTreeMap<Peer, String>,
    waits_for: Vec<Peer>,
    until: Monotonic,
}

struct Up<'a> {
    site: &'a Site,
    arguments: &'a Arguments,
    is_json: bool,
    poll: Poll,
    bell: Bell,
    inbox: Receiver<Happened>,
    lines: Lines,
    webhook: Option<Webhook>,
    rooms: [Slot; 3],
    bound: Bound,
    pages: Vec<Page>,
    tokens: u64,
    lookups: usize,
    epoch: u32,
    begun: Monotonic,
    /// Opened by a passphrase at the start, for the first signer.
    secrets: Option<(PipeReader, Opening)>,
    /// Who asked for an opening that is under way.
    unsealing: Option<Sender<Value>>,
    /// Nobody gave the passphrase.
    is_sealed: bool,
    /// The signer has opened its log.
    signs: bool,
    is_ready: bool,
    is_ending: bool,
    failed: Option<Fail>,
}

pub fn run(context: &Context, arguments: &Arguments) -> Done {
    let site = context.open()?;
    operator::owned(&site)?;
    for peer in ROOMS {
        seal::beside(program(peer))?;
    }
    let lock = lock(&site)?;
    let (secrets, is_sealed) = first_secrets(context, &site)?;
    let (to, inbox) = channel();
    let waker = Waker::new().map_err(|why| Fail::untold(format!("cannot wait: {why}")))?;
    let bell = Bell {
        to,
        waker: waker.clone(),
    };
    let bound = bind(&site, &bell)?;
    let webhook =
        Webhook::of(&site).map_err(|why| Fail::untold(format!("site.toml: webhook: {why}")))?;
    signals(&bell)?;
    let poll = Poll::new().map_err(|why| Fail::untold(format!("cannot wait: {why}")))?;
    poll.add(waker.as_fd(), WAKER, Interest::Read, Trigger::Level)
        .map_err(|why| Fail::untold(format!("cannot wait: {why}")))?;
    let mut up = Up {
        site: &site,
        arguments,
        is_json: context.json,
        poll,
        bell,
        inbox,
        lines: Lines::new(),
        webhook,
        rooms: ROOMS.map(|peer| Slot {
            peer,
            running: None,
            restarts: 0,
            ended: 0,
            soon: 0,
            again_at: None,
            asker: None,
        }),
        bound,
        pages: Vec::new(),
        tokens: 0,
        lookups: 0,
        epoch: 0,
        begun: Monotonic::now(),
        secrets,
        unsealing: None,
        is_sealed,
        signs: false,
        is_ready: false,
        is_ending: false,
        failed: None,
    };
    let done = up.serve(&waker);
    for name in ["operator.sock", "up.sock"] {
        let _ = fs::remove_file(site.run(name));
    }
    up.lines.close();
    drop(lock);
    done
}

fn program(peer: Peer) -> &'static str {
    match peer {
        Peer::Ingress => "portcullis-ingress",
        Peer::Signer => "portcullis-signer",
        Peer::Egress => "portcullis-egress",
    }
}

/// One supervisor a site. The kernel gives the lock back whatever becomes of us.
fn lock(site: &Site) -> Result<fs::File, Fail> {
    let run = site.dir.join("run");
    if !run.exists() {
        seal::private_folder(&run)?;
    }
    let place = site.run("up.pid");
    let mut file = fs::OpenOptions::new()
        .create(true)
        .read(true)
        .write(true)
        .truncate(false)
        .mode(0o600)
        .open(&place)
        .map_err(|why| Fail::at(&place, &why))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(fs::TryLockError::WouldBlock) => {
            let pid = site::read_text(&place, 32).unwrap_or_default();
            return Err(Fail::refused(format!(
                "site `{}` is up already, as process {}",
                site.settings.name,
                pid.trim()
            ))
            .hint("`portcullis status` shows it; stop it there, or with SIGTERM"));
        }
        Err(fs::TryLockError::Error(why)) => return Err(Fail::at(&place, &why)),
    }
    file.set_len(0)
        .and_then(|()| writeln!(file, "{}", std::process::id()))
        .map_err(|why| Fail::at(&place, &why))?;
    Ok(file)
}

type Secrets = Option<(PipeReader, Opening)>;

/// Secrets that a person opens are asked for before anything starts. `true`: nobody is there to ask.
fn first_secrets(context: &Context, site: &Site) -> Result<(Secrets, bool), Fail> {
    let by_person = site.settings.unseal.passphrase;
    if by_person && context.given == Given::Asked && !std::io::stdin().is_terminal() {
        return Ok((None, true));
    }
    let Some(passphrase) = seal::passphrase(site, context.given)? else {
        return Ok((None, false));
    };
    if by_person {
        seal::try_passphrase(site, &passphrase)
            .map_err(|fail| operator::explain_seal(fail, site))?;
    }
    let opened = seal::open(site, &site.sealed()?, Some(&passphrase))?;
    Ok((Some(opened), false))
}

fn signals(bell: &Bell) -> Result<(), Fail> {
    let cannot = |why: std::io::Error| Fail::untold(format!("cannot watch for signals: {why}"));
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).map_err(cannot)?;
    let bell = bell.clone();
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            for _ in signals.forever() {
                bell.ring(Happened::Signal);
            }
        })
        .map(drop)
        .map_err(cannot)
}

/// Connections that may wait to be taken, of one listener; the kernel's own bound (`net.core.somaxconn`) holds too.
const LISTEN_BACKLOG: i32 = 4096;

fn bind(site: &Site, bell: &Bell) -> Result<Bound, Fail> {
    let mut listeners = Vec::new();
    for listener in &site.settings.listener {
        listener_settings(site, listener)?;
        let bound = TcpListener::bind(listener.bind).map_err(|why| {
            Fail::untold(format!(
                "listener for `{}`: {}: {}",
                listener.host,
                listener.bind,
                plain(&why)
            ))
            .hint("site.toml says where it listens; port 0 takes any free port")
        })?;
        // std asks for 128: when more programs than that connect at once, some of them would wait a second.
        if let Err(why) = socket2::SockRef::from(&bound).listen(LISTEN_BACKLOG) {
            return Err(Fail::untold(format!(
                "listener for `{}`: {why}",
                listener.host
            )));
        }
        listeners.push(bound);
    }
    if listeners.is_empty() {
        return Err(Fail::untold("site.toml has no listener")
            .hint("add a [[listener]] for each venue host that programs talk to"));
    }
    let operator = socket(&site.run("operator.sock"))?;
    let desk = socket(&site.run("up.sock"))?;
    let guests = Arc::new(AtomicUsize::new(0));
    let of_desk = bell.clone();
    let desk_guests = Arc::clone(&guests);
    spawn_named("desk", move || {
        for connection in desk.incoming().flatten() {
            let bell = of_desk.clone();
            guest(&desk_guests, move || serve_desk(connection, &bell));
        }
    })?;
    let metrics = match &site.settings.metrics {
        None => None,
        Some(metrics) => {
            let listener = TcpListener::bind(metrics.bind).map_err(|why| {
                Fail::untold(format!("metrics: {}: {}", metrics.bind, plain(&why)))
                    .hint("site.toml says where it listens; port 0 takes any free port")
            })?;
            let at = listener
                .local_addr()
                .map_err(|why| Fail::untold(format!("metrics: {why}")))?;
            let of_page = bell.clone();
            spawn_named("metrics", move || {
                for connection in listener.incoming().flatten() {
                    let bell = of_page.clone();
                    guest(&guests, move || serve_page(connection, &bell));
                }
            })?;
            Some(at)
        }
    };
    Ok(Bound {
        listeners,
        operator,
        metrics,
    })
}

fn spawn_named(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), Fail> {
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(work)
        .map(drop)
        .map_err(|why| Fail::untold(format!("cannot start a thread: {why}")))
}

/// A thread for one connection, if there are not too many.
fn guest(guests: &Arc<AtomicUsize>, work: impl FnOnce() + Send + 'static) {
    if guests.fetch_add(1, Ordering::Relaxed) >= GUESTS_MAX {
        guests.fetch_sub(1, Ordering::Relaxed);
        return;
    }
    let count = Arc::clone(guests);
    let started = spawn_named("guest", move || {
        work();
        count.fetch_sub(1, Ordering::Relaxed);
    });
    if started.is_err() {
        guests.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A socket that only its owner may use. The folder around it is closed to others, so there is no moment in between.
fn socket(place: &Path) -> Result<UnixListener, Fail> {
    match fs::remove_file(place) {
        Err(why) if why.kind() != ErrorKind::NotFound => return Err(Fail::at(place, &why)),
        _ => {}
    }
    let listener = UnixListener::bind(place).map_err(|why| {
        let fail = Fail::at(place, &why);
        match why.kind() {
            ErrorKind::InvalidInput => {
                fail.hint("the path of the site is too long for a socket; use a shorter one")
            }
            _ => fail,
        }
    })?;
    fs::set_permissions(place, fs::Permissions::from_mode(0o600))
        .map_err(|why| Fail::at(place, &why))?;
    Ok(listener)
}

fn serve_desk(mut connection: UnixStream, bell: &Bell) {
    let patience = Some(Duration::from_secs(5));
    let _ = connection.set_read_timeout(patience);
    let _ = connection.set_write_timeout(patience);
    let Ok((question, fd)) = desk::receive(&mut connection) else {
        return;
    };
    let answer = match serde_json::from_value(question) {
        Ok(ask) => {
            let (answer, wait) = channel();
            bell.ring(Happened::Asked { ask, fd, answer });
            wait.recv_timeout(Duration::from_secs(35)).unwrap_or_else(
                |_| json!({ "error": "it takes too long; see the lines of `portcullis up`" }),
            )
        }
        Err(why) => json!({ "error": format!("the question is not understood: {why}") }),
    };
    let _ = desk::send(&mut connection, &answer, None);
}

fn serve_page(mut connection: std::net::TcpStream, bell: &Bell) {
    match page::is_wanted(&mut connection) {
        Ok(true) => {
            let (answer, wait) = channel();
            bell.ring(Happened::Page(answer));
            if let Ok(text) = wait.recv_timeout(PAGE_WITHIN * 3) {
                let _ = page::answer(&mut connection, "200 OK", &text);
            }
        }
        Ok(false) => {
            let _ = page::answer(&mut connection, "404 Not Found", "the page is /metrics\n");
        }
        Err(_) => {}
    }
}

impl Up<'_> {
    fn serve(&mut self, waker: &Waker) -> Done {
        for peer in ROOMS {
            self.start(peer);
        }
        loop {
            let deadline = self.deadline();
            let events = match self.poll.wait(deadline) {
                Ok(events) => events.to_vec(),
                Err(why) => {
                    self.failed = Some(Fail::untold(format!("cannot wait: {why}")));
                    self.kill_all();
                    break;
                }
            };
            let mut ended = Vec::new();
            for event in events {
                if event.token == WAKER {
                    waker.quiet();
                    continue;
                }
                for peer in ROOMS {
                    match event.token {
                        at if at == token(peer, CONTROL) => self.hear(peer),
                        at if at == token(peer, EVENTS) => self.read_lines(peer),
                        at if at == token(peer, PROCESS) => ended.push(peer),
                        _ => {}
                    }
                }
            }
            while let Ok(happened) = self.inbox.try_recv() {
                self.happened(happened);
            }
            for peer in ended {
                self.ended(peer);
            }
            self.timers();
            self.unseal_if_due();
            self.announce();
            if self.is_ending && self.rooms.iter().all(|slot| slot.running.is_none()) {
                break;
            }
        }
        for slot in &mut self.rooms {
            if let Some((asker, _)) = slot.asker.take() {
                let _ = asker.send(json!({ "error": "the site is going down" }));
            }
        }
        self.lines.event("ended", json!({}));
        match self.failed.take() {
            Some(fail) => Err(fail),
            None => Ok(DONE),
        }
    }

    fn slot(&mut self, peer: Peer) -> &mut Slot {
        let [ingress, signer, egress] = &mut self.rooms;
        match peer {
            Peer::Ingress => ingress,
            Peer::Signer => signer,
            Peer::Egress => egress,
        }
    }

    fn running(&mut self, peer: Peer) -> Option<&mut Running> {
        self.slot(peer).running.as_mut()
    }

    fn alert(&mut self, event: &str, fields: Value) {
        let line = self.lines.alert(event, fields);
        if let Some(webhook) = &self.webhook {
            webhook.alert(&line);
        }
    }

    fn deadline(&self) -> Option<Monotonic> {
        let of_rooms = self.rooms.iter().flat_map(|slot| {
            [
                slot.again_at.filter(|_| !self.is_ending),
                slot.running.as_ref().and_then(|running| running.kill_at),
            ]
        });
        of_rooms
            .flatten()
            .chain(self.pages.iter().map(|page| page.until))
            .min()
    }

    fn timers(&mut self) {
        let now = Monotonic::now();
        for peer in ROOMS {
            let is_ending = self.is_ending;
            let slot = self.slot(peer);
            if let Some(running) = slot
                .running
                .as_mut()
                .filter(|r| r.kill_at.is_some_and(|at| at <= now))
            {
                running.kill_at = None;
                let _ = running.room.process.kill();
            }
            if !is_ending && slot.again_at.is_some_and(|at| at <= now) {
                slot.again_at = None;
                slot.restarts += 1;
                self.start(peer);
            }
        }
        let (due, waiting) = std::mem::take(&mut self.pages)
            .into_iter()
            .partition(|page| page.until <= now || page.waits_for.is_empty());
        self.pages = waiting;
        let due: Vec<Page> = due;
        for page in due {
            let own = self.own_page();
            let texts = page
                .texts
                .values()
                .map(String::as_str)
                .chain([own.as_str()]);
            let _ = page.answer.send(page::merge(texts));
        }
    }

    /// Starts a room.
    fn start(&mut self, peer: Peer) {
        // Never the same as an earlier run's, this site's or a former `up`'s: requests are named after it.
        let seconds = u32::try_from(show::now().0 / 1_000_000).unwrap_or(u32::MAX);
        self.epoch = seconds.max(self.epoch.saturating_add(1));
        let epoch = self.epoch;
        let mut arguments: Vec<OsString> = Vec::new();
        if peer == Peer::Signer {
            arguments.extend(["--site".into(), self.site.dir.clone().into()]);
            if operator::others_command(self.site) {
                arguments.push("--any-user".into());
            }
            self.signs = false;
        }
        if self.arguments.require_sandbox {
            arguments.push("--require-sandbox".into());
        }
        let started = seal::beside(program(peer))
            .and_then(|program| {
                spawn::room(&program, arguments).map_err(|why| Fail::at(&program, &why))
            })
            .and_then(|room| {
                let watch = |fd: BorrowedFd<'_>, of| {
                    self.poll
                        .add(fd, token(peer, of), Interest::Read, Trigger::Level)
                        .map_err(|why| Fail::untold(format!("cannot wait: {why}")))
                };
                let _ = set_nonblocking(&room.events);
                watch(room.control.as_fd(), CONTROL)?;
                watch(room.events.as_fd(), EVENTS)?;
                watch(room.process.as_fd(), PROCESS)?;
                Ok(room)
            });
        match started {
            Ok(room) => {
                self.slot(peer).running = Some(Running {
                    room,
                    epoch,
                    since: Monotonic::now(),
                    is_ready: false,
                    sandbox: SandboxReport::default(),
                    rest: Vec::new(),
                    why: None,
                    kill_at: None,
                    is_ending: false,
                    wants_secrets: peer == Peer::Signer,
                });
            }
            Err(fail) => self.again(peer, &fail.fact),
        }
    }

    /// A room has ended, or did not start.
    fn again(&mut self, peer: Peer, why: &str) {
        if !self.is_ready && !self.is_ending {
            // A site that never came up has something wrong that a person must see to.
            self.failed = Some(
                Fail::refused(format!("{peer}: {why}"))
                    .hint("the site never came up, so `portcullis up` ends; what stands above and its lines say more"),
            );
            self.end();
            return;
        }
        let slot = self.slot(peer);
        slot.ended += 1;
        slot.soon = slot.soon.saturating_add(1);
        let wait = AGAIN_FIRST
            .saturating_mul(1 << (slot.soon - 1).min(16))
            .min(AGAIN_MAX);
        slot.again_at = Some(Monotonic::now().after(wait));
        let soon = slot.soon;
        self.alert(
            "room-ended",
            json!({ "which": peer, "why": why, "again_in_ms": u64::try_from(wait.as_millis()).unwrap_or(u64::MAX), "in_a_row": soon }),
        );
    }

    fn ended(&mut self, peer: Peer) {
        let Some(running) = self.running(peer) else {
            return;
        };
        let status = match running.room.process.ended() {
            Ok(Some(status)) => spawn::ending(status),
            Ok(None) => return,
            Err(why) => why.to_string(),
        };
        // What it said last is still there.
        self.hear(peer);
        self.read_lines(peer);
        let Some(running) = self.slot(peer).running.take() else {
            return;
        };
        if peer == Peer::Signer {
            self.signs = false;
        }
        for page in &mut self.pages {
            page.waits_for.retain(|waits| *waits != peer);
        }
        let why = running.why.clone().unwrap_or(status);
        if self.is_ending {
            self.end_next();
            return;
        }
        if running.is_ending && self.is_ready {
            let slot = self.slot(peer);
            slot.soon = 0;
            slot.again_at = Some(Monotonic::now());
            self.lines.event("room-restarts", json!({ "which": peer }));
            return;
        }
        if Monotonic::now().since(running.since) >= STEADY {
            self.slot(peer).soon = 0;
        }
        self.again(peer, &why);
    }

    /// Sends; a room that does not listen is killed.
    fn send(&mut self, peer: Peer, message: &ToRoom, fds: &[(&str, BorrowedFd<'_>)]) {
        let Some(running) = self.running(peer) else {
            return;
        };
        if let Err(why) = running.room.control.send(message, fds, LISTEN_WITHIN) {
            running.why.get_or_insert(why.to_string());
            let _ = running.room.process.kill();
        }
    }

    fn hear(&mut self, peer: Peer) {
        loop {
            let Some(running) = self.running(peer) else {
                return;
            };
            match running.room.control.receive() {
                Ok(Received::Message(message, _)) => self.message(peer, message),
                Ok(Received::NotNow) => return,
                Ok(Received::Closed) => {
                    // It ends; if it does not, it will be made to.
                    let _ = self.poll.remove(self.rooms_control(peer));
                    if let Some(running) = self.running(peer) {
                        let at = Monotonic::now().after(END_WITHIN);
                        running.kill_at = running.kill_at.or(Some(at));
                    }
                    return;
                }
                Err(why) => {
                    running.why.get_or_insert(why.to_string());
                    let _ = running.room.process.kill();
                    let _ = self.poll.remove(self.rooms_control(peer));
                    return;
                }
            }
        }
    }

    fn message(&mut self, peer: Peer, message: FromRoom) {
        match message {
            FromRoom::Ready {
                room,
                build,
                sandbox,
            } => {
                if room != peer || build != BUILD_ID {
                    let why = format!(
                        "it is {room} of build {build}, and this is {BUILD_ID}; install all programs of one build"
                    );
                    if let Some(running) = self.running(peer) {
                        running.why = Some(why);
                        let _ = running.room.process.kill();
                    }
                    return;
                }
                self.ready(peer, sandbox);
            }
            FromRoom::Resolve { address } if peer == Peer::Egress => self.look_up(address),
            FromRoom::Resolve { .. } => {}
            FromRoom::Metrics { token, text } => {
                if let Some(page) = self.pages.iter_mut().find(|page| page.token == token) {
                    page.waits_for.retain(|waits| *waits != peer);
                    page.texts.insert(peer, text);
                }
            }
            FromRoom::Stopped { ok, why } => {
                if let Some(running) = self.running(peer) {
                    if !ok {
                        running.why = why;
                    }
                    let at = Monotonic::now().after(END_WITHIN);
                    running.kill_at = running.kill_at.or(Some(at));
                }
            }
        }
    }

    /// A room has confined itself: it gets its settings, and its neighbours.
    fn ready(&mut self, peer: Peer, sandbox: SandboxReport) {
        let Some(running) = self.running(peer) else {
            return;
        };
        if running.is_ready {
            return;
        }
        running.is_ready = true;
        running.sandbox = sandbox.clone();
        let (pid, epoch) = (running.room.process.pid(), running.epoch);
        self.lines.event(
            "room-started",
            json!({ "which": peer, "pid": pid, "sandbox": sandbox }),
        );
        if let Err(fail) = self.settings(peer, epoch) {
            let why = fail.fact;
            if let Some(running) = self.running(peer) {
                running.why = Some(why);
                let _ = running.room.process.kill();
            }
            return;
        }
        if peer == Peer::Signer {
            let reports: Vec<(Peer, SandboxReport)> = self
                .rooms
                .iter()
                .filter_map(|slot| {
                    let running = slot.running.as_ref().filter(|running| running.is_ready)?;
                    (slot.peer != peer).then(|| (slot.peer, running.sandbox.clone()))
                })
                .collect();
            for (room, report) in reports {
                self.send(peer, &ToRoom::Sandbox { room, report }, &[]);
            }
        } else {
            let report = ToRoom::Sandbox {
                room: peer,
                report: sandbox,
            };
            if self.is_room_ready(Peer::Signer) {
                self.send(Peer::Signer, &report, &[]);
            }
        }
        for other in ROOMS {
            if other != peer && self.is_room_ready(other) {
                self.link(peer, other);
            }
        }
        // A signer has to read its log first.
        if peer != Peer::Signer {
            self.restarted(peer);
        }
    }

    /// Tells whoever asked for it.
    fn restarted(&mut self, peer: Peer) {
        let slot = self.slot(peer);
        let pid = slot
            .running
            .as_ref()
            .map(|running| running.room.process.pid());
        if let Some((asker, since)) = slot.asker.take() {
            let gap = Monotonic::now().since(since).as_millis();
            let _ = asker.send(json!({
                "restarted": peer, "pid": pid, "gap_ms": u64::try_from(gap).unwrap_or(u64::MAX),
            }));
        }
    }

    /// Gives the signer its secrets when its way to the venue is there, so that it does not start in alarm.
    fn unseal_if_due(&mut self) {
        let egress_may_come = self.rooms.iter().any(|slot| {
            slot.peer == Peer::Egress
                && slot
                    .running
                    .as_ref()
                    .is_some_and(|running| !running.is_ready)
        });
        let Some(signer) = self.running(Peer::Signer) else {
            return;
        };
        if signer.is_ready && signer.wants_secrets && !egress_may_come {
            signer.wants_secrets = false;
            self.unseal_first();
        }
    }

    fn is_room_ready(&self, peer: Peer) -> bool {
        self.rooms.iter().any(|slot| {
            slot.peer == peer
                && slot
                    .running
                    .as_ref()
                    .is_some_and(|r| r.is_ready && !r.is_ending)
        })
    }

    fn settings(&mut self, peer: Peer, epoch: u32) -> Result<(), Fail> {
        let bug = |why: portcullis_room::control::ControlError| Fail::untold(why.to_string());
        match peer {
            Peer::Ingress => {
                let listeners = self
                    .site
                    .settings
                    .listener
                    .iter()
                    .map(|listener| listener_settings(self.site, listener))
                    .collect::<Result<_, _>>()?;
                let start = ToRoom::start(&IngressSettings { epoch, listeners }).map_err(bug)?;
                let copies = self
                    .bound
                    .listeners
                    .iter()
                    .map(|listener| listener.as_fd().try_clone_to_owned())
                    .collect::<Result<Vec<_>, _>>()
                    .map_err(|why| Fail::untold(why.to_string()))?;
                let names: Vec<String> =
                    (0..copies.len()).map(|n| format!("listener:{n}")).collect();
                let fds: Vec<(&str, BorrowedFd<'_>)> = names
                    .iter()
                    .zip(&copies)
                    .map(|(name, fd)| (name.as_str(), fd.as_fd()))
                    .collect();
                self.send(peer, &start, &fds);
            }
            Peer::Egress => {
                let start = ToRoom::start(&EgressSettings {}).map_err(bug)?;
                self.send(peer, &start, &[]);
            }
            Peer::Signer => {
                let start = ToRoom::Start {
                    settings: operator::settings(self.site),
                };
                let copy = self
                    .bound
                    .operator
                    .as_fd()
                    .try_clone_to_owned()
                    .map_err(|why| Fail::untold(why.to_string()))?;
                self.send(peer, &start, &[("operator", copy.as_fd())]);
            }
        }
        Ok(())
    }

    /// New pipes between two rooms, in place of the old ones.
    fn link(&mut self, one: Peer, other: Peer) {
        let (first, second) = match spawn::pipes() {
            Ok(ends) => ends,
            Err(why) => {
                self.alert("no-pipes", json!({ "why": why.to_string() }));
                return;
            }
        };
        let epoch_of = |up: &mut Self, peer| up.running(peer).map_or(0, |running| running.epoch);
        let ingress = epoch_of(self, Peer::Ingress);
        for (peer, neighbour, end) in [(one, other, first), (other, one, second)] {
            let epoch = match peer == Peer::Ingress || neighbour == Peer::Ingress {
                true => ingress,
                false => epoch_of(self, neighbour),
            };
            let message = ToRoom::Link {
                peer: neighbour,
                epoch,
            };
            self.send(
                peer,
                &message,
                &[("from", end.from.as_fd()), ("to", end.to.as_fd())],
            );
        }
    }

    /// Secrets for a signer that has just started.
    fn unseal_first(&mut self) {
        if let Some((pipe, opening)) = self.secrets.take() {
            self.send(Peer::Signer, &ToRoom::Secrets, &[("secrets", pipe.as_fd())]);
            self.wait_for(opening);
        } else if self.site.settings.unseal.passphrase {
            self.is_sealed = true;
            self.restarted(Peer::Signer);
            self.alert(
                "sealed",
                json!({ "why": "the passphrase is needed: `portcullis unseal`" }),
            );
        } else if let Err(fail) = self.unseal() {
            self.sealed(&fail);
        }
    }

    /// Opens the secrets with what the site has.
    fn unseal(&mut self) -> Result<(), Fail> {
        let (pipe, opening) = seal::open(self.site, &self.site.sealed()?, None)?;
        self.send(Peer::Signer, &ToRoom::Secrets, &[("secrets", pipe.as_fd())]);
        self.wait_for(opening);
        Ok(())
    }

    fn wait_for(&mut self, opening: Opening) {
        let bell = self.bell.clone();
        let waits = spawn_named("unseal", move || {
            bell.ring(Happened::Unsealed(opening.finish()));
        });
        if let Err(fail) = waits {
            self.sealed(&fail);
        }
    }

    fn sealed(&mut self, fail: &Fail) {
        self.is_sealed = true;
        if !self.is_ready && !self.is_ending {
            self.failed = Some(operator::explain_seal(
                Fail {
                    hint: fail.hint.clone(),
                    kind: fail.kind.clone(),
                    fact: fail.fact.clone(),
                    code: fail.code,
                },
                self.site,
            ));
            self.end();
            return;
        }
        self.alert("unseal-failed", json!({ "why": fail.fact }));
    }

    fn read_lines(&mut self, peer: Peer) {
        let mut whole = Vec::new();
        let mut part = [0; 16_384];
        loop {
            let Some(running) = self.running(peer) else {
                return;
            };
            let count = match portcullis_room::io::read(&running.room.events, &mut part) {
                Ok(Flow::Moved(count)) => count,
                Ok(Flow::NotNow) => break,
                Ok(Flow::Closed) | Err(_) => {
                    let _ = self.poll.remove(self.rooms_events(peer));
                    break;
                }
            };
            for byte in part.get(..count).unwrap_or_default() {
                match byte {
                    b'\n' => whole.push(std::mem::take(&mut running.rest)),
                    byte if running.rest.len() < LINE_BYTES_MAX => running.rest.push(*byte),
                    _ => {}
                }
            }
            if whole.len() > 1_000 {
                // The others want to be heard, too.
                break;
            }
        }
        for line in whole {
            self.line(peer, &line);
        }
    }

    /// A room's line: its time is ours, its room is the one that wrote it.
    fn line(&mut self, peer: Peer, line: &[u8]) {
        let mut fields = match serde_json::from_slice(line) {
            Ok(Value::Object(fields)) => fields,
            _ => {
                let mut fields = Map::new();
                fields.insert("event".to_owned(), json!("text"));
                fields.insert("text".to_owned(), json!(String::from_utf8_lossy(line)));
                fields
            }
        };
        fields.insert("room".to_owned(), json!(peer));
        if peer == Peer::Signer && fields.get("event") == Some(&json!("started")) {
            self.signs = true;
            self.is_sealed = false;
            self.restarted(Peer::Signer);
        }
        let is_alert = fields.get("alert") == Some(&json!(true));
        let line = self.lines.line(fields);
        if let Some(webhook) = self.webhook.as_ref().filter(|_| is_alert) {
            webhook.alert(&line);
        }
    }

    fn rooms_control(&self, peer: Peer) -> BorrowedFd<'_> {
        self.fd_of(peer, |running| running.room.control.as_fd())
    }

    fn rooms_events(&self, peer: Peer) -> BorrowedFd<'_> {
        self.fd_of(peer, |running| running.room.events.as_fd())
    }

    /// A room's descriptor, or one that is watched by nobody.
    fn fd_of<'u>(
        &'u self,
        peer: Peer,
        of: impl Fn(&'u Running) -> BorrowedFd<'u>,
    ) -> BorrowedFd<'u> {
        self.rooms
            .iter()
            .find(|slot| slot.peer == peer)
            .and_then(|slot| slot.running.as_ref())
            .map_or_else(|| self.bound.operator.as_fd(), of)
    }

    fn happened(&mut self, happened: Happened) {
        match happened {
            Happened::Signal => {
                if self.is_ending {
                    self.kill_all();
                } else {
                    self.end();
                }
            }
            Happened::Found { address, found } => {
                self.lookups -= 1;
                self.send(Peer::Egress, &ToRoom::Addresses { address, found }, &[]);
            }
            Happened::Unsealed(opened) => {
                if let Some(answer) = self.unsealing.take() {
                    let _ = answer.send(match &opened {
                        Ok(()) => json!({}),
                        Err(fail) => json!({ "error": fail.fact, "hint": fail.hint }),
                    });
                }
                match opened {
                    // The signer ended; its own end says why.
                    Err(fail) if !fail.is_broken_pipe() => self.sealed(&fail),
                    _ => {}
                }
            }
            Happened::Asked { ask, fd, answer } => self.asked(&ask, fd, answer),
            Happened::Page(answer) => self.page(answer),
        }
    }

    fn asked(&mut self, ask: &Ask, fd: Option<OwnedFd>, answer: Sender<Value>) {
        let says = match (ask, fd) {
            (Ask::Status, _) => self.status(),
            (Ask::Restart { room }, _) => {
                self.restart(*room, answer);
                return;
            }
            (Ask::Secrets, Some(pipe)) if self.is_room_ready(Peer::Signer) => {
                self.send(Peer::Signer, &ToRoom::Secrets, &[("secrets", pipe.as_fd())]);
                json!({})
            }
            (Ask::Secrets, Some(_)) => {
                json!({ "error": "the signer does not run", "hint": "ask again in a moment" })
            }
            (Ask::Secrets, None) => json!({ "error": "no pipe came with the question" }),
            (Ask::Unseal, _) => match self.unseal() {
                Ok(()) => {
                    self.unsealing = Some(answer);
                    return;
                }
                Err(fail) => json!({ "error": fail.fact, "hint": fail.hint }),
            },
        };
        let _ = answer.send(says);
    }

    fn restart(&mut self, peer: Peer, answer: Sender<Value>) {
        if self.is_ending || !self.is_room_ready(peer) {
            let _ = answer.send(json!({ "error": format!("{peer} does not run") }));
            return;
        }
        if peer == Peer::Ingress {
            // With what lies there now it would not start; the one that runs does.
            let checked = self
                .site
                .settings
                .listener
                .iter()
                .try_for_each(|listener| listener_settings(self.site, listener).map(drop));
            if let Err(fail) = checked {
                let _ = answer.send(json!({ "error": fail.fact, "hint": fail.hint }));
                return;
            }
        }
        let now = Monotonic::now();
        let slot = self.slot(peer);
        slot.asker = Some((answer, now));
        if let Some(running) = &mut slot.running {
            running.is_ending = true;
            running.kill_at = Some(now.after(END_WITHIN));
        }
        self.send(peer, &ToRoom::Stop, &[]);
    }

    fn status(&mut self) -> Value {
        let now = Monotonic::now();
        let seconds = |since: Monotonic| now.since(since).as_secs();
        let rooms: Vec<Value> = self
            .rooms
            .iter()
            .map(|slot| match &slot.running {
                Some(running) => json!({
                    "room": slot.peer, "pid": running.room.process.pid(), "ready": running.is_ready,
                    "seconds": seconds(running.since), "restarts": slot.restarts, "ended": slot.ended, "sandbox": running.sandbox,
                }),
                None => json!({ "room": slot.peer, "pid": null, "ready": false, "restarts": slot.restarts, "ended": slot.ended }),
            })
            .collect();
        let count = |of: fn(&webhook::Counts) -> &std::sync::atomic::AtomicU64| {
            self.webhook
                .as_ref()
                .map(|hook| of(&hook.counts).load(Ordering::Relaxed))
        };
        json!({
            "pid": std::process::id(), "seconds": seconds(self.begun), "rooms": rooms,
            "listeners": self.urls(), "metrics": self.metrics_url(), "build": BUILD_ID,
            "opened_by": Opener::of(self.site).name(), "opened_by_words": Opener::of(self.site).words(),
            "sealed": self.is_sealed || !self.signs,
            "webhook": self.webhook.as_ref().map(|_| json!({
                "sent": count(|c| &c.sent), "failed": count(|c| &c.failed), "dropped": count(|c| &c.dropped),
            })),
        })
    }

    fn urls(&self) -> Vec<Value> {
        self.site
            .settings
            .listener
            .iter()
            .zip(&self.bound.listeners)
            .map(|(listener, bound)| {
                let at = bound.local_addr().unwrap_or(listener.bind);
                let scheme = if listener.tls_chain.is_some() { "https" } else { "http" };
                json!({ "venue": listener.venue, "host": listener.host, "url": format!("{scheme}://{at}") })
            })
            .collect()
    }

    fn metrics_url(&self) -> Option<String> {
        self.bound.metrics.map(|at| format!("http://{at}/metrics"))
    }

    fn page(&mut self, answer: Sender<String>) {
        self.tokens += 1;
        let token = self.tokens;
        let waits_for: Vec<Peer> = ROOMS
            .into_iter()
            .filter(|peer| self.is_room_ready(*peer))
            .collect();
        for peer in &waits_for {
            self.send(*peer, &ToRoom::Metrics { token }, &[]);
        }
        self.pages.push(Page {
            token,
            answer,
            texts: BTreeMap::new(),
            waits_for,
            until: Monotonic::now().after(PAGE_WITHIN),
        });
    }

    fn own_page(&self) -> String {
        let mut text = String::from(
            "# HELP portcullis_room_up Whether the room runs and is confined.\n# TYPE portcullis_room_up gauge\n",
        );
        for slot in &self.rooms {
            let is_up = slot
                .running
                .as_ref()
                .is_some_and(|running| running.is_ready);
            text += &format!(
                "portcullis_room_up{{room=\"{}\"}} {}\n",
                slot.peer,
                u8::from(is_up)
            );
        }
        text += "# HELP portcullis_room_restarts_total Starts of the room after its first.\n# TYPE portcullis_room_restarts_total counter\n";
        for slot in &self.rooms {
            text += &format!(
                "portcullis_room_restarts_total{{room=\"{}\"}} {}\n",
                slot.peer, slot.restarts
            );
        }
        text += &format!(
            "# HELP portcullis_up_seconds Seconds since the supervisor started.\n# TYPE portcullis_up_seconds gauge\nportcullis_up_seconds {}\n",
            Monotonic::now().since(self.begun).as_secs()
        );
        text += &format!(
            "# HELP portcullis_lines_dropped_total Lines that standard output did not take.\n# TYPE portcullis_lines_dropped_total counter\nportcullis_lines_dropped_total {}\n",
            self.lines.dropped_total
        );
        if let Some(webhook) = &self.webhook {
            text += "# HELP portcullis_alerts_total Alerts to the webhook, by what became of them.\n# TYPE portcullis_alerts_total counter\n";
            let counts = &webhook.counts;
            for (name, count) in [
                ("sent", &counts.sent),
                ("failed", &counts.failed),
                ("dropped", &counts.dropped),
            ] {
                text += &format!(
                    "portcullis_alerts_total{{became=\"{name}\"}} {}\n",
                    count.load(Ordering::Relaxed)
                );
            }
        }
        text
    }

    fn look_up(&mut self, address: String) {
        let plain = address.len() <= ADDRESS_BYTES_MAX
            && address.rsplit_once(':').is_some_and(|(host, port)| {
                !host.is_empty()
                    && port.parse::<u16>().is_ok()
                    && host
                        .bytes()
                        .all(|b| b.is_ascii_alphanumeric() || b"-_.[]:".contains(&b))
            });
        let nothing = |up: &mut Self, address| {
            let found = Vec::new();
            up.send(Peer::Egress, &ToRoom::Addresses { address, found }, &[]);
        };
        if !plain || self.lookups >= LOOKUPS_MAX {
            nothing(self, address);
            return;
        }
        let (bell, name) = (self.bell.clone(), address.clone());
        let started = spawn_named("lookup", move || {
            let found = name
                .to_socket_addrs()
                .map(|found| found.take(FOUND_MAX).collect())
                .unwrap_or_default();
            bell.ring(Happened::Found {
                address: name,
                found,
            });
        });
        match started {
            Ok(()) => self.lookups += 1,
            Err(_) => nothing(self, address),
        }
    }

    /// Says once that programs can connect.
    fn announce(&mut self) {
        let all = ROOMS.into_iter().all(|peer| self.is_room_ready(peer));
        if self.is_ready || self.is_ending || !all || !(self.signs || self.is_sealed) {
            return;
        }
        self.is_ready = true;
        let line = self.lines.event(
            "ready",
            json!({
                "site": self.site.settings.name, "folder": self.site.dir, "listeners": self.urls(),
                "metrics": self.metrics_url(), "sealed": self.is_sealed, "pid": std::process::id(),
            }),
        );
        let line = Value::Object(line);
        tell_systemd("READY=1");
        if let Some(fd) = self.arguments.ready_fd {
            let place = format!("/proc/self/fd/{fd}");
            let told = fs::OpenOptions::new()
                .append(true)
                .open(&place)
                .and_then(|mut to| writeln!(to, "{line}"));
            if let Err(why) = told {
                self.alert("ready-fd", json!({ "why": format!("{place}: {why}") }));
            }
        }
        let mut err = std::io::stderr();
        if !self.is_json && err.is_terminal() {
            let mut words = format!("site {} is up", self.site.settings.name);
            words += if self.is_sealed {
                ", sealed: `portcullis unseal`\n"
            } else {
                "\n"
            };
            for url in self.urls() {
                let word = |name: &str| {
                    url.get(name)
                        .and_then(Value::as_str)
                        .unwrap_or_default()
                        .to_owned()
                };
                words += &format!("  {}  for {}\n", word("url"), word("host"));
            }
            let _ = err.write_all(words.as_bytes());
        }
    }

    /// Ends the rooms in order: what lets requests in first, so that the signer has the last word on all of them.
    fn end(&mut self) {
        if self.is_ending {
            return;
        }
        self.is_ending = true;
        tell_systemd("STOPPING=1");
        self.lines.event("ending", json!({}));
        self.end_next();
    }

    fn end_next(&mut self) {
        let first = ROOMS.into_iter().find(|peer| self.running(*peer).is_some());
        let Some(peer) = first else {
            return;
        };
        let Some(running) = self.running(peer) else {
            return;
        };
        running.kill_at = Some(Monotonic::now().after(END_WITHIN));
        if running.is_ending {
            return;
        }
        running.is_ending = true;
        self.send(peer, &ToRoom::Stop, &[]);
    }

    fn kill_all(&mut self) {
        for slot in &mut self.rooms {
            if let Some(running) = &mut slot.running {
                let _ = running.room.process.kill();
            }
        }
    }
}

/// sd_notify(3), where systemd started us and waits for it. Nothing depends on its arriving.
fn tell_systemd(word: &str) {
    let Some(place) = std::env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    let bytes = place.as_bytes();
    let address = match bytes.strip_prefix(b"@") {
        Some(name) => unix_net::SocketAddr::from_abstract_name(name),
        None => unix_net::SocketAddr::from_pathname(&place),
    };
    if let (Ok(address), Ok(socket)) = (address, UnixDatagram::unbound()) {
        let _ = socket.send_to_addr(word.as_bytes(), &address);
    }
}

/// What a listener shows, and that it can be used: ingress would end of it.
fn listener_settings(site: &Site, listener: &site::Listener) -> Result<ListenerSettings, Fail> {
    let tls = match (&listener.tls_chain, &listener.tls_key) {
        (Some(chain), Some(key)) => {
            let tls = TlsSettings {
                chain_pem: site::read_text(&site.path(chain), CHAIN_BYTES_MAX)?,
                key_pem: site::read_text(&site.path(key), KEY_BYTES_MAX)?,
            };
            https::check_pair(&tls.chain_pem, &tls.key_pem).map_err(|why| {
                Fail::refused(format!("listener for `{}`: {why}", listener.host))
                    .hint("tls_chain is the certificate chain, leaf first, and tls_key its private key, both PEM")
            })?;
            Some(tls)
        }
        _ => None,
    };
    Ok(ListenerSettings {
        venue: listener.venue.clone(),
        host: listener.host.clone(),
        tls,
    })
}
