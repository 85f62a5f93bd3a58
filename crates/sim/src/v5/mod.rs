//! What the simulated Bybit, OKX and KuCoin have in common: requests with their credentials in headers and JSON in the body, tables
//! of calls, rates in rolling windows, and orders on the one matching core. Each venue's own words are in `bybit`, `okx` and `kucoin`.

pub mod json;
pub mod perps;
pub mod rates;
pub mod spot;
pub mod table;

use crate::api::Answer;
use crate::faults::Act;
use crate::keys::Right;
use crate::venue::{Entry, Kind, Outcome, Venue};
use rates::Rates;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

/// What these venues remember beside trading.
#[derive(Debug, Default)]
pub struct State {
    /// Requests of an account on a call (and a market).
    pub calls: Rates<(usize, &'static str, String)>,
    /// Requests of an address.
    pub addresses: Rates<IpAddr>,
    /// Addresses that are banned, until when in milliseconds.
    pub banned: HashMap<IpAddr, u64>,
    /// Accounts whose orders are cancelled when their time has come, in milliseconds.
    pub deadlines: BTreeMap<usize, u64>,
    next: u64,
}

impl State {
    /// A number that was not given before.
    pub fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

/// A header is there twice, or is no text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadHeader;

/// A request as it arrived.
#[derive(Debug, Clone, Copy)]
pub struct Sent<'a> {
    /// Address it came from.
    pub from: IpAddr,
    /// HTTP method.
    pub method: &'a str,
    /// Path and query.
    pub target: &'a str,
    /// Path.
    pub path: &'a str,
    /// Query, without the question mark.
    pub query: &'a str,
    /// Headers.
    pub headers: &'a [(&'a str, &'a [u8])],
    /// Body.
    pub body: &'a [u8],
    /// The venue's time, in milliseconds.
    pub now: u64,
}

impl<'a> Sent<'a> {
    /// A header; nothing where it is missing, an error where it is there twice or no text.
    ///
    /// # Errors
    /// See above.
    pub fn header(&self, name: &str) -> Result<Option<&'a str>, BadHeader> {
        let mut all = self
            .headers
            .iter()
            .filter(|(n, _)| n.eq_ignore_ascii_case(name));
        match (all.next(), all.next()) {
            (None, _) => Ok(None),
            (Some((_, value)), None) => std::str::from_utf8(value).map(Some).map_err(|_| BadHeader),
            _ => Err(BadHeader),
        }
    }

    /// Whether the body says that it is JSON.
    #[must_use]
    pub fn is_json(&self) -> bool {
        self.header("content-type").ok().flatten().is_some_and(|t| {
            t.split(';')
                .next()
                .is_some_and(|t| t.trim().eq_ignore_ascii_case("application/json"))
        })
    }
}

/// What a venue answers, before anything goes wrong on purpose.
#[derive(Debug)]
pub struct Reply {
    /// The answer.
    pub answer: Answer,
    /// The venue's code; zero where all is well.
    pub code: i64,
}

impl Reply {
    /// An answer in JSON.
    #[must_use]
    pub fn json(status: u16, code: i64, body: &Value) -> Self {
        Self {
            answer: Answer {
                status,
                body: body.to_string(),
                kind: "application/json; charset=utf-8",
                headers: Vec::new(),
            },
            code,
        }
    }

    /// A page of the network before the venue.
    #[must_use]
    pub fn page(status: u16, text: &str) -> Self {
        Self {
            answer: Answer {
                status,
                body: format!("<html><body><h2>{status} {text}</h2></body></html>"),
                kind: "text/html",
                headers: Vec::new(),
            },
            code: -1,
        }
    }
}

/// The names of a venue's headers and fields, for the log of requests.
struct Names {
    hosts: &'static [&'static str],
    key: &'static str,
    signature: &'static str,
    ids: &'static [&'static str],
}

