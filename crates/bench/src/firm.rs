//! A firm's day: three fast strategies by WebSocket and thirty slow ones by REST over three venues, all through one gate,
//! and one more program that asks for all it can get. *Simulated* are the venues (`portcullis-sim`: real signatures,
//! matching, limits); the time is real, since the gate believes no venue whose clock runs faster than its own.
//!
//! It promises, and says of each promise whether it held: nothing is refused that should pass; the greedy program is held to
//! what is spare and costs nobody else a refusal; no venue has to say 429 or 418; the memory of every room stays flat.

use crate::gate::{self, Account, Plan};
use crate::load::whole;
use crate::{Options, Owned, program_name, remove, tempfile};
use aws_lc_rs::hmac;
use portcullis_gateway::websocket::{self, Decoder, Event, From, Kind};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const FAST: usize = 3;
/// At each venue.
const SLOW: usize = 10;
/// From one request of a fast strategy to its next.
const FAST_PAUSE: Duration = Duration::from_millis(50);
/// The firm's limits at Binance; the simulator and the release have the same.
const WEIGHT_PER_MINUTE: u32 = 60_000;
const ORDERS_PER_10S: u32 = 3_000;
/// The documented rates of the other venues, so many times.
const LIMITS_TIMES: u32 = 10;
/// A room may grow by a tenth and this much from the first quarter to the last.
const GROWTH_KB_MAX: f64 = 4_096.0;

const MANDATES: &str = r#"[firm]
order_value = "10000"
price_tolerance = "10%"
price_age = "10s"
message_rate = "10000/1s"
reserved_message_rate = "10000/1s"
repeat = "unlimited"
turnover_1h = "unlimited"
turnover_1d = "unlimited"
turnover_7d = "unlimited"
turnover_30d = "unlimited"
open_orders = "5000"
position = "1000000"
loss = "1000000"
venue_weight = "unlimited"

[firm.markets."BTC*"]
floor = "1000"
ceiling = "500000"
quantity = "5"

[firm.markets."okx/BTC-USDT"]
floor = "1000"
ceiling = "500000"
quantity = "5"
"#;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Binance,
    BinanceSocket,
    Bybit,
    Okx,
}

impl At {
    fn venue(self) -> &'static str {
        match self {
            Self::Binance | Self::BinanceSocket => "binance",
            Self::Bybit => "bybit",
            Self::Okx => "okx",
        }
    }

    fn host(self) -> &'static str {
        match self {
            Self::Binance | Self::BinanceSocket => "api.binance.com",
            Self::Bybit => "api.bybit.com",
            Self::Okx => "www.okx.com",
        }
    }
}

/// A trading program.
#[derive(Clone)]
struct Program {
    name: String,
    at: At,
    pause: Duration,
    is_greedy: bool,
    address: SocketAddr,
    api_key: String,
    secret: String,
    price: f64,
}

/// What it saw.
#[derive(Serialize)]
struct Seen {
    name: String,
    venue: &'static str,
    by: &'static str,
    requests: usize,
    refused: u64,
    first_refusal: Option<String>,
    p50_us: f64,
    p99_us: f64,
}

#[derive(Serialize)]
struct Room {
    name: String,
    first_quarter_kb: f64,
    last_quarter_kb: f64,
}

/// Gives whether every promise held.
pub fn run(options: &Options) -> io::Result<bool> {
    let seconds = match options.seconds {
        s if s <= 1.0 => 600.0,
        s => s,
    };
    let folder = tempfile()?;
    let done = day(options, &folder, seconds);
    remove(&folder);
    done
}

