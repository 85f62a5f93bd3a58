//! Every decoder of outside bytes, as a function that must end without a panic and keep what its comment says, whatever
//! it is given. `cargo xtask fuzz SECONDS` runs each under libFuzzer; `tests/corpus.rs` replays the corpus and its
//! mutations in an ordinary test run.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a target fails by panicking"
)]

use aws_lc_rs::hmac;
use minicbor::{Decode, Encode};
use portcullis_authority::{Account, Oracle, OwnedFacts, Question, Roster, Strategy};
use portcullis_gateway::{answer, request, websocket};
use portcullis_model::action::{
    ActionKind, MarketId, MarketKind, OrderType, ReadOf, Side, Stamp, TimeInForce,
};
use portcullis_model::command::{Answer, Command};
use portcullis_model::entry::Body;
use portcullis_model::id::{AccountId, EntryId, FIRST_VENUE, Name, StrategyId, Timestamp};
use portcullis_model::log::note::{Checkpoint, Verifier};
use portcullis_model::log::{Entry, segment};
use portcullis_model::mandate::Mandates;
use portcullis_model::report::Report;
use portcullis_model::wire::{
    self, AnswerAborted, AnswerChunk, AnswerHead, Close, Credit, Discard, Discarded, Gone, Header,
    Hello, Hosts, Leave, Orphans, Outcome, Push, Reply, Request, Send, StreamEnded, Told, Window,
};
use portcullis_room::control::{Control, FromRoom, Received, ToRoom};
use portcullis_sim::decimal;
use portcullis_sim::keys::{Key, Keys, Material};
use portcullis_sim::strict;
use portcullis_unseal::seal::Openers;
use portcullis_venues::{Asked, Catalog, Credential, Signature, VerifyKey};
use portcullis_venues::{RawRequest, raw_http};
use std::collections::BTreeSet;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::LazyLock;

/// What a target does with its input.
pub type Target = fn(&[u8]);

/// Name and function of each target; the binaries in `fuzz_targets/` and `cargo xtask fuzz` go by this list.
pub const TARGETS: [(&str, Target); 22] = [
    ("http_request", http_request),
    ("websocket", websocket_frames),
    ("frame", frame),
    ("http_answer", http_answer),
    ("binance_request", binance_request),
    ("futures_request", futures_request),
    ("bybit_request", bybit_request),
    ("okx_request", okx_request),
    ("venue_answer", venue_answer),
    ("wire", wire_message),
    ("log_entry", log_entry),
    ("log_segment", log_segment),
    ("checkpoint", checkpoint),
    ("mandates", mandates),
    ("catalog", catalog),
    ("command", command),
    ("strict", strict_exchange),
    ("exchange", exchange),
    ("control", control),
    ("sealed", sealed),
    ("secrets", secrets),
    ("policy", policy),
];

/// Ingress: what a client sends. A whole request is no longer than what was given, and a prefix of it is never refused:
/// bytes that come late cannot change the verdict.
pub fn http_request(bytes: &[u8]) {
    if let request::Parse::Complete(parsed) = request::parse(bytes) {
        assert!(parsed.length <= bytes.len());
        let cut = parsed.length / 2;
        assert!(!matches!(
            request::parse(&bytes[..cut]),
            request::Parse::Refused(_) | request::Parse::Complete(_)
        ));
    }
}

/// Ingress and egress: frames of a WebSocket, whole and byte by byte. What they say does not depend on how they come, and no
/// message is longer than its bound.
pub fn websocket_frames(bytes: &[u8]) {
    const BYTES_MAX: usize = 4_096;
    for from in [websocket::From::Program, websocket::From::Venue] {
        let read = |parts: &[&[u8]]| {
            let mut decoder = websocket::Decoder::new(from, BYTES_MAX);
            let (mut input, mut said) = (Vec::new(), Vec::new());
            for part in parts {
                input.extend_from_slice(part);
                let mut at = 0;
                loop {
                    match decoder.next(&mut input, &mut at) {
                        Ok(None) => break,
                        Ok(Some(event)) => {
                            if let websocket::Event::Text(text) = &event {
                                assert!(text.len() <= BYTES_MAX);
                            }
                            said.push(format!("{event:?}"));
                        }
                        Err(violation) => {
                            said.push(violation.to_string());
                            return said;
                        }
                    }
                }
                input.drain(..at);
            }
            said
        };
        let whole = read(&[bytes]);
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(whole, read(&single));
    }
}

