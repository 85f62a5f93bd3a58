//! `portcullis log`: the log as text and as JSON.

use crate::Context;
use crate::fail::{DONE, Done, Fail, REFUSED};
use crate::ledger::{self, Reader};
use crate::operator::Signer;
use crate::{show, verify, words};
use portcullis_model::command::{Answer, Command};
use portcullis_model::entry::{Body, What};
use portcullis_model::id::EntryId;
use portcullis_model::state::{STATE_VERSION, State};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Duration;

/// How often `tail --follow` looks.
const LOOK_EVERY: Duration = Duration::from_millis(200);

#[derive(clap::Subcommand)]
pub enum Log {
    /// Show entries
    #[command(after_help = "Examples:
  portcullis log show                        all of it
  portcullis log show --from 100 --to 120
  portcullis log show --what refused --strategy my-bot --last 20
  portcullis log show --json | jq 'select(.what == \"approved\")'

With --json each entry is one object on a line.")]
    Show {
        /// First entry
        #[arg(long, value_name = "ENTRY", default_value_t = 0)]
        from: u64,
        /// Last entry
        #[arg(long, value_name = "ENTRY")]
        to: Option<u64>,
        /// Only so many, the latest of those that fit
        #[arg(long, value_name = "COUNT")]
        last: Option<usize>,
        #[command(flatten)]
        filter: Filter,
    },
    /// Show the latest entries, and with --follow those that come
    #[command(after_help = "Examples:
  portcullis log tail
  portcullis log tail --follow --what refused")]
    Tail {
        #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 10)]
        count: usize,
        #[arg(short, long)]
        follow: bool,
        #[command(flatten)]
        filter: Filter,
    },
    /// Recompute every commitment, hash and root, and name the entry that is not what was recorded
    #[command(after_help = "Examples:
  portcullis log verify --key fund-1+1a2b3c4d+AbCd...
  portcullis log verify /backup/log

Without --key the key in the folder is used, which whoever changed the log could have changed too: keep the text of `vkey` elsewhere. Exit 0 verified, 1 not what was recorded, 2 could not be read.")]
    Verify {
        /// A log's folder [default: the site's]
        folder: Option<PathBuf>,
        /// Verifier key: the text of the file `vkey`, kept elsewhere
        #[arg(long)]
        key: Option<String>,
    },
    /// Fold the log from its first entry, and compare with the running signer's state
    #[command(after_help = "Examples:
  portcullis log fold
  portcullis log fold --log /backup/log

The signer's state is what its log adds up to. This adds it up again, from the first entry and without its snapshots; where the gate runs, exit 1 says that its state is another. Before an upgrade, the new program's fold must give the old one's hash.")]
    Fold {
        /// A log's folder [default: the site's]
        #[arg(long, value_name = "DIR")]
        log: Option<PathBuf>,
    },
    /// Verify, and write a C2SP tlog-tiles folder (checkpoint, tile/, vkey)
    #[command(after_help = "Example:
  portcullis log export ./log-2026-11

What is written holds commitments, no texts: it shows what was recorded when, and nothing of it.")]
    Export {
        /// A folder that does not exist yet
        to: PathBuf,
        /// A log's folder [default: the site's]
        #[arg(long, value_name = "DIR")]
        log: Option<PathBuf>,
        /// Verifier key: the text of the file `vkey`, kept elsewhere
        #[arg(long)]
        key: Option<String>,
    },
}

#[derive(clap::Args)]
pub struct Filter {
    /// Only this kind: approved, refused, outcome, command, started, prices, failures, day, dropped, canary, clock
    #[arg(long, value_name = "KIND")]
    what: Vec<String>,
    /// Only this strategy's
    #[arg(long, value_name = "STRATEGY")]
    strategy: Option<String>,
}

/// A filter with its names looked up.
struct Wanted {
    what: Vec<What>,
    strategy: Option<String>,
}

impl Filter {
    fn wanted(&self) -> Result<Wanted, Fail> {
        let what = self
            .what
            .iter()
            .map(|text| {
                What::ALL
                    .into_iter()
                    .find(|what| what.name() == text)
                    .ok_or_else(|| {
                        let all: Vec<&str> = What::ALL.iter().map(|what| what.name()).collect();
                        Fail::untold(format!("there is no kind `{text}`"))
                            .hint(format!("one of {}", all.join(", ")))
                    })
            })
            .collect::<Result<_, _>>()?;
        Ok(Wanted {
            what,
            strategy: self.strategy.clone(),
        })
    }
}

impl Wanted {
    fn fits(&self, state: &State, body: &Body) -> bool {
        let strategy = self.strategy.as_ref().is_none_or(|wanted| {
            body.regulator
                .strategy
                .is_some_and(|id| ledger::strategy_name(state, id) == *wanted)
        });
        strategy && (self.what.is_empty() || self.what.contains(&body.what))
    }
}

pub fn run(context: &Context, arguments: &Log) -> Done {
    let folder = |given: &Option<PathBuf>| match given {
        Some(folder) => Ok(folder.clone()),
        None => context.open().map(|site| site.log()),
    };
    match arguments {
        Log::Verify { folder: given, key } => {
            verify::verify(context, &folder(given)?, key.as_deref(), None)
        }
        Log::Export { to, log, key } => {
            verify::verify(context, &folder(log)?, key.as_deref(), Some(to))
        }
        Log::Fold { log } => fold(context, log.as_ref()),
        Log::Show {
            from,
            to,
            last,
            filter,
        } => entries(context, &filter.wanted()?, *from, *to, *last, false),
        Log::Tail {
            count,
            follow,
            filter,
        } => entries(context, &filter.wanted()?, 0, None, Some(*count), *follow),
    }
}

