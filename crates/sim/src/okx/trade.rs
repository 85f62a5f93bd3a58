//! Orders and fills.

use super::market::no_instrument;
use super::{Asked, Done, contracts, decimal, flag, parameter, refuse, shown, spot_refusal, text};
use crate::book::{Life, Order, Side, Status, Type};
use crate::decimal::{D, div};
use crate::refusal::Refusal;
use crate::v5::spot::{self, Exit, Spot, Why};
use crate::v5::table::{Call, Fields};
use crate::venue::Venue;
use serde_json::{Value, json};

/// Numbers of conditional orders are of another space than those of orders.
const ALGO: u64 = 200_000_000_000_000_000;
/// And those of pairs, by their list.
const PAIR: u64 = 1_200_000_000_000_000_000;

type One = Result<Value, Refusal>;

pub(super) fn answer(venue: &mut Venue, call: &Call, path: &str, asked: &Asked<'_>) -> Done {
    let account = asked.account()?;
    for service in crate::v5::perps::SERVICES {
        venue.futures.house(service).open_account(account);
    }
    let act: fn(&mut Venue, usize, &Fields) -> One = match path {
        "/api/v5/trade/order" if call.method == "GET" => return order(venue, account, asked),
        "/api/v5/trade/orders-pending" => return orders(venue, account, asked, true),
        "/api/v5/trade/orders-history" | "/api/v5/trade/orders-history-archive" => {
            return orders(venue, account, asked, false);
        }
        "/api/v5/trade/fills" | "/api/v5/trade/fills-history" => {
            return fills(venue, account, asked);
        }
        "/api/v5/trade/orders-algo-pending" => return algos(venue, account, asked),
        "/api/v5/trade/cancel-all-after" => return dead_man(venue, account, asked),
        "/api/v5/trade/close-position" => return contracts::close(venue, account, asked),
        "/api/v5/trade/order" | "/api/v5/trade/batch-orders" => place,
        "/api/v5/trade/cancel-order" | "/api/v5/trade/cancel-batch-orders" => cancel,
        "/api/v5/trade/amend-order" | "/api/v5/trade/amend-batch-orders" => amend,
        "/api/v5/trade/order-algo" => place_algo,
        "/api/v5/trade/cancel-algos" => cancel_algo,
        _ => return Err(refuse(50026, "System error. Try again later.")),
    };
    let one = [Value::from(asked.fields.clone())];
    let all = if call.array().is_some() {
        asked.several.as_slice()
    } else {
        &one
    };
    Ok(all
        .iter()
        .filter_map(Value::as_object)
        .map(|fields| {
            let mut told = json!({
                "ordId": "", "clOrdId": text(fields, "clOrdId").unwrap_or(""), "tag": text(fields, "tag").unwrap_or(""),
                "ts": asked.now.to_string(), "sCode": "0", "sMsg": "",
            });
            if path.contains("algo") {
                told = json!({"algoId": "", "algoClOrdId": text(fields, "algoClOrdId").unwrap_or(""), "clOrdId": "", "tag": text(fields, "tag").unwrap_or(""), "sCode": "0", "sMsg": ""});
            }
            match act(venue, account, fields) {
                Ok(Value::Object(done)) => {
                    for (name, value) in done {
                        told[name] = value;
                    }
                }
                Ok(_) => {}
                Err(refusal) => {
                    told["sCode"] = json!(refusal.code.to_string());
                    told["sMsg"] = json!(refusal.msg);
                }
            }
            told
        })
        .collect())
}

fn market(venue: &Venue, fields: &Fields) -> Result<usize, Refusal> {
    venue
        .exchange
        .market(text(fields, "instId").unwrap_or(""))
        .map_err(|_| no_instrument())
}

fn side(fields: &Fields) -> Side {
    if text(fields, "side") == Some("buy") {
        Side::Buy
    } else {
        Side::Sell
    }
}

/// A price that wakes an order and the order's own; `-1` is at market.
pub(super) fn exit(
    fields: &Fields,
    trigger: &'static str,
    price: &'static str,
) -> Result<Option<Exit>, Refusal> {
    let (Some(at), Some(own)) = (decimal(fields, trigger), text(fields, price)) else {
        if fields.contains_key(trigger) || fields.contains_key(price) {
            return Err(parameter(price));
        }
        return Ok(None);
    };
    let own = if own == "-1" {
        None
    } else {
        Some(decimal(fields, price).ok_or_else(|| parameter(price))?)
    };
    Ok(Some(Exit {
        trigger: at,
        price: own,
    }))
}

