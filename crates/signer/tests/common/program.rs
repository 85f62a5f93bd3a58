//! The signer's own program: the test is `up`, and gives it what `up` gives.
#![allow(dead_code, reason = "each test uses its part")]

use super::*;
use portcullis_room::BUILD_ID;
use portcullis_room::control::{FromRoom, Peer, Received, ToRoom};
use portcullis_room::spawn::{LinkEnd, Running, pipes, room};
use serde_json::{Value, json};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};

pub const PATIENCE: Duration = Duration::from_secs(20);

/// A running signer, seen from `up`.
pub struct Program {
    pub running: Running,
    pub operator: UnixStream,
}

/// Ingress and egress, in blocking pipes.
pub struct Neighbours {
    pub ingress: (File, File),
    pub egress: (File, File),
}

impl Program {
    pub fn start(folder: &Path) -> Self {
        let site = folder.to_str().unwrap();
        let program = Path::new(env!("CARGO_BIN_EXE_portcullis-signer"));
        let mut running = room(program, ["--site", site]).unwrap();
        let Received::Message(FromRoom::Ready { room, build, .. }, _) =
            running.control.receive_within(PATIENCE).unwrap()
        else {
            panic!("not ready");
        };
        assert_eq!((room, build.as_str()), (Peer::Signer, BUILD_ID));
        let (operator, theirs, operators) = operator();
        let start = ToRoom::Start {
            settings: json!({
                "site": "fund", "operators": operators, "listeners": [], "seal": "key-file",
            }),
        };
        let fds = [("operator-connection", theirs.as_fd())];
        running.control.send(&start, &fds, PATIENCE).unwrap();
        Self { running, operator }
    }

    pub fn unseal(&self, secrets: &[(&str, &[u8])]) {
        let (from, to) = std::io::pipe().unwrap();
        let fds = [("secrets", from.as_fd())];
        let control = &self.running.control;
        control.send(&ToRoom::Secrets, &fds, PATIENCE).unwrap();
        let mut to = File::from(OwnedFd::from(to));
        for (name, secret) in secrets {
            to.write_all(&(name.len() as u16).to_be_bytes()).unwrap();
            to.write_all(name.as_bytes()).unwrap();
            to.write_all(&(secret.len() as u32).to_be_bytes()).unwrap();
            to.write_all(secret).unwrap();
        }
        to.write_all(&[0, 0]).unwrap();
    }

    pub fn link(&self, peer: Peer, epoch: u32) -> (File, File) {
        let (theirs, ours): (LinkEnd, LinkEnd) = pipes().unwrap();
        let fds = [("from", theirs.from.as_fd()), ("to", theirs.to.as_fd())];
        let control = &self.running.control;
        control
            .send(&ToRoom::Link { peer, epoch }, &fds, PATIENCE)
            .unwrap();
        let (mut from, mut to) = (File::from(ours.from), File::from(ours.to));
        let (kind, cbor) = read_frame(&mut from).unwrap();
        let hello: Hello = wire::message(&cbor).unwrap();
        assert_eq!(
            (kind, hello.room.as_str(), hello.epoch),
            (kind::HELLO, "signer", epoch)
        );
        let hello = Hello {
            build: BUILD_ID.as_bytes().to_vec().into(),
            room: peer.name().to_owned(),
            epoch,
        };
        write_frame(&mut to, kind::HELLO, &hello);
        (from, to)
    }

    pub fn neighbours(&self, epoch: u32) -> Neighbours {
        // Egress first: an order that comes before it has greeted finds no way to the venue.
        let egress = self.link(Peer::Egress, epoch);
        Neighbours {
            ingress: self.link(Peer::Ingress, epoch),
            egress,
        }
    }

    pub fn ask(&mut self, command: Command) -> Answer {
        ask(&mut self.operator, &command)
    }

    #[track_caller]
    pub fn done(&mut self, command: Command) {
        let answer = self.ask(command);
        assert!(matches!(answer, Answer::Done { .. }), "{answer:?}");
    }

    pub fn status(&mut self) -> Value {
        match self.ask(Command::Status) {
            Answer::Shown { data } => data,
            other => panic!("{other:?}"),
        }
    }

    /// Until the gate is as it should be; opening a seal takes its time.
    pub fn wait_for(&mut self, what: impl Fn(&Value) -> bool) -> Value {
        let until = Instant::now() + PATIENCE;
        loop {
            let status = self.status();
            if what(&status) {
                return status;
            }
            assert!(Instant::now() < until, "{status}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn metrics(&mut self) -> String {
        let control = &mut self.running.control;
        control
            .send(&ToRoom::Metrics { token: 7 }, &[], PATIENCE)
            .unwrap();
        match control.receive_within(PATIENCE).unwrap() {
            Received::Message(FromRoom::Metrics { token: 7, text }, _) => text,
            other => panic!("{other:?}"),
        }
    }

    /// Ends in order, and says so.
    pub fn stop(mut self) -> String {
        let control = &mut self.running.control;
        control.send(&ToRoom::Stop, &[], PATIENCE).unwrap();
        match control.receive_within(PATIENCE).unwrap() {
            Received::Message(
                FromRoom::Stopped {
                    ok: true,
                    why: None,
                },
                _,
            ) => {}
            other => panic!("{other:?}"),
        }
        self.ended(0)
    }

    pub fn ended(mut self, code: i32) -> String {
        let status = self.running.process.end_within(PATIENCE).unwrap();
        assert_eq!(status.code(), Some(code));
        let mut lines = String::new();
        File::from(self.running.events)
            .read_to_string(&mut lines)
            .unwrap();
        for line in lines.lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            assert_eq!(line["room"], "signer");
        }
        lines
    }

    /// Clock ticks of CPU so far.
    pub fn cpu(&self) -> u64 {
        let pid = self.running.process.pid();
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let fields: Vec<&str> = stat
            .rsplit_once(')')
            .unwrap()
            .1
            .split_whitespace()
            .collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }
}

pub const SITE_SECRET: (&str, &[u8]) = ("keys/site-secret.age", &[7; 32]);
pub const LOG_KEY: (&str, &[u8]) = ("keys/log-key.age", &[9; 32]);
