//! Which system calls a room may make, each with its reason. A call that is not here for a room kills it.
//!
//! Absent for every room, and so deadly: `execve`, `fork`, `ptrace`, `process_vm_*`, `bpf`, `perf_event_open`, `io_uring_*`,
//! `keyctl`, `userfaultfd`, `mount` and its kin, `setns`, `unshare`, `prctl` but for a thread's name, `bind`, `listen`,
//! `sendmsg` (so a room cannot pass a descriptor on), `kill`, and executable memory.
//!
//! `docs/spec/sandbox.md` has this table for readers; a test keeps the two equal.

use super::Room;

/// One call, as one or more rooms may make it.
pub(super) struct Call {
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "for readers, and the test of the document")
    )]
    pub(super) name: &'static str,
    pub(super) number: u32,
    pub(super) rooms: &'static [Who],
    pub(super) pass: Pass,
    /// Which arguments pass, in words; empty if all do.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "for readers, and the test of the document")
    )]
    pub(super) limits: &'static str,
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "for readers, and the test of the document")
    )]
    pub(super) why: &'static str,
}

/// A room without its places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    Ingress,
    Signer,
    Egress,
    Unseal,
}

pub(super) enum Pass {
    Any,
    /// If all tests hold.
    If(&'static [Test<'static>]),
    /// If the first argument is our own process.
    IfOurProcess,
    /// Never, but with this error instead of the end: whoever tries it in good faith does without.
    Fails(i32),
}

/// An argument, under a mask, is one of these.
pub(super) struct Test<'a> {
    pub(super) argument: u32,
    pub(super) mask: u32,
    pub(super) values: &'a [u32],
}

/// The calls of one room.
pub(super) fn of(room: &Room) -> Vec<&'static Call> {
    let who = match room {
        Room::Ingress => Who::Ingress,
        Room::Signer { .. } => Who::Signer,
        Room::Egress => Who::Egress,
        Room::Unseal { .. } => Who::Unseal,
    };
    CALLS
        .iter()
        .filter(|call| call.rooms.contains(&who))
        .collect()
}

use Who::{Egress, Ingress, Signer, Unseal};

const ALL: &[Who] = &[Ingress, Signer, Egress, Unseal];
/// Those with a loop and links.
const ROOMS: &[Who] = &[Ingress, Signer, Egress];
const NETWORK: &[Who] = &[Ingress, Egress];
const FILES: &[Who] = &[Signer, Unseal];
const SIGNER: &[Who] = &[Signer];

macro_rules! call {
    ($call:ident, $rooms:expr, $why:expr) => {
        call!($call, $rooms, Pass::Any, "", $why)
    };
    ($call:ident, $rooms:expr, $pass:expr, $limits:expr, $why:expr) => {
        Call {
            // `SYS_` is cut off where it is shown.
            name: stringify!($call),
            number: libc::$call as u32,
            rooms: $rooms,
            pass: $pass,
            limits: $limits,
            why: $why,
        }
    };
}

const fn is(argument: u32, values: &'static [u32]) -> Test<'static> {
    Test {
        argument,
        mask: u32::MAX,
        values,
    }
}

const fn lacks(argument: u32, bits: u32) -> Test<'static> {
    Test {
        argument,
        mask: bits,
        values: &[0],
    }
}

/// Flags of a thread as glibc and musl start it; no flag that makes a namespace or a process fits beside them.
const THREAD: u32 = (libc::CLONE_VM
    | libc::CLONE_FS
    | libc::CLONE_FILES
    | libc::CLONE_SIGHAND
    | libc::CLONE_THREAD) as u32;
const THREAD_MAY: u32 = (libc::CLONE_SYSVSEM
    | libc::CLONE_SETTLS
    | libc::CLONE_PARENT_SETTID
    | libc::CLONE_CHILD_CLEARTID
    | libc::CLONE_DETACHED) as u32;

const SOCKET_KIND: u32 = !(libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK) as u32;

