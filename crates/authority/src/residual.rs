//! Partial evaluation: a policy's conditions with strategy, account and action known, so that only `context` is left, as
//! a typed [`Test`]. It knows comparisons and nothing else; whatever it does not know is a [`Problem`], never a guess.
//!
//! Both sides of `&&`, `||` and `if` are always looked at, so that an unsupported construct is found even where it would
//! not be reached.

use crate::roster::{Account, Roster, Strategy};
use crate::vocabulary;
use cedar_policy::pst::{BinaryOp, Clause, Expr, Literal, PatternElem, UnaryOp, Var};
use portcullis_model::action::ActionKind;
use portcullis_model::id::Name;
use portcullis_model::table::{
    Network, Pattern, Presence, Slot, SlotType, TEST_DEPTH_MAX, Test, presence,
};
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;

/// Why a policy cannot be compiled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Problem {
    /// Outside what we compile, with what to write instead and, where it can be told, how it looks in the text.
    Unsupported {
        what: String,
        instead: &'static str,
        token: &'static str,
    },
    /// A word that the slot never holds.
    NotAWord { slot: Slot, word: String },
    /// A figure that the slot never holds.
    OutOfRange { slot: Slot, value: i64 },
    /// Reads what is not there. Where it cannot be reached this is no fault.
    Absent(String),
}

impl Problem {
    fn is_absent(&self) -> bool {
        matches!(self, Self::Absent(_))
    }

    pub fn hint(&self) -> String {
        match self {
            Self::Unsupported { instead, .. } => (*instead).to_owned(),
            Self::NotAWord { slot, .. } => format!("it is one of {}", slot.words().join(", ")),
            Self::OutOfRange { slot, .. } => match slot {
                Slot::Weekday => "1 is Monday, 7 is Sunday, UTC".to_owned(),
                Slot::MinuteOfDay => "it counts from 0 to 1439, UTC; 08:30 is 510".to_owned(),
                _ => "it is never negative".to_owned(),
            },
            Self::Absent(_) => "ask with `has` first".to_owned(),
        }
    }

    /// How it looks in the text; empty if that cannot be told.
    pub fn token(&self) -> &'static str {
        match self {
            Self::Unsupported { token, .. } => token,
            Self::NotAWord { slot, .. } | Self::OutOfRange { slot, .. } => slot.name(),
            Self::Absent(_) => "",
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsupported { what, .. } => write!(f, "{what}: not supported"),
            Self::NotAWord { slot, word } => write!(f, "{slot} is never {word:?}"),
            Self::OutOfRange { slot, value } => write!(f, "{slot} is never {value}"),
            Self::Absent(what) => write!(f, "reads {what}, which may be absent"),
        }
    }
}

/// What is known when a policy is specialised.
#[derive(Clone, Copy)]
pub(crate) struct Known<'a> {
    pub world: &'a World<'a>,
    pub strategy: &'a Strategy,
    pub account: &'a Account,
    pub kind: ActionKind,
}

/// The roster, by name.
pub(crate) struct World<'a> {
    site: Option<&'a str>,
    strategies: HashMap<&'a str, &'a Strategy>,
    accounts: HashMap<&'a str, &'a Account>,
    account_names: HashMap<u64, &'a str>,
}

impl<'a> World<'a> {
    pub fn new(roster: &'a Roster) -> Self {
        Self {
            site: roster.site.as_ref().map(Name::as_str),
            strategies: roster
                .strategies
                .iter()
                .map(|s| (s.name.as_str(), s))
                .collect(),
            accounts: roster
                .accounts
                .iter()
                .map(|a| (a.name.as_str(), a))
                .collect(),
            account_names: roster
                .accounts
                .iter()
                .map(|a| (a.id.0, a.name.as_str()))
                .collect(),
        }
    }

