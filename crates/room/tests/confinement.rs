//! What an attacker with code execution in a room may try, and what the room itself must still be able to do.
//!
//! Each attempt is a process of its own: this program starts itself again, confines itself as one of the rooms, and
//! tries. As root it runs everything twice, the second time as an ordinary user.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests state what must hold"
)]

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, PipeReader, Read, Seek, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use portcullis_room::confine::{Measure, Operators, Require, Room, SandboxReport, confine};
use portcullis_room::control::{Control, Descriptors, FromRoom, Peer, Received, ToRoom, UpControl};
use portcullis_room::link::Link;
use portcullis_room::poll::{Interest, Poll, Token, Trigger, Waker};
use portcullis_room::{BUILD_ID, clock, io as room_io, schedule, spawn};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};

const SOON: Duration = Duration::from_secs(20);
/// Whom the second run is.
const SOMEBODY: u32 = 54_321;
const ROOMS: [&str; 4] = ["ingress", "signer", "egress", "unseal"];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["as-attacker", room, attack, site, parent, port] => {
            return attacker(room, attack, Path::new(site), parent, port);
        }
        ["as-witness", room, site, require] => return witness(room, Path::new(site), require),
        ["as-crasher", room, site] => return crasher(room, Path::new(site)),
        ["as-unseal", site] => return work_of_unseal(Path::new(site)),
        ["as-worker", room, site] => return worker(room, Path::new(site)),
        _ => {}
    }
    let cases: [(&str, fn()); 8] = [
        (
            "every_attack_fails_in_every_room",
            every_attack_fails_in_every_room,
        ),
        (
            "attacks_would_work_outside_a_room",
            attacks_would_work_outside_a_room,
        ),
        ("the_kernel_says_the_same", the_kernel_says_the_same),
        ("a_crash_leaves_no_core", a_crash_leaves_no_core),
        (
            "what_is_unavailable_is_said_and_may_be_required",
            what_is_unavailable_is_said_and_may_be_required,
        ),
        ("ingress_can_do_its_work", ingress_can_do_its_work),
        ("egress_can_do_its_work", egress_can_do_its_work),
        (
            "signer_and_unseal_can_do_their_work",
            signer_and_unseal_can_do_their_work,
        ),
    ];
    let who = if is_root() { "root" } else { "a user" };
    let wanted = words.iter().find(|word| !word.starts_with('-'));
    for (name, case) in cases {
        if wanted.is_none_or(|wanted| name.contains(wanted)) {
            case();
            println!("test {name} (as {who}) ... ok");
        }
    }
    if is_root() {
        // Somewhere that an ordinary user can read and run.
        let copy = std::env::temp_dir().join(format!("room-confinement-{}", std::process::id()));
        fs::copy(itself(), &copy).unwrap();
        let status = Command::new(&copy)
            .args(&arguments)
            .current_dir("/")
            .uid(SOMEBODY)
            .gid(SOMEBODY)
            .status()
            .unwrap();
        fs::remove_file(copy).unwrap();
        assert!(status.success(), "as a user: {status}");
    }
}

fn itself() -> PathBuf {
    std::env::current_exe().unwrap()
}

fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

/// A site in a folder of its own, removed at the end.
struct Site(PathBuf);

