//! User data streams: what has happened to an account's orders since they were looked at last, as the venue's events.

use crate::answers::list_number;
use crate::book::{Order, Status};
use crate::decimal::{D, mul, text};
use crate::exchange::{Exchange, MyTrade};
use serde_json::{Value, json};
use std::collections::HashMap;

/// An account that somebody watches.
#[derive(Debug)]
pub struct Watch {
    account: usize,
    /// Status and filled quantity of each order, by market and number, as they were told.
    told: HashMap<(usize, u64), (Status, D)>,
    /// The number of the next trade, by market.
    next_trade: Vec<u64>,
}

impl Watch {
    /// From now on.
    #[must_use]
    pub fn new(exchange: &Exchange, account: usize) -> Self {
        let mut watch = Self {
            account,
            told: HashMap::new(),
            next_trade: vec![0; exchange.markets.len()],
        };
        let _ = watch.events(exchange);
        watch
    }

    /// What happened since the last look, in order for each order.
    pub fn events(&mut self, exchange: &Exchange) -> Vec<Value> {
        let mut events = Vec::new();
        let Some(account) = exchange.accounts.get(self.account) else {
            return events;
        };
        let markets = exchange
            .markets
            .iter()
            .zip(&account.orders)
            .zip(&account.trades);
        for (at, ((market, numbers), trades)) in markets.enumerate() {
            let Some(next) = self.next_trade.get_mut(at) else {
                continue;
            };
            for number in numbers {
                let Some(order) = market.book.orders.get(number) else {
                    continue;
                };
                let now = (order.status, order.executed);
                let before = self.told.insert((at, *number), now);
                if before == Some(now) {
                    continue;
                }
                let new = || {
                    trades
                        .iter()
                        .filter(|it| it.id >= *next && it.order == *number)
                };
                let value: D = new().map(|it| mul(it.price, it.quantity)).sum();
                let mut quote = order.quote_executed - value;
                let tell = |execution, status: &str, filled, trade: Option<&MyTrade>| {
                    let asset = |of: &MyTrade| exchange.assets.get(of.commission_asset).cloned();
                    event(
                        exchange.now,
                        &market.symbol.name,
                        order,
                        execution,
                        status,
                        filled,
                        trade.map(|it| (it, asset(it).unwrap_or_default())),
                    )
                };
                if before.is_none() && order.status != Status::Rejected {
                    events.push(tell("NEW", "NEW", (0, 0), None));
                }
                let mut executed = before.map_or(0, |(_, executed)| executed);
                for trade in new() {
                    executed += trade.quantity;
                    quote += mul(trade.price, trade.quantity);
                    let status = match executed >= order.quantity {
                        true => "FILLED",
                        false => "PARTIALLY_FILLED",
                    };
                    events.push(tell("TRADE", status, (executed, quote), Some(trade)));
                }
                if !order.status.open() && order.status != Status::Filled {
                    let word = order.status.word();
                    let filled = (order.executed, order.quote_executed);
                    events.push(tell(word, word, filled, None));
                }
            }
            *next = trades
                .iter()
                .map(|it| it.id + 1)
                .max()
                .unwrap_or(0)
                .max(*next);
        }
        events
    }
}

fn event(
    now: u64,
    symbol: &str,
    order: &Order,
    execution: &str,
    status: &str,
    (executed, quote): (D, D),
    trade: Option<(&MyTrade, String)>,
) -> Value {
    let original = match execution {
        "CANCELED" => order.client_id.as_str(),
        _ => "",
    };
    let (price, quantity, commission, asset, number, is_maker) = match &trade {
        Some((trade, asset)) => (
            trade.price,
            trade.quantity,
            trade.commission,
            Value::from(asset.as_str()),
            i64::try_from(trade.id).unwrap_or(-1),
            trade.maker,
        ),
        None => (0, 0, 0, Value::Null, -1, false),
    };
    json!({
        "e": "executionReport", "E": now, "s": symbol, "c": order.client_id, "S": order.side.word(),
        "o": order.kind.word(), "f": order.life.word(), "q": text(order.quantity), "p": text(order.price),
        "P": text(order.stop_price.unwrap_or(0)), "F": text(order.iceberg.unwrap_or(0)), "g": list_number(order.list),
        "C": original, "x": execution, "X": status, "r": "NONE", "i": order.id, "l": text(quantity), "z": text(executed),
        "L": text(price), "n": text(commission), "N": asset, "T": order.updated, "t": number, "I": order.id,
        "w": order.status.open(), "m": is_maker, "M": false, "O": order.time, "Z": text(quote), "Y": text(mul(price, quantity)),
        "Q": text(order.quote_quantity), "V": order.stp,
    })
}
