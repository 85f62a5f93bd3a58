//! Memory for secrets: pages of their own, between guard pages.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr::NonNull;

use super::{checked, checked_long};

/// Readable and writable pages with an unreadable page on each side. Unmapped on drop; wiping is the owner's duty.
pub(crate) struct Pages {
    /// The first guard page.
    base: NonNull<u8>,
    /// Guard pages included.
    mapped: usize,
    usable: usize,
    page: usize,
}

#[expect(
    unsafe_code,
    reason = "the pages are owned memory, with no tie to a thread"
)]
// SAFETY: `Pages` owns its mapping alone, as a `Vec<u8>` owns its allocation.
unsafe impl Send for Pages {}

#[expect(
    unsafe_code,
    reason = "the pages are owned memory, with no inner mutability"
)]
// SAFETY: through `&Pages` the memory can only be read.
unsafe impl Sync for Pages {}

/// What lies behind the pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backing {
    /// `memfd_secret`: gone from the kernel's own map too.
    Hidden,
    /// Anonymous memory.
    Plain,
}

impl Pages {
    /// At least `length` bytes of zeros.
    #[expect(unsafe_code, reason = "mmap(2)")]
    pub(crate) fn map(length: usize, backing: Backing) -> io::Result<Pages> {
        let page = page_size();
        let usable = length
            .max(1)
            .checked_next_multiple_of(page)
            .ok_or(io::ErrorKind::InvalidInput)?;
        let mapped = usable
            .checked_add(2 * page)
            .ok_or(io::ErrorKind::InvalidInput)?;
        let hidden = match backing {
            Backing::Hidden => Some(memfd_secret(usable)?),
            Backing::Plain => None,
        };
        // SAFETY: asks for fresh memory at a place of the kernel's choice.
        let base = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                mapped,
                libc::PROT_NONE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        let base = if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        } else {
            NonNull::new(base.cast::<u8>()).ok_or(io::ErrorKind::OutOfMemory)?
        };
        // From here on the reservation is unmapped by drop, whatever follows.
        let pages = Pages {
            base,
            mapped,
            usable,
            page,
        };
        let (sharing, fd) = match &hidden {
            Some(fd) => (libc::MAP_SHARED, fd.as_raw_fd()),
            None => (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1),
        };
        // SAFETY: replaces the inner pages of the reservation just made, which nobody else uses.
        let inner = unsafe {
            libc::mmap(
                pages.start().cast(),
                usable,
                libc::PROT_READ | libc::PROT_WRITE,
                sharing | libc::MAP_FIXED,
                fd,
                0,
            )
        };
        if inner == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(pages)
    }

    pub(crate) fn usable(&self) -> usize {
        self.usable
    }

    #[expect(unsafe_code, reason = "a view of owned memory")]
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: `usable` bytes from `start` are mapped, readable and initialised (the kernel gives zeros) until
        // drop, and nobody writes them while this borrow lasts.
        unsafe { std::slice::from_raw_parts(self.start(), self.usable) }
    }

    #[expect(unsafe_code, reason = "a view of owned memory")]
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`, and `&mut self` makes this the only view.
        unsafe { std::slice::from_raw_parts_mut(self.start(), self.usable) }
    }

    /// Keeps the pages out of swap. Fails where `RLIMIT_MEMLOCK` is used up.
    #[expect(unsafe_code, reason = "mlock(2)")]
    pub(crate) fn lock(&self) -> io::Result<()> {
        // SAFETY: the range is ours and mapped; contents do not change.
        checked(unsafe { libc::mlock(self.start().cast(), self.usable) })?;
        Ok(())
    }

    /// `MADV_DONTDUMP`, `MADV_WIPEONFORK` or `MADV_DONTFORK`.
    pub(crate) fn keep_out_of_dumps(&self) -> io::Result<()> {
        self.advise(libc::MADV_DONTDUMP)
    }

    pub(crate) fn wipe_in_children(&self) -> io::Result<()> {
        self.advise(libc::MADV_WIPEONFORK)
    }

    pub(crate) fn withhold_from_children(&self) -> io::Result<()> {
        self.advise(libc::MADV_DONTFORK)
    }

    #[expect(unsafe_code, reason = "madvise(2)")]
    fn advise(&self, advice: libc::c_int) -> io::Result<()> {
        // SAFETY: the range is ours and mapped. The three advices that reach this change what dumps and children
        // see, never what this process reads.
        checked(unsafe { libc::madvise(self.start().cast(), self.usable, advice) })?;
        Ok(())
    }

    fn start(&self) -> *mut u8 {
        self.base.as_ptr().wrapping_add(self.page)
    }
}

impl Drop for Pages {
    #[expect(unsafe_code, reason = "munmap(2)")]
    fn drop(&mut self) {
        // SAFETY: exactly the range that `map` reserved, and every borrow of it has ended.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.mapped) };
    }
}

#[expect(unsafe_code, reason = "memfd_secret(2) and ftruncate(2)")]
fn memfd_secret(length: usize) -> io::Result<OwnedFd> {
    // SAFETY: takes and returns integers only.
    let raw = checked_long(unsafe {
        libc::syscall(
            libc::SYS_memfd_secret,
            libc::c_ulong::from(libc::O_CLOEXEC.unsigned_abs()),
        )
    })?;
    let raw = RawFd::try_from(raw).map_err(|_| io::ErrorKind::InvalidData)?;
    // SAFETY: the kernel has just made this descriptor for us, and nobody else knows its number.
    let fd = unsafe { OwnedFd::from_raw_fd(raw) };
    let length = libc::off_t::try_from(length).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: takes and returns integers only.
    checked(unsafe { libc::ftruncate(fd.as_raw_fd(), length) })?;
    Ok(fd)
}

#[expect(unsafe_code, reason = "sysconf(3)")]
fn page_size() -> usize {
    // SAFETY: takes and returns integers only.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).unwrap_or(4096).max(4096)
}