/// Signer: the text of a frame, wherever a venue takes frames. What is understood is rebuilt, and the rebuilt frame means the
/// same; the simulator reads it on its own.
pub fn frame(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    use portcullis_sim::frames::{Api, read};
    for api in [Api::Spot, Api::Usd, Api::Coin] {
        let _ = read(api, text);
    }
    let catalog = Catalog::builtin().unwrap();
    for (host, target) in FRAMES {
        let Some(service) = catalog.service(host) else {
            continue;
        };
        let _ = service.dialect.glance(bytes);
        same_again(&RawRequest {
            method: wire::FRAME_METHOD,
            host,
            target: target.as_bytes(),
            headers: &[],
            body: bytes,
        });
    }
}

/// Where WebSockets are opened. A host that no catalog has yet takes nothing.
const FRAMES: [(&str, &str); 15] = [
    ("ws-api.binance.com", "/ws-api/v3"),
    ("ws-fapi.binance.com", "/ws-fapi/v1"),
    ("ws-dapi.binance.com", "/ws-dapi/v1"),
    ("stream.binance.com", "/ws"),
    ("stream.binance.com", "/stream"),
    ("fstream.binance.com", "/ws"),
    ("dstream.binance.com", "/ws"),
    ("stream.bybit.com", "/v5/trade"),
    ("stream.bybit.com", "/v5/private"),
    ("stream.bybit.com", "/v5/public/linear"),
    ("ws.okx.com", "/ws/v5/private"),
    ("ws.okx.com", "/ws/v5/public"),
    ("ws.okx.com", "/ws/v5/business"),
    ("fstream.binance.com", "/stream"),
    ("dstream.binance.com", "/stream"),
];

/// Presents, decodes and rebuilds; what was rebuilt is presented and decoded to the same actions.
fn same_again(request: &RawRequest<'_>) {
    let catalog = Catalog::builtin().unwrap();
    let Ok(presented) = catalog.present(request) else {
        return;
    };
    let _ = presented.verify(&VerifyKey::hmac(b"toy"));
    let Ok(actions) = presented.decode(Some(MINT)) else {
        return;
    };
    let stamp = Stamp {
        venue_time_ms: TOY_NOW_MS,
        receive_window_ms: 5_000,
        at: Timestamp(TOY_NOW_MS * 1_000),
    };
    let unsigned = catalog.prepare(&actions, stamp).unwrap();
    let ready = if presented.is_public() {
        unsigned.finish_public().unwrap()
    } else {
        let credential = Credential {
            api_key: "toykey",
            passphrase: Some("toy"),
        };
        unsigned.finish(credential, &Signature::HmacSha256([7; 32]))
    };
    let headers: Vec<Header<'_>> = ready
        .headers
        .iter()
        .map(|(name, value)| Header {
            name,
            value: value.as_bytes().into(),
        })
        .collect();
    let again = RawRequest {
        method: ready.method,
        host: request.host,
        target: ready.target.as_bytes(),
        headers: &headers,
        body: ready.body.as_bytes(),
    };
    let again = catalog.present(&again).unwrap().decode(Some(MINT)).unwrap();
    assert_eq!(again.list, actions.list);
}

/// From which ids of orders are made, in the narrowest form that a venue takes.
const MINT: &str = "pc1";

/// Egress: what a venue answers, whole and in two parts.
pub fn http_answer(bytes: &[u8]) {
    let Ok(Some((head, used))) = answer::head(bytes) else {
        return;
    };
    assert!(used <= bytes.len());
    let rest = &bytes[used..];
    let mut whole = Vec::new();
    let mut body = answer::Body::new(&head);
    let taken = body.take(rest, &mut whole, usize::MAX);
    let mut parts = Vec::new();
    let mut body = answer::Body::new(&head);
    let first = body.take(&rest[..rest.len() / 2], &mut parts, usize::MAX);
    if let (Ok(taken), Ok(first)) = (taken, first)
        && body.take(&rest[first..], &mut parts, usize::MAX).is_ok()
    {
        assert!(taken <= rest.len());
        assert_eq!(whole, parts);
    }
}

