//! The rooms: started, given their settings, secrets and neighbours, listened to, and started again.

use super::doors::{listener_settings, spawn_named};
use super::{
    AGAIN_FIRST, AGAIN_MAX, AGAIN_SERVED_MAX, CONTROL, END_WITHIN, EVENTS, Happened,
    LINE_BYTES_MAX, LISTEN_WITHIN, MESSAGES_PER_TURN, PROCESS, READY_WITHIN, ROOMS, Running,
    STEADY, Up, program, token,
};
use crate::fail::Fail;
use crate::operator;
use crate::seal::{self, Opening};
use crate::show;
use portcullis_room::clock::Monotonic;
use portcullis_room::confine::SandboxReport;
use portcullis_room::control::{EgressSettings, FromRoom, IngressSettings, Peer, Received, ToRoom};
use portcullis_room::io::{Flow, set_nonblocking};
use portcullis_room::poll::{Interest, Trigger};
use portcullis_room::{BUILD_ID, spawn};
use serde_json::{Map, Value, json};
use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd};

impl Up<'_> {
    /// Starts a room.
    pub(super) fn start(&mut self, peer: Peer) {
        // Never the same as an earlier run's, this site's or a former `up`'s: requests are named after it. Rooms that are
        // killed often run ahead of the clock, so the last one is kept.
        let seconds = u32::try_from(show::now().0 / 1_000_000).unwrap_or(u32::MAX);
        self.epoch = seconds.max(self.epoch.saturating_add(1));
        let epoch = self.epoch;
        let _ = std::fs::write(self.site.run("epoch"), format!("{epoch}\n"));
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
                    kill_at: Some(Monotonic::now().after(READY_WITHIN)),
                    is_ending: false,
                    has_more: false,
                    wants_secrets: peer == Peer::Signer,
                });
            }
            Err(fail) => self.again(peer, &fail.fact, false),
        }
    }

    /// A room has ended, or did not start. `served`: it had done its work before.
    pub(super) fn again(&mut self, peer: Peer, why: &str, served: bool) {
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
            .min(if served { AGAIN_SERVED_MAX } else { AGAIN_MAX });
        slot.again_at = Some(Monotonic::now().after(wait));
        let soon = slot.soon;
        self.alert(
            "room-ended",
            json!({ "which": peer, "why": why, "again_in_ms": u64::try_from(wait.as_millis()).unwrap_or(u64::MAX), "in_a_row": soon }),
        );
    }

    pub(super) fn ended(&mut self, peer: Peer) {
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
        let served = running.is_ready && (peer != Peer::Signer || self.signs);
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
        self.again(peer, &why, served);
    }

    /// Sends; a room that does not listen is killed.
    pub(super) fn send(&mut self, peer: Peer, message: &ToRoom, fds: &[(&str, BorrowedFd<'_>)]) {
        let Some(running) = self.running(peer) else {
            return;
        };
        if let Err(why) = running.room.control.send(message, fds, LISTEN_WITHIN) {
            running.why.get_or_insert(why.to_string());
            let _ = running.room.process.kill();
        }
    }

    /// Takes its messages, so many that the others are heard too.
    pub(super) fn hear(&mut self, peer: Peer) {
        for _ in 0..MESSAGES_PER_TURN {
            let Some(running) = self.running(peer) else {
                return;
            };
            running.has_more = false;
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
        // What has been read already wakes nobody.
        if let Some(running) = self.running(peer) {
            running.has_more = true;
        }
    }

    pub(super) fn message(&mut self, peer: Peer, message: FromRoom) {
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
            FromRoom::Limits { limits } => self.take_limits(peer, limits),
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
    pub(super) fn ready(&mut self, peer: Peer, sandbox: SandboxReport) {
        let Some(running) = self.running(peer) else {
            return;
        };
        if running.is_ready {
            return;
        }
        running.is_ready = true;
        running.kill_at = None;
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
    pub(super) fn restarted(&mut self, peer: Peer) {
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

    pub(super) fn is_room_ready(&self, peer: Peer) -> bool {
        self.rooms.iter().any(|slot| {
            slot.peer == peer
                && slot
                    .running
                    .as_ref()
                    .is_some_and(|r| r.is_ready && !r.is_ending)
        })
    }

    pub(super) fn settings(&mut self, peer: Peer, epoch: u32) -> Result<(), Fail> {
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
                let limits = self.limits.clone();
                let start = ToRoom::start(&EgressSettings { limits }).map_err(bug)?;
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
    pub(super) fn link(&mut self, one: Peer, other: Peer) {
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

    /// Gives the signer its secrets when its way to the venue is there, so that it does not start in alarm.
    pub(super) fn unseal_if_due(&mut self) {
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

    /// Secrets for a signer that has just started.
    pub(super) fn unseal_first(&mut self) {
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
    pub(super) fn unseal(&mut self) -> Result<(), Fail> {
        let (pipe, opening) = seal::open(self.site, &self.site.sealed()?, None)?;
        self.send(Peer::Signer, &ToRoom::Secrets, &[("secrets", pipe.as_fd())]);
        self.wait_for(opening);
        Ok(())
    }

    pub(super) fn wait_for(&mut self, opening: Opening) {
        let bell = self.bell.clone();
        let waits = spawn_named("unseal", move || {
            bell.ring(Happened::Unsealed(opening.finish()));
        });
        if let Err(fail) = waits {
            self.sealed(&fail);
        }
    }

    pub(super) fn sealed(&mut self, fail: &Fail) {
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

    pub(super) fn read_lines(&mut self, peer: Peer) {
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
    pub(super) fn line(&mut self, peer: Peer, line: &[u8]) {
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

    pub(super) fn rooms_control(&self, peer: Peer) -> BorrowedFd<'_> {
        self.fd_of(peer, |running| running.room.control.as_fd())
    }

    pub(super) fn rooms_events(&self, peer: Peer) -> BorrowedFd<'_> {
        self.fd_of(peer, |running| running.room.events.as_fd())
    }

    /// A room's descriptor, or one that is watched by nobody.
    pub(super) fn fd_of<'u>(
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
}
