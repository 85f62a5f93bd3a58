//! The client of the benchmark: so many kept-alive connections, each with one request in flight, signed afresh like a
//! trading program's. It runs as a process of its own so that it can be pinned, and prints one JSON line.

use aws_lc_rs::hmac;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use portcullis_gateway::answer::{self, Body};
use portcullis_gateway::transport::{READ_BYTES_MAX, Received, Transport};
use serde::{Deserialize, Serialize};
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
    sent_at: Instant,
    body: Option<(u16, Body, Vec<u8>)>,
}

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
        lanes.push(Lane {
            transport,
            due: None,
            input: Vec::new(),
            sent_at: Instant::now(),
            body: None,
        });
    }
    let mut scratch = vec![0; READ_BYTES_MAX];
    let mut nonce = 0u64;
    for lane in &mut lanes {
        lane.sent_at = Instant::now();
        lane.transport.send(&request(load, &key, &mut nonce))?;
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
            lane.sent_at = Instant::now();
            lane.transport.send(&request(load, &key, &mut nonce))?;
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
            if !whole(lane)? {
                continue;
            }
            let now = Instant::now();
            if let Some((status, _, body)) = lane.body.take()
                && now - begun > warm
            {
                let took = u32::try_from((now - lane.sent_at).as_nanos() / 10).unwrap_or(u32::MAX);
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
            lane.sent_at = Instant::now();
            lane.transport.send(&request(load, &key, &mut nonce))?;
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

/// Takes the answer further; `true` once it is whole.
fn whole(lane: &mut Lane) -> io::Result<bool> {
    if lane.body.is_none() {
        match answer::head(&lane.input).map_err(|e| io::Error::other(e.to_string()))? {
            None => return Ok(false),
            Some((head, used)) => {
                lane.input.drain(..used);
                lane.body = Some((head.status, Body::new(&head), Vec::new()));
            }
        }
    }
    let Some((_, body, bytes)) = lane.body.as_mut() else {
        return Ok(false);
    };
    let used = body
        .take(&lane.input, bytes, usize::MAX)
        .map_err(|e| io::Error::other(e.to_string()))?;
    lane.input.drain(..used);
    Ok(body.is_done())
}

/// The next request.
fn request(load: &Load, key: &hmac::Key, nonce: &mut u64) -> Vec<u8> {
    *nonce += 1;
    let ms = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_millis());
    match *nonce % 10 {
        3 if load.mixed => read(load, key, ms),
        7 if load.mixed => {
            b"GET /api/v3/depth?limit=5&symbol=BTCUSDT HTTP/1.1\r\nHost: api.binance.com\r\n\r\n"
                .to_vec()
        }
        _ => order(load, key, *nonce, ms),
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

/// A signed limit order as python-binance sends it.
fn order(load: &Load, key: &hmac::Key, nonce: u64, ms: u128) -> Vec<u8> {
    let (side, price) = if nonce.is_multiple_of(2) {
        ("BUY", "65000.1")
    } else {
        ("SELL", "65000.2")
    };
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
