//! A release's authority as the signer holds it: the table decides, full Cedar looks on.
//!
//! | what | who decides |
//! |---|---|
//! | orders, cancels, reads, settings | the table; Cedar judges again on another thread: each decision while they are few, else one every [`PAUSE_MIN`] |
//! | what moves value, keys, sub-accounts | the table, and where it permits, Cedar too: both must |
//!
//! If the two ever disagree, that is a bug of ours. From then on only what lowers risk is permitted (cancels, reads,
//! orders known to reduce), and [`Authority::mismatch`] says it until another release is in force.

use crate::check::check;
use crate::compile::compile;
use crate::oracle::{Decision, Mismatch, Oracle, Question};
use crate::roster::Roster;
use crate::vocabulary;
use portcullis_model::action::ActionKind;
use portcullis_model::id::{AccountId, StrategyId};
use portcullis_model::release::{Authority, Files, Judgement};
use portcullis_model::state::State;
use portcullis_model::table::{Facts, Table};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// Between two samples at least.
pub const PAUSE_MIN: Duration = Duration::from_millis(10);
/// And so many times what the last one took, so that samples take a hundredth of a core at most.
pub const PAUSE_TIMES: u32 = 99;

/// Compiles the release's `authority.cedar` for the strategies and accounts of `state`. What is wrong comes back as text
/// for the operator.
pub fn compile_release(files: &Files, state: &State) -> Result<Box<dyn Authority>, String> {
    let roster = Roster::of_release(files, state);
    let text = files.get(FILE).ok_or_else(|| {
        format!("the release has no `{FILE}`; `portcullis init` writes one to start from")
    })?;
    let wrong = |error: &dyn std::fmt::Display| format!("{FILE}: {error}");
    let rules = check(text).map_err(|error| wrong(&error))?;
    let table = compile(&rules, &roster).map_err(|error| wrong(&error))?;
    let oracle = Oracle::new(rules, roster).map_err(|error| wrong(&error))?;
    let governing = Governing::new(table, oracle)
        .map_err(|error| format!("no thread for the authority's samples: {error}"))?;
    Ok(Box::new(governing))
}

const ORACLE_STACK_BYTES: usize = 1 << 20;
const FILE: &str = "authority.cedar";

/// A table with its oracle beside it.
#[derive(Debug)]
pub struct Governing {
    both: Arc<Both>,
    samples: SyncSender<Question>,
}

#[derive(Debug)]
struct Both {
    table: Table,
    oracle: Oracle,
    /// Cedar takes the next decision.
    ready: AtomicBool,
    mismatch: OnceLock<Mismatch>,
}

impl Governing {
    /// Starts the thread that judges samples; it ends with the authority.
    pub fn new(table: Table, oracle: Oracle) -> std::io::Result<Self> {
        let both = Arc::new(Both {
            table,
            oracle,
            ready: AtomicBool::new(true),
            mismatch: OnceLock::new(),
        });
        let (samples, waiting) = sync_channel(1);
        let beside = Arc::clone(&both);
        std::thread::Builder::new()
            .name("oracle".to_owned())
            // Locked memory in the signer; the language's bounds keep Cedar's recursion far below.
            .stack_size(ORACLE_STACK_BYTES)
            .spawn(move || beside.look_on(&waiting))?;
        Ok(Self { both, samples })
    }

    #[must_use]
    pub fn table(&self) -> &Table {
        &self.both.table
    }
}

impl Both {
    fn look_on(&self, samples: &Receiver<Question>) {
        for question in samples {
            let started = Instant::now();
            if let Err(mismatch) = self.oracle.compare(&self.table, &question) {
                let _ = self.mismatch.set(mismatch);
            }
            let pause = started.elapsed().saturating_mul(PAUSE_TIMES);
            std::thread::sleep(pause.max(PAUSE_MIN));
            self.ready.store(true, Ordering::Relaxed);
        }
    }

    /// Cedar permits it too.
    fn cedar_permits(
        &self,
        strategy: StrategyId,
        account: AccountId,
        kind: ActionKind,
        facts: &Facts<'_>,
    ) -> bool {
        if let Decision::Permit(_) = self.oracle.decide(strategy, account, kind, facts) {
            return true;
        }
        let question = Question {
            strategy,
            account,
            kind,
            facts: facts.into(),
        };
        if let Err(mismatch) = self.oracle.compare(&self.table, &question) {
            let _ = self.mismatch.set(mismatch);
        }
        false
    }
}

