//! The compiled authority: for each strategy, account and kind of action the few rules that are left when everything
//! known at load has been worked out. `authority` makes a table from Cedar policies and keeps Cedar as the oracle; the
//! signer evaluates the table alone. There is no text, no Cedar and no allocation here.
//!
//! It trusts whoever built it to have checked the policies: every rule is a comparison that cannot fail. If a rule still
//! reads a fact that is absent, the answer is a refusal, never a rule skipped.

use crate::Map;
use crate::action::{ActionKind, MarketKind, OrderType, ReadOf, Side, TimeInForce};
use crate::id::{AccountId, StrategyId, Timestamp};
use std::fmt;
use std::net::IpAddr;

/// How deep a compiled test may nest. A policy that needs more is refused when it is checked.
pub const TEST_DEPTH_MAX: usize = 64;
/// Pairs of strategy and account that a table holds at most. A release with more is refused when it is compiled.
pub const PAIRS_MAX: usize = 4_000_000;
/// From this many rules on that each ask for one text (a market, an asset), a cell is searched by that text.
const KEYED_RULES_MIN: usize = 8;
/// Longer lists of words are searched by halves.
const LINEAR_WORDS_MAX: usize = 6;
/// What a rule costs beside its test, and what finding rules by a text costs: see [`Test::cost_ns`].
const RULE_NS: u32 = 2;
const LOOK_UP_NS: u32 = 30;
/// Longer texts are searched by an algorithm that is slow to start.
const SHORT_TEXT_BYTES: usize = 64;
const KINDS: usize = ActionKind::ALL.len();

/// What an expression in a policy's `context` can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Slot {
    Source,
    MinuteOfDay,
    Weekday,
    Observe,
    Market,
    MarketKind,
    Side,
    OrderType,
    TimeInForce,
    Value,
    Reduces,
    PostOnly,
    Borrows,
    Reads,
    Asset,
    ToAsset,
    From,
    Destination,
    Address,
    Network,
    Setting,
    Approvals,
}

/// What a slot holds, and so how it may be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotType {
    /// The source address.
    Address,
    /// A whole number.
    Long,
    Flag,
    /// Any text.
    Text,
    /// One of a few words.
    Word,
}

/// Whether an action always has a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    Required,
    /// A policy asks `context has …` first.
    Optional,
}

impl Slot {
    pub const ALL: [Self; 22] = [
        Self::Source,
        Self::MinuteOfDay,
        Self::Weekday,
        Self::Observe,
        Self::Market,
        Self::MarketKind,
        Self::Side,
        Self::OrderType,
        Self::TimeInForce,
        Self::Value,
        Self::Reduces,
        Self::PostOnly,
        Self::Borrows,
        Self::Reads,
        Self::Asset,
        Self::ToAsset,
        Self::From,
        Self::Destination,
        Self::Address,
        Self::Network,
        Self::Setting,
        Self::Approvals,
    ];

    /// The attribute's name in `context`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::MinuteOfDay => "minuteOfDay",
            Self::Weekday => "weekday",
            Self::Observe => "observe",
            Self::Market => "market",
            Self::MarketKind => "marketKind",
            Self::Side => "side",
            Self::OrderType => "orderType",
            Self::TimeInForce => "timeInForce",
            Self::Value => "value",
            Self::Reduces => "reduces",
            Self::PostOnly => "postOnly",
            Self::Borrows => "borrows",
            Self::Reads => "reads",
            Self::Asset => "asset",
            Self::ToAsset => "toAsset",
            Self::From => "from",
            Self::Destination => "destination",
            Self::Address => "address",
            Self::Network => "network",
            Self::Setting => "setting",
            Self::Approvals => "approvals",
        }
    }

    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|slot| slot.name() == name)
    }

    #[must_use]
    pub fn slot_type(self) -> SlotType {
        match self {
            Self::Source => SlotType::Address,
            Self::MinuteOfDay | Self::Weekday | Self::Value | Self::Approvals => SlotType::Long,
            Self::Observe | Self::Reduces | Self::PostOnly | Self::Borrows => SlotType::Flag,
            Self::MarketKind | Self::Side | Self::OrderType | Self::TimeInForce | Self::Reads => {
                SlotType::Word
            }
            Self::Market
            | Self::Asset
            | Self::ToAsset
            | Self::From
            | Self::Destination
            | Self::Address
            | Self::Network
            | Self::Setting => SlotType::Text,
        }
    }

    /// The words that a [`SlotType::Word`] slot can hold; a word's place is its code. Empty for other slots.
    #[must_use]
    pub fn words(self) -> &'static [&'static str] {
        match self {
            Self::MarketKind => &["spot", "margin", "usd_futures", "coin_futures", "option"],
            Self::Side => &["buy", "sell"],
            Self::OrderType => &[
                "limit",
                "market",
                "limit_maker",
                "stop_loss",
                "stop_loss_limit",
                "take_profit",
                "take_profit_limit",
                "trailing_stop",
            ],
            Self::TimeInForce => &["gtc", "ioc", "fok", "gtd"],
            Self::Reads => &["orders", "trades", "balances", "account"],
            _ => &[],
        }
    }

    const fn bit(self) -> u32 {
        1 << self as u8
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "context.{}", self.name())
    }
}

/// The slots that an action of this kind has. A fact beside these is not looked at.
#[must_use]
pub fn slots(kind: ActionKind) -> &'static [(Slot, Presence)] {
    use Presence::{Optional, Required};
    const ORDER: &[(Slot, Presence)] = &[
        (Slot::Source, Required),
        (Slot::MinuteOfDay, Required),
        (Slot::Weekday, Required),
        (Slot::Observe, Required),
        (Slot::Market, Required),
        (Slot::MarketKind, Required),
        (Slot::Side, Required),
        (Slot::OrderType, Required),
        (Slot::TimeInForce, Optional),
        (Slot::Value, Required),
        (Slot::Reduces, Required),
        (Slot::PostOnly, Required),
        (Slot::Borrows, Required),
    ];
    const CANCEL: &[(Slot, Presence)] = &[
        (Slot::Source, Required),
        (Slot::MinuteOfDay, Required),
        (Slot::Weekday, Required),
        (Slot::Observe, Required),
        (Slot::Market, Optional),
        (Slot::MarketKind, Required),
    ];
    const READ: &[(Slot, Presence)] = &[
        (Slot::Source, Required),
        (Slot::MinuteOfDay, Required),
        (Slot::Weekday, Required),
        (Slot::Observe, Required),
        (Slot::Market, Optional),
        (Slot::MarketKind, Optional),
        (Slot::Reads, Required),
    ];
    const EXCHANGE: &[(Slot, Presence)] = &[
        (Slot::Source, Required),
        (Slot::MinuteOfDay, Required),
        (Slot::Weekday, Required),
        (Slot::Observe, Required),
        (Slot::Value, Required),
        (Slot::Asset, Optional),
        (Slot::ToAsset, Optional),
        (Slot::Approvals, Required),
    ];
    const DEBT: &[(Slot, Presence)] = &[
        (Slot::Source, Required),
        (Slot::MinuteOfDay, Required),
        (Slot::Weekday, Required),
        (Slot::Observe, Required),
        (Slot::Value, Required),
        (Slot::Asset, Optional),
        (Slot::Approvals, Required),
    ];
    const TRANSFER: &[(Slot, Presence)] = &[
        (Slot::Source, Required),
        (Slot::MinuteOfDay, Required),
        (Slot::Weekday, Required),
        (Slot::Observe, Required),
        (Slot::Value, Required),
        (Slot::Asset, Optional),
        (Slot::From, Optional),
        (Slot::Destination, Optional),
        (Slot::Address, Optional),
        (Slot::Network, Optional),
        (Slot::Approvals, Required),
    ];
    const DEPOSIT: &[(Slot, Presence)] = &[
        (Slot::Source, Required),
        (Slot::MinuteOfDay, Required),
        (Slot::Weekday, Required),
        (Slot::Observe, Required),
        (Slot::Asset, Optional),
        (Slot::Network, Optional),
    ];
    const SETTING: &[(Slot, Presence)] = &[
        (Slot::Source, Required),
        (Slot::MinuteOfDay, Required),
        (Slot::Weekday, Required),
        (Slot::Observe, Required),
        (Slot::Market, Optional),
        (Slot::Setting, Optional),
        (Slot::Approvals, Required),
    ];
    const OPEN: &[(Slot, Presence)] = &[
        (Slot::Source, Required),
        (Slot::MinuteOfDay, Required),
        (Slot::Weekday, Required),
        (Slot::Observe, Required),
        (Slot::Market, Optional),
    ];
    match kind {
        ActionKind::PlaceOrder | ActionKind::TestOrder | ActionKind::AmendOrder => ORDER,
        ActionKind::CancelOrder | ActionKind::CancelAll => CANCEL,
        ActionKind::Read => READ,
        ActionKind::Convert | ActionKind::Rfq => EXCHANGE,
        ActionKind::Borrow | ActionKind::Repay | ActionKind::Invest => DEBT,
        ActionKind::TransferInside
        | ActionKind::TransferOwn
        | ActionKind::TransferOut
        | ActionKind::Withdraw => TRANSFER,
        ActionKind::DepositAddress => DEPOSIT,
        ActionKind::Configure
        | ActionKind::DeadMan
        | ActionKind::Subaccount
        | ActionKind::ManageKeys => SETTING,
        ActionKind::Session | ActionKind::Public => OPEN,
    }
}

