//! What each call does and answers. Spot here; `sapi` has the rest.

use crate::answers;
use crate::book::{Life, Side, Type};
use crate::decimal::{D, mul, text};
use crate::exchange::{COMMISSION, NewList, NewOrder};
use crate::futures::Service;
use crate::refusal::Refusal;
use crate::sapi;
use crate::strict::Understood;
use crate::venue::Venue;
use serde_json::{Value, json};

/// An answer on its way out.
#[derive(Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Body.
    pub body: String,
    /// Content type.
    pub kind: &'static str,
    /// More headers.
    pub headers: Vec<(&'static str, String)>,
}

type Done = Result<Value, Refusal>;

/// Does what an accepted request asks.
///
/// # Errors
/// The venue's refusal.
pub fn answer(venue: &mut Venue, asked: &Understood) -> Result<String, Refusal> {
    if let Some(service) = Service::of(asked.path) {
        return crate::futures::api::answer(venue, service, asked);
    }
    let value = match (asked.method, asked.path) {
        ("GET", "/api/v3/ping") => json!({}),
        ("GET", "/api/v3/time") => json!({"serverTime": venue.exchange.now}),
        ("GET", "/api/v3/exchangeInfo") => exchange_info(venue, asked)?,
        ("GET", "/api/v3/executionRules") => {
            let names = named(venue, asked)?;
            json!({"symbolRules": names.iter().map(|m| json!({"symbol": venue.exchange.markets[*m].symbol.name, "rules": []})).collect::<Vec<_>>()})
        }
        ("GET", "/api/v3/depth") => depth(venue, asked)?,
        ("GET", "/api/v3/trades" | "/api/v3/historicalTrades") => trades(venue, asked)?,
        ("GET", "/api/v3/historicalBlockTrades") => json!([]),
        ("GET", "/api/v3/aggTrades") => agg_trades(venue, asked)?,
        ("GET", "/api/v3/klines" | "/api/v3/uiKlines") => klines(venue, asked)?,
        ("GET", "/api/v3/avgPrice") => {
            let market = market(venue, asked)?;
            json!({"mins": 5, "price": text(venue.exchange.average(market)), "closeTime": venue.exchange.now})
        }
        ("GET", "/api/v3/ticker/24hr" | "/api/v3/ticker/tradingDay" | "/api/v3/ticker") => {
            tickers(venue, asked, day)?
        }
        ("GET", "/api/v3/ticker/price") => tickers(venue, asked, |venue, market, _| {
            let at = &venue.exchange.markets[market];
            json!({"symbol": at.symbol.name, "price": text(at.last)})
        })?,
        ("GET", "/api/v3/ticker/bookTicker") => {
            tickers(venue, asked, |venue, market, _| book_ticker(venue, market))?
        }
        ("GET", "/api/v3/referencePrice" | "/api/v3/referencePrice/calculation") => {
            market(venue, asked)?;
            return Err(Refusal::new(
                -2043,
                "This symbol doesn't have a reference price.",
            ));
        }
        ("POST", "/api/v3/order") => place(venue, asked, false)?,
        ("POST", "/api/v3/sor/order") => place(venue, asked, true)?,
        ("POST", "/api/v3/order/test" | "/api/v3/sor/order/test") => test(venue, asked)?,
        ("DELETE", "/api/v3/order") => cancel(venue, asked)?,
        ("DELETE", "/api/v3/openOrders") => cancel_all(venue, asked)?,
        ("POST", "/api/v3/order/cancelReplace") => cancel_replace(venue, asked)?,
        ("PUT", "/api/v3/order/amend/keepPriority") => amend(venue, asked)?,
        ("POST", "/api/v3/order/oco") => old_oco(venue, asked)?,
        ("POST", "/api/v3/orderList/oco") => {
            let side = side(asked, "side")?;
            let quantity = asked.decimal("quantity").unwrap_or(0);
            let legs = vec![
                leg(asked, "above", side, quantity)?,
                leg(asked, "below", side, quantity)?,
            ];
            list(venue, asked, None, legs)?
        }
        ("POST", "/api/v3/orderList/oto" | "/api/v3/orderList/opo") => {
            let pays = asked.path.ends_with("/opo");
            let working = leg(
                asked,
                "working",
                side(asked, "workingSide")?,
                asked.decimal("workingQuantity").unwrap_or(0),
            )?;
            let pending = leg(
                asked,
                "pending",
                side(asked, "pendingSide")?,
                asked.decimal("pendingQuantity").unwrap_or(0),
            )?;
            list(venue, asked, Some((working, pays)), vec![pending])?
        }
        ("POST", "/api/v3/orderList/otoco" | "/api/v3/orderList/opoco") => {
            let pays = asked.path.ends_with("/opoco");
            let working = leg(
                asked,
                "working",
                side(asked, "workingSide")?,
                asked.decimal("workingQuantity").unwrap_or(0),
            )?;
            let (side, quantity) = (
                side(asked, "pendingSide")?,
                asked.decimal("pendingQuantity").unwrap_or(0),
            );
            let legs = vec![
                leg(asked, "pendingAbove", side, quantity)?,
                leg(asked, "pendingBelow", side, quantity)?,
            ];
            list(venue, asked, Some((working, pays)), legs)?
        }
        ("DELETE", "/api/v3/orderList") => cancel_list(venue, asked)?,
        ("GET", "/api/v3/account") => account(venue, asked)?,
        ("GET", "/api/v3/order") => {
            let (account, market) = (owner(venue, asked)?, market(venue, asked)?);
            let order = venue
                .exchange
                .find(
                    account,
                    market,
                    asked.long("orderId"),
                    asked.get("origClientOrderId"),
                )
                .ok_or_else(|| Refusal::new(-2013, "Order does not exist."))?;
            answers::queried(order, &venue.exchange.markets[market].symbol.name)
        }
        ("GET", "/api/v3/openOrders") => open_orders(venue, asked)?,
        ("GET", "/api/v3/allOrders") => all_orders(venue, asked)?,
        ("GET", "/api/v3/orderList") => {
            let account = owner(venue, asked)?;
            let found = find_list(
                venue,
                account,
                asked.long("orderListId"),
                asked.get("origClientOrderId"),
            )
            .ok_or_else(|| Refusal::new(-2018, "Order list does not exist."))?;
            Value::Object(answers::list(
                &venue.exchange,
                &venue.exchange.lists[&found],
                "transactionTime",
            ))
        }
        ("GET", "/api/v3/allOrderList" | "/api/v3/openOrderList") => {
            let account = owner(venue, asked)?;
            let open_only = asked.path.ends_with("openOrderList");
            let limit = limit(asked, 500, 1000)?;
            let from = asked.long("fromId").unwrap_or(0);
            let lists = &venue.exchange.accounts[account].lists;
            let found: Vec<Value> = lists
                .iter()
                .filter_map(|id| venue.exchange.lists.get(id))
                .filter(|l| l.id >= from && (l.open || !open_only))
                .rev()
                .take(limit)
                .map(|l| Value::Object(answers::list(&venue.exchange, l, "transactionTime")))
                .collect();
            Value::Array(found.into_iter().rev().collect())
        }
        ("GET", "/api/v3/myTrades") => my_trades(venue, asked)?,
        ("GET", "/api/v3/rateLimit/order") => {
            let account = owner(venue, asked)?;
            let counts = venue.exchange.accounts[account].order_counts;
            let limits = venue.exchange.order_limits;
            let now = [venue.exchange.now / 10_000, venue.exchange.now / 86_400_000];
            let one = |i: usize, interval: &str, number: u64| {
                let count = if counts[i].0 == now[i] {
                    counts[i].1
                } else {
                    0
                };
                json!({"rateLimitType": "ORDERS", "interval": interval, "intervalNum": number, "limit": limits[i], "count": count})
            };
            json!([one(0, "SECOND", 10), one(1, "DAY", 1)])
        }
        ("GET", "/api/v3/myPreventedMatches") => prevented(venue, asked)?,
        ("GET", "/api/v3/myAllocations") => {
            market(venue, asked)?;
            json!([])
        }
        ("GET", "/api/v3/account/commission") => {
            let market = market(venue, asked)?;
            let mut value = commissions();
            value["symbol"] = json!(venue.exchange.markets[market].symbol.name);
            let zero =
                json!({"maker": text(0), "taker": text(0), "buyer": text(0), "seller": text(0)});
            let rate = text(COMMISSION);
            value["standardCommission"] =
                json!({"maker": rate, "taker": rate, "buyer": text(0), "seller": text(0)});
            value["specialCommission"] = zero.clone();
            value["taxCommission"] = zero;
            value
        }
        ("GET", "/api/v3/order/amendments") => amendments(venue, asked)?,
        ("GET", "/api/v3/myFilters") => {
            let market = market(venue, asked)?;
            json!({"exchangeFilters": [], "symbolFilters": venue.exchange.markets[market].symbol.filters(), "assetFilters": []})
        }
        _ => return sapi::answer(venue, asked),
    };
    Ok(value.to_string())
}

