//! What Binance's answers say, in the words of `model::report`. Unknown fields pass, an unknown status stays unknown; an
//! answer that cannot be read says so, and frees nothing. Whatever the venue itself calls unknown (5xx, -1000, -1001,
//! -1006, -1007) is never taken for a refusal.

use super::futures_summary;
use super::orders::order_type;
use crate::catalog::{Answer, Endpoint};
use crate::document::Text;
use crate::form;
use crate::summary::{REPORTS_MAX, bounded};
use portcullis_model::action::{Asset, ClientOrderId, MarketKind, Side, Symbol, TimeInForce};
use portcullis_model::id::OrderId;
use portcullis_model::number::{Amount, Price, Quantity, Round};
use portcullis_model::report::{OrderReport, OrderStatus, Report, TradeReport};
use serde::Deserialize;

/// Codes after which the venue itself does not know what became of the request.
pub const UNKNOWN_CODES: [i64; 4] = [-1000, -1001, -1006, -1007];
/// The order that was asked for does not exist.
const NO_SUCH_ORDER: i64 = -2013;
/// Times above this are microseconds (the program asked for them).
const MILLISECONDS_MAX: u64 = 100_000_000_000_000;

pub(super) fn summarize(
    rule: &Endpoint,
    target: &[u8],
    status: u16,
    body: &[u8],
    out: &mut Vec<Report>,
) -> Option<()> {
    let futures = matches!(
        rule.market,
        MarketKind::UsdFutures | MarketKind::CoinFutures
    );
    if !(200..300).contains(&status) {
        refused(rule, status, body, out)
    } else if futures {
        futures_summary::read(rule, body, out)
    } else {
        read(rule, target, body, out)
    }
}

fn read(rule: &Endpoint, target: &[u8], body: &[u8], out: &mut Vec<Report>) -> Option<()> {
    let market = rule.market;
    match rule.answer {
        Answer::Plain => {}
        Answer::Order => order(market, parse(body)?, OrderStatus::Open, out)?,
        Answer::Orders => many(market, body, out)?,
        Answer::CancelAll => {
            for item in parse::<Vec<Item<'_>>>(body)? {
                match item {
                    Item::List(answer) => list(market, answer, out)?,
                    Item::Order(answer) => order(market, *answer, OrderStatus::Unknown, out)?,
                }
            }
        }
        Answer::OpenOrders => {
            many(market, body, out)?;
            // Margin answers are of one wallet only, cross or isolated: they are not the whole.
            if market == MarketKind::Spot {
                out.push(Report::OpenOrdersComplete {
                    market,
                    symbol: symbol_of(target)?,
                });
            }
        }
        Answer::List => list(market, parse(body)?, out)?,
        Answer::Lists => {
            for answer in parse::<Vec<ListAnswer<'_>>>(body)? {
                list(market, answer, out)?;
            }
        }
        // An answer that only futures have.
        Answer::Batch => return None,
        Answer::CancelReplace => cancel_replace(market, &parse(body)?, 0, out)?,
        Answer::Amend => {
            let answer: AmendAnswer<'_> = parse(body)?;
            order(
                market,
                OrderAnswer {
                    transact_time: answer.transact_time,
                    ..answer.amended_order
                },
                OrderStatus::Unknown,
                out,
            )?;
        }
        Answer::Trades => {
            for answer in parse::<Vec<TradeAnswer<'_>>>(body)? {
                out.push(Report::Trade(trade(market, &answer)?));
                bounded(out)?;
            }
        }
        Answer::Price => match parse(body)? {
            OneOrMany::One(answer) => price(market, &answer, out),
            OneOrMany::Many(answers) => answers.iter().for_each(|a| price(market, a, out)),
        },
        Answer::Time => out.push(Report::VenueTime {
            time_ms: ms(parse::<TimeAnswer>(body)?.server_time),
        }),
    }
    Some(())
}

fn refused(rule: &Endpoint, status: u16, body: &[u8], out: &mut Vec<Report>) -> Option<()> {
    // cancelReplace says what became of each half, under 400, 409 and 429.
    if rule.answer == Answer::CancelReplace
        && let Some(failed) = parse::<CancelReplaceFailed<'_>>(body)
    {
        return cancel_replace(rule.market, &failed.data, failed.code, out);
    }
    if status >= 500 {
        return None;
    }
    match parse::<Failed>(body) {
        Some(Failed { code }) if UNKNOWN_CODES.contains(&code) => return None,
        Some(Failed {
            code: NO_SUCH_ORDER,
        }) if rule.answer != Answer::Plain => out.push(Report::NoSuchOrder),
        Some(Failed { code }) if code < 0 && status != 409 => out.push(Report::Refused { code }),
        // The firewall and the limits answer without JSON; nothing reached the matching engine.
        None if matches!(status, 403 | 418 | 429) => out.push(Report::Refused {
            code: i64::from(status),
        }),
        _ => return None,
    }
    Some(())
}

