//! The loop around the gate: bytes in, a turn, bytes out. One thread waits for everything at once and decides; nothing
//! here waits for a neighbour, a disk or a helper. Order of a turn: outcomes, operators, then requests by lane; all of it
//! is written down in one call before a byte of the turn leaves; one write a neighbour, egress first.
//!
//! An outcome alone does not wake the loop: who waits for an answer gets it from egress, and the next turn takes outcomes
//! before anything else. Only while a halt waits for egress, or nothing else came for [`OUTCOMES_WITHIN`], are outcomes
//! watched for.
//!
//! What waits is bounded: ingress by its credits, egress by the lanes, operators by one command a connection. A neighbour
//! that sends more, or what is no frame, is cut off. A log that fails ends the loop, and with it the program: a new start
//! verifies from disk.
//!
//! Absent: opening anything. Descriptors come by the control channel, or are handed in.

mod operators;

use crate::clock::Reading;
use crate::core::{CoreError, Turn};
use crate::gate::Gate;
use crate::lanes::Lanes;
use crate::secrets::{self, Secret, SecretsError};
use operators::Operators;
use portcullis_model::command::Answer;
use portcullis_model::report::Report;
use portcullis_model::wire::{
    self, CREDITS_OWED_MAX, Credit, Discarded, Gone, Hello, Lane, Outcome, Request, Told, Venue,
    kind,
};
use portcullis_room::clock::Monotonic;
use portcullis_room::confine::SandboxReport;
use portcullis_room::control::{
    Control, ControlError, Descriptors, FromRoom, OperatorSettings, Peer, Received, ToRoom,
};
use portcullis_room::link::Link;
use portcullis_room::poll::{Interest, Poll, Token, Trigger, Waker};
use portcullis_venues::Catalog;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

/// Requests decided in one turn, at most: so many entries go out with one write.
pub const REQUESTS_PER_TURN: usize = 64;
/// Outcomes that come without a request are taken this late at most.
pub const OUTCOMES_WITHIN: Duration = Duration::from_millis(2);
/// A stop waits this long for what is under way, so that the next start need not ask the venue for it.
const STOP_WITHIN: Duration = Duration::from_millis(300);
/// Helpers' stacks are locked memory.
const STACK_BYTES: usize = 256 << 10;

const CONTROL: Token = Token(0);
const WAKER: Token = Token(1);
const FROM_INGRESS: Token = Token(2);
const TO_INGRESS: Token = Token(3);
const FROM_EGRESS: Token = Token(4);
const TO_EGRESS: Token = Token(5);
const LISTENER: Token = Token(6);
/// Operators' connections have this token and later ones, none of them twice.
const OPERATORS: u64 = 16;

/// Why the loop ended.
#[derive(Debug)]
pub enum Ended {
    /// It was told to; all is written, synced and under a checkpoint.
    Stopped,
    /// Whoever started it is gone; ended in the same order.
    Alone,
    Failed(CoreError),
}

/// A neighbour's link, and how far it has come.
struct Neighbour {
    link: Link,
    epoch: u32,
    /// It has said who it is.
    greeted: bool,
    /// It was told how far the log is.
    knows_log: bool,
    /// Its pipe is full, and watched.
    is_full: bool,
    /// It reads no more.
    is_lost: bool,
}

/// What one wait found.
#[derive(Default)]
struct Ready {
    control: bool,
    waker: bool,
    ingress: bool,
    egress: bool,
    to_ingress: bool,
    to_egress: bool,
    listener: bool,
    operators: Vec<u64>,
}

/// The loop.
pub struct Serve {
    gate: Gate,
    catalog: &'static Catalog,
    build: Vec<u8>,
    poll: Poll,
    waker: Waker,
    control: Option<Control>,
    ingress: Option<Neighbour>,
    egress: Option<Neighbour>,
    /// Egress is watched for outcomes.
    watches_egress: bool,
    operators: Operators,
    lanes: Lanes,
    /// A request that came alone, for this turn.
    single: Vec<u8>,
    /// Credits of ingress that it has not got back.
    owed: u32,
    turn: Turn,
    opened: Receiver<Result<Vec<Secret>, SecretsError>>,
    tell_opened: Sender<Result<Vec<Secret>, SecretsError>>,
    stops_at: Option<Monotonic>,
    is_alone: bool,
    read_clocks: Box<dyn FnMut() -> Reading>,
    line: Box<dyn FnMut(&str)>,
}

