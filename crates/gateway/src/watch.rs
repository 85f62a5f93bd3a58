//! What the poll watches a socket for follows from the connection's state; it is told only when that changes.

use portcullis_room::poll::{Interest, Poll, Token, Trigger};
use std::io;
use std::net::TcpStream;

/// A socket that is to be watched for something else than before.
#[derive(Debug)]
pub struct Change<'a> {
    pub socket: &'a TcpStream,
    /// Absent: it is new.
    pub before: Option<Interest>,
    pub now: Interest,
}

impl<'a> Change<'a> {
    /// `before` becomes what is wanted now. `None`: that is what it was.
    pub(crate) fn of(
        socket: &'a TcpStream,
        before: &mut Option<Interest>,
        reads: bool,
        writes: bool,
    ) -> Option<Self> {
        let now = match (reads, writes) {
            (true, true) => Interest::ReadWrite,
            (true, false) => Interest::Read,
            (false, true) => Interest::Write,
            (false, false) => Interest::Nothing,
        };
        let before = before.replace(now);
        (before != Some(now)).then_some(Self {
            socket,
            before,
            now,
        })
    }

    pub fn apply(&self, poll: &Poll, key: u64) -> io::Result<()> {
        // A hang-up of a socket that is not read from now wakes once, not until somebody reads.
        let trigger = match self.now {
            Interest::Nothing => Trigger::Edge,
            _ => Trigger::Level,
        };
        match self.before {
            None => poll.add(self.socket, Token(key), self.now, trigger),
            Some(_) => poll.change(self.socket, Token(key), self.now, trigger),
        }
    }
}
