//! The log on disk: the only file that writes entries and calls fsync.
//!
//! ```text
//! log/segments/00000000000000000000.seg   frames, 65,536 entries a file
//! log/seeds/TERM                          32 random bytes a run of the signer: salts of the commitments
//! log/hashes                              32 bytes an entry: the tree's leaves
//! log/checkpoints                         every signed checkpoint, each after its length (u32)
//! log/checkpoint                          the newest
//! log/vkey                                the key that signs them
//! log/reserve                             bytes given back when the disk is full
//! log/snapshots/INDEX                     the fold of the first entries, a cache
//! ```
//!
//! [`check`] verifies what is there and hands every entry to the fold; [`Checked::open`] takes the log key, and from then
//! on entries can be appended. [`Log::append`] only queues; [`Log::flush`] writes all that was queued in one call. Only a
//! written entry becomes [`Recorded`], and there is no other way to make one. Behind the caller's back one thread syncs,
//! reads back what it synced, hashes it, and signs checkpoints over synced entries alone. If a write or a sync fails the
//! log is at its end: nothing is tried again on pages that the kernel may have dropped; a new start verifies from disk.
//! The one exception is a disk that is full: the reserve is given back, once, and the write goes on where it stopped.
//!
//! Absent: deciding what an entry says, and keys (checkpoints are signed by a function that is handed in).

mod disk;
mod snapshot;

pub use disk::{Disk, FileSystem, Segment};
pub use snapshot::{Snapshot, usable as snapshots};

use aws_lc_rs::{hmac, rand};
use disk::Reserve;
use portcullis_model::decide::Space;
use portcullis_model::id::EntryId;
use portcullis_model::log::note::{Checkpoint, Verifier};
use portcullis_model::log::segment::{self, Damage, FRAME_HEAD_BYTES, Frame, SEGMENT_ENTRIES};
use portcullis_model::log::tree::Edge;
use portcullis_model::log::{ENTRY_BYTES_MAX, Entry, EntryError, Hash, own_hash, seed_key};
use portcullis_model::state::State;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A sync begins this long after the first unsynced entry; what comes in between shares it.
pub const SYNC_AFTER: Duration = Duration::from_millis(3);
/// A checkpoint is signed at most this often, and at an orderly stop.
pub const CHECKPOINT_EVERY: Duration = Duration::from_secs(1);
/// A start reads a segment in parts of this size.
const READ_BYTES: usize = 1 << 20;
/// Where a start looks for the end of the list of checkpoints: one has some two hundred bytes.
const CHECKPOINTS_TAIL_BYTES: u64 = 8 << 10;
/// Stack of the thread behind the log: all memory of the signer is locked, so stacks are not left at their default.
const STACK_BYTES: usize = 256 << 10;

/// Signs a checkpoint's or snapshot's text with the site's log key.
pub type Sign = Arc<dyn Fn(&[u8]) -> [u8; 64] + Send + Sync>;
/// Wakes the deciding thread.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

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
    /// The log key is not the one in `log/vkey`.
    OtherKey {
        there: String,
        ours: String,
    },
    /// The snapshot to begin with does not belong to this log: fold without it.
    Snapshot,
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
            Self::OtherKey { there, ours } => write!(
                f,
                "the log key belongs to `{ours}`, and log/vkey says `{there}`: one of the two was exchanged; restore it"
            ),
            Self::Snapshot => f.write_str("the snapshot does not belong to this log"),
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
            Self::Snapshot | Self::Ended | Self::OtherKey { .. } => None,
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

