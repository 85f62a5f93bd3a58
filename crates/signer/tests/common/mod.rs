//! A site whose ingress and egress are the test: it speaks the wire with what those hold.
#![allow(dead_code, reason = "each test uses its part")]

pub mod program;

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use portcullis_model::action::{ActionKind, Duty, Scheme};
use portcullis_model::command::{Answer, Command};
use portcullis_model::entry::Body;
use portcullis_model::id::{AccountId, EntryId, KeyId, Name, RequestId, StrategyId, Timestamp};
use portcullis_model::log::Entry;
use portcullis_model::log::note::Verifier;
use portcullis_model::release::{Authority, Files, Judgement};
use portcullis_model::report::{Report, Sent};
use portcullis_model::state::State;
use portcullis_model::table;
use portcullis_model::wire::{
    self, Credit, Discard, Discarded, Header, Hello, LINK_FRAMES_MAX, Outcome, Reply, Request,
    Send, kind,
};
use portcullis_room::control::{OperatorSettings, Peer};
use portcullis_room::poll::Waker;
use portcullis_signer::clock::Reading;
use portcullis_signer::core::{Compile, Core, Seal, Start, fold};
use portcullis_signer::gate::Gate;
use portcullis_signer::keyring::Keyring;
use portcullis_signer::log_file::{self, FileSystem, LogError, Sign, Wake};
use portcullis_signer::releases;
use portcullis_signer::secrets::Held;
use portcullis_signer::serve::{Ended, Serve};
use portcullis_signer::virtual_keys::SiteSecret;
use portcullis_venues::Catalog;
use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

pub struct All;
impl Authority for All {
    fn judge(&self, _: StrategyId, _: ActionKind, _: AccountId, _: &table::Facts<'_>) -> Judgement {
        Judgement::Permit {
            policy: "all".to_owned(),
        }
    }
}

pub struct Compiles;
impl Compile for Compiles {
    fn compile(&self, _: &Files, _: &State) -> Result<Box<dyn Authority>, String> {
        Ok(Box::new(All))
    }
}

pub const MANDATES: &str = r#"
[firm]
order_value = "50000"
price_tolerance = "5%"
price_age = "60s"
message_rate = "1000000/1s"
reserved_message_rate = "1000000/1s"
repeat = "unlimited"
turnover_1h = "unlimited"
turnover_1d = "unlimited"
turnover_7d = "unlimited"
turnover_30d = "unlimited"
open_orders = "100000"
position = "unlimited"
loss = "unlimited"
venue_weight = "unlimited"
[firm.markets."BTC*"]
"#;

pub fn files() -> Files {
    [
        ("authority.cedar", ""),
        ("mandates.toml", MANDATES),
        ("values.toml", "currency = \"USD\"\nequal = [\"USDT\"]"),
        ("hosts.toml", "[[host]]\nvenue = \"binance\"\nname = \"api.binance.com\"\npublic_roots = true\nweight_per_minute = 6000\norders_per_10s = 100\n"),
        (
            "markets/binance.json",
            r#"[{"symbol":"BTCUSDT","base":"BTC","quote":"USDT"}]"#,
        ),
    ]
    .map(|(name, text)| (name.to_owned(), text.to_owned()))
    .into()
}

pub const BUILD: &[u8] = b"build";
pub const REAL: &[u8] = b"the real secret";

pub fn reading() -> Reading {
    static BEGUN: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    let begun = BEGUN.get_or_init(Instant::now);
    Reading {
        wall_us: SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_micros() as u64,
        boot_us: begun.elapsed().as_micros() as u64 + 1_000_000,
    }
}

pub fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// A log as a start finds it.
pub fn check(folder: &Path, mut visit: impl FnMut(EntryId, &Entry)) -> (log_file::Checked, Sign) {
    let key = Ed25519KeyPair::from_seed_unchecked(&[5; 32]).unwrap();
    let verifier = Verifier {
        name: "site.test".to_owned(),
        public: key.public_key().as_ref().try_into().unwrap(),
    };
    let checked =
        log_file::check::<LogError>(&folder.join("log"), verifier, None, |index, entry| {
            visit(index, &entry);
            Ok(())
        });
    let sign = Arc::new(move |t: &[u8]| key.sign(t).as_ref().try_into().unwrap());
    (checked.unwrap(), sign)
}

