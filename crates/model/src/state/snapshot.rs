//! A state as bytes: what a snapshot holds, and what its hash is taken over. Equal states have equal bytes, and the bytes
//! give back an equal state. The log is the truth; this is a cache of its fold.
//!
//! Each struct is taken apart by all of its fields, so that a field which is added does not compile until it stands here;
//! then [`STATE_VERSION`] goes up, and snapshots of an older version are passed over.

use super::*;
use aws_lc_rs::digest;
use minicbor::decode::Error as Unreadable;
use minicbor::{Decoder, Encoder};
use std::hash::Hash;

/// Of the bytes, and of the fold: it goes up when either changes.
pub const STATE_VERSION: u32 = 5;

impl State {
    /// The state as bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Encoder::new(Vec::new());
        self.put(&mut out);
        out.into_writer()
    }

    /// SHA-256 over the bytes: the same for every program of this [`STATE_VERSION`] that folds the same log.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest::digest(&digest::SHA256, &self.to_bytes()).as_ref());
        hash
    }

    /// Reads what [`State::to_bytes`] wrote.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Unreadable> {
        let mut from = Decoder::new(bytes);
        let state = Self::take(&mut from)?;
        match from.position() == bytes.len() {
            true => Ok(state),
            false => Err(Unreadable::message("bytes after the state")),
        }
    }
}

type Out = Encoder<Vec<u8>>;

