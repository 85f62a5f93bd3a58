//! The loop of ingress. One thread, one wait, one write a neighbour and turn. In a turn: what `up` says, what the signer
//! answers, what egress answers, then the programs' connections, then new ones; so an answer never waits behind a flood
//! of requests.
//!
//! Trusts `up`. The signer's and egress' frames are checked, and at worst end their link; what a program sends is
//! [`Downstream`]'s matter. Absent: a key, a file, a name look-up, a connection to anybody.

use crate::downstream::{Downstream, Listener, Turn};
use crate::lines::Lines;
use crate::neighbour::{Neighbour, State};
use crate::start::{self, Begun, Ended, settings};
use crate::timer::{TICK_US, Timer};
use crate::tls;
use portcullis_model::wire::{
    self, AnswerAborted, AnswerChunk, AnswerHead, Close, Credit, Push, Reply, StreamEnded, kind,
};
use portcullis_room::clock::{self, Monotonic};
use portcullis_room::control::{self, Control, FromRoom, IngressSettings, Peer, Received, ToRoom};
use portcullis_room::io::{accept, set_nodelay, set_nonblocking};
use portcullis_room::poll::{EVENTS_MAX, Event, Interest, Poll, Token, Trigger};
use serde_json::json;
use std::fmt::Write;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// Connections taken from one listener in a turn, at most.
const ACCEPTS_PER_TURN: usize = 64;
/// After the process ran out of descriptors, how long nobody is let in.
const ACCEPT_PAUSE_US: u64 = 100_000;
/// Listeners at most.
pub const LISTENERS_MAX: usize = 32;
/// How long an orderly end waits for answers.
const STOP_US_MAX: u64 = 2_000_000;

const CONTROL: Token = Token(0);
const FROM_SIGNER: Token = Token(1);
const TO_SIGNER: Token = Token(2);
const FROM_EGRESS: Token = Token(3);
const TO_EGRESS: Token = Token(4);
const FIRST_LISTENER: u64 = 16;
const FIRST_CONNECTION: u64 = 1024;

/// Serves until it is told to stop, or `up` is gone.
#[must_use]
pub fn serve(begun: Begun) -> Ended {
    start::serve(begun, Room::new, Room::run)
}

struct Room {
    epoch: u32,
    poll: Poll,
    lines: Lines,
    downstream: Downstream,
    listeners: Vec<OwnedFd>,
    /// Out of descriptors, or of handshakes: nobody is let in before this moment.
    paused_until: Option<Monotonic>,
    signer: Neighbour,
    egress: Neighbour,
    turn: Turn,
    timer: Timer,
    stopping: Option<Monotonic>,
}

impl Room {
    fn new(control: &mut Control, lines: Lines) -> Result<Option<Self>, Ended> {
        let Some((settings, mut fds)) = settings(control)? else {
            return Ok(None);
        };
        let settings: IngressSettings = control::settings(settings)?;
        let listeners = fds.take_numbered("listener");
        if listeners.len() != settings.listeners.len() || listeners.len() > LISTENERS_MAX {
            return Err(Ended::Failed(format!(
                "{} listeners are set and {} came; one each, at most {LISTENERS_MAX}",
                settings.listeners.len(),
                listeners.len()
            )));
        }
        let mut venues = Vec::new();
        for listener in settings.listeners {
            venues.push(Listener {
                venue: listener.venue,
                host: listener.host,
                tls: match &listener.tls {
                    None => None,
                    Some(tls) => Some(tls::server(
                        tls.chain_pem.as_bytes(),
                        tls.key_pem.as_bytes(),
                    )?),
                },
            });
        }
        let poll = Poll::new()?;
        poll.add(&*control, CONTROL, Interest::Read, Trigger::Level)?;
        for (at, listener) in listeners.iter().enumerate() {
            set_nonblocking(listener)?;
            let token = Token(FIRST_LISTENER + at as u64);
            poll.add(listener, token, Interest::Read, Trigger::Level)?;
        }
        Ok(Some(Self {
            epoch: settings.epoch,
            poll,
            lines,
            downstream: Downstream::new(settings.epoch, venues, FIRST_CONNECTION),
            listeners,
            paused_until: None,
            signer: Neighbour::new(Peer::Signer, FROM_SIGNER, TO_SIGNER),
            egress: Neighbour::new(Peer::Egress, FROM_EGRESS, TO_EGRESS),
            turn: Turn::default(),
            timer: Timer::new(),
            stopping: None,
        }))
    }

