//! `/sapi`: what moves value beside trading, and what clients ask besides.

use crate::refusal::Refusal;
use crate::strict::Understood;
use crate::venue::Venue;
use serde_json::{Value, json};

/// Does what an accepted request asks.
///
/// # Errors
/// The venue's refusal.
pub fn answer(venue: &mut Venue, asked: &Understood) -> Result<String, Refusal> {
    let value: Value = match (asked.method, asked.path) {
        ("GET", "/sapi/v1/system/status") => json!({"status": 0, "msg": "normal"}),
        _ => {
            let _ = venue;
            return Err(Refusal::new(0, "404 Not found").status(404));
        }
    };
    Ok(value.to_string())
}