/// What spot orders have in common.
fn spot_order(venue: &Venue, fields: &Fields, conditional: bool) -> Result<(usize, Spot), Refusal> {
    let market = market(venue, fields)?;
    // Conditional orders of CCXT say `cross` on spot markets too.
    let mode = text(fields, "tdMode");
    if mode != Some("cash") && !(conditional && mode == Some("cross")) {
        return Err(refuse(
            51010,
            "You can't complete this request under your current account mode.",
        ));
    }
    if flag(fields, "reduceOnly") || !matches!(text(fields, "posSide"), None | Some("net")) {
        return Err(parameter("posSide"));
    }
    let symbol = &venue.exchange.markets[market].symbol;
    if text(fields, "tradeQuoteCcy").is_some_and(|c| c != symbol.quote) {
        return Err(parameter("tradeQuoteCcy"));
    }
    let order = Spot {
        side: side(fields),
        price: None,
        quantity: decimal(fields, "sz").unwrap_or(0),
        by_value: false,
        life: Life::Gtc,
        post_only: false,
        trigger: None,
        client_id: text(fields, "clOrdId").map(str::to_owned),
        stp: match text(fields, "stpMode") {
            Some("cancel_taker") => Some("EXPIRE_TAKER"),
            Some("cancel_both") => Some("EXPIRE_BOTH"),
            _ => Some("EXPIRE_MAKER"),
        },
        take_profit: None,
        stop_loss: None,
    };
    Ok((market, order))
}

fn place(venue: &mut Venue, account: usize, fields: &Fields) -> One {
    if let Some(at) = contracts::of(venue, text(fields, "instId").unwrap_or("")) {
        return contracts::place(venue, account, at, fields);
    }
    let (market, mut order) = spot_order(venue, fields, false)?;
    let kind = text(fields, "ordType").unwrap_or("");
    let at_market = kind == "market";
    if kind == "optimal_limit_ioc" {
        return Err(parameter("ordType"));
    }
    if !at_market {
        order.price = Some(
            decimal(fields, "px").ok_or_else(|| refuse(50014, "Parameter px cannot be empty."))?,
        );
    }
    order.by_value = at_market
        && match text(fields, "tgtCcy") {
            None => order.side == Side::Buy,
            Some(unit) => unit == "quote_ccy",
        };
    order.post_only = kind == "post_only";
    order.life = match kind {
        "ioc" => Life::Ioc,
        "fok" => Life::Fok,
        _ => Life::Gtc,
    };
    for attached in fields
        .get("attachAlgoOrds")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let empty = Fields::new();
        let attached = attached.as_object().unwrap_or(&empty);
        let gain = exit(attached, "tpTriggerPx", "tpOrdPx")?;
        let loss = exit(attached, "slTriggerPx", "slOrdPx")?;
        if gain.is_none() && loss.is_none()
            || attached.contains_key("sz")
            || gain.is_some() && order.take_profit.is_some()
            || loss.is_some() && order.stop_loss.is_some()
        {
            return Err(parameter("attachAlgoOrds"));
        }
        if let (Some(gain), Some(price)) = (gain, order.price)
            && (gain.trigger > price) != (order.side == Side::Buy)
        {
            return Err(refuse(
                51046,
                "The TP trigger price must be beyond the order price.",
            ));
        }
        if let (Some(loss), Some(price)) = (loss, order.price)
            && (loss.trigger < price) != (order.side == Side::Buy)
        {
            return Err(refuse(
                51047,
                "The SL trigger price must be before the order price.",
            ));
        }
        order.take_profit = gain.or(order.take_profit);
        order.stop_loss = loss.or(order.stop_loss);
    }
    let id = spot::place(&mut venue.exchange, account, market, order).map_err(spot_refusal)?;
    Ok(named(venue, market, id))
}

fn named(venue: &Venue, market: usize, id: u64) -> Value {
    let order = venue.exchange.markets[market].book.orders.get(&id);
    json!({"ordId": spot::number(market, id).to_string(), "clOrdId": order.map_or("", client)})
}

/// The client's id; those that the core makes up are none.
pub(super) fn client(order: &Order) -> &str {
    if order.client_id.starts_with("sim0") {
        ""
    } else {
        &order.client_id
    }
}

