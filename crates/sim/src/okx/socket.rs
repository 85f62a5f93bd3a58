//! WebSockets: `/ws/v5/public`, `/ws/v5/private`, `/ws/v5/business`.
//!
//! Orders are those of REST: the same tables, rates, rights and books. An instrument is named by its number there, `instIdCode`;
//! a name beside it does not matter, and a name alone is not enough.

use super::events::{Book, Channel, Following};
use super::{Asked, CALLS, Done, contracts, may, rate, refuse, trade};
use crate::api::Answer;
use crate::ears::Ears;
use crate::faults::Act;
use crate::keys::Right;
use crate::refusal::Refusal;
use crate::v5::json;
use crate::v5::table::{self, Fields, Manner, Wrong};
use crate::venue::{Entry, Outcome, Venue};
use serde_json::{Value, json};
use std::net::IpAddr;

/// Seconds that a login's time may be away from the venue's.
const LOGIN_S: u64 = 30;
/// Hosts.
const HOSTS: [&str; 4] = [
    "ws.okx.com",
    "wsaws.okx.com",
    "wsus.okx.com",
    "wseea.okx.com",
];
/// Operations, and the calls that do the same.
const OPERATIONS: [(&str, &str); 6] = [
    ("order", "/api/v5/trade/order"),
    ("batch-orders", "/api/v5/trade/batch-orders"),
    ("cancel-order", "/api/v5/trade/cancel-order"),
    ("batch-cancel-orders", "/api/v5/trade/cancel-batch-orders"),
    ("amend-order", "/api/v5/trade/amend-order"),
    ("batch-amend-orders", "/api/v5/trade/amend-batch-orders"),
];

/// Which of the three.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Door {
    Public,
    Private,
    Business,
}

/// One WebSocket.
#[derive(Debug)]
pub struct Socket {
    door: Door,
    number: u64,
    /// Account of the key that logged in, and the key.
    owner: Option<(usize, String)>,
    topics: Vec<Topic>,
    following: Following,
}

/// A subscription.
#[derive(Debug)]
pub(super) struct Topic {
    pub arg: Fields,
    pub channel: Channel,
    /// Nothing was told yet.
    pub fresh: bool,
    pub book: Book,
    /// What was told last, of channels that tell when something else is so.
    pub told: Value,
}

/// Who hears a WebSocket that is opened there.
pub fn open(venue: &mut Venue, target: &str, headers: &[(&str, &[u8])]) -> Option<Box<dyn Ears>> {
    let door = match target {
        "/ws/v5/public" => Door::Public,
        "/ws/v5/private" => Door::Private,
        "/ws/v5/business" => Door::Business,
        _ => return None,
    };
    crate::venue::host_is_one_of(headers, &HOSTS).then(|| {
        let socket = Socket {
            door,
            number: venue.v5.number(),
            owner: None,
            topics: Vec::new(),
            following: Following::default(),
        };
        Box::new(socket) as Box<dyn Ears>
    })
}

/// What is said to a frame: its text, and the venue's code.
type Said = (Value, i64);

