//! What a policy asks of strategy and account alone, without `context`. Strategies and accounts that answer all of it
//! alike have the same policies left over, so that each policy is specialised once for each answer, not for each pair.

use crate::check::Rule;
use crate::residual::{self, Known, Value};
use cedar_policy::pst::{Clause, Expr, Var};
use std::collections::{BTreeMap, HashMap};

/// A value's number; 0 for what has none (an attribute that is absent behind a guard).
pub(crate) type Answer = u32;

/// The questions of some policies, each held once.
#[derive(Default)]
pub(crate) struct Atoms {
    questions: Vec<Question>,
    by_text: HashMap<String, usize>,
    answers: BTreeMap<Value, Answer>,
}

struct Question {
    expr: Expr,
    about: Mentions,
}

/// Answers of one strategy on one account, by question.
pub(crate) struct Answers(Vec<Answer>);

impl Answers {
    pub fn of(&self, questions: &[usize]) -> Box<[Answer]> {
        let answer = |at: &usize| self.0.get(*at).copied().unwrap_or(0);
        questions.iter().map(answer).collect()
    }
}

impl Atoms {
    /// The questions of a policy.
    pub fn add(&mut self, rule: &Rule) -> Vec<usize> {
        let mut found = Vec::new();
        for clause in &rule.clauses {
            let (Clause::When(expr) | Clause::Unless(expr)) = clause;
            self.collect(expr, &mut found);
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    /// What a strategy answers whatever the account; `known` names any.
    pub fn of_strategy(&mut self, known: &Known<'_>) -> Answers {
        let nothing = Answers(vec![0; self.questions.len()]);
        self.fill(nothing, known, |about| !about.resource)
    }

    /// The rest, of a strategy on an account.
    pub fn of_pair(&mut self, strategy: &Answers, known: &Known<'_>) -> Answers {
        self.fill(Answers(strategy.0.clone()), known, |about| about.resource)
    }

    fn fill(
        &mut self,
        mut answers: Answers,
        known: &Known<'_>,
        which: impl Fn(Mentions) -> bool,
    ) -> Answers {
        for (question, answer) in self.questions.iter().zip(&mut answers.0) {
            if !which(question.about) {
                continue;
            }
            *answer = residual::known(&question.expr, known).map_or(0, |value| {
                let next = Answer::try_from(self.answers.len() + 1).unwrap_or(Answer::MAX);
                *self.answers.entry(value).or_insert(next)
            });
        }
        answers
    }

    fn collect(&mut self, expr: &Expr, found: &mut Vec<usize>) {
        let about = mentions(expr);
        if !about.principal && !about.resource {
            return;
        }
        if about.other {
            for child in children(expr) {
                self.collect(child, found);
            }
            return;
        }
        let next = self.questions.len();
        let at = *self.by_text.entry(format!("{expr:?}")).or_insert(next);
        if at == next {
            self.questions.push(Question {
                expr: expr.clone(),
                about,
            });
        }
        found.push(at);
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Mentions {
    principal: bool,
    resource: bool,
    /// Action or context.
    other: bool,
}

fn mentions(expr: &Expr) -> Mentions {
    let mut all = Mentions {
        principal: *expr == Expr::Var(Var::Principal),
        resource: *expr == Expr::Var(Var::Resource),
        other: matches!(expr, Expr::Var(Var::Action | Var::Context)),
    };
    for of in children(expr).into_iter().map(mentions) {
        all.principal |= of.principal;
        all.resource |= of.resource;
        all.other |= of.other;
    }
    all
}

/// The expressions of which one is made. What this version does not know has none, and is refused by the check.
pub(crate) fn children(expr: &Expr) -> Vec<&Expr> {
    match expr {
        Expr::UnaryOp { expr, .. }
        | Expr::GetAttr { expr, .. }
        | Expr::HasAttr { expr, .. }
        | Expr::Like { expr, .. } => vec![expr],
        Expr::BinaryOp { left, right, .. } => vec![left, right],
        Expr::Is { expr, in_expr, .. } => std::iter::once(expr)
            .chain(in_expr)
            .map(|expr| &**expr)
            .collect(),
        Expr::IfThenElse {
            cond,
            then_expr,
            else_expr,
        } => vec![cond, then_expr, else_expr],
        Expr::Set(items) => items.iter().map(|item| &**item).collect(),
        _ => Vec::new(),
    }
}