impl Site {
    fn new(name: &str) -> Site {
        let who = if is_root() { "root" } else { "user" };
        let place = std::env::temp_dir().join(format!("room-{name}-{who}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&place);
        for folder in ["log", "releases", "keys", "run", "out"] {
            fs::create_dir_all(place.join(folder)).unwrap();
        }
        fs::write(place.join("keys/main.age"), "sealed").unwrap();
        fs::write(place.join("log/segment"), "entries").unwrap();
        fs::write(place.join("site.toml"), "name = \"test\"").unwrap();
        Site(place)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn room(name: &str, site: &Path) -> Room {
    match name {
        "ingress" => Room::Ingress,
        "egress" => Room::Egress,
        "signer" => Room::Signer {
            site: site.to_owned(),
            operators: Operators::OurUser,
        },
        "unseal" => Room::Unseal {
            read: vec![site.join("keys")],
            write: Some(site.join("out")),
        },
        _ => panic!("room {name}"),
    }
}

// Attacks.

/// What an attempt has at hand.
struct Target<'a> {
    site: &'a Path,
    /// The test, in the place of `up`.
    parent: i32,
    /// A listener outside.
    port: u16,
}

type Attempt = fn(&Target<'_>) -> io::Result<()>;

/// A name, the rooms that it kills, the rooms in which it fails with an error, and the attempt.
struct Attack(
    &'static str,
    &'static [&'static str],
    &'static [&'static str],
    Attempt,
);

const NONE: &[&str] = &[];
const ALL: &[&str] = &ROOMS;
const NETWORK: &[&str] = &["ingress", "egress"];
const NO_FILES: &[&str] = &["ingress", "egress", "unseal"];
const NO_SOCKET: &[&str] = &["ingress", "signer", "unseal"];

static ATTACKS: &[Attack] = &[
    // Files.
    Attack("read /etc/passwd", NONE, ALL, |_| {
        fs::read("/etc/passwd").map(drop)
    }),
    Attack(
        "read a sealed key",
        NONE,
        &["ingress", "egress", "signer"],
        |target| fs::read(target.site.join("keys/main.age")).map(drop),
    ),
    Attack("read the site's settings", NONE, ALL, |target| {
        fs::read(target.site.join("site.toml")).map(drop)
    }),
    Attack("read the log", NONE, NO_FILES, |target| {
        fs::read(target.site.join("log/segment")).map(drop)
    }),
    Attack("write a key", NONE, ALL, |target| {
        fs::write(target.site.join("keys/main.age"), "mine")
    }),
    Attack("write the log", NONE, NO_FILES, |target| {
        fs::write(target.site.join("log/segment"), "mine")
    }),
    Attack("write beside the site", NONE, ALL, |target| {
        fs::write(target.site.with_extension("stolen"), "secret")
    }),
    Attack("write to /dev/shm", NONE, ALL, |_| {
        fs::write("/dev/shm/portcullis-stolen", "secret")
    }),
    Attack("read our own memory by /proc", NONE, ALL, |_| {
        File::open("/proc/self/mem").map(drop)
    }),
    Attack("read our environment by /proc", NONE, ALL, |_| {
        fs::read("/proc/self/environ").map(drop)
    }),
    Attack("read the memory of up by /proc", NONE, ALL, |target| {
        File::open(format!("/proc/{}/mem", target.parent)).map(drop)
    }),
    Attack("list processes", NONE, ALL, |_| {
        fs::read_dir("/proc").map(drop)
    }),
    Attack("open a device", NONE, ALL, |_| {
        OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/null")
            .map(drop)
    }),
    Attack("move the log out", NO_FILES, &["signer"], |target| {
        fs::rename(
            target.site.join("log/segment"),
            target.site.join("keys/segment"),
        )
    }),
    Attack("move a key into the log", NO_FILES, &["signer"], |target| {
        fs::rename(
            target.site.join("keys/main.age"),
            target.site.join("log/main.age"),
        )
    }),
    Attack("remove a key", NETWORK, &["signer", "unseal"], |target| {
        fs::remove_file(target.site.join("keys/main.age"))
    }),
    Attack("link symbolically", ALL, NONE, |target| {
        std::os::unix::fs::symlink("/etc/passwd", target.site.join("log/passwd"))
    }),
    Attack("link hard", ALL, NONE, |target| {
        fs::hard_link(
            target.site.join("keys/main.age"),
            target.site.join("log/main.age"),
        )
    }),
    Attack("change a mode", ALL, NONE, |target| {
        fs::set_permissions(
            target.site.join("log/segment"),
            std::os::unix::fs::PermissionsExt::from_mode(0o777),
        )
    }),
    Attack("make a pipe with a name", ALL, NONE, |target| {
        let path = c_path(&target.site.join("log/pipe"));
        raw(
            libc::SYS_mknodat,
            [
                libc::AT_FDCWD as i64,
                path.as_ptr() as i64,
                (libc::S_IFIFO | 0o600) as i64,
                0,
                0,
                0,
            ],
        )
    }),
    // Programs and threads.
    Attack("execute a program", ALL, NONE, |_| {
        Err(Command::new("/bin/true").exec())
    }),
    Attack("start a program", ALL, NONE, |_| {
        Command::new("/bin/true").status().map(drop)
    }),
    Attack("fork", ALL, NONE, |_| {
        raw(libc::SYS_clone, [libc::SIGCHLD as i64, 0, 0, 0, 0, 0])
    }),
    Attack("start a thread", NO_FILES, NONE, |_| {
        std::thread::Builder::new()
            .spawn(|| ())
            .map(|thread| drop(thread.join()))
    }),
    Attack("execute memory without a file", ALL, NONE, |_| {
        raw(
            libc::SYS_memfd_create,
            [c"x".as_ptr() as i64, 0, 0, 0, 0, 0],
        )
    }),
    Attack("map executable memory", ALL, NONE, |_| {
        let protection = i64::from(libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC);
        let kind = i64::from(libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        raw(libc::SYS_mmap, [0, 4096, protection, kind, -1, 0])
    }),
    Attack("make memory executable", ALL, NONE, |_| {
        let page = vec![0u8; 8192];
        let start = page.as_ptr() as i64 & !4095;
        raw(
            libc::SYS_mprotect,
            [
                start,
                4096,
                i64::from(libc::PROT_READ | libc::PROT_EXEC),
                0,
                0,
                0,
            ],
        )
    }),
    // The network.
    Attack("connect by TCP", NO_SOCKET, NONE, |target| {
        TcpStream::connect(("127.0.0.1", target.port)).map(drop)
    }),
    Attack("listen on TCP", ALL, NONE, |_| {
        TcpListener::bind("127.0.0.1:0").map(drop)
    }),
    Attack("bind a socket of the right kind", ALL, NONE, |_| {
        let socket = raw_value(
            libc::SYS_socket,
            [
                i64::from(libc::AF_INET),
                i64::from(libc::SOCK_STREAM),
                0,
                0,
                0,
                0,
            ],
        )?;
        let address = [libc::AF_INET as u16, 0, 0, 0, 0, 0, 0, 0];
        raw(
            libc::SYS_bind,
            [socket, address.as_ptr() as i64, 16, 0, 0, 0],
        )
    }),
    Attack("send by UDP", ALL, NONE, |_| {
        UdpSocket::bind("127.0.0.1:0").map(drop)
    }),
    Attack("connect to a Unix socket", ALL, NONE, |target| {
        UnixStream::connect(target.site.join("run/up")).map(drop)
    }),
    Attack("make a pair of sockets", ALL, NONE, |_| {
        UnixStream::pair().map(drop)
    }),
    Attack("open a netlink socket", ALL, NONE, |_| {
        raw(
            libc::SYS_socket,
            [
                i64::from(libc::AF_NETLINK),
                i64::from(libc::SOCK_RAW),
                0,
                0,
                0,
                0,
            ],
        )
    }),
    Attack("open a raw socket", ALL, NONE, |_| {
        raw(
            libc::SYS_socket,
            [
                i64::from(libc::AF_INET),
                i64::from(libc::SOCK_RAW),
                1,
                0,
                0,
                0,
            ],
        )
    }),
    Attack("pass a descriptor on", ALL, NONE, |_| {
        let message = [0u8; 64];
        raw(libc::SYS_sendmsg, [0, message.as_ptr() as i64, 0, 0, 0, 0])
    }),
    // Other processes.
    Attack("trace up", ALL, NONE, |target| {
        raw(
            libc::SYS_ptrace,
            [
                i64::from(libc::PTRACE_ATTACH),
                target.parent.into(),
                0,
                0,
                0,
                0,
            ],
        )
    }),
    Attack("read the memory of up", ALL, NONE, |target| {
        raw(
            libc::SYS_process_vm_readv,
            [target.parent.into(), 0, 0, 0, 0, 0],
        )
    }),
    Attack("write the memory of up", ALL, NONE, |target| {
        raw(
            libc::SYS_process_vm_writev,
            [target.parent.into(), 0, 0, 0, 0, 0],
        )
    }),
    Attack("signal up", ALL, NONE, |target| {
        raw(libc::SYS_kill, [target.parent.into(), 0, 0, 0, 0, 0])
    }),
    Attack("signal a thread of up", ALL, NONE, |target| {
        raw(
            libc::SYS_tgkill,
            [target.parent.into(), target.parent.into(), 0, 0, 0, 0],
        )
    }),
    Attack("hold up by a descriptor", ALL, NONE, |target| {
        raw(libc::SYS_pidfd_open, [target.parent.into(), 0, 0, 0, 0, 0])
    }),
    Attack("take a descriptor of up", ALL, NONE, |_| {
        raw(libc::SYS_pidfd_getfd, [3, 0, 0, 0, 0, 0])
    }),
    Attack("change a limit of up", ALL, NONE, |target| {
        let limit = [0u64; 2];
        raw(
            libc::SYS_prlimit64,
            [
                target.parent.into(),
                i64::from(libc::RLIMIT_CORE),
                limit.as_ptr() as i64,
                0,
                0,
                0,
            ],
        )
    }),
    // Ways around the kernel's checks.
    Attack("become dumpable again", ALL, NONE, |_| {
        raw(
            libc::SYS_prctl,
            [i64::from(libc::PR_SET_DUMPABLE), 1, 0, 0, 0, 0],
        )
    }),
    Attack("install another filter", ALL, NONE, |_| {
        raw(libc::SYS_seccomp, [1, 0, 0, 0, 0, 0])
    }),
    Attack("queue calls by io_uring", ALL, NONE, |_| {
        let parameters = [0u8; 120];
        raw(
            libc::SYS_io_uring_setup,
            [8, parameters.as_ptr() as i64, 0, 0, 0, 0],
        )
    }),
    Attack("load a bpf program", ALL, NONE, |_| {
        raw(libc::SYS_bpf, [0, 0, 0, 0, 0, 0])
    }),
    Attack("count events", ALL, NONE, |_| {
        raw(libc::SYS_perf_event_open, [0, 0, -1, -1, 0, 0])
    }),
    Attack("use the kernel's keys", ALL, NONE, |_| {
        raw(libc::SYS_keyctl, [0, -3, 0, 0, 0, 0])
    }),
    Attack("handle page faults", ALL, NONE, |_| {
        raw(libc::SYS_userfaultfd, [0, 0, 0, 0, 0, 0])
    }),
    Attack("mount", ALL, NONE, |_| {
        let tmpfs = c"tmpfs".as_ptr() as i64;
        raw(
            libc::SYS_mount,
            [tmpfs, c"/tmp".as_ptr() as i64, tmpfs, 0, 0, 0],
        )
    }),
    Attack("make a user namespace", ALL, NONE, |_| {
        raw(
            libc::SYS_unshare,
            [i64::from(libc::CLONE_NEWUSER), 0, 0, 0, 0, 0],
        )
    }),
    Attack("enter a namespace", ALL, NONE, |_| {
        raw(libc::SYS_setns, [0, 0, 0, 0, 0, 0])
    }),
    Attack("become another user", ALL, NONE, |_| {
        raw(libc::SYS_setuid, [1, 0, 0, 0, 0, 0])
    }),
    Attack("change root", ALL, NONE, |_| {
        raw(libc::SYS_chroot, [c"/".as_ptr() as i64, 0, 0, 0, 0, 0])
    }),
    Attack("open by handle", ALL, NONE, |_| {
        raw(libc::SYS_open_by_handle_at, [0, 0, 0, 0, 0, 0])
    }),
    Attack("load a module", ALL, NONE, |_| {
        raw(libc::SYS_finit_module, [0, 0, 0, 0, 0, 0])
    }),
    Attack("type into a terminal", ALL, NONE, |_| {
        raw(
            libc::SYS_ioctl,
            [0, libc::TIOCSTI as i64, c"x".as_ptr() as i64, 0, 0, 0],
        )
    }),
    #[cfg(target_arch = "x86_64")]
    Attack("call by the x32 numbers", ALL, NONE, |_| {
        raw(0x4000_0000 | libc::SYS_getpid, [0; 6])
    }),
    #[cfg(target_arch = "x86_64")]
    Attack("make a thread without a thread's flags", ALL, NONE, |_| {
        raw(
            libc::SYS_clone,
            [
                i64::from(libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_NEWUSER),
                0,
                0,
                0,
                0,
                0,
            ],
        )
    }),
];

/// Sent in a system call that this program would not make otherwise.
#[expect(
    unsafe_code,
    reason = "an attacker makes calls that no library offers; the test is the attacker"
)]
fn raw_value(number: libc::c_long, arguments: [i64; 6]) -> io::Result<i64> {
    let [a, b, c, d, e, f] = arguments;
    // SAFETY: pointers among the arguments are null, or lead to memory that outlives the call and that the kernel only
    // reads (io_uring_setup writes into as many bytes as its parameters have).
    let result = unsafe { libc::syscall(number, a, b, c, d, e, f) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

fn raw(number: libc::c_long, arguments: [i64; 6]) -> io::Result<()> {
    raw_value(number, arguments).map(drop)
}

fn c_path(path: &Path) -> std::ffi::CString {
    std::ffi::CString::new(path.to_str().unwrap()).unwrap()
}

/// Confines itself, tries, and says what came of it.
fn attacker(name: &str, attack: &str, site: &Path, parent: &str, port: &str) {
    let target = Target {
        site,
        parent: parent.parse().unwrap(),
        port: port.parse().unwrap(),
    };
    let Attack(.., attempt) = ATTACKS.iter().find(|known| known.0 == attack).unwrap();
    if name != "outside" {
        confine(&room(name, site), Require::No).unwrap();
    }
    match attempt(&target) {
        Ok(()) => println!("succeeded"),
        Err(why) => println!("refused {}", why.raw_os_error().unwrap_or(0)),
    }
}

/// How an attempt ended.
#[derive(Debug, PartialEq)]
enum Ending {
    Killed,
    Refused(i32),
    Succeeded,
}

fn attempt(name: &str, attack: &str, site: &Path, port: u16) -> Ending {
    let output = Command::new(itself())
        .args(["as-attacker", name, attack])
        .arg(site)
        .args([std::process::id().to_string(), port.to_string()])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    match (output.status.signal(), said.trim().split_once(' ')) {
        (Some(libc::SIGSYS), None) => {
            assert!(spawn::ending(output.status).contains("outside its list"));
            Ending::Killed
        }
        (None, Some(("refused", number))) => Ending::Refused(number.parse().unwrap()),
        (None, None) if said.trim() == "succeeded" => Ending::Succeeded,
        _ => panic!("{name}: {attack}: {output:?}"),
    }
}

fn every_attack_fails_in_every_room() {
    let site = Site::new("attacks");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    for Attack(attack, killed, refused, _) in ATTACKS {
        for name in ROOMS {
            if killed.contains(&name) {
                assert_eq!(
                    attempt(name, attack, &site.0, port),
                    Ending::Killed,
                    "{name}: {attack}"
                );
            } else if refused.contains(&name) {
                let ending = attempt(name, attack, &site.0, port);
                let expected =
                    [libc::EACCES, libc::EPERM, libc::EXDEV, libc::EROFS].map(Ending::Refused);
                assert!(expected.contains(&ending), "{name}: {attack}: {ending:?}");
            }
        }
    }
    assert_eq!(fs::read(site.0.join("keys/main.age")).unwrap(), b"sealed");
    assert!(!site.0.with_extension("stolen").exists());
    assert!(fs::read_dir(site.0.join("log")).unwrap().count() == 1);
}

/// What needs no privilege succeeds without confinement, so a failure above is the room's doing.
fn attacks_would_work_outside_a_room() {
    let site = Site::new("outside");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    for attack in [
        "read /etc/passwd",
        "read a sealed key",
        "write beside the site",
        "read our own memory by /proc",
        "list processes",
        "open a device",
        "link symbolically",
        "link hard",
        "change a mode",
        "make a pipe with a name",
        "start a program",
        "start a thread",
        "execute memory without a file",
        "map executable memory",
        "connect by TCP",
        "listen on TCP",
        "bind a socket of the right kind",
        "send by UDP",
        "make a pair of sockets",
        "open a netlink socket",
        "signal up",
        "signal a thread of up",
        "hold up by a descriptor",
        "become dumpable again",
        "move the log out",
    ] {
        assert_eq!(
            attempt("outside", attack, &site.0, port),
            Ending::Succeeded,
            "{attack}"
        );
    }
    fs::remove_file(site.0.with_extension("stolen")).unwrap();
}

// What others see of a room.

/// Confines itself, reports, and waits for the end of its input.
fn witness(name: &str, site: &Path, require: &str) {
    let require = match require {
        "required" => Require::Sandbox,
        _ => Require::No,
    };
    if name != "outside" {
        match confine(&room(name, site), require) {
            Ok(report) => println!("{}", serde_json::to_string(&report).unwrap()),
            Err(why) => return println!("{why}"),
        }
    } else {
        println!("{{}}");
    }
    let _ = io::stdin().read(&mut [0]);
}

struct Witness {
    child: Child,
    line: String,
}

impl Witness {
    fn start(name: &str, site: &Path, require: &str) -> Witness {
        Witness::of(
            Command::new(itself())
                .args(["as-witness", name])
                .arg(site)
                .arg(require),
        )
    }

    fn of(command: &mut Command) -> Witness {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap())
            .read_line(&mut line)
            .unwrap();
        Witness { child, line }
    }

    fn report(&self) -> SandboxReport {
        serde_json::from_str(&self.line).unwrap_or_else(|_| panic!("{}", self.line))
    }

    fn end(mut self) -> ExitStatus {
        drop(self.child.stdin.take());
        self.child.wait().unwrap()
    }
}

fn the_kernel_says_the_same() {
    let site = Site::new("kernel");
    for name in ROOMS {
        let witness = Witness::start(name, &site.0, "no");
        let pid = witness.child.id();
        let report = witness.report();
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let field = |wanted: &str| {
            let line = status
                .lines()
                .find(|line| line.split(':').next() == Some(wanted))
                .unwrap();
            line.split_once(':').unwrap().1.trim().to_owned()
        };
        let on = |measure| !report.missing().any(|(missing, _)| missing == measure);
        assert!(on(Measure::NoNewPrivileges) && field("NoNewPrivs") == "1");
        assert!(
            on(Measure::SystemCalls) && field("Seccomp") == "2" && field("Seccomp_filters") == "1"
        );
        let lock = if field("CapEff").ends_with("4000") {
            0x4000
        } else {
            0
        };
        assert!(lock == 0 || (is_root() && matches!(name, "signer" | "unseal")));
        for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            let held = u64::from_str_radix(&field(set), 16).unwrap();
            let may = if matches!(set, "CapPrm" | "CapEff") {
                lock
            } else {
                0
            };
            assert_eq!(held, may, "{name} {set}");
        }
        if is_root() {
            assert_eq!(field("CapBnd"), "0000000000000000", "{name}");
            let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
            let limit = |what: &str| {
                let line = limits.lines().find(|line| line.starts_with(what)).unwrap();
                let numbers: Vec<&str> = line
                    .strip_prefix(what)
                    .unwrap()
                    .split_whitespace()
                    .take(2)
                    .collect();
                numbers.join(" ")
            };
            assert_eq!(limit("Max core file size"), "0 0");
            let wanted = match name {
                "ingress" => 17_000,
                "signer" => 512,
                "egress" => 4_096,
                _ => 64,
            };
            let got: u64 = limit("Max open files")
                .split_once(' ')
                .unwrap()
                .1
                .parse()
                .unwrap();
            assert!(
                got == wanted || (name == "ingress" && got < wanted),
                "{name}: {got}"
            );
            // Its network: nothing but a loopback, and not ours.
            let network = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/net")).unwrap();
            let apart = network(&pid.to_string()) != network("self");
            assert_eq!(
                apart,
                name != "egress" && on(Measure::EmptyNetwork),
                "{name}"
            );
            if apart {
                let devices = fs::read_to_string(format!("/proc/{pid}/net/dev")).unwrap();
                let names: Vec<&str> = devices
                    .lines()
                    .skip(2)
                    .filter_map(|line| line.split(':').next())
                    .map(str::trim)
                    .collect();
                assert_eq!(names, ["lo"], "{name}");
            }
        }
        if on(Measure::LockedMemory) && matches!(name, "signer" | "unseal") {
            assert_ne!(field("VmLck"), "0 kB", "{name}");
        }
        // A process of the same user, without privilege, neither reads nor traces it.
        if !is_root() {
            for file in ["mem", "environ", "maps", "stack"] {
                let error = File::open(format!("/proc/{pid}/{file}")).err().unwrap();
                assert_eq!(error.raw_os_error(), Some(libc::EACCES), "{name} {file}");
            }
            let error = raw(
                libc::SYS_ptrace,
                [libc::PTRACE_SEIZE.into(), pid.into(), 0, 0, 0, 0],
            )
            .unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EPERM), "{name}");
        }
        assert!(witness.end().success(), "{name}");
    }
    if !is_root() {
        // The same attempt on a process that is not confined works, so it is the room that refuses.
        let plain = Witness::start("outside", &site.0, "no");
        File::open(format!("/proc/{}/environ", plain.child.id())).unwrap();
        File::open(format!("/proc/{}/mem", plain.child.id())).unwrap();
        plain.end();
    }
}