    /// Whether `one` is `group` or stands somewhere below it.
    pub fn is_in(&self, one: &Thing, group: &Thing) -> bool {
        if one == group {
            return true;
        }
        let site = || self.site.is_some_and(|site| group.is("Site", site));
        match one.ty.as_str() {
            "Strategy" => self
                .strategies
                .get(one.id.as_str())
                .is_some_and(|strategy| {
                    site()
                        || strategy
                            .desk
                            .as_ref()
                            .is_some_and(|desk| group.is("Desk", desk.as_str()))
                }),
            "Account" => self
                .accounts
                .get(one.id.as_str())
                .is_some_and(|account| site() || group.is("Venue", account.venue.as_str())),
            "Desk" | "Venue" => site(),
            "Action" => {
                let kind = ActionKind::ALL
                    .into_iter()
                    .find(|kind| kind.name() == one.id);
                let groups =
                    kind.map_or_else(|| vocabulary::groups_of_group(&one.id), vocabulary::groups);
                group.ty == "Action" && groups.contains(&group.id.as_str())
            }
            _ => false,
        }
    }

    fn attribute(&self, of: &Thing, name: &str) -> Option<Value> {
        let thing = |ty: &str, id: &str| Value::Thing(Thing::new(ty, id));
        match (of.ty.as_str(), name) {
            ("Strategy", "name") => self
                .strategies
                .get(of.id.as_str())
                .map(|s| Value::Text(s.name.as_str().into())),
            ("Strategy", "desk") => {
                let desk = self.strategies.get(of.id.as_str())?.desk.as_ref()?;
                Some(thing("Desk", desk.as_str()))
            }
            ("Strategy", "accounts") => {
                let strategy = self.strategies.get(of.id.as_str())?;
                let names = strategy
                    .accounts
                    .iter()
                    .filter_map(|id| self.account_names.get(&id.0));
                Some(Value::Set(
                    names.map(|name| thing("Account", name)).collect(),
                ))
            }
            ("Account", "name") => self
                .accounts
                .get(of.id.as_str())
                .map(|a| Value::Text(a.name.as_str().into())),
            ("Account", "venue") => {
                let account = self.accounts.get(of.id.as_str())?;
                Some(thing("Venue", account.venue.as_str()))
            }
            _ => None,
        }
    }
}

/// An entity, by type and id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Thing {
    pub ty: String,
    pub id: String,
}

impl Thing {
    pub fn new(ty: &str, id: &str) -> Self {
        Self {
            ty: ty.to_owned(),
            id: id.to_owned(),
        }
    }

    fn is(&self, ty: &str, id: &str) -> bool {
        self.ty == ty && self.id == id
    }
}

impl From<&cedar_policy::pst::EntityUID> for Thing {
    fn from(uid: &cedar_policy::pst::EntityUID) -> Self {
        Self {
            ty: uid.ty.to_string(),
            id: uid.eid.to_string(),
        }
    }
}

/// What is known at load.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Value {
    Bool(bool),
    Long(i64),
    Text(String),
    Thing(Thing),
    Network(IpAddr, u8),
    Set(BTreeSet<Value>),
}

/// What an expression has become.
#[derive(Debug, Clone)]
enum Part {
    Known(Value),
    /// A slot that is not a flag.
    Slot(Slot),
    /// A condition on the context.
    Test(Test),
    Context,
}

/// The value of an expression that does not look at `context`; none if it has none.
pub(crate) fn known(expr: &Expr, known: &Known<'_>) -> Option<Value> {
    match specialise(expr, known) {
        Ok(Part::Known(value)) => Some(value),
        _ => None,
    }
}

/// What is left of a policy's conditions.
pub(crate) fn conditions(clauses: &[Clause], known: &Known<'_>) -> Result<Test, Problem> {
    let mut whole = Ok(Part::Known(Value::Bool(true)));
    for clause in clauses {
        let part = match clause {
            Clause::When(expr) => specialise(expr, known),
            Clause::Unless(expr) => specialise(expr, known).and_then(not),
        };
        whole = and(whole, part);
    }
    let test = as_test(whole?)?;
    if depth(&test) > TEST_DEPTH_MAX {
        return Err(unsupported(
            "",
            "the conditions nest too deep",
            "use sets and `.contains(…)`, or write several policies",
        ));
    }
    Ok(test)
}

