//! What the log adds up to. [`State::apply`] is the only way in which it changes: it adds the integers of an effect and
//! never decodes, values or evaluates, so the fold is the same under every later version.

mod snapshot;

pub use snapshot::STATE_VERSION;

use crate::Map;
use crate::action::{
    Action, Amend, Asset, ClientOrderId, Duty, MarketId, MarketKind, OrderRef, PositionSide,
    Scheme, Side, Symbol,
};
use crate::halt::{Halt, Level, Scope};
use crate::id::{
    AccountId, EntryId, FIRST_VENUE, KeyId, Name, OrderId, StrategyId, Timestamp, TradeId,
    VirtualKeyId,
};
use crate::number::{Amount, Price, Quantity, Round, Value};
use crate::report::{OrderReport, OrderStatus, Report, Sent, TradeReport};
use crate::usage::{Ring, WINDOWS};
use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

/// Statements accepted in the last moments are remembered over a start: one that is stamped ahead of its time could come
/// again after it. A program's clock may be ahead by a second, and the venue's by half a second.
pub const SEEN_US: u64 = 3_000_000;
/// Repeated orders that are remembered for a strategy at most; beyond it the oldest are forgotten first.
const REPEATS_MAX: usize = 512;
/// What is told of an order late is still counted for so long after its end, and for so many ended orders at most: then
/// the one that ended first is forgotten, and what is told of it adds nothing.
pub const ENDED_US: u64 = 3_600_000_000;
pub const ENDED_MAX: usize = 4_096;
/// Trades of one order that are remembered by their number; more of them add nothing but what the order's own total says.
pub const TRADES_MAX: usize = 1_000;
/// What refuses with one of these is the transport, not the venue.
const HTTP_CODES: std::ops::RangeInclusive<i64> = 100..=599;
/// A venue rounds what a fill costs: within so many parts of it a price is what the order allows.
const ROUNDING_PARTS: i128 = 1_000;

/// An order of ours: the entry that recorded it, and which of its orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize)]
pub struct OrderNumber {
    #[n(0)]
    pub entry: EntryId,
    #[n(1)]
    pub leg: u8,
}

/// What is kept of an order until its end is known.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize)]
pub struct OpenOrder {
    #[n(0)]
    pub strategy: StrategyId,
    #[n(1)]
    pub account: AccountId,
    #[n(2)]
    pub symbol: Symbol,
    #[n(3)]
    pub side: Side,
    /// What it may become, the executed part included: base units, at an inverse market amounts of quote.
    #[n(4)]
    pub quantity: Quantity,
    #[n(5)]
    pub client_order_id: Option<ClientOrderId>,
    #[n(6)]
    pub list_client_order_id: Option<ClientOrderId>,
    #[n(7)]
    pub order_id: Option<OrderId>,
    #[n(8)]
    pub list_id: Option<OrderId>,
    #[n(9)]
    pub executed: Quantity,
    #[n(10)]
    pub executed_quote: Amount,
    #[n(11)]
    pub status: OrderStatus,
    /// Its quantity counts for nothing of its own: the other leg of its list has it.
    #[n(12)]
    pub alternative: bool,
    /// What it buys or sells, and against what: positions are folded by asset. Absent: by symbol.
    #[n(13)]
    pub base: Option<Asset>,
    #[n(14)]
    pub quote: Option<Asset>,
    /// The venue lets a buy cost no more, and a sale bring no less.
    #[n(15)]
    pub price: Option<Price>,
    #[n(16)]
    #[cbor(default)]
    pub market: MarketKind,
    #[n(17)]
    pub position_side: Option<PositionSide>,
    /// What one of the venue's contracts is: so much of base, at an inverse market of quote. Absent: the venue counts as we do.
    #[n(18)]
    pub contract: Option<Quantity>,
    /// What is gained and lost in, if not the quote asset.
    #[n(19)]
    pub settle: Option<Asset>,
    /// The venue lets it take from a position and never grow or open one.
    #[n(20)]
    #[cbor(default)]
    pub reduces: bool,
    /// Its `order_id` and ids of the program's are of the venue's conditional orders.
    #[n(21)]
    #[cbor(default)]
    pub algo: bool,
    /// The order that it became when it was triggered.
    #[n(22)]
    pub became: Option<OrderId>,
    /// Of an order that was amended, the most that was ever asked of it. Absent: its quantity.
    #[n(23)]
    pub most: Option<Quantity>,
}

impl OpenOrder {
    /// So many of the venue's unit are no more than it is.
    #[must_use]
    pub fn is_at_least(&self, quantity: Quantity) -> bool {
        self.sized(quantity) <= self.quantity
    }

    /// Where its fills are held.
    #[must_use]
    pub fn place(&self) -> Place {
        Place::new(self.account, self.market, &self.symbol, self.position_side)
    }

    /// So much in our unit: of base, at an inverse market of quote.
    #[must_use]
    pub fn sized(&self, told: Quantity) -> Quantity {
        match self.contract {
            Some(contract) => told.of(contract, Round::Up).unwrap_or(Quantity::MAX),
            None => told,
        }
    }

    /// What so much of it costs or brings at a price: quote, at an inverse market coin.
    fn worth(&self, size: Quantity, price: Price, round: Round) -> Option<Amount> {
        match self.market.is_inverse() {
            true => Some(Amount(Amount(size.0).over(price, round)?.0)),
            false => price.times(size, round),
        }
    }

    /// More of what changes hands is worse for it: a buy pays quote, an inverse sale gives up coin.
    fn pays(&self) -> bool {
        (self.side == Side::Buy) != self.market.is_inverse()
    }

    fn gains_in(&self) -> Asset {
        let asset = self.settle.as_ref().or(self.quote.as_ref());
        asset.cloned().unwrap_or_else(|| Asset::from(""))
    }

    fn left(&self) -> i128 {
        match self.alternative {
            true => 0,
            false => self.quantity.0.saturating_sub(self.executed.0).max(0),
        }
    }

    fn base(&self) -> Asset {
        self.base
            .clone()
            .unwrap_or_else(|| Asset(self.symbol.0.clone()))
    }

    /// What so much of it costs or brings at its own price.
    fn at_limit(&self, total: i128) -> Option<i128> {
        let round = match self.pays() {
            true => Round::Up,
            false => Round::Down,
        };
        Some(self.worth(Quantity(total), self.price?, round)?.0)
    }
}

/// Something told of an order that cannot be, or cannot have been all along: whoever told it (egress, or the venue) told
/// something false. What could be of it is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Impossible {
    /// More than was ordered: counted as all of it.
    MoreThanOrdered,
    /// A buy above its price, or a sale below it: counted at its price.
    BeyondItsPrice,
    /// The other side's: not counted.
    OtherSide,
    /// A fill of an order that was said to have ended with less: counted.
    AfterItsEnd,
}

impl Impossible {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::MoreThanOrdered => "more-than-ordered",
            Self::BeyondItsPrice => "beyond-its-price",
            Self::OtherSide => "other-side",
            Self::AfterItsEnd => "after-its-end",
        }
    }
}

/// What an answer changes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settled {
    pub effects: Vec<Effect>,
    pub impossible: Vec<(OrderNumber, Impossible)>,
}

/// Trades of one order that were told by their numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Trades {
    ids: BTreeSet<TradeId>,
    quantity: Quantity,
    quote: Amount,
}

