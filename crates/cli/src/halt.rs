//! `portcullis halt`, `resume` and `confirm-time`.

use crate::Context;
use crate::account::name;
use crate::fail::{DONE, Done, Fail};
use crate::operator::Signer;
use crate::show;
use crate::strategy::{simple, unexpected};
use portcullis_model::command::{Answer, Command, Halted, ScopeKind};
use portcullis_model::halt::{Level, Scope};
use portcullis_model::id::{EntryId, VirtualKeyId};
use serde_json::json;

#[derive(clap::Args)]
#[command(after_help = "Examples:
  portcullis halt                   every program of the firm: cancels only
  portcullis halt --strategy quoter --level reduce-only --reason \"fills look wrong\"
  portcullis halt --account main --level lock

Levels, each refusing what the ones before it refuse, and more:
  freeze       value leaving the firm, keys, sub-accounts, new borrowing
  reduce-only  and what increases risk
  cancel-only  and all orders of programs
  lock         and programs' cancels and reads

When it returns nothing that the level refuses is signed any more; the answer says what was on its way, and after which moment the venue can no longer accept it. Open orders stay at the venue: cancel them by the programs or there.")]
pub struct Halt {
    #[command(flatten)]
    scope: ScopeArguments,
    #[arg(long, value_enum, default_value = "cancel-only")]
    level: LevelName,
    /// Stands in the log
    #[arg(long, default_value = "no reason given")]
    reason: String,
}

#[derive(clap::Args)]
#[command(after_help = "Examples:
  portcullis resume                                   ends the firm's halt
  portcullis resume --strategy quoter --reason \"fills checked\"
  portcullis resume --level reduce-only               lowers it")]
pub struct Resume {
    #[command(flatten)]
    scope: ScopeArguments,
    /// Lower the halt to this level instead of ending it
    #[arg(long, value_enum)]
    level: Option<LevelName>,
    /// Stands in the log
    #[arg(long, default_value = "no reason given")]
    reason: String,
}

#[derive(clap::Args)]
#[command(after_help = "Example:
  portcullis confirm-time --reason \"NTP was down, `chronyc tracking` is well\"

After a jump of the clock nothing is signed: limits per hour and day would not hold. Look at the clock first.")]
pub struct ConfirmTime {
    /// Stands in the log
    #[arg(long)]
    reason: String,
}

