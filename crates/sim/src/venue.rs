//! The venue: who asks, how often, with what key; and what goes wrong on purpose. One request in, one outcome out.

use crate::api::{self, Answer};
use crate::book::{Side, Type};
use crate::decimal::{D, d};
use crate::endpoints::{Endpoint, Security, Weight};
use crate::exchange::{Exchange, NewOrder};
use crate::faults::{Act, Fault};
use crate::frames;
use crate::futures::{Futures, Service};
use crate::keys::{Key, Keys, Material, sixty_four};
use crate::makers::{Makers, Random, plain};
use crate::market;
use crate::refusal::Refusal;
use crate::strict::{self, Understood};
use serde_json::{Value, json};
use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

/// Which exchange it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Kind {
    /// Binance.
    #[default]
    Binance,
    /// Bybit v5.
    Bybit,
    /// OKX v5.
    Okx,
    /// KuCoin, spot.
    KuCoin,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Binance, Self::Bybit, Self::Okx, Self::KuCoin];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Binance => "binance",
            Self::Bybit => "bybit",
            Self::Okx => "okx",
            Self::KuCoin => "kucoin",
        }
    }

    /// Its host.
    #[must_use]
    pub fn host(self) -> &'static str {
        match self {
            Self::Binance => "api.binance.com",
            Self::Bybit => "api.bybit.com",
            Self::Okx => "www.okx.com",
            Self::KuCoin => "api.kucoin.com",
        }
    }
}

/// What a new venue is like.
#[derive(Debug, Clone)]
pub struct Options {
    /// Which exchange.
    pub kind: Kind,
    /// Seed of prices, keys and faults; random keys without.
    pub seed: Option<u64>,
    /// Request weight an address may use in a minute.
    pub weight_per_minute: u64,
    /// The same for `/sapi`.
    pub sapi_weight_per_minute: u64,
    /// The same for `/fapi` and `/dapi` together.
    pub futures_weight_per_minute: u64,
    /// Unfilled new orders an account may place in ten seconds.
    pub orders_per_10s: u64,
    /// And in a day.
    pub orders_per_day: u64,
    /// Requests an address may still send after its first 429 before it is banned.
    pub tolerated: u64,
    /// New orders an account may send to futures in ten seconds and in a minute.
    pub futures_orders: [u64; 2],
    /// Whether markets of futures take `RPI` orders, which some clients cannot read.
    pub takes_rpi: bool,
    /// Open orders an account may have on a market (`MAX_NUM_ORDERS`).
    pub open_orders: usize,
    /// Requests that the log remembers.
    pub log_requests: usize,
    /// Whether prices move by themselves.
    pub moving: bool,
    /// Bybit and OKX: times the documented rates.
    pub limits_times: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            kind: Kind::Binance,
            limits_times: 1,
            seed: None,
            weight_per_minute: 6_000,
            sapi_weight_per_minute: 12_000,
            futures_weight_per_minute: 2_400,
            orders_per_10s: 100,
            orders_per_day: 200_000,
            tolerated: 10,
            futures_orders: [300, 1200],
            takes_rpi: true,
            open_orders: 200,
            log_requests: 200_000,
            moving: true,
        }
    }
}

/// One request that reached the venue.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Number, from 1.
    pub number: u64,
    /// Microseconds since 1970.
    pub time_us: u64,
    /// Address it came from.
    pub from: IpAddr,
    /// HTTP method.
    pub method: String,
    /// Path, without the query.
    pub path: String,
    /// Number of the key; none if there was none or it is unknown.
    pub key: Option<usize>,
    /// Account of the key.
    pub account: Option<usize>,
    /// `newClientOrderId` and its like, as sent.
    pub client_order_id: Option<String>,
    /// The signature, as sent: two requests with one signature are one that was repeated.
    pub signature: Option<String>,
    /// HTTP status that the venue decided on, even if it was never sent.
    pub status: u16,
    /// The venue's code where it refused.
    pub code: i64,
    /// What went wrong on purpose.
    pub fault: Option<&'static str>,
}

/// What becomes of a request.
#[derive(Debug)]
pub struct Outcome {
    /// What to send; nothing if the answer is lost.
    pub answer: Option<Answer>,
    /// Milliseconds to wait before that.
    pub delay_ms: u64,
    /// End the connection (after the answer, if there is one).
    pub close: bool,
    /// Send the first half of the answer only.
    pub cut: bool,
}