fn day(options: &Options, folder: &Path, seconds: f64) -> io::Result<bool> {
    let (_venues, said) = venues(&options.bin, folder)?;
    let mut programs = programs();
    let plan = Plan {
        hosts: hosts(folder, &said)?,
        mandates: MANDATES.to_owned(),
        accounts: accounts(&said)?,
        strategies: programs
            .iter()
            .map(|p| (p.name.clone(), p.at.venue()))
            .collect(),
        markets: None,
    };
    let site = gate::Site::new(&options.bin, folder, "firm");
    let keys = site.make(&plan)?;
    let up = site.up(None)?;
    for (program, key) in programs.iter_mut().zip(keys) {
        (program.api_key, program.secret) = key;
        program.address = *up
            .listeners
            .get(program.at.host())
            .ok_or_else(|| io::Error::other(format!("no listener for {}", program.at.host())))?;
    }
    ready(&mut programs)?;

    let end = Instant::now() + Duration::from_secs_f64(seconds);
    let running: Vec<_> = programs
        .into_iter()
        .enumerate()
        .map(|(number, program)| thread::spawn(move || program.trade(number, end)))
        .collect();
    let mut memory: Vec<Vec<f64>> = vec![Vec::new(); up.pids.len()];
    while Instant::now() < end {
        thread::sleep(Duration::from_millis(500));
        for (samples, pid) in memory.iter_mut().zip(&up.pids) {
            samples.extend(resident_kb(*pid));
        }
    }
    let seen = running
        .into_iter()
        .map(|one| {
            one.join()
                .unwrap_or_else(|_| Err(io::Error::other("a program's thread ended early")))
        })
        .collect::<io::Result<Vec<Seen>>>()?;
    let rooms: Vec<Room> = up
        .pids
        .iter()
        .zip(&memory)
        .map(|(pid, samples)| Room {
            name: program_name(*pid),
            first_quarter_kb: mean(samples.get(..samples.len() / 4)),
            last_quarter_kb: mean(samples.get(samples.len() * 3 / 4..)),
        })
        .collect();
    let mut told_off: u64 = 0;
    for one in said.values() {
        let counts = control(one, "/counts")?;
        for name in ["answered_429", "answered_418"] {
            let count = counts[name].as_u64().unwrap_or(u64::MAX);
            told_off = told_off.saturating_add(count);
        }
    }
    let broken = broken(&seen, &rooms, told_off);
    tell(options, seconds, &seen, &rooms, &broken);
    Ok(broken.is_empty())
}

/// What did not hold.
fn broken(seen: &[Seen], rooms: &[Room], told_off: u64) -> Vec<String> {
    let mut broken = Vec::new();
    for one in seen {
        let is_greedy = one.name == GREEDY;
        if one.requests == 0 {
            broken.push(format!("{} had no answer", one.name));
        }
        if is_greedy && one.refused == 0 {
            broken.push("the greedy program was never held to its share".to_owned());
        }
        if !is_greedy && one.refused > 0 {
            let first = one.first_refusal.as_deref().unwrap_or_default();
            broken.push(format!(
                "{} was refused {} times: {first}",
                one.name, one.refused
            ));
        }
    }
    if told_off > 0 {
        broken.push(format!("the venues had to say 429 or 418 {told_off} times"));
    }
    for room in rooms {
        if room.first_quarter_kb == 0.0
            || room.last_quarter_kb > room.first_quarter_kb * 1.1 + GROWTH_KB_MAX
        {
            broken.push(format!(
                "{} grew from {:.0} to {:.0} kB",
                room.name, room.first_quarter_kb, room.last_quarter_kb
            ));
        }
    }
    broken
}

fn tell(options: &Options, seconds: f64, seen: &[Seen], rooms: &[Room], broken: &[String]) {
    if options.json {
        println!(
            "{}",
            json!({ "seconds": seconds, "strategies": seen, "rooms": rooms, "broken": broken })
        );
        return;
    }
    println!("{seconds:.0} s of real time at simulated venues");
    println!(
        "{:<12} {:<8} {:<9} {:>9} {:>8} {:>10} {:>10}",
        "strategy", "venue", "by", "requests", "refused", "p50 us", "p99 us"
    );
    for one in seen {
        println!(
            "{:<12} {:<8} {:<9} {:>9} {:>8} {:>10.0} {:>10.0}",
            one.name, one.venue, one.by, one.requests, one.refused, one.p50_us, one.p99_us
        );
    }
    for room in rooms {
        println!(
            "memory of {}: {:.0} kB in the first quarter, {:.0} kB in the last",
            room.name, room.first_quarter_kb, room.last_quarter_kb
        );
    }
    for one in broken {
        println!("BROKEN: {one}");
    }
    if broken.is_empty() {
        println!("every promise held");
    }
}

const GREEDY: &str = "greedy";

