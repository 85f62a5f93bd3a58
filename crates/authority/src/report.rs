//! What is found in a policy text: where, what, and what to do.

use crate::residual::Problem;
use crate::source::{Piece, Place, Source};
use cedar_policy::{
    PolicySet, Schema, ValidationError, ValidationMode, ValidationWarning, Validator,
};
use miette::Diagnostic;
use portcullis_model::action::ActionKind;
use portcullis_model::table::{Slot, presence};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The text is not used.
    Error,
    Warning,
}

/// One thing found in a policy text. Line and column count from 1; 0 means the text as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub severity: Severity,
    pub line: usize,
    pub column: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    pub message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Finding {
    pub(crate) fn whole(message: String) -> Self {
        Self {
            severity: Severity::Error,
            line: 0,
            column: 0,
            policy: None,
            message,
            hint: None,
        }
    }

    pub(crate) fn problem(place: Place, policy: &str, problem: &Problem) -> Self {
        Self {
            severity: Severity::Error,
            line: place.line,
            column: place.column,
            policy: Some(policy.to_owned()),
            message: problem.to_string(),
            hint: Some(problem.hint()),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "{}:{}: ", self.line, self.column)?;
        }
        f.write_str(match self.severity {
            Severity::Error => "error: ",
            Severity::Warning => "warning: ",
        })?;
        if let Some(policy) = &self.policy {
            write!(f, "policy `{policy}`: ")?;
        }
        f.write_str(&self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, "\nhint: {hint}")?;
        }
        Ok(())
    }
}

/// All that was found in a policy text, in the order of the text.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    pub policies: usize,
    pub findings: Vec<Finding>,
}

impl Report {
    /// The text can be used.
    #[must_use]
    pub fn passes(&self) -> bool {
        self.errors().next().is_none()
    }

    pub fn errors(&self) -> impl Iterator<Item = &Finding> {
        self.findings
            .iter()
            .filter(|finding| finding.severity == Severity::Error)
    }

    pub fn warnings(&self) -> impl Iterator<Item = &Finding> {
        self.findings
            .iter()
            .filter(|finding| finding.severity == Severity::Warning)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, finding) in self.findings.iter().enumerate() {
            if at > 0 {
                f.write_str("\n")?;
            }
            finding.fmt(f)?;
        }
        Ok(())
    }
}

/// A policy text that does not govern, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckError(pub Report);

impl fmt::Display for CheckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for CheckError {}

/// Findings under construction.
pub(crate) struct Findings<'a> {
    pub source: Source<'a>,
    findings: Vec<Finding>,
    pub policies: usize,
}

impl<'a> Findings<'a> {
    pub fn new(text: &'a str) -> Self {
        Self {
            source: Source::new(text),
            findings: Vec::new(),
            policies: 0,
        }
    }

    pub fn failed(&self) -> bool {
        self.findings
            .iter()
            .any(|finding| finding.severity == Severity::Error)
    }

    pub fn report(mut self) -> Report {
        self.findings
            .sort_by_key(|f| (f.line, f.column, f.severity));
        Report {
            policies: self.policies,
            findings: self.findings,
        }
    }

    pub fn fail(self) -> CheckError {
        CheckError(self.report())
    }

    pub fn push(&mut self, finding: Finding) {
        if !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
    }

    pub fn whole(&mut self, message: String) {
        self.push(Finding::whole(message));
    }

    pub fn warn(&mut self, message: String) {
        self.push(Finding {
            severity: Severity::Warning,
            ..Finding::whole(message)
        });
    }

    pub fn error(
        &mut self,
        offset: usize,
        policy: Option<&str>,
        message: String,
        hint: Option<&str>,
    ) {
        let place = self.source.place(offset);
        let hint = hint.map(ToOwned::to_owned);
        self.add(Severity::Error, place, policy, message, hint);
    }

    /// At the construct if it can be told, else at the policy.
    pub fn problem(&mut self, piece: &Piece, policy: &str, problem: &Problem) {
        let at = self.source.token_in(piece, problem.token());
        let place = self.source.place(at.unwrap_or(piece.start));
        self.push(Finding::problem(place, policy, problem));
    }

    /// What Cedar's parser finds, where it says it is.
    pub fn parse_error(&mut self, diagnostic: &dyn Diagnostic) {
        let place = self.span(diagnostic);
        let hint = diagnostic.help().map(|help| help.to_string());
        self.add(Severity::Error, place, None, diagnostic.to_string(), hint);
    }

