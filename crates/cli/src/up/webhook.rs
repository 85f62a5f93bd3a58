//! Alerts to one URL, as JSON with a `text` for people (what chat services show) and the event itself. A thread sends
//! them: an alert never waits for the network. Beyond [`ALERTS_MAX`] that wait, and after [`TRIES`] failures, an alert is
//! dropped; drops are counted, and the next alert that arrives says how many came before it.

use crate::https::{self, Trust};
use crate::site::Site;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;
use ureq::Agent;

/// Alerts that wait to be sent.
pub const ALERTS_MAX: usize = 256;
/// How often one is tried.
pub const TRIES: u32 = 4;
/// How long one try may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two alerts, so that a flood of them is not a flood there.
const PACE: Duration = Duration::from_millis(100);

#[derive(Default)]
pub struct Counts {
    pub sent: AtomicU64,
    pub failed: AtomicU64,
    pub dropped: AtomicU64,
}

pub struct Webhook {
    to: SyncSender<Value>,
    pub counts: Arc<Counts>,
    site: String,
}

impl Webhook {
    /// `None`: the site has none.
    pub fn of(site: &Site) -> Result<Option<Self>, String> {
        let Some(of) = &site.settings.webhook else {
            return Ok(None);
        };
        https::check_url(&of.url)?;
        let pem = of
            .roots
            .as_ref()
            .map(|file| {
                std::fs::read(site.path(file)).map_err(|why| format!("{}: {why}", file.display()))
            })
            .transpose()?;
        let agent = https::agent(Some(Trust::of_roots(pem.as_deref())?), None, PATIENCE);
        let counts = Arc::new(Counts::default());
        let (to, alerts) = sync_channel(ALERTS_MAX);
        let (url, of_thread) = (of.url.clone(), Arc::clone(&counts));
        std::thread::Builder::new()
            .name("webhook".to_owned())
            .spawn(move || send(&alerts, &agent, &url, &of_thread))
            .map_err(|why| why.to_string())?;
        Ok(Some(Self {
            to,
            counts,
            site: site.settings.name.to_string(),
        }))
    }

    /// Hands an alert on; never waits.
    pub fn alert(&self, line: &Map<String, Value>) {
        let word = |name: &str| line.get(name).and_then(Value::as_str).unwrap_or_default();
        let details: Vec<String> = line
            .iter()
            .filter(|(name, _)| !["at", "room", "event", "alert"].contains(&name.as_str()))
            .filter_map(|(name, value)| match value {
                Value::String(text) => Some(format!("{name} {text}")),
                Value::Number(number) => Some(format!("{name} {number}")),
                _ => None,
            })
            .collect();
        let why = match details.is_empty() {
            true => String::new(),
            false => format!(": {}", details.join(", ")),
        };
        let text = format!(
            "portcullis {}: {} {}{why}",
            self.site,
            word("room"),
            word("event")
        );
        let alert = json!({ "text": text, "site": self.site, "event": line });
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = self.to.try_send(alert)
        {
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn send(alerts: &Receiver<Value>, agent: &Agent, url: &str, counts: &Counts) {
    let mut told = 0;
    for mut alert in alerts {
        let lost = counts.dropped.load(Ordering::Relaxed) + counts.failed.load(Ordering::Relaxed);
        if let Some(alert) = alert.as_object_mut().filter(|_| lost > told) {
            alert.insert("lost_before".to_owned(), json!(lost - told));
        }
        let json = alert.to_string();
        let mut wait = Duration::from_secs(1);
        let mut is_sent = false;
        for n in 0..TRIES {
            if n > 0 {
                std::thread::sleep(wait);
                wait *= 2;
            }
            if https::post(agent, url, &json).is_ok() {
                is_sent = true;
                break;
            }
        }
        if is_sent {
            counts.sent.fetch_add(1, Ordering::Relaxed);
            told = lost.max(told);
        } else {
            counts.failed.fetch_add(1, Ordering::Relaxed);
        }
        std::thread::sleep(PACE);
    }
}
