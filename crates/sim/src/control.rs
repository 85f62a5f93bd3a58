//! The control API, for tests and drills: what reached the venue, who has what, what goes wrong next.
//!
//! Plain HTTP on loopback, JSON in and out. Whoever reaches it owns the venue; it is no part of what is simulated.

use crate::api::Answer;
use crate::book::{Life, Side, Type};
use crate::decimal::{self, text};
use crate::exchange::{CROWD, Exchange};
use crate::faults::{Act, Fault};
use crate::futures::Service;
use crate::makers;
use crate::strict::decode;
use crate::venue::{Entry, Venue};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::net::IpAddr;

type Done = Result<Value, String>;

/// Answers one request of the control API.
pub fn answer(venue: &mut Venue, method: &str, target: &str, body: &[u8], now_us: u64) -> Answer {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let query: HashMap<String, String> = query
        .split('&')
        .filter_map(|piece| piece.split_once('='))
        .filter_map(|(name, value)| Some((decode(name)?, decode(value)?)))
        .collect();
    let asked: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
    venue.exchange.now = venue.time_us(now_us) / 1000;
    let (status, value) = match act(venue, method, path, &query, &asked) {
        Ok(value) => (200, value),
        Err(why) => (400, json!({"error": why})),
    };
    Answer {
        status,
        body: value.to_string(),
        kind: "application/json",
        headers: Vec::new(),
    }
}

