//! Landlock: which files a room sees, which TCP ports, and whom it can signal.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::{Held, Measure, Room, SandboxReport, Unconfined};
use crate::sys::sandbox::{self, Ruleset};

/// A place in the tree that a room keeps, and what it may do there.
pub(super) struct Place {
    fd: OwnedFd,
    allowed: u64,
}

/// Opens the places that the room keeps. Before any restriction, and before privilege goes.
pub(super) fn places(room: &Room) -> Result<Vec<Place>, Unconfined> {
    let open = |path: &Path, allowed| -> Result<Place, Unconfined> {
        open(path)
            .map(|fd| Place { fd, allowed })
            .map_err(|why| Unconfined::Place {
                path: path.to_owned(),
                why,
            })
    };
    match room {
        Room::Ingress | Room::Egress => Ok(Vec::new()),
        Room::Signer { site, .. } => ["log", "releases"]
            .into_iter()
            .map(|folder| open(&site.join(folder), KEEP))
            .collect(),
        Room::Unseal { read, write } => {
            let read = read.iter().map(|path: &PathBuf| {
                let allowed = if path.is_dir() {
                    READ_FOLDER
                } else {
                    READ_FILE
                };
                open(path, allowed)
            });
            let write = write.iter().map(|path| open(path, KEEP));
            read.chain(write).collect()
        }
    }
}

/// Restricts this thread, and every one that it starts.
pub(super) fn restrict(room: &Room, places: &[Place], report: &mut SandboxReport) {
    let abi = match sandbox::landlock_abi() {
        Ok(abi) => abi,
        Err(why) => {
            let held = Held::Unavailable(format!(
                "Landlock: {why}; a kernel of 5.13 or newer has it, with `landlock` among its `lsm=`"
            ));
            for measure in [Measure::Files, Measure::TcpPorts, Measure::Scope] {
                report.note(measure, held.clone());
            }
            return;
        }
    };
    let older =
        |needs: &str| Held::Unavailable(format!("Landlock ABI {abi}; Linux {needs} has it"));
    let ruleset = Ruleset {
        handled_files: files_of(abi),
        handled_network: if abi < 4 {
            0
        } else if *room == Room::Egress {
            BIND_TCP
        } else {
            BIND_TCP | CONNECT_TCP
        },
        scoped: if abi < 6 {
            0
        } else {
            ABSTRACT_SOCKETS | SIGNALS
        },
    };
    let size = match abi {
        0..=3 => 8,
        4..=5 => 16,
        _ => 24,
    };
    let done = || -> io::Result<()> {
        let rules = sandbox::landlock_ruleset(&ruleset, size)?;
        for place in places {
            let allowed = place.allowed & ruleset.handled_files;
            sandbox::landlock_path(rules.as_fd(), place.fd.as_fd(), allowed)?;
        }
        sandbox::landlock_restrict(rules.as_fd())
    };
    let held = Held::of(done(), "Landlock");
    let since = |first: u32, needs: &str| match (&held, abi >= first) {
        (Held::On, false) => older(needs),
        (held, _) => held.clone(),
    };
    report.note(Measure::Files, since(1, "5.13"));
    report.note(Measure::TcpPorts, since(4, "6.7"));
    report.note(Measure::Scope, since(6, "6.12"));
}

fn open(path: &Path) -> io::Result<OwnedFd> {
    let text =
        CString::new(path.as_os_str().as_bytes()).map_err(|_| io::ErrorKind::InvalidInput)?;
    sandbox::open_place(&text)
}

/// Every way to touch a file that this ABI can forbid.
fn files_of(abi: u32) -> u64 {
    let bits = match abi {
        0..=1 => 13,
        // Linking and renaming between folders.
        2 => 14,
        // Truncating.
        3..=4 => 15,
        // ioctl on devices.
        _ => 16,
    };
    (1 << bits) - 1
}

const WRITE_FILE: u64 = 1 << 1;
const READ_FILE: u64 = 1 << 2;
const READ_DIR: u64 = 1 << 3;
const REMOVE_DIR: u64 = 1 << 4;
const REMOVE_FILE: u64 = 1 << 5;
const MAKE_DIR: u64 = 1 << 7;
const MAKE_REG: u64 = 1 << 8;
const REFER: u64 = 1 << 13;
const TRUNCATE: u64 = 1 << 14;

const READ_FOLDER: u64 = READ_FILE | READ_DIR;
/// Plain files and folders, to make, write, rename and remove: no devices, sockets, links, and nothing to execute.
const KEEP: u64 =
    READ_FOLDER | WRITE_FILE | REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_REG | REFER | TRUNCATE;

const BIND_TCP: u64 = 1 << 0;
const CONNECT_TCP: u64 = 1 << 1;

const ABSTRACT_SOCKETS: u64 = 1 << 0;
const SIGNALS: u64 = 1 << 1;
