//! Orders, executions and positions.

use super::{Asked, Done, decimal, flag, int, page, params, refuse, shown, spot_refusal, text};
use crate::book::{Life, Order, Side, Status, Type};
use crate::decimal::{D, div};
use crate::exchange::MyTrade;
use crate::refusal::Refusal;
use crate::v5::spot::{self, Exit, Spot};
use crate::v5::table::Fields;
use crate::venue::Venue;
use serde_json::{Value, json};

/// Objects of a batch on spot; contracts have twenty.
const SPOT_BATCH_MAX: usize = 10;

pub(super) fn answer(venue: &mut Venue, path: &str, asked: &Asked<'_>) -> Done {
    let account = asked.account()?;
    let category = asked.text("category").unwrap_or("");
    if category == "option" || path.starts_with("/v5/position/") && category == "spot" {
        return Err(refuse(10001, "params error: category invalid"));
    }
    if category != "spot" {
        return super::contracts::answer(venue, account, path, category, asked);
    }
    match path {
        "/v5/order/create" => place(venue, account, &asked.fields),
        "/v5/order/amend" => amend(venue, account, &asked.fields),
        "/v5/order/cancel" => cancel(venue, account, &asked.fields),
        "/v5/order/create-batch" => {
            batch(asked, "spot", SPOT_BATCH_MAX, |f| place(venue, account, f))
        }
        "/v5/order/amend-batch" => {
            batch(asked, "spot", SPOT_BATCH_MAX, |f| amend(venue, account, f))
        }
        "/v5/order/cancel-batch" => {
            batch(asked, "spot", SPOT_BATCH_MAX, |f| cancel(venue, account, f))
        }
        "/v5/order/cancel-all" => {
            let market = match asked.text("symbol") {
                None => None,
                Some(name) => Some(market(venue, name)?),
            };
            let filter = asked.text("orderFilter");
            let gone = spot::cancel_all(
                &mut venue.exchange,
                account,
                |o| match filter {
                    None | Some("Order") => !o.kind.waits(),
                    Some("tpslOrder") => o.kind.waits() && o.list.is_some(),
                    Some("StopOrder") => o.kind.waits() && o.list.is_none(),
                    _ => false,
                },
                market,
            );
            let list: Vec<Value> = gone
                .iter()
                .filter_map(|(m, id)| named(venue, *m, *id))
                .collect();
            Ok(json!({"list": list, "success": "1"}))
        }
        "/v5/order/realtime" => orders(venue, account, asked, true),
        "/v5/order/history" => orders(venue, account, asked, false),
        "/v5/execution/list" => executions(venue, account, asked),
        _ => Err(refuse(10016, "Server error.")),
    }
}

fn market(venue: &Venue, name: &str) -> Result<usize, Refusal> {
    venue
        .exchange
        .market(name)
        .map_err(|_| refuse(170121, "Invalid symbol."))
}

fn named(venue: &Venue, market: usize, id: u64) -> Option<Value> {
    let order = venue.exchange.markets[market].book.orders.get(&id)?;
    Some(json!({"orderId": spot::number(market, id).to_string(), "orderLinkId": order.client_id}))
}

