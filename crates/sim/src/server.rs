//! HTTP/1.1 over TLS (and plain, for the control API), one thread, one poll.

use crate::api::Answer;
use crate::control;
use crate::ears::{self, Ears};
use crate::strict::{BODY_BYTES_MAX, TARGET_BYTES_MAX};
use crate::venue::{Outcome, Venue};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tungstenite::Message;
use tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};

/// Connections at a time; more are closed at once.
const CONNECTIONS_MAX: usize = 16_384;
/// Bytes of a request's head; more end the connection.
const HEAD_BYTES_MAX: usize = TARGET_BYTES_MAX + 16 * 1024;
const HEADERS_MAX: usize = 64;
const READ_BYTES: usize = 64 * 1024;
/// How long a venue that somebody listens to stands still at most.
const TELL_EVERY: Duration = Duration::from_millis(50);

const VENUE: Token = Token(0);
const CONTROL: Token = Token(1);

struct Connection {
    stream: TcpStream,
    tls: Option<rustls::ServerConnection>,
    control: bool,
    from: IpAddr,
    input: Vec<u8>,
    output: Vec<u8>,
    /// Waits for a delayed answer, or for ever.
    busy: bool,
    delayed: Vec<u8>,
    /// Ends once everything is written.
    closing: bool,
    socket: Option<Socket>,
}

/// A connection that has changed to WebSocket: its framing, and who hears it.
struct Socket {
    frames: Box<WebSocketContext>,
    ears: Box<dyn Ears>,
}

/// What a WebSocket reads and writes: bytes that have come, and bytes that are to go.
struct Pipe<'a> {
    input: &'a mut Vec<u8>,
    output: Vec<u8>,
}

impl Read for Pipe<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = into.len().min(self.input.len());
        if count == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        for (to, from) in into.iter_mut().zip(self.input.drain(..count)) {
            *to = from;
        }
        Ok(count)
    }
}

impl Write for Pipe<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.output.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Microseconds since 1970.
#[must_use]
pub fn now_us() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| u64::try_from(d.as_micros()).unwrap_or(u64::MAX))
}

/// Serves both listeners until something fails that is not a connection's own fault.
///
/// # Errors
/// Polling or registering failed.
pub fn serve(
    venue: &mut Venue,
    tls: &Arc<rustls::ServerConfig>,
    listener: std::net::TcpListener,
    control: std::net::TcpListener,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    control.set_nonblocking(true)?;
    let mut listeners = [
        TcpListener::from_std(listener),
        TcpListener::from_std(control),
    ];
    let mut poll = Poll::new()?;
    for (listener, token) in listeners.iter_mut().zip([VENUE, CONTROL]) {
        poll.registry()
            .register(listener, token, Interest::READABLE)?;
    }
    let mut events = Events::with_capacity(1024);
    let mut connections: HashMap<Token, Connection> = HashMap::new();
    let mut timers: BinaryHeap<Reverse<(Instant, usize)>> = BinaryHeap::new();
    let mut next = 2_usize;
    let mut told = Instant::now();
    loop {
        let mut wait = timers
            .peek()
            .map(|Reverse((at, _))| at.saturating_duration_since(Instant::now()));
        if connections.values().any(Connection::listens) {
            wait = Some(wait.unwrap_or(TELL_EVERY).min(TELL_EVERY));
        }
        match poll.poll(&mut events, wait) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            done => done?,
        }
        for event in &events {
            let token = event.token();
            if let Some(listener) = listeners.get(token.0) {
                while let Ok((mut stream, from)) = listener.accept() {
                    if connections.len() >= CONNECTIONS_MAX {
                        continue;
                    }
                    let _ = stream.set_nodelay(true);
                    let control = token == CONTROL;
                    let tls = if control {
                        None
                    } else {
                        rustls::ServerConnection::new(Arc::clone(tls)).ok()
                    };
                    if tls.is_none() && !control {
                        continue;
                    }
                    let token = Token(next);
                    next += 1;
                    poll.registry().register(
                        &mut stream,
                        token,
                        Interest::READABLE | Interest::WRITABLE,
                    )?;
                    connections.insert(
                        token,
                        Connection {
                            stream,
                            tls: tls.map(|mut tls| {
                                tls.set_buffer_limit(None);
                                tls
                            }),
                            control,
                            from: from.ip(),
                            input: Vec::new(),
                            output: Vec::new(),
                            busy: false,
                            delayed: Vec::new(),
                            closing: false,
                            socket: None,
                        },
                    );
                }
                continue;
            }
            let Some(connection) = connections.get_mut(&token) else {
                continue;
            };
            let alive = connection.receive() && {
                turn(connection, venue, token, &mut timers);
                connection.flush()
            };
            if !alive {
                connections.remove(&token);
            }
        }
        if std::mem::take(&mut venue.close_idle) {
            connections
                .retain(|_, c| c.control || c.busy || c.socket.is_some() || !c.input.is_empty());
        }
        if told.elapsed() >= TELL_EVERY && connections.values().any(Connection::listens) {
            told = Instant::now();
            venue.pass(now_us());
        }
        connections.retain(|_, connection| {
            !connection.listens() || {
                connection.tell(venue);
                connection.flush()
            }
        });
        let now = Instant::now();
        while let Some(Reverse((at, token))) = timers.peek().copied() {
            if at > now {
                break;
            }
            timers.pop();
            let token = Token(token);
            let Some(connection) = connections.get_mut(&token) else {
                continue;
            };
            let delayed = std::mem::take(&mut connection.delayed);
            connection.send(&delayed);
            connection.busy = false;
            turn(connection, venue, token, &mut timers);
            if !connection.flush() {
                connections.remove(&token);
            }
        }
    }
}

