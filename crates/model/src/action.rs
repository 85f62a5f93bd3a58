//! What a request asks, whatever the venue calls it. One request may carry several actions (a batch, cancel-replace, an
//! order list with its legs): each is judged, and the request passes whole or not at all.

use crate::id::{Name, OrderId, Timestamp};
use crate::number::{Amount, Price, Quantity};
use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;
use std::fmt;

macro_rules! token {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub SmolStr);

        impl $name {
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.into())
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text.into())
            }
        }

        impl<C> Encode<C> for $name {
            fn encode<W: minicbor::encode::Write>(
                &self,
                e: &mut minicbor::Encoder<W>,
                _: &mut C,
            ) -> Result<(), minicbor::encode::Error<W::Error>> {
                e.str(&self.0)?.ok()
            }
        }

        impl<'b, C> Decode<'b, C> for $name {
            fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
                d.str().map(Self::from)
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                <std::borrow::Cow<'de, str>>::deserialize(deserializer).map(|text| Self(text.into()))
            }
        }
    )*};
}

token!(
    /// A venue's name for a market, exactly its bytes (`BTCUSDT`, `币安人生USDT`).
    Symbol,
    /// A venue's name for an asset (`BTC`).
    Asset,
    /// The id that the program gave an order or an order list.
    ClientOrderId,
);

/// Which of a venue's markets a symbol belongs to.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    Encode,
    Decode,
    Serialize,
    Deserialize,
)]
#[cbor(index_only)]
#[serde(rename_all = "snake_case")]
pub enum MarketKind {
    #[default]
    #[n(0)]
    Spot,
    #[n(1)]
    Margin,
    /// Linear contracts: worth what they are contracts on, times the price, in quote units. At every venue.
    #[n(2)]
    UsdFutures,
    /// Inverse contracts: worth a fixed amount of quote, settled in the coin. At every venue.
    #[n(3)]
    CoinFutures,
    #[n(4)]
    Option,
}

impl MarketKind {
    const ALL: [Self; 5] = [
        Self::Spot,
        Self::Margin,
        Self::UsdFutures,
        Self::CoinFutures,
        Self::Option,
    ];

    /// The word in mandates, policies and `--json`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Spot => "spot",
            Self::Margin => "margin",
            Self::UsdFutures => "usd_futures",
            Self::CoinFutures => "coin_futures",
            Self::Option => "option",
        }
    }

    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// What is traded is a contract: it is held as a position of its own, long or short.
    #[must_use]
    pub const fn is_future(self) -> bool {
        matches!(self, Self::UsdFutures | Self::CoinFutures)
    }

    /// Sizes are amounts of quote, and what is gained is the coin.
    #[must_use]
    pub const fn is_inverse(self) -> bool {
        matches!(self, Self::CoinFutures)
    }
}

/// A market: of a venue, of a kind, by the venue's name for it. In text `[venue/][kind:]SYMBOL`, as in a mandate.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MarketId {
    pub symbol: Symbol,
    pub kind: MarketKind,
    pub venue: Name,
}

impl fmt::Display for MarketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/", self.venue)?;
        if self.kind != MarketKind::Spot {
            write!(f, "{}:", self.kind.name())?;
        }
        write!(f, "{}", self.symbol)
    }
}

impl Serialize for MarketId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize,
)]
#[cbor(index_only)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    #[n(0)]
    Buy,
    #[n(1)]
    Sell,
}

#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize,
)]
#[cbor(index_only)]
#[serde(rename_all = "snake_case")]
pub enum OrderType {
    #[n(0)]
    Limit,
    #[n(1)]
    Market,
    /// Post-only limit.
    #[n(2)]
    LimitMaker,
    /// Market order when the stop price trades.
    #[n(3)]
    StopLoss,
    #[n(4)]
    StopLossLimit,
    #[n(5)]
    TakeProfit,
    #[n(6)]
    TakeProfitLimit,
    /// Market order when the price has turned by the trailing distance; `stop_price` is where it begins to follow.
    #[n(7)]
    TrailingStop,
}

#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize,
)]
#[cbor(index_only)]
#[serde(rename_all = "snake_case")]
pub enum TimeInForce {
    #[n(0)]
    Gtc,
    #[n(1)]
    Ioc,
    #[n(2)]
    Fok,
    /// Until a time that the order names.
    #[n(3)]
    Gtd,
}

/// In hedge mode a market has two positions, and an order says which one it is for.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize,
)]
#[cbor(index_only)]
#[serde(rename_all = "snake_case")]
pub enum PositionSide {
    #[n(0)]
    Long,
    #[n(1)]
    Short,
}

