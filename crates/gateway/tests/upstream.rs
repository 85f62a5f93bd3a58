//! Egress against real TLS servers on loopback that behave well, badly, or not at all. What is checked is what the rest
//! of the gate relies on: a request is sent at most once, the summary comes before the answer, and what each outcome says
//! (`NotSent`, `MaybeSent`, `Sent`) is true of what the server saw.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests state what must hold"
)]

use minicbor::bytes::ByteVec;
use portcullis_gateway::tls;
use portcullis_gateway::upstream::{Turn, Upstream, Watch};
use portcullis_model::id::{AccountId, EntryId, RequestId, StrategyId};
use portcullis_model::report::Sent;
use portcullis_model::wire::{
    self, AnswerAborted, AnswerChunk, AnswerHead, Discard, Discarded, Hosts, Lane, Outcome, Window,
    kind,
};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

/// What the server does with each connection: given the number of the connection and the requests so far on it.
type Script = dyn Fn(usize, &str) -> Does + std::marker::Send + Sync;

enum Does {
    Answers(Vec<u8>),
    /// Answers, and closes the connection a moment later, as if its idle time were over.
    AnswersAndCloses(Vec<u8>),
    Closes,
    Waits,
}

struct Venue {
    address: SocketAddr,
    ca: Vec<u8>,
    leaf_spki: Vec<u8>,
    seen: Receiver<String>,
}

fn answer(body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nx-mbx-used-weight-1m: 5\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

fn venue(script: Arc<Script>) -> Venue {
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let mut ca = rcgen::CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca_cert = ca.self_signed(&ca_key).unwrap();
    let issuer = rcgen::Issuer::new(ca, ca_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let leaf = rcgen::CertificateParams::new(vec!["venue.test".to_owned()])
        .unwrap()
        .signed_by(&key, &issuer)
        .unwrap();
    let config = tls::server(leaf.pem().as_bytes(), key.serialize_pem().as_bytes()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, seen) = channel();
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let (config, script, tell) = (Arc::clone(&config), Arc::clone(&script), tell.clone());
            std::thread::spawn(move || serve(stream.unwrap(), config, &*script, number, &tell));
        }
    });
    let leaf_spki = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &spki(&leaf))
        .as_ref()
        .to_vec();
    Venue {
        address,
        ca: ca_cert.der().to_vec(),
        leaf_spki,
        seen,
    }
}

fn spki(leaf: &rcgen::Certificate) -> Vec<u8> {
    webpki::EndEntityCert::try_from(leaf.der())
        .unwrap()
        .subject_public_key_info()
        .as_ref()
        .to_vec()
}

