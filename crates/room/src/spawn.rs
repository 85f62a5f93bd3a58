//! How `up` starts programs: with a control channel at descriptor 3, standard input from `/dev/null`, standard output
//! to a pipe, standard error as it is, no environment but a word to the allocator, and nothing else.
//!
//! A room does not die with the thread that started it; it ends when its control channel closes, so that it can end in
//! order. Names are not searched for: a program is given by its path.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use crate::clock::Monotonic;
use crate::control::{CONTROL_FD, UpControl, wait_until};
use crate::sys::{process, stream};

/// A turn holds what belongs to 64 requests at once, and glibc keeps seven freed pieces of a size at hand: with this many
/// the signer spends a fourteenth less. Other allocators ignore it.
const ALLOCATOR: (&str, &str) = ("GLIBC_TUNABLES", "glibc.malloc.tcache_count=512");

/// What a pipe of a link holds, where the kernel allows it; a smaller one works, with more turns.
pub const PIPE_BYTES: i32 = 1 << 20;

/// A program that `up` started. Dropping it leaves the program running.
pub struct Started {
    child: Child,
    /// Becomes readable when the program has ended.
    pidfd: OwnedFd,
}

impl Started {
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills it, whatever it does. No error if it has ended already.
    pub fn kill(&mut self) -> io::Result<()> {
        self.child.kill()
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Waits for its end; `None`: the time passed first.
    pub fn wait_within(&mut self, patience: Duration) -> io::Result<Option<ExitStatus>> {
        wait_until(&self.pidfd, false, Monotonic::now().after(patience))?;
        self.ended()
    }

    /// Waits `patience` for its end, then kills it.
    pub fn end_within(&mut self, patience: Duration) -> io::Result<ExitStatus> {
        if let Some(status) = self.wait_within(patience)? {
            return Ok(status);
        }
        self.kill()?;
        self.child.wait()
    }
}

impl AsFd for Started {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

/// How a program ended, in words for people.
#[must_use]
pub fn ending(status: ExitStatus) -> String {
    match status.signal() {
        Some(libc::SIGSYS) => {
            "killed for a system call outside its list: a bug of ours, or an intruder; the kernel's audit log (type=1326) \
             has the call's number"
                .to_owned()
        }
        _ => status.to_string(),
    }
}

/// A room, as `up` holds it.
pub struct Running {
    pub process: Started,
    pub control: UpControl,
    /// One JSON line for each event; blocking.
    pub events: OwnedFd,
}

/// Starts a room.
pub fn room<S: AsRef<OsStr>>(
    program: &Path,
    arguments: impl IntoIterator<Item = S>,
) -> io::Result<Running> {
    let (control, theirs) = UpControl::pair()?;
    let (process, events) = start(program, arguments, Stdio::null(), &[], Some(theirs))?;
    Ok(Running {
        process,
        control,
        events,
    })
}

/// Starts a program that has no control channel (`portcullis-unseal`); its standard output is the pipe that comes back.
pub fn helper<S: AsRef<OsStr>>(
    program: &Path,
    arguments: impl IntoIterator<Item = S>,
    input: Stdio,
    environment: &[(&str, &OsStr)],
) -> io::Result<(Started, OwnedFd)> {
    start(program, arguments, input, environment, None)
}

/// One pipe, to be read from and written to, with room for [`PIPE_BYTES`] if the kernel lets us.
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (from, to) = io::pipe()?;
    // Refused where a user has used up `pipe-user-pages-soft`; then it keeps the usual 64 KiB.
    let _ = stream::set_pipe_capacity(to.as_fd(), PIPE_BYTES);
    Ok((from.into(), to.into()))
}

/// One end of a link: what a room gets as `from` and `to`.
#[derive(Debug)]
pub struct LinkEnd {
    pub from: OwnedFd,
    pub to: OwnedFd,
}

/// Both ends of a new link between two rooms.
pub fn pipes() -> io::Result<(LinkEnd, LinkEnd)> {
    let (from_second, to_first) = pipe()?;
    let (from_first, to_second) = pipe()?;
    let first = LinkEnd {
        from: from_second,
        to: to_second,
    };
    let second = LinkEnd {
        from: from_first,
        to: to_first,
    };
    Ok((first, second))
}

fn start<S: AsRef<OsStr>>(
    program: &Path,
    arguments: impl IntoIterator<Item = S>,
    input: Stdio,
    environment: &[(&str, &OsStr)],
    control: Option<OwnedFd>,
) -> io::Result<(Started, OwnedFd)> {
    let (output, theirs) = io::pipe()?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .env(ALLOCATOR.0, ALLOCATOR.1)
        .envs(environment.iter().copied())
        .stdin(input)
        .stdout(theirs)
        .stderr(Stdio::inherit())
        // A group of its own: Ctrl-C at the terminal is for `up`, which ends the rooms in order.
        .process_group(0);
    // While this is open no number up to 3 is free, so the pipe by which the standard library reports a failed start
    // cannot get the number that the control channel is moved to.
    let places = occupy()?;
    let fds = control.iter().map(AsRawFd::as_raw_fd).collect();
    process::arrange_child(&mut command, CONTROL_FD, fds);
    let mut child = command.spawn()?;
    drop((command, places, control));
    match process::pidfd(child.id()) {
        Ok(pidfd) => Ok((Started { child, pidfd }, output.into())),
        Err(why) => {
            let _ = child.kill();
            let _ = child.wait();
            Err(why)
        }
    }
}

fn occupy() -> io::Result<Vec<File>> {
    let mut places = Vec::new();
    loop {
        let place = File::open("/dev/null")?;
        let above = place.as_raw_fd() > CONTROL_FD;
        places.push(place);
        if above {
            return Ok(places);
        }
    }
}
