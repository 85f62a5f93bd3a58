//! The gate's refusals: the table in the documentation says what the code says, and both client libraries raise what it says.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests state what must hold"
)]

use portcullis_model::id::EntryId;
use portcullis_venues::Dialect;
use portcullis_venues::binance::{Binance, REFUSALS};
use std::io::Write;
use std::process::{Command, Stdio};

fn path(name: &str) -> String {
    format!("{}/{name}", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_documented_table_is_the_codes() {
    let text = std::fs::read_to_string(path("../../docs/spec/refusals.md")).unwrap();
    for row in REFUSALS {
        let line = text
            .lines()
            .find(|l| l.starts_with(&format!("| {:?} | `{}` |", row.class, row.name)))
            .unwrap_or_else(|| panic!("no row for {:?}", row.class));
        let rest = format!(
            "| {} | {} | `{}` | `BinanceAPIException(code={})` |",
            row.status, row.code, row.ccxt, row.code
        );
        assert!(line.ends_with(&rest), "{line}\nshould end with\n{rest}");
    }
}

/// Needs Python with both libraries: `PORTCULLIS_TEST_PYTHON` names it, and where it is not set the test says that it was
/// left out (`./test` sets it).
#[test]
fn both_libraries_raise_what_fits() {
    let Ok(python) = std::env::var("PORTCULLIS_TEST_PYTHON") else {
        eprintln!("left out: PORTCULLIS_TEST_PYTHON is not set");
        return;
    };
    let rows: Vec<serde_json::Value> = REFUSALS
        .iter()
        .map(|row| {
            let (status, body) = Binance.refuse(row.class, "order of 5 BTC is above the limit of 1 BTC", Some(EntryId(88_213)));
            serde_json::json!({
                "name": row.name, "status": status, "code": row.code, "ccxt": row.ccxt, "body": String::from_utf8(body).unwrap(),
            })
        })
        .collect();
    let mut child = Command::new(python)
        .arg(path("tests/clients.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(serde_json::to_string(&rows).unwrap().as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
}
