//! Market streams of Binance, spot and futures (`/ws`, `/ws/NAMES`, `/stream?streams=NAMES`), and user streams of futures by
//! listen key on the same WebSockets.
//!
//! What happens is looked at when somebody is told: trades one by one, everything else as often as its stream speaks.
//! A name that the venue does not know is taken and says nothing, as there.

use crate::api::{self, Answer};
use crate::book::Side;
use crate::decimal::{D, div, mul, text};
use crate::ears::Ears;
use crate::futures::api::fixed;
use crate::futures::house::{FUNDING_MS, House};
use crate::futures::position::shown;
use crate::futures::{Service, user_stream};
use crate::strict::decode;
use crate::venue::{Outcome, Venue};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Streams of one WebSocket.
const STREAMS_MAX: usize = 1024;

/// Whose streams they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Spot.
    Spot,
    /// Futures.
    Futures(Service),
}

/// One WebSocket.
#[derive(Debug)]
pub struct Streams {
    place: Place,
    /// Of the two ways to futures' public streams the one that was taken.
    route: Option<Route>,
    combined: bool,
    streams: Vec<Stream>,
    /// Second, and frames in it.
    frames: (u64, u32),
    done: bool,
}

/// Futures serve books at one path and the rest at another; what asks at the wrong one hears nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Route {
    Public,
    Market,
    Private,
}

#[derive(Debug)]
struct Stream {
    name: String,
    what: What,
    /// When it speaks next, and how often; zero: at once.
    due: u64,
    every: u64,
}

#[derive(Debug)]
enum What {
    /// Number of the last trade; all that a trade's name says.
    Trades(usize, u64, &'static str),
    /// The book as it was told, both sides, and its number.
    Depth(usize, [BTreeMap<D, D>; 2], u64),
    /// So many prices, and the number that was told last.
    Levels(usize, usize, u64),
    /// Best prices of these, by market the number that was told last.
    Best(Vec<usize>, BTreeMap<usize, u64>),
    /// Interval, and the candle that was told last.
    Candle(usize, String, u64),
    /// Days of these: one alone, or a list.
    Days(Vec<usize>, &'static str, bool),
    Average(usize),
    Marks(Vec<usize>, bool),
    /// Number of the last order.
    Forced(Option<usize>, u64),
    /// Somebody's own.
    User(Box<user_stream::Watch>, usize),
    /// A name that nobody knows.
    Nothing,
}

/// A market's own words.
struct View<'a> {
    name: &'a str,
    pair: Option<&'a str>,
    update: u64,
    open: D,
    tick: D,
    last: D,
    high: D,
    low: D,
    volume: D,
    value: D,
    size: D,
    places: Option<(usize, usize)>,
}

/// A public trade.
struct Tick {
    id: u64,
    price: D,
    quantity: D,
    time: u64,
    buyer_maker: bool,
}

/// Opens the streams that a target names; nothing where it is no target of streams.
#[must_use]
pub fn open(venue: &Venue, host: &str, target: &str) -> Option<Streams> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let path = path.strip_prefix('/')?;
    let routed = [
        ("public/", Route::Public),
        ("market/", Route::Market),
        ("private/", Route::Private),
    ];
    let (path, route) = routed
        .iter()
        .find_map(|(prefix, route)| Some((path.strip_prefix(prefix)?, Some(*route))))
        .unwrap_or((path, None));
    let place = match host {
        "fstream.binance.com" => Place::Futures(Service::Usd),
        "dstream.binance.com" => Place::Futures(Service::Coin),
        "stream.binance.com" | "data-stream.binance.vision" => Place::Spot,
        // Loopback, where there is no name to tell them apart.
        _ if route.is_some() => Place::Futures(Service::Usd),
        _ => Place::Spot,
    };
    if route.is_some() && place != Place::Futures(Service::Usd) {
        return None;
    }
    let (combined, in_path) = match path.split_once('/') {
        None if path == "ws" => (false, ""),
        None if path == "stream" => (true, ""),
        Some(("ws", names)) => (false, names),
        _ => return None,
    };
    let mut names: Vec<String> = in_path.split('/').filter_map(decode).collect();
    for (name, value) in query.split('&').filter_map(|p| p.split_once('=')) {
        if matches!(name, "streams" | "listenKey") {
            names.extend(value.split('/').filter_map(decode));
        }
    }
    names.retain(|name| !name.is_empty());
    if names.len() > STREAMS_MAX {
        return None;
    }
    let mut streams = Streams {
        place,
        route,
        combined,
        streams: Vec::new(),
        frames: (0, 0),
        done: false,
    };
    for name in names {
        streams.subscribe(venue, name);
    }
    Some(streams)
}

