//! The keys of the venue's accounts: what verifies a signature, what the key may do, and from where.

use aws_lc_rs::signature::{self, KeyPair, UnparsedPublicKey};
use aws_lc_rs::{hmac, rand, rsa};
use std::collections::HashMap;
use std::net::IpAddr;

/// What a key may do at the venue; the venue's own switches of an API key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// `enableReading`.
    Read = 1,
    /// `enableSpotAndMarginTrading`.
    Trade = 2,
    /// `enableMargin`: borrow, repay, margin orders.
    Margin = 4,
    /// `enableWithdrawals`.
    Withdraw = 8,
    /// `permitsUniversalTransfer`.
    UniversalTransfer = 16,
    /// `enableInternalTransfer`: to sub-accounts.
    InternalTransfer = 32,
    /// Convert, gift cards, earn and loans: given with `Trade` at the real venue, and here to keys that move value too.
    Invest = 64,
    /// Sub-accounts, their keys, settings of the account.
    Admin = 128,
    /// `enableFutures`.
    Futures = 256,
}

/// A set of rights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rights(pub u16);

impl Rights {
    /// Whether `right` is among them.
    #[must_use]
    pub fn has(self, right: Right) -> bool {
        self.0 & right as u16 != 0
    }

    /// These rights.
    #[must_use]
    pub fn of(rights: &[Right]) -> Self {
        Self(rights.iter().fold(0, |all, right| all | *right as u16))
    }

    /// The rights of a key by its duty; `None` for a word that is none.
    #[must_use]
    pub fn of_duty(duty: &str) -> Option<Self> {
        use Right::{
            Admin, Futures, InternalTransfer, Invest, Margin, Read, Trade, UniversalTransfer,
            Withdraw,
        };
        let of = Self::of;
        match duty {
            "read" => Some(of(&[Read])),
            "trade" => Some(of(&[Read, Trade, Invest, Futures])),
            "spot" => Some(of(&[Read, Trade, Invest])),
            "futures" => Some(of(&[Read, Futures])),
            "move" => Some(of(&[
                Read,
                Invest,
                Margin,
                Withdraw,
                UniversalTransfer,
                InternalTransfer,
            ])),
            "admin" => Some(of(&[Read, Admin])),
            "all" => Some(Self(u16::MAX)),
            _ => None,
        }
    }
}

/// How a key's signatures are checked.
pub enum Material {
    /// HMAC-SHA256 over a shared secret.
    Hmac(Box<hmac::Key>),
    /// Ed25519, the raw public key.
    Ed25519(Vec<u8>),
    /// RSA PKCS#1 v1.5 with SHA-256, the public key in DER.
    Rsa(Vec<u8>),
}

/// One API key at the venue.
pub struct Key {
    /// Index of the account that it belongs to.
    pub account: usize,
    /// Its number at the venue.
    pub number: usize,
    /// What it is for: `read`, `trade`, `move`, `admin`, `all`.
    pub duty: String,
    /// How its signatures are checked.
    pub material: Material,
    /// What it may do.
    pub rights: Rights,
    /// From where; empty means from anywhere.
    pub ips: Vec<IpAddr>,
    /// No longer accepted.
    pub revoked: bool,
    /// What each request must say besides, at a venue that asks for it.
    pub passphrase: Option<String>,
}

impl Key {
    /// A key checked by `material` with the rights of `duty`.
    #[must_use]
    pub fn new(account: usize, number: usize, duty: &str, material: Material) -> Self {
        Self {
            account,
            number,
            duty: duty.to_owned(),
            material,
            rights: Rights::of_duty(duty).unwrap_or(Rights(0)),
            ips: Vec::new(),
            revoked: false,
            passphrase: None,
        }
    }

    /// Whether `signature` is an HMAC over `payload` in Base64, as some venues write it.
    #[must_use]
    pub fn verifies_base64(&self, payload: &[u8], signature: &str) -> bool {
        match &self.material {
            Material::Hmac(key) => {
                unbase64(signature).is_some_and(|tag| hmac::verify(key, payload, &tag).is_ok())
            }
            _ => false,
        }
    }

    /// Whether it is an HMAC key.
    #[must_use]
    pub fn is_hmac(&self) -> bool {
        matches!(self.material, Material::Hmac(_))
    }

    /// Whether `signature`, as it stood in the request after percent-decoding, is one over `payload`.
    #[must_use]
    pub fn verifies(&self, payload: &[u8], signature: &str) -> bool {
        match &self.material {
            Material::Hmac(key) => {
                unhex(signature).is_some_and(|tag| hmac::verify(key, payload, &tag).is_ok())
            }
            Material::Ed25519(public) => unbase64(signature).is_some_and(|bytes| {
                UnparsedPublicKey::new(&signature::ED25519, public)
                    .verify(payload, &bytes)
                    .is_ok()
            }),
            Material::Rsa(public) => unbase64(signature).is_some_and(|bytes| {
                UnparsedPublicKey::new(&signature::RSA_PKCS1_2048_8192_SHA256, public)
                    .verify(payload, &bytes)
                    .is_ok()
            }),
        }
    }
}

impl Material {
    /// Checks HMAC signatures made with `secret`.
    #[must_use]
    pub fn hmac(secret: &str) -> Self {
        Self::Hmac(Box::new(hmac::Key::new(
            hmac::HMAC_SHA256,
            secret.as_bytes(),
        )))
    }

