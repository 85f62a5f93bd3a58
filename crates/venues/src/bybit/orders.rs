//! Orders as the venue would understand them, by category: which fields go with which, and what an attached take-profit or
//! stop-loss is. The rules are those of `v5/order/create-order.mdx` and `v5/position/trading-stop.mdx`: what the venue would
//! refuse, or might quietly leave out, is refused here.

use crate::actions::Named;
use crate::catalog::{Attribute, Endpoint, Meaning, Which};
use crate::error::DecodeError;
use crate::value::Value;
use portcullis_model::action::{
    ClientOrderId, Leg, MarketKind, Order, OrderType, PositionSide, Side, Symbol, TimeInForce,
};
use portcullis_model::number::{Amount, Price, Quantity};

/// Whether a spot order may borrow.
pub(super) fn borrows(named: &[Named<'_>]) -> bool {
    let request = Request { named };
    request.integer(Attribute::MarginMode) == Some(1)
}

pub(super) fn orders(
    rule: &Endpoint,
    named: &[Named<'_>],
    market: MarketKind,
    symbol: Symbol,
) -> Result<Vec<Order>, DecodeError> {
    let request = Request { named };
    let kind = Kind::of(market);
    if rule.path == TRADING_STOP {
        return request.exits_of_position(kind, market, symbol);
    }
    let order = request.order(kind, market, symbol)?;
    let mut orders = vec![order];
    if let Some(order) = orders.first() {
        let exits = request.attached(kind, order)?;
        orders.extend(exits);
    }
    Ok(orders)
}

/// Sets what closes a position; it has no side, type or quantity of its own.
const TRADING_STOP: &str = "/v5/position/trading-stop";

/// What the rules depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Spot,
    Futures,
    Option,
}

impl Kind {
    fn of(market: MarketKind) -> Self {
        match market {
            MarketKind::Spot | MarketKind::Margin => Self::Spot,
            MarketKind::UsdFutures | MarketKind::CoinFutures => Self::Futures,
            MarketKind::Option => Self::Option,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Spot => "a spot order",
            Self::Futures => "an order of a perpetual or future",
            Self::Option => "an order of an option",
        }
    }
}

/// What stands where an exit is: its trigger, its kind of order, the price that it then has, its size.
struct Exit {
    trigger: &'static str,
    order_type: &'static str,
    limit: &'static str,
    size: &'static str,
}

const TAKE_PROFIT: Exit = Exit {
    trigger: "takeProfit",
    order_type: "tpOrderType",
    limit: "tpLimitPrice",
    size: "tpSize",
};
const STOP_LOSS: Exit = Exit {
    trigger: "stopLoss",
    order_type: "slOrderType",
    limit: "slLimitPrice",
    size: "slSize",
};

/// The fields of one order, before it is known to be whole.
struct Request<'a> {
    named: &'a [Named<'a>],
}

