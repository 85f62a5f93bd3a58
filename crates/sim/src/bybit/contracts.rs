//! Linear and inverse contracts.

use super::market::candles;
use super::trade::{side, word};
use super::{Asked, Done, decimal, flag, int, page, params, refuse, shown, text};
use crate::book::{Side, Status};
use crate::decimal::{D, ONE, mul};
use crate::futures::Service;
use crate::futures::house::{
    Algo, Deny, FUNDING_MS, Leg, Life, Market, MyTrade, NewOrder, Order, Trigger, plain,
};
use crate::futures::position::shown as coins;
use crate::refusal::Refusal;
use crate::v5::perps::At;
use crate::v5::table::Fields;
use crate::venue::Venue;
use serde_json::{Value, json};

/// Linear or inverse.
fn service(category: &str) -> Service {
    if category == "inverse" {
        Service::Coin
    } else {
        Service::Usd
    }
}

fn of(venue: &Venue, category: &str, name: Option<&str>) -> Result<At, Refusal> {
    venue
        .contract(service(category), name.unwrap_or(""))
        .ok_or_else(|| refuse(10001, "params error: symbol invalid"))
}

fn market(venue: &Venue, at: At) -> &Market {
    &venue.futures.houses[at.service.index()].markets[at.contract]
}

/// The venue's words for what the house denies.
fn denied(why: Deny) -> Refusal {
    let (code, msg) = match why {
        Deny::Closed => (110_074, "This contract is not live"),
        Deny::PriceZero | Deny::Precision | Deny::Tick => (10001, "params error: price invalid"),
        Deny::PriceMax | Deny::PriceMin | Deny::PriceHigh(_) | Deny::PriceLow(_) => {
            (110_003, "Order price exceeds the allowable range.")
        }
        Deny::QuantityZero | Deny::QuantityMax => (10001, "params error: qty invalid"),
        Deny::Value(_) => (110_094, "Order notional value below the lower limit"),
        Deny::Duplicate => (110_072, "OrderLinkedID is duplicate"),
        Deny::PositionSide => (10001, "position idx not match position mode"),
        Deny::ReduceOnly => (110_017, "orderQty will be truncated to zero"),
        Deny::Margin => (110_007, "ab not enough for new order"),
        Deny::ValueMax => (
            110_090,
            "Order placement failed as your position may exceed the max limit.",
        ),
        Deny::Orders => (110_020, "Not allowed to have more than 500 active orders."),
        Deny::Stops => (
            110_009,
            "The number of stop orders exceeds the maximum allowable limit",
        ),
        Deny::Immediate => (110_092, "expect Rising, but trigger_price <= current"),
        Deny::CloseExists => (110_061, "Not allowed to have more TP/SLs"),
        Deny::Unknown => (110_001, "order not exists or too late to cancel"),
        Deny::Leverage | Deny::LeverageIsolated | Deny::LeverageMargin => {
            (110_013, "Cannot set leverage due to risk limit level.")
        }
        Deny::OpenOrders => (
            110_028,
            "You have existing open orders, so the position mode cannot be switched.",
        ),
        Deny::HasPosition => (
            110_024,
            "You have an existing position, so the position mode cannot be switched.",
        ),
        Deny::NoDepth => (
            110_118,
            "Unable to retrieve a price of the market order due to low liquidity",
        ),
        _ => (10001, "params error"),
    };
    refuse(code, msg)
}

