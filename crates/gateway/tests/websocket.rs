//! WebSocket through both rooms as processes, with another implementation at both ends: many requests at once on one
//! connection, each with its own id; what is sent at most once; and what a program that breaks the protocol gets.
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
use portcullis_model::report::{OrderStatus, Report, Sent};
use portcullis_model::wire::{self, Close, Credit, Hosts, Lane, Outcome, Reply, Request, kind};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tungstenite::{Message, WebSocket};

/// What the venue does with a request.
enum Does {
    Says(String),
    /// An answer, and then more unasked.
    SaysAll(Vec<String>),
    /// Nothing now; the next one that is answered has its turn first.
    Keeps,
    Closes,
    /// Ends the connection without a word.
    Vanishes,
    /// Answers, and does so a moment later.
    SaysAndVanishes(String),
}

type Script = dyn Fn(usize, &Value) -> Does + Send + Sync;

/// A venue that speaks WebSocket over TLS.
struct Venue {
    address: SocketAddr,
    ca: Vec<u8>,
    /// Requests as they came, with the number of their connection.
    seen: Arc<Mutex<Vec<(usize, Value)>>>,
}

fn venue(script: impl Fn(usize, &Value) -> Does + Send + Sync + 'static) -> Venue {
    let (ca, chain, key, _) = certificate("venue.test");
    let config = tls::server(chain.as_bytes(), key.as_bytes()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (script, told): (Arc<Script>, _) = (Arc::new(script), Arc::clone(&seen));
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let (config, script, told) =
                (Arc::clone(&config), Arc::clone(&script), Arc::clone(&told));
            std::thread::spawn(move || {
                let stream = stream.unwrap();
                stream.set_nodelay(true).unwrap();
                let tls = rustls::ServerConnection::new(config).unwrap();
                let stream = rustls::StreamOwned::new(tls, stream);
                let Ok(socket) = tungstenite::accept(stream) else {
                    return;
                };
                let _ = serve(socket, &*script, number, &told);
            });
        }
    });
    Venue { address, ca, seen }
}

fn serve<S: Read + Write>(
    mut socket: WebSocket<S>,
    script: &Script,
    number: usize,
    told: &Mutex<Vec<(usize, Value)>>,
) -> tungstenite::Result<()> {
    socket.send(Message::Ping((&b"there?"[..]).into()))?;
    let mut kept: Vec<String> = Vec::new();
    loop {
        let Message::Text(text) = socket.read()? else {
            continue;
        };
        let request: Value = serde_json::from_str(&text).unwrap();
        told.lock().unwrap().push((number, request.clone()));
        match script(number, &request) {
            Does::Says(answer) => {
                socket.send(Message::text(answer))?;
                for answer in kept.drain(..).rev() {
                    socket.send(Message::text(answer))?;
                }
            }
            Does::SaysAll(all) => {
                for text in all {
                    socket.send(Message::text(text))?;
                }
            }
            Does::Keeps => kept.push(answer(&request, &json!({"kept": true}))),
            Does::Closes => {
                socket.close(None)?;
                socket.flush()?;
            }
            Does::Vanishes => return Ok(()),
            Does::SaysAndVanishes(text) => {
                socket.send(Message::text(text))?;
                std::thread::sleep(Duration::from_millis(50));
                return Ok(());
            }
        }
    }
}

