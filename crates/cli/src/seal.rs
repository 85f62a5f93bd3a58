//! Runs `portcullis-unseal`: to seal a secret into the site, and to open the site's secrets into a pipe that only the
//! signer reads. What was opened never passes through this program.

use crate::fail::Fail;
use crate::site::{Site, Unseal};
use crate::terminal::{self, Secret};
use std::ffi::OsString;
use std::io::{PipeReader, Read, Write, pipe};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

pub const SITE_SECRET: &str = "keys/site-secret.age";
pub const LOG_KEY: &str = "keys/log-key.age";
/// Where systemd puts a credential, and its name.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";
const CREDENTIAL_NAME: &str = "portcullis";

/// A program of ours, beside this one.
pub fn beside(program: &str) -> Result<PathBuf, Fail> {
    let own = std::env::current_exe()
        .map_err(|why| Fail::untold(format!("cannot find where this program lies: {why}")))?;
    let place = own.with_file_name(program);
    match place.is_file() {
        true => Ok(place),
        false => Err(
            Fail::untold(format!("`{program}` is not beside `{}`", own.display()))
                .hint("install all programs of one build into one folder"),
        ),
    }
}

fn unseal(arguments: &[OsString]) -> Result<Command, Fail> {
    let mut command = Command::new(beside("portcullis-unseal")?);
    command
        .args(arguments)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    if let Some(folder) = std::env::var_os(CREDENTIALS) {
        command.env(CREDENTIALS, folder);
    }
    Ok(command)
}

fn start(command: &mut Command) -> Result<Child, Fail> {
    command
        .spawn()
        .map_err(|why| Fail::untold(format!("cannot start portcullis-unseal: {why}")))
}

/// Waits, and turns what it said into ours.
fn finish(mut child: Child) -> Result<String, Fail> {
    let mut said = String::new();
    if let Some(mut stderr) = child.stderr.take() {
        let _ = stderr.by_ref().take(65_536).read_to_string(&mut said);
    }
    let mut out = String::new();
    if let Some(mut stdout) = child.stdout.take() {
        let _ = stdout.by_ref().take(65_536).read_to_string(&mut out);
    }
    let status = child
        .wait()
        .map_err(|why| Fail::untold(format!("portcullis-unseal: {why}")))?;
    if status.success() {
        return Ok(out);
    }
    let mut fail = match status.code() {
        Some(1) => Fail::refused("portcullis-unseal refused"),
        _ => Fail::untold(format!("portcullis-unseal ended with {status}")),
    };
    for line in said.lines() {
        if let Some(fact) = line.strip_prefix("error: ") {
            fact.clone_into(&mut fail.fact);
        } else if let Some(hint) = line.strip_prefix("hint: ") {
            fail.hint = Some(hint.to_owned());
        }
    }
    Err(fail)
}

/// Makes a credential for an unattended start; gives the recipient to seal to.
pub fn credential(out: &Path) -> Result<String, Fail> {
    let arguments = ["credential".into(), "--out".into(), out.into()];
    let mut command = unseal(&arguments)?;
    let child = start(command.stdout(Stdio::piped()))?;
    Ok(finish(child)?.trim().to_owned())
}

/// Seals into `out`, which must be new, to whom the site seals.
pub fn seal(
    to: &Unseal,
    out: &Path,
    secret: &[u8],
    passphrase: Option<&Secret>,
) -> Result<(), Fail> {
    let mut arguments: Vec<OsString> = vec!["seal".into(), "--out".into(), out.into()];
    for recipient in &to.recipients {
        arguments.extend(["--to".into(), recipient.into()]);
    }
    if to.passphrase {
        arguments.push("--passphrase".into());
    }
    let mut child = start(unseal(&arguments)?.stdin(Stdio::piped()))?;
    // If it has ended already, its own words say why.
    if let Some(mut stdin) = child.stdin.take() {
        if let Some(passphrase) = passphrase.filter(|_| to.passphrase) {
            let _ = stdin
                .write_all(passphrase)
                .and_then(|()| stdin.write_all(b"\n"));
        }
        let _ = stdin.write_all(secret);
    }
    finish(child).map(drop)
}

/// What opens the seals at a start.
pub enum Opener {
    Systemd,
    /// A key file stands in: whoever copies the disk that it lies on has the keys.
    KeyFile(PathBuf),
    Passphrase,
    Identities,
}

impl Opener {
    pub fn of(site: &Site) -> Self {
        let to = &site.settings.unseal;
        if to.passphrase {
            return Self::Passphrase;
        }
        if std::env::var_os(CREDENTIALS)
            .is_some_and(|folder| Path::new(&folder).join(CREDENTIAL_NAME).is_file())
        {
            return Self::Systemd;
        }
        match &to.credential {
            Some(file) => Self::KeyFile(site.path(file)),
            None => Self::Identities,
        }
    }

