//! `portcullis strategy`: trading programs and their virtual keys.

use crate::Context;
use crate::account::{SchemeName, name, short};
use crate::fail::{DONE, Done, Fail};
use crate::freqtrade;
use crate::ledger;
use crate::operator::{self, Signer, scheme_name};
use crate::show;
use crate::site::{self, Site};
use portcullis_model::action::Scheme;
use portcullis_model::command::{Answer, Command};
use portcullis_model::id::{EntryId, Timestamp, VirtualKeyId};
use portcullis_model::state::State;
use portcullis_model::table::Network;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// A public key's PEM at most.
const PUBLIC_KEY_BYTES_MAX: u64 = 16_384;

#[derive(clap::Subcommand)]
pub enum Strategy {
    /// Name a trading program, and issue its virtual key
    #[command(after_help = "Examples:
  portcullis strategy add my-bot --account main
  portcullis strategy add quoter --desk mm --sources 10.0.4.0/24 --observe
  portcullis strategy add taker --scheme ed25519 --public-key public.pem

  portcullis strategy add my-bot --from-freqtrade user_data/config.json

With --from-freqtrade the markets, stake and number of trades become a section of release/mandates.toml, to look at before `portcullis policy apply`; beside the configuration a file portcullis-NAME.json is written, with which the bot goes through the gate: `freqtrade trade -c config.json -c portcullis-NAME.json`.

The key and its secret are printed once: give them to the program in place of the exchange's. They work at this gate only, from these sources only, until they expire. With --observe the limits are checked and recorded, not enforced.")]
    Add {
        name: String,
        /// The group of strategies that it belongs to
        #[arg(long, value_name = "DESK")]
        desk: Option<String>,
        /// Check and record the limits without enforcing them, until `strategy mode NAME enforce`
        #[arg(long)]
        observe: bool,
        /// Write its mandate and its override from a Freqtrade configuration
        #[arg(long, value_name = "FILE")]
        from_freqtrade: Option<PathBuf>,
        #[command(flatten)]
        key: Issue,
    },
    /// Show strategies and their virtual keys
    #[command(after_help = "Example:
  portcullis strategy list --json")]
    List,
    /// Revoke a strategy with all its virtual keys
    #[command(after_help = "Example:
  portcullis strategy revoke my-bot")]
    Revoke { name: String },
    /// Enforce a strategy's limits, or only observe them
    #[command(after_help = "Example:
  portcullis strategy mode quoter enforce")]
    Mode {
        name: String,
        #[arg(value_enum)]
        mode: Mode,
    },
    /// Issue and revoke virtual keys
    #[command(subcommand)]
    Key(Key),
}

#[derive(clap::Subcommand)]
pub enum Key {
    /// Issue a further virtual key
    #[command(after_help = "Examples:
  portcullis strategy key issue my-bot --account main --expires 90d
  portcullis strategy key issue my-bot --canary

A canary is a key that no program uses: leave it where a thief would look. Whoever signs with it is one.")]
    Issue {
        strategy: String,
        #[command(flatten)]
        key: Issue,
    },
    /// Revoke one virtual key; its connections are closed
    #[command(after_help = "Example:
  portcullis strategy key revoke 12")]
    Revoke { id: u64 },
}

#[derive(clap::Args)]
#[group(skip)]
pub struct Issue {
    /// The account that the virtual key is for [default: the only one]
    #[arg(long, value_name = "ACCOUNT")]
    account: Option<String>,
    /// Networks that it may come from, CIDR
    #[arg(
        long,
        value_name = "NETWORK",
        value_delimiter = ',',
        default_value = "127.0.0.1/32"
    )]
    sources: Vec<String>,
    /// When it expires: `90d`, `12h`, `2027-01-31`
    #[arg(long, value_name = "TIME", default_value = "90d")]
    expires: String,
    /// How the program signs
    #[arg(long, value_enum, default_value = "hmac")]
    scheme: SchemeName,
    /// The program's public key in PEM (ed25519 and rsa)
    #[arg(long, value_name = "FILE")]
    public_key: Option<PathBuf>,
    /// Nobody is to use it: a valid signature by it is an alarm
    #[arg(long)]
    canary: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Mode {
    Enforce,
    Observe,
}

