//! WebSockets: what a venue does with the frames of one, and what it says there unasked. Framing and bytes are the server's.

use crate::frames;
use crate::user_stream::Watch;
use crate::venue::{Kind, Outcome, Venue};
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
}

/// Who hears what comes on a WebSocket that is opened there, at the host that `headers` name; nobody, where the venue has
/// none.
#[must_use]
pub fn open(venue: &mut Venue, target: &str, headers: &[(&str, &[u8])]) -> Option<Box<dyn Ears>> {
    match venue.options.kind {
        Kind::Binance if target == frames::TARGET => Some(Box::new(Api::default())),
        Kind::Bybit => crate::bybit::open(venue, target, headers),
        Kind::Binance | Kind::Okx => None,
    }
}

/// Binance's WebSocket API.
#[derive(Debug, Default)]
struct Api {
    /// Whose events it gets, by the number of the subscription.
    streams: Vec<Watch>,
}

impl Ears for Api {
    fn hear(&mut self, venue: &mut Venue, from: IpAddr, text: &str, now_us: u64) -> Vec<Outcome> {
        let outcome = venue.frame(from, text, self.streams.len(), now_us);
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
