//! A program's request as it arrived, and the strict reading of one from raw bytes (for `decode`). Nothing is changed
//! here: what is not understood is refused. The gate's listener has a reader of its own; both hand on the same shape.

use crate::error::DecodeError;
use portcullis_model::wire::{BODY_BYTES_MAX, HEAD_BYTES_MAX, HEADERS_MAX, Header};

/// A request as it arrived. Header names are compared without case.
#[derive(Debug, Clone, Copy)]
pub struct RawRequest<'a> {
    pub method: &'a str,
    /// The venue host that the program believes it speaks to (`api.binance.com`): from the listener, not from the bytes.
    pub host: &'a str,
    /// Path and query exactly as sent.
    pub target: &'a [u8],
    pub headers: &'a [Header<'a>],
    pub body: &'a [u8],
}

impl<'a> RawRequest<'a> {
    /// The value of a header that may stand once. Sent twice it is an error, whatever the values.
    pub fn header(&self, name: &'static str) -> Result<Option<&'a [u8]>, DecodeError> {
        let mut found = None;
        for header in self.headers {
            if header.name.eq_ignore_ascii_case(name) {
                if found.is_some() {
                    return Err(DecodeError::HeaderRepeated { name });
                }
                let value: &'a [u8] = header.value;
                found = Some(value);
            }
        }
        Ok(found)
    }

    /// Path and query. Both are visible ASCII; a fragment or a second `?` is refused.
    pub fn path_and_query(&self) -> Result<(&'a str, &'a str), DecodeError> {
        let target = std::str::from_utf8(self.target)
            .ok()
            .filter(|t| t.bytes().all(|b| b.is_ascii_graphic() && b != b'#'))
            .ok_or(DecodeError::Target)?;
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        if !path.starts_with('/') || query.contains('?') {
            return Err(DecodeError::Target);
        }
        Ok((path, query))
    }
}

/// A request read from bytes.
#[derive(Debug)]
pub struct RawHttp<'a> {
    pub method: &'a str,
    pub target: &'a [u8],
    /// The Host header, without a port.
    pub host: &'a str,
    pub headers: Vec<Header<'a>>,
    pub body: &'a [u8],
}

impl RawHttp<'_> {
    #[must_use]
    pub fn request(&self) -> RawRequest<'_> {
        RawRequest {
            method: self.method,
            host: self.host,
            target: self.target,
            headers: &self.headers,
            body: self.body,
        }
    }
}

/// Reads one whole HTTP/1.1 request: lines end with CR LF, one Content-Length at most, no Transfer-Encoding, no folding,
/// nothing after the body.
pub fn raw_http(bytes: &[u8]) -> Result<RawHttp<'_>, DecodeError> {
    let bad = |why| DecodeError::Http { why };
    let end = bytes
        .windows(4)
        .take(HEAD_BYTES_MAX)
        .position(|w| w == b"\r\n\r\n")
        .ok_or(bad(
            "the head does not end; lines end with CR LF, a blank line ends the head",
        ))?;
    let (head, rest) = bytes.split_at(end);
    let body = rest.get(4..).unwrap_or_default();
    let head = std::str::from_utf8(head).map_err(|_| bad("the head is not UTF-8"))?;
    let mut lines = head.split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (Some(method), Some(target), Some("HTTP/1.1"), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(bad("the first line is not `METHOD TARGET HTTP/1.1`"));
    };
    let mut headers = Vec::new();
    let (mut host, mut length) = (None, None);
    for line in lines {
        let (name, value) = line
            .split_once(':')
            .filter(|(n, v)| is_token(n) && !v.bytes().any(|b| b.is_ascii_control() && b != b'\t'))
            .ok_or(bad("a header line is not `Name: value`"))?;
        let value = value.trim_matches([' ', '\t']);
        if headers.len() == HEADERS_MAX {
            return Err(bad("more than 64 headers"));
        }
        if name.eq_ignore_ascii_case("transfer-encoding") {
            return Err(bad("transfer-encoding is not taken; send content-length"));
        }
        if name.eq_ignore_ascii_case("host") && host.replace(value).is_some() {
            return Err(bad("two Host headers"));
        }
        if name.eq_ignore_ascii_case("content-length") {
            let digits = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
            let parsed = value.parse::<usize>().ok().filter(|_| digits);
            if length.is_some() || parsed.is_none() {
                return Err(bad("content-length is repeated or no number"));
            }
            length = parsed;
        }
        headers.push(Header {
            name,
            value: value.as_bytes().into(),
        });
    }
    if body.len() != length.unwrap_or(0) || body.len() > BODY_BYTES_MAX {
        return Err(bad(
            "the body is not as long as content-length says, or too long",
        ));
    }
    let host = host.ok_or(bad("no Host header"))?;
    Ok(RawHttp {
        method,
        target: target.as_bytes(),
        host: host.split(':').next().unwrap_or_default(),
        headers,
        body,
    })
}

fn is_token(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_whole_request_is_read() {
        let raw =
            raw_http(b"POST /a?b=c HTTP/1.1\r\nHost: x:80\r\nContent-Length: 2\r\n\r\nhi").unwrap();
        assert_eq!(
            (raw.method, raw.target, raw.host, raw.body),
            ("POST", &b"/a?b=c"[..], "x", &b"hi"[..])
        );
        assert_eq!(raw.request().path_and_query().unwrap(), ("/a", "b=c"));
    }

    #[test]
    fn loose_requests_are_refused() {
        for bytes in [
            &b""[..],
            b"GET / HTTP/1.1\nHost: x\n\n",
            b"GET / HTTP/1.0\r\nHost: x\r\n\r\n",
            b"GET  / HTTP/1.1\r\nHost: x\r\n\r\n",
            b"GET / HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nhi",
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nhi",
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +2\r\n\r\nhi",
            b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
        ] {
            assert!(
                raw_http(bytes).is_err(),
                "{}",
                String::from_utf8_lossy(bytes)
            );
        }
    }
}
