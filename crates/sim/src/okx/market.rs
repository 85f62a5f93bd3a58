//! Public data.

use super::socket::code_of_pair;
use super::{Asked, Done, contracts, refuse, shown};
use crate::api::candle;
use crate::book::Side;
use crate::decimal::{D, mul};
use crate::exchange::Market;
use crate::refusal::Refusal;
use crate::venue::Venue;
use serde_json::{Value, json};

pub(super) fn answer(venue: &Venue, path: &str, asked: &Asked<'_>) -> Done {
    let now = asked.now.to_string();
    if let Some(at) = asked
        .text("instId")
        .and_then(|name| contracts::of(venue, name))
        && !matches!(
            path,
            "/api/v5/public/instruments" | "/api/v5/public/mark-price"
        )
    {
        return contracts::public(venue, path, at, asked);
    }
    match path {
        "/api/v5/public/time" => Ok(vec![json!({"ts": now})]),
        "/api/v5/public/instruments" => instruments(venue, asked),
        "/api/v5/market/tickers" if asked.text("instType") == Some("SWAP") => {
            Ok(contracts::tickers(venue, &now))
        }
        "/api/v5/market/tickers" => Ok(venue
            .exchange
            .markets
            .iter()
            .filter(|m| asked.text("instType") == Some("SPOT") && m.symbol.status == "TRADING")
            .map(|m| ticker(m, &now))
            .collect()),
        "/api/v5/market/ticker" => Ok(vec![ticker(market(venue, asked)?, &now)]),
        "/api/v5/market/books" => {
            let at = market(venue, asked)?;
            let limit = asked.limit("sz", 1, 400)?;
            let side = |side| -> Vec<[String; 4]> {
                let levels = at.book.depth(side, limit).into_iter();
                levels
                    .map(|(p, q)| [shown(p), shown(q), "0".to_owned(), "1".to_owned()])
                    .collect()
            };
            Ok(vec![
                json!({"asks": side(Side::Sell), "bids": side(Side::Buy), "ts": now, "seqId": at.update}),
            ])
        }
        "/api/v5/market/candles" | "/api/v5/market/history-candles" => candles(venue, asked),
        "/api/v5/market/trades" => {
            let at = market(venue, asked)?;
            let limit = asked.limit("limit", 100, 500)?;
            let last = at.trades.iter().rev().take(limit);
            Ok(last
                .map(|t| {
                    json!({
                        "instId": at.symbol.name, "tradeId": t.id.to_string(), "px": shown(t.price), "sz": shown(t.quantity),
                        "side": if t.buyer_maker { "sell" } else { "buy" }, "ts": t.time.to_string(), "count": "1", "source": "0",
                    })
                })
                .collect())
        }
        "/api/v5/public/mark-price" => Ok(match asked.text("instType") {
            Some("SWAP") => contracts::marks(venue, asked.text("instId"), asked.now),
            _ => Vec::new(),
        }),
        "/api/v5/public/funding-rate" => Err(no_instrument()),
        _ => Err(refuse(50026, "System error. Try again later.")),
    }
}

pub(super) fn no_instrument() -> Refusal {
    refuse(
        51001,
        "Instrument ID, Instrument ID code, or Spread ID doesn't exist.",
    )
}

fn market<'a>(venue: &'a Venue, asked: &Asked<'_>) -> Result<&'a Market, Refusal> {
    let name = asked.text("instId").unwrap_or("");
    let market = venue.exchange.market(name).map_err(|_| no_instrument())?;
    Ok(&venue.exchange.markets[market])
}

