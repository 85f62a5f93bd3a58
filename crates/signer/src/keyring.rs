//! The only file that sees real keys. Signing takes a [`Recorded`], which only the log makes: a signature for something
//! that is not written in the log does not compile.
//!
//! Trusts its caller to have recorded the key's id with the approval. Slow signatures (RSA) are made by helper threads;
//! their results come back by [`Keyring::finished`], and the caller looks at the halts again before it releases one.
//!
//! Key types here have no `Debug`, `Clone` or `Serialize`; the library wipes them on drop. Deliberately absent: reading
//! files, deciding, sending. Locked memory is the process's affair (all of it is locked before the first key arrives).

use crate::log_file::{Recorded, Wake};
use crate::pem;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{Ed25519KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use portcullis_model::Map;
use portcullis_model::action::Scheme;
use portcullis_model::id::{EntryId, KeyId};
use portcullis_venues::signature::base64;
use portcullis_venues::{Credential, Passphrase, Ready, Signature, Unsigned};
use std::fmt;
use std::sync::mpsc::{Receiver, Sender, SyncSender, TrySendError, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use zeroize::Zeroizing;

/// Threads that make slow signatures.
pub const HELPERS: usize = 2;
/// Helpers' stacks are locked memory.
const STACK_BYTES: usize = 256 << 10;
/// Slow signatures under way at most; a request beyond it is refused before it is recorded.
pub const SLOW_MAX: usize = 64;

enum Key {
    Hmac(Box<hmac::Key>),
    Ed25519(Box<Ed25519KeyPair>),
    Rsa(Arc<RsaKeyPair>),
}

impl Key {
    fn read(scheme: Scheme, secret: &[u8]) -> Result<Self, KeyError> {
        let malformed = KeyError::Malformed(scheme);
        match scheme {
            Scheme::HmacSha256 => {
                let (text, _) = parts(secret).ok_or(malformed)?;
                match text.is_empty() {
                    true => Err(malformed),
                    false => Ok(Self::Hmac(Box::new(hmac::Key::new(
                        hmac::HMAC_SHA256,
                        text,
                    )))),
                }
            }
            Scheme::Ed25519 => {
                let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&private_key(secret));
                Ok(Self::Ed25519(Box::new(pair.map_err(|_| malformed)?)))
            }
            Scheme::RsaSha256 => {
                let pair = RsaKeyPair::from_pkcs8(&private_key(secret));
                Ok(Self::Rsa(Arc::new(pair.map_err(|_| malformed)?)))
            }
        }
    }
}

/// An HMAC secret's text, and in a second line the passphrase of venues that have one. People's editors end a file with a
/// line end; no venue's secret does, nor has it one within.
fn parts(secret: &[u8]) -> Option<(&[u8], Option<&str>)> {
    let mut lines = secret.trim_ascii().split(|byte| *byte == b'\n');
    let text = lines.next()?.trim_ascii_end();
    let passphrase = match lines.next() {
        None => None,
        Some(line) => {
            let line = std::str::from_utf8(line.trim_ascii_end()).ok()?;
            let is_plain = !line.is_empty() && line.bytes().all(|b| (b' '..=b'~').contains(&b));
            Some(line).filter(|_| is_plain).map(Some)?
        }
    };
    lines.next().is_none().then_some((text, passphrase))
}

/// Whether a secret is a key of this scheme, at a venue that has a passphrase beside it or has none.
pub fn is_key(scheme: Scheme, with_passphrase: bool, secret: &[u8]) -> Result<(), KeyError> {
    Key::read(scheme, secret)?;
    let passphrase = match scheme {
        Scheme::HmacSha256 => parts(secret).and_then(|(_, passphrase)| passphrase),
        Scheme::Ed25519 | Scheme::RsaSha256 => None,
    };
    match (with_passphrase, passphrase) {
        (true, None) => Err(KeyError::NoPassphrase),
        (false, Some(_)) => Err(KeyError::Malformed(scheme)),
        (true, Some(_)) | (false, None) => Ok(()),
    }
}

/// An approved request: what to sign, with which key, and what the caller needs afterwards.
#[derive(Debug)]
pub struct Approved<M> {
    pub key: KeyId,
    pub unsigned: Unsigned,
    pub meta: M,
}

/// A signed request.
#[derive(Debug)]
pub struct Signed<M> {
    pub entry: EntryId,
    pub ready: Ready,
    pub meta: M,
}

/// What [`Keyring::sign`] gives back.
#[derive(Debug)]
pub enum Signing<M> {
    Done(Signed<M>),
    /// A helper has it; [`Keyring::finished`] will give it back.
    Slow(EntryId),
    /// Nothing was signed.
    Failed(M, EntryId, KeyError),
}

struct Job<M> {
    recorded: Recorded<Approved<M>>,
    api_key: String,
    key: Arc<RsaKeyPair>,
}

/// What is public of a key, its passphrase where the venue has one, and the key.
struct Opened {
    api_key: String,
    passphrase: Option<Zeroizing<String>>,
    key: Key,
}

/// Opened keys, by id.
pub struct Keyring<M> {
    keys: Map<KeyId, Opened>,
    jobs: Option<SyncSender<Job<M>>>,
    done: Receiver<Signing<M>>,
    slow: usize,
    helpers: Vec<JoinHandle<()>>,
    wake: Wake,
}

/// Why a secret is no key, or a key does not sign. No variant holds a byte of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyError {
    /// Not of the form that its scheme wants.
    Malformed(Scheme),
    /// The venue wants one beside the secret.
    NoPassphrase,
    /// Sealed, or removed.
    NotOpen(KeyId),
    /// Too many slow signatures are under way.
    Busy,
    NoThread,
    Failed,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(Scheme::HmacSha256) => {
                f.write_str("the secret is empty, or has more lines than the venue's keys have")
            }
            Self::NoPassphrase => f.write_str(
                "the venue's keys have a passphrase; give the secret in the first line and the passphrase in the second",
            ),
            Self::Malformed(Scheme::Ed25519) => f.write_str(
                "the secret is no Ed25519 private key; give PKCS#8 in PEM (`-----BEGIN PRIVATE KEY-----`)",
            ),
            Self::Malformed(Scheme::RsaSha256) => f.write_str(
                "the secret is no RSA private key; give PKCS#8 in PEM (`-----BEGIN PRIVATE KEY-----`)",
            ),
            Self::NotOpen(key) => write!(f, "key {key} is sealed"),
            Self::Busy => f.write_str("too many slow signatures are under way"),
            Self::NoThread => f.write_str("no thread for slow signatures could be started"),
            Self::Failed => f.write_str("the signature could not be made"),
        }
    }
}

