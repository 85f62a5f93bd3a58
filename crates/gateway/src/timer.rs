//! When a room looks at its deadlines: one moment for all of them.

use portcullis_room::clock::{self, Monotonic};
use std::time::Duration;

/// How often deadlines are looked at while something is under way.
pub(crate) const TICK_US: u64 = 1_000_000;

/// The next look at connections: soon while something is under way, after the end of the longest idle one otherwise, and
/// not at all without connections.
pub(crate) fn next_look(now_us: u64, soon: bool, idle_ends_us: Option<u64>) -> Option<u64> {
    match soon {
        true => Some(now_us.saturating_add(TICK_US)),
        false => idle_ends_us.map(|ends| ends.max(now_us).saturating_add(TICK_US)),
    }
}

/// Reads the boot clock once a turn, and knows the next look.
#[derive(Debug)]
pub(crate) struct Timer {
    next: Option<Monotonic>,
}

impl Timer {
    pub fn new() -> Self {
        Self { next: None }
    }

    pub fn next(&self) -> Option<Monotonic> {
        self.next
    }

    /// Something happened: deadlines are looked at within this.
    pub fn within_us(&mut self, now: Monotonic, us: u64) {
        let wanted = now.after(Duration::from_micros(us));
        if self.next.is_none_or(|next| wanted < next) {
            self.next = Some(wanted);
        }
    }

    pub fn is_due(&self, now: Monotonic) -> bool {
        self.next.is_some_and(|next| next <= now)
    }

    /// After a look: the next one at this moment of the boot clock.
    pub fn set(&mut self, now: Monotonic, boot_us: Option<u64>) {
        self.next =
            boot_us.map(|at| now.after(Duration::from_micros(at.saturating_sub(clock::boot_us()))));
    }
}