/// Whether an action of this kind has `slot`.
#[must_use]
pub fn presence(kind: ActionKind, slot: Slot) -> Option<Presence> {
    slots(kind)
        .iter()
        .find(|(s, _)| *s == slot)
        .map(|(_, presence)| *presence)
}

fn required_mask(kind: ActionKind) -> u32 {
    slots(kind)
        .iter()
        .filter(|(_, p)| *p == Presence::Required)
        .fold(0, |mask, (slot, _)| mask | slot.bit())
}

/// What one action says to authority. Made on the stack for each decision; absent is absent, not empty.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// Canonical: [`Facts::new`] makes it so.
    pub(crate) source: IpAddr,
    /// 0 to 1,439, UTC.
    pub minute_of_day: i64,
    /// 1 is Monday, 7 is Sunday, UTC.
    pub weekday: i64,
    /// The strategy is in `observe`.
    pub observe: bool,
    /// The venue's symbol.
    pub market: Option<&'a str>,
    pub market_kind: Option<MarketKind>,
    pub side: Option<Side>,
    pub order_type: Option<OrderType>,
    pub time_in_force: Option<TimeInForce>,
    /// Millionths of the site's currency; `i64::MAX` where it is not known or beyond.
    pub value: Option<i64>,
    /// Known to reduce risk.
    pub reduces: Option<bool>,
    pub post_only: Option<bool>,
    /// The order may borrow to fill.
    pub borrows: Option<bool>,
    pub reads: Option<ReadOf>,
    pub asset: Option<&'a str>,
    pub to_asset: Option<&'a str>,
    /// The wallet or account that value leaves.
    pub from: Option<&'a str>,
    /// The address book's label of where value goes. Absent if the book does not have the address.
    pub destination: Option<&'a str>,
    /// Where value goes, as the request says it.
    pub address: Option<&'a str>,
    pub network: Option<&'a str>,
    /// The figure that a setting is set to.
    pub setting: Option<&'a str>,
    /// Operators who said yes to exactly this action.
    pub approvals: Option<i64>,
}

impl<'a> Facts<'a> {
    /// Facts with all that every action has. An IPv4 address written as IPv6 is taken as the IPv4 address.
    #[must_use]
    pub fn new(source: IpAddr, now: Timestamp, observe: bool) -> Self {
        let minutes = now.0 / 60_000_000;
        let days = minutes / 1440;
        Self {
            source: source.to_canonical(),
            minute_of_day: i64::try_from(minutes % 1440).unwrap_or(0),
            // 1970-01-01 was a Thursday.
            weekday: i64::try_from((days + 3) % 7).unwrap_or(0) + 1,
            observe,
            market: None,
            market_kind: None,
            side: None,
            order_type: None,
            time_in_force: None,
            value: None,
            reduces: None,
            post_only: None,
            borrows: None,
            reads: None,
            asset: None,
            to_asset: None,
            from: None,
            destination: None,
            address: None,
            network: None,
            setting: None,
            approvals: None,
        }
    }

    #[must_use]
    pub fn source(&self) -> IpAddr {
        self.source
    }

    #[must_use]
    pub fn text(&self, slot: Slot) -> Option<&'a str> {
        match slot {
            Slot::Market => self.market,
            Slot::Asset => self.asset,
            Slot::ToAsset => self.to_asset,
            Slot::From => self.from,
            Slot::Destination => self.destination,
            Slot::Address => self.address,
            Slot::Network => self.network,
            Slot::Setting => self.setting,
            _ => None,
        }
    }

    #[must_use]
    pub fn long(&self, slot: Slot) -> Option<i64> {
        match slot {
            Slot::MinuteOfDay => Some(self.minute_of_day),
            Slot::Weekday => Some(self.weekday),
            Slot::Value => self.value,
            Slot::Approvals => self.approvals,
            _ => None,
        }
    }

    #[must_use]
    pub fn flag(&self, slot: Slot) -> Option<bool> {
        match slot {
            Slot::Observe => Some(self.observe),
            Slot::Reduces => self.reduces,
            Slot::PostOnly => self.post_only,
            Slot::Borrows => self.borrows,
            _ => None,
        }
    }

    /// The code of a word: its place in [`Slot::words`].
    #[must_use]
    pub fn code(&self, slot: Slot) -> Option<u8> {
        match slot {
            Slot::MarketKind => self.market_kind.map(|kind| match kind {
                MarketKind::Spot => 0,
                MarketKind::Margin => 1,
                MarketKind::UsdFutures => 2,
                MarketKind::CoinFutures => 3,
                MarketKind::Option => 4,
            }),
            Slot::Side => self.side.map(|side| match side {
                Side::Buy => 0,
                Side::Sell => 1,
            }),
            Slot::OrderType => self.order_type.map(|order_type| match order_type {
                OrderType::Limit => 0,
                OrderType::Market => 1,
                OrderType::LimitMaker => 2,
                OrderType::StopLoss => 3,
                OrderType::StopLossLimit => 4,
                OrderType::TakeProfit => 5,
                OrderType::TakeProfitLimit => 6,
                OrderType::TrailingStop => 7,
            }),
            Slot::TimeInForce => self.time_in_force.map(|time| match time {
                TimeInForce::Gtc => 0,
                TimeInForce::Ioc => 1,
                TimeInForce::Fok => 2,
                TimeInForce::Gtd => 3,
            }),
            Slot::Reads => self.reads.map(|reads| match reads {
                ReadOf::Orders => 0,
                ReadOf::Trades => 1,
                ReadOf::Balances => 2,
                ReadOf::Account => 3,
            }),
            _ => None,
        }
    }

    /// The word that a [`SlotType::Word`] slot holds.
    #[must_use]
    pub fn word(&self, slot: Slot) -> Option<&'static str> {
        slot.words().get(usize::from(self.code(slot)?)).copied()
    }

    #[must_use]
    pub fn has(&self, slot: Slot) -> bool {
        match slot.slot_type() {
            SlotType::Address => true,
            SlotType::Long => self.long(slot).is_some(),
            SlotType::Flag => self.flag(slot).is_some(),
            SlotType::Text => self.text(slot).is_some(),
            SlotType::Word => self.code(slot).is_some(),
        }
    }

    fn present_mask(&self) -> u32 {
        let bit = |present: bool, slot: Slot| if present { slot.bit() } else { 0 };
        Slot::Source.bit()
            | Slot::MinuteOfDay.bit()
            | Slot::Weekday.bit()
            | Slot::Observe.bit()
            | bit(self.market.is_some(), Slot::Market)
            | bit(self.market_kind.is_some(), Slot::MarketKind)
            | bit(self.side.is_some(), Slot::Side)
            | bit(self.order_type.is_some(), Slot::OrderType)
            | bit(self.time_in_force.is_some(), Slot::TimeInForce)
            | bit(self.value.is_some(), Slot::Value)
            | bit(self.reduces.is_some(), Slot::Reduces)
            | bit(self.post_only.is_some(), Slot::PostOnly)
            | bit(self.borrows.is_some(), Slot::Borrows)
            | bit(self.reads.is_some(), Slot::Reads)
            | bit(self.asset.is_some(), Slot::Asset)
            | bit(self.to_asset.is_some(), Slot::ToAsset)
            | bit(self.from.is_some(), Slot::From)
            | bit(self.destination.is_some(), Slot::Destination)
            | bit(self.address.is_some(), Slot::Address)
            | bit(self.network.is_some(), Slot::Network)
            | bit(self.setting.is_some(), Slot::Setting)
            | bit(self.approvals.is_some(), Slot::Approvals)
    }
}

