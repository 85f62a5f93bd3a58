//! epoll, eventfd, timerfd and the clocks.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use super::checked;

#[expect(unsafe_code, reason = "epoll_create1(2)")]
pub(crate) fn epoll() -> io::Result<OwnedFd> {
    // SAFETY: takes and returns integers only.
    own(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })
}

#[expect(unsafe_code, reason = "eventfd(2)")]
pub(crate) fn eventfd() -> io::Result<OwnedFd> {
    // SAFETY: takes and returns integers only.
    own(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })
}

#[expect(unsafe_code, reason = "timerfd_create(2)")]
pub(crate) fn timerfd() -> io::Result<OwnedFd> {
    // SAFETY: takes and returns integers only.
    own(unsafe {
        libc::timerfd_create(
            libc::CLOCK_MONOTONIC,
            libc::TFD_CLOEXEC | libc::TFD_NONBLOCK,
        )
    })
}

/// Fires once at this reading of `CLOCK_MONOTONIC`; at once if it has passed. Zero would disarm, so it is read as one.
#[expect(unsafe_code, reason = "timerfd_settime(2)")]
pub(crate) fn arm(timer: BorrowedFd<'_>, at_ns: u64) -> io::Result<()> {
    let at_ns = at_ns.max(1);
    let setting = libc::itimerspec {
        it_interval: libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        },
        it_value: libc::timespec {
            tv_sec: libc::time_t::try_from(at_ns / 1_000_000_000).unwrap_or(libc::time_t::MAX),
            tv_nsec: libc::c_long::try_from(at_ns % 1_000_000_000).unwrap_or(0),
        },
    };
    // SAFETY: reads one setting that outlives the call; no old setting is asked for.
    checked(unsafe {
        libc::timerfd_settime(
            timer.as_raw_fd(),
            libc::TFD_TIMER_ABSTIME,
            &raw const setting,
            std::ptr::null_mut(),
        )
    })?;
    Ok(())
}

#[expect(unsafe_code, reason = "epoll_ctl(2)")]
pub(crate) fn control(
    epoll: BorrowedFd<'_>,
    operation: libc::c_int,
    fd: RawFd,
    events: u32,
    token: u64,
) -> io::Result<()> {
    let mut event = libc::epoll_event { events, u64: token };
    // SAFETY: reads one event that outlives the call; a wrong descriptor number is an error, no more.
    checked(unsafe { libc::epoll_ctl(epoll.as_raw_fd(), operation, fd, &raw mut event) })?;
    Ok(())
}

#[expect(unsafe_code, reason = "epoll_wait(2)")]
pub(crate) fn wait(
    epoll: BorrowedFd<'_>,
    into: &mut [libc::epoll_event],
    timeout_ms: i32,
) -> io::Result<usize> {
    let room = libc::c_int::try_from(into.len()).unwrap_or(libc::c_int::MAX);
    // SAFETY: the kernel writes at most `room` events into memory that we hold exclusively.
    let count = checked(unsafe {
        libc::epoll_wait(epoll.as_raw_fd(), into.as_mut_ptr(), room, timeout_ms)
    })?;
    Ok(usize::try_from(count).unwrap_or(0))
}

/// Nanoseconds of one of the clocks; a reading before its zero is zero.
#[expect(unsafe_code, reason = "clock_gettime(2)")]
pub(crate) fn clock_ns(clock: libc::clockid_t) -> u64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: writes one reading into memory that we hold. It cannot fail: our three clocks exist since Linux 2.6.39.
    unsafe { libc::clock_gettime(clock, &raw mut now) };
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let nanoseconds = u64::try_from(now.tv_nsec).unwrap_or(0);
    seconds
        .saturating_mul(1_000_000_000)
        .saturating_add(nanoseconds)
}

#[expect(unsafe_code, reason = "takes ownership of a descriptor just made")]
fn own(raw: libc::c_int) -> io::Result<OwnedFd> {
    let raw = checked(raw)?;
    // SAFETY: callers pass the result of a call that makes a new descriptor, and nobody else knows its number.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}