/// One change of the state.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize)]
#[serde(tag = "effect", rename_all = "kebab-case")]
#[expect(
    clippy::large_enum_variant,
    reason = "an order's effects are few, and a box would be an allocation for each order"
)]
pub enum Effect {
    #[n(0)]
    SiteCreated {
        #[n(0)]
        name: Name,
    },
    #[n(1)]
    AccountAdded {
        #[n(0)]
        name: Name,
        #[n(1)]
        venue: Name,
    },
    #[n(2)]
    KeyAdded {
        #[n(0)]
        account: AccountId,
        #[n(1)]
        duty: Duty,
        #[n(2)]
        scheme: Scheme,
        #[n(3)]
        api_key: String,
        #[n(4)]
        sealed: String,
    },
    #[n(3)]
    KeyRemoved {
        #[n(0)]
        key: KeyId,
    },
    #[n(4)]
    StrategyAdded {
        #[n(0)]
        name: Name,
        #[n(1)]
        desk: Option<Name>,
        #[n(2)]
        observe: bool,
    },
    #[n(5)]
    StrategyMode {
        #[n(0)]
        strategy: StrategyId,
        #[n(1)]
        observe: bool,
    },
    #[n(6)]
    StrategyRevoked {
        #[n(0)]
        strategy: StrategyId,
    },
    #[n(7)]
    VirtualKeyIssued {
        #[n(0)]
        strategy: StrategyId,
        #[n(1)]
        account: AccountId,
        #[n(2)]
        scheme: Scheme,
        #[n(3)]
        api_key: String,
        /// SubjectPublicKeyInfo, DER; empty for HMAC, whose secret is derived.
        #[n(4)]
        #[serde(skip)]
        public_key: ByteVec,
        #[n(5)]
        expires: Timestamp,
        #[n(6)]
        sources: Vec<String>,
        #[n(7)]
        canary: bool,
    },
    #[n(8)]
    VirtualKeyRevoked {
        #[n(0)]
        id: VirtualKeyId,
    },
    #[n(9)]
    Released {
        #[n(0)]
        #[serde(skip)]
        hash: ByteVec,
    },
    #[n(10)]
    Halted(#[n(0)] Halt),
    /// Lowered to `level`, or ended.
    #[n(11)]
    Resumed {
        #[n(0)]
        scope: Scope,
        #[n(1)]
        level: Option<Level>,
    },
    /// What a request spent, whatever becomes of it.
    #[n(12)]
    Spent {
        #[n(0)]
        strategy: StrategyId,
        #[n(1)]
        account: AccountId,
        /// The message rates' new arrival times: firm, account, desk, strategy (0: unchanged).
        #[n(2)]
        tats: [u64; 4],
        /// They are those of the reserved rate.
        #[n(3)]
        reserved: bool,
        #[n(4)]
        weight: u32,
        #[n(5)]
        turnover: Value,
        /// The throttle's mark of each order and its new arrival time.
        #[n(6)]
        repeats: Vec<(u64, u64)>,
    },
    #[n(13)]
    Reserved {
        #[n(0)]
        leg: u8,
        #[n(1)]
        order: OpenOrder,
    },
    /// What is newly known of an order: `executed` and `quote` are what was added.
    #[n(14)]
    Progress {
        #[n(0)]
        order: OrderNumber,
        #[n(1)]
        executed: Quantity,
        #[n(2)]
        quote: Amount,
        #[n(3)]
        order_id: Option<OrderId>,
        #[n(4)]
        list_id: Option<OrderId>,
        #[n(5)]
        status: OrderStatus,
        /// An amendment's new quantity.
        #[n(6)]
        quantity: Option<Quantity>,
        #[n(7)]
        became: Option<OrderId>,
    },
    #[n(15)]
    Price {
        #[n(0)]
        symbol: Symbol,
        #[n(1)]
        price: Price,
        #[n(2)]
        #[cbor(default)]
        market: MarketKind,
        #[n(3)]
        venue: Option<Name>,
    },
    /// A UTC day begins: what each market was worth then is where its loss counts from.
    #[n(16)]
    Day {
        #[n(0)]
        day: u64,
    },
    /// The counted leg of a list ended: what this other leg may still become counts from now on.
    #[n(17)]
    Counted {
        #[n(0)]
        order: OrderNumber,
    },
    /// A statement was accepted: should it come again, it is the same one.
    #[n(19)]
    Seen {
        #[cbor(n(0), with = "minicbor::bytes")]
        #[serde(skip)]
        mark: [u8; 16],
    },
    /// The clock jumped, and nothing passes until the time is confirmed; absent: it is.
    #[n(20)]
    Jumped {
        #[n(0)]
        by_us: Option<u64>,
    },
    /// An amendment gave the order another client id.
    #[n(18)]
    Renamed {
        #[n(0)]
        order: OrderNumber,
        #[n(1)]
        client_order_id: ClientOrderId,
    },
    /// A trade of an order was told, by its number: it counts once. Its quantity moves nothing by itself; its fee is lost.
    #[n(21)]
    Traded {
        #[n(0)]
        order: OrderNumber,
        #[n(1)]
        trade: TradeId,
        #[n(2)]
        quantity: Quantity,
        #[n(3)]
        quote: Amount,
        /// One that was taken in the base asset stands here in the quote asset, at the trade's price.
        #[n(4)]
        fee: Amount,
        #[n(5)]
        fee_asset: Asset,
    },
    /// An operator re-armed a limit of loss: at this level the day begins anew.
    #[n(22)]
    Rearmed {
        #[n(0)]
        scope: Scope,
    },
    /// An amendment is asked for: until its outcome is known the order counts as the larger of what it was and what it may
    /// become, and its price as the one that allows more.
    #[n(23)]
    Amending {
        #[n(0)]
        leg: u8,
        #[n(1)]
        order: OrderNumber,
        #[n(2)]
        quantity: Quantity,
        #[n(3)]
        price: Option<Price>,
    },
    /// The outcome of an amendment: what the order is now.
    #[n(24)]
    Amended {
        /// Entry and place of the amendment.
        #[n(0)]
        by: OrderNumber,
        #[n(1)]
        order: OrderNumber,
        #[n(2)]
        quantity: Quantity,
        #[n(3)]
        price: Option<Price>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Account {
    pub name: Name,
    pub venue: Name,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Key {
    pub account: AccountId,
    pub duty: Duty,
    pub scheme: Scheme,
    pub api_key: String,
    pub sealed: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Strategy {
    pub name: Name,
    pub desk: Option<Name>,
    pub observe: bool,
    pub revoked: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VirtualKey {
    pub strategy: StrategyId,
    pub account: AccountId,
    pub scheme: Scheme,
    pub api_key: String,
    #[serde(skip)]
    pub public_key: Vec<u8>,
    pub expires: Timestamp,
    pub sources: Vec<String>,
    pub canary: bool,
    pub revoked: bool,
}

/// Whose usage.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LevelKey {
    Firm,
    Account(AccountId),
    Desk(Name),
    Strategy(StrategyId),
}

/// What a level holds and has open in one market. At an inverse market `base` counts amounts of quote and `cash` coin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Holding {
    /// Base units, from fills alone, long less short.
    pub base: Quantity,
    /// Quote units received less paid.
    pub cash: Amount,
    pub open_buys: Quantity,
    pub open_sells: Quantity,
    /// The same two when the UTC day began, and the price then.
    pub day_base: Quantity,
    pub day_cash: Amount,
    pub day_price: Option<Price>,
    /// What it gained since then, in quote units at the last known price. Follows from the rest; kept, so that a decision
    /// need not look at every market.
    gain: i128,
}

impl Holding {
    fn worth_more(&self, last: Option<Price>, inverse: bool) -> i128 {
        let worth = |base: Quantity, price: Option<Price>| match (price, inverse) {
            (None, _) => 0,
            (Some(price), false) => price.times(base, Round::Down).unwrap_or_default().0,
            // A long position of so much quote was bought with a promise of coin, which is worth less coin the higher the price.
            (Some(price), true) => {
                let coin = Amount(base.0).over(price, Round::Up).unwrap_or_default();
                coin.0.saturating_neg()
            }
        };
        let now = worth(self.base, last).saturating_add(self.cash.0);
        let then = worth(self.day_base, self.day_price.or(last)).saturating_add(self.day_cash.0);
        now.saturating_sub(then)
    }
}

/// Where something is held: all that an account has of an asset on its spot markets together, and on its margin markets;
/// of futures each market by itself, and in hedge mode each of its two sides.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Place {
    pub account: AccountId,
    pub kind: MarketKind,
    pub of: Option<(Symbol, Option<PositionSide>)>,
}

impl Place {
    #[must_use]
    pub fn new(
        account: AccountId,
        kind: MarketKind,
        symbol: &Symbol,
        side: Option<PositionSide>,
    ) -> Self {
        let is_alone = !matches!(kind, MarketKind::Spot | MarketKind::Margin);
        Self {
            account,
            kind,
            of: is_alone.then(|| (symbol.clone(), side)),
        }
    }

    #[must_use]
    pub fn side(&self) -> Option<PositionSide> {
        self.of.as_ref().and_then(|(_, side)| *side)
    }
}

/// What a level holds of one base asset in one place, and may still buy or sell. Base units; in an inverse market's place
/// amounts of quote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Position {
    pub base: Quantity,
    pub open_buys: Quantity,
    pub open_sells: Quantity,
    /// Open orders that the venue lets only take from it: they make it no wider.
    pub reducing_buys: Quantity,
    pub reducing_sells: Quantity,
}

impl Position {
    /// The most that it may come to, long or short, under any outcome of its open orders. A side of hedge mode is never the other.
    #[must_use]
    pub fn widest(&self, side: Option<PositionSide>) -> i128 {
        let long = self.base.0.saturating_add(self.open_buys.0);
        let short = self.open_sells.0.saturating_sub(self.base.0);
        match side {
            None => long.max(short).max(0),
            Some(PositionSide::Long) => long.max(0),
            Some(PositionSide::Short) => short.max(0),
        }
    }

    /// Adds another's.
    pub fn add(&mut self, other: &Self) {
        let add = |to: &mut Quantity, more: Quantity| *to = to.saturating_add(more);
        add(&mut self.base, other.base);
        add(&mut self.open_buys, other.open_buys);
        add(&mut self.open_sells, other.open_sells);
        add(&mut self.reducing_buys, other.reducing_buys);
        add(&mut self.reducing_sells, other.reducing_sells);
    }

    /// The sum that an open order of this kind stands in.
    pub fn open_mut(&mut self, side: Side, reduces: bool) -> &mut Quantity {
        match (side, reduces) {
            (Side::Buy, false) => &mut self.open_buys,
            (Side::Sell, false) => &mut self.open_sells,
            (Side::Buy, true) => &mut self.reducing_buys,
            (Side::Sell, true) => &mut self.reducing_sells,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    pub turnover: [Ring; 4],
    pub message_tat_us: u64,
    pub reserved_tat_us: u64,
    /// Minute and weight spent in it.
    pub weight: (u64, u64),
    pub open_orders: u64,
    pub holdings: Map<MarketId, Holding>,
    /// By base asset and place.
    pub positions: Map<Asset, BTreeMap<Place, Position>>,
    /// What the holdings gained since the UTC day began, summed by the asset that it is in.
    gained: BTreeMap<Asset, i128>,
    /// Marks of repeated orders and their arrival times (strategies only).
    pub repeats: BTreeMap<u64, u64>,
}

impl Default for Usage {
    fn default() -> Self {
        Self {
            turnover: WINDOWS.map(|(width, buckets)| Ring::new(width, buckets)),
            message_tat_us: 0,
            reserved_tat_us: 0,
            weight: (0, 0),
            open_orders: 0,
            holdings: Map::default(),
            positions: Map::default(),
            gained: BTreeMap::new(),
            repeats: BTreeMap::new(),
        }
    }
}

impl Usage {
    /// What was gained (or lost, below zero) since the UTC day began, by asset, at the last known prices.
    pub fn gained(&self) -> impl Iterator<Item = (&Asset, Amount)> {
        self.gained.iter().map(|(asset, sum)| (asset, Amount(*sum)))
    }

    /// What is held of an asset in one place.
    #[must_use]
    pub fn position(&self, asset: &Asset, place: &Place) -> Option<&Position> {
        self.positions.get(asset)?.get(place)
    }

    /// What was gained or lost so far today is no longer counted.
    fn begin_day(&mut self, prices: &Map<MarketId, (Price, Timestamp)>) {
        for (id, holding) in &mut self.holdings {
            holding.day_base = holding.base;
            holding.day_cash = holding.cash;
            holding.day_price = prices.get(id).map(|(price, _)| *price);
            holding.gain = 0;
        }
        self.gained.clear();
    }

    fn gain(&mut self, asset: &Asset, change: i128) {
        match self.gained.get_mut(asset) {
            Some(sum) => *sum = sum.saturating_add(change),
            None => {
                self.gained.insert(asset.clone(), change);
            }
        }
    }

    /// A holding changed, or its price did.
    fn revalue(&mut self, id: &MarketId, asset: &Asset, last: Option<Price>) {
        let Some(holding) = self.holdings.get_mut(id) else {
            return;
        };
        let gain = holding.worth_more(last, id.kind.is_inverse());
        let change = gain.saturating_sub(holding.gain);
        holding.gain = gain;
        if change != 0 {
            self.gain(asset, change);
        }
    }
}

/// Does something to the value of a key that is nearly always there: the key is copied only if it is not.
fn known_or_new<K: Clone + Eq + std::hash::Hash, V: Default>(
    map: &mut Map<K, V>,
    key: &K,
    then: impl FnOnce(&mut V),
) {
    match map.get_mut(key) {
        Some(value) => then(value),
        None => then(map.entry(key.clone()).or_default()),
    }
}

/// What an order was before an amendment whose outcome is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Amendment {
    order: OrderNumber,
    quantity: Quantity,
    price: Option<Price>,
}

/// The fold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    pub site: Option<Name>,
    /// Entries folded so far.
    pub entries: u64,
    /// Time of the last entry.
    pub time: Timestamp,
    pub release: Option<[u8; 32]>,
    pub accounts: BTreeMap<AccountId, Account>,
    pub keys: BTreeMap<KeyId, Key>,
    pub strategies: BTreeMap<StrategyId, Strategy>,
    pub virtual_keys: BTreeMap<VirtualKeyId, VirtualKey>,
    pub by_api_key: Map<String, VirtualKeyId>,
    pub halts: BTreeMap<Scope, Halt>,
    pub usage: Map<LevelKey, Usage>,
    pub orders: BTreeMap<OrderNumber, OpenOrder>,
    /// Orders that ended within [`ENDED_US`], and when: what is told of them late still counts.
    ended: BTreeMap<OrderNumber, OpenOrder>,
    ends: BTreeSet<(Timestamp, OrderNumber)>,
    /// Of orders in either.
    trades: BTreeMap<OrderNumber, Trades>,
    by_client: Map<ClientKey, OrderNumber>,
    by_order_id: Map<VenueKey, OrderNumber>,
    pub prices: Map<MarketId, (Price, Timestamp)>,
    pub day: u64,
    /// Statements accepted within [`SEEN_US`] of the last one: when, and their marks.
    pub seen: BTreeMap<EntryId, (Timestamp, [u8; 16])>,
    /// The jump of the clock that waits for an operator.
    pub jumped_us: Option<u64>,
    /// Which levels have a holding in a market, and the asset that it gains in.
    holders: Map<MarketId, (Asset, BTreeSet<LevelKey>)>,
    /// Amendments whose outcome is not known, by entry and place: one for an order at most.
    amending: BTreeMap<OrderNumber, Amendment>,
}

/// What a program calls an order: ids of markets of another kind, and of conditional orders, are others.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct ClientKey {
    account: AccountId,
    market: MarketKind,
    algo: bool,
    id: ClientOrderId,
}

/// What the venue calls an order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct VenueKey {
    account: AccountId,
    market: MarketKind,
    algo: bool,
    /// Empty of a conditional order: the venue finds it by its number alone.
    symbol: Symbol,
    id: OrderId,
}

