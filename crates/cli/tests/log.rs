//! `portcullis log verify` and `export` on logs that the signer's code wrote, and an export under a verifier that shares no
//! line with ours.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests state what must hold"
)]

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use minicbor::bytes::ByteVec;
use portcullis_model::id::{EntryId, Timestamp};
use portcullis_model::log::note::Verifier;
use portcullis_model::log::segment::{FRAME_HEAD_BYTES, write_frame};
use portcullis_model::log::{Entry, Hash, Header, tree};
use portcullis_signer::log_file;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn folder(name: &str) -> Folder {
    let path =
        std::env::temp_dir().join(format!("portcullis-cli-log-{}-{name}", std::process::id()));
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).unwrap();
    Folder(path)
}

fn entry(n: u64) -> Entry {
    Entry {
        header: Header {
            term: 1,
            at: Timestamp(1_790_000_000_000_000 + n),
            kind: 1,
        },
        public: ByteVec::from(format!("entry {n}").into_bytes()),
        regulator: ByteVec::from(Vec::new()),
        private: ByteVec::from(vec![1, 2, 3]),
    }
}

/// A log with these entries, written in two runs so that there are two checkpoints.
fn log(name: &str, count: u64) -> Folder {
    let at = folder(name);
    for range in [0..count / 2, count / 2..count] {
        let key = Ed25519KeyPair::from_seed_unchecked(&[5; 32]).unwrap();
        let public = key.public_key().as_ref().try_into().unwrap();
        let verifier = Verifier {
            name: "site.test".to_owned(),
            public,
        };
        let sign =
            std::sync::Arc::new(move |text: &[u8]| key.sign(text).as_ref().try_into().unwrap());
        let checked =
            log_file::check::<log_file::LogError>(&at.0.join("log"), verifier, None, |_, _| Ok(()));
        let disk = std::sync::Arc::new(log_file::FileSystem);
        let opened = checked
            .unwrap()
            .open(sign, disk, std::sync::Arc::new(|| {}));
        let mut log = opened.unwrap().log;
        for n in range {
            let _ = log.append(entry(n), ()).unwrap();
        }
        log.close().unwrap();
    }
    at
}

fn portcullis(args: &[&Path]) -> (i32, String) {
    let done = Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .arg("log")
        .args(args)
        .output()
        .unwrap();
    let text =
        String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
    (done.status.code().unwrap(), text)
}

fn verify(at: &Folder) -> (i32, String) {
    portcullis(&[Path::new("verify"), &at.0.join("log")])
}

fn outside(folder: &Path) -> (bool, String) {
    let script = format!("{}/../../vectors/log/verify.py", env!("CARGO_MANIFEST_DIR"));
    let done = Command::new("python3")
        .arg(script)
        .arg(folder)
        .output()
        .unwrap();
    (
        done.status.success(),
        String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr),
    )
}

fn change(place: &Path, at: usize) {
    let mut bytes = fs::read(place).unwrap();
    bytes[at] ^= 1;
    fs::write(place, bytes).unwrap();
}

#[test]
fn a_sound_log_verifies_and_its_export_convinces_a_verifier_that_we_did_not_share_code_with() {
    let at = log("sound", 700);
    let (code, text) = verify(&at);
    assert_eq!(
        (code, text.lines().next().unwrap()),
        (0, "verified: 700 entries, 700 of them under 2 checkpoints")
    );
    let to = at.0.join("export");
    assert_eq!(
        portcullis(&[
            Path::new("export"),
            &to,
            Path::new("--log"),
            &at.0.join("log")
        ])
        .0,
        0
    );
    let (good, said) = outside(&to);
    assert!(good, "{said}");
    assert_eq!(said.trim(), "verified: site.test, 700 entries");
    // Entry and tile changed together.
    let bundle = to.join("tile/entries/001");
    change(&bundle, 40);
    assert!(!outside(&to).0);
    let bytes = fs::read(&bundle).unwrap();
    let first = &bytes[2..2 + usize::from(u16::from_be_bytes([bytes[0], bytes[1]]))];
    let mut tile = fs::read(to.join("tile/0/001")).unwrap();
    tile[..32].copy_from_slice(&tree::leaf_hash(first));
    fs::write(to.join("tile/0/001"), tile).unwrap();
    let (good, said) = outside(&to);
    assert!(!good && said.contains("level 1"), "{said}");
}

