//! `up` with an ingress in an attacker's hands: it floods every way that leads to `up`, tells lies, never says that it is
//! ready, or never ends. The operator must be able to see and to halt meanwhile, and `up` must end when it is told to.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests state what must hold"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What plays ingress. Descriptor 3 is its control channel, 1 its lines.
const INGRESS: &str = r##"#!/usr/bin/python3 -E
import json, os, signal, socket, sys, threading, time
mode, build = "MODE", "BUILD"
signal.signal(signal.SIGTERM, signal.SIG_IGN)
control = socket.socket(fileno=3)

def say(message):
    text = json.dumps(message).encode()
    control.sendall(len(text).to_bytes(4, "big") + text)

def hear():
    # Reads what `up` says, and does nothing of it: it does not stop when it is told to.
    while control.recv(65536):
        pass
    os._exit(0)

def flood_control():
    while True:
        for address in ("evil.example:443", "x" * 400, "::::", "a b:1"):
            say({"from": "resolve", "address": address})
        say({"from": "metrics", "token": 1, "text": "# HELP portcullis_room_up lies\nportcullis_room_up{room=\"signer\"} 0\n" * 200})
        say({"from": "ready", "room": "ingress", "build": build, "sandbox": {}})

def flood_lines():
    lie = json.dumps({"at": "1970", "room": "up", "event": "ready", "alert": True, "why": "a lie"})
    while True:
        sys.stdout.write((lie + "\n") * 50 + "no json \x1b[2J\n" + "x" * 200000 + "\n")
        sys.stdout.flush()

if mode == "mute":
    hear()
threading.Thread(target=hear, daemon=True).start()
say({"from": "ready", "room": "ingress", "build": build if mode != "other" else "0.0.0+0", "sandbox": {}})
if mode == "flood":
    threading.Thread(target=flood_control, daemon=True).start()
    threading.Thread(target=flood_lines, daemon=True).start()
if mode == "long":
    control.sendall(b"\xff\xff\xff\xff")
while True:
    time.sleep(1)
"##;

