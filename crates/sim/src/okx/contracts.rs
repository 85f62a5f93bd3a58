//! Linear and inverse swaps. Quantities are in contracts.

use super::market::{candle_list, no_instrument};
use super::socket::code_of_swap;
use super::trade::exit;
use super::{Asked, Done, decimal, flag, parameter, refuse, shown, text};
use crate::book::{Side, Status};
use crate::decimal::ONE;
use crate::futures::house::{Deny, FUNDING_MS, Leg, Life, Market, NewOrder, Order, plain};
use crate::futures::position::shown as coins;
use crate::refusal::Refusal;
use crate::v5::perps::{At, SERVICES};
use crate::v5::table::Fields;
use crate::venue::Venue;
use serde_json::{Value, json};

type One = Result<Value, Refusal>;

/// The swap of that name.
pub(super) fn of(venue: &Venue, name: &str) -> Option<At> {
    SERVICES.iter().find_map(|s| venue.contract(*s, name))
}

pub(super) fn market(venue: &Venue, at: At) -> &Market {
    &venue.futures.houses[at.service.index()].markets[at.contract]
}

pub(super) fn all(venue: &Venue) -> impl Iterator<Item = (At, &Market)> {
    SERVICES.iter().flat_map(move |service| {
        let markets = venue.futures.houses[service.index()].markets.iter();
        markets.enumerate().map(move |(contract, m)| {
            (
                At {
                    service: *service,
                    contract,
                },
                m,
            )
        })
    })
}

/// The venue's words for what the house denies.
pub(super) fn denied(why: Deny) -> Refusal {
    let (code, msg) = match why {
        Deny::Closed => (51022, "Contract suspended."),
        Deny::PriceZero | Deny::Precision | Deny::Tick => (51000, "Parameter px error"),
        Deny::PriceMax | Deny::PriceMin | Deny::PriceHigh(_) | Deny::PriceLow(_) => {
            (51006, "Order price is not within the price limit.")
        }
        Deny::QuantityZero | Deny::Value(_) => (
            51020,
            "Your order should meet or exceed the minimum order amount.",
        ),
        Deny::QuantityMax | Deny::ValueMax => {
            (51005, "Your order amount exceeds the max order amount.")
        }
        Deny::Duplicate => (51016, "Client order ID already exists."),
        Deny::PositionSide => (51000, "Parameter posSide error"),
        Deny::ReduceOnly => (
            51169,
            "Order failed because you don't have any positions in this direction for this contract to reduce or close.",
        ),
        Deny::Margin => (51008, "Order failed. Insufficient margin in account."),
        Deny::Orders | Deny::Stops | Deny::CloseExists => (51025, "Order count exceeds the limit."),
        Deny::Immediate => (
            51278,
            "SL trigger price cannot be lower than the last price",
        ),
        Deny::Takes => (
            51511,
            "The order price does not meet the requirement for Post Only.",
        ),
        Deny::Unfilled | Deny::NoDepth => (51109, "No orders at the current price."),
        Deny::Unknown => (
            51400,
            "Cancellation failed as the order has been filled, canceled or does not exist.",
        ),
        Deny::Leverage | Deny::LeverageIsolated | Deny::LeverageMargin => {
            (59102, "Leverage exceeds the maximum limit.")
        }
        Deny::OpenOrders | Deny::HasPosition => (
            59000,
            "Setting failed. Cancel any open orders, close positions, and stop trading bots first.",
        ),
        Deny::NoPosition => (51023, "Position doesn't exist."),
        _ => (51000, "Parameter error"),
    };
    refuse(code, msg)
}

