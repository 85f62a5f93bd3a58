//! The cases that people keep beside their policies, as TOML, run by `policy test`:
//!
//! ```toml
//! [defaults]
//! source = "10.0.0.5"
//! marketKind = "spot"
//!
//! [[case]]
//! name = "withdrawals wait for two"
//! strategy = "mm"
//! account = "main"
//! action = "Withdraw"
//! expect = "forbid"             # permit, forbid, no-permit or refused
//! policy = "value-out-needs-two" # optional: one of those that decide
//! context = { value = 1000000, asset = "USDT", approvals = 1 }
//! ```
//!
//! Unknown words are refused: a case that asks something else than its author meant proves nothing.

use crate::oracle::{Decision, Oracle, OwnedFacts, Question};
use portcullis_model::action::{ActionKind, MarketKind, OrderType, ReadOf, Side, TimeInForce};
use portcullis_model::table::{Presence, Slot, Table, presence, slots};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    defaults: Given,
    #[serde(default)]
    case: Vec<Case>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    strategy: String,
    account: String,
    action: String,
    expect: Expect,
    #[serde(default)]
    policy: Option<String>,
    #[serde(default)]
    context: Given,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Expect {
    Permit,
    Forbid,
    NoPermit,
    Refused,
}

impl fmt::Display for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Permit => "permit",
            Self::Forbid => "forbid",
            Self::NoPermit => "no-permit",
            Self::Refused => "refused",
        })
    }
}

/// A context in a case, under the names of the policies. What is not given and must be is an error of the case.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Given {
    source: Option<IpAddr>,
    minute_of_day: Option<i64>,
    weekday: Option<i64>,
    observe: Option<bool>,
    market: Option<String>,
    market_kind: Option<MarketKind>,
    side: Option<Side>,
    order_type: Option<OrderType>,
    time_in_force: Option<TimeInForce>,
    value: Option<i64>,
    reduces: Option<bool>,
    post_only: Option<bool>,
    borrows: Option<bool>,
    reads: Option<ReadOf>,
    asset: Option<String>,
    to_asset: Option<String>,
    from: Option<String>,
    destination: Option<String>,
    address: Option<String>,
    network: Option<String>,
    setting: Option<String>,
    approvals: Option<i64>,
}

impl Given {
    /// A context as TOML, for `policy explain`.
    pub fn parse(text: &str) -> Result<Self, CasesError> {
        toml::from_str(text).map_err(CasesError::Text)
    }

    /// The facts for an action: what is given, else the defaults, else noon on a Monday from 127.0.0.1, in `enforce`,
    /// spot, neither reducing, post-only nor borrowing, without approvals.
    pub fn facts(&self, defaults: &Self, kind: ActionKind) -> Result<OwnedFacts, CasesError> {
        macro_rules! given {
            ($field:ident) => {
                self.$field.clone().or_else(|| defaults.$field.clone())
            };
        }
        let facts = OwnedFacts {
            source: given!(source).unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            minute_of_day: given!(minute_of_day).unwrap_or(720),
            weekday: given!(weekday).unwrap_or(1),
            observe: given!(observe).unwrap_or(false),
            market: given!(market),
            market_kind: given!(market_kind).or(Some(MarketKind::Spot)),
            side: given!(side),
            order_type: given!(order_type),
            time_in_force: given!(time_in_force),
            value: given!(value),
            reduces: given!(reduces).or(Some(false)),
            post_only: given!(post_only).or(Some(false)),
            borrows: given!(borrows).or(Some(false)),
            reads: given!(reads),
            asset: given!(asset),
            to_asset: given!(to_asset),
            from: given!(from),
            destination: given!(destination),
            address: given!(address),
            network: given!(network),
            setting: given!(setting),
            approvals: given!(approvals).or(Some(0)),
        };
        let borrowed = facts.facts();
        for (slot, needed) in slots(kind) {
            if *needed == Presence::Required && !borrowed.has(*slot) {
                return Err(CasesError::Missing { kind, slot: *slot });
            }
        }
        for slot in self.named() {
            if presence(kind, slot).is_none() {
                return Err(CasesError::NotThere { kind, slot });
            }
        }
        Ok(facts)
    }