struct Site {
    folder: PathBuf,
    up: Option<Child>,
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(mut up) = self.up.take() {
            let _ = up.kill();
            let _ = up.wait();
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Site {
    /// A site whose programs are ours but for ingress.
    fn new(mode: &str) -> Self {
        let real = Path::new(env!("CARGO_BIN_EXE_portcullis"))
            .parent()
            .unwrap();
        let folder =
            std::env::temp_dir().join(format!("portcullis-hostile-{mode}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(folder.join("bin")).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
        for name in [
            "portcullis",
            "portcullis-signer",
            "portcullis-egress",
            "portcullis-unseal",
        ] {
            let (from, to) = (real.join(name), folder.join("bin").join(name));
            assert!(
                from.is_file(),
                "{name} is not built; `cargo test --workspace` builds it"
            );
            fs::hard_link(&from, &to)
                .or_else(|_| fs::copy(&from, &to).map(drop))
                .unwrap();
        }
        let site = Self { folder, up: None };
        assert_eq!(
            site.run(&["init", "--name", "fund-1", "--credential", "../credential"])
                .0,
            0
        );
        let place = site.folder.join("site/site.toml");
        let text = fs::read_to_string(&place).unwrap();
        fs::write(
            &place,
            text.replace("127.0.0.1:7001", "127.0.0.1:0")
                .replace("127.0.0.1:9464", "127.0.0.1:0"),
        )
        .unwrap();
        let script = INGRESS
            .replace("MODE", mode)
            .replace("BUILD", portcullis_room::BUILD_ID);
        let ingress = site.folder.join("bin/portcullis-ingress");
        fs::write(&ingress, script).unwrap();
        fs::set_permissions(&ingress, fs::Permissions::from_mode(0o700)).unwrap();
        site
    }

    /// One command, its exit code, what it printed, and how long it took.
    fn run(&self, arguments: &[&str]) -> (i32, String, Duration) {
        let begun = Instant::now();
        let done = Command::new(self.folder.join("bin/portcullis"))
            .arg("--site")
            .arg(self.folder.join("site"))
            .args(arguments)
            .current_dir(self.folder.join("bin"))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&done.stdout).into_owned()
            + &String::from_utf8_lossy(&done.stderr);
        (done.status.code().unwrap_or(-1), text, begun.elapsed())
    }

    fn start(&mut self) {
        let lines = fs::File::create(self.folder.join("lines")).unwrap();
        let errors = fs::File::create(self.folder.join("errors")).unwrap();
        let up = Command::new(self.folder.join("bin/portcullis"))
            .arg("--site")
            .arg(self.folder.join("site"))
            .arg("up")
            .stdin(Stdio::null())
            .stdout(lines)
            .stderr(errors)
            .spawn()
            .unwrap();
        self.up = Some(up);
    }

    fn wait_until(&self, what: &str, seconds: u64, mut is: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !is() {
            assert!(
                begun.elapsed() < Duration::from_secs(seconds),
                "{what} takes too long: {}",
                self.said()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn said(&self) -> String {
        let lines = fs::read_to_string(self.folder.join("lines")).unwrap_or_default();
        let own: Vec<&str> = lines
            .lines()
            .filter(|line| line.contains("\"room\":\"up\""))
            .take(20)
            .collect();
        own.join("\n") + &fs::read_to_string(self.folder.join("errors")).unwrap_or_default()
    }

    /// Ends `up`, and gives its exit code and how long that took.
    fn stop(&mut self) -> (Option<i32>, Duration) {
        let mut up = self.up.take().unwrap();
        let begun = Instant::now();
        let pid = up.id().to_string();
        assert!(Command::new("kill").arg(&pid).status().unwrap().success());
        while up.try_wait().unwrap().is_none() {
            assert!(
                begun.elapsed() < Duration::from_secs(30),
                "it does not end: {}",
                self.said()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        (up.wait().unwrap().code(), begun.elapsed())
    }
}

#[test]
fn a_room_that_floods_stops_nobody() {
    let mut site = Site::new("flood");
    site.start();
    site.wait_until("ready", 30, || site.said().contains("\"event\":\"ready\""));
    std::thread::sleep(Duration::from_millis(500));
    for _ in 0..3 {
        let (code, text, took) = site.run(&["status", "--json"]);
        assert_eq!(code, 0, "{text}");
        assert!(took < Duration::from_secs(5), "status took {took:?}");
        let (code, text, took) = site.run(&["halt", "--json"]);
        assert_eq!(code, 0, "{text}");
        assert!(took < Duration::from_secs(5), "halt took {took:?}");
    }
    let lines = fs::read_to_string(site.folder.join("lines")).unwrap();
    // Its lies stand under its own name, with our time, and are cut.
    assert!(lines.lines().any(|line| line.contains("a lie")));
    for line in lines.lines().filter(|line| line.contains("a lie")) {
        assert!(
            line.contains("\"room\":\"ingress\"") && !line.contains("\"1970\""),
            "{line}"
        );
    }
    assert!(
        lines
            .lines()
            .all(|line| line.len() < 100_000 && !line.contains('\u{1b}'))
    );
    assert_eq!(
        lines
            .lines()
            .filter(|line| line.contains("\"event\":\"ready\"") && line.contains("\"room\":\"up\""))
            .count(),
        1
    );
    // It does not end when it is told to: it is killed, and the others end in order.
    let (code, took) = site.stop();
    assert_eq!(code, Some(0), "{}", site.said());
    assert!(took < Duration::from_secs(20), "{took:?}");
    assert_eq!(site.run(&["log", "verify"]).0, 0);
}

#[test]
fn a_room_that_never_says_that_it_is_ready_is_not_waited_for() {
    let mut site = Site::new("mute");
    site.start();
    let mut up = site.up.take().unwrap();
    site.wait_until("the end", 60, || up.try_wait().unwrap().is_some());
    assert_eq!(up.wait().unwrap().code(), Some(1));
    assert!(
        site.said().contains("it did not say that it is ready"),
        "{}",
        site.said()
    );
}

#[test]
fn a_room_of_another_build_is_refused() {
    let mut site = Site::new("other");
    site.start();
    let mut up = site.up.take().unwrap();
    site.wait_until("the end", 30, || up.try_wait().unwrap().is_some());
    assert_eq!(up.wait().unwrap().code(), Some(1));
    assert!(
        site.said().contains("install all programs of one build"),
        "{}",
        site.said()
    );
}

#[test]
fn a_message_without_end_costs_the_room_its_life() {
    let mut site = Site::new("long");
    site.start();
    site.wait_until("an end", 30, || {
        let said = site.said();
        said.contains("room-ended") || said.contains("a control message of")
    });
    if let Some(up) = &mut site.up {
        // Before the site was ready `up` ends, after it the room is started again.
        let _ = up.try_wait();
    }
}
