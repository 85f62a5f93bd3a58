//! Reading a log folder as it lies on the disk: `log verify` recomputes every commitment, hash and root, and `log export`
//! writes the plain C2SP tlog-tiles folder that other people's verifiers read. Nothing here trusts what the signer
//! concluded; it trusts the verifier key that the caller names (or, said loudly, the one in the folder).

use portcullis_model::id::EntryId;
use portcullis_model::log::Hash;
use portcullis_model::log::note::{Checkpoint, Verifier};
use portcullis_model::log::segment::{self, Damage, Frame, SEGMENT_ENTRIES};
use portcullis_model::log::tree::{self, Edge, TILE_WIDTH};
use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::Path;

/// A note at most.
const NOTE_BYTES_MAX: usize = 65_536;

/// What a log folder holds.
pub struct Contents {
    /// Leaf (version, header, commitments) of each entry, recomputed from its texts.
    pub leaves: Vec<Vec<u8>>,
    pub hashes: Vec<Hash>,
    pub checkpoints: Vec<Checkpoint>,
    /// The newest note as it stands in the folder.
    pub note: String,
    /// Bytes of a write that was cut short, at the very end.
    pub torn_bytes: usize,
}

/// What is wrong: the folder cannot be read, or it is not what was recorded.
#[derive(Debug)]
pub enum Wrong {
    Unreadable(io::Error),
    Damage(Damage),
}

impl From<io::Error> for Wrong {
    fn from(error: io::Error) -> Self {
        Self::Unreadable(error)
    }
}

impl From<Damage> for Wrong {
    fn from(damage: Damage) -> Self {
        Self::Damage(damage)
    }
}

/// The key in the folder: whoever can change the log can change it too.
pub fn key_of(folder: &Path) -> io::Result<Verifier> {
    let text = fs::read_to_string(folder.join("vkey"))?;
    Verifier::parse(&text).ok_or_else(|| io::Error::other("`vkey` is not a verifier key"))
}

/// Reads and verifies everything.
pub fn verify(folder: &Path, verifier: &Verifier) -> Result<Contents, Wrong> {
    // The signer may be writing: what is signed is read before what it is about, so that no checkpoint is newer than the
    // entries; and what was hashed before the entries that were.
    let notes = notes(folder)?;
    let seeds = seeds(folder)?;
    let mut stored = fs::read(folder.join("hashes"))?;
    let signed = notes
        .last()
        .and_then(|note| Checkpoint::open(note, verifier).ok())
        .map_or(0, |newest| newest.size.min(stored.len() as u64 / 32));
    let at = usize::try_from(signed)
        .unwrap_or(usize::MAX)
        .saturating_mul(32);
    let known = segment::hashes_written(signed, stored.get(at..).unwrap_or_default());
    stored.truncate(
        usize::try_from(known)
            .unwrap_or(usize::MAX)
            .saturating_mul(32),
    );
    let mut contents = Contents {
        leaves: Vec::new(),
        hashes: Vec::new(),
        checkpoints: Vec::new(),
        note: String::new(),
        torn_bytes: 0,
    };
    read_entries(folder, &seeds, &stored, &mut contents)?;
    let entries = contents.hashes.len() as u64;
    if known > entries {
        return Err(Damage::Hashes {
            hashes: known,
            entries,
        }
        .into());
    }
    check_notes(notes, verifier, &mut contents)?;
    Ok(contents)
}

/// Every checkpoint as it stands in the folder, the newest last.
fn notes(folder: &Path) -> io::Result<Vec<String>> {
    let newest = match fs::read_to_string(folder.join("checkpoint")) {
        Err(why) if why.kind() == io::ErrorKind::NotFound => String::new(),
        read => read?,
    };
    let bytes = fs::read(folder.join("checkpoints")).unwrap_or_default();
    let mut rest = &bytes[..];
    let mut notes = Vec::new();
    while let Some((length, after)) = rest.split_at_checked(4) {
        let length = u32::from_be_bytes(length.try_into().unwrap_or_default()) as usize;
        // One that was cut short, or is under way, stands at the end.
        let Some((note, after)) = after
            .split_at_checked(length)
            .filter(|_| (1..=NOTE_BYTES_MAX).contains(&length))
        else {
            break;
        };
        notes.push(String::from_utf8_lossy(note).into_owned());
        rest = after;
    }
    // The list was read later, and may have more by now.
    if !newest.is_empty() && !notes.contains(&newest) {
        notes.push(newest);
    }
    Ok(notes)
}

fn seeds(folder: &Path) -> io::Result<HashMap<u64, Hash>> {
    let mut seeds = HashMap::new();
    for file in fs::read_dir(folder.join("seeds"))? {
        let file = file?;
        let term = file.file_name().to_str().and_then(|name| name.parse().ok());
        if let (Some(term), Ok(seed)) = (term, Hash::try_from(fs::read(file.path())?)) {
            seeds.insert(term, seed);
        }
    }
    Ok(seeds)
}

