//! Transcripts: files of commands, their output and their exit codes, run against the real programs on a real site in a
//! temporary folder. `UPDATE=1 cargo test -p portcullis-cli --test transcripts` writes them anew; read the difference.
//!
//! A line that begins with `$ ` is run by `sh` (a line that begins with `> ` goes on with it); what follows is what it
//! printed, both outputs together, and `[exit N]` if that is not 0. Keys, times and the like are replaced by words.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests state what must hold"
)]

use regex::Regex;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Once;

/// What `up`'s lines are waited for with, and how a file is changed in place.
const PRELUDE: &str = r#"
wait_for() { # FILE: until it has something in it, ten seconds at most
  n=0; while [ $n -lt 200 ]; do [ -s "$1" ] && return 0; n=$((n+1)); sleep 0.05; done; echo "$1 stays empty"; return 1
}
stop() { # the `up` of ./pid, and waits for its end
  kill -TERM $(cat pid); n=0
  while kill -0 $(cat pid) 2>/dev/null; do [ $n -lt 200 ] || { echo "it does not end"; return 1; }; n=$((n+1)); sleep 0.05; done
}
"#;

struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        // A transcript that failed may have left the gate running.
        for name in ["pid", "server"] {
            let Ok(pid) = fs::read_to_string(self.0.join(name)) else {
                continue;
            };
            let _ = Command::new("kill")
                .arg(pid.trim())
                .stderr(Stdio::null())
                .status();
        }
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The programs that `portcullis` starts lie beside it. A test of the workspace builds them all.
fn programs() -> &'static Path {
    static BUILT: Once = Once::new();
    let folder = Path::new(env!("CARGO_BIN_EXE_portcullis"))
        .parent()
        .unwrap();
    BUILT.call_once(|| {
        let missing = ["signer", "ingress", "egress", "unseal"]
            .iter()
            .any(|name| !folder.join(format!("portcullis-{name}")).is_file());
        if missing {
            let mut cargo = Command::new(env!("CARGO"));
            cargo.args([
                "build",
                "-q",
                "-p",
                "portcullis-signer",
                "-p",
                "portcullis-gateway",
            ]);
            cargo.args(["-p", "portcullis-unseal"]);
            if folder.ends_with("release") {
                cargo.arg("--release");
            }
            assert!(cargo.status().unwrap().success());
        }
    });
    folder
}

fn run(folder: &Path, command: &str) -> (String, i32) {
    let path = format!(
        "{}:{}",
        programs().display(),
        std::env::var("PATH").unwrap_or_default()
    );
    let done = Command::new("sh")
        .arg("-c")
        .arg(format!("exec 2>&1\n{PRELUDE}\n{command}"))
        .current_dir(folder)
        .env_remove("PORTCULLIS_SITE")
        .env("PATH", path)
        .env("COLUMNS", "100")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    (
        String::from_utf8_lossy(&done.stdout).into_owned(),
        done.status.code().unwrap_or(-1),
    )
}

