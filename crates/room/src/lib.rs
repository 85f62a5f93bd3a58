//! What every room of the gate shares: how it waits, how it speaks to its neighbours and to `up`, how it
//! locks itself in, and where it keeps secrets.
//!
//! Trusts the kernel, and nobody else: a neighbour may be in an attacker's hands, so whatever arrives on a
//! link is bounded, checked, and at worst drops that link.
//!
//! This is the only crate with unsafe code, all of it in [`sys`], one system call to a function. Deliberately
//! absent: making a socket, connecting one, binding one. The signer links this crate, so a room that needs
//! those brings its own; here a listener is something one was given. Absent too: any thought about what a
//! frame means.
//!
//! Reading order: [`poll`] and [`clock`], [`link`], [`control`], [`spawn`], [`confine`], [`secret`].

#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        reason = "a test fails by panicking"
    )
)]

mod sys;

pub mod clock;
pub mod confine;
pub mod control;
pub mod io;
pub mod link;
pub mod poll;
pub mod schedule;
pub mod secret;
pub mod spawn;

/// Which build this program is. Rooms of different builds refuse each other, on links and on the control channel.
///
/// Version, a hash over the sources of this crate and of the model, and the release's own mark if it set one.
pub const BUILD_ID: &str = env!("PORTCULLIS_ROOM_BUILD");