    fn named(&self) -> Vec<Slot> {
        let given = [
            (self.source.is_some(), Slot::Source),
            (self.minute_of_day.is_some(), Slot::MinuteOfDay),
            (self.weekday.is_some(), Slot::Weekday),
            (self.observe.is_some(), Slot::Observe),
            (self.market.is_some(), Slot::Market),
            (self.market_kind.is_some(), Slot::MarketKind),
            (self.side.is_some(), Slot::Side),
            (self.order_type.is_some(), Slot::OrderType),
            (self.time_in_force.is_some(), Slot::TimeInForce),
            (self.value.is_some(), Slot::Value),
            (self.reduces.is_some(), Slot::Reduces),
            (self.post_only.is_some(), Slot::PostOnly),
            (self.borrows.is_some(), Slot::Borrows),
            (self.reads.is_some(), Slot::Reads),
            (self.asset.is_some(), Slot::Asset),
            (self.to_asset.is_some(), Slot::ToAsset),
            (self.from.is_some(), Slot::From),
            (self.destination.is_some(), Slot::Destination),
            (self.address.is_some(), Slot::Address),
            (self.network.is_some(), Slot::Network),
            (self.setting.is_some(), Slot::Setting),
            (self.approvals.is_some(), Slot::Approvals),
        ];
        given
            .into_iter()
            .filter(|(given, _)| *given)
            .map(|(_, slot)| slot)
            .collect()
    }
}

/// Why cases could not be run.
#[derive(Debug, Clone, PartialEq)]
pub enum CasesError {
    Text(toml::de::Error),
    None,
    Missing {
        kind: ActionKind,
        slot: Slot,
    },
    NotThere {
        kind: ActionKind,
        slot: Slot,
    },
    Unknown {
        case: String,
        what: &'static str,
        name: String,
    },
    In {
        case: String,
        error: Box<CasesError>,
    },
}

impl fmt::Display for CasesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(error) => error.fmt(f),
            Self::None => {
                f.write_str("no `[[case]]` in the file; write one, or the test proves nothing")
            }
            Self::Missing { kind, slot } => write!(
                f,
                "{kind} always has `{}`; give it in `context`",
                slot.name()
            ),
            Self::NotThere { kind, slot } => write!(
                f,
                "{kind} has no `{}`; leave it out of `context`",
                slot.name()
            ),
            Self::Unknown { case, what, name } => {
                write!(f, "case `{case}`: no {what} `{name}`; correct the name")
            }
            Self::In { case, error } => write!(f, "case `{case}`: {error}"),
        }
    }
}

impl std::error::Error for CasesError {}

