//! What changes something is accepted once. The mark of a statement is the hash of virtual key, method, path and verified
//! message; a repeat is told what became of the first.
//!
//! Kept in memory: after a start nothing stamped before the start is accepted. What had been accepted just before it and was
//! stamped ahead of its time could come again; those marks stand in the log ([`portcullis_model::state::State::seen`]),
//! and are kept here from the start on.

use aws_lc_rs::digest;
use portcullis_model::id::{EntryId, Timestamp, VirtualKeyId};
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, Hasher};

/// Statements remembered at most: five minutes of a thousand orders a second. When it is full, what changes something is
/// refused as not available until the oldest has expired; nothing is forgotten early.
pub const STATEMENTS_MAX: usize = 300_000;
/// Of one virtual key at most: what comes at 25,000 orders a second within the venue's usual window, and more. So a program
/// that floods fills its own part, refused statements too, and nobody else's.
pub const OF_KEY_MAX: usize = 250_000;
/// And so many of each, even where all others together have filled the memory.
pub const OF_KEY_ALWAYS: usize = 1_000;

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
    seen: HashMap<Mark, (Timestamp, VirtualKeyId, First), MarkHash>,
    /// How many of each virtual key.
    of_key: HashMap<VirtualKeyId, usize>,
    /// By the second in which their windows end: a statement is forgotten with its second, never before its own moment.
    by_second: BTreeMap<u64, Vec<Mark>>,
    max: usize,
    of_key_max: usize,
    always: usize,
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
        Self::new(STATEMENTS_MAX, OF_KEY_MAX, OF_KEY_ALWAYS)
    }
}

impl Replay {
    #[must_use]
    pub fn new(max: usize, of_key_max: usize, always: usize) -> Self {
        Self {
            seen: HashMap::default(),
            of_key: HashMap::new(),
            by_second: BTreeMap::new(),
            max,
            of_key_max,
            always,
        }
    }

    /// Whether this statement of `key` came before. `now` is the venue's time, as in the statements.
    pub fn look(&mut self, key: VirtualKeyId, mark: &Mark, now: Timestamp) -> Seen<'_> {
        while let Some(second) = self.by_second.first_entry() {
            // The last moment of that second must have passed.
            if (second.key() + 1) * SECOND_US > now.0 {
                break;
            }
            let (second, marks) = second.remove_entry();
            for mark in marks {
                // One that was kept again meanwhile stands under a later second too.
                let Entry::Occupied(seen) = self.seen.entry(mark) else {
                    continue;
                };
                if seen.get().0.0 / SECOND_US <= second {
                    let (_, key, _) = seen.remove();
                    self.forget(key);
                }
            }
        }
        let own = self.of_key.get(&key).copied().unwrap_or(0);
        let full = own >= self.of_key_max || (self.seen.len() >= self.max && own >= self.always);
        match self.seen.get(mark) {
            // One whose window has passed counts no more: its time alone refuses it.
            Some((until, _, first)) if *until >= now => Seen::Repeated(first),
            None if full => Seen::Full,
            Some(_) | None => Seen::New,
        }
    }

    /// Remembers what became of it until its own window has passed, when its time alone refuses it.
    pub fn keep(&mut self, key: VirtualKeyId, mark: Mark, first: First, until: Timestamp) {
        *self.of_key.entry(key).or_default() += 1;
        if let Some((_, key, _)) = self.seen.insert(mark, (until, key, first)) {
            self.forget(key);
        }
        let second = self.by_second.entry(until.0 / SECOND_US);
        second.or_default().push(mark);
    }

    fn forget(&mut self, key: VirtualKeyId) {
        if let Entry::Occupied(mut own) = self.of_key.entry(key) {
            *own.get_mut() = own.get().saturating_sub(1);
            if *own.get() == 0 {
                own.remove();
            }
        }
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
        assert_eq!(replay.look(KEY, &a, Timestamp(1)), Seen::New);
        replay.keep(KEY, a, First::Approved(EntryId(7)), Timestamp(100));
        for now in [1, 50, 100] {
            assert_eq!(
                replay.look(KEY, &a, Timestamp(now)),
                Seen::Repeated(&First::Approved(EntryId(7)))
            );
        }
        assert_eq!(replay.look(KEY, &a, Timestamp(101)), Seen::New);
        replay.look(KEY, &a, Timestamp(1_000_000));
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
        let mut replay = Replay::new(2, 2, 1);
        let marks: Vec<Mark> = (0..3u8).map(|n| mark(KEY, "POST", "/", &[n])).collect();
        for mark in &marks[..2] {
            replay.keep(KEY, *mark, First::Approved(EntryId(1)), Timestamp(10));
        }
        assert_eq!(replay.look(KEY, &marks[2], Timestamp(5)), Seen::Full);
        assert!(matches!(
            replay.look(KEY, &marks[0], Timestamp(5)),
            Seen::Repeated(_)
        ));
        // What is remembered goes by whole seconds.
        assert_eq!(replay.look(KEY, &marks[2], Timestamp(999_999)), Seen::Full);
        assert_eq!(replay.look(KEY, &marks[2], Timestamp(1_000_000)), Seen::New);
    }

    #[test]
    fn who_floods_fills_its_own_part_and_nobody_elses() {
        let mut replay = Replay::new(6, 4, 1);
        let (now, until) = (Timestamp(5), Timestamp(10));
        let mut send = |key: u64, n: u8| {
            let key = VirtualKeyId(key);
            let mark = mark(key, "POST", "/", &[n]);
            let is_new = replay.look(key, &mark, now) == Seen::New;
            if is_new {
                replay.keep(key, mark, First::Approved(EntryId(1)), until);
            }
            is_new
        };
        assert_eq!((0..100).filter(|n| send(1, *n)).count(), 4);
        // What is left serves the others, and each of them something, whatever all have filled.
        assert_eq!((0..100).filter(|n| send(2, *n)).count(), 2);
        assert_eq!((0..100).filter(|n| send(3, *n)).count(), 1);
        assert_eq!((0..100).filter(|n| send(4, *n)).count(), 1);
        replay.look(KEY, &mark(KEY, "POST", "/", b""), Timestamp(2_000_000));
        assert!(replay.is_empty() && replay.of_key.is_empty());
    }
}
