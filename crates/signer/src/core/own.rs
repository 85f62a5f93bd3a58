//! What the gate asks for itself, as strategy `gate`: the fate of orders, reference prices, the venue's time. And what is
//! due by the clock: counts of the minute, the day, keys that expire.

use super::{Core, CoreError, Meta, Turn, Whose};
use crate::clock::Reading;
use crate::failures::STORM;
use crate::keyring::Approved;
use crate::resolver::Ask;
use portcullis_model::action::{Action, Duty, MarketId, MarketKind, Stamp, Symbol};
use portcullis_model::decide::Caller;
use portcullis_model::entry::What;
use portcullis_model::id::{AccountId, GATE, Name, RequestId, Timestamp, VirtualKeyId};
use portcullis_model::release::Release;
use portcullis_model::report::{Report, Sent};
use portcullis_model::state::{Effect, LevelKey, OrderNumber, Usage};
use portcullis_model::wire::{FRAME_METHOD, Header, Lane, Outcome};
use portcullis_venues::{InWords, Question, RawRequest};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

/// Prices at most this often.
pub const PRICES_EVERY_US: u64 = 1_000_000;
/// A venue's time this often.
pub const TIME_EVERY_US: u64 = 10_000_000;
/// Open orders are looked through this often, not each turn: there may be thousands.
pub const RESOLVE_EVERY_US: u64 = 200_000;
/// Accounts with open orders are looked for this often, to listen to what becomes of them.
pub const LISTEN_EVERY_US: u64 = 200_000;
/// After a stream of the gate's own could not be opened, or has ended, it is tried again.
pub const LISTEN_AGAIN_US: u64 = 30_000_000;
/// Markets whose prices are polled; a site with more gets those that come first by name, and an alert.
pub const PRICES_MAX: usize = 200;
/// What could not be done when it was due is tried again after this.
const DUE_AGAIN_US: u64 = 5_000;
/// Without a mandated market prices are looked for this often.
const PRICES_IDLE_US: u64 = 60_000_000;
/// A price that stays is written again after this, so that it stays fresh.
const PRICE_AGAIN_US: u64 = 2_000_000;
/// The window of a read of the gate's own.
const WINDOW_MS: u32 = 5_000;

/// A question of the gate's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Own {
    Resolve(Ask),
    /// Of a venue's markets of one kind.
    Prices(Name, MarketKind),
    /// A venue's.
    Time(Name),
    /// Listens to what becomes of an account's orders.
    Listen(AccountId),
}

impl Own {
    pub(super) fn order(&self) -> Option<OrderNumber> {
        match self {
            Self::Resolve(ask) => ask.order(),
            Self::Prices(..) | Self::Time(_) | Self::Listen(_) => None,
        }
    }
}

/// When what is due.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    seq: u64,
    prices_at: Timestamp,
    prices_asked: BTreeSet<(Name, MarketKind)>,
    time_at: Timestamp,
    time_asked: BTreeSet<Name>,
    resolve_at: Timestamp,
    listen_at: Timestamp,
    /// Accounts that are listened to, or asked to be; and before when not again, where that came to nothing.
    listening: BTreeMap<AccountId, Option<Timestamp>>,
    warned: bool,
    told_mismatch: bool,
}

impl Schedule {
    pub(super) fn reset(&mut self) {
        self.prices_asked.clear();
        self.time_asked.clear();
        self.listening.clear();
    }

    /// An account is listened to no more; it is tried again after this.
    pub(super) fn deaf(&mut self, account: AccountId, until: Timestamp) {
        self.listening.insert(account, Some(until));
    }

    /// Another release names other markets.
    pub(super) fn prices_now(&mut self) {
        self.prices_at = Timestamp(0);
        self.told_mismatch = false;
    }
}

impl Core {
    /// How long until [`Core::tick`] has something to do.
    #[must_use]
    pub fn due_in(&self) -> Duration {
        let now = self.clock.now();
        let mut due = self.expires_at;
        let mut at = |time: Timestamp| due = due.min(time);
        if !self.failures.is_empty() {
            at(Timestamp((now.0 / 60_000_000 + 1) * 60_000_000));
        }
        if self.egress_is_up && self.release.is_some() {
            at(Timestamp(
                (self.state.day + 1).saturating_mul(86_400_000_000),
            ));
            at(self.own.time_at);
            at(self.own.prices_at);
            if !self.state.orders.is_empty() && !self.is_sealed() {
                at(self.own.resolve_at);
                at(self.own.listen_at);
            }
        }
        let mut wait_us = due.0.saturating_sub(now.0);
        for halting in &self.halting {
            wait_us = wait_us.min(halting.until_boot_us.saturating_sub(self.clock.boot_us()));
        }
        // What could not be done when it was due (no room at egress) is not tried again at once.
        Duration::from_micros(wait_us.max(DUE_AGAIN_US))
    }

