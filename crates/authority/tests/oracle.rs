//! The compiled table against full Cedar: random policies, random rosters, random requests from one seed. They must agree
//! on the verdict and on every policy that decided. `PORTCULLIS_SEED` repeats a failure, `PORTCULLIS_REQUESTS` asks more.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests state what must hold"
)]

use portcullis_authority::{
    Account, Decision, Oracle, OwnedFacts, Question, Roster, Strategy, check, compile,
};
use portcullis_model::action::{ActionKind, MarketKind, OrderType, ReadOf, Side, TimeInForce};
use portcullis_model::id::{AccountId, Name, StrategyId};
use portcullis_model::table::{Presence, Slot, SlotType, presence, slots};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::IpAddr;

const REQUESTS: usize = 120_000;
const REQUESTS_A_SET: usize = 1_000;

#[test]
fn table_and_cedar_agree() {
    let number = |name: &str, otherwise: u64| {
        std::env::var(name).map_or(otherwise, |text| text.parse().expect(name))
    };
    let seed = number("PORTCULLIS_SEED", 20_261_125);
    let requests = usize::try_from(number("PORTCULLIS_REQUESTS", REQUESTS as u64)).unwrap();
    let mut random = Random(seed);
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    let mut keyed = 0;
    for set in 0..requests.div_ceil(REQUESTS_A_SET) {
        let state = random.0;
        let roster = roster(&mut random);
        let text = policies(&mut random, &roster, &mut seen);
        let rules = check(&text).unwrap();
        let table = compile(&rules, &roster).unwrap_or_else(|error| panic!("{error}\n{text}"));
        let oracle = Oracle::new(rules, roster).unwrap();
        keyed += usize::from(table.size().keyed_cells > 0);
        for _ in 0..REQUESTS_A_SET {
            let question = question(&mut random, oracle.roster());
            if let Err(mismatch) = oracle.compare(&table, &question) {
                panic!("seed {seed}, set {set} from {state}: {mismatch}\n{text}");
            }
            let decision = oracle.decide(
                question.strategy,
                question.account,
                question.kind,
                &question.facts.facts(),
            );
            *seen
                .entry(match decision {
                    Decision::Permit(_) => "permit",
                    Decision::Forbid(_) => "forbid",
                    Decision::NoPermit => "no permit",
                    Decision::Refused(_) => "refused",
                })
                .or_default() += 1;
        }
    }
    println!("seed {seed}: {seen:?}, sets with keyed cells {keyed}");
    // None of it may be so rare that agreement says nothing.
    for (what, share) in [
        ("permit", 10),
        ("forbid", 10),
        ("no permit", 10),
        ("refused", 100),
    ] {
        assert!(seen[what] > requests / share, "{what}: {seen:?}");
    }
    assert!(seen["policies kept"] > seen["policies dropped"], "{seen:?}");
    assert!(keyed * 10 > requests / REQUESTS_A_SET, "{keyed}");
}

/// A table of other policies is found out.
#[test]
fn a_wrong_table_is_noticed() {
    let mut random = Random(7);
    let roster = roster(&mut random);
    let policy = |bound: i64| {
        format!(
            "@id(\"a\") permit (principal is Strategy, action in Action::\"Trade\", resource) when {{ context.value < {bound} }};"
        )
    };
    let table = compile(&check(&policy(5)).unwrap(), &roster).unwrap();
    let oracle = Oracle::new(check(&policy(4)).unwrap(), roster).unwrap();
    let mut asked = |value: i64| {
        let mut question = question(&mut random, oracle.roster());
        question.strategy = oracle.roster().strategies[0].id;
        question.account = oracle.roster().accounts[0].id;
        question.kind = ActionKind::PlaceOrder;
        complete(&mut question, &mut Random(1));
        question.facts.value = Some(value);
        oracle.compare(&table, &question)
    };
    assert_eq!(asked(3), Ok(()));
    let mismatch = asked(4).unwrap_err();
    assert_eq!(mismatch.oracle, Decision::NoPermit);
    assert!(mismatch.to_string().contains("please report this"));
    assert_eq!(asked(5), Ok(()));
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end.max(1)).unwrap()).unwrap()
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn of<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }

    fn some<T: Clone>(&mut self, items: &[T], most: usize) -> Vec<T> {
        (0..=self.below(most))
            .map(|_| self.of(items).clone())
            .collect()
    }
}

