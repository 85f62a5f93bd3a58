//! One market's order book: orders at their prices in the order in which they came.
//!
//! Written here rather than taken from a crate. The well-kept one (orderbook-rs 0.15, looked at on 2026-11-25) is built for
//! many threads (tokio, dashmap, skip lists) and knows no balances; here one thread owns everything, and a match, its
//! payment, self-trade prevention and the other leg of a list must happen as one step. What is left of a book then is two
//! sorted maps.

use crate::decimal::D;
use std::collections::{BTreeMap, HashMap, VecDeque};

/// Buy or sell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// Buy.
    Buy,
    /// Sell.
    Sell,
}

impl Side {
    /// The venue's word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Buy => "BUY",
            Self::Sell => "SELL",
        }
    }

    /// The other one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Buy => Self::Sell,
            Self::Sell => Self::Buy,
        }
    }
}

/// Order types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// At a price or better.
    Limit,
    /// At what the book gives.
    Market,
    /// A market order once the price went against.
    StopLoss,
    /// A limit order once the price went against.
    StopLossLimit,
    /// A market order once the price went well.
    TakeProfit,
    /// A limit order once the price went well.
    TakeProfitLimit,
    /// A limit order that never takes.
    LimitMaker,
}

impl Type {
    /// From the venue's word.
    #[must_use]
    pub fn of(word: &str) -> Option<Self> {
        Some(match word {
            "LIMIT" => Self::Limit,
            "MARKET" => Self::Market,
            "STOP_LOSS" => Self::StopLoss,
            "STOP_LOSS_LIMIT" => Self::StopLossLimit,
            "TAKE_PROFIT" => Self::TakeProfit,
            "TAKE_PROFIT_LIMIT" => Self::TakeProfitLimit,
            "LIMIT_MAKER" => Self::LimitMaker,
            _ => return None,
        })
    }

    /// The venue's word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Limit => "LIMIT",
            Self::Market => "MARKET",
            Self::StopLoss => "STOP_LOSS",
            Self::StopLossLimit => "STOP_LOSS_LIMIT",
            Self::TakeProfit => "TAKE_PROFIT",
            Self::TakeProfitLimit => "TAKE_PROFIT_LIMIT",
            Self::LimitMaker => "LIMIT_MAKER",
        }
    }

    /// Waits for a price before it works.
    #[must_use]
    pub fn waits(self) -> bool {
        matches!(
            self,
            Self::StopLoss | Self::StopLossLimit | Self::TakeProfit | Self::TakeProfitLimit
        )
    }

    /// Has no price of its own.
    #[must_use]
    pub fn at_market(self) -> bool {
        matches!(self, Self::Market | Self::StopLoss | Self::TakeProfit)
    }
}

/// How long an order lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// Until cancelled.
    Gtc,
    /// What fills at once, no more.
    Ioc,
    /// All at once or nothing.
    Fok,
}

impl Life {
    /// From the venue's word.
    #[must_use]
    pub fn of(word: &str) -> Option<Self> {
        Some(match word {
            "GTC" => Self::Gtc,
            "IOC" => Self::Ioc,
            "FOK" => Self::Fok,
            _ => return None,
        })
    }

    /// The venue's word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Gtc => "GTC",
            Self::Ioc => "IOC",
            Self::Fok => "FOK",
        }
    }
}

/// Where an order stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Accepted.
    New,
    /// Waits for the working order of its list.
    PendingNew,
    /// Filled in part.
    PartiallyFilled,
    /// Done.
    Filled,
    /// By its owner.
    Canceled,
    /// Never accepted.
    Rejected,
    /// By the rules of its type, or by its list.
    Expired,
    /// By self-trade prevention.
    ExpiredInMatch,
}

impl Status {
    /// The venue's word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::New => "NEW",
            Self::PendingNew => "PENDING_NEW",
            Self::PartiallyFilled => "PARTIALLY_FILLED",
            Self::Filled => "FILLED",
            Self::Canceled => "CANCELED",
            Self::Rejected => "REJECTED",
            Self::Expired => "EXPIRED",
            Self::ExpiredInMatch => "EXPIRED_IN_MATCH",
        }
    }

    /// Still alive.
    #[must_use]
    pub fn open(self) -> bool {
        matches!(self, Self::New | Self::PendingNew | Self::PartiallyFilled)
    }
}

/// A fill as an answer to a new order lists it.
#[derive(Debug, Clone)]
pub struct Fill {
    /// Price.
    pub price: D,
    /// Quantity.
    pub quantity: D,
    /// Commission.
    pub commission: D,
    /// Number of the trade.
    pub trade: u64,
}

/// A change of an order's quantity that kept its place.
#[derive(Debug, Clone)]
pub struct Amend {
    /// Number.
    pub execution: u64,
    /// Client id before.
    pub id_before: String,
    /// Client id after.
    pub id_after: String,
    /// Quantity before.
    pub before: D,
    /// Quantity after.
    pub after: D,
    /// When, in milliseconds.
    pub at: u64,
}

