//! What an answer of the venue says, in our words. `venues` reads it from the answer's bytes in egress; the signer
//! folds it. An unknown status is kept as such: it never frees a reservation.

use crate::action::{Asset, ClientOrderId, MarketKind, OrderType, Side, Symbol, TimeInForce};
use crate::id::{OrderId, TradeId};
use crate::number::{Amount, Price, Quantity};
use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

/// A market's or an asset's name in a report, at most.
pub const NAME_BYTES_MAX: usize = 64;
/// An id that a program or the venue gave an order, at most.
pub const ID_BYTES_MAX: usize = 144;

/// Whether a request may have reached the venue.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize,
)]
#[cbor(index_only)]
#[serde(rename_all = "snake_case")]
pub enum Sent {
    /// No byte left: it may be repeated.
    #[n(0)]
    NotSent,
    /// Some bytes may have left and no whole answer came: it must be asked about, never repeated.
    #[n(1)]
    MaybeSent,
    /// A whole answer came.
    #[n(2)]
    Sent,
}

#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize,
)]
#[cbor(index_only)]
#[serde(rename_all = "snake_case")]
pub enum OrderStatus {
    /// Accepted and may still fill (NEW, PARTIALLY_FILLED, PENDING_NEW, PENDING_CANCEL).
    #[n(0)]
    Open,
    #[n(1)]
    Filled,
    #[n(2)]
    Cancelled,
    #[n(3)]
    Rejected,
    /// EXPIRED, EXPIRED_IN_MATCH.
    #[n(4)]
    Expired,
    /// A word we do not know: keeps every reservation.
    #[n(5)]
    Unknown,
}

impl OrderStatus {
    /// No further fill can come.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(
            self,
            Self::Filled | Self::Cancelled | Self::Rejected | Self::Expired
        )
    }
}

/// The state of one order as the venue gave it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct OrderReport {
    #[n(0)]
    pub market: MarketKind,
    #[n(1)]
    pub symbol: Symbol,
    #[n(2)]
    pub order_id: OrderId,
    #[n(3)]
    pub client_order_id: Option<ClientOrderId>,
    /// The venue's id of the list that it belongs to.
    #[n(4)]
    pub list_id: Option<OrderId>,
    #[n(5)]
    pub status: OrderStatus,
    /// Absent in a bare acknowledgement.
    #[n(6)]
    pub side: Option<Side>,
    #[n(7)]
    pub order_type: Option<OrderType>,
    #[n(8)]
    pub time_in_force: Option<TimeInForce>,
    #[n(9)]
    pub price: Option<Price>,
    #[n(10)]
    pub original_quantity: Option<Quantity>,
    /// Filled so far, in the market's own unit. Cumulative: it never falls.
    #[n(11)]
    pub executed_quantity: Option<Quantity>,
    /// What was paid or received for it so far, in quote units: at an inverse market in units of the coin. Cumulative.
    #[n(12)]
    pub executed_quote: Option<Amount>,
    /// Venue time of this state, milliseconds.
    #[n(13)]
    pub time_ms: Option<u64>,
    /// For a cancel: the id the order had before (`origClientOrderId`).
    #[n(14)]
    pub original_client_order_id: Option<ClientOrderId>,
    /// The ids are of the venue's conditional (algo) orders.
    #[n(15)]
    #[cbor(default)]
    #[serde(default)]
    pub algo: bool,
    /// The order that a conditional one became when it was triggered: what that one fills is this one's.
    #[n(16)]
    #[serde(default)]
    pub became: Option<OrderId>,
    /// What a unit of it was filled at on average, where the venue says that instead of `executed_quote`.
    #[n(17)]
    #[serde(default)]
    pub average_price: Option<Price>,
}

impl OrderReport {
    /// An acknowledgement that says no more than this.
    #[must_use]
    pub fn bare(
        market: MarketKind,
        symbol: Symbol,
        order_id: OrderId,
        status: OrderStatus,
    ) -> Self {
        Self {
            market,
            symbol,
            order_id,
            client_order_id: None,
            list_id: None,
            status,
            side: None,
            order_type: None,
            time_in_force: None,
            price: None,
            original_quantity: None,
            executed_quantity: None,
            executed_quote: None,
            time_ms: None,
            original_client_order_id: None,
            algo: false,
            became: None,
            average_price: None,
        }
    }
}

