//! The clearing house: money is conserved, what reduces never opens, liquidation comes where the formula says.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests state what must hold"
)]

use portcullis_sim::book::{Side, Status};
use portcullis_sim::decimal::{D, ONE, d};
use portcullis_sim::exchange::MAKERS;
use portcullis_sim::futures::house::{
    Deny, FUND, FUNDING_MS, House, Leg, Life, NewOrder, OWN, Trigger, plain,
};
use portcullis_sim::futures::position::{Contract, brackets, money};
use proptest::prelude::*;

const ANN: usize = OWN + 1;
const BEN: usize = OWN + 2;

fn contract(inverse: bool) -> Contract {
    Contract {
        name: if inverse { "XUSD_PERP" } else { "XUSDT" }.to_owned(),
        pair: "X".to_owned(),
        base: "X".to_owned(),
        quote: "USD".to_owned(),
        margin: 0,
        size: if inverse { d("100") } else { ONE },
        inverse,
        trading: true,
        price: d("65000"),
        tick: d("0.1"),
        price_min: d("0.1"),
        price_max: d("10000000"),
        up: d("1.05"),
        down: d("0.95"),
        step: if inverse { ONE } else { d("0.001") },
        quantity_max: d("1000000"),
        market_quantity_max: d("100000"),
        value_min: if inverse { 0 } else { money(d("100")) },
        price_places: 1,
        quantity_places: if inverse { 0 } else { 3 },
        orders_max: 50,
        stops_max: 10,
        maker_fee: d("0.0002"),
        taker_fee: d("0.0005"),
        liquidation_fee: d("0.0125"),
        protect: d("0.05"),
        maker_size: d("10"),
        brackets: if inverse {
            brackets(&[(125, 5, d("0.004")), (20, 1_000_000, d("0.01"))])
        } else {
            brackets(&[
                (125, 300_000, d("0.004")),
                (20, 1_000_000_000_000, d("0.01")),
            ])
        },
    }
}

/// Two people with money, makers at one basis point around the mark.
fn house(inverse: bool) -> House {
    let mut house = House::new(vec![contract(inverse)], 1_790_000_000_000);
    for account in [ANN, BEN] {
        house.pay_in(account, 0, if inverse { d("2") } else { d("100000") });
    }
    quote(&mut house, d("65000"));
    house
}

fn quote(house: &mut House, mark: D) {
    house.cancel_all(MAKERS, 0);
    let lots = if house.markets[0].contract.inverse {
        2_000 * ONE
    } else {
        3 * ONE
    };
    let tick = d("0.1");
    for (side, price) in [
        (Side::Buy, mark - mark / 10_000),
        (Side::Sell, mark + mark / 10_000),
    ] {
        let price = (price / tick * tick).max(tick);
        house
            .place(MAKERS, 0, plain(side, Some(price), lots))
            .unwrap();
    }
    // Last: what wakes finds a book.
    house.set_mark(0, mark);
    house.settle(0);
}

fn lots(house: &House, number: i128) -> D {
    // About as much money in both.
    let c = &house.markets[0].contract;
    if c.inverse {
        number * c.step
    } else {
        number * c.step * 2
    }
}

#[track_caller]
fn conserved(house: &House) {
    assert_eq!(
        house.total(0),
        house.paid_in.get(&0).copied().unwrap_or(0),
        "money was made or lost"
    );
    let held: D = house
        .accounts
        .iter()
        .flat_map(|a| a.positions.values())
        .map(|p| p.quantity)
        .sum();
    assert_eq!(held, 0, "every position has another side");
}

fn at_market(side: Side, leg: Leg, quantity: D) -> NewOrder {
    NewOrder {
        leg,
        ..plain(side, None, quantity)
    }
}

#[test]
fn a_long_earns_what_the_price_gains() {
    for inverse in [false, true] {
        let mut h = house(inverse);
        let quantity = lots(&h, 500);
        h.place(ANN, 0, at_market(Side::Buy, Leg::Both, quantity))
            .unwrap();
        assert_eq!(h.accounts[ANN].position(0, Leg::Both).quantity, quantity);
        quote(&mut h, d("66000"));
        let before = h.sums(ANN, 0);
        assert!(before.profit > 0);
        h.place(
            ANN,
            0,
            NewOrder {
                reduce: true,
                ..at_market(Side::Sell, Leg::Both, quantity * 2)
            },
        )
        .unwrap();
        // Twice the quantity, but it only reduces.
        assert_eq!(h.accounts[ANN].position(0, Leg::Both).quantity, 0);
        let earned: i128 = h.accounts[ANN].trades.iter().map(|t| t.realized).sum();
        let fees: i128 = h.accounts[ANN].trades.iter().map(|t| t.fee).sum();
        assert!(earned > 0 && fees > 0);
        let paid_in = money(if inverse { d("2") } else { d("100000") });
        assert_eq!(h.sums(ANN, 0).wallet, paid_in + earned - fees);
        conserved(&h);
    }
}