impl Ears for Streams {
    fn hear(&mut self, venue: &mut Venue, _: IpAddr, text: &str, now_us: u64) -> Vec<Outcome> {
        let second = now_us / 1_000_000;
        if self.frames.0 != second {
            self.frames = (second, 0);
        }
        self.frames.1 += 1;
        let most = match self.place {
            Place::Spot => 5,
            Place::Futures(_) => 10,
        };
        let too_many = self.frames.1 > most;
        let body = self.answer(venue, text);
        vec![Outcome {
            answer: (!too_many).then(|| Answer {
                status: 200,
                body,
                kind: "application/json",
                headers: Vec::new(),
            }),
            delay_ms: 0,
            close: too_many,
            cut: false,
        }]
    }

    fn tell(&mut self, venue: &Venue) -> Vec<String> {
        let now = venue.exchange.now;
        let mut all = Vec::new();
        for stream in &mut self.streams {
            if now < stream.due {
                continue;
            }
            stream.due = match stream.every {
                0 => 0,
                every => (now / every + 1) * every,
            };
            let mut events = Vec::new();
            if stream.what.tell(venue, self.place, &mut events) {
                self.done = true;
            }
            for event in events {
                all.push(match self.combined {
                    true => json!({"stream": stream.name, "data": event}).to_string(),
                    false => event.to_string(),
                });
            }
        }
        all
    }

    fn listens(&self) -> bool {
        !self.streams.is_empty()
    }

    fn done(&self) -> bool {
        self.done
    }
}

impl Streams {
    /// The answer to a frame.
    fn answer(&mut self, venue: &Venue, text: &str) -> String {
        let mut id = Value::Null;
        let done = self.asked(venue, text, &mut id);
        match done {
            Ok(result) => json!({"result": result, "id": id}),
            Err((code, msg)) => json!({"error": {"code": code, "msg": msg}, "id": id}),
        }
        .to_string()
    }