fn programs() -> Vec<Program> {
    let program = |name: String, at, pause| Program {
        is_greedy: name == GREEDY,
        name,
        at,
        pause,
        address: SocketAddr::from(([127, 0, 0, 1], 0)),
        api_key: String::new(),
        secret: String::new(),
        price: 0.0,
    };
    let fast = (1..=FAST).map(|n| program(format!("fast-{n}"), At::BinanceSocket, FAST_PAUSE));
    let slow = [At::Binance, At::Bybit, At::Okx]
        .into_iter()
        .flat_map(|at| {
            // Each has a pace of its own.
            (1..=SLOW).map(move |n| {
                let pause = Duration::from_millis(700 + 60 * n as u64);
                (format!("{}-{n}", at.venue()), at, pause)
            })
        });
    let slow: Vec<_> = slow
        .map(|(name, at, pause)| program(name, at, pause))
        .collect();
    let greedy = program(GREEDY.to_owned(), At::Binance, Duration::from_millis(10));
    fast.chain(slow).chain([greedy]).collect()
}

/// Starts the simulated venues; what each says of itself, by its name.
fn venues(bin: &Path, folder: &Path) -> io::Result<(Owned, BTreeMap<String, Value>)> {
    let program = bin.join("portcullis-sim");
    let text = |number: u32| number.to_string();
    let mut child = Command::new(&program)
        .args([
            "--venue",
            "binance,bybit,okx",
            "--json",
            "--end-with-stdin",
            "--still",
        ])
        .args(["--weight-per-minute", &text(WEIGHT_PER_MINUTE)])
        .args(["--orders-per-10s", &text(ORDERS_PER_10S)])
        .args([
            "--open-orders",
            "5000",
            "--limits-times",
            &text(LIMITS_TIMES),
        ])
        .arg("--folder")
        .arg(folder.join("venues"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|why| io::Error::other(format!("{}: {why}", program.display())))?;
    let stdout = child.stdout.take();
    let owned = Owned(child);
    let stdout = stdout.ok_or_else(|| io::Error::other("the venues have no output"))?;
    let mut said = BTreeMap::new();
    for line in BufReader::new(stdout).lines().take(3) {
        let one: Value = serde_json::from_str(&line?).map_err(io::Error::other)?;
        said.insert(one["venue"].as_str().unwrap_or("").to_owned(), one);
    }
    match said.len() {
        3 => Ok((owned, said)),
        _ => Err(io::Error::other("the simulated venues did not start")),
    }
}

fn hosts(folder: &Path, said: &BTreeMap<String, Value>) -> io::Result<String> {
    let root = gate::root_hex(&folder.join("venues/ca.pem"))?;
    let of = [
        (
            "binance",
            "api.binance.com",
            WEIGHT_PER_MINUTE,
            ORDERS_PER_10S,
        ),
        (
            "binance",
            "ws-api.binance.com",
            WEIGHT_PER_MINUTE,
            ORDERS_PER_10S,
        ),
        (
            "bybit",
            "api.bybit.com",
            12_000 * LIMITS_TIMES,
            100 * LIMITS_TIMES,
        ),
        (
            "okx",
            "www.okx.com",
            12_000 * LIMITS_TIMES,
            100 * LIMITS_TIMES,
        ),
    ];
    of.into_iter()
        .map(|(venue, name, weight, orders)| {
            let address = said.get(venue).and_then(|one| one["address"].as_str());
            let address = address.ok_or_else(|| io::Error::other("a venue has no address"))?;
            Ok(gate::host(venue, name, address, &root, weight, orders))
        })
        .collect()
}

fn accounts(said: &BTreeMap<String, Value>) -> io::Result<Vec<Account>> {
    [At::Binance, At::Bybit, At::Okx]
        .into_iter()
        .map(|at| {
            let key = |duty: &'static str| -> io::Result<_> {
                let all = said.get(at.venue()).map(|one| &one["accounts"]);
                let firm = all
                    .and_then(Value::as_array)
                    .into_iter()
                    .flatten()
                    .find(|account| account["name"] == "firm");
                let key = firm
                    .and_then(|account| account["keys"].as_array())
                    .into_iter()
                    .flatten()
                    .find(|key| {
                        let scheme = key["scheme"].as_str().unwrap_or("");
                        key["duty"] == duty && scheme.starts_with("hmac")
                    })
                    .ok_or_else(|| io::Error::other("the simulated firm lacks a key"))?;
                let word = |name: &str| key[name].as_str().unwrap_or("").to_owned();
                let mut secret = word("secret");
                // OKX' keys have one, on the second line.
                if let Some(passphrase) = key["passphrase"].as_str().filter(|p| !p.is_empty()) {
                    secret = format!("{secret}\n{passphrase}");
                }
                Ok((duty, word("key"), secret))
            };
            Ok(Account {
                name: at.venue(),
                venue: at.venue(),
                host: at.host(),
                keys: vec![key("read")?, key("trade")?],
            })
        })
        .collect()
}

