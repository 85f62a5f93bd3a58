//! Which parameters an order of each type needs and which it may not have: what the venue refuses before it looks at a market.

use crate::refusal::Refusal;
use std::collections::BTreeMap;

type Params = BTreeMap<String, String>;

/// The names of one order's parameters in a request.
struct Names {
    time_in_force: String,
    quantity: String,
    price: String,
    stop_price: String,
    trailing: String,
    iceberg: String,
    strategy_type: String,
    peg: [String; 3],
}

impl Names {
    fn plain() -> Self {
        Self {
            time_in_force: "timeInForce".to_owned(),
            quantity: "quantity".to_owned(),
            price: "price".to_owned(),
            stop_price: "stopPrice".to_owned(),
            trailing: "trailingDelta".to_owned(),
            iceberg: "icebergQty".to_owned(),
            strategy_type: "strategyType".to_owned(),
            peg: [
                "pegPriceType".to_owned(),
                "pegOffsetType".to_owned(),
                "pegOffsetValue".to_owned(),
            ],
        }
    }

    fn leg(leg: &str, quantity: &str) -> Self {
        let name = |rest: &str| format!("{leg}{rest}");
        Self {
            time_in_force: name("TimeInForce"),
            quantity: quantity.to_owned(),
            price: name("Price"),
            stop_price: name("StopPrice"),
            trailing: name("TrailingDelta"),
            iceberg: name("IcebergQty"),
            strategy_type: name("StrategyType"),
            peg: [
                name("PegPriceType"),
                name("PegOffsetType"),
                name("PegOffsetValue"),
            ],
        }
    }
}

/// The rules of the call at `path`.
pub(crate) fn check(path: &str, params: &Params) -> Result<(), Refusal> {
    let text = |name: &str| params.get(name).map(String::as_str).unwrap_or("");
    let has = |name: &str| params.contains_key(name);
    match path {
        "/api/v3/order" | "/api/v3/order/test" | "/api/v3/order/cancelReplace" if has("type") => {
            order(params, text("type"), &Names::plain())?;
            if path.ends_with("cancelReplace")
                && !has("cancelOrderId")
                && !has("cancelOrigClientOrderId")
            {
                return Err(Refusal::either("cancelOrigClientOrderId", "cancelOrderId"));
            }
            Ok(())
        }
        "/api/v3/sor/order" | "/api/v3/sor/order/test" => {
            if !matches!(text("type"), "LIMIT" | "MARKET") {
                return Err(Refusal::new(
                    -1013,
                    "This order type is not supported for SOR.",
                ));
            }
            order(params, text("type"), &Names::plain())
        }
        "/api/v3/order" | "/api/v3/order/amend/keepPriority" => {
            if !has("orderId") && !has("origClientOrderId") {
                return Err(Refusal::either("origClientOrderId", "orderId"));
            }
            Ok(())
        }
        "/api/v3/orderList" => {
            if !has("orderListId") && !has("listClientOrderId") && !has("origClientOrderId") {
                return Err(Refusal::either("orderListId", "listClientOrderId"));
            }
            Ok(())
        }
        "/api/v3/order/oco" => {
            for name in ["limitStrategyType", "stopStrategyType"] {
                strategy(params, name)?;
            }
            if has("stopLimitPrice") {
                if !has("stopLimitTimeInForce") {
                    return Err(Refusal::mandatory("stopLimitTimeInForce"));
                }
                if has("stopIcebergQty") && text("stopLimitTimeInForce") != "GTC" {
                    return Err(Refusal::new(-1014, "Unsupported order combination."));
                }
            } else {
                for name in ["stopLimitTimeInForce", "stopIcebergQty"] {
                    if has(name) {
                        return Err(Refusal::not_required(name));
                    }
                }
            }
            Ok(())
        }
        "/api/v3/orderList/oco" => pair(params, "above", "below", text("side"), "quantity"),
        "/api/v3/orderList/oto" | "/api/v3/orderList/opo" => {
            let opo = path.ends_with("opo");
            working(params, opo)?;
            order(
                params,
                text("pendingType"),
                &Names::leg("pending", if opo { "" } else { "pendingQuantity" }),
            )?;
            if opo && text("pendingSide") != "SELL" {
                return Err(Refusal::new(
                    -1223,
                    "Pending orders in an OPO list must be asks.",
                ));
            }
            Ok(())
        }
        "/api/v3/orderList/otoco" | "/api/v3/orderList/opoco" => {
            let opo = path.ends_with("opoco");
            working(params, opo)?;
            if opo && text("pendingSide") != "SELL" {
                return Err(Refusal::new(
                    -1223,
                    "Pending orders in an OPO list must be asks.",
                ));
            }
            // The table has the type of the lower leg as optional, the engine needs it all the same.
            if !has("pendingBelowType") {
                return Err(Refusal::mandatory("pendingBelowType"));
            }
            pair(
                params,
                "pendingAbove",
                "pendingBelow",
                text("pendingSide"),
                if opo { "" } else { "pendingQuantity" },
            )
        }
        "/api/v3/myPreventedMatches" if !has("preventedMatchId") && !has("orderId") => {
            Err(Refusal::either("preventedMatchId", "orderId"))
        }
        "/api/v3/exchangeInfo"
        | "/api/v3/ticker/24hr"
        | "/api/v3/ticker/price"
        | "/api/v3/ticker/bookTicker"
        | "/api/v3/ticker"
        | "/api/v3/ticker/tradingDay"
        | "/api/v3/executionRules"
            if has("symbol") && has("symbols")
                || has("permissions") && (has("symbol") || has("symbols")) =>
        {
            Err(Refusal::new(
                -1128,
                "Combination of optional parameters invalid.",
            ))
        }
        "/api/v3/ticker" | "/api/v3/ticker/tradingDay" if !has("symbol") && !has("symbols") => {
            Err(Refusal::either("symbol", "symbols"))
        }
        _ => Ok(()),
    }
}

