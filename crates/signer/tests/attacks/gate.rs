//! The real signer, with the test as its ingress and egress.

use crate::common::program::*;
use crate::common::*;
use crate::world;
use aws_lc_rs::hmac;
use portcullis_model::action::{Duty, Scheme};
use portcullis_model::command::{Answer, Command};
use portcullis_model::id::{EntryId, RequestId, Timestamp};
use portcullis_model::report::{Report, Sent};
use portcullis_model::wire::{
    self, Discard, Discarded, Header, Outcome, Reply, Request, Send, kind,
};
use portcullis_room::control::Peer;
use portcullis_signer::releases;
use portcullis_sim::venue::Venue;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

pub const DUTIES: [(Duty, &str); 4] = [
    (Duty::Read, "read"),
    (Duty::Trade, "trade"),
    (Duty::Move, "move"),
    (Duty::Admin, "admin"),
];

pub fn now_us() -> u64 {
    reading().wall_us
}

/// What a program holds.
#[derive(Debug, Clone)]
pub struct Credential {
    pub api_key: String,
    pub secret: String,
}

/// A request as ingress hands it on.
#[derive(Debug, Clone)]
pub struct Asked {
    pub method: String,
    pub target: Vec<u8>,
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Vec<u8>,
    pub source: Vec<u8>,
    pub connection: u64,
    pub host: &'static str,
}

/// The firm's account at a venue, as its release has it.
#[derive(Debug, Clone, Copy)]
pub struct Firm {
    pub venue: &'static str,
    /// By their number in the release.
    pub hosts: &'static [&'static str],
    /// `markets/VENUE.json`
    pub markets: &'static str,
    /// Beside the default policy.
    pub policy: &'static str,
}

/// Spot of Binance alone.
pub const SPOT: Firm = Firm {
    venue: "binance",
    hosts: &["api.binance.com"],
    markets: r#"[{"symbol":"BTCUSDT","base":"BTC","quote":"USDT"}]"#,
    policy: "",
};

/// A request as egress gets it.
#[derive(Debug, Clone)]
pub struct Signed {
    pub id: RequestId,
    pub host: &'static str,
    pub entry: Option<EntryId>,
    pub endpoint: u16,
    pub method: String,
    pub target: Vec<u8>,
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Vec<u8>,
}

impl Signed {
    pub fn path(&self) -> String {
        let text = String::from_utf8_lossy(&self.target);
        text.split('?').next().unwrap().to_owned()
    }

    /// Everything that is signed, with the signature: query and body of a request of the gate are one text.
    pub fn text(&self) -> String {
        let target = String::from_utf8_lossy(&self.target).into_owned();
        let query = target.split_once('?').map_or("", |(_, query)| query);
        format!("{query}{}", String::from_utf8_lossy(&self.body))
    }

    pub fn field(&self, name: &str) -> Option<String> {
        self.text().split('&').find_map(|piece| {
            let (found, value) = piece.split_once('=')?;
            (found == name).then(|| value.to_owned())
        })
    }

    pub fn number(&self, name: &str) -> Option<u64> {
        self.field(name)?.parse().ok()
    }

    /// The moment after which the venue accepts it no more.
    pub fn ends_us(&self) -> u64 {
        (self.number("timestamp").unwrap() + self.number("recvWindow").unwrap()) * 1_000
    }

    pub fn starts_us(&self) -> u64 {
        self.number("timestamp").unwrap() * 1_000
    }

    pub fn key(&self) -> Option<String> {
        let names = ["x-mbx-apikey", "x-bapi-api-key", "ok-access-key"];
        let key = self
            .headers
            .iter()
            .find(|(name, _)| names.contains(&name.as_str()));
        key.map(|(_, value)| String::from_utf8(value.clone()).unwrap())
    }
}

#[derive(Debug)]
pub enum Event {
    Signed(Signed),
    Replied {
        id: RequestId,
        status: u16,
        body: String,
    },
    Discard(Discard),
    Gone(#[expect(dead_code, reason = "shown when a test fails")] Peer),
}

/// What became of a request at the gate.
#[derive(Debug, Clone)]
pub enum Fate {
    Signed(Signed),
    Refused {
        status: u16,
        body: String,
    },
    /// Not a word within the time given.
    Silent,
}

impl Fate {
    #[track_caller]
    pub fn signed(self) -> Signed {
        match self {
            Self::Signed(signed) => signed,
            other => panic!("not signed: {other:?}"),
        }
    }

