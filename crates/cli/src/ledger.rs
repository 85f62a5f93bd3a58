//! The log as it lies on the disk, read and folded without asking anybody: names, halts and usage follow from the entries.
//! Frames are checked; commitments and checkpoints are `log verify`'s affair.

use crate::fail::Fail;
use portcullis_model::entry::Body;
use portcullis_model::id::{EntryId, GATE, StrategyId};
use portcullis_model::log::Entry;
use portcullis_model::log::segment::{self, Frame, SEGMENT_ENTRIES};
use portcullis_model::state::State;
use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// A place in a log, from which reading goes on as it grows.
pub struct Reader {
    log: PathBuf,
    next: u64,
    /// Where `next` begins in its segment, if that is known.
    offset: u64,
}

impl Reader {
    /// At the first entry.
    pub fn new(log: &Path) -> Self {
        Self {
            log: log.to_owned(),
            next: 0,
            offset: 0,
        }
    }

    /// Takes whole entries until there is none, or `take` breaks. A frame that is not whole is the end: a write may be
    /// under way.
    pub fn read(
        &mut self,
        mut take: impl FnMut(EntryId, &[u8]) -> Result<ControlFlow<()>, Fail>,
    ) -> Result<(), Fail> {
        loop {
            let place = self
                .log
                .join("segments")
                .join(segment::segment_name(EntryId(self.next)));
            let mut file = match fs::File::open(&place) {
                Ok(file) => file,
                Err(why) if why.kind() == std::io::ErrorKind::NotFound => return Ok(()),
                Err(why) => return Err(Fail::at(&place, &why)),
            };
            let mut bytes = Vec::new();
            file.seek(SeekFrom::Start(self.offset))
                .and_then(|_| file.read_to_end(&mut bytes))
                .map_err(|why| Fail::at(&place, &why))?;
            let mut used = 0;
            while let Frame::Entry {
                bytes: entry,
                length,
            } = segment::read_frame(bytes.get(used..).unwrap_or_default(), EntryId(self.next))
            {
                let goes_on = take(EntryId(self.next), entry)?;
                used += length;
                self.next += 1;
                self.offset += length as u64;
                let is_last = self.next.is_multiple_of(SEGMENT_ENTRIES);
                if is_last {
                    self.offset = 0;
                }
                if goes_on.is_break() {
                    return Ok(());
                }
                if is_last {
                    break;
                }
            }
            if self.offset != 0 || used == 0 {
                return Ok(());
            }
        }
    }
}

/// An entry in words; what cannot be read is said with its number.
pub fn body(entry: EntryId, bytes: &[u8]) -> Result<Body, Fail> {
    let damaged = |why: String| {
        Fail::refused(format!("entry {entry}: {why}"))
            .hint("`portcullis log verify` says what is wrong with the log")
    };
    let whole = Entry::decode_whole(bytes).map_err(|why| damaged(why.to_string()))?;
    Body::from_entry(&whole).map_err(|why| damaged(why.to_string()))
}

/// What the log adds up to, before entry `until` if that is given.
pub fn fold(log: &Path, until: Option<EntryId>) -> Result<State, Fail> {
    let mut state = State::default();
    Reader::new(log).read(|entry, bytes| {
        if until.is_some_and(|until| entry >= until) {
            return Ok(ControlFlow::Break(()));
        }
        let body = body(entry, bytes)?;
        state.apply(entry, body.at, &body.private.effects);
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(state)
}

/// A strategy's name, else its number.
pub fn strategy_name(state: &State, id: StrategyId) -> String {
    match state.strategies.get(&id) {
        Some(strategy) => strategy.name.to_string(),
        None if id == GATE => "gate".to_owned(),
        None => id.to_string(),
    }
}