/// Something that stands in a state.
trait Part: Sized {
    fn put(&self, out: &mut Out);
    fn take(from: &mut Decoder<'_>) -> Result<Self, Unreadable>;
}

/// What has an encoding of its own.
macro_rules! plain {
    ($($part:ty),* $(,)?) => {$(
        impl Part for $part {
            fn put(&self, out: &mut Out) {
                // Encoding into a `Vec` cannot fail.
                let _ = out.encode(self);
            }
            fn take(from: &mut Decoder<'_>) -> Result<Self, Unreadable> {
                from.decode()
            }
        }
    )*};
}

plain!(
    bool,
    u64,
    String,
    AccountId,
    EntryId,
    KeyId,
    StrategyId,
    VirtualKeyId,
    Timestamp,
    Name,
    Duty,
    Scheme,
    Symbol,
    Asset,
    ClientOrderId,
    Price,
    Quantity,
    Amount,
    OrderNumber,
    MarketKind,
    PositionSide,
    OpenOrder,
    OrderId,
    TradeId,
    Scope,
    Halt,
);

/// All fields of a struct, in order.
macro_rules! fields {
    ($($part:ident { $($field:ident),* $(,)? })*) => {$(
        impl Part for $part {
            fn put(&self, out: &mut Out) {
                let Self { $($field),* } = self;
                $($field.put(out);)*
            }
            fn take(from: &mut Decoder<'_>) -> Result<Self, Unreadable> {
                $(let $field = Part::take(from)?;)*
                Ok(Self { $($field),* })
            }
        }
    )*};
}

fields! {
    Account { name, venue }
    Key { account, duty, scheme, api_key, sealed }
    Strategy { name, desk, observe, revoked }
    VirtualKey {
        strategy, account, scheme, api_key, public_key, expires, sources, canary, revoked,
    }
    Holding { base, cash, open_buys, open_sells, day_base, day_cash, day_price, gain }
    MarketId { symbol, kind, venue }
    Place { account, kind, of }
    Position { base, open_buys, open_sells, reducing_buys, reducing_sells }
    ClientKey { account, market, algo, id }
    VenueKey { account, market, algo, symbol, id }
    Usage {
        turnover, message_tat_us, reserved_tat_us, weight, open_orders, holdings, positions, gained,
        repeats,
    }
    Trades { ids, quantity, quote }
    Amendment { order, quantity, price }
    State {
        site, entries, time, release, accounts, keys, strategies, virtual_keys, by_api_key, halts,
        usage, orders, ended, ends, trades, by_client, by_order_id, prices, day, seen, jumped_us, holders,
        amending,
    }
}

impl Part for i128 {
    fn put(&self, out: &mut Out) {
        Amount(*self).put(out);
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, Unreadable> {
        Amount::take(from).map(|amount| amount.0)
    }
}

impl Part for u8 {
    fn put(&self, out: &mut Out) {
        let _ = out.u8(*self);
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, Unreadable> {
        from.u8()
    }
}

impl<const N: usize> Part for [u8; N] {
    fn put(&self, out: &mut Out) {
        let _ = out.bytes(self);
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, Unreadable> {
        let bytes = from.bytes()?;
        bytes
            .try_into()
            .map_err(|_| Unreadable::message("bytes of another length"))
    }
}

impl Part for LevelKey {
    fn put(&self, out: &mut Out) {
        match self {
            Self::Firm => 0u8.put(out),
            Self::Account(id) => {
                1u8.put(out);
                id.put(out);
            }
            Self::Desk(name) => {
                2u8.put(out);
                name.put(out);
            }
            Self::Strategy(id) => {
                3u8.put(out);
                id.put(out);
            }
        }
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, Unreadable> {
        Ok(match u8::take(from)? {
            0 => Self::Firm,
            1 => Self::Account(Part::take(from)?),
            2 => Self::Desk(Part::take(from)?),
            3 => Self::Strategy(Part::take(from)?),
            _ => return Err(Unreadable::message("no such level")),
        })
    }
}

/// Most buckets are empty: those that are not stand with their places.
impl Part for [Ring; 4] {
    fn put(&self, out: &mut Out) {
        for ring in self {
            let (newest, buckets) = ring.parts();
            newest.put(out);
            let filled: Vec<(u64, i128)> = buckets
                .iter()
                .enumerate()
                .filter(|(_, value)| **value != 0)
                .map(|(at, value)| (at as u64, *value))
                .collect();
            filled.put(out);
        }
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, Unreadable> {
        let mut rings = Usage::default().turnover;
        for ring in &mut rings {
            let newest = u64::take(from)?;
            let filled: Vec<(u64, i128)> = Part::take(from)?;
            let restored = ring.restore(newest, &filled);
            restored.ok_or_else(|| Unreadable::message("a bucket that the window has not"))?;
        }
        Ok(rings)
    }
}

impl<T: Part> Part for Option<T> {
    fn put(&self, out: &mut Out) {
        self.is_some().put(out);
        if let Some(part) = self {
            part.put(out);
        }
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, Unreadable> {
        bool::take(from)?.then(|| T::take(from)).transpose()
    }
}

impl<A: Part, B: Part> Part for (A, B) {
    fn put(&self, out: &mut Out) {
        self.0.put(out);
        self.1.put(out);
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, Unreadable> {
        Ok((A::take(from)?, B::take(from)?))
    }
}

impl<A: Part, B: Part, C: Part> Part for (A, B, C) {
    fn put(&self, out: &mut Out) {
        self.0.put(out);
        self.1.put(out);
        self.2.put(out);
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, Unreadable> {
        Ok((A::take(from)?, B::take(from)?, C::take(from)?))
    }
}

fn put_all<'a, T: Part + 'a>(parts: impl ExactSizeIterator<Item = &'a T>, out: &mut Out) {
    (parts.len() as u64).put(out);
    parts.for_each(|part| part.put(out));
}

/// Length, then each. A length that lies ends at the end of the bytes: nothing is reserved for it.
fn take_all<T: Part>(from: &mut Decoder<'_>, mut add: impl FnMut(T)) -> Result<(), Unreadable> {
    for _ in 0..u64::take(from)? {
        add(T::take(from)?);
    }
    Ok(())
}

impl<T: Part> Part for Vec<T> {
    fn put(&self, out: &mut Out) {
        put_all(self.iter(), out);
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, Unreadable> {
        let mut parts = Vec::new();
        take_all(from, |part| parts.push(part))?;
        Ok(parts)
    }
}

impl<T: Part + Ord> Part for BTreeSet<T> {
    fn put(&self, out: &mut Out) {
        put_all(self.iter(), out);
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, Unreadable> {
        let mut parts = Self::new();
        take_all(from, |part| {
            parts.insert(part);
        })?;
        Ok(parts)
    }
}

impl<K: Part + Ord, V: Part> Part for BTreeMap<K, V> {
    fn put(&self, out: &mut Out) {
        (self.len() as u64).put(out);
        for (key, value) in self {
            key.put(out);
            value.put(out);
        }
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, Unreadable> {
        let mut map = Self::new();
        take_all(from, |(key, value)| {
            map.insert(key, value);
        })?;
        Ok(map)
    }
}

/// In the order of its keys, so that equal maps have equal bytes.
impl<K: Part + Ord + Hash, V: Part> Part for Map<K, V> {
    fn put(&self, out: &mut Out) {
        let mut sorted: Vec<(&K, &V)> = Map::iter(self).collect();
        sorted.sort_by(|a, b| a.0.cmp(b.0));
        (sorted.len() as u64).put(out);
        for (key, value) in sorted {
            key.put(out);
            value.put(out);
        }
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, Unreadable> {
        let mut map = Self::default();
        take_all(from, |(key, value)| {
            map.insert(key, value);
        })?;
        Ok(map)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::halt::By;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    /// Something of every kind.
    fn state() -> State {
        let mut state = State::default();
        let order = |client: &str, side| OpenOrder {
            strategy: StrategyId(2),
            account: AccountId(1),
            symbol: "BTCUSDT".into(),
            side,
            quantity: Quantity(10_i128.pow(18)),
            client_order_id: Some(client.into()),
            list_client_order_id: None,
            order_id: None,
            list_id: Some(7.into()),
            executed: Quantity::ZERO,
            executed_quote: Amount::ZERO,
            status: OrderStatus::Open,
            alternative: false,
            base: Some("BTC".into()),
            quote: Some("USDT".into()),
            price: Some(Price(60_000 * 10_i128.pow(18))),
            market: MarketKind::UsdFutures,
            position_side: Some(PositionSide::Long),
            contract: None,
            settle: None,
            reduces: side == Side::Sell,
            algo: false,
            became: None,
            most: Some(Quantity(9)),
        };
        let effects = [
            Effect::SiteCreated { name: name("fund") },
            Effect::AccountAdded {
                name: name("main"),
                venue: name("binance"),
            },
            Effect::StrategyAdded {
                name: name("quoter"),
                desk: Some(name("mm")),
                observe: true,
            },
            Effect::KeyAdded {
                account: AccountId(1),
                duty: Duty::Trade,
                scheme: Scheme::Ed25519,
                api_key: "k".to_owned(),
                sealed: "keys/k.age".to_owned(),
            },
            Effect::VirtualKeyIssued {
                strategy: StrategyId(2),
                account: AccountId(1),
                scheme: Scheme::HmacSha256,
                api_key: "v".to_owned(),
                public_key: vec![1, 2].into(),
                expires: Timestamp(9),
                sources: vec!["10.0.0.0/8".to_owned()],
                canary: false,
            },
            Effect::Released {
                hash: vec![5; 32].into(),
            },
            Effect::Price {
                symbol: "BTCUSDT".into(),
                price: Price(60_000 * 10_i128.pow(18)),
                market: MarketKind::Spot,
                venue: None,
            },
            Effect::Reserved {
                leg: 0,
                order: order("a", Side::Buy),
            },
            Effect::Reserved {
                leg: 1,
                order: order("b", Side::Sell),
            },
            Effect::Spent {
                strategy: StrategyId(2),
                account: AccountId(1),
                tats: [1, 2, 3, 4],
                reserved: false,
                weight: 5,
                turnover: Value(6_000_000),
                repeats: vec![(8, 9)],
            },
            Effect::Day { day: 20_717 },
            Effect::Progress {
                order: OrderNumber {
                    entry: EntryId(7),
                    leg: 0,
                },
                executed: Quantity(10_i128.pow(17)),
                quote: Amount(6_000 * 10_i128.pow(18)),
                order_id: Some(11.into()),
                list_id: None,
                status: OrderStatus::Open,
                quantity: None,
                became: None,
            },
            Effect::Traded {
                order: OrderNumber {
                    entry: EntryId(7),
                    leg: 0,
                },
                trade: 5.into(),
                quantity: Quantity(10_i128.pow(17)),
                quote: Amount(6_000 * 10_i128.pow(18)),
                fee: Amount(6 * 10_i128.pow(18)),
                fee_asset: "USDT".into(),
            },
            Effect::Seen { mark: [3; 16] },
            Effect::Jumped { by_us: Some(6) },
            Effect::Halted(Halt {
                scope: Scope::Desk(name("mm")),
                level: Level::CancelOnly,
                since: Timestamp(5),
                reason: "why".to_owned(),
                by: By::Operator("ada".to_owned()),
            }),
        ];
        for (index, effect) in effects.into_iter().enumerate() {
            let at = Timestamp(1_790_000_000_000_000 + index as u64);
            state.apply(EntryId(index as u64), at, &[effect]);
        }
        state
    }

    #[test]
    fn a_state_reads_back_as_itself_and_goes_on_alike() {
        let mut one = state();
        let bytes = one.to_bytes();
        let mut other = State::from_bytes(&bytes).unwrap();
        assert_eq!(one, other);
        assert_eq!(other.to_bytes(), bytes);
        let more = [
            Effect::Price {
                symbol: "BTCUSDT".into(),
                price: Price(61_000 * 10_i128.pow(18)),
                market: MarketKind::Spot,
                venue: None,
            },
            Effect::Spent {
                strategy: StrategyId(2),
                account: AccountId(1),
                tats: [9, 9, 9, 9],
                reserved: true,
                weight: 1,
                turnover: Value(7),
                repeats: Vec::new(),
            },
            Effect::Progress {
                order: OrderNumber {
                    entry: EntryId(7),
                    leg: 0,
                },
                executed: Quantity(10_i128.pow(17)),
                quote: Amount(6_000 * 10_i128.pow(18)),
                order_id: Some(11.into()),
                list_id: None,
                status: OrderStatus::Filled,
                quantity: None,
                became: None,
            },
        ];
        for state in [&mut one, &mut other] {
            state.apply(EntryId(20), Timestamp(1_790_090_000_000_000), &more);
        }
        assert_eq!(one, other);
        assert_eq!(one.to_bytes(), other.to_bytes());
        assert_ne!(one.to_bytes(), bytes);
    }

    #[test]
    fn statements_are_remembered_for_a_moment() {
        let mut state = State::default();
        for n in 0..10 {
            let at = Timestamp(n * 1_000_000);
            state.apply(
                EntryId(n),
                at,
                &[Effect::Seen {
                    mark: [n as u8; 16],
                }],
            );
        }
        let seen: Vec<u64> = state.seen.keys().map(|entry| entry.0).collect();
        assert_eq!(seen, [6, 7, 8, 9]);
    }

    #[test]
    fn bytes_that_are_cut_or_longer_are_no_state() {
        let bytes = state().to_bytes();
        for end in 0..bytes.len() {
            assert!(State::from_bytes(&bytes[..end]).is_err(), "{end}");
        }
        assert!(State::from_bytes(&[&bytes[..], &[0]].concat()).is_err());
        // A length that lies reserves nothing.
        assert!(
            State::from_bytes(&[0x1b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]).is_err()
        );
    }

    #[test]
    fn equal_states_have_equal_bytes_whatever_their_history() {
        assert_eq!(state().to_bytes(), state().to_bytes());
    }
}
