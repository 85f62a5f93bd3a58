//! What KuCoin's answers say, in the words of `model::report`. Every answer has a code; what the venue itself calls unknown is
//! never taken for a refusal. Answers to orders leave out the market: it is taken from what was asked.

use crate::catalog::{Answer, Endpoint};
use crate::document::Text;
use crate::form;
use crate::summary::{Asked, REPORTS_MAX, bounded, id, number, parse, units};
use portcullis_model::action::{Asset, MarketKind, OrderType, Side, Symbol, TimeInForce};
use portcullis_model::number::{Amount, Price, Quantity};
use portcullis_model::report::{OrderReport, OrderStatus, Report, TradeReport};
use serde::Deserialize;
use serde_json::value::RawValue;

/// The code of an answer that is no refusal.
pub(super) const SUCCESS: &str = "200000";
/// Codes after which the venue itself does not know what became of the request, or may not.
pub const UNKNOWN_CODES: [&str; 2] = ["408000", "500000"];
/// The order that was asked for does not exist.
const NO_SUCH_ORDER: [&str; 3] = ["100001", "126043", "order_not_exist"];
/// The same in words, under the code of a bad request.
const NO_SUCH_ORDER_WORDS: [&str; 4] = [
    "The order does not exist.",
    "order not exist",
    "order not exist.",
    "order_not_exist",
];
/// The venue refused without a number: what a report says then is its code of a bad request.
const BAD_REQUEST: i64 = 400_100;

pub(super) fn summarize(
    rule: &Endpoint,
    asked: Asked<'_>,
    status: u16,
    body: &[u8],
    out: &mut Vec<Report>,
) -> Option<()> {
    let Some(head) = parse::<Head<'_>>(body) else {
        // The firewall and the limits answer without JSON; nothing reached the matching engine.
        if matches!(status, 403 | 429) {
            out.push(Report::Refused {
                code: i64::from(status),
            });
            return Some(());
        }
        return None;
    };
    let code = &*head.code.0;
    if status >= 500 || UNKNOWN_CODES.contains(&code) {
        return None;
    }
    if code == SUCCESS {
        return match status {
            200..300 => read(rule, asked, head.data.map_or("null", RawValue::get), out),
            _ => None,
        };
    }
    let words = head.msg.as_ref().map_or("", |msg| &*msg.0);
    if rule.action.is_read()
        && (NO_SUCH_ORDER.contains(&code) || NO_SUCH_ORDER_WORDS.contains(&words))
    {
        out.push(Report::NoSuchOrder);
        return Some(());
    }
    out.push(Report::Refused {
        code: code.parse().unwrap_or(BAD_REQUEST),
    });
    Some(())
}

fn read(rule: &Endpoint, asked: Asked<'_>, data: &str, out: &mut Vec<Report>) -> Option<()> {
    let body = data.as_bytes();
    let is_read = rule.action.is_read();
    match rule.answer {
        Answer::Order if is_read => match parse::<Option<OrderAnswer<'_>>>(body)? {
            Some(answer) => out.push(Report::Order(order(&answer)?)),
            None => out.push(Report::NoSuchOrder),
        },
        Answer::Order => {
            let request: AskedOrder<'_> = parse(asked.body)?;
            out.push(Report::Order(accepted(&request, &parse(body)?)?));
        }
        Answer::Batch => {
            let request: AskedOrders<'_> = parse(asked.body)?;
            let answers: Vec<Acknowledged<'_>> = parse(body)?;
            if answers.len() != request.order_list.len() {
                return None;
            }
            for ((position, request), answer) in (0u32..).zip(&request.order_list).zip(&answers) {
                match answer.success {
                    Some(true) => out.push(Report::Order(accepted(request, answer)?)),
                    Some(false) => out.push(Report::ActionRefused {
                        position,
                        code: BAD_REQUEST,
                    }),
                    None => return None,
                }
                bounded(out)?;
            }
        }
        Answer::OpenOrders => {
            for answer in parse::<Option<Vec<OrderAnswer<'_>>>>(body)?.unwrap_or_default() {
                out.push(Report::Order(order(&answer)?));
                bounded(out)?;
            }
            if let Some(symbol) = whole_of(asked.target) {
                out.push(Report::OpenOrdersComplete {
                    market: MarketKind::Spot,
                    symbol: Some(symbol),
                });
            }
        }
        Answer::Trades => {
            for answer in &parse::<Items<TradeAnswer<'_>>>(body)?.items {
                out.push(Report::Trade(trade(answer)?));
                bounded(out)?;
            }
        }
        Answer::Price => prices(asked, body, out)?,
        Answer::Time => out.push(Report::VenueTime {
            time_ms: parse(body)?,
        }),
        _ => {}
    }
    Some(())
}