fn strategy(params: &Params, name: &str) -> Result<(), Refusal> {
    if params
        .get(name)
        .is_some_and(|t| t.parse::<u64>().is_ok_and(|n| n < 1_000_000))
    {
        return Err(Refusal::new(-1134, "strategyType was less than 1000000."));
    }
    Ok(())
}

fn working(params: &Params, opo: bool) -> Result<(), Refusal> {
    let kind = params.get("workingType").map_or("", String::as_str);
    if !matches!(kind, "LIMIT" | "LIMIT_MAKER") {
        return Err(Refusal::new(
            -1158,
            "Order type not supported for the working order of an order list.",
        ));
    }
    if opo && params.get("workingSide").is_some_and(|s| s != "BUY") {
        return Err(Refusal::new(
            -1222,
            "Working order in an OPO list must be a bid.",
        ));
    }
    order(params, kind, &Names::leg("working", "workingQuantity"))
}

/// Two legs of which one cancels the other.
fn pair(
    params: &Params,
    above: &str,
    below: &str,
    side: &str,
    quantity: &str,
) -> Result<(), Refusal> {
    let kind = |leg: &str| params.get(&format!("{leg}Type")).map_or("", String::as_str);
    let (upper, lower) = (kind(above), kind(below));
    for one in [upper, lower] {
        if matches!(one, "MARKET" | "LIMIT") {
            return Err(Refusal::new(-1158, "Order type not supported in OCO."));
        }
    }
    let profit = |t: &str| matches!(t, "LIMIT_MAKER" | "TAKE_PROFIT" | "TAKE_PROFIT_LIMIT");
    if upper == "LIMIT_MAKER" && lower == "LIMIT_MAKER" {
        return Err(Refusal::new(
            -1168,
            "At least one OCO order must be contingent.",
        ));
    }
    let stop = |t: &str| matches!(t, "STOP_LOSS" | "STOP_LOSS_LIMIT");
    if side == "BUY" {
        if upper == "LIMIT_MAKER" {
            return Err(Refusal::new(
                -1165,
                "A limit order in a buy OCO must be below.",
            ));
        }
        if stop(lower) {
            return Err(Refusal::new(
                -1196,
                "A stop loss order in a buy OCO must be above.",
            ));
        }
        if profit(upper) {
            return Err(Refusal::new(
                -1198,
                "A take profit order in a buy OCO must be below.",
            ));
        }
    } else {
        if lower == "LIMIT_MAKER" {
            return Err(Refusal::new(
                -1166,
                "A limit order in a sell OCO must be above.",
            ));
        }
        if stop(upper) {
            return Err(Refusal::new(
                -1197,
                "A stop loss order in a sell OCO must be below.",
            ));
        }
        if profit(lower) {
            return Err(Refusal::new(
                -1199,
                "A take profit order in a sell OCO must be above.",
            ));
        }
    }
    order(params, upper, &Names::leg(above, quantity))?;
    order(params, lower, &Names::leg(below, quantity))
}

