//! Structured lines to standard output, one JSON object an event, from `up` and from the rooms. A thread writes them, so
//! that a reader who does not read stops nothing: lines beyond [`LINES_MAX`] are dropped, and the next line says how many.

use crate::show;
use serde_json::{Map, Value, json};
use std::io::Write;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

/// Lines that wait for the reader of standard output.
pub const LINES_MAX: usize = 4_096;

pub struct Lines {
    to: Option<SyncSender<String>>,
    thread: Option<JoinHandle<()>>,
    dropped: u64,
    /// Lines dropped in all, for the page of metrics.
    pub dropped_total: u64,
}

impl Lines {
    pub fn new() -> Self {
        let (to, lines) = sync_channel(LINES_MAX);
        let thread = std::thread::Builder::new()
            .name("lines".to_owned())
            .spawn(move || write(&lines))
            .ok();
        Self {
            to: Some(to),
            thread,
            dropped: 0,
            dropped_total: 0,
        }
    }

    /// An event of `up` itself.
    pub fn event(&mut self, event: &str, fields: Value) -> Map<String, Value> {
        self.own(event, false, fields)
    }

    /// The same, for a person to see now. The caller hands it to the webhook.
    pub fn alert(&mut self, event: &str, fields: Value) -> Map<String, Value> {
        self.own(event, true, fields)
    }

    fn own(&mut self, event: &str, alert: bool, fields: Value) -> Map<String, Value> {
        let mut line = Map::new();
        line.insert("room".to_owned(), json!("up"));
        line.insert("event".to_owned(), json!(event));
        if alert {
            line.insert("alert".to_owned(), json!(true));
        }
        if let Value::Object(fields) = fields {
            line.extend(fields);
        }
        self.line(line)
    }

    /// A line with the time put before it.
    pub fn line(&mut self, fields: Map<String, Value>) -> Map<String, Value> {
        let mut line = Map::new();
        line.insert("at".to_owned(), json!(show::time(show::now())));
        // A room does not say what time it is.
        line.extend(fields.into_iter().filter(|(name, _)| name != "at"));
        if self.dropped > 0 {
            let count = json!({
                "at": show::time(show::now()), "room": "up", "event": "lines-dropped", "count": self.dropped,
            });
            if self.put(count.to_string()) {
                self.dropped = 0;
            }
        }
        if !self.put(Value::Object(line.clone()).to_string()) {
            self.dropped += 1;
            self.dropped_total += 1;
        }
        line
    }

    fn put(&self, line: String) -> bool {
        match self.to.as_ref().map(|to| to.try_send(line)) {
            Some(Err(TrySendError::Full(_))) => false,
            // Nobody reads any more: there is nothing to say and nobody to say it to.
            Some(Err(TrySendError::Disconnected(_)) | Ok(())) | None => true,
        }
    }

    /// Writes what waits, unless the reader does not read.
    pub fn close(&mut self) {
        drop(self.to.take());
        let Some(thread) = self.thread.take() else {
            return;
        };
        for _ in 0..100 {
            if thread.is_finished() {
                let _ = thread.join();
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}

fn write(lines: &Receiver<String>) {
    for mut line in lines {
        line.push('\n');
        let mut out = std::io::stdout().lock();
        if out
            .write_all(line.as_bytes())
            .and_then(|()| out.flush())
            .is_err()
        {
            return;
        }
    }
}
