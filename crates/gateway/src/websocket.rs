//! WebSocket (RFC 6455), both ends of it: the opening handshake, and frames to messages and back. Headers of frames are read
//! and written by tungstenite; what a frame may be is decided here, and strictly: masked by programs and not by venues, no
//! reserved bit, shortest lengths, no fragmented or long control frame, text alone, whole UTF-8. No extension is offered and
//! none is taken, so there is nothing to unpack.
//!
//! Nothing is read or written here: frames lie in a connection's own buffer, and a message in fragments in its [`Decoder`],
//! both bounded by the message's bound.

use crate::request;
use std::fmt;
use std::io::Cursor;
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

/// A control frame's payload at most.
const CONTROL_BYTES_MAX: usize = 125;
/// A header at most: two bytes, eight of length, four of mask.
const HEADER_BYTES_MAX: usize = 14;
/// Fragments of one message at most: more are no way to write a request.
const FRAGMENTS_MAX: u32 = 1_024;

/// Whose frames are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// A program's: masked.
    Program,
    /// A venue's: not masked.
    Venue,
}

/// Why a connection is failed, with the code that its close frame says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Violation {
    Opcode,
    ReservedBits,
    Masking,
    LengthNotShortest,
    ControlFragmented,
    ControlTooLong,
    Fragments,
    TooManyFragments,
    CloseFrame,
    NotText,
    NotUtf8,
    TooLong,
}

impl Violation {
    #[must_use]
    pub fn code(self) -> u16 {
        match self {
            Self::NotText => 1003,
            Self::NotUtf8 => 1007,
            Self::TooManyFragments | Self::TooLong => 1009,
            _ => 1002,
        }
    }

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Opcode => "frame of an unknown kind",
            Self::ReservedBits => "reserved bits are set",
            Self::Masking => "frame is not masked as it must be",
            Self::LengthNotShortest => "length is not written in its shortest form",
            Self::ControlFragmented => "control frame in fragments",
            Self::ControlTooLong => "control frame is too long",
            Self::Fragments => "fragments out of order",
            Self::TooManyFragments => "too many fragments",
            Self::CloseFrame => "close frame is not understood",
            Self::NotText => "only text is spoken here",
            Self::NotUtf8 => "text is not UTF-8",
            Self::TooLong => "message is too long",
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What the next frames are.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'b> {
    /// A whole message.
    Text(&'b str),
    Ping(&'b [u8]),
    Pong,
    /// The peer ends the connection, with this code if it gave one.
    Close(Option<u16>),
}

/// One direction of a connection: what of a message in fragments has come.
#[derive(Debug)]
pub struct Decoder {
    from: From,
    message_bytes_max: usize,
    message: Vec<u8>,
    /// Fragments of the message so far; 0: none is under way.
    fragments: u32,
    /// `message` was handed out whole and is to be forgotten.
    is_done: bool,
}

impl Decoder {
    #[must_use]
    pub fn new(from: From, message_bytes_max: usize) -> Self {
        Self {
            from,
            message_bytes_max,
            message: Vec::new(),
            fragments: 0,
            is_done: false,
        }
    }

    /// A message in fragments is under way.
    #[must_use]
    pub fn is_within(&self) -> bool {
        self.fragments > 0
    }

    /// Bytes kept of a message in fragments.
    #[must_use]
    pub fn kept(&self) -> usize {
        self.message.len()
    }

    /// Takes frames from `bytes` at `at`, and moves `at` behind them, until there is something to say. `None`: more bytes
    /// are needed. What lies before `at` is not looked at again; masked payloads are unmasked where they lie.
    pub fn next<'b>(
        &'b mut self,
        bytes: &'b mut [u8],
        at: &mut usize,
    ) -> Result<Option<Event<'b>>, Violation> {
        if std::mem::take(&mut self.is_done) {
            self.message = Vec::new();
        }
        let (opcode, payload) = loop {
            let Some((header, payload)) = self.frame(bytes, *at)? else {
                return Ok(None);
            };
            if let Some(mask) = header.mask
                && let Some(masked) = bytes.get_mut(payload.clone())
            {
                unmask(masked, mask);
            }
            *at = payload.end;
            let data = match header.opcode {
                OpCode::Control(control) => break (OpCode::Control(control), payload),
                OpCode::Data(data) => data,
            };
            match (data, self.fragments) {
                (Data::Text, 0) if header.is_final => break (OpCode::Data(data), payload),
                (Data::Text, 0) => {}
                (Data::Binary, 0) => return Err(Violation::NotText),
                (Data::Continue, 1..) => {}
                (Data::Reserved(_), _) => return Err(Violation::Opcode),
                _ => return Err(Violation::Fragments),
            }
            self.message
                .extend_from_slice(bytes.get(payload).unwrap_or_default());
            self.fragments += 1;
            if self.fragments > FRAGMENTS_MAX {
                return Err(Violation::TooManyFragments);
            }
            if header.is_final {
                self.fragments = 0;
                self.is_done = true;
                return text(&self.message).map(Some);
            }
        };
        let payload = bytes.get(payload).unwrap_or_default();
        match opcode {
            OpCode::Control(Control::Ping) => Ok(Some(Event::Ping(payload))),
            OpCode::Control(Control::Pong) => Ok(Some(Event::Pong)),
            OpCode::Control(Control::Close) => close_code(payload).map(Event::Close).map(Some),
            OpCode::Control(Control::Reserved(_)) => Err(Violation::Opcode),
            OpCode::Data(_) => text(payload).map(Some),
        }
    }

