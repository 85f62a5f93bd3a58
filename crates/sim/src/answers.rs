//! Orders, lists and trades in the venue's JSON.

use crate::book::{Order, Status, Type};
use crate::decimal::text;
use crate::exchange::{Exchange, List};
use serde_json::{Map, Value, json};

/// The number of a list, or -1.
#[must_use]
pub fn list_number(list: Option<u64>) -> i64 {
    list.and_then(|l| i64::try_from(l).ok()).unwrap_or(-1)
}

fn put(map: &mut Map<String, Value>, name: &str, value: impl Into<Value>) {
    map.insert(name.to_owned(), value.into());
}

fn price(order: &Order) -> String {
    text(order.price)
}

/// Fields that stand only where they say something.
fn conditional(order: &Order, map: &mut Map<String, Value>) {
    if order.kind.waits() {
        put(map, "stopPrice", text(order.stop_price.unwrap_or(0)));
    }
    if let Some(iceberg) = order.iceberg {
        put(map, "icebergQty", text(iceberg));
    }
    if let Some(id) = order.strategy_id {
        put(map, "strategyId", id);
    }
    if let Some(kind) = order.strategy_type {
        put(map, "strategyType", kind);
    }
    if let Some(trailing) = order.trailing {
        put(map, "trailingDelta", trailing);
        put(
            map,
            "trailingTime",
            order
                .trailing_time
                .and_then(|t| i64::try_from(t).ok())
                .unwrap_or(-1),
        );
    }
    if let Some(id) = order.prevented_match {
        put(map, "preventedMatchId", id);
        put(map, "preventedQuantity", text(order.prevented));
    }
    if order.sor {
        put(map, "usedSor", true);
        put(map, "workingFloor", "EXCHANGE");
    }
    if order.status == Status::Expired
        && let Some(why) = order.expiry
    {
        put(map, "expiryReason", why);
    }
}

/// The fields that most answers share.
fn body(order: &Order, symbol: &str) -> Map<String, Value> {
    let mut map = Map::new();
    put(&mut map, "symbol", symbol);
    put(&mut map, "orderId", order.id);
    put(&mut map, "orderListId", list_number(order.list));
    put(&mut map, "clientOrderId", order.client_id.as_str());
    put(&mut map, "price", price(order));
    put(&mut map, "origQty", text(order.quantity));
    put(&mut map, "executedQty", text(order.executed));
    put(&mut map, "origQuoteOrderQty", text(order.quote_quantity));
    put(&mut map, "cummulativeQuoteQty", text(order.quote_executed));
    put(&mut map, "status", order.status.word());
    put(&mut map, "timeInForce", order.life.word());
    put(&mut map, "type", order.kind.word());
    put(&mut map, "side", order.side.word());
    put(&mut map, "selfTradePreventionMode", order.stp);
    map
}

fn working_time(order: &Order) -> i64 {
    order
        .working_time
        .and_then(|t| i64::try_from(t).ok())
        .unwrap_or(-1)
}

/// The answer to a new order: `ACK`, `RESULT` or `FULL`.
#[must_use]
pub fn placed(order: &Order, symbol: &str, base_or_quote: (&str, &str), response: &str) -> Value {
    if response == "ACK" {
        return json!({
            "symbol": symbol, "orderId": order.id, "orderListId": list_number(order.list),
            "clientOrderId": order.client_id, "transactTime": order.updated,
        });
    }
    let mut map = body(order, symbol);
    put(&mut map, "transactTime", order.updated);
    put(&mut map, "workingTime", working_time(order));
    conditional(order, &mut map);
    if response == "FULL" {
        let asset = match order.side {
            crate::book::Side::Buy => base_or_quote.0,
            crate::book::Side::Sell => base_or_quote.1,
        };
        let fills: Vec<Value> = order
            .fills
            .iter()
            .map(|f| {
                json!({
                    "price": text(f.price), "qty": text(f.quantity), "commission": text(f.commission),
                    "commissionAsset": asset, "tradeId": f.trade,
                })
            })
            .collect();
        put(&mut map, "fills", fills);
    }
    Value::Object(map)
}

/// What the answer is where the order asks for none.
#[must_use]
pub fn default_response(kind: Type) -> &'static str {
    match kind {
        Type::Market | Type::Limit => "FULL",
        _ => "ACK",
    }
}

/// An order that was asked for.
#[must_use]
pub fn queried(order: &Order, symbol: &str) -> Value {
    let mut map = body(order, symbol);
    put(&mut map, "stopPrice", text(order.stop_price.unwrap_or(0)));
    put(&mut map, "icebergQty", text(order.iceberg.unwrap_or(0)));
    put(&mut map, "time", order.time);
    put(&mut map, "updateTime", order.updated);
    put(&mut map, "isWorking", order.working_time.is_some());
    put(&mut map, "workingTime", working_time(order));
    conditional(order, &mut map);
    Value::Object(map)
}

/// An order that was cancelled under the id `cancel`.
#[must_use]
pub fn cancelled(order: &Order, symbol: &str, cancel: &str) -> Value {
    let mut map = body(order, symbol);
    put(&mut map, "origClientOrderId", order.client_id.as_str());
    put(&mut map, "clientOrderId", cancel);
    put(&mut map, "transactTime", order.updated);
    conditional(order, &mut map);
    Value::Object(map)
}

/// A list without the reports of its orders.
#[must_use]
pub fn list(exchange: &Exchange, list: &List, name: &str) -> Map<String, Value> {
    let at = &exchange.markets[list.market];
    let symbol = at.symbol.name.as_str();
    let orders: Vec<Value> = list
        .orders
        .iter()
        .filter_map(|id| at.book.orders.get(id))
        .map(|o| json!({"symbol": symbol, "orderId": o.id, "clientOrderId": o.client_id}))
        .collect();
    let mut map = Map::new();
    put(&mut map, "orderListId", list.id);
    put(&mut map, "contingencyType", list.contingency);
    put(
        &mut map,
        "listStatusType",
        if list.open {
            "EXEC_STARTED"
        } else {
            "ALL_DONE"
        },
    );
    put(
        &mut map,
        "listOrderStatus",
        if list.open { "EXECUTING" } else { "ALL_DONE" },
    );
    put(&mut map, "listClientOrderId", list.client_id.as_str());
    put(&mut map, name, list.time);
    put(&mut map, "symbol", symbol);
    put(&mut map, "orders", orders);
    map
}