fn act(
    venue: &mut Venue,
    method: &str,
    path: &str,
    query: &HashMap<String, String>,
    asked: &Value,
) -> Done {
    match (method, path) {
        ("GET", "/accounts") => Ok(accounts(venue)),
        ("GET", "/requests") => Ok(requests(venue, query)),
        ("GET", "/counts") => Ok(json!({
            "requests": venue.requests, "first": venue.log.front().map_or(0, |e| e.number),
            "answered_429": venue.limited[0], "answered_418": venue.limited[1],
            "faults": venue.faults.iter().map(|f| f.hits).sum::<u64>(),
        })),
        ("GET", "/balances") => balances(venue, query.get("account").map(String::as_str)),
        ("GET", "/withdrawals") => Ok(json!(venue.withdrawals)),
        ("GET", "/effects") => Ok(json!(venue.effects)),
        ("GET", "/orders") => {
            let account = account(venue, query.get("account").map(String::as_str))?;
            let mut all = Vec::new();
            for (market, at) in venue.exchange.markets.iter().enumerate() {
                for id in &venue.exchange.accounts[account].orders[market] {
                    if let Some(order) = at.book.orders.get(id) {
                        all.push(crate::answers::queried(order, &at.symbol.name));
                    }
                }
            }
            Ok(Value::Array(all))
        }
        ("POST", "/price") => {
            let market = market(&venue.exchange, asked)?;
            let price = decimal(asked, "price")?;
            let tick = venue.exchange.markets[market].symbol.tick;
            if price <= 0 || price % tick != 0 {
                return Err(format!("`price` must be a multiple of {} above 0", text(tick)));
            }
            venue.makers.set_price(&mut venue.exchange, market, price);
            venue.backed(|venue| venue.futures.follow(&venue.exchange));
            Ok(json!({"last": text(venue.exchange.markets[market].last)}))
        }
        ("POST", "/market") => {
            venue.makers.moving = asked["moving"].as_bool().ok_or("`moving` must be true or false")?;
            Ok(json!({}))
        }
        ("GET", "/positions") => positions(venue, query.get("account").map(String::as_str)),
        ("POST", "/funding") => {
            let (service, contract) = contract(venue, asked).ok_or("no such `symbol` of futures")?;
            let now = venue.exchange.now;
            let house = venue.futures.house(service);
            if !asked["rate"].is_null() {
                let text = asked["rate"].as_str().unwrap_or("");
                let rate = decimal::parse(text.trim_start_matches('-'))
                    .map_err(|_| "`rate` must be a decimal in quotes")?;
                house.markets[contract].rate = if text.starts_with('-') { -rate } else { rate };
            }
            house.now = now;
            house.fund(contract, now);
            house.settle(contract);
            Ok(json!({}))
        }
        ("POST", "/hit") if contract(venue, asked).is_some() => {
            let account = account(venue, asked["account"].as_str())?;
            let (service, contract) = contract(venue, asked).ok_or("no such `symbol` of futures")?;
            let house = venue.futures.house(service);
            let order = house
                .find(account, contract, asked["orderId"].as_u64(), asked["clientOrderId"].as_str())
                .ok_or("no such order")?;
            let (id, remaining) = (order.id, order.remaining());
            let quantity = if asked["quantity"].is_null() { remaining } else { decimal(asked, "quantity")? };
            let traded = house.hit(contract, id, quantity).ok_or("the order does not rest on the book")?;
            Ok(json!({"traded": text(traded)}))
        }
        ("POST", "/hit") => {
            let account = account(venue, asked["account"].as_str())?;
            let market = market(&venue.exchange, asked)?;
            let exchange = &mut venue.exchange;
            let order = exchange
                .find(account, market, asked["orderId"].as_u64(), asked["clientOrderId"].as_str())
                .ok_or("no such order")?;
            let (id, remaining) = (order.id, order.remaining());
            let quantity = if asked["quantity"].is_null() { remaining } else { decimal(asked, "quantity")? };
            let traded = exchange.hit(market, id, quantity).ok_or("the order does not rest on the book")?;
            exchange.settle(market);
            Ok(json!({"traded": text(traded)}))
        }
        ("POST", "/order") => {
            let account = account(venue, asked["account"].as_str())?;
            let market = market(&venue.exchange, asked)?;
            let side = match asked["side"].as_str() {
                Some("BUY") => Side::Buy,
                Some("SELL") => Side::Sell,
                _ => return Err("`side` must be BUY or SELL".to_owned()),
            };
            let kind = asked["type"].as_str().and_then(Type::of).ok_or("`type` must be an order type")?;
            let optional = |name: &str| if asked[name].is_null() { Ok(0) } else { decimal(asked, name) };
            let mut order = makers::plain(side, kind, optional("price")?, optional("quantity")?);
            order.life = asked["timeInForce"].as_str().and_then(Life::of).unwrap_or(Life::Gtc);
            order.client_id = asked["clientOrderId"].as_str().map(str::to_owned);
            let id = venue.exchange.place(account, market, order).map_err(|r| r.msg)?;
            let at = &venue.exchange.markets[market];
            Ok(at.book.orders.get(&id).map_or(Value::Null, |o| crate::answers::queried(o, &at.symbol.name)))
        }
        ("POST", "/deposit") => {
            let account = account(venue, asked["account"].as_str())?;
            let asset = venue.exchange.asset(asked["asset"].as_str().unwrap_or("")).ok_or("no such `asset`")?;
            let amount = decimal(asked, "amount")?;
            venue.exchange.give(account, asset, amount);
            let coin = asked["asset"].as_str().unwrap_or("");
            let detail = json!({
                "asset": coin, "amount": text(amount), "network": asked["network"].as_str().unwrap_or("BSC"),
                "address": crate::sapi::deposit_address(account, coin), "insertTime": venue.exchange.now,
                "txId": format!("0x{}", venue.exchange.make_id()),
            });
            venue.effect("deposit", account, detail);
            Ok(json!({}))
        }
        ("POST", "/addresses") => {
            let account = account(venue, asked["account"].as_str())?;
            let word = |name: &str| asked[name].as_str().unwrap_or("");
            if word("coin").is_empty() || word("address").is_empty() {
                return Err("`coin` and `address` must be texts".to_owned());
            }
            let entry = json!({
                "address": word("address"), "addressTag": word("tag"), "coin": word("coin"), "name": word("name"), "network": word("network"),
                "origin": "", "originType": "others", "whiteStatus": true,
            });
            venue.exchange.accounts[account].addresses.push(entry);
            Ok(json!({}))
        }
        ("POST", "/whitelist") => {
            let account = account(venue, asked["account"].as_str())?;
            let on = asked["on"].as_bool().ok_or("`on` must be true or false")?;
            venue.exchange.accounts[account].whitelist = on;
            Ok(json!({}))
        }
        ("GET", "/faults") => Ok(venue
            .faults
            .iter()
            .map(|f| json!({"method": f.method, "path": f.path, "act": f.act.name(), "left": f.left, "hits": f.hits}))
            .collect()),
        ("POST", "/faults") => {
            let name = asked["act"].as_str().unwrap_or("");
            let number = asked["ms"].as_u64().or(asked["status"].as_u64());
            let act = Act::of(name, number).ok_or(
                "`act` must be delay (with `ms`), hang-before, hang-after, error-before, error-after (with `status`), drop-before, drop-after or cut-after",
            )?;
            let chance = asked["probability"].as_f64().unwrap_or(1.0).clamp(0.0, 1.0);
            let account = match asked["account"].as_str() {
                None => None,
                name => Some(account(venue, name)?),
            };
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and a million")]
            let per_million = (chance * 1_000_000.0) as u64;
            venue.faults.push(Fault {
                method: asked["method"].as_str().map(str::to_owned),
                path: asked["path"].as_str().map(str::to_owned),
                account,
                act,
                per_million,
                left: asked["count"].as_u64(),
                hits: 0,
            });
            Ok(json!({"faults": venue.faults.len()}))
        }
        ("DELETE", "/faults") => {
            venue.faults.clear();
            Ok(json!({}))
        }
        ("POST", "/close") => {
            venue.close_idle = true;
            Ok(json!({}))
        }
        ("POST", "/ban") => {
            venue.ban(address(asked)?, asked["seconds"].as_u64().unwrap_or(120));
            Ok(json!({}))
        }
        ("POST", "/weight") => {
            venue.use_up(address(asked)?, asked["used"].as_u64().ok_or("`used` must be a number")?);
            Ok(json!({}))
        }
        ("POST", "/forgive") => {
            venue.forgive();
            Ok(json!({}))
        }
        ("POST", "/limits") => {
            for (name, slot) in [
                ("weight_per_minute", &mut venue.options.weight_per_minute),
                ("sapi_weight_per_minute", &mut venue.options.sapi_weight_per_minute),
                ("futures_weight_per_minute", &mut venue.options.futures_weight_per_minute),
                ("orders_per_10s", &mut venue.options.orders_per_10s),
                ("orders_per_day", &mut venue.options.orders_per_day),
                ("tolerated", &mut venue.options.tolerated),
            ] {
                if let Some(value) = asked[name].as_u64() {
                    *slot = value;
                }
            }
            venue.exchange.order_limits = [venue.options.orders_per_10s, venue.options.orders_per_day];
            if let Some(value) = asked["open_orders"].as_u64() {
                for at in &mut venue.exchange.markets {
                    at.symbol.orders_max = usize::try_from(value).unwrap_or(usize::MAX);
                }
            }
            Ok(json!({}))
        }
        ("POST", "/clock") => {
            let ms = asked["offset_ms"].as_i64().ok_or("`offset_ms` must be a number")?;
            venue.clock_offset_us = ms.saturating_mul(1000);
            Ok(json!({}))
        }
        ("POST", "/keys") => keys(venue, asked),
        ("POST", "/reset") => {
            venue.reset(venue.exchange.now.saturating_mul(1000));
            Ok(json!({}))
        }
        _ => Err(format!("no such call: {method} {path}; see docs/spec/simulator.md")),
    }
}