/// What an address has used.
#[derive(Debug, Clone, Default)]
struct Address {
    minute: u64,
    used: u64,
    /// By endpoint: each has a limit of its own there.
    sapi_used: HashMap<&'static str, u64>,
    /// At both kinds of futures together.
    futures_used: u64,
    /// What the control API used up, at every endpoint.
    sapi_used_up: u64,
    refused: u64,
    banned_until: u64,
    bans: u32,
}

/// A key with what its owner knows of it.
#[derive(Debug, Clone)]
pub struct Handed {
    /// Account.
    pub account: usize,
    /// `read`, `trade`, `move`, `admin`, `all`.
    pub duty: String,
    /// `hmac`, `ed25519`, `rsa`.
    pub scheme: &'static str,
    /// The key.
    pub key: String,
    /// HMAC: the secret.
    pub secret: Option<String>,
    /// OKX: what each request says besides.
    pub passphrase: Option<String>,
    /// Others: the private key, PKCS#8 PEM.
    pub pem: Option<String>,
    /// Where that was written.
    pub file: Option<String>,
}

/// The whole venue.
pub struct Venue {
    /// Trading.
    pub exchange: Exchange,
    /// USD-M and COIN-M futures.
    pub futures: Futures,
    /// Keys.
    pub keys: Keys,
    /// Keys as their owners know them.
    pub handed: Vec<Handed>,
    /// Makers and crowd.
    pub makers: Makers,
    /// How it was set up.
    pub options: Options,
    /// Requests, oldest first.
    pub log: VecDeque<Entry>,
    /// Requests so far.
    pub requests: u64,
    /// Answers with 429 and with 418 so far.
    pub limited: [u64; 2],
    /// What goes wrong on purpose.
    pub faults: Vec<Fault>,
    /// Everything that moved value in other ways than trading, oldest first.
    pub effects: VecDeque<Value>,
    /// Withdrawals, oldest first.
    pub withdrawals: VecDeque<Value>,
    /// Quotes of conversions that may be accepted: account, what for what, until when.
    pub quotes: HashMap<String, (usize, usize, D, usize, D, u64)>,
    /// Listen keys with their account.
    pub listen_keys: HashMap<String, usize>,
    /// Connections that wait for a request are to be ended, once.
    pub close_idle: bool,
    /// The account whose stream the last frame opened.
    pub subscribed: Option<usize>,
    /// Added to the clock, in microseconds.
    pub clock_offset_us: i64,
    /// What Bybit and OKX remember.
    pub v5: crate::v5::State,
    effect_number: u64,
    addresses: HashMap<IpAddr, Address>,
    /// Weight that accounts used in `/sapi`, by account and endpoint: minute and weight.
    account_weights: HashMap<(usize, &'static str), (u64, u64)>,
    random: Random,
    next_key: usize,
}

impl Venue {
    /// A venue with its accounts: `firm`, `stranger`, `thief`.
    #[must_use]
    pub fn new(options: Options, now_us: u64) -> Self {
        let mut symbols = market::symbols_of(options.kind);
        for symbol in &mut symbols {
            symbol.orders_max = options.open_orders;
        }
        let mut exchange = Exchange::new(symbols, now_us / 1000);
        exchange.order_limits = [options.orders_per_10s, options.orders_per_day];
        let seed = options.seed.unwrap_or(1);
        let makers = Makers::new(&mut exchange, seed, options.moving);
        let mut futures = Futures::new(&exchange, options.kind, seed, options.moving);
        futures.house(Service::Usd).order_limits = options.futures_orders;
        futures.house(Service::Coin).order_limits = options.futures_orders;
        futures.house(Service::Usd).takes_rpi = options.takes_rpi;
        futures.house(Service::Coin).takes_rpi = options.takes_rpi;
        for market in futures.houses.iter_mut().flat_map(|h| &mut h.markets) {
            market.contract.orders_max = options.open_orders;
        }
        let mut venue = Self {
            exchange,
            futures,
            keys: Keys::default(),
            handed: Vec::new(),
            makers,
            log: VecDeque::new(),
            requests: 0,
            limited: [0; 2],
            faults: Vec::new(),
            effects: VecDeque::new(),
            withdrawals: VecDeque::new(),
            quotes: HashMap::new(),
            listen_keys: HashMap::new(),
            close_idle: false,
            subscribed: None,
            clock_offset_us: 0,
            v5: crate::v5::State::default(),
            effect_number: 0,
            addresses: HashMap::new(),
            account_weights: HashMap::new(),
            random: Random::new(seed ^ 0x5151),
            next_key: 0,
            options,
        };
        for name in ["firm", "stranger", "thief"] {
            let account = venue.exchange.open_account(name);
            for (asset, amount) in [
                ("USDT", "1000000"),
                ("USDC", "100000"),
                ("BTC", "20"),
                ("ETH", "200"),
                ("BNB", "500"),
                ("SOL", "2000"),
                ("XRP", "100000"),
                ("DOGE", "500000"),
                ("LTC", "100"),
                ("币安人生", "100000"),
            ] {
                if let Some(asset) = venue.exchange.asset(asset) {
                    venue.exchange.give(account, asset, d(amount));
                }
            }
            for (service, asset, amount) in [
                (Service::Usd, "USDT", "100000"),
                (Service::Usd, "USDC", "20000"),
                (Service::Coin, "BTC", "2"),
                (Service::Coin, "ETH", "20"),
            ] {
                // Elsewhere one wallet backs everything.
                if venue.options.kind == Kind::Binance
                    && let Some(asset) = venue.exchange.asset(asset)
                {
                    let house = venue.futures.house(service);
                    house.pay_in(account, asset, d(amount));
                }
            }
            for duty in ["read", "trade", "move", "admin", "all"] {
                venue.hand_hmac(account, duty);
            }
        }
        venue.stranger_orders();
        venue
    }