const DESKS: [&str; 3] = ["desk-a", "desk-b", "desk-c"];
const VENUES: [&str; 2] = ["binance", "kraken"];
fn longs(slot: Slot) -> &'static [i64] {
    match slot {
        Slot::MinuteOfDay => &[0, 1, 479, 480, 720, 1439],
        Slot::Weekday => &[1, 2, 5, 6, 7],
        _ => &[0, 1, 2, 5, 7, 480, 1_000_000, i64::MAX - 1, i64::MAX],
    }
}

const SOURCES: [&str; 9] = [
    "10.0.0.5",
    "10.0.1.5",
    "127.0.0.1",
    "192.168.1.1",
    "224.0.0.1",
    "0.0.0.0",
    "::1",
    "2001:db8::1",
    "ff02::1",
];
const NETWORKS: [&str; 9] = [
    "10.0.0.0/24",
    "10.0.0.5",
    "10.0.0.0/8",
    "0.0.0.0/0",
    "127.0.0.0/8",
    "::/0",
    "2001:db8::/32",
    "::1",
    "10.0.0.7/31",
];

fn texts(slot: Slot) -> &'static [&'static str] {
    match slot {
        Slot::Market => &[
            "BTCUSDT",
            "ETHUSDT",
            "BTCUSDC",
            "ETHBTC",
            "币安人生USDT",
            "SOLUSDT",
            "a*b",
            "a\"\\b",
            "",
            "XRPUSDT",
            "ADAUSDT",
            "DOGEUSDT",
            "BTC",
            "USDT",
        ],
        Slot::Asset | Slot::ToAsset => &["BTC", "USDT", "USDC", "ETH", "BT"],
        Slot::From | Slot::Destination => &["spot", "cold-1", "funding", "BTC"],
        _ => &["1", "20", "tron", "0xabc", "USDT"],
    }
}

const PATTERNS: [&str; 10] = [
    "*", "BTC*", "*USDT", "*T*", "B*C*T", "", "BTCUSDT", "a\\**", "*币*", "*B*B*",
];

fn roster(random: &mut Random) -> Roster {
    let name = |text: &str| Name::new(text).unwrap();
    let mut roster = Roster::empty(Some(name("site")));
    roster.desks = DESKS.map(name).to_vec();
    roster.venues = VENUES.map(name).to_vec();
    roster.destinations = texts(Slot::Destination)
        .iter()
        .map(|t| (*t).to_owned())
        .collect();
    for at in 0..2 + random.below(3) {
        roster.accounts.push(Account {
            id: AccountId(100 + at as u64),
            name: name(&format!("acc-{at}")),
            venue: name(VENUES[random.below(2)]),
        });
    }
    for at in 0..2 + random.below(6) {
        let own: Vec<AccountId> = roster.accounts.iter().map(|a| a.id).collect();
        let mut accounts = random.some(&own, 3);
        accounts.sort_unstable();
        accounts.dedup();
        let desk = (!random.one_in(3)).then(|| name(DESKS[random.below(3)]));
        roster.strategies.push(Strategy {
            id: StrategyId(200 + at as u64),
            name: name(&format!("s-{at}")),
            desk,
            accounts,
        });
    }
    roster
}

/// A set in which every policy passes the check; what does not is counted and left out.
fn policies(random: &mut Random, roster: &Roster, seen: &mut BTreeMap<&str, usize>) -> String {
    let by_market = random.one_in(4);
    let count = if by_market { 60 } else { 2 + random.below(8) };
    let mut kept: Vec<String> = (0..count)
        .map(|at| {
            Writer {
                random,
                roster,
                by_market,
            }
            .policy(at)
        })
        .collect();
    loop {
        let Err(error) = check(&kept.concat()) else {
            break;
        };
        let bad: Vec<&str> = error
            .0
            .errors()
            .map(|f| {
                f.policy
                    .as_deref()
                    .unwrap_or_else(|| panic!("{error}\n{}", kept.concat()))
            })
            .collect();
        let before = kept.len();
        kept.retain(|text| {
            !bad.iter()
                .any(|name| text.contains(&format!("@id(\"{name}\")")))
        });
        assert!(kept.len() < before, "{error}");
        *seen.entry("policies dropped").or_default() += before - kept.len();
    }
    *seen.entry("policies kept").or_default() += kept.len();
    kept.concat()
}

