//! Orders on the spot markets, in no venue's words.

use crate::book::{Life, Order, Side, Type};
use crate::decimal::{D, div, mul};
use crate::exchange::{Exchange, NewList, NewOrder};
use crate::makers::plain;

/// Why an order is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The market does not trade.
    Closed,
    /// The price is not above zero.
    PriceZero,
    /// The price is off its steps.
    Tick,
    /// The price is too high.
    PriceHigh,
    /// The price is too low.
    PriceLow,
    /// The quantity is off its steps.
    Step,
    /// The quantity is too small.
    Small,
    /// The quantity is too large.
    Large,
    /// It is worth too little.
    Value,
    /// Too many open orders.
    Orders,
    /// Too many waiting orders.
    Stops,
    /// The balance does not cover it.
    Poor,
    /// The client's id was used before.
    Duplicate,
    /// It would wake at once, or its prices do not fit together.
    Trigger,
    /// Nobody sells or buys.
    NoBook,
    /// No such order, or it is done.
    Unknown,
    /// Nothing would change.
    Same,
    /// Its type cannot be changed so.
    Fixed,
}

/// What wakes an order.
#[derive(Debug, Clone, Copy)]
pub struct Exit {
    /// The price that wakes it.
    pub trigger: D,
    /// Its own price; none is at market.
    pub price: Option<D>,
}

/// A spot order.
#[derive(Debug, Clone)]
pub struct Spot {
    /// Side.
    pub side: Side,
    /// Price; none is at market.
    pub price: Option<D>,
    /// Quantity: of the base, or of the quote where `by_value` says so.
    pub quantity: D,
    /// The quantity is a value (orders at market only).
    pub by_value: bool,
    /// Life.
    pub life: Life,
    /// Never takes.
    pub post_only: bool,
    /// Waits for this price.
    pub trigger: Option<D>,
    /// The client's id.
    pub client_id: Option<String>,
    /// Self-trade prevention, in the core's words.
    pub stp: Option<&'static str>,
    /// Follows once it is filled, with gain.
    pub take_profit: Option<Exit>,
    /// Follows once it is filled, with loss.
    pub stop_loss: Option<Exit>,
}

/// Looks at the price's steps.
///
/// # Errors
/// Why not.
pub fn price(exchange: &Exchange, market: usize, price: D) -> Result<(), Why> {
    let rules = &exchange.markets[market].symbol;
    let last = exchange.markets[market].last;
    if price <= 0 {
        return Err(Why::PriceZero);
    }
    if price % rules.tick != 0 {
        return Err(Why::Tick);
    }
    if price > rules.price_max || price > mul(last, crate::market::PERCENT_UP) {
        return Err(Why::PriceHigh);
    }
    if price < rules.price_min || price < mul(last, crate::market::PERCENT_DOWN) {
        return Err(Why::PriceLow);
    }
    Ok(())
}

fn quantity(exchange: &Exchange, market: usize, quantity: D, at: Option<D>) -> Result<(), Why> {
    let rules = &exchange.markets[market].symbol;
    if quantity % rules.step != 0 {
        return Err(Why::Step);
    }
    if quantity < rules.quantity_min {
        return Err(Why::Small);
    }
    let max = if at.is_some() {
        rules.quantity_max
    } else {
        rules.market_quantity_max
    };
    if quantity > max {
        return Err(Why::Large);
    }
    let value = mul(at.unwrap_or(exchange.markets[market].last), quantity);
    if value < rules.notional_min {
        return Err(Why::Value);
    }
    if at.is_some() && value > rules.notional_max {
        return Err(Why::Large);
    }
    Ok(())
}