/// The order that is meant: its id counts before the client's.
fn find<'a>(
    venue: &'a Venue,
    account: usize,
    fields: &Fields,
) -> Result<Option<(usize, &'a Order)>, Refusal> {
    let market = market(venue, fields)?;
    let found = match (text(fields, "ordId"), text(fields, "clOrdId")) {
        (Some(id), _) => spot::of_number(&venue.exchange, id)
            .filter(|(at, _)| *at == market)
            .and_then(|(_, id)| venue.exchange.find(account, market, Some(id), None)),
        (None, Some(client)) => venue.exchange.find(account, market, None, Some(client)),
        (None, None) => {
            return Err(refuse(
                51407,
                "Either order ID or client order ID is required.",
            ));
        }
    };
    Ok(found.filter(|o| !hidden(o)).map(|o| (market, o)))
}

/// A conditional order is none of the orders until it works.
pub(super) fn hidden(order: &Order) -> bool {
    order.kind.waits() && order.working_time.is_none()
}

fn cancel(venue: &mut Venue, account: usize, fields: &Fields) -> One {
    if let Some(at) = contracts::of(venue, text(fields, "instId").unwrap_or("")) {
        return contracts::cancel(venue, account, at, fields);
    }
    let (market, id) = match find(venue, account, fields)? {
        Some((market, order)) if order.status.open() => (market, order.id),
        _ => return Err(spot_refusal(Why::Unknown)),
    };
    venue
        .exchange
        .cancel(account, market, Some(id), None, None)
        .map_err(|_| spot_refusal(Why::Unknown))?;
    Ok(named(venue, market, id))
}

fn amend(venue: &mut Venue, account: usize, fields: &Fields) -> One {
    if let Some(at) = contracts::of(venue, text(fields, "instId").unwrap_or("")) {
        return contracts::amend(venue, account, at, fields);
    }
    let (market, id) = match find(venue, account, fields)? {
        None => {
            return Err(refuse(
                51503,
                "Order modification failed as the order has been filled, canceled or does not exist.",
            ));
        }
        Some((_, order)) if order.status == Status::Filled => {
            return Err(refuse(
                51510,
                "Modification failed as the order has been completed.",
            ));
        }
        Some((_, order)) if !order.status.open() => {
            return Err(refuse(
                51509,
                "Modification failed as the order has been canceled.",
            ));
        }
        Some((market, order)) => (market, order.id),
    };
    let (price, size) = (decimal(fields, "newPx"), decimal(fields, "newSz"));
    if price.is_none() && size.is_none() {
        return Err(spot_refusal(Why::Same));
    }
    let done = spot::amend(&mut venue.exchange, account, market, id, price, size, None);
    if done.is_err() && flag(fields, "cxlOnFail") {
        let _ = venue.exchange.cancel(account, market, Some(id), None, None);
    }
    done.map_err(spot_refusal)?;
    let mut told = named(venue, market, id);
    told["reqId"] = json!(text(fields, "reqId").unwrap_or(""));
    Ok(told)
}

fn place_algo(venue: &mut Venue, account: usize, fields: &Fields) -> One {
    let (market, mut order) = spot_order(venue, fields, true)?;
    let last = venue.exchange.markets[market].last;
    if fields.contains_key("closeFraction") || order.quantity == 0 {
        return Err(parameter("sz"));
    }
    if text(fields, "tgtCcy") == Some("quote_ccy") {
        return Err(parameter("tgtCcy"));
    }
    order.client_id = text(fields, "algoClOrdId").map(str::to_owned);
    order.take_profit = exit(fields, "tpTriggerPx", "tpOrdPx")?;
    order.stop_loss = exit(fields, "slTriggerPx", "slOrdPx")?;
    let sells = order.side == Side::Sell;
    if let Some(gain) = order.take_profit
        && (gain.trigger > last) != sells
    {
        let (code, msg) = if sells {
            (51279, "lower")
        } else {
            (51277, "higher")
        };
        return Err(refuse(
            code,
            format!("TP trigger price cannot be {msg} than the last price"),
        ));
    }
    if let Some(loss) = order.stop_loss
        && (loss.trigger < last) != sells
    {
        let (code, msg) = if sells {
            (51280, "higher")
        } else {
            (51278, "lower")
        };
        return Err(refuse(
            code,
            format!("SL trigger price cannot be {msg} than the last price"),
        ));
    }
    let kind = text(fields, "ordType").unwrap_or("");
    let id = match (kind, order.take_profit, order.stop_loss) {
        ("oco", Some(_), Some(_)) => {
            PAIR + spot::place_pair(&mut venue.exchange, account, market, &order)
                .map_err(spot_refusal)?
        }
        ("conditional", Some(one), None) | ("conditional", None, Some(one)) => {
            let one = Spot {
                trigger: Some(one.trigger),
                price: one.price,
                take_profit: None,
                stop_loss: None,
                ..order
            };
            let id =
                spot::place(&mut venue.exchange, account, market, one).map_err(spot_refusal)?;
            spot::number(market, id) + ALGO
        }
        ("trigger", None, None) => {
            let at = decimal(fields, "triggerPx").ok_or_else(|| parameter("triggerPx"))?;
            let price = match text(fields, "orderPx") {
                Some("-1") => None,
                _ => Some(decimal(fields, "orderPx").ok_or_else(|| parameter("orderPx"))?),
            };
            let one = Spot {
                trigger: Some(at),
                price,
                ..order
            };
            let id =
                spot::place(&mut venue.exchange, account, market, one).map_err(spot_refusal)?;
            spot::number(market, id) + ALGO
        }
        _ => return Err(parameter("ordType")),
    };
    Ok(json!({"algoId": id.to_string()}))
}

