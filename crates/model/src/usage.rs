//! What has been spent against a limit. Windows are rings of buckets that forget only what is wholly out, so a count is
//! never less than the true one.

use crate::number::Value;

/// The four windows of turnover: bucket width in microseconds and number of buckets.
pub const WINDOWS: [(u64, usize); 4] = [
    (60_000_000, 60),
    (900_000_000, 96),
    (3_600_000_000, 168),
    (21_600_000_000, 120),
];
/// Their names in mandates and refusals.
pub const WINDOW_NAMES: [&str; 4] = ["turnover_1h", "turnover_1d", "turnover_7d", "turnover_30d"];

/// A sum over the last window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ring {
    width_us: u64,
    newest: u64,
    sum: i128,
    /// One more than the window has, since the newest is only partly in.
    buckets: Vec<i128>,
}

impl Ring {
    #[must_use]
    pub fn new(width_us: u64, buckets: usize) -> Self {
        Self {
            width_us: width_us.max(1),
            newest: 0,
            sum: 0,
            buckets: vec![0; buckets + 1],
        }
    }

    /// The sum at `now`, without changing anything.
    #[must_use]
    pub fn sum(&self, now_us: u64) -> Value {
        let bucket = now_us / self.width_us;
        let steps = bucket.saturating_sub(self.newest);
        if steps == 0 {
            return Value(self.sum);
        }
        let count = self.buckets.len() as u64;
        let gone: i128 = (1..=steps.min(count))
            .filter_map(|step| self.buckets.get(((self.newest + step) % count) as usize))
            .sum();
        Value(self.sum - gone)
    }

    /// Number of the newest bucket, and all buckets.
    pub(crate) fn parts(&self) -> (u64, &[i128]) {
        (self.newest, &self.buckets)
    }

    /// Makes an empty ring what [`Ring::parts`] said. `None`: a bucket that it does not have.
    pub(crate) fn restore(&mut self, newest: u64, filled: &[(u64, i128)]) -> Option<()> {
        self.newest = newest;
        for (at, value) in filled {
            *self.buckets.get_mut(usize::try_from(*at).ok()?)? = *value;
            self.sum = self.sum.saturating_add(*value);
        }
        Some(())
    }

    pub fn add(&mut self, now_us: u64, value: Value) {
        let bucket = (now_us / self.width_us).max(self.newest);
        let count = self.buckets.len() as u64;
        for step in 1..=(bucket - self.newest).min(count) {
            if let Some(slot) = self
                .buckets
                .get_mut(((self.newest + step) % count) as usize)
            {
                self.sum -= *slot;
                *slot = 0;
            }
        }
        self.newest = bucket;
        if let Some(slot) = self.buckets.get_mut((bucket % count) as usize) {
            *slot = slot.saturating_add(value.0);
            self.sum = self.sum.saturating_add(value.0);
        }
    }
}

/// The generic cell rate algorithm: what the theoretical arrival time becomes if one more passes, or `None` if it must
/// not. A burst of `count` passes at once; then one each `per_us / count`. So fewer than twice `count` pass in any time of
/// `per_us`, and no more than `count` in one that follows on a time as busy.
#[must_use]
pub fn rate_passes(tat_us: u64, now_us: u64, count: u64, per_us: u64) -> Option<u64> {
    let step = (per_us / count.max(1)).max(1);
    let next = tat_us.max(now_us).checked_add(step)?;
    (next - now_us <= per_us.max(step)).then_some(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_forgets_only_what_is_wholly_out() {
        let mut ring = Ring::new(10, 6);
        for now in 0..300u64 {
            ring.add(now, Value(1));
            let true_count = i128::from(now.min(59)) + 1;
            assert!(
                ring.sum(now).0 >= true_count && ring.sum(now).0 <= true_count + 11,
                "{now}"
            );
        }
        assert!(ring.sum(299 + 59).0 > 0);
        assert_eq!(ring.sum(400).0, 0);
        assert_eq!(ring.sum(u64::MAX).0, 0);
    }

    #[test]
    fn a_rate_lets_its_burst_pass_and_then_its_pace() {
        let (mut tat, mut passed) = (0, 0);
        for _ in 0..20 {
            if let Some(next) = rate_passes(tat, 1_000_000, 5, 1_000_000) {
                tat = next;
                passed += 1;
            }
        }
        assert_eq!(passed, 5);
        assert!(rate_passes(tat, 1_199_999, 5, 1_000_000).is_none());
        assert!(rate_passes(tat, 1_200_000, 5, 1_000_000).is_some());
    }

    #[test]
    fn who_asks_all_the_time_passes_less_than_twice_at_first_and_then_the_count() {
        let (mut tat, mut passed) = (0, [0; 5]);
        for now in 0..5_000u64 {
            for _ in 0..3 {
                if let Some(next) = rate_passes(tat, 1_000_000 + now * 1_000, 20, 1_000_000) {
                    tat = next;
                    passed[(now / 1_000) as usize] += 1;
                }
            }
        }
        assert!(passed[0] > 20 && passed[0] < 40, "{passed:?}");
        assert_eq!(passed[1..], [20; 4]);
    }
}
