//! What OKX's answers say, in the words of `model::report`. An answer has a code of its own and one for each order; what the
//! venue itself calls unknown is never taken for a refusal. Answers to orders leave out the market: it is taken from what was
//! asked, item by item.

use super::instrument::Instrument;
use super::present::asked_of;
use crate::catalog::{Answer, Endpoint};
use crate::document::Text;
use crate::form;
use crate::summary::{Asked, REPORTS_MAX, bounded, id, number, parse};
use portcullis_model::action::{Asset, MarketKind, OrderType, Side, Symbol, TimeInForce};
use portcullis_model::id::OrderId;
use portcullis_model::number::{Amount, Price, Quantity, parse_units};
use portcullis_model::report::{OrderReport, OrderStatus, Report, TradeReport};
use serde::Deserialize;

/// Codes after which the venue itself does not know what became of the request, or may not.
pub const UNKNOWN_CODES: [i64; 5] = [50_001, 50_004, 50_005, 50_013, 50_026];
/// The order that was asked for does not exist.
const NO_SUCH_ORDER: i64 = 51_603;
/// Items of a list of open orders, where the request names no fewer.
const PAGE: usize = 100;

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
    let code: i64 = head.code.0.parse().ok()?;
    if status >= 500 || UNKNOWN_CODES.contains(&code) {
        return None;
    }
    match code {
        0 if (200..300).contains(&status) => read(rule, asked, body, out),
        // All, or some, of the orders were not taken: each says so itself.
        1 | 2 => each(rule, asked, body, code, out),
        NO_SUCH_ORDER if rule.action.is_read() => {
            out.push(Report::NoSuchOrder);
            Some(())
        }
        0 => None,
        code => {
            out.push(Report::Refused { code });
            Some(())
        }
    }
}

fn read(rule: &Endpoint, asked: Asked<'_>, body: &[u8], out: &mut Vec<Report>) -> Option<()> {
    if !rule.action.is_read() {
        return match rule.answer {
            Answer::Order | Answer::Orders | Answer::Amend => each(rule, asked, body, 0, out),
            _ => Some(()),
        };
    }
    match rule.answer {
        Answer::Order | Answer::Orders => {
            for answer in parse::<Data<OrderAnswer<'_>>>(body)?.data {
                out.push(Report::Order(order(rule.algo, &answer)?));
                bounded(out)?;
            }
        }
        Answer::OpenOrders => {
            let answers = parse::<Data<OrderAnswer<'_>>>(body)?.data;
            for answer in &answers {
                out.push(Report::Order(order(rule.algo, answer)?));
                bounded(out)?;
            }
            complete(asked.target, answers.len(), out)?;
        }
        Answer::Trades => {
            for answer in parse::<Data<TradeAnswer<'_>>>(body)?.data {
                out.push(Report::Trade(trade(&answer)?));
                bounded(out)?;
            }
        }
        Answer::Price => {
            for answer in parse::<Data<PriceAnswer<'_>>>(body)?.data {
                price(&answer, out);
            }
        }
        Answer::Time => {
            for answer in parse::<Data<TimeAnswer<'_>>>(body)?.data {
                out.push(Report::VenueTime {
                    time_ms: answer.ts.0.parse().ok()?,
                });
            }
        }
        _ => {}
    }
    Some(())
}

/// What a channel of orders says unasked. Others say nothing of orders that these do not.
pub(super) fn event(event: &[u8], out: &mut Vec<Report>) -> Option<()> {
    let head = parse::<Event<'_>>(event)?;
    let algo = match &*head.arg.channel {
        "orders" => false,
        "orders-algo" => true,
        _ => return Some(()),
    };
    for answer in parse::<Data<OrderAnswer<'_>>>(event)?.data {
        out.push(Report::Order(order(algo, &answer)?));
        bounded(out)?;
    }
    Some(())
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow)]
    arg: Channel<'a>,
}

