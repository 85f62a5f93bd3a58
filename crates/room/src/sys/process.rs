//! What a process is to itself and to its parent: what it is started with, limits, scheduling, capabilities.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use super::{checked, checked_long};

/// Gives the child exactly `fds[n]` as number `first + n`; everything above those is closed when it executes.
///
/// The caller keeps the descriptors open until the child has been started, and has seen to it that no number in
/// `first..first + fds.len()` is free in this process (see [`crate::spawn`]).
#[expect(unsafe_code, reason = "code that runs between fork and exec")]
pub(crate) fn arrange_child(command: &mut Command, first: RawFd, fds: Vec<RawFd>) {
    let count = RawFd::try_from(fds.len()).unwrap_or(RawFd::MAX);
    let above = first.saturating_add(count);
    let mut moved: Vec<RawFd> = vec![-1; fds.len()];
    let arrange = move || {
        // Only calls that are safe after fork: fcntl, dup2 and close_range, on memory made before it.
        for (from, to) in fds.iter().zip(moved.iter_mut()) {
            // SAFETY: takes and returns integers only.
            *to = checked(unsafe { libc::fcntl(*from, libc::F_DUPFD_CLOEXEC, above) })?;
        }
        for (from, to) in moved.iter().zip(first..) {
            // SAFETY: takes and returns integers only. What stood at `to` was the parent's; this is the child's copy.
            checked(unsafe { libc::dup2(*from, to) })?;
        }
        // SAFETY: marks descriptors close-on-exec, does not close: the standard library still reports through one.
        checked_long(unsafe {
            libc::syscall(
                libc::SYS_close_range,
                libc::c_long::from(above),
                libc::c_long::from(u32::MAX),
                libc::c_long::from(CLOSE_RANGE_CLOEXEC),
            )
        })?;
        Ok(())
    };
    // SAFETY: the closure allocates nothing, takes no lock and makes only async-signal-safe calls.
    unsafe { command.pre_exec(arrange) };
}

const CLOSE_RANGE_CLOEXEC: u32 = 4;

/// Takes over a descriptor that this process was started with.
///
/// The caller makes sure that it happens once for each number.
#[expect(unsafe_code, reason = "takes ownership of an inherited descriptor")]
pub(crate) fn inherited(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: takes and returns integers only.
    checked(unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) })?;
    // SAFETY: it is open (the line above), and [`crate::spawn`] put it there for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// A descriptor that becomes readable when this child of ours has ended. The caller has not waited for it yet.
#[expect(unsafe_code, reason = "pidfd_open(2)")]
pub(crate) fn pidfd(child: u32) -> io::Result<OwnedFd> {
    // SAFETY: takes and returns integers only.
    let raw = checked_long(unsafe {
        libc::syscall(
            libc::SYS_pidfd_open,
            libc::c_long::from(child),
            0 as libc::c_long,
        )
    })?;
    let raw = RawFd::try_from(raw).map_err(|_| io::ErrorKind::InvalidData)?;
    // SAFETY: the kernel has just made this descriptor (close-on-exec) for us, and nobody else knows its number.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}

/// Sets soft and hard limit; the kernel refuses to raise a hard one without privilege.
#[expect(unsafe_code, reason = "setrlimit(2)")]
pub(crate) fn set_limit(resource: u32, soft: u64, hard: u64) -> io::Result<()> {
    let limit = libc::rlimit {
        rlim_cur: soft,
        rlim_max: hard,
    };
    // SAFETY: reads one limit that outlives the call.
    checked(unsafe { libc::setrlimit(resource as _, &raw const limit) })?;
    Ok(())
}

/// Soft and hard limit.
#[expect(unsafe_code, reason = "getrlimit(2)")]
pub(crate) fn limit(resource: u32) -> io::Result<(u64, u64)> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: writes one limit into memory that we hold.
    checked(unsafe { libc::getrlimit(resource as _, &raw mut limit) })?;
    Ok((limit.rlim_cur, limit.rlim_max))
}

/// `RLIMIT_*` have another integer type in each libc; these are their numbers, the same on x86_64 and aarch64.
pub(crate) const LIMIT_CORE: u32 = libc::RLIMIT_CORE;
pub(crate) const LIMIT_FILES: u32 = libc::RLIMIT_NOFILE;
pub(crate) const LIMIT_LOCKED: u32 = libc::RLIMIT_MEMLOCK;

#[expect(unsafe_code, reason = "sched_setscheduler(2) with SCHED_BATCH")]
pub(crate) fn schedule_as_batch() -> io::Result<()> {
    let priority = libc::sched_param { sched_priority: 0 };
    // SAFETY: reads one parameter that outlives the call; process 0 is the caller.
    checked(unsafe { libc::sched_setscheduler(0, libc::SCHED_BATCH, &raw const priority) })?;
    Ok(())
}

