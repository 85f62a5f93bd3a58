//! A site as the loop holds it: sealed, until the site's secret and the log key have come, and open from then on.
//!
//! A sealed gate has verified and folded the log with the key in `log/vkey`. It has nothing that could append to it, so
//! it decides nothing and records nothing; it says so to programs and operators.

use crate::clock::{Clock, Reading};
use crate::core::{Compile, Core, CoreError, SEALED, Seal, Start, Turn, fold, reply};
use crate::events::Events;
use crate::keyring::Keyring;
use crate::log_file::{self, Checked, Disk, LogError, Wake};
use crate::secrets::{Held, LOG_KEY, SITE_SECRET, Secret};
use crate::serve::refused;
use crate::virtual_keys::SiteSecret;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use portcullis_model::command::{Answer, Command};
use portcullis_model::id::Name;
use portcullis_model::log::note::Verifier;
use portcullis_model::refusal::Class;
use portcullis_model::state::State;
use portcullis_model::wire::Request;
use portcullis_room::confine::SandboxReport;
use portcullis_room::control::Peer;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a site is made of, beside its log.
pub struct Site {
    pub folder: PathBuf,
    /// An empty log is created under it; a log of another name is refused.
    pub name: Name,
    /// Who is said to have created it.
    pub by: String,
    pub seal: Seal,
    pub compile: Arc<dyn Compile>,
    pub disk: Arc<dyn Disk>,
    pub wake: Wake,
}

/// What the loop serves.
pub enum Gate {
    Sealed(Box<Sealed>),
    Open(Box<Core>),
    /// While it changes hands, and at the end.
    Closed,
}

/// A gate without secrets.
pub struct Sealed {
    site: Site,
    /// None: there is no log yet.
    checked: Option<Checked>,
    state: State,
    held: Held,
    clock: Clock,
    sandboxes: BTreeMap<Peer, SandboxReport>,
    events: Events,
    refused: u64,
    is_stopping: bool,
}

impl Sealed {
    /// Verifies and folds the log, if there is one.
    pub fn new(site: Site, reading: Reading) -> Result<Self, CoreError> {
        let folder = site.folder.join("log");
        let (checked, state) = match log_file::verifier(&folder)? {
            Some(verifier) => {
                let (checked, state) = folded(&folder, &verifier)?;
                (Some(checked), state)
            }
            None => (None, State::default()),
        };
        if let Some(other) = state.site.as_ref().filter(|other| **other != site.name) {
            return Err(CoreError::Site(format!(
                "the log is of site `{other}`, and site.toml says `{}`; put the folder's own site.toml back",
                site.name
            )));
        }
        let mut events = Events::default();
        events.event(
            "sealed",
            json!({ "entries": state.entries, "site": site.name }),
        );
        Ok(Self {
            clock: Clock::new(reading, state.time, state.jumped_us),
            site,
            checked,
            state,
            held: Held::default(),
            sandboxes: BTreeMap::new(),
            events,
            refused: 0,
            is_stopping: false,
        })
    }

    /// Keeps the secrets, and opens the gate once the two that it needs are there.
    fn secrets(
        mut self: Box<Self>,
        secrets: Vec<Secret>,
        reading: Reading,
    ) -> Result<Gate, CoreError> {
        for secret in secrets {
            self.held.keep(secret);
        }
        for name in [SITE_SECRET, LOG_KEY] {
            if self.held.get(name).is_none() {
                self.events
                    .alert("still-sealed", json!({ "missing": name }));
                return Ok(Gate::Sealed(self));
            }
        }
        self.open(reading).map(|core| Gate::Open(Box::new(core)))
    }

