//! What operators tell the signer, and what it answers: one JSON object in a frame `u32 big-endian length | JSON`
//! ([`COMMAND_BYTES_MAX`] at most) each way over the operator socket. The same commands come from the running site's
//! socket and, before a site runs, from the signer started for one command.

use crate::action::{Duty, Scheme};
use crate::halt::{Level, Scope};
use crate::id::{EntryId, Name, StrategyId, Timestamp, VirtualKeyId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A command or an answer at most; a longer one closes the connection.
pub const COMMAND_BYTES_MAX: usize = 8 << 20;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum Command {
    Status,
    /// Names an account of the firm at a venue.
    AccountAdd {
        name: Name,
        venue: Name,
    },
    /// A real key of an account. Its secret lies sealed in `sealed` (relative to the site), and is not in the command.
    KeyAdd {
        account: Name,
        duty: Duty,
        scheme: Scheme,
        api_key: String,
        sealed: String,
    },
    KeyRemove {
        account: Name,
        api_key: String,
    },
    StrategyAdd {
        name: Name,
        desk: Option<Name>,
        observe: bool,
    },
    /// Turns `observe` into `enforce`, or back.
    StrategyMode {
        name: Name,
        observe: bool,
    },
    /// A new virtual key. For `HmacSha256` the answer has the secret; for the others the program's public key is given
    /// (PEM, SubjectPublicKeyInfo).
    VirtualKeyIssue {
        strategy: Name,
        account: Name,
        scheme: Scheme,
        public_key: Option<String>,
        expires: Timestamp,
        /// CIDR blocks that it may come from (`127.0.0.1/32`).
        sources: Vec<String>,
        canary: bool,
    },
    VirtualKeyRevoke {
        id: VirtualKeyId,
    },
    StrategyRevoke {
        name: Name,
    },
    /// Makes these texts the release in force (name within `release/` to text), after every check.
    Release {
        files: BTreeMap<String, String>,
    },
    Halt {
        scope: Scope,
        level: Level,
        reason: String,
    },
    /// Lowers or ends the halt on `scope`; absent level: ends it.
    Resume {
        scope: Scope,
        level: Option<Level>,
        reason: String,
    },
    /// Names in scopes are resolved by the signer.
    Resolve {
        kind: ScopeKind,
        name: Name,
    },
    /// After a jump of the clock: the present time is right.
    ConfirmTime {
        reason: String,
    },
    /// What the state says of each strategy: usage against limits.
    Usage,
    /// The release's markets that the firm's mandate names, with the last price of each.
    Markets,
    /// Ends the signer in order.
    Stop,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScopeKind {
    Venue,
    Account,
    Desk,
    Strategy,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Answer {
    Done {
        entry: EntryId,
    },
    /// `status`, `usage`: an object whose shape docs/spec/commands.md describes.
    Shown {
        data: serde_json::Value,
    },
    VirtualKey {
        entry: EntryId,
        id: VirtualKeyId,
        strategy: StrategyId,
        api_key: String,
        secret: Option<String>,
    },
    Halted(Halted),
    Resolved {
        scope: Scope,
    },
    Refused {
        code: String,
        message: String,
        hint: Option<String>,
    },
}

/// What a halt did. When it is sent, nothing that the level refuses is signed any more.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Halted {
    pub entry: EntryId,
    /// Signed before and dropped by egress.
    pub discarded: Vec<EntryId>,
    /// Signed before, on the way to the venue without an answer.
    pub under_way: Vec<EntryId>,
    /// Signed before and answered by the venue.
    pub done: Vec<EntryId>,
    /// Whether egress confirmed; `false` (egress gone): all of `under_way` may still be accepted until the moment below.
    pub confirmed: bool,
    /// After this moment nothing that the halt refuses reaches the venue, if egress tells the truth about what it dropped and
    /// what was answered.
    pub none_after_as_told: Timestamp,
    /// After this moment the venue accepts nothing that the halt refuses, whatever egress says: the receive windows of all
    /// that was signed have passed.
    pub none_after: Timestamp,
}