/// Public data of contracts.
pub(super) fn public(venue: &Venue, path: &str, kind: &str, asked: &Asked<'_>) -> Done {
    if kind == "option" {
        return Ok(json!({"category": kind, "list": [], "nextPageCursor": ""}));
    }
    let house = &venue.futures.houses[service(kind).index()];
    let named = asked.text("symbol");
    let one = || of(venue, kind, named).map(|at| market(venue, at));
    let all: Vec<&Market> = match named {
        Some(_) => vec![one()?],
        None => house.markets.iter().collect(),
    };
    let now = asked.now;
    Ok(match path {
        "/v5/market/instruments-info" => {
            let list: Vec<Value> = all
                .iter()
                .map(|m| &m.contract)
                .filter(|c| c.trading)
                .map(|c| {
                    let settle = &venue.exchange.assets[c.margin];
                    json!({
                        "symbol": c.name, "contractType": if c.inverse { "InversePerpetual" } else { "LinearPerpetual" }, "status": "Trading",
                        "baseCoin": c.base, "quoteCoin": c.quote, "settleCoin": settle, "launchTime": "1585526400000", "deliveryTime": "0",
                        "deliveryFeeRate": "", "priceScale": c.price_places.to_string(),
                        "leverageFilter": {"minLeverage": "1", "maxLeverage": format!("{}.00", c.leverage_max()), "leverageStep": "0.01"},
                        "priceFilter": {"minPrice": shown(c.price_min), "maxPrice": shown(c.price_max), "tickSize": shown(c.tick)},
                        "lotSizeFilter": {
                            "maxOrderQty": shown(c.quantity_max), "minOrderQty": shown(c.step), "qtyStep": shown(c.step),
                            "postOnlyMaxOrderQty": shown(c.quantity_max), "maxMktOrderQty": shown(c.market_quantity_max),
                            "minNotionalValue": shown(coins(c.value_min)),
                        },
                        "unifiedMarginTrade": true, "fundingInterval": FUNDING_MS / 60_000, "copyTrading": "none", "upperFundingRate": "0.00375",
                        "lowerFundingRate": "-0.00375", "isPreListing": false, "preListingInfo": null, "symbolType": "",
                        "riskParameters": {"priceLimitRatioX": "0.05", "priceLimitRatioY": "0.05"},
                    })
                })
                .collect();
            json!({"category": kind, "list": list, "nextPageCursor": ""})
        }
        "/v5/market/tickers" => {
            let next = (now / FUNDING_MS + 1) * FUNDING_MS;
            let list: Vec<Value> = all
                .iter()
                .map(|m| {
                    let best = |side| m.book.depth(side, 1).first().copied().unwrap_or((0, 0));
                    let (bid, ask) = (best(Side::Buy), best(Side::Sell));
                    json!({
                        "symbol": m.contract.name, "lastPrice": shown(m.last), "indexPrice": shown(m.index), "markPrice": shown(m.mark),
                        "prevPrice24h": shown(m.contract.price), "price24hPcnt": "0", "highPrice24h": shown(m.high), "lowPrice24h": shown(m.low),
                        "prevPrice1h": shown(m.contract.price), "openInterest": "0", "openInterestValue": "0", "turnover24h": shown(coins(m.turnover)),
                        "volume24h": shown(m.volume), "fundingRate": shown(m.rate), "nextFundingTime": next.to_string(), "predictedDeliveryPrice": "",
                        "basisRate": "", "deliveryFeeRate": "", "deliveryTime": "0", "ask1Size": shown(ask.1), "bid1Price": shown(bid.0),
                        "ask1Price": shown(ask.0), "bid1Size": shown(bid.1), "basis": "", "fundingIntervalHour": "8",
                    })
                })
                .collect();
            json!({"category": kind, "list": list})
        }
        "/v5/market/orderbook" => {
            let at = one()?;
            let limit = asked.limit(25, 1000)?;
            let side = |side| -> Vec<[String; 2]> {
                let levels = at.book.depth(side, limit).into_iter();
                levels.map(|(p, q)| [shown(p), shown(q)]).collect()
            };
            json!({"s": at.contract.name, "b": side(Side::Buy), "a": side(Side::Sell), "ts": now, "u": at.update, "seq": at.update, "cts": now})
        }
        "/v5/market/kline" => {
            let at = one()?;
            let list = candles(
                asked,
                [at.contract.price, at.contract.tick, at.last],
                at.contract.maker_size,
            )?;
            json!({"category": kind, "symbol": at.contract.name, "list": list})
        }
        "/v5/market/mark-price-kline" => {
            let at = one()?;
            let mut list = candles(asked, [at.contract.price, at.contract.tick, at.mark], 0)?;
            for candle in &mut list {
                // Nobody trades at it.
                if let Some(parts) = candle.as_array_mut() {
                    parts.truncate(5);
                }
            }
            json!({"category": kind, "symbol": at.contract.name, "list": list})
        }
        "/v5/market/risk-limit" => {
            let list: Vec<Value> = all
                .iter()
                .flat_map(|m| {
                    let c = &m.contract;
                    c.brackets.iter().enumerate().map(|(at, b)| {
                        json!({
                            "id": at + 1, "symbol": c.name, "riskLimitValue": shown(coins(b.cap)), "maintenanceMargin": shown(b.rate),
                            "initialMargin": shown(ONE / D::from(b.leverage)), "isLowestRisk": u8::from(at == 0),
                            "maxLeverage": format!("{}.00", b.leverage), "mmDeduction": shown(coins(b.cum)),
                        })
                    })
                })
                .collect();
            json!({"category": kind, "list": list, "nextPageCursor": ""})
        }
        "/v5/market/recent-trade" => {
            let at = one()?;
            let limit = asked.limit(500, 1000)?;
            let list: Vec<Value> = at
                .trades
                .iter()
                .rev()
                .take(limit)
                .map(|t| {
                    json!({
                        "execId": t.id.to_string(), "symbol": at.contract.name, "price": shown(t.price), "size": shown(t.quantity),
                        "side": if t.buyer_maker { "Sell" } else { "Buy" }, "time": t.time.to_string(), "isBlockTrade": false, "isRPITrade": false,
                        "seq": t.id.to_string(),
                    })
                })
                .collect();
            json!({"category": kind, "list": list})
        }
        "/v5/market/funding/history" => {
            let at = one()?;
            let limit = asked.limit(200, 200)?;
            let list: Vec<Value> = at
                .fundings
                .iter()
                .rev()
                .take(limit)
                .map(|(time, rate, _)| json!({"symbol": at.contract.name, "fundingRate": shown(*rate), "fundingRateTimestamp": time.to_string()}))
                .collect();
            json!({"category": kind, "list": list})
        }
        _ => return Err(refuse(10016, "Server error.")),
    })
}