fn cancel_algo(venue: &mut Venue, account: usize, fields: &Fields) -> One {
    let market = market(venue, fields)?;
    let unknown = || spot_refusal(Why::Unknown);
    let exchange = &venue.exchange;
    let order = match (text(fields, "algoId"), text(fields, "algoClOrdId")) {
        (Some(id), _) => {
            let number: u64 = id.parse().map_err(|_| unknown())?;
            match number
                .checked_sub(ALGO)
                .and_then(|n| spot::of_number(exchange, &n.to_string()))
            {
                Some((at, id)) if at == market => Some(id),
                _ => number
                    .checked_sub(PAIR)
                    .and_then(|list| exchange.lists.get(&list))
                    .filter(|l| l.account == account && l.market == market && l.open)
                    .and_then(|l| l.orders.first().copied()),
            }
        }
        (None, Some(client)) => exchange
            .find(account, market, None, Some(client))
            .map(|o| o.id)
            .or_else(|| {
                let mut lists = exchange.accounts[account]
                    .open_lists
                    .iter()
                    .filter_map(|l| exchange.lists.get(l));
                lists
                    .find(|l| l.client_id == client)
                    .and_then(|l| l.orders.first().copied())
            }),
        (None, None) => {
            return Err(refuse(
                51407,
                "Either order ID or client order ID is required.",
            ));
        }
    };
    let id = order
        .and_then(|id| exchange.find(account, market, Some(id), None))
        .filter(|o| hidden(o))
        .map(|o| o.id)
        .ok_or_else(unknown)?;
    venue
        .exchange
        .cancel(account, market, Some(id), None, None)
        .map_err(|_| unknown())?;
    Ok(json!({"algoId": text(fields, "algoId").unwrap_or("")}))
}

fn dead_man(venue: &mut Venue, account: usize, asked: &Asked<'_>) -> Done {
    let seconds = asked.int("timeOut").unwrap_or(0);
    if seconds != 0 && !(10..=120).contains(&seconds) {
        return Err(parameter("timeOut"));
    }
    let at = asked.now + seconds * 1000;
    if seconds == 0 {
        venue.v5.deadlines.remove(&account);
    } else {
        venue.v5.deadlines.insert(account, at);
    }
    let trigger = if seconds == 0 {
        "0".to_owned()
    } else {
        at.to_string()
    };
    Ok(vec![
        json!({"triggerTime": trigger, "tag": asked.text("tag").unwrap_or(""), "ts": asked.now.to_string()}),
    ])
}

pub(super) fn state(order: &Order) -> &'static str {
    match order.status {
        Status::New | Status::PendingNew => "live",
        Status::PartiallyFilled => "partially_filled",
        Status::Filled => "filled",
        _ => "canceled",
    }
}

fn order(venue: &Venue, account: usize, asked: &Asked<'_>) -> Done {
    if let Some(at) = contracts::of(venue, asked.text("instId").unwrap_or("")) {
        let found = contracts::find(venue, account, at, &asked.fields)?;
        let found = found.map(|order| vec![contracts::shown_order(venue, at, order)]);
        return found.ok_or_else(|| refuse(51603, "Order does not exist"));
    }
    match find(venue, account, &asked.fields)? {
        Some((market, order)) => Ok(vec![shown_order(venue, market, order)]),
        None => Err(refuse(51603, "Order does not exist")),
    }
}

