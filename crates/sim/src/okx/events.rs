//! What the WebSockets say unasked: of the account's orders, fills, balances and positions, and of markets.

use super::socket::{Door, Topic};
use super::trade::{average, hidden, shown_order};
use super::{Asked, account, contracts, market, shown};
use crate::book::{Side, Status};
use crate::decimal::{D, mul};
use crate::futures::position::shown as coins;
use crate::v5::perps::{At, SERVICES};
use crate::v5::table::Fields;
use crate::venue::Venue;
use serde_json::{Value, json};
use std::collections::HashMap;

/// A channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Channel {
    Orders,
    Algos,
    Fills,
    Account,
    Positions,
    BalanceAndPosition,
    Books,
    Books5,
    Best,
    Trades,
    Tickers,
    Instruments,
    Mark,
    Funding,
    Candles,
}

impl Channel {
    pub fn of(name: &str, door: Door) -> Option<Self> {
        let (channel, at) = match name {
            "orders" => (Self::Orders, Door::Private),
            "fills" => (Self::Fills, Door::Private),
            "account" => (Self::Account, Door::Private),
            "positions" => (Self::Positions, Door::Private),
            "balance_and_position" => (Self::BalanceAndPosition, Door::Private),
            "orders-algo" => (Self::Algos, Door::Business),
            "books" => (Self::Books, Door::Public),
            "books5" => (Self::Books5, Door::Public),
            "bbo-tbt" => (Self::Best, Door::Public),
            "trades" => (Self::Trades, Door::Public),
            "tickers" => (Self::Tickers, Door::Public),
            "instruments" => (Self::Instruments, Door::Public),
            "mark-price" => (Self::Mark, Door::Public),
            "funding-rate" => (Self::Funding, Door::Public),
            _ => {
                let bar = name.strip_prefix("candle")?;
                BARS.contains(&bar)
                    .then_some((Self::Candles, Door::Business))?
            }
        };
        (at == door).then_some(channel)
    }

    pub fn is_private(self) -> bool {
        self.wants_type() && self != Self::Instruments
            || matches!(self, Self::Fills | Self::Account | Self::BalanceAndPosition)
    }

    pub fn wants_type(self) -> bool {
        matches!(
            self,
            Self::Orders | Self::Algos | Self::Positions | Self::Instruments
        )
    }

    pub fn wants_instrument(self) -> bool {
        !self.is_private() && self != Self::Instruments
    }
}

const BARS: [&str; 12] = [
    "1m", "3m", "5m", "15m", "30m", "1H", "2H", "4H", "1D", "1Dutc", "1W", "1Wutc",
];
/// Levels of a side in `books`.
const LEVELS: usize = 400;

/// The book as it was told last: its number, and both sides.
#[derive(Debug, Default)]
pub(super) struct Book {
    number: Option<u64>,
    sides: [Vec<(D, D)>; 2],
}

/// Where an order is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Pair(usize),
    Swap(At),
}

/// An order that may change yet, as it was told last: status, filled, price, quantity.
#[derive(Debug)]
struct Live {
    place: Place,
    id: u64,
    told: Option<(Status, D, D, D)>,
}

/// What of an account's orders was told.
#[derive(Debug, Default)]
pub(super) struct Following {
    /// The newest order of each market.
    orders: HashMap<(usize, usize), u64>,
    live: Vec<Live>,
    started: bool,
}

/// Numbers of markets: spot, linear, inverse.
fn key(place: Place) -> (usize, usize) {
    match place {
        Place::Pair(at) => (0, at),
        Place::Swap(at) => (1 + at.service.index(), at.contract),
    }
}

impl Following {
    /// What was before is not told.
    pub fn from_now(venue: &Venue, account: usize) -> Self {
        let mut following = Self::default();
        let mut ignored = Vec::new();
        following.changes(venue, account, &mut ignored);
        following.started = true;
        following
    }

    /// All that is to be told.
    pub fn look(
        &mut self,
        venue: &Venue,
        account: Option<usize>,
        topics: &mut [Topic],
    ) -> Vec<String> {
        let mut orders = Vec::new();
        if let Some(account) = account {
            self.changes(venue, account, &mut orders);
        }
        let mut out = Vec::new();
        for topic in topics {
            let private = topic.channel.is_private();
            match (private, account) {
                (true, Some(account)) => private_events(venue, account, topic, &orders, &mut out),
                (true, None) => {}
                (false, _) => public_events(venue, topic, &mut out),
            }
            topic.fresh = false;
        }
        out.iter().map(Value::to_string).collect()
    }

