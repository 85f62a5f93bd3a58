//! `portcullis-unseal`: seals a secret that arrives on standard input, or opens sealed files for the signer, and ends.
//!
//! Secrets and passphrases come by standard input and leave by a pipe on standard output; never by argument or
//! environment, which other processes can read. Standard output that is no pipe is refused: a terminal keeps what it
//! shows, and a file stays.
//!
//! Before it reads its first byte it locks itself in: no network at all, the files that it was told of and no others.
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, reason = "tests state what must hold")
)]

use portcullis_room::confine::{Require, Room, confine};
use portcullis_unseal::{frame, seal};
use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use zeroize::Zeroizing;

const HELP: &str = "\
portcullis-unseal: seals secrets and opens them for the signer

  portcullis-unseal seal --out FILE [--to RECIPIENT]... [--to-credential FILE]... [--passphrase]
      Seals standard input. RECIPIENT is `age1…` or an SSH public key. With --passphrase the first line of
      standard input is the passphrase, and the rest the secret.
  portcullis-unseal open --site DIR [--identity FILE]... [--credential FILE] [--passphrase] SEALED...
      Opens the files (relative to DIR) and writes them, framed, to standard output, which must be a pipe.
      Without --credential the one that systemd gives (`portcullis`) is used if there is one. With --passphrase
      the first line of standard input opens files sealed with it and encrypted SSH keys.
  portcullis-unseal reseal --site DIR --out FOLDER [--identity FILE]... [--credential FILE] [--passphrase]
                           [--to RECIPIENT]... [--new-passphrase] SEALED...
      Opens the files and seals them again, each into FOLDER under its own name. With both passphrases the old one is
      the first line of standard input, the new one the second.
  portcullis-unseal credential --out FILE
      Makes a new credential for an unattended start, and prints its recipient.

With --require-sandbox each of them refuses where the kernel cannot confine it whole.

exit codes: 0 done, 1 refused, 2 could not tell
";

fn main() -> ExitCode {
    let arguments: Vec<String> = match std::env::args_os()
        .skip(1)
        .map(std::ffi::OsString::into_string)
        .collect()
    {
        Ok(arguments) => arguments,
        Err(argument) => return fail(2, &format!("argument `{}` is not text", argument.display())),
    };
    let mut arguments = arguments.iter().map(String::as_str);
    let done = match arguments.next() {
        Some("seal") => Options::read(arguments).and_then(|options| seal_input(&options)),
        Some("open") => Options::read(arguments).and_then(|options| open_files(&options)),
        Some("reseal") => Options::read(arguments).and_then(|options| reseal_files(&options)),
        Some("credential") => {
            Options::read(arguments).and_then(|options| make_credential(&options))
        }
        Some("help" | "--help" | "-h") => {
            // A closed standard output must not turn help into a panic.
            let _ = io::stdout().write_all(HELP.as_bytes());
            Ok(())
        }
        _ => Err(Failure::Usage(
            "say `seal`, `open`, `reseal` or `credential`".into(),
        )),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Usage(why)) => fail(
            2,
            &format!("{why}\nhint: `portcullis-unseal help` shows how"),
        ),
        Err(Failure::Refused(why)) => fail(1, &why),
    }
}

fn fail(code: u8, why: &str) -> ExitCode {
    // A closed standard error must not turn a refusal into a panic.
    let _ = writeln!(io::stderr(), "error: {why}");
    ExitCode::from(code)
}

enum Failure {
    Usage(String),
    Refused(String),
}

impl From<seal::Error> for Failure {
    fn from(why: seal::Error) -> Self {
        Self::Refused(why.to_string())
    }
}

#[derive(Default)]
struct Options {
    out: Option<PathBuf>,
    site: Option<PathBuf>,
    to: Vec<String>,
    to_credential: Vec<PathBuf>,
    identities: Vec<PathBuf>,
    credential: Option<PathBuf>,
    passphrase: bool,
    new_passphrase: bool,
    requires_sandbox: bool,
    files: Vec<String>,
}