/// Waits until each venue's price is known and an order passes at each; gives programs the price.
fn ready(programs: &mut [Program]) -> io::Result<()> {
    for at in [At::Binance, At::Bybit, At::Okx] {
        let Some(mut first) = programs.iter().find(|p| p.at == at).cloned() else {
            continue;
        };
        let mut line = Line::open(first.address, false)?;
        let (path, member) = match at {
            At::Binance | At::BinanceSocket => {
                ("/api/v3/ticker/price?symbol=BTCUSDT", "\"price\":\"")
            }
            At::Bybit => (
                "/v5/market/tickers?category=spot&symbol=BTCUSDT",
                "\"lastPrice\":\"",
            ),
            At::Okx => ("/api/v5/market/ticker?instId=BTC-USDT", "\"last\":\""),
        };
        let ask = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", at.host());
        let mut last = String::new();
        let mut price = None;
        for turn in 0..400u64 {
            if price.is_none() {
                let (_, text) = line.ask(ask.as_bytes())?;
                price = text
                    .split_once(member)
                    .and_then(|(_, rest)| rest.split('"').next()?.parse().ok());
                last = text;
            }
            if let Some(price) = price {
                first.price = price;
                // An order that fills nothing and stays nowhere: far below, at once or never.
                let order = first.order(&format!("r{turn}"), "buy", 0.95, true);
                let (status, text) = line.ask(&order)?;
                if first.passed(status, &text) {
                    break;
                }
                last = text;
            }
            if turn == 399 {
                return Err(io::Error::other(format!(
                    "{} is not served: {last}",
                    at.host()
                )));
            }
            thread::sleep(Duration::from_millis(50));
        }
        for program in programs.iter_mut().filter(|p| p.at.venue() == at.venue()) {
            program.price = first.price;
        }
    }
    Ok(())
}

impl Program {
    /// Trades until the end.
    fn trade(self, number: usize, end: Instant) -> io::Result<Seen> {
        let by_socket = self.at == At::BinanceSocket;
        let mut line = Line::open(self.address, by_socket)?;
        let mut took = Vec::new();
        let (mut refused, mut first_refusal) = (0, None);
        // They do not begin at one time.
        thread::sleep(self.pause * (number as u32 % 7) / 7);
        let mut step = 0u64;
        while Instant::now() < end {
            let request = self.request(step);
            step += 1;
            let begun = Instant::now();
            let (status, text) = line.ask(&request)?;
            took.push(u32::try_from(begun.elapsed().as_micros()).unwrap_or(u32::MAX));
            if !self.passed(status, &text) {
                refused += 1;
                first_refusal.get_or_insert_with(|| format!("{status} {text}"));
            }
            thread::sleep(self.pause.saturating_sub(begun.elapsed()));
        }
        took.sort_unstable();
        let at = |part: f64| {
            let index = ((took.len() as f64 * part) as usize).min(took.len().saturating_sub(1));
            took.get(index).copied().map_or(0.0, f64::from)
        };
        Ok(Seen {
            venue: self.at.venue(),
            by: if by_socket { "WebSocket" } else { "REST" },
            requests: took.len(),
            refused,
            first_refusal,
            p50_us: at(0.5),
            p99_us: at(0.99),
            name: self.name,
        })
    }

    /// Fast: an order that rests, and its cancel. Slow: the same with a look at the open orders between. Each tenth round
    /// trades instead: buys and sells at once.
    fn request(&self, step: u64) -> Vec<u8> {
        if self.is_greedy {
            let query = self.signed("");
            return self.binance("GET", &format!("/api/v3/openOrders?{query}"), "");
        }
        let steps = if self.at == At::BinanceSocket { 2 } else { 3 };
        let (round, step) = (step / steps, step % steps);
        let id = format!("{}r{round}s", self.name.replace('-', "n"));
        match (step, round % 10) {
            (0, 9) => self.order(&format!("{id}{step}"), "buy", 1.005, true),
            (n, 9) if n + 1 == steps => self.order(&format!("{id}{step}"), "sell", 0.995, true),
            (0, _) => self.order(&format!("{id}0"), "buy", 0.98, false),
            (n, _) if n + 1 == steps => self.cancel(&format!("{id}0")),
            _ => self.open_orders(),
        }
    }

