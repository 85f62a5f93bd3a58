//! Seals and opens with age: passphrase, X25519, SSH key, and the unattended credential, which is an X25519 identity
//! that systemd (or a file that stands in for it) hands to the service.

use age::secrecy::{ExposeSecret, SecretString};
use std::fmt;
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use zeroize::{Zeroize, Zeroizing};

use crate::frame::SECRET_BYTES_MAX;

/// Name of the credential within `$CREDENTIALS_DIRECTORY`.
pub const CREDENTIAL_NAME: &str = "portcullis";
/// A sealed file at most: the longest secret and age's head with a hundred recipients.
pub const SEALED_BYTES_MAX: u64 = 65_536;
/// An identity file at most.
pub const IDENTITY_BYTES_MAX: u64 = 65_536;
/// A passphrase at most.
pub const PASSPHRASE_BYTES_MAX: usize = 1_024;
/// scrypt's work factor (log2) at most: a file that asks for more is not opened. About four seconds of one core.
pub const WORK_FACTOR_MAX: u8 = 21;

/// To whom a secret is sealed.
pub enum Recipient {
    /// A passphrase seals alone: age allows no second recipient beside it.
    Passphrase(SecretString),
    X25519(age::x25519::Recipient),
    Ssh(age::ssh::Recipient),
}

impl Recipient {
    /// Reads `age1…` or a line of an SSH public key file (`ssh-ed25519 AAAA…`, `ssh-rsa AAAA…`).
    pub fn parse(text: &str) -> Result<Self, Error> {
        let text = text.trim();
        if text.starts_with("age1") {
            age::x25519::Recipient::from_str(text)
                .map(Self::X25519)
                .map_err(|why| Error::Recipient(text.chars().take(80).collect(), why.to_owned()))
        } else {
            age::ssh::Recipient::from_str(text)
                .map(Self::Ssh)
                .map_err(|why| {
                    Error::Recipient(text.chars().take(80).collect(), format!("{why:?}"))
                })
        }
    }
}

/// Seals `secret` to all of `recipients`.
pub fn seal(secret: &Zeroizing<Vec<u8>>, recipients: &[Recipient]) -> Result<Vec<u8>, Error> {
    if secret.is_empty() {
        return Err(Error::EmptySecret);
    }
    if secret.len() > SECRET_BYTES_MAX {
        return Err(Error::LongSecret);
    }
    let encryptor = match recipients {
        [] => return Err(Error::NoRecipient),
        [Recipient::Passphrase(passphrase)] => {
            age::Encryptor::with_user_passphrase(passphrase.clone())
        }
        many => {
            let mut to: Vec<&dyn age::Recipient> = Vec::with_capacity(many.len());
            for recipient in many {
                match recipient {
                    Recipient::Passphrase(_) => return Err(Error::PassphraseNotAlone),
                    Recipient::X25519(key) => to.push(key),
                    Recipient::Ssh(key) => to.push(key),
                }
            }
            age::Encryptor::with_recipients(to.into_iter()).map_err(Error::Seal)?
        }
    };
    let mut sealed = Vec::new();
    let mut writer = encryptor.wrap_output(&mut sealed).map_err(Error::Write)?;
    writer.write_all(secret).map_err(Error::Write)?;
    writer.finish().map_err(Error::Write)?;
    Ok(sealed)
}

/// What opens sealed files.
#[derive(Default)]
pub struct Openers {
    identities: Vec<Box<dyn age::Identity>>,
}

impl Openers {
    /// A passphrase for files sealed with one. (An SSH key's own passphrase goes with [`Openers::file`].)
    pub fn passphrase(&mut self, passphrase: SecretString) {
        let mut identity = age::scrypt::Identity::new(passphrase);
        identity.set_max_work_factor(WORK_FACTOR_MAX);
        self.identities.push(Box::new(identity));
    }

