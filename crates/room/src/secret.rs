//! Memory that is never written to disk.
//!
//! The whole process is locked, present and future, rather than the pages of each key: a secret also lies in the pipe's
//! buffer, in a parser's string, on a stack. Core dumps and other processes' reads are stopped for the whole process
//! too ([`crate::confine`]), so single pages need no mark of their own. Wiping is the duty of the types that hold keys.

use std::io;

use crate::confine::Held;
use crate::sys::{memory, process};

/// Locked memory counts what is mapped, not what is used, and a mapping beyond the limit fails as if memory were full.
/// So we lock only where the limit leaves room for thread stacks and allocator arenas that are mostly empty.
const LOCKED_BYTES_MIN: u64 = 8 << 30;

/// What locking came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Locked {
    pub held: Held,
    /// It holds for new pages only as long as the process keeps CAP_IPC_LOCK.
    pub by_capability: bool,
}

/// Locks every page that is in use and every one that will be, from its first use on. Raises `RLIMIT_MEMLOCK` as far as
/// it may; call it before capabilities are dropped.
///
/// Where the limit stays low, `CAP_IPC_LOCK` serves too if it `may_stay`.
#[must_use]
pub fn lock_memory(may_stay: bool) -> Locked {
    let lock = || -> io::Result<Result<bool, u64>> {
        let enough = raise_limit()?;
        let by_capability = enough.is_err() && may_stay && process::has(process::CAP_IPC_LOCK);
        if let (Err(limit), false) = (enough, by_capability) {
            return Ok(Err(limit));
        }
        memory::lock_all()?;
        Ok(Ok(by_capability))
    };
    let unavailable = |why: String| Locked {
        held: Held::Unavailable(format!(
            "{why}, so keys may be written to swap; set `LimitMEMLOCK=infinity` in the service, or turn swap off"
        )),
        by_capability: false,
    };
    match lock() {
        Ok(Ok(by_capability)) => Locked {
            held: Held::On,
            by_capability,
        },
        Ok(Err(limit)) => unavailable(format!("RLIMIT_MEMLOCK is {} KiB", limit >> 10)),
        Err(why) => unavailable(format!("mlockall: {why}")),
    }
}

/// The limit, if it stays too low.
fn raise_limit() -> io::Result<Result<(), u64>> {
    // Only a privileged process may raise the hard limit; anybody may go up to it.
    let all = libc::RLIM_INFINITY;
    if process::set_limit(process::LIMIT_LOCKED, all, all).is_ok() {
        return Ok(Ok(()));
    }
    let (_, hard) = process::limit(process::LIMIT_LOCKED)?;
    process::set_limit(process::LIMIT_LOCKED, hard, hard)?;
    Ok(if hard < LOCKED_BYTES_MIN {
        Err(hard)
    } else {
        Ok(())
    })
}