impl VenueKey {
    fn new(
        account: AccountId,
        market: MarketKind,
        algo: bool,
        symbol: &Symbol,
        id: OrderId,
    ) -> Self {
        Self {
            account,
            market,
            algo,
            symbol: if algo {
                Symbol::from("")
            } else {
                symbol.clone()
            },
            id,
        }
    }
}

/// An order by what a request or an answer calls it. A conditional one may be called without its market.
#[derive(Debug, Clone, Copy)]
pub struct Called<'a> {
    pub market: MarketKind,
    pub symbol: &'a Symbol,
    pub algo: bool,
    pub order_id: Option<OrderId>,
    pub client: Option<&'a ClientOrderId>,
}

impl<'a> From<&'a OrderRef> for Called<'a> {
    fn from(of: &'a OrderRef) -> Self {
        Self {
            market: of.market,
            symbol: &of.symbol,
            algo: of.algo,
            order_id: of.order_id,
            client: of.client_order_id.as_ref(),
        }
    }
}

impl OpenOrder {
    fn client_key(&self, id: ClientOrderId) -> ClientKey {
        ClientKey {
            account: self.account,
            market: self.market,
            algo: self.algo,
            id,
        }
    }

    fn venue_key(&self, algo: bool, id: OrderId) -> VenueKey {
        VenueKey::new(self.account, self.market, algo, &self.symbol, id)
    }