    fn asked(
        &mut self,
        venue: &Venue,
        text: &str,
        id: &mut Value,
    ) -> Result<Value, (u8, &'static str)> {
        let Ok(Value::Object(frame)) = serde_json::from_str(text) else {
            return Err((3, "Invalid JSON: expected value at line 1 column 1"));
        };
        match frame.get("id") {
            None | Some(Value::Null) => {}
            Some(Value::Number(n)) if n.is_u64() => *id = json!(n),
            Some(Value::String(s)) if s.len() <= 36 => *id = json!(s),
            _ => {
                return Err((2, "Invalid request: request ID must be an unsigned integer"));
            }
        }
        let known = ["method", "params", "id"];
        if frame.keys().any(|name| !known.contains(&name.as_str())) {
            return Err((2, "Invalid request: unknown field"));
        }
        let params: Vec<&Value> = match frame.get("params") {
            None => Vec::new(),
            Some(Value::Array(all)) => all.iter().collect(),
            Some(_) => return Err((2, "Invalid request: params must be an array")),
        };
        let names = || -> Result<Vec<String>, (u8, &'static str)> {
            let all: Option<Vec<String>> = params
                .iter()
                .map(|p| p.as_str().map(str::to_owned))
                .collect();
            let all = all.ok_or((2, "Invalid request: stream names must be strings"))?;
            match all.is_empty() || all.iter().any(String::is_empty) {
                true => Err((2, "Invalid request: invalid stream")),
                false => Ok(all),
            }
        };
        match frame.get("method").and_then(Value::as_str) {
            Some("SUBSCRIBE") => {
                let names = names()?;
                if self.streams.len() + names.len() > STREAMS_MAX {
                    return Err((2, "Invalid request: too many streams"));
                }
                for name in names {
                    self.subscribe(venue, name);
                }
                Ok(Value::Null)
            }
            Some("UNSUBSCRIBE") => {
                let names = names()?;
                self.streams.retain(|s| !names.contains(&s.name));
                Ok(Value::Null)
            }
            Some("LIST_SUBSCRIPTIONS") => Ok(self.streams.iter().map(|s| json!(s.name)).collect()),
            Some("GET_PROPERTY") if params.as_slice() == [&json!("combined")] => {
                Ok(json!(self.combined))
            }
            Some("SET_PROPERTY") => match params.as_slice() {
                [name, Value::Bool(on)] if *name == "combined" => {
                    self.combined = *on;
                    Ok(Value::Null)
                }
                [name, _] if *name == "combined" => {
                    Err((1, "Invalid value type: expected Boolean"))
                }
                _ => Err((0, "Unknown property")),
            },
            Some("GET_PROPERTY") => Err((0, "Unknown property")),
            _ => Err((
                2,
                "Invalid request: unknown variant, expected one of `SUBSCRIBE`, `UNSUBSCRIBE`, `LIST_SUBSCRIPTIONS`, `SET_PROPERTY`, `GET_PROPERTY`",
            )),
        }
    }

    fn subscribe(&mut self, venue: &Venue, name: String) {
        if self.streams.iter().any(|s| s.name == name) {
            return;
        }
        let (what, every) = self.what(venue, &name).unwrap_or((What::Nothing, 60_000));
        self.streams.push(Stream {
            name,
            what,
            due: 0,
            every,
        });
    }

    /// What a name means, and how often it speaks.
    fn what(&self, venue: &Venue, name: &str) -> Option<(What, u64)> {
        let place = self.place;
        let spot = place == Place::Spot;
        let Some((market, what)) = name.split_once('@') else {
            if name == "!bookTicker" && self.serves(Route::Public) && !spot {
                return Some((What::Best(every(venue, place), BTreeMap::new()), 5000));
            }
            return self.user(venue, name);
        };
        let (what, rest) = what.split_once('@').unwrap_or((what, ""));
        let speed = match rest {
            "" => None,
            "1s" => Some(1000),
            "3s" => Some(3000),
            text => text.strip_suffix("ms").and_then(|t| t.parse::<u64>().ok()),
        };
        let public = what.starts_with("depth") || what == "bookTicker" || what == "trade";
        if !self.serves(if public { Route::Public } else { Route::Market }) {
            return None;
        }
        if let Some(all) = market.strip_prefix('!') {
            if what != "arr" {
                return None;
            }
            let markets = every(venue, place);
            return match all {
                "ticker" => Some((What::Days(markets, "24hrTicker", true), 1000)),
                "miniTicker" => Some((What::Days(markets, "24hrMiniTicker", true), 1000)),
                "markPrice" if !spot => Some((What::Marks(markets, true), speed.unwrap_or(3000))),
                "forceOrder" if !spot => Some((What::Forced(None, newest(venue, place)), 0)),
                _ => None,
            };
        }
        let at = find(venue, place, market)?;
        let last = || trades(venue, place, at, 0).last().map_or(0, |t| t.id);
        let slow = if spot { 1000 } else { 250 };
        Some(match what {
            "trade" => (What::Trades(at, last(), "trade"), 0),
            "aggTrade" => (What::Trades(at, last(), "aggTrade"), 0),
            "bookTicker" => (What::Best(vec![at], BTreeMap::new()), 0),
            "depth" => {
                let update = view(venue, place, at).update;
                let book = book(venue, place, at, 1000).map(BTreeMap::from_iter);
                (What::Depth(at, book, update), speed.unwrap_or(slow))
            }
            "depth5" | "depth10" | "depth20" => {
                let count = what.strip_prefix("depth")?.parse().ok()?;
                (What::Levels(at, count, 0), speed.unwrap_or(slow))
            }
            "ticker" => (What::Days(vec![at], "24hrTicker", false), 1000),
            "miniTicker" => (What::Days(vec![at], "24hrMiniTicker", false), 1000),
            "avgPrice" if spot => (What::Average(at), 1000),
            "markPrice" if !spot => (What::Marks(vec![at], false), speed.unwrap_or(3000)),
            "forceOrder" if !spot => (What::Forced(Some(at), newest(venue, place)), 0),
            _ => {
                let interval = what.strip_prefix("kline_")?;
                let (number, unit) = interval.split_at(interval.len().checked_sub(1)?);
                let fits = number.parse::<u8>().is_ok() && "smhdwM".contains(unit);
                let every = if spot { 1000 } else { 250 };
                fits.then(|| (What::Candle(at, interval.to_owned(), 0), every))?
            }
        })
    }

