//! OKX's `public/instruments`, by kind of instrument. Options are left out: they come and go by the day.

use super::instrument::Instrument;
use crate::listing::{Listed, Listing, Told};
use portcullis_model::action::MarketKind;
use portcullis_model::number::{Price, Quantity, Round};
use serde::Deserialize;

const HOST: &str = "www.okx.com";

/// Perpetuals and futures of both kinds stand in one list each.
pub(super) const LISTINGS: [Listing; 3] = [
    Listing {
        kind: MarketKind::Spot,
        host: HOST,
        target: "/api/v5/public/instruments?instType=SPOT",
    },
    Listing {
        kind: MarketKind::UsdFutures,
        host: HOST,
        target: "/api/v5/public/instruments?instType=SWAP",
    },
    Listing {
        kind: MarketKind::UsdFutures,
        host: HOST,
        target: "/api/v5/public/instruments?instType=FUTURES",
    },
];

pub(super) fn read(listing: &Listing, answer: &[u8]) -> Result<Listed, String> {
    let answer: Answer = serde_json::from_slice(answer)
        .map_err(|why| format!("the answer is no list of instruments: {why}"))?;
    if answer.code != "0" {
        return Err("the venue did not give the list".to_owned());
    }
    let (_, class) = listing.target.split_once('=').unwrap_or_default();
    let mut markets = Vec::with_capacity(answer.data.len());
    for item in &answer.data {
        if item.inst_type != class {
            return Err("the answer is of another kind of instrument".to_owned());
        }
        // Announced, and told nothing of; of a form that no order may name; or the venue's own tests.
        let kind = match Instrument::of(&item.inst_id) {
            Some(instrument) if matches!(item.state.as_str(), "live" | "suspend") => {
                instrument.market()
            }
            _ => continue,
        };
        if kind.is_future() != listing.kind.is_future() {
            return Err(format!("{}: no {class}", item.inst_id));
        }
        let mut parts = item.inst_id.split('-');
        let (base, quote) = match kind.is_future() {
            true => match (parts.next(), parts.next()) {
                (Some(base), Some(quote)) => (base, quote),
                _ => continue,
            },
            false => (item.base_ccy.as_str(), item.quote_ccy.as_str()),
        };
        let contract_size = match kind.is_future() {
            false => None,
            true => {
                // What is settled in another coin than it is quoted in, or held in, or counted in another, cannot be valued.
                let (settled, counted, word) = match kind.is_inverse() {
                    true => (base, quote, "inverse"),
                    false => (quote, base, "linear"),
                };
                if item.settle_ccy != settled || item.ct_val_ccy != counted || item.ct_type != word
                {
                    continue;
                }
                let size = size(&item.ct_val, &item.ct_mult)
                    .ok_or_else(|| format!("{}: no contract size", item.inst_id))?;
                Some(size)
            }
        };
        let told = Told {
            kind,
            symbol: &item.inst_id,
            base,
            quote,
            tick: Some(&item.tick_sz),
            step: Some(&item.lot_sz),
            contract_size,
            code: item.inst_id_code,
        };
        markets.push(told.market()?);
    }
    Ok(Listed {
        markets,
        next: None,
    })
}

/// One contract is so much, so many times.
fn size(value: &str, times: &str) -> Option<Quantity> {
    let value = Price::parse(value.as_bytes()).ok()?;
    let times = Quantity::parse(times.as_bytes()).ok()?;
    let product = value.times(times, Round::Down)?;
    let is_exact = value.times(times, Round::Up)? == product;
    (is_exact && product.0 > 0).then_some(Quantity(product.0))
}

#[derive(Deserialize)]
struct Answer {
    code: String,
    data: Vec<Item>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    inst_type: String,
    inst_id: String,
    #[serde(default)]
    state: String,
    #[serde(default)]
    base_ccy: String,
    #[serde(default)]
    quote_ccy: String,
    #[serde(default)]
    settle_ccy: String,
    #[serde(default)]
    ct_type: String,
    #[serde(default)]
    ct_val: String,
    #[serde(default)]
    ct_mult: String,
    #[serde(default)]
    ct_val_ccy: String,
    #[serde(default)]
    tick_sz: String,
    #[serde(default)]
    lot_sz: String,
    #[serde(default)]
    inst_id_code: Option<u64>,
}
