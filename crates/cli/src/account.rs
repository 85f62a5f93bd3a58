//! `portcullis account`: the firm's accounts and their real keys.

use crate::Context;
use crate::fail::{DONE, Done, Fail};
use crate::hosts;
use crate::ledger;
use crate::operator::{self, Signer, scheme_name};
use crate::seal;
use crate::show;
use crate::site::Site;
use crate::terminal::{self, Secret};
use crate::{desk, strategy};
use aws_lc_rs::signature::{Ed25519KeyPair, RsaKeyPair};
use portcullis_model::action::{Duty, Scheme};
use portcullis_model::command::Command;
use portcullis_model::id::Name;
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject;
use serde_json::json;
use std::fs;
use std::io::IsTerminal;

#[derive(clap::Subcommand)]
pub enum Account {
    /// Name an account of the firm at a venue
    #[command(after_help = "Examples:
  portcullis account add main --venue binance
  portcullis account add perp --venue binance --host fapi.binance.com
  portcullis account add alt --venue bybit
  portcullis account add fast --venue bybit --host api.bybit.com \\
    --host stream.bybit.com --sessions

A venue host that the site does not know yet is added to release/hosts.toml, and a listener on loopback to site.toml: programs use its URL in place of the venue's. Look at both; the hosts govern after `portcullis policy apply`, the listener after `portcullis up` was started again.")]
    Add {
        name: String,
        #[arg(long, value_name = "VENUE")]
        venue: String,
        /// A host of the venue that programs talk to; repeatable [default: the venue's first, if the site has none]
        #[arg(long, value_name = "HOST")]
        host: Vec<String>,
        /// Let its programs log on at the venue by WebSocket: on such a session egress could send orders that nobody signed
        #[arg(long)]
        sessions: bool,
    },
    /// Show accounts and their keys
    #[command(after_help = "Example:
  portcullis account list --json")]
    List,
    /// Add or remove real keys
    #[command(subcommand)]
    Key(Key),
}

