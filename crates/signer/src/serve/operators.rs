//! Operators' connections: one command at a time each, in frames `u32 big-endian length | JSON`, both ways. Who somebody is
//! the kernel says (the peer's user), and who may command stands in the settings.

use super::{LISTENER, OPERATORS, STACK_BYTES, refused};
use portcullis_model::command::{Answer, COMMAND_BYTES_MAX, Command};
use portcullis_room::control::OperatorSettings;
use portcullis_room::io::{Flow, accept, peer, read, set_nonblocking, write};
use portcullis_room::poll::{Interest, Poll, Token, Trigger, Waker};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::mpsc::{Receiver, Sender, channel};

/// Connections at once; the next one is told so and closed.
const CONNECTIONS_MAX: usize = 32;
/// A command longer than this (a release) is read beside the loop.
const COMMAND_BYTES_QUICK: usize = 64 << 10;
const READ_BYTES: usize = 64 << 10;
const HEAD_BYTES: usize = 4;

/// A command that is to be obeyed: its number, who gives it, and what it is.
pub(super) type Asked = (u64, String, Command);

struct Connection {
    fd: OwnedFd,
    by: String,
    input: Vec<u8>,
    output: Vec<u8>,
    /// A command of it is under way: the next one waits in the kernel.
    is_asking: bool,
    /// It gets what is in `output`, and ends.
    is_ending: bool,
}

type Parsed = (u64, Result<Command, String>);

/// All connections.
pub(super) struct Operators {
    pub(super) may: Vec<OperatorSettings>,
    pub(super) listener: Option<OwnedFd>,
    connections: BTreeMap<u64, Connection>,
    /// Connections whose next command has been read already, behind one that was under way.
    behind: Vec<u64>,
    next: u64,
    parsed: Receiver<Parsed>,
    tell_parsed: Sender<Parsed>,
}

impl Operators {
    pub(super) fn new() -> Self {
        let (tell_parsed, parsed) = channel();
        Self {
            may: Vec::new(),
            listener: None,
            connections: BTreeMap::new(),
            behind: Vec::new(),
            next: OPERATORS,
            parsed,
            tell_parsed,
        }
    }

    /// Takes whoever waits at the operator socket.
    pub(super) fn accept(&mut self, poll: &Poll) {
        loop {
            let Some(listener) = &self.listener else {
                return;
            };
            match accept(listener) {
                Ok(Some(connection)) => {
                    // A connection that cannot be watched is closed.
                    let _ = self.take(connection.fd, poll);
                }
                Ok(None) => return,
                Err(_) => {
                    // Out of descriptors: whoever waits is taken when a connection ends.
                    let _ = poll.change(listener, LISTENER, Interest::Nothing, Trigger::Level);
                    return;
                }
            }
        }
    }

    /// Takes a connection, if its user may command.
    pub(super) fn take(&mut self, fd: OwnedFd, poll: &Poll) -> io::Result<()> {
        set_nonblocking(&fd)?;
        let uid = peer(&fd)?.uid;
        let known = self.may.iter().find(|one| Some(one.uid) == uid);
        let (by, refusal) = match known {
            Some(_) if self.connections.len() >= CONNECTIONS_MAX => (
                String::new(),
                Some(refused("busy", "too many operators are connected", None)),
            ),
            Some(one) => (one.name.clone(), None),
            None => {
                let who = uid.map_or("a user without a name here".to_owned(), |uid| {
                    format!("user {uid}")
                });
                (
                    String::new(),
                    Some(refused(
                        "not-an-operator",
                        &format!("{who} is no operator of this site"),
                        Some("`[[operator]]` in site.toml names them"),
                    )),
                )
            }
        };
        let mut connection = Connection {
            fd,
            by,
            input: Vec::new(),
            output: Vec::new(),
            is_asking: false,
            is_ending: false,
        };
        if let Some(refusal) = refusal {
            push(&mut connection.output, &refusal);
            // It fits the socket's buffer, or the stranger reads nothing.
            let _ = write(&connection.fd, &connection.output);
            return Ok(());
        }
        let token = self.next;
        self.next += 1;
        poll.add(&connection.fd, Token(token), Interest::Read, Trigger::Level)?;
        self.connections.insert(token, connection);
        Ok(())
    }

    /// A command waits here that nothing will wake the loop for.
    pub(super) fn has_more(&self) -> bool {
        !self.behind.is_empty()
    }

    /// What operators said, as far as it is whole.
    pub(super) fn read(&mut self, ready: &[u64], poll: &Poll, waker: &Waker) -> Vec<Asked> {
        let mut asked = Vec::new();
        while let Ok((token, command)) = self.parsed.try_recv() {
            self.parsed_one(token, command, &mut asked, poll);
        }
        for token in std::mem::take(&mut self.behind).iter().chain(ready) {
            let Some(connection) = self.connections.get_mut(token) else {
                continue;
            };
            let mut is_there = flush(connection);
            if !connection.is_asking && !connection.is_ending {
                is_there &= receive(connection);
            }
            if !is_there || (connection.is_ending && connection.output.is_empty()) {
                self.close(*token, poll);
                continue;
            }
            self.next_command(*token, &mut asked, poll, waker);
            self.watch(*token, poll);
        }
        asked
    }

