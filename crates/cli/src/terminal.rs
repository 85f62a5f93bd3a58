//! How secrets reach the command line: from standard input, or from the terminal without echo. Never from arguments or the
//! environment, which other processes can read.

use crate::fail::Fail;
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Read, Write};
use zeroize::Zeroizing;

/// A passphrase at most: `portcullis-unseal`'s own bound.
pub const PASSPHRASE_BYTES_MAX: usize = 1_024;
/// A secret at most: `portcullis-unseal`'s own bound.
pub const SECRET_BYTES_MAX: usize = 16_384;

/// A line without its end. Without `Debug`.
pub type Secret = Zeroizing<Vec<u8>>;

/// Asks on the terminal, without echo.
pub fn ask(question: &str) -> Result<Secret, Fail> {
    let no_terminal = |_| {
        Fail::untold("there is no terminal to ask for a secret on")
            .hint("pass a passphrase with `--passphrase-stdin`, a key's secret on standard input")
    };
    let mut terminal = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/tty")
        .map_err(no_terminal)?;
    write!(terminal, "{question}: ").map_err(no_terminal)?;
    let quiet = Quiet::new(&terminal).map_err(no_terminal)?;
    let line = line(&mut &terminal);
    drop(quiet);
    line
}

/// Asks twice, for what must not be mistyped.
pub fn ask_twice(question: &str) -> Result<Secret, Fail> {
    let first = ask(question)?;
    let second = ask(&format!("{question}, again"))?;
    match *first == *second {
        true => Ok(first),
        false => Err(Fail::refused("the two are not the same")),
    }
}

/// The first line of standard input; what follows stays there.
pub fn line_of_stdin() -> Result<Secret, Fail> {
    // Through its own buffer the rest would be read too.
    let stdin = rustix_stdin().map_err(|why| Fail::untold(format!("standard input: {why}")))?;
    line(&mut &stdin)
}

/// All of standard input, without a line end behind it. A terminal is asked without echo for one line.
pub fn secret_of_stdin(question: &str) -> Result<Secret, Fail> {
    if io::stdin().is_terminal() {
        return ask(question);
    }
    let stdin = rustix_stdin().map_err(|why| Fail::untold(format!("standard input: {why}")))?;
    let mut secret = Zeroizing::new(Vec::with_capacity(SECRET_BYTES_MAX + 1));
    stdin
        .take(SECRET_BYTES_MAX as u64 + 1)
        .read_to_end(&mut secret)
        .map_err(|why| Fail::untold(format!("standard input: {why}")))?;
    if secret.len() > SECRET_BYTES_MAX {
        return Err(Fail::refused(format!(
            "the secret is longer than {SECRET_BYTES_MAX} bytes"
        )));
    }
    while secret.last().is_some_and(|b| b"\r\n".contains(b)) {
        secret.pop();
    }
    Ok(secret)
}

/// Standard input without a buffer that nobody wipes.
fn rustix_stdin() -> io::Result<File> {
    use std::os::fd::AsFd;
    io::stdin().as_fd().try_clone_to_owned().map(File::from)
}

fn line(from: &mut impl Read) -> Result<Secret, Fail> {
    let mut line = Zeroizing::new(Vec::with_capacity(PASSPHRASE_BYTES_MAX + 1));
    let mut byte = Zeroizing::new([0; 1]);
    loop {
        match from.read(byte.as_mut_slice()) {
            Ok(0) => break,
            Ok(_) if *byte == *b"\n" => break,
            Ok(_) if line.len() >= PASSPHRASE_BYTES_MAX => {
                return Err(Fail::refused(format!(
                    "the line is longer than {PASSPHRASE_BYTES_MAX} bytes"
                )));
            }
            Ok(_) => line.extend_from_slice(byte.as_slice()),
            Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
            Err(why) => return Err(Fail::untold(format!("reading a secret: {why}"))),
        }
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    match line.is_empty() {
        true => Err(Fail::refused("nothing was given where a secret is needed")),
        false => Ok(line),
    }
}

/// Echo is off while this lives.
struct Quiet<'a>(&'a File, rustix::termios::Termios);

impl<'a> Quiet<'a> {
    fn new(terminal: &'a File) -> io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        quiet
            .local_modes
            .insert(LocalModes::ECHONL | LocalModes::ICANON);
        tcsetattr(terminal, OptionalActions::Flush, &quiet)?;
        Ok(Self(terminal, before))
    }
}

impl Drop for Quiet<'_> {
    fn drop(&mut self) {
        let _ = tcsetattr(self.0, OptionalActions::Flush, &self.1);
    }
}
