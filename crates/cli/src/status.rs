//! `portcullis status`: what runs, what is in force, and what should worry somebody. Asks the supervisor and the signer if
//! they run; else it says so, and shows what the log says.

use crate::Context;
use crate::account::{duty_name, short};
use crate::desk::{self, Ask};
use crate::fail::{DONE, Done, Fail};
use crate::ledger;
use crate::operator::Signer;
use crate::seal::Opener;
use crate::show::{self, count};
use crate::site::Site;
use crate::words;
use portcullis_model::command::{Answer, Command};
use portcullis_model::halt::{By, Scope};
use portcullis_model::release::Release;
use portcullis_model::state::State;
use serde_json::{Value, json};

#[derive(clap::Args)]
#[command(after_help = "Examples:
  portcullis status
  portcullis status --json | jq .warnings

Exit 0 also if the gate does not run or is halted: this shows, it does not judge.")]
pub struct Status {}

pub fn run(context: &Context, _: &Status) -> Done {
    let site = context.open()?;
    let up = desk::ask(&site, &Ask::Status, None)?;
    let signer = up.as_ref().map(|_| ask_signer(&site));
    let state = ledger::fold(&site.log(), None)?;
    let warnings = warnings(&site, &state, up.as_ref(), signer.as_ref());
    let object = json!({
        "site": site.settings.name, "folder": site.dir, "running": up.is_some(), "up": up,
        "signer": signer.as_ref().map(|signer| match signer {
            Ok(data) => data.clone(),
            Err(fail) => json!({ "error": fail.fact }),
        }),
        "entries": state.entries, "release": state.release.map(|hash| show::hex(&hash)),
        "halts": state.halts.values().collect::<Vec<_>>(),
        "strategies": state.strategies.values().filter(|strategy| !strategy.revoked).count(),
        "accounts": state.accounts.len(), "open_orders": state.orders.len(),
        "opened_by": Opener::of(&site).name(), "warnings": warnings,
    });
    show::either(context.json, &object, || {
        text(&site, &state, up.as_ref(), signer.as_ref(), &warnings)
    });
    Ok(DONE)
}

fn ask_signer(site: &Site) -> Result<Value, Fail> {
    let Some(mut signer) = Signer::running(site)? else {
        return Err(Fail::untold("nobody listens on its socket"));
    };
    match signer.ask(&Command::Status)? {
        Answer::Shown { data } => Ok(data),
        _ => Err(crate::strategy::unexpected()),
    }
}

fn warnings(
    site: &Site,
    state: &State,
    up: Option<&Value>,
    signer: Option<&Result<Value, Fail>>,
) -> Vec<String> {
    let mut warnings: Vec<String> = Vec::new();
    let mut warn = |text: String| {
        if !warnings.contains(&text) {
            warnings.push(text);
        }
    };
    if let Some(Err(fail)) = signer {
        warn(format!("the signer does not answer: {}", fail.fact));
    }
    if let Some(Ok(data)) = signer {
        for text in data
            .get("warnings")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            warn(text.as_str().unwrap_or_default().to_owned());
        }
    } else {
        if let Some(hash) = state.release
            && let Ok(files) = site.released(&hash)
            && let Ok(release) = Release::load(&files, Box::new(crate::market::Nobody))
        {
            let unlimited = release.mandates.unlimited();
            if !unlimited.is_empty() {
                warn(format!("unlimited for the firm: {}", unlimited.join(", ")));
            }
        }
        for (id, account) in &state.accounts {
            let keys = state.keys.values().filter(|key| key.account == *id).count();
            if keys == 1 {
                warn(format!(
                    "account `{}` has one key for all: what only reads is signed by a key that can write",
                    account.name
                ));
            }
        }
    }
    // The signer knows how the running gate was opened; from here systemd's credential is not to be seen.
    if up.is_none()
        && let Opener::KeyFile(file) = Opener::of(site)
    {
        warnings.push(format!(
            "the site's secrets are opened by the key file {}: whoever copies the disk that it lies on has the keys",
            file.display()
        ));
    }
    let mut warn = |text: String| warnings.push(text);
    let Some(up) = up else {
        return warnings;
    };
    for room in up
        .get("rooms")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let name = room.get("room").and_then(Value::as_str).unwrap_or_default();
        if room.get("ready") != Some(&json!(true)) {
            warn(format!("{name} does not run"));
        }
        let ended = room
            .get("ended")
            .and_then(Value::as_u64)
            .unwrap_or_default();
        if ended > 0 {
            warn(format!(
                "{name} ended by itself {}",
                count(ended, "time", "times")
            ));
        }
        for (measure, held) in room
            .get("sandbox")
            .and_then(Value::as_object)
            // The signer was told, and has warned of them above.
            .filter(|_| !signer.is_some_and(Result::is_ok))
            .into_iter()
            .flatten()
        {
            if let Some(why) = held.as_object().and_then(|held| held.values().next()) {
                let why = why.as_str().unwrap_or_default();
                warn(format!("{name} runs without {measure} ({why})"));
            }
        }
    }
    if let Some(lost) = up.get("webhook").filter(|hook| !hook.is_null()) {
        let of = |name: &str| lost.get(name).and_then(Value::as_u64).unwrap_or_default();
        if of("failed") + of("dropped") > 0 {
            warn(format!(
                "{} did not reach the webhook",
                count(of("failed") + of("dropped"), "alert", "alerts")
            ));
        }
    }
    warnings
}

