//! The JSON object of `portcullis decode`: what a request asks, or why it was not understood.

use crate::actions::Actions;
use crate::catalog::Catalog;
use crate::error::DecodeError;
use crate::request::raw_http;

/// One object: `{"venue":…,"endpoint":…,"actions":[…]}`, or `{"refusal":{"code":…,"message":…}}` and `false`.
#[must_use]
pub fn decode_json(catalog: &Catalog, venue: &str, raw: &[u8]) -> (serde_json::Value, bool) {
    let decoded = raw_http(raw).and_then(|http| {
        // A raw request on the command line is for this venue, whatever host it was sent to.
        let mut request = http.request();
        request.host = catalog.host_for(venue, &request).unwrap_or_default();
        catalog.decode(&request)
    });
    match decoded {
        Ok(actions) => (actions_json(catalog, &actions), true),
        Err(refusal) => (refusal_json(&refusal), false),
    }
}

#[must_use]
pub fn actions_json(catalog: &Catalog, actions: &Actions) -> serde_json::Value {
    let endpoint = catalog.endpoint(actions.endpoint);
    serde_json::json!({
        "venue": endpoint.and_then(|e| catalog.service_of(e)).map(|s| s.venue()),
        "endpoint": endpoint.map(|e| e.name()),
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
