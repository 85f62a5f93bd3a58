use super::*;
use crate::request::{Parse, parse};
use tungstenite::Message;
use tungstenite::protocol::{Role, WebSocket};

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const BYTES_MAX: usize = 1_000;

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first, 0x80 | u8::try_from(payload.len()).unwrap()];
    bytes.extend(MASK);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(b, m)| b ^ m));
    bytes
}

/// What a program's bytes are, in words.
fn read(bytes: &[u8]) -> String {
    read_from(From::Program, bytes)
}

fn read_from(from: From, bytes: &[u8]) -> String {
    let mut decoder = Decoder::new(from, BYTES_MAX);
    let (mut bytes, mut at, mut out) = (bytes.to_vec(), 0, Vec::new());
    loop {
        match decoder.next(&mut bytes, &mut at) {
            Ok(None) => {
                if at < bytes.len() || decoder.is_within() {
                    out.push("…".to_owned());
                }
                return out.join(" ");
            }
            Ok(Some(Event::Text(text))) => out.push(text.to_owned()),
            Ok(Some(Event::Ping(payload))) => {
                out.push(format!("ping:{}", String::from_utf8_lossy(payload)));
            }
            Ok(Some(Event::Pong)) => out.push("pong".to_owned()),
            Ok(Some(Event::Close(code))) => out.push(format!("close:{code:?}")),
            Err(violation) => {
                out.push(format!("{}({violation})", violation.code()));
                return out.join(" ");
            }
        }
    }
}

#[test]
fn messages_whole_and_in_fragments_are_read() {
    assert_eq!(read(&frame(0x81, b"Hello")), "Hello");
    let parts = [
        frame(0x01, "a\u{20ac}".as_bytes().split_at(2).0),
        frame(0x89, b"now"),
        frame(0x00, "a\u{20ac}".as_bytes().split_at(2).1),
        frame(0x80, b"!"),
        frame(0x81, b"next"),
    ]
    .concat();
    assert_eq!(read(&parts), "ping:now a\u{20ac}! next");
    assert_eq!(read(&frame(0x8a, b"")), "pong");
    assert_eq!(read(&frame(0x88, b"")), "close:None");
    assert_eq!(read(&frame(0x88, &[3, 0xe8, b'x'])), "close:Some(1000)");
    let long = "x".repeat(300);
    let mut bytes = Vec::new();
    push(&mut bytes, Kind::Text, true, long.as_bytes(), Some(MASK));
    assert_eq!(read(&bytes), long);
}

#[test]
fn a_venues_frames_are_not_masked_and_a_programs_are() {
    let mut bytes = Vec::new();
    push(&mut bytes, Kind::Text, true, b"x", None);
    assert_eq!(read_from(From::Venue, &bytes), "x");
    assert_eq!(read(&bytes), "1002(frame is not masked as it must be)");
    assert_eq!(
        read_from(From::Venue, &frame(0x81, b"x")),
        "1002(frame is not masked as it must be)"
    );
}

#[test]
fn what_breaks_the_protocol_is_refused_at_its_first_byte() {
    for (bytes, expected) in [
        (frame(0xc1, b"x"), "1002(reserved bits are set)"),
        (frame(0xa1, b"x"), "1002(reserved bits are set)"),
        (frame(0x91, b"x"), "1002(reserved bits are set)"),
        (frame(0x83, b"x"), "1002(frame of an unknown kind)"),
        (frame(0x8b, b"x"), "1002(frame of an unknown kind)"),
        (frame(0x09, b"x"), "1002(control frame in fragments)"),
        (frame(0x80, b"x"), "1002(fragments out of order)"),
        (
            [frame(0x01, b"x"), frame(0x81, b"y")].concat(),
            "1002(fragments out of order)",
        ),
        (frame(0x82, b"x"), "1003(only text is spoken here)"),
        (frame(0x81, b"\xff"), "1007(text is not UTF-8)"),
        (frame(0x81, b"\xed\xa0\x80"), "1007(text is not UTF-8)"),
        (
            [frame(0x01, b"\xe2"), frame(0x80, b"\x82")].concat(),
            "1007(text is not UTF-8)",
        ),
        (frame(0x88, b"\x03"), "1002(close frame is not understood)"),
        (
            frame(0x88, &[3, 0xed]),
            "1002(close frame is not understood)",
        ),
        (
            frame(0x88, &[3, 0xe8, 0xff]),
            "1002(close frame is not understood)",
        ),
        // A length of 5 in two bytes, and in eight.
        (vec![0x81, 0xfe, 0, 5], ""),
        (
            [&[0x81, 0xfe, 0, 5][..], &MASK].concat(),
            "1002(length is not written in its shortest form)",
        ),
        (
            [&[0x81, 0xff, 0, 0, 0, 0, 0, 0, 1, 0][..], &MASK].concat(),
            "1002(length is not written in its shortest form)",
        ),
        // Refused at the header: its payload is not waited for.
        (
            [&[0x81, 0xfe, 0x03, 0xe9][..], &MASK].concat(),
            "1009(message is too long)",
        ),
        (
            [
                &[0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff][..],
                &MASK,
            ]
            .concat(),
            "1009(message is too long)",
        ),
        (
            [&[0x89, 0xfe, 0, 126][..], &MASK].concat(),
            "1002(control frame is too long)",
        ),
    ] {
        let said = read(&bytes);
        let said = said.trim_end_matches('…').trim();
        assert_eq!(said, expected, "{bytes:02x?}");
    }
    let half = frame(0x01, &[b'x'; 120]);
    let parts = half
        .repeat(1)
        .into_iter()
        .chain(frame(0x00, &[b'x'; 120]).repeat(9));
    let parts: Vec<u8> = parts.collect();
    assert_eq!(read(&parts), "1009(message is too long)");
    let empty = [frame(0x01, b""), frame(0x00, b"").repeat(2_000)].concat();
    assert_eq!(read(&empty), "1009(too many fragments)");
}

