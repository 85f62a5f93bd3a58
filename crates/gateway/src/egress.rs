//! The loop of egress. One thread, one wait, one write a neighbour and turn. In a turn: what `up` says, what the venues
//! answer (and whether they ended a connection, before it would be used), what the signer sends, what ingress has taken;
//! then the signer gets its summaries, and only after those are in the pipe does ingress get its answers.
//!
//! Trusts `up`, and the signer about which hosts there are. A venue is not trusted; [`Upstream`] says how. Absent: a key, a
//! file, a name look-up (`up` does it), and any host that is not in the release.

use crate::ingress::told;
use crate::lines::Lines;
use crate::neighbour::{Neighbour, State};
use crate::start::{self, Begun, Ended, settings};
use crate::timer::{TICK_US, Timer};
use crate::upstream::{INGRESS_BYTES_MAX, Line, Turn, Upstream};
use portcullis_model::wire::{self, Discard, Hosts, Leave, Orphans, Send, Window, kind};
use portcullis_room::clock::{self, Monotonic};
use portcullis_room::control::{self, Control, EgressSettings, FromRoom, Peer, Received, ToRoom};
use portcullis_room::poll::{EVENTS_MAX, Event, Interest, Poll, Token, Trigger};
use serde_json::json;
use std::fmt::Write;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// How long an orderly end waits for answers.
const STOP_US_MAX: u64 = 2_000_000;

const CONTROL: Token = Token(0);
const FROM_SIGNER: Token = Token(1);
const TO_SIGNER: Token = Token(2);
const FROM_INGRESS: Token = Token(3);
const TO_INGRESS: Token = Token(4);
const FIRST_CONNECTION: u64 = 1024;

/// Serves until it is told to stop, or `up` is gone.
#[must_use]
pub fn serve(begun: Begun) -> Ended {
    start::serve(begun, Room::new, Room::run)
}

struct Room {
    poll: Poll,
    lines: Lines,
    upstream: Upstream,
    signer: Neighbour,
    ingress: Neighbour,
    /// Answers waited for room on the link to ingress.
    ingress_was_full: bool,
    turn: Turn,
    timer: Timer,
    stopping: Option<Monotonic>,
}

impl Room {
    fn new(control: &mut Control, lines: Lines) -> Result<Option<Self>, Ended> {
        let Some((settings, _)) = settings(control)? else {
            return Ok(None);
        };
        let EgressSettings { limits } = control::settings(settings)?;
        let poll = Poll::new()?;
        poll.add(&*control, CONTROL, Interest::Read, Trigger::Level)?;
        Ok(Some(Self {
            poll,
            lines,
            upstream: Upstream::new(FIRST_CONNECTION, limits),
            signer: Neighbour::new(Peer::Signer, FROM_SIGNER, TO_SIGNER),
            ingress: Neighbour::new(Peer::Ingress, FROM_INGRESS, TO_INGRESS),
            ingress_was_full: false,
            turn: Turn::default(),
            timer: Timer::new(),
            stopping: None,
        }))
    }

    fn run(&mut self, control: &mut Control) -> Result<Ended, Ended> {
        let mut events: Vec<Event> = Vec::with_capacity(EVENTS_MAX);
        // What came with the settings was read with them, and wakes nobody.
        self.control(control)?;
        self.leave(control)?;
        loop {
            let found = self.poll.wait(self.timer.next())?;
            events.clear();
            events.extend_from_slice(found);
            let now = Monotonic::now();
            self.upstream.set_time(clock::boot_us(), clock::unix_us());
            self.turn.ingress_waiting = self.ingress.waiting();
            let has = |token: Token| events.iter().any(|event| event.token == token);
            // A new signer ends what the old one still had here, before anything of it can leave.
            if has(CONTROL) {
                self.control(control)?;
            }
            for event in events.iter().filter(|e| e.token.0 >= FIRST_CONNECTION) {
                self.upstream.ready(
                    event.token.0,
                    event.readable,
                    event.writable,
                    &mut self.turn,
                );
            }
            if has(FROM_SIGNER) {
                self.hear_signer();
            }
            if has(FROM_INGRESS) {
                self.hear_ingress();
            }
            if !events.is_empty() {
                self.timer.within_us(now, TICK_US);
            }
            if self.timer.is_due(now) {
                let next = self.upstream.tick(&mut self.turn);
                self.timer.set(now, next);
                if self.stopping.is_some() {
                    self.timer.within_us(now, STOP_US_MAX / 20);
                }
            }
            self.leave(control)?;
            if self
                .stopping
                .is_some_and(|until| until <= now || self.upstream.is_done())
            {
                return Ok(Ended::InOrder);
            }
        }
    }