#[derive(Deserialize)]
struct Channel<'a> {
    #[serde(borrow)]
    channel: std::borrow::Cow<'a, str>,
}

/// Answers to orders, amendments and cancels: one item for each that was asked, in the same order.
fn each(
    rule: &Endpoint,
    asked: Asked<'_>,
    body: &[u8],
    whole: i64,
    out: &mut Vec<Report>,
) -> Option<()> {
    let Some(Data { data }) = parse::<Data<Acknowledgement<'_>>>(body) else {
        if whole == 0 {
            return None;
        }
        return refused(whole, out);
    };
    if data.is_empty() && whole != 0 {
        return refused(whole, out);
    }
    let of = asked_of(asked.body)?;
    if of.len() != data.len() {
        return None;
    }
    let places = rule.action == portcullis_model::action::ActionKind::PlaceOrder;
    let mut unclear = false;
    for ((position, answer), (instrument, market)) in (0u32..).zip(&data).zip(of) {
        let code: i64 = answer
            .s_code
            .as_ref()
            .map_or(Some(whole), |code| code.0.parse().ok())?;
        match code {
            0 => match &answer.id(rule) {
                // What closes a position is answered without a number.
                None => {}
                Some(id) => out.push(Report::Order(acknowledged(
                    rule,
                    answer,
                    id.parse().ok()?,
                    (instrument, market),
                    places,
                ))),
            },
            code if UNKNOWN_CODES.contains(&code) => unclear = true,
            code if data.len() == 1 && rule.array.is_none() => return refused(code, out),
            code => out.push(Report::ActionRefused { position, code }),
        }
    }
    (!unclear).then_some(())
}

fn refused(code: i64, out: &mut Vec<Report>) -> Option<()> {
    out.push(Report::Refused { code });
    Some(())
}

fn acknowledged(
    rule: &Endpoint,
    answer: &Acknowledgement<'_>,
    order_id: OrderId,
    (instrument, market): (String, MarketKind),
    places: bool,
) -> OrderReport {
    let client = if rule.algo {
        &answer.algo_cl_ord_id
    } else {
        &answer.cl_ord_id
    };
    OrderReport {
        client_order_id: client.as_ref().and_then(id),
        time_ms: answer.ts.as_ref().and_then(|ts| ts.0.parse().ok()),
        algo: rule.algo,
        ..OrderReport::bare(
            market,
            Symbol(instrument.into()),
            order_id,
            // A cancel and an amendment are only taken in; what became of the order is asked for.
            if places {
                OrderStatus::Open
            } else {
                OrderStatus::Unknown
            },
        )
    }
}

/// The state of an order, or of a conditional one.
fn order(algo: bool, answer: &OrderAnswer<'_>) -> Option<OrderReport> {
    let market = market(&answer.inst_type, &answer.inst_id)?;
    let word = answer.ord_type.as_ref().map_or("", |t| &t.0);
    let is_pair = matches!(market, MarketKind::Spot | MarketKind::Margin);
    let side = side(&answer.side);
    // `sz` of a market purchase is what it spends, unless it says that it is of the base.
    let counts_quote = is_pair
        && word == "market"
        && match answer.tgt_ccy.as_ref().map(|t| &*t.0) {
            Some("base_ccy") => false,
            Some("quote_ccy") => true,
            _ => side == Some(Side::Buy),
        };
    let quantity = number(&answer.sz)?.filter(|_| !counts_quote);
    let (order_id, client) = if algo {
        (answer.algo_id.as_ref()?, &answer.algo_cl_ord_id)
    } else {
        (answer.ord_id.as_ref()?, &answer.cl_ord_id)
    };
    Some(OrderReport {
        client_order_id: client.as_ref().and_then(id),
        side,
        order_type: match word {
            "market" | "optimal_limit_ioc" => Some(OrderType::Market),
            "limit" | "fok" | "ioc" | "mmp" => Some(OrderType::Limit),
            "post_only" | "mmp_and_post_only" => Some(OrderType::LimitMaker),
            "move_order_stop" => Some(OrderType::TrailingStop),
            _ => None,
        },
        time_in_force: match word {
            "limit" | "mmp" => Some(TimeInForce::Gtc),
            "ioc" => Some(TimeInForce::Ioc),
            "fok" => Some(TimeInForce::Fok),
            _ => None,
        },
        price: number(&answer.px)?.map(Price),
        original_quantity: quantity.map(Quantity),
        executed_quantity: number(&answer.acc_fill_sz)?.map(Quantity),
        average_price: number(&answer.avg_px)?.map(Price),
        time_ms: answer
            .u_time
            .as_ref()
            .or(answer.c_time.as_ref())
            .and_then(|t| t.0.parse().ok()),
        algo,
        became: match algo {
            true => answer
                .ord_id
                .as_ref()
                .filter(|id| !id.0.is_empty())
                .and_then(|id| id.0.parse().ok()),
            false => None,
        },
        ..OrderReport::bare(
            market,
            Symbol(answer.inst_id.0.as_ref().into()),
            order_id.0.parse().ok()?,
            status(answer.state.as_ref().map_or("", |t| &t.0)),
        )
    })
}

