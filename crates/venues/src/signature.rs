//! The signature schemes: HMAC-SHA256 in hex or base64, Ed25519 and RSA (PKCS#1 v1.5, SHA-256) in base64. A program's
//! signature is checked here; the real one is made by the caller's keyring and only written down here.

use crate::error::DecodeError;
use crate::form::hex;
use aws_lc_rs::{hmac, signature as aws};
use portcullis_model::action::Scheme;

/// What a program's signature is checked with. Without `Debug` or `Clone`: the HMAC form is a secret.
#[expect(missing_debug_implementations, reason = "holds a secret")]
pub struct VerifyKey {
    kind: Kind,
}

enum Kind {
    /// Boxed: it holds two hash states.
    Hmac(Box<hmac::Key>),
    Public(Scheme, aws::ParsedPublicKey),
}

/// An RSA signature at most (8192 bits).
pub const SIGNATURE_BYTES_MAX: usize = 1_024;

impl VerifyKey {
    /// The secret is the text that the program has, as bytes.
    #[must_use]
    pub fn hmac(secret: &[u8]) -> Self {
        Self {
            kind: Kind::Hmac(Box::new(hmac::Key::new(hmac::HMAC_SHA256, secret))),
        }
    }

    /// From 32 raw bytes or a SubjectPublicKeyInfo. `None`: it is neither.
    #[must_use]
    pub fn ed25519(public: &[u8]) -> Option<Self> {
        const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0];
        let raw = public.strip_prefix(&SPKI_PREFIX).unwrap_or(public);
        let key = (raw.len() == 32)
            .then(|| aws::ParsedPublicKey::new(&aws::ED25519, raw))?
            .ok()?;
        Some(Self {
            kind: Kind::Public(Scheme::Ed25519, key),
        })
    }

    /// From a SubjectPublicKeyInfo or PKCS#1 public key, DER, of 2048 to 8192 bits.
    #[must_use]
    pub fn rsa(public: &[u8]) -> Option<Self> {
        let key = aws::ParsedPublicKey::new(&aws::RSA_PKCS1_2048_8192_SHA256, public).ok()?;
        Some(Self {
            kind: Kind::Public(Scheme::RsaSha256, key),
        })
    }

    #[must_use]
    pub fn scheme(&self) -> Scheme {
        match &self.kind {
            Kind::Hmac(_) => Scheme::HmacSha256,
            Kind::Public(scheme, _) => *scheme,
        }
    }

    /// Compares in constant time.
    pub(crate) fn verifies(&self, message: &[u8], given: &[u8]) -> bool {
        match &self.kind {
            Kind::Hmac(key) => hmac::verify(key, message, given).is_ok(),
            Kind::Public(_, key) => key.verify_sig(message, given).is_ok(),
        }
    }
}

/// A signature that the caller made with a real key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signature {
    HmacSha256([u8; 32]),
    Ed25519([u8; 64]),
    RsaSha256(Vec<u8>),
}

/// How a venue writes an HMAC. The other signatures are base64 everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HmacText {
    /// In whatever case.
    Hex,
    Base64,
}

/// A signature as it was sent.
#[derive(Debug, Clone, Copy)]
pub struct Given<'a> {
    pub text: &'a str,
    pub hmac: HmacText,
    /// It stands in a form: percent-encoding is undone first.
    pub is_encoded: bool,
}

/// What stands beside a signature: the real key's id, and the passphrase of venues that have one.
#[derive(Debug, Clone, Copy)]
pub struct Credential<'a> {
    pub api_key: &'a str,
    pub passphrase: Option<&'a str>,
}

/// Of venues without passphrases.
impl<'a> From<&'a str> for Credential<'a> {
    fn from(api_key: &'a str) -> Self {
        Self {
            api_key,
            passphrase: None,
        }
    }
}

impl Signature {
    /// Appends its text.
    pub(crate) fn push_to(&self, hmac: HmacText, out: &mut String) {
        match (self, hmac) {
            (Self::HmacSha256(tag), HmacText::Hex) => {
                for b in tag {
                    for nibble in [b >> 4, b & 15] {
                        // The digits, then the letters.
                        let ascii = nibble + if nibble < 10 { b'0' } else { b'a' - 10 };
                        out.push(char::from(ascii));
                    }
                }
            }
            (Self::HmacSha256(bytes), HmacText::Base64) => out.push_str(&base64(bytes)),
            (Self::Ed25519(bytes), _) => out.push_str(&base64(bytes)),
            (Self::RsaSha256(bytes), _) => out.push_str(&base64(bytes)),
        }
    }
}

