//! Sessions of programs' WebSockets. A program logs on with one signed frame, and the frames that follow on its connection
//! need no signature of their own: the gate answers the logon itself, takes each of them as that virtual key's, judges,
//! records and signs it like any other. At the venue nobody is logged on.
//!
//! Which connection a frame came by is ingress' word alone. A session ends with its connection, its key, the run of ingress,
//! and the run of this signer. A logon is taken once: whoever has seen it cannot log on with it again.

use super::{Core, Early, Turn, reply_body};
use crate::replay::{First, Seen, mark};
use portcullis_model::Map;
use portcullis_model::action::ActionKind;
use portcullis_model::decide::Caller;
use portcullis_model::id::{Timestamp, VirtualKeyId};
use portcullis_model::refusal::Class;
use portcullis_model::wire::Request;
use portcullis_venues::Presented;
use portcullis_venues::dialect::{Session, SessionCall};

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

impl Core {
    /// A program's WebSocket has ended.
    pub fn connection_gone(&mut self, connection: u64) {
        self.sessions.0.remove(&connection);
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
            now_ms: self.clock.venue_now(presented.service().venue()).as_ms(),
        });
        reply_body(turn, request.id, body.to_string().as_bytes());
    }
}
