//! The control channel between `up` and a room: few, readable messages, some with descriptors.
//!
//! A Unix stream socket pair; a message is `u32 big-endian length | JSON`, at most [`CONTROL_BYTES_MAX`]. Descriptors
//! travel with the first byte of the message that names them, in `"fds"`, in order.
//!
//! A room trusts `up`, which started it. `up` does not trust a room, which may be in an attacker's hands: it reads
//! without taking descriptors (the kernel closes whatever came along), bounds what waits, and never waits without a
//! time-out. A room never sends descriptors.
//!
//! [`Control`] is the room's end, for its loop: nothing waits. [`UpControl`] is the other end; its sending half can
//! be copied to another thread ([`UpControl::sender`]).

use std::collections::VecDeque;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::clock::Monotonic;
use crate::confine::SandboxReport;
use crate::io::{Flow, flow, read, set_nonblocking, write};
use crate::sys::{process, socket, stream};

/// A message's JSON at most. A longer one is refused by the sender, and ends the channel at the receiver.
pub const CONTROL_BYTES_MAX: usize = 1 << 20;
/// Bytes of messages that may wait to be read by `up`. A room that cannot get rid of them gets an error, and ends.
pub const CONTROL_WAITING_MAX: usize = 4 << 20;
/// Descriptors of one message at most; a message with more is refused by the sender.
pub const DESCRIPTORS_MAX: usize = socket::FDS_PER_MESSAGE_MAX;
/// The descriptor that a room finds its end at.
pub const CONTROL_FD: i32 = 3;

/// Descriptors that may have arrived ahead of the message that names them. More end the channel.
const DESCRIPTORS_AHEAD_MAX: usize = 2 * DESCRIPTORS_MAX;
const READ_BYTES: usize = 16_384;
const HEAD_BYTES: usize = 4;

/// One of the three rooms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Peer {
    Ingress,
    Signer,
    Egress,
}

impl Peer {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Peer::Ingress => "ingress",
            Peer::Signer => "signer",
            Peer::Egress => "egress",
        }
    }
}

impl std::fmt::Display for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// What `up` tells a room.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "to", rename_all = "lowercase")]
pub enum ToRoom {
    /// Comes first. The settings are [`IngressSettings`], [`EgressSettings`] or [`SignerSettings`]; with
    /// `listener:N` (ingress), or `operator` and `operator-connection` (signer).
    Start { settings: serde_json::Value },
    /// A new pair of pipes, `from` and `to`, in place of the old link to that neighbour.
    Link {
        peer: Peer,
        /// The run of ingress (links with ingress), or of the neighbour.
        epoch: u32,
    },
    /// What `host:port` was found to be. Empty: not found.
    Addresses {
        address: String,
        found: Vec<std::net::SocketAddr>,
    },
    /// With `secrets`: the pipe that `portcullis-unseal` writes.
    Secrets,
    /// Asks for the page of metrics; the answer repeats the token.
    Metrics { token: u64 },
    /// What confines a room, told to the signer for `status` and the log.
    Sandbox { room: Peer, report: SandboxReport },
    /// End in order.
    Stop,
}

impl ToRoom {
    /// A start message of typed settings.
    pub fn start(settings: &impl Serialize) -> Result<ToRoom, ControlError> {
        serde_json::to_value(settings)
            .map(|settings| ToRoom::Start { settings })
            .map_err(ControlError::Malformed)
    }
}

/// Typed settings out of [`ToRoom::Start`].
pub fn settings<T: DeserializeOwned>(settings: serde_json::Value) -> Result<T, ControlError> {
    serde_json::from_value(settings).map_err(ControlError::Malformed)
}

/// Settings of ingress; the listeners stand in the order of the descriptors `listener:0`, `listener:1`, …
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IngressSettings {
    pub epoch: u32,
    pub listeners: Vec<ListenerSettings>,
}

