//! What the venue answers when it refuses.

/// A refusal with its HTTP status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// The venue's code; 0 where the answer is not the venue's JSON.
    pub code: i64,
    /// The venue's text.
    pub msg: String,
    /// More of the answer: `data` of a failed cancel-replace.
    pub data: Option<serde_json::Value>,
}

impl Refusal {
    /// A refusal with status 400.
    pub fn new(code: i64, msg: impl Into<String>) -> Self {
        Self {
            status: 400,
            code,
            msg: msg.into(),
            data: None,
        }
    }

    /// The same with another status.
    #[must_use]
    pub fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// `-1102`, a parameter that must be there.
    #[must_use]
    pub fn mandatory(name: &str) -> Self {
        Self::new(
            -1102,
            format!("Mandatory parameter '{name}' was not sent, was empty/null, or malformed."),
        )
    }

    /// `-1102`, one of two must be there.
    #[must_use]
    pub fn either(a: &str, b: &str) -> Self {
        Self::new(
            -1102,
            format!("Param '{a}' or '{b}' must be sent, but both were empty/null!"),
        )
    }

    /// `-1106`, a parameter that does not belong there.
    #[must_use]
    pub fn not_required(name: &str) -> Self {
        Self::new(-1106, format!("Parameter '{name}' sent when not required."))
    }

    /// `-1100`, with the legal range.
    #[must_use]
    pub fn illegal(name: &str, range: &str) -> Self {
        Self::new(
            -1100,
            format!("Illegal characters found in parameter '{name}'; legal range is '{range}'."),
        )
    }

    /// `-1013`, a filter of the market.
    #[must_use]
    pub fn filter(name: &str) -> Self {
        Self::new(-1013, format!("Filter failure: {name}"))
    }

    /// `-2010`, from the matching engine.
    pub fn order(msg: impl Into<String>) -> Self {
        Self::new(-2010, msg)
    }

    /// `-2011`, from the matching engine.
    pub fn cancel(msg: impl Into<String>) -> Self {
        Self::new(-2011, msg)
    }

    /// `-2015`: key, address or rights.
    #[must_use]
    pub fn key() -> Self {
        Self::new(-2015, "Invalid API-key, IP, or permissions for action.").status(401)
    }

    /// `-1121`.
    #[must_use]
    pub fn symbol() -> Self {
        Self::new(-1121, "Invalid symbol.")
    }

    /// The answer's body.
    #[must_use]
    pub fn body(&self, path: &str) -> (String, &'static str) {
        const JSON: &str = "application/json;charset=UTF-8";
        if self.code != 0 {
            let mut value = serde_json::json!({"code": self.code, "msg": self.msg});
            if let (Some(data), Some(map)) = (&self.data, value.as_object_mut()) {
                map.insert("data".to_owned(), data.clone());
            }
            return (value.to_string(), JSON);
        }
        if self.status == 404 && path.starts_with("/sapi") {
            let value = serde_json::json!({
                "timestamp": 0, "status": 404, "error": "Not Found", "message": "No message available", "path": path,
            });
            return (value.to_string(), JSON);
        }
        (
            format!("<html><body><h2>{}</h2></body></html>", self.msg),
            "text/html",
        )
    }
}
