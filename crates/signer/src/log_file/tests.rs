use super::*;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use minicbor::bytes::ByteVec;
use portcullis_model::id::Timestamp;
use portcullis_model::log::Header;
use portcullis_model::log::tree::leaf_hash;
use std::sync::atomic::AtomicU32;

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::SeqCst);
        let path = std::env::temp_dir().join(format!("portcullis-log-{}-{n}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        Self(path)
    }

    fn copy(&self) -> Self {
        let to = Self::new();
        for sub in ["", "segments", "seeds"] {
            fs::create_dir_all(to.0.join(sub)).unwrap();
            for file in fs::read_dir(self.0.join(sub)).unwrap().map(Result::unwrap) {
                if file.file_type().unwrap().is_file() {
                    fs::copy(file.path(), to.0.join(sub).join(file.file_name())).unwrap();
                }
            }
        }
        to
    }

    fn segment(&self) -> PathBuf {
        self.0
            .join("segments")
            .join(segment::segment_name(EntryId(0)))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What a start finds.
struct Started {
    log: Log,
    entries: Vec<Entry>,
    torn_bytes: u64,
}

fn open_log(folder: &Folder) -> Result<Started, LogError> {
    open_on(folder, Arc::new(FileSystem))
}

fn open_on(folder: &Folder, disk: Arc<dyn Disk>) -> Result<Started, LogError> {
    let key = Ed25519KeyPair::from_seed_unchecked(&[5; 32]).unwrap();
    let public = key.public_key().as_ref().try_into().unwrap();
    let verifier = Verifier {
        name: "site.test".to_owned(),
        public,
    };
    let mut entries = Vec::new();
    let checked = check::<LogError>(&folder.0, verifier, None, |_, entry| {
        entries.push(entry);
        Ok(())
    })?;
    let sign: Sign = Arc::new(move |text| key.sign(text).as_ref().try_into().unwrap());
    let opened = checked.open(sign, disk, Arc::new(|| {}))?;
    Ok(Started {
        log: opened.log,
        entries,
        torn_bytes: opened.torn_bytes,
    })
}

fn entry(n: u64) -> Entry {
    Entry {
        header: Header {
            term: 0,
            at: Timestamp(n),
            kind: 1,
        },
        public: ByteVec::from(n.to_be_bytes().to_vec()),
        regulator: ByteVec::from(b"view".to_vec()),
        private: ByteVec::from(vec![7; (n % 50) as usize]),
    }
}

fn write(folder: &Folder, from: u64, count: u64) {
    let mut log = open_log(folder).unwrap().log;
    for n in from..from + count {
        let queued = log.append(entry(n), ()).unwrap();
        let queued = log.recorded(queued).unwrap_err();
        log.flush().unwrap();
        assert_eq!(log.recorded(queued).unwrap().entry(), EntryId(n));
    }
    log.close().unwrap();
}

#[test]
fn what_is_written_is_there_after_each_start() {
    let folder = Folder::new();
    for run in 0..4 {
        let opened = open_log(&folder).unwrap();
        assert_eq!(
            (
                opened.entries.len() as u64,
                opened.log.term(),
                opened.torn_bytes
            ),
            (run * 25, run + 1, 0)
        );
        for (n, found) in opened.entries.iter().enumerate() {
            assert_eq!(found.public, entry(n as u64).public);
        }
        opened.log.close().unwrap();
        // The start above used a term of its own.
        fs::remove_file(folder.0.join("seeds").join(format!("{:020}", run + 1))).unwrap();
        write(&folder, run * 25, 25);
    }
}

#[test]
fn a_tail_cut_at_any_byte_loses_only_the_unfinished_entry() {
    let folder = Folder::new();
    write(&folder, 0, 3);
    let signed = fs::metadata(folder.segment()).unwrap().len();
    // Two more entries, never hashed nor signed: as after a crash right behind the write.
    let mut frames = fs::read(folder.segment()).unwrap();
    for n in 3..5 {
        let mut next = entry(n);
        next.header.term = 1;
        segment::write_frame(&mut frames, EntryId(n), &next.encode_whole().unwrap());
    }
    let second = signed as usize + (frames.len() - signed as usize) / 2;
    for cut in signed as usize..=frames.len() {
        let copy = folder.copy();
        fs::write(copy.segment(), &frames[..cut]).unwrap();
        let opened = open_log(&copy).unwrap_or_else(|e| panic!("cut at {cut}: {e}"));
        let kept = opened.entries.len();
        assert!(
            (3..=5).contains(&kept) && (cut < frames.len() || kept == 5),
            "cut at {cut}: {kept}"
        );
        assert!(cut < second - 2 || kept >= 3);
        opened.log.close().unwrap();
        assert_eq!(open_log(&copy).unwrap().entries.len(), kept, "and again");
    }
}

#[test]
fn hashes_that_a_loss_of_power_left_as_zeros_are_made_again() {
    let folder = Folder::new();
    write(&folder, 0, 3);
    let seed = Hash::try_from(fs::read(folder.0.join("seeds").join(format!("{:020}", 1))).unwrap())
        .unwrap();
    // Five more entries, synced, hashed, and not under a checkpoint: the file of hashes has grown, and of its new bytes
    // only the first reached the disk.
    let mut frames = fs::read(folder.segment()).unwrap();
    let mut hashes = fs::read(folder.0.join("hashes")).unwrap();
    assert_eq!(hashes.len(), 3 * 32);
    for n in 3..8 {
        let mut next = entry(n);
        next.header.term = 1;
        segment::write_frame(&mut frames, EntryId(n), &next.encode_whole().unwrap());
        hashes.extend(leaf_hash(&next.leaf(EntryId(n), &seed)));
    }
    fs::write(folder.segment(), &frames).unwrap();
    for lost in 0..=5 {
        let copy = folder.copy();
        let mut found = hashes.clone();
        found[(8 - lost) * 32..].fill(0);
        fs::write(copy.0.join("hashes"), &found).unwrap();
        let opened = open_log(&copy).unwrap_or_else(|e| panic!("{lost} lost: {e}"));
        assert_eq!(opened.entries.len(), 8);
        opened.log.close().unwrap();
        assert_eq!(
            fs::read(copy.0.join("hashes")).unwrap(),
            hashes,
            "{lost} lost"
        );
    }
    // One that is another, or a zero below what was signed, is damage.
    for (at, with) in [(5 * 32, 1), (2 * 32, 0)] {
        let copy = folder.copy();
        let mut found = hashes.clone();
        found[at..at + 32].fill(with);
        fs::write(copy.0.join("hashes"), &found).unwrap();
        assert!(
            matches!(open_log(&copy), Err(LogError::Damage(_))),
            "at {at}"
        );
    }
}

#[test]
fn damage_in_a_tail_that_was_never_hashed_refuses_and_is_not_cut_off() {
    let folder = Folder::new();
    write(&folder, 0, 3);
    let mut frames = fs::read(folder.segment()).unwrap();
    let signed = frames.len();
    let mut last = signed;
    for n in 3..8 {
        last = frames.len();
        let mut next = entry(n);
        next.header.term = 1;
        segment::write_frame(&mut frames, EntryId(n), &next.encode_whole().unwrap());
    }
    for at in signed..last {
        let copy = folder.copy();
        let mut changed = frames.clone();
        changed[at] ^= 1 << (at % 8);
        fs::write(copy.segment(), &changed).unwrap();
        assert!(
            matches!(open_log(&copy), Err(LogError::Damage(Damage::Frame { .. }))),
            "byte {at}"
        );
        assert_eq!(fs::read(copy.segment()).unwrap(), changed, "byte {at}");
    }
}

#[test]
fn a_changed_bit_anywhere_refuses_and_is_never_cut_off() {
    let folder = Folder::new();
    write(&folder, 0, 12);
    let mut tried = 0;
    for place in ["segment", "hashes", "checkpoint", "seed"] {
        let file = |folder: &Folder| match place {
            "segment" => folder.segment(),
            "seed" => folder.0.join("seeds").join(format!("{:020}", 1)),
            other => folder.0.join(other),
        };
        let bytes = fs::read(file(&folder)).unwrap();
        for at in 0..bytes.len() {
            let copy = folder.copy();
            let mut changed = bytes.clone();
            changed[at] ^= 1 << (at % 8);
            fs::write(file(&copy), &changed).unwrap();
            assert!(
                matches!(open_log(&copy), Err(LogError::Damage(_))),
                "{place} byte {at}"
            );
            assert_eq!(
                fs::read(copy.segment()).unwrap().len(),
                fs::read(folder.segment()).unwrap().len()
            );
            tried += 1;
        }
    }
    assert!(tried > 1000, "{tried}");
}

#[test]
fn an_entry_and_its_hash_changed_together_are_refused() {
    let folder = Folder::new();
    write(&folder, 0, 12);
    let seed = Hash::try_from(fs::read(folder.0.join("seeds").join(format!("{:020}", 1))).unwrap())
        .unwrap();
    let mut frames = Vec::new();
    let mut hashes = Vec::new();
    for n in 0..12 {
        let mut forged = entry(if n == 7 { 70 } else { n });
        forged.header.term = 1;
        segment::write_frame(&mut frames, EntryId(n), &forged.encode_whole().unwrap());
        hashes.extend(portcullis_model::log::tree::leaf_hash(
            &forged.leaf(EntryId(n), &seed),
        ));
    }
    fs::write(folder.segment(), frames).unwrap();
    fs::write(folder.0.join("hashes"), hashes).unwrap();
    assert!(matches!(
        open_log(&folder),
        Err(LogError::Damage(Damage::Root { signed: 12, .. }))
    ));
}

#[test]
fn a_log_shorter_than_what_was_signed_is_refused() {
    let folder = Folder::new();
    write(&folder, 0, 12);
    let bytes = fs::read(folder.segment()).unwrap();
    fs::write(folder.segment(), &bytes[..bytes.len() / 2]).unwrap();
    assert!(matches!(open_log(&folder), Err(LogError::Damage(_))));
    fs::write(folder.segment(), b"").unwrap();
    assert!(matches!(open_log(&folder), Err(LogError::Damage(_))));
}

/// How many checkpoints the list holds; each must be whole and signed.
fn listed(folder: &Folder) -> usize {
    let key = Ed25519KeyPair::from_seed_unchecked(&[5; 32]).unwrap();
    let verifier = Verifier {
        name: "site.test".to_owned(),
        public: key.public_key().as_ref().try_into().unwrap(),
    };
    let list = fs::read(folder.0.join("checkpoints")).unwrap();
    let (mut rest, mut count) = (&list[..], 0);
    while let Some((length, after)) = rest.split_first_chunk() {
        let length = u32::from_be_bytes(*length) as usize;
        let note = std::str::from_utf8(&after[..length]).unwrap();
        Checkpoint::open(note, &verifier).unwrap();
        (rest, count) = (&after[length..], count + 1);
    }
    assert!(rest.is_empty());
    count
}

#[test]
fn a_list_of_checkpoints_that_was_cut_short_is_whole_after_the_next_start() {
    let folder = Folder::new();
    write(&folder, 0, 3);
    let (list, newest) = (folder.0.join("checkpoints"), folder.0.join("checkpoint"));
    let (first, note) = (fs::read(&list).unwrap(), fs::read(&newest).unwrap());
    write(&folder, 3, 3);
    let second = fs::read(&list).unwrap();
    assert_eq!(listed(&folder), 2);
    // The run ended while the second was appended, and before it was written by itself; or nothing was signed before.
    for (newest_note, from) in [(&note[..], first.len()), (&b""[..], 0)] {
        let tails = (from..second.len())
            .step_by(11)
            .map(|cut| second[..cut].to_vec());
        let zeros = [&second[..from], &[0; 200]].concat();
        for tail in tails.chain([zeros]) {
            let copy = folder.copy();
            fs::write(copy.0.join("checkpoint"), newest_note).unwrap();
            fs::write(copy.0.join("checkpoints"), &tail).unwrap();
            let before = usize::from(tail.len() >= first.len() && tail[..first.len()] == first);
            write(&copy, 6, 1);
            assert_eq!(listed(&copy), before + 1, "{} bytes", tail.len());
        }
    }
    let copy = folder.copy();
    fs::write(copy.0.join("checkpoint"), &note).unwrap();
    write(&copy, 6, 1);
    assert_eq!(listed(&copy), 3, "one that is whole stays");
}

#[test]
fn syncs_follow_and_checkpoints_cover_synced_entries() {
    let folder = Folder::new();
    let mut log = open_log(&folder).unwrap().log;
    for n in 0..2000 {
        let _ = log.append(entry(n), ()).unwrap();
        if n % 10 == 9 {
            log.flush().unwrap();
        }
    }
    let end = Instant::now() + Duration::from_secs(5);
    while log.synced() < 2000 {
        assert!(Instant::now() < end, "synced {}", log.synced());
        std::thread::sleep(Duration::from_millis(1));
    }
    log.close().unwrap();
    let note = fs::read_to_string(folder.0.join("checkpoint")).unwrap();
    assert_eq!(note.lines().nth(1), Some("2000"));
}

#[test]
fn a_segment_follows_the_one_before() {
    let folder = Folder::new();
    let mut log = open_log(&folder).unwrap().log;
    for n in 0..SEGMENT_ENTRIES + 10 {
        let _ = log.append(entry(n), ()).unwrap();
        if n % 1000 == 0 {
            log.flush().unwrap();
        }
    }
    log.close().unwrap();
    let opened = open_log(&folder).unwrap();
    assert_eq!(opened.entries.len() as u64, SEGMENT_ENTRIES + 10);
    assert!(
        folder
            .0
            .join("segments")
            .join(segment::segment_name(EntryId(SEGMENT_ENTRIES)))
            .exists()
    );
}

/// What goes wrong, from a moment on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fault {
    None,
    WriteFailsAndNothingIsWritten,
    WriteFailsAndAllIsWritten,
    WriteFailsAndHalfIsWritten,
    SyncFailsAndNothingIsSynced,
    SyncFailsAndAllIsSynced,
    /// No byte more, until the reserve is gone.
    Full,
    /// The reserve helps nobody.
    FullForGood,
}

struct Faults {
    fault: Mutex<Fault>,
    free: AtomicU64,
    reserve: PathBuf,
}

impl Faults {
    fn new(folder: &Folder) -> Arc<Self> {
        Arc::new(Self {
            fault: Mutex::new(Fault::None),
            free: AtomicU64::new(u64::MAX),
            reserve: folder.0.join("reserve"),
        })
    }

    fn now(&self, fault: Fault) {
        *self.fault.lock().unwrap() = fault;
    }
}

struct FaultyDisk(Arc<Faults>);
struct FaultySegment(Arc<dyn Segment>, Arc<Faults>);

impl Disk for FaultyDisk {
    fn segment(&self, place: &Path) -> io::Result<Arc<dyn Segment>> {
        let real = FileSystem.segment(place)?;
        Ok(Arc::new(FaultySegment(real, Arc::clone(&self.0))))
    }

    fn free_bytes(&self, _: &Path) -> io::Result<u64> {
        Ok(self.0.free.load(Ordering::SeqCst))
    }
}

impl Segment for FaultySegment {
    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let broken = || io::Error::from_raw_os_error(5);
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        match *self.1.fault.lock().unwrap() {
            Fault::WriteFailsAndNothingIsWritten => Err(broken()),
            Fault::WriteFailsAndAllIsWritten => {
                self.0.write(bytes)?;
                Err(broken())
            }
            Fault::WriteFailsAndHalfIsWritten => {
                self.0.write(&bytes[..bytes.len() / 2])?;
                Err(broken())
            }
            Fault::Full if self.1.reserve.exists() => match bytes.len() {
                0..40 => Err(full()),
                // Some of it still fits.
                _ => self.0.write(&bytes[..30]),
            },
            Fault::FullForGood => Err(full()),
            _ => self.0.write(bytes),
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        match *self.1.fault.lock().unwrap() {
            Fault::SyncFailsAndNothingIsSynced => Err(io::Error::from_raw_os_error(5)),
            Fault::SyncFailsAndAllIsSynced => {
                self.0.sync_data()?;
                Err(io::Error::from_raw_os_error(5))
            }
            _ => self.0.sync_data(),
        }
    }

    fn length(&self) -> io::Result<u64> {
        self.0.length()
    }

    fn read_exact_at(&self, into: &mut [u8], at: u64) -> io::Result<()> {
        self.0.read_exact_at(into, at)
    }
}

fn until(what: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !what() {
        assert!(Instant::now() < end);
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_failing_write_or_sync_ends_the_log_and_a_start_verifies_what_is_there() {
    for fault in [
        Fault::WriteFailsAndNothingIsWritten,
        Fault::WriteFailsAndAllIsWritten,
        Fault::WriteFailsAndHalfIsWritten,
        Fault::SyncFailsAndNothingIsSynced,
        Fault::SyncFailsAndAllIsSynced,
        Fault::FullForGood,
    ] {
        let folder = Folder::new();
        let faults = Faults::new(&folder);
        let mut log = open_on(&folder, Arc::new(FaultyDisk(Arc::clone(&faults))))
            .unwrap()
            .log;
        let mut recorded = 0;
        for n in 0..10 {
            let queued = log.append(entry(n), ()).unwrap();
            log.flush().unwrap();
            assert!(log.recorded(queued).is_ok());
            recorded += 1;
        }
        until(|| log.synced() == 10);
        faults.now(fault);
        let queued = log.append(entry(10), ()).unwrap();
        let synced_only = matches!(
            fault,
            Fault::SyncFailsAndNothingIsSynced | Fault::SyncFailsAndAllIsSynced
        );
        match log.flush() {
            Ok(()) => {
                assert!(synced_only, "{fault:?}");
                // Whether it was recorded before the sync failed is a matter of time.
                recorded += u64::from(log.recorded(queued).is_ok());
                until(|| log.has_failed());
            }
            Err(_) => {
                assert!(!synced_only, "{fault:?}");
                assert!(log.recorded(queued).is_err(), "{fault:?}");
            }
        }
        // It is over, also when the disk works again: nothing is tried on the same pages.
        faults.now(Fault::None);
        assert!(log.append(entry(11), ()).is_err() && log.flush().is_err());
        assert!(matches!(
            log.close(),
            Err(LogError::Ended | LogError::Io { .. })
        ));
        // A start finds every entry that was recorded, and at most the one that was not.
        let found = open_log(&folder).unwrap_or_else(|why| panic!("{fault:?}: {why}"));
        let count = found.entries.len() as u64;
        assert!((recorded..=11).contains(&count), "{fault:?}: {count}");
        found.log.close().unwrap();
        write_more(&folder, count);
    }
}

/// The log goes on where it is.
fn write_more(folder: &Folder, from: u64) {
    let mut log = open_log(folder).unwrap().log;
    assert_eq!(log.next(), EntryId(from));
    let queued = log.append(entry(from), ()).unwrap();
    log.flush().unwrap();
    assert!(log.recorded(queued).is_ok());
    log.close().unwrap();
    assert_eq!(open_log(folder).unwrap().entries.len() as u64, from + 1);
}

#[test]
fn a_full_disk_gets_the_reserve_once_and_only_what_needs_it_is_recorded_then() {
    let folder = Folder::new();
    let faults = Faults::new(&folder);
    let mut log = open_on(&folder, Arc::new(FaultyDisk(Arc::clone(&faults))))
        .unwrap()
        .log;
    assert_eq!(log.space(), Space::Plenty);
    let _ = log.append(entry(0), ()).unwrap();
    log.flush().unwrap();
    let bytes = || fs::metadata(&faults.reserve).map_or(0, |data| data.len());
    until(|| bytes() == disk::RESERVE_BYTES);
    // Made, synced, and the checkpoint behind it.
    std::thread::sleep(Duration::from_millis(50));
    for n in 1..100 {
        let _ = log.append(entry(n), ()).unwrap();
    }
    faults.now(Fault::Full);
    // The write stops in the middle of a frame, and goes on there.
    log.flush().unwrap();
    assert_eq!(log.space(), Space::ReserveOnly);
    assert!(!faults.reserve.exists());
    faults.free.store(disk::FREE_BYTES_MIN, Ordering::SeqCst);
    let _ = log.append(entry(100), ()).unwrap();
    log.flush().unwrap();
    let signed = || {
        let note = fs::read_to_string(folder.0.join("checkpoint")).unwrap();
        note.lines().nth(1).unwrap().to_owned()
    };
    until(|| signed() == "101");
    assert_eq!(log.space(), Space::ReserveOnly, "not yet enough to go on");
    // With room again the reserve is made whole, and everything passes.
    faults.now(Fault::None);
    faults.free.store(disk::FREE_BYTES_AGAIN, Ordering::SeqCst);
    let _ = log.append(entry(101), ()).unwrap();
    log.flush().unwrap();
    until(|| log.space() == Space::Plenty);
    assert!(faults.reserve.exists());
    log.close().unwrap();
    let found = open_log(&folder).unwrap();
    assert_eq!(found.entries.len(), 102);
}

#[test]
fn a_disk_that_fills_up_is_seen_before_it_is_full() {
    let folder = Folder::new();
    let faults = Faults::new(&folder);
    faults
        .free
        .store(disk::FREE_BYTES_MIN - 1, Ordering::SeqCst);
    let log = open_on(&folder, Arc::new(FaultyDisk(Arc::clone(&faults))))
        .unwrap()
        .log;
    assert_eq!(log.space(), Space::ReserveOnly);
    log.close().unwrap();
}

#[test]
fn the_caller_is_woken_for_the_entry_that_it_waits_for() {
    let folder = Folder::new();
    let key = Ed25519KeyPair::from_seed_unchecked(&[5; 32]).unwrap();
    let verifier = Verifier {
        name: "site.test".to_owned(),
        public: key.public_key().as_ref().try_into().unwrap(),
    };
    let (tell, woken) = std::sync::mpsc::channel();
    let checked = check::<LogError>(&folder.0, verifier, None, |_, _| Ok(())).unwrap();
    let sign: Sign = Arc::new(move |text| key.sign(text).as_ref().try_into().unwrap());
    let wake = Arc::new(move || {
        let _ = tell.send(());
    });
    let mut log = checked.open(sign, Arc::new(FileSystem), wake).unwrap().log;
    let _ = log.append(entry(0), ()).unwrap();
    log.want_synced(EntryId(0));
    log.flush().unwrap();
    woken.recv_timeout(Duration::from_secs(10)).unwrap();
    assert_eq!(log.synced(), 1);
    log.close().unwrap();
}

fn verifier_of(seed: u8) -> Verifier {
    let key = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
    Verifier {
        name: "site.test".to_owned(),
        public: key.public_key().as_ref().try_into().unwrap(),
    }
}

/// The fold of so many entries that change nothing but their number.
fn state_of(entries: u64) -> State {
    let mut state = State::default();
    for n in 0..entries {
        state.apply(EntryId(n), Timestamp(n), &[]);
    }
    state
}

/// A log of 60 entries, with snapshots of the first 20 and 40.
fn with_snapshots() -> Folder {
    let folder = Folder::new();
    let mut log = open_log(&folder).unwrap().log;
    for n in 0..60 {
        if n == 20 || n == 40 {
            // Before the turn is written, as well as behind it.
            if n == 40 {
                log.flush().unwrap();
                until(|| log.synced() == 40);
            }
            log.snapshot(&state_of(n));
            until(|| n == 20 || folder.0.join("snapshots").exists());
        }
        let _ = log.append(entry(n), ()).unwrap();
        if n == 25 {
            log.flush().unwrap();
            until(|| folder.0.join(format!("snapshots/{:020}", 20)).exists());
        }
    }
    log.flush().unwrap();
    until(|| folder.0.join(format!("snapshots/{:020}", 40)).exists());
    log.close().unwrap();
    folder
}

/// Entries that a start from this snapshot looks at.
fn visited(folder: &Folder, snapshot: &Snapshot) -> Result<Vec<u64>, LogError> {
    let mut seen = Vec::new();
    let after = Some((snapshot.index, snapshot.root));
    check(&folder.0, verifier_of(5), after, |index, _| {
        seen.push(index.0);
        Ok::<_, LogError>(())
    })?;
    Ok(seen)
}

#[test]
fn a_start_from_a_snapshot_looks_at_what_came_after_it() {
    let folder = with_snapshots();
    let verifier = verifier_of(5);
    let found: Vec<Snapshot> = snapshots(&folder.0, &verifier).collect();
    assert_eq!(
        found.iter().map(|one| one.index).collect::<Vec<_>>(),
        [40, 20]
    );
    for snapshot in &found {
        assert_eq!(snapshot.state, state_of(snapshot.index));
        let expected: Vec<u64> = (snapshot.index..60).collect();
        assert_eq!(visited(&folder, snapshot).unwrap(), expected);
    }
    // Entries after it are verified as ever.
    let mut frames = fs::read(folder.segment()).unwrap();
    let last = frames.len() - 3;
    frames[last] ^= 1;
    fs::write(folder.segment(), frames).unwrap();
    assert!(matches!(
        visited(&folder, &found[0]),
        Err(LogError::Damage(_))
    ));
}

#[test]
fn a_snapshot_that_was_altered_or_is_of_another_log_is_passed_over() {
    let folder = with_snapshots();
    let place = folder.0.join(format!("snapshots/{:020}", 40));
    let bytes = fs::read(&place).unwrap();
    for at in (0..bytes.len()).step_by(3) {
        let mut changed = bytes.clone();
        changed[at] ^= 1 << (at % 8);
        fs::write(&place, &changed).unwrap();
        let verifier = verifier_of(5);
        let best = snapshots(&folder.0, &verifier).next().unwrap();
        assert_eq!(best.index, 20, "byte {at}");
    }
    fs::write(&place, &bytes).unwrap();
    assert_eq!(snapshots(&folder.0, &verifier_of(6)).count(), 0);
    // A log of the same key with other salts, or one that is shorter.
    let other = Folder::new();
    write(&other, 0, 60);
    let verifier = verifier_of(5);
    for snapshot in snapshots(&folder.0, &verifier) {
        assert!(matches!(
            visited(&other, &snapshot),
            Err(LogError::Snapshot)
        ));
    }
    let short = Folder::new();
    write(&short, 0, 10);
    for snapshot in snapshots(&folder.0, &verifier) {
        assert!(matches!(
            visited(&short, &snapshot),
            Err(LogError::Snapshot)
        ));
    }
}
