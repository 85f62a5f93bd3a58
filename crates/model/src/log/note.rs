//! Signed notes and checkpoints (C2SP `signed-note` v1.0.0, `tlog-checkpoint` v1.0.0) with Ed25519.

use super::Hash;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use std::fmt;

/// Type byte of an Ed25519 note signature.
const ED25519_NOTE: u8 = 1;
/// Signatures that a note may have; the specification wants at least 16 to be taken.
const SIGNATURES_MAX: usize = 64;

/// Size and root of a tree, as signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log's name: the site's, without scheme.
    pub origin: String,
    pub size: u64,
    pub root: Hash,
}

/// Why a note is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoteError {
    Malformed,
    /// None of its signatures is by the key that was asked for.
    NotSigned,
    /// A signature by that key does not match.
    WrongSignature,
}

impl fmt::Display for NoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "the checkpoint is not a signed note",
            Self::NotSigned => "the checkpoint is not signed by this log's key",
            Self::WrongSignature => "the signature of the checkpoint is wrong",
        })
    }
}

impl std::error::Error for NoteError {}

/// A public key with its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verifier {
    pub name: String,
    pub public: [u8; 32],
}

impl Verifier {
    /// First four bytes of `SHA-256(name || 0x0A || type || key)`.
    #[must_use]
    pub fn id(&self) -> [u8; 4] {
        let mut bytes = self.name.as_bytes().to_vec();
        bytes.extend([b'\n', ED25519_NOTE]);
        bytes.extend(self.public);
        let mut id = [0; 4];
        for (to, from) in id.iter_mut().zip(digest(&SHA256, &bytes).as_ref()) {
            *to = *from;
        }
        id
    }

    /// `<name>+<8 hex digits>+<base64(type || key)>`: the file `vkey`.
    #[must_use]
    pub fn text(&self) -> String {
        let id: String = self.id().iter().map(|b| format!("{b:02x}")).collect();
        let mut key = vec![ED25519_NOTE];
        key.extend(self.public);
        format!("{}+{id}+{}", self.name, base64(&key))
    }

    /// Reads a `vkey`; its id must be that of its key.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (name, rest) = text.trim_end_matches('\n').split_once('+')?;
        let (id, key) = rest.split_once('+')?;
        let key = from_base64(key)?;
        let (kind, key) = key.split_first()?;
        let public = <[u8; 32]>::try_from(key)
            .ok()
            .filter(|_| *kind == ED25519_NOTE)?;
        let verifier = Self {
            name: name.to_owned(),
            public,
        };
        let expected: String = verifier.id().iter().map(|b| format!("{b:02x}")).collect();
        (expected == id && is_name(name)).then_some(verifier)
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains('+') && !name.chars().any(char::is_whitespace)
}

impl Checkpoint {
    /// The text that is signed: three lines.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, base64(&self.root))
    }

    /// The note: text, blank line, signature line. `signature` is over [`Checkpoint::text`].
    #[must_use]
    pub fn note(&self, verifier: &Verifier, signature: &[u8; 64]) -> String {
        let mut bytes = verifier.id().to_vec();
        bytes.extend(signature);
        format!(
            "{}\n\u{2014} {} {}\n",
            self.text(),
            verifier.name,
            base64(&bytes)
        )
    }

    /// Reads a note that must be signed by this key. Signatures by other keys are passed over.
    pub fn open(note: &str, verifier: &Verifier) -> Result<Self, NoteError> {
        if note.chars().any(|c| c.is_control() && c != '\n') {
            return Err(NoteError::Malformed);
        }
        let at = note.rfind("\n\n").ok_or(NoteError::Malformed)?;
        let text = note.get(..=at).ok_or(NoteError::Malformed)?;
        let signatures = note.get(at + 2..).ok_or(NoteError::Malformed)?;
        if !signatures.ends_with('\n') || signatures.lines().count() > SIGNATURES_MAX {
            return Err(NoteError::Malformed);
        }
        let mut signed = false;
        for line in signatures.lines() {
            let (name, signature) = line
                .strip_prefix("\u{2014} ")
                .and_then(|rest| rest.split_once(' '))
                .ok_or(NoteError::Malformed)?;
            let bytes = from_base64(signature).ok_or(NoteError::Malformed)?;
            let (id, signature) = bytes.split_at_checked(4).ok_or(NoteError::Malformed)?;
            if name != verifier.name || *id != verifier.id() {
                continue;
            }
            UnparsedPublicKey::new(&ED25519, verifier.public)
                .verify(text.as_bytes(), signature)
                .map_err(|_| NoteError::WrongSignature)?;
            signed = true;
        }
        if !signed {
            return Err(NoteError::NotSigned);
        }
        let mut lines = text.lines();
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next())
        else {
            return Err(NoteError::Malformed);
        };
        let plain =
            size.bytes().all(|b| b.is_ascii_digit()) && (size == "0" || !size.starts_with('0'));
        let size = size
            .parse()
            .ok()
            .filter(|_| plain)
            .ok_or(NoteError::Malformed)?;
        let root = from_base64(root)
            .and_then(|b| Hash::try_from(b).ok())
            .ok_or(NoteError::Malformed)?;
        if origin.is_empty() {
            return Err(NoteError::Malformed);
        }
        Ok(Self {
            origin: origin.to_owned(),
            size,
            root,
        })
    }
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn base64(bytes: &[u8]) -> String {
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk
            .iter()
            .enumerate()
            .fold(0u32, |n, (i, b)| n | u32::from(*b) << (16 - 8 * i));
        for i in 0..4 {
            let digit = ALPHABET
                .get((bits >> (18 - 6 * i) & 63) as usize)
                .copied()
                .unwrap_or(b'=');
            out.push(if i <= chunk.len() {
                char::from(digit)
            } else {
                '='
            });
        }
    }
    out
}

