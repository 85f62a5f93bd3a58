//! The two things that the gateway needs from a venue's code: the words of an answer that the gate itself gives, and the
//! summary of the venue's.

use portcullis_model::refusal::Class;
use portcullis_model::report::Report;
use portcullis_venues::Asked;

/// A gate's own answer in the venue's format: status and JSON body.
#[must_use]
pub fn refuse(venue: &str, class: Class, message: &str) -> (u16, Vec<u8>) {
    portcullis_venues::dialect::of(venue).map_or_else(
        || (503, b"{}".to_vec()),
        |dialect| dialect.refuse(class, message, None),
    )
}

/// What an answer to a request says, in our words.
#[must_use]
pub fn summarize(endpoint: u16, asked: Asked<'_>, status: u16, body: &[u8]) -> Vec<Report> {
    portcullis_venues::summarize(endpoint, asked, status, body)
}