/// What differs from run to run and from machine to machine, in words.
fn plain(text: &str, folder: &Path) -> String {
    let user = Command::new("id").arg("-un").output().unwrap();
    let user = String::from_utf8_lossy(&user.stdout).trim().to_owned();
    let uid = Command::new("id").arg("-u").output().unwrap();
    let uid = String::from_utf8_lossy(&uid.stdout).trim().to_owned();
    let ids = Regex::new(r" +[0-9]+( |$)").unwrap();
    let mut text = text.replace(&folder.display().to_string(), "DIR");
    for (pattern, word) in [
        (
            r"20[0-9]{2}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?Z?",
            "TIME",
        ),
        (r"\b[A-Za-z0-9]{64}\b", "KEY"),
        (r"\b[A-Za-z0-9]{12}…", "KEY…"),
        (r"fund-1\+[0-9a-f]{8}\+[A-Za-z0-9+/=]{44}", "VKEY"),
        (r"\b1[0-9]{15}\b", "MICROSECONDS"),
        (
            r"(process|after|for|pid|\x22pid\x22:) ?[0-9]+( ms| s\b|\b)",
            "$1 N$2",
        ),
        (r"127\.0\.0\.1:[0-9]{4,5}", "127.0.0.1:PORT"),
        (
            r"(release|\x22release\x22:|\x22hash\x22:)( +)?\x22?[0-9a-f]{12}[0-9a-f]*\x22?",
            "$1$2 HASH",
        ),
        // Entries are numbered, and so are the ids that they make; how many there are follows from what the kernel
        // lacks, since each room that runs without a measure is an entry.
        (
            r"\b(entry|virtual key|strategy|account|term|last is) [0-9]+\b",
            "$1 N",
        ),
        (r"\b[0-9]+ (entries|checkpoints?|on the disk)\b", "N $1"),
        (r"\x22(id|entry|strategy|account)\x22:[0-9]+", "\"$1\":N"),
        (r"(?m)^ *[0-9]+  TIME", "N  TIME"),
        (r"build [0-9.]+\+[0-9a-z.]+", "build BUILD"),
        (r"portcullis [0-9]+\.[0-9]+\.[0-9]+", "portcullis VERSION"),
    ] {
        text = Regex::new(pattern)
            .unwrap()
            .replace_all(&text, word)
            .into_owned();
    }
    let mut has_ids = false;
    let text: Vec<String> = text
        .lines()
        .map(|line| {
            has_ids = line.contains("  id  ") || (has_ids && !line.is_empty());
            match has_ids {
                true => ids.replace_all(line, "  N$1").into_owned(),
                false => line.to_owned(),
            }
        })
        .collect();
    let text = text.join("\n");
    text.replace(&format!("operator {user}"), "operator USER")
        .replace(&format!("\"name\":\"{user}\""), "\"name\":\"USER\"")
        .replace(&format!("by {user},"), "by USER,")
        .replace(&format!("user {uid}"), "user UID")
}

struct Step {
    /// The comment before it, and the command as written.
    head: String,
    command: String,
}

fn steps(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut comment = String::new();
    for line in text.lines() {
        if line.starts_with('#') || (line.is_empty() && comment.ends_with('\n')) {
            comment += &format!("{line}\n");
        } else if let Some(command) = line.strip_prefix("$ ") {
            steps.push(Step {
                head: format!("{comment}{line}\n"),
                command: command.to_owned(),
            });
            comment.clear();
        } else if let (Some(more), Some(step)) = (line.strip_prefix("> "), steps.last_mut()) {
            step.head += &format!("{line}\n");
            step.command += &format!("\n{more}");
        }
    }
    steps
}

fn check(name: &str) {
    let place = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/transcripts")
        .join(format!("{name}.txt"));
    let expected = fs::read_to_string(&place).unwrap();
    let path = std::env::temp_dir().join(format!("portcullis-{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    let folder = Folder(fs::canonicalize(path).unwrap());
    let mut got = String::new();
    for step in steps(&expected) {
        let (output, code) = run(&folder.0, &step.command);
        got += &step.head;
        for line in plain(&output, &folder.0).lines() {
            // An output line that looks like a command of ours would be one at the next reading.
            let escaped = line.starts_with(['$', '>', '#']);
            got += &format!("{}{}\n", if escaped { " " } else { "" }, line.trim_end());
        }
        if code != 0 {
            got += &format!("[exit {code}]\n");
        }
        got.push('\n');
    }
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&place, &got).unwrap();
        return;
    }
    let differs = expected.lines().zip(got.lines()).position(|(a, b)| a != b);
    assert!(
        expected.trim_end() == got.trim_end(),
        "{name}.txt, line {}:\nexpected {:?}\ngot      {:?}\n\nall of it:\n{got}",
        differs.map_or(0, |at| at + 1),
        differs.and_then(|at| expected.lines().nth(at)),
        differs.and_then(|at| got.lines().nth(at)),
    );
}

#[test]
fn a_first_site() {
    check("site");
}

#[test]
fn what_governs() {
    check("policy");
}

#[test]
fn wrong_usage() {
    check("usage");
}

#[test]
fn a_folder_that_others_can_write() {
    check("permissions");
}

#[test]
fn an_account_brings_its_hosts() {
    check("hosts");
}

#[test]
fn a_freqtrade_bot() {
    check("freqtrade");
}

#[test]
fn a_passphrase() {
    check("passphrase");
}

#[test]
fn the_gate_up() {
    check("up");
}

#[test]
fn alerts() {
    check("webhook");
}

#[test]
fn what_opens_a_site() {
    check("openers");
}

#[test]
fn a_listener_with_tls() {
    check("tls");
}

#[test]
fn sealed_again_to_others() {
    check("reseal");
}

#[test]
fn a_secret_is_nowhere_but_sealed() {
    check("secrets");
}