    /// What is due by the clock. The loop calls it each turn.
    pub fn tick(&mut self, reading: Reading, turn: &mut Turn) -> Result<(), CoreError> {
        self.look(reading);
        self.record_jump()?;
        let now = self.clock.now();
        self.commands_tick(turn)?;
        if !self.own.told_mismatch
            && let Some(why) = self.release.as_ref().and_then(|it| it.authority.mismatch())
        {
            self.own.told_mismatch = true;
            self.events
                .alert("authority-mismatch", json!({ "why": why }));
        }
        for (key, counts) in self.failures.minute(now) {
            let all: u64 = counts.iter().map(|count| count.count).sum();
            if all >= STORM {
                self.events
                    .alert("refusal-storm", json!({ "virtual_key": key, "count": all }));
            }
            if self.state.entries > 0 {
                let mut body = self.body(What::Failures);
                body.private.virtual_key = key;
                body.private.counts = counts;
                self.note(body)?;
            }
        }
        if now >= self.expires_at {
            let expired: Vec<VirtualKeyId> = self
                .connections
                .keys()
                .filter(|id| {
                    self.state
                        .virtual_keys
                        .get(id)
                        .is_none_or(|key| key.expires <= now)
                })
                .copied()
                .collect();
            self.close_connections(&expired, turn);
            self.refresh();
        }
        if !self.egress_is_up || self.release.is_none() {
            return Ok(());
        }
        self.day(now)?;
        if now >= self.own.time_at && self.has_room(Lane::Operator) {
            self.ask_times(now, turn);
        }
        if now >= self.own.prices_at && self.has_room(Lane::Operator) {
            self.ask_prices(now, turn);
        }
        let asks = self.clock.jumped_us().is_none() && !self.is_sealed();
        if asks && now >= self.own.listen_at {
            self.own.listen_at = now.plus_us(LISTEN_EVERY_US);
            self.listen(now, turn)?;
        }
        if asks && now >= self.own.resolve_at {
            self.own.resolve_at = now.plus_us(RESOLVE_EVERY_US);
            for ask in self.resolver.due(&self.state, now) {
                if !self.resolve(&ask, turn)? {
                    self.resolver.failed(&ask, now);
                }
            }
        }
        Ok(())
    }

    fn day(&mut self, now: Timestamp) -> Result<(), CoreError> {
        let day = now.0 / 86_400_000_000;
        if day <= self.state.day {
            return Ok(());
        }
        let mut body = self.body(What::Day);
        body.private.effects = vec![Effect::Day { day }];
        self.note(body).map(drop)
    }

    /// Markets that the firm's mandate names, and those that value their quote assets, by venue and kind.
    fn mandated(&mut self) -> BTreeMap<(Name, MarketKind), Vec<Symbol>> {
        let mut feeds: BTreeMap<_, Vec<Symbol>> = BTreeMap::new();
        let Some(release) = &self.release else {
            return feeds;
        };
        for id in self.priced(release) {
            feeds
                .entry((id.venue, id.kind))
                .or_default()
                .push(id.symbol);
        }
        for ((venue, _), symbols) in &mut feeds {
            if symbols.len() > PRICES_MAX && !self.own.warned {
                self.own.warned = true;
                self.events.alert(
                    "prices-cut",
                    json!({ "venue": venue, "markets": symbols.len(), "polled": PRICES_MAX }),
                );
            }
            symbols.truncate(PRICES_MAX);
        }
        feeds
    }

    /// And of those that value what fees were taken in.
    fn priced(&self, release: &Release) -> BTreeSet<MarketId> {
        let mut symbols = release.priced();
        let firm = self.state.usage.get(&LevelKey::Firm);
        for (asset, _) in firm.into_iter().flat_map(Usage::gained) {
            symbols.extend(release.rates(asset).iter().cloned());
        }
        symbols
    }

