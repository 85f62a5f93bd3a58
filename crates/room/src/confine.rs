//! How a room locks itself in before it reads its first byte.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One thing that confines a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Measure {
    /// No program that it starts could gain rights.
    NoNewPrivileges,
    /// No capability, whatever user it runs as.
    NoCapabilities,
    /// No core dump, and no other process of the same user reads its memory.
    NoDumps,
    /// Its pages are never written to swap.
    LockedMemory,
    /// A bound on open descriptors.
    DescriptorLimit,
    /// A network namespace without any interface.
    EmptyNetwork,
    /// Landlock: no file but those named.
    Files,
    /// Landlock: no TCP connection out, or no bound port.
    TcpPorts,
    /// Landlock: no signal and no abstract socket to the world outside.
    Scope,
    /// seccomp: no system call but those listed.
    SystemCalls,
}

/// Whether a measure holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Held {
    On,
    /// Why it does not, and what would change that.
    Unavailable(String),
}

/// What confines a room, measure by measure. A measure that the room does not take is not listed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SandboxReport {
    pub measures: BTreeMap<Measure, Held>,
}