    /// Orders that are new or not what they were: one item for each fill, and one for what else changed.
    fn changes(&mut self, venue: &Venue, account: usize, out: &mut Vec<Change>) {
        let exchange = &venue.exchange;
        let mut fresh: Vec<(u64, Place, u64)> = Vec::new();
        for (at, orders) in exchange.accounts[account].orders.iter().enumerate() {
            let place = Place::Pair(at);
            let seen = self.orders.get(&key(place)).copied().unwrap_or(0);
            let new = orders.iter().rev().take_while(|id| **id > seen);
            fresh.extend(new.filter_map(|id| {
                Some((exchange.markets[at].book.orders.get(id)?.time, place, *id))
            }));
        }
        for service in SERVICES {
            let house = &venue.futures.houses[service.index()];
            let Some(owner) = house.accounts.get(account) else {
                continue;
            };
            for (contract, id) in owner.orders.iter().rev() {
                let place = Place::Swap(At {
                    service,
                    contract: *contract,
                });
                if *id <= self.orders.get(&key(place)).copied().unwrap_or(0) {
                    break;
                }
                if let Some(order) = house.order(*contract, *id) {
                    fresh.push((order.time, place, *id));
                }
            }
        }
        fresh.sort_by_key(|(time, _, id)| (*time, *id));
        for (_, place, id) in fresh {
            let newest = self.orders.entry(key(place)).or_default();
            *newest = (*newest).max(id);
            self.live.push(Live {
                place,
                id,
                told: None,
            });
        }
        let started = self.started;
        self.live
            .retain_mut(|live| live.look(venue, account, started, out));
    }
}

/// A change of an order: the order, and the fill if it is one.
#[derive(Debug)]
pub(super) struct Change {
    order: Value,
    fill: Option<Value>,
}

/// A fill.
struct Fill {
    id: u64,
    price: D,
    quantity: D,
    fee: String,
    coin: String,
    maker: bool,
    time: u64,
}