/// The account of the key.
///
/// # Errors
/// `-2015` for a call that needs one and has none.
pub fn owner(venue: &Venue, asked: &Understood) -> Result<usize, Refusal> {
    asked
        .key
        .as_deref()
        .and_then(|text| venue.keys.find(text))
        .map(|key| key.account)
        .ok_or_else(Refusal::key)
}

fn market(venue: &Venue, asked: &Understood) -> Result<usize, Refusal> {
    venue.exchange.market(asked.get("symbol").unwrap_or(""))
}

fn limit(asked: &Understood, default: usize, max: usize) -> Result<usize, Refusal> {
    match asked.long("limit") {
        None => Ok(default),
        Some(0) => Err(Refusal::new(
            -1130,
            "Data sent for parameter 'limit' is not valid.",
        )),
        Some(number) => Ok(usize::try_from(number).unwrap_or(max).min(max)),
    }
}

fn side(asked: &Understood, name: &str) -> Result<Side, Refusal> {
    match asked.get(name) {
        Some("BUY") => Ok(Side::Buy),
        Some("SELL") => Ok(Side::Sell),
        _ => Err(Refusal::new(-1117, "Invalid side.")),
    }
}

/// Milliseconds of a time that may be in microseconds.
fn time(asked: &Understood, name: &str) -> Option<u64> {
    asked.long(name).map(|t| {
        if t >= 1_000_000_000_000_000 {
            t / 1000
        } else {
            t
        }
    })
}