#[test]
fn what_is_refused() {
    let mut h = house(false);
    let buy = |price: &str, quantity: &str| plain(Side::Buy, Some(d(price)), d(quantity));
    let cases: Vec<(NewOrder, Deny)> = vec![
        (buy("65000", "0"), Deny::QuantityZero),
        (buy("65000", "0.0015"), Deny::Precision),
        (buy("65000.05", "0.01"), Deny::Precision),
        (buy("0", "0.01"), Deny::PriceZero),
        (buy("70000", "0.01"), Deny::PriceHigh(d("68250"))),
        (buy("65000", "0.001"), Deny::Value(money(d("100")))),
        (buy("64000", "100"), Deny::Margin),
        (
            NewOrder {
                leg: Leg::Long,
                ..buy("64000", "0.01")
            },
            Deny::PositionSide,
        ),
        (
            NewOrder {
                reduce: true,
                ..buy("64000", "0.01")
            },
            Deny::ReduceOnly,
        ),
        (
            NewOrder {
                life: Life::Gtx,
                ..buy("66000", "0.01")
            },
            Deny::Takes,
        ),
        (
            NewOrder {
                life: Life::Fok,
                ..buy("66000", "30")
            },
            Deny::Margin,
        ),
        (
            NewOrder {
                life: Life::Fok,
                ..buy("64000", "0.01")
            },
            Deny::Unfilled,
        ),
        (
            NewOrder {
                trigger: Some(trigger(false, "65001")),
                ..at_market(Side::Sell, Leg::Both, d("0.01"))
            },
            Deny::Immediate,
        ),
    ];
    for (new, deny) in cases {
        assert_eq!(h.place(ANN, 0, new.clone()), Err(deny), "{new:?}");
    }
    assert!(h.accounts[ANN].open.is_empty() && h.accounts[ANN].orders.is_empty());
    // 100,000 at 20 times: about thirty coins, and no more.
    assert_eq!(h.place(ANN, 0, buy("65000", "30")).map(|_| ()), Ok(()));
    assert_eq!(h.place(ANN, 0, buy("65000", "1")), Err(Deny::Margin));
    h.cancel_all(ANN, 0);
    assert_eq!(h.pay_out(ANN, 0, d("100000.00000001")), Err(Deny::Wallet));
    assert_eq!(h.pay_out(ANN, 0, d("100000")), Ok(()));
    conserved(&h);
}

fn trigger(rising: bool, price: &str) -> Trigger {
    Trigger {
        rising,
        price: d(price),
        trailing: None,
        extreme: None,
        by_mark: false,
        protect: false,
    }
}

#[test]
fn stops_wake_and_close() {
    let mut h = house(false);
    h.place(ANN, 0, at_market(Side::Buy, Leg::Both, d("1")))
        .unwrap();
    let close = NewOrder {
        close: true,
        quantity: 0,
        kind: "STOP_MARKET",
        trigger: Some(Trigger {
            by_mark: true,
            ..trigger(false, "64000")
        }),
        ..at_market(Side::Sell, Leg::Both, 0)
    };
    let id = h
        .place_algo(ANN, 0, close.clone(), Some("stop".to_owned()))
        .unwrap();
    assert_eq!(h.place_algo(ANN, 0, close, None), Err(Deny::CloseExists));
    quote(&mut h, d("64000.1"));
    assert_eq!(h.algos[&id].status, "NEW");
    quote(&mut h, d("63999"));
    assert_eq!(h.algos[&id].status, "FINISHED");
    assert!(h.accounts[ANN].positions.is_empty());
    // A trailing stop follows the best price.
    h.place(ANN, 0, at_market(Side::Sell, Leg::Both, d("1")))
        .unwrap();
    let trail = NewOrder {
        kind: "TRAILING_STOP_MARKET",
        reduce: true,
        trigger: Some(Trigger {
            trailing: Some(d("0.01")),
            by_mark: true,
            ..trigger(true, "0")
        }),
        ..at_market(Side::Buy, Leg::Both, d("1"))
    };
    let id = h.place(ANN, 0, trail).unwrap();
    for mark in ["63000", "62000", "62600"] {
        quote(&mut h, d(mark));
        assert_eq!(h.order(0, id).unwrap().status, Status::New, "{mark}");
    }
    quote(&mut h, d("62620"));
    assert_eq!(h.order(0, id).unwrap().status, Status::Filled);
    assert!(h.accounts[ANN].positions.is_empty());
    conserved(&h);
}