impl Ears for Socket {
    fn hear(&mut self, venue: &mut Venue, from: IpAddr, text: &str, now_us: u64) -> Vec<Outcome> {
        if text == "ping" {
            return vec![plain("pong".to_owned())];
        }
        let now_us = venue.begin(now_us, true);
        let frame = match json::parse(text.as_bytes()) {
            Some(Value::Object(frame)) => frame,
            _ => return vec![plain(self.error(None, 60012, &illegal(text)).0.to_string())],
        };
        let id = frame.get("id").cloned();
        let operation = frame.get("op").and_then(Value::as_str).unwrap_or("");
        let args = frame.get("args").and_then(Value::as_array);
        let shaped = frame
            .keys()
            .all(|name| matches!(&**name, "op" | "args" | "id" | "expTime"));
        let named = id.as_ref().is_none_or(|id| {
            id.as_str()
                .is_some_and(|id| id.len() <= 32 && id.bytes().all(|b| b.is_ascii_alphanumeric()))
        });
        let (Some(args), true, true) = (args, shaped, named) else {
            return vec![plain(self.error(None, 60012, &illegal(text)).0.to_string())];
        };
        let account = self.owner.as_ref().map(|(account, _)| *account);
        let path = OPERATIONS
            .iter()
            .find(|(name, _)| *name == operation)
            .map_or(operation, |(_, path)| path);
        let fault = venue.fault("WS", path, account);
        let before = match fault {
            Some(Act::ErrorBefore(_)) => {
                Some((self.error(id.as_ref(), 63999, "Internal system error"), 500))
            }
            Some(Act::DropBefore | Act::HangBefore) => Some(((Value::Null, -1), 0)),
            _ => None,
        };
        let mut key = self
            .owner
            .as_ref()
            .and_then(|(_, key)| venue.keys.find(key))
            .map(|k| k.number);
        let client = args
            .iter()
            .find_map(|arg| arg.get("clOrdId")?.as_str())
            .map(str::to_owned);
        let mut said = Vec::new();
        let mut status = 200;
        if let Some((one, instead)) = before {
            status = instead;
            said.push(one);
        } else {
            match operation {
                "login" => {
                    said.push(self.login(venue, args, from, now_us));
                    key = self
                        .owner
                        .as_ref()
                        .and_then(|(_, key)| venue.keys.find(key))
                        .map(|k| k.number);
                }
                "subscribe" | "unsubscribe" => {
                    let adds = operation == "subscribe";
                    for arg in args {
                        said.push(self.subscribe(venue, arg, id.as_ref(), adds));
                    }
                }
                _ if path != operation => {
                    let deadline = frame.get("expTime");
                    said.push(self.order(
                        venue,
                        from,
                        (operation, path),
                        args,
                        deadline,
                        id.as_ref(),
                        now_us,
                    ));
                }
                _ => said.push(self.error(None, 60012, &illegal(text))),
            }
        }
        let code = said.first().map_or(0, |(_, code)| *code);
        let mut texts = said.into_iter().map(|(value, _)| value.to_string());
        let entry = Entry {
            number: venue.requests,
            time_us: now_us,
            from,
            method: "WS".to_owned(),
            path: path.chars().take(256).collect(),
            key,
            account: self.owner.as_ref().map(|(account, _)| *account),
            client_order_id: client,
            signature: None,
            status,
            code,
            fault: fault.map(Act::name),
        };
        let answer = frame_of(texts.next().unwrap_or_default());
        let unknown = self
            .error(id.as_ref(), 63999, "Internal system error")
            .0
            .to_string();
        let mut outcomes = vec![venue.finish(entry, answer, fault, |_| frame_of(unknown.clone()))];
        outcomes.extend(texts.map(plain));
        outcomes
    }

    fn tell(&mut self, venue: &Venue) -> Vec<String> {
        let account = self.owner.as_ref().map(|(account, _)| *account);
        self.following.look(venue, account, &mut self.topics)
    }

    fn listens(&self) -> bool {
        !self.topics.is_empty()
    }
}

fn illegal(text: &str) -> String {
    format!("Illegal request: {text}")
}

fn frame_of(body: String) -> Answer {
    Answer {
        status: 200,
        body,
        kind: "application/json",
        headers: Vec::new(),
    }
}

fn plain(text: String) -> Outcome {
    Outcome {
        answer: Some(frame_of(text)),
        delay_ms: 0,
        close: false,
        cut: false,
    }
}

impl Socket {
    fn connection(&self) -> String {
        format!("{:08x}", self.number)
    }

    fn event(&self, event: &str, id: Option<&Value>, more: Value) -> Value {
        let mut said = json!({"event": event, "connId": self.connection()});
        if let Some(id) = id {
            said["id"] = id.clone();
        }
        for (name, value) in more.as_object().into_iter().flatten() {
            said[name] = value.clone();
        }
        said
    }

    fn error(&self, id: Option<&Value>, code: i64, msg: &str) -> Said {
        let more = json!({"code": code.to_string(), "msg": msg});
        (self.event("error", id, more), code)
    }

