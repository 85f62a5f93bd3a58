//! One neighbour over two pipes: frames in, frames out, and never a wait.
//!
//! A frame is `u32 big-endian length | u8 kind | CBOR`; the length counts kind and CBOR. What a frame means is the
//! rooms' matter. The neighbour may be in an attacker's hands: a length that no frame has ends the link, and so does a
//! neighbour that does not read while more than [`LINK_BYTES_MAX`] wait for it.
//!
//! [`Link::input`] and [`Link::output`] are fields of their own, so that a frame can stay borrowed while answers are
//! written: `while let Some((kind, cbor)) = link.input.next()? { … link.output.out() … }`. [`Link::next`] and the rest do
//! the same through the whole link. Watch both ends with [`crate::poll::Trigger::Level`]: a call of
//! [`Link::receive`] takes a bufferful at most and may leave more in the pipe.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::io::{Flow, read, set_nonblocking, write};

/// A frame's length at most, kind and CBOR together (`model::wire::FRAME_BYTES_MAX`). A longer one ends the link.
pub const FRAME_BYTES_MAX: usize = 65_536;

/// Bytes that may wait for a neighbour. Above it [`Link::flush`] is an error and the caller drops the link: the
/// neighbour has stopped reading, and a new one starts with an empty pipe. Credits keep an honest link far below; who
/// can stop its own sources (egress reading answers) looks at [`Output::waiting`] and stops earlier.
pub const LINK_BYTES_MAX: usize = 16 << 20;

/// Bytes received and not yet taken as frames, at most; the rest stays in the pipe until frames have been taken.
const INPUT_BYTES_MAX: usize = 4 * (HEAD_BYTES + FRAME_BYTES_MAX);
/// An output buffer that grew beyond this is given back once it is empty.
const OUTPUT_BYTES_KEPT: usize = 1 << 20;
const HEAD_BYTES: usize = 4;

/// Both directions of one neighbour.
pub struct Link {
    pub input: Input,
    pub output: Output,
}

impl Link {
    /// Takes a pipe to read from and a pipe to write to, and makes both non-blocking.
    pub fn new(from: OwnedFd, to: OwnedFd) -> io::Result<Link> {
        set_nonblocking(&from)?;
        set_nonblocking(&to)?;
        Ok(Link {
            input: Input {
                fd: from,
                buffer: vec![0; INPUT_BYTES_MAX],
                start: 0,
                end: 0,
                closed: false,
            },
            output: Output {
                fd: to,
                bytes: Vec::new(),
                sent: 0,
            },
        })
    }

    /// The end that is read from, to be watched.
    #[must_use]
    pub fn from(&self) -> BorrowedFd<'_> {
        self.input.fd.as_fd()
    }

    /// The end that is written to, to be watched while [`Link::flush`] is not done.
    #[must_use]
    pub fn to(&self) -> BorrowedFd<'_> {
        self.output.fd.as_fd()
    }

    /// See [`Input::receive`].
    pub fn receive(&mut self) -> io::Result<bool> {
        self.input.receive()
    }

    /// See [`Input::next`].
    #[expect(
        clippy::should_implement_trait,
        reason = "a frame borrows the link, which an iterator's item cannot"
    )]
    pub fn next(&mut self) -> Result<Option<(u8, &[u8])>, BadFrame> {
        self.input.next()
    }

    /// See [`Output::out`].
    pub fn out(&mut self) -> &mut Vec<u8> {
        self.output.out()
    }

    /// See [`Output::flush`].
    pub fn flush(&mut self) -> io::Result<bool> {
        self.output.flush()
    }
}

/// What comes from the neighbour.
pub struct Input {
    fd: OwnedFd,
    buffer: Vec<u8>,
    // INVARIANT: start <= end <= buffer.len().
    start: usize,
    end: usize,
    closed: bool,
}

impl Input {
    /// Reads what is there, a bufferful at most. `false`: the neighbour is gone; frames that came before can still be
    /// taken.
    pub fn receive(&mut self) -> io::Result<bool> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.buffer.len() - self.end < HEAD_BYTES + FRAME_BYTES_MAX {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        while !self.closed {
            let space = self.buffer.get_mut(self.end..).unwrap_or_default();
            if space.is_empty() {
                break;
            }
            let asked = space.len();
            match read(&self.fd, space)? {
                Flow::Moved(count) => {
                    self.end += count;
                    // A pipe that gave less than was asked for is empty; if more has come since, the loop wakes again.
                    if count < asked {
                        break;
                    }
                }
                Flow::NotNow => break,
                Flow::Closed => self.closed = true,
            }
        }
        Ok(!self.closed)
    }

    /// The next whole frame, kind and CBOR, of what has been received; `None`: receive more first.
    ///
    /// After an error drop the link: where the next frame would begin is not known.
    #[expect(
        clippy::should_implement_trait,
        reason = "a frame borrows the input, which an iterator's item cannot"
    )]
    pub fn next(&mut self) -> Result<Option<(u8, &[u8])>, BadFrame> {
        let received = self.buffer.get(self.start..self.end).unwrap_or_default();
        let Some((head, rest)) = received.split_first_chunk::<HEAD_BYTES>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes(*head);
        let whole = usize::try_from(length).unwrap_or(usize::MAX);
        if whole == 0 || whole > FRAME_BYTES_MAX {
            return Err(BadFrame { length });
        }
        let Some((kind, cbor)) = rest.get(..whole).and_then(<[u8]>::split_first) else {
            return Ok(None);
        };
        self.start += HEAD_BYTES + whole;
        Ok(Some((*kind, cbor)))
    }
}

/// What goes to the neighbour.
pub struct Output {
    fd: OwnedFd,
    bytes: Vec<u8>,
    // INVARIANT: sent <= bytes.len().
    sent: usize,
}

impl Output {
    /// Whole frames are appended here; what stands there already is under way and stays as it is.
    pub fn out(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Bytes not yet in the pipe.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.bytes.len().saturating_sub(self.sent)
    }

    /// One write. `true`: all is out; `false`: call again when the pipe can be written.
    ///
    /// An error is the end of the link: the neighbour is gone ([`io::ErrorKind::BrokenPipe`]), or more than
    /// [`LINK_BYTES_MAX`] wait for it.
    pub fn flush(&mut self) -> io::Result<bool> {
        let waiting = self.bytes.get(self.sent..).unwrap_or_default();
        if waiting.is_empty() {
            return Ok(true);
        }
        match write(&self.fd, waiting)? {
            Flow::Moved(count) => self.sent += count,
            Flow::NotNow => {}
            Flow::Closed => return Err(io::ErrorKind::BrokenPipe.into()),
        }
        if self.waiting() == 0 {
            self.bytes.clear();
            self.bytes.shrink_to(OUTPUT_BYTES_KEPT);
            self.sent = 0;
            return Ok(true);
        }
        if self.waiting() > LINK_BYTES_MAX {
            return Err(io::Error::other(
                "the neighbour does not read: more than 16 MiB wait for it",
            ));
        }
        // Moving the rest to the front costs what is moved; it is done only when as much has left before it.
        if self.sent >= self.waiting() {
            self.bytes.drain(..self.sent);
            self.sent = 0;
        }
        Ok(false)
    }
}

/// What came is no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadFrame {
    pub length: u32,
}

impl std::fmt::Display for BadFrame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "a neighbour sent a frame of {} bytes; one has 1 to {FRAME_BYTES_MAX}",
            self.length
        )
    }
}

impl std::error::Error for BadFrame {}

#[cfg(test)]
mod tests;