/// One order of type `kind`.
fn order(params: &Params, kind: &str, names: &Names) -> Result<(), Refusal> {
    let has = |name: &str| !name.is_empty() && params.contains_key(name);
    let text = |name: &str| params.get(name).map_or("", String::as_str);
    let limit = matches!(kind, "LIMIT" | "STOP_LOSS_LIMIT" | "TAKE_PROFIT_LIMIT");
    let stop = matches!(
        kind,
        "STOP_LOSS" | "STOP_LOSS_LIMIT" | "TAKE_PROFIT" | "TAKE_PROFIT_LIMIT"
    );
    let priced = limit || kind == "LIMIT_MAKER";
    if limit && !has(&names.time_in_force) {
        return Err(Refusal::mandatory(&names.time_in_force));
    }
    if !limit && has(&names.time_in_force) {
        return Err(Refusal::not_required(&names.time_in_force));
    }
    let by_quote = names.quantity == "quantity" && has("quoteOrderQty");
    if kind == "MARKET" && names.quantity == "quantity" {
        if has("quantity") && by_quote {
            return Err(Refusal::not_required("quoteOrderQty"));
        }
        if !has("quantity") && !by_quote {
            return Err(Refusal::either("quantity", "quoteOrderQty"));
        }
    } else {
        if by_quote {
            return Err(Refusal::not_required("quoteOrderQty"));
        }
        if !names.quantity.is_empty() && !has(&names.quantity) {
            return Err(Refusal::mandatory(&names.quantity));
        }
    }
    let [peg, offset_type, offset_value] = &names.peg;
    if has(peg) && !priced {
        return Err(Refusal::not_required(peg));
    }
    if has(offset_type) != has(offset_value) || has(offset_type) && !has(peg) {
        return Err(Refusal::new(
            -1128,
            format!(
                "Combination of optional fields invalid. Recommendation: '{offset_type}' and '{offset_value}' must both be sent."
            ),
        ));
    }
    if priced && !has(&names.price) && !has(peg) {
        return Err(Refusal::mandatory(&names.price));
    }
    if !priced && has(&names.price) {
        return Err(Refusal::not_required(&names.price));
    }
    if stop && !has(&names.stop_price) && !has(&names.trailing) {
        return Err(Refusal::either(&names.stop_price, &names.trailing));
    }
    for name in [&names.stop_price, &names.trailing] {
        if !stop && has(name) {
            return Err(Refusal::not_required(name));
        }
    }
    if has(&names.iceberg) {
        if !priced {
            return Err(Refusal::not_required(&names.iceberg));
        }
        if limit && text(&names.time_in_force) != "GTC" {
            return Err(Refusal::new(-1014, "Unsupported order combination."));
        }
    }
    strategy(params, &names.strategy_type)
}
