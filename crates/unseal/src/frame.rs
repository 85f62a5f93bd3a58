//! How opened secrets travel to the signer, by pipe: for each, in the order asked for,
//! `u16 name length | name | u32 secret length | secret`, and at the end `u16 0`. All big-endian. A stream that ends
//! before the mark was cut short, and the signer uses nothing of it. `docs/spec/wire.md` has the same words.

use std::io::{self, Write};
use zeroize::Zeroizing;

/// A name's length at most.
pub const NAME_BYTES_MAX: usize = 255;
/// A secret's length at most: an RSA key of 8,192 bits in PEM has less than half of it. A longer one is not sealed.
pub const SECRET_BYTES_MAX: usize = 16_384;
/// Secrets of one opening at most.
pub const SECRETS_MAX: usize = 1_024;

/// Appends one secret.
pub fn secret(out: &mut impl Write, name: &str, secret: &Zeroizing<Vec<u8>>) -> io::Result<()> {
    let too_long = |what| io::Error::new(io::ErrorKind::InvalidInput, what);
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return Err(too_long("name of a secret is empty or too long"));
    }
    if secret.len() > SECRET_BYTES_MAX {
        return Err(too_long("secret is too long"));
    }
    let name_length = u16::try_from(name.len()).map_err(|_| too_long("name"))?;
    let secret_length = u32::try_from(secret.len()).map_err(|_| too_long("secret"))?;
    out.write_all(&name_length.to_be_bytes())?;
    out.write_all(name.as_bytes())?;
    out.write_all(&secret_length.to_be_bytes())?;
    out.write_all(secret)
}

/// Marks the end.
pub fn end(out: &mut impl Write) -> io::Result<()> {
    out.write_all(&0u16.to_be_bytes())?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_are_those_of_the_specification() {
        let mut out = Vec::new();
        secret(&mut out, "a.age", &Zeroizing::new(b"xyz".to_vec())).unwrap();
        end(&mut out).unwrap();
        assert_eq!(out, b"\x00\x05a.age\x00\x00\x00\x03xyz\x00\x00");
    }

    #[test]
    fn a_long_secret_is_refused_and_nothing_written() {
        let mut out = Vec::new();
        let long = Zeroizing::new(vec![0; SECRET_BYTES_MAX + 1]);
        assert!(secret(&mut out, "a", &long).is_err());
        assert!(secret(&mut out, "", &Zeroizing::new(vec![1])).is_err());
        assert!(out.is_empty());
    }
}
