//! From policies to the table: for each strategy and account the policies whose scope covers them, each specialised as
//! far as what is known at load allows. A policy that looks at neither is specialised once.

use crate::check::{Rule, Rules};
use crate::report::{CheckError, Finding};
use crate::residual::{self, Known, Thing, World};
use crate::roster::{Account, Roster, Strategy};
use portcullis_model::action::ActionKind;
use portcullis_model::table::{Builder, PolicyIndex, RowId, Table, Test, TestId};
use std::collections::HashMap;

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
    let mut compiler = Compiler {
        world: &world,
        rules,
        builder: Builder::new(
            policies,
            roster
                .strategies
                .iter()
                .map(|strategy| strategy.id)
                .collect(),
            roster.accounts.iter().map(|account| account.id).collect(),
        ),
        outcomes: Vec::new(),
        outcome_ids: HashMap::new(),
        specialised: HashMap::new(),
        rows: HashMap::new(),
    };
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
        for (account, of_account) in roster.accounts.iter().zip(&of_account) {
            let row = compiler.row(of_strategy.both(of_account), strategy, account)?;
            compiler.builder.place(strategy.id, account.id, row);
        }
    }
    Ok(compiler.builder.finish())
}

struct Compiler<'a> {
    world: &'a World<'a>,
    rules: &'a [Rule],
    builder: Builder,
    outcomes: Vec<Outcome>,
    outcome_ids: HashMap<Outcome, usize>,
    /// By policy, and by strategy and account where its conditions look at them.
    specialised: HashMap<(usize, Option<u64>, Option<u64>), usize>,
    rows: HashMap<Vec<(usize, usize)>, RowId>,
}

impl Compiler<'_> {
    fn row(
        &mut self,
        rules: impl Iterator<Item = usize>,
        strategy: &Strategy,
        account: &Account,
    ) -> Result<RowId, Box<Finding>> {
        let mut left = Vec::new();
        for at in rules {
            left.push((at, self.specialise(at, strategy, account)?));
        }
        if let Some(row) = self.rows.get(&left) {
            return Ok(*row);
        }
        let outcomes = &self.outcomes;
        let row = self.builder.row(|kind| {
            let test =
                |outcome: usize| outcomes.get(outcome)?.get(kind as usize).copied().flatten();
            left.iter()
                .filter_map(|(at, outcome)| {
                    Some((PolicyIndex(u32::try_from(*at).ok()?), test(*outcome)?))
                })
                .collect()
        });
        self.rows.insert(left, row);
        Ok(row)
    }

    fn specialise(
        &mut self,
        at: usize,
        strategy: &Strategy,
        account: &Account,
    ) -> Result<usize, Box<Finding>> {
        let Some(rule) = self.rules.get(at) else {
            return Ok(usize::MAX);
        };
        let key = (
            at,
            rule.reads.principal.then_some(strategy.id.0),
            rule.reads.resource.then_some(account.id.0),
        );
        if let Some(outcome) = self.specialised.get(&key) {
            return Ok(*outcome);
        }
        let mut outcome: Outcome = [None; KINDS];
        let mut once: Option<Test> = None;
        for kind in &rule.kinds {
            let test = match &once {
                Some(test) if !rule.reads.kind => test.clone(),
                _ => {
                    let known = Known {
                        world: self.world,
                        strategy,
                        account,
                        kind: *kind,
                    };
                    residual::conditions(&rule.clauses, &known).map_err(|problem| {
                        Box::new(Finding::problem(rule.place, &rule.name, &problem))
                    })?
                }
            };
            if let Some(place) = outcome.get_mut(*kind as usize) {
                *place = (test != Test::Never).then(|| self.builder.test(&test));
            }
            once = Some(test);
        }
        let next = self.outcomes.len();
        let id = *self.outcome_ids.entry(outcome).or_insert(next);
        if id == next {
            self.outcomes.push(outcome);
        }
        self.specialised.insert(key, id);
        Ok(id)
    }
}

/// A set of policies, by place.
struct Bits(Vec<u64>);

impl Bits {
    fn of(rules: &[Rule], covers: impl Fn(&Rule) -> bool) -> Self {
        let word = |rules: &[Rule]| {
            rules.iter().enumerate().fold(0u64, |word, (at, rule)| {
                word | u64::from(covers(rule)) << at
            })
        };
        Self(rules.chunks(64).map(word).collect())
    }

    fn both<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = usize> + 'a {
        self.0
            .iter()
            .zip(&other.0)
            .enumerate()
            .flat_map(|(chunk, (a, b))| {
                let both = a & b;
                (0..64)
                    .filter(move |at| both >> at & 1 == 1)
                    .map(move |at| chunk * 64 + at)
            })
    }
}
