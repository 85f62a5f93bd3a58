//! How a room locks itself in before it reads its first byte.
//!
//! Every measure stands on its own: whoever gets around one still meets the others. A measure that the kernel does not
//! offer is said in the [`SandboxReport`], which `status` and the log show; with [`Require::Sandbox`] it is an error.
//!
//! **A call outside its list kills the room** (`SECCOMP_RET_KILL_PROCESS`), rather than fail in it. A room that makes
//! such a call is a room of ours with a bug, or no longer ours; both must be seen, and an intruder gets one try instead
//! of as many as they like. `up` sees the signal, raises an alert and starts the room anew within a second, and what a
//! killed room held is by design either in the log or never sent. The price is that every legitimate path has to be
//! walked in tests (`tests/confinement.rs`). A few calls answer with an error instead of killing: those that libc and
//! the standard library try on the way of a panic or a thread's start, and do without.
//!
//! What a room needs beyond its list (its descriptors, scheduling, the control channel) it takes before [`confine`].

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::secret::lock_memory;
use crate::sys::{process, sandbox};

mod calls;
mod files;
mod filter;

/// Who confines itself, and what it needs of the file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Room {
    /// No file, no connection out; takes connections on the listeners it was given.
    Ingress,
    /// No file, no bound port; connects by TCP.
    Egress,
    /// No socket but those it was given. Reads and writes under `SITE/log` and `SITE/releases`, both of which exist.
    Signer { site: PathBuf, operators: Operators },
    /// Opens sealed secrets: reads `read` (files or folders), writes beneath `write`, and no socket at all.
    Unseal {
        read: Vec<PathBuf>,
        write: Option<PathBuf>,
    },
}

/// Which local users command this signer.
///
/// Without privilege an empty network namespace needs a user namespace, and there the kernel names no user but our own:
/// every other operator would be refused. So the choice is made beforehand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operators {
    /// Only the user that the signer runs as.
    OurUser,
    /// Others too, root included.
    AnyUser,
}

/// What to do where a measure is unavailable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Require {
    /// `--require-sandbox`: do not start.
    Sandbox,
    /// Start, and say so.
    No,
}

/// One thing that confines a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Measure {
    /// No program that it starts could gain rights.
    NoNewPrivileges,
    /// No capability, whatever user it runs as; but CAP_IPC_LOCK where memory could not stay locked without it.
    NoCapabilities,
    /// No core dump, and no other process of the same user reads its memory or traces it.
    NoDumps,
    /// Its pages are never written to swap.
    LockedMemory,
    /// A bound on open descriptors.
    DescriptorLimit,
    /// A network namespace with nothing in it that is up.
    EmptyNetwork,
    /// Landlock: no file but those named.
    Files,
    /// Landlock: no bound TCP port, and no TCP connection out (but for egress).
    TcpPorts,
    /// Landlock: no signal and no abstract socket to the world outside.
    Scope,
    /// seccomp: no system call but those listed.
    SystemCalls,
}

impl Measure {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Measure::NoNewPrivileges => "no-new-privileges",
            Measure::NoCapabilities => "no-capabilities",
            Measure::NoDumps => "no-dumps",
            Measure::LockedMemory => "locked-memory",
            Measure::DescriptorLimit => "descriptor-limit",
            Measure::EmptyNetwork => "empty-network",
            Measure::Files => "files",
            Measure::TcpPorts => "tcp-ports",
            Measure::Scope => "scope",
            Measure::SystemCalls => "system-calls",
        }
    }
}

impl std::fmt::Display for Measure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Whether a measure holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Held {
    On,
    /// Why it does not, and what would change that. Read from a room that may be an intruder's by now, it is cut to
    /// [`WHY_CHARS_MAX`] printable characters.
    Unavailable(#[serde(deserialize_with = "printable")] String),
}

/// Characters of a reason at most; the rest of what a room says is dropped.
pub const WHY_CHARS_MAX: usize = 400;

fn printable<'d, D: serde::Deserializer<'d>>(from: D) -> Result<String, D::Error> {
    let text = String::deserialize(from)?;
    let shown = text
        .chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .take(WHY_CHARS_MAX);
    Ok(shown.collect())
}

impl Held {
    fn of(done: io::Result<()>, what: &str) -> Held {
        match done {
            Ok(()) => Held::On,
            Err(why) => Held::Unavailable(format!("{what}: {why}")),
        }
    }
}

/// What confines a room, measure by measure. A measure that the room does not take is not listed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SandboxReport {
    pub measures: BTreeMap<Measure, Held>,
}

impl SandboxReport {
    /// What is unavailable, and why.
    pub fn missing(&self) -> impl Iterator<Item = (Measure, &str)> {
        self.measures
            .iter()
            .filter_map(|(measure, held)| match held {
                Held::On => None,
                Held::Unavailable(why) => Some((*measure, why.as_str())),
            })
    }

    /// Every measure that the room takes holds.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        !self.measures.is_empty() && self.missing().next().is_none()
    }

    fn note(&mut self, measure: Measure, held: Held) {
        self.measures.insert(measure, held);
    }
}

/// Why a room must not go on.
#[derive(Debug)]
pub enum Unconfined {
    /// A thread started earlier would stay outside.
    Threads(usize),
    /// A folder that the room needs.
    Place { path: PathBuf, why: io::Error },
    /// The user namespace could not be told which user we are, so no operator could be known.
    Users(io::Error),
    /// `--require-sandbox`, and not all of it is there.
    Incomplete(SandboxReport),
}

