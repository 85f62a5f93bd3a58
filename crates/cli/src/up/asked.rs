//! What `up` is asked, and what it says of itself: status, restarts, metrics, names to look up, and the line that it is ready.

use super::doors::{listener_settings, spawn_named, tell_systemd};
use super::{
    ADDRESS_BYTES_MAX, END_WITHIN, FOUND_MAX, Happened, LOOKUPS_MAX, PAGE_WITHIN, Page, ROOMS, Up,
    webhook,
};
use crate::desk::Ask;
use crate::seal::Opener;
use portcullis_room::BUILD_ID;
use portcullis_room::clock::Monotonic;
use portcullis_room::control::{Peer, ToRoom};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::io::{IsTerminal, Write};
use std::net::ToSocketAddrs;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;

impl Up<'_> {
    pub(super) fn asked(&mut self, ask: &Ask, fd: Option<OwnedFd>, answer: Sender<Value>) {
        let says = match (ask, fd) {
            (Ask::Status, _) => self.status(),
            (Ask::Restart { room }, _) => {
                self.restart(*room, answer);
                return;
            }
            (Ask::Secrets, Some(pipe)) if self.is_room_ready(Peer::Signer) => {
                self.send(Peer::Signer, &ToRoom::Secrets, &[("secrets", pipe.as_fd())]);
                json!({})
            }
            (Ask::Secrets, Some(_)) => {
                json!({ "error": "the signer does not run", "hint": "ask again in a moment" })
            }
            (Ask::Secrets, None) => json!({ "error": "no pipe came with the question" }),
            (Ask::Unseal, _) => match self.unseal() {
                Ok(()) => {
                    self.unsealing = Some(answer);
                    return;
                }
                Err(fail) => json!({ "error": fail.fact, "hint": fail.hint }),
            },
        };
        let _ = answer.send(says);
    }

    pub(super) fn restart(&mut self, peer: Peer, answer: Sender<Value>) {
        if self.is_ending || !self.is_room_ready(peer) {
            let _ = answer.send(json!({ "error": format!("{peer} does not run") }));
            return;
        }
        if peer == Peer::Ingress {
            // With what lies there now it would not start; the one that runs does.
            let checked = self
                .site
                .settings
                .listener
                .iter()
                .try_for_each(|listener| listener_settings(self.site, listener).map(drop));
            if let Err(fail) = checked {
                let _ = answer.send(json!({ "error": fail.fact, "hint": fail.hint }));
                return;
            }
        }
        let now = Monotonic::now();
        let slot = self.slot(peer);
        slot.asker = Some((answer, now));
        if let Some(running) = &mut slot.running {
            running.is_ending = true;
            running.kill_at = Some(now.after(END_WITHIN));
        }
        self.send(peer, &ToRoom::Stop, &[]);
    }

    pub(super) fn status(&mut self) -> Value {
        let now = Monotonic::now();
        let seconds = |since: Monotonic| now.since(since).as_secs();
        let rooms: Vec<Value> = self
            .rooms
            .iter()
            .map(|slot| match &slot.running {
                Some(running) => json!({
                    "room": slot.peer, "pid": running.room.process.pid(), "ready": running.is_ready,
                    "seconds": seconds(running.since), "restarts": slot.restarts, "ended": slot.ended, "sandbox": running.sandbox,
                }),
                None => json!({ "room": slot.peer, "pid": null, "ready": false, "restarts": slot.restarts, "ended": slot.ended }),
            })
            .collect();
        let count = |of: fn(&webhook::Counts) -> &std::sync::atomic::AtomicU64| {
            self.webhook
                .as_ref()
                .map(|hook| of(&hook.counts).load(Ordering::Relaxed))
        };
        json!({
            "pid": std::process::id(), "seconds": seconds(self.begun), "rooms": rooms,
            "listeners": self.urls(), "metrics": self.metrics_url(), "build": BUILD_ID,
            "opened_by": Opener::of(self.site).name(), "opened_by_words": Opener::of(self.site).words(),
            "sealed": self.is_sealed || !self.signs,
            "webhook": self.webhook.as_ref().map(|_| json!({
                "sent": count(|c| &c.sent), "failed": count(|c| &c.failed), "dropped": count(|c| &c.dropped),
            })),
        })
    }

    pub(super) fn urls(&self) -> Vec<Value> {
        self.site
            .settings
            .listener
            .iter()
            .zip(&self.bound.listeners)
            .map(|(listener, bound)| {
                let at = bound.local_addr().unwrap_or(listener.bind);
                let scheme = if listener.tls_chain.is_some() { "https" } else { "http" };
                json!({ "venue": listener.venue, "host": listener.host, "url": format!("{scheme}://{at}") })
            })
            .collect()
    }

    pub(super) fn metrics_url(&self) -> Option<String> {
        self.bound.metrics.map(|at| format!("http://{at}/metrics"))
    }

    pub(super) fn page(&mut self, answer: Sender<String>) {
        self.tokens += 1;
        let token = self.tokens;
        let waits_for: Vec<Peer> = ROOMS
            .into_iter()
            .filter(|peer| self.is_room_ready(*peer))
            .collect();
        for peer in &waits_for {
            self.send(*peer, &ToRoom::Metrics { token }, &[]);
        }
        self.pages.push(Page {
            token,
            answer,
            texts: BTreeMap::new(),
            waits_for,
            until: Monotonic::now().after(PAGE_WITHIN),
        });
    }

    pub(super) fn own_page(&self) -> String {
        let mut text = String::from(
            "# HELP portcullis_room_up Whether the room runs and is confined.\n# TYPE portcullis_room_up gauge\n",
        );
        for slot in &self.rooms {
            let is_up = slot
                .running
                .as_ref()
                .is_some_and(|running| running.is_ready);
            text += &format!(
                "portcullis_room_up{{room=\"{}\"}} {}\n",
                slot.peer,
                u8::from(is_up)
            );
        }
        text += "# HELP portcullis_room_restarts_total Starts of the room after its first.\n# TYPE portcullis_room_restarts_total counter\n";
        for slot in &self.rooms {
            text += &format!(
                "portcullis_room_restarts_total{{room=\"{}\"}} {}\n",
                slot.peer, slot.restarts
            );
        }
        text += &format!(
            "# HELP portcullis_up_seconds Seconds since the supervisor started.\n# TYPE portcullis_up_seconds gauge\nportcullis_up_seconds {}\n",
            Monotonic::now().since(self.begun).as_secs()
        );
        text += &format!(
            "# HELP portcullis_lines_dropped_total Lines that standard output did not take.\n# TYPE portcullis_lines_dropped_total counter\nportcullis_lines_dropped_total {}\n",
            self.lines.dropped_total
        );
        if let Some(webhook) = &self.webhook {
            text += "# HELP portcullis_alerts_total Alerts to the webhook, by what became of them.\n# TYPE portcullis_alerts_total counter\n";
            let counts = &webhook.counts;
            for (name, count) in [
                ("sent", &counts.sent),
                ("failed", &counts.failed),
                ("dropped", &counts.dropped),
            ] {
                text += &format!(
                    "portcullis_alerts_total{{became=\"{name}\"}} {}\n",
                    count.load(Ordering::Relaxed)
                );
            }
        }
        text
    }

    pub(super) fn look_up(&mut self, address: String) {
        let plain = address.len() <= ADDRESS_BYTES_MAX
            && address.rsplit_once(':').is_some_and(|(host, port)| {
                !host.is_empty()
                    && port.parse::<u16>().is_ok()
                    && host
                        .bytes()
                        .all(|b| b.is_ascii_alphanumeric() || b"-_.[]:".contains(&b))
            });
        let nothing = |up: &mut Self, address| {
            let found = Vec::new();
            up.send(Peer::Egress, &ToRoom::Addresses { address, found }, &[]);
        };
        if !plain || self.lookups >= LOOKUPS_MAX {
            nothing(self, address);
            return;
        }
        let (bell, name) = (self.bell.clone(), address.clone());
        let started = spawn_named("lookup", move || {
            let found = name
                .to_socket_addrs()
                .map(|found| found.take(FOUND_MAX).collect())
                .unwrap_or_default();
            bell.ring(Happened::Found {
                address: name,
                found,
            });
        });
        match started {
            Ok(()) => self.lookups += 1,
            Err(_) => nothing(self, address),
        }
    }

    /// Says once that programs can connect.
    pub(super) fn announce(&mut self) {
        let all = ROOMS.into_iter().all(|peer| self.is_room_ready(peer));
        if self.is_ready || self.is_ending || !all || !(self.signs || self.is_sealed) {
            return;
        }
        self.is_ready = true;
        let line = self.lines.event(
            "ready",
            json!({
                "site": self.site.settings.name, "folder": self.site.dir, "listeners": self.urls(),
                "metrics": self.metrics_url(), "sealed": self.is_sealed, "pid": std::process::id(),
            }),
        );
        let line = Value::Object(line);
        tell_systemd("READY=1");
        if let Some(fd) = self.arguments.ready_fd {
            let place = format!("/proc/self/fd/{fd}");
            let told = fs::OpenOptions::new()
                .append(true)
                .open(&place)
                .and_then(|mut to| writeln!(to, "{line}"));
            if let Err(why) = told {
                self.alert("ready-fd", json!({ "why": format!("{place}: {why}") }));
            }
        }
        let mut err = std::io::stderr();
        if !self.is_json && err.is_terminal() {
            let mut words = format!("site {} is up", self.site.settings.name);
            words += if self.is_sealed {
                ", sealed: `portcullis unseal`\n"
            } else {
                "\n"
            };
            for url in self.urls() {
                let word = |name: &str| {
                    url.get(name)
                        .and_then(Value::as_str)
                        .unwrap_or_default()
                        .to_owned()
                };
                words += &format!("  {}  for {}\n", word("url"), word("host"));
            }
            let _ = err.write_all(words.as_bytes());
        }
    }
}