#[derive(clap::Subcommand)]
pub enum Key {
    /// Seal a real key into the site
    #[command(after_help = "Examples:
  portcullis account key add main --duty trade --api-key 5Kc…
  portcullis account key add main --duty read --api-key 7Qe… < secret.txt
  portcullis account key add main --duty trade --api-key 9Fd… \\
    --scheme ed25519 < private.pem

The secret comes from standard input, or the terminal without echo: HMAC as text, Ed25519 and RSA as a private key in PEM (PKCS#8). At a venue whose keys have a passphrase (OKX) it is the second line, and sealed with the secret. With --passphrase-stdin the first line is the site's passphrase and the rest the secret. Give an account one key for each duty: with one for all, what only reads is signed by a key that can trade.")]
    Add {
        account: String,
        #[arg(long, value_enum)]
        duty: DutyName,
        #[arg(long, value_enum, default_value = "hmac")]
        scheme: SchemeName,
        /// The key's public text, as the venue shows it
        #[arg(long, value_name = "KEY")]
        api_key: String,
    },
    /// Stop using a real key; remove it at the venue too
    #[command(after_help = "Example:
  portcullis account key remove main --api-key 5Kc…")]
    Remove {
        account: String,
        #[arg(long, value_name = "KEY")]
        api_key: String,
    },
}

#[derive(Clone, Copy, clap::ValueEnum)]
pub enum DutyName {
    /// Sees
    Read,
    /// Orders and cancels
    Trade,
    /// Moves value
    Move,
    /// Keys and sub-accounts
    Admin,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum SchemeName {
    Hmac,
    Ed25519,
    Rsa,
}

impl From<SchemeName> for Scheme {
    fn from(name: SchemeName) -> Self {
        match name {
            SchemeName::Hmac => Self::HmacSha256,
            SchemeName::Ed25519 => Self::Ed25519,
            SchemeName::Rsa => Self::RsaSha256,
        }
    }
}

pub fn duty_name(duty: Duty) -> &'static str {
    match duty {
        Duty::Read => "read",
        Duty::Trade => "trade",
        Duty::Move => "move",
        Duty::Admin => "admin",
    }
}

/// A name that people typed.
pub fn name(text: &str) -> Result<Name, Fail> {
    Name::new(text).map_err(|why| Fail::untold(why.to_string()))
}

pub fn run(context: &Context, arguments: &Account) -> Done {
    match arguments {
        Account::Add {
            name,
            venue,
            host,
            sessions,
        } => add(context, name, venue, host, *sessions),
        Account::List => list(context),
        Account::Key(Key::Add {
            account,
            duty,
            scheme,
            api_key,
        }) => key_add(context, account, *duty, (*scheme).into(), api_key),
        Account::Key(Key::Remove { account, api_key }) => key_remove(context, account, api_key),
    }
}

fn add(context: &Context, account: &str, venue: &str, hosts: &[String], sessions: bool) -> Done {
    let site = context.open()?;
    let named = name(account)?;
    let plan = hosts::plan(&site, venue, hosts, sessions.then_some(account))?;
    let command = Command::AccountAdd {
        name: named,
        venue: name(venue)?,
    };
    let entry = strategy::done(operator::tell(&site, context.given, &command)?)?;
    plan.write()?;
    let added = &plan.added;
    let object = json!({
        "entry": entry, "account": { "id": entry, "name": account, "venue": venue },
        "listeners": added.iter().map(|a| json!({ "host": a.host, "bind": a.bind })).collect::<Vec<_>>(),
    });
    show::either(context.json, &object, || {
        let mut words = format!("account {account} at {venue} is added, entry {entry}");
        for added in added {
            words.push_str(&format!(
                "\nlistener for {} at {}: it serves when `portcullis up` is started again",
                added.host, added.bind
            ));
        }
        words
    });
    Ok(DONE)
}

fn list(context: &Context) -> Done {
    let site = context.open()?;
    let state = ledger::fold(&site.log(), None)?;
    let keys_of = |id| state.keys.iter().filter(move |(_, key)| key.account == id);
    let accounts: Vec<_> = state
        .accounts
        .iter()
        .map(|(id, account)| {
            json!({
                "id": id, "name": account.name, "venue": account.venue,
                "keys": keys_of(*id).map(|(key, of)| json!({
                    "id": key, "duty": of.duty, "scheme": of.scheme, "api_key": of.api_key, "sealed": of.sealed,
                })).collect::<Vec<_>>(),
            })
        })
        .collect();
    show::either(context.json, &json!({ "accounts": accounts }), || {
        let mut rows = Vec::new();
        for (id, account) in &state.accounts {
            let mut first = true;
            let mut row = |key: [String; 4]| {
                let [duty, scheme, api_key, sealed] = key;
                let own = |text: String| if first { text } else { String::new() };
                rows.push([
                    own(account.name.to_string()),
                    own(id.to_string()),
                    own(account.venue.to_string()),
                    duty,
                    scheme,
                    api_key,
                    sealed,
                ]);
                first = false;
            };
            for (_, key) in keys_of(*id) {
                row([
                    duty_name(key.duty).to_owned(),
                    scheme_name(key.scheme).to_owned(),
                    short(&key.api_key),
                    key.sealed.clone(),
                ]);
            }
            if keys_of(*id).next().is_none() {
                row([
                    "no key".to_owned(),
                    String::new(),
                    String::new(),
                    String::new(),
                ]);
            }
        }
        show::table(
            [
                "account",
                "id",
                "venue",
                "duty",
                "scheme",
                "api key",
                "sealed in",
            ],
            &rows,
            "no accounts; `portcullis account add NAME --venue binance` adds one",
        )
    });
    Ok(DONE)
}

/// The beginning of a key's public text: enough to tell keys apart.
pub fn short(api_key: &str) -> String {
    match api_key.chars().count() {
        0..=16 => api_key.to_owned(),
        _ => api_key.chars().take(12).chain(['…']).collect(),
    }
}

fn key_add(
    context: &Context,
    account: &str,
    duty: DutyName,
    scheme: Scheme,
    api_key: &str,
) -> Done {
    let site = context.open()?;
    let account = name(account)?;
    let duty = match duty {
        DutyName::Read => Duty::Read,
        DutyName::Trade => Duty::Trade,
        DutyName::Move => Duty::Move,
        DutyName::Admin => Duty::Admin,
    };
    let state = ledger::fold(&site.log(), None)?;
    let venue = state
        .account(&account)
        .and_then(|id| state.accounts.get(&id))
        .map(|account| &account.venue)
        .ok_or_else(|| {
            Fail::refused(format!("there is no account `{account}`"))
                .hint("`portcullis account list` shows them, `portcullis account add` adds one")
        })?;
    let with_passphrase = portcullis_venues::dialect::of(venue.as_str())
        .is_some_and(|dialect| dialect.passphrase() != portcullis_venues::Passphrase::None);
    let passphrase = seal::passphrase(&site, context.given)?;
    if let Some(passphrase) = passphrase
        .as_ref()
        .filter(|_| site.settings.unseal.passphrase)
    {
        seal::try_passphrase(&site, passphrase)
            .map_err(|fail| operator::explain_seal(fail, &site))?;
    }
    let mut secret = terminal::secret_of_stdin("secret of the key")?;
    if with_passphrase && std::io::stdin().is_terminal() {
        let beside = terminal::secret_of_stdin("passphrase of the key, as the venue has it")?;
        secret.push(b'\n');
        secret.extend_from_slice(&beside);
    }
    checked(scheme, with_passphrase, &secret)?;
    let sealed = free_name(&site, &account, duty);
    seal::seal(
        &site.settings.unseal,
        &site.dir.join(&sealed),
        &secret,
        passphrase.as_ref(),
    )?;
    drop(secret);
    let command = Command::KeyAdd {
        account: account.clone(),
        duty,
        scheme,
        api_key: api_key.to_owned(),
        sealed: sealed.clone(),
    };
    let told = match Signer::running(&site)? {
        Some(mut signer) => signer.ask(&command).map(|answer| (answer, true)),
        None => Signer::with(&site, passphrase.as_ref()).and_then(|mut signer| {
            let answer = signer.ask(&command);
            let done = signer.done();
            answer.and_then(|answer| done.map(|()| (answer, false)))
        }),
    };
    let (answer, is_running) = match told {
        Ok(told) => told,
        Err(fail) => {
            // The log does not name it, unless it is not known whether it does.
            if fail.code == crate::fail::REFUSED {
                let _ = fs::remove_file(site.dir.join(&sealed));
            }
            return Err(fail);
        }
    };
    let entry = strategy::done(answer)?;
    // The running signer gets it at once.
    let opened = match is_running {
        true => desk::hand_secrets(&site, passphrase.as_ref()),
        false => Ok(()),
    };
    drop(passphrase);
    let object = json!({
        "entry": entry, "open": is_running && opened.is_ok(),
        "key": {
            "id": entry, "account": account, "duty": duty, "scheme": scheme, "api_key": api_key, "sealed": sealed,
        },
    });
    show::either(context.json, &object, || {
        let mut text = format!(
            "key {} with duty {} is added to account {account}, entry {entry}, sealed in {sealed}\n",
            short(api_key),
            duty_name(duty)
        );
        match &opened {
            Ok(()) if is_running => text += "the running gate uses it from now on\n",
            Ok(()) => {}
            Err(fail) => {
                text += &format!(
                    "note: the running gate has not opened it: {}; `portcullis unseal` does\n",
                    fail.fact
                );
            }
        }
        let of_account = state
            .keys
            .values()
            .filter(|key| Some(key.account) == state.account(&account))
            .count();
        if of_account == 0 && duty != Duty::Read {
            text += "note: this is the account's only key, so reads are signed by it too; add one with duty read\n";
        }
        text
    });
    Ok(DONE)
}

/// A secret that the signer could not use is refused before it is sealed. Nothing of it is shown.
fn checked(scheme: Scheme, with_passphrase: bool, secret: &Secret) -> Result<(), Fail> {
    if with_passphrase && scheme != Scheme::HmacSha256 {
        return Err(Fail::refused(format!(
            "the venue has no keys of scheme {}",
            scheme_name(scheme)
        )));
    }
    match scheme {
        Scheme::HmacSha256 => {
            let mut lines = secret.split(|byte| *byte == b'\n');
            let is_secret = |line: &[u8]| !line.is_empty() && line.iter().all(u8::is_ascii_graphic);
            let is_passphrase =
                |line: &[u8]| !line.is_empty() && line.iter().all(|b| (b' '..=b'~').contains(b));
            let plain = lines.next().is_some_and(is_secret)
                && (!with_passphrase || lines.next().is_some_and(is_passphrase))
                && lines.next().is_none();
            plain.then_some(()).ok_or_else(|| {
                Fail::refused("that is no HMAC secret").hint(match with_passphrase {
                    true => "give the secret's text as the venue shows it, and in a second line the key's passphrase",
                    false => "give the secret's text as the venue shows it, on one line",
                })
            })
        }
        Scheme::Ed25519 | Scheme::RsaSha256 => {
            let is_key = PrivatePkcs8KeyDer::from_pem_slice(secret).is_ok_and(|der| {
                let der = der.secret_pkcs8_der();
                match scheme {
                    Scheme::Ed25519 => Ed25519KeyPair::from_pkcs8(der)
                        .or_else(|_| Ed25519KeyPair::from_pkcs8_maybe_unchecked(der))
                        .is_ok(),
                    _ => RsaKeyPair::from_pkcs8(der).is_ok(),
                }
            });
            is_key.then_some(()).ok_or_else(|| {
                Fail::refused(format!("that is no private key of scheme {}", scheme_name(scheme)))
                    .hint("give PKCS#8 in PEM: `-----BEGIN PRIVATE KEY-----`; `openssl pkcs8 -topk8 -nocrypt` makes it of other forms")
            })
        }
    }
}

fn free_name(site: &Site, account: &Name, duty: Duty) -> String {
    (1..)
        .map(|n: u32| format!("keys/{account}-{}-{n}.age", duty_name(duty)))
        .find(|name| !site.dir.join(name).exists())
        .unwrap_or_default()
}

fn key_remove(context: &Context, account: &str, api_key: &str) -> Done {
    let site = context.open()?;
    let command = Command::KeyRemove {
        account: name(account)?,
        api_key: api_key.to_owned(),
    };
    let sealed = ledger::fold(&site.log(), None)?
        .keys
        .values()
        .find(|key| key.api_key == api_key)
        .map(|key| key.sealed.clone());
    let entry = strategy::done(operator::tell(&site, context.given, &command)?)?;
    if let Some(sealed) = &sealed {
        let _ = fs::remove_file(site.dir.join(sealed));
    }
    show::either(
        context.json,
        &json!({ "entry": entry, "sealed": sealed }),
        || {
            format!(
                "key {} is removed, entry {entry}, and its sealed file deleted; remove it at the venue too, since a backup may hold a copy",
                short(api_key)
            )
        },
    );
    Ok(DONE)
}
