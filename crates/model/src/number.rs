//! Money and sizes as integers. `Price`, `Quantity` and `Amount` count units of 10^-18, `Value` counts millionths of
//! the site's currency. Products are taken in 256 bits and rounded in a direction that the caller names; nothing here
//! is ever a float.

use std::fmt;

/// Decimal places of [`Price`], [`Quantity`] and [`Amount`].
pub const DECIMAL_PLACES: u32 = 18;
/// Units in one whole.
pub const ONE: i128 = 1_000_000_000_000_000_000;
/// Digits before the point that a number may have. Longer input is refused.
pub const INTEGER_DIGITS_MAX: usize = 20;

/// Why a text is not a number of ours. The message says what to send instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NumberError {
    Empty,
    Sign,
    Exponent,
    NotADigit,
    LeadingZero,
    TooManyIntegerDigits,
    TooManyFractionDigits,
    BarePoint,
}

impl fmt::Display for NumberError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "number is empty; write digits such as `0.001`",
            Self::Sign => "number has a sign; write it without one",
            Self::Exponent => "number has an exponent; write it in plain digits",
            Self::NotADigit => {
                "number has a character that is no digit; write digits and at most one point"
            }
            Self::LeadingZero => "number has leading zeros; write it without them",
            Self::TooManyIntegerDigits => "number has more than 20 digits before the point",
            Self::TooManyFractionDigits => "number has more than 18 digits after the point",
            Self::BarePoint => "number has no digit before or after its point; write `0.5` or `5`",
        })
    }
}

impl std::error::Error for NumberError {}

/// Parses `digits[.digits]` into units of 10^-18. No sign, exponent, space, leading zero, or bare point; trailing
/// zeros after the point are accepted (clients send `65000.10`) beyond the 18th digit too.
pub fn parse_units(text: &[u8]) -> Result<i128, NumberError> {
    let (whole, fraction) = match text.iter().position(|&b| b == b'.') {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    };
    match text.first() {
        None => return Err(NumberError::Empty),
        Some(b'+' | b'-') => return Err(NumberError::Sign),
        Some(_) => {}
    }
    let mut units: i128 = 0;
    let digit = |b: u8| match b {
        b'0'..=b'9' => Ok(u64::from(b - b'0')),
        b'e' | b'E' => Err(NumberError::Exponent),
        _ => Err(NumberError::NotADigit),
    };
    for &b in whole {
        units = units.saturating_mul(10).saturating_add(digit(b)?.into());
    }
    if whole.is_empty() || fraction.is_some_and(<[u8]>::is_empty) {
        return Err(NumberError::BarePoint);
    }
    if whole.len() > 1 && whole.first() == Some(&b'0') {
        return Err(NumberError::LeadingZero);
    }
    if whole.len() > INTEGER_DIGITS_MAX {
        return Err(NumberError::TooManyIntegerDigits);
    }
    // What 18 digits say fits in 64 bits, whose arithmetic is far quicker.
    let (mut part, mut places) = (0u64, 0);
    for &b in fraction.unwrap_or_default() {
        let d = digit(b)?;
        if places < DECIMAL_PLACES {
            part = part * 10 + d;
            places += 1;
        } else if d != 0 {
            return Err(NumberError::TooManyFractionDigits);
        }
    }
    if fraction.is_some_and(|f| f.len() > 40) {
        return Err(NumberError::TooManyFractionDigits);
    }
    part *= 10u64.pow(DECIMAL_PLACES - places);
    Ok(units.saturating_mul(ONE).saturating_add(part.into()))
}

