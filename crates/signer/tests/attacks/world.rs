//! The exchange that the attacks end at: the simulator in process, with a look into its books.

use crate::gate::Signed;
use portcullis_sim::venue::{Kind, Options, Outcome, Venue};
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};

/// Where egress sits, as the venue sees it.
pub const GATE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
/// Where a thief sits.
pub const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 9));
/// `firm`, the account that the gate holds keys of.
pub const FIRM: &str = "firm";

/// Prices stand still, so that whatever changes was done by a request; limits are out of the way unless asked for.
pub fn venue(now_us: u64, orders_per_10s: u64) -> Venue {
    exchange(Kind::Binance, now_us, orders_per_10s)
}

/// The same as any of the venues.
pub fn exchange(kind: Kind, now_us: u64, orders_per_10s: u64) -> Venue {
    let options = Options {
        kind,
        futures_weight_per_minute: u64::MAX / 4,
        futures_orders: [orders_per_10s, u64::MAX / 4],
        limits_times: 1_000_000,
        seed: Some(7),
        weight_per_minute: u64::MAX / 4,
        sapi_weight_per_minute: u64::MAX / 4,
        orders_per_10s,
        orders_per_day: u64::MAX / 4,
        open_orders: 1_000_000,
        log_requests: 1_000,
        moving: false,
        ..Options::default()
    };
    Venue::new(options, now_us)
}

/// The books of the venue as far as a request could change them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Books {
    /// The firm's orders, lists and trades.
    pub trading: String,
    /// The firm's spot wallet.
    pub spot: String,
    /// Other wallets, debts, withdrawals.
    pub value: String,
    /// What the venue did beside trading, whether it moved value or not.
    pub acts: String,
    /// Keys and what they may.
    pub keys: String,
    /// Other people's accounts.
    pub others: String,
    /// Streams that somebody may listen to.
    pub streams: usize,
}

/// What changed between two looks at the books.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// Orders, and what they trade.
    Trading,
    /// A stream of the account's orders and balances was opened: it shows, and changes nothing.
    Stream,
    /// Something beside the spot market that moved no value, such as cancelling an order of another product.
    Beside,
    /// Value moved in another way than by an order.
    Value,
    Keys,
    Others,
}

impl Books {
    pub fn of(venue: &Venue) -> Self {
        let exchange = &venue.exchange;
        let mut books = Self {
            trading: String::new(),
            spot: String::new(),
            value: String::new(),
            acts: String::new(),
            keys: String::new(),
            others: String::new(),
            streams: venue.listen_keys.len(),
        };
        for account in exchange
            .accounts
            .iter()
            .skip(portcullis_sim::exchange::CROWD + 1)
        {
            let firm = account.name == FIRM;
            let out = if firm {
                &mut books.trading
            } else {
                &mut books.others
            };
            for (at, market) in exchange.markets.iter().enumerate() {
                let trades = account.trades[at].len();
                for id in &account.orders[at] {
                    let order = &market.book.orders[id];
                    let _ = writeln!(out, "{} {order:?}", market.symbol.name);
                }
                let _ = write!(out, "{trades} ");
            }
            let _ = writeln!(out, "{:?}", account.lists);
            let out = if firm {
                &mut books.spot
            } else {
                &mut books.others
            };
            let _ = write!(out, "{:?}", account.spot);
            let out = if firm {
                &mut books.value
            } else {
                &mut books.others
            };
            let _ = write!(out, "{:?} {:?}", account.wallets, account.debts);
        }
        let moved = venue
            .effects
            .iter()
            .filter(|effect| effect["kind"] != "listen key");
        for effect in moved {
            let _ = writeln!(books.acts, "{effect}");
        }
        let _ = writeln!(books.value, "{:?}", venue.withdrawals);
        let mut keys: Vec<String> = venue
            .keys
            .all()
            .map(|(text, key)| format!("{text} {:?} {:?} {}", key.rights, key.ips, key.revoked))
            .collect();
        keys.sort();
        books.keys = keys.join("\n");
        books
    }

    pub fn changes(&self, after: &Self) -> Vec<Effect> {
        let mut effects = Vec::new();
        if self.trading != after.trading {
            effects.push(Effect::Trading);
        }
        if self.streams != after.streams {
            effects.push(Effect::Stream);
        }
        // A spot wallet that changes without an order is value that moved.
        if self.value != after.value || (self.spot != after.spot && self.trading == after.trading) {
            effects.push(Effect::Value);
        } else if self.acts != after.acts {
            effects.push(Effect::Beside);
        }
        if self.keys != after.keys {
            effects.push(Effect::Keys);
        }
        if self.others != after.others {
            effects.push(Effect::Others);
        }
        effects
    }
}

/// Hands a request over as it was signed.
pub fn deliver(venue: &mut Venue, signed: &Signed, now_us: u64) -> (u16, String) {
    request(
        venue,
        &signed.method,
        &signed.target,
        signed,
        &signed.body,
        now_us,
    )
}

/// Hands it over under another line and body, with its own headers.
pub fn request(
    venue: &mut Venue,
    method: &str,
    target: &[u8],
    signed: &Signed,
    body: &[u8],
    now_us: u64,
) -> (u16, String) {
    let mut headers: Vec<(&str, &[u8])> = signed
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_slice()))
        .collect();
    headers.push(("host", signed.host.as_bytes()));
    raw(venue, GATE, method, target, &headers, body, now_us)
}

pub fn raw(
    venue: &mut Venue,
    from: IpAddr,
    method: &str,
    target: &[u8],
    headers: &[(&str, &[u8])],
    body: &[u8],
    now_us: u64,
) -> (u16, String) {
    // Egress names the host of the release; the simulator takes no request without one.
    let mut headers = headers.to_vec();
    if !headers
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case("host"))
    {
        headers.push(("host", b"api.binance.com"));
    }
    let Outcome { answer, .. } = venue.handle(from, method, target, &headers, body, now_us);
    let answer = answer.expect("no faults were asked for");
    (answer.status, answer.body)
}
