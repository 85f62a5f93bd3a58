//! What Bybit's answers say, in the words of `model::report`. Every answer is an envelope with a `retCode`, under status 200
//! also where it is a no. Unknown fields pass, an unknown status stays unknown; an answer that cannot be read says so, and
//! frees nothing. What the venue itself calls a timeout or a fault of its own is never taken for a refusal.
//!
//! An acknowledgement says that a request was taken, not what became of it: of a new order it tells the ids, of a cancel
//! nothing.

use super::market_of;
use crate::catalog::{Answer, Endpoint};
use crate::document::Text;
use crate::form;
use crate::summary::{Asked, bounded, id, number, parse, units};
use portcullis_model::action::{
    ActionKind, Asset, MarketKind, OrderType, Side, Symbol, TimeInForce,
};
use portcullis_model::number::{Amount, Price, Quantity};
use portcullis_model::report::{OrderReport, OrderStatus, Report, TradeReport};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// Codes after which the venue itself does not know what became of the request: timeouts and faults of its own.
pub const UNKNOWN_CODES: [i64; 15] = [
    429, 5004, 10_000, 10_016, 170_001, 170_007, 170_032, 170_035, 170_146, 170_147, 170_149,
    170_150, 170_234, 170_310, 3_400_214,
];
/// Items of a page where the request names no `limit`.
const PAGE_ITEMS_DEFAULT: usize = 20;

pub(super) fn summarize(
    rule: &Endpoint,
    asked: Asked<'_>,
    status: u16,
    body: &[u8],
    out: &mut Vec<Report>,
) -> Option<()> {
    let envelope = parse::<Envelope<'_>>(body);
    let Some(envelope) = envelope else {
        // The firewall and the limits answer without JSON; nothing reached the matching engine.
        let is_turned_away = matches!(status, 400 | 401 | 403 | 404 | 429);
        return is_turned_away.then(|| {
            out.push(Report::Refused {
                code: i64::from(status),
            });
        });
    };
    match envelope.ret_code {
        0 if status == 200 => read(rule, asked, &envelope, out),
        0 => None,
        code if status >= 500 || UNKNOWN_CODES.contains(&code) => None,
        code => {
            out.push(Report::Refused { code });
            Some(())
        }
    }
}

fn read(
    rule: &Endpoint,
    asked: Asked<'_>,
    envelope: &Envelope<'_>,
    out: &mut Vec<Report>,
) -> Option<()> {
    match rule.answer {
        Answer::Order => {
            let request: Request<'_> = parse(asked.body)?;
            let answer = envelope.result()?;
            out.push(Report::Order(accepted(&request, &request.order, answer)?));
        }
        Answer::Orders if rule.action == ActionKind::Read => {
            orders(&envelope.result()?, out)?;
        }
        Answer::Orders => batch(rule, asked, envelope, out)?,
        Answer::OpenOrders => {
            let page: Page<'_, OrderItem<'_>> = envelope.result()?;
            let market = orders(&page, out)?;
            if let Some(symbol) = is_whole(&page, asked.target) {
                // A spot order that may borrow stands in the same list.
                if market == MarketKind::Spot {
                    out.push(Report::OpenOrdersComplete {
                        market: MarketKind::Margin,
                        symbol: symbol.clone(),
                    });
                }
                out.push(Report::OpenOrdersComplete { market, symbol });
            }
        }
        Answer::Trades => {
            let page: Page<'_, TradeItem<'_>> = envelope.result()?;
            let market = market_of(&page.category.0)?;
            for item in &page.list {
                // Funding is no trade.
                if &*item.exec_type.0 != "Funding" {
                    out.push(Report::Trade(trade(market, item)?));
                    bounded(out)?;
                }
            }
        }
        Answer::Price => {
            let page: Page<'_, TickerItem<'_>> = envelope.result()?;
            let market = market_of(&page.category.0)?;
            for item in &page.list {
                // Of derivatives the mark price; where there is none yet, the last.
                let text = item.mark_price.as_ref().or(item.last_price.as_ref());
                if let Some(units) = text
                    .and_then(|text| units(&text.0))
                    .filter(|units| *units > 0)
                {
                    out.push(Report::Price {
                        symbol: Symbol(item.symbol.0.as_ref().into()),
                        price: Price(units),
                        market,
                    });
                    bounded(out)?;
                }
            }
        }
        Answer::Time => out.push(Report::VenueTime {
            time_ms: envelope.time?,
        }),
        _ => {}
    }
    Some(())
}

