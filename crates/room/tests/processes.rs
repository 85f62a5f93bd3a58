//! Rooms as processes: what they are started with, how links and descriptors reach them, how they end and are replaced.
//!
//! Each case starts this program again; its first argument says as what.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests state what must hold"
)]

use std::io::{PipeReader, Read, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use portcullis_room::confine::SandboxReport;
use portcullis_room::control::{Control, FromRoom, Peer, Received, ToRoom, UpControl};
use portcullis_room::link::Link;
use portcullis_room::poll::{Interest, Poll, Token, Trigger};
use portcullis_room::{BUILD_ID, spawn};

const SOON: Duration = Duration::from_secs(20);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("as-echo") => return echo(),
        Some("as-witness") => return witness(),
        Some("as-leaky") => return leaky(),
        Some("as-stubborn") => return stubborn(),
        Some("as-unsealer") => return unsealer(),
        _ => {}
    }
    let cases: [(&str, fn()); 6] = [
        (
            "a_room_has_what_it_was_given_and_nothing_else",
            a_room_has_what_it_was_given_and_nothing_else,
        ),
        (
            "frames_go_through_rooms_and_a_dead_room_is_replaced",
            frames_go_through_rooms_and_a_dead_room_is_replaced,
        ),
        (
            "a_room_ends_in_order_when_up_is_gone",
            a_room_ends_in_order_when_up_is_gone,
        ),
        (
            "a_room_that_does_not_stop_is_killed",
            a_room_that_does_not_stop_is_killed,
        ),
        (
            "a_program_that_is_not_there_is_an_error",
            a_program_that_is_not_there_is_an_error,
        ),
        ("a_helper_writes_to_a_pipe", a_helper_writes_to_a_pipe),
    ];
    let wanted = arguments.iter().find(|argument| !argument.starts_with('-'));
    for (name, case) in cases {
        if wanted.is_none_or(|wanted| name.contains(wanted.as_str())) {
            case();
            println!("test {name} ... ok");
        }
    }
}

fn start(role: &str) -> spawn::Running {
    spawn::room(&itself(), [role, "--and", "two words"]).unwrap()
}

fn itself() -> PathBuf {
    std::env::current_exe().unwrap()
}

fn message(control: &mut UpControl) -> FromRoom {
    match control.receive_within(SOON).unwrap() {
        Received::Message(message, _) => message,
        other => panic!("{other:?}"),
    }
}

fn ready(running: &mut spawn::Running) {
    let FromRoom::Ready {
        room: Peer::Egress,
        build,
        ..
    } = message(&mut running.control)
    else {
        panic!("not ready");
    };
    assert_eq!(build, BUILD_ID);
}

// The cases.

fn a_room_has_what_it_was_given_and_nothing_else() {
    // Started by hand a room says so.
    let by_hand = std::process::Command::new(itself())
        .arg("as-witness")
        .output()
        .unwrap();
    assert!(
        String::from_utf8_lossy(&by_hand.stdout).contains("rooms are started by `portcullis up`")
    );
    // An `up` with open descriptors that lack the mark which closes them at a start.
    let leaky = std::process::Command::new("sh")
        .args([
            "-c",
            "exec 3</dev/null 7</dev/null 9</dev/null; LEAK=1 exec \"$0\" as-leaky",
        ])
        .arg(itself())
        .output()
        .unwrap();
    let said = String::from_utf8(leaky.stdout).unwrap();
    assert_eq!(
        said.lines().collect::<Vec<_>>(),
        [
            "fds 0 1 2 3",
            "environment GLIBC_TUNABLES",
            "arguments --and|two words",
            "stdin /dev/null"
        ],
    );
}

/// An `up` that was started carelessly.
fn leaky() {
    let mut running = start("as-witness");
    let mut said = String::new();
    PipeReader::from(running.events)
        .read_to_string(&mut said)
        .unwrap();
    print!("{said}");
    assert!(running.process.end_within(SOON).unwrap().success());
}