/// Start and end, at most a day apart where `day` says so.
fn times(asked: &Understood, day: bool) -> Result<(Option<u64>, Option<u64>), Refusal> {
    let (start, end) = (time(asked, "startTime"), time(asked, "endTime"));
    if let (Some(start), Some(end)) = (start, end) {
        if end < start {
            return Err(Refusal::new(-1102, "Start time is greater than end time."));
        }
        if day && end - start > 86_400_000 {
            return Err(Refusal::new(
                -1127,
                "More than 24 hours between startTime and endTime.",
            ));
        }
    }
    Ok((start, end))
}

/// The markets that `symbol` or `symbols` names; all that trade without.
fn named(venue: &Venue, asked: &Understood) -> Result<Vec<usize>, Refusal> {
    if let Some(one) = asked.get("symbol") {
        return Ok(vec![venue.exchange.market(one)?]);
    }
    if let Some(list) = asked.get("symbols") {
        let list: Vec<String> = serde_json::from_str(list).map_err(|_| Refusal::symbol())?;
        return list.iter().map(|one| venue.exchange.market(one)).collect();
    }
    let status = asked.get("symbolStatus");
    let fits = |m: &usize| status.is_none_or(|s| venue.exchange.markets[*m].symbol.status == s);
    Ok((0..venue.exchange.markets.len()).filter(fits).collect())
}