#[test]
fn reducing_orders_end_with_their_position() {
    let mut h = house(false);
    h.place(ANN, 0, at_market(Side::Buy, Leg::Both, d("1")))
        .unwrap();
    let exit = NewOrder {
        reduce: true,
        ..plain(Side::Sell, Some(d("66000")), d("1"))
    };
    let id = h.place(ANN, 0, exit).unwrap();
    h.place(ANN, 0, at_market(Side::Sell, Leg::Both, d("1")))
        .unwrap();
    assert_eq!(h.order(0, id).unwrap().status, Status::Expired);
    // And never open one: somebody takes more than is there.
    h.place(ANN, 0, at_market(Side::Buy, Leg::Both, d("1")))
        .unwrap();
    let exit = NewOrder {
        reduce: true,
        ..plain(Side::Sell, Some(d("66000")), d("3"))
    };
    let id = h.place(ANN, 0, exit).unwrap();
    assert_eq!(h.hit(0, id, d("3")), Some(d("1")));
    assert!(h.accounts[ANN].positions.is_empty());
    conserved(&h);
}

#[test]
fn an_amended_order_goes_behind() {
    let mut h = house(false);
    let order = |price: &str| plain(Side::Buy, Some(d(price)), d("0.1"));
    let first = h.place(ANN, 0, order("64000")).unwrap();
    let second = h.place(BEN, 0, order("64000")).unwrap();
    assert_eq!(
        h.amend(ANN, 0, first, Side::Buy, d("64000"), d("0.1")),
        Err(Deny::Same)
    );
    assert_eq!(
        h.amend(BEN, 0, first, Side::Buy, d("64000"), d("0.2")),
        Err(Deny::Unknown)
    );
    assert_eq!(
        h.amend(ANN, 0, first, Side::Buy, d("64000"), d("0.2")),
        Ok(())
    );
    quote(&mut h, d("64006.5"));
    let best = h.markets[0]
        .book
        .walk(Side::Buy)
        .map(|(_, id)| id)
        .filter(|id| [first, second].contains(id));
    assert_eq!(best.collect::<Vec<_>>(), [second, first]);
    // A post-only order that would take is cancelled by its amendment.
    let maker = h
        .place(
            ANN,
            0,
            NewOrder {
                life: Life::Gtx,
                ..order("63000")
            },
        )
        .unwrap();
    assert_eq!(
        h.amend(ANN, 0, maker, Side::Buy, d("65000"), d("0.1")),
        Ok(())
    );
    assert_eq!(h.order(0, maker).unwrap().status, Status::Canceled);
    conserved(&h);
}

#[test]
fn isolated_losses_stay_isolated() {
    let mut h = house(false);
    h.set_isolated(ANN, 0, true).unwrap();
    h.set_leverage(ANN, 0, 100).unwrap();
    h.place(ANN, 0, at_market(Side::Buy, Leg::Both, d("1")))
        .unwrap();
    let backed = h.accounts[ANN].position(0, Leg::Both).isolated;
    assert_eq!(
        h.move_margin(ANN, 0, Leg::Both, false, money(d("100"))),
        Err(Deny::IsolatedWallet)
    );
    assert_eq!(h.set_leverage(ANN, 0, 50), Err(Deny::LeverageIsolated));
    // What closes a half gives back a half of the margin.
    h.place(ANN, 0, at_market(Side::Sell, Leg::Both, d("0.5")))
        .unwrap();
    assert_eq!(
        h.accounts[ANN].position(0, Leg::Both).isolated,
        backed - backed / 2
    );
    h.place(ANN, 0, at_market(Side::Buy, Leg::Both, d("0.5")))
        .unwrap();
    let before = h.sums(ANN, 0).cross;
    // It falls through the bankruptcy price at once.
    quote(&mut h, d("60000"));
    assert!(h.accounts[ANN].positions.is_empty());
    assert!(!h.accounts[ANN].forced.is_empty());
    let after = h.sums(ANN, 0);
    assert_eq!(after.cross, after.wallet);
    assert!(
        after.cross >= before - backed / 100,
        "{} {before}",
        after.cross
    );
    assert!(h.accounts[FUND].wallets[&0] < 0, "the fund paid the rest");
    conserved(&h);
}