/// One listener: a venue's host as programs see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListenerSettings {
    pub venue: String,
    pub host: String,
    /// `None`: plain, for loopback.
    pub tls: Option<TlsSettings>,
}

/// A certificate and its key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsSettings {
    pub chain_pem: String,
    pub key_pem: String,
}

impl std::fmt::Debug for TlsSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsSettings").finish_non_exhaustive()
    }
}

/// Settings of egress.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EgressSettings {
    /// What the run before it said last.
    pub limits: Vec<VenueLimits>,
}

/// What a run of egress knows of a venue's limits and the next one must know too, so that a ban outlives the process. Times
/// by the boot clock, microseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VenueLimits {
    /// The venue's host by name.
    pub host: String,
    /// The venue asked to send nothing before this (429, 418).
    pub banned_until_us: u64,
    /// Weight that was used in the minute before `at_us`.
    pub weight_used: u32,
    pub at_us: u64,
}

/// Settings of the signer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignerSettings {
    /// The site's name: an empty log is created under it, another name is refused.
    pub site: String,
    pub operators: Vec<OperatorSettings>,
}

/// A local user who may command, and by which name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperatorSettings {
    pub uid: u32,
    pub name: String,
}

/// What a room tells `up`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "from", rename_all = "lowercase")]
pub enum FromRoom {
    /// Confined, and about to read its first byte.
    Ready {
        room: Peer,
        build: String,
        sandbox: SandboxReport,
    },
    /// Please look up `host:port`.
    Resolve { address: String },
    /// A page in the Prometheus text format.
    Metrics { token: u64, text: String },
    /// Egress, when a venue asks to wait and each second in which it sent something: to be given to its next run.
    Limits { limits: Vec<VenueLimits> },
    /// The last message.
    Stopped {
        ok: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<String>,
    },
}

/// A message and the names of the descriptors beside it.
#[derive(Serialize, Deserialize)]
struct Envelope<M> {
    #[serde(flatten)]
    message: M,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    fds: Vec<String>,
}

/// Descriptors that came with a message, by name. Those not taken are closed.
#[derive(Debug, Default)]
pub struct Descriptors(Vec<(String, OwnedFd)>);

impl Descriptors {
    /// The first of this name.
    pub fn take(&mut self, name: &str) -> Option<OwnedFd> {
        let place = self.0.iter().position(|(have, _)| have == name)?;
        Some(self.0.remove(place).1)
    }

    /// `name:0`, `name:1`, … as far as they go without a gap.
    pub fn take_numbered(&mut self, name: &str) -> Vec<OwnedFd> {
        (0usize..)
            .map_while(|number| self.take(&format!("{name}:{number}")))
            .collect()
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What a look at the channel gave.
#[derive(Debug)]
pub enum Received<M> {
    Message(M, Descriptors),
    /// No whole message yet.
    NotNow,
    /// The other end is gone.
    Closed,
}

/// Why the channel cannot go on. Every one of these is its end.
#[derive(Debug)]
pub enum ControlError {
    /// Descriptor 3 is not the channel: the program was not started by `portcullis up`.
    NotStartedByUp,
    Io(io::Error),
    /// A message longer than [`CONTROL_BYTES_MAX`].
    TooLong(usize),
    /// A message that nobody here knows.
    Malformed(serde_json::Error),
    /// Fewer descriptors than a message names, or more than it may have.
    WrongDescriptors,
    /// The other end did not read in time.
    TooSlow,
    /// The other end is gone.
    Closed,
}

impl std::fmt::Display for ControlError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotStartedByUp => f.write_str(
                "descriptor 3 is not a control channel\nhint: rooms are started by `portcullis up`, not by hand",
            ),
            Self::Io(why) => write!(f, "control channel: {why}"),
            Self::TooLong(length) => write!(
                f,
                "a control message of {length} bytes; one has at most {CONTROL_BYTES_MAX}"
            ),
            Self::Malformed(why) => write!(f, "a control message cannot be read: {why}"),
            Self::WrongDescriptors => write!(
                f,
                "a control message and its descriptors do not match (at most {DESCRIPTORS_MAX})"
            ),
            Self::TooSlow => f.write_str("the other end of the control channel does not read"),
            Self::Closed => f.write_str("the other end of the control channel is gone"),
        }
    }
}