fn exchange_info(venue: &Venue, asked: &Understood) -> Done {
    let sets = asked.get("showPermissionSets") != Some("false");
    let symbols: Vec<Value> = named(venue, asked)?
        .into_iter()
        .map(|m| venue.exchange.markets[m].symbol.info(sets))
        .collect();
    let options = &venue.options;
    Ok(json!({
        "timezone": "UTC", "serverTime": venue.exchange.now,
        "rateLimits": [
            {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": options.weight_per_minute},
            {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": options.orders_per_10s},
            {"rateLimitType": "ORDERS", "interval": "DAY", "intervalNum": 1, "limit": options.orders_per_day},
        ],
        "exchangeFilters": [], "symbols": symbols,
    }))
}

fn depth(venue: &Venue, asked: &Understood) -> Done {
    let market = market(venue, asked)?;
    let limit = limit(asked, 100, 5000)?;
    let at = &venue.exchange.markets[market];
    let levels = |side| -> Vec<[String; 2]> {
        at.book
            .depth(side, limit)
            .into_iter()
            .map(|(price, quantity)| [text(price), text(quantity)])
            .collect()
    };
    Ok(json!({"lastUpdateId": at.update, "bids": levels(Side::Buy), "asks": levels(Side::Sell)}))
}

fn trades(venue: &Venue, asked: &Understood) -> Done {
    let market = market(venue, asked)?;
    let limit = limit(asked, 500, 1000)?;
    let all = &venue.exchange.markets[market].trades;
    let one = |t: &crate::exchange::Trade| {
        json!({"id": t.id, "price": text(t.price), "qty": text(t.quantity), "quoteQty": text(mul(t.price, t.quantity)),
               "time": t.time, "isBuyerMaker": t.buyer_maker, "isBestMatch": true})
    };
    Ok(match asked.long("fromId") {
        Some(from) => all
            .iter()
            .filter(|t| t.id >= from)
            .take(limit)
            .map(one)
            .collect(),
        None => all
            .iter()
            .skip(all.len().saturating_sub(limit))
            .map(one)
            .collect(),
    })
}

fn agg_trades(venue: &Venue, asked: &Understood) -> Done {
    let market = market(venue, asked)?;
    let limit = limit(asked, 500, 1000)?;
    let (start, end) = times(asked, false)?;
    let all: Vec<Value> = venue.exchange.markets[market]
        .trades
        .iter()
        .filter(|t| asked.long("fromId").is_none_or(|from| t.id >= from))
        .filter(|t| start.is_none_or(|s| t.time >= s) && end.is_none_or(|e| t.time <= e))
        .map(|t| {
            json!({"a": t.id, "p": text(t.price), "q": text(t.quantity), "f": t.id, "l": t.id, "T": t.time, "m": t.buyer_maker, "M": true})
        })
        .collect();
    let skip = if start.is_some() || asked.long("fromId").is_some() {
        0
    } else {
        all.len().saturating_sub(limit)
    };
    Ok(all.into_iter().skip(skip).take(limit).collect())
}

/// Milliseconds of a candle's interval.
#[must_use]
pub fn interval_ms(interval: &str) -> u64 {
    let (number, unit) = interval.split_at(interval.len().saturating_sub(1));
    let unit: u64 = match unit {
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        "w" => 604_800_000,
        _ => 2_592_000_000,
    };
    number.parse::<u64>().unwrap_or(1) * unit
}

/// Where a made-up candle begins: a triangle of one in a hundred around the price, sixty-four candles long.
#[must_use]
pub fn wave(price: D, tick: D, slot: u64) -> D {
    let phase = i128::from(slot % 64);
    let height = if phase < 32 { phase - 16 } else { 48 - phase };
    (price + price * height / 1600) / tick * tick
}

/// A candle that is made up: open, high, low and close around where the price began (`[start, tick, last]`), the slot of
/// now closing at the last price.
pub(crate) fn candle([start, tick, last]: [D; 3], slot: u64, now: u64) -> [D; 4] {
    let open = wave(start, tick, slot);
    let close = if slot == now {
        last
    } else {
        wave(start, tick, slot + 1)
    };
    [open, open.max(close), open.min(close), close]
}

/// Candles are made up: a wave around the market's price, the last one closing at it. Only their form is real.
fn klines(venue: &Venue, asked: &Understood) -> Done {
    let market = market(venue, asked)?;
    let limit = limit(asked, 500, 1000)? as u64;
    let (start, end) = times(asked, false)?;
    let interval = asked.get("interval").unwrap_or("1m");
    let width = interval_ms(interval);
    let at = &venue.exchange.markets[market];
    let now = venue.exchange.now;
    let last = end.unwrap_or(now).min(now) / width;
    let first = match start {
        Some(start) => start.div_ceil(width),
        None => (last + 1).saturating_sub(limit),
    };
    let candles = (first..=last)
        .take(usize::try_from(limit).unwrap_or(1000))
        .map(|slot| {
            let candle = candle(
                [at.symbol.price, at.symbol.tick, at.last],
                slot,
                now / width,
            );
            let volume = at.symbol.maker_size * 10;
            let value = mul(volume, candle[0]);
            json!([
                slot * width,
                text(candle[0]),
                text(candle[1]),
                text(candle[2]),
                text(candle[3]),
                text(volume),
                (slot + 1) * width - 1,
                text(value),
                100,
                text(volume / 2),
                text(value / 2),
                "0",
            ])
        });
    Ok(candles.collect())
}

fn tickers(venue: &Venue, asked: &Understood, one: fn(&Venue, usize, bool) -> Value) -> Done {
    let mini = asked.get("type") == Some("MINI");
    let markets = named(venue, asked)?;
    if let (Some(_), [market]) = (asked.get("symbol"), markets.as_slice()) {
        return Ok(one(venue, *market, mini));
    }
    Ok(markets
        .into_iter()
        .map(|market| one(venue, market, mini))
        .collect())
}

fn book_ticker(venue: &Venue, market: usize) -> Value {
    let at = &venue.exchange.markets[market];
    let best = |side| at.book.depth(side, 1).first().copied().unwrap_or((0, 0));
    let (bid, ask) = (best(Side::Buy), best(Side::Sell));
    json!({"symbol": at.symbol.name, "bidPrice": text(bid.0), "bidQty": text(bid.1), "askPrice": text(ask.0), "askQty": text(ask.1)})
}

fn day(venue: &Venue, market: usize, mini: bool) -> Value {
    let at = &venue.exchange.markets[market];
    let now = venue.exchange.now;
    let open = at.symbol.price;
    let count = at.trades.back().map_or(0, |t| t.id);
    let first = at
        .trades
        .front()
        .map_or(-1, |t| i64::try_from(t.id).unwrap_or(-1));
    let mut value = json!({
        "symbol": at.symbol.name, "openPrice": text(open), "highPrice": text(at.high), "lowPrice": text(at.low),
        "lastPrice": text(at.last), "volume": text(at.volume), "quoteVolume": text(at.quote_volume),
        "openTime": now.saturating_sub(86_400_000), "closeTime": now, "firstId": first,
        "lastId": at.trades.back().map_or(-1, |t| i64::try_from(t.id).unwrap_or(-1)), "count": count,
    });
    if !mini {
        let best = book_ticker(venue, market);
        let change = at.last - open;
        for (name, text) in [
            ("priceChange", text(change)),
            (
                "priceChangePercent",
                format!("{:.3}", percent(change, open)),
            ),
            (
                "weightedAvgPrice",
                text(if at.volume > 0 {
                    crate::decimal::div(at.quote_volume, at.volume)
                } else {
                    at.last
                }),
            ),
            ("prevClosePrice", text(open)),
            ("lastQty", text(at.trades.back().map_or(0, |t| t.quantity))),
        ] {
            value[name] = json!(text);
        }
        for name in ["bidPrice", "bidQty", "askPrice", "askQty"] {
            value[name] = best[name].clone();
        }
    }
    value
}

fn percent(part: D, whole: D) -> f64 {
    // For display only, as the venue shows it.
    let thousandths = if whole == 0 {
        0
    } else {
        part.saturating_mul(100_000) / whole
    };
    f64::from(i32::try_from(thousandths).unwrap_or(0)) / 1000.0
}

/// An order from parameters without a prefix.
fn order_of(asked: &Understood, sor: bool) -> Result<NewOrder, Refusal> {
    let kind = Type::of(asked.get("type").unwrap_or(""))
        .ok_or_else(|| Refusal::new(-1116, "Invalid orderType."))?;
    Ok(NewOrder {
        side: side(asked, "side")?,
        kind,
        life: asked
            .get("timeInForce")
            .and_then(Life::of)
            .unwrap_or(Life::Gtc),
        price: asked.decimal("price").unwrap_or(0),
        quantity: asked.decimal("quantity").unwrap_or(0),
        quote_quantity: asked.decimal("quoteOrderQty").unwrap_or(0),
        stop_price: asked.decimal("stopPrice"),
        trailing: asked.long("trailingDelta"),
        iceberg: asked.decimal("icebergQty").filter(|q| *q > 0),
        client_id: asked.get("newClientOrderId").map(str::to_owned),
        stp: asked.get("selfTradePreventionMode").map(str::to_owned),
        strategy_id: asked.long("strategyId"),
        strategy_type: asked.long("strategyType"),
        pegged: asked.get("pegPriceType").is_some(),
        sor,
    })
}

/// One leg of a list, its parameters led by `name`.
fn leg(asked: &Understood, name: &str, side: Side, quantity: D) -> Result<NewOrder, Refusal> {
    let at = |rest: &str| format!("{name}{rest}");
    let kind = asked
        .get(&at("Type"))
        .and_then(Type::of)
        .ok_or_else(|| Refusal::new(-1116, "Invalid orderType."))?;
    Ok(NewOrder {
        side,
        kind,
        life: asked
            .get(&at("TimeInForce"))
            .and_then(Life::of)
            .unwrap_or(Life::Gtc),
        price: asked.decimal(&at("Price")).unwrap_or(0),
        quantity,
        quote_quantity: 0,
        stop_price: asked.decimal(&at("StopPrice")),
        trailing: asked.long(&at("TrailingDelta")),
        iceberg: asked.decimal(&at("IcebergQty")).filter(|q| *q > 0),
        client_id: asked.get(&at("ClientOrderId")).map(str::to_owned),
        stp: asked.get("selfTradePreventionMode").map(str::to_owned),
        strategy_id: asked.long(&at("StrategyId")),
        strategy_type: asked.long(&at("StrategyType")),
        pegged: asked.get(&at("PegPriceType")).is_some(),
        sor: false,
    })
}

fn placed(venue: &Venue, account: usize, market: usize, id: u64, response: Option<&str>) -> Value {
    let at = &venue.exchange.markets[market];
    let Some(order) = venue.exchange.find(account, market, Some(id), None) else {
        return Value::Null;
    };
    let response = response.unwrap_or_else(|| answers::default_response(order.kind));
    answers::placed(
        order,
        &at.symbol.name,
        (&at.symbol.base, &at.symbol.quote),
        response,
    )
}

fn place(venue: &mut Venue, asked: &Understood, sor: bool) -> Done {
    let (account, market) = (owner(venue, asked)?, market(venue, asked)?);
    let order = order_of(asked, sor)?;
    venue.exchange.count_orders(account, 1)?;
    let done = venue.exchange.place(account, market, order);
    if done.is_err() {
        venue.exchange.uncount_orders(account, 1);
    }
    let id = done?;
    Ok(placed(
        venue,
        account,
        market,
        id,
        asked.get("newOrderRespType"),
    ))
}

fn commissions() -> Value {
    json!({"discount": {"enabledForAccount": false, "enabledForSymbol": false, "discountAsset": "BNB", "discount": text(0)}})
}

fn test(venue: &Venue, asked: &Understood) -> Done {
    let (account, market) = (owner(venue, asked)?, market(venue, asked)?);
    let order = order_of(asked, asked.path.contains("/sor/"))?;
    venue.exchange.admit(account, market, &order, 0)?;
    if asked.get("computeCommissionRates") != Some("true") {
        return Ok(json!({}));
    }
    let mut value = commissions();
    let zero = json!({"maker": text(0), "taker": text(0)});
    value["standardCommissionForOrder"] =
        json!({"maker": text(COMMISSION), "taker": text(COMMISSION)});
    value["specialCommissionForOrder"] = zero.clone();
    value["taxCommissionForOrder"] = zero;
    Ok(value)
}

/// Cancels, and gives the answer.
fn cancel_one(
    venue: &mut Venue,
    account: usize,
    market: usize,
    which: (Option<u64>, Option<&str>),
    new_id: Option<&str>,
    restrict: Option<&str>,
) -> Done {
    let (id, list) = venue
        .exchange
        .cancel(account, market, which.0, which.1, restrict)?;
    let cancel = new_id.map_or_else(|| venue.exchange.make_id(), str::to_owned);
    if let Some(list) = list.filter(|l| venue.exchange.lists.contains_key(l)) {
        return Ok(list_cancelled(venue, list, &cancel));
    }
    let at = &venue.exchange.markets[market];
    let order = venue
        .exchange
        .find(account, market, Some(id), None)
        .ok_or_else(|| Refusal::cancel("Unknown order sent."))?;
    Ok(answers::cancelled(order, &at.symbol.name, &cancel))
}

fn list_cancelled(venue: &Venue, list: u64, cancel: &str) -> Value {
    let Some(entry) = venue.exchange.lists.get(&list) else {
        return Value::Null;
    };
    let at = &venue.exchange.markets[entry.market];
    let mut map = answers::list(&venue.exchange, entry, "transactionTime");
    let reports: Vec<Value> = entry
        .orders
        .iter()
        .filter_map(|id| at.book.orders.get(id))
        .map(|order| answers::cancelled(order, &at.symbol.name, cancel))
        .collect();
    map.insert("orderReports".to_owned(), Value::Array(reports));
    Value::Object(map)
}

fn cancel(venue: &mut Venue, asked: &Understood) -> Done {
    let (account, market) = (owner(venue, asked)?, market(venue, asked)?);
    cancel_one(
        venue,
        account,
        market,
        (asked.long("orderId"), asked.get("origClientOrderId")),
        asked.get("newClientOrderId"),
        asked.get("cancelRestrictions"),
    )
}

fn cancel_all(venue: &mut Venue, asked: &Understood) -> Done {
    let (account, market) = (owner(venue, asked)?, market(venue, asked)?);
    let open: Vec<u64> = venue.exchange.accounts[account].open[market]
        .iter()
        .copied()
        .collect();
    if open.is_empty() {
        return Err(Refusal::cancel("Unknown order sent."));
    }
    let mut done = Vec::new();
    for id in open {
        // An order that went with its list is in that list's answer already.
        if let Ok(value) = cancel_one(venue, account, market, (Some(id), None), None, None) {
            done.push(value);
        }
    }
    Ok(Value::Array(done))
}

fn cancel_replace(venue: &mut Venue, asked: &Understood) -> Done {
    let (account, market) = (owner(venue, asked)?, market(venue, asked)?);
    let order = order_of(asked, false)?;
    let allow = asked.get("cancelReplaceMode") == Some("ALLOW_FAILURE");
    let cancel_only = asked.get("orderRateLimitExceededMode") == Some("CANCEL_ONLY");
    let counted = venue.exchange.count_orders(account, 1);
    if !cancel_only {
        counted.clone()?;
    }
    let which = (
        asked.long("cancelOrderId"),
        asked.get("cancelOrigClientOrderId"),
    );
    let cancelled = cancel_one(
        venue,
        account,
        market,
        which,
        asked.get("cancelNewClientOrderId"),
        asked.get("cancelRestrictions"),
    );
    let too_many = counted.is_err();
    let attempt = cancelled.is_ok() || allow;
    let counted_ok = counted.is_ok();
    let new = if !attempt {
        None
    } else if let Err(refusal) = counted {
        Some(Err(refusal))
    } else {
        Some(
            venue
                .exchange
                .place(account, market, order)
                .map(|id| placed(venue, account, market, id, asked.get("newOrderRespType"))),
        )
    };
    if counted_ok && !new.as_ref().is_some_and(Result::is_ok) {
        venue.exchange.uncount_orders(account, 1);
    }
    let word = |ok: bool| if ok { "SUCCESS" } else { "FAILURE" };
    let body = |result: &Done| match result {
        Ok(value) => value.clone(),
        Err(refusal) => json!({"code": refusal.code, "msg": refusal.msg}),
    };
    let data = json!({
        "cancelResult": word(cancelled.is_ok()),
        "newOrderResult": new.as_ref().map_or("NOT_ATTEMPTED", |n| word(n.is_ok())),
        "cancelResponse": body(&cancelled),
        "newOrderResponse": new.as_ref().map_or(Value::Null, body),
    });
    let one_worked = cancelled.is_ok() || new.as_ref().is_some_and(Result::is_ok);
    if cancelled.is_ok() && new.as_ref().is_some_and(Result::is_ok) {
        return Ok(data);
    }
    let mut refusal = if one_worked {
        Refusal::new(-2021, "Order cancel-replace partially failed.").status(409)
    } else {
        Refusal::new(-2022, "Order cancel-replace failed.")
    };
    if too_many && !allow {
        refusal.status = 429;
    }
    refusal.data = Some(data);
    Err(refusal)
}

fn amend(venue: &mut Venue, asked: &Understood) -> Done {
    let (account, market) = (owner(venue, asked)?, market(venue, asked)?);
    let order = venue
        .exchange
        .find(
            account,
            market,
            asked.long("orderId"),
            asked.get("origClientOrderId"),
        )
        .ok_or_else(|| Refusal::new(-2038, "Unknown order sent."))?;
    let (id, before) = (order.id, order.client_id.clone());
    let quantity = asked.decimal("newQty").unwrap_or(0);
    let new_id = asked.get("newClientOrderId").map(str::to_owned);
    let execution = venue
        .exchange
        .amend(account, market, id, quantity, new_id)?;
    let at = &venue.exchange.markets[market];
    let Some(order) = at.book.orders.get(&id) else {
        return Ok(Value::Null);
    };
    let mut value = json!({
        "transactTime": venue.exchange.now, "executionId": execution,
        "amendedOrder": {
            "symbol": at.symbol.name, "orderId": id, "orderListId": answers::list_number(order.list),
            "origClientOrderId": before, "clientOrderId": order.client_id, "price": text(order.price), "qty": text(order.quantity),
            "executedQty": text(order.executed), "preventedQty": text(order.prevented), "quoteOrderQty": text(order.quote_quantity),
            "cumulativeQuoteQty": text(order.quote_executed), "status": order.status.word(), "timeInForce": order.life.word(),
            "type": order.kind.word(), "side": order.side.word(), "selfTradePreventionMode": order.stp,
        },
    });
    if let Some(working) = order.working_time {
        value["amendedOrder"]["workingTime"] = json!(working);
    }
    if let Some(list) = order.list.and_then(|l| venue.exchange.lists.get(&l)) {
        let mut map = answers::list(&venue.exchange, list, "transactionTime");
        map.remove("transactionTime");
        map.remove("listStatusType");
        value["listStatus"] = Value::Object(map);
    }
    Ok(value)
}

fn old_oco(venue: &mut Venue, asked: &Understood) -> Done {
    let side = side(asked, "side")?;
    let quantity = asked.decimal("quantity").unwrap_or(0);
    let text = |name: &str| asked.get(name).map(str::to_owned);
    let stp = text("selfTradePreventionMode");
    let limit = NewOrder {
        client_id: text("limitClientOrderId"),
        iceberg: asked.decimal("limitIcebergQty").filter(|q| *q > 0),
        strategy_id: asked.long("limitStrategyId"),
        strategy_type: asked.long("limitStrategyType"),
        stp: stp.clone(),
        ..crate::makers::plain(
            side,
            Type::LimitMaker,
            asked.decimal("price").unwrap_or(0),
            quantity,
        )
    };
    let stop_limit = asked.decimal("stopLimitPrice");
    let kind = if stop_limit.is_some() {
        Type::StopLossLimit
    } else {
        Type::StopLoss
    };
    let stop = NewOrder {
        client_id: text("stopClientOrderId"),
        stop_price: asked.decimal("stopPrice"),
        trailing: asked.long("trailingDelta"),
        iceberg: asked.decimal("stopIcebergQty").filter(|q| *q > 0),
        life: asked
            .get("stopLimitTimeInForce")
            .and_then(Life::of)
            .unwrap_or(Life::Gtc),
        strategy_id: asked.long("stopStrategyId"),
        strategy_type: asked.long("stopStrategyType"),
        stp,
        ..crate::makers::plain(side, kind, stop_limit.unwrap_or(0), quantity)
    };
    list(venue, asked, None, vec![stop, limit])
}

fn list(
    venue: &mut Venue,
    asked: &Understood,
    working: Option<(NewOrder, bool)>,
    legs: Vec<NewOrder>,
) -> Done {
    let (account, market) = (owner(venue, asked)?, market(venue, asked)?);
    let count = legs.len() + usize::from(working.is_some());
    venue.exchange.count_orders(account, count as u64)?;
    let new = NewList {
        client_id: asked.get("listClientOrderId").map(str::to_owned),
        working,
        legs,
    };
    let done = venue.exchange.place_list(account, market, new);
    if done.is_err() {
        venue.exchange.uncount_orders(account, count as u64);
    }
    let id = done?;
    let Some(entry) = venue.exchange.lists.get(&id) else {
        return Ok(Value::Null);
    };
    let at = &venue.exchange.markets[market];
    let mut map = answers::list(&venue.exchange, entry, "transactionTime");
    let reports: Vec<Value> = entry
        .orders
        .iter()
        .filter_map(|id| at.book.orders.get(id))
        .map(|order| {
            let response = asked.get("newOrderRespType").unwrap_or("RESULT");
            answers::placed(
                order,
                &at.symbol.name,
                (&at.symbol.base, &at.symbol.quote),
                response,
            )
        })
        .collect();
    map.insert("orderReports".to_owned(), Value::Array(reports));
    // The others begin after the answer: it shows them as pending even if the first order filled at once.
    venue.exchange.settle(market);
    Ok(Value::Object(map))
}

fn find_list(
    venue: &Venue,
    account: usize,
    id: Option<u64>,
    client_id: Option<&str>,
) -> Option<u64> {
    let exchange = &venue.exchange;
    exchange.accounts[account]
        .lists
        .iter()
        .rev()
        .filter_map(|l| exchange.lists.get(l))
        .find(|l| {
            id.is_none_or(|id| l.id == id) && client_id.is_none_or(|text| l.client_id == text)
        })
        .map(|l| l.id)
}

fn cancel_list(venue: &mut Venue, asked: &Understood) -> Done {
    let (account, market) = (owner(venue, asked)?, market(venue, asked)?);
    let list = find_list(
        venue,
        account,
        asked.long("orderListId"),
        asked.get("listClientOrderId"),
    )
    .filter(|l| {
        venue
            .exchange
            .lists
            .get(l)
            .is_some_and(|l| l.open && l.market == market)
    })
    .ok_or_else(|| Refusal::cancel("Unknown order list sent."))?;
    venue.exchange.cancel_list(list);
    venue.exchange.settle(market);
    let cancel = asked
        .get("newClientOrderId")
        .map_or_else(|| venue.exchange.make_id(), str::to_owned);
    Ok(list_cancelled(venue, list, &cancel))
}

fn account(venue: &Venue, asked: &Understood) -> Done {
    let number = owner(venue, asked)?;
    let account = &venue.exchange.accounts[number];
    let omit = asked.get("omitZeroBalances") == Some("true");
    let balances: Vec<Value> = account
        .spot
        .iter()
        .enumerate()
        .filter(|(_, b)| !omit || b.free + b.locked != 0)
        .map(|(i, b)| json!({"asset": venue.exchange.assets[i], "free": text(b.free), "locked": text(b.locked)}))
        .collect();
    Ok(json!({
        "makerCommission": 10, "takerCommission": 10, "buyerCommission": 0, "sellerCommission": 0,
        "commissionRates": {"maker": text(COMMISSION), "taker": text(COMMISSION), "buyer": text(0), "seller": text(0)},
        "canTrade": true, "canWithdraw": true, "canDeposit": true, "brokered": false, "requireSelfTradePrevention": false,
        "preventSor": false, "updateTime": account.updated, "accountType": "SPOT", "balances": balances,
        "permissions": ["SPOT"], "uid": account.uid,
    }))
}

fn open_orders(venue: &Venue, asked: &Understood) -> Done {
    let account = owner(venue, asked)?;
    let markets = match asked.get("symbol") {
        Some(_) => vec![market(venue, asked)?],
        None => (0..venue.exchange.markets.len()).collect(),
    };
    let mut all = Vec::new();
    for market in markets {
        let at = &venue.exchange.markets[market];
        for id in &venue.exchange.accounts[account].open[market] {
            if let Some(order) = at.book.orders.get(id) {
                all.push(answers::queried(order, &at.symbol.name));
            }
        }
    }
    Ok(Value::Array(all))
}

fn all_orders(venue: &Venue, asked: &Understood) -> Done {
    let (account, market) = (owner(venue, asked)?, market(venue, asked)?);
    let limit = limit(asked, 500, 1000)?;
    let (start, end) = times(asked, true)?;
    let at = &venue.exchange.markets[market];
    let from = asked.long("orderId");
    let fits = |o: &&crate::book::Order| {
        from.is_none_or(|f| o.id >= f)
            && start.is_none_or(|s| o.time >= s)
            && end.is_none_or(|e| o.time <= e)
    };
    let ids = &venue.exchange.accounts[account].orders[market];
    let found: Vec<&crate::book::Order> = ids
        .iter()
        .filter_map(|id| at.book.orders.get(id))
        .filter(fits)
        .collect();
    let skip = if from.is_some() || start.is_some() {
        0
    } else {
        found.len().saturating_sub(limit)
    };
    Ok(found
        .into_iter()
        .skip(skip)
        .take(limit)
        .map(|o| answers::queried(o, &at.symbol.name))
        .collect())
}

fn my_trades(venue: &Venue, asked: &Understood) -> Done {
    let (account, market) = (owner(venue, asked)?, market(venue, asked)?);
    let limit = limit(asked, 500, 1000)?;
    let (start, end) = times(asked, true)?;
    let (order, from) = (asked.long("orderId"), asked.long("fromId"));
    if from.is_some() && (start.is_some() || end.is_some())
        || order.is_some() && (start.is_some() || end.is_some())
    {
        return Err(Refusal::new(
            -1128,
            "Combination of optional parameters invalid.",
        ));
    }
    let exchange = &venue.exchange;
    let symbol = &exchange.markets[market].symbol.name;
    let all = &exchange.accounts[account].trades[market];
    let fits = |t: &&crate::exchange::MyTrade| {
        order.is_none_or(|o| t.order == o)
            && from.is_none_or(|f| t.id >= f)
            && start.is_none_or(|s| t.time >= s)
            && end.is_none_or(|e| t.time <= e)
    };
    let found: Vec<_> = all.iter().filter(fits).collect();
    let skip = if from.is_some() || start.is_some() {
        0
    } else {
        found.len().saturating_sub(limit)
    };
    Ok(found
        .into_iter()
        .skip(skip)
        .take(limit)
        .map(|t| {
            json!({
                "symbol": symbol, "id": t.id, "orderId": t.order, "orderListId": answers::list_number(t.list),
                "price": text(t.price), "qty": text(t.quantity), "quoteQty": text(mul(t.price, t.quantity)),
                "commission": text(t.commission), "commissionAsset": exchange.assets[t.commission_asset],
                "time": t.time, "isBuyer": t.buyer, "isMaker": t.maker, "isBestMatch": true,
            })
        })
        .collect())
}

fn prevented(venue: &Venue, asked: &Understood) -> Done {
    let (account, market) = (owner(venue, asked)?, market(venue, asked)?);
    let limit = limit(asked, 500, 1000)?;
    let (order, id, from) = (
        asked.long("orderId"),
        asked.long("preventedMatchId"),
        asked.long("fromPreventedMatchId"),
    );
    let exchange = &venue.exchange;
    let fits = |p: &&crate::exchange::Prevented| {
        p.market == market
            && order.is_none_or(|o| p.taker == o || p.maker == o)
            && id.is_none_or(|i| p.id == i)
            && from.is_none_or(|f| p.id >= f)
    };
    Ok(exchange.accounts[account]
        .prevented
        .iter()
        .filter(fits)
        .take(limit)
        .map(|p| {
            json!({
                "symbol": exchange.markets[market].symbol.name, "preventedMatchId": p.id, "takerOrderId": p.taker,
                "makerSymbol": exchange.markets[market].symbol.name, "makerOrderId": p.maker, "tradeGroupId": 1,
                "selfTradePreventionMode": p.mode, "price": text(p.price), "takerPreventedQuantity": text(p.taker_quantity),
                "makerPreventedQuantity": text(p.maker_quantity), "transactTime": p.time,
            })
        })
        .collect())
}

fn amendments(venue: &Venue, asked: &Understood) -> Done {
    let (account, market) = (owner(venue, asked)?, market(venue, asked)?);
    let limit = limit(asked, 500, 1000)?;
    let from = asked.long("fromExecutionId").unwrap_or(0);
    let order = venue
        .exchange
        .find(account, market, asked.long("orderId"), None)
        .ok_or_else(|| Refusal::new(-2013, "Order does not exist."))?;
    let symbol = &venue.exchange.markets[market].symbol.name;
    Ok(order
        .amends
        .iter()
        .filter(|a| a.execution >= from)
        .take(limit)
        .map(|a| {
            json!({
                "symbol": symbol, "orderId": order.id, "executionId": a.execution, "origClientOrderId": a.id_before,
                "newClientOrderId": a.id_after, "origQty": text(a.before), "newQty": text(a.after), "time": a.at,
            })
        })
        .collect())
}
