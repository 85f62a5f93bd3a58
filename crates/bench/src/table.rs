//! The figures: medians over rounds, and ratios taken within a round.

use crate::{Cell, Cells, SHAPES, Target, Way};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;

#[derive(Debug, Serialize)]
pub struct Ratio {
    pub rps: f64,
    pub p50: f64,
    pub p99: f64,
    pub cpu: f64,
}

/// One way of speaking: cells by target and shape, and the gate's ratios to its rival.
#[derive(Debug, Serialize)]
pub struct Table {
    #[serde(flatten)]
    pub cells: BTreeMap<&'static str, BTreeMap<String, Cell>>,
    pub ratio: BTreeMap<String, Ratio>,
}

#[derive(Debug, Serialize)]
pub struct Part {
    pub rest: Table,
    pub websocket: Table,
}

#[derive(Debug, Serialize)]
pub struct Report {
    pub rounds: usize,
    pub seconds: f64,
    /// Everything on one core.
    pub pinned: Part,
    /// Absent with `--pinned-only`.
    pub free: Option<Part>,
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() % 2 {
        0 => {
            (values.get(middle.wrapping_sub(1)).unwrap_or(&0.0)
                + values.get(middle).unwrap_or(&0.0))
                / 2.0
        }
        _ => values.get(middle).copied().unwrap_or(0.0),
    }
}

fn median_cell(cells: &[Cell]) -> Cell {
    let of = |f: fn(&Cell) -> f64| median(cells.iter().map(f).collect());
    Cell {
        rps: of(|c| c.rps),
        p50_us: of(|c| c.p50_us),
        p99_us: of(|c| c.p99_us),
        cpu_us: of(|c| c.cpu_us),
        by_program: cells
            .first()
            .map(|first| {
                let of = |name: &String| {
                    let values = cells.iter().filter_map(|c| c.by_program.get(name).copied());
                    (name.clone(), median(values.collect()))
                };
                first.by_program.keys().map(of).collect()
            })
            .unwrap_or_default(),
    }
}

fn ratios(gate: &[Cell], rival: &[Cell]) -> Ratio {
    let of = |f: fn(&Cell) -> f64| {
        median(
            gate.iter()
                .zip(rival)
                .map(|(g, x)| f(g) / f(x).max(1e-9))
                .collect(),
        )
    };
    Ratio {
        rps: of(|c| c.rps),
        p50: of(|c| c.p50_us),
        p99: of(|c| c.p99_us),
        cpu: of(|c| c.cpu_us),
    }
}

/// Whom the gate is measured against.
fn rival(way: Way) -> Target {
    match way {
        Way::Rest => Target::Nginx,
        Way::Websocket => Target::Relay,
    }
}

fn table(cells: &Cells, way: Way) -> Table {
    let shapes = || SHAPES.into_iter().filter(|shape| shape.way == way);
    let of = |target: Target| {
        let cell = |shape| cells.get(&(target, shape)).map(|cells| median_cell(cells));
        let found = shapes().filter_map(|shape| Some((shape.name(), cell(shape)?)));
        (target.name(), found.collect())
    };
    let ratio = shapes().filter_map(|shape| {
        let gate = cells.get(&(Target::Gate, shape))?;
        let rival = cells.get(&(rival(way), shape))?;
        Some((shape.name(), ratios(gate, rival)))
    });
    Table {
        cells: [Target::Direct, rival(way), Target::Gate].map(of).into(),
        ratio: ratio.collect(),
    }
}

fn part(cells: &Cells) -> Part {
    Part {
        rest: table(cells, Way::Rest),
        websocket: table(cells, Way::Websocket),
    }
}

impl Report {
    pub fn new(rounds: usize, seconds: f64, pinned: &Cells, free: Option<&Cells>) -> Self {
        Self {
            rounds,
            seconds,
            pinned: part(pinned),
            free: free.map(part),
        }
    }

    pub fn text(&self) -> String {
        let mut out = String::new();
        let parts = [
            ("pinned to one core", Some(&self.pinned)),
            ("free on all cores", self.free.as_ref()),
        ];
        for (title, part) in parts {
            let Some(part) = part else { continue };
            let ways = [
                (Way::Rest, "REST", &part.rest),
                (Way::Websocket, "WebSocket", &part.websocket),
            ];
            for (way, name, table) in ways {
                if table.cells.values().any(|cells| !cells.is_empty()) {
                    let _ = writeln!(
                        out,
                        "\n{name}, {title}: medians over {} rounds of {} s",
                        self.rounds, self.seconds
                    );
                    table.write(way, &mut out);
                }
            }
        }
        out
    }
}

impl Table {
    fn write(&self, way: Way, out: &mut String) {
        let _ = writeln!(
            out,
            "{:>6} {:>8} {:>12} {:>10} {:>10} {:>10}",
            "conns", "target", "requests/s", "p50 us", "p99 us", "CPU us/req"
        );
        let targets = [Target::Direct, rival(way), Target::Gate];
        for n in SHAPES.iter().filter(|shape| shape.way == way) {
            let n = n.name();
            for target in targets.map(Target::name) {
                if let Some(c) = self.cells.get(target).and_then(|cells| cells.get(&n)) {
                    let cpu = if target == "direct" {
                        "-".to_owned()
                    } else {
                        format!("{:.1}", c.cpu_us)
                    };
                    let _ = writeln!(
                        out,
                        "{n:>6} {target:>8} {:>12.0} {:>10.1} {:>10.1} {cpu:>10}",
                        c.rps, c.p50_us, c.p99_us
                    );
                }
            }
            if let Some(gate) = self.cells.get("gate").and_then(|cells| cells.get(&n)) {
                let rooms: Vec<String> = gate
                    .by_program
                    .iter()
                    .filter(|(_, us)| **us >= 0.05)
                    .map(|(name, us)| format!("{} {us:.1}", name.trim_start_matches("portcullis-")))
                    .collect();
                let _ = writeln!(out, "{:>15} CPU us: {}", "", rooms.join(", "));
            }
            if let Some(r) = self.ratio.get(&n) {
                let rival = match way {
                    Way::Rest => "gate/ngx",
                    Way::Websocket => "gate/rly",
                };
                let _ = writeln!(
                    out,
                    "{n:>6} {rival:>8} {:>12.2} {:>10.2} {:>10.2} {:>10.2}",
                    r.rps, r.p50, r.p99, r.cpu
                );
            }
        }
    }
}
