//! Trading: what must hold whatever anybody sends, and each order type once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests state what must hold"
)]

use portcullis_sim::book::{Life, Side, Status, Type};
use portcullis_sim::decimal::{D, d, text};
use portcullis_sim::exchange::{Exchange, NewList, NewOrder};
use portcullis_sim::makers::{Makers, plain};
use portcullis_sim::market;
use proptest::prelude::*;

const NOW: u64 = 1_790_000_000_000;

struct Venue {
    exchange: Exchange,
    makers: Makers,
    a: usize,
    b: usize,
    btc: usize,
}

/// Two people with money on a market whose price stands at 65000.
fn venue() -> Venue {
    let mut exchange = Exchange::new(market::symbols(), NOW);
    let makers = Makers::new(&mut exchange, 7, false);
    let (a, b) = (exchange.open_account("a"), exchange.open_account("b"));
    for account in [a, b] {
        for (asset, amount) in [("USDT", "1000000"), ("BTC", "10"), ("LTC", "100")] {
            let asset = exchange.asset(asset).unwrap();
            exchange.give(account, asset, d(amount));
        }
    }
    let btc = exchange.market("BTCUSDT").unwrap();
    Venue {
        exchange,
        makers,
        a,
        b,
        btc,
    }
}

fn limit(side: Side, price: &str, quantity: &str) -> NewOrder {
    plain(side, Type::Limit, d(price), d(quantity))
}

impl Venue {
    fn place(&mut self, account: usize, order: NewOrder) -> u64 {
        self.exchange.place(account, self.btc, order).unwrap()
    }

    fn status(&self, id: u64) -> (Status, String) {
        let order = &self.exchange.markets[self.btc].book.orders[&id];
        (order.status, text(order.executed))
    }

    fn balance(&self, account: usize, asset: &str) -> (String, String) {
        let balance = self.exchange.accounts[account].spot[self.exchange.asset(asset).unwrap()];
        (text(balance.free), text(balance.locked))
    }

    fn price(&mut self, price: &str) {
        self.makers
            .set_price(&mut self.exchange, self.btc, d(price));
    }
}

#[test]
fn a_limit_order_rests_is_hit_in_part_and_pays() {
    let mut v = venue();
    let id = v.place(v.a, limit(Side::Buy, "64000", "1"));
    assert_eq!(
        v.balance(v.a, "USDT"),
        ("936000.00000000".to_owned(), "64000.00000000".to_owned())
    );
    assert_eq!(v.exchange.hit(v.btc, id, d("0.4")), Some(d("0.4")));
    assert_eq!(
        v.status(id),
        (Status::PartiallyFilled, "0.40000000".to_owned())
    );
    // 0.1 % of what was bought goes to the venue.
    assert_eq!(v.balance(v.a, "BTC").0, "10.39960000");
    assert_eq!(v.balance(v.a, "USDT").1, "38400.00000000");
    v.exchange.cancel(v.a, v.btc, Some(id), None, None).unwrap();
    assert_eq!(
        v.balance(v.a, "USDT"),
        ("974400.00000000".to_owned(), "0.00000000".to_owned())
    );
    assert_eq!(
        v.exchange
            .cancel(v.a, v.btc, Some(id), None, None)
            .unwrap_err()
            .code,
        -2011
    );
}

#[test]
fn price_then_time() {
    let mut v = venue();
    // Better than the makers' own quotes.
    let first = v.place(v.a, limit(Side::Sell, "65001", "0.5"));
    let second = v.place(v.a, limit(Side::Sell, "65001", "0.5"));
    let better = v.place(v.a, limit(Side::Sell, "65000.50", "0.5"));
    let taker = v.place(v.b, limit(Side::Buy, "65001", "0.8"));
    assert_eq!(v.status(taker).0, Status::Filled);
    assert_eq!(v.status(better).0, Status::Filled);
    assert_eq!(
        v.status(first),
        (Status::PartiallyFilled, "0.30000000".to_owned())
    );
    assert_eq!(v.status(second).0, Status::New);
    // The taker paid the makers' prices, not its own.
    let order = &v.exchange.markets[v.btc].book.orders[&taker];
    assert_eq!(
        text(order.quote_executed),
        text(d("32500.25") + d("19500.3"))
    );
    assert_eq!(v.balance(v.b, "USDT").1, "0.00000000");
}

