//! Orders and fills.

use super::{
    Asked, Done, decimal, flag, no_order, no_symbol, parameter, refuse, shown, spot_refusal, text,
};
use crate::book::{Life, Order, Side, Status, Type};
use crate::decimal::{D, mul};
use crate::refusal::Refusal;
use crate::v5::spot::{self, Spot};
use crate::v5::table::{Call, Fields};
use crate::venue::Venue;
use serde_json::{Value, json};

/// How object ids of orders begin: a time.
const OBJECT: &str = "670fd33b";

/// An order's id at the venue.
fn object_id(market: usize, id: u64) -> String {
    format!("{OBJECT}{:016x}", spot::number(market, id))
}

pub(super) fn answer(venue: &mut Venue, call: &Call, asked: &Asked<'_>) -> Done {
    let account = asked.account()?;
    let fields = &asked.fields;
    match (call.method, call.path) {
        ("POST", "/api/v1/hf/orders") => {
            place(venue, account, fields).map(|at| named(venue, account, at))
        }
        ("POST", "/api/v1/hf/orders/sync") => {
            let at = place(venue, account, fields)?;
            Ok(outcome(venue, account, at))
        }
        ("POST", "/api/v1/hf/orders/test") => {
            order_of(venue, fields)?;
            Ok(json!({"orderId": object_id(0, 0), "clientOid": text(fields, "clientOid")}))
        }
        ("POST", "/api/v1/hf/orders/multi") => {
            let all = fields.get("orderList").and_then(Value::as_array).cloned();
            let orders = all.unwrap_or_default();
            let each = orders.iter().filter_map(Value::as_object).map(|one| {
                match place(venue, account, one) {
                    Ok(at) => {
                        let mut told = named(venue, account, at);
                        told["success"] = json!(true);
                        told
                    }
                    Err(no) => json!({"success": false, "failMsg": no.msg}),
                }
            });
            Ok(each.collect())
        }
        ("DELETE", "/api/v1/hf/orders") => {
            let market = market(venue, fields)?;
            spot::cancel_all(&mut venue.exchange, account, |_| true, Some(market));
            Ok(json!("success"))
        }
        ("DELETE", "/api/v1/hf/orders/cancelAll") => {
            let gone = spot::cancel_all(&mut venue.exchange, account, |_| true, None);
            let mut names: Vec<&str> = Vec::new();
            for (market, _) in gone {
                let name = &*venue.exchange.markets[market].symbol.name;
                if !names.contains(&name) {
                    names.push(name);
                }
            }
            Ok(json!({"succeedSymbols": names, "failedSymbols": []}))
        }
        ("DELETE", path) => {
            let at = match find(venue, account, fields)? {
                Some((market, order)) if order.status.open() => (market, order.id),
                _ => return Err(no_order()),
            };
            let cancelled = venue.exchange.cancel(account, at.0, Some(at.1), None, None);
            cancelled.map_err(|_| no_order())?;
            Ok(match path.contains("/sync/") {
                true => outcome(venue, account, at),
                false => named(venue, account, at),
            })
        }
        (_, "/api/v1/hf/orders/active") => {
            let market = market(venue, fields)?;
            let open = &venue.exchange.accounts[account].open[market];
            let orders = open
                .iter()
                .filter_map(|id| venue.exchange.find(account, market, Some(*id), None));
            Ok(orders.map(|o| shown_order(venue, market, o)).collect())
        }
        (_, "/api/v1/hf/fills") => fills(venue, account, asked),
        ("GET", _) => Ok(match find(venue, account, fields)? {
            Some((market, order)) => shown_order(venue, market, order),
            None => Value::Null,
        }),
        _ => Err(refuse(500_000, "Internal Server Error")),
    }
}

fn market(venue: &Venue, fields: &Fields) -> Result<usize, Refusal> {
    let name = text(fields, "symbol").unwrap_or("");
    venue.exchange.market(name).map_err(|_| no_symbol())
}

