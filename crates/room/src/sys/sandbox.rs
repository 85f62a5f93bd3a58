//! Landlock and seccomp, as the kernel takes them.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use super::{checked, checked_long};

/// `struct landlock_ruleset_attr` as of ABI 6; older kernels take a prefix of it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ruleset {
    pub(crate) handled_files: u64,
    pub(crate) handled_network: u64,
    pub(crate) scoped: u64,
}

#[repr(C, packed)]
struct PathBeneath {
    allowed: u64,
    parent: RawFd,
}

const RULE_PATH_BENEATH: libc::c_long = 1;
const CREATE_RULESET_VERSION: libc::c_long = 1;

/// The newest Landlock ABI that this kernel speaks.
#[expect(
    unsafe_code,
    reason = "landlock_create_ruleset(2) asking for the version"
)]
pub(crate) fn landlock_abi() -> io::Result<u32> {
    // SAFETY: with this flag the kernel takes no attributes and makes no descriptor.
    let abi = checked_long(unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<Ruleset>(),
            0usize,
            CREATE_RULESET_VERSION,
        )
    })?;
    Ok(u32::try_from(abi).unwrap_or(0))
}

/// `size` is how much of the ruleset this kernel's ABI knows.
#[expect(unsafe_code, reason = "landlock_create_ruleset(2)")]
pub(crate) fn landlock_ruleset(ruleset: &Ruleset, size: usize) -> io::Result<OwnedFd> {
    let size = size.min(size_of::<Ruleset>());
    // SAFETY: the kernel reads `size` bytes, at most the whole ruleset, which outlives the call.
    let raw = checked_long(unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::from_ref(ruleset),
            size,
            0 as libc::c_long,
        )
    })?;
    let raw = RawFd::try_from(raw).map_err(|_| io::ErrorKind::InvalidData)?;
    // SAFETY: the kernel has just made this descriptor for us, and nobody else knows its number.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}

#[expect(unsafe_code, reason = "landlock_add_rule(2) for a path")]
pub(crate) fn landlock_path(
    ruleset: BorrowedFd<'_>,
    parent: BorrowedFd<'_>,
    allowed: u64,
) -> io::Result<()> {
    let rule = PathBeneath {
        allowed,
        parent: parent.as_raw_fd(),
    };
    // SAFETY: reads one rule of the type named, which outlives the call.
    checked_long(unsafe {
        libc::syscall(
            libc::SYS_landlock_add_rule,
            libc::c_long::from(ruleset.as_raw_fd()),
            RULE_PATH_BENEATH,
            &raw const rule,
            0 as libc::c_long,
        )
    })?;
    Ok(())
}

#[expect(unsafe_code, reason = "landlock_restrict_self(2)")]
pub(crate) fn landlock_restrict(ruleset: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: takes and returns integers only.
    checked_long(unsafe {
        libc::syscall(
            libc::SYS_landlock_restrict_self,
            libc::c_long::from(ruleset.as_raw_fd()),
            0 as libc::c_long,
        )
    })?;
    Ok(())
}

/// Puts the filter on every thread of the process, for good. The kernel's audit log has each kill by itself; calls that
/// fail are not logged, since the start of every thread makes one.
#[expect(unsafe_code, reason = "seccomp(2)")]
pub(crate) fn install_filter(program: &[libc::sock_filter]) -> io::Result<()> {
    let program = libc::sock_fprog {
        len: u16::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?,
        filter: program.as_ptr().cast_mut(),
    };
    // SAFETY: the kernel copies `len` instructions and checks them; both outlive the call.
    let result = checked_long(unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::c_ulong::from(libc::SECCOMP_SET_MODE_FILTER),
            libc::SECCOMP_FILTER_FLAG_TSYNC,
            &raw const program,
        )
    })?;
    if result == 0 {
        Ok(())
    } else {
        // With TSYNC a positive answer names a thread that could not take the filter.
        Err(io::Error::other(
            "a thread could not take the system call filter",
        ))
    }
}

/// Opens a path only as a place in the tree, to name it in a rule.
#[expect(unsafe_code, reason = "open(2) with O_PATH")]
pub(crate) fn open_place(path: &std::ffi::CStr) -> io::Result<OwnedFd> {
    // SAFETY: reads a terminated string that outlives the call.
    let raw = checked(unsafe { libc::open(path.as_ptr(), libc::O_PATH | libc::O_CLOEXEC) })?;
    // SAFETY: the kernel has just made this descriptor for us, and nobody else knows its number.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}
