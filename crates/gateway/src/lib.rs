//! The two rooms on the network. **Ingress** faces the programs: it frames HTTP, bounds everything, and hands each
//! request on whole. **Egress** faces the exchanges: it takes signed requests from the signer, and sends each at most
//! once. Neither has a key, and neither can reach the key store: this crate does not depend on it.
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        reason = "tests state what must hold"
    )
)]

pub mod answer;
pub mod budget;
pub mod downstream;
pub mod egress;
pub mod ingress;
mod lines;
pub mod metrics;
mod neighbour;
pub mod request;
pub mod start;
mod table;
mod timer;
pub mod tls;
pub mod transport;
pub mod upstream;
pub mod venue;
pub mod watch;
pub mod websocket;

use std::io;
use std::net::{SocketAddr, TcpStream};

/// Starts a non-blocking connection; the poll says when it is there. `room` allows this call to egress alone.
pub(crate) fn dial(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = socket2::Socket::new(
        socket2::Domain::for_address(address),
        socket2::Type::STREAM,
        None,
    )?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    match socket.connect(&address.into()) {
        Ok(()) => {}
        // The usual answer of a non-blocking connect.
        Err(error) if error.raw_os_error() == Some(IN_PROGRESS) => {}
        Err(error) => return Err(error),
    }
    Ok(socket.into())
}

/// `EINPROGRESS` on Linux.
const IN_PROGRESS: i32 = 115;
