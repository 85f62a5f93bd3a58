//! Operators' commands. Each that changes something is an entry, and is confirmed only once that entry survives a loss of
//! power. The caller has made sure who the operator is.

use super::{Compile, Core, CoreError, Turn, refuses};
use crate::clock::Reading;
use crate::keyring;
use crate::releases;
use crate::secrets::{LOG_KEY, SITE_SECRET};
use crate::virtual_keys::SOURCES_MAX;
use aws_lc_rs::rand;
use minicbor::bytes::ByteVec;
use portcullis_model::action::Scheme;
use portcullis_model::command::{Answer, Command, Halted, ScopeKind};
use portcullis_model::entry::What;
use portcullis_model::halt::{By, Halt, Level, Scope};
use portcullis_model::id::{EntryId, Name, Timestamp, VirtualKeyId};
use portcullis_model::release::{Files, Release};
use portcullis_model::state::{Effect, State};
use portcullis_model::table::Network;
use portcullis_model::wire::{self, Discard, Discarded, kind};
use portcullis_venues::{Catalog, Passphrase, VerifyKey};
use serde_json::json;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, channel};

/// How long a halt waits for egress to say what it dropped.
pub const HALT_WAIT_US: u64 = 1_000_000;
/// Between our idea of the venue's clock and the clock itself: added to the moment after which nothing is accepted.
pub const CLOCK_DOUBT_US: u64 = 100_000;
/// A reason at most, in bytes.
pub const REASON_BYTES_MAX: usize = 1_000;
/// Cedar goes deep; the thread ends with the compilation.
const COMPILE_STACK_BYTES: usize = 8 << 20;
const API_KEY_BYTES_MAX: usize = 256;
/// The name of a sealed file, as `portcullis-unseal` has it.
const SEALED_BYTES_MAX: usize = 255;

/// A halt that waits for egress.
pub(super) struct Halting {
    token: u64,
    discard: u64,
    halted: Halted,
    pub(super) until_boot_us: u64,
    pub(super) waits: bool,
    /// Nobody can say what became of these.
    lost: Vec<EntryId>,
}

/// A release that is being compiled beside the loop.
pub(super) struct Compiling {
    token: Option<u64>,
    by: String,
    done: Receiver<Result<Made, String>>,
}

/// A release, and the catalog with what the release adds to it.
type Made = (Release, Arc<Catalog>);

/// What is to be compiled.
enum Texts {
    /// New ones: stored, synced, before they can be put in force.
    New(Files),
    /// Those of the release in force, from the disk.
    InForce([u8; 32]),
}

struct No {
    code: &'static str,
    message: String,
    hint: Option<&'static str>,
}

fn no(code: &'static str, message: impl Into<String>) -> No {
    No {
        code,
        message: message.into(),
        hint: None,
    }
}

enum Done {
    Answer(Answer),
    /// To be confirmed once this entry is synced.
    Recorded(EntryId, Answer),
    /// Another way will answer.
    Later,
}

impl Core {
    /// Takes a command. Its answer comes by [`Core::answers`], with the same token.
    pub fn command(
        &mut self,
        token: u64,
        by: &str,
        command: Command,
        reading: Reading,
        turn: &mut Turn,
    ) -> Result<(), CoreError> {
        if matches!(command, Command::ConfirmTime { .. }) {
            // Before the look, which would find the jump again.
        } else {
            self.look(reading);
        }
        let done = match self.obey(token, by, command, reading, turn) {
            Ok(done) => done?,
            Err(no) => Done::Answer(Answer::Refused {
                code: no.code.to_owned(),
                message: no.message,
                hint: no.hint.map(str::to_owned),
            }),
        };
        match done {
            Done::Answer(answer) => self.answers.push((token, None, answer)),
            Done::Recorded(entry, answer) => {
                self.metrics.commands += 1;
                self.answers.push((token, Some(entry), answer));
            }
            Done::Later => {}
        }
        Ok(())
    }