    fn ask_prices(&mut self, now: Timestamp, turn: &mut Turn) {
        self.own.prices_at = now.plus_us(PRICES_EVERY_US);
        let feeds = self.mandated();
        if feeds.is_empty() {
            self.own.prices_at = now.plus_us(PRICES_IDLE_US);
        }
        for ((venue, kind), symbols) in feeds {
            let feed = (venue.clone(), kind);
            if self.own.prices_asked.contains(&feed) || !self.has_room(Lane::Operator) {
                continue;
            }
            let symbols: Vec<&Symbol> = symbols.iter().collect();
            let Some(words) = self.words(&venue, kind, &Question::Prices(&symbols)) else {
                continue;
            };
            self.own.prices_asked.insert(feed);
            self.ask_public(&words, Own::Prices(venue, kind), turn);
        }
    }

    /// The clock of each venue that the release has a host of.
    fn ask_times(&mut self, now: Timestamp, turn: &mut Turn) {
        self.own.time_at = now.plus_us(TIME_EVERY_US);
        let hosts = self.release.iter().flat_map(|it| &it.hosts.hosts);
        let venues: BTreeSet<Name> = hosts.filter_map(|it| Name::new(&it.venue).ok()).collect();
        for venue in venues {
            if self.own.time_asked.contains(&venue) || !self.has_room(Lane::Operator) {
                continue;
            }
            let kinds = [
                MarketKind::Spot,
                MarketKind::UsdFutures,
                MarketKind::CoinFutures,
            ];
            let words = kinds
                .into_iter()
                .find_map(|kind| self.words(&venue, kind, &Question::Time));
            if let Some(words) = words {
                self.own.time_asked.insert(venue.clone());
                self.ask_public(&words, Own::Time(venue), turn);
            }
        }
    }

    /// A question as a venue would be asked it, at a host that the release has.
    fn words(&self, venue: &Name, kind: MarketKind, question: &Question<'_>) -> Option<InWords> {
        let dialect = self.catalog.venue(venue.as_str())?;
        let words = dialect.ask(kind, question)?;
        self.host_of(self.catalog.service(words.host)?)?;
        Some(words)
    }

    fn next_id(&mut self) -> RequestId {
        self.own.seq += 1;
        RequestId {
            epoch: 0,
            seq: self.own.seq,
        }
    }

    /// Asks for public data in the venue's words, decoded like any program's request.
    fn ask_public(&mut self, words: &InWords, own: Own, turn: &mut Turn) {
        let catalog = Arc::clone(&self.catalog);
        let raw = RawRequest {
            method: "GET",
            host: words.host,
            target: words.target.as_bytes(),
            headers: &[],
            body: &[],
        };
        let stamp = Stamp {
            venue_time_ms: 0,
            receive_window_ms: 0,
            at: self.clock.now(),
        };
        let made = catalog.decode(&raw).ok().and_then(|actions| {
            let ready = catalog.prepare(&actions, stamp)?.finish_public()?;
            let host = self.host_of(catalog.service(words.host)?)?;
            Some((host, actions, ready))
        });
        match made {
            Some((host, actions, ready)) => {
                let id = self.next_id();
                self.forward_public(id, host, &actions, &ready, Whose::Gate(own), turn);
            }
            None => {
                self.events
                    .alert("bug-own-request", json!({ "target": words.target }));
                self.own_failed(&own);
            }
        }
    }

    /// Asks with the read key. `false`: it cannot be asked.
    fn resolve(&mut self, ask: &Ask, turn: &mut Turn) -> Result<bool, CoreError> {
        let account = self.state.accounts.get(&ask.account());
        let words = account.and_then(|account| {
            let (kind, question) = ask.question(&self.state)?;
            self.words(&account.venue, kind, &question)
        });
        let Some(words) = words else {
            return Ok(false);
        };
        let headers: Vec<Header<'_>> = words
            .headers
            .iter()
            .map(|(name, value)| Header {
                name,
                value: value.as_bytes().into(),
            })
            .collect();
        let raw = RawRequest {
            method: "GET",
            host: words.host,
            target: words.target.as_bytes(),
            headers: &headers,
            body: &[],
        };
        self.ask_signed(ask.account(), &raw, Own::Resolve(ask.clone()), turn)
    }

