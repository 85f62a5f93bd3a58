//! A venue's HTTP/1.1 answer, read in pieces as they arrive. The venue is not trusted: conflicting lengths, codings we
//! do not know and heads beyond the bound end the connection, and the request it answered is `MaybeSent`.

use std::fmt;
use std::mem::MaybeUninit;

/// A head of an answer at most.
pub const ANSWER_HEAD_BYTES_MAX: usize = 32_768;
/// Headers of an answer at most.
pub const ANSWER_HEADERS_MAX: usize = 96;
/// A chunk-size line or a trailer line at most.
const CHUNK_LINE_BYTES_MAX: usize = 4_096;

/// Status and headers of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    pub status: u16,
    /// Hop-by-hop headers are gone.
    pub headers: Headers,
    /// The body's length if the head says it.
    pub length: Option<u64>,
    /// The connection can carry another request after the body.
    pub keep_alive: bool,
    framing: Framing,
}

impl Head {
    /// Of an answer that came as a WebSocket frame: a status, and a body that is there whole.
    #[must_use]
    pub fn of_frame(status: u16) -> Self {
        Self {
            status,
            headers: Headers::default(),
            length: None,
            keep_alive: true,
            framing: Framing::Close,
        }
    }
}

/// Headers in two buffers, names in lower case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers {
    names: String,
    values: Vec<u8>,
    /// Where each name and each value ends.
    ends: Vec<(usize, usize)>,
}

impl Headers {
    fn push(&mut self, name: &str, value: &[u8]) {
        let start = self.names.len();
        self.names.push_str(name);
        if let Some(name) = self.names.get_mut(start..) {
            name.make_ascii_lowercase();
        }
        self.values.extend_from_slice(value);
        self.ends.push((self.names.len(), self.values.len()));
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let mut start = (0, 0);
        self.ends.iter().map(move |end| {
            let name = self.names.get(start.0..end.0).unwrap_or_default();
            let value = self.values.get(start.1..end.1).unwrap_or_default();
            start = *end;
            (name, value)
        })
    }

    /// The first of this name, which is in lower case.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.iter()
            .find_map(|(n, value)| (n == name).then_some(value))
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Length(u64),
    Chunked,
    /// Until the venue closes.
    Close,
}

/// Why an answer cannot be read; the connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    Grammar,
    HeadTooLong,
    Length,
    Coding,
    Chunk,
    /// The venue closed in the middle.
    Cut,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Grammar => "the venue's answer is not HTTP/1.1",
            Self::HeadTooLong => "the head of the venue's answer is too long",
            Self::Length => "the venue's answer has conflicting lengths",
            Self::Coding => "the venue's answer has a coding that was not asked for",
            Self::Chunk => "the venue's answer has a broken chunk",
            Self::Cut => "the venue closed the connection within its answer",
        })
    }
}

/// Reads a head from the start of `bytes`; gives it with its length, or `None` if it is not whole yet. Interim answers
/// (1xx) are passed over.
pub fn head(bytes: &[u8]) -> Result<Option<(Head, usize)>, Broken> {
    let mut skipped = 0;
    loop {
        let rest = bytes.get(skipped..).unwrap_or_default();
        let mut slots = [const { MaybeUninit::uninit() }; ANSWER_HEADERS_MAX];
        let mut parsed = httparse::Response::new(&mut []);
        let plain = httparse::ParserConfig::default();
        let length = match plain.parse_response_with_uninit_headers(&mut parsed, rest, &mut slots) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) if rest.len() >= ANSWER_HEAD_BYTES_MAX => {
                return Err(Broken::HeadTooLong);
            }
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(httparse::Error::TooManyHeaders) => return Err(Broken::HeadTooLong),
            Err(_) => return Err(Broken::Grammar),
        };
        let status = parsed.code.ok_or(Broken::Grammar)?;
        skipped += length;
        if (100..200).contains(&status) {
            // 101 would change the protocol, which nobody asked for.
            if status == 101 {
                return Err(Broken::Grammar);
            }
            continue;
        }
        return Ok(Some((
            read_head(status, parsed.version == Some(1), parsed.headers)?,
            skipped,
        )));
    }
}

/// Headers that concern this connection alone, or that a program must not see from another's session.
const DROPPED: [&str; 10] = [
    // Only the gate says that the gate refused.
    "x-portcullis-refusal",
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "content-length",
    "set-cookie",
    "alt-svc",
];

