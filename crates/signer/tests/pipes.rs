//! The loop over real pipes: the test is ingress and egress, and speaks the wire with what those hold.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests state what must hold"
)]

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use portcullis_model::action::{ActionKind, Duty, Scheme};
use portcullis_model::command::{Answer, Command};
use portcullis_model::entry::{Body, What};
use portcullis_model::halt::{Level, Scope};
use portcullis_model::id::{AccountId, EntryId, KeyId, Name, RequestId, StrategyId, Timestamp};
use portcullis_model::log::note::Verifier;
use portcullis_model::release::{Authority, Files, Judgement};
use portcullis_model::report::Sent;
use portcullis_model::state::State;
use portcullis_model::table;
use portcullis_model::wire::{
    self, Credit, Discard, Discarded, Header, Hello, LINK_FRAMES_MAX, Outcome, Reply, Request,
    Send, kind,
};
use portcullis_signer::clock::Reading;
use portcullis_signer::core::{Compile, Core, Start};
use portcullis_signer::keyring::Keyring;
use portcullis_signer::serve::{Ended, Operator, Pipes, serve};
use portcullis_signer::virtual_keys::SiteSecret;
use portcullis_signer::{log_file, releases};
use portcullis_venues::binance::Binance;
use std::collections::{HashMap, HashSet};
use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

struct All;
impl Authority for All {
    fn judge(&self, _: StrategyId, _: ActionKind, _: AccountId, _: &table::Facts<'_>) -> Judgement {
        Judgement::Permit {
            policy: "all".to_owned(),
        }
    }
}

struct Compiles;
impl Compile for Compiles {
    fn compile(&self, _: &Files, _: &State) -> Result<Box<dyn Authority>, String> {
        Ok(Box::new(All))
    }
}

const MANDATES: &str = r#"
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

fn files() -> Files {
    [
        ("authority.cedar", ""),
        ("mandates.toml", MANDATES),
        ("values.toml", "currency = \"USD\"\nequal = [\"USDT\"]"),
        ("hosts.toml", ""),
        (
            "markets/binance.json",
            r#"[{"symbol":"BTCUSDT","base":"BTC","quote":"USDT"}]"#,
        ),
    ]
    .map(|(name, text)| (name.to_owned(), text.to_owned()))
    .into()
}

const BUILD: &[u8] = b"build";
const REAL: &[u8] = b"the real secret";

