//! The Merkle tree of RFC 6962 with SHA-256: hashes, roots as the log grows, inclusion and consistency proofs, and the
//! tiles of C2SP `tlog-tiles`.

use super::Hash;
use aws_lc_rs::digest::{SHA256, digest};
use std::fmt::Write;

/// Hashes in a whole tile.
pub const TILE_WIDTH: u64 = 256;

/// `SHA-256(0x00 || leaf)`.
#[must_use]
pub fn leaf_hash(leaf: &[u8]) -> Hash {
    sha(&[&[0], leaf].concat())
}

/// `SHA-256(0x01 || left || right)`.
#[must_use]
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut both = [1; 65];
    for (to, from) in both.iter_mut().skip(1).zip(left.iter().chain(right)) {
        *to = *from;
    }
    sha(&both)
}

/// The root of a tree without leaves: `SHA-256("")`.
#[must_use]
pub fn empty_root() -> Hash {
    sha(b"")
}

fn sha(bytes: &[u8]) -> Hash {
    super::into_hash(digest(&SHA256, bytes).as_ref())
}

/// The right edge of a growing tree: the roots of its whole subtrees, largest first. An append costs two hashes on
/// average and no memory but a hash a level.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Edge {
    size: u64,
    peaks: Vec<Hash>,
}

impl Edge {
    /// Leaves so far.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    pub fn append(&mut self, leaf: Hash) {
        let mut hash = leaf;
        // Each trailing one bit of the size is a subtree that the new leaf completes.
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                hash = node_hash(&left, &hash);
            }
        }
        self.peaks.push(hash);
        self.size += 1;
    }

    #[must_use]
    pub fn root(&self) -> Hash {
        let mut peaks = self.peaks.iter().rev();
        let Some(last) = peaks.next() else {
            return empty_root();
        };
        peaks.fold(*last, |right, left| node_hash(left, &right))
    }
}

/// The root over leaf hashes, computed from nothing.
#[must_use]
pub fn root(leaves: &[Hash]) -> Hash {
    let mut edge = Edge::default();
    for leaf in leaves {
        edge.append(*leaf);
    }
    edge.root()
}

/// The largest power of two below `n` (`n` at least 2).
fn split(n: u64) -> u64 {
    1 << (63 - (n - 1).leading_zeros())
}

fn cut(leaves: &[Hash], at: u64) -> (&[Hash], &[Hash]) {
    leaves.split_at(usize::try_from(at).unwrap_or(usize::MAX).min(leaves.len()))
}

/// RFC 6962 section 2.1.1: the hashes that lead from leaf `index` to the root.
#[must_use]
pub fn inclusion(leaves: &[Hash], index: u64) -> Vec<Hash> {
    let n = leaves.len() as u64;
    if n <= 1 || index >= n {
        return Vec::new();
    }
    let k = split(n);
    let (left, right) = cut(leaves, k);
    let (mut proof, other) = if index < k {
        (inclusion(left, index), root(right))
    } else {
        (inclusion(right, index - k), root(left))
    };
    proof.push(other);
    proof
}

/// Whether `proof` leads from this leaf hash to `root` (RFC 9162 section 2.1.3.2).
#[must_use]
pub fn is_included(leaf: &Hash, index: u64, size: u64, proof: &[Hash], root: &Hash) -> bool {
    if index >= size {
        return false;
    }
    let (mut at, mut last, mut hash) = (index, size - 1, *leaf);
    for other in proof {
        if last == 0 {
            return false;
        }
        if at & 1 == 1 || at == last {
            hash = node_hash(other, &hash);
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, other);
        }
        at >>= 1;
        last >>= 1;
    }
    last == 0 && hash == *root
}

/// RFC 6962 section 2.1.2: the hashes that show the tree of `old` leaves to be the beginning of this one.
#[must_use]
pub fn consistency(leaves: &[Hash], old: u64) -> Vec<Hash> {
    let n = leaves.len() as u64;
    if old == 0 || old >= n {
        return Vec::new();
    }
    subproof(leaves, old, true)
}

fn subproof(leaves: &[Hash], old: u64, whole: bool) -> Vec<Hash> {
    let n = leaves.len() as u64;
    if old == n {
        return if whole {
            Vec::new()
        } else {
            vec![root(leaves)]
        };
    }
    let k = split(n);
    let (left, right) = cut(leaves, k);
    if old <= k {
        let mut proof = subproof(left, old, whole);
        proof.push(root(right));
        proof
    } else {
        let mut proof = subproof(right, old - k, false);
        proof.push(root(left));
        proof
    }
}

/// Whether `proof` shows the tree (`old`, `old_root`) to be the beginning of (`new`, `new_root`) (RFC 9162, 2.1.4.2).
#[must_use]
pub fn is_consistent(old: u64, old_root: &Hash, new: u64, new_root: &Hash, proof: &[Hash]) -> bool {
    if old > new {
        return false;
    }
    if old == new {
        return proof.is_empty() && old_root == new_root;
    }
    if old == 0 {
        return proof.is_empty() && *old_root == empty_root();
    }
    let mut hashes = proof.iter();
    let first = if old.is_power_of_two() {
        Some(old_root)
    } else {
        hashes.next()
    };
    let Some(first) = first else { return false };
    let (mut at, mut last) = (old - 1, new - 1);
    while at & 1 == 1 {
        at >>= 1;
        last >>= 1;
    }
    let (mut from_old, mut from_new) = (*first, *first);
    for other in hashes {
        if last == 0 {
            return false;
        }
        if at & 1 == 1 || at == last {
            from_old = node_hash(other, &from_old);
            from_new = node_hash(other, &from_new);
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            from_new = node_hash(&from_new, other);
        }
        at >>= 1;
        last >>= 1;
    }
    last == 0 && from_old == *old_root && from_new == *new_root
}