/// What became of one case.
#[derive(Debug, Clone, Serialize)]
pub struct CaseResult {
    pub name: String,
    pub passed: bool,
    pub expected: Expect,
    pub got: Expect,
    /// The policies that decided.
    pub deciding: Vec<String>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// Runs a file of cases by the table and by Cedar.
pub fn run(text: &str, table: &Table, oracle: &Oracle) -> Result<Vec<CaseResult>, CasesError> {
    let file: File = toml::from_str(text).map_err(CasesError::Text)?;
    if file.case.is_empty() {
        return Err(CasesError::None);
    }
    file.case
        .iter()
        .map(|case| run_one(case, &file.defaults, table, oracle))
        .collect()
}

fn run_one(
    case: &Case,
    defaults: &Given,
    table: &Table,
    oracle: &Oracle,
) -> Result<CaseResult, CasesError> {
    let unknown = |what, name: &str| CasesError::Unknown {
        case: case.name.clone(),
        what,
        name: name.to_owned(),
    };
    let roster = oracle.roster();
    let strategy = roster
        .strategy_named(&case.strategy)
        .ok_or_else(|| unknown("strategy", &case.strategy))?;
    let account = roster
        .account_named(&case.account)
        .ok_or_else(|| unknown("account", &case.account))?;
    let kind = ActionKind::ALL
        .into_iter()
        .find(|kind| kind.name() == case.action)
        .ok_or_else(|| unknown("action", &case.action))?;
    if let Some(policy) = &case.policy {
        table
            .policies()
            .find(|(_, name, _)| name == policy)
            .ok_or_else(|| unknown("policy", policy))?;
    }
    let facts = case
        .context
        .facts(defaults, kind)
        .map_err(|error| CasesError::In {
            case: case.name.clone(),
            error: Box::new(error),
        })?;
    let question = Question {
        strategy: strategy.id,
        account: account.id,
        kind,
        facts,
    };
    let decision = oracle.decide(
        question.strategy,
        question.account,
        kind,
        &question.facts.facts(),
    );
    let (got, deciding) = match decision {
        Decision::Permit(policies) => (Expect::Permit, policies),
        Decision::Forbid(policies) => (Expect::Forbid, policies),
        Decision::NoPermit => (Expect::NoPermit, Vec::new()),
        Decision::Refused(why) => (Expect::Refused, vec![why]),
    };
    let why = match oracle.compare(table, &question) {
        Err(mismatch) => Some(mismatch.to_string()),
        Ok(()) if got != case.expect => Some(format!("expected {}, got {got}", case.expect)),
        Ok(()) => case
            .policy
            .as_ref()
            .filter(|policy| !deciding.contains(policy))
            .map(|policy| format!("`{policy}` did not decide")),
    };
    Ok(CaseResult {
        name: case.name.clone(),
        passed: why.is_none(),
        expected: case.expect,
        got,
        deciding,
        why,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::roster;
    use crate::{DEFAULT_POLICY, check, compile};

    fn run_on_default(text: &str) -> Result<Vec<CaseResult>, CasesError> {
        let rules = check(DEFAULT_POLICY).unwrap();
        let table = compile(&rules, &roster()).unwrap();
        run(text, &table, &Oracle::new(rules, roster()).unwrap())
    }

    const ORDER: &str = "[defaults]\nsource = \"10.0.0.5\"\n[[case]]\nname = \"c\"\nstrategy = \"mm\"\naccount = \"main\"\n\
                         action = \"PlaceOrder\"\n\
                         context = { market = \"BTCUSDT\", side = \"buy\", orderType = \"limit\", value = 5 }\n";

    #[test]
    fn a_case_passes_or_says_why_not() {
        for (expect, why) in [
            ("expect = \"permit\"", None),
            ("expect = \"permit\"\npolicy = \"trade-own-accounts\"", None),
            ("expect = \"forbid\"", Some("expected forbid, got permit")),
            (
                "expect = \"permit\"\npolicy = \"see-own-accounts\"",
                Some("`see-own-accounts` did not decide"),
            ),
        ] {
            let results = run_on_default(&format!("{ORDER}{expect}")).unwrap();
            let [result] = results.as_slice() else {
                panic!("{results:?}")
            };
            assert_eq!(result.why.as_deref(), why, "{expect}");
            assert_eq!(result.passed, why.is_none());
            assert_eq!(result.deciding, ["trade-own-accounts"]);
        }
        let other =
            ORDER.replace("account = \"main\"", "account = \"side\"") + "expect = \"no-permit\"";
        assert!(
            run_on_default(&other)
                .unwrap()
                .iter()
                .all(|result| result.passed)
        );
    }

    #[test]
    fn a_case_that_asks_something_else_than_it_says_is_refused() {
        for (from, to, expected) in [
            (
                "\"mm\"",
                "\"nm\"",
                "case `c`: no strategy `nm`; correct the name",
            ),
            ("\"main\"", "\"mian\"", "case `c`: no account `mian`"),
            ("PlaceOrder", "Trade", "case `c`: no action `Trade`"),
            (
                "side = \"buy\", ",
                "",
                "case `c`: PlaceOrder always has `side`; give it in `context`",
            ),
            (
                "value = 5",
                "value = 5, asset = \"BTC\"",
                "case `c`: PlaceOrder has no `asset`; leave it out",
            ),
            ("value = 5", "notional = 5", "unknown field `notional`"),
            ("\"buy\"", "\"bye\"", "unknown variant `bye`"),
        ] {
            let text = ORDER.replace(from, to) + "expect = \"permit\"";
            let error = run_on_default(&text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        let policy = format!("{ORDER}expect = \"permit\"\npolicy = \"nobody\"");
        assert!(
            run_on_default(&policy)
                .unwrap_err()
                .to_string()
                .contains("no policy `nobody`")
        );
        assert!(
            run_on_default("")
                .unwrap_err()
                .to_string()
                .starts_with("no `[[case]]` in the file")
        );
    }
}
