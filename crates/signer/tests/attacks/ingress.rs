//! A3: code execution in `ingress`. It gets programs' requests as they sign them, and hands the signer what it likes.

use crate::common::{MANDATES, write_frame};
use crate::egress::price;
use crate::gate::{Asked, Credential, DUTIES, Event, Fate, Gate, frame_of, now_us, request_of};
use crate::lies::resident_kib;
use crate::table::row;
use crate::world::{self, Books, Effect};
use portcullis_model::entry::{Body, What};
use portcullis_model::id::{EntryId, RequestId};
use portcullis_model::wire::{Credit, FRAME_BYTES_MAX, Lane, kind};
use portcullis_signer::log_file::{self, LogError};
use portcullis_venues::Catalog;
use std::collections::BTreeMap;
use std::io::Write;
use std::time::{Duration, Instant};

/// What is no frame of a neighbour, each a reason to cut it off.
pub fn garbage() -> Vec<Vec<u8>> {
    let mut all = vec![
        vec![0; 64],
        vec![0xff; 64],
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        u32::try_from(FRAME_BYTES_MAX + 1)
            .unwrap()
            .to_be_bytes()
            .to_vec(),
        // The right length, and no such kind.
        [&2u32.to_be_bytes()[..], &[0xee, 0xf6]].concat(),
        // A request, an outcome, a greeting of nothing.
        [&2u32.to_be_bytes()[..], &[kind::REQUEST, 0x80]].concat(),
        [&2u32.to_be_bytes()[..], &[kind::OUTCOME, 0x80]].concat(),
        [&2u32.to_be_bytes()[..], &[kind::HELLO, 0x80]].concat(),
        // A list of 2^63 things.
        [
            &10u32.to_be_bytes()[..],
            &[
                kind::REQUEST,
                0x9b,
                0x7f,
                0xff,
                0xff,
                0xff,
                0xff,
                0xff,
                0xff,
                0xff,
            ],
        ]
        .concat(),
    ];
    // Nested a thousand deep.
    let mut deep = 1_001u32.to_be_bytes().to_vec();
    deep.push(kind::REQUEST);
    deep.extend([0x81; 1_000]);
    all.push(deep);
    all
}

/// Every entry of the site's log, once its signer has ended.
fn log_of(folder: &std::path::Path) -> Vec<Body> {
    let folder = folder.join("log");
    let verifier = log_file::verifier(&folder).unwrap().unwrap();
    let mut entries = Vec::new();
    log_file::check::<LogError>(&folder, verifier, None, |_, entry| {
        entries.push(Body::from_entry(&entry).unwrap());
        Ok(())
    })
    .unwrap();
    entries
}

