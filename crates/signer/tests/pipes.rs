//! The loop over real pipes: the test is ingress and egress, and speaks the wire with what those hold.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests state what must hold"
)]

mod common;

use aws_lc_rs::hmac;
use common::*;
use portcullis_model::action::{ActionKind, ClientOrderId, MarketKind};
use portcullis_model::command::{Answer, Command};
use portcullis_model::entry::What;
use portcullis_model::halt::{Level, Scope};
use portcullis_model::id::{EntryId, RequestId};
use portcullis_model::number::Quantity;
use portcullis_model::report::{OrderReport, OrderStatus, Report};
use portcullis_model::wire::{self, Reply, Request, kind};
use portcullis_room::control::Peer;
use portcullis_room::spawn::pipes;
use portcullis_signer::releases;
use portcullis_signer::serve::Ended;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{Read, Write, pipe};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

#[test]
fn an_order_goes_round_and_the_log_has_it() {
    let folder = Folder::new();
    let site = site(&folder, true);
    site.order("one");
    let seen = site.wait_for(1);
    let (message, signature) = seen[0].body.split_once("&signature=").unwrap();
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, REAL), message.as_bytes());
    assert_eq!(signature, releases::hex(tag.as_ref()));
    let entry = seen[0].entry.unwrap();
    assert!(matches!(site.stop(), Ended::Stopped));
    let entries = entries(&folder);
    assert_eq!(entries[entry.0 as usize].what, What::Approved);
    assert!(
        entries
            .iter()
            .any(|body| body.public.of == Some(entry) && body.what == What::Outcome)
    );
}

#[test]
fn under_full_load_nothing_is_signed_after_a_halt_and_nothing_accepted_after_its_moment() {
    let folder = Folder::new();
    let site = Arc::new(site(&folder, true));
    let stop = Arc::new(AtomicBool::new(false));
    let loaders: Vec<_> = (0..2)
        .map(|n| {
            let (site, stop) = (Arc::clone(&site), Arc::clone(&stop));
            thread::spawn(move || {
                let mut sent = 0u64;
                while !stop.load(Ordering::SeqCst) {
                    site.order(&format!("l{n}x{sent}"));
                    sent += 1;
                    if sent.is_multiple_of(16) {
                        thread::sleep(Duration::from_millis(1));
                    }
                }
            })
        })
        .collect();
    let mut halts = Vec::new();
    for _ in 0..100 {
        thread::sleep(Duration::from_millis(5));
        let answer = site.command(Command::Halt {
            scope: Scope::Firm,
            level: Level::CancelOnly,
            reason: "drill".to_owned(),
        });
        let Answer::Halted(halted) = answer else {
            panic!("{answer:?}");
        };
        assert!(halted.confirmed);
        site.done(Command::Resume {
            scope: Scope::Firm,
            level: None,
            reason: "drill".to_owned(),
        });
        halts.push(halted);
    }
    stop.store(true, Ordering::SeqCst);
    loaders
        .into_iter()
        .for_each(|loader| loader.join().unwrap());
    let site = Arc::into_inner(site).unwrap();
    let seen = site.orders_seen();
    assert!(matches!(site.stop(), Ended::Stopped));
    let entries = entries(&folder);
    // Between a halt's entry and its end no order is approved.
    let mut halted = false;
    let (mut approved, mut turns) = (HashSet::new(), 0);
    for (index, body) in entries.iter().enumerate() {
        for effect in &body.private.effects {
            match effect {
                portcullis_model::state::Effect::Halted(_) => {
                    halted = true;
                    turns += 1;
                }
                portcullis_model::state::Effect::Resumed { .. } => halted = false,
                _ => {}
            }
        }
        let order = body
            .regulator
            .actions
            .iter()
            .any(|action| action.kind() == ActionKind::PlaceOrder);
        if body.what == What::Approved && order {
            assert!(!halted, "entry {index} was approved under a halt");
            approved.insert(EntryId(index as u64));
        }
    }
    assert_eq!(turns, 100);
    assert!(
        approved.len() > 500,
        "the load was no load: {}",
        approved.len()
    );
    // Whatever egress got is in the log, none of it twice, and none after the moment of a halt that was older than it.
    let mut once = HashMap::new();
    for one in &seen {
        let entry = one.entry.unwrap();
        assert!(approved.contains(&entry));
        assert!(
            once.insert(entry, one.at).is_none(),
            "entry {entry} was sent twice"
        );
    }
    for halted in &halts {
        for entry in &halted.under_way {
            assert!(once.get(entry).is_none_or(|at| *at <= halted.none_after));
        }
        for (entry, at) in &once {
            assert!(*entry > halted.entry || *at <= halted.none_after_as_told);
        }
    }
}

