//! `portcullis init`: makes a site whose release permits nothing yet.

use crate::Context;
use crate::fail::{DONE, Done, Fail};
use crate::operator::Signer;
use crate::seal::{self, Given};
use crate::show;
use crate::site::{self, Site, Unseal};
use crate::terminal::{self, Secret};
use aws_lc_rs::rand;
use portcullis_model::command::{Answer, Command};
use portcullis_model::id::Name;
use portcullis_venues::Catalog;
use serde_json::json;
use std::fs;
use std::io::{IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

#[derive(clap::Args)]
#[command(after_help = "Examples:
  portcullis init --site ./site --name fund-1 --credential ~/fund-1.credential
  portcullis init --site ./site --name fund-1       asks for a passphrase
  pass show fund-1 | portcullis init --site ./site --name fund-1 --passphrase-stdin

The site's secrets are sealed with age. With --credential they open unattended: give the file to systemd (`systemd-creds encrypt`, docs/ops/install.md) and delete it, or leave it where only the gate reads it and keep it off the backup of the site. With a passphrase somebody types it at each start.")]
pub struct Init {
    /// What the site is called; it stands in every entry of its log and never changes [default: the folder's name]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// The venue that it begins with; `account add` brings others
    #[arg(long, value_name = "VENUE", default_value = "binance", value_parser = crate::decode::venues())]
    venue: String,
    #[command(flatten)]
    to: To,
}

/// What opens a site's secrets. None of these: a passphrase.
#[derive(clap::Args)]
pub struct To {
    /// Seal to this credential file; made if it is not there
    #[arg(long, value_name = "FILE")]
    credential: Option<PathBuf>,
    /// Seal to this public key, `age1…` or an SSH public key, too; repeatable
    #[arg(long, value_name = "KEY")]
    recipient: Vec<String>,
    /// What opens what is sealed to --recipient: an age identity or SSH key file; repeatable
    #[arg(long, value_name = "FILE", requires = "recipient")]
    identity: Vec<PathBuf>,
}

pub fn run(context: &Context, arguments: &Init) -> Done {
    let dir = site::new_dir(context.site.as_deref())?;
    let name = name_of(arguments, &dir)?;
    let made_before = dir.exists();
    if made_before && fs::read_dir(&dir).is_ok_and(|mut list| list.next().is_some()) {
        return Err(Fail::refused(format!(
            "`{}` is there already and is not empty",
            dir.display()
        ))
        .hint("name a new folder; an existing site is never written over"));
    }
    let made = make(context, arguments, &dir, &name, made_before);
    let (site, unattended) = match made {
        Ok(made) => made,
        Err(fail) => {
            // What is half made would look like a site.
            for item in fs::read_dir(&dir).into_iter().flatten().flatten() {
                let _ = fs::remove_dir_all(item.path()).or_else(|_| fs::remove_file(item.path()));
            }
            if !made_before {
                let _ = fs::remove_dir(&dir);
            }
            return Err(fail);
        }
    };
    let vkey = fs::read_to_string(site.log().join("vkey")).unwrap_or_default();
    let vkey = vkey.trim();
    let opener = seal::Opener::of(&site);
    let object = json!({
        "site": site.dir, "name": name, "opened_by": opener.name(), "vkey": vkey,
        "credential": unattended,
    });
    show::either(context.json, &object, || {
        let dir = site.dir.display();
        let named = match context.site_from_environment {
            true => String::new(),
            false => format!("  export PORTCULLIS_SITE={dir}\n"),
        };
        let venue = &arguments.venue;
        format!(
            "site {name} is made in {dir}\n\
             opened by  {}\n\
             log key    {vkey}\n           keep this line elsewhere: `portcullis log verify --key` checks the log with it\n\
             \n\
             It permits nothing yet. Next:\n{named}\
             \x20 portcullis account add main --venue {venue}\n\
             \x20 portcullis account key add main --duty trade --scheme hmac --api-key KEY < secret.txt\n\
             \x20 portcullis market fetch {venue}\n\
             \x20 portcullis strategy add my-bot --account main\n\
             \x20 $EDITOR {dir}/release/mandates.toml    name markets and numbers\n\
             \x20 portcullis policy check && portcullis policy apply\n\
             \x20 portcullis up",
            opener.words()
        )
    });
    Ok(DONE)
}

fn name_of(arguments: &Init, dir: &Path) -> Result<Name, Fail> {
    let text = match &arguments.name {
        Some(name) => name.clone(),
        None => dir
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default(),
    };
    Name::new(&text).map_err(|why| Fail::untold(format!("--name: {why}")))
}

fn make(
    context: &Context,
    arguments: &Init,
    dir: &Path,
    name: &Name,
    made_before: bool,
) -> Result<(Site, Option<PathBuf>), Fail> {
    if !made_before {
        seal::private_folder(dir)?;
    }
    for folder in [
        "keys",
        "log",
        "run",
        "releases",
        "release",
        "release/markets",
        "release/catalog.d",
    ] {
        seal::private_folder(&dir.join(folder))?;
    }
    if context.given == Given::OnStdin && !arguments.to.is_passphrase() {
        return Err(Fail::untold(
            "--passphrase-stdin and --credential or --recipient exclude each other",
        )
        .hint("a passphrase seals alone"));
    }
    let (unseal, passphrase, credential) = unseal_of(context, &arguments.to, dir)?;
    let uid = site::uid()?;
    let catalog = Catalog::builtin().map_err(|why| Fail::untold(why.to_string()))?;
    let service = catalog
        .services()
        .iter()
        .find(|service| service.venue() == arguments.venue)
        .ok_or_else(|| Fail::untold(format!("venue `{}` has no host", arguments.venue)))?;
    let of_venue = |text: &str| {
        text.replace("{VENUE}", service.venue())
            .replace("{HOST}", &service.host)
            .replace("{WEIGHT}", &service.weight_per_minute.to_string())
            .replace("{ORDERS}", &service.orders_per_10s.to_string())
    };
    let text = of_venue(include_str!("init/site.toml"))
        .replace("{NAME}", name.as_str())
        .replace("{UID}", &uid.to_string())
        .replace("{USER}", &site::user_name(uid))
        .replace("{UNSEAL}", unseal_text(&unseal)?.trim_end());
    write(dir, "site.toml", &text)?;
    write(
        dir,
        "release/mandates.toml",
        include_str!("init/mandates.toml"),
    )?;
    write(dir, "release/values.toml", include_str!("init/values.toml"))?;
    write(
        dir,
        "release/hosts.toml",
        &of_venue(include_str!("init/hosts.toml")),
    )?;
    write(dir, "release/cases.toml", include_str!("init/cases.toml"))?;
    write(
        dir,
        "release/authority.cedar",
        portcullis_authority::DEFAULT_POLICY,
    )?;
    for file in [seal::SITE_SECRET, seal::LOG_KEY] {
        let mut secret = Zeroizing::new([0; 32]);
        rand::fill(secret.as_mut_slice()).map_err(|_| Fail::untold("no randomness"))?;
        seal::seal(
            &unseal,
            &dir.join(file),
            secret.as_slice(),
            passphrase.as_ref(),
        )?;
    }
    let site = Site::open(Some(dir))?;
    // The first start of the signer writes the first entry, with what was sealed just now.
    let mut signer = Signer::created(&site, passphrase.as_ref())?;
    let answer = signer.ask(&Command::Status);
    let done = signer.done();
    match (answer?, done?) {
        (Answer::Shown { data }, ()) if data.get("site") == Some(&json!(name)) => {}
        _ => {
            return Err(
                Fail::untold("the signer did not create the site").hint("please report this")
            );
        }
    }
    Ok((site, credential))
}

impl To {
    pub fn is_passphrase(&self) -> bool {
        self.credential.is_none() && self.recipient.is_empty()
    }
}

/// To whom the site seals, the passphrase if that is it, and the credential that was made.
pub fn unseal_of(
    context: &Context,
    arguments: &To,
    dir: &Path,
) -> Result<(Unseal, Option<Secret>, Option<PathBuf>), Fail> {
    let absolute = |path: &PathBuf| std::path::absolute(path).map_err(|why| Fail::at(path, &why));
    let mut unseal = Unseal {
        recipients: arguments.recipient.clone(),
        identities: arguments
            .identity
            .iter()
            .map(absolute)
            .collect::<Result<_, _>>()?,
        ..Unseal::default()
    };
    if let Some(file) = &arguments.credential {
        let file = absolute(file)?;
        if file.starts_with(dir) {
            return Err(Fail::refused(format!(
                "the credential `{}` would lie in the site",
                file.display()
            ))
            .hint("put it elsewhere: who copies the site must not get what opens it"));
        }
        let public = match file.exists() {
            true => public_of(&file)?,
            false => seal::credential(&file)?,
        };
        unseal.recipients.push(public);
        unseal.credential = Some(file.clone());
        return Ok((unseal, None, Some(file)));
    }
    if !unseal.recipients.is_empty() {
        if unseal.identities.is_empty() {
            return Err(
                Fail::untold("nothing could open what is sealed to --recipient alone")
                    .hint("give --identity FILE or --credential FILE beside it"),
            );
        }
        return Ok((unseal, None, None));
    }
    unseal.passphrase = true;
    let passphrase = match context.given {
        Given::OnStdin => terminal::line_of_stdin()?,
        Given::Asked if std::io::stdin().is_terminal() => terminal::ask_twice("new passphrase")?,
        Given::Asked => {
            return Err(Fail::untold("what shall open the site's secrets?")
                .hint("give --credential FILE for an unattended start, or --passphrase-stdin"));
        }
    };
    if passphrase.len() < PASSPHRASE_BYTES_MIN {
        return Err(Fail::refused(format!(
            "the passphrase has fewer than {PASSPHRASE_BYTES_MIN} characters"
        ))
        .hint("who copies the disk can try passphrases for years; use several words"));
    }
    Ok((unseal, Some(passphrase), None))
}

/// A passphrase at least.
const PASSPHRASE_BYTES_MIN: usize = 12;

/// The recipient that a credential file names in its comment.
fn public_of(file: &Path) -> Result<String, Fail> {
    let text = Zeroizing::new(site::read_text(file, 65_536)?);
    text.lines()
        .find_map(|line| line.strip_prefix("# public key: "))
        .map(|public| public.trim().to_owned())
        .ok_or_else(|| {
            Fail::refused(format!(
                "`{}` is no credential of `portcullis init`",
                file.display()
            ))
            .hint("name a file that does not exist yet")
        })
}

pub fn unseal_text(unseal: &Unseal) -> Result<String, Fail> {
    toml::to_string(unseal).map_err(|why| Fail::untold(format!("site.toml: {why}")))
}

fn write(dir: &Path, name: &str, text: &str) -> Result<(), Fail> {
    let place = dir.join(name);
    fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&place)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())
                .and_then(|()| file.sync_all())
        })
        .map_err(|why| Fail::at(&place, &why))
}
