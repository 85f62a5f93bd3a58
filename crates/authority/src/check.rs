//! Whether a policy text can govern: it parses, passes Cedar's strict validator, names only what exists, and holds
//! nothing that could fail at run time. Cedar skips a policy that fails, a forbid too, so what could fail is refused
//! here. Every finding says where, what, and what to do.

use crate::atoms::children;
use crate::report::{CheckError, Finding, Findings, Report, Severity};
use crate::residual::{self, Known, Problem, Thing, World};
use crate::roster::{self, Roster};
use crate::source::{Piece, Place};
use crate::vocabulary;
use cedar_policy::pst::{
    ActionConstraint, BinaryOp, Clause, EntityOrSlot, Expr, Literal, PrincipalConstraint,
    ResourceConstraint, UnaryOp, Var,
};
use cedar_policy::{PolicyId, PolicySet, Schema};
use portcullis_model::action::ActionKind;
use portcullis_model::id::{AccountId, Name, StrategyId};
use portcullis_model::table::{Effect, Slot};
use std::collections::{BTreeSet, HashSet};
use std::fmt;

/// Bytes of a policy text. A longer one is refused.
pub const TEXT_BYTES_MAX: usize = 4 << 20;
/// Policies in a text. More are refused.
pub const POLICIES_MAX: usize = 10_000;
/// Operators and brackets in one policy. A policy with more is refused.
pub const OPERATORS_MAX: usize = 256;
/// How deep brackets and `if` may nest in one policy: what reads it recurses, and a thread's stack ends.
pub const NESTING_MAX: usize = 32;
/// Bytes of a policy's `@id`.
pub const ID_BYTES_MAX: usize = 64;

/// One policy that passed.
#[derive(Debug)]
pub(crate) struct Rule {
    pub name: String,
    pub effect: Effect,
    pub place: Place,
    pub piece: Piece,
    /// It may name what does not exist yet.
    pub ahead: bool,
    /// What it names, and where.
    pub things: Vec<(Thing, Place)>,
    /// Words that stand beside an attribute of the context, and where.
    pub words: Vec<(Slot, String, Place)>,
    pub principal: Scope,
    pub kinds: Vec<ActionKind>,
    pub resource: Scope,
    pub clauses: Vec<Clause>,
    /// Its conditions look at the action, or at whether something is there.
    pub asks_kind: bool,
}

/// What a policy's scope asks of the strategy, or of the account.
#[derive(Debug)]
pub(crate) struct Scope {
    /// Only for `is`; an entity type that requests do not have never gets here.
    pub ty: Option<String>,
    pub equals: Option<Thing>,
    pub within: Option<Thing>,
}

impl Scope {
    pub fn covers(&self, thing: &Thing, world: &World<'_>) -> bool {
        self.ty.as_ref().is_none_or(|ty| *ty == thing.ty)
            && self.equals.as_ref().is_none_or(|one| one == thing)
            && self
                .within
                .as_ref()
                .is_none_or(|group| world.is_in(thing, group))
    }
}

/// Policies that passed: they parse, are of the language that compiles, and cannot fail.
pub struct Rules {
    pub(crate) rules: Vec<Rule>,
    pub(crate) set: PolicySet,
    pub(crate) schema: &'static Schema,
    report: Report,
}

impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rules")
            .field("policies", &self.rules.len())
            .finish_non_exhaustive()
    }
}