/// An order as its fields say it, whole.
fn order_of(venue: &Venue, fields: &Fields) -> Result<(usize, Spot), Refusal> {
    let market = market(venue, fields)?;
    let at_market = text(fields, "type") == Some("market");
    let (size, funds) = (decimal(fields, "size"), decimal(fields, "funds"));
    let life = text(fields, "timeInForce").unwrap_or("GTC");
    let price = decimal(fields, "price");
    let wants = |is: bool, name: &str| if is { Ok(()) } else { Err(parameter(name)) };
    if at_market {
        wants(price.is_none(), "price")?;
        wants(size.is_some() != funds.is_some(), "size")?;
    } else {
        wants(price.is_some(), "price")?;
        wants(size.is_some() && funds.is_none(), "size")?;
        wants(
            (life == "GTT") == fields.contains_key("cancelAfter"),
            "cancelAfter",
        )?;
        wants(
            flag(fields, "iceberg") == fields.contains_key("visibleSize"),
            "visibleSize",
        )?;
        let rests = !matches!(life, "IOC" | "FOK");
        wants(rests || !flag(fields, "postOnly"), "postOnly")?;
    }
    let order = Spot {
        side: match text(fields, "side") {
            Some("buy") => Side::Buy,
            _ => Side::Sell,
        },
        price,
        quantity: size.or(funds).unwrap_or(0),
        by_value: funds.is_some(),
        life: match life {
            "IOC" => Life::Ioc,
            "FOK" => Life::Fok,
            _ => Life::Gtc,
        },
        post_only: flag(fields, "postOnly"),
        trigger: None,
        client_id: text(fields, "clientOid").map(str::to_owned),
        stp: match text(fields, "stp") {
            Some("CN") => Some("EXPIRE_TAKER"),
            Some("CO") => Some("EXPIRE_MAKER"),
            Some("CB") => Some("EXPIRE_BOTH"),
            _ => None,
        },
        take_profit: None,
        stop_loss: None,
    };
    Ok((market, order))
}

fn place(venue: &mut Venue, account: usize, fields: &Fields) -> Result<(usize, u64), Refusal> {
    let (market, order) = order_of(venue, fields)?;
    let id = spot::place(&mut venue.exchange, account, market, order).map_err(spot_refusal)?;
    Ok((market, id))
}

fn named(venue: &Venue, account: usize, (market, id): (usize, u64)) -> Value {
    let order = venue.exchange.find(account, market, Some(id), None);
    json!({"orderId": object_id(market, id), "clientOid": order.map_or("", client)})
}

/// What became of an order, in an answer that waited for it.
fn outcome(venue: &Venue, account: usize, (market, id): (usize, u64)) -> Value {
    let mut told = named(venue, account, (market, id));
    if let Some(order) = venue.exchange.find(account, market, Some(id), None) {
        told["orderTime"] = json!(order.time);
        told["originSize"] = json!(shown(order.quantity));
        told["dealSize"] = json!(shown(order.executed));
        told["remainSize"] = json!(shown(remaining(order)));
        told["canceledSize"] = json!(shown(cancelled(order)));
        told["status"] = json!(if order.status.open() { "open" } else { "done" });
        told["matchTime"] = json!(order.updated);
    }
    told
}

fn remaining(order: &Order) -> D {
    match order.status.open() {
        true => order.quantity - order.executed,
        false => 0,
    }
}

fn cancelled(order: &Order) -> D {
    match order.status.open() || order.status == Status::Filled {
        true => 0,
        false => order.quantity - order.executed,
    }
}

/// The client's id; those that the core makes up are none.
fn client(order: &Order) -> &str {
    match order.client_id.starts_with("sim0") {
        true => "",
        false => &order.client_id,
    }
}

/// Market and number of an object id.
fn of_object(venue: &Venue, id: &str) -> Option<(usize, u64)> {
    let digits = id.strip_prefix(OBJECT).filter(|d| d.len() == 16)?;
    let number = u64::from_str_radix(digits, 16).ok()?;
    spot::of_number(&venue.exchange, &number.to_string())
}

