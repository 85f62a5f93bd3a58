//! A program's HTTP/1.1 request, strictly. What two readers could understand differently is refused: bare line feeds,
//! folded headers, repeated or conflicting lengths, any transfer coding, absolute targets, bytes outside the grammar.
//! RFC 9112 allows a server each of these refusals.

use portcullis_model::wire::{BODY_BYTES_MAX, HEAD_BYTES_MAX, HEADERS_MAX};
use std::fmt;
use std::mem::MaybeUninit;

/// One request, borrowed from the connection's bytes.
#[derive(Debug, PartialEq, Eq)]
pub struct Request<'b> {
    pub method: &'b str,
    /// Origin form: path and query as sent.
    pub target: &'b [u8],
    /// As sent; names not yet lower case.
    pub headers: Vec<(&'b str, &'b [u8])>,
    pub body: &'b [u8],
    /// The client wants the connection closed after the answer.
    pub close: bool,
    /// Bytes of head and body together.
    pub length: usize,
}

/// What the bytes so far are.
#[derive(Debug, PartialEq, Eq)]
pub enum Parse<'b> {
    Complete(Request<'b>),
    /// More bytes are needed. The head is complete or not: another time-out holds.
    Partial {
        head_complete: bool,
    },
    Refused(Malformed),
}

/// Why the bytes are no request of ours. The connection closes after the answer: nobody knows where the next one starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Malformed {
    BareLineFeed,
    FoldedHeader,
    Grammar,
    Version,
    Method,
    Target,
    HeadTooLong,
    TooManyHeaders,
    LengthRepeated,
    LengthNotANumber,
    TransferCoding,
    Expect,
    BodyTooLong,
    BodyWithoutMeaning,
    Host,
}

impl Malformed {
    pub const ALL: [Self; 15] = [
        Self::BareLineFeed,
        Self::FoldedHeader,
        Self::Grammar,
        Self::Version,
        Self::Method,
        Self::Target,
        Self::HeadTooLong,
        Self::TooManyHeaders,
        Self::LengthRepeated,
        Self::LengthNotANumber,
        Self::TransferCoding,
        Self::Expect,
        Self::BodyTooLong,
        Self::BodyWithoutMeaning,
        Self::Host,
    ];

    /// HTTP status and sentence of the answer.
    #[must_use]
    pub fn answer(self) -> (u16, &'static str) {
        match self {
            Self::BareLineFeed => (
                400,
                "a line ends without carriage return; end each line with CR LF",
            ),
            Self::FoldedHeader => (400, "a header is folded over lines; write it on one line"),
            Self::Grammar => (400, "the request is not HTTP/1.1"),
            Self::Version => (505, "only HTTP/1.1 is spoken here"),
            Self::Method => (501, "the method is none of GET, POST, PUT, DELETE"),
            Self::Target => (
                400,
                "the target must be a path in origin form, visible ASCII, percent-encoded where needed",
            ),
            Self::HeadTooLong => (
                431,
                "the request line and headers are longer than 16384 bytes",
            ),
            Self::TooManyHeaders => (431, "the request has more than 64 headers"),
            Self::LengthRepeated => (400, "content-length is there more than once"),
            Self::LengthNotANumber => (400, "content-length is not a plain number"),
            Self::TransferCoding => (411, "transfer codings are not taken; send content-length"),
            Self::Expect => (417, "expectations are not taken; send the body at once"),
            Self::BodyTooLong => (413, "the body is longer than 32768 bytes"),
            Self::BodyWithoutMeaning => (400, "a GET has no body"),
            Self::Host => (400, "there must be exactly one host header"),
        }
    }

    /// Label of the count.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::BareLineFeed => "bare_line_feed",
            Self::FoldedHeader => "folded_header",
            Self::Grammar => "grammar",
            Self::Version => "version",
            Self::Method => "method",
            Self::Target => "target",
            Self::HeadTooLong => "head_too_long",
            Self::TooManyHeaders => "too_many_headers",
            Self::LengthRepeated => "length_repeated",
            Self::LengthNotANumber => "length_not_a_number",
            Self::TransferCoding => "transfer_coding",
            Self::Expect => "expect",
            Self::BodyTooLong => "body_too_long",
            Self::BodyWithoutMeaning => "body_without_meaning",
            Self::Host => "host",
        }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.answer().1)
    }
}

