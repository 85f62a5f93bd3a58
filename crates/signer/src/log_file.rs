//! The log on disk: the only file that writes entries and calls fsync.
//!
//! ```text
//! log/segments/00000000000000000000.seg   frames, 65,536 entries a file
//! log/seeds/TERM                          32 random bytes a run of the signer: salts of the commitments
//! log/hashes                              32 bytes an entry: the tree's leaves
//! log/checkpoints                         every signed checkpoint, each after its length (u32)
//! log/checkpoint                          the newest
//! log/vkey                                the key that signs them
//! ```
//!
//! [`Log::append`] only queues; [`Log::flush`] writes all that was queued in one call. Only a written entry becomes
//! [`Recorded`], and there is no other way to make one. Behind the caller's back one thread syncs, reads back what it
//! synced, hashes it, and signs checkpoints over synced entries alone. If a write or a sync fails the log is at its
//! end: nothing is tried again on pages that the kernel may have dropped; a new start verifies from disk.
//!
//! Absent: deciding what an entry says, and keys (checkpoints are signed by a function that is handed in).

use aws_lc_rs::rand;
use portcullis_model::id::EntryId;
use portcullis_model::log::note::{Checkpoint, Verifier};
use portcullis_model::log::segment::{self, Damage, Frame, SEGMENT_ENTRIES};
use portcullis_model::log::tree::Edge;
use portcullis_model::log::{Entry, EntryError, Hash};
use std::collections::HashMap;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A sync follows the first unsynced entry within this; what comes in between shares it.
pub const SYNC_WITHIN: Duration = Duration::from_millis(5);
/// A checkpoint is signed at most this often, and at an orderly stop.
pub const CHECKPOINT_EVERY: Duration = Duration::from_secs(1);

/// Signs a checkpoint's text with the site's log key.
pub type Sign = Box<dyn Fn(&[u8]) -> [u8; 64] + Send>;

/// Why the log cannot be opened or goes no further.
#[derive(Debug)]
pub enum LogError {
    /// The file system refused; the place and what it said.
    Io {
        place: PathBuf,
        error: io::Error,
    },
    /// What lies on the disk is not what was recorded.
    Damage(Damage),
    /// An earlier write or sync failed: restart, so that the log is verified from disk.
    Ended,
    Entry(EntryError),
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { place, error } => write!(f, "{}: {error}", place.display()),
            Self::Damage(damage) => write!(
                f,
                "the log is damaged: {damage}; restore it, `portcullis log verify` says more"
            ),
            Self::Ended => {
                f.write_str("the log ended at a failed write; start again to verify it from disk")
            }
            Self::Entry(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for LogError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { error, .. } => Some(error),
            Self::Damage(damage) => Some(damage),
            Self::Entry(error) => Some(error),
            Self::Ended => None,
        }
    }
}

fn at(place: &Path) -> impl FnOnce(io::Error) -> LogError + '_ {
    move |error| LogError::Io {
        place: place.to_owned(),
        error,
    }
}

/// Something approved whose entry is queued. It becomes [`Recorded`] once the entry has been written.
#[must_use]
#[derive(Debug)]
pub struct Queued<T> {
    approved: T,
    entry: EntryId,
}

/// Proof that an approval is written in the log. Only [`Log::recorded`] makes one.
#[must_use]
#[derive(Debug)]
pub struct Recorded<T> {
    approved: T,
    entry: EntryId,
}

impl<T> Recorded<T> {
    pub fn entry(&self) -> EntryId {
        self.entry
    }

    /// What was approved, while it is still to be signed.
    pub fn approved(&self) -> &T {
        &self.approved
    }

    pub fn into_approved(self) -> T {
        self.approved
    }
}

/// What the syncing thread shares.
#[derive(Debug)]
struct Shared {
    /// Entries that survive a loss of power.
    synced: AtomicU64,
    failed: AtomicBool,
    /// When the oldest unsynced entry was written.
    unsynced_since: Mutex<Option<Instant>>,
}

enum Work {
    /// Entries up to this number have been written to this file.
    Written {
        file: Arc<File>,
        until: u64,
    },
    Stop,
}

/// The open log.
#[derive(Debug)]
pub struct Log {
    folder: PathBuf,
    term: u64,
    file: Arc<File>,
    next: u64,
    written: u64,
    buffer: Vec<u8>,
    shared: Arc<Shared>,
    work: Sender<Work>,
    thread: Option<JoinHandle<()>>,
}