fn reading() -> Reading {
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

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn open_log(folder: &Path) -> log_file::Opened {
    let key = Ed25519KeyPair::from_seed_unchecked(&[5; 32]).unwrap();
    let verifier = Verifier {
        name: "site.test".to_owned(),
        public: key.public_key().as_ref().try_into().unwrap(),
    };
    log_file::open(
        &folder.join("log"),
        verifier,
        Box::new(move |t| key.sign(t).as_ref().try_into().unwrap()),
    )
    .unwrap()
}

fn open(folder: &Path) -> Core {
    let opened = open_log(folder);
    let mut keyring = Keyring::default();
    for (id, text) in [(2, "RealTradeKey"), (3, "RealReadKey")] {
        keyring
            .open(KeyId(id), text, Scheme::HmacSha256, REAL)
            .unwrap();
    }
    Core::start(Start {
        venue: Binance::builtin().unwrap(),
        log: opened.log,
        entries: opened.entries,
        torn_bytes: opened.torn_bytes,
        releases: folder.join("releases"),
        compile: Arc::new(Compiles),
        keyring,
        site_secret: SiteSecret::new(&[7; 32]),
        reading: reading(),
    })
    .unwrap()
}

struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
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
struct Seen {
    entry: Option<EntryId>,
    body: String,
    target: String,
    at: Timestamp,
}

type Log = Arc<Mutex<Vec<Seen>>>;

/// A running signer with the test's own ingress and egress.
struct Site {
    operators: Sender<Operator>,
    to_signer: Arc<Mutex<PipeWriter>>,
    replies: Mutex<Receiver<(RequestId, String)>>,
    seen: Log,
    signer: JoinHandle<Ended>,
    seq: AtomicU64,
    credits: Arc<AtomicU64>,
    api_key: String,
    secret: String,
}

fn write_frame<T: minicbor::Encode<()>>(to: &mut impl Write, kind: u8, message: &T) -> bool {
    let mut bytes = Vec::new();
    wire::frame(&mut bytes, kind, message).unwrap();
    to.write_all(&bytes).is_ok()
}

fn read_frame(from: &mut impl Read) -> Option<(u8, Vec<u8>)> {
    let mut head = [0; 5];
    from.read_exact(&mut head).ok()?;
    let length = u32::from_be_bytes(head[..4].try_into().unwrap()) as usize;
    let mut cbor = vec![0; length - 1];
    from.read_exact(&mut cbor).ok()?;
    Some((head[4], cbor))
}

fn hello(room: &str) -> Hello {
    Hello {
        build: BUILD.to_vec().into(),
        room: room.to_owned(),
        epoch: 1,
    }
}

fn started(core: Core, api_key: &str, secret: &str, answers: bool) -> Site {
    let (from_ingress, mut ingress_out) = pipe().unwrap();
    let (mut ingress_in, to_ingress) = pipe().unwrap();
    let (from_egress, egress_out) = pipe().unwrap();
    let (egress_in, to_egress) = pipe().unwrap();
    let (operators, commands) = channel();
    let signer = thread::spawn(move || {
        let pipes = Pipes {
            from_ingress,
            to_ingress,
            from_egress,
            to_egress,
        };
        let venue = Binance::builtin().unwrap();
        serve(core, venue, pipes, commands, BUILD, reading, |_| {})
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
    egress(egress_in, egress_out, Arc::clone(&seen), answers);
    Site {
        operators,
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

/// Notes what it gets; with `answers` each is refused by the venue, else nothing is heard of it until a discard.
fn egress(mut from: PipeReader, mut to: PipeWriter, seen: Log, answers: bool) {
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
            if answers {
                let outcome = Outcome {
                    id: send.id,
                    entry: send.entry,
                    sent: Sent::Sent,
                    status: 400,
                    reports: vec![portcullis_model::report::Report::Refused { code: -2010 }],
                    why: None,
                    took_us: 10,
                    more: false,
                };
                write_frame(&mut to, kind::OUTCOME, &outcome);
            }
        }
    });
}

impl Site {
    fn command(&self, command: Command) -> Answer {
        let (answer, told) = channel();
        let by = "uid 0".to_owned();
        self.operators
            .send(Operator {
                by,
                command,
                answer,
            })
            .unwrap();
        told.recv_timeout(Duration::from_secs(20))
            .expect("an answer")
    }

    #[track_caller]
    fn done(&self, command: Command) {
        let answer = self.command(command);
        assert!(matches!(answer, Answer::Done { .. }), "{answer:?}");
    }

    fn stop(self) -> Ended {
        self.done(Command::Stop);
        self.signer.join().unwrap()
    }

    fn order(&self, client: &str) -> RequestId {
        // As ingress does: nothing is sent without credit.
        let take = |credits: u64| credits.checked_sub(1);
        while self
            .credits
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, take)
            .is_err()
        {
            thread::sleep(Duration::from_micros(100));
        }
        let payload = format!(
            "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.1&price=60000&newClientOrderId={client}\
             &timestamp={}",
            reading().wall_us / 1_000
        );
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.secret.as_bytes());
        let tag = hmac::sign(&key, payload.as_bytes());
        let body = format!("{payload}&signature={}", releases::hex(tag.as_ref()));
        let id = RequestId {
            epoch: 1,
            seq: self.seq.fetch_add(1, Ordering::SeqCst),
        };
        let request = Request {
            id,
            connection: 1,
            listener: 0,
            source: (&[127u8, 0, 0, 1][..]).into(),
            method: "POST",
            target: (&b"/api/v3/order"[..]).into(),
            headers: vec![
                Header {
                    name: "x-mbx-apikey",
                    value: self.api_key.as_bytes().into(),
                },
                Header {
                    name: "content-type",
                    value: (&b"application/x-www-form-urlencoded"[..]).into(),
                },
            ],
            body: body.as_bytes().into(),
        };
        write_frame(
            &mut *self.to_signer.lock().unwrap(),
            kind::REQUEST,
            &request,
        );
        id
    }

    fn orders_seen(&self) -> Vec<Seen> {
        let seen = self.seen.lock().unwrap();
        seen.iter()
            .filter(|one| one.target == "/api/v3/order")
            .cloned()
            .collect()
    }

    fn wait_for(&self, orders: usize) -> Vec<Seen> {
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
fn site(folder: &Folder, answers: bool) -> Site {
    let mut core = open(&folder.0);
    core.create("uid 0", name("site")).unwrap();
    let mut site = started(core, "", "", answers);
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
fn entries(folder: &Folder) -> Vec<Body> {
    let opened = open_log(&folder.0);
    let bodies = opened
        .entries
        .iter()
        .map(|entry| Body::from_entry(entry).unwrap())
        .collect();
    opened.log.close().unwrap();
    bodies
}

#[test]
fn an_order_goes_round_and_the_log_has_it() {
    let folder = Folder::new();
    let site = site(&folder, true);
    site.order("one");
    let seen = site.wait_for(1);
    let (message, signature) = seen[0].body.split_once("&signature=").unwrap();
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, REAL), message.as_bytes());
    assert_eq!(signature, releases::hex(tag.as_ref()));
    let entry = seen[0].entry.unwrap();
    assert!(matches!(site.stop(), Ended::Stopped));
    let entries = entries(&folder);
    assert_eq!(entries[entry.0 as usize].what, What::Approved);
    assert!(
        entries
            .iter()
            .any(|body| body.public.of == Some(entry) && body.what == What::Outcome)
    );
}

#[test]
fn under_full_load_nothing_is_signed_after_a_halt_and_nothing_accepted_after_its_moment() {
    let folder = Folder::new();
    let site = Arc::new(site(&folder, true));
    let stop = Arc::new(AtomicBool::new(false));
    let loaders: Vec<_> = (0..2)
        .map(|n| {
            let (site, stop) = (Arc::clone(&site), Arc::clone(&stop));
            thread::spawn(move || {
                let mut sent = 0u64;
                while !stop.load(Ordering::SeqCst) {
                    site.order(&format!("l{n}x{sent}"));
                    sent += 1;
                    if sent.is_multiple_of(16) {
                        thread::sleep(Duration::from_millis(1));
                    }
                }
            })
        })
        .collect();
    let mut halts = Vec::new();
    for _ in 0..100 {
        thread::sleep(Duration::from_millis(5));
        let answer = site.command(Command::Halt {
            scope: Scope::Firm,
            level: Level::CancelOnly,
            reason: "drill".to_owned(),
        });
        let Answer::Halted(halted) = answer else {
            panic!("{answer:?}");
        };
        assert!(halted.confirmed);
        site.done(Command::Resume {
            scope: Scope::Firm,
            level: None,
            reason: "drill".to_owned(),
        });
        halts.push(halted);
    }
    stop.store(true, Ordering::SeqCst);
    loaders
        .into_iter()
        .for_each(|loader| loader.join().unwrap());
    let site = Arc::into_inner(site).unwrap();
    let seen = site.orders_seen();
    assert!(matches!(site.stop(), Ended::Stopped));
    let entries = entries(&folder);
    // Between a halt's entry and its end no order is approved.
    let mut halted = false;
    let (mut approved, mut turns) = (HashSet::new(), 0);
    for (index, body) in entries.iter().enumerate() {
        for effect in &body.private.effects {
            match effect {
                portcullis_model::state::Effect::Halted(_) => {
                    halted = true;
                    turns += 1;
                }
                portcullis_model::state::Effect::Resumed { .. } => halted = false,
                _ => {}
            }
        }
        let order = body
            .regulator
            .actions
            .iter()
            .any(|action| action.kind() == ActionKind::PlaceOrder);
        if body.what == What::Approved && order {
            assert!(!halted, "entry {index} was approved under a halt");
            approved.insert(EntryId(index as u64));
        }
    }
    assert_eq!(turns, 100);
    assert!(
        approved.len() > 500,
        "the load was no load: {}",
        approved.len()
    );
    // Whatever egress got is in the log, none of it twice, and none after the moment of a halt that was older than it.
    let mut once = HashMap::new();
    for one in &seen {
        let entry = one.entry.unwrap();
        assert!(approved.contains(&entry));
        assert!(
            once.insert(entry, one.at).is_none(),
            "entry {entry} was sent twice"
        );
    }
    for halted in &halts {
        for entry in &halted.under_way {
            assert!(once.get(entry).is_none_or(|at| *at <= halted.none_after));
        }
        for (entry, at) in &once {
            assert!(*entry > halted.entry || *at <= halted.none_after);
        }
    }
}

#[test]
fn what_egress_never_answered_is_listed_by_a_halt() {
    let folder = Folder::new();
    let site = site(&folder, false);
    for n in 0..5 {
        site.order(&format!("o{n}"));
    }
    let seen = site.wait_for(5);
    let answer = site.command(Command::Halt {
        scope: Scope::Firm,
        level: Level::Lock,
        reason: String::new(),
    });
    let Answer::Halted(halted) = answer else {
        panic!("{answer:?}");
    };
    let entries: Vec<EntryId> = seen.iter().filter_map(|one| one.entry).collect();
    assert_eq!((halted.confirmed, halted.under_way), (true, entries));
    site.order("late");
    let (_, text) = site
        .replies
        .lock()
        .unwrap()
        .recv_timeout(Duration::from_secs(10))
        .unwrap();
    assert!(text.contains("lock"), "{text}");
    assert!(matches!(site.stop(), Ended::Stopped));
}

#[test]
fn a_neighbour_of_another_build_gets_nothing() {
    let folder = Folder::new();
    let core = open(&folder.0);
    let (from_ingress, mut ingress_out) = pipe().unwrap();
    let (mut ingress_in, to_ingress) = pipe().unwrap();
    let (from_egress, _egress_out) = pipe().unwrap();
    let (_egress_in, to_egress) = pipe().unwrap();
    let (operators, commands) = channel();
    let signer = thread::spawn(move || {
        let pipes = Pipes {
            from_ingress,
            to_ingress,
            from_egress,
            to_egress,
        };
        serve(
            core,
            Binance::builtin().unwrap(),
            pipes,
            commands,
            BUILD,
            reading,
            |_| {},
        )
    });
    let mut stranger = hello("ingress");
    stranger.build = b"other".to_vec().into();
    write_frame(&mut ingress_out, kind::HELLO, &stranger);
    write_frame(&mut ingress_out, kind::REQUEST, &7u8);
    ingress_out.write_all(&[0xff; 64]).unwrap();
    let (answer, told) = channel();
    operators
        .send(Operator {
            by: "uid 0".into(),
            command: Command::Stop,
            answer,
        })
        .unwrap();
    told.recv_timeout(Duration::from_secs(10)).unwrap();
    assert!(matches!(signer.join().unwrap(), Ended::Stopped));
    drop(ingress_out);
    let mut got = Vec::new();
    ingress_in.read_to_end(&mut got).unwrap();
    assert!(got.is_empty());
}