impl Rules {
    /// How many policies there are, and what `check` warned of.
    #[must_use]
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Compares the names in the policies with a release's. A policy for what does not exist protects nothing, so it is
    /// an error, unless its author said `@ahead("why")`.
    #[must_use]
    pub fn names(&self, roster: &Roster) -> Report {
        let (desks, venues) = (roster.all_desks(), roster.all_venues());
        let mut report = Report {
            policies: self.rules.len(),
            findings: Vec::new(),
        };
        for rule in &self.rules {
            let mut find = |severity, place: Place, message: String, hint: &str| {
                report.findings.push(Finding {
                    severity,
                    line: place.line,
                    column: place.column,
                    policy: Some(rule.name.clone()),
                    message,
                    hint: Some(hint.to_owned()),
                });
            };
            let severity = if rule.ahead {
                Severity::Warning
            } else {
                Severity::Error
            };
            for (thing, place) in &rule.things {
                let exists = match thing.ty.as_str() {
                    "Strategy" => roster.strategy_named(&thing.id).is_some(),
                    "Account" => roster.account_named(&thing.id).is_some(),
                    "Desk" => desks.contains(thing.id.as_str()),
                    "Venue" => venues.contains(thing.id.as_str()),
                    "Site" => roster
                        .site
                        .as_ref()
                        .is_some_and(|site| site.as_str() == thing.id),
                    // Actions and unknown types are the validator's.
                    _ => true,
                };
                if !exists {
                    find(
                        severity,
                        *place,
                        format!("there is no {} `{}`", thing.ty.to_lowercase(), thing.id),
                        "correct the name, or add it first; if it comes later write `@ahead(\"…\")` above the policy and say why",
                    );
                }
            }
            for (slot, word, place) in &rule.words {
                match slot {
                    Slot::Destination if !roster.destinations.contains(word) => find(
                        severity,
                        *place,
                        format!("the address book has no `{word}`"),
                        "use a label of the address book; an address goes with `context.address`",
                    ),
                    Slot::Market
                        if !roster.markets.is_empty() && !roster.markets.contains(word) =>
                    {
                        find(
                            Severity::Warning,
                            *place,
                            format!("the release has no market `{word}`"),
                            "correct it, or fetch the market; until then this word matches nothing",
                        );
                    }
                    _ => {}
                }
            }
        }
        report
    }
}

/// Checks a policy text by itself. What it names is compared with a release by [`Rules::names`] and by `compile`.
pub fn check(text: &str) -> Result<Rules, CheckError> {
    let mut findings = Findings::new(text);
    let Some(Parsed {
        schema,
        policies,
        pieces,
    }) = parse(text, &mut findings)
    else {
        return Err(findings.fail());
    };
    let mut rules = Vec::new();
    let mut named = Vec::new();
    let mut ids = HashSet::new();
    for (policy, piece) in policies.iter().zip(&pieces) {
        let Some(name) = name_of(policy, piece, &mut ids, &mut findings) else {
            continue;
        };
        named.push(policy.new_id(PolicyId::new(&name)));
        if let Some(rule) = rule(name, policy, piece, &mut findings) {
            rules.push(rule);
        }
    }
    let set = match PolicySet::from_policies(named) {
        Ok(set) => set,
        Err(error) => {
            findings.whole(error.to_string());
            return Err(findings.fail());
        }
    };
    findings.validate(schema, &set);
    if findings.failed() {
        return Err(findings.fail());
    }
    if rules.is_empty() {
        findings.warn("no policies: nothing is permitted".to_owned());
    }
    unlike_things(&rules, &mut findings);
    if findings.failed() {
        return Err(findings.fail());
    }
    Ok(Rules {
        rules,
        set,
        schema,
        report: findings.report(),
    })
}

fn rule(
    name: String,
    policy: &cedar_policy::Policy,
    piece: &Piece,
    findings: &mut Findings<'_>,
) -> Option<Rule> {
    let pst = match policy.to_pst() {
        Ok(pst) => pst,
        Err(error) => {
            findings.error(piece.start, Some(&name), error.to_string(), None);
            return None;
        }
    };
    let body = pst.body();
    let mut walk = Walk::default();
    for clause in body.clauses() {
        let (Clause::When(expr) | Clause::Unless(expr)) = clause;
        walk.expression(expr);
    }
    for problem in &walk.problems {
        findings.problem(piece, &name, problem);
    }
    let principal = principal_scope(&body.principal);
    if principal.ty.is_none() && principal.equals.is_none() {
        findings.error(
            piece.start,
            Some(&name),
            "it does not name the principal's type".to_owned(),
            Some(
                "write `principal is Strategy`, `principal is Strategy in Desk::\"…\"` or `principal == Strategy::\"…\"`",
            ),
        );
    }
    if let ActionConstraint::Eq(uid) = &body.action
        && vocabulary::kinds(&uid.eid).is_some_and(|kinds| kinds.len() > 1)
    {
        findings.error(
            findings.source.token_in(piece, "==").unwrap_or(piece.start),
            Some(&name),
            format!("`{}` is a group of actions, and no request has it", uid.eid),
            Some("write `in` for a group: `action in Action::\"Trade\"`"),
        );
    }
    let Some(kinds) = kinds_of(&body.action) else {
        findings.error(
            piece.start,
            Some(&name),
            "it does not name its actions".to_owned(),
            Some(
                "write `action == Action::\"PlaceOrder\"` or a group: `action in Action::\"Trade\"`; `Action::\"Any\"` is all of them",
            ),
        );
        return None;
    };
    let things = policy
        .entity_literals()
        .into_iter()
        .map(|uid| Thing::new(&uid.type_name().to_string(), uid.id().unescaped()))
        .filter(|thing| thing.ty != "Action")
        .map(|thing| {
            let at = findings
                .source
                .name_in(piece, &format!("{}::{:?}", thing.ty, thing.id));
            (thing, findings.source.place(at))
        })
        .collect();
    let words = walk
        .words
        .into_iter()
        .filter_map(|(name, word)| {
            let at = findings.source.name_in(piece, &format!("{word:?}"));
            Some((Slot::by_name(&name)?, word, findings.source.place(at)))
        })
        .collect();
    Some(Rule {
        name,
        effect: match body.effect {
            cedar_policy::pst::Effect::Permit => Effect::Permit,
            cedar_policy::pst::Effect::Forbid => Effect::Forbid,
        },
        place: findings.source.place(piece.start),
        piece: *piece,
        ahead: policy.annotation("ahead").is_some(),
        things,
        words,
        principal,
        kinds,
        resource: resource_scope(&body.resource),
        clauses: body.clauses().clone(),
        asks_kind: walk.asks_kind,
    })
}