pub(super) fn instruments(venue: &Venue, wanted: Option<&str>) -> Vec<Value> {
    all(venue)
        .map(|(at, m)| (at, &m.contract))
        .filter(|(_, c)| wanted.is_none_or(|w| w == c.name))
        .map(|(at, c)| {
            let family = format!("{}-{}", c.base, c.quote);
            json!({
                "alias": "", "baseCcy": "", "category": "1", "ctMult": "1", "ctType": if c.inverse { "inverse" } else { "linear" }, "ctVal": shown(c.size),
                "ctValCcy": if c.inverse { &c.quote } else { &c.base }, "expTime": "", "instFamily": family, "instId": c.name, "instIdCode": code_of_swap(at), "instType": "SWAP",
                "lever": c.leverage_max().to_string(), "listTime": "1573557408000", "lotSz": shown(c.step), "maxIcebergSz": shown(c.quantity_max),
                "maxLmtAmt": "20000000", "maxLmtSz": shown(c.quantity_max), "maxMktAmt": "", "maxMktSz": shown(c.market_quantity_max),
                "maxStopSz": shown(c.market_quantity_max), "maxTriggerSz": shown(c.quantity_max), "maxTwapSz": shown(c.quantity_max), "minSz": shown(c.step),
                "optType": "", "quoteCcy": "", "settleCcy": venue.exchange.assets[c.margin], "state": if c.trading { "live" } else { "suspend" },
                "ruleType": "normal", "stk": "", "tickSz": shown(c.tick), "uly": family, "auctionEndTime": "", "tradeQuoteCcyList": [],
            })
        })
        .collect()
}

pub(super) fn tickers(venue: &Venue, now: &str) -> Vec<Value> {
    all(venue).map(|(_, m)| ticker(m, now)).collect()
}

fn ticker(m: &Market, now: &str) -> Value {
    let best = |side| m.book.depth(side, 1).first().copied().unwrap_or((0, 0));
    let (bid, ask) = (best(Side::Buy), best(Side::Sell));
    json!({
        "instType": "SWAP", "instId": m.contract.name, "last": shown(m.last), "lastSz": shown(m.trades.back().map_or(0, |t| t.quantity)),
        "askPx": shown(ask.0), "askSz": shown(ask.1), "bidPx": shown(bid.0), "bidSz": shown(bid.1), "open24h": shown(m.contract.price),
        "high24h": shown(m.high), "low24h": shown(m.low), "volCcy24h": shown(m.volume), "vol24h": shown(m.volume),
        "sodUtc0": shown(m.contract.price), "sodUtc8": shown(m.contract.price), "ts": now,
    })
}

/// Public data of one swap.
pub(super) fn public(venue: &Venue, path: &str, at: At, asked: &Asked<'_>) -> Done {
    let m = market(venue, at);
    let now = asked.now.to_string();
    match path {
        "/api/v5/market/ticker" => Ok(vec![ticker(m, &now)]),
        "/api/v5/market/books" => {
            let limit = asked.limit("sz", 1, 400)?;
            let side = |side| -> Vec<[String; 4]> {
                let levels = m.book.depth(side, limit).into_iter();
                levels
                    .map(|(p, q)| [shown(p), shown(q), "0".to_owned(), "1".to_owned()])
                    .collect()
            };
            Ok(vec![
                json!({"asks": side(Side::Sell), "bids": side(Side::Buy), "ts": now, "seqId": m.update}),
            ])
        }
        "/api/v5/market/candles" | "/api/v5/market/history-candles" => candle_list(
            asked,
            [m.contract.price, m.contract.tick, m.last],
            m.contract.maker_size,
        ),
        "/api/v5/market/trades" => {
            let limit = asked.limit("limit", 100, 500)?;
            Ok(m.trades
                .iter()
                .rev()
                .take(limit)
                .map(|t| {
                    json!({
                        "instId": m.contract.name, "tradeId": t.id.to_string(), "px": shown(t.price), "sz": shown(t.quantity),
                        "side": if t.buyer_maker { "sell" } else { "buy" }, "ts": t.time.to_string(), "count": "1", "source": "0",
                    })
                })
                .collect())
        }
        "/api/v5/public/funding-rate" => {
            let next = (asked.now / FUNDING_MS + 1) * FUNDING_MS;
            Ok(vec![json!({
                "instType": "SWAP", "instId": m.contract.name, "method": "current_period", "formulaType": "noRate", "fundingRate": shown(m.rate),
                "nextFundingRate": "", "fundingTime": next.to_string(), "nextFundingTime": (next + FUNDING_MS).to_string(), "minFundingRate": "-0.00375",
                "maxFundingRate": "0.00375", "interestRate": "0.0001", "impactValue": "", "settState": "settled", "settFundingRate": shown(m.rate),
                "premium": "0", "ts": now, "prevFundingTime": (next - FUNDING_MS).to_string(),
            })])
        }
        _ => Err(no_instrument()),
    }
}