    /// What the venue calls it, and what it became.
    fn venue_keys(&self) -> impl Iterator<Item = VenueKey> {
        let own = self.order_id.map(|id| self.venue_key(self.algo, id));
        let became = self.became.map(|id| self.venue_key(false, id));
        own.into_iter().chain(became)
    }
}

impl State {
    /// Adds one entry's effects. Entries come in order, each once.
    pub fn apply(&mut self, entry: EntryId, at: Timestamp, effects: &[Effect]) {
        self.entries = entry.0 + 1;
        self.time = self.time.max(at);
        for effect in effects {
            self.apply_one(entry, at, effect);
        }
    }

    fn apply_one(&mut self, entry: EntryId, at: Timestamp, effect: &Effect) {
        match effect {
            Effect::SiteCreated { name } => self.site = Some(name.clone()),
            Effect::AccountAdded { name, venue } => {
                self.accounts.insert(
                    AccountId(entry.0),
                    Account {
                        name: name.clone(),
                        venue: venue.clone(),
                    },
                );
            }
            Effect::KeyAdded {
                account,
                duty,
                scheme,
                api_key,
                sealed,
            } => {
                let key = Key {
                    account: *account,
                    duty: *duty,
                    scheme: *scheme,
                    api_key: api_key.clone(),
                    sealed: sealed.clone(),
                };
                self.keys.insert(KeyId(entry.0), key);
            }
            Effect::KeyRemoved { key } => {
                self.keys.remove(key);
            }
            Effect::StrategyAdded {
                name,
                desk,
                observe,
            } => {
                let strategy = Strategy {
                    name: name.clone(),
                    desk: desk.clone(),
                    observe: *observe,
                    revoked: false,
                };
                self.strategies.insert(StrategyId(entry.0), strategy);
            }
            Effect::StrategyMode { strategy, observe } => {
                if let Some(strategy) = self.strategies.get_mut(strategy) {
                    strategy.observe = *observe;
                }
            }
            Effect::StrategyRevoked { strategy } => {
                if let Some(strategy) = self.strategies.get_mut(strategy) {
                    strategy.revoked = true;
                }
                for key in self
                    .virtual_keys
                    .values_mut()
                    .filter(|key| key.strategy == *strategy)
                {
                    key.revoked = true;
                }
            }
            Effect::VirtualKeyIssued {
                strategy,
                account,
                scheme,
                api_key,
                public_key,
                expires,
                sources,
                canary,
            } => {
                let id = VirtualKeyId(entry.0);
                self.by_api_key.insert(api_key.clone(), id);
                let key = VirtualKey {
                    strategy: *strategy,
                    account: *account,
                    scheme: *scheme,
                    api_key: api_key.clone(),
                    public_key: public_key.to_vec(),
                    expires: *expires,
                    sources: sources.clone(),
                    canary: *canary,
                    revoked: false,
                };
                self.virtual_keys.insert(id, key);
            }
            Effect::VirtualKeyRevoked { id } => {
                if let Some(key) = self.virtual_keys.get_mut(id) {
                    key.revoked = true;
                }
            }
            Effect::Released { hash } => self.release = <[u8; 32]>::try_from(hash.as_slice()).ok(),
            Effect::Halted(halt) => {
                let keep = self
                    .halts
                    .get(&halt.scope)
                    .is_some_and(|old| old.level >= halt.level);
                if !keep {
                    self.halts.insert(halt.scope.clone(), halt.clone());
                }
            }
            Effect::Resumed { scope, level } => match level {
                None => {
                    self.halts.remove(scope);
                }
                Some(level) => {
                    if let Some(halt) = self.halts.get_mut(scope) {
                        halt.level = *level;
                    }
                }
            },
            Effect::Spent {
                strategy,
                account,
                tats,
                reserved,
                weight,
                turnover,
                repeats,
            } => {
                for (key, tat) in self.levels(*strategy, *account).into_iter().zip(tats) {
                    let Some(key) = key else { continue };
                    let usage = self.usage.entry(key).or_default();
                    let kept = if *reserved {
                        &mut usage.reserved_tat_us
                    } else {
                        &mut usage.message_tat_us
                    };
                    *kept = (*kept).max(*tat);
                    let minute = at.0 / 60_000_000;
                    if usage.weight.0 != minute {
                        usage.weight = (minute, 0);
                    }
                    usage.weight.1 += u64::from(*weight);
                    if turnover.0 != 0 {
                        for ring in &mut usage.turnover {
                            ring.add(at.0, *turnover);
                        }
                    }
                }
                if !repeats.is_empty() {
                    let usage = self.usage.entry(LevelKey::Strategy(*strategy)).or_default();
                    usage.repeats.extend(repeats.iter().copied());
                    if usage.repeats.len() > REPEATS_MAX {
                        usage.repeats.retain(|_, tat| *tat > at.0);
                    }
                    while usage.repeats.len() > REPEATS_MAX {
                        let oldest = usage
                            .repeats
                            .iter()
                            .min_by_key(|(_, tat)| **tat)
                            .map(|(mark, _)| *mark);
                        oldest.map(|mark| usage.repeats.remove(&mark));
                    }
                }
            }
            Effect::Reserved { leg, order } => {
                let number = OrderNumber { entry, leg: *leg };
                if let Some(id) = &order.client_order_id {
                    self.by_client.insert(order.client_key(id.clone()), number);
                }
                self.open(order, 1, order.left());
                self.orders.insert(number, order.clone());
            }
            Effect::Progress {
                order,
                executed,
                quote,
                order_id,
                list_id,
                status,
                quantity,
                became,
            } => {
                self.progress(
                    at, *order, *executed, *quote, *order_id, *list_id, *status, *quantity, *became,
                );
            }
            Effect::Traded {
                order,
                trade,
                quantity,
                quote,
                fee,
                fee_asset,
            } => self.traded(*order, *trade, *quantity, *quote, *fee, fee_asset),
            Effect::Rearmed { scope } => {
                let key = match scope {
                    Scope::Firm => LevelKey::Firm,
                    Scope::Account(id) => LevelKey::Account(*id),
                    Scope::Desk(name) => LevelKey::Desk(name.clone()),
                    Scope::Strategy(id) => LevelKey::Strategy(*id),
                    Scope::Venue(_) | Scope::VirtualKey(_) => return,
                };
                if let Some(usage) = self.usage.get_mut(&key) {
                    usage.begin_day(&self.prices);
                }
            }
            Effect::Price {
                symbol,
                price,
                market,
                venue,
            } => {
                let id = MarketId {
                    symbol: symbol.clone(),
                    kind: *market,
                    venue: venue.clone().unwrap_or(FIRST_VENUE),
                };
                let stays = self
                    .prices
                    .get(&id)
                    .is_some_and(|(before, _)| before == price);
                if let Some((asset, levels)) = self.holders.get(&id).filter(|_| !stays) {
                    for key in levels {
                        if let Some(usage) = self.usage.get_mut(key) {
                            usage.revalue(&id, asset, Some(*price));
                        }
                    }
                }
                self.prices.insert(id, (*price, at));
            }
            Effect::Day { day } => {
                self.day = *day;
                for usage in self.usage.values_mut() {
                    usage.begin_day(&self.prices);
                }
            }
            Effect::Seen { mark } => {
                while let Some(first) = self.seen.first_entry()
                    && at.since_us(first.get().0) > SEEN_US
                {
                    first.remove();
                }
                self.seen.insert(entry, (at, *mark));
            }
            Effect::Jumped { by_us } => self.jumped_us = *by_us,
            Effect::Counted { order } => {
                let Some(known) = self.orders.get_mut(order).filter(|o| o.alternative) else {
                    return;
                };
                known.alternative = false;
                let known = known.clone();
                self.open(&known, 0, known.left());
            }
            Effect::Renamed {
                order,
                client_order_id,
            } => {
                let Some(known) = self.orders.get_mut(order) else {
                    return;
                };
                let old = known.client_order_id.replace(client_order_id.clone());
                let old = old.map(|old| known.client_key(old));
                let new = known.client_key(client_order_id.clone());
                if let Some(old) = old
                    && self.by_client.get(&old) == Some(order)
                {
                    self.by_client.remove(&old);
                }
                self.by_client.insert(new, *order);
            }
            Effect::Amending {
                leg,
                order,
                quantity,
                price,
            } => {
                let Some(known) = self.orders.get(order) else {
                    return;
                };
                let before = Amendment {
                    order: *order,
                    quantity: known.quantity,
                    price: known.price,
                };
                self.amending
                    .insert(OrderNumber { entry, leg: *leg }, before);
                self.resize(*order, *quantity, *price);
            }
            Effect::Amended {
                by,
                order,
                quantity,
                price,
            } => {
                if self.amending.remove(by).is_some() {
                    self.resize(*order, *quantity, *price);
                }
            }
        }
    }

