//! From policies to the table: for each strategy and account the policies whose scope covers them, each specialised as
//! far as what is known at load allows. Strategies that answer a policy's questions alike share what is left of it.

use crate::atoms::{Answer, Answers, Atoms};
use crate::check::{Rule, Rules};
use crate::report::{CheckError, Finding};
use crate::residual::{self, Known, Thing, World};
use crate::roster::Roster;
use portcullis_model::action::ActionKind;
use portcullis_model::id::Name;
use portcullis_model::table::{Builder, GroupId, PolicyIndex, Table, Test, TestId};
use std::collections::HashMap;

/// What a decision may cost by [`Table::dearest`]. Policies that would cost more are refused.
pub const DECISION_NS_MAX: u32 = 1_500;
const KINDS: usize = ActionKind::ALL.len();

/// What is left of one policy for each kind of action.
type Outcome = [Option<TestId>; KINDS];

/// The table that the signer evaluates. Refuses what [`Rules::names`] finds wrong, and policies that would make a
/// decision slow.
pub fn compile(rules: &Rules, roster: &Roster) -> Result<Table, CheckError> {
    let mut report = rules.names(roster);
    let done = match roster.check() {
        Ok(()) if report.passes() => table(&rules.rules, roster),
        Ok(()) => return Err(CheckError(report)),
        Err(error) => Err(Box::new(Finding::whole(error.to_string()))),
    };
    done.map_err(|finding| {
        report.findings.push(*finding);
        CheckError(report)
    })
}

fn table(rules: &[Rule], roster: &Roster) -> Result<Table, Box<Finding>> {
    let world = World::new(roster);
    let policies = rules
        .iter()
        .map(|rule| (rule.name.as_str().into(), rule.effect))
        .collect();
    let strategies = roster.strategies.iter().map(|s| s.id).collect();
    let accounts = roster.accounts.iter().map(|a| a.id).collect();
    let mut atoms = Atoms::default();
    let mut compiler = Compiler {
        rules,
        questions: rules.iter().map(|rule| atoms.add(rule)).collect(),
        builder: Builder::new(policies, strategies, accounts),
        groups: HashMap::new(),
        specialised: HashMap::new(),
    };
    let breadths = Breadth::ALL.map(|breadth| {
        let of = Bits::of(rules, |rule| Breadth::of(rule) == breadth);
        let mut asked: Vec<usize> = of.iter().flat_map(|at| compiler.questions_of(at)).collect();
        asked.sort_unstable();
        asked.dedup();
        (of, asked)
    });
    let of_account: Vec<Bits> = roster
        .accounts
        .iter()
        .map(|account| {
            let thing = Thing::new("Account", account.name.as_str());
            Bits::of(rules, |rule| rule.resource.covers(&thing, &world))
        })
        .collect();
    for strategy in &roster.strategies {
        let thing = Thing::new("Strategy", strategy.name.as_str());
        let of_strategy = Bits::of(rules, |rule| rule.principal.covers(&thing, &world));
        let mut answers: Option<Answers> = None;
        for (account, of_account) in roster.accounts.iter().zip(&of_account) {
            let known = Known {
                world: &world,
                strategy,
                account,
                // No question is about it.
                kind: ActionKind::Read,
            };
            let of_strategy_alone = answers.get_or_insert_with(|| atoms.of_strategy(&known));
            let answers = atoms.of_pair(of_strategy_alone, &known);
            let covering = of_strategy.and(of_account);
            let mut groups = Vec::with_capacity(breadths.len());
            for (of_breadth, asked) in &breadths {
                let policies = covering.and(of_breadth);
                groups.push(compiler.group(policies, answers.of(asked), &answers, &known)?);
            }
            let row = compiler.builder.row(&groups);
            compiler.builder.place(strategy.id, account.id, row);
        }
    }
    let table = compiler.builder.finish();
    not_too_dear(&table, roster)?;
    Ok(table)
}

