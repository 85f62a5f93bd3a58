//! Unmodified CCXT and python-binance trade on the simulated Binance (tests/clients.py, tests/futures_clients.py), CCXT and
//! pybit on the simulated Bybit (tests/on_bybit.py), CCXT and python-okx on the simulated OKX (tests/on_okx.py).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests state what must hold"
)]

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

/// Needs Python with the libraries: `PORTCULLIS_TEST_PYTHON` names it, and where it is not set the test says that it was
/// left out (`./test` sets it).
fn runs(script: &str, arguments: &[&str]) {
    let Ok(python) = std::env::var("PORTCULLIS_TEST_PYTHON") else {
        eprintln!("left out: PORTCULLIS_TEST_PYTHON is not set");
        return;
    };
    let folder = std::env::temp_dir().join(format!("portcullis-{script}-{}", std::process::id()));
    let mut venue = Command::new(env!("CARGO_BIN_EXE_portcullis-sim"))
        .args(["--json", "--end-with-stdin", "--seed", "7", "--folder"])
        .arg(&folder)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(venue.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let done = Command::new(python)
        .arg(format!("{}/tests/{script}", env!("CARGO_MANIFEST_DIR")))
        .arg(&line)
        .output()
        .unwrap();
    // It ends with its standard input.
    drop(venue.stdin.take());
    assert!(venue.wait().unwrap().success());
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(
        done.status.success(),
        "{}{}",
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr)
    );
}

#[test]
fn both_libraries_trade() {
    runs("clients.py", &[]);
}

#[test]
fn both_libraries_trade_futures() {
    runs("futures_clients.py", &["--still"]);
}

#[test]
fn ccxt_and_pybit_trade() {
    runs("on_bybit.py", &["--venue", "bybit"]);
}

#[test]
fn ccxt_and_python_okx_trade() {
    runs("on_okx.py", &["--venue", "okx"]);
}