fn frames_go_through_rooms_and_a_dead_room_is_replaced() {
    let mut epoch = 0;
    let mut echoes = start("as-echo");
    ready(&mut echoes);
    let (ours, theirs) = spawn::pipes().unwrap();
    let mut link = Link::new(ours.from, ours.to).unwrap();
    hand_over(&echoes, theirs, epoch);
    exchange(&mut link, 3_000);
    for _ in 0..3 {
        // Killed with frames under way: the link says so, the process too.
        for _ in 0..50 {
            frame(link.out(), 9, &[1; 1_000]);
        }
        link.flush().unwrap();
        echoes.process.kill().unwrap();
        let before = Instant::now();
        let status = echoes.process.wait_within(SOON).unwrap().unwrap();
        assert!(!status.success() && before.elapsed() < Duration::from_secs(1));
        assert!(matches!(
            echoes.control.receive_within(SOON),
            Ok(Received::Closed)
        ));
        while link.receive().unwrap() {
            while link.next().unwrap().is_some() {}
        }
        // Another one takes its place, over new pipes.
        epoch += 1;
        echoes = start("as-echo");
        ready(&mut echoes);
        let (ours, theirs) = spawn::pipes().unwrap();
        link = Link::new(ours.from, ours.to).unwrap();
        hand_over(&echoes, theirs, epoch);
        exchange(&mut link, 500);
        // And a living room takes a new link in place of the old one.
        let (ours, theirs) = spawn::pipes().unwrap();
        let mut newer = Link::new(ours.from, ours.to).unwrap();
        hand_over(&echoes, theirs, epoch);
        exchange(&mut newer, 500);
        wait_for_end(&mut link);
        link = newer;
    }
    echoes.control.send(&ToRoom::Stop, &[], SOON).unwrap();
    assert!(matches!(
        message(&mut echoes.control),
        FromRoom::Stopped { ok: true, .. }
    ));
    assert!(echoes.process.end_within(SOON).unwrap().success());
}

fn a_room_ends_in_order_when_up_is_gone() {
    let spawn::Running {
        mut process,
        mut control,
        events,
    } = start("as-echo");
    let FromRoom::Ready { .. } = message(&mut control) else {
        panic!()
    };
    assert!(
        process
            .wait_within(Duration::from_millis(50))
            .unwrap()
            .is_none()
    );
    drop(control);
    assert!(process.wait_within(SOON).unwrap().unwrap().success());
    let mut said = String::new();
    PipeReader::from(events).read_to_string(&mut said).unwrap();
    assert_eq!(said, "{\"event\":\"up is gone\"}\n");
}

fn a_room_that_does_not_stop_is_killed() {
    let mut running = start("as-stubborn");
    running.control.send(&ToRoom::Stop, &[], SOON).unwrap();
    let status = running
        .process
        .end_within(Duration::from_millis(100))
        .unwrap();
    assert_eq!(
        std::os::unix::process::ExitStatusExt::signal(&status),
        Some(9)
    );
}

fn a_program_that_is_not_there_is_an_error() {
    let none: [&str; 0] = [];
    let error = spawn::room(&itself().with_file_name("not-there"), none)
        .err()
        .unwrap();
    assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
}

fn a_helper_writes_to_a_pipe() {
    let (from, to) = std::io::pipe().unwrap();
    let environment = [("CREDENTIALS_DIRECTORY", std::ffi::OsStr::new("/run/x"))];
    let (mut process, secrets) =
        spawn::helper(&itself(), ["as-unsealer"], from.into(), &environment).unwrap();
    { to }.write_all(b"passphrase").unwrap();
    let mut said = String::new();
    PipeReader::from(secrets).read_to_string(&mut said).unwrap();
    assert_eq!(said, "passphrase /run/x");
    assert!(process.end_within(SOON).unwrap().success());
}

// What is started.