    /// Answers that may be given now.
    pub fn answers(&mut self) -> Vec<(u64, Answer)> {
        let synced = self.log.synced();
        let (ready, waiting) = std::mem::take(&mut self.answers)
            .into_iter()
            .partition(|(_, entry, _)| entry.is_none_or(|entry| entry.0 < synced));
        self.answers = waiting;
        let ready: Vec<(u64, Option<EntryId>, Answer)> = ready;
        ready
            .into_iter()
            .map(|(token, _, answer)| (token, answer))
            .collect()
    }

    /// Records a command's effects with its words.
    fn enact(
        &mut self,
        by: &str,
        text: String,
        effects: Vec<Effect>,
    ) -> Result<EntryId, CoreError> {
        let mut body = self.body(What::Command);
        body.regulator.by = Some(By::Operator(by.to_owned()));
        body.regulator.text = Some(text);
        body.private.effects = effects;
        let entry = self.note(body)?;
        self.refresh();
        self.events
            .event("command", json!({ "by": by, "entry": entry }));
        Ok(entry)
    }

    fn recorded(
        &mut self,
        by: &str,
        text: String,
        effect: Effect,
    ) -> Result<Result<Done, CoreError>, No> {
        Ok(self
            .enact(by, text, vec![effect])
            .map(|entry| Done::Recorded(entry, Answer::Done { entry })))
    }

    /// Creates the site: the first entry of a log.
    pub fn create(&mut self, by: &str, name: Name) -> Result<Option<EntryId>, CoreError> {
        if self.state.entries > 0 {
            return Ok(None);
        }
        let mut body = self.body(What::Started);
        body.public.site = Some(name.clone());
        body.regulator.by = Some(By::Operator(by.to_owned()));
        body.regulator.text = Some(format!("site `{name}` is created"));
        body.private.effects = vec![Effect::SiteCreated { name }];
        let entry = self.note(body)?;
        Ok(Some(entry))
    }