    /// An order is of another size and price from now on.
    fn resize(&mut self, number: OrderNumber, quantity: Quantity, price: Option<Price>) {
        let Some(order) = self.orders.get_mut(&number) else {
            return;
        };
        let before = order.left();
        order.most = Some(order.most.unwrap_or(order.quantity).max(quantity));
        order.quantity = quantity;
        order.price = price;
        let order = order.clone();
        self.open(&order, 0, order.left() - before);
    }

    /// The outcome of an amendment of the order is not known.
    #[must_use]
    pub fn is_amending(&self, order: OrderNumber) -> bool {
        self.amending.values().any(|of| of.order == order)
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of one effect")]
    fn progress(
        &mut self,
        at: Timestamp,
        number: OrderNumber,
        executed: Quantity,
        quote: Amount,
        order_id: Option<OrderId>,
        list_id: Option<OrderId>,
        status: OrderStatus,
        quantity: Option<Quantity>,
        became: Option<OrderId>,
    ) {
        let (mut order, is_late) = match self.orders.remove(&number) {
            Some(order) => (order, false),
            None => match self.ended.remove(&number) {
                Some(order) => (order, true),
                None => return,
            },
        };
        let before = order.left();
        order.executed = order.executed.saturating_add(executed);
        order.executed_quote = order.executed_quote.saturating_add(quote);
        order.order_id = order_id.or(order.order_id);
        order.list_id = list_id.or(order.list_id);
        order.became = became.or(order.became);
        if !is_late {
            order.status = status;
            if let Some(quantity) = quantity {
                order.quantity = quantity;
            }
            let ended = status.is_final();
            let after = if ended { 0 } else { order.left() };
            self.open(&order, if ended { -1 } else { 0 }, after - before);
        }
        let base = match order.side {
            Side::Buy => executed.0,
            Side::Sell => executed.0.saturating_neg(),
        };
        let cash = match order.pays() {
            true => quote.0.saturating_neg(),
            false => quote.0,
        };
        if executed.0 != 0 || quote.0 != 0 {
            let id = self.market_of(&order);
            let place = order.place();
            let price = self.prices.get(&id).map(|(price, _)| *price);
            let held = self
                .holders
                .entry(id.clone())
                .or_insert_with(|| (order.gains_in(), BTreeSet::new()));
            let asset = held.0.clone();
            for key in self
                .levels(order.strategy, order.account)
                .into_iter()
                .flatten()
            {
                if let Some((_, levels)) = self.holders.get_mut(&id)
                    && !levels.contains(&key)
                {
                    levels.insert(key.clone());
                }
                let usage = self.usage.entry(key).or_default();
                known_or_new(&mut usage.positions, &order.base(), |places| {
                    let position = places.entry(place.clone()).or_default();
                    position.base.0 = position.base.0.saturating_add(base);
                });
                known_or_new(&mut usage.holdings, &id, |holding| {
                    holding.base.0 = holding.base.0.saturating_add(base);
                    holding.cash.0 = holding.cash.0.saturating_add(cash);
                });
                usage.revalue(&id, &asset, price);
            }
        }
        for key in order.venue_keys() {
            self.by_order_id.insert(key, number);
        }
        if !order.status.is_final() {
            self.orders.insert(number, order);
            return;
        }
        self.ended.insert(number, order);
        self.amending.retain(|_, of| of.order != number);
        if !is_late {
            self.ends.insert((at, number));
            self.forget_ended(at);
        }
    }

    fn forget_ended(&mut self, now: Timestamp) {
        while let Some((since, number)) = self.ends.first().copied()
            && (self.ends.len() > ENDED_MAX || now.since_us(since) > ENDED_US)
        {
            self.ends.remove(&(since, number));
            self.trades.remove(&number);
            let Some(order) = self.ended.remove(&number) else {
                continue;
            };
            // Another order may go by the same ids by now.
            if let Some(id) = &order.client_order_id {
                let id = order.client_key(id.clone());
                if self.by_client.get(&id) == Some(&number) {
                    self.by_client.remove(&id);
                }
            }
            for id in order.venue_keys() {
                if self.by_order_id.get(&id) == Some(&number) {
                    self.by_order_id.remove(&id);
                }
            }
        }
    }

    fn traded(
        &mut self,
        number: OrderNumber,
        trade: TradeId,
        quantity: Quantity,
        quote: Amount,
        fee: Amount,
        fee_asset: &Asset,
    ) {
        let Some(order) = self.told(number) else {
            return;
        };
        let levels = self.levels(order.strategy, order.account);
        let trades = self.trades.entry(number).or_default();
        if !trades.ids.insert(trade) {
            return;
        }
        trades.quantity = trades.quantity.saturating_add(quantity);
        trades.quote = trades.quote.saturating_add(quote);
        if fee.0 == 0 {
            return;
        }
        for key in levels.into_iter().flatten() {
            let usage = self.usage.entry(key).or_default();
            usage.gain(fee_asset, fee.0.saturating_neg());
        }
    }

    /// An order that is open, or ended not long ago.
    #[must_use]
    pub fn told(&self, number: OrderNumber) -> Option<&OpenOrder> {
        self.orders.get(&number).or_else(|| self.ended.get(&number))
    }

    /// Counts an order in or out, and what it may still become.
    fn open(&mut self, order: &OpenOrder, count: i64, left: i128) {
        let base = order.base();
        let id = self.market_of(order);
        let place = order.place();
        let add = |to: &mut Quantity| to.0 = to.0.saturating_add(left).max(0);
        for key in self
            .levels(order.strategy, order.account)
            .into_iter()
            .flatten()
        {
            known_or_new(&mut self.usage, &key, |usage| {
                usage.open_orders = usage.open_orders.saturating_add_signed(count);
                if left == 0 {
                    return;
                }
                known_or_new(&mut usage.positions, &base, |places| {
                    let position = match places.get_mut(&place) {
                        Some(position) => position,
                        None => places.entry(place.clone()).or_default(),
                    };
                    add(position.open_mut(order.side, order.reduces));
                });
                known_or_new(&mut usage.holdings, &id, |holding| {
                    add(match order.side {
                        Side::Buy => &mut holding.open_buys,
                        Side::Sell => &mut holding.open_sells,
                    });
                });
            });
        }
    }

    /// The market that an order is on.
    #[must_use]
    pub fn market_of(&self, order: &OpenOrder) -> MarketId {
        let account = self.accounts.get(&order.account);
        MarketId {
            symbol: order.symbol.clone(),
            kind: order.market,
            venue: account.map_or(FIRST_VENUE, |account| account.venue.clone()),
        }
    }

    /// Firm, account, desk, strategy.
    #[must_use]
    pub fn levels(&self, strategy: StrategyId, account: AccountId) -> [Option<LevelKey>; 4] {
        let desk = self.strategies.get(&strategy).and_then(|s| s.desk.clone());
        [
            Some(LevelKey::Firm),
            Some(LevelKey::Account(account)),
            desk.map(LevelKey::Desk),
            Some(LevelKey::Strategy(strategy)),
        ]
    }

    #[must_use]
    pub fn account(&self, name: &Name) -> Option<AccountId> {
        self.accounts
            .iter()
            .find(|(_, account)| account.name == *name)
            .map(|(id, _)| *id)
    }

    #[must_use]
    pub fn strategy(&self, name: &Name) -> Option<StrategyId> {
        self.strategies
            .iter()
            .find(|(_, s)| s.name == *name && !s.revoked)
            .map(|(id, _)| *id)
    }

    /// An order of this account by what a request calls it.
    #[must_use]
    pub fn find(&self, account: AccountId, called: Called<'_>) -> Option<OrderNumber> {
        self.find_in(account, called, |number| self.orders.get(&number))
            .or_else(|| self.find_by_name(account, called))
    }

    /// A later order may have taken the id, as the venue would not let it: it has ended, and the one that stands goes by it
    /// still.
    fn find_by_name(&self, account: AccountId, called: Called<'_>) -> Option<OrderNumber> {
        let client = called.client.filter(|_| called.order_id.is_none())?;
        let key = ClientKey {
            account,
            market: called.market,
            algo: called.algo,
            id: client.clone(),
        };
        let newest = self.by_client.get(&key);
        if newest.is_some_and(|newest| self.orders.contains_key(newest)) {
            return None;
        }
        let is_it = |order: &OpenOrder| {
            let anywhere = called.algo && called.symbol.as_str().is_empty();
            order.account == account
                && (order.market, order.algo) == (called.market, called.algo)
                && order.client_order_id.as_ref() == Some(client)
                && (anywhere || order.symbol == *called.symbol)
        };
        let before = newest.map_or(Bound::Unbounded, |newest| Bound::Excluded(*newest));
        let mut all = self.orders.range((Bound::Unbounded, before));
        all.rfind(|(_, order)| is_it(order))
            .map(|(number, _)| *number)
    }

    fn find_in<'a>(
        &'a self,
        account: AccountId,
        called: Called<'_>,
        order_of: impl Fn(OrderNumber) -> Option<&'a OpenOrder>,
    ) -> Option<OrderNumber> {
        let Called {
            market,
            symbol,
            algo,
            order_id,
            client,
        } = called;
        let by_id = order_id.and_then(|id| {
            let key = VenueKey::new(account, market, algo, symbol, id);
            self.by_order_id.get(&key).copied()
        });
        let by_client = || {
            let key = ClientKey {
                account,
                market,
                algo,
                id: client?.clone(),
            };
            self.by_client.get(&key).copied()
        };
        // The venue's number decides; our name for it only finds an order whose number is not known yet.
        match (order_id, by_id) {
            (Some(_), Some(number)) => {
                let other = by_client().is_some_and(|named| named != number);
                (!other).then_some(number)
            }
            (Some(_), None) => by_client()
                .filter(|number| order_of(*number).is_some_and(|order| order.order_id.is_none())),
            (None, _) => by_client(),
        }
        .filter(|number| {
            let anywhere = algo && symbol.as_str().is_empty();
            order_of(*number).is_some_and(|order| anywhere || order.symbol == *symbol)
        })
    }

