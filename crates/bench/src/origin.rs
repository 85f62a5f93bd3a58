//! The origin of the benchmark: one thread, TLS, kept-alive, and the same answer to every request, by REST or WebSocket, so
//! that what is measured is what stands before it. It checks nothing; the simulated Binance does that elsewhere.

use mio::net::TcpListener;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use portcullis_gateway::request::{self, Parse};
use portcullis_gateway::transport::{READ_BYTES_MAX, Received, Transport};
use portcullis_gateway::websocket::{self, Decoder, Event, From, Kind};
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::Arc;

/// An order that expired at once, as Binance answers it (`newOrderRespType=RESULT`): it leaves nothing open.
fn order(client_order_id: &str, side: &str, number: u64) -> String {
    format!(
        r#"{{"symbol":"BTCUSDT","orderId":{number},"orderListId":-1,"clientOrderId":"{client_order_id}","transactTime":1790000000123,"price":"65000.10000000","origQty":"0.00100000","executedQty":"0.00000000","origQuoteOrderQty":"0.00000000","cummulativeQuoteQty":"0.00000000","status":"EXPIRED","timeInForce":"IOC","type":"LIMIT","side":"{side}","workingTime":1790000000123,"selfTradePreventionMode":"NONE"}}"#
    )
}

/// The value of a field of the request's body or query; the benchmark's client needs no escapes.
fn field<'a>(request: &'a request::Request<'_>, name: &str) -> &'a str {
    [request.body, request.target]
        .into_iter()
        .filter_map(|bytes| std::str::from_utf8(bytes).ok())
        .flat_map(|text| text.split(['&', '?']))
        .find_map(|part| part.strip_prefix(name)?.strip_prefix('='))
        .unwrap_or("")
}

/// The value of a member of a frame as it is written there; what the benchmark sends has no escapes and no spaces.
fn member<'a>(frame: &'a str, name: &str) -> &'a str {
    let value = frame
        .split_once(name)
        .and_then(|(_, rest)| rest.strip_prefix(':'))
        .unwrap_or("");
    value.split([',', '}']).next().unwrap_or("")
}

/// One connection.
struct Line {
    transport: Transport,
    input: Vec<u8>,
    /// Once it is a WebSocket.
    decoder: Option<Decoder>,
}

/// Serves until the process is ended. Writes the port to `ready` first.
pub fn serve(chain_pem: &str, key_pem: &str, ready: &mut dyn io::Write) -> io::Result<()> {
    let config = portcullis_gateway::tls::server(chain_pem.as_bytes(), key_pem.as_bytes())
        .map_err(io::Error::other)?;
    let mut listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    writeln!(ready, "{}", listener.local_addr()?.port())?;
    ready.flush()?;
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(1024);
    poll.registry()
        .register(&mut listener, Token(0), Interest::READABLE)?;
    let mut connections: HashMap<usize, Line> = HashMap::new();
    let mut next = 1;
    let mut orders = 0;
    let mut scratch = vec![0; READ_BYTES_MAX];
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            if event.token() == Token(0) {
                while let Ok((stream, _)) = listener.accept() {
                    stream.set_nodelay(true)?;
                    let fd = stream.as_raw_fd();
                    poll.registry().register(
                        &mut SourceFd(&fd),
                        Token(next),
                        Interest::READABLE | Interest::WRITABLE,
                    )?;
                    let tls = rustls::ServerConnection::new(Arc::clone(&config))
                        .map_err(io::Error::other)?;
                    let line = Line {
                        transport: Transport::tls(std_stream(stream), tls.into()),
                        input: Vec::new(),
                        decoder: None,
                    };
                    connections.insert(next, line);
                    next += 1;
                }
                continue;
            }
            let key = event.token().0;
            let Some(line) = connections.get_mut(&key) else {
                continue;
            };
            if answer(line, &mut scratch, &mut orders).is_err() {
                connections.remove(&key);
            }
        }
    }
}

