//! Egress against real TLS servers on loopback that behave well, badly, or not at all. What is checked is what the rest
//! of the gate relies on: a request is sent at most once, the summary comes before the answer, and what each outcome says
//! (`NotSent`, `MaybeSent`, `Sent`) is true of what the server saw.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests state what must hold"
)]

mod common;

use common::{Does, Venue, answer, venue};
use minicbor::bytes::ByteVec;
use portcullis_gateway::upstream::{Turn, Upstream};
use portcullis_model::id::{EntryId, RequestId};
use portcullis_model::report::Sent;
use portcullis_model::wire::{
    self, AnswerAborted, AnswerChunk, AnswerHead, Discard, Discarded, Lane, Outcome, Window, kind,
};
use std::net::TcpListener;
use std::time::{Duration, Instant};

/// Egress with a loop that looks at every connection again and again.
struct Egress {
    upstream: Upstream,
    turn: Turn,
    keys: Vec<u64>,
    begun: Instant,
}

impl Egress {
    fn new(venue: &Venue, change: impl FnOnce(&mut wire::Host)) -> Self {
        let mut hosts = venue.hosts();
        let host = &mut hosts.hosts[0];
        (host.weight_per_minute, host.orders_per_10s) = (6000, 100);
        change(host);
        let mut egress = Self {
            upstream: Upstream::new(100, Vec::new()),
            turn: Turn::default(),
            keys: Vec::new(),
            begun: Instant::now(),
        };
        egress.time();
        egress.upstream.set_ingress_epoch(7, &mut egress.turn);
        egress.upstream.set_hosts(&hosts, &mut egress.turn).unwrap();
        egress
    }

    fn time(&mut self) {
        let now = 1_000_000_000 + self.begun.elapsed().as_micros() as u64;
        self.upstream.set_time(now, now);
    }

    fn send(&mut self, seq: u64, change: impl FnOnce(&mut wire::Send<'_>)) {
        let id = RequestId { epoch: 7, seq };
        let mut send = common::send(id, "POST", b"/api/v3/order", b"a=b");
        send.summarize = true;
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
            for key in std::mem::take(&mut self.turn.watch) {
                if !self.keys.contains(&key) {
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
    venue.requests()
}

#[test]
fn an_answer_comes_after_its_summary_and_the_connection_is_kept() {
    let venue = venue(|_, _, _| Does::Answers(answer("{}")));
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
    let venue = venue(|_, _, _| Does::Closes);
    let mut egress = Egress::new(&venue, |_| {});
    egress.send(1, |_| {});
    assert_eq!(egress.outcome().0, Sent::MaybeSent);
    assert_eq!(requests(&venue), 1);
}

#[test]
fn a_request_for_a_connection_that_the_venue_has_closed_reaches_it_once() {
    let venue = venue(|number, _, _| match number {
        0 => Does::AnswersAndCloses(answer("{}")),
        _ => Does::Answers(answer("{}")),
    });
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
    let good = venue(|_, _, _| Does::Answers(answer("{}")));
    let other = venue(|_, _, _| Does::Answers(answer("{}")));
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
        host.pins = vec![ByteVec::from(good.spki_hash.clone())]
    });
    egress.send(1, |_| {});
    assert_eq!(egress.outcome().0, Sent::Sent);
}

#[test]
fn nobody_there_is_not_sent() {
    let venue = venue(|_, _, _| Does::Waits(Duration::from_secs(3)));
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
    let venue = venue(|_, _, _| {
        Does::Answers(
            b"HTTP/1.1 429 Too Many\r\nRetry-After: 3\r\nContent-Length: 2\r\n\r\n{}".to_vec(),
        )
    });
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
        let venue = venue(move |_, _, _| Does::Answers(text.clone()));
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
    let venue = venue(|_, _, _| Does::Waits(Duration::from_secs(3)));
    let mut egress = Egress::new(&venue, |_| {});
    egress.send(1, |_| {});
    assert_eq!(venue.requests(), 0);
    let end = Instant::now() + Duration::from_secs(2);
    let mut frames = Vec::new();
    while venue.requests() == 0 {
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
