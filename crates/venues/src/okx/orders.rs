//! Orders as the venue would understand them: which fields each kind of instrument and each `ordType` must have and may not.
//! Rules are those of the pages Place order, Place algo order and Close positions. What the venue would refuse, might quietly
//! leave out, or reads by a setting of the account that a request does not show, is refused here.

use super::instrument::Instrument;
use crate::actions::{Named, find};
use crate::catalog::{Attribute as A, Endpoint, FieldRule, Meaning};
use crate::error::DecodeError;
use crate::order_fields::{Fields, missing, not_with, one_of, wrong};
use crate::value::{Type, Value, Values};
use portcullis_model::action::{
    Leg, MarketKind, Order, OrderType, PositionSide, Side, Symbol, TimeInForce,
};
use portcullis_model::number::{Amount, ONE, Price, Quantity};

/// An id that a program gives an order: letters and digits alone.
pub(super) const CLIENT_ID_BYTES_MAX: usize = 32;
/// An order's tag.
const TAG_BYTES_MAX: usize = 16;
/// Basis points in one.
const BASIS: i128 = 10_000;

/// The market of a request: the instrument's, and margin where an order on a pair does not pay in cash.
pub(super) fn market(rule: &Endpoint, named: &[Named<'_>]) -> Result<MarketKind, DecodeError> {
    let Some((_, Value::Text(id))) = find(named, Meaning::Symbol) else {
        return Ok(rule.market);
    };
    let kind = match Instrument::of(id) {
        Some(kind) => kind,
        // Public data is also of indices and spreads.
        None if rule.is_read() => return Ok(rule.market),
        None => Instrument::wanted(id)?,
    };
    Ok(match (kind, Fields(named).word(A::MarginMode)) {
        (Instrument::Pair, Some("cross" | "isolated")) => MarketKind::Margin,
        _ => kind.market(),
    })
}

/// The orders of one request, or of one object of its list.
pub(super) fn orders(
    rule: &Endpoint,
    named: &[Named<'_>],
    market: MarketKind,
    symbol: Symbol,
) -> Result<Vec<Order>, DecodeError> {
    let draft = Draft {
        rule,
        fields: Fields(named),
        market,
        kind: Instrument::wanted(symbol.as_str())?,
        symbol,
    };
    draft.check_ids()?;
    if rule.field("mgnMode").is_some() && rule.field("ordType").is_none() {
        return draft.close_position().map(|order| vec![order]);
    }
    let side = match draft.fields.word(A::Side) {
        Some("buy") => Side::Buy,
        Some("sell") => Side::Sell,
        _ => return Err(missing("side")),
    };
    draft.check_position(side)?;
    let mut orders = if rule.algo {
        draft.algo(side)?
    } else {
        vec![draft.plain(side)?]
    };
    let exits = draft.exits(&orders, side)?;
    if let (Some(first), false) = (orders.first_mut(), exits.is_empty()) {
        first.leg = Some(Leg::Working);
    }
    orders.extend(exits);
    Ok(orders)
}

/// One order of a request, before it is known to be whole.
struct Draft<'a> {
    rule: &'a Endpoint,
    fields: Fields<'a>,
    market: MarketKind,
    kind: Instrument,
    symbol: Symbol,
}

impl Draft<'_> {
    fn is_contract(&self) -> bool {
        matches!(self.kind, Instrument::Contract { .. })
    }

    /// Ids and tags that the venue takes are letters and digits.
    fn check_ids(&self) -> Result<(), DecodeError> {
        for (field, value) in self.fields.0 {
            let max = match (&field.ty, &*field.name) {
                (Type::ClientId, _) => CLIENT_ID_BYTES_MAX,
                (_, "tag") => TAG_BYTES_MAX,
                _ => continue,
            };
            check_id(field, value, max)?;
        }
        Ok(())
    }

    /// The side of the position: for contracts only, and never at odds with what the order is said to do.
    fn check_position(&self, side: Side) -> Result<(), DecodeError> {
        let position = self.fields.word(A::PositionSide);
        if let Some("long" | "short") = position
            && !self.is_contract()
        {
            return Err(not_with(
                "posSide",
                "an instrument without positions of two sides",
            ));
        }
        let mode = self.fields.word(A::MarginMode);
        match (self.kind, mode) {
            (Instrument::Contract { .. }, Some("cash")) => {
                return Err(wrong(
                    "tdMode",
                    "is `cash`; contracts are `cross` or `isolated`",
                ));
            }
            (_, None) => return Err(missing("tdMode")),
            _ => {}
        }
        if !self.fields.is(A::ReduceOnly) {
            return Ok(());
        }
        if matches!(self.market, MarketKind::Spot | MarketKind::Option) {
            return Err(not_with(
                "reduceOnly",
                "an instrument that has no position to reduce",
            ));
        }
        // In long/short mode the venue goes by the two sides and ignores the flag.
        let opens = matches!(
            (position, side),
            (Some("long"), Side::Buy) | (Some("short"), Side::Sell)
        );
        if opens {
            return Err(not_with(
                "reduceOnly",
                "a side that opens the position of `posSide`",
            ));
        }
        Ok(())
    }

    fn base(&self, side: Side, order_type: OrderType) -> Order {
        let is_margin = self.market == MarketKind::Margin;
        let reduce_only = self.fields.is(A::ReduceOnly);
        Order {
            market: self.market,
            symbol: self.symbol.clone(),
            side,
            order_type,
            time_in_force: None,
            quantity: None,
            quote_quantity: None,
            price: None,
            stop_price: None,
            trailing_delta: None,
            iceberg_quantity: None,
            client_order_id: self.fields.text(A::ClientId),
            list_client_order_id: None,
            leg: None,
            // On margin the venue trades what is left over as spot once the debt is paid: that does not only reduce.
            reduce_only: reduce_only && !is_margin,
            borrows: is_margin && !reduce_only,
            pegged: false,
            replaces: false,
            position_side: match self.fields.word(A::PositionSide) {
                Some("long") => Some(PositionSide::Long),
                Some("short") => Some(PositionSide::Short),
                _ => None,
            },
            close_position: false,
            algo: self.rule.algo,
        }
    }

    fn plain(&self, side: Side) -> Result<Order, DecodeError> {
        use TimeInForce::{Fok, Gtc, Ioc};
        let word = self
            .fields
            .word(A::Type)
            .ok_or_else(|| missing("ordType"))?;
        let (order_type, time_in_force) = match word {
            "market" | "optimal_limit_ioc" => (OrderType::Market, None),
            "post_only" | "mmp_and_post_only" => (OrderType::LimitMaker, None),
            "fok" => (OrderType::Limit, Some(Fok)),
            "ioc" => (OrderType::Limit, Some(Ioc)),
            _ => (OrderType::Limit, Some(Gtc)),
        };
        let fits = match word {
            "market" => self.kind != Instrument::Option,
            "optimal_limit_ioc" => self.is_contract(),
            "mmp" | "mmp_and_post_only" => self.kind == Instrument::Option,
            _ => true,
        };
        if !fits {
            return Err(wrong(
                "ordType",
                &format!("`{word}` is not of this kind of instrument"),
            ));
        }
        let price = self.fields.units(A::Price).map(Price);
        match (order_type, price) {
            (OrderType::Market, Some(_)) => return Err(not_with("px", word)),
            (OrderType::Market, None) | (_, Some(_)) => {}
            (_, None) => return Err(missing("px")),
        }
        let mut order = Order {
            time_in_force,
            price,
            ..self.base(side, order_type)
        };
        self.size(&mut order, word == "market")?;
        Ok(order)
    }

    /// Whether `sz` counts base or quote. `units_apply`: the venue reads `tgtCcy` for this order.
    fn size(&self, order: &mut Order, units_apply: bool) -> Result<(), DecodeError> {
        let size = self
            .fields
            .units(A::Quantity)
            .ok_or_else(|| missing("sz"))?;
        let unit = self.fields.word(A::QuantityUnit);
        if unit.is_some() && self.kind != Instrument::Pair {
            return Err(not_with(
                "tgtCcy",
                "an instrument that is counted in contracts",
            ));
        }
        let is_market = order.order_type == OrderType::Market && units_apply;
        let by_default = match order.side {
            Side::Buy if is_market && self.kind == Instrument::Pair => "quote_ccy",
            _ => "base_ccy",
        };
        // The venue says of spot market orders alone that it reads `tgtCcy`. Elsewhere it may stand where it changes nothing.
        let chosen = is_market && self.market == MarketKind::Spot;
        let unit = match unit {
            Some(unit) if chosen || unit == by_default => unit,
            Some(_) => return Err(not_with("tgtCcy", "what is no market order on spot")),
            None => by_default,
        };
        match unit {
            "quote_ccy" => order.quote_quantity = Some(Amount(size)),
            _ => order.quantity = Some(Quantity(size)),
        }
        Ok(())
    }

    /// Orders of `order-algo`: what waits for a price.
    fn algo(&self, side: Side) -> Result<Vec<Order>, DecodeError> {
        let word = self
            .fields
            .word(A::Type)
            .ok_or_else(|| missing("ordType"))?;
        if self.kind == Instrument::Option {
            return Err(wrong(
                "instId",
                "is an option; conditional orders of options are not read",
            ));
        }
        let exits = [
            "tpTriggerPx",
            "tpOrdPx",
            "tpOrdKind",
            "tpTriggerPxType",
            "slTriggerPx",
            "slOrdPx",
            "slTriggerPxType",
            "closeFraction",
            "cxlOnClosePos",
        ];
        let trigger = [
            "triggerPx",
            "orderPx",
            "triggerPxType",
            "advanceOrdType",
            "attachAlgoOrds",
        ];
        let trailing = ["callbackRatio", "callbackSpread", "activePx"];
        let others: &[&[&str]] = match word {
            "conditional" | "oco" => &[&trigger, &trailing],
            "trigger" => &[&exits, &trailing],
            _ => &[&exits, &trigger],
        };
        if let Some(name) = others
            .iter()
            .copied()
            .flatten()
            .find(|name| self.fields.is_named(name))
        {
            return Err(not_with(name, format!("`{word}`")));
        }
        match word {
            "conditional" | "oco" => self.take_profit_stop_loss(side, word),
            "trigger" => self.trigger(side).map(|order| vec![order]),
            "move_order_stop" => self.trailing(side).map(|order| vec![order]),
            _ => Err(wrong("ordType", "is not read")),
        }
    }

    fn take_profit_stop_loss(&self, side: Side, word: &str) -> Result<Vec<Order>, DecodeError> {
        let (profit, loss) = exit_prices(self.fields)?;
        match (word, &profit, &loss) {
            ("oco", Some(_), Some(_))
            | ("conditional", Some(_), None)
            | ("conditional", None, Some(_)) => {}
            ("oco", ..) => return Err(one_of("`tpTriggerPx`, `slTriggerPx`")),
            // The venue would leave the take-profit out.
            ("conditional", Some(_), Some(_)) => {
                return Err(not_with(
                    "tpTriggerPx",
                    "`conditional` and a stop-loss; send `oco`",
                ));
            }
            _ => return Err(one_of("`tpTriggerPx`, `slTriggerPx`")),
        }
        let both = profit.is_some() && loss.is_some();
        let mut orders = Vec::with_capacity(2);
        for (exit, is_profit) in [(profit, true), (loss, false)] {
            let Some(exit) = exit else { continue };
            let mut order = exit.order(self.base(side, OrderType::Market), is_profit);
            if self.fields.is_named("closeFraction") {
                self.whole_position(&mut order)?;
            } else {
                self.size_of_triggered(&mut order, word == "conditional")?;
            }
            if both {
                // A sale takes its profit above and its loss below; a purchase the other way round.
                order.leg = Some(match (is_profit, side) {
                    (true, Side::Sell) | (false, Side::Buy) => Leg::Above,
                    (true, Side::Buy) | (false, Side::Sell) => Leg::Below,
                });
                (order.list_client_order_id, order.client_order_id) =
                    (order.client_order_id.take(), None);
            }
            orders.push(order);
        }
        Ok(orders)
    }

    fn whole_position(&self, order: &mut Order) -> Result<(), DecodeError> {
        let with = "`closeFraction`";
        if !self.is_contract() {
            return Err(not_with("closeFraction", "an instrument without positions"));
        }
        if order.price.is_some() {
            return Err(wrong(
                "closeFraction",
                "goes with orders at the market (-1) alone",
            ));
        }
        if order.position_side.is_none() && !order.reduce_only {
            return Err(missing("reduceOnly"));
        }
        let closes = order
            .position_side
            .is_none_or(|position| (position == PositionSide::Long) == (order.side == Side::Sell));
        if !closes {
            return Err(not_with(
                "side",
                format!("{with}: it opens the position of `posSide`"),
            ));
        }
        (order.close_position, order.reduce_only) = (true, true);
        Ok(())
    }

    /// The size of an order that begins at a price. Of a purchase at the market on a pair the venue says only for
    /// `conditional` whether it counts base or quote.
    fn size_of_triggered(&self, order: &mut Order, says_unit: bool) -> Result<(), DecodeError> {
        let at_market = order.price.is_none();
        let buys_pair = self.kind == Instrument::Pair && order.side == Side::Buy && at_market;
        if buys_pair && !(says_unit && self.market == MarketKind::Spot) {
            return Err(wrong(
                "sz",
                "counts base or quote: the venue does not say which for this order; send a price",
            ));
        }
        let order_type = order.order_type;
        if buys_pair {
            order.order_type = OrderType::Market;
        }
        let sized = self.size(order, buys_pair);
        order.order_type = order_type;
        sized
    }

    fn trigger(&self, side: Side) -> Result<Order, DecodeError> {
        let stop = self
            .fields
            .units(A::TriggerPrice)
            .ok_or_else(|| missing("triggerPx"))?;
        let price = self
            .fields
            .limit(A::Price)
            .ok_or_else(|| missing("orderPx"))?;
        let time_in_force = match (self.fields.word(A::TimeInForce), price) {
            (None, Some(_)) => Some(TimeInForce::Gtc),
            (None, None) => None,
            (Some("fok"), Some(_)) => Some(TimeInForce::Fok),
            (Some("ioc"), Some(_)) => Some(TimeInForce::Ioc),
            _ => return Err(not_with("advanceOrdType", "a price of -1")),
        };
        let order_type = match price {
            Some(_) => OrderType::StopLossLimit,
            None => OrderType::StopLoss,
        };
        let mut order = Order {
            price,
            stop_price: Some(Price(stop)),
            time_in_force,
            ..self.base(side, order_type)
        };
        self.size_of_triggered(&mut order, false)?;
        Ok(order)
    }

    fn trailing(&self, side: Side) -> Result<Order, DecodeError> {
        let ratio = self.fields.units(A::CallbackRate);
        if ratio.is_none() && !self.fields.is_named("callbackSpread") {
            return Err(one_of("`callbackRatio`, `callbackSpread`"));
        }
        let mut order = Order {
            stop_price: self.fields.units(A::ActivationPrice).map(Price),
            trailing_delta: ratio.and_then(|ratio| u32::try_from(ratio / (ONE / BASIS)).ok()),
            ..self.base(side, OrderType::TrailingStop)
        };
        self.size_of_triggered(&mut order, false)?;
        Ok(order)
    }

    /// `close-position`: the whole position at the market. In net mode the request does not say whether that buys or sells.
    fn close_position(&self) -> Result<Order, DecodeError> {
        if !self.is_contract() {
            return Err(wrong(
                "instId",
                "is no contract; only a contract's position is closed here",
            ));
        }
        let side = match self.fields.word(A::PositionSide) {
            Some("long") => Side::Sell,
            Some("short") => Side::Buy,
            _ => {
                return Err(wrong_net());
            }
        };
        Ok(Order {
            close_position: true,
            reduce_only: true,
            ..self.base(side, OrderType::Market)
        })
    }

    /// Take-profits and stop-losses that start when the order has filled.
    fn exits(&self, orders: &[Order], side: Side) -> Result<Vec<Order>, DecodeError> {
        let Some((
            FieldRule {
                ty: Type::Objects(object),
                ..
            },
            Value::Objects(items),
        )) = find(self.fields.0, Meaning::Attached)
        else {
            return Ok(Vec::new());
        };
        let rules = self.rule.object(*object).map_or(&[][..], |o| &o.fields);
        let exit_side = match side {
            Side::Buy => Side::Sell,
            Side::Sell => Side::Buy,
        };
        let whole = orders.first().and_then(|order| order.quantity);
        let mut exits = Vec::with_capacity(items.len() * 2);
        for item in items {
            let named = named(rules, item);
            let fields = Fields(&named);
            for (field, value) in &named {
                if field.ty == Type::ClientId {
                    check_id(field, value, CLIENT_ID_BYTES_MAX)?;
                }
            }
            let (profit, loss) = exit_prices(fields)?;
            let part = fields.units(A::Quantity).map(Quantity);
            if part.is_some() && profit.is_none() {
                return Err(not_with("sz", "a stop-loss; it is of the whole order"));
            }
            let both = profit.is_some() && loss.is_some();
            if profit.is_none() && loss.is_none() {
                return Err(one_of("`tpTriggerPx`, `slTriggerPx`"));
            }
            for (exit, is_profit) in [(profit, true), (loss, false)] {
                let Some(exit) = exit else { continue };
                let id = fields.text(A::ClientId);
                let mut order = exit.order(self.base(exit_side, OrderType::Market), is_profit);
                order.quantity = part.or(whole);
                order.reduce_only = self.is_contract();
                order.borrows = self.market == MarketKind::Margin;
                order.algo = true;
                // Two that exclude each other count once; one alone is of itself.
                (order.client_order_id, order.list_client_order_id, order.leg) = if both {
                    let above = is_profit == (exit_side == Side::Sell);
                    let leg = if above {
                        Leg::PendingAbove
                    } else {
                        Leg::PendingBelow
                    };
                    (None, id, Some(leg))
                } else {
                    (id, None, Some(Leg::Pending))
                };
                exits.push(order);
            }
        }
        Ok(exits)
    }
}

