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

/// The examples in the default's comments are policies that pass, and do what their comment says.
#[test]
fn the_examples_in_the_default_hold() {
    let (text, examples) = DEFAULT_POLICY.split_once("// ---- Examples.").unwrap();
    let code = |line: &str| {
        ["@id", "forbid", "permit", "when", "unless"]
            .iter()
            .any(|word| line.starts_with(word))
    };
    let uncommented: String = examples
        .lines()
        .filter_map(|line| line.strip_prefix("// "))
        .filter(|line| code(line))
        .map(|line| format!("{line}\n"))
        .collect();
    let rules = check(&format!("{text}{uncommented}")).unwrap();
    assert_eq!(rules.report().policies, 10);
    let mut roster = roster();
    roster.strategies.push(Strategy {
        id: StrategyId(13),
        name: name("maker"),
        desk: None,
        accounts: vec![MAIN],
    });
    let table = compile(&rules, &roster).unwrap();
    let judge =
        |strategy, kind, facts: OwnedFacts| match table.judge(strategy, kind, MAIN, &facts.facts())
        {
            Judgement::Permit { policy } => format!("permit {policy}"),
            Judgement::Forbid { policy } => format!("forbid {policy}"),
            Judgement::NoPermit => "no permit".to_owned(),
        };
    let (place, maker) = (ActionKind::PlaceOrder, StrategyId(13));
    let inside = || OwnedFacts {
        source: [10, 20, 3, 4].into(),
        minute_of_day: 600,
        weekday: 3,
        ..order()
    };
    let trade = "permit trade-own-accounts";
    assert_eq!(judge(MM, place, inside()), trade);
    assert_eq!(judge(MM, place, order()), "forbid desk-a-sources");
    let night = || OwnedFacts {
        minute_of_day: 1200,
        ..inside()
    };
    assert_eq!(judge(MM, place, night()), "forbid desk-a-hours");
    assert_eq!(
        judge(
            MM,
            place,
            OwnedFacts {
                weekday: 6,
                ..inside()
            }
        ),
        "forbid desk-a-hours"
    );
    assert_eq!(
        judge(
            MM,
            place,
            OwnedFacts {
                reduces: Some(true),
                ..night()
            }
        ),
        trade
    );
    assert_eq!(judge(MM, ActionKind::CancelOrder, night()), trade);
    let rests = || OwnedFacts {
        order_type: Some(OrderType::LimitMaker),
        ..order()
    };
    assert_eq!(judge(maker, place, rests()), trade);
    assert_eq!(judge(maker, place, order()), "forbid maker-only");
    let other = OwnedFacts {
        market: Some("DOGEUSDT".to_owned()),
        ..rests()
    };
    assert_eq!(judge(maker, place, other), "forbid maker-markets");
    for (value, verdict) in [
        (50_000_000_000, trade),
        (50_000_000_001, "forbid maker-value"),
        (i64::MAX, "forbid maker-value"),
    ] {
        assert_eq!(
            judge(
                maker,
                place,
                OwnedFacts {
                    value: Some(value),
                    ..rests()
                }
            ),
            verdict
        );
    }
    let setting = |approvals| OwnedFacts {
        approvals: Some(approvals),
        ..said()
    };
    assert_eq!(judge(maker, ActionKind::Configure, setting(0)), "no permit");
    assert_eq!(
        judge(maker, ActionKind::Configure, setting(1)),
        "permit settings-with-an-operator"
    );
    assert_eq!(judge(ARB, ActionKind::Configure, setting(2)), "no permit");
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

/// The report of one policy about orders; its conditions start on line 3.
fn report(conditions: &str) -> String {
    let text = format!(
        "@id(\"p\")\npermit (principal is Strategy, action in Action::\"Trade\", resource is Account)\n{conditions};"
    );
    report_of(&text)
}

fn report_of(text: &str) -> String {
    match check(text) {
        Ok(rules) => rules.report().to_string(),
        Err(error) => error.to_string(),
    }
}

/// Each with its place and what to do instead. A regression here is a policy that Cedar would skip.
#[test]
fn what_could_fail_or_cannot_be_compiled_is_refused_with_its_place() {
    let names = "hint: there are source, minuteOfDay, weekday, observe, market, marketKind, side, orderType, \
                 timeInForce, value, reduces, postOnly, borrows";
    for (conditions, place, message, hint) in [
        (
            "when { context.value * 2 < 10 }",
            "3:22",
            "a product: not supported",
            "hint: compare with a literal",
        ),
        (
            "when { context.value + 1 < 10 }",
            "3:22",
            "a sum: not supported",
            "hint: compare with a literal",
        ),
        (
            "when { context.value - 1 < 10 }",
            "3:22",
            "a difference: not supported",
            "hint: compare with a literal",
        ),
        (
            "when { -context.value < 10 }",
            "3:8",
            "arithmetic: not supported",
            "hint: compare with a literal",
        ),
        (
            "when { true }\nunless { decimal(\"1.0\").lessThan(decimal(\"2.0\")) }",
            "4:10",
            "decimals: not supported",
            "hint: compare `context.value`",
        ),
        (
            "when { datetime(\"2026-01-01\") < datetime(\"2026-01-02\") }",
            "3:8",
            "dates: not supported",
            "hint: compare `context.minuteOfDay`",
        ),
        (
            "when { duration(\"1h\") < duration(\"2h\") }",
            "3:8",
            "durations: not supported",
            "hint: compare `context.minuteOfDay`",
        ),
        (
            "when { principal.hasTag(\"x\") }",
            "3:18",
            "a tag: not supported",
            "hint: use the attributes",
        ),
        (
            "when { {a: 1} == {a: 1} }",
            "1:1",
            "a record: not supported",
            "hint: compare the attributes",
        ),
        (
            "when { [context.value].contains(5) }",
            "3:8",
            "a set that holds something of `context`",
            "hint: put literals",
        ),
        (
            "when { [\"limit\",\n \"LIMIT\"].contains(context.orderType) }",
            "4:28",
            "context.orderType is never \"LIMIT\"",
            "hint: it is one of limit, market, limit_maker",
        ),
        (
            "when { context.weekday == 0 }",
            "3:16",
            "context.weekday is never 0",
            "hint: 1 is Monday",
        ),
        (
            "when { [1, 8].contains(context.weekday) }",
            "3:32",
            "context.weekday is never 8",
            "hint: 1 is Monday",
        ),
        (
            "when { context.minuteOfDay < 2400 }",
            "3:16",
            "context.minuteOfDay is never 2400",
            "hint: it counts from 0 to 1439",
        ),
        (
            "when { context.value < -5 }",
            "3:16",
            "context.value is never -5",
            "hint: it is never negative",
        ),
        (
            "when { context.timeInForce == \"gtc\" }",
            "3:8",
            "unable to guarantee safety of access to optional attribute `timeInForce` in context for \
             AmendOrder, PlaceOrder, TestOrder",
            "hint: try testing for the attribute's presence",
        ),
        (
            "when { context.network == \"x\" }",
            "3:8",
            "attribute `network` in context for AmendOrder",
            names,
        ),
        (
            "when { context.value < \"5\" }",
            "3:24",
            "unexpected type: expected Long but saw String",
            "",
        ),
        (
            "when { context.value == \"5\" }",
            "3:8",
            "the types Long and String are not compatible",
            "",
        ),
        (
            "when { principal.desk == Desk::\"a\" }",
            "3:8",
            "unable to guarantee safety of access to optional",
            "",
        ),
        (
            "when { context.source == ip(\"10.0.0.300\") }",
            "3:26",
            "error during extension function argument",
            "",
        ),
        (
            "when { context.source.isInRange(context.source) }",
            "3:23",
            "a range that is not asked of `context.source`",
            "hint: write `context.source.isInRange(ip(",
        ),
        (
            "when { ip(\"10.0.0.1\").isLoopback() }",
            "3:22",
            "a question about an address",
            "hint: ask it of `context.source`",
        ),
        (
            "when { context.market == context.side }",
            "1:1",
            "context.market compared with context.side",
            "",
        ),
        (
            "when { (if context.reduces then context.value else 5) < 7 }",
            "3:9",
            "an `if` that gives something else",
            "",
        ),
        (
            "when { 1 == 2 }",
            "1:1",
            "it can never apply",
            "hint: it would protect nothing",
        ),
        (
            "when { principal is Account }",
            "1:1",
            "it can never apply",
            "hint: it would protect nothing",
        ),
        (
            "when { [].contains(5) }",
            "3:8",
            "empty set literals are forbidden",
            "",
        ),
        (
            "when { context == context }",
            "1:1",
            "a comparison of unlike things",
            "",
        ),
    ] {
        let report = report(conditions);
        let expected = format!("{place}: error: policy `p`: {message}");
        assert!(
            report.starts_with(&expected),
            "{conditions}\n{report}\nexpected {expected}"
        );
        assert!(report.contains(hint), "{conditions}\n{report}");
        assert_eq!(
            report.matches("error:").count(),
            1,
            "{conditions}\n{report}"
        );
    }
    for (conditions, expected) in [
        (
            "when { 9223372036854775808 > 1 }",
            "3:8: error: integer literal",
        ),
        (
            "when { context.value > 1 ",
            "3:26: error: unexpected token `;`",
        ),
        (
            "when { principal == ?principal }",
            "3:21: error: found template slot",
        ),
    ] {
        let report = report(conditions);
        assert!(report.starts_with(expected), "{conditions}\n{report}");
    }
}

#[test]
fn a_policy_says_what_it_is_about() {
    for (text, expected) in [
        (
            "permit (principal is Strategy, action in Action::\"Trade\", resource);",
            "1:1: error: a policy without a name",
        ),
        (
            "@id(\"\") permit (principal is Strategy, action in Action::\"Trade\", resource);",
            "1:1: error: \"\" is no name",
        ),
        (
            "@id(\"a\") permit (principal, action in Action::\"Trade\", resource);",
            "1:1: error: policy `a`: it does not name the principal's type",
        ),
        (
            "@id(\"a\") permit (principal is Strategy, action, resource);",
            "1:1: error: policy `a`: it does not name its actions",
        ),
        (
            "@id(\"a\") permit (principal is Strategy, action == Action::\"Trade\", resource);",
            "1:48: error: policy `a`: `Trade` is a group",
        ),
        (
            "@id(\"a\") permit (principal is Strategy, action == Action::\"Sing\", resource);",
            "1:51: error: policy `a`: unrecognized action",
        ),
        (
            "@id(\"a\") permit (principal is Operator, action == Action::\"Read\", resource);",
            "1:31: error: policy `a`: unrecognized entity type `Operator`",
        ),
        (
            "@id(\"a\") permit (principal == ?principal, action == Action::\"Read\", resource);",
            "1:31: error: templates: not supported",
        ),
        (
            "@id(\"a\") permit (principal is Strategy, action == Action::\"Read\", resource == Strategy::\"x\");",
            "1:1: error: policy `a`: no action has such",
        ),
        (
            "@id(\"a\") permit (principal is Strategy, action == Action::\"Read\", resource)",
            "1:76: error: unexpected end of input",
        ),
        (";;", "1:1: error: unexpected token `;`"),
        ("", "warning: no policies: nothing is permitted"),
        ("// nothing", "warning: no policies: nothing is permitted"),
    ] {
        let report = report_of(text);
        assert!(report.starts_with(expected), "{text}\n{report}");
    }
    let one = "@id(\"a\") permit (principal is Strategy, action == Action::\"Read\", resource);\n";
    assert!(
        report_of(&one.repeat(2))
            .starts_with("2:1: error: policy `a`: a second policy of that name")
    );
}

#[test]
fn bounds_refuse() {
    // On half the stack that a thread has, in an unoptimised build.
    let on_thread = |conditions: String| {
        let thread = std::thread::Builder::new().stack_size(1 << 20);
        thread
            .spawn(move || report(&format!("when {{ {conditions} }}")))
            .unwrap()
            .join()
            .unwrap()
    };
    let nested = |open: &str, n: usize, close: &str| {
        format!("{}context.observe{}", open.repeat(n), close.repeat(n))
    };
    for (open, close, fits) in [
        ("(", ")", 30),
        ("!(", ")", 30),
        ("(context.observe || ", ")", 30),
        ("if context.observe then ", " else false", 30),
        ("if context.observe then (", ") else false", 15),
        ("(if context.reduces then context.borrows else ", ")", 15),
    ] {
        assert_eq!(on_thread(nested(open, fits, close)), "", "{open}");
        let refused = on_thread(nested(open, fits + 2, close));
        assert!(refused.contains("32 are allowed"), "{open} {refused}");
        assert!(on_thread(nested(open, 50_000, close)).contains("32 are allowed"));
    }
    let chain = |n: usize| -> String {
        let tests: Vec<String> = (0..n)
            .map(|at| format!("context.market == \"M{at}\""))
            .collect();
        tests.join(" || ")
    };
    assert_eq!(on_thread(chain(45)), "");
    assert!(on_thread(chain(80)).contains("256 are allowed"));
    let long = format!("// {}", " ".repeat(TEXT_BYTES_MAX));
    assert!(report_of(&long).contains("bytes"));
    assert!(report_of(&"a;".repeat(POLICIES_MAX + 1)).contains("policies, 10000 are allowed"));
}

#[test]
fn names_that_do_not_exist_are_refused_unless_they_come_later() {
    let policy = |more: &str, principal: &str, conditions: &str| {
        format!(
            "@id(\"p\") {more}\nforbid (principal {principal},\n action in Action::\"Any\", resource)\n{conditions};"
        )
    };
    let compiled = |text: &str| match compile(&check(text).unwrap(), &roster()) {
        Ok(_) => String::new(),
        Err(error) => error.to_string(),
    };
    assert_eq!(compiled(&policy("", "== Strategy::\"mm\"", "")), "");
    assert_eq!(compiled(&policy("", "is Strategy in Desk::\"a\"", "")), "");
    assert_eq!(
        compiled(&policy("", "== Strategy::\"nm\"", ""))
            .lines()
            .next(),
        Some("2:22: error: policy `p`: there is no strategy `nm`")
    );
    assert!(
        compiled(&policy("", "is Strategy in Desk::\"b\"", "")).contains("there is no desk `b`")
    );
    let venue = "when { resource.venue == Venue::\"binence\" }";
    assert!(
        compiled(&policy("", "is Strategy", venue))
            .starts_with("4:26: error: policy `p`: there is no venue `binence`")
    );
    let ahead = policy(
        "@ahead(\"desk b opens in May\")",
        "is Strategy in Desk::\"b\"",
        "",
    );
    assert_eq!(compiled(&ahead), "");
    let names = check(&ahead).unwrap().names(&roster());
    assert!(names.passes() && names.warnings().count() == 1);
    let to = "@id(\"w\") permit (principal is Strategy, action == Action::\"Withdraw\", resource)\nwhen { context has destination && context.destination == \"cold-1\" };";
    assert!(compiled(to).contains("the address book has no `cold-1`"));
    let mut with_markets = roster();
    with_markets.markets.push("BTCUSDT".to_owned());
    let market = "@id(\"m\") permit (principal is Strategy, action in Action::\"Trade\", resource)\nwhen { [\"BTCUSDT\", \"BTCUSTD\"].contains(context.market) };";
    let names = check(market).unwrap().names(&with_markets);
    assert_eq!(
        names.to_string().lines().next(),
        Some("2:20: warning: policy `m`: the release has no market `BTCUSTD`")
    );
}

#[test]
fn of_two_strategies_of_one_name_the_living_one_counts() {
    let mut state = State::default();
    let add =
        |state: &mut State, entry, effect| state.apply(EntryId(entry), Timestamp(1), &[effect]);
    let mm = || Effect::StrategyAdded {
        name: name("mm"),
        desk: None,
        observe: false,
    };
    add(&mut state, 0, Effect::SiteCreated { name: name("site") });
    add(&mut state, 1, mm());
    add(
        &mut state,
        2,
        Effect::StrategyRevoked {
            strategy: StrategyId(1),
        },
    );
    add(&mut state, 3, mm());
    let ids = |state: &State| -> Vec<u64> {
        Roster::of_release(&Files::new(), state)
            .strategies
            .iter()
            .map(|s| s.id.0)
            .collect()
    };
    assert_eq!(ids(&state), [3]);
    add(
        &mut state,
        4,
        Effect::StrategyRevoked {
            strategy: StrategyId(3),
        },
    );
    assert_eq!(ids(&state), [3]);
}