pub fn run(context: &Context, arguments: &Strategy) -> Done {
    match arguments {
        Strategy::Add {
            name,
            desk,
            observe,
            from_freqtrade,
            key,
        } => add(
            context,
            name,
            desk.as_deref(),
            *observe,
            from_freqtrade.as_deref(),
            key,
        ),
        Strategy::List => list(context),
        Strategy::Revoke { name: text } => {
            let command = Command::StrategyRevoke { name: name(text)? };
            simple(
                context,
                &command,
                &format!("strategy {text} and its virtual keys are revoked"),
            )
        }
        Strategy::Mode { name: text, mode } => {
            let observe = *mode == Mode::Observe;
            let command = Command::StrategyMode {
                name: name(text)?,
                observe,
            };
            let what = match observe {
                true => "its limits are checked and recorded, not enforced",
                false => "its limits are enforced",
            };
            simple(context, &command, &format!("strategy {text}: {what}"))
        }
        Strategy::Key(Key::Issue { strategy, key }) => {
            let site = context.open()?;
            let state = ledger::fold(&site.log(), None)?;
            let command = issue(&state, strategy, None, key, None)?;
            let issued = issued(operator::tell(&site, context.given, &command)?)?;
            let object = json!({ "entry": issued.get("id"), "virtual_key": issued });
            show::either(context.json, &object, || words(&issued, key));
            Ok(DONE)
        }
        Strategy::Key(Key::Revoke { id }) => {
            let command = Command::VirtualKeyRevoke {
                id: VirtualKeyId(*id),
            };
            simple(context, &command, &format!("virtual key {id} is revoked"))
        }
    }
}

/// A command whose answer is its entry.
pub fn simple(context: &Context, command: &Command, words: &str) -> Done {
    let site = context.open()?;
    let entry = done(operator::tell(&site, context.given, command)?)?;
    show::either(context.json, &json!({ "entry": entry }), || {
        format!("{words}, entry {entry}")
    });
    Ok(DONE)
}

/// The entry of a command that was done.
pub fn done(answer: Answer) -> Result<EntryId, Fail> {
    match answer {
        Answer::Done { entry } | Answer::VirtualKey { entry, .. } => Ok(entry),
        _ => Err(unexpected()),
    }
}

pub fn unexpected() -> Fail {
    Fail::untold("the signer answered something else than it was asked")
        .hint("are all programs of one build?")
}

fn add(
    context: &Context,
    strategy: &str,
    desk: Option<&str>,
    observe: bool,
    from_freqtrade: Option<&Path>,
    key: &Issue,
) -> Done {
    let site = context.open()?;
    let state = ledger::fold(&site.log(), None)?;
    let freqtrade = from_freqtrade
        .map(|config| Freqtrade::new(&site, &state, strategy, config, key))
        .transpose()?;
    let command = Command::StrategyAdd {
        name: name(strategy)?,
        desk: desk.map(name).transpose()?,
        observe,
    };
    // What is wrong with the key is found before anything is done.
    let account = freqtrade.as_ref().map(|f| f.account.as_str());
    let wants_key = account.or(key.account.as_deref()).is_some() || state.accounts.len() == 1;
    let issue = wants_key
        .then(|| issue(&state, strategy, account, key, Some(())))
        .transpose()?;
    let mut signer = Signer::of(&site, context.given)?;
    let entry = done(signer.ask(&command)?)?;
    let made = issue
        .map(|command| signer.ask(&command).and_then(issued))
        .transpose();
    signer.done()?;
    let made = match made {
        Ok(made) => made,
        Err(fail) => {
            let hint = format!(
                "strategy `{strategy}` exists now (entry {entry}); `portcullis strategy key issue {strategy}` issues a key"
            );
            return Err(fail.hint(hint));
        }
    };
    let written = match (&freqtrade, &made) {
        (Some(freqtrade), Some(issued)) => Some(freqtrade.write(issued)?),
        _ => None,
    };
    let object = json!({
        "entry": entry,
        "strategy": { "id": entry, "name": strategy, "desk": desk, "mode": mode(observe) },
        "virtual_key": made,
        "override": written,
    });
    show::either(context.json, &object, || {
        let desk = desk
            .map(|desk| format!(", desk {desk}"))
            .unwrap_or_default();
        let mut text = format!(
            "strategy {strategy} is added{desk}, mode {}, entry {entry}\n",
            mode(observe)
        );
        match &made {
            Some(issued) => text += &words(issued, key),
            None => {
                text += &format!(
                    "it has no virtual key yet; `portcullis strategy key issue {strategy} --account ACCOUNT` issues one\n"
                );
            }
        }
        if let Some(place) = &written {
            text += &format!(
                "\nrelease/mandates.toml has a section [strategy.{strategy}]: look at it, then `portcullis policy apply`\n\
                 the bot starts with `freqtrade trade -c config.json -c {}`\n",
                place.display()
            );
        }
        text
    });
    Ok(DONE)
}

fn mode(observe: bool) -> &'static str {
    if observe { "observe" } else { "enforce" }
}

