//! The gate's refusals, venue by venue: the table in the documentation says what the code says, and client libraries raise what
//! it says. OKX, whose libraries are told by more than a code, has tests of its own.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests state what must hold"
)]

use portcullis_model::id::EntryId;
use portcullis_venues::refusals::RefusalCode;
use portcullis_venues::{Dialect, dialect};
use std::io::Write;
use std::process::{Command, Stdio};

struct Venue {
    name: &'static str,
    /// Where its table begins in `docs/spec/refusals.md`.
    heading: &'static str,
    /// What asks the libraries.
    script: &'static str,
    /// What the venue's other library raises, as the table says it, where there is one.
    raises: Option<fn(&RefusalCode) -> String>,
}

const VENUES: [Venue; 3] = [
    Venue {
        name: "binance",
        heading: "# Refusals",
        script: "tests/clients.py",
        raises: Some(|row| format!("BinanceAPIException(code={})", row.code)),
    },
    Venue {
        name: "bybit",
        heading: "### Bybit",
        script: "tests/clients_bybit.py",
        raises: Some(|row| match row.status {
            200 => format!("InvalidRequestError({})", row.code),
            status => format!("FailedRequestError({status})"),
        }),
    },
    Venue {
        name: "kucoin",
        heading: "### KuCoin",
        script: "tests/clients_kucoin.py",
        raises: None,
    },
];

impl Venue {
    fn dialect(&self) -> &'static dyn Dialect {
        dialect::of(self.name).unwrap()
    }
}

fn path(name: &str) -> String {
    format!("{}/{name}", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_documented_tables_are_the_codes() {
    let text = std::fs::read_to_string(path("../../docs/spec/refusals.md")).unwrap();
    for venue in VENUES {
        let (_, table) = text.split_once(&format!("{}\n", venue.heading)).unwrap();
        for row in venue.dialect().refusals() {
            let line = table
                .lines()
                .find(|l| l.starts_with(&format!("| {:?} | `{}` |", row.class, row.name)))
                .unwrap_or_else(|| panic!("{}: no row for {:?}", venue.name, row.class));
            let mut rest = format!("| {} | {} | `{}` |", row.status, row.code, row.ccxt);
            if let Some(raises) = venue.raises {
                rest.push_str(&format!(" `{}` |", raises(row)));
            }
            assert!(line.ends_with(&rest), "{line}\nshould end with\n{rest}");
        }
    }
}

/// Needs Python with the libraries: `PORTCULLIS_TEST_PYTHON` names it, and where it is not set the test says that it was left
/// out (`./test` sets it).
#[test]
fn the_libraries_raise_what_fits() {
    let Ok(python) = std::env::var("PORTCULLIS_TEST_PYTHON") else {
        eprintln!("left out: PORTCULLIS_TEST_PYTHON is not set");
        return;
    };
    for venue in VENUES {
        let dialect = venue.dialect();
        let rows: Vec<serde_json::Value> = dialect
            .refusals()
            .iter()
            .map(|row| {
                let message = "order of 5 BTC is above the limit of 1 BTC";
                let (status, body) = dialect.refuse(row.class, message, Some(EntryId(88_213)));
                serde_json::json!({
                    "name": row.name, "status": status, "code": row.code, "ccxt": row.ccxt,
                    "body": String::from_utf8(body).unwrap(),
                })
            })
            .collect();
        let mut child = Command::new(&python)
            .arg(path(venue.script))
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
            "{}: {}",
            venue.name,
            String::from_utf8_lossy(&output.stdout)
        );
    }
}
