//! What operators see. docs/spec/commands.md describes the shapes; a field there keeps its name and meaning.

use super::Core;
use super::commands::mode;
use crate::clock::Clock;
use crate::releases;
use portcullis_model::id::{KeyId, Name, Timestamp};
use portcullis_model::mandate::{Limit, Mandate};
use portcullis_model::release::Release;
use portcullis_model::state::{LevelKey, STATE_VERSION, State};
use portcullis_model::wire::Venue;
use portcullis_room::confine::SandboxReport;
use portcullis_room::control::Peer;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// How the site's seals are opened, as whoever runs the site says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Seal {
    /// Nobody said.
    #[default]
    Unknown,
    /// A person, by passphrase or with a key of their own.
    Attended,
    /// systemd hands the credential in.
    SystemdCredential,
    /// A file on this host opens them: whoever copies the disk has the keys.
    KeyFile,
}

impl Seal {
    fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Attended => "attended",
            Self::SystemdCredential => "systemd-credential",
            Self::KeyFile => "key-file",
        }
    }
}

/// What the page is made of; a sealed gate has less of it.
pub(crate) struct Shown<'a> {
    pub(crate) state: &'a State,
    pub(crate) is_sealed: bool,
    pub(crate) seal: Seal,
    pub(crate) release: Option<&'a Release>,
    pub(crate) term: u64,
    pub(crate) synced: u64,
    pub(crate) unsynced_us: u64,
    pub(crate) space_is_short: bool,
    pub(crate) under_way: usize,
    pub(crate) egress: bool,
    pub(crate) clock: &'a Clock,
    pub(crate) is_open: &'a dyn Fn(KeyId) -> bool,
    pub(crate) sandboxes: &'a BTreeMap<Peer, SandboxReport>,
    pub(crate) venues: &'a BTreeMap<u16, Venue>,
}