/// Orders, executions and positions.
pub(super) fn answer(
    venue: &mut Venue,
    account: usize,
    path: &str,
    kind: &str,
    asked: &Asked<'_>,
) -> Done {
    for service in crate::v5::perps::SERVICES {
        venue.futures.house(service).open_account(account);
    }
    let fields = &asked.fields;
    match path {
        "/v5/order/create" => place(venue, account, kind, fields),
        "/v5/order/amend" => amend(venue, account, kind, fields),
        "/v5/order/cancel" => cancel(venue, account, kind, fields),
        "/v5/order/create-batch" => batch(venue, account, kind, asked, place),
        "/v5/order/amend-batch" => batch(venue, account, kind, asked, amend),
        "/v5/order/cancel-batch" => batch(venue, account, kind, asked, cancel),
        "/v5/order/cancel-all" => cancel_all(venue, account, kind, asked),
        "/v5/order/realtime" => orders(venue, account, kind, asked, true),
        "/v5/order/history" => orders(venue, account, kind, asked, false),
        "/v5/execution/list" => executions(venue, account, kind, asked),
        "/v5/position/list" => positions(venue, account, kind, asked),
        "/v5/position/set-leverage" => leverage(venue, account, kind, asked),
        "/v5/position/switch-mode" => {
            let hedge = match asked.int("mode") {
                Some(0) => false,
                Some(3) => true,
                _ => return Err(params("mode")),
            };
            if asked.text("symbol").is_none() && asked.text("coin").is_none() {
                return Err(params("symbol"));
            }
            if kind == "inverse" && hedge {
                return Err(refuse(
                    110_029,
                    "Hedge mode is not supported for this symbol.",
                ));
            }
            let done = venue.in_house(service(kind), account, |house| {
                house.set_hedge(account, hedge)
            });
            match done {
                // For all contracts of a coin it is no fault to ask for what is.
                Ok(()) => {}
                Err(Deny::Same) if asked.text("symbol").is_none() => {}
                Err(Deny::Same) => return Err(refuse(110_025, "Position mode is not modified")),
                Err(other) => return Err(denied(other)),
            }
            Ok(json!({}))
        }
        "/v5/position/trading-stop" => trading_stop(venue, account, kind, asked),
        _ => Err(refuse(10016, "Server error.")),
    }
}

/// One margin mode for all contracts of an account.
pub(super) fn set_margin_mode(venue: &mut Venue, account: usize, asked: &Asked<'_>) -> Done {
    let isolated = match asked.text("setMarginMode") {
        Some("ISOLATED_MARGIN") => true,
        Some("REGULAR_MARGIN") => false,
        _ => return Err(refuse(3_400_045, "Set margin mode failed")),
    };
    for service in crate::v5::perps::SERVICES {
        venue.futures.house(service).open_account(account);
        for contract in 0..venue.futures.house(service).markets.len() {
            let done = venue.in_house(service, account, |house| {
                house.set_isolated(account, contract, isolated)
            });
            if !matches!(done, Ok(()) | Err(Deny::Same)) {
                return Err(refuse(3_400_045, "Set margin mode failed"));
            }
        }
    }
    Ok(json!({"reasons": []}))
}

/// The mode in its words.
pub(super) fn margin_mode(venue: &Venue, account: usize) -> &'static str {
    let house = &venue.futures.houses[Service::Usd.index()];
    let isolated = house
        .accounts
        .get(account)
        .is_some_and(|a| a.setting(0).isolated);
    match isolated {
        true => "ISOLATED_MARGIN",
        false => "REGULAR_MARGIN",
    }
}

/// The text of an order's number.
fn number(at: At, algo: bool, id: u64) -> String {
    let head = 0xc0de_0000_u32 + u32::from(algo);
    format!(
        "{head:08x}-{:04x}-4000-{:04x}-{id:012x}",
        at.service.index(),
        at.contract
    )
}

/// What a text is the number of: conditional or not, contract and order.
fn of_number(text: &str) -> Option<(bool, usize, usize, u64)> {
    let parts: Vec<&str> = text.split('-').collect();
    let [head, service, "4000", contract, id] = parts.as_slice() else {
        return None;
    };
    let head = u32::from_str_radix(head, 16)
        .ok()?
        .checked_sub(0xc0de_0000)?;
    let word = |t: &str| usize::from_str_radix(t, 16).ok();
    (head < 2).then_some(())?;
    Some((
        head == 1,
        word(service)?,
        word(contract)?,
        u64::from_str_radix(id, 16).ok()?,
    ))
}

fn batch(
    venue: &mut Venue,
    account: usize,
    kind: &str,
    asked: &Asked<'_>,
    act: fn(&mut Venue, usize, &str, &Fields) -> Done,
) -> Done {
    super::trade::batch(asked, kind, 20, |fields| act(venue, account, kind, fields))
}

fn leg(fields: &Fields) -> Result<Leg, Refusal> {
    match int(fields, "positionIdx").unwrap_or(0) {
        0 => Ok(Leg::Both),
        1 => Ok(Leg::Long),
        2 => Ok(Leg::Short),
        _ => Err(params("positionIdx")),
    }
}

