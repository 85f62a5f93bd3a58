//! How entries lie in a file: `u32 length | u32 CRC-32C | u64 index | entry`, numbers big-endian; the length counts the
//! entry, the checksum covers index and entry. A segment holds [`SEGMENT_ENTRIES`] entries, one level-1 tile.

use super::{ENTRY_BYTES_MAX, Entry, Hash};
use crate::id::EntryId;
use std::collections::HashMap;
use std::fmt;

/// Entries of one segment.
pub const SEGMENT_ENTRIES: u64 = 65_536;
/// Bytes before an entry.
pub const FRAME_HEAD_BYTES: usize = 16;

/// The file that holds an entry.
#[must_use]
pub fn segment_name(index: EntryId) -> String {
    format!("{:020}.seg", index.0 / SEGMENT_ENTRIES * SEGMENT_ENTRIES)
}

/// Appends a frame to `out`.
pub fn write_frame(out: &mut Vec<u8>, index: EntryId, entry: &[u8]) {
    let length = u32::try_from(entry.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&checksum(index, entry).to_be_bytes());
    out.extend_from_slice(&index.0.to_be_bytes());
    out.extend_from_slice(entry);
}

fn checksum(index: EntryId, entry: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&index.0.to_be_bytes()), entry)
}

/// What stands at a place in a segment.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame<'b> {
    Entry {
        bytes: &'b [u8],
        length: usize,
    },
    End,
    /// No whole, right frame of this index.
    Bad,
}

/// Reads the frame at the start of `bytes`, which must be of entry `index`.
#[must_use]
pub fn read_frame(bytes: &[u8], index: EntryId) -> Frame<'_> {
    if bytes.is_empty() {
        return Frame::End;
    }
    let number = |at: usize| -> Option<u32> {
        Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
    };
    let whole = || -> Option<Frame<'_>> {
        let length = usize::try_from(number(0)?)
            .ok()
            .filter(|n| (1..=ENTRY_BYTES_MAX).contains(n))?;
        let entry = bytes.get(FRAME_HEAD_BYTES..FRAME_HEAD_BYTES + length)?;
        let own = u64::from_be_bytes(bytes.get(8..16)?.try_into().ok()?);
        let right = own == index.0 && checksum(index, entry) == number(4)?;
        right.then_some(Frame::Entry {
            bytes: entry,
            length: FRAME_HEAD_BYTES + length,
        })
    };
    whole().unwrap_or(Frame::Bad)
}

/// Whether a right frame of any entry after `index` stands anywhere in `bytes`: then what is bad before it is damage, not
/// a write that was cut short, and must never be cut off.
#[must_use]
pub fn has_later_frame(bytes: &[u8], index: EntryId) -> bool {
    (0..bytes.len()).any(|at| {
        let rest = bytes.get(at..).unwrap_or_default();
        let own = rest
            .get(8..16)
            .and_then(|b| b.try_into().ok())
            .map(u64::from_be_bytes);
        own.is_some_and(|own| {
            // Numbers far beyond what this file can hold are chance.
            own > index.0
                && own - index.0 <= 2 * SEGMENT_ENTRIES
                && matches!(read_frame(rest, EntryId(own)), Frame::Entry { .. })
        })
    })
}

/// How many hashes of a file count. They are synced with each checkpoint, so after a loss of power those that came later may
/// be zeros, where the file had grown and its bytes had not reached the disk: from there on they were never written down.
/// `tail` is what stands after the `signed` ones.
#[must_use]
pub fn hashes_written(signed: u64, tail: &[u8]) -> u64 {
    let written = tail
        .chunks_exact(32)
        .take_while(|hash| hash.iter().any(|byte| *byte != 0));
    signed + written.count() as u64
}

/// What is wrong with a log on disk. Each names the first entry that it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Damage {
    /// A frame is bad and right ones follow.
    Frame { entry: EntryId },
    /// The bytes are a right frame, and no entry that this program knows.
    Entry {
        entry: EntryId,
        why: super::EntryError,
    },
    /// No seed for the entry's term: its commitments cannot be checked.
    Seed { entry: EntryId, term: u64 },
    /// The entry is not the one that was hashed when it was written.
    Hash { entry: EntryId },
    /// The log ends before what was signed.
    Short { entries: u64, signed: u64 },
    /// Entry, hash, or both were changed together: the root that was signed at `signed` entries is another. The entries
    /// from `from` on are not covered by an earlier checkpoint that still holds.
    Root { from: EntryId, signed: u64 },
    /// Fewer or more hashes than a whole number, or more than entries.
    Hashes { hashes: u64, entries: u64 },
    Checkpoint {
        number: usize,
        why: super::note::NoteError,
    },
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frame { entry } => write!(
                f,
                "entry {entry}: its frame is damaged, and right ones follow"
            ),
            Self::Entry { entry, why } => write!(f, "entry {entry}: {why}"),
            Self::Seed { entry, term } => {
                write!(f, "entry {entry}: the seed of term {term} is missing")
            }
            Self::Hash { entry } => write!(f, "entry {entry}: it is not what was recorded"),
            Self::Short { entries, signed } => {
                write!(f, "the log has {entries} entries, and {signed} were signed")
            }
            Self::Root { from, signed } => {
                write!(
                    f,
                    "entries {from} to {}: something among them is not what was signed",
                    signed - 1
                )
            }
            Self::Hashes { hashes, entries } => {
                write!(f, "the log has {entries} entries and {hashes} hashes")
            }
            Self::Checkpoint { number, why } => write!(f, "checkpoint {number}: {why}"),
        }
    }
}

impl std::error::Error for Damage {}

/// Checks an entry against its hash, with the seeds of all terms; gives it decoded.
pub fn check(
    index: EntryId,
    bytes: &[u8],
    seeds: &HashMap<u64, Hash>,
    hash: Option<&Hash>,
) -> Result<(Entry, Hash), Damage> {
    let entry = Entry::decode_whole(bytes).map_err(|why| Damage::Entry { entry: index, why })?;
    let term = entry.header.term;
    let seed = seeds
        .get(&term)
        .ok_or(Damage::Seed { entry: index, term })?;
    let found = super::tree::leaf_hash(&entry.leaf(index, seed));
    if hash.is_some_and(|hash| *hash != found) {
        return Err(Damage::Hash { entry: index });
    }
    Ok((entry, found))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read_back_and_damage_is_told_from_a_cut() {
        let mut bytes = Vec::new();
        for n in 0..3u8 {
            write_frame(&mut bytes, EntryId(n.into()), &[n; 20]);
        }
        let one = FRAME_HEAD_BYTES + 20;
        assert_eq!(
            read_frame(&bytes, EntryId(0)),
            Frame::Entry {
                bytes: &[0; 20],
                length: one
            }
        );
        assert_eq!(read_frame(&bytes, EntryId(1)), Frame::Bad);
        assert_eq!(read_frame(&[], EntryId(1)), Frame::End);
        for at in 0..one {
            let mut changed = bytes.clone();
            changed[at] ^= 0x10;
            assert_eq!(read_frame(&changed, EntryId(0)), Frame::Bad, "{at}");
            assert!(has_later_frame(&changed, EntryId(0)), "{at}");
            assert!(!has_later_frame(&changed[..one], EntryId(0)), "{at}");
        }
        for cut in 1..one {
            assert_eq!(read_frame(&bytes[..cut], EntryId(0)), Frame::Bad);
            assert!(!has_later_frame(&bytes[..cut], EntryId(0)));
        }
    }
}