impl Serve {
    /// `waker` is the one that the gate's helpers wake; `line` takes structured lines.
    pub fn new(
        gate: Gate,
        catalog: &'static Catalog,
        build: &[u8],
        waker: Waker,
        read_clocks: impl FnMut() -> Reading + 'static,
        line: impl FnMut(&str) + 'static,
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        poll.add(&waker, WAKER, Interest::Read, Trigger::Level)?;
        let (tell_opened, opened) = channel();
        Ok(Self {
            gate,
            catalog,
            build: build.to_vec(),
            poll,
            waker,
            control: None,
            ingress: None,
            egress: None,
            watches_egress: false,
            operators: Operators::new(),
            lanes: Lanes::default(),
            single: Vec::new(),
            owed: 0,
            turn: Turn::default(),
            opened,
            tell_opened,
            stops_at: None,
            is_alone: false,
            read_clocks: Box::new(read_clocks),
            line: Box::new(line),
        })
    }

    /// The channel that links, secrets and the order to stop come by.
    pub fn control(&mut self, control: Control) -> io::Result<()> {
        self.poll
            .add(&control, CONTROL, Interest::Read, Trigger::Level)?;
        self.control = Some(control);
        Ok(())
    }

    /// Who may command.
    pub fn operators(&mut self, operators: Vec<OperatorSettings>) {
        self.operators.may = operators;
    }

    /// What confines a room, this one among them.
    pub fn sandbox(&mut self, room: Peer, report: SandboxReport) -> Result<(), CoreError> {
        self.gate.sandbox(room, report)
    }

    /// The operator socket.
    pub fn listener(&mut self, listener: OwnedFd) -> io::Result<()> {
        portcullis_room::io::set_nonblocking(&listener)?;
        self.poll
            .add(&listener, LISTENER, Interest::Read, Trigger::Level)?;
        self.operators.listener = Some(listener);
        Ok(())
    }

    /// One operator's connection, accepted by somebody else.
    pub fn operator(&mut self, connection: OwnedFd) -> io::Result<()> {
        portcullis_room::io::set_nonblocking(&connection)?;
        self.operators.take(connection, &self.poll)
    }

    /// A new pair of pipes to a neighbour, in place of the old one.
    pub fn link(&mut self, peer: Peer, epoch: u32, from: OwnedFd, to: OwnedFd) -> io::Result<()> {
        let mut link = Link::new(from, to)?;
        let hello = Hello {
            build: self.build.clone().into(),
            room: Peer::Signer.name().to_owned(),
            epoch,
        };
        // A greeting is a few bytes.
        let _ = wire::frame(link.out(), kind::HELLO, &hello);
        let (from, to) = match peer {
            Peer::Ingress => (FROM_INGRESS, TO_INGRESS),
            Peer::Egress => (FROM_EGRESS, TO_EGRESS),
            Peer::Signer => return Err(io::ErrorKind::InvalidInput.into()),
        };
        // What the old one still said counts.
        match peer {
            Peer::Ingress => self.ingress_gone(),
            _ => self.egress_gone().map_err(io::Error::other)?,
        }
        self.poll
            .add(link.from(), from, Interest::Read, Trigger::Level)?;
        self.poll
            .add(link.to(), to, Interest::Nothing, Trigger::Level)?;
        let neighbour = Some(Neighbour {
            link,
            epoch,
            greeted: false,
            knows_log: false,
            is_full: false,
            is_lost: false,
        });
        match peer {
            Peer::Ingress => self.ingress = neighbour,
            _ => {
                self.egress = neighbour;
                self.watches_egress = true;
            }
        }
        self.flush();
        Ok(())
    }

