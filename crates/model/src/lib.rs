//! The words of Portcullis: what a request asks, what a decision says, what an entry holds, what rooms tell each
//! other. Everything here is pure: no clock, file, socket or random source. The same functions serve the signer, the
//! dry run, the replay and the verifier.
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        reason = "tests state what must hold"
    )
)]

pub mod action;
pub mod command;
pub mod decide;
pub mod entry;
pub mod exposure;
pub mod halt;
pub mod id;
pub mod log;
pub mod mandate;
pub mod number;
pub mod refusal;
pub mod release;
pub mod report;
pub mod state;
pub mod table;
pub mod usage;
pub mod wire;

/// A map with short keys, seeded at random: a decision looks up some forty of them.
pub type Map<K, V> = std::collections::HashMap<K, V, foldhash::fast::RandomState>;

/// The same without values.
pub type Set<K> = std::collections::HashSet<K, foldhash::fast::RandomState>;