fn what_is_unavailable_is_said_and_may_be_required() {
    let site = Site::new("unavailable");
    for name in ROOMS {
        let report = Witness::start(name, &site.0, "no").report();
        let complete = report.is_complete();
        let strict = Witness::start(name, &site.0, "required");
        if complete {
            assert_eq!(strict.report(), report);
        } else {
            assert!(
                strict
                    .line
                    .starts_with("the sandbox is required and not complete"),
                "{}",
                strict.line
            );
        }
        strict.end();
        println!("  {name}: {}", serde_json::to_string(&report).unwrap());
    }
    // A low limit on locked memory, without the privilege to lock: said, with what to do.
    if !is_root() {
        let low = |limit: &str| {
            let mut command = Command::new("sh");
            command
                .args([
                    "-c",
                    &format!("ulimit -l {limit} && exec \"$0\" as-witness signer \"$1\" no"),
                ])
                .arg(itself())
                .arg(&site.0);
            Witness::of(&mut command)
        };
        let report = low("64").report();
        let (measure, why) = report.missing().next().unwrap();
        assert_eq!(measure, Measure::LockedMemory);
        assert!(
            why.starts_with("RLIMIT_MEMLOCK is 64 KiB") && why.contains("LimitMEMLOCK=infinity"),
            "{why}"
        );
    }
    // A site that is not there.
    let missing = Witness::start("signer", Path::new("/nowhere"), "no");
    assert!(
        missing.line.starts_with("cannot open `/nowhere/log`"),
        "{}",
        missing.line
    );
    // Any user may command: without privilege there is no user namespace, and it is said.
    let report = any_user(&site.0);
    let network = report
        .missing()
        .find(|(measure, _)| *measure == Measure::EmptyNetwork);
    if is_root() {
        assert_eq!(network, None);
    } else {
        assert!(network.unwrap().1.contains("CAP_SYS_ADMIN"));
    }
}

