//! Full Cedar, as the oracle: it judges the same question as the table, from the policies as they were written. Tests
//! compare the two on random policies and requests; the signer compares a sample while it runs.
//!
//! Here an error of any policy refuses. Cedar would skip the policy and go on.

use crate::check::{Rule, Rules};
use crate::residual::{Thing, World};
use crate::roster::{Roster, RosterError};
use crate::vocabulary;
use cedar_policy::{
    Authorizer, Context, Decision as CedarDecision, Entities, EntityUid, Request,
    RestrictedExpression,
};
use portcullis_model::action::{ActionKind, MarketKind, OrderType, ReadOf, Side, TimeInForce};
use portcullis_model::id::{AccountId, StrategyId, Timestamp};
use portcullis_model::table::{Effect, Facts, SlotType, Table, Unfit, Verdict, slots};
use serde::Serialize;
use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;

/// What authority is asked, kept for later.
#[derive(Debug, Clone)]
pub struct Question {
    pub strategy: StrategyId,
    pub account: AccountId,
    pub kind: ActionKind,
    pub facts: OwnedFacts,
}

/// [`Facts`] with their own texts.
#[derive(Debug, Clone)]
pub struct OwnedFacts {
    pub source: IpAddr,
    pub minute_of_day: i64,
    pub weekday: i64,
    pub observe: bool,
    pub market: Option<String>,
    pub market_kind: Option<MarketKind>,
    pub side: Option<Side>,
    pub order_type: Option<OrderType>,
    pub time_in_force: Option<TimeInForce>,
    pub value: Option<i64>,
    pub reduces: Option<bool>,
    pub post_only: Option<bool>,
    pub borrows: Option<bool>,
    pub reads: Option<ReadOf>,
    pub asset: Option<String>,
    pub to_asset: Option<String>,
    pub from: Option<String>,
    pub destination: Option<String>,
    pub address: Option<String>,
    pub network: Option<String>,
    pub setting: Option<String>,
    pub approvals: Option<i64>,
}

impl From<&Facts<'_>> for OwnedFacts {
    fn from(facts: &Facts<'_>) -> Self {
        let own = |text: Option<&str>| text.map(ToOwned::to_owned);
        Self {
            source: facts.source(),
            minute_of_day: facts.minute_of_day,
            weekday: facts.weekday,
            observe: facts.observe,
            market: own(facts.market),
            market_kind: facts.market_kind,
            side: facts.side,
            order_type: facts.order_type,
            time_in_force: facts.time_in_force,
            value: facts.value,
            reduces: facts.reduces,
            post_only: facts.post_only,
            borrows: facts.borrows,
            reads: facts.reads,
            asset: own(facts.asset),
            to_asset: own(facts.to_asset),
            from: own(facts.from),
            destination: own(facts.destination),
            address: own(facts.address),
            network: own(facts.network),
            setting: own(facts.setting),
            approvals: facts.approvals,
        }
    }
}

impl OwnedFacts {
    #[must_use]
    pub fn facts(&self) -> Facts<'_> {
        let mut facts = Facts::new(self.source, Timestamp(0), self.observe);
        facts.minute_of_day = self.minute_of_day;
        facts.weekday = self.weekday;
        facts.market = self.market.as_deref();
        facts.market_kind = self.market_kind;
        facts.side = self.side;
        facts.order_type = self.order_type;
        facts.time_in_force = self.time_in_force;
        facts.value = self.value;
        facts.reduces = self.reduces;
        facts.post_only = self.post_only;
        facts.borrows = self.borrows;
        facts.reads = self.reads;
        facts.asset = self.asset.as_deref();
        facts.to_asset = self.to_asset.as_deref();
        facts.from = self.from.as_deref();
        facts.destination = self.destination.as_deref();
        facts.address = self.address.as_deref();
        facts.network = self.network.as_deref();
        facts.setting = self.setting.as_deref();
        facts.approvals = self.approvals;
        facts
    }
}

/// What full Cedar says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// All permits that hold.
    Permit(Vec<String>),
    /// All forbids that hold.
    Forbid(Vec<String>),
    NoPermit,
    /// The request could not be judged, or a policy failed.
    Refused(String),
}

/// The table and full Cedar do not agree: a bug of ours. Whoever finds it stops what authority governs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    pub table: String,
    pub oracle: Decision,
    pub question: String,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the compiled policies say {}, Cedar says {:?}, of {}; nothing more is permitted; please report this",
            self.table, self.oracle, self.question
        )
    }
}

impl std::error::Error for Mismatch {}

/// Full Cedar over the same policies and roster as a table. Slow: for tests, explanations and samples.
pub struct Oracle {
    entities: Entities,
    authorizer: Authorizer,
    strategies: HashMap<StrategyId, EntityUid>,
    accounts: HashMap<AccountId, EntityUid>,
    actions: HashMap<ActionKind, EntityUid>,
    rules: Rules,
    roster: Roster,
}

