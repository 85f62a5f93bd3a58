//! `docs/spec/wire.md` says what `model::wire` says: kinds, bounds, and the order of the fields of each message.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests state what must hold"
)]

use portcullis_gateway::{downstream, upstream};
use portcullis_model::wire;

const PAGE: &str = include_str!("../../../docs/spec/wire.md");
const CODE: &str = include_str!("../../model/src/wire.rs");

/// Rows of the table of kinds: number, name, fields.
fn rows() -> Vec<(u8, String, Vec<String>)> {
    let cells = |line: &str| -> Vec<String> {
        line.trim_matches('|')
            .split('|')
            .map(|cell| cell.trim().to_owned())
            .collect()
    };
    PAGE.lines()
        .filter(|line| line.starts_with("| "))
        .map(cells)
        .filter(|cells| cells.len() == 4)
        .filter_map(|cells| {
            let fields = cells[3]
                .split(',')
                .map(|field| field.split_whitespace().next().unwrap().to_owned())
                .collect();
            Some((cells[0].parse().ok()?, cells[1].clone(), fields))
        })
        .collect()
}

/// `AnswerHead` to `ANSWER_HEAD`.
fn constant(name: &str) -> String {
    let mut text = String::new();
    for (at, c) in name.chars().enumerate() {
        if at > 0 && c.is_uppercase() {
            text.push('_');
        }
        text.push(c.to_ascii_uppercase());
    }
    text
}

#[test]
fn kinds_and_fields_are_those_of_the_code() {
    let rows = rows();
    let kinds = CODE
        .lines()
        .filter(|l| l.contains("pub const") && l.contains(": u8 ="))
        .count();
    assert_eq!(rows.len(), kinds, "every kind has a row");
    for (number, name, fields) in rows {
        let line = format!("pub const {}: u8 = {number};", constant(&name));
        assert!(CODE.contains(&line), "{line}");
        let start = CODE
            .find(&format!("pub struct {name} {{"))
            .or_else(|| CODE.find(&format!("pub struct {name}<'b> {{")))
            .unwrap_or_else(|| panic!("no struct {name}"));
        let body = CODE[start..].split_once("\n}").unwrap().0;
        let in_code: Vec<&str> = body
            .lines()
            .filter_map(|line| line.trim().strip_prefix("pub ")?.split_once(':'))
            .map(|(field, _)| field)
            .collect();
        assert_eq!(fields, in_code, "{name}");
    }
}

#[test]
fn bounds_are_those_of_the_code() {
    let dotted = |n: u64| {
        let digits = n.to_string();
        let mut text = String::new();
        for (at, c) in digits.chars().enumerate() {
            if at > 0 && (digits.len() - at).is_multiple_of(3) {
                text.push(',');
            }
            text.push(c);
        }
        text
    };
    let mib = |n: usize| format!("{} MiB", n >> 20);
    for (name, value) in [
        ("FRAME_BYTES_MAX", dotted(wire::FRAME_BYTES_MAX as u64)),
        (
            "REQUESTS_WAITING_MAX",
            dotted(wire::REQUESTS_WAITING_MAX.into()),
        ),
        ("LINK_FRAMES_MAX", dotted(wire::LINK_FRAMES_MAX.into())),
        ("CREDITS_OWED_MAX", dotted(wire::CREDITS_OWED_MAX.into())),
        (
            "ANSWER_WINDOW_BYTES",
            dotted(wire::ANSWER_WINDOW_BYTES.into()),
        ),
        ("SUMMARY_BYTES_MAX", mib(wire::SUMMARY_BYTES_MAX)),
        ("LINK_BYTES_MAX", mib(portcullis_room::link::LINK_BYTES_MAX)),
    ] {
        let line = PAGE
            .lines()
            .find(|line| line.contains(name))
            .unwrap_or_else(|| panic!("{name}"));
        assert!(line.contains(&value), "{name} is {value}: {line}");
    }
    for value in [
        mib(downstream::SIGNER_BYTES_MAX),
        dotted(downstream::IN_FLIGHT_MAX as u64),
        dotted(downstream::IN_FLIGHT_PER_SOURCE_MAX as u64),
        format!("{} of them for `DELETE`", downstream::IN_FLIGHT_RESERVE),
        format!(
            "{}, {}",
            dotted(upstream::WAITING_PER_HOST_MAX as u64),
            mib(upstream::WAITING_BYTES_MAX)
        ),
        mib(upstream::INGRESS_BYTES_MAX),
    ] {
        assert!(PAGE.contains(&value), "{value}");
    }
}
