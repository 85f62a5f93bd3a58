//! Ingress against real connections on loopback: what reaches the signer, what the program gets back, and what a client
//! that misbehaves costs.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests state what must hold"
)]

use portcullis_gateway::downstream::{
    Downstream, HANDSHAKES_PER_SECOND_MAX, HANDSHAKES_PER_SOURCE_MAX, Listener, Turn,
};
use portcullis_model::id::RequestId;
use portcullis_model::report::Sent;
use portcullis_model::wire::{
    self, AnswerAborted, AnswerChunk, AnswerHead, Orphans, Reply, Request, Window, kind,
};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

struct Ingress {
    downstream: Downstream,
    turn: Turn,
    listener: TcpListener,
    keys: Vec<u64>,
    now_us: u64,
}

impl Ingress {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let listeners = vec![Listener {
            venue: "binance".to_owned(),
            host: "api.binance.com".to_owned(),
            tls: None,
        }];
        let mut downstream = Downstream::new(7, listeners, 100);
        downstream.set_time(1_000_000);
        downstream.signer_is_there();
        downstream.egress_is_there();
        Self {
            downstream,
            turn: Turn::default(),
            listener,
            keys: Vec::new(),
            now_us: 1_000_000,
        }
    }

    fn client(&mut self) -> TcpStream {
        let client = TcpStream::connect(self.listener.local_addr().unwrap()).unwrap();
        client
            .set_read_timeout(Some(Duration::from_secs(3)))
            .unwrap();
        self.work();
        client
    }

    /// Turns the loop for a moment.
    fn work(&mut self) {
        for _ in 0..15 {
            while let Ok((socket, peer)) = self.listener.accept() {
                socket.set_nonblocking(true).unwrap();
                self.downstream.accept(socket, peer, 0, &mut self.turn);
            }
            for key in std::mem::take(&mut self.turn.watch) {
                if !self.keys.contains(&key) {
                    self.keys.push(key);
                }
            }
            for key in self.keys.clone() {
                // What the poll would be told.
                let _ = self.downstream.change(key);
                self.downstream
                    .ready(key, true, true, false, &mut self.turn);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// The requests that the signer was handed: sequence number, method, target, body.
    fn handed(&mut self) -> Vec<(u64, String)> {
        self.work();
        let bytes = std::mem::take(&mut self.turn.to_signer);
        let mut rest = &bytes[..];
        let mut all = Vec::new();
        while !rest.is_empty() {
            let length = u32::from_be_bytes(rest[..4].try_into().unwrap()) as usize;
            assert_eq!(rest[4], kind::REQUEST);
            let r: Request = wire::message(&rest[5..4 + length]).unwrap();
            let text = format!(
                "{} {} {}",
                r.method,
                String::from_utf8_lossy(r.target),
                String::from_utf8_lossy(r.body)
            );
            all.push((r.id.seq, text));
            rest = &rest[4 + length..];
        }
        all
    }

    fn reply(&mut self, seq: u64, body: &str) {
        let id = RequestId { epoch: 7, seq };
        let reply = Reply {
            id,
            status: 200,
            headers: Vec::new(),
            body: body.as_bytes().into(),
        };
        self.downstream.reply(&reply, &mut self.turn);
        self.work();
    }
}

/// What came so far; ends at a closed connection.
fn read(client: &mut TcpStream, until: &str) -> String {
    let mut text = String::new();
    let end = Instant::now() + Duration::from_secs(3);
    let mut part = [0; 65_536];
    while !text.contains(until) && Instant::now() < end {
        match client.read(&mut part) {
            Ok(0) => return text + "<closed>",
            Ok(n) => text.push_str(&String::from_utf8_lossy(&part[..n])),
            Err(error) => panic!("{error}: {text}"),
        }
    }
    text
}

#[test]
fn a_source_that_begins_many_handshakes_leaves_the_others_theirs() {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["gate.test".to_owned()])
        .unwrap()
        .self_signed(&key)
        .unwrap();
    let (chain, key) = (certificate.pem(), key.serialize_pem());
    let tls = portcullis_gateway::tls::server(chain.as_bytes(), key.as_bytes()).unwrap();
    let listeners = vec![Listener {
        venue: "binance".to_owned(),
        host: "api.binance.com".to_owned(),
        tls: Some(tls),
    }];
    let mut downstream = Downstream::new(7, listeners, 100);
    let mut turn = Turn::default();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut come = |downstream: &mut Downstream, source: &str| {
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (socket, _) = listener.accept().unwrap();
        socket.set_nonblocking(true).unwrap();
        let peer = (source.parse::<std::net::IpAddr>().unwrap(), 1000).into();
        downstream.accept(socket, peer, 0, &mut turn);
        (client, downstream.counts.connections_taken)
    };
    downstream.set_time(5_000_000);
    let mut clients = Vec::new();
    for n in 1..=HANDSHAKES_PER_SOURCE_MAX + 20 {
        assert_eq!(downstream.accept_in_us(0), 0);
        let (client, taken) = come(&mut downstream, "192.0.2.1");
        assert_eq!(taken, u64::from(n.min(HANDSHAKES_PER_SOURCE_MAX)));
        clients.push(client);
    }
    assert_eq!(downstream.counts.handshakes_refused, 20);
    for _ in HANDSHAKES_PER_SOURCE_MAX..HANDSHAKES_PER_SECOND_MAX {
        assert_eq!(downstream.accept_in_us(0), 0);
        clients.push(come(&mut downstream, "192.0.2.2").0);
    }
    let all = u64::from(HANDSHAKES_PER_SECOND_MAX);
    assert_eq!(downstream.counts.connections_taken, all);
    // Nobody more within this second, and in the next one everybody.
    downstream.set_time(5_400_000);
    assert_eq!(downstream.accept_in_us(0), 600_000);
    downstream.set_time(6_000_000);
    assert_eq!(downstream.accept_in_us(0), 0);
    assert_eq!(come(&mut downstream, "192.0.2.1").1, all + 1);
}

const ORDER: &str =
    "POST /api/v3/order HTTP/1.1\r\nHost: h\r\nUser-Agent: x\r\nContent-Length: 3\r\n\r\na=b";

#[test]
fn requests_go_one_at_a_time_and_answers_come_in_order() {
    let mut ingress = Ingress::new();
    let mut client = ingress.client();
    client
        .write_all(format!("{ORDER}GET /two HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes())
        .unwrap();
    assert_eq!(ingress.handed(), [(0, "POST /api/v3/order a=b".to_owned())]);
    ingress.reply(0, "first");
    assert!(read(&mut client, "first").starts_with("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n"));
    assert_eq!(ingress.handed(), [(1, "GET /two ".to_owned())]);
    ingress.reply(0, "an answer nobody waits for");
    ingress.reply(1, "second");
    assert!(read(&mut client, "second").ends_with("\r\n\r\nsecond"));
}

#[test]
fn what_is_not_strict_is_answered_in_the_venues_format_and_closed() {
    for (bytes, status) in [
        (ORDER.replace("\r\nHost", "\nHost"), "400"),
        (
            ORDER.replace(
                "Content-Length: 3",
                "Content-Length: 3\r\nContent-Length: 3",
            ),
            "400",
        ),
        (
            ORDER.replace("Content-Length: 3", "Transfer-Encoding: chunked"),
            "411",
        ),
        (
            ORDER.replace("Content-Length: 3", "Content-Length: 10000000"),
            "413",
        ),
        (format!("GET /{} HTTP/1.1\r\n", "x".repeat(20_000)), "431"),
    ] {
        let mut ingress = Ingress::new();
        let mut client = ingress.client();
        client.write_all(bytes.as_bytes()).unwrap();
        assert_eq!(ingress.handed(), []);
        let text = read(&mut client, "<never>");
        assert!(
            text.starts_with(&format!("HTTP/1.1 {status}")) && text.ends_with("<closed>"),
            "{text}"
        );
        assert!(
            text.contains("\"code\":") && text.contains("x-portcullis-refusal: ingress"),
            "{text}"
        );
    }
}

#[test]
fn an_answer_of_unknown_length_is_chunked_and_its_window_given_back() {
    let mut ingress = Ingress::new();
    let mut client = ingress.client();
    client.write_all(ORDER.as_bytes()).unwrap();
    ingress.handed();
    let id = RequestId { epoch: 7, seq: 0 };
    let head = AnswerHead {
        id,
        status: 200,
        headers: Vec::new(),
        length: None,
        body: (&b"abc"[..]).into(),
        last: false,
    };
    ingress.downstream.answer_head(&head, &mut ingress.turn);
    let chunk = AnswerChunk {
        id,
        body: (&b"defg"[..]).into(),
        last: true,
    };
    let window: Window = wire::message(&ingress.turn.to_egress[5..]).unwrap();
    assert_eq!(window, Window { id, bytes: 3 });
    ingress.downstream.answer_chunk(&chunk, &mut ingress.turn);
    let text = read(&mut client, "0\r\n\r\n");
    assert!(
        text.contains("transfer-encoding: chunked")
            && text.ends_with("\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n"),
        "{text}"
    );
    client.write_all(ORDER.as_bytes()).unwrap();
    assert_eq!(ingress.handed().len(), 1, "the connection goes on");
}

#[test]
fn what_may_have_been_sent_is_never_answered_as_a_plain_refusal() {
    for (sent, expected) in [
        (Sent::MaybeSent, "ask for the order"),
        (Sent::NotSent, "not sent"),
    ] {
        let mut ingress = Ingress::new();
        let mut client = ingress.client();
        client.write_all(ORDER.as_bytes()).unwrap();
        ingress.handed();
        let aborted = AnswerAborted {
            id: RequestId { epoch: 7, seq: 0 },
            sent,
            why: "connection_reset".to_owned(),
        };
        ingress
            .downstream
            .answer_aborted(&aborted, &mut ingress.turn);
        assert!(read(&mut client, expected).contains(expected));
    }
    let mut ingress = Ingress::new();
    let mut client = ingress.client();
    client.write_all(ORDER.as_bytes()).unwrap();
    ingress.handed();
    ingress.downstream.lost(&mut ingress.turn);
    assert!(
        read(&mut client, "ask for the order").contains("ask for the order"),
        "a neighbour restarted"
    );
}

#[test]
fn without_credit_a_request_is_refused_before_anything_is_recorded() {
    let mut ingress = Ingress::new();
    let mut client = ingress.client();
    ingress.downstream.signer_lost(&mut ingress.turn);
    assert!(ingress.turn.to_egress.is_empty(), "nobody waits");
    client.write_all(ORDER.as_bytes()).unwrap();
    assert_eq!(ingress.handed(), []);
    assert!(read(&mut client, "nothing was sent").starts_with("HTTP/1.1 503"));
    ingress.downstream.signer_is_there();
    client.write_all(ORDER.as_bytes()).unwrap();
    assert_eq!(ingress.handed().len(), 1);
}

#[test]
fn when_the_signer_is_gone_egress_is_asked_once_for_each_request_under_way() {
    let mut ingress = Ingress::new();
    let asked = |ingress: &mut Ingress| -> Vec<u64> {
        ingress.downstream.signer_lost(&mut ingress.turn);
        let bytes = std::mem::take(&mut ingress.turn.to_egress);
        match bytes.split_at_checked(5) {
            Some((head, cbor)) => {
                assert_eq!(head[4], kind::ORPHANS);
                let asked: Orphans = wire::message(cbor).unwrap();
                assert_eq!(asked.epoch, 7);
                asked.seqs
            }
            None => Vec::new(),
        }
    };
    let mut clients: Vec<TcpStream> = (0..2).map(|_| ingress.client()).collect();
    for client in &mut clients {
        client.write_all(ORDER.as_bytes()).unwrap();
    }
    assert_eq!(ingress.handed().len(), 2);
    ingress.reply(0, "{}");
    assert_eq!(asked(&mut ingress), [1], "the answered one is over");
    assert!(asked(&mut ingress).is_empty());
    let aborted = AnswerAborted {
        id: RequestId { epoch: 7, seq: 1 },
        sent: Sent::MaybeSent,
        why: "signer_restarted".to_owned(),
    };
    ingress
        .downstream
        .answer_aborted(&aborted, &mut ingress.turn);
    let text = read(&mut clients[1], "ask for the order");
    assert!(text.starts_with("HTTP/1.1 504"), "{text}");
}

#[test]
fn slow_senders_end_and_idle_connections_cost_others_nothing() {
    let mut ingress = Ingress::new();
    let mut slow = ingress.client();
    slow.write_all(b"POST /api/v3/order HTTP/1.1\r\nHo")
        .unwrap();
    let idle: Vec<TcpStream> = (0..300).map(|_| ingress.client()).collect();
    let mut quick = ingress.client();
    ingress.now_us += 11_000_000;
    ingress.downstream.set_time(ingress.now_us);
    ingress.downstream.tick(&mut ingress.turn);
    ingress.work();
    assert!(read(&mut slow, "<never>").starts_with("HTTP/1.1 408"));
    drop(slow);
    quick.write_all(ORDER.as_bytes()).unwrap();
    assert_eq!(ingress.handed().len(), 1);
    assert_eq!(ingress.downstream.counts.connections_open, 301);
    drop(idle);
    ingress.work();
    assert_eq!(ingress.downstream.counts.connections_open, 1);
}