impl fmt::Debug for Oracle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Oracle")
            .field("policies", &self.rules.rules.len())
            .finish_non_exhaustive()
    }
}

impl Oracle {
    pub fn new(rules: Rules, roster: Roster) -> Result<Self, RosterError> {
        roster.check()?;
        let entities = roster.entities(rules.schema)?;
        let uid = |ty: &str, id: &str| {
            vocabulary::uid(ty, id).map_err(|e| RosterError::Bug(e.to_string()))
        };
        let mut strategies = HashMap::new();
        for strategy in &roster.strategies {
            strategies.insert(strategy.id, uid("Strategy", strategy.name.as_str())?);
        }
        let mut accounts = HashMap::new();
        for account in &roster.accounts {
            accounts.insert(account.id, uid("Account", account.name.as_str())?);
        }
        let mut actions = HashMap::new();
        for kind in ActionKind::ALL {
            actions.insert(kind, uid("Action", kind.name())?);
        }
        Ok(Self {
            entities,
            authorizer: Authorizer::new(),
            strategies,
            accounts,
            actions,
            rules,
            roster,
        })
    }

    #[must_use]
    pub fn roster(&self) -> &Roster {
        &self.roster
    }

    /// Judges one action from the policies as they were written.
    #[must_use]
    pub fn decide(
        &self,
        strategy: StrategyId,
        account: AccountId,
        kind: ActionKind,
        facts: &Facts<'_>,
    ) -> Decision {
        let request = match self.request(strategy, account, kind, facts) {
            Ok(request) => request,
            Err(why) => return Decision::Refused(why),
        };
        let response = self
            .authorizer
            .is_authorized(&request, &self.rules.set, &self.entities);
        let errors: Vec<String> = response
            .diagnostics()
            .errors()
            .map(ToString::to_string)
            .collect();
        if !errors.is_empty() {
            return Decision::Refused(errors.join("; "));
        }
        let mut policies: Vec<String> = response
            .diagnostics()
            .reason()
            .map(ToString::to_string)
            .collect();
        policies.sort();
        match response.decision() {
            CedarDecision::Allow => Decision::Permit(policies),
            CedarDecision::Deny if policies.is_empty() => Decision::NoPermit,
            CedarDecision::Deny => Decision::Forbid(policies),
        }
    }

    /// Whether table and Cedar agree, on the verdict and on every policy that decided.
    pub fn compare(&self, table: &Table, question: &Question) -> Result<(), Mismatch> {
        let facts = question.facts.facts();
        let (strategy, account, kind) = (question.strategy, question.account, question.kind);
        let verdict = table.evaluate(strategy, account, kind, &facts);
        let oracle = self.decide(strategy, account, kind, &facts);
        let deciding = table.deciding(strategy, account, kind, &facts);
        let mut names: Vec<String> = deciding
            .iter()
            .flatten()
            .filter_map(|policy| table.policy(*policy))
            .map(|(name, _)| name.to_owned())
            .collect();
        names.sort();
        let decided = table.decided_by(&verdict).unwrap_or_default();
        let agrees = match (&verdict, &oracle) {
            (Verdict::Permit { .. }, Decision::Permit(policies))
            | (Verdict::Forbid { .. }, Decision::Forbid(policies)) => {
                *policies == names && policies.iter().any(|name| name == decided)
            }
            (Verdict::NoPermit, Decision::NoPermit) => names.is_empty(),
            // A rule that read an absent fact must never occur, whatever Cedar says.
            (Verdict::Unfit(Unfit::Unread { .. }), _) => false,
            (Verdict::Unfit(_), Decision::Refused(_)) => true,
            _ => false,
        };
        if agrees {
            return Ok(());
        }
        Err(Mismatch {
            table: format!("{verdict:?} {names:?}"),
            oracle,
            question: format!("{question:?}"),
        })
    }

    fn request(
        &self,
        strategy: StrategyId,
        account: AccountId,
        kind: ActionKind,
        facts: &Facts<'_>,
    ) -> Result<Request, String> {
        let principal = self
            .strategies
            .get(&strategy)
            .ok_or_else(|| Unfit::Strategy.to_string())?;
        let resource = self
            .accounts
            .get(&account)
            .ok_or_else(|| Unfit::Account.to_string())?;
        let action = self
            .actions
            .get(&kind)
            .ok_or("the action is not in the schema")?;
        let mut pairs = Vec::new();
        for (slot, _) in slots(kind) {
            let value = match slot.slot_type() {
                SlotType::Address => Some(RestrictedExpression::new_ip(plain(facts.source()))),
                SlotType::Long => facts.long(*slot).map(RestrictedExpression::new_long),
                SlotType::Flag => facts.flag(*slot).map(RestrictedExpression::new_bool),
                SlotType::Text => facts
                    .text(*slot)
                    .map(|text| RestrictedExpression::new_string(text.to_owned())),
                SlotType::Word => facts
                    .word(*slot)
                    .map(|word| RestrictedExpression::new_string(word.to_owned())),
            };
            if let Some(value) = value {
                pairs.push((slot.name().to_owned(), value));
            }
        }
        let context = Context::from_pairs(pairs).map_err(|error| error.to_string())?;
        Request::new(
            principal.clone(),
            action.clone(),
            resource.clone(),
            context,
            Some(self.rules.schema),
        )
        .map_err(|error| error.to_string())
    }
}

