//! Seals secrets to files and opens them again. The only crate that knows age.
//!
//! Trusts the identity, passphrase or credential that it is given, and the pipe that it answers on. A sealed file is
//! outside data: its size, its scrypt work factor and what it decrypts to are bounded.
//!
//! Deliberately absent: keeping anything. The program opens what it was asked for, writes it to the signer's pipe and
//! ends, so neither age's dependencies nor what opens the seals live beside the keys in use. Absent too: age's
//! plugins, which are programs that somebody else wrote.
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        reason = "tests state what must hold"
    )
)]

pub mod frame;
pub mod seal;
