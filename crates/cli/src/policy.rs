//! `portcullis policy`: what governs, before and after it is put in force. Checks run here on the working copy, with the
//! names that the log knows; the signer checks everything again.

use crate::Context;
use crate::account::name;
use crate::fail::{DONE, Done, Fail, REFUSED};
use crate::ledger;
use crate::market::Nobody;
use crate::operator;
use crate::show::{self, count};
use crate::site::{self, Site};
use crate::strategy;
use portcullis_authority::cases::{self, Given};
use portcullis_authority::{Oracle, Question, Roster, Severity};
use portcullis_model::action::ActionKind;
use portcullis_model::command::Command;
use portcullis_model::mandate::{Mandate, Mandates};
use portcullis_model::release::{Files, Release};
use portcullis_model::state::State;
use portcullis_model::table::Table;
use portcullis_venues::Catalog;
use serde::Serialize;
use serde_json::json;
use std::path::PathBuf;

/// A file of cases at most.
const CASES_BYTES_MAX: u64 = 4 << 20;
const AUTHORITY: &str = "authority.cedar";

#[derive(clap::Subcommand)]
pub enum Policy {
    /// Say whether the working copy could govern, and where not
    #[command(after_help = "Example:
  portcullis policy check && portcullis policy apply

Mandates, authority (strict validation, nothing that could fail at run time), market facts, hosts and catalogs; and whether the names in them exist. Exit 0 it could govern, 1 it could not.")]
    Check,
    /// Run the cases that you keep beside the policies
    #[command(after_help = "Examples:
  portcullis policy test
  portcullis policy test more-cases.toml

Each case is judged by full Cedar and by the compiled table; the form stands in release/cases.toml.")]
    Test {
        /// [default: release/cases.toml]
        file: Option<PathBuf>,
    },
    /// Say which policy decides one request, and why
    #[command(after_help = "Examples:
  portcullis policy explain --strategy my-bot --action PlaceOrder \\
    market=BTCUSDT side=buy orderType=limit value=50000000
  portcullis policy explain --strategy my-bot --action Withdraw \\
    value=1000000 asset=USDT

KEY=VALUE are the context's words in authority.cedar. `value` is in millionths of the site's currency. This asks authority alone; limits of the mandate come on top (`portcullis explain ENTRY` shows both for a real request).")]
    Explain {
        #[arg(long, value_name = "STRATEGY")]
        strategy: String,
        /// [default: the only one]
        #[arg(long, value_name = "ACCOUNT")]
        account: Option<String>,
        /// An action's name, as in policies
        #[arg(long, value_name = "ACTION")]
        action: String,
        #[arg(value_name = "KEY=VALUE")]
        context: Vec<String>,
        /// Ask the release in force instead of the working copy
        #[arg(long)]
        in_force: bool,
    },
    /// Put the working copy in force
    #[command(after_help = "Example:
  portcullis policy apply

It is checked first, and by the signer again. Requests that arrive from then on are judged by it.")]
    Apply,
}

pub fn run(context: &Context, arguments: &Policy) -> Done {
    match arguments {
        Policy::Check => check(context),
        Policy::Test { file } => test(context, file.as_ref()),
        Policy::Explain {
            strategy,
            account,
            action,
            context: given,
            in_force,
        } => explain(
            context,
            strategy,
            account.as_deref(),
            action,
            given,
            *in_force,
        ),
        Policy::Apply => apply(context),
    }
}

/// One thing about a file of the release.
#[derive(Debug, Serialize)]
struct Found {
    severity: Severity,
    file: String,
    /// 0: the file as a whole.
    line: usize,
    column: usize,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

impl Found {
    fn error(file: &str, message: String) -> Self {
        Self {
            severity: Severity::Error,
            file: file.to_owned(),
            line: 0,
            column: 0,
            message,
            hint: None,
        }
    }

    fn warning(file: &str, message: String) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(file, message)
        }
    }

    fn words(&self) -> String {
        let place = match self.line {
            0 => self.file.clone(),
            line => format!("{}:{line}:{}", self.file, self.column),
        };
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let mut words = format!("{severity}: {place}: {}\n", self.message);
        if let Some(hint) = &self.hint {
            words += &format!("hint: {hint}\n");
        }
        words
    }
}

