//! How a command ends other than well: the fact, then what to do, and whether the answer is "no" or "could not tell".

use std::fmt;
use std::io;
use std::path::Path;

/// Exit codes: done, refused or not true, could not tell.
pub const DONE: u8 = 0;
pub const REFUSED: u8 = 1;
pub const COULD_NOT_TELL: u8 = 2;

/// What a command gives back: an exit code, or why it has nothing to show.
pub type Done = Result<u8, Fail>;

#[derive(Debug)]
pub struct Fail {
    pub code: u8,
    /// A word for programs: the signer's refusal code, or `refused`, `could-not-tell`.
    pub kind: String,
    pub fact: String,
    pub hint: Option<String>,
}

impl Fail {
    /// The answer is no.
    pub fn refused(fact: impl Into<String>) -> Self {
        Self {
            code: REFUSED,
            kind: "refused".to_owned(),
            fact: fact.into(),
            hint: None,
        }
    }

    /// There is no answer.
    pub fn untold(fact: impl Into<String>) -> Self {
        Self {
            code: COULD_NOT_TELL,
            kind: "could-not-tell".to_owned(),
            fact: fact.into(),
            hint: None,
        }
    }

    /// A file that could not be read or written.
    pub fn at(place: &Path, error: &io::Error) -> Self {
        Self::untold(format!("{}: {}", place.display(), plain(error)))
    }

    /// `portcullis-unseal` could not write, since the signer had ended.
    pub fn is_broken_pipe(&self) -> bool {
        self.fact.starts_with("cannot write to the signer")
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// Without the system's number for it.
pub fn plain(error: &io::Error) -> String {
    let mut text = error.to_string();
    if let Some(at) = text.find(" (os error ") {
        text.truncate(at);
    }
    text
}

impl fmt::Display for Fail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.fact)?;
        match &self.hint {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}
