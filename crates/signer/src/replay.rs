//! What changes something is accepted once. A statement is its virtual key, method, path and the message that its
//! signature covers; it is remembered until it would be too old to be accepted anyway.

use aws_lc_rs::digest::{Context, SHA256};
use portcullis_model::id::{Timestamp, VirtualKeyId};
use std::collections::{HashSet, VecDeque};

/// Statements remembered at most; beyond it what changes something is refused until some have expired.
pub const STATEMENTS_MAX: usize = 1_000_000;

/// Statements seen.
#[derive(Debug, Default)]
pub struct Replay {
    seen: HashSet<[u8; 32]>,
    /// In the order in which they came; each with the time after which it cannot be accepted again.
    order: VecDeque<(Timestamp, [u8; 32])>,
}

/// Whether a statement is new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    New,
    Before,
    /// No room to remember it.
    Full,
}

impl Replay {
    /// Remembers a statement until `until`.
    pub fn note(
        &mut self,
        key: VirtualKeyId,
        method: &str,
        path: &str,
        message: &[u8],
        until: Timestamp,
        now: Timestamp,
    ) -> Seen {
        while let Some((_, old)) = self
            .order
            .front()
            .filter(|(until, _)| *until < now)
            .copied()
        {
            self.seen.remove(&old);
            self.order.pop_front();
        }
        let mut context = Context::new(&SHA256);
        for part in [
            &key.0.to_be_bytes(),
            method.as_bytes(),
            path.as_bytes(),
            message,
        ] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut mark = [0; 32];
        mark.copy_from_slice(context.finish().as_ref());
        if self.seen.contains(&mark) {
            return Seen::Before;
        }
        if self.seen.len() >= STATEMENTS_MAX {
            return Seen::Full;
        }
        self.seen.insert(mark);
        self.order.push_back((until, mark));
        Seen::New
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_new_once_and_each_part_of_it_counts() {
        let mut replay = Replay::default();
        let (now, until) = (Timestamp(10), Timestamp(20));
        let mut note = |key, method, path, message: &[u8], now| {
            replay.note(VirtualKeyId(key), method, path, message, until, now)
        };
        assert_eq!(note(1, "POST", "/o", b"a", now), Seen::New);
        assert_eq!(note(1, "POST", "/o", b"a", now), Seen::Before);
        for (key, method, path, message) in [
            (2, "POST", "/o", b"a"),
            (1, "DELETE", "/o", b"a"),
            (1, "POST", "/p", b"a"),
            (1, "POST", "/o", b"b"),
        ] {
            assert_eq!(note(key, method, path, message, now), Seen::New);
        }
        assert_eq!(
            note(1, "POST", "/o", b"a", Timestamp(21)),
            Seen::New,
            "it could not be accepted by its time"
        );
    }
}