/// A range of source addresses (CIDR). An address of the other family is outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network {
    pub address: IpAddr,
    pub prefix: u8,
}

impl Network {
    /// Reads `10.0.0.0/8`, `::1/128`, or one address. Bits beyond the prefix must be zero: `10.0.0.1/8` is a slip, not a
    /// network.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            Some(text) if text.len() <= 3 && text.bytes().all(|b| b.is_ascii_digit()) => {
                text.parse().ok().filter(|prefix| *prefix <= bits)?
            }
            Some(_) => return None,
            None => bits,
        };
        let tail_is_zero = match address {
            IpAddr::V4(a) => u32::from(a).checked_shl(prefix.into()).unwrap_or(0) == 0,
            IpAddr::V6(a) => u128::from(a).checked_shl(prefix.into()).unwrap_or(0) == 0,
        };
        tail_is_zero.then_some(Self { address, prefix })
    }

    #[must_use]
    pub fn contains(&self, source: IpAddr) -> bool {
        match (self.address, source) {
            (IpAddr::V4(net), IpAddr::V4(source)) => {
                let mask = u32::MAX
                    .checked_shl(32u32.saturating_sub(self.prefix.into()))
                    .unwrap_or(0);
                u32::from(net) & mask == u32::from(source) & mask
            }
            (IpAddr::V6(net), IpAddr::V6(source)) => {
                let mask = u128::MAX
                    .checked_shl(128u32.saturating_sub(self.prefix.into()))
                    .unwrap_or(0);
                u128::from(net) & mask == u128::from(source) & mask
            }
            _ => false,
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// A text with `*` for anything: `head * middle[0] * … * tail`. Without a `tail` there is no `*`, only `head`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pattern {
    pub head: Box<str>,
    pub middle: Box<[Box<str>]>,
    pub tail: Option<Box<str>>,
}

impl Pattern {
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        let Some(tail) = &self.tail else {
            return text == &*self.head;
        };
        let (head, end) = (self.head.len(), text.len().checked_sub(tail.len()));
        let Some(mut rest) = end.and_then(|end| text.get(head..end)) else {
            return false;
        };
        let ends = |text: Option<&str>, piece: &str| text.is_some_and(|text| same(text, piece));
        if !ends(text.get(..head), &self.head) || !ends(text.get(head + rest.len()..), tail) {
            return false;
        }
        for piece in &self.middle {
            match find(rest, piece).and_then(|at| rest.get(at + piece.len()..)) {
                Some(after) => rest = after,
                None => return false,
            }
        }
        true
    }
}

fn find(text: &str, piece: &str) -> Option<usize> {
    if text.len() > SHORT_TEXT_BYTES || piece.is_empty() {
        return text.find(piece);
    }
    let mut windows = text.as_bytes().windows(piece.len());
    windows.position(|window| window.iter().eq(piece.as_bytes()))
}

/// Equal, without the call that comparing whole slices makes: what policies compare is short.
fn same(a: &str, b: &str) -> bool {
    a.len() == b.len() && a.bytes().eq(b.bytes())
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let literal = |f: &mut fmt::Formatter<'_>, text: &str| {
            f.write_str(&text.escape_debug().to_string().replace('*', "\\*"))
        };
        f.write_str("\"")?;
        literal(f, &self.head)?;
        if let Some(tail) = &self.tail {
            for piece in &self.middle {
                f.write_str("*")?;
                literal(f, piece)?;
            }
            f.write_str("*")?;
            literal(f, tail)?;
        }
        f.write_str("\"")
    }
}

/// What is left of a policy's conditions when everything but `context` is known. `Display` writes it as Cedar would.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Test {
    Always,
    Never,
    /// In order; the first that is false ends it.
    All(Box<[Test]>),
    /// In order; the first that is true ends it.
    Any(Box<[Test]>),
    Not(Box<Test>),
    /// If the first then the second else the third.
    If(Box<[Test; 3]>),
    Has(Slot),
    Flag(Slot),
    /// The words are sorted.
    TextIn {
        slot: Slot,
        words: Box<[Box<str>]>,
    },
    TextLike {
        slot: Slot,
        pattern: Pattern,
    },
    TextSame(Slot, Slot),
    /// One bit for each of [`Slot::words`].
    WordIn {
        slot: Slot,
        mask: u8,
    },
    /// Both ends included.
    LongIn {
        slot: Slot,
        low: i64,
        high: i64,
    },
    LongLess(Slot, Slot),
    LongSame(Slot, Slot),
    SourceIn(Network),
    SourceIsV4,
    SourceIsLoopback,
    SourceIsMulticast,
}