/// What opening found.
#[derive(Debug)]
pub struct Opened {
    pub log: Log,
    /// Every entry so far, for the fold.
    pub entries: Vec<Entry>,
    /// Bytes of a write that had been cut short, now gone. The caller records it.
    pub torn_bytes: u64,
}

/// Opens the log in `folder`, or makes one. Verifies every entry against its hash and the newest checkpoint; a write that
/// was cut short at the very end is cut off, anything else that is wrong refuses.
pub fn open(folder: &Path, verifier: Verifier, sign: Sign) -> Result<Opened, LogError> {
    for sub in ["segments", "seeds"] {
        let place = folder.join(sub);
        fs::create_dir_all(&place).map_err(at(&place))?;
    }
    let found = read(folder, &verifier)?;
    let term = found.seeds.keys().max().map_or(1, |term| term + 1);
    let seed = new_seed(folder, term)?;
    let next = found.entries.len() as u64;
    let file = Arc::new(segment_file(folder, next)?);
    let hashes_place = folder.join("hashes");
    let mut hashes = append_file(&hashes_place)?;
    if found.edge.size() > found.hashes {
        // The last run ended between a sync and its hashes.
        let missing = found.fresh.concat();
        hashes
            .write_all(&missing)
            .and_then(|()| hashes.sync_data())
            .map_err(at(&hashes_place))?;
    }
    let vkey = folder.join("vkey");
    fs::write(&vkey, format!("{}\n", verifier.text())).map_err(at(&vkey))?;
    let shared = Arc::new(Shared {
        synced: AtomicU64::new(next),
        failed: AtomicBool::new(false),
        unsynced_since: Mutex::new(None),
    });
    let (work, todo) = channel();
    let mut behind = Behind {
        folder: folder.to_owned(),
        edge: found.edge,
        seed,
        hashes,
        checkpoints: append_file(&folder.join("checkpoints"))?,
        verifier,
        sign,
        signed: found.signed,
        read_from: file.metadata().map_err(at(folder))?.len(),
        shared: Arc::clone(&shared),
    };
    let thread = std::thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || {
            if behind.run(&todo).is_err() {
                behind.shared.failed.store(true, Ordering::SeqCst);
            }
        })
        .map_err(at(folder))?;
    let log = Log {
        folder: folder.to_owned(),
        term,
        file,
        next,
        written: next,
        buffer: Vec::new(),
        shared,
        work,
        thread: Some(thread),
    };
    Ok(Opened {
        log,
        entries: found.entries,
        torn_bytes: found.torn_bytes,
    })
}

impl Log {
    /// Which run of the signer this is: entries carry it.
    #[must_use]
    pub fn term(&self) -> u64 {
        self.term
    }

    /// The number that the next entry gets.
    #[must_use]
    pub fn next(&self) -> EntryId {
        EntryId(self.next)
    }

    /// Entries that survive a loss of power.
    #[must_use]
    pub fn synced(&self) -> u64 {
        self.shared.synced.load(Ordering::SeqCst)
    }

    /// How long the oldest unsynced entry has waited.
    #[must_use]
    pub fn unsynced_for(&self) -> Duration {
        let since = self
            .shared
            .unsynced_since
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Queues an entry. Its term is set here.
    pub fn append<T>(&mut self, mut entry: Entry, approved: T) -> Result<Queued<T>, LogError> {
        if self.has_failed() {
            return Err(LogError::Ended);
        }
        entry.header.term = self.term;
        let bytes = entry.encode_whole().map_err(LogError::Entry)?;
        if self.next.is_multiple_of(SEGMENT_ENTRIES) && self.next > 0 {
            self.flush()?;
            self.file = Arc::new(segment_file(&self.folder, self.next)?);
        }
        let index = EntryId(self.next);
        segment::write_frame(&mut self.buffer, index, &bytes);
        self.next += 1;
        Ok(Queued {
            approved,
            entry: index,
        })
    }

    /// Writes everything queued, in one call. After an error the log is at its end.
    pub fn flush(&mut self) -> Result<(), LogError> {
        if self.has_failed() {
            return Err(LogError::Ended);
        }
        if self.buffer.is_empty() {
            return Ok(());
        }
        if let Err(error) = (&*self.file).write_all(&self.buffer) {
            self.shared.failed.store(true, Ordering::SeqCst);
            return Err(LogError::Io {
                place: self.folder.join("segments"),
                error,
            });
        }
        self.buffer.clear();
        self.written = self.next;
        let mut since = self
            .shared
            .unsynced_since
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        since.get_or_insert_with(Instant::now);
        drop(since);
        let work = Work::Written {
            file: Arc::clone(&self.file),
            until: self.written,
        };
        self.work.send(work).map_err(|_| LogError::Ended)
    }

    /// Turns a queued approval into a recorded one, if its entry has been written; gives it back otherwise.
    pub fn recorded<T>(&self, queued: Queued<T>) -> Result<Recorded<T>, Queued<T>> {
        match queued.entry.0 < self.written && !self.has_failed() {
            true => Ok(Recorded {
                approved: queued.approved,
                entry: queued.entry,
            }),
            false => Err(queued),
        }
    }

    /// A write or a sync failed: nothing more can be recorded.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.shared.failed.load(Ordering::SeqCst)
    }

