//! WebSockets: public streams by category, the account's own stream, and order entry. What a frame asks for is a call over
//! REST, or shown as one shows it; only the frames around it are written here.

use super::trade::{spot_order, status};
use super::{
    Asked, CALLS, Done, account, contracts, in_time, judge, market, params, refuse, trade,
};
use crate::api::Answer;
use crate::decimal::D;
use crate::ears::Ears;
use crate::faults::Act;
use crate::futures::house::Leg;
use crate::refusal::Refusal;
use crate::v5::json;
use crate::v5::perps::SERVICES;
use crate::v5::table::Fields;
use crate::venue::{Entry, Outcome, Venue, host_is_one_of};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;

const HOSTS: [&str; 2] = ["stream.bybit.com", "stream.bytick.com"];
/// Bytes of a request's id at most.
const ID_BYTES_MAX: usize = 36;
/// Bytes of a subscription's topics at most.
const TOPICS_BYTES_MAX: usize = 21_000;
/// Topics of one subscription on spot at most.
const SPOT_TOPICS_MAX: usize = 10;
/// Levels that an order book is told with.
const DEPTHS: [&str; 4] = ["1", "50", "200", "1000"];
/// Topics of the account's own stream.
const PRIVATE: [&str; 4] = ["order", "execution", "position", "wallet"];
/// Frames, and the calls that they are.
const OPS: [(&str, &str); 6] = [
    ("order.create", "/v5/order/create"),
    ("order.amend", "/v5/order/amend"),
    ("order.cancel", "/v5/order/cancel"),
    ("order.create-batch", "/v5/order/create-batch"),
    ("order.amend-batch", "/v5/order/amend-batch"),
    ("order.cancel-batch", "/v5/order/cancel-batch"),
];