/// Each of a batch for itself: what became of it stands beside it.
pub(super) fn batch(
    asked: &Asked<'_>,
    category: &str,
    max: usize,
    mut act: impl FnMut(&Fields) -> Done,
) -> Done {
    let all = asked.fields.get("request").and_then(Value::as_array);
    let all = all.ok_or_else(|| params("request"))?;
    if all.len() > max {
        return Err(refuse(
            10001,
            format!("The number of orders cannot exceed {max}."),
        ));
    }
    let (mut list, mut told) = (Vec::new(), Vec::new());
    for one in all {
        let empty = Fields::new();
        let fields = one.as_object().unwrap_or(&empty);
        let done = act(fields);
        let (code, msg) = match &done {
            Ok(_) => (0, "OK"),
            Err(refusal) => (refusal.code, refusal.msg.as_str()),
        };
        told.push(json!({"code": code, "msg": msg}));
        let id = |name: &str| {
            done.as_ref()
                .ok()
                .and_then(|d| d[name].as_str())
                .unwrap_or("")
        };
        let link = if id("orderLinkId").is_empty() {
            text(fields, "orderLinkId").unwrap_or("")
        } else {
            id("orderLinkId")
        };
        list.push(json!({
            "category": category, "symbol": text(fields, "symbol").unwrap_or(""), "orderId": id("orderId"), "orderLinkId": link,
            "createAt": if done.is_ok() { asked.now.to_string() } else { String::new() },
        }));
    }
    Ok(json!({"list": list, "retExtInfo": {"list": told}}))
}

pub(super) fn side(fields: &Fields) -> Side {
    match text(fields, "side") {
        Some("Buy") => Side::Buy,
        _ => Side::Sell,
    }
}

fn place(venue: &mut Venue, account: usize, fields: &Fields) -> Done {
    let market = market(venue, text(fields, "symbol").unwrap_or(""))?;
    if int(fields, "isLeverage").unwrap_or(0) > 0 {
        return Err(refuse(170344, "Symbol is not supported on Margin Trading."));
    }
    for name in ["reduceOnly", "closeOnTrigger"] {
        if flag(fields, name) {
            return Err(params(name));
        }
    }
    if int(fields, "positionIdx").unwrap_or(0) != 0 {
        return Err(params("positionIdx"));
    }
    let at_market = text(fields, "orderType") == Some("Market");
    let force = text(fields, "timeInForce");
    let price = decimal(fields, "price");
    if !at_market && price.is_none() {
        return Err(refuse(
            170130,
            "Data sent for parameter 'price' is not valid.",
        ));
    }
    if fields.contains_key("slippageTolerance") || fields.contains_key("slippageToleranceType") {
        return Err(params("slippageTolerance"));
    }
    let side = side(fields);
    let trigger = decimal(fields, "triggerPrice");
    match (text(fields, "orderFilter"), trigger) {
        (None | Some("Order"), None) | (Some("tpslOrder" | "StopOrder"), Some(_)) => {}
        (Some("tpslOrder" | "StopOrder"), None) => return Err(spot_refusal(spot::Why::Trigger)),
        _ => return Err(refuse(170201, "Invalid orderFilter parameter.")),
    }
    let exit = |at: &str, limit: &str, kind: &str| -> Result<Option<Exit>, Refusal> {
        let Some(at) = decimal(fields, at).filter(|at| *at > 0) else {
            return Ok(None);
        };
        let price = decimal(fields, limit);
        if price.is_some() != (text(fields, kind) == Some("Limit")) {
            return Err(params(limit));
        }
        Ok(Some(Exit { trigger: at, price }))
    };
    let take_profit = exit("takeProfit", "tpLimitPrice", "tpOrderType")?;
    let stop_loss = exit("stopLoss", "slLimitPrice", "slOrderType")?;
    if (at_market || trigger.is_some()) && (take_profit.is_some() || stop_loss.is_some()) {
        return Err(params("takeProfit"));
    }
    let unit = text(fields, "marketUnit");
    let order = Spot {
        side,
        price: if at_market { None } else { price },
        quantity: decimal(fields, "qty").unwrap_or(0),
        by_value: at_market
            && match unit {
                None => side == Side::Buy,
                Some(unit) => unit == "quoteCoin",
            },
        life: match force {
            Some("IOC") => Life::Ioc,
            Some("FOK") => Life::Fok,
            _ => Life::Gtc,
        },
        post_only: !at_market && force == Some("PostOnly"),
        trigger,
        client_id: text(fields, "orderLinkId").map(str::to_owned),
        stp: match text(fields, "smpType") {
            Some("CancelMaker") => Some("EXPIRE_MAKER"),
            Some("CancelTaker") => Some("EXPIRE_TAKER"),
            Some("CancelBoth") => Some("EXPIRE_BOTH"),
            _ => None,
        },
        take_profit,
        stop_loss,
    };
    let id = spot::place(&mut venue.exchange, account, market, order).map_err(spot_refusal)?;
    named(venue, market, id).ok_or_else(|| spot_refusal(spot::Why::Unknown))
}