struct Writer<'a> {
    random: &'a mut Random,
    /// Most policies ask for one market each.
    by_market: bool,
    roster: &'a Roster,
}

/// What an expression may read: the slots that every kind has, and whether they are always there.
type Readable = Vec<(Slot, Presence)>;

impl Writer<'_> {
    fn policy(&mut self, at: usize) -> String {
        let effect = if self.random.one_in(4) {
            "forbid"
        } else {
            "permit"
        };
        let (action, kinds) = self.action();
        let readable: Readable = slots(kinds[0])
            .iter()
            .filter_map(|(slot, _)| {
                let all: Option<Vec<Presence>> =
                    kinds.iter().map(|kind| presence(*kind, *slot)).collect();
                let always = all?.iter().all(|p| *p == Presence::Required);
                Some((
                    *slot,
                    if always {
                        Presence::Required
                    } else {
                        Presence::Optional
                    },
                ))
            })
            .collect();
        let market = self.by_market && presence(kinds[0], Slot::Market).is_some();
        let mut text = format!(
            "@id(\"p-{at}\")\n{effect} ({}, {action}, {})",
            self.scope("principal"),
            self.scope("resource")
        );
        for _ in 0..self.random.below(3) {
            let clause = if self.random.one_in(4) {
                "unless"
            } else {
                "when"
            };
            let condition = self.condition(&readable, 3);
            write!(text, "\n{clause} {{ {condition} }}").unwrap();
        }
        if market {
            let market = self
                .random
                .of(texts(Slot::Market))
                .replace('\\', "\\\\")
                .replace('"', "\\\"");
            let guard = match readable.iter().find(|(slot, _)| *slot == Slot::Market) {
                Some((_, Presence::Optional)) => "context has market && ",
                Some(_) => "",
                None => return text + ";\n",
            };
            write!(text, "\nwhen {{ {guard}context.market == \"{market}\" }}").unwrap();
        }
        text + ";\n"
    }

    fn action(&mut self) -> (String, Vec<ActionKind>) {
        const TRADE: [ActionKind; 3] = [
            ActionKind::PlaceOrder,
            ActionKind::TestOrder,
            ActionKind::AmendOrder,
        ];
        const OUT: [ActionKind; 2] = [ActionKind::TransferOut, ActionKind::Withdraw];
        match self.random.below(8) {
            0 => (
                "action in Action::\"Any\"".to_owned(),
                ActionKind::ALL.to_vec(),
            ),
            1..=3 => ("action in Action::\"Trade\"".to_owned(), TRADE.to_vec()),
            4 => ("action in [Action::\"ValueOut\"]".to_owned(), OUT.to_vec()),
            5 => {
                let kinds = self.random.some(&ActionKind::ALL, 3);
                let list: Vec<String> = kinds
                    .iter()
                    .map(|kind| format!("Action::\"{kind}\""))
                    .collect();
                (format!("action in [{}]", list.join(", ")), kinds)
            }
            _ => {
                let kind = *self.random.of(&ActionKind::ALL);
                (format!("action == Action::\"{kind}\""), vec![kind])
            }
        }
    }

    fn scope(&mut self, of: &str) -> String {
        let broad = self.by_market && !self.random.one_in(4);
        if broad {
            format!(
                "{of} is {}",
                if of == "principal" {
                    "Strategy"
                } else {
                    "Account"
                }
            )
        } else if of == "principal" {
            let desk = *self.random.of(&DESKS);
            match self.random.below(6) {
                0 => format!("principal is Strategy in Desk::\"{desk}\""),
                1 => format!("principal == {}", self.strategy()),
                2 => "principal is Strategy in Site::\"site\"".to_owned(),
                _ => "principal is Strategy".to_owned(),
            }
        } else {
            let venue = *self.random.of(&VENUES);
            match self.random.below(6) {
                0 => format!("resource in Venue::\"{venue}\""),
                1 => format!("resource == {}", self.account()),
                2 => "resource".to_owned(),
                _ => "resource is Account".to_owned(),
            }
        }
    }

    fn strategy(&mut self) -> String {
        format!(
            "Strategy::\"{}\"",
            self.random.of(&self.roster.strategies).name
        )
    }

    fn account(&mut self) -> String {
        format!(
            "Account::\"{}\"",
            self.random.of(&self.roster.accounts).name
        )
    }

    fn condition(&mut self, readable: &Readable, depth: usize) -> String {
        if depth > 0 {
            let mut inner = || self.condition(readable, depth - 1);
            let (a, b) = (inner(), inner());
            match self.random.below(10) {
                0 | 1 => return format!("({a} && {b})"),
                2 | 3 => return format!("({a} || {b})"),
                4 => return format!("!({a})"),
                5 => {
                    return format!(
                        "(if {a} then {b} else {})",
                        self.condition(readable, depth - 1)
                    );
                }
                6 => return format!("({a}) {} ({b})", self.random.of(&["==", "!="])),
                _ => {}
            }
        }
        if self.random.one_in(6) {
            self.known()
        } else {
            self.of_slot(readable)
        }
    }

    /// Something that strategy, account and action decide alone.
    fn known(&mut self) -> String {
        let (strategy, account) = (self.strategy(), self.account());
        let desk = *self.random.of(&DESKS);
        let venue = *self.random.of(&VENUES);
        match self.random.below(14) {
            0 => "principal.accounts.contains(resource)".to_owned(),
            1 => format!("principal.accounts.contains({account})"),
            2 => format!(
                "[{account}, {}].containsAny(principal.accounts)",
                self.account()
            ),
            3 => format!("principal.accounts.containsAll([{account}])"),
            4 => format!("principal has desk && principal.desk == Desk::\"{desk}\""),
            5 => format!("principal in Desk::\"{desk}\""),
            6 => format!("principal in [{strategy}, Desk::\"{desk}\"]")
                .replace(&format!("{strategy}, "), ""),
            7 => format!("principal == {strategy}"),
            8 => format!("resource.venue == Venue::\"{venue}\""),
            9 => format!(
                "principal.name like \"{}\"",
                self.random.of(&["s-1", "s-*", "*-2", "x*"])
            ),
            10 => format!("resource.name == \"acc-{}\"", self.random.below(3)),
            11 => format!("{account}.venue == resource.venue"),
            12 => "principal.accounts.isEmpty()".to_owned(),
            _ => format!("principal is Strategy in Desk::\"{desk}\""),
        }
    }

    fn of_slot(&mut self, readable: &Readable) -> String {
        let (slot, presence) = *self.random.of(readable);
        let bare = self.test(slot, readable);
        match presence {
            Presence::Required => bare,
            Presence::Optional => match self.random.below(6) {
                0 => format!("context has {}", slot.name()),
                1 => format!("(!(context has {}) || {bare})", slot.name()),
                2 => format!(
                    "(if context has {} then {bare} else {})",
                    slot.name(),
                    self.random.one_in(2)
                ),
                _ => format!("(context has {} && {bare})", slot.name()),
            },
        }
    }

    fn test(&mut self, slot: Slot, readable: &Readable) -> String {
        let other = |writer: &mut Self| {
            let like: Vec<Slot> = readable
                .iter()
                .filter(|(s, p)| s.slot_type() == slot.slot_type() && *p == Presence::Required)
                .map(|(s, _)| *s)
                .collect();
            (!like.is_empty()).then(|| *writer.random.of(&like))
        };
        match slot.slot_type() {
            SlotType::Flag => match self.random.below(4) {
                0 => format!("{slot} == {}", self.random.one_in(2)),
                1 => format!("[true].contains({slot})"),
                2 => format!("!{slot}"),
                _ => slot.to_string(),
            },
            SlotType::Long => {
                let longs = longs(slot);
                let value = *self.random.of(longs);
                let op = *self.random.of(&["<", "<=", ">", ">=", "==", "!="]);
                match self.random.below(6) {
                    0 => match other(self) {
                        Some(other) => format!("{slot} {op} {other}"),
                        None => format!("{slot} {op} 5"),
                    },
                    1 => format!("{value} {op} {slot}"),
                    2 => format!("[{value}, {}, 5].contains({slot})", self.random.of(longs)),
                    _ => format!("{slot} {op} {value}"),
                }
            }
            SlotType::Word => {
                let words = slot.words();
                match self.random.below(4) {
                    0 => format!(
                        "{slot} like \"{}\"",
                        self.random.of(&["*", "l*", "*m*", "*t", "spot"])
                    ),
                    1 => format!("{slot} != {:?}", self.random.of(words)),
                    2 => format!("{:?}.contains({slot})", self.random.some(words, 3)),
                    _ => format!("{slot} == {:?}", self.random.of(words)),
                }
            }
            SlotType::Text => {
                let words = texts(slot);
                let quoted =
                    |word: &str| format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\""));
                match self.random.below(6) {
                    0 => format!("{slot} like \"{}\"", self.random.of(&PATTERNS)),
                    1 => format!("{slot} != {}", quoted(self.random.of::<&str>(words))),
                    2 => {
                        let list: Vec<String> = self
                            .random
                            .some(words, 9)
                            .iter()
                            .map(|w| quoted(w))
                            .collect();
                        format!("[{}].contains({slot})", list.join(", "))
                    }
                    3 => match other(self) {
                        Some(other) => format!("{slot} == {other}"),
                        None => format!("{slot} == {slot}"),
                    },
                    _ => format!("{slot} == {}", quoted(self.random.of::<&str>(words))),
                }
            }
            SlotType::Address => {
                let network = *self.random.of(&NETWORKS);
                match self.random.below(7) {
                    0 => format!("{slot}.isIpv4()"),
                    1 => format!("{slot}.isIpv6()"),
                    2 => format!("{slot}.isLoopback()"),
                    3 => format!("{slot}.isMulticast()"),
                    4 => format!("{slot} == ip(\"{network}\")"),
                    5 => format!("[ip(\"{network}\"), ip(\"10.0.1.5\")].contains({slot})"),
                    _ => format!("{slot}.isInRange(ip(\"{network}\"))"),
                }
            }
        }
    }
}