fn cancel_replace(
    market: MarketKind,
    answer: &CancelReplaceAnswer<'_>,
    code: i64,
    out: &mut Vec<Report>,
) -> Option<()> {
    let halves = [
        (
            0,
            &answer.cancel_result,
            &answer.cancel_response,
            OrderStatus::Unknown,
        ),
        (
            1,
            &answer.new_order_result,
            &answer.new_order_response,
            OrderStatus::Open,
        ),
    ];
    for (position, result, response, without_status) in halves {
        match (result.0.as_ref(), response) {
            ("SUCCESS", Some(Half::Order(answer))) => {
                order(market, (**answer).clone(), without_status, out)?
            }
            ("FAILURE", Some(Half::Failed(failed))) => {
                if UNKNOWN_CODES.contains(&failed.code) {
                    return None;
                }
                out.push(Report::ActionRefused {
                    position,
                    code: failed.code,
                });
            }
            ("NOT_ATTEMPTED", _) => out.push(Report::ActionRefused { position, code }),
            _ => return None,
        }
    }
    Some(())
}

fn many(market: MarketKind, body: &[u8], out: &mut Vec<Report>) -> Option<()> {
    for answer in parse::<Vec<OrderAnswer<'_>>>(body)? {
        order(market, answer, OrderStatus::Unknown, out)?;
    }
    Some(())
}

fn list(market: MarketKind, answer: ListAnswer<'_>, out: &mut Vec<Report>) -> Option<()> {
    let placed = !answer.order_reports.is_empty();
    for report in answer.order_reports {
        let report = OrderAnswer {
            transact_time: report.transact_time.or(answer.transaction_time),
            ..report
        };
        order(market, report, OrderStatus::Open, out)?;
    }
    if !placed {
        for report in answer.orders {
            let report = OrderAnswer {
                order_list_id: Some(answer.order_list_id),
                ..report
            };
            order(market, report, OrderStatus::Unknown, out)?;
        }
    }
    Some(())
}

/// `without_status`: what a missing status means here (a bare acknowledgement of a new order: it is open).
fn order(
    market: MarketKind,
    answer: OrderAnswer<'_>,
    without_status: OrderStatus,
    out: &mut Vec<Report>,
) -> Option<()> {
    let side = match answer.side.as_ref().map(|t| &*t.0) {
        Some("BUY") => Some(Side::Buy),
        Some("SELL") => Some(Side::Sell),
        _ => None,
    };
    let order_id = OrderId::from(u64::try_from(answer.order_id).ok()?);
    let time = answer
        .transact_time
        .or(answer.update_time)
        .or(answer.time)
        .and_then(|t| u64::try_from(t).ok())
        .map(ms);
    out.push(Report::Order(OrderReport {
        market,
        symbol: Symbol(answer.symbol.0.as_ref().into()),
        order_id,
        client_order_id: answer.client_order_id.map(id),
        list_id: answer
            .order_list_id
            .and_then(|l| u64::try_from(l).ok())
            .map(OrderId::from),
        status: answer
            .status
            .as_ref()
            .map_or(without_status, |t| status(&t.0)),
        side,
        order_type: answer.order_type.as_ref().and_then(|t| order_type(&t.0)),
        time_in_force: match answer.time_in_force.as_ref().map(|t| &*t.0) {
            Some("GTC") => Some(TimeInForce::Gtc),
            Some("IOC") => Some(TimeInForce::Ioc),
            Some("FOK") => Some(TimeInForce::Fok),
            _ => None,
        },
        price: number(answer.price)?.map(Price),
        original_quantity: number(answer.orig_qty)?.map(Quantity),
        executed_quantity: number(answer.executed_qty)?.map(Quantity),
        executed_quote: number(answer.quote)?
            .filter(|units| *units >= 0)
            .map(Amount),
        time_ms: time,
        original_client_order_id: answer.orig_client_order_id.map(id),
        algo: false,
        became: None,
        average_price: None,
    }));
    for fill in &answer.fills {
        // The simulated-fill marker of tests has no number; a fill of an order has a side.
        let (Some(trade_id), Some(side)) =
            (fill.trade_id.and_then(|t| u64::try_from(t).ok()), side)
        else {
            continue;
        };
        let (price, quantity) = (Price(units(&fill.price)?), Quantity(units(&fill.qty)?));
        out.push(Report::Trade(TradeReport {
            market,
            symbol: Symbol(answer.symbol.0.as_ref().into()),
            trade_id: trade_id.into(),
            order_id,
            side,
            price,
            quantity,
            quote: Some(price.times(quantity, Round::Up)?),
            commission: Amount(units(&fill.commission)?),
            commission_asset: Asset(fill.commission_asset.0.as_ref().into()),
            time_ms: time.unwrap_or(0),
        }));
    }
    bounded(out)
}