/// Answers the whole requests that a connection has sent.
fn turn(
    connection: &mut Connection,
    venue: &mut Venue,
    token: Token,
    timers: &mut BinaryHeap<Reverse<(Instant, usize)>>,
) {
    while !connection.busy && !connection.closing {
        if connection.socket.is_some() {
            return hear(connection, venue, token, timers);
        }
        let input = std::mem::take(&mut connection.input);
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let parsed = parse(&input, &mut headers);
        let (used, outcome, keep) = match parsed {
            Parsed::Partial => {
                connection.input = input;
                return;
            }
            Parsed::Bad(status, reason) => {
                let body = format!("<html><body><h2>{status} {reason}</h2></body></html>");
                connection.send(&render(
                    &Answer {
                        status,
                        body,
                        kind: "text/html",
                        headers: Vec::new(),
                    },
                    false,
                ));
                connection.closing = true;
                return;
            }
            Parsed::Whole {
                method,
                target,
                headers,
                body,
                length,
                keep,
            } => {
                if !connection.control
                    && let Some(ears) = ears::open(venue, target, &headers)
                {
                    let bytes = upgrade(&headers);
                    connection.closing = bytes.is_none();
                    connection.send(bytes.as_deref().unwrap_or(NO_UPGRADE));
                    connection.input = input;
                    connection.input.drain(..length);
                    let settings = WebSocketConfig::default()
                        .read_buffer_size(READ_BYTES)
                        .max_message_size(Some(BODY_BYTES_MAX))
                        .max_frame_size(Some(BODY_BYTES_MAX));
                    connection.socket = Some(Socket {
                        frames: Box::new(WebSocketContext::new(Role::Server, Some(settings))),
                        ears,
                    });
                    continue;
                }
                let outcome = if connection.control {
                    let answer = control::answer(venue, method, target, body, now_us());
                    Outcome {
                        answer: Some(answer),
                        delay_ms: 0,
                        close: false,
                        cut: false,
                    }
                } else {
                    venue.handle(
                        connection.from,
                        method,
                        target.as_bytes(),
                        &headers,
                        body,
                        now_us(),
                    )
                };
                (length, outcome, keep)
            }
        };
        connection.input = input;
        connection.input.drain(..used);
        let keep = keep && !outcome.close;
        let cut = outcome.cut;
        let bytes = outcome.answer.map(|answer| {
            let mut bytes = render(&answer, keep);
            if cut {
                bytes.truncate(bytes.len() / 2);
            }
            bytes
        });
        match bytes {
            // An answer that never comes: the connection stays open and says nothing.
            None if !outcome.close => connection.busy = true,
            None => {}
            Some(bytes) if outcome.delay_ms > 0 => {
                connection.busy = true;
                connection.delayed = bytes;
                timers.push(Reverse((
                    Instant::now() + Duration::from_millis(outcome.delay_ms),
                    token.0,
                )));
            }
            Some(bytes) => connection.send(&bytes),
        }
        if !keep {
            connection.closing = true;
        }
    }
}