struct Checked {
    found: Vec<Found>,
    release: Option<Release>,
    policies: usize,
}

impl Checked {
    fn errors(&self) -> usize {
        self.found
            .iter()
            .filter(|found| found.severity == Severity::Error)
            .count()
    }
}

/// Everything that can be known of a release beforehand.
fn examine(files: &Files, state: &State) -> Checked {
    let mut found = Vec::new();
    // Each file by itself, so that one mistake does not hide the next.
    for missing in ["mandates.toml", "values.toml", "hosts.toml", AUTHORITY] {
        if !files.contains_key(missing) {
            let mut error = Found::error(missing, "is missing".to_owned());
            error.hint = Some(
                "restore it from a backup, or take the one that `portcullis init` writes"
                    .to_owned(),
            );
            found.push(error);
        }
    }
    let mandates = files.get("mandates.toml").and_then(|text| match Mandates::parse(text) {
        Ok(mandates) => Some(mandates),
        Err(why) => {
            let mut error = Found::error("mandates.toml", in_file(&why.to_string(), "mandates.toml"));
            if why.what.starts_with("`markets` is missing") {
                error.message = "the firm names no market, so nothing can be traded".to_owned();
                error.hint = Some("name at least one: [firm.markets.BTCUSDT] with floor, ceiling and quantity".to_owned());
            }
            found.push(error);
            None
        }
    });
    let mut release = None;
    if files.contains_key(AUTHORITY) {
        // With mandates that load, so that what is wrong with the others comes to light too.
        let mut others = files.clone();
        if mandates.is_none() {
            others.insert(
                "mandates.toml".to_owned(),
                crate::market::ANY_MANDATE.to_owned(),
            );
        }
        match Release::load(&others, Box::new(Nobody)) {
            Ok(loaded) => release = Some(loaded),
            Err(why) => {
                let text = why.to_string();
                let file = text.split_once(": ").map_or("release", |(file, _)| file);
                if files.contains_key(file) {
                    found.push(Found::error(file, in_file(&text, file)));
                }
            }
        }
    }
    if let Err(why) = Catalog::of_release(files) {
        found.push(Found::error(
            "catalog.d",
            in_file(&why.to_string(), "catalog.d"),
        ));
    }
    let mut policies = 0;
    if let Some(text) = files.get(AUTHORITY) {
        let report = match portcullis_authority::check(text) {
            Ok(rules) => {
                let roster = Roster::of_release(files, state);
                let mut report = rules.report().clone();
                report.findings.extend(rules.names(&roster).findings);
                if report.passes()
                    && let Err(why) = portcullis_authority::compile(&rules, &roster)
                {
                    report.findings.extend(why.0.findings);
                }
                report
            }
            Err(why) => why.0,
        };
        policies = report.policies;
        found.extend(report.findings.into_iter().map(|finding| Found {
            severity: finding.severity,
            file: AUTHORITY.to_owned(),
            line: finding.line,
            column: finding.column,
            message: match finding.policy {
                Some(policy) => format!("policy `{policy}`: {}", finding.message),
                None => finding.message,
            },
            hint: finding.hint,
        }));
    }
    if let (Some(mandates), Some(release)) = (&mandates, &release) {
        names(mandates, release, state, &mut found);
    }
    Checked {
        found,
        release: release.filter(|_| mandates.is_some()),
        policies,
    }
}

/// A message without the file that it begins with.
fn in_file(message: &str, file: &str) -> String {
    let rest = message.strip_prefix(file).unwrap_or(message);
    rest.trim_start_matches([':', ',', ' '])
        .trim_end()
        .to_owned()
}