    /// Writes, syncs, hashes and signs all there is.
    pub fn close(mut self) -> Result<(), LogError> {
        self.flush()?;
        let _ = self.work.send(Work::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        if self.has_failed() {
            Err(LogError::Ended)
        } else {
            Ok(())
        }
    }
}

/// The thread behind the log.
struct Behind {
    folder: PathBuf,
    edge: Edge,
    seed: Hash,
    hashes: File,
    checkpoints: File,
    verifier: Verifier,
    sign: Sign,
    /// Entries under the newest checkpoint.
    signed: u64,
    /// Where in the segment the next unhashed frame begins.
    read_from: u64,
    shared: Arc<Shared>,
}

impl Behind {
    fn run(&mut self, todo: &Receiver<Work>) -> Result<(), LogError> {
        let mut checkpoint_at = Instant::now() + CHECKPOINT_EVERY;
        loop {
            let work = match self.edge.size() > self.signed {
                // Something waits for its checkpoint.
                true => match todo
                    .recv_timeout(checkpoint_at.saturating_duration_since(Instant::now()))
                {
                    Ok(work) => Some(work),
                    Err(RecvTimeoutError::Timeout) => None,
                    Err(RecvTimeoutError::Disconnected) => Some(Work::Stop),
                },
                false => Some(todo.recv().unwrap_or(Work::Stop)),
            };
            let mut stop = false;
            if let Some(work) = work {
                // What arrives within the next moment shares the sync.
                let end = Instant::now() + SYNC_WITHIN;
                let mut work = Some(work);
                let mut batch: Vec<(Arc<File>, u64)> = Vec::new();
                while let Some(one) = work.take() {
                    match one {
                        Work::Stop => {
                            stop = true;
                            break;
                        }
                        Work::Written { file, until } => match batch.last_mut() {
                            Some((last, upto)) if Arc::ptr_eq(last, &file) => *upto = until,
                            _ => batch.push((file, until)),
                        },
                    }
                    work = todo
                        .recv_timeout(end.saturating_duration_since(Instant::now()))
                        .ok();
                }
                for (file, until) in batch {
                    self.settle(&file, until)?;
                }
            }
            if self.edge.size() > self.signed && (stop || Instant::now() >= checkpoint_at) {
                self.checkpoint()?;
                checkpoint_at = Instant::now() + CHECKPOINT_EVERY;
            }
            if stop {
                return Ok(());
            }
        }
    }

