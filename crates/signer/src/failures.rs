//! What failed before it was verified, and refusals above their rate: counted, and written as one entry a key and
//! minute, so that nobody fills the disk from outside. What no key of ours made is one count for all.

use portcullis_model::Map;
use portcullis_model::entry::Count;
use portcullis_model::id::{Timestamp, VirtualKeyId};
use portcullis_model::usage::rate_passes;
use std::collections::BTreeMap;

/// Refusals of one virtual key that become entries of their own: so many each second. Beyond it they are counted.
pub const REFUSAL_ENTRIES_PER_SECOND: u64 = 20;
/// And above the key's own message rate: the first of each second, so that a burst can be found and cannot fill the disk.
pub const FLOOD_ENTRIES_PER_SECOND: u64 = 1;
/// Failures of one key in one minute that raise an alert.
pub const STORM: u64 = 1_000;

/// Counts of the minute at hand.
#[derive(Debug, Default)]
pub struct Failures {
    minute: u64,
    /// Bounded by the site's keys, and by the codes, which are words of the program.
    counts: BTreeMap<Option<VirtualKeyId>, BTreeMap<&'static str, u64>>,
    rates: Map<VirtualKeyId, u64>,
    floods: Map<VirtualKeyId, u64>,
    pub total: u64,
}

impl Failures {
    pub fn count(&mut self, key: Option<VirtualKeyId>, code: &'static str) {
        *self.counts.entry(key).or_default().entry(code).or_default() += 1;
        self.total += 1;
    }

    /// Nothing is to be written at the minute's end.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// Whether a refusal of this key may be an entry of its own now.
    pub fn is_recorded(&mut self, key: VirtualKeyId, now: Timestamp) -> bool {
        let tat = self.rates.entry(key).or_default();
        passes(tat, now, REFUSAL_ENTRIES_PER_SECOND)
    }

    /// The same for a refusal above the key's message rate.
    pub fn is_flood_recorded(&mut self, key: VirtualKeyId, now: Timestamp) -> bool {
        let tat = self.floods.entry(key).or_default();
        passes(tat, now, FLOOD_ENTRIES_PER_SECOND)
    }

    /// At the end of a minute: what each key failed with.
    pub fn minute(&mut self, now: Timestamp) -> Vec<(Option<VirtualKeyId>, Vec<Count>)> {
        let minute = now.0 / 60_000_000;
        if minute == self.minute {
            return Vec::new();
        }
        self.minute = minute;
        self.rates.retain(|_, tat| *tat > now.0);
        self.floods.retain(|_, tat| *tat > now.0);
        std::mem::take(&mut self.counts)
            .into_iter()
            .map(|(key, counts)| {
                let counts = counts.into_iter().map(|(code, count)| Count {
                    of: code.to_owned(),
                    count,
                });
                (key, counts.collect())
            })
            .collect()
    }
}

fn passes(tat: &mut u64, now: Timestamp, per_second: u64) -> bool {
    match rate_passes(*tat, now.0, per_second, 1_000_000) {
        Some(next) => {
            *tat = next;
            true
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_summary_a_key_and_minute() {
        let mut failures = Failures::default();
        let minute = |n: u64| Timestamp(n * 60_000_000);
        failures.minute(minute(7));
        for _ in 0..5 {
            failures.count(None, "unknown-key");
            failures.count(Some(VirtualKeyId(1)), "signature-wrong");
        }
        assert!(failures.minute(minute(7).plus_us(59_000_000)).is_empty());
        let written = failures.minute(minute(8));
        assert_eq!(written.len(), 2);
        assert!(written.iter().all(|(_, counts)| counts[0].count == 5));
        assert!(failures.minute(minute(9)).is_empty());
    }

    #[test]
    fn refusals_become_entries_up_to_a_rate() {
        let mut failures = Failures::default();
        let now = Timestamp(1_000_000_000);
        let key = VirtualKeyId(1);
        let recorded = (0..1_000)
            .filter(|_| failures.is_recorded(key, now))
            .count();
        assert_eq!(recorded as u64, REFUSAL_ENTRIES_PER_SECOND);
        assert!(
            failures.is_recorded(VirtualKeyId(2), now),
            "another key has its own"
        );
        assert!(failures.is_recorded(key, now.plus_us(1_000_000)));
    }
}
