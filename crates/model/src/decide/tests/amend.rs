//! Amendments: an order counts as the larger of what it was and what it may become, until the venue has said which.

use super::*;

/// Reserved at the strategy: open buys in base, and open orders.
fn open(state: &State) -> (String, u64) {
    let usage = &state.usage[&LevelKey::Strategy(QUOTER)];
    let holding = usage.holdings[&market("BTCUSDT")];
    (holding.open_buys.to_string(), usage.open_orders)
}

fn amend(quantity: &str, price: Option<&str>) -> Action {
    Action::AmendOrder(Amend {
        order: OrderRef {
            market: MarketKind::Spot,
            symbol: "BTCUSDT".into(),
            order_id: None,
            client_order_id: Some("a".into()),
            list: false,
            algo: false,
        },
        quantity: quantity.parse().ok(),
        price: price.map(|price| price.parse().unwrap()),
        new_client_order_id: None,
    })
}

fn is(executed: &str, quantity: &str) -> Report {
    Report::Order(OrderReport {
        original_quantity: quantity.parse().ok(),
        ..said("BTCUSDT", 7, "a", executed, OrderStatus::Open)
    })
}

fn outcome(
    state: &mut State,
    entry: EntryId,
    sent: Sent,
    reports: &[Report],
    asked: Option<OrderNumber>,
) {
    let settled = state.settle(ACCOUNT, entry, sent, reports, asked);
    fold(state, &settled.effects);
}

/// An order of 0.3 that stands: its number.
fn standing(release: &Release, state: &mut State) -> OrderNumber {
    let entry = place(release, state, "buy 0.3 BTCUSDT at 60000 a");
    outcome(state, entry, Sent::Sent, &[is("0", "0.3")], None);
    OrderNumber { entry, leg: 0 }
}

#[test]
fn an_amendment_is_judged_by_what_the_order_becomes() {
    let say_of = |extra: &str, amendment: Action| {
        let release = release(&format!("{FIRM}{extra}"));
        let mut state = state();
        standing(&release, &mut state);
        say(&decide_on(&release, &state, &[amendment]))
    };
    let strategy = |line: &str| format!("[strategy.quoter]\n{line}");
    assert_eq!(say_of("", amend("0.4", Some("60000"))), "approved");
    // It is one open order, and what it turned over before counts once.
    let one = strategy("open_orders = \"1\"\nturnover_1h = \"24000\"\nposition = \"24000\"");
    assert_eq!(say_of(&one, amend("0.4", Some("60000"))), "approved");
    for (line, amendment, refusal) in [
        (
            "order_value = \"20000\"",
            amend("0.4", Some("60000")),
            "order value of strategy quoter: asked 24000, limit 20000",
        ),
        (
            "position = \"20000\"",
            amend("0.4", Some("60000")),
            "position of strategy quoter: could become 24000, limit 20000",
        ),
        (
            "turnover_1h = \"20000\"",
            amend("0.4", Some("60000")),
            "turnover of strategy quoter: used 18000, asked 6000, limit 20000",
        ),
        (
            "price_tolerance = \"1%\"",
            amend("0.3", Some("61000")),
            "price tolerance of strategy quoter: asked 61000, limit 60600 at reference 60000",
        ),
    ] {
        assert_eq!(say_of(&strategy(line), amendment), refusal);
    }
    let other = Caller {
        strategy: OTHER,
        ..CALLER
    };
    let (release, mut state) = (release(FIRM), state());
    standing(&release, &mut state);
    let theirs = decide(
        &release,
        &state,
        other,
        &[amend("0.4", Some("60000"))],
        &FACTS,
        NOW,
    );
    assert_eq!(
        say(&theirs),
        "the order on `BTCUSDT` is not known to be this strategy's"
    );
}