    /// Somebody else's orders, away from the price: `stranger-bid` and `stranger-ask` on BTCUSDT.
    fn stranger_orders(&mut self) {
        let exchange = &mut self.exchange;
        let Some(stranger) = exchange.accounts.iter().position(|a| a.name == "stranger") else {
            return;
        };
        let market = |name| exchange.market(name);
        let Ok(market) = market("BTCUSDT").or_else(|_| market("BTC-USDT")) else {
            return;
        };
        for (side, price, id) in [
            (Side::Buy, "52000", "stranger-bid"),
            (Side::Sell, "78000", "stranger-ask"),
        ] {
            let order = NewOrder {
                client_id: Some(id.to_owned()),
                ..plain(side, Type::Limit, d(price), d("0.5"))
            };
            let placed = exchange.place(stranger, market, order);
            debug_assert!(placed.is_ok(), "{placed:?}");
        }
    }

    /// Gives an account a new HMAC key.
    pub fn hand_hmac(&mut self, account: usize, duty: &str) -> Handed {
        let label = format!("{} {duty} {}", account, self.next_key);
        let key = sixty_four(self.options.seed, &format!("key {label}"));
        let secret = sixty_four(self.options.seed, &format!("secret {label}"));
        let material = Material::hmac(&secret);
        let passphrase = matches!(self.options.kind, Kind::Okx | Kind::KuCoin).then(|| {
            let text = sixty_four(self.options.seed, &format!("passphrase {label}"));
            format!("Pass-{}", text.get(..12).unwrap_or(""))
        });
        self.hand(
            Handed {
                passphrase,
                account,
                duty: duty.to_owned(),
                scheme: "hmac",
                key,
                secret: Some(secret),
                pem: None,
                file: None,
            },
            material,
        )
    }

    /// Gives an account a new key of another scheme.
    pub fn hand_private(
        &mut self,
        account: usize,
        duty: &str,
        scheme: &'static str,
        pkcs8: &[u8],
    ) -> Option<Handed> {
        let material = match scheme {
            "ed25519" => Material::ed25519_private(pkcs8)?,
            _ => Material::rsa_private(pkcs8)?,
        };
        let label = format!("{} {duty} {scheme} {}", account, self.next_key);
        let key = sixty_four(self.options.seed, &format!("key {label}"));
        let pem = crate::keys::pem("PRIVATE KEY", pkcs8);
        let handed = Handed {
            account,
            duty: duty.to_owned(),
            scheme,
            key,
            secret: None,
            passphrase: None,
            pem: Some(pem),
            file: None,
        };
        Some(self.hand(handed, material))
    }