fn place(venue: &mut Venue, account: usize, kind: &str, fields: &Fields) -> Done {
    let at = of(venue, kind, text(fields, "symbol"))?;
    if int(fields, "isLeverage").unwrap_or(0) > 1
        || text(fields, "orderFilter") == Some("tpslOrder")
        || fields.contains_key("marketUnit")
    {
        return Err(params("orderFilter"));
    }
    let (side, leg) = (side(fields), leg(fields)?);
    let at_market = text(fields, "orderType") == Some("Market");
    let price = decimal(fields, "price").filter(|_| !at_market);
    if !at_market && price.is_none() {
        return Err(params("price"));
    }
    let mut quantity = decimal(fields, "qty").unwrap_or(0);
    let (reduce, closes) = (flag(fields, "reduceOnly"), flag(fields, "closeOnTrigger"));
    let last = market(venue, at).last;
    if quantity == 0 && reduce && closes {
        let position =
            venue.futures.houses[at.service.index()].accounts[account].position(at.contract, leg);
        quantity = position.quantity.abs();
        if quantity == 0 {
            return Err(denied(Deny::ReduceOnly));
        }
    }
    let trigger = match decimal(fields, "triggerPrice") {
        None => None,
        Some(price) => Some(Trigger {
            rising: match int(fields, "triggerDirection") {
                Some(1) => true,
                Some(2) => false,
                None => price > last,
                Some(_) => return Err(params("triggerDirection")),
            },
            price,
            trailing: None,
            extreme: None,
            by_mark: text(fields, "triggerBy") == Some("MarkPrice"),
            protect: false,
        }),
    };
    let exits = [("takeProfit", true), ("stopLoss", false)]
        .map(|(name, gain)| (decimal(fields, name).filter(|p| *p > 0), gain));
    if reduce && exits.iter().any(|(price, _)| price.is_some()) {
        return Err(params("takeProfit"));
    }
    for (price, gain) in exits {
        let from = price.map(|p| {
            (
                p,
                if at_market {
                    last
                } else {
                    decimal(fields, "price").unwrap_or(last)
                },
            )
        });
        if from.is_some_and(|(exit, entry)| (exit > entry) != (gain == (side == Side::Buy))) {
            return Err(refuse(10001, "params error: TP/SL price invalid"));
        }
    }
    let order = NewOrder {
        leg,
        life: match text(fields, "timeInForce") {
            Some("IOC") => Life::Ioc,
            Some("FOK") => Life::Fok,
            Some("PostOnly") if !at_market => Life::Gtx,
            _ => Life::Gtc,
        },
        reduce: reduce || closes,
        trigger,
        client_id: text(fields, "orderLinkId").map(str::to_owned),
        ..plain(side, price, quantity)
    };
    let id = venue
        .in_house(at.service, account, |house| {
            house.place(account, at.contract, order)
        })
        .map_err(denied)?;
    for (price, gain) in exits {
        if let Some(price) = price {
            venue
                .set_exit(account, at, leg, side.other(), gain, price)
                .map_err(denied)?;
        }
    }
    named(venue, at, id)
}

fn named(venue: &Venue, at: At, id: u64) -> Done {
    let order = market(venue, at)
        .book
        .orders
        .get(&id)
        .ok_or_else(|| denied(Deny::Unknown))?;
    Ok(
        json!({"orderId": number(at, false, id), "orderLinkId": order.asked.client_id.as_deref().unwrap_or("")}),
    )
}

/// The open order that is meant: conditional or not, its contract and number.
fn find(
    venue: &Venue,
    account: usize,
    kind: &str,
    fields: &Fields,
) -> Result<(bool, At, u64), Refusal> {
    let at = of(venue, kind, text(fields, "symbol"))?;
    let house = &venue.futures.houses[at.service.index()];
    let unknown = || denied(Deny::Unknown);
    match (text(fields, "orderId"), text(fields, "orderLinkId")) {
        (Some(id), _) => {
            let (algo, service, contract, id) = of_number(id).ok_or_else(unknown)?;
            if (service, contract) != (at.service.index(), at.contract) {
                return Err(unknown());
            }
            let open = if algo {
                house
                    .find_algo(account, Some(id), None)
                    .is_some_and(|a| a.status == "NEW")
            } else {
                house
                    .find(account, contract, Some(id), None)
                    .is_some_and(|o| o.status.open())
            };
            if open {
                Ok((algo, at, id))
            } else {
                Err(unknown())
            }
        }
        (None, Some(client)) => house
            .find(account, at.contract, None, Some(client))
            .filter(|o| o.status.open())
            .map(|o| (false, at, o.id))
            .ok_or_else(unknown),
        (None, None) => Err(params("orderId")),
    }
}

fn cancel(venue: &mut Venue, account: usize, kind: &str, fields: &Fields) -> Done {
    let (algo, at, id) = find(venue, account, kind, fields)?;
    let done = venue.in_house(at.service, account, |house| {
        if algo {
            house.cancel_algo(account, Some(id), None)
        } else {
            house.cancel(account, at.contract, Some(id), None)
        }
    });
    done.map_err(denied)?;
    if algo {
        return Ok(json!({"orderId": number(at, true, id), "orderLinkId": ""}));
    }
    named(venue, at, id)
}

