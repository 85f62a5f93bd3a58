//! The system calls, each behind a function that cannot be misused from safe code.
//!
//! The only unsafe code of the whole project is in this folder. A function here makes one call, turns its
//! result into `io::Result`, and decides nothing.

pub(crate) mod memory;
pub(crate) mod process;
pub(crate) mod ready;
pub(crate) mod sandbox;
pub(crate) mod socket;
pub(crate) mod stream;

use std::io;

/// `-1` becomes the error that the kernel left in `errno`.
fn checked(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// The same for calls that answer with a length.
fn checked_len(result: isize) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

/// The same for raw calls that answer with a `long`.
fn checked_long(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}