    /// Everything of this turn leaves: first the summaries, then the answers, one write each.
    fn leave(&mut self, control: &mut Control) -> Result<(), Ended> {
        // Before anything else: a run that ends now must not be followed by one that knows nothing of it.
        if std::mem::take(&mut self.turn.limits) {
            let limits = self.upstream.limits();
            control.send(&FromRoom::Limits { limits })?;
        }
        loop {
            self.signer.put(&mut self.turn.to_signer);
            let state = self.signer.flush(&self.poll);
            self.signer_is(state);
            self.ingress.put(&mut self.turn.to_ingress);
            if self.signer.waiting() == 0 {
                let state = self.ingress.flush(&self.poll);
                self.ingress_is(state);
            }
            self.turn.ingress_waiting = self.ingress.waiting();
            if self.turn.ingress_waiting > INGRESS_BYTES_MAX {
                self.ingress_was_full = true;
            } else if std::mem::take(&mut self.ingress_was_full) {
                self.upstream.ingress_has_room(&mut self.turn);
            }
            // A neighbour that turned out to be gone, or has room again, leaves work for the other one.
            if self.turn.to_signer.is_empty() && self.turn.to_ingress.is_empty() {
                break;
            }
        }
        let mut at = 0;
        while let Some(key) = self.turn.watch.get(at).copied() {
            at += 1;
            let applied = match self.upstream.change(key) {
                Some(change) => change.apply(&self.poll, key),
                None => Ok(()),
            };
            if applied.is_err() {
                self.upstream.unwatchable(key, &mut self.turn);
            }
        }
        self.turn.watch.clear();
        for address in self.turn.resolve.drain(..) {
            control.send(&FromRoom::Resolve { address })?;
        }
        for line in self.turn.lines.drain(..) {
            match line {
                Line::Unreachable { host, why } => self
                    .lines
                    .event("venue-unreachable", json!({ "host": host, "why": why })),
                Line::CertificateRefused { host } => self
                    .lines
                    .alert("certificate-refused", json!({ "host": host })),
                Line::AskedToWait {
                    host,
                    status,
                    wait_us,
                } => self.lines.alert(
                    "venue-asked-to-wait",
                    json!({ "host": host, "status": status, "seconds": wait_us.div_ceil(1_000_000) }),
                ),
            }
        }
        Ok(())
    }

    fn control(&mut self, control: &mut Control) -> Result<(), Ended> {
        control.flush()?;
        loop {
            match control.receive()? {
                Received::NotNow => return Ok(()),
                Received::Closed => {
                    // Its end would wake the loop again and again.
                    self.poll.remove(&*control)?;
                    self.stop();
                    return Ok(());
                }
                Received::Message(ToRoom::Stop, _) => {
                    self.stop();
                    return Ok(());
                }
                Received::Message(ToRoom::Link { peer, epoch }, mut fds) => {
                    let pipes = fds.take("from").zip(fds.take("to"));
                    let Some(pipes) = pipes else {
                        return Err(Ended::Failed(format!("a link to {peer} without its pipes")));
                    };
                    self.link(peer, epoch, pipes)?;
                }
                Received::Message(ToRoom::Addresses { address, found }, _) => {
                    self.upstream
                        .set_addresses(&address, &found, &mut self.turn);
                }
                Received::Message(ToRoom::Metrics { token }, _) => {
                    let text = self.metrics();
                    control.send(&FromRoom::Metrics { token, text })?;
                }
                // Not for this room.
                Received::Message(..) => {}
            }
        }
    }

    fn link(&mut self, peer: Peer, epoch: u32, pipes: (OwnedFd, OwnedFd)) -> Result<(), Ended> {
        match peer {
            Peer::Signer => {
                // Unread requests of the old one go with its pipe.
                self.signer.drop_link();
                self.upstream.signer_lost(&mut self.turn);
                self.signer
                    .replace(&self.poll, pipes, Peer::Egress, epoch)?;
            }
            Peer::Ingress => {
                self.ingress.drop_link();
                self.turn.to_ingress.clear();
                self.upstream.set_ingress_epoch(epoch, &mut self.turn);
                self.ingress
                    .replace(&self.poll, pipes, Peer::Egress, epoch)?;
            }
            Peer::Egress => return Err(Ended::Failed("a link of egress to itself".to_owned())),
        }
        Ok(())
    }