    /// Serves until it is stopped, or the log fails.
    pub fn run(mut self) -> Ended {
        // What came with the settings was read with them, and wakes nobody.
        let mut next = self.control_messages().map(|()| true);
        loop {
            match next {
                Ok(true) => next = self.turn(),
                Ok(false) => break,
                Err(error) => {
                    // Nothing of this turn leaves.
                    let text = serde_json::json!({
                        "room": "signer", "event": "log-failed", "alert": true, "why": error.to_string(),
                    });
                    (self.line)(&text.to_string());
                    self.stopped(Some(error.to_string()));
                    return Ended::Failed(error);
                }
            }
        }
        let Self { gate, .. } = &mut self;
        let closed = match std::mem::replace(gate, Gate::Closed) {
            Gate::Open(core) => core.close(),
            Gate::Sealed(_) | Gate::Closed => Ok(()),
        };
        self.stopped(closed.as_ref().err().map(ToString::to_string));
        match closed {
            Ok(()) if self.is_alone => Ended::Alone,
            Ok(()) => Ended::Stopped,
            Err(error) => Ended::Failed(error),
        }
    }

    fn stopped(&mut self, why: Option<String>) {
        if let Some(control) = &mut self.control {
            let stopped = FromRoom::Stopped {
                ok: why.is_none(),
                why,
            };
            // Who started it sees the end in any case.
            let _ = control.send(&stopped);
        }
    }