pub fn scope(state: &State, scope: &Scope) -> String {
    match scope {
        Scope::Account(id) => format!("account {}", words::account_name(state, *id)),
        Scope::Strategy(id) => format!("strategy {}", ledger::strategy_name(state, *id)),
        other => other.to_string(),
    }
}

fn text(
    site: &Site,
    state: &State,
    up: Option<&Value>,
    signer: Option<&Result<Value, Fail>>,
    warnings: &[String],
) -> String {
    let mut text = String::new();
    let mut row = |name: &str, value: String| {
        text += &format!("{name:<11} {value}\n");
    };
    let number = |of: &Value, name: &str| of.get(name).and_then(Value::as_u64).unwrap_or_default();
    row(
        "site",
        format!("{} in {}", site.settings.name, site.dir.display()),
    );
    match up {
        None => row("gate", "does not run; `portcullis up` starts it".to_owned()),
        Some(up) => {
            let sealed = match up.get("sealed") == Some(&json!(true)) {
                true => ", SEALED: programs get \"exchange not available\"; `portcullis unseal`",
                false => "",
            };
            row(
                "gate",
                format!(
                    "up for {}, process {}{sealed}",
                    show::age(number(up, "seconds") * 1_000_000),
                    number(up, "pid")
                ),
            );
            for listener in up
                .get("listeners")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
            {
                let word = |name: &str| {
                    listener
                        .get(name)
                        .and_then(Value::as_str)
                        .unwrap_or_default()
                };
                row("listener", format!("{} for {}", word("url"), word("host")));
            }
            if let Some(url) = up.get("metrics").and_then(Value::as_str) {
                row("metrics", url.to_owned());
            }
        }
    }
    let opened_by = up
        .and_then(|up| up.get("opened_by_words"))
        .and_then(Value::as_str)
        .map_or_else(|| Opener::of(site).words(), str::to_owned);
    row(
        "opened by",
        opened_by.split(';').next().unwrap_or_default().to_owned(),
    );
    row(
        "log",
        match signer {
            Some(Ok(data)) => format!(
                "{}, {} on the disk, term {}",
                count(number(data, "entries"), "entry", "entries"),
                number(data, "synced"),
                number(data, "term")
            ),
            _ => count(state.entries, "entry", "entries"),
        },
    );
    row(
        "release",
        match state.release {
            Some(hash) => crate::policy::short(&hash),
            None => "none in force, so nothing is permitted; `portcullis policy apply`".to_owned(),
        },
    );
    match state.halts.is_empty() {
        true => row("halts", "none".to_owned()),
        false => {
            for halt in state.halts.values() {
                let by = match &halt.by {
                    By::Operator(name) => format!("operator {name}"),
                    By::Rule(name) => format!("rule {name}"),
                };
                row(
                    "HALT",
                    format!(
                        "{} at {} since {}, by {by}: {}",
                        scope(state, &halt.scope),
                        halt.level,
                        show::time_short(halt.since),
                        halt.reason
                    ),
                );
            }
        }
    }
    if let Some(Ok(data)) = signer {
        let egress = match data.get("egress") == Some(&json!(true)) {
            true => "linked",
            false => "NOT LINKED",
        };
        row(
            "orders",
            format!(
                "{} open, {} under way; egress {egress}",
                number(data, "open_orders"),
                number(data, "under_way")
            ),
        );
    }
    if let Some(up) = up {
        let rows: Vec<[String; 5]> = up
            .get("rooms")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .map(|room| {
                let confined = room
                    .get("sandbox")
                    .and_then(Value::as_object)
                    .map(|measures| {
                        let on = measures
                            .values()
                            .filter(|held| **held == json!("on"))
                            .count();
                        format!("{on} of {} measures", measures.len())
                    });
                [
                    room.get("room")
                        .and_then(Value::as_str)
                        .unwrap_or_default()
                        .to_owned(),
                    room.get("pid")
                        .and_then(Value::as_u64)
                        .map_or("-".to_owned(), |pid| pid.to_string()),
                    room.get("seconds")
                        .and_then(Value::as_u64)
                        .map_or("-".to_owned(), |s| show::age(s * 1_000_000)),
                    number(room, "restarts").to_string(),
                    confined.unwrap_or_else(|| "-".to_owned()),
                ]
            })
            .collect();
        text += "\n";
        text += &show::table(
            ["room", "process", "for", "restarts", "confined by"],
            &rows,
            "",
        );
    }
    text += "\n";
    let rows: Vec<[String; 4]> = state
        .accounts
        .iter()
        .map(|(id, account)| {
            let keys: Vec<String> = state
                .keys
                .iter()
                .filter(|(_, key)| key.account == *id)
                .map(|(key, of)| {
                    let is_open = signer
                        .and_then(|s| s.as_ref().ok())
                        .is_none_or(|data| is_open(data, key.0));
                    let sealed = if is_open { "" } else { " SEALED" };
                    format!("{} {}{sealed}", duty_name(of.duty), short(&of.api_key))
                })
                .collect();
            let keys = match keys.is_empty() {
                true => "no key".to_owned(),
                false => keys.join(", "),
            };
            [
                account.name.to_string(),
                id.to_string(),
                account.venue.to_string(),
                keys,
            ]
        })
        .collect();
    text += &show::table(["account", "id", "venue", "keys"], &rows, "no accounts");
    text += "\n";
    let rows: Vec<[String; 5]> = state
        .strategies
        .iter()
        .filter(|(_, strategy)| !strategy.revoked)
        .map(|(id, strategy)| {
            let usage = state
                .usage
                .get(&portcullis_model::state::LevelKey::Strategy(*id));
            let keys = state
                .virtual_keys
                .values()
                .filter(|key| key.strategy == *id && !key.revoked && key.expires > show::now())
                .count();
            [
                strategy.name.to_string(),
                id.to_string(),
                if strategy.observe {
                    "observe"
                } else {
                    "enforce"
                }
                .to_owned(),
                keys.to_string(),
                usage.map_or(0, |usage| usage.open_orders).to_string(),
            ]
        })
        .collect();
    text += &show::table(
        ["strategy", "id", "mode", "keys", "open orders"],
        &rows,
        "no strategies",
    );
    if !warnings.is_empty() {
        text += "\n";
        for warning in warnings {
            text += &format!("warning: {warning}\n");
        }
    }
    text
}

fn is_open(data: &Value, key: u64) -> bool {
    data.get("accounts")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|account| account.get("keys").and_then(Value::as_array))
        .flatten()
        .any(|of| {
            of.get("id").and_then(Value::as_u64) == Some(key)
                && of.get("open") == Some(&json!(true))
        })
}