/// The venue took an order, and gave it this id. The rest is what was asked, and of an answer that waited, what became of it.
fn accepted(request: &AskedOrder<'_>, answer: &Acknowledged<'_>) -> Option<OrderReport> {
    let executed = number(&answer.deal_size)?;
    let cancelled = number(&answer.canceled_size)?;
    let status = match answer.status.as_ref().map(|t| &*t.0) {
        None | Some("open") => OrderStatus::Open,
        Some("done") if cancelled.is_some_and(|size| size > 0) => OrderStatus::Cancelled,
        Some("done") => OrderStatus::Filled,
        Some(_) => OrderStatus::Unknown,
    };
    let symbol = Symbol(request.symbol.0.as_ref().into());
    let order_id = answer.order_id.as_ref()?.0.parse().ok()?;
    Some(OrderReport {
        client_order_id: answer
            .client_oid
            .as_ref()
            .or(request.client_oid.as_ref())
            .and_then(id),
        // Only beside a final status: what was paid is not said, and is asked for.
        executed_quantity: executed.filter(|size| *size == 0).map(Quantity),
        ..OrderReport::bare(
            MarketKind::Spot,
            symbol,
            order_id,
            match executed {
                Some(size) if size > 0 => OrderStatus::Unknown,
                _ => status,
            },
        )
    })
}

fn order(answer: &OrderAnswer<'_>) -> Option<OrderReport> {
    let post_only = answer.post_only == Some(true);
    let is_market = &*answer.order_type.0 == "market";
    let status = match (answer.active, answer.cancel_exist) {
        (Some(true), _) => OrderStatus::Open,
        (Some(false), Some(true)) => OrderStatus::Cancelled,
        (Some(false), Some(false)) => OrderStatus::Filled,
        _ => OrderStatus::Unknown,
    };
    let size = number(&answer.size)?.filter(|size| *size > 0);
    Some(OrderReport {
        client_order_id: answer.client_oid.as_ref().and_then(id),
        side: side(&answer.side),
        order_type: match (&*answer.order_type.0, post_only) {
            ("market", _) => Some(OrderType::Market),
            ("limit", true) => Some(OrderType::LimitMaker),
            ("limit", false) => Some(OrderType::Limit),
            _ => None,
        },
        time_in_force: match answer.time_in_force.as_ref().map(|t| &*t.0) {
            _ if is_market => None,
            Some("GTC" | "GTT") => Some(TimeInForce::Gtc),
            Some("IOC") => Some(TimeInForce::Ioc),
            Some("FOK") => Some(TimeInForce::Fok),
            _ => None,
        },
        price: number(&answer.price)?
            .filter(|price| !is_market && *price > 0)
            .map(Price),
        original_quantity: size.map(Quantity),
        executed_quantity: number(&answer.deal_size)?.map(Quantity),
        executed_quote: number(&answer.deal_funds)?.map(Amount),
        time_ms: answer.last_updated_at.or(answer.created_at),
        ..OrderReport::bare(
            market(&answer.trade_type),
            Symbol(answer.symbol.0.as_ref().into()),
            answer.id.0.parse().ok()?,
            status,
        )
    })
}

fn trade(answer: &TradeAnswer<'_>) -> Option<TradeReport> {
    // A rebate stands as an amount below zero.
    let commission = match answer.fee.0.strip_prefix('-') {
        Some(rebate) => -units(rebate)?,
        None => units(&answer.fee.0)?,
    };
    Some(TradeReport {
        market: market(&answer.trade_type),
        symbol: Symbol(answer.symbol.0.as_ref().into()),
        // `tradeId` is both sides'.
        trade_id: answer.id.into(),
        order_id: answer.order_id.0.parse().ok()?,
        side: side(&answer.side)?,
        price: Price(units(&answer.price.0)?),
        quantity: Quantity(units(&answer.size.0)?),
        quote: number(&answer.funds)?.map(Amount),
        commission: Amount(commission),
        commission_asset: Asset(answer.fee_currency.0.as_ref().into()),
        time_ms: answer.created_at,
    })
}