fn read_entries(
    folder: &Path,
    seeds: &HashMap<u64, Hash>,
    stored: &[u8],
    contents: &mut Contents,
) -> Result<(), Wrong> {
    loop {
        let first = contents.hashes.len() as u64;
        let place = folder
            .join("segments")
            .join(segment::segment_name(EntryId(first)));
        if !place.exists() {
            return Ok(());
        }
        let bytes = fs::read(&place)?;
        let mut used = 0;
        loop {
            let index = EntryId(contents.hashes.len() as u64);
            let rest = bytes.get(used..).unwrap_or_default();
            match segment::read_frame(rest, index) {
                Frame::End => break,
                Frame::Bad if segment::has_later_frame(rest, index) => {
                    return Err(Damage::Frame { entry: index }.into());
                }
                Frame::Bad => {
                    contents.torn_bytes = rest.len();
                    return Ok(());
                }
                Frame::Entry {
                    bytes: entry,
                    length,
                } => {
                    let from = usize::try_from(index.0)
                        .unwrap_or(usize::MAX)
                        .saturating_mul(32);
                    let hash = stored
                        .get(from..from.saturating_add(32))
                        .and_then(|b| Hash::try_from(b).ok());
                    let (entry, hash) = segment::check(index, entry, seeds, hash.as_ref())?;
                    // The check found it.
                    let seed = seeds.get(&entry.header.term).unwrap_or(&[0; 32]);
                    contents.leaves.push(entry.leaf(index, seed));
                    contents.hashes.push(hash);
                    used += length;
                }
            }
        }
        if (contents.hashes.len() as u64) < first + SEGMENT_ENTRIES {
            return Ok(());
        }
    }
}

/// Every checkpoint ever signed must hold: so a forgery is bracketed between the last that holds and the first that
/// does not.
fn check_notes(
    notes: Vec<String>,
    verifier: &Verifier,
    contents: &mut Contents,
) -> Result<(), Wrong> {
    let (mut edge, mut held) = (Edge::default(), 0);
    let mut hashes = contents.hashes.iter();
    for (number, note) in notes.iter().enumerate() {
        let checkpoint =
            Checkpoint::open(note, verifier).map_err(|why| Damage::Checkpoint { number, why })?;
        let entries = contents.hashes.len() as u64;
        if checkpoint.size > entries {
            return Err(Damage::Short {
                entries,
                signed: checkpoint.size,
            }
            .into());
        }
        while edge.size() < checkpoint.size {
            if let Some(hash) = hashes.next() {
                edge.append(*hash);
            }
        }
        if edge.size() != checkpoint.size || edge.root() != checkpoint.root {
            return Err(Damage::Root {
                from: EntryId(held),
                signed: checkpoint.size,
            }
            .into());
        }
        held = checkpoint.size;
        contents.checkpoints.push(checkpoint);
    }
    contents.note = notes.last().cloned().unwrap_or_default();
    if notes.is_empty() && !contents.hashes.is_empty() {
        return Err(Damage::Short {
            entries: 0,
            signed: 0,
        }
        .into());
    }
    Ok(())
}

/// Writes `checkpoint`, `vkey`, `tile/…` and `tile/entries/…` for the newest checkpoint. The folder must be new.
pub fn export(contents: &Contents, verifier: &Verifier, to: &Path) -> io::Result<u64> {
    let size = contents
        .checkpoints
        .last()
        .map_or(0, |checkpoint| checkpoint.size);
    let count = usize::try_from(size).map_err(io::Error::other)?;
    fs::create_dir(to)?;
    let write = |path: &str, bytes: &[u8]| -> io::Result<()> {
        let place = to.join(path);
        if let Some(folder) = place.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(place, bytes)
    };
    for (path, bytes) in tree::tiles(contents.hashes.get(..count).unwrap_or_default()) {
        write(&path, &bytes)?;
    }
    for (n, leaves) in contents
        .leaves
        .get(..count)
        .unwrap_or_default()
        .chunks(TILE_WIDTH as usize)
        .enumerate()
    {
        let mut bundle = Vec::new();
        for leaf in leaves {
            bundle.extend_from_slice(
                &u16::try_from(leaf.len())
                    .map_err(io::Error::other)?
                    .to_be_bytes(),
            );
            bundle.extend_from_slice(leaf);
        }
        write(
            &tree::tile_path(None, n as u64, leaves.len() as u64),
            &bundle,
        )?;
    }
    write("vkey", format!("{}\n", verifier.text()).as_bytes())?;
    write("checkpoint", contents.note.as_bytes())?;
    Ok(size)
}