fn amend(venue: &mut Venue, account: usize, kind: &str, fields: &Fields) -> Done {
    let (algo, at, id) = find(venue, account, kind, fields)?;
    let order = market(venue, at).book.orders.get(&id).filter(|_| !algo);
    let order = order.ok_or_else(|| denied(Deny::LimitOnly))?;
    let side = order.asked.side;
    let known = [
        "category",
        "symbol",
        "orderId",
        "orderLinkId",
        "price",
        "qty",
    ];
    if fields.keys().any(|name| !known.contains(&name.as_str())) {
        return Err(params("triggerPrice"));
    }
    let price = decimal(fields, "price").unwrap_or(order.price);
    let quantity = decimal(fields, "qty").unwrap_or(order.quantity);
    let done = venue.in_house(at.service, account, |house| {
        let done = house.amend(account, at.contract, id, side, price, quantity);
        house.settle(at.contract);
        done
    });
    done.map_err(denied)?;
    named(venue, at, id)
}

fn cancel_all(venue: &mut Venue, account: usize, kind: &str, asked: &Asked<'_>) -> Done {
    let only = match asked.text("symbol") {
        Some(name) => Some(of(venue, kind, Some(name))?.contract),
        None => None,
    };
    let (base, settle) = (asked.text("baseCoin"), asked.text("settleCoin"));
    if only.is_none() && base.is_none() && settle.is_none() {
        return Err(params("symbol"));
    }
    let service = service(kind);
    let house = &venue.futures.houses[service.index()];
    let fits = |c: usize| {
        let contract = &house.markets[c].contract;
        only.is_none_or(|o| o == c)
            && base.is_none_or(|b| contract.base == b)
            && settle.is_none_or(|s| venue.exchange.assets[contract.margin] == s)
    };
    let filter = asked.text("orderFilter");
    let gone: Vec<(usize, u64)> = house.accounts[account]
        .open
        .iter()
        .copied()
        .filter(|(c, id)| {
            let waits = house.order(*c, *id).is_some_and(|o| o.waiting);
            fits(*c) && filter.is_none_or(|f| (f == "StopOrder") == waits)
        })
        .collect();
    venue.in_house(service, account, |house| {
        for (contract, id) in &gone {
            let _ = house.cancel(account, *contract, Some(*id), None);
        }
    });
    let list: Vec<Value> = gone
        .iter()
        .filter_map(|(contract, id)| {
            named(
                venue,
                At {
                    service,
                    contract: *contract,
                },
                *id,
            )
            .ok()
        })
        .collect();
    Ok(json!({"list": list, "success": "1"}))
}

pub(super) fn status(order: &Order) -> &'static str {
    match order.status {
        Status::New | Status::PendingNew if order.waiting => "Untriggered",
        Status::New | Status::PendingNew => "New",
        Status::PartiallyFilled => "PartiallyFilled",
        Status::Filled => "Filled",
        Status::Rejected => "Rejected",
        _ if order.executed > 0 => "PartiallyFilledCanceled",
        _ => "Cancelled",
    }
}

fn index(leg: Leg) -> u8 {
    match leg {
        Leg::Both => 0,
        Leg::Long => 1,
        Leg::Short => 2,
    }
}

fn orders(venue: &Venue, account: usize, kind: &str, asked: &Asked<'_>, realtime: bool) -> Done {
    let service = service(kind);
    let house = &venue.futures.houses[service.index()];
    let only = match asked.text("symbol") {
        Some(name) => Some(of(venue, kind, Some(name))?.contract),
        None => None,
    };
    let (base, settle) = (asked.text("baseCoin"), asked.text("settleCoin"));
    let (id, client) = (asked.text("orderId"), asked.text("orderLinkId"));
    let one = id.is_some() || client.is_some();
    if realtime && kind == "linear" && only.is_none() && base.is_none() && settle.is_none() && !one
    {
        return Err(params("symbol"));
    }
    let wanted = id.map(of_number);
    let closed = asked.int("openOnly") == Some(1);
    let filter = asked.text("orderFilter");
    let fits = |c: usize| {
        let contract = &house.markets[c].contract;
        only.is_none_or(|o| o == c)
            && base.is_none_or(|b| contract.base == b)
            && settle.is_none_or(|s| venue.exchange.assets[contract.margin] == s)
    };
    let mut all: Vec<(u64, u64, Value)> = Vec::new();
    for (contract, id_of) in &house.accounts[account].orders {
        let Some(order) = house.order(*contract, *id_of) else {
            continue;
        };
        let open = order.status.open();
        let meant = match (&wanted, client) {
            (Some(wanted), _) => *wanted == Some((false, service.index(), *contract, *id_of)),
            (None, Some(client)) => order.asked.client_id.as_deref() == Some(client),
            (None, None) => fits(*contract),
        };
        let seen = if realtime {
            one || open != closed
        } else {
            !open
        };
        if meant
            && seen
            && filter.is_none_or(|f| (f == "StopOrder") == order.asked.trigger.is_some())
            && asked.text("orderStatus").is_none_or(|s| s == status(order))
        {
            all.push((
                order.time,
                order.id,
                shown_order(
                    venue,
                    At {
                        service,
                        contract: *contract,
                    },
                    order,
                ),
            ));
        }
    }
    for algo in house.accounts[account]
        .algos
        .iter()
        .filter_map(|id| house.algos.get(id))
    {
        let meant = match (&wanted, client) {
            (Some(wanted), _) => *wanted == Some((true, service.index(), algo.contract, algo.id)),
            (None, Some(_)) => false,
            (None, None) => fits(algo.contract) && filter != Some("Order"),
        };
        if meant && realtime && !closed && algo.status == "NEW" {
            all.push((algo.time, algo.id, shown_algo(venue, service, algo)));
        }
    }
    all.sort_by_key(|(time, id, _)| std::cmp::Reverse((*time, *id)));
    let (list, cursor) = page(asked, all.into_iter().map(|(_, _, v)| v).collect(), 20, 50)?;
    Ok(json!({"category": kind, "list": list, "nextPageCursor": cursor}))
}