#[test]
fn requests_under_every_method_and_path() {
    let mut venue = world::venue(now_us(), u64::MAX / 4);
    let price = price(&venue);
    let mandates = MANDATES
        .replace("turnover_1d = \"unlimited\"", "turnover_1d = \"20000\"")
        .replace("open_orders = \"100000\"", "open_orders = \"50\"");
    let mut gate = Gate::start(&venue, &DUTIES, &mandates, 2);
    let program = gate.credentials[0].clone();
    gate.until_priced(&mut venue);
    let (lo, hi) = ((price * 0.97) as u64, (price * 1.03) as u64);
    for client in ["t1", "t2", "t3"] {
        let fields = format!(
            "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.01&price={}&newClientOrderId={client}",
            (price * 0.9) as u64
        );
        let signed = gate
            .ask(
                &request_of(&program, "POST", "/api/v3/order", &fields),
                &mut venue,
            )
            .signed();
        assert_eq!(gate.honest(&signed, &mut venue).0, 200);
    }
    let before = Books::of(&venue);
    let asked = [
        (
            "POST",
            format!("symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.01&price={lo}"),
        ),
        (
            "POST",
            "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.01".to_owned(),
        ),
        (
            "POST",
            format!(
                "symbol=BTCUSDT&side=SELL&quantity=0.01&aboveType=LIMIT_MAKER&abovePrice={hi}&belowType=STOP_LOSS&belowStopPrice={lo}"
            ),
        ),
        ("DELETE", "symbol=BTCUSDT&origClientOrderId=t1".to_owned()),
        ("GET", "symbol=BTCUSDT".to_owned()),
        ("GET", String::new()),
        ("GET", "coin=USDT&network=ETH".to_owned()),
        ("GET", "asset=USDT&amount=5&type=MAIN_FUNDING".to_owned()),
    ];
    let catalog = Catalog::builtin().unwrap();
    let mut became: BTreeMap<String, usize> = BTreeMap::new();
    let (mut tried, mut signed_for) = (0, Vec::new());
    for (method, fields) in &asked {
        for (_, endpoint) in catalog.endpoints() {
            let (other, path) = (endpoint.method.name(), &endpoint.path);
            // The program signed this once; ingress writes another line, and splits it as that wants.
            let mut request = request_of(&program, method, "/api/v3/order", fields);
            let text = if request.body.is_empty() {
                String::from_utf8(request.target.clone())
                    .unwrap()
                    .split_once('?')
                    .unwrap()
                    .1
                    .to_owned()
            } else {
                String::from_utf8(request.body.clone()).unwrap()
            };
            request.method = other.to_owned();
            let in_body = matches!(other, "POST" | "PUT");
            request.target = if in_body {
                path.clone()
            } else {
                format!("{path}?{text}")
            }
            .into_bytes();
            request.body = if in_body {
                text.into_bytes()
            } else {
                Vec::new()
            };
            request.headers.truncate(1);
            if in_body {
                request.headers.push((
                    "content-type".to_owned(),
                    b"application/x-www-form-urlencoded".to_vec(),
                ));
            }
            tried += 1;
            match gate.ask(&request, &mut venue) {
                Fate::Signed(signed) => {
                    assert_eq!(
                        (signed.method.as_str(), signed.path()),
                        (other, path.clone())
                    );
                    *became.entry(endpoint.name()).or_default() += 1;
                    if let Some(key) = signed.key() {
                        let duty = format!("{:?}", endpoint.action.duty()).to_lowercase();
                        assert_eq!(gate.keys[&duty], key, "{}", endpoint.name());
                        assert!(
                            matches!(duty.as_str(), "read" | "trade"),
                            "{}",
                            endpoint.name()
                        );
                        signed_for.push((signed.entry.expect("recorded"), endpoint.name()));
                    }
                    gate.honest(&signed, &mut venue);
                }
                Fate::Refused { .. } => {}
                Fate::Silent => panic!("no word about {}", endpoint.name()),
            }
        }
    }
    let effects = before.changes(&Books::of(&venue));
    assert_eq!(effects, [Effect::Trading]);
    gate.told_nobody();
    let folder = gate.folder;
    gate.program.stop();
    let entries = log_of(&folder.0);
    // Recorded as what it became, and no more than the mandate.
    let mut turnover = 0i128;
    for body in &entries {
        for effect in &body.private.effects {
            if let portcullis_model::state::Effect::Spent {
                turnover: spent, ..
            } = effect
            {
                turnover += spent.0;
            }
        }
    }
    for (EntryId(entry), endpoint) in &signed_for {
        let body = &entries[usize::try_from(*entry).unwrap()];
        assert_eq!(body.what, What::Approved);
        assert_eq!(body.public.endpoint.as_deref(), Some(endpoint.as_str()));
    }
    assert!(turnover > 0 && turnover <= 20_000 * 1_000_000, "{turnover}");
    let kinds: Vec<&String> = became
        .keys()
        .filter(|name| !name.starts_with("GET"))
        .collect();
    row(
        "A3",
        &format!(
            "{} programs' requests under every method and path of the catalog",
            asked.len()
        ),
        tried,
        &format!(
            "{} passed, each within the mandate and recorded as what it became (beside reads: {kinds:?}); {} of 20000 turnover signed; \
             nothing moved value",
            signed_for.len(),
            turnover / 1_000_000
        ),
    );
}

fn market_order(credential: &Credential, client: &str) -> Asked {
    let fields =
        format!("symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.001&newClientOrderId={client}");
    request_of(credential, "POST", "/api/v3/order", &fields)
}

