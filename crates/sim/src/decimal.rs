//! Numbers as the venue writes them: decimals with at most eight places, held as integers of 10^-8.

/// An amount, quantity or price in units of 10^-8.
pub type D = i128;

/// One whole unit.
pub const ONE: D = 100_000_000;
const PLACES: usize = 8;

/// Why a text is not a decimal of the venue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadDecimal {
    /// Outside `^([0-9]{1,20})(\.[0-9]{1,20})?$`.
    Illegal,
    /// More than eight places that are not zero.
    Precision,
}

/// Reads a decimal by the venue's own rule.
pub fn parse(text: &str) -> Result<D, BadDecimal> {
    let (whole, part) = match text.split_once('.') {
        Some((whole, part)) => (whole, Some(part)),
        None => (text, None),
    };
    let digits = |t: &str| (1..=20).contains(&t.len()) && t.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || part.is_some_and(|p| !digits(p)) {
        return Err(BadDecimal::Illegal);
    }
    let mut units: D = whole.parse().map_err(|_| BadDecimal::Illegal)?;
    units *= ONE;
    let part = part.unwrap_or("").trim_end_matches('0');
    if part.len() > PLACES {
        return Err(BadDecimal::Precision);
    }
    if !part.is_empty() {
        let value: D = part.parse().map_err(|_| BadDecimal::Illegal)?;
        units += value * 10_i128.pow(u32::try_from(PLACES - part.len()).unwrap_or(0));
    }
    Ok(units)
}

/// With eight places, as the venue answers.
#[must_use]
pub fn text(units: D) -> String {
    let sign = if units < 0 { "-" } else { "" };
    let units = units.unsigned_abs();
    let one = ONE.unsigned_abs();
    format!("{sign}{}.{:08}", units / one, units % one)
}

/// Without trailing zeros, as the venue answers in some SAPI calls.
#[must_use]
pub fn short(units: D) -> String {
    let text = text(units);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// `a * b`, cut to eight places; the largest number where that does not fit (what is bounded by the filters always does).
#[must_use]
pub fn mul(a: D, b: D) -> D {
    a.checked_mul(b).map_or(D::MAX, |p| p / ONE)
}

/// `a / b`, cut to eight places; zero where `b` is.
#[must_use]
pub fn div(a: D, b: D) -> D {
    if b == 0 {
        return 0;
    }
    a.checked_mul(ONE).map_or(D::MAX, |p| p / b)
}

/// A number of ours that is written in the source.
#[must_use]
pub fn d(text: &str) -> D {
    parse(text).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes() {
        for (from, to) in [
            ("1", "1.00000000"),
            ("0.1", "0.10000000"),
            ("65000.10", "65000.10000000"),
            ("0.00000001", "0.00000001"),
            ("007", "7.00000000"),
            ("1.000000000000", "1.00000000"),
        ] {
            assert_eq!(parse(from).map(text), Ok(to.to_owned()), "{from}");
        }
        for bad in [
            "",
            ".",
            "1.",
            ".5",
            "-1",
            "+1",
            "1e3",
            "1,0",
            " 1",
            "123456789012345678901",
        ] {
            assert_eq!(parse(bad), Err(BadDecimal::Illegal), "{bad}");
        }
        assert_eq!(parse("0.000000001"), Err(BadDecimal::Precision));
        assert_eq!(short(d("12.500")), "12.5");
        assert_eq!(mul(d("65000.1"), d("0.001")), d("65.0001"));
    }
}
