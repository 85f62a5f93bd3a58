//! The rival by WebSocket: plain TCP in, as the gate's programs speak to it on loopback, TLS out to the origin, bytes copied
//! both ways and no frame parsed. One thread; each connection has one of its own at the origin, as nginx' stream module
//! would do it. Nothing that reads what passes can do less.

use crate::{Owned, Standing, Target, on};
use mio::net::TcpListener;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Registry, Token};
use portcullis_gateway::transport::{READ_BYTES_MAX, Received, Transport};
use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

pub fn start(
    me: &Path,
    folder: &Path,
    origin: SocketAddr,
    cores: Option<&str>,
) -> io::Result<Standing> {
    let mut child = on(cores, me)
        .arg("relay")
        .arg(folder)
        .arg(origin.to_string())
        .stdout(Stdio::piped())
        .spawn()?;
    let stdout = child.stdout.take();
    let pid = child.id();
    let owned = Owned(child);
    let stdout = stdout.ok_or_else(|| io::Error::other("the relay has no output"))?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    Ok(Standing {
        target: Target::Relay,
        address: SocketAddr::from(([127, 0, 0, 1], crate::parse(line.trim())?)),
        pids: vec![pid],
        api_key: "k".repeat(64),
        secret: "s".repeat(64),
        _owned: vec![owned],
    })
}

/// A program's connection and the origin's: what comes from one goes to the other.
struct Pair {
    program: Transport,
    origin: Transport,
}

/// Serves until the process is ended. Writes the port to `ready` first.
pub fn serve(roots_pem: &str, origin: SocketAddr, ready: &mut dyn Write) -> io::Result<()> {
    let tls = crate::tls_client(roots_pem)?;
    let mut listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    writeln!(ready, "{}", listener.local_addr()?.port())?;
    ready.flush()?;
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(1024);
    poll.registry()
        .register(&mut listener, Token(0), Interest::READABLE)?;
    // A pair has two tokens, of which the lower is even.
    let mut pairs: HashMap<usize, Pair> = HashMap::new();
    let mut next = 2;
    let (mut scratch, mut bytes) = (vec![0; READ_BYTES_MAX], Vec::new());
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            if event.token() == Token(0) {
                while let Ok((stream, _)) = listener.accept() {
                    let program = TcpStream::from(OwnedFd::from(stream));
                    let there = TcpStream::connect(origin)?;
                    there.set_nonblocking(true)?;
                    watch(poll.registry(), &program, next)?;
                    watch(poll.registry(), &there, next + 1)?;
                    let name = "ws-api.binance.com".try_into().map_err(io::Error::other)?;
                    let connection = rustls::ClientConnection::new(Arc::clone(&tls), name)
                        .map_err(io::Error::other)?;
                    let pair = Pair {
                        program: Transport::plain(program),
                        origin: Transport::tls(there, connection.into()),
                    };
                    pairs.insert(next, pair);
                    next += 2;
                }
                continue;
            }
            let (key, is_origin) = (event.token().0 & !1, event.token().0 & 1 == 1);
            let Some(pair) = pairs.get_mut(&key) else {
                continue;
            };
            let (from, to) = match is_origin {
                true => (&mut pair.origin, &mut pair.program),
                false => (&mut pair.program, &mut pair.origin),
            };
            if copy(from, to, &mut scratch, &mut bytes).is_err() {
                pairs.remove(&key);
            }
        }
    }
}

fn watch(registry: &Registry, socket: &TcpStream, token: usize) -> io::Result<()> {
    socket.set_nodelay(true)?;
    registry.register(
        &mut SourceFd(&socket.as_raw_fd()),
        Token(token),
        Interest::READABLE | Interest::WRITABLE,
    )
}

/// Moves what has come. mio tells of edges: until there is nothing more.
fn copy(
    from: &mut Transport,
    to: &mut Transport,
    scratch: &mut [u8],
    bytes: &mut Vec<u8>,
) -> io::Result<()> {
    from.flush()?;
    loop {
        bytes.clear();
        match from.receive(scratch, bytes)? {
            Received::Bytes(0) => return Ok(()),
            Received::Closed => return Err(io::ErrorKind::UnexpectedEof.into()),
            Received::Bytes(_) => to.send(bytes)?,
        }
    }
}