fn specialise(expr: &Expr, known: &Known<'_>) -> Result<Part, Problem> {
    match expr {
        Expr::Literal(literal) => Ok(Part::Known(match literal {
            Literal::Bool(value) => Value::Bool(*value),
            Literal::Long(value) => Value::Long(*value),
            Literal::String(value) => Value::Text(value.to_string()),
            Literal::EntityUID(uid) => Value::Thing(uid.into()),
            _ => {
                return Err(unsupported(
                    "",
                    "a literal of an unknown kind",
                    "compare with a word, a number or an entity",
                ));
            }
        })),
        Expr::Var(var) => Ok(match var {
            Var::Principal => Part::Known(Value::Thing(Thing::new(
                "Strategy",
                known.strategy.name.as_str(),
            ))),
            Var::Resource => Part::Known(Value::Thing(Thing::new(
                "Account",
                known.account.name.as_str(),
            ))),
            Var::Action => Part::Known(Value::Thing(Thing::new("Action", known.kind.name()))),
            Var::Context => Part::Context,
        }),
        Expr::UnaryOp { op, expr } => unary(*op, expr, known),
        Expr::BinaryOp {
            op: BinaryOp::And,
            left,
            right,
        } => and(specialise(left, known), specialise(right, known)),
        Expr::BinaryOp {
            op: BinaryOp::Or,
            left,
            right,
        } => or(specialise(left, known), specialise(right, known)),
        Expr::BinaryOp { op, left, right } => {
            let (left, right) = both(specialise(left, known), specialise(right, known))?;
            binary(*op, left, right, known)
        }
        Expr::GetAttr { expr, attr } => match specialise(expr, known)? {
            Part::Context => read(attr, known),
            Part::Known(Value::Thing(thing)) => known
                .world
                .attribute(&thing, attr)
                .map(Part::Known)
                .ok_or_else(|| Problem::Absent(format!("`{attr}` of {} `{}`", thing.ty, thing.id))),
            _ => Err(unsupported(
                "",
                "an attribute of something else than principal, resource or context",
                "read those only",
            )),
        },
        Expr::HasAttr { expr, attrs } => {
            has(specialise(expr, known)?, attrs.iter().map(|a| &**a), known)
        }
        Expr::Like { expr, pattern } => like(specialise(expr, known)?, pattern),
        Expr::Is {
            expr,
            entity_type,
            in_expr,
        } => {
            let Part::Known(Value::Thing(thing)) = specialise(expr, known)? else {
                return Err(unsupported(
                    "",
                    "`is` on something that is no entity",
                    "ask it of principal or resource",
                ));
            };
            let is = Ok(Part::Known(Value::Bool(
                thing.ty == entity_type.to_string(),
            )));
            match in_expr {
                None => is,
                Some(group) => {
                    let group = specialise(group, known);
                    and(is, group.and_then(|group| within(&thing, group, known)))
                }
            }
        }
        Expr::IfThenElse {
            cond,
            then_expr,
            else_expr,
        } => choose(
            specialise(cond, known),
            specialise(then_expr, known),
            specialise(else_expr, known),
        ),
        Expr::Set(items) => {
            let mut values = BTreeSet::new();
            for item in items {
                let Part::Known(value) = specialise(item, known)? else {
                    return Err(unsupported(
                        "[",
                        "a set that holds something of `context`",
                        "put literals in the set and ask whether it contains the attribute",
                    ));
                };
                values.insert(value);
            }
            Ok(Part::Known(Value::Set(values)))
        }
        Expr::Record(_) => Err(unsupported(
            "",
            "a record",
            "compare the attributes one by one",
        )),
        Expr::Slot(_) => Err(unsupported(
            "?",
            "a template slot",
            "write a policy for each case",
        )),
        _ => Err(unsupported(
            "",
            "a construct that this version does not know",
            "write it with comparisons",
        )),
    }
}

