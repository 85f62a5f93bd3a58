//! What people and programs read: aligned tables, times, one JSON object. Nothing is shown that could be a secret but
//! the one secret that `strategy` prints once.

use portcullis_model::id::Timestamp;
use serde_json::Value;
use std::io::{self, Write};

/// Prints text, whose last line may lack its end. A reader that has gone (`| head`) is no error. Texts that programs sent
/// must not command the terminal: control characters are shown as such.
pub fn text(text: &str) {
    let text = clean(text);
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes());
    if !text.ends_with('\n') && !text.is_empty() {
        let _ = out.write_all(b"\n");
    }
    let _ = out.flush();
}

fn clean(text: &str) -> std::borrow::Cow<'_, str> {
    let bad = |c: char| c.is_control() && c != '\n';
    match text.contains(bad) {
        true => text.replace(bad, "\u{fffd}").into(),
        false => text.into(),
    }
}

/// One object on one line, or the text.
pub fn either(json: bool, object: &Value, words: impl FnOnce() -> String) {
    if json {
        text(&object.to_string());
    } else {
        text(&words());
    }
}

/// Rows under a head, columns as wide as they need; a column of numbers is aligned to the right.
/// `none` is what stands there if there is no row.
pub fn table<const N: usize>(head: [&str; N], rows: &[[String; N]], none: &str) -> String {
    if rows.is_empty() {
        return format!("{none}\n");
    }
    let mut out = String::new();
    let mut widths = head.map(width);
    let mut right = [true; N];
    for row in rows {
        for ((cell, widest), right) in row.iter().zip(&mut widths).zip(&mut right) {
            *widest = (*widest).max(width(cell));
            *right &= is_number(cell) || cell.is_empty() || cell == "-";
        }
    }
    let mut line = |cells: [&str; N]| {
        let mut text = String::new();
        for ((cell, widest), right) in cells.iter().zip(&widths).zip(&right) {
            let pad = " ".repeat(widest.saturating_sub(width(cell)));
            if !text.is_empty() {
                text.push_str("  ");
            }
            if *right {
                text.push_str(&pad);
                text.push_str(cell);
            } else {
                text.push_str(cell);
                text.push_str(&pad);
            }
        }
        out.push_str(text.trim_end());
        out.push('\n');
    };
    line(head);
    for row in rows {
        line(std::array::from_fn(|n| {
            row.get(n).map_or("", String::as_str)
        }));
    }
    out
}

/// Columns of a terminal that a text takes: the scripts of East Asia take two a character.
pub fn width(text: &str) -> usize {
    let of = |c: char| match c {
        '\u{1100}'..='\u{115f}'
        | '\u{2e80}'..='\u{a4cf}'
        | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}'
        | '\u{fe30}'..='\u{fe6f}'
        | '\u{ff00}'..='\u{ff60}'
        | '\u{1f300}'..='\u{1faff}'
        | '\u{20000}'..='\u{3fffd}' => 2,
        _ => 1,
    };
    text.chars().map(of).sum()
}

fn is_number(cell: &str) -> bool {
    !cell.is_empty()
        && cell
            .bytes()
            .all(|b| b.is_ascii_digit() || b == b'.' || b == b'-')
        && cell.bytes().any(|b| b.is_ascii_digit())
        && cell.bytes().filter(|b| *b == b'.').count() < 2
}

