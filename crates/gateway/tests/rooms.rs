//! Ingress and egress as the processes that they are, with what misbehaves on each side of them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests state what must hold"
)]

mod common;

use common::*;
use minicbor::bytes::ByteVec;
use portcullis_gateway::downstream::HANDSHAKES_PER_SECOND_MAX;
use portcullis_model::id::{EntryId, RequestId};
use portcullis_model::report::Sent;
use portcullis_model::wire::{self, Credit, Discard, Hosts, Lane, kind};
use portcullis_room::control::{EgressSettings, Peer, TlsSettings, ToRoom};
use portcullis_room::spawn;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

fn id(seq: u64) -> RequestId {
    RequestId { epoch: 7, seq }
}

// ------------------------------------------------------------------------------------------------ requests and answers

#[test]
fn a_request_goes_round_and_answers_come_in_order() {
    let venue = venue(|_, line, body| Does::Answers(answer(&format!("{line}|{body}"))));
    let gate = Gate::new(&venue.hosts());
    let mut client = gate.client();
    // The second one is sent ahead, and is not looked at before the first is answered.
    client.say(&(post("/api/v3/order", "a=b") + &get("/api/v3/two")));
    let (one, line, body) = gate.with_ingress.request();
    assert_eq!(
        (one, line.as_str(), &body[..]),
        (id(0), "POST /api/v3/order", &b"a=b"[..])
    );
    assert!(
        gate.with_ingress
            .next_within(Duration::from_millis(50))
            .is_none()
    );
    gate.with_egress
        .put(kind::SEND, &send(one, "POST", b"/api/v3/order", b"a=b"));
    assert_eq!(gate.with_egress.outcome().sent, Sent::Sent);
    assert_eq!(
        client.hear(),
        (200, "POST /api/v3/order HTTP/1.1|a=b".to_owned())
    );
    // The signer's own answer.
    let (two, line, _) = gate.with_ingress.request();
    assert_eq!(line, "GET /api/v3/two");
    reply(
        &gate.with_ingress,
        one,
        200,
        "late, for an answered request",
    );
    reply(&gate.with_ingress, two, 400, "refused");
    assert_eq!(client.hear(), (400, "refused".to_owned()));
    assert_eq!(venue.requests(), 1);
}

#[test]
fn programs_may_speak_tls() {
    let (ca, chain_pem, key_pem, _) = certificate("gate.test");
    let venue = venue(|_, _, _| Does::Answers(answer("{}")));
    let gate = Gate::with_tls(&venue.hosts(), Some(TlsSettings { chain_pem, key_pem }));
    let host = wire::Host {
        name: "gate.test".to_owned(),
        ..venue.host()
    };
    let config = portcullis_gateway::tls::client(&host, &[ca]).unwrap();
    let name = "gate.test".to_owned().try_into().unwrap();
    let mut tls = rustls::ClientConnection::new(config, name).unwrap();
    let mut client = gate.client();
    let mut session = rustls::Stream::new(&mut tls, &mut client.stream);
    session.write_all(post("/x", "a=b").as_bytes()).unwrap();
    let (request, _, _) = gate.with_ingress.request();
    reply(&gate.with_ingress, request, 200, "hello");
    let mut text = Vec::new();
    while !text.ends_with(b"hello") {
        let mut part = [0; 1000];
        let n = session.read(&mut part).unwrap();
        assert!(n > 0);
        text.extend_from_slice(&part[..n]);
    }
    // What is no TLS is told so, and costs nobody else.
    let mut plain = gate.client();
    plain.say(&get("/"));
    let mut rest = Vec::new();
    let _ = plain.stream.read_to_end(&mut rest);
    assert!(!rest.starts_with(b"HTTP"));
}

#[test]
fn a_large_answer_with_a_slow_reader_slows_nobody() {
    let body: Arc<Vec<u8>> = Arc::new((0..12_000_000u32).map(|n| b'a' + (n % 23) as u8).collect());
    let large = Arc::clone(&body);
    let venue = venue(move |_, line, _| match line.contains("large") {
        true => Does::Answers(answer_with(200, "", &large)),
        false => Does::Answers(answer("{}")),
    });
    let mut gate = Gate::new(&venue.hosts()).pass_on();
    let mut quick = gate.client();
    assert_eq!(quick.ask(&get("/small")).0, 200);
    let mut slow = gate.client();
    slow.say(&get("/large"));
    std::thread::sleep(Duration::from_millis(300));
    // The gate holds a window of it, the rest is still the venue's.
    let memory = gate.ingress.resident_kib() + gate.egress.resident_kib();
    assert!(memory < 48 * 1024, "{memory} KiB");
    let mut slowest = Duration::ZERO;
    for _ in 0..200 {
        let begun = Instant::now();
        assert_eq!(quick.ask(&get("/small")).0, 200);
        slowest = slowest.max(begun.elapsed());
    }
    assert!(slowest < Duration::from_millis(200), "{slowest:?}");
    let (status, text) = slow.hear();
    assert!(
        status == 200 && text.as_bytes() == &body[..],
        "{}",
        text.len()
    );
    assert_eq!(slow.ask(&get("/small")).0, 200, "the connection goes on");
    assert_eq!(
        gate.ingress.metric("portcullis_ingress_slow_clients_total"),
        0.0
    );
}