#[test]
fn the_larger_is_reserved_until_the_venue_has_said_which_it_is() {
    let release = release(FIRM);
    let larger = |state: &mut State| {
        let number = standing(&release, state);
        let entry = place_all(&release, state, &[amend("0.5", Some("59000"))]);
        assert_eq!(open(state), ("0.5".to_owned(), 1));
        (number, entry)
    };
    let unknown = "what the order on `BTCUSDT` could be worth is not known beforehand";
    // Refused, or never sent: it is what it was.
    for (sent, reports) in [
        (Sent::NotSent, vec![]),
        (Sent::Sent, vec![Report::Refused { code: -5027 }]),
    ] {
        let mut state = state();
        let (_, entry) = larger(&mut state);
        outcome(&mut state, entry, sent, &reports, None);
        assert_eq!(open(&state), ("0.3".to_owned(), 1));
        assert_eq!(
            say(&decide_on(&release, &state, &[amend("0.4", Some("59000"))])),
            "approved"
        );
    }
    // Taken: it is what the venue says.
    let mut taken = state();
    let (_, entry) = larger(&mut taken);
    // One is under way: another is refused, alone or beside it, and an older answer frees nothing.
    assert_eq!(
        say(&decide_on(&release, &taken, &[amend("0.4", Some("59000"))])),
        unknown
    );
    let older = EntryId(taken.entries);
    fold(&mut taken, &[]);
    outcome(&mut taken, older, Sent::Sent, &[is("0.1", "0.3")], None);
    assert_eq!(open(&taken), ("0.4".to_owned(), 1), "less what has filled");
    outcome(&mut taken, entry, Sent::Sent, &[is("0.1", "0.5")], None);
    assert_eq!(open(&taken), ("0.4".to_owned(), 1));
    let twice = [amend("0.6", Some("59000")), amend("0.7", Some("59000"))];
    assert_eq!(say(&decide_on(&release, &taken, &twice)), unknown);
    let smaller = place_all(&release, &mut taken, &[amend("0.2", Some("60500"))]);
    assert_eq!(open(&taken), ("0.4".to_owned(), 1), "until the answer");
    outcome(&mut taken, smaller, Sent::Sent, &[is("0.1", "0.2")], None);
    assert_eq!(open(&taken), ("0.1".to_owned(), 1));
    // Nobody knows: it is asked about, and the answer to that question says it.
    for (told, left) in [("0.3", "0.3"), ("0.5", "0.5")] {
        let mut state = state();
        let (number, entry) = larger(&mut state);
        outcome(&mut state, entry, Sent::MaybeSent, &[], None);
        assert_eq!(state.told(number).unwrap().status, OrderStatus::Unknown);
        assert_eq!(open(&state), ("0.5".to_owned(), 1));
        let question = EntryId(state.entries);
        fold(&mut state, &[]);
        outcome(
            &mut state,
            question,
            Sent::Sent,
            &[is("0", told)],
            Some(number),
        );
        assert_eq!(open(&state), (left.to_owned(), 1));
        assert!(!state.is_amending(number));
    }
    // Its end ends the amendment too.
    let mut ended = state();
    let (number, entry) = larger(&mut ended);
    let gone = said("BTCUSDT", 7, "a", "0", OrderStatus::Cancelled);
    outcome(&mut ended, entry, Sent::Sent, &[Report::Order(gone)], None);
    assert_eq!(
        (open(&ended), ended.is_amending(number)),
        (("0".to_owned(), 0), false)
    );
}

#[test]
fn an_answer_from_before_an_amendment_is_mended_by_the_next() {
    let release = release(FIRM);
    let mut state = state();
    standing(&release, &mut state);
    let entry = place_all(&release, &mut state, &[amend("0.5", Some("59000"))]);
    let tell = |state: &mut State, quantity: &str| {
        let entry = EntryId(state.entries);
        fold(state, &[]);
        outcome(state, entry, Sent::Sent, &[is("0", quantity)], None);
        open(state).0
    };
    outcome(&mut state, entry, Sent::Sent, &[is("0", "0.5")], None);
    assert_eq!(tell(&mut state, "0.3"), "0.3", "as old answers say");
    assert_eq!(
        tell(&mut state, "0.6"),
        "0.3",
        "nobody ever asked for so much"
    );
    assert_eq!(tell(&mut state, "0.5"), "0.5");
}

#[test]
fn what_may_become_less_is_refused_while_another_amendment_is_under_way() {
    let release = release(FIRM);
    let mut state = state();
    standing(&release, &mut state);
    let unknown = "what the order on `BTCUSDT` could be worth is not known beforehand";
    let beside = [amend("0.5", Some("59000")), amend("0.4", None)];
    assert_eq!(say(&decide_on(&release, &state, &beside)), unknown);
    let entry = place_all(&release, &mut state, &[amend("0.5", Some("59000"))]);
    let less = [amend("0.5", None)];
    assert_eq!(say(&decide_on(&release, &state, &less)), unknown);
    outcome(
        &mut state,
        entry,
        Sent::Sent,
        &[Report::Refused { code: -1 }],
        None,
    );
    assert_eq!(
        say(&decide_on(&release, &state, &[amend("0.2", None)])),
        "approved"
    );
}

