//! Pipes through both rooms as processes: a program's WebSocket with one of its own at the venue. What is said goes through
//! as it is and in order, the signer hears first what is of an account, each end's close is the other's, and nothing is sent
//! twice.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests state what must hold"
)]

mod common;

use common::{Gate, PATIENCE, certificate, put, send};
use minicbor::bytes::ByteVec;
use portcullis_gateway::tls;
use portcullis_gateway::upstream::OPENINGS_MAX;
use portcullis_model::id::RequestId;
use portcullis_model::report::Sent;
use portcullis_model::wire::{
    self, Credit, Hosts, Lane, Leave, Outcome, Reply, Request, Told, kind,
};
use portcullis_venues::{Catalog, Method};
use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tungstenite::protocol::frame::CloseFrame;
use tungstenite::{Message, WebSocket};

const HOST: &str = "stream.binance.com";

/// A venue that says back what is said to it, but for a few words.
struct Venue {
    address: SocketAddr,
    ca: Vec<u8>,
    /// Targets of handshakes, in order.
    opened: Arc<Mutex<Vec<String>>>,
    /// Frames, with the number of their connection.
    seen: Arc<Mutex<Vec<(usize, String)>>>,
    /// Connections that have ended.
    ended: Receiver<usize>,
}

fn venue() -> Venue {
    let (ca, chain, key, _) = certificate("venue.test");
    let config = tls::server(chain.as_bytes(), key.as_bytes()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let opened = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (tell, ended) = channel();
    let (targets, frames) = (Arc::clone(&opened), Arc::clone(&seen));
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let (config, tell) = (Arc::clone(&config), tell.clone());
            let (targets, frames) = (Arc::clone(&targets), Arc::clone(&frames));
            std::thread::spawn(move || {
                let stream = stream.unwrap();
                stream.set_nodelay(true).unwrap();
                let tls = rustls::ServerConnection::new(config).unwrap();
                let stream = rustls::StreamOwned::new(tls, stream);
                #[expect(clippy::result_large_err, reason = "tungstenite's own")]
                let note = |request: &tungstenite::handshake::server::Request, answer| {
                    let target = request.uri().to_string();
                    targets.lock().unwrap().push(target.clone());
                    match target.contains("refused") {
                        true => Err(http_400()),
                        false => Ok(answer),
                    }
                };
                if let Ok(socket) = tungstenite::accept_hdr(stream, note) {
                    let _ = serve(socket, number, &frames);
                }
                let _ = tell.send(number);
            });
        }
    });
    Venue {
        address,
        ca,
        opened,
        seen,
        ended,
    }
}

fn http_400() -> tungstenite::handshake::server::ErrorResponse {
    let mut answer = tungstenite::handshake::server::ErrorResponse::new(None);
    *answer.status_mut() = tungstenite::http::StatusCode::BAD_REQUEST;
    answer
}

fn serve<S: std::io::Read + std::io::Write>(
    mut socket: WebSocket<S>,
    number: usize,
    frames: &Mutex<Vec<(usize, String)>>,
) -> tungstenite::Result<()> {
    loop {
        let Message::Text(text) = socket.read()? else {
            continue;
        };
        frames.lock().unwrap().push((number, text.to_string()));
        match text.as_str() {
            said if said.contains("close") => {
                socket.close(Some(CloseFrame {
                    code: 4003.into(),
                    reason: "enough".into(),
                }))?;
                socket.flush()?;
            }
            said if said.contains("vanish") => return Ok(()),
            said if said.contains("silent") => {}
            said if said.contains("many") => {
                for at in 0..50 {
                    let size = [10, 70_000, 3, 32_768, 200_000][at % 5];
                    socket.send(Message::text(format!("{at}:{}", "é".repeat(size / 2))))?;
                }
            }
            said => socket.send(Message::text(said))?,
        }
    }
}