fn trade(market: MarketKind, answer: &TradeAnswer<'_>) -> Option<TradeReport> {
    let (price, quantity) = (Price(units(&answer.price)?), Quantity(units(&answer.qty)?));
    Some(TradeReport {
        market,
        symbol: Symbol(answer.symbol.0.as_ref().into()),
        trade_id: answer.id.into(),
        order_id: answer.order_id.into(),
        side: if answer.is_buyer {
            Side::Buy
        } else {
            Side::Sell
        },
        price,
        quantity,
        quote: match &answer.quote_qty {
            Some(quote) => Some(Amount(units(quote)?)),
            None => Some(price.times(quantity, Round::Up)?),
        },
        commission: Amount(units(&answer.commission)?),
        commission_asset: Asset(answer.commission_asset.0.as_ref().into()),
        time_ms: ms(answer.time),
    })
}

/// A price that cannot be read or is zero is no price.
fn price(market: MarketKind, answer: &PriceAnswer<'_>, out: &mut Vec<Report>) {
    let Some(text) = answer.price.as_ref().or(answer.last_price.as_ref()) else {
        return;
    };
    if let Some(units) = units(text).filter(|u| *u > 0)
        && out.len() < REPORTS_MAX
    {
        out.push(Report::Price {
            symbol: Symbol(answer.symbol.0.as_ref().into()),
            price: Price(units),
            market,
        });
    }
}

/// What the venue says unasked of an account. Of an order's report every part is what an answer would have.
pub(super) fn event(rule: &Endpoint, event: &[u8], out: &mut Vec<Report>) -> Option<()> {
    let kind: EventKind<'_> = parse(event)?;
    if kind.kind.0 != "executionReport" {
        return Some(());
    }
    let said: ExecutionReport<'_> = parse(event)?;
    let traded = said.execution.0 == "TRADE";
    let fills = match (traded, said.commission_asset) {
        (true, Some(commission_asset)) => vec![Fill {
            price: said.last_price,
            qty: said.last_quantity,
            commission: said.commission,
            commission_asset,
            trade_id: Some(said.trade_id),
        }],
        _ => Vec::new(),
    };
    // A cancel has an id of its own; the order's stands beside it.
    let original = Some(said.original_client_order_id).filter(|id| !id.0.is_empty());
    order(
        rule.market,
        OrderAnswer {
            symbol: said.symbol,
            order_id: said.order_id,
            order_list_id: said.order_list_id,
            client_order_id: Some(said.client_order_id),
            orig_client_order_id: original,
            transact_time: Some(said.transact_time),
            update_time: None,
            time: None,
            price: Some(said.price),
            orig_qty: Some(said.quantity),
            executed_qty: Some(said.executed_quantity),
            quote: Some(said.executed_quote),
            status: Some(said.status),
            time_in_force: Some(said.time_in_force),
            order_type: Some(said.order_type),
            side: Some(said.side),
            fills,
        },
        OrderStatus::Unknown,
        out,
    )
}

#[derive(Deserialize)]
struct EventKind<'a> {
    #[serde(borrow, rename = "e")]
    kind: Text<'a>,
}

#[derive(Deserialize)]
struct ExecutionReport<'a> {
    #[serde(borrow, rename = "s")]
    symbol: Text<'a>,
    #[serde(rename = "c")]
    client_order_id: Text<'a>,
    #[serde(rename = "C")]
    original_client_order_id: Text<'a>,
    #[serde(rename = "S")]
    side: Text<'a>,
    #[serde(rename = "o")]
    order_type: Text<'a>,
    #[serde(rename = "f")]
    time_in_force: Text<'a>,
    #[serde(rename = "q")]
    quantity: Text<'a>,
    #[serde(rename = "p")]
    price: Text<'a>,
    #[serde(rename = "g")]
    order_list_id: Option<i64>,
    #[serde(rename = "x")]
    execution: Text<'a>,
    #[serde(rename = "X")]
    status: Text<'a>,
    #[serde(rename = "i")]
    order_id: i64,
    #[serde(rename = "l")]
    last_quantity: Text<'a>,
    #[serde(rename = "z")]
    executed_quantity: Text<'a>,
    #[serde(rename = "L")]
    last_price: Text<'a>,
    #[serde(rename = "n")]
    commission: Text<'a>,
    #[serde(rename = "N")]
    commission_asset: Option<Text<'a>>,
    #[serde(rename = "T")]
    transact_time: i64,
    #[serde(rename = "t")]
    trade_id: i64,
    #[serde(rename = "Z")]
    executed_quote: Text<'a>,
}