fn wrong_net() -> DecodeError {
    wrong(
        "posSide",
        "is neither `long` nor `short`: in net mode this call does not say whether it buys or sells; send a market order with \
         `reduceOnly`",
    )
}

fn check_id(field: &FieldRule, value: &Value, max: usize) -> Result<(), DecodeError> {
    match value {
        Value::Text(text)
            if text.len() <= max && text.bytes().all(|b| b.is_ascii_alphanumeric()) =>
        {
            Ok(())
        }
        _ => Err(wrong(
            &field.name,
            &format!("is not 1 to {max} letters and digits, as the venue has its ids"),
        )),
    }
}

fn named<'a>(rules: &'a [FieldRule], values: &'a Values) -> Vec<Named<'a>> {
    values
        .iter()
        .filter_map(|(at, value)| Some((rules.get(usize::from(*at))?, value)))
        .collect()
}

/// Where an exit begins and what it then is.
struct Exit {
    /// Absent: it stands in the book at once (`tpOrdKind` limit).
    stop: Option<Price>,
    limit: Option<Price>,
}

impl Exit {
    fn order(self, base: Order, is_profit: bool) -> Order {
        let order_type = match (self.stop, self.limit, is_profit) {
            (None, ..) => OrderType::Limit,
            (Some(_), Some(_), true) => OrderType::TakeProfitLimit,
            (Some(_), None, true) => OrderType::TakeProfit,
            (Some(_), Some(_), false) => OrderType::StopLossLimit,
            (Some(_), None, false) => OrderType::StopLoss,
        };
        Order {
            order_type,
            price: self.limit,
            stop_price: self.stop,
            time_in_force: self.limit.map(|_| TimeInForce::Gtc),
            ..base
        }
    }
}

