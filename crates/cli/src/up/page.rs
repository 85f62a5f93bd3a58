//! The page of metrics: what every room counts, as one Prometheus text, over HTTP on loopback. Strangers on this machine
//! may read it; it holds no names of theirs and no secrets.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// A request's head at most.
const HEAD_BYTES_MAX: usize = 8_192;
const PATIENCE: Duration = Duration::from_secs(2);

/// Reads one request: `Ok(true)` for `GET /metrics`.
pub fn is_wanted(connection: &mut TcpStream) -> std::io::Result<bool> {
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.set_write_timeout(Some(PATIENCE))?;
    let mut head = Vec::new();
    let mut part = [0; 1_024];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if head.len() > HEAD_BYTES_MAX {
            return Ok(false);
        }
        match connection.read(&mut part)? {
            0 => return Ok(false),
            n => head.extend_from_slice(part.get(..n).unwrap_or_default()),
        }
    }
    Ok(head.starts_with(b"GET /metrics HTTP/1.") || head.starts_with(b"GET /metrics?"))
}

pub fn answer(connection: &mut TcpStream, status: &str, text: &str) -> std::io::Result<()> {
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/plain; version=0.0.4; charset=utf-8\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        text.len()
    );
    connection.write_all(head.as_bytes())?;
    connection.write_all(text.as_bytes())
}

/// Families of several pages put together: each family once, with the samples of all. A room's word is not believed
/// further than that: lines that are no metrics are left out.
pub fn merge<'a>(pages: impl IntoIterator<Item = &'a str>) -> String {
    let mut families: BTreeMap<&str, (Vec<&str>, Vec<&str>)> = BTreeMap::new();
    for page in pages {
        let mut family = "";
        for line in page.lines() {
            if let Some(rest) = line
                .strip_prefix("# HELP ")
                .or_else(|| line.strip_prefix("# TYPE "))
            {
                let Some(name) = rest.split(' ').next().filter(|name| is_name(name)) else {
                    continue;
                };
                family = name;
                let of = families.entry(family).or_default();
                let kind = line.get(..7);
                if !of.0.iter().any(|known| known.get(..7) == kind) {
                    of.0.push(line);
                }
                continue;
            }
            let name = line.split(['{', ' ']).next().unwrap_or_default();
            if !is_name(name) {
                continue;
            }
            // A histogram's samples have longer names than their family.
            let of = if !family.is_empty() && name.starts_with(family) {
                family
            } else {
                name
            };
            families.entry(of).or_default().1.push(line);
        }
    }
    let mut text = String::new();
    for (head, samples) in families.values() {
        for line in head.iter().chain(samples) {
            let _ = writeln!(text, "{line}");
        }
    }
    text
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b':')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_of_several_rooms_stand_once() {
        let signer = "# HELP a_total A.\n# TYPE a_total counter\na_total{room=\"signer\"} 1\n";
        let egress = "# HELP a_total A.\n# TYPE a_total counter\na_total{room=\"egress\"} 2\n\
            # HELP b B.\n# TYPE b histogram\nb_bucket{le=\"1\"} 1\nb_sum 1\n<script>\n";
        assert_eq!(
            merge([signer, egress]),
            "# HELP a_total A.\n# TYPE a_total counter\na_total{room=\"signer\"} 1\na_total{room=\"egress\"} 2\n\
             # HELP b B.\n# TYPE b histogram\nb_bucket{le=\"1\"} 1\nb_sum 1\n"
        );
    }
}