    fn login(&mut self, venue: &Venue, args: &[Value], from: IpAddr, now_us: u64) -> Said {
        let [Value::Object(arg)] = args else {
            return self.error(None, 60009, "Login failed.");
        };
        let text = |name: &str| arg.get(name).and_then(Value::as_str).unwrap_or("");
        // As text or as a number.
        let time = match arg.get("timestamp") {
            Some(Value::String(text)) => text.clone(),
            Some(number @ Value::Number(_)) => number.to_string(),
            _ => String::new(),
        };
        let seconds = Some(&time)
            .filter(|t| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit()))
            .and_then(|t| t.parse::<u64>().ok());
        let Some(seconds) = seconds else {
            return self.error(None, 60004, "Invalid timestamp");
        };
        if seconds.abs_diff(now_us / 1_000_000) > LOGIN_S {
            return self.error(None, 60006, "Timestamp request expired");
        }
        let Some(known) = venue.keys.find(text("apiKey")) else {
            return self.error(None, 60005, "Invalid apiKey");
        };
        if known.passphrase.as_deref() != Some(text("passphrase")) {
            return self.error(None, 60024, "Wrong passphrase");
        }
        let payload = format!("{time}GET/users/self/verify");
        if !known.verifies_base64(payload.as_bytes(), text("sign")) {
            return self.error(None, 60007, "Invalid sign");
        }
        if !known.ips.is_empty() && !known.ips.contains(&from) {
            return self.error(None, 60009, "Login failed.");
        }
        self.owner = Some((known.account, text("apiKey").to_owned()));
        self.following = Following::from_now(venue, known.account);
        let more = json!({"code": "0", "msg": ""});
        (self.event("login", None, more), 0)
    }

    fn subscribe(&mut self, venue: &Venue, arg: &Value, id: Option<&Value>, adds: bool) -> Said {
        let Value::Object(arg) = arg else {
            return self.error(id, 60012, "Illegal request");
        };
        let name = arg.get("channel").and_then(Value::as_str).unwrap_or("");
        let instrument = arg.get("instId").and_then(Value::as_str);
        let wrong = |socket: &Self| {
            let at = instrument.map_or(String::new(), |id| format!(",instId:{id}"));
            let msg = format!(
                "Wrong URL or channel:{name}{at} doesn't exist. Please use the correct URL, channel and parameters referring to API document."
            );
            socket.error(id, 60018, &msg)
        };
        let Some(channel) = Channel::of(name, self.door) else {
            return wrong(self);
        };
        if channel.is_private() && self.owner.is_none() {
            return self.error(id, 60011, "Please log in");
        }
        let known = |name: &str| {
            venue.exchange.market(name).is_ok() || contracts::of(venue, name).is_some()
        };
        let fits = instrument.map_or(!channel.wants_instrument(), known);
        let kind = arg.get("instType").and_then(Value::as_str);
        let kinds = ["SPOT", "MARGIN", "SWAP", "FUTURES", "OPTION", "ANY"];
        let typed = match kind {
            None => !channel.wants_type(),
            Some(kind) => kinds.contains(&kind),
        };
        if !fits || !typed {
            return wrong(self);
        }
        self.topics.retain(|topic| topic.arg != *arg);
        if adds {
            self.topics.push(Topic {
                arg: arg.clone(),
                channel,
                fresh: true,
                book: Book::default(),
                told: Value::Null,
            });
        }
        let event = if adds { "subscribe" } else { "unsubscribe" };
        (self.event(event, id, json!({"arg": arg})), 0)
    }

    /// Orders, cancels, amendments: what REST does, and its answer with the operation.
    #[expect(clippy::too_many_arguments, reason = "a frame has so many parts")]
    fn order(
        &self,
        venue: &mut Venue,
        from: IpAddr,
        (operation, path): (&str, &str),
        args: &[Value],
        deadline: Option<&Value>,
        id: Option<&Value>,
        now_us: u64,
    ) -> Said {
        let Some((account, key)) = &self.owner else {
            return self.error(id, 60011, "Please log in");
        };
        let Some(id) = id.filter(|_| self.door == Door::Private) else {
            return self.error(id, 60012, "Illegal request");
        };
        let now = now_us / 1000;
        let done = self.done(venue, from, (*account, key), path, args, deadline, now);
        let (code, msg, data) = match done {
            Err(refusal) => (refusal.code, refusal.msg, Vec::new()),
            Ok(data) => {
                let failed = data.iter().filter(|one| one["sCode"] != "0").count();
                let code = match failed {
                    0 => 0,
                    n if n == data.len() => 1,
                    _ => 2,
                };
                (code, String::new(), data)
            }
        };
        let said = json!({
            "id": id, "op": operation, "code": code.to_string(), "msg": msg, "data": data, "inTime": now_us.to_string(), "outTime": now_us.to_string(),
        });
        (said, code)
    }

    #[expect(clippy::too_many_arguments, reason = "a frame has so many parts")]
    fn done(
        &self,
        venue: &mut Venue,
        from: IpAddr,
        (account, key): (usize, &str),
        path: &str,
        args: &[Value],
        deadline: Option<&Value>,
        now: u64,
    ) -> Done {
        let call = CALLS
            .iter()
            .find(|call| call.path == path && call.method == "POST")
            .ok_or_else(|| Refusal::new(60012, "Illegal request"))?;
        if let Some(deadline) = deadline {
            let until = deadline.as_str().and_then(|t| t.parse::<u64>().ok());
            match until {
                None => return Err(Refusal::new(51000, "Parameter expTime error")),
                Some(until) if until < now => {
                    return Err(Refusal::new(50004, "API endpoint request timeout"));
                }
                Some(_) => {}
            }
        }
        if !venue
            .keys
            .find(key)
            .is_some_and(|key| may(key, Right::Trade))
        {
            return Err(Refusal::new(
                50120,
                "This API key doesn't have permission to use this function.",
            ));
        }
        let mut all = Vec::new();
        for arg in args {
            let Value::Object(arg) = arg else {
                return Err(Refusal::new(60012, "Illegal request"));
            };
            let mut arg = arg.clone();
            let name = match arg.remove("instIdCode") {
                None | Some(Value::Null) => {
                    return Err(Refusal::new(
                        50014,
                        "Parameter instIdCode can not be empty.",
                    ));
                }
                Some(code) => code
                    .as_u64()
                    .or_else(|| code.as_str()?.parse().ok())
                    .and_then(|code| named(venue, code))
                    .ok_or_else(super::market::no_instrument)?,
            };
            arg.insert("instId".to_owned(), name.into());
            all.push(Value::Object(arg));
        }
        let manner = Manner {
            text: true,
            empty_is_absent: true,
            known_only: true,
        };
        let wrong = |wrong| match wrong {
            Wrong::Missing(name) => {
                Refusal::new(50014, format!("Parameter {name} cannot be empty."))
            }
            Wrong::Malformed(name) | Wrong::Unknown(name) => super::parameter(&name),
            Wrong::TooMany(max) => refuse(
                51111,
                format!("Maximum {max} orders can be placed in bulk."),
            ),
        };
        let (mut fields, mut several) = (Fields::new(), Vec::new());
        match (call.array(), all.as_slice()) {
            (Some((of, max)), all) => {
                several = table::objects(of, all, max, manner).map_err(wrong)?
            }
            (None, [Value::Object(one)]) => {
                fields = table::check(&call.fields, one, manner).map_err(wrong)?;
            }
            _ => return Err(Refusal::new(60012, "Illegal request")),
        }
        rate(venue, (from, now), call, Some(account), &fields, &several)?;
        let asked = Asked {
            owner: Some((account, key)),
            fields,
            several,
            now,
        };
        trade::answer(venue, call, path, &asked)
    }
}

/// Numbers of instruments at the venue.
const PAIRS: u64 = 10_000;
const SWAPS: u64 = 20_000;

pub(super) fn code_of_pair(market: usize) -> u64 {
    PAIRS + market as u64
}

pub(super) fn code_of_swap(at: crate::v5::perps::At) -> u64 {
    SWAPS + at.service.index() as u64 * 1_000 + at.contract as u64
}

/// The instrument of a number.
fn named(venue: &Venue, code: u64) -> Option<String> {
    let pairs = venue.exchange.markets.iter().enumerate();
    let mut pairs = pairs.filter(|(at, _)| code_of_pair(*at) == code);
    pairs
        .next()
        .map(|(_, market)| market.symbol.name.clone())
        .or_else(|| {
            contracts::all(venue)
                .find(|(at, _)| code_of_swap(*at) == code)
                .map(|(_, market)| market.contract.name.clone())
        })
}