impl Venue {
    fn hosts(&self) -> Hosts {
        Hosts {
            hosts: vec![wire::Host {
                venue: "binance".to_owned(),
                name: "venue.test".to_owned(),
                address: self.address.to_string(),
                pins: Vec::new(),
                public_roots: false,
                weight_per_minute: 1_000_000,
                orders_per_10s: 1_000_000,
            }],
            roots: vec![ByteVec::from(self.ca.clone())],
        }
    }
}

/// A gate whose signer lets everything through. A frame with `account` in it is of an account; one with `order` is
/// awaited; one with `no` is refused.
struct Passing {
    gate: Gate,
    outcomes: Receiver<Outcome>,
    told: Receiver<Told>,
    gone: Receiver<u64>,
    pipes: Arc<Mutex<HashMap<u64, RequestId>>>,
    to_egress: Arc<Mutex<std::fs::File>>,
}

fn passing(venue: &Venue) -> Passing {
    let mut gate = Gate::of_host(&venue.hosts(), HOST);
    let (to_program, to_egress) = (
        Arc::clone(&gate.with_ingress.to),
        Arc::clone(&gate.with_egress.to),
    );
    let (connect, _) = Catalog::builtin()
        .unwrap()
        .find(HOST, Method::Ws, "CONNECT")
        .unwrap();
    let pipes: Arc<Mutex<HashMap<u64, RequestId>>> = Arc::default();
    let (known, sends) = (Arc::clone(&pipes), Arc::clone(&to_egress));
    let (tell_gone, gone) = channel();
    let frames = std::mem::replace(&mut gate.with_ingress.frames, channel().1);
    std::thread::spawn(move || {
        while let Ok((kind, cbor)) = frames.recv() {
            if kind == kind::GONE {
                let gone: wire::Gone = wire::message(&cbor).unwrap();
                known.lock().unwrap().remove(&gone.connection);
                let _ = tell_gone.send(gone.connection);
            }
            if kind != kind::REQUEST {
                continue;
            }
            let request: Request<'_> = wire::message(&cbor).unwrap();
            assert_eq!((request.method, request.host), ("WS", HOST));
            let body = std::str::from_utf8(request.body).unwrap();
            let target = std::str::from_utf8(request.target).unwrap();
            let mut send = send(request.id, "WS", request.target, request.body);
            send.account = None;
            send.endpoint = connect;
            if body.is_empty() {
                known.lock().unwrap().insert(request.connection, request.id);
            }
            send.pipe = known.lock().unwrap().get(&request.connection).copied();
            if body.contains("account") {
                send.account = Some(portcullis_model::id::AccountId(2));
            }
            send.summarize = body.contains("order");
            if body.contains("\"no") || target.contains("forbidden") {
                let reply = Reply {
                    id: request.id,
                    status: 403,
                    headers: Vec::new(),
                    body: (&br#"{"code":-1,"msg":"no"}"#[..]).into(),
                };
                put(&to_program, kind::REPLY, &reply);
            } else {
                put(&sends, kind::SEND, &send);
            }
            let credit = Credit {
                lane: Lane::Order,
                frames: 1,
            };
            put(&to_program, kind::CREDIT, &credit);
        }
    });
    let (tell, outcomes) = channel();
    let (tell_told, told) = channel();
    let frames = std::mem::replace(&mut gate.with_egress.frames, channel().1);
    std::thread::spawn(move || {
        while let Ok((kind, cbor)) = frames.recv() {
            if kind == kind::TOLD {
                let _ = tell_told.send(wire::message(&cbor).unwrap());
            }
            if kind == kind::OUTCOME && tell.send(wire::message(&cbor).unwrap()).is_err() {
                return;
            }
        }
    });
    Passing {
        gate,
        outcomes,
        told,
        gone,
        pipes,
        to_egress,
    }
}

type Program = WebSocket<TcpStream>;

impl Passing {
    fn raw(&self) -> TcpStream {
        let stream = TcpStream::connect(self.gate.listener.local_addr().unwrap()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    fn program(&self, target: &str) -> Program {
        let (program, answer) =
            tungstenite::client(format!("ws://gate{target}"), self.raw()).unwrap();
        assert_eq!(answer.headers().get("sec-websocket-extensions"), None);
        assert_eq!(self.outcome(), (Sent::Sent, 101, String::new()));
        program
    }

    /// The status of a handshake that is refused.
    fn refused(&self, target: &str) -> u16 {
        match tungstenite::client(format!("ws://gate{target}"), self.raw()) {
            Err(tungstenite::HandshakeError::Failure(tungstenite::Error::Http(answer))) => {
                answer.status().as_u16()
            }
            other => panic!("{other:?}"),
        }
    }

    fn outcome(&self) -> (Sent, u16, String) {
        let outcome = self.outcomes.recv_timeout(PATIENCE).unwrap();
        let why = outcome.why.unwrap_or_default();
        (outcome.sent, outcome.status, why)
    }
}

fn say(program: &mut Program, text: &str) {
    program.send(Message::text(text)).unwrap();
}

fn hear(program: &mut Program) -> String {
    loop {
        match program.read().unwrap() {
            Message::Text(text) => return text.to_string(),
            Message::Close(close) => panic!("closed: {close:?}"),
            _ => {}
        }
    }
}

fn closed(program: &mut Program) -> u16 {
    loop {
        match program.read() {
            Ok(Message::Close(Some(close))) => return close.code.into(),
            Ok(_) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

const SUBSCRIBE: &str = r#"{"method":"SUBSCRIBE","params":["a@trade"],"id":1}"#;

#[test]
fn each_program_has_a_connection_of_its_own_and_hears_all_of_it_as_it_is() {
    let venue = venue();
    let gate = passing(&venue);
    let mut one = gate.program("/ws/a@trade");
    let mut other = gate.program("/stream?streams=b@trade");
    assert_eq!(
        *venue.opened.lock().unwrap(),
        ["/ws/a@trade", "/stream?streams=b@trade"]
    );
    say(&mut one, SUBSCRIBE);
    assert_eq!(hear(&mut one), SUBSCRIBE);
    let many = r#"{"method":"many","id":2}"#;
    say(&mut other, many);
    for at in 0..50 {
        let size = [10, 70_000, 3, 32_768, 200_000][at % 5];
        assert_eq!(hear(&mut other), format!("{at}:{}", "é".repeat(size / 2)));
    }
    let seen = venue.seen.lock().unwrap().clone();
    assert_eq!(
        seen,
        [(0, SUBSCRIBE.to_owned()), (1, many.to_owned())],
        "each on its own connection, and once"
    );
    for _ in 0..2 {
        assert_eq!(gate.outcome(), (Sent::Sent, 200, String::new()));
    }
}

#[test]
fn a_handshake_is_refused_before_it_is_answered() {
    let venue = venue();
    let gate = passing(&venue);
    // By the signer, by the venue, and where nobody speaks it.
    assert_eq!(gate.refused("/ws/forbidden"), 403);
    assert_eq!(gate.refused("/ws/refused"), 400);
    assert_eq!(gate.outcome(), (Sent::Sent, 400, String::new()));
    assert_eq!(*venue.opened.lock().unwrap(), ["/ws/refused"]);
    let mut program = gate.program("/ws");
    say(&mut program, SUBSCRIBE);
    assert_eq!(hear(&mut program), SUBSCRIBE);
}

#[test]
fn a_venues_close_is_the_programs() {
    let venue = venue();
    let gate = passing(&venue);
    let mut program = gate.program("/ws");
    say(&mut program, r#"{"method":"close","id":1}"#);
    assert_eq!(closed(&mut program), 4003);
    assert_eq!(gate.outcome(), (Sent::Sent, 200, String::new()));
    let mut program = gate.program("/ws");
    say(&mut program, r#"{"method":"vanish","id":1}"#);
    assert_eq!(closed(&mut program), 1001);
    gate.gone.recv_timeout(PATIENCE).unwrap();
    gate.gone.recv_timeout(PATIENCE).unwrap();
    // Nothing is opened anew.
    assert_eq!(venue.opened.lock().unwrap().len(), 2);
    assert!(gate.pipes.lock().unwrap().is_empty());
}

#[test]
fn a_program_that_leaves_takes_its_connection_along() {
    let venue = venue();
    let gate = passing(&venue);
    let program = gate.program("/ws");
    drop(program);
    assert_eq!(venue.ended.recv_timeout(PATIENCE), Ok(0));
    gate.gone.recv_timeout(PATIENCE).unwrap();
}

#[test]
fn the_signer_ends_a_pipe_whatever_ingress_does() {
    let venue = venue();
    let gate = passing(&venue);
    let mut program = gate.program("/ws");
    let id = *gate.pipes.lock().unwrap().values().next().unwrap();
    put(&gate.to_egress, kind::LEAVE, &Leave { id });
    assert_eq!(venue.ended.recv_timeout(PATIENCE), Ok(0));
    assert_eq!(closed(&mut program), 1001);
}

#[test]
fn pipes_end_with_the_signer_that_knew_of_them() {
    let venue = venue();
    let gate = passing(&venue);
    let mut program = gate.program("/ws");
    let with_egress = common::with_signer(&gate.gate.egress, 2);
    assert_eq!(venue.ended.recv_timeout(PATIENCE), Ok(0));
    assert_eq!(closed(&mut program), 1001);
    drop(with_egress);
}

#[test]
fn a_refusal_is_written_as_the_venue_would() {
    let venue = venue();
    let gate = passing(&venue);
    let mut program = gate.program("/ws");
    say(&mut program, r#"{"method":"no","id":"x-7"}"#);
    assert_eq!(
        hear(&mut program),
        r#"{"error":{"code":-1,"msg":"no"},"id":"x-7"}"#
    );
    // What no dialect can read goes nowhere.
    say(&mut program, "no JSON");
    assert!(hear(&mut program).ends_with(r#","id":null}"#));
    assert!(venue.seen.lock().unwrap().is_empty());
}

#[test]
fn what_is_awaited_is_sent_once_and_may_have_been_sent_when_its_pipe_ends() {
    let venue = venue();
    let gate = passing(&venue);
    let mut program = gate.program("/ws");
    say(&mut program, r#"{"method":"account order silent","id":5}"#);
    // The same id again, and none at all: nobody would know which of them is answered.
    say(&mut program, r#"{"method":"account order silent","id":5}"#);
    assert_eq!(gate.outcome(), (Sent::NotSent, 0, "id_in_use".to_owned()));
    assert!(hear(&mut program).contains("not sent"));
    say(&mut program, r#"{"method":"account order silent"}"#);
    assert_eq!(gate.outcome(), (Sent::NotSent, 0, "id_in_use".to_owned()));
    assert!(hear(&mut program).contains("not sent"));
    say(&mut program, r#"{"method":"vanish","id":6}"#);
    assert_eq!(gate.outcome(), (Sent::Sent, 200, String::new()));
    assert_eq!(
        gate.outcome(),
        (Sent::MaybeSent, 0, "venue_closed".to_owned())
    );
    let told = gate.told.recv_timeout(PATIENCE).unwrap();
    assert!(told.ended);
    assert!(
        hear(&mut program).contains("may have reached"),
        "no word of it"
    );
    assert_eq!(closed(&mut program), 1001);
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(venue.seen.lock().unwrap().len(), 2, "sent again");
}

#[test]
fn a_venue_is_not_stormed_with_connections() {
    let venue = venue();
    let gate = passing(&venue);
    for _ in 0..OPENINGS_MAX {
        let program = gate.program("/ws");
        drop(program);
        venue.ended.recv_timeout(PATIENCE).unwrap();
    }
    // As Binance says of too many orders; the venue itself was not asked.
    assert_eq!(gate.refused("/ws"), 400);
    assert_eq!(
        gate.outcome(),
        (Sent::NotSent, 0, "venue_connections".to_owned())
    );
    assert_eq!(venue.opened.lock().unwrap().len(), OPENINGS_MAX);
}