fn any_user(site: &Path) -> SandboxReport {
    let mut running =
        spawn::room(&itself(), ["as-worker", "any-user", site.to_str().unwrap()]).unwrap();
    let report = ready(&mut running.control);
    running.process.kill().unwrap();
    report
}

/// Aborts, in a place where a core would be written.
fn crasher(name: &str, site: &Path) {
    if name != "outside" {
        confine(&room(name, site), Require::No).unwrap();
    }
    std::process::abort();
}

fn a_crash_leaves_no_core() {
    let site = Site::new("core");
    let crash = |name: &str| {
        let output = Command::new("sh")
            .args([
                "-c",
                "ulimit -c unlimited 2>/dev/null; exec \"$0\" as-crasher \"$1\" \"$2\"",
            ])
            .arg(itself())
            .arg(name)
            .arg(&site.0)
            .current_dir(site.0.join("out"))
            .output()
            .unwrap();
        assert_eq!(
            output.status.signal(),
            Some(libc::SIGABRT),
            "{name}: {output:?}"
        );
        output.status.core_dumped()
    };
    if !crash("outside") {
        println!("  (this system writes no core anyway)");
    }
    for name in ROOMS {
        assert!(!crash(name), "{name}");
    }
}

// What rooms do.

fn ready(control: &mut UpControl) -> SandboxReport {
    match control.receive_within(SOON).unwrap() {
        Received::Message(FromRoom::Ready { sandbox, .. }, _) => sandbox,
        other => panic!("not ready: {other:?}"),
    }
}