/// What the thread behind the log shares.
struct Shared {
    /// Entries written to the kernel.
    written: AtomicU64,
    /// Entries that survive a loss of power.
    synced: AtomicU64,
    /// Something was written since the thread last looked.
    dirty: AtomicBool,
    stop: AtomicBool,
    failed: AtomicBool,
    /// Why it failed, until it is told.
    why: Mutex<Option<LogError>>,
    /// The caller waits for this many entries to be synced; `u64::MAX`: for nothing.
    wanted: AtomicU64,
    /// When the oldest unsynced entry was written, microseconds after `base`; 0: all is synced.
    unsynced_since: AtomicU64,
    base: Instant,
    /// Only the reserve is left.
    is_short: AtomicBool,
    /// Segments that the thread has not come to.
    segments: Mutex<VecDeque<Arc<dyn Segment>>>,
    /// The next segment, opened ahead so that the caller need not wait for the disk.
    spare: Mutex<Option<(u64, Arc<dyn Segment>)>>,
    reserve: Mutex<Reserve>,
    /// A state to be kept once the tree is as far as it.
    snapshot: Mutex<Option<State>>,
    wake: Wake,
}

impl Shared {
    fn since_base(&self) -> u64 {
        u64::try_from(self.base.elapsed().as_micros())
            .unwrap_or(u64::MAX)
            .max(1)
    }

    /// Something is written and not synced since this moment, or an earlier one that is known already.
    fn unsynced_from(&self, since: u64) {
        let _ = self
            .unsynced_since
            .compare_exchange(0, since, Ordering::SeqCst, Ordering::SeqCst);
    }

    fn fail(&self, error: LogError) {
        let mut why = self.why.lock().unwrap_or_else(PoisonError::into_inner);
        why.get_or_insert(error);
        drop(why);
        self.failed.store(true, Ordering::SeqCst);
        (self.wake)();
    }

    /// Gives the reserve back to a full disk; `false`: it is gone already.
    fn give_back(&self) -> bool {
        self.is_short.store(true, Ordering::SeqCst);
        self.reserve
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .give_back()
    }