    fn serves(&self, route: Route) -> bool {
        self.route.is_none_or(|own| own == route)
    }

    /// The stream of a listen key.
    fn user(&self, venue: &Venue, key: &str) -> Option<(What, u64)> {
        let Place::Futures(service) = self.place else {
            return None;
        };
        if !self.serves(Route::Private) {
            return None;
        }
        let account = owner(venue, service, key)?;
        let assets = &venue.exchange.assets;
        let watch = user_stream::Watch::new(&venue.futures, assets, service, account);
        Some((What::User(Box::new(watch), account), 0))
    }
}

/// Whose listen key that is.
fn owner(venue: &Venue, service: Service, key: &str) -> Option<usize> {
    let mut keys = venue.futures.listen_keys.iter();
    keys.find(|((of, _), (own, _))| *of == service && own == key)
        .map(|((_, account), _)| *account)
}

fn house(venue: &Venue, service: Service) -> &House {
    &venue.futures.houses[service.index()]
}

fn every(venue: &Venue, place: Place) -> Vec<usize> {
    let count = match place {
        Place::Spot => venue.exchange.markets.len(),
        Place::Futures(service) => house(venue, service).markets.len(),
    };
    (0..count).collect()
}

fn find(venue: &Venue, place: Place, name: &str) -> Option<usize> {
    // Streams write symbols small.
    every(venue, place)
        .into_iter()
        .find(|m| view(venue, place, *m).name.to_lowercase() == name)
}

/// Number of the newest order that the venue made itself.
fn newest(venue: &Venue, place: Place) -> u64 {
    match place {
        Place::Spot => 0,
        Place::Futures(service) => {
            let accounts = house(venue, service).accounts.iter();
            let forced = accounts.flat_map(|a| a.forced.iter());
            forced.map(|(_, id)| *id).max().unwrap_or(0)
        }
    }
}

fn view(venue: &Venue, place: Place, market: usize) -> View<'_> {
    match place {
        Place::Spot => {
            let at = &venue.exchange.markets[market];
            View {
                name: &at.symbol.name,
                pair: None,
                update: at.update,
                open: at.symbol.price,
                tick: at.symbol.tick,
                last: at.last,
                high: at.high,
                low: at.low,
                volume: at.volume,
                value: at.quote_volume,
                size: at.symbol.maker_size,
                places: None,
            }
        }
        Place::Futures(service) => {
            let at = &house(venue, service).markets[market];
            View {
                name: &at.contract.name,
                pair: (service == Service::Coin).then_some(&at.contract.pair),
                update: at.update,
                open: at.contract.price,
                tick: at.contract.tick,
                last: at.last,
                high: at.high,
                low: at.low,
                volume: at.volume,
                value: shown(at.turnover),
                size: at.contract.maker_size,
                places: Some((at.contract.price_places, at.contract.quantity_places)),
            }
        }
    }
}