    /// The open order of an account that goes by a program's id.
    #[must_use]
    pub fn named(
        &self,
        account: AccountId,
        market: MarketKind,
        algo: bool,
        id: &ClientOrderId,
    ) -> Option<&OpenOrder> {
        let key = ClientKey {
            account,
            market,
            algo,
            id: id.clone(),
        };
        self.orders.get(self.by_client.get(&key)?)
    }

    /// Orders whose list goes by this id.
    pub fn find_list(
        &self,
        account: AccountId,
        market: MarketKind,
        list_id: Option<OrderId>,
        client: Option<&ClientOrderId>,
    ) -> impl Iterator<Item = (&OrderNumber, &OpenOrder)> {
        self.orders.iter().filter(move |(_, order)| {
            order.account == account
                && order.market == market
                && ((list_id.is_some() && order.list_id == list_id)
                    || (client.is_some() && order.list_client_order_id.as_ref() == client))
        })
    }

    /// The open orders that a request's cancels and amendments point at, each with the position of its action.
    #[must_use]
    pub fn targets(&self, account: AccountId, actions: &[Action]) -> Vec<(u8, OrderNumber)> {
        let mut targets = Vec::new();
        for (position, action) in (0u8..).zip(actions) {
            let (Action::CancelOrder(order) | Action::AmendOrder(Amend { order, .. })) = action
            else {
                continue;
            };
            let client = order.client_order_id.as_ref();
            if order.list {
                let list = self.find_list(account, order.market, order.order_id, client);
                targets.extend(list.map(|(number, _)| (position, *number)));
            } else {
                let found = self.find(account, order.into());
                targets.extend(found.map(|number| (position, number)));
            }
        }
        targets
    }