fn worker(name: &str, site: &Path) {
    let mut control = Control::from_fd3().unwrap();
    schedule::batch().unwrap();
    let place = match name {
        "any-user" => Room::Signer {
            site: site.to_owned(),
            operators: Operators::AnyUser,
        },
        name => room(name, site),
    };
    let sandbox = confine(&place, Require::No).unwrap();
    control
        .send(&FromRoom::Ready {
            room: Peer::Signer,
            build: BUILD_ID.into(),
            sandbox,
        })
        .unwrap();
    // What every room may need.
    let mut poll = Poll::new().unwrap();
    let waker = Waker::new().unwrap();
    poll.add(&control, Token(0), Interest::Read, Trigger::Level)
        .unwrap();
    poll.add(&waker, Token(1), Interest::Read, Trigger::Edge)
        .unwrap();
    poll.wait(Some(
        clock::Monotonic::now().after(Duration::from_millis(3)),
    ))
    .unwrap();
    std::thread::sleep(Duration::from_millis(1));
    assert!(clock::unix_us() > 0 && clock::boot_us() > 0);
    let _ = (Instant::now(), SystemTime::now());
    let map: HashMap<u32, Vec<u8>> = (0..2_000).map(|key| (key, vec![7; key as usize])).collect();
    let mut large = vec![1u8; 32 << 20];
    large.resize(80 << 20, 2);
    drop((map, large));
    trim();
    let caught = std::panic::catch_unwind(|| {
        let trace = std::backtrace::Backtrace::force_capture().to_string();
        panic!(
            "this panic is part of the test ({} bytes of trace)",
            trace.len()
        );
    });
    assert!(caught.is_err());
    let mut random = [0; 32];
    aws_lc_rs::rand::fill(&mut random).unwrap();

    let (message, mut fds) = receive(&mut control);
    let ToRoom::Start { settings } = message else {
        panic!("no start")
    };
    match name {
        "ingress" => work_of_ingress(&mut fds),
        "egress" => work_of_egress(&settings),
        "signer" => work_of_signer(site, &mut fds),
        other => panic!("{other}"),
    }
    // A link, and the answer to `stop`.
    let (message, mut fds) = receive(&mut control);
    assert!(matches!(message, ToRoom::Link { .. }));
    let mut link = Link::new(fds.take("from").unwrap(), fds.take("to").unwrap()).unwrap();
    link.out().extend_from_slice(&[0, 0, 0, 2, 5, 6]);
    assert!(link.flush().unwrap());
    poll.add(link.from(), Token(2), Interest::Read, Trigger::Level)
        .unwrap();
    while poll
        .wait(None)
        .unwrap()
        .iter()
        .all(|event| event.token != Token(2))
    {}
    assert!(link.receive().unwrap());
    assert_eq!(link.next().unwrap(), Some((5, &[6][..])));
    assert!(matches!(receive(&mut control).0, ToRoom::Stop));
    println!("{{\"event\":\"worked\"}}");
    eprintln!("{name}: worked");
    control
        .send(&FromRoom::Stopped {
            ok: true,
            why: None,
        })
        .unwrap();
}

