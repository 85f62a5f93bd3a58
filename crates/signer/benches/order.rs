//! What one HMAC order costs the signer, by stage and whole: verify, decode, decide, record, sign. One thread, a real log
//! on disk (its sync, hashes and checkpoints run beside). Prints medians over rounds of 2,000 orders.
//!
//! `cargo bench -p portcullis-signer`

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use minicbor::bytes::ByteVec;
use portcullis_model::action::{ActionKind, Duty, Scheme};
use portcullis_model::entry::{Body, What};
use portcullis_model::id::{AccountId, KeyId, Name, RequestId, StrategyId, Timestamp};
use portcullis_model::log::note::Verifier;
use portcullis_model::release::{Authority, Files, Judgement};
use portcullis_model::report::{Report, Sent};
use portcullis_model::state::{Effect, State};
use portcullis_model::table;
use portcullis_model::wire::{Header, Outcome, Request};
use portcullis_signer::clock::Reading;
use portcullis_signer::core::{Compile, Core, Seal, Start, Turn, fold};
use portcullis_signer::secrets::Held;
use portcullis_signer::virtual_keys::SiteSecret;
use portcullis_signer::{keyring, log_file, releases};
use portcullis_venues::RawRequest;
use portcullis_venues::{Catalog, VerifyKey};
use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

struct All;
impl Authority for All {
    fn judge(&self, _: StrategyId, _: ActionKind, _: AccountId, _: &table::Facts<'_>) -> Judgement {
        Judgement::Permit {
            policy: String::new(),
        }
    }
}

struct Compiles;
impl Compile for Compiles {
    fn compile(&self, _: &Files, _: &State) -> Result<Box<dyn Authority>, String> {
        Ok(Box::new(All))
    }
}

const START: Timestamp = Timestamp(1_790_000_000_000_000);
const API_KEY: &str = "VirtualKey00000000000000000000000000000000000000000000000000001";
const ROUNDS: usize = 15;
const ORDERS: usize = 2_000;
/// Strategies with a mandate of their own: lookups must not depend on their number.
const STRATEGIES: usize = 1_000;

fn main() -> Result<(), Box<dyn Error>> {
    let folder =
        std::env::temp_dir().join(format!("portcullis-bench-order-{}", std::process::id()));
    let key = Ed25519KeyPair::from_seed_unchecked(&[5; 32]).map_err(|e| e.to_string())?;
    let verifier = Verifier {
        name: "site.bench".to_owned(),
        public: key.public_key().as_ref().try_into()?,
    };
    let sign = move |text: &[u8]| key.sign(text).as_ref().try_into().unwrap_or([0; 64]);
    let opened =
        log_file::check::<log_file::LogError>(&folder.join("log"), verifier, None, |_, _| Ok(()))?
            .open(
                Arc::new(sign),
                Arc::new(log_file::FileSystem),
                Arc::new(|| {}),
            )?;
    let mut ring = keyring::Keyring::default();
    ring.open(KeyId(2), "RealKey", Scheme::HmacSha256, b"secret")?;
    let venue = Catalog::builtin().map_err(|e| e.to_string())?;
    let files = files();
    let hash = releases::store(&folder.join("releases"), &files)?;
    let mut log = opened.log;
    let mut state = State::default();
    for effect in effects(&hash)? {
        let mut body = Body::new(What::Command, START);
        body.private.effects = vec![effect];
        let entry = body.to_entry();
        fold(&mut state, log.next(), &entry)?;
        let _ = log.append(entry, ())?;
    }
    log.flush()?;
    let site = b"the site's secret, 32 bytes and more";
    let mut core = Core::start(Start {
        log,
        kept_at: 0,
        state,
        torn_bytes: 0,
        releases: folder.join("releases"),
        compile: Arc::new(Compiles),
        keyring: ring,
        site_secret: SiteSecret::new(site),
        held: Held::default(),
        seal: Seal::Unknown,
        wake: Arc::new(|| {}),
        reading: Reading {
            wall_us: START.0,
            boot_us: 1,
        },
    })?;
    let secret = SiteSecret::new(site)
        .and_then(|site| site.derive(API_KEY))
        .ok_or("no secret")?;
    let program = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let verify = VerifyKey::hmac(secret.as_bytes());
    let mut figures: [Vec<f64>; 4] = Default::default();
    let mut seq = 0u64;
    for _ in 0..ROUNDS {
        let bodies: Vec<String> = (0..ORDERS)
            .map(|n| {
                let payload = format!(
                    "newClientOrderId=b{seq}x{n}&price=60000.10&quantity=0.001&recvWindow=5000&side=BUY&symbol=BTCUSDT\
                     &timeInForce=GTC&timestamp={}&type=LIMIT",
                    START.as_ms() + 1
                );
                let tag = hmac::sign(&program, payload.as_bytes());
                let hex: String = tag.as_ref().iter().map(|b| format!("{b:02x}")).collect();
                format!("{payload}&signature={hex}")
            })
            .collect();
        let headers = [
            Header {
                name: "x-mbx-apikey",
                value: API_KEY.as_bytes().into(),
            },
            Header {
                name: "content-type",
                value: (&b"application/x-www-form-urlencoded"[..]).into(),
            },
        ];
        let mut took = [0.0; 4];
        for body in &bodies {
            let request = RawRequest {
                method: "POST",
                host: "api.binance.com",
                target: b"/api/v3/order",
                headers: &headers,
                body: body.as_bytes(),
            };
            let begun = Instant::now();
            let presented = venue.present(&request)?;
            presented.verify(&verify)?;
            let verified = Instant::now();
            let actions = presented.decode(Some("pc1"))?;
            let decoded = Instant::now();
            took[0] += (verified - begun).as_secs_f64();
            took[1] += (decoded - verified).as_secs_f64();
            std::hint::black_box(actions);
        }
        let now = Reading {
            wall_us: START.0 + 2_000,
            boot_us: 2_000,
        };
        for body in &bodies {
            seq += 1;
            let request = Request {
                id: RequestId { epoch: 1, seq },
                connection: 1,
                host: "api.binance.com",
                source: (&[127u8, 0, 0, 1][..]).into(),
                method: "POST",
                target: (&b"/api/v3/order"[..]).into(),
                headers: headers.to_vec(),
                body: body.as_bytes().into(),
            };
            let begun = Instant::now();
            let mut turn = Turn::default();
            core.request(&request, now, &mut turn)?;
            core.finish(&mut turn, now)?;
            took[2] += begun.elapsed().as_secs_f64();
            if turn.to_egress.is_empty() {
                return Err(
                    format!("refused: {}", String::from_utf8_lossy(&turn.to_ingress)).into(),
                );
            }
            let begun = Instant::now();
            core.outcome(&answer(seq), now)?;
            took[3] += begun.elapsed().as_secs_f64();
        }
        for (figure, took) in figures.iter_mut().zip(took) {
            figure.push(took / ORDERS as f64 * 1e6);
        }
    }
    for (name, figure) in [
        "present + verify",
        "decode",
        "whole order (verify to frame)",
        "outcome",
    ]
    .iter()
    .zip(&mut figures)
    {
        figure.sort_by(f64::total_cmp);
        let at = |part: usize| {
            figure
                .get(figure.len() * part / 100)
                .copied()
                .unwrap_or_default()
        };
        println!(
            "{name:<32} median {:>6.2} us   worst round {:>6.2} us",
            at(50),
            at(99)
        );
    }
    core.close()?;
    std::fs::remove_dir_all(folder)?;
    Ok(())
}