/// Places an order.
///
/// # Errors
/// Why not; nothing has changed then.
pub fn place(
    exchange: &mut Exchange,
    account: usize,
    market: usize,
    asked: Spot,
) -> Result<u64, Why> {
    if exchange.markets[market].symbol.status != "TRADING" {
        return Err(Why::Closed);
    }
    if let Some(id) = &asked.client_id
        && exchange.accounts[account]
            .by_client
            .contains_key(&(market, id.clone()))
    {
        return Err(Why::Duplicate);
    }
    for one in [asked.price, asked.trigger].into_iter().flatten() {
        price(exchange, market, one)?;
    }
    if asked.by_value {
        if asked.quantity < exchange.markets[market].symbol.notional_min {
            return Err(Why::Value);
        }
    } else {
        quantity(exchange, market, asked.quantity, asked.price)?;
    }
    let last = exchange.markets[market].last;
    let kind = match (asked.trigger, asked.price) {
        (None, Some(_)) if asked.post_only => Type::LimitMaker,
        (None, Some(_)) => Type::Limit,
        (None, None) => Type::Market,
        (Some(at), price) => waiting(asked.side, at > last, price.is_some()),
    };
    let mut new = NewOrder {
        life: asked.life,
        client_id: asked.client_id.clone(),
        stp: asked.stp.map(str::to_owned),
        stop_price: asked.trigger,
        ..plain(asked.side, kind, asked.price.unwrap_or(0), asked.quantity)
    };
    if asked.by_value && kind == Type::Market {
        new.quote_quantity = asked.quantity;
        new.quantity = 0;
    } else if asked.by_value {
        // A waiting order by value: what it comes to at the price that wakes it.
        let step = exchange.markets[market].symbol.step;
        new.quantity = div(asked.quantity, asked.trigger.unwrap_or(last)) / step * step;
    }
    let exits: Vec<NewOrder> = [(asked.take_profit, true), (asked.stop_loss, false)]
        .into_iter()
        .filter_map(|(exit, gain)| exit.map(|exit| (exit, gain)))
        .map(|(exit, gain)| follow(&asked, exit, gain))
        .collect();
    for exit in &exits {
        price(exchange, market, exit.stop_price.unwrap_or(0))?;
        if !exit.kind.at_market() {
            price(exchange, market, exit.price)?;
        }
    }
    if kind == Type::LimitMaker && exchange.crosses(market, new.side, new.price) {
        return Ok(exchange.place_dead(account, market, new));
    }
    if exits.is_empty() {
        return exchange
            .place(account, market, new)
            .map_err(|r| why(&r.msg));
    }
    let list = NewList {
        client_id: None,
        working: Some((new, asked.side == Side::Buy)),
        legs: exits,
    };
    let list = exchange
        .place_list(account, market, list)
        .map_err(|r| why(&r.msg))?;
    exchange.settle(market);
    exchange
        .lists
        .get(&list)
        .and_then(|l| l.working)
        .ok_or(Why::Fixed)
}

fn waiting(side: Side, rising: bool, limit: bool) -> Type {
    match ((side == Side::Buy) == rising, limit) {
        (true, false) => Type::StopLoss,
        (true, true) => Type::StopLossLimit,
        (false, false) => Type::TakeProfit,
        (false, true) => Type::TakeProfitLimit,
    }
}

/// The order that follows one that was filled.
fn follow(asked: &Spot, exit: Exit, gain: bool) -> NewOrder {
    let side = asked.side.other();
    let kind = match (gain, exit.price.is_some()) {
        (true, false) => Type::TakeProfit,
        (true, true) => Type::TakeProfitLimit,
        (false, false) => Type::StopLoss,
        (false, true) => Type::StopLossLimit,
    };
    NewOrder {
        stop_price: Some(exit.trigger),
        ..plain(side, kind, exit.price.unwrap_or(0), asked.quantity)
    }
}

/// Two orders of which one cancels the other: with gain, with loss. Gives the list.
///
/// # Errors
/// Why not.
pub fn place_pair(
    exchange: &mut Exchange,
    account: usize,
    market: usize,
    asked: &Spot,
) -> Result<u64, Why> {
    quantity(exchange, market, asked.quantity, None)?;
    let other = Spot {
        side: asked.side.other(),
        ..asked.clone()
    };
    let legs: Vec<NewOrder> = [(asked.take_profit, true), (asked.stop_loss, false)]
        .into_iter()
        .filter_map(|(exit, gain)| Some(follow(&other, exit?, gain)))
        .collect();
    for leg in &legs {
        price(exchange, market, leg.stop_price.unwrap_or(0))?;
        if !leg.kind.at_market() {
            price(exchange, market, leg.price)?;
        }
    }
    let list = NewList {
        client_id: asked.client_id.clone(),
        working: None,
        legs,
    };
    let list = exchange
        .place_list(account, market, list)
        .map_err(|r| why(&r.msg))?;
    exchange.settle(market);
    Ok(list)
}