struct Parsed {
    schema: &'static Schema,
    policies: Vec<cedar_policy::Policy>,
    pieces: Vec<Piece>,
}

fn parse(text: &str, findings: &mut Findings<'_>) -> Option<Parsed> {
    if text.len() > TEXT_BYTES_MAX {
        findings.whole(format!(
            "the text has {} bytes, {TEXT_BYTES_MAX} are allowed; write fewer policies",
            text.len()
        ));
        return None;
    }
    let pieces = findings.source.pieces();
    findings.policies = pieces.len();
    if pieces.len() > POLICIES_MAX {
        findings.whole(format!(
            "{} policies, {POLICIES_MAX} are allowed; use sets and desks",
            pieces.len()
        ));
        return None;
    }
    for piece in &pieces {
        let bounds = [
            (
                piece.operators,
                OPERATORS_MAX,
                "has",
                "operators and brackets",
            ),
            (
                piece.nesting,
                NESTING_MAX,
                "nests",
                "deep in brackets and `if`",
            ),
        ];
        for (count, most, does, what) in bounds {
            if count > most {
                findings.error(
                    piece.start,
                    None,
                    format!("a policy {does} {count} {what}, {most} are allowed"),
                    Some("use sets and `.contains(…)`, or write several policies"),
                );
            }
        }
    }
    if findings.failed() {
        return None;
    }
    let schema = match vocabulary::schema() {
        Ok(schema) => schema,
        Err(error) => {
            findings.whole(format!(
                "the schema does not parse; please report this: {error}"
            ));
            return None;
        }
    };
    let set: PolicySet = match text.parse() {
        Ok(set) => set,
        Err(errors) => {
            for error in errors.iter() {
                findings.parse_error(error);
            }
            if !findings.failed() {
                findings.whole(errors.to_string());
            }
            return None;
        }
    };
    if set.templates().next().is_some() {
        let slot = ["?principal", "?resource"].into_iter().find_map(|slot| {
            pieces
                .iter()
                .find_map(|piece| findings.source.token_in(piece, slot))
        });
        findings.error(
            slot.unwrap_or(0),
            None,
            "templates: not supported".to_owned(),
            Some("write a policy for each case, or one for a desk"),
        );
        return None;
    }
    // Cedar numbers the policies of a text in its order.
    let policies: Vec<_> = (0..pieces.len())
        .filter_map(|at| set.policy(&PolicyId::new(format!("policy{at}"))).cloned())
        .collect();
    if policies.len() != pieces.len() || set.policies().count() != pieces.len() {
        findings.whole("the text does not fall into policies; end each with `;`".to_owned());
        return None;
    }
    Some(Parsed {
        schema,
        policies,
        pieces,
    })
}

