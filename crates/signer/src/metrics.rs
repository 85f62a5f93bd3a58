//! What the signer counts, as Prometheus text. Labels come from enums or from words of the program, so their number is
//! bounded.

use portcullis_model::wire::Lane;
use std::collections::BTreeMap;
use std::fmt::Write;

/// Counts since the start.
#[derive(Debug, Default)]
pub struct Metrics {
    pub approved: BTreeMap<Lane, u64>,
    pub refused: BTreeMap<&'static str, u64>,
    pub failed: u64,
    pub public: u64,
    /// WebSockets that logged on.
    pub sessions: u64,
    /// What streams said.
    pub events: u64,
    pub signed: u64,
    pub dropped: u64,
    pub outcomes: BTreeMap<&'static str, u64>,
    pub commands: u64,
    pub impossible: BTreeMap<&'static str, u64>,
    pub foreign_frames: u64,
}

/// Figures of this moment.
#[derive(Debug, Default)]
pub struct Gauges {
    pub entries: u64,
    pub unsynced_us: u64,
    pub under_way: u64,
    pub slow: u64,
    pub open_orders: u64,
    pub halts: u64,
    pub statements: u64,
    pub keys_open: u64,
    pub clock_jumped: bool,
    pub venue_offset_us: i64,
}

/// The page of a sealed gate.
#[must_use]
pub fn sealed_text(refused: u64) -> String {
    let mut out = String::new();
    head(&mut out, "sealed", "1 while the gate is sealed.", "gauge");
    let _ = writeln!(out, "portcullis_signer_sealed 1");
    labelled(
        &mut out,
        "refused_total",
        "Requests refused, by the refusal's code.",
        "code",
        [("sealed", refused)].into_iter(),
    );
    out
}

impl Metrics {
    pub fn refused(&mut self, code: &'static str) {
        *self.refused.entry(code).or_default() += 1;
    }

    /// One page of Prometheus text.
    #[must_use]
    pub fn text(&self, gauges: &Gauges) -> String {
        let mut out = String::with_capacity(4096);
        let lanes = self.approved.iter().map(|(lane, n)| (lane_name(*lane), *n));
        labelled(
            &mut out,
            "approved_total",
            "Requests approved and recorded, by lane.",
            "lane",
            lanes,
        );
        let refused = self.refused.iter().map(|(code, n)| (*code, *n));
        labelled(
            &mut out,
            "refused_total",
            "Requests refused, by the refusal's code.",
            "code",
            refused,
        );
        let outcomes = self.outcomes.iter().map(|(word, n)| (*word, *n));
        labelled(
            &mut out,
            "outcomes_total",
            "What became of signed requests.",
            "sent",
            outcomes,
        );
        let impossible = self.impossible.iter().map(|(word, n)| (*word, *n));
        labelled(
            &mut out,
            "impossible_total",
            "Told of our orders what cannot be: egress or the venue lies.",
            "what",
            impossible,
        );
        for (name, help, kind, value) in [
            (
                "failed_total",
                "Requests that failed before they were verified.",
                "counter",
                self.failed,
            ),
            (
                "public_total",
                "Public requests forwarded unsigned.",
                "counter",
                self.public,
            ),
            (
                "sessions_total",
                "WebSockets of programs that logged on.",
                "counter",
                self.sessions,
            ),
            (
                "events_total",
                "Events of streams taken in.",
                "counter",
                self.events,
            ),
            (
                "signed_total",
                "Signatures released.",
                "counter",
                self.signed,
            ),
            (
                "dropped_total",
                "Signatures not made or not released since a halt came first.",
                "counter",
                self.dropped,
            ),
            (
                "commands_total",
                "Operators' commands that took effect.",
                "counter",
                self.commands,
            ),
            (
                "foreign_frames_total",
                "Frames that belonged to no request under way.",
                "counter",
                self.foreign_frames,
            ),
            (
                "log_entries",
                "Entries in the log.",
                "gauge",
                gauges.entries,
            ),
            (
                "log_unsynced_microseconds",
                "Age of the oldest entry that a loss of power would take.",
                "gauge",
                gauges.unsynced_us,
            ),
            (
                "under_way",
                "Requests at egress without an outcome.",
                "gauge",
                gauges.under_way,
            ),
            (
                "slow_signatures",
                "Signatures that helper threads are making.",
                "gauge",
                gauges.slow,
            ),
            (
                "open_orders",
                "Orders whose end is not known.",
                "gauge",
                gauges.open_orders,
            ),
            ("halts", "Halts in force.", "gauge", gauges.halts),
            (
                "statements",
                "Statements remembered against repeats.",
                "gauge",
                gauges.statements,
            ),
            (
                "keys_open",
                "Real keys that are unsealed.",
                "gauge",
                gauges.keys_open,
            ),
            (
                "clock_jumped",
                "1 while a jump of the clock waits for an operator.",
                "gauge",
                u64::from(gauges.clock_jumped),
            ),
        ] {
            head(&mut out, name, help, kind);
            let _ = writeln!(out, "portcullis_signer_{name} {value}");
        }
        head(
            &mut out,
            "venue_offset_microseconds",
            "The venue's clock against ours.",
            "gauge",
        );
        let _ = writeln!(
            out,
            "portcullis_signer_venue_offset_microseconds {}",
            gauges.venue_offset_us
        );
        out
    }
}

fn head(out: &mut String, name: &str, help: &str, kind: &str) {
    let _ = writeln!(out, "# HELP portcullis_signer_{name} {help}");
    let _ = writeln!(out, "# TYPE portcullis_signer_{name} {kind}");
}

fn labelled<'a>(
    out: &mut String,
    name: &str,
    help: &str,
    label: &str,
    rows: impl Iterator<Item = (&'a str, u64)>,
) {
    head(out, name, help, "counter");
    for (value, count) in rows {
        let _ = writeln!(
            out,
            "portcullis_signer_{name}{{{label}=\"{value}\"}} {count}"
        );
    }
}

fn lane_name(lane: Lane) -> &'static str {
    match lane {
        Lane::Operator => "operator",
        Lane::Outcome => "outcome",
        Lane::Cancel => "cancel",
        Lane::Order => "order",
        Lane::Read => "read",
        Lane::Public => "public",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_has_its_help() {
        let mut metrics = Metrics::default();
        metrics.refused("halted");
        *metrics.approved.entry(Lane::Order).or_default() += 2;
        let text = metrics.text(&Gauges::default());
        assert!(text.contains("portcullis_signer_refused_total{code=\"halted\"} 1\n"));
        assert!(text.contains("portcullis_signer_approved_total{lane=\"order\"} 2\n"));
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let name = line.split(['{', ' ']).next().unwrap();
            assert!(text.contains(&format!("# HELP {name} ")), "{name}");
        }
    }
}