/// Who hears a WebSocket at this path.
#[must_use]
pub fn open(venue: &mut Venue, target: &str, headers: &[(&str, &[u8])]) -> Option<Box<dyn Ears>> {
    let place = match target {
        "/v5/trade" => Place::Trade,
        "/v5/private" => Place::Private,
        "/v5/public/spot" => Place::Public("spot"),
        "/v5/public/linear" => Place::Public("linear"),
        "/v5/public/inverse" => Place::Public("inverse"),
        _ => return None,
    };
    if !host_is_one_of(headers, &HOSTS) {
        return None;
    }
    let number = venue.v5.number();
    Some(Box::new(Socket {
        place,
        id: format!("sim-{number}"),
        owner: None,
        ids: HashSet::new(),
        topics: BTreeMap::new(),
        seen: Seen::default(),
    }))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Trade,
    Private,
    Public(&'static str),
}

#[derive(Debug)]
struct Socket {
    place: Place,
    id: String,
    /// Account and key that have logged on.
    owner: Option<(usize, String)>,
    /// Ids of requests so far.
    ids: HashSet<String>,
    /// Topics, and what was told of each last.
    topics: BTreeMap<String, Value>,
    seen: Seen,
}

/// A frame that was read.
struct Frame {
    op: String,
    id: Option<String>,
    args: Vec<Value>,
    header: Option<Fields>,
}

impl Ears for Socket {
    fn hear(&mut self, venue: &mut Venue, from: IpAddr, text: &str, now_us: u64) -> Vec<Outcome> {
        let now_us = venue.begin(now_us, true);
        venue.deadlines();
        let now = now_us / 1000;
        let frame = match self.read(text) {
            Ok(frame) => frame,
            Err(refusal) => return vec![sent(self.refused("", None, &refusal))],
        };
        let id = frame.id.as_deref();
        match (self.place, frame.op.as_str()) {
            (_, "ping") => vec![sent(self.pong(id, now))],
            (Place::Trade | Place::Private, "auth") => {
                let done = self.log_on(venue, from, &frame.args, now);
                vec![sent(self.told("auth", id, done))]
            }
            (Place::Private | Place::Public(_), "subscribe" | "unsubscribe") => {
                let done = self.choose(venue, &frame, now);
                vec![sent(self.told(&frame.op, id, done))]
            }
            (Place::Trade, op) => match OPS.iter().find(|(name, _)| *name == op) {
                Some((_, path)) => vec![self.order(venue, from, path, &frame, now_us)],
                None => {
                    let refusal = refuse(10404, "op type is not found");
                    vec![sent(self.refused(op, id, &refusal))]
                }
            },
            (_, op) => {
                let refusal = refuse(10404, format!("Op: {op} not found"));
                vec![sent(self.refused(op, id, &refusal))]
            }
        }
    }

    fn tell(&mut self, venue: &Venue) -> Vec<String> {
        match (self.place, &self.owner) {
            (Place::Public(category), _) => {
                let now = venue.exchange.now;
                let tell = |(topic, last): (&String, &mut Value)| {
                    public(venue, category, topic, last, now).unwrap_or_default()
                };
                self.topics.iter_mut().flat_map(tell).collect()
            }
            (Place::Private, Some((account, _))) => {
                let topics: Vec<&str> = self.topics.keys().map(String::as_str).collect();
                self.seen.events(venue, *account, &topics)
            }
            _ => Vec::new(),
        }
    }

    fn listens(&self) -> bool {
        !self.topics.is_empty()
    }
}

impl Socket {
    fn read(&self, text: &str) -> Result<Frame, Refusal> {
        let bad = |what: &str| refuse(10001, format!("Request parameter error: {what}"));
        let Some(Value::Object(frame)) = json::parse(text.as_bytes()) else {
            return Err(bad("no JSON object"));
        };
        let id_name = match self.place {
            Place::Trade => "reqId",
            _ => "req_id",
        };
        let known = ["op", "args", id_name, "header"];
        if let Some(name) = frame.keys().find(|n| !known.contains(&n.as_str())) {
            return Err(bad(name));
        }
        let op = frame.get("op").and_then(Value::as_str);
        let args = match frame.get("args") {
            None => Vec::new(),
            Some(Value::Array(args)) => args.clone(),
            Some(_) => return Err(bad("args")),
        };
        let id = match frame.get(id_name) {
            None => None,
            Some(Value::String(id)) if id.len() <= ID_BYTES_MAX => Some(id.clone()),
            // CCXT numbers its subscriptions.
            Some(Value::Number(id)) if self.place != Place::Trade => Some(id.to_string()),
            Some(_) => return Err(bad(id_name)),
        };
        let header = match frame.get("header") {
            None => None,
            Some(Value::Object(header)) if self.place == Place::Trade => Some(header.clone()),
            Some(_) => return Err(bad("header")),
        };
        Ok(Frame {
            op: op.ok_or_else(|| bad("op"))?.to_owned(),
            id,
            args,
            header,
        })
    }

    /// Key, expiry and signature, in the venue's order.
    fn log_on(
        &mut self,
        venue: &Venue,
        from: IpAddr,
        args: &[Value],
        now: u64,
    ) -> Result<(), Refusal> {
        if self.owner.is_some() {
            return Err(refuse(20001, "Repeat auth"));
        }
        let [Value::String(key), expires, Value::String(signature)] = args else {
            return Err(refuse(10001, "Params Error"));
        };
        let expires = match expires {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            _ => return Err(refuse(10001, "Params Error")),
        };
        let at: u64 = expires.parse().map_err(|_| refuse(10001, "Params Error"))?;
        if at <= now {
            return Err(refuse(10004, "Params Error: expires is not ahead"));
        }
        let known = venue.keys.find(key).ok_or_else(super::no_key)?;
        let payload = format!("GET/realtime{expires}");
        if signature.bytes().any(|b| b.is_ascii_uppercase()) && known.is_hmac()
            || !known.verifies(payload.as_bytes(), signature)
        {
            return Err(refuse(10004, "Invalid sign"));
        }
        if !known.ips.is_empty() && !known.ips.contains(&from) {
            return Err(refuse(
                10010,
                "Unmatched IP, please check your API key's bound IP addresses.",
            ));
        }
        self.owner = Some((known.account, key.clone()));
        Ok(())
    }

    /// Begins or ends to tell of topics: all of them or none.
    fn choose(&mut self, venue: &Venue, frame: &Frame, now: u64) -> Result<(), Refusal> {
        let mut topics = Vec::new();
        for topic in &frame.args {
            let topic = topic.as_str().ok_or_else(|| params("args"))?;
            let known = match self.place {
                Place::Public(category) => {
                    let named = topic.rsplit_once('.').map_or("", |(_, name)| name);
                    if !is_public(topic) {
                        false
                    } else if shown_by(
                        venue,
                        category,
                        "/v5/market/tickers",
                        &[("symbol", named)],
                        now,
                    )
                    .is_err()
                    {
                        return Err(refuse(10001, format!("Invalid symbol :[{topic}]")));
                    } else {
                        true
                    }
                }
                _ => PRIVATE.contains(&topic),
            };
            if !known {
                return Err(refuse(
                    10404,
                    format!("error:handler not found,topic:{topic}"),
                ));
            }
            topics.push(topic.to_owned());
        }
        let bytes: usize = topics.iter().map(String::len).sum();
        let many = self.place == Place::Public("spot") && topics.len() > SPOT_TOPICS_MAX;
        if topics.is_empty() || many || bytes > TOPICS_BYTES_MAX {
            return Err(refuse(10001, "args size"));
        }
        if self.place == Place::Private {
            let Some((account, _)) = self.owner else {
                return Err(refuse(10003, "Request not authorized"));
            };
            if self.topics.is_empty() {
                self.seen = Seen::default();
                let _ = self.seen.events(venue, account, &PRIVATE);
            }
        }
        for topic in topics {
            if frame.op == "unsubscribe" {
                self.topics.remove(&topic);
            } else if self.topics.insert(topic.clone(), Value::Null).is_some() {
                return Err(refuse(
                    10001,
                    format!("error:already subscribed,topic:{topic}"),
                ));
            }
        }
        Ok(())
    }

    /// An order: the call that it is, on this session.
    fn order(
        &mut self,
        venue: &mut Venue,
        from: IpAddr,
        path: &'static str,
        frame: &Frame,
        now_us: u64,
    ) -> Outcome {
        let now = now_us / 1000;
        let given = match frame.args.as_slice() {
            [Value::Object(given)] => Some(given),
            _ => None,
        };
        let owner = self.owner.clone();
        let fault = venue.fault("POST", path, owner.as_ref().map(|(account, _)| *account));
        let client_id = given.and_then(|given| {
            let first = given.get("request").and_then(|r| r.get(0));
            let id = given.get("orderLinkId");
            let id = id.or_else(|| first?.get("orderLinkId"))?.as_str()?;
            Some(id.to_owned())
        });
        let mut limit = None;
        let done = match fault {
            Some(Act::ErrorBefore(_) | Act::DropBefore | Act::HangBefore) => {
                Err(refuse(10016, "Internal server error"))
            }
            _ => self
                .admitted(frame, now)
                .and_then(|()| given.ok_or_else(|| params("args")))
                .and_then(|given| {
                    let call = CALLS.iter().find(|c| c.path == path && c.method == "POST");
                    let call = call.ok_or_else(|| refuse(10404, "op type is not found"))?;
                    let owner = owner
                        .as_ref()
                        .map(|(account, key)| (*account, key.as_str()));
                    judge(venue, owner, call, given, now, &mut limit)
                }),
        };
        let entry = Entry {
            number: venue.requests,
            time_us: now_us,
            from,
            method: "POST".to_owned(),
            path: path.to_owned(),
            key: owner
                .as_ref()
                .and_then(|(_, key)| Some(venue.keys.find(key)?.number)),
            account: owner.as_ref().map(|(account, _)| *account),
            client_order_id: client_id,
            signature: None,
            status: 200,
            code: done.as_ref().err().map_or(0, |refusal| refusal.code),
            fault: fault.map(Act::name),
        };
        let text = self.acknowledged(frame, done, limit, now);
        let fails = refuse(10016, "Internal server error");
        let unknown = self.refused(&frame.op, frame.id.as_deref(), &fails);
        venue.finish(entry, answer(text), fault, |_| answer(unknown.clone()))
    }

    /// What is looked at before the call itself.
    fn admitted(&mut self, frame: &Frame, now: u64) -> Result<(), Refusal> {
        if self.owner.is_none() {
            return Err(refuse(10003, "Request not authorized"));
        }
        if let Some(id) = &frame.id
            && !self.ids.insert(id.clone())
        {
            return Err(refuse(20006, "reqId is duplicated"));
        }
        let header = frame.header.as_ref().ok_or_else(|| params("header"))?;
        let known = ["X-BAPI-TIMESTAMP", "X-BAPI-RECV-WINDOW", "Referer"];
        if let Some(name) = header.keys().find(|n| !known.contains(&n.as_str())) {
            return Err(params(name));
        }
        let text = |name: &str| match header.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(Value::Number(number)) => Ok(Some(number.to_string())),
            Some(_) => Err(params(name)),
        };
        let time = text("X-BAPI-TIMESTAMP")?.ok_or_else(|| params("X-BAPI-TIMESTAMP"))?;
        in_time(&time, text("X-BAPI-RECV-WINDOW")?.as_deref(), now)
    }

    fn acknowledged(
        &self,
        frame: &Frame,
        done: Done,
        limit: Option<(usize, usize, u64)>,
        now: u64,
    ) -> String {
        let (max, left, reset) = limit.unwrap_or((0, 0, now));
        let header = json!({
            "X-Bapi-Limit": max.to_string(), "X-Bapi-Limit-Status": left.to_string(),
            "X-Bapi-Limit-Reset-Timestamp": reset.to_string(), "Traceid": format!("{}-{now}", self.id), "Timenow": now.to_string(),
        });
        let (code, msg, mut data) = match done {
            Ok(data) => (0, "OK".to_owned(), data),
            Err(refusal) => (refusal.code, refusal.msg, json!({})),
        };
        let more = data.as_object_mut().and_then(|d| d.remove("retExtInfo"));
        let mut text = json!({
            "retCode": code, "retMsg": msg, "op": frame.op, "data": data, "retExtInfo": more.unwrap_or_else(|| json!({})),
            "header": header, "connId": self.id,
        });
        if let (Some(id), Some(text)) = (&frame.id, text.as_object_mut()) {
            text.insert("reqId".to_owned(), id.as_str().into());
        }
        text.to_string()
    }

    fn told(&self, op: &str, id: Option<&str>, done: Result<(), Refusal>) -> String {
        match done {
            Ok(()) => self.envelope(
                op,
                id,
                0,
                if self.place == Place::Trade { "OK" } else { "" },
            ),
            Err(refusal) => self.refused(op, id, &refusal),
        }
    }

    fn refused(&self, op: &str, id: Option<&str>, refusal: &Refusal) -> String {
        self.envelope(op, id, refusal.code, &refusal.msg)
    }

    fn envelope(&self, op: &str, id: Option<&str>, code: i64, msg: &str) -> String {
        let (mut text, id_name) = match self.place {
            Place::Trade => (
                json!({"retCode": code, "retMsg": msg, "op": op, "connId": self.id}),
                "reqId",
            ),
            _ => (
                json!({"success": code == 0, "ret_msg": msg, "op": op, "conn_id": self.id}),
                "req_id",
            ),
        };
        if let (Some(id), Some(text)) = (id, text.as_object_mut()) {
            text.insert(id_name.to_owned(), id.into());
        }
        text.to_string()
    }

    fn pong(&self, id: Option<&str>, now: u64) -> String {
        let now = now.to_string();
        let mut text = match self.place {
            Place::Trade => {
                json!({"retCode": 0, "retMsg": "OK", "op": "pong", "data": [now], "connId": self.id})
            }
            Place::Private => json!({"op": "pong", "args": [now], "conn_id": self.id}),
            Place::Public(_) => {
                json!({"success": true, "ret_msg": "pong", "conn_id": self.id, "op": "ping"})
            }
        };
        if let (Some(id), Some(text)) = (id, text.as_object_mut()) {
            let name = if self.place == Place::Trade {
                "reqId"
            } else {
                "req_id"
            };
            text.insert(name.to_owned(), id.into());
        }
        text.to_string()
    }
}