impl Shown<'_> {
    pub(crate) fn page(&self) -> Value {
        let state = self.state;
        let halts: Vec<_> = state.halts.values().collect();
        json!({
            "site": state.site,
            "entries": state.entries,
            "term": self.term,
            "synced": self.synced,
            "unsynced_us": self.unsynced_us,
            "space": if self.space_is_short { "reserve" } else { "plenty" },
            "sealed": self.is_sealed,
            "seal": self.seal.name(),
            "release": state.release.map(|hash| releases::hex(&hash)),
            "accounts": state.accounts.iter().map(|(id, account)| json!({
                "id": id, "name": account.name, "venue": account.venue,
                "keys": state.keys.iter().filter(|(_, key)| key.account == *id).map(|(key, of)| json!({
                    "id": key, "duty": of.duty, "scheme": of.scheme, "api_key": of.api_key,
                    "sealed": of.sealed, "open": (self.is_open)(*key),
                })).collect::<Vec<_>>(),
            })).collect::<Vec<_>>(),
            "strategies": state.strategies.iter().map(|(id, strategy)| json!({
                "id": id, "name": strategy.name, "desk": strategy.desk,
                "mode": mode(strategy.observe), "revoked": strategy.revoked,
            })).collect::<Vec<_>>(),
            "virtual_keys": state.virtual_keys.iter().map(|(id, key)| json!({
                "id": id, "strategy": key.strategy, "account": key.account, "scheme": key.scheme,
                "api_key": key.api_key, "expires": key.expires, "sources": key.sources,
                "canary": key.canary, "revoked": key.revoked,
            })).collect::<Vec<_>>(),
            "halts": halts,
            "under_way": self.under_way,
            "open_orders": state.orders.len(),
            "egress": self.egress,
            "clock": {
                "now": self.clock.now(),
                "jumped_us": self.clock.jumped_us(),
                "venue_offset_us": self.clock.furthest().map(|(_, offset)| offset),
            },
            "venue_hosts": self.hosts(),
            "sandbox": self.sandboxes.iter()
                .map(|(room, report)| (room.name(), report))
                .collect::<BTreeMap<_, _>>(),
            "warnings": self.warnings(),
        })
    }

    fn hosts(&self) -> Vec<Value> {
        let Some(release) = self.release else {
            return Vec::new();
        };
        let hosts = release.hosts.hosts.iter().enumerate();
        hosts
            .map(|(at, host)| {
                let known = u16::try_from(at).ok().and_then(|at| self.venues.get(&at));
                json!({
                    "venue": host.venue,
                    "host": host.name,
                    "weight_per_minute": host.weight_per_minute,
                    "weight_used": known.map(|known| known.weight_used),
                    "banned_until_boot_us": known.map(|known| known.banned_until_us).filter(|until| *until > 0),
                    "connections": known.map(|known| known.connections),
                })
            })
            .collect()
    }

    /// What costs safety, in sentences.
    fn warnings(&self) -> Vec<String> {
        let state = self.state;
        let mut warnings = Vec::new();
        if self.is_sealed {
            let why = match state.keys.is_empty() {
                true => "no real key is there yet: nothing can be signed",
                false => "the gate is sealed: nothing passes until it is unsealed",
            };
            warnings.push(why.to_owned());
        }
        if self.seal == Seal::KeyFile {
            warnings.push(
                "a key file on this host opens the seals: whoever copies the disk has the keys"
                    .to_owned(),
            );
        }
        for (id, account) in &state.accounts {
            let keys = state.keys.values().filter(|key| key.account == *id);
            if keys.count() == 1 {
                warnings.push(format!(
                    "account `{}` has one key for all: what only reads is signed by a key that can write (so reads with fields that the catalog does not name are refused)",
                    account.name
                ));
            }
        }
        if let Some(release) = self.release {
            if let Some(why) = release.authority.mismatch() {
                warnings.push(format!(
                    "the authority's table and Cedar disagree, so only what lowers risk passes; please report this: {why}"
                ));
            }
            let unlimited = release.mandates.unlimited();
            if !unlimited.is_empty() {
                warnings.push(format!("unlimited for the firm: {}", unlimited.join(", ")));
            }
        }
        for strategy in state.strategies.values() {
            if strategy.observe && !strategy.revoked {
                warnings.push(format!(
                    "strategy `{}` is in mode observe: its limits are recorded and not enforced",
                    strategy.name
                ));
            }
        }
        if self.clock.jumped_us().is_some() {
            warnings
                .push("the clock jumped: nothing passes until the time is confirmed".to_owned());
        }
        if let Some((venue, offset)) = self.clock.furthest()
            && offset.abs() > crate::clock::OFFSET_US_MAX
        {
            warnings.push(format!(
                "the clock of venue `{venue}` differs by {} ms, more than is followed",
                offset / 1_000
            ));
        }
        if self.space_is_short {
            warnings.push(
                "the disk is nearly full: only cancels, reducing orders and reads of orders and balances pass"
                    .to_owned(),
            );
        }
        for (room, report) in self.sandboxes {
            for what in unavailable(report) {
                warnings.push(format!("{room} runs without {what}"));
            }
        }
        warnings
    }
}

/// The measures that do not hold, with the reason.
pub(crate) fn unavailable(report: &SandboxReport) -> Vec<String> {
    let missing = report.missing();
    missing
        .map(|(measure, why)| format!("{measure} ({why})"))
        .collect()
}

impl Core {
    /// The page of `status`.
    #[must_use]
    pub fn status(&self) -> Value {
        Shown {
            state: &self.state,
            is_sealed: self.is_sealed(),
            seal: self.seal,
            release: self.release.as_deref(),
            term: self.log.term(),
            synced: self.log.synced(),
            unsynced_us: self.unsynced_us(),
            space_is_short: self.log.space() == portcullis_model::decide::Space::ReserveOnly,
            under_way: self.flights.len(),
            egress: self.egress_is_up,
            clock: &self.clock,
            is_open: &|key| self.keyring.is_open(key),
            sandboxes: &self.sandboxes,
            venues: &self.venues,
        }
        .page()
    }

    /// The page of `markets`.
    #[must_use]
    pub(crate) fn markets(&self) -> Value {
        let Some(release) = &self.release else {
            return json!({ "markets": [] });
        };
        let now = self.clock.now();
        let mut markets: Vec<_> = release
            .markets
            .iter()
            .filter(|(id, _)| release.mandates.firm.market(id).is_some())
            .collect();
        markets.sort_by_key(|(id, _)| *id);
        let page = markets.into_iter().map(|(id, market)| {
            let price = self.state.prices.get(id);
            json!({
                "venue": id.venue, "kind": id.kind,
                "symbol": market.symbol, "base": market.base, "quote": market.quote,
                "tick": market.tick, "step": market.step,
                "price": price.map(|(price, _)| price),
                "price_age_us": price.map(|(_, at)| now.since_us(*at)),
            })
        });
        json!({ "markets": page.collect::<Vec<_>>() })
    }

