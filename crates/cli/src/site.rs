//! The site's folder and settings. `docs/spec/site.md` has the same words.
//!
//! Trusts the folder only if nobody but its owner can write it: whoever writes `site.toml` says who may command.

use crate::fail::{Fail, plain};
use portcullis_model::id::Name;
use portcullis_model::release::Files;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// `site.toml` at most.
const SETTINGS_BYTES_MAX: u64 = 65_536;
/// A release's files at most, and their bytes together: the signer's own bounds.
const FILES_MAX: usize = 256;
const BYTES_MAX: u64 = 8 << 20;
/// Listeners of a site at most: their sockets travel in one message.
pub const LISTENERS_MAX: usize = 32;

#[derive(Debug)]
pub struct Site {
    pub dir: PathBuf,
    pub settings: Settings,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub name: Name,
    #[serde(default)]
    pub listener: Vec<Listener>,
    #[serde(default)]
    pub operator: Vec<Operator>,
    pub metrics: Option<Metrics>,
    pub webhook: Option<Webhook>,
    #[serde(default)]
    pub unseal: Unseal,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    pub venue: String,
    pub host: String,
    pub bind: SocketAddr,
    pub tls_chain: Option<PathBuf>,
    pub tls_key: Option<PathBuf>,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Operator {
    pub uid: u32,
    pub name: String,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Metrics {
    pub bind: SocketAddr,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    pub url: String,
    pub roots: Option<PathBuf>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Unseal {
    #[serde(default)]
    pub recipients: Vec<String>,
    #[serde(default)]
    pub passphrase: bool,
    pub credential: Option<PathBuf>,
    #[serde(default)]
    pub identities: Vec<PathBuf>,
}

impl Site {
    /// Opens the site that the command line or the environment names.
    pub fn open(dir: Option<&Path>) -> Result<Self, Fail> {
        let dir = named(dir)?;
        let dir = fs::canonicalize(&dir).map_err(|why| {
            Fail::untold(format!("site `{}`: {}", dir.display(), plain(&why)))
                .hint("`portcullis init --site DIR --name NAME` makes a site")
        })?;
        private(&dir, 0o022)?;
        let place = dir.join("site.toml");
        if !place.is_file() {
            return Err(Fail::untold(format!(
                "`{}` is no site: it has no site.toml",
                dir.display()
            ))
            .hint("`portcullis init --site DIR --name NAME` makes one"));
        }
        private(&place, 0o022)?;
        let text = read_text(&place, SETTINGS_BYTES_MAX)?;
        let settings: Settings = toml::from_str(&text).map_err(|why| {
            Fail::untold(format!("site.toml: {}", why.to_string().trim_end()))
                .hint("docs/spec/site.md describes each setting")
        })?;
        check(&settings)?;
        for (folder, bits) in [
            ("release", 0o022),
            ("keys", 0o077),
            ("log", 0o022),
            ("run", 0o077),
        ] {
            let place = dir.join(folder);
            if place.exists() {
                private(&place, bits)?;
            }
        }
        Ok(Self { dir, settings })
    }

    pub fn log(&self) -> PathBuf {
        self.dir.join("log")
    }

    pub fn run(&self, name: &str) -> PathBuf {
        self.dir.join("run").join(name)
    }

    /// A path of site.toml: relative ones are within the site.
    pub fn path(&self, path: &Path) -> PathBuf {
        self.dir.join(path)
    }

    /// Sealed files, relative to the site, in order of their names.
    pub fn sealed(&self) -> Result<Vec<String>, Fail> {
        let folder = self.dir.join("keys");
        let mut names = Vec::new();
        let list = fs::read_dir(&folder).map_err(|why| Fail::at(&folder, &why))?;
        for item in list {
            let item = item.map_err(|why| Fail::at(&folder, &why))?;
            if let Some(name) = item.file_name().to_str().filter(|n| n.ends_with(".age")) {
                names.push(format!("keys/{name}"));
            }
        }
        names.sort();
        Ok(names)
    }

    /// The texts of the working copy.
    pub fn release(&self) -> Result<Files, Fail> {
        let folder = self.dir.join("release");
        if !folder.is_dir() {
            return Err(
                Fail::untold(format!("{}: is missing", folder.display())).hint(
                    "`portcullis init` writes a release to start from; restore it from a backup",
                ),
            );
        }
        files(&folder)
    }

    /// The texts of a release that was put in force.
    pub fn released(&self, hash: &[u8; 32]) -> Result<Files, Fail> {
        let name = crate::show::hex(hash);
        let texts = files(&self.dir.join("releases").join(&name))?;
        if portcullis_model::release::hash(&texts) != *hash {
            return Err(Fail::refused(format!(
                "releases/{name} is not the release that the log names"
            ))
            .hint("restore it from a backup"));
        }
        Ok(texts)
    }
}

fn named(dir: Option<&Path>) -> Result<PathBuf, Fail> {
    dir.filter(|dir| !dir.as_os_str().is_empty())
        .map(Path::to_owned)
        .ok_or_else(|| {
            Fail::untold("no site is named")
                .hint("give `--site DIR`, or set PORTCULLIS_SITE to the folder")
        })
}

/// The folder for a site that does not exist yet.
pub fn new_dir(dir: Option<&Path>) -> Result<PathBuf, Fail> {
    let dir = named(dir)?;
    match std::path::absolute(&dir) {
        Ok(dir) => Ok(dir),
        Err(why) => Err(Fail::at(&dir, &why)),
    }
}

fn check(settings: &Settings) -> Result<(), Fail> {
    let wrong = |what: String| Fail::untold(format!("site.toml: {what}"));
    if settings.listener.len() > LISTENERS_MAX {
        return Err(wrong(format!("more than {LISTENERS_MAX} listeners")));
    }
    for listener in &settings.listener {
        let place = format!("listener for `{}`", listener.host);
        if listener.tls_chain.is_some() != listener.tls_key.is_some() {
            return Err(wrong(format!("{place}: tls_chain and tls_key go together")));
        }
        if listener.tls_chain.is_none() && !listener.bind.ip().is_loopback() {
            return Err(wrong(format!(
                "{place}: {} is not loopback and has no TLS",
                listener.bind
            ))
            .hint("give tls_chain and tls_key; a plain listener on a network shows virtual keys to everybody on it"));
        }
    }
    if let Some(metrics) = settings
        .metrics
        .as_ref()
        .filter(|m| !m.bind.ip().is_loopback())
    {
        return Err(wrong(format!("metrics: {} is not loopback", metrics.bind)));
    }
    if let Some(webhook) = &settings.webhook {
        crate::https::check_url(&webhook.url).map_err(|why| wrong(format!("webhook: {why}")))?;
    }
    if settings.unseal.passphrase && !settings.unseal.recipients.is_empty() {
        return Err(wrong(
            "unseal: a passphrase seals alone; leave `recipients` empty".to_owned(),
        ));
    }
    Ok(())
}

/// The user whom this process acts as.
pub fn uid() -> Result<u32, Fail> {
    let place = Path::new("/proc/self");
    fs::metadata(place)
        .map(|data| data.uid())
        .map_err(|why| Fail::at(place, &why))
}

/// A user's name, from /etc/passwd, else the number.
pub fn user_name(uid: u32) -> String {
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    passwd
        .lines()
        .find_map(|line| {
            let mut parts = line.split(':');
            let name = parts.next()?;
            (parts.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
        })
        .unwrap_or_else(|| uid.to_string())
}

/// Refuses what others own, or may use in ways that `bits` name.
fn private(place: &Path, bits: u32) -> Result<(), Fail> {
    let data = fs::metadata(place).map_err(|why| Fail::at(place, &why))?;
    let me = uid()?;
    if data.uid() != me && me != 0 {
        return Err(Fail::refused(format!(
            "`{}` belongs to user {} ({}), not to you",
            place.display(),
            data.uid(),
            user_name(data.uid())
        ))
        .hint(format!(
            "run this as that user: `sudo -u {} portcullis …`",
            user_name(data.uid())
        )));
    }
    let mode = data.permissions().mode() & 0o777;
    if mode & bits != 0 {
        let (what, fix) = if mode & bits & 0o022 != 0 {
            ("others can write", "go-rwx")
        } else {
            ("others can read", "go-rwx")
        };
        return Err(Fail::refused(format!(
            "`{}` has mode {mode:04o}: {what} it",
            place.display()
        ))
        .hint(format!("chmod {fix} {}", place.display())));
    }
    Ok(())
}

/// A text file, bounded.
pub fn read_text(place: &Path, bytes_max: u64) -> Result<String, Fail> {
    let mut text = String::new();
    fs::File::open(place)
        .and_then(|file| file.take(bytes_max + 1).read_to_string(&mut text))
        .map_err(|why| Fail::at(place, &why))?;
    if text.len() as u64 > bytes_max {
        return Err(Fail::untold(format!(
            "{}: is longer than {bytes_max} bytes",
            place.display()
        )));
    }
    Ok(text)
}

/// The files of a release's folder, one folder deep. Hidden ones are not part of it.
fn files(folder: &Path) -> Result<Files, Fail> {
    let mut texts = Files::new();
    let mut left = BYTES_MAX;
    let mut read = |folder: &Path, prefix: &str| -> Result<Vec<String>, Fail> {
        let mut folders = Vec::new();
        let list = fs::read_dir(folder).map_err(|why| Fail::at(folder, &why))?;
        for item in list {
            let item = item.map_err(|why: io::Error| Fail::at(folder, &why))?;
            let name = item.file_name().to_string_lossy().into_owned();
            if name.starts_with('.') {
                continue;
            }
            if item.path().is_dir() {
                folders.push(name);
                continue;
            }
            if texts.len() >= FILES_MAX {
                return Err(Fail::refused(format!(
                    "{}: a release has at most {FILES_MAX} files",
                    folder.display()
                )));
            }
            let text = read_text(&item.path(), left)?;
            left -= text.len() as u64;
            texts.insert(format!("{prefix}{name}"), text);
        }
        Ok(folders)
    };
    for inner in read(folder, "")? {
        let place = folder.join(&inner);
        if let Some(deeper) = read(&place, &format!("{inner}/"))?.first() {
            return Err(Fail::refused(format!(
                "{}: a release has folders of one level only",
                place.join(deeper).display()
            )));
        }
    }
    Ok(texts)
}
