//! Sessions of programs' WebSockets. A program logs on with one signed frame, and the frames that follow on its connection
//! need no signature of their own: the gate answers the logon itself, takes each of them as that virtual key's, judges,
//! records and signs it like any other. At the venue nobody is logged on.
//!
//! Where a venue takes orders only from who has logged on there, a program's WebSocket has one of its own at the venue: a
//! pipe. There the logon goes on, signed anew with the real key, if the account permits sessions; every frame that follows is
//! judged and recorded like any other, and the venue takes it as that key's unsigned. One pipe is of one virtual key.
//!
//! Which connection a frame came by is ingress' word alone. A session ends with its connection, its key, the run of ingress,
//! and the run of this signer. A logon is taken once: whoever has seen it cannot log on with it again.

use super::{Core, Early, Turn, reply_body};
use crate::replay::{First, Seen, mark};
use crate::virtual_keys;
use portcullis_model::Map;
use portcullis_model::action::ActionKind;
use portcullis_model::decide::Caller;
use portcullis_model::id::{AccountId, EntryId, KeyId, RequestId, Timestamp, VirtualKeyId};
use portcullis_model::refusal::Class;
use portcullis_model::wire::{self, FRAME_METHOD, Leave, Request, kind};
use portcullis_venues::Presented;
use portcullis_venues::dialect::{CONNECT, Session, SessionCall};
use std::net::IpAddr;

/// Sessions at most, as many as ingress has connections; a logon beyond them is refused.
const SESSIONS_MAX: usize = 16_384;

/// Who has logged on, by connection.
#[derive(Debug, Default)]
pub(super) struct Sessions(Map<u64, LoggedOn>);

#[derive(Debug, Clone, Copy)]
struct LoggedOn {
    key: VirtualKeyId,
    since: Timestamp,
}

impl Sessions {
    pub(super) fn key(&self, connection: u64) -> Option<VirtualKeyId> {
        self.0.get(&connection).map(|it| it.key)
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Of this key.
    pub(super) fn end(&mut self, key: VirtualKeyId) {
        self.0.retain(|_, it| it.key != key);
    }
}

/// What a venue says unasked: the request that opened it, whose it is, and who listens.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stream {
    pub(super) entry: EntryId,
    pub(super) caller: Caller,
    pub(super) connection: u64,
}

/// Pipes at most, and of one source (loopback apart).
pub const PIPES_MAX: usize = 4_096;
pub const PIPES_PER_SOURCE_MAX: usize = 64;

/// Programs' WebSockets that have one of their own at the venue, by connection.
#[derive(Debug, Default)]
pub(super) struct Pipes(Map<u64, Pipe>);

#[derive(Debug)]
struct Pipe {
    /// The request that opened it, and where: what follows is for no other host and target.
    id: RequestId,
    host: Box<str>,
    target: Box<[u8]>,
    source: Option<IpAddr>,
    /// The real key that is logged on there.
    logged_on: Option<KeyId>,
}

impl Pipes {
    /// The real key that a connection's pipe is logged on with.
    pub(super) fn key(&self, connection: u64) -> Option<KeyId> {
        self.0.get(&connection)?.logged_on
    }

    fn connection(&self, id: RequestId) -> Option<u64> {
        let mut all = self.0.iter();
        all.find(|(_, pipe)| pipe.id == id)
            .map(|(connection, _)| *connection)
    }
}

impl Core {
    /// A program's WebSocket has ended.
    pub fn connection_gone(&mut self, connection: u64) {
        self.sessions.0.remove(&connection);
        if let Some(pipe) = self.pipes.0.remove(&connection) {
            self.streams.remove(&pipe.id);
        }
        for connections in self.connections.values_mut() {
            connections.sockets.retain(|it| *it != connection);
        }
    }

    /// The pipe that a frame is for, where the venue's host has pipes.
    pub(super) fn pipe_of(
        &self,
        presented: &Presented<'_>,
        request: &Request<'_>,
    ) -> Result<Option<RequestId>, Early> {
        if request.method != FRAME_METHOD || !presented.service().pipe {
            return Ok(None);
        }
        let known = self.pipes.0.get(&request.connection);
        if presented.rule().path != CONNECT {
            return known
                .filter(|pipe| &*pipe.host == request.host && *pipe.target == **request.target)
                .map(|pipe| Some(pipe.id))
                .ok_or(NO_PIPE);
        }
        let source = virtual_keys::source(request.source).filter(|source| !source.is_loopback());
        let of_source = source.map_or(0, |_| {
            let mut all = self.pipes.0.values();
            all.by_ref().filter(|pipe| pipe.source == source).count()
        });
        if known.is_some() || self.pipes.0.len() >= PIPES_MAX || of_source >= PIPES_PER_SOURCE_MAX {
            return Err(Early::Class(
                Class::RateLimited,
                "too many WebSockets; nothing was sent",
                "pipes-full",
            ));
        }
        Ok(Some(request.id))
    }