#[test]
fn countdowns_and_good_till_dates_run_out() {
    let mut h = house(false);
    let id = h
        .place(ANN, 0, plain(Side::Buy, Some(d("64000")), d("0.1")))
        .unwrap();
    let dated = h
        .place(
            ANN,
            0,
            NewOrder {
                life: Life::Gtd(h.now + 700_000),
                ..plain(Side::Buy, Some(d("64000")), d("0.1"))
            },
        )
        .unwrap();
    let until = h.now + 5_000;
    h.accounts[ANN].countdowns.insert(0, until);
    h.now = until - 1;
    h.advance();
    assert_eq!(h.order(0, id).unwrap().status, Status::New);
    h.now = until;
    h.advance();
    assert_eq!(h.order(0, id).unwrap().status, Status::Canceled);
    assert_eq!(h.order(0, dated).unwrap().status, Status::Canceled);
    let dated = h
        .place(
            ANN,
            0,
            NewOrder {
                life: Life::Gtd(h.now + 700_000),
                ..plain(Side::Buy, Some(d("64000")), d("0.1"))
            },
        )
        .unwrap();
    h.now += 700_000;
    h.advance();
    assert_eq!(h.order(0, dated).unwrap().status, Status::Expired);
}

#[test]
fn funding_goes_from_longs_to_shorts() {
    for inverse in [false, true] {
        let mut h = house(inverse);
        let quantity = lots(&h, 300);
        h.place(ANN, 0, at_market(Side::Buy, Leg::Both, quantity))
            .unwrap();
        h.place(BEN, 0, at_market(Side::Sell, Leg::Both, quantity))
            .unwrap();
        let (ann, ben) = (h.sums(ANN, 0).wallet, h.sums(BEN, 0).wallet);
        h.now = (h.now / FUNDING_MS + 1) * FUNDING_MS;
        h.advance();
        let paid = ann - h.sums(ANN, 0).wallet;
        assert!(paid > 0);
        assert_eq!(h.sums(BEN, 0).wallet - ben, paid);
        assert_eq!(h.markets[0].fundings.len(), 1);
        conserved(&h);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// The venue liquidates a position alone in its account where the formula says, to a tick or two.
    #[test]
    fn liquidation_comes_at_its_price(inverse: bool, short: bool, isolated: bool, leverage in 2_u32..21, number in 20_i128..10_000) {
        let mut h = house(inverse);
        h.set_leverage(ANN, 0, leverage).unwrap();
        if isolated {
            h.set_isolated(ANN, 0, true).unwrap();
        }
        let side = if short { Side::Sell } else { Side::Buy };
        let quantity = lots(&h, number);
        if h.place(ANN, 0, at_market(side, Leg::Both, quantity)).is_err() {
            return Ok(());
        }
        let Some(price) = h.liquidation_price(ANN, 0, Leg::Both) else {
            return Ok(());
        };
        // Far away a cross position is safe at any price that exists.
        if price > d("5000000") || price < d("100") {
            return Ok(());
        }
        let off = price / 5_000 + d("0.2");
        let (safe, lost) = if short { (price - off, price + off) } else { (price + off, price - off) };
        h.set_mark(0, safe);
        h.settle(0);
        prop_assert_ne!(h.accounts[ANN].position(0, Leg::Both).quantity, 0, "at {} of {}", safe, price);
        h.set_mark(0, lost);
        h.settle(0);
        prop_assert_eq!(h.accounts[ANN].position(0, Leg::Both).quantity, 0, "at {} of {}", lost, price);
        conserved(&h);
    }

    /// Over any history nothing is made or lost, whoever is liquidated; and what may only reduce never opens.
    #[test]
    fn money_is_conserved(inverse: bool, hedge: bool, isolated: bool, acts in proptest::collection::vec((0_u8..14, 0_u8..8, 1_i128..1_500, -300_i128..300), 1..80)) {
        let mut h = house(inverse);
        for account in [ANN, BEN] {
            if hedge {
                h.set_hedge(account, true).unwrap();
            }
            if isolated {
                h.set_isolated(account, 0, true).unwrap();
            }
        }
        let mut orders: Vec<(usize, u64)> = Vec::new();
        for (act, how, number, ticks) in acts {
            let account = if how & 1 == 0 { ANN } else { BEN };
            let side = if how & 2 == 0 { Side::Buy } else { Side::Sell };
            let leg = match (hedge, how & 4 == 0) {
                (false, _) => Leg::Both,
                (true, true) => Leg::Long,
                (true, false) => Leg::Short,
            };
            let quantity = lots(&h, number);
            let mark = h.markets[0].mark;
            let tick = d("0.1");
            let price = ((mark + mark * ticks / 10_000) / tick * tick).max(tick);
            let held = |h: &House, leg| h.accounts[account].position(0, leg).quantity;
            let before = held(&h, leg);
            let closes = matches!((leg, side), (Leg::Long, Side::Sell) | (Leg::Short, Side::Buy));
            match act {
                0..=2 => {
                    let reduce = !hedge && act == 2;
                    // A trade with oneself changes no position.
                    let new = NewOrder { reduce, stp: "EXPIRE_MAKER", ..at_market(side, leg, quantity) };
                    let done = h.place(account, 0, new);
                    if reduce || closes {
                        // What the order itself did, whatever it woke.
                        let closable = if side == Side::Sell { before.max(0) } else { (-before).max(0) };
                        let filled = done.map_or(0, |id| h.order(0, id).map_or(0, |o| o.executed));
                        prop_assert!(filled <= closable, "{done:?}: {filled} of {closable}");
                        prop_assert!(closable > 0 || done.is_err());
                    }
                }
                3..=5 => {
                    let life = if number % 5 == 0 { Life::Ioc } else { Life::Gtc };
                    let stp = ["NONE", "EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH"][(number % 4) as usize];
                    let new = NewOrder { leg, life, stp, reduce: !hedge && act == 5, ..plain(side, Some(price), quantity) };
                    if let Ok(id) = h.place(account, 0, new) {
                        orders.push((account, id));
                    }
                }
                6 => if let Some((owner, id)) = orders.get(number as usize % orders.len().max(1)).copied() {
                    let _ = h.cancel(owner, 0, Some(id), None);
                },
                7 => if let Some((owner, id)) = orders.get(number as usize % orders.len().max(1)).copied() {
                    let side = h.order(0, id).map_or(side, |o| o.asked.side);
                    let _ = h.amend(owner, 0, id, side, price, quantity);
                },
                8 => if let Some((_, id)) = orders.get(number as usize % orders.len().max(1)).copied() {
                    let _ = h.hit(0, id, quantity);
                },
                9 => {
                    let rising = ticks > 0;
                    let new = NewOrder { trigger: Some(Trigger { price, by_mark: how & 4 == 0, ..trigger(rising, "0") }), kind: "STOP_MARKET", close: !hedge && number % 3 == 0, ..at_market(side, leg, quantity) };
                    let _ = if number % 2 == 0 { h.place(account, 0, new).map(|_| ()) } else { h.place_algo(account, 0, new, None).map(|_| ()) };
                }
                // A jump of up to three in a hundred times ten.
                10 | 11 => quote(&mut h, ((mark + mark * ticks / 1_000) / tick * tick).clamp(d("1000"), d("1000000"))),
                12 => {
                    h.now += FUNDING_MS;
                    h.markets[0].rate = ticks * ONE / 100_000;
                    h.advance();
                }
                _ => {
                    let _ = h.set_leverage(account, 0, (number % 125) as u32 + 1);
                    let amount = money(ONE * number / 100);
                    let _ = h.move_margin(account, 0, leg, ticks > 0, amount);
                    if ticks > 0 {
                        h.pay_in(account, 0, ONE);
                    } else {
                        let _ = h.pay_out(account, 0, ONE / 2);
                    }
                }
            }
            conserved(&h);
            for one in [ANN, BEN] {
                let owner = &h.accounts[one];
                prop_assert!(owner.position(0, Leg::Long).quantity >= 0 && owner.position(0, Leg::Short).quantity <= 0);
                prop_assert!(!owner.positions.is_empty() || owner.wallets.get(&0).copied().unwrap_or(0) >= 0, "somebody owes");
                for (_, id) in &owner.open {
                    prop_assert!(h.order(0, *id).is_some_and(|o| o.status.open()));
                }
            }
            let best = |side| h.markets[0].book.best(side).map(|(p, _)| p);
            if let (Some(bid), Some(ask)) = (best(Side::Buy), best(Side::Sell)) {
                prop_assert!(bid < ask, "crossed");
            }
        }
    }
}
