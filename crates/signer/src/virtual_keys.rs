//! Virtual keys: what programs hold. The secret of an HMAC key is derived from the site's secret and the key's text, so
//! there is nothing to store and nothing to leak from the log; for the other schemes the program's public key stands in
//! the log.

use aws_lc_rs::hkdf;
use portcullis_model::Map;
use portcullis_model::action::Scheme;
use portcullis_model::id::VirtualKeyId;
use portcullis_model::state::VirtualKey;
use portcullis_model::table::Network;
use portcullis_venues::signature::{VerifyKey, letters_and_digits};
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use zeroize::Zeroizing;

/// The site's secret, at least.
pub const SITE_SECRET_BYTES_MIN: usize = 32;
/// Networks that a virtual key may come from at most.
pub const SOURCES_MAX: usize = 64;

/// The sealed secret of the site: every HMAC virtual key follows from it. Without `Debug` or `Clone`.
pub struct SiteSecret(hkdf::Prk);

struct Bytes64;

impl hkdf::KeyType for Bytes64 {
    fn len(&self) -> usize {
        64
    }
}

impl SiteSecret {
    /// `None`: it is too short to be one.
    #[must_use]
    pub fn new(secret: &[u8]) -> Option<Self> {
        (secret.len() >= SITE_SECRET_BYTES_MIN).then(|| {
            Self(hkdf::Salt::new(hkdf::HKDF_SHA256, b"portcullis virtual keys v1").extract(secret))
        })
    }

    /// The secret of one virtual key: 64 letters and digits. The key's own random text is what tells keys apart, so that
    /// a site that is set up again with the same secret repeats none.
    #[must_use]
    pub fn derive(&self, api_key: &str) -> Option<Zeroizing<String>> {
        let mut bytes = Zeroizing::new([0; 64]);
        self.0
            .expand(&[b"hmac ", api_key.as_bytes()], Bytes64)
            .and_then(|okm| okm.fill(bytes.as_mut_slice()))
            .ok()?;
        Some(Zeroizing::new(letters_and_digits(&bytes)))
    }
}

/// What a program's statements are checked with.
pub struct Checker {
    pub verify: VerifyKey,
    sources: Vec<Network>,
}

impl Checker {
    #[must_use]
    pub fn allows(&self, source: IpAddr) -> bool {
        // An IPv4 peer of an IPv6 listener comes mapped.
        let source = source.to_canonical();
        self.sources.iter().any(|network| network.contains(source))
    }
}

/// Checkers of the virtual keys in use, made when first needed.
#[derive(Default)]
pub struct Checkers(Map<VirtualKeyId, Checker>);

impl Checkers {
    /// `None`: the key cannot be used (the site's secret is sealed, or the log holds a key that no longer parses).
    pub fn of(
        &mut self,
        id: VirtualKeyId,
        key: &VirtualKey,
        secret: Option<&SiteSecret>,
    ) -> Option<&Checker> {
        match self.0.entry(id) {
            Entry::Occupied(known) => Some(known.into_mut()),
            Entry::Vacant(place) => {
                let verify = match key.scheme {
                    Scheme::HmacSha256 => VerifyKey::hmac(secret?.derive(&key.api_key)?.as_bytes()),
                    Scheme::Ed25519 => VerifyKey::ed25519(&key.public_key)?,
                    Scheme::RsaSha256 => VerifyKey::rsa(&key.public_key)?,
                };
                let sources = key
                    .sources
                    .iter()
                    .map(|text| Network::parse(text))
                    .collect::<Option<Vec<_>>>()?;
                Some(place.insert(Checker { verify, sources }))
            }
        }
    }

    pub fn forget(&mut self, id: VirtualKeyId) {
        self.0.remove(&id);
    }
}

/// A peer's address as frames carry it.
#[must_use]
pub fn source(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_64_letters_and_digits_and_differ() {
        let site = SiteSecret::new(&[7; 32]).unwrap();
        let other = SiteSecret::new(&[8; 32]).unwrap();
        let a = site.derive("a").unwrap();
        assert!(a.len() == 64 && a.bytes().all(|b| b.is_ascii_alphanumeric()));
        assert_eq!(*a, *site.derive("a").unwrap());
        assert_ne!(*a, *site.derive("b").unwrap());
        assert_ne!(*a, *other.derive("a").unwrap());
        assert!(SiteSecret::new(&[7; 31]).is_none());
    }

    #[test]
    fn a_mapped_address_is_the_address() {
        let checker = Checker {
            verify: VerifyKey::hmac(b"x"),
            sources: vec![Network::parse("127.0.0.0/8").unwrap()],
        };
        assert!(checker.allows(source(&[127, 0, 0, 1]).unwrap()));
        assert!(checker.allows("::ffff:127.0.0.1".parse().unwrap()));
        assert!(!checker.allows("128.0.0.1".parse().unwrap()));
        assert!(!checker.allows("::1".parse().unwrap()));
        assert_eq!(source(&[1, 2, 3]), None);
    }
}