#[test]
fn an_answer_too_long_for_its_summary_is_passed_on_whole() {
    // No length, so it turns out only when four megabytes are held.
    let mut text = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    let mut body = Vec::new();
    for n in 0..60u8 {
        let part = vec![b'a' + n % 23; 100_000];
        text.extend(format!("{:x}\r\n", part.len()).as_bytes());
        text.extend(&part);
        text.extend(b"\r\n");
        body.extend(part);
    }
    text.extend(b"0\r\n\r\n");
    let venue = venue(move |_, _, _| Does::Answers(text.clone()));
    let mut gate = Gate::new(&venue.hosts());
    let mut client = gate.client();
    client.say(&get("/api/v3/allOrders"));
    let (request, _, _) = gate.with_ingress.request();
    let mut send = send(request, "GET", b"/api/v3/allOrders", b"");
    send.summarize = true;
    gate.with_egress.put(kind::SEND, &send);
    let outcome = gate.with_egress.outcome();
    assert_eq!(outcome.sent, Sent::Sent);
    assert_eq!(outcome.reports.len(), 1, "unreadable, and nothing else");
    std::thread::sleep(Duration::from_millis(200));
    let mut bytes = Vec::new();
    let mut part = vec![0; 65_536];
    while !bytes.ends_with(b"\r\n0\r\n\r\n") {
        let n = client.stream.read(&mut part).unwrap();
        assert!(n > 0, "cut after {} bytes", bytes.len());
        bytes.extend_from_slice(&part[..n]);
    }
    let (head, used) = portcullis_gateway::answer::head(&bytes).unwrap().unwrap();
    let mut got = Vec::new();
    portcullis_gateway::answer::Body::new(&head)
        .take(&bytes[used..], &mut got, usize::MAX)
        .unwrap();
    assert!(got == body, "{} of {} bytes", got.len(), body.len());
    assert_eq!(
        gate.egress
            .metric("portcullis_egress_answers_lost_total{why=\"dropped\"}"),
        0.0
    );
}

#[test]
fn an_answer_of_unknown_length_that_comes_slowly_arrives_whole() {
    let venue = venue(|_, _, _| {
        Does::Slowly(
            vec![
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n".to_vec(),
                b"4\r\nde".to_vec(),
                b"fg\r\n0\r\n\r\n".to_vec(),
            ],
            Duration::from_millis(30),
        )
    });
    let gate = Gate::new(&venue.hosts()).pass_on();
    let mut client = gate.client();
    client.say(&get("/slow"));
    let mut text = String::new();
    while !text.ends_with("0\r\n\r\n") {
        let mut part = [0; 1000];
        let n = client.stream.read(&mut part).unwrap();
        assert!(n > 0, "{text}");
        text.push_str(&String::from_utf8_lossy(&part[..n]));
    }
    let (_, chunks) = text.split_once("\r\n\r\n").unwrap();
    let body: String = chunks.split("\r\n").skip(1).step_by(2).collect();
    assert_eq!(body, "abcdefg");
}

// -------------------------------------------------------------------------------------------------- programs that misbehave

#[test]
fn what_is_too_long_or_not_strict_is_refused_and_read_by_its_sender() {
    let venue = venue(|_, _, _| Does::Answers(answer("{}")));
    let mut gate = Gate::new(&venue.hosts());
    // Ten megabytes: the client is still writing when it is refused, and yet it reads why.
    let mut client = gate.client();
    client.say("POST /api/v3/order HTTP/1.1\r\nHost: h\r\nContent-Length: 10000000\r\n\r\n");
    let part = vec![b'a'; 100_000];
    for _ in 0..100 {
        client.stream.write_all(&part).unwrap();
    }
    let (status, text) = client.hear();
    assert!(
        status == 413 && text.contains("32768 bytes"),
        "{status} {text}"
    );
    assert!(client.is_ended());
    for (text, expected) in [
        (
            "POST /o HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            411,
        ),
        (
            "POST /o HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\naa",
            400,
        ),
        ("GET /o HTTP/1.1\nHost: h\n\n", 400),
        ("GET /o HTTP/1.1\r\nHost: h\r\n folded: x\r\n\r\n", 400),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    ] {
        let mut client = gate.client();
        assert_eq!(client.ask(text).0, expected, "{text:?}");
        assert!(client.is_ended(), "{text:?}");
    }
    assert!(
        gate.with_ingress
            .next_within(Duration::from_millis(50))
            .is_none()
    );
    assert_eq!(
        gate.ingress
            .metric("portcullis_ingress_malformed_total{reason=\"body_too_long\"}"),
        1.0
    );
}

