//! The signer without its loop: verify, decode, decide, record, sign, for one turn of requests at a time. Frames come in
//! and frames go out; the loop around it only moves bytes. Everything that changes the state is an entry first.
//!
//! Absent: sockets, files but the log's, clocks (each call is told the time), and release of anything unwritten.

use crate::keyring::{Approved, Keyring};
use crate::log_file::{Log, LogError, Queued};
use crate::replay::{Replay, Seen};
use minicbor::bytes::{ByteSlice, ByteVec};
use minicbor::{Decode, Encode};
use portcullis_model::action::{Action, Duty, Scheme, Stamp};
use portcullis_model::decide::{Caller, Decision, Facts, Space, Verdict, decide};
use portcullis_model::halt::{Level, Passage};
use portcullis_model::id::{
    AccountId, EntryId, KeyId, RequestId, StrategyId, Timestamp, VirtualKeyId,
};
use portcullis_model::log::{Entry, Header as EntryHeader};
use portcullis_model::refusal::{Class, Refusal};
use portcullis_model::release::Release;
use portcullis_model::state::{Effect, State};
use portcullis_model::wire::{self, Header, Lane, Outcome, Reply, Request, Send, kind};
use portcullis_venues::binance::{Binance, REFUSAL_HEADER, VerifyKey, refuse};
use portcullis_venues::{DecodeError, RawRequest};
use std::collections::HashMap;
use std::net::IpAddr;

/// An order's receive window at most, whatever the program asked for.
pub const ORDER_WINDOW_US_MAX: u64 = 1_000_000;
/// A program's clock may be ahead by this much (Binance's own rule).
pub const AHEAD_US_MAX: u64 = 1_000_000;

/// Kinds of entries.
pub mod entry_kind {
    pub const START: u8 = 0;
    pub const COMMAND: u8 = 1;
    pub const APPROVED: u8 = 2;
    pub const REFUSED: u8 = 3;
    pub const OUTCOME: u8 = 4;
}

/// What an entry says; it stands in the private text. `effects` is all that the fold reads.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct Body {
    #[n(0)]
    pub effects: Vec<Effect>,
    #[n(1)]
    pub strategy: Option<StrategyId>,
    #[n(2)]
    pub virtual_key: Option<VirtualKeyId>,
    #[n(3)]
    pub account: Option<AccountId>,
    #[n(4)]
    pub actions: Vec<Action>,
    #[n(5)]
    pub refusal: Option<Refusal>,
    /// In `observe`: what would have been refused.
    #[n(6)]
    pub would_refuse: Option<Refusal>,
    #[n(7)]
    pub stamp: Option<Stamp>,
    /// The entry that this one is the outcome of.
    #[n(8)]
    pub of: Option<EntryId>,
}

impl Body {
    fn new(effects: Vec<Effect>) -> Self {
        Self {
            effects,
            strategy: None,
            virtual_key: None,
            account: None,
            actions: Vec::new(),
            refusal: None,
            would_refuse: None,
            stamp: None,
            of: None,
        }
    }
}

/// Frames of one turn.
#[derive(Debug, Default)]
pub struct Turn {
    pub to_ingress: Vec<u8>,
    pub to_egress: Vec<u8>,
    queued: Vec<Held>,
}

/// A request whose entry is queued and not yet written.
#[derive(Debug)]
struct Held {
    queued: Queued<Approved>,
    caller: Caller,
    id: RequestId,
    lane: Lane,
    endpoint: u16,
    weight: u32,
    orders: u32,
    not_after_us: u64,
    actions: Vec<Action>,
}

/// The time of a call: of day, and since boot.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    pub at: Timestamp,
    pub boot_us: u64,
}

/// The signer's heart. No `Debug`: it holds the site's secret.
pub struct Core {
    venue: &'static Binance,
    pub state: State,
    release: Option<Release>,
    log: Log,
    keyring: Keyring,
    verify_keys: HashMap<VirtualKeyId, VerifyKey>,
    replay: Replay,
    site_secret: Vec<u8>,
    started: Timestamp,
    /// Requests at egress: entry and account.
    under_way: HashMap<RequestId, (EntryId, AccountId)>,
    /// Failures before anything was verified: counted, never written.
    pub unverified: u64,
}