/// An order.
#[derive(Debug, Clone)]
pub struct Order {
    /// Number within its market.
    pub id: u64,
    /// Whose.
    pub account: usize,
    /// The list it belongs to.
    pub list: Option<u64>,
    /// The client's id.
    pub client_id: String,
    /// Side.
    pub side: Side,
    /// Type.
    pub kind: Type,
    /// Life.
    pub life: Life,
    /// Price; zero for an order at market.
    pub price: D,
    /// Price that wakes it.
    pub stop_price: Option<D>,
    /// Distance in basis points that wakes it.
    pub trailing: Option<u64>,
    /// Best price since a trailing order began to watch.
    pub extreme: Option<D>,
    /// When it began to watch, in milliseconds.
    pub trailing_time: Option<u64>,
    /// Quantity.
    pub quantity: D,
    /// Value asked for, of a market order by value.
    pub quote_quantity: D,
    /// Filled quantity.
    pub executed: D,
    /// Value of what was filled.
    pub quote_executed: D,
    /// Quantity that self-trade prevention took away.
    pub prevented: D,
    /// The match that was prevented.
    pub prevented_match: Option<u64>,
    /// What it shows at a time.
    pub iceberg: Option<D>,
    /// What it shows now.
    pub visible: D,
    /// Status.
    pub status: Status,
    /// Self-trade prevention.
    pub stp: &'static str,
    /// When it came, in milliseconds.
    pub time: u64,
    /// When it last changed.
    pub updated: u64,
    /// When it began to work.
    pub working_time: Option<u64>,
    /// The client's labels.
    pub strategy_id: Option<u64>,
    /// See `strategy_id`.
    pub strategy_type: Option<u64>,
    /// What it holds of its owner's balance.
    pub locked: D,
    /// Why it expired.
    pub expiry: Option<&'static str>,
    /// Fills at the moment it was placed.
    pub fills: Vec<Fill>,
    /// Changes that kept its place.
    pub amends: Vec<Amend>,
    /// Sent through `/sor`.
    pub sor: bool,
}

impl Order {
    /// What is still to be filled.
    #[must_use]
    pub fn remaining(&self) -> D {
        self.quantity - self.executed - self.prevented
    }
}

/// What a book must know of an order: how much of it the others see.
pub trait Resting {
    /// The quantity that stands in the book.
    fn shown(&self) -> D;
}

impl Resting for Order {
    fn shown(&self) -> D {
        self.visible
    }
}

/// The resting orders of one market.
#[derive(Debug)]
pub struct Book<O = Order> {
    bids: BTreeMap<D, VecDeque<u64>>,
    asks: BTreeMap<D, VecDeque<u64>>,
    /// All orders of the market that are remembered, by number.
    pub orders: HashMap<u64, O>,
}

impl<O> Default for Book<O> {
    fn default() -> Self {
        Self {
            bids: BTreeMap::new(),
            asks: BTreeMap::new(),
            orders: HashMap::new(),
        }
    }
}

impl<O: Resting> Book<O> {
    fn side(&mut self, side: Side) -> &mut BTreeMap<D, VecDeque<u64>> {
        match side {
            Side::Buy => &mut self.bids,
            Side::Sell => &mut self.asks,
        }
    }

    /// Puts an order behind the others at its price.
    pub fn rest(&mut self, side: Side, price: D, id: u64) {
        self.side(side).entry(price).or_default().push_back(id);
    }

    /// Takes an order out.
    pub fn take(&mut self, side: Side, price: D, id: u64) {
        let levels = self.side(side);
        if let Some(level) = levels.get_mut(&price) {
            level.retain(|other| *other != id);
            if level.is_empty() {
                levels.remove(&price);
            }
        }
    }

    /// Puts an order at a price behind the others there (an iceberg shows its next part).
    pub fn to_back(&mut self, side: Side, price: D, id: u64) {
        if let Some(level) = self.side(side).get_mut(&price)
            && let Some(at) = level.iter().position(|other| *other == id)
            && let Some(id) = level.remove(at)
        {
            level.push_back(id);
        }
    }

    /// Best price of a side and the order that is first there.
    #[must_use]
    pub fn best(&self, side: Side) -> Option<(D, u64)> {
        let (price, level) = match side {
            Side::Buy => self.bids.last_key_value()?,
            Side::Sell => self.asks.first_key_value()?,
        };
        Some((*price, *level.front()?))
    }

    /// Orders of a side from the best on.
    pub fn walk(&self, side: Side) -> Box<dyn Iterator<Item = (D, u64)> + '_> {
        let flat = |(price, level): (&D, &VecDeque<u64>)| {
            let price = *price;
            level.iter().map(move |id| (price, *id)).collect::<Vec<_>>()
        };
        match side {
            Side::Buy => Box::new(self.bids.iter().rev().flat_map(flat)),
            Side::Sell => Box::new(self.asks.iter().flat_map(flat)),
        }
    }

    /// Price and shown quantity of the best `limit` prices.
    #[must_use]
    pub fn depth(&self, side: Side, limit: usize) -> Vec<(D, D)> {
        let shown = |(price, level): (&D, &VecDeque<u64>)| {
            let sum = level
                .iter()
                .filter_map(|id| self.orders.get(id))
                .map(Resting::shown)
                .sum();
            (*price, sum)
        };
        match side {
            Side::Buy => self.bids.iter().rev().take(limit).map(shown).collect(),
            Side::Sell => self.asks.iter().take(limit).map(shown).collect(),
        }
    }
}