/// Signer: a request as raw HTTP. The toy keyring lets it get past the signature; what is understood is rebuilt, and the
/// rebuilt request means the same.
pub fn binance_request(bytes: &[u8]) {
    let Ok(raw) = raw_http(bytes) else { return };
    let mut request = raw.request();
    let host = Catalog::builtin().unwrap().host_for("binance", &request);
    request.host = host.unwrap_or_default();
    same_again(&request);
}

/// The same at the hosts of futures: forms, and JSON within them.
pub fn futures_request(bytes: &[u8]) {
    at_each(
        bytes,
        &["fapi.binance.com", "dapi.binance.com", "papi.binance.com"],
    );
}

/// The same in Bybit's words.
pub fn bybit_request(bytes: &[u8]) {
    at_each(bytes, &["api.bybit.com"]);
}

/// The same in OKX's words.
pub fn okx_request(bytes: &[u8]) {
    at_each(bytes, &["www.okx.com"]);
}

fn at_each(bytes: &[u8], hosts: &[&'static str]) {
    let Ok(raw) = raw_http(bytes) else { return };
    for host in hosts {
        let mut request = raw.request();
        request.host = host;
        same_again(&request);
    }
}

/// Egress: what an answer of any venue says, to what was asked; and what an event of a stream says. The first two bytes are
/// the endpoint, the third the status; what was asked ends with a zero.
pub fn venue_answer(bytes: &[u8]) {
    let [a, b, status, rest @ ..] = bytes else {
        return;
    };
    let catalog = Catalog::builtin().unwrap();
    let endpoints = u16::try_from(catalog.endpoints().count()).unwrap();
    let endpoint = u16::from_be_bytes([*a, *b]) % endpoints;
    let status = [200, 200, 400, 403, 429, 500][usize::from(status % 6)];
    let mut parts = rest.splitn(2, |byte| *byte == 0);
    let asked = parts.next().unwrap_or_default();
    let answer = parts.next().unwrap_or_default();
    for (target, body) in [(asked, &b""[..]), (b"/", asked)] {
        let asked = Asked { target, body };
        let reports = portcullis_venues::summarize(endpoint, asked, status, answer);
        assert!(reports.iter().all(Report::is_plausible));
    }
    for endpoint in STREAMS.iter().chain([&endpoint]) {
        let reports = portcullis_venues::summarize_event(*endpoint, answer);
        assert!(reports.iter().all(Report::is_plausible));
    }
}

/// Calls that open streams.
static STREAMS: LazyLock<Vec<u16>> = LazyLock::new(|| {
    let catalog = Catalog::builtin().unwrap();
    let opens = |rule| {
        let service = catalog.service_of(rule);
        service.is_some_and(|service| service.dialect.opens_stream(rule))
    };
    let all = catalog.endpoints().filter(|(_, rule)| opens(rule));
    all.map(|(endpoint, _)| endpoint).collect()
});

/// Every room: a frame of a neighbour in an attacker's hands. What decodes, encodes to something that decodes to the same.
pub fn wire_message(bytes: &[u8]) {
    let Some((kind, cbor)) = bytes.split_first() else {
        return;
    };
    fn same<'b, T>(cbor: &'b [u8])
    where
        T: Decode<'b, ()> + Encode<()> + PartialEq + std::fmt::Debug,
    {
        let Ok(message) = wire::message::<T>(cbor) else {
            return;
        };
        let mut out = Vec::new();
        if wire::frame(&mut out, 0, &message).is_ok() {
            let length = u32::from_be_bytes(out[..4].try_into().unwrap());
            assert_eq!(length as usize, out.len() - 4);
        }
    }
    match kind % 20 {
        0 => same::<Request<'_>>(cbor),
        1 => same::<Send<'_>>(cbor),
        2 => same::<Reply<'_>>(cbor),
        3 => same::<Outcome>(cbor),
        4 => same::<AnswerHead<'_>>(cbor),
        5 => same::<AnswerChunk<'_>>(cbor),
        6 => same::<AnswerAborted>(cbor),
        7 => same::<Hosts>(cbor),
        8 => same::<Hello>(cbor),
        9 => same::<Discard>(cbor),
        10 => same::<Discarded>(cbor),
        11 => same::<Window>(cbor),
        12 => same::<Close>(cbor),
        13 => same::<Credit>(cbor),
        14 => same::<Gone>(cbor),
        15 => same::<Orphans>(cbor),
        16 => same::<Told>(cbor),
        17 => same::<Push<'_>>(cbor),
        18 => same::<StreamEnded>(cbor),
        _ => same::<Leave>(cbor),
    }
}