fn instruments(venue: &Venue, asked: &Asked<'_>) -> Done {
    let wanted = asked.text("instId");
    let spot = asked.text("instType") == Some("SPOT");
    let all: Vec<Value> = venue
        .exchange
        .markets
        .iter()
        .enumerate()
        .map(|(at, m)| (at, &m.symbol))
        .filter(|(_, s)| spot && wanted.is_none_or(|w| w == s.name))
        .map(|(at, s)| {
            json!({
                "alias": "", "auctionEndTime": "", "baseCcy": s.base, "category": "1", "ctMult": "", "ctType": "", "ctVal": "", "ctValCcy": "",
                "expTime": "", "instFamily": "", "instId": s.name, "instIdCode": code_of_pair(at), "instType": "SPOT", "lever": "", "listTime": "1606468572000",
                "lotSz": shown(s.step), "maxIcebergSz": shown(s.quantity_max), "maxLmtAmt": shown(s.notional_max), "maxLmtSz": shown(s.quantity_max),
                "maxMktAmt": "1000000", "maxMktSz": shown(s.market_quantity_max), "maxStopSz": shown(s.quantity_max), "maxTriggerSz": shown(s.quantity_max),
                "maxTwapSz": shown(s.quantity_max), "minSz": shown(s.quantity_min), "optType": "", "quoteCcy": s.quote, "settleCcy": "",
                "state": if s.status == "TRADING" { "live" } else { "suspend" }, "ruleType": "normal", "stk": "", "tickSz": shown(s.tick), "uly": "",
                "tradeQuoteCcyList": [s.quote],
            })
        })
        .collect();
    let all = if asked.text("instType") == Some("SWAP") {
        contracts::instruments(venue, wanted)
    } else {
        all
    };
    if wanted.is_some() && all.is_empty() {
        return Err(no_instrument());
    }
    Ok(all)
}

fn ticker(at: &Market, now: &str) -> Value {
    let best = |side| at.book.depth(side, 1).first().copied().unwrap_or((0, 0));
    let (bid, ask) = (best(Side::Buy), best(Side::Sell));
    json!({
        "instType": "SPOT", "instId": at.symbol.name, "last": shown(at.last), "lastSz": shown(at.trades.back().map_or(0, |t| t.quantity)),
        "askPx": shown(ask.0), "askSz": shown(ask.1), "bidPx": shown(bid.0), "bidSz": shown(bid.1), "open24h": shown(at.symbol.price),
        "high24h": shown(at.high), "low24h": shown(at.low), "volCcy24h": shown(at.quote_volume), "vol24h": shown(at.volume),
        "sodUtc0": shown(at.symbol.price), "sodUtc8": shown(at.symbol.price), "ts": now,
    })
}

fn candles(venue: &Venue, asked: &Asked<'_>) -> Done {
    let at = market(venue, asked)?;
    candle_list(
        asked,
        [at.symbol.price, at.symbol.tick, at.last],
        at.symbol.maker_size,
    )
}

/// Candles, newest first: those before `after` and behind `before`. They are made up; only their form is real.
pub(super) fn candle_list(asked: &Asked<'_>, prices: [D; 3], size: D) -> Done {
    let minutes: u64 = match asked.text("bar").unwrap_or("1m") {
        "3m" => 3,
        "5m" => 5,
        "15m" => 15,
        "30m" => 30,
        "1H" => 60,
        "2H" => 120,
        "4H" => 240,
        "1D" | "1Dutc" => 1440,
        "1W" | "1Wutc" => 10_080,
        _ => 1,
    };
    let width = minutes * 60_000;
    let limit = asked.limit("limit", 100, 300)? as u64;
    let slot = asked.now / width;
    let last = asked
        .int("after")
        .map_or(slot, |after| after.saturating_sub(1) / width)
        .min(slot);
    let first = asked
        .int("before")
        .map_or(0, |before| before / width + 1)
        .max((last + 1).saturating_sub(limit));
    Ok((first..=last)
        .rev()
        .map(|one| {
            let [open, high, low, close] = candle(prices, one, slot);
            let volume = size * 10;
            let value = shown(mul(volume, open));
            json!([
                (one * width).to_string(),
                shown(open),
                shown(high),
                shown(low),
                shown(close),
                shown(volume),
                value,
                value,
                if one == slot { "0" } else { "1" },
            ])
        })
        .collect())
}