    /// A file with X25519 identities (`AGE-SECRET-KEY-1…`, `#` starts a comment) or an SSH private key, which
    /// `passphrase` opens if it is itself encrypted.
    pub fn file(&mut self, path: &Path, passphrase: Option<SecretString>) -> Result<(), Error> {
        let text = read_bounded(path, IDENTITY_BYTES_MAX)?;
        let unusable = |why: &str| Error::Identity(path.to_owned(), why.to_owned());
        if text.starts_with(b"-----BEGIN") {
            let identity = age::ssh::Identity::from_buffer(&text[..], None)
                .map_err(|why| unusable(&why.to_string()))?;
            match (&identity, passphrase) {
                (age::ssh::Identity::Unencrypted(_), _) => self.identities.push(Box::new(identity)),
                (age::ssh::Identity::Encrypted(_), Some(passphrase)) => {
                    let identity = identity.with_callbacks(OnePassphrase(passphrase));
                    self.identities.push(Box::new(identity));
                }
                (age::ssh::Identity::Encrypted(_), None) => {
                    return Err(unusable("it is encrypted; give its passphrase"));
                }
                (age::ssh::Identity::Unsupported(_), _) => {
                    return Err(unusable("this kind of SSH key cannot open seals"));
                }
            }
            return Ok(());
        }
        let text = std::str::from_utf8(&text).map_err(|_| unusable("it is not text"))?;
        let mut found = false;
        for line in text.lines().map(str::trim) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let identity = age::x25519::Identity::from_str(line).map_err(&unusable)?;
            self.identities.push(Box::new(identity));
            found = true;
        }
        if found {
            Ok(())
        } else {
            Err(unusable("it holds no identity"))
        }
    }

    /// Opens one sealed file.
    pub fn open(&self, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
        let decryptor = age::Decryptor::new(sealed).map_err(Error::Open)?;
        let identities = self.identities.iter().map(|identity| &**identity as _);
        let reader = decryptor.decrypt(identities).map_err(Error::Open)?;
        // Reserved at once: a vector that grew would leave copies of the secret behind.
        let mut secret = Zeroizing::new(Vec::with_capacity(SECRET_BYTES_MAX + 1));
        let bound = u64::try_from(SECRET_BYTES_MAX + 1).unwrap_or(u64::MAX);
        reader
            .take(bound)
            .read_to_end(&mut secret)
            .map_err(|why| Error::Open(age::DecryptError::Io(why)))?;
        if secret.is_empty() {
            return Err(Error::EmptySecret);
        }
        if secret.len() > SECRET_BYTES_MAX {
            return Err(Error::LongSecret);
        }
        Ok(secret)
    }
}

/// Makes a new unattended credential: the identity's text, and the recipient to seal to.
#[must_use]
pub fn credential() -> (Zeroizing<String>, String) {
    let identity = age::x25519::Identity::generate();
    let public = identity.to_public().to_string();
    let text = format!(
        "# opens what the gate starts with; keep it off the backup of the site\n# public key: {public}\n{}\n",
        identity.to_string().expose_secret()
    );
    (Zeroizing::new(text), public)
}

/// The recipient of a credential file.
pub fn credential_recipient(path: &Path) -> Result<Recipient, Error> {
    let text = read_bounded(path, IDENTITY_BYTES_MAX)?;
    let text = std::str::from_utf8(&text)
        .map_err(|_| Error::Identity(path.to_owned(), "it is not text".into()))?;
    text.lines()
        .map(str::trim)
        .find(|line| !line.is_empty() && !line.starts_with('#'))
        .ok_or_else(|| Error::Identity(path.to_owned(), "it holds no identity".into()))
        .and_then(|line| {
            age::x25519::Identity::from_str(line)
                .map(|identity| Recipient::X25519(identity.to_public()))
                .map_err(|why| Error::Identity(path.to_owned(), why.to_owned()))
        })
}

/// Where systemd put the credential, if it did.
#[must_use]
pub fn systemd_credential() -> Option<PathBuf> {
    let path = Path::new(&std::env::var_os("CREDENTIALS_DIRECTORY")?).join(CREDENTIAL_NAME);
    path.is_file().then_some(path)
}

