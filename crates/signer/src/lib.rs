//! What holds the keys and the log: it verifies, decodes, decides, records and signs, and has no network.
//!
//! Reading order: [`core`] is a turn of the deciding thread; [`log_file`] and [`keyring`] are what it needs to release a
//! signature; [`gate`] is a site before and after it is unsealed; [`serve`] moves the bytes around it.
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        reason = "tests state what must hold"
    )
)]

pub mod core;
pub mod gate;
pub mod lanes;
pub mod serve;

pub mod keyring;
pub mod log_file;
pub mod releases;
pub mod secrets;
pub mod virtual_keys;

pub mod clock;
pub mod events;
pub mod failures;
pub mod metrics;
pub mod replay;
pub mod resolver;

mod pem;