#[expect(
    unsafe_code,
    reason = "a room's allocator may do so at any time; here it does it at once"
)]
fn trim() {
    // SAFETY: gives free pages back; takes and returns integers only.
    unsafe { libc::malloc_trim(0) };
}

fn receive(control: &mut Control) -> (ToRoom, Descriptors) {
    match control.receive_within(SOON).unwrap() {
        Received::Message(message, fds) => (message, fds),
        other => panic!("{other:?}"),
    }
}

/// Starts a worker with settings and descriptors, does what is given beside it, and ends it in order.
fn work(
    name: &str,
    site: &Path,
    settings: serde_json::Value,
    given: Vec<(&str, OwnedFd)>,
    beside: impl FnOnce(),
) {
    let mut running = spawn::room(&itself(), ["as-worker", name, site.to_str().unwrap()]).unwrap();
    ready(&mut running.control);
    let fds: Vec<_> = given.iter().map(|(name, fd)| (*name, fd.as_fd())).collect();
    let start = ToRoom::Start { settings };
    running.control.send(&start, &fds, SOON).unwrap();
    // What was given is the worker's alone, so that nobody waits for one that is gone.
    drop(given);
    beside();
    let (ours, theirs) = spawn::pipes().unwrap();
    let fds = [("from", theirs.from.as_fd()), ("to", theirs.to.as_fd())];
    let replaced = ToRoom::Link {
        peer: Peer::Signer,
        epoch: 1,
    };
    running.control.send(&replaced, &fds, SOON).unwrap();
    let mut link = Link::new(ours.from, ours.to).unwrap();
    link.out().extend_from_slice(&[0, 0, 0, 2, 5, 6]);
    assert!(link.flush().unwrap());
    running.control.send(&ToRoom::Stop, &[], SOON).unwrap();
    let last = running.control.receive_within(SOON);
    let status = running.process.end_within(SOON).unwrap();
    assert!(
        matches!(
            last,
            Ok(Received::Message(FromRoom::Stopped { ok: true, .. }, _))
        ),
        "{name}: {last:?}, {status}"
    );
    assert!(status.success(), "{name}: {status}");
    let mut said = String::new();
    PipeReader::from(running.events)
        .read_to_string(&mut said)
        .unwrap();
    assert_eq!(said, "{\"event\":\"worked\"}\n");
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// Answers one connection over TLS; gives the certificate to `tell` first.
fn serve_tls(accept: impl FnOnce(CertificateDer<'static>) -> TcpStream) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let certificate: CertificateDer<'static> = made.cert.der().clone();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    let mut stream = accept(certificate);
    let mut session = rustls::ServerConnection::new(Arc::new(config)).unwrap();
    let mut tls = rustls::Stream::new(&mut session, &mut stream);
    let mut request = [0; 5];
    tls.read_exact(&mut request).unwrap();
    tls.write_all(&request).unwrap();
    tls.flush().unwrap();
}

/// Sends a word over TLS and takes it back.
fn speak_tls(mut stream: TcpStream, certificate: Option<CertificateDer<'static>>) {
    let builder = rustls::ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap();
    let config = match certificate {
        Some(certificate) => {
            let mut roots = rustls::RootCertStore::empty();
            roots.add(certificate).unwrap();
            builder.with_root_certificates(roots).with_no_client_auth()
        }
        None => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate))
            .with_no_client_auth(),
    };
    let name = ServerName::try_from("localhost").unwrap();
    let mut session = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let mut tls = rustls::Stream::new(&mut session, &mut stream);
    tls.write_all(b"order").unwrap();
    let mut answer = [0; 5];
    tls.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"order");
}