fn unary(op: UnaryOp, expr: &Expr, known: &Known<'_>) -> Result<Part, Problem> {
    let arithmetic = || {
        unsupported(
            "-",
            "arithmetic",
            "compare with a literal; a policy that overflows while it is evaluated is skipped by Cedar",
        )
    };
    match op {
        UnaryOp::Not => not(specialise(expr, known)?),
        UnaryOp::Neg => match specialise(expr, known)? {
            Part::Known(Value::Long(value)) => value
                .checked_neg()
                .map(|value| Part::Known(Value::Long(value)))
                .ok_or_else(arithmetic),
            _ => Err(arithmetic()),
        },
        UnaryOp::IsEmpty => match specialise(expr, known)? {
            Part::Known(Value::Set(set)) => Ok(truth(set.is_empty())),
            _ => Err(unlike()),
        },
        UnaryOp::Ip => match expr {
            Expr::Literal(Literal::String(text)) => {
                network(text).map(Part::Known).ok_or_else(|| {
                    unsupported(
                        "ip(",
                        "an address that is none",
                        "write it as in `ip(\"10.0.0.0/8\")`",
                    )
                })
            }
            _ => Err(unsupported(
                "ip(",
                "`ip` of something that is not a literal",
                "write the address out",
            )),
        },
        UnaryOp::IsIPv4 | UnaryOp::IsIPV6 | UnaryOp::IsLoopback | UnaryOp::IsMulticast => {
            match specialise(expr, known)? {
                Part::Slot(Slot::Source) => Ok(Part::Test(match op {
                    UnaryOp::IsIPv4 => Test::SourceIsV4,
                    UnaryOp::IsIPV6 => Test::Not(Box::new(Test::SourceIsV4)),
                    UnaryOp::IsLoopback => Test::SourceIsLoopback,
                    _ => Test::SourceIsMulticast,
                })),
                _ => Err(unsupported(
                    ".is",
                    "a question about an address that is not `context.source`",
                    "ask it of `context.source`",
                )),
            }
        }
        _ => Err(unlike()),
    }
}

fn binary(op: BinaryOp, left: Part, right: Part, known: &Known<'_>) -> Result<Part, Problem> {
    match op {
        BinaryOp::Eq => equal(left, right),
        BinaryOp::NotEq => not(equal(left, right)?),
        BinaryOp::Less => less(left, right),
        BinaryOp::Greater => less(right, left),
        BinaryOp::LessEq => not(less(right, left)?),
        BinaryOp::GreaterEq => not(less(left, right)?),
        BinaryOp::In => match left {
            Part::Known(Value::Thing(thing)) => within(&thing, right, known),
            _ => Err(unlike()),
        },
        BinaryOp::Contains => match left {
            Part::Known(Value::Set(set)) => contains(&set, right),
            _ => Err(unlike()),
        },
        BinaryOp::ContainsAll | BinaryOp::ContainsAny => match (left, right) {
            (Part::Known(Value::Set(left)), Part::Known(Value::Set(right))) => {
                Ok(truth(if op == BinaryOp::ContainsAll {
                    right.is_subset(&left)
                } else {
                    !right.is_disjoint(&left)
                }))
            }
            _ => Err(unlike()),
        },
        BinaryOp::IsInRange => match (left, right) {
            (Part::Slot(Slot::Source), Part::Known(Value::Network(address, prefix))) => {
                Ok(Part::Test(Test::SourceIn(Network { address, prefix })))
            }
            _ => Err(unsupported(
                "isInRange",
                "a range that is not asked of `context.source`, or is not a literal",
                "write `context.source.isInRange(ip(\"10.0.0.0/8\"))`",
            )),
        },
        _ => Err(unlike()),
    }
}

/// `context.name`.
fn read(name: &str, known: &Known<'_>) -> Result<Part, Problem> {
    let absent = || Problem::Absent(format!("`context.{name}` of {}", known.kind));
    let slot = Slot::by_name(name).ok_or_else(absent)?;
    presence(known.kind, slot).ok_or_else(absent)?;
    Ok(match slot.slot_type() {
        SlotType::Flag => Part::Test(Test::Flag(slot)),
        _ => Part::Slot(slot),
    })
}

