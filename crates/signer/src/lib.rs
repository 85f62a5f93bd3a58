//! What holds the keys and the log. So far: the durable log.
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
pub mod keyring;
pub mod log_file;
pub mod replay;