/// The order that is meant: its id counts before the client's.
fn find(venue: &Venue, account: usize, fields: &Fields) -> Result<(usize, u64), Refusal> {
    let market = market(venue, text(fields, "symbol").unwrap_or(""))?;
    let unknown = || spot_refusal(spot::Why::Unknown);
    let found = match (text(fields, "orderId"), text(fields, "orderLinkId")) {
        (Some(id), _) => {
            let (at, id) = spot::of_number(&venue.exchange, id).ok_or_else(unknown)?;
            if at != market {
                return Err(unknown());
            }
            venue.exchange.find(account, market, Some(id), None)
        }
        (None, Some(client)) => venue.exchange.find(account, market, None, Some(client)),
        (None, None) => return Err(params("orderId")),
    };
    found
        .filter(|o| o.status.open())
        .map(|o| (market, o.id))
        .ok_or_else(unknown)
}

fn cancel(venue: &mut Venue, account: usize, fields: &Fields) -> Done {
    let (market, id) = find(venue, account, fields)?;
    venue
        .exchange
        .cancel(account, market, Some(id), None, None)
        .map_err(|_| spot_refusal(spot::Why::Unknown))?;
    named(venue, market, id).ok_or_else(|| spot_refusal(spot::Why::Unknown))
}

fn amend(venue: &mut Venue, account: usize, fields: &Fields) -> Done {
    let (market, id) = find(venue, account, fields)?;
    let (price, quantity, trigger) = (
        decimal(fields, "price"),
        decimal(fields, "qty"),
        decimal(fields, "triggerPrice"),
    );
    if ["takeProfit", "stopLoss", "tpLimitPrice", "slLimitPrice"]
        .iter()
        .any(|name| fields.contains_key(*name))
    {
        return Err(spot_refusal(spot::Why::Fixed));
    }
    if price.is_none() && quantity.is_none() && trigger.is_none() {
        return Err(refuse(10001, "params error: nothing to modify"));
    }
    spot::amend(
        &mut venue.exchange,
        account,
        market,
        id,
        price,
        quantity,
        trigger,
    )
    .map_err(spot_refusal)?;
    named(venue, market, id).ok_or_else(|| spot_refusal(spot::Why::Unknown))
}

fn orders(venue: &Venue, account: usize, asked: &Asked<'_>, realtime: bool) -> Done {
    if asked.text("settleCoin").is_some() {
        return Err(params("settleCoin"));
    }
    let only = match asked.text("symbol") {
        None => None,
        Some(name) => Some(market(venue, name)?),
    };
    let (id, client) = (asked.text("orderId"), asked.text("orderLinkId"));
    let one = id.is_some() || client.is_some();
    let wanted = id.map(|id| spot::of_number(&venue.exchange, id));
    let closed = asked.int("openOnly") == Some(1);
    let mut all: Vec<(usize, &Order)> = Vec::new();
    for (index, at) in venue.exchange.markets.iter().enumerate() {
        for order in venue.exchange.accounts[account].orders[index]
            .iter()
            .filter_map(|id| at.book.orders.get(id))
        {
            let open = order.status.open();
            let fits = match (&wanted, client) {
                (Some(wanted), _) => *wanted == Some((index, order.id)),
                (None, Some(client)) => order.client_id == client,
                (None, None) => only.is_none_or(|m| m == index),
            };
            // One that is named is found whatever became of it.
            let shown = if realtime {
                one || open != closed
            } else {
                !open
            };
            let filter = match asked.text("orderFilter") {
                None => true,
                Some("Order") => !order.kind.waits(),
                Some("tpslOrder") => order.kind.waits() && order.list.is_some(),
                _ => order.kind.waits() && order.list.is_none(),
            };
            let status = asked.text("orderStatus").is_none_or(|s| s == status(order));
            if fits && shown && filter && status && order.status != Status::PendingNew {
                all.push((index, order));
            }
        }
    }
    all.sort_by_key(|(index, order)| std::cmp::Reverse((order.time, order.id, *index)));
    let all = all
        .into_iter()
        .map(|(m, o)| spot_order(venue, m, o))
        .collect();
    let (list, cursor) = page(asked, all, 20, 50)?;
    Ok(json!({"category": "spot", "list": list, "nextPageCursor": cursor}))
}

