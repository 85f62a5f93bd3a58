//! The venue's way of writing a time: ISO 8601, UTC, milliseconds, exactly `2020-12-08T09:08:57.715Z`.

/// Microseconds since 1970 of a time in exactly that form.
pub(super) fn read_us(text: &str) -> Option<u64> {
    let bytes: &[u8; 24] = text.as_bytes().try_into().ok()?;
    let marks = [
        (4, b'-'),
        (7, b'-'),
        (10, b'T'),
        (13, b':'),
        (16, b':'),
        (19, b'.'),
        (23, b'Z'),
    ];
    if marks.iter().any(|&(at, mark)| bytes.get(at) != Some(&mark)) {
        return None;
    }
    let number = |from: usize, to: usize| -> Option<u64> {
        let digits = text.get(from..to)?;
        digits
            .bytes()
            .all(|b| b.is_ascii_digit())
            .then(|| digits.parse().ok())?
    };
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let ms = number(20, 23)?;
    if year < 1970 || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    if day == 0 || day > days_of(year, month)? {
        return None;
    }
    let days = (1970..year).map(days_of_year).sum::<u64>()
        + (1..month).filter_map(|m| days_of(year, m)).sum::<u64>()
        + day
        - 1;
    let seconds = ((days * 24 + hour) * 60 + minute) * 60 + second;
    Some((seconds * 1000 + ms) * 1000)
}

/// A time in milliseconds since 1970 in that form. Of a year after 9999 nothing is written that the venue would take.
pub(super) fn write_ms(ms: u64) -> String {
    let (seconds, ms) = (ms / 1000, ms % 1000);
    let (mut days, second) = (seconds / 86_400, seconds % 86_400);
    let mut year = 1970;
    while year < 10_000 && days >= days_of_year(year) {
        days -= days_of_year(year);
        year += 1;
    }
    let mut month = 1;
    while let Some(length) = days_of(year, month).filter(|length| days >= *length) {
        days -= length;
        month += 1;
    }
    format!(
        "{year:04}-{month:02}-{:02}T{:02}:{:02}:{:02}.{ms:03}Z",
        days + 1,
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

fn days_of_year(year: u64) -> u64 {
    if is_leap(year) { 366 } else { 365 }
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days_of(year: u64, month: u64) -> Option<u64> {
    Some(match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if is_leap(year) => 29,
        2 => 28,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_and_write_alike() {
        for (text, ms) in [
            ("1970-01-01T00:00:00.000Z", 0),
            ("2020-02-29T23:59:59.999Z", 1_583_020_799_999),
            ("2020-12-08T09:08:57.715Z", 1_607_418_537_715),
            ("2026-09-21T14:13:20.123Z", 1_790_000_000_123),
            ("2100-03-01T00:00:00.000Z", 4_107_542_400_000),
        ] {
            assert_eq!(read_us(text), Some(ms * 1000), "{text}");
            assert_eq!(write_ms(ms), text);
        }
        for day in 0..40_000 {
            let ms = day * 86_400_000 + day * 7 % 86_400_000;
            assert_eq!(read_us(&write_ms(ms)), Some(ms * 1000), "{ms}");
        }
    }

    #[test]
    fn other_forms_are_no_times() {
        for text in [
            "",
            "1790000000123",
            "1790000000.123",
            "2026-09-21T14:13:20Z",
            "2026-09-21T14:13:20.12Z",
            "2026-09-21T14:13:20.1234Z",
            "2026-09-21T14:13:20.123z",
            "2026-09-21t14:13:20.123Z",
            "2026-09-21 14:13:20.123Z",
            "2026-09-21T14:13:20,123Z",
            "2026-09-21T14:13:20.123+00:00",
            "2026-09-21T24:00:00.000Z",
            "2026-09-21T14:60:00.000Z",
            "2026-09-21T14:13:60.000Z",
            "2026-00-21T14:13:20.123Z",
            "2026-13-21T14:13:20.123Z",
            "2026-02-29T14:13:20.123Z",
            "2026-04-31T14:13:20.123Z",
            "2026-09-00T14:13:20.123Z",
            "1969-12-31T23:59:59.999Z",
            "+026-09-21T14:13:20.123Z",
            "2026-09-2１T14:13:20.12Z",
            "20é6-09-21T14:13:20.123Z",
        ] {
            assert_eq!(read_us(text), None, "{text}");
        }
        // Beyond the form, nothing that reads as another time.
        assert_eq!(read_us(&write_ms(u64::MAX)), None);
    }
}