/// The venue refused the order, so that nothing stays open.
fn answer(seq: u64) -> Outcome {
    Outcome {
        id: RequestId { epoch: 1, seq },
        entry: None,
        sent: Sent::Sent,
        status: 400,
        reports: vec![Report::Refused { code: -2010 }],
        why: None,
        took_us: 100,
        more: false,
    }
}

fn effects(hash: &[u8; 32]) -> Result<Vec<Effect>, Box<dyn Error>> {
    let name = |text: &str| Name::new(text);
    let mut effects = vec![
        Effect::SiteCreated {
            name: name("site")?,
        },
        Effect::AccountAdded {
            name: name("main")?,
            venue: name("binance")?,
        },
        Effect::KeyAdded {
            account: AccountId(1),
            duty: Duty::Trade,
            scheme: Scheme::HmacSha256,
            api_key: "RealKey".to_owned(),
            sealed: "key.age".to_owned(),
        },
        Effect::Released {
            hash: ByteVec::from(hash.to_vec()),
        },
        Effect::Price {
            symbol: "BTCUSDT".into(),
            price: "60000".parse()?,
            market: portcullis_model::action::MarketKind::Spot,
            venue: None,
        },
    ];
    for n in 0..STRATEGIES {
        effects.push(Effect::StrategyAdded {
            name: name(&format!("s{n}"))?,
            desk: Some(name("mm")?),
            observe: false,
        });
    }
    effects.push(Effect::VirtualKeyIssued {
        strategy: StrategyId(5 + 500),
        account: AccountId(1),
        scheme: Scheme::HmacSha256,
        api_key: API_KEY.to_owned(),
        public_key: ByteVec::from(Vec::new()),
        expires: START.plus_us(3_600_000_000),
        sources: vec!["127.0.0.0/8".to_owned()],
        canary: false,
    });
    Ok(effects)
}

fn files() -> Files {
    let mut mandates = String::from(
        "[firm]\norder_value = \"50000\"\nprice_tolerance = \"5%\"\nprice_age = \"1h\"\nmessage_rate = \"1000000/1s\"\n\
         reserved_message_rate = \"20/1s\"\nrepeat = \"1000000/1s\"\nturnover_1h = \"1000000000\"\nturnover_1d = \"1000000000\"\n\
         turnover_7d = \"1000000000\"\nturnover_30d = \"1000000000\"\nopen_orders = \"200\"\nposition = \"1000000000\"\n\
         loss = \"1000000000\"\nvenue_weight = \"1000000000\"\n[firm.markets.\"BTC*\"]\nfloor = \"1000\"\n\
         [desk.mm]\norder_value = \"40000\"\n",
    );
    for n in 0..STRATEGIES {
        mandates.push_str(&format!(
            "[strategy.s{n}]\norder_value = \"30000\"\nopen_orders = \"100\"\n"
        ));
    }
    [
        ("authority.cedar", String::new()),
        ("mandates.toml", mandates),
        (
            "values.toml",
            "currency = \"USD\"\nequal = [\"USDT\"]".to_owned(),
        ),
        ("hosts.toml", "[[host]]\nvenue = \"binance\"\nname = \"api.binance.com\"\npublic_roots = true\nweight_per_minute = 6000\norders_per_10s = 100\n".to_owned()),
        (
            "markets/binance.json",
            r#"[{"symbol":"BTCUSDT","base":"BTC","quote":"USDT"}]"#.to_owned(),
        ),
    ]
    .map(|(name, text)| (name.to_owned(), text))
    .into()
}