/// What the account's own stream says: rows as REST shows them, each with its category.
pub(super) fn event(event: &[u8], out: &mut Vec<Report>) -> Option<()> {
    let event: Event<'_> = parse(event)?;
    let (topic, _) = event.topic.split_once('.').unwrap_or((&event.topic, ""));
    let rows: &str = event.data?.get();
    match topic {
        "order" => {
            let rows: Vec<OfCategory<OrderItem<'_>>> = serde_json::from_str(rows).ok()?;
            for row in rows {
                // A market that nobody reads yet says nothing about the others.
                if let Some(market) = market_of(&row.category) {
                    out.push(Report::Order(order(market, &row.item)?));
                    bounded(out)?;
                }
            }
        }
        // The fast one has neither fees nor values.
        "execution" if !event.topic.starts_with("execution.fast") => {
            let rows: Vec<OfCategory<TradeItem<'_>>> = serde_json::from_str(rows).ok()?;
            for row in rows {
                let market = market_of(&row.category);
                if let Some(market) = market.filter(|_| &*row.item.exec_type.0 != "Funding") {
                    out.push(Report::Trade(trade(market, &row.item)?));
                    bounded(out)?;
                }
            }
        }
        _ => {}
    }
    Some(())
}

/// The venue took an order, and gave it this id. The answer says no more; the rest is what was asked.
fn accepted(
    request: &Request<'_>,
    order: &AskedOrder<'_>,
    answer: Acknowledged<'_>,
) -> Option<OrderReport> {
    let market = market_of(&request.category.0)?;
    let market = match order.is_leverage {
        Some(1) if market == MarketKind::Spot => MarketKind::Margin,
        _ => market,
    };
    let symbol = Symbol(order.symbol.as_ref()?.0.as_ref().into());
    let order_id = answer.order_id.0.parse().ok()?;
    Some(OrderReport {
        client_order_id: answer.order_link_id.as_ref().and_then(id),
        ..OrderReport::bare(market, symbol, order_id, OrderStatus::Open)
    })
}

/// What became of each object of a batch: the codes stand apart from the ids, in the same order. A new order's exits are
/// actions of their own, and are refused with it.
fn batch(
    rule: &Endpoint,
    asked: Asked<'_>,
    envelope: &Envelope<'_>,
    out: &mut Vec<Report>,
) -> Option<()> {
    let request: Request<'_> = parse(asked.body)?;
    let answers: List<Acknowledged<'_>> = envelope.result()?;
    let codes: List<Coded> = serde_json::from_str(envelope.ret_ext_info?.get()).ok()?;
    if answers.list.len() != codes.list.len() || answers.list.len() != request.request.len() {
        return None;
    }
    let places = rule.action == ActionKind::PlaceOrder;
    let mut is_known = true;
    let mut position = 0;
    for ((order, answer), coded) in request.request.iter().zip(answers.list).zip(codes.list) {
        let exits = [&order.take_profit, &order.stop_loss];
        let actions = match places {
            true => 1 + exits.into_iter().flatten().count(),
            false => 1,
        };
        let next = position + u32::try_from(actions).ok()?;
        match coded.code {
            0 if places => out.push(Report::Order(accepted(&request, order, answer)?)),
            0 => {}
            code if UNKNOWN_CODES.contains(&code) => is_known = false,
            code => out
                .extend((position..next).map(|position| Report::ActionRefused { position, code })),
        }
        position = next;
        bounded(out)?;
    }
    is_known.then_some(())
}

fn orders(page: &Page<'_, OrderItem<'_>>, out: &mut Vec<Report>) -> Option<MarketKind> {
    let market = market_of(&page.category.0)?;
    for item in &page.list {
        out.push(Report::Order(order(market, item)?));
        bounded(out)?;
    }
    Some(market)
}

