//! What changes something is accepted once. The mark of a statement is the hash of virtual key, method, path and verified
//! message; a repeat is told what became of the first.
//!
//! Kept in memory: after a start nothing stamped before the start is accepted. What had been accepted just before it and was
//! stamped ahead of its time could come again; those marks stand in the log ([`portcullis_model::state::State::seen`]),
//! and are kept here from the start on.

use aws_lc_rs::digest;
use portcullis_model::id::{EntryId, Timestamp, VirtualKeyId};
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, Hasher};

/// Statements remembered at most: five minutes of a thousand orders a second. When it is full, what changes something is
/// refused as not available until the oldest has expired; nothing is forgotten early.
pub const STATEMENTS_MAX: usize = 300_000;

const SECOND_US: u64 = 1_000_000;

/// The hash of one statement, its first half.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mark(pub [u8; 16]);

/// What a statement's mark is made of.
#[must_use]
pub fn mark(key: VirtualKeyId, method: &str, path: &str, message: &[u8]) -> Mark {
    let parts = [method.as_bytes(), path.as_bytes(), message];
    let mut text = Vec::with_capacity(parts.iter().map(|part| part.len() + 8).sum::<usize>() + 8);
    text.extend_from_slice(&key.0.to_be_bytes());
    // Lengths keep `a` + `bc` apart from `ab` + `c`.
    for part in parts {
        text.extend_from_slice(&(part.len() as u64).to_be_bytes());
        text.extend_from_slice(part);
    }
    let mut mark = [0; 16];
    let hash = digest::digest(&digest::SHA256, &text);
    for (to, from) in mark.iter_mut().zip(hash.as_ref()) {
        *to = *from;
    }
    Mark(mark)
}

/// What became of the first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum First {
    /// It was signed, and its answer went to whoever sent it: the repeat is told to ask for the order.
    Approved(EntryId),
    /// It was refused, in these words.
    Refused {
        status: u16,
        body: Vec<u8>,
        code: &'static str,
    },
}

/// What to do with a statement.
#[derive(Debug, PartialEq, Eq)]
pub enum Seen<'a> {
    New,
    Repeated(&'a First),
    /// No room to remember it.
    Full,
}

/// The statements seen.
#[derive(Debug)]
pub struct Replay {
    seen: HashMap<Mark, (Timestamp, First), MarkHash>,
    /// By the second in which their windows end: a statement is forgotten with its second, never before its own moment.
    by_second: BTreeMap<u64, Vec<Mark>>,
    max: usize,
}

/// A mark is a hash already: its first bytes serve.
#[derive(Debug, Clone, Copy, Default)]
struct MarkHash;

#[derive(Debug, Clone, Copy, Default)]
struct FirstBytes(u64);

impl BuildHasher for MarkHash {
    type Hasher = FirstBytes;

    fn build_hasher(&self) -> FirstBytes {
        FirstBytes(0)
    }
}

impl Hasher for FirstBytes {
    fn write(&mut self, bytes: &[u8]) {
        if let Some((first, _)) = bytes.split_first_chunk::<8>() {
            self.0 = u64::from_ne_bytes(*first);
        }
    }

    // The array's length comes before its bytes, and is the same for all.
    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

impl Default for Replay {
    fn default() -> Self {
        Self::new(STATEMENTS_MAX)
    }
}

impl Replay {
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self {
            seen: HashMap::default(),
            by_second: BTreeMap::new(),
            max,
        }
    }

    /// Whether this statement came before. `now` is the venue's time, as in the statements.
    pub fn look(&mut self, mark: &Mark, now: Timestamp) -> Seen<'_> {
        while let Some(second) = self.by_second.first_entry() {
            // The last moment of that second must have passed.
            if (second.key() + 1) * SECOND_US > now.0 {
                break;
            }
            let (second, marks) = second.remove_entry();
            for mark in marks {
                // One that was kept again meanwhile stands under a later second too.
                let is_over = |(until, _): &(Timestamp, First)| until.0 / SECOND_US <= second;
                if self.seen.get(&mark).is_some_and(is_over) {
                    self.seen.remove(&mark);
                }
            }
        }
        let full = self.seen.len() >= self.max;
        match self.seen.get(mark) {
            // One whose window has passed counts no more: its time alone refuses it.
            Some((until, first)) if *until >= now => Seen::Repeated(first),
            None if full => Seen::Full,
            Some(_) | None => Seen::New,
        }
    }

    /// Remembers what became of it until its own window has passed, when its time alone refuses it.
    pub fn keep(&mut self, mark: Mark, first: First, until: Timestamp) {
        self.seen.insert(mark, (until, first));
        let second = self.by_second.entry(until.0 / SECOND_US);
        second.or_default().push(mark);
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.seen.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: VirtualKeyId = VirtualKeyId(1);

    #[test]
    fn a_statement_passes_once() {
        let mut replay = Replay::default();
        let a = mark(KEY, "POST", "/order", b"x=1");
        assert_eq!(replay.look(&a, Timestamp(1)), Seen::New);
        replay.keep(a, First::Approved(EntryId(7)), Timestamp(100));
        for now in [1, 50, 100] {
            assert_eq!(
                replay.look(&a, Timestamp(now)),
                Seen::Repeated(&First::Approved(EntryId(7)))
            );
        }
        assert_eq!(replay.look(&a, Timestamp(101)), Seen::New);
        replay.look(&a, Timestamp(1_000_000));
        assert!(replay.is_empty() && replay.by_second.is_empty());
    }

    #[test]
    fn every_part_makes_another_statement() {
        let base = mark(KEY, "POST", "/a", b"bc");
        for other in [
            mark(VirtualKeyId(2), "POST", "/a", b"bc"),
            mark(KEY, "DELETE", "/a", b"bc"),
            mark(KEY, "POST", "/ab", b"c"),
            mark(KEY, "POST", "/", b"abc"),
            mark(KEY, "POST", "/a", b"bd"),
        ] {
            assert_ne!(base, other);
        }
    }

    #[test]
    fn a_full_memory_forgets_nothing() {
        let mut replay = Replay::new(2);
        let marks: Vec<Mark> = (0..3u8).map(|n| mark(KEY, "POST", "/", &[n])).collect();
        for mark in &marks[..2] {
            replay.keep(*mark, First::Approved(EntryId(1)), Timestamp(10));
        }
        assert_eq!(replay.look(&marks[2], Timestamp(5)), Seen::Full);
        assert!(matches!(
            replay.look(&marks[0], Timestamp(5)),
            Seen::Repeated(_)
        ));
        // What is remembered goes by whole seconds.
        assert_eq!(replay.look(&marks[2], Timestamp(999_999)), Seen::Full);
        assert_eq!(replay.look(&marks[2], Timestamp(1_000_000)), Seen::New);
    }
}