/// Names in mandates that mean nothing: a limit for nobody protects nobody.
fn names(mandates: &Mandates, release: &Release, state: &State, found: &mut Vec<Found>) {
    let mut warn = |message: String, hint: &str| {
        let mut warning = Found::warning("mandates.toml", message);
        warning.hint = Some(hint.to_owned());
        found.push(warning);
    };
    for account in mandates
        .accounts
        .keys()
        .filter(|name| state.account(name).is_none())
    {
        warn(
            format!("there is no account `{account}`"),
            "correct the name, or add it; until then this limits nobody",
        );
    }
    for name in mandates
        .strategies
        .keys()
        .filter(|name| state.strategy(name).is_none())
    {
        warn(
            format!("there is no strategy `{name}`"),
            "correct the name, or add it; until then this limits nobody",
        );
    }
    for desk in mandates.desks.keys() {
        if !state
            .strategies
            .values()
            .any(|strategy| strategy.desk.as_ref() == Some(desk))
        {
            warn(
                format!("there is no desk `{desk}`"),
                "a desk exists when a strategy names it",
            );
        }
    }
    let all: Vec<&Mandate> = [&mandates.firm]
        .into_iter()
        .chain(mandates.accounts.values())
        .chain(mandates.desks.values())
        .chain(mandates.strategies.values())
        .collect();
    for mandate in all {
        for bounds in &mandate.markets {
            if !release.markets.keys().any(|id| bounds.fits(id)) {
                warn(
                    format!(
                        "{}: no market of the release fits `{}`",
                        mandate.rule, bounds.pattern
                    ),
                    "`portcullis market fetch` writes markets into the release; correct the pattern if it is there",
                );
            } else if bounds.floor.is_none()
                || bounds.ceiling.is_none()
                || bounds.quantity.is_none()
            {
                let missing: Vec<&str> = [
                    ("floor", bounds.floor.is_none()),
                    ("ceiling", bounds.ceiling.is_none()),
                    ("quantity", bounds.quantity.is_none()),
                ]
                .into_iter()
                .filter(|(_, missing)| *missing)
                .map(|(name, _)| name)
                .collect();
                if mandate.rule == "firm" {
                    warn(
                        format!(
                            "firm, market `{}` has no {}",
                            bounds.pattern,
                            missing.join(", no ")
                        ),
                        "these hold when a price feed is wrong; without them only the reference price bounds an order",
                    );
                }
            }
        }
    }
    if release.markets.is_empty() {
        let mut warning = Found::warning(
            "markets",
            "the release has no market facts, so every order is refused".to_owned(),
        );
        warning.hint = Some("`portcullis market fetch binance`".to_owned());
        found.push(warning);
    }
}

fn check(context: &Context) -> Done {
    let site = context.open()?;
    let files = site.release()?;
    let state = ledger::fold(&site.log(), None)?;
    let mut checked = examine(&files, &state);
    if let Some(release) = &checked.release {
        for listener in &site.settings.listener {
            let is_there = release
                .hosts
                .hosts
                .iter()
                .any(|host| host.name == listener.host && host.venue == listener.venue);
            if !is_there {
                let mut warning = Found::warning(
                    "hosts.toml",
                    format!(
                        "there is no host `{}` of venue `{}`",
                        listener.host, listener.venue
                    ),
                );
                warning.hint =
                    Some("site.toml listens for it; what comes there is refused".to_owned());
                checked.found.push(warning);
            }
        }
    }
    let hash = portcullis_model::release::hash(&files);
    let in_force = state.release == Some(hash);
    let errors = checked.errors();
    let unlimited = checked
        .release
        .as_ref()
        .map(|release| release.mandates.unlimited());
    let object = json!({
        "passes": errors == 0, "errors": errors, "warnings": checked.found.len() - errors,
        "found": checked.found, "hash": show::hex(&hash), "in_force": in_force,
        "policies": checked.policies, "unlimited": unlimited,
        "markets": checked.release.as_ref().map(|release| release.markets.len()),
    });
    show::either(context.json, &object, || {
        let mut words: String = checked.found.iter().map(Found::words).collect();
        if !words.is_empty() {
            words.push('\n');
        }
        match &checked.release {
            Some(release) if errors == 0 => {
                words += &format!(
                    "it could govern: {}, {}, {}\n",
                    count(checked.policies as u64, "policy", "policies"),
                    count(release.markets.len() as u64, "market", "markets"),
                    count(release.hosts.hosts.len() as u64, "host", "hosts"),
                );
                let unlimited = release.mandates.unlimited();
                if !unlimited.is_empty() {
                    words += &format!("unlimited for the firm: {}\n", unlimited.join(", "));
                }
                words += match in_force {
                    true => "it is in force\n",
                    false => "it is not in force; `portcullis policy apply` puts it in force\n",
                };
            }
            _ => {
                words += &format!(
                    "it cannot govern: {}\n",
                    count(errors as u64, "error", "errors")
                );
            }
        }
        words
    });
    Ok(if errors == 0 { DONE } else { REFUSED })
}