#[test]
fn market_orders_by_quantity_and_by_value() {
    let mut v = venue();
    let id = v.place(v.a, plain(Side::Buy, Type::Market, 0, d("0.1")));
    assert_eq!(v.status(id), (Status::Filled, "0.10000000".to_owned()));
    let id = v.place(
        v.a,
        NewOrder {
            quote_quantity: d("1000"),
            ..plain(Side::Sell, Type::Market, 0, 0)
        },
    );
    let order = &v.exchange.markets[v.btc].book.orders[&id];
    assert_eq!(order.status, Status::Filled);
    let left = d("1000") - order.quote_executed;
    assert!(left >= 0 && left < d("0.65"), "{}", text(left));
    let refusal = v
        .exchange
        .place(v.a, v.btc, plain(Side::Sell, Type::Market, 0, d("11")))
        .unwrap_err();
    assert_eq!(
        refusal.msg,
        "Account has insufficient balance for requested action."
    );
}

#[test]
fn lives() {
    let mut v = venue();
    let ioc = v.place(
        v.a,
        NewOrder {
            life: Life::Ioc,
            ..limit(Side::Buy, "64000", "1")
        },
    );
    assert_eq!(v.status(ioc).0, Status::Expired);
    let fok = v.place(
        v.a,
        NewOrder {
            life: Life::Fok,
            ..limit(Side::Buy, "65007", "9")
        },
    );
    assert_eq!(v.status(fok), (Status::Expired, "0.00000000".to_owned()));
    let fok = v.place(
        v.a,
        NewOrder {
            life: Life::Fok,
            ..limit(Side::Buy, "65100", "1")
        },
    );
    assert_eq!(v.status(fok).0, Status::Filled);
    let maker = plain(Side::Buy, Type::LimitMaker, d("65100"), d("1"));
    assert_eq!(
        v.exchange.place(v.a, v.btc, maker).unwrap_err().msg,
        "Order would immediately match and take."
    );
    assert_eq!(v.balance(v.a, "USDT").1, "0.00000000");
}

#[test]
fn stops_and_trailing_stops() {
    let mut v = venue();
    let stop = NewOrder {
        stop_price: Some(d("64000")),
        ..plain(Side::Sell, Type::StopLoss, 0, d("1"))
    };
    let id = v.place(v.a, stop.clone());
    assert_eq!(v.status(id).0, Status::New);
    let now = NewOrder {
        stop_price: Some(d("66000")),
        ..stop
    };
    assert_eq!(
        v.exchange.place(v.a, v.btc, now).unwrap_err().msg,
        "Order would trigger immediately."
    );
    let profit = NewOrder {
        stop_price: Some(d("66000")),
        ..plain(Side::Sell, Type::TakeProfitLimit, d("65900"), d("1"))
    };
    let profit = v.place(v.a, profit);
    // Two hundred basis points below the highest.
    let trailing = v.place(
        v.a,
        NewOrder {
            trailing: Some(200),
            ..plain(Side::Sell, Type::StopLoss, 0, d("1"))
        },
    );
    v.price("65900");
    assert_eq!(
        (v.status(profit).0, v.status(trailing).0),
        (Status::New, Status::New)
    );
    v.price("67000");
    assert_eq!(
        (v.status(profit).0, v.status(trailing).0),
        (Status::Filled, Status::New)
    );
    v.price("65700");
    assert_eq!(
        (v.status(id).0, v.status(trailing).0),
        (Status::New, Status::New)
    );
    v.price("65600");
    assert_eq!(
        (v.status(id).0, v.status(trailing).0),
        (Status::New, Status::Filled)
    );
    v.price("63900");
    assert_eq!(v.status(id).0, Status::Filled);
}