    fn obey(
        &mut self,
        token: u64,
        by: &str,
        command: Command,
        reading: Reading,
        turn: &mut Turn,
    ) -> Result<Result<Done, CoreError>, No> {
        let shows = matches!(
            command,
            Command::Status
                | Command::Usage
                | Command::Markets
                | Command::Resolve { .. }
                | Command::Stop
        );
        if self.state.site.is_none() && !shows {
            return Err(No {
                hint: Some("`portcullis init` creates one"),
                ..no("no-site", "the log holds no site yet")
            });
        }
        match command {
            Command::Status => Ok(Ok(Done::Answer(Answer::Shown {
                data: self.status(),
            }))),
            Command::Usage => Ok(Ok(Done::Answer(Answer::Shown { data: self.usage() }))),
            Command::Markets => Ok(Ok(Done::Answer(Answer::Shown {
                data: self.markets(),
            }))),
            Command::Stop => {
                self.stop();
                let entry = EntryId(self.state.entries.saturating_sub(1));
                Ok(Ok(Done::Answer(Answer::Done { entry })))
            }
            Command::AccountAdd { name, venue } => {
                if self.state.account(&name).is_some() {
                    return Err(no("exists", format!("account `{name}` exists")));
                }
                if self.catalog.venue(venue.as_str()).is_none() {
                    return Err(no(
                        "unknown-venue",
                        format!("venue `{venue}` has no catalog here"),
                    ));
                }
                let text = format!("add account `{name}` at venue `{venue}`");
                let done = self.recorded(by, text, Effect::AccountAdded { name, venue });
                self.recompile();
                done
            }
            Command::KeyAdd {
                account,
                duty,
                scheme,
                api_key,
                sealed,
            } => {
                let id = self.account(&account)?;
                let plain = !api_key.is_empty()
                    && api_key.len() <= API_KEY_BYTES_MAX
                    && api_key.bytes().all(|b| b.is_ascii_graphic());
                if !plain {
                    return Err(no("malformed", "the API key is not plain text"));
                }
                let inside = (1..=SEALED_BYTES_MAX).contains(&sealed.len())
                    && ![SITE_SECRET, LOG_KEY].contains(&sealed.as_str())
                    && std::path::Path::new(&sealed)
                        .components()
                        .all(|part| matches!(part, std::path::Component::Normal(_)));
                if !inside {
                    return Err(no(
                        "malformed",
                        format!(
                            "`{}` is no file of the site that may hold a key",
                            sealed.chars().take(80).collect::<String>()
                        ),
                    ));
                }
                if self.state.keys.values().any(|key| key.api_key == api_key) {
                    return Err(no("exists", "the key is there already"));
                }
                let venue = self.state.accounts.get(&id).map(|it| it.venue.clone());
                let with_passphrase = venue
                    .and_then(|venue| self.catalog.venue(venue.as_str()))
                    .is_some_and(|dialect| dialect.passphrase() != Passphrase::None);
                if let Some(secret) = self.held.get(&sealed) {
                    keyring::is_key(scheme, with_passphrase, secret)
                        .map_err(|why| no("malformed", format!("`{sealed}`: {why}")))?;
                }
                let text = format!(
                    "add key `{api_key}` of duty {duty:?} to account `{account}`, sealed in `{sealed}`"
                );
                let done = self.recorded(
                    by,
                    text,
                    Effect::KeyAdded {
                        account: id,
                        duty,
                        scheme,
                        api_key,
                        sealed,
                    },
                );
                self.open_held();
                done
            }
            Command::KeyRemove { account, api_key } => {
                let id = self.account(&account)?;
                let key = self
                    .state
                    .keys
                    .iter()
                    .find(|(_, key)| key.account == id && key.api_key == api_key)
                    .map(|(key, _)| *key)
                    .ok_or_else(|| no("unknown", format!("account `{account}` has no such key")))?;
                self.keyring.remove(key);
                self.hang_up_account(id, turn);
                self.hang_up_logged_on(Some(key), turn);
                let text = format!("remove key `{api_key}` of account `{account}`");
                self.recorded(by, text, Effect::KeyRemoved { key })
            }
            Command::StrategyAdd {
                name,
                desk,
                observe,
            } => {
                if self.state.strategy(&name).is_some() || name.as_str() == "gate" {
                    return Err(no("exists", format!("strategy `{name}` exists")));
                }
                let text = format!(
                    "add strategy `{name}`{}, mode {}",
                    desk.as_ref()
                        .map(|desk| format!(" of desk `{desk}`"))
                        .unwrap_or_default(),
                    mode(observe)
                );
                let effect = Effect::StrategyAdded {
                    name,
                    desk,
                    observe,
                };
                let done = self.recorded(by, text, effect);
                self.recompile();
                done
            }
            Command::StrategyMode { name, observe } => {
                let strategy = self.strategy(&name)?;
                let text = format!("strategy `{name}`: mode {}", mode(observe));
                self.recorded(by, text, Effect::StrategyMode { strategy, observe })
            }
            Command::StrategyRevoke { name } => {
                let strategy = self.strategy(&name)?;
                let keys: Vec<VirtualKeyId> = self
                    .state
                    .virtual_keys
                    .iter()
                    .filter(|(_, key)| key.strategy == strategy)
                    .map(|(id, _)| *id)
                    .collect();
                let text = format!("revoke strategy `{name}` and its virtual keys");
                let done = self.recorded(by, text, Effect::StrategyRevoked { strategy });
                self.close_connections(&keys, turn);
                done
            }
            Command::VirtualKeyIssue {
                strategy,
                account,
                scheme,
                public_key,
                expires,
                sources,
                canary,
            } => self.issue(
                by, &strategy, &account, scheme, public_key, expires, sources, canary,
            ),
            Command::VirtualKeyRevoke { id } => {
                match self.state.virtual_keys.get(&id) {
                    None => return Err(no("unknown", format!("there is no virtual key {id}"))),
                    Some(key) if key.revoked => {
                        return Err(no("done-before", format!("virtual key {id} is revoked")));
                    }
                    Some(_) => {}
                }
                let text = format!("revoke virtual key {id}");
                let done = self.recorded(by, text, Effect::VirtualKeyRevoked { id });
                self.close_connections(&[id], turn);
                done
            }
            Command::Release { files } => {
                if self.compiling.is_some() {
                    return Err(no(
                        "busy",
                        "a release is being compiled; ask again when it is done",
                    ));
                }
                self.compile_beside(Some(token), by, Texts::New(files));
                Ok(Ok(Done::Later))
            }
            Command::Halt {
                scope,
                level,
                reason,
            } => {
                let reason = bounded(&reason)?;
                self.known(&scope)?;
                Ok(self.halt(token, by, scope, level, reason, turn))
            }
            Command::Resume {
                scope,
                level,
                reason,
            } => {
                let reason = bounded(&reason)?;
                let Some(halt) = self.state.halts.get(&scope) else {
                    return Err(no("not-halted", format!("{scope} is not halted")));
                };
                if level.is_some_and(|level| level >= halt.level) {
                    return Err(No {
                        hint: Some("`portcullis halt` raises a level"),
                        ..no(
                            "not-lower",
                            format!("{scope} is at level {}, which is not higher", halt.level),
                        )
                    });
                }
                let mut text = match level {
                    Some(level) => format!("lower the halt of {scope} to {level}: {reason}"),
                    None => format!("end the halt of {scope}: {reason}"),
                };
                let mut effects = self.re_armed(&scope, halt);
                if !effects.is_empty() {
                    let levels: Vec<String> = effects
                        .iter()
                        .filter_map(|effect| match effect {
                            Effect::Rearmed { scope } => Some(scope.to_string()),
                            _ => None,
                        })
                        .collect();
                    text += &format!("; the loss of {} counts from now on", levels.join(", "));
                }
                effects.push(Effect::Resumed { scope, level });
                Ok(self
                    .enact(by, text, effects)
                    .map(|entry| Done::Recorded(entry, Answer::Done { entry })))
            }
            Command::Resolve { kind, name } => {
                let scope = match kind {
                    ScopeKind::Account => Scope::Account(self.account(&name)?),
                    ScopeKind::Strategy => Scope::Strategy(self.strategy(&name)?),
                    ScopeKind::Desk => Scope::Desk(name),
                    ScopeKind::Venue => Scope::Venue(name),
                };
                self.known(&scope)?;
                Ok(Ok(Done::Answer(Answer::Resolved { scope })))
            }
            Command::ConfirmTime { reason } => {
                let reason = bounded(&reason)?;
                let Some(jump) = self.clock.jumped_us() else {
                    return Err(no("no-jump", "the clock has not jumped"));
                };
                self.clock.confirm(reading);
                let mut body = self.body(What::Clock);
                body.regulator.by = Some(By::Operator(by.to_owned()));
                body.regulator.text = Some(format!(
                    "the time is right after a jump of {jump} microseconds: {reason}"
                ));
                body.private.effects = vec![Effect::Jumped { by_us: None }];
                Ok(self
                    .note(body)
                    .map(|entry| Done::Recorded(entry, Answer::Done { entry })))
            }
        }
    }