/// Reads a file whole, refusing one that is longer than `bytes_max`.
pub fn read_bounded(path: &Path, bytes_max: u64) -> Result<Zeroizing<Vec<u8>>, Error> {
    let read = || -> io::Result<Zeroizing<Vec<u8>>> {
        let capacity = usize::try_from(bytes_max).unwrap_or(0).saturating_add(1);
        let mut bytes = Zeroizing::new(Vec::with_capacity(capacity));
        fs::File::open(path)?
            .take(bytes_max.saturating_add(1))
            .read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().map_err(|why| Error::Read(path.to_owned(), why))?;
    if bytes.len() as u64 > bytes_max {
        return Err(Error::LongFile(path.to_owned(), bytes_max));
    }
    Ok(bytes)
}

/// The first line of `input`, without its end: how a passphrase arrives.
pub fn passphrase_line(input: &mut impl Read) -> Result<SecretString, Error> {
    let mut line = Zeroizing::new(String::with_capacity(PASSPHRASE_BYTES_MAX + 1));
    let mut bytes = Zeroizing::new(Vec::with_capacity(PASSPHRASE_BYTES_MAX + 1));
    let mut byte = [0u8; 1];
    loop {
        // One byte at a time: what follows the line belongs to somebody else.
        match input.read(&mut byte) {
            Ok(0) => break,
            Ok(_) if byte == *b"\n" => break,
            Ok(_) if bytes.len() == PASSPHRASE_BYTES_MAX => return Err(Error::Passphrase),
            Ok(_) => bytes.push(byte[0]),
            Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
            Err(why) => return Err(Error::Read("standard input".into(), why)),
        }
    }
    byte.zeroize();
    let text = std::str::from_utf8(&bytes).map_err(|_| Error::Passphrase)?;
    line.push_str(text.strip_suffix('\r').unwrap_or(text));
    if line.is_empty() {
        return Err(Error::Passphrase);
    }
    Ok(SecretString::from(line.as_str().to_owned()))
}

/// Answers age's question for an SSH key's passphrase, and no other.
#[derive(Clone)]
struct OnePassphrase(SecretString);

impl age::Callbacks for OnePassphrase {
    fn display_message(&self, _: &str) {}
    fn confirm(&self, _: &str, _: &str, _: Option<&str>) -> Option<bool> {
        None
    }
    fn request_public_string(&self, _: &str) -> Option<String> {
        None
    }
    fn request_passphrase(&self, _: &str) -> Option<SecretString> {
        Some(self.0.clone())
    }
}

/// Why a secret was not sealed or opened.
#[derive(Debug)]
pub enum Error {
    NoRecipient,
    PassphraseNotAlone,
    Passphrase,
    EmptySecret,
    LongSecret,
    LongFile(PathBuf, u64),
    Recipient(String, String),
    Identity(PathBuf, String),
    Read(PathBuf, io::Error),
    Write(io::Error),
    Seal(age::EncryptError),
    Open(age::DecryptError),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRecipient => {
                f.write_str("nobody to seal to; name a recipient, a credential or a passphrase")
            }
            Self::PassphraseNotAlone => {
                f.write_str("a passphrase seals alone; leave out the other recipients")
            }
            Self::Passphrase => write!(
                f,
                "no usable passphrase on standard input; give one line of text, {PASSPHRASE_BYTES_MAX} bytes at most"
            ),
            Self::EmptySecret => f.write_str("the secret is empty"),
            Self::LongSecret => {
                write!(f, "the secret is longer than {SECRET_BYTES_MAX} bytes")
            }
            Self::LongFile(path, max) => {
                write!(f, "`{}` is longer than {max} bytes", path.display())
            }
            Self::Recipient(text, why) => write!(
                f,
                "`{text}` is no recipient ({why}); give `age1…` or an SSH public key"
            ),
            Self::Identity(path, why) => {
                write!(f, "`{}` opens nothing: {why}", path.display())
            }
            Self::Read(path, why) => write!(f, "cannot read `{}`: {why}", path.display()),
            Self::Write(why) => write!(f, "cannot write: {why}"),
            Self::Seal(why) => write!(f, "cannot seal: {why}"),
            Self::Open(age::DecryptError::NoMatchingKeys) => {
                f.write_str("none of the given identities opens it")
            }
            Self::Open(why) => write!(f, "cannot open: {why}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read(_, why) | Self::Write(why) => Some(why),
            Self::Seal(why) => Some(why),
            Self::Open(why) => Some(why),
            _ => None,
        }
    }
}