/// The test knows whom it has connected to.
#[derive(Debug)]
struct AnyCertificate;

impl rustls::client::danger::ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}

fn ingress_can_do_its_work() {
    let site = Site::new("ingress");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    work(
        "ingress",
        &site.0,
        serde_json::Value::Null,
        vec![("listener:0", listener.into())],
        || {
            speak_tls(TcpStream::connect(address).unwrap(), None);
        },
    );
}

fn work_of_ingress(fds: &mut Descriptors) {
    let listener = fds.take("listener:0").unwrap();
    room_io::set_nonblocking(&listener).unwrap();
    assert!(room_io::local_address(&listener).unwrap().is_some());
    serve_tls(|_| {
        let mut poll = Poll::new().unwrap();
        poll.add(&listener, Token(0), Interest::Read, Trigger::Level)
            .unwrap();
        let connection = loop {
            poll.wait(None).unwrap();
            if let Some(connection) = room_io::accept(&listener).unwrap() {
                break connection;
            }
        };
        room_io::set_nodelay(&connection.fd).unwrap();
        let stream = TcpStream::from(connection.fd);
        use_connection(&stream);
        stream
    });
}

/// What both network rooms do with a connection.
fn use_connection(stream: &TcpStream) {
    stream.set_nonblocking(true).unwrap();
    // One byte, or none yet.
    let _ = stream.peek(&mut [0]);
    stream.set_nonblocking(false).unwrap();
    stream.set_nodelay(true).unwrap();
    assert!(stream.take_error().unwrap().is_none());
    assert!(stream.peer_addr().is_ok() && stream.local_addr().is_ok());
}

fn egress_can_do_its_work() {
    let site = Site::new("egress");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, told) = std::sync::mpsc::channel();
    let server = std::thread::spawn(move || {
        serve_tls(|certificate| {
            tell.send(certificate).unwrap();
            listener.accept().unwrap().0
        });
    });
    let certificate = told.recv().unwrap();
    let settings = serde_json::json!({ "port": port, "certificate": certificate.to_vec() });
    work("egress", &site.0, settings, Vec::new(), || {
        server.join().unwrap()
    });
}

fn work_of_egress(settings: &serde_json::Value) {
    let port = u16::try_from(settings["port"].as_u64().unwrap()).unwrap();
    let certificate: Vec<u8> = serde_json::from_value(settings["certificate"].clone()).unwrap();
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_nodelay(true).unwrap();
    assert!(stream.take_error().unwrap().is_none());
    let other = stream.try_clone().unwrap();
    speak_tls(stream, Some(certificate.into()));
    other.shutdown(std::net::Shutdown::Both).unwrap();
    // Nobody there: an error, not the end.
    assert!(TcpStream::connect("127.0.0.1:1").is_err());
}

fn signer_and_unseal_can_do_their_work() {
    let site = Site::new("signer");
    let path = site.0.join("run/operator.sock");
    let listener = UnixListener::bind(&path).unwrap();
    work(
        "signer",
        &site.0,
        serde_json::Value::Null,
        vec![("operator", listener.into())],
        || {
            let mut operator = UnixStream::connect(&path).unwrap();
            operator.write_all(b"halt").unwrap();
            let mut answer = String::new();
            operator.read_to_string(&mut answer).unwrap();
            assert_eq!(
                answer,
                format!("halted by {}", fs::metadata("/proc/self").unwrap().uid())
            );
        },
    );
    assert_eq!(
        fs::read(site.0.join("releases/abc/mandates.toml")).unwrap(),
        b"limits"
    );
    let arguments = ["as-unseal", site.0.to_str().unwrap()];
    let (mut process, secrets) = spawn::helper(&itself(), arguments, Stdio::null(), &[]).unwrap();
    let mut secret = String::new();
    PipeReader::from(secrets)
        .read_to_string(&mut secret)
        .unwrap();
    let status = process.end_within(SOON).unwrap();
    assert!(status.success(), "{status}");
    assert_eq!(secret, "opened: sealed");
    assert_eq!(fs::read(site.0.join("out/new.age")).unwrap(), b"sealed");
}

