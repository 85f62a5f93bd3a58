//! The same attackers at Binance futures, Bybit and OKX: what egress can make of what the signer signs for them, what ingress
//! can make of what programs sign, and what a program can smuggle into their words.

use crate::common::{MANDATES, ask};
use crate::egress::METHODS;
use crate::gate::{Asked, Credential, DUTIES, Event, Fate, Firm, Gate, Signed, now_us, request_of};
use crate::table::row;
use crate::world::{self, FIRM, GATE};
use aws_lc_rs::hmac;
use portcullis_model::command::{Answer, Command};
use portcullis_model::halt::{Level, Scope};
use portcullis_model::report::Sent;
use portcullis_model::wire::{Discarded, kind};
use portcullis_signer::releases;
use portcullis_sim::decimal;
use portcullis_sim::exchange::CROWD;
use portcullis_sim::futures::Service;
use portcullis_sim::venue::{Kind, Venue};
use portcullis_venues::Catalog;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

const USD: &str = "fapi.binance.com";
const COIN: &str = "dapi.binance.com";
const BYBIT: &str = "api.bybit.com";
const OKX: &str = "www.okx.com";

/// A place that is attacked.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    pub name: &'static str,
    kind: Kind,
    firm: Firm,
}

/// Leverage, within the mandate's.
const CONFIGURE: &str = r#"
@id("configure") permit (principal is Strategy, action == Action::"Configure", resource is Account);
"#;

/// KuCoin has no menu here yet.
const NOT_ATTACKED: &str = "KuCoin is not among the places";

pub const PLACES: [Place; 3] = [
    Place {
        name: "Binance futures",
        kind: Kind::Binance,
        firm: Firm {
            venue: "binance",
            hosts: &["api.binance.com", USD, COIN],
            markets: r#"[
                {"symbol":"BTCUSDT","base":"BTC","quote":"USDT"},
                {"symbol":"BTCUSDT","base":"BTC","quote":"USDT","kind":"usd_futures"},
                {"symbol":"BTCUSD_PERP","base":"BTC","quote":"USD","kind":"coin_futures","contract_size":"100","inverse":true}
            ]"#,
            policy: CONFIGURE,
        },
    },
    Place {
        name: "Bybit",
        kind: Kind::Bybit,
        firm: Firm {
            venue: "bybit",
            hosts: &[BYBIT],
            markets: r#"[
                {"symbol":"BTCUSDT","base":"BTC","quote":"USDT"},
                {"symbol":"BTCUSDT","base":"BTC","quote":"USDT","kind":"usd_futures"},
                {"symbol":"BTCUSD","base":"BTC","quote":"USD","kind":"coin_futures","contract_size":"1","inverse":true}
            ]"#,
            policy: CONFIGURE,
        },
    },
    Place {
        name: "OKX",
        kind: Kind::Okx,
        firm: Firm {
            venue: "okx",
            hosts: &[OKX],
            markets: r#"[
                {"symbol":"BTC-USDT","base":"BTC","quote":"USDT"},
                {"symbol":"BTC-USDT-SWAP","base":"BTC","quote":"USDT","kind":"usd_futures","contract_size":"0.01"},
                {"symbol":"BTC-USD-SWAP","base":"BTC","quote":"USD","kind":"coin_futures","contract_size":"100","inverse":true}
            ]"#,
            policy: CONFIGURE,
        },
    },
];

fn mandates() -> String {
    MANDATES.replace(
        "[firm.markets.\"BTC*\"]",
        "leverage = \"10\"\n[firm.markets.\"*\"]\n[firm.markets.\"usd_futures:*\"]\n[firm.markets.\"coin_futures:*\"]",
    )
}

/// `2026-09-21T14:13:20.123Z`
fn iso(ms: u64) -> String {
    let (mut days, rest) = (ms / 86_400_000, ms % 86_400_000);
    let leap =
        |year: u64| year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
    let mut year = 1970;
    loop {
        let length = if leap(year) { 366 } else { 365 };
        if days < length {
            break;
        }
        days -= length;
        year += 1;
    }
    let february = if leap(year) { 29 } else { 28 };
    let mut month = 0;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        month += 1;
        if days < length {
            break;
        }
        days -= length;
    }
    let second = rest / 1_000;
    format!(
        "{year}-{month:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
        days + 1,
        second / 3_600,
        second / 60 % 60,
        second % 60,
        rest % 1_000
    )
}

fn mac(secret: &str, text: &str) -> [u8; 32] {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    hmac::sign(&key, text.as_bytes())
        .as_ref()
        .try_into()
        .unwrap()
}

/// A program's request in the words of the host: `fields` are a query, a form, or JSON.
fn asked(credential: &Credential, call: &Call) -> Asked {
    let (method, path, fields) = (call.method, call.path.as_str(), call.fields.as_str());
    let now = now_us() / 1_000;
    let (target, body) = match method {
        "GET" if fields.is_empty() => (path.to_owned(), ""),
        "GET" => (format!("{path}?{fields}"), ""),
        _ => (path.to_owned(), fields),
    };
    let mut headers = Vec::new();
    let mut head = |name: &str, value: &str| {
        headers.push((name.to_owned(), value.as_bytes().to_vec()));
    };
    match call.host {
        BYBIT => {
            let payload = if method == "GET" { fields } else { body };
            let sign = mac(
                &credential.secret,
                &format!("{now}{}5000{payload}", credential.api_key),
            );
            head("x-bapi-api-key", &credential.api_key);
            head("x-bapi-timestamp", &now.to_string());
            head("x-bapi-recv-window", "5000");
            head("x-bapi-sign", &releases::hex(&sign));
        }
        OKX => {
            let time = iso(now);
            let sign = mac(&credential.secret, &format!("{time}{method}{target}{body}"));
            head("ok-access-key", &credential.api_key);
            head("ok-access-timestamp", &time);
            head("ok-access-passphrase", "any");
            head("ok-access-sign", &portcullis_sim::keys::base64(&sign));
        }
        host => {
            let mut asked = request_of(credential, method, path, fields);
            asked.host = host;
            return asked;
        }
    }
    if method == "POST" {
        head("content-type", "application/json");
    }
    Asked {
        method: method.to_owned(),
        target: target.into_bytes(),
        headers,
        body: body.as_bytes().to_vec(),
        source: vec![127, 0, 0, 1],
        connection: 1,
        host: call.host,
    }
}

#[derive(Debug, Clone)]
struct Call {
    host: &'static str,
    method: &'static str,
    path: String,
    fields: String,
}

fn call(host: &'static str, method: &'static str, path: &str, fields: impl Into<String>) -> Call {
    Call {
        host,
        method,
        path: path.to_owned(),
        fields: fields.into(),
    }
}

fn price(venue: &Venue) -> f64 {
    let house = &venue.futures.houses[Service::Usd.index()];
    let market = house
        .markets
        .iter()
        .find(|m| m.contract.base == "BTC")
        .unwrap();
    decimal::text(market.last).parse().unwrap()
}