/// The methods that the venues' catalogs know.
pub const METHODS: [&str; 4] = ["GET", "POST", "PUT", "DELETE"];

/// Reads the first request in `bytes`. Never panics, whatever the bytes.
#[must_use]
pub fn parse(bytes: &[u8]) -> Parse<'_> {
    let beginning = bytes.get(..HEAD_BYTES_MAX).unwrap_or(bytes);
    match head_end(beginning) {
        Err(malformed) => Parse::Refused(malformed),
        Ok(None) if bytes.len() >= HEAD_BYTES_MAX => Parse::Refused(Malformed::HeadTooLong),
        Ok(None) => Parse::Partial {
            head_complete: false,
        },
        Ok(Some(end)) => match whole(bytes.get(..end).unwrap_or(bytes), bytes) {
            Ok(parse) => parse,
            Err(malformed) => Parse::Refused(malformed),
        },
    }
}

/// Where the head ends, if it does. Before it is complete, too, every LF follows a CR, every CR is followed by LF (or is the last
/// byte so far), no line starts with a blank, and the request does not begin with an empty line: a bare line feed could
/// make another reader see an end that we do not.
fn head_end(bytes: &[u8]) -> Result<Option<usize>, Malformed> {
    if bytes.first().is_some_and(|b| b"\r\n".contains(b)) {
        return Err(Malformed::Grammar);
    }
    // Where the line begins.
    let mut line = 0;
    for at in memchr::memchr2_iter(b'\r', b'\n', bytes) {
        let (before, here, after) = (
            at.checked_sub(1).and_then(|i| bytes.get(i)),
            bytes.get(at),
            bytes.get(at + 1),
        );
        match here {
            Some(b'\n') if before != Some(&b'\r') => return Err(Malformed::BareLineFeed),
            Some(b'\n') if at == line + 1 => return Ok(Some(at + 1)),
            Some(b'\n') if after.is_some_and(|b| b" \t".contains(b)) => {
                return Err(Malformed::FoldedHeader);
            }
            Some(b'\n') => line = at + 1,
            Some(b'\r') if after.is_some_and(|b| *b != b'\n') => {
                return Err(Malformed::BareLineFeed);
            }
            _ => {}
        }
    }
    Ok(None)
}

