//! The corpus through every target, with a bounded number of mutations of each file: what a fuzzer once found stays found
//! in an ordinary test run.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests state what must hold"
)]

use portcullis_fuzz::TARGETS;
use std::fs;
use std::path::Path;

/// Mutations of each file.
const MUTATIONS: u64 = 40;

/// A small generator: the same mutations in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound.max(1) as u64).unwrap()
    }
}

fn mutate(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    let mut out = bytes.to_vec();
    for _ in 0..=random.below(3) {
        let at = random.below(out.len());
        match random.below(4) {
            0 if !out.is_empty() => out[at] ^= 1 << random.below(8),
            1 => out.insert(at.min(out.len()), b"&=%+\r\n\0\xff{}\"9"[random.below(12)]),
            2 if !out.is_empty() => {
                out.remove(at);
            }
            _ => out.truncate(at),
        }
    }
    out
}

#[test]
fn the_corpus_and_its_mutations_break_nothing() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for (name, target) in TARGETS {
        let mut files: Vec<_> = fs::read_dir(folder.join(name))
            .unwrap_or_else(|why| panic!("the corpus of {name}: {why}"))
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort();
        assert!(!files.is_empty(), "the corpus of {name} is empty");
        for file in files {
            let bytes = fs::read(&file).unwrap();
            target(&bytes);
            for _ in 0..MUTATIONS {
                target(&mutate(&bytes, &mut random));
            }
        }
    }
}