fn has<'a>(
    of: Part,
    mut names: impl Iterator<Item = &'a str>,
    known: &Known<'_>,
) -> Result<Part, Problem> {
    let nested = || {
        unsupported(
            "has",
            "`has` of more than one step",
            "ask for one attribute at a time",
        )
    };
    let Some(name) = names.next() else {
        return Err(nested());
    };
    if names.next().is_some() {
        return Err(nested());
    }
    match of {
        Part::Context => Ok(
            match Slot::by_name(name).and_then(|slot| Some((slot, presence(known.kind, slot)?))) {
                None => truth(false),
                Some((_, Presence::Required)) => truth(true),
                Some((slot, Presence::Optional)) => Part::Test(Test::Has(slot)),
            },
        ),
        Part::Known(Value::Thing(thing)) => {
            Ok(truth(known.world.attribute(&thing, name).is_some()))
        }
        _ => Err(unlike()),
    }
}

fn like(text: Part, pattern: &[PatternElem]) -> Result<Part, Problem> {
    let mut pieces = vec![String::new()];
    for element in pattern {
        match element {
            PatternElem::Char(c) => {
                if let Some(last) = pieces.last_mut() {
                    last.push(*c);
                }
            }
            PatternElem::Wildcard => pieces.push(String::new()),
        }
    }
    let mut pieces = pieces.into_iter().map(String::into_boxed_str);
    let head = pieces.next().unwrap_or_default();
    let tail = pieces.next_back();
    let middle = pieces.filter(|piece| !piece.is_empty()).collect();
    let pattern = Pattern { head, middle, tail };
    match text {
        Part::Known(Value::Text(text)) => Ok(truth(pattern.matches(&text))),
        Part::Slot(slot) if slot.slot_type() == SlotType::Text => {
            Ok(Part::Test(Test::TextLike { slot, pattern }))
        }
        Part::Slot(slot) if slot.slot_type() == SlotType::Word => Ok(words(
            slot,
            slot.words().iter().map(|word| pattern.matches(word)),
        )),
        _ => Err(unlike()),
    }
}

fn within(thing: &Thing, group: Part, known: &Known<'_>) -> Result<Part, Problem> {
    match group {
        Part::Known(Value::Thing(group)) => Ok(truth(known.world.is_in(thing, &group))),
        Part::Known(Value::Set(groups)) => {
            let mut any = false;
            for group in groups {
                let Value::Thing(group) = group else {
                    return Err(unlike());
                };
                any |= known.world.is_in(thing, &group);
            }
            Ok(truth(any))
        }
        _ => Err(unlike()),
    }
}

fn equal(left: Part, right: Part) -> Result<Part, Problem> {
    Ok(match (left, right) {
        (Part::Known(a), Part::Known(b)) => truth(a == b),
        (Part::Slot(slot), Part::Known(value)) | (Part::Known(value), Part::Slot(slot)) => {
            return slot_is_one_of(slot, &BTreeSet::from([value]));
        }
        (Part::Slot(a), Part::Slot(b)) if a == b => truth(true),
        (Part::Slot(a), Part::Slot(b)) => match (a.slot_type(), b.slot_type()) {
            (SlotType::Text, SlotType::Text) => Part::Test(Test::TextSame(a.min(b), a.max(b))),
            (SlotType::Long, SlotType::Long) => Part::Test(Test::LongSame(a.min(b), a.max(b))),
            _ => {
                return Err(unsupported(
                    "",
                    &format!("{a} compared with {b}"),
                    "compare each with a literal",
                ));
            }
        },
        (left @ Part::Test(_), right) | (left, right @ Part::Test(_)) => {
            let (left, right) = (as_test(left)?, as_test(right)?);
            part(if_test(left, right.clone(), negate(right)))
        }
        _ => return Err(unlike()),
    })
}