/// The bytes of a signature as it was sent, in the form that the key's scheme has.
pub(crate) fn read(key: &VerifyKey, given: Given<'_>) -> Result<Vec<u8>, DecodeError> {
    let sent = given.text;
    let is_hex = key.scheme() == Scheme::HmacSha256 && given.hmac == HmacText::Hex;
    if is_hex && let Some(tag) = from_hex(sent.as_bytes()) {
        return Ok(tag);
    }
    let mut text = Vec::with_capacity(sent.len());
    let mut rest = sent.bytes();
    while let Some(b) = rest.next() {
        // Base64 has a `+` and no space: here, and only here, a plain `+` is a plus.
        text.push(if b == b'%' && given.is_encoded {
            match (rest.next().and_then(hex), rest.next().and_then(hex)) {
                (Some(high), Some(low)) => high << 4 | low,
                _ => return Err(DecodeError::SignatureMalformed),
            }
        } else {
            b
        });
    }
    let bytes = match key.scheme() {
        Scheme::HmacSha256 if is_hex => from_hex(&text),
        Scheme::HmacSha256 => from_base64(&text).filter(|b| b.len() == 32),
        Scheme::Ed25519 => from_base64(&text).filter(|b| b.len() == 64),
        Scheme::RsaSha256 => {
            from_base64(&text).filter(|b| (256..=SIGNATURE_BYTES_MAX).contains(&b.len()))
        }
    };
    bytes.ok_or(DecodeError::SignatureMalformed)
}

fn from_hex(text: &[u8]) -> Option<Vec<u8>> {
    if text.len() != 64 {
        return None;
    }
    let mut bytes = Vec::with_capacity(32);
    for pair in text.chunks_exact(2) {
        let [high, low] = pair else { return None };
        bytes.push(hex(*high)? << 4 | hex(*low)?);
    }
    Some(bytes)
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Bytes in the standard alphabet, padded.
#[must_use]
pub fn base64(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group = chunk
            .iter()
            .enumerate()
            .fold(0u32, |n, (i, b)| n | u32::from(*b) << (16 - 8 * i));
        for i in 0..4 {
            let six = (group >> (18 - 6 * i)) & 63;
            out.push(
                match usize::try_from(six).ok().and_then(|s| ALPHABET.get(s)) {
                    Some(&c) if i <= chunk.len() => c as char,
                    _ => '=',
                },
            );
        }
    }
    out
}

/// Standard alphabet, padded, no stray bits: one text for each signature.
fn from_base64(text: &[u8]) -> Option<Vec<u8>> {
    if text.is_empty() || text.len() > SIGNATURE_BYTES_MAX * 2 {
        return None;
    }
    decode_base64(std::str::from_utf8(text).ok()?)
}

/// The same of any length, also none.
#[must_use]
pub fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let text = text.as_bytes();
    if text.is_empty() {
        return Some(Vec::new());
    }
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let last = text.len() / 4 - 1;
    for (at, chunk) in text.chunks_exact(4).enumerate() {
        let padding = chunk.iter().rev().take_while(|&&b| b == b'=').count();
        if padding > 2 || (padding > 0 && at != last) {
            return None;
        }
        let mut group = 0u32;
        for &b in chunk.iter().take(4 - padding) {
            group = group << 6 | u32::try_from(ALPHABET.iter().position(|&a| a == b)?).ok()?;
        }
        group <<= 6 * u32::try_from(padding).ok()?;
        let bytes = group.to_be_bytes();
        let (kept, rest) = bytes.get(1..)?.split_at_checked(3 - padding)?;
        if rest.iter().any(|&b| b != 0) {
            return None;
        }
        out.extend_from_slice(kept);
    }
    Some(out)
}

/// 64 letters and digits, at least 5.9 bits of each random byte: the text of a virtual HMAC secret, and of most venues'
/// keys.
#[must_use]
pub fn letters_and_digits(random: &[u8; 64]) -> String {
    random
        .iter()
        .filter_map(|b| ALPHABET.get(usize::from(b % 62)))
        .map(|&b| b as char)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_decodes_to_itself_and_to_nothing_else() {
        for n in 1..70u8 {
            let bytes: Vec<u8> = (0..n).map(|b| b.wrapping_mul(37)).collect();
            assert_eq!(from_base64(base64(&bytes).as_bytes()).unwrap(), bytes);
        }
        for text in [
            "", "A", "AA", "AAA", "A===", "AB==", "AAB=", "AA==AAAA", "A-_A", "AA= ", "AAAA\n",
        ] {
            assert_eq!(from_base64(text.as_bytes()), None, "{text}");
        }
        assert_eq!(base64(b"\xfb\xff"), "+/8=");
    }

    #[test]
    fn virtual_keys_are_64_letters_and_digits() {
        let mut random = [0u8; 64];
        for (at, b) in random.iter_mut().enumerate() {
            *b = u8::try_from(at * 4).unwrap();
        }
        let text = letters_and_digits(&random);
        assert!(text.len() == 64 && text.bytes().all(|b| b.is_ascii_alphanumeric()));
    }
}