/// A bot of Freqtrade: what is written for it once it has its key. All that can be wrong is found before.
struct Freqtrade {
    bot: freqtrade::Bot,
    account: String,
    url: String,
    mandates: PathBuf,
    section: String,
    place: PathBuf,
}

impl Freqtrade {
    fn new(
        site: &Site,
        state: &State,
        strategy: &str,
        config: &Path,
        key: &Issue,
    ) -> Result<Self, Fail> {
        let bot = freqtrade::Bot::read(config)?;
        if key.scheme != SchemeName::Hmac || key.canary {
            return Err(Fail::untold("Freqtrade signs with HMAC")
                .hint("leave out --scheme, --public-key and --canary"));
        }
        let at_venue: Vec<&str> = state
            .accounts
            .values()
            .filter(|account| account.venue.as_str() == bot.venue)
            .map(|account| account.name.as_str())
            .collect();
        let account = match (&key.account, at_venue.as_slice()) {
            (Some(account), of_venue) if of_venue.contains(&account.as_str()) => account.clone(),
            (None, [only]) => (*only).to_owned(),
            (Some(account), _) => {
                return Err(Fail::refused(format!(
                    "`{account}` is no account at {}, where the configuration trades",
                    bot.venue
                ))
                .hint("`portcullis account list` shows them"));
            }
            (None, _) => {
                return Err(Fail::untold(format!("for which account at {}?", bot.venue))
                    .hint("give --account; `portcullis account list` shows them"));
            }
        };
        let place = freqtrade::place(config, strategy);
        if place.exists() {
            return Err(
                Fail::refused(format!("`{}` is there already", place.display()))
                    .hint("move it away; nothing is written over"),
            );
        }
        let mandates = site.dir.join("release/mandates.toml");
        let text = site::read_text(&mandates, 1 << 20)?;
        let known: toml::Table = toml::from_str(&text).map_err(|why| {
            Fail::untold(format!(
                "release/mandates.toml: {}",
                why.to_string().trim_end()
            ))
        })?;
        if known
            .get("strategy")
            .and_then(|s| s.get(strategy))
            .is_some()
        {
            return Err(Fail::refused(format!(
                "release/mandates.toml has a section [strategy.{strategy}] already"
            ))
            .hint("take it out, or add the strategy without --from-freqtrade"));
        }
        Ok(Self {
            url: freqtrade::url(site, bot.venue, bot.host())?,
            section: format!("{}\n{}", text.trim_end(), bot.mandate(strategy)?),
            bot,
            account,
            mandates,
            place,
        })
    }

    fn write(&self, issued: &Value) -> Result<PathBuf, Fail> {
        let text = |name: &str| issued.get(name).and_then(Value::as_str).unwrap_or_default();
        let value = self
            .bot
            .overrides(&self.url, text("api_key"), text("secret"));
        freqtrade::write(&self.place, &value)?;
        std::fs::write(&self.mandates, &self.section)
            .map_err(|why| Fail::at(&self.mandates, &why))?;
        Ok(self.place.clone())
    }
}

fn issue(
    state: &State,
    strategy: &str,
    account: Option<&str>,
    key: &Issue,
    new: Option<()>,
) -> Result<Command, Fail> {
    let strategy = name(strategy)?;
    if new.is_none() && state.strategy(&strategy).is_none() {
        return Err(Fail::refused(format!("there is no strategy `{strategy}`"))
            .hint("`portcullis strategy list` shows them"));
    }
    let account = match account.or(key.account.as_deref()) {
        Some(account) => name(account)?,
        None => match state.accounts.len() {
            1 => state
                .accounts
                .values()
                .next()
                .map(|account| account.name.clone()),
            _ => None,
        }
        .ok_or_else(|| {
            Fail::untold("for which account?")
                .hint("give --account; `portcullis account list` shows them")
        })?,
    };
    if state.account(&account).is_none() {
        return Err(Fail::refused(format!("there is no account `{account}`"))
            .hint("`portcullis account list` shows them"));
    }
    let scheme = Scheme::from(key.scheme);
    let public_key = match (&key.public_key, scheme) {
        (None, Scheme::HmacSha256) => None,
        (Some(_), Scheme::HmacSha256) => {
            return Err(Fail::untold("an HMAC key has no public key")
                .hint("leave out --public-key, or give --scheme"));
        }
        (None, _) => {
            return Err(Fail::untold(format!(
                "scheme {} needs the program's public key",
                scheme_name(scheme)
            ))
            .hint("`openssl pkey -in private.pem -pubout -out public.pem`, then --public-key public.pem"));
        }
        (Some(file), _) => Some(site::read_text(file, PUBLIC_KEY_BYTES_MAX)?),
    };
    let expires = show::parse_time(&key.expires, show::now())
        .map_err(|why| Fail::untold(format!("--expires: {why}")))?;
    if expires <= show::now() {
        return Err(Fail::untold(format!(
            "--expires: {} is over",
            show::time_short(expires)
        )));
    }
    if let Some(bad) = key
        .sources
        .iter()
        .find(|text| Network::parse(text).is_none())
    {
        return Err(Fail::untold(format!("--sources: `{bad}` is no network"))
            .hint("write `10.0.0.0/8` or one address; bits beyond the prefix are zero"));
    }
    Ok(Command::VirtualKeyIssue {
        strategy,
        account,
        scheme,
        public_key,
        expires,
        sources: key.sources.clone(),
        canary: key.canary,
    })
}

