//! What the answers of USD-M and COIN-M futures say. Quantities are the market's own (contracts on COIN-M). A conditional order
//! has a number of its own; once triggered it becomes another order, and what that one fills is its.

use super::futures::{order_type, post_only};
use super::summary::{Failed, TimeAnswer, UNKNOWN_CODES, id, ms, number, parse, status, units};
use crate::catalog::{Answer, Endpoint};
use crate::document::Text;
use crate::summary::{REPORTS_MAX, bounded};
use portcullis_model::action::{Asset, MarketKind, OrderType, Side, Symbol, TimeInForce};
use portcullis_model::id::OrderId;
use portcullis_model::number::{Amount, Price, Quantity};
use portcullis_model::report::{OrderReport, OrderStatus, Report, TradeReport};
use serde::Deserialize;

pub(super) fn read(rule: &Endpoint, body: &[u8], out: &mut Vec<Report>) -> Option<()> {
    let market = rule.market;
    match rule.answer {
        Answer::Order if rule.algo => algo_order(market, &parse(body)?, out),
        Answer::Orders | Answer::OpenOrders if rule.algo => parse::<Vec<AlgoAnswer<'_>>>(body)?
            .iter()
            .try_for_each(|answer| algo_order(market, answer, out)),
        Answer::Order => order(market, parse(body)?, OrderStatus::Open, out),
        // What is not in it may still wait as a conditional order: it is not the whole.
        Answer::Orders | Answer::OpenOrders => parse::<Vec<OrderAnswer<'_>>>(body)?
            .into_iter()
            .try_for_each(|answer| order(market, answer, OrderStatus::Unknown, out)),
        Answer::Batch => batch(market, body, out),
        Answer::Trades => parse::<Vec<TradeAnswer<'_>>>(body)?
            .iter()
            .try_for_each(|answer| {
                out.push(Report::Trade(trade(market, answer)?));
                bounded(out)
            }),
        Answer::Price => {
            match parse(body)? {
                OneOrMany::One(answer) => mark_price(market, &answer, out),
                OneOrMany::Many(answers) => {
                    answers.iter().for_each(|a| mark_price(market, a, out));
                }
            }
            Some(())
        }
        Answer::Time => {
            out.push(Report::VenueTime {
                time_ms: ms(parse::<TimeAnswer>(body)?.server_time),
            });
            Some(())
        }
        Answer::Plain => Some(()),
        // Answers that only spot has.
        Answer::CancelAll
        | Answer::List
        | Answer::Lists
        | Answer::CancelReplace
        | Answer::Amend => None,
    }
}

/// Each order of a batch has its own outcome, at its own place.
fn batch(market: MarketKind, body: &[u8], out: &mut Vec<Report>) -> Option<()> {
    for (position, item) in (0..).zip(parse::<Vec<BatchItem<'_>>>(body)?) {
        match item {
            BatchItem::Failed(Failed { code }) if code < 0 => {
                if UNKNOWN_CODES.contains(&code) {
                    return None;
                }
                out.push(Report::ActionRefused { position, code });
            }
            BatchItem::Failed(_) => return None,
            BatchItem::Order(answer) => order(market, *answer, OrderStatus::Open, out)?,
        }
        bounded(out)?;
    }
    Some(())
}

