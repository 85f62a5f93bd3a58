//! Bytes through a descriptor, and what a descriptor is set to.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::{checked, checked_len};

#[expect(unsafe_code, reason = "read(2)")]
pub(crate) fn read(fd: BorrowedFd<'_>, into: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the kernel writes at most `into.len()` bytes into memory that we hold exclusively.
    checked_len(unsafe { libc::read(fd.as_raw_fd(), into.as_mut_ptr().cast(), into.len()) })
}

#[expect(unsafe_code, reason = "write(2)")]
pub(crate) fn write(fd: BorrowedFd<'_>, from: &[u8]) -> io::Result<usize> {
    // SAFETY: the kernel reads at most `from.len()` bytes of memory that outlives the call.
    checked_len(unsafe { libc::write(fd.as_raw_fd(), from.as_ptr().cast(), from.len()) })
}

#[expect(unsafe_code, reason = "fcntl(2) with F_GETFL and F_SETFL")]
pub(crate) fn set_nonblocking(fd: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    // SAFETY: takes and returns integers only.
    let flags = checked(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) })?;
    let wanted = if on {
        flags | libc::O_NONBLOCK
    } else {
        flags & !libc::O_NONBLOCK
    };
    if wanted != flags {
        // SAFETY: takes and returns integers only.
        checked(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, wanted) })?;
    }
    Ok(())
}

#[expect(unsafe_code, reason = "fcntl(2) with F_SETPIPE_SZ")]
pub(crate) fn set_pipe_capacity(fd: BorrowedFd<'_>, bytes: i32) -> io::Result<usize> {
    // SAFETY: takes and returns integers only.
    let got = checked(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETPIPE_SZ, bytes) })?;
    Ok(usize::try_from(got).unwrap_or(0))
}

/// Waits until the descriptor can be read, hung up, or (with `writable`) written; `false` when the time passed first.
#[expect(unsafe_code, reason = "poll(2)")]
pub(crate) fn wait_one(fd: BorrowedFd<'_>, writable: bool, timeout_ms: i32) -> io::Result<bool> {
    let mut entry = libc::pollfd {
        fd: fd.as_raw_fd(),
        events: if writable {
            libc::POLLOUT
        } else {
            libc::POLLIN
        },
        revents: 0,
    };
    // SAFETY: one entry, which outlives the call.
    Ok(checked(unsafe { libc::poll(&raw mut entry, 1, timeout_ms) })? > 0)
}

/// Bytes that the file system of an open file still has for an unprivileged writer.
#[expect(unsafe_code, reason = "fstatvfs(3)")]
pub(crate) fn free_bytes(fd: BorrowedFd<'_>) -> io::Result<u64> {
    let mut answer = std::mem::MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: writes one answer into memory that we hold.
    checked(unsafe { libc::fstatvfs(fd.as_raw_fd(), answer.as_mut_ptr()) })?;
    // SAFETY: the call succeeded, so it has filled the answer.
    let answer = unsafe { answer.assume_init() };
    Ok(answer.f_bavail.saturating_mul(answer.f_frsize))
}
