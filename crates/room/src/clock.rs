//! The three clocks, read without a decision about which of them is right.

use std::time::Duration;

use crate::sys::ready::clock_ns;

/// A reading of `CLOCK_MONOTONIC`: for timers. It stands still while the machine is suspended, and means nothing in
/// another process's log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Monotonic(u64);

impl Monotonic {
    #[must_use]
    pub fn now() -> Monotonic {
        Monotonic(clock_ns(libc::CLOCK_MONOTONIC))
    }

    /// Saturates at the end of time.
    #[must_use]
    pub fn after(self, wait: Duration) -> Monotonic {
        let wait = u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX);
        Monotonic(self.0.saturating_add(wait))
    }

    /// Zero if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Monotonic) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    #[must_use]
    pub fn as_nanos(self) -> u64 {
        self.0
    }
}

/// Microseconds of `CLOCK_BOOTTIME`: the same for every process of this machine until it restarts, suspension counted.
#[must_use]
pub fn boot_us() -> u64 {
    clock_ns(libc::CLOCK_BOOTTIME) / 1_000
}

/// Microseconds since 1970 by `CLOCK_REALTIME`: may step in either direction; the signer judges it against the boot clock.
#[must_use]
pub fn unix_us() -> u64 {
    clock_ns(libc::CLOCK_REALTIME) / 1_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_go_forward_and_saturate() {
        let start = Monotonic::now();
        let boot = boot_us();
        std::thread::sleep(Duration::from_millis(2));
        assert!(Monotonic::now().since(start) >= Duration::from_millis(2));
        assert_eq!(start.since(Monotonic::now()), Duration::ZERO);
        assert!(boot_us() - boot >= 2_000);
        assert!(unix_us() > 1_600_000_000_000_000);
        assert_eq!(
            start.after(Duration::MAX).after(Duration::MAX).as_nanos(),
            u64::MAX
        );
    }
}