/// The contract that `service` (`fapi` or `dapi`) and `symbol` name.
fn contract(venue: &Venue, asked: &Value) -> Option<(Service, usize)> {
    let service = Service::of(&format!("/{}/", asked["service"].as_str()?))?;
    let house = &venue.futures.houses[service.index()];
    Some((service, house.find_contract(asked["symbol"].as_str()?)?))
}

fn positions(venue: &Venue, name: Option<&str>) -> Done {
    let account = account(venue, name)?;
    let mut all = Vec::new();
    for (service, house) in ["fapi", "dapi"].iter().zip(&venue.futures.houses) {
        let positions = house.accounts.get(account).map(|a| &a.positions);
        for ((contract, leg), position) in positions.into_iter().flatten() {
            let at = &house.markets[*contract];
            all.push(json!({
                "service": service, "symbol": at.contract.name, "side": format!("{leg:?}").to_uppercase(),
                "quantity": text(position.quantity), "entry": text(position.entry(&at.contract)), "mark": text(at.mark),
                "profit": text(crate::futures::position::shown(position.profit(&at.contract, at.mark))),
            }));
        }
    }
    Ok(Value::Array(all))
}

fn keys(venue: &mut Venue, asked: &Value) -> Done {
    let Some(text) = asked["key"].as_str() else {
        let account = account(venue, asked["account"].as_str())?;
        let duty = asked["duty"].as_str().unwrap_or("all");
        if crate::keys::Rights::of_duty(duty).is_none() {
            return Err("`duty` must be read, trade, spot, futures, move, admin or all".to_owned());
        }
        let handed = venue.hand_hmac(account, duty);
        return Ok(
            json!({"duty": handed.duty, "scheme": handed.scheme, "key": handed.key, "secret": handed.secret, "passphrase": handed.passphrase}),
        );
    };
    let mut ips = None;
    if let Some(list) = asked["ips"].as_array() {
        let parsed: Option<Vec<IpAddr>> =
            list.iter().map(|one| one.as_str()?.parse().ok()).collect();
        ips = Some(parsed.ok_or("`ips` must be addresses")?);
    }
    let key = venue.keys.change(text).ok_or("no such `key`")?;
    if let Some(ips) = ips {
        key.ips = ips;
    }
    if let Some(revoked) = asked["revoked"].as_bool() {
        key.revoked = revoked;
    }
    Ok(
        json!({"ips": key.ips.iter().map(ToString::to_string).collect::<Vec<_>>(), "revoked": key.revoked}),
    )
}

