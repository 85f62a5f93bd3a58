//! Tables keyed by numbers that the gate counts up itself. Nobody outside picks such a key, so a multiplication is hash
//! enough; whatever a stranger can choose stays in std's keyed tables.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

pub(crate) type Table<V, K = u64> = HashMap<K, V, BuildHasherDefault<Counted>>;

#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Counted(u64);

impl Hasher for Counted {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, n: u64) {
        // 2^64 over the golden ratio: neighbours spread over the whole table, in its high bits and in its low ones.
        self.0 = (self.0.rotate_left(32) ^ n).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}