fn names(kind: Kind) -> Names {
    match kind {
        Kind::Okx => Names {
            hosts: &["www.okx.com", "okx.com", "aws.okx.com", "eea.okx.com"],
            key: "ok-access-key",
            signature: "ok-access-sign",
            ids: &["clOrdId", "algoClOrdId", "clientId"],
        },
        Kind::KuCoin => Names {
            hosts: &["api.kucoin.com"],
            key: "kc-api-key",
            signature: "kc-api-sign",
            ids: &["clientOid"],
        },
        _ => Names {
            hosts: &["api.bybit.com", "api.bytick.com"],
            key: "x-bapi-api-key",
            signature: "x-bapi-sign",
            ids: &["orderLinkId", "requestId", "transferId"],
        },
    }
}

/// The client's id in a body, in its first object that has one.
fn client_id(body: &[u8], ids: &[&str]) -> Option<String> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let find = |one: &Value| {
        ids.iter()
            .find_map(|id| one.get(*id)?.as_str().map(str::to_owned))
    };
    let inner = body.get("request").unwrap_or(&body);
    find(&body).or_else(|| inner.as_array()?.iter().find_map(find))
}

impl Venue {
    /// One request that arrived whole, at a venue of this kind.
    pub(crate) fn handle_v5(
        &mut self,
        from: IpAddr,
        method: &str,
        target: &[u8],
        headers: &[(&str, &[u8])],
        body: &[u8],
        now_us: u64,
    ) -> Outcome {
        let names = names(self.options.kind);
        let now_us = self.begin(now_us, true);
        let target = std::str::from_utf8(target).unwrap_or("");
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let sent = Sent {
            from,
            method,
            target,
            path,
            query,
            headers,
            body,
            now: now_us / 1000,
        };
        self.deadlines();
        let known = sent
            .header(names.key)
            .ok()
            .flatten()
            .and_then(|text| self.keys.find(text))
            .map(|k| (k.number, k.account));
        let fault = self.fault(method, path, known.map(|(_, account)| account));
        let mut entry = Entry {
            number: self.requests,
            time_us: now_us,
            from,
            method: method.chars().take(16).collect(),
            path: path.chars().take(256).collect(),
            key: known.map(|(number, _)| number),
            account: known.map(|(_, account)| account),
            client_order_id: client_id(body, names.ids),
            signature: sent
                .header(names.signature)
                .ok()
                .flatten()
                .map(str::to_owned),
            status: 0,
            code: 0,
            fault: fault.map(Act::name),
        };
        let reply = match fault {
            Some(Act::ErrorBefore(status)) => Reply::page(status, "Server Error"),
            Some(Act::DropBefore | Act::HangBefore) => Reply::page(0, "lost"),
            _ if !crate::venue::host_is_one_of(headers, names.hosts) => {
                Reply::page(403, "Forbidden")
            }
            _ => match self.options.kind {
                Kind::Okx => crate::okx::answer(self, &sent),
                Kind::KuCoin => crate::kucoin::answer(self, &sent),
                _ => crate::bybit::answer(self, &sent),
            },
        };
        entry.code = reply.code;
        entry.status = reply.answer.status;
        self.finish(entry, reply.answer, fault, |status| {
            Reply::page(status, "Server Error").answer
        })
    }

    /// Cancels the orders of accounts whose time has come.
    pub(crate) fn deadlines(&mut self) {
        let now = self.exchange.now;
        let due: Vec<usize> = self
            .v5
            .deadlines
            .iter()
            .filter(|(_, at)| **at <= now)
            .map(|(account, _)| *account)
            .collect();
        for account in due {
            self.v5.deadlines.remove(&account);
            spot::cancel_all(&mut self.exchange, account, |_| true, None);
            for service in perps::SERVICES {
                self.in_house(service, account, |house| {
                    for contract in 0..house.markets.len() {
                        house.cancel_all(account, contract);
                    }
                });
            }
        }
    }

    /// Whether a key may do what a call needs.
    pub(crate) fn may(&self, key: &str, need: Right) -> bool {
        self.keys.find(key).is_some_and(|k| k.rights.has(need))
    }

    /// The account with that number at the venue.
    pub(crate) fn by_uid(&self, uid: u64) -> Option<usize> {
        let people = self.exchange.accounts.iter().enumerate();
        people
            .skip(crate::exchange::CROWD + 1)
            .find(|(_, a)| a.uid == uid)
            .map(|(i, _)| i)
    }
}