    /// The frame that begins at `at`, if it is there whole and may be one.
    fn frame(
        &self,
        bytes: &[u8],
        at: usize,
    ) -> Result<Option<(FrameHeader, std::ops::Range<usize>)>, Violation> {
        let beginning = bytes.get(at..).unwrap_or_default();
        let beginning = beginning.get(..HEADER_BYTES_MAX).unwrap_or(beginning);
        let mut cursor = Cursor::new(beginning);
        let (header, length) = match FrameHeader::parse(&mut cursor) {
            Ok(Some(parsed)) => parsed,
            Ok(None) => return Ok(None),
            Err(_) => return Err(Violation::Opcode),
        };
        let head = usize::try_from(cursor.position()).unwrap_or(HEADER_BYTES_MAX);
        if header.rsv1 || header.rsv2 || header.rsv3 {
            return Err(Violation::ReservedBits);
        }
        if header.mask.is_some() != (self.from == From::Program) {
            return Err(Violation::Masking);
        }
        if head != header.len(length) {
            return Err(Violation::LengthNotShortest);
        }
        let length = usize::try_from(length).map_err(|_| Violation::TooLong)?;
        match header.opcode {
            OpCode::Control(_) if !header.is_final => return Err(Violation::ControlFragmented),
            OpCode::Control(_) if length > CONTROL_BYTES_MAX => {
                return Err(Violation::ControlTooLong);
            }
            OpCode::Control(_) => {}
            OpCode::Data(_)
                if length > self.message_bytes_max.saturating_sub(self.message.len()) =>
            {
                return Err(Violation::TooLong);
            }
            OpCode::Data(_) => {}
        }
        let start = at.saturating_add(head);
        let end = start.saturating_add(length);
        Ok((end <= bytes.len()).then_some((header, start..end)))
    }
}

fn text(bytes: &[u8]) -> Result<Event<'_>, Violation> {
    std::str::from_utf8(bytes)
        .map(Event::Text)
        .map_err(|_| Violation::NotUtf8)
}

/// A close frame holds nothing, or a code that may be sent and a reason in UTF-8.
fn close_code(payload: &[u8]) -> Result<Option<u16>, Violation> {
    let (code, reason) = match payload {
        [] => return Ok(None),
        [high, low, reason @ ..] => (u16::from_be_bytes([*high, *low]), reason),
        [_] => return Err(Violation::CloseFrame),
    };
    match code {
        1000..=1003 | 1007..=1014 | 3000..=4999 if std::str::from_utf8(reason).is_ok() => {
            Ok(Some(code))
        }
        _ => Err(Violation::CloseFrame),
    }
}

fn unmask(bytes: &mut [u8], mask: [u8; 4]) {
    let word = u64::from(u32::from_ne_bytes(mask));
    let word = word << 32 | word;
    let mut words = bytes.chunks_exact_mut(8);
    for part in &mut words {
        if let Ok(old) = <[u8; 8]>::try_from(&*part) {
            part.copy_from_slice(&(u64::from_ne_bytes(old) ^ word).to_ne_bytes());
        }
    }
    for (byte, mask) in words.into_remainder().iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}

/// What a frame that we write is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A message, or its first fragment.
    Text,
    /// A further fragment.
    More,
    Ping,
    Pong,
    Close,
}