    /// A pipe is asked for.
    pub(super) fn pipe_opens(&mut self, request: &Request<'_>) {
        let pipe = Pipe {
            id: request.id,
            host: request.host.into(),
            target: request.target.to_vec().into(),
            source: virtual_keys::source(request.source),
            logged_on: None,
        };
        self.pipes.0.insert(request.connection, pipe);
    }

    /// There is no pipe after all, or no more.
    pub(super) fn pipe_ended(&mut self, id: RequestId) {
        if let Some(connection) = self.pipes.connection(id) {
            self.connection_gone(connection);
        }
    }

    /// Egress is gone, and all pipes with it.
    pub(super) fn pipes_lost(&mut self) {
        for (connection, _) in std::mem::take(&mut self.pipes.0) {
            self.sessions.0.remove(&connection);
        }
    }

    /// Whether a program may log on at the venue by a pipe of its own.
    pub(super) fn may_log_on(
        &self,
        caller: &Caller,
        host: u16,
        connection: u64,
    ) -> Result<(), Early> {
        let refuse = |class, text, code| Err(Early::Class(class, text, code));
        if !self.permits_sessions(caller.account, host) {
            return refuse(
                Class::NotPermitted,
                "the account permits no sessions at this host of the venue; its operator names it in `sessions` of the release's hosts.toml",
                "no-sessions",
            );
        }
        if self.sessions.0.contains_key(&connection) {
            let text = "the connection has logged on already; open another for another key";
            return refuse(Class::BadRequest, text, "logged-on");
        }
        if self.sessions.0.len() >= SESSIONS_MAX {
            return refuse(Class::NotAvailable, "too many sessions", "sessions-full");
        }
        Ok(())
    }

    /// Whether a release lets programs of an account log on at the venue, where egress could then send what nobody signed.
    fn permits_sessions(&self, account: AccountId, host: u16) -> bool {
        let account = self.state.accounts.get(&account);
        let release = self.release.as_deref();
        release
            .zip(account)
            .is_some_and(|(release, account)| release.permits_sessions(host, &account.name))
    }

    /// The logon is recorded, and will be signed with this key: what follows on the connection is of its session.
    pub(super) fn pipe_logs_on(
        &mut self,
        connection: u64,
        caller: Caller,
        key: KeyId,
        entry: EntryId,
    ) {
        let since = self.clock.now();
        if let Some(pipe) = self.pipes.0.get_mut(&connection) {
            pipe.logged_on = Some(key);
            let stream = Stream {
                entry,
                caller,
                connection,
            };
            self.streams.insert(pipe.id, stream);
            let session = LoggedOn {
                key: caller.virtual_key,
                since,
            };
            self.sessions.0.insert(connection, session);
            self.metrics.sessions += 1;
        }
    }

    /// Tells egress to end the pipes and streams of a virtual key, whatever ingress does.
    pub(super) fn hang_up(&mut self, key: VirtualKeyId, turn: &mut Turn) {
        let ids: Vec<RequestId> = self
            .streams
            .iter()
            .filter(|(_, it)| it.caller.virtual_key == key)
            .map(|(id, _)| *id)
            .collect();
        for id in ids {
            let _ = wire::frame(&mut turn.to_egress, kind::LEAVE, &Leave { id });
            self.pipe_ended(id);
            self.streams.remove(&id);
        }
    }

    /// Ends the pipes that somebody has logged on to, by this real key alone if there is one: whether that is still permitted
    /// is for another release to say, at the next logon.
    pub(super) fn hang_up_logged_on(&mut self, by: Option<KeyId>, turn: &mut Turn) {
        let logged_on: Vec<RequestId> = self
            .pipes
            .0
            .values()
            .filter(|pipe| {
                pipe.logged_on
                    .is_some_and(|key| by.is_none_or(|by| key == by))
            })
            .map(|pipe| pipe.id)
            .collect();
        for id in logged_on {
            let _ = wire::frame(&mut turn.to_egress, kind::LEAVE, &Leave { id });
            self.pipe_ended(id);
        }
    }