    /// What Cedar's strict validator finds. It says a thing once for each action; we say it once.
    pub fn validate(&mut self, schema: &Schema, set: &PolicySet) {
        let result = Validator::new(schema.clone()).validate(set, ValidationMode::Strict);
        type Said = (String, Place, String);
        let mut grouped: BTreeMap<Said, (BTreeSet<String>, Option<String>)> = BTreeMap::new();
        for error in result.validation_errors() {
            let policy = error.policy_id().to_string();
            let place = self.span(error);
            let (message, action) = without_action(&plain(error, &policy));
            let (actions, hint) = grouped.entry((policy, place, message)).or_default();
            actions.extend(action);
            *hint = match error {
                ValidationError::UnsafeAttributeAccess(_) if !actions.is_empty() => {
                    Some(common_slots(actions))
                }
                _ => error.help().map(|help| help.to_string()),
            };
        }
        for ((policy, place, message), (actions, hint)) in grouped {
            let actions: Vec<&str> = actions.iter().map(String::as_str).collect();
            let message = message.replace(ACTIONS, &actions.join(", "));
            self.add(Severity::Error, place, Some(&policy), message, hint);
        }
        for warning in result.validation_warnings() {
            let policy = warning.policy_id().to_string();
            let place = self.span(warning);
            match warning {
                ValidationWarning::MixedScriptString(_) => {
                    let message = plain(warning, &policy);
                    self.add(Severity::Warning, place, Some(&policy), message, None);
                }
                // A policy that can never apply is a mistake, and a dangerous one in a forbid. With another mistake in it
                // this says nothing new.
                ValidationWarning::ImpossiblePolicy(_)
                | ValidationWarning::InvalidActionApplication(_)
                    if self.failed_for(&policy) => {}
                ValidationWarning::InvalidActionApplication(_) => self.add(
                    Severity::Error,
                    place,
                    Some(&policy),
                    "no action has such a principal and resource".to_owned(),
                    Some("the principal is a `Strategy`, the resource an `Account`".to_owned()),
                ),
                ValidationWarning::ImpossiblePolicy(_) => self.add(
                    Severity::Error,
                    place,
                    Some(&policy),
                    "it can never apply".to_owned(),
                    Some(
                        "it would protect nothing: correct its conditions, or leave it out"
                            .to_owned(),
                    ),
                ),
                _ => {
                    let message = plain(warning, &policy);
                    let hint = warning.help().map(|help| help.to_string());
                    self.add(Severity::Error, place, Some(&policy), message, hint);
                }
            }
        }
    }

    fn failed_for(&self, policy: &str) -> bool {
        self.findings.iter().any(|finding| {
            finding.severity == Severity::Error && finding.policy.as_deref() == Some(policy)
        })
    }

    fn span(&self, diagnostic: &dyn Diagnostic) -> Place {
        let span = diagnostic.labels().and_then(|mut labels| labels.next());
        span.map_or_else(Place::default, |label| self.source.place(label.offset()))
    }

    fn add(
        &mut self,
        severity: Severity,
        place: Place,
        policy: Option<&str>,
        message: String,
        hint: Option<String>,
    ) {
        self.push(Finding {
            severity,
            line: place.line,
            column: place.column,
            policy: policy.map(ToOwned::to_owned),
            message,
            hint,
        });
    }
}

/// Stands in a message for the actions that it is about.
const ACTIONS: &str = "\u{1}";

/// Cedar begins with the policy's name; we say it ourselves.
fn plain(message: &dyn fmt::Display, policy: &str) -> String {
    let begin = format!("for policy `{policy}`, ");
    let message = message.to_string();
    message
        .strip_prefix(&begin)
        .map_or_else(|| message.clone(), ToOwned::to_owned)
}

fn without_action(message: &str) -> (String, Option<String>) {
    let found = ActionKind::ALL.into_iter().find_map(|kind| {
        let (before, after) = message.split_once(&format!("Action::\"{kind}\""))?;
        Some((
            format!("{before}{ACTIONS}{after}"),
            Some(kind.name().to_owned()),
        ))
    });
    found.unwrap_or_else(|| (message.to_owned(), None))
}

/// What all of the actions have.
fn common_slots(actions: &BTreeSet<String>) -> String {
    let kinds = || {
        ActionKind::ALL
            .into_iter()
            .filter(|kind| actions.contains(kind.name()))
    };
    let names: Vec<&str> = Slot::ALL
        .into_iter()
        .filter(|slot| kinds().all(|kind| presence(kind, *slot).is_some()))
        .map(Slot::name)
        .collect();
    format!("there are {}", names.join(", "))
}
