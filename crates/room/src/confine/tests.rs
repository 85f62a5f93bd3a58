use super::calls::{CALLS, Call, Pass, Who};
use super::*;

/// Runs a filter as the kernel would.
fn run(program: &[libc::sock_filter], architecture: u32, number: u32, arguments: [u64; 6]) -> u32 {
    let mut data = [0u8; 64];
    data[0..4].copy_from_slice(&number.to_le_bytes());
    data[4..8].copy_from_slice(&architecture.to_le_bytes());
    for (place, argument) in arguments.iter().enumerate() {
        data[16 + 8 * place..24 + 8 * place].copy_from_slice(&argument.to_le_bytes());
    }
    let (mut at, mut held) = (0, 0u32);
    loop {
        let step = program[at];
        at += 1;
        match u32::from(step.code) {
            code if code == libc::BPF_LD | libc::BPF_W | libc::BPF_ABS => {
                let from = step.k as usize;
                held = u32::from_le_bytes(data[from..from + 4].try_into().unwrap());
            }
            code if code == libc::BPF_ALU | libc::BPF_AND | libc::BPF_K => held &= step.k,
            code if code == libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K => {
                at += usize::from(if held == step.k { step.jt } else { step.jf });
            }
            code if code == libc::BPF_RET | libc::BPF_K => return step.k,
            code => panic!("instruction {code:#x}"),
        }
    }
}

fn rooms() -> [(Who, Room); 4] {
    let site = PathBuf::from("/site");
    [
        (Who::Ingress, Room::Ingress),
        (
            Who::Signer,
            Room::Signer {
                site,
                operators: Operators::AnyUser,
            },
        ),
        (Who::Egress, Room::Egress),
        (
            Who::Unseal,
            Room::Unseal {
                read: Vec::new(),
                write: None,
            },
        ),
    ]
}

const US: u32 = 4_321;

/// Arguments that pass a call's tests.
fn passing(call: &Call) -> [u64; 6] {
    let mut arguments = [0; 6];
    match &call.pass {
        Pass::If(tests) => {
            for test in *tests {
                arguments[test.argument as usize] = u64::from(*test.values.last().unwrap());
            }
        }
        Pass::IfOurProcess => arguments[0] = u64::from(US),
        Pass::Any | Pass::Fails(_) => {}
    }
    arguments
}

#[test]
fn every_listed_call_passes_and_every_other_number_kills() {
    for (who, room) in rooms() {
        let list = calls::of(&room);
        let program = filter::program(&list, US);
        // Its longest body is within a jump's reach, so this stays far below the kernel's 4096 instructions.
        assert!(program.len() < 1_000, "{}", program.len());
        for number in 0..700 {
            let rows: Vec<&&Call> = list.iter().filter(|call| call.number == number).collect();
            if rows.is_empty() {
                let answer = run(&program, filter::ARCHITECTURE, number, [0; 6]);
                assert_eq!(answer, libc::SECCOMP_RET_KILL_PROCESS, "{who:?} {number}");
            }
            for row in rows {
                let expected = match row.pass {
                    Pass::Fails(errno) => libc::SECCOMP_RET_ERRNO | errno as u32,
                    _ => libc::SECCOMP_RET_ALLOW,
                };
                let answer = run(&program, filter::ARCHITECTURE, number, passing(row));
                assert_eq!(answer, expected, "{who:?} {}", row.name);
                // Another architecture, and the x32 kind of the same.
                let other = run(&program, 0x4000_0003, number, passing(row));
                assert_eq!(other, libc::SECCOMP_RET_KILL_PROCESS);
                let x32 = number | 0x4000_0000;
                let other = run(&program, filter::ARCHITECTURE, x32, passing(row));
                assert_eq!(other, libc::SECCOMP_RET_KILL_PROCESS);
            }
        }
    }
}