/// What an order is in its order list.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize,
)]
#[cbor(index_only)]
#[serde(rename_all = "snake_case")]
pub enum Leg {
    /// Rests at once; the pending legs start when it has filled.
    #[n(0)]
    Working,
    /// Starts when the working leg has filled. Its quantity may be the working leg's outcome.
    #[n(1)]
    Pending,
    /// The leg above the price; the first fill of either cancels the other.
    #[n(2)]
    Above,
    #[n(3)]
    Below,
    #[n(4)]
    PendingAbove,
    #[n(5)]
    PendingBelow,
}

/// One order as it would stand in the book.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct Order {
    #[n(0)]
    pub market: MarketKind,
    #[n(1)]
    pub symbol: Symbol,
    #[n(2)]
    pub side: Side,
    #[n(3)]
    #[serde(rename = "type")]
    pub order_type: OrderType,
    #[n(4)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_in_force: Option<TimeInForce>,
    /// In the venue's own unit of the market: base units, or contracts. Absent where the order names what to spend, takes its
    /// working leg's outcome (OPO), or closes the position.
    #[n(5)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantity: Option<Quantity>,
    /// Quote units to spend or receive (market orders).
    #[n(6)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quote_quantity: Option<Amount>,
    #[n(7)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<Price>,
    #[n(8)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_price: Option<Price>,
    /// Basis points that a trailing stop follows by.
    #[n(9)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trailing_delta: Option<u32>,
    #[n(10)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iceberg_quantity: Option<Quantity>,
    #[n(11)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_order_id: Option<ClientOrderId>,
    /// The list's own client id, the same on each leg.
    #[n(12)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub list_client_order_id: Option<ClientOrderId>,
    #[n(13)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leg: Option<Leg>,
    /// The venue itself refuses to let this order grow a position.
    #[n(14)]
    #[serde(default, skip_serializing_if = "is_false")]
    pub reduce_only: bool,
    /// Borrows to fill (margin `sideEffectType`, automatic borrow).
    #[n(15)]
    #[serde(default, skip_serializing_if = "is_false")]
    pub borrows: bool,
    /// The price is pegged to the book, so `price` is absent and unknown beforehand.
    #[n(16)]
    #[serde(default, skip_serializing_if = "is_false")]
    pub pegged: bool,
    /// The venue places it only if the cancel before it in the same request took effect.
    #[n(17)]
    #[serde(default, skip_serializing_if = "is_false")]
    pub replaces: bool,
    /// Which of the two positions of a market in hedge mode; absent: the only one.
    #[n(18)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position_side: Option<PositionSide>,
    /// Closes the whole position, so it has no quantity; the venue itself refuses to let it open one.
    #[n(19)]
    #[cbor(default)]
    #[serde(default, skip_serializing_if = "is_false")]
    pub close_position: bool,
    /// It stands among the venue's conditional (algo) orders, which it numbers by themselves.
    #[n(20)]
    #[cbor(default)]
    #[serde(default, skip_serializing_if = "is_false")]
    pub algo: bool,
}

fn is_false(flag: &bool) -> bool {
    !*flag
}

/// Which order (or list) a request points at. At least one of the two is present.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Encode, Decode, Serialize, Deserialize)]
pub struct OrderRef {
    #[n(0)]
    pub market: MarketKind,
    #[n(1)]
    pub symbol: Symbol,
    #[n(2)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order_id: Option<OrderId>,
    #[n(3)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_order_id: Option<ClientOrderId>,
    /// The ids name an order list, not one order.
    #[n(4)]
    #[serde(default, skip_serializing_if = "is_false")]
    pub list: bool,
    /// The ids are of the venue's conditional (algo) orders, which it numbers by themselves.
    #[n(5)]
    #[cbor(default)]
    #[serde(default, skip_serializing_if = "is_false")]
    pub algo: bool,
}

/// A change to a resting order.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct Amend {
    #[n(0)]
    pub order: OrderRef,
    #[n(1)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantity: Option<Quantity>,
    #[n(2)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<Price>,
    #[n(3)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_client_order_id: Option<ClientOrderId>,
}

/// Something of value going somewhere: convert, borrow, transfer, withdraw.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode, Serialize, Deserialize)]
pub struct Movement {
    #[n(0)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asset: Option<Asset>,
    #[n(1)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<Amount>,
    /// An on-chain address, a user's number or mail, a sub-account, or a wallet of the same account.
    #[n(2)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    #[n(3)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    #[n(4)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memo: Option<String>,
    /// The wallet or account that it leaves.
    #[n(5)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// What is bought (convert).
    #[n(6)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_asset: Option<Asset>,
}

/// What a read shows: it decides whether the answer carries fills for the signer.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize,
)]
#[cbor(index_only)]
#[serde(rename_all = "snake_case")]
pub enum ReadOf {
    /// Orders, their states and amounts filled.
    #[n(0)]
    Orders,
    /// Trades (fills).
    #[n(1)]
    Trades,
    /// Balances and positions.
    #[n(2)]
    Balances,
    /// Anything else of the account.
    #[n(3)]
    Account,
}