    fn run(&mut self, control: &mut Control) -> Result<Ended, Ended> {
        let mut events: Vec<Event> = Vec::with_capacity(EVENTS_MAX);
        // What came with the settings was read with them, and wakes nobody.
        self.control(control)?;
        self.leave();
        loop {
            let found = self.poll.wait(self.timer.next())?;
            events.clear();
            events.extend_from_slice(found);
            let now = Monotonic::now();
            self.downstream.set_time(clock::boot_us());
            let has = |token: Token| events.iter().any(|event| event.token == token);
            if has(CONTROL) {
                self.control(control)?;
            }
            if has(FROM_SIGNER) {
                self.hear_signer();
            }
            if has(FROM_EGRESS) {
                self.hear_egress();
            }
            self.turn.signer_waiting = self.signer.waiting();
            for event in events.iter().filter(|e| e.token.0 >= FIRST_CONNECTION) {
                self.downstream.ready(
                    event.token.0,
                    event.readable,
                    event.writable,
                    event.hung_up,
                    &mut self.turn,
                );
            }
            for event in &events {
                let at = event.token.0.wrapping_sub(FIRST_LISTENER);
                if at < self.listeners.len() as u64 {
                    self.accept(at as usize, now);
                }
            }
            if !events.is_empty() {
                self.timer.within_us(now, TICK_US);
            }
            if self.timer.is_due(now) {
                self.tick(now);
            }
            self.leave();
            if self.is_over(now) {
                return Ok(Ended::InOrder);
            }
        }
    }

