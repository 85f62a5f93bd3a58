//! The loop around [`Core`]: bytes in, a turn, bytes out. One thread decides and never waits for a neighbour: a thread for
//! each direction of each pipe does. Order of a turn: operators, outcomes, then requests by lane; everything is written
//! down in one call before a byte of the turn leaves; one write a neighbour.
//!
//! What waits is bounded: ingress and egress by their credits, which come back as each request ends; a neighbour that
//! sends more, or what is no frame, is cut off. A log that fails ends the loop, and with it the program: a new start
//! verifies from disk.
//!
//! Absent: opening anything. Pipes and the operators' channel are handed in.

use crate::clock::Reading;
use crate::core::{Core, CoreError, Turn};
use crate::lanes::Lanes;
use portcullis_model::command::{Answer, Command};
use portcullis_model::wire::{
    self, Credit, Discarded, FRAME_BYTES_MAX, Hello, Lane, Outcome, Request, kind,
};
use portcullis_venues::binance::Binance;
use std::collections::HashMap;
use std::io::{Read, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::thread;
use std::time::Duration;

/// Requests decided in one turn, at most: so many entries go out with one write.
pub const REQUESTS_PER_TURN: usize = 64;
/// Frames taken in before a turn is decided, at most.
const INPUTS_PER_TURN: usize = 512;
/// Frames that wait between a pipe's thread and the loop; beyond it the pipe fills, and its writer has no credit.
const INPUTS_MAX: usize = 1_024;
/// The loop looks at its clock at least this often.
const TICK: Duration = Duration::from_millis(50);
/// And this often while something is being signed, synced or compiled beside it.
const TICK_WAITING: Duration = Duration::from_micros(500);

/// A command with whom it comes from and where its answer goes.
pub struct Operator {
    /// Who, as the socket's peer credentials say.
    pub by: String,
    pub command: Command,
    pub answer: Sender<Answer>,
}

/// What reaches the loop.
enum Input {
    Ingress(u8, Vec<u8>),
    Egress(u8, Vec<u8>),
    IngressGone,
    EgressGone,
    Operator(Operator),
}

/// Ends of the pipes.
pub struct Pipes<R, W> {
    pub from_ingress: R,
    pub to_ingress: W,
    pub from_egress: R,
    pub to_egress: W,
}

/// Why the loop ended.
#[derive(Debug)]
pub enum Ended {
    /// An operator stopped it; all is written, synced and under a checkpoint.
    Stopped,
    /// Both neighbours and all operators are gone.
    Alone,
    Failed(CoreError),
}

/// Serves until it is stopped, or the log fails. `read_clocks` gives both clocks; `line` takes structured lines.
pub fn serve<R, W>(
    mut core: Core,
    venue: &'static Binance,
    pipes: Pipes<R, W>,
    operators: Receiver<Operator>,
    build: &[u8],
    mut read_clocks: impl FnMut() -> Reading,
    mut line: impl FnMut(&str),
) -> Ended
where
    R: Read + Send + 'static,
    W: Write + Send + 'static,
{
    let (tell, inputs) = sync_channel(INPUTS_MAX);
    let ingress = tell.clone();
    thread::spawn(move || {
        frames(pipes.from_ingress, |kind, cbor| {
            ingress.send(Input::Ingress(kind, cbor)).is_ok()
        });
        let _ = ingress.send(Input::IngressGone);
    });
    let egress = tell.clone();
    thread::spawn(move || {
        frames(pipes.from_egress, |kind, cbor| {
            egress.send(Input::Egress(kind, cbor)).is_ok()
        });
        let _ = egress.send(Input::EgressGone);
    });
    forward(operators, tell);
    let to_ingress = writer(pipes.to_ingress);
    let to_egress = writer(pipes.to_egress);

    let mut lanes = Lanes::default();
    let mut asking: HashMap<u64, Sender<Answer>> = HashMap::new();
    let mut tokens = 0u64;
    let mut greeted = Greeted::default();
    let ended = loop {
        let patience = match (lanes.is_empty(), core.is_waiting()) {
            (false, _) => Duration::ZERO,
            (true, true) => TICK_WAITING,
            (true, false) => TICK,
        };
        let first = match inputs.recv_timeout(patience) {
            Ok(input) => Some(input),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => break Ended::Alone,
        };
        let reading = read_clocks();
        let mut turn = Turn::default();
        let mut commands = Vec::new();
        let mut rest = inputs.try_iter().take(INPUTS_PER_TURN);
        let mut next = first;
        while let Some(input) = next {
            let taken = match input {
                Input::Operator(operator) => {
                    commands.push(operator);
                    Ok(())
                }
                // Outcomes are folded at once, before any request of this turn.
                Input::Egress(kind, cbor) => from_egress(
                    &mut core,
                    &mut greeted,
                    build,
                    kind,
                    &cbor,
                    reading,
                    &mut turn,
                ),
                Input::Ingress(kind, cbor) => {
                    let taken = from_ingress(
                        &mut core,
                        &mut greeted,
                        build,
                        venue,
                        kind,
                        &cbor,
                        &mut lanes,
                    );
                    if !taken {
                        line(r#"{"room":"signer","event":"ingress-refused","alert":true}"#);
                        greeted.ingress = false;
                        lanes.clear();
                    }
                    Ok(())
                }
                Input::IngressGone => {
                    greeted.ingress = false;
                    lanes.clear();
                    Ok(())
                }
                Input::EgressGone => {
                    greeted.egress = false;
                    core.egress_gone();
                    Ok(())
                }
            };
            if let Err(error) = taken {
                return fail(error, &mut line);
            }
            next = rest.next();
        }
        // Again: what has just been folded happened before this, so the moment that a halt names lies behind it all.
        let reading = read_clocks();
        let worked = (|| -> Result<(), CoreError> {
            for operator in commands {
                tokens += 1;
                asking.insert(tokens, operator.answer);
                core.command(tokens, &operator.by, operator.command, reading, &mut turn)?;
            }
            for _ in 0..REQUESTS_PER_TURN {
                let Some(cbor) = lanes.pop() else { break };
                if let Ok(request) = wire::message::<Request<'_>>(&cbor) {
                    core.request(&request, reading, &mut turn)?;
                }
                let credit = Credit {
                    lane: Lane::Order,
                    frames: 1,
                };
                // A credit is a few bytes.
                let _ = wire::frame(&mut turn.to_ingress, kind::CREDIT, &credit);
            }
            core.tick(reading, &mut turn)?;
            core.finish(&mut turn, reading)
        })();
        if let Err(error) = worked {
            // Nothing of this turn leaves.
            return fail(error, &mut line);
        }
        // A neighbour that is not there, or no longer, gets nothing.
        if greeted.ingress && !turn.to_ingress.is_empty() {
            let _ = to_ingress.send(std::mem::take(&mut turn.to_ingress));
        }
        if greeted.egress && !turn.to_egress.is_empty() {
            let _ = to_egress.send(std::mem::take(&mut turn.to_egress));
        }
        for (token, answer) in core.answers() {
            if let Some(operator) = asking.remove(&token) {
                let _ = operator.send(answer);
            }
        }
        for text in core.events.take() {
            line(&text);
        }
        if core.is_stopping() && !core.is_waiting() {
            break Ended::Stopped;
        }
    };
    match (core.close(), ended) {
        (Ok(()), ended) => ended,
        (Err(error), _) => fail(error, &mut line),
    }
}

fn fail(error: CoreError, line: &mut impl FnMut(&str)) -> Ended {
    let text = serde_json::json!({
        "room": "signer", "event": "log-failed", "alert": true, "why": error.to_string(),
    });
    line(&text.to_string());
    Ended::Failed(error)
}

/// Which neighbours have said who they are.
#[derive(Default)]
struct Greeted {
    ingress: bool,
    egress: bool,
}

/// `false`: what came is no frame of ingress.
fn from_ingress(
    core: &mut Core,
    greeted: &mut Greeted,
    build: &[u8],
    venue: &Binance,
    kind: u8,
    cbor: &[u8],
    lanes: &mut Lanes,
) -> bool {
    match (kind, greeted.ingress) {
        (kind::HELLO, false) => match wire::message::<Hello>(cbor) {
            Ok(hello) if hello.build.as_slice() == build && hello.room == "ingress" => {
                core.ingress_started(hello.epoch);
                greeted.ingress = true;
                true
            }
            _ => false,
        },
        (kind::REQUEST, true) => match wire::message::<Request<'_>>(cbor) {
            Ok(request) => lanes.push(venue, &request, cbor),
            Err(_) => false,
        },
        // Nothing is kept for a program that is gone; its answer is dropped by ingress.
        (kind::GONE | kind::CREDIT, true) => true,
        _ => false,
    }
}

