//! Snapshots: the fold of the first entries, so that a start need not fold them again. A cache: whatever is wrong with
//! one, it is passed over and the log is folded from an older one, or from its first entry.
//!
//! `log/snapshots/INDEX` is CBOR: state version, index, root of the tree at that index, state, signature by the log key
//! over `portcullis snapshot`, the log's name, version, index, root and the state's SHA-256, a line each. So who can
//! write files, and cannot sign checkpoints, cannot make a halt or a limit's usage go away.

use super::{LogError, Sign, at, replace};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use minicbor::{Decode, Encode};
use portcullis_model::log::Hash;
use portcullis_model::log::note::Verifier;
use portcullis_model::state::{STATE_VERSION, State};
use std::fs::{self, DirBuilder, File};
use std::io::Read;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// Snapshots kept: the newest, and one before it.
const KEPT: usize = 2;
/// A snapshot at most; a larger file is none.
const BYTES_MAX: u64 = 1 << 30;
const FOLDER: &str = "snapshots";

#[derive(Encode, Decode)]
struct Stored {
    #[n(0)]
    version: u32,
    #[n(1)]
    index: u64,
    #[cbor(n(2), with = "minicbor::bytes")]
    root: [u8; 32],
    #[cbor(n(3), with = "minicbor::bytes")]
    state: Vec<u8>,
    #[cbor(n(4), with = "minicbor::bytes")]
    signature: Vec<u8>,
}

impl Stored {
    fn signed_text(&self, name: &str) -> String {
        let hex = crate::releases::hex;
        format!(
            "portcullis snapshot\n{name}\n{}\n{}\n{}\n{}\n",
            self.version,
            self.index,
            hex(&self.root),
            hex(digest(&SHA256, &self.state).as_ref())
        )
    }
}

/// A state that the log key vouches for, and where it belongs.
pub struct Snapshot {
    pub index: u64,
    pub root: Hash,
    pub state: State,
}

/// Those that can be used, the newest first.
pub fn usable<'a>(folder: &'a Path, verifier: &'a Verifier) -> impl Iterator<Item = Snapshot> + 'a {
    names(folder)
        .into_iter()
        .filter_map(|name| load(&folder.join(FOLDER).join(name), verifier))
}

/// The newest first; names are numbers of one length.
fn names(folder: &Path) -> Vec<String> {
    let Ok(files) = fs::read_dir(folder.join(FOLDER)) else {
        return Vec::new();
    };
    let mut names: Vec<String> = files
        .filter_map(|file| file.ok()?.file_name().into_string().ok())
        .filter(|name| name.len() == 20 && name.bytes().all(|b| b.is_ascii_digit()))
        .collect();
    names.sort_unstable_by(|a, b| b.cmp(a));
    names
}

fn load(place: &Path, verifier: &Verifier) -> Option<Snapshot> {
    let mut bytes = Vec::new();
    File::open(place)
        .ok()?
        .take(BYTES_MAX)
        .read_to_end(&mut bytes)
        .ok()?;
    let stored: Stored = portcullis_model::wire::message(&bytes).ok()?;
    drop(bytes);
    if stored.version != STATE_VERSION {
        return None;
    }
    UnparsedPublicKey::new(&ED25519, verifier.public)
        .verify(
            stored.signed_text(&verifier.name).as_bytes(),
            &stored.signature,
        )
        .ok()?;
    let state = State::from_bytes(&stored.state).ok()?;
    (state.entries == stored.index).then_some(Snapshot {
        index: stored.index,
        root: stored.root,
        state,
    })
}

/// Writes one, and removes those that are no longer needed.
pub(super) fn write(
    folder: &Path,
    name: &str,
    root: Hash,
    state: &State,
    sign: &Sign,
) -> Result<(), LogError> {
    let mut stored = Stored {
        version: STATE_VERSION,
        index: state.entries,
        root,
        state: state.to_bytes(),
        signature: Vec::new(),
    };
    stored.signature = sign(stored.signed_text(name).as_bytes()).to_vec();
    let place = folder.join(FOLDER);
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&place)
        .map_err(at(&place))?;
    // Encoding into a `Vec` cannot fail.
    let bytes = minicbor::to_vec(&stored).unwrap_or_default();
    replace(&place, &format!("{:020}", stored.index), &bytes)?;
    for old in names(folder).into_iter().skip(KEPT) {
        let _ = fs::remove_file(place.join(old));
    }
    Ok(())
}