#[test]
fn arguments_outside_their_limits_kill() {
    let check = |number: libc::c_long, arguments: [u64; 6], who: Who, passes: bool| {
        let (_, room) = rooms().into_iter().find(|(have, _)| *have == who).unwrap();
        let program = filter::program(&calls::of(&room), US);
        let answer = run(&program, filter::ARCHITECTURE, number as u32, arguments);
        let expected = if passes {
            libc::SECCOMP_RET_ALLOW
        } else {
            libc::SECCOMP_RET_KILL_PROCESS
        };
        assert_eq!(answer, expected, "{who:?} {number} {arguments:x?}");
    };
    let exec = (libc::PROT_READ | libc::PROT_EXEC) as u64;
    let usual = (libc::PROT_READ | libc::PROT_WRITE) as u64;
    let socket = |family: i32, kind: i32, protocol: i32| {
        [family as u64, kind as u64, protocol as u64, 0, 0, 0]
    };
    for who in [Who::Ingress, Who::Signer, Who::Egress, Who::Unseal] {
        check(libc::SYS_mmap, [0, 4096, exec, 0, 0, 0], who, false);
        check(libc::SYS_mmap, [0, 4096, usual, 0, 0, 0], who, true);
        check(libc::SYS_mprotect, [0, 4096, exec, 0, 0, 0], who, false);
        check(libc::SYS_tgkill, [1, 1, 9, 0, 0, 0], who, false);
        check(libc::SYS_tgkill, [US.into(), 1, 6, 0, 0, 0], who, true);
        check(
            libc::SYS_fcntl,
            [3, libc::F_SETOWN as u64, 1, 0, 0, 0],
            who,
            false,
        );
        check(libc::SYS_madvise, [0, 4096, 100, 0, 0, 0], who, false);
        let tcp = socket(libc::AF_INET6, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0);
        check(libc::SYS_socket, tcp, who, who == Who::Egress);
    }
    for (family, kind, protocol) in [
        (libc::AF_UNIX, libc::SOCK_STREAM, 0),
        (libc::AF_INET, libc::SOCK_DGRAM, 0),
        (libc::AF_INET, libc::SOCK_RAW | libc::SOCK_NONBLOCK, 0),
        (libc::AF_INET, libc::SOCK_STREAM, 262),
        (libc::AF_NETLINK, libc::SOCK_RAW, 0),
        (libc::AF_ALG, libc::SOCK_SEQPACKET, 0),
    ] {
        check(
            libc::SYS_socket,
            socket(family, kind, protocol),
            Who::Egress,
            false,
        );
    }
    let thread = 0x3d_0f00;
    check(libc::SYS_clone, [thread, 0, 0, 0, 0, 0], Who::Signer, true);
    check(
        libc::SYS_clone,
        [0x7d_0f00, 0, 0, 0, 0, 0],
        Who::Signer,
        true,
    );
    for wrong in [
        libc::SIGCHLD,
        libc::CLONE_VM | libc::CLONE_VFORK,
        libc::CLONE_NEWUSER,
        libc::CLONE_THREAD,
    ] {
        check(
            libc::SYS_clone,
            [wrong as u64, 0, 0, 0, 0, 0],
            Who::Signer,
            false,
        );
    }
    check(
        libc::SYS_clone,
        [thread | libc::CLONE_NEWNS as u64, 0, 0, 0, 0, 0],
        Who::Signer,
        false,
    );
    check(
        libc::SYS_prctl,
        [libc::PR_SET_DUMPABLE as u64, 1, 0, 0, 0, 0],
        Who::Signer,
        false,
    );
    let level = |level: i32, name: i32| [9, level as u64, name as u64, 0, 0, 0];
    for who in [Who::Ingress, Who::Egress] {
        check(
            libc::SYS_setsockopt,
            level(libc::IPPROTO_TCP, libc::TCP_NODELAY),
            who,
            true,
        );
        check(
            libc::SYS_setsockopt,
            level(libc::SOL_SOCKET, libc::SO_LINGER),
            who,
            true,
        );
        check(
            libc::SYS_setsockopt,
            level(libc::SOL_SOCKET, libc::SO_ATTACH_FILTER),
            who,
            false,
        );
        check(
            libc::SYS_setsockopt,
            level(libc::IPPROTO_TCP, libc::TCP_REPAIR),
            who,
            false,
        );
        check(
            libc::SYS_setsockopt,
            level(libc::IPPROTO_IP, libc::TCP_NODELAY),
            who,
            false,
        );
    }
}