impl Options {
    fn read<'a>(mut arguments: impl Iterator<Item = &'a str>) -> Result<Self, Failure> {
        let mut options = Self::default();
        while let Some(argument) = arguments.next() {
            let mut value = || {
                arguments
                    .next()
                    .ok_or_else(|| Failure::Usage(format!("`{argument}` needs a value")))
            };
            match argument {
                "--out" => options.out = Some(value()?.into()),
                "--site" => options.site = Some(value()?.into()),
                "--to" => options.to.push(value()?.to_owned()),
                "--to-credential" => options.to_credential.push(value()?.into()),
                "--identity" => options.identities.push(value()?.into()),
                "--credential" => options.credential = Some(value()?.into()),
                "--passphrase" => options.passphrase = true,
                "--new-passphrase" => options.new_passphrase = true,
                "--require-sandbox" => options.requires_sandbox = true,
                other if other.starts_with('-') => {
                    return Err(Failure::Usage(format!("`{other}` is not an option")));
                }
                file => options.files.push(file.to_owned()),
            }
        }
        Ok(options)
    }

    fn out(&self) -> Result<&Path, Failure> {
        self.out
            .as_deref()
            .ok_or_else(|| Failure::Usage("`--out FILE` is missing".into()))
    }

    /// From here on only these files can be read, and only the folder of this one written.
    fn confine(&self, read: &[&Path], write: Option<&Path>) -> Result<(), Failure> {
        for path in read {
            // Afterwards what does not exist and what is not allowed look the same.
            fs::metadata(path).map_err(|why| seal::Error::Read(path.to_path_buf(), why))?;
        }
        let folder = |path: &Path| match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
            _ => PathBuf::from("."),
        };
        let write = write.map(folder);
        if let Some(folder) = &write {
            fs::metadata(folder).map_err(|why| {
                Failure::Refused(format!("cannot write into `{}`: {why}", folder.display()))
            })?;
        }
        // age looks for its messages in files where it is built for tests.
        let _ = age::localizer().language_loader();
        let mut places: Vec<PathBuf> = read.iter().map(|path| path.to_path_buf()).collect();
        places.sort();
        places.dedup();
        let room = Room::Unseal {
            read: places,
            write,
        };
        let require = match self.requires_sandbox {
            true => Require::Sandbox,
            false => Require::No,
        };
        confine(&room, require)
            .map(drop)
            .map_err(|why| Failure::Refused(why.to_string()))
    }
}

fn seal_input(options: &Options) -> Result<(), Failure> {
    let out = options.out()?;
    let read: Vec<&Path> = options.to_credential.iter().map(PathBuf::as_path).collect();
    options.confine(&read, Some(out))?;
    let mut input = io::stdin().lock();
    let mut recipients = Vec::new();
    if options.passphrase {
        recipients.push(seal::Recipient::Passphrase(seal::passphrase_line(
            &mut input,
        )?));
    }
    for text in &options.to {
        recipients.push(seal::Recipient::parse(text)?);
    }
    for path in &options.to_credential {
        recipients.push(seal::credential_recipient(path)?);
    }
    let mut secret = Zeroizing::new(Vec::with_capacity(frame::SECRET_BYTES_MAX + 1));
    let bound = u64::try_from(frame::SECRET_BYTES_MAX + 1).unwrap_or(u64::MAX);
    input
        .take(bound)
        .read_to_end(&mut secret)
        .map_err(|why| seal::Error::Read("standard input".into(), why))?;
    let sealed = seal::seal(&secret, &recipients)?;
    write_new(out, &sealed)
}

/// What is to be opened, and with what, before anything of it is read.
struct Sealed {
    files: Vec<PathBuf>,
    credential: Option<PathBuf>,
}

impl Sealed {
    fn of(options: &Options) -> Result<Self, Failure> {
        let site = options
            .site
            .as_deref()
            .ok_or_else(|| Failure::Usage("`--site DIR` is missing".into()))?;
        if options.files.is_empty() || options.files.len() > frame::SECRETS_MAX {
            return Err(Failure::Usage(format!(
                "name between 1 and {} sealed files",
                frame::SECRETS_MAX
            )));
        }
        let files = options.files.iter().map(|name| inside(site, name));
        Ok(Self {
            files: files.collect::<Result<_, _>>()?,
            credential: options.credential.clone().or_else(seal::systemd_credential),
        })
    }

    fn read<'a>(&'a self, options: &'a Options) -> Vec<&'a Path> {
        self.files
            .iter()
            .chain(&options.identities)
            .chain(&self.credential)
            .map(PathBuf::as_path)
            .collect()
    }

