//! What an entry says: one shape for every kind, in three texts (public facts, the regulator's view, the strategy's
//! private data), so that each can be shown alone. The effects stand in the private text; the fold needs nothing else.
//!
//! No entry holds a secret, a signature, a token or an answer's body.

use crate::action::{Action, Stamp};
use crate::halt::By;
use crate::id::{AccountId, EntryId, KeyId, Name, StrategyId, Timestamp, VirtualKeyId};
use crate::log::{Entry, Header};
use crate::refusal::Refusal;
use crate::report::{Report, Sent};
use crate::state::Effect;
use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};
use serde::Serialize;
use std::fmt;

/// Reports, and effects, of one entry of an answer at most; a longer answer makes several entries.
pub const OUTCOME_PARTS_MAX: usize = 80;
/// A text of an order fits without growing.
const TEXT_BYTES_USUAL: usize = 512;

/// What happened. The number stands in the clear header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum What {
    /// A run of the signer began; the first one creates the site.
    Started = 1,
    /// An operator's command took effect.
    Command = 2,
    /// A request was approved: it may be signed once this is written.
    Approved = 3,
    /// A verified request was refused.
    Refused = 4,
    /// What became of an approved request.
    Outcome = 5,
    /// Reference prices.
    Prices = 6,
    /// Requests that failed before they were verified, or came above the message rate: counts of one minute.
    Failures = 7,
    /// A UTC day began.
    Day = 8,
    /// A signature was made and dropped, since a halt came before it was released.
    Dropped = 9,
    /// A canary was used: where it was left, somebody reads.
    Canary = 10,
    /// The clock jumped, or an operator confirmed the time.
    Clock = 11,
    /// A limit stopped a strategy, which asked for nothing then.
    Tripped = 12,
}

impl What {
    pub const ALL: [Self; 12] = [
        Self::Started,
        Self::Command,
        Self::Approved,
        Self::Refused,
        Self::Outcome,
        Self::Prices,
        Self::Failures,
        Self::Day,
        Self::Dropped,
        Self::Canary,
        Self::Clock,
        Self::Tripped,
    ];

    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|what| *what as u8 == number)
    }

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Command => "command",
            Self::Approved => "approved",
            Self::Refused => "refused",
            Self::Outcome => "outcome",
            Self::Prices => "prices",
            Self::Failures => "failures",
            Self::Day => "day",
            Self::Dropped => "dropped",
            Self::Canary => "canary",
            Self::Clock => "clock",
            Self::Tripped => "tripped",
        }
    }
}

/// What anybody may see.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode, Serialize)]
pub struct Public {
    #[n(0)]
    pub site: Option<Name>,
    #[n(1)]
    pub venue: Option<String>,
    /// Method and path of the venue's call.
    #[n(2)]
    pub endpoint: Option<String>,
    /// The refusal's code.
    #[n(3)]
    pub refusal: Option<String>,
    /// The entry that this one is about.
    #[n(4)]
    pub of: Option<EntryId>,
}

/// What a regulator or auditor may see: who, what, when, and why not.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode, Serialize)]
pub struct Regulator {
    #[n(0)]
    pub strategy: Option<StrategyId>,
    #[n(1)]
    pub account: Option<AccountId>,
    /// The real key that signs.
    #[n(2)]
    pub key: Option<KeyId>,
    #[n(3)]
    pub actions: Vec<Action>,
    #[n(4)]
    pub stamp: Option<Stamp>,
    #[n(5)]
    pub refusal: Option<Refusal>,
    #[n(6)]
    pub sent: Option<Sent>,
    /// The venue's status, 0 if no answer came.
    #[n(7)]
    pub status: Option<u16>,
    /// What the venue said of orders, as far as it changed something.
    #[n(8)]
    pub reports: Vec<Report>,
    #[n(9)]
    pub by: Option<By>,
    /// A command's readable text, or a reason.
    #[n(10)]
    pub text: Option<String>,
}

/// What is the strategy's own affair.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode, Serialize)]
pub struct Private {
    #[n(0)]
    pub effects: Vec<Effect>,
    #[n(1)]
    pub virtual_key: Option<VirtualKeyId>,
    /// The peer's address, 4 or 16 bytes.
    #[n(2)]
    #[serde(skip)]
    pub source: Option<ByteVec>,
    /// In `observe`: what `enforce` would have refused.
    #[n(3)]
    pub would_refuse: Option<Refusal>,
    /// The facts used.
    #[n(4)]
    pub unsynced_us: u64,
    #[n(5)]
    pub weight: u32,
    #[n(6)]
    pub counts: Vec<Count>,
    /// The release under which it was decided, its first 8 bytes.
    #[n(7)]
    #[serde(skip)]
    pub release: Option<ByteVec>,
}

/// So many of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize)]
pub struct Count {
    #[n(0)]
    pub of: String,
    #[n(1)]
    pub count: u64,
}

/// An entry in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Body {
    pub what: What,
    pub at: Timestamp,
    pub public: Public,
    pub regulator: Regulator,
    pub private: Private,
}

impl Body {
    #[must_use]
    pub fn new(what: What, at: Timestamp) -> Self {
        Self {
            what,
            at,
            public: Public::default(),
            regulator: Regulator::default(),
            private: Private::default(),
        }
    }