/// Signer and verifier: an entry from the disk. What decodes encodes to the same bytes, so that no two texts have one
/// meaning.
pub fn log_entry(bytes: &[u8]) {
    let Ok(entry) = Entry::decode_whole(bytes) else {
        return;
    };
    assert_eq!(entry.encode_whole().unwrap(), bytes);
    let _ = Body::from_entry(&entry);
    let _ = entry.leaf(EntryId(7), &[3; 32]);
}

/// Signer and verifier: frames of a segment.
pub fn log_segment(bytes: &[u8]) {
    let mut at = 0;
    let mut index = EntryId(0);
    while let segment::Frame::Entry {
        bytes: entry,
        length,
    } = segment::read_frame(&bytes[at..], index)
    {
        assert!(length > entry.len());
        at += length;
        index = EntryId(index.0 + 1);
    }
    let _ = segment::has_later_frame(&bytes[at..], index);
}

/// Verifier: a signed checkpoint, and a verifier key.
pub fn checkpoint(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Some(verifier) = Verifier::parse(text) {
        assert_eq!(
            Verifier::parse(&verifier.text()).map(|v| v.text()),
            Some(verifier.text())
        );
    }
    let (key, note) = text.split_once('\0').unwrap_or((KEY, text));
    if let Some(verifier) = Verifier::parse(key) {
        let _ = Checkpoint::open(note, &verifier);
    }
}

/// A verifier key that some notes of the corpus name.
const KEY: &str = "example.com/log+4ea5ee0a+AQECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g";

/// Signer and command line: a mandate file.
pub fn mandates(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(mandates) = Mandates::parse(text)
    {
        let _ = mandates.firm.market(&MarketId {
            symbol: "BTCUSDT".into(),
            kind: MarketKind::Spot,
            venue: FIRST_VENUE,
        });
    }
}

/// Signer: what a site adds to a catalog.
pub fn catalog(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = Catalog::load(
            portcullis_venues::catalog::FILES,
            &[("catalog.d/fuzz.toml", text)],
        );
    }
}

/// Signer: an operator's command, and the command line: its answer. What is read is written and read the same.
pub fn command(bytes: &[u8]) {
    if let Ok(command) = serde_json::from_slice::<Command>(bytes) {
        let text = serde_json::to_string(&command).unwrap();
        let again: Command = serde_json::from_str(&text).unwrap();
        assert_eq!(serde_json::to_string(&again).unwrap(), text);
    }
    if let Ok(answer) = serde_json::from_slice::<Answer>(bytes) {
        let _ = serde_json::to_string(&answer).unwrap();
    }
}

/// The key that the toy exchange knows, and its secret.
const TOY: (&str, &str) = (
    "toytoytoytoytoytoytoytoytoytoytoytoytoytoytoytoytoytoytoytoytoyt",
    "no secret of anybody",
);
/// The time at the toy exchange, in milliseconds.
const TOY_NOW_MS: u64 = 1_790_000_000_000;

static TOY_KEYS: LazyLock<Keys> = LazyLock::new(|| {
    let mut keys = Keys::default();
    keys.add(TOY.0, Key::new(0, 0, "all", Material::hmac(TOY.1)));
    keys
});

fn toy_signature(message: &[u8]) -> [u8; 32] {
    let key = hmac::Key::new(hmac::HMAC_SHA256, TOY.1.as_bytes());
    hmac::sign(&key, message).as_ref().try_into().unwrap()
}

