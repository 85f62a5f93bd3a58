//! What is found in a policy text: where, what, and what to do.

use crate::residual::Problem;
use crate::source::{Piece, Place, Source};
use cedar_policy::{PolicySet, Schema, ValidationMode, ValidationWarning, Validator};
use miette::Diagnostic;
use serde::Serialize;
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

    pub fn error(
        &mut self,
        offset: usize,
        policy: Option<&str>,
        message: String,
        hint: Option<&str>,
    ) {
        let place = self.source.place(offset);
        self.push(Finding {
            severity: Severity::Error,
            line: place.line,
            column: place.column,
            policy: policy.map(ToOwned::to_owned),
            message,
            hint: hint.map(ToOwned::to_owned),
        });
    }

    /// At the construct if it can be told, else at the policy.
    pub fn problem(&mut self, piece: &Piece, policy: &str, problem: &Problem) {
        let at = self.source.token_in(piece, problem.token());
        let place = self.source.place(at.unwrap_or(piece.start));
        self.push(Finding::problem(place, policy, problem));
    }

    /// Cedar's own findings, where Cedar says they are.
    pub fn cedar(&mut self, severity: Severity, policy: Option<&str>, diagnostic: &dyn Diagnostic) {
        let span = diagnostic.labels().and_then(|mut labels| labels.next());
        let place = span.map_or_else(Place::default, |label| self.source.place(label.offset()));
        self.push(Finding {
            severity,
            line: place.line,
            column: place.column,
            policy: policy.map(ToOwned::to_owned),
            message: diagnostic.to_string(),
            hint: diagnostic.help().map(|help| help.to_string()),
        });
    }

    pub fn validate(&mut self, schema: &Schema, set: &PolicySet) {
        let result = Validator::new(schema.clone()).validate(set, ValidationMode::Strict);
        for error in result.validation_errors() {
            let policy = error.policy_id().to_string();
            self.cedar(Severity::Error, Some(&policy), error);
        }
        for warning in result.validation_warnings() {
            let policy = warning.policy_id().to_string();
            // A policy that can never apply is a mistake, and a dangerous one in a forbid.
            let severity = match warning {
                ValidationWarning::MixedScriptString(_) => Severity::Warning,
                _ => Severity::Error,
            };
            self.cedar(severity, Some(&policy), warning);
        }
    }
}