fn order(
    market: MarketKind,
    answer: OrderAnswer<'_>,
    without_status: OrderStatus,
    out: &mut Vec<Report>,
) -> Option<()> {
    // Both stand in some answers: what was paid is in the coin on COIN-M, in quote units on USD-M.
    let paid = match market {
        MarketKind::CoinFutures => answer.cum_base,
        _ => answer.cum_quote,
    };
    let (order_type, time_in_force) =
        type_and_force(answer.order_type.as_ref(), answer.time_in_force.as_ref());
    out.push(Report::Order(OrderReport {
        market,
        symbol: Symbol(answer.symbol.0.as_ref().into()),
        order_id: order_id(answer.order_id)?,
        client_order_id: answer.client_order_id.map(id),
        list_id: None,
        status: answer
            .status
            .as_ref()
            .map_or(without_status, |t| status(&t.0)),
        side: side(answer.side.as_ref()),
        order_type,
        time_in_force,
        price: number(answer.price)?.map(Price),
        original_quantity: number(answer.orig_qty)?.map(Quantity),
        executed_quantity: number(answer.executed_qty)?.map(Quantity),
        executed_quote: number(paid)?.map(Amount),
        time_ms: time(answer.update_time.or(answer.time)),
        original_client_order_id: None,
        algo: false,
        became: None,
        average_price: number(answer.avg_price)?.filter(|p| *p > 0).map(Price),
    }));
    bounded(out)
}

fn algo_order(market: MarketKind, answer: &AlgoAnswer<'_>, out: &mut Vec<Report>) -> Option<()> {
    let became = match &answer.actual_order_id {
        None => None,
        Some(Number::Text(text)) if text.0.is_empty() => None,
        Some(Number::Text(text)) => Some(text.0.parse().ok()?),
        Some(Number::Plain(0)) => None,
        Some(Number::Plain(number)) => Some(OrderId::from(*number)),
    };
    let (order_type, time_in_force) =
        type_and_force(answer.order_type.as_ref(), answer.time_in_force.as_ref());
    out.push(Report::Order(OrderReport {
        market,
        symbol: Symbol(answer.symbol.0.as_ref().into()),
        order_id: order_id(answer.algo_id)?,
        client_order_id: answer.client_algo_id.clone().map(id),
        list_id: None,
        status: match answer.algo_status.as_ref().map(|t| &*t.0) {
            None | Some("NEW" | "TRIGGERING" | "TRIGGERED") => OrderStatus::Open,
            // Once it has become another, that one's outcome counts.
            Some(_) if became.is_some() => OrderStatus::Unknown,
            Some("CANCELED") => OrderStatus::Cancelled,
            Some("EXPIRED") => OrderStatus::Expired,
            Some("REJECTED") => OrderStatus::Rejected,
            Some(_) => OrderStatus::Unknown,
        },
        side: side(answer.side.as_ref()),
        order_type,
        time_in_force,
        price: number(answer.price.clone())?.map(Price),
        original_quantity: number(answer.quantity.clone())?.map(Quantity),
        executed_quantity: None,
        executed_quote: None,
        time_ms: time(answer.update_time.or(answer.create_time)),
        original_client_order_id: None,
        algo: true,
        became,
        average_price: None,
    }));
    bounded(out)
}

fn trade(market: MarketKind, answer: &TradeAnswer<'_>) -> Option<TradeReport> {
    let paid = match market {
        MarketKind::CoinFutures => &answer.base_qty,
        _ => &answer.quote_qty,
    };
    Some(TradeReport {
        market,
        symbol: Symbol(answer.symbol.0.as_ref().into()),
        trade_id: answer.id.into(),
        order_id: answer.order_id.into(),
        side: if answer.buyer { Side::Buy } else { Side::Sell },
        price: Price(units(&answer.price)?),
        quantity: Quantity(units(&answer.qty)?),
        quote: match paid {
            Some(paid) => Some(Amount(units(paid)?)),
            None => None,
        },
        // Above zero is paid, below is a maker's rebate.
        commission: Amount(signed(&answer.commission)?),
        commission_asset: Asset(answer.commission_asset.0.as_ref().into()),
        time_ms: ms(answer.time),
    })
}

/// A price that cannot be read or is zero is no price.
fn mark_price(market: MarketKind, answer: &PriceAnswer<'_>, out: &mut Vec<Report>) {
    if let Some(units) = units(&answer.mark_price).filter(|u| *u > 0)
        && out.len() < REPORTS_MAX
    {
        out.push(Report::Price {
            market,
            symbol: Symbol(answer.symbol.0.as_ref().into()),
            price: Price(units),
        });
    }
}