#[test]
fn ten_thousand_idle_connections_and_slow_senders_cost_others_nothing() {
    let venue = venue(|_, _, _| Does::Answers(answer("{}")));
    let mut gate = Gate::new(&venue.hosts()).pass_on();
    let mut quick = gate.client();
    assert_eq!(quick.ask(&get("/x")).0, 200);
    let before = gate.ingress.resident_kib();
    // As many as this process may have, if that is less than ten thousand.
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits
        .lines()
        .find(|l| l.starts_with("Max open files"))
        .unwrap();
    let most: usize = line.split_whitespace().nth(3).unwrap().parse().unwrap();
    let many = 10_000.min(most.saturating_sub(500));
    println!("{many} idle connections");
    let mut idle: Vec<Client> = (0..many).map(|_| gate.client()).collect();
    let expected = (many + 1) as f64;
    let end = Instant::now() + PATIENCE;
    while gate.ingress.metric("portcullis_ingress_connections") < expected {
        assert!(Instant::now() < end);
    }
    // Every tenth begins a request.
    for client in idle.iter_mut().step_by(10) {
        client.say("POST /api/v3/order HTTP/1.1\r\nHo");
    }
    let each = (gate.ingress.resident_kib() - before) * 1024 / many as u64;
    println!("{each} bytes each");
    assert!(each < 2_048, "{each} bytes each");
    let mut took: Vec<Duration> = (0..300)
        .map(|_| {
            let begun = Instant::now();
            assert_eq!(quick.ask(&get("/x")).0, 200);
            begun.elapsed()
        })
        .collect();
    took.sort();
    println!("median {:?}, slowest {:?}", took[150], took[299]);
    assert!(took[150] < Duration::from_millis(20), "{took:?}");
    // The slow ones are told after ten seconds, and cut; the idle ones stay.
    let (status, _) = idle[10].hear();
    assert_eq!(status, 408);
    assert!(idle[10].is_ended());
    let left = (many - many.div_ceil(10) + 1) as f64;
    let end = Instant::now() + PATIENCE;
    while gate.ingress.metric("portcullis_ingress_connections") > left {
        assert!(Instant::now() < end);
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(gate.ingress.metric("portcullis_ingress_connections"), left);
    assert_eq!(quick.ask(&get("/x")).0, 200);
}

#[test]
fn a_client_that_sends_ahead_and_reads_nothing_is_held_back() {
    let venue = venue(|_, _, _| Does::Answers(answer("{}")));
    let gate = Gate::new(&venue.hosts());
    let mut flood = gate.client();
    flood.stream.set_nonblocking(true).unwrap();
    let request = get("/api/v3/time").repeat(1000);
    let mut written = 0;
    let end = Instant::now() + Duration::from_secs(2);
    while Instant::now() < end && written < 64 << 20 {
        match flood.stream.write(request.as_bytes()) {
            Ok(n) => written += n,
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
    // One request of it is with the signer; the kernel keeps the rest from coming.
    assert_eq!(gate.with_ingress.request().0, id(0));
    assert!(
        gate.with_ingress
            .next_within(Duration::from_millis(50))
            .is_none()
    );
    assert!(written < 16 << 20, "{written} bytes taken");
    assert!(gate.ingress.resident_kib() < 32 * 1024);
    let mut other = gate.client();
    other.say(&get("/other"));
    let (request, _, _) = gate.with_ingress.request();
    reply(&gate.with_ingress, request, 200, "ok");
    assert_eq!(other.hear().0, 200);
}

// ---------------------------------------------------------------------------------------------------- credits and greetings

#[test]
fn without_credit_nothing_is_handed_over() {
    let venue = venue(|_, _, _| Does::Answers(answer("{}")));
    let gate = Gate::new(&venue.hosts());
    let most = (wire::REQUESTS_WAITING_MAX - 128) as usize;
    let mut clients: Vec<Client> = (0..most + 5).map(|_| gate.client()).collect();
    for client in &mut clients {
        client.say(&post("/api/v3/order", "a=b"));
    }
    let mut ids = Vec::new();
    while let Some((kind::REQUEST, cbor)) =
        gate.with_ingress.next_within(Duration::from_millis(500))
    {
        ids.push(wire::message::<wire::Request<'_>>(&cbor).unwrap().id);
    }
    assert_eq!(ids.len(), most, "the last places are for cancels");
    let mut cancel = gate.client();
    cancel.say("DELETE /api/v3/order?a=b HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(gate.with_ingress.request().1, "DELETE /api/v3/order?a=b");
    let mut late = gate.client();
    let (status, text) = late.ask(&post("/api/v3/order", "a=b"));
    assert!(
        status == 503 && text.contains("nothing was sent"),
        "{status} {text}"
    );
    // What is answered is not what counts: credits come back when the signer takes a request up.
    let credit = Credit {
        lane: Lane::Order,
        frames: 256,
    };
    gate.with_ingress.put(kind::CREDIT, &credit);
    reply(&gate.with_ingress, ids[0], 200, "{}");
    std::thread::sleep(Duration::from_millis(50));
    late.say(&post("/api/v3/order", "a=b"));
    assert_eq!(gate.with_ingress.request().1, "POST /api/v3/order");
}

#[test]
fn rooms_of_another_build_are_refused() {
    let gate = Gate::new(&venue(|_, _, _| Does::Closes).hosts());
    let (theirs, ours) = spawn::pipes().unwrap();
    gate.ingress.link(Peer::Signer, 2, &theirs);
    let mut to = std::fs::File::from(ours.to);
    let mut frame = Vec::new();
    wire::frame(&mut frame, kind::HELLO, &hello("another build", 2)).unwrap();
    to.write_all(&frame).unwrap();
    let line = gate.ingress.event("link-refused");
    assert!(line["peer"] == "signer" && line["alert"] == true, "{line}");
    let (status, text) = gate.client().ask(&get("/x"));
    assert!(status == 503 && text.contains("nothing was sent"), "{text}");
    // And what is no frame of the signer ends its link with egress.
    gate.with_egress.put(kind::REPLY, &hello("x", 1));
    assert_eq!(gate.egress.event("link-refused")["peer"], "signer");
}

// ------------------------------------------------------------------------------------------------------------ what leaves

#[test]
fn a_discard_drops_what_waits_and_names_what_is_under_way() {
    let venue = venue(|_, _, _| Does::Waits(Duration::from_secs(2)));
    let gate = Gate::new(&venue.hosts());
    gate.with_egress
        .put(kind::SEND, &send(id(1), "POST", b"/one", b""));
    eventually(|| venue.requests() == 1);
    // In one write: the second has no connection when it is discarded.
    let mut frames = Vec::new();
    wire::frame(&mut frames, kind::SEND, &send(id(2), "POST", b"/two", b"")).unwrap();
    let discard = Discard {
        token: 5,
        entries: vec![EntryId(1), EntryId(2), EntryId(3)],
    };
    wire::frame(&mut frames, kind::DISCARD, &discard).unwrap();
    gate.with_egress
        .to
        .lock()
        .unwrap()
        .write_all(&frames)
        .unwrap();
    assert_eq!(gate.with_egress.outcome().sent, Sent::NotSent);
    let discarded = gate.with_egress.discarded();
    assert_eq!(discarded.discarded, [EntryId(2)]);
    assert_eq!(discarded.under_way, [EntryId(1)]);
    assert_eq!(discarded.done, [EntryId(3)]);
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(venue.requests(), 1);
}

#[test]
fn what_is_past_its_moment_is_not_sent() {
    let venue = venue(|_, _, _| Does::Answers(answer("{}")));
    let gate = Gate::new(&venue.hosts());
    let mut late = send(id(1), "POST", b"/late", b"");
    late.not_after_us = portcullis_room::clock::boot_us() - 1;
    gate.with_egress.put(kind::SEND, &late);
    let outcome = gate.with_egress.outcome();
    assert_eq!(
        (outcome.sent, outcome.why.as_deref()),
        (Sent::NotSent, Some("too_late"))
    );
    let mut in_time = send(id(2), "POST", b"/in-time", b"");
    in_time.not_after_us = portcullis_room::clock::boot_us() + 1_000_000;
    gate.with_egress.put(kind::SEND, &in_time);
    assert_eq!(gate.with_egress.outcome().sent, Sent::Sent);
    assert_eq!(venue.requests(), 1);
}

#[test]
fn after_a_429_nothing_goes_out_until_the_venue_says_so() {
    let venue = venue(|_, line, _| match line.contains("first") {
        true => Does::Answers(answer_with(429, "Retry-After: 2\r\n", b"{}")),
        false => Does::Answers(answer("{}")),
    });
    let gate = Gate::new(&venue.hosts());
    gate.with_egress
        .put(kind::SEND, &send(id(1), "GET", b"/first", b""));
    assert_eq!(gate.with_egress.outcome().status, 429);
    let begun = Instant::now();
    for (n, lane) in [Lane::Operator, Lane::Cancel, Lane::Order, Lane::Public]
        .into_iter()
        .enumerate()
    {
        let mut next = send(id(2 + n as u64), "GET", b"/next", b"");
        next.lane = lane;
        gate.with_egress.put(kind::SEND, &next);
        let outcome = gate.with_egress.outcome();
        assert_eq!(outcome.why.as_deref(), Some("venue_asked_to_wait"));
    }
    assert_eq!(gate.egress.event("venue-asked-to-wait")["status"], 429);
    let mut seq = 10;
    loop {
        seq += 1;
        gate.with_egress
            .put(kind::SEND, &send(id(seq), "GET", b"/again", b""));
        if gate.with_egress.outcome().sent == Sent::Sent {
            break;
        }
        assert_eq!(venue.requests(), 1);
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(
        begun.elapsed() >= Duration::from_millis(1_900),
        "{:?}",
        begun.elapsed()
    );
}

#[test]
fn a_flood_stops_short_of_the_venues_limit_and_cancels_pass() {
    // A venue that counts, tells, and would answer 429 above its limit: it never has to.
    let used = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let counted = Arc::clone(&used);
    let venue = venue(move |_, _, _| {
        let used = counted.fetch_add(20, std::sync::atomic::Ordering::SeqCst) + 20;
        let status = if used > 6_000 { 429 } else { 200 };
        Does::Answers(answer_with(
            status,
            &format!("x-mbx-used-weight-1m: {used}\r\n"),
            b"{}",
        ))
    });
    let mut hosts = venue.hosts();
    hosts.hosts[0].weight_per_minute = 6_000;
    let gate = Gate::new(&hosts);
    let mut frames = Vec::new();
    for seq in 0..500 {
        let mut read = send(id(seq), "GET", b"/read", b"");
        (read.lane, read.weight, read.orders) = (Lane::Read, 20, 0);
        wire::frame(&mut frames, kind::SEND, &read).unwrap();
    }
    gate.with_egress
        .to
        .lock()
        .unwrap()
        .write_all(&frames)
        .unwrap();
    let mut sent = 0;
    for _ in 0..500 {
        let outcome = gate.with_egress.outcome();
        assert_ne!(outcome.status, 429);
        sent += u32::from(outcome.sent == Sent::Sent);
    }
    assert!((50..=240).contains(&sent), "{sent} reads");
    for seq in 1000..1020 {
        let mut cancel = send(id(seq), "DELETE", b"/cancel", b"");
        (cancel.lane, cancel.weight) = (Lane::Cancel, 1);
        gate.with_egress.put(kind::SEND, &cancel);
        let outcome = gate.with_egress.outcome();
        assert_eq!((outcome.sent, outcome.status), (Sent::Sent, 200));
    }
}

#[test]
fn what_the_venue_cut_off_is_told_apart() {
    let venue = venue(|number, line, _| match (number, line.contains("lost")) {
        (_, true) => Does::Closes,
        (0, _) => Does::AnswersAndCloses(answer("{}")),
        _ => Does::Answers(answer("{}")),
    });
    let gate = Gate::new(&venue.hosts());
    gate.with_egress
        .put(kind::SEND, &send(id(1), "POST", b"/one", b""));
    assert_eq!(gate.with_egress.outcome().sent, Sent::Sent);
    std::thread::sleep(Duration::from_millis(150));
    // Its idle connection was closed meanwhile: another one carries the next request, once.
    gate.with_egress
        .put(kind::SEND, &send(id(2), "POST", b"/two", b""));
    assert_eq!(gate.with_egress.outcome().sent, Sent::Sent);
    // Closed after the request was read: nobody knows.
    gate.with_egress
        .put(kind::SEND, &send(id(3), "POST", b"/lost", b""));
    assert_eq!(gate.with_egress.outcome().sent, Sent::MaybeSent);
    assert_eq!(venue.requests(), 3);
    // Nobody listens: not sent.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let mut hosts = venue.hosts();
    hosts.hosts[0].address = nobody.to_string();
    gate.with_egress.put(kind::HOSTS, &hosts);
    gate.with_egress
        .put(kind::SEND, &send(id(4), "POST", b"/four", b""));
    assert_eq!(gate.with_egress.outcome().sent, Sent::NotSent);
    assert_eq!(gate.egress.event("venue-unreachable")["host"], "venue.test");
}

#[test]
fn a_venue_that_closes_at_once_is_not_stormed() {
    let begun = Instant::now();
    let broken = Duration::from_secs(3);
    let venue = venue(move |_, _, _| match begun.elapsed() < broken {
        true => Does::Closes,
        false => Does::Answers(answer("{}")),
    });
    let mut gate = Gate::new(&venue.hosts());
    let mut seq = 0;
    let mut outcome = |gate: &Gate| {
        seq += 1;
        gate.with_egress
            .put(kind::SEND, &send(id(seq), "GET", b"/x", b""));
        std::thread::sleep(Duration::from_millis(5));
        gate.with_egress.outcome()
    };
    let (mut held, mut tried) = (0, 0);
    while begun.elapsed() < broken - Duration::from_millis(100) {
        let outcome = outcome(&gate);
        match outcome.why.as_deref() {
            Some("connections_fail") => {
                assert_eq!(outcome.sent, Sent::NotSent);
                held += 1;
            }
            _ => {
                assert_eq!(outcome.sent, Sent::MaybeSent);
                tried += 1;
            }
        }
    }
    // At once, at once again, and after 0.1, 0.2, 0.4, 0.8 and 1.6 seconds.
    assert!((2..=7).contains(&tried), "{tried} connections");
    assert!(held > 0, "each request was tried");
    assert_eq!(
        gate.egress
            .metric("portcullis_egress_connections_total{result=\"in_vain\"}"),
        f64::from(tried)
    );
    // It is asked again soon, and then it is as ever.
    while outcome(&gate).sent != Sent::Sent {
        assert!(begun.elapsed() < broken + Duration::from_secs(10));
    }
    for _ in 0..3 {
        assert_eq!(outcome(&gate).sent, Sent::Sent);
    }
}

#[test]
fn tls_handshakes_beyond_the_bound_wait_for_the_next_second() {
    let (_, chain_pem, key_pem, _) = certificate("gate.test");
    // All of them are there when ingress comes.
    let queue = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    queue
        .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
        .unwrap();
    queue.listen(1024).unwrap();
    let listener = TcpListener::from(queue);
    let address = listener.local_addr().unwrap();
    let wanted = 2 * HANDSHAKES_PER_SECOND_MAX + 50;
    let clients: Vec<TcpStream> = (0..wanted)
        .map(|_| TcpStream::connect(address).unwrap())
        .collect();
    let mut ingress = start_ingress(7, &listener, Some(TlsSettings { chain_pem, key_pem }));
    let begun = Instant::now();
    let taken = "portcullis_ingress_connections_total{result=\"taken\"}";
    while ingress.metric(taken) < f64::from(wanted) {
        assert!(begun.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(10));
    }
    // Two seconds had their handshakes, and the third has the rest.
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(1_900), "{took:?}");
    drop(clients);
}

#[test]
fn whom_the_release_does_not_name_sees_no_request() {
    let good = venue(|_, _, _| Does::Answers(answer("{}")));
    let other = venue(|_, _, _| Does::Answers(answer("{}")));
    let gate = Gate::new(&good.hosts());
    let with = |change: &dyn Fn(&mut Hosts)| {
        let mut hosts = good.hosts();
        change(&mut hosts);
        gate.with_egress.put(kind::HOSTS, &hosts);
        gate.with_egress
            .put(kind::SEND, &send(id(1), "POST", b"/x", b""));
        gate.with_egress.outcome()
    };
    let wrong_ca = with(&|hosts| hosts.hosts[0].address = other.address.to_string());
    let wrong_name = with(&|hosts| hosts.hosts[0].name = "other.test".to_owned());
    let wrong_pin = with(&|hosts| hosts.hosts[0].pins = vec![ByteVec::from(vec![0; 32])]);
    for outcome in [wrong_ca, wrong_name, wrong_pin] {
        assert_eq!(
            (outcome.sent, outcome.why.as_deref()),
            (Sent::NotSent, Some("tls_failed"))
        );
    }
    assert_eq!(gate.egress.event("certificate-refused")["alert"], true);
    let none = with(&|hosts| hosts.hosts.clear());
    assert_eq!(none.why.as_deref(), Some("no_such_host"));
    assert_eq!((good.requests(), other.requests()), (0, 0));
    let right = with(&|hosts| hosts.hosts[0].pins = vec![ByteVec::from(good.spki_hash.clone())]);
    assert_eq!(right.sent, Sent::Sent);
}

#[test]
fn names_are_looked_up_by_up() {
    let venue = venue(|_, _, _| Does::Answers(answer("{}")));
    let mut hosts = venue.hosts();
    hosts.hosts[0].address = format!("venue.test:{}", venue.address.port());
    let gate = Gate::new(&hosts);
    gate.with_egress
        .put(kind::SEND, &send(id(1), "POST", b"/x", b""));
    let address = hosts.hosts[0].address.clone();
    assert_eq!(
        *gate.egress.asked.lock().unwrap(),
        std::slice::from_ref(&address)
    );
    gate.egress.tell(
        &ToRoom::Addresses {
            address,
            found: vec![venue.address],
        },
        &[],
    );
    assert_eq!(gate.with_egress.outcome().sent, Sent::Sent);
}

// --------------------------------------------------------------------------------------------------------------- restarts

#[test]
fn a_new_egress_takes_over_and_nobody_is_told_what_is_not_known() {
    let venue = venue(|_, line, _| match line.contains("wait") {
        true => Does::Waits(Duration::from_secs(5)),
        false => Does::Answers(answer("{}")),
    });
    let mut gate = Gate::new(&venue.hosts());
    let mut client = gate.client();
    client.say(&post("/wait", ""));
    let (request, _, _) = gate.with_ingress.request();
    gate.with_egress
        .put(kind::SEND, &send(request, "POST", b"/wait", b""));
    eventually(|| venue.requests() == 1);
    gate.egress.kill();
    let (status, text) = client.hear();
    assert!(
        status >= 500 && text.contains("ask for the order"),
        "{status} {text}"
    );
    assert_eq!(gate.ingress.event("link-lost")["peer"], "egress");
    gate.restart_egress(&venue.hosts(), Vec::new());
    client.say(&post("/x", ""));
    let (request, _, _) = gate.with_ingress.request();
    gate.with_egress
        .put(kind::SEND, &send(request, "POST", b"/x", b""));
    assert_eq!(client.hear().0, 200);
    assert_eq!(venue.requests(), 2, "nothing was sent twice");
}

#[test]
fn a_ban_outlives_the_egress_that_was_told() {
    let venue = venue(|_, line, _| match line.contains("first") {
        true => Does::Answers(answer_with(418, "Retry-After: 6\r\n", b"{}")),
        false => Does::Answers(answer("{}")),
    });
    let mut gate = Gate::new(&venue.hosts());
    gate.with_egress
        .put(kind::SEND, &send(id(1), "GET", b"/first", b""));
    assert_eq!(gate.with_egress.outcome().status, 418);
    let begun = Instant::now();
    let mut seq = 10;
    let mut sent = |gate: &Gate| {
        seq += 1;
        let mut send = send(id(seq), "GET", b"/again", b"");
        send.lane = Lane::Operator;
        gate.with_egress.put(kind::SEND, &send);
        let outcome = gate.with_egress.outcome();
        let is_sent = outcome.sent == Sent::Sent;
        assert!(is_sent || outcome.why.as_deref() == Some("venue_asked_to_wait"));
        is_sent
    };
    let limits = gate.egress.limits(|of| of.banned_until_us > 0);
    gate.egress.kill();
    gate.restart_egress(&venue.hosts(), limits);
    let mut held = 0;
    while !sent(&gate) {
        held += 1;
        assert_eq!(venue.requests(), 1);
        std::thread::sleep(Duration::from_millis(20));
    }
    let waited = begun.elapsed();
    assert!(waited >= Duration::from_millis(5_900), "{waited:?}");
    assert!(held > 0, "the ban was over before the new run was there");
}

#[test]
fn a_venues_own_way_to_ban_an_address_is_understood() {
    let venue = venue(|_, line, _| match line.contains("first") {
        true => Does::Answers(answer_with(403, "", b"access too frequent")),
        false => Does::Answers(answer("{}")),
    });
    for (name, holds) in [("bybit", true), ("binance", false)] {
        let mut hosts = venue.hosts();
        hosts.hosts[0].venue = name.to_owned();
        let gate = Gate::new(&hosts);
        let ask = |seq: u64, target: &[u8]| {
            let mut send = send(id(seq), "GET", target, b"");
            send.lane = Lane::Operator;
            gate.with_egress.put(kind::SEND, &send);
            gate.with_egress.outcome()
        };
        assert_eq!(ask(1, b"/v5/first").status, 403);
        // Of whatever endpoint: the address is banned.
        for (seq, target) in [(2, &b"/v5/again"[..]), (3, b"/v5/market/again")] {
            let outcome = ask(seq, target);
            let is_held = outcome.why.as_deref() == Some("venue_asked_to_wait");
            assert_eq!(is_held, holds, "{name}");
        }
    }
}

#[test]
fn the_weight_that_was_used_outlives_egress() {
    let venue =
        venue(|_, _, _| Does::Answers(answer_with(200, "x-mbx-used-weight-1m: 5000\r\n", b"{}")));
    let mut hosts = venue.hosts();
    hosts.hosts[0].weight_per_minute = 6_000;
    let mut gate = Gate::new(&hosts);
    gate.with_egress
        .put(kind::SEND, &send(id(1), "GET", b"/first", b""));
    assert_eq!(gate.with_egress.outcome().sent, Sent::Sent);
    let limits = gate.egress.limits(|of| of.weight_used >= 5_000);
    gate.egress.kill();
    gate.restart_egress(&hosts, limits);
    let mut read = send(id(2), "GET", b"/read", b"");
    read.lane = Lane::Read;
    gate.with_egress.put(kind::SEND, &read);
    let outcome = gate.with_egress.outcome();
    assert_eq!(outcome.why.as_deref(), Some("venue_weight"));
    assert_eq!(venue.requests(), 1);
}

#[test]
fn a_new_ingress_gets_no_answer_of_the_old_one_and_the_signer_every_summary() {
    let venue = venue(|_, line, _| match line.contains("slow") {
        true => Does::Slowly(vec![Vec::new(), answer("{}")], Duration::from_millis(400)),
        false => Does::Answers(answer("{}")),
    });
    let mut gate = Gate::new(&venue.hosts());
    let mut client = gate.client();
    client.say(&post("/slow", ""));
    let (request, _, _) = gate.with_ingress.request();
    gate.with_egress
        .put(kind::SEND, &send(request, "POST", b"/slow", b""));
    eventually(|| venue.requests() == 1);
    gate.ingress.kill();
    assert!(client.is_ended());
    gate.ingress = start_ingress(8, &gate.listener, None);
    gate.with_ingress = with_signer(&gate.ingress, 8);
    between(&gate.ingress, &gate.egress, 8);
    gate.settle();
    let mut client = gate.client();
    client.say(&post("/x", ""));
    let (request, _, _) = gate.with_ingress.request();
    assert_eq!(request, RequestId { epoch: 8, seq: 0 });
    // The summary of the old run's request comes all the same.
    let outcome = gate.with_egress.outcome();
    assert_eq!((outcome.id, outcome.sent), (id(0), Sent::Sent));
    reply(&gate.with_ingress, request, 200, "new");
    assert_eq!(client.hear(), (200, "new".to_owned()));
}

#[test]
fn a_new_signer_finds_nothing_of_the_old_one_waiting_and_the_connections_kept() {
    let venue = venue(|_, line, _| match line.contains("slow") {
        true => Does::Slowly(vec![Vec::new(), answer("slow")], Duration::from_millis(300)),
        false => Does::Answers(answer("{}")),
    });
    let mut gate = Gate::new(&venue.hosts());
    let mut clients: Vec<Client> = (0..3).map(|_| gate.client()).collect();
    let mut ids = Vec::new();
    for (client, path) in clients.iter_mut().zip(["/slow", "/never", "/unread"]) {
        client.say(&post(path, ""));
        ids.push(gate.with_ingress.request().0);
    }
    gate.with_egress
        .put(kind::SEND, &send(ids[0], "POST", b"/slow", b""));
    eventually(|| venue.requests() == 1);
    // A host that has no address yet: its request waits in egress when the signer dies.
    let mut hosts = venue.hosts();
    let mut unknown = venue.host();
    unknown.address = "nowhere.test:443".to_owned();
    hosts.hosts.push(unknown);
    gate.with_egress.put(kind::HOSTS, &hosts);
    let mut waiting = send(ids[1], "POST", b"/never", b"");
    waiting.host = 1;
    gate.with_egress.put(kind::SEND, &waiting);
    std::thread::sleep(Duration::from_millis(100));
    let begun = Instant::now();
    // The old signer is gone: both its links close.
    let (theirs, ours) = spawn::pipes().unwrap();
    gate.with_ingress = {
        gate.ingress.link(Peer::Signer, 7, &theirs);
        End::new(ours, 2)
    };
    gate.with_egress = with_signer(&gate.egress, 2);
    let (status, text) = clients[1].hear();
    assert!(
        status == 503 && text.contains("not sent"),
        "{status} {text}"
    );
    assert_eq!(
        clients[0].hear(),
        (200, "slow".to_owned()),
        "what was under way is answered"
    );
    let (status, text) = clients[2].hear();
    assert!(
        status == 504 && text.contains("ask for the order"),
        "{status} {text}"
    );
    // Nobody waits for a room that is gone.
    assert!(
        begun.elapsed() < Duration::from_millis(900),
        "{:?}",
        begun.elapsed()
    );
    // The same hosts again: the connection is kept.
    gate.with_egress.put(kind::HOSTS, &hosts);
    clients[0].say(&post("/x", ""));
    let (request, _, _) = gate.with_ingress.request();
    gate.with_egress
        .put(kind::SEND, &send(request, "POST", b"/x", b""));
    assert_eq!(clients[0].hear().0, 200);
    assert_eq!(
        gate.egress
            .metric("portcullis_egress_connections_total{result=\"made\"}"),
        1.0
    );
    assert_eq!(venue.requests(), 2);
}

// -------------------------------------------------------------------------------------------------------------- the rooms

#[test]
fn idle_rooms_are_small_and_sleep() {
    let venue = venue(|_, _, _| Does::Answers(answer("{}")));
    let gate = Gate::new(&venue.hosts()).pass_on();
    let mut client = gate.client();
    for _ in 0..100 {
        assert_eq!(client.ask(&get("/x")).0, 200);
    }
    // A connection at each side is open, and nothing is under way.
    std::thread::sleep(Duration::from_millis(1_500));
    let before = gate.ingress.switches() + gate.egress.switches();
    std::thread::sleep(Duration::from_secs(3));
    let woken = gate.ingress.switches() + gate.egress.switches() - before;
    assert!(woken <= 2, "woken {woken} times in three seconds");
    let (ingress, egress) = (gate.ingress.resident_kib(), gate.egress.resident_kib());
    println!("ingress {ingress} KiB, egress {egress} KiB");
    assert!(ingress + egress < 32 * 1024, "{ingress} + {egress} KiB");
}

#[test]
fn rooms_end_in_order_when_told_and_when_up_is_gone() {
    let venue = venue(|_, line, _| match line.contains("slow") {
        true => Does::Slowly(vec![Vec::new(), answer("slow")], Duration::from_millis(300)),
        false => Does::Answers(answer("{}")),
    });
    let mut gate = Gate::new(&venue.hosts()).pass_on();
    let mut client = gate.client();
    client.say(&get("/slow"));
    eventually(|| venue.requests() == 1);
    gate.ingress.tell(&ToRoom::Stop, &[]);
    gate.egress.tell(&ToRoom::Stop, &[]);
    assert_eq!(
        client.hear(),
        (200, "slow".to_owned()),
        "what was under way is answered"
    );
    for room in [&mut gate.ingress, &mut gate.egress] {
        let status = room.running.process.wait_within(PATIENCE).unwrap().unwrap();
        assert!(status.success(), "{status}");
    }
    // `up` is gone: its end of the control channel closes.
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_portcullis-egress"));
    let mut running = spawn::room(program, [""; 0]).unwrap();
    drop(running.control);
    let status = running.process.wait_within(PATIENCE).unwrap().unwrap();
    assert!(status.success(), "{status}");
}

#[test]
fn a_link_that_came_with_the_settings_is_not_left_lying() {
    // Stopped before it reads, the room finds both in one read.
    let signal = |room: &Room, name: &str| {
        let pid = room.pid().to_string();
        let done = std::process::Command::new("kill")
            .args([name, &pid])
            .status();
        assert!(done.unwrap().success());
    };
    let room = Room::start(Peer::Egress);
    signal(&room, "-STOP");
    let settings = EgressSettings { limits: Vec::new() };
    room.tell(&ToRoom::start(&settings).unwrap(), &[]);
    let (theirs, ours) = spawn::pipes().unwrap();
    room.link(Peer::Signer, 1, &theirs);
    let end = End::new(ours, 1);
    signal(&room, "-CONT");
    let (kind, _) = end.frames.recv_timeout(PATIENCE).unwrap();
    assert_eq!(kind, kind::HELLO);
}