    /// Orders of ours that the venue would not cancel or amend: they may have ended and filled. Their status becomes unknown, so
    /// that they are asked for at once; nothing is freed.
    #[must_use]
    pub fn doubted(&self, reports: &[Report], targets: &[(u8, OrderNumber)]) -> Vec<Effect> {
        let refused = |position: u8| {
            reports.iter().any(|report| match report {
                // Nothing was looked at.
                Report::Refused { code } => !HTTP_CODES.contains(code),
                Report::NoSuchOrder => true,
                Report::ActionRefused { position: at, .. } => *at == u32::from(position),
                _ => false,
            })
        };
        targets
            .iter()
            .filter(|(position, _)| refused(*position))
            .filter_map(|(_, number)| {
                let order = self.orders.get(number)?;
                (order.status != OrderStatus::Unknown).then_some(Effect::Progress {
                    order: *number,
                    executed: Quantity::ZERO,
                    quote: Amount::ZERO,
                    order_id: None,
                    list_id: None,
                    status: OrderStatus::Unknown,
                    quantity: None,
                    became: None,
                })
            })
            .collect()
    }

    /// What the venue's answer to `entry` changes. `asked`: the order that a resolver's read asked about.
    #[must_use]
    pub fn settle(
        &self,
        account: AccountId,
        entry: EntryId,
        sent: Sent,
        reports: &[Report],
        asked: Option<OrderNumber>,
    ) -> Settled {
        let ours = || {
            let from = OrderNumber { entry, leg: 0 };
            let to = OrderNumber {
                entry,
                leg: u8::MAX,
            };
            self.orders.range(from..=to)
        };
        let mut told = Told {
            state: self,
            settled: Settled::default(),
            known: BTreeMap::new(),
            named: Vec::new(),
            traded: BTreeMap::new(),
            sizes: BTreeMap::new(),
        };
        match sent {
            Sent::NotSent => {
                for (number, _) in ours() {
                    told.end(*number, OrderStatus::Rejected);
                }
                told.amendments(entry, asked, |_| true, false);
                return told.settled;
            }
            Sent::MaybeSent => {
                told.amendments(entry, asked, |_| false, true);
                return told.settled;
            }
            Sent::Sent => {}
        }
        for report in reports {
            match report {
                Report::Order(order) => told.order(account, order),
                Report::Trade(trade) => told.trade(account, trade),
                Report::Refused { .. } => {
                    for (number, _) in ours() {
                        told.end(*number, OrderStatus::Rejected);
                    }
                }
                Report::ActionRefused { position, .. } => {
                    let leg = u8::try_from(*position).unwrap_or(u8::MAX);
                    for (number, _) in ours().filter(|(number, _)| number.leg == leg) {
                        told.end(*number, OrderStatus::Rejected);
                    }
                }
                Report::NoSuchOrder => {
                    if let Some(number) = asked {
                        told.end(number, OrderStatus::Rejected);
                    }
                }
                // They are the gate's own question, whose host says of which venue they are.
                Report::Price { .. }
                | Report::VenueTime { .. }
                | Report::OpenOrdersComplete { .. }
                | Report::Unreadable => {}
            }
        }
        // The trades that were ever told show at least so much of an order, never more than its true total.
        for (number, trades) in std::mem::take(&mut told.traded) {
            told.progress(number, trades.quantity.0, Some(trades.quote.0), None);
        }
        told.remaining_legs();
        let refused = |leg: u8| {
            reports.iter().any(|report| match report {
                Report::Refused { .. } => true,
                Report::ActionRefused { position, .. } => *position == u32::from(leg),
                _ => false,
            })
        };
        told.amendments(entry, asked, refused, true);
        told.settled
    }
}

/// What one answer tells, counted as it goes: an order may stand in it more than once.
struct Told<'a> {
    state: &'a State,
    settled: Settled,
    /// Executed, in quote, and status, where the answer changed them.
    known: BTreeMap<OrderNumber, (i128, i128, OrderStatus)>,
    /// Ids that the venue gave to orders in this answer.
    named: Vec<(OrderId, OrderNumber)>,
    /// Trades of orders, those told before included.
    traded: BTreeMap<OrderNumber, Trades>,
    /// What orders are in all, where the answer says it and they stand.
    sizes: BTreeMap<OrderNumber, Quantity>,
}

