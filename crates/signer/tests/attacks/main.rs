//! Attacks from inside the site: each test is ingress, egress, a thief with a virtual key or one with a copy of the disk.
//! It holds exactly what that attacker holds, speaks the wire with the real program, and tries everything; what took effect
//! is read from a strict exchange's own books. Each prints what the attack got; SECURITY.md has the same table.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests state what must hold"
)]

#[path = "../common/mod.rs"]
mod common;

mod disk;
mod egress;
mod frames;
mod gate;
mod ingress;
mod lies;
mod table;
mod venues;
mod world;