pub(super) fn marks(venue: &Venue, wanted: Option<&str>, now: u64) -> Vec<Value> {
    all(venue)
        .filter(|(_, m)| wanted.is_none_or(|w| w == m.contract.name))
        .map(|(_, m)| json!({"instType": "SWAP", "instId": m.contract.name, "markPx": shown(m.mark), "ts": now.to_string()}))
        .collect()
}

fn leg(fields: &Fields) -> Leg {
    match text(fields, "posSide") {
        Some("long") => Leg::Long,
        Some("short") => Leg::Short,
        _ => Leg::Both,
    }
}

fn side(fields: &Fields) -> Side {
    if text(fields, "side") == Some("buy") {
        Side::Buy
    } else {
        Side::Sell
    }
}

const BASE: u64 = 2_700_000_000_000_000_000;
const CONTRACT: u64 = 100_000_000_000_000;

/// The number of an order at the venue.
fn number(at: At, id: u64) -> u64 {
    BASE + (at.service.index() as u64 * 64 + at.contract as u64) * CONTRACT + id
}

fn of_number(text: &str) -> Option<(usize, usize, u64)> {
    let number = text.parse::<u64>().ok()?.checked_sub(BASE)?;
    let place = usize::try_from(number / CONTRACT).ok()?;
    (place < 128).then_some((place / 64, place % 64, number % CONTRACT))
}

pub(super) fn place(venue: &mut Venue, account: usize, at: At, fields: &Fields) -> One {
    if !matches!(text(fields, "tdMode"), Some("cross")) {
        return Err(refuse(51000, "Parameter tdMode error"));
    }
    let kind = text(fields, "ordType").unwrap_or("");
    let at_market = matches!(kind, "market" | "optimal_limit_ioc");
    let (side, leg) = (side(fields), leg(fields));
    let price = decimal(fields, "px").filter(|_| !at_market);
    if !at_market && price.is_none() {
        return Err(refuse(50014, "Parameter px cannot be empty."));
    }
    let order = NewOrder {
        leg,
        life: match kind {
            "ioc" => Life::Ioc,
            "fok" => Life::Fok,
            "post_only" => Life::Gtx,
            _ => Life::Gtc,
        },
        reduce: flag(fields, "reduceOnly"),
        client_id: text(fields, "clOrdId").map(str::to_owned),
        ..plain(side, price, decimal(fields, "sz").unwrap_or(0))
    };
    let attached: Vec<Value> = fields
        .get("attachAlgoOrds")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    let mut exits = Vec::new();
    for one in attached.iter().filter_map(Value::as_object) {
        for (trigger, own, gain) in [
            ("tpTriggerPx", "tpOrdPx", true),
            ("slTriggerPx", "slOrdPx", false),
        ] {
            if let Some(exit) = exit(one, trigger, own)? {
                let entry = price.unwrap_or(market(venue, at).last);
                if exit.price.is_some() {
                    return Err(parameter("attachAlgoOrds"));
                }
                if (exit.trigger > entry) != (gain == (side == Side::Buy)) {
                    let (code, msg) = if gain {
                        (
                            51046,
                            "The TP trigger price must be beyond the order price.",
                        )
                    } else {
                        (
                            51047,
                            "The SL trigger price must be before the order price.",
                        )
                    };
                    return Err(refuse(code, msg));
                }
                exits.push((exit.trigger, gain));
            }
        }
    }
    let id = venue
        .in_house(at.service, account, |house| {
            house.place(account, at.contract, order)
        })
        .map_err(denied)?;
    for (price, gain) in exits {
        venue
            .set_exit(account, at, leg, side.other(), gain, price)
            .map_err(denied)?;
    }
    Ok(named(venue, at, id))
}

fn named(venue: &Venue, at: At, id: u64) -> Value {
    let order = market(venue, at).book.orders.get(&id);
    json!({"ordId": number(at, id).to_string(), "clOrdId": order.and_then(|o| o.asked.client_id.as_deref()).unwrap_or("")})
}