    /// Subscribes to what becomes of orders where an account has open ones and the venue tells it: a fill is known when it
    /// happens, whoever's program listens. Who asks finds the rest.
    fn listen(&mut self, now: Timestamp, turn: &mut Turn) -> Result<(), CoreError> {
        let accounts: BTreeSet<AccountId> =
            self.state.orders.values().map(|it| it.account).collect();
        for account in accounts {
            match self.own.listening.get(&account) {
                None => {}
                Some(Some(until)) if now >= *until => {}
                Some(_) => continue,
            }
            let dialect = self
                .state
                .accounts
                .get(&account)
                .and_then(|it| self.catalog.venue(it.venue.as_str()));
            let Some(how) = dialect.and_then(portcullis_venues::Dialect::listen) else {
                continue;
            };
            let has_host = |service| self.host_of(service).is_some();
            if !self.catalog.service(how.host).is_some_and(has_host) {
                continue;
            }
            let raw = RawRequest {
                method: FRAME_METHOD,
                host: how.host,
                target: how.target.as_bytes(),
                headers: &[],
                body: how.frame.as_bytes(),
            };
            match self.ask_signed(account, &raw, Own::Listen(account), turn)? {
                true => self.own.listening.insert(account, None),
                false => self
                    .own
                    .listening
                    .insert(account, Some(now.plus_us(LISTEN_AGAIN_US))),
            };
        }
        Ok(())
    }

    /// Sends a read of the gate's own, signed with the read key. `false`: it cannot be.
    fn ask_signed(
        &mut self,
        account: AccountId,
        raw: &RawRequest<'_>,
        own: Own,
        turn: &mut Turn,
    ) -> Result<bool, CoreError> {
        let super::KeyChoice::Open(key) = self.key_for(account, Duty::Read) else {
            return Ok(false);
        };
        if !self.has_room(Lane::Operator) || !self.keyring.has_room(key) {
            return Ok(false);
        }
        let Some(venue) = self.state.accounts.get(&account).map(|it| it.venue.clone()) else {
            return Ok(false);
        };
        let catalog = Arc::clone(&self.catalog);
        let Ok(actions) = catalog.decode(raw) else {
            let target = String::from_utf8_lossy(raw.target);
            self.events
                .alert("bug-own-request", json!({ "target": target }));
            return Ok(false);
        };
        if !actions.list.iter().all(|action| action.kind().is_read()) {
            return Ok(false);
        }
        let now = self.clock.now();
        let stamp = Stamp {
            venue_time_ms: self.clock.venue_now(venue.as_str()).as_ms(),
            receive_window_ms: WINDOW_MS,
            at: now,
        };
        let asked = catalog
            .service(raw.host)
            .and_then(|service| self.host_of(service))
            .zip(catalog.prepare(&actions, stamp));
        let Some((host, unsigned)) = asked else {
            return Ok(false);
        };
        let window_us = u64::from(WINDOW_MS) * 1_000;
        let meta = Meta {
            caller: Caller {
                strategy: GATE,
                virtual_key: VirtualKeyId(0),
                account,
                source: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            },
            id: self.next_id(),
            lane: Lane::Operator,
            host,
            release: self.releases_seen,
            endpoint: actions.endpoint,
            weight: actions.weight,
            orders: 0,
            not_after_us: self.clock.boot_us().saturating_add(window_us),
            summarize: true,
            // No program's connection has this number.
            stream: matches!(own, Own::Listen(_)).then_some(0),
            pipe: None,
            kinds: actions.list.iter().map(Action::kind).collect(),
            targets: Vec::new(),
            reserved: true,
            until: now.plus_us(window_us),
            own: Some(own),
        };
        let mut body = self.body(What::Approved);
        body.public.venue = Some(venue.to_string());
        body.public.endpoint = catalog
            .endpoint(actions.endpoint)
            .map(portcullis_venues::Endpoint::name);
        body.regulator.strategy = Some(GATE);
        body.regulator.account = Some(account);
        body.regulator.key = Some(key);
        body.regulator.stamp = Some(stamp);
        body.private.weight = actions.weight;
        let approved = Approved {
            key,
            unsigned,
            meta,
        };
        body.regulator.actions = actions.list;
        let (queued, _) = self.append(body, approved)?;
        *self.in_lane.entry(Lane::Operator).or_default() += 1;
        turn.queued.push(queued);
        Ok(true)
    }