impl Test {
    /// Whether the facts pass, or the slot that was read and is absent.
    pub fn holds(&self, facts: &Facts<'_>) -> Result<bool, Slot> {
        let long = |slot: Slot| facts.long(slot).ok_or(slot);
        let text = |slot: Slot| facts.text(slot).ok_or(slot);
        Ok(match self {
            Self::Always => true,
            Self::Never => false,
            Self::All(tests) => {
                for test in tests {
                    if !test.holds(facts)? {
                        return Ok(false);
                    }
                }
                true
            }
            Self::Any(tests) => {
                for test in tests {
                    if test.holds(facts)? {
                        return Ok(true);
                    }
                }
                false
            }
            Self::Not(test) => !test.holds(facts)?,
            Self::If(branches) => {
                let [condition, then, otherwise] = &**branches;
                if condition.holds(facts)? {
                    then.holds(facts)?
                } else {
                    otherwise.holds(facts)?
                }
            }
            Self::Has(slot) => facts.has(*slot),
            Self::Flag(slot) => facts.flag(*slot).ok_or(*slot)?,
            Self::TextIn { slot, words } => contains(words, text(*slot)?),
            Self::TextLike { slot, pattern } => pattern.matches(text(*slot)?),
            Self::TextSame(a, b) => text(*a)? == text(*b)?,
            Self::WordIn { slot, mask } => {
                let code = facts.code(*slot).ok_or(*slot)?;
                mask.checked_shr(code.into()).unwrap_or(0) & 1 == 1
            }
            Self::LongIn { slot, low, high } => (*low..=*high).contains(&long(*slot)?),
            Self::LongLess(a, b) => long(*a)? < long(*b)?,
            Self::LongSame(a, b) => long(*a)? == long(*b)?,
            Self::SourceIn(network) => network.contains(facts.source),
            Self::SourceIsV4 => facts.source.is_ipv4(),
            Self::SourceIsLoopback => facts.source.is_loopback(),
            Self::SourceIsMulticast => facts.source.is_multicast(),
        })
    }

    /// The first part of a conjunction that the facts do not pass; the whole if it is none.
    #[must_use]
    pub fn first_false(&self, facts: &Facts<'_>) -> Option<&Self> {
        match self {
            Self::All(tests) => tests.iter().find_map(|test| test.first_false(facts)),
            _ if self.holds(facts) == Ok(true) => None,
            _ => Some(self),
        }
    }

    /// The words of which `slot` must be one for this test to hold, if the test says so outright. A rule that is found
    /// by them is not looked at if the slot is absent, so a slot that may be absent must have been asked for before.
    fn keys(&self, slot: Slot, presence: Presence) -> Option<&[Box<str>]> {
        match self {
            Self::TextIn { slot: s, words } if *s == slot && presence == Presence::Required => {
                Some(words)
            }
            Self::All(tests) => {
                let at = tests
                    .iter()
                    .position(|test| matches!(test, Self::TextIn { slot: s, .. } if *s == slot))?;
                let before = tests.get(..at)?;
                if presence == Presence::Optional && !before.contains(&Self::Has(slot)) {
                    return None;
                }
                match tests.get(at) {
                    Some(Self::TextIn { words, .. }) => Some(words),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    /// What looking at it costs at most, in about nanoseconds: `benches/table.rs` of `authority` measures the same.
    #[must_use]
    pub fn cost_ns(&self) -> u32 {
        let sum = |tests: &[Self]| {
            let costs = tests.iter().map(Self::cost_ns);
            costs.fold(1, u32::saturating_add)
        };
        match self {
            Self::Always | Self::Never => 0,
            Self::All(tests) | Self::Any(tests) => sum(tests),
            Self::Not(test) => test.cost_ns(),
            Self::If(branches) => {
                let [condition, then, otherwise] = &**branches;
                condition
                    .cost_ns()
                    .saturating_add(then.cost_ns().max(otherwise.cost_ns()))
            }
            Self::TextIn { words, .. } if words.len() <= LINEAR_WORDS_MAX => {
                2 + 2 * u32::try_from(words.len()).unwrap_or(u32::MAX / 4)
            }
            Self::TextIn { words, .. } => 4 + 6 * words.len().ilog2(),
            Self::TextLike { pattern, .. } => {
                let pieces = u32::try_from(pattern.middle.len()).unwrap_or(u32::MAX);
                pieces.saturating_mul(20).saturating_add(5)
            }
            Self::TextSame(_, _) => 4,
            _ => 2,
        }
    }
}

fn contains(words: &[Box<str>], text: &str) -> bool {
    if words.len() <= LINEAR_WORDS_MAX {
        words.iter().any(|word| same(word, text))
    } else {
        words.binary_search_by(|word| (**word).cmp(text)).is_ok()
    }
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let joined = |f: &mut fmt::Formatter<'_>, tests: &[Test], word: &str| {
            f.write_str("(")?;
            for (at, test) in tests.iter().enumerate() {
                if at > 0 {
                    write!(f, " {word} ")?;
                }
                write!(f, "{test}")?;
            }
            f.write_str(")")
        };
        let words =
            |f: &mut fmt::Formatter<'_>, slot: Slot, words: &mut dyn Iterator<Item = &str>| {
                let words: Vec<&str> = words.collect();
                if let [one] = words.as_slice() {
                    write!(f, "{slot} == {one:?}")
                } else {
                    write!(f, "{words:?}.contains({slot})")
                }
            };
        match self {
            Self::Always => f.write_str("true"),
            Self::Never => f.write_str("false"),
            Self::All(tests) => joined(f, tests, "&&"),
            Self::Any(tests) => joined(f, tests, "||"),
            Self::Not(test) => write!(f, "!({test})"),
            Self::If(branches) => {
                let [condition, then, otherwise] = &**branches;
                write!(f, "(if {condition} then {then} else {otherwise})")
            }
            Self::Has(slot) => write!(f, "context has {}", slot.name()),
            Self::Flag(slot) => write!(f, "{slot}"),
            Self::TextIn { slot, words: texts } => {
                words(f, *slot, &mut texts.iter().map(|word| &**word))
            }
            Self::TextLike { slot, pattern } => write!(f, "{slot} like {pattern}"),
            Self::TextSame(a, b) | Self::LongSame(a, b) => write!(f, "{a} == {b}"),
            Self::WordIn { slot, mask } => words(
                f,
                *slot,
                &mut slot
                    .words()
                    .iter()
                    .enumerate()
                    .filter(|(code, _)| mask >> code & 1 == 1)
                    .map(|(_, word)| *word),
            ),
            Self::LongIn { slot, low, high } if low == high => write!(f, "{slot} == {low}"),
            Self::LongIn {
                slot,
                low: i64::MIN,
                high,
            } => write!(f, "{slot} <= {high}"),
            Self::LongIn {
                slot,
                low,
                high: i64::MAX,
            } => write!(f, "{slot} >= {low}"),
            Self::LongIn { slot, low, high } => write!(f, "({slot} >= {low} && {slot} <= {high})"),
            Self::LongLess(a, b) => write!(f, "{a} < {b}"),
            Self::SourceIn(network) => write!(f, "context.source.isInRange(ip(\"{network}\"))"),
            Self::SourceIsV4 => f.write_str("context.source.isIpv4()"),
            Self::SourceIsLoopback => f.write_str("context.source.isLoopback()"),
            Self::SourceIsMulticast => f.write_str("context.source.isMulticast()"),
        }
    }
}

/// A policy's place in its text, from 0; [`Table::policy`] has its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyIndex(pub u32);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Effect {
    Permit,
    Forbid,
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Permit => "permit",
            Self::Forbid => "forbid",
        })
    }
}

/// What authority says. Only [`Verdict::Permit`] lets an action pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    Permit {
        policy: PolicyIndex,
    },
    /// A forbid wins over any permit.
    Forbid {
        policy: PolicyIndex,
    },
    /// No policy permits it.
    NoPermit,
    Unfit(Unfit),
}