    /// One wait and one turn. `false`: it is over.
    fn turn(&mut self) -> Result<bool, CoreError> {
        let ready = self.wait().map_err(CoreError::Io)?;
        if ready.control {
            self.control_messages()?;
        }
        if ready.waker {
            self.waker.quiet();
        }
        if ready.listener {
            self.operators.accept(&self.poll);
        }
        let reading = (self.read_clocks)();
        while let Ok(opened) = self.opened.try_recv() {
            self.secrets(opened, reading)?;
        }
        // Outcomes are folded before anything else of this turn.
        let mut egress_is_there = true;
        if ready.egress || self.gate.under_way() > 0 {
            egress_is_there = self.take_outcomes(reading)?;
        }
        let mut ingress_is_there = true;
        let mut requests = 0;
        if ready.ingress {
            (ingress_is_there, requests) = self.take_requests();
        }
        let commands = self
            .operators
            .read(&ready.operators, &self.poll, &self.waker);
        // Again: what has just been folded happened before this, so the moment that a halt names lies behind it all.
        let reading = (self.read_clocks)();
        for (token, by, command) in commands {
            match &mut self.gate {
                Gate::Open(core) => {
                    core.command(token, &by, command, reading, &mut self.turn)?;
                }
                Gate::Sealed(sealed) => {
                    let answer = sealed.command(command);
                    self.operators.answer(token, &answer, &self.poll);
                }
                Gate::Closed => {}
            }
        }
        if !self.single.is_empty() {
            let cbor = std::mem::take(&mut self.single);
            if !self.decide(&cbor, reading)? {
                (self.line)(r#"{"room":"signer","event":"ingress-refused","alert":true}"#);
                ingress_is_there = false;
            }
            self.single = cbor;
            self.single.clear();
        }
        for _ in 0..REQUESTS_PER_TURN {
            let Some(cbor) = self.lanes.pop() else { break };
            // It was read once already, for its lane.
            self.decide(&cbor, reading)?;
        }
        let mut answers = Vec::new();
        if let Gate::Open(core) = &mut self.gate {
            core.tick(reading, &mut self.turn)?;
            core.finish(&mut self.turn, reading)?;
            answers = core.answers();
        }
        self.hand_over();
        if let Gate::Open(core) = &mut self.gate {
            core.keep_snapshot();
        }
        self.watch_egress(requests > 0);
        for (token, answer) in answers {
            self.operators.answer(token, &answer, &self.poll);
        }
        for text in self.gate.events() {
            (self.line)(&text);
        }
        let is_lost = |it: &Option<Neighbour>| it.as_ref().is_some_and(|it| it.is_lost);
        if !ingress_is_there || is_lost(&self.ingress) {
            self.ingress_gone();
        }
        if !egress_is_there || is_lost(&self.egress) {
            self.egress_gone()?;
        }
        Ok(!self.is_over())
    }

    fn wait(&mut self) -> io::Result<Ready> {
        // A helper's result may have come since it was looked for; then it is not waited for.
        let at_once = !self.lanes.is_empty() || self.operators.has_more() || self.gate.has_news();
        let deadline = match at_once {
            true => None,
            false => self.deadline(),
        };
        let events = match at_once {
            true => self.poll.look()?,
            false => self.poll.wait(deadline)?,
        };
        let mut ready = Ready::default();
        for event in events {
            match event.token {
                CONTROL => ready.control = true,
                WAKER => ready.waker = true,
                FROM_INGRESS => ready.ingress = true,
                TO_INGRESS => ready.to_ingress = true,
                FROM_EGRESS => ready.egress = true,
                TO_EGRESS => ready.to_egress = true,
                LISTENER => ready.listener = true,
                Token(number) => ready.operators.push(number),
            }
        }
        // A pipe that takes bytes again, or whose reader is gone: the write finds out.
        if ready.to_ingress || ready.to_egress {
            self.flush();
        }
        Ok(ready)
    }

    fn deadline(&self) -> Option<Monotonic> {
        let Gate::Open(core) = &self.gate else {
            return self.stops_at;
        };
        let mut wait = core.due_in();
        if core.under_way() > 0 && !self.watches_egress {
            wait = wait.min(OUTCOMES_WITHIN);
        }
        let deadline = Monotonic::now().after(wait);
        Some(self.stops_at.map_or(deadline, |at| at.min(deadline)))
    }

    fn is_over(&mut self) -> bool {
        if self.gate.is_stopping() && self.stops_at.is_none() {
            self.stops_at = Some(Monotonic::now().after(STOP_WITHIN));
        }
        let Some(until) = self.stops_at else {
            return false;
        };
        match &self.gate {
            Gate::Open(core) => {
                !core.is_waiting() && (core.under_way() == 0 || Monotonic::now() >= until)
            }
            Gate::Sealed(_) | Gate::Closed => true,
        }
    }

    fn stop(&mut self) {
        if let Gate::Open(core) = &mut self.gate {
            core.stop();
        }
        self.stops_at
            .get_or_insert_with(|| Monotonic::now().after(STOP_WITHIN));
    }

    /// `false`: egress is gone.
    fn take_outcomes(&mut self, reading: Reading) -> Result<bool, CoreError> {
        let Some(egress) = &mut self.egress else {
            return Ok(true);
        };
        let mut is_there = egress.link.receive().unwrap_or(false);
        loop {
            match egress.link.input.next() {
                Ok(Some((kind, cbor))) => {
                    let known = from_egress(
                        &mut self.gate,
                        &mut egress.greeted,
                        &self.build,
                        kind,
                        cbor,
                        reading,
                        &mut self.turn,
                    )?;
                    if !known {
                        (self.line)(r#"{"room":"signer","event":"egress-refused","alert":true}"#);
                        is_there = false;
                        break;
                    }
                }
                Ok(None) => break,
                Err(_) => {
                    is_there = false;
                    break;
                }
            }
        }
        Ok(is_there)
    }

    /// Takes every frame that has come, so that none waits for another to wake us. A request that comes alone needs no
    /// lane. Gives whether ingress is still there, and how many frames came.
    fn take_requests(&mut self) -> (bool, usize) {
        let Some(ingress) = &mut self.ingress else {
            return (true, 0);
        };
        let mut is_there = ingress.link.receive().unwrap_or(false);
        let mut frames = 0;
        self.single.clear();
        loop {
            let (kind, cbor) = match ingress.link.input.next() {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(_) => {
                    is_there = false;
                    break;
                }
            };
            frames += 1;
            if frames == 1 && kind == kind::REQUEST && ingress.greeted && self.lanes.is_empty() {
                self.single.extend_from_slice(cbor);
                continue;
            }
            let mut take = |kind, cbor: &[u8]| {
                from_ingress(
                    &mut self.gate,
                    ingress.epoch,
                    &mut ingress.greeted,
                    &self.build,
                    self.catalog,
                    kind,
                    cbor,
                    &mut self.lanes,
                )
            };
            let first = self.single.is_empty() || take(kind::REQUEST, &self.single);
            self.single.clear();
            if !first || !take(kind, cbor) {
                (self.line)(r#"{"room":"signer","event":"ingress-refused","alert":true}"#);
                is_there = false;
                break;
            }
        }
        (is_there, frames)
    }

    fn decide(&mut self, cbor: &[u8], reading: Reading) -> Result<bool, CoreError> {
        self.owed += 1;
        let Ok(request) = wire::message::<Request<'_>>(cbor) else {
            return Ok(false);
        };
        match &mut self.gate {
            Gate::Open(core) => core.request(&request, reading, &mut self.turn)?,
            Gate::Sealed(sealed) => sealed.request(&request, &mut self.turn),
            Gate::Closed => {}
        }
        Ok(true)
    }

    /// Ingress is gone, and with it whoever asked.
    fn ingress_gone(&mut self) {
        if self.ingress.take().is_some() {
            self.lanes.clear();
            self.owed = 0;
        }
    }

    fn egress_gone(&mut self) -> Result<(), CoreError> {
        if self.egress.is_none() {
            return Ok(());
        }
        // What it said before it went still counts.
        let reading = (self.read_clocks)();
        while let Some(egress) = &mut self.egress {
            let more = egress.link.receive().unwrap_or(false);
            let mut frames = 0;
            while let Ok(Some((kind, cbor))) = egress.link.input.next() {
                frames += 1;
                from_egress(
                    &mut self.gate,
                    &mut egress.greeted,
                    &self.build,
                    kind,
                    cbor,
                    reading,
                    &mut self.turn,
                )?;
            }
            if !more || frames == 0 {
                break;
            }
        }
        self.egress = None;
        self.watches_egress = false;
        if let Gate::Open(core) = &mut self.gate {
            core.egress_gone(&mut self.turn);
            self.hand_over();
        }
        Ok(())
    }

    /// Hands the turn's frames over, one write a neighbour. A neighbour that is not there gets nothing.
    fn hand_over(&mut self) {
        if let Gate::Open(core) = &self.gate {
            for it in [&mut self.egress, &mut self.ingress].into_iter().flatten() {
                if it.greeted && !it.knows_log {
                    it.knows_log = true;
                    // It is a few bytes, and comes before anything that it should not take from a log that went back.
                    let _ = wire::frame(it.link.out(), kind::LOG, &core.log_head());
                }
            }
        }
        match &mut self.egress {
            Some(egress) if egress.greeted => egress.link.out().append(&mut self.turn.to_egress),
            _ => self.turn.to_egress.clear(),
        }
        match &mut self.ingress {
            Some(ingress) if ingress.greeted => {
                // Credits alone are not worth waking it.
                if self.owed > 0
                    && (!self.turn.to_ingress.is_empty() || self.owed >= CREDITS_OWED_MAX)
                {
                    let credit = Credit {
                        lane: Lane::Order,
                        frames: std::mem::take(&mut self.owed),
                    };
                    // A credit is a few bytes.
                    let _ = wire::frame(&mut self.turn.to_ingress, kind::CREDIT, &credit);
                }
                ingress.link.out().append(&mut self.turn.to_ingress);
            }
            _ => self.turn.to_ingress.clear(),
        }
        self.flush();
    }

    /// One write a neighbour, if something waits for it.
    fn flush(&mut self) {
        for (neighbour, token) in [
            (&mut self.egress, TO_EGRESS),
            (&mut self.ingress, TO_INGRESS),
        ] {
            let Some(it) = neighbour else { continue };
            if it.is_lost {
                continue;
            }
            let is_full = match it.link.flush() {
                Ok(done) => !done,
                Err(_) => {
                    it.is_lost = true;
                    continue;
                }
            };
            if is_full != it.is_full {
                let interest = match is_full {
                    true => Interest::Write,
                    false => Interest::Nothing,
                };
                if self
                    .poll
                    .change(it.link.to(), token, interest, Trigger::Level)
                    .is_ok()
                {
                    it.is_full = is_full;
                }
            }
        }
    }

    /// Watches egress while somebody waits for it, or nothing else will make a turn soon.
    fn watch_egress(&mut self, requests_came: bool) {
        let Some(egress) = &self.egress else { return };
        let watch = !egress.greeted
            || self.gate.is_halting()
            || self.stops_at.is_some()
            || self.gate.has_streams()
            || (self.gate.under_way() > 0 && !requests_came);
        if watch != self.watches_egress {
            let interest = match watch {
                true => Interest::Read,
                false => Interest::Nothing,
            };
            if self
                .poll
                .change(egress.link.from(), FROM_EGRESS, interest, Trigger::Level)
                .is_ok()
            {
                self.watches_egress = watch;
            }
        }
    }

    fn control_messages(&mut self) -> Result<(), CoreError> {
        loop {
            let Some(control) = &mut self.control else {
                return Ok(());
            };
            match control.receive() {
                Ok(Received::Message(message, fds)) => self.told(message, fds)?,
                Ok(Received::NotNow) => return Ok(()),
                Ok(Received::Closed) => {
                    self.alone(None);
                    return Ok(());
                }
                Err(error) => {
                    self.alone(Some(error));
                    return Ok(());
                }
            }
        }
    }

    /// Whoever started this is gone: nobody would restart a neighbour, or stop us.
    fn alone(&mut self, why: Option<ControlError>) {
        if let Some(why) = why {
            let text = serde_json::json!({
                "room": "signer", "event": "control-failed", "alert": true, "why": why.to_string(),
            });
            (self.line)(&text.to_string());
        }
        self.control = None;
        self.is_alone = true;
        self.stop();
    }

    fn told(&mut self, message: ToRoom, mut fds: Descriptors) -> Result<(), CoreError> {
        match message {
            ToRoom::Link { peer, epoch } => {
                if let (Some(from), Some(to)) = (fds.take("from"), fds.take("to")) {
                    self.link(peer, epoch, from, to).map_err(CoreError::Io)?;
                }
            }
            ToRoom::Secrets => {
                if let Some(pipe) = fds.take("secrets") {
                    self.read_secrets(pipe);
                }
            }
            ToRoom::Metrics { token } => {
                let text = self.gate.metrics_text();
                if let Some(control) = &mut self.control {
                    let _ = control.send(&FromRoom::Metrics { token, text });
                }
            }
            ToRoom::Sandbox { room, report } => self.gate.sandbox(room, report)?,
            ToRoom::Stop => self.stop(),
            ToRoom::Start { .. } | ToRoom::Addresses { .. } => {}
        }
        Ok(())
    }

    /// Reads the pipe beside the loop: a passphrase takes seconds to open a seal.
    fn read_secrets(&mut self, pipe: OwnedFd) {
        let (tell, waker) = (self.tell_opened.clone(), self.waker.clone());
        let started = std::thread::Builder::new()
            .name("secrets".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || {
                let _ = tell.send(secrets::read(&mut File::from(pipe)));
                waker.wake();
            });
        if let Err(why) = started {
            let _ = self.tell_opened.send(Err(SecretsError::Io(why)));
            self.waker.wake();
        }
    }

    fn secrets(
        &mut self,
        opened: Result<Vec<Secret>, SecretsError>,
        reading: Reading,
    ) -> Result<(), CoreError> {
        match opened {
            Ok(secrets) => {
                let gate = std::mem::replace(&mut self.gate, Gate::Closed);
                let was_sealed = matches!(gate, Gate::Sealed(_));
                self.gate = gate.secrets(secrets, reading)?;
                if let (true, Gate::Open(core)) = (was_sealed, &mut self.gate) {
                    if let Some(ingress) = self.ingress.as_ref().filter(|it| it.greeted) {
                        core.ingress_started(ingress.epoch);
                    }
                    match &self.egress {
                        Some(egress) if egress.greeted => core.egress_started(&mut self.turn),
                        _ => core.egress_awaited(&mut self.turn),
                    }
                }
            }
            Err(why) => {
                let text = serde_json::json!({
                    "room": "signer", "event": "secrets-refused", "alert": true, "why": why.to_string(),
                });
                (self.line)(&text.to_string());
            }
        }
        Ok(())
    }
}

/// `false`: what came is no frame of ingress.
#[expect(
    clippy::too_many_arguments,
    reason = "parts of one loop, borrowed apart"
)]
fn from_ingress(
    gate: &mut Gate,
    epoch: u32,
    greeted: &mut bool,
    build: &[u8],
    catalog: &Catalog,
    kind: u8,
    cbor: &[u8],
    lanes: &mut Lanes,
) -> bool {
    match (kind, *greeted) {
        (kind::HELLO, false) => match wire::message::<Hello>(cbor) {
            Ok(hello)
                if hello.build.as_slice() == build
                    && hello.room == "ingress"
                    && hello.epoch == epoch =>
            {
                if let Gate::Open(core) = gate {
                    core.ingress_started(hello.epoch);
                }
                *greeted = true;
                true
            }
            _ => false,
        },
        (kind::REQUEST, true) => match wire::message::<Request<'_>>(cbor) {
            Ok(request) => lanes.push(catalog, &request, cbor),
            Err(_) => false,
        },
        (kind::GONE, true) => match (wire::message::<Gone>(cbor), gate) {
            (Ok(gone), Gate::Open(core)) => {
                core.connection_gone(gone.connection);
                true
            }
            (gone, _) => gone.is_ok(),
        },
        (kind::CREDIT, true) => true,
        _ => false,
    }
}