    /// Runs a write of a whole buffer, going on after a short one and, once, after a full disk.
    fn write_all(
        &self,
        mut bytes: &[u8],
        mut write: impl FnMut(&[u8]) -> io::Result<usize>,
    ) -> io::Result<()> {
        while !bytes.is_empty() {
            match write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_full(&error) && self.give_back() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// A log that was verified and cannot be appended to yet.
pub struct Checked {
    folder: PathBuf,
    verifier: Verifier,
    edge: Edge,
    term: u64,
    /// Hashes that were on the disk.
    hashes: u64,
    /// Those that were not.
    fresh: Vec<Hash>,
    signed: u64,
    /// Entries that a snapshot covers.
    after: u64,
    torn_bytes: u64,
}

/// The open log.
pub struct Log {
    folder: PathBuf,
    disk: Arc<dyn Disk>,
    term: u64,
    /// Size and root when it was opened.
    opened: (u64, Hash),
    file: Arc<dyn Segment>,
    next: u64,
    written: u64,
    buffer: Vec<u8>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// What opening found.
pub struct Opened {
    pub log: Log,
    /// Bytes of a write that had been cut short, now gone. The caller records it.
    pub torn_bytes: u64,
}

/// The key that `log/vkey` names; none before the first start.
pub fn verifier(folder: &Path) -> Result<Option<Verifier>, LogError> {
    let place = folder.join("vkey");
    let text = match fs::read_to_string(&place) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(at(&place))?,
    };
    match Verifier::parse(&text) {
        Some(verifier) => Ok(Some(verifier)),
        None => Err(LogError::Io {
            place,
            error: io::Error::other("this is no verifier key; restore it from a backup"),
        }),
    }
}

impl Checked {
    #[must_use]
    pub fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    /// Entries that were taken from a snapshot.
    #[must_use]
    pub fn after(&self) -> u64 {
        self.after
    }

    /// Entries so far.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.edge.size()
    }

    /// Begins a term: from here on entries can be appended. `sign` must be the key that the log was checked with.
    pub fn open(self, sign: Sign, disk: Arc<dyn Disk>, wake: Wake) -> Result<Opened, LogError> {
        let folder = self.folder;
        let term = self.term + 1;
        let seed = new_seed(&folder, term)?;
        let next = self.edge.size();
        let opened = (next, self.edge.root());
        let segments = folder.join("segments");
        let file = disk
            .segment(&segments.join(segment::segment_name(EntryId(next))))
            .map_err(at(&segments))?;
        let hashes_place = folder.join("hashes");
        let mut hashes = append_file(&hashes_place)?;
        if next > self.hashes {
            // The last run ended between a sync and its hashes.
            hashes
                .write_all(&self.fresh.concat())
                .and_then(|()| hashes.sync_data())
                .map_err(at(&hashes_place))?;
        }
        replace(
            &folder,
            "vkey",
            format!("{}\n", self.verifier.text()).as_bytes(),
        )?;
        let checkpoints = checkpoints(&folder, &self.verifier)?;
        let shared = Arc::new(Shared {
            written: AtomicU64::new(next),
            synced: AtomicU64::new(next),
            dirty: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            why: Mutex::new(None),
            wanted: AtomicU64::new(u64::MAX),
            unsynced_since: AtomicU64::new(0),
            base: Instant::now(),
            is_short: AtomicBool::new(false),
            segments: Mutex::new(VecDeque::new()),
            spare: Mutex::new(None),
            reserve: Mutex::new(Reserve::new(&folder)),
            snapshot: Mutex::new(None),
            wake,
        });
        let mut behind = Behind {
            read_from: file.length().map_err(at(&segments))?,
            file: Arc::clone(&file),
            folder: folder.clone(),
            disk: Arc::clone(&disk),
            edge: self.edge,
            seed: seed_key(&seed),
            hashes,
            checkpoints,
            verifier: self.verifier,
            sign,
            signed: self.signed,
            snapshot: None,
            writing: None,
            shared: Arc::clone(&shared),
        };
        behind.look_at_space(false);
        let thread = std::thread::Builder::new()
            .name("log".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || {
                if let Err(error) = behind.run() {
                    behind.shared.fail(error);
                }
            })
            .map_err(at(&folder))?;
        let log = Log {
            folder,
            disk,
            term,
            opened,
            file,
            next,
            written: next,
            buffer: Vec::new(),
            shared,
            thread: Some(thread),
        };
        Ok(Opened {
            log,
            torn_bytes: self.torn_bytes,
        })
    }
}

impl Log {
    /// Which run of the signer this is: entries carry it.
    #[must_use]
    pub fn term(&self) -> u64 {
        self.term
    }

    /// Entries and root of the tree when it was opened.
    #[must_use]
    pub fn opened(&self) -> (u64, Hash) {
        self.opened
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

    /// Asks to be woken when this entry is synced. Look at [`Log::synced`] after it: it may be so already.
    pub fn want_synced(&self, entry: EntryId) {
        self.shared.wanted.fetch_min(entry.0 + 1, Ordering::SeqCst);
    }

    /// How long the oldest unsynced entry has waited.
    #[must_use]
    pub fn unsynced_for(&self) -> Duration {
        match self.shared.unsynced_since.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            since => Duration::from_micros(self.shared.since_base().saturating_sub(since)),
        }
    }

    /// How much the disk still takes, as last seen.
    #[must_use]
    pub fn space(&self) -> Space {
        match self.shared.is_short.load(Ordering::Relaxed) {
            true => Space::ReserveOnly,
            false => Space::Plenty,
        }
    }

    /// Queues an entry. Its term is set here.
    pub fn append<T>(&mut self, mut entry: Entry, approved: T) -> Result<Queued<T>, LogError> {
        if self.has_failed() {
            return Err(self.ended());
        }
        entry.header.term = self.term;
        let bytes = entry.encode_whole().map_err(LogError::Entry)?;
        if self.next.is_multiple_of(SEGMENT_ENTRIES) && self.next > 0 {
            self.rotate()?;
        }
        let index = EntryId(self.next);
        segment::write_frame(&mut self.buffer, index, &bytes);
        self.next += 1;
        Ok(Queued {
            approved,
            entry: index,
        })
    }

    /// Goes on in the next segment, which is normally open already.
    fn rotate(&mut self) -> Result<(), LogError> {
        self.flush()?;
        let lock = |spare: &Mutex<Option<(u64, Arc<dyn Segment>)>>| {
            spare.lock().unwrap_or_else(PoisonError::into_inner).take()
        };
        self.file = match lock(&self.shared.spare) {
            Some((first, file)) if first == self.next => file,
            _ => {
                let folder = self.folder.join("segments");
                let place = folder.join(segment::segment_name(EntryId(self.next)));
                self.disk.segment(&place).map_err(at(&place))?
            }
        };
        let mut segments = self
            .shared
            .segments
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        segments.push_back(Arc::clone(&self.file));
        Ok(())
    }

    /// Writes everything queued, in one call. After an error the log is at its end.
    pub fn flush(&mut self) -> Result<(), LogError> {
        if self.has_failed() {
            return Err(self.ended());
        }
        if self.buffer.is_empty() {
            return Ok(());
        }
        let file = &self.file;
        if let Err(error) = self.shared.write_all(&self.buffer, |part| file.write(part)) {
            self.shared.failed.store(true, Ordering::SeqCst);
            return Err(LogError::Io {
                place: self.folder.join("segments"),
                error,
            });
        }
        self.buffer.clear();
        self.written = self.next;
        let shared = &self.shared;
        // Before the look at the moment: whoever forgets it there looks at this afterwards.
        shared.written.store(self.written, Ordering::SeqCst);
        shared.unsynced_from(shared.since_base());
        if !shared.dirty.swap(true, Ordering::SeqCst)
            && let Some(thread) = &self.thread
        {
            thread.thread().unpark();
        }
        Ok(())
    }

    /// Has this state kept as a snapshot. It must be the fold of every entry so far, queued ones included.
    pub fn snapshot(&self, state: &State) {
        if state.entries == self.next {
            let mut wanted = self
                .shared
                .snapshot
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            *wanted = Some(state.clone());
        }
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

    /// Why, the first time it is asked.
    fn ended(&self) -> LogError {
        let mut why = self
            .shared
            .why
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        why.take().unwrap_or(LogError::Ended)
    }

    /// Writes, syncs, hashes and signs all there is.
    pub fn close(mut self) -> Result<(), LogError> {
        self.flush()?;
        self.end();
        if self.has_failed() {
            Err(self.ended())
        } else {
            Ok(())
        }
    }

    fn end(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.end();
    }
}

/// The thread behind the log.
struct Behind {
    folder: PathBuf,
    disk: Arc<dyn Disk>,
    /// The segment that the next unhashed frame is in, and where it begins.
    file: Arc<dyn Segment>,
    read_from: u64,
    edge: Edge,
    seed: hmac::Key,
    hashes: File,
    checkpoints: File,
    verifier: Verifier,
    sign: Sign,
    /// Entries under the newest checkpoint.
    signed: u64,
    /// A state to be kept, and the root of its tree once that is known.
    snapshot: Option<(State, Option<Hash>)>,
    /// Writes one: large states take their time.
    writing: Option<JoinHandle<()>>,
    shared: Arc<Shared>,
}

impl Behind {
    fn run(&mut self) -> Result<(), LogError> {
        let mut checkpoint_at = Instant::now() + CHECKPOINT_EVERY;
        loop {
            // Sleeps while nothing is new; wakes by itself only for a checkpoint that is due.
            while !self.shared.dirty.load(Ordering::SeqCst)
                && !self.shared.stop.load(Ordering::SeqCst)
            {
                match self.edge.size() > self.signed {
                    true => {
                        let left = checkpoint_at.saturating_duration_since(Instant::now());
                        if left.is_zero() {
                            break;
                        }
                        std::thread::park_timeout(left);
                    }
                    false => std::thread::park(),
                }
            }
            // What arrives within the next moment shares the sync.
            let end = Instant::now() + SYNC_AFTER;
            while self.shared.dirty.load(Ordering::SeqCst)
                && !self.shared.stop.load(Ordering::SeqCst)
            {
                let left = end.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    break;
                }
                std::thread::park_timeout(left);
            }
            let stop = self.shared.stop.load(Ordering::SeqCst);
            self.shared.dirty.store(false, Ordering::SeqCst);
            self.take_snapshot();
            let written = self.shared.written.load(Ordering::SeqCst);
            self.settle(written)?;
            self.write_snapshot();
            if self.edge.size() > self.signed && (stop || Instant::now() >= checkpoint_at) {
                self.checkpoint()?;
                self.look_at_space(!stop);
                checkpoint_at = Instant::now() + CHECKPOINT_EVERY;
            }
            if stop {
                if let Some(writing) = self.writing.take() {
                    let _ = writing.join();
                }
                return Ok(());
            }
        }
    }

    /// Takes over a state to be kept. It was made before what was written since, so the tree is not beyond it.
    fn take_snapshot(&mut self) {
        let wanted = self
            .shared
            .snapshot
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(state) = wanted {
            let root = (state.entries == self.edge.size()).then(|| self.edge.root());
            self.snapshot = Some((state, root));
        }
    }

    /// Writes the snapshot whose root is known, beside. One that fails is left out: it is a cache.
    fn write_snapshot(&mut self) {
        if self
            .writing
            .as_ref()
            .is_some_and(|writing| !writing.is_finished())
        {
            return;
        }
        let Some((state, root)) = self
            .snapshot
            .take_if(|(_, root)| root.is_some())
            .and_then(|(state, root)| Some((state, root?)))
        else {
            return;
        };
        let folder = self.folder.clone();
        let (name, sign) = (self.verifier.name.clone(), Arc::clone(&self.sign));
        self.writing = std::thread::Builder::new()
            .name("snapshot".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || {
                let _ = snapshot::write(&folder, &name, root, &state, &sign);
            })
            .ok();
    }

    /// Syncs what was written, then hashes it from the bytes as they are read back.
    fn settle(&mut self, until: u64) -> Result<(), LogError> {
        while self.edge.size() < until {
            // One segment at a time.
            let end = (self.edge.size() / SEGMENT_ENTRIES + 1) * SEGMENT_ENTRIES;
            if self.edge.size().is_multiple_of(SEGMENT_ENTRIES) && self.edge.size() > 0 {
                let next = self
                    .shared
                    .segments
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .pop_front();
                if let Some(next) = next {
                    self.file = next;
                    self.read_from = 0;
                }
            }
            self.settle_segment(until.min(end))?;
        }
        Ok(())
    }

    fn settle_segment(&mut self, until: u64) -> Result<(), LogError> {
        let place = self.folder.join("segments");
        let begun = self.shared.since_base();
        self.file.sync_data().map_err(at(&place))?;
        self.shared.synced.store(until, Ordering::SeqCst);
        self.shared.unsynced_since.store(0, Ordering::SeqCst);
        // What was written while the sync ran is not known to be in it.
        if self.shared.written.load(Ordering::SeqCst) > until {
            self.shared.unsynced_from(begun);
        }
        if self.shared.wanted.load(Ordering::SeqCst) <= until {
            self.shared.wanted.store(u64::MAX, Ordering::SeqCst);
            (self.shared.wake)();
        }
        let length = self.file.length().map_err(at(&place))?;
        let mut bytes =
            vec![0; usize::try_from(length.saturating_sub(self.read_from)).unwrap_or(0)];
        self.file
            .read_exact_at(&mut bytes, self.read_from)
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
            let hash = own_hash(entry, index, &self.seed)
                .map_err(|why| LogError::Damage(Damage::Entry { entry: index, why }))?;
            used += length;
            hashes.extend_from_slice(&hash);
            self.edge.append(hash);
            if let Some((state, root)) = &mut self.snapshot
                && state.entries == self.edge.size()
            {
                *root = Some(self.edge.root());
            }
        }
        self.read_from += used as u64;
        let file = &mut self.hashes;
        self.shared
            .write_all(&hashes, |part| file.write(part))
            .map_err(at(&self.folder.join("hashes")))?;
        self.open_ahead()
    }

    /// Opens the next segment once this one is half full.
    fn open_ahead(&mut self) -> Result<(), LogError> {
        let size = self.edge.size();
        if size % SEGMENT_ENTRIES < SEGMENT_ENTRIES / 2 {
            return Ok(());
        }
        let next = (size / SEGMENT_ENTRIES + 1) * SEGMENT_ENTRIES;
        let is_there = |spare: &Option<(u64, Arc<dyn Segment>)>| {
            spare.as_ref().is_some_and(|(first, _)| *first == next)
        };
        let lock = || {
            self.shared
                .spare
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        };
        if is_there(&lock()) || self.shared.written.load(Ordering::SeqCst) >= next {
            return Ok(());
        }
        let place = self
            .folder
            .join("segments")
            .join(segment::segment_name(EntryId(next)));
        let file = self.disk.segment(&place).map_err(at(&place))?;
        *lock() = Some((next, file));
        Ok(())
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
        let file = &mut self.checkpoints;
        self.shared
            .write_all(&framed, |part| file.write(part))
            .and_then(|()| file.sync_data())
            .map_err(at(&place))?;
        let mut done = replace(&self.folder, "checkpoint", note.as_bytes());
        if let Err(LogError::Io { error, .. }) = &done
            && is_full(error)
            && self.shared.give_back()
        {
            done = replace(&self.folder, "checkpoint", note.as_bytes());
        }
        done?;
        self.signed = checkpoint.size;
        Ok(())
    }

    /// Whether orders that increase risk still find room; with room, and time for it, the reserve is made whole.
    fn look_at_space(&mut self, has_time: bool) {
        let Ok(free) = self.disk.free_bytes(&self.folder) else {
            return;
        };
        let was_short = self.shared.is_short.load(Ordering::SeqCst);
        let wanted = match was_short {
            true => disk::FREE_BYTES_AGAIN,
            false => disk::FREE_BYTES_MIN,
        };
        let mut is_short = free < wanted;
        if !is_short && has_time {
            let mut reserve = self
                .shared
                .reserve
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            is_short = !reserve.make_whole();
        }
        self.shared.is_short.store(is_short, Ordering::SeqCst);
        if is_short != was_short {
            (self.shared.wake)();
        }
    }
}

/// Verifies the log in `folder`, every entry against its hash and the newest checkpoint, and shows each entry to `visit`.
/// A folder without a log is one without entries. A write that was cut short at the very end is cut off; anything else
/// that is wrong refuses.
///
/// With `after`, the entries that a snapshot covers are taken as hashed, if the tree over them has its root.
pub fn check<E: From<LogError>>(
    folder: &Path,
    verifier: Verifier,
    after: Option<(u64, Hash)>,
    mut visit: impl FnMut(EntryId, Entry) -> Result<(), E>,
) -> Result<Checked, E> {
    for sub in ["segments", "seeds"] {
        let place = folder.join(sub);
        fs::create_dir_all(&place).map_err(at(&place))?;
    }
    let seeds = read_seeds(folder)?;
    let signed = newest_checkpoint(folder, &verifier)?;
    let covered = signed.as_ref().map_or(0, |checkpoint| checkpoint.size);
    let mut hashes = Hashes::open(folder, covered)?;
    let known = hashes.count;
    let mut found = Checked {
        folder: folder.to_owned(),
        term: seeds.keys().max().copied().unwrap_or(0),
        verifier,
        edge: Edge::default(),
        hashes: known,
        fresh: Vec::new(),
        signed: covered,
        after: after.map_or(0, |(index, _)| index),
        torn_bytes: 0,
    };
    let mut root = None;
    let mut add = |found: &mut Checked, hash: Hash| {
        found.edge.append(hash);
        if found.edge.size() == found.signed {
            root = Some(found.edge.root());
        }
    };
    let skipped = after.map_or(0, |(index, _)| index);
    while found.edge.size() < skipped {
        let hash = hashes.next()?.ok_or(LogError::Snapshot)?;
        add(&mut found, hash);
    }
    if after.is_some_and(|(_, root)| root != found.edge.root()) {
        return Err(LogError::Snapshot.into());
    }
    loop {
        let first = found.edge.size() / SEGMENT_ENTRIES * SEGMENT_ENTRIES;
        let place = folder
            .join("segments")
            .join(segment::segment_name(EntryId(first)));
        if !place.exists() {
            break;
        }
        let mut window = Window::open(&place)?;
        for index in first..found.edge.size() {
            match segment::read_frame(window.ahead()?, EntryId(index)) {
                Frame::Entry { length, .. } => window.used(length),
                Frame::End | Frame::Bad => return Err(LogError::Snapshot.into()),
            }
        }
        loop {
            let index = EntryId(found.edge.size());
            match segment::read_frame(window.ahead()?, index) {
                Frame::End => break,
                Frame::Entry {
                    bytes: entry,
                    length,
                } => {
                    let hash = hashes.next()?;
                    let (entry, hash_now) = segment::check(index, entry, &seeds, hash.as_ref())
                        .map_err(LogError::Damage)?;
                    if hash.is_none() {
                        found.fresh.push(hash_now);
                    }
                    visit(index, entry)?;
                    add(&mut found, hash_now);
                    window.used(length);
                }
                Frame::Bad => {
                    let next = folder
                        .join("segments")
                        .join(segment::segment_name(EntryId(first + SEGMENT_ENTRIES)));
                    // The next one may have been opened ahead.
                    let goes_on = fs::metadata(&next).is_ok_and(|data| data.len() > 0);
                    let position = window.position;
                    let rest = window.rest()?;
                    if segment::has_later_frame(rest, index)
                        || goes_on
                        || index.0 < known.max(found.signed)
                    {
                        return Err(LogError::Damage(Damage::Frame { entry: index }).into());
                    }
                    found.torn_bytes = rest.len() as u64;
                    OpenOptions::new()
                        .write(true)
                        .open(&place)
                        .and_then(|file| file.set_len(position).and_then(|()| file.sync_all()))
                        .map_err(at(&place))?;
                    break;
                }
            }
        }
        if found.edge.size() < first + SEGMENT_ENTRIES {
            break;
        }
    }
    let entries = found.edge.size();
    if entries < known {
        return Err(LogError::Damage(Damage::Hashes {
            hashes: known,
            entries,
        })
        .into());
    }
    if entries < found.signed {
        return Err(LogError::Damage(Damage::Short {
            entries,
            signed: found.signed,
        })
        .into());
    }
    match signed {
        Some(checkpoint) if checkpoint.size > 0 && root != Some(checkpoint.root) => {
            Err(LogError::Damage(Damage::Root {
                from: EntryId(0),
                signed: checkpoint.size,
            })
            .into())
        }
        _ => Ok(found),
    }
}

/// The tree's leaves as they were written down, one after the other.
struct Hashes {
    file: Option<BufReader<File>>,
    place: PathBuf,
    count: u64,
}

impl Hashes {
    /// `signed` of them were synced; what was never written down of the rest is cut off.
    fn open(folder: &Path, signed: u64) -> Result<Self, LogError> {
        let place = folder.join("hashes");
        let file = match OpenOptions::new().read(true).write(true).open(&place) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            other => Some(other.map_err(at(&place))?),
        };
        let mut count = 0;
        if let Some(mut file) = file.as_ref() {
            let length = file.metadata().map_err(at(&place))?.len();
            let synced = signed.min(length / 32);
            let mut tail = Vec::new();
            file.seek(SeekFrom::Start(synced * 32))
                .and_then(|_| file.read_to_end(&mut tail))
                .and_then(|_| file.rewind())
                .map_err(at(&place))?;
            count = segment::hashes_written(synced, &tail);
            if length != count * 32 {
                file.set_len(count * 32).map_err(at(&place))?;
            }
        }
        Ok(Self {
            file: file.map(BufReader::new),
            place,
            count,
        })
    }