    fn account(&self, name: &Name) -> Result<portcullis_model::id::AccountId, No> {
        self.state.account(name).ok_or_else(|| No {
            hint: Some("`portcullis account list` shows them"),
            ..no("unknown", format!("there is no account `{name}`"))
        })
    }

    fn strategy(&self, name: &Name) -> Result<portcullis_model::id::StrategyId, No> {
        self.state.strategy(name).ok_or_else(|| No {
            hint: Some("`portcullis strategy list` shows them"),
            ..no("unknown", format!("there is no strategy `{name}`"))
        })
    }

    /// Re-arming a limit of loss that still stands where it tripped: the loss counts anew at the levels that reached it,
    /// otherwise the strategy would trip again at once. Only a trip is re-armed so; who was halted by a person only resumes.
    fn re_armed(&self, scope: &Scope, halt: &Halt) -> Vec<Effect> {
        let (Scope::Strategy(strategy), By::Rule(_), Some(release)) =
            (scope, &halt.by, &self.release)
        else {
            return Vec::new();
        };
        let now = self.clock.now();
        portcullis_model::decide::lost_at(release, &self.state, *strategy, now)
            .into_iter()
            .map(|scope| Effect::Rearmed { scope })
            .collect()
    }

    /// A scope that names nothing would look like a halt and stop nothing.
    fn known(&self, scope: &Scope) -> Result<(), No> {
        let found = match scope {
            Scope::Firm => true,
            Scope::Venue(name) => self.state.accounts.values().any(|a| a.venue == *name),
            Scope::Account(id) => self.state.accounts.contains_key(id),
            Scope::Desk(name) => self
                .state
                .strategies
                .values()
                .any(|s| s.desk.as_ref() == Some(name)),
            Scope::Strategy(id) => self.state.strategies.contains_key(id),
            Scope::VirtualKey(id) => self.state.virtual_keys.contains_key(id),
        };
        match found {
            true => Ok(()),
            false => Err(no("unknown", format!("there is no {scope}"))),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of one command")]
    fn issue(
        &mut self,
        by: &str,
        strategy: &Name,
        account: &Name,
        scheme: Scheme,
        public_key: Option<String>,
        expires: Timestamp,
        sources: Vec<String>,
        canary: bool,
    ) -> Result<Result<Done, CoreError>, No> {
        let strategy_id = self.strategy(strategy)?;
        let account_id = self.account(account)?;
        if sources.is_empty() || sources.len() > SOURCES_MAX {
            return Err(no(
                "malformed",
                format!("name between 1 and {SOURCES_MAX} networks that it may come from"),
            ));
        }
        if let Some(bad) = sources.iter().find(|text| Network::parse(text).is_none()) {
            return Err(No {
                hint: Some("write `10.0.0.0/8` or one address; bits beyond the prefix are zero"),
                ..no("malformed", format!("`{bad}` is no network"))
            });
        }
        if expires <= self.clock.now() {
            return Err(no("malformed", "it would have expired already"));
        }
        let der = match (scheme, public_key) {
            (Scheme::HmacSha256, None) => Vec::new(),
            (Scheme::HmacSha256, Some(_)) => {
                return Err(no("malformed", "an HMAC key has no public key"));
            }
            (scheme, text) => text
                .and_then(|text| crate::pem::decode(&text, "PUBLIC KEY"))
                .map(|der| der.to_vec())
                .filter(|der| match scheme {
                    Scheme::Ed25519 => VerifyKey::ed25519(der).is_some(),
                    _ => VerifyKey::rsa(der).is_some(),
                })
                .ok_or_else(|| {
                    no(
                        "malformed",
                        "that is no public key of the scheme in PEM (`-----BEGIN PUBLIC KEY-----`)",
                    )
                })?,
        };
        let mut random = [0; 64];
        rand::fill(&mut random).map_err(|_| no("bug", "no randomness"))?;
        let api_key = self
            .state
            .accounts
            .get(&account_id)
            .and_then(|account| self.catalog.venue(account.venue.as_str()))
            .ok_or_else(|| no("unknown-venue", "the account's venue has no catalog here"))?
            .virtual_key(&random);
        let secret = match (scheme, &self.site_secret) {
            (Scheme::HmacSha256, Some(site)) => {
                let secret = site
                    .derive(&api_key)
                    .ok_or_else(|| no("bug", "the secret could not be derived"))?;
                Some(secret.to_string())
            }
            (Scheme::HmacSha256, None) => {
                return Err(no(
                    "sealed",
                    "the site's secret is sealed; HMAC keys follow from it",
                ));
            }
            _ => None,
        };
        let text = format!(
            "issue virtual key `{api_key}` to strategy `{strategy}` for account `{account}`, scheme {scheme:?}, \
             expires {}, from {}{}",
            expires.0,
            sources.join(" "),
            if canary { ", as a canary" } else { "" }
        );
        let effect = Effect::VirtualKeyIssued {
            strategy: strategy_id,
            account: account_id,
            scheme,
            api_key: api_key.clone(),
            public_key: ByteVec::from(der),
            expires,
            sources,
            canary,
        };
        let done = self.enact(by, text, vec![effect]);
        // The strategy may have an account more.
        self.recompile();
        Ok(done.map(|entry| {
            Done::Recorded(
                entry,
                Answer::VirtualKey {
                    entry,
                    id: VirtualKeyId(entry.0),
                    strategy: strategy_id,
                    api_key,
                    secret,
                },
            )
        }))
    }

    /// Records the halt and applies it, so that nothing it refuses is signed from here on; then asks egress to drop what
    /// was signed before.
    fn halt(
        &mut self,
        token: u64,
        by: &str,
        scope: Scope,
        level: Level,
        reason: String,
        turn: &mut Turn,
    ) -> Result<Done, CoreError> {
        let now = self.clock.now();
        let halt = Halt {
            scope: scope.clone(),
            level,
            since: now,
            reason: reason.clone(),
            by: By::Operator(by.to_owned()),
        };
        let text = format!("halt {scope} at level {level}: {reason}");
        let entry = self.enact(by, text, vec![Effect::Halted(halt.clone())])?;
        self.metrics.commands += 1;
        self.events.alert(
            "halted",
            json!({ "scope": scope.to_string(), "level": level.name(), "by": by, "entry": entry }),
        );
        if level == Level::Lock {
            let locked: Vec<VirtualKeyId> = self
                .state
                .virtual_keys
                .iter()
                .filter(|(id, key)| {
                    let caller = portcullis_model::decide::Caller {
                        strategy: key.strategy,
                        virtual_key: **id,
                        account: key.account,
                        source: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
                    };
                    self.covers(&scope, &caller)
                })
                .map(|(id, _)| *id)
                .collect();
            self.close_connections(&locked, turn);
        }
        let mut entries = Vec::new();
        let mut until = Timestamp(0);
        for flight in self.flights.values() {
            let (Some(entry), Some(caller)) = (flight.entry, &flight.caller) else {
                continue;
            };
            let refused = flight
                .kinds
                .iter()
                .any(|kind| refuses(&halt, *kind, flight.reserved));
            if flight.own.is_none() && refused && self.covers(&scope, caller) {
                entries.push(entry);
                until = until.max(flight.until);
            }
        }
        let mut lost = Vec::new();
        self.forget_lost();
        for one in &self.lost {
            let refused = one.of.as_ref().is_none_or(|(caller, kinds, reserved)| {
                self.covers(&scope, caller)
                    && kinds.iter().any(|kind| refuses(&halt, *kind, *reserved))
            });
            if refused {
                lost.push(one.entry);
                until = until.max(one.until);
            }
        }
        // What egress says was answered, or says that it drops, counts until its window has passed.
        for one in &self.answered {
            let covered = one.of.as_ref().is_none_or(|(caller, kinds, reserved)| {
                self.covers(&scope, caller)
                    && kinds.iter().any(|kind| refuses(&halt, *kind, *reserved))
            });
            if covered {
                until = until.max(one.until);
            }
        }
        lost.sort_unstable();
        entries.sort_unstable();
        let mut halted = Halted {
            entry,
            discarded: Vec::new(),
            under_way: Vec::new(),
            done: Vec::new(),
            confirmed: lost.is_empty() && entries.is_empty(),
            none_after_as_told: now,
            none_after: now.max(until.plus_us(CLOCK_DOUBT_US)),
        };
        let waits = !entries.is_empty() && self.egress_is_up;
        if !entries.is_empty() {
            let discard = Discard {
                token: entry.0,
                entries: entries.clone(),
            };
            // A flight list is bounded by the lanes; its numbers are far shorter than a frame.
            let _ = wire::frame(&mut turn.to_egress, kind::DISCARD, &discard);
            halted.under_way = entries;
        }
        self.halting.push(Halting {
            token,
            discard: entry.0,
            halted,
            until_boot_us: self.clock.boot_us().saturating_add(HALT_WAIT_US),
            waits,
            lost,
        });
        Ok(Done::Later)
    }

    pub(super) fn commands_discarded(&mut self, discarded: &Discarded) {
        let Some(halting) = self
            .halting
            .iter_mut()
            .find(|halting| halting.waits && halting.discard == discarded.token)
        else {
            self.metrics.foreign_frames += 1;
            return;
        };
        halting.waits = false;
        // Only what was asked about counts, and what egress leaves out may be under way.
        let asked = std::mem::take(&mut halting.halted.under_way);
        for entry in asked {
            if discarded.discarded.contains(&entry) {
                halting.halted.discarded.push(entry);
            } else if discarded.done.contains(&entry) {
                halting.halted.done.push(entry);
            } else {
                halting.halted.under_way.push(entry);
            }
        }
        halting.halted.confirmed = halting.lost.is_empty();
    }

    pub(super) fn commands_egress_gone(&mut self) {
        for halting in &mut self.halting {
            halting.waits = false;
        }
    }

    pub(super) fn commands_tick(&mut self, turn: &mut Turn) -> Result<(), CoreError> {
        let boot_us = self.clock.boot_us();
        let (ready, waiting): (Vec<Halting>, Vec<Halting>) = std::mem::take(&mut self.halting)
            .into_iter()
            .partition(|halting| !halting.waits || boot_us >= halting.until_boot_us);
        self.halting = waiting;
        let now = self.clock.now();
        for mut halting in ready {
            let halted = &mut halting.halted;
            halted.under_way.append(&mut halting.lost);
            halted.under_way.sort_unstable();
            halted.none_after = halted.none_after.max(now);
            halted.none_after_as_told = match halted.under_way.is_empty() {
                // Everything was answered or dropped before this look at the clock.
                true => now,
                false => halted.none_after,
            };
            let entry = halting.halted.entry;
            self.answers
                .push((halting.token, Some(entry), Answer::Halted(halting.halted)));
        }
        let done = match &self.compiling {
            None => return Ok(()),
            Some(compiling) => match compiling.done.try_recv() {
                Err(TryRecvError::Empty) => return Ok(()),
                Ok(done) => done,
                Err(TryRecvError::Disconnected) => {
                    Err("the compiler ended without a word: please report this".to_owned())
                }
            },
        };
        let Some(compiling) = self.compiling.take() else {
            return Ok(());
        };
        self.compiled(compiling, done, turn)?;
        // Names that came meanwhile are not in what was compiled.
        if std::mem::take(&mut self.recompile_again) {
            self.recompile();
        }
        Ok(())
    }

    fn compiled(
        &mut self,
        compiling: Compiling,
        done: Result<Made, String>,
        turn: &mut Turn,
    ) -> Result<(), CoreError> {
        let refuse = |code: &str, message: String| Answer::Refused {
            code: code.to_owned(),
            message,
            hint: None,
        };
        let (release, catalog) = match done {
            Ok(made) => made,
            Err(why) => {
                self.events
                    .alert("release-refused", json!({ "why": why.clone() }));
                if let Some(token) = compiling.token {
                    self.answers.push((token, None, refuse("release", why)));
                }
                return Ok(());
            }
        };
        let Some(token) = compiling.token else {
            // The same release, for strategies and accounts that are new.
            if self.state.release == Some(release.hash) {
                (self.release, self.catalog) = (Some(Arc::new(release)), catalog);
            }
            return Ok(());
        };
        let hash = release.hash;
        let text = format!("put release {} in force", releases::hex(&hash));
        let effect = Effect::Released {
            hash: ByteVec::from(hash.to_vec()),
        };
        let entry = self.enact(&compiling.by, text, vec![effect])?;
        self.metrics.commands += 1;
        let _ = wire::frame(&mut turn.to_egress, kind::HOSTS, &release.hosts);
        (self.release, self.catalog) = (Some(Arc::new(release)), catalog);
        self.own.prices_now();
        self.hang_up_logged_on(None, turn);
        self.releases_seen += 1;
        self.answers
            .push((token, Some(entry), Answer::Done { entry }));
        Ok(())
    }

    /// Compiles, and stores what is new, in a thread of its own.
    fn compile_beside(&mut self, token: Option<u64>, by: &str, texts: Texts) {
        let (tell, done) = channel();
        let compile: Arc<dyn Compile> = Arc::clone(&self.compile);
        let state = self.names();
        let folder = self.releases.clone();
        let wake = Arc::clone(&self.wake);
        let work = move || {
            let _ = tell.send(made(&*compile, &state, &folder, texts));
            wake();
        };
        let started = std::thread::Builder::new()
            .name("compile".to_owned())
            .stack_size(COMPILE_STACK_BYTES)
            .spawn(work);
        if let Err(why) = started {
            // The channel's other end went with the closure: the next tick answers.
            self.events
                .alert("no-thread", json!({ "why": why.to_string() }));
        }
        self.compiling = Some(Compiling {
            token,
            by: by.to_owned(),
            done,
        });
    }

    /// The part of the state that a release's policies can name.
    fn names(&self) -> State {
        let mut names = State::default();
        names.site.clone_from(&self.state.site);
        names.accounts.clone_from(&self.state.accounts);
        names.strategies.clone_from(&self.state.strategies);
        names.virtual_keys.clone_from(&self.state.virtual_keys);
        names
    }

    /// Names have changed: the authority's table may need rows for them.
    fn recompile(&mut self) {
        if self.compiling.is_some() {
            self.recompile_again = true;
            return;
        }
        if let Some(hash) = self.state.release {
            self.compile_beside(None, "gate", Texts::InForce(hash));
        }
    }
}

/// A release from its texts, checked in every way.
fn made(compile: &dyn Compile, state: &State, folder: &Path, texts: Texts) -> Result<Made, String> {
    let (files, is_new) = match texts {
        Texts::New(files) => (files, true),
        Texts::InForce(hash) => (
            releases::load(folder, &hash).map_err(|why| why.to_string())?,
            false,
        ),
    };
    let authority = compile.compile(&files, state)?;
    let release = Release::load(&files, authority).map_err(|why| why.to_string())?;
    let catalog = super::catalog_of(&files)?;
    wire::frame(&mut Vec::new(), kind::HOSTS, &release.hosts)
        .map_err(|_| "hosts.toml: its roots and pins do not fit a frame".to_owned())?;
    if is_new {
        releases::store(folder, &files).map_err(|why| why.to_string())?;
    }
    Ok((release, catalog))
}

pub(super) fn mode(observe: bool) -> &'static str {
    if observe { "observe" } else { "enforce" }
}

fn bounded(reason: &str) -> Result<String, No> {
    match reason.len() <= REASON_BYTES_MAX && !reason.chars().any(char::is_control) {
        true => Ok(reason.to_owned()),
        false => Err(no(
            "malformed",
            format!("a reason is one line of at most {REASON_BYTES_MAX} bytes"),
        )),
    }
}