fn contains(set: &BTreeSet<Value>, item: Part) -> Result<Part, Problem> {
    match item {
        Part::Known(value) => Ok(truth(set.contains(&value))),
        Part::Slot(slot) => slot_is_one_of(slot, set),
        Part::Test(test) => {
            let mut any = Test::Never;
            if set.contains(&Value::Bool(true)) {
                any = any_of(any, test.clone());
            }
            if set.contains(&Value::Bool(false)) {
                any = any_of(any, negate(test));
            }
            Ok(part(any))
        }
        Part::Context => Err(unlike()),
    }
}

fn slot_is_one_of(slot: Slot, values: &BTreeSet<Value>) -> Result<Part, Problem> {
    let mut texts: Vec<Box<str>> = Vec::new();
    let mut any = Test::Never;
    for value in values {
        match (slot.slot_type(), value) {
            (SlotType::Text | SlotType::Word, Value::Text(text)) => {
                if slot.slot_type() == SlotType::Word && !slot.words().contains(&text.as_str()) {
                    return Err(Problem::NotAWord {
                        slot,
                        word: text.clone(),
                    });
                }
                texts.push(text.as_str().into());
            }
            (SlotType::Long, Value::Long(value)) => {
                if !range(slot).contains(value) {
                    return Err(Problem::OutOfRange {
                        slot,
                        value: *value,
                    });
                }
                any = any_of(
                    any,
                    Test::LongIn {
                        slot,
                        low: *value,
                        high: *value,
                    },
                );
            }
            (SlotType::Address, Value::Network(address, prefix)) => {
                // A source is one address, so it equals a range only if that is one address.
                let whole = if address.is_ipv4() { 32 } else { 128 };
                if *prefix == whole {
                    any = any_of(
                        any,
                        Test::SourceIn(Network {
                            address: *address,
                            prefix: *prefix,
                        }),
                    );
                }
            }
            _ => return Err(unlike()),
        }
    }
    Ok(match slot.slot_type() {
        SlotType::Word => words(
            slot,
            slot.words()
                .iter()
                .map(|word| texts.iter().any(|text| **text == **word)),
        ),
        SlotType::Text if !texts.is_empty() => {
            texts.sort_unstable();
            Part::Test(Test::TextIn {
                slot,
                words: texts.into(),
            })
        }
        _ => part(any),
    })
}

/// What a whole number can be. A policy that compares with something beyond it means something else than it says.
fn range(slot: Slot) -> RangeInclusive<i64> {
    match slot {
        Slot::MinuteOfDay => 0..=1439,
        Slot::Weekday => 1..=7,
        _ => 0..=i64::MAX,
    }
}

fn less(left: Part, right: Part) -> Result<Part, Problem> {
    if let (Part::Slot(slot), Part::Known(Value::Long(value)))
    | (Part::Known(Value::Long(value)), Part::Slot(slot)) = (&left, &right)
    {
        // `< 1440` and `> 0` say what they mean.
        let range = range(*slot);
        if *value < range.start().saturating_sub(1) || *value > range.end().saturating_add(1) {
            return Err(Problem::OutOfRange {
                slot: *slot,
                value: *value,
            });
        }
    }
    let is_long = |slot: Slot| slot.slot_type() == SlotType::Long;
    Ok(match (left, right) {
        (Part::Known(Value::Long(a)), Part::Known(Value::Long(b))) => truth(a < b),
        (Part::Slot(slot), Part::Known(Value::Long(value))) if is_long(slot) => {
            match value.checked_sub(1) {
                None => truth(false),
                Some(high) => Part::Test(Test::LongIn {
                    slot,
                    low: i64::MIN,
                    high,
                }),
            }
        }
        (Part::Known(Value::Long(value)), Part::Slot(slot)) if is_long(slot) => {
            match value.checked_add(1) {
                None => truth(false),
                Some(low) => Part::Test(Test::LongIn {
                    slot,
                    low,
                    high: i64::MAX,
                }),
            }
        }
        (Part::Slot(a), Part::Slot(b)) if is_long(a) && is_long(b) => {
            if a == b {
                truth(false)
            } else {
                Part::Test(Test::LongLess(a, b))
            }
        }
        _ => return Err(unlike()),
    })
}