/// The last price of one market, which the answer does not name, or of all.
fn prices(asked: Asked<'_>, body: &[u8], out: &mut Vec<Report>) -> Option<()> {
    let mut push = |symbol: &str, price: Option<&Text<'_>>| {
        if let Some(units) = price
            .and_then(|text| units(&text.0))
            .filter(|units| *units > 0)
            && out.len() < REPORTS_MAX
        {
            out.push(Report::Price {
                symbol: Symbol(symbol.into()),
                price: Price(units),
                market: MarketKind::Spot,
            });
        }
    };
    match parse::<Prices<'_>>(body)? {
        Prices {
            ticker: Some(all), ..
        } => {
            for one in &all {
                push(&one.symbol.0, one.last.as_ref());
            }
        }
        Prices { price, .. } => push(whole_of(asked.target)?.as_str(), price.as_ref()),
    }
    Some(())
}

/// The market of a question that filters by nothing else. CCXT names what is so by itself, too.
fn whole_of(target: &[u8]) -> Option<Symbol> {
    let target = std::str::from_utf8(target).ok()?;
    let (_, query) = target.split_once('?')?;
    let mut symbol = None;
    for part in query.split('&') {
        match part.split_once('=')? {
            ("symbol", value) => symbol = Some(Symbol(form::decode(value).ok()?.as_ref().into())),
            ("tradeType", "TRADE") | ("status", "active") => {}
            _ => return None,
        }
    }
    symbol
}

fn market(trade_type: &Option<Text<'_>>) -> MarketKind {
    match trade_type.as_ref().map(|t| &*t.0) {
        None | Some("TRADE") => MarketKind::Spot,
        Some(_) => MarketKind::Margin,
    }
}

fn side(text: &Text<'_>) -> Option<Side> {
    match &*text.0 {
        "buy" => Some(Side::Buy),
        "sell" => Some(Side::Sell),
        _ => None,
    }
}

#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow)]
    code: Text<'a>,
    msg: Option<Text<'a>>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Items<T> {
    items: Vec<T>,
}

/// What the gate sent.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AskedOrder<'a> {
    #[serde(borrow)]
    symbol: Text<'a>,
    client_oid: Option<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AskedOrders<'a> {
    #[serde(borrow)]
    order_list: Vec<AskedOrder<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Acknowledged<'a> {
    #[serde(borrow)]
    order_id: Option<Text<'a>>,
    client_oid: Option<Text<'a>>,
    success: Option<bool>,
    status: Option<Text<'a>>,
    deal_size: Option<Text<'a>>,
    canceled_size: Option<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OrderAnswer<'a> {
    #[serde(borrow)]
    id: Text<'a>,
    client_oid: Option<Text<'a>>,
    symbol: Text<'a>,
    #[serde(rename = "type")]
    order_type: Text<'a>,
    side: Text<'a>,
    price: Option<Text<'a>>,
    size: Option<Text<'a>>,
    deal_size: Option<Text<'a>>,
    deal_funds: Option<Text<'a>>,
    time_in_force: Option<Text<'a>>,
    post_only: Option<bool>,
    trade_type: Option<Text<'a>>,
    active: Option<bool>,
    cancel_exist: Option<bool>,
    created_at: Option<u64>,
    last_updated_at: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TradeAnswer<'a> {
    #[serde(borrow)]
    symbol: Text<'a>,
    id: u64,
    order_id: Text<'a>,
    side: Text<'a>,
    price: Text<'a>,
    size: Text<'a>,
    funds: Option<Text<'a>>,
    fee: Text<'a>,
    fee_currency: Text<'a>,
    trade_type: Option<Text<'a>>,
    created_at: u64,
}

#[derive(Deserialize)]
struct Prices<'a> {
    #[serde(borrow)]
    price: Option<Text<'a>>,
    ticker: Option<Vec<Ticker<'a>>>,
}

#[derive(Deserialize)]
struct Ticker<'a> {
    #[serde(borrow)]
    symbol: Text<'a>,
    last: Option<Text<'a>>,
}