impl Live {
    /// Tells what is other than it was; false: it will not change any more.
    fn look(&mut self, venue: &Venue, account: usize, tell: bool, out: &mut Vec<Change>) -> bool {
        let exchange = &venue.exchange;
        let (now, waits) = match self.place {
            Place::Pair(at) => {
                let Some(order) = exchange.markets[at].book.orders.get(&self.id) else {
                    return false;
                };
                let now = (order.status, order.executed, order.price, order.quantity);
                (now, hidden(order) && order.expiry != Some("WOULD_TAKE"))
            }
            Place::Swap(at) => {
                let house = &venue.futures.houses[at.service.index()];
                let Some(order) = house.order(at.contract, self.id) else {
                    return false;
                };
                (
                    (order.status, order.executed, order.price, order.quantity),
                    false,
                )
            }
        };
        let open = now.0.open();
        if waits {
            return open;
        }
        if self.told == Some(now) {
            return open;
        }
        let before = self.told.replace(now);
        if !tell {
            return open;
        }
        let (whole, fills) = match self.place {
            Place::Pair(at) => {
                let order = &exchange.markets[at].book.orders[&self.id];
                let fills = exchange.accounts[account].trades[at]
                    .iter()
                    .filter(|t| t.order == self.id);
                let fills: Vec<Fill> = fills
                    .map(|t| Fill {
                        id: t.id,
                        price: t.price,
                        quantity: t.quantity,
                        fee: format!("-{}", shown(t.commission)),
                        coin: exchange.assets[t.commission_asset].clone(),
                        maker: t.maker,
                        time: t.time,
                    })
                    .collect();
                (shown_order(venue, at, order), fills)
            }
            Place::Swap(at) => {
                let house = &venue.futures.houses[at.service.index()];
                let Some(order) = house.order(at.contract, self.id) else {
                    return false;
                };
                let mine = house.accounts[account].trades.iter();
                let mine = mine.filter(|t| t.contract == at.contract && t.order == self.id);
                let coin = &exchange.assets[contracts::market(venue, at).contract.margin];
                let fills: Vec<Fill> = mine
                    .map(|t| Fill {
                        id: t.id,
                        price: t.price,
                        quantity: t.quantity,
                        fee: shown(coins(-t.fee)),
                        coin: coin.clone(),
                        maker: t.maker,
                        time: t.time,
                    })
                    .collect();
                (contracts::shown_order(venue, at, order), fills)
            }
        };
        let bare = |state: &str, filled: D, average: String| {
            let mut order = whole.clone();
            for (name, value) in [
                ("state", state),
                ("accFillSz", &shown(filled)),
                ("avgPx", &average),
                ("fillPx", ""),
                ("fillSz", "0"),
                ("tradeId", ""),
                ("fillTime", ""),
                ("fillFee", "0"),
                ("fillFeeCcy", ""),
                ("execType", ""),
                ("fillPnl", "0"),
                ("fillNotionalUsd", ""),
                ("notionalUsd", ""),
                ("reqId", ""),
                ("amendResult", ""),
                ("amendSource", ""),
                ("code", "0"),
                ("msg", ""),
                ("lastPx", ""),
            ] {
                order[name] = value.into();
            }
            Change { order, fill: None }
        };
        let told = before.map_or(0, |(_, executed, ..)| executed);
        let (mut sum, mut value) = (0, 0);
        if before.is_none() && now.0 != Status::Rejected {
            out.push(bare("live", 0, String::new()));
        }
        for fill in &fills {
            sum += fill.quantity;
            value += mul(fill.price, fill.quantity);
            if sum <= told {
                continue;
            }
            let last = sum >= now.1;
            let state = match now.0 {
                Status::Filled if last => "filled",
                _ => "partially_filled",
            };
            let mut change = bare(state, sum, average(value, sum));
            let order = &mut change.order;
            for (name, value) in [
                ("fillPx", shown(fill.price)),
                ("fillSz", shown(fill.quantity)),
                ("tradeId", fill.id.to_string()),
                ("fillTime", fill.time.to_string()),
                ("fillFee", fill.fee.clone()),
                ("fillFeeCcy", fill.coin.clone()),
                ("execType", if fill.maker { "M" } else { "T" }.to_owned()),
            ] {
                order[name] = value.into();
            }
            change.fill = Some(json!({
                "instId": order["instId"], "fillSz": shown(fill.quantity), "fillPx": shown(fill.price), "side": order["side"], "ts": fill.time.to_string(),
                "ordId": order["ordId"], "clOrdId": order["clOrdId"], "tradeId": fill.id.to_string(), "execType": order["execType"], "count": "1",
            }));
            out.push(change);
        }
        let word = whole["state"].as_str().unwrap_or("");
        let amended =
            before.is_some_and(|(_, _, price, quantity)| (price, quantity) != (now.2, now.3));
        if word == "canceled" || amended && open {
            let average = whole["avgPx"].as_str().unwrap_or("").to_owned();
            let mut change = bare(word, now.1, average);
            if amended && open {
                change.order["amendResult"] = json!("0");
            }
            out.push(change);
        }
        open
    }
}

/// Whether something of this kind and name is of a subscription.
fn is_of(arg: &Fields, one: &Value) -> bool {
    let fits = |name: &str| match arg.get(name).and_then(Value::as_str) {
        None | Some("ANY") => true,
        Some(wanted) => one[name] == wanted,
    };
    fits("instType") && fits("instId")
}

fn push(venue: &Venue, account: usize, arg: &Fields, data: Vec<Value>) -> Value {
    let mut arg = arg.clone();
    arg.insert(
        "uid".to_owned(),
        venue.exchange.accounts[account].uid.to_string().into(),
    );
    json!({"arg": arg, "data": data})
}