#[test]
fn an_iceberg_shows_a_part_and_loses_its_place() {
    let mut v = venue();
    let iceberg = v.place(
        v.a,
        NewOrder {
            iceberg: Some(d("0.1")),
            ..limit(Side::Sell, "65001", "1")
        },
    );
    let other = v.place(v.a, limit(Side::Sell, "65001", "0.1"));
    let shown = v.exchange.markets[v.btc].book.depth(Side::Sell, 1);
    assert_eq!(shown, vec![(d("65001"), d("0.2"))]);
    v.place(v.b, limit(Side::Buy, "65001", "0.2"));
    assert_eq!(
        v.status(iceberg),
        (Status::PartiallyFilled, "0.10000000".to_owned())
    );
    assert_eq!(v.status(other).0, Status::Filled);
    let refusal = v.exchange.place(
        v.a,
        v.btc,
        NewOrder {
            iceberg: Some(d("0.001")),
            ..limit(Side::Sell, "65001", "1")
        },
    );
    assert_eq!(refusal.unwrap_err().msg, "Filter failure: ICEBERG_PARTS");
}

#[test]
fn self_trade_prevention() {
    for (mode, taker, maker) in [
        (
            "EXPIRE_TAKER",
            (Status::ExpiredInMatch, "0"),
            (Status::New, "0"),
        ),
        (
            "EXPIRE_MAKER",
            (Status::New, "0"),
            (Status::ExpiredInMatch, "0"),
        ),
        (
            "EXPIRE_BOTH",
            (Status::ExpiredInMatch, "0"),
            (Status::ExpiredInMatch, "0"),
        ),
        (
            "DECREMENT",
            (Status::New, "0"),
            (Status::ExpiredInMatch, "0"),
        ),
    ] {
        let mut v = venue();
        let resting = v.place(v.a, limit(Side::Sell, "65001", "0.1"));
        let order = NewOrder {
            stp: Some(mode.to_owned()),
            ..limit(Side::Buy, "65001", "0.3")
        };
        let coming = v.place(v.a, order);
        assert_eq!(v.status(coming), (taker.0, text(d(taker.1))), "{mode}");
        assert_eq!(v.status(resting), (maker.0, text(d(maker.1))), "{mode}");
        assert_eq!(v.exchange.accounts[v.a].prevented.len(), 1, "{mode}");
    }
    // Where the market allows it and nothing else is asked, an account trades with itself.
    let mut v = venue();
    let ltc = v.exchange.market("LTCBTC").unwrap();
    v.exchange
        .place(v.a, ltc, limit(Side::Sell, "0.0013", "1"))
        .unwrap();
    let id = v
        .exchange
        .place(v.a, ltc, limit(Side::Buy, "0.0013", "1"))
        .unwrap();
    assert_eq!(
        v.exchange.markets[ltc].book.orders[&id].status,
        Status::Filled
    );
    let refusal = v.exchange.place(
        v.a,
        v.btc,
        NewOrder {
            stp: Some("NONE".to_owned()),
            ..limit(Side::Buy, "64000", "1")
        },
    );
    assert_eq!(refusal.unwrap_err().code, -1013);
}

#[test]
fn filters() {
    let mut v = venue();
    for (order, filter) in [
        (limit(Side::Buy, "65000.001", "1"), "PRICE_FILTER"),
        (limit(Side::Buy, "65000", "0.000001"), "LOT_SIZE"),
        (limit(Side::Buy, "65000", "9001"), "LOT_SIZE"),
        (limit(Side::Buy, "65000", "0.00005"), "NOTIONAL"),
        (limit(Side::Buy, "12000", "1"), "PERCENT_PRICE_BY_SIDE"),
        (limit(Side::Sell, "326000", "1"), "PERCENT_PRICE_BY_SIDE"),
        (
            plain(Side::Sell, Type::Market, 0, d("901")),
            "MARKET_LOT_SIZE",
        ),
        (
            NewOrder {
                trailing: Some(9),
                ..plain(Side::Sell, Type::StopLoss, 0, d("1"))
            },
            "TRAILING_DELTA",
        ),
    ] {
        let refusal = v.exchange.place(v.a, v.btc, order).unwrap_err();
        assert_eq!(refusal.msg, format!("Filter failure: {filter}"));
    }
    for _ in 0..200 {
        v.place(v.a, limit(Side::Buy, "60000", "0.0001"));
    }
    let refusal = v
        .exchange
        .place(v.a, v.btc, limit(Side::Buy, "60000", "0.0001"))
        .unwrap_err();
    assert_eq!(refusal.msg, "Filter failure: MAX_NUM_ORDERS");
    let closed = v.exchange.market("LUNAUSDT").unwrap();
    assert_eq!(
        v.exchange
            .place(v.a, closed, limit(Side::Buy, "1", "10"))
            .unwrap_err()
            .msg,
        "Market is closed."
    );
}