fn not(of: Part) -> Result<Part, Problem> {
    as_test(of).map(|test| part(negate(test)))
}

fn and(left: Result<Part, Problem>, right: Result<Part, Problem>) -> Result<Part, Problem> {
    let left = as_test(shown(left, &right)?)?;
    match (left, right) {
        (Test::Never, Err(problem)) if problem.is_absent() => Ok(truth(false)),
        (left, right) => {
            let right = as_test(right?)?;
            Ok(part(all_of(left, right)))
        }
    }
}

fn or(left: Result<Part, Problem>, right: Result<Part, Problem>) -> Result<Part, Problem> {
    let left = as_test(shown(left, &right)?)?;
    match (left, right) {
        (Test::Always, Err(problem)) if problem.is_absent() => Ok(truth(true)),
        (left, right) => {
            let right = as_test(right?)?;
            Ok(part(any_of(left, right)))
        }
    }
}

fn choose(
    condition: Result<Part, Problem>,
    then: Result<Part, Problem>,
    otherwise: Result<Part, Problem>,
) -> Result<Part, Problem> {
    let condition = as_test(shown(shown(condition, &then), &otherwise)?)?;
    let (then, otherwise) = match condition {
        Test::Always => (shown(then, &otherwise)?, None),
        Test::Never => (shown(otherwise, &then)?, None),
        _ => {
            let (then, otherwise) = both(then, otherwise)?;
            (then, Some(otherwise))
        }
    };
    let Some(otherwise) = otherwise else {
        return Ok(then);
    };
    let only_conditions = |_| {
        unsupported(
            "if",
            "an `if` that gives something else than true or false",
            "write a policy for each branch",
        )
    };
    let (then, otherwise) = (
        as_test(then).map_err(only_conditions)?,
        as_test(otherwise).map_err(only_conditions)?,
    );
    Ok(part(if_test(condition, then, otherwise)))
}

/// A fault that holds wherever it stands is shown before an absence.
fn shown(first: Result<Part, Problem>, second: &Result<Part, Problem>) -> Result<Part, Problem> {
    match second {
        Err(problem) if !problem.is_absent() => Err(problem.clone()),
        _ => first,
    }
}

fn both(
    left: Result<Part, Problem>,
    right: Result<Part, Problem>,
) -> Result<(Part, Part), Problem> {
    Ok((shown(left, &right)?, right?))
}

fn as_test(of: Part) -> Result<Test, Problem> {
    match of {
        Part::Known(Value::Bool(true)) => Ok(Test::Always),
        Part::Known(Value::Bool(false)) => Ok(Test::Never),
        Part::Test(test) => Ok(test),
        _ => Err(unlike()),
    }
}

fn part(test: Test) -> Part {
    match test {
        Test::Always => truth(true),
        Test::Never => truth(false),
        test => Part::Test(test),
    }
}

fn truth(value: bool) -> Part {
    Part::Known(Value::Bool(value))
}

fn words(slot: Slot, chosen: impl Iterator<Item = bool>) -> Part {
    let mask = chosen
        .zip(0..8u8)
        .fold(0, |mask, (chosen, code)| mask | u8::from(chosen) << code);
    Part::Test(Test::WordIn { slot, mask })
}

fn negate(test: Test) -> Test {
    match test {
        Test::Always => Test::Never,
        Test::Never => Test::Always,
        Test::Not(test) => *test,
        Test::LongIn {
            slot,
            low: i64::MIN,
            high,
        } => match high.checked_add(1) {
            Some(low) => Test::LongIn {
                slot,
                low,
                high: i64::MAX,
            },
            None => Test::Not(Box::new(Test::LongIn {
                slot,
                low: i64::MIN,
                high,
            })),
        },
        Test::LongIn {
            slot,
            low,
            high: i64::MAX,
        } => match low.checked_sub(1) {
            Some(high) => Test::LongIn {
                slot,
                low: i64::MIN,
                high,
            },
            None => Test::Not(Box::new(Test::LongIn {
                slot,
                low,
                high: i64::MAX,
            })),
        },
        test => Test::Not(Box::new(test)),
    }
}