fn read_head(status: u16, http11: bool, parsed: &[httparse::Header<'_>]) -> Result<Head, Broken> {
    let mut head = Head {
        status,
        headers: Headers {
            names: String::with_capacity(parsed.iter().map(|h| h.name.len()).sum()),
            values: Vec::with_capacity(parsed.iter().map(|h| h.value.len()).sum()),
            ends: Vec::with_capacity(parsed.len()),
        },
        length: None,
        keep_alive: http11,
        framing: Framing::Close,
    };
    let (mut length, mut chunked) = (None, false);
    for header in parsed {
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        if is("content-length") {
            let said = std::str::from_utf8(header.value)
                .ok()
                .filter(|text| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()))
                .and_then(|text| text.parse::<u64>().ok())
                .ok_or(Broken::Length)?;
            if length.is_some_and(|before| before != said) {
                return Err(Broken::Length);
            }
            length = Some(said);
        } else if is("transfer-encoding") {
            if chunked || !header.value.eq_ignore_ascii_case(b"chunked") {
                return Err(Broken::Coding);
            }
            chunked = true;
        } else if is("content-encoding") && !header.value.eq_ignore_ascii_case(b"identity") {
            // We ask for none: an encoded body could not be summarised.
            return Err(Broken::Coding);
        } else if is("connection")
            && header
                .value
                .windows(5)
                .any(|word| word.eq_ignore_ascii_case(b"close"))
        {
            head.keep_alive = false;
        }
        if !DROPPED.iter().any(|dropped| is(dropped)) {
            head.headers.push(header.name, header.value);
        }
    }
    if chunked && length.is_some() {
        return Err(Broken::Length);
    }
    head.framing = match (chunked, length) {
        _ if status == 204 || status == 304 => Framing::Length(0),
        (true, _) => Framing::Chunked,
        (false, Some(length)) => Framing::Length(length),
        (false, None) => Framing::Close,
    };
    head.length = match head.framing {
        Framing::Length(length) => Some(length),
        _ => None,
    };
    head.keep_alive &= head.framing != Framing::Close;
    Ok(head)
}

/// Takes the body apart as it arrives.
#[derive(Debug)]
pub struct Body {
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Length(u64),
    Close,
    ChunkSize,
    ChunkData(u64),
    ChunkEnd,
    Trailer,
    Done,
}

impl Body {
    #[must_use]
    pub fn new(head: &Head) -> Self {
        let state = match head.framing {
            Framing::Length(0) => State::Done,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::ChunkSize,
            Framing::Close => State::Close,
        };
        Self { state }
    }

    /// Of an answer whose body has been taken.
    pub(crate) fn done() -> Self {
        Self { state: State::Done }
    }

    #[must_use]
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Takes bytes from the front of `input`: appends what is body to `out`, and says how many bytes it took. It stops
    /// early only where a whole line of chunk framing is not there yet, when `out` has grown by `limit`, or at the end.
    pub fn take(&mut self, input: &[u8], out: &mut Vec<u8>, limit: usize) -> Result<usize, Broken> {
        let mut at = 0;
        let full = out.len().saturating_add(limit);
        while self.state != State::Done && out.len() < full {
            let rest = input.get(at..).unwrap_or_default();
            match self.state {
                State::Length(left) | State::ChunkData(left) => {
                    let room = (full - out.len()) as u64;
                    let n = left.min(rest.len() as u64).min(room) as usize;
                    if n == 0 {
                        break;
                    }
                    out.extend_from_slice(rest.get(..n).unwrap_or_default());
                    at += n;
                    let left = left - n as u64;
                    self.state = match (self.state, left) {
                        (State::Length(_), 0) => State::Done,
                        (State::Length(_), left) => State::Length(left),
                        (_, 0) => State::ChunkEnd,
                        (_, left) => State::ChunkData(left),
                    };
                }
                State::Close => {
                    let n = rest.len().min(full - out.len());
                    out.extend_from_slice(rest.get(..n).unwrap_or_default());
                    at += n;
                    break;
                }
                State::ChunkSize | State::ChunkEnd | State::Trailer => {
                    let Some(end) = memchr::memchr(b'\n', rest) else {
                        if rest.len() > CHUNK_LINE_BYTES_MAX {
                            return Err(Broken::Chunk);
                        }
                        break;
                    };
                    let line = rest.get(..end).unwrap_or_default();
                    let line = line.strip_suffix(b"\r").ok_or(Broken::Chunk)?;
                    at += end + 1;
                    self.state = match self.state {
                        State::ChunkSize => match chunk_size(line)? {
                            0 => State::Trailer,
                            size => State::ChunkData(size),
                        },
                        State::ChunkEnd if line.is_empty() => State::ChunkSize,
                        State::ChunkEnd => return Err(Broken::Chunk),
                        _ if line.is_empty() => State::Done,
                        _ => State::Trailer,
                    };
                }
                State::Done => {}
            }
        }
        Ok(at)
    }