/// Trades with greater numbers, the oldest first.
fn trades(venue: &Venue, place: Place, market: usize, after: u64) -> Vec<Tick> {
    macro_rules! ticks {
        ($trades:expr) => {
            $trades
                .iter()
                .rev()
                .take_while(|t| t.id > after)
                .map(|t| Tick {
                    id: t.id,
                    price: t.price,
                    quantity: t.quantity,
                    time: t.time,
                    buyer_maker: t.buyer_maker,
                })
                .collect()
        };
    }
    let mut all: Vec<Tick> = match place {
        Place::Spot => ticks!(venue.exchange.markets[market].trades),
        Place::Futures(service) => ticks!(house(venue, service).markets[market].trades),
    };
    all.reverse();
    all
}

/// Prices and quantities of buyers and sellers.
fn book(venue: &Venue, place: Place, market: usize, limit: usize) -> [Vec<(D, D)>; 2] {
    [Side::Buy, Side::Sell].map(|side| match place {
        Place::Spot => venue.exchange.markets[market].book.depth(side, limit),
        Place::Futures(service) => house(venue, service).markets[market]
            .book
            .depth(side, limit),
    })
}

impl View<'_> {
    fn price(&self, price: D) -> String {
        match self.places {
            None => text(price),
            Some((places, _)) => fixed(price, places),
        }
    }

    fn quantity(&self, quantity: D) -> String {
        match self.places {
            None => text(quantity),
            Some((_, places)) => fixed(quantity, places),
        }
    }

    fn levels(&self, levels: impl IntoIterator<Item = (D, D)>) -> Vec<[String; 2]> {
        let written = |(price, quantity)| [self.price(price), self.quantity(quantity)];
        levels.into_iter().map(written).collect()
    }

    /// What every event says, of a kind.
    fn event(&self, kind: &str, now: u64, more: Value) -> Value {
        let mut value = more;
        value["e"] = json!(kind);
        value["E"] = json!(now);
        value["s"] = json!(self.name);
        if let Some(pair) = self.pair {
            value["ps"] = json!(pair);
        }
        value
    }
}