impl Told<'_> {
    /// What becomes of amendments: those of the entry, and that of the order that was asked about. One that did not take
    /// place leaves the order as it was; one whose outcome the answer does not say (`asks`) makes it an order to ask about.
    fn amendments(
        &mut self,
        entry: EntryId,
        asked: Option<OrderNumber>,
        refused: impl Fn(u8) -> bool,
        asks: bool,
    ) {
        for (by, of) in &self.state.amending {
            let own = by.entry == entry;
            if !own && asked != Some(of.order) || self.is_ended(of.order) {
                continue;
            }
            let Some(order) = self.state.orders.get(&of.order) else {
                continue;
            };
            let (quantity, price) = match self.sizes.get(&of.order) {
                _ if own && refused(by.leg) => (of.quantity, of.price),
                // No more than was asked for, or than it was. Its older price stays the bound of what it filled before.
                Some(told) => ((*told).min(order.quantity), order.price),
                None if own && asks => {
                    if let Some((executed, quote, status)) = self.known(of.order)
                        && status != OrderStatus::Unknown
                    {
                        self.progress(
                            of.order,
                            executed,
                            Some(quote),
                            Some((OrderStatus::Unknown, None)),
                        );
                    }
                    continue;
                }
                None if own => (of.quantity, of.price),
                None => continue,
            };
            self.settled.effects.push(Effect::Amended {
                by: *by,
                order: of.order,
                quantity,
                price,
            });
        }
    }

    fn known(&self, number: OrderNumber) -> Option<(i128, i128, OrderStatus)> {
        self.known.get(&number).copied().or_else(|| {
            let order = self.state.told(number)?;
            Some((order.executed.0, order.executed_quote.0, order.status))
        })
    }

    /// The venue's number decides, whoever had the same name for another order since.
    fn find(&self, account: AccountId, called: Called<'_>) -> Option<OrderNumber> {
        let find = |called| {
            let told = |number| self.state.told(number);
            self.state.find_in(account, called, told)
        };
        let by_number = Called {
            client: None,
            ..called
        };
        find(by_number).or_else(|| find(called))
    }

    fn is_ended(&self, number: OrderNumber) -> bool {
        self.known
            .get(&number)
            .is_some_and(|(_, _, status)| status.is_final())
    }

    fn cannot_be(&mut self, number: OrderNumber, why: Impossible) {
        if !self.settled.impossible.contains(&(number, why)) {
            self.settled.impossible.push((number, why));
        }
    }

    /// Ends an order without a fill.
    fn end(&mut self, number: OrderNumber, status: OrderStatus) {
        if let Some((executed, quote, _)) = self.known(number) {
            self.progress(number, executed, Some(quote), Some((status, None)));
        }
    }

    fn order(&mut self, account: AccountId, report: &OrderReport) {
        let client = report
            .original_client_order_id
            .as_ref()
            .or(report.client_order_id.as_ref());
        let called = Called {
            market: report.market,
            symbol: &report.symbol,
            algo: report.algo,
            order_id: Some(report.order_id),
            client,
        };
        let Some(number) = self.find(account, called) else {
            return;
        };
        let Some((executed, _, _)) = self.known(number) else {
            return;
        };
        let Some(order) = self.state.told(number) else {
            return;
        };
        if report.side.is_some_and(|side| side != order.side) {
            return self.cannot_be(number, Impossible::OtherSide);
        }
        let trades = [(!report.algo).then_some(report.order_id), report.became];
        let named = trades.into_iter().flatten().map(|id| (id, number));
        self.named.extend(named);
        if let Some(told) = report.original_quantity.filter(|q| q.is_positive()) {
            self.sizes.insert(number, order.sized(told));
        }
        let total = report.executed_quantity.map(|told| order.sized(told));
        let at_average = |total| {
            let round = match order.pays() {
                true => Round::Up,
                false => Round::Down,
            };
            order.worth(
                total,
                report.average_price.filter(|p| p.is_positive())?,
                round,
            )
        };
        let cash = report.executed_quote.or_else(|| at_average(total?));
        let cash = cash.map(|cash| cash.0);
        let total = total.map_or(executed, |total| total.0);
        self.progress(number, total, cash, Some((report.status, Some(report))));
        let renamed = report
            .client_order_id
            .as_ref()
            .filter(|_| report.original_client_order_id.is_some() && !self.is_ended(number))
            .filter(|id| {
                self.state
                    .orders
                    .get(&number)
                    .is_some_and(|order| order.client_order_id.as_ref() != Some(id))
            });
        if let Some(id) = renamed {
            self.settled.effects.push(Effect::Renamed {
                order: number,
                client_order_id: id.clone(),
            });
        }
    }

    /// A trade counts once, by its number, however often and in whatever part of a list it is told.
    fn trade(&mut self, account: AccountId, trade: &TradeReport) {
        let named = self.named.iter().find(|(id, _)| *id == trade.order_id);
        let number = named
            .map(|(_, number)| *number)
            .filter(|number| {
                self.state.told(*number).is_some_and(|order| {
                    order.symbol == trade.symbol && order.market == trade.market
                })
            })
            .or_else(|| {
                let called = Called {
                    market: trade.market,
                    symbol: &trade.symbol,
                    algo: false,
                    order_id: Some(trade.order_id),
                    client: None,
                };
                self.find(account, called)
            });
        let Some((number, order)) = number.and_then(|n| Some((n, self.state.told(n)?))) else {
            return;
        };
        let trades = self
            .traded
            .entry(number)
            .or_insert_with(|| self.state.trades.get(&number).cloned().unwrap_or_default());
        if trades.ids.contains(&trade.trade_id)
            || trades.ids.len() >= TRADES_MAX
            || !trade.quantity.is_positive()
        {
            return;
        }
        if trade.side != order.side {
            return self.cannot_be(number, Impossible::OtherSide);
        }
        let quantity = order.sized(trade.quantity);
        if trades.quantity.0.saturating_add(quantity.0) > order.quantity.0 {
            return self.cannot_be(number, Impossible::MoreThanOrdered);
        }
        let quote = trade
            .quote
            .or_else(|| order.worth(quantity, trade.price, Round::Up))
            .map_or(0, |quote| quote.0.max(0));
        let fee = trade.commission.0.max(0);
        let gains_in = order.settle.as_ref().or(order.quote.as_ref());
        let (fee, fee_asset) = match (&order.base, gains_in) {
            (_, Some(asset)) if *asset == trade.commission_asset => (fee.min(quote), asset),
            // What the venue keeps of what was bought counts at what it cost. No fee is more than its trade.
            (Some(base), Some(asset)) if *base == trade.commission_asset => {
                let fee = trade.price.times(Quantity(fee), Round::Up);
                (fee.map_or(quote, |fee| fee.0.min(quote)), asset)
            }
            _ => (fee, &trade.commission_asset),
        };
        trades.ids.insert(trade.trade_id);
        trades.quantity = trades.quantity.saturating_add(quantity);
        trades.quote = trades.quote.saturating_add(Amount(quote));
        self.settled.effects.push(Effect::Traded {
            order: number,
            trade: trade.trade_id,
            quantity,
            quote: Amount(quote),
            fee: Amount(fee),
            fee_asset: fee_asset.clone(),
        });
    }

    /// `total` and `cash` are cumulative; they never fall, and an older answer that comes late adds and ends nothing.
    /// Without `said` they come from trades: then the total alone says whether it is filled. Without `cash` it is what the
    /// order's own price makes of the total.
    fn progress(
        &mut self,
        number: OrderNumber,
        total: i128,
        cash: Option<i128>,
        said: Option<(OrderStatus, Option<&OrderReport>)>,
    ) {
        let Some((executed, quote, status)) = self.known(number) else {
            return;
        };
        let Some(order) = self.state.told(number) else {
            return;
        };
        let is_late = status.is_final();
        if (is_late || said.is_none()) && total <= executed {
            return;
        }
        // What cannot be is evidence against who told it, and counts as the most that can.
        if total > order.quantity.0 {
            self.cannot_be(number, Impossible::MoreThanOrdered);
        }
        let total = total.min(order.quantity.0);
        if self.state.ended.contains_key(&number) && total > executed {
            self.cannot_be(number, Impossible::AfterItsEnd);
        }
        let stale = total < executed;
        let at_limit = order.at_limit(total).filter(|_| !stale);
        let cash = cash.or(at_limit).unwrap_or(quote);
        let cash = match at_limit {
            Some(limit) => {
                let beyond = match order.pays() {
                    true => cash.saturating_sub(limit),
                    false => limit.saturating_sub(cash),
                };
                if beyond > limit / ROUNDING_PARTS {
                    self.cannot_be(number, Impossible::BeyondItsPrice);
                }
                if beyond > 0 { limit } else { cash }
            }
            None => cash,
        };
        let report = said.and_then(|(_, report)| report);
        let next = match said {
            _ if is_late => status,
            Some((said, _)) if !stale => said,
            None if total >= order.quantity.0 => OrderStatus::Filled,
            _ => status,
        };
        let added = total.saturating_sub(executed).max(0);
        let paid = if stale {
            0
        } else {
            cash.saturating_sub(quote).max(0)
        };
        // What a triggered order is called is another id than its own.
        let own = report.filter(|r| r.algo == order.algo);
        let order_id = own.map(|r| r.order_id);
        let became = report
            .and_then(|r| r.became.or((order.algo && !r.algo).then_some(r.order_id)))
            .filter(|id| order.became != Some(*id));
        let list_id = report.and_then(|r| r.list_id);
        // What lessens it counts at once, but while an amendment is under way: an older answer knows nothing of that. One that
        // comes after it is mended by the next, which may tell as much as was ever asked.
        let most = order.most.unwrap_or(order.quantity);
        let quantity = report
            .filter(|_| !self.state.is_amending(number))
            .and_then(|r| r.original_quantity)
            .map(|told| order.sized(told))
            .filter(|q| *q != order.quantity && *q <= most)
            .filter(|q| !stale && !is_late && q.is_positive());
        let known = order_id.is_none_or(|id| order.order_id == Some(id))
            && list_id.is_none_or(|id| order.list_id == Some(id))
            && became.is_none();
        if known && added == 0 && paid == 0 && next == status && quantity.is_none() {
            // Nothing new: a program that polls fills no log.
            return;
        }
        self.known
            .insert(number, (executed + added, quote.saturating_add(paid), next));
        self.settled.effects.push(Effect::Progress {
            order: number,
            executed: Quantity(added),
            quote: Amount(paid),
            order_id,
            list_id,
            status: next,
            quantity,
            became,
        });
    }

    /// The first leg of a pair has the quantity of both. Where it ended unfilled and the other stands, that one has it;
    /// a fill of either ends the other at the venue.
    fn remaining_legs(&mut self) {
        let ended: Vec<OrderNumber> = self
            .known
            .iter()
            .filter(|(_, (executed, _, status))| status.is_final() && *executed == 0)
            .map(|(number, _)| *number)
            .collect();
        for number in ended {
            let Some(gone) = self.state.orders.get(&number).filter(|o| !o.alternative) else {
                continue;
            };
            let next = OrderNumber {
                leg: number.leg.saturating_add(1),
                ..number
            };
            let stays = self.state.orders.get(&next).is_some_and(|order| {
                order.alternative && order.side == gone.side && order.symbol == gone.symbol
            });
            if stays && !self.is_ended(next) {
                self.settled.effects.push(Effect::Counted { order: next });
            }
        }
    }
}
