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

/// Locks every page that is in use and every one that will be, from its first use on. Raises `RLIMIT_MEMLOCK` as far as
/// it may; call it before capabilities are dropped.
#[must_use]
pub fn lock_memory() -> Held {
    let lock = || -> io::Result<Option<u64>> {
        // Only a privileged process may raise the hard limit; anybody may go up to it.
        let all = libc::RLIM_INFINITY;
        if process::set_limit(process::LIMIT_LOCKED, all, all).is_err() {
            let (_, hard) = process::limit(process::LIMIT_LOCKED)?;
            if hard < LOCKED_BYTES_MIN {
                return Ok(Some(hard));
            }
            process::set_limit(process::LIMIT_LOCKED, hard, hard)?;
        }
        memory::lock_all()?;
        Ok(None)
    };
    match lock() {
        Ok(None) => Held::On,
        Ok(Some(limit)) => Held::Unavailable(format!(
            "RLIMIT_MEMLOCK is {} KiB, so keys may be written to swap; set `LimitMEMLOCK=infinity` in the service, or \
             turn swap off",
            limit >> 10
        )),
        Err(why) => Held::Unavailable(format!(
            "mlockall: {why}, so keys may be written to swap; set `LimitMEMLOCK=infinity` in the service, or turn \
             swap off"
        )),
    }
}
