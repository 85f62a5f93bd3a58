//! The figures: medians over rounds, and ratios taken within a round.

use crate::{CONNECTIONS, Cell, Cells, Target};
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

#[derive(Debug, Serialize)]
pub struct Part {
    pub direct: BTreeMap<String, Cell>,
    pub nginx: BTreeMap<String, Cell>,
    pub gate: BTreeMap<String, Cell>,
    pub ratio_to_nginx: BTreeMap<String, Ratio>,
}

#[derive(Debug, Serialize)]
pub struct Report {
    pub rounds: usize,
    pub seconds: f64,
    /// Pinned: everything on one core.
    pub ratio_to_nginx: BTreeMap<String, Ratio>,
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

fn ratios(cells: &Cells) -> BTreeMap<String, Ratio> {
    CONNECTIONS
        .iter()
        .filter_map(|n| {
            let (gate, nginx) = (
                cells.get(&(Target::Gate, *n))?,
                cells.get(&(Target::Nginx, *n))?,
            );
            let of = |f: fn(&Cell) -> f64| {
                median(
                    gate.iter()
                        .zip(nginx)
                        .map(|(g, x)| f(g) / f(x).max(1e-9))
                        .collect(),
                )
            };
            let ratio = Ratio {
                rps: of(|c| c.rps),
                p50: of(|c| c.p50_us),
                p99: of(|c| c.p99_us),
                cpu: of(|c| c.cpu_us),
            };
            Some((n.to_string(), ratio))
        })
        .collect()
}

fn part(cells: &Cells) -> Part {
    let of = |target| {
        CONNECTIONS
            .iter()
            .filter_map(|n| Some((n.to_string(), median_cell(cells.get(&(target, *n))?))))
            .collect::<BTreeMap<_, _>>()
    };
    Part {
        direct: of(Target::Direct),
        nginx: of(Target::Nginx),
        gate: of(Target::Gate),
        ratio_to_nginx: ratios(cells),
    }
}

impl Report {
    pub fn new(rounds: usize, seconds: f64, pinned: &Cells, free: Option<&Cells>) -> Self {
        Self {
            rounds,
            seconds,
            ratio_to_nginx: ratios(pinned),
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
            let _ = writeln!(
                out,
                "\n{title}: medians over {} rounds of {} s",
                self.rounds, self.seconds
            );
            let _ = writeln!(
                out,
                "{:>6} {:>8} {:>12} {:>10} {:>10} {:>10}",
                "conns", "target", "requests/s", "p50 us", "p99 us", "CPU us/req"
            );
            for n in CONNECTIONS.map(|n| n.to_string()) {
                for (name, cells) in [
                    ("direct", &part.direct),
                    ("nginx", &part.nginx),
                    ("gate", &part.gate),
                ] {
                    if let Some(c) = cells.get(&n) {
                        let cpu = if name == "direct" {
                            "-".to_owned()
                        } else {
                            format!("{:.1}", c.cpu_us)
                        };
                        let _ = writeln!(
                            out,
                            "{n:>6} {name:>8} {:>12.0} {:>10.1} {:>10.1} {cpu:>10}",
                            c.rps, c.p50_us, c.p99_us
                        );
                    }
                }
                if let Some(gate) = part.gate.get(&n) {
                    let rooms: Vec<String> = gate
                        .by_program
                        .iter()
                        .filter(|(_, us)| **us >= 0.05)
                        .map(|(name, us)| {
                            format!("{} {us:.1}", name.trim_start_matches("portcullis-"))
                        })
                        .collect();
                    let _ = writeln!(out, "{:>15} CPU us: {}", "", rooms.join(", "));
                }
                if let Some(r) = part.ratio_to_nginx.get(&n) {
                    let _ = writeln!(
                        out,
                        "{n:>6} {:>8} {:>12.2} {:>10.2} {:>10.2} {:>10.2}",
                        "gate/ngx", r.rps, r.p50, r.p99, r.cpu
                    );
                }
            }
        }
        out
    }
}