/// Answers every frame of its link with the same frame.
fn echo() {
    let mut control = Control::from_fd3().unwrap();
    control
        .send(&FromRoom::Ready {
            room: Peer::Egress,
            build: BUILD_ID.into(),
            sandbox: SandboxReport::default(),
        })
        .unwrap();
    let mut poll = Poll::new().unwrap();
    poll.add(&control, Token(0), Interest::Read, Trigger::Level)
        .unwrap();
    let mut link: Option<Link> = None;
    loop {
        poll.wait(None).unwrap();
        loop {
            match control.receive().unwrap() {
                Received::Message(
                    ToRoom::Link {
                        peer: Peer::Signer, ..
                    },
                    mut fds,
                ) => {
                    let new =
                        Link::new(fds.take("from").unwrap(), fds.take("to").unwrap()).unwrap();
                    poll.add(new.from(), Token(1), Interest::Read, Trigger::Level)
                        .unwrap();
                    link = Some(new);
                }
                Received::Message(ToRoom::Stop, _) => {
                    control
                        .send(&FromRoom::Stopped {
                            ok: true,
                            why: None,
                        })
                        .unwrap();
                    return;
                }
                Received::Message(other, _) => panic!("{other:?}"),
                Received::NotNow => break,
                Received::Closed => {
                    println!("{{\"event\":\"up is gone\"}}");
                    return;
                }
            }
        }
        let Some(open) = &mut link else { continue };
        let lives = open.receive().unwrap();
        while let Some((kind, cbor)) = open.input.next().unwrap() {
            frame(open.output.out(), kind, cbor);
        }
        let mut blocked = Poll::new().unwrap();
        while !open.flush().unwrap() {
            // Only the test's neighbour: a room goes on with its loop here.
            let _ = blocked.add(open.to(), Token(0), Interest::Write, Trigger::Level);
            blocked.wait(None).unwrap();
        }
        if !lives {
            link = None;
        }
    }
}

/// Says what it was started with.
fn witness() {
    let _control = match Control::from_fd3() {
        Ok(control) => control,
        Err(why) => return println!("{why}"),
    };
    let folder = std::fs::read_dir("/proc/self/fd").unwrap();
    // Reading the folder is a descriptor of its own: the highest.
    let mut fds: Vec<u32> = folder
        .map(|entry| {
            entry
                .unwrap()
                .file_name()
                .to_str()
                .unwrap()
                .parse()
                .unwrap()
        })
        .collect();
    fds.sort_unstable();
    fds.pop();
    let fds: Vec<String> = fds.iter().map(u32::to_string).collect();
    println!("fds {}", fds.join(" "));
    let names: Vec<String> = std::env::vars_os()
        .map(|(name, _)| name.to_string_lossy().into_owned())
        .collect();
    println!("environment {}", names.join(" "));
    let arguments: Vec<String> = std::env::args().skip(2).collect();
    println!("arguments {}", arguments.join("|"));
    println!(
        "stdin {}",
        std::fs::read_link("/proc/self/fd/0").unwrap().display()
    );
}

fn stubborn() {
    let _control = Control::from_fd3().unwrap();
    loop {
        std::thread::sleep(SOON);
    }
}

fn unsealer() {
    let mut passphrase = String::new();
    std::io::stdin().read_to_string(&mut passphrase).unwrap();
    assert!(Control::from_fd3().is_err());
    print!(
        "{passphrase} {}",
        std::env::var("CREDENTIALS_DIRECTORY").unwrap()
    );
}

// Words of both sides.

fn hand_over(to: &spawn::Running, end: spawn::LinkEnd, epoch: u32) {
    let fds = [("from", end.from.as_fd()), ("to", end.to.as_fd())];
    to.control
        .send(
            &ToRoom::Link {
                peer: Peer::Signer,
                epoch,
            },
            &fds,
            SOON,
        )
        .unwrap();
}

fn frame(out: &mut Vec<u8>, kind: u8, cbor: &[u8]) {
    out.extend(u32::try_from(cbor.len() + 1).unwrap().to_be_bytes());
    out.push(kind);
    out.extend_from_slice(cbor);
}

/// Sends so many frames and waits until each has come back.
fn exchange(link: &mut Link, count: u32) {
    let mut poll = Poll::new().unwrap();
    poll.add(link.from(), Token(0), Interest::Read, Trigger::Level)
        .unwrap();
    let body = |number: u32| number.to_be_bytes().repeat(1 + number as usize % 700);
    for number in 0..count {
        frame(link.out(), (number % 200) as u8, &body(number));
    }
    let mut back = 0;
    while back < count {
        link.flush().unwrap();
        assert!(link.receive().unwrap());
        while let Some((kind, cbor)) = link.next().unwrap() {
            assert_eq!((kind, cbor), ((back % 200) as u8, &body(back)[..]));
            back += 1;
        }
        if back < count && link.output.waiting() == 0 {
            poll.wait(None).unwrap();
        }
    }
}

fn wait_for_end(link: &mut Link) {
    let mut poll = Poll::new().unwrap();
    poll.add(link.from(), Token(0), Interest::Read, Trigger::Level)
        .unwrap();
    while link.receive().unwrap() {
        poll.wait(None).unwrap();
    }
}