#[test]
fn one_cancels_the_other() {
    let pair = |quantity: &str| NewList {
        client_id: None,
        working: None,
        legs: vec![
            plain(Side::Sell, Type::LimitMaker, d("66000"), d(quantity)),
            NewOrder {
                stop_price: Some(d("64000")),
                ..plain(Side::Sell, Type::StopLossLimit, d("63900"), d(quantity))
            },
        ],
    };
    let mut v = venue();
    let list = v.exchange.place_list(v.a, v.btc, pair("1")).unwrap();
    // Held once, not twice.
    assert_eq!(
        v.balance(v.a, "BTC"),
        ("9.00000000".to_owned(), "1.00000000".to_owned())
    );
    let [above, below] = v.exchange.lists[&list].orders[..] else {
        panic!()
    };
    v.exchange.hit(v.btc, above, d("0.3"));
    assert_eq!(
        (v.status(above).0, v.status(below).0),
        (Status::PartiallyFilled, Status::Expired)
    );
    v.exchange.hit(v.btc, above, d("0.7"));
    assert!(!v.exchange.lists[&list].open);
    assert_eq!(v.balance(v.a, "BTC").1, "0.00000000");

    let mut v = venue();
    let list = v.exchange.place_list(v.a, v.btc, pair("1")).unwrap();
    let [above, below] = v.exchange.lists[&list].orders[..] else {
        panic!()
    };
    v.price("63950");
    assert_eq!(
        (v.status(above).0, v.status(below).0),
        (Status::Expired, Status::Filled)
    );
    assert_eq!(v.balance(v.a, "BTC").1, "0.00000000");

    let mut v = venue();
    let list = v.exchange.place_list(v.a, v.btc, pair("1")).unwrap();
    let [above, below] = v.exchange.lists[&list].orders[..] else {
        panic!()
    };
    v.exchange
        .cancel(v.a, v.btc, Some(below), None, None)
        .unwrap();
    assert_eq!(
        (v.status(above).0, v.status(below).0),
        (Status::Canceled, Status::Canceled)
    );
    assert_eq!(
        v.balance(v.a, "BTC"),
        ("10.00000000".to_owned(), "0.00000000".to_owned())
    );
    assert_eq!(
        v.exchange
            .place_list(v.a, v.btc, pair("11"))
            .unwrap_err()
            .code,
        -2010
    );
    let mut wrong = pair("1");
    wrong.legs[1].stop_price = Some(d("66500"));
    assert!(v.exchange.place_list(v.a, v.btc, wrong).is_err());
}

#[test]
fn one_triggers_the_other() {
    let mut v = venue();
    let list = NewList {
        client_id: Some("list-1".to_owned()),
        working: Some((limit(Side::Buy, "64000", "1"), false)),
        legs: vec![limit(Side::Sell, "66000", "1")],
    };
    let list = v.exchange.place_list(v.a, v.btc, list).unwrap();
    let [working, pending] = v.exchange.lists[&list].orders[..] else {
        panic!()
    };
    assert_eq!(v.status(pending).0, Status::PendingNew);
    assert_eq!(
        v.balance(v.a, "BTC"),
        ("9.00000000".to_owned(), "1.00000000".to_owned())
    );
    v.exchange.hit(v.btc, working, d("0.5"));
    assert_eq!(v.status(pending).0, Status::PendingNew);
    v.exchange.hit(v.btc, working, d("0.5"));
    v.exchange.settle(v.btc);
    assert_eq!(v.status(pending).0, Status::New);
    v.price("66100");
    assert_eq!(v.status(pending).0, Status::Filled);
    assert_eq!(v.balance(v.a, "BTC").1, "0.00000000");
    assert!(!v.exchange.lists[&list].open);
}