    /// Syncs a segment, then hashes what was synced, from the bytes as they are read back.
    fn settle(&mut self, file: &File, until: u64) -> Result<(), LogError> {
        let place = self.folder.join("segments");
        let begun = Instant::now();
        file.sync_data().map_err(at(&place))?;
        self.shared.synced.store(until, Ordering::SeqCst);
        let mut since = self
            .shared
            .unsynced_since
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        // What was written while the sync ran is not known to be in it.
        *since = since.filter(|since| *since > begun);
        drop(since);
        if self.edge.size().is_multiple_of(SEGMENT_ENTRIES)
            && self.edge.size() > 0
            && self.edge.size() < until
        {
            self.read_from = 0;
        }
        let length = file.metadata().map_err(at(&place))?.len();
        let mut bytes =
            vec![0; usize::try_from(length.saturating_sub(self.read_from)).unwrap_or(0)];
        file.read_exact_at(&mut bytes, self.read_from)
            .map_err(at(&place))?;
        let mut used = 0;
        let mut hashes = Vec::new();
        while self.edge.size() < until {
            let index = EntryId(self.edge.size());
            let Frame::Entry {
                bytes: entry,
                length,
            } = segment::read_frame(bytes.get(used..).unwrap_or_default(), index)
            else {
                return Err(LogError::Damage(Damage::Frame { entry: index }));
            };
            let (_, hash) =
                segment::check(index, entry, Some(&self.seed), None).map_err(LogError::Damage)?;
            used += length;
            hashes.extend_from_slice(&hash);
            self.edge.append(hash);
        }
        self.read_from += used as u64;
        self.hashes
            .write_all(&hashes)
            .map_err(at(&self.folder.join("hashes")))
    }

    fn checkpoint(&mut self) -> Result<(), LogError> {
        let place = self.folder.join("checkpoints");
        self.hashes.sync_data().map_err(at(&place))?;
        let checkpoint = Checkpoint {
            origin: self.verifier.name.clone(),
            size: self.edge.size(),
            root: self.edge.root(),
        };
        let signature = (self.sign)(checkpoint.text().as_bytes());
        let note = checkpoint.note(&self.verifier, &signature);
        let mut framed = u32::try_from(note.len())
            .unwrap_or(0)
            .to_be_bytes()
            .to_vec();
        framed.extend_from_slice(note.as_bytes());
        self.checkpoints
            .write_all(&framed)
            .and_then(|()| self.checkpoints.sync_data())
            .map_err(at(&place))?;
        replace(&self.folder, "checkpoint", note.as_bytes())?;
        self.signed = checkpoint.size;
        Ok(())
    }
}

/// What lies on the disk, checked.
struct Found {
    entries: Vec<Entry>,
    seeds: HashMap<u64, Hash>,
    edge: Edge,
    /// Hashes that were on the disk.
    hashes: u64,
    /// Those that were not.
    fresh: Vec<Hash>,
    signed: u64,
    torn_bytes: u64,
}

fn read(folder: &Path, verifier: &Verifier) -> Result<Found, LogError> {
    let seeds = read_seeds(folder)?;
    let hashes_place = folder.join("hashes");
    let mut hashes = read_or_empty(&hashes_place)?;
    // A write of hashes may have been cut short too.
    hashes.truncate(hashes.len() / 32 * 32);
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&hashes_place)
        .and_then(|file| file.set_len(hashes.len() as u64))
        .map_err(at(&hashes_place))?;
    let known = hashes.len() as u64 / 32;
    let signed = newest_checkpoint(folder, verifier)?;
    let mut found = Found {
        entries: Vec::new(),
        seeds,
        edge: Edge::default(),
        hashes: known,
        fresh: Vec::new(),
        signed: signed.as_ref().map_or(0, |checkpoint| checkpoint.size),
        torn_bytes: 0,
    };
    let mut root = None;
    loop {
        let first = EntryId(found.entries.len() as u64);
        let place = folder.join("segments").join(segment::segment_name(first));
        if !place.exists() {
            break;
        }
        let bytes = fs::read(&place).map_err(at(&place))?;
        let mut used = 0;
        loop {
            let index = EntryId(found.entries.len() as u64);
            let rest = bytes.get(used..).unwrap_or_default();
            match segment::read_frame(rest, index) {
                Frame::End => break,
                Frame::Entry {
                    bytes: entry,
                    length,
                } => {
                    let from = usize::try_from(index.0)
                        .unwrap_or(usize::MAX)
                        .saturating_mul(32);
                    let hash = hashes
                        .get(from..from.saturating_add(32))
                        .and_then(|b| Hash::try_from(b).ok());
                    let term = Entry::decode_whole(entry)
                        .map(|entry| entry.header.term)
                        .unwrap_or_default();
                    let (entry, hash_now) =
                        segment::check(index, entry, found.seeds.get(&term), hash.as_ref())
                            .map_err(LogError::Damage)?;
                    if hash.is_none() {
                        found.fresh.push(hash_now);
                    }
                    found.edge.append(hash_now);
                    found.entries.push(entry);
                    if found.edge.size() == found.signed {
                        root = Some(found.edge.root());
                    }
                    used += length;
                }
                Frame::Bad => {
                    let next = folder
                        .join("segments")
                        .join(segment::segment_name(EntryId(first.0 + SEGMENT_ENTRIES)));
                    if segment::has_later_frame(rest, index)
                        || next.exists()
                        || index.0 < known.max(found.signed)
                    {
                        return Err(LogError::Damage(Damage::Frame { entry: index }));
                    }
                    found.torn_bytes = rest.len() as u64;
                    OpenOptions::new()
                        .write(true)
                        .open(&place)
                        .and_then(|file| file.set_len(used as u64).and_then(|()| file.sync_all()))
                        .map_err(at(&place))?;
                    break;
                }
            }
        }
        if (found.entries.len() as u64) < first.0 + SEGMENT_ENTRIES {
            break;
        }
    }
    let entries = found.entries.len() as u64;
    if entries < known {
        return Err(LogError::Damage(Damage::Hashes {
            hashes: known,
            entries,
        }));
    }
    if entries < found.signed {
        return Err(LogError::Damage(Damage::Short {
            entries,
            signed: found.signed,
        }));
    }
    match signed {
        Some(checkpoint) if checkpoint.size > 0 && root != Some(checkpoint.root) => {
            Err(LogError::Damage(Damage::Root {
                from: EntryId(0),
                signed: checkpoint.size,
            }))
        }
        _ => Ok(found),
    }
}