/// Appends a frame. `mask`: of a client's frames, fresh random bytes.
pub fn push(out: &mut Vec<u8>, kind: Kind, is_final: bool, payload: &[u8], mask: Option<[u8; 4]>) {
    let opcode = match kind {
        Kind::Text => OpCode::Data(Data::Text),
        Kind::More => OpCode::Data(Data::Continue),
        Kind::Ping => OpCode::Control(Control::Ping),
        Kind::Pong => OpCode::Control(Control::Pong),
        Kind::Close => OpCode::Control(Control::Close),
    };
    let header = FrameHeader {
        is_final,
        rsv1: false,
        rsv2: false,
        rsv3: false,
        opcode,
        mask,
    };
    out.reserve(HEADER_BYTES_MAX + payload.len());
    // Writing into a `Vec` cannot fail.
    let _ = header.format(payload.len() as u64, out);
    let start = out.len();
    out.extend_from_slice(payload);
    if let (Some(mask), Some(written)) = (mask, out.get_mut(start..)) {
        unmask(written, mask);
    }
}

/// Appends a close frame with a code and a reason of ours.
pub fn push_close(out: &mut Vec<u8>, code: u16, reason: &str, mask: Option<[u8; 4]>) {
    let mut payload = code.to_be_bytes().to_vec();
    // Our reasons are short ASCII; what is not is left out.
    payload.extend_from_slice(
        reason
            .as_bytes()
            .get(..CONTROL_BYTES_MAX - 2)
            .unwrap_or(reason.as_bytes()),
    );
    push(out, Kind::Close, true, &payload, mask);
}

/// Why a request to change to WebSocket is refused: status and sentence.
pub type HandshakeRefusal = (u16, &'static str);

/// Whether a request asks to change to WebSocket.
#[must_use]
pub fn is_upgrade(request: &request::Request<'_>) -> bool {
    request
        .headers
        .iter()
        .any(|(name, value)| name.eq_ignore_ascii_case("upgrade") && has_token(value, b"websocket"))
}

/// Checks a program's opening handshake, and gives the value of `Sec-WebSocket-Accept`.
pub fn accept(request: &request::Request<'_>) -> Result<String, HandshakeRefusal> {
    let once = |wanted: &str| -> Result<Option<&[u8]>, HandshakeRefusal> {
        let mut all = request
            .headers
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
        match (all.next(), all.next()) {
            (_, Some(_)) => Err((400, "a header of the WebSocket handshake is there twice")),
            (found, None) => Ok(found.map(|(_, value)| *value)),
        }
    };
    if request.method != "GET" {
        return Err((400, "a WebSocket begins with GET"));
    }
    if !once("upgrade")?.is_some_and(|value| value.eq_ignore_ascii_case(b"websocket")) {
        return Err((400, "the only upgrade is `websocket`"));
    }
    let mut connection = request
        .headers
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case("connection"));
    if !connection.any(|(_, value)| has_token(value, b"upgrade")) {
        return Err((400, "`Connection: Upgrade` is missing"));
    }
    if once("sec-websocket-version")? != Some(b"13") {
        return Err((426, "the only WebSocket version is 13"));
    }
    if once("sec-websocket-protocol")?.is_some() {
        return Err((400, "subprotocols are not spoken here"));
    }
    let key = once("sec-websocket-key")?.filter(|key| is_key(key));
    let key = key.ok_or((400, "`Sec-WebSocket-Key` is not 16 bytes in base64"))?;
    Ok(accept_of(key))
}

/// What the other end answers to a key.
#[must_use]
pub fn accept_of(key: &[u8]) -> String {
    let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY);
    context.update(key);
    context.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    base64(context.finish().as_ref())
}

/// A key for a handshake of ours, of 16 random bytes.
#[must_use]
pub fn key_of(random: &[u8; 16]) -> String {
    base64(random)
}

/// A word of a list with commas between.
fn has_token(value: &[u8], wanted: &[u8]) -> bool {
    value
        .split(|b| *b == b',')
        .any(|word| word.trim_ascii().eq_ignore_ascii_case(wanted))
}

/// 16 bytes in base64: 22 characters, of which the last has four bits, and two paddings.
fn is_key(key: &[u8]) -> bool {
    let Some((last, digits)) = key.strip_suffix(b"==").and_then(<[u8]>::split_last) else {
        return false;
    };
    digits.len() == 21
        && digits
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || b"+/".contains(b))
        && b"AQgw".contains(last)
}

/// Bytes as base64 writes them.
#[must_use]
pub fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for part in bytes.chunks(3) {
        let at = |i: usize| u32::from(part.get(i).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for digit in 0..4 {
            let index = (bits >> (18 - 6 * digit)) as usize & 63;
            out.push(match digit > part.len() {
                true => '=',
                false => DIGITS.get(index).copied().unwrap_or(b'=') as char,
            });
        }
    }
    out
}

#[cfg(test)]
mod tests;