    fn next_command(&mut self, token: u64, asked: &mut Vec<Asked>, poll: &Poll, waker: &Waker) {
        let Some(connection) = self.connections.get_mut(&token) else {
            return;
        };
        if connection.is_asking || connection.is_ending {
            return;
        }
        let Some((head, rest)) = connection.input.split_first_chunk::<HEAD_BYTES>() else {
            return;
        };
        let length = usize::try_from(u32::from_be_bytes(*head)).unwrap_or(usize::MAX);
        if length > COMMAND_BYTES_MAX {
            let answer = refused(
                "malformed",
                &format!("a command has at most {COMMAND_BYTES_MAX} bytes"),
                None,
            );
            push(&mut connection.output, &answer);
            connection.is_ending = true;
            flush(connection);
            return;
        }
        let Some(json) = rest.get(..length) else {
            return;
        };
        connection.is_asking = true;
        if length <= COMMAND_BYTES_QUICK {
            let command = parse(json);
            connection.input.drain(..HEAD_BYTES + length);
            self.parsed_one(token, command, asked, poll);
            return;
        }
        let json = json.to_vec();
        connection.input.drain(..HEAD_BYTES + length);
        let (tell, waker) = (self.tell_parsed.clone(), waker.clone());
        let started = std::thread::Builder::new()
            .name("command".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || {
                let _ = tell.send((token, parse(&json)));
                waker.wake();
            });
        if let Err(why) = started {
            self.parsed_one(token, Err(why.to_string()), asked, poll);
        }
    }

    fn parsed_one(
        &mut self,
        token: u64,
        command: Result<Command, String>,
        asked: &mut Vec<Asked>,
        poll: &Poll,
    ) {
        let Some(connection) = self.connections.get(&token) else {
            return;
        };
        match command {
            Ok(command) => asked.push((token, connection.by.clone(), command)),
            Err(why) => {
                let answer = refused(
                    "malformed",
                    &format!("that is no command: {why}"),
                    Some("docs/spec/commands.md has them"),
                );
                self.answer(token, &answer, poll);
            }
        }
    }

    /// Answers the command under way. Whoever has gone gets nothing.
    pub(super) fn answer(&mut self, token: u64, answer: &Answer, poll: &Poll) {
        let Some(connection) = self.connections.get_mut(&token) else {
            return;
        };
        connection.is_asking = false;
        push(&mut connection.output, answer);
        if !connection.input.is_empty() {
            self.behind.push(token);
        }
        match flush(connection) {
            true => self.watch(token, poll),
            false => self.close(token, poll),
        }
    }

    fn watch(&self, token: u64, poll: &Poll) {
        let Some(connection) = self.connections.get(&token) else {
            return;
        };
        let interest = match (connection.is_asking, connection.output.is_empty()) {
            (true, true) => Interest::Nothing,
            (false, true) => Interest::Read,
            (true, false) => Interest::Write,
            (false, false) => Interest::ReadWrite,
        };
        // What is not watched is closed by its own end, or by ours.
        let _ = poll.change(&connection.fd, Token(token), interest, Trigger::Level);
    }

    fn close(&mut self, token: u64, poll: &Poll) {
        self.connections.remove(&token);
        if let Some(listener) = &self.listener {
            let _ = poll.change(listener, LISTENER, Interest::Read, Trigger::Level);
        }
    }
}

fn parse(json: &[u8]) -> Result<Command, String> {
    serde_json::from_slice(json).map_err(|why| why.to_string())
}

fn push(output: &mut Vec<u8>, answer: &Answer) {
    let json = serde_json::to_vec(answer).unwrap_or_default();
    let length = u32::try_from(json.len()).unwrap_or(0);
    output.extend_from_slice(&length.to_be_bytes());
    output.extend_from_slice(&json);
}

/// `false`: it is gone.
fn flush(connection: &mut Connection) -> bool {
    while !connection.output.is_empty() {
        match write(&connection.fd, &connection.output) {
            Ok(Flow::Moved(count)) => drop(connection.output.drain(..count)),
            Ok(Flow::NotNow) => return true,
            Ok(Flow::Closed) | Err(_) => return false,
        }
    }
    true
}

/// Reads a part; the rest comes with the next turn. `false`: it is gone.
fn receive(connection: &mut Connection) -> bool {
    let have = connection.input.len();
    connection.input.resize(have + READ_BYTES, 0);
    let space = connection.input.get_mut(have..).unwrap_or_default();
    let flow = read(&connection.fd, space);
    let count = match flow {
        Ok(Flow::Moved(count)) => count,
        _ => 0,
    };
    connection.input.truncate(have + count);
    matches!(flow, Ok(Flow::Moved(_) | Flow::NotNow))
}