    fn hand(&mut self, handed: Handed, material: Material) -> Handed {
        let mut key = Key::new(handed.account, self.next_key, &handed.duty, material);
        key.passphrase.clone_from(&handed.passphrase);
        self.next_key += 1;
        self.keys.add(&handed.key, key);
        self.handed.push(handed.clone());
        handed
    }

    /// Everything as new, but keys and settings.
    pub fn reset(&mut self, now_us: u64) {
        let fresh = Self::new(self.options.clone(), now_us);
        let old = std::mem::replace(self, fresh);
        self.keys = old.keys;
        // Sub-accounts are gone, and so are their keys.
        self.keys.keep(self.exchange.accounts.len());
        self.handed = old.handed;
        self.next_key = old.next_key;
        self.clock_offset_us = old.clock_offset_us;
    }

    /// The venue's time for a time of the machine.
    #[must_use]
    pub fn time_us(&self, now_us: u64) -> u64 {
        now_us.saturating_add_signed(self.clock_offset_us)
    }

    /// One request that arrived whole.
    pub fn handle(
        &mut self,
        from: IpAddr,
        method: &str,
        target: &[u8],
        headers: &[(&str, &[u8])],
        body: &[u8],
        now_us: u64,
    ) -> Outcome {
        if self.options.kind != Kind::Binance {
            return self.handle_v5(from, method, target, headers, body, now_us);
        }
        let read = host(headers, target).and_then(|()| strict::read(method, target, headers, body));
        let path = String::from_utf8_lossy(target.split(|b| *b == b'?').next().unwrap_or(target))
            .into_owned();
        let key_text = headers
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case("x-mbx-apikey"))
            .and_then(|(_, value)| std::str::from_utf8(value).ok());
        self.judged(from, method, &path, key_text, read, now_us)
    }

    /// One frame of a WebSocket API; the answer is a frame.
    /// `stream`: the number of a stream that it may open; then [`Venue::subscribed`] says whose.
    pub fn frame(
        &mut self,
        api: frames::Api,
        from: IpAddr,
        text: &str,
        stream: usize,
        now_us: u64,
    ) -> Outcome {
        let frame = frames::read(api, text);
        let (method, path) = match &frame.call {
            Ok((method, path)) => (*method, *path),
            Err(_) => ("WS", api.target()),
        };
        let read = match (frame.endpoint(), &frame.call) {
            (Some(endpoint), _) => Ok(strict::Request {
                endpoint,
                params: frame.params.clone(),
                signature: frame.signature.clone(),
                payload: frame.payload.clone().into_bytes(),
                key: frame.key.as_deref().map(str::as_bytes),
            }),
            (None, Err(refusal)) => Err(refusal.clone()),
            (None, Ok(_)) => Err(Refusal::new(-1000, "not supported")),
        };
        let mut outcome = self.judged(from, method, path, frame.key.as_deref(), read, now_us);
        if let Some(answer) = &mut outcome.answer {
            if frame.subscribes && answer.status == 200 {
                let key = frame.key.as_deref().and_then(|text| self.keys.find(text));
                self.subscribed = key.map(|key| key.account);
                answer.body = json!({ "subscriptionId": stream }).to_string();
            }
            answer.body = frame.answer(answer.status, &answer.body, &answer.headers);
        }
        outcome
    }

    /// A request comes: the time that passed since the last one is made up for. Gives the venue's time.
    pub(crate) fn begin(&mut self, now_us: u64, futures: bool) -> u64 {
        self.requests += 1;
        self.advance(now_us, futures)
    }

    /// Time goes on without a request.
    pub fn pass(&mut self, now_us: u64) {
        self.advance(now_us, true);
    }

    fn advance(&mut self, now_us: u64, futures: bool) -> u64 {
        let now_us = self.time_us(now_us);
        self.exchange.now = now_us / 1000;
        self.makers.advance(&mut self.exchange);
        let step = |venue: &mut Self| {
            venue
                .futures
                .advance(&venue.exchange, venue.makers.moving, futures);
        };
        if self.options.kind == Kind::Binance {
            step(self);
        } else {
            self.backed(step);
        }
        now_us
    }

