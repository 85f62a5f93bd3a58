//! Requests in rolling windows.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// When each of a few things happened last.
#[derive(Debug)]
pub struct Rates<K> {
    seen: HashMap<K, VecDeque<u64>>,
}

impl<K> Default for Rates<K> {
    fn default() -> Self {
        Self {
            seen: HashMap::new(),
        }
    }
}

impl<K: Eq + Hash> Rates<K> {
    /// One more at `now`, in milliseconds: how many are left in the window.
    ///
    /// # Errors
    /// None is; the time from which there is one.
    pub fn take(&mut self, key: K, limit: usize, window_ms: u64, now: u64) -> Result<usize, u64> {
        let seen = self.seen.entry(key).or_default();
        while seen.front().is_some_and(|at| at + window_ms <= now) {
            seen.pop_front();
        }
        if seen.len() >= limit {
            return Err(seen.front().map_or(now, |at| at + window_ms));
        }
        seen.push_back(now);
        Ok(limit - seen.len())
    }

    /// Nothing happened.
    pub fn clear(&mut self) {
        self.seen.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_rolls() {
        let mut rates = Rates::default();
        assert_eq!(rates.take("a", 2, 1000, 0), Ok(1));
        assert_eq!(rates.take("a", 2, 1000, 900), Ok(0));
        assert_eq!(rates.take("a", 2, 1000, 999), Err(1000));
        assert_eq!(rates.take("b", 2, 1000, 999), Ok(1));
        assert_eq!(rates.take("a", 2, 1000, 1000), Ok(0));
        assert_eq!(rates.take("a", 2, 1000, 1001), Err(1900));
    }
}