/// Resting orders far from the price, that cancels and amendments point at.
fn setup(place: &Place, price: f64) -> Vec<Call> {
    let far = (price * 0.96) as u64;
    match place.kind {
        Kind::Binance => ["t1", "t2", "t3"]
            .iter()
            .flat_map(|id| {
                [
                    call(USD, "POST", "/fapi/v1/order", format!("symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.02&price={far}&newClientOrderId={id}")),
                    call(COIN, "POST", "/dapi/v1/order", format!("symbol=BTCUSD_PERP&side=BUY&type=LIMIT&timeInForce=GTC&quantity=4&price={far}&newClientOrderId={id}")),
                ]
            })
            .collect(),
        Kind::Bybit => ["t1", "t2", "t3"]
            .iter()
            .flat_map(|id| {
                [
                    call(BYBIT, "POST", "/v5/order/create", format!(r#"{{"category":"linear","symbol":"BTCUSDT","side":"Buy","orderType":"Limit","qty":"0.02","price":"{far}","orderLinkId":"{id}"}}"#)),
                    call(BYBIT, "POST", "/v5/order/create", format!(r#"{{"category":"spot","symbol":"BTCUSDT","side":"Buy","orderType":"Limit","qty":"0.02","price":"{far}","orderLinkId":"s{id}"}}"#)),
                ]
            })
            .collect(),
        Kind::Okx => ["t1", "t2", "t3"]
            .iter()
            .flat_map(|id| {
                [
                    call(OKX, "POST", "/api/v5/trade/order", format!(r#"{{"instId":"BTC-USDT-SWAP","tdMode":"cross","side":"buy","ordType":"limit","sz":"2","px":"{far}","clOrdId":"{id}"}}"#)),
                    call(OKX, "POST", "/api/v5/trade/order", format!(r#"{{"instId":"BTC-USDT","tdMode":"cash","side":"buy","ordType":"limit","sz":"0.02","px":"{far}","clOrdId":"s{id}"}}"#)),
                ]
            })
            .collect(),
        Kind::KuCoin => panic!("{NOT_ATTACKED}"),
    }
}

/// A program's orders, cancels, amendments and settings of every kind, all of which the gate signs.
fn menu(place: &Place, price: f64) -> Vec<Call> {
    let (lo, hi) = ((price * 0.98) as u64, (price * 1.02) as u64);
    let (below, above) = ((price * 0.97) as u64, (price * 1.03) as u64);
    match place.kind {
        Kind::Binance => {
            let mut menu = Vec::new();
            for (host, at, symbol, size) in [
                (USD, "/fapi/v1", "BTCUSDT", "0.01"),
                (COIN, "/dapi/v1", "BTCUSD_PERP", "2"),
            ] {
                let order = format!("symbol={symbol}&quantity={size}");
                for path in ["order", "order/test"] {
                    if host == COIN && path != "order" {
                        continue;
                    }
                    let path = format!("{at}/{path}");
                    for rest in [
                        format!("side=BUY&type=LIMIT&timeInForce=GTC&price={lo}"),
                        format!("side=SELL&type=LIMIT&timeInForce=GTX&price={hi}"),
                        format!("side=BUY&type=LIMIT&timeInForce=IOC&price={hi}"),
                        format!(
                            "side=SELL&type=LIMIT&timeInForce=FOK&price={lo}&newClientOrderId=own-id"
                        ),
                        "side=BUY&type=MARKET".to_owned(),
                        "side=SELL&type=MARKET&reduceOnly=true".to_owned(),
                    ] {
                        menu.push(call(host, "POST", &path, format!("{order}&{rest}")));
                    }
                }
                let one = |side: &str, price: u64| {
                    format!(
                        r#"{{"symbol":"{symbol}","side":"{side}","type":"LIMIT","timeInForce":"GTC","quantity":"{size}","price":"{price}"}}"#
                    )
                };
                let batch = format!("[{},{}]", one("BUY", lo), one("SELL", hi));
                let encoded: String = batch.bytes().map(|b| format!("%{b:02X}")).collect();
                menu.push(call(
                    host,
                    "POST",
                    &format!("{at}/batchOrders"),
                    format!("batchOrders={encoded}"),
                ));
                for rest in [
                    format!("side=SELL&type=STOP_MARKET&triggerPrice={lo}&quantity={size}"),
                    format!(
                        "side=SELL&type=TAKE_PROFIT_MARKET&triggerPrice={hi}&closePosition=true"
                    ),
                    format!(
                        "side=BUY&type=STOP&timeInForce=GTC&quantity={size}&price={hi}&triggerPrice={hi}"
                    ),
                ] {
                    menu.push(call(
                        host,
                        "POST",
                        &format!("{at}/algoOrder"),
                        format!("algoType=CONDITIONAL&symbol={symbol}&{rest}"),
                    ));
                }
                menu.push(call(
                    host,
                    "DELETE",
                    &format!("{at}/order"),
                    format!("symbol={symbol}&origClientOrderId=t1"),
                ));
                menu.push(call(
                    host,
                    "DELETE",
                    &format!("{at}/allOpenOrders"),
                    format!("symbol={symbol}"),
                ));
                menu.push(call(
                    host,
                    "POST",
                    &format!("{at}/leverage"),
                    format!("symbol={symbol}&leverage=5"),
                ));
                for (path, fields) in [
                    ("openOrders", format!("symbol={symbol}")),
                    ("order", format!("symbol={symbol}&origClientOrderId=t1")),
                    ("allOrders", format!("symbol={symbol}")),
                    ("userTrades", format!("symbol={symbol}")),
                    ("income", String::new()),
                    ("positionSide/dual", String::new()),
                ] {
                    menu.push(call(host, "GET", &format!("{at}/{path}"), fields));
                }
            }
            menu
        }
        Kind::Bybit => {
            let create =
                |fields: String| call(BYBIT, "POST", "/v5/order/create", format!("{{{fields}}}"));
            let one = r#""symbol":"BTCUSDT","side":"Buy","orderType":"Limit","qty":"0.01""#;
            let mut menu = vec![
                create(format!(r#""category":"linear",{one},"price":"{lo}""#)),
                create(format!(r#""category":"linear",{one},"price":"{hi}","timeInForce":"IOC","orderLinkId":"own-id""#)),
                create(format!(r#""category":"linear",{one},"price":"{lo}","takeProfit":"{above}","stopLoss":"{below}""#)),
                create(format!(r#""category":"linear",{one},"price":"{lo}","tpslMode":"Full","positionIdx":0,"takeProfit":"{above}""#)),
                create(r#""category":"linear","symbol":"BTCUSDT","side":"Sell","orderType":"Market","qty":"0.01""#.to_owned()),
                create(r#""category":"linear","symbol":"BTCUSDT","side":"Sell","orderType":"Market","qty":"0.01","reduceOnly":true"#.to_owned()),
                create(format!(r#""category":"linear","symbol":"BTCUSDT","side":"Sell","orderType":"Market","qty":"0.01","triggerPrice":"{lo}","triggerDirection":2"#)),
                create(format!(r#""category":"spot",{one},"price":"{lo}""#)),
                create(r#""category":"spot","symbol":"BTCUSDT","side":"Buy","orderType":"Market","qty":"500""#.to_owned()),
                create(r#""category":"spot","symbol":"BTCUSDT","side":"Sell","orderType":"Market","qty":"0.01""#.to_owned()),
                create(r#""category":"inverse","symbol":"BTCUSD","side":"Buy","orderType":"Market","qty":"100""#.to_owned()),
                call(BYBIT, "POST", "/v5/order/create-batch", format!(r#"{{"category":"linear","request":[{{{one},"price":"{lo}"}},{{{one},"price":"{below}"}}]}}"#)),
                call(BYBIT, "POST", "/v5/order/amend", r#"{"category":"linear","symbol":"BTCUSDT","orderLinkId":"t2","qty":"0.01"}"#),
                call(BYBIT, "POST", "/v5/order/cancel", r#"{"category":"linear","symbol":"BTCUSDT","orderLinkId":"t1"}"#),
                call(BYBIT, "POST", "/v5/order/cancel", r#"{"category":"spot","symbol":"BTCUSDT","orderLinkId":"st1"}"#),
                call(BYBIT, "POST", "/v5/order/cancel-batch", r#"{"category":"linear","request":[{"symbol":"BTCUSDT","orderLinkId":"t3"}]}"#),
                call(BYBIT, "POST", "/v5/order/cancel-all", r#"{"category":"linear","symbol":"BTCUSDT"}"#),
                call(BYBIT, "POST", "/v5/position/set-leverage", r#"{"category":"linear","symbol":"BTCUSDT","buyLeverage":"5","sellLeverage":"5"}"#),
            ];
            for (path, query) in [
                ("/v5/order/realtime", "category=linear&symbol=BTCUSDT"),
                ("/v5/order/realtime", "category=spot"),
                ("/v5/order/history", "category=linear"),
                ("/v5/execution/list", "category=linear"),
                ("/v5/position/list", "category=linear&symbol=BTCUSDT"),
                ("/v5/account/wallet-balance", "accountType=UNIFIED"),
                ("/v5/account/info", ""),
                ("/v5/user/query-api", ""),
            ] {
                menu.push(call(BYBIT, "GET", path, query));
            }
            menu
        }
        Kind::Okx => {
            let post =
                |path: &str, fields: String| call(OKX, "POST", &format!("/api/v5/{path}"), fields);
            let swap = r#""instId":"BTC-USDT-SWAP","tdMode":"cross""#;
            let spot = r#""instId":"BTC-USDT","tdMode":"cash""#;
            let mut menu = vec![
                post(
                    "trade/order",
                    format!(r#"{{{swap},"side":"buy","ordType":"limit","sz":"1","px":"{lo}"}}"#),
                ),
                post(
                    "trade/order",
                    format!(
                        r#"{{{swap},"side":"buy","ordType":"ioc","sz":"1","px":"{hi}","clOrdId":"ownid"}}"#
                    ),
                ),
                post(
                    "trade/order",
                    format!(r#"{{{swap},"side":"sell","ordType":"market","sz":"1"}}"#),
                ),
                post(
                    "trade/order",
                    format!(
                        r#"{{{swap},"side":"sell","ordType":"market","sz":"1","reduceOnly":true}}"#
                    ),
                ),
                post(
                    "trade/order",
                    format!(
                        r#"{{{swap},"side":"buy","ordType":"limit","sz":"1","px":"{lo}","attachAlgoOrds":[{{"tpTriggerPx":"{above}","tpOrdPx":"-1"}}]}}"#
                    ),
                ),
                post(
                    "trade/order",
                    format!(
                        r#"{{"instId":"BTC-USD-SWAP","tdMode":"cross","side":"buy","ordType":"limit","sz":"1","px":"{lo}"}}"#
                    ),
                ),
                post(
                    "trade/order",
                    format!(r#"{{{spot},"side":"buy","ordType":"limit","sz":"0.01","px":"{lo}"}}"#),
                ),
                post(
                    "trade/order",
                    format!(r#"{{{spot},"side":"buy","ordType":"market","sz":"500"}}"#),
                ),
                post(
                    "trade/order",
                    format!(r#"{{{spot},"side":"sell","ordType":"market","sz":"0.01"}}"#),
                ),
                post(
                    "trade/batch-orders",
                    format!(
                        r#"[{{{swap},"side":"buy","ordType":"limit","sz":"1","px":"{lo}"}},{{{spot},"side":"sell","ordType":"post_only","sz":"0.01","px":"{hi}"}}]"#
                    ),
                ),
                post(
                    "trade/order-algo",
                    format!(
                        r#"{{{spot},"side":"sell","ordType":"conditional","sz":"0.01","slTriggerPx":"{lo}","slOrdPx":"-1"}}"#
                    ),
                ),
                post(
                    "trade/order-algo",
                    format!(
                        r#"{{{spot},"side":"sell","ordType":"oco","sz":"0.01","tpTriggerPx":"{hi}","tpOrdPx":"-1","slTriggerPx":"{lo}","slOrdPx":"-1"}}"#
                    ),
                ),
                post(
                    "trade/amend-order",
                    r#"{"instId":"BTC-USDT-SWAP","clOrdId":"t2","newSz":"1"}"#.to_owned(),
                ),
                post(
                    "trade/cancel-order",
                    r#"{"instId":"BTC-USDT-SWAP","clOrdId":"t1"}"#.to_owned(),
                ),
                post(
                    "trade/cancel-order",
                    r#"{"instId":"BTC-USDT","clOrdId":"st1"}"#.to_owned(),
                ),
                post(
                    "trade/cancel-batch-orders",
                    r#"[{"instId":"BTC-USDT-SWAP","clOrdId":"t3"}]"#.to_owned(),
                ),
                post(
                    "account/set-leverage",
                    r#"{"instId":"BTC-USDT-SWAP","lever":"5","mgnMode":"cross"}"#.to_owned(),
                ),
            ];
            for (path, query) in [
                ("trade/orders-pending", "instId=BTC-USDT"),
                ("trade/order", "instId=BTC-USDT-SWAP&clOrdId=t1"),
                ("trade/fills", ""),
                ("account/balance", ""),
                ("account/positions", ""),
                ("account/config", ""),
                ("asset/balances", ""),
            ] {
                menu.push(call(OKX, "GET", &format!("/api/v5/{path}"), query));
            }
            menu
        }
        Kind::KuCoin => panic!("{NOT_ATTACKED}"),
    }
}

/// The books of an exchange with contracts, as far as a request could change them.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Ledger {
    trading: String,
    settings: String,
    value: String,
    wealth: String,
    acts: String,
    keys: String,
    others: String,
    streams: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Effect {
    Trading,
    /// Leverage, position mode, assets mode.
    Setting,
    Stream,
    Beside,
    Value,
    Keys,
    Others,
}

impl Ledger {
    fn of(venue: &Venue) -> Self {
        let mut it = Self {
            trading: String::new(),
            settings: String::new(),
            value: String::new(),
            wealth: String::new(),
            acts: String::new(),
            keys: String::new(),
            others: String::new(),
            streams: venue.listen_keys.len(),
        };
        let exchange = &venue.exchange;
        for (at, account) in exchange.accounts.iter().enumerate().skip(CROWD + 1) {
            let is_firm = account.name == FIRM;
            let trading = if is_firm {
                &mut it.trading
            } else {
                &mut it.others
            };
            for (market, orders) in account.orders.iter().enumerate() {
                for id in orders {
                    let order = &exchange.markets[market].book.orders[id];
                    let _ = write!(trading, "{market} {order:?} ");
                }
                let _ = write!(trading, "{} ", account.trades[market].len());
            }
            for house in &venue.futures.houses {
                let Some(owner) = house.accounts.get(at) else {
                    continue;
                };
                let trading = if is_firm {
                    &mut it.trading
                } else {
                    &mut it.others
                };
                for (contract, id) in &owner.orders {
                    let order = &house.markets[*contract].book.orders[id];
                    let _ = write!(trading, "{order:?} ");
                }
                for id in &owner.algos {
                    let _ = write!(trading, "{:?} ", house.algos[id]);
                }
                let _ = write!(trading, "{:?} {}", owner.positions, owner.trades.len());
                let settings = if is_firm {
                    &mut it.settings
                } else {
                    &mut it.others
                };
                for contract in 0..house.markets.len() {
                    let _ = write!(settings, "{:?} ", owner.setting(contract));
                }
                let _ = write!(
                    settings,
                    "{} {} {:?}",
                    owner.hedge, owner.joint, owner.countdowns
                );
            }
            let value = if is_firm {
                &mut it.value
            } else {
                &mut it.others
            };
            let _ = write!(value, "{:?} {:?}", account.wallets, account.debts);
            for (asset, balance) in account.spot.iter().enumerate() {
                // What stands behind contracts is the same money.
                let behind = venue.futures.houses.iter().filter_map(|house| {
                    let owner = house.accounts.get(at)?;
                    owner.wallets.get(&asset).copied()
                });
                let behind: i128 = behind.map(portcullis_sim::futures::position::shown).sum();
                let sum = balance.free + balance.locked + behind;
                let wealth = if is_firm {
                    &mut it.wealth
                } else {
                    &mut it.others
                };
                let _ = write!(wealth, "{sum} ");
            }
        }
        for effect in &venue.effects {
            if effect["kind"] != "listen key" {
                let _ = write!(it.acts, "{effect}");
            }
        }
        let _ = write!(it.value, "{:?}", venue.withdrawals);
        let mut keys: Vec<String> = venue
            .keys
            .all()
            .map(|(text, key)| format!("{text} {:?} {:?} {}", key.rights, key.ips, key.revoked))
            .collect();
        keys.sort();
        it.keys = keys.join("\n");
        it
    }

    fn changes(&self, after: &Self) -> Vec<Effect> {
        let mut effects = Vec::new();
        let mut note = |is_it: bool, effect| {
            if is_it {
                effects.push(effect);
            }
        };
        let trades = self.trading != after.trading;
        note(trades, Effect::Trading);
        note(self.settings != after.settings, Effect::Setting);
        note(self.streams != after.streams, Effect::Stream);
        let moved = self.value != after.value || self.wealth != after.wealth && !trades;
        note(moved, Effect::Value);
        note(!moved && self.acts != after.acts, Effect::Beside);
        note(self.keys != after.keys, Effect::Keys);
        note(self.others != after.others, Effect::Others);
        effects
    }
}

/// Hands a request over as egress likes.
fn hand_in(
    venue: &mut Venue,
    signed: &Signed,
    (host, method, target, body): (&str, &str, &str, &[u8]),
    now_us: u64,
) -> (u16, String) {
    let mut headers: Vec<(&str, &[u8])> = signed
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_slice()))
        .collect();
    headers.push(("host", host.as_bytes()));
    world::raw(
        venue,
        GATE,
        method,
        target.as_bytes(),
        &headers,
        body,
        now_us,
    )
}

fn deliver(venue: &mut Venue, signed: &Signed, now_us: u64) -> (u16, String) {
    let target = String::from_utf8(signed.target.clone()).unwrap();
    let to = (
        signed.host,
        signed.method.as_str(),
        target.as_str(),
        signed.body.as_slice(),
    );
    hand_in(venue, signed, to, now_us)
}

/// Whether the venue did what it was asked: two of them say no under status 200.
fn is_taken((status, body): &(u16, String)) -> bool {
    let answer: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
    let code = |name: &str| {
        let code = &answer[name];
        code.as_i64().or_else(|| code.as_str()?.parse().ok())
    };
    *status == 200
        && code("retCode").unwrap_or(0) == 0
        && code("code").is_none_or(|c| matches!(c, 0 | 200))
}

struct Harvest {
    signed: Vec<Signed>,
    setup: Vec<(Signed, u64)>,
    began_us: u64,
    keys: BTreeMap<String, String>,
}

impl Harvest {
    fn of(place: &Place) -> Self {
        let began_us = now_us();
        let mut venue = world::exchange(place.kind, began_us, u64::MAX / 4);
        let mut gate = Gate::at(place.firm, &venue, &DUTIES, &mandates(), 1);
        let program = gate.credentials[0].clone();
        until_priced(&mut gate, &mut venue);
        let price = price(&venue);
        let mut done = Vec::new();
        for call in setup(place, price) {
            let signed = gate.ask(&asked(&program, &call), &mut venue);
            let Fate::Signed(signed) = signed else {
                panic!("{call:?}: {signed:?}");
            };
            let at = now_us();
            let answer = deliver(&mut venue, &signed, at);
            assert!(is_taken(&answer), "{call:?}: {answer:?}");
            tell(&mut gate, &signed, &answer);
            done.push((signed, at));
        }
        let mut signed = Vec::new();
        for call in menu(place, price) {
            match gate.ask(&asked(&program, &call), &mut venue) {
                Fate::Signed(one) => {
                    // Held: what it points at stays as it is.
                    gate.say(&one, Sent::NotSent, 0, Vec::new());
                    signed.push(one);
                }
                other => panic!("{call:?}: {other:?}"),
            }
        }
        signed.extend(gate.own.iter().filter(|one| one.key().is_some()).cloned());
        gate.told_nobody();
        let keys = gate.keys.clone();
        gate.program.stop();
        Self {
            signed,
            setup: done,
            began_us,
            keys,
        }
    }

    fn world(&self, place: &Place) -> (Venue, Ledger) {
        let mut venue = world::exchange(place.kind, self.began_us, u64::MAX / 4);
        for (signed, at) in &self.setup {
            let answer = deliver(&mut venue, signed, *at);
            assert!(is_taken(&answer), "{answer:?}");
        }
        let ledger = Ledger::of(&venue);
        (venue, ledger)
    }

    fn duty(&self, signed: &Signed) -> &str {
        let key = signed.key().unwrap();
        self.keys.iter().find(|(_, id)| **id == key).unwrap().0
    }
}

fn tell(gate: &mut Gate, signed: &Signed, answer: &(u16, String)) {
    let reports = portcullis_venues::summarize(
        signed.endpoint,
        portcullis_venues::Asked {
            target: &signed.target,
            body: &signed.body,
        },
        answer.0,
        answer.1.as_bytes(),
    );
    gate.say(signed, Sent::Sent, answer.0, reports);
}

/// Until each kind of market has a reference price, as an honest egress tells it.
fn until_priced(gate: &mut Gate, venue: &mut Venue) {
    gate.until_priced(venue);
    let until = std::time::Instant::now() + Duration::from_millis(800);
    while std::time::Instant::now() < until {
        if let Some(event) = gate.event(Duration::from_millis(50)) {
            gate.meanwhile(event, venue);
        }
    }
}

/// When a request was stamped, and when the venue's own rule ends it.
fn window(place: &Place, signed: &Signed) -> (u64, u64) {
    let header = |wanted: &str| {
        let found = signed.headers.iter().find(|(name, _)| name == wanted);
        String::from_utf8(found.unwrap().1.clone()).unwrap()
    };
    let number = |wanted: &str| header(wanted).parse::<u64>().unwrap();
    match place.kind {
        Kind::Binance => (signed.starts_us(), signed.ends_us()),
        Kind::Bybit => {
            let at = number("x-bapi-timestamp");
            (at * 1_000, (at + number("x-bapi-recv-window")) * 1_000)
        }
        Kind::Okx => {
            let text = header("ok-access-timestamp");
            // All of a run is within a day or two: the days are found by trying.
            let now = now_us() / 1_000;
            let day = now / 86_400_000;
            let of_day: u64 = [(11, 3_600_000), (14, 60_000), (17, 1_000)]
                .iter()
                .map(|(from, unit)| text[*from..from + 2].parse::<u64>().unwrap() * unit)
                .sum::<u64>()
                + text[20..23].parse::<u64>().unwrap();
            let at = [day, day - 1]
                .iter()
                .map(|day| day * 86_400_000 + of_day)
                .find(|at| iso(*at) == text)
                .unwrap();
            (at * 1_000, (at + 30_000) * 1_000)
        }
        Kind::KuCoin => panic!("{NOT_ATTACKED}"),
    }
}

/// Everything that is signed, with where it is: the text, and the headers that carry the scheme.
fn signed_text(place: &Place, signed: &Signed) -> String {
    match place.kind {
        Kind::Binance => signed.text(),
        _ if signed.method == "GET" => {
            let target = String::from_utf8_lossy(&signed.target).into_owned();
            target
                .split_once('?')
                .map_or(String::new(), |(_, query)| query.to_owned())
        }
        _ => String::from_utf8(signed.body.clone()).unwrap(),
    }
}

/// Paths of a venue's catalog, each with the host that serves it.
fn paths(place: &Place) -> BTreeSet<(String, String)> {
    let catalog = Catalog::builtin().unwrap();
    catalog
        .endpoints()
        .filter_map(|(_, rule)| {
            let service = catalog.service_of(rule)?;
            let is_it = service.venue() == place.firm.venue && rule.path.starts_with('/');
            is_it.then(|| (service.host.clone(), rule.path.clone()))
        })
        .collect()
}

fn elsewhere(place: &Place) {
    let harvest = Harvest::of(place);
    let (mut venue, mut before) = harvest.world(place);
    let mut got: BTreeMap<(String, String, Effect), usize> = BTreeMap::new();
    let (mut tried, mut accepted) = (0, 0);
    let all = paths(place);
    let known: Vec<&(String, String)> = all
        .iter()
        .filter(|(host, path)| {
            METHODS.iter().any(|method| {
                let headers = [("host", host.as_bytes())];
                let path = path.as_bytes();
                let at = harvest.began_us;
                !matches!(
                    world::raw(&mut venue, GATE, method, path, &headers, b"", at).0,
                    404
                )
            })
        })
        .collect();
    for signed in &harvest.signed {
        let at = window(place, signed).0 + 5_000;
        let duty = harvest.duty(signed).to_owned();
        let text = signed_text(place, signed);
        for (host, path) in &all {
            let is_known = known.iter().any(|one| one.0 == *host && one.1 == *path);
            for method in METHODS {
                // What the simulator has not is tried once.
                let shapes: Vec<(String, String)> = match is_known {
                    false => vec![(path.clone(), text.clone())],
                    true => vec![
                        (path.clone(), text.clone()),
                        (format!("{path}?{text}"), String::new()),
                        (path.clone(), String::new()),
                    ],
                };
                for (target, body) in shapes {
                    tried += 1;
                    let to = (host.as_str(), method, target.as_str(), body.as_bytes());
                    let answer = hand_in(&mut venue, signed, to, at);
                    if !is_taken(&answer) {
                        continue;
                    }
                    accepted += 1;
                    if method == "GET" {
                        continue;
                    }
                    let effects = before.changes(&Ledger::of(&venue));
                    if !effects.is_empty() {
                        for effect in effects {
                            *got.entry((duty.clone(), format!("{method} {path}"), effect))
                                .or_default() += 1;
                        }
                        (venue, before) = harvest.world(place);
                    }
                }
            }
        }
        let effects = before.changes(&Ledger::of(&venue));
        assert!(effects.is_empty(), "{effects:?} {text}");
    }
    for ((duty, path, effect), times) in &got {
        println!(
            "  {}: signed by `{duty}`, took effect at {path}: {effect:?}, {times} times",
            place.name
        );
    }
    for (duty, path, effect) in got.keys() {
        let is_own_end = path.ends_with("/user/delete-api");
        let allowed: &[Effect] = match (duty.as_str(), place.kind) {
            // A key that asks for its own end with nothing but its signature: it ends, and trading with it.
            (_, Kind::Bybit) if is_own_end => &[Effect::Keys, Effect::Beside],
            ("read", _) => &[Effect::Stream],
            ("trade", _) => &[
                Effect::Trading,
                Effect::Setting,
                Effect::Stream,
                Effect::Beside,
            ],
            (other, _) => panic!("nothing here needs the key `{other}`, and it signed"),
        };
        assert!(allowed.contains(effect), "{duty} {path}: {effect:?}");
    }
    let places = |duty: &str, effect: Effect| -> Vec<&str> {
        got.keys()
            .filter(|(d, _, e)| d == duty && *e == effect)
            .map(|(_, path, _)| path.as_str())
            .collect()
    };
    assert!(!places("trade", Effect::Trading).is_empty());
    row(
        "A4",
        &format!(
            "{}: {} signed requests under 4 methods and {} paths, in query, body and none",
            place.name,
            harvest.signed.len(),
            all.len()
        ),
        tried,
        &format!(
            "{accepted} accepted; read key: {:?}; trade key: trading at {:?}, settings at {:?}, beside {:?}, keys {:?}",
            places("read", Effect::Keys),
            places("trade", Effect::Trading),
            places("trade", Effect::Setting),
            places("trade", Effect::Beside),
            places("trade", Effect::Keys),
        ),
    );
    rewritten(place, &harvest);
    held(place, &harvest);
}

/// A bit flipped anywhere in text and headers, another's signature, another key.
fn rewritten(place: &Place, harvest: &Harvest) {
    let (mut venue, before) = harvest.world(place);
    let mut tried = 0;
    for signed in harvest
        .signed
        .iter()
        .filter(|one| harvest.duty(one) != "read")
    {
        let at = window(place, signed).0 + 5_000;
        let mut try_it = |other: &Signed| {
            tried += 1;
            let target = String::from_utf8_lossy(&other.target).into_owned();
            let to = (
                other.host,
                other.method.as_str(),
                target.as_str(),
                other.body.as_slice(),
            );
            hand_in(&mut venue, other, to, at);
        };
        for place in 0..signed.body.len() {
            let mut other = signed.clone();
            other.body[place] ^= 1;
            try_it(&other);
        }
        for place in 0..signed.target.len() {
            let mut other = signed.clone();
            // The path of one that is signed whole; of the others only the query is.
            if !signed.target[..place].contains(&b'?') {
                continue;
            }
            other.target[place] ^= 1;
            try_it(&other);
        }
        for (number, (name, value)) in signed.headers.iter().enumerate() {
            if matches!(name.as_str(), "content-type" | "exptime") {
                continue;
            }
            for place in 0..value.len() {
                let mut other = signed.clone();
                other.headers[number].1[place] ^= 1;
                try_it(&other);
            }
            // Twice, as two sides might read one of them each.
            let mut other = signed.clone();
            other.headers.push((name.to_uppercase(), value.clone()));
            try_it(&other);
        }
        for foreign in harvest.signed.iter().filter(|one| one.body != signed.body) {
            let mut other = signed.clone();
            other.headers.clone_from(&foreign.headers);
            if place.kind == Kind::Binance {
                continue;
            }
            try_it(&other);
        }
        for key in harvest
            .keys
            .values()
            .filter(|key| **key != signed.key().unwrap())
        {
            let mut other = signed.clone();
            for (name, value) in &mut other.headers {
                if name.ends_with("key") || name.ends_with("apikey") {
                    *value = key.clone().into_bytes();
                }
            }
            try_it(&other);
        }
        // A field more, before and behind.
        for more in [
            r#""qty":"9","#,
            r#""sz":"9","#,
            "quantity=9&",
            r#""reduceOnly":false,"#,
        ] {
            let mut other = signed.clone();
            let from = usize::from(other.body.first() == Some(&b'{'));
            let rest = other.body.split_off(from.min(other.body.len()));
            other.body.extend(more.as_bytes());
            other.body.extend(rest);
            try_it(&other);
        }
        let effects = before.changes(&Ledger::of(&venue));
        assert!(
            effects.is_empty(),
            "{effects:?} {}",
            signed_text(place, signed)
        );
    }
    row(
        "A4",
        &format!(
            "{}: a bit flipped in text or scheme, a header twice, a field more, another's signature, another key",
            place.name
        ),
        tried,
        "nothing",
    );
}

/// Held to the last moment, after it, and again and again.
fn held(place: &Place, harvest: &Harvest) {
    let (mut held, mut late, mut lives_ms) = (0, 0, BTreeSet::new());
    for signed in harvest
        .signed
        .iter()
        .filter(|one| harvest.duty(one) != "read")
    {
        let (from, to) = window(place, signed);
        lives_ms.insert((to - from) / 1_000);
        // Egress leaves out what nobody signed.
        let mut bare = signed.clone();
        bare.headers.retain(|(name, _)| name != "exptime");
        let (mut venue, before) = harvest.world(place);
        let answer = deliver(&mut venue, &bare, from + 5_000);
        let at_once = (is_taken(&answer), before.changes(&Ledger::of(&venue)));
        let (mut venue, before) = harvest.world(place);
        let answer = deliver(&mut venue, &bare, to);
        let last = (is_taken(&answer), before.changes(&Ledger::of(&venue)));
        assert_eq!(at_once, last, "{answer:?} {}", signed_text(place, signed));
        held += 1;
        let (mut venue, before) = harvest.world(place);
        late += 1;
        assert!(!is_taken(&deliver(&mut venue, &bare, to + 1_000)));
        assert_eq!(before.changes(&Ledger::of(&venue)), []);
    }
    let longest = *lives_ms.last().unwrap();
    assert!(
        longest
            <= if place.kind == Kind::Okx {
                30_000
            } else {
                1_000
            },
        "{lives_ms:?}"
    );
    row(
        "A4",
        &format!(
            "{}: held to the last millisecond that the venue takes it, and a millisecond longer",
            place.name
        ),
        held + late,
        &format!(
            "takes effect as at once; after it nothing. What is signed lives {longest} ms at most"
        ),
    );
    let mut got = Vec::new();
    let is_market = |one: &&Signed| {
        let text = signed_text(place, one).to_lowercase();
        text.contains("market")
            && !text.contains("trigger")
            && !one.path().contains("test")
            && !text.contains("reduce")
    };
    for signed in harvest.signed.iter().filter(is_market) {
        let (mut venue, _) = harvest.world(place);
        let from = window(place, signed).0;
        let taken = (0..200)
            .filter(|n| is_taken(&deliver(&mut venue, signed, from + 1_000 * n)))
            .count();
        got.push(taken);
    }
    assert!(!got.is_empty());
    row(
        "A4",
        &format!(
            "{}: {} signed market orders, each sent 200 times within its window",
            place.name,
            got.len()
        ),
        200 * got.len(),
        &format!("each took effect {:?} times", got),
    );
}

#[test]
fn egress_at_binance_futures() {
    elsewhere(&PLACES[0]);
}

#[test]
fn egress_at_bybit() {
    elsewhere(&PLACES[1]);
}

#[test]
fn egress_at_okx() {
    elsewhere(&PLACES[2]);
}

/// The moment after which a halt says that nothing takes effect any more is the venue's, not the gate's own window: OKX takes
/// a signed request for thirty seconds, since its deadline stands in a header that nobody signs.
#[test]
fn a_halt_names_the_moment_after_which_the_venue_takes_nothing() {
    for place in &PLACES {
        let mut venue = world::exchange(place.kind, now_us(), u64::MAX / 4);
        let mut gate = Gate::at(place.firm, &venue, &DUTIES, &mandates(), 1);
        let program = gate.credentials[0].clone();
        until_priced(&mut gate, &mut venue);
        let order = setup(place, price(&venue)).remove(0);
        let mut signed = gate.ask(&asked(&program, &order), &mut venue).signed();
        signed.headers.retain(|(name, _)| name != "exptime");
        let mut operator = gate.program.operator.try_clone().unwrap();
        let halt = Command::Halt {
            scope: Scope::Firm,
            level: Level::CancelOnly,
            reason: "test".to_owned(),
        };
        let asking = std::thread::spawn(move || ask(&mut operator, &halt));
        loop {
            match gate.event(Duration::from_secs(20)).expect("a discard") {
                Event::Discard(discard) => {
                    let discarded = Discarded {
                        token: discard.token,
                        discarded: discard.entries,
                        under_way: Vec::new(),
                        done: Vec::new(),
                    };
                    crate::common::write_frame(&mut gate.from_egress, kind::DISCARDED, &discarded);
                    break;
                }
                other => gate.meanwhile(other, &mut venue),
            }
        }
        let Answer::Halted(halted) = asking.join().unwrap() else {
            panic!("not halted")
        };
        let (_, ends) = window(place, &signed);
        assert!(
            halted.none_after.0 >= ends,
            "{}: {halted:?} {ends}",
            place.name
        );
        assert!(halted.none_after.0 < ends + 1_000_000, "{}", place.name);
        assert!(
            is_taken(&deliver(&mut venue, &signed, ends)),
            "{}",
            place.name
        );
        gate.program.stop();
    }
    row(
        "A4",
        "at each venue: says that it dropped what it holds, and hands it in at the last moment after a halt",
        PLACES.len(),
        "takes effect, before the later of the two moments that `halt` names",
    );
}

/// Ingress hands programs' requests of one venue on as another line of it, at every host that any venue has.
#[test]
fn ingress_at_every_venue() {
    for place in &PLACES {
        let mut venue = world::exchange(place.kind, now_us(), u64::MAX / 4);
        let mut gate = Gate::at(place.firm, &venue, &DUTIES, &mandates(), 2);
        let program = gate.credentials[0].clone();
        until_priced(&mut gate, &mut venue);
        let price = price(&venue);
        for call in setup(place, price) {
            let signed = gate.ask(&asked(&program, &call), &mut venue).signed();
            let answer = deliver(&mut venue, &signed, now_us());
            tell(&mut gate, &signed, &answer);
        }
        let before = Ledger::of(&venue);
        let catalog = Catalog::builtin().unwrap();
        let (mut tried, mut passed) = (0, 0);
        let mut became: BTreeSet<String> = BTreeSet::new();
        let menu = menu(place, price);
        // An order, one that reduces, a cancel, a setting, a read.
        let picks = [
            "order/create",
            "leverage",
            "cancel-order",
            "order/cancel",
            "batch",
            "/order",
        ];
        let some: Vec<&Call> = picks
            .iter()
            .filter_map(|pick| menu.iter().find(|call| call.path.contains(pick)))
            .chain(menu.iter().rev().take(1))
            .collect();
        for call in some {
            for (_, rule) in catalog.endpoints() {
                let Some(service) = catalog.service_of(rule) else {
                    continue;
                };
                let host = SERVED.iter().find(|host| service.serves(host));
                let Some(host) = host.filter(|_| rule.path.starts_with('/')) else {
                    continue;
                };
                let mut request = asked(&program, call);
                let query = request.target.iter().position(|b| *b == b'?');
                let text = match query {
                    Some(at) => request.target[at + 1..].to_vec(),
                    None => request.body.clone(),
                };
                request.host = host;
                request.method = rule.method.name().to_owned();
                let in_body = matches!(rule.method.name(), "POST" | "PUT");
                request.target = rule.path.clone().into_bytes();
                request.body = Vec::new();
                if in_body {
                    request.body = text;
                } else if !text.is_empty() {
                    request.target.push(b'?');
                    request.target.extend(text);
                }
                tried += 1;
                match gate.ask(&request, &mut venue) {
                    Fate::Signed(signed) if signed.key().is_none() => {}
                    Fate::Signed(signed) => {
                        passed += 1;
                        // At the account's own venue, recorded as what it became, with the least key.
                        assert!(
                            place.firm.hosts.contains(&signed.host),
                            "{call:?} {}",
                            rule.name()
                        );
                        assert!(signed.entry.is_some());
                        let duty = gate
                            .keys
                            .iter()
                            .find(|(_, key)| **key == signed.key().unwrap());
                        let wanted = format!("{:?}", rule.action.duty()).to_lowercase();
                        assert_eq!(duty.unwrap().0, &wanted, "{}", rule.name());
                        assert!(
                            matches!(wanted.as_str(), "read" | "trade"),
                            "{}",
                            rule.name()
                        );
                        became.insert(rule.name());
                        let answer = deliver(&mut venue, &signed, now_us());
                        tell(&mut gate, &signed, &answer);
                    }
                    Fate::Refused { .. } => {}
                    Fate::Silent => panic!("no word about {}", rule.name()),
                }
            }
        }
        let effects = before.changes(&Ledger::of(&venue));
        let allowed = [Effect::Trading, Effect::Setting, Effect::Stream];
        assert!(
            effects.iter().all(|effect| allowed.contains(effect)),
            "{effects:?}"
        );
        gate.told_nobody();
        gate.program.stop();
        became.retain(|name| !name.starts_with("GET"));
        row(
            "A3",
            &format!(
                "{}: programs' requests under every call of every venue and host",
                place.name
            ),
            tried,
            &format!(
                "{passed} passed, each at the account's venue, within the mandate and recorded; beside reads: {became:?}"
            ),
        );
    }
}

/// A host of each service, as ingress may name it.
const SERVED: [&str; 9] = [
    "api.binance.com",
    USD,
    COIN,
    "papi.binance.com",
    "eapi.binance.com",
    "ws-api.binance.com",
    BYBIT,
    OKX,
    "stream.bybit.com",
];

/// What a program smuggles into the words of a venue: none of it is signed.
#[test]
fn programs_smuggle_nothing() {
    for place in &PLACES {
        let mut venue = world::exchange(place.kind, now_us(), u64::MAX / 4);
        let mut gate = Gate::at(place.firm, &venue, &DUTIES, &mandates(), 2);
        let (program, other) = (gate.credentials[0].clone(), gate.credentials[1].clone());
        until_priced(&mut gate, &mut venue);
        let price = price(&venue);
        // Another strategy's resting orders.
        for call in setup(place, price) {
            let signed = gate.ask(&asked(&other, &call), &mut venue).signed();
            let answer = deliver(&mut venue, &signed, now_us());
            tell(&mut gate, &signed, &answer);
        }
        let before = Ledger::of(&venue);
        let mut tried = 0;
        for (call, head) in smuggled(place, price) {
            let mut request = asked(&program, &call);
            for (name, value) in head {
                request
                    .headers
                    .push((name.to_owned(), value.as_bytes().to_vec()));
            }
            tried += 1;
            let fate = gate.ask(&request, &mut venue);
            assert!(
                matches!(fate, Fate::Refused { .. }),
                "{}: {call:?}: {fate:?}",
                place.name
            );
        }
        // The headers of the scheme twice, in any letters.
        let order = setup(place, price).remove(0);
        let whole = asked(&program, &order);
        for at in 0..whole.headers.len() {
            let mut twice = whole.clone();
            let (name, value) = twice.headers[at].clone();
            twice.headers.push((name.to_uppercase(), value));
            tried += 1;
            let fate = gate.ask(&twice, &mut venue);
            assert!(!fate.is_signed(), "{}: {twice:?}: {fate:?}", place.name);
        }
        assert_eq!(before.changes(&Ledger::of(&venue)), []);
        gate.told_nobody();
        gate.program.stop();
        row(
            "A2",
            &format!(
                "{}: fields smuggled, repeated, nested, in other numbers and letters; ids and orders of others; value and keys",
                place.name
            ),
            tried,
            "refused",
        );
    }
}

type Smuggled = (Call, Vec<(&'static str, &'static str)>);

fn smuggled(place: &Place, price: f64) -> Vec<Smuggled> {
    let p = (price * 0.98) as u64;
    let mut all: Vec<Smuggled> = Vec::new();
    let mut add = |host, method, path: &str, fields: String| {
        all.push((call(host, method, path, fields), Vec::new()));
    };
    // Numbers in every other form, in the place of a good one.
    let numbers = [
        "1e-2",
        "1E-2",
        "+0.01",
        "-0.01",
        "0.0100000000000000000000001",
        "00.01",
        ".01",
        "1.",
        "0x1",
        "\u{0661}",
        "\u{ff11}",
        " 0.01",
        "0.01 ",
        "0,01",
        "NaN",
        "Infinity",
        "1_0",
        "",
    ];
    match place.kind {
        Kind::Binance => {
            for (host, at, symbol, size) in [
                (USD, "/fapi/v1", "BTCUSDT", "0.01"),
                (COIN, "/dapi/v1", "BTCUSD_PERP", "2"),
            ] {
                let order = format!("{at}/order");
                let good = format!("symbol={symbol}&side=BUY&type=LIMIT&timeInForce=GTC&price={p}");
                for number in numbers {
                    let number: String = number.bytes().map(|b| format!("%{b:02X}")).collect();
                    add(host, "POST", &order, format!("{good}&quantity={number}"));
                }
                let good = format!("{good}&quantity={size}");
                for more in [
                    "quantity=9",
                    "symbol=ETHUSDT",
                    "side=SELL",
                    "foo=1",
                    "Quantity=9",
                    "QUANTITY=9",
                    "quantity%5B%5D=9",
                    "closePosition=true",
                    "reduceOnly=1",
                    "stopPrice=1",
                    "activationPrice=1",
                    "positionSide=LONG&positionSide=SHORT",
                    "newOrderRespType=X",
                    "goodTillDate=1",
                    "recvWindow=5&recvWindow=6",
                    "signature=00",
                    "timestamp=1",
                    "apiKey=x",
                    "batchOrders=%5B%5D",
                ] {
                    add(host, "POST", &order, format!("{good}&{more}"));
                }
                add(
                    host,
                    "POST",
                    &order,
                    format!(
                        "symbol={symbol}&side=SELL&type=STOP_MARKET&stopPrice={p}&closePosition=true&quantity={size}"
                    ),
                );
                add(
                    host,
                    "POST",
                    &order,
                    format!("symbol={symbol}&side=SELL&type=MARKET&closePosition=true"),
                );
                add(
                    host,
                    "POST",
                    &format!("{at}/algoOrder"),
                    format!(
                        "algoType=CONDITIONAL&symbol={symbol}&side=SELL&type=STOP_MARKET&triggerPrice={p}&closePosition=true&quantity={size}"
                    ),
                );
                add(
                    host,
                    "POST",
                    &format!("{at}/algoOrder"),
                    format!(
                        "algoType=VP&symbol={symbol}&side=SELL&type=STOP_MARKET&triggerPrice={p}&quantity={size}"
                    ),
                );
                // JSON within the form: one bad order is all of them.
                let one = format!(
                    r#"{{"symbol":"{symbol}","side":"BUY","type":"LIMIT","timeInForce":"GTC","quantity":"{size}","price":"{p}"}}"#
                );
                for bad in [
                    format!(
                        "[{one},{}]",
                        one.replace(&format!("\"quantity\":\"{size}\""), "\"quantity\":\"1e9\"")
                    ),
                    format!(
                        "[{one},{}]",
                        one.replace("\"side\"", "\"s\\u0069de\":\"SELL\",\"side\"")
                    ),
                    format!("[{one},{}]", one.replace('}', ",\"foo\":\"1\"}")),
                    format!("[{one},[{one}]]"),
                    format!("[[{one}]]"),
                    one.clone(),
                    format!("[{one}]x"),
                    format!("[{one},]"),
                    format!("[{}]", vec![one.clone(); 6].join(",")),
                    "[]".to_owned(),
                    "\"[]\"".to_owned(),
                    format!("[{}]", one.replace(&format!("\"{p}\""), "{\"a\":1}")),
                    format!("[{}]", one.replace(&format!("\"{size}\""), "1e0")),
                ] {
                    let encoded: String = bad.bytes().map(|b| format!("%{b:02X}")).collect();
                    add(
                        host,
                        "POST",
                        &format!("{at}/batchOrders"),
                        format!("batchOrders={encoded}"),
                    );
                }
                add(
                    host,
                    "DELETE",
                    &format!("{at}/order"),
                    format!("symbol={symbol}&origClientOrderId=t1"),
                );
                add(
                    host,
                    "DELETE",
                    &format!("{at}/allOpenOrders"),
                    format!("symbol={symbol}"),
                );
                add(
                    host,
                    "POST",
                    &format!("{at}/countdownCancelAll"),
                    format!("symbol={symbol}&countdownTime=1000"),
                );
                add(
                    host,
                    "POST",
                    &format!("{at}/leverage"),
                    format!("symbol={symbol}&leverage=125"),
                );
                add(
                    host,
                    "POST",
                    &format!("{at}/positionSide/dual"),
                    "dualSidePosition=true".to_owned(),
                );
                add(host, "POST", &format!("{at}/listenKey"), String::new());
                add(
                    host,
                    "POST",
                    &order,
                    format!(
                        "symbol={symbol}&side=BUY&type=LIMIT&timeInForce=GTC&quantity={size}&price={p}&newClientOrderId=t1"
                    ),
                );
            }
            add(
                "api.binance.com",
                "POST",
                "/sapi/v1/asset/transfer",
                "type=UMFUTURE_MAIN&asset=USDT&amount=5".to_owned(),
            );
            add(
                "api.binance.com",
                "POST",
                "/sapi/v1/sub-account/futures/transfer",
                "email=a%40b.c&asset=USDT&amount=5&type=1".to_owned(),
            );
        }
        Kind::Bybit => {
            let order = "/v5/order/create";
            let good = |qty: &str, more: &str| {
                format!(
                    r#"{{"category":"linear","symbol":"BTCUSDT","side":"Buy","orderType":"Limit","qty":{qty},"price":"{p}"{more}}}"#
                )
            };
            for number in numbers {
                add(BYBIT, "POST", order, good(&format!("\"{number}\""), ""));
            }
            for number in [
                "1e-2",
                "1E-2",
                "-0.01",
                "01",
                "0.1e1",
                "true",
                "null",
                "[]",
                "{}",
                "[\"0.01\"]",
            ] {
                add(BYBIT, "POST", order, good(number, ""));
            }
            for more in [
                r#","qty":"9""#,
                r#","q\u0074y":"9""#,
                r#","Qty":"9""#,
                r#","foo":1"#,
                r#","category":"spot""#,
                r#","isLeverage":1"#,
                r#","marketUnit":"quoteCoin""#,
                r#","orderFilter":"tpslOrder""#,
                r#","triggerPrice":"1""#,
                r#","reduceOnly":"yes""#,
                r#","reduceOnly":1"#,
                r#","closeOnTrigger":true,"qty":"0""#,
                r#","positionIdx":3"#,
                r#","positionIdx":"1.0""#,
                r#","takeProfit":{"price":"1"}"#,
                r#","tpSize":"9""#,
                r#","reduceOnly":true,"takeProfit":"90000""#,
                r#","timeInForce":"GTC","timeInForce":"IOC""#,
                r#","orderIv":"1""#,
                r#","mmp":true"#,
                r#","bboSideType":"Queue","bboLevel":"1""#,
                r#","tpLimitPrice":"1""#,
                r#","request":[]"#,
                r#","orderLinkId":"t1""#,
                r#","smpGroup":1"#,
            ] {
                add(BYBIT, "POST", order, good("\"0.01\"", more));
            }
            // Categories that one side may take for another.
            for (category, symbol) in [
                ("Linear", "BTCUSDT"),
                ("linear ", "BTCUSDT"),
                ("inverse", "BTCUSDT"),
                ("option", "BTCUSDT"),
                ("spread", "BTCUSDT"),
                ("", "BTCUSDT"),
                ("linear", "BTCUSD"),
                ("spot", "BTCUSD"),
                ("linear", "btcusdt"),
                ("linear", "BTCUSDT "),
                ("linear", "BTC\\u0055SDT\\u0000"),
            ] {
                add(
                    BYBIT,
                    "POST",
                    order,
                    good("\"0.01\"", "")
                        .replace("\"linear\"", &format!("\"{category}\""))
                        .replace("BTCUSDT", symbol),
                );
            }
            let sold = |more: &str| {
                format!(
                    r#"{{"category":"spot","symbol":"BTCUSDT","side":"Sell","orderType":"Limit","qty":"0.01","price":"{p}"{more}}}"#
                )
            };
            for more in [
                r#","closeOnTrigger":true"#,
                r#","positionIdx":1"#,
                r#","reduceOnly":true"#,
                r#","marketUnit":"quoteCoin""#,
            ] {
                add(BYBIT, "POST", order, sold(more));
            }
            let one = format!(
                r#"{{"symbol":"BTCUSDT","side":"Buy","orderType":"Limit","qty":"0.01","price":"{p}"}}"#
            );
            for request in [
                format!("[{one},{}]", one.replace("0.01", "1e9")),
                format!("[{one},[{one}]]"),
                format!("[[{one}]]"),
                "[]".to_owned(),
                one.clone(),
                format!("[{}]", vec![one.clone(); 21].join(",")),
                format!("[{},{one}]", one.replace('}', r#","category":"spot"}"#)),
                format!("[{},{one}]", one.replace('}', r#","foo":"1"}"#)),
                format!(
                    "[{one},{}]",
                    one.replace("\"qty\"", "\"qty\":\"9\",\"qty\"")
                ),
                format!("[{one},null]"),
            ] {
                add(
                    BYBIT,
                    "POST",
                    "/v5/order/create-batch",
                    format!(r#"{{"category":"linear","request":{request}}}"#),
                );
            }
            for body in [
                "",
                "[]",
                "null",
                "\"a\"",
                "{}",
                "{\"category\":\"linear\"}",
                "category=linear&symbol=BTCUSDT",
            ] {
                add(BYBIT, "POST", order, body.to_owned());
            }
            for (path, body) in [
                (
                    "/v5/order/cancel",
                    r#"{"category":"linear","symbol":"BTCUSDT","orderLinkId":"t1"}"#,
                ),
                (
                    "/v5/order/amend",
                    r#"{"category":"linear","symbol":"BTCUSDT","orderLinkId":"t1","qty":"0.01"}"#,
                ),
                (
                    "/v5/order/cancel-all",
                    r#"{"category":"linear","symbol":"BTCUSDT"}"#,
                ),
                ("/v5/order/disconnected-cancel-all", r#"{"timeWindow":10}"#),
                (
                    "/v5/position/set-leverage",
                    r#"{"category":"linear","symbol":"BTCUSDT","buyLeverage":"100","sellLeverage":"1"}"#,
                ),
                (
                    "/v5/position/set-leverage",
                    r#"{"category":"linear","symbol":"BTCUSDT","buyLeverage":"1","sellLeverage":"100"}"#,
                ),
                (
                    "/v5/position/switch-mode",
                    r#"{"category":"linear","symbol":"BTCUSDT","mode":3}"#,
                ),
                (
                    "/v5/asset/withdraw/create",
                    r#"{"coin":"USDT","chain":"TRX","address":"Tx","amount":"5","timestamp":1790000000123,"accountType":"UTA"}"#,
                ),
                (
                    "/v5/asset/withdraw/create",
                    r#"{"coin":"USDT","address":"100000002","amount":"5","timestamp":1790000000123,"accountType":"UTA","forceChain":2}"#,
                ),
                (
                    "/v5/asset/transfer/universal-transfer",
                    r#"{"transferId":"be7a2462-1138-4e27-80b1-62653f24925e","coin":"USDT","amount":"5","fromMemberId":1,"toMemberId":2,"fromAccountType":"UNIFIED","toAccountType":"UNIFIED"}"#,
                ),
                (
                    "/v5/asset/transfer/inter-transfer",
                    r#"{"transferId":"be7a2462-1138-4e27-80b1-62653f24925e","coin":"USDT","amount":"5","fromAccountType":"UNIFIED","toAccountType":"FUND"}"#,
                ),
                (
                    "/v5/user/update-api",
                    r#"{"readOnly":0,"permissions":{"Wallet":["Withdraw"]}}"#,
                ),
                ("/v5/user/delete-api", "{}"),
                (
                    "/v5/user/create-sub-member",
                    r#"{"username":"thief1","memberType":1}"#,
                ),
                ("/v5/account/borrow", r#"{"coin":"BTC","amount":"1"}"#),
            ] {
                add(BYBIT, "POST", path, body.to_owned());
            }
        }
        Kind::Okx => {
            let order = "/api/v5/trade/order";
            let good = |sz: &str, more: &str| {
                format!(
                    r#"{{"instId":"BTC-USDT-SWAP","tdMode":"cross","side":"buy","ordType":"limit","sz":{sz},"px":"{p}"{more}}}"#
                )
            };
            for number in numbers {
                add(OKX, "POST", order, good(&format!("\"{number}\""), ""));
            }
            for number in [
                "1e0", "1E0", "-1", "01", "true", "null", "[]", "{}", "[\"1\"]",
            ] {
                add(OKX, "POST", order, good(number, ""));
            }
            for more in [
                r#","sz":"9""#,
                r#","s\u007a":"9""#,
                r#","Sz":"9""#,
                r#","foo":1"#,
                r#","instId":"BTC-USDT""#,
                r#","tgtCcy":"quote_ccy""#,
                r#","posSide":"both""#,
                r#","reduceOnly":true,"posSide":"long""#,
                r#","reduceOnly":"yes""#,
                r#","tag":"a b""#,
                r#","clOrdId":"a-b""#,
                r#","clOrdId":"a b""#,
                r#","clOrdId":"123456789012345678901234567890123""#,
                r#","pxUsd":"1""#,
                r#","pxVol":"1""#,
                r#","attachAlgoOrds":{}"#,
                r#","attachAlgoOrds":[[]]"#,
                r#","attachAlgoOrds":[{}]"#,
                r#","attachAlgoOrds":[{"slTriggerPx":"1","slOrdPx":"-1","sz":"9"}]"#,
                r#","attachAlgoOrds":[{"tpTriggerPx":"90000"}]"#,
                r#","attachAlgoOrds":[{"tpTriggerPx":"90000","tpOrdPx":"-1","foo":"1"}]"#,
                r#","attachAlgoOrds":[{"tpTriggerPx":"90000","tpOrdPx":"-1","tpTriggerPx":"1"}]"#,
                r#","attachAlgoOrds":[{"tpTriggerPx":"90000","tpOrdPx":"-1","sz":"1000000"}]"#,
                r#","clOrdId":"t1""#,
            ] {
                add(OKX, "POST", order, good("\"1\"", more));
            }
            for instrument in [
                "BTC-USDT-SWAP ",
                "btc-usdt-swap",
                "BTC-USDT-swap",
                "BTCUSDT",
                "BTC-USDT-SWAP-",
                "BTC_USDT",
                "BTC-USDT-999999-1-C",
                "ETH-USDT-SWAP",
            ] {
                add(
                    OKX,
                    "POST",
                    order,
                    good("\"1\"", "").replace("BTC-USDT-SWAP", instrument),
                );
            }
            for mode in ["cash", "Cross", "", "spot"] {
                add(
                    OKX,
                    "POST",
                    order,
                    good("\"1\"", "").replace("\"cross\"", &format!("\"{mode}\"")),
                );
            }
            // A pair that borrows is margin, which has no price here.
            add(
                OKX,
                "POST",
                order,
                format!(
                    r#"{{"instId":"BTC-USDT","tdMode":"cross","side":"buy","ordType":"limit","sz":"0.01","px":"{p}"}}"#
                ),
            );
            let one = good("\"1\"", "");
            for body in [
                format!("[{one},{}]", good("\"1e9\"", "")),
                format!("[{one},[{one}]]"),
                format!("[[{one}]]"),
                "[]".to_owned(),
                format!("[{}]", vec![one.clone(); 21].join(",")),
                format!("[{one},{}]", good("\"1\"", r#","foo":"1""#)),
                format!("[{one},{}]", good("\"1\"", r#","sz":"9""#)),
                format!("[{one},null]"),
                format!("{{\"orders\":[{one}]}}"),
                // Two of one request under one id: the venue would know but one.
                format!(
                    "[{},{}]",
                    good("\"1\"", r#","clOrdId":"same""#),
                    good("\"1\"", r#","clOrdId":"same""#)
                ),
            ] {
                add(OKX, "POST", "/api/v5/trade/batch-orders", body);
            }
            for body in ["", "[]", "null", "\"a\"", "{}"] {
                add(OKX, "POST", order, body.to_owned());
            }
            for (path, body) in [
                (
                    "trade/cancel-order",
                    r#"{"instId":"BTC-USDT-SWAP","clOrdId":"t1"}"#,
                ),
                (
                    "trade/cancel-batch-orders",
                    r#"[{"instId":"BTC-USDT-SWAP","clOrdId":"t1"}]"#,
                ),
                (
                    "trade/amend-order",
                    r#"{"instId":"BTC-USDT-SWAP","clOrdId":"t1","newSz":"1"}"#,
                ),
                ("trade/cancel-all-after", r#"{"timeOut":"10"}"#),
                (
                    "trade/close-position",
                    r#"{"instId":"BTC-USDT-SWAP","mgnMode":"cross"}"#,
                ),
                (
                    "trade/close-position",
                    r#"{"instId":"BTC-USDT-SWAP","mgnMode":"cross","posSide":"net","autoCxl":true}"#,
                ),
                (
                    "trade/order-algo",
                    r#"{"instId":"BTC-USDT-SWAP","tdMode":"cross","side":"buy","ordType":"conditional","closeFraction":"1","slTriggerPx":"60000","slOrdPx":"-1"}"#,
                ),
                (
                    "trade/order-algo",
                    r#"{"instId":"BTC-USDT-SWAP","tdMode":"cross","side":"buy","posSide":"long","ordType":"conditional","closeFraction":"1","slTriggerPx":"60000","slOrdPx":"-1","reduceOnly":true}"#,
                ),
                (
                    "trade/order-algo",
                    r#"{"instId":"BTC-USDT","tdMode":"cash","side":"sell","ordType":"conditional","sz":"0.01","slTriggerPx":"60000","slOrdPx":"-1","tpTriggerPx":"70000","tpOrdPx":"-1"}"#,
                ),
                (
                    "trade/order-algo",
                    r#"{"instId":"BTC-USDT","tdMode":"cash","side":"sell","ordType":"twap","sz":"0.01"}"#,
                ),
                (
                    "account/set-leverage",
                    r#"{"instId":"BTC-USDT-SWAP","lever":"100","mgnMode":"cross"}"#,
                ),
                (
                    "account/set-position-mode",
                    r#"{"posMode":"long_short_mode"}"#,
                ),
                (
                    "asset/withdrawal",
                    r#"{"ccy":"USDT","amt":"5","dest":"4","toAddr":"Tx","chain":"USDT-TRC20"}"#,
                ),
                (
                    "asset/withdrawal",
                    r#"{"ccy":"USDT","amt":"5","dest":"3","toAddr":"100000002"}"#,
                ),
                (
                    "asset/transfer",
                    r#"{"ccy":"USDT","amt":"5","from":"18","to":"6"}"#,
                ),
                (
                    "asset/transfer",
                    r#"{"type":"1","ccy":"USDT","amt":"5","from":"18","to":"6","subAcct":"thief"}"#,
                ),
                (
                    "asset/transfer",
                    r#"{"type":"4","ccy":"USDT","amt":"5","from":"18","to":"6","subAcct":"thief","loanTrans":true}"#,
                ),
                (
                    "users/subaccount/modify-apikey",
                    r#"{"subAcct":"a","apiKey":"k","perm":"trade"}"#,
                ),
                (
                    "account/borrow-repay",
                    r#"{"ccy":"BTC","side":"borrow","amt":"1"}"#,
                ),
            ] {
                add(OKX, "POST", &format!("/api/v5/{path}"), body.to_owned());
            }
            for (name, value) in [
                ("x-simulated-trading", "1"),
                ("X-Simulated-Trading", "0 "),
                ("exptime", "1"),
                ("expTime", "x"),
            ] {
                all.push((setup(place, price).remove(2), vec![(name, value)]));
            }
        }
        Kind::KuCoin => panic!("{NOT_ATTACKED}"),
    }
    // What no venue's scheme knows, or what changes the meaning of a whole request.
    for (name, value) in [
        ("x-http-method-override", "DELETE"),
        ("X-HTTP-Method", "GET"),
        ("content-encoding", "gzip"),
    ] {
        all.push((setup(place, price).remove(2), vec![(name, value)]));
    }
    all
}
