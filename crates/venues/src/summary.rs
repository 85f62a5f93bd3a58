//! What venues' answers say, in the words of `model::report`: reading them is the dialects'.

use crate::catalog::Catalog;
use crate::document::Text;
use portcullis_model::action::ClientOrderId;
use portcullis_model::number::parse_units;
use portcullis_model::report::Report;
use serde::Deserialize;

/// Reports of one answer at most: a longer list is cut and then says nothing about what is missing.
pub const REPORTS_MAX: usize = 20_000;

/// What was sent to the venue, as far as an answer leaves out what it is about.
#[derive(Debug, Clone, Copy, Default)]
pub struct Asked<'a> {
    pub target: &'a [u8],
    pub body: &'a [u8],
}

/// What an answer to a request on `endpoint` (of the compiled-in catalog) says.
#[must_use]
pub fn summarize(endpoint: u16, asked: Asked<'_>, status: u16, body: &[u8]) -> Vec<Report> {
    match Catalog::builtin() {
        Ok(catalog) => catalog.summarize(endpoint, asked, status, body),
        Err(_) => vec![Report::Unreadable],
    }
}

impl Catalog {
    /// What an answer to a request on `endpoint` says.
    #[must_use]
    pub fn summarize(
        &self,
        endpoint: u16,
        asked: Asked<'_>,
        status: u16,
        body: &[u8],
    ) -> Vec<Report> {
        let Some((rule, service)) = self
            .endpoint(endpoint)
            .and_then(|rule| Some((rule, self.service_of(rule)?)))
        else {
            return vec![Report::Unreadable];
        };
        let mut out = Vec::new();
        let read = service
            .dialect
            .summarize(rule, asked, status, body, &mut out);
        let all = out.len();
        out.retain(Report::is_plausible);
        if read.is_none() || out.len() < all {
            // What was read before the fault is kept: each report is a fact of its own.
            out.retain(|r| !matches!(r, Report::OpenOrdersComplete { .. }));
            out.push(Report::Unreadable);
        }
        out
    }
}

/// What an event says on a stream that a request on `endpoint` (of the compiled-in catalog) opened.
#[must_use]
pub fn summarize_event(endpoint: u16, event: &[u8]) -> Vec<Report> {
    let Some((rule, service)) = Catalog::builtin().ok().and_then(|catalog| {
        let rule = catalog.endpoint(endpoint)?;
        Some((rule, catalog.service_of(rule)?))
    }) else {
        return Vec::new();
    };
    let mut out = Vec::new();
    // An event that cannot be read tells nothing; what it is about is asked for anyway.
    let _ = service.dialect.summarize_event(rule, event, &mut out);
    out.retain(Report::is_plausible);
    out
}

/// An answer, or a part of one, in JSON.
pub(crate) fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Option<T> {
    serde_json::from_slice(body).ok()
}

/// An id that a program gave: an empty text is none.
pub(crate) fn id(text: &Text<'_>) -> Option<ClientOrderId> {
    (!text.0.is_empty()).then(|| ClientOrderId(text.0.as_ref().into()))
}

/// An empty text is no number; one that cannot be read is a fault.
pub(crate) fn number(text: &Option<Text<'_>>) -> Option<Option<i128>> {
    match text {
        Some(text) if !text.0.is_empty() => Some(Some(units(&text.0)?)),
        _ => Some(None),
    }
}

pub(crate) fn units(text: &str) -> Option<i128> {
    parse_units(text.as_bytes()).ok()
}

/// `None` once an answer holds more than is read.
pub(crate) fn bounded(out: &[Report]) -> Option<()> {
    (out.len() <= REPORTS_MAX).then_some(())
}