/// `tile/LEVEL/N` with `.p/WIDTH` for a partial one; `level` `None` is the folder of entries.
#[must_use]
pub fn tile_path(level: Option<u8>, n: u64, width: u64) -> String {
    let mut path = match level {
        Some(level) => format!("tile/{level}/"),
        None => "tile/entries/".to_owned(),
    };
    let mut groups = vec![n % 1000];
    let mut rest = n / 1000;
    while rest > 0 {
        groups.push(rest % 1000);
        rest /= 1000;
    }
    while let Some(group) = groups.pop() {
        let mark = if groups.is_empty() { "" } else { "x" };
        let slash = if groups.is_empty() { "" } else { "/" };
        let _ = write!(path, "{mark}{group:03}{slash}");
    }
    if width != TILE_WIDTH {
        let _ = write!(path, ".p/{width}");
    }
    path
}

/// Every tile of a tree with these leaf hashes: path and bytes.
#[must_use]
pub fn tiles(leaves: &[Hash]) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    let mut hashes = leaves.to_vec();
    let mut level = 0u8;
    while !hashes.is_empty() {
        let mut above = Vec::new();
        for (n, tile) in hashes.chunks(TILE_WIDTH as usize).enumerate() {
            all.push((
                tile_path(Some(level), n as u64, tile.len() as u64),
                tile.concat(),
            ));
            if tile.len() as u64 == TILE_WIDTH {
                above.push(root(tile));
            }
        }
        hashes = above;
        level += 1;
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hex(hash: Hash) -> String {
        hash.iter().map(|b| format!("{b:02x}")).collect()
    }

    /// The test vectors of the certificate-transparency project for RFC 6962.
    const LEAVES: [&[u8]; 8] = [
        &[],
        &[0x00],
        &[0x10],
        &[0x20, 0x21],
        &[0x30, 0x31],
        &[0x40, 0x41, 0x42, 0x43],
        &[0x50, 0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57],
        &[
            0x60, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x6b, 0x6c, 0x6d,
            0x6e, 0x6f,
        ],
    ];
    const ROOTS: [&str; 8] = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];

    #[test]
    fn roots_are_those_of_the_published_vectors() {
        assert_eq!(
            hex(empty_root()),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        let mut edge = Edge::default();
        for (leaf, expected) in LEAVES.iter().zip(ROOTS) {
            edge.append(leaf_hash(leaf));
            assert_eq!(hex(edge.root()), expected);
        }
    }

    #[test]
    fn tiles_are_named_as_the_specification_says() {
        assert_eq!(tile_path(Some(0), 1_234_067, 256), "tile/0/x001/x234/067");
        assert_eq!(tile_path(Some(1), 0, 3), "tile/1/000.p/3");
        assert_eq!(tile_path(None, 999, 256), "tile/entries/999");
        let tiles = tiles(
            &(0..600u32)
                .map(|n| leaf_hash(&n.to_be_bytes()))
                .collect::<Vec<_>>(),
        );
        let names: Vec<&str> = tiles.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(
            names,
            [
                "tile/0/000",
                "tile/0/001",
                "tile/0/002.p/88",
                "tile/1/000.p/2"
            ]
        );
        assert_eq!(tiles[0].1.len(), 8192);
    }

    fn leaves(n: u64) -> Vec<Hash> {
        (0..n).map(|n| leaf_hash(&n.to_be_bytes())).collect()
    }

    proptest! {
        #[test]
        fn every_proof_holds_and_no_other_does(n in 1u64..300, index in 0u64..300, flip in any::<prop::sample::Index>()) {
            let index = index % n;
            let all = leaves(n);
            let root = root(&all);
            let leaf = all[usize::try_from(index).unwrap()];
            let proof = inclusion(&all, index);
            prop_assert!(is_included(&leaf, index, n, &proof, &root));
            prop_assert!(!is_included(&leaf_hash(b"other"), index, n, &proof, &root));
            let mut longer = proof.clone();
            longer.push(root);
            prop_assert!(!is_included(&leaf, index, n, &longer, &root));
            if !proof.is_empty() {
                let mut changed = proof.clone();
                let at = flip.index(changed.len());
                changed[at][0] ^= 1;
                prop_assert!(!is_included(&leaf, index, n, &changed, &root));
                prop_assert!(!is_included(&leaf, index, n, &proof[1..], &root));
            }
        }

        #[test]
        fn a_log_that_grew_is_consistent_and_one_that_was_rewritten_is_not(old in 0u64..200, more in 0u64..200, changed in any::<prop::sample::Index>()) {
            let all = leaves(old + more);
            let cut = usize::try_from(old).unwrap();
            let (old_root, new_root) = (root(&all[..cut]), root(&all));
            let proof = consistency(&all, old);
            prop_assert!(is_consistent(old, &old_root, old + more, &new_root, &proof));
            if old > 0 {
                let mut forged = all.clone();
                forged[changed.index(cut)] = leaf_hash(b"forged");
                let (forged_root, forged_proof) = (root(&forged), consistency(&forged, old));
                prop_assert!(!is_consistent(old, &old_root, old + more, &forged_root, &forged_proof));
            }
        }

        #[test]
        fn tiles_hold_the_tree(n in 1u64..1200) {
            let all = leaves(n);
            let level0: Vec<u8> = tiles(&all).iter().filter(|(name, _)| name.starts_with("tile/0/")).flat_map(|(_, b)| b.clone()).collect();
            prop_assert_eq!(level0, all.concat());
        }
    }
}