fn order(market: MarketKind, item: &OrderItem<'_>) -> Option<OrderReport> {
    let side = side(&item.side)?;
    let is_market = &*item.order_type.0 == "Market";
    let is_spot = market == MarketKind::Spot;
    let text = |text: &Option<Text<'_>>| text.as_ref().map_or("", |t| &*t.0).to_owned();
    // A market order's price is the venue's own bound, its size on spot may be what it spends.
    let unit = text(&item.market_unit);
    let of_quote = is_spot
        && is_market
        && match unit.as_str() {
            "baseCoin" => false,
            "quoteCoin" => true,
            _ => side == Side::Buy,
        };
    Some(OrderReport {
        market: match text(&item.is_leverage).as_str() {
            "1" if is_spot => MarketKind::Margin,
            _ => market,
        },
        symbol: Symbol(item.symbol.0.as_ref().into()),
        order_id: item.order_id.0.parse().ok()?,
        client_order_id: item.order_link_id.as_ref().and_then(id),
        list_id: None,
        status: status(&item.order_status.0),
        side: Some(side),
        order_type: order_type(item, side),
        time_in_force: match text(&item.time_in_force).as_str() {
            "GTC" => Some(TimeInForce::Gtc),
            "IOC" => Some(TimeInForce::Ioc),
            "FOK" => Some(TimeInForce::Fok),
            _ => None,
        },
        price: number(&item.price)?
            .filter(|units| !is_market && *units > 0)
            .map(Price),
        original_quantity: number(&item.qty)?
            .filter(|units| !of_quote && *units > 0)
            .map(Quantity),
        executed_quantity: number(&item.cum_exec_qty)?.map(Quantity),
        executed_quote: number(&item.cum_exec_value)?.map(Amount),
        time_ms: text(&item.updated_time).parse().ok(),
        original_client_order_id: None,
        algo: false,
        became: None,
        average_price: None,
    })
}

/// What the order is, also while it waits: the same as its request would be called.
fn order_type(item: &OrderItem<'_>, side: Side) -> Option<OrderType> {
    let is_market = match &*item.order_type.0 {
        "Market" => true,
        "Limit" => false,
        _ => return None,
    };
    let post_only = item
        .time_in_force
        .as_ref()
        .is_some_and(|t| matches!(&*t.0, "PostOnly" | "RPI"));
    let profit = matches!(
        (item.trigger_direction, side),
        (Some(1), Side::Sell) | (Some(2), Side::Buy)
    );
    let stop = item.stop_order_type.as_ref().map_or("", |t| &*t.0);
    Some(match (stop, is_market) {
        ("" | "UNKNOWN", true) => OrderType::Market,
        ("" | "UNKNOWN", false) if post_only => OrderType::LimitMaker,
        ("" | "UNKNOWN", false) => OrderType::Limit,
        ("TrailingStop", _) => OrderType::TrailingStop,
        ("TakeProfit" | "PartialTakeProfit", true) => OrderType::TakeProfit,
        ("TakeProfit" | "PartialTakeProfit", false) => OrderType::TakeProfitLimit,
        ("Stop" | "tpslOrder", true) if profit => OrderType::TakeProfit,
        ("Stop" | "tpslOrder", false) if profit => OrderType::TakeProfitLimit,
        ("Stop" | "tpslOrder" | "StopLoss" | "PartialStopLoss", true) => OrderType::StopLoss,
        ("Stop" | "tpslOrder" | "StopLoss" | "PartialStopLoss", false) => OrderType::StopLossLimit,
        _ => return None,
    })
}

fn trade(market: MarketKind, item: &TradeItem<'_>) -> Option<TradeReport> {
    Some(TradeReport {
        market,
        symbol: Symbol(item.symbol.0.as_ref().into()),
        trade_id: item.exec_id.0.parse().ok()?,
        order_id: item.order_id.0.parse().ok()?,
        side: side(&item.side)?,
        price: Price(units(&item.exec_price.0)?),
        quantity: Quantity(units(&item.exec_qty.0)?),
        quote: number(&item.exec_value)?.map(Amount),
        // A rebate stands as an amount below zero.
        commission: Amount(match item.exec_fee.as_ref().map_or("0", |t| &*t.0) {
            "" => 0,
            text => match text.strip_prefix('-') {
                Some(rebate) => -units(rebate)?,
                None => units(text)?,
            },
        }),
        commission_asset: fee_asset(market, item),
        time_ms: item.exec_time.0.parse().ok()?,
    })
}

/// The venue often leaves it out where a contract settles in one coin: that coin.
fn fee_asset(market: MarketKind, item: &TradeItem<'_>) -> Asset {
    if let Some(asset) = item.fee_currency.as_ref().filter(|t| !t.0.is_empty()) {
        return Asset(asset.0.as_ref().into());
    }
    let symbol = &*item.symbol.0;
    let asset = match market {
        MarketKind::CoinFutures => symbol.split("USD").next().unwrap_or(symbol),
        // `BTCUSDT`, `BTCUSDT-26SEP25`, `BTC-26SEP25-100000-C-USDT`; `BTCPERP` and the rest settle in the other coin.
        _ if symbol.contains("USDT") => "USDT",
        _ => "USDC",
    };
    Asset(asset.into())
}