pub(super) fn find<'a>(
    venue: &'a Venue,
    account: usize,
    at: At,
    fields: &Fields,
) -> Result<Option<&'a Order>, Refusal> {
    let house = &venue.futures.houses[at.service.index()];
    match (text(fields, "ordId"), text(fields, "clOrdId")) {
        (Some(id), _) => Ok(of_number(id)
            .filter(|(service, contract, _)| {
                (*service, *contract) == (at.service.index(), at.contract)
            })
            .and_then(|(_, _, id)| house.find(account, at.contract, Some(id), None))),
        (None, Some(client)) => Ok(house.find(account, at.contract, None, Some(client))),
        (None, None) => Err(refuse(
            51407,
            "Either order ID or client order ID is required.",
        )),
    }
}

pub(super) fn cancel(venue: &mut Venue, account: usize, at: At, fields: &Fields) -> One {
    let found = find(venue, account, at, fields)?.filter(|o| o.status.open());
    let id = found.map(|o| o.id).ok_or_else(|| denied(Deny::Unknown))?;
    venue
        .in_house(at.service, account, |house| {
            house.cancel(account, at.contract, Some(id), None)
        })
        .map_err(denied)?;
    Ok(named(venue, at, id))
}

pub(super) fn amend(venue: &mut Venue, account: usize, at: At, fields: &Fields) -> One {
    let gone = || {
        refuse(
            51503,
            "Order modification failed as the order has been filled, canceled or does not exist.",
        )
    };
    let order = find(venue, account, at, fields)?
        .filter(|o| o.status.open())
        .ok_or_else(gone)?;
    let (id, side) = (order.id, order.asked.side);
    let price = decimal(fields, "newPx").unwrap_or(order.price);
    let quantity = decimal(fields, "newSz").unwrap_or(order.quantity);
    let done = venue.in_house(at.service, account, |house| {
        let done = house.amend(account, at.contract, id, side, price, quantity);
        house.settle(at.contract);
        done
    });
    if done.is_err() && flag(fields, "cxlOnFail") {
        let _ = venue.in_house(at.service, account, |house| {
            house.cancel(account, at.contract, Some(id), None)
        });
    }
    done.map_err(denied)?;
    let mut told = named(venue, at, id);
    told["reqId"] = json!(text(fields, "reqId").unwrap_or(""));
    Ok(told)
}

/// Closes a position at market.
pub(super) fn close(venue: &mut Venue, account: usize, asked: &Asked<'_>) -> Done {
    let at = of(venue, asked.text("instId").unwrap_or("")).ok_or_else(no_instrument)?;
    if asked.text("mgnMode") != Some("cross") {
        return Err(parameter("mgnMode"));
    }
    venue.futures.house(at.service).open_account(account);
    let leg = leg(&asked.fields);
    let position =
        venue.futures.houses[at.service.index()].accounts[account].position(at.contract, leg);
    if position.quantity == 0 {
        return Err(denied(Deny::NoPosition));
    }
    let side = if position.quantity > 0 {
        Side::Sell
    } else {
        Side::Buy
    };
    let order = NewOrder {
        leg,
        reduce: true,
        client_id: asked.text("clOrdId").map(str::to_owned),
        ..plain(side, None, position.quantity.abs())
    };
    venue
        .in_house(at.service, account, |house| {
            if flag(&asked.fields, "autoCxl") {
                house.cancel_all(account, at.contract);
            }
            house.place(account, at.contract, order)
        })
        .map_err(denied)?;
    Ok(vec![json!({
        "instId": asked.text("instId"), "posSide": asked.text("posSide").unwrap_or("net"), "clOrdId": asked.text("clOrdId").unwrap_or(""),
        "tag": asked.text("tag").unwrap_or(""),
    })])
}

pub(super) fn state(order: &Order) -> &'static str {
    match order.status {
        Status::New | Status::PendingNew => "live",
        Status::PartiallyFilled => "partially_filled",
        Status::Filled => "filled",
        _ => "canceled",
    }
}

fn word(leg: Leg) -> &'static str {
    match leg {
        Leg::Both => "net",
        Leg::Long => "long",
        Leg::Short => "short",
    }
}

pub(super) fn kind(order: &Order) -> &'static str {
    match order.asked.life {
        _ if order.asked.price.is_none() => "market",
        Life::Ioc => "ioc",
        Life::Fok => "fok",
        Life::Gtx => "post_only",
        _ => "limit",
    }
}