/// Standard base64 with padding, in its one canonical form.
fn from_base64(text: &str) -> Option<Vec<u8>> {
    let stripped = text.trim_end_matches('=');
    let mut out = Vec::with_capacity(text.len());
    let (mut bits, mut count) = (0u32, 0);
    for b in stripped.bytes() {
        bits = bits << 6 | u32::try_from(ALPHABET.iter().position(|a| *a == b)?).ok()?;
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push(u8::try_from(bits >> count & 255).ok()?);
        }
    }
    (base64(&out) == text).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};

    fn signed() -> (Verifier, Checkpoint, String) {
        let key = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
        let public = key.public_key().as_ref().try_into().unwrap();
        let verifier = Verifier {
            name: "site.example/log".to_owned(),
            public,
        };
        let checkpoint = Checkpoint {
            origin: "site.example/log".to_owned(),
            size: 42,
            root: [9; 32],
        };
        let signature = key
            .sign(checkpoint.text().as_bytes())
            .as_ref()
            .try_into()
            .unwrap();
        let note = checkpoint.note(&verifier, &signature);
        (verifier, checkpoint, note)
    }

    /// The verifier key of the example in the Go package `golang.org/x/mod/sumdb/note`, whose format C2SP took over.
    const GO_EXAMPLE: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    const GO_NOTE: &str = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n\n\u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

    #[test]
    fn keys_and_signatures_of_the_format_s_own_example_are_believed() {
        let verifier = Verifier::parse(GO_EXAMPLE).unwrap();
        assert_eq!(verifier.text(), GO_EXAMPLE);
        // It is a note, signed by the key; only what it says is no checkpoint.
        assert_eq!(
            Checkpoint::open(GO_NOTE, &verifier),
            Err(NoteError::Malformed)
        );
        assert_eq!(
            Checkpoint::open(&GO_NOTE.replace("answer", "Answer"), &verifier),
            Err(NoteError::WrongSignature)
        );
    }

    #[test]
    fn a_signed_checkpoint_opens_and_no_changed_one_does() {
        let (verifier, checkpoint, note) = signed();
        assert_eq!(Checkpoint::open(&note, &verifier), Ok(checkpoint));
        for at in 0..note.len() {
            let mut bytes = note.clone().into_bytes();
            bytes[at] ^= 1;
            if let Ok(changed) = String::from_utf8(bytes) {
                assert!(Checkpoint::open(&changed, &verifier).is_err(), "byte {at}");
            }
        }
        let other = Verifier {
            public: [3; 32],
            ..verifier.clone()
        };
        assert_eq!(Checkpoint::open(&note, &other), Err(NoteError::NotSigned));
        let with_another = format!("{note}\u{2014} somebody.else AAAAAAAAAA==\n");
        assert!(
            Checkpoint::open(&with_another, &verifier).is_ok(),
            "unknown keys are passed over"
        );
    }

    #[test]
    fn verifier_keys_are_read_back() {
        let (verifier, _, _) = signed();
        assert_eq!(Verifier::parse(&verifier.text()), Some(verifier.clone()));
        assert_eq!(
            Verifier::parse(&verifier.text().replace("site", "sitf")),
            None
        );
        assert_eq!(Verifier::parse("x"), None);
    }
}