fn name_of(
    policy: &cedar_policy::Policy,
    piece: &Piece,
    ids: &mut HashSet<String>,
    findings: &mut Findings<'_>,
) -> Option<String> {
    let Some(id) = policy.annotation("id") else {
        findings.error(
            piece.start,
            None,
            "a policy without a name".to_owned(),
            Some("write `@id(\"what-it-is-for\")` above it; refusals and the log call it that"),
        );
        return None;
    };
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_./".contains(&b);
    if id.is_empty() || id.len() > ID_BYTES_MAX || !id.bytes().all(plain) {
        findings.error(
            piece.start,
            None,
            format!(
                "{:?} is no name for a policy",
                id.chars().take(80).collect::<String>()
            ),
            Some("use 1 to 64 of letters, digits, `-`, `_`, `.`, `/`"),
        );
        return None;
    }
    if !ids.insert(id.to_owned()) {
        findings.error(
            piece.start,
            Some(id),
            "a second policy of that name".to_owned(),
            Some("give it another `@id`"),
        );
        return None;
    }
    Some(id.to_owned())
}

fn thing_of(of: &EntityOrSlot) -> Option<Thing> {
    match of {
        EntityOrSlot::Entity(uid) => Some(uid.into()),
        EntityOrSlot::Slot(_) => None,
    }
}

fn principal_scope(of: &PrincipalConstraint) -> Scope {
    let (ty, equals, within) = match of {
        PrincipalConstraint::Any => (None, None, None),
        PrincipalConstraint::Eq(one) => (None, thing_of(one), None),
        PrincipalConstraint::In(group) => (None, None, thing_of(group)),
        PrincipalConstraint::Is(ty) => (Some(ty.to_string()), None, None),
        PrincipalConstraint::IsIn(ty, group) => (Some(ty.to_string()), None, thing_of(group)),
    };
    Scope { ty, equals, within }
}

fn resource_scope(of: &ResourceConstraint) -> Scope {
    let (ty, equals, within) = match of {
        ResourceConstraint::Any => (None, None, None),
        ResourceConstraint::Eq(one) => (None, thing_of(one), None),
        ResourceConstraint::In(group) => (None, None, thing_of(group)),
        ResourceConstraint::Is(ty) => (Some(ty.to_string()), None, None),
        ResourceConstraint::IsIn(ty, group) => (Some(ty.to_string()), None, thing_of(group)),
    };
    Scope { ty, equals, within }
}

fn kinds_of(of: &ActionConstraint) -> Option<Vec<ActionKind>> {
    let named: Vec<&str> = match of {
        ActionConstraint::Any => return None,
        ActionConstraint::Eq(uid) => {
            // A group stands for itself here, and no request has it.
            let kind = ActionKind::ALL
                .into_iter()
                .find(|kind| kind.name() == uid.eid);
            return Some(kind.into_iter().collect());
        }
        ActionConstraint::In(uids) => uids.iter().map(|uid| uid.eid.as_str()).collect(),
    };
    // An action that does not exist is the validator's finding.
    let kinds: BTreeSet<ActionKind> = named
        .into_iter()
        .filter_map(vocabulary::kinds)
        .flatten()
        .collect();
    Some(kinds.into_iter().collect())
}

/// Specialises each policy for a strategy and an account that stand for any, to find what only types show.
fn unlike_things(rules: &[Rule], findings: &mut Findings<'_>) {
    let (Ok(site), Ok(any)) = (Name::new("site"), Name::new("any")) else {
        return;
    };
    let strategy = roster::Strategy {
        id: StrategyId(0),
        name: any.clone(),
        desk: Some(any.clone()),
        accounts: vec![AccountId(0)],
    };
    let account = roster::Account {
        id: AccountId(0),
        name: any.clone(),
        venue: any,
    };
    let mut roster = Roster::empty(Some(site));
    roster.strategies.push(strategy.clone());
    roster.accounts.push(account.clone());
    let world = World::new(&roster);
    for rule in rules {
        for kind in &rule.kinds {
            let known = Known {
                world: &world,
                strategy: &strategy,
                account: &account,
                kind: *kind,
            };
            match residual::conditions(&rule.clauses, &known) {
                Ok(_) | Err(Problem::Absent(_)) => {}
                Err(problem) => findings.problem(&rule.piece, &rule.name, &problem),
            }
        }
    }
}

/// Looks through an expression for what is refused wherever it stands.
#[derive(Default)]
struct Walk {
    problems: Vec<Problem>,
    asks_kind: bool,
    /// Words that stand beside an attribute of the context.
    words: Vec<(String, String)>,
}

