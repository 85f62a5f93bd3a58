//! One structured line an event, for operators; and alerts, which the supervisor hands on. The log is the evidence, not
//! these: a line may be lost.

use serde_json::{Map, Value, json};

/// Lines kept until the loop takes them; beyond it the rest of the turn is counted in one line.
pub const LINES_MAX: usize = 1_000;

/// Lines of one turn.
#[derive(Debug, Default)]
pub struct Events {
    lines: Vec<String>,
    dropped: u64,
}

impl Events {
    pub fn event(&mut self, name: &'static str, fields: Value) {
        self.line(name, false, fields);
    }

    /// Something that a person should see now.
    pub fn alert(&mut self, name: &'static str, fields: Value) {
        self.line(name, true, fields);
    }

    fn line(&mut self, name: &'static str, alert: bool, fields: Value) {
        // An alert always finds room.
        if self.lines.len() >= LINES_MAX && !alert {
            self.dropped += 1;
            return;
        }
        let mut line = Map::new();
        line.insert("room".to_owned(), json!("signer"));
        line.insert("event".to_owned(), json!(name));
        if alert {
            line.insert("alert".to_owned(), json!(true));
        }
        if let Value::Object(fields) = fields {
            line.extend(fields);
        }
        self.lines.push(Value::Object(line).to_string());
    }

    /// The lines so far, without their ends.
    pub fn take(&mut self) -> Vec<String> {
        if self.dropped > 0 {
            let dropped = std::mem::take(&mut self.dropped);
            self.alert("events-dropped", json!({ "count": dropped }));
        }
        std::mem::take(&mut self.lines)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_bounded_and_alerts_are_not_lost() {
        let mut events = Events::default();
        for n in 0..LINES_MAX + 7 {
            events.event("x", json!({ "n": n }));
        }
        events.alert("canary", json!({}));
        let lines = events.take();
        assert_eq!(lines.len(), LINES_MAX + 2);
        let last: Value = serde_json::from_str(&lines[LINES_MAX + 1]).unwrap();
        assert_eq!(
            (last["alert"].as_bool(), last["count"].as_u64()),
            (Some(true), Some(7))
        );
        assert!(events.take().is_empty());
    }
}
