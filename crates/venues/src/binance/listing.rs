//! Binance's `exchangeInfo`, of spot and of both kinds of futures.

use crate::listing::{Listed, Listing, Told};
use portcullis_model::action::MarketKind;
use portcullis_model::number::Quantity;
use serde::Deserialize;

pub(super) const LISTINGS: [Listing; 3] = [
    Listing {
        kind: MarketKind::Spot,
        host: "api.binance.com",
        target: "/api/v3/exchangeInfo",
    },
    Listing {
        kind: MarketKind::UsdFutures,
        host: "fapi.binance.com",
        target: "/fapi/v1/exchangeInfo",
    },
    Listing {
        kind: MarketKind::CoinFutures,
        host: "dapi.binance.com",
        target: "/dapi/v1/exchangeInfo",
    },
];

pub(super) fn read(kind: MarketKind, answer: &[u8]) -> Result<Listed, String> {
    let info: ExchangeInfo = serde_json::from_slice(answer)
        .map_err(|why| format!("the answer is no exchangeInfo: {why}"))?;
    let mut markets = Vec::with_capacity(info.symbols.len());
    for symbol in &info.symbols {
        let status = symbol
            .status
            .as_deref()
            .or(symbol.contract_status.as_deref());
        // Gone for good, or not a spot market.
        let is_gone = matches!(
            status,
            None | Some("BREAK" | "CLOSE" | "SETTLING" | "DELIVERED")
        );
        let is_other = symbol.is_spot_trading_allowed == Some(false);
        // What is settled in another asset than it is quoted in, or held in, cannot be valued.
        let settles = match kind {
            MarketKind::UsdFutures => symbol.margin_asset.as_ref() == Some(&symbol.quote_asset),
            MarketKind::CoinFutures => symbol.margin_asset.as_ref() == Some(&symbol.base_asset),
            _ => true,
        };
        if is_gone || is_other || !settles {
            continue;
        }
        let of = |wanted: &str| symbol.filters.iter().find(|f| f.filter_type == wanted);
        let contract_size = match (kind, symbol.contract_size) {
            (MarketKind::CoinFutures, Some(dollars)) => {
                Quantity::parse(dollars.to_string().as_bytes()).ok()
            }
            (MarketKind::CoinFutures, None) => {
                return Err(format!("{}: no contract size", symbol.symbol));
            }
            _ => None,
        };
        let told = Told {
            kind,
            symbol: &symbol.symbol,
            base: &symbol.base_asset,
            quote: &symbol.quote_asset,
            tick: of("PRICE_FILTER").and_then(|f| f.tick_size.as_deref()),
            step: of("LOT_SIZE").and_then(|f| f.step_size.as_deref()),
            contract_size,
            code: None,
        };
        markets.push(told.market()?);
    }
    Ok(Listed {
        markets,
        next: None,
    })
}

#[derive(Deserialize)]
struct ExchangeInfo {
    symbols: Vec<SymbolInfo>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SymbolInfo {
    symbol: String,
    status: Option<String>,
    /// COIN-M's name for it.
    contract_status: Option<String>,
    base_asset: String,
    quote_asset: String,
    margin_asset: Option<String>,
    contract_size: Option<u64>,
    is_spot_trading_allowed: Option<bool>,
    #[serde(default)]
    filters: Vec<Filter>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Filter {
    filter_type: String,
    tick_size: Option<String>,
    step_size: Option<String>,
}