/// Signer, against a strict exchange that parses on its own: where both understand a request, they understand the same;
/// and the request that the gate would send means that to the exchange too. The toy key signs what was given, so that
/// both get past the signature.
pub fn strict_exchange(bytes: &[u8]) {
    let venue = Catalog::builtin().unwrap();
    let Ok(raw) = raw_http(bytes) else { return };
    let toy =
        |name: &str, value: &'static [u8], sent: &[(String, Vec<u8>)]| -> Vec<(String, Vec<u8>)> {
            let with = |(key, old): &(String, Vec<u8>)| {
                let is_it = key.eq_ignore_ascii_case(name);
                (
                    key.clone(),
                    if is_it { value.to_vec() } else { old.clone() },
                )
            };
            sent.iter().map(with).collect()
        };
    let sent: Vec<(String, Vec<u8>)> = raw
        .headers
        .iter()
        .map(|header| (header.name.to_owned(), header.value.to_vec()))
        .collect();
    let sent = toy("x-mbx-apikey", TOY.0.as_bytes(), &sent);
    let headers: Vec<(&str, &[u8])> = sent
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_slice()))
        .collect();
    let Ok(read) = strict::read(raw.method, raw.target, &headers, raw.body) else {
        return;
    };
    // The signature's own text, wherever it stands, becomes the toy key's.
    let tag = portcullis_sim::keys::hex(&toy_signature(&read.payload));
    let signed = |text: &[u8]| -> Vec<u8> {
        let pieces = text.split(|byte| *byte == b'&').map(|piece| {
            let is_it = piece.starts_with(b"signature=");
            if is_it {
                format!("signature={tag}").into_bytes()
            } else {
                piece.to_vec()
            }
        });
        pieces.collect::<Vec<_>>().join(&b'&')
    };
    let target = match raw.target.iter().position(|byte| *byte == b'?') {
        Some(at) => [&raw.target[..=at], &signed(&raw.target[at + 1..])].concat(),
        None => raw.target.to_vec(),
    };
    let body = signed(raw.body);
    let borrowed: Vec<Header<'_>> = sent
        .iter()
        .map(|(name, value)| Header {
            name,
            value: value.as_slice().into(),
        })
        .collect();
    let request = RawRequest {
        method: raw.method,
        host: "api.binance.com",
        target: &target,
        headers: &borrowed,
        body: &body,
    };
    let Ok(presented) = venue.present(&request) else {
        return;
    };
    if !presented.is_public()
        && presented
            .verify(&VerifyKey::hmac(TOY.1.as_bytes()))
            .is_err()
    {
        return;
    }
    let Ok(actions) = presented.decode(Some("pc-1")) else {
        return;
    };
    let now_us = presented.timestamp_us.unwrap_or(TOY_NOW_MS * 1_000);
    let theirs = strict::check(raw.method, &target, &headers, &body, &TOY_KEYS, now_us);
    let stamp = Stamp {
        venue_time_ms: TOY_NOW_MS,
        receive_window_ms: 1_000,
        at: Timestamp(TOY_NOW_MS * 1_000),
    };
    let unsigned = venue.prepare(&actions, stamp).unwrap();
    let ready = if presented.is_public() {
        unsigned.finish_public().unwrap()
    } else {
        let tag = toy_signature(&unsigned.message("RealKey"));
        unsigned.finish(TOY.0.into(), &Signature::HmacSha256(tag))
    };
    let rebuilt: Vec<(&str, &[u8])> = ready
        .headers
        .iter()
        .map(|(name, value)| (*name, value.as_bytes()))
        .collect();
    let ours = strict::check(
        ready.method,
        ready.target.as_bytes(),
        &rebuilt,
        ready.body.as_bytes(),
        &TOY_KEYS,
        TOY_NOW_MS * 1_000,
    );
    match (theirs, ours) {
        (Ok(theirs), Ok(ours)) => {
            assert_eq!((theirs.method, theirs.path), (ours.method, ours.path));
            let names: BTreeSet<&String> = theirs.params.keys().chain(ours.params.keys()).collect();
            for name in names {
                if ["timestamp", "recvWindow"].contains(&name.as_str()) {
                    continue;
                }
                match (theirs.get(name), ours.get(name)) {
                    (Some(a), Some(b)) => {
                        assert!(means_the_same(a, b), "{name}: `{a}` became `{b}`")
                    }
                    // The gate gives every order an id.
                    (None, Some(b)) => {
                        assert!(
                            name.ends_with("lientOrderId") && b.starts_with("pc-1"),
                            "{name}=`{b}` came from nowhere"
                        );
                    }
                    (a, _) => panic!("{name}={a:?} was lost"),
                }
            }
        }
        (Ok(theirs), Err(why)) => panic!("{theirs:?} became a request that is refused: {why:?}"),
        // What the exchange would refuse may be refused later; never for how the gate wrote it.
        (Err(_), Err(why)) => assert!(
            ![-1022, -1021, -1101, -2014, -2015].contains(&why.code)
                && ![404, 405, 413, 414, 415].contains(&why.status),
            "{why:?}"
        ),
        (Err(_), Ok(_)) => {}
    }
}