fn whole<'b>(head: &'b [u8], bytes: &'b [u8]) -> Result<Parse<'b>, Malformed> {
    let mut slots = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut parsed = httparse::Request::new(&mut []);
    match parsed.parse_with_uninit_headers(head, &mut slots) {
        Ok(httparse::Status::Complete(length)) if length == head.len() => {}
        Err(httparse::Error::TooManyHeaders) => return Err(Malformed::TooManyHeaders),
        Err(httparse::Error::Version) => return Err(Malformed::Version),
        _ => return Err(Malformed::Grammar),
    }
    let (Some(method), Some(target), Some(version)) = (parsed.method, parsed.path, parsed.version)
    else {
        return Err(Malformed::Grammar);
    };
    // Exactly one blank between the three words: httparse has taken others for us elsewhere.
    let plain_line = head
        .strip_prefix(method.as_bytes())
        .and_then(|rest| rest.strip_prefix(b" "))
        .and_then(|rest| rest.strip_prefix(target.as_bytes()))
        .is_some_and(|rest| rest.starts_with(b" HTTP/1.1\r\n"));
    if version != 1 {
        return Err(Malformed::Version);
    }
    if !plain_line {
        return Err(Malformed::Grammar);
    }
    if !METHODS.contains(&method) {
        return Err(Malformed::Method);
    }
    if !target.starts_with('/')
        || !target.bytes().all(|b| b.is_ascii_graphic())
        || target.contains('#')
    {
        return Err(Malformed::Target);
    }
    let mut headers = Vec::with_capacity(parsed.headers.len());
    let (mut length, mut hosts, mut close) = (None, 0, false);
    for header in parsed.headers.iter() {
        let (name, value) = (header.name, header.value);
        if name.eq_ignore_ascii_case("content-length") {
            if length.is_some() {
                return Err(Malformed::LengthRepeated);
            }
            length = Some(content_length(value)?);
            continue;
        }
        if name.eq_ignore_ascii_case("transfer-encoding") {
            return Err(Malformed::TransferCoding);
        }
        if name.eq_ignore_ascii_case("expect") {
            return Err(Malformed::Expect);
        }
        if name.eq_ignore_ascii_case("connection") {
            close |= value
                .split(|b| *b == b',')
                .any(|word| word.trim_ascii().eq_ignore_ascii_case(b"close"));
        }
        hosts += usize::from(name.eq_ignore_ascii_case("host"));
        headers.push((name, value));
    }
    if hosts != 1 {
        return Err(Malformed::Host);
    }
    let length = length.unwrap_or(0);
    if length > BODY_BYTES_MAX {
        return Err(Malformed::BodyTooLong);
    }
    if length > 0 && method == "GET" {
        return Err(Malformed::BodyWithoutMeaning);
    }
    let end = head.len() + length;
    let Some(body) = bytes.get(head.len()..end) else {
        return Ok(Parse::Partial {
            head_complete: true,
        });
    };
    Ok(Parse::Complete(Request {
        method,
        target: target.as_bytes(),
        headers,
        body,
        close,
        length: end,
    }))
}