/// Orders of swaps: time, number, order.
pub(super) fn orders(
    venue: &Venue,
    account: usize,
    open: bool,
) -> Vec<(u64, u64, &'static str, Value)> {
    let mut found = Vec::new();
    for service in SERVICES {
        let house = &venue.futures.houses[service.index()];
        let Some(owner) = house.accounts.get(account) else {
            continue;
        };
        for (contract, id) in &owner.orders {
            let at = At {
                service,
                contract: *contract,
            };
            if let Some(order) = house
                .order(*contract, *id)
                .filter(|o| o.status.open() == open)
            {
                found.push((
                    order.time,
                    number(at, *id),
                    kind(order),
                    shown_order(venue, at, order),
                ));
            }
        }
    }
    found
}

pub(super) fn shown_order(venue: &Venue, at: At, order: &Order) -> Value {
    let m = market(venue, at);
    let house = &venue.futures.houses[at.service.index()];
    let trades: Vec<_> = house.accounts[order.account]
        .trades
        .iter()
        .filter(|t| t.order == order.id)
        .collect();
    let (fee, gain) = (
        trades.iter().map(|t| t.fee).sum::<i128>(),
        trades.iter().map(|t| t.realized).sum::<i128>(),
    );
    let last = trades.last();
    let coin = &venue.exchange.assets[m.contract.margin];
    json!({
        "instType": "SWAP", "instId": m.contract.name, "ccy": "", "ordId": number(at, order.id).to_string(),
        "clOrdId": order.asked.client_id.as_deref().unwrap_or(""), "tag": "", "px": if order.price > 0 { shown(order.price) } else { String::new() },
        "sz": shown(order.quantity), "pnl": shown(coins(gain)), "ordType": kind(order), "side": if order.asked.side == Side::Buy { "buy" } else { "sell" },
        "posSide": word(order.asked.leg), "tdMode": "cross", "accFillSz": shown(order.executed), "fillPx": last.map_or(String::new(), |t| shown(t.price)),
        "tradeId": last.map_or(String::new(), |t| t.id.to_string()), "fillSz": shown(last.map_or(0, |t| t.quantity)),
        "fillTime": last.map_or(String::new(), |t| t.time.to_string()), "avgPx": if order.executed == 0 { String::new() } else { shown(order.average()) },
        "state": state(order), "lever": house.accounts[order.account].setting(at.contract).leverage.to_string(), "attachAlgoOrds": [],
        "feeCcy": coin, "fee": shown(coins(-fee)), "rebateCcy": coin, "rebate": "0", "tgtCcy": "", "source": "",
        "category": if order.auto_close.is_some() { "full_liquidation" } else { "normal" }, "reduceOnly": order.asked.reduce.to_string(),
        "cancelSource": if order.status == Status::Canceled { "1" } else { "" }, "algoId": "", "algoClOrdId": "", "cTime": order.time.to_string(),
        "uTime": order.updated.to_string(),
    })
}

/// Fills of swaps: time, number, fill.
pub(super) fn fills(venue: &Venue, account: usize, wanted: Option<&str>) -> Vec<(u64, u64, Value)> {
    let wanted = wanted.map(of_number);
    let mut found = Vec::new();
    for service in SERVICES {
        let house = &venue.futures.houses[service.index()];
        let Some(owner) = house.accounts.get(account) else {
            continue;
        };
        for t in &owner.trades {
            let at = At {
                service,
                contract: t.contract,
            };
            if wanted.is_some_and(|w| w != Some((service.index(), t.contract, t.order))) {
                continue;
            }
            let m = market(venue, at);
            let client = house
                .order(t.contract, t.order)
                .and_then(|o| o.asked.client_id.as_deref())
                .unwrap_or("");
            found.push((t.time, number(at, t.id), json!({
                "instType": "SWAP", "instId": m.contract.name, "tradeId": t.id.to_string(), "ordId": number(at, t.order).to_string(), "clOrdId": client,
                "billId": number(at, t.id).to_string(), "subType": "", "tag": "", "fillPx": shown(t.price), "fillSz": shown(t.quantity),
                "fillIdxPx": shown(m.index), "fillPnl": shown(coins(t.realized)), "fillMarkPx": shown(m.mark), "side": if t.side == Side::Buy { "buy" } else { "sell" },
                "posSide": word(t.leg), "execType": if t.maker { "M" } else { "T" }, "feeCcy": venue.exchange.assets[m.contract.margin],
                "fee": shown(coins(-t.fee)), "ts": t.time.to_string(), "fillTime": t.time.to_string(),
            })));
        }
    }
    found
}

