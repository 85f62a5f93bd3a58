//! An order as the venue would understand it: which fields each type must have and may not. Rules are those of the
//! documents' Add Order. What the venue would refuse, or might quietly leave out, is refused here.

use crate::actions::Named;
use crate::catalog::Attribute as A;
use crate::error::DecodeError;
use crate::order_fields::{Fields, missing, not_with, one_of};
use portcullis_model::action::{MarketKind, Order, OrderType, Side, Symbol, TimeInForce};
use portcullis_model::number::{Amount, Price, Quantity};

/// Fields of limit orders alone.
const OF_LIMIT: [&str; 7] = [
    "price",
    "timeInForce",
    "postOnly",
    "hidden",
    "iceberg",
    "visibleSize",
    "cancelAfter",
];

pub(super) fn order(
    named: &[Named<'_>],
    market: MarketKind,
    symbol: Symbol,
) -> Result<Order, DecodeError> {
    let fields = Fields(named);
    let side = match fields.word(A::Side) {
        Some("buy") => Side::Buy,
        Some("sell") => Side::Sell,
        _ => return Err(missing("side")),
    };
    let (order_type, time_in_force) = match fields.word(A::Type) {
        Some("market") => (OrderType::Market, None),
        Some("limit") => limit(fields)?,
        _ => return Err(missing("type")),
    };
    let size = fields.units(A::Quantity);
    let funds = fields.units(A::QuoteQuantity);
    if order_type == OrderType::Market {
        if let Some(name) = OF_LIMIT.into_iter().find(|name| fields.is_named(name)) {
            return Err(not_with(name, "`market`"));
        }
        match (size, funds) {
            (Some(_), Some(_)) => return Err(not_with("funds", "`size`")),
            (None, None) => return Err(one_of("`size`, `funds`")),
            _ => {}
        }
    } else {
        if funds.is_some() {
            return Err(not_with("funds", "`limit`"));
        }
        for (name, value) in [("price", fields.units(A::Price)), ("size", size)] {
            if value.is_none() {
                return Err(missing(name));
            }
        }
    }
    Ok(Order {
        market,
        symbol,
        side,
        order_type,
        time_in_force,
        quantity: size.map(Quantity),
        quote_quantity: funds.map(Amount),
        price: fields.units(A::Price).map(Price),
        stop_price: None,
        trailing_delta: None,
        iceberg_quantity: fields.units(A::Iceberg).map(Quantity),
        client_order_id: fields.text(A::ClientId),
        list_client_order_id: None,
        leg: None,
        reduce_only: false,
        borrows: false,
        pegged: false,
        replaces: false,
        position_side: None,
        close_position: false,
        algo: false,
    })
}

fn limit(fields: Fields<'_>) -> Result<(OrderType, Option<TimeInForce>), DecodeError> {
    let post_only = fields.is_true("postOnly");
    let word = fields.word(A::TimeInForce).unwrap_or("GTC");
    let time_in_force = match word {
        "IOC" => TimeInForce::Ioc,
        "FOK" => TimeInForce::Fok,
        // Ends by itself after `cancelAfter` seconds: until then it stands.
        _ => TimeInForce::Gtc,
    };
    // The venue would leave these out.
    if (word == "GTT") != fields.is_named("cancelAfter") {
        return Err(match word {
            "GTT" => missing("cancelAfter"),
            _ => not_with("cancelAfter", format!("`{word}`")),
        });
    }
    if post_only && time_in_force != TimeInForce::Gtc {
        return Err(not_with("postOnly", format!("`{word}`")));
    }
    let (hidden, iceberg) = (fields.is_true("hidden"), fields.is_true("iceberg"));
    if hidden && iceberg {
        return Err(not_with("hidden", "`iceberg`"));
    }
    if iceberg != fields.is_named("visibleSize") {
        return Err(match iceberg {
            true => missing("visibleSize"),
            false => not_with("visibleSize", "an order that is no iceberg"),
        });
    }
    Ok(match post_only {
        true => (OrderType::LimitMaker, None),
        false => (OrderType::Limit, Some(time_in_force)),
    })
}
