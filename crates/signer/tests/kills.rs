//! `kill -9` of the signer at random moments under load: every request that reached egress is in the log, none went
//! twice, and each start folds the log to the state that went on.
//!
//! Without a harness: the same program, told so by its environment, is the signer.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests state what must hold"
)]

mod common;

use common::*;
use portcullis_model::action::ActionKind;
use portcullis_model::entry::What;
use portcullis_model::id::{EntryId, RequestId};
use portcullis_model::state::State;
use portcullis_model::wire::{self, Hello, LINK_FRAMES_MAX, Send, kind};
use portcullis_room::control::Peer;
use portcullis_signer::serve::Ended;
use std::collections::HashSet;
use std::fs::OpenOptions;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

const KILLS: u64 = 40;
const FOLDER: &str = "PORTCULLIS_TEST_SIGNER_FOLDER";
const FIFOS: [&str; 4] = ["from_ingress", "to_ingress", "from_egress", "to_egress"];

fn main() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        signer(Path::new(&folder));
    } else {
        nothing_is_lost_or_doubled_when_the_signer_is_killed();
        println!("nothing_is_lost_or_doubled_when_the_signer_is_killed ... ok");
    }
}

/// The signer, over named pipes. Both ends of each are open at once, so that opening waits for nobody.
fn signer(folder: &Path) {
    let (core, waker) = open(folder);
    let end = |name: &str| {
        OpenOptions::new()
            .read(true)
            .write(true)
            .open(folder.join(name))
            .unwrap()
    };
    let mut serve = serve(core, waker);
    let (from, to) = (end("from_ingress"), end("to_ingress"));
    serve
        .link(Peer::Ingress, 1, from.into(), to.into())
        .unwrap();
    let (from, to) = (end("from_egress"), end("to_egress"));
    serve.link(Peer::Egress, 1, from.into(), to.into()).unwrap();
    let ended = serve.run();
    assert!(matches!(ended, Ended::Stopped), "{ended:?}");
}

fn fifos(folder: &Path) {
    for name in FIFOS {
        let _ = std::fs::remove_file(folder.join(name));
        let made = Command::new("mkfifo")
            .arg(folder.join(name))
            .status()
            .unwrap();
        assert!(made.success());
    }
}

fn start(folder: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .env(FOLDER, folder)
        .spawn()
        .unwrap()
}

fn nothing_is_lost_or_doubled_when_the_signer_is_killed() {
    let folder = Folder::new();
    let made = site(&folder, true);
    let (api_key, secret) = (made.api_key.clone(), made.secret.clone());
    assert!(matches!(made.stop(), Ended::Stopped));

    let mut at_egress: Vec<(EntryId, String)> = Vec::new();
    let mut random = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = 0u64;
    for run in 0..KILLS {
        fifos(&folder.0);
        let mut child = start(&folder.0);
        let end = |name: &str| {
            OpenOptions::new()
                .read(true)
                .write(true)
                .open(folder.0.join(name))
                .unwrap()
        };
        let (mut to_signer, mut from_signer) = (end("from_ingress"), end("to_egress"));
        let mut outcomes = end("from_egress");
        write_frame(&mut to_signer, kind::HELLO, &hello("ingress"));
        write_frame(&mut outcomes, kind::HELLO, &hello("egress"));
        let (tell, seen) = channel();
        let reader = thread::spawn(move || {
            while let Some((kind, cbor)) = read_frame(&mut from_signer) {
                let is_end = |hello: &Hello| hello.room == "end";
                if kind == kind::HELLO && wire::message(&cbor).is_ok_and(|hello| is_end(&hello)) {
                    return;
                }
                if kind != kind::SEND {
                    continue;
                }
                // A frame that the kill cut short goes on with the marker's bytes: egress would drop the link there.
                let Ok(send) = wire::message::<Send<'_>>(&cbor) else {
                    return;
                };
                let body = String::from_utf8(send.body.to_vec()).unwrap();
                if let Some(entry) = send.entry {
                    tell.send((entry, body)).unwrap();
                }
            }
        });
        // As many as ingress has credit for: none is answered in this run.
        thread::sleep(Duration::from_millis(60));
        for _ in 0..LINK_FRAMES_MAX - 8 {
            next += 1;
            let id = RequestId {
                epoch: 1,
                seq: next,
            };
            with_order(&api_key, &secret, &format!("k{next}"), id, |request| {
                write_frame(&mut to_signer, kind::REQUEST, request);
            });
        }
        // Xorshift: a moment between the first order and the last.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        thread::sleep(Duration::from_micros(random % 60_000));
        child.kill().unwrap();
        child.wait().unwrap();
        // What was in the pipe when it died has reached egress all the same.
        let mut marker = end("to_egress");
        thread::sleep(Duration::from_millis(5));
        write_frame(&mut marker, kind::HELLO, &hello("end"));
        // A frame that was cut short swallows the marker: then the reader waits for more.
        let padding = vec![0u8; 1 << 17];
        let mut spare = marker.try_clone().unwrap();
        let padder = thread::spawn(move || {
            use std::io::Write;
            let _ = spare.write_all(&padding);
        });
        for sent in seen.iter() {
            at_egress.push(sent);
        }
        let _ = reader.join();
        drop(marker);
        // Empties the pipe, so that the writer ends too.
        let mut rest = end("to_egress");
        let drain = thread::spawn(move || {
            use std::io::Read;
            let mut waste = vec![0; 1 << 18];
            while rest.read(&mut waste).is_ok_and(|n| n > 0) {}
        });
        padder.join().unwrap();
        drop(drain);
        if run % 10 == 9 {
            check(&folder, &at_egress);
        }
    }
    check(&folder, &at_egress);
    println!("{KILLS} kills, {} requests at egress", at_egress.len());
    assert!(
        at_egress.len() > 500,
        "the load was no load: {}",
        at_egress.len()
    );
}

fn check(folder: &Folder, at_egress: &[(EntryId, String)]) {
    let entries = entries(folder);
    let mut once = HashSet::new();
    for (entry, body) in at_egress {
        let recorded = &entries[entry.0 as usize];
        assert_eq!(recorded.what, What::Approved, "entry {entry}");
        assert_eq!(recorded.regulator.actions[0].kind(), ActionKind::PlaceOrder);
        let client = body
            .split('&')
            .find_map(|field| field.strip_prefix("newClientOrderId="))
            .unwrap();
        let said = format!("{:?}", recorded.regulator.actions[0]);
        assert!(said.contains(&format!("\"{client}\"")), "{client}: {said}");
        assert!(once.insert(*entry), "entry {entry} went twice");
    }
    // The fold from the first entry is the state that a start has.
    let mut state = State::default();
    for (index, body) in entries.iter().enumerate() {
        state.apply(EntryId(index as u64), body.at, &body.private.effects);
    }
    let (core, _) = open(&folder.0);
    assert_eq!(
        core.state.entries,
        state.entries + 1,
        "the start itself is an entry"
    );
    assert_eq!(core.state.orders, state.orders);
    assert_eq!(core.state.usage, state.usage);
    core.close().unwrap();
}