#[test]
fn repeats_other_sources_other_runs_and_rewritten_bytes() {
    let mut venue = world::venue(now_us(), u64::MAX / 4);
    let mut gate = Gate::start(&venue, &DUTIES, MANDATES, 2);
    let program = gate.credentials[0].clone();
    gate.until_priced(&mut venue);

    // The same statement, dressed differently.
    let order = market_order(&program, "once");
    let mut times = 0;
    for n in 0..200u64 {
        let mut again = order.clone();
        again.connection = n;
        again.host = ["api.binance.com", "api4.binance.com"][(n % 2) as usize];
        if n % 3 == 1 {
            let text = String::from_utf8(again.body.clone()).unwrap();
            let (fields, signature) = text.rsplit_once("&signature=").unwrap();
            again.body = format!("{fields}&signature={}", signature.to_uppercase()).into_bytes();
        }
        if n % 3 == 2 {
            let text = String::from_utf8(std::mem::take(&mut again.body)).unwrap();
            again.target = format!("/api/v3/order?{text}").into_bytes();
        }
        if n % 5 == 4 {
            again.headers.reverse();
        }
        if let Fate::Signed(signed) = gate.ask(&again, &mut venue) {
            times += 1;
            gate.honest(&signed, &mut venue);
        }
    }
    assert_eq!(times, 1);
    row(
        "A3",
        "one order repeated, with another connection, host, split, letter case",
        200,
        "signed once",
    );

    // Bytes that the program signed.
    let mut passed = 0;
    let order = market_order(&program, "rewritten");
    for place in 0..order.body.len() {
        let mut other = order.clone();
        other.body[place] ^= 1;
        passed += usize::from(gate.ask(&other, &mut venue).is_signed());
    }
    let text = String::from_utf8(order.body.clone()).unwrap();
    let mut cuts = 0;
    for place in 0..text.len() {
        let mut other = order.clone();
        let (query, body) = text.split_at(place);
        other.target = format!("/api/v3/order?{query}").into_bytes();
        other.body = body.as_bytes().to_vec();
        if let Fate::Signed(signed) = gate.ask(&other, &mut venue) {
            cuts += 1;
            assert_eq!(
                signed.field("quantity").as_deref(),
                Some("0.001"),
                "cut at {place}"
            );
            assert_eq!(
                signed.field("newClientOrderId").as_deref(),
                Some("rewritten")
            );
            gate.honest(&signed, &mut venue);
        }
    }
    assert_eq!(passed, 0);
    assert!(cuts <= 1, "one statement was signed {cuts} times");
    row(
        "A3",
        "an order with a bit flipped, or cut anywhere into query and body",
        2 * text.len(),
        &format!("nothing flipped passes; signed {cuts} time as what the program signed"),
    );

    // Sources: it can name one that the key may come from, and the log has what it named.
    let mut far = market_order(&program, "far");
    far.source = vec![203, 0, 113, 5];
    assert!(!gate.ask(&far, &mut venue).is_signed());
    for strange in [
        vec![],
        vec![127],
        vec![0; 5],
        vec![0xff; 16],
        vec![127, 0, 0, 1, 0],
    ] {
        far.source = strange;
        assert!(!gate.ask(&far, &mut venue).is_signed());
    }
    let mut near = market_order(&program, "near");
    near.source = vec![127, 0, 0, 9];
    let near = gate.ask(&near, &mut venue).signed();
    gate.honest(&near, &mut venue);

    // Requests of another run of ingress.
    for epoch in [0, gate.epoch - 1, gate.epoch + 1, u32::MAX] {
        let seq = 1_000_000;
        let other = market_order(&program, &format!("epoch{epoch}"));
        let id = RequestId { epoch, seq };
        gate.hand(&other, id);
        let fate = gate.fate(id, &mut venue, Duration::from_millis(200));
        assert!(matches!(fate, Fate::Silent), "{fate:?}");
    }
    // One id for two requests.
    let id = gate.next_id();
    gate.hand(&market_order(&program, "same-id-a"), id);
    gate.hand(&market_order(&program, "same-id-b"), id);
    let mut same = 0;
    while let Fate::Signed(signed) = gate.fate(id, &mut venue, Duration::from_millis(300)) {
        same += 1;
        gate.say(
            &signed,
            portcullis_model::report::Sent::NotSent,
            0,
            Vec::new(),
        );
    }
    assert!(same <= 2);
    // Another program's key over this one's signature, and no signature at all.
    let mut swapped = market_order(&program, "swapped");
    swapped.headers[0].1 = gate.credentials[1].api_key.clone().into_bytes();
    assert!(!gate.ask(&swapped, &mut venue).is_signed());
    let mut twice = market_order(&program, "twice");
    let second = (
        "x-mbx-apikey".to_owned(),
        gate.credentials[1].api_key.clone().into_bytes(),
    );
    twice.headers.push(second);
    assert!(!gate.ask(&twice, &mut venue).is_signed());
    // Held back beyond its own window.
    let mut old = request_of(&program, "GET", "/api/v3/account", "");
    let stamp = now_us() / 1_000 - 5_100;
    let payload = format!("timestamp={stamp}");
    old.target = format!(
        "/api/v3/account?{payload}&signature={}",
        crate::gate::sign(&program, payload.as_bytes())
    )
    .into_bytes();
    assert!(!gate.ask(&old, &mut venue).is_signed());
    gate.told_nobody();
    let folder = gate.folder;
    gate.program.stop();
    let named = log_of(&folder.0).iter().any(|body| {
        body.private
            .source
            .as_ref()
            .is_some_and(|source| source.as_slice() == [127, 0, 0, 9])
    });
    assert!(named);
    row(
        "A3",
        "another source, run, id, key; a request held beyond its window",
        19,
        "a source that the virtual key may come from passes, and is recorded as named; the rest is refused or dropped",
    );
}