impl<'a> Request<'a> {
    fn get(&self, attribute: Attribute) -> Option<Named<'a>> {
        let meaning = Meaning::Order(Which::Order, attribute);
        self.named
            .iter()
            .find(|(field, _)| field.meaning == meaning)
            .copied()
    }

    /// A field by the venue's name.
    fn field(&self, name: &str) -> Option<Named<'a>> {
        self.named
            .iter()
            .find(|(field, _)| field.name == name)
            .copied()
    }

    fn units(&self, attribute: Attribute) -> Option<i128> {
        match self.get(attribute)? {
            (_, Value::Units(units)) => Some(*units),
            _ => None,
        }
    }

    fn integer(&self, attribute: Attribute) -> Option<u64> {
        match self.get(attribute)? {
            (_, Value::Integer(n)) => Some(*n),
            _ => None,
        }
    }

    fn word(&self, attribute: Attribute) -> Option<&'a str> {
        word(self.get(attribute))
    }

    fn word_of(&self, name: &str) -> Option<&'a str> {
        word(self.field(name))
    }

    fn price_of(&self, name: &str) -> Option<Price> {
        match self.field(name)? {
            (_, Value::Units(units)) => Some(Price(*units)),
            _ => None,
        }
    }

    fn is_set(&self, attribute: Attribute) -> bool {
        matches!(self.get(attribute), Some((_, Value::Bool(true))))
    }

    fn need(&self, name: &str) -> Result<(), DecodeError> {
        match self.field(name) {
            Some(_) => Ok(()),
            None => Err(DecodeError::FieldMissing {
                field: name.to_owned(),
            }),
        }
    }

    fn unwanted(&self, names: &[&str], with: &str) -> Result<(), DecodeError> {
        match names.iter().find(|name| self.field(name).is_some()) {
            None => Ok(()),
            Some(name) => Err(not_wanted(name, with)),
        }
    }

    fn order(&self, kind: Kind, market: MarketKind, symbol: Symbol) -> Result<Order, DecodeError> {
        use Attribute as A;
        let side = match self.word(A::Side) {
            Some("Buy") => Side::Buy,
            Some("Sell") => Side::Sell,
            _ => return Err(missing("side")),
        };
        let is_market = match self.word(A::Type) {
            Some("Market") => true,
            Some("Limit") => false,
            _ => return Err(missing("orderType")),
        };
        self.check_kind(kind)?;
        let trigger = self.trigger(kind, side)?;
        let pegged = self.check_price(kind, is_market)?;
        let (time_in_force, post_only) = self.time_in_force(is_market)?;
        let order_type = match (is_market, trigger) {
            (true, None) => OrderType::Market,
            (false, None) if post_only => OrderType::LimitMaker,
            (false, None) => OrderType::Limit,
            (true, Some(Trigger::Stop)) => OrderType::StopLoss,
            (true, Some(Trigger::Profit)) => OrderType::TakeProfit,
            (false, Some(Trigger::Stop)) => OrderType::StopLossLimit,
            (false, Some(Trigger::Profit)) => OrderType::TakeProfitLimit,
        };
        // The venue does not enforce it on spot, where CCXT sends it beside a stop.
        let reduce_only = self.is_set(A::ReduceOnly) && kind != Kind::Spot;
        let (quantity, quote_quantity, close_position) =
            self.amounts(kind, side, is_market, reduce_only)?;
        let client_order_id = match self.get(A::ClientId) {
            Some((_, Value::Text(text))) => Some(ClientOrderId(text.clone())),
            _ => None,
        };
        if kind == Kind::Option && client_order_id.is_none() {
            return Err(missing("orderLinkId"));
        }
        Ok(Order {
            market,
            symbol,
            side,
            order_type,
            time_in_force,
            quantity,
            quote_quantity,
            price: self.units(A::Price).map(Price),
            stop_price: self.units(A::TriggerPrice).map(Price),
            trailing_delta: None,
            iceberg_quantity: None,
            client_order_id,
            list_client_order_id: None,
            leg: None,
            reduce_only,
            borrows: market == MarketKind::Margin,
            pegged,
            replaces: false,
            position_side: self.position_side(),
            close_position,
            algo: false,
        })
    }

    /// Fields that the venue knows for other categories only: it might leave them out.
    fn check_kind(&self, kind: Kind) -> Result<(), DecodeError> {
        use Attribute as A;
        let with = kind.name();
        if kind != Kind::Option {
            self.unwanted(&["orderIv", "mmp"], with)?;
        }
        if kind != Kind::Futures {
            self.unwanted(&["bboSideType", "bboLevel", "triggerBy"], with)?;
            self.unwanted(&["tpTriggerBy", "slTriggerBy"], with)?;
            if self.integer(A::PositionSide).is_some_and(|at| at != 0) {
                return Err(not_wanted("positionIdx", with));
            }
            if self.is_set(A::ClosePosition) {
                return Err(not_wanted("closeOnTrigger", with));
            }
        }
        if kind != Kind::Spot {
            self.unwanted(&["marketUnit", "orderFilter"], with)?;
            if borrows(self.named) {
                return Err(not_wanted("isLeverage", with));
            }
        }
        if kind == Kind::Option {
            self.unwanted(&["triggerPrice", "triggerDirection"], with)?;
        }
        Ok(())
    }

    /// Whether the order waits for a price, and from which side the price comes.
    fn trigger(&self, kind: Kind, side: Side) -> Result<Option<Trigger>, DecodeError> {
        use Attribute as A;
        let is_conditional = match kind {
            Kind::Spot => {
                let waits = matches!(self.word_of("orderFilter"), Some("tpslOrder" | "StopOrder"));
                if waits {
                    self.need("triggerPrice")?;
                }
                waits
            }
            Kind::Futures | Kind::Option => self.get(A::TriggerPrice).is_some(),
        };
        if !is_conditional {
            let with = "an order that waits for no price";
            self.unwanted(&["triggerPrice", "triggerDirection", "triggerBy"], with)?;
            if kind == Kind::Spot && self.is_set(A::ReduceOnly) {
                return Err(not_wanted("reduceOnly", kind.name()));
            }
            return Ok(None);
        }
        let direction = self.integer(A::TriggerDirection);
        if kind == Kind::Futures && direction.is_none() {
            return Err(missing("triggerDirection"));
        }
        let slippage = ["slippageToleranceType", "slippageTolerance"];
        self.unwanted(&slippage, "an order that waits for a price")?;
        // On spot the venue itself looks where the price stands; without a hint it is called a stop.
        Ok(Some(match (direction, side) {
            (Some(1), Side::Sell) | (Some(2), Side::Buy) => Trigger::Profit,
            _ => Trigger::Stop,
        }))
    }

    /// Whether the price is not known beforehand: taken from the book, or from a volatility.
    fn check_price(&self, kind: Kind, is_market: bool) -> Result<bool, DecodeError> {
        use Attribute as A;
        if is_market {
            self.unwanted(&["price", "orderIv", "bboSideType", "bboLevel"], "Market")?;
            if self.field("slippageTolerance").is_some() {
                self.need("slippageToleranceType")?;
            }
            if self.field("slippageToleranceType").is_some() {
                self.need("slippageTolerance")?;
            }
            return Ok(false);
        }
        self.unwanted(&["slippageToleranceType", "slippageTolerance"], "Limit")?;
        if kind == Kind::Option && self.field("orderIv").is_some() {
            // The venue lets it win over the price.
            self.unwanted(&["price"], "orderIv")?;
            return Ok(true);
        }
        if self.get(A::PriceMatch).is_some() {
            self.need("bboLevel")?;
            self.unwanted(&["price"], "bboSideType")?;
            return Ok(true);
        }
        self.unwanted(&["bboLevel"], "a price")?;
        self.need("price")?;
        Ok(false)
    }

    /// A market order is an IOC whatever it says; what says something else than the venue does is refused.
    fn time_in_force(&self, is_market: bool) -> Result<(Option<TimeInForce>, bool), DecodeError> {
        Ok(match (self.word(Attribute::TimeInForce), is_market) {
            (None | Some("IOC" | "GTC"), true) => (None, false),
            (Some(_), true) => return Err(not_wanted("timeInForce", "Market")),
            (None | Some("GTC"), false) => (Some(TimeInForce::Gtc), false),
            (Some("IOC"), false) => (Some(TimeInForce::Ioc), false),
            (Some("FOK"), false) => (Some(TimeInForce::Fok), false),
            // `PostOnly`, and `RPI`, which is one that only the venue's own users meet.
            (Some(_), false) => (None, true),
        })
    }

    /// Quantity, what to spend or receive, and whether all of a position is closed.
    fn amounts(
        &self,
        kind: Kind,
        side: Side,
        is_market: bool,
        reduce_only: bool,
    ) -> Result<(Option<Quantity>, Option<Amount>, bool), DecodeError> {
        use Attribute as A;
        let Some(units) = self.units(A::Quantity) else {
            return Err(missing("qty"));
        };
        if units == 0 {
            let closes = kind == Kind::Futures && reduce_only && self.is_set(A::ClosePosition);
            return match closes {
                true => Ok((None, None, true)),
                false => Err(DecodeError::FieldValue {
                    field: "qty".to_owned(),
                    why:
                        "is 0, which closes a position only with `reduceOnly` and `closeOnTrigger`"
                            .to_owned(),
                }),
            };
        }
        let unit = self.word(A::QuantityUnit);
        if unit.is_some() && !is_market {
            return Err(not_wanted("marketUnit", "Limit"));
        }
        let of_quote = kind == Kind::Spot
            && is_market
            && match unit {
                Some(unit) => unit == "quoteCoin",
                None => side == Side::Buy,
            };
        Ok(match of_quote {
            true => (None, Some(Amount(units)), false),
            false => (Some(Quantity(units)), None, false),
        })
    }

    fn position_side(&self) -> Option<PositionSide> {
        match self.integer(Attribute::PositionSide) {
            Some(1) => Some(PositionSide::Long),
            Some(2) => Some(PositionSide::Short),
            _ => None,
        }
    }

    /// The take-profit and the stop-loss that stand once the order has filled.
    fn attached(&self, kind: Kind, order: &Order) -> Result<Vec<Order>, DecodeError> {
        let is_sent = |exit: &Exit| self.field(exit.trigger).is_some();
        let exits = [&TAKE_PROFIT, &STOP_LOSS];
        if !exits.iter().any(|exit| is_sent(exit)) {
            let names = ["tpslMode", "tpOrderType", "slOrderType", "tpLimitPrice"];
            let with = "an order without `takeProfit` and `stopLoss`";
            self.unwanted(&names, with)?;
            self.unwanted(&["slLimitPrice", "tpTriggerBy", "slTriggerBy"], with)?;
            return Ok(Vec::new());
        }
        if order.reduce_only || order.close_position {
            self.unwanted(&["takeProfit", "stopLoss"], "reduceOnly")?;
        }
        let names = ["slippageToleranceType", "slippageTolerance"];
        self.unwanted(&names, "`takeProfit` or `stopLoss`")?;
        let partial = match kind {
            // There the venue takes the order's own size, whatever the mode says.
            Kind::Spot => true,
            Kind::Futures => self.word_of("tpslMode") == Some("Partial"),
            Kind::Option => {
                self.unwanted(&["tpslMode"], kind.name())?;
                false
            }
        };
        if kind == Kind::Spot
            && !matches!(order.order_type, OrderType::Limit | OrderType::LimitMaker)
        {
            self.unwanted(
                &["takeProfit", "stopLoss"],
                "a spot order that is no plain limit order",
            )?;
        }
        let mut list = Vec::with_capacity(2);
        for exit in exits {
            let limit = self.limit_of(exit, partial)?;
            let Some(trigger) = self.price_of(exit.trigger) else {
                continue;
            };
            let quantity = if partial { order.quantity } else { None };
            list.push(exit_order(
                order.market,
                order.symbol.clone(),
                opposite(order.side),
                order.position_side,
                Trigger::of(exit),
                (trigger, limit, quantity),
                true,
            ));
        }
        Ok(list)
    }

    /// The price of an exit that becomes a limit order.
    fn limit_of(&self, exit: &Exit, partial: bool) -> Result<Option<Price>, DecodeError> {
        if self.field(exit.trigger).is_none() {
            let with = format!("an order without `{}`", exit.trigger);
            self.unwanted(&[exit.order_type, exit.limit], &with)?;
        }
        let is_limit = self.word_of(exit.order_type) == Some("Limit");
        match (is_limit, self.price_of(exit.limit)) {
            (true, None) => Err(missing(exit.limit)),
            (false, Some(_)) => Err(not_wanted(exit.limit, "an exit at the market's price")),
            (true, Some(_)) if !partial => Err(not_wanted(
                exit.limit,
                "an exit of the whole position; send `tpslMode` Partial",
            )),
            (_, limit) => Ok(limit),
        }
    }

    /// What closes a position: full exits, partial ones, a trailing stop.
    fn exits_of_position(
        &self,
        kind: Kind,
        market: MarketKind,
        symbol: Symbol,
    ) -> Result<Vec<Order>, DecodeError> {
        use Attribute as A;
        let partial = match self.word_of("tpslMode") {
            Some("Full") => false,
            Some("Partial") if kind == Kind::Futures => true,
            Some(_) => return Err(not_wanted("tpslMode", kind.name())),
            None => return Err(missing("tpslMode")),
        };
        if !partial {
            self.unwanted(&["tpSize", "slSize"], "tpslMode Full")?;
        }
        let (profit, loss) = (self.price_of("takeProfit"), self.price_of("stopLoss"));
        let position_side = self.position_side();
        // In one-way mode nothing says which side the position is on but the exits themselves.
        let side = match (position_side, profit, loss) {
            (Some(PositionSide::Long), ..) => Side::Sell,
            (Some(PositionSide::Short), ..) => Side::Buy,
            (None, Some(profit), Some(loss)) if profit > loss => Side::Sell,
            (None, Some(profit), Some(loss)) if profit < loss => Side::Buy,
            _ => {
                return Err(DecodeError::FieldValue {
                    field: "positionIdx".to_owned(),
                    why: "does not say which side is closed; send `takeProfit` and `stopLoss` together, \
                          or place a conditional order with `reduceOnly`"
                        .to_owned(),
                });
            }
        };
        let mut list = Vec::with_capacity(2);
        for (exit, trigger) in [(&TAKE_PROFIT, profit), (&STOP_LOSS, loss)] {
            let limit = self.limit_of(exit, partial)?;
            let Some(trigger) = trigger else {
                self.unwanted(&[exit.size], "an exit that is not sent")?;
                continue;
            };
            let quantity = match (partial, self.field(exit.size)) {
                (true, Some((_, Value::Units(units)))) => Some(Quantity(*units)),
                (true, _) => return Err(missing(exit.size)),
                (false, _) => None,
            };
            list.push(exit_order(
                market,
                symbol.clone(),
                side,
                position_side,
                Trigger::of(exit),
                (trigger, limit, quantity),
                false,
            ));
        }
        match self.get(A::CallbackRate) {
            None => self.unwanted(&["activePrice"], "no `trailingStop`")?,
            Some(_) => list.push(Order {
                order_type: OrderType::TrailingStop,
                stop_price: self.units(A::ActivationPrice).map(Price),
                ..exit_order(
                    market,
                    symbol,
                    side,
                    position_side,
                    Trigger::Stop,
                    (Price(0), None, None),
                    false,
                )
            }),
        }
        Ok(list)
    }
}