/// One fill as the venue gave it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct TradeReport {
    #[n(0)]
    pub market: MarketKind,
    #[n(1)]
    pub symbol: Symbol,
    #[n(2)]
    pub trade_id: TradeId,
    #[n(3)]
    pub order_id: OrderId,
    #[n(4)]
    pub side: Side,
    #[n(5)]
    pub price: Price,
    #[n(6)]
    pub quantity: Quantity,
    /// As [`OrderReport::executed_quote`]; absent: what price and quantity make of it.
    #[n(7)]
    pub quote: Option<Amount>,
    #[n(8)]
    pub commission: Amount,
    #[n(9)]
    pub commission_asset: Asset,
    #[n(10)]
    pub time_ms: u64,
}

/// What an answer told us.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(tag = "report", rename_all = "snake_case")]
pub enum Report {
    #[n(0)]
    Order(#[n(0)] OrderReport),
    #[n(1)]
    Trade(#[n(0)] TradeReport),
    /// The venue refused the whole request with this code: nothing of it took effect. A code from 100 to 599 is HTTP's, by
    /// which nothing was even looked at.
    #[n(2)]
    Refused {
        #[n(0)]
        code: i64,
    },
    /// The venue does not know the order that was asked about.
    #[n(3)]
    NoSuchOrder,
    /// The order-entry call was refused in part: this one of its actions (by position) took no effect.
    #[n(4)]
    ActionRefused {
        #[n(0)]
        position: u32,
        #[n(1)]
        code: i64,
    },
    /// A reference price from public data; of derivatives the mark price.
    #[n(5)]
    Price {
        #[n(0)]
        symbol: Symbol,
        #[n(1)]
        price: Price,
        #[n(2)]
        #[cbor(default)]
        #[serde(default)]
        market: MarketKind,
    },
    /// The venue's clock, milliseconds.
    #[n(6)]
    VenueTime {
        #[n(0)]
        time_ms: u64,
    },
    /// The whole list of open orders of a market (symbol absent: of the account) ends here: what is not in it is not open.
    #[n(7)]
    OpenOrdersComplete {
        #[n(0)]
        market: MarketKind,
        #[n(1)]
        symbol: Option<Symbol>,
    },
    /// The answer could not be read: nothing is known but that it came.
    #[n(8)]
    Unreadable,
}

impl Report {
    /// As a venue could have said it: no text longer than any that it has, so that an entry holds as many as it is meant to, whoever
    /// wrote them, and no amount below zero (but a commission: venues pay some).
    #[must_use]
    pub fn is_plausible(&self) -> bool {
        let name = |text: &str| text.len() <= NAME_BYTES_MAX;
        let id = |id: &Option<ClientOrderId>| {
            id.as_ref()
                .is_none_or(|id| id.as_str().len() <= ID_BYTES_MAX)
        };
        match self {
            Self::Order(order) => {
                name(order.symbol.as_str())
                    && id(&order.client_order_id)
                    && id(&order.original_client_order_id)
                    && order.price.is_none_or(|price| price.0 >= 0)
                    && order.original_quantity.is_none_or(|all| all.0 >= 0)
                    && order.executed_quantity.is_none_or(|all| all.0 >= 0)
                    && order.executed_quote.is_none_or(|all| all.0 >= 0)
                    && order.average_price.is_none_or(|price| price.0 >= 0)
            }
            Self::Trade(trade) => {
                name(trade.symbol.as_str())
                    && name(trade.commission_asset.as_str())
                    && trade.price.0 >= 0
                    && trade.quantity.0 >= 0
                    && trade.quote.is_none_or(|quote| quote.0 >= 0)
            }
            Self::Price { symbol, .. } => name(symbol.as_str()),
            Self::OpenOrdersComplete { symbol, .. } => {
                symbol.as_ref().is_none_or(|symbol| name(symbol.as_str()))
            }
            Self::Refused { .. }
            | Self::NoSuchOrder
            | Self::ActionRefused { .. }
            | Self::VenueTime { .. }
            | Self::Unreadable => true,
        }
    }
}