/// `false`: what came is no frame of egress.
fn from_egress(
    gate: &mut Gate,
    greeted: &mut bool,
    build: &[u8],
    kind: u8,
    cbor: &[u8],
    reading: Reading,
    turn: &mut Turn,
) -> Result<bool, CoreError> {
    match (kind, *greeted) {
        (kind::HELLO, false) => match wire::message::<Hello>(cbor) {
            Ok(hello) if hello.build.as_slice() == build && hello.room == "egress" => {
                *greeted = true;
                if let Gate::Open(core) = gate {
                    core.egress_started(turn);
                }
                Ok(true)
            }
            _ => Ok(false),
        },
        (kind::OUTCOME, true) => match (wire::message::<Outcome>(cbor), gate) {
            // What no honest egress hands on would make entries that no log takes, and figures that no fold adds.
            (Ok(outcome), _) if !outcome.reports.iter().all(Report::is_plausible) => Ok(false),
            (Ok(outcome), Gate::Open(core)) => core.outcome(&outcome, reading).map(|()| true),
            (Ok(_), _) => Ok(true),
            (Err(_), _) => Ok(false),
        },
        (kind::TOLD, true) => match (wire::message::<Told>(cbor), gate) {
            (Ok(told), _) if !told.reports.iter().all(Report::is_plausible) => Ok(false),
            (Ok(told), Gate::Open(core)) => core.told(&told, reading).map(|()| true),
            (Ok(_), _) => Ok(true),
            (Err(_), _) => Ok(false),
        },
        (kind::DISCARDED, true) => match (wire::message::<Discarded>(cbor), gate) {
            (Ok(discarded), Gate::Open(core)) => {
                core.discarded(&discarded);
                Ok(true)
            }
            (Ok(_), _) => Ok(true),
            (Err(_), _) => Ok(false),
        },
        (kind::VENUE, true) => match (wire::message::<Venue>(cbor), gate) {
            (Ok(venue), Gate::Open(core)) => {
                core.venue(venue);
                Ok(true)
            }
            (Ok(_), _) => Ok(true),
            (Err(_), _) => Ok(false),
        },
        (kind::CREDIT, true) => Ok(true),
        _ => Ok(false),
    }
}

/// A refusal in the shape of an answer.
pub(crate) fn refused(code: &str, message: &str, hint: Option<&str>) -> Answer {
    Answer::Refused {
        code: code.to_owned(),
        message: message.to_owned(),
        hint: hint.map(str::to_owned),
    }
}