#[rustfmt::skip]
pub(super) static CALLS: &[Call] = &[
    // Bytes through descriptors that the room has.
    call!(SYS_read, ALL, "links, control channel, timer, wake-ups, files"),
    call!(SYS_write, ALL, "links, control channel, wake-ups, files; lines on standard output and standard error"),
    call!(SYS_close, ALL, "connections, links and files that are done with"),
    call!(SYS_recvmsg, ROOMS, "control channel: messages of `up` with descriptors"),
    call!(SYS_fcntl, ALL,
        Pass::If(&[is(1, &[libc::F_GETFD as u32, libc::F_SETFD as u32, libc::F_GETFL as u32, libc::F_SETFL as u32, libc::F_DUPFD_CLOEXEC as u32])]),
        "flags, and copies that close at a start", "makes new links non-blocking; the standard library checks what it closes"),

    // The loop.
    #[cfg(target_arch = "x86_64")]
    call!(SYS_epoll_wait, ROOMS, "the one wait of the loop"),
    call!(SYS_epoll_pwait, ROOMS, "the same where libc calls it so"),
    call!(SYS_epoll_ctl, ROOMS, "what the loop waits for"),
    call!(SYS_epoll_create1, ROOMS, "the loop's set"),
    call!(SYS_eventfd2, ROOMS, "wake-ups by helper threads"),
    call!(SYS_timerfd_create, ROOMS, "the loop's timer"),
    call!(SYS_timerfd_settime, ROOMS, "the loop's timer"),
    #[cfg(target_arch = "x86_64")]
    call!(SYS_poll, ROOMS, "waits for one message where there is no loop"),
    call!(SYS_ppoll, ROOMS, "the same where libc calls it so"),

    // Memory. None of it becomes executable.
    call!(SYS_mmap, ALL, Pass::If(&[lacks(2, libc::PROT_EXEC as u32)]), "not executable", "allocator, thread stacks"),
    call!(SYS_mprotect, ALL, Pass::If(&[lacks(2, libc::PROT_EXEC as u32)]), "not executable", "allocator, guard pages"),
    call!(SYS_munmap, ALL, "allocator"),
    call!(SYS_mremap, ALL, "allocator"),
    call!(SYS_brk, ALL, "allocator"),
    call!(SYS_madvise, ALL,
        Pass::If(&[is(2, &[libc::MADV_DONTNEED as u32, libc::MADV_FREE as u32, libc::MADV_WIPEONFORK as u32, libc::MADV_DONTDUMP as u32, libc::MADV_HUGEPAGE as u32, libc::MADV_NOHUGEPAGE as u32, u32::MAX])]),
        "give back, wipe on fork, not dumped, page size, none", "allocator; a thread's stack at its end; random number state, which first asks for an advice that no kernel knows"),

    // Time and chance.
    call!(SYS_clock_gettime, ALL, "the clocks, where the machine's clock cannot be read without a call"),
    call!(SYS_clock_nanosleep, ALL, "sleeps of helper threads"),
    call!(SYS_nanosleep, ALL, "the same where libc calls it so"),
    call!(SYS_getrandom, ALL, "seeds of hash tables, TLS and random numbers"),

    // One process, its threads and its end.
    call!(SYS_futex, ALL, "locks"),
    call!(SYS_sched_yield, ALL, "locks"),
    call!(SYS_restart_syscall, ALL, "the kernel, after a stop"),
    call!(SYS_getpid, ALL, "abort"),
    call!(SYS_gettid, ALL, "abort; the text of a panic"),
    call!(SYS_tgkill, ALL, Pass::IfOurProcess, "own process", "abort"),
    call!(SYS_rt_sigprocmask, ALL, "abort; the start and end of a thread"),
    call!(SYS_rt_sigaction, ALL, "abort; what the standard library says about a stack overflow"),
    call!(SYS_rt_sigreturn, ALL, "back from the standard library's handler of a stack overflow"),
    call!(SYS_sigaltstack, ALL, "that handler's stack, at the start and end of a thread"),
    call!(SYS_exit, ALL, "the end of a thread"),
    call!(SYS_exit_group, ALL, "the end"),

    // Helper threads: fsync, RSA, tree, policies.
    call!(SYS_clone, SIGNER,
        Pass::If(&[Test { argument: 0, mask: !THREAD_MAY, values: &[THREAD] }]),
        "threads", "helper threads"),
    call!(SYS_clone3, SIGNER, Pass::Fails(libc::ENOSYS), "fails: ENOSYS",
        "its flags lie in memory, where a filter cannot see them; libc then takes `clone`"),
    call!(SYS_set_robust_list, SIGNER, "the start of a thread"),
    call!(SYS_rseq, SIGNER, "the start of a thread"),
    call!(SYS_sched_getaffinity, SIGNER, "the start of a thread; how many helpers to start"),
    call!(SYS_sched_setaffinity, SIGNER, Pass::If(&[is(0, &[0])]), "own thread", "helpers leave the loop's core"),
    call!(SYS_prctl, SIGNER, Pass::If(&[is(0, &[libc::PR_SET_NAME as u32])]), "PR_SET_NAME", "a thread's name"),

    // Connections that the room was given, or accepted.
    call!(SYS_accept4, &[Ingress, Signer], "programs on the given listeners; operators on theirs"),
    call!(SYS_recvfrom, ROOMS, "connections"),
    call!(SYS_sendto, ROOMS, "connections"),
    call!(SYS_readv, NETWORK, "connections"),
    call!(SYS_writev, NETWORK, "connections: TLS records in one call"),
    call!(SYS_shutdown, ROOMS, "the end of an answer"),
    call!(SYS_getsockname, NETWORK, "where a listener listens"),
    call!(SYS_getpeername, NETWORK, "who is at the other end"),
    call!(SYS_getsockopt, ROOMS, Pass::If(&[is(1, &[libc::SOL_SOCKET as u32])]), "SOL_SOCKET",
        "how a connection failed; which user an operator is"),
    call!(SYS_setsockopt, NETWORK,
        Pass::If(&[is(1, &[libc::IPPROTO_TCP as u32]), is(2, &[libc::TCP_NODELAY as u32, libc::TCP_QUICKACK as u32, libc::TCP_USER_TIMEOUT as u32, libc::TCP_KEEPIDLE as u32, libc::TCP_KEEPINTVL as u32, libc::TCP_KEEPCNT as u32, libc::TCP_NOTSENT_LOWAT as u32])]),
        "TCP: no delay, acknowledgement, time-outs", "small segments at once; dead peers are noticed"),
    call!(SYS_setsockopt, NETWORK,
        Pass::If(&[is(1, &[libc::SOL_SOCKET as u32]), is(2, &[libc::SO_KEEPALIVE as u32, libc::SO_LINGER as u32, libc::SO_RCVBUF as u32, libc::SO_SNDBUF as u32])]),
        "keep-alive, linger, buffers", "dead peers are noticed; bounded buffers"),
    call!(SYS_ioctl, ROOMS, Pass::If(&[is(1, &[libc::FIONBIO as u32])]), "FIONBIO",
        "the standard library's way to make a connection non-blocking"),

    // The way to the exchanges.
    call!(SYS_socket, &[Egress],
        Pass::If(&[is(0, &[libc::AF_INET as u32, libc::AF_INET6 as u32]), Test { argument: 1, mask: SOCKET_KIND, values: &[libc::SOCK_STREAM as u32] }, is(2, &[0, libc::IPPROTO_TCP as u32])]),
        "TCP over IPv4 or IPv6", "connections to the exchanges"),
    call!(SYS_connect, &[Egress], "connections to the exchanges"),

    // Files: the log and releases, or what is unsealed. Landlock says which.
    call!(SYS_openat, FILES, "log segments, hashes, checkpoints, releases; sealed files"),
    call!(SYS_pread64, FILES, "what was synced is read back"),
    call!(SYS_lseek, FILES, "where a file ends"),
    call!(SYS_fstat, FILES, "how long a file is; what standard output is"),
    call!(SYS_newfstatat, FILES, "the same where libc calls it so"),
    call!(SYS_statx, FILES, "the same where the standard library calls it so"),
    call!(SYS_fsync, FILES, "what moves value is on the disk before it is released"),
    call!(SYS_fdatasync, FILES, "the same for what a file holds"),
    call!(SYS_unlinkat, FILES, "releases and files left half written"),
    #[cfg(target_arch = "x86_64")]
    call!(SYS_unlink, FILES, "the same where libc calls it so"),
    call!(SYS_fstatfs, SIGNER, "how much room the disk has"),
    call!(SYS_ftruncate, SIGNER, "a torn tail behind the last hash"),
    call!(SYS_mkdirat, SIGNER, "a release's folder"),
    #[cfg(target_arch = "x86_64")]
    call!(SYS_mkdir, SIGNER, "the same where libc calls it so"),
    #[cfg(target_arch = "x86_64")]
    call!(SYS_rmdir, SIGNER, "a release left half written"),
    call!(SYS_renameat2, SIGNER, "checkpoints and releases are replaced whole"),
    call!(SYS_renameat, SIGNER, "the same where libc calls it so"),
    #[cfg(target_arch = "x86_64")]
    call!(SYS_rename, SIGNER, "the same where libc calls it so"),
    call!(SYS_getdents64, FILES, "which segments and releases there are"),
    call!(SYS_flock, SIGNER, "one signer a site"),
    call!(SYS_fstatfs, SIGNER, "how much room the disk has: below a bound only what lowers risk is recorded"),

    // Tried in good faith on the way of a panic or by a library at its start; both do without.
    call!(SYS_openat, NETWORK, Pass::Fails(libc::EACCES), "fails: EACCES", "a panic's backtrace looks for the program's file; no room on the network opens one"),
    call!(SYS_newfstatat, NETWORK, Pass::Fails(libc::EACCES), "fails: EACCES", "the random number generator looks for a device that tells it of a copied machine, and takes fresh randomness instead"),
    #[cfg(target_arch = "x86_64")]
    call!(SYS_open, ALL, Pass::Fails(libc::EACCES), "fails: EACCES", "the same where a library calls it so"),
    #[cfg(target_arch = "x86_64")]
    call!(SYS_readlink, ALL, Pass::Fails(libc::EACCES), "fails: EACCES", "a panic's backtrace asks for the program's path"),
    call!(SYS_readlinkat, ALL, Pass::Fails(libc::EACCES), "fails: EACCES", "the same where libc calls it so"),
    call!(SYS_getcwd, ALL, Pass::Fails(libc::EACCES), "fails: EACCES", "a panic's backtrace shortens paths"),
];
