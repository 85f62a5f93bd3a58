//! `portcullis reseal`: seals a site's secrets again, to others, and says so in site.toml. The secrets stay what they are, and
//! pass through `portcullis-unseal` alone.
//!
//! The new seals are whole, synced and tried before they take the place of the old ones. Cut short anywhere, either
//! `keys/` and site.toml are as before, or `keys.old` still has the old seals and the next run says what to do.

use crate::Context;
use crate::fail::{DONE, Done, Fail};
use crate::init::{self, To};
use crate::operator;
use crate::seal;
use crate::show;
use crate::site::{Settings, Site, Unseal};
use crate::up;
use serde_json::json;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

#[derive(clap::Args)]
#[command(after_help = "Examples:
  portcullis reseal --credential /run/portcullis-setup/credential    a new credential
  portcullis reseal --recipient age1… --identity ~/ada.key           a person's own key
  portcullis reseal                                                  a passphrase, which it asks for

Every sealed file of the site is opened with what site.toml names now, and sealed to what is given here, which site.toml names from then on. The gate must not run. With --passphrase-stdin the first line of standard input is the passphrase that opens the site now, if it has one, and the next line the new one, if that is what seals it.

Backups keep the old seals: if what opened those is in the wrong hands, so are the exchange keys in them. Replace these at the venue, and issue the virtual keys anew.")]
pub struct Reseal {
    #[command(flatten)]
    to: To,
}

pub fn run(context: &Context, arguments: &Reseal) -> Done {
    let site = context.open()?;
    operator::owned(&site)?;
    let lock = up::lock(&site)?;
    let (keys, new, old) = (
        site.dir.join("keys"),
        site.dir.join("keys.new"),
        site.dir.join("keys.old"),
    );
    if old.exists() {
        if keys.exists() {
            return Err(Fail::refused("`keys.old` is there: an earlier run was cut short").hint(
                "if the gate starts with `keys`, delete `keys.old`; otherwise put it back in the place of `keys`",
            ));
        }
        fs::rename(&old, &keys).map_err(|why| Fail::at(&old, &why))?;
    }
    if new.exists() {
        fs::remove_dir_all(&new).map_err(|why| Fail::at(&new, &why))?;
    }
    let passphrase = match site.settings.unseal.passphrase {
        true => seal::passphrase(&site, context.given)?,
        false => None,
    };
    let files = site.sealed()?;
    seal::try_open(&site, seal::SITE_SECRET, passphrase.as_ref())
        .map_err(|fail| operator::explain_seal(fail, &site))?;
    let (to, new_passphrase, credential) = init::unseal_of(context, &arguments.to, &site.dir)?;
    let text = settings_with(&site, &to)?;
    seal::private_folder(&new)?;
    let resealed = seal::reseal(
        &site,
        &files,
        passphrase.as_ref(),
        &to,
        new_passphrase.as_ref(),
        &new,
    )
    .and_then(|()| {
        // What is sealed and cannot be opened is lost.
        let tried = Site {
            dir: site.dir.clone(),
            settings: toml::from_str(&text).map_err(|why| Fail::untold(why.to_string()))?,
        };
        let moved = seal::SITE_SECRET.replacen("keys/", "keys.new/", 1);
        seal::try_open(&tried, &moved, new_passphrase.as_ref())
    });
    if let Err(fail) = resealed {
        let _ = fs::remove_dir_all(&new);
        return Err(fail);
    }
    let swap = || -> io::Result<()> {
        fs::rename(&keys, &old)?;
        fs::rename(&new, &keys)?;
        replace(&site.dir, "site.toml", &text)?;
        fs::remove_dir_all(&old)?;
        File::open(&site.dir)?.sync_all()
    };
    swap().map_err(|why| {
        Fail::at(&site.dir, &why).hint("`keys.old`, if it is there, has the seals from before")
    })?;
    drop(lock);
    let site = context.open()?;
    let opener = seal::Opener::of(&site);
    let object =
        json!({ "files": files.len(), "opened_by": opener.name(), "credential": credential });
    show::either(context.json, &object, || {
        format!(
            "{} sealed anew\nopened by  {}",
            show::count(files.len() as u64, "file is", "files are"),
            opener.words()
        )
    });
    Ok(DONE)
}

/// site.toml with another `[unseal]`; the rest stays as people wrote it.
fn settings_with(site: &Site, to: &Unseal) -> Result<String, Fail> {
    let place = site.dir.join("site.toml");
    let text = fs::read_to_string(&place).map_err(|why| Fail::at(&place, &why))?;
    let section = format!("[unseal]\n{}", init::unseal_text(to)?);
    let mut lines: Vec<&str> = text.lines().collect();
    let is_head = |line: &&str, name: &str| line.trim_start().starts_with(name);
    let from = lines
        .iter()
        .position(|line| is_head(line, "[unseal]"))
        .unwrap_or(lines.len());
    let mut until = lines
        .iter()
        .skip(from + 1)
        .position(|line| is_head(line, "["))
        .map_or(lines.len(), |more| from + 1 + more);
    // What stands before the next section's head belongs to that.
    while until > from + 1
        && lines
            .get(until - 1)
            .is_some_and(|line| line.trim().is_empty() || is_head(line, "#"))
    {
        until -= 1;
    }
    drop(lines.splice(from..until, section.trim_end().lines()));
    let text = lines.join("\n") + "\n";
    let read: Settings = toml::from_str(&text).map_err(|why| {
        Fail::untold(format!("site.toml cannot be rewritten: {why}"))
            .hint("put its [unseal] in the form that docs/spec/site.md has")
    })?;
    match read.unseal == *to {
        true => Ok(text),
        false => Err(Fail::untold("site.toml cannot be rewritten")
            .hint("put its [unseal] in the form that docs/spec/site.md has")),
    }
}

/// A file whole or not at all.
fn replace(folder: &Path, name: &str, text: &str) -> io::Result<()> {
    let new = folder.join(format!("{name}.new"));
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, folder.join(name))?;
    File::open(folder)?.sync_all()
}