    /// A request that was taken apart, or could not be.
    fn judged(
        &mut self,
        from: IpAddr,
        method: &str,
        path: &str,
        key_text: Option<&str>,
        read: Result<strict::Request<'_>, Refusal>,
        now_us: u64,
    ) -> Outcome {
        let futures = path.starts_with("/fapi/") || path.starts_with("/dapi/");
        let now_us = self.begin(now_us, futures);
        let known = key_text
            .and_then(|text| self.keys.find(text))
            .map(|k| (k.number, k.account));
        let fault = self.fault(method, path, known.map(|(_, account)| account));
        let mut entry = Entry {
            number: self.requests,
            time_us: now_us,
            from,
            method: method.chars().take(16).collect(),
            path: path.chars().take(256).collect(),
            key: known.map(|(number, _)| number),
            account: known.map(|(_, account)| account),
            client_order_id: None,
            signature: None,
            status: 0,
            code: 0,
            fault: fault.map(Act::name),
        };
        if let Ok(request) = &read {
            entry.signature = request.signature.clone();
            entry.client_order_id = [
                "newClientOrderId",
                "listClientOrderId",
                "withdrawOrderId",
                "clientAlgoId",
            ]
            .iter()
            .find_map(|name| request.params.get(*name))
            .cloned();
        }
        let before = match fault {
            Some(Act::ErrorBefore(status)) => Some(
                Refusal::new(
                    -1001,
                    "Internal error; unable to process your request. Please try again.",
                )
                .status(status),
            ),
            Some(Act::DropBefore | Act::HangBefore) => Some(Refusal::new(0, "lost").status(0)),
            _ => None,
        };
        let result = match before {
            Some(refusal) => Err(refusal),
            None => match self.limits(
                from,
                path,
                read.as_ref().ok().map(|r| (r.endpoint, &r.params)),
            ) {
                Err(refusal) => Err(refusal),
                Ok(()) => read.and_then(|request| {
                    let understood = strict::judge(&request, &self.keys, now_us)?;
                    self.admitted(from, &understood)?;
                    self.account_weight(&understood)?;
                    api::answer(self, &understood)
                }),
            },
        };
        let endpoint = crate::endpoints::at(path)
            .and_then(|calls| calls.iter().copied().find(|e| e.method == method));
        let mut answer = match result {
            Ok(value) => Answer {
                status: 200,
                body: value,
                kind: "application/json;charset=UTF-8",
                headers: Vec::new(),
            },
            Err(refusal) => {
                entry.code = refusal.code;
                let (body, kind) = refusal.body(path);
                let mut headers = Vec::new();
                if matches!(refusal.status, 418 | 429) {
                    headers.push(("Retry-After", self.retry_after(from).to_string()));
                }
                Answer {
                    status: refusal.status,
                    body,
                    kind,
                    headers,
                }
            }
        };
        entry.status = answer.status;
        self.usage_headers(from, path, endpoint, entry.account, &mut answer);
        self.finish(entry, answer, fault, |status| {
            let (code, msg) = if status == 504 || status == 502 {
                (0, "504 Gateway Time-out")
            } else {
                (
                    -1007,
                    "Timeout waiting for response from backend server. Send status unknown; execution status unknown.",
                )
            };
            let (body, kind) = Refusal::new(code, msg).body(path);
            Answer {
                status,
                body,
                kind,
                headers: Vec::new(),
            }
        })
    }

    /// Writes a request down, and lets go wrong what shall.
    pub(crate) fn finish(
        &mut self,
        entry: Entry,
        answer: Answer,
        fault: Option<Act>,
        unknown: impl Fn(u16) -> Answer,
    ) -> Outcome {
        match answer.status {
            429 => self.limited[0] += 1,
            418 => self.limited[1] += 1,
            _ => {}
        }
        self.log.push_back(entry);
        if self.log.len() > self.options.log_requests {
            self.log.pop_front();
        }
        let sent = |answer, delay_ms| Outcome {
            answer: Some(answer),
            delay_ms,
            close: false,
            cut: false,
        };
        match fault {
            None | Some(Act::ErrorBefore(_)) => sent(answer, 0),
            Some(Act::Delay(ms)) => sent(answer, ms),
            Some(Act::HangBefore | Act::HangAfter) => Outcome {
                answer: None,
                delay_ms: 0,
                close: false,
                cut: false,
            },
            Some(Act::DropBefore | Act::DropAfter) => Outcome {
                answer: None,
                delay_ms: 0,
                close: true,
                cut: false,
            },
            Some(Act::CutAfter) => Outcome {
                answer: Some(answer),
                delay_ms: 0,
                close: true,
                cut: true,
            },
            Some(Act::ErrorAfter(status)) => sent(unknown(status), 0),
        }
    }