    /// Ends the streams of an account, the gate's own too: which key signed for one is not kept.
    pub(super) fn hang_up_account(&mut self, account: AccountId, turn: &mut Turn) {
        let ids: Vec<RequestId> = self
            .streams
            .iter()
            .filter(|(_, it)| it.caller.account == account)
            .map(|(id, _)| *id)
            .collect();
        for id in ids {
            let _ = wire::frame(&mut turn.to_egress, kind::LEAVE, &Leave { id });
        }
    }

    /// Ends pipes of sources from which no virtual key in force may come any more.
    pub(super) fn hang_up_unbound(&mut self, turn: &mut Turn) {
        let unbound: Vec<RequestId> = self
            .pipes
            .0
            .values()
            .filter(|pipe| !pipe.source.is_some_and(|source| self.is_bound(source)))
            .map(|pipe| pipe.id)
            .collect();
        for id in unbound {
            let _ = wire::frame(&mut turn.to_egress, kind::LEAVE, &Leave { id });
            self.pipe_ended(id);
        }
    }

    /// A verified logon.
    pub(super) fn log_on(
        &mut self,
        presented: &Presented<'_>,
        caller: Caller,
        request: &Request<'_>,
        message: &[u8],
        until: Timestamp,
        turn: &mut Turn,
    ) -> Result<(), Early> {
        let refuse = |class, text, code| Err(Early::Class(class, text, code));
        if self
            .halted(&caller, &[ActionKind::Session], false)
            .is_some()
        {
            return refuse(Class::NotAvailable, "halted; nobody logs on", "halted");
        }
        let venue = presented.service().venue();
        let key = caller.virtual_key;
        let mark = mark(key, request.method, &presented.rule().path, message);
        match self.replay.look(key, &mark, self.clock.venue_now(venue)) {
            Seen::New => {}
            Seen::Repeated(_) => {
                let text = "this logon was seen before; sign a new one";
                return refuse(Class::BadSignature, text, "repeated");
            }
            Seen::Full => {
                let text = "too many requests are remembered; try again later";
                return refuse(Class::NotAvailable, text, "replay-full");
            }
        }
        let known = self.sessions.0.contains_key(&request.connection);
        if !known && self.sessions.0.len() >= SESSIONS_MAX {
            return refuse(Class::NotAvailable, "too many sessions", "sessions-full");
        }
        let first = First::Refused {
            status: 400,
            body: Vec::new(),
            code: "repeated",
        };
        self.replay.keep(key, mark, first, until);
        let since = self.clock.venue_now(venue);
        let session = LoggedOn { key, since };
        self.sessions.0.insert(request.connection, session);
        self.metrics.sessions += 1;
        self.tell_session(presented, request, turn);
        Ok(())
    }

    /// A call about the connection's own session, which needs no signature. `false`: it is none.
    pub(super) fn session_call(
        &mut self,
        presented: &Presented<'_>,
        request: &Request<'_>,
        turn: &mut Turn,
    ) -> bool {
        match presented.service().dialect.session_call(presented.rule()) {
            None => return false,
            Some(SessionCall::Status) => {}
            Some(SessionCall::LogOut) => {
                self.sessions.0.remove(&request.connection);
            }
        }
        self.tell_session(presented, request, turn);
        true
    }

    fn tell_session(&self, presented: &Presented<'_>, request: &Request<'_>, turn: &mut Turn) {
        let session = self.sessions.0.get(&request.connection).and_then(|it| {
            let key = self.state.virtual_keys.get(&it.key)?;
            Some((key.api_key.as_str(), it.since.as_ms()))
        });
        let body = presented.service().dialect.session(&Session {
            logged_on: session,
            has_stream: self
                .streams
                .values()
                .any(|stream| stream.connection == request.connection),
            now_ms: self.clock.venue_now(presented.service().venue()).as_ms(),
        });
        reply_body(turn, request.id, body.to_string().as_bytes());
    }
}

/// A frame of a pipe that is not there.
const NO_PIPE: Early = Early::Class(
    Class::NotAvailable,
    "the WebSocket has no connection at the venue any more; open it anew",
    "no-pipe",
);