fn trade(answer: &TradeAnswer<'_>) -> Option<TradeReport> {
    let units = |text: &Text<'_>| parse_units(text.0.as_bytes()).ok();
    // What was paid stands below zero; a rebate above.
    let commission = match answer.fee.0.strip_prefix('-') {
        Some(paid) => parse_units(paid.as_bytes()).ok()?,
        None if answer.fee.0.is_empty() => 0,
        None => -units(&answer.fee)?,
    };
    Some(TradeReport {
        market: market(&answer.inst_type, &answer.inst_id)?,
        symbol: Symbol(answer.inst_id.0.as_ref().into()),
        trade_id: answer.trade_id.0.parse().ok()?,
        order_id: answer.ord_id.0.parse().ok()?,
        side: side(&answer.side)?,
        price: Price(units(&answer.fill_px)?),
        quantity: Quantity(units(&answer.fill_sz)?),
        quote: None,
        commission: Amount(commission),
        commission_asset: Asset(answer.fee_ccy.0.as_ref().into()),
        time_ms: answer
            .fill_time
            .as_ref()
            .or(answer.ts.as_ref())
            .and_then(|t| t.0.parse().ok())
            .unwrap_or(0),
    })
}

fn price(answer: &PriceAnswer<'_>, out: &mut Vec<Report>) {
    let Some(instrument) = Instrument::of(&answer.inst_id.0) else {
        return;
    };
    if let Some(units) = answer
        .last
        .as_ref()
        .or(answer.mark_px.as_ref())
        .and_then(|text| parse_units(text.0.as_bytes()).ok())
        .filter(|units| *units > 0)
        && out.len() < REPORTS_MAX
    {
        out.push(Report::Price {
            symbol: Symbol(answer.inst_id.0.as_ref().into()),
            price: Price(units),
            market: instrument.market(),
        });
    }
}

/// A list of open orders is whole if the request narrowed it by nothing but one instrument, and the page was not full.
fn complete(target: &[u8], items: usize, out: &mut Vec<Report>) -> Option<()> {
    let target = std::str::from_utf8(target).ok()?;
    let (_, query) = target.split_once('?').unwrap_or((target, ""));
    let (mut symbol, mut page) = (None, PAGE);
    for part in query.split('&').filter(|part| !part.is_empty()) {
        match part.split_once('=')? {
            ("instId", value) => symbol = Some(form::decode(value).ok()?.into_owned()),
            ("limit", value) => page = value.parse().ok()?,
            // Of one kind, one state, one page: not the whole.
            _ => return Some(()),
        }
    }
    if items >= page {
        return Some(());
    }
    let markets = match &symbol {
        Some(id) => match Instrument::of(id)? {
            Instrument::Pair => vec![MarketKind::Spot, MarketKind::Margin],
            other => vec![other.market()],
        },
        None => vec![
            MarketKind::Spot,
            MarketKind::Margin,
            MarketKind::UsdFutures,
            MarketKind::CoinFutures,
            MarketKind::Option,
        ],
    };
    for market in markets {
        out.push(Report::OpenOrdersComplete {
            market,
            symbol: symbol.clone().map(|id| Symbol(id.into())),
        });
    }
    Some(())
}