#[test]
fn what_no_venue_says_ends_the_link_and_not_the_signer() {
    let order = OrderReport {
        market: MarketKind::Spot,
        symbol: "BTCUSDT".into(),
        order_id: 1.into(),
        client_order_id: Some("one".into()),
        list_id: None,
        status: OrderStatus::Open,
        side: None,
        order_type: None,
        time_in_force: None,
        price: None,
        original_quantity: None,
        executed_quantity: Some(Quantity(1)),
        executed_quote: None,
        time_ms: None,
        original_client_order_id: None,
        algo: false,
        became: None,
        average_price: None,
    };
    // Texts of which an entry would be longer than the log takes, and a figure that cannot be subtracted from.
    let long = OrderReport {
        original_client_order_id: Some(ClientOrderId::from("x".repeat(900))),
        ..order.clone()
    };
    let below = OrderReport {
        executed_quantity: Some(Quantity(i128::MIN)),
        ..order.clone()
    };
    for lie in [vec![long; 100], vec![order, below]] {
        let folder = Folder::new();
        let site = site_with(&folder, Some(lie.into_iter().map(Report::Order).collect()));
        site.order("one");
        site.wait_for(1);
        // Without its egress the gate refuses, and operators are answered.
        let (_, text) = site
            .replies
            .lock()
            .unwrap()
            .recv_timeout(Duration::from_secs(10))
            .unwrap();
        assert!(text.contains("broke"), "{text}");
        assert!(matches!(site.stop(), Ended::Stopped));
    }
}

#[test]
fn commands_that_come_at_once_are_obeyed_one_after_the_other() {
    let folder = Folder::new();
    let site = site(&folder, true);
    let halt = |level| Command::Halt {
        scope: Scope::Firm,
        level,
        reason: "both".to_owned(),
    };
    {
        let mut operator = site.operator.lock().unwrap();
        let first = serde_json::to_vec(&halt(Level::Freeze)).unwrap();
        let mut both = (first.len() as u32).to_be_bytes().to_vec();
        both.extend(&first);
        operator.write_all(&both).unwrap();
        // The rest of what was written at once is asked, and answered first, as if it were alone.
        let Answer::Halted(first) = ask(&mut operator, &halt(Level::Lock)) else {
            panic!("the first answer");
        };
        operator
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        let mut head = [0; 4];
        operator.read_exact(&mut head).expect("a second answer");
        let mut json = vec![0; u32::from_be_bytes(head) as usize];
        operator.read_exact(&mut json).unwrap();
        let Answer::Halted(second) = serde_json::from_slice(&json).unwrap() else {
            panic!("the second answer");
        };
        assert!(first.entry < second.entry);
    }
    assert!(matches!(site.stop(), Ended::Stopped));
}

#[test]
fn what_egress_never_answered_is_listed_by_a_halt() {
    let folder = Folder::new();
    let site = site(&folder, false);
    for n in 0..5 {
        site.order(&format!("o{n}"));
    }
    let seen = site.wait_for(5);
    let answer = site.command(Command::Halt {
        scope: Scope::Firm,
        level: Level::Lock,
        reason: String::new(),
    });
    let Answer::Halted(halted) = answer else {
        panic!("{answer:?}");
    };
    let entries: Vec<EntryId> = seen.iter().filter_map(|one| one.entry).collect();
    assert_eq!((halted.confirmed, halted.under_way), (true, entries));
    site.order("late");
    let (_, text) = site
        .replies
        .lock()
        .unwrap()
        .recv_timeout(Duration::from_secs(10))
        .unwrap();
    assert!(text.contains("lock"), "{text}");
    assert!(matches!(site.stop(), Ended::Stopped));
}