/// The whole list of open orders: the first page, not full, of a question that filters nothing but by symbol. The inner
/// value is that symbol.
fn is_whole(page: &Page<'_, OrderItem<'_>>, target: &[u8]) -> Option<Option<Symbol>> {
    let target = std::str::from_utf8(target).ok()?;
    let (_, query) = target.split_once('?')?;
    let mut symbol = None;
    let mut limit = PAGE_ITEMS_DEFAULT;
    let mut is_spot = false;
    for part in query.split('&') {
        let (name, value) = part.split_once('=')?;
        match name {
            "category" => is_spot = value == "spot",
            "symbol" => symbol = Some(Symbol(form::decode(value).ok()?.as_ref().into())),
            "limit" => limit = value.parse().ok()?,
            "openOnly" if value == "0" => {}
            _ => return None,
        }
    }
    let is_last = page.list.len() < limit;
    // Of contracts the venue answers for one symbol or one coin at a time.
    (is_last && (is_spot || symbol.is_some())).then_some(symbol)
}

fn status(word: &str) -> OrderStatus {
    match word {
        "New" | "PartiallyFilled" | "Untriggered" | "Triggered" => OrderStatus::Open,
        "Filled" => OrderStatus::Filled,
        "Cancelled" | "PartiallyFilledCanceled" | "Deactivated" => OrderStatus::Cancelled,
        "Rejected" => OrderStatus::Rejected,
        _ => OrderStatus::Unknown,
    }
}

fn side(text: &Text<'_>) -> Option<Side> {
    match &*text.0 {
        "Buy" => Some(Side::Buy),
        "Sell" => Some(Side::Sell),
        _ => None,
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a> {
    ret_code: i64,
    /// In a WebSocket's frame it is called `data`.
    #[serde(borrow, alias = "data")]
    result: Option<&'a RawValue>,
    #[serde(borrow)]
    ret_ext_info: Option<&'a RawValue>,
    time: Option<u64>,
}

impl<'a> Envelope<'a> {
    fn result<T: Deserialize<'a>>(&self) -> Option<T> {
        serde_json::from_str(self.result?.get()).ok()
    }
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow)]
    topic: Cow<'a, str>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct OfCategory<T> {
    category: String,
    #[serde(flatten)]
    item: T,
}

#[derive(Deserialize)]
struct List<T> {
    list: Vec<T>,
}

#[derive(Deserialize)]
struct Page<'a, T> {
    #[serde(borrow)]
    category: Text<'a>,
    list: Vec<T>,
}

/// What the gate sent: an order, or a batch of them.
#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow)]
    category: Text<'a>,
    #[serde(flatten)]
    order: AskedOrder<'a>,
    #[serde(default)]
    request: Vec<AskedOrder<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AskedOrder<'a> {
    #[serde(borrow)]
    symbol: Option<Text<'a>>,
    is_leverage: Option<u8>,
    take_profit: Option<Text<'a>>,
    stop_loss: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Coded {
    code: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Acknowledged<'a> {
    #[serde(borrow)]
    order_id: Text<'a>,
    order_link_id: Option<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OrderItem<'a> {
    #[serde(borrow)]
    symbol: Text<'a>,
    order_id: Text<'a>,
    order_link_id: Option<Text<'a>>,
    side: Text<'a>,
    order_type: Text<'a>,
    order_status: Text<'a>,
    stop_order_type: Option<Text<'a>>,
    time_in_force: Option<Text<'a>>,
    trigger_direction: Option<i64>,
    market_unit: Option<Text<'a>>,
    is_leverage: Option<Text<'a>>,
    price: Option<Text<'a>>,
    qty: Option<Text<'a>>,
    cum_exec_qty: Option<Text<'a>>,
    cum_exec_value: Option<Text<'a>>,
    updated_time: Option<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TradeItem<'a> {
    #[serde(borrow)]
    symbol: Text<'a>,
    exec_id: Text<'a>,
    order_id: Text<'a>,
    side: Text<'a>,
    exec_type: Text<'a>,
    exec_price: Text<'a>,
    exec_qty: Text<'a>,
    exec_value: Option<Text<'a>>,
    exec_fee: Option<Text<'a>>,
    fee_currency: Option<Text<'a>>,
    exec_time: Text<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TickerItem<'a> {
    #[serde(borrow)]
    symbol: Text<'a>,
    last_price: Option<Text<'a>>,
    mark_price: Option<Text<'a>>,
}