impl Walk {
    fn expression(&mut self, expr: &Expr) {
        match expr {
            Expr::UnaryOp { op, .. } => self.unary(*op),
            Expr::BinaryOp { op, left, right } => {
                self.binary(*op);
                self.word(*op, left, right);
            }
            Expr::Var(Var::Action) | Expr::HasAttr { .. } => self.asks_kind = true,
            Expr::Var(_)
            | Expr::Literal(_)
            | Expr::GetAttr { .. }
            | Expr::Like { .. }
            | Expr::Is { .. }
            | Expr::IfThenElse { .. }
            | Expr::Set(_) => {}
            Expr::Record(_) => self.refuse("", "a record", "compare the attributes one by one"),
            Expr::Slot(_) => self.refuse("?", "a template slot", "write a policy for each case"),
            _ => self.refuse(
                "",
                "a construct that this version does not know",
                "write it with comparisons",
            ),
        }
        for child in children(expr) {
            self.expression(child);
        }
    }

    fn unary(&mut self, op: UnaryOp) {
        let dates = "compare `context.minuteOfDay` and `context.weekday`";
        match op {
            UnaryOp::Not
            | UnaryOp::Neg
            | UnaryOp::IsEmpty
            | UnaryOp::Ip
            | UnaryOp::IsIPv4
            | UnaryOp::IsIPV6
            | UnaryOp::IsLoopback
            | UnaryOp::IsMulticast => {}
            UnaryOp::Decimal => self.refuse(
                "decimal",
                "decimals",
                "compare `context.value`, in millionths of the site's currency",
            ),
            UnaryOp::Datetime => self.refuse("datetime", "dates", dates),
            UnaryOp::Duration => self.refuse("duration", "durations", dates),
            _ => self.refuse(".to", "dates and durations", dates),
        }
    }

    fn binary(&mut self, op: BinaryOp) {
        let arithmetic = "compare with a literal; a policy that overflows while it is evaluated is skipped by Cedar";
        match op {
            BinaryOp::Eq
            | BinaryOp::NotEq
            | BinaryOp::Less
            | BinaryOp::LessEq
            | BinaryOp::Greater
            | BinaryOp::GreaterEq
            | BinaryOp::And
            | BinaryOp::Or
            | BinaryOp::In
            | BinaryOp::Contains
            | BinaryOp::ContainsAll
            | BinaryOp::ContainsAny
            | BinaryOp::IsInRange => {}
            BinaryOp::Add => self.refuse("+", "a sum", arithmetic),
            BinaryOp::Sub => self.refuse("-", "a difference", arithmetic),
            BinaryOp::Mul => self.refuse("*", "a product", arithmetic),
            BinaryOp::HasTag => self.refuse("hasTag", "a tag", "use the attributes of the schema"),
            BinaryOp::GetTag => self.refuse("getTag", "a tag", "use the attributes of the schema"),
            // Their literals are refused where they stand.
            BinaryOp::Offset
            | BinaryOp::DurationSince
            | BinaryOp::DecimalLessThan
            | BinaryOp::DecimalLessEq
            | BinaryOp::DecimalGreater
            | BinaryOp::DecimalGreaterEq => {}
            _ => self.refuse(
                "",
                "an operator that this version does not know",
                "write it with comparisons",
            ),
        }
    }

    fn word(&mut self, op: BinaryOp, left: &Expr, right: &Expr) {
        let attribute = |expr: &Expr| match expr {
            Expr::GetAttr { expr, attr } if **expr == Expr::Var(Var::Context) => {
                Some(attr.to_string())
            }
            _ => None,
        };
        let (names, text) = match op {
            BinaryOp::Eq | BinaryOp::NotEq => match (attribute(left), attribute(right)) {
                (Some(name), None) => (name, right),
                (None, Some(name)) => (name, left),
                _ => return,
            },
            BinaryOp::Contains => match attribute(right) {
                Some(name) => (name, left),
                None => return,
            },
            _ => return,
        };
        let mut add = |expr: &Expr| {
            if let Expr::Literal(Literal::String(word)) = expr {
                self.words.push((names.clone(), word.to_string()));
            }
        };
        match text {
            Expr::Set(items) => items.iter().for_each(|item| add(item)),
            expr => add(expr),
        }
    }

    fn refuse(&mut self, token: &'static str, what: &str, instead: &'static str) {
        let problem = residual::unsupported(token, what, instead);
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }
}