impl std::error::Error for KeyError {}

impl<M: Send + 'static> Keyring<M> {
    /// Without keys; helpers start with the first slow one.
    #[must_use]
    pub fn new() -> Self {
        Self {
            keys: Map::default(),
            jobs: None,
            done: channel().1,
            slow: 0,
            helpers: Vec::new(),
            wake: Arc::new(|| {}),
        }
    }

    /// Whom helpers wake when a slow signature is done. Before the first key.
    pub fn wakes(&mut self, wake: Wake) {
        self.wake = wake;
    }

    /// Takes a key in. HMAC: the secret's text, with the passphrase in a second line where there is one; the others: PKCS#8, in PEM or DER.
    pub fn open(
        &mut self,
        id: KeyId,
        api_key: &str,
        scheme: Scheme,
        secret: &[u8],
    ) -> Result<(), KeyError> {
        let key = Key::read(scheme, secret)?;
        if matches!(key, Key::Rsa(_)) {
            self.start_helpers()?;
        }
        let passphrase = match scheme {
            Scheme::HmacSha256 => parts(secret).and_then(|(_, passphrase)| passphrase),
            Scheme::Ed25519 | Scheme::RsaSha256 => None,
        };
        let opened = Opened {
            api_key: api_key.to_owned(),
            passphrase: passphrase.map(|text| Zeroizing::new(text.to_owned())),
            key,
        };
        self.keys.insert(id, opened);
        Ok(())
    }

    pub fn remove(&mut self, id: KeyId) {
        self.keys.remove(&id);
    }

    #[must_use]
    pub fn is_open(&self, id: KeyId) -> bool {
        self.keys.contains_key(&id)
    }

    /// No key is open: the gate is sealed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// A signature by this key can be made now, or a helper has room for it.
    #[must_use]
    pub fn has_room(&self, id: KeyId) -> bool {
        match self.keys.get(&id) {
            Some(Opened {
                key: Key::Rsa(_), ..
            }) => self.slow < SLOW_MAX,
            Some(_) => true,
            None => false,
        }
    }

    /// Signs what was recorded, and gives the request with the entry that recorded it.
    pub fn sign(&mut self, recorded: Recorded<Approved<M>>) -> Signing<M> {
        let entry = recorded.entry();
        let id = recorded.approved().key;
        let Some(Opened {
            api_key,
            passphrase,
            key,
        }) = self.keys.get(&id)
        else {
            return Signing::Failed(recorded.into_approved().meta, entry, KeyError::NotOpen(id));
        };
        let message = recorded.approved().unsigned.message(api_key);
        let signature = match key {
            Key::Hmac(key) => <[u8; 32]>::try_from(hmac::sign(key, &message).as_ref())
                .ok()
                .map(Signature::HmacSha256),
            Key::Ed25519(key) => key
                .try_sign(&message)
                .ok()
                .and_then(|signature| <[u8; 64]>::try_from(signature.as_ref()).ok())
                .map(Signature::Ed25519),
            Key::Rsa(key) => {
                let job = Job {
                    api_key: api_key.clone(),
                    key: Arc::clone(key),
                    recorded,
                };
                let given = match &self.jobs {
                    Some(jobs) => jobs.try_send(job),
                    None => Err(TrySendError::Disconnected(job)),
                };
                return match given {
                    Ok(()) => {
                        self.slow += 1;
                        Signing::Slow(entry)
                    }
                    Err(TrySendError::Full(job) | TrySendError::Disconnected(job)) => {
                        Signing::Failed(job.recorded.into_approved().meta, entry, KeyError::Busy)
                    }
                };
            }
        };
        let how = recorded.approved().unsigned.passphrase();
        let as_sent = passphrase.as_ref().and_then(|text| as_sent(how, text, key));
        let credential = Credential {
            api_key,
            passphrase: as_sent.as_ref().map(|text| text.as_str()),
        };
        finish(recorded, credential, signature)
    }

    /// A slow signature that is done, if there is one. Never waits.
    pub fn finished(&mut self) -> Option<Signing<M>> {
        let done = self.done.try_recv().ok()?;
        self.slow = self.slow.saturating_sub(1);
        Some(done)
    }

    /// Slow signatures under way.
    #[must_use]
    pub fn slow(&self) -> usize {
        self.slow
    }

    fn start_helpers(&mut self) -> Result<(), KeyError> {
        if self.jobs.is_some() {
            return Ok(());
        }
        let (jobs, todo) = sync_channel::<Job<M>>(SLOW_MAX);
        let todo = Arc::new(Mutex::new(todo));
        let (finished, done) = channel();
        for _ in 0..HELPERS {
            let (todo, finished) = (Arc::clone(&todo), finished.clone());
            let wake = Arc::clone(&self.wake);
            let helper = std::thread::Builder::new()
                .name("rsa".to_owned())
                .stack_size(STACK_BYTES)
                .spawn(move || help(&todo, &finished, &wake))
                .map_err(|_| KeyError::NoThread)?;
            self.helpers.push(helper);
        }
        self.jobs = Some(jobs);
        self.done = done;
        Ok(())
    }
}

