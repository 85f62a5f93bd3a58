//! The program as the CLI and `up` run it: what is sealed comes out of the pipe as it went in, and nothing else does.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests state what must hold"
)]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn run(arguments: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_portcullis-unseal"))
        .args(arguments)
        .env_remove("CREDENTIALS_DIRECTORY")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that refuses before reading closes its end; that is its right.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("unseal-{name}"));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[track_caller]
fn ok(output: &Output) {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[track_caller]
fn refused(output: &Output, why: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(why), "{said}");
    assert!(output.stdout.is_empty());
}

fn framed(secrets: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, secret) in secrets {
        bytes.extend((name.len() as u16).to_be_bytes());
        bytes.extend(name.as_bytes());
        bytes.extend((secret.len() as u32).to_be_bytes());
        bytes.extend(*secret);
    }
    bytes.extend([0, 0]);
    bytes
}

fn keygen(path: &Path, kind: &str, passphrase: &str) -> bool {
    Command::new("ssh-keygen")
        .args(["-q", "-t", kind, "-N", passphrase, "-f", text(path)])
        .args(if kind == "rsa" {
            &["-b", "2048"][..]
        } else {
            &[]
        })
        .status()
        .is_ok_and(|status| status.success())
}

#[test]
fn a_credential_opens_what_is_sealed_to_it() {
    let site = folder("credential");
    let credential = site.join("credential");
    let made = run(&["credential", "--out", text(&credential)], b"");
    ok(&made);
    let recipient = String::from_utf8(made.stdout).unwrap();
    let (one, two) = (site.join("one.age"), site.join("two.age"));
    ok(&run(
        &[
            "seal",
            "--out",
            text(&one),
            "--to-credential",
            text(&credential),
        ],
        b"first",
    ));
    ok(&run(
        &["seal", "--out", text(&two), "--to", recipient.trim()],
        b"second\n",
    ));
    let opened = run(
        &[
            "open",
            "--site",
            text(&site),
            "--credential",
            text(&credential),
            "two.age",
            "one.age",
        ],
        b"",
    );
    ok(&opened);
    assert_eq!(
        opened.stdout,
        framed(&[("two.age", b"second\n"), ("one.age", b"first")])
    );
    assert!(
        !fs::read(&one)
            .unwrap()
            .windows(5)
            .any(|part| part == b"first")
    );
    use std::os::unix::fs::PermissionsExt;
    for file in [&credential, &one] {
        assert_eq!(
            fs::metadata(file).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }
}

#[test]
fn a_passphrase_opens_what_is_sealed_with_it_and_a_wrong_one_nothing() {
    let site = folder("passphrase");
    let sealed = site.join("a.age");
    ok(&run(
        &["seal", "--passphrase", "--out", text(&sealed)],
        b"horse\nthe secret",
    ));
    let opened = run(
        &["open", "--passphrase", "--site", text(&site), "a.age"],
        b"horse\n",
    );
    ok(&opened);
    assert_eq!(opened.stdout, framed(&[("a.age", b"the secret")]));
    let wrong = run(
        &["open", "--passphrase", "--site", text(&site), "a.age"],
        b"cow\n",
    );
    refused(&wrong, "a.age");
}

#[test]
fn ssh_keys_open_what_is_sealed_to_them() {
    let site = folder("ssh");
    for (kind, passphrase) in [("ed25519", ""), ("rsa", ""), ("ed25519", "hunter2hunter2")] {
        let key = site.join(format!("{kind}{}", passphrase.len()));
        if !keygen(&key, kind, passphrase) {
            eprintln!("ssh-keygen is not installed; install openssh-client");
            panic!("ssh-keygen is needed");
        }
        let public = fs::read_to_string(key.with_extension("pub")).unwrap();
        let name = format!("{kind}{}.age", passphrase.len());
        ok(&run(
            &[
                "seal",
                "--to",
                public.trim(),
                "--out",
                text(&site.join(&name)),
            ],
            b"s3cret",
        ));
        let mut arguments = vec!["open", "--site", text(&site), "--identity", text(&key)];
        if !passphrase.is_empty() {
            refused(&run(&[&arguments[..], &[&name]].concat(), b""), "encrypted");
            arguments.push("--passphrase");
        }
        let opened = run(
            &[&arguments[..], &[&name]].concat(),
            format!("{passphrase}\n").as_bytes(),
        );
        ok(&opened);
        assert_eq!(opened.stdout, framed(&[(&name, b"s3cret")]));
    }
}

#[test]
fn all_are_opened_or_none_is_written() {
    let site = folder("all");
    let (mine, other) = (site.join("mine"), site.join("other"));
    ok(&run(&["credential", "--out", text(&mine)], b""));
    ok(&run(&["credential", "--out", text(&other)], b""));
    ok(&run(
        &[
            "seal",
            "--to-credential",
            text(&mine),
            "--out",
            text(&site.join("1.age")),
        ],
        b"x",
    ));
    ok(&run(
        &[
            "seal",
            "--to-credential",
            text(&other),
            "--out",
            text(&site.join("2.age")),
        ],
        b"y",
    ));
    let open = |files: &[&str]| {
        let base = ["open", "--site", text(&site), "--credential", text(&mine)];
        run(&[&base[..], files].concat(), b"")
    };
    refused(
        &open(&["1.age", "2.age"]),
        "none of the given identities opens it",
    );
    refused(&open(&["../1.age"]), "not a file of the site");
    refused(&open(&["absent.age"]), "cannot read");
    ok(&open(&["1.age"]));
    // One flipped bit anywhere is seen.
    let sealed = fs::read(site.join("1.age")).unwrap();
    for at in [0, sealed.len() / 2, sealed.len() - 1] {
        let mut bad = sealed.clone();
        bad[at] ^= 1;
        fs::write(site.join("bad.age"), bad).unwrap();
        refused(&open(&["bad.age"]), "bad.age");
    }
}

#[test]
fn secrets_go_to_a_pipe_only_and_files_are_not_overwritten() {
    let site = folder("pipe");
    let credential = site.join("credential");
    ok(&run(&["credential", "--out", text(&credential)], b""));
    let sealed = site.join("1.age");
    let seal = [
        "seal",
        "--to-credential",
        text(&credential),
        "--out",
        text(&sealed),
    ];
    ok(&run(&seal, b"x"));
    refused(&run(&seal, b"y"), "never overwritten");
    refused(
        &run(
            &[
                "seal",
                "--to-credential",
                text(&credential),
                "--out",
                text(&site.join("e")),
            ],
            b"",
        ),
        "empty",
    );
    let file = fs::File::create(site.join("leak")).unwrap();
    let status = Command::new(env!("CARGO_BIN_EXE_portcullis-unseal"))
        .args([
            "open",
            "--site",
            text(&site),
            "--credential",
            text(&credential),
            "1.age",
        ])
        .stdin(Stdio::null())
        .stdout(file)
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(1));
    assert_eq!(fs::read(site.join("leak")).unwrap(), b"");
}

#[test]
fn systemd_credentials_are_found() {
    let site = folder("systemd");
    let credential = site.join("portcullis");
    ok(&run(&["credential", "--out", text(&credential)], b""));
    let sealed = site.join("1.age");
    ok(&run(
        &[
            "seal",
            "--to-credential",
            text(&credential),
            "--out",
            text(&sealed),
        ],
        b"x",
    ));
    let opened = Command::new(env!("CARGO_BIN_EXE_portcullis-unseal"))
        .args(["open", "--site", text(&site), "1.age"])
        .env("CREDENTIALS_DIRECTORY", &site)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    ok(&opened);
    assert_eq!(opened.stdout, framed(&[("1.age", b"x")]));
}