impl What {
    /// Says what is new; true: the stream has ended, and its WebSocket with it.
    fn tell(&mut self, venue: &Venue, place: Place, out: &mut Vec<Value>) -> bool {
        let now = venue.exchange.now;
        let spot = place == Place::Spot;
        match self {
            Self::Trades(market, last, kind) => {
                let at = view(venue, place, *market);
                for t in trades(venue, place, *market, *last) {
                    *last = t.id;
                    let mut value = json!({"p": at.price(t.price), "q": at.quantity(t.quantity), "T": t.time, "m": t.buyer_maker});
                    if *kind == "trade" {
                        value["t"] = json!(t.id);
                    } else {
                        for name in ["a", "f", "l"] {
                            value[name] = json!(t.id);
                        }
                    }
                    if spot {
                        value["M"] = json!(true);
                    } else if *kind == "trade" {
                        value["X"] = json!("MARKET");
                    }
                    let mut event = at.event(kind, now, value);
                    if let Some(event) = event.as_object_mut() {
                        event.remove("ps");
                    }
                    out.push(event);
                }
            }
            Self::Depth(market, told, last) => {
                let at = view(venue, place, *market);
                if at.update == *last {
                    return false;
                }
                let new = book(venue, place, *market, 1000).map(BTreeMap::from_iter);
                let mut sides = Vec::new();
                for (old, new) in told.iter().zip(&new) {
                    let gone = old.keys().filter(|p| !new.contains_key(*p));
                    let gone = gone.map(|p| (*p, 0));
                    let changed = new.iter().filter(|(p, q)| old.get(*p) != Some(*q));
                    sides.push(at.levels(changed.map(|(p, q)| (*p, *q)).chain(gone)));
                }
                let asks = sides.pop();
                let mut value =
                    json!({"U": *last + 1, "u": at.update, "b": sides.pop(), "a": asks});
                if !spot {
                    value["T"] = json!(now);
                    value["pu"] = json!(*last);
                }
                out.push(at.event("depthUpdate", now, value));
                (*told, *last) = (new, at.update);
            }
            Self::Levels(market, count, last) => {
                let at = view(venue, place, *market);
                if at.update == *last {
                    return false;
                }
                let [bids, asks] = book(venue, place, *market, *count).map(|side| at.levels(side));
                out.push(if spot {
                    json!({"lastUpdateId": at.update, "bids": bids, "asks": asks})
                } else {
                    let value = json!({"T": now, "U": *last + 1, "u": at.update, "pu": *last, "b": bids, "a": asks});
                    at.event("depthUpdate", now, value)
                });
                *last = at.update;
            }
            Self::Best(markets, told) => {
                for market in markets.iter() {
                    let at = view(venue, place, *market);
                    if told.insert(*market, at.update) == Some(at.update) {
                        continue;
                    }
                    let [bid, ask] = book(venue, place, *market, 1)
                        .map(|side| side.first().copied().unwrap_or((0, 0)));
                    let value = json!({
                        "u": at.update, "b": at.price(bid.0), "B": at.quantity(bid.1), "a": at.price(ask.0), "A": at.quantity(ask.1),
                    });
                    out.push(if spot {
                        let mut value = value;
                        value["s"] = json!(at.name);
                        value
                    } else {
                        let mut event = at.event("bookTicker", now, value);
                        event["T"] = json!(now);
                        event
                    });
                }
            }
            Self::Candle(market, interval, told) => {
                let at = view(venue, place, *market);
                let width = api::interval_ms(interval);
                let slot = now / width;
                let before = std::mem::replace(told, slot);
                for slot in [before, slot] {
                    let closed = slot != now / width;
                    if closed && before == 0 || !closed && slot == 0 {
                        continue;
                    }
                    let [open, high, low, close] =
                        api::candle([at.open, at.tick, at.last], slot, now / width);
                    let volume = at.size * 10;
                    let worth = text(mul(volume, open));
                    let candle = json!({
                        "t": slot * width, "T": (slot + 1) * width - 1, "s": at.name, "i": interval, "f": 0, "L": 0,
                        "o": at.price(open), "c": at.price(close), "h": at.price(high), "l": at.price(low), "v": at.quantity(volume),
                        "n": 100, "x": closed, "q": worth, "V": at.quantity(volume / 2), "Q": worth, "B": "0",
                    });
                    out.push(at.event("kline", now, json!({ "k": candle })));
                    if before == now / width {
                        break;
                    }
                }
            }
            Self::Days(markets, kind, listed) => {
                let all = markets.iter().map(|m| day(venue, place, *m, kind));
                match listed {
                    true => out.push(all.collect()),
                    false => out.extend(all),
                }
            }
            Self::Average(market) => {
                let at = view(venue, place, *market);
                let value =
                    json!({"i": "5m", "w": text(venue.exchange.average(*market)), "T": now});
                out.push(at.event("avgPrice", now, value));
            }
            Self::Marks(markets, listed) => {
                let Place::Futures(service) = place else {
                    return false;
                };
                let all = markets.iter().map(|m| {
                    let at = &house(venue, service).markets[*m];
                    let mark = text(at.mark);
                    let value = json!({
                        "p": mark, "ap": mark, "P": text(at.index), "i": text(at.index), "r": text(at.rate), "T": (now / FUNDING_MS + 1) * FUNDING_MS,
                    });
                    let mut event = view(venue, place, *m).event("markPriceUpdate", now, value);
                    if let Some(event) = event.as_object_mut() {
                        event.remove("ps");
                    }
                    event
                });
                match listed {
                    true => out.push(all.collect()),
                    false => out.extend(all),
                }
            }
            Self::Forced(market, last) => {
                let Place::Futures(service) = place else {
                    return false;
                };
                let house = house(venue, service);
                let mut new: Vec<(usize, u64)> = house
                    .accounts
                    .iter()
                    .flat_map(|a| a.forced.iter().rev().take_while(|(_, id)| id > last))
                    .filter(|(c, _)| market.is_none_or(|m| m == *c))
                    .copied()
                    .collect();
                new.sort_unstable_by_key(|(_, id)| *id);
                for (contract, id) in new {
                    *last = id;
                    let at = view(venue, place, contract);
                    let Some(order) = house.order(contract, id) else {
                        continue;
                    };
                    let mut inner = json!({
                        "s": at.name, "S": order.asked.side.word(), "o": "LIMIT", "f": "IOC", "q": at.quantity(order.quantity),
                        "p": at.price(order.price), "ap": at.price(order.average()), "X": order.status.word(),
                        "l": at.quantity(order.executed), "z": at.quantity(order.executed), "T": order.updated,
                    });
                    if let Some(pair) = at.pair {
                        inner["ps"] = json!(pair);
                    }
                    out.push(json!({"e": "forceOrder", "E": now, "o": inner}));
                }
            }
            Self::User(watch, account) => {
                let Place::Futures(service) = place else {
                    return false;
                };
                out.extend(watch.events(&venue.futures, &venue.exchange.assets));
                let keys = &venue.futures.listen_keys;
                let Some((key, until)) = keys.get(&(service, *account)) else {
                    // It was taken back.
                    return true;
                };
                if *until <= now {
                    let word = now.to_string();
                    out.push(json!({"e": "listenKeyExpired", "E": word, "listenKey": key}));
                    *self = Self::Nothing;
                }
            }
            Self::Nothing => {}
        }
        false
    }
}