/// A refusal before anything was verified.
enum Early {
    Decode(DecodeError),
    Class(Class, &'static str),
}

impl From<DecodeError> for Early {
    fn from(error: DecodeError) -> Self {
        Self::Decode(error)
    }
}

impl Core {
    /// Folds the log's entries. `release` must be the one whose hash is in the log, if there is one.
    pub fn new(
        venue: &'static Binance,
        log: Log,
        entries: &[Entry],
        release: Option<Release>,
        keyring: Keyring,
        site_secret: &[u8],
        now: Timestamp,
    ) -> Result<Self, minicbor::decode::Error> {
        let mut state = State::default();
        for (index, entry) in entries.iter().enumerate() {
            let body: Body = wire::message(&entry.private)?;
            state.apply(EntryId(index as u64), entry.header.at, &body.effects);
        }
        Ok(Self {
            venue,
            release: release.filter(|release| state.release == Some(release.hash)),
            state,
            log,
            keyring,
            verify_keys: HashMap::new(),
            replay: Replay::default(),
            site_secret: site_secret.to_vec(),
            started: now,
            under_way: HashMap::new(),
            unverified: 0,
        })
    }

    /// Records a change that is no request (a command, a price, a tick) and applies it.
    pub fn record(
        &mut self,
        kind: u8,
        effects: Vec<Effect>,
        now: Timestamp,
    ) -> Result<EntryId, LogError> {
        let body = Body::new(effects);
        self.append(kind, &body, (), now).map(|queued| queued.1)
    }

    /// Opens a key that an entry has named.
    pub fn keyring_mut(&mut self) -> &mut Keyring {
        &mut self.keyring
    }

    /// Puts a release in force. It must be recorded first.
    pub fn set_release(&mut self, release: Release) -> bool {
        let in_force = self.state.release == Some(release.hash);
        if in_force {
            self.release = Some(release);
        }
        in_force
    }

    /// `now` never before the last entry.
    fn append<T>(
        &mut self,
        kind: u8,
        body: &Body,
        approved: T,
        now: Timestamp,
    ) -> Result<(Queued<T>, EntryId), LogError> {
        let at = now.max(self.state.time);
        // Encoding into a `Vec` cannot fail.
        let private = minicbor::to_vec(body).unwrap_or_default();
        let public = minicbor::to_vec([u64::from(kind)]).unwrap_or_default();
        let entry = Entry {
            header: EntryHeader { term: 0, at, kind },
            public: ByteVec::from(public),
            regulator: ByteVec::from(Vec::new()),
            private: ByteVec::from(private),
        };
        let index = self.log.next();
        let queued = self.log.append(entry, approved)?;
        self.state.apply(index, at, &body.effects);
        Ok((queued, index))
    }

    /// A program's request. Its answer, if the gate itself gives it, is in `turn` at once; what is approved waits for
    /// [`Core::finish`].
    pub fn request(
        &mut self,
        request: &Request<'_>,
        now: Now,
        turn: &mut Turn,
    ) -> Result<(), LogError> {
        let raw = RawRequest {
            method: request.method,
            host: &self.venue.catalog().host,
            target: request.target,
            headers: &request.headers,
            body: request.body,
        };
        match self.judge(&raw, request, now, turn) {
            Ok(done) => done,
            Err(early) => {
                self.unverified += 1;
                let (class, message) = match &early {
                    Early::Decode(error) => (error.class(), error.to_string()),
                    Early::Class(class, message) => (*class, (*message).to_owned()),
                };
                let code = match &early {
                    Early::Decode(error) => error.code(),
                    Early::Class(..) => "not-accepted",
                };
                reply(turn, request.id, class, &message, code, None);
                Ok(())
            }
        }
    }