    /// Address rule of the key, and the limit of new orders.
    fn admitted(&mut self, from: IpAddr, understood: &Understood) -> Result<(), Refusal> {
        let Some(key) = understood
            .key
            .as_deref()
            .and_then(|text| self.keys.find(text))
        else {
            return Ok(());
        };
        if !key.ips.is_empty() && !key.ips.contains(&from) {
            return Err(Refusal::key());
        }
        Ok(())
    }

    /// What `/sapi` counts for an account wherever it asks from, each endpoint on its own.
    fn account_weight(&mut self, understood: &Understood) -> Result<(), Refusal> {
        let Some((endpoint, weight)) = understood.endpoint().and_then(|e| match e.weight {
            Weight::Account(weight) => Some((e, weight)),
            _ => None,
        }) else {
            return Ok(());
        };
        let account = api::owner(self, understood)?;
        let minute = self.exchange.now / 60_000;
        let limit = self.options.sapi_weight_per_minute.saturating_mul(15);
        let used = self
            .account_weights
            .entry((account, endpoint.path))
            .or_default();
        if used.0 != minute {
            *used = (minute, 0);
        }
        used.1 += u64::from(weight);
        if used.1 <= limit {
            return Ok(());
        }
        Err(Refusal::new(
            -1003,
            format!("Too much request weight used; current limit is {limit} request weight per 1 MINUTE."),
        )
        .status(429))
    }

    fn limits(
        &mut self,
        from: IpAddr,
        path: &str,
        request: Option<(
            &'static Endpoint,
            &std::collections::BTreeMap<String, String>,
        )>,
    ) -> Result<(), Refusal> {
        let now = self.exchange.now;
        let weight = request.map_or(1, |(endpoint, params)| match endpoint.weight {
            Weight::Account(_) => 1,
            _ => weigh(endpoint, params),
        });
        let (limit, tolerated) = (self.options.weight_per_minute, self.options.tolerated);
        let sapi_limit = self.options.sapi_weight_per_minute;
        let address = self.addresses.entry(from).or_default();
        if now < address.banned_until {
            return Err(banned(address.banned_until));
        }
        let minute = now / 60_000;
        if address.minute != minute {
            *address = Address {
                minute,
                bans: address.bans,
                ..Address::default()
            };
        }
        let weight = u64::from(weight);
        let (used, limit) = if Service::of(path).is_some() {
            address.futures_used += weight;
            let limit = self.options.futures_weight_per_minute;
            (address.futures_used, limit)
        } else if path.starts_with("/sapi") {
            let path = request.map_or("", |(endpoint, _)| endpoint.path);
            let used = address.sapi_used.entry(path).or_default();
            *used += weight;
            (*used + address.sapi_used_up, sapi_limit)
        } else {
            address.used += weight;
            (address.used, limit)
        };
        if used <= limit {
            return Ok(());
        }
        address.refused += 1;
        if address.refused > tolerated {
            // Two minutes, doubled each time, three days at most.
            let seconds = (120_u64 << address.bans.min(12)).min(3 * 86_400);
            address.bans += 1;
            address.banned_until = now + seconds * 1000;
            address.refused = 0;
            return Err(banned(address.banned_until));
        }
        Err(Refusal::new(
            -1003,
            format!(
                "Too much request weight used; current limit is {limit} request weight per 1 MINUTE. \
                 Please use WebSocket Streams for live updates to avoid polling the API."
            ),
        )
        .status(429))
    }

    /// Bans an address at once, or answers 429 to it until the minute is over.
    pub fn ban(&mut self, from: IpAddr, seconds: u64) {
        let now = self.exchange.now;
        let address = self.addresses.entry(from).or_default();
        address.banned_until = now + seconds * 1000;
    }

    /// Uses up the weight of an address.
    pub fn use_up(&mut self, from: IpAddr, weight: u64) {
        let minute = self.exchange.now / 60_000;
        let address = self.addresses.entry(from).or_default();
        if address.minute != minute {
            *address = Address {
                minute,
                bans: address.bans,
                ..Address::default()
            };
        }
        address.used += weight;
        address.sapi_used_up += weight;
        address.futures_used += weight;
    }