/// Numbers by their worth, truths without case.
fn means_the_same(a: &str, b: &str) -> bool {
    let number = |text: &str| decimal::parse(text.trim_end_matches('0').trim_end_matches('.')).ok();
    let is_decimal = |text: &str| text.contains('.');
    let truth = |text: &str| ["true", "false"].contains(&text.to_ascii_lowercase().as_str());
    a == b
        || (truth(b) && a.eq_ignore_ascii_case(b))
        || decimal::parse(a).is_ok_and(|a| decimal::parse(b).is_ok_and(|b| a == b))
        || (is_decimal(a) && number(a).is_some() && number(a) == number(b))
}

/// The simulated exchange: the first line is method and target, the rest a body.
pub fn exchange(bytes: &[u8]) {
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or(bytes);
    let body = bytes.get(line.len() + 1..).unwrap_or_default();
    let Some(space) = line.iter().position(|byte| *byte == b' ') else {
        return;
    };
    let Ok(method) = std::str::from_utf8(&line[..space]) else {
        return;
    };
    let headers = [("x-mbx-apikey", TOY.0.as_bytes())];
    let target = &line[space + 1..];
    let Ok(read) = strict::read(method, target, &headers, body) else {
        return;
    };
    let tag = portcullis_sim::keys::hex(&toy_signature(&read.payload));
    let read = strict::Request {
        signature: Some(tag),
        ..read
    };
    if let Ok(understood) = strict::judge(&read, &TOY_KEYS, TOY_NOW_MS * 1_000) {
        assert!(understood.endpoint().is_some());
    }
}

/// Rooms and `up`: what arrives on the control channel. What decodes encodes to the same meaning.
pub fn control(bytes: &[u8]) {
    let Ok((mut ours, theirs)) = UnixStream::pair() else {
        return;
    };
    let some = bytes.get(..bytes.len().min(60_000)).unwrap_or_default();
    if ours.write_all(some).is_ok() {
        drop(ours);
        if let Ok(mut control) = Control::over(theirs.into()) {
            while let Ok(Received::Message(..)) = control.receive() {}
        }
    }
    if let Ok(message) = serde_json::from_slice::<ToRoom>(bytes) {
        let text = serde_json::to_string(&message).unwrap();
        assert!(serde_json::from_str::<ToRoom>(&text).is_ok());
    }
    if let Ok(message) = serde_json::from_slice::<FromRoom>(bytes) {
        let text = serde_json::to_string(&message).unwrap();
        assert_eq!(serde_json::from_str::<FromRoom>(&text).unwrap(), message);
    }
}

/// Unseal: a sealed file.
pub fn sealed(bytes: &[u8]) {
    thread_local! {
        static OPENERS: Openers = {
            let mut openers = Openers::default();
            let path = std::env::temp_dir().join(format!("portcullis-fuzz-{}", std::process::id()));
            std::fs::write(&path, TOY_IDENTITY).unwrap();
            openers.file(&path, None).unwrap();
            std::fs::remove_file(&path).unwrap();
            openers
        };
    }
    let _ = OPENERS.with(|openers| openers.open(bytes));
}

