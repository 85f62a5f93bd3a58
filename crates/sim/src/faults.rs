//! What goes wrong on purpose.

/// What happens instead of a plain answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Answered later.
    Delay(u64),
    /// Not processed, never answered.
    HangBefore,
    /// Processed, never answered.
    HangAfter,
    /// Not processed, a 5xx.
    ErrorBefore(u16),
    /// Processed, a 5xx.
    ErrorAfter(u16),
    /// Not processed, the connection ends.
    DropBefore,
    /// Processed, the connection ends.
    DropAfter,
    /// Processed, the connection ends in the middle of the answer.
    CutAfter,
}

impl Act {
    /// Its name in the control API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Delay(_) => "delay",
            Self::HangBefore => "hang-before",
            Self::HangAfter => "hang-after",
            Self::ErrorBefore(_) => "error-before",
            Self::ErrorAfter(_) => "error-after",
            Self::DropBefore => "drop-before",
            Self::DropAfter => "drop-after",
            Self::CutAfter => "cut-after",
        }
    }

    /// From its name with its number (milliseconds, or status).
    #[must_use]
    pub fn of(name: &str, number: Option<u64>) -> Option<Self> {
        let status = u16::try_from(number.unwrap_or(503))
            .ok()
            .filter(|s| (500..600).contains(s));
        Some(match name {
            "delay" => Self::Delay(number?),
            "hang-before" => Self::HangBefore,
            "hang-after" => Self::HangAfter,
            "error-before" => Self::ErrorBefore(status?),
            "error-after" => Self::ErrorAfter(status?),
            "drop-before" => Self::DropBefore,
            "drop-after" => Self::DropAfter,
            "cut-after" => Self::CutAfter,
            _ => return None,
        })
    }
}

/// A rule: which requests, what happens, how often.
#[derive(Debug, Clone)]
pub struct Fault {
    /// Only this method.
    pub method: Option<String>,
    /// Only paths that begin so.
    pub path: Option<String>,
    /// Only this account.
    pub account: Option<usize>,
    /// What happens.
    pub act: Act,
    /// How often in a million.
    pub per_million: u64,
    /// How many times more; without it, without end.
    pub left: Option<u64>,
    /// How many times so far.
    pub hits: u64,
}

impl Fault {
    /// Whether it is about this request.
    #[must_use]
    pub fn matches(&self, method: &str, path: &str, account: Option<usize>) -> bool {
        self.method.as_deref().is_none_or(|m| m == method)
            && self.path.as_deref().is_none_or(|p| path.starts_with(p))
            && self.account.is_none_or(|a| Some(a) == account)
    }
}