    /// Lifts bans and forgets what was used.
    pub fn forgive(&mut self) {
        self.addresses.clear();
        self.account_weights.clear();
    }

    fn retry_after(&self, from: IpAddr) -> u64 {
        let now = self.exchange.now;
        match self.addresses.get(&from) {
            Some(address) if address.banned_until > now => {
                (address.banned_until - now).div_ceil(1000)
            }
            _ => (60_000 - now % 60_000).div_ceil(1000),
        }
    }

    fn usage_headers(
        &self,
        from: IpAddr,
        path: &str,
        endpoint: Option<&Endpoint>,
        account: Option<usize>,
        answer: &mut Answer,
    ) {
        if let Some(address) = self.addresses.get(&from) {
            if Service::of(path).is_some() {
                let used = address.futures_used.to_string();
                answer.headers.push(("x-mbx-used-weight-1m", used));
            } else if path.starts_with("/sapi") {
                let path = endpoint.map_or("", |e| e.path);
                let used =
                    address.sapi_used.get(path).copied().unwrap_or_default() + address.sapi_used_up;
                answer
                    .headers
                    .push(("x-sapi-used-ip-weight-1m", used.to_string()));
            } else {
                answer
                    .headers
                    .push(("x-mbx-used-weight", address.used.to_string()));
                answer
                    .headers
                    .push(("x-mbx-used-weight-1m", address.used.to_string()));
            }
        }
        if let (Some(endpoint), Some(account)) = (endpoint, account)
            && endpoint.orders + endpoint.minute_orders > 0
            && endpoint.security != Security::Public
        {
            if Service::of(path).is_some() {
                let house = &self.futures.houses[Service::Usd.index()];
                let counts = house.accounts.get(account).map(|a| a.order_counts);
                let [tens, minute] = counts.unwrap_or_default();
                let names = ["x-mbx-order-count-10s", "x-mbx-order-count-1m"];
                for ((name, (_, count)), counted) in names
                    .into_iter()
                    .zip([tens, minute])
                    .zip([endpoint.orders, endpoint.minute_orders])
                {
                    if counted > 0 {
                        answer.headers.push((name, count.to_string()));
                    }
                }
                return;
            }
            let counts = &self.exchange.accounts[account].order_counts;
            answer
                .headers
                .push(("x-mbx-order-count-10s", counts[0].1.to_string()));
            answer
                .headers
                .push(("x-mbx-order-count-1d", counts[1].1.to_string()));
        }
    }

    pub(crate) fn fault(
        &mut self,
        method: &str,
        path: &str,
        account: Option<usize>,
    ) -> Option<Act> {
        let random = &mut self.random;
        let hit = self.faults.iter_mut().find(|f| {
            f.matches(method, path, account)
                && f.left != Some(0)
                && (f.per_million >= 1_000_000 || random.below(1_000_000) < f.per_million)
        })?;
        hit.hits += 1;
        if let Some(left) = &mut hit.left {
            *left -= 1;
        }
        Some(hit.act)
    }

    /// Remembers an effect that is no trade.
    pub fn effect(&mut self, kind: &str, account: usize, detail: Value) {
        self.effect_number += 1;
        let number = self.effect_number;
        remember(
            &mut self.effects,
            json!({
                "number": number, "time": self.exchange.now, "kind": kind,
                "account": self.exchange.accounts[account].name, "detail": detail,
            }),
        );
    }
}

/// The content network before the venue knows its own names, and answers 403 to others; each name serves its own paths.
fn host(headers: &[(&str, &[u8])], target: &[u8]) -> Result<(), Refusal> {
    const SPOT: [&str; 7] = [
        "api.binance.com",
        "api1.binance.com",
        "api2.binance.com",
        "api3.binance.com",
        "api4.binance.com",
        "api-gcp.binance.com",
        "data-api.binance.vision",
    ];
    let name = host_name(headers).ok_or_else(|| Refusal::new(0, "400 Bad request").status(400))?;
    let futures = [
        ("fapi.binance.com", b"/fapi/".as_slice()),
        ("dapi.binance.com", b"/dapi/".as_slice()),
    ];
    if is_loopback(&name) {
        return Ok(());
    }
    if let Some((_, prefix)) = futures.iter().find(|(own, _)| *own == name) {
        return if target.starts_with(prefix) {
            Ok(())
        } else {
            Err(Refusal::new(0, "404 Not found").status(404))
        };
    }
    if SPOT.contains(&name.as_str()) {
        return if futures.iter().any(|(_, p)| target.starts_with(p)) {
            Err(Refusal::new(0, "404 Not found").status(404))
        } else {
            Ok(())
        };
    }
    Err(Refusal::new(0, "403 ERROR: The request could not be satisfied.").status(403))
}