pub(super) fn status(order: &Order) -> &'static str {
    let some = order.executed > 0;
    match order.status {
        Status::New | Status::PendingNew if order.kind.waits() && order.working_time.is_none() => {
            "Untriggered"
        }
        Status::New | Status::PendingNew => "New",
        Status::PartiallyFilled => "PartiallyFilled",
        Status::Filled => "Filled",
        Status::Rejected => "Rejected",
        Status::Expired if order.expiry == Some("OCO_TRIGGER") => "Deactivated",
        _ if some => "PartiallyFilledCanceled",
        _ => "Cancelled",
    }
}

fn average(value: D, quantity: D) -> String {
    if quantity == 0 {
        String::new()
    } else {
        shown(div(value, quantity))
    }
}

pub(super) fn spot_order(venue: &Venue, market: usize, order: &Order) -> Value {
    let at = &venue.exchange.markets[market];
    let by_value = order.quote_quantity > 0;
    let market_order = order.kind.at_market();
    let fees: D = venue.exchange.accounts[order.account].trades[market]
        .iter()
        .filter(|t| t.order == order.id)
        .map(|t| t.commission)
        .sum();
    let coin = if order.side == Side::Buy {
        &at.symbol.base
    } else {
        &at.symbol.quote
    };
    let left = if order.status.open() {
        order.remaining()
    } else {
        0
    };
    json!({
        "orderId": spot::number(market, order.id).to_string(), "orderLinkId": order.client_id, "blockTradeId": "",
        "symbol": at.symbol.name, "price": shown(order.price),
        "qty": shown(if by_value { order.quote_quantity } else { order.quantity }),
        "side": word(order.side), "isLeverage": "0", "positionIdx": 0,
        "orderStatus": status(order),
        "cancelType": if order.status == Status::Canceled { "CancelByUser" } else { "UNKNOWN" },
        "rejectReason": if order.expiry == Some("WOULD_TAKE") { "EC_PostOnlyWillTakeLiquidity" } else { "EC_NoError" },
        "avgPrice": average(order.quote_executed, order.executed), "leavesQty": shown(left), "leavesValue": shown(crate::decimal::mul(left, order.price)),
        "cumExecQty": shown(order.executed), "cumExecValue": shown(order.quote_executed), "cumExecFee": shown(fees),
        "cumFeeDetail": if fees > 0 { json!({coin: shown(fees)}) } else { json!({}) },
        "timeInForce": if market_order { "IOC" } else if order.kind == Type::LimitMaker { "PostOnly" } else { order.life.word() },
        "orderType": if market_order { "Market" } else { "Limit" },
        "stopOrderType": match (order.kind.waits(), order.list) { (false, _) => "", (true, Some(_)) => "tpslOrder", (true, None) => "Stop" },
        "orderIv": "", "marketUnit": if !market_order { "" } else if by_value { "quoteCoin" } else { "baseCoin" },
        "triggerPrice": shown(order.stop_price.unwrap_or(0)), "takeProfit": "0", "stopLoss": "0", "ocoTriggerBy": "",
        "tpLimitPrice": "0", "slLimitPrice": "0", "tpTriggerBy": "", "slTriggerBy": "", "triggerDirection": 0, "triggerBy": "",
        "basePrice": shown(at.last), "reduceOnly": false, "closeOnTrigger": false, "placeType": "",
        "smpType": match order.stp { "EXPIRE_MAKER" => "CancelMaker", "EXPIRE_TAKER" => "CancelTaker", "EXPIRE_BOTH" => "CancelBoth", _ => "None" },
        "smpGroup": 0, "smpOrderId": "", "createdTime": order.time.to_string(), "updatedTime": order.updated.to_string(),
    })
}