fn find<'a>(
    venue: &'a Venue,
    account: usize,
    fields: &Fields,
) -> Result<Option<(usize, &'a Order)>, Refusal> {
    let market = market(venue, fields)?;
    let found = match (text(fields, "orderId"), text(fields, "clientOid")) {
        (Some(id), _) => of_object(venue, id)
            .filter(|(at, _)| *at == market)
            .and_then(|(_, id)| venue.exchange.find(account, market, Some(id), None)),
        (None, Some(client)) => venue.exchange.find(account, market, None, Some(client)),
        (None, None) => None,
    };
    Ok(found.map(|order| (market, order)))
}

fn shown_order(venue: &Venue, market: usize, order: &Order) -> Value {
    let at = &venue.exchange.markets[market];
    let open = order.status.open();
    let by_value = order.quote_quantity > 0;
    json!({
        "id": object_id(market, order.id), "clientOid": client(order), "symbol": at.symbol.name, "opType": "DEAL",
        "type": if order.kind.at_market() { "market" } else { "limit" }, "side": if order.side == Side::Buy { "buy" } else { "sell" },
        "price": shown(order.price), "size": if by_value { "0".to_owned() } else { shown(order.quantity) },
        "funds": shown(order.quote_quantity), "dealSize": shown(order.executed), "dealFunds": shown(order.quote_executed),
        "remainSize": shown(remaining(order)), "remainFunds": "0", "cancelledSize": shown(cancelled(order)), "cancelledFunds": "0",
        "fee": "0", "feeCurrency": at.symbol.quote, "stp": null,
        "timeInForce": match order.life { Life::Ioc => "IOC", Life::Fok => "FOK", _ => "GTC" },
        "postOnly": order.kind == Type::LimitMaker, "hidden": false, "iceberg": false, "visibleSize": "0", "cancelAfter": 0, "channel": "API",
        "remark": null, "tags": null, "cancelExist": !open && order.status != Status::Filled, "tradeType": "TRADE", "inOrderBook": open,
        "active": open, "tax": "0", "createdAt": order.time, "lastUpdatedAt": order.updated,
    })
}

fn fills(venue: &Venue, account: usize, asked: &Asked<'_>) -> Done {
    let market = market(venue, &asked.fields)?;
    let only = asked.text("orderId").map(|id| of_object(venue, id));
    let at = &venue.exchange.markets[market];
    let (from, to) = (
        asked.int("startAt").unwrap_or(0),
        asked.int("endAt").unwrap_or(u64::MAX),
    );
    let limit = match asked.int("limit") {
        None => 20,
        Some(limit @ 1..=100) => usize::try_from(limit).unwrap_or(100),
        Some(_) => return Err(parameter("limit")),
    };
    let trades = venue.exchange.accounts[account].trades[market].iter().rev();
    let all: Vec<Value> = trades
        .filter(|t| only.is_none_or(|only| only == Some((market, t.order))))
        .filter(|t| (from..=to).contains(&t.time))
        .filter(|t| asked.int("lastId").is_none_or(|last| t.id < last))
        .take(limit)
        .map(|t| {
            json!({
                "id": t.id, "tradeId": t.id, "orderId": object_id(market, t.order), "symbol": at.symbol.name,
                "side": if t.buyer { "buy" } else { "sell" }, "liquidity": if t.maker { "maker" } else { "taker" },
                "type": "limit", "forceTaker": !t.maker, "price": shown(t.price), "size": shown(t.quantity), "funds": shown(mul(t.price, t.quantity)),
                "fee": shown(t.commission), "feeRate": "0.001", "feeCurrency": venue.exchange.assets[t.commission_asset], "stop": "",
                "tradeType": "TRADE", "taxRate": "0", "tax": "0", "createdAt": t.time,
            })
        })
        .collect();
    let last = all.last().map_or(Value::Null, |one| one["id"].clone());
    Ok(json!({"items": all, "lastId": last}))
}
