//! What both rooms count, as Prometheus text. Labels come from enums, so their number is bounded.

use crate::request::Malformed;
use portcullis_model::report::Sent;
use std::fmt::Write;

/// Upper bounds of the latency histogram's buckets, microseconds.
const LATENCY_US: [u64; 14] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000,
    5_000_000, 30_000_000,
];

/// A histogram of microseconds, shown in seconds.
#[derive(Debug, Default, Clone)]
pub struct Latency {
    buckets: [u64; LATENCY_US.len()],
    count: u64,
    sum_us: u64,
}

impl Latency {
    pub fn observe(&mut self, us: u64) {
        if let Some(bucket) = LATENCY_US
            .iter()
            .position(|bound| us <= *bound)
            .and_then(|at| self.buckets.get_mut(at))
        {
            *bucket += 1;
        }
        self.count += 1;
        self.sum_us = self.sum_us.saturating_add(us);
    }

    fn write(&self, out: &mut String, name: &str, help: &str) {
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} histogram");
        let mut sum = 0;
        for (bound, n) in LATENCY_US.iter().zip(self.buckets) {
            sum += n;
            let _ = writeln!(out, "{name}_bucket{{le=\"{}\"}} {sum}", *bound as f64 / 1e6);
        }
        let _ = writeln!(out, "{name}_bucket{{le=\"+Inf\"}} {}", self.count);
        let _ = writeln!(
            out,
            "{name}_sum {}\n{name}_count {}",
            self.sum_us as f64 / 1e6,
            self.count
        );
    }
}

fn counter(out: &mut String, name: &str, help: &str, series: &[(&str, u64)]) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} counter");
    for (labels, value) in series {
        let _ = writeln!(out, "{name}{labels} {value}");
    }
}

fn gauge(out: &mut String, name: &str, help: &str, value: u64) {
    let _ = writeln!(
        out,
        "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}"
    );
}

/// Ingress.
#[derive(Debug, Default)]
pub struct IngressCounts {
    pub connections_taken: u64,
    pub connections_refused: u64,
    pub connections_open: u64,
    pub connections_pushed_out: u64,
    pub partial_refused: u64,
    pub requests: u64,
    pub malformed: [u64; Malformed::ALL.len()],
    pub no_credit: u64,
    pub replies: u64,
    pub answers: u64,
    pub aborted: u64,
    pub timed_out: u64,
    pub slow_clients: u64,
    pub tls_failed: u64,
    /// Closed, since its source began too many TLS handshakes.
    pub handshakes_refused: u64,
    /// Times that further TLS connections had to wait for the next second.
    pub handshakes_paused: u64,
    pub sockets_opened: u64,
    pub sockets_refused: u64,
    /// Frames that broke the protocol, or that were no request.
    pub sockets_malformed: u64,
    /// Events of streams handed to programs.
    pub pushes: u64,
    pub took: Latency,
}

impl IngressCounts {
    pub fn malformed(&mut self, malformed: Malformed) {
        if let Some(count) = Malformed::ALL
            .iter()
            .position(|m| *m == malformed)
            .and_then(|at| self.malformed.get_mut(at))
        {
            *count += 1;
        }
    }

    /// Prometheus text, help texts included.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = String::new();
        counter(
            &mut out,
            "portcullis_ingress_connections_total",
            "Connections by programs, by what became of them.",
            &[
                ("{result=\"taken\"}", self.connections_taken),
                ("{result=\"refused\"}", self.connections_refused),
                ("{result=\"tls_failed\"}", self.tls_failed),
                ("{result=\"pushed_out\"}", self.connections_pushed_out),
                ("{result=\"too_much_unfinished\"}", self.partial_refused),
                ("{result=\"too_many_handshakes\"}", self.handshakes_refused),
            ],
        );
        counter(
            &mut out,
            "portcullis_ingress_handshake_pauses_total",
            "Times that further TLS connections had to wait for the next second.",
            &[("", self.handshakes_paused)],
        );
        counter(
            &mut out,
            "portcullis_ingress_websockets_total",
            "Handshakes and frames of programs' WebSockets, by what became of them.",
            &[
                ("{result=\"opened\"}", self.sockets_opened),
                ("{result=\"refused\"}", self.sockets_refused),
                ("{result=\"malformed_frame\"}", self.sockets_malformed),
            ],
        );
        counter(
            &mut out,
            "portcullis_ingress_events_total",
            "Events of streams handed to programs.",
            &[("", self.pushes)],
        );
        gauge(
            &mut out,
            "portcullis_ingress_connections",
            "Connections of programs that are open now.",
            self.connections_open,
        );
        counter(
            &mut out,
            "portcullis_ingress_requests_total",
            "Whole requests handed to the signer.",
            &[("", self.requests)],
        );
        let labels: Vec<String> = Malformed::ALL
            .iter()
            .map(|m| format!("{{reason=\"{}\"}}", m.name()))
            .collect();
        let series: Vec<(&str, u64)> = labels
            .iter()
            .map(String::as_str)
            .zip(self.malformed)
            .collect();
        counter(
            &mut out,
            "portcullis_ingress_malformed_total",
            "Requests refused because they are not strict HTTP/1.1, by reason.",
            &series,
        );
        counter(
            &mut out,
            "portcullis_ingress_answers_total",
            "Answers to programs, by who made them.",
            &[
                ("{from=\"signer\"}", self.replies),
                ("{from=\"venue\"}", self.answers),
                ("{from=\"aborted\"}", self.aborted),
                ("{from=\"no_credit\"}", self.no_credit),
                ("{from=\"timed_out\"}", self.timed_out),
            ],
        );
        counter(
            &mut out,
            "portcullis_ingress_slow_clients_total",
            "Connections closed because the program did not take its answer.",
            &[("", self.slow_clients)],
        );
        self.took.write(
            &mut out,
            "portcullis_ingress_request_seconds",
            "From a whole request to the last byte of its answer handed to the connection.",
        );
        out
    }
}

