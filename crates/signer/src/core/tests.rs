use super::*;
use crate::log_file;
use aws_lc_rs::hmac;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use portcullis_model::action::ActionKind;
use portcullis_model::halt::{By, Halt, Scope};
use portcullis_model::id::Name;
use portcullis_model::log::note::Verifier;
use portcullis_model::release::{Authority, Files, Judgement, Slots};
use portcullis_model::report::Sent;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

struct Trades;
impl Authority for Trades {
    fn judge(&self, _: StrategyId, kind: ActionKind, _: AccountId, _: &Slots<'_>) -> Judgement {
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
price_age = "10s"
message_rate = "1000/1s"
reserved_message_rate = "20/1s"
repeat = "unlimited"
turnover_1h = "unlimited"
turnover_1d = "unlimited"
turnover_7d = "unlimited"
turnover_30d = "unlimited"
open_orders = "200"
position = "unlimited"
loss = "unlimited"
venue_weight = "unlimited"
[firm.markets."BTC*"]
"#;

fn release() -> Release {
    let files: Files = [
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
    .into();
    Release::load(&files, Box::new(Trades)).unwrap()
}

const START: Timestamp = Timestamp(1_790_000_000_000_000);
const API_KEY: &str = "VirtualKey00000000000000000000000000000000000000000000000000001";
const REAL: &[u8] = b"the real secret";
const SITE: &[u8] = b"the site's secret";

struct Site {
    folder: PathBuf,
    core: Option<Core>,
    now: Now,
    seq: u64,
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn open(folder: &std::path::Path, now: Timestamp) -> Core {
    let key = Ed25519KeyPair::from_seed_unchecked(&[5; 32]).unwrap();
    let verifier = Verifier {
        name: "site.test".to_owned(),
        public: key.public_key().as_ref().try_into().unwrap(),
    };
    let opened = log_file::open(
        folder,
        verifier,
        Box::new(move |t| key.sign(t).as_ref().try_into().unwrap()),
    )
    .unwrap();
    let mut keyring = Keyring::default();
    keyring
        .open(KeyId(2), "RealTradeKey", Scheme::HmacSha256, REAL)
        .unwrap();
    keyring
        .open(KeyId(3), "RealReadKey", Scheme::HmacSha256, REAL)
        .unwrap();
    let venue = Binance::builtin().unwrap();
    Core::new(
        venue,
        opened.log,
        &opened.entries,
        Some(release()),
        keyring,
        SITE,
        now,
    )
    .unwrap()
}

fn site() -> Site {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let n = NEXT.fetch_add(1, Ordering::SeqCst);
    let folder = std::env::temp_dir().join(format!("portcullis-core-{}-{n}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    let mut core = open(&folder, START);
    let key = |duty, api_key: &str| Effect::KeyAdded {
        account: AccountId(1),
        duty,
        scheme: Scheme::HmacSha256,
        api_key: api_key.to_owned(),
        sealed: String::new(),
    };
    for effect in [
        Effect::SiteCreated { name: name("site") },
        Effect::AccountAdded {
            name: name("main"),
            venue: name("binance"),
        },
        key(Duty::Trade, "RealTradeKey"),
        key(Duty::Read, "RealReadKey"),
        Effect::StrategyAdded {
            name: name("quoter"),
            desk: None,
            observe: false,
        },
        Effect::VirtualKeyIssued {
            strategy: StrategyId(4),
            account: AccountId(1),
            scheme: Scheme::HmacSha256,
            api_key: API_KEY.to_owned(),
            public_key: ByteVec::from(Vec::new()),
            expires: START.plus_us(3_600_000_000),
            sources: vec!["127.0.0.0/8".to_owned()],
            canary: false,
        },
        Effect::Released {
            hash: ByteVec::from(release().hash.to_vec()),
        },
        Effect::Price {
            symbol: "BTCUSDT".into(),
            price: "60000".parse().unwrap(),
        },
    ] {
        core.record(entry_kind::COMMAND, vec![effect], START)
            .unwrap();
    }
    assert!(core.set_release(release()));
    Site {
        folder,
        core: Some(core),
        now: Now {
            at: START.plus_us(1_000_000),
            boot_us: 5_000_000,
        },
        seq: 0,
    }
}

fn signed(fields: &str, at: Timestamp) -> String {
    let payload = format!("{fields}&timestamp={}", at.as_ms());
    let secret = crate::keyring::virtual_secret(SITE, API_KEY);
    let tag = hmac::sign(
        &hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()),
        payload.as_bytes(),
    );
    let hex: String = tag.as_ref().iter().map(|b| format!("{b:02x}")).collect();
    format!("{payload}&signature={hex}")
}

const ORDER: &str =
    "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.1&price=60000&newClientOrderId=";

impl Site {
    fn core(&mut self) -> &mut Core {
        self.core.as_mut().unwrap()
    }

    /// One request, one turn: what egress got and what the program was told.
    fn ask(
        &mut self,
        method: &str,
        path: &str,
        payload: &str,
        source: [u8; 4],
    ) -> (Option<String>, Option<String>) {
        let mut turn = Turn::default();
        self.put(method, path, payload, source, &mut turn);
        let now = self.now;
        self.core().finish(&mut turn, now).unwrap();
        (sent(&turn), told(&turn))
    }

    fn put(&mut self, method: &str, path: &str, payload: &str, source: [u8; 4], turn: &mut Turn) {
        self.seq += 1;
        let get = method == "GET";
        let target = if get {
            format!("{path}?{payload}")
        } else {
            path.to_owned()
        };
        let mut headers = vec![Header {
            name: "x-mbx-apikey",
            value: API_KEY.as_bytes().into(),
        }];
        if !get {
            headers.push(Header {
                name: "content-type",
                value: (&b"application/x-www-form-urlencoded"[..]).into(),
            });
        }
        let body = if get { "" } else { payload };
        let request = Request {
            id: RequestId {
                epoch: 1,
                seq: self.seq,
            },
            connection: 1,
            listener: 0,
            source: (&source[..]).into(),
            method,
            target: target.as_bytes().into(),
            headers,
            body: body.as_bytes().into(),
        };
        let now = self.now;
        self.core().request(&request, now, turn).unwrap();
    }

    fn order(&mut self, client: &str) -> (Option<String>, Option<String>) {
        let payload = signed(&format!("{ORDER}{client}"), self.now.at);
        self.ask("POST", "/api/v3/order", &payload, [127, 0, 0, 1])
    }
}

fn sent(turn: &Turn) -> Option<String> {
    let cbor = turn.to_egress.get(5..)?;
    let send: Send = wire::message(cbor).unwrap();
    let headers: Vec<String> = send
        .headers
        .iter()
        .map(|h| format!("{}: {}", h.name, String::from_utf8_lossy(h.value)))
        .collect();
    Some(format!(
        "{} {} {} {}",
        send.method,
        String::from_utf8_lossy(send.target),
        headers.join(" "),
        String::from_utf8_lossy(send.body)
    ))
}

fn told(turn: &Turn) -> Option<String> {
    let cbor = turn.to_ingress.get(5..)?;
    let reply: Reply = wire::message(cbor).unwrap();
    Some(format!(
        "{} {}",
        reply.status,
        String::from_utf8_lossy(reply.body)
    ))
}

#[test]
fn an_order_is_verified_decided_recorded_signed_and_sent() {
    let mut site = site();
    let before = site.core().state.entries;
    let (sent, told) = site.order("one");
    let sent = sent.unwrap();
    assert_eq!(told, None);
    assert!(
        sent.starts_with("POST /api/v3/order x-mbx-apikey: RealTradeKey"),
        "{sent}"
    );
    assert!(
        !sent.contains(API_KEY) && sent.contains("newClientOrderId=one"),
        "{sent}"
    );
    assert!(
        sent.contains("recvWindow=1000&"),
        "an order has a second at most: {sent}"
    );
    let body = sent.rsplit(' ').next().unwrap();
    let (message, signature) = body.split_once("&signature=").unwrap();
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, REAL), message.as_bytes());
    assert_eq!(
        signature,
        tag.as_ref()
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect::<String>()
    );
    assert_eq!(site.core().state.entries, before + 1);
    assert_eq!(site.core().state.orders.len(), 1);
}

#[test]
fn reads_are_signed_by_the_key_that_can_only_read_and_are_entries_too() {
    let mut site = site();
    let before = site.core().state.entries;
    let payload = signed("recvWindow=5000", site.now.at);
    let (sent, _) = site.ask("GET", "/api/v3/account", &payload, [127, 0, 0, 1]);
    assert!(sent.unwrap().contains("RealReadKey"));
    assert_eq!(site.core().state.entries, before + 1);
}

#[test]
fn what_is_not_verified_is_refused_and_leaves_no_entry() {
    let mut site = site();
    let before = site.core().state.entries;
    let at = site.now.at;
    let good = signed(&format!("{ORDER}x"), at);
    for (payload, source, expected) in [
        (
            good.replace("quantity=0.1", "quantity=0.2"),
            [127, 0, 0, 1],
            "-1022",
        ),
        (
            format!("{ORDER}x&timestamp={}", at.as_ms()),
            [127, 0, 0, 1],
            "-1022",
        ),
        (good.clone(), [10, 0, 0, 1], "-2015"),
        (
            signed(&format!("{ORDER}x"), Timestamp(at.0 - 6_000_000)),
            [127, 0, 0, 1],
            "-1021",
        ),
        (
            signed(&format!("{ORDER}x"), Timestamp(at.0 + 1_002_000)),
            [127, 0, 0, 1],
            "-1021",
        ),
        (
            signed(&format!("{ORDER}x"), Timestamp(START.0 - 1_000)),
            [127, 0, 0, 1],
            "-1021",
        ),
        (
            signed(&format!("{ORDER}x&sneaky=1"), at),
            [127, 0, 0, 1],
            "-1130",
        ),
    ] {
        let (sent, told) = site.ask("POST", "/api/v3/order", &payload, source);
        assert_eq!(sent, None, "{payload}");
        assert!(
            told.as_deref().unwrap().contains(expected),
            "{expected}: {told:?}"
        );
    }
    assert_eq!(site.core().state.entries, before);
    assert_eq!(site.core().unverified, 7);
}

#[test]
fn a_repeated_order_is_not_signed_again_and_a_read_may_repeat() {
    let mut site = site();
    let payload = signed(&format!("{ORDER}one"), site.now.at);
    assert!(
        site.ask("POST", "/api/v3/order", &payload, [127, 0, 0, 1])
            .0
            .is_some()
    );
    let (sent, told) = site.ask("POST", "/api/v3/order", &payload, [127, 0, 0, 1]);
    assert_eq!(sent, None);
    assert!(told.unwrap().contains("seen before"));
    let read = signed("recvWindow=5000", site.now.at);
    for _ in 0..2 {
        assert!(
            site.ask("GET", "/api/v3/account", &read, [127, 0, 0, 1])
                .0
                .is_some()
        );
    }
}

#[test]
fn refusals_are_entries_and_say_their_number() {
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
        let payload = signed(&fields, site.now.at);
        let (sent, told) = site.ask("POST", path, &payload, [127, 0, 0, 1]);
        assert_eq!(sent, None);
        assert!(told.as_deref().unwrap().contains(expected), "{told:?}");
    }
    assert_eq!(site.core().state.entries, before + 2);
}

#[test]
fn revoking_and_halting_take_effect_on_the_next_request() {
    let mut site = site();
    let at = site.now.at;
    let halt = Halt {
        scope: Scope::Strategy(StrategyId(4)),
        level: Level::CancelOnly,
        since: at,
        reason: "test".to_owned(),
        by: By::Operator("me".to_owned()),
    };
    assert!(site.order("a").0.is_some());
    site.core()
        .record(entry_kind::COMMAND, vec![Effect::Halted(halt.clone())], at)
        .unwrap();
    let (sent, told) = site.order("b");
    assert!(sent.is_none() && told.unwrap().contains("cancel-only"));
    let cancel = signed("symbol=BTCUSDT&origClientOrderId=a", at);
    assert!(
        site.ask("DELETE", "/api/v3/order", &cancel, [127, 0, 0, 1])
            .0
            .is_some(),
        "a cancel passes"
    );
    site.core()
        .record(
            entry_kind::COMMAND,
            vec![Effect::Resumed {
                scope: halt.scope.clone(),
                level: None,
            }],
            at,
        )
        .unwrap();
    assert!(site.order("c").0.is_some());
    site.core()
        .record(
            entry_kind::COMMAND,
            vec![Effect::VirtualKeyRevoked {
                id: VirtualKeyId(5),
            }],
            at,
        )
        .unwrap();
    let (sent, told) = site.order("d");
    assert!(sent.is_none() && told.unwrap().contains("revoked"));
}

#[test]
fn a_halt_between_approval_and_signature_holds_the_signature_back() {
    let mut site = site();
    let mut turn = Turn::default();
    let payload = signed(&format!("{ORDER}late"), site.now.at);
    site.put("POST", "/api/v3/order", &payload, [127, 0, 0, 1], &mut turn);
    let (now, at) = (site.now, site.now.at);
    let halt = Halt {
        scope: Scope::Firm,
        level: Level::CancelOnly,
        since: at,
        reason: String::new(),
        by: By::Rule("r".to_owned()),
    };
    site.core()
        .record(entry_kind::COMMAND, vec![Effect::Halted(halt)], at)
        .unwrap();
    site.core().finish(&mut turn, now).unwrap();
    assert_eq!(sent(&turn), None);
    assert!(told(&turn).unwrap().contains("nothing was sent"));
    assert!(
        site.core().state.orders.is_empty(),
        "its reservation is released"
    );
}

#[test]
fn a_start_folds_the_log_to_the_same_state_and_accepts_nothing_from_before() {
    let mut site = site();
    assert!(site.order("one").0.is_some());
    let id = RequestId {
        epoch: 1,
        seq: site.seq,
    };
    let at = site.now.at;
    let outcome = Outcome {
        id,
        entry: None,
        sent: Sent::NotSent,
        status: 0,
        reports: Vec::new(),
        why: Some("connection_refused".to_owned()),
        took_us: 0,
        more: false,
    };
    site.core().outcome(&outcome, at).unwrap();
    assert!(site.order("two").0.is_some());
    let before = site.core().state.clone();
    let stale = signed(&format!("{ORDER}three"), at);
    site.core.take().unwrap().close().unwrap();
    site.now.at = at.plus_us(500_000);
    site.core = Some(open(&site.folder, site.now.at));
    assert_eq!(site.core().state, before);
    assert_eq!(site.core().state.orders.len(), 1);
    let (sent, told) = site.ask("POST", "/api/v3/order", &stale, [127, 0, 0, 1]);
    assert!(sent.is_none() && told.unwrap().contains("before the gate started"));
    assert!(site.order("four").0.is_some());
}

#[test]
fn a_sealed_gate_answers_that_the_exchange_is_not_available() {
    let mut site = site();
    site.core().keyring = Keyring::default();
    let (sent, told) = site.order("one");
    assert_eq!(sent, None);
    assert!(
        told.as_deref().unwrap().contains("no key of duty"),
        "{told:?}"
    );
}

#[test]
fn networks_hold_their_addresses_and_no_others() {
    let from =
        |source: &str, address: [u8; 4]| comes_from(&[source.to_owned()], (&address[..]).into());
    assert!(from("127.0.0.0/8", [127, 9, 9, 9]) && !from("127.0.0.0/8", [128, 0, 0, 1]));
    assert!(from("10.1.2.3", [10, 1, 2, 3]) && !from("10.1.2.3", [10, 1, 2, 4]));
    assert!(from("10.1.2.0/23", [10, 1, 3, 255]) && !from("10.1.2.0/23", [10, 1, 4, 0]));
    assert!(
        from("0.0.0.0/0", [1, 2, 3, 4])
            && !from("nonsense/8", [1, 2, 3, 4])
            && !from("::/0", [1, 2, 3, 4])
    );
    assert!(!comes_from(&[], (&[127u8, 0, 0, 1][..]).into()));
}