    fn open(mut self, reading: Reading) -> Result<Core, CoreError> {
        let wrong = |name: &str| {
            CoreError::Site(format!(
                "`{name}` is not 32 bytes; `portcullis init` makes it, and a backup has it"
            ))
        };
        let secret = |held: &mut Held, name| {
            held.take(name)
                .filter(|bytes| bytes.len() == 32)
                .ok_or_else(|| wrong(name))
        };
        let seed = secret(&mut self.held, LOG_KEY)?;
        let site_secret = SiteSecret::new(&secret(&mut self.held, SITE_SECRET)?)
            .ok_or_else(|| wrong(SITE_SECRET))?;
        let key = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| wrong(LOG_KEY))?;
        let public = <[u8; 32]>::try_from(key.public_key().as_ref()).map_err(|_| wrong(LOG_KEY))?;
        let verifier = Verifier {
            name: self.site.name.to_string(),
            public,
        };
        let checked = match self.checked {
            Some(checked) if *checked.verifier() == verifier => checked,
            Some(checked) => {
                return Err(LogError::OtherKey {
                    there: checked.verifier().text(),
                    ours: verifier.text(),
                }
                .into());
            }
            None => {
                let (checked, state) = folded(&self.site.folder.join("log"), &verifier)?;
                self.state = state;
                checked
            }
        };
        let sign: log_file::Sign = Arc::new(move |text| {
            let mut signature = [0; 64];
            for (to, from) in signature.iter_mut().zip(key.sign(text).as_ref()) {
                *to = *from;
            }
            signature
        });
        let site = self.site;
        let checked_from = checked.after();
        let opened = checked.open(sign, site.disk, Arc::clone(&site.wake))?;
        let is_new = self.state.entries == 0;
        let mut core = Core::start(Start {
            kept_at: checked_from,
            log: opened.log,
            state: self.state,
            torn_bytes: opened.torn_bytes,
            releases: site.folder.join("releases"),
            compile: site.compile,
            keyring: Keyring::new(),
            site_secret: Some(site_secret),
            held: self.held,
            seal: site.seal,
            wake: site.wake,
            reading,
        })?;
        if is_new {
            core.create(&site.by, site.name)?;
        }
        for (room, report) in self.sandboxes {
            core.sandbox(room, report)?;
        }
        Ok(core)
    }

    /// Says to a program that nothing passes.
    pub fn request(&mut self, request: &Request<'_>, turn: &mut Turn) {
        self.refused += 1;
        reply(
            turn,
            portcullis_venues::Catalog::builtin()
                .map_or(&portcullis_venues::binance::Binance, |catalog| {
                    super::core::dialect_at(catalog, request.host)
                }),
            request.id,
            Class::NotAvailable,
            SEALED,
            "sealed",
            None,
        );
    }

    /// Shows what there is; nothing else can be done.
    pub fn command(&mut self, command: Command) -> Answer {
        match command {
            Command::Status => Answer::Shown {
                data: self.status(),
            },
            Command::Usage => Answer::Shown {
                data: crate::core::usage(&self.state, None, self.clock.now()),
            },
            Command::Stop => {
                self.is_stopping = true;
                Answer::Done {
                    entry: portcullis_model::id::EntryId(self.state.entries.saturating_sub(1)),
                }
            }
            _ => refused(
                "sealed",
                "the gate is sealed: nothing is signed and nothing can be recorded",
                Some("unseal it first; `portcullis status` says what is missing"),
            ),
        }
    }

    fn status(&self) -> serde_json::Value {
        let missing: Vec<&str> = [SITE_SECRET, LOG_KEY]
            .into_iter()
            .filter(|name| self.held.get(name).is_none())
            .collect();
        let mut page = crate::core::Shown {
            state: &self.state,
            is_sealed: true,
            seal: self.site.seal,
            release: None,
            term: 0,
            synced: self.state.entries,
            unsynced_us: 0,
            space_is_short: false,
            under_way: 0,
            egress: false,
            clock: &self.clock,
            is_open: &|_| false,
            sandboxes: &self.sandboxes,
            venues: &BTreeMap::new(),
        }
        .page();
        if let serde_json::Value::Object(page) = &mut page {
            page.insert("missing".to_owned(), json!(missing));
        }
        page
    }
}

/// The log, verified, and what it adds up to: from the newest snapshot that belongs to it, or from the first entry.
fn folded(folder: &Path, verifier: &Verifier) -> Result<(Checked, State), CoreError> {
    for snapshot in log_file::snapshots(folder, verifier) {
        let mut state = snapshot.state;
        let after = Some((snapshot.index, snapshot.root));
        let checked = log_file::check(folder, verifier.clone(), after, |index, entry| {
            fold(&mut state, index, &entry)
        });
        match checked {
            Err(CoreError::Log(LogError::Snapshot)) => {}
            other => return Ok((other?, state)),
        }
    }
    let mut state = State::default();
    let checked = log_file::check(folder, verifier.clone(), None, |index, entry| {
        fold(&mut state, index, &entry)
    })?;
    Ok((checked, state))
}

impl Gate {
    /// Takes opened secrets in.
    pub fn secrets(self, secrets: Vec<Secret>, reading: Reading) -> Result<Self, CoreError> {
        match self {
            Self::Sealed(sealed) => sealed.secrets(secrets, reading),
            Self::Open(mut core) => {
                core.secrets(secrets);
                Ok(Self::Open(core))
            }
            Self::Closed => Ok(Self::Closed),
        }
    }

    /// Lines since the last turn.
    pub fn events(&mut self) -> Vec<String> {
        match self {
            Self::Sealed(sealed) => sealed.events.take(),
            Self::Open(core) => core.events.take(),
            Self::Closed => Vec::new(),
        }
    }

    pub(crate) fn under_way(&self) -> usize {
        match self {
            Self::Open(core) => core.under_way(),
            _ => 0,
        }
    }

    /// The venue may say something unasked.
    pub(crate) fn has_streams(&self) -> bool {
        matches!(self, Self::Open(core) if core.has_streams())
    }

    pub(crate) fn is_halting(&self) -> bool {
        matches!(self, Self::Open(core) if core.is_halting())
    }

    pub(crate) fn has_news(&self) -> bool {
        matches!(self, Self::Open(core) if core.has_news())
    }

    pub(crate) fn is_stopping(&self) -> bool {
        match self {
            Self::Sealed(sealed) => sealed.is_stopping,
            Self::Open(core) => core.is_stopping(),
            Self::Closed => true,
        }
    }

    pub(crate) fn sandbox(&mut self, room: Peer, report: SandboxReport) -> Result<(), CoreError> {
        match self {
            Self::Sealed(sealed) => {
                sealed.sandboxes.insert(room, report);
                Ok(())
            }
            Self::Open(core) => core.sandbox(room, report),
            Self::Closed => Ok(()),
        }
    }

    pub(crate) fn metrics_text(&self) -> String {
        match self {
            Self::Open(core) => core.metrics_text(),
            Self::Sealed(sealed) => crate::metrics::sealed_text(sealed.refused),
            Self::Closed => String::new(),
        }
    }
}