    fn next(&mut self) -> Result<Option<Hash>, LogError> {
        let Some(file) = &mut self.file else {
            return Ok(None);
        };
        let mut hash = [0; 32];
        match file.read_exact(&mut hash) {
            Ok(()) => Ok(Some(hash)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(at(&self.place)(error)),
        }
    }
}

/// A segment as a start reads it: never whole in memory.
struct Window {
    file: File,
    place: PathBuf,
    buffer: Vec<u8>,
    at: usize,
    /// Where the unread frame begins in the file.
    position: u64,
    ended: bool,
}

impl Window {
    fn open(place: &Path) -> Result<Self, LogError> {
        Ok(Self {
            file: File::open(place).map_err(at(place))?,
            place: place.to_owned(),
            buffer: Vec::new(),
            at: 0,
            position: 0,
            ended: false,
        })
    }

    /// What comes next: at least a whole frame, unless the file ends.
    fn ahead(&mut self) -> Result<&[u8], LogError> {
        let enough = FRAME_HEAD_BYTES + ENTRY_BYTES_MAX;
        if !self.ended && self.buffer.len() - self.at < enough {
            self.read(READ_BYTES)?;
        }
        Ok(self.buffer.get(self.at..).unwrap_or_default())
    }

    /// All that is left.
    fn rest(&mut self) -> Result<&[u8], LogError> {
        while !self.ended {
            self.read(READ_BYTES)?;
        }
        Ok(self.buffer.get(self.at..).unwrap_or_default())
    }

