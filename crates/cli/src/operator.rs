//! Commands to the signer: over the running site's operator socket, or, where no `up` runs, to a signer that is started for
//! this one command. Frames `u32 big-endian length | JSON`, as `model::command` says.

use crate::fail::Fail;
use crate::seal::{self, Given};
use crate::site::{self, Site};
use crate::terminal::Secret;
use portcullis_model::action::Scheme;
use portcullis_model::command::{Answer, COMMAND_BYTES_MAX, Command};
use portcullis_room::control::{FromRoom, OperatorSettings, Received, ToRoom};
use portcullis_room::spawn;
use std::ffi::OsStr;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// How long the signer may take to answer. A halt waits up to a second for egress.
const PATIENCE: Duration = Duration::from_secs(15);
/// The same where it has to read its log first, or compile a release.
const PATIENCE_LONG: Duration = Duration::from_secs(120);
/// How long a signer may take to confine itself.
const READY: Duration = Duration::from_secs(10);

/// A connection to the signer, and the signer itself if it was started for this.
pub struct Signer {
    connection: UnixStream,
    alone: Option<spawn::Running>,
}

impl Signer {
    /// The running site's, else one of our own.
    pub fn of(site: &Site, given: Given) -> Result<Self, Fail> {
        match Self::running(site)? {
            Some(running) => Ok(running),
            None => Self::alone(site, given),
        }
    }

    /// `None`: nobody listens.
    pub fn running(site: &Site) -> Result<Option<Self>, Fail> {
        let place = site.run("operator.sock");
        match UnixStream::connect(&place) {
            Ok(connection) => Ok(Some(Self {
                connection,
                alone: None,
            })),
            Err(why)
                if matches!(
                    why.kind(),
                    ErrorKind::NotFound | ErrorKind::ConnectionRefused
                ) =>
            {
                Ok(None)
            }
            Err(why) => Err(Fail::at(&place, &why)),
        }
    }

    /// For a site that was made just now.
    pub fn created(site: &Site, passphrase: Option<&Secret>) -> Result<Self, Fail> {
        Self::start(site, passphrase)
    }

    /// One of our own, with a passphrase that was asked for already.
    pub fn with(site: &Site, passphrase: Option<&Secret>) -> Result<Self, Fail> {
        owned(site)?;
        Self::start(site, passphrase)
    }

    fn alone(site: &Site, given: Given) -> Result<Self, Fail> {
        owned(site)?;
        let passphrase = seal::passphrase(site, given)?;
        Self::start(site, passphrase.as_ref())
    }

    fn start(site: &Site, passphrase: Option<&Secret>) -> Result<Self, Fail> {
        let (secrets, opening) = seal::open(site, &site.sealed()?, passphrase)?;
        let program = seal::beside("portcullis-signer")?;
        let mut arguments = vec!["--site".as_ref(), site.dir.as_os_str()];
        arguments.extend(others_command(site).then_some(AsRef::<OsStr>::as_ref("--any-user")));
        let mut room = spawn::room(&program, arguments)
            .map_err(|why| Fail::untold(format!("cannot start portcullis-signer: {why}")))?;
        let begun = begin(&mut room, site, secrets);
        if let Err(fail) = opening.finish() {
            // If it was the signer that ended, its own words say more.
            let words = fail
                .is_broken_pipe()
                .then(|| last_words(&mut room))
                .flatten();
            let _ = room.process.kill();
            let _ = room.process.end_within(READY);
            return Err(words.unwrap_or_else(|| explain_seal(fail, site)));
        }
        match begun {
            Ok(connection) => {
                let mut signer = Self {
                    connection,
                    alone: Some(room),
                };
                signer.wait_open()?;
                Ok(signer)
            }
            Err(fail) => Err(last_words(&mut room).unwrap_or(fail)),
        }
    }