/// Why a request could not be judged, and so is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    /// Not in the release that was compiled.
    Strategy,
    Account,
    /// The action must say this and does not.
    Missing(Slot),
    /// A bug of ours: a rule read what its policy had not asked for. It would have been skipped; we refuse.
    Unread {
        policy: PolicyIndex,
        slot: Slot,
    },
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Strategy => f.write_str("the strategy is not in the release"),
            Self::Account => f.write_str("the account is not in the release"),
            Self::Missing(slot) => write!(f, "the action does not say {slot}"),
            Self::Unread { policy, slot } => {
                write!(
                    f,
                    "policy {} reads {slot}, which is absent; please report this",
                    policy.0
                )
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Rule {
    policy: PolicyIndex,
    test: u32,
}

/// The rules of one effect in one cell.
#[derive(Debug, Default)]
struct Rules {
    /// Looked at one after the other; those without a condition first.
    each: Box<[Rule]>,
    keyed: Option<Keyed>,
    /// Of looking at them all.
    cost_ns: u32,
}

/// Rules that ask for one text of `slot` each, found by that text.
#[derive(Debug)]
struct Keyed {
    slot: Slot,
    by_word: Map<Box<str>, Box<[Rule]>>,
}

#[derive(Debug, Default)]
struct Cell {
    forbids: Rules,
    permits: Rules,
}

/// The authority of one release. Plain data; it does not change.
#[derive(Debug)]
pub struct Table {
    policies: Box<[(Box<str>, Effect)]>,
    /// Sorted; with `accounts`, the axes of `pairs`.
    strategies: Box<[StrategyId]>,
    accounts: Box<[AccountId]>,
    /// For each strategy and account its row.
    pairs: Box<[u32]>,
    /// Groups of policies: those about everybody, about a desk, about one strategy. Many rows share a group.
    rows: Box<[Box<[u32]>]>,
    /// For each kind of action the group's cell.
    groups: Box<[[u32; KINDS]]>,
    cells: Box<[Cell]>,
    tests: Box<[Test]>,
    required: [u32; KINDS],
}

impl Table {
    /// A table in which nothing is permitted.
    #[must_use]
    pub fn empty() -> Self {
        Builder::new(Vec::new(), Vec::new(), Vec::new()).finish()
    }

    /// Judges one action. Unknown strategies and accounts, and facts that are missing, are refused.
    pub fn evaluate(
        &self,
        strategy: StrategyId,
        account: AccountId,
        kind: ActionKind,
        facts: &Facts<'_>,
    ) -> Verdict {
        self.judge(strategy, account, kind, facts)
            .unwrap_or_else(Verdict::Unfit)
    }

    fn judge(
        &self,
        strategy: StrategyId,
        account: AccountId,
        kind: ActionKind,
        facts: &Facts<'_>,
    ) -> Result<Verdict, Unfit> {
        let row = self.row(strategy, account)?;
        self.complete(kind, facts)?;
        for group in row {
            if let Some(policy) = self.first(&self.cell(*group, kind)?.forbids, facts)? {
                return Ok(Verdict::Forbid { policy });
            }
        }
        for group in row {
            if let Some(policy) = self.first(&self.cell(*group, kind)?.permits, facts)? {
                return Ok(Verdict::Permit { policy });
            }
        }
        Ok(Verdict::NoPermit)
    }

    /// Every policy that decided: all forbids that hold, else all permits that hold. For explanations and the oracle;
    /// [`Table::evaluate`] stops at the first.
    pub fn deciding(
        &self,
        strategy: StrategyId,
        account: AccountId,
        kind: ActionKind,
        facts: &Facts<'_>,
    ) -> Result<Vec<PolicyIndex>, Unfit> {
        let row = self.row(strategy, account)?;
        self.complete(kind, facts)?;
        let (mut forbids, mut permits) = (Vec::new(), Vec::new());
        for group in row {
            let cell = self.cell(*group, kind)?;
            self.all(&cell.forbids, facts, &mut forbids)?;
            self.all(&cell.permits, facts, &mut permits)?;
        }
        let mut deciding = if forbids.is_empty() { permits } else { forbids };
        deciding.sort_unstable();
        Ok(deciding)
    }

    /// What is left of `policy` for this strategy, account and kind: `None` if it cannot apply.
    #[must_use]
    pub fn residual(
        &self,
        strategy: StrategyId,
        account: AccountId,
        kind: ActionKind,
        policy: PolicyIndex,
    ) -> Option<&Test> {
        let row = self.row(strategy, account).ok()?;
        row.iter()
            .filter_map(|group| self.cell(*group, kind).ok())
            .flat_map(|cell| cell.forbids.iter().chain(cell.permits.iter()))
            .find(|rule| rule.policy == policy)
            .and_then(|rule| self.tests.get(rule.test as usize))
    }

    /// A policy's `@id` and effect.
    #[must_use]
    pub fn policy(&self, index: PolicyIndex) -> Option<(&str, Effect)> {
        self.policies
            .get(index.0 as usize)
            .map(|(name, effect)| (&**name, *effect))
    }

    pub fn policies(&self) -> impl Iterator<Item = (PolicyIndex, &str, Effect)> {
        (0..)
            .zip(&self.policies)
            .map(|(at, (name, effect))| (PolicyIndex(at), &**name, *effect))
    }

    /// The name of the policy that decided, for the refusal and the entry.
    #[must_use]
    pub fn decided_by(&self, verdict: &Verdict) -> Option<&str> {
        match verdict {
            Verdict::Permit { policy } | Verdict::Forbid { policy } => {
                self.policy(*policy).map(|(name, _)| name)
            }
            Verdict::NoPermit | Verdict::Unfit(_) => None,
        }
    }

    #[must_use]
    pub fn size(&self) -> Size {
        Size {
            policies: self.policies.len(),
            strategies: self.strategies.len(),
            accounts: self.accounts.len(),
            rows: self.rows.len(),
            groups: self.groups.len(),
            cells: self.cells.len(),
            keyed_cells: self
                .cells
                .iter()
                .filter(|cell| cell.permits.keyed.is_some() || cell.forbids.keyed.is_some())
                .count(),
            tests: self.tests.len(),
        }
    }

    /// What a decision costs at most, in about nanoseconds, and where. `authority` refuses policies that cost too much.
    #[must_use]
    pub fn dearest(&self) -> Option<Dearest> {
        let cost = |row: &[u32], kind| -> u32 {
            let cells = row.iter().filter_map(|group| self.cell(*group, kind).ok());
            cells.fold(0, |sum, cell| {
                sum.saturating_add(cell.forbids.cost_ns)
                    .saturating_add(cell.permits.cost_ns)
            })
        };
        let costs = self
            .rows
            .iter()
            .enumerate()
            .flat_map(|(at, row)| ActionKind::ALL.map(|kind| (cost(row, kind), at, kind)));
        let (cost_ns, row, kind) = costs.max_by_key(|(cost, _, _)| *cost)?;
        let pair = self.pairs.iter().position(|of| *of as usize == row)?;
        Some(Dearest {
            strategy: *self.strategies.get(pair / self.accounts.len())?,
            account: *self.accounts.get(pair % self.accounts.len())?,
            kind,
            cost_ns,
        })
    }

    fn row(&self, strategy: StrategyId, account: AccountId) -> Result<&[u32], Unfit> {
        let at = self
            .strategies
            .binary_search(&strategy)
            .map_err(|_| Unfit::Strategy)?;
        let account = self
            .accounts
            .binary_search(&account)
            .map_err(|_| Unfit::Account)?;
        let row = self
            .pairs
            .get(at * self.accounts.len() + account)
            .ok_or(Unfit::Strategy)?;
        let row = self.rows.get(*row as usize).ok_or(Unfit::Strategy)?;
        Ok(row)
    }

    /// Refuses an action that does not say what it must.
    fn complete(&self, kind: ActionKind, facts: &Facts<'_>) -> Result<(), Unfit> {
        let required = self.required.get(kind as usize).copied();
        let missing = required.unwrap_or(u32::MAX) & !facts.present_mask();
        if missing == 0 {
            return Ok(());
        }
        let slot = Slot::ALL.get(missing.trailing_zeros() as usize).copied();
        Err(Unfit::Missing(slot.unwrap_or(Slot::Source)))
    }

    fn cell(&self, group: u32, kind: ActionKind) -> Result<&Cell, Unfit> {
        let cells = self.groups.get(group as usize);
        cells
            .and_then(|cells| self.cells.get(*cells.get(kind as usize)? as usize))
            .ok_or(Unfit::Strategy)
    }

    fn first(&self, rules: &Rules, facts: &Facts<'_>) -> Result<Option<PolicyIndex>, Unfit> {
        for rule in rules.for_facts(facts) {
            if self.holds(*rule, facts)? {
                return Ok(Some(rule.policy));
            }
        }
        Ok(None)
    }

    fn all(
        &self,
        rules: &Rules,
        facts: &Facts<'_>,
        found: &mut Vec<PolicyIndex>,
    ) -> Result<(), Unfit> {
        for rule in rules.for_facts(facts) {
            if self.holds(*rule, facts)? {
                found.push(rule.policy);
            }
        }
        Ok(())
    }

    fn holds(&self, rule: Rule, facts: &Facts<'_>) -> Result<bool, Unfit> {
        // A test that is not there cannot be: the builder gives their numbers out. It would refuse.
        let test = self.tests.get(rule.test as usize);
        let holds = test.map_or(Err(Slot::Source), |test| test.holds(facts));
        holds.map_err(|slot| Unfit::Unread {
            policy: rule.policy,
            slot,
        })
    }
}

/// The decision of a [`Table`] that costs most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dearest {
    pub strategy: StrategyId,
    pub account: AccountId,
    pub kind: ActionKind,
    pub cost_ns: u32,
}