    fn used(&mut self, bytes: usize) {
        self.at += bytes;
        self.position += bytes as u64;
    }

    fn read(&mut self, bytes: usize) -> Result<(), LogError> {
        self.buffer.drain(..self.at);
        self.at = 0;
        let count = (&self.file)
            .take(bytes as u64)
            .read_to_end(&mut self.buffer)
            .map_err(at(&self.place))?;
        self.ended = count == 0;
        Ok(())
    }
}

/// Opens the list of checkpoints for appending. A write that was cut short is cut off, or what is appended behind it could
/// not be read; the newest checkpoint is written by itself only after it stands here, so it says where the list is whole.
fn checkpoints(folder: &Path, verifier: &Verifier) -> Result<File, LogError> {
    let place = folder.join("checkpoints");
    let file = append_file(&place)?;
    let length = file.metadata().map_err(at(&place))?.len();
    let newest = read_or_empty(&folder.join("checkpoint"))?;
    let from = length.saturating_sub(CHECKPOINTS_TAIL_BYTES);
    let mut tail = Vec::new();
    File::open(&place)
        .and_then(|mut list| {
            list.seek(SeekFrom::Start(from))?;
            list.take(CHECKPOINTS_TAIL_BYTES).read_to_end(&mut tail)
        })
        .map_err(at(&place))?;
    let whole = match newest.is_empty() {
        // The first one may have been cut short; a longer list has lost its newest, and is left as it is.
        true if from > 0 => None,
        true => Some(0),
        false => tail
            .windows(newest.len())
            .rposition(|part| part == newest)
            .map(|at| at + newest.len()),
    };
    let Some(mut whole) = whole else {
        return Ok(file);
    };
    // Between the list and the file by itself there may be one more.
    while let Some((length, rest)) = tail
        .get(whole..)
        .and_then(|rest| rest.split_first_chunk::<4>())
    {
        let length = u32::from_be_bytes(*length) as usize;
        let is_note =
            |note: &[u8]| Checkpoint::open(&String::from_utf8_lossy(note), verifier).is_ok();
        if !rest.get(..length).is_some_and(is_note) {
            break;
        }
        whole += 4 + length;
    }
    if whole < tail.len() {
        let whole = from + u64::try_from(whole).unwrap_or(u64::MAX);
        file.set_len(whole)
            .and_then(|()| file.sync_all())
            .map_err(at(&place))?;
    }
    Ok(file)
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
