//! A list of calls, as a program for the kernel.
//!
//! The kernel itself remembers which calls pass whatever their arguments are, and does not run the program for those; so
//! the order of the list does not matter for speed.

use libc::sock_filter;

use super::calls::{Call, Pass, Test};

/// The program: another architecture or a call that is not listed kills the process.
pub(super) fn program(calls: &[&Call], process: u32) -> Vec<sock_filter> {
    let mut program = vec![
        load(ARCHITECTURE_AT),
        jump(EQUAL, ARCHITECTURE, 1, 0),
        answer(libc::SECCOMP_RET_KILL_PROCESS),
        load(NUMBER_AT),
    ];
    // Calls of the x32 kind have the same architecture and this bit; no number of ours has it, so none is found.
    for call in calls {
        let body = match &call.pass {
            Pass::Any => vec![answer(libc::SECCOMP_RET_ALLOW)],
            Pass::Fails(errno) => vec![answer(libc::SECCOMP_RET_ERRNO | errno.unsigned_abs())],
            Pass::If(tests) => tested(tests),
            Pass::IfOurProcess => tested(&[Test {
                argument: 0,
                mask: u32::MAX,
                values: &[process],
            }]),
        };
        // INVARIANT: a body is shorter than a jump reaches (255); a test compiles every room's list.
        let length = u8::try_from(body.len()).unwrap_or(u8::MAX);
        program.push(jump(EQUAL, call.number, 0, length));
        program.extend(body);
    }
    program.push(answer(libc::SECCOMP_RET_KILL_PROCESS));
    program
}

/// Allows if every test holds; otherwise goes on behind with the number loaded again.
///
/// Only the lower half of an argument is looked at: in all calls that are tested the kernel takes a 32-bit integer, or
/// bits of the lower half, and ignores the rest.
fn tested(tests: &[Test<'_>]) -> Vec<sock_filter> {
    let mut body = Vec::new();
    let mut failing = Vec::new();
    for test in tests {
        body.push(load(ARGUMENTS_AT + 8 * test.argument));
        if test.mask != u32::MAX {
            body.push(statement(
                libc::BPF_ALU | libc::BPF_AND | libc::BPF_K,
                test.mask,
            ));
        }
        for (place, value) in test.values.iter().enumerate() {
            // To the next test, over the remaining values.
            let over = u8::try_from(test.values.len() - 1 - place).unwrap_or(u8::MAX);
            if over == 0 {
                failing.push(body.len());
            }
            body.push(jump(EQUAL, *value, over, 0));
        }
    }
    body.push(answer(libc::SECCOMP_RET_ALLOW));
    let end = body.len();
    for place in failing {
        if let Some(last) = body.get_mut(place) {
            last.jf = u8::try_from(end - place - 1).unwrap_or(u8::MAX);
        }
    }
    body.push(load(NUMBER_AT));
    body
}

fn load(at: u32) -> sock_filter {
    statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, at)
}

fn answer(action: u32) -> sock_filter {
    statement(libc::BPF_RET | libc::BPF_K, action)
}

fn statement(code: u32, k: u32) -> sock_filter {
    sock_filter {
        code: code as u16,
        jt: 0,
        jf: 0,
        k,
    }
}

fn jump(code: u32, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    }
}

const EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;

// Where `struct seccomp_data` has what; both architectures are little-endian.
pub(super) const NUMBER_AT: u32 = 0;
pub(super) const ARCHITECTURE_AT: u32 = 4;
pub(super) const ARGUMENTS_AT: u32 = 16;

/// `AUDIT_ARCH_X86_64` and `AUDIT_ARCH_AARCH64`.
#[cfg(target_arch = "x86_64")]
pub(super) const ARCHITECTURE: u32 = 0xC000_003E;
#[cfg(target_arch = "aarch64")]
pub(super) const ARCHITECTURE: u32 = 0xC000_00B7;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!("the system call filter knows x86_64 and aarch64");