impl<M: Send + 'static> Default for Keyring<M> {
    fn default() -> Self {
        Self::new()
    }
}

impl<M> Drop for Keyring<M> {
    fn drop(&mut self) {
        self.jobs = None;
        for helper in self.helpers.drain(..) {
            let _ = helper.join();
        }
    }
}

fn help<M>(todo: &Mutex<Receiver<Job<M>>>, finished: &Sender<Signing<M>>, wake: &Wake) {
    let random = SystemRandom::new();
    loop {
        let job = todo.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        let mut bytes = vec![0; job.key.public_modulus_len()];
        let message = job.recorded.approved().unsigned.message(&job.api_key);
        let made = job
            .key
            .sign(&RSA_PKCS1_SHA256, &random, &message, &mut bytes);
        let signature = made.ok().map(|()| Signature::RsaSha256(bytes));
        let done = finish(job.recorded, job.api_key.as_str().into(), signature);
        if finished.send(done).is_err() {
            return;
        }
        wake();
    }
}

/// A passphrase in the way that the venue wants it.
fn as_sent(how: Passphrase, text: &str, key: &Key) -> Option<Zeroizing<String>> {
    match (how, key) {
        (Passphrase::Plain, _) => Some(Zeroizing::new(text.to_owned())),
        (Passphrase::Signed, Key::Hmac(key)) => {
            let tag = hmac::sign(key, text.as_bytes());
            Some(Zeroizing::new(base64(tag.as_ref())))
        }
        (Passphrase::Signed | Passphrase::None, _) => None,
    }
}