    pub fn is_signed(&self) -> bool {
        matches!(self, Self::Signed(_))
    }
}

/// A folder that no slow disk is behind: with one, orders are refused for that, and nothing is learnt of the attack.
fn in_memory() -> Folder {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let memory = Path::new("/dev/shm");
    if !memory.is_dir() {
        return Folder::new();
    }
    let n = NEXT.fetch_add(1, Ordering::SeqCst);
    let folder = memory.join(format!("portcullis-attacks-{}-{n}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    Folder(folder)
}

/// Secrets that nobody but the signer may ever see, by name.
pub type Secrets = BTreeMap<String, Vec<u8>>;

pub struct Gate {
    pub folder: Folder,
    pub program: Program,
    pub to_signer: File,
    pub from_egress: File,
    pub epoch: u32,
    pub seq: u64,
    events: Receiver<Event>,
    tell: Sender<Event>,
    /// Every byte that the signer wrote to a neighbour.
    pub seen_by_ingress: Arc<Mutex<Vec<u8>>>,
    pub seen_by_egress: Arc<Mutex<Vec<u8>>>,
    pub credentials: Vec<Credential>,
    /// What the gate asked for itself.
    pub own: Vec<Signed>,
    pub secrets: Secrets,
    firm: Firm,
    /// Those of the real keys, which egress has to be told.
    passphrases: Vec<String>,
    /// The real keys' ids by duty.
    pub keys: BTreeMap<String, String>,
}

fn listen(
    peer: Peer,
    mut from: File,
    tell: Sender<Event>,
    seen: Arc<Mutex<Vec<u8>>>,
    hosts: &'static [&'static str],
) {
    std::thread::spawn(move || {
        while let Some((kind, cbor)) = read_frame(&mut from) {
            {
                let mut seen = seen.lock().unwrap();
                // Enough to look for secrets in, and no more than a test should hold.
                if seen.len() < 64 << 20 {
                    seen.push(kind);
                    seen.extend_from_slice(&cbor);
                }
            }
            let event = match kind {
                kind::SEND => {
                    let send: Send<'_> = wire::message(&cbor).unwrap();
                    let header =
                        |header: &Header<'_>| (header.name.to_owned(), header.value.to_vec());
                    Event::Signed(Signed {
                        id: send.id,
                        host: hosts[usize::from(send.host)],
                        entry: send.entry,
                        endpoint: send.endpoint,
                        method: send.method.to_owned(),
                        target: send.target.to_vec(),
                        headers: send.headers.iter().map(header).collect(),
                        body: send.body.to_vec(),
                    })
                }
                kind::REPLY => {
                    let reply: Reply<'_> = wire::message(&cbor).unwrap();
                    Event::Replied {
                        id: reply.id,
                        status: reply.status,
                        body: String::from_utf8_lossy(reply.body).into_owned(),
                    }
                }
                kind::DISCARD => Event::Discard(wire::message(&cbor).unwrap()),
                _ => continue,
            };
            if tell.send(event).is_err() {
                return;
            }
        }
        let _ = tell.send(Event::Gone(peer));
    });
}

impl Gate {
    /// A site with one account: `firm` of the venue, with the keys of these duties, and as many strategies.
    pub fn start(
        venue: &Venue,
        duties: &[(Duty, &str)],
        mandates: &str,
        strategies: usize,
    ) -> Self {
        Self::at(SPOT, venue, duties, mandates, strategies)
    }

    /// The same at any venue.
    pub fn at(
        firm: Firm,
        venue: &Venue,
        duties: &[(Duty, &str)],
        mandates: &str,
        strategies: usize,
    ) -> Self {
        let folder = in_memory();
        let mut program = Program::start(&folder.0);
        // As `up` does: a flood's lines must not fill the pipe.
        let mut lines = File::from(program.running.events.try_clone().unwrap());
        std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
        let mut secrets = Secrets::new();
        secrets.insert(
            SITE_SECRET.0.to_owned(),
            b"a site secret of the attack test".to_vec(),
        );
        secrets.insert(
            LOG_KEY.0.to_owned(),
            b"a log key of the attack tests 32".to_vec(),
        );
        let (mut keys, mut passphrases) = (BTreeMap::new(), Vec::new());
        let account = venue
            .exchange
            .accounts
            .iter()
            .position(|a| a.name == world::FIRM)
            .unwrap();
        for (_, duty) in duties {
            let handed = venue
                .handed
                .iter()
                .find(|h| h.account == account && h.duty == *duty)
                .unwrap();
            keys.insert((*duty).to_owned(), handed.key.clone());
            let mut secret = handed.secret.clone().unwrap();
            if let Some(passphrase) = &handed.passphrase {
                secret = format!("{secret}\n{passphrase}");
                passphrases.push(passphrase.clone());
            }
            secrets.insert(format!("keys/{duty}.age"), secret.into_bytes());
        }
        let given: Vec<(&str, &[u8])> = secrets
            .iter()
            .map(|(name, secret)| (name.as_str(), secret.as_slice()))
            .collect();
        program.unseal(&given);
        for secret in secrets.values_mut() {
            // What is looked for is the secret; its passphrase is another line.
            let end = secret.iter().position(|byte| *byte == b'\n');
            secret.truncate(end.unwrap_or(secret.len()));
        }
        program.wait_for(|status| status["site"] == "fund");
        program.done(Command::AccountAdd {
            name: name("main"),
            venue: name(firm.venue),
        });
        for (duty, word) in duties {
            program.done(Command::KeyAdd {
                account: name("main"),
                duty: *duty,
                scheme: Scheme::HmacSha256,
                api_key: keys[*word].clone(),
                sealed: format!("keys/{word}.age"),
            });
        }
        let mut credentials = Vec::new();
        for at in 0..strategies {
            let strategy = name(&format!("strategy{at}"));
            program.done(Command::StrategyAdd {
                name: strategy.clone(),
                desk: None,
                observe: false,
            });
            let issued = program.ask(Command::VirtualKeyIssue {
                strategy,
                account: name("main"),
                scheme: Scheme::HmacSha256,
                public_key: None,
                expires: Timestamp(now_us() + 3_600_000_000),
                sources: vec!["127.0.0.0/8".to_owned()],
                canary: false,
            });
            let Answer::VirtualKey {
                api_key, secret, ..
            } = issued
            else {
                panic!("{issued:?}");
            };
            let secret = secret.unwrap();
            secrets.insert(format!("virtual key {at}"), secret.clone().into_bytes());
            credentials.push(Credential { api_key, secret });
        }
        let mut files = files();
        files.insert("mandates.toml".to_owned(), mandates.to_owned());
        files.insert(
            "authority.cedar".to_owned(),
            portcullis_authority::DEFAULT_POLICY.to_owned() + firm.policy,
        );
        files.remove("markets/binance.json");
        files.insert(
            format!("markets/{}.json", firm.venue),
            firm.markets.to_owned(),
        );
        let hosts = firm.hosts.iter().map(|host| {
            format!(
                "[[host]]\nvenue = \"{}\"\nname = \"{host}\"\npublic_roots = true\nweight_per_minute = 6000\norders_per_10s = 100\n",
                firm.venue
            )
        });
        files.insert("hosts.toml".to_owned(), hosts.collect());
        program.done(Command::Release { files });
        let (tell, events) = channel();
        let mut gate = Self {
            folder,
            to_signer: File::open("/dev/null").unwrap(),
            from_egress: File::open("/dev/null").unwrap(),
            program,
            epoch: 1,
            seq: 0,
            events,
            tell,
            seen_by_ingress: Arc::default(),
            seen_by_egress: Arc::default(),
            credentials,
            own: Vec::new(),
            secrets,
            firm,
            passphrases,
            keys,
        };
        gate.link_ingress();
        gate.link_egress();
        gate
    }

    /// A new run of ingress.
    pub fn link_ingress(&mut self) {
        self.epoch += 1;
        let (from, to) = self.program.link(Peer::Ingress, self.epoch);
        listen(
            Peer::Ingress,
            from,
            self.tell.clone(),
            Arc::clone(&self.seen_by_ingress),
            self.firm.hosts,
        );
        self.to_signer = to;
    }

    pub fn link_egress(&mut self) {
        let (from, to) = self.program.link(Peer::Egress, 1);
        listen(
            Peer::Egress,
            from,
            self.tell.clone(),
            Arc::clone(&self.seen_by_egress),
            self.firm.hosts,
        );
        self.from_egress = to;
    }

    pub fn next_id(&mut self) -> RequestId {
        self.seq += 1;
        RequestId {
            epoch: self.epoch,
            seq: self.seq,
        }
    }

    /// Hands a request on; `false`: the signer takes nothing from this ingress any more.
    pub fn hand(&mut self, asked: &Asked, id: RequestId) -> bool {
        let frame = frame_of(asked, id);
        self.to_signer.write_all(&frame).is_ok()
    }

    pub fn event(&mut self, within: Duration) -> Option<Event> {
        match self.events.recv_timeout(within) {
            Ok(event) => Some(event),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => panic!("nobody listens"),
        }
    }

    /// Sends one request and waits for what becomes of it; the gate's own questions go to the venue meanwhile.
    pub fn ask(&mut self, asked: &Asked, venue: &mut Venue) -> Fate {
        let id = self.next_id();
        self.hand(asked, id);
        self.fate(id, venue, PATIENCE)
    }

    pub fn fate(&mut self, wanted: RequestId, venue: &mut Venue, within: Duration) -> Fate {
        let until = Instant::now() + within;
        while let Some(event) = self.event(until.saturating_duration_since(Instant::now())) {
            match event {
                Event::Signed(signed) if signed.id == wanted => return Fate::Signed(signed),
                Event::Replied { id, status, body } if id == wanted => {
                    return Fate::Refused { status, body };
                }
                other => self.meanwhile(other, venue),
            }
        }
        Fate::Silent
    }

    /// Until the gate has reference prices.
    pub fn until_priced(&mut self, venue: &mut Venue) {
        let words = ["ticker", "premiumIndex", "mark-price"];
        let priced = |gate: &Self| {
            let told = |own: &Signed| words.iter().any(|word| own.path().contains(word));
            gate.own.iter().any(told)
        };
        let until = Instant::now() + PATIENCE;
        while !priced(self) {
            assert!(Instant::now() < until, "the gate asks for no prices");
            if let Some(event) = self.event(Duration::from_millis(100)) {
                self.meanwhile(event, venue);
            }
        }
    }

    /// What an honest egress does with the gate's own questions and discards.
    pub fn meanwhile(&mut self, event: Event, venue: &mut Venue) {
        match event {
            Event::Signed(signed) if signed.id.epoch == 0 => {
                self.honest(&signed, venue);
                self.own.push(signed);
            }
            Event::Discard(discard) => {
                let discarded = Discarded {
                    token: discard.token,
                    discarded: Vec::new(),
                    under_way: Vec::new(),
                    done: discard.entries,
                };
                write_frame(&mut self.from_egress, kind::DISCARDED, &discarded);
            }
            _ => {}
        }
    }

    /// Delivers, and tells the truth about it.
    pub fn honest(&mut self, signed: &Signed, venue: &mut Venue) -> (u16, String) {
        let (status, body) = world::deliver(venue, signed, now_us());
        let reports = portcullis_venues::summarize(
            signed.endpoint,
            portcullis_venues::Asked {
                target: &signed.target,
                body: &signed.body,
            },
            status,
            body.as_bytes(),
        );
        self.say(signed, Sent::Sent, status, reports);
        (status, body)
    }

    pub fn say(&mut self, signed: &Signed, sent: Sent, status: u16, reports: Vec<Report>) -> bool {
        let outcome = Outcome {
            id: signed.id,
            entry: signed.entry,
            sent,
            status,
            reports,
            why: None,
            took_us: 300,
            more: false,
        };
        write_frame(&mut self.from_egress, kind::OUTCOME, &outcome)
    }

    /// Bytes of the site's log.
    pub fn log_bytes(&self) -> u64 {
        std::fs::read_dir(self.folder.0.join("log"))
            .unwrap()
            .map(|file| file.unwrap().metadata().unwrap().len())
            .sum()
    }

    pub fn entries(&mut self) -> u64 {
        self.program.status()["entries"].as_u64().unwrap()
    }

    /// Neither neighbour was ever told a secret, nor ingress a real key's id.
    pub fn told_nobody(&self) {
        for (room, seen) in [
            ("ingress", &self.seen_by_ingress),
            ("egress", &self.seen_by_egress),
        ] {
            let seen = String::from_utf8_lossy(&seen.lock().unwrap()).into_owned();
            for (what, secret) in &self.secrets {
                for form in forms(secret) {
                    assert!(!contains(&seen, &form), "{room} was told {what}");
                }
            }
            let told_egress = self.keys.values().chain(&self.passphrases);
            for key in told_egress.filter(|_| room == "ingress") {
                assert!(
                    !contains(&seen, key.as_bytes()),
                    "ingress was told the real key's id"
                );
            }
        }
    }
}

pub fn frame_of(asked: &Asked, id: RequestId) -> Vec<u8> {
    let headers: Vec<Header<'_>> = asked
        .headers
        .iter()
        .map(|(name, value)| Header {
            name,
            value: value.as_slice().into(),
        })
        .collect();
    let request = Request {
        id,
        connection: asked.connection,
        host: asked.host,
        source: asked.source.as_slice().into(),
        method: &asked.method,
        target: asked.target.as_slice().into(),
        headers,
        body: asked.body.as_slice().into(),
    };
    let mut frame = Vec::new();
    wire::frame(&mut frame, kind::REQUEST, &request).unwrap();
    frame
}

/// Whether `part`, which is ASCII as every secret here is, stands in `all`.
pub fn contains(all: &str, part: &[u8]) -> bool {
    all.contains(std::str::from_utf8(part).unwrap())
}

/// The forms in which a secret may lie somewhere: as it is, hex in both cases, base64 at each of the three offsets.
pub fn forms(secret: &[u8]) -> Vec<Vec<u8>> {
    let hex = releases::hex(secret);
    let mut forms = vec![
        secret.to_vec(),
        hex.to_uppercase().into_bytes(),
        hex.into_bytes(),
    ];
    for skip in 0..3 {
        // The middle of the text is the same whatever stands before and after the secret.
        let mut padded = vec![0; skip];
        padded.extend_from_slice(secret);
        let text = portcullis_sim::keys::base64(&padded);
        let from = if skip == 0 { 0 } else { 4 };
        let whole = &text[from..text.len() - 4];
        forms.push(whole.as_bytes().to_vec());
        forms.push(whole.replace('+', "-").replace('/', "_").into_bytes());
    }
    forms
}

/// A program's request: signed with its virtual key, in the query of a GET or DELETE and in the body of the rest.
pub fn request_of(credential: &Credential, method: &str, path: &str, fields: &str) -> Asked {
    let stamp = now_us() / 1_000;
    let payload = match fields {
        "" => format!("timestamp={stamp}"),
        fields => format!("{fields}&recvWindow=60000&timestamp={stamp}"),
    };
    let text = format!(
        "{payload}&signature={}",
        sign(credential, payload.as_bytes())
    );
    let in_body = matches!(method, "POST" | "PUT");
    let mut headers = vec![(
        "x-mbx-apikey".to_owned(),
        credential.api_key.clone().into_bytes(),
    )];
    if in_body {
        headers.push((
            "content-type".to_owned(),
            b"application/x-www-form-urlencoded".to_vec(),
        ));
    }
    let (target, body) = match in_body {
        true => (path.to_owned(), text),
        false => (format!("{path}?{text}"), String::new()),
    };
    Asked {
        method: method.to_owned(),
        target: target.into_bytes(),
        headers,
        body: body.into_bytes(),
        source: vec![127, 0, 0, 1],
        connection: 1,
        host: "api.binance.com",
    }
}

pub fn sign(credential: &Credential, payload: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, credential.secret.as_bytes());
    releases::hex(hmac::sign(&key, payload).as_ref())
}