impl std::error::Error for ControlError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(why) => Some(why),
            Self::Malformed(why) => Some(why),
            _ => None,
        }
    }
}

impl From<io::Error> for ControlError {
    fn from(why: io::Error) -> Self {
        Self::Io(why)
    }
}

/// A room's end.
pub struct Control {
    fd: OwnedFd,
    input: Input<ToRoom>,
    out: Vec<u8>,
}

impl Control {
    /// Takes over descriptor 3. Works once in a process, and belongs at the beginning of `main`, before anything else
    /// could have opened that number. Reads nothing.
    pub fn from_fd3() -> Result<Control, ControlError> {
        static TAKEN: AtomicBool = AtomicBool::new(false);
        if TAKEN.swap(true, Ordering::Relaxed) {
            return Err(ControlError::NotStartedByUp);
        }
        let fd = process::inherited(CONTROL_FD).map_err(|_| ControlError::NotStartedByUp)?;
        let is = |name, wanted| {
            socket::option(fd.as_fd(), libc::SOL_SOCKET, name).is_ok_and(|got| got == wanted)
        };
        if !is(libc::SO_DOMAIN, libc::AF_UNIX) || !is(libc::SO_TYPE, libc::SOCK_STREAM) {
            // Whatever it is, it is not ours to close.
            std::mem::forget(fd);
            return Err(ControlError::NotStartedByUp);
        }
        Control::over(fd)
    }

    /// The room's end of a pair; of use in tests.
    pub fn over(fd: OwnedFd) -> Result<Control, ControlError> {
        set_nonblocking(&fd)?;
        Ok(Control {
            fd,
            input: Input::default(),
            out: Vec::new(),
        })
    }

    /// Sends, or keeps what does not go now for [`Control::flush`]. Never waits.
    pub fn send(&mut self, message: &FromRoom) -> Result<(), ControlError> {
        let frame = encode(message, Vec::new())?;
        if self.out.len() + frame.len() > CONTROL_WAITING_MAX {
            return Err(ControlError::TooSlow);
        }
        self.out.extend_from_slice(&frame);
        self.flush()?;
        Ok(())
    }

    /// `true`: all is out; `false`: watch for writing, and call again.
    pub fn flush(&mut self) -> Result<bool, ControlError> {
        while !self.out.is_empty() {
            match write(&self.fd, &self.out)? {
                Flow::Moved(count) => drop(self.out.drain(..count)),
                Flow::NotNow => return Ok(false),
                Flow::Closed => return Err(ControlError::Closed),
            }
        }
        Ok(true)
    }

    /// The next message, if it is there. Call until [`Received::NotNow`]. Never waits.
    pub fn receive(&mut self) -> Result<Received<ToRoom>, ControlError> {
        let fd = self.fd.as_fd();
        self.input.receive(|space, fds| {
            flow(|| socket::receive(fd, space, fds)).map_err(|why| match why.kind() {
                io::ErrorKind::InvalidData => ControlError::WrongDescriptors,
                _ => ControlError::Io(why),
            })
        })
    }

    /// The same, waiting for it: for a program that has no loop. `NotNow`: the time passed first.
    pub fn receive_within(&mut self, patience: Duration) -> Result<Received<ToRoom>, ControlError> {
        let end = Monotonic::now().after(patience);
        loop {
            self.flush()?;
            match self.receive()? {
                Received::NotNow if wait_until(&self.fd, false, end)? => {}
                received => return Ok(received),
            }
        }
    }
}

