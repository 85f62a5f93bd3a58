//! WebSockets: what a venue does with the frames of one, and what it says there unasked. Framing and bytes are the server's.

use crate::frames;
use crate::streams;
use crate::user_stream::Watch;
use crate::venue::{Kind, Outcome, Venue, host_name, is_loopback};
use serde_json::json;
use std::fmt;
use std::net::IpAddr;

/// One WebSocket, on the venue's side.
pub trait Ears: fmt::Debug {
    /// A text frame came. Each answer is a frame of its own, in order; its status is for the log alone.
    fn hear(&mut self, venue: &mut Venue, from: IpAddr, text: &str, now_us: u64) -> Vec<Outcome>;

    /// What has happened since the last look, as frames.
    fn tell(&mut self, venue: &Venue) -> Vec<String>;

    /// It wants to be told of what happens: then time goes on by itself.
    fn listens(&self) -> bool;

    /// The venue ends it, once everything is told.
    fn done(&self) -> bool {
        false
    }
}

/// Who hears what comes on a WebSocket that is opened there, at the host that `headers` name; nobody, where the venue has
/// none.
#[must_use]
pub fn open(venue: &mut Venue, target: &str, headers: &[(&str, &[u8])]) -> Option<Box<dyn Ears>> {
    match venue.options.kind {
        Kind::Binance => binance(venue, target, headers),
        Kind::Bybit => crate::bybit::open(venue, target, headers),
        Kind::Okx => crate::okx::open(venue, target, headers),
        Kind::KuCoin => None,
    }
}

fn binance(venue: &mut Venue, target: &str, headers: &[(&str, &[u8])]) -> Option<Box<dyn Ears>> {
    let host = host_name(headers)?;
    let at = |names: &[&str]| is_loopback(&host) || names.contains(&host.as_str());
    if let Some(api) = frames::Api::of(target) {
        let own = match api {
            frames::Api::Spot => "ws-api.binance.com",
            frames::Api::Usd => "ws-fapi.binance.com",
            frames::Api::Coin => "ws-dapi.binance.com",
        };
        return at(&[own]).then(|| {
            let streams = Vec::new();
            Box::new(Api { api, streams }) as Box<dyn Ears>
        });
    }
    let hosts = [
        "stream.binance.com",
        "data-stream.binance.vision",
        "fstream.binance.com",
        "dstream.binance.com",
    ];
    if !at(&hosts) {
        return None;
    }
    Some(Box::new(streams::open(venue, &host, target)?))
}

/// One of Binance's WebSocket APIs.
#[derive(Debug)]
struct Api {
    api: frames::Api,
    /// Whose events it gets, by the number of the subscription.
    streams: Vec<Watch>,
}

impl Ears for Api {
    fn hear(&mut self, venue: &mut Venue, from: IpAddr, text: &str, now_us: u64) -> Vec<Outcome> {
        let outcome = venue.frame(self.api, from, text, self.streams.len(), now_us);
        if let Some(account) = venue.subscribed.take() {
            self.streams.push(Watch::new(&venue.exchange, account));
        }
        vec![outcome]
    }

    fn tell(&mut self, venue: &Venue) -> Vec<String> {
        let mut all = Vec::new();
        for (number, watch) in self.streams.iter_mut().enumerate() {
            for event in watch.events(&venue.exchange) {
                all.push(json!({ "subscriptionId": number, "event": event }).to_string());
            }
        }
        all
    }

    fn listens(&self) -> bool {
        !self.streams.is_empty()
    }
}