impl Authority for Governing {
    fn judge(
        &self,
        strategy: StrategyId,
        kind: ActionKind,
        account: AccountId,
        facts: &Facts<'_>,
    ) -> Judgement {
        let both = &*self.both;
        if both.mismatch.get().is_some() && !lowers_risk(kind, facts) {
            return Judgement::NoPermit;
        }
        let judgement = both.table.judge(strategy, kind, account, facts);
        if vocabulary::is_grave(kind) {
            let permits = matches!(judgement, Judgement::Permit { .. });
            if permits && !both.cedar_permits(strategy, account, kind, facts) {
                return Judgement::NoPermit;
            }
        } else if both.ready.load(Ordering::Relaxed) && both.ready.swap(false, Ordering::Relaxed) {
            // The thread is gone only with the authority; the decision stands.
            let _ = self.samples.try_send(Question {
                strategy,
                account,
                kind,
                facts: facts.into(),
            });
        }
        judgement
    }

    fn mismatch(&self) -> Option<String> {
        self.both.mismatch.get().map(ToString::to_string)
    }
}

fn lowers_risk(kind: ActionKind, facts: &Facts<'_>) -> bool {
    match kind {
        ActionKind::CancelOrder | ActionKind::CancelAll | ActionKind::Read | ActionKind::Public => {
            true
        }
        ActionKind::PlaceOrder | ActionKind::AmendOrder => facts.reduces == Some(true),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{MAIN, MM, order, roster, said};
    use std::time::Duration;

    fn permit(id: &str, actions: &str, conditions: &str) -> String {
        format!(
            "@id(\"{id}\") permit (principal is Strategy, action in {actions}, resource is Account) {conditions};"
        )
    }

    fn governing(table: &str, oracle: &str) -> Governing {
        let table = compile(&check(table).unwrap(), &roster()).unwrap();
        Governing::new(
            table,
            Oracle::new(check(oracle).unwrap(), roster()).unwrap(),
        )
        .unwrap()
    }

    fn judged(governing: &Governing, kind: ActionKind, facts: &crate::OwnedFacts) -> bool {
        let judgement = governing.judge(MM, kind, MAIN, &facts.facts());
        matches!(judgement, Judgement::Permit { .. })
    }

    fn found_out(governing: &Governing) -> Option<String> {
        for _ in 0..500 {
            if let Some(found) = governing.mismatch() {
                return Some(found);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        None
    }

    #[test]
    fn a_mismatch_leaves_what_lowers_risk_and_says_so() {
        let any = permit("any", "Action::\"Any\"", "");
        let less = permit("any", "Action::\"Any\"", "when { context.observe }");
        let governing = governing(&any, &less);
        // The table decides, and is found out beside it.
        assert!(judged(&governing, ActionKind::PlaceOrder, &order()));
        assert!(
            found_out(&governing)
                .unwrap()
                .contains("please report this")
        );
        let reducing = crate::OwnedFacts {
            reduces: Some(true),
            ..order()
        };
        assert!(!judged(&governing, ActionKind::PlaceOrder, &order()));
        assert!(!judged(&governing, ActionKind::Session, &said()));
        assert!(judged(&governing, ActionKind::PlaceOrder, &reducing));
        assert!(judged(&governing, ActionKind::CancelOrder, &order()));
    }

    #[test]
    fn few_decisions_are_all_judged_twice_and_agree() {
        let text = permit(
            "trade",
            "Action::\"Trade\"",
            "when { context.value < 1000000 }",
        );
        let governing = governing(&text, &text);
        for value in [1, 999_999, 1_000_000, i64::MAX] {
            let facts = crate::OwnedFacts {
                value: Some(value),
                ..order()
            };
            assert_eq!(
                judged(&governing, ActionKind::PlaceOrder, &facts),
                value < 1_000_000
            );
            for _ in 0..500 {
                if governing.both.ready.load(Ordering::Relaxed) {
                    break;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            assert!(governing.both.ready.load(Ordering::Relaxed));
        }
        assert_eq!(governing.mismatch(), None);
        assert!(judged(
            &governing,
            ActionKind::PlaceOrder,
            &crate::OwnedFacts {
                value: Some(5),
                ..order()
            }
        ));
    }

    #[test]
    fn what_moves_value_needs_both_at_once() {
        let out = |conditions| permit("out", "Action::\"ValueOut\"", conditions);
        let facts = crate::OwnedFacts {
            value: Some(1),
            approvals: Some(1),
            ..said()
        };
        let lax = governing(
            &out("when { context.approvals >= 1 }"),
            &out("when { context.approvals >= 2 }"),
        );
        assert!(!judged(&lax, ActionKind::Withdraw, &facts));
        assert!(lax.mismatch().is_some());
        let same = governing(
            &out("when { context.approvals >= 1 }"),
            &out("when { context.approvals >= 1 }"),
        );
        assert!(judged(&same, ActionKind::Withdraw, &facts));
        assert_eq!(same.mismatch(), None);
    }
}
