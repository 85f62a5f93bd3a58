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

/// The venue of an entry from before they named one.
pub const FIRST_VENUE: Name = Name(SmolStr::new_static("binance"));

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

macro_rules! venue_id {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {$(
        $(#[$doc])*
        ///
        /// A whole number below 2^64, or a UUID whose bits make a number from there on: each id has one text, and each text
        /// means one id. In CBOR and JSON a number stays one; a UUID is 16 bytes in CBOR and its text in JSON.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u128);

        impl $name {
            /// The number, if it is one.
            #[must_use]
            pub fn number(self) -> Option<u64> {
                u64::try_from(self.0).ok()
            }
        }

        impl From<u64> for $name {
            fn from(number: u64) -> Self {
                Self(number.into())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_venue_id(self.0, f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = VenueIdError;
            fn from_str(text: &str) -> Result<Self, VenueIdError> {
                parse_venue_id(text)
                    .map(Self)
                    .ok_or_else(|| VenueIdError(text.chars().take(80).collect()))
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self.number() {
                    Some(number) => serializer.serialize_u64(number),
                    None => serializer.collect_str(self),
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(VenueIdVisitor).map(Self)
            }
        }

        impl<C> Encode<C> for $name {
            fn encode<W: minicbor::encode::Write>(
                &self,
                e: &mut minicbor::Encoder<W>,
                _: &mut C,
            ) -> Result<(), minicbor::encode::Error<W::Error>> {
                match self.number() {
                    Some(number) => e.u64(number)?.ok(),
                    None => e.bytes(&self.0.to_be_bytes())?.ok(),
                }
            }
        }

        impl<'b, C> Decode<'b, C> for $name {
            fn decode(
                d: &mut minicbor::Decoder<'b>,
                _: &mut C,
            ) -> Result<Self, minicbor::decode::Error> {
                decode_venue_id(d).map(Self)
            }
        }
    )*};
}

venue_id!(
    /// The venue's own id of an order, or of a list of orders.
    OrderId,
    /// The venue's own id of a trade.
    TradeId,
);

/// Where the hyphens of a UUID stand.
const HYPHENS: [usize; 4] = [8, 13, 18, 23];
const UUID_BYTES: usize = 36;
/// Digits of an object id.
const OBJECT_ID_BYTES: usize = 24;
/// Ids from here on are UUIDs; below, and above all numbers, are object ids.
const UUID_FROM: u128 = 1 << 96;

fn write_venue_id(id: u128, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if let Ok(number) = u64::try_from(id) {
        return write!(f, "{number}");
    }
    if id < UUID_FROM {
        return write!(f, "{id:024x}");
    }
    let part = |from: u32, digits: u32| (id >> from) & ((1 << (4 * digits)) - 1);
    write!(
        f,
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        part(96, 8),
        part(80, 4),
        part(64, 4),
        part(48, 4),
        part(0, 12)
    )
}

/// A whole number without leading zeros, an object id (24 hexadecimal digits in lower case, the first eight not all zeros), or a
/// UUID in lower case, its first eight digits not all zeros either: each text is one id's alone.
fn parse_venue_id(text: &str) -> Option<u128> {
    let bytes = text.as_bytes();
    if matches!(bytes.len(), UUID_BYTES | OBJECT_ID_BYTES) {
        let is_uuid = bytes.len() == UUID_BYTES;
        let mut id = 0u128;
        for (at, byte) in bytes.iter().enumerate() {
            if is_uuid && HYPHENS.contains(&at) {
                if *byte != b'-' {
                    return None;
                }
                continue;
            }
            let digit = match byte {
                b'0'..=b'9' => byte - b'0',
                b'a'..=b'f' => byte - b'a' + 10,
                _ => return None,
            };
            id = (id << 4) | u128::from(digit);
        }
        return Some(id).filter(|id| u64::try_from(*id).is_err() && is_uuid == (*id >= UUID_FROM));
    }
    let is_number =
        bytes.iter().all(u8::is_ascii_digit) && (bytes.len() == 1 || !text.starts_with('0'));
    is_number.then(|| text.parse::<u64>().ok().map(u128::from))?
}

fn decode_venue_id(d: &mut minicbor::Decoder<'_>) -> Result<u128, minicbor::decode::Error> {
    if d.datatype()? != minicbor::data::Type::Bytes {
        return d.u64().map(u128::from);
    }
    <[u8; 16]>::try_from(d.bytes()?)
        .ok()
        .map(u128::from_be_bytes)
        .filter(|id| u64::try_from(*id).is_err())
        .ok_or_else(|| minicbor::decode::Error::message("not an id"))
}

struct VenueIdVisitor;

impl serde::de::Visitor<'_> for VenueIdVisitor {
    type Value = u128;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number, or the text of an object id or UUID")
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<u128, E> {
        Ok(number.into())
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<u128, E> {
        parse_venue_id(text)
            .filter(|id| u64::try_from(*id).is_err())
            .ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(text), &self))
    }
}

/// A text that is no venue's id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VenueIdError(String);

impl fmt::Display for VenueIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` is neither a whole number without leading zeros nor an object id or UUID in lower case",
            self.0
        )
    }
}

impl std::error::Error for VenueIdError {}

/// One request of one run of ingress; never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize)]
pub struct RequestId {
    /// Which run of ingress; answers of another are dropped. The signer's own requests have epoch 0.
    #[n(0)]
    pub epoch: u32,
    #[n(1)]
    pub seq: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const UUID: &str = "c6f055d9-7f21-4079-913d-e6523a9cfffa";
    const OBJECT_ID: &str = "670fd33bf9406e0007ab3945";
    /// An object id, by its length.
    const DIGITS: &str = "670933394060000703945123";

    #[test]
    fn a_venues_id_has_one_text_and_a_text_one_meaning() {
        for text in ["0", "1", "18446744073709551615", OBJECT_ID, DIGITS, UUID] {
            let id: OrderId = text.parse().unwrap();
            assert_eq!(id.to_string(), text);
            assert_eq!(id.number().is_none(), text.len() > 20);
        }
        for text in [
            "",
            "-1",
            "+1",
            "01",
            "00",
            " 1",
            "1.0",
            "18446744073709551616",
            "C6F055D9-7F21-4079-913D-E6523A9CFFFA",
            "c6f055d97f214079913de6523a9cfffa",
            "c6f055d9-7f21-4079-913d-e6523a9cfff",
            "c6f055d9-7f21-4079-913d-e6523a9cfffg",
            "c6f055d9-7f21-4079-913de-6523a9cfffa",
            "00000000-0000-0000-0000-000000000001",
            "00000000-0000-0000-ffff-ffffffffffff",
            "00000000-ffff-ffff-ffff-ffffffffffff",
            "670FD33BF9406E0007AB3945",
            "670fd33bf9406e0007ab394",
            "670fd33bf9406e0007ab394g",
            "00000000f9406e0007ab3945",
            "vs8hoo8q2ceshiue003b67c0",
            "0000000000000000000000000000000000001",
        ] {
            assert!(text.parse::<OrderId>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_venues_id_is_a_number_where_it_is_one() {
        let json = |id: &str| serde_json::to_string(&id.parse::<TradeId>().unwrap()).unwrap();
        assert_eq!(json("7"), "7");
        assert_eq!(json(UUID), format!("\"{UUID}\""));
        let read = |json: &str| serde_json::from_str::<TradeId>(json).ok();
        assert_eq!(read("7"), Some(7.into()));
        assert_eq!(read(&json(UUID)), UUID.parse().ok());
        assert_eq!(read(&json(OBJECT_ID)), OBJECT_ID.parse().ok());
        for json in ["\"7\"", "-7", "7.0", "1e3", "null", "18446744073709551616"] {
            assert_eq!(read(json), None, "{json}");
        }
        let bytes = |id: OrderId| minicbor::to_vec(id).unwrap();
        assert_eq!(bytes(7.into()), [7]);
        assert_eq!(bytes(UUID.parse().unwrap()).len(), 17);
        // A number's 16 bytes would be a second way to write it.
        let mut long = vec![0x50];
        long.extend(7u128.to_be_bytes());
        assert!(minicbor::decode::<OrderId>(&long).is_err());
    }

    proptest! {
        #[test]
        fn every_id_reads_back(high in any::<u64>(), low in any::<u64>()) {
            let id = OrderId((u128::from(high) << 64) | u128::from(low));
            prop_assert_eq!(id.to_string().parse::<OrderId>(), Ok(id));
            let bytes = minicbor::to_vec(id).unwrap();
            prop_assert_eq!(minicbor::decode::<OrderId>(&bytes).unwrap(), id);
            let json = serde_json::to_string(&id).unwrap();
            prop_assert_eq!(serde_json::from_str::<OrderId>(&json).unwrap(), id);
        }

        #[test]
        fn what_reads_is_written_the_same(text in "[0-9a-f-]{0,40}") {
            if let Ok(id) = text.parse::<OrderId>() {
                prop_assert_eq!(id.to_string(), text);
            }
        }
    }
}