    fn judge(
        &mut self,
        raw: &RawRequest<'_>,
        request: &Request<'_>,
        now: Now,
        turn: &mut Turn,
    ) -> Result<Result<(), LogError>, Early> {
        let venue = self.venue;
        let presented = venue.present(raw)?;
        if presented.is_public() {
            let actions = presented.decode(None)?;
            let stamp = Stamp {
                venue_time_ms: now.at.as_ms(),
                receive_window_ms: 0,
                at: now.at,
            };
            let unsigned = venue.prepare(&actions, stamp);
            let ready = unsigned.finish_public().ok_or(Early::Class(
                Class::BadRequest,
                "the endpoint wants a signature",
            ))?;
            let meta = Meta {
                id: request.id,
                entry: None,
                strategy: StrategyId(0),
                account: None,
                lane: Lane::Public,
                endpoint: actions.endpoint,
                weight: actions.weight,
                orders: 0,
                not_after_us: 0,
                summarize: false,
            };
            send(turn, &meta, &ready);
            return Ok(Ok(()));
        }
        let unknown = || {
            Early::Class(
                Class::Unauthenticated,
                "the API key is no virtual key of this site",
            )
        };
        let api_key = presented.api_key.ok_or(DecodeError::KeyMissing)?;
        let id = *self.state.by_api_key.get(api_key).ok_or_else(unknown)?;
        let key = self
            .state
            .virtual_keys
            .get(&id)
            .ok_or_else(unknown)?
            .clone();
        let secret = &self.site_secret;
        let verify = match self.verify_keys.entry(id) {
            std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::hash_map::Entry::Vacant(place) => {
                let verify = match key.scheme {
                    Scheme::HmacSha256 => Some(VerifyKey::hmac(
                        crate::keyring::virtual_secret(secret, api_key).as_bytes(),
                    )),
                    Scheme::Ed25519 => VerifyKey::ed25519(&key.public_key),
                    Scheme::RsaSha256 => VerifyKey::rsa(&key.public_key),
                };
                place.insert(verify.ok_or_else(unknown)?)
            }
        };
        let message = presented.verify(verify)?;
        if key.revoked || key.canary {
            return Err(Early::Class(
                Class::Unauthenticated,
                "the virtual key was revoked",
            ));
        }
        if now.at >= key.expires {
            return Err(Early::Class(
                Class::Unauthenticated,
                "the virtual key has expired",
            ));
        }
        if !comes_from(&key.sources, request.source) {
            return Err(Early::Class(
                Class::NotPermitted,
                "the virtual key may not be used from this address",
            ));
        }
        let stamped = Timestamp(
            presented
                .timestamp_us
                .ok_or(DecodeError::TimestampMissing)?,
        );
        let window = presented.receive_window_us;
        if stamped.0 > now.at.0.saturating_add(AHEAD_US_MAX) || now.at.since_us(stamped) > window {
            return Err(Early::Class(
                Class::BadTime,
                "the timestamp is outside the receive window",
            ));
        }
        if stamped < self.started {
            return Err(Early::Class(
                Class::BadTime,
                "the timestamp is from before the gate started; send it again",
            ));
        }
        let mint = format!("pc{:x}t{:x}", self.log.next().0, self.log.term());
        let actions = presented.decode(Some(&mint))?;
        let reads = actions.list.iter().all(|action| action.kind().is_read());
        if !reads {
            let path = presented.rule().path.clone();
            let until = stamped.plus_us(window.saturating_add(AHEAD_US_MAX));
            match self
                .replay
                .note(id, request.method, &path, &message, until, now.at)
            {
                Seen::New => {}
                Seen::Before => {
                    return Err(Early::Class(
                        Class::StatusUnknown,
                        "this request was seen before; ask for the order",
                    ));
                }
                Seen::Full => {
                    return Err(Early::Class(
                        Class::NotAvailable,
                        "too many requests are remembered; try again later",
                    ));
                }
            }
        }
        let caller = Caller {
            strategy: key.strategy,
            virtual_key: id,
            account: key.account,
        };
        let facts = Facts {
            space: Space::Plenty,
            unsynced_us: u64::try_from(self.log.unsynced_for().as_micros()).unwrap_or(u64::MAX),
            weight: actions.weight,
        };
        let decision = match &self.release {
            Some(release) => decide(release, &self.state, caller, &actions.list, &facts, now.at),
            None => Decision {
                verdict: Verdict::Refused(Refusal::NoRelease),
                would_refuse: None,
                reserved: false,
                duty: Duty::Read,
            },
        };
        let real = self.key_for(key.account, decision.duty);
        let verdict = match (decision.verdict, real) {
            (Verdict::Approved(_), None) => Verdict::Refused(Refusal::NoKey {
                duty: decision.duty,
            }),
            (verdict, _) => verdict,
        };
        let left = window.saturating_sub(now.at.since_us(stamped));
        let left = if reads {
            left
        } else {
            left.min(ORDER_WINDOW_US_MAX)
        };
        let stamp = Stamp {
            venue_time_ms: now.at.as_ms(),
            receive_window_ms: u32::try_from(left / 1000).unwrap_or(60_000).max(1),
            at: now.at,
        };
        let mut body = Body::new(Vec::new());
        body.strategy = Some(caller.strategy);
        body.virtual_key = Some(id);
        body.account = Some(caller.account);
        body.actions.clone_from(&actions.list);
        body.would_refuse = decision.would_refuse;
        Ok(match (verdict, real) {
            (Verdict::Approved(effects), Some(real)) => {
                body.effects = effects;
                body.stamp = Some(stamp);
                let approved = Approved {
                    key: real,
                    unsigned: venue.prepare(&actions, stamp),
                };
                self.append(entry_kind::APPROVED, &body, approved, now.at)
                    .map(|(queued, _)| {
                        turn.queued.push(Held {
                            queued,
                            caller,
                            id: request.id,
                            lane: lane(reads, decision.reserved),
                            endpoint: actions.endpoint,
                            weight: actions.weight,
                            orders: actions.orders,
                            not_after_us: now.boot_us.saturating_add(left),
                            actions: actions.list,
                        });
                    })
            }
            (Verdict::Refused(refusal), _) => {
                body.refusal = Some(refusal.clone());
                // A flood that the message rate refuses must not fill the disk.
                let entry = match refusal {
                    Refusal::MessageRate { .. } => Ok(None),
                    _ => self
                        .append(entry_kind::REFUSED, &body, (), now.at)
                        .map(|(_, entry)| Some(entry)),
                };
                entry.map(|entry| {
                    reply(
                        turn,
                        request.id,
                        refusal.class(),
                        &refusal.to_string(),
                        refusal.code(),
                        entry,
                    )
                })
            }
            (Verdict::Approved(_), None) => Ok(()),
        })
    }

