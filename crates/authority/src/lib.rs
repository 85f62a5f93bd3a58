//! Authority: who may do what, where, from where. People write Cedar policies against our schema; this crate checks
//! them, compiles them to the table of `portcullis_model::table`, and keeps full Cedar as the oracle beside it. It is
//! the only crate that knows Cedar.
//!
//! It trusts the policy text only after [`check`], and the roster as the caller took it from the log. Deliberately
//! absent: counters, prices and anything else with a state (those are mandates), and any policy that could fail while
//! it is evaluated (Cedar would skip it).
//!
//! ```text
//! text ── check ──▶ rules ── compile ──▶ Table   evaluated for every action
//!                     └────────────────▶ Oracle  full Cedar: tests, a sample, explanations
//! ```
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        reason = "tests state what must hold"
    )
)]

mod atoms;
pub mod cases;
mod check;
mod compile;
mod oracle;
mod release;
mod report;
mod residual;
mod roster;
mod source;
mod vocabulary;

#[cfg(test)]
mod tests;

pub use check::{
    ID_BYTES_MAX, NESTING_MAX, OPERATORS_MAX, POLICIES_MAX, Rules, TEXT_BYTES_MAX, check,
};
pub use compile::{DECISION_NS_MAX, compile};
pub use oracle::{Decision, Explanation, Mismatch, Note, Oracle, OwnedFacts, Question};
pub use release::{Governing, PAUSE_MIN, PAUSE_TIMES, compile_release};
pub use report::{CheckError, Finding, Report, Severity};
pub use roster::{Account, Roster, RosterError, Strategy};
pub use vocabulary::{DEFAULT_POLICY, SCHEMA};
