//! The client of the benchmark: so many kept-alive connections, by REST with one request in flight each, by WebSocket with
//! one or more, all signed afresh like a trading program's. It runs as a process of its own so that it can be pinned, and
//! prints one JSON line.

use aws_lc_rs::hmac;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use portcullis_gateway::answer::{self, Body};
use portcullis_gateway::transport::{READ_BYTES_MAX, Received, Transport};
use portcullis_gateway::websocket::{self, Decoder, Event, From, Kind};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// What to send where.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Load {
    pub address: SocketAddr,
    /// TLS towards the origin itself; the proxies are spoken to in plain text on loopback.
    pub roots_pem: Option<String>,
    pub connections: usize,
    pub seconds: f64,
    pub warm_seconds: f64,
    pub api_key: String,
    pub secret: String,
    /// Each connection waits so long after an answer: 0 for as fast as it goes.
    #[serde(default)]
    pub pause_ms: u64,
    /// One request in ten reads the open orders, and one asks for public data.
    #[serde(default)]
    pub mixed: bool,
    /// By WebSocket, with so many requests in flight on each connection; 0: by REST, one each.
    #[serde(default)]
    pub frames: usize,
}

/// What it took.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Taken {
    pub requests: u64,
    pub seconds: f64,
    pub p50_us: f64,
    pub p99_us: f64,
    pub p999_us: f64,
    pub max_us: f64,
    /// Answers with another status than 200.
    pub refused: u64,
    /// The first such answer, to say what went wrong.
    pub first_refusal: Option<String>,
}

struct Lane {
    transport: Transport,
    /// When the next request goes out; `None`: one is under way.
    due: Option<Instant>,
    input: Vec<u8>,
    /// Requests under way by their numbers, and when each left. Answers by WebSocket may come in another order.
    sent: VecDeque<(u64, Instant)>,
    body: Option<(u16, Body, Vec<u8>)>,
    /// Of a WebSocket.
    decoder: Option<Decoder>,
    /// A message at most, of an answer.
    out: Vec<u8>,
}

/// An answer: whose it is (`None`: the oldest request's), its status, its text.
type Answer = (Option<u64>, u16, Vec<u8>);

/// Runs the load and gives what it took. Ends by itself after its seconds.
pub fn run(load: &Load) -> io::Result<Taken> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, load.secret.as_bytes());
    let tls = match &load.roots_pem {
        Some(pem) => Some(crate::tls_client(pem)?),
        None => None,
    };
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(1024);
    let mut lanes = Vec::new();
    for at in 0..load.connections {
        let socket = TcpStream::connect(load.address)?;
        socket.set_nodelay(true)?;
        socket.set_nonblocking(true)?;
        poll.registry().register(
            &mut SourceFd(&socket.as_raw_fd()),
            Token(at),
            Interest::READABLE | Interest::WRITABLE,
        )?;
        let transport = match &tls {
            None => Transport::plain(socket),
            Some(config) => {
                let name = "api.binance.com".try_into().map_err(io::Error::other)?;
                let connection = rustls::ClientConnection::new(Arc::clone(config), name)
                    .map_err(io::Error::other)?;
                Transport::tls(socket, connection.into())
            }
        };
        let mut lane = Lane {
            transport,
            due: None,
            input: Vec::new(),
            sent: VecDeque::new(),
            body: None,
            decoder: None,
            out: Vec::new(),
        };
        if load.frames > 0 {
            upgrade(&mut lane)?;
        }
        lanes.push(lane);
    }
    let mut scratch = vec![0; READ_BYTES_MAX];
    let mut nonce = 0u64;
    for lane in &mut lanes {
        for _ in 0..load.frames.max(1) {
            ask(lane, load, &key, &mut nonce)?;
        }
    }
    let begun = Instant::now();
    let warm = Duration::from_secs_f64(load.warm_seconds);
    let end = warm + Duration::from_secs_f64(load.seconds);
    let mut taken = Taken::default();
    let mut latencies: Vec<u32> = Vec::with_capacity(1 << 20);
    while begun.elapsed() < end {
        let now = Instant::now();
        let next = lanes.iter().filter_map(|lane| lane.due).min();
        let patience = next.map_or(Duration::from_secs(5), |due| {
            due.saturating_duration_since(now)
        });
        poll.poll(&mut events, Some(patience))?;
        let now = Instant::now();
        for lane in lanes
            .iter_mut()
            .filter(|lane| lane.due.is_some_and(|due| due <= now))
        {
            lane.due = None;
            ask(lane, load, &key, &mut nonce)?;
        }
        if events.is_empty() && next.is_none() {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "no answer within five seconds",
            ));
        }
        for event in &events {
            let Some(lane) = lanes.get_mut(event.token().0) else {
                continue;
            };
            lane.transport.flush()?;
            // mio tells of edges: read until there is nothing more.
            loop {
                match lane.transport.receive(&mut scratch, &mut lane.input)? {
                    Received::Bytes(0) => break,
                    Received::Bytes(_) => {}
                    Received::Closed => {
                        return Err(io::Error::new(
                            io::ErrorKind::UnexpectedEof,
                            "connection closed",
                        ));
                    }
                }
            }
            for (number, status, body) in answers(lane)? {
                let now = Instant::now();
                let at = match number {
                    None => (!lane.sent.is_empty()).then_some(0),
                    Some(number) => lane.sent.iter().position(|(sent, _)| *sent == number),
                };
                let Some((_, sent_at)) = at.and_then(|at| lane.sent.remove(at)) else {
                    return Err(io::Error::other("an answer to nothing that was asked"));
                };
                if now - begun > warm {
                    let took = u32::try_from((now - sent_at).as_nanos() / 10).unwrap_or(u32::MAX);
                    latencies.push(took);
                    taken.requests += 1;
                    if status != 200 {
                        taken.refused += 1;
                        taken.first_refusal.get_or_insert_with(|| {
                            format!("{status} {}", String::from_utf8_lossy(&body))
                        });
                    }
                }
                if load.pause_ms > 0 {
                    lane.due = Some(now + Duration::from_millis(load.pause_ms));
                    continue;
                }
                ask(lane, load, &key, &mut nonce)?;
            }
        }
    }
    taken.seconds = (begun.elapsed() - warm).as_secs_f64();
    latencies.sort_unstable();
    let at = |part: f64| {
        let index =
            ((latencies.len() as f64 * part) as usize).min(latencies.len().saturating_sub(1));
        latencies
            .get(index)
            .map_or(0.0, |tens| f64::from(*tens) / 100.0)
    };
    (taken.p50_us, taken.p99_us, taken.p999_us, taken.max_us) =
        (at(0.5), at(0.99), at(0.999), at(1.0));
    Ok(taken)
}

