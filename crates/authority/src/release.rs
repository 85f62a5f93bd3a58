//! A release's authority as the signer holds it: the table decides, full Cedar looks on.
//!
//! | what | who decides |
//! |---|---|
//! | orders, cancels, reads, settings | the table; every [`SAMPLE_EVERY`]th decision is judged again by Cedar, on another thread |
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
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};

/// One in so many decisions is judged again by full Cedar.
pub const SAMPLE_EVERY: NonZeroU32 = NonZeroU32::new(1024).unwrap();
/// Samples that wait for Cedar at most; beyond it a sample is left out.
pub const SAMPLES_WAITING_MAX: usize = 64;

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
    let governing = Governing::new(table, oracle, SAMPLE_EVERY)
        .map_err(|error| format!("no thread for the authority's samples: {error}"))?;
    Ok(Box::new(governing))
}

const FILE: &str = "authority.cedar";

/// A table with its oracle beside it.
#[derive(Debug)]
pub struct Governing {
    both: Arc<Both>,
    every: NonZeroU32,
    asked: AtomicU32,
    samples: SyncSender<Question>,
}

#[derive(Debug)]
struct Both {
    table: Table,
    oracle: Oracle,
    mismatch: OnceLock<Mismatch>,
}

impl Governing {
    /// Starts the thread that judges samples; it ends with the authority.
    pub fn new(table: Table, oracle: Oracle, every: NonZeroU32) -> std::io::Result<Self> {
        let both = Arc::new(Both {
            table,
            oracle,
            mismatch: OnceLock::new(),
        });
        let (samples, waiting) = sync_channel(SAMPLES_WAITING_MAX);
        let beside = Arc::clone(&both);
        std::thread::Builder::new()
            .name("oracle".to_owned())
            .spawn(move || beside.look_on(&waiting))?;
        Ok(Self {
            both,
            every,
            asked: AtomicU32::new(0),
            samples,
        })
    }

    #[must_use]
    pub fn table(&self) -> &Table {
        &self.both.table
    }
}

impl Both {
    fn look_on(&self, samples: &Receiver<Question>) {
        for question in samples {
            if let Err(mismatch) = self.oracle.compare(&self.table, &question) {
                let _ = self.mismatch.set(mismatch);
            }
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
        } else if self.asked.fetch_add(1, Ordering::Relaxed) % self.every == 0 {
            // Full or gone: the sample is left out, the decision stands.
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
