//! Which market an instrument id names, by its shape: `BTC-USDT` is spot, `BTC-USDT-SWAP` a perpetual, `BTC-USD-261225` a
//! dated future, `BTC-USD-261225-60000-C` an option. Whether it is listed is the release's business.

use crate::error::{DecodeError, quote};
use portcullis_model::action::MarketKind;

/// What kind of thing is traded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Instrument {
    /// A pair: with `tdMode` other than `cash` it is margin.
    Pair,
    /// A perpetual or dated future. Linear ones count in their quote, inverse ones in their coin.
    Contract {
        inverse: bool,
    },
    Option,
}

impl Instrument {
    pub(super) fn of(id: &str) -> Option<Self> {
        let mut parts = id.split('-');
        let (base, quote) = (parts.next()?, parts.next()?);
        if !is_name(base) {
            return None;
        }
        // `USD_UM`: margined in dollars of the account, whatever their coin. Another mark is not known.
        let (coin, dollars) = match quote.split_once('_') {
            None => (quote, false),
            Some((coin, "UM" | "UM_XPERP")) => (coin, true),
            Some(_) => return None,
        };
        if !is_name(coin) {
            return None;
        }
        let inverse = coin == "USD" && !dollars;
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (None, None, None, None) if !dollars => Some(Self::Pair),
            (Some("SWAP"), None, None, None) => Some(Self::Contract { inverse }),
            (Some(date), None, None, None) if is_date(date) => Some(Self::Contract { inverse }),
            (Some(date), Some(strike), Some("C" | "P"), None)
                if is_date(date) && is_strike(strike) =>
            {
                Some(Self::Option)
            }
            _ => None,
        }
    }

    /// The same, or why not.
    pub(super) fn wanted(id: &str) -> Result<Self, DecodeError> {
        Self::of(id).ok_or_else(|| DecodeError::FieldValue {
            field: "instId".to_owned(),
            why: format!(
                "`{}` is no instrument whose market can be told; write it as `BTC-USDT`, `BTC-USDT-SWAP`, `BTC-USD-261225` or \
                 `BTC-USD-261225-60000-C`",
                quote(id)
            ),
        })
    }

    /// The market of a request that says no more than the instrument.
    pub(super) fn market(self) -> MarketKind {
        match self {
            Self::Pair => MarketKind::Spot,
            Self::Contract { inverse: false } => MarketKind::UsdFutures,
            Self::Contract { inverse: true } => MarketKind::CoinFutures,
            Self::Option => MarketKind::Option,
        }
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(char::is_alphanumeric)
}

fn is_date(text: &str) -> bool {
    text.len() == 6 && text.bytes().all(|b| b.is_ascii_digit())
}

fn is_strike(text: &str) -> bool {
    text.bytes().next().is_some_and(|b| b.is_ascii_digit())
        && text.bytes().all(|b| b.is_ascii_digit() || b == b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shape_says_the_market() {
        let linear = Some(Instrument::Contract { inverse: false });
        let inverse = Some(Instrument::Contract { inverse: true });
        for (id, expected) in [
            ("BTC-USDT", Some(Instrument::Pair)),
            ("1INCH-USDC", Some(Instrument::Pair)),
            ("币安人生-USDT", Some(Instrument::Pair)),
            ("BTC-USD", Some(Instrument::Pair)),
            ("BTC-USDT-SWAP", linear),
            ("BTC-USDC-SWAP", linear),
            ("BTC-USD-SWAP", inverse),
            ("BTC-USD_UM-SWAP", linear),
            ("BTC-USD_UM_XPERP-310404", linear),
            ("BTC-USDT-261225", linear),
            ("BTC-USD-261225", inverse),
            ("BTC-USD-261225-60000-C", Some(Instrument::Option)),
            ("BTC-USD_UM-261225-0.5-P", Some(Instrument::Option)),
        ] {
            assert_eq!(Instrument::of(id), expected, "{id}");
        }
        for id in [
            "",
            "BTC",
            "BTCUSDT",
            "BTC-",
            "-USDT",
            "BTC-USDT-",
            "BTC-USDT-swap",
            "BTC-USDT-SWAP-",
            "BTC-USDT-26122",
            "BTC-USDT-2612255",
            "BTC-USD_XX-SWAP",
            "BTC-USD_-SWAP",
            "BTC-USD_UM",
            "BTC-USD-261225-60000",
            "BTC-USD-261225-60000-X",
            "BTC-USD-261225-x-C",
            "BTC-USD-261225-60000-C-1",
            "BTC-USDT_BTC-USDT-SWAP",
            "BTC USDT",
        ] {
            assert_eq!(Instrument::of(id), None, "{id}");
        }
    }
}