pub(super) fn positions(venue: &Venue, account: usize, asked: &Asked<'_>) -> Vec<Value> {
    let wanted = asked.text("instId");
    if !matches!(asked.text("instType"), None | Some("SWAP")) {
        return Vec::new();
    }
    let mut found = Vec::new();
    for service in SERVICES {
        let house = &venue.futures.houses[service.index()];
        let Some(owner) = house.accounts.get(account) else {
            continue;
        };
        for ((contract, leg), position) in &owner.positions {
            let at = At {
                service,
                contract: *contract,
            };
            let m = market(venue, at);
            let c = &m.contract;
            if wanted.is_some_and(|w| w != c.name) || position.quantity == 0 {
                continue;
            }
            let worth = c.worth(position.quantity, m.mark);
            let leverage = owner.setting(*contract).leverage;
            let signed = if *leg == Leg::Both {
                shown(position.quantity)
            } else {
                shown(position.quantity.abs())
            };
            found.push(json!({
                "instType": "SWAP", "instId": c.name, "mgnMode": "cross", "posId": number(at, 0).to_string(), "posSide": word(*leg), "pos": signed,
                "baseBal": "", "quoteBal": "", "posCcy": "", "availPos": if *leg == Leg::Both { String::new() } else { signed.clone() },
                "avgPx": shown(position.entry(c)), "markPx": shown(m.mark), "upl": shown(coins(position.profit(c, m.mark))), "uplRatio": "0",
                "lever": leverage.to_string(), "liqPx": house.liquidation_price(account, *contract, *leg).map_or(String::new(), shown),
                "imr": shown(coins(worth / i128::from(leverage.max(1)))), "mmr": shown(coins(c.maintenance(worth))), "margin": "", "mgnRatio": "",
                "liab": "", "liabCcy": "", "interest": "", "tradeId": "", "notionalUsd": shown(coins(worth)), "optVal": "", "adl": "1",
                "ccy": venue.exchange.assets[c.margin], "last": shown(m.last), "idxPx": shown(m.index), "usdPx": "", "bePx": "", "realizedPnl": "0",
                "pnl": "0", "fee": "0", "fundingFee": "0", "liqPenalty": "0", "closeOrderAlgo": [], "cTime": position.updated.to_string(),
                "uTime": position.updated.to_string(),
            }));
        }
    }
    found
}

pub(super) fn leverage(venue: &mut Venue, account: usize, asked: &Asked<'_>, sets: bool) -> Done {
    let name = asked.text("instId").unwrap_or("");
    let at = of(venue, name).ok_or_else(no_instrument)?;
    if asked.text("mgnMode") != Some("cross") {
        return Err(parameter("mgnMode"));
    }
    venue.futures.house(at.service).open_account(account);
    if sets {
        let times = decimal(&asked.fields, "lever").filter(|l| l % ONE == 0);
        let times = times
            .and_then(|l| u32::try_from(l / ONE).ok())
            .ok_or_else(|| parameter("lever"))?;
        venue
            .in_house(at.service, account, |house| {
                house.set_leverage(account, at.contract, times)
            })
            .map_err(denied)?;
    }
    let setting = venue.futures.houses[at.service.index()].accounts[account].setting(at.contract);
    Ok(vec![
        json!({"instId": name, "ccy": "", "mgnMode": "cross", "posSide": asked.text("posSide").unwrap_or("net"), "lever": setting.leverage.to_string()}),
    ])
}

/// One mode for all swaps.
pub(super) fn set_mode(venue: &mut Venue, account: usize, hedge: bool) -> Result<(), Refusal> {
    for service in SERVICES {
        match venue.in_house(service, account, |house| house.set_hedge(account, hedge)) {
            Ok(()) | Err(Deny::Same) => {}
            Err(why) => return Err(denied(why)),
        }
    }
    Ok(())
}
