//! What `portcullis-unseal` writes to the signer's pipe: for each secret `u16 name length | name | u32 secret length |
//! secret`, then `u16 0`; all big-endian. A stream that ends before the mark was cut short, and nothing of it is used.

use std::collections::HashMap;
use std::fmt;
use std::io::{self, Read};
use zeroize::Zeroizing;

/// A secret's length at most, as `portcullis-unseal` has it.
pub const SECRET_BYTES_MAX: usize = 16_384;
/// Secrets of one opening at most.
pub const SECRETS_MAX: usize = 1_024;

/// One opened file. Without `Debug` or `Clone`.
pub struct Secret {
    /// The sealed file's name within the site.
    pub name: String,
    pub bytes: Zeroizing<Vec<u8>>,
}

/// The site's secret, from which HMAC virtual keys are derived.
pub const SITE_SECRET: &str = "keys/site-secret.age";
/// The seed of the log key.
pub const LOG_KEY: &str = "keys/log-key.age";

/// Opened secrets that nothing has claimed yet, by name. Without `Debug` or `Clone`; wiped when it goes.
#[derive(Default)]
pub struct Held(HashMap<String, Zeroizing<Vec<u8>>>);

impl Held {
    /// A secret of the same name is replaced. Beyond [`SECRETS_MAX`] names it is dropped.
    pub fn keep(&mut self, secret: Secret) {
        if self.0.len() < SECRETS_MAX || self.0.contains_key(&secret.name) {
            self.0.insert(secret.name, secret.bytes);
        }
    }

    pub fn take(&mut self, name: &str) -> Option<Zeroizing<Vec<u8>>> {
        self.0.remove(name)
    }

    #[must_use]
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.0.get(name).map(|bytes| bytes.as_slice())
    }
}

/// Why the secrets cannot be used.
#[derive(Debug)]
pub enum SecretsError {
    /// `portcullis-unseal` ended early: its own message says why.
    CutShort,
    TooLong,
    TooMany,
    Name,
    Io(io::Error),
}

impl fmt::Display for SecretsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CutShort => f.write_str("unsealing ended before its end; see its own message"),
            Self::TooLong => write!(f, "a secret is longer than {SECRET_BYTES_MAX} bytes"),
            Self::TooMany => write!(f, "more than {SECRETS_MAX} secrets"),
            Self::Name => f.write_str("a secret's name is not text"),
            Self::Io(why) => write!(f, "cannot read the secrets: {why}"),
        }
    }
}

impl std::error::Error for SecretsError {}

/// Reads all of them, up to the end mark.
pub fn read(from: &mut impl Read) -> Result<Vec<Secret>, SecretsError> {
    let mut secrets = Vec::new();
    loop {
        let mut length = [0; 2];
        exact(from, &mut length)?;
        let length = usize::from(u16::from_be_bytes(length));
        if length == 0 {
            return Ok(secrets);
        }
        if secrets.len() == SECRETS_MAX {
            return Err(SecretsError::TooMany);
        }
        let mut name = vec![0; length];
        exact(from, &mut name)?;
        let name = String::from_utf8(name).map_err(|_| SecretsError::Name)?;
        let mut length = [0; 4];
        exact(from, &mut length)?;
        let length = usize::try_from(u32::from_be_bytes(length))
            .ok()
            .filter(|length| *length <= SECRET_BYTES_MAX)
            .ok_or(SecretsError::TooLong)?;
        let mut bytes = Zeroizing::new(vec![0; length]);
        exact(from, &mut bytes)?;
        secrets.push(Secret { name, bytes });
    }
}

fn exact(from: &mut impl Read, into: &mut [u8]) -> Result<(), SecretsError> {
    from.read_exact(into).map_err(|why| match why.kind() {
        io::ErrorKind::UnexpectedEof => SecretsError::CutShort,
        _ => SecretsError::Io(why),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &[u8] = b"\x00\x05a.age\x00\x00\x00\x03xyz\x00\x00";

    #[test]
    fn the_stream_of_the_specification_is_read() {
        let secrets = read(&mut &STREAM[..]).ok().unwrap();
        assert_eq!(secrets.len(), 1);
        assert_eq!(
            (secrets[0].name.as_str(), secrets[0].bytes.as_slice()),
            ("a.age", &b"xyz"[..])
        );
    }

    #[test]
    fn a_stream_cut_anywhere_gives_nothing() {
        for end in 0..STREAM.len() {
            assert!(
                matches!(read(&mut &STREAM[..end]), Err(SecretsError::CutShort)),
                "{end}"
            );
        }
        assert!(matches!(
            read(&mut &b"\x00\x01a\xff\xff\xff\xff"[..]),
            Err(SecretsError::TooLong)
        ));
    }
}