#[derive(clap::Args)]
#[group(multiple = false)]
struct ScopeArguments {
    /// The whole firm (the default)
    #[arg(long)]
    firm: bool,
    #[arg(long, value_name = "VENUE")]
    venue: Option<String>,
    #[arg(long, value_name = "ACCOUNT")]
    account: Option<String>,
    #[arg(long, value_name = "DESK")]
    desk: Option<String>,
    #[arg(long, value_name = "STRATEGY")]
    strategy: Option<String>,
    #[arg(long, value_name = "ID")]
    virtual_key: Option<u64>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum LevelName {
    Freeze,
    ReduceOnly,
    CancelOnly,
    Lock,
}

impl From<LevelName> for Level {
    fn from(name: LevelName) -> Self {
        match name {
            LevelName::Freeze => Self::Freeze,
            LevelName::ReduceOnly => Self::ReduceOnly,
            LevelName::CancelOnly => Self::CancelOnly,
            LevelName::Lock => Self::Lock,
        }
    }
}

impl ScopeArguments {
    /// The scope and its name. Names of accounts and strategies are resolved by the signer.
    fn resolve(&self, signer: &mut Signer) -> Result<(Scope, String), Fail> {
        let named = [
            (ScopeKind::Venue, "venue", &self.venue),
            (ScopeKind::Account, "account", &self.account),
            (ScopeKind::Desk, "desk", &self.desk),
            (ScopeKind::Strategy, "strategy", &self.strategy),
        ];
        for (kind, word, text) in named {
            let Some(text) = text else { continue };
            let command = Command::Resolve {
                kind,
                name: name(text)?,
            };
            return match signer.ask(&command)? {
                Answer::Resolved { scope } => Ok((scope, format!("{word} {text}"))),
                _ => Err(unexpected()),
            };
        }
        Ok(match self.virtual_key {
            Some(id) => (
                Scope::VirtualKey(VirtualKeyId(id)),
                format!("virtual key {id}"),
            ),
            None => (Scope::Firm, "the firm".to_owned()),
        })
    }
}

pub fn halt(context: &Context, arguments: &Halt) -> Done {
    let site = context.open()?;
    let level = Level::from(arguments.level);
    let mut signer = Signer::of(&site, context.given)?;
    let is_alone = signer.is_alone();
    let told = arguments
        .scope
        .resolve(&mut signer)
        .and_then(|(scope, name)| {
            let answer = signer.ask(&Command::Halt {
                scope: scope.clone(),
                level,
                reason: arguments.reason.clone(),
            })?;
            Ok((scope, name, answer))
        });
    let done = signer.done();
    let (scope, name, answer) = told?;
    done?;
    let Answer::Halted(halted) = answer else {
        return Err(unexpected());
    };
    let mut object = json!({ "scope": scope, "level": level, "halted": true });
    if let (Some(object), Ok(serde_json::Value::Object(of))) =
        (object.as_object_mut(), serde_json::to_value(&halted))
    {
        object.extend(of);
    }
    show::either(context.json, &object, || {
        let mut text = format!("halted: {name} at level {level}, entry {}\n", halted.entry);
        text += &report(&halted);
        if is_alone {
            text += "the gate does not run; the halt is in force when it does\n";
        }
        text
    });
    Ok(DONE)
}

fn report(halted: &Halted) -> String {
    let list = |entries: &[EntryId]| match entries.len() {
        0 => String::new(),
        n if n > 12 => {
            let first: Vec<String> = entries.iter().take(12).map(ToString::to_string).collect();
            format!(": entries {} and {} more", first.join(" "), n - 12)
        }
        _ => {
            let all: Vec<String> = entries.iter().map(ToString::to_string).collect();
            format!(
                ": {} {}",
                if all.len() == 1 { "entry" } else { "entries" },
                all.join(" ")
            )
        }
    };
    let mut text = String::new();
    let total = halted.discarded.len() + halted.under_way.len() + halted.done.len();
    if total == 0 {
        text += "nothing that it refuses was on its way, and nothing is signed any more\n";
        if halted.none_after_as_told == halted.none_after {
            return text;
        }
    } else {
        let rows = [
            ("dropped by egress", &halted.discarded),
            ("answered by the venue", &halted.done),
            ("may be under way", &halted.under_way),
        ];
        for (what, entries) in rows {
            text += &format!("  {what:<22} {}{}\n", entries.len(), list(entries));
        }
        if !halted.confirmed {
            text += "egress did not confirm: what may be under way may be accepted until the moment below\n";
        }
    }
    if halted.none_after_as_told < halted.none_after {
        text += &format!(
            "after {} nothing of it reaches the venue, as egress says\n",
            show::time(halted.none_after_as_told)
        );
    }
    text + &format!(
        "after {} the venue accepts nothing of it\n",
        show::time(halted.none_after)
    )
}

pub fn resume(context: &Context, arguments: &Resume) -> Done {
    let site = context.open()?;
    let level = arguments.level.map(Level::from);
    let mut signer = Signer::of(&site, context.given)?;
    let told = arguments
        .scope
        .resolve(&mut signer)
        .and_then(|(scope, name)| {
            let answer = signer.ask(&Command::Resume {
                scope: scope.clone(),
                level,
                reason: arguments.reason.clone(),
            })?;
            Ok((scope, name, answer))
        });
    let done = signer.done();
    let (scope, name, answer) = told?;
    done?;
    let Answer::Done { entry } = answer else {
        return Err(unexpected());
    };
    let object = json!({ "entry": entry, "scope": scope, "level": level });
    show::either(context.json, &object, || match level {
        Some(level) => format!("lowered: {name} is at level {level}, entry {entry}"),
        None => format!("resumed: {name} is not halted, entry {entry}"),
    });
    Ok(DONE)
}

pub fn confirm_time(context: &Context, arguments: &ConfirmTime) -> Done {
    let command = Command::ConfirmTime {
        reason: arguments.reason.clone(),
    };
    simple(context, &command, "the present time is confirmed")
}
