use super::*;
use crate::log_file;
use aws_lc_rs::hmac;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use portcullis_model::action::{MarketId, MarketKind, Scheme};
use portcullis_model::command::{Command, Halted};
use portcullis_model::id::{FIRST_VENUE, Name};
use portcullis_model::log::note::Verifier;
use portcullis_model::release::Judgement;
use portcullis_model::report::{OrderReport, OrderStatus};
use portcullis_model::table;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

pub(crate) struct Trades;
impl Authority for Trades {
    fn judge(
        &self,
        _: StrategyId,
        kind: ActionKind,
        _: AccountId,
        _: &table::Facts<'_>,
    ) -> Judgement {
        match kind.duty() <= Duty::Trade {
            true => Judgement::Permit {
                policy: "trade".to_owned(),
            },
            false => Judgement::NoPermit,
        }
    }
}

const MANDATES: &str = r#"
[firm]
order_value = "50000"
price_tolerance = "5%"
price_age = "60s"
message_rate = "1000/1s"
reserved_message_rate = "20/1s"
repeat = "unlimited"
turnover_1h = "unlimited"
turnover_1d = "unlimited"
turnover_7d = "unlimited"
turnover_30d = "unlimited"
open_orders = "2000"
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
        ("hosts.toml", "[[host]]\nvenue = \"binance\"\nname = \"api.binance.com\"\npublic_roots = true\nweight_per_minute = 6000\norders_per_10s = 100\n\
            [[host]]\nvenue = \"binance\"\nname = \"ws-api.binance.com\"\npublic_roots = true\nweight_per_minute = 6000\norders_per_10s = 100\n\
            [[host]]\nvenue = \"binance\"\nname = \"stream.binance.com\"\npublic_roots = true\nweight_per_minute = 6000\norders_per_10s = 100\n"),
        (
            "markets/binance.json",
            r#"[{"symbol":"BTCUSDT","base":"BTC","quote":"USDT"}]"#,
        ),
    ]
    .map(|(name, text)| (name.to_owned(), text.to_owned()))
    .into()
}

struct Compiles;
impl Compile for Compiles {
    fn compile(&self, files: &Files, _: &State) -> Result<Box<dyn Authority>, String> {
        match files.get("authority.cedar").map(String::as_str) {
            Some("wrong") => Err("authority.cedar: wrong".to_owned()),
            _ => Ok(Box::new(Trades)),
        }
    }
}

const START: Timestamp = Timestamp(1_790_000_000_000_000);
const REAL: &[u8] = b"the real secret";
const SITE: &[u8] = b"the site's secret of 32 bytes at least";
const LOCAL: [u8; 4] = [127, 0, 0, 1];

struct Site {
    folder: PathBuf,
    core: Option<Core>,
    now: Reading,
    seq: u64,
    api_key: String,
    secret: String,
    /// What the gate asked for itself and nobody has answered.
    asked: Vec<Sends>,
}