fn std_stream(stream: mio::net::TcpStream) -> std::net::TcpStream {
    std::net::TcpStream::from(std::os::fd::OwnedFd::from(stream))
}

fn answer(line: &mut Line, scratch: &mut [u8], orders: &mut u64) -> io::Result<()> {
    line.transport.flush()?;
    loop {
        match line.transport.receive(scratch, &mut line.input)? {
            Received::Bytes(0) => return Ok(()),
            Received::Closed => return Err(io::ErrorKind::UnexpectedEof.into()),
            Received::Bytes(_) => {}
        }
        while line.decoder.is_none()
            && let Parse::Complete(request) = request::parse(&line.input)
        {
            let length = request.length;
            if websocket::is_upgrade(&request) {
                let accept =
                    websocket::accept(&request).map_err(|(_, why)| io::Error::other(why))?;
                line.transport.send(
                    format!(
                        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                         Sec-WebSocket-Accept: {accept}\r\n\r\n"
                    )
                    .as_bytes(),
                )?;
                line.input.drain(..length);
                line.decoder = Some(Decoder::new(From::Program, READ_BYTES_MAX));
                break;
            }
            let body = if request.target.starts_with(b"/api/v3/order") {
                *orders += 1;
                order(
                    field(&request, "newClientOrderId"),
                    field(&request, "side"),
                    *orders,
                )
            } else {
                other(request.target)
            };
            let text = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json;charset=UTF-8\r\nContent-Length: {}\r\n\
                 Connection: keep-alive\r\nx-mbx-used-weight-1m: 1\r\nx-mbx-order-count-10s: 1\r\n\r\n{body}",
                body.len()
            );
            line.transport.send(text.as_bytes())?;
            line.input.drain(..length);
        }
        if let Some(decoder) = line.decoder.as_mut() {
            let (mut at, mut out) = (0, Vec::new());
            loop {
                match decoder
                    .next(&mut line.input, &mut at)
                    .map_err(|why| io::Error::other(why.to_string()))?
                {
                    None => break,
                    Some(Event::Text(text)) => {
                        *orders += 1;
                        let answer = told(text, *orders);
                        websocket::push(&mut out, Kind::Text, true, answer.as_bytes(), None);
                    }
                    Some(Event::Close(_)) => return Err(io::ErrorKind::UnexpectedEof.into()),
                    Some(Event::Ping(text)) => {
                        let text = text.to_vec();
                        websocket::push(&mut out, Kind::Pong, true, &text, None);
                    }
                    Some(Event::Pong) => {}
                }
            }
            line.input.drain(..at);
            if !out.is_empty() {
                line.transport.send(&out)?;
            }
        }
    }
}

/// The answer to an order's frame, with the limits that stand beside it.
fn told(frame: &str, number: u64) -> String {
    let word = |name| member(frame, name).trim_matches('"');
    let order = order(word("\"newClientOrderId\""), word("\"side\""), number);
    format!(
        r#"{{"id":{},"status":200,"result":{order},"rateLimits":[{{"rateLimitType":"ORDERS","interval":"SECOND","intervalNum":10,"limit":100000,"count":1}},{{"rateLimitType":"ORDERS","interval":"DAY","intervalNum":1,"limit":200000000,"count":1}},{{"rateLimitType":"REQUEST_WEIGHT","interval":"MINUTE","intervalNum":1,"limit":1000000,"count":1}}]}}"#,
        member(frame, "\"id\"")
    )
}

/// What the gate asks for itself: the venue's time and prices.
fn other(target: &[u8]) -> String {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |d| d.as_millis());
    if target.starts_with(b"/api/v3/time") {
        return format!("{{\"serverTime\":{now}}}");
    }
    if target.starts_with(b"/api/v3/ticker") {
        return r#"[{"symbol":"BTCUSDT","price":"65000.10000000","bidPrice":"65000.00","askPrice":"65000.20"}]"#.to_owned();
    }
    "[]".to_owned()
}
