//! The two rooms on the network. **Ingress** faces the programs: it frames HTTP, bounds everything, and hands each
//! request on whole. **Egress** faces the exchanges: it takes signed requests from the signer, and sends each at most
//! once. Neither has a key, and neither can reach the key store: this crate does not depend on it.
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        reason = "tests state what must hold"
    )
)]

pub mod answer;
pub mod budget;
pub mod request;