/// The part of a list, newest first, that `after`, `before` and `limit` leave: ids before the one, behind the other.
fn page(asked: &Asked<'_>, all: Vec<(u64, Value)>) -> Done {
    let limit = asked.limit("limit", 100, 100)?;
    let bound = |name: &str| match asked.text(name) {
        None => Ok(None),
        Some(text) => text.parse::<u64>().map(Some).map_err(|_| parameter(name)),
    };
    let (after, before) = (bound("after")?, bound("before")?);
    Ok(all
        .into_iter()
        .filter(|(id, _)| after.is_none_or(|a| *id < a) && before.is_none_or(|b| *id > b))
        .take(limit)
        .map(|(_, value)| value)
        .collect())
}

fn orders(venue: &Venue, account: usize, asked: &Asked<'_>, open: bool) -> Done {
    let only = asked.text("instId");
    let kinds = asked.text("ordType");
    let spot_type = matches!(asked.text("instType"), None | Some("SPOT"));
    let mut all: Vec<(u64, u64, Value)> = Vec::new();
    for (index, at) in venue
        .exchange
        .markets
        .iter()
        .enumerate()
        .filter(|_| spot_type)
    {
        for order in venue.exchange.accounts[account].orders[index]
            .iter()
            .filter_map(|id| at.book.orders.get(id))
        {
            let kind = kind(order);
            if only.is_none_or(|n| n == at.symbol.name)
                && order.status.open() == open
                && (!hidden(order) || order.expiry == Some("WOULD_TAKE"))
                && kinds.is_none_or(|k| k.split(',').any(|one| one == kind))
                && asked.text("state").is_none_or(|s| s == state(order))
            {
                all.push((
                    order.time,
                    spot::number(index, order.id),
                    shown_order(venue, index, order),
                ));
            }
        }
    }
    if matches!(asked.text("instType"), None | Some("SWAP")) {
        for (time, id, kind, value) in contracts::orders(venue, account, open) {
            if only.is_none_or(|n| value["instId"] == n)
                && kinds.is_none_or(|k| k.split(',').any(|one| one == kind))
                && asked.text("state").is_none_or(|s| value["state"] == s)
            {
                all.push((time, id, value));
            }
        }
    }
    all.sort_by_key(|(time, id, _)| std::cmp::Reverse((*time, *id)));
    page(
        asked,
        all.into_iter().map(|(_, id, value)| (id, value)).collect(),
    )
}

fn kind(order: &Order) -> &'static str {
    match (order.kind, order.life) {
        (kind, _) if kind.at_market() => "market",
        (Type::LimitMaker, _) => "post_only",
        (_, Life::Ioc) => "ioc",
        (_, Life::Fok) => "fok",
        _ => "limit",
    }
}

pub(super) fn average(value: D, quantity: D) -> String {
    if quantity == 0 {
        String::new()
    } else {
        shown(div(value, quantity))
    }
}