/// The accounts with their keys, as the program prints them when it starts.
#[must_use]
pub fn accounts(venue: &Venue) -> Value {
    let all = venue.exchange.accounts.iter().enumerate().skip(CROWD + 1);
    all.map(|(index, account)| {
        let keys: Vec<Value> = venue
            .handed
            .iter()
            .filter(|h| h.account == index)
            .map(|h| {
                let mut value = json!({"duty": h.duty, "scheme": h.scheme, "key": h.key});
                if let Some(secret) = &h.secret {
                    value["secret"] = json!(secret);
                }
                if let Some(passphrase) = &h.passphrase {
                    value["passphrase"] = json!(passphrase);
                }
                if let Some(file) = &h.file {
                    value["file"] = json!(file);
                }
                value
            })
            .collect();
        json!({"name": account.name, "uid": account.uid, "keys": keys})
    })
    .collect()
}

fn requests(venue: &Venue, query: &HashMap<String, String>) -> Value {
    let number = |name: &str| query.get(name).and_then(|t| t.parse::<u64>().ok());
    let after = number("after").unwrap_or(0);
    let limit = usize::try_from(number("limit").unwrap_or(1000))
        .unwrap_or(1000)
        .min(10_000);
    let fits = |e: &&Entry| {
        e.number > after
            && query.get("method").is_none_or(|m| e.method == *m)
            && query
                .get("path")
                .is_none_or(|p| e.path.starts_with(p.as_str()))
    };
    let first = venue.log.front().map_or(0, |e| e.number);
    let skip = usize::try_from((after + 1).saturating_sub(first))
        .unwrap_or(usize::MAX)
        .min(venue.log.len());
    let found: Vec<Value> = venue
        .log
        .range(skip..)
        .filter(fits)
        .take(limit)
        .map(|e| {
            json!({
                "number": e.number, "time_us": e.time_us, "from": e.from.to_string(), "method": e.method, "path": e.path,
                "account": e.account.map(|a| venue.exchange.accounts[a].name.as_str()),
                "key": e.key.and_then(|k| venue.handed.get(k)).map(|h| h.key.as_str()),
                "duty": e.key.and_then(|k| venue.handed.get(k)).map(|h| h.duty.as_str()),
                "client_order_id": e.client_order_id, "signature": e.signature, "status": e.status, "code": e.code, "fault": e.fault,
                "accepted": e.status == 200,
            })
        })
        .collect();
    json!({"total": venue.requests, "first": first, "requests": found})
}

fn balances(venue: &Venue, name: Option<&str>) -> Done {
    let index = account(venue, name)?;
    let account = &venue.exchange.accounts[index];
    let assets = &venue.exchange.assets;
    let spot: serde_json::Map<String, Value> = account
        .spot
        .iter()
        .enumerate()
        .filter(|(_, b)| b.free != 0 || b.locked != 0)
        .map(|(i, b)| {
            (
                assets[i].clone(),
                json!({"free": text(b.free), "locked": text(b.locked)}),
            )
        })
        .collect();
    let mut wallets = json!({});
    for ((wallet, asset), amount) in &account.wallets {
        wallets[wallet][&assets[*asset]] = json!(text(*amount));
    }
    for (name, service) in [("UMFUTURE", 0), ("CMFUTURE", 1)] {
        let house = &venue.futures.houses[service];
        let held = house.accounts.get(index).map(|a| &a.wallets);
        for (asset, amount) in held.into_iter().flatten() {
            wallets[name][&assets[*asset]] = json!(text(crate::futures::position::shown(*amount)));
        }
    }
    let debts: serde_json::Map<String, Value> = account
        .debts
        .iter()
        .map(|(asset, amount)| (assets[*asset].clone(), json!(text(*amount))))
        .collect();
    Ok(json!({"spot": spot, "wallets": wallets, "debts": debts}))
}

fn account(venue: &Venue, name: Option<&str>) -> Result<usize, String> {
    let name = name.ok_or("`account` is missing: one of the names of GET /accounts")?;
    venue
        .exchange
        .accounts
        .iter()
        .position(|a| a.name == name)
        .ok_or_else(|| format!("no account `{name}`"))
}

fn market(exchange: &Exchange, asked: &Value) -> Result<usize, String> {
    exchange
        .market(asked["symbol"].as_str().unwrap_or(""))
        .map_err(|_| "no such `symbol`".to_owned())
}

fn decimal(asked: &Value, name: &str) -> Result<decimal::D, String> {
    asked[name]
        .as_str()
        .and_then(|t| decimal::parse(t).ok())
        .ok_or_else(|| format!("`{name}` must be a decimal in quotes"))
}

fn address(asked: &Value) -> Result<IpAddr, String> {
    asked["ip"]
        .as_str()
        .unwrap_or("127.0.0.1")
        .parse()
        .map_err(|_| "`ip` must be an address".to_owned())
}