    /// The venue closed: the end of a body that runs until then, and a cut otherwise.
    pub fn close(&mut self) -> Result<(), Broken> {
        match self.state {
            State::Close | State::Done => {
                self.state = State::Done;
                Ok(())
            }
            _ => Err(Broken::Cut),
        }
    }
}

fn chunk_size(line: &[u8]) -> Result<u64, Broken> {
    let digits = line.split(|b| *b == b';').next().unwrap_or_default();
    if digits.is_empty() || digits.len() > 12 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return Err(Broken::Chunk);
    }
    std::str::from_utf8(digits)
        .ok()
        .and_then(|text| u64::from_str_radix(text, 16).ok())
        .ok_or(Broken::Chunk)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `text` in pieces of `step` bytes and gives `status body` or the error.
    fn read(text: &[u8], step: usize) -> Result<(u16, Vec<u8>, bool), Broken> {
        let (mut buffer, mut pieces) = (Vec::new(), text.chunks(step));
        let (head, used) = loop {
            if let Some(found) = head(&buffer)? {
                break found;
            }
            buffer.extend_from_slice(pieces.next().ok_or(Broken::Cut)?);
        };
        buffer.drain(..used);
        let (mut body, mut out) = (Body::new(&head), Vec::new());
        loop {
            let used = body.take(&buffer, &mut out, usize::MAX)?;
            buffer.drain(..used);
            if body.is_done() {
                return Ok((head.status, out, head.keep_alive));
            }
            match pieces.next() {
                Some(piece) => buffer.extend_from_slice(piece),
                None => {
                    body.close()?;
                }
            }
        }
    }

    fn check(text: &str, expected: Result<(u16, &str, bool), Broken>) {
        for step in [1, 2, 3, 7, 1000] {
            let found =
                read(text.as_bytes(), step).map(|(s, b, k)| (s, String::from_utf8(b).unwrap(), k));
            assert_eq!(
                found,
                expected.map(|(s, b, k)| (s, b.to_owned(), k)),
                "{text:?} by {step}"
            );
        }
    }

    #[test]
    fn bodies_of_each_framing_are_read_whatever_the_pieces() {
        check(
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
            Ok((200, "{}", true)),
        );
        check(
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            Ok((200, "", true)),
        );
        check("HTTP/1.1 204 No\r\n\r\n", Ok((204, "", true)));
        check(
            "HTTP/1.1 200 OK\r\n\r\nuntil close",
            Ok((200, "until close", false)),
        );
        check(
            "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx",
            Ok((200, "x", false)),
        );
        check(
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx",
            Ok((200, "x", false)),
        );
        check(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\nT: r\r\n\r\n",
            Ok((200, "abc0123456789", true)),
        );
        check(
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
            Ok((200, "x", true)),
        );
    }

    #[test]
    fn headers_keep_their_order_and_lose_what_concerns_the_connection() {
        let text = "HTTP/1.1 200 OK\r\nX-One: 1\r\nSet-Cookie: a\r\nConnection: keep-alive\r\nEMPTY:\r\nx-one: two\r\nContent-Length: 0\r\n\r\n";
        let (head, used) = head(text.as_bytes()).unwrap().unwrap();
        assert_eq!(used, text.len());
        let headers: Vec<_> = head.headers.iter().collect();
        assert_eq!(
            headers,
            [("x-one", &b"1"[..]), ("empty", b""), ("x-one", b"two")]
        );
        assert_eq!(head.headers.get("x-one"), Some(&b"1"[..]));
        assert_eq!(head.headers.get("set-cookie"), None);
        assert!(head.keep_alive);
    }

    #[test]
    fn broken_answers_end_the_connection() {
        for (text, expected) in [
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
                Broken::Length,
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nx",
                Broken::Length,
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
                Broken::Length,
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
                Broken::Coding,
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx",
                Broken::Coding,
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
                Broken::Chunk,
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxy\r\n0\r\n\r\n",
                Broken::Chunk,
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\nx\r\n0\r\n\r\n",
                Broken::Chunk,
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
                Broken::Chunk,
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc",
                Broken::Cut,
            ),
            ("HTTP/1.1 101 Up\r\n\r\n", Broken::Grammar),
            ("SSH-2.0-x\r\n", Broken::Grammar),
        ] {
            check(text, Err(expected));
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_taken_without_a_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300), step in 1usize..20) {
            let _ = read(&bytes, step);
            let mut text = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
            text.extend(&bytes);
            let _ = read(&text, step);
        }
    }
}