pub fn open(folder: &Path) -> (Core, Waker) {
    let waker = Waker::new().unwrap();
    let wake: Wake = {
        let waker = waker.clone();
        Arc::new(move || waker.wake())
    };
    let mut state = State::default();
    let (checked, sign) = check(folder, |index, entry| {
        fold(&mut state, index, entry).unwrap();
    });
    let opened = checked
        .open(sign, Arc::new(FileSystem), Arc::clone(&wake))
        .unwrap();
    let mut keyring = Keyring::default();
    for (id, text) in [(2, "RealTradeKey"), (3, "RealReadKey")] {
        keyring
            .open(KeyId(id), text, Scheme::HmacSha256, REAL)
            .unwrap();
    }
    let core = Core::start(Start {
        log: opened.log,
        kept_at: 0,
        state,
        torn_bytes: opened.torn_bytes,
        releases: folder.join("releases"),
        compile: Arc::new(Compiles),
        keyring,
        site_secret: SiteSecret::new(&[7; 32]),
        held: Held::default(),
        seal: Seal::Unknown,
        wake,
        reading: reading(),
    });
    (core.unwrap(), waker)
}

/// The loop around a core, ready for its links.
pub fn serve(core: Core, waker: Waker) -> Serve {
    let venue = Catalog::builtin().unwrap();
    let gate = Gate::Open(Box::new(core));
    Serve::new(gate, venue, BUILD, waker, reading, |_| {}).unwrap()
}

/// An operator's connection: our end, and the signer's with who we are.
pub fn operator() -> (UnixStream, UnixStream, Vec<OperatorSettings>) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let uid = portcullis_room::io::peer(&ours).unwrap().uid.unwrap();
    let name = "ada".to_owned();
    (ours, theirs, vec![OperatorSettings { uid, name }])
}

pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::SeqCst);
        let folder =
            std::env::temp_dir().join(format!("portcullis-pipes-{}-{n}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What egress saw of one request.
#[derive(Debug, Clone)]
pub struct Seen {
    pub entry: Option<EntryId>,
    pub body: String,
    pub target: String,
    pub at: Timestamp,
}

pub type Log = Arc<Mutex<Vec<Seen>>>;

/// A running signer with the test's own ingress and egress.
pub struct Site {
    pub operator: Mutex<UnixStream>,
    pub to_signer: Arc<Mutex<PipeWriter>>,
    pub replies: Mutex<Receiver<(RequestId, String)>>,
    pub seen: Log,
    pub signer: JoinHandle<Ended>,
    pub seq: AtomicU64,
    pub credits: Arc<AtomicU64>,
    pub api_key: String,
    pub secret: String,
}

pub fn write_frame<T: minicbor::Encode<()>>(to: &mut impl Write, kind: u8, message: &T) -> bool {
    let mut bytes = Vec::new();
    wire::frame(&mut bytes, kind, message).unwrap();
    to.write_all(&bytes).is_ok()
}

pub fn read_frame(from: &mut impl Read) -> Option<(u8, Vec<u8>)> {
    let mut head = [0; 5];
    from.read_exact(&mut head).ok()?;
    let length = u32::from_be_bytes(head[..4].try_into().unwrap()) as usize;
    let mut cbor = vec![0; length - 1];
    from.read_exact(&mut cbor).ok()?;
    Some((head[4], cbor))
}

pub fn hello(room: &str) -> Hello {
    Hello {
        build: BUILD.to_vec().into(),
        room: room.to_owned(),
        epoch: 1,
    }
}

pub fn started(
    (core, waker): (Core, Waker),
    api_key: &str,
    secret: &str,
    answer: Option<Vec<Report>>,
) -> Site {
    let (from_ingress, mut ingress_out) = pipe().unwrap();
    let (mut ingress_in, to_ingress) = pipe().unwrap();
    let (from_egress, egress_out) = pipe().unwrap();
    let (egress_in, to_egress) = pipe().unwrap();
    let (operator, connection, operators) = operator();
    let signer = thread::spawn(move || {
        let mut serve = serve(core, waker);
        serve.operators(operators);
        serve.operator(connection.into()).unwrap();
        let (ingress, egress) = (Peer::Ingress, Peer::Egress);
        serve
            .link(ingress, 1, from_ingress.into(), to_ingress.into())
            .unwrap();
        serve
            .link(egress, 1, from_egress.into(), to_egress.into())
            .unwrap();
        serve.run()
    });
    let (tell, replies) = channel();
    let credits = Arc::new(AtomicU64::new(u64::from(LINK_FRAMES_MAX)));
    let given = Arc::clone(&credits);
    write_frame(&mut ingress_out, kind::HELLO, &hello("ingress"));
    thread::spawn(move || {
        while let Some((kind, cbor)) = read_frame(&mut ingress_in) {
            if kind == kind::CREDIT {
                let credit: Credit = wire::message(&cbor).unwrap();
                given.fetch_add(u64::from(credit.frames), Ordering::SeqCst);
            }
            if kind == kind::REPLY {
                let reply: Reply<'_> = wire::message(&cbor).unwrap();
                let text = format!("{} {}", reply.status, String::from_utf8_lossy(reply.body));
                let _ = tell.send((reply.id, text));
            }
        }
    });
    let seen: Log = Arc::default();
    egress(egress_in, egress_out, Arc::clone(&seen), answer);
    Site {
        operator: Mutex::new(operator),
        to_signer: Arc::new(Mutex::new(ingress_out)),
        replies: Mutex::new(replies),
        seen,
        signer,
        seq: AtomicU64::new(0),
        credits,
        api_key: api_key.to_owned(),
        secret: secret.to_owned(),
    }
}

/// What the venue says to an order that it does not take.
pub fn refused() -> Vec<Report> {
    vec![Report::Refused { code: -2010 }]
}

/// Notes what it gets, and says `answer` to each order and read; without one nothing is heard of it until a discard.
pub fn egress(mut from: PipeReader, mut to: PipeWriter, seen: Log, answer: Option<Vec<Report>>) {
    write_frame(&mut to, kind::HELLO, &hello("egress"));
    thread::spawn(move || {
        while let Some((kind, cbor)) = read_frame(&mut from) {
            if kind == kind::DISCARD {
                let discard: Discard = wire::message(&cbor).unwrap();
                let discarded = Discarded {
                    token: discard.token,
                    discarded: Vec::new(),
                    under_way: discard.entries,
                    done: Vec::new(),
                };
                write_frame(&mut to, kind::DISCARDED, &discarded);
            }
            if kind != kind::SEND {
                continue;
            }
            let send: Send<'_> = wire::message(&cbor).unwrap();
            seen.lock().unwrap().push(Seen {
                entry: send.entry,
                body: String::from_utf8(send.body.to_vec()).unwrap(),
                target: String::from_utf8(send.target.to_vec()).unwrap(),
                at: Timestamp(reading().wall_us),
            });
            // The gate's own questions, of prices and the time, are refused.
            let answer = match (&answer, send.entry) {
                (Some(answer), Some(_)) => answer.clone(),
                (Some(_), None) => refused(),
                (None, _) => Vec::new(),
            };
            let mut parts = answer.chunks(20).peekable();
            while let Some(part) = parts.next() {
                let outcome = Outcome {
                    id: send.id,
                    entry: send.entry,
                    sent: Sent::Sent,
                    status: 400,
                    reports: part.to_vec(),
                    why: None,
                    took_us: 10,
                    more: parts.peek().is_some(),
                };
                write_frame(&mut to, kind::OUTCOME, &outcome);
            }
        }
    });
}

/// One command, and its answer.
pub fn ask(operator: &mut UnixStream, command: &Command) -> Answer {
    let json = serde_json::to_vec(command).unwrap();
    operator
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    operator
        .write_all(&(json.len() as u32).to_be_bytes())
        .unwrap();
    operator.write_all(&json).unwrap();
    let mut head = [0; 4];
    operator.read_exact(&mut head).expect("an answer");
    let mut json = vec![0; u32::from_be_bytes(head) as usize];
    operator.read_exact(&mut json).unwrap();
    serde_json::from_slice(&json).unwrap()
}

impl Site {
    pub fn command(&self, command: Command) -> Answer {
        ask(&mut self.operator.lock().unwrap(), &command)
    }

    #[track_caller]
    pub fn done(&self, command: Command) {
        let answer = self.command(command);
        assert!(matches!(answer, Answer::Done { .. }), "{answer:?}");
    }

    pub fn stop(self) -> Ended {
        self.done(Command::Stop);
        self.signer.join().unwrap()
    }

    pub fn order(&self, client: &str) -> RequestId {
        // As ingress does: nothing is sent without credit.
        let take = |credits: u64| credits.checked_sub(1);
        while self
            .credits
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, take)
            .is_err()
        {
            thread::sleep(Duration::from_micros(100));
        }
        let id = RequestId {
            epoch: 1,
            seq: self.seq.fetch_add(1, Ordering::SeqCst),
        };
        with_order(&self.api_key, &self.secret, client, id, |request| {
            write_frame(&mut *self.to_signer.lock().unwrap(), kind::REQUEST, request);
        });
        id
    }

    pub fn orders_seen(&self) -> Vec<Seen> {
        let seen = self.seen.lock().unwrap();
        seen.iter()
            .filter(|one| one.target == "/api/v3/order")
            .cloned()
            .collect()
    }

    pub fn wait_for(&self, orders: usize) -> Vec<Seen> {
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            let seen = self.orders_seen();
            if seen.len() >= orders {
                return seen;
            }
            assert!(Instant::now() < until, "{} of {orders} arrived", seen.len());
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// A site set up by operators' commands alone, in a folder of its own.
pub fn site(folder: &Folder, answers: bool) -> Site {
    site_with(folder, answers.then(refused))
}

/// The same, whose egress says this of everything.
pub fn site_with(folder: &Folder, answer: Option<Vec<Report>>) -> Site {
    let (mut core, waker) = open(&folder.0);
    core.create("uid 0", name("site")).unwrap();
    let mut site = started((core, waker), "", "", answer);
    site.done(Command::AccountAdd {
        name: name("main"),
        venue: name("binance"),
    });
    for (duty, api_key) in [(Duty::Trade, "RealTradeKey"), (Duty::Read, "RealReadKey")] {
        site.done(Command::KeyAdd {
            account: name("main"),
            duty,
            scheme: Scheme::HmacSha256,
            api_key: api_key.to_owned(),
            sealed: "keys/k.age".to_owned(),
        });
    }
    site.done(Command::StrategyAdd {
        name: name("quoter"),
        desk: None,
        observe: false,
    });
    let issued = site.command(Command::VirtualKeyIssue {
        strategy: name("quoter"),
        account: name("main"),
        scheme: Scheme::HmacSha256,
        public_key: None,
        expires: Timestamp(reading().wall_us + 3_600_000_000),
        sources: vec!["127.0.0.0/8".to_owned()],
        canary: false,
    });
    let Answer::VirtualKey {
        api_key, secret, ..
    } = issued
    else {
        panic!("{issued:?}");
    };
    (site.api_key, site.secret) = (api_key, secret.unwrap());
    site.done(Command::Release { files: files() });
    site
}

/// Every entry on the disk, read by itself.
pub fn entries(folder: &Folder) -> Vec<Body> {
    let mut bodies = Vec::new();
    let _ = check(&folder.0, |_, entry| {
        bodies.push(Body::from_entry(entry).unwrap());
    });
    bodies
}

/// An order as a program signs it and ingress hands it on.
pub fn with_order(
    api_key: &str,
    secret: &str,
    client: &str,
    id: RequestId,
    then: impl FnOnce(&Request<'_>),
) {
    let payload = format!(
        "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.1&price=60000&newClientOrderId={client}\
         &timestamp={}",
        reading().wall_us / 1_000
    );
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let tag = hmac::sign(&key, payload.as_bytes());
    let body = format!("{payload}&signature={}", releases::hex(tag.as_ref()));
    then(&Request {
        id,
        connection: 1,
        host: "api.binance.com",
        source: (&[127u8, 0, 0, 1][..]).into(),
        method: "POST",
        target: (&b"/api/v3/order"[..]).into(),
        headers: vec![
            Header {
                name: "x-mbx-apikey",
                value: api_key.as_bytes().into(),
            },
            Header {
                name: "content-type",
                value: (&b"application/x-www-form-urlencoded"[..]).into(),
            },
        ],
        body: body.as_bytes().into(),
    });
}
