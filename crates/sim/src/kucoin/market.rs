//! Public data.

use super::{Asked, Done, no_symbol, refuse, shown};
use crate::book::Side;
use crate::decimal::ONE;
use crate::exchange::Market;
use crate::refusal::Refusal;
use crate::venue::Venue;
use serde_json::{Value, json};

pub(super) fn answer(venue: &Venue, path: &str, asked: &Asked<'_>) -> Done {
    Ok(match path {
        "/api/v1/timestamp" => json!(asked.now),
        "/api/v2/symbols" => {
            let all = venue.exchange.markets.iter();
            all.map(symbol).collect()
        }
        "/api/v1/market/allTickers" => {
            let all: Vec<Value> = venue.exchange.markets.iter().map(ticker).collect();
            json!({"time": asked.now, "ticker": all})
        }
        "/api/v1/market/stats" => {
            let mut told = ticker(market(venue, asked)?);
            told["time"] = json!(asked.now);
            told
        }
        "/api/v1/market/orderbook/level1" => {
            let at = market(venue, asked)?;
            let told = ticker(at);
            json!({
                "time": asked.now, "sequence": at.update.to_string(), "price": shown(at.last),
                "size": shown(at.trades.back().map_or(0, |t| t.quantity)), "bestBid": told["buy"], "bestBidSize": "1",
                "bestAsk": told["sell"], "bestAskSize": "1",
            })
        }
        "/api/v1/market/orderbook/level2_20" => book(asked, market(venue, asked)?, 20),
        "/api/v1/market/orderbook/level2_100" => book(asked, market(venue, asked)?, 100),
        "/api/v3/margin/symbols" => json!({"timestamp": asked.now, "items": []}),
        "/api/v1/isolated/symbols" => json!([]),
        _ => return Err(refuse(500_000, "Internal Server Error")),
    })
}

fn market<'a>(venue: &'a Venue, asked: &Asked<'_>) -> Result<&'a Market, Refusal> {
    let name = asked.text("symbol").unwrap_or("");
    let market = venue.exchange.market(name).map_err(|_| no_symbol())?;
    Ok(&venue.exchange.markets[market])
}

fn symbol(at: &Market) -> Value {
    let s = &at.symbol;
    json!({
        "symbol": s.name, "name": s.name, "baseCurrency": s.base, "quoteCurrency": s.quote, "feeCurrency": s.quote, "market": "USDS",
        "baseMinSize": shown(s.quantity_min), "quoteMinSize": "0.1", "baseMaxSize": shown(s.quantity_max), "quoteMaxSize": "99999999",
        "baseIncrement": shown(s.step), "quoteIncrement": shown(ONE / 1_000_000), "priceIncrement": shown(s.tick), "priceLimitRate": "0.1",
        "minFunds": shown(s.notional_min), "isMarginEnabled": false, "enableTrading": s.status == "TRADING", "feeCategory": 1,
        "makerFeeCoefficient": "1.00", "takerFeeCoefficient": "1.00", "st": false,
    })
}

fn ticker(at: &Market) -> Value {
    let best = |side| at.book.depth(side, 1).first().map_or(0, |level| level.0);
    json!({
        "symbol": at.symbol.name, "symbolName": at.symbol.name, "buy": shown(best(Side::Buy)), "sell": shown(best(Side::Sell)),
        "last": shown(at.last), "high": shown(at.high), "low": shown(at.low), "vol": shown(at.volume), "volValue": shown(at.quote_volume),
        "changeRate": "0", "changePrice": "0", "averagePrice": shown(at.symbol.price), "takerFeeRate": "0.001", "makerFeeRate": "0.001",
        "takerCoefficient": "1", "makerCoefficient": "1",
    })
}

fn book(asked: &Asked<'_>, at: &Market, levels: usize) -> Value {
    let side = |side| -> Vec<[String; 2]> {
        let levels = at.book.depth(side, levels).into_iter();
        levels.map(|(p, q)| [shown(p), shown(q)]).collect()
    };
    json!({"time": asked.now, "sequence": at.update.to_string(), "bids": side(Side::Buy), "asks": side(Side::Sell)})
}
