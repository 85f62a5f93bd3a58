//! The log's formats: one Merkle tree a site, in the C2SP formats, so that tools which we did not write verify it. Pure:
//! the signer writes files with these bytes, and the command line verifies them, with the same functions.
//!
//! An entry is a small clear header and three texts (public facts, the regulator's view, the strategy's private data).
//! The tree's leaf holds, in place of each text, a commitment to it: `SHA-256(salt || text)`. The salts of an entry come
//! from its secret, `HMAC-SHA256(seed, index)`, as `SHA-256(secret || group)`. So one text of one entry can be shown with
//! its salt, or one whole entry with its secret, and nothing else opens. A salt has one length and serves once, which is
//! all that HMAC would add here; the plain hash takes half its time.
//!
//! Sources: RFC 6962 section 2 (tree), C2SP `tlog-tiles` v0.1.0, `signed-note` v1.0.0, `tlog-checkpoint` v1.0.0.

pub mod note;
pub mod segment;
pub mod tree;

use crate::id::{EntryId, Timestamp};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use minicbor::bytes::{ByteSlice, ByteVec};
use minicbor::{Decode, Encode};
use std::fmt;

/// An entry's length at most: C2SP bundles give each entry a length of two bytes.
pub const ENTRY_BYTES_MAX: usize = 65_535;
/// Version of the leaf and of the header.
pub const ENTRY_VERSION: u8 = 1;
/// Texts of an entry, in this order.
pub const GROUPS: [&str; 3] = ["public", "regulator", "private"];
/// An entry's bytes beside its texts, at most; to reserve them at once.
const HEADER_BYTES_USUAL: usize = 48;
/// A hash of SHA-256.
pub type Hash = [u8; 32];

/// What stands in the clear in each entry.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Header {
    /// Which run of the signer; its seed makes the salts.
    #[n(0)]
    pub term: u64,
    #[n(1)]
    pub at: Timestamp,
    /// What kind of entry it is: the site's own numbering, see `docs/spec`.
    #[n(2)]
    pub kind: u8,
}

/// An entry as it is written.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Entry {
    #[n(0)]
    pub header: Header,
    #[n(1)]
    pub public: ByteVec,
    #[n(2)]
    pub regulator: ByteVec,
    #[n(3)]
    pub private: ByteVec,
}

/// Bytes that are no entry of a version that this program knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryError {
    Version(u8),
    Malformed,
    TooLong,
}

impl fmt::Display for EntryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(version) => write!(
                f,
                "the entry has version {version}, which this program does not know"
            ),
            Self::Malformed => f.write_str("the entry cannot be read"),
            Self::TooLong => f.write_str("the entry is longer than 65535 bytes"),
        }
    }
}

impl std::error::Error for EntryError {}

impl Entry {
    /// Version byte, then canonical CBOR.
    pub fn encode_whole(&self) -> Result<Vec<u8>, EntryError> {
        let texts = self.public.len() + self.regulator.len() + self.private.len();
        let mut bytes = Vec::with_capacity(texts + HEADER_BYTES_USUAL);
        bytes.push(ENTRY_VERSION);
        crate::wire::encode(&mut bytes, self).map_err(|_| EntryError::Malformed)?;
        if bytes.len() > ENTRY_BYTES_MAX {
            Err(EntryError::TooLong)
        } else {
            Ok(bytes)
        }
    }

    /// Reads a whole entry; any other bytes than those that [`Entry::encode_whole`] makes are refused.
    pub fn decode_whole(bytes: &[u8]) -> Result<Self, EntryError> {
        let (version, cbor) = bytes.split_first().ok_or(EntryError::Malformed)?;
        if *version != ENTRY_VERSION {
            return Err(EntryError::Version(*version));
        }
        let entry: Self = crate::wire::message(cbor).map_err(|_| EntryError::Malformed)?;
        if entry.encode_whole().as_deref() != Ok(bytes) {
            return Err(EntryError::Malformed);
        }
        Ok(entry)
    }

    /// The tree's leaf: version, header, and a commitment for each text. 1 + header + 3 * 32 bytes.
    #[must_use]
    pub fn leaf(&self, index: EntryId, seed: &Hash) -> Vec<u8> {
        let texts: [&[u8]; 3] = [&self.public, &self.regulator, &self.private];
        leaf_of(&self.header, texts, index, &seed_key(seed))
    }
}

/// An entry whose texts stay where they lie.
#[derive(Decode)]
struct Lying<'b> {
    #[n(0)]
    header: Header,
    #[b(1)]
    public: &'b ByteSlice,
    #[b(2)]
    regulator: &'b ByteSlice,
    #[b(3)]
    private: &'b ByteSlice,
}

/// The hash of an entry that this program has just encoded, read back whole and with the right checksum: what
/// [`Entry::decode_whole`] checks of foreign bytes beyond that is known.
pub fn own_hash(bytes: &[u8], index: EntryId, seed: &hmac::Key) -> Result<Hash, EntryError> {
    let cbor = bytes
        .strip_prefix(&[ENTRY_VERSION])
        .ok_or(EntryError::Malformed)?;
    let entry: Lying<'_> = crate::wire::message(cbor).map_err(|_| EntryError::Malformed)?;
    let texts: [&[u8]; 3] = [entry.public, entry.regulator, entry.private];
    Ok(tree::leaf_hash(&leaf_of(&entry.header, texts, index, seed)))
}

