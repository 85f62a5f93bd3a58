//! A venue's own list of its markets: where it stands, and the facts in it. A command fetches it for people to look at; as part of
//! a release it governs.

use crate::value::{ASSET_BYTES_MAX, SYMBOL_BYTES_MAX, is_name};
use portcullis_model::action::MarketKind;
use portcullis_model::number::{Price, Quantity};
use portcullis_model::release::Market;

/// One list of a venue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listing {
    pub kind: MarketKind,
    /// The host by the name that catalogs use.
    pub host: &'static str,
    /// A public GET.
    pub target: &'static str,
}

/// An answer to one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub markets: Vec<Market>,
    /// The list goes on there.
    pub next: Option<String>,
}

/// One market as a venue tells it, its numbers still text. An empty step or one of zero is none.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Told<'a> {
    pub kind: MarketKind,
    pub symbol: &'a str,
    pub base: &'a str,
    pub quote: &'a str,
    pub tick: Option<&'a str>,
    pub step: Option<&'a str>,
    pub contract_size: Option<Quantity>,
    /// The venue's number of it.
    pub code: Option<u64>,
}

impl Told<'_> {
    pub fn market(self) -> Result<Market, String> {
        let names = [self.base, self.quote];
        if !is_name(self.symbol, SYMBOL_BYTES_MAX)
            || !names.iter().all(|name| is_name(name, ASSET_BYTES_MAX))
        {
            let start: String = self.symbol.chars().take(SYMBOL_BYTES_MAX).collect();
            return Err(format!("{start:?} is no symbol, or its assets are none"));
        }
        let wrong = |why: portcullis_model::number::NumberError| format!("{}: {why}", self.symbol);
        let tick = self.tick.filter(|text| !text.is_empty());
        let step = self.step.filter(|text| !text.is_empty());
        Ok(Market {
            symbol: self.symbol.into(),
            base: self.base.into(),
            quote: self.quote.into(),
            kind: self.kind,
            tick: tick
                .map(|text| Price::parse(text.as_bytes()))
                .transpose()
                .map_err(wrong)?
                .filter(|tick| tick.is_positive()),
            step: step
                .map(|text| Quantity::parse(text.as_bytes()))
                .transpose()
                .map_err(wrong)?
                .filter(|step| step.is_positive()),
            contract_size: self.contract_size,
            inverse: self.kind.is_inverse(),
            settle: None,
            code: self.code,
        })
    }
}
