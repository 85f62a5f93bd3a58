//! Bytes through descriptors that never block, and connections on listeners that somebody else bound.
//!
//! Absent: making, connecting and binding sockets.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

use crate::sys::{socket, stream};

/// What became of a read or write that does not wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Flow {
    /// So many bytes went; never 0.
    Moved(usize),
    /// None now; ask again when the descriptor is ready.
    NotNow,
    /// The other side is gone: end of file, broken pipe or reset.
    Closed,
}

/// Reads once. An empty buffer is an error, since its answer could not be told from the end.
pub fn read(fd: impl AsFd, into: &mut [u8]) -> io::Result<Flow> {
    if into.is_empty() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    flow(|| stream::read(fd.as_fd(), into))
}

/// Writes once. No bytes, no call.
pub fn write(fd: impl AsFd, from: &[u8]) -> io::Result<Flow> {
    if from.is_empty() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    flow(|| stream::write(fd.as_fd(), from))
}

pub fn set_nonblocking(fd: impl AsFd) -> io::Result<()> {
    stream::set_nonblocking(fd.as_fd(), true)
}

/// How many bytes may still be written to the file system that an open file or folder is on (`fstatfs`).
pub fn free_bytes(file: impl AsFd) -> io::Result<u64> {
    stream::free_bytes(file.as_fd())
}

/// A new connection, non-blocking and close-on-exec.
#[derive(Debug)]
pub struct Connection {
    pub fd: OwnedFd,
    /// Absent on a Unix listener.
    pub source: Option<SocketAddr>,
}

/// Accepts once, on a TCP or Unix listener; `None` when nobody waits.
///
/// A connection that was gone before we looked is passed over. Out of descriptors is an error, and the connection stays
/// in the listener's queue: close something, or stop watching the listener for a while.
pub fn accept(listener: impl AsFd) -> io::Result<Option<Connection>> {
    loop {
        match socket::accept(listener.as_fd()) {
            Ok((fd, source)) => return Ok(Some(Connection { fd, source })),
            Err(why) => match why.raw_os_error() {
                Some(libc::EINTR) => {}
                Some(libc::EAGAIN) => return Ok(None),
                // accept(2): errors of the connection itself, to be treated as if nobody had called.
                Some(
                    libc::ECONNABORTED
                    | libc::EPROTO
                    | libc::ENETDOWN
                    | libc::EHOSTDOWN
                    | libc::EHOSTUNREACH
                    | libc::ENETUNREACH
                    | libc::ENONET
                    | libc::ENOPROTOOPT,
                ) => {}
                _ => return Err(why),
            },
        }
    }
}

/// Where an internet socket listens or is bound; `None` for a Unix socket.
pub fn local_address(socket: impl AsFd) -> io::Result<Option<SocketAddr>> {
    socket::local_address(socket.as_fd())
}

/// Sends small segments at once (`TCP_NODELAY`).
pub fn set_nodelay(connection: impl AsFd) -> io::Result<()> {
    socket::set_option(connection.as_fd(), libc::IPPROTO_TCP, libc::TCP_NODELAY, 1)
}

/// Who made the other end of a Unix connection, as the kernel noted it at that moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// As our process sees it; the process may be gone by now.
    pub pid: i32,
    /// `None`: a user whom our user namespace cannot name. Whoever asks must refuse such a peer.
    pub uid: Option<u32>,
    pub gid: Option<u32>,
}

/// `SO_PEERCRED`.
pub fn peer(connection: impl AsFd) -> io::Result<Peer> {
    let (pid, uid, gid) = socket::peer(connection.as_fd())?;
    Ok(Peer {
        pid,
        uid: (!UNNAMED.contains(&uid)).then_some(uid),
        gid: (!UNNAMED.contains(&gid)).then_some(gid),
    })
}

/// The number the kernel shows for an id without a name here (`overflowuid`, fixed since Linux 2.4 unless an
/// administrator changes it), and "none". Nobody runs as these to command a gate, so both are nobody.
const UNNAMED: [u32; 2] = [65_534, u32::MAX];

pub(crate) fn flow(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<Flow> {
    loop {
        match call() {
            Ok(0) => return Ok(Flow::Closed),
            Ok(count) => return Ok(Flow::Moved(count)),
            Err(why) => match why.raw_os_error() {
                Some(libc::EINTR) => {}
                Some(libc::EAGAIN) => return Ok(Flow::NotNow),
                Some(libc::EPIPE | libc::ECONNRESET) => return Ok(Flow::Closed),
                _ => return Err(why),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    #[test]
    fn reads_and_writes_never_wait() {
        let (out, into) = std::io::pipe().unwrap();
        set_nonblocking(&out).unwrap();
        set_nonblocking(&into).unwrap();
        let mut buffer = [0; 16];
        assert_eq!(read(&out, &mut buffer).unwrap(), Flow::NotNow);
        assert_eq!(write(&into, b"order").unwrap(), Flow::Moved(5));
        assert_eq!(read(&out, &mut buffer).unwrap(), Flow::Moved(5));
        assert!(read(&out, &mut []).is_err());
        let much = vec![0; 1 << 20];
        assert!(matches!(write(&into, &much).unwrap(), Flow::Moved(n) if n < much.len()));
        assert_eq!(write(&into, &much).unwrap(), Flow::NotNow);
        drop(out);
        assert_eq!(write(&into, b"x").unwrap(), Flow::Closed);
    }

    #[test]
    fn a_unix_peer_is_us_and_a_tcp_peer_has_an_address() {
        let folder = std::env::temp_dir().join(format!("room-accept-{}", std::process::id()));
        let listener = UnixListener::bind(&folder).unwrap();
        listener.set_nonblocking(true).unwrap();
        assert!(accept(&listener).unwrap().is_none());
        let _client = UnixStream::connect(&folder).unwrap();
        std::fs::remove_file(&folder).unwrap();
        let connection = accept(&listener).unwrap().unwrap();
        assert_eq!(connection.source, None);
        let who = peer(&connection.fd).unwrap();
        assert_eq!(who.pid, i32::try_from(std::process::id()).unwrap());
        assert_eq!(who.uid, Some(crate::sys::process::effective_ids().0));

        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        assert_eq!(local_address(&listener).unwrap(), Some(address));
        let client = std::net::TcpStream::connect(address).unwrap();
        let connection = accept(&listener).unwrap().unwrap();
        assert_eq!(connection.source, Some(client.local_addr().unwrap()));
        set_nodelay(&connection.fd).unwrap();
    }
}