/// Without exponent or trailing zeros. `places` is at most [`DECIMAL_PLACES`].
fn write_units(f: &mut impl fmt::Write, units: i128, places: u32) -> fmt::Result {
    let one = 10u64.pow(places);
    let magnitude = units.unsigned_abs();
    // Most numbers fit in 64 bits, whose arithmetic is far quicker; what is left of one does always.
    let (whole, mut rest) = match u64::try_from(magnitude) {
        Ok(small) => (u128::from(small / one), small % one),
        Err(_) => {
            let rest = magnitude % u128::from(one);
            (
                magnitude / u128::from(one),
                u64::try_from(rest).unwrap_or(0),
            )
        }
    };
    if units < 0 {
        f.write_char('-')?;
    }
    // From the end: at most 39 digits, a point, and 18 digits.
    let mut text = [0; 64];
    let mut at = text.len();
    let mut put = |byte: u8| {
        at -= 1;
        if let Some(place) = text.get_mut(at) {
            *place = byte;
        }
    };
    if rest != 0 {
        let mut width = places;
        while rest.is_multiple_of(10) {
            rest /= 10;
            width -= 1;
        }
        for _ in 0..width {
            put(digit(rest % 10));
            rest /= 10;
        }
        put(b'.');
    }
    match u64::try_from(whole) {
        Ok(mut whole) => loop {
            put(digit(whole % 10));
            whole /= 10;
            if whole == 0 {
                break;
            }
        },
        Err(_) => {
            let mut whole = whole;
            while whole > 0 {
                put(digit(u64::try_from(whole % 10).unwrap_or(0)));
                whole /= 10;
            }
        }
    }
    // Digits and a point are ASCII.
    let text = text
        .get(at..)
        .and_then(|text| std::str::from_utf8(text).ok());
    f.write_str(text.unwrap_or_default())
}

/// The character of a digit from 0 to 9.
fn digit(d: u64) -> u8 {
    b'0' + u8::try_from(d).unwrap_or(0)
}

/// Which way a product that does not come out even goes. Rounding is against the strategy: what it spends goes up,
/// what it gives back goes down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Round {
    Up,
    Down,
}

/// `a * b / 10^places`, exact in 256 bits, for magnitudes; `None` if the result does not fit in `i128`.
fn multiply(a: u128, b: u128, places: u32, round: Round) -> Option<i128> {
    match (a.checked_mul(b), 10u128.checked_pow(places)) {
        // Most orders: the product fits in 128 bits.
        (Some(product), Some(divisor)) => {
            let floor = product / divisor;
            let up = round == Round::Up && floor * divisor != product;
            i128::try_from(floor + u128::from(up)).ok()
        }
        _ => multiply_wide(a, b, places, round),
    }
}

fn multiply_wide(a: u128, b: u128, places: u32, round: Round) -> Option<i128> {
    const LOW: u128 = u64::MAX as u128;
    let (a0, a1, b0, b1) = (a & LOW, a >> 64, b & LOW, b >> 64);
    let (p00, p01, p10, p11) = (a0 * b0, a0 * b1, a1 * b0, a1 * b1);
    let mut limbs = [0u64; 4];
    let mid = (p00 >> 64) + (p01 & LOW) + (p10 & LOW);
    let high = p11 + (p01 >> 64) + (p10 >> 64) + (mid >> 64);
    limbs[0] = (p00 & LOW) as u64;
    limbs[1] = (mid & LOW) as u64;
    limbs[2] = (high & LOW) as u64;
    limbs[3] = (high >> 64) as u64;
    let mut inexact = false;
    let mut places = places;
    while places > 0 {
        // 10^18 is the largest power that leaves the partial remainder within 128 bits.
        let step = places.min(18);
        let divisor = 10u128.pow(step);
        let mut rest: u128 = 0;
        for limb in limbs.iter_mut().rev() {
            let part = (rest << 64) | u128::from(*limb);
            if part < divisor {
                *limb = 0;
                rest = part;
            } else {
                *limb = (part / divisor) as u64;
                rest = part % divisor;
            }
        }
        inexact |= rest != 0;
        places -= step;
    }
    if limbs[2] != 0 || limbs[3] != 0 {
        return None;
    }
    let floor = (u128::from(limbs[1]) << 64) | u128::from(limbs[0]);
    let result = if inexact && round == Round::Up {
        floor.checked_add(1)?
    } else {
        floor
    };
    i128::try_from(result).ok()
}

fn multiply_signed(a: i128, b: i128, places: u32, round: Round) -> Option<i128> {
    let magnitude = multiply(a.unsigned_abs(), b.unsigned_abs(), places, round)?;
    Some(if (a < 0) != (b < 0) {
        -magnitude
    } else {
        magnitude
    })
}

