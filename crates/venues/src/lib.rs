//! (being written)
use portcullis_model::refusal::Class;
use portcullis_model::report::Report;
/// Placeholder until the venue's own lands.
#[must_use]
pub fn refuse(_class: Class, message: &str, _entry: Option<u64>) -> (u16, Vec<u8>) {
    (503, format!("{{\"code\":-1000,\"msg\":\"{message}\"}}").into_bytes())
}
/// Placeholder until the venue's own lands.
#[must_use]
pub fn summarize(_endpoint: u16, _status: u16, _body: &[u8]) -> Vec<Report> {
    Vec::new()
}