fn from_egress(
    core: &mut Core,
    greeted: &mut Greeted,
    build: &[u8],
    kind: u8,
    cbor: &[u8],
    reading: Reading,
    turn: &mut Turn,
) -> Result<(), CoreError> {
    match (kind, greeted.egress) {
        (kind::HELLO, false) => {
            let hello = wire::message::<Hello>(cbor);
            if hello.is_ok_and(|hello| hello.build.as_slice() == build && hello.room == "egress") {
                greeted.egress = true;
                core.egress_started(turn);
            }
            Ok(())
        }
        (kind::OUTCOME, true) => match wire::message::<Outcome>(cbor) {
            Ok(outcome) => core.outcome(&outcome, reading),
            Err(_) => Ok(()),
        },
        (kind::DISCARDED, true) => {
            if let Ok(discarded) = wire::message::<Discarded>(cbor) {
                core.discarded(&discarded);
            }
            Ok(())
        }
        // What egress knows of a host is shown by its own metrics.
        _ => Ok(()),
    }
}

/// Reads frames until the pipe ends or something is no frame.
fn frames(mut from: impl Read, mut take: impl FnMut(u8, Vec<u8>) -> bool) {
    loop {
        let mut head = [0; 5];
        if from.read_exact(&mut head).is_err() {
            return;
        }
        let [a, b, c, d, kind] = head;
        let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
        if length == 0 || length > FRAME_BYTES_MAX {
            return;
        }
        let mut cbor = vec![0; length - 1];
        if from.read_exact(&mut cbor).is_err() || !take(kind, cbor) {
            return;
        }
    }
}

/// A thread that writes what the loop hands it, one write a turn, so that the loop never waits.
fn writer(mut to: impl Write + Send + 'static) -> Sender<Vec<u8>> {
    let (tell, todo) = channel::<Vec<u8>>();
    thread::spawn(move || {
        while let Ok(bytes) = todo.recv() {
            if to.write_all(&bytes).and_then(|()| to.flush()).is_err() {
                return;
            }
        }
    });
    tell
}

fn forward(operators: Receiver<Operator>, tell: SyncSender<Input>) {
    thread::spawn(move || {
        while let Ok(operator) = operators.recv() {
            if tell.send(Input::Operator(operator)).is_err() {
                return;
            }
        }
    });
}