#[test]
fn a_neighbour_of_another_build_gets_nothing() {
    let folder = Folder::new();
    let (core, waker) = open(&folder.0);
    let (from_ingress, mut ingress_out) = pipe().unwrap();
    let (mut ingress_in, to_ingress) = pipe().unwrap();
    let (mut operator, connection, operators) = operator();
    let signer = thread::spawn(move || {
        let mut serve = serve(core, waker);
        serve.operators(operators);
        serve.operator(connection.into()).unwrap();
        serve
            .link(Peer::Ingress, 1, from_ingress.into(), to_ingress.into())
            .unwrap();
        serve.run()
    });
    // It says who it is, and nothing more to a stranger.
    assert_eq!(read_frame(&mut ingress_in).unwrap().0, kind::HELLO);
    let mut stranger = hello("ingress");
    stranger.build = b"other".to_vec().into();
    write_frame(&mut ingress_out, kind::HELLO, &stranger);
    write_frame(&mut ingress_out, kind::REQUEST, &7u8);
    // The link may be cut already.
    let _ = ingress_out.write_all(&[0xff; 64]);
    ask(&mut operator, &Command::Stop);
    assert!(matches!(signer.join().unwrap(), Ended::Stopped));
    drop(ingress_out);
    let mut got = Vec::new();
    ingress_in.read_to_end(&mut got).unwrap();
    assert!(got.is_empty());
}

#[test]
fn a_burst_that_comes_at_once_is_answered_without_another_word() {
    const BURST: u64 = 1_500;
    let folder = Folder::new();
    let (core, waker) = open(&folder.0);
    let (theirs, ours) = pipes().unwrap();
    let (mut operator, connection, operators) = operator();
    // All of it lies in the pipe before the signer looks: more frames than one look takes bytes for.
    let mut bytes = Vec::new();
    wire::frame(&mut bytes, kind::HELLO, &hello("ingress")).unwrap();
    for seq in 0..BURST {
        let request = Request {
            id: RequestId { epoch: 1, seq },
            connection: 1,
            host: "api.binance.com",
            source: (&[127u8, 0, 0, 1][..]).into(),
            method: "GET",
            target: (&b"/api/v3/ping"[..]).into(),
            headers: Vec::new(),
            body: (&[][..]).into(),
        };
        wire::frame(&mut bytes, kind::REQUEST, &request).unwrap();
    }
    File::from(ours.to.try_clone().unwrap())
        .write_all(&bytes)
        .unwrap();
    let signer = thread::spawn(move || {
        let mut serve = serve(core, waker);
        serve.operators(operators);
        serve.operator(connection.into()).unwrap();
        serve
            .link(Peer::Ingress, 1, theirs.from, theirs.to)
            .unwrap();
        serve.run()
    });
    let mut from = File::from(ours.from);
    let mut answered = HashSet::new();
    // How far the log is comes before everything but the greeting.
    assert_eq!(read_frame(&mut from).unwrap().0, kind::HELLO);
    let (first, cbor) = read_frame(&mut from).unwrap();
    assert_eq!(first, kind::LOG);
    assert_eq!(wire::message::<wire::Log>(&cbor).unwrap().size, 0);
    while (answered.len() as u64) < BURST {
        let (kind, cbor) = read_frame(&mut from).unwrap();
        if kind == kind::REPLY {
            let reply: Reply<'_> = wire::message(&cbor).unwrap();
            assert!(answered.insert(reply.id.seq), "answered twice");
        }
    }
    ask(&mut operator, &Command::Stop);
    assert!(matches!(signer.join().unwrap(), Ended::Stopped));
}