/// Which way the price comes to an order that waits for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trigger {
    /// Against the order's side: it buys when the price has risen, or sells when it has fallen.
    Stop,
    Profit,
}

impl Trigger {
    fn of(exit: &Exit) -> Self {
        match exit.trigger {
            "takeProfit" => Self::Profit,
            _ => Self::Stop,
        }
    }
}

/// `(trigger, limit, quantity)`; without a quantity it closes all of the position.
fn exit_order(
    market: MarketKind,
    symbol: Symbol,
    side: Side,
    position_side: Option<PositionSide>,
    trigger: Trigger,
    (price, limit, quantity): (Price, Option<Price>, Option<Quantity>),
    is_attached: bool,
) -> Order {
    let order_type = match (trigger, limit) {
        (Trigger::Profit, None) => OrderType::TakeProfit,
        (Trigger::Profit, Some(_)) => OrderType::TakeProfitLimit,
        (Trigger::Stop, None) => OrderType::StopLoss,
        (Trigger::Stop, Some(_)) => OrderType::StopLossLimit,
    };
    let leg = match (trigger, side) {
        (Trigger::Profit, Side::Sell) | (Trigger::Stop, Side::Buy) => Leg::PendingAbove,
        (Trigger::Profit, Side::Buy) | (Trigger::Stop, Side::Sell) => Leg::PendingBelow,
    };
    Order {
        market,
        symbol,
        side,
        order_type,
        time_in_force: None,
        quantity,
        quote_quantity: None,
        price: limit,
        stop_price: Some(price),
        trailing_delta: None,
        iceberg_quantity: None,
        client_order_id: None,
        list_client_order_id: None,
        leg: is_attached.then_some(leg),
        // On spot the venue enforces nothing: the exit sells what the entry bought.
        reduce_only: Kind::of(market) != Kind::Spot,
        borrows: false,
        pegged: false,
        replaces: false,
        position_side,
        close_position: quantity.is_none(),
        algo: false,
    }
}

fn opposite(side: Side) -> Side {
    match side {
        Side::Buy => Side::Sell,
        Side::Sell => Side::Buy,
    }
}

fn word(named: Option<Named<'_>>) -> Option<&str> {
    match named? {
        (field, Value::Word(at)) => Some(field.ty.word(*at)),
        _ => None,
    }
}

fn missing(field: &str) -> DecodeError {
    DecodeError::FieldMissing {
        field: field.to_owned(),
    }
}

fn not_wanted(field: &str, with: &str) -> DecodeError {
    DecodeError::FieldNotWanted {
        field: field.to_owned(),
        with: with.to_owned(),
    }
}