    /// The open key of the least duty that can do it.
    fn key_for(&self, account: AccountId, duty: Duty) -> Option<KeyId> {
        self.state
            .keys
            .iter()
            .filter(|(id, key)| {
                key.account == account && key.duty >= duty && self.keyring.is_open(**id)
            })
            .min_by_key(|(_, key)| key.duty)
            .map(|(id, _)| *id)
    }

    /// Ends a turn: writes every queued entry in one call, looks at halts once more, signs, and frames what egress gets.
    pub fn finish(&mut self, turn: &mut Turn, now: Now) -> Result<(), LogError> {
        self.log.flush()?;
        for held in std::mem::take(&mut turn.queued) {
            let Ok(recorded) = self.log.recorded(held.queued) else {
                return Err(LogError::Ended);
            };
            let entry = recorded.entry();
            if let Some(level) = self.halted_since(&held.caller, &held.actions, entry) {
                let release = self.state.settle(
                    held.caller.account,
                    entry,
                    portcullis_model::report::Sent::NotSent,
                    &[],
                    None,
                );
                let mut body = Body::new(release);
                body.of = Some(entry);
                let _ = self.append(entry_kind::OUTCOME, &body, (), now.at)?;
                let text =
                    format!("halted at level {level} before it was signed; nothing was sent");
                reply(
                    turn,
                    held.id,
                    Class::NotAvailable,
                    &text,
                    "halted",
                    Some(entry),
                );
                continue;
            }
            match self.keyring.sign(recorded) {
                Ok((entry, ready)) => {
                    self.under_way.insert(held.id, (entry, held.caller.account));
                    let meta = Meta {
                        id: held.id,
                        entry: Some(entry),
                        strategy: held.caller.strategy,
                        account: Some(held.caller.account),
                        lane: held.lane,
                        endpoint: held.endpoint,
                        weight: held.weight,
                        orders: held.orders,
                        not_after_us: held.not_after_us,
                        summarize: true,
                    };
                    send(turn, &meta, &ready);
                }
                Err(error) => {
                    let release = self.state.settle(
                        held.caller.account,
                        entry,
                        portcullis_model::report::Sent::NotSent,
                        &[],
                        None,
                    );
                    let mut body = Body::new(release);
                    body.of = Some(entry);
                    let _ = self.append(entry_kind::OUTCOME, &body, (), now.at)?;
                    reply(
                        turn,
                        held.id,
                        Class::NotAvailable,
                        &format!("not signed: {error}"),
                        "not-signed",
                        Some(entry),
                    );
                }
            }
        }
        self.log.flush()
    }

    /// A halt that was recorded after the approval and refuses it.
    fn halted_since(
        &self,
        caller: &Caller,
        actions: &[Action],
        approved: EntryId,
    ) -> Option<Level> {
        if self.state.halts.is_empty() || self.state.entries <= approved.0 + 1 {
            return None;
        }
        use portcullis_model::halt::Scope;
        let strategy = self.state.strategies.get(&caller.strategy);
        let venue = self
            .state
            .accounts
            .get(&caller.account)
            .map(|account| account.venue.clone());
        self.state
            .halts
            .values()
            .filter(|halt| match &halt.scope {
                Scope::Firm => true,
                Scope::Venue(name) => Some(name) == venue.as_ref(),
                Scope::Account(id) => *id == caller.account,
                Scope::Desk(name) => strategy.and_then(|s| s.desk.as_ref()) == Some(name),
                Scope::Strategy(id) => *id == caller.strategy,
                Scope::VirtualKey(id) => *id == caller.virtual_key,
            })
            .find(|halt| {
                actions
                    .iter()
                    .any(|action| halt.level.passage(action.kind()) == Passage::Refused)
            })
            .map(|halt| halt.level)
    }