/// As the venue writes it.
fn answer(request: &Value, result: &Value) -> String {
    let limits = r#"[{"rateLimitType":"REQUEST_WEIGHT","interval":"MINUTE","intervalNum":1,"limit":6000,"count":9}]"#;
    format!(
        r#"{{"id":{},"status":200,"result":{result},"rateLimits":{limits}}}"#,
        request["id"]
    )
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

    fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

/// A gate whose signer lets every frame through, rebuilt without the program's id.
struct Passing {
    gate: (common::Room, common::Room),
    listener: TcpListener,
    outcomes: Receiver<Outcome>,
    told: Receiver<wire::Told>,
    connections: Receiver<u64>,
    gone: Receiver<u64>,
    to_ingress: Arc<Mutex<std::fs::File>>,
}

fn passing(venue: &Venue) -> Passing {
    let Gate {
        ingress,
        egress,
        with_ingress,
        with_egress,
        listener,
        ..
    } = Gate::new(&venue.hosts());
    let (to_ingress, to_egress) = (Arc::clone(&with_ingress.to), Arc::clone(&with_egress.to));
    let to_program = Arc::clone(&to_ingress);
    let (endpoint, _) = portcullis_venues::Catalog::builtin()
        .unwrap()
        .find(
            "ws-api.binance.com",
            portcullis_venues::Method::Ws,
            "userDataStream.subscribe.signature",
        )
        .unwrap();
    let (tell_connection, connections) = channel();
    let (tell_gone, gone) = channel();
    std::thread::spawn(move || {
        while let Ok((kind, cbor)) = with_ingress.frames.recv() {
            if kind == kind::GONE {
                let gone: wire::Gone = wire::message(&cbor).unwrap();
                let _ = tell_gone.send(gone.connection);
            }
            if kind != kind::REQUEST {
                continue;
            }
            let request: Request<'_> = wire::message(&cbor).unwrap();
            assert_eq!(
                (request.method, &request.target[..]),
                ("WS", &b"/ws-api/v3"[..])
            );
            let _ = tell_connection.send(request.connection);
            let mut frame: Value = serde_json::from_slice(request.body).unwrap();
            frame.as_object_mut().unwrap().remove("id");
            if frame["method"] == "session.logon" {
                let reply = Reply {
                    id: request.id,
                    status: 200,
                    headers: Vec::new(),
                    body: (&br#"{"apiKey":"k"}"#[..]).into(),
                };
                put(&to_program, kind::REPLY, &reply);
            } else if frame["method"] == "refused" {
                let reply = Reply {
                    id: request.id,
                    status: 400,
                    headers: Vec::new(),
                    body: (&br#"{"code":-2010,"msg":"no"}"#[..]).into(),
                };
                put(&to_program, kind::REPLY, &reply);
            } else {
                let body = frame.to_string();
                let mut send = send(request.id, "WS", request.target, body.as_bytes());
                if frame["method"] == "public" {
                    send.lane = Lane::Public;
                }
                if frame["method"] == "userDataStream.subscribe.signature" {
                    send.stream = true;
                    send.endpoint = endpoint;
                }
                put(&to_egress, kind::SEND, &send);
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
    std::thread::spawn(move || {
        while let Ok((kind, cbor)) = with_egress.frames.recv() {
            if kind == kind::TOLD {
                let _ = tell_told.send(wire::message(&cbor).unwrap());
            }
            if kind == kind::OUTCOME && tell.send(wire::message(&cbor).unwrap()).is_err() {
                return;
            }
        }
    });
    Passing {
        gate: (ingress, egress),
        listener,
        outcomes,
        told,
        connections,
        gone,
        to_ingress,
    }
}

type Program = WebSocket<TcpStream>;

impl Passing {
    fn raw(&self) -> TcpStream {
        let stream = TcpStream::connect(self.listener.local_addr().unwrap()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    fn program(&self) -> Program {
        let (program, answer) = tungstenite::client("ws://gate/ws-api/v3", self.raw()).unwrap();
        assert_eq!(answer.headers().get("sec-websocket-extensions"), None);
        program
    }

    fn outcome(&self) -> (Sent, u16, String) {
        let outcome = self.outcomes.recv_timeout(PATIENCE).unwrap();
        (
            outcome.sent,
            outcome.status,
            outcome.why.unwrap_or_default(),
        )
    }
}

fn say(program: &mut Program, id: &str, method: &str) {
    let text = format!(r#"{{"id":{id},"method":"{method}","params":{{"symbol":"A"}}}}"#);
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

#[test]
fn each_answer_bears_the_id_of_its_own_request() {
    let venue = venue(|_, request| match request["method"].as_str().unwrap() {
        "keep" => Does::Keeps,
        "big" => Does::Says(answer(request, &json!("x".repeat(400_000)))),
        _ => Does::Says(answer(
            request,
            &json!({"symbol": request["params"]["symbol"]}),
        )),
    });
    let mut gate = passing(&venue);
    let mut program = gate.program();
    for id in [
        r#""a-1""#,
        "17",
        "-3",
        "null",
        r#""with \"quotes\" and é""#,
        r#""a-1""#,
    ] {
        say(&mut program, id, "order.place");
        let text = hear(&mut program);
        assert!(
            text.starts_with(&format!(
                r#"{{"id":{id},"status":200,"result":{{"symbol":"A"}},"rateLimits":"#
            )),
            "{text}"
        );
        assert_eq!(gate.outcome(), (Sent::Sent, 200, String::new()));
    }
    // Answers come in the venue's order.
    for (id, method) in [("1", "keep"), ("2", "keep"), ("3", "order.place")] {
        say(&mut program, id, method);
    }
    let ids: Vec<i64> = (0..3)
        .map(|_| {
            serde_json::from_str::<Value>(&hear(&mut program)).unwrap()["id"]
                .as_i64()
                .unwrap()
        })
        .collect();
    assert_eq!(ids, [3, 2, 1]);
    // The ids that the venue saw are ours, and no two are the same.
    let mut seen: Vec<String> = venue
        .seen
        .lock()
        .unwrap()
        .iter()
        .map(|(_, r)| r["id"].to_string())
        .collect();
    assert!(!seen.contains(&"\"a-1\"".to_owned()), "{seen:?}");
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 9);
    // A long answer comes in fragments, and what comes meanwhile comes after it, whole.
    say(&mut program, "10", "big");
    say(&mut program, "11", "order.place");
    say(&mut program, "12", "refused");
    let mut said = Vec::new();
    for _ in 0..3 {
        let text = hear(&mut program);
        let json: Value = serde_json::from_str(&text).unwrap();
        if json["id"] == 10 {
            assert_eq!(json["result"].as_str().unwrap().len(), 400_000);
        }
        if json["id"] == 12 {
            assert_eq!(
                (json["status"].as_u64(), json["error"]["code"].as_i64()),
                (Some(400), Some(-2010))
            );
        }
        said.push(json["id"].as_i64().unwrap());
    }
    said.sort_unstable();
    assert_eq!(said, [10, 11, 12]);
    say(&mut program, "13", "session.logon");
    assert_eq!(
        hear(&mut program),
        r#"{"id":13,"status":200,"result":{"apiKey":"k"}}"#
    );
    // Our pings are answered, and the venue's were: it would have said so.
    program.send(Message::Ping((&b"hi"[..]).into())).unwrap();
    assert_eq!(program.read().unwrap(), Message::Pong((&b"hi"[..]).into()));
    assert_eq!(
        gate.gate
            .1
            .metric("portcullis_egress_connections_total{result=\"websocket\"}"),
        1.0
    );
}

#[test]
fn what_was_under_way_when_the_venue_went_is_never_sent_again() {
    for does in [|| Does::Closes, || Does::Vanishes] {
        let venue = venue(
            move |_, request| match request["method"].as_str().unwrap() {
                "keep" => Does::Keeps,
                "last" => does(),
                _ => Does::Says(answer(request, &json!({}))),
            },
        );
        let gate = passing(&venue);
        let mut program = gate.program();
        say(&mut program, "1", "keep");
        assert!(gate.connections.recv_timeout(PATIENCE).unwrap() > 0);
        say(&mut program, "2", "keep");
        say(&mut program, "3", "last");
        for _ in 0..3 {
            let json: Value = serde_json::from_str(&hear(&mut program)).unwrap();
            assert_eq!(
                (json["status"].as_u64(), json["error"]["code"].as_i64()),
                (Some(504), Some(-1007)),
                "{json}"
            );
            let (sent, _, why) = gate.outcome();
            assert!(
                sent == Sent::MaybeSent && why == "venue_closed",
                "{sent:?} {why}"
            );
        }
        // The program's own connection is there, and the next request goes by a new one.
        say(&mut program, "4", "order.place");
        assert!(hear(&mut program).starts_with(r#"{"id":4,"status":200"#));
        let seen = venue.seen.lock().unwrap().clone();
        assert_eq!(seen.len(), 4, "nothing twice: {seen:?}");
        assert_eq!(
            seen.iter().map(|(n, _)| *n).collect::<Vec<_>>(),
            [0, 0, 0, 1]
        );
    }
}

#[test]
fn public_and_signed_requests_have_connections_of_their_own() {
    let venue = venue(|_, request| match request["method"].as_str().unwrap() {
        "public" => Does::Vanishes,
        _ => Does::Keeps,
    });
    let gate = passing(&venue);
    let mut program = gate.program();
    say(&mut program, "1", "keep");
    gate.connections.recv_timeout(PATIENCE).unwrap();
    common::eventually(|| venue.count() == 1);
    say(&mut program, "2", "public");
    let json: Value = serde_json::from_str(&hear(&mut program)).unwrap();
    assert_eq!(
        (json["id"].as_i64(), json["status"].as_u64()),
        (Some(2), Some(504))
    );
    assert_eq!(gate.outcome().0, Sent::MaybeSent);
    assert!(
        gate.outcomes.try_recv().is_err(),
        "the order's connection goes on"
    );
}

#[test]
fn a_venue_that_does_not_change_to_websocket_is_sent_nothing() {
    let http = common::venue(|_, _, _| common::Does::Answers(common::answer("{}")));
    let venue = Venue {
        address: http.address,
        ca: http.ca.clone(),
        seen: Arc::default(),
    };
    let gate = passing(&venue);
    let mut program = gate.program();
    say(&mut program, "1", "order.place");
    let json: Value = serde_json::from_str(&hear(&mut program)).unwrap();
    assert_eq!(
        (json["id"].as_i64(), json["status"].as_u64()),
        (Some(1), Some(503)),
        "{json}"
    );
    let (sent, _, why) = gate.outcome();
    assert!(
        sent == Sent::NotSent && why == "handshake_refused",
        "{sent:?} {why}"
    );
    assert!(
        http.seen
            .lock()
            .unwrap()
            .iter()
            .all(|line| line == "GET /ws-api/v3 HTTP/1.1")
    );
}

#[test]
fn frames_that_break_the_protocol_end_their_connection_alone() {
    let venue = venue(|_, request| Does::Says(answer(request, &json!({}))));
    let gate = passing(&venue);
    let mut honest = gate.program();
    let hello = "GET /ws-api/v3 HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let masked = |first: u8, payload: &[u8]| {
        let mut bytes = vec![first, 0x80 | payload.len() as u8, 0, 0, 0, 0];
        bytes.extend_from_slice(payload);
        bytes
    };
    for (bytes, code) in [
        (vec![0x81, 1, b'x'], 1002u16),
        (masked(0xc1, b"x"), 1002),
        (masked(0x83, b"x"), 1002),
        (masked(0x09, b"x"), 1002),
        (masked(0x80, b"x"), 1002),
        (masked(0x82, b"x"), 1003),
        (masked(0x81, b"\xff"), 1007),
        (vec![0x81, 0xfe, 0x80, 0x01, 0, 0, 0, 0], 1009),
        (
            vec![0x81, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            1009,
        ),
    ] {
        let mut stream = gate.raw();
        stream.write_all(hello.as_bytes()).unwrap();
        stream.write_all(&bytes).unwrap();
        let mut heard = Vec::new();
        // Its own end closes the connection, as the protocol asks.
        let mut part = [0; 1024];
        while !heard
            .windows(4)
            .any(|w| w[0] == 0x88 && w[2..4] == code.to_be_bytes())
        {
            let n = stream.read(&mut part).unwrap();
            assert!(n > 0, "{bytes:02x?}: {heard:02x?}");
            heard.extend_from_slice(&part[..n]);
        }
        assert!(heard.starts_with(b"HTTP/1.1 101 "));
    }
    // What is no request is answered, and ends nothing.
    for text in [
        "{",
        "[]",
        "{}",
        r#"{"id":1,"id":2,"method":"x"}"#,
        r#"{"id":{},"method":"x"}"#,
        r#"{"id":true,"method":"x"}"#,
    ] {
        honest.send(Message::text(text)).unwrap();
        let json: Value = serde_json::from_str(&hear(&mut honest)).unwrap();
        assert_eq!(
            (&json["id"], json["status"].as_u64()),
            (&Value::Null, Some(400)),
            "{text}"
        );
    }
    let long = format!(r#"{{"id":"{}","method":"x"}}"#, "i".repeat(300));
    honest.send(Message::text(long)).unwrap();
    assert!(hear(&mut honest).contains(r#""status":400"#));
    say(&mut honest, "5", "order.place");
    assert!(hear(&mut honest).starts_with(r#"{"id":5,"status":200"#));
}

#[test]
fn other_paths_and_handshakes_are_refused_in_http() {
    let venue = venue(|_, _| Does::Keeps);
    let gate = passing(&venue);
    let hello = "GET /ws-api/v3 HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    for (from, to, status) in [
        ("/ws-api/v3", "/ws-api/v2", "404"),
        ("/ws-api/v3", "/api/v3/order", "404"),
        ("GET", "POST", "400"),
        ("Version: 13", "Version: 12", "426"),
        ("dGhlIHNhbXBsZSBub25jZQ==", "x", "400"),
    ] {
        let mut stream = gate.raw();
        stream
            .write_all(hello.replacen(from, to, 1).as_bytes())
            .unwrap();
        let mut text = String::new();
        let _ = stream.read_to_string(&mut text);
        assert!(
            text.starts_with(&format!("HTTP/1.1 {status} ")),
            "{to}: {text}"
        );
    }
}

#[test]
fn a_key_that_is_locked_loses_its_connection_and_the_signer_learns_who_went() {
    let venue = venue(|_, request| Does::Says(answer(request, &json!({}))));
    let gate = passing(&venue);
    let (mut one, mut other) = (gate.program(), gate.program());
    say(&mut one, "1", "order.place");
    hear(&mut one);
    let key = gate.connections.recv_timeout(PATIENCE).unwrap();
    say(&mut other, "1", "order.place");
    hear(&mut other);
    put(
        &gate.to_ingress,
        kind::CLOSE,
        &Close {
            connections: vec![key],
        },
    );
    assert_eq!(closed(&mut one), 1008);
    drop(one);
    assert_eq!(gate.gone.recv_timeout(PATIENCE).unwrap(), key);
    say(&mut other, "2", "order.place");
    assert!(hear(&mut other).starts_with(r#"{"id":2,"status":200"#));
}

#[test]
fn a_program_that_logged_on_is_told_to_do_so_again_when_the_signer_went() {
    let venue = venue(|_, request| Does::Says(answer(request, &json!({}))));
    let gate = passing(&venue);
    let (mut one, mut other) = (gate.program(), gate.program());
    say(&mut one, "1", "session.logon");
    hear(&mut one);
    say(&mut other, "1", "order.place");
    hear(&mut other);
    let signer = common::with_signer(&gate.gate.0, 7);
    assert_eq!(closed(&mut one), 1001);
    // The other's connection goes on, with the new signer.
    say(&mut other, "2", "order.place");
    let (id, line, _) = signer.request();
    assert_eq!(line, "WS /ws-api/v3");
    common::reply(&signer, id, 400, r#"{"code":-1,"msg":"no"}"#);
    assert!(hear(&mut other).starts_with(r#"{"id":2,"status":400"#));
}

/// A fill, as the venue tells it.
fn fill(client: &str) -> String {
    format!(
        r#"{{"e":"executionReport","E":1499405658658,"s":"BTCUSDT","c":"{client}","S":"BUY","o":"LIMIT","f":"GTC","q":"1.0","p":"0.1","P":"0","F":"0","g":-1,"C":"","x":"TRADE","X":"FILLED","r":"NONE","i":4293153,"l":"1.0","z":"1.0","L":"0.1","n":"0.001","N":"BTC","T":1499405658657,"t":77,"I":8641984,"w":false,"m":true,"M":false,"O":1499405658657,"Z":"0.1","Y":"0.1","Q":"0","V":"NONE"}}"#
    )
}

#[test]
fn a_stream_tells_the_signer_first_and_then_its_own_program() {
    let event = |client: &str| format!(r#"{{"subscriptionId":0,"event":{}}}"#, fill(client));
    let venue = venue(
        move |number, request| match request["method"].as_str().unwrap() {
            "userDataStream.subscribe.signature" => Does::SaysAll(vec![
                answer(request, &json!({"subscriptionId": 0})),
                event(&format!("c{number}-1")),
                r#"{"subscriptionId":0,"event":{"e":"outboundAccountPosition","B":[]}}"#.to_owned(),
                event(&format!("c{number}-2")),
            ]),
            _ => Does::Says(answer(request, &json!({}))),
        },
    );
    let gate = passing(&venue);
    let (mut one, mut other) = (gate.program(), gate.program());
    say(&mut other, "1", "order.place");
    hear(&mut other);
    for number in 0..2 {
        say(&mut one, "7", "userDataStream.subscribe.signature");
        assert_eq!(
            hear(&mut one),
            format!(r#"{{"id":7,"status":200,"result":{{"subscriptionId":{number}}}}}"#)
        );
        let mut said = Vec::new();
        for _ in 0..3 {
            let json: Value = serde_json::from_str(&hear(&mut one)).unwrap();
            assert_eq!(
                json["subscriptionId"], number,
                "its own number, not the venue's"
            );
            said.push(json["event"]["c"].as_str().unwrap_or("-").to_owned());
        }
        // The other's order went by connection 0.
        assert_eq!(
            said,
            [
                format!("c{}-1", number + 1),
                "-".to_owned(),
                format!("c{}-2", number + 1)
            ]
        );
        for _ in 0..2 {
            let told = gate.told.recv_timeout(PATIENCE).unwrap();
            let [Report::Order(order), Report::Trade(trade)] = &told.reports[..] else {
                panic!("{told:?}")
            };
            assert_eq!(order.status, OrderStatus::Filled);
            assert_eq!(trade.trade_id.to_string(), "77");
        }
    }
    one.send(Message::text(
        r#"{"id":"s","method":"session.subscriptions"}"#,
    ))
    .unwrap();
    assert_eq!(
        hear(&mut one),
        r#"{"id":"s","status":200,"result":[{"subscriptionId":0},{"subscriptionId":1}]}"#
    );
    let unsubscribe =
        r#"{"id":"u","method":"userDataStream.unsubscribe","params":{"subscriptionId":0}}"#;
    one.send(Message::text(unsubscribe)).unwrap();
    assert_eq!(hear(&mut one), r#"{"id":"u","status":200,"result":{}}"#);
    let ended = gate.told.recv_timeout(PATIENCE).unwrap();
    assert!(ended.ended && ended.reports.is_empty());
    // With its program the other stream ends too.
    drop(one);
    assert!(gate.told.recv_timeout(PATIENCE).unwrap().ended);
    say(&mut other, "2", "order.place");
    assert!(hear(&mut other).starts_with(r#"{"id":2,"status":200"#));
}

#[test]
fn a_stream_that_the_venue_ends_ends_its_programs_connection_alone() {
    let venue = venue(|_, request| match request["method"].as_str().unwrap() {
        "userDataStream.subscribe.signature" => {
            Does::SaysAndVanishes(answer(request, &json!({"subscriptionId": 0})))
        }
        _ => Does::Says(answer(request, &json!({}))),
    });
    let gate = passing(&venue);
    let (mut one, mut other) = (gate.program(), gate.program());
    say(&mut other, "1", "order.place");
    hear(&mut other);
    say(&mut one, "1", "userDataStream.subscribe.signature");
    assert!(hear(&mut one).starts_with(r#"{"id":1,"status":200"#));
    assert_eq!(closed(&mut one), 1001);
    assert!(gate.told.recv_timeout(PATIENCE).unwrap().ended);
    say(&mut other, "2", "order.place");
    assert!(hear(&mut other).starts_with(r#"{"id":2,"status":200"#));
}

#[test]
fn streams_end_with_the_egress_that_had_them() {
    let venue = venue(|_, request| Does::Says(answer(request, &json!({"subscriptionId": 0}))));
    let mut gate = passing(&venue);
    let (mut one, mut other) = (gate.program(), gate.program());
    say(&mut one, "1", "userDataStream.subscribe.signature");
    hear(&mut one);
    let egress = common::start_egress(Vec::new());
    common::between(&gate.gate.0, &egress, 7);
    assert_eq!(closed(&mut one), 1001);
    gate.gate.1 = egress;
    gate.gate.1.metrics();
    // The other's connection is served as soon as the new one has greeted.
    let mut text = String::new();
    for number in 0..200 {
        say(&mut other, &number.to_string(), "session.logon");
        text = hear(&mut other);
        if text.contains(r#""status":200"#) {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("{text}");
}

#[test]
fn streams_end_with_the_signer_that_knew_of_them() {
    let venue = venue(|_, request| Does::Says(answer(request, &json!({"subscriptionId": 0}))));
    let gate = passing(&venue);
    let (mut one, mut other) = (gate.program(), gate.program());
    say(&mut one, "1", "userDataStream.subscribe.signature");
    hear(&mut one);
    let signer = common::with_signer(&gate.gate.1, 2);
    assert_eq!(closed(&mut one), 1001);
    assert!(
        gate.told.recv_timeout(PATIENCE).is_ok_and(|it| it.ended) || {
            // It was told to the one that is gone.
            let (kind, cbor) = signer.next();
            kind == kind::TOLD && wire::message::<wire::Told>(&cbor).unwrap().ended
        }
    );
    // Who has none stays.
    say(&mut other, "2", "session.logon");
    hear(&mut other);
}

#[test]
fn what_a_programs_address_says_of_units_is_taken_where_it_changes_nothing() {
    let venue = venue(|_, request| Does::Says(answer(request, &json!({}))));
    let gate = passing(&venue);
    let raw = gate.raw();
    let url = "ws://gate/ws-api/v3?timeUnit=MILLISECOND&returnRateLimits=false";
    assert!(tungstenite::client(url, raw).is_ok());
    let url = "ws://gate/ws-api/v3?timeUnit=MICROSECOND";
    assert!(tungstenite::client(url, gate.raw()).is_err());
}

#[test]
fn idle_websockets_cost_nothing() {
    let venue = venue(|_, request| Does::Says(answer(request, &json!({}))));
    let gate = passing(&venue);
    let mut programs: Vec<Program> = (0..200).map(|_| gate.program()).collect();
    say(&mut programs[0], "1", "order.place");
    hear(&mut programs[0]);
    std::thread::sleep(Duration::from_millis(2_500));
    let before = (gate.gate.0.switches(), gate.gate.1.switches());
    std::thread::sleep(Duration::from_millis(3_000));
    let after = (gate.gate.0.switches(), gate.gate.1.switches());
    assert!(
        after.0 - before.0 <= 1 && after.1 - before.1 <= 1,
        "{before:?} {after:?}"
    );
}