/// Digits only, and few enough not to overflow: `+5`, `5, 5`, ` 5 5`, `0x5` and an empty value are refused.
fn content_length(value: &[u8]) -> Result<usize, Malformed> {
    if value.is_empty() || value.len() > 12 || !value.iter().all(u8::is_ascii_digit) {
        return Err(Malformed::LengthNotANumber);
    }
    Ok(value.iter().fold(0, |sum: usize, b| {
        sum.saturating_mul(10).saturating_add(usize::from(b - b'0'))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &str, expected: &str) {
        let text = match parse(bytes.as_bytes()) {
            Parse::Complete(r) => format!(
                "{} {} {} body={} close={} rest={}",
                r.method,
                String::from_utf8_lossy(r.target),
                r.headers.len(),
                String::from_utf8_lossy(r.body),
                r.close,
                bytes.len() - r.length
            ),
            Parse::Partial { head_complete } => format!("partial {head_complete}"),
            Parse::Refused(malformed) => malformed.name().to_owned(),
        };
        assert_eq!(text, expected, "{bytes:?}");
    }

    #[test]
    fn requests_of_real_clients_are_read() {
        check(
            "GET /api/v3/time HTTP/1.1\r\nHost: h\r\n\r\n",
            "GET /api/v3/time 1 body= close=false rest=0",
        );
        check(
            "POST /o?a=b HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nConnection: keep-alive, Close\r\n\r\nabcGET",
            "POST /o?a=b 2 body=abc close=true rest=3",
        );
        check(
            "DELETE /o HTTP/1.1\r\nHost: h\r\ncontent-length: 0\r\n\r\n",
            "DELETE /o 1 body= close=false rest=0",
        );
    }

    #[test]
    fn parts_of_a_request_wait_for_the_rest() {
        let whole = "POST /o HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc";
        for end in 0..whole.len() {
            match parse(&whole.as_bytes()[..end]) {
                Parse::Partial { head_complete } => {
                    assert_eq!(head_complete, end >= whole.len() - 3, "{end}")
                }
                other => panic!("{end}: {other:?}"),
            }
        }
    }

    #[test]
    fn what_two_readers_could_understand_differently_is_refused() {
        for (bytes, expected) in [
            ("GET / HTTP/1.1\nHost: h\n\n", "bare_line_feed"),
            ("GET / HTTP/1.1\r\nHost: h\nX: y\r\n\r\n", "bare_line_feed"),
            ("GET / HTTP/1.1\r\nHost: h\rX: y\r\n\r\n", "bare_line_feed"),
            (
                "GET / HTTP/1.1\r\nHost: h\r\n folded\r\n\r\n",
                "folded_header",
            ),
            (
                "GET / HTTP/1.1\r\nHost: h\r\nX: y\r\n\tz\r\n\r\n",
                "folded_header",
            ),
            ("\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", "grammar"),
            ("GET / HTTP/1.0\r\nHost: h\r\n\r\n", "version"),
            ("GET / HTTP/2.0\r\nHost: h\r\n\r\n", "version"),
            ("GET  / HTTP/1.1\r\nHost: h\r\n\r\n", "grammar"),
            ("GET /\tHTTP/1.1\r\nHost: h\r\n\r\n", "grammar"),
            ("GET /a b HTTP/1.1\r\nHost: h\r\n\r\n", "version"),
            ("PATCH / HTTP/1.1\r\nHost: h\r\n\r\n", "method"),
            ("get / HTTP/1.1\r\nHost: h\r\n\r\n", "method"),
            ("CONNECT h:1 HTTP/1.1\r\nHost: h\r\n\r\n", "method"),
            ("GET http://h/ HTTP/1.1\r\nHost: h\r\n\r\n", "target"),
            ("GET * HTTP/1.1\r\nHost: h\r\n\r\n", "target"),
            ("GET /a#b HTTP/1.1\r\nHost: h\r\n\r\n", "target"),
            ("GET /\u{e9} HTTP/1.1\r\nHost: h\r\n\r\n", "target"),
            ("GET / HTTP/1.1\r\nHost : h\r\n\r\n", "grammar"),
            ("GET / HTTP/1.1\r\n: h\r\n\r\n", "grammar"),
            ("GET / HTTP/1.1\r\nHost\r\n\r\n", "grammar"),
            ("GET / HTTP/1.1\r\nX: y\r\n\r\n", "host"),
            ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "host"),
            (
                "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na",
                "length_repeated",
            ),
            (
                "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\ncontent-length: 2\r\n\r\na",
                "length_repeated",
            ),
            (
                "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1, 1\r\n\r\na",
                "length_not_a_number",
            ),
            (
                "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: +1\r\n\r\na",
                "length_not_a_number",
            ),
            (
                "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\na",
                "length_not_a_number",
            ),
            (
                "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0x1\r\n\r\na",
                "length_not_a_number",
            ),
            (
                "POST / HTTP/1.1\r\nHost: h\r\nContent-Length:\r\n\r\na",
                "length_not_a_number",
            ),
            (
                "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 18446744073709551617\r\n\r\na",
                "length_not_a_number",
            ),
            (
                "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 32769\r\n\r\na",
                "body_too_long",
            ),
            (
                "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                "transfer_coding",
            ),
            (
                "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: x\r\nContent-Length: 1\r\n\r\na",
                "transfer_coding",
            ),
            (
                "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\na",
                "expect",
            ),
            (
                "GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\na",
                "body_without_meaning",
            ),
        ] {
            check(bytes, expected);
        }
        check(
            &format!(
                "GET / HTTP/1.1\r\nHost: h\r\nX: {}\r\n\r\n",
                "y".repeat(HEAD_BYTES_MAX)
            ),
            "head_too_long",
        );
        check(
            &format!(
                "GET / HTTP/1.1\r\nHost: h\r\n{}\r\n",
                "X: y\r\n".repeat(HEADERS_MAX)
            ),
            "too_many_headers",
        );
        check(&"G".repeat(HEAD_BYTES_MAX), "head_too_long");
        check("GET / HTTP/1.1\r\nHost: h\r\nX: a\0b\r\n\r\n", "grammar");
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_taken_without_a_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..400)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn a_damaged_request_is_never_longer_than_what_came(at in 0usize..60, to in proptest::num::u8::ANY) {
            let mut bytes = b"POST /api/v3/order HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc".to_vec();
            bytes[at] = to;
            if let Parse::Complete(request) = parse(&bytes) {
                proptest::prop_assert!(request.length <= bytes.len());
            }
        }
    }
}
