//! A connection's bytes, plain or within TLS, without ever waiting.

use rustls::Connection;
use std::io::{self, BufRead, IoSlice, Read, Write};
use std::net::TcpStream;

/// Bytes read from a socket in one turn at most: other connections get theirs in between.
pub const READ_BYTES_MAX: usize = 65_536;

/// What rustls reads at a time once keys are agreed on.
const TLS_READ_BYTES: usize = 4096;

/// A non-blocking stream with what could not be written yet.
#[derive(Debug)]
pub struct Transport {
    socket: TcpStream,
    tls: Option<Box<Connection>>,
    pending: Vec<u8>,
    /// Some byte of ours left the process since [`Transport::mark`].
    touched: bool,
    /// The peer said in TLS that it will send no more.
    ended: bool,
}

/// What a read brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// This many bytes were appended; 0: nothing for now.
    Bytes(usize),
    /// The peer will send no more.
    Closed,
}

impl Transport {
    /// The socket must be non-blocking.
    #[must_use]
    pub fn plain(socket: TcpStream) -> Self {
        Self {
            socket,
            tls: None,
            pending: Vec::new(),
            touched: false,
            ended: false,
        }
    }

    #[must_use]
    pub fn tls(socket: TcpStream, mut connection: Connection) -> Self {
        // What is written is bounded by the callers, in bytes of one answer or request.
        connection.set_buffer_limit(None);
        Self {
            socket,
            tls: Some(Box::new(connection)),
            pending: Vec::new(),
            touched: false,
            ended: false,
        }
    }

    #[must_use]
    pub fn socket(&self) -> &TcpStream {
        &self.socket
    }

    #[must_use]
    pub fn connection(&self) -> Option<&Connection> {
        self.tls.as_deref()
    }

    /// TLS has not agreed on keys yet: nothing that is written now leaves.
    #[must_use]
    pub fn is_handshaking(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_handshaking())
    }

    /// Something waits for the socket to take it.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        !self.pending.is_empty() || self.tls.as_ref().is_some_and(|tls| tls.wants_write())
    }

    /// Bytes queued and not yet taken by the kernel (plain text only).
    #[must_use]
    pub fn pending_bytes(&self) -> usize {
        self.pending.len()
    }

    /// From here on [`Transport::touched`] tells whether a byte left.
    pub fn mark(&mut self) {
        self.touched = false;
    }

    #[must_use]
    pub fn touched(&self) -> bool {
        self.touched
    }

    /// What was received is all that the peer will send.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Appends what there is to `into`, one read's worth.
    pub fn receive(&mut self, scratch: &mut [u8], into: &mut Vec<u8>) -> io::Result<Received> {
        let Some(tls) = self.tls.as_deref_mut() else {
            return match again(self.socket.read(scratch))? {
                None => Ok(Received::Bytes(0)),
                Some(0) => Ok(Received::Closed),
                Some(n) => {
                    into.extend_from_slice(scratch.get(..n).unwrap_or_default());
                    Ok(Received::Bytes(n))
                }
            };
        };
        let before = into.len();
        let mut closed = false;
        // rustls takes what it has room for; a read that filled it may have left more.
        while into.len() - before < READ_BYTES_MAX {
            let n = match again(tls.read_tls(&mut self.socket))? {
                None => break,
                Some(n) => n,
            };
            closed |= n == 0;
            let state = tls.process_new_packets();
            if state.is_err() {
                // The alert tells the peer what was wrong with its TLS.
                let _ = tls.write_tls(&mut Records(&self.socket));
            }
            let state = state.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            let mut left = state.plaintext_bytes_to_read();
            while left > 0 {
                let mut reader = tls.reader();
                let part = reader.fill_buf()?;
                let n = part.len();
                into.extend_from_slice(part);
                reader.consume(n);
                left = left.saturating_sub(n.max(1));
            }
            self.ended |= state.peer_has_closed();
            closed |= self.ended;
            if closed || n < TLS_READ_BYTES {
                break;
            }
        }
        if tls.wants_write() {
            self.flush()?;
        }
        match into.len() - before {
            0 if closed => Ok(Received::Closed),
            n => Ok(Received::Bytes(n)),
        }
    }

    /// Reads once and throws away what came, TLS or not.
    pub fn discard(&mut self, scratch: &mut [u8]) -> io::Result<Received> {
        Ok(match again(self.socket.read(scratch))? {
            None => Received::Bytes(0),
            Some(0) => Received::Closed,
            Some(n) => Received::Bytes(n),
        })
    }

    /// Writes `bytes`, or keeps what the socket does not take. Callers bound what they queue.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(tls) = self.tls.as_deref_mut() {
            tls.writer().write_all(bytes)?;
            return self.flush().map(drop);
        }
        let mut rest = bytes;
        if self.pending.is_empty() {
            while !rest.is_empty() {
                match again(self.socket.write(rest))? {
                    None => break,
                    Some(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Some(n) => {
                        self.touched = true;
                        rest = rest.get(n..).unwrap_or_default();
                    }
                }
            }
        }
        self.pending.extend_from_slice(rest);
        Ok(())
    }

    /// Writes what waits. `true`: nothing waits any more.
    pub fn flush(&mut self) -> io::Result<bool> {
        if let Some(tls) = self.tls.as_deref_mut() {
            let handshaking = tls.is_handshaking();
            while tls.wants_write() {
                match again(tls.write_tls(&mut Records(&self.socket)))? {
                    None => return Ok(false),
                    Some(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Some(_) => self.touched |= !handshaking,
                }
            }
            return Ok(true);
        }
        let mut written = 0;
        while let Some(rest) = self.pending.get(written..).filter(|rest| !rest.is_empty()) {
            match again(self.socket.write(rest))? {
                None => break,
                Some(0) => return Err(io::ErrorKind::WriteZero.into()),
                Some(n) => {
                    self.touched = true;
                    written += n;
                }
            }
        }
        self.pending.drain(..written);
        if self.pending.is_empty() && self.pending.capacity() > READ_BYTES_MAX {
            self.pending = Vec::new();
        }
        Ok(self.pending.is_empty())
    }

    /// Says goodbye in TLS as far as the socket takes it.
    pub fn goodbye(&mut self) {
        if let Some(tls) = self.tls.as_deref_mut() {
            tls.send_close_notify();
            let _ = tls.write_tls(&mut Records(&self.socket));
        }
    }
}

/// Takes TLS records. There is mostly one, and the kernel takes one buffer at less cost than a list of one.
struct Records<'a>(&'a TcpStream);

impl Write for Records<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn write_vectored(&mut self, records: &[IoSlice<'_>]) -> io::Result<usize> {
        match records {
            [record] => self.0.write(record),
            records => self.0.write_vectored(records),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// "Not now" and "interrupted" are no errors here.
fn again(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(n) => Ok(Some(n)),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