const NO_UPGRADE: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// The answer to an opening handshake.
fn upgrade(headers: &[(&str, &[u8])]) -> Option<Vec<u8>> {
    let get = |wanted: &str| {
        headers
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(wanted))
            .map(|(_, value)| *value)
    };
    let key = get("sec-websocket-key")?;
    let fits = get("upgrade")?.eq_ignore_ascii_case(b"websocket")
        && get("sec-websocket-version")? == b"13";
    fits.then(|| {
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {}\r\n\r\n",
            tungstenite::handshake::derive_accept_key(key)
        )
        .into_bytes()
    })
}

/// Answers the frames that a WebSocket has sent.
fn hear(
    connection: &mut Connection,
    venue: &mut Venue,
    token: Token,
    timers: &mut BinaryHeap<Reverse<(Instant, usize)>>,
) {
    let Some(mut socket) = connection.socket.take() else {
        return;
    };
    let mut input = std::mem::take(&mut connection.input);
    let mut pipe = Pipe {
        input: &mut input,
        output: Vec::new(),
    };
    while !connection.closing {
        let text = match socket.frames.read(&mut pipe) {
            Ok(Message::Text(text)) => text,
            Ok(_) => continue,
            Err(tungstenite::Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                break;
            }
            Err(_) => {
                connection.closing = true;
                break;
            }
        };
        for outcome in socket.ears.hear(venue, connection.from, &text, now_us()) {
            connection.closing |= outcome.close;
            let Some(answer) = outcome.answer.filter(|_| !outcome.cut) else {
                continue;
            };
            let before = pipe.output.len();
            connection.closing |= socket.say(&mut pipe, answer.body);
            if outcome.delay_ms > 0 {
                let late = pipe.output.split_off(before);
                connection.delayed.extend(late);
                let at = Instant::now() + Duration::from_millis(outcome.delay_ms);
                timers.push(Reverse((at, token.0)));
            }
        }
    }
    let output = pipe.output;
    connection.send(&output);
    connection.input = input;
    connection.socket = Some(socket);
}

impl Socket {
    /// Writes a text frame; true: the WebSocket is done for.
    fn say(&mut self, pipe: &mut Pipe<'_>, text: String) -> bool {
        self.frames
            .write(pipe, Message::text(text))
            .and_then(|()| self.frames.flush(pipe))
            .is_err()
    }
}

enum Parsed<'a> {
    Partial,
    Bad(u16, &'static str),
    Whole {
        method: &'a str,
        target: &'a str,
        headers: Vec<(&'a str, &'a [u8])>,
        body: &'a [u8],
        length: usize,
        keep: bool,
    },
}