#[test]
fn what_the_first_order_bought_pays_for_the_others() {
    let mut v = venue();
    let list = NewList {
        client_id: None,
        working: Some((limit(Side::Buy, "64000", "1"), true)),
        legs: vec![
            plain(Side::Sell, Type::LimitMaker, d("67000"), 0),
            NewOrder {
                stop_price: Some(d("63000")),
                ..plain(Side::Sell, Type::StopLoss, 0, 0)
            },
        ],
    };
    let list = v.exchange.place_list(v.a, v.btc, list).unwrap();
    let [working, above, below] = v.exchange.lists[&list].orders[..] else {
        panic!()
    };
    assert_eq!(
        v.balance(v.a, "BTC"),
        ("10.00000000".to_owned(), "0.00000000".to_owned())
    );
    v.exchange.hit(v.btc, working, d("0.6"));
    // What it got is held for the others, after the commission.
    assert_eq!(
        v.balance(v.a, "BTC"),
        ("10.00000000".to_owned(), "0.59940000".to_owned())
    );
    v.exchange.hit(v.btc, working, d("0.4"));
    v.exchange.settle(v.btc);
    let order = &v.exchange.markets[v.btc].book.orders[&above];
    assert_eq!(
        (order.status, text(order.quantity)),
        (Status::New, "0.99900000".to_owned())
    );
    v.price("62900");
    assert_eq!(
        (v.status(above).0, v.status(below).0),
        (Status::Expired, Status::Filled)
    );
    assert_eq!(
        v.balance(v.a, "BTC"),
        ("10.00000000".to_owned(), "0.00000000".to_owned())
    );
}

#[test]
fn an_amended_order_keeps_its_place() {
    let mut v = venue();
    let first = v.place(v.a, limit(Side::Sell, "65001", "0.5"));
    let second = v.place(v.b, limit(Side::Sell, "65001", "0.5"));
    v.exchange
        .amend(v.a, v.btc, first, d("0.2"), Some("smaller".to_owned()))
        .unwrap();
    assert_eq!(v.balance(v.a, "BTC").1, "0.20000000");
    assert_eq!(
        v.exchange
            .amend(v.a, v.btc, first, d("0.3"), None)
            .unwrap_err()
            .code,
        -2038
    );
    assert_eq!(
        v.exchange
            .amend(v.b, v.btc, first, d("0.1"), None)
            .unwrap_err()
            .code,
        -2038
    );
    v.exchange.hit(v.btc, first, d("0.1"));
    assert_eq!(v.status(second).0, Status::New);
    assert!(v.exchange.find(v.a, v.btc, None, Some("smaller")).is_some());
}