impl std::fmt::Display for Unconfined {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Threads(count) => write!(
                f,
                "a room confines itself before it starts threads, and it has {count}; this is a bug, please report it"
            ),
            Self::Place { path, why } => write!(
                f,
                "cannot open `{}`: {why}\nhint: `portcullis init` makes a site's folders; they belong to the user that \
                 runs `portcullis up`",
                path.display()
            ),
            Self::Users(why) => write!(
                f,
                "cannot name our user in a user namespace: {why}\nhint: mount /proc, or let operators of other users in"
            ),
            Self::Incomplete(report) => {
                f.write_str("the sandbox is required and not complete")?;
                for (measure, why) in report.missing() {
                    write!(f, "\n  {measure}: {why}")?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for Unconfined {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Place { why, .. } | Self::Users(why) => Some(why),
            Self::Threads(_) | Self::Incomplete(_) => None,
        }
    }
}

/// Locks this process in, for good. Call it with one thread, before the first byte is read from anywhere.
///
/// After an error the process may be half confined: end it.
pub fn confine(room: &Room, require: Require) -> Result<SandboxReport, Unconfined> {
    let threads = threads();
    if threads != 1 {
        return Err(Unconfined::Threads(threads));
    }
    let mut report = SandboxReport::default();
    // In this order: first what needs privilege, then privilege goes, then what needs none. seccomp is last, since it
    // forbids all of this.
    let privileged = process::has(process::CAP_SYS_ADMIN);
    let mut kept = 0;
    if matches!(room, Room::Signer { .. } | Room::Unseal { .. }) {
        // In a user namespace the capability would be worth nothing.
        let locked = lock_memory(privileged);
        if locked.by_capability {
            kept = 1 << process::CAP_IPC_LOCK;
        }
        report.note(Measure::LockedMemory, locked.held);
    }
    report.note(
        Measure::DescriptorLimit,
        Held::of(limit_descriptors(room), "setrlimit"),
    );
    let places = files::places(room)?;
    if let Some(held) = empty_network(room, privileged)? {
        report.note(Measure::EmptyNetwork, held);
    }
    report.note(
        Measure::NoCapabilities,
        Held::of(drop_capabilities(kept), "capset"),
    );
    report.note(
        Measure::NoNewPrivileges,
        Held::of(process::no_new_privileges(), "prctl"),
    );
    files::restrict(room, &places, &mut report);
    drop(places);
    let no_dumps = process::set_limit(process::LIMIT_CORE, 0, 0)
        .and_then(|()| process::forbid_dump_and_trace());
    report.note(Measure::NoDumps, Held::of(no_dumps, "prctl"));
    let program = filter::program(&calls::of(room), std::process::id());
    report.note(
        Measure::SystemCalls,
        Held::of(sandbox::install_filter(&program), "seccomp"),
    );
    if require == Require::Sandbox && !report.is_complete() {
        return Err(Unconfined::Incomplete(report));
    }
    Ok(report)
}

/// How many threads this process has; 0 where `/proc` does not say.
fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count)
}

/// As many descriptors as the room's own bounds need, and no more.
fn limit_descriptors(room: &Room) -> io::Result<()> {
    let wanted: u64 = match room {
        // Connections (16,384 at most), listeners, links.
        Room::Ingress => 17_000,
        // Connections to each host (128), links.
        Room::Egress => 4_096,
        // Log segments, operators' connections, links, pipes of helper threads.
        Room::Signer { .. } => 512,
        Room::Unseal { .. } => 64,
    };
    if process::set_limit(process::LIMIT_FILES, wanted, wanted).is_ok() {
        return Ok(());
    }
    // Without privilege up to the hard limit; what it lacks the room meets as "out of descriptors".
    let (_, hard) = process::limit(process::LIMIT_FILES)?;
    process::set_limit(process::LIMIT_FILES, hard.min(wanted), hard.min(wanted))
}

/// Given sockets go on working in it; a new one would reach nobody. `None`: the room needs its network.
fn empty_network(room: &Room, privileged: bool) -> Result<Option<Held>, Unconfined> {
    let operators = match room {
        Room::Egress => return Ok(None),
        Room::Ingress | Room::Unseal { .. } => None,
        Room::Signer { operators, .. } => Some(*operators),
    };
    if privileged {
        let done = process::unshare(libc::CLONE_NEWNET);
        return Ok(Some(Held::of(done, "unshare")));
    }
    if operators == Some(Operators::AnyUser) {
        return Ok(Some(Held::Unavailable(
            "without privilege it needs a user namespace, in which operators of other users have no name; give \
             `portcullis up` CAP_SYS_ADMIN, or have our own user alone command"
                .to_owned(),
        )));
    }
    let (uid, gid) = process::effective_ids();
    if let Err(why) = process::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNET) {
        return Ok(Some(Held::Unavailable(format!(
            "unshare: {why}; this system forbids user namespaces without privilege"
        ))));
    }
    if operators.is_some() {
        let write = |name: &str, text: String| {
            std::fs::write(Path::new("/proc/self").join(name), text).map_err(Unconfined::Users)
        };
        write("setgroups", "deny".to_owned())?;
        write("uid_map", format!("{uid} {uid} 1"))?;
        write("gid_map", format!("{gid} {gid} 1"))?;
    }
    Ok(Some(Held::On))
}

/// From every set, and from the bounding set where we may, so that none comes back; `kept` stays.
fn drop_capabilities(kept: u64) -> io::Result<()> {
    if process::has(process::CAP_SETPCAP) {
        for number in 0..64 {
            if !process::drop_bounding_capability(number)? {
                break;
            }
        }
    }
    process::clear_ambient_capabilities()?;
    process::keep_capabilities(kept)
}

#[cfg(test)]
mod tests;
