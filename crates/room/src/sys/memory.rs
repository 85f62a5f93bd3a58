//! Locked memory.

use std::io;

use super::checked;

/// Every page of the process stays in memory from its first use on, those mapped later included.
#[expect(unsafe_code, reason = "mlockall(2)")]
pub(crate) fn lock_all() -> io::Result<()> {
    // SAFETY: takes and returns integers only; contents do not change.
    checked(unsafe { libc::mlockall(libc::MCL_CURRENT | libc::MCL_FUTURE | libc::MCL_ONFAULT) })?;
    Ok(())
}
