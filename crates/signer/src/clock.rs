//! What time it is. The wall clock is believed only as far as the boot clock bears it out; readings are values that the
//! caller passes in, so that a test steps the clock as it likes.
//!
//! `now` is never before the last entry. A jump forward of more than [`JUMP_US_MAX`] against the boot clock refuses
//! everything until an operator confirms the time: limits of the past hour or day must not be forgotten by a wrong clock.

use portcullis_model::id::Timestamp;
use std::collections::BTreeMap;

/// Forward jump against the boot clock that is taken without asking.
pub const JUMP_US_MAX: u64 = 5_000_000;
/// How much of the time that passes the two clocks may drift apart without it counting as a jump: one part in this.
/// Ten times what a bad crystal does.
pub const DRIFT_PARTS: u64 = 1_000;
/// A venue's clock is followed this far; a larger measured offset is cut to it, and `status` says so.
pub const OFFSET_US_MAX: i64 = 500_000;
/// The venue takes no request that is stamped further ahead of its own clock.
pub const VENUE_AHEAD_US_MAX: u64 = 1_000_000;
/// A measurement whose answer took longer says too little to be used.
pub const MEASURED_IN_US_MAX: u64 = 1_000_000;

/// One look at both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Microseconds since 1970.
    pub wall_us: u64,
    /// Microseconds since the host started; goes on while it sleeps.
    pub boot_us: u64,
}

/// The signer's idea of time.
#[derive(Debug, Clone)]
pub struct Clock {
    now: Timestamp,
    /// Where the wall clock should be, and when that was so.
    expected: Reading,
    boot_us: u64,
    jumped_us: Option<u64>,
    /// By venue.
    offsets: BTreeMap<String, Offset>,
}

/// How far a venue's clock is off ours.
#[derive(Debug, Clone, Copy, Default)]
struct Offset {
    followed_us: i64,
    measured_us: i64,
}

impl Clock {
    /// Starts after `last`, the time of the last entry. A jump that waited for an operator still does, and the time stays
    /// where it was.
    #[must_use]
    pub fn new(reading: Reading, last: Timestamp, jumped_us: Option<u64>) -> Self {
        if jumped_us.is_some() {
            return Self {
                now: last,
                expected: Reading {
                    wall_us: last.0,
                    boot_us: reading.boot_us,
                },
                boot_us: reading.boot_us,
                jumped_us,
                offsets: BTreeMap::new(),
            };
        }
        Self {
            now: last.max(Timestamp(reading.wall_us)),
            expected: reading,
            boot_us: reading.boot_us,
            jumped_us: None,
            offsets: BTreeMap::new(),
        }
    }

    /// Takes a new reading. Gives back the size of a jump when one is first seen.
    pub fn tick(&mut self, reading: Reading) -> Option<u64> {
        let passed = reading.boot_us.saturating_sub(self.expected.boot_us);
        self.boot_us = self.boot_us.max(reading.boot_us);
        let expected = self.expected.wall_us.saturating_add(passed);
        let ahead = reading.wall_us.saturating_sub(expected);
        if self.jumped_us.is_some() {
            return None;
        }
        if ahead > JUMP_US_MAX {
            self.jumped_us = Some(ahead);
            // The time stays where it would be without the jump: entries still need one.
            self.now = self.now.max(Timestamp(expected));
            return Some(ahead);
        }
        // The expectation follows the wall clock, at most as fast as clocks drift; a step back is followed at once, since
        // `now` stays anyway.
        let slack = passed / DRIFT_PARTS;
        self.expected = Reading {
            wall_us: if reading.wall_us >= expected {
                expected.saturating_add(ahead.min(slack))
            } else {
                reading.wall_us
            },
            boot_us: reading.boot_us.max(self.expected.boot_us),
        };
        self.now = self.now.max(Timestamp(reading.wall_us));
        None
    }