fn private_events(
    venue: &Venue,
    account: usize,
    topic: &mut Topic,
    orders: &[Change],
    out: &mut Vec<Value>,
) {
    let arg = topic.arg.clone();
    match topic.channel {
        Channel::Orders => {
            for change in orders.iter().filter(|c| is_of(&arg, &c.order)) {
                out.push(push(venue, account, &arg, vec![change.order.clone()]));
            }
        }
        Channel::Fills => {
            let fills = orders.iter().filter_map(|c| c.fill.as_ref());
            for fill in fills.filter(|f| is_of(&arg, f)) {
                out.push(push(venue, account, &arg, vec![fill.clone()]));
            }
        }
        Channel::Algos => algo_events(venue, account, topic, out),
        Channel::Account | Channel::Positions | Channel::BalanceAndPosition => {
            // What moves with prices alone is told with the next thing that happens.
            let asked = asked(venue, &[]);
            let balance = account::balance(venue, account, &asked);
            let positions: Vec<Value> = contracts::positions(venue, account, &asked)
                .into_iter()
                .filter(|one| topic.channel != Channel::Positions || is_of(&arg, one))
                .collect();
            let of = |all: &Value, names: &[&str]| -> Value {
                let all = all.as_array().into_iter().flatten();
                all.map(|one| names.iter().map(|n| one[*n].clone()).collect::<Value>())
                    .collect()
            };
            let coins = of(&balance["details"], &["ccy", "cashBal", "ordFrozen"]);
            let held = of(
                &Value::from(positions.clone()),
                &["instId", "posSide", "pos", "avgPx"],
            );
            let so = match topic.channel {
                Channel::Account => coins,
                Channel::Positions => held,
                _ => json!([coins, held]),
            };
            if !topic.fresh && topic.told == so {
                return;
            }
            // A position that is no more is told once, as nothing.
            let mut gone = Vec::new();
            if let (Channel::Positions, Some(before)) = (topic.channel, topic.told.as_array()) {
                for one in before {
                    if !positions
                        .iter()
                        .any(|p| p["instId"] == one[0] && p["posSide"] == one[1])
                    {
                        gone.push(json!({
                            "instType": "SWAP", "instId": one[0], "posSide": one[1], "pos": "0", "mgnMode": "cross", "avgPx": "", "availPos": "",
                            "uTime": venue.exchange.now.to_string(),
                        }));
                    }
                }
            }
            topic.told = so;
            let snapshot = if topic.fresh {
                "snapshot"
            } else {
                "event_update"
            };
            let data = match topic.channel {
                Channel::Account => vec![balance],
                Channel::Positions => positions.into_iter().chain(gone).collect(),
                _ => {
                    let details = balance["details"].as_array().cloned().unwrap_or_default();
                    let coins: Vec<Value> = details
                        .iter()
                        .map(|d| json!({"ccy": d["ccy"], "cashBal": d["cashBal"], "uTime": d["uTime"]}))
                        .collect();
                    vec![json!({
                        "pTime": venue.exchange.now.to_string(), "eventType": if topic.fresh { "snapshot" } else { "filled" }, "balData": coins,
                        "posData": positions, "trades": [],
                    })]
                }
            };
            let mut one = push(venue, account, &arg, data);
            if topic.channel != Channel::BalanceAndPosition {
                one["eventType"] = json!(snapshot);
                one["curPage"] = json!(1);
                one["lastPage"] = json!(true);
            }
            out.push(one);
        }
        _ => {}
    }
}

/// Conditional orders: those that wait, and once what became of them.
fn algo_events(venue: &Venue, account: usize, topic: &mut Topic, out: &mut Vec<Value>) {
    let asked = asked(venue, &[("ordType", "conditional,oco,trigger")]);
    let waiting = super::trade::algos(venue, account, &asked).unwrap_or_default();
    let before = std::mem::replace(&mut topic.told, Value::from(waiting.clone()));
    let before = before.as_array().cloned().unwrap_or_default();
    let has = |all: &[Value], one: &Value| all.iter().any(|a| a["algoId"] == one["algoId"]);
    let arg = topic.arg.clone();
    let fresh = topic.fresh;
    let new = waiting
        .iter()
        .filter(|one| !fresh && !has(&before, one))
        .cloned();
    let gone = before.iter().filter(|one| !has(&waiting, one)).map(|one| {
        let mut one = one.clone();
        one["state"] = json!(super::trade::end_of_algo(venue, account, &one));
        one
    });
    for one in new.chain(gone).filter(|one| is_of(&arg, one)) {
        out.push(push(venue, account, &arg, vec![one]));
    }
}

/// A question as REST has them, of nobody.
fn asked(venue: &Venue, fields: &[(&str, &str)]) -> Asked<'static> {
    let fields = fields
        .iter()
        .map(|(name, value)| ((*name).to_owned(), Value::from(*value)));
    Asked {
        owner: None,
        fields: fields.collect(),
        several: Vec::new(),
        now: venue.exchange.now,
    }
}