    pub(super) fn own_failed(&mut self, own: &Own) {
        let now = self.clock.now();
        match own {
            Own::Resolve(ask) => self.resolver.failed(ask, now),
            Own::Prices(venue, kind) => {
                self.own.prices_asked.remove(&(venue.clone(), *kind));
            }
            Own::Time(venue) => {
                self.own.time_asked.remove(venue);
            }
            Own::Listen(account) => self.own.deaf(*account, now.plus_us(LISTEN_AGAIN_US)),
        }
    }

    pub(super) fn own_outcome(
        &mut self,
        own: &Own,
        outcome: &Outcome,
        reports: &[Report],
        changed: bool,
    ) -> Result<(), CoreError> {
        if outcome.sent != Sent::Sent || outcome.status != 200 {
            // An order that is not there is an answer too.
            let answered = reports.iter().any(|r| matches!(r, Report::NoSuchOrder));
            if !answered {
                self.own_failed(own);
                return Ok(());
            }
        }
        let now = self.clock.now();
        match own {
            Own::Resolve(ask) => self
                .resolver
                .answered(ask, &self.state, reports, changed, now),
            // It is open; `Core::told` says when it is no more.
            Own::Listen(_) => {}
            Own::Time(venue) => {
                self.own.time_asked.remove(venue);
                for report in reports {
                    if let Report::VenueTime { time_ms } = report {
                        let name = venue.as_str();
                        self.clock.measured(name, *time_ms, outcome.took_us);
                        let offset = self.clock.measured_offset_us(name).unwrap_or(0);
                        if offset.abs() > crate::clock::OFFSET_US_MAX {
                            let what = json!({ "venue": venue, "offset_us": offset });
                            self.events.alert("venue-clock", what);
                        }
                    }
                }
            }
            Own::Prices(venue, kind) => {
                self.own.prices_asked.remove(&(venue.clone(), *kind));
                self.prices(venue, *kind, reports, now)?;
            }
        }
        Ok(())
    }

    /// One entry for the prices that changed, or that would grow stale.
    fn prices(
        &mut self,
        venue: &Name,
        kind: MarketKind,
        reports: &[Report],
        now: Timestamp,
    ) -> Result<(), CoreError> {
        let Some(release) = &self.release else {
            return Ok(());
        };
        let priced = self.priced(release);
        let effects: Vec<Effect> = reports
            .iter()
            .filter_map(|report| match report {
                Report::Price {
                    symbol,
                    price,
                    market,
                } if *market == kind => Some((
                    MarketId {
                        symbol: symbol.clone(),
                        kind,
                        venue: venue.clone(),
                    },
                    *price,
                )),
                _ => None,
            })
            .filter(|(id, price)| {
                price.is_positive()
                    && priced.contains(id)
                    && self.state.prices.get(id).is_none_or(|(known, at)| {
                        known != price || now.since_us(*at) >= PRICE_AGAIN_US
                    })
            })
            .take(PRICES_MAX)
            .map(|(id, price)| Effect::Price {
                symbol: id.symbol,
                price,
                market: id.kind,
                venue: Some(id.venue),
            })
            .collect();
        if effects.is_empty() {
            return Ok(());
        }
        let mut body = self.body(What::Prices);
        body.private.effects = effects;
        self.note(body)?;
        self.trips()
    }

    /// Strategies that new prices or fills took to a loss which stops them.
    fn trips(&mut self) -> Result<(), CoreError> {
        let now = self.clock.now();
        let halts = match &self.release {
            Some(release) => portcullis_model::decide::trips(release, &self.state, now),
            None => return Ok(()),
        };
        for halt in halts {
            self.tripped(&halt);
            let mut body = self.body(What::Tripped);
            body.regulator.by = Some(halt.by.clone());
            body.regulator.text = Some(halt.reason.clone());
            body.private.effects = vec![Effect::Halted(halt)];
            self.note(body)?;
        }
        Ok(())
    }

    /// Tells whoever watches that a limit stopped a strategy.
    pub(super) fn tripped(&mut self, halt: &portcullis_model::halt::Halt) {
        self.events.alert(
            "tripped",
            json!({ "scope": halt.scope, "level": halt.level, "reason": halt.reason }),
        );
    }
}