/// As Cedar accepts it: never IPv4 inside IPv6.
fn plain(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let groups: Vec<String> = address
                .segments()
                .iter()
                .map(|group| format!("{group:x}"))
                .collect();
            groups.join(":")
        }
    }
}

/// Which policies matched a question and why, by table and by Cedar.
#[derive(Debug, Clone, Serialize)]
pub struct Explanation {
    /// `permit`, `forbid`, `no-permit` or `refused`.
    pub verdict: &'static str,
    /// The policies that decided.
    pub deciding: Vec<String>,
    /// Why the request could not be judged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// Every policy, in the order of the text.
    pub policies: Vec<Note>,
}

/// What one policy made of a question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Note {
    pub policy: String,
    pub effect: &'static str,
    pub line: usize,
    pub matches: bool,
    pub because: String,
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.verdict)?;
        if !self.deciding.is_empty() {
            write!(f, " by {}", self.deciding.join(", "))?;
        }
        if let Some(why) = &self.refused {
            write!(f, ": {why}")?;
        }
        for note in &self.policies {
            let mark = if note.matches {
                "matches"
            } else {
                "does not match"
            };
            write!(
                f,
                "\n  {} `{}` (line {}) {mark}: {}",
                note.effect, note.policy, note.line, note.because
            )?;
        }
        Ok(())
    }
}

impl Oracle {
    /// Explains a question by the table, and refuses to if Cedar says otherwise.
    pub fn explain(&self, table: &Table, question: &Question) -> Result<Explanation, Mismatch> {
        self.compare(table, question)?;
        let facts = question.facts.facts();
        let (verdict, deciding, refused) =
            match self.decide(question.strategy, question.account, question.kind, &facts) {
                Decision::Permit(policies) => ("permit", policies, None),
                Decision::Forbid(policies) => ("forbid", policies, None),
                Decision::NoPermit => ("no-permit", Vec::new(), None),
                Decision::Refused(why) => ("refused", Vec::new(), Some(why)),
            };
        let policies = if refused.is_none() {
            self.notes(table, question, &facts)
        } else {
            Vec::new()
        };
        Ok(Explanation {
            verdict,
            deciding,
            refused,
            policies,
        })
    }

    fn notes(&self, table: &Table, question: &Question, facts: &Facts<'_>) -> Vec<Note> {
        let world = World::new(&self.roster);
        let strategy = self
            .roster
            .strategies
            .iter()
            .find(|s| s.id == question.strategy);
        let account = self
            .roster
            .accounts
            .iter()
            .find(|a| a.id == question.account);
        let (Some(strategy), Some(account)) = (strategy, account) else {
            return Vec::new();
        };
        let principal = Thing::new("Strategy", strategy.name.as_str());
        let resource = Thing::new("Account", account.name.as_str());
        let kind = question.kind;
        let note = |(rule, (index, _, _)): (&Rule, (_, &str, Effect))| {
            let (matches, because) = if !rule.kinds.contains(&kind) {
                (false, format!("it is not about {kind}"))
            } else if !rule.principal.covers(&principal, &world) {
                (
                    false,
                    format!("it is not about strategy `{}`", strategy.name),
                )
            } else if !rule.resource.covers(&resource, &world) {
                (false, format!("it is not about account `{}`", account.name))
            } else {
                match table.residual(question.strategy, question.account, kind, index) {
                    None => {
                        let pair = (&strategy.name, &account.name);
                        (
                            false,
                            format!(
                                "its conditions never hold for strategy `{}` on account `{}`",
                                pair.0, pair.1
                            ),
                        )
                    }
                    Some(test) => match test.first_false(facts) {
                        None => (true, format!("{test} holds")),
                        Some(part) => (false, format!("{part} does not hold")),
                    },
                }
            };
            Note {
                policy: rule.name.clone(),
                effect: match rule.effect {
                    Effect::Permit => "permit",
                    Effect::Forbid => "forbid",
                },
                line: rule.place.line,
                matches,
                because,
            }
        };
        self.rules
            .rules
            .iter()
            .zip(table.policies())
            .map(note)
            .collect()
    }
}
