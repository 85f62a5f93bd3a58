//! A typed no. A refusal is an ordinary answer: it names the rule, the limit and what was asked, goes into the log as an
//! approval does, and reaches the program in the venue's own words.

use crate::action::{ActionKind, ClientOrderId, Duty, SettingKind, Symbol};
use crate::halt::{Level, Scope};
use crate::id::Timestamp;
use crate::number::{Price, Quantity, Value};
use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a client library should make of a refusal: each venue has one code of its own for each class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// The request is malformed or says something that the venue would not accept.
    BadRequest,
    /// No, a wrong, an expired or a revoked credential.
    Unauthenticated,
    /// The signature does not match the bytes.
    BadSignature,
    /// Its time is outside the window.
    BadTime,
    /// Authority, source address, duty, or an endpoint that nobody reviewed: asking again will not help.
    NotPermitted,
    /// A limit on one order or on what orders add up to.
    OrderLimit,
    /// A message rate or throttle: later it passes.
    RateLimited,
    /// The market is not one of the mandate or of the release.
    UnknownMarket,
    /// The order is not one of this strategy's.
    UnknownOrder,
    /// Halted, sealed, no credit, the log cannot be written, the venue refuses our key, address or clock, or is not
    /// reached: exchange not available. Nothing was sent.
    NotAvailable,
    /// It may have been sent, or was seen before and its outcome is not known: ask for the order.
    StatusUnknown,
}

/// A number of a mandate, and at which level it stands (`firm`, `account main`, `desk mm`, `strategy quoter`).
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(transparent)]
#[serde(transparent)]
pub struct Rule(#[n(0)] pub String);

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why the signer would not sign. The codes are part of the log format.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(tag = "refusal", rename_all = "kebab-case")]
pub enum Refusal {
    #[n(0)]
    Halted {
        #[n(0)]
        scope: Scope,
        #[n(1)]
        level: Level,
        #[n(2)]
        since: Timestamp,
    },
    /// No policy permits it.
    #[n(1)]
    NoPermit {
        #[n(0)]
        kind: ActionKind,
    },
    #[n(2)]
    Forbidden {
        #[n(0)]
        kind: ActionKind,
        #[n(1)]
        policy: String,
    },
    /// The release does not list the symbol.
    #[n(3)]
    UnknownMarket {
        #[n(0)]
        symbol: Symbol,
    },
    /// The mandate does not name the market.
    #[n(4)]
    MarketNotMandated {
        #[n(0)]
        rule: Rule,
        #[n(1)]
        symbol: Symbol,
    },
    #[n(5)]
    PriceBelowFloor {
        #[n(0)]
        rule: Rule,
        #[n(1)]
        limit: Price,
        #[n(2)]
        asked: Price,
    },
    #[n(6)]
    PriceAboveCeiling {
        #[n(0)]
        rule: Rule,
        #[n(1)]
        limit: Price,
        #[n(2)]
        asked: Price,
    },
    #[n(7)]
    QuantityAboveCap {
        #[n(0)]
        rule: Rule,
        #[n(1)]
        limit: Quantity,
        #[n(2)]
        asked: Quantity,
    },
    #[n(8)]
    OrderValueAboveLimit {
        #[n(0)]
        rule: Rule,
        #[n(1)]
        limit: Value,
        #[n(2)]
        asked: Value,
    },
    #[n(9)]
    PriceOutsideTolerance {
        #[n(0)]
        rule: Rule,
        #[n(1)]
        limit: Price,
        #[n(2)]
        asked: Price,
        #[n(3)]
        reference: Price,
    },
    /// There is no fresh reference price, and the order would increase risk.
    #[n(10)]
    NoFreshPrice {
        #[n(0)]
        symbol: Symbol,
    },
    /// The order's size cannot be known beforehand.
    #[n(11)]
    SizeUnknown {
        #[n(0)]
        symbol: Symbol,
    },
    #[n(12)]
    MessageRate {
        #[n(0)]
        rule: Rule,
        #[n(1)]
        limit: u64,
        #[n(2)]
        per_us: u64,
    },
    #[n(13)]
    Repeated {
        #[n(0)]
        rule: Rule,
        #[n(1)]
        limit: u64,
        #[n(2)]
        per_us: u64,
    },
    #[n(14)]
    TurnoverAboveLimit {
        #[n(0)]
        rule: Rule,
        #[n(1)]
        limit: Value,
        #[n(2)]
        used: Value,
        #[n(3)]
        asked: Value,
    },
    #[n(15)]
    OpenOrdersAboveLimit {
        #[n(0)]
        rule: Rule,
        #[n(1)]
        limit: u64,
        #[n(2)]
        asked: u64,
    },
    #[n(16)]
    PositionAboveLimit {
        #[n(0)]
        rule: Rule,
        #[n(1)]
        limit: Value,
        #[n(2)]
        asked: Value,
    },
    #[n(17)]
    LossAboveLimit {
        #[n(0)]
        rule: Rule,
        #[n(1)]
        limit: Value,
        #[n(2)]
        lost: Value,
    },
    #[n(18)]
    VenueWeightAboveLimit {
        #[n(0)]
        rule: Rule,
        #[n(1)]
        limit: u64,
        #[n(2)]
        asked: u64,
    },
    /// Value would leave the firm, and the mandate names no such destination.
    #[n(19)]
    ValueOut {
        #[n(0)]
        kind: ActionKind,
    },
    /// The order is not known to be this strategy's.
    #[n(20)]
    NotYourOrder {
        #[n(0)]
        symbol: Symbol,
    },
    /// On an account that several strategies share, this would cancel others' orders.
    #[n(21)]
    CancelAllOnSharedAccount,
    /// The account has no key of this duty.
    #[n(22)]
    NoKey {
        #[n(0)]
        duty: Duty,
    },
    /// The log has room left only for cancels, reducing orders, their reads and halts.
    #[n(23)]
    LogSpace,
    /// The disk is behind: only cancels and reducing orders pass until it has caught up.
    #[n(24)]
    LogBehind {
        #[n(0)]
        unsynced_us: u64,
    },
    /// A figure went beyond what can be counted.
    #[n(25)]
    Overflow,
    /// Nothing is in force that could permit it.
    #[n(26)]
    NoRelease,
    /// The strategy is gone.
    #[n(27)]
    StrategyRevoked,
    /// An open order of another strategy on this account has the id: one of the two could no longer be told apart.
    #[n(28)]
    ClientIdTaken {
        #[n(0)]
        id: ClientOrderId,
    },
    /// The read has fields that the catalog does not name, and the key that would sign it can do more than read.
    #[n(29)]
    OneKeyForAll,
    /// The mandate allows no such setting.
    #[n(30)]
    SettingNotMandated {
        #[n(0)]
        rule: Rule,
        #[n(1)]
        setting: SettingKind,
        #[n(2)]
        limit: String,
        #[n(3)]
        asked: String,
    },
    /// A countdown that cancels everything is the gate's own.
    #[n(31)]
    DeadManOfGate,
}