impl AsFd for Control {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The end of `up`, one for each room.
pub struct UpControl {
    sender: UpSender,
    input: Input<FromRoom>,
}

/// The sending half of [`UpControl`]; copies send on the same channel, one message at a time.
#[derive(Clone)]
pub struct UpSender {
    fd: Arc<OwnedFd>,
    /// Whether the channel still stands at the beginning of a message; `false` after one was cut off.
    whole: Arc<Mutex<bool>>,
}

impl UpControl {
    /// Both ends; the second becomes a room's descriptor 3 (see [`crate::spawn`], which calls this).
    pub fn pair() -> io::Result<(UpControl, OwnedFd)> {
        let (up, room) = UnixStream::pair()?;
        up.set_nonblocking(true)?;
        let sender = UpSender {
            fd: Arc::new(up.into()),
            whole: Arc::new(Mutex::new(true)),
        };
        Ok((
            UpControl {
                sender,
                input: Input::default(),
            },
            room.into(),
        ))
    }

    /// See [`UpSender::send`].
    pub fn send(
        &self,
        message: &ToRoom,
        fds: &[(&str, BorrowedFd<'_>)],
        patience: Duration,
    ) -> Result<(), ControlError> {
        self.sender.send(message, fds, patience)
    }

    /// For another thread.
    #[must_use]
    pub fn sender(&self) -> UpSender {
        self.sender.clone()
    }

    /// The next message, if it is there. Call until [`Received::NotNow`]. Never waits, never takes descriptors.
    pub fn receive(&mut self) -> Result<Received<FromRoom>, ControlError> {
        let fd = &self.sender.fd;
        // A plain read: descriptors that came along are closed by the kernel.
        self.input.receive(|space, _| Ok(read(fd, space)?))
    }

    /// The same, waiting for it. `NotNow`: the time passed first.
    pub fn receive_within(
        &mut self,
        patience: Duration,
    ) -> Result<Received<FromRoom>, ControlError> {
        let end = Monotonic::now().after(patience);
        loop {
            match self.receive()? {
                Received::NotNow if wait_until(&self.sender.fd, false, end)? => {}
                received => return Ok(received),
            }
        }
    }
}

impl AsFd for UpControl {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.sender.fd.as_fd()
    }
}

impl UpSender {
    /// Sends one message with copies of these descriptors, waiting at most `patience` for a room that does not read.
    ///
    /// After an error the channel may stand in the middle of a message: kill the room.
    pub fn send(
        &self,
        message: &ToRoom,
        fds: &[(&str, BorrowedFd<'_>)],
        patience: Duration,
    ) -> Result<(), ControlError> {
        if fds.len() > DESCRIPTORS_MAX {
            return Err(ControlError::WrongDescriptors);
        }
        let names = fds.iter().map(|(name, _)| (*name).to_owned()).collect();
        let frame = encode(message, names)?;
        let raw: Vec<_> = fds.iter().map(|(_, fd)| fd.as_raw_fd()).collect();
        let end = Monotonic::now().after(patience);
        let mut whole = self.whole.lock().unwrap_or_else(PoisonError::into_inner);
        if !std::mem::replace(&mut *whole, false) {
            return Err(ControlError::Closed);
        }
        let (mut rest, mut raw) = (&frame[..], &raw[..]);
        while !rest.is_empty() {
            match flow(|| socket::send(self.fd.as_fd(), rest, raw))? {
                Flow::Moved(count) => {
                    rest = rest.get(count..).unwrap_or_default();
                    raw = &[];
                }
                Flow::NotNow => {
                    if !wait_until(&self.fd, true, end)? {
                        return Err(ControlError::TooSlow);
                    }
                }
                Flow::Closed => return Err(ControlError::Closed),
            }
        }
        *whole = true;
        Ok(())
    }
}

/// Bytes and descriptors that have arrived.
struct Input<M> {
    bytes: Vec<u8>,
    fds: VecDeque<OwnedFd>,
    closed: bool,
    message: PhantomData<M>,
}

impl<M> Default for Input<M> {
    fn default() -> Self {
        Input {
            bytes: Vec::new(),
            fds: VecDeque::new(),
            closed: false,
            message: PhantomData,
        }
    }
}

impl<M: DeserializeOwned> Input<M> {
    fn receive(
        &mut self,
        mut more: impl FnMut(&mut [u8], &mut Vec<OwnedFd>) -> Result<Flow, ControlError>,
    ) -> Result<Received<M>, ControlError> {
        loop {
            if let Some((message, fds)) = self.take()? {
                return Ok(Received::Message(message, fds));
            }
            if self.closed {
                return Ok(Received::Closed);
            }
            let (have, mut fds) = (self.bytes.len(), Vec::new());
            self.bytes.resize(have + READ_BYTES, 0);
            let flow = more(self.bytes.get_mut(have..).unwrap_or_default(), &mut fds);
            let count = match flow {
                Ok(Flow::Moved(count)) => count,
                _ => 0,
            };
            self.bytes.truncate(have + count);
            self.fds.extend(fds);
            match flow? {
                Flow::Moved(_) => {}
                Flow::NotNow => return Ok(Received::NotNow),
                Flow::Closed => self.closed = true,
            }
            if self.fds.len() > DESCRIPTORS_AHEAD_MAX {
                return Err(ControlError::WrongDescriptors);
            }
        }
    }

    fn take(&mut self) -> Result<Option<(M, Descriptors)>, ControlError> {
        let Some((head, rest)) = self.bytes.split_first_chunk::<HEAD_BYTES>() else {
            return Ok(None);
        };
        let length = usize::try_from(u32::from_be_bytes(*head)).unwrap_or(usize::MAX);
        if length > CONTROL_BYTES_MAX {
            return Err(ControlError::TooLong(length));
        }
        let Some(json) = rest.get(..length) else {
            return Ok(None);
        };
        let envelope: Envelope<M> =
            serde_json::from_slice(json).map_err(ControlError::Malformed)?;
        if envelope.fds.len() > self.fds.len() {
            return Err(ControlError::WrongDescriptors);
        }
        self.bytes.drain(..HEAD_BYTES + length);
        if self.bytes.is_empty() {
            self.bytes.shrink_to(READ_BYTES);
        }
        let count = envelope.fds.len();
        let fds = envelope.fds.into_iter().zip(self.fds.drain(..count));
        Ok(Some((envelope.message, Descriptors(fds.collect()))))
    }
}

fn encode(message: &impl Serialize, fds: Vec<String>) -> Result<Vec<u8>, ControlError> {
    let mut frame = vec![0; HEAD_BYTES];
    serde_json::to_writer(&mut frame, &Envelope { message, fds })
        .map_err(ControlError::Malformed)?;
    let length = frame.len() - HEAD_BYTES;
    if length > CONTROL_BYTES_MAX {
        return Err(ControlError::TooLong(length));
    }
    let head = u32::try_from(length).map_err(|_| ControlError::TooLong(length))?;
    if let Some(place) = frame.first_chunk_mut::<HEAD_BYTES>() {
        *place = head.to_be_bytes();
    }
    Ok(frame)
}

/// Waits until it can be read (or written); `false`: the moment came first.
pub(crate) fn wait_until(fd: impl AsFd, writable: bool, end: Monotonic) -> io::Result<bool> {
    loop {
        let left = end.since(Monotonic::now());
        // Rounded up, so that it does not spin through the last millisecond.
        let left_ms = i32::try_from(left.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX);
        match stream::wait_one(fd.as_fd(), writable, left_ms) {
            Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
            Ok(false) if end > Monotonic::now() => {}
            done => return done,
        }
    }
}

#[cfg(test)]
mod tests;
