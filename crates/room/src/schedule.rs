//! How the kernel runs a room: as a batch, and on one core.
//!
//! Three rooms on one core answer faster than three on cores of their own: the neighbour's data are warm, and nobody
//! pays for waking another core. Threads started later inherit both settings, so helper threads that sign or sync are
//! started first, or call [`unpin`].

use std::io;

use crate::sys::process;

/// `SCHED_BATCH`: a room that wakes another goes on with its turn instead of giving the core away at once.
pub fn batch() -> io::Result<()> {
    process::schedule_as_batch()
}

/// The cores that this thread may run on, from the lowest.
pub fn cores() -> io::Result<Vec<usize>> {
    process::affinity()
}

/// Runs this thread on one core alone. One that the machine lacks, or that is not given to us, is an error.
pub fn pin(core: usize) -> io::Result<()> {
    process::pin(&[core])
}

/// Runs this thread on any of these cores: what [`cores`] said before [`pin`].
pub fn unpin(cores: &[usize]) -> io::Result<()> {
    process::pin(cores)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_pinned_and_unpinned() {
        std::thread::spawn(|| {
            batch().unwrap();
            let all = cores().unwrap();
            let last = *all.last().unwrap();
            pin(last).unwrap();
            assert_eq!(cores().unwrap(), [last]);
            let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
            // Field 41 is the policy; the name in field 2 may hold anything, so it is counted from its end.
            let fields = stat.rsplit_once(')').unwrap().1.split_whitespace();
            assert_eq!(
                fields.into_iter().nth(38).unwrap(),
                libc::SCHED_BATCH.to_string()
            );
            unpin(&all).unwrap();
            assert_eq!(cores().unwrap(), all);
            assert!(pin(100_000).is_err());
            assert!(pin(1_000).is_err());
        })
        .join()
        .unwrap();
    }
}