/// Another price or quantity for an order that rests; both go where a new order would go, but for a smaller quantity.
///
/// # Errors
/// Why not; the order stays as it is then.
pub fn amend(
    exchange: &mut Exchange,
    account: usize,
    market: usize,
    id: u64,
    new_price: Option<D>,
    new_quantity: Option<D>,
    new_trigger: Option<D>,
) -> Result<(), Why> {
    let order = exchange
        .find(account, market, Some(id), None)
        .filter(|o| o.status.open())
        .ok_or(Why::Unknown)?;
    let at = new_price.unwrap_or(order.price);
    let size = new_quantity.unwrap_or(order.quantity);
    let trigger = new_trigger.or(order.stop_price);
    if order.kind.at_market() && new_price.is_some()
        || order.stop_price.is_none() && new_trigger.is_some()
        || order.list.is_some()
    {
        return Err(Why::Fixed);
    }
    if at == order.price && size == order.quantity && trigger == order.stop_price {
        return Err(Why::Same);
    }
    if size <= order.executed + order.prevented {
        return Err(Why::Small);
    }
    let limit = (!order.kind.at_market()).then_some(at);
    for one in [limit, trigger].into_iter().flatten() {
        price(exchange, market, one)?;
    }
    quantity(exchange, market, size, limit)?;
    exchange
        .revise(account, market, id, at, size, trigger)
        .map_err(|r| why(&r.msg))
}

/// Cancels the orders of an account that `fits` lets through, on all markets or one: market and order of each.
pub fn cancel_all(
    exchange: &mut Exchange,
    account: usize,
    fits: impl Fn(&Order) -> bool,
    only: Option<usize>,
) -> Vec<(usize, u64)> {
    let mut gone = Vec::new();
    for market in (0..exchange.markets.len()).filter(|m| only.is_none_or(|o| o == *m)) {
        let open: Vec<u64> = exchange.accounts[account].open[market]
            .iter()
            .copied()
            .filter(|id| {
                exchange
                    .find(account, market, Some(*id), None)
                    .is_some_and(&fits)
            })
            .collect();
        for id in open {
            if exchange
                .cancel(account, market, Some(id), None, None)
                .is_ok()
            {
                gone.push((market, id));
            }
        }
    }
    gone
}

/// What the core's words for a refusal mean.
#[must_use]
pub fn why(msg: &str) -> Why {
    match msg {
        "Market is closed." => Why::Closed,
        "Invalid price." => Why::PriceZero,
        "Invalid quantity." | "Filter failure: LOT_SIZE" => Why::Step,
        "Filter failure: MARKET_LOT_SIZE" => Why::Large,
        "Filter failure: PRICE_FILTER" => Why::Tick,
        "Filter failure: PERCENT_PRICE_BY_SIDE" => Why::PriceHigh,
        "Filter failure: NOTIONAL" => Why::Value,
        "Filter failure: MAX_NUM_ORDERS" | "Filter failure: MAX_NUM_ORDER_LISTS" => Why::Orders,
        "Filter failure: MAX_NUM_ALGO_ORDERS" => Why::Stops,
        "Account has insufficient balance for requested action." => Why::Poor,
        "Duplicate order sent." => Why::Duplicate,
        "Unknown order sent." => Why::Unknown,
        _ if msg.starts_with("Order would") || msg.starts_with("The relationship") => Why::Trigger,
        _ if msg.starts_with("Order book") => Why::NoBook,
        _ => Why::Fixed,
    }
}

const BASE: u64 = 1_700_000_000_000_000_000;
const MARKET: u64 = 1_000_000_000_000;

/// The number of an order at the venue: orders are numbered by market in the core.
#[must_use]
pub fn number(market: usize, id: u64) -> u64 {
    BASE + market as u64 * MARKET + id
}

/// Market and order of a number.
#[must_use]
pub fn of_number(exchange: &Exchange, text: &str) -> Option<(usize, u64)> {
    let number = text.parse::<u64>().ok()?.checked_sub(BASE)?;
    let market = usize::try_from(number / MARKET).ok()?;
    (market < exchange.markets.len()).then_some((market, number % MARKET))
}