proptest! {
    /// The venue as it is, and what the gate may know of it: whatever is lost, refused, late or filled meanwhile, what the
    /// order may still become there is never more than what is reserved, and what is held with it never beyond the mandate.
    #[test]
    fn the_venues_order_is_never_more_than_what_is_reserved(
        steps in proptest::collection::vec((0u8..6, 1i128..9, 58_000u32..62_000, 0i128..4), 1..40),
    ) {
        const TENTH: i128 = ONE / 10;
        let release = release(&format!("{FIRM}[strategy.quoter]\nposition = \"40000\"\nopen_orders = \"1\""));
        let mut state = state();
        let number = standing(&release, &mut state);
        let (mut quantity, mut executed) = (3 * TENTH, 0);
        // An answer that has not come yet, or a request that nobody has answered.
        let mut under_way: Option<(EntryId, bool)> = None;
        let report = |quantity: i128, executed: i128| {
            let status = if executed >= quantity { OrderStatus::Filled } else { OrderStatus::Open };
            Report::Order(OrderReport {
                original_quantity: Some(Quantity(quantity)),
                executed_quantity: Some(Quantity(executed)),
                executed_quote: None,
                ..said("BTCUSDT", 7, "a", "0", status)
            })
        };
        for (what, tenths, price, filled) in steps {
            // The venue fills whatever stands there, whenever it likes; no more than whole.
            executed = (executed + filled * TENTH / 2).min(quantity);
            match (what, under_way.take()) {
                (0 | 1, None) => {
                    let asked = amend(&Quantity(tenths * TENTH).to_string(), Some(&price.to_string()));
                    if let Verdict::Approved(effects) = decide_on(&release, &state, &[asked]).verdict {
                        let entry = EntryId(state.entries);
                        fold(&mut state, &effects);
                        let takes = what == 0 && executed < quantity && tenths * TENTH > executed;
                        if takes {
                            quantity = tenths * TENTH;
                        }
                        under_way = Some((entry, takes));
                    }
                }
                (2, Some((entry, taken))) => {
                    let reports = match taken {
                        true => [report(quantity, executed)],
                        false => [Report::Refused { code: -5027 }],
                    };
                    outcome(&mut state, entry, Sent::Sent, &reports, None);
                }
                (3, Some((entry, _))) => {
                    outcome(&mut state, entry, Sent::MaybeSent, &[], None);
                    let question = EntryId(state.entries);
                    fold(&mut state, &[]);
                    outcome(&mut state, question, Sent::Sent, &[report(quantity, executed)], Some(number));
                }
                (4, kept) => {
                    // A stream's event, which knows nothing of what is asked.
                    let entry = EntryId(state.entries);
                    fold(&mut state, &[]);
                    outcome(&mut state, entry, Sent::Sent, &[report(quantity, executed)], None);
                    under_way = kept;
                }
                (5, Some(kept)) => {
                    // Another meanwhile, which seems to lessen it. Would it pass, the venue would take it.
                    let asked = amend(&Quantity(tenths * TENTH).to_string(), None);
                    let decided = decide_on(&release, &state, &[asked]);
                    if matches!(decided.verdict, Verdict::Approved(_)) && tenths * TENTH > executed {
                        quantity = tenths * TENTH;
                    }
                    under_way = Some(kept);
                }
                (_, kept) => under_way = kept,
            }
            let usage = &state.usage[&LevelKey::Strategy(QUOTER)];
            let holding = usage.holdings[&market("BTCUSDT")];
            let whole = holding.base.0 + holding.open_buys.0;
            prop_assert!(whole >= quantity, "{whole} reserved, {quantity} at the venue");
            prop_assert!(whole * 60_000 <= 40_000 * ONE, "{whole} is beyond the mandate");
            prop_assert!(state.orders.contains_key(&number) || executed >= quantity);
        }
    }
}