/// Hands over many at once, in bundles that the credits allow, and counts what passes.
fn flood(
    gate: &mut Gate,
    venue: &mut portcullis_sim::venue::Venue,
    many: impl Iterator<Item = Asked>,
) -> (usize, usize) {
    let (mut signed, mut refused) = (0, 0);
    let mut many = many.peekable();
    while many.peek().is_some() {
        let mut frames = Vec::new();
        let mut open = 0;
        for asked in many.by_ref().take(500) {
            let id = gate.next_id();
            frames.extend(frame_of(&asked, id));
            open += 1;
        }
        gate.to_signer.write_all(&frames).unwrap();
        while open > 0 {
            match gate
                .event(Duration::from_secs(20))
                .expect("an answer to each")
            {
                Event::Replied { .. } => {
                    refused += 1;
                    open -= 1;
                }
                Event::Signed(one) if one.id.epoch != 0 => {
                    signed += 1;
                    open -= 1;
                    gate.say(&one, portcullis_model::report::Sent::NotSent, 0, Vec::new());
                }
                other => gate.meanwhile(other, venue),
            }
        }
    }
    (signed, refused)
}

#[test]
fn floods() {
    const JUNK: usize = 8_000;
    const REFUSED: usize = 1_500;
    let mut venue = world::venue(now_us(), u64::MAX / 4);
    let mut gate = Gate::start(&venue, &DUTIES, MANDATES, 2);
    let (program, other) = (gate.credentials[0].clone(), gate.credentials[1].clone());
    gate.until_priced(&mut venue);

    // What cannot be verified: unknown keys, wrong signatures, requests that are none.
    let (bytes, entries, memory) = (gate.log_bytes(), gate.entries(), resident_kib(&gate));
    let stranger = Credential {
        api_key: "x".repeat(64),
        secret: "guess".to_owned(),
    };
    let forged = Credential {
        api_key: program.api_key.clone(),
        secret: "guess".to_owned(),
    };
    let begun = Instant::now();
    let junk = (0..JUNK).map(|n| match n % 4 {
        0 => market_order(&stranger, "x"),
        1 => market_order(&forged, "x"),
        2 => {
            let mut long = market_order(&forged, "x");
            long.headers[0].1 = n.to_string().repeat(20).into_bytes();
            long
        }
        _ => Asked {
            target: vec![0xff; n % 300],
            ..market_order(&program, "x")
        },
    });
    let (signed, refused) = flood(&mut gate, &mut venue, junk);
    assert_eq!((signed, refused), (0, JUNK));
    let junk_took = begun.elapsed();
    let junk_bytes = gate.log_bytes() - bytes;
    let junk_entries = gate.entries() - entries;
    // A few for the clock's own (prices, minutes); none for a junk request.
    assert!(
        junk_entries < 60 + 3 * junk_took.as_secs(),
        "{junk_entries} entries"
    );
    row(
        "A3",
        "requests that nobody's key signed",
        JUNK,
        &format!(
            "refused; {junk_entries} entries and {junk_bytes} bytes of log in {:.1} s, none of them one request's",
            junk_took.as_secs_f64()
        ),
    );

    // What a program signed and is refused: one line each, up to a rate.
    let (bytes, entries) = (gate.log_bytes(), gate.entries());
    let begun = Instant::now();
    let many = (0..REFUSED).map(|n| {
        let fields = format!("coin=USDT&address=0xthief{n}&amount=1&network=ETH");
        request_of(&program, "POST", "/sapi/v1/capital/withdraw/apply", &fields)
    });
    let (signed, refused) = flood(&mut gate, &mut venue, many);
    assert_eq!((signed, refused), (0, REFUSED));
    let seconds = begun.elapsed().as_secs() + 1;
    let (bytes, entries) = (gate.log_bytes() - bytes, gate.entries() - entries);
    assert!(
        entries <= 20 * (seconds + 1) + 60,
        "{entries} entries in {seconds} s"
    );
    row(
        "A3 + A2",
        "signed requests that the mandate refuses",
        REFUSED,
        &format!(
            "refused; {entries} entries, {bytes} bytes of log in {seconds} s (20 a second a key, the rest counted)"
        ),
    );

    // More than it has credits for, without waiting, while an operator asks: bounded, and nobody else is slowed.
    let mut frames = Vec::new();
    for n in 0..30_000u64 {
        let id = RequestId {
            epoch: gate.epoch,
            seq: 10_000_000 + n,
        };
        frames.extend(frame_of(&market_order(&forged, "x"), id));
        if n % 10 == 0 {
            let credit = Credit {
                lane: Lane::Order,
                frames: u32::MAX,
            };
            write_frame(&mut frames, kind::CREDIT, &credit);
        }
    }
    let mut pipe = gate.to_signer.try_clone().unwrap();
    let flooding = std::thread::spawn(move || pipe.write_all(&frames).is_ok());
    let mut slowest = Duration::ZERO;
    for _ in 0..10 {
        let begun = Instant::now();
        gate.program.status();
        slowest = slowest.max(begun.elapsed());
    }
    let taken = flooding.join().unwrap();
    while gate.event(Duration::from_millis(300)).is_some() {}
    let now = resident_kib(&gate);
    assert!(slowest < Duration::from_secs(10), "{slowest:?}");
    assert!(
        now < memory + 64 * 1024,
        "{memory} KiB before, {now} KiB after"
    );
    gate.link_ingress();
    let signed = gate
        .ask(&market_order(&other, "after"), &mut venue)
        .signed();
    gate.honest(&signed, &mut venue);
    row(
        "A3",
        "thirty thousand requests at once, whatever the credits",
        30_000,
        &format!(
            "{}; an operator waited {} ms at most meanwhile, {} KiB more memory; the next ingress serves",
            if taken {
                "taken as they came, none signed"
            } else {
                "cut off"
            },
            slowest.as_millis(),
            now.saturating_sub(memory)
        ),
    );

    // Garbage.
    let mut tried = 0;
    for garbage in garbage() {
        tried += 1;
        let _ = gate.to_signer.write_all(&garbage);
        gate.link_ingress();
        let signed = gate
            .ask(&market_order(&other, &format!("g{tried}")), &mut venue)
            .signed();
        gate.honest(&signed, &mut venue);
    }
    gate.told_nobody();
    gate.program.stop();
    row(
        "A3",
        "bytes that are no frames, frames of other rooms, nesting and lengths without end",
        tried,
        "its link is cut; the next ingress serves",
    );
}