pub(super) fn shown_algo(venue: &Venue, service: Service, algo: &Algo) -> Value {
    let at = At {
        service,
        contract: algo.contract,
    };
    let m = market(venue, at);
    let trigger = algo.asked.trigger;
    json!({
        "orderId": number(at, true, algo.id), "orderLinkId": "", "symbol": m.contract.name, "price": "0", "qty": "0", "side": word(algo.asked.side),
        "isLeverage": "", "positionIdx": index(algo.asked.leg), "orderStatus": algo_status(algo), "cancelType": "UNKNOWN", "rejectReason": "EC_NoError",
        "avgPrice": "", "leavesQty": "0", "leavesValue": "0", "cumExecQty": "0", "cumExecValue": "0", "cumExecFee": "0", "cumFeeDetail": {},
        "timeInForce": "IOC", "orderType": "Market", "stopOrderType": algo.asked.kind, "triggerPrice": shown(trigger.map_or(0, |t| t.price)),
        "takeProfit": "", "stopLoss": "", "tpslMode": "Full", "triggerDirection": if trigger.is_some_and(|t| t.rising) { 1 } else { 2 },
        "triggerBy": "LastPrice", "reduceOnly": true, "closeOnTrigger": true, "smpType": "None", "createType": "CreateByStopLoss",
        "createdTime": algo.time.to_string(), "updatedTime": algo.updated.to_string(),
    })
}

/// What a conditional order that closes a position has become.
pub(super) fn algo_status(algo: &Algo) -> &'static str {
    match algo.status {
        "NEW" => "Untriggered",
        "TRIGGERED" | "FINISHED" => "Triggered",
        "REJECTED" => "Rejected",
        _ => "Deactivated",
    }
}

/// The venue's word for a house.
pub(super) fn category(service: Service) -> &'static str {
    match service {
        Service::Usd => "linear",
        Service::Coin => "inverse",
    }
}

pub(super) fn shown_order(venue: &Venue, at: At, order: &Order) -> Value {
    let m = market(venue, at);
    let house = &venue.futures.houses[at.service.index()];
    let fee: i128 = house.accounts[order.account]
        .trades
        .iter()
        .filter(|t| t.order == order.id)
        .map(|t| t.fee)
        .sum();
    let coin = &venue.exchange.assets[m.contract.margin];
    let at_market = order.asked.price.is_none();
    let left = if order.status.open() {
        order.remaining()
    } else {
        0
    };
    let trigger = order.asked.trigger;
    json!({
        "orderId": number(at, false, order.id), "orderLinkId": order.asked.client_id.as_deref().unwrap_or(""), "blockTradeId": "",
        "symbol": m.contract.name, "price": shown(order.price), "qty": shown(order.quantity), "side": word(order.asked.side), "isLeverage": "",
        "positionIdx": index(order.asked.leg), "orderStatus": status(order),
        "cancelType": if order.status == Status::Canceled { "CancelByUser" } else { "UNKNOWN" }, "rejectReason": "EC_NoError",
        "avgPrice": if order.executed == 0 { String::new() } else { shown(order.average()) }, "leavesQty": shown(left),
        "leavesValue": shown(mul(left, order.price)), "cumExecQty": shown(order.executed), "cumExecValue": shown(coins(order.value)),
        "cumExecFee": shown(coins(fee)), "cumFeeDetail": if fee == 0 { json!({}) } else { json!({coin: shown(coins(fee))}) },
        "timeInForce": match order.asked.life { _ if at_market => "IOC", Life::Ioc => "IOC", Life::Fok => "FOK", Life::Gtx => "PostOnly", _ => "GTC" },
        "orderType": if at_market { "Market" } else { "Limit" }, "stopOrderType": if trigger.is_some() { "Stop" } else { "" }, "orderIv": "",
        "triggerPrice": trigger.map_or(String::new(), |t| shown(t.price)), "takeProfit": "", "stopLoss": "", "tpslMode": "", "tpLimitPrice": "",
        "slLimitPrice": "", "tpTriggerBy": "", "slTriggerBy": "", "triggerDirection": trigger.map_or(0, |t| if t.rising { 1 } else { 2 }),
        "triggerBy": match trigger { Some(t) if t.by_mark => "MarkPrice", Some(_) => "LastPrice", None => "" }, "lastPriceOnCreated": shown(m.last),
        "reduceOnly": order.asked.reduce, "closeOnTrigger": false, "placeType": "", "smpType": "None", "smpGroup": 0, "smpOrderId": "",
        "createType": if order.auto_close.is_some() { "CreateByLiq" } else { "CreateByUser" }, "createdTime": order.time.to_string(),
        "updatedTime": order.updated.to_string(),
    })
}