pub(super) fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Option<T> {
    serde_json::from_slice(body).ok()
}

pub(super) fn ms(time: u64) -> u64 {
    if time > MILLISECONDS_MAX {
        time / 1000
    } else {
        time
    }
}

pub(super) fn id(text: Text<'_>) -> ClientOrderId {
    ClientOrderId(text.0.as_ref().into())
}

pub(super) fn number(text: Option<Text<'_>>) -> Option<Option<i128>> {
    match text {
        None => Some(None),
        // Old orders have a quote amount of -1: not known.
        Some(text) if text.0.starts_with('-') => Some(None),
        Some(text) => units(&text).map(Some),
    }
}

pub(super) fn units(text: &Text<'_>) -> Option<i128> {
    portcullis_model::number::parse_units(text.0.as_bytes()).ok()
}

pub(super) fn status(word: &str) -> OrderStatus {
    match word {
        "NEW" | "PARTIALLY_FILLED" | "PENDING_NEW" | "PENDING_CANCEL" => OrderStatus::Open,
        "FILLED" => OrderStatus::Filled,
        "CANCELED" => OrderStatus::Cancelled,
        "REJECTED" => OrderStatus::Rejected,
        "EXPIRED" | "EXPIRED_IN_MATCH" => OrderStatus::Expired,
        _ => OrderStatus::Unknown,
    }
}

/// The request's symbol: `Some(None)` if it named none, `None` if the target cannot be read.
fn symbol_of(target: &[u8]) -> Option<Option<Symbol>> {
    let target = std::str::from_utf8(target).ok()?;
    let Some((_, query)) = target.split_once('?') else {
        return Some(None);
    };
    for part in query.split('&') {
        if let Some(value) = part.strip_prefix("symbol=") {
            return Some(Some(Symbol(form::decode(value).ok()?.as_ref().into())));
        }
    }
    Some(None)
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct OrderAnswer<'a> {
    #[serde(borrow)]
    symbol: Text<'a>,
    order_id: i64,
    order_list_id: Option<i64>,
    client_order_id: Option<Text<'a>>,
    orig_client_order_id: Option<Text<'a>>,
    transact_time: Option<i64>,
    update_time: Option<i64>,
    time: Option<i64>,
    price: Option<Text<'a>>,
    #[serde(alias = "qty")]
    orig_qty: Option<Text<'a>>,
    executed_qty: Option<Text<'a>>,
    // Spelled in two ways by the venue.
    #[serde(rename = "cummulativeQuoteQty", alias = "cumulativeQuoteQty")]
    quote: Option<Text<'a>>,
    status: Option<Text<'a>>,
    time_in_force: Option<Text<'a>>,
    #[serde(rename = "type")]
    order_type: Option<Text<'a>>,
    side: Option<Text<'a>>,
    #[serde(default)]
    fills: Vec<Fill<'a>>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fill<'a> {
    #[serde(borrow)]
    price: Text<'a>,
    qty: Text<'a>,
    commission: Text<'a>,
    commission_asset: Text<'a>,
    trade_id: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListAnswer<'a> {
    order_list_id: i64,
    transaction_time: Option<i64>,
    #[serde(borrow, default)]
    orders: Vec<OrderAnswer<'a>>,
    #[serde(default)]
    order_reports: Vec<OrderAnswer<'a>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Item<'a> {
    #[serde(borrow)]
    Order(Box<OrderAnswer<'a>>),
    List(ListAnswer<'a>),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AmendAnswer<'a> {
    transact_time: Option<i64>,
    #[serde(borrow)]
    amended_order: OrderAnswer<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CancelReplaceAnswer<'a> {
    #[serde(borrow)]
    cancel_result: Text<'a>,
    new_order_result: Text<'a>,
    cancel_response: Option<Half<'a>>,
    new_order_response: Option<Half<'a>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Half<'a> {
    #[serde(borrow)]
    Order(Box<OrderAnswer<'a>>),
    Failed(Failed),
}

#[derive(Deserialize)]
pub(super) struct Failed {
    pub(super) code: i64,
}

#[derive(Deserialize)]
struct CancelReplaceFailed<'a> {
    code: i64,
    #[serde(borrow)]
    data: CancelReplaceAnswer<'a>,
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
    commission: Text<'a>,
    commission_asset: Text<'a>,
    time: u64,
    is_buyer: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PriceAnswer<'a> {
    #[serde(borrow)]
    symbol: Text<'a>,
    price: Option<Text<'a>>,
    last_price: Option<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany<'a> {
    #[serde(borrow)]
    One(PriceAnswer<'a>),
    Many(Vec<PriceAnswer<'a>>),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TimeAnswer {
    pub(super) server_time: u64,
}