impl Refusal {
    /// The code in entries, headers and metrics.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Halted { .. } => "halted",
            Self::NoPermit { .. } => "no-permit",
            Self::Forbidden { .. } => "forbidden",
            Self::UnknownMarket { .. } => "unknown-market",
            Self::MarketNotMandated { .. } => "market-not-mandated",
            Self::PriceBelowFloor { .. } => "price-below-floor",
            Self::PriceAboveCeiling { .. } => "price-above-ceiling",
            Self::QuantityAboveCap { .. } => "quantity-above-cap",
            Self::OrderValueAboveLimit { .. } => "order-value-above-limit",
            Self::PriceOutsideTolerance { .. } => "price-outside-tolerance",
            Self::NoFreshPrice { .. } => "no-fresh-price",
            Self::SizeUnknown { .. } => "size-unknown",
            Self::MessageRate { .. } => "message-rate",
            Self::Repeated { .. } => "repeated",
            Self::TurnoverAboveLimit { .. } => "turnover-above-limit",
            Self::OpenOrdersAboveLimit { .. } => "open-orders-above-limit",
            Self::PositionAboveLimit { .. } => "position-above-limit",
            Self::LossAboveLimit { .. } => "loss-above-limit",
            Self::VenueWeightAboveLimit { .. } => "venue-weight-above-limit",
            Self::ValueOut { .. } => "value-out",
            Self::NotYourOrder { .. } => "not-your-order",
            Self::CancelAllOnSharedAccount => "cancel-all-on-shared-account",
            Self::NoKey { .. } => "no-key",
            Self::LogSpace => "log-space",
            Self::LogBehind { .. } => "log-behind",
            Self::Overflow => "overflow",
            Self::NoRelease => "no-release",
            Self::StrategyRevoked => "strategy-revoked",
            Self::ClientIdTaken { .. } => "client-id-taken",
            Self::OneKeyForAll => "one-key-for-all",
            Self::SettingNotMandated { .. } => "setting-not-mandated",
            Self::DeadManOfGate => "dead-man-of-gate",
        }
    }

    /// What a client library should make of it.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::Halted { .. } | Self::LogSpace | Self::LogBehind { .. } | Self::NoRelease => {
                Class::NotAvailable
            }
            Self::NoPermit { .. }
            | Self::Forbidden { .. }
            | Self::ValueOut { .. }
            | Self::CancelAllOnSharedAccount
            | Self::NoKey { .. }
            | Self::OneKeyForAll
            | Self::SettingNotMandated { .. }
            | Self::DeadManOfGate => Class::NotPermitted,
            Self::UnknownMarket { .. } | Self::MarketNotMandated { .. } => Class::UnknownMarket,
            Self::MessageRate { .. }
            | Self::Repeated { .. }
            | Self::VenueWeightAboveLimit { .. } => Class::RateLimited,
            Self::NotYourOrder { .. } => Class::UnknownOrder,
            Self::StrategyRevoked => Class::Unauthenticated,
            Self::PriceBelowFloor { .. }
            | Self::PriceAboveCeiling { .. }
            | Self::QuantityAboveCap { .. }
            | Self::OrderValueAboveLimit { .. }
            | Self::PriceOutsideTolerance { .. }
            | Self::NoFreshPrice { .. }
            | Self::SizeUnknown { .. }
            | Self::TurnoverAboveLimit { .. }
            | Self::OpenOrdersAboveLimit { .. }
            | Self::PositionAboveLimit { .. }
            | Self::LossAboveLimit { .. }
            | Self::Overflow
            | Self::ClientIdTaken { .. } => Class::OrderLimit,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Halted { scope, level, .. } => write!(f, "halted: {scope} is at level {level}"),
            Self::NoPermit { kind } => write!(f, "no policy permits {kind}"),
            Self::Forbidden { kind, policy } => write!(f, "policy `{policy}` forbids {kind}"),
            Self::UnknownMarket { symbol } => write!(
                f,
                "market `{symbol}` is not in the release; fetch market facts"
            ),
            Self::MarketNotMandated { rule, symbol } => {
                write!(f, "market `{symbol}` is not in the mandate of {rule}")
            }
            Self::PriceBelowFloor { rule, limit, asked } => write!(
                f,
                "price below floor of {rule}: asked {asked}, floor {limit}"
            ),
            Self::PriceAboveCeiling { rule, limit, asked } => {
                write!(
                    f,
                    "price above ceiling of {rule}: asked {asked}, ceiling {limit}"
                )
            }
            Self::QuantityAboveCap { rule, limit, asked } => write!(
                f,
                "quantity above cap of {rule}: asked {asked}, cap {limit}"
            ),
            Self::OrderValueAboveLimit { rule, limit, asked } => {
                write!(f, "order value of {rule}: asked {asked}, limit {limit}")
            }
            Self::PriceOutsideTolerance {
                rule,
                limit,
                asked,
                reference,
            } => {
                write!(
                    f,
                    "price tolerance of {rule}: asked {asked}, limit {limit} at reference {reference}"
                )
            }
            Self::NoFreshPrice { symbol } => write!(
                f,
                "no fresh reference price of `{symbol}`, and the order would increase risk"
            ),
            Self::SizeUnknown { symbol } => write!(
                f,
                "what the order on `{symbol}` could be worth is not known beforehand"
            ),
            Self::MessageRate {
                rule,
                limit,
                per_us,
            } => write!(
                f,
                "message rate of {rule}: limit {limit} each {}",
                seconds(*per_us)
            ),
            Self::Repeated {
                rule,
                limit,
                per_us,
            } => {
                write!(
                    f,
                    "the same order again and again, throttle of {rule}: limit {limit} each {}",
                    seconds(*per_us)
                )
            }
            Self::TurnoverAboveLimit {
                rule,
                limit,
                used,
                asked,
            } => {
                write!(
                    f,
                    "turnover of {rule}: used {used}, asked {asked}, limit {limit}"
                )
            }
            Self::OpenOrdersAboveLimit { rule, limit, asked } => {
                write!(f, "open orders of {rule}: asked {asked}, limit {limit}")
            }
            Self::PositionAboveLimit { rule, limit, asked } => {
                write!(f, "position of {rule}: could become {asked}, limit {limit}")
            }
            Self::LossAboveLimit { rule, limit, lost } => {
                write!(f, "loss of {rule}: lost {lost} today, limit {limit}")
            }
            Self::VenueWeightAboveLimit { rule, limit, asked } => {
                write!(
                    f,
                    "venue weight of {rule}: asked {asked} this minute, limit {limit}"
                )
            }
            Self::ValueOut { kind } => write!(f, "{kind} moves value, and no mandate allows it"),
            Self::NotYourOrder { symbol } => write!(
                f,
                "the order on `{symbol}` is not known to be this strategy's"
            ),
            Self::CancelAllOnSharedAccount => {
                f.write_str("the account is shared; cancel your orders one by one")
            }
            Self::NoKey { duty } => write!(f, "the account has no key of duty {duty:?}"),
            Self::LogSpace => {
                f.write_str("the log's disk is nearly full: only cancels and reducing orders pass")
            }
            Self::LogBehind { unsynced_us } => {
                write!(
                    f,
                    "the log's disk is {} behind: only cancels and reducing orders pass",
                    seconds(*unsynced_us)
                )
            }
            Self::Overflow => f.write_str("a figure of the order is beyond what can be counted"),
            Self::NoRelease => f.write_str("no release is in force"),
            Self::StrategyRevoked => f.write_str("the strategy was revoked"),
            Self::ClientIdTaken { id } => write!(
                f,
                "the client order id `{id}` is that of an open order of another strategy, or of another order of this request"
            ),
            Self::OneKeyForAll => f.write_str(
                "a read with a field that the catalog does not name passes only where a key that can only read signs it; \
                 this account has one key for all",
            ),
            Self::SettingNotMandated {
                rule,
                setting,
                limit,
                asked,
            } => {
                let setting = setting.name();
                write!(f, "`{setting}` of {rule}: asked {asked}, allowed {limit}")
            }
            Self::DeadManOfGate => f.write_str(
                "a countdown that cancels everything is the gate's own: a program's would cancel other orders too",
            ),
        }
    }
}

fn seconds(us: u64) -> String {
    format!("{} s", us as f64 / 1e6)
}