    /// The secrets are in the pipe; it answers as a sealed one until it has read them and opened its log.
    fn wait_open(&mut self) -> Result<(), Fail> {
        let begun = Instant::now();
        loop {
            match self.ask(&Command::Status)? {
                Answer::Shown { data } if data.get("missing").is_some() => {}
                _ => return Ok(()),
            }
            if begun.elapsed() > PATIENCE_LONG {
                return Err(Fail::untold("the signer did not open its log in time"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Asks, and turns a refusal into a failure.
    pub fn ask(&mut self, command: &Command) -> Result<Answer, Fail> {
        let patience = match (&self.alone, command) {
            (None, Command::Release { .. }) | (Some(_), _) => PATIENCE_LONG,
            (None, _) => PATIENCE,
        };
        match exchange(&mut self.connection, command, patience) {
            Ok(Answer::Refused {
                code,
                message,
                hint,
            }) => Err(Fail {
                kind: code,
                hint,
                ..Fail::refused(message)
            }),
            Ok(answer) => Ok(answer),
            Err(fail) => Err(self.alone.as_mut().and_then(last_words).unwrap_or(fail)),
        }
    }

    /// Ends the signer that was started for this; the running site's goes on.
    pub fn done(mut self) -> Result<(), Fail> {
        let Some(mut room) = self.alone.take() else {
            return Ok(());
        };
        drop(self.connection);
        let _ = room.control.send(&ToRoom::Stop, &[], READY);
        let status = room
            .process
            .end_within(PATIENCE)
            .map_err(|why| Fail::untold(format!("portcullis-signer: {why}")))?;
        match status.success() {
            true => Ok(()),
            false => Err(last_words(&mut room)
                .unwrap_or_else(|| Fail::untold(format!("portcullis-signer ended with {status}")))),
        }
    }

    pub fn is_alone(&self) -> bool {
        self.alone.is_some()
    }
}

/// Files that are written now must be the site's owner's.
pub fn owned(site: &Site) -> Result<(), Fail> {
    let owner = std::fs::metadata(&site.dir)
        .map_err(|why| Fail::at(&site.dir, &why))?
        .uid();
    if owner != site::uid()? {
        let name = site::user_name(owner);
        return Err(Fail::refused(format!(
            "`portcullis up` does not run, and files written now would not be {name}'s"
        ))
        .hint(format!(
            "`sudo -u {name} portcullis …`, or start the site first"
        )));
    }
    Ok(())
}

/// One command and its end.
pub fn tell(site: &Site, given: Given, command: &Command) -> Result<Answer, Fail> {
    let mut signer = Signer::of(site, given)?;
    let answer = signer.ask(command);
    let done = signer.done();
    let answer = answer?;
    done.map(|()| answer)
}

fn begin(
    room: &mut spawn::Running,
    site: &Site,
    secrets: std::io::PipeReader,
) -> Result<UnixStream, Fail> {
    let lost = |why: &dyn std::fmt::Display| Fail::untold(format!("portcullis-signer: {why}"));
    match room.control.receive_within(READY) {
        Ok(Received::Message(FromRoom::Ready { .. }, _)) => {}
        Ok(Received::Message(FromRoom::Stopped { why, .. }, _)) => {
            return Err(lost(&why.unwrap_or_else(|| "it stopped".to_owned())));
        }
        Ok(_) => return Err(lost(&"it did not start")),
        Err(why) => return Err(lost(&why)),
    }
    let (ours, theirs) = UnixStream::pair().map_err(|why| lost(&why))?;
    let start = ToRoom::Start {
        settings: settings(site),
    };
    room.control
        .send(&start, &[("operator-connection", theirs.as_fd())], READY)
        .and_then(|()| {
            room.control
                .send(&ToRoom::Secrets, &[("secrets", secrets.as_fd())], READY)
        })
        .map_err(|why| lost(&why))?;
    Ok(ours)
}

/// What the signer is told at its start.
pub fn settings(site: &Site) -> serde_json::Value {
    let operators: Vec<OperatorSettings> = site
        .settings
        .operator
        .iter()
        .map(|operator| OperatorSettings {
            uid: operator.uid,
            name: operator.name.clone(),
        })
        .collect();
    let seal = match seal::Opener::of(site) {
        seal::Opener::Systemd => "systemd-credential",
        seal::Opener::KeyFile(_) => "key-file",
        seal::Opener::Passphrase | seal::Opener::Identities => "attended",
    };
    serde_json::json!({ "site": site.settings.name, "operators": operators, "seal": seal })
}

/// Whether users other than ours command this site: the signer must be able to tell them apart.
pub fn others_command(site: &Site) -> bool {
    let ours = site::uid().ok();
    site.settings
        .operator
        .iter()
        .any(|operator| Some(operator.uid) != ours)
}

/// Why a signer ended, if it said so.
fn last_words(room: &mut spawn::Running) -> Option<Fail> {
    loop {
        match room.control.receive_within(Duration::from_secs(2)) {
            Ok(Received::Message(FromRoom::Stopped { ok: false, why }, _)) => {
                let mut lines = why.as_deref().unwrap_or("it stopped").lines();
                let fact = lines.next().unwrap_or_default();
                let mut fail =
                    Fail::refused(format!("signer: {}", fact.trim_start_matches("error: ")));
                fail.hint = lines.find_map(|line| line.strip_prefix("hint: ").map(str::to_owned));
                return Some(fail);
            }
            Ok(Received::Message(..)) => {}
            _ => break,
        }
    }
    // It said nothing: how it ended says something.
    let status = room.process.wait_within(Duration::from_secs(1)).ok()??;
    (!status.success()).then(|| {
        Fail::untold(format!("portcullis-signer: {}", spawn::ending(status)))
            .hint("what it said, if it said something, stands above")
    })
}

/// What an opener that failed means for the site.
pub fn explain_seal(mut fail: Fail, site: &Site) -> Fail {
    if fail.hint.is_none() {
        fail.hint = Some(
            match seal::Opener::of(site) {
                seal::Opener::Passphrase => {
                    "the passphrase is that of `portcullis init`; nothing else opens the site"
                }
                _ => "site.toml, [unseal], says what opens the site's secrets",
            }
            .to_owned(),
        );
    }
    fail
}

fn exchange(
    connection: &mut UnixStream,
    command: &Command,
    patience: Duration,
) -> Result<Answer, Fail> {
    let json = serde_json::to_vec(command)
        .map_err(|why| Fail::untold(format!("the command cannot be written: {why}")))?;
    if json.len() > COMMAND_BYTES_MAX {
        return Err(Fail::refused(format!(
            "the command has {} bytes, more than {COMMAND_BYTES_MAX}",
            json.len()
        )));
    }
    let mut frame = u32::try_from(json.len())
        .unwrap_or(u32::MAX)
        .to_be_bytes()
        .to_vec();
    frame.extend_from_slice(&json);
    let mut talk = || -> std::io::Result<Vec<u8>> {
        connection.set_write_timeout(Some(patience))?;
        connection.set_read_timeout(Some(patience))?;
        connection.write_all(&frame)?;
        let mut length = [0; 4];
        connection.read_exact(&mut length)?;
        let length = u32::from_be_bytes(length) as usize;
        if length > COMMAND_BYTES_MAX {
            return Err(std::io::Error::other("its answer is too long"));
        }
        let mut answer = vec![0; length];
        connection.read_exact(&mut answer)?;
        Ok(answer)
    };
    let answer = talk().map_err(|why| match why.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => Fail::untold(format!(
            "the signer did not answer within {} s; whether the command took effect is not known",
            patience.as_secs()
        ))
        .hint("`portcullis log tail` shows what was recorded, `portcullis status` how the rooms are"),
        ErrorKind::UnexpectedEof | ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => {
            Fail::untold("the signer closed the connection without an answer")
                .hint("you may not be one of the operators of site.toml, or the signer ended: see the lines of `portcullis up`")
        }
        _ => Fail::untold(format!("the signer: {why}")),
    })?;
    serde_json::from_slice(&answer).map_err(|why| {
        Fail::untold(format!("the signer's answer cannot be read: {why}"))
            .hint("are all programs of one build?")
    })
}

/// `hmac`, `ed25519` or `rsa`, as people write it.
pub fn scheme_name(scheme: Scheme) -> &'static str {
    match scheme {
        Scheme::HmacSha256 => "hmac",
        Scheme::Ed25519 => "ed25519",
        Scheme::RsaSha256 => "rsa",
    }
}