fn public_events(venue: &Venue, topic: &mut Topic, out: &mut Vec<Value>) {
    let arg = topic.arg.clone();
    let of = |name: &str| arg.get(name).and_then(Value::as_str).unwrap_or("");
    let name = of("instId");
    let now = venue.exchange.now;
    let told = |data: Vec<Value>| json!({"arg": topic.arg, "data": data});
    let rest = |path: &str, fields: &[(&str, &str)]| {
        market::answer(venue, path, &asked(venue, fields)).unwrap_or_default()
    };
    match topic.channel {
        Channel::Instruments => {
            if topic.fresh {
                let all = rest(
                    "/api/v5/public/instruments",
                    &[("instType", of("instType"))],
                );
                out.push(told(all));
            }
        }
        Channel::Books | Channel::Books5 | Channel::Best => book_events(venue, topic, name, out),
        Channel::Trades => {
            let all = rest(
                "/api/v5/market/trades",
                &[("instId", name), ("limit", "100")],
            );
            let number = |one: &Value| {
                one["tradeId"]
                    .as_str()
                    .and_then(|t| t.parse::<u64>().ok())
                    .unwrap_or(0)
            };
            let newest = all.first().map_or(0, number);
            let seen = topic.told.as_u64().unwrap_or(newest);
            for one in all.into_iter().rev().filter(|one| number(one) > seen) {
                out.push(told(vec![one]));
            }
            topic.told = newest.max(seen).into();
        }
        channel => {
            let (path, fields): (&str, &[(&str, &str)]) = match channel {
                Channel::Tickers => ("/api/v5/market/ticker", &[("instId", name)]),
                Channel::Mark => (
                    "/api/v5/public/mark-price",
                    &[("instType", "SWAP"), ("instId", name)],
                ),
                Channel::Funding => ("/api/v5/public/funding-rate", &[("instId", name)]),
                _ => (
                    "/api/v5/market/candles",
                    &[
                        ("instId", name),
                        ("limit", "1"),
                        ("bar", of("channel").trim_start_matches("candle")),
                    ],
                ),
            };
            let data = rest(path, fields);
            // The time of day alone is no news.
            let mut bare = Value::from(data.clone());
            for one in bare.as_array_mut().into_iter().flatten() {
                if let Some(one) = one.as_object_mut() {
                    one.remove("ts");
                }
            }
            let once_a_second =
                topic.channel == Channel::Candles || topic.channel == Channel::Funding;
            let at = Value::from(if once_a_second { now / 1000 } else { 0 });
            let so = json!([at, bare]);
            if !data.is_empty() && (topic.fresh || topic.told != so) {
                out.push(told(data));
                topic.told = so;
            }
        }
    }
}

fn book_events(venue: &Venue, topic: &mut Topic, name: &str, out: &mut Vec<Value>) {
    let depth = match topic.channel {
        Channel::Books => LEVELS,
        Channel::Books5 => 5,
        _ => 1,
    };
    let exchange = &venue.exchange;
    let (number, sides) = match contracts::of(venue, name) {
        Some(at) => {
            let m = contracts::market(venue, at);
            (
                m.update,
                [
                    m.book.depth(Side::Sell, depth),
                    m.book.depth(Side::Buy, depth),
                ],
            )
        }
        None => {
            let Ok(at) = exchange.market(name) else {
                return;
            };
            let m = &exchange.markets[at];
            (
                m.update,
                [
                    m.book.depth(Side::Sell, depth),
                    m.book.depth(Side::Buy, depth),
                ],
            )
        }
    };
    let before = topic.book.number;
    if before.is_some() && topic.book.sides == sides {
        return;
    }
    // Each push has a number above the last.
    let number = before.map_or(number, |before| number.max(before + 1));
    let row = |(price, quantity): &(D, D)| -> Value {
        let orders = if *quantity == 0 { "0" } else { "1" };
        json!([shown(*price), shown(*quantity), "0", orders])
    };
    let now = exchange.now.to_string();
    let whole = topic.channel != Channel::Books || before.is_none();
    let part = |side: usize| -> Vec<Value> {
        let (old, new) = (&topic.book.sides[side], &sides[side]);
        if whole {
            return new.iter().map(row).collect();
        }
        let old: HashMap<D, D> = old.iter().copied().collect();
        let still: HashMap<D, D> = new.iter().copied().collect();
        let changed = new.iter().filter(|(p, q)| old.get(p) != Some(q)).copied();
        let gone = old
            .keys()
            .filter(|p| !still.contains_key(*p))
            .map(|p| (*p, 0));
        changed.chain(gone).map(|level| row(&level)).collect()
    };
    let mut one = json!({"asks": part(0), "bids": part(1), "ts": now, "seqId": number, "prevSeqId": if whole { -1 } else { i64::try_from(before.unwrap_or(0)).unwrap_or(-1) }});
    if topic.channel == Channel::Books {
        one["checksum"] = json!(0);
    } else {
        one["instId"] = json!(name);
    }
    let mut pushed = json!({"arg": topic.arg, "data": [one]});
    if topic.channel == Channel::Books {
        pushed["action"] = json!(if whole { "snapshot" } else { "update" });
    }
    out.push(pushed);
    topic.book = Book {
        number: Some(number),
        sides,
    };
}