/// The opening request of a WebSocket.
pub fn handshake() -> String {
    let key = websocket::key_of(&[7; 16]);
    format!(
        "GET /ws-api/v3 HTTP/1.1\r\nHost: ws-api.binance.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
    )
}

/// Opens the WebSocket, before anything is measured.
fn upgrade(lane: &mut Lane) -> io::Result<()> {
    lane.transport.send(handshake().as_bytes())?;
    let mut scratch = vec![0; READ_BYTES_MAX];
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(5) {
        lane.transport.flush()?;
        if lane.transport.receive(&mut scratch, &mut lane.input)? == Received::Closed {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(end) = lane.input.windows(4).position(|part| part == b"\r\n\r\n") {
            if !lane.input.starts_with(b"HTTP/1.1 101 ") {
                let text = String::from_utf8_lossy(&lane.input).into_owned();
                return Err(io::Error::other(format!("no WebSocket: {text}")));
            }
            lane.input.drain(..end + 4);
            lane.decoder = Some(Decoder::new(From::Venue, READ_BYTES_MAX));
            return Ok(());
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    Err(io::Error::new(
        io::ErrorKind::TimedOut,
        "the WebSocket was not opened within five seconds",
    ))
}

/// Sends the next request of a connection.
fn ask(lane: &mut Lane, load: &Load, key: &hmac::Key, nonce: &mut u64) -> io::Result<()> {
    *nonce += 1;
    let ms = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_millis());
    let now = Instant::now();
    if lane.decoder.is_some() {
        let text = frame(load, key, *nonce, ms);
        lane.out.clear();
        // As little random as the rest of the load.
        let mask = (*nonce as u32 | 0x0100_0001).to_be_bytes();
        websocket::push(&mut lane.out, Kind::Text, true, text.as_bytes(), Some(mask));
        lane.transport.send(&lane.out)?;
    } else {
        lane.transport.send(&request(load, key, *nonce, ms))?;
    }
    lane.sent.push_back((*nonce, now));
    Ok(())
}

/// What has come whole.
fn answers(lane: &mut Lane) -> io::Result<Vec<Answer>> {
    let Some(decoder) = lane.decoder.as_mut() else {
        return Ok(match whole(&mut lane.input, &mut lane.body)? {
            true => lane
                .body
                .take()
                .map(|(status, _, body)| (None, status, body)),
            false => None,
        }
        .into_iter()
        .collect());
    };
    #[derive(Deserialize)]
    struct Head {
        id: u64,
        status: u16,
    }
    let mut found = Vec::new();
    let mut at = 0;
    loop {
        match decoder
            .next(&mut lane.input, &mut at)
            .map_err(|why| io::Error::other(why.to_string()))?
        {
            None => break,
            Some(Event::Text(text)) => {
                let head: Head = serde_json::from_str(text)?;
                let kept = if head.status == 200 { "" } else { text };
                found.push((Some(head.id), head.status, kept.as_bytes().to_vec()));
            }
            Some(Event::Close(code)) => {
                return Err(io::Error::other(format!(
                    "the WebSocket was closed: {code:?}"
                )));
            }
            Some(Event::Ping(_) | Event::Pong) => {}
        }
    }
    lane.input.drain(..at);
    Ok(found)
}

/// Takes an answer further; `true` once it is whole.
pub fn whole(input: &mut Vec<u8>, answer: &mut Option<(u16, Body, Vec<u8>)>) -> io::Result<bool> {
    if answer.is_none() {
        match answer::head(input).map_err(|e| io::Error::other(e.to_string()))? {
            None => return Ok(false),
            Some((head, used)) => {
                input.drain(..used);
                *answer = Some((head.status, Body::new(&head), Vec::new()));
            }
        }
    }
    let Some((_, body, bytes)) = answer.as_mut() else {
        return Ok(false);
    };
    let used = body
        .take(input, bytes, usize::MAX)
        .map_err(|e| io::Error::other(e.to_string()))?;
    input.drain(..used);
    Ok(body.is_done())
}

/// The next request.
fn request(load: &Load, key: &hmac::Key, nonce: u64, ms: u128) -> Vec<u8> {
    match nonce % 10 {
        3 if load.mixed => read(load, key, ms),
        7 if load.mixed => {
            b"GET /api/v3/depth?limit=5&symbol=BTCUSDT HTTP/1.1\r\nHost: api.binance.com\r\n\r\n"
                .to_vec()
        }
        _ => order(load, key, nonce, ms),
    }
}

/// A signed read.
fn read(load: &Load, key: &hmac::Key, ms: u128) -> Vec<u8> {
    let mut query = format!("symbol=BTCUSDT&timestamp={ms}");
    append_signature(key, &mut query);
    format!(
        "GET /api/v3/openOrders?{query} HTTP/1.1\r\nHost: api.binance.com\r\nX-MBX-APIKEY: {}\r\n\r\n",
        load.api_key
    )
    .into_bytes()
}

fn append_signature(key: &hmac::Key, text: &mut String) {
    let tag = hmac::sign(key, text.as_bytes());
    text.push_str("&signature=");
    for byte in tag.as_ref() {
        let _ = write!(text, "{byte:02x}");
    }
}

fn side_and_price(nonce: u64) -> (&'static str, &'static str) {
    match nonce.is_multiple_of(2) {
        true => ("BUY", "65000.1"),
        false => ("SELL", "65000.2"),
    }
}

/// The same order as a frame of the WebSocket API; what is signed are its parameters, sorted.
fn frame(load: &Load, key: &hmac::Key, nonce: u64, ms: u128) -> String {
    let (side, price) = side_and_price(nonce);
    let (api_key, process) = (&load.api_key, std::process::id());
    let signed = format!(
        "apiKey={api_key}&newClientOrderId=b{process}x{nonce}&price={price}&quantity=0.001&recvWindow=5000&side={side}\
         &symbol=BTCUSDT&timeInForce=IOC&timestamp={ms}&type=LIMIT",
    );
    let tag = hmac::sign(key, signed.as_bytes());
    let mut text = format!(
        "{{\"id\":{nonce},\"method\":\"order.place\",\"params\":{{\"apiKey\":\"{api_key}\",\
         \"newClientOrderId\":\"b{process}x{nonce}\",\"price\":\"{price}\",\"quantity\":\"0.001\",\"recvWindow\":5000,\
         \"side\":\"{side}\",\"symbol\":\"BTCUSDT\",\"timeInForce\":\"IOC\",\"timestamp\":{ms},\"type\":\"LIMIT\",\
         \"signature\":\""
    );
    for byte in tag.as_ref() {
        let _ = write!(text, "{byte:02x}");
    }
    text.push_str("\"}}");
    text
}

/// A signed limit order as python-binance sends it.
fn order(load: &Load, key: &hmac::Key, nonce: u64, ms: u128) -> Vec<u8> {
    let (side, price) = side_and_price(nonce);
    let mut body = format!(
        "newClientOrderId=b{}x{nonce}&price={price}&quantity=0.001&recvWindow=5000&side={side}&symbol=BTCUSDT\
         &timeInForce=IOC&timestamp={ms}&type=LIMIT",
        std::process::id(),
    );
    append_signature(key, &mut body);
    format!(
        "POST /api/v3/order HTTP/1.1\r\nHost: api.binance.com\r\nUser-Agent: bench\r\nAccept: application/json\r\n\
         Accept-Encoding: gzip, deflate\r\nContent-Type: application/x-www-form-urlencoded\r\nX-MBX-APIKEY: {}\r\n\
         Content-Length: {}\r\n\r\n{body}",
        load.api_key,
        body.len(),
    )
    .into_bytes()
}