    /// A thousandth of a bitcoin at a part of the last price; `at_once`: what is not filled at once is gone.
    fn order(&self, id: &str, side: &str, part: f64, at_once: bool) -> Vec<u8> {
        let price = format!("{:.1}", self.price * part);
        let upper = side.to_uppercase();
        let capital = format!(
            "{}{}",
            upper.get(..1).unwrap_or(""),
            side.get(1..).unwrap_or("")
        );
        let force = if at_once { "IOC" } else { "GTC" };
        match self.at {
            At::Binance => {
                let body = self.signed(&format!(
                    "newClientOrderId={id}&price={price}&quantity=0.001&side={upper}&symbol=BTCUSDT&timeInForce={force}&type=LIMIT&"
                ));
                self.binance("POST", "/api/v3/order", &body)
            }
            At::BinanceSocket => self.frame(
                id,
                "order.place",
                &[
                    ("newClientOrderId", id),
                    ("price", &price),
                    ("quantity", "0.001"),
                    ("side", &upper),
                    ("symbol", "BTCUSDT"),
                    ("timeInForce", force),
                    ("type", "LIMIT"),
                ],
            ),
            At::Bybit => self.bybit(
                "POST",
                "/v5/order/create",
                "",
                &json!({
                    "category": "spot", "symbol": "BTCUSDT", "side": capital, "orderType": "Limit", "qty": "0.001",
                    "price": price, "timeInForce": force, "orderLinkId": id,
                })
                .to_string(),
            ),
            At::Okx => self.okx(
                "POST",
                "/api/v5/trade/order",
                &json!({
                    "instId": "BTC-USDT", "tdMode": "cash", "side": side, "ordType": if at_once { "ioc" } else { "limit" },
                    "sz": "0.001", "px": price, "clOrdId": id,
                })
                .to_string(),
            ),
        }
    }

    fn cancel(&self, id: &str) -> Vec<u8> {
        match self.at {
            At::Binance => {
                let query = self.signed(&format!("origClientOrderId={id}&symbol=BTCUSDT&"));
                self.binance("DELETE", &format!("/api/v3/order?{query}"), "")
            }
            At::BinanceSocket => self.frame(
                id,
                "order.cancel",
                &[("origClientOrderId", id), ("symbol", "BTCUSDT")],
            ),
            At::Bybit => self.bybit(
                "POST",
                "/v5/order/cancel",
                "",
                &json!({ "category": "spot", "symbol": "BTCUSDT", "orderLinkId": id }).to_string(),
            ),
            At::Okx => self.okx(
                "POST",
                "/api/v5/trade/cancel-order",
                &json!({ "instId": "BTC-USDT", "clOrdId": id }).to_string(),
            ),
        }
    }

    fn open_orders(&self) -> Vec<u8> {
        match self.at {
            At::Binance | At::BinanceSocket => {
                let query = self.signed("symbol=BTCUSDT&");
                self.binance("GET", &format!("/api/v3/openOrders?{query}"), "")
            }
            At::Bybit => self.bybit(
                "GET",
                "/v5/order/realtime",
                "category=spot&symbol=BTCUSDT",
                "",
            ),
            At::Okx => self.okx("GET", "/api/v5/trade/orders-pending?instType=SPOT", ""),
        }
    }

    /// What the venue says when it did what was asked.
    fn passed(&self, status: u16, text: &str) -> bool {
        status == 200
            && match self.at {
                At::Binance | At::BinanceSocket => true,
                At::Bybit => {
                    serde_json::from_str::<Value>(text).is_ok_and(|answer| answer["retCode"] == 0)
                }
                At::Okx => {
                    serde_json::from_str::<Value>(text).is_ok_and(|answer| answer["code"] == "0")
                }
            }
    }

    /// Fields with window, time and signature behind them.
    fn signed(&self, fields: &str) -> String {
        let mut text = format!("{fields}recvWindow=5000&timestamp={}", now_ms());
        let tag = self.hex(&text);
        let _ = write!(text, "&signature={tag}");
        text
    }

    fn binance(&self, method: &str, target: &str, body: &str) -> Vec<u8> {
        http(
            method,
            self.at.host(),
            target,
            &[
                ("X-MBX-APIKEY", &self.api_key),
                ("Content-Type", "application/x-www-form-urlencoded"),
            ],
            body,
        )
    }

