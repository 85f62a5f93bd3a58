//! Structured lines on standard output, which `up` reads: one JSON object for each event. A reader that is slow loses
//! lines, and the room never waits for it.

use portcullis_room::clock::Monotonic;
use portcullis_room::io::{Flow, set_nonblocking, write};
use serde_json::{Value, json};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

/// Lines at once at most; then one each [`EVERY`]. What is above is counted, and the count stands in the next line.
const BURST: u32 = 20;
const EVERY: Duration = Duration::from_millis(200);
/// A line at most: what a pipe takes whole or not at all.
const LINE_BYTES_MAX: usize = 4096;

/// Where a room's events go.
pub struct Lines {
    room: &'static str,
    to: OwnedFd,
    allowed: u32,
    since: Monotonic,
    left_out: u64,
}

impl Lines {
    /// Takes a copy of standard output, which must be a pipe of this process' own.
    pub fn of(room: &'static str) -> std::io::Result<Self> {
        let to = std::io::stdout().as_fd().try_clone_to_owned()?;
        set_nonblocking(&to)?;
        Ok(Self {
            room,
            to,
            allowed: BURST,
            since: Monotonic::now(),
            left_out: 0,
        })
    }

    pub fn event(&mut self, event: &str, details: Value) {
        self.write(event, false, details);
    }

    /// An operator should look now.
    pub fn alert(&mut self, event: &str, details: Value) {
        self.write(event, true, details);
    }

    fn write(&mut self, event: &str, alert: bool, details: Value) {
        let now = Monotonic::now();
        let earned = now.since(self.since).as_nanos() / EVERY.as_nanos();
        if earned > 0 {
            self.since = now;
            let earned = u32::try_from(earned).unwrap_or(BURST);
            self.allowed = self.allowed.saturating_add(earned).min(BURST);
        }
        if self.allowed == 0 {
            self.left_out += 1;
            return;
        }
        self.allowed -= 1;
        let mut line = json!({ "room": self.room, "event": event });
        if let (Some(line), Value::Object(details)) = (line.as_object_mut(), details) {
            if alert {
                line.insert("alert".to_owned(), true.into());
            }
            if self.left_out > 0 {
                line.insert("left_out".to_owned(), self.left_out.into());
            }
            line.extend(details);
        }
        let mut text = line.to_string();
        text.push('\n');
        let whole = text.len() <= LINE_BYTES_MAX
            && matches!(write(&self.to, text.as_bytes()), Ok(Flow::Moved(_)));
        self.left_out = if whole { 0 } else { self.left_out + 1 };
    }
}
