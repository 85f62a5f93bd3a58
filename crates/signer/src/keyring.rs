//! The only file that holds a real key. Signing takes a [`Recorded`], which only the log makes: a signature for something
//! that is not written in the log does not compile.
//!
//! Key types here have no `Debug`, `Clone` or `Serialize`. Locked memory for them is `room`'s duty and not there yet.

use crate::log_file::Recorded;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{Ed25519KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use aws_lc_rs::{hkdf, hmac};
use portcullis_model::action::Scheme;
use portcullis_model::id::{EntryId, KeyId};
use portcullis_venues::binance::{Ready, Signature, Unsigned};
use std::collections::HashMap;
use std::fmt;

enum Key {
    Hmac(Box<hmac::Key>),
    Ed25519(Box<Ed25519KeyPair>),
    Rsa(Box<RsaKeyPair>),
}

/// Opened keys, by id.
#[derive(Default)]
pub struct Keyring {
    keys: HashMap<KeyId, (String, Key)>,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keyring({} keys)", self.keys.len())
    }
}

/// Why a secret is no key, or a key does not sign. No variant holds a byte of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyError {
    /// Not of the form that its scheme wants.
    Malformed(Scheme),
    /// Sealed, or removed.
    NotOpen(KeyId),
    Failed,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(Scheme::HmacSha256) => f.write_str("the secret is empty"),
            Self::Malformed(Scheme::Ed25519) => {
                f.write_str("the secret is no Ed25519 key in PKCS#8, DER")
            }
            Self::Malformed(Scheme::RsaSha256) => {
                f.write_str("the secret is no RSA key in PKCS#8, DER")
            }
            Self::NotOpen(key) => write!(f, "key {key} is sealed"),
            Self::Failed => f.write_str("the signature could not be made"),
        }
    }
}

impl std::error::Error for KeyError {}

/// An approved request: what to sign, and with which key.
#[derive(Debug)]
pub struct Approved {
    pub key: KeyId,
    pub unsigned: Unsigned,
}

impl Keyring {
    /// Takes a key in. HMAC: the secret's text; the others: PKCS#8, DER.
    pub fn open(
        &mut self,
        id: KeyId,
        api_key: &str,
        scheme: Scheme,
        secret: &[u8],
    ) -> Result<(), KeyError> {
        let malformed = KeyError::Malformed(scheme);
        let key = match scheme {
            Scheme::HmacSha256 if secret.is_empty() => return Err(malformed),
            Scheme::HmacSha256 => Key::Hmac(Box::new(hmac::Key::new(hmac::HMAC_SHA256, secret))),
            Scheme::Ed25519 => Key::Ed25519(Box::new(
                Ed25519KeyPair::from_pkcs8(secret).map_err(|_| malformed)?,
            )),
            Scheme::RsaSha256 => Key::Rsa(Box::new(
                RsaKeyPair::from_pkcs8(secret).map_err(|_| malformed)?,
            )),
        };
        self.keys.insert(id, (api_key.to_owned(), key));
        Ok(())
    }

    #[must_use]
    pub fn is_open(&self, id: KeyId) -> bool {
        self.keys.contains_key(&id)
    }

    /// Signs what was recorded, and gives the request with the entry that recorded it.
    pub fn sign(&self, recorded: Recorded<Approved>) -> Result<(EntryId, Ready), KeyError> {
        let entry = recorded.entry();
        let Approved { key: id, unsigned } = recorded.into_approved();
        let (api_key, key) = self.keys.get(&id).ok_or(KeyError::NotOpen(id))?;
        let message = unsigned.message();
        let signature = match key {
            Key::Hmac(key) => {
                let tag = hmac::sign(key, message);
                Signature::HmacSha256(tag.as_ref().try_into().map_err(|_| KeyError::Failed)?)
            }
            Key::Ed25519(key) => Signature::Ed25519(
                key.sign(message)
                    .as_ref()
                    .try_into()
                    .map_err(|_| KeyError::Failed)?,
            ),
            Key::Rsa(key) => {
                let mut bytes = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut bytes)
                    .map_err(|_| KeyError::Failed)?;
                Signature::RsaSha256(bytes)
            }
        };
        Ok((entry, unsigned.finish(api_key, &signature)))
    }
}

/// The HMAC secret of a virtual key: HKDF-SHA256 of the site's secret with the key's text as info, as 64 letters and
/// digits. Nothing of it is stored.
#[must_use]
pub fn virtual_secret(site_secret: &[u8], api_key: &str) -> String {
    struct Length;
    impl hkdf::KeyType for Length {
        fn len(&self) -> usize {
            64
        }
    }
    let mut bytes = [0; 64];
    let info = [b"portcullis virtual key v1 ".as_slice(), api_key.as_bytes()];
    // HKDF-SHA256 gives up to 8,160 bytes; 64 cannot fail.
    let filled = hkdf::Salt::new(hkdf::HKDF_SHA256, b"portcullis")
        .extract(site_secret)
        .expand(&info, Length)
        .and_then(|okm| okm.fill(&mut bytes));
    match filled {
        Ok(()) => portcullis_venues::binance::virtual_key_text(&bytes),
        Err(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn virtual_secrets_depend_on_site_and_key_and_on_nothing_else() {
        let one = virtual_secret(b"site", "a");
        assert_eq!(one, virtual_secret(b"site", "a"));
        assert_eq!(
            (one.len(), one.bytes().all(|b| b.is_ascii_alphanumeric())),
            (64, true)
        );
        assert_ne!(one, virtual_secret(b"site", "b"));
        assert_ne!(one, virtual_secret(b"other", "a"));
    }

    #[test]
    fn what_is_no_key_is_refused_without_a_word_of_it() {
        let mut keyring = Keyring::default();
        for scheme in [Scheme::Ed25519, Scheme::RsaSha256] {
            let error = keyring.open(KeyId(1), "k", scheme, b"hunter2").unwrap_err();
            assert!(!error.to_string().contains("hunter2"));
        }
        assert_eq!(
            keyring.open(KeyId(1), "k", Scheme::HmacSha256, b""),
            Err(KeyError::Malformed(Scheme::HmacSha256))
        );
        assert!(!keyring.is_open(KeyId(1)));
    }
}