/// How much a [`Table`] holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    pub policies: usize,
    pub strategies: usize,
    pub accounts: usize,
    pub rows: usize,
    pub groups: usize,
    pub cells: usize,
    /// Those that are searched by a text.
    pub keyed_cells: usize,
    pub tests: usize,
}

impl Rules {
    fn for_facts<'a>(&'a self, facts: &Facts<'_>) -> impl Iterator<Item = &'a Rule> {
        let keyed = self
            .keyed
            .as_ref()
            .and_then(|keyed| keyed.by_word.get(facts.text(keyed.slot)?))
            .map_or::<&[Rule], _>(&[], |rules| rules);
        self.each.iter().chain(keyed)
    }

    fn iter(&self) -> impl Iterator<Item = &Rule> {
        let keyed = self
            .keyed
            .iter()
            .flat_map(|keyed| keyed.by_word.values())
            .flatten();
        self.each.iter().chain(keyed)
    }

    fn new(mut rules: Vec<Rule>, kind: ActionKind, tests: &[Test]) -> Self {
        let test = |rule: &Rule| tests.get(rule.test as usize);
        let always = |rule: &Rule| test(rule) == Some(&Test::Always);
        rules.sort_by_key(|rule| (!always(rule), rule.policy));
        let cost = |rules: &[Rule]| {
            let costs = rules.iter().filter_map(test).map(Test::cost_ns);
            costs.fold(0, |sum, cost| {
                u32::saturating_add(sum, cost).saturating_add(RULE_NS)
            })
        };
        let texts = slots(kind)
            .iter()
            .filter(|(slot, _)| slot.slot_type() == SlotType::Text);
        let best = texts
            .map(|(slot, presence)| {
                let keys =
                    |rule: &&Rule| test(rule).is_some_and(|t| t.keys(*slot, *presence).is_some());
                (rules.iter().filter(keys).count(), *slot, *presence)
            })
            .max_by_key(|(count, _, _)| *count)
            .filter(|(count, _, _)| *count >= KEYED_RULES_MIN);
        let Some((_, slot, presence)) = best else {
            return Self {
                cost_ns: cost(&rules),
                each: rules.into(),
                keyed: None,
            };
        };
        let mut by_word: Map<Box<str>, Vec<Rule>> = Map::default();
        rules.retain(
            |rule| match test(rule).and_then(|test| test.keys(slot, presence)) {
                None => true,
                Some(words) => {
                    for word in words {
                        by_word.entry(word.clone()).or_default().push(*rule);
                    }
                    false
                }
            },
        );
        let by_word: Map<Box<str>, Box<[Rule]>> = by_word
            .into_iter()
            .map(|(word, rules)| (word, rules.into()))
            .collect();
        let longest = by_word.values().map(|rules| cost(rules)).max();
        Self {
            cost_ns: cost(&rules)
                .saturating_add(longest.unwrap_or(0))
                .saturating_add(LOOK_UP_NS),
            each: rules.into(),
            keyed: Some(Keyed { slot, by_word }),
        }
    }
}

/// A test's number in the table under construction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TestId(u32);
/// A group's number in the table under construction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct GroupId(u32);
/// A row's number in the table under construction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowId(u32);

/// Makes a [`Table`]. Equal tests, cells and rows are held once.
#[derive(Debug)]
pub struct Builder {
    table: Table,
    pairs: Vec<u32>,
    rows: Vec<Box<[u32]>>,
    groups: Vec<[u32; KINDS]>,
    cells: Vec<Cell>,
    tests: Vec<Test>,
    test_ids: Map<Test, u32>,
    cell_ids: Map<(ActionKind, Vec<(PolicyIndex, TestId)>), u32>,
    row_ids: Map<Box<[u32]>, u32>,
    group_ids: Map<[u32; KINDS], u32>,
}

impl Builder {
    /// Every pair starts with a row in which nothing is permitted.
    #[must_use]
    pub fn new(
        policies: Vec<(Box<str>, Effect)>,
        mut strategies: Vec<StrategyId>,
        mut accounts: Vec<AccountId>,
    ) -> Self {
        strategies.sort_unstable();
        strategies.dedup();
        accounts.sort_unstable();
        accounts.dedup();
        let mut required = [0; KINDS];
        for (place, kind) in required.iter_mut().zip(ActionKind::ALL) {
            *place = required_mask(kind);
        }
        let pairs = vec![0; strategies.len().saturating_mul(accounts.len())];
        Self {
            table: Table {
                policies: policies.into(),
                strategies: strategies.into(),
                accounts: accounts.into(),
                pairs: Box::default(),
                rows: Box::default(),
                groups: Box::default(),
                cells: Box::default(),
                tests: Box::default(),
                required,
            },
            pairs,
            rows: vec![Box::default()],
            groups: vec![[0; KINDS]],
            cells: vec![Cell::default()],
            tests: Vec::new(),
            test_ids: Map::default(),
            cell_ids: Map::default(),
            row_ids: Map::from_iter([(Box::default(), 0)]),
            group_ids: Map::from_iter([([0; KINDS], 0)]),
        }
    }