fn day(venue: &Venue, place: Place, market: usize, kind: &str) -> Value {
    let now = venue.exchange.now;
    let at = view(venue, place, market);
    let mut value = json!({
        "c": at.price(at.last), "o": at.price(at.open), "h": at.price(at.high), "l": at.price(at.low),
        "v": at.quantity(at.volume), "q": text(at.value),
    });
    if kind == "24hrTicker" {
        let all = trades(venue, place, market, 0);
        let (first, last) = (all.first(), all.last());
        let average = match at.volume {
            0 => at.last,
            volume if at.pair.is_none() => div(at.value, volume),
            _ => at.last,
        };
        let change = at.last - at.open;
        let percent = match at.open {
            0 => 0,
            open => change.saturating_mul(10_000_000_000) / open,
        };
        for (name, more) in [
            ("p", json!(at.price(change))),
            ("P", json!(fixed(percent, 3))),
            ("w", json!(at.price(average))),
            ("Q", json!(at.quantity(last.map_or(0, |t| t.quantity)))),
            ("O", json!(now.saturating_sub(86_400_000))),
            ("C", json!(now)),
            ("F", json!(first.map_or(0, |t| t.id))),
            ("L", json!(last.map_or(0, |t| t.id))),
            ("n", json!(all.len())),
        ] {
            value[name] = more;
        }
        if place == Place::Spot {
            let [bid, ask] =
                book(venue, place, market, 1).map(|side| side.first().copied().unwrap_or((0, 0)));
            value["x"] = json!(at.price(at.open));
            value["b"] = json!(at.price(bid.0));
            value["B"] = json!(at.quantity(bid.1));
            value["a"] = json!(at.price(ask.0));
            value["A"] = json!(at.quantity(ask.1));
        }
    }
    at.event(kind, now, value)
}