    fn hear_signer(&mut self) {
        let (upstream, turn, lines) = (&mut self.upstream, &mut self.turn, &mut self.lines);
        let state = self.signer.receive(false, |kind, cbor| match kind {
            kind::HELLO => true,
            kind::SEND => wire::message::<Send<'_>>(cbor)
                .map(|send| upstream.take(&send, turn))
                .is_ok(),
            kind::LEAVE => wire::message::<Leave>(cbor)
                .map(|leave| upstream.leave(leave, turn))
                .is_ok(),
            kind::DISCARD => wire::message::<Discard>(cbor)
                .map(|discard| upstream.discard(&discard, turn))
                .is_ok(),
            kind::HOSTS => match wire::message::<Hosts>(cbor) {
                Ok(hosts) => {
                    if let Err(why) = upstream.set_hosts(&hosts, turn) {
                        lines.alert("hosts-refused", json!({ "why": why.to_string() }));
                    }
                    true
                }
                Err(_) => false,
            },
            _ => false,
        });
        self.signer_is(state);
    }

    fn signer_is(&mut self, state: State) {
        if told(&mut self.lines, Peer::Signer, state) {
            self.upstream.signer_lost(&mut self.turn);
        }
    }

    fn hear_ingress(&mut self) {
        let (upstream, turn) = (&mut self.upstream, &mut self.turn);
        let mut orphans = Vec::new();
        let state = self.ingress.receive(false, |kind, cbor| match kind {
            kind::HELLO => true,
            kind::WINDOW => wire::message::<Window>(cbor)
                .map(|window| upstream.window(window, turn))
                .is_ok(),
            kind::LEAVE => wire::message::<Leave>(cbor)
                .map(|leave| upstream.leave(leave, turn))
                .is_ok(),
            kind::ORPHANS => wire::message::<Orphans>(cbor)
                .map(|asked| orphans.push(asked))
                .is_ok(),
            _ => false,
        });
        if !orphans.is_empty() {
            // What a signer that is gone had handed on lies in its pipe, and counts.
            self.hear_signer();
        }
        for asked in &orphans {
            self.upstream.orphans(asked, &mut self.turn);
        }
        self.ingress_is(state);
    }

    fn ingress_is(&mut self, state: State) {
        if told(&mut self.lines, Peer::Ingress, state) {
            // Until there is a new one, answers are of no run.
            self.upstream.set_ingress_epoch(0, &mut self.turn);
        }
    }

    /// What waits for a connection is not sent; what is under way gets a moment.
    fn stop(&mut self) {
        if self.stopping.is_none() {
            let now = Monotonic::now();
            self.stopping = Some(now.after(Duration::from_micros(STOP_US_MAX)));
            self.upstream.no_more(&mut self.turn);
            self.timer.within_us(now, STOP_US_MAX / 20);
        }
    }

    fn metrics(&self) -> String {
        let mut text = self.upstream.counts.text();
        let load = self.upstream.load();
        let _ = write!(
            text,
            "# HELP portcullis_egress_connections Connections to venues that are open now.\n\
             # TYPE portcullis_egress_connections gauge\nportcullis_egress_connections {}\n\
             # HELP portcullis_egress_waiting Signed requests that wait for a connection.\n\
             # TYPE portcullis_egress_waiting gauge\nportcullis_egress_waiting {}\n\
             # HELP portcullis_egress_under_way Signed requests that have left and have no answer.\n\
             # TYPE portcullis_egress_under_way gauge\nportcullis_egress_under_way {}\n\
             # HELP portcullis_egress_links Links to neighbours that are there.\n\
             # TYPE portcullis_egress_links gauge\n\
             portcullis_egress_links{{peer=\"signer\"}} {}\nportcullis_egress_links{{peer=\"ingress\"}} {}\n",
            load.connections,
            load.waiting,
            load.under_way,
            u8::from(self.signer.is_there()),
            u8::from(self.ingress.is_there())
        );
        text
    }
}