/// The venue's word for the market, where the instrument alone leaves it open.
fn market(inst_type: &Option<Text<'_>>, instrument: &Text<'_>) -> Option<MarketKind> {
    let kind = Instrument::of(&instrument.0)?;
    Some(match inst_type.as_ref().map(|t| &*t.0) {
        Some("MARGIN") if kind == Instrument::Pair => MarketKind::Margin,
        _ => kind.market(),
    })
}

fn side(text: &Option<Text<'_>>) -> Option<Side> {
    match text.as_ref().map(|t| &*t.0) {
        Some("buy") => Some(Side::Buy),
        Some("sell") => Some(Side::Sell),
        _ => None,
    }
}

/// `effective`: a conditional order became another one, which says itself what becomes of it.
fn status(word: &str) -> OrderStatus {
    match word {
        "live" | "partially_filled" | "pause" => OrderStatus::Open,
        "filled" => OrderStatus::Filled,
        "canceled" | "mmp_canceled" => OrderStatus::Cancelled,
        "order_failed" => OrderStatus::Rejected,
        _ => OrderStatus::Unknown,
    }
}

#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow)]
    code: Text<'a>,
}

#[derive(Deserialize)]
struct Data<T> {
    #[serde(default = "Vec::new")]
    data: Vec<T>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Acknowledgement<'a> {
    #[serde(borrow)]
    ord_id: Option<Text<'a>>,
    cl_ord_id: Option<Text<'a>>,
    algo_id: Option<Text<'a>>,
    algo_cl_ord_id: Option<Text<'a>>,
    ts: Option<Text<'a>>,
    s_code: Option<Text<'a>>,
}

impl<'a> Acknowledgement<'a> {
    fn id(&self, rule: &Endpoint) -> Option<String> {
        let id = if rule.algo {
            &self.algo_id
        } else {
            &self.ord_id
        };
        id.as_ref()
            .map(|t| t.0.to_string())
            .filter(|t| !t.is_empty())
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OrderAnswer<'a> {
    #[serde(borrow)]
    inst_id: Text<'a>,
    inst_type: Option<Text<'a>>,
    ord_id: Option<Text<'a>>,
    cl_ord_id: Option<Text<'a>>,
    algo_id: Option<Text<'a>>,
    algo_cl_ord_id: Option<Text<'a>>,
    side: Option<Text<'a>>,
    ord_type: Option<Text<'a>>,
    px: Option<Text<'a>>,
    sz: Option<Text<'a>>,
    tgt_ccy: Option<Text<'a>>,
    acc_fill_sz: Option<Text<'a>>,
    avg_px: Option<Text<'a>>,
    state: Option<Text<'a>>,
    u_time: Option<Text<'a>>,
    c_time: Option<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TradeAnswer<'a> {
    #[serde(borrow)]
    inst_id: Text<'a>,
    inst_type: Option<Text<'a>>,
    trade_id: Text<'a>,
    ord_id: Text<'a>,
    side: Option<Text<'a>>,
    fill_px: Text<'a>,
    fill_sz: Text<'a>,
    fee: Text<'a>,
    fee_ccy: Text<'a>,
    ts: Option<Text<'a>>,
    fill_time: Option<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PriceAnswer<'a> {
    #[serde(borrow)]
    inst_id: Text<'a>,
    last: Option<Text<'a>>,
    mark_px: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct TimeAnswer<'a> {
    #[serde(borrow)]
    ts: Text<'a>,
}