    pub fn words(&self) -> String {
        match self {
            Self::Systemd => "the credential that systemd hands in".to_owned(),
            Self::KeyFile(file) => format!(
                "the key file {}; whoever copies the disk that it lies on has the keys",
                file.display()
            ),
            Self::Passphrase => {
                "a passphrase; after a restart of the signer it is asked for again".to_owned()
            }
            Self::Identities => "identity files".to_owned(),
        }
    }

    /// For `--json`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Systemd => "systemd-credential",
            Self::KeyFile(_) => "key-file",
            Self::Passphrase => "passphrase",
            Self::Identities => "identities",
        }
    }
}

/// How a passphrase is given to this run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Given {
    OnStdin,
    Asked,
}

/// The passphrase, if the site has one.
pub fn passphrase(site: &Site, given: Given) -> Result<Option<Secret>, Fail> {
    match given {
        Given::OnStdin => terminal::line_of_stdin().map(Some),
        Given::Asked if site.settings.unseal.passphrase => {
            terminal::ask(&format!("passphrase of site {}", site.settings.name)).map(Some)
        }
        Given::Asked => Ok(None),
    }
}

/// Secrets on their way.
pub struct Opening {
    child: Child,
}

/// What opens these files of the site.
fn openers(
    site: &Site,
    command: &str,
    files: &[String],
    passphrase: Option<&Secret>,
) -> Result<Vec<OsString>, Fail> {
    let mut arguments: Vec<OsString> =
        vec![command.into(), "--site".into(), site.dir.clone().into()];
    if let Opener::KeyFile(file) = Opener::of(site) {
        if !file.is_file() {
            return Err(
                Fail::untold(format!("the credential `{}` is not there", file.display()))
                    .hint("mount it, or let systemd hand it in (docs/ops/install.md)"),
            );
        }
        arguments.extend(["--credential".into(), file.into()]);
    }
    for identity in &site.settings.unseal.identities {
        arguments.extend(["--identity".into(), site.path(identity).into()]);
    }
    if passphrase.is_some() {
        arguments.push("--passphrase".into());
    }
    arguments.extend(files.iter().map(OsString::from));
    Ok(arguments)
}

/// Opens these files and seals them again to others, into a folder that is there.
pub fn reseal(
    site: &Site,
    files: &[String],
    passphrase: Option<&Secret>,
    to: &Unseal,
    new: Option<&Secret>,
    folder: &Path,
) -> Result<(), Fail> {
    let mut arguments = openers(site, "reseal", files, passphrase)?;
    arguments.extend(["--out".into(), folder.into()]);
    for recipient in &to.recipients {
        arguments.extend(["--to".into(), recipient.into()]);
    }
    if new.is_some() {
        arguments.push("--new-passphrase".into());
    }
    let mut child = start(unseal(&arguments)?.stdin(Stdio::piped()))?;
    if let Some(mut stdin) = child.stdin.take() {
        for line in [passphrase, new].into_iter().flatten() {
            // If it has ended already, its own words say why.
            let _ = stdin.write_all(line).and_then(|()| stdin.write_all(b"\n"));
        }
    }
    finish(child).map(drop)
}

/// Starts to open these files. Who gets the pipe reads the secrets.
pub fn open(
    site: &Site,
    files: &[String],
    passphrase: Option<&Secret>,
) -> Result<(PipeReader, Opening), Fail> {
    let arguments = openers(site, "open", files, passphrase)?;
    let pipes = || Fail::untold("cannot make a pipe");
    let (read, write) = pipe().map_err(|_| pipes())?;
    let mut command = unseal(&arguments)?;
    command.stdout(write);
    if passphrase.is_some() {
        command.stdin(Stdio::piped());
    }
    let mut child = start(&mut command)?;
    // The command keeps a copy of the pipe's end, which would keep the signer waiting for more.
    drop(command);
    if let (Some(mut stdin), Some(passphrase)) = (child.stdin.take(), passphrase) {
        let _ = stdin
            .write_all(passphrase)
            .and_then(|()| stdin.write_all(b"\n"));
    }
    Ok((read, Opening { child }))
}

impl Opening {
    /// Waits for its end. If it failed the signer has used nothing.
    pub fn finish(self) -> Result<(), Fail> {
        finish(self.child).map(drop)
    }
}

/// Makes sure that this passphrase opens what the site has, so that all of its files have the same one.
pub fn try_passphrase(site: &Site, passphrase: &Secret) -> Result<(), Fail> {
    try_open(site, SITE_SECRET, Some(passphrase))
}

/// Makes sure that this opens.
pub fn try_open(site: &Site, file: &str, passphrase: Option<&Secret>) -> Result<(), Fail> {
    let (pipe, opening) = open(site, &[file.to_owned()], passphrase)?;
    // 32 bytes fit into the pipe: nobody has to read them, and nobody does.
    let done = opening.finish();
    drop(pipe);
    done
}

/// A new folder that nobody else can look into.
pub fn private_folder(place: &Path) -> Result<(), Fail> {
    std::fs::DirBuilder::new()
        .mode(0o700)
        .create(place)
        .map_err(|why| Fail::at(place, &why))
}
