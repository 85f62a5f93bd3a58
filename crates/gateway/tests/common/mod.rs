//! The real programs of both rooms as processes. The test plays `up` and the signer over real pipes; the venue is a real
//! TLS server on loopback.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests state what must hold, and each uses a part"
)]

use minicbor::bytes::ByteVec;
use portcullis_gateway::tls;
use portcullis_model::id::{AccountId, EntryId, RequestId, StrategyId};
use portcullis_model::wire::{
    self, AnswerAborted, Credit, Discarded, Hello, Hosts, Lane, Outcome, Reply, Request, kind,
};
use portcullis_room::control::{
    EgressSettings, FromRoom, IngressSettings, ListenerSettings, Peer, Received, TlsSettings,
    ToRoom, VenueLimits,
};
use portcullis_room::spawn::{self, LinkEnd, Running};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

pub const PATIENCE: Duration = Duration::from_secs(20);

// ---------------------------------------------------------------------------------------------------------------- venue

/// What the server does with a request.
pub enum Does {
    Answers(Vec<u8>),
    /// Writes these parts, with a pause in between.
    Slowly(Vec<Vec<u8>>, Duration),
    /// Answers, and ends the connection a moment later, as if its idle time were over.
    AnswersAndCloses(Vec<u8>),
    Closes,
    Waits(Duration),
}

/// Given the number of the connection, the request's line, and its body.
pub type Script = dyn Fn(usize, &str, &str) -> Does + Send + Sync;

pub struct Venue {
    pub address: SocketAddr,
    pub ca: Vec<u8>,
    pub spki_hash: Vec<u8>,
    /// Request lines as they arrived.
    pub seen: Arc<Mutex<Vec<String>>>,
}

pub fn answer(body: &str) -> Vec<u8> {
    answer_with(200, "x-mbx-used-weight-1m: 5\r\n", body.as_bytes())
}

pub fn answer_with(status: u16, headers: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = format!(
        "HTTP/1.1 {status} X\r\nContent-Length: {}\r\n{headers}\r\n",
        body.len()
    )
    .into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// A certificate authority and a certificate of it for `name`, PEM: CA in DER, chain, key, hash of the public key.
pub fn certificate(name: &str) -> (Vec<u8>, String, String, Vec<u8>) {
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let mut ca = rcgen::CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca_cert = ca.self_signed(&ca_key).unwrap();
    let issuer = rcgen::Issuer::new(ca, ca_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let leaf = rcgen::CertificateParams::new(vec![name.to_owned()])
        .unwrap()
        .signed_by(&key, &issuer)
        .unwrap();
    let spki = webpki::EndEntityCert::try_from(leaf.der())
        .unwrap()
        .subject_public_key_info();
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, spki.as_ref());
    (
        ca_cert.der().to_vec(),
        leaf.pem(),
        key.serialize_pem(),
        hash.as_ref().to_vec(),
    )
}

pub fn venue(script: impl Fn(usize, &str, &str) -> Does + Send + Sync + 'static) -> Venue {
    let (ca, chain, key, spki_hash) = certificate("venue.test");
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
                let _ = serve(stream.unwrap(), config, &*script, number, &told);
            });
        }
    });
    Venue {
        address,
        ca,
        spki_hash,
        seen,
    }
}