pub(super) fn shown_order(venue: &Venue, market: usize, order: &Order) -> Value {
    let at = &venue.exchange.markets[market];
    let trades = &venue.exchange.accounts[order.account].trades[market];
    let mine: Vec<_> = trades.iter().filter(|t| t.order == order.id).collect();
    let fee: D = mine.iter().map(|t| t.commission).sum();
    let last = mine.last();
    let bought = order.side == Side::Buy;
    let coin = if bought {
        &at.symbol.base
    } else {
        &at.symbol.quote
    };
    let by_value = order.quote_quantity > 0;
    json!({
        "instType": "SPOT", "instId": at.symbol.name, "ccy": "", "ordId": spot::number(market, order.id).to_string(), "clOrdId": client(order), "tag": "",
        "px": if order.price > 0 { shown(order.price) } else { String::new() }, "pxUsd": "", "pxVol": "", "pxType": "",
        "sz": shown(if by_value { order.quote_quantity } else { order.quantity }), "pnl": "0", "ordType": kind(order),
        "side": if bought { "buy" } else { "sell" }, "posSide": "net", "tdMode": "cash", "accFillSz": shown(order.executed),
        "fillPx": last.map_or(String::new(), |t| shown(t.price)), "tradeId": last.map_or(String::new(), |t| t.id.to_string()),
        "fillSz": shown(last.map_or(0, |t| t.quantity)), "fillTime": last.map_or(String::new(), |t| t.time.to_string()),
        "avgPx": average(order.quote_executed, order.executed), "state": state(order), "stpId": "", "stpMode": "cancel_maker", "lever": "",
        "attachAlgoClOrdId": "", "attachAlgoOrds": [], "linkedAlgoOrd": {"algoId": ""}, "tpTriggerPx": "", "tpTriggerPxType": "", "tpOrdPx": "",
        "slTriggerPx": "", "slTriggerPxType": "", "slOrdPx": "", "feeCcy": coin, "fee": if fee > 0 { format!("-{}", shown(fee)) } else { "0".to_owned() },
        "rebateCcy": if bought { &at.symbol.quote } else { &at.symbol.base }, "rebate": "0", "tgtCcy": if by_value { "quote_ccy" } else if order.kind.at_market() { "base_ccy" } else { "" },
        "source": "", "category": "normal", "reduceOnly": "false", "isTpLimit": "false",
        "cancelSource": match (order.status, order.expiry) { (Status::Canceled, Some("WOULD_TAKE")) => "31", (Status::Canceled, _) => "1", (Status::Expired, _) => "14", (Status::ExpiredInMatch, _) => "32", _ => "" },
        "cancelSourceReason": "", "quickMgnType": "", "algoClOrdId": "", "algoId": "", "cTime": order.time.to_string(), "uTime": order.updated.to_string(),
        "tradeQuoteCcy": at.symbol.quote,
    })
}

fn fills(venue: &Venue, account: usize, asked: &Asked<'_>) -> Done {
    let only = asked.text("instId");
    let wanted = asked
        .text("ordId")
        .map(|id| spot::of_number(&venue.exchange, id));
    let spot_type = matches!(asked.text("instType"), None | Some("SPOT"));
    let time = |name: &str| asked.text(name).and_then(|t| t.parse::<u64>().ok());
    let (begin, end) = (time("begin").unwrap_or(0), time("end").unwrap_or(u64::MAX));
    let mut all = Vec::new();
    for (index, at) in venue
        .exchange
        .markets
        .iter()
        .enumerate()
        .filter(|_| spot_type)
    {
        for trade in &venue.exchange.accounts[account].trades[index] {
            if only.is_some_and(|n| n != at.symbol.name)
                || wanted.is_some_and(|w| w != Some((index, trade.order)))
                || !(begin..=end).contains(&trade.time)
            {
                continue;
            }
            let order = at.book.orders.get(&trade.order);
            let bill = spot::number(index, trade.id);
            all.push((trade.time, bill, json!({
                "instType": "SPOT", "instId": at.symbol.name, "tradeId": trade.id.to_string(), "ordId": spot::number(index, trade.order).to_string(),
                "clOrdId": order.map_or("", client), "billId": bill.to_string(), "subType": if trade.buyer { "1" } else { "2" }, "tag": "",
                "fillPx": shown(trade.price), "fillSz": shown(trade.quantity), "fillIdxPx": shown(trade.price), "fillPnl": "0", "fillPxVol": "",
                "fillPxUsd": "", "fillMarkVol": "", "fillFwdPx": "", "fillMarkPx": "", "side": if trade.buyer { "buy" } else { "sell" }, "posSide": "net",
                "execType": if trade.maker { "M" } else { "T" }, "feeCcy": venue.exchange.assets[trade.commission_asset],
                "fee": format!("-{}", shown(trade.commission)), "ts": trade.time.to_string(), "fillTime": trade.time.to_string(), "feeRate": "-0.001",
                "tradeQuoteCcy": at.symbol.quote,
            })));
        }
    }
    if matches!(asked.text("instType"), None | Some("SWAP")) {
        for (time, id, value) in contracts::fills(venue, account, asked.text("ordId")) {
            if only.is_none_or(|n| value["instId"] == n) && (begin..=end).contains(&time) {
                all.push((time, id, value));
            }
        }
    }
    all.sort_by_key(|(time, id, _)| std::cmp::Reverse((*time, *id)));
    page(
        asked,
        all.into_iter().map(|(_, id, value)| (id, value)).collect(),
    )
}