/// Left before right, so that what guards a slot stays before what reads it. What a policy that passed the check says
/// cannot fail, so a side that is known decides alone.
fn all_of(left: Test, right: Test) -> Test {
    match (left, right) {
        (Test::Never, _) | (_, Test::Never) => Test::Never,
        (Test::Always, right) => right,
        (left, Test::Always) => left,
        (left, right) => {
            let mut tests = Vec::new();
            for test in [left, right] {
                match test {
                    Test::All(inner) => tests.extend(inner),
                    test => tests.push(test),
                }
            }
            Test::All(tests.into())
        }
    }
}

fn any_of(left: Test, right: Test) -> Test {
    match (left, right) {
        (Test::Always, _) | (_, Test::Always) => Test::Always,
        (Test::Never, right) => right,
        (left, Test::Never) => left,
        (left, right) => {
            let mut tests = Vec::new();
            for test in [left, right] {
                match test {
                    Test::Any(inner) => tests.extend(inner),
                    test => tests.push(test),
                }
            }
            // `market == "A" || market == "B"` asks for one of two words, and is found by either.
            tests.dedup_by(|next, test| match (test, next) {
                (
                    Test::TextIn { slot, words },
                    Test::TextIn {
                        slot: of,
                        words: more,
                    },
                ) if slot == of => {
                    let both: BTreeSet<Box<str>> =
                        words.iter().chain(more.iter()).cloned().collect();
                    *words = both.into_iter().collect();
                    true
                }
                _ => false,
            });
            if tests.len() == 1 {
                return tests.remove(0);
            }
            Test::Any(tests.into())
        }
    }
}

fn if_test(condition: Test, then: Test, otherwise: Test) -> Test {
    match (condition, then, otherwise) {
        (Test::Always, then, _) => then,
        (Test::Never, _, otherwise) => otherwise,
        (_, then, otherwise) if then == otherwise => then,
        (condition, Test::Always, Test::Never) => condition,
        (condition, Test::Never, Test::Always) => negate(condition),
        (condition, then, otherwise) => Test::If(Box::new([condition, then, otherwise])),
    }
}

fn depth(test: &Test) -> usize {
    1 + match test {
        Test::All(tests) | Test::Any(tests) => tests.iter().map(depth).max().unwrap_or(0),
        Test::Not(test) => depth(test),
        Test::If(tests) => tests.iter().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// As Cedar reads it: an address or a range, IPv4 not inside IPv6, prefix without leading zeros.
fn network(text: &str) -> Option<Value> {
    if text.contains(':') && text.contains('.') {
        return None;
    }
    let (address, prefix) = match text.split_once('/') {
        None => (text, None),
        Some((address, prefix)) => (address, Some(prefix)),
    };
    let address: IpAddr = address.parse().ok()?;
    let whole = if address.is_ipv4() { 32 } else { 128 };
    let prefix = match prefix {
        None => whole,
        Some(digits) => {
            let plain = digits.bytes().all(|b| b.is_ascii_digit())
                && (digits == "0" || !digits.starts_with('0'));
            digits
                .parse()
                .ok()
                .filter(|prefix| plain && *prefix <= whole)?
        }
    };
    Some(Value::Network(address, prefix))
}

pub(crate) fn unsupported(token: &'static str, what: &str, instead: &'static str) -> Problem {
    Problem::Unsupported {
        what: what.to_owned(),
        instead,
        token,
    }
}

fn unlike() -> Problem {
    unsupported(
        "",
        "a comparison of unlike things",
        "compare an attribute of `context` with a literal of its type",
    )
}