    /// Never before the last entry.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.now
    }

    #[must_use]
    pub fn boot_us(&self) -> u64 {
        self.boot_us
    }

    /// The jump that waits for an operator.
    #[must_use]
    pub fn jumped_us(&self) -> Option<u64> {
        self.jumped_us
    }

    /// An operator says that the present time is right.
    pub fn confirm(&mut self, reading: Reading) {
        self.jumped_us = None;
        self.expected = reading;
        self.now = self.now.max(Timestamp(reading.wall_us));
    }

    /// What a venue's clock said in an answer that has just come and took `took_us` in all.
    pub fn measured(&mut self, venue: &str, venue_ms: u64, took_us: u64) {
        if took_us > MEASURED_IN_US_MAX {
            return;
        }
        let middle = self.now.0.saturating_sub(took_us / 2);
        let at = i64::try_from(venue_ms.saturating_mul(1000)).unwrap_or(i64::MAX);
        let offset = at.saturating_sub(i64::try_from(middle).unwrap_or(i64::MAX));
        let offset = Offset {
            followed_us: offset.clamp(-OFFSET_US_MAX, OFFSET_US_MAX),
            measured_us: offset,
        };
        self.offsets.insert(venue.to_owned(), offset);
    }

    fn offset(&self, venue: &str) -> Offset {
        self.offsets.get(venue).copied().unwrap_or_default()
    }

    /// A venue's time, as far as it is followed.
    #[must_use]
    pub fn venue_now(&self, venue: &str) -> Timestamp {
        Timestamp(
            self.now
                .0
                .saturating_add_signed(self.offset(venue).followed_us),
        )
    }

    /// How far a venue's clock is behind the time that requests are stamped with, as far as it accepts such: so much
    /// later than its window says may one of them take effect.
    #[must_use]
    pub fn venue_behind_us(&self, venue: &str) -> u64 {
        let offset = self.offset(venue);
        let behind = offset.followed_us.saturating_sub(offset.measured_us);
        u64::try_from(behind).unwrap_or(0).min(VENUE_AHEAD_US_MAX)
    }

    /// Back from a venue's time to ours.
    #[must_use]
    pub fn from_venue(&self, venue: &str, at: Timestamp) -> Timestamp {
        let followed_us = self.offset(venue).followed_us;
        Timestamp(at.0.saturating_add_signed(followed_us.saturating_neg()))
    }

    /// The offset as measured; more than [`OFFSET_US_MAX`] is not followed.
    #[must_use]
    pub fn measured_offset_us(&self, venue: &str) -> Option<i64> {
        self.offsets.get(venue).map(|offset| offset.measured_us)
    }

    /// The venue whose clock is furthest off ours.
    #[must_use]
    pub fn furthest(&self) -> Option<(&str, i64)> {
        self.offsets
            .iter()
            .map(|(venue, offset)| (venue.as_str(), offset.measured_us))
            .max_by_key(|(_, measured_us)| measured_us.unsigned_abs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VENUE: &str = "binance";
    const START: Reading = Reading {
        wall_us: 1_790_000_000_000_000,
        boot_us: 50_000_000,
    };

    fn after(us: u64, step: i64) -> Reading {
        Reading {
            wall_us: (START.wall_us + us).saturating_add_signed(step),
            boot_us: START.boot_us + us,
        }
    }

    #[test]
    fn time_never_goes_back() {
        let mut clock = Clock::new(START, Timestamp(0), None);
        clock.tick(after(1_000_000, 0));
        let before = clock.now();
        assert_eq!(clock.tick(after(2_000_000, -3_600_000_000)), None);
        assert_eq!(clock.now(), before);
        // Back again is a jump forward of an hour: somebody has to look.
        assert!(clock.tick(after(3_000_000, 0)).is_some());
    }

    #[test]
    fn the_last_entry_is_the_earliest_time() {
        let last = Timestamp(START.wall_us + 9_000_000);
        let clock = Clock::new(START, last, None);
        assert_eq!(clock.now(), last);
    }

    #[test]
    fn a_jump_forward_waits_for_an_operator() {
        let mut clock = Clock::new(START, Timestamp(0), None);
        assert_eq!(clock.tick(after(1_000_000, 4_999_000)), None);
        let mut clock = Clock::new(START, Timestamp(0), None);
        let jump = clock.tick(after(1_000_000, 5_000_001));
        assert_eq!(jump, Some(5_000_001));
        assert_eq!(clock.now(), Timestamp(START.wall_us + 1_000_000));
        assert_eq!(clock.tick(after(2_000_000, 5_000_001)), None);
        assert_eq!(clock.jumped_us(), jump);
        clock.confirm(after(3_000_000, 5_000_001));
        assert_eq!(clock.jumped_us(), None);
        assert_eq!(clock.now(), Timestamp(after(3_000_000, 5_000_001).wall_us));
        assert_eq!(clock.tick(after(4_000_000, 5_000_001)), None);
    }

    #[test]
    fn a_restart_confirms_nothing() {
        let last = Timestamp(START.wall_us);
        let mut clock = Clock::new(after(0, 3_600_000_000), last, Some(3_600_000_000));
        assert_eq!(
            (clock.now(), clock.jumped_us()),
            (last, Some(3_600_000_000))
        );
        clock.tick(after(1_000_000, 3_600_000_000));
        assert_eq!(clock.now(), last);
        clock.confirm(after(2_000_000, 0));
        assert_eq!(clock.now(), Timestamp(START.wall_us + 2_000_000));
    }

    #[test]
    fn many_small_steps_are_a_jump_too() {
        let mut clock = Clock::new(START, Timestamp(0), None);
        let jumped = (1..100).find_map(|n| clock.tick(after(n * 10_000, n as i64 * 200_000)));
        assert!(jumped.is_some());
    }

    #[test]
    fn slow_drift_passes() {
        let mut clock = Clock::new(START, Timestamp(0), None);
        for n in 1..100_000u64 {
            // 500 parts in a million for more than a day.
            let us = n * 1_000_000;
            assert_eq!(clock.tick(after(us, (us / 2_000) as i64)), None);
        }
    }

    #[test]
    fn a_venue_that_is_further_behind_takes_requests_for_longer() {
        let mut clock = Clock::new(START, Timestamp(0), None);
        assert_eq!(clock.venue_behind_us(VENUE), 0, "not measured");
        for (off_ms, behind_us) in [
            (0, 0),
            (-400, 0),
            (-1_400, 900_000),
            (-90_000, 1_000_000),
            (90_000, 0),
            (i64::MIN / 2_000, 1_000_000),
        ] {
            clock.measured(
                VENUE,
                (START.wall_us / 1000).saturating_add_signed(off_ms),
                0,
            );
            assert_eq!(clock.venue_behind_us(VENUE), behind_us, "{off_ms} ms");
        }
    }

    #[test]
    fn the_venue_is_followed_so_far_and_no_further() {
        let mut clock = Clock::new(START, Timestamp(0), None);
        let venue = |off: i64| (START.wall_us / 1000).saturating_add_signed(off);
        clock.measured(VENUE, venue(200), 0);
        assert_eq!(clock.venue_now(VENUE), Timestamp(START.wall_us + 200_000));
        assert_eq!(clock.from_venue(VENUE, clock.venue_now(VENUE)), clock.now());
        clock.measured(VENUE, venue(-9_000), 0);
        assert_eq!(clock.venue_now(VENUE), Timestamp(START.wall_us - 500_000));
        assert_eq!(clock.measured_offset_us(VENUE), Some(-9_000_000));
        clock.measured(VENUE, venue(0), 2_000_000);
        assert_eq!(
            clock.measured_offset_us(VENUE),
            Some(-9_000_000),
            "slow answers say nothing"
        );
    }
}