/// A term's seed, ready to make the secrets of its entries.
#[must_use]
pub fn seed_key(seed: &Hash) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, seed)
}

fn leaf_of(header: &Header, texts: [&[u8]; 3], index: EntryId, seed: &hmac::Key) -> Vec<u8> {
    let longest = texts.iter().map(|text| text.len()).max().unwrap_or(0);
    let mut salted = Vec::with_capacity(longest + 32);
    let mut leaf = Vec::with_capacity(128);
    leaf.push(ENTRY_VERSION);
    // Encoding a header into a `Vec` cannot fail.
    let _ = crate::wire::encode(&mut leaf, header);
    let secret = entry_secret(seed, index);
    for (group, text) in (0..).zip(texts) {
        salted.clear();
        salted.extend_from_slice(&salt(&secret, group));
        salted.extend_from_slice(text);
        leaf.extend_from_slice(digest(&SHA256, &salted).as_ref());
    }
    leaf
}

/// What opens the whole entry: from it come the salts of its texts.
#[must_use]
pub fn entry_secret(seed: &hmac::Key, index: EntryId) -> Hash {
    into_hash(hmac::sign(seed, &index.0.to_be_bytes()).as_ref())
}

/// The salt of one text: what is shown with it, and opens nothing else.
#[must_use]
pub fn salt(entry_secret: &Hash, group: u8) -> Hash {
    let mut message = [group; 33];
    for (to, from) in message.iter_mut().zip(entry_secret) {
        *to = *from;
    }
    into_hash(digest(&SHA256, &message).as_ref())
}

/// What the leaf holds in place of a text.
#[must_use]
pub fn commitment(salt: &Hash, text: &[u8]) -> Hash {
    into_hash(digest(&SHA256, &[salt, text].concat()).as_ref())
}

fn into_hash(bytes: &[u8]) -> Hash {
    let mut hash = [0; 32];
    for (to, from) in hash.iter_mut().zip(bytes) {
        *to = *from;
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        Entry {
            header: Header {
                term: 1,
                at: Timestamp(5),
                kind: 2,
            },
            public: ByteVec::from(b"p".to_vec()),
            regulator: ByteVec::from(b"r".to_vec()),
            private: ByteVec::from(Vec::new()),
        }
    }

    #[test]
    fn an_entry_decodes_to_itself_and_nothing_else_does() {
        let bytes = entry().encode_whole().unwrap();
        assert_eq!(Entry::decode_whole(&bytes).unwrap(), entry());
        assert_eq!(Entry::decode_whole(&[]), Err(EntryError::Malformed));
        let mut other = bytes.clone();
        other[0] = 2;
        assert_eq!(Entry::decode_whole(&other), Err(EntryError::Version(2)));
        other = bytes.clone();
        other.push(0);
        assert_eq!(Entry::decode_whole(&other), Err(EntryError::Malformed));
        // The same header with a longer form of a number.
        let mut longer = bytes.clone();
        let at = bytes.iter().position(|b| *b == 5).unwrap();
        longer.splice(at..=at, [0x18, 5]);
        assert_eq!(Entry::decode_whole(&longer), Err(EntryError::Malformed));
    }

    #[test]
    fn an_entry_of_ones_own_hashes_as_any_other() {
        let bytes = entry().encode_whole().unwrap();
        let leaf = entry().leaf(EntryId(7), &[1; 32]);
        assert_eq!(
            own_hash(&bytes, EntryId(7), &seed_key(&[1; 32])),
            Ok(tree::leaf_hash(&leaf))
        );
        assert!(own_hash(&bytes[1..], EntryId(7), &seed_key(&[1; 32])).is_err());
    }

    #[test]
    fn a_long_entry_is_refused() {
        let long = Entry {
            private: ByteVec::from(vec![0; ENTRY_BYTES_MAX]),
            ..entry()
        };
        assert_eq!(long.encode_whole(), Err(EntryError::TooLong));
    }

    #[test]
    fn each_text_is_committed_to_apart() {
        let leaf = |e: &Entry, index, seed| e.leaf(EntryId(index), &[seed; 32]);
        let whole = leaf(&entry(), 7, 1);
        let fixed = whole.len() - 96;
        for (group, change) in [
            Entry {
                public: ByteVec::from(b"x".to_vec()),
                ..entry()
            },
            Entry {
                regulator: ByteVec::from(b"x".to_vec()),
                ..entry()
            },
            Entry {
                private: ByteVec::from(b"x".to_vec()),
                ..entry()
            },
        ]
        .iter()
        .enumerate()
        {
            let changed = leaf(change, 7, 1);
            for part in 0..3 {
                let range = fixed + part * 32..fixed + (part + 1) * 32;
                assert_eq!(changed[range.clone()] == whole[range], part != group);
            }
        }
        // The same text elsewhere, or in another term, gives nothing to compare.
        assert_ne!(leaf(&entry(), 8, 1)[fixed..], whole[fixed..]);
        assert_ne!(leaf(&entry(), 7, 2)[fixed..], whole[fixed..]);
        let secret = entry_secret(&seed_key(&[1; 32]), EntryId(7));
        assert_eq!(
            commitment(&salt(&secret, 1), b"r"),
            whole[fixed + 32..fixed + 64]
        );
    }
}