    /// A frame of the WebSocket API; `fields` sorted by name between `apiKey` and what is added here.
    fn frame(&self, id: &str, method: &str, fields: &[(&str, &str)]) -> Vec<u8> {
        let ms = now_ms().to_string();
        let mut all = vec![
            ("apiKey", &*self.api_key),
            ("recvWindow", "5000"),
            ("timestamp", &*ms),
        ];
        all.extend_from_slice(fields);
        all.sort_unstable();
        let joined: Vec<String> = all.iter().map(|(n, v)| format!("{n}={v}")).collect();
        let tag = self.hex(&joined.join("&"));
        let mut params: serde_json::Map<String, Value> = all
            .iter()
            .map(|(name, value)| ((*name).to_owned(), Value::from(*value)))
            .collect();
        params.insert("signature".to_owned(), tag.into());
        json!({ "id": format!("{id}{method}"), "method": method, "params": params })
            .to_string()
            .into_bytes()
    }

    fn bybit(&self, method: &str, path: &str, query: &str, body: &str) -> Vec<u8> {
        let ms = now_ms().to_string();
        let tag = self.hex(&format!("{ms}{}5000{query}{body}", self.api_key));
        let target = match query {
            "" => path.to_owned(),
            query => format!("{path}?{query}"),
        };
        http(
            method,
            self.at.host(),
            &target,
            &[
                ("X-BAPI-API-KEY", &self.api_key),
                ("X-BAPI-TIMESTAMP", &ms),
                ("X-BAPI-RECV-WINDOW", "5000"),
                ("X-BAPI-SIGN", &tag),
                ("Content-Type", "application/json"),
            ],
            body,
        )
    }

    fn okx(&self, method: &str, target: &str, body: &str) -> Vec<u8> {
        let time = iso(now_ms());
        let tag = websocket::base64(&self.tag(&format!("{time}{method}{target}{body}")));
        http(
            method,
            self.at.host(),
            target,
            &[
                ("OK-ACCESS-KEY", &self.api_key),
                ("OK-ACCESS-SIGN", &tag),
                ("OK-ACCESS-TIMESTAMP", &time),
                ("OK-ACCESS-PASSPHRASE", "portcullis"),
                ("Content-Type", "application/json"),
            ],
            body,
        )
    }

    fn tag(&self, text: &str) -> Vec<u8> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.secret.as_bytes());
        hmac::sign(&key, text.as_bytes()).as_ref().to_vec()
    }

    fn hex(&self, text: &str) -> String {
        self.tag(text)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }
}

fn http(method: &str, host: &str, target: &str, headers: &[(&str, &str)], body: &str) -> Vec<u8> {
    let mut out = format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n");
    for (name, value) in headers {
        let _ = write!(out, "{name}: {value}\r\n");
    }
    if method != "GET" {
        let _ = write!(out, "Content-Length: {}\r\n", body.len());
    }
    out.push_str("\r\n");
    out.push_str(body);
    out.into_bytes()
}

fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |d| d.as_millis() as u64)
}

/// OKX' times: `2026-11-25T21:00:00.123Z`.
fn iso(ms: u64) -> String {
    let (days, rest) = (ms / 86_400_000, ms % 86_400_000);
    // Years begin in March here, so that a leap day is the last of one.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, later) = match month {
        0..=9 => (month + 3, 0),
        _ => (month - 9, 1),
    };
    format!(
        "{:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
        era * 400 + year + later,
        rest / 3_600_000,
        rest / 60_000 % 60,
        rest / 1_000 % 60,
        rest % 1_000
    )
}

/// A connection with one request in flight, that waits for its answer.
struct Line {
    socket: TcpStream,
    input: Vec<u8>,
    decoder: Option<Decoder>,
    frames: u32,
}