fn type_and_force(
    ty: Option<&Text<'_>>,
    force: Option<&Text<'_>>,
) -> (Option<OrderType>, Option<TimeInForce>) {
    let ty = ty.and_then(|t| order_type(&t.0));
    let force = match force.map(|t| &*t.0) {
        Some("GTC") => Some(TimeInForce::Gtc),
        Some("IOC") => Some(TimeInForce::Ioc),
        Some("FOK") => Some(TimeInForce::Fok),
        Some("GTD") => Some(TimeInForce::Gtd),
        Some(word) if post_only(word) && ty == Some(OrderType::Limit) => {
            return (Some(OrderType::LimitMaker), None);
        }
        _ => None,
    };
    (ty, force)
}

fn side(text: Option<&Text<'_>>) -> Option<Side> {
    match text.map(|t| &*t.0) {
        Some("BUY") => Some(Side::Buy),
        Some("SELL") => Some(Side::Sell),
        _ => None,
    }
}

fn order_id(number: i64) -> Option<OrderId> {
    Some(u64::try_from(number).ok()?.into())
}

fn time(time: Option<i64>) -> Option<u64> {
    time.and_then(|t| u64::try_from(t).ok()).map(ms)
}

fn signed(text: &Text<'_>) -> Option<i128> {
    match text.0.strip_prefix('-') {
        Some(rest) => Some(-portcullis_model::number::parse_units(rest.as_bytes()).ok()?),
        None => units(text),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OrderAnswer<'a> {
    #[serde(borrow)]
    symbol: Text<'a>,
    order_id: i64,
    client_order_id: Option<Text<'a>>,
    update_time: Option<i64>,
    time: Option<i64>,
    price: Option<Text<'a>>,
    avg_price: Option<Text<'a>>,
    orig_qty: Option<Text<'a>>,
    executed_qty: Option<Text<'a>>,
    cum_quote: Option<Text<'a>>,
    cum_base: Option<Text<'a>>,
    status: Option<Text<'a>>,
    time_in_force: Option<Text<'a>>,
    #[serde(rename = "type")]
    order_type: Option<Text<'a>>,
    side: Option<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AlgoAnswer<'a> {
    #[serde(borrow)]
    symbol: Text<'a>,
    algo_id: i64,
    client_algo_id: Option<Text<'a>>,
    actual_order_id: Option<Number<'a>>,
    algo_status: Option<Text<'a>>,
    order_type: Option<Text<'a>>,
    time_in_force: Option<Text<'a>>,
    side: Option<Text<'a>>,
    price: Option<Text<'a>>,
    quantity: Option<Text<'a>>,
    create_time: Option<i64>,
    update_time: Option<i64>,
}

/// A number that the venue writes as text, empty where there is none.
#[derive(Deserialize)]
#[serde(untagged)]
enum Number<'a> {
    #[serde(borrow)]
    Text(Text<'a>),
    Plain(u64),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum BatchItem<'a> {
    // First: a refusal may come with fields of the order.
    Failed(Failed),
    #[serde(borrow)]
    Order(Box<OrderAnswer<'a>>),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TradeAnswer<'a> {
    #[serde(borrow)]
    symbol: Text<'a>,
    id: u64,
    order_id: u64,
    price: Text<'a>,
    qty: Text<'a>,
    quote_qty: Option<Text<'a>>,
    base_qty: Option<Text<'a>>,
    commission: Text<'a>,
    commission_asset: Text<'a>,
    time: u64,
    buyer: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PriceAnswer<'a> {
    #[serde(borrow)]
    symbol: Text<'a>,
    mark_price: Text<'a>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany<'a> {
    #[serde(borrow)]
    One(PriceAnswer<'a>),
    Many(Vec<PriceAnswer<'a>>),
}