fn serve(
    mut stream: TcpStream,
    config: Arc<rustls::ServerConfig>,
    script: &Script,
    number: usize,
    told: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    let mut tls = rustls::ServerConnection::new(config).unwrap();
    let mut session = rustls::Stream::new(&mut tls, &mut stream);
    let mut bytes = Vec::new();
    loop {
        let mut part = [0; 65_536];
        let n = session.read(&mut part)?;
        if n == 0 {
            return Ok(());
        }
        bytes.extend_from_slice(&part[..n]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length: usize = head
            .lines()
            .find_map(|line| line.strip_prefix("Content-Length: ")?.parse().ok())
            .unwrap_or(0);
        if body.len() < length {
            continue;
        }
        let line = head.lines().next().unwrap().to_owned();
        told.lock().unwrap().push(line.clone());
        let does = script(number, &line, body);
        bytes.clear();
        match does {
            Does::Answers(answer) => session.write_all(&answer)?,
            Does::Slowly(parts, pause) => {
                for part in parts {
                    session.write_all(&part)?;
                    session.flush()?;
                    std::thread::sleep(pause);
                }
            }
            Does::AnswersAndCloses(answer) => {
                session.write_all(&answer)?;
                std::thread::sleep(Duration::from_millis(50));
                return Ok(());
            }
            Does::Closes => return Ok(()),
            Does::Waits(time) => std::thread::sleep(time),
        }
    }
}

impl Venue {
    pub fn host(&self) -> wire::Host {
        wire::Host {
            venue: "binance".to_owned(),
            name: "venue.test".to_owned(),
            address: self.address.to_string(),
            pins: Vec::new(),
            public_roots: false,
            weight_per_minute: 1_000_000,
            orders_per_10s: 1_000_000,
        }
    }

    pub fn hosts(&self) -> Hosts {
        Hosts {
            hosts: vec![self.host()],
            roots: vec![ByteVec::from(self.ca.clone())],
        }
    }

    pub fn requests(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

// ----------------------------------------------------------------------------------------------------------------- rooms

/// A room that was started, with what it wrote.
pub struct Room {
    pub running: Running,
    pub lines: Arc<Mutex<Vec<serde_json::Value>>>,
    /// Names that it asked `up` to look up.
    pub asked: Mutex<Vec<String>>,
    /// What it last said for its next run.
    pub limits: Vec<VenueLimits>,
}

impl Room {
    pub fn start(me: Peer) -> Self {
        let program = match me {
            Peer::Ingress => env!("CARGO_BIN_EXE_portcullis-ingress"),
            Peer::Egress => env!("CARGO_BIN_EXE_portcullis-egress"),
            Peer::Signer => unreachable!("the test is the signer"),
        };
        let mut running = spawn::room(Path::new(program), [""; 0]).unwrap();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (events, kept) = (running.events.try_clone().unwrap(), Arc::clone(&lines));
        std::thread::spawn(move || {
            for line in BufReader::new(File::from(events)).lines() {
                let Ok(line) = line else { return };
                let line = serde_json::from_str(&line).expect("each line is JSON");
                kept.lock().unwrap().push(line);
            }
        });
        match running.control.receive_within(PATIENCE).unwrap() {
            Received::Message(FromRoom::Ready { room, .. }, _) => assert_eq!(room, me),
            other => panic!("{other:?}"),
        }
        Self {
            running,
            lines,
            asked: Mutex::new(Vec::new()),
            limits: Vec::new(),
        }
    }

    pub fn tell(&self, message: &ToRoom, fds: &[(&str, BorrowedFd<'_>)]) {
        self.running.control.send(message, fds, PATIENCE).unwrap();
    }

    pub fn link(&self, peer: Peer, epoch: u32, end: &LinkEnd) {
        self.tell(
            &ToRoom::Link { peer, epoch },
            &[("from", end.from.as_fd()), ("to", end.to.as_fd())],
        );
    }

    pub fn pid(&self) -> u32 {
        self.running.process.pid()
    }

    /// Waits for an event of this name.
    pub fn event(&self, name: &str) -> serde_json::Value {
        let end = Instant::now() + PATIENCE;
        loop {
            let found = self
                .lines
                .lock()
                .unwrap()
                .iter()
                .find(|line| line["event"] == name)
                .cloned();
            if let Some(line) = found {
                return line;
            }
            assert!(Instant::now() < end, "no `{name}`: {:?}", self.lines);
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn metrics(&mut self) -> String {
        self.tell(&ToRoom::Metrics { token: 7 }, &[]);
        loop {
            match self.running.control.receive_within(PATIENCE).unwrap() {
                Received::Message(FromRoom::Metrics { token: 7, text }, _) => return text,
                Received::Message(FromRoom::Resolve { address }, _) => {
                    self.asked.lock().unwrap().push(address);
                }
                Received::Message(FromRoom::Limits { limits }, _) => self.limits = limits,
                other => panic!("{other:?}"),
            }
        }
    }

    /// The value of a series on the page of metrics.
    pub fn metric(&mut self, series: &str) -> f64 {
        let page = self.metrics();
        page.lines()
            .find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
            .unwrap_or_else(|| panic!("no `{series}` in {page}"))
    }

    /// What it said last for its next run, once that fits `is_it`; also of a room that was killed.
    pub fn limits(&mut self, is_it: impl Fn(&VenueLimits) -> bool) -> Vec<VenueLimits> {
        while !self.limits.iter().any(&is_it) {
            match self.running.control.receive_within(PATIENCE).unwrap() {
                Received::Message(FromRoom::Limits { limits }, _) => self.limits = limits,
                other => panic!("{other:?}"),
            }
        }
        self.limits.clone()
    }

    pub fn kill(&mut self) {
        self.running.process.kill().unwrap();
        self.running.process.wait_within(PATIENCE).unwrap();
    }

    /// Resident memory, KiB.
    pub fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// Times that it was put on a core again: an idle program's stays.
    pub fn switches(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        status
            .lines()
            .filter(|l| l.contains("ctxt_switches:"))
            .map(|l| l.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap())
            .sum()
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let _ = self.running.process.kill();
        let _ = self.running.process.wait_within(PATIENCE);
    }
}

// ---------------------------------------------------------------------------------------------------------------- signer

/// The signer's end of a link to one room.
pub struct End {
    pub to: Arc<Mutex<File>>,
    pub frames: Receiver<(u8, Vec<u8>)>,
}

impl End {
    pub fn new(end: LinkEnd, epoch: u32) -> Self {
        let mut from = File::from(end.from);
        let (tell, frames) = channel();
        std::thread::spawn(move || {
            loop {
                let mut head = [0; 5];
                if from.read_exact(&mut head).is_err() {
                    return;
                }
                let length = u32::from_be_bytes(head[..4].try_into().unwrap()) as usize;
                let mut cbor = vec![0; length - 1];
                if from.read_exact(&mut cbor).is_err() || tell.send((head[4], cbor)).is_err() {
                    return;
                }
            }
        });
        let end = Self {
            to: Arc::new(Mutex::new(File::from(end.to))),
            frames,
        };
        end.put(kind::HELLO, &hello(portcullis_room::BUILD_ID, epoch));
        end
    }

    pub fn put<T: minicbor::Encode<()>>(&self, kind: u8, message: &T) {
        put(&self.to, kind, message);
    }

    /// The next frame that is no greeting.
    pub fn next(&self) -> (u8, Vec<u8>) {
        self.next_within(PATIENCE).expect("a frame in time")
    }

    pub fn next_within(&self, patience: Duration) -> Option<(u8, Vec<u8>)> {
        let end = Instant::now() + patience;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.frames.recv_timeout(left) {
                Ok((kind::HELLO, _)) => {}
                Ok(frame) => return Some(frame),
                Err(RecvTimeoutError::Timeout) => return None,
                Err(RecvTimeoutError::Disconnected) => panic!("the link has ended"),
            }
        }
    }

    pub fn outcome(&self) -> Outcome {
        loop {
            let (kind, cbor) = self.next();
            match kind {
                kind::OUTCOME => return wire::message(&cbor).unwrap(),
                kind::VENUE => {}
                other => panic!("a frame of kind {other}"),
            }
        }
    }

    pub fn discarded(&self) -> Discarded {
        let (kind, cbor) = self.next();
        assert_eq!(kind, kind::DISCARDED);
        wire::message(&cbor).unwrap()
    }

    /// Sequence number and line of the next request.
    pub fn request(&self) -> (RequestId, String, Vec<u8>) {
        let (kind, cbor) = self.next();
        assert_eq!(kind, kind::REQUEST);
        let request: Request<'_> = wire::message(&cbor).unwrap();
        let line = format!(
            "{} {}",
            request.method,
            String::from_utf8_lossy(request.target)
        );
        (request.id, line, request.body.to_vec())
    }
}

pub fn hello(build: &str, epoch: u32) -> Hello {
    Hello {
        build: ByteVec::from(build.as_bytes().to_vec()),
        room: "signer".to_owned(),
        epoch,
    }
}

pub fn put<T: minicbor::Encode<()>>(to: &Mutex<File>, kind: u8, message: &T) {
    let mut frame = Vec::new();
    wire::frame(&mut frame, kind, message).unwrap();
    // A room that was killed reads no more.
    let _ = to.lock().unwrap().write_all(&frame);
}

/// A request as the signer would send it.
pub fn send<'b>(
    id: RequestId,
    method: &'b str,
    target: &'b [u8],
    body: &'b [u8],
) -> wire::Send<'b> {
    wire::Send {
        id,
        entry: Some(EntryId(id.seq)),
        strategy: StrategyId(1),
        account: Some(AccountId(2)),
        lane: Lane::Order,
        host: 0,
        endpoint: 0,
        weight: 1,
        orders: 1,
        not_after_us: 0,
        method,
        target: target.into(),
        headers: Vec::new(),
        body: body.into(),
        summarize: false,
        share: 1000,
        stream: false,
        pipe: None,
    }
}

/// Both rooms, linked, with the test as their signer.
pub struct Gate {
    pub ingress: Room,
    pub egress: Room,
    pub with_ingress: End,
    pub with_egress: End,
    pub listener: TcpListener,
    pub epoch: u32,
}

pub fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

pub fn start_ingress(epoch: u32, listener: &TcpListener, tls: Option<TlsSettings>) -> Room {
    start_ingress_at(epoch, listener, tls, "api.binance.com")
}

pub fn start_ingress_at(
    epoch: u32,
    listener: &TcpListener,
    tls: Option<TlsSettings>,
    host: &str,
) -> Room {
    let room = Room::start(Peer::Ingress);
    let settings = IngressSettings {
        epoch,
        listeners: vec![ListenerSettings {
            venue: "binance".to_owned(),
            host: host.to_owned(),
            tls,
        }],
    };
    room.tell(
        &ToRoom::start(&settings).unwrap(),
        &[("listener:0", listener.as_fd())],
    );
    room
}

pub fn start_egress(limits: Vec<VenueLimits>) -> Room {
    let room = Room::start(Peer::Egress);
    room.tell(&ToRoom::start(&EgressSettings { limits }).unwrap(), &[]);
    room
}

/// A link between a room and the test.
pub fn with_signer(room: &Room, epoch: u32) -> End {
    let (theirs, ours) = spawn::pipes().unwrap();
    room.link(Peer::Signer, epoch, &theirs);
    End::new(ours, epoch)
}

pub fn between(ingress: &Room, egress: &Room, epoch: u32) {
    let (one, other) = spawn::pipes().unwrap();
    ingress.link(Peer::Egress, epoch, &one);
    egress.link(Peer::Ingress, epoch, &other);
}

impl Gate {
    pub fn new(hosts: &Hosts) -> Self {
        Self::with_tls(hosts, None)
    }

    pub fn with_tls(hosts: &Hosts, tls: Option<TlsSettings>) -> Self {
        Self::at(hosts, tls, "api.binance.com")
    }

    /// With the listener of another of the venue's hosts.
    pub fn of_host(hosts: &Hosts, host: &str) -> Self {
        Self::at(hosts, None, host)
    }

    fn at(hosts: &Hosts, tls: Option<TlsSettings>, host: &str) -> Self {
        let (listener, epoch) = (listener(), 7);
        let ingress = start_ingress_at(epoch, &listener, tls, host);
        let egress = start_egress(Vec::new());
        let with_ingress = with_signer(&ingress, epoch);
        let with_egress = with_signer(&egress, 1);
        between(&ingress, &egress, epoch);
        with_egress.put(kind::HOSTS, hosts);
        let mut gate = Self {
            ingress,
            egress,
            with_ingress,
            with_egress,
            listener,
            epoch,
        };
        // The greeting is answered once the links are read.
        gate.settle();
        gate
    }

    /// Another egress in place of the one that is there, as `up` would start it.
    pub fn restart_egress(&mut self, hosts: &Hosts, limits: Vec<VenueLimits>) {
        self.egress = start_egress(limits);
        self.with_egress = with_signer(&self.egress, 1);
        between(&self.ingress, &self.egress, self.epoch);
        self.with_egress.put(kind::HOSTS, hosts);
        self.settle();
    }

    /// Waits until both rooms have read what was sent to them so far.
    pub fn settle(&mut self) {
        self.ingress.metrics();
        self.egress.metrics();
        std::thread::sleep(Duration::from_millis(20));
        self.ingress.metrics();
        self.egress.metrics();
    }

    pub fn client(&self) -> Client {
        Client::new(TcpStream::connect(self.listener.local_addr().unwrap()).unwrap())
    }

    /// Passes each request on unseen from here on, as fast as it comes.
    pub fn pass_on(self) -> Passing {
        let Self {
            ingress,
            egress,
            with_ingress,
            with_egress,
            listener,
            epoch,
        } = self;
        let (to_ingress, to_egress) = (Arc::clone(&with_ingress.to), Arc::clone(&with_egress.to));
        std::thread::spawn(move || {
            while let Ok((kind, cbor)) = with_ingress.frames.recv() {
                if kind == kind::REQUEST {
                    let request: Request<'_> = wire::message(&cbor).unwrap();
                    let send = send(request.id, request.method, request.target, request.body);
                    put(&to_egress, kind::SEND, &send);
                    let credit = Credit {
                        lane: Lane::Order,
                        frames: 1,
                    };
                    put(&to_ingress, kind::CREDIT, &credit);
                }
            }
        });
        let (tell, outcomes) = channel();
        std::thread::spawn(move || {
            while let Ok((kind, cbor)) = with_egress.frames.recv() {
                if kind == kind::OUTCOME && tell.send(wire::message(&cbor).unwrap()).is_err() {
                    return;
                }
            }
        });
        Passing {
            ingress,
            egress,
            listener,
            epoch,
            outcomes,
        }
    }
}

/// A gate whose signer lets everything through.
pub struct Passing {
    pub ingress: Room,
    pub egress: Room,
    pub listener: TcpListener,
    pub epoch: u32,
    pub outcomes: Receiver<Outcome>,
}

impl Passing {
    pub fn client(&self) -> Client {
        Client::new(TcpStream::connect(self.listener.local_addr().unwrap()).unwrap())
    }
}

// ---------------------------------------------------------------------------------------------------------------- client

/// A program.
pub struct Client {
    pub stream: TcpStream,
    bytes: Vec<u8>,
}

pub fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n")
}

pub fn post(path: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

impl Client {
    pub fn new(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            bytes: Vec::new(),
        }
    }

    pub fn say(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).unwrap();
    }

    /// The next answer, with a known length: status and body.
    pub fn hear(&mut self) -> (u16, String) {
        self.try_hear().expect("a whole answer")
    }

    /// `None`: the connection ended.
    pub fn try_hear(&mut self) -> Option<(u16, String)> {
        let mut part = [0; 65_536];
        loop {
            if let Some(at) = memchr::memmem::find(&self.bytes, b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&self.bytes[..at]).into_owned();
                let length: usize = head
                    .lines()
                    .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok())
                    .expect("a length");
                if self.bytes.len() >= at + 4 + length {
                    let body = self.bytes[at + 4..at + 4 + length].to_vec();
                    self.bytes.drain(..at + 4 + length);
                    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
                    return Some((status, String::from_utf8_lossy(&body).into_owned()));
                }
            }
            match self.stream.read(&mut part) {
                Ok(0) => return None,
                Ok(n) => self.bytes.extend_from_slice(&part[..n]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("{error}"),
            }
        }
    }

    pub fn ask(&mut self, text: &str) -> (u16, String) {
        self.say(text);
        self.hear()
    }

    /// The connection was ended by the gate.
    pub fn is_ended(&mut self) -> bool {
        self.try_hear().is_none()
    }
}

pub fn reply(end: &End, id: RequestId, status: u16, body: &str) {
    let reply = Reply {
        id,
        status,
        headers: Vec::new(),
        body: body.as_bytes().into(),
    };
    end.put(kind::REPLY, &reply);
}

pub fn aborted(cbor: &[u8]) -> AnswerAborted {
    wire::message(cbor).unwrap()
}

/// Waits until `what` holds.
pub fn eventually(what: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !what() {
        assert!(Instant::now() < end, "not in time");
        std::thread::sleep(Duration::from_millis(5));
    }
}
