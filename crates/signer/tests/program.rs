//! The program itself: the test is `up`, ingress and egress, and gives it what those give.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests state what must hold"
)]

mod common;

use common::program::*;
use common::*;
use portcullis_model::action::{Duty, Scheme};
use portcullis_model::command::{Answer, Command};
use portcullis_model::entry::{Body, What};
use portcullis_model::halt::{Level, Scope};
use portcullis_model::id::{RequestId, Timestamp};
use portcullis_model::release::Files;
use portcullis_model::wire::{self, Reply, Send, kind};
use portcullis_room::control::ToRoom;
use serde_json::json;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

const TRADE_KEY: (&str, &[u8]) = ("keys/main-trade-1.age", b"the real secret\n");

fn release() -> Files {
    let mut files = files();
    files.insert(
        "authority.cedar".to_owned(),
        portcullis_authority::DEFAULT_POLICY.to_owned(),
    );
    files
}

/// Accounts, keys, a strategy and a release; gives the virtual key.
fn set_up(program: &mut Program) -> (String, String) {
    program.done(Command::AccountAdd {
        name: name("main"),
        venue: name("binance"),
    });
    program.done(Command::KeyAdd {
        account: name("main"),
        duty: Duty::Trade,
        scheme: Scheme::HmacSha256,
        api_key: "RealTradeKey".to_owned(),
        sealed: TRADE_KEY.0.to_owned(),
    });
    program.done(Command::StrategyAdd {
        name: name("quoter"),
        desk: None,
        observe: false,
    });
    let issued = program.ask(Command::VirtualKeyIssue {
        strategy: name("quoter"),
        account: name("main"),
        scheme: Scheme::HmacSha256,
        public_key: None,
        expires: Timestamp(reading().wall_us + 3_600_000_000),
        sources: vec!["127.0.0.0/8".to_owned()],
        canary: false,
    });
    let Answer::VirtualKey {
        api_key, secret, ..
    } = issued
    else {
        panic!("{issued:?}");
    };
    program.done(Command::Release { files: release() });
    (api_key, secret.unwrap())
}

fn order(neighbours: &mut Neighbours, key: &(String, String), epoch: u32, seq: u64) {
    let id = RequestId { epoch, seq };
    with_order(&key.0, &key.1, &format!("o{epoch}x{seq}"), id, |request| {
        write_frame(&mut neighbours.ingress.1, kind::REQUEST, request);
    });
}

fn reply(neighbours: &mut Neighbours) -> (u16, String) {
    loop {
        let (kind, cbor) = read_frame(&mut neighbours.ingress.0).unwrap();
        if kind == kind::REPLY {
            let reply: Reply<'_> = wire::message(&cbor).unwrap();
            return (
                reply.status,
                String::from_utf8_lossy(reply.body).into_owned(),
            );
        }
    }
}

/// The next signed order that egress gets; what the gate asks for itself is passed over.
fn signed(neighbours: &mut Neighbours) -> String {
    loop {
        let (kind, cbor) = read_frame(&mut neighbours.egress.0).unwrap();
        if kind == kind::SEND {
            let send: Send<'_> = wire::message(&cbor).unwrap();
            if send.target.to_vec() == b"/api/v3/order" {
                return String::from_utf8(send.body.to_vec()).unwrap();
            }
        }
    }
}