/// `a * 10^18 / b`, exact however wide, for magnitudes; `None` if the result does not fit in `i128`, or without a divisor.
fn divide(a: u128, b: u128, round: Round) -> Option<i128> {
    let mut quotient = a.checked_div(b)?;
    let mut rest = a % b;
    let mut places = DECIMAL_PLACES;
    // As many digits at once as the rest has room for.
    while places > 0 {
        let fits = |step: &u32| {
            10u128
                .checked_pow(*step)
                .and_then(|p| p.checked_mul(b))
                .is_some()
        };
        let step = (1..=places).rev().find(fits)?;
        let scale = 10u128.pow(step);
        rest *= scale;
        quotient = quotient.checked_mul(scale)?.checked_add(rest / b)?;
        rest %= b;
        places -= step;
    }
    let up = round == Round::Up && rest != 0;
    i128::try_from(quotient.checked_add(u128::from(up))?).ok()
}

macro_rules! number {
    ($(#[$doc:meta])* $name:ident, $places:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub i128);

        impl $name {
            pub const ZERO: Self = Self(0);
            pub const MAX: Self = Self(i128::MAX);

            #[must_use]
            pub const fn units(self) -> i128 {
                self.0
            }
            #[must_use]
            pub fn checked_add(self, other: Self) -> Option<Self> {
                self.0.checked_add(other.0).map(Self)
            }
            #[must_use]
            pub fn checked_sub(self, other: Self) -> Option<Self> {
                self.0.checked_sub(other.0).map(Self)
            }
            #[must_use]
            pub fn saturating_add(self, other: Self) -> Self {
                Self(self.0.saturating_add(other.0))
            }
            #[must_use]
            pub fn saturating_sub(self, other: Self) -> Self {
                Self(self.0.saturating_sub(other.0))
            }
            #[must_use]
            pub fn is_positive(self) -> bool {
                self.0 > 0
            }
        }

        impl $name {
            /// Appends what `Display` shows.
            pub fn push_to(self, text: &mut String) {
                // Writing to a `String` cannot fail.
                let _ = write_units(text, self.0, $places);
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_units(f, self.0, $places)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<C> minicbor::Encode<C> for $name {
            fn encode<W: minicbor::encode::Write>(
                &self,
                e: &mut minicbor::Encoder<W>,
                _: &mut C,
            ) -> Result<(), minicbor::encode::Error<W::Error>> {
                // Small numbers as CBOR integers, the rest as 16 big-endian bytes: one form for each number.
                match i64::try_from(self.0) {
                    Ok(small) => e.i64(small)?.ok(),
                    Err(_) => e.bytes(&self.0.to_be_bytes())?.ok(),
                }
            }
        }

        impl<'b, C> minicbor::Decode<'b, C> for $name {
            fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
                if d.datatype()? != minicbor::data::Type::Bytes {
                    return d.i64().map(|small| Self(small.into()));
                }
                let bytes = d.bytes()?;
                let wide = <[u8; 16]>::try_from(bytes)
                    .map(i128::from_be_bytes)
                    .map_err(|_| minicbor::decode::Error::message("number is not 16 bytes"))?;
                if i64::try_from(wide).is_ok() {
                    return Err(minicbor::decode::Error::message("number is not in its short form"));
                }
                Ok(Self(wide))
            }
        }
    };
}

macro_rules! decimal {
    ($name:ident) => {
        impl $name {
            /// Parses a plain decimal; see [`parse_units`].
            pub fn parse(text: &[u8]) -> Result<Self, NumberError> {
                parse_units(text).map(Self)
            }
        }

        impl std::str::FromStr for $name {
            type Err = NumberError;
            fn from_str(text: &str) -> Result<Self, NumberError> {
                Self::parse(text.as_bytes())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

number!(
    /// Quote units per base unit, in 10^-18.
    Price, 18);
number!(
    /// Base units (or contracts), in 10^-18. Signed where it is a position.
    Quantity, 18);
number!(
    /// Units of one asset, in 10^-18.
    Amount, 18);
number!(
    /// Millionths of the site's currency.
    Value, 6);
decimal!(Price);
decimal!(Quantity);
decimal!(Amount);

impl Price {
    /// What `quantity` costs at this price, in the quote asset. `None` beyond the range of [`Amount`].
    #[must_use]
    pub fn times(self, quantity: Quantity, round: Round) -> Option<Amount> {
        multiply_signed(self.0, quantity.0, 18, round).map(Amount)
    }
}

impl Quantity {
    /// As many contracts, of which each is so much.
    #[must_use]
    pub fn of(self, contract: Quantity, round: Round) -> Option<Quantity> {
        multiply_signed(self.0, contract.0, 18, round).map(Quantity)
    }
}

impl Amount {
    /// How much of the asset that has this price this amount of quote is. `None` beyond the range of [`Quantity`], or without a price.
    #[must_use]
    pub fn over(self, price: Price, round: Round) -> Option<Quantity> {
        if !price.is_positive() {
            return None;
        }
        let magnitude = divide(self.0.unsigned_abs(), price.0.unsigned_abs(), round)?;
        Some(Quantity(if self.0 < 0 { -magnitude } else { magnitude }))
    }

    /// This amount at `rate` site currency per unit. `None` beyond the range of [`Value`].
    #[must_use]
    pub fn at(self, rate: Price, round: Round) -> Option<Value> {
        if rate.0 == ONE {
            return multiply_signed(self.0, 1, 12, round).map(Value);
        }
        multiply_signed(self.0, rate.0, 30, round).map(Value)
    }
}

impl Value {
    /// Parses a decimal with at most six places of site currency.
    pub fn parse(text: &[u8]) -> Result<Self, NumberError> {
        let units = parse_units(text)?;
        let step = ONE / 1_000_000;
        if units % step != 0 {
            return Err(NumberError::TooManyFractionDigits);
        }
        Ok(Self(units / step))
    }
}

impl std::str::FromStr for Value {
    type Err = NumberError;
    fn from_str(text: &str) -> Result<Self, NumberError> {
        Self::parse(text.as_bytes())
    }
}

impl<'de> serde::Deserialize<'de> for Value {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<&str, NumberError>) {
        assert_eq!(
            Price::parse(text.as_bytes())
                .map(|p| p.to_string())
                .as_deref(),
            expected.as_ref().copied(),
            "{text}"
        );
    }

    #[test]
    fn decimals_parse_to_one_form() {
        check("65000.10", Ok("65000.1"));
        check("0.001", Ok("0.001"));
        check("0", Ok("0"));
        check("0.000000000000000001", Ok("0.000000000000000001"));
        check("0.0000000000000000010", Ok("0.000000000000000001"));
        check("99999999999999999999", Ok("99999999999999999999"));
    }

    #[test]
    fn other_forms_are_refused() {
        for (text, error) in [
            ("", NumberError::Empty),
            ("+1", NumberError::Sign),
            ("-1", NumberError::Sign),
            ("1e3", NumberError::Exponent),
            ("1E3", NumberError::Exponent),
            ("NaN", NumberError::NotADigit),
            ("0x10", NumberError::NotADigit),
            (" 1", NumberError::NotADigit),
            ("1,5", NumberError::NotADigit),
            ("1.2.3", NumberError::NotADigit),
            ("01", NumberError::LeadingZero),
            ("00.1", NumberError::LeadingZero),
            (".5", NumberError::BarePoint),
            ("5.", NumberError::BarePoint),
            (".", NumberError::BarePoint),
            ("100000000000000000000", NumberError::TooManyIntegerDigits),
            ("0.0000000000000000001", NumberError::TooManyFractionDigits),
        ] {
            check(text, Err(error));
        }
    }

    #[test]
    fn products_round_as_asked() {
        let price = Price::parse(b"65000.1").unwrap();
        let quantity = Quantity::parse(b"0.001").unwrap();
        assert_eq!(
            price.times(quantity, Round::Up).unwrap().to_string(),
            "65.0001"
        );
        let tiny = Price(1).times(Quantity(1), Round::Up).unwrap();
        assert_eq!(
            (tiny.0, Price(1).times(Quantity(1), Round::Down).unwrap().0),
            (1, 0)
        );
        let rate = Price::parse(b"1").unwrap();
        assert_eq!(
            Amount::parse(b"65.0001")
                .unwrap()
                .at(rate, Round::Up)
                .unwrap()
                .to_string(),
            "65.0001"
        );
        assert_eq!(Amount(1).at(rate, Round::Up).unwrap(), Value(1));
        assert_eq!(Price::MAX.times(Quantity::MAX, Round::Up), None);
    }

    proptest::proptest! {
        #[test]
        fn the_short_way_gives_what_the_long_way_gives(
            a: u64, b: u64, wide in 0u32..60, places in 0u32..31, up: bool,
        ) {
            let round = if up { Round::Up } else { Round::Down };
            let (a, b) = (u128::from(a) << wide, u128::from(b));
            proptest::prop_assert_eq!(multiply(a, b, places, round), multiply_wide(a, b, places, round));
            let amount = Amount(i128::from(b as u64));
            proptest::prop_assert_eq!(
                amount.at(Price(ONE), round).map(|v| v.0),
                multiply_wide(b, ONE.unsigned_abs(), 30, round)
            );
        }
    }

    /// `quotient * b` against `a * 10^18`, each as (high, low) limbs of a product.
    fn wide(a: u128, b: u128) -> (u128, u128) {
        const LOW: u128 = u64::MAX as u128;
        let (a0, a1, b0, b1) = (a & LOW, a >> 64, b & LOW, b >> 64);
        let (low, mid, other) = (a0 * b0, a0 * b1, a1 * b0);
        let carry = (low >> 64) + (mid & LOW) + (other & LOW);
        let high = a1 * b1 + (mid >> 64) + (other >> 64) + (carry >> 64);
        (high, (carry << 64) | (low & LOW))
    }

    proptest::proptest! {
        #[test]
        fn a_quotient_is_the_one_whole_number_that_fits(
            a in 0u128..1 << 120, b in 1u128..1 << 120, shift in 0u32..100, less in 0u32..100,
        ) {
            let (a, b) = (a >> less, (b >> shift).max(1));
            let Some(down) = divide(a, b, Round::Down) else { return Ok(()) };
            let down = down.unsigned_abs();
            let exact = wide(a, ONE.unsigned_abs());
            proptest::prop_assert!(wide(down, b) <= exact);
            proptest::prop_assert!(wide(down + 1, b) > exact);
            let up = divide(a, b, Round::Up).unwrap().unsigned_abs();
            proptest::prop_assert_eq!(up, if wide(down, b) == exact { down } else { down + 1 });
        }
    }

    #[test]
    fn quotients_round_as_asked() {
        let face = Amount::parse(b"100").unwrap();
        let price = Price::parse(b"60000").unwrap();
        let up = face.over(price, Round::Up).unwrap();
        let down = face.over(price, Round::Down).unwrap();
        assert_eq!(up.to_string(), "0.001666666666666667");
        assert_eq!(down.to_string(), "0.001666666666666666");
        assert_eq!(face.over(Price::ZERO, Round::Up), None);
        assert_eq!(Amount::MAX.over(Price(1), Round::Up), None);
        let five = Quantity::parse(b"5").unwrap();
        let contract = Quantity::parse(b"0.01").unwrap();
        assert_eq!(five.of(contract, Round::Up).unwrap().to_string(), "0.05");
    }

    #[test]
    fn encoded_numbers_decode_to_themselves() {
        for units in [
            0,
            1,
            -1,
            i128::from(i64::MAX),
            i128::from(i64::MIN),
            i128::from(i64::MAX) + 1,
            i128::MAX,
            i128::MIN,
        ] {
            let bytes = minicbor::to_vec(Amount(units)).unwrap();
            assert_eq!(minicbor::decode::<Amount>(&bytes).unwrap(), Amount(units));
        }
        let mut long = vec![0x50];
        long.extend(5i128.to_be_bytes());
        assert!(minicbor::decode::<Amount>(&long).is_err());
    }
}