fn question(random: &mut Random, roster: &Roster) -> Question {
    let text = |random: &mut Random, slot| {
        (!random.one_in(3)).then(|| (*random.of(texts(slot))).to_owned())
    };
    let flag = |random: &mut Random| Some(random.one_in(2));
    let source: IpAddr = random.of(&SOURCES).parse().unwrap();
    let facts = OwnedFacts {
        source,
        minute_of_day: *random.of(longs(Slot::MinuteOfDay)),
        weekday: 1 + random.below(7) as i64,
        observe: random.one_in(2),
        market: text(random, Slot::Market),
        market_kind: Some(*random.of(&[MarketKind::Spot, MarketKind::Margin, MarketKind::Option])),
        side: Some(*random.of(&[Side::Buy, Side::Sell])),
        order_type: Some(*random.of(&[
            OrderType::Limit,
            OrderType::Market,
            OrderType::LimitMaker,
            OrderType::TakeProfitLimit,
        ])),
        time_in_force: *random.of(&[None, Some(TimeInForce::Gtc), Some(TimeInForce::Fok)]),
        value: Some(*random.of(longs(Slot::Value))),
        reduces: flag(random),
        post_only: flag(random),
        borrows: flag(random),
        reads: Some(*random.of(&[ReadOf::Orders, ReadOf::Trades, ReadOf::Account])),
        asset: text(random, Slot::Asset),
        to_asset: text(random, Slot::ToAsset),
        from: text(random, Slot::From),
        destination: text(random, Slot::Destination),
        address: text(random, Slot::Address),
        network: text(random, Slot::Network),
        setting: text(random, Slot::Setting),
        approvals: Some(*random.of(&[0, 1, 2, 5])),
    };
    let mut question = Question {
        strategy: random.of(&roster.strategies).id,
        account: random.of(&roster.accounts).id,
        kind: *random.of(&ActionKind::ALL),
        facts,
    };
    if random.one_in(2) {
        question.kind = ActionKind::PlaceOrder;
    }
    match random.below(60) {
        0 => question.strategy = StrategyId(1),
        1 => question.account = AccountId(1),
        2 => question.facts.value = None,
        _ => complete(&mut question, random),
    }
    question
}

/// Gives what the action must say.
fn complete(question: &mut Question, random: &mut Random) {
    if presence(question.kind, Slot::Market) == Some(Presence::Required)
        && question.facts.market.is_none()
    {
        question.facts.market = Some((*random.of(texts(Slot::Market))).to_owned());
    }
}