#[test]
fn a_site_from_its_first_start_to_its_second() {
    let folder = Folder::new();
    let mut program = Program::start(&folder.0);
    // Sealed: it listens, shows what it has, and says no to everything else.
    let status = program.status();
    assert_eq!(status["sealed"], true);
    assert_eq!(
        status["missing"],
        json!(["keys/site-secret.age", "keys/log-key.age"])
    );
    let answer = program.ask(Command::Halt {
        scope: Scope::Firm,
        level: Level::Lock,
        reason: String::new(),
    });
    assert!(matches!(&answer, Answer::Refused { code, .. } if code == "sealed"));
    let mut neighbours = program.neighbours(1);
    order(
        &mut neighbours,
        &("key".to_owned(), "secret".to_owned()),
        1,
        1,
    );
    let (status, text) = reply(&mut neighbours);
    assert!(status == 503 && text.contains("sealed"), "{status} {text}");
    assert!(program.metrics().contains("portcullis_signer_sealed 1"));
    // One of the two secrets is not enough.
    program.unseal(&[SITE_SECRET]);
    program.wait_for(|status| status["missing"] == json!(["keys/log-key.age"]));
    // With both it opens, and creates the site.
    program.unseal(&[LOG_KEY, TRADE_KEY]);
    let status = program.wait_for(|status| status["site"] == "fund");
    assert_eq!(
        (&status["entries"], &status["term"]),
        (&json!(1), &json!(1))
    );
    let key = set_up(&mut program);
    let status = program.status();
    assert_eq!(status["sealed"], false);
    assert_eq!(status["accounts"][0]["keys"][0]["open"], true);
    let warnings = status["warnings"].to_string();
    assert!(
        warnings.contains("key file")
            && warnings.contains("one key for all")
            && warnings.contains("unlimited"),
        "{warnings}"
    );
    // Prices come from the gate's own polling, which gets no answer here: a limit buy goes at its own price.
    order(&mut neighbours, &key, 1, 2);
    let body = signed(&mut neighbours);
    assert!(
        body.contains("newClientOrderId=o1x2") && body.contains("&signature="),
        "{body}"
    );
    let Answer::Halted(halted) = program.ask(Command::Halt {
        scope: Scope::Firm,
        level: Level::CancelOnly,
        reason: "test".to_owned(),
    }) else {
        panic!("not halted");
    };
    // Egress says nothing, so what was signed may still arrive.
    assert!(!halted.confirmed && halted.under_way.len() == 1);
    let lines = program.stop();
    assert!(lines.contains("\"event\":\"halted\""), "{lines}");

    // Nothing of it is lost, and nothing from before passes.
    let mut program = Program::start(&folder.0);
    let status = program.status();
    assert_eq!(
        (&status["sealed"], &status["site"]),
        (&json!(true), &json!("fund"))
    );
    assert_eq!(status["halts"].as_array().unwrap().len(), 1);
    program.unseal(&[SITE_SECRET, LOG_KEY, TRADE_KEY]);
    let status = program.wait_for(|status| status["sealed"] == false);
    assert_eq!(
        (&status["term"], &status["open_orders"]),
        (&json!(2), &json!(1))
    );
    let mut neighbours = program.neighbours(2);
    order(&mut neighbours, &key, 2, 1);
    let (code, text) = reply(&mut neighbours);
    assert!(text.contains("cancel-only"), "{code} {text}");
    program.done(Command::Resume {
        scope: Scope::Firm,
        level: None,
        reason: String::new(),
    });
    order(&mut neighbours, &key, 2, 2);
    assert!(signed(&mut neighbours).contains("newClientOrderId=o2x2"));
    program.stop();
    let mut kinds = Vec::new();
    let verifier = portcullis_signer::log_file::verifier(&folder.0.join("log"));
    let checked = portcullis_signer::log_file::check::<portcullis_signer::log_file::LogError>(
        &folder.0.join("log"),
        verifier.unwrap().unwrap(),
        None,
        |_, entry| {
            kinds.push(Body::from_entry(&entry).unwrap().what);
            Ok(())
        },
    );
    assert_eq!(checked.unwrap().entries(), kinds.len() as u64);
    assert_eq!(
        kinds.iter().filter(|what| **what == What::Started).count(),
        2
    );
}

#[test]
fn an_idle_signer_uses_no_cpu() {
    let folder = Folder::new();
    let mut program = Program::start(&folder.0);
    program.unseal(&[SITE_SECRET, LOG_KEY, TRADE_KEY]);
    program.wait_for(|status| status["site"] == "fund");
    set_up(&mut program);
    let _neighbours = program.neighbours(1);
    std::thread::sleep(Duration::from_millis(1_500));
    let before = program.cpu();
    std::thread::sleep(Duration::from_secs(3));
    // A tick is ten milliseconds.
    assert!(program.cpu() - before <= 1, "{}", program.cpu() - before);
    program.stop();
}

#[test]
fn a_second_signer_of_the_site_does_not_start() {
    let folder = Folder::new();
    let mut first = Program::start(&folder.0);
    first.status();
    let second = Program::start(&folder.0);
    second.ended(2);
    first.stop();
}

#[test]
fn it_ends_in_order_when_whoever_started_it_is_gone() {
    let folder = Folder::new();
    let mut program = Program::start(&folder.0);
    program.unseal(&[SITE_SECRET, LOG_KEY]);
    program.wait_for(|status| status["site"] == "fund");
    let Program {
        mut running,
        operator,
    } = program;
    drop((running.control, operator));
    let status = running.process.end_within(PATIENCE).unwrap();
    assert_eq!(status.code(), Some(0));
    let note = std::fs::read_to_string(folder.0.join("log/checkpoint")).unwrap();
    assert_eq!(note.lines().nth(1), Some("1"));
}

#[test]
fn another_log_key_or_site_name_ends_it() {
    let folder = Folder::new();
    let mut program = Program::start(&folder.0);
    program.unseal(&[SITE_SECRET, LOG_KEY]);
    program.wait_for(|status| status["site"] == "fund");
    program.stop();
    let mut program = Program::start(&folder.0);
    program.status();
    program.unseal(&[SITE_SECRET, ("keys/log-key.age", &[8; 32])]);
    program.ended(1);
    // A secret that is cut short is refused, and the gate stays sealed.
    let mut program = Program::start(&folder.0);
    let (from, to) = std::io::pipe().unwrap();
    let fds = [("secrets", from.as_fd())];
    let control = &program.running.control;
    control.send(&ToRoom::Secrets, &fds, PATIENCE).unwrap();
    let mut to = File::from(OwnedFd::from(to));
    to.write_all(&[0, 5, b'k']).unwrap();
    drop(to);
    // It is read beside the loop; what comes after it in the lines shows that it was.
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(program.status()["sealed"], true);
    assert!(program.stop().contains("secrets-refused"));
}