/// An identity that seals nothing but the corpus.
pub const TOY_IDENTITY: &str =
    "AGE-SECRET-KEY-1QURSWPC8QURSWPC8QURSWPC8QURSWPC8QURSWPC8QURSWPC8QURSKMP32K";

/// Signer: what unseal writes to its pipe. What is read was whole: written again it is what came, up to the end mark.
pub fn secrets(bytes: &[u8]) {
    let Ok(read) = portcullis_signer::secrets::read(&mut &bytes[..]) else {
        return;
    };
    let mut again = Vec::new();
    for secret in &read {
        again.extend(u16::try_from(secret.name.len()).unwrap().to_be_bytes());
        again.extend(secret.name.as_bytes());
        again.extend(u32::try_from(secret.bytes.len()).unwrap().to_be_bytes());
        again.extend(secret.bytes.iter());
    }
    again.extend([0, 0]);
    assert!(bytes.starts_with(&again));
}

fn toy_roster() -> Roster {
    let name = |text: &str| Name::new(text).unwrap();
    let account = |id: u64, of: &str, venue: &str| Account {
        id: AccountId(id),
        name: name(of),
        venue: name(venue),
    };
    let strategy = |id: u64, of: &str, desk: Option<&str>, accounts: &[u64]| Strategy {
        id: StrategyId(id),
        name: name(of),
        desk: desk.map(name),
        accounts: accounts.iter().map(|id| AccountId(*id)).collect(),
    };
    Roster {
        site: Some(name("site")),
        accounts: vec![account(1, "main", "binance"), account(2, "other", "okx")],
        strategies: vec![
            strategy(3, "mm", Some("desk-a"), &[1]),
            strategy(4, "arb", None, &[1, 2]),
        ],
        desks: Vec::new(),
        venues: Vec::new(),
        markets: Vec::new(),
        destinations: vec!["cold".to_owned()],
    }
}

/// Signer and command line: a policy text. One that passes the check compiles or is refused whole; and what was compiled
/// decides as full Cedar does, whoever asks for what.
pub fn policy(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let Ok(rules) = portcullis_authority::check(text) else {
        return;
    };
    let roster = toy_roster();
    let Ok(table) = portcullis_authority::compile(&rules, &roster) else {
        return;
    };
    let oracle = Oracle::new(rules, roster.clone()).unwrap();
    let text = |text: &str| Some(text.to_owned());
    let much = OwnedFacts {
        source: [10, 0, 0, 5].into(),
        minute_of_day: 1_439,
        weekday: 7,
        observe: true,
        market: text("BTCUSDT"),
        market_kind: Some(MarketKind::Margin),
        side: Some(Side::Sell),
        order_type: Some(OrderType::Market),
        time_in_force: Some(TimeInForce::Fok),
        value: Some(i64::MAX),
        reduces: Some(true),
        post_only: Some(true),
        borrows: Some(true),
        reads: Some(ReadOf::Balances),
        asset: text("USDT"),
        to_asset: text("BTC"),
        from: text("spot"),
        destination: text("cold"),
        address: text("0xabc"),
        network: text("ETH"),
        setting: text("5"),
        approvals: Some(2),
    };
    let little = OwnedFacts {
        source: std::net::Ipv6Addr::LOCALHOST.into(),
        minute_of_day: 0,
        weekday: 1,
        observe: false,
        market: text("币安人生USDT"),
        market_kind: Some(MarketKind::Spot),
        side: Some(Side::Buy),
        order_type: Some(OrderType::Limit),
        time_in_force: None,
        value: Some(0),
        reduces: Some(false),
        post_only: Some(false),
        borrows: Some(false),
        reads: Some(ReadOf::Orders),
        asset: None,
        to_asset: None,
        from: None,
        destination: None,
        address: None,
        network: None,
        setting: None,
        approvals: Some(0),
    };
    for strategy in &roster.strategies {
        for account in &roster.accounts {
            for kind in ActionKind::ALL {
                for facts in [&much, &little] {
                    let question = Question {
                        strategy: strategy.id,
                        account: account.id,
                        kind,
                        facts: facts.clone(),
                    };
                    oracle.compare(&table, &question).unwrap();
                }
            }
        }
    }
}