impl Drop for Site {
    fn drop(&mut self) {
        self.core = None;
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// A disk with so much left.
struct Small(u64);

impl log_file::Disk for Small {
    fn segment(&self, place: &std::path::Path) -> std::io::Result<Arc<dyn log_file::Segment>> {
        log_file::FileSystem.segment(place)
    }

    fn free_bytes(&self, _: &std::path::Path) -> std::io::Result<u64> {
        Ok(self.0)
    }
}

fn open(folder: &std::path::Path, reading: Reading, rsa: bool) -> Result<Core, CoreError> {
    open_on(folder, reading, rsa, Arc::new(log_file::FileSystem))
}

fn open_on(
    folder: &std::path::Path,
    reading: Reading,
    rsa: bool,
    disk: Arc<dyn log_file::Disk>,
) -> Result<Core, CoreError> {
    let key = Ed25519KeyPair::from_seed_unchecked(&[5; 32]).unwrap();
    let verifier = Verifier {
        name: "site.test".to_owned(),
        public: key.public_key().as_ref().try_into().unwrap(),
    };
    let mut state = State::default();
    let checked =
        log_file::check::<CoreError>(&folder.join("log"), verifier, None, |index, entry| {
            fold(&mut state, index, &entry)
        })?;
    let opened = checked.open(
        Arc::new(move |t| key.sign(t).as_ref().try_into().unwrap()),
        disk,
        Arc::new(|| {}),
    )?;
    let mut keyring = Keyring::default();
    let trade = match rsa {
        true => (Scheme::RsaSha256, rsa_key().to_vec()),
        false => (Scheme::HmacSha256, REAL.to_vec()),
    };
    keyring
        .open(KeyId(2), "RealTradeKey", trade.0, &trade.1)
        .unwrap();
    keyring
        .open(KeyId(3), "RealReadKey", Scheme::HmacSha256, REAL)
        .unwrap();
    Core::start(Start {
        log: opened.log,
        kept_at: 0,
        state,
        torn_bytes: opened.torn_bytes,
        releases: folder.join("releases"),
        compile: Arc::new(Compiles),
        keyring,
        site_secret: SiteSecret::new(SITE),
        held: Held::default(),
        seal: Seal::Unknown,
        wake: Arc::new(|| {}),
        reading,
    })
}

/// Made once: it takes seconds.
fn rsa_key() -> &'static [u8] {
    use aws_lc_rs::encoding::AsDer;
    use std::sync::OnceLock;
    static KEY: OnceLock<Vec<u8>> = OnceLock::new();
    KEY.get_or_init(|| {
        let pair = aws_lc_rs::rsa::KeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
        let der: aws_lc_rs::encoding::Pkcs8V1Der<'_> = pair.as_der().unwrap();
        der.as_ref().to_vec()
    })
}

fn site() -> Site {
    site_with(false)
}

fn site_with(rsa: bool) -> Site {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let n = NEXT.fetch_add(1, Ordering::SeqCst);
    let folder = std::env::temp_dir().join(format!("portcullis-core-{}-{n}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    let now = Reading {
        wall_us: START.0,
        boot_us: 5_000_000,
    };
    let mut site = Site {
        core: Some(open(&folder, now, rsa).unwrap()),
        folder,
        now,
        seq: 0,
        api_key: String::new(),
        secret: String::new(),
        asked: Vec::new(),
    };
    site.core().create("me", name("site")).unwrap();
    let key = |duty, api_key: &str| Command::KeyAdd {
        account: name("main"),
        duty,
        scheme: if rsa && duty == Duty::Trade {
            Scheme::RsaSha256
        } else {
            Scheme::HmacSha256
        },
        api_key: api_key.to_owned(),
        sealed: "keys/k.age".to_owned(),
    };
    site.done(Command::AccountAdd {
        name: name("main"),
        venue: name("binance"),
    });
    site.done(key(Duty::Trade, "RealTradeKey"));
    site.done(key(Duty::Read, "RealReadKey"));
    site.done(Command::StrategyAdd {
        name: name("quoter"),
        desk: None,
        observe: false,
    });
    let (api_key, secret) = site.issue("quoter", false);
    (site.api_key, site.secret) = (api_key, secret);
    site.done(Command::Release { files: files() });
    site.now.wall_us += 1_000_000;
    site.now.boot_us += 1_000_000;
    site.price();
    site
}

const QUOTER: StrategyId = StrategyId(4);
const KEY: VirtualKeyId = VirtualKeyId(5);

const ORDER: &str =
    "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.1&price=60000&newClientOrderId=";

impl Site {
    fn core(&mut self) -> &mut Core {
        self.core.as_mut().unwrap()
    }

    /// Egress ends; gives the answers of who waited for it.
    fn egress_gone(&mut self) -> Vec<u16> {
        let mut turn = Turn::default();
        self.core().egress_gone(&mut turn);
        frames(&turn.to_ingress)
            .iter()
            .filter(|(kind, _)| *kind == kind::REPLY)
            .map(|(_, cbor)| wire::message::<Reply<'_>>(cbor).unwrap().status)
            .collect()
    }

    fn at(&self) -> Timestamp {
        Timestamp(self.now.wall_us)
    }

    fn pass(&mut self, us: u64) {
        self.now.wall_us += us;
        self.now.boot_us += us;
    }

    fn signed(&self, fields: &str, at: Timestamp) -> String {
        sign_as(&self.secret, fields, at)
    }

    /// A turn of the clock alone.
    fn turn(&mut self) -> Turn {
        let mut turn = Turn::default();
        let now = self.now;
        self.core().tick(now, &mut turn).unwrap();
        self.core().finish(&mut turn, now).unwrap();
        let own = sends(&turn.to_egress).into_iter();
        self.asked.extend(own.filter(|out| out.id.epoch == 0));
        turn
    }

    /// A command and its answer, waited for as the loop does.
    fn command(&mut self, command: Command) -> Answer {
        self.command_with(command, |_, _| {}).0
    }

    /// The same; `egress` sees each turn.
    fn command_with(
        &mut self,
        command: Command,
        mut egress: impl FnMut(&mut Site, &Turn),
    ) -> (Answer, Turn) {
        let mut first = Turn::default();
        let now = self.now;
        self.core()
            .command(77, "me", command, now, &mut first)
            .unwrap();
        self.core().finish(&mut first, now).unwrap();
        egress(self, &first);
        for _ in 0..5_000 {
            let turn = self.turn();
            egress(self, &turn);
            if let Some((_, answer)) = self.core().answers().pop() {
                return (answer, first);
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        panic!("no answer");
    }

    #[track_caller]
    fn done(&mut self, command: Command) -> EntryId {
        match self.command(command) {
            Answer::Done { entry } => entry,
            other => panic!("{other:?}"),
        }
    }

    fn issue(&mut self, strategy: &str, canary: bool) -> (String, String) {
        self.issue_for("main", strategy, canary)
    }

    fn issue_for(&mut self, account: &str, strategy: &str, canary: bool) -> (String, String) {
        let answer = self.command(Command::VirtualKeyIssue {
            strategy: name(strategy),
            account: name(account),
            scheme: Scheme::HmacSha256,
            public_key: None,
            expires: self.at().plus_us(3_600_000_000),
            sources: vec!["127.0.0.0/8".to_owned()],
            canary,
        });
        match answer {
            Answer::VirtualKey {
                api_key, secret, ..
            } => (api_key, secret.unwrap()),
            other => panic!("{other:?}"),
        }
    }

    /// The gate asks for prices, and egress says 60000; its other questions are answered with nothing.
    fn price(&mut self) {
        self.turn();
        for out in std::mem::take(&mut self.asked) {
            let reports = match out.target.contains("ticker") {
                true => vec![Report::Price {
                    symbol: "BTCUSDT".into(),
                    price: "60000".parse().unwrap(),
                    market: MarketKind::Spot,
                }],
                false => Vec::new(),
            };
            self.answer(&out, Sent::Sent, 200, reports);
        }
        // What the answers changed is written.
        self.turn();
    }

    fn answer(&mut self, out: &Sends, sent: Sent, status: u16, reports: Vec<Report>) {
        let outcome = Outcome {
            id: out.id,
            entry: out.entry,
            sent,
            status,
            reports,
            why: None,
            took_us: 100,
            more: false,
        };
        let now = self.now;
        self.core().outcome(&outcome, now).unwrap();
    }

    /// One request, one turn: what egress got and what the program was told.
    fn ask(
        &mut self,
        method: &str,
        path: &str,
        payload: &str,
        source: [u8; 4],
    ) -> (Vec<Sends>, Option<String>) {
        let api_key = self.api_key.clone();
        self.ask_as(&api_key, method, path, payload, source)
    }

    fn ask_as(
        &mut self,
        api_key: &str,
        method: &str,
        path: &str,
        payload: &str,
        source: [u8; 4],
    ) -> (Vec<Sends>, Option<String>) {
        let mut turn = Turn::default();
        self.put(api_key, method, path, payload, source, &mut turn);
        let now = self.now;
        self.core().finish(&mut turn, now).unwrap();
        (sends(&turn.to_egress), told(&turn))
    }

    fn put(
        &mut self,
        api_key: &str,
        method: &str,
        path: &str,
        payload: &str,
        source: [u8; 4],
        turn: &mut Turn,
    ) {
        self.seq += 1;
        let seq = self.seq;
        let now = self.now;
        with_request(
            api_key,
            method,
            path,
            payload,
            source,
            RequestId { epoch: 1, seq },
            |request| {
                self.core().request(request, now, turn).unwrap();
            },
        );
    }

    fn order(&mut self, client: &str) -> (Vec<Sends>, Option<String>) {
        let payload = self.signed(&format!("{ORDER}{client}"), self.at());
        self.ask("POST", "/api/v3/order", &payload, LOCAL)
    }

    fn halt(&mut self, scope: Scope, level: Level) -> Command {
        Command::Halt {
            scope,
            level,
            reason: "test".to_owned(),
        }
    }

    fn restart(&mut self) {
        self.core.take().unwrap().close().unwrap();
        self.pass(500_000);
        self.core = Some(open(&self.folder, self.now, false).unwrap());
    }
}

pub(crate) fn sign_as(secret: &str, fields: &str, at: Timestamp) -> String {
    let payload = format!("{fields}&timestamp={}", at.as_ms());
    let tag = hmac::sign(
        &hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()),
        payload.as_bytes(),
    );
    format!("{payload}&signature={}", crate::releases::hex(tag.as_ref()))
}

fn with_request<T>(
    api_key: &str,
    method: &str,
    path: &str,
    payload: &str,
    source: [u8; 4],
    id: RequestId,
    then: impl FnOnce(&Request<'_>) -> T,
) -> T {
    let get = method == "GET";
    let target = if get {
        format!("{path}?{payload}")
    } else {
        path.to_owned()
    };
    let mut headers = Vec::new();
    if !api_key.is_empty() {
        headers.push(Header {
            name: "x-mbx-apikey",
            value: api_key.as_bytes().into(),
        });
    }
    if !get {
        headers.push(Header {
            name: "content-type",
            value: (&b"application/x-www-form-urlencoded"[..]).into(),
        });
    }
    then(&Request {
        id,
        connection: 1,
        host: match path.starts_with("/fapi/") {
            true => "fapi.binance.com",
            false => "api.binance.com",
        },
        source: (&source[..]).into(),
        method,
        target: target.as_bytes().into(),
        headers,
        body: (if get { "" } else { payload }).as_bytes().into(),
    })
}

/// A frame for egress, owned.
#[derive(Debug, Clone)]
struct Sends {
    id: RequestId,
    entry: Option<EntryId>,
    host: u16,
    method: String,
    target: String,
    api_key: String,
    body: String,
    lane: Lane,
    pipe: Option<RequestId>,
}

fn frames(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut out = Vec::new();
    while let Some((head, rest)) = bytes.split_at_checked(5) {
        let length = u32::from_be_bytes(head[..4].try_into().unwrap()) as usize - 1;
        out.push((head[4], rest[..length].to_vec()));
        bytes = &rest[length..];
    }
    out
}

fn sends(bytes: &[u8]) -> Vec<Sends> {
    frames(bytes)
        .into_iter()
        .filter(|(kind, _)| *kind == kind::SEND)
        .map(|(_, cbor)| {
            let send: Send<'_> = wire::message(&cbor).unwrap();
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            Sends {
                id: send.id,
                entry: send.entry,
                host: send.host,
                method: send.method.to_owned(),
                target: text(send.target),
                api_key: send
                    .headers
                    .iter()
                    .find(|header| header.name == "x-mbx-apikey")
                    .map(|header| text(header.value))
                    .unwrap_or_default(),
                body: text(send.body),
                lane: send.lane,
                pipe: send.pipe,
            }
        })
        .collect()
}

fn told(turn: &Turn) -> Option<String> {
    let (_, cbor) = frames(&turn.to_ingress)
        .into_iter()
        .find(|(kind, _)| *kind == kind::REPLY)?;
    let reply: Reply<'_> = wire::message(&cbor).unwrap();
    Some(format!(
        "{} {}",
        reply.status,
        String::from_utf8_lossy(reply.body)
    ))
}

fn discards(turn: &Turn) -> Vec<portcullis_model::wire::Discard> {
    frames(&turn.to_egress)
        .into_iter()
        .filter(|(kind, _)| *kind == kind::DISCARD)
        .map(|(_, cbor)| wire::message(&cbor).unwrap())
        .collect()
}

fn market(symbol: &str) -> MarketId {
    MarketId {
        symbol: symbol.into(),
        kind: MarketKind::Spot,
        venue: FIRST_VENUE,
    }
}

fn order_report(order_id: u64, client: &str, status: OrderStatus, executed: &str) -> Report {
    Report::Order(OrderReport {
        market: portcullis_model::action::MarketKind::Spot,
        symbol: "BTCUSDT".into(),
        order_id: order_id.into(),
        client_order_id: Some(client.into()),
        list_id: None,
        status,
        side: None,
        order_type: None,
        time_in_force: None,
        price: None,
        original_quantity: None,
        executed_quantity: Some(executed.parse().unwrap()),
        executed_quote: None,
        time_ms: None,
        original_client_order_id: None,
        algo: false,
        became: None,
        average_price: None,
    })
}

#[test]
fn an_order_on_futures_is_priced_signed_and_looked_after_at_its_own_host() {
    let mut site = site();
    let mut more = files();
    more.get_mut("hosts.toml").unwrap().push_str(
        "[[host]]\nvenue = \"binance\"\nname = \"fapi.binance.com\"\npublic_roots = true\nweight_per_minute = 1200\norders_per_10s = 100\n",
    );
    more.insert(
        "markets/binance.json".to_owned(),
        r#"[{"symbol":"BTCUSDT","base":"BTC","quote":"USDT"},{"symbol":"BTCUSDT","base":"BTC","quote":"USDT","kind":"usd_futures"}]"#
            .to_owned(),
    );
    let mandates = more.get_mut("mandates.toml").unwrap();
    mandates.push_str("[firm.markets.\"usd_futures:BTC*\"]\n");
    site.done(Command::Release { files: more });
    let at = |site: &Site, fields: &str| site.signed(fields, site.at());
    let short = ORDER.replace("BUY", "SELL");
    let payload = at(&site, &format!("{short}none&positionSide=SHORT"));
    let (sent, told) = site.ask("POST", "/fapi/v1/order", &payload, LOCAL);
    assert!(sent.is_empty(), "the price of spot is not its price");
    assert!(told.unwrap().contains("no fresh reference price"));
    site.pass(1_000_000);
    site.turn();
    let mut hosts = Vec::new();
    for out in std::mem::take(&mut site.asked) {
        let reports = match out.target.as_str() {
            "/fapi/v1/premiumIndex?symbol=BTCUSDT" => vec![Report::Price {
                symbol: "BTCUSDT".into(),
                price: "50000".parse().unwrap(),
                market: MarketKind::UsdFutures,
            }],
            _ => Vec::new(),
        };
        hosts.push((out.host, reports.len()));
        site.answer(&out, Sent::Sent, 200, reports);
    }
    assert!(hosts.contains(&(3, 1)), "{hosts:?}");
    site.turn();
    let order = "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.1&price=50000&positionSide=LONG&newClientOrderId=one";
    let payload = at(&site, order);
    let (sent, told) = site.ask("POST", "/fapi/v1/order", &payload, LOCAL);
    assert_eq!(told, None);
    let out = sent[0].clone();
    assert_eq!((out.target.as_str(), out.host), ("/fapi/v1/order", 3));
    assert!(out.body.contains("positionSide=LONG"), "{out:?}");
    let (message, signature) = out.body.split_once("&signature=").unwrap();
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, REAL), message.as_bytes());
    assert_eq!(signature, crate::releases::hex(tag.as_ref()));
    // No answer came: it is asked for, where it is.
    site.answer(&out, Sent::MaybeSent, 0, Vec::new());
    site.pass(3_100_000);
    site.turn();
    site.pass(3_100_000);
    site.turn();
    let asked = std::mem::take(&mut site.asked);
    let ask = asked
        .iter()
        .find(|out| {
            out.target.starts_with("/fapi/v1/order?") && out.target.contains("ClientOrderId=one&")
        })
        .unwrap();
    assert_eq!((ask.host, ask.api_key.as_str()), (3, "RealReadKey"));
    let Report::Order(filled) = order_report(9, "one", OrderStatus::Filled, "0.1") else {
        panic!()
    };
    let filled = Report::Order(OrderReport {
        market: MarketKind::UsdFutures,
        average_price: Some("50000".parse().unwrap()),
        ..filled
    });
    site.answer(&ask.clone(), Sent::Sent, 200, vec![filled]);
    let id = MarketId {
        kind: MarketKind::UsdFutures,
        ..market("BTCUSDT")
    };
    let held =
        site.core().state.usage[&portcullis_model::state::LevelKey::Strategy(QUOTER)].holdings[&id];
    assert_eq!(
        (held.base.to_string(), held.cash.to_string()),
        ("0.1".to_owned(), "-5000".to_owned())
    );
    // What takes from the long side reduces, and goes with the cancels.
    let exit =
        "symbol=BTCUSDT&side=SELL&type=MARKET&quantity=0.1&positionSide=LONG&newClientOrderId=two";
    let payload = at(&site, exit);
    let (sent, told) = site.ask("POST", "/fapi/v1/order", &payload, LOCAL);
    assert_eq!(told, None);
    assert_eq!(sent[0].lane, Lane::Cancel);
}

#[test]
fn an_order_is_verified_decided_recorded_signed_and_sent() {
    let mut site = site();
    let before = site.core().state.entries;
    let (sent, told) = site.order("one");
    assert_eq!(told, None);
    let out = &sent[0];
    assert_eq!(
        (
            out.method.as_str(),
            out.target.as_str(),
            out.api_key.as_str()
        ),
        ("POST", "/api/v3/order", "RealTradeKey")
    );
    assert_eq!((out.lane, out.entry), (Lane::Order, Some(EntryId(before))));
    assert!(
        !out.body.contains(&site.api_key) && out.body.contains("newClientOrderId=one"),
        "{out:?}"
    );
    assert!(
        out.body.contains("recvWindow=1000&"),
        "an order has a second at most: {out:?}"
    );
    let (message, signature) = out.body.split_once("&signature=").unwrap();
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, REAL), message.as_bytes());
    assert_eq!(signature, crate::releases::hex(tag.as_ref()));
    assert_eq!(site.core().state.entries, before + 1);
    assert_eq!(site.core().state.orders.len(), 1);
}

#[test]
fn reads_are_signed_by_the_key_that_can_only_read_and_are_entries_too() {
    let mut site = site();
    let before = site.core().state.entries;
    let payload = site.signed("recvWindow=5000", site.at());
    let (sent, _) = site.ask("GET", "/api/v3/account", &payload, LOCAL);
    assert_eq!(sent[0].api_key, "RealReadKey");
    assert_eq!(site.core().state.entries, before + 1);
    // Without a read key the trade key is not used for it.
    site.done(Command::KeyAdd {
        account: name("main"),
        duty: Duty::Move,
        scheme: Scheme::HmacSha256,
        api_key: "x".into(),
        sealed: "k".into(),
    });
    site.done(Command::KeyRemove {
        account: name("main"),
        api_key: "RealReadKey".into(),
    });
    let payload = site.signed("recvWindow=5000", site.at());
    let (sent, told) = site.ask("GET", "/api/v3/account", &payload, LOCAL);
    assert!(sent.is_empty() && told.unwrap().contains("no key of duty Read"));
    // One key for all is used for all, and said loudly.
    site.done(Command::KeyRemove {
        account: name("main"),
        api_key: "x".into(),
    });
    site.pass(1_000);
    let payload = site.signed("recvWindow=5000", site.at());
    let (sent, _) = site.ask("GET", "/api/v3/account", &payload, LOCAL);
    assert_eq!(sent[0].api_key, "RealTradeKey");
    assert!(
        site.core().status()["warnings"][0]
            .as_str()
            .unwrap()
            .contains("one key for all")
    );
    // What egress hands in elsewhere then has no field that nobody reviewed: a withdrawal's are none of a read's.
    let thief = "coin=USDT&address=0xthief&amount=1000&network=ETH";
    let payload = site.signed(thief, site.at());
    let (sent, told) = site.ask("GET", "/api/v3/account", &payload, LOCAL);
    assert!(sent.is_empty(), "{sent:?}");
    let told = told.unwrap();
    assert!(
        told.starts_with("403 ") && told.contains("one key for all"),
        "{told}"
    );
}

#[test]
fn an_unnamed_field_passes_where_a_read_key_signs() {
    let mut site = site();
    let payload = site.signed("cursor=abc", site.at());
    let (sent, told) = site.ask("GET", "/api/v3/account", &payload, LOCAL);
    assert_eq!(sent.len(), 1, "{told:?}");
    assert_eq!(sent[0].api_key, "RealReadKey");
}

#[test]
fn what_is_not_verified_is_refused_and_leaves_no_entry_but_a_count() {
    let mut site = site();
    let before = site.core().state.entries;
    let at = site.at();
    let good = site.signed(&format!("{ORDER}x"), at);
    let late = site.signed(&format!("{ORDER}x"), Timestamp(at.0 - 6_000_000));
    for (payload, source, expected) in [
        (good.replace("quantity=0.1", "quantity=0.2"), LOCAL, "-1022"),
        (format!("{ORDER}x&timestamp={}", at.as_ms()), LOCAL, "-1022"),
        (good.clone(), [10, 0, 0, 1], "-2015"),
        (late, LOCAL, "-1021"),
        (
            site.signed(&format!("{ORDER}x"), Timestamp(at.0 + 1_002_000)),
            LOCAL,
            "-1021",
        ),
        (
            site.signed(&format!("{ORDER}x"), Timestamp(START.0 - 1_000)),
            LOCAL,
            "-1021",
        ),
    ] {
        let (sent, told) = site.ask("POST", "/api/v3/order", &payload, source);
        assert!(sent.is_empty(), "{payload}");
        assert!(
            told.as_deref().unwrap().contains(expected),
            "{expected}: {told:?}"
        );
    }
    let (sent, told) = site.ask_as("nobody", "POST", "/api/v3/order", &good, LOCAL);
    assert!(sent.is_empty() && told.unwrap().contains("-2014"));
    assert_eq!(site.core().state.entries, before);
    assert_eq!(site.core().metrics.failed, 7);
    // A verified statement that cannot be read is the program's own: it has an entry.
    let sneaky = site.signed(&format!("{ORDER}x&sneaky=1"), at);
    let (sent, told) = site.ask("POST", "/api/v3/order", &sneaky, LOCAL);
    assert!(sent.is_empty() && told.unwrap().contains("-1130"));
    assert_eq!(site.core().state.entries, before + 1);
    let before = before + 1;
    site.pass(60_000_000);
    site.turn();
    let entries = site.core().state.entries - before;
    assert!(
        (2..=3).contains(&entries),
        "a summary a key, one for all that no key made, and perhaps prices: {entries}"
    );
}

#[test]
fn a_repeated_order_is_not_signed_again_and_a_read_may_repeat() {
    let mut site = site();
    let payload = site.signed(&format!("{ORDER}one"), site.at());
    assert_eq!(
        site.ask("POST", "/api/v3/order", &payload, LOCAL).0.len(),
        1
    );
    let before = site.core().state.entries;
    let (sent, told) = site.ask("POST", "/api/v3/order", &payload, LOCAL);
    assert!(sent.is_empty() && told.unwrap().starts_with("504"));
    // As another method or path the same signed bytes are another statement, judged by itself.
    let (sent, told) = site.ask("POST", "/api/v3/order/test", &payload, LOCAL);
    assert!(sent.len() == 1 || told.is_some());
    let big = site.signed(&(ORDER.replace("0.1", "1") + "big"), site.at());
    let first = site.ask("POST", "/api/v3/order", &big, LOCAL).1.unwrap();
    let again = site.ask("POST", "/api/v3/order", &big, LOCAL).1.unwrap();
    assert_eq!(first, again, "the first one's refusal, word for word");
    assert!(
        site.core().state.entries <= before + 2,
        "the repeat is no entry"
    );
    let read = site.signed("recvWindow=5000", site.at());
    for _ in 0..2 {
        assert_eq!(site.ask("GET", "/api/v3/account", &read, LOCAL).0.len(), 1);
    }
}

#[test]
fn refusals_are_entries_up_to_a_rate_and_say_their_number() {
    let mut site = site();
    let before = site.core().state.entries;
    for (path, fields, expected) in [
        (
            "/api/v3/order",
            ORDER.replace("0.1", "1") + "big",
            "order value of firm: asked 60000, limit 50000",
        ),
        (
            "/sapi/v1/capital/withdraw/apply",
            "coin=USDT&amount=5&address=abc&network=ETH".to_owned(),
            "no policy permits Withdraw",
        ),
    ] {
        let payload = site.signed(&fields, site.at());
        let (sent, told) = site.ask("POST", path, &payload, LOCAL);
        assert!(sent.is_empty());
        let told = told.unwrap();
        assert!(
            told.contains(expected) && told.contains("(entry "),
            "{told}"
        );
    }
    assert_eq!(site.core().state.entries, before + 2);
    for n in 0..200 {
        let payload = site.signed(&(ORDER.replace("0.1", "1") + &format!("b{n}")), site.at());
        site.ask("POST", "/api/v3/order", &payload, LOCAL);
    }
    let entries = site.core().state.entries - before;
    assert_eq!(
        entries,
        crate::failures::REFUSAL_ENTRIES_PER_SECOND,
        "nobody fills the disk"
    );
    let lines = site.core().events.take();
    let told = lines.iter().filter(|line| line.contains("\"refused\""));
    assert_eq!(told.count() as u64, entries, "nor by lines");
}

#[test]
fn revoking_takes_effect_on_the_next_request_and_closes_connections() {
    let mut site = site();
    assert_eq!(site.order("a").0.len(), 1);
    let (answer, turn) = site.command_with(Command::VirtualKeyRevoke { id: KEY }, |_, _| {});
    assert!(matches!(answer, Answer::Done { .. }));
    let closed: Vec<u64> = frames(&turn.to_ingress)
        .into_iter()
        .filter(|(kind, _)| *kind == kind::CLOSE)
        .flat_map(|(_, cbor)| wire::message::<Close>(&cbor).unwrap().connections)
        .collect();
    assert_eq!(closed, [1]);
    let (sent, told) = site.order("d");
    assert!(sent.is_empty() && told.unwrap().contains("revoked"));
    assert!(matches!(
        site.command(Command::VirtualKeyRevoke { id: KEY }),
        Answer::Refused { .. }
    ));
}

#[test]
fn an_expired_key_is_refused_and_its_connections_close() {
    let mut site = site();
    assert_eq!(site.order("a").0.len(), 1);
    site.pass(3_600_000_000);
    let turn = site.turn();
    assert!(
        frames(&turn.to_ingress)
            .iter()
            .any(|(kind, _)| *kind == kind::CLOSE)
    );
    assert!(site.order("b").1.unwrap().contains("expired"));
}

#[test]
fn a_halt_refuses_what_its_level_says_and_a_resume_lets_it_pass() {
    let mut site = site();
    let out = site.order("a").0.remove(0);
    let report = order_report(1, "a", OrderStatus::Open, "0");
    site.answer(&out, Sent::Sent, 200, vec![report]);
    let halt = site.halt(Scope::Strategy(QUOTER), Level::CancelOnly);
    assert!(matches!(site.command(halt), Answer::Halted(_)));
    let (sent, told) = site.order("b");
    assert!(sent.is_empty() && told.unwrap().contains("cancel-only"));
    let cancel = site.signed("symbol=BTCUSDT&origClientOrderId=a", site.at());
    let (sent, _) = site.ask("DELETE", "/api/v3/order", &cancel, LOCAL);
    assert_eq!(sent[0].lane, Lane::Cancel, "a cancel passes");
    let resume = |level| Command::Resume {
        scope: Scope::Strategy(QUOTER),
        level,
        reason: String::new(),
    };
    assert!(matches!(
        site.command(resume(Some(Level::Lock))),
        Answer::Refused { .. }
    ));
    site.done(resume(None));
    site.pass(1_000);
    assert_eq!(site.order("c").0.len(), 1);
    let nobody = site.halt(Scope::Desk(name("nobody")), Level::Lock);
    assert!(matches!(site.command(nobody), Answer::Refused { .. }));
}

#[test]
fn a_halt_between_approval_and_signature_holds_the_signature_back() {
    for level in [Level::ReduceOnly, Level::CancelOnly, Level::Lock] {
        let mut site = site();
        let mut turn = Turn::default();
        let payload = site.signed(&format!("{ORDER}late"), site.at());
        let api_key = site.api_key.clone();
        site.put(
            &api_key,
            "POST",
            "/api/v3/order",
            &payload,
            LOCAL,
            &mut turn,
        );
        let now = site.now;
        let halt = site.halt(Scope::Firm, level);
        site.core().command(1, "me", halt, now, &mut turn).unwrap();
        site.core().finish(&mut turn, now).unwrap();
        assert!(sends(&turn.to_egress).iter().all(|out| out.id.epoch == 0));
        assert!(told(&turn).unwrap().contains("nothing was sent"));
        assert!(
            site.core().state.orders.is_empty(),
            "its reservation is released"
        );
    }
}

#[test]
fn a_halt_lists_what_was_signed_before_and_when_none_of_it_can_be_accepted() {
    let mut site = site();
    let (a, b, c) = (site.order("a").0, site.order("b").0, site.order("c").0);
    let entry = |sent: &Vec<Sends>| sent[0].entry.unwrap();
    let (a, b, c) = (entry(&a), entry(&b), entry(&c));
    let at = site.at();
    let halt = site.halt(Scope::Firm, Level::CancelOnly);
    let (answer, _) = site.command_with(halt, |site, turn| {
        for discard in discards(turn) {
            assert_eq!(discard.entries, [a, b, c]);
            // Egress forgets one: it may be under way.
            site.core().discarded(&Discarded {
                token: discard.token,
                discarded: vec![a, EntryId(9_999)],
                under_way: Vec::new(),
                done: vec![c],
            });
        }
    });
    let Answer::Halted(Halted {
        discarded,
        under_way,
        done,
        confirmed,
        none_after,
        ..
    }) = answer
    else {
        panic!("{answer:?}");
    };
    assert_eq!(
        (discarded, under_way, done, confirmed),
        (vec![a], vec![b], vec![c], true)
    );
    assert!(none_after > at.plus_us(1_000_000) && none_after < at.plus_us(1_200_000));
}

#[test]
fn a_halt_names_the_end_of_every_window_whatever_egress_says_became_of_it() {
    let at_worst = |say: &dyn Fn(&mut Site, Sends)| {
        let mut site = site();
        let out = site.order("a").0.remove(0);
        let signed = site.at();
        site.pass(10_000);
        say(&mut site, out);
        let halt = site.halt(Scope::Firm, Level::CancelOnly);
        let (answer, _) = site.command_with(halt, |site, turn| {
            for discard in discards(turn) {
                site.core().discarded(&Discarded {
                    token: discard.token,
                    discarded: discard.entries,
                    under_way: Vec::new(),
                    done: Vec::new(),
                });
            }
        });
        let Answer::Halted(halted) = answer else {
            panic!("{answer:?}")
        };
        assert!(halted.under_way.is_empty() && halted.confirmed);
        assert!(halted.none_after_as_told <= halted.none_after);
        assert!(halted.none_after_as_told <= site.at());
        (halted.none_after, signed)
    };
    // Dropped, never sent, refused, filled: egress can still hand it in.
    for say in [
        &(|_: &mut Site, _| {}) as &dyn Fn(&mut Site, Sends),
        &|site, out| site.answer(&out, Sent::NotSent, 0, Vec::new()),
        &|site, out| site.answer(&out, Sent::Sent, 400, vec![Report::Refused { code: -2010 }]),
        &|site, out| {
            let filled = order_report(7, "a", OrderStatus::Filled, "0.1");
            site.answer(&out, Sent::Sent, 200, vec![filled]);
        },
    ] {
        let (none_after, signed) = at_worst(say);
        assert!(none_after >= signed.plus_us(ORDER_WINDOW_US_MAX));
        assert!(none_after <= signed.plus_us(ORDER_WINDOW_US_MAX + 200_000));
    }
    // What the level lets pass, and what is long past, counts for nothing.
    let (none_after, signed) = at_worst(&|site, out| {
        site.answer(&out, Sent::NotSent, 0, Vec::new());
        site.pass(2_000_000);
    });
    assert!(none_after <= signed.plus_us(2_100_000));
}

#[test]
fn what_cannot_be_is_evidence() {
    let mut site = site();
    let out = site.order("a").0.remove(0);
    let told = order_report(7, "a", OrderStatus::Filled, "5000");
    let lines = |site: &mut Site| site.core().events.take().join("\n");
    lines(&mut site);
    site.answer(&out, Sent::Sent, 200, vec![told]);
    assert!(lines(&mut site).contains("more-than-ordered of the order of entry"));
    assert!(
        site.core()
            .metrics_text()
            .contains("impossible_total{what=\"more-than-ordered\"} 1")
    );
    let usage = site.core().usage();
    assert_eq!(usage["firm"]["holdings"][0]["base"], "0.1");
    assert_eq!(usage["firm"]["holdings"][0]["cash"], "-6000");
}

#[test]
fn one_person_re_arms_a_loss_that_still_stands() {
    let mut site = site();
    let mut files = files();
    let text = MANDATES.replace("loss = \"unlimited\"", "loss = \"100\"");
    files.insert("mandates.toml".to_owned(), text);
    site.done(Command::Release { files });
    site.price();
    let out = site.order("a").0.remove(0);
    let filled = order_report(7, "a", OrderStatus::Filled, "0.1");
    site.answer(&out, Sent::Sent, 200, vec![filled]);
    let fall = |site: &mut Site, price: &str| {
        site.pass(2_000_000);
        site.turn();
        for out in std::mem::take(&mut site.asked) {
            let price = Report::Price {
                symbol: "BTCUSDT".into(),
                price: price.parse().unwrap(),
                market: MarketKind::Spot,
            };
            site.answer(&out, Sent::Sent, 200, vec![price]);
        }
        site.turn();
    };
    fall(&mut site, "58000");
    let scope = Scope::Strategy(QUOTER);
    assert!(site.core().state.halts.contains_key(&scope));
    assert!(site.order("b").1.unwrap().contains("reduce-only"));
    let entry = site.done(Command::Resume {
        scope: scope.clone(),
        level: None,
        reason: "looked into".to_owned(),
    });
    assert_eq!(site.core().state.entries, entry.0 + 1);
    fall(&mut site, "57900");
    assert!(site.core().state.halts.is_empty());
    assert_eq!(site.order("c").0.len(), 1);
    fall(&mut site, "56000");
    assert!(
        site.core().state.halts.contains_key(&scope),
        "it trips again"
    );
}

#[test]
fn a_halt_without_egress_says_that_nothing_is_confirmed() {
    let mut site = site();
    let entry = site.order("a").0[0].entry.unwrap();
    let halt = site.halt(Scope::Firm, Level::Lock);
    let now = site.now;
    let mut turn = Turn::default();
    site.core().command(7, "me", halt, now, &mut turn).unwrap();
    site.core().finish(&mut turn, now).unwrap();
    site.turn();
    assert!(site.core().answers().is_empty(), "it waits for egress");
    site.pass(commands::HALT_WAIT_US);
    for _ in 0..1_000 {
        site.turn();
        if let Some((_, Answer::Halted(halted))) = site.core().answers().pop() {
            assert_eq!((halted.confirmed, halted.under_way), (false, vec![entry]));
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    panic!("no answer");
}

#[test]
fn slow_signatures_are_made_beside_and_held_back_by_a_halt() {
    let mut site = site_with(true);
    let wait = |site: &mut Site| {
        for _ in 0..5_000 {
            let mut turn = Turn::default();
            let now = site.now;
            site.core().finish(&mut turn, now).unwrap();
            if !turn.to_egress.is_empty() || !turn.to_ingress.is_empty() {
                return turn;
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        panic!("no signature");
    };
    // A helper may be done before the turn ends; mostly it is not.
    let out = match site.order("a").0.pop() {
        Some(out) => out,
        None => sends(&wait(&mut site).to_egress).pop().unwrap(),
    };
    site.answer(&out, Sent::NotSent, 0, Vec::new());
    let (message, signature) = out.body.split_once("&signature=").unwrap();
    let pair = aws_lc_rs::signature::RsaKeyPair::from_pkcs8(rsa_key()).unwrap();
    let public = aws_lc_rs::signature::UnparsedPublicKey::new(
        &aws_lc_rs::signature::RSA_PKCS1_2048_8192_SHA256,
        pair.public_key(),
    );
    let signature = crate::pem::base64(
        &portcullis_venues::form::decode(&signature.replace('+', "%2B")).unwrap(),
    )
    .unwrap();
    public.verify(message.as_bytes(), &signature).unwrap();
    // One that a helper still has is overtaken.
    let mut tries = 0;
    while let Some(out) = site.order(&format!("b{tries}")).0.pop() {
        site.answer(&out, Sent::NotSent, 0, Vec::new());
        site.pass(1_000);
        tries += 1;
        assert!(tries < 100, "signatures are made in the turn");
    }
    let now = site.now;
    let halt = site.halt(Scope::Firm, Level::CancelOnly);
    let mut turn = Turn::default();
    site.core().command(1, "me", halt, now, &mut turn).unwrap();
    let turn = wait(&mut site);
    assert!(sends(&turn.to_egress).is_empty());
    assert!(told(&turn).unwrap().contains("nothing was sent"));
    assert!(site.core().state.orders.is_empty());
}

#[test]
fn a_start_folds_the_log_to_the_same_state_and_accepts_nothing_from_before() {
    let mut site = site();
    let one = site.order("one").0.remove(0);
    site.answer(&one, Sent::NotSent, 0, Vec::new());
    assert_eq!(site.order("two").0.len(), 1);
    let before = site.core().state.clone();
    let stale = site.signed(&format!("{ORDER}three"), site.at());
    site.restart();
    let mut after = site.core().state.clone();
    assert_eq!(after.entries, before.entries + 1, "the start is an entry");
    (after.entries, after.time) = (before.entries, before.time);
    assert_eq!(after, before);
    let (sent, told) = site.ask("POST", "/api/v3/order", &stale, LOCAL);
    assert!(sent.is_empty() && told.unwrap().contains("before the gate started"));
    assert_eq!(site.order("four").0.len(), 1);
}

#[test]
fn halts_usage_open_orders_and_prices_stand_after_a_restart() {
    let mut site = site();
    let open = site.order("open").0.remove(0);
    let report = order_report(11, "open", OrderStatus::Open, "0.04");
    site.answer(&open, Sent::Sent, 200, vec![report]);
    assert_eq!(site.order("unknown").0.len(), 1);
    let halt = site.halt(Scope::Strategy(QUOTER), Level::CancelOnly);
    site.command_with(halt, |site, _| site.pass(10_000));
    let before = site.core().state.clone();
    assert_eq!(before.orders.len(), 2);
    site.restart();
    let core = site.core();
    assert_eq!(core.state.halts, before.halts);
    assert_eq!(core.state.orders, before.orders);
    assert_eq!(core.state.usage, before.usage);
    assert_eq!(core.state.prices, before.prices);
    assert!(!core.usage().to_string().contains("\"turnover\":null"));
    // The halt holds, the order can be cancelled, and what it may still become is counted.
    assert!(site.order("late").1.unwrap().contains("cancel-only"));
    let cancel = site.signed("symbol=BTCUSDT&origClientOrderId=open", site.at());
    let (sent, told) = site.ask("DELETE", "/api/v3/order", &cancel, LOCAL);
    assert_eq!(sent.len(), 1, "{told:?}");
    assert_eq!(site.core().usage()["strategies"][0]["open_orders"], 2);
}

#[test]
fn the_fold_from_a_snapshot_is_the_fold_of_the_whole() {
    let mut site = site();
    let open = site.order("open").0.remove(0);
    let report = order_report(11, "open", OrderStatus::Open, "0.04");
    site.answer(&open, Sent::Sent, 200, vec![report]);
    site.turn();
    site.core().snapshot();
    let kept = site.core().kept_at;
    assert_eq!(site.order("more").0.len(), 1);
    site.core.take().unwrap().close().unwrap();
    let folder = site.folder.join("log");
    let verifier = log_file::verifier(&folder).unwrap().unwrap();
    let snapshot = log_file::snapshots(&folder, &verifier).next().unwrap();
    assert_eq!(snapshot.index, kept);
    let mut states = Vec::new();
    for (mut state, after) in [
        (State::default(), None),
        (snapshot.state, Some((snapshot.index, snapshot.root))),
    ] {
        log_file::check::<CoreError>(&folder, verifier.clone(), after, |index, entry| {
            fold(&mut state, index, &entry)
        })
        .unwrap();
        states.push(state);
    }
    assert_eq!(states[0], states[1]);
    assert_eq!(states[0].to_bytes(), states[1].to_bytes());
    assert_eq!(states[0].orders.len(), 2);
}

#[test]
fn nothing_that_was_stamped_before_a_start_is_accepted_reads_neither() {
    let mut site = site();
    let at = site.at();
    let order = site.signed(&format!("{ORDER}old"), at);
    let cancel = site.signed("symbol=BTCUSDT&origClientOrderId=old", at);
    let read = site.signed("recvWindow=60000", at);
    site.restart();
    for (method, path, payload) in [
        ("POST", "/api/v3/order", &order),
        ("DELETE", "/api/v3/order", &cancel),
        ("GET", "/api/v3/account", &read),
    ] {
        let (sent, told) = site.ask(method, path, payload, LOCAL);
        assert!(
            sent.is_empty() && told.unwrap().contains("before the gate started"),
            "{path}"
        );
    }
    // One that was stamped at the start itself is new.
    let start = site.core().started;
    let fresh = site.signed(
        &format!("{ORDER}new"),
        Timestamp(start.0.next_multiple_of(1_000)),
    );
    assert_eq!(site.ask("POST", "/api/v3/order", &fresh, LOCAL).0.len(), 1);
}

#[test]
fn what_was_stamped_ahead_and_accepted_before_a_start_is_not_accepted_again() {
    let mut site = site();
    // The program's clock is ahead by what the venue allows.
    let ahead = site.signed(&format!("{ORDER}ahead"), site.at().plus_us(900_000));
    assert_eq!(site.ask("POST", "/api/v3/order", &ahead, LOCAL).0.len(), 1);
    site.restart();
    assert!(site.core().started.0 < site.at().0 + 400_000);
    let (sent, told) = site.ask("POST", "/api/v3/order", &ahead, LOCAL);
    assert!(sent.is_empty(), "signed twice");
    assert!(told.unwrap().starts_with("504"), "its status is unknown");
    // Nor after a start from a snapshot.
    site.core().snapshot();
    site.restart();
    assert!(
        site.ask("POST", "/api/v3/order", &ahead, LOCAL)
            .0
            .is_empty()
    );
}

#[test]
fn a_jump_of_the_clock_waits_for_an_operator_over_a_restart_too() {
    let mut site = site();
    site.now.wall_us += 3_600_000_000;
    site.turn();
    assert!(site.order("a").1.unwrap().contains("clock jumped"));
    let time = site.core().state.time;
    site.restart();
    assert!(site.core().clock().jumped_us().is_some());
    assert!(
        site.core().state.time <= time.plus_us(1_000_000),
        "the wrong time is in no entry"
    );
    assert!(site.order("b").0.is_empty());
    // The clock is put right, and somebody says so.
    site.now.wall_us -= 3_600_000_000;
    site.done(Command::ConfirmTime {
        reason: "set by hand".to_owned(),
    });
    site.price();
    assert_eq!(site.order("c").0.len(), 1);
    site.restart();
    assert_eq!(site.core().clock().jumped_us(), None);
}

#[test]
fn a_halt_lists_what_a_run_of_egress_or_of_the_signer_took_with_it() {
    let mut site = site();
    let sent = site.order("one").0.remove(0);
    let entry = sent.entry.unwrap();
    let signed = site.at();
    assert_eq!(site.egress_gone(), [504], "who waits is told to ask");
    let mut turn = Turn::default();
    site.core().egress_started(&mut turn);
    site.pass(100_000);
    let halt = site.halt(Scope::Strategy(QUOTER), Level::CancelOnly);
    let (answer, turn) = site.command_with(halt, |site, _| site.pass(1_000));
    assert!(discards(&turn).is_empty(), "the new run does not know it");
    let Answer::Halted(halted) = answer else {
        panic!("{answer:?}")
    };
    assert_eq!((halted.confirmed, &halted.under_way), (false, &vec![entry]));
    assert!(halted.none_after >= signed.plus_us(ORDER_WINDOW_US_MAX));
    // The same after a start; and once its window has passed, no more.
    site.restart();
    let halt = site.halt(Scope::Firm, Level::CancelOnly);
    let (answer, _) = site.command_with(halt, |site, _| site.pass(1_000));
    assert!(
        matches!(&answer, Answer::Halted(halted) if halted.under_way == [entry] && !halted.confirmed),
        "{answer:?}"
    );
    site.pass(1_500_000);
    let halt = site.halt(Scope::Firm, Level::Lock);
    let (answer, _) = site.command_with(halt, |site, _| site.pass(1_000));
    assert!(matches!(&answer, Answer::Halted(halted) if halted.under_way.is_empty()));
}

#[test]
fn a_number_that_ingress_gives_twice_hides_nothing_from_a_halt() {
    let mut site = site();
    let first = site.order("one").0.remove(0);
    site.seq -= 1;
    let (sent, told) = site.order("two");
    assert!(sent.is_empty() && told.is_none(), "{told:?}");
    let halt = site.halt(Scope::Firm, Level::CancelOnly);
    let (answer, _) = site.command_with(halt, |site, _| site.pass(10_000));
    assert!(
        matches!(&answer, Answer::Halted(halted) if halted.under_way == [first.entry.unwrap()]),
        "{answer:?}"
    );
    // Two at once, in one turn.
    site.done(Command::Resume {
        scope: Scope::Firm,
        level: None,
        reason: String::new(),
    });
    let mut turn = Turn::default();
    let api_key = site.api_key.clone();
    for client in ["three", "four"] {
        let payload = site.signed(&format!("{ORDER}{client}"), site.at());
        site.put(
            &api_key,
            "POST",
            "/api/v3/order",
            &payload,
            LOCAL,
            &mut turn,
        );
        site.seq -= 1;
    }
    let now = site.now;
    site.core().finish(&mut turn, now).unwrap();
    assert_eq!(sends(&turn.to_egress).len(), 1);
}

#[test]
fn on_a_nearly_full_disk_what_lowers_risk_passes_and_is_recorded() {
    let mut site = site();
    let open = site.order("open").0.remove(0);
    let report = order_report(11, "open", OrderStatus::Open, "0");
    site.answer(&open, Sent::Sent, 200, vec![report]);
    site.core.take().unwrap().close().unwrap();
    site.pass(500_000);
    let disk = Arc::new(Small(1 << 20));
    site.core = Some(open_on(&site.folder, site.now, false, disk).unwrap());
    let before = site.core().state.entries;
    let told = site.order("more").1.unwrap();
    assert!(told.contains("disk") || told.contains("space"), "{told}");
    assert!(
        site.core().status()["warnings"]
            .to_string()
            .contains("nearly full")
    );
    for (method, path, fields, passes) in [
        (
            "DELETE",
            "/api/v3/order",
            "symbol=BTCUSDT&origClientOrderId=open",
            true,
        ),
        ("GET", "/api/v3/openOrders", "symbol=BTCUSDT", true),
        ("GET", "/api/v3/account", "recvWindow=5000", true),
    ] {
        let payload = site.signed(fields, site.at());
        let (sent, told) = site.ask(method, path, &payload, LOCAL);
        assert_eq!(sent.len() == 1, passes, "{path}: {told:?}");
    }
    let halt = site.halt(Scope::Firm, Level::Lock);
    let (answer, _) = site.command_with(halt, |site, _| site.pass(10_000));
    assert!(matches!(answer, Answer::Halted(_)), "{answer:?}");
    assert!(site.core().state.entries > before + 3);
}

#[test]
fn what_a_release_adds_to_the_catalog_holds_with_it_and_after_a_start() {
    let mut site = site();
    let fields = format!("{ORDER}one&algoMark=7");
    let code = |site: &mut Site, fields: &str| {
        let payload = site.signed(fields, site.at());
        site.ask("POST", "/api/v3/order", &payload, LOCAL).1
    };
    assert!(code(&mut site, &fields).unwrap().contains("algoMark"));
    let mut more = files();
    more.insert(
        "catalog.d/own.toml".to_owned(),
        "venue = \"binance\"\nhost = \"api.binance.com\"\n[[endpoint]]\nmethod = \"POST\"\n\
         path = \"/api/v3/order\"\nextend = true\nfields = { algoMark = \"token\" }\n"
            .to_owned(),
    );
    site.done(Command::Release {
        files: more.clone(),
    });
    site.pass(1_000_000);
    site.price();
    assert_eq!(code(&mut site, &fields), None);
    site.restart();
    site.pass(1_000_000);
    site.price();
    let other = format!("{ORDER}two&algoMark=8");
    assert_eq!(code(&mut site, &other), None);
    // One that does not load is no release, and the one in force goes on.
    more.insert("catalog.d/own.toml".to_owned(), "venue = 1".to_owned());
    let answer = site.command(Command::Release { files: more });
    assert!(matches!(answer, Answer::Refused { .. }), "{answer:?}");
    site.done(Command::Release { files: files() });
    let third = format!("{ORDER}three&algoMark=9");
    assert!(code(&mut site, &third).unwrap().contains("algoMark"));
}

#[test]
fn a_key_is_sealed_in_a_file_of_its_own_with_a_name_that_can_be() {
    let mut site = site();
    for sealed in [
        "keys/log-key.age",
        "keys/site-secret.age",
        "../x",
        "",
        &"x".repeat(256),
        &"x".repeat(70_000),
    ] {
        let answer = site.command(Command::KeyAdd {
            account: name("main"),
            duty: Duty::Move,
            scheme: Scheme::HmacSha256,
            api_key: "Another".to_owned(),
            sealed: sealed.to_owned(),
        });
        assert!(matches!(answer, Answer::Refused { .. }), "{answer:?}");
    }
}

#[test]
fn a_list_that_was_cut_says_nothing_about_what_is_missing() {
    let mut site = site();
    let (out, _) = site.order("one");
    let id = out[0].id;
    let part = |reports: Vec<Report>, more| Outcome {
        id,
        entry: out[0].entry,
        sent: Sent::MaybeSent,
        status: 0,
        reports,
        why: None,
        took_us: 1,
        more,
    };
    let now = site.now;
    let some = vec![Report::Unreadable; REPORTS_MAX / 2];
    let end = Report::OpenOrdersComplete {
        market: portcullis_model::action::MarketKind::Spot,
        symbol: None,
    };
    for _ in 0..10 {
        site.core().outcome(&part(some.clone(), true), now).unwrap();
    }
    assert_eq!(site.core().reports_kept, REPORTS_MAX);
    site.core().outcome(&part(vec![end], true), now).unwrap();
    let flight = &site.core().flights[&id];
    assert!(flight.is_cut && flight.reports.len() == REPORTS_MAX);
    site.core().outcome(&part(Vec::new(), false), now).unwrap();
    assert_eq!(site.core().reports_kept, 0);
}

#[test]
fn what_egress_took_with_it_leaves_its_lane_and_no_other() {
    let mut site = site_with(true);
    let payload = site.signed("symbol=BTCUSDT", site.at());
    let read = site.ask("GET", "/api/v3/openOrders", &payload, LOCAL);
    assert_eq!(read.0.len(), 1);
    // One is at egress; the others wait for their slow signatures, but for those that are quick.
    for n in 0..8 {
        site.order(&format!("o{n}"));
    }
    let count = |site: &mut Site, lane| site.core().in_lane.get(&lane).copied().unwrap_or(0);
    assert_eq!(
        (count(&mut site, Lane::Order), count(&mut site, Lane::Read)),
        (8, 1)
    );
    let waiting = u32::try_from(site.core().keyring.slow()).unwrap();
    assert!(waiting > 0);
    site.egress_gone();
    assert_eq!(
        (count(&mut site, Lane::Order), count(&mut site, Lane::Read)),
        (waiting, 0)
    );
}

#[test]
fn an_egress_that_ends_again_and_again_leaves_nothing_behind() {
    let mut site = site();
    for n in 0..20 {
        assert_eq!(site.order(&format!("o{n}")).0.len(), 1);
        site.egress_gone();
        assert!(site.core().lost.len() <= 2, "{}", site.core().lost.len());
        site.core().egress_started(&mut Turn::default());
        site.pass(2_000_000);
        site.turn();
    }
}

#[test]
fn a_halt_counts_with_a_venue_whose_clock_is_behind() {
    let mut site = site();
    let at = site.at();
    site.core().clock.measured("binance", at.as_ms() - 1_400, 0);
    let payload = site.signed(&format!("{ORDER}one"), at);
    let (out, told) = site.ask("POST", "/api/v3/order", &payload, LOCAL);
    assert_eq!((out.len(), told), (1, None));
    // It follows half a second; by the rest the order can come later than its window says.
    let until = site.core().flights[&out[0].id].until;
    assert!(until >= at.plus_us(1_900_000), "{until:?} {at:?}");
}

#[test]
fn a_log_that_fails_signs_nothing_more() {
    struct Broken(std::sync::atomic::AtomicBool);
    struct Segment(Arc<dyn log_file::Segment>, Arc<Broken>);
    impl log_file::Segment for Segment {
        fn write(&self, bytes: &[u8]) -> std::io::Result<usize> {
            match self.1.0.load(Ordering::SeqCst) {
                true => Err(std::io::Error::from(std::io::ErrorKind::ReadOnlyFilesystem)),
                false => self.0.write(bytes),
            }
        }
        fn sync_data(&self) -> std::io::Result<()> {
            self.0.sync_data()
        }
        fn length(&self) -> std::io::Result<u64> {
            self.0.length()
        }
        fn read_exact_at(&self, into: &mut [u8], at: u64) -> std::io::Result<()> {
            self.0.read_exact_at(into, at)
        }
    }
    struct Disk(Arc<Broken>);
    impl log_file::Disk for Disk {
        fn segment(&self, place: &std::path::Path) -> std::io::Result<Arc<dyn log_file::Segment>> {
            let real = log_file::FileSystem.segment(place)?;
            Ok(Arc::new(Segment(real, Arc::clone(&self.0))))
        }
        fn free_bytes(&self, _: &std::path::Path) -> std::io::Result<u64> {
            Ok(u64::MAX)
        }
    }
    let mut site = site();
    site.core.take().unwrap().close().unwrap();
    site.pass(500_000);
    let broken = Arc::new(Broken(false.into()));
    let disk = Arc::new(Disk(Arc::clone(&broken)));
    site.core = Some(open_on(&site.folder, site.now, false, disk).unwrap());
    assert_eq!(site.order("one").0.len(), 1);
    broken.0.store(true, Ordering::SeqCst);
    let payload = site.signed(&format!("{ORDER}two"), site.at());
    let mut turn = Turn::default();
    let api_key = site.api_key.clone();
    site.put(
        &api_key,
        "POST",
        "/api/v3/order",
        &payload,
        LOCAL,
        &mut turn,
    );
    let now = site.now;
    let failed = site.core().finish(&mut turn, now);
    assert!(matches!(failed, Err(CoreError::Log(_))), "{failed:?}");
    assert!(turn.to_egress.is_empty());
    // And once more, when the disk works again.
    broken.0.store(false, Ordering::SeqCst);
    let mut turn = Turn::default();
    let tick = site.core().tick(now, &mut turn);
    assert!(
        tick.and_then(|()| site.core().finish(&mut turn, now))
            .is_err()
    );
    drop(site.core.take());
    site.pass(500_000);
    site.core = Some(open(&site.folder, site.now, false).unwrap());
    assert_eq!(site.core().state.orders.len(), 1);
}

#[test]
fn a_release_that_is_not_what_the_log_names_refuses_to_start() {
    let mut site = site();
    site.core.take().unwrap().close().unwrap();
    let hash = portcullis_model::release::hash(&files());
    let place = site
        .folder
        .join("releases")
        .join(crate::releases::hex(&hash))
        .join("mandates.toml");
    let text = std::fs::read_to_string(&place).unwrap();
    std::fs::write(&place, text.replace("50000", "90000")).unwrap();
    let refused = open(&site.folder, site.now, false).err().unwrap();
    assert!(matches!(refused, CoreError::Release(_)), "{refused}");
    std::fs::write(&place, text).unwrap();
    assert!(open(&site.folder, site.now, false).is_ok());
}

#[test]
fn a_release_is_checked_before_it_is_recorded() {
    let mut site = site();
    let before = site.core().state.entries;
    for change in [
        ("authority.cedar", "wrong"),
        ("mandates.toml", "[firm]"),
        ("../x", ""),
    ] {
        let mut files = files();
        files.insert(change.0.to_owned(), change.1.to_owned());
        let answer = site.command(Command::Release { files });
        assert!(matches!(answer, Answer::Refused { .. }), "{answer:?}");
    }
    assert_eq!(site.core().state.entries, before);
    let mut tighter = files();
    tighter.insert("mandates.toml".to_owned(), MANDATES.replace("50000", "500"));
    site.done(Command::Release { files: tighter });
    assert!(site.order("a").1.unwrap().contains("limit 500"));
}

#[test]
fn a_sealed_gate_answers_that_the_exchange_is_not_available() {
    let mut site = site();
    site.core().keyring = Keyring::default();
    let (sent, told) = site.order("one");
    assert!(sent.is_empty() && told.unwrap().starts_with("503"));
    site.core().site_secret = None;
    site.core().checkers = Checkers::default();
    assert!(site.order("two").1.unwrap().starts_with("503"));
}

#[test]
fn a_canary_alarms_and_tells_the_thief_nothing() {
    let mut site = site();
    let (api_key, secret) = site.issue("quoter", true);
    site.core().events.take();
    let before = site.core().state.entries;
    let payload = sign_as(&secret, &format!("{ORDER}x"), site.at());
    let (sent, told) = site.ask_as(&api_key, "POST", "/api/v3/order", &payload, [10, 9, 8, 7]);
    assert!(sent.is_empty());
    let unknown = site
        .ask_as("nobody", "POST", "/api/v3/order", &payload, [10, 9, 8, 7])
        .1;
    assert_eq!(told, unknown);
    assert_eq!(site.core().state.entries, before + 1);
    let lines = site.core().events.take();
    assert!(
        lines.iter().any(|line| line.contains("\"alert\":true")
            && line.contains("canary")
            && line.contains("10.9.8.7")),
        "{lines:?}"
    );
    // A wrong signature is no proof that it was read.
    let (_, _) = site.ask_as(
        &api_key,
        "POST",
        "/api/v3/order",
        &payload.replace("0.1", "0.2"),
        LOCAL,
    );
    assert!(
        site.core()
            .events
            .take()
            .iter()
            .all(|line| !line.contains("canary"))
    );
}

#[test]
fn requests_of_another_run_of_ingress_are_dropped() {
    let mut site = site();
    site.core().ingress_started(2);
    let (sent, told) = site.order("a");
    assert!(sent.is_empty() && told.is_none());
    assert_eq!(site.core().metrics.foreign_frames, 1);
}

#[test]
fn a_full_way_to_the_venue_refuses_before_anything_is_recorded() {
    let mut site = site();
    let mut sent = 0;
    let mut last = None;
    for n in 0..LINK_FRAMES_MAX + 1 {
        let payload = site.signed(&format!("{}{n}", ORDER.replace("0.1", "0.001")), site.at());
        let before = site.core().state.entries;
        let (out, told) = site.ask("POST", "/api/v3/order", &payload, LOCAL);
        if let Some(told) = told {
            assert_eq!(site.core().state.entries, before, "{told}");
            assert!(told.starts_with("503"), "{told}");
        }
        sent += out.len() as u32;
        last = out.into_iter().next().or(last);
        site.pass(2_000);
    }
    assert_eq!(sent, LINK_FRAMES_MAX);
    let cancel = site.signed("symbol=BTCUSDT&origClientOrderId=1", site.at());
    assert_eq!(
        site.ask("DELETE", "/api/v3/order", &cancel, LOCAL).0.len(),
        1,
        "cancels have a lane of their own"
    );
    site.answer(&last.unwrap(), Sent::NotSent, 0, Vec::new());
    assert_eq!(site.order("again").0.len(), 1);
    site.egress_gone();
    assert!(site.order("gone").1.unwrap().starts_with("503"));
}

#[test]
fn after_a_jump_of_the_clock_nothing_passes_until_it_is_confirmed() {
    let mut site = site();
    site.now.wall_us += 6_000_000;
    let (sent, told) = site.order("a");
    assert!(sent.is_empty() && told.unwrap().contains("clock jumped"));
    site.done(Command::ConfirmTime {
        reason: "looked at my watch".into(),
    });
    site.pass(1_000_000);
    site.price();
    assert_eq!(site.order("b").0.len(), 1);
    // A step back: time stands still, and what is stamped by it is judged by the time before.
    site.now.wall_us -= 20_000_000;
    site.now.boot_us += 1_000;
    assert!(site.order("c").1.unwrap().contains("-1021"));
}

#[test]
fn the_venues_time_is_stamped_and_judged_by() {
    let mut site = site();
    let ahead = 300;
    site.pass(10_000_001);
    let turn = site.turn();
    let out = sends(&turn.to_egress)
        .into_iter()
        .find(|out| out.target.contains("/time"))
        .unwrap();
    let time_ms = site.at().as_ms() + ahead;
    site.answer(&out, Sent::Sent, 200, vec![Report::VenueTime { time_ms }]);
    let payload = site.signed(&format!("{ORDER}t"), site.at().plus_us(ahead * 1_000));
    let (sent, _) = site.ask("POST", "/api/v3/order", &payload, LOCAL);
    let stamped = sent[0]
        .body
        .split("timestamp=")
        .nth(1)
        .unwrap()
        .split('&')
        .next()
        .unwrap();
    assert!(
        stamped.parse::<u64>().unwrap().abs_diff(time_ms) <= 1,
        "{stamped} {time_ms}"
    );
}

#[test]
fn an_order_whose_answer_is_lost_is_asked_for_until_its_fate_is_known() {
    let mut site = site();
    let out = site.order("lost").0.remove(0);
    site.answer(&out, Sent::MaybeSent, 0, Vec::new());
    assert_eq!(site.core().state.orders.len(), 1, "it stays reserved");
    site.pass(own::RESOLVE_EVERY_US);
    site.turn();
    site.pass(crate::resolver::SETTLED_AFTER_US);
    let turn = site.turn();
    let asked = sends(&turn.to_egress)
        .into_iter()
        .find(|out| out.target.contains("/api/v3/order?"))
        .expect("the resolver asks");
    assert_eq!(asked.api_key, "RealReadKey");
    assert!(asked.target.contains("origClientOrderId=lost") && asked.entry.is_some());
    site.answer(
        &asked,
        Sent::Sent,
        200,
        vec![order_report(7, "lost", OrderStatus::Filled, "0.1")],
    );
    assert!(site.core().state.orders.is_empty());
    let levels = site.core().state.levels(QUOTER, AccountId(1));
    let usage = site
        .core()
        .state
        .usage
        .get(levels[3].as_ref().unwrap())
        .unwrap()
        .clone();
    assert_eq!(
        usage.holdings[&market("BTCUSDT")].base,
        "0.1".parse().unwrap()
    );
}

#[test]
fn an_order_that_never_arrived_is_let_go() {
    let mut site = site();
    let out = site.order("never").0.remove(0);
    site.answer(&out, Sent::MaybeSent, 0, Vec::new());
    site.pass(own::RESOLVE_EVERY_US);
    site.turn();
    site.pass(crate::resolver::SETTLED_AFTER_US);
    let turn = site.turn();
    let asked = sends(&turn.to_egress)
        .into_iter()
        .find(|out| out.target.contains("/api/v3/order?"))
        .unwrap();
    site.answer(&asked, Sent::Sent, 400, vec![Report::NoSuchOrder]);
    assert!(site.core().state.orders.is_empty());
}

#[test]
fn an_answer_in_parts_is_folded_once_it_is_whole() {
    let mut site = site();
    let out = site.order("a").0.remove(0);
    let part = |reports, more| Outcome {
        id: out.id,
        entry: out.entry,
        sent: Sent::Sent,
        status: 200,
        reports,
        why: None,
        took_us: 1,
        more,
    };
    let now = site.now;
    let before = site.core().state.entries;
    site.core()
        .outcome(
            &part(vec![order_report(1, "a", OrderStatus::Open, "0.01")], true),
            now,
        )
        .unwrap();
    assert_eq!(site.core().state.entries, before);
    site.core().outcome(&part(Vec::new(), false), now).unwrap();
    assert_eq!(site.core().state.entries, before + 1);
    assert_eq!(
        site.core().state.orders.values().next().unwrap().executed,
        "0.01".parse().unwrap()
    );
    // Once more, or for another entry: nothing.
    site.core()
        .outcome(
            &part(
                vec![order_report(1, "a", OrderStatus::Filled, "0.1")],
                false,
            ),
            now,
        )
        .unwrap();
    assert_eq!(site.core().state.entries, before + 1);
}

#[test]
fn prices_come_from_the_gates_own_polling_alone() {
    let mut site = site();
    let before = site.core().state.prices.clone();
    let payload = site.signed("recvWindow=5000", site.at());
    let out = site
        .ask("GET", "/api/v3/account", &payload, LOCAL)
        .0
        .remove(0);
    let lie = Report::Price {
        symbol: "BTCUSDT".into(),
        price: "1".parse().unwrap(),
        market: MarketKind::Spot,
    };
    site.answer(&out, Sent::Sent, 200, vec![lie]);
    assert_eq!(site.core().state.prices, before);
}

#[test]
fn public_data_goes_unsigned_from_bound_sources_only() {
    let mut site = site();
    let before = site.core().state.entries;
    let (sent, _) = site.ask_as("", "GET", "/api/v3/depth", "symbol=BTCUSDT", LOCAL);
    assert_eq!(
        (sent[0].lane, sent[0].entry, sent[0].api_key.as_str()),
        (Lane::Public, None, "")
    );
    let (sent, told) = site.ask_as("", "GET", "/api/v3/depth", "symbol=BTCUSDT", [10, 0, 0, 1]);
    assert!(sent.is_empty() && told.is_some());
    assert_eq!(site.core().state.entries, before);
}

#[test]
fn commands_are_confirmed_only_once_they_survive_a_loss_of_power() {
    let mut site = site();
    let mut turn = Turn::default();
    let now = site.now;
    let add = Command::AccountAdd {
        name: name("second"),
        venue: name("binance"),
    };
    site.core()
        .command(3, "me", add.clone(), now, &mut turn)
        .unwrap();
    assert!(site.core().answers().is_empty(), "not even written");
    site.core().finish(&mut turn, now).unwrap();
    let entry = site.core().state.entries - 1;
    loop {
        let synced = site.core().log.synced();
        if let Some((_, answer)) = site.core().answers().pop() {
            assert!(matches!(answer, Answer::Done { entry: e } if e.0 == entry));
            break;
        }
        assert!(synced <= entry);
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    assert!(matches!(site.command(add), Answer::Refused { code, .. } if code == "exists"));
}

#[test]
fn the_metrics_page_counts() {
    let mut site = site();
    site.order("a");
    let text = site.core().metrics_text();
    assert!(
        text.contains("portcullis_signer_approved_total{lane=\"order\"} 1"),
        "{text}"
    );
    assert!(text.contains("portcullis_signer_keys_open 2"));
}

// ------------------------------------------------------------------------------------------------------------ WebSocket

/// The parameters with time, and with key and signature if there is a secret.
fn frame(method: &str, params: &str, at: Timestamp, signs: Option<(&str, &str)>) -> String {
    let mut all: Vec<(String, String)> = params
        .split('&')
        .filter(|part| !part.is_empty())
        .map(|part| part.split_once('=').unwrap())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    all.push(("timestamp".to_owned(), at.as_ms().to_string()));
    if let Some((api_key, secret)) = signs {
        all.push(("apiKey".to_owned(), api_key.to_owned()));
        all.sort();
        let parts: Vec<String> = all.iter().map(|(n, v)| format!("{n}={v}")).collect();
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let tag = hmac::sign(&key, parts.join("&").as_bytes());
        all.push(("signature".to_owned(), crate::releases::hex(tag.as_ref())));
    }
    let params: serde_json::Map<String, serde_json::Value> = all
        .into_iter()
        .map(|(name, value)| match name.as_str() {
            "timestamp" => (name, value.parse::<u64>().unwrap().into()),
            _ => (name, value.into()),
        })
        .collect();
    json!({ "id": "mine", "method": method, "params": params }).to_string()
}

const FRAME_ORDER: &str = "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.01&price=60000&newClientOrderId=";

impl Site {
    /// One frame of a WebSocket, one turn.
    fn says(&mut self, connection: u64, body: &str) -> (Vec<Sends>, Option<String>) {
        self.seq += 1;
        let (seq, now) = (self.seq, self.now);
        let mut turn = Turn::default();
        let request = Request {
            id: RequestId { epoch: 1, seq },
            connection,
            host: "ws-api.binance.com",
            source: (&LOCAL[..]).into(),
            method: "WS",
            target: (&b"/ws-api/v3"[..]).into(),
            headers: Vec::new(),
            body: body.as_bytes().into(),
        };
        self.core().request(&request, now, &mut turn).unwrap();
        self.core().finish(&mut turn, now).unwrap();
        (sends(&turn.to_egress), told(&turn))
    }

    fn signed_frame(&mut self, method: &str, params: &str) -> String {
        let (api_key, secret) = (self.api_key.clone(), self.secret.clone());
        frame(method, params, self.at(), Some((&api_key, &secret)))
    }

    fn bare_frame(&mut self, method: &str, params: &str) -> String {
        frame(method, params, self.at(), None)
    }
}

#[test]
fn a_frame_is_verified_decided_recorded_signed_and_sent() {
    let mut site = site();
    let before = site.core().state.entries;
    let text = site.signed_frame("order.place", &format!("{FRAME_ORDER}one"));
    let (sent, told) = site.says(7, &text);
    assert_eq!(told, None);
    let out = &sent[0];
    assert_eq!((&*out.method, &*out.target), ("WS", "/ws-api/v3"));
    assert_eq!((out.lane, out.entry), (Lane::Order, Some(EntryId(before))));
    assert_eq!(site.core().state.orders.len(), 1);
    assert!(
        !out.body.contains(&site.api_key) && !out.body.contains("mine"),
        "{out:?}"
    );
    let frame: serde_json::Value = serde_json::from_str(&out.body).unwrap();
    let params = frame["params"].as_object().unwrap();
    assert_eq!(
        (&frame["method"], &params["recvWindow"]),
        (&json!("order.place"), &json!(1_000))
    );
    let mut parts: Vec<String> = params
        .iter()
        .filter(|(name, _)| *name != "signature")
        .map(|(name, value)| match value.as_str() {
            Some(text) => format!("{name}={text}"),
            None => format!("{name}={value}"),
        })
        .collect();
    parts.sort();
    assert!(
        parts.contains(&"apiKey=RealTradeKey".to_owned()),
        "{parts:?}"
    );
    let tag = hmac::sign(
        &hmac::Key::new(hmac::HMAC_SHA256, REAL),
        parts.join("&").as_bytes(),
    );
    assert_eq!(params["signature"], crate::releases::hex(tag.as_ref()));
    // The same again is not sent again, and another's signature is nobody's.
    let (sent, told) = site.says(8, &text);
    assert!(sent.is_empty() && told.unwrap().starts_with("504 "));
    let other = text.replace("60000", "60001");
    let (sent, told) = site.says(7, &other);
    assert!(sent.is_empty() && told.unwrap().contains("-1022"));
    // What the venue says of it settles it, as over HTTP.
    let out = out.clone();
    let report = order_report(5, "one", OrderStatus::Filled, "0.01");
    site.answer(&out, Sent::Sent, 200, vec![report]);
    assert!(site.core().state.orders.is_empty());
}

#[test]
fn after_a_logon_frames_of_that_connection_are_that_keys() {
    let mut site = site();
    let bare = site.bare_frame("order.place", &format!("{FRAME_ORDER}one"));
    let (sent, told) = site.says(7, &bare);
    assert!(sent.is_empty() && told.unwrap().contains("log on"));
    let status = r#"{"id":1,"method":"session.status"}"#;
    assert!(site.says(7, status).1.unwrap().contains(r#""apiKey":null"#));
    let logon = site.signed_frame("session.logon", "");
    let entries = site.core().state.entries;
    let (sent, told) = site.says(7, &logon);
    let (told, api_key) = (told.unwrap(), site.api_key.clone());
    assert!(
        sent.is_empty() && told.starts_with("200 ") && told.contains(&api_key),
        "{told}"
    );
    assert_eq!(site.core().state.entries, entries, "nothing was signed");
    assert!(site.says(7, status).1.unwrap().contains(&api_key));
    assert!(site.says(8, status).1.unwrap().contains(r#""apiKey":null"#));
    let (sent, told) = site.says(7, &bare);
    assert_eq!((sent.len(), told), (1, None));
    assert!(sent[0].body.contains("RealTradeKey") && sent[0].body.contains("\"signature\""));
    assert_eq!(site.core().state.orders.len(), 1);
    // Not twice, and not by another connection; nor does a logon that somebody saw log on.
    let (sent, told) = site.says(7, &bare);
    assert!(sent.is_empty() && told.unwrap().starts_with("504 "));
    let next = site.bare_frame("order.place", &format!("{FRAME_ORDER}two"));
    assert!(site.says(8, &next).1.unwrap().contains("log on"));
    assert!(site.says(8, &logon).1.unwrap().contains("seen before"));
    assert!(site.says(8, &next).1.unwrap().contains("log on"));
    // Logged out, and gone.
    site.says(7, r#"{"id":1,"method":"session.logout"}"#);
    assert!(site.says(7, &next).1.unwrap().contains("log on"));
    site.pass(1_000);
    let logon = site.signed_frame("session.logon", "");
    site.says(7, &logon);
    site.core().connection_gone(7);
    assert!(site.says(7, &next).1.unwrap().contains("log on"));
}

#[test]
fn a_key_works_at_its_accounts_venue_alone() {
    let mut site = site();
    let (query, at) = ("accountType=UNIFIED", site.at().as_ms());
    let text = format!("{at}{}5000{query}", site.api_key);
    let tag = hmac::sign(
        &hmac::Key::new(hmac::HMAC_SHA256, site.secret.as_bytes()),
        text.as_bytes(),
    );
    let (tag, at) = (crate::releases::hex(tag.as_ref()), at.to_string());
    let api_key = site.api_key.clone();
    let target = format!("/v5/account/wallet-balance?{query}");
    let headers = [
        ("x-bapi-api-key", api_key.as_str()),
        ("x-bapi-timestamp", &at),
        ("x-bapi-recv-window", "5000"),
        ("x-bapi-sign", &tag),
    ];
    site.seq += 1;
    let (seq, now) = (site.seq, site.now);
    let mut turn = Turn::default();
    let request = Request {
        id: RequestId { epoch: 1, seq },
        connection: 1,
        host: "api.bybit.com",
        source: (&LOCAL[..]).into(),
        method: "GET",
        target: target.as_bytes().into(),
        headers: headers
            .iter()
            .map(|(name, value)| Header {
                name,
                value: value.as_bytes().into(),
            })
            .collect(),
        body: (&b""[..]).into(),
    };
    site.core().request(&request, now, &mut turn).unwrap();
    site.core().finish(&mut turn, now).unwrap();
    let told = told(&turn).unwrap();
    assert!(
        sends(&turn.to_egress).is_empty() && told.contains("at another venue"),
        "{told}"
    );
    assert!(
        told.contains("retCode"),
        "in the words of where it asked: {told}"
    );
}

#[test]
fn a_token_of_the_venue_asked_for_over_rest_is_no_logon() {
    let mut site = site();
    let payload = site.signed("symbol=BTCUSDT", site.at());
    let (sent, told) = site.ask("POST", "/sapi/v1/userListenToken", &payload, LOCAL);
    let told = told.unwrap();
    assert!(
        sent.is_empty() && told.contains("works without the gate"),
        "{told}"
    );
    assert_eq!(site.core().metrics.sessions, 0);
}

#[test]
fn a_session_ends_with_its_key_and_with_the_run_of_ingress() {
    let mut site = site();
    let logon = site.signed_frame("session.logon", "");
    site.says(7, &logon);
    site.core().ingress_started(1);
    let bare = site.bare_frame("order.place", &format!("{FRAME_ORDER}one"));
    assert!(site.says(7, &bare).1.unwrap().contains("log on"));
    site.pass(1_000);
    let logon = site.signed_frame("session.logon", "");
    site.says(7, &logon);
    let mut turn = Turn::default();
    let now = site.now;
    let key = *site.core().state.by_api_key.values().next().unwrap();
    site.core().close_connections(&[key], &mut turn);
    let closes: Vec<Close> = frames(&turn.to_ingress)
        .into_iter()
        .filter(|(kind, _)| *kind == kind::CLOSE)
        .map(|(_, cbor)| wire::message(&cbor).unwrap())
        .collect();
    assert_eq!(closes[0].connections, [7]);
    assert!(site.says(7, &bare).1.unwrap().contains("log on"));
    let _ = now;
}

#[test]
fn a_streams_events_settle_orders_until_it_ends() {
    let mut site = site();
    let subscribe = site.signed_frame("userDataStream.subscribe.signature", "");
    let (sent, told) = site.says(7, &subscribe);
    assert_eq!((sent.len(), told), (1, None));
    let stream = sent[0].clone();
    assert!(stream.body.contains("RealReadKey"), "{stream:?}");
    site.order("one");
    assert_eq!(site.core().state.orders.len(), 1);
    let event = |ended, reports| wire::Told {
        id: stream.id,
        reports,
        ended,
    };
    let report = |executed, status| order_report(5, "one", status, executed);
    let now = site.now;
    let filled = event(false, vec![report("0.01", OrderStatus::Filled)]);
    // Nobody's stream yet: its answer has not come.
    site.core().told(&filled, now).unwrap();
    assert_eq!(site.core().state.orders.len(), 1);
    let status = r#"{"id":1,"method":"session.status"}"#;
    let has = |site: &mut Site, connection, says: &str| {
        let told = site.says(connection, status).1.unwrap();
        assert!(told.contains(says), "{told}");
    };
    has(&mut site, 7, r#""userDataStream":false"#);
    site.answer(&stream, Sent::Sent, 200, Vec::new());
    assert!(site.core().has_streams());
    has(&mut site, 7, r#""userDataStream":true"#);
    has(&mut site, 8, r#""userDataStream":false"#);
    let entries = site.core().state.entries;
    let part = event(false, vec![report("0.004", OrderStatus::Open)]);
    site.core().told(&part, now).unwrap();
    assert_eq!(site.core().state.orders.len(), 1);
    assert_eq!(site.core().state.entries, entries + 1);
    // The same again changes nothing, and is no entry.
    site.core().told(&part, now).unwrap();
    assert_eq!(site.core().state.entries, entries + 1);
    site.core().told(&filled, now).unwrap();
    assert!(site.core().state.orders.is_empty());
    site.core().told(&event(true, Vec::new()), now).unwrap();
    assert!(!site.core().has_streams());
    has(&mut site, 7, r#""userDataStream":false"#);
}

const SUBSCRIBE: &str = r#"{"method":"SUBSCRIBE","params":["btcusdt@trade"],"id":"mine"}"#;

impl Site {
    /// A frame of a program on its pipe; an empty one is the handshake. What goes to egress, the answer, and which pipes end.
    fn pipes(
        &mut self,
        connection: u64,
        body: &str,
        source: [u8; 4],
    ) -> (Vec<Sends>, Option<String>) {
        let place = ("stream.binance.com", "/ws/ethusdt@trade");
        self.pipes_at(place, connection, body, source)
    }

    fn pipes_at(
        &mut self,
        (host, target): (&str, &str),
        connection: u64,
        body: &str,
        source: [u8; 4],
    ) -> (Vec<Sends>, Option<String>) {
        self.seq += 1;
        let (seq, now) = (self.seq, self.now);
        let mut turn = Turn::default();
        let request = Request {
            id: RequestId { epoch: 1, seq },
            connection,
            host,
            source: (&source[..]).into(),
            method: "WS",
            target: target.as_bytes().into(),
            headers: Vec::new(),
            body: body.as_bytes().into(),
        };
        self.core().request(&request, now, &mut turn).unwrap();
        self.core().finish(&mut turn, now).unwrap();
        (sends(&turn.to_egress), told(&turn))
    }

    fn opens(&mut self, connection: u64) -> Sends {
        let (sent, told) = self.pipes(connection, "", LOCAL);
        assert_eq!(told, None);
        sent.into_iter().next().unwrap()
    }
}

#[test]
fn a_pipes_frames_go_by_the_pipe_that_its_connection_opened() {
    let mut site = site();
    let entries = site.core().state.entries;
    let told = site.pipes(7, SUBSCRIBE, LOCAL).1.unwrap();
    assert!(told.contains("open it anew"), "{told}");
    let (one, other) = (site.opens(7), site.opens(8));
    assert_eq!((one.pipe, other.pipe), (Some(one.id), Some(other.id)));
    assert_eq!(
        (&*one.method, &*one.target, &*one.body, one.entry),
        ("WS", "/ws/ethusdt@trade", "", None)
    );
    let (sent, told) = site.pipes(8, SUBSCRIBE, LOCAL);
    assert_eq!((sent[0].pipe, told), (Some(other.id), None));
    assert!(sent[0].body.contains(r#""id":"mine""#), "{sent:?}");
    // Ingress may lie about where a pipe was opened: what follows is for that place alone.
    for place in [
        ("stream.binance.com", "/ws"),
        ("fstream.binance.com", "/ws/ethusdt@trade"),
    ] {
        let (sent, told) = site.pipes_at(place, 8, SUBSCRIBE, LOCAL);
        assert!(sent.is_empty() && told.is_some(), "{place:?}");
    }
    // What could be a key, and what is not from where a key may be used, goes nowhere.
    let key = SUBSCRIBE.replace("btcusdt@trade", &"k".repeat(64));
    let (sent, told) = site.pipes(8, &key, LOCAL);
    assert!(sent.is_empty() && told.is_some());
    let (sent, told) = site.pipes(9, "", [10, 9, 9, 9]);
    assert!(sent.is_empty() && told.unwrap().contains("this address"));
    // One pipe a connection, until it has gone.
    assert!(site.pipes(7, "", LOCAL).0.is_empty());
    site.core().connection_gone(7);
    assert!(site.pipes(7, SUBSCRIBE, LOCAL).0.is_empty());
    let again = site.opens(7);
    assert_ne!(again.id, one.id);
    // Public data is not recorded.
    assert_eq!(site.core().state.entries, entries);
}

#[test]
fn a_pipe_is_forgotten_when_there_is_none() {
    let mut site = site();
    let refused = site.opens(7);
    site.answer(&refused, Sent::Sent, 400, Vec::new());
    assert!(site.pipes(7, SUBSCRIBE, LOCAL).0.is_empty());
    let failed = site.opens(7);
    site.answer(&failed, Sent::NotSent, 0, Vec::new());
    assert!(site.pipes(7, SUBSCRIBE, LOCAL).0.is_empty());
    let open = site.opens(7);
    site.answer(&open, Sent::Sent, 101, Vec::new());
    assert_eq!(site.pipes(7, SUBSCRIBE, LOCAL).0.len(), 1);
    let mut turn = Turn::default();
    site.core().egress_gone(&mut turn);
    site.core().egress_started(&mut turn);
    assert!(site.pipes(7, SUBSCRIBE, LOCAL).0.is_empty());
    let open = site.opens(7);
    site.core().ingress_started(1);
    assert!(site.pipes(7, SUBSCRIBE, LOCAL).0.is_empty());
    let _ = open;
}

#[test]
fn pipes_end_where_no_key_may_come_from_any_more() {
    let mut site = site();
    let pipe = site.opens(7);
    site.answer(&pipe, Sent::Sent, 101, Vec::new());
    let key = *site.core().state.by_api_key.values().next().unwrap();
    let (entry, at) = (site.core().log.next(), site.core().clock.now());
    site.core()
        .state
        .apply(entry, at, &[Effect::VirtualKeyRevoked { id: key }]);
    let mut turn = Turn::default();
    site.core().close_connections(&[key], &mut turn);
    let left: Vec<wire::Leave> = frames(&turn.to_egress)
        .into_iter()
        .filter(|(kind, _)| *kind == kind::LEAVE)
        .map(|(_, cbor)| wire::message(&cbor).unwrap())
        .collect();
    assert_eq!(left.iter().map(|it| it.id).collect::<Vec<_>>(), [pipe.id]);
    assert!(site.pipes(7, SUBSCRIBE, LOCAL).0.is_empty());
}

#[test]
fn nobody_logs_on_at_a_venue_by_a_pipe_unless_the_site_said_so() {
    let mut site = site();
    let key = *site.core().state.by_api_key.values().next().unwrap();
    let known = site.core().state.virtual_keys.get(&key).unwrap();
    let caller = Caller {
        strategy: known.strategy,
        virtual_key: key,
        account: known.account,
        source: std::net::IpAddr::from(LOCAL),
    };
    site.opens(7);
    let stream = 2;
    assert!(site.core().may_log_on(&caller, stream, 7).is_err());
    let account = site.core().state.accounts.get(&caller.account).unwrap();
    let sessions = format!("sessions = [\"{}\"]\n", account.name);
    for (text, permits) in [("sessions = [\"another\"]\n", false), (&*sessions, true)] {
        let mut more = files();
        more.get_mut("hosts.toml").unwrap().push_str(text);
        site.done(Command::Release { files: more });
        // At that host alone, and no second time on a connection.
        assert_eq!(site.core().may_log_on(&caller, stream, 7).is_ok(), permits);
        assert!(site.core().may_log_on(&caller, 1, 7).is_err());
    }
}

#[test]
fn a_websocket_is_closed_with_its_key_whatever_came_after_it() {
    let mut site = site();
    let subscribe = site.signed_frame("userDataStream.subscribe.signature", "");
    assert_eq!(site.says(7, &subscribe).0.len(), 1);
    let key = *site.core().state.by_api_key.values().next().unwrap();
    // A stream is heard without a request of its own, so requests by many other connections must not push it out.
    for connection in 1_000..1_000 + 2 * CONNECTIONS_MAX as u64 {
        let noted = site.core().connections.get_mut(&key).unwrap();
        assert_eq!(noted.note(connection, false), None);
    }
    let closed = |site: &mut Site| -> Vec<u64> {
        let mut turn = Turn::default();
        site.core().close_connections(&[key], &mut turn);
        frames(&turn.to_ingress)
            .into_iter()
            .filter(|(kind, _)| *kind == kind::CLOSE)
            .flat_map(|(_, cbor)| wire::message::<Close>(&cbor).unwrap().connections)
            .collect()
    };
    let all = closed(&mut site);
    assert!(
        all.contains(&7) && all.len() == CONNECTIONS_MAX + 1,
        "{all:?}"
    );
    // One WebSocket more than can be remembered ends the oldest; one that has ended makes room.
    let mut turn = Turn::default();
    for connection in 0..=CONNECTIONS_MAX as u64 {
        let noted = site.core().connections.entry(key).or_default();
        let pushed_out = noted.note(connection, true);
        assert_eq!(pushed_out.is_some(), connection == CONNECTIONS_MAX as u64);
        if let Some(pushed_out) = pushed_out {
            assert_eq!(pushed_out, 0);
            close(&mut turn, vec![pushed_out]);
        }
    }
    site.core().connection_gone(5);
    let noted = site.core().connections.get_mut(&key).unwrap();
    assert_eq!(noted.note(9_999, true), None);
    let all = closed(&mut site);
    assert!(all.contains(&9_999) && !all.contains(&5) && !all.contains(&0));
    assert_eq!(all.len(), CONNECTIONS_MAX);
}

#[test]
fn streams_that_egress_never_ends_fill_no_memory() {
    let mut site = site();
    let subscribe = site.signed_frame("userDataStream.subscribe.signature", "");
    let stream = site.says(7, &subscribe).0[0].clone();
    let caller = site.core().flights[&stream.id].caller.unwrap();
    for seq in 0..STREAMS_MAX as u64 {
        let id = RequestId { epoch: 9, seq };
        let stream = session::Stream {
            entry: EntryId(0),
            caller,
            connection: 7,
        };
        site.core().streams.insert(id, stream);
    }
    site.answer(&stream, Sent::Sent, 200, Vec::new());
    assert_eq!(site.core().streams.len(), STREAMS_MAX);
    let told = wire::Told {
        id: stream.id,
        reports: Vec::new(),
        ended: false,
    };
    let (now, foreign) = (site.now, site.core().metrics.foreign_frames);
    site.core().told(&told, now).unwrap();
    assert_eq!(site.core().metrics.foreign_frames, foreign + 1);
}

#[test]
fn the_gate_listens_itself_to_what_becomes_of_open_orders() {
    let mut site = site();
    let asked = |site: &mut Site| -> Vec<Sends> {
        site.turn();
        std::mem::take(&mut site.asked)
            .into_iter()
            .filter(|out| out.body.contains("userDataStream.subscribe.signature"))
            .collect()
    };
    site.pass(1_000_000);
    assert!(asked(&mut site).is_empty(), "nothing to hear of");
    site.order("one");
    site.pass(1_000_000);
    let stream = asked(&mut site).pop().unwrap();
    assert_eq!((stream.id.epoch, stream.lane), (0, Lane::Operator));
    assert!(stream.body.contains("RealReadKey"), "{stream:?}");
    site.answer(&stream, Sent::Sent, 200, Vec::new());
    let told = |site: &mut Site, ended, reports| {
        let told = wire::Told {
            id: stream.id,
            reports,
            ended,
        };
        let now = site.now;
        site.core().told(&told, now).unwrap();
    };
    assert_eq!(site.core().state.orders.len(), 1);
    let filled = order_report(5, "one", OrderStatus::Filled, "0.01");
    told(&mut site, false, vec![filled]);
    assert!(site.core().state.orders.is_empty());
    // One is enough for an account, until it ends, and then not at once again.
    site.order("two");
    site.pass(1_000_000);
    assert!(asked(&mut site).is_empty());
    told(&mut site, true, Vec::new());
    site.pass(1_000_000);
    assert!(asked(&mut site).is_empty());
    site.pass(own::LISTEN_AGAIN_US);
    assert_eq!(asked(&mut site).len(), 1);
}

#[test]
fn who_has_logged_on_to_a_pipe_loses_it_with_the_key_and_with_the_release() {
    for ends in ["release", "lock", "gone", "key"] {
        let mut site = site();
        let key = *site.core().state.by_api_key.values().next().unwrap();
        let account = site.core().state.virtual_keys[&key].account;
        let caller = Caller {
            strategy: site.core().state.virtual_keys[&key].strategy,
            virtual_key: key,
            account,
            source: std::net::IpAddr::from(LOCAL),
        };
        let (pipe, plain) = (site.opens(7), site.opens(8));
        for opened in [&pipe, &plain] {
            site.answer(opened, Sent::Sent, 101, Vec::new());
        }
        let super::KeyChoice::Open(real) = site.core().key_for(account, Duty::Trade) else {
            panic!("no trade key");
        };
        site.core().pipe_logs_on(7, caller, real, EntryId(0));
        assert_eq!(site.core().pipes.key(7), Some(real));
        assert_eq!(site.core().sessions.key(7), Some(key));
        match ends {
            "release" => {
                let mut more = files();
                let mandates = more.get_mut("mandates.toml").unwrap();
                mandates.push_str("[firm.markets.\"ETH*\"]\n");
                site.done(Command::Release { files: more });
            }
            "lock" => site.core().close_connections(&[key], &mut Turn::default()),
            "key" => {
                let account = site.core().state.accounts[&account].name.clone();
                let api_key = site.core().state.keys[&real].api_key.clone();
                site.done(Command::KeyRemove { account, api_key });
            }
            _ => site.core().connection_gone(7),
        }
        assert_eq!(site.core().pipes.key(7), None, "{ends}");
        assert_eq!(site.core().sessions.key(7), None, "{ends}");
        assert!(!site.core().has_streams(), "{ends}");
        // What is public goes on.
        assert_eq!(site.pipes(8, SUBSCRIBE, LOCAL).0.len(), 1, "{ends}");
    }
}

#[test]
fn the_same_words_log_on_once_at_each_place() {
    let mut site = site();
    site.done(Command::AccountAdd {
        name: name("far"),
        venue: name("bybit"),
    });
    site.done(Command::KeyAdd {
        account: name("far"),
        duty: Duty::Trade,
        scheme: Scheme::HmacSha256,
        api_key: "RealFarKey".to_owned(),
        sealed: "keys/far.age".to_owned(),
    });
    let keys = &site.core().state.keys;
    let (real, _) = keys
        .iter()
        .find(|(_, k)| k.api_key == "RealFarKey")
        .unwrap();
    let real = *real;
    let keyring = &mut site.core().keyring;
    keyring
        .open(real, "RealFarKey", Scheme::HmacSha256, REAL)
        .unwrap();
    let (api_key, secret) = site.issue_for("far", "quoter", false);
    let mut files = files();
    files.get_mut("hosts.toml").unwrap().push_str(
        "[[host]]\nvenue = \"bybit\"\nname = \"stream.bybit.com\"\npublic_roots = true\nweight_per_minute = 6000\norders_per_10s = 100\nsessions = [\"far\"]\n",
    );
    files.insert(
        "markets/bybit.json".to_owned(),
        r#"[{"symbol":"BTCUSDT","base":"BTC","quote":"USDT"}]"#.to_owned(),
    );
    site.done(Command::Release { files });
    site.pass(11_000_000);
    let until = site.at().as_ms() + 10_000;
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let tag =
        crate::releases::hex(hmac::sign(&key, format!("GET/realtime{until}").as_bytes()).as_ref());
    let logon = format!(r#"{{"op":"auth","args":["{api_key}",{until},"{tag}"]}}"#);
    let says = |site: &mut Site, connection, target: &str, body: &str| {
        site.seq += 1;
        let (seq, now) = (site.seq, site.now);
        let mut turn = Turn::default();
        let request = Request {
            id: RequestId { epoch: 1, seq },
            connection,
            host: "stream.bybit.com",
            source: (&LOCAL[..]).into(),
            method: "WS",
            target: target.as_bytes().into(),
            headers: Vec::new(),
            body: body.as_bytes().into(),
        };
        site.core().request(&request, now, &mut turn).unwrap();
        site.core().finish(&mut turn, now).unwrap();
        (sends(&turn.to_egress), told(&turn))
    };
    for (connection, target, why) in [
        (7, "/v5/trade", None),
        (8, "/v5/private", None),
        (9, "/v5/trade", Some("seen before")),
    ] {
        let (opened, told) = says(&mut site, connection, target, "");
        assert_eq!(told, None);
        site.answer(&opened[0], Sent::Sent, 101, Vec::new());
        let (sent, told) = says(&mut site, connection, target, &logon);
        if let Some(why) = why {
            assert!(sent.is_empty() && told.unwrap().contains(why));
            continue;
        }
        assert_eq!((sent.len(), told), (1, None));
        assert!(sent[0].body.contains("RealFarKey"), "{sent:?}");
        let (again, told) = says(&mut site, connection, target, &logon);
        assert!(again.is_empty() && told.unwrap().contains("logged on already"));
        if connection == 8 {
            // It did not leave: egress is told to end a pipe that is of nobody's session.
            site.answer(&sent[0], Sent::NotSent, 0, Vec::new());
            let (mut turn, now) = (Turn::default(), site.now);
            site.core().finish(&mut turn, now).unwrap();
            let left: Vec<RequestId> = frames(&turn.to_egress)
                .iter()
                .filter(|(kind, _)| *kind == kind::LEAVE)
                .map(|(_, cbor)| wire::message::<wire::Leave>(cbor).unwrap().id)
                .collect();
            assert_eq!(left, [opened[0].id]);
            assert_eq!(site.core().pipes.key(8), None);
        }
    }
}

#[test]
fn what_was_judged_under_an_older_release_is_not_sent() {
    let mut site = site();
    let (mut turn, now) = (Turn::default(), site.now);
    let payload = site.signed(&format!("{ORDER}a"), site.at());
    let api_key = site.api_key.clone();
    let path = "/api/v3/order";
    site.put(&api_key, "POST", path, &payload, LOCAL, &mut turn);
    // Its host is counted by the release before.
    site.core().releases_seen += 1;
    site.core().finish(&mut turn, now).unwrap();
    assert!(sends(&turn.to_egress).is_empty());
    let told = told(&turn).unwrap();
    assert!(told.contains("another release"), "{told}");
    assert!(site.core().state.orders.is_empty(), "nothing is reserved");
}
