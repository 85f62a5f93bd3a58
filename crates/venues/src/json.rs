//! The JSON object of `portcullis decode`: what a request asks, or why it was not understood.

use crate::binance::{Actions, Binance};
use crate::error::DecodeError;
use crate::request::raw_http;

/// One object: `{"venue":…,"endpoint":…,"actions":[…]}`, or `{"refusal":{"code":…,"message":…}}` and `false`.
#[must_use]
pub fn decode_json(venue: &Binance, raw: &[u8]) -> (serde_json::Value, bool) {
    let decoded = raw_http(raw).and_then(|http| {
        // A raw request on the command line is for this venue, whatever host it was sent to.
        let mut request = http.request();
        request.host = &venue.catalog().host;
        venue.decode(&request)
    });
    match decoded {
        Ok(actions) => (actions_json(venue, &actions), true),
        Err(refusal) => (refusal_json(&refusal), false),
    }
}

#[must_use]
pub fn actions_json(venue: &Binance, actions: &Actions) -> serde_json::Value {
    let endpoint = venue.catalog().endpoint(actions.endpoint).map(|e| e.name());
    serde_json::json!({
        "venue": venue.catalog().venue,
        "endpoint": endpoint,
        "actions": actions.list,
    })
}

#[must_use]
pub fn refusal_json(refusal: &DecodeError) -> serde_json::Value {
    serde_json::json!({ "refusal": {
        "code": refusal.code(),
        "class": refusal.class(),
        "message": refusal.to_string(),
    } })
}