#[derive(Debug, Clone)]
enum Step {
    Order {
        who: bool,
        market: bool,
        side: bool,
        kind: u8,
        life: u8,
        price: i64,
        quantity: u8,
        iceberg: bool,
        stp: u8,
    },
    Value {
        who: bool,
        side: bool,
        value: u16,
    },
    Pair {
        who: bool,
        side: bool,
        apart: u8,
        quantity: u8,
        first: u8,
    },
    Cancel {
        who: bool,
        nth: u8,
    },
    Amend {
        who: bool,
        nth: u8,
        part: u8,
    },
    Hit {
        who: bool,
        nth: u8,
        quantity: u8,
    },
    Price {
        basis: i16,
    },
    Later {
        ms: u16,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let b = any::<bool>;
    prop_oneof![
        8 => (b(), b(), b(), 0..7_u8, 0..3_u8, -200..200_i64, 1..200_u8, b(), 0..5_u8).prop_map(
            |(who, market, side, kind, life, price, quantity, iceberg, stp)| Step::Order {
                who, market, side, kind, life, price, quantity, iceberg, stp,
            }
        ),
        2 => (b(), b(), 5..50_000_u16).prop_map(|(who, side, value)| Step::Value { who, side, value }),
        3 => (b(), b(), 1..200_u8, 1..100_u8, 0..3_u8)
            .prop_map(|(who, side, apart, quantity, first)| Step::Pair { who, side, apart, quantity, first }),
        3 => (b(), any::<u8>()).prop_map(|(who, nth)| Step::Cancel { who, nth }),
        1 => (b(), any::<u8>(), any::<u8>()).prop_map(|(who, nth, part)| Step::Amend { who, nth, part }),
        2 => (b(), any::<u8>(), 1..200_u8).prop_map(|(who, nth, quantity)| Step::Hit { who, nth, quantity }),
        2 => (-300..300_i16).prop_map(|basis| Step::Price { basis }),
        1 => (1..2000_u16).prop_map(|ms| Step::Later { ms }),
    ]
}

fn side(buy: bool) -> Side {
    if buy { Side::Buy } else { Side::Sell }
}

/// A price that many basis points from the last, on a tick.
fn near(exchange: &Exchange, market: usize, basis: i64) -> D {
    let at = &exchange.markets[market];
    let price = at.last + at.last * D::from(basis) / 10_000;
    price / at.symbol.tick * at.symbol.tick
}

fn apply(v: &mut Venue, step: &Step) {
    let ltc = v.exchange.market("LTCBTC").unwrap();
    let open = |v: &Venue, who: usize, nth: u8| {
        let open = &v.exchange.accounts[who].open[v.btc];
        open.iter()
            .nth(usize::from(nth) % open.len().max(1))
            .copied()
    };
    let who = |v: &Venue, a: bool| if a { v.a } else { v.b };
    match *step {
        Step::Order {
            who: a,
            market,
            side: buy,
            kind,
            life,
            price,
            quantity,
            iceberg,
            stp,
        } => {
            let market = if market { v.btc } else { ltc };
            let kinds = [
                Type::Limit,
                Type::Market,
                Type::StopLoss,
                Type::StopLossLimit,
                Type::TakeProfit,
                Type::TakeProfitLimit,
                Type::LimitMaker,
            ];
            let kind = kinds[usize::from(kind)];
            let unit = if market == v.btc { d("0.01") } else { d("0.1") };
            let at_price = near(&v.exchange, market, price);
            let order = NewOrder {
                life: [Life::Gtc, Life::Ioc, Life::Fok][usize::from(life)],
                stop_price: kind.waits().then(|| near(&v.exchange, market, price / 2)),
                trailing: (kind.waits() && iceberg).then_some(50),
                iceberg: (iceberg && !kind.at_market()).then_some(unit),
                stp: Some(
                    [
                        "EXPIRE_TAKER",
                        "EXPIRE_MAKER",
                        "EXPIRE_BOTH",
                        "DECREMENT",
                        "NONE",
                    ][usize::from(stp)]
                    .to_owned(),
                ),
                ..plain(
                    side(buy),
                    kind,
                    if kind.at_market() { 0 } else { at_price },
                    unit * D::from(quantity),
                )
            };
            let _ = v.exchange.place(who(v, a), market, order);
        }
        Step::Value {
            who: a,
            side: buy,
            value,
        } => {
            let order = NewOrder {
                quote_quantity: d(&value.to_string()),
                ..plain(side(buy), Type::Market, 0, 0)
            };
            let _ = v.exchange.place(who(v, a), v.btc, order);
        }
        Step::Pair {
            who: a,
            side: buy,
            apart,
            quantity,
            first,
        } => {
            let (above, below) = (
                near(&v.exchange, v.btc, i64::from(apart)),
                near(&v.exchange, v.btc, -i64::from(apart)),
            );
            let quantity = d("0.01") * D::from(quantity);
            let (profit, stop) = if buy { (below, above) } else { (above, below) };
            let paid = if first == 2 { 0 } else { quantity };
            let legs = vec![
                plain(side(buy), Type::LimitMaker, profit, paid),
                NewOrder {
                    stop_price: Some(stop),
                    ..plain(side(buy), Type::StopLoss, 0, paid)
                },
            ];
            let working = match first {
                0 => None,
                1 => Some((
                    limit(
                        side(!buy),
                        &text(near(&v.exchange, v.btc, 0)),
                        &text(quantity),
                    ),
                    false,
                )),
                _ => Some((
                    limit(
                        Side::Buy,
                        &text(near(&v.exchange, v.btc, 0)),
                        &text(quantity),
                    ),
                    true,
                )),
            };
            if first == 2 && buy {
                return;
            }
            let _ = v.exchange.place_list(
                who(v, a),
                v.btc,
                NewList {
                    client_id: None,
                    working,
                    legs,
                },
            );
            v.exchange.settle(v.btc);
        }
        Step::Cancel { who: a, nth } => {
            let account = who(v, a);
            if let Some(id) = open(v, account, nth) {
                v.exchange
                    .cancel(account, v.btc, Some(id), None, None)
                    .unwrap();
            }
        }
        Step::Amend { who: a, nth, part } => {
            let account = who(v, a);
            if let Some(id) = open(v, account, nth) {
                let quantity =
                    v.exchange.markets[v.btc].book.orders[&id].quantity * D::from(part) / 256;
                let step = v.exchange.markets[v.btc].symbol.step;
                let _ = v
                    .exchange
                    .amend(account, v.btc, id, quantity / step * step, None);
            }
        }
        Step::Hit {
            who: a,
            nth,
            quantity,
        } => {
            let account = who(v, a);
            if let Some(id) = open(v, account, nth) {
                let _ = v.exchange.hit(v.btc, id, d("0.01") * D::from(quantity));
                v.exchange.settle(v.btc);
            }
        }
        Step::Price { basis } => {
            let price = near(&v.exchange, v.btc, i64::from(basis));
            v.makers.set_price(&mut v.exchange, v.btc, price);
        }
        Step::Later { ms } => {
            v.exchange.now += u64::from(ms);
            v.makers.moving = true;
            v.makers.advance(&mut v.exchange);
            v.makers.moving = false;
        }
    }
}

/// Nothing is made or lost, nobody owes, what is locked is what open orders and lists hold, the book is not crossed.
fn sound(v: &Venue, before: &[D]) -> Result<(), TestCaseError> {
    let exchange = &v.exchange;
    for (asset, total) in before.iter().enumerate() {
        prop_assert_eq!(
            exchange.total(asset),
            *total,
            "{} was made or lost",
            exchange.assets[asset]
        );
    }
    for (index, account) in exchange.accounts.iter().enumerate() {
        let mut held = vec![0; exchange.assets.len()];
        for (market, at) in exchange.markets.iter().enumerate() {
            for id in &account.open[market] {
                let order = &at.book.orders[id];
                prop_assert!(order.status.open(), "{:?}", order);
                prop_assert!(order.remaining() >= 0 && order.locked >= 0, "{:?}", order);
                held[if order.side == Side::Buy {
                    at.quote
                } else {
                    at.base
                }] += order.locked;
            }
        }
        for list in account.lists.iter().map(|l| &exchange.lists[l]) {
            prop_assert!(list.open || list.locked == 0, "{:?}", list);
            held[list.locked_asset] += list.locked;
        }
        for (asset, balance) in account.spot.iter().enumerate() {
            prop_assert!(
                balance.free >= 0,
                "{} owes {}",
                account.name,
                exchange.assets[asset]
            );
            prop_assert_eq!(
                balance.locked,
                held[asset],
                "{} {} {}",
                index,
                account.name,
                exchange.assets[asset]
            );
        }
    }
    for at in &exchange.markets {
        if let (Some((bid, _)), Some((ask, _))) =
            (at.book.best(Side::Buy), at.book.best(Side::Sell))
        {
            prop_assert!(bid < ask, "{} is crossed", at.symbol.name);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::default())]

    #[test]
    fn balances_are_conserved(steps in prop::collection::vec(step(), 1..60)) {
        let mut v = venue();
        let before: Vec<D> = (0..v.exchange.assets.len()).map(|asset| v.exchange.total(asset)).collect();
        for step in &steps {
            apply(&mut v, step);
            sound(&v, &before)?;
        }
    }
}