    /// The page of `usage`.
    #[must_use]
    pub(crate) fn usage(&self) -> Value {
        usage(&self.state, self.release.as_deref(), self.clock.now())
    }
}

/// What each strategy has spent and holds, beside the numbers that bind it.
pub(crate) fn usage(state: &State, release: Option<&Release>, now: Timestamp) -> Value {
    let of = |key: &LevelKey| {
        let usage = state.usage.get(key);
        json!({
            "open_orders": usage.map_or(0, |usage| usage.open_orders),
            "turnover": usage.map(|usage| {
                usage.turnover.iter().map(|ring| ring.sum(now.0).to_string()).collect::<Vec<_>>()
            }),
            "weight": usage.filter(|usage| usage.weight.0 == now.0 / 60_000_000).map_or(0, |usage| usage.weight.1),
            "holdings": usage.map(|usage| {
                usage.holdings.iter().map(|(id, holding)| json!({
                    "venue": id.venue, "kind": id.kind,
                    "symbol": id.symbol, "base": holding.base, "cash": holding.cash,
                    "open_buys": holding.open_buys, "open_sells": holding.open_sells,
                })).collect::<Vec<_>>()
            }),
        })
    };
    let with = |mut page: Value, more: Value| {
        if let (Value::Object(page), Value::Object(more)) = (&mut page, more) {
            page.extend(more);
        }
        page
    };
    let limits = |mandate: Option<&Mandate>| mandate.map_or(Value::Null, limits);
    let mandates = release.map(|release| &release.mandates);
    let desk = |name: &Name| mandates.and_then(|of| of.desks.get(name));
    let desks: std::collections::BTreeSet<&Name> = state
        .strategies
        .values()
        .filter_map(|strategy| strategy.desk.as_ref())
        .collect();
    json!({
        "entries": state.entries,
        "state_hash": releases::hex(&state.hash()),
        "state_version": STATE_VERSION,
        "firm": with(of(&LevelKey::Firm), json!({ "limits": limits(mandates.map(|of| &of.firm)) })),
        "accounts": state.accounts.iter().map(|(id, account)| with(of(&LevelKey::Account(*id)), json!({
            "id": id, "name": account.name,
            "limits": limits(mandates.and_then(|of| of.accounts.get(&account.name))),
        }))).collect::<Vec<_>>(),
        "desks": desks.into_iter().map(|name| with(of(&LevelKey::Desk(name.clone())), json!({
            "name": name, "limits": limits(desk(name)),
        }))).collect::<Vec<_>>(),
        "strategies": state.strategies.iter().map(|(id, strategy)| with(of(&LevelKey::Strategy(*id)), json!({
            "id": id, "name": strategy.name,
            "limits": limits(mandates.and_then(|of| of.strategies.get(&strategy.name))),
        }))).collect::<Vec<_>>(),
    })
}

/// A mandate's numbers; what it does not name is the level above's.
fn limits(mandate: &Mandate) -> Value {
    fn limit<T>(limit: Option<&Limit<T>>, show: impl Fn(&T) -> Value) -> Value {
        match limit {
            None => Value::Null,
            Some(Limit::Unlimited) => json!("unlimited"),
            Some(Limit::Is(most)) => show(most),
        }
    }
    let value = |most: &portcullis_model::number::Value| json!(most.to_string());
    let turnover = mandate
        .turnover
        .each_ref()
        .map(|one| limit(one.as_ref(), value));
    json!({
        "order_value": limit(mandate.order_value.as_ref(), value),
        "turnover": turnover,
        "open_orders": limit(mandate.open_orders.as_ref(), |most| json!(most)),
        "position": limit(mandate.position.as_ref(), value),
        "loss": limit(mandate.loss.as_ref(), value),
        "venue_weight": limit(mandate.venue_weight.as_ref(), |most| json!(most)),
        "markets": mandate.markets.iter().map(|bounds| &bounds.pattern).collect::<Vec<_>>(),
    })
}