/// The table and the oracle of a release's authority.
pub fn authority(files: &Files, state: &State) -> Result<(Table, Oracle), Fail> {
    let wrong = |why: &dyn std::fmt::Display| {
        Fail::refused(format!("{AUTHORITY}: {why}"))
            .hint("`portcullis policy check` shows all that is wrong")
    };
    let text = files.get(AUTHORITY).ok_or_else(|| wrong(&"is missing"))?;
    let roster = Roster::of_release(files, state);
    let rules = portcullis_authority::check(text).map_err(|why| wrong(&why))?;
    let table = portcullis_authority::compile(&rules, &roster).map_err(|why| wrong(&why))?;
    let oracle = Oracle::new(rules, roster).map_err(|why| wrong(&why))?;
    Ok((table, oracle))
}

fn test(context: &Context, file: Option<&PathBuf>) -> Done {
    let site = context.open()?;
    let files = site.release()?;
    let state = ledger::fold(&site.log(), None)?;
    let place = file
        .cloned()
        .unwrap_or_else(|| site.dir.join("release/cases.toml"));
    let text = site::read_text(&place, CASES_BYTES_MAX)?;
    let (table, oracle) = authority(&files, &state)?;
    let results = cases::run(&text, &table, &oracle).map_err(|why| {
        Fail::refused(format!(
            "{}: {}",
            place.display(),
            why.to_string().trim_end()
        ))
    })?;
    let failed = results.iter().filter(|result| !result.passed).count();
    let object = json!({ "passed": results.len() - failed, "failed": failed, "cases": results });
    show::either(context.json, &object, || {
        let mut words = String::new();
        for result in &results {
            let by = match result.deciding.is_empty() {
                true => String::new(),
                false => format!(" by {}", result.deciding.join(", ")),
            };
            match &result.why {
                None => words += &format!("pass  {}: {}{by}\n", result.name, result.got),
                Some(why) => words += &format!("FAIL  {}: {why}{by}\n", result.name),
            }
        }
        words += &format!("{} passed, {failed} failed\n", results.len() - failed);
        words
    });
    Ok(if failed == 0 { DONE } else { REFUSED })
}

fn explain(
    context: &Context,
    strategy: &str,
    account: Option<&str>,
    action: &str,
    given: &[String],
    in_force: bool,
) -> Done {
    let site = context.open()?;
    let state = ledger::fold(&site.log(), None)?;
    let files = governing(&site, &state, in_force)?;
    let (table, oracle) = authority(&files, &state)?;
    let strategy = name(strategy)?;
    let unknown = |what: &str, text: &str| {
        Fail::refused(format!("there is no {what} `{text}`"))
            .hint(format!("`portcullis {what} list` shows them"))
    };
    let strategy_id = state
        .strategy(&strategy)
        .ok_or_else(|| unknown("strategy", strategy.as_str()))?;
    let account = match account {
        Some(text) => name(text)?,
        None if state.accounts.len() == 1 => state
            .accounts
            .values()
            .next()
            .map(|account| account.name.clone())
            .ok_or_else(|| unknown("account", ""))?,
        None => return Err(Fail::untold("on which account?").hint("give --account")),
    };
    let account_id = state
        .account(&account)
        .ok_or_else(|| unknown("account", account.as_str()))?;
    let kind = ActionKind::ALL
        .into_iter()
        .find(|kind| kind.name().eq_ignore_ascii_case(action))
        .ok_or_else(|| {
            let all: Vec<&str> = ActionKind::ALL.iter().map(|kind| kind.name()).collect();
            Fail::untold(format!("there is no action `{action}`"))
                .hint(format!("one of {}", all.join(", ")))
        })?;
    let facts = Given::parse(&as_toml(given)?)
        .and_then(|given| given.facts(&Given::default(), kind))
        .map_err(|why| {
            Fail::untold(why.to_string().trim_end().to_owned())
                .hint("give context as KEY=VALUE, see --help")
        })?;
    let question = Question {
        strategy: strategy_id,
        account: account_id,
        kind,
        facts,
    };
    let explanation = oracle.explain(&table, &question).map_err(|why| {
        Fail::untold(format!("table and Cedar disagree: {why}")).hint("please report this")
    })?;
    show::either(context.json, &json!(explanation), || {
        let words = explanation.to_string();
        let words = words.replace(" matches: true holds", " matches: it has no conditions");
        format!("{kind} by {strategy} on {account}: {words}")
    });
    Ok(if explanation.verdict == "permit" {
        DONE
    } else {
        REFUSED
    })
}