/// The table's promise is a time, whatever the number of policies.
fn not_too_dear(table: &Table, roster: &Roster) -> Result<(), Box<Finding>> {
    let Some(dearest) = table.dearest().filter(|d| d.cost_ns > DECISION_NS_MAX) else {
        return Ok(());
    };
    let strategy = roster.strategies.iter().find(|s| s.id == dearest.strategy);
    let account = roster.accounts.iter().find(|a| a.id == dearest.account);
    let name = |name: Option<&Name>| name.map_or_else(String::new, ToString::to_string);
    let mut finding = Finding::whole(format!(
        "too many policies are looked at one after the other: about {} ns for a {} of strategy `{}` on account `{}`, \
         {DECISION_NS_MAX} are allowed",
        dearest.cost_ns,
        dearest.kind,
        name(strategy.map(|s| &s.name)),
        name(account.map(|a| &a.name)),
    ));
    finding.hint = Some(
        "policies that begin with `context.market == \"…\"` or `[\"…\"].contains(context.market)` are found by it; or \
         say a desk, a strategy or an account, or put words and figures in one policy's set"
            .to_owned(),
    );
    Err(Box::new(finding))
}

/// How many strategies a policy is about. Those about everybody make one group that all rows share.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Breadth {
    All,
    Group,
    One,
}

impl Breadth {
    const ALL: [Self; 3] = [Self::All, Self::Group, Self::One];

    fn of(rule: &Rule) -> Self {
        match (&rule.principal.equals, &rule.principal.within) {
            (Some(_), _) => Self::One,
            (None, Some(_)) => Self::Group,
            (None, None) => Self::All,
        }
    }
}

struct Compiler<'a> {
    rules: &'a [Rule],
    /// By policy: what it asks of strategy and account.
    questions: Vec<Vec<usize>>,
    builder: Builder,
    /// By the policies and what strategy and account answer to all of them.
    groups: HashMap<(Bits, Box<[Answer]>), GroupId>,
    /// By the policy and what strategy and account answer to it.
    specialised: HashMap<(usize, Box<[Answer]>), Outcome>,
}

impl Compiler<'_> {
    fn questions_of(&self, policy: usize) -> impl Iterator<Item = usize> + '_ {
        self.questions.get(policy).into_iter().flatten().copied()
    }

    fn group(
        &mut self,
        policies: Bits,
        answered: Box<[Answer]>,
        answers: &Answers,
        known: &Known<'_>,
    ) -> Result<GroupId, Box<Finding>> {
        let key = (policies, answered);
        if let Some(group) = self.groups.get(&key) {
            return Ok(*group);
        }
        let mut left = Vec::new();
        for at in key.0.iter() {
            left.push((at, self.specialise(at, answers, known)?));
        }
        let group = self.builder.group(|kind| {
            left.iter()
                .filter_map(|(at, outcome)| {
                    let test = outcome.get(kind as usize).copied().flatten()?;
                    Some((PolicyIndex(u32::try_from(*at).ok()?), test))
                })
                .collect()
        });
        self.groups.insert(key, group);
        Ok(group)
    }

    fn specialise(
        &mut self,
        at: usize,
        answers: &Answers,
        known: &Known<'_>,
    ) -> Result<Outcome, Box<Finding>> {
        let (Some(rule), Some(questions)) = (self.rules.get(at), self.questions.get(at)) else {
            return Ok([None; KINDS]);
        };
        let key = (at, answers.of(questions));
        if let Some(outcome) = self.specialised.get(&key) {
            return Ok(*outcome);
        }
        let mut outcome: Outcome = [None; KINDS];
        let mut once: Option<Test> = None;
        for kind in &rule.kinds {
            let test = match &once {
                Some(test) if !rule.asks_kind => test.clone(),
                _ => residual::conditions(
                    &rule.clauses,
                    &Known {
                        kind: *kind,
                        ..*known
                    },
                )
                .map_err(|problem| Box::new(Finding::problem(rule.place, &rule.name, &problem)))?,
            };
            if let Some(place) = outcome.get_mut(*kind as usize) {
                *place = (test != Test::Never).then(|| self.builder.test(&test));
            }
            once = Some(test);
        }
        self.specialised.insert(key, outcome);
        Ok(outcome)
    }
}

/// A set of policies, by place.
#[derive(PartialEq, Eq, Hash)]
struct Bits(Box<[u64]>);

impl Bits {
    fn of(rules: &[Rule], covers: impl Fn(&Rule) -> bool) -> Self {
        let word = |rules: &[Rule]| {
            rules.iter().enumerate().fold(0u64, |word, (at, rule)| {
                word | u64::from(covers(rule)) << at
            })
        };
        Self(rules.chunks(64).map(word).collect())
    }

    fn and(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(a, b)| a & b).collect())
    }

    fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.0.iter().enumerate().flat_map(|(chunk, word)| {
            (0..64)
                .filter(move |at| word >> at & 1 == 1)
                .map(move |at| chunk * 64 + at)
        })
    }
}
