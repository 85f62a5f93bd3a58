//! A1: a copy of a program's virtual key. A5: a copy of the disk, as far as the signer writes it; what `unseal` seals is
//! tested there.

use crate::common::MANDATES;
use crate::gate::{Credential, DUTIES, Fate, Gate, contains, forms, now_us, request_of, sign};
use crate::table::row;
use crate::world::{self, Books};
use portcullis_venues::Catalog;
use std::path::{Path, PathBuf};

#[test]
fn a_copy_of_a_virtual_key() {
    let mut venue = world::venue(now_us(), u64::MAX / 4);
    let mut gate = Gate::start(&venue, &DUTIES, MANDATES, 1);
    let copy = gate.credentials[0].clone();
    gate.until_priced(&mut venue);
    let mut at_the_gate = 0;
    for source in [
        vec![10, 0, 0, 7],
        vec![128, 0, 0, 1],
        vec![0, 0, 0, 0],
        vec![0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
        [vec![0; 10], vec![0xff, 0xff, 10, 0, 0, 7]].concat(),
    ] {
        for (method, path, fields) in [
            ("GET", "/api/v3/account", ""),
            (
                "POST",
                "/api/v3/order",
                "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.01",
            ),
            ("DELETE", "/api/v3/openOrders", "symbol=BTCUSDT"),
            (
                "POST",
                "/sapi/v1/capital/withdraw/apply",
                "coin=USDT&address=0x1&amount=1",
            ),
        ] {
            at_the_gate += 1;
            let mut asked = request_of(&copy, method, path, fields);
            asked.source = source.clone();
            let fate = gate.ask(&asked, &mut venue);
            assert!(
                matches!(&fate, Fate::Refused { status, .. } if *status >= 400),
                "{fate:?}"
            );
        }
    }
    // Straight at the exchange, every call.
    let mut at_the_venue = 0;
    let before = Books::of(&venue);
    for (_, endpoint) in Catalog::builtin().unwrap().endpoints() {
        for fields in [
            "",
            "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.01",
            "coin=USDT&address=0x1&amount=1&network=ETH",
        ] {
            let stamp = now_us() / 1_000;
            let payload = match fields {
                "" => format!("timestamp={stamp}"),
                fields => format!("{fields}&timestamp={stamp}"),
            };
            let target = format!(
                "{}?{payload}&signature={}",
                endpoint.path,
                sign(&copy, payload.as_bytes())
            );
            let headers = [("x-mbx-apikey", copy.api_key.as_bytes())];
            at_the_venue += 1;
            let (status, body) = world::raw(
                &mut venue,
                world::ELSEWHERE,
                endpoint.method.name(),
                target.as_bytes(),
                &headers,
                b"",
                now_us(),
            );
            let is_public = portcullis_sim::endpoints::at(&endpoint.path).is_some_and(|calls| {
                calls
                    .iter()
                    .any(|call| call.security == portcullis_sim::endpoints::Security::Public)
            });
            assert!(status != 200 || is_public, "{target}: {body}");
        }
    }
    assert_eq!(before.changes(&Books::of(&venue)), []);
    gate.program.stop();
    row(
        "A1",
        "a copy of a virtual key, from other sources at the gate and straight at the exchange",
        at_the_gate + at_the_venue,
        "nothing",
    );
}

fn files_in(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files_in(&path, out),
            false => out.push(path),
        }
    }
}

#[test]
fn a_copy_of_the_disk() {
    let mut venue = world::venue(now_us(), u64::MAX / 4);
    let mut gate = Gate::start(&venue, &DUTIES, MANDATES, 2);
    gate.until_priced(&mut venue);
    // A day's work in small: orders, a wrong secret, requests that carry secrets where none belongs.
    let credentials: Vec<Credential> = gate.credentials.clone();
    for (n, credential) in credentials.iter().enumerate() {
        let fields =
            format!("symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.01&newClientOrderId=d{n}");
        let signed = gate
            .ask(
                &request_of(credential, "POST", "/api/v3/order", &fields),
                &mut venue,
            )
            .signed();
        gate.honest(&signed, &mut venue);
        let refused = gate.ask(
            &request_of(credential, "POST", "/sapi/v1/asset/dust", "asset=BNB"),
            &mut venue,
        );
        assert!(!refused.is_signed());
    }
    let secrets = gate.secrets.clone();
    let folder = gate.folder;
    // Once while it runs, once when it has ended.
    let mut looked = 0;
    let mut bytes = 0;
    let mut look = || {
        let mut files = Vec::new();
        files_in(&folder.0, &mut files);
        assert!(files.len() > 5, "{files:?}");
        for file in files {
            let content = std::fs::read(&file).unwrap();
            looked += 1;
            bytes += content.len();
            // A log is made of far fewer bytes than its segments have room for.
            let end = content
                .iter()
                .rposition(|byte| *byte != 0)
                .map_or(0, |at| at + 1);
            let content = String::from_utf8_lossy(&content[..end]).into_owned();
            for (what, secret) in &secrets {
                for form in forms(secret) {
                    assert!(
                        !contains(&content, &form),
                        "{what} lies in {}",
                        file.display()
                    );
                }
            }
        }
    };
    look();
    gate.program.stop();
    look();
    row(
        "A5",
        &format!(
            "{} secrets (real keys, virtual keys, site, log key) looked for in {bytes} bytes of the site's folder, raw, in hex and base64",
            secrets.len()
        ),
        looked,
        "none is there",
    );
}