/// The venue's word for a side.
pub(super) fn word(side: Side) -> &'static str {
    match side {
        Side::Buy => "Buy",
        Side::Sell => "Sell",
    }
}

fn executions(venue: &Venue, account: usize, asked: &Asked<'_>) -> Done {
    let only = match asked.text("symbol") {
        None => None,
        Some(name) => Some(market(venue, name)?),
    };
    let (start, end) = (
        asked.int("startTime").unwrap_or(0),
        asked.int("endTime").unwrap_or(u64::MAX),
    );
    let wanted = asked
        .text("orderId")
        .map(|id| spot::of_number(&venue.exchange, id));
    let client = asked.text("orderLinkId");
    let mut all = Vec::new();
    for (index, at) in venue.exchange.markets.iter().enumerate() {
        for trade in &venue.exchange.accounts[account].trades[index] {
            let order = at.book.orders.get(&trade.order);
            let link = order.map_or("", |o| o.client_id.as_str());
            let fits = match (&wanted, client) {
                (Some(wanted), _) => *wanted == Some((index, trade.order)),
                (None, Some(client)) => link == client,
                (None, None) => {
                    only.is_none_or(|m| m == index) && (start..=end).contains(&trade.time)
                }
            };
            if !fits {
                continue;
            }
            all.push((trade.time, trade.id, execution(venue, index, trade)));
        }
    }
    all.sort_by_key(|(time, id, _)| std::cmp::Reverse((*time, *id)));
    let all = all.into_iter().map(|(_, _, v)| v).collect();
    let (list, cursor) = page(asked, all, 50, 100)?;
    Ok(json!({"category": "spot", "list": list, "nextPageCursor": cursor}))
}

/// A trade of an account.
pub(super) fn execution(venue: &Venue, market: usize, trade: &MyTrade) -> Value {
    let at = &venue.exchange.markets[market];
    let order = at.book.orders.get(&trade.order);
    let link = order.map_or("", |o| o.client_id.as_str());
    let market_order = order.is_some_and(|o| o.kind.at_market());
    let asset = &venue.exchange.assets[trade.commission_asset];
    json!({
        "symbol": at.symbol.name, "orderId": spot::number(market, trade.order).to_string(), "orderLinkId": link,
        "side": if trade.buyer { "Buy" } else { "Sell" }, "orderPrice": shown(order.map_or(0, |o| o.price)),
        "orderQty": shown(order.map_or(0, |o| o.quantity)), "leavesQty": shown(order.map_or(0, Order::remaining).max(0)),
        "orderType": if market_order { "Market" } else { "Limit" }, "stopOrderType": "", "execFee": shown(trade.commission),
        "execId": spot::number(market, trade.id).to_string(), "execPrice": shown(trade.price), "execQty": shown(trade.quantity),
        "execType": "Trade", "execValue": shown(crate::decimal::mul(trade.price, trade.quantity)), "execTime": trade.time.to_string(),
        "feeCurrency": asset, "isMaker": trade.maker, "feeRate": shown(crate::exchange::COMMISSION), "tradeIv": "", "markIv": "",
        "markPrice": "", "indexPrice": "", "underlyingPrice": "", "blockTradeId": "", "closedSize": "", "seq": trade.id, "extraFees": "",
    })
}
