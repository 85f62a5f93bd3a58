//! Simulated venues for drills, demo and tests. One so far: Binance, spot with what stands beside it
//! (`/sapi`) and futures.
//!
//! It has real signatures, balances, matching, limits and error codes, so that what trades on it would trade on the
//! exchange, and what the exchange would refuse is refused. It parses on its own ([`strict`]), never with the gate's
//! decoder: where the two differ, one of them is wrong. What it does and does not: `docs/spec/simulator.md`.

// An order's answer has some fifty fields.
#![recursion_limit = "256"]

pub mod answers;
pub mod api;
pub mod book;
pub mod bybit;
pub mod control;
pub mod decimal;
pub mod ears;
pub mod endpoints;
pub mod exchange;
pub mod faults;
pub mod frames;
pub mod futures;
pub mod keys;
pub mod kucoin;
pub mod makers;
pub mod market;
pub mod okx;
mod order_rules;
pub mod refusal;
pub mod sapi;
pub mod sapi_table;
pub mod server;
pub mod streams;
pub mod strict;
pub mod user_stream;
pub mod v5;
pub mod venue;

pub use keys::{Key, Keys, Material, Right, Rights};
pub use refusal::Refusal;
pub use strict::{Understood, check};