fn parse<'a>(input: &'a [u8], headers: &mut [httparse::Header<'a>; HEADERS_MAX]) -> Parsed<'a> {
    let mut request = httparse::Request::new(headers);
    let head = match request.parse(input) {
        Ok(httparse::Status::Complete(head)) => head,
        Ok(httparse::Status::Partial) if input.len() > HEAD_BYTES_MAX => {
            return Parsed::Bad(431, "Request Header Fields Too Large");
        }
        Ok(httparse::Status::Partial) => return Parsed::Partial,
        Err(_) => return Parsed::Bad(400, "Bad request"),
    };
    let (Some(method), Some(target), Some(version)) =
        (request.method, request.path, request.version)
    else {
        return Parsed::Bad(400, "Bad request");
    };
    let headers: Vec<(&str, &[u8])> = request.headers.iter().map(|h| (h.name, h.value)).collect();
    let mut length = None;
    let mut keep = version == 1;
    for (name, value) in &headers {
        if name.eq_ignore_ascii_case("content-length") {
            let number = std::str::from_utf8(value)
                .ok()
                .filter(|t| !t.is_empty() && t.len() <= 9 && t.bytes().all(|b| b.is_ascii_digit()))
                .and_then(|t| t.parse::<usize>().ok());
            match (length, number) {
                (None, Some(number)) => length = Some(number),
                _ => return Parsed::Bad(400, "Bad request"),
            }
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            return Parsed::Bad(411, "Length Required");
        } else if name.eq_ignore_ascii_case("connection") {
            keep = keep && !value.eq_ignore_ascii_case(b"close");
        }
    }
    let length = length.unwrap_or(0);
    if length > BODY_BYTES_MAX {
        return Parsed::Bad(413, "Request Entity Too Large");
    }
    let Some(body) = input.get(head..head + length) else {
        return Parsed::Partial;
    };
    Parsed::Whole {
        method,
        target,
        headers,
        body,
        length: head + length,
        keep,
    }
}

fn render(answer: &Answer, keep: bool) -> Vec<u8> {
    let reason = match answer.status {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        409 => "Conflict",
        418 => "I'm a teapot",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Refused",
    };
    let mut text = format!(
        "HTTP/1.1 {} {reason}\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: {}\r\nServer: nginx\r\n",
        answer.status,
        answer.kind,
        answer.body.len(),
        if keep { "keep-alive" } else { "close" },
    );
    for (name, value) in &answer.headers {
        text.push_str(name);
        text.push_str(": ");
        text.push_str(value);
        text.push_str("\r\n");
    }
    text.push_str("\r\n");
    text.push_str(&answer.body);
    text.into_bytes()
}

impl Connection {
    /// Reads until there is nothing more; false: it is gone.
    fn receive(&mut self) -> bool {
        let mut scratch = [0_u8; READ_BYTES];
        loop {
            // One request with its body, and what came behind it: more waits in the kernel.
            if self.input.len() > HEAD_BYTES_MAX + BODY_BYTES_MAX {
                return !self.busy;
            }
            match &mut self.tls {
                None => match self.stream.read(&mut scratch) {
                    Ok(0) => return false,
                    Ok(count) => self
                        .input
                        .extend_from_slice(scratch.get(..count).unwrap_or(&[])),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(_) => return false,
                },
                Some(tls) => {
                    match tls.read_tls(&mut self.stream) {
                        Ok(0) => return false,
                        Ok(_) => {}
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                        Err(_) => return false,
                    }
                    if tls.process_new_packets().is_err() {
                        // The alert, as far as it can be sent.
                        let _ = tls.write_tls(&mut self.stream);
                        return false;
                    }
                    loop {
                        match tls.reader().read(&mut scratch) {
                            // The other side has said that it is done.
                            Ok(0) => return false,
                            Ok(count) => self
                                .input
                                .extend_from_slice(scratch.get(..count).unwrap_or(&[])),
                            Err(_) => break,
                        }
                    }
                }
            }
        }
    }

    /// Somebody waits there for what happens.
    fn listens(&self) -> bool {
        self.socket.as_ref().is_some_and(|it| it.ears.listens())
    }

    /// Tells what has happened.
    fn tell(&mut self, venue: &Venue) {
        let Some(socket) = &mut self.socket else {
            return;
        };
        let mut pipe = Pipe {
            input: &mut Vec::new(),
            output: Vec::new(),
        };
        for text in socket.ears.tell(venue) {
            self.closing |= socket.say(&mut pipe, text);
        }
        self.closing |= socket.ears.done();
        let output = pipe.output;
        self.send(&output);
    }

    fn send(&mut self, bytes: &[u8]) {
        match &mut self.tls {
            None => self.output.extend_from_slice(bytes),
            // Without a limit its buffer takes everything.
            Some(tls) => drop(tls.writer().write_all(bytes)),
        }
    }

    /// Writes what it can; false: it is gone, or done.
    fn flush(&mut self) -> bool {
        loop {
            let wrote = match &mut self.tls {
                None if self.output.is_empty() => break,
                None => self.stream.write(&self.output).inspect(|count| {
                    self.output.drain(..*count);
                }),
                Some(tls) if !tls.wants_write() => break,
                Some(tls) => tls.write_tls(&mut self.stream),
            };
            match wrote {
                Ok(0) => return false,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        !self.closing || self.busy
    }
}
