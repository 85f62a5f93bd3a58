//! Halts: what is stopped, how far, and who may stop it.

use crate::action::ActionKind;
use crate::id::{AccountId, Name, StrategyId, Timestamp, VirtualKeyId};
use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a halt covers.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize,
)]
#[serde(tag = "scope", content = "id", rename_all = "snake_case")]
pub enum Scope {
    #[n(0)]
    Firm,
    #[n(1)]
    Venue(#[n(0)] Name),
    #[n(2)]
    Account(#[n(0)] AccountId),
    #[n(3)]
    Desk(#[n(0)] Name),
    #[n(4)]
    Strategy(#[n(0)] StrategyId),
    #[n(5)]
    VirtualKey(#[n(0)] VirtualKeyId),
}

/// How far a halt goes; each level refuses what the ones before it refuse, and more.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize,
)]
#[cbor(index_only)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Value leaving the firm, keys, sub-accounts, new borrowing and investing.
    #[n(1)]
    Freeze,
    /// And what increases risk, `Convert`, `Configure`.
    #[n(2)]
    ReduceOnly,
    /// And all orders of programs.
    #[n(3)]
    CancelOnly,
    /// And programs' cancels and reads.
    #[n(4)]
    Lock,
}

/// What a level says of an action; "if it reduces" is for the decision to find out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passage {
    Passes,
    IfReducing,
    Refused,
}

impl Level {
    pub const ALL: [Self; 4] = [Self::Freeze, Self::ReduceOnly, Self::CancelOnly, Self::Lock];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Freeze => "freeze",
            Self::ReduceOnly => "reduce-only",
            Self::CancelOnly => "cancel-only",
            Self::Lock => "lock",
        }
    }

    /// The table of levels, for a program's action.
    #[must_use]
    pub fn passage(self, kind: ActionKind) -> Passage {
        use ActionKind as K;
        match kind {
            K::Withdraw
            | K::TransferOut
            | K::ManageKeys
            | K::Subaccount
            | K::Borrow
            | K::Invest
            | K::Rfq => Passage::Refused,
            K::Convert | K::Configure => refused_from(self, Self::ReduceOnly),
            K::PlaceOrder | K::TestOrder | K::AmendOrder => match self {
                Self::Freeze => Passage::Passes,
                Self::ReduceOnly => Passage::IfReducing,
                Self::CancelOnly | Self::Lock => Passage::Refused,
            },
            K::Repay | K::TransferInside | K::TransferOwn => refused_from(self, Self::CancelOnly),
            K::CancelOrder
            | K::CancelAll
            | K::DeadMan
            | K::Read
            | K::DepositAddress
            | K::Session => refused_from(self, Self::Lock),
            K::Public => Passage::Passes,
        }
    }
}

fn refused_from(level: Level, from: Level) -> Passage {
    if level >= from {
        Passage::Refused
    } else {
        Passage::Passes
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Firm => f.write_str("firm"),
            Self::Venue(name) => write!(f, "venue {name}"),
            Self::Account(id) => write!(f, "account {id}"),
            Self::Desk(name) => write!(f, "desk {name}"),
            Self::Strategy(id) => write!(f, "strategy {id}"),
            Self::VirtualKey(id) => write!(f, "virtual key {id}"),
        }
    }
}

/// A halt in force.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct Halt {
    #[n(0)]
    pub scope: Scope,
    #[n(1)]
    pub level: Level,
    #[n(2)]
    pub since: Timestamp,
    #[n(3)]
    pub reason: String,
    #[n(4)]
    pub by: By,
}

/// Who raised it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(tag = "by", content = "name", rename_all = "snake_case")]
pub enum By {
    /// An operator; for now the local user behind the operator socket.
    #[n(0)]
    Operator(#[n(0)] String),
    /// A rule, by its name (a trip).
    #[n(1)]
    Rule(#[n(0)] String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_level_refuses_what_the_one_before_refuses() {
        let rank = |p| match p {
            Passage::Passes => 0,
            Passage::IfReducing => 1,
            Passage::Refused => 2,
        };
        for kind in ActionKind::ALL {
            for pair in Level::ALL.windows(2) {
                assert!(
                    rank(pair[0].passage(kind)) <= rank(pair[1].passage(kind)),
                    "{kind} {pair:?}"
                );
            }
        }
    }

    #[test]
    fn cancels_pass_until_lock() {
        for (level, expected) in [
            (Level::Freeze, Passage::Passes),
            (Level::ReduceOnly, Passage::Passes),
            (Level::CancelOnly, Passage::Passes),
            (Level::Lock, Passage::Refused),
        ] {
            assert_eq!(level.passage(ActionKind::CancelOrder), expected);
        }
    }
}