#[test]
fn what_no_room_may_ever_call_is_in_no_list() {
    for (name, number) in [
        ("execve", libc::SYS_execve),
        ("execveat", libc::SYS_execveat),
        ("ptrace", libc::SYS_ptrace),
        ("process_vm_readv", libc::SYS_process_vm_readv),
        ("process_vm_writev", libc::SYS_process_vm_writev),
        ("bpf", libc::SYS_bpf),
        ("perf_event_open", libc::SYS_perf_event_open),
        ("io_uring_setup", libc::SYS_io_uring_setup),
        ("io_uring_enter", libc::SYS_io_uring_enter),
        ("io_uring_register", libc::SYS_io_uring_register),
        ("keyctl", libc::SYS_keyctl),
        ("add_key", libc::SYS_add_key),
        ("userfaultfd", libc::SYS_userfaultfd),
        ("mount", libc::SYS_mount),
        ("move_mount", libc::SYS_move_mount),
        ("open_tree", libc::SYS_open_tree),
        ("pivot_root", libc::SYS_pivot_root),
        ("unshare", libc::SYS_unshare),
        ("setns", libc::SYS_setns),
        ("bind", libc::SYS_bind),
        ("listen", libc::SYS_listen),
        ("sendmsg", libc::SYS_sendmsg),
        ("sendmmsg", libc::SYS_sendmmsg),
        ("kill", libc::SYS_kill),
        ("pidfd_open", libc::SYS_pidfd_open),
        ("pidfd_getfd", libc::SYS_pidfd_getfd),
        ("init_module", libc::SYS_init_module),
        ("kexec_load", libc::SYS_kexec_load),
        ("memfd_create", libc::SYS_memfd_create),
        ("pkey_mprotect", libc::SYS_pkey_mprotect),
        ("setuid", libc::SYS_setuid),
        ("seccomp", libc::SYS_seccomp),
    ] {
        assert!(
            CALLS.iter().all(|call| i64::from(call.number) != number),
            "{name}"
        );
    }
}