fn finish<M>(
    recorded: Recorded<Approved<M>>,
    credential: Credential<'_>,
    signature: Option<Signature>,
) -> Signing<M> {
    let entry = recorded.entry();
    let Approved { unsigned, meta, .. } = recorded.into_approved();
    match signature {
        Some(signature) => Signing::Done(Signed {
            entry,
            ready: unsigned.finish(credential, &signature),
            meta,
        }),
        None => Signing::Failed(meta, entry, KeyError::Failed),
    }
}

/// PKCS#8 in PEM, or DER as it is.
fn private_key(secret: &[u8]) -> Zeroizing<Vec<u8>> {
    std::str::from_utf8(secret)
        .ok()
        .and_then(|text| pem::decode(text, "PRIVATE KEY"))
        .unwrap_or_else(|| Zeroizing::new(secret.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_passphrase_is_the_second_line_where_the_venue_has_one() {
        let hmac = Scheme::HmacSha256;
        let malformed = Err(KeyError::Malformed(hmac));
        for (secret, without, with) in [
            (&b"secret"[..], Ok(()), Err(KeyError::NoPassphrase)),
            (b"secret\n", Ok(()), Err(KeyError::NoPassphrase)),
            (b"secret\nmy phrase\n", malformed, Ok(())),
            (b"secret\r\nmy phrase\r\n", malformed, Ok(())),
            (b"secret\na\nb", malformed, malformed),
            (b"secret\n\x07", malformed, malformed),
            (b"\n", malformed, malformed),
        ] {
            assert_eq!(is_key(hmac, false, secret), without, "{secret:?}");
            assert_eq!(is_key(hmac, true, secret), with, "{secret:?}");
        }
        assert_eq!(
            parts(b"secret\nmy phrase\n"),
            Some((&b"secret"[..], Some("my phrase")))
        );
    }

    /// As CCXT sends it of the same secret and passphrase.
    #[test]
    fn a_passphrase_goes_out_as_its_venue_wants_it() {
        let secret = b"pcvs-throwaway-not-a-real-secret-0123456789abcdefghijklmnopqrstu";
        let key = Key::read(Scheme::HmacSha256, secret).unwrap();
        let sent = |how| as_sent(how, "pc-pass-1", &key).map(|text| text.to_string());
        assert_eq!(sent(Passphrase::None), None);
        assert_eq!(sent(Passphrase::Plain).as_deref(), Some("pc-pass-1"));
        assert_eq!(
            sent(Passphrase::Signed).as_deref(),
            Some("jg12oJFFYzmpAnRcEgQMuL2lhuATNcxwLl2KrKw2Bsw=")
        );
    }

    #[test]
    fn what_is_no_key_is_refused_without_a_word_of_it() {
        let mut keyring = Keyring::<()>::default();
        for scheme in [Scheme::Ed25519, Scheme::RsaSha256] {
            let error = keyring.open(KeyId(1), "k", scheme, b"hunter2").unwrap_err();
            assert!(!error.to_string().contains("hunter2"));
        }
        for empty in [&b""[..], b" \n"] {
            assert_eq!(
                keyring.open(KeyId(1), "k", Scheme::HmacSha256, empty),
                Err(KeyError::Malformed(Scheme::HmacSha256))
            );
        }
        assert!(!keyring.is_open(KeyId(1)) && keyring.is_empty());
    }
}