fn executions(venue: &Venue, account: usize, kind: &str, asked: &Asked<'_>) -> Done {
    let service = service(kind);
    let house = &venue.futures.houses[service.index()];
    let only = match asked.text("symbol") {
        Some(name) => Some(of(venue, kind, Some(name))?.contract),
        None => None,
    };
    let (start, end) = (
        asked.int("startTime").unwrap_or(0),
        asked.int("endTime").unwrap_or(u64::MAX),
    );
    let wanted = asked.text("orderId").map(of_number);
    let client = asked.text("orderLinkId");
    let mut all = Vec::new();
    for trade in house.accounts[account].trades.iter().rev() {
        let order = house.order(trade.contract, trade.order);
        let link = order
            .and_then(|o| o.asked.client_id.as_deref())
            .unwrap_or("");
        let fits = match (&wanted, client) {
            (Some(wanted), _) => {
                *wanted == Some((false, service.index(), trade.contract, trade.order))
            }
            (None, Some(client)) => link == client,
            (None, None) => {
                only.is_none_or(|o| o == trade.contract) && (start..=end).contains(&trade.time)
            }
        };
        if !fits {
            continue;
        }
        all.push(execution(venue, service, trade));
    }
    let (list, cursor) = page(asked, all, 50, 100)?;
    Ok(json!({"category": kind, "list": list, "nextPageCursor": cursor}))
}

/// A trade of an account.
pub(super) fn execution(venue: &Venue, service: Service, trade: &MyTrade) -> Value {
    let at = At {
        service,
        contract: trade.contract,
    };
    let house = &venue.futures.houses[service.index()];
    let order = house.order(trade.contract, trade.order);
    let link = order
        .and_then(|o| o.asked.client_id.as_deref())
        .unwrap_or("");
    let m = market(venue, at);
    let rate = if trade.maker {
        m.contract.maker_fee
    } else {
        m.contract.taker_fee
    };
    json!({
        "symbol": m.contract.name, "orderId": number(at, false, trade.order), "orderLinkId": link, "side": word(trade.side),
        "orderPrice": shown(order.map_or(0, |o| o.price)), "orderQty": shown(order.map_or(0, |o| o.quantity)),
        "leavesQty": shown(order.map_or(0, Order::remaining)), "createType": "CreateByUser",
        "orderType": if order.is_some_and(|o| o.asked.price.is_none()) { "Market" } else { "Limit" }, "stopOrderType": "UNKNOWN",
        "execFee": shown(coins(trade.fee)), "execId": number(at, false, trade.id), "execPrice": shown(trade.price), "execQty": shown(trade.quantity),
        "execType": "Trade", "execValue": shown(coins(trade.value.abs())), "execTime": trade.time.to_string(),
        "feeCurrency": venue.exchange.assets[m.contract.margin], "isMaker": trade.maker, "feeRate": shown(rate), "tradeIv": "", "markIv": "",
        "markPrice": shown(m.mark), "indexPrice": "", "underlyingPrice": "", "blockTradeId": "", "closedSize": "0", "seq": trade.id, "extraFees": "",
    })
}