/// `1 entry`, `2 entries`.
pub fn count(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// `2026-11-25 09:30:00.123456Z`.
pub fn time(at: Timestamp) -> String {
    let seconds = at.0 / 1_000_000;
    let (year, month, day) = date(seconds / 86_400);
    let in_day = seconds % 86_400;
    format!(
        "{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}.{:06}Z",
        in_day / 3_600,
        in_day / 60 % 60,
        in_day % 60,
        at.0 % 1_000_000
    )
}

/// The same to the second.
pub fn time_short(at: Timestamp) -> String {
    let mut text = time(at);
    text.truncate(19);
    text.push('Z');
    text
}

/// Days since 1970-01-01 as a date of the Gregorian calendar (Howard Hinnant's `civil_from_days`).
fn date(days: u64) -> (u64, u64, u64) {
    let z = days + 719_468;
    let era = z / 146_097;
    let doe = z % 146_097;
    let yoe = (doe - doe / 1_460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = doy - (153 * mp + 2) / 5 + 1;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    (yoe + era * 400 + u64::from(month <= 2), month, day)
}

/// The other way; `None`: no such day.
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    if !(1970..=9_999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let y = year - u64::from(month <= 2);
    let era = y / 400;
    let yoe = y % 400;
    let mp = if month > 2 { month - 3 } else { month + 9 };
    let doy = (153 * mp + 2) / 5 + day - 1;
    let doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    let days = (era * 146_097 + doe).checked_sub(719_468)?;
    (date(days) == (year, month, day)).then_some(days)
}

/// A time that people give: `30d`, `12h`, `45m` from now, `2027-01-31` or `2027-01-31T18:00:00Z`.
pub fn parse_time(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    let wrong = || {
        format!("`{text}` is no time; write `90d`, `12h`, `2027-01-31` or `2027-01-31T18:00:00Z`")
    };
    if let Some((number, unit)) = text.split_at_checked(text.len().saturating_sub(1)) {
        let scale: Option<u64> = match unit {
            "d" => Some(86_400),
            "h" => Some(3_600),
            "m" => Some(60),
            _ => None,
        };
        let plain = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
        if let (Some(scale), true) = (scale, plain) {
            let seconds = number
                .parse::<u64>()
                .ok()
                .and_then(|n| n.checked_mul(scale));
            return seconds
                .filter(|s| *s <= 100 * 366 * 86_400)
                .map(|s| now.plus_us(s * 1_000_000))
                .ok_or_else(wrong);
        }
    }
    let number = |text: Option<&str>, length: usize| {
        text.filter(|t| t.len() == length && t.bytes().all(|b| b.is_ascii_digit()))
            .and_then(|t| t.parse::<u64>().ok())
    };
    let (day, clock) = text.split_once('T').unwrap_or((text, "00:00:00Z"));
    let mut parts = day.splitn(3, '-');
    let read = || -> Option<u64> {
        let (year, month, date) = (
            number(parts.next(), 4)?,
            number(parts.next(), 2)?,
            number(parts.next(), 2)?,
        );
        let mut clock = clock.strip_suffix('Z')?.splitn(3, ':');
        let (hour, minute, second) = (
            number(clock.next(), 2).filter(|n| *n < 24)?,
            number(clock.next(), 2).filter(|n| *n < 60)?,
            number(clock.next(), 2).filter(|n| *n < 60)?,
        );
        Some(days(year, month, date)? * 86_400 + hour * 3_600 + minute * 60 + second)
    };
    let mut read = read;
    read().map(|s| Timestamp(s * 1_000_000)).ok_or_else(wrong)
}

/// How long something has been so: `3 s`, `5 min`, `2 h 10 min`, `4 d 3 h`.
pub fn age(us: u64) -> String {
    let s = us / 1_000_000;
    match s {
        0..60 => format!("{s} s"),
        60..3_600 => format!("{} min", s / 60),
        3_600..86_400 => format!("{} h {} min", s / 3_600, s / 60 % 60),
        _ => format!("{} d {} h", s / 86_400, s / 3_600 % 24),
    }
}

/// The present time.
pub fn now() -> Timestamp {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}

/// Lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_and_read_alike() {
        let now = Timestamp(1_795_599_000_123_456);
        assert_eq!(time(now), "2026-11-25 09:30:00.123456Z");
        assert_eq!(time_short(now), "2026-11-25 09:30:00Z");
        for (text, expected) in [
            ("2026-11-25T09:30:00Z", 1_795_599_000),
            ("2024-02-29", 1_709_164_800),
            ("1970-01-01", 0),
        ] {
            assert_eq!(
                parse_time(text, now),
                Ok(Timestamp(expected * 1_000_000)),
                "{text}"
            );
        }
        assert_eq!(parse_time("90d", now), Ok(now.plus_us(90 * 86_400_000_000)));
        assert_eq!(parse_time("1m", now), Ok(now.plus_us(60_000_000)));
        for bad in [
            "",
            "d",
            "-1d",
            "1y",
            "2026-02-29",
            "2026-13-01",
            "2026-1-1",
            "2026-11-25T9:30:00Z",
            "2026-11-25T09:30:00",
            "99999999999999999999d",
            "soon",
            "€d",
        ] {
            assert!(parse_time(bad, now).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_day_of_four_centuries_is_the_same_both_ways() {
        for day in 0..146_097 {
            let (year, month, date_) = date(day);
            assert_eq!(days(year, month, date_), Some(day));
        }
    }

    #[test]
    fn a_terminal_takes_no_commands_from_programs() {
        assert_eq!(clean("a\u{1b}[2Jb\nc"), "a\u{fffd}[2Jb\nc");
    }

    #[test]
    fn tables_are_aligned() {
        let rows = [
            ["a".to_owned(), "1".to_owned(), "x".to_owned()],
            ["long name".to_owned(), "1000".to_owned(), String::new()],
        ];
        assert_eq!(
            table(["name", "entry", "what"], &rows, "none"),
            "name       entry  what\na              1  x\nlong name   1000\n"
        );
        assert_eq!(
            table::<1>(["name"], &[], "no strategies"),
            "no strategies\n"
        );
    }
}
