//! The disk as the log uses it: segments that are appended to, how much is free, and a reserve. A test gives a disk that
//! fails.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Below this much free space only what needs the reserve is recorded: cancels, reducing orders, reads of orders and
/// positions, halts.
pub const FREE_BYTES_MIN: u64 = 32 << 20;
/// And above this everything is again.
pub const FREE_BYTES_AGAIN: u64 = 64 << 20;
/// Kept back in a file of its own, and given back when the disk is full because of others: some five thousand entries.
pub const RESERVE_BYTES: u64 = 4 << 20;

/// A segment that is open for appending.
pub trait Segment: Send + Sync {
    fn write(&self, bytes: &[u8]) -> io::Result<usize>;
    fn sync_data(&self) -> io::Result<()>;
    fn length(&self) -> io::Result<u64>;
    fn read_exact_at(&self, into: &mut [u8], at: u64) -> io::Result<()>;
}

/// Where segments lie.
pub trait Disk: Send + Sync {
    /// Opens a segment, or makes it, so that it is there after a loss of power.
    fn segment(&self, place: &Path) -> io::Result<Arc<dyn Segment>>;
    fn free_bytes(&self, folder: &Path) -> io::Result<u64>;
}

impl Segment for File {
    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut file = self;
        Write::write(&mut file, bytes)
    }

    fn sync_data(&self) -> io::Result<()> {
        File::sync_data(self)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_exact_at(&self, into: &mut [u8], at: u64) -> io::Result<()> {
        FileExt::read_exact_at(self, into, at)
    }
}

/// The real one.
pub struct FileSystem;

impl Disk for FileSystem {
    fn segment(&self, place: &Path) -> io::Result<Arc<dyn Segment>> {
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .open(place)?;
        if let Some(folder) = place.parent() {
            File::open(folder)?.sync_all()?;
        }
        Ok(Arc::new(file))
    }

    fn free_bytes(&self, folder: &Path) -> io::Result<u64> {
        portcullis_room::io::free_bytes(File::open(folder)?)
    }
}

/// Bytes that are ours whatever others write.
pub(super) struct Reserve {
    place: PathBuf,
    is_whole: bool,
}

impl Reserve {
    pub(super) fn new(folder: &Path) -> Self {
        let place = folder.join("reserve");
        Self {
            is_whole: fs::metadata(&place).is_ok_and(|data| data.len() == RESERVE_BYTES),
            place,
        }
    }

    /// Gives its bytes to whoever writes next. `false`: there are none.
    pub(super) fn give_back(&mut self) -> bool {
        std::mem::take(&mut self.is_whole) && fs::remove_file(&self.place).is_ok()
    }

    /// Takes it (again). `false`: the disk has no room for it.
    pub(super) fn make_whole(&mut self) -> bool {
        if self.is_whole {
            return true;
        }
        let write = || -> io::Result<()> {
            let mut file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&self.place)?;
            // Written, not only reserved: every file system takes that for real.
            let part = vec![0; 1 << 20];
            for _ in 0..RESERVE_BYTES >> 20 {
                file.write_all(&part)?;
            }
            file.sync_all()
        };
        self.is_whole = write().is_ok();
        if !self.is_whole {
            let _ = fs::remove_file(&self.place);
        }
        self.is_whole
    }
}
