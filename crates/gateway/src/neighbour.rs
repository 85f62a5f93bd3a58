//! One neighbour of a room, link after link: it greets, checks the other's greeting, and hands on what comes. A neighbour
//! that sends what it should not is dropped, and stays dropped until `up` brings a new link: it is not the room that
//! it should be.

use minicbor::bytes::ByteVec;
use portcullis_model::wire::{self, Hello, Log, kind};
use portcullis_room::BUILD_ID;
use portcullis_room::control::Peer;
use portcullis_room::link::Link;
use portcullis_room::poll::{Interest, Poll, Token, Trigger};
use std::io;
use std::os::fd::OwnedFd;

/// The other end of a link.
pub(crate) struct Neighbour {
    pub peer: Peer,
    /// Tokens of the end that is read, and of the end that is written.
    from: Token,
    to: Token,
    link: Option<Link>,
    greeted: bool,
    writes: bool,
    /// It reads no more; what it said before is still to be read.
    deaf: bool,
    /// How far the signer's log was, over all its links.
    log: Option<Log>,
}

/// What came of a look at the link.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum State {
    There,
    /// It has ended.
    Gone,
    /// It sent what this neighbour does not send, or does not read; the link is dropped.
    Refused(String),
}

impl Neighbour {
    pub fn new(peer: Peer, from: Token, to: Token) -> Self {
        Self {
            peer,
            from,
            to,
            link: None,
            greeted: false,
            writes: false,
            deaf: false,
            log: None,
        }
    }

    /// A new pair of pipes in place of the old one; the greeting is the first that goes out.
    pub fn replace(
        &mut self,
        poll: &Poll,
        (from, to): (OwnedFd, OwnedFd),
        me: Peer,
        epoch: u32,
    ) -> io::Result<()> {
        self.drop_link();
        let mut link = Link::new(from, to)?;
        poll.add(link.from(), self.from, Interest::Read, Trigger::Level)?;
        poll.add(link.to(), self.to, Interest::Nothing, Trigger::Edge)?;
        let hello = Hello {
            build: ByteVec::from(BUILD_ID.as_bytes().to_vec()),
            room: me.name().to_owned(),
            epoch,
        };
        wire::frame(link.out(), kind::HELLO, &hello).map_err(io::Error::other)?;
        self.link = Some(link);
        self.greeted = false;
        self.writes = false;
        self.deaf = false;
        Ok(())
    }

    pub fn drop_link(&mut self) {
        self.link = None;
        self.greeted = false;
    }

    pub fn is_there(&self) -> bool {
        self.link.is_some()
    }

    /// Bytes that the link has not taken yet.
    pub fn waiting(&self) -> usize {
        self.link
            .as_ref()
            .filter(|_| !self.deaf)
            .map_or(0, |link| link.output.waiting())
    }

    /// Reads, and gives each frame to `each`, which says whether it is one of this neighbour. `to_the_end`: what a neighbour
    /// sent before it ended still counts.
    pub fn receive(&mut self, to_the_end: bool, mut each: impl FnMut(u8, &[u8]) -> bool) -> State {
        let Some(link) = &mut self.link else {
            return State::There;
        };
        let there = match link.receive() {
            Ok(there) => there,
            Err(error) => return self.refuse(error.to_string()),
        };
        loop {
            match link.input.next() {
                Ok(_) if !there && !to_the_end => break,
                Ok(None) => break,
                Ok(Some((kind, cbor))) => {
                    if kind == kind::LOG && self.greeted && self.peer == Peer::Signer {
                        match goes_on(self.log.as_ref(), cbor) {
                            Ok(log) => self.log = Some(log),
                            Err(why) => return self.refuse(why),
                        }
                        continue;
                    }
                    let fits = match (kind, self.greeted) {
                        (kind::HELLO, false) => {
                            self.greeted = is_greeting(cbor, self.peer);
                            // Hello is handed on: from here on this neighbour takes frames.
                            self.greeted && each(kind, cbor)
                        }
                        (_, true) => each(kind, cbor),
                        (_, false) => false,
                    };
                    if !fits {
                        let why = format!(
                            "a frame of kind {kind} that {} of this build does not send{}",
                            self.peer,
                            if self.greeted { "" } else { " first" }
                        );
                        return self.refuse(why);
                    }
                }
                Err(bad) => return self.refuse(bad.to_string()),
            }
        }
        if there {
            return State::There;
        }
        self.drop_link();
        State::Gone
    }

    fn refuse(&mut self, why: String) -> State {
        self.drop_link();
        State::Refused(why)
    }

    /// Takes the turn's frames; without a link they are dropped.
    pub fn put(&mut self, frames: &mut Vec<u8>) {
        if let Some(link) = self.link.as_mut().filter(|_| !self.deaf) {
            let out = link.out();
            if out.is_empty() {
                std::mem::swap(out, frames);
            } else {
                out.extend_from_slice(frames);
            }
        }
        frames.clear();
    }

    /// One write, and the poll is told if something is left.
    pub fn flush(&mut self, poll: &Poll) -> State {
        let Some(link) = self.link.as_mut().filter(|_| !self.deaf) else {
            return State::There;
        };
        let all_out = match link.flush() {
            Ok(all_out) => all_out,
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                // The end of its own pipe says when it is gone.
                self.deaf = true;
                true
            }
            Err(error) => return self.refuse(error.to_string()),
        };
        if self.writes == all_out {
            let (interest, trigger) = match all_out {
                true => (Interest::Nothing, Trigger::Edge),
                false => (Interest::Write, Trigger::Level),
            };
            if let Err(error) = poll.change(link.to(), self.to, interest, trigger) {
                return self.refuse(error.to_string());
            }
            self.writes = !all_out;
        }
        State::There
    }
}

/// Queues a message. Each one's parts are bounded well below a frame; a head of 32 KiB with a chunk of 32 KiB is the longest.
pub(crate) fn put<T: minicbor::Encode<()>>(out: &mut Vec<u8>, kind: u8, message: &T) {
    if wire::frame(out, kind, message).is_err() {
        debug_assert!(false, "a message of kind {kind} is longer than a frame");
    }
}

/// The signer's log, if it did not go back.
fn goes_on(before: Option<&Log>, cbor: &[u8]) -> Result<Log, String> {
    let log = wire::message::<Log>(cbor).map_err(|error| error.to_string())?;
    match before.filter(|before| !log.goes_on_from(before)) {
        None => Ok(log),
        Some(before) => Err(format!(
            "its log went back from {} entries to {}: an older or another copy was put in its place; restore the newest \
             one, or restart everything if that is what you want",
            before.size, log.size
        )),
    }
}

/// The same build at the other end, and the room that it should be.
fn is_greeting(cbor: &[u8], peer: Peer) -> bool {
    wire::message::<Hello>(cbor).is_ok_and(|hello| {
        hello.build.as_slice() == BUILD_ID.as_bytes() && hello.room == peer.name()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_goes_on_or_is_refused() {
        let log = |size, root| Log {
            size,
            root: [root; 32],
        };
        let says = |before: Option<&Log>, now: &Log| {
            goes_on(before, &minicbor::to_vec(now).unwrap()).is_ok()
        };
        assert!(says(None, &log(5, 1)));
        let before = log(5, 1);
        assert!(
            says(Some(&before), &log(5, 1)),
            "a new link to the same run"
        );
        assert!(says(Some(&before), &log(6, 2)));
        assert!(!says(Some(&before), &log(5, 2)), "another log");
        assert!(!says(Some(&before), &log(4, 1)), "an older one");
        assert!(goes_on(None, b"x").is_err());
    }
}