    /// All of them, or none: half of a site's secrets would be a surprise.
    fn open(
        &self,
        options: &Options,
        input: &mut impl Read,
    ) -> Result<Vec<Zeroizing<Vec<u8>>>, Failure> {
        let passphrase = match options.passphrase {
            true => Some(seal::passphrase_line(input)?),
            false => None,
        };
        let mut openers = seal::Openers::default();
        for path in &options.identities {
            openers.file(path, passphrase.clone())?;
        }
        if let Some(path) = &self.credential {
            openers.file(path, None)?;
        }
        if let Some(passphrase) = passphrase {
            openers.passphrase(passphrase);
        }
        let mut opened = Vec::with_capacity(self.files.len());
        for (name, path) in options.files.iter().zip(&self.files) {
            let secret = seal::read_bounded(path, seal::SEALED_BYTES_MAX)
                .and_then(|sealed| openers.open(&sealed))
                .map_err(|why| Failure::Refused(format!("`{name}`: {why}")))?;
            opened.push(secret);
        }
        Ok(opened)
    }
}

fn open_files(options: &Options) -> Result<(), Failure> {
    let sealed = Sealed::of(options)?;
    let mut output = stdout_pipe()?;
    options.confine(&sealed.read(options), None)?;
    let opened = sealed.open(options, &mut io::stdin().lock())?;
    let mut write = || -> io::Result<()> {
        for (name, secret) in options.files.iter().zip(&opened) {
            frame::secret(&mut output, name, secret)?;
        }
        frame::end(&mut output)
    };
    write().map_err(|why| Failure::Refused(format!("cannot write to the signer: {why}")))
}

/// Seals again for others what is sealed; the new files stand in a folder of their own.
fn reseal_files(options: &Options) -> Result<(), Failure> {
    let out = options.out()?;
    let sealed = Sealed::of(options)?;
    options.confine(&sealed.read(options), Some(&out.join("sealed")))?;
    let mut input = io::stdin().lock();
    let opened = sealed.open(options, &mut input)?;
    let mut recipients = Vec::new();
    if options.new_passphrase {
        let passphrase = seal::passphrase_line(&mut input)?;
        recipients.push(seal::Recipient::Passphrase(passphrase));
    }
    for text in &options.to {
        recipients.push(seal::Recipient::parse(text)?);
    }
    for (path, secret) in sealed.files.iter().zip(&opened) {
        let name = path.file_name().unwrap_or_default();
        write_new(&out.join(name), &seal::seal(secret, &recipients)?)?;
    }
    Ok(())
}

fn make_credential(options: &Options) -> Result<(), Failure> {
    let out = options.out()?;
    options.confine(&[], Some(out))?;
    let (text, public) = seal::credential();
    write_new(out, text.as_bytes())?;
    writeln!(io::stdout(), "{public}")
        .map_err(|why| Failure::Refused(format!("cannot print the recipient: {why}")))
}

/// A name within the site: no way out of it by `..` or an absolute path.
fn inside(site: &Path, name: &str) -> Result<PathBuf, Failure> {
    let plain = Path::new(name)
        .components()
        .all(|part| matches!(part, std::path::Component::Normal(_)));
    if plain && !name.is_empty() && name.len() <= frame::NAME_BYTES_MAX {
        Ok(site.join(name))
    } else {
        Err(Failure::Refused(format!(
            "`{name}` is not a file of the site; name it relative to the site, without `..`"
        )))
    }
}

/// Standard output as a plain file: `io::Stdout` keeps a buffer that nobody wipes.
fn stdout_pipe() -> Result<fs::File, Failure> {
    let refused = || {
        Failure::Refused(
            "standard output is no pipe; secrets go to the signer and nowhere else".into(),
        )
    };
    let file = io::stdout()
        .as_fd()
        .try_clone_to_owned()
        .map(fs::File::from)
        .map_err(|_| refused())?;
    match file.metadata() {
        Ok(data) if data.file_type().is_fifo() => Ok(file),
        _ => Err(refused()),
    }
}

/// Writes a file that did not exist, readable by its owner alone, whole and synced, or not at all.
fn write_new(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let refused = |why: io::Error| {
        Failure::Refused(format!(
            "cannot write `{}`: {why}{}",
            path.display(),
            if why.kind() == io::ErrorKind::AlreadyExists {
                "; a sealed secret is never overwritten, remove it first"
            } else {
                ""
            }
        ))
    };
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(refused)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    if let Err(why) = written {
        let _ = fs::remove_file(path);
        return Err(refused(why));
    }
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty());
    fs::File::open(folder.unwrap_or(Path::new(".")))
        .and_then(|folder| folder.sync_all())
        .map_err(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_inside_the_site() {
        let site = Path::new("/site");
        for bad in ["../x", "/etc/shadow", "a/../../x", "", "./a"] {
            assert!(inside(site, bad).is_err(), "{bad} must not pass");
        }
        assert_eq!(
            inside(site, "keys/a.age").ok(),
            Some(PathBuf::from("/site/keys/a.age"))
        );
    }
}