fn answer(text: String) -> Answer {
    Answer {
        status: 200,
        body: text,
        kind: "application/json",
        headers: Vec::new(),
    }
}

fn sent(text: String) -> Outcome {
    Outcome {
        answer: Some(answer(text)),
        delay_ms: 0,
        close: false,
        cut: false,
    }
}

/// What REST shows at a path.
fn shown_by(venue: &Venue, category: &str, path: &str, fields: &[(&str, &str)], now: u64) -> Done {
    let mut all = Fields::new();
    for (name, value) in fields.iter().chain(&[("category", category)]) {
        all.insert((*name).to_owned(), (*value).into());
    }
    let asked = Asked {
        owner: None,
        fields: all,
        now,
    };
    market::answer(venue, path, &asked)
}

fn is_public(topic: &str) -> bool {
    match topic.split('.').collect::<Vec<_>>().as_slice() {
        ["orderbook", depth, _] => DEPTHS.contains(depth),
        ["publicTrade" | "tickers", _] => true,
        ["kline", interval, _] => [
            "1", "3", "5", "15", "30", "60", "120", "240", "360", "720", "D", "W", "M",
        ]
        .contains(interval),
        _ => false,
    }
}

/// What is new of a topic.
fn public(
    venue: &Venue,
    category: &str,
    topic: &str,
    last: &mut Value,
    now: u64,
) -> Option<Vec<String>> {
    let parts: Vec<&str> = topic.split('.').collect();
    let show =
        |path: &str, fields: &[(&str, &str)]| shown_by(venue, category, path, fields, now).ok();
    let say = |kind: &str, data: Value| {
        let text = json!({"topic": topic, "type": kind, "ts": now, "data": data, "cts": now});
        vec![text.to_string()]
    };
    match parts.as_slice() {
        ["orderbook", depth, symbol] => {
            let book = show(
                "/v5/market/orderbook",
                &[("symbol", symbol), ("limit", depth)],
            )?;
            if book["b"] == last["b"] && book["a"] == last["a"] {
                return None;
            }
            let is_first = last.is_null() || *depth == "1";
            let kind = if is_first { "snapshot" } else { "delta" };
            let side = |name: &str| match is_first {
                true => book[name].clone(),
                false => changes(&last[name], &book[name]),
            };
            let data = json!({"s": symbol, "b": side("b"), "a": side("a"), "u": book["u"], "seq": book["seq"]});
            *last = book;
            Some(say(kind, data))
        }
        ["tickers", symbol] => {
            let tickers = show("/v5/market/tickers", &[("symbol", symbol)])?;
            let ticker = tickers["list"].get(0)?.clone();
            if ticker == *last {
                return None;
            }
            let kind = if category == "spot" || last.is_null() {
                "snapshot"
            } else {
                "delta"
            };
            last.clone_from(&ticker);
            Some(say(kind, ticker))
        }
        ["publicTrade", symbol] => {
            let trades = show(
                "/v5/market/recent-trade",
                &[("symbol", symbol), ("limit", "60")],
            )?;
            let number = |t: &Value| {
                t["execId"]
                    .as_str()
                    .and_then(|t| t.parse::<u64>().ok())
                    .unwrap_or(0)
            };
            let all = trades["list"].as_array()?;
            let newest = all.iter().map(number).max().unwrap_or(0);
            let Some(seen) = last.as_u64() else {
                *last = newest.into();
                return None;
            };
            let new: Vec<Value> = all
                .iter()
                .rev()
                .filter(|t| number(t) > seen)
                .map(|t| {
                    let time: u64 = t["time"].as_str().and_then(|t| t.parse().ok()).unwrap_or(now);
                    json!({
                        "T": time, "s": symbol, "S": t["side"], "v": t["size"], "p": t["price"], "L": "ZeroPlusTick", "i": t["execId"],
                        "BT": false, "RPI": false, "seq": number(t),
                    })
                })
                .collect();
            *last = newest.max(seen).into();
            (!new.is_empty()).then(|| say("snapshot", new.into()))
        }
        ["kline", interval, symbol] => {
            let fields = [("symbol", *symbol), ("interval", *interval), ("limit", "2")];
            let lines = show("/v5/market/kline", &fields)?;
            let line = |at: usize, confirm: bool| {
                let row = lines["list"].get(at)?;
                let start: u64 = row.get(0)?.as_str()?.parse().ok()?;
                let after: u64 = lines["list"].get(0)?.get(0)?.as_str()?.parse().ok()?;
                let before: u64 = lines["list"].get(1)?.get(0)?.as_str()?.parse().ok()?;
                Some(json!({
                    "start": start, "end": start + (after - before) - 1, "interval": interval, "open": row[1], "high": row[2],
                    "low": row[3], "close": row[4], "volume": row[5], "turnover": row[6], "confirm": confirm, "timestamp": now,
                }))
            };
            let now_line = line(0, false)?;
            let same = |name: &str| now_line[name] == last[name];
            if ["start", "close", "high", "low"].into_iter().all(same) {
                return None;
            }
            let mut all = Vec::new();
            if !last.is_null() && !same("start") {
                all.extend(say("snapshot", vec![line(1, true)?].into()));
            }
            last.clone_from(&now_line);
            all.extend(say("snapshot", vec![now_line].into()));
            Some(all)
        }
        _ => None,
    }
}