/// What became of a conditional order that waits no more.
pub(super) fn end_of_algo(venue: &Venue, account: usize, told: &Value) -> &'static str {
    let number: u64 = told["algoId"]
        .as_str()
        .and_then(|t| t.parse().ok())
        .unwrap_or(0);
    let exchange = &venue.exchange;
    let of_list = |list: &u64| {
        exchange
            .lists
            .get(list)
            .map(|l| (l.market, l.orders.clone()))
    };
    let single = number
        .checked_sub(ALGO)
        .and_then(|n| spot::of_number(exchange, &n.to_string()));
    let orders = match single {
        Some((market, id)) => Some((market, vec![id])),
        None => number.checked_sub(PAIR).as_ref().and_then(of_list),
    };
    let worked = orders.is_some_and(|(market, ids)| {
        let found = ids
            .iter()
            .filter_map(|id| exchange.find(account, market, Some(*id), None));
        found.into_iter().any(|order| order.working_time.is_some())
    });
    if worked { "effective" } else { "canceled" }
}

/// Conditional orders that wait: single ones, and pairs.
pub(super) fn algos(venue: &Venue, account: usize, asked: &Asked<'_>) -> Done {
    let kinds: Vec<&str> = asked.text("ordType").unwrap_or("").split(',').collect();
    let only = asked.text("instId");
    let mut all: Vec<(u64, Value)> = Vec::new();
    for (index, at) in venue.exchange.markets.iter().enumerate() {
        let mut pairs = Vec::new();
        for order in venue.exchange.accounts[account].open[index]
            .iter()
            .filter_map(|id| at.book.orders.get(id))
        {
            if !hidden(order)
                || order.status == Status::PendingNew
                || only.is_some_and(|n| n != at.symbol.name)
            {
                continue;
            }
            let pair = order
                .list
                .and_then(|l| venue.exchange.lists.get(&l))
                .filter(|l| l.pair.is_some());
            let (id, kind, orders) = match pair {
                Some(list) if pairs.contains(&list.id) => continue,
                Some(list) => {
                    pairs.push(list.id);
                    let orders: Vec<&Order> = list
                        .orders
                        .iter()
                        .filter_map(|id| at.book.orders.get(id))
                        .collect();
                    (PAIR + list.id, "oco", orders)
                }
                None => (
                    ALGO + spot::number(index, order.id),
                    "conditional",
                    vec![order],
                ),
            };
            let client_id = pair.map_or_else(|| client(order), |l| l.client_id.as_str());
            let wanted =
                kinds.contains(&kind) || kind == "conditional" && kinds.contains(&"trigger");
            if !wanted
                || asked.text("algoId").is_some_and(|a| a != id.to_string())
                || asked.text("algoClOrdId").is_some_and(|c| c != client_id)
            {
                continue;
            }
            let of = |gain: bool| {
                orders
                    .iter()
                    .copied()
                    .find(|o| matches!(o.kind, Type::TakeProfit | Type::TakeProfitLimit) == gain)
            };
            let trigger =
                |o: Option<&Order>| o.and_then(|o| o.stop_price).map_or(String::new(), shown);
            let own = |o: Option<&Order>| {
                o.map_or(String::new(), |o| {
                    if o.kind.at_market() {
                        "-1".to_owned()
                    } else {
                        shown(o.price)
                    }
                })
            };
            all.push((id, json!({
                "instType": "SPOT", "instId": at.symbol.name, "ccy": "", "ordId": "", "ordIdList": [], "algoId": id.to_string(), "algoClOrdId": if client_id.starts_with("sim0") { "" } else { client_id },
                "clOrdId": "", "sz": shown(order.quantity), "closeFraction": "", "ordType": kind, "side": if order.side == Side::Buy { "buy" } else { "sell" },
                "posSide": "net", "tdMode": "cash", "tgtCcy": "", "state": "live", "lever": "", "tpTriggerPx": trigger(of(true)), "tpTriggerPxType": "last",
                "tpOrdPx": own(of(true)), "slTriggerPx": trigger(of(false)), "slTriggerPxType": "last", "slOrdPx": own(of(false)), "triggerPx": "",
                "triggerPxType": "", "ordPx": "", "actualSz": "", "actualPx": "", "actualSide": "", "triggerTime": "", "tag": "", "reduceOnly": "false",
                "cTime": order.time.to_string(), "uTime": order.updated.to_string(), "failCode": "",
            })));
        }
    }
    all.sort_by_key(|(id, _)| std::cmp::Reverse(*id));
    page(asked, all)
}