/// What a program needs to be given.
fn issued(answer: Answer) -> Result<Value, Fail> {
    match answer {
        Answer::VirtualKey {
            id,
            strategy,
            api_key,
            secret,
            ..
        } => Ok(json!({ "id": id, "strategy": strategy, "api_key": api_key, "secret": secret })),
        _ => Err(unexpected()),
    }
}

fn words(issued: &Value, key: &Issue) -> String {
    let text = |name: &str| issued.get(name).and_then(Value::as_str);
    let until = show::parse_time(&key.expires, show::now()).map(show::time_short);
    let mut words = format!(
        "virtual key {}{}, from {}, until {}\n\n  api key  {}\n",
        issued.get("id").unwrap_or(&Value::Null),
        if key.canary { ", a canary" } else { "" },
        key.sources.join(", "),
        until.unwrap_or_default(),
        text("api_key").unwrap_or_default(),
    );
    if let Some(secret) = text("secret") {
        words += &format!(
            "  secret   {secret}\n\nthe secret is shown this once; it works at this gate only\n"
        );
    }
    words
}

fn list(context: &Context) -> Done {
    let site = context.open()?;
    let state = ledger::fold(&site.log(), None)?;
    let now = show::now();
    let keys_of = |id| {
        state
            .virtual_keys
            .iter()
            .filter(move |(_, key)| key.strategy == id)
    };
    let account = |id| {
        state
            .accounts
            .get(&id)
            .map_or_else(String::new, |account| account.name.to_string())
    };
    let strategies: Vec<_> = state
        .strategies
        .iter()
        .map(|(id, strategy)| {
            json!({
                "id": id, "name": strategy.name, "desk": strategy.desk,
                "mode": mode(strategy.observe), "revoked": strategy.revoked,
                "virtual_keys": keys_of(*id).map(|(key, of)| json!({
                    "id": key, "account": account(of.account), "scheme": of.scheme, "api_key": of.api_key,
                    "expires": of.expires, "sources": of.sources, "canary": of.canary, "revoked": of.revoked,
                })).collect::<Vec<_>>(),
            })
        })
        .collect();
    show::either(context.json, &json!({ "strategies": strategies }), || {
        let mut rows = Vec::new();
        for (id, strategy) in &state.strategies {
            let mut own = [
                strategy.name.to_string(),
                id.to_string(),
                strategy
                    .desk
                    .as_ref()
                    .map_or("-".to_owned(), ToString::to_string),
                match strategy.revoked {
                    true => "revoked".to_owned(),
                    false => mode(strategy.observe).to_owned(),
                },
            ];
            let mut row = |key: [String; 5]| {
                let [name, id, desk, mode] = std::mem::take(&mut own);
                let [number, account, api_key, sources, until] = key;
                rows.push([
                    name, id, desk, mode, number, account, api_key, sources, until,
                ]);
            };
            for (key, of) in keys_of(*id) {
                let mut until = life(of.revoked, of.expires, now);
                if of.canary {
                    until += ", canary";
                }
                row([
                    key.to_string(),
                    account(of.account),
                    short(&of.api_key),
                    of.sources.join(","),
                    until,
                ]);
            }
            if keys_of(*id).next().is_none() {
                row([
                    "-".to_owned(),
                    "no key".to_owned(),
                    String::new(),
                    String::new(),
                    String::new(),
                ]);
            }
        }
        show::table(
            [
                "strategy", "id", "desk", "mode", "key", "account", "api key", "sources", "until",
            ],
            &rows,
            "no strategies; `portcullis strategy add NAME --account ACCOUNT` adds one",
        )
    });
    Ok(DONE)
}

fn life(revoked: bool, expires: Timestamp, now: Timestamp) -> String {
    match (revoked, expires > now) {
        (true, _) => "revoked".to_owned(),
        (false, false) => format!("expired {}", show::time_short(expires)),
        (false, true) => show::time_short(expires),
    }
}