    pub fn test(&mut self, test: &Test) -> TestId {
        if let Some(id) = self.test_ids.get(test) {
            return TestId(*id);
        }
        let id = id_of(self.tests.len());
        self.tests.push(test.clone());
        self.test_ids.insert(test.clone(), id);
        TestId(id)
    }

    /// `rules` gives for each kind of action the policies that can apply, with what is left of each.
    pub fn group(
        &mut self,
        mut rules: impl FnMut(ActionKind) -> Vec<(PolicyIndex, TestId)>,
    ) -> GroupId {
        let mut group = [0; KINDS];
        for (place, kind) in group.iter_mut().zip(ActionKind::ALL) {
            *place = self.cell(kind, rules(kind));
        }
        let next = id_of(self.groups.len());
        let id = *self.group_ids.entry(group).or_insert(next);
        if id == next {
            self.groups.push(group);
        }
        GroupId(id)
    }

    /// All that is looked at for a pair. Each group is looked up by itself, so they should be few.
    pub fn row(&mut self, groups: &[GroupId]) -> RowId {
        let row: Box<[u32]> = groups
            .iter()
            .map(|group| group.0)
            .filter(|group| *group != 0)
            .collect();
        let next = id_of(self.rows.len());
        let id = *self.row_ids.entry(row.clone()).or_insert(next);
        if id == next {
            self.rows.push(row);
        }
        RowId(id)
    }

    /// Gives a pair its row. Unknown pairs are left alone: they are refused when they are asked for.
    pub fn place(&mut self, strategy: StrategyId, account: AccountId, row: RowId) {
        let (Ok(at), Ok(account)) = (
            self.table.strategies.binary_search(&strategy),
            self.table.accounts.binary_search(&account),
        ) else {
            return;
        };
        if let Some(pair) = self.pairs.get_mut(at * self.table.accounts.len() + account) {
            *pair = row.0;
        }
    }

    #[must_use]
    pub fn finish(self) -> Table {
        Table {
            pairs: self.pairs.into(),
            rows: self.rows.into(),
            groups: self.groups.into(),
            cells: self.cells.into(),
            tests: self.tests.into(),
            ..self.table
        }
    }

    fn cell(&mut self, kind: ActionKind, mut rules: Vec<(PolicyIndex, TestId)>) -> u32 {
        rules.retain(|(_, test)| self.tests.get(test.0 as usize) != Some(&Test::Never));
        if rules.is_empty() {
            return 0;
        }
        rules.sort_unstable();
        if let Some(id) = self.cell_ids.get(&(kind, rules.clone())) {
            return *id;
        }
        let of = |effect: Effect| -> Vec<Rule> {
            rules
                .iter()
                .filter(|(policy, _)| {
                    // A policy without an entry forbids: it cannot be, and would refuse.
                    let known = self
                        .table
                        .policies
                        .get(policy.0 as usize)
                        .map_or(Effect::Forbid, |(_, e)| *e);
                    known == effect
                })
                .map(|(policy, test)| Rule {
                    policy: *policy,
                    test: test.0,
                })
                .collect()
        };
        let cell = Cell {
            forbids: Rules::new(of(Effect::Forbid), kind, &self.tests),
            permits: Rules::new(of(Effect::Permit), kind, &self.tests),
        };
        let id = id_of(self.cells.len());
        self.cells.push(cell);
        self.cell_ids.insert((kind, rules), id);
        id
    }
}