fn work_of_signer(site: &Path, fds: &mut Descriptors) {
    // The log.
    let log = site.join("log");
    let lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(log.join("lock"))
        .unwrap();
    lock.try_lock().unwrap();
    let mut segment = OpenOptions::new()
        .create_new(true)
        .append(true)
        .read(true)
        .mode(0o600)
        .open(log.join("0001"))
        .unwrap();
    segment.write_all(b"entry entry torn").unwrap();
    segment.sync_data().unwrap();
    segment.set_len(11).unwrap();
    segment.sync_all().unwrap();
    assert_eq!(
        (
            segment.metadata().unwrap().len(),
            segment.stream_position().unwrap()
        ),
        (11, 16)
    );
    segment.seek(io::SeekFrom::Start(0)).unwrap();
    let mut back = [0; 5];
    segment.read_exact_at(&mut back, 6).unwrap();
    assert_eq!(&back, b"entry");
    fs::write(log.join("checkpoint.new"), "signed").unwrap();
    fs::rename(log.join("checkpoint.new"), log.join("checkpoint")).unwrap();
    File::open(&log).unwrap().sync_all().unwrap();
    assert!(fs::read(log.join("nothing")).is_err_and(|why| why.kind() == io::ErrorKind::NotFound));
    // A release.
    let releases = site.join("releases");
    let new = releases.join("new");
    fs::DirBuilder::new().mode(0o700).create(&new).unwrap();
    fs::create_dir_all(new.join("catalog.d")).unwrap();
    fs::write(new.join("mandates.toml"), "limits").unwrap();
    fs::rename(&new, releases.join("abc")).unwrap();
    fs::create_dir_all(releases.join("old/more")).unwrap();
    fs::write(releases.join("old/more/file"), "x").unwrap();
    fs::remove_dir_all(releases.join("old")).unwrap();
    assert_eq!(fs::read_dir(&releases).unwrap().count(), 1);
    // Helper threads: syncing, signing, panicking, pinned and not.
    let threads: Vec<_> = (0..6)
        .map(|number| {
            let segment = segment.try_clone().unwrap();
            std::thread::Builder::new()
                .name(format!("helper-{number}"))
                .spawn(move || {
                    let cores = schedule::cores().unwrap();
                    schedule::unpin(&cores).unwrap();
                    for _ in 0..20 {
                        segment.sync_data().unwrap();
                    }
                    let memory: Vec<Vec<u8>> = (1..200).map(|size| vec![1; size * 1_000]).collect();
                    std::thread::sleep(Duration::from_millis(2));
                    sign(number);
                    assert_ne!(number, 5, "this panic is part of the test");
                    memory.len()
                })
                .unwrap()
        })
        .collect();
    let ended = threads.into_iter().map(|thread| thread.join().is_ok());
    assert_eq!(
        ended.collect::<Vec<_>>(),
        [true, true, true, true, true, false]
    );
    assert!(std::thread::available_parallelism().unwrap().get() > 0);
    std::thread::scope(|scope| (0..50).for_each(|_| drop(scope.spawn(|| ()))));
    // An operator.
    let listener = fds.take("operator").unwrap();
    let connection = room_io::accept(&listener).unwrap().unwrap();
    let who = room_io::peer(&connection.fd).unwrap();
    let mut operator = UnixStream::from(connection.fd);
    operator.set_nonblocking(false).unwrap();
    let mut command = [0; 4];
    operator.read_exact(&mut command).unwrap();
    assert_eq!(&command, b"halt");
    write!(operator, "halted by {}", who.uid.unwrap()).unwrap();
    operator.shutdown(std::net::Shutdown::Both).unwrap();
}

fn sign(number: u32) {
    use aws_lc_rs::{hmac, rand, rsa, signature};
    let random = rand::SystemRandom::new();
    let text = number.to_be_bytes();
    let _ = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, b"key"), &text);
    let pair = signature::Ed25519KeyPair::generate().unwrap();
    let _ = pair.sign(&text);
    if number == 0 {
        let pair = rsa::KeyPair::generate(rsa::KeySize::Rsa2048).unwrap();
        let mut signature = vec![0; pair.public_modulus_len()];
        pair.sign(&signature::RSA_PKCS1_SHA256, &random, &text, &mut signature)
            .unwrap();
    }
}

fn work_of_unseal(site: &Path) {
    confine(&room("unseal", site), Require::No).unwrap();
    let sealed = fs::read(site.join("keys/main.age")).unwrap();
    let out = site.join("out/new.age");
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&out)
        .unwrap();
    file.write_all(&sealed).unwrap();
    file.sync_all().unwrap();
    File::open(site.join("out")).unwrap().sync_all().unwrap();
    let wrong = site.join("out/wrong.age");
    fs::write(&wrong, "half").unwrap();
    fs::remove_file(wrong).unwrap();
    assert!(
        File::from(io::stdout().as_fd().try_clone_to_owned().unwrap())
            .metadata()
            .is_ok()
    );
    sign(1);
    // What opening a file sealed with a passphrase takes.
    let memory = vec![1u8; 256 << 20];
    assert_eq!(memory.iter().step_by(4096).count(), 65_536);
    assert!(std::panic::catch_unwind(|| panic!("this panic is part of the test")).is_err());
    let mut output = File::from(io::stdout().as_fd().try_clone_to_owned().unwrap());
    write!(output, "opened: {}", String::from_utf8(sealed).unwrap()).unwrap();
}
