//! KuCoin's `symbols`: the whole list of spot markets at once.

use crate::listing::{Listed, Listing, Told};
use portcullis_model::action::MarketKind;
use serde::Deserialize;

pub(super) const LISTINGS: [Listing; 1] = [Listing {
    kind: MarketKind::Spot,
    host: super::HOST,
    target: "/api/v2/symbols",
}];

pub(super) fn read(answer: &[u8]) -> Result<Listed, String> {
    let answer: Answer = serde_json::from_slice(answer)
        .map_err(|why| format!("the answer is no list of symbols: {why}"))?;
    if answer.code != super::summary::SUCCESS {
        return Err("the venue did not give the list".to_owned());
    }
    let markets = answer.data.iter().map(|item| {
        Told {
            kind: MarketKind::Spot,
            symbol: &item.symbol,
            base: &item.base_currency,
            quote: &item.quote_currency,
            tick: Some(&item.price_increment),
            step: Some(&item.base_increment),
            contract_size: None,
            code: None,
        }
        .market()
    });
    Ok(Listed {
        markets: markets.collect::<Result<_, _>>()?,
        next: None,
    })
}

#[derive(Deserialize)]
struct Answer {
    code: String,
    data: Vec<Item>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    symbol: String,
    base_currency: String,
    quote_currency: String,
    base_increment: String,
    price_increment: String,
}