/// What one part of a request asks. The names are those of docs/spec/authority.md.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(tag = "kind")]
pub enum Action {
    #[n(0)]
    Read(#[n(0)] Read),
    #[n(1)]
    PlaceOrder(#[n(0)] Order),
    /// Judged as the order it could become: on some venues the signature does not cover the path.
    #[n(2)]
    TestOrder(#[n(0)] Order),
    #[n(3)]
    AmendOrder(#[n(0)] Amend),
    #[n(4)]
    CancelOrder(#[n(0)] OrderRef),
    #[n(5)]
    CancelAll(#[n(0)] CancelAll),
    #[n(6)]
    Convert(#[n(0)] Movement),
    #[n(7)]
    Borrow(#[n(0)] Movement),
    #[n(8)]
    Repay(#[n(0)] Movement),
    #[n(9)]
    Invest(#[n(0)] Movement),
    #[n(10)]
    TransferInside(#[n(0)] Movement),
    #[n(11)]
    TransferOwn(#[n(0)] Movement),
    #[n(12)]
    TransferOut(#[n(0)] Movement),
    #[n(13)]
    Withdraw(#[n(0)] Movement),
    #[n(14)]
    DepositAddress(#[n(0)] Movement),
    #[n(15)]
    Configure(#[n(0)] Setting),
    #[n(16)]
    DeadMan(#[n(0)] Setting),
    #[n(17)]
    Rfq(#[n(0)] Movement),
    #[n(18)]
    Subaccount(#[n(0)] Setting),
    #[n(19)]
    ManageKeys(#[n(0)] Setting),
    /// Logs in, or opens a stream.
    #[n(20)]
    Session(#[n(0)] Setting),
    /// Public data; no account is involved.
    #[n(21)]
    Public(#[n(0)] Setting),
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct Read {
    #[n(0)]
    pub of: ReadOf,
    #[n(1)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub market: Option<MarketKind>,
    #[n(2)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub symbol: Option<Symbol>,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct CancelAll {
    #[n(0)]
    pub market: MarketKind,
    /// Absent: every symbol of the market.
    #[n(1)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub symbol: Option<Symbol>,
    /// Only what is settled in this asset.
    #[n(2)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settle: Option<Asset>,
}

/// What a `Configure` changes, where a mandate has a number for it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize,
)]
#[cbor(index_only)]
#[serde(rename_all = "snake_case")]
pub enum SettingKind {
    #[n(0)]
    Leverage,
    #[n(1)]
    MarginMode,
    #[n(2)]
    PositionMode,
}

impl SettingKind {
    /// The number's name in a mandate.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Leverage => "leverage",
            Self::MarginMode => "margin_mode",
            Self::PositionMode => "position_mode",
        }
    }
}

/// A change of settings, or a call without figures.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode, Serialize, Deserialize)]
pub struct Setting {
    #[n(0)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub symbol: Option<Symbol>,
    /// The figure set, if there is one (leverage).
    #[n(1)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    #[n(2)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub setting: Option<SettingKind>,
    #[n(3)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub market: Option<MarketKind>,
}

/// An [`Action`] without its figures: what authority and halts look at.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize,
)]
#[cbor(index_only)]
pub enum ActionKind {
    #[n(0)]
    Read,
    #[n(1)]
    PlaceOrder,
    #[n(2)]
    TestOrder,
    #[n(3)]
    AmendOrder,
    #[n(4)]
    CancelOrder,
    #[n(5)]
    CancelAll,
    #[n(6)]
    Convert,
    #[n(7)]
    Borrow,
    #[n(8)]
    Repay,
    #[n(9)]
    Invest,
    #[n(10)]
    TransferInside,
    #[n(11)]
    TransferOwn,
    #[n(12)]
    TransferOut,
    #[n(13)]
    Withdraw,
    #[n(14)]
    DepositAddress,
    #[n(15)]
    Configure,
    #[n(16)]
    DeadMan,
    #[n(17)]
    Rfq,
    #[n(18)]
    Subaccount,
    #[n(19)]
    ManageKeys,
    #[n(20)]
    Session,
    #[n(21)]
    Public,
}

impl ActionKind {
    pub const ALL: [Self; 22] = [
        Self::Read,
        Self::PlaceOrder,
        Self::TestOrder,
        Self::AmendOrder,
        Self::CancelOrder,
        Self::CancelAll,
        Self::Convert,
        Self::Borrow,
        Self::Repay,
        Self::Invest,
        Self::TransferInside,
        Self::TransferOwn,
        Self::TransferOut,
        Self::Withdraw,
        Self::DepositAddress,
        Self::Configure,
        Self::DeadMan,
        Self::Rfq,
        Self::Subaccount,
        Self::ManageKeys,
        Self::Session,
        Self::Public,
    ];

    /// The name in policies, entries and `--json`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "Read",
            Self::PlaceOrder => "PlaceOrder",
            Self::TestOrder => "TestOrder",
            Self::AmendOrder => "AmendOrder",
            Self::CancelOrder => "CancelOrder",
            Self::CancelAll => "CancelAll",
            Self::Convert => "Convert",
            Self::Borrow => "Borrow",
            Self::Repay => "Repay",
            Self::Invest => "Invest",
            Self::TransferInside => "TransferInside",
            Self::TransferOwn => "TransferOwn",
            Self::TransferOut => "TransferOut",
            Self::Withdraw => "Withdraw",
            Self::DepositAddress => "DepositAddress",
            Self::Configure => "Configure",
            Self::DeadMan => "DeadMan",
            Self::Rfq => "Rfq",
            Self::Subaccount => "Subaccount",
            Self::ManageKeys => "ManageKeys",
            Self::Session => "Session",
            Self::Public => "Public",
        }
    }

    /// Changes nothing at the venue.
    #[must_use]
    pub fn is_read(self) -> bool {
        matches!(self, Self::Read | Self::DepositAddress | Self::Public)
    }

    /// May take value out of the firm's reach: synced to disk before its signature is released.
    #[must_use]
    pub fn moves_value_out(self) -> bool {
        matches!(self, Self::TransferOut | Self::Withdraw)
    }
}

impl fmt::Display for ActionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Action {
    #[must_use]
    pub fn kind(&self) -> ActionKind {
        match self {
            Self::Read(_) => ActionKind::Read,
            Self::PlaceOrder(_) => ActionKind::PlaceOrder,
            Self::TestOrder(_) => ActionKind::TestOrder,
            Self::AmendOrder(_) => ActionKind::AmendOrder,
            Self::CancelOrder(_) => ActionKind::CancelOrder,
            Self::CancelAll(_) => ActionKind::CancelAll,
            Self::Convert(_) => ActionKind::Convert,
            Self::Borrow(_) => ActionKind::Borrow,
            Self::Repay(_) => ActionKind::Repay,
            Self::Invest(_) => ActionKind::Invest,
            Self::TransferInside(_) => ActionKind::TransferInside,
            Self::TransferOwn(_) => ActionKind::TransferOwn,
            Self::TransferOut(_) => ActionKind::TransferOut,
            Self::Withdraw(_) => ActionKind::Withdraw,
            Self::DepositAddress(_) => ActionKind::DepositAddress,
            Self::Configure(_) => ActionKind::Configure,
            Self::DeadMan(_) => ActionKind::DeadMan,
            Self::Rfq(_) => ActionKind::Rfq,
            Self::Subaccount(_) => ActionKind::Subaccount,
            Self::ManageKeys(_) => ActionKind::ManageKeys,
            Self::Session(_) => ActionKind::Session,
            Self::Public(_) => ActionKind::Public,
        }
    }
}

/// The duty of a real key: the least that can sign an action is used.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize,
)]
#[cbor(index_only)]
#[serde(rename_all = "snake_case")]
pub enum Duty {
    #[n(0)]
    Read,
    #[n(1)]
    Trade,
    #[n(2)]
    Move,
    #[n(3)]
    Admin,
}

impl ActionKind {
    /// The least duty that can do it.
    #[must_use]
    pub fn duty(self) -> Duty {
        match self {
            Self::Read | Self::DepositAddress | Self::Public | Self::Session => Duty::Read,
            Self::PlaceOrder
            | Self::TestOrder
            | Self::AmendOrder
            | Self::CancelOrder
            | Self::CancelAll
            | Self::Configure
            | Self::DeadMan
            | Self::Rfq => Duty::Trade,
            Self::Convert
            | Self::Borrow
            | Self::Repay
            | Self::Invest
            | Self::TransferInside
            | Self::TransferOwn
            | Self::TransferOut
            | Self::Withdraw => Duty::Move,
            Self::Subaccount | Self::ManageKeys => Duty::Admin,
        }
    }
}

/// How a signature is made.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize,
)]
#[cbor(index_only)]
#[serde(rename_all = "snake_case")]
pub enum Scheme {
    #[n(0)]
    HmacSha256,
    #[n(1)]
    Ed25519,
    /// PKCS#1 v1.5 with SHA-256.
    #[n(2)]
    RsaSha256,
}

/// Whom and what a strategy's request concerned, when: used by explain and reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct Stamp {
    /// Venue time put into the request, in milliseconds.
    #[n(0)]
    pub venue_time_ms: u64,
    /// What was left of the program's deadline, in milliseconds.
    #[n(1)]
    pub receive_window_ms: u32,
    /// Gate time.
    #[n(2)]
    pub at: Timestamp,
}
