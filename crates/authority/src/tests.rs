//! What governs and what does not, from text to verdict.

use crate::*;
use portcullis_model::action::{ActionKind, MarketKind, OrderType, ReadOf, Side};
use portcullis_model::id::{AccountId, EntryId, Name, StrategyId, Timestamp};
use portcullis_model::release::{Authority, Files, Judgement};
use portcullis_model::state::{Effect, State};
use portcullis_model::table::Facts;

pub const MM: StrategyId = StrategyId(11);
pub const ARB: StrategyId = StrategyId(12);
pub const MAIN: AccountId = AccountId(1);
pub const SIDE: AccountId = AccountId(2);

pub fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// Two strategies, `mm` of desk `a` on account `main`, `arb` on both accounts.
pub fn roster() -> Roster {
    let mut roster = Roster::empty(Some(name("site")));
    for (id, account) in [(MAIN, "main"), (SIDE, "side")] {
        roster.accounts.push(Account {
            id,
            name: name(account),
            venue: name("binance"),
        });
    }
    roster.strategies.push(Strategy {
        id: MM,
        name: name("mm"),
        desk: Some(name("a")),
        accounts: vec![MAIN],
    });
    roster.strategies.push(Strategy {
        id: ARB,
        name: name("arb"),
        desk: None,
        accounts: vec![MAIN, SIDE],
    });
    roster
}

pub fn order() -> OwnedFacts {
    OwnedFacts {
        market: Some("BTCUSDT".to_owned()),
        market_kind: Some(MarketKind::Spot),
        side: Some(Side::Buy),
        order_type: Some(OrderType::Limit),
        value: Some(1_000_000),
        reduces: Some(false),
        post_only: Some(false),
        borrows: Some(false),
        ..said()
    }
}

pub fn said() -> OwnedFacts {
    OwnedFacts::from(&Facts::new(
        [10, 0, 0, 5].into(),
        Timestamp::from_ms(1_795_305_660_000),
        false,
    ))
}

#[test]
fn the_default_lets_strategies_trade_on_their_own_accounts_and_moves_no_value() {
    let rules = check(DEFAULT_POLICY).unwrap();
    assert_eq!(rules.report().findings, []);
    let table = compile(&rules, &roster()).unwrap();
    let judge = |strategy, account, kind, facts: &OwnedFacts| match table.judge(
        strategy,
        kind,
        account,
        &facts.facts(),
    ) {
        Judgement::Permit { policy } => format!("permit {policy}"),
        Judgement::Forbid { policy } => format!("forbid {policy}"),
        Judgement::NoPermit => "no permit".to_owned(),
    };
    let permitted = "permit trade-own-accounts";
    for kind in [
        ActionKind::PlaceOrder,
        ActionKind::TestOrder,
        ActionKind::AmendOrder,
    ] {
        assert_eq!(judge(MM, MAIN, kind, &order()), permitted);
        assert_eq!(judge(MM, SIDE, kind, &order()), "no permit");
        assert_eq!(judge(ARB, SIDE, kind, &order()), permitted);
        let loan = OwnedFacts {
            borrows: Some(true),
            ..order()
        };
        assert_eq!(judge(MM, MAIN, kind, &loan), "forbid no-borrowing-orders");
    }
    for kind in [ActionKind::CancelOrder, ActionKind::CancelAll] {
        assert_eq!(judge(MM, MAIN, kind, &order()), permitted);
    }
    let read = OwnedFacts {
        reads: Some(ReadOf::Balances),
        ..said()
    };
    for kind in [ActionKind::Read, ActionKind::Public, ActionKind::Session] {
        assert_eq!(judge(MM, MAIN, kind, &read), "permit see-own-accounts");
    }
    let observed = OwnedFacts {
        value: Some(i64::MAX),
        ..order()
    };
    assert_eq!(
        judge(MM, MAIN, ActionKind::PlaceOrder, &observed),
        permitted
    );
    let harmless = ["Trade", "Cancel", "See", "Session"];
    let harmless: Vec<ActionKind> = harmless
        .into_iter()
        .filter_map(crate::vocabulary::kinds)
        .flatten()
        .collect();
    assert_eq!(harmless.len(), 8);
    for kind in ActionKind::ALL {
        if harmless.contains(&kind) {
            continue;
        }
        for approvals in [0, 1, 2, 9] {
            let moved = OwnedFacts {
                value: Some(1),
                approvals: Some(approvals),
                asset: Some("USDT".to_owned()),
                ..said()
            };
            assert!(
                !judge(MM, MAIN, kind, &moved).starts_with("permit"),
                "{kind}"
            );
        }
    }
}

#[test]
fn names_that_are_new_reach_compiled_policies() {
    let files = Files::from([("authority.cedar".to_owned(), DEFAULT_POLICY.to_owned())]);
    let mut state = State::default();
    let judge = |state: &State, strategy, account| {
        compile_release(&files, state).unwrap().judge(
            strategy,
            ActionKind::PlaceOrder,
            account,
            &order().facts(),
        )
    };
    let (account, strategy) = (AccountId(1), StrategyId(2));
    assert_eq!(judge(&state, strategy, account), Judgement::NoPermit);
    let added = [
        Effect::SiteCreated { name: name("site") },
        Effect::AccountAdded {
            name: name("main"),
            venue: name("binance"),
        },
        Effect::StrategyAdded {
            name: name("mm"),
            desk: None,
            observe: true,
        },
    ];
    for (entry, effect) in (0..).map(EntryId).zip(added) {
        state.apply(entry, Timestamp(1), &[effect]);
    }
    assert_eq!(judge(&state, strategy, account), Judgement::NoPermit);
    let issued = Effect::VirtualKeyIssued {
        strategy,
        account,
        scheme: portcullis_model::action::Scheme::HmacSha256,
        api_key: "k".to_owned(),
        public_key: Vec::new().into(),
        expires: Timestamp(9),
        sources: Vec::new(),
        canary: false,
    };
    state.apply(EntryId(3), Timestamp(1), &[issued]);
    let permit = Judgement::Permit {
        policy: "trade-own-accounts".to_owned(),
    };
    assert_eq!(judge(&state, strategy, account), permit);
}