fn serve(
    mut stream: TcpStream,
    config: Arc<rustls::ServerConfig>,
    script: &Script,
    number: usize,
    tell: &Sender<String>,
) {
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let mut tls = rustls::ServerConnection::new(config).unwrap();
    let mut session = rustls::Stream::new(&mut tls, &mut stream);
    let mut bytes = Vec::new();
    loop {
        let mut part = [0; 4096];
        let Ok(n @ 1..) = session.read(&mut part) else {
            return;
        };
        bytes.extend_from_slice(&part[..n]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if !text.contains("\r\n\r\n") {
            continue;
        }
        bytes.clear();
        let line = text.lines().next().unwrap().to_owned();
        let does = script(number, &line);
        tell.send(line).unwrap();
        match does {
            Does::Answers(answer) => session.write_all(&answer).unwrap(),
            Does::AnswersAndCloses(answer) => {
                session.write_all(&answer).unwrap();
                std::thread::sleep(Duration::from_millis(50));
                return;
            }
            Does::Closes => return,
            Does::Waits => std::thread::sleep(Duration::from_secs(3)),
        }
    }
}

/// Egress with a loop that looks at every connection again and again.
struct Egress {
    upstream: Upstream,
    turn: Turn,
    keys: Vec<u64>,
    begun: Instant,
}

impl Egress {
    fn new(venue: &Venue, change: impl FnOnce(&mut wire::Host)) -> Self {
        let mut host = wire::Host {
            venue: "binance".to_owned(),
            name: "venue.test".to_owned(),
            address: venue.address.to_string(),
            pins: Vec::new(),
            public_roots: false,
            weight_per_minute: 6000,
            orders_per_10s: 100,
        };
        change(&mut host);
        let mut egress = Self {
            upstream: Upstream::new(100, Vec::new()),
            turn: Turn::default(),
            keys: Vec::new(),
            begun: Instant::now(),
        };
        egress.time();
        egress.upstream.set_ingress_epoch(7, &mut egress.turn);
        let hosts = Hosts {
            hosts: vec![host],
            roots: vec![ByteVec::from(venue.ca.clone())],
        };
        egress.upstream.set_hosts(&hosts, &mut egress.turn).unwrap();
        egress
    }

    fn time(&mut self) {
        let now = 1_000_000_000 + self.begun.elapsed().as_micros() as u64;
        self.upstream.set_time(now, now);
    }

    fn send(&mut self, seq: u64, change: impl FnOnce(&mut wire::Send<'_>)) {
        let mut send = wire::Send {
            id: RequestId { epoch: 7, seq },
            entry: Some(EntryId(seq)),
            strategy: StrategyId(1),
            account: Some(AccountId(2)),
            lane: Lane::Order,
            host: 0,
            endpoint: 0,
            weight: 1,
            orders: 1,
            not_after_us: 0,
            method: "POST",
            target: (&b"/api/v3/order"[..]).into(),
            headers: Vec::new(),
            body: (&b"a=b"[..]).into(),
            summarize: true,
            share: 1000,
        };
        change(&mut send);
        self.time();
        self.upstream.take(&send, &mut self.turn);
    }

    /// Turns the loop until `done`, or for two seconds.
    fn until(&mut self, done: impl Fn(&[Frame]) -> bool) -> Vec<Frame> {
        let mut frames = Vec::new();
        let end = Instant::now() + Duration::from_secs(4);
        loop {
            self.time();
            for watch in std::mem::take(&mut self.turn.watch) {
                if let Watch::Add(key) = watch {
                    self.keys.push(key);
                }
            }
            let keys = self.keys.clone();
            for key in keys {
                // What the poll would be told.
                let _ = self.upstream.change(key);
                self.upstream.ready(key, true, true, &mut self.turn);
            }
            frames.extend(decode(&std::mem::take(&mut self.turn.to_signer)));
            frames.extend(decode(&std::mem::take(&mut self.turn.to_ingress)));
            if done(&frames) {
                return frames;
            }
            assert!(Instant::now() < end, "not within four seconds: {frames:?}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn outcome(&mut self) -> (Sent, String) {
        let frames = self.until(|frames| frames.iter().any(|f| matches!(f, Frame::Outcome(_))));
        frames
            .into_iter()
            .find_map(|f| match f {
                Frame::Outcome(o) => Some((o.sent, o.why.unwrap_or_default())),
                _ => None,
            })
            .unwrap()
    }
}

#[derive(Debug)]
enum Frame {
    Outcome(Outcome),
    Discarded(Discarded),
    Head(u64, u16, Vec<u8>, bool),
    Chunk(Vec<u8>, bool),
    Aborted(AnswerAborted),
    /// Neither an outcome nor an answer.
    Other,
}

fn decode(mut bytes: &[u8]) -> Vec<Frame> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let length = u32::from_be_bytes(bytes[..4].try_into().unwrap()) as usize;
        let cbor = &bytes[5..4 + length];
        frames.push(match bytes[4] {
            kind::OUTCOME => Frame::Outcome(wire::message(cbor).unwrap()),
            kind::DISCARDED => Frame::Discarded(wire::message(cbor).unwrap()),
            kind::ANSWER_HEAD => {
                let head: AnswerHead = wire::message(cbor).unwrap();
                Frame::Head(head.id.seq, head.status, head.body.to_vec(), head.last)
            }
            kind::ANSWER_CHUNK => {
                let chunk: AnswerChunk = wire::message(cbor).unwrap();
                Frame::Chunk(chunk.body.to_vec(), chunk.last)
            }
            kind::ANSWER_ABORTED => Frame::Aborted(wire::message(cbor).unwrap()),
            _ => Frame::Other,
        });
        bytes = &bytes[4 + length..];
    }
    frames
}

fn requests(venue: &Venue) -> usize {
    std::thread::sleep(Duration::from_millis(100));
    venue.seen.try_iter().count()
}

#[test]
fn an_answer_comes_after_its_summary_and_the_connection_is_kept() {
    let venue = venue(Arc::new(|_, _| Does::Answers(answer("{}"))));
    let mut egress = Egress::new(&venue, |_| {});
    for seq in 0..5 {
        egress.send(seq, |_| {});
        let frames = egress.until(|f| f.len() >= 2);
        assert!(
            matches!(&frames[0], Frame::Outcome(o) if o.sent == Sent::Sent && o.status == 200),
            "{frames:?}"
        );
        assert!(
            matches!(&frames[1], Frame::Head(s, 200, body, true) if *s == seq && body == b"{}"),
            "{frames:?}"
        );
    }
    assert_eq!(requests(&venue), 5);
    assert_eq!(egress.upstream.counts.connections_made, 1);
}

#[test]
fn an_answer_lost_after_acceptance_is_maybe_sent_and_never_repeated() {
    let venue = venue(Arc::new(|_, _| Does::Closes));
    let mut egress = Egress::new(&venue, |_| {});
    egress.send(1, |_| {});
    assert_eq!(egress.outcome().0, Sent::MaybeSent);
    assert_eq!(requests(&venue), 1);
}

#[test]
fn a_request_for_a_connection_that_the_venue_has_closed_reaches_it_once() {
    let venue = venue(Arc::new(|number, _| match number {
        0 => Does::AnswersAndCloses(answer("{}")),
        _ => Does::Answers(answer("{}")),
    }));
    let mut egress = Egress::new(&venue, |_| {});
    egress.send(1, |_| {});
    assert_eq!(egress.outcome().0, Sent::Sent);
    std::thread::sleep(Duration::from_millis(120));
    // The loop hears of the end before it writes.
    egress.until(|_| true);
    egress.send(2, |_| {});
    assert_eq!(egress.outcome().0, Sent::Sent);
    assert_eq!(requests(&venue), 2);
}

#[test]
fn whom_egress_does_not_believe_sees_no_request() {
    let good = venue(Arc::new(|_, _| Does::Answers(answer("{}"))));
    let other = venue(Arc::new(|_, _| Does::Answers(answer("{}"))));
    // Another CA's server at the address.
    let mut egress = Egress::new(&good, |host| host.address = other.address.to_string());
    egress.send(1, |_| {});
    assert_eq!(egress.outcome(), (Sent::NotSent, "tls_failed".to_owned()));
    // The right CA, another name.
    let mut egress = Egress::new(&good, |host| host.name = "other.test".to_owned());
    egress.send(1, |_| {});
    assert_eq!(egress.outcome(), (Sent::NotSent, "tls_failed".to_owned()));
    // The right CA and name, another key than the pin.
    let mut egress = Egress::new(&good, |host| host.pins = vec![ByteVec::from(vec![0; 32])]);
    egress.send(1, |_| {});
    assert_eq!(egress.outcome(), (Sent::NotSent, "tls_failed".to_owned()));
    assert_eq!((requests(&good), requests(&other)), (0, 0));
    // The pin of the key that it has.
    let mut egress = Egress::new(&good, |host| {
        host.pins = vec![ByteVec::from(good.leaf_spki.clone())]
    });
    egress.send(1, |_| {});
    assert_eq!(egress.outcome().0, Sent::Sent);
}

#[test]
fn nobody_there_is_not_sent() {
    let venue = venue(Arc::new(|_, _| Does::Waits));
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let mut egress = Egress::new(&venue, |host| host.address = closed.to_string());
    egress.send(1, |_| {});
    assert_eq!(egress.outcome().0, Sent::NotSent);
}

#[test]
fn what_is_late_or_held_by_the_budget_is_not_sent() {
    let venue = venue(Arc::new(|_, _| {
        Does::Answers(
            b"HTTP/1.1 429 Too Many\r\nRetry-After: 3\r\nContent-Length: 2\r\n\r\n{}".to_vec(),
        )
    }));
    let mut egress = Egress::new(&venue, |_| {});
    egress.send(1, |send| send.not_after_us = 1);
    assert_eq!(egress.outcome(), (Sent::NotSent, "too_late".to_owned()));
    egress.send(2, |_| {});
    assert_eq!(egress.outcome().0, Sent::Sent);
    egress.send(3, |send| send.lane = Lane::Cancel);
    assert_eq!(
        egress.outcome(),
        (Sent::NotSent, "venue_asked_to_wait".to_owned())
    );
    assert_eq!(requests(&venue), 1);
}

#[test]
fn a_large_answer_waits_for_its_client_and_arrives_whole() {
    let body: Vec<u8> = (0..1_500_000u32).map(|n| b'a' + (n % 23) as u8).collect();
    for summarize in [true, false] {
        let mut text =
            format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
        text.extend(&body);
        let venue = venue(Arc::new(move |_, _| Does::Answers(text.clone())));
        let mut egress = Egress::new(&venue, |_| {});
        egress.send(1, |send| send.summarize = summarize);
        let (mut got, mut last) = (Vec::new(), false);
        let mut ahead = 0usize;
        while !last {
            for frame in egress.until(|f| !f.is_empty()) {
                match frame {
                    Frame::Head(_, _, part, end) | Frame::Chunk(part, end) => {
                        ahead += part.len();
                        got.extend(part);
                        last |= end;
                    }
                    Frame::Outcome(o) => assert_eq!(o.sent, Sent::Sent),
                    other => panic!("{other:?}"),
                }
            }
            assert!(
                ahead <= wire::ANSWER_WINDOW_BYTES as usize,
                "{ahead} bytes ahead of the client"
            );
            let window = Window {
                id: RequestId { epoch: 7, seq: 1 },
                bytes: ahead as u32,
            };
            ahead = 0;
            egress.upstream.window(window, &mut egress.turn);
        }
        assert!(
            got == body,
            "summarize {summarize}: {} of {} bytes",
            got.len(),
            body.len()
        );
    }
}

#[test]
fn a_halt_drops_what_waits_and_names_what_is_under_way() {
    let venue = venue(Arc::new(|_, _| Does::Waits));
    let mut egress = Egress::new(&venue, |_| {});
    egress.send(1, |_| {});
    let seen = venue.seen.recv_timeout(Duration::from_secs(0));
    assert!(seen.is_err());
    let end = Instant::now() + Duration::from_secs(2);
    let mut frames = Vec::new();
    while venue.seen.try_recv().is_err() {
        assert!(Instant::now() < end);
        frames.extend(egress.until(|_| true));
    }
    // A second one has no connection yet: not a byte of it has left.
    egress.send(2, |_| {});
    egress.upstream.discard(
        &Discard {
            token: 5,
            entries: vec![EntryId(1), EntryId(2), EntryId(3)],
        },
        &mut egress.turn,
    );
    frames.extend(egress.until(|f| f.iter().any(|f| matches!(f, Frame::Discarded(_)))));
    let discarded = frames
        .iter()
        .find_map(|f| {
            if let Frame::Discarded(d) = f {
                Some(d.clone())
            } else {
                None
            }
        })
        .unwrap();
    assert_eq!(
        discarded,
        Discarded {
            token: 5,
            discarded: vec![EntryId(2)],
            under_way: vec![EntryId(1)],
            done: vec![EntryId(3)]
        }
    );
    assert!(
        frames.iter().any(
            |f| matches!(f, Frame::Aborted(a) if a.why == "halted" && a.sent == Sent::NotSent)
        )
    );
}