/// Beyond `u32` the number points nowhere, and what points nowhere refuses. [`PAIRS_MAX`] keeps real tables far below.
fn id_of(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    #[test]
    fn networks_are_read_strictly() {
        for good in [
            "127.0.0.1/32",
            "10.0.0.0/8",
            "0.0.0.0/0",
            "::1/128",
            "fd00::/8",
            "10.1.2.3",
            "::/0",
        ] {
            assert!(Network::parse(good).is_some(), "{good}");
        }
        for bad in [
            "",
            "10.0.0.1/8",
            "10.0.0.0/33",
            "10.0.0.0/+8",
            "localhost",
            "::1/129",
            "10.0.0.0/",
            "10.0.0.0/8/8",
        ] {
            assert!(Network::parse(bad).is_none(), "{bad}");
        }
    }

    const S: StrategyId = StrategyId(7);
    const A: AccountId = AccountId(3);

    fn facts() -> Facts<'static> {
        Facts {
            market: Some("BTCUSDT"),
            market_kind: Some(MarketKind::Spot),
            side: Some(Side::Buy),
            order_type: Some(OrderType::Limit),
            value: Some(1_000_000),
            reduces: Some(false),
            post_only: Some(false),
            borrows: Some(false),
            ..Facts::new(
                Ipv4Addr::new(10, 0, 0, 9).into(),
                Timestamp::from_ms(1_792_540_800_000),
                false,
            )
        }
    }

    fn table(rules: &[(Effect, Test)]) -> Table {
        let names = (0..)
            .zip(rules)
            .map(|(at, (effect, _)): (u32, _)| (format!("p{at}").into(), *effect))
            .collect();
        let mut builder = Builder::new(names, vec![S], vec![A]);
        let ids: Vec<_> = (0..)
            .zip(rules)
            .map(|(at, (_, test))| (PolicyIndex(at), builder.test(test)))
            .collect();
        let group = builder.group(|kind| {
            if kind == ActionKind::PlaceOrder {
                ids.clone()
            } else {
                Vec::new()
            }
        });
        let row = builder.row(&[group]);
        builder.place(S, A, row);
        builder.finish()
    }

    fn market(symbol: &str) -> Test {
        Test::TextIn {
            slot: Slot::Market,
            words: [symbol.into()].into(),
        }
    }

    #[test]
    fn nothing_is_permitted_by_default_and_a_forbid_wins() {
        let place = ActionKind::PlaceOrder;
        assert_eq!(
            table(&[]).evaluate(S, A, place, &facts()),
            Verdict::NoPermit
        );
        let t = table(&[
            (Effect::Permit, Test::Always),
            (Effect::Forbid, market("ETHUSDT")),
        ]);
        assert_eq!(
            t.evaluate(S, A, place, &facts()),
            Verdict::Permit {
                policy: PolicyIndex(0)
            }
        );
        let eth = Facts {
            market: Some("ETHUSDT"),
            ..facts()
        };
        assert_eq!(
            t.evaluate(S, A, place, &eth),
            Verdict::Forbid {
                policy: PolicyIndex(1)
            }
        );
        assert_eq!(t.decided_by(&t.evaluate(S, A, place, &eth)), Some("p1"));
        assert_eq!(
            t.evaluate(S, A, ActionKind::TestOrder, &facts()),
            Verdict::NoPermit
        );
    }

    #[test]
    fn who_is_not_in_the_release_is_refused() {
        let t = table(&[(Effect::Permit, Test::Always)]);
        let place = ActionKind::PlaceOrder;
        assert_eq!(
            t.evaluate(StrategyId(8), A, place, &facts()),
            Verdict::Unfit(Unfit::Strategy)
        );
        assert_eq!(
            t.evaluate(S, AccountId(4), place, &facts()),
            Verdict::Unfit(Unfit::Account)
        );
        assert_eq!(
            Table::empty().evaluate(S, A, place, &facts()),
            Verdict::Unfit(Unfit::Strategy)
        );
    }

    #[test]
    fn a_missing_fact_refuses_and_is_not_skipped() {
        let t = table(&[(Effect::Permit, Test::Always)]);
        let missing = Facts {
            value: None,
            ..facts()
        };
        assert_eq!(
            t.evaluate(S, A, ActionKind::PlaceOrder, &missing),
            Verdict::Unfit(Unfit::Missing(Slot::Value))
        );
        // A forbid that reads an absent optional fact without asking for it.
        let unguarded = Test::WordIn {
            slot: Slot::TimeInForce,
            mask: 1,
        };
        let t = table(&[(Effect::Permit, Test::Always), (Effect::Forbid, unguarded)]);
        assert_eq!(
            t.evaluate(S, A, ActionKind::PlaceOrder, &facts()),
            Verdict::Unfit(Unfit::Unread {
                policy: PolicyIndex(1),
                slot: Slot::TimeInForce
            })
        );
    }

    #[test]
    fn rules_found_by_market_answer_as_rules_in_a_row() {
        let symbols: Vec<String> = (0..40).map(|at| format!("M{at}")).collect();
        let rules: Vec<_> = symbols
            .iter()
            .enumerate()
            .map(|(at, symbol)| {
                let effect = if at % 3 == 0 {
                    Effect::Forbid
                } else {
                    Effect::Permit
                };
                let value = Test::LongIn {
                    slot: Slot::Value,
                    low: i64::MIN,
                    high: 2_000_000,
                };
                (effect, Test::All([market(symbol), value].into()))
            })
            .collect();
        let t = table(&rules);
        assert!(
            t.cells
                .iter()
                .any(|cell| cell.permits.keyed.is_some() && cell.forbids.keyed.is_some())
        );
        for (at, symbol) in (0..).zip(&symbols) {
            for value in [1, 3_000_000] {
                let facts = Facts {
                    market: Some(symbol),
                    value: Some(value),
                    ..facts()
                };
                let expected = match (value, at % 3) {
                    (3_000_000, _) => Verdict::NoPermit,
                    (_, 0) => Verdict::Forbid {
                        policy: PolicyIndex(at),
                    },
                    _ => Verdict::Permit {
                        policy: PolicyIndex(at),
                    },
                };
                assert_eq!(t.evaluate(S, A, ActionKind::PlaceOrder, &facts), expected);
            }
            assert!(
                t.residual(S, A, ActionKind::PlaceOrder, PolicyIndex(at))
                    .is_some()
            );
        }
        let other = Facts {
            market: Some("M40"),
            ..facts()
        };
        assert_eq!(
            t.evaluate(S, A, ActionKind::PlaceOrder, &other),
            Verdict::NoPermit
        );
    }

    #[test]
    fn patterns_match_as_a_shell_would() {
        let pattern = |head: &str, middle: &[&str], tail: Option<&str>| Pattern {
            head: head.into(),
            middle: middle.iter().map(|piece| (*piece).into()).collect(),
            tail: tail.map(Into::into),
        };
        assert!(pattern("BTC", &[], Some("")).matches("BTCUSDT"));
        assert!(!pattern("BTC", &[], None).matches("BTCUSDT"));
        assert!(pattern("", &[], Some("USDT")).matches("币安人生USDT"));
        assert!(!pattern("aba", &[], Some("aba")).matches("aba"));
        assert!(pattern("a", &["b", "b"], Some("c")).matches("axbxbxc"));
        assert!(!pattern("a", &["b", "b"], Some("c")).matches("axbxc"));
        assert_eq!(pattern("a*", &["b"], Some("")).to_string(), r#""a\**b*""#);
    }

    #[test]
    fn networks_hold_their_addresses_and_no_others() {
        let net = |address: &str, prefix| Network {
            address: address.parse().unwrap(),
            prefix,
        };
        assert!(net("10.1.2.3", 8).contains("10.255.0.1".parse().unwrap()));
        assert!(!net("10.1.2.3", 32).contains("10.1.2.4".parse().unwrap()));
        assert!(net("10.1.2.3", 0).contains("1.1.1.1".parse().unwrap()));
        assert!(!net("::", 0).contains("1.1.1.1".parse().unwrap()));
        assert!(net("fd00::", 8).contains("fdff::1".parse().unwrap()));
        let mapped = Facts::new(
            Ipv4Addr::new(10, 0, 0, 1).to_ipv6_mapped().into(),
            Timestamp(0),
            false,
        );
        assert_eq!(mapped.source(), IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)));
        assert!(
            Facts::new(Ipv6Addr::LOCALHOST.into(), Timestamp(0), false)
                .source()
                .is_ipv6()
        );
    }

    #[test]
    fn times_fall_on_their_days() {
        let at = |seconds: u64| {
            Facts::new(
                Ipv4Addr::LOCALHOST.into(),
                Timestamp::from_ms(seconds * 1000),
                false,
            )
        };
        // 1970-01-01T00:00:00Z, a Thursday; 2024-02-29T23:59:59Z, a Thursday; 2026-11-22T00:01:00Z, a Sunday.
        for (seconds, minute, weekday) in
            [(0, 0, 4), (1_709_251_199, 1439, 4), (1_795_305_660, 1, 7)]
        {
            assert_eq!(
                (at(seconds).minute_of_day, at(seconds).weekday),
                (minute, weekday),
                "{seconds}"
            );
        }
    }

    #[test]
    fn slots_are_listed_once_and_words_have_codes() {
        for (at, slot) in Slot::ALL.into_iter().enumerate() {
            assert_eq!(slot as usize, at);
            assert_eq!(Slot::by_name(slot.name()), Some(slot));
            assert_eq!(slot.slot_type() == SlotType::Word, !slot.words().is_empty());
            assert!(slot.words().len() <= 8);
        }
        for (at, kind) in ActionKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, at);
        }
        // The words are those of `--json`.
        let json = |text: String| text.trim_matches('"').to_owned();
        let mut f = facts();
        for kind in [
            MarketKind::Spot,
            MarketKind::Margin,
            MarketKind::UsdFutures,
            MarketKind::CoinFutures,
            MarketKind::Option,
        ] {
            f.market_kind = Some(kind);
            assert_eq!(
                f.word(Slot::MarketKind).unwrap(),
                json(serde_json::to_string(&kind).unwrap())
            );
        }
        for kind in [
            OrderType::Limit,
            OrderType::Market,
            OrderType::LimitMaker,
            OrderType::StopLoss,
            OrderType::StopLossLimit,
            OrderType::TakeProfit,
            OrderType::TakeProfitLimit,
            OrderType::TrailingStop,
        ] {
            f.order_type = Some(kind);
            assert_eq!(
                f.word(Slot::OrderType).unwrap(),
                json(serde_json::to_string(&kind).unwrap())
            );
        }
        for reads in [
            ReadOf::Orders,
            ReadOf::Trades,
            ReadOf::Balances,
            ReadOf::Account,
        ] {
            f.reads = Some(reads);
            assert_eq!(
                f.word(Slot::Reads).unwrap(),
                json(serde_json::to_string(&reads).unwrap())
            );
        }
        for time in [
            TimeInForce::Gtc,
            TimeInForce::Ioc,
            TimeInForce::Fok,
            TimeInForce::Gtd,
        ] {
            f.time_in_force = Some(time);
            assert_eq!(
                f.word(Slot::TimeInForce).unwrap(),
                json(serde_json::to_string(&time).unwrap())
            );
        }
        for side in [Side::Buy, Side::Sell] {
            f.side = Some(side);
            assert_eq!(
                f.word(Slot::Side).unwrap(),
                json(serde_json::to_string(&side).unwrap())
            );
        }
    }
}