/// Egress.
#[derive(Debug, Default)]
pub struct EgressCounts {
    pub taken: u64,
    pub sent: u64,
    pub maybe_sent: u64,
    pub not_sent: u64,
    pub discarded: u64,
    pub held_banned: u64,
    pub held_weight: u64,
    pub held_share: u64,
    pub held_order_rate: u64,
    pub held_connections: u64,
    pub venue_waits: u64,
    pub connections_made: u64,
    pub connections_failed: u64,
    pub connections_in_vain: u64,
    pub answers_broken: u64,
    pub answers_dropped: u64,
    pub sockets_opened: u64,
    /// Messages on WebSockets that answer nothing that is under way.
    pub frames_unasked: u64,
    pub took: Latency,
}

impl EgressCounts {
    pub fn outcome(&mut self, sent: Sent, took_us: u64) {
        match sent {
            Sent::Sent => {
                self.sent += 1;
                self.took.observe(took_us);
            }
            Sent::MaybeSent => self.maybe_sent += 1,
            Sent::NotSent => self.not_sent += 1,
        }
    }

    /// Prometheus text, help texts included.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = String::new();
        counter(
            &mut out,
            "portcullis_egress_requests_total",
            "Signed requests taken from the signer.",
            &[("", self.taken)],
        );
        counter(
            &mut out,
            "portcullis_egress_outcomes_total",
            "What became of signed requests.",
            &[
                ("{sent=\"sent\"}", self.sent),
                ("{sent=\"maybe_sent\"}", self.maybe_sent),
                ("{sent=\"not_sent\"}", self.not_sent),
            ],
        );
        counter(
            &mut out,
            "portcullis_egress_held_total",
            "Requests not sent so that the venue's limits are kept, by limit.",
            &[
                ("{limit=\"venue_asked_to_wait\"}", self.held_banned),
                ("{limit=\"venue_weight\"}", self.held_weight),
                ("{limit=\"venue_weight_share\"}", self.held_share),
                ("{limit=\"venue_order_rate\"}", self.held_order_rate),
                ("{limit=\"connections_fail\"}", self.held_connections),
            ],
        );
        counter(
            &mut out,
            "portcullis_egress_discarded_total",
            "Signed requests dropped by a halt before a byte left.",
            &[("", self.discarded)],
        );
        counter(
            &mut out,
            "portcullis_egress_venue_waits_total",
            "Times a venue answered 429 or 418.",
            &[("", self.venue_waits)],
        );
        counter(
            &mut out,
            "portcullis_egress_connections_total",
            "Connections to venues, by what became of them.",
            &[
                ("{result=\"made\"}", self.connections_made),
                ("{result=\"failed\"}", self.connections_failed),
                ("{result=\"in_vain\"}", self.connections_in_vain),
                ("{result=\"websocket\"}", self.sockets_opened),
            ],
        );
        counter(
            &mut out,
            "portcullis_egress_answers_lost_total",
            "Answers that were broken, or dropped because the program was slow.",
            &[
                ("{why=\"broken\"}", self.answers_broken),
                ("{why=\"dropped\"}", self.answers_dropped),
                ("{why=\"unasked\"}", self.frames_unasked),
            ],
        );
        self.took.write(
            &mut out,
            "portcullis_egress_venue_seconds",
            "From the first byte out to the answer's last byte (its head, where it is streamed).",
        );
        out
    }
}