/// The one Host of a request, without its port; nothing where there is none or more than one.
pub(crate) fn host_name(headers: &[(&str, &[u8])]) -> Option<String> {
    let mut hosts = headers
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case("host"));
    let (Some((_, value)), None) = (hosts.next(), hosts.next()) else {
        return None;
    };
    let text = String::from_utf8_lossy(value).to_ascii_lowercase();
    Some(match text.split_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name.to_owned(),
        Some(_) => String::new(),
        None => text,
    })
}

pub(crate) fn is_loopback(name: &str) -> bool {
    matches!(name, "localhost" | "127.0.0.1")
}

/// Whether a request has one Host, of these names or of loopback.
pub(crate) fn host_is_one_of(headers: &[(&str, &[u8])], names: &[&str]) -> bool {
    host_name(headers).is_some_and(|name| names.contains(&name.as_str()) || is_loopback(&name))
}

/// Effects, withdrawals, quotes and listen keys that are remembered; beyond that the oldest effects go, and no more quotes
/// and listen keys are given.
pub const REMEMBERED_MAX: usize = 50_000;

/// Adds to what is remembered.
pub fn remember(all: &mut VecDeque<Value>, one: Value) {
    if all.len() >= REMEMBERED_MAX {
        all.pop_front();
    }
    all.push_back(one);
}

fn banned(until: u64) -> Refusal {
    Refusal::new(
        -1003,
        format!("Way too much request weight used; IP banned until {until}. Please use WebSocket Streams for live updates to avoid bans."),
    )
    .status(418)
}

fn limit(params: &std::collections::BTreeMap<String, String>) -> Option<u32> {
    params.get("limit").and_then(|t| t.parse().ok())
}

/// What a request weighs.
#[must_use]
pub fn weigh(endpoint: &Endpoint, params: &std::collections::BTreeMap<String, String>) -> u32 {
    let count = || {
        params
            .get("symbols")
            .and_then(|t| serde_json::from_str::<Vec<String>>(t).ok())
            .map(|list| u32::try_from(list.len()).unwrap_or(u32::MAX))
    };
    match endpoint.weight {
        Weight::Flat(weight) | Weight::Account(weight) => weight,
        Weight::Depth => match params
            .get("limit")
            .and_then(|t| t.parse::<u32>().ok())
            .unwrap_or(100)
        {
            0..=100 => 5,
            101..=500 => 25,
            501..=1000 => 50,
            _ => 250,
        },
        Weight::FuturesDepth => match limit(params) {
            Some(0..=50) => 2,
            Some(51..=100) => 5,
            Some(501..) => 20,
            _ => 10,
        },
        Weight::Klines => match limit(params) {
            Some(0..=99) => 1,
            Some(501..=1000) => 5,
            Some(1001..) => 10,
            _ => 2,
        },
        Weight::Symbol(with, without) => {
            if params.contains_key("symbol") {
                with
            } else {
                without
            }
        }
        Weight::Ticker24 => match (params.contains_key("symbol"), count()) {
            (true, _) => 2,
            (false, Some(0..=20)) => 2,
            (false, Some(21..=100)) => 40,
            _ => 80,
        },
        Weight::PerSymbol(each, max) => match (params.contains_key("symbol"), count()) {
            (true, _) => each,
            (false, Some(count)) => each.saturating_mul(count).min(max),
            _ => max,
        },
        Weight::OrderId(with, without) => {
            if params.contains_key("orderId") {
                with
            } else {
                without
            }
        }
        Weight::Rates(without, with) => {
            if params
                .get("computeCommissionRates")
                .is_some_and(|t| t == "true")
            {
                with
            } else {
                without
            }
        }
    }
}
