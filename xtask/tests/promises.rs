//! The two promises of the architecture, read from the dependency graph: what holds keys reaches no network, what is on the
//! network reaches no keys.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests state what must hold"
)]

use std::collections::BTreeSet;
use std::process::Command;

/// Crates that a program is built of (normal dependencies only).
fn tree(package: &str) -> BTreeSet<String> {
    let done = Command::new(env!("CARGO"))
        .args([
            "tree", "--edges", "normal", "--prefix", "none", "--format", "{p}", "-p", package,
        ])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
        .unwrap();
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
    let names: BTreeSet<String> = String::from_utf8_lossy(&done.stdout)
        .lines()
        .filter_map(|line| line.split_whitespace().next().map(str::to_owned))
        .collect();
    assert!(names.contains(package) && names.len() > 3, "{names:?}");
    names
}

fn reaches_none(package: &str, barred: &[&str]) {
    let names = tree(package);
    for name in barred {
        let found: Vec<&String> = names
            .iter()
            .filter(|n| *n == name || (name.ends_with('-') && n.starts_with(name)))
            .collect();
        assert!(found.is_empty(), "{package} reaches {found:?}");
    }
}

const NETWORK: [&str; 14] = [
    "rustls",
    "mio",
    "tokio",
    "socket2",
    "hyper",
    "reqwest",
    "ureq",
    "async-",
    "futures-",
    "smol",
    "openssl",
    "native-tls",
    "polling",
    "portcullis-gateway",
];
const KEYS: [&str; 5] = [
    "portcullis-signer",
    "portcullis-unseal",
    "portcullis-authority",
    "age",
    "cedar-policy",
];

#[test]
fn what_holds_keys_reaches_no_network() {
    reaches_none("portcullis-signer", &NETWORK);
    reaches_none("portcullis-signer", &["age", "portcullis-unseal"]);
    // age brings the traits of `futures` along, which open nothing.
    let sockets: Vec<&str> = NETWORK
        .into_iter()
        .filter(|name| *name != "futures-")
        .collect();
    reaches_none("portcullis-unseal", &sockets);
}

#[test]
fn what_is_on_the_network_reaches_no_keys() {
    reaches_none("portcullis-gateway", &KEYS);
}

#[test]
fn the_operators_program_links_neither() {
    reaches_none(
        "portcullis-cli",
        &[
            "portcullis-signer",
            "portcullis-gateway",
            "portcullis-unseal",
        ],
    );
}

#[test]
fn the_pure_crates_stay_pure() {
    reaches_none("portcullis-model", &NETWORK);
    reaches_none("portcullis-venues", &NETWORK);
    reaches_none("portcullis-authority", &NETWORK);
    reaches_none("portcullis-venues", &KEYS);
}

#[test]
fn the_simulated_venue_shares_nothing_with_the_gate() {
    reaches_none(
        "portcullis-sim",
        &[
            "portcullis-venues",
            "portcullis-gateway",
            "portcullis-signer",
            "portcullis-authority",
        ],
    );
}