#[test]
fn a_malformed_command_is_refused_and_the_connection_goes_on() {
    let folder = Folder::new();
    let mut program = Program::start(&folder.0);
    program.status();
    program.operator.write_all(b"\x00\x00\x00\x02{}").unwrap();
    let mut head = [0; 4];
    program.operator.read_exact(&mut head).unwrap();
    let mut json = vec![0; u32::from_be_bytes(head) as usize];
    program.operator.read_exact(&mut json).unwrap();
    let answer: Answer = serde_json::from_slice(&json).unwrap();
    assert!(matches!(answer, Answer::Refused { code, .. } if code == "malformed"));
    program.status();
    program.stop();
}

/// A small file system of its own, if we may mount one.
struct Mounted(Folder);

impl Mounted {
    fn new() -> Option<Self> {
        let folder = Folder::new();
        let done = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=100m", "tmpfs"])
            .arg(&folder.0)
            .output();
        done.is_ok_and(|done| done.status.success())
            .then_some(Self(folder))
    }

    /// Everything that is left.
    fn fill(&self, name: &str) -> std::path::PathBuf {
        let place = self.0.0.join(name);
        let mut file = File::create(&place).unwrap();
        let part = vec![1; 1 << 16];
        while file.write_all(&part).is_ok() {}
        while file.write_all(&[1]).is_ok() {}
        place
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount")
            .arg("-l")
            .arg(&self.0.0)
            .output();
    }
}

#[test]
fn a_full_disk_lets_what_lowers_risk_pass_and_one_without_a_byte_left_ends_the_signer() {
    let Some(disk) = Mounted::new() else {
        println!("not tried: it takes the right to mount a file system");
        return;
    };
    let folder = disk.0.0.clone();
    let mut program = Program::start(&folder);
    program.unseal(&[SITE_SECRET, LOG_KEY, TRADE_KEY]);
    program.wait_for(|status| status["site"] == "fund");
    let key = set_up(&mut program);
    let mut neighbours = program.neighbours(1);
    order(&mut neighbours, &key, 1, 1);
    signed(&mut neighbours);
    let reserve = folder.join("log/reserve");
    let until = Instant::now() + PATIENCE;
    while !reserve.exists() {
        assert!(Instant::now() < until, "no reserve was taken");
        std::thread::sleep(Duration::from_millis(20));
    }
    std::thread::sleep(Duration::from_millis(200));

    let ballast = disk.fill("ballast");
    // The reserve is given back, and from then on only what lowers risk passes.
    order(&mut neighbours, &key, 1, 2);
    signed(&mut neighbours);
    while reserve.exists() {
        program.done(Command::StrategyMode {
            name: name("quoter"),
            observe: false,
        });
    }
    assert_eq!(program.status()["space"], "reserve");
    order(&mut neighbours, &key, 1, 3);
    let (_, text) = reply(&mut neighbours);
    assert!(text.contains("disk"), "{text}");
    let halted = program.ask(Command::Halt {
        scope: Scope::Firm,
        level: Level::CancelOnly,
        reason: "full".to_owned(),
    });
    assert!(matches!(halted, Answer::Halted(_)), "{halted:?}");
    program.done(Command::Resume {
        scope: Scope::Firm,
        level: None,
        reason: String::new(),
    });

    // With room again the reserve comes back, and everything passes.
    std::fs::remove_file(ballast).unwrap();
    program.done(Command::StrategyMode {
        name: name("quoter"),
        observe: false,
    });
    program.wait_for(|status| status["space"] == "plenty");
    assert!(reserve.exists());
    order(&mut neighbours, &key, 1, 4);
    signed(&mut neighbours);

    // Somebody takes the reserve's place too: nothing can be recorded, nothing is signed, and it ends.
    let ballast = disk.fill("ballast");
    // What is left of the log's last page is no room.
    while reserve.exists() {
        program.done(Command::StrategyMode {
            name: name("quoter"),
            observe: false,
        });
    }
    let more = disk.fill("more");
    let Program {
        mut running,
        mut operator,
    } = program;
    let command = serde_json::to_vec(&Command::StrategyMode {
        name: name("quoter"),
        observe: false,
    });
    let command = command.unwrap();
    for _ in 0..1_000 {
        let sent = operator
            .write_all(&(command.len() as u32).to_be_bytes())
            .and_then(|()| operator.write_all(&command));
        let mut head = [0; 4];
        if sent.and_then(|()| operator.read_exact(&mut head)).is_err() {
            break;
        }
        let mut answer = vec![0; u32::from_be_bytes(head) as usize];
        operator.read_exact(&mut answer).unwrap();
    }
    let status = running.process.end_within(PATIENCE).unwrap();
    assert_eq!(status.code(), Some(1));
    std::fs::remove_file(ballast).unwrap();
    std::fs::remove_file(more).unwrap();
    let mut program = Program::start(&folder);
    program.unseal(&[SITE_SECRET, LOG_KEY, TRADE_KEY]);
    let status = program.wait_for(|status| status["sealed"] == false);
    assert_eq!(status["open_orders"], 3);
    program.stop();
}