fn newest_checkpoint(folder: &Path, verifier: &Verifier) -> Result<Option<Checkpoint>, LogError> {
    let place = folder.join("checkpoint");
    let bytes = read_or_empty(&place)?;
    if bytes.is_empty() {
        return Ok(None);
    }
    let note = String::from_utf8_lossy(&bytes);
    let checkpoint = Checkpoint::open(&note, verifier)
        .map_err(|why| LogError::Damage(Damage::Checkpoint { number: 0, why }))?;
    Ok(Some(checkpoint))
}

fn read_seeds(folder: &Path) -> Result<HashMap<u64, Hash>, LogError> {
    let place = folder.join("seeds");
    let mut seeds = HashMap::new();
    for file in fs::read_dir(&place).map_err(at(&place))? {
        let file = file.map_err(at(&place))?;
        let term = file.file_name().to_str().and_then(|name| name.parse().ok());
        let mut bytes = Vec::new();
        File::open(file.path())
            .and_then(|f| f.take(64).read_to_end(&mut bytes))
            .map_err(at(&file.path()))?;
        // A file of another length is a start that was cut short before it used its seed, or damage that the entries tell.
        if let (Some(term), Ok(seed)) = (term, Hash::try_from(bytes)) {
            seeds.insert(term, seed);
        }
    }
    Ok(seeds)
}

fn new_seed(folder: &Path, term: u64) -> Result<Hash, LogError> {
    let place = folder.join("seeds");
    let mut seed = [0; 32];
    rand::fill(&mut seed).map_err(|_| LogError::Io {
        place: place.clone(),
        error: io::Error::other("no randomness"),
    })?;
    replace(&place, &format!("{term:020}"), &seed)?;
    Ok(seed)
}

/// Writes a file whole or not at all: a new file, synced, renamed, and the folder synced.
fn replace(folder: &Path, name: &str, bytes: &[u8]) -> Result<(), LogError> {
    let (new, place) = (folder.join(format!("{name}.new")), folder.join(name));
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&new, &place)?;
        File::open(folder)?.sync_all()
    };
    write().map_err(at(&place))
}

fn segment_file(folder: &Path, next: u64) -> Result<File, LogError> {
    let folder = folder.join("segments");
    let place = folder.join(segment::segment_name(EntryId(next)));
    let file = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .open(&place)
        .map_err(at(&place))?;
    File::open(&folder)
        .and_then(|folder| folder.sync_all())
        .map_err(at(&folder))?;
    Ok(file)
}

fn append_file(place: &Path) -> Result<File, LogError> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(place)
        .map_err(at(place))
}

fn read_or_empty(place: &Path) -> Result<Vec<u8>, LogError> {
    match fs::read(place) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        other => other.map_err(at(place)),
    }
}

#[cfg(test)]
mod tests;
