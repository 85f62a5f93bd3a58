//! Bybit's `instruments-info`, by category. Options are left out: they come and go by the day.

use super::market_of;
use crate::form::encode_into;
use crate::listing::{Listed, Listing, Told};
use portcullis_model::action::MarketKind;
use portcullis_model::number::{ONE, Quantity};
use serde::Deserialize;

const HOST: &str = "api.bybit.com";

pub(super) const LISTINGS: [Listing; 3] = [
    Listing {
        kind: MarketKind::Spot,
        host: HOST,
        target: "/v5/market/instruments-info?category=spot",
    },
    Listing {
        kind: MarketKind::UsdFutures,
        host: HOST,
        target: "/v5/market/instruments-info?category=linear&limit=1000",
    },
    Listing {
        kind: MarketKind::CoinFutures,
        host: HOST,
        target: "/v5/market/instruments-info?category=inverse&limit=1000",
    },
];

pub(super) fn read(listing: &Listing, answer: &[u8]) -> Result<Listed, String> {
    let answer: Answer = serde_json::from_slice(answer)
        .map_err(|why| format!("the answer is no instruments-info: {why}"))?;
    let page = answer.result;
    if market_of(&page.category) != Some(listing.kind) {
        return Err("the answer is of another category".to_owned());
    }
    let mut markets = Vec::with_capacity(page.list.len());
    for item in &page.list {
        // What is settled in another coin than it is quoted in, or held in, cannot be valued.
        let settles = match listing.kind {
            MarketKind::UsdFutures => item.settle_coin.as_ref() == Some(&item.quote_coin),
            MarketKind::CoinFutures => item.settle_coin.as_ref() == Some(&item.base_coin),
            _ => true,
        };
        if !settles || item.status == "Closed" || item.status == "Delivering" {
            continue;
        }
        let lot = item.lot_size_filter.as_ref();
        let told = Told {
            kind: listing.kind,
            symbol: &item.symbol,
            base: &item.base_coin,
            quote: &item.quote_coin,
            tick: item.price_filter.as_ref().map(|f| f.tick_size.as_str()),
            step: lot.and_then(|f| f.qty_step.as_deref().or(f.base_precision.as_deref())),
            // An inverse contract is one dollar.
            contract_size: listing.kind.is_inverse().then_some(Quantity(ONE)),
            code: None,
        };
        markets.push(told.market()?);
    }
    let cursor = page.next_page_cursor.filter(|cursor| !cursor.is_empty());
    // The venue gives a cursor behind the last page too: an empty page ends the list.
    let next = cursor.filter(|_| !page.list.is_empty()).map(|cursor| {
        let mut target = format!("{}&cursor=", listing.target);
        // It stands encoded in the answer, as it is to be sent.
        match crate::form::decode(&cursor) {
            Ok(plain) => encode_into(&mut target, &plain),
            Err(_) => encode_into(&mut target, &cursor),
        }
        target
    });
    Ok(Listed { markets, next })
}

#[derive(Deserialize)]
struct Answer {
    result: Page,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    category: String,
    list: Vec<Item>,
    next_page_cursor: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    symbol: String,
    status: String,
    base_coin: String,
    quote_coin: String,
    settle_coin: Option<String>,
    price_filter: Option<PriceFilter>,
    lot_size_filter: Option<LotFilter>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PriceFilter {
    tick_size: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LotFilter {
    qty_step: Option<String>,
    base_precision: Option<String>,
}
