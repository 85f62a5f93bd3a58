//! `portcullis up`: starts the three rooms, ties them together, and keeps them running. It binds listeners and looks up
//! names, because the rooms may not; it holds no secret, and nothing of a request passes through it.
//!
//! A room that ends is started again within a second, later if it goes on ending; its neighbours get new links. Listening
//! sockets stay here, so connections wait meanwhile. A room is trusted with nothing: what it says is bounded, and a room
//! that does not listen is killed.

mod asked;
mod doors;
mod limits;
mod lines;
mod page;
mod rooms;
mod webhook;

use crate::Context;
use crate::desk::Ask;
use crate::fail::{DONE, Done, Fail};
use crate::operator;
use crate::seal::{self, Given, Opening};
use crate::site::Site;
pub use doors::lock;
use doors::{bind, signals, tell_systemd};
use lines::Lines;
use portcullis_room::clock::Monotonic;
use portcullis_room::confine::SandboxReport;
use portcullis_room::control::{Peer, ToRoom, VenueLimits};
use portcullis_room::poll::{Interest, Poll, Token, Trigger, Waker};
use portcullis_room::spawn;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::io::{IsTerminal, PipeReader};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;
use webhook::Webhook;

/// A room that ends is started again after this, doubled each time it ends soon: up to [`AGAIN_MAX`] if it could not start,
/// so that it costs little while it tries, and up to [`AGAIN_SERVED_MAX`] if it had served: the gate is back within a second
/// however often somebody kills a room.
const AGAIN_FIRST: Duration = Duration::from_millis(25);
const AGAIN_SERVED_MAX: Duration = Duration::from_millis(200);
const AGAIN_MAX: Duration = Duration::from_millis(800);
/// A room that ran so long did not end "soon".
const STEADY: Duration = Duration::from_secs(2);
/// How long a room may take to confine itself and say so; then it is killed.
const READY_WITHIN: Duration = Duration::from_secs(20);
/// How long a room may take to end when it is told to; then it is killed.
const END_WITHIN: Duration = Duration::from_secs(5);
/// How long a room may leave a message unread; then it is killed.
const LISTEN_WITHIN: Duration = Duration::from_secs(1);
/// How long rooms may take for the page of metrics; what has not come by then is left out.
const PAGE_WITHIN: Duration = Duration::from_secs(1);
/// Messages that one room is heard with before the next.
const MESSAGES_PER_TURN: usize = 64;
/// A line of a room at most; what is longer is cut.
const LINE_BYTES_MAX: usize = 65_536;
/// Names that are looked up at a time; a lookup beyond it finds nothing, and egress asks again.
const LOOKUPS_MAX: usize = 8;
/// `host:port` at most.
const ADDRESS_BYTES_MAX: usize = 300;
/// Addresses of one name at most.
const FOUND_MAX: usize = 16;
/// Connections that may wait to be taken, of one listener; the kernel's own bound (`net.core.somaxconn`) holds too.
const LISTEN_BACKLOG: i32 = 4096;
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
    /// Messages of it wait here.
    has_more: bool,
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
    /// What egress said last of the venues' limits.
    limits: Vec<VenueLimits>,
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
        limits: Vec::new(),
        epoch: fs::read_to_string(site.run("epoch"))
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .unwrap_or(0),
        begun: Monotonic::now(),
        secrets,
        unsealing: None,
        is_sealed,
        signs: false,
        is_ready: false,
        is_ending: false,
        failed: None,
    };
    up.read_limits();
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
            for peer in ROOMS {
                if self.running(peer).is_some_and(|running| running.has_more) {
                    self.hear(peer);
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
        let now = self.rooms.iter().any(|slot| {
            slot.running
                .as_ref()
                .is_some_and(|running| running.has_more)
        });
        of_rooms
            .flatten()
            .chain(now.then(Monotonic::now))
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
                if !running.is_ready {
                    running
                        .why
                        .get_or_insert("it did not say that it is ready".to_owned());
                }
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