    /// What became of a signed request.
    pub fn outcome(&mut self, outcome: &Outcome, now: Timestamp) -> Result<(), LogError> {
        let known = match outcome.more {
            true => self.under_way.get(&outcome.id).copied(),
            false => self.under_way.remove(&outcome.id),
        };
        let Some((entry, account)) = known else {
            return Ok(());
        };
        let effects = self
            .state
            .settle(account, entry, outcome.sent, &outcome.reports, None);
        if effects.is_empty() {
            return Ok(());
        }
        let mut body = Body::new(effects);
        body.of = Some(entry);
        self.append(entry_kind::OUTCOME, &body, (), now).map(drop)
    }

    /// Ends in order: everything is written, synced and under a checkpoint.
    pub fn close(self) -> Result<(), LogError> {
        self.log.close()
    }
}

fn lane(reads: bool, reserved: bool) -> Lane {
    match (reads, reserved) {
        (true, _) => Lane::Read,
        (false, true) => Lane::Cancel,
        (false, false) => Lane::Order,
    }
}

/// Whether an address lies in one of the networks (`10.0.0.0/8`). No network: from nowhere.
fn comes_from(sources: &[String], address: &ByteSlice) -> bool {
    let address: &[u8] = address;
    sources.iter().any(|source| {
        let (network, bits) = match source.split_once('/') {
            Some((network, bits)) => (network, bits.parse::<u32>().ok()),
            None => (source.as_str(), Some(128)),
        };
        let octets = match network.parse::<IpAddr>() {
            Ok(IpAddr::V4(v4)) => v4.octets().to_vec(),
            Ok(IpAddr::V6(v6)) => v6.octets().to_vec(),
            Err(_) => return false,
        };
        let Some(bits) = bits else { return false };
        octets.len() == address.len()
            && octets.iter().zip(address).enumerate().all(|(at, (a, b))| {
                let left = bits.saturating_sub(at as u32 * 8).min(8);
                let mask = (0xff00u32 >> left) as u8;
                a & mask == b & mask
            })
    })
}

struct Meta {
    id: RequestId,
    entry: Option<EntryId>,
    strategy: StrategyId,
    account: Option<AccountId>,
    lane: Lane,
    endpoint: u16,
    weight: u32,
    orders: u32,
    not_after_us: u64,
    summarize: bool,
}

fn send(turn: &mut Turn, meta: &Meta, ready: &portcullis_venues::binance::Ready) {
    let headers = ready
        .headers
        .iter()
        .map(|(name, value)| Header {
            name,
            value: value.as_bytes().into(),
        })
        .collect();
    let send = Send {
        id: meta.id,
        entry: meta.entry,
        strategy: meta.strategy,
        account: meta.account,
        lane: meta.lane,
        host: 0,
        endpoint: meta.endpoint,
        weight: meta.weight,
        orders: meta.orders,
        not_after_us: meta.not_after_us,
        method: ready.method,
        target: ready.target.as_bytes().into(),
        headers,
        body: ready.body.as_bytes().into(),
        summarize: meta.summarize,
        share: 1000,
    };
    if wire::frame(&mut turn.to_egress, kind::SEND, &send).is_err() {
        // A rebuilt request is no longer than the one that fitted a frame on its way in, but for its escapes.
        reply(
            turn,
            meta.id,
            Class::BadRequest,
            "the request is too long once it is encoded",
            "too-long",
            meta.entry,
        );
    }
}

fn reply(
    turn: &mut Turn,
    id: RequestId,
    class: Class,
    message: &str,
    code: &str,
    entry: Option<EntryId>,
) {
    let (status, body) = refuse(class, message, entry);
    let headers = vec![
        Header {
            name: "content-type",
            value: (&b"application/json;charset=UTF-8"[..]).into(),
        },
        Header {
            name: REFUSAL_HEADER,
            value: code.as_bytes().into(),
        },
    ];
    let reply = Reply {
        id,
        status,
        headers,
        body: body[..].into(),
    };
    // A refusal is far shorter than a frame: its message is bounded by the fields it quotes.
    let _ = wire::frame(&mut turn.to_ingress, kind::REPLY, &reply);
}

#[cfg(test)]
mod tests;
