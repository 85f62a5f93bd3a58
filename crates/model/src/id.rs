//! Identifiers, names and times. Ids of strategies, accounts and keys are the number of the entry that created them and
//! are never reused; names are labels.

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;
use std::fmt;

macro_rules! id {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize)]
        #[cbor(transparent)]
        #[serde(transparent)]
        pub struct $name(#[n(0)] pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}

id!(
    /// The number of an entry in the site's log, from 0.
    EntryId,
    /// A trading program's identity. `StrategyId(0)` is the gate itself (`gate`).
    StrategyId,
    /// The firm's account at a venue.
    AccountId,
    /// A real credential of an account.
    KeyId,
    /// A credential that a program holds.
    VirtualKeyId,
);

/// The gate's own strategy: resolver, prices, venue time.
pub const GATE: StrategyId = StrategyId(0);

/// A time in microseconds since 1970-01-01T00:00:00Z.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    Encode,
    Decode,
    Serialize,
    Deserialize,
)]
#[cbor(transparent)]
#[serde(transparent)]
pub struct Timestamp(#[n(0)] pub u64);

impl Timestamp {
    #[must_use]
    pub const fn from_ms(ms: u64) -> Self {
        Self(ms.saturating_mul(1000))
    }
    #[must_use]
    pub const fn as_ms(self) -> u64 {
        self.0 / 1000
    }
    #[must_use]
    pub const fn plus_us(self, us: u64) -> Self {
        Self(self.0.saturating_add(us))
    }
    /// Microseconds from `earlier` to here, 0 if it is later.
    #[must_use]
    pub const fn since_us(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// A label that people give: 1 to 64 of `a-z 0-9 - _ .`, starting with a letter or digit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(SmolStr);

/// A name's length at most, in bytes.
pub const NAME_BYTES_MAX: usize = 64;

impl Name {
    /// Refuses anything but 1 to 64 of `a-z 0-9 - _ .` that starts with a letter or digit.
    pub fn new(text: &str) -> Result<Self, NameError> {
        let ok = text.len() <= NAME_BYTES_MAX
            && text
                .bytes()
                .next()
                .is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
            && text
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b));
        if ok {
            Ok(Self(text.into()))
        } else {
            Err(NameError(text.chars().take(80).collect()))
        }
    }
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for Name {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::new(text)
    }
}

impl Serialize for Name {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Self::new(&text).map_err(serde::de::Error::custom)
    }
}

impl<C> Encode<C> for Name {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.str(&self.0)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Name {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        Self::new(d.str()?).map_err(|_| minicbor::decode::Error::message("not a name"))
    }
}

/// A text that is no [`Name`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameError(String);

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` is not a name; use 1 to 64 of a-z, 0-9, `-`, `_`, `.`, starting with a letter or digit",
            self.0
        )
    }
}

impl std::error::Error for NameError {}

/// One request of one run of ingress; never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize)]
pub struct RequestId {
    /// Which run of ingress; answers of another are dropped. The signer's own requests have epoch 0.
    #[n(0)]
    pub epoch: u32,
    #[n(1)]
    pub seq: u64,
}