    /// Checks what an Ed25519 private key (PKCS#8, DER) signs.
    #[must_use]
    pub fn ed25519_private(pkcs8: &[u8]) -> Option<Self> {
        let pair = signature::Ed25519KeyPair::from_pkcs8_maybe_unchecked(pkcs8).ok()?;
        Some(Self::Ed25519(pair.public_key().as_ref().to_vec()))
    }

    /// Checks what an RSA private key (PKCS#8, DER) signs.
    #[must_use]
    pub fn rsa_private(pkcs8: &[u8]) -> Option<Self> {
        let pair = rsa::KeyPair::from_pkcs8(pkcs8).ok()?;
        Some(Self::Rsa(pair.public_key().as_ref().to_vec()))
    }
}

/// All keys of the venue by their text.
#[derive(Default)]
pub struct Keys {
    map: HashMap<String, Key>,
}

impl Keys {
    /// Adds a key; the one before under the same text is gone.
    pub fn add(&mut self, text: &str, key: Key) {
        self.map.insert(text.to_owned(), key);
    }

    /// The key of that text, unless it is revoked.
    #[must_use]
    pub fn find(&self, text: &str) -> Option<&Key> {
        self.map.get(text).filter(|key| !key.revoked)
    }

    /// The key of that text to change, revoked or not.
    pub fn change(&mut self, text: &str) -> Option<&mut Key> {
        self.map.get_mut(text)
    }

    /// Forgets the keys of accounts from number `accounts` on.
    pub fn keep(&mut self, accounts: usize) {
        self.map.retain(|_, key| key.account < accounts);
    }

    /// All, with their texts.
    pub fn all(&self) -> impl Iterator<Item = (&String, &Key)> {
        self.map.iter()
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.map.len()
    }
}

/// Bytes of a hex text, in either case.
#[must_use]
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let bytes = text.as_bytes();
    if !bytes.len().is_multiple_of(2) {
        return None;
    }
    let digit = |b: u8| char::from(b).to_digit(16);
    bytes
        .chunks_exact(2)
        .map(|pair| {
            let high = digit(*pair.first()?)?;
            let low = digit(*pair.get(1)?)?;
            u8::try_from(high * 16 + low).ok()
        })
        .collect()
}

/// Lower-case hex.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Bytes of a base64 text in its one canonical form: padded, no spaces, no bits left over.
#[must_use]
pub fn unbase64(text: &str) -> Option<Vec<u8>> {
    let bytes = text.as_bytes();
    if bytes.is_empty() || !bytes.len().is_multiple_of(4) {
        return None;
    }
    let padding = bytes.iter().rev().take_while(|b| **b == b'=').count();
    if padding > 2 {
        return None;
    }
    let mut out = Vec::with_capacity(bytes.len() / 4 * 3);
    let (mut bits, mut held) = (0_u32, 0_u32);
    for byte in bytes.get(..bytes.len() - padding)? {
        let value = BASE64.iter().position(|b| b == byte)?;
        held = held << 6 | u32::try_from(value).ok()?;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            out.push(u8::try_from(held >> bits & 0xff).ok()?);
        }
    }
    (held & ((1 << bits) - 1) == 0).then_some(out)
}

/// Base64 with padding.
#[must_use]
pub fn base64(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let at = |i: usize| u32::from(chunk.get(i).copied().unwrap_or(0));
        let word = at(0) << 16 | at(1) << 8 | at(2);
        for i in 0..4 {
            if i <= chunk.len() {
                let index = (word >> (18 - 6 * i) & 63) as usize;
                out.push(char::from(BASE64.get(index).copied().unwrap_or(b'=')));
            } else {
                out.push('=');
            }
        }
    }
    out
}

/// A PEM text around DER.
#[must_use]
pub fn pem(label: &str, der: &[u8]) -> String {
    let body = base64(der);
    let mut out = format!("-----BEGIN {label}-----\n");
    for line in body.as_bytes().chunks(64) {
        out.push_str(&String::from_utf8_lossy(line));
        out.push('\n');
    }
    out.push_str(&format!("-----END {label}-----\n"));
    out
}

/// 64 letters and digits, as the venue's keys and secrets look: from `seed` and `label`, or random without a seed.
#[must_use]
pub fn sixty_four(seed: Option<u64>, label: &str) -> String {
    const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut bytes = [0_u8; 64];
    match seed {
        Some(seed) => {
            let key = hmac::Key::new(hmac::HMAC_SHA256, &seed.to_be_bytes());
            let first = hmac::sign(&key, format!("{label} 1").as_bytes());
            let second = hmac::sign(&key, format!("{label} 2").as_bytes());
            for (to, from) in bytes
                .iter_mut()
                .zip(first.as_ref().iter().chain(second.as_ref()))
            {
                *to = *from;
            }
        }
        None => {
            // Without random bytes nothing may start; zeros would only make keys alike, and `fill` does not fail on Linux.
            let _ = rand::fill(&mut bytes);
        }
    }
    bytes
        .iter()
        .map(|b| {
            char::from(
                LETTERS
                    .get(usize::from(*b) % LETTERS.len())
                    .copied()
                    .unwrap_or(b'A'),
            )
        })
        .collect()
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_has_one_form() {
        for text in ["", "f", "fo", "foo", "foob"] {
            let coded = base64(text.as_bytes());
            if !text.is_empty() {
                assert_eq!(unbase64(&coded), Some(text.as_bytes().to_vec()), "{coded}");
            }
        }
        // Bits left over, padding missing or within, another alphabet.
        for bad in ["Zh==", "Zg", "Z===", "Zg=g", "Z-==", "Zg== ", ""] {
            assert_eq!(unbase64(bad), None, "{bad}");
        }
    }
}