    /// The entry as it is written. The log sets the term.
    #[must_use]
    pub fn to_entry(&self) -> Entry {
        // Encoding into a `Vec` cannot fail.
        fn text(part: &impl Encode<()>) -> ByteVec {
            let mut bytes = Vec::with_capacity(TEXT_BYTES_USUAL);
            let _ = crate::wire::encode(&mut bytes, part);
            bytes.into()
        }
        Entry {
            header: Header {
                term: 0,
                at: self.at,
                kind: self.what as u8,
            },
            public: text(&self.public),
            regulator: text(&self.regulator),
            private: text(&self.private),
        }
    }

    /// Reads an entry; a kind or a text that this program does not know is refused.
    pub fn from_entry(entry: &Entry) -> Result<Self, BodyError> {
        let what =
            What::from_number(entry.header.kind).ok_or(BodyError::Kind(entry.header.kind))?;
        let wrong = |group| move |_| BodyError::Text { what, group };
        Ok(Self {
            what,
            at: entry.header.at,
            public: crate::wire::message(&entry.public).map_err(wrong("public"))?,
            regulator: crate::wire::message(&entry.regulator).map_err(wrong("regulator"))?,
            private: crate::wire::message(&entry.private).map_err(wrong("private"))?,
        })
    }
}

/// An entry that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyError {
    Kind(u8),
    Text { what: What, group: &'static str },
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kind(kind) => write!(
                f,
                "the entry has kind {kind}, which this program does not know; use the version that wrote it, or a later one"
            ),
            Self::Text { what, group } => write!(
                f,
                "the {group} text of an entry `{}` cannot be read",
                what.name()
            ),
        }
    }
}

impl std::error::Error for BodyError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_reads_back_as_itself() {
        let mut body = Body::new(What::Approved, Timestamp(5));
        body.public.endpoint = Some("POST /api/v3/order".into());
        body.regulator.strategy = Some(StrategyId(3));
        body.private.effects = vec![Effect::Day { day: 7 }];
        body.private.source = Some(ByteVec::from(vec![127, 0, 0, 1]));
        assert_eq!(Body::from_entry(&body.to_entry()), Ok(body));
    }

    #[test]
    fn the_longest_outcome_fits_an_entry() {
        use crate::action::{ClientOrderId, MarketKind, OrderType, Side, Symbol, TimeInForce};
        use crate::number::{Amount, Price, Quantity};
        use crate::report::{ID_BYTES_MAX, NAME_BYTES_MAX, OrderReport, OrderStatus};
        use crate::state::OrderNumber;
        let id = || Some(ClientOrderId::from("x".repeat(ID_BYTES_MAX)));
        let uuid: crate::id::OrderId = "ffffffff-ffff-ffff-ffff-ffffffffffff".parse().unwrap();
        let report = Report::Order(OrderReport {
            market: MarketKind::CoinFutures,
            symbol: Symbol::from("x".repeat(NAME_BYTES_MAX)),
            order_id: uuid,
            client_order_id: id(),
            list_id: Some(uuid),
            status: OrderStatus::Unknown,
            side: Some(Side::Sell),
            order_type: Some(OrderType::TakeProfitLimit),
            time_in_force: Some(TimeInForce::Fok),
            price: Some(Price(i128::MAX)),
            original_quantity: Some(Quantity(i128::MAX)),
            executed_quantity: Some(Quantity(i128::MAX)),
            executed_quote: Some(Amount(i128::MAX)),
            time_ms: Some(u64::MAX),
            original_client_order_id: id(),
            algo: true,
            became: Some(uuid),
            average_price: Some(Price(i128::MAX)),
        });
        assert!(report.is_plausible());
        let order = OrderNumber {
            entry: EntryId(u64::MAX),
            leg: u8::MAX,
        };
        let mut body = Body::new(What::Outcome, Timestamp(u64::MAX));
        body.public.of = Some(EntryId(u64::MAX));
        body.regulator.reports = vec![report; OUTCOME_PARTS_MAX];
        body.regulator.text = Some("\u{10348}".repeat(200));
        for at in 0..OUTCOME_PARTS_MAX {
            // Each order of an answer makes one of these, or both.
            body.private.effects.push(match at % 2 {
                0 => Effect::Progress {
                    order,
                    executed: Quantity(i128::MAX),
                    quote: Amount(i128::MAX),
                    order_id: Some(uuid),
                    list_id: Some(uuid),
                    status: OrderStatus::Unknown,
                    quantity: Some(Quantity(i128::MAX)),
                    became: None,
                },
                _ => Effect::Renamed {
                    order,
                    client_order_id: ClientOrderId::from("x".repeat(ID_BYTES_MAX)),
                },
            });
        }
        assert!(body.to_entry().encode_whole().is_ok());
    }

    #[test]
    fn what_is_not_known_is_refused() {
        let body = Body::new(What::Day, Timestamp(5));
        let mut entry = body.to_entry();
        entry.header.kind = 200;
        assert_eq!(Body::from_entry(&entry), Err(BodyError::Kind(200)));
        let mut entry = body.to_entry();
        entry.private = ByteVec::from(vec![0xff]);
        assert!(matches!(
            Body::from_entry(&entry),
            Err(BodyError::Text {
                group: "private",
                ..
            })
        ));
    }

    #[test]
    fn numbers_of_kinds_are_distinct() {
        for what in What::ALL {
            assert_eq!(What::from_number(what as u8), Some(what));
        }
        assert_eq!(What::from_number(0), None);
    }
}