#[test]
fn a_flipped_byte_is_named_by_its_entry() {
    let at = log("flip", 20);
    let segment = at.0.join("log/segments/00000000000000000000.seg");
    let one = FRAME_HEAD_BYTES + entry(0).encode_whole().unwrap().len();
    for n in [0, 7, 9] {
        change(&segment, one * n + FRAME_HEAD_BYTES + 20);
        let (code, text) = verify(&at);
        assert_eq!(
            (code, text.starts_with(&format!("not verified: entry {n}:"))),
            (1, true),
            "{text}"
        );
        change(&segment, one * n + FRAME_HEAD_BYTES + 20);
    }
    assert_eq!(verify(&at).0, 0);
}

#[test]
fn a_forgery_of_entry_and_hash_together_is_bracketed_by_checkpoints() {
    let at = log("forged", 20);
    let place = at.0.join("log");
    let (mut frames, mut hashes) = (Vec::new(), Vec::new());
    for n in 0..20 {
        let mut forged = entry(if n == 15 { 99 } else { n });
        forged.header.term = if n < 10 { 1 } else { 2 };
        let seed = Hash::try_from(
            fs::read(place.join(format!("seeds/{:020}", forged.header.term))).unwrap(),
        )
        .unwrap();
        write_frame(&mut frames, EntryId(n), &forged.encode_whole().unwrap());
        hashes.extend(tree::leaf_hash(&forged.leaf(EntryId(n), &seed)));
    }
    fs::write(place.join("segments/00000000000000000000.seg"), frames).unwrap();
    fs::write(place.join("hashes"), hashes).unwrap();
    let (code, text) = verify(&at);
    assert_eq!(
        (code, text.trim()),
        (
            1,
            "not verified: entries 10 to 19: something among them is not what was signed"
        ),
        "{text}"
    );
}

#[test]
fn a_log_cut_behind_its_checkpoint_or_signed_by_another_is_refused() {
    let at = log("cut", 20);
    let place = at.0.join("log");
    let segment = place.join("segments/00000000000000000000.seg");
    let bytes = fs::read(&segment).unwrap();
    let hashes = fs::read(place.join("hashes")).unwrap();
    let twelve: usize = (0..12)
        .map(|n| FRAME_HEAD_BYTES + entry(n).encode_whole().unwrap().len())
        .sum();
    fs::write(&segment, &bytes[..twelve]).unwrap();
    fs::write(place.join("hashes"), &hashes[..32 * 12]).unwrap();
    let (code, text) = verify(&at);
    assert_eq!(
        (code, text.trim()),
        (
            1,
            "not verified: the log has 12 entries, and 20 were signed"
        ),
        "{text}"
    );
    fs::write(&segment, &bytes).unwrap();
    fs::write(place.join("hashes"), &hashes).unwrap();
    let other = Verifier {
        name: "site.test".to_owned(),
        public: [9; 32],
    }
    .text();
    let (code, text) = portcullis(&[
        Path::new("verify"),
        &place,
        Path::new("--key"),
        Path::new(&other),
    ]);
    assert_eq!(code, 1, "{text}");
    assert_eq!(
        portcullis(&[Path::new("verify"), Path::new("/nowhere")]).0,
        2
    );
}

#[test]
fn a_log_that_is_being_written_verifies_at_any_moment() {
    let at = folder("live");
    let place = at.0.join("log");
    let key = Ed25519KeyPair::from_seed_unchecked(&[5; 32]).unwrap();
    let verifier = Verifier {
        name: "site.test".to_owned(),
        public: key.public_key().as_ref().try_into().unwrap(),
    };
    let sign = std::sync::Arc::new(move |text: &[u8]| key.sign(text).as_ref().try_into().unwrap());
    let checked = log_file::check::<log_file::LogError>(&place, verifier, None, |_, _| Ok(()));
    let disk = std::sync::Arc::new(log_file::FileSystem);
    let opened = checked
        .unwrap()
        .open(sign, disk, std::sync::Arc::new(|| {}));
    let mut log = opened.unwrap().log;
    let stop = std::sync::atomic::AtomicBool::new(false);
    let mut failed = None;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut n = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                for _ in 0..20 {
                    let _ = log.append(entry(n), ()).unwrap();
                    n += 1;
                }
                log.flush().unwrap();
                std::thread::sleep(std::time::Duration::from_millis(4));
            }
        });
        // Longer than it takes until the first checkpoints are signed.
        let begun = std::time::Instant::now();
        let mut runs = 0;
        while failed.is_none() && (begun.elapsed() < std::time::Duration::from_secs(4) || runs < 3)
        {
            let is_signed = begun.elapsed() > std::time::Duration::from_millis(1_500);
            let (code, text) = verify(&at);
            if is_signed {
                failed = (code != 0).then_some(text);
                runs += 1;
            }
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    assert_eq!(failed, None);
}