/// The table in the document is the table in the code.
#[test]
fn the_document_lists_what_the_code_allows() {
    let mut table = String::from(
        "| call | ingress | signer | egress | unseal | limits | reason |\n|---|---|---|---|---|---|---|\n",
    );
    for call in CALLS {
        let mark = |who: Who| match (call.rooms.contains(&who), &call.pass) {
            (false, _) => "",
            (true, Pass::Fails(_)) => "fails",
            (true, _) => "yes",
        };
        let name = call.name.trim_start_matches("SYS_");
        table.push_str(&format!(
            "| `{name}` | {} | {} | {} | {} | {} | {} |\n",
            mark(Who::Ingress),
            mark(Who::Signer),
            mark(Who::Egress),
            mark(Who::Unseal),
            call.limits,
            call.why
        ));
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/spec/sandbox.md");
    let document = std::fs::read_to_string(path).unwrap();
    // Calls that only one architecture has stand in the document all the same.
    if cfg!(target_arch = "x86_64") {
        assert!(
            document.contains(&table),
            "{path} lacks this table:\n\n{table}"
        );
    }
}

#[test]
fn a_report_reads_as_the_contract_says() {
    let mut report = SandboxReport::default();
    assert!(!report.is_complete());
    report.note(Measure::SystemCalls, Held::On);
    assert!(report.is_complete());
    report.note(
        Measure::Scope,
        Held::Unavailable("Landlock ABI 4; Linux 6.12 has it".to_owned()),
    );
    let json =
        r#"{"scope":{"unavailable":"Landlock ABI 4; Linux 6.12 has it"},"system-calls":"on"}"#;
    assert_eq!(serde_json::to_string(&report).unwrap(), json);
    let back: SandboxReport = serde_json::from_str(json).unwrap();
    assert_eq!(back, report);
    // A room's words reach terminals and the log: no control character, no length of its own choice.
    let json = serde_json::json!({ "scope": { "unavailable": "\u{1b}[2Jfine".to_owned() + &"x".repeat(1_000) } });
    let said: SandboxReport = serde_json::from_value(json).unwrap();
    let (_, why) = said.missing().next().unwrap();
    assert!(
        why.starts_with("?[2Jfine") && why.len() == WHY_CHARS_MAX,
        "{why}"
    );
    for wrong in [
        r#"{"moat":"on"}"#,
        r#"{"scope":"off"}"#,
        r#"{"scope":{"unavailable":1}}"#,
    ] {
        assert!(
            serde_json::from_str::<SandboxReport>(wrong).is_err(),
            "{wrong}"
        );
    }
    assert_eq!(
        Unconfined::Incomplete(back).to_string(),
        "the sandbox is required and not complete\n  scope: Landlock ABI 4; Linux 6.12 has it"
    );
}

/// Landlock alone, without the filter in front of it. It binds the thread that asks for it, so each room is a thread.
#[test]
fn landlock_alone_refuses_files_and_ports() {
    use std::net::{TcpListener, TcpStream};
    let site = std::env::temp_dir().join(format!("room-landlock-{}", std::process::id()));
    for folder in ["log", "releases", "keys"] {
        std::fs::create_dir_all(site.join(folder)).unwrap();
        std::fs::write(site.join(folder).join("file"), "text").unwrap();
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let alone = |room: Room, check: fn(&Path, std::net::SocketAddr)| {
        let site = site.clone();
        let thread = std::thread::spawn(move || {
            process::no_new_privileges().unwrap();
            let places = files::places(&room).unwrap();
            let mut report = SandboxReport::default();
            files::restrict(&room, &places, &mut report);
            let on = |measure| report.measures.get(&measure) == Some(&Held::On);
            if on(Measure::Files) && on(Measure::TcpPorts) {
                check(&site, address);
            } else {
                println!("this kernel: {report:?}");
            }
        });
        thread.join().unwrap();
    };
    fn refused<T>(result: io::Result<T>) {
        assert_eq!(
            result.err().map(|why| why.kind()),
            Some(io::ErrorKind::PermissionDenied)
        );
    }
    alone(Room::Ingress, |site, address| {
        refused(std::fs::read(site.join("log/file")));
        refused(TcpStream::connect(address));
        refused(TcpListener::bind("127.0.0.1:0"));
    });
    alone(Room::Egress, |site, address| {
        refused(std::fs::read(site.join("log/file")));
        refused(std::fs::read_dir("/"));
        refused(TcpListener::bind("127.0.0.1:0"));
        TcpStream::connect(address).unwrap();
    });
    let signer = Room::Signer {
        site: site.clone(),
        operators: Operators::AnyUser,
    };
    alone(signer, |site, address| {
        refused(TcpStream::connect(address));
        refused(std::fs::read(site.join("keys/file")));
        refused(std::fs::write(site.join("keys/file"), "x"));
        refused(std::fs::write(site.join("file"), "x"));
        refused(std::fs::rename(site.join("keys"), site.join("log/keys")));
        refused(std::process::Command::new("/bin/true").status());
        for folder in ["log", "releases"] {
            std::fs::write(site.join(folder).join("new"), "x").unwrap();
            std::fs::rename(
                site.join(folder).join("new"),
                site.join(folder).join("file"),
            )
            .unwrap();
            std::fs::remove_file(site.join(folder).join("file")).unwrap();
        }
        refused(std::os::unix::net::UnixListener::bind(
            site.join("log/socket"),
        ));
    });
    let unseal = Room::Unseal {
        read: vec![site.join("keys/file")],
        write: None,
    };
    alone(unseal, |site, _| {
        assert_eq!(std::fs::read(site.join("keys/file")).unwrap(), b"text");
        refused(std::fs::write(site.join("keys/file"), "x"));
        refused(std::fs::read_dir(site.join("keys")));
    });
    std::fs::remove_dir_all(site).unwrap();
}