/// Levels that are new or gone: of size zero, these.
fn changes(before: &Value, after: &Value) -> Value {
    let levels = |side: &Value| -> BTreeMap<String, Value> {
        let all = side.as_array().into_iter().flatten();
        all.filter_map(|l| Some((l.get(0)?.as_str()?.to_owned(), l.get(1)?.clone())))
            .collect()
    };
    let (before, after) = (levels(before), levels(after));
    let mut all = Vec::new();
    for (price, size) in &after {
        if before.get(price) != Some(size) {
            all.push(json!([price, size]));
        }
    }
    for price in before.keys().filter(|p| !after.contains_key(*p)) {
        all.push(json!([price, "0"]));
    }
    all.into()
}

/// What is told of an order.
type Told = (&'static str, D, D, D);

/// What an account was told.
#[derive(Debug, Default)]
struct Seen {
    /// Status, filled, price and quantity of each order, by kind, market and number.
    orders: HashMap<(usize, usize, u64), Told>,
    /// The next trade of each market, spot's before the houses'.
    trades: HashMap<(usize, usize), u64>,
    positions: BTreeMap<(usize, usize, Leg), (D, u64)>,
    wallet: Value,
}

impl Seen {
    fn events(&mut self, venue: &Venue, account: usize, topics: &[&str]) -> Vec<String> {
        let all = [
            ("order", self.orders(venue, account)),
            ("execution", self.executions(venue, account)),
            ("position", self.positions(venue, account)),
            ("wallet", self.wallet(venue, account)),
        ];
        let now = venue.exchange.now;
        let mut out = Vec::new();
        for (topic, data) in all {
            if !data.is_empty() && topics.contains(&topic) {
                let id = format!("sim{account}_{topic}_{now}");
                let text = json!({"id": id, "topic": topic, "creationTime": now, "data": data});
                out.push(text.to_string());
            }
        }
        out
    }

    fn orders(&mut self, venue: &Venue, account: usize) -> Vec<Value> {
        let mut rows = Vec::new();
        let mut changed = |key, now| self.orders.insert(key, now) != Some(now);
        let of = |row: Value, category: &str| {
            let mut row = row;
            row["category"] = category.into();
            row
        };
        for (index, market) in venue.exchange.markets.iter().enumerate() {
            let numbers = venue.exchange.accounts[account].orders[index].iter();
            for order in numbers.filter_map(|id| market.book.orders.get(id)) {
                if order.status == crate::book::Status::PendingNew {
                    continue;
                }
                let now = (status(order), order.executed, order.price, order.quantity);
                if changed((0, index, order.id), now) {
                    rows.push(of(spot_order(venue, index, order), "spot"));
                }
            }
        }
        for service in SERVICES {
            let house = &venue.futures.houses[service.index()];
            let Some(owner) = house.accounts.get(account) else {
                continue;
            };
            let category = contracts::category(service);
            for (contract, number) in &owner.orders {
                let Some(order) = house.order(*contract, *number) else {
                    continue;
                };
                let now = (
                    contracts::status(order),
                    order.executed,
                    order.price,
                    order.quantity,
                );
                if changed((1 + service.index(), *contract, *number), now) {
                    let at = crate::v5::perps::At {
                        service,
                        contract: *contract,
                    };
                    rows.push(of(contracts::shown_order(venue, at, order), category));
                }
            }
            for algo in owner.algos.iter().filter_map(|id| house.algos.get(id)) {
                let now = (contracts::algo_status(algo), 0, 0, 0);
                if changed((3 + service.index(), algo.contract, algo.id), now) {
                    rows.push(of(contracts::shown_algo(venue, service, algo), category));
                }
            }
        }
        rows
    }

    fn executions(&mut self, venue: &Venue, account: usize) -> Vec<Value> {
        let mut rows = Vec::new();
        let mut new = |key, id: u64| {
            let next = self.trades.entry(key).or_default();
            let is_new = id >= *next;
            *next = (id + 1).max(*next);
            is_new
        };
        for (index, trades) in venue.exchange.accounts[account].trades.iter().enumerate() {
            for of in trades {
                if new((0, index), of.id) {
                    let mut row = trade::execution(venue, index, of);
                    row["category"] = "spot".into();
                    rows.push(row);
                }
            }
        }
        for service in SERVICES {
            let house = &venue.futures.houses[service.index()];
            for of in house
                .accounts
                .get(account)
                .into_iter()
                .flat_map(|a| &a.trades)
            {
                if new((1 + service.index(), of.contract), of.id) {
                    let mut row = contracts::execution(venue, service, of);
                    row["category"] = contracts::category(service).into();
                    rows.push(row);
                }
            }
        }
        rows
    }

    fn positions(&mut self, venue: &Venue, account: usize) -> Vec<Value> {
        let mut rows = Vec::new();
        for service in SERVICES {
            let house = &venue.futures.houses[service.index()];
            let Some(owner) = house.accounts.get(account) else {
                continue;
            };
            let category = contracts::category(service);
            let at = service.index();
            let mut now: BTreeMap<(usize, usize, Leg), (D, u64)> = owner
                .positions
                .iter()
                .map(|((contract, leg), p)| ((at, *contract, *leg), (p.quantity, p.updated)))
                .collect();
            // One that is closed is told once more, as nothing.
            for key in self.positions.keys().filter(|key| key.0 == at) {
                now.entry(*key).or_insert((0, 0));
            }
            let mut contracts_changed = Vec::new();
            for (key, state) in now {
                let before = if state.0 == 0 {
                    self.positions.remove(&key)
                } else {
                    self.positions.insert(key, state)
                };
                if before != Some(state) && (before.is_some() || state.0 != 0) {
                    contracts_changed.push(key.1);
                }
            }
            contracts_changed.dedup();
            for contract in contracts_changed {
                let name = house.markets[contract].contract.name.as_str();
                let mut fields = Fields::new();
                fields.insert("symbol".to_owned(), name.into());
                let asked = Asked {
                    owner: None,
                    fields,
                    now: venue.exchange.now,
                };
                let list = contracts::positions(venue, account, category, &asked);
                for mut row in list
                    .ok()
                    .and_then(|l| l["list"].as_array().cloned())
                    .unwrap_or_default()
                {
                    row["category"] = category.into();
                    row["entryPrice"] = row["avgPrice"].clone();
                    rows.push(row);
                }
            }
        }
        rows
    }

    fn wallet(&mut self, venue: &Venue, account: usize) -> Vec<Value> {
        let asked = Asked {
            owner: None,
            fields: Fields::new(),
            now: venue.exchange.now,
        };
        let Ok(mut wallet) = account::wallet(venue, account, &asked) else {
            return Vec::new();
        };
        // What moves with prices alone is no event.
        let held = |wallet: &Value| -> Value {
            let coins = wallet["list"][0]["coin"].as_array().into_iter().flatten();
            coins
                .map(|c| json!([c["coin"], c["walletBalance"], c["locked"]]))
                .collect()
        };
        let now = held(&wallet);
        if now == self.wallet {
            return Vec::new();
        }
        self.wallet = now;
        vec![wallet["list"][0].take()]
    }
}