/// The take-profit and the stop-loss that fields describe: each trigger with its price.
fn exit_prices(fields: Fields<'_>) -> Result<(Option<Exit>, Option<Exit>), DecodeError> {
    let is_limit = match fields.named("tpOrdKind") {
        Some((field, Value::Word(at))) => field.ty.word(*at) == "limit",
        _ => false,
    };
    let stop = |attribute| fields.units(attribute).map(Price);
    let profit = match (stop(A::TakeProfit), fields.limit(A::TakeProfitLimit)) {
        (None, None) if fields.is_named("tpOrdKind") || fields.is_named("tpTriggerPxType") => {
            return Err(missing("tpTriggerPx"));
        }
        (None, None) => None,
        (_, Some(Some(limit))) if is_limit => Some(Exit {
            stop: None,
            limit: Some(limit),
        }),
        (_, _) if is_limit => {
            return Err(wrong(
                "tpOrdPx",
                "is no price, as `tpOrdKind` limit wants it",
            ));
        }
        (Some(stop), Some(limit)) => Some(Exit {
            stop: Some(stop),
            limit,
        }),
        (None, Some(_)) => return Err(missing("tpTriggerPx")),
        (Some(_), None) => return Err(missing("tpOrdPx")),
    };
    let loss = match (stop(A::StopLoss), fields.limit(A::StopLossLimit)) {
        (None, None) if fields.is_named("slTriggerPxType") => {
            return Err(missing("slTriggerPx"));
        }
        (None, None) => None,
        (Some(stop), Some(limit)) => Some(Exit {
            stop: Some(stop),
            limit,
        }),
        (None, Some(_)) => return Err(missing("slTriggerPx")),
        (Some(_), None) => return Err(missing("slOrdPx")),
    };
    Ok((profit, loss))
}