fn fold(context: &Context, log: Option<&PathBuf>) -> Done {
    let (folder, running) = match log {
        Some(folder) => (folder.clone(), None),
        None => {
            let site = context.open()?;
            let running = match Signer::running(&site)? {
                Some(mut signer) => match signer.ask(&Command::Usage)? {
                    Answer::Shown { data } => Some(data),
                    _ => return Err(crate::strategy::unexpected()),
                },
                None => None,
            };
            (site.log(), running)
        }
    };
    let version = running
        .as_ref()
        .and_then(|data| data.get("state_version"))
        .and_then(Value::as_u64);
    if let Some(version) = version.filter(|version| *version != u64::from(STATE_VERSION)) {
        return Err(Fail::untold(format!(
            "the running signer's state is of version {version}, and this program's of {STATE_VERSION}"
        ))
        .hint("the two cannot be compared; the changelog says what changed"));
    }
    // The signer may have gone on: what it said is compared at the entry at which it said it.
    let said = running.as_ref().and_then(|data| {
        let entries = data.get("entries").and_then(Value::as_u64)?;
        let hash = data.get("state_hash").and_then(Value::as_str)?;
        Some((entries, hash.to_owned()))
    });
    let until = said.as_ref().map(|(entries, _)| EntryId(*entries));
    let state = ledger::fold(&folder, until)?;
    let hash = show::hex(&state.hash());
    let same = said
        .as_ref()
        .map(|(entries, of)| *entries == state.entries && *of == hash);
    let object = json!({
        "entries": state.entries, "state_hash": hash, "state_version": STATE_VERSION,
        "running": said.as_ref().map(|(entries, hash)| json!({ "entries": entries, "state_hash": hash })),
        "same": same,
    });
    show::either(context.json, &object, || {
        let entries = show::count(state.entries, "entry folds", "entries fold");
        let mut words = format!("{entries} to {hash}\n");
        words += match same {
            Some(true) => "the running signer's state is the same\n",
            Some(false) => {
                "THE RUNNING SIGNER'S STATE IS ANOTHER: halt, keep the log, and report this\n"
            }
            None => "",
        };
        words
    });
    Ok(if same == Some(false) { REFUSED } else { DONE })
}

fn entries(
    context: &Context,
    wanted: &Wanted,
    from: u64,
    to: Option<u64>,
    last: Option<usize>,
    follow: bool,
) -> Done {
    let site = context.open()?;
    let mut reader = Reader::new(&site.log());
    // Names come from the entries before; the state is folded along.
    let mut state = State::default();
    let mut kept: VecDeque<(EntryId, Body)> = VecDeque::new();
    let written = |state: &State, entry, body: &Body| match context.json {
        true => object(state, entry, body).to_string(),
        false => line(state, entry, body),
    };
    let mut look = |reader: &mut Reader, last: Option<usize>| -> Result<(), Fail> {
        reader.read(|entry, bytes| {
            if to.is_some_and(|to| entry.0 > to) {
                return Ok(ControlFlow::Break(()));
            }
            let body = ledger::body(entry, bytes)?;
            state.apply(entry, body.at, &body.private.effects);
            if entry.0 < from || !wanted.fits(&state, &body) {
                return Ok(ControlFlow::Continue(()));
            }
            match last {
                Some(last) => {
                    if kept.len() >= last {
                        kept.pop_front();
                    }
                    if last > 0 {
                        kept.push_back((entry, body));
                    }
                }
                None => show::text(&written(&state, entry, &body)),
            }
            Ok(ControlFlow::Continue(()))
        })?;
        for (entry, body) in kept.drain(..) {
            show::text(&written(&state, entry, &body));
        }
        Ok(())
    };
    look(&mut reader, last)?;
    if !follow {
        return Ok(DONE);
    }
    loop {
        std::thread::sleep(LOOK_EVERY);
        look(&mut reader, None)?;
    }
}

/// An entry for programs: its three texts, with names beside the ids.
pub fn object(state: &State, entry: EntryId, body: &Body) -> Value {
    let mut object = json!({
        "entry": entry, "what": body.what, "at": body.at, "time": show::time(body.at),
        "who": words::who(state, body), "text": words::line(body),
    });
    if let (Some(object), Ok(Value::Object(texts))) =
        (object.as_object_mut(), serde_json::to_value(body))
    {
        for (name, text) in texts {
            object.entry(name).or_insert(text);
        }
        if let Some(account) = body.regulator.account {
            object.insert(
                "account".to_owned(),
                json!(words::account_name(state, account)),
            );
        }
        if let Some(source) = words::source(body) {
            object.insert("source".to_owned(), json!(source));
        }
    }
    object
}

fn line(state: &State, entry: EntryId, body: &Body) -> String {
    let mut time = show::time(body.at);
    // Milliseconds are enough to read.
    time.replace_range(23..26, "");
    let who = words::who(state, body);
    format!(
        "{:>6}  {time}  {:<8}  {who:<14}  {}",
        entry.0,
        body.what.name(),
        words::line(body)
    )
    .trim_end()
    .to_owned()
}