impl Line {
    fn open(address: SocketAddr, by_socket: bool) -> io::Result<Self> {
        let socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(Duration::from_secs(20)))?;
        let mut line = Self {
            socket,
            input: Vec::new(),
            decoder: None,
            frames: 0,
        };
        if by_socket {
            line.socket.write_all(crate::load::handshake().as_bytes())?;
            while !line.input.ends_with(b"\r\n\r\n") {
                line.more()?;
            }
            if !line.input.starts_with(b"HTTP/1.1 101 ") {
                let text = String::from_utf8_lossy(&line.input).into_owned();
                return Err(io::Error::other(format!("no WebSocket: {text}")));
            }
            line.input.clear();
            line.decoder = Some(Decoder::new(From::Venue, 1 << 20));
        }
        Ok(line)
    }

    fn more(&mut self) -> io::Result<()> {
        let mut scratch = [0; 16_384];
        match self.socket.read(&mut scratch)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            n => {
                self.input
                    .extend_from_slice(scratch.get(..n).unwrap_or_default());
                Ok(())
            }
        }
    }

    /// Status and text of the answer.
    fn ask(&mut self, request: &[u8]) -> io::Result<(u16, String)> {
        if self.decoder.is_none() {
            self.socket.write_all(request)?;
            let mut body = None;
            while !whole(&mut self.input, &mut body)? {
                self.more()?;
            }
            let (status, _, text) = body.ok_or_else(|| io::Error::other("no answer"))?;
            return Ok((status, String::from_utf8_lossy(&text).into_owned()));
        }
        let mut out = Vec::new();
        self.frames += 1;
        let mask = (self.frames | 0x0100_0001).to_be_bytes();
        websocket::push(&mut out, Kind::Text, true, request, Some(mask));
        self.socket.write_all(&out)?;
        loop {
            let Some(decoder) = self.decoder.as_mut() else {
                return Err(io::ErrorKind::NotConnected.into());
            };
            let mut at = 0;
            let event = decoder
                .next(&mut self.input, &mut at)
                .map_err(|why| io::Error::other(why.to_string()))?;
            let answer = match event {
                Some(Event::Text(text)) => Some(text.to_owned()),
                Some(Event::Close(code)) => {
                    return Err(io::Error::other(format!(
                        "the WebSocket was closed: {code:?}"
                    )));
                }
                Some(Event::Ping(_) | Event::Pong) => None,
                None => {
                    self.input.drain(..at);
                    self.more()?;
                    continue;
                }
            };
            self.input.drain(..at);
            if let Some(text) = answer {
                let frame: Value = serde_json::from_str(&text).map_err(io::Error::other)?;
                let status = frame["status"].as_u64().and_then(|s| u16::try_from(s).ok());
                return Ok((status.unwrap_or(0), text));
            }
        }
    }
}

/// One page of a venue's control API.
fn control(said: &Value, path: &str) -> io::Result<Value> {
    let url = said["control"].as_str().unwrap_or("");
    let address = url.strip_prefix("http://").unwrap_or(url);
    let address: SocketAddr = address.parse().map_err(io::Error::other)?;
    let mut line = Line::open(address, false)?;
    let (_, text) =
        line.ask(format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n").as_bytes())?;
    serde_json::from_str(&text).map_err(io::Error::other)
}

/// Resident memory of a process.
fn resident_kb(pid: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().trim_end_matches("kB").trim().parse().ok()
}

fn mean(samples: Option<&[f64]>) -> f64 {
    let samples = samples.unwrap_or_default();
    samples.iter().sum::<f64>() / samples.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_okx_reads_them() {
        assert_eq!(iso(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(iso(951_782_400_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(iso(1_795_640_399_123), "2026-11-25T20:59:59.123Z");
    }

    #[test]
    fn a_broken_promise_is_told() {
        let seen = |name: &str, refused| Seen {
            name: name.to_owned(),
            venue: "binance",
            by: "REST",
            requests: 10,
            refused,
            first_refusal: None,
            p50_us: 0.0,
            p99_us: 0.0,
        };
        let room = |first: f64, last: f64| Room {
            name: "sign".to_owned(),
            first_quarter_kb: first,
            last_quarter_kb: last,
        };
        let count = |seen: &[Seen], rooms: &[Room], told| broken(seen, rooms, told).len();
        assert_eq!(
            count(&[seen("a", 0), seen(GREEDY, 1)], &[room(1e5, 1e5)], 0),
            0
        );
        assert_eq!(count(&[seen("a", 1)], &[], 0), 1);
        assert_eq!(count(&[seen(GREEDY, 0)], &[], 0), 1);
        assert_eq!(count(&[], &[room(1e5, 1.2e5)], 0), 1);
        assert_eq!(count(&[], &[room(0.0, 0.0)], 0), 1);
        assert_eq!(count(&[], &[], 1), 1);
    }
}
