//! Public data.

use super::{Asked, Done, params, refuse, shown};
use crate::api::candle;
use crate::book::Side;
use crate::decimal::{D, ONE, mul};
use crate::venue::Venue;
use serde_json::{Value, json};

pub(super) fn answer(venue: &Venue, path: &str, asked: &Asked<'_>) -> Done {
    let now = asked.now;
    let category = asked.text("category").unwrap_or("linear");
    if path == "/v5/market/time" {
        return Ok(
            json!({"timeSecond": (now / 1000).to_string(), "timeNano": format!("{now}000000")}),
        );
    }
    if category != "spot" {
        return super::contracts::public(venue, path, category, asked);
    }
    let named = asked.text("symbol");
    let markets: Vec<usize> = match named {
        Some(name) => vec![
            venue
                .exchange
                .market(name)
                .map_err(|_| refuse(10001, "Not supported symbols"))?,
        ],
        None => (0..venue.exchange.markets.len()).collect(),
    };
    let one = || {
        markets
            .first()
            .copied()
            .filter(|_| named.is_some())
            .ok_or_else(|| params("symbol"))
    };
    Ok(match path {
        "/v5/market/instruments-info" => {
            let list: Vec<Value> = markets
                .iter()
                .map(|m| &venue.exchange.markets[*m].symbol)
                .filter(|s| s.status == "TRADING")
                .map(|s| {
                    json!({
                        "symbol": s.name, "baseCoin": s.base, "quoteCoin": s.quote, "innovation": "0", "status": "Trading",
                        "marginTrading": "none", "stTag": "0",
                        "lotSizeFilter": {
                            "basePrecision": shown(s.step), "quotePrecision": "0.0000001", "minOrderQty": shown(s.quantity_min),
                            "maxOrderQty": shown(s.quantity_max), "minOrderAmt": shown(s.notional_min), "maxOrderAmt": shown(s.notional_max),
                            "maxLimitOrderQty": shown(s.quantity_max), "maxMarketOrderQty": shown(s.market_quantity_max),
                            "postOnlyMaxLimitOrderSize": shown(s.quantity_max),
                        },
                        "priceFilter": {"tickSize": shown(s.tick)},
                        "riskParameters": {"priceLimitRatioX": "0.8", "priceLimitRatioY": "4"}, "symbolType": "",
                    })
                })
                .collect();
            json!({"category": "spot", "list": list, "nextPageCursor": ""})
        }
        "/v5/market/tickers" => {
            let list: Vec<Value> = markets
                .iter()
                .map(|m| {
                    let at = &venue.exchange.markets[*m];
                    let best = |side| at.book.depth(side, 1).first().copied().unwrap_or((0, 0));
                    let (bid, ask) = (best(Side::Buy), best(Side::Sell));
                    json!({
                        "symbol": at.symbol.name, "bid1Price": shown(bid.0), "bid1Size": shown(bid.1), "ask1Price": shown(ask.0),
                        "ask1Size": shown(ask.1), "lastPrice": shown(at.last), "prevPrice24h": shown(at.symbol.price),
                        "price24hPcnt": "0", "highPrice24h": shown(at.high), "lowPrice24h": shown(at.low),
                        "turnover24h": shown(at.quote_volume), "volume24h": shown(at.volume), "usdIndexPrice": shown(at.last),
                    })
                })
                .collect();
            json!({"category": "spot", "list": list})
        }
        "/v5/market/orderbook" => {
            let at = &venue.exchange.markets[one()?];
            let limit = asked.limit(1, 1000)?;
            let side = |side| -> Vec<[String; 2]> {
                let levels = at.book.depth(side, limit).into_iter();
                levels.map(|(p, q)| [shown(p), shown(q)]).collect()
            };
            json!({"s": at.symbol.name, "b": side(Side::Buy), "a": side(Side::Sell), "ts": now, "u": at.update, "seq": at.update, "cts": now})
        }
        "/v5/market/kline" => {
            let at = &venue.exchange.markets[one()?];
            let list = candles(
                asked,
                [at.symbol.price, at.symbol.tick, at.last],
                at.symbol.maker_size,
            )?;
            json!({"category": "spot", "symbol": at.symbol.name, "list": list})
        }
        "/v5/market/recent-trade" => {
            let at = &venue.exchange.markets[one()?];
            let limit = asked.limit(60, 60)?;
            let list: Vec<Value> = at
                .trades
                .iter()
                .rev()
                .take(limit)
                .map(|t| {
                    json!({
                        "execId": t.id.to_string(), "symbol": at.symbol.name, "price": shown(t.price), "size": shown(t.quantity),
                        "side": if t.buyer_maker { "Sell" } else { "Buy" }, "time": t.time.to_string(), "isBlockTrade": false,
                        "isRPITrade": false, "seq": t.id.to_string(),
                    })
                })
                .collect();
            json!({"category": "spot", "list": list})
        }
        _ => return Err(refuse(10016, "Server error.")),
    })
}

/// Candles, newest first. They are made up; only their form is real.
pub(super) fn candles(
    asked: &Asked<'_>,
    prices: [D; 3],
    size: D,
) -> Result<Vec<Value>, crate::refusal::Refusal> {
    let minutes = match asked.text("interval").unwrap_or("1") {
        "D" => 1440,
        "W" => 10_080,
        "M" => 43_200,
        number => number.parse::<u64>().map_err(|_| params("interval"))?,
    };
    let width = minutes * 60_000;
    let limit = asked.limit(200, 1000)? as u64;
    let slot = asked.now / width;
    let last = asked.int("end").map_or(slot, |end| (end / width).min(slot));
    let mut first = last.saturating_sub(limit - 1);
    if let Some(start) = asked.int("start") {
        first = start
            .div_ceil(width)
            .max(if asked.int("end").is_some() { first } else { 0 });
    }
    let last = last.min(first + limit - 1);
    Ok((first..=last)
        .rev()
        .map(|at| {
            let [open, high, low, close] = candle(prices, at, slot);
            let volume = size * 10 / ONE * ONE;
            json!([
                (at * width).to_string(),
                shown(open),
                shown(high),
                shown(low),
                shown(close),
                shown(volume),
                shown(mul(volume, open)),
            ])
        })
        .collect())
}