#[test]
fn a_message_that_comes_byte_by_byte_is_the_same() {
    let bytes = [
        frame(0x01, b"ab"),
        frame(0x8a, b""),
        frame(0x80, b"cd"),
        frame(0x81, b"e"),
    ]
    .concat();
    let mut decoder = Decoder::new(From::Program, BYTES_MAX);
    let (mut input, mut out) = (Vec::new(), Vec::new());
    for byte in bytes {
        input.push(byte);
        let mut at = 0;
        while let Some(event) = decoder.next(&mut input, &mut at).unwrap() {
            if let Event::Text(text) = event {
                out.push(text.to_owned());
            }
        }
        input.drain(..at);
    }
    assert_eq!(out, ["abcd", "e"]);
    assert!(input.is_empty() && !decoder.is_within());
}

#[test]
fn what_is_written_is_read_by_another_implementation() {
    for length in [0, 1, 125, 126, 65_535, 65_536, 100_000] {
        let text = "y".repeat(length);
        for mask in [None, Some(MASK)] {
            let mut bytes = Vec::new();
            push(&mut bytes, Kind::Ping, true, b"p", mask);
            let (first, rest) = text.split_at(length / 3);
            push(&mut bytes, Kind::Text, false, first.as_bytes(), mask);
            push(&mut bytes, Kind::More, true, rest.as_bytes(), mask);
            push_close(&mut bytes, 1001, "bye", mask);
            let role = match mask {
                None => Role::Client,
                Some(_) => Role::Server,
            };
            let stream = Both(bytes, 0);
            let mut other = WebSocket::from_raw_socket(stream, role, None);
            assert_eq!(other.read().unwrap(), Message::Ping((&b"p"[..]).into()));
            assert_eq!(other.read().unwrap(), Message::text(text.clone()));
            let Message::Close(Some(close)) = other.read().unwrap() else {
                panic!("no close");
            };
            assert_eq!(
                (u16::from(close.code), close.reason.as_str()),
                (1001, "bye")
            );
        }
    }
}

/// Bytes to read; what is written goes nowhere.
struct Both(Vec<u8>, usize);

impl std::io::Read for Both {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let n = into.len().min(self.0.len() - self.1);
        into[..n].copy_from_slice(&self.0[self.1..self.1 + n]);
        self.1 += n;
        Ok(n)
    }
}

impl std::io::Write for Both {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn handshake(lines: &str) -> Result<String, u16> {
    let text = format!("GET /ws-api/v3 HTTP/1.1\r\nHost: h\r\n{lines}\r\n");
    match parse(text.as_bytes()) {
        Parse::Complete(request) => accept(&request).map_err(|(status, _)| status),
        other => panic!("{other:?}"),
    }
}

const GOOD: &str = "Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

#[test]
fn the_handshake_of_the_standard_is_answered() {
    // RFC 6455, 1.3.
    assert_eq!(handshake(GOOD).unwrap(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    let more = format!(
        "{GOOD}Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\nOrigin: http://x\r\n"
    );
    assert!(handshake(&more).is_ok(), "offered, and not taken");
}

#[test]
fn other_handshakes_are_refused() {
    for (from, to, expected) in [
        ("Upgrade: websocket", "Upgrade: h2c, websocket", 400),
        ("Upgrade: websocket\r\n", "", 400),
        ("keep-alive, Upgrade", "keep-alive", 400),
        ("Version: 13", "Version: 8", 426),
        ("Sec-WebSocket-Version: 13\r\n", "", 426),
        ("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZQ", 400),
        ("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZR==", 400),
        ("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25j", 400),
        (
            "Upgrade: websocket",
            "Upgrade: websocket\r\nUpgrade: websocket",
            400,
        ),
        (
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt",
            400,
        ),
        (
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Version: 13",
            400,
        ),
    ] {
        let lines = GOOD.replace(from, to);
        assert_ne!(lines, GOOD);
        assert_eq!(handshake(&lines), Err(expected), "{to}");
    }
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_taken_without_a_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
        read(&bytes);
        read_from(From::Venue, &bytes);
    }

    #[test]
    fn a_text_is_read_as_it_was_written(text in ".{0,200}", cut in 0usize..200, mask in proptest::array::uniform4(proptest::num::u8::ANY)) {
        let cut = (0..=cut.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap();
        let mut bytes = Vec::new();
        push(&mut bytes, Kind::Text, false, &text.as_bytes()[..cut], Some(mask));
        push(&mut bytes, Kind::More, true, &text.as_bytes()[cut..], Some(mask));
        proptest::prop_assert_eq!(read(&bytes), text);
    }
}