pub(super) fn positions(venue: &Venue, account: usize, kind: &str, asked: &Asked<'_>) -> Done {
    let service = service(kind);
    let house = &venue.futures.houses[service.index()];
    let named = match asked.text("symbol") {
        Some(name) => Some(of(venue, kind, Some(name))?.contract),
        None => None,
    };
    let settle = asked.text("settleCoin");
    if kind == "linear" && named.is_none() && settle.is_none() && asked.text("baseCoin").is_none() {
        return Err(params("symbol"));
    }
    let owner = &house.accounts[account];
    let legs: &[Leg] = if owner.hedge {
        &[Leg::Long, Leg::Short]
    } else {
        &[Leg::Both]
    };
    let mut list = Vec::new();
    for (contract, m) in house.markets.iter().enumerate() {
        let c = &m.contract;
        if named.is_some_and(|n| n != contract)
            || settle.is_some_and(|s| venue.exchange.assets[c.margin] != s)
        {
            continue;
        }
        for leg in legs {
            let position = owner.position(contract, *leg);
            if position.quantity == 0 && named.is_none() {
                continue;
            }
            let exit = |kind: &str| {
                let mut all = owner.algos.iter().filter_map(|id| house.algos.get(id));
                let found = all.find(|a| {
                    a.status == "NEW"
                        && a.contract == contract
                        && a.asked.leg == *leg
                        && a.asked.kind == kind
                });
                found
                    .and_then(|a| a.asked.trigger)
                    .map_or(String::new(), |t| shown(t.price))
            };
            let setting = owner.setting(contract);
            let worth = c.worth(position.quantity, m.mark);
            let margin = coins(worth / i128::from(setting.leverage.max(1)));
            let empty = position.quantity == 0;
            list.push(json!({
                "positionIdx": index(*leg), "riskId": 1, "riskLimitValue": "", "symbol": c.name,
                "side": if empty { "" } else if position.quantity > 0 { "Buy" } else { "Sell" }, "size": shown(position.quantity.abs()),
                "avgPrice": if empty { "0".to_owned() } else { shown(position.entry(c)) }, "positionValue": if empty { String::new() } else { shown(coins(worth)) },
                "autoAddMargin": 0, "positionStatus": "Normal", "leverage": setting.leverage.to_string(), "breakEvenPrice": "", "markPrice": shown(m.mark),
                "liqPrice": house.liquidation_price(account, contract, *leg).map_or(String::new(), shown), "positionIM": if empty { String::new() } else { shown(margin) },
                "positionIMByMp": if empty { String::new() } else { shown(margin) }, "positionMM": if empty { String::new() } else { shown(coins(c.maintenance(worth))) },
                "positionMMByMp": "", "takeProfit": exit("TakeProfit"), "stopLoss": exit("StopLoss"), "trailingStop": "0",
                "unrealisedPnl": if empty { String::new() } else { shown(coins(position.profit(c, m.mark))) }, "curRealisedPnl": "0", "cumRealisedPnl": "0",
                "adlRankIndicator": 0, "createdTime": position.updated.to_string(), "updatedTime": position.updated.to_string(), "seq": m.update,
                "isReduceOnly": false, "mmrSysUpdatedTime": "", "leverageSysUpdatedTime": "", "tpslMode": "Full", "bustPrice": "", "positionBalance": shown(margin),
                "tradeMode": 0, "delta": "", "sessionAvgPrice": "",
            }));
        }
    }
    let (list, cursor) = page(asked, list, 20, 200)?;
    Ok(json!({"category": kind, "list": list, "nextPageCursor": cursor}))
}

fn leverage(venue: &mut Venue, account: usize, kind: &str, asked: &Asked<'_>) -> Done {
    let at = of(venue, kind, asked.text("symbol"))?;
    let buy = decimal(&asked.fields, "buyLeverage").unwrap_or(0);
    if asked.text("sellLeverage").is_none()
        || decimal(&asked.fields, "sellLeverage") != Some(buy)
        || buy % ONE != 0
    {
        return Err(params("buyLeverage"));
    }
    let times = u32::try_from(buy / ONE).map_err(|_| params("buyLeverage"))?;
    let before = venue.futures.houses[at.service.index()].accounts[account].setting(at.contract);
    if before.leverage == times {
        return Err(refuse(110_043, "leverage not modified"));
    }
    venue
        .in_house(at.service, account, |house| {
            house.set_leverage(account, at.contract, times)
        })
        .map_err(denied)?;
    Ok(json!({}))
}

fn trading_stop(venue: &mut Venue, account: usize, kind: &str, asked: &Asked<'_>) -> Done {
    let fields = &asked.fields;
    let at = of(venue, kind, asked.text("symbol"))?;
    let leg = leg(fields)?;
    for name in [
        "trailingStop",
        "activePrice",
        "tpSize",
        "slSize",
        "tpLimitPrice",
        "slLimitPrice",
    ] {
        if decimal(fields, name).is_some_and(|v| v != 0) {
            return Err(params(name));
        }
    }
    let position =
        venue.futures.houses[at.service.index()].accounts[account].position(at.contract, leg);
    if position.quantity == 0 {
        return Err(refuse(10001, "can not set tp/sl/ts for zero position"));
    }
    let closes = if position.quantity > 0 {
        Side::Sell
    } else {
        Side::Buy
    };
    let given = [("takeProfit", true), ("stopLoss", false)]
        .map(|(name, gain)| (decimal(fields, name), gain));
    if given.iter().all(|(price, _)| price.is_none()) {
        return Err(refuse(34_040, "not modified"));
    }
    for (price, gain) in given {
        if let Some(price) = price {
            venue
                .set_exit(account, at, leg, closes, gain, price)
                .map_err(denied)?;
        }
    }
    Ok(json!({}))
}

/// The fee rates of contracts.
pub(super) fn fees(venue: &Venue, kind: &str, named: Option<&str>) -> Vec<Value> {
    venue.futures.houses[service(kind).index()]
        .markets
        .iter()
        .map(|m| &m.contract)
        .filter(|c| named.is_none_or(|n| c.name == n))
        .map(|c| json!({"symbol": c.name, "takerFeeRate": shown(c.taker_fee), "makerFeeRate": shown(c.maker_fee)}))
        .collect()
}