#[expect(unsafe_code, reason = "sched_setaffinity(2)")]
pub(crate) fn pin(cores: &[usize]) -> io::Result<()> {
    // SAFETY: a set of bits, for which zero bytes are the empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    for core in cores {
        if *core >= libc::CPU_SETSIZE as usize {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        // SAFETY: the number is below CPU_SETSIZE.
        unsafe { libc::CPU_SET(*core, &mut set) };
    }
    // SAFETY: reads the set, which outlives the call; process 0 is the caller.
    checked(unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set) })?;
    Ok(())
}

/// The cores that the calling thread may run on.
#[expect(unsafe_code, reason = "sched_getaffinity(2)")]
pub(crate) fn affinity() -> io::Result<Vec<usize>> {
    // SAFETY: a set of bits, for which zero bytes are the empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: writes one set of the size named into memory that we hold; process 0 is the caller.
    checked(unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set) })?;
    let cores = 0..libc::CPU_SETSIZE as usize;
    // SAFETY: the number is below CPU_SETSIZE.
    Ok(cores
        .filter(|core| unsafe { libc::CPU_ISSET(*core, &set) })
        .collect())
}

#[expect(unsafe_code, reason = "prctl(2) with PR_SET_DUMPABLE")]
pub(crate) fn forbid_dump_and_trace() -> io::Result<()> {
    // SAFETY: takes and returns integers only.
    checked(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) })?;
    Ok(())
}

#[expect(unsafe_code, reason = "prctl(2) with PR_SET_NO_NEW_PRIVS")]
pub(crate) fn no_new_privileges() -> io::Result<()> {
    // SAFETY: takes and returns integers only.
    checked(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) })?;
    Ok(())
}

#[expect(unsafe_code, reason = "prctl(2) with PR_CAP_AMBIENT_CLEAR_ALL")]
pub(crate) fn clear_ambient_capabilities() -> io::Result<()> {
    // SAFETY: takes and returns integers only.
    checked(unsafe {
        libc::prctl(
            libc::PR_CAP_AMBIENT,
            libc::PR_CAP_AMBIENT_CLEAR_ALL,
            0,
            0,
            0,
        )
    })?;
    Ok(())
}

/// `false`: the kernel knows no capability of this number.
#[expect(unsafe_code, reason = "prctl(2) with PR_CAPBSET_DROP")]
pub(crate) fn drop_bounding_capability(number: u32) -> io::Result<bool> {
    // SAFETY: takes and returns integers only.
    match checked(unsafe {
        libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(number), 0, 0, 0)
    }) {
        Ok(_) => Ok(true),
        Err(why) if why.raw_os_error() == Some(libc::EINVAL) => Ok(false),
        Err(why) => Err(why),
    }
}

/// Effective and permitted capabilities become these (of which the caller has all), inheritable none.
#[expect(unsafe_code, reason = "capset(2)")]
pub(crate) fn keep_capabilities(kept: u64) -> io::Result<()> {
    // The version and the process (0 is the caller), then twice effective, permitted, inheritable.
    let header: [u32; 2] = [0x2008_0522, 0];
    let (low, high) = (kept as u32, (kept >> 32) as u32);
    let data: [u32; 6] = [low, low, 0, high, high, 0];
    // SAFETY: the kernel reads a header and, for this version, two data elements; both outlive the call.
    checked_long(unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), data.as_ptr()) })?;
    Ok(())
}

/// Numbers of the capabilities that matter here (linux/capability.h).
pub(crate) const CAP_SETPCAP: u32 = 8;
pub(crate) const CAP_IPC_LOCK: u32 = 14;
pub(crate) const CAP_SYS_ADMIN: u32 = 21;

/// Effective capabilities of the caller, a bit each.
#[expect(unsafe_code, reason = "capget(2)")]
fn effective_capabilities() -> io::Result<u64> {
    let mut header: [u32; 2] = [0x2008_0522, 0];
    let mut data: [u32; 6] = [0; 6];
    // SAFETY: the kernel reads and may rewrite the header, and writes two data elements; both outlive the call.
    checked_long(unsafe {
        libc::syscall(libc::SYS_capget, header.as_mut_ptr(), data.as_mut_ptr())
    })?;
    let [low, _, _, high, _, _] = data;
    Ok(u64::from(low) | u64::from(high) << 32)
}

pub(crate) fn has(capability: u32) -> bool {
    effective_capabilities().is_ok_and(|held| held & (1 << capability) != 0)
}

#[expect(unsafe_code, reason = "unshare(2)")]
pub(crate) fn unshare(what: libc::c_int) -> io::Result<()> {
    // SAFETY: takes and returns integers only; callers pass namespaces, never CLONE_FILES or CLONE_FS.
    checked(unsafe { libc::unshare(what) })?;
    Ok(())
}

/// User and group as which this process acts.
#[expect(unsafe_code, reason = "geteuid(2), getegid(2)")]
pub(crate) fn effective_ids() -> (u32, u32) {
    // SAFETY: take nothing, return integers, cannot fail.
    unsafe { (libc::geteuid(), libc::getegid()) }
}