fn governing(site: &Site, state: &State, in_force: bool) -> Result<Files, Fail> {
    match (in_force, state.release) {
        (false, _) => site.release(),
        (true, Some(hash)) => site.released(&hash),
        (true, None) => Err(Fail::refused("no release is in force")
            .hint("`portcullis policy apply` puts one in force")),
    }
}

/// `market=BTCUSDT value=5` as the lines of a table in TOML; whole numbers and truth values are such.
fn as_toml(given: &[String]) -> Result<String, Fail> {
    let mut table = toml::Table::new();
    for pair in given {
        let (key, text) = pair
            .split_once('=')
            .ok_or_else(|| Fail::untold(format!("`{pair}` is not KEY=VALUE")))?;
        let value = match text {
            "true" => toml::Value::Boolean(true),
            "false" => toml::Value::Boolean(false),
            _ => text.parse::<i64>().map_or_else(
                |_| toml::Value::String(text.to_owned()),
                toml::Value::Integer,
            ),
        };
        if table.insert(key.to_owned(), value).is_some() {
            return Err(Fail::untold(format!("`{key}` stands twice")));
        }
    }
    Ok(table.to_string())
}

fn apply(context: &Context) -> Done {
    let site = context.open()?;
    let files = site.release()?;
    let state = ledger::fold(&site.log(), None)?;
    let checked = examine(&files, &state);
    if checked.errors() > 0 {
        let first = checked
            .found
            .iter()
            .find(|found| found.severity == Severity::Error);
        let fact = first.map(|found| {
            found
                .words()
                .lines()
                .next()
                .unwrap_or_default()
                .replacen("error: ", "", 1)
        });
        return Err(Fail::refused(format!(
            "the working copy cannot govern: {}",
            fact.unwrap_or_default()
        ))
        .hint("`portcullis policy check` shows all that is wrong"));
    }
    let hash = portcullis_model::release::hash(&files);
    if state.release == Some(hash) {
        show::either(
            context.json,
            &json!({ "entry": null, "hash": show::hex(&hash), "changed": [] }),
            || format!("release {} is in force already", short(&hash)),
        );
        return Ok(DONE);
    }
    let before = match state.release {
        Some(hash) => site.released(&hash)?,
        None => Files::new(),
    };
    let mut changed: Vec<&String> = files
        .iter()
        .filter(|(name, text)| before.get(*name) != Some(*text))
        .map(|(name, _)| name)
        .collect();
    changed.extend(before.keys().filter(|name| !files.contains_key(*name)));
    let command = Command::Release {
        files: files.clone(),
    };
    let entry = strategy::done(operator::tell(&site, context.given, &command)?)?;
    let object = json!({ "entry": entry, "hash": show::hex(&hash), "changed": changed });
    show::either(context.json, &object, || {
        let names: Vec<&str> = changed.iter().map(|name| name.as_str()).collect();
        format!(
            "release {} is in force, entry {entry}\nchanged: {}",
            short(&hash),
            names.join(", ")
        )
    });
    Ok(DONE)
}

/// The beginning of a hash: enough to tell releases apart.
pub fn short(hash: &[u8]) -> String {
    show::hex(hash.get(..6).unwrap_or(hash))
}