    /// Everything of this turn leaves: one write a neighbour, and the poll is told what changed.
    fn leave(&mut self) {
        loop {
            self.downstream.farewells(&mut self.turn);
            self.signer.put(&mut self.turn.to_signer);
            self.egress.put(&mut self.turn.to_egress);
            let state = self.signer.flush(&self.poll);
            self.signer_is(state);
            let state = self.egress.flush(&self.poll);
            self.egress_is(state);
            // A neighbour that turned out to be gone leaves work for the other one.
            if self.turn.to_signer.is_empty() && self.turn.to_egress.is_empty() {
                break;
            }
        }
        let mut at = 0;
        while let Some(key) = self.turn.watch.get(at).copied() {
            at += 1;
            let applied = match self.downstream.change(key) {
                Some(change) => change.apply(&self.poll, key),
                None => Ok(()),
            };
            if applied.is_err() {
                self.downstream.unwatchable(key);
            }
        }
        self.turn.watch.clear();
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
                Received::Message(ToRoom::Link { peer, .. }, mut fds) => {
                    let pipes = fds.take("from").zip(fds.take("to"));
                    let Some(pipes) = pipes else {
                        return Err(Ended::Failed(format!("a link to {peer} without its pipes")));
                    };
                    self.link(peer, pipes)?;
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

    fn link(&mut self, peer: Peer, pipes: (OwnedFd, OwnedFd)) -> Result<(), Ended> {
        match peer {
            Peer::Signer => {
                self.hear_signer();
                self.downstream.signer_lost(&mut self.turn);
                self.signer
                    .replace(&self.poll, pipes, Peer::Ingress, self.epoch)?;
            }
            Peer::Egress => {
                self.hear_egress();
                self.downstream.lost(&mut self.turn);
                self.egress
                    .replace(&self.poll, pipes, Peer::Ingress, self.epoch)?;
            }
            Peer::Ingress => {
                return Err(Ended::Failed("a link of ingress to itself".to_owned()));
            }
        }
        Ok(())
    }

    fn hear_signer(&mut self) {
        let (downstream, turn) = (&mut self.downstream, &mut self.turn);
        let state = self.signer.receive(true, |kind, cbor| match kind {
            kind::HELLO => {
                downstream.signer_is_there();
                true
            }
            kind::REPLY => wire::message::<Reply<'_>>(cbor)
                .map(|reply| downstream.reply(&reply, turn))
                .is_ok(),
            kind::CREDIT => wire::message::<Credit>(cbor)
                .map(|credit| downstream.credit(credit.frames))
                .is_ok(),
            kind::CLOSE => wire::message::<Close>(cbor)
                .map(|close| downstream.close(&close, turn))
                .is_ok(),
            _ => false,
        });
        self.signer_is(state);
    }

    fn signer_is(&mut self, state: State) {
        if told(&mut self.lines, Peer::Signer, state) {
            self.downstream.signer_lost(&mut self.turn);
        }
    }

    fn hear_egress(&mut self) {
        let (downstream, turn) = (&mut self.downstream, &mut self.turn);
        let state = self.egress.receive(true, |kind, cbor| match kind {
            kind::HELLO => {
                downstream.egress_is_there();
                true
            }
            kind::ANSWER_HEAD => wire::message::<AnswerHead<'_>>(cbor)
                .map(|head| downstream.answer_head(&head, turn))
                .is_ok(),
            kind::ANSWER_CHUNK => wire::message::<AnswerChunk<'_>>(cbor)
                .map(|chunk| downstream.answer_chunk(&chunk, turn))
                .is_ok(),
            kind::PUSH => wire::message::<Push<'_>>(cbor)
                .map(|push| downstream.push(&push, turn))
                .is_ok(),
            kind::STREAM_ENDED => wire::message::<StreamEnded>(cbor)
                .map(|ended| downstream.stream_ended(&ended, turn))
                .is_ok(),
            kind::ANSWER_ABORTED => wire::message::<AnswerAborted>(cbor)
                .map(|aborted| downstream.answer_aborted(&aborted, turn))
                .is_ok(),
            _ => false,
        });
        self.egress_is(state);
    }

    fn egress_is(&mut self, state: State) {
        if told(&mut self.lines, Peer::Egress, state) {
            self.downstream.lost(&mut self.turn);
        }
    }

    fn accept(&mut self, at: usize, now: Monotonic) {
        for _ in 0..ACCEPTS_PER_TURN {
            let wait_us = self.downstream.accept_in_us(at);
            if wait_us > 0 {
                return self.pause(now, wait_us, true);
            }
            let Some(listener) = self.listeners.get(at) else {
                return;
            };
            match accept(listener) {
                Ok(None) => return,
                Ok(Some(connection)) => {
                    // TCP listeners give an address, and nothing else is a listener of ours.
                    let Some(source) = connection.source else {
                        continue;
                    };
                    let _ = set_nodelay(&connection.fd);
                    let listener = u16::try_from(at).unwrap_or(u16::MAX);
                    let socket = TcpStream::from(connection.fd);
                    self.downstream
                        .accept(socket, source, listener, &mut self.turn);
                }
                Err(why) => {
                    // Out of descriptors: what is idle makes room, and nobody is let in for a moment.
                    self.downstream.descriptors_ran_out();
                    self.lines
                        .alert("accepting-paused", json!({ "why": why.to_string() }));
                    return self.pause(now, ACCEPT_PAUSE_US, false);
                }
            }
        }
    }

    /// Nobody is let in for a moment, or nobody who speaks TLS.
    fn pause(&mut self, now: Monotonic, us: u64, only_tls: bool) {
        self.watch_listeners(Interest::Nothing, only_tls);
        let until = now.after(Duration::from_micros(us));
        self.paused_until = Some(self.paused_until.map_or(until, |at| at.min(until)));
        self.timer.within_us(now, us);
    }

    fn watch_listeners(&mut self, interest: Interest, only_tls: bool) {
        for (at, listener) in self.listeners.iter().enumerate() {
            if only_tls && !self.downstream.is_tls(at) {
                continue;
            }
            let token = Token(FIRST_LISTENER + at as u64);
            let trigger = match interest {
                Interest::Nothing => Trigger::Edge,
                _ => Trigger::Level,
            };
            if let Err(why) = self.poll.change(listener, token, interest, trigger) {
                self.lines
                    .alert("listener-lost", json!({ "why": why.to_string() }));
            }
        }
    }

    fn tick(&mut self, now: Monotonic) {
        if self.paused_until.is_some_and(|until| until <= now) {
            self.paused_until = None;
            self.watch_listeners(Interest::Read, false);
        }
        let next = self.downstream.tick(&mut self.turn);
        self.timer.set(now, next);
        if let Some(until) = self.paused_until {
            let left = until.since(now).as_micros();
            self.timer
                .within_us(now, u64::try_from(left).unwrap_or(ACCEPT_PAUSE_US));
        }
        if self.stopping.is_some() {
            self.timer.within_us(now, STOP_US_MAX / 20);
        }
    }

    /// Nobody new; what is under way gets a moment.
    fn stop(&mut self) {
        if self.stopping.is_none() {
            let now = Monotonic::now();
            self.stopping = Some(now.after(Duration::from_micros(STOP_US_MAX)));
            self.listeners.clear();
            self.downstream.no_more(&mut self.turn);
            self.timer.within_us(now, STOP_US_MAX / 20);
        }
    }

    fn is_over(&self, now: Monotonic) -> bool {
        self.stopping
            .is_some_and(|until| until <= now || self.downstream.in_flight() == 0)
    }

    fn metrics(&self) -> String {
        let mut text = self.downstream.counts.text();
        let _ = write!(
            text,
            "# HELP portcullis_ingress_in_flight Requests that wait for their answer.\n\
             # TYPE portcullis_ingress_in_flight gauge\nportcullis_ingress_in_flight {}\n\
             # HELP portcullis_ingress_links Links to neighbours that are there.\n\
             # TYPE portcullis_ingress_links gauge\n\
             portcullis_ingress_links{{peer=\"signer\"}} {}\nportcullis_ingress_links{{peer=\"egress\"}} {}\n",
            self.downstream.in_flight(),
            u8::from(self.signer.is_there()),
            u8::from(self.egress.is_there())
        );
        text
    }
}

/// Writes down what became of a link. `true`: it is gone.
pub(crate) fn told(lines: &mut Lines, peer: Peer, state: State) -> bool {
    match state {
        State::There => return false,
        State::Gone => lines.event("link-lost", json!({ "peer": peer.name() })),
        State::Refused(why) => {
            lines.alert("link-refused", json!({ "peer": peer.name(), "why": why }))
        }
    }
    true
}
