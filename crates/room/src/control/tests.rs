use std::io::{Read, Write};

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const SOON: Duration = Duration::from_secs(5);

fn pair() -> (UpControl, Control) {
    let (up, room) = UpControl::pair().unwrap();
    (up, Control::over(room).unwrap())
}

/// The room's end, and the naked other one.
fn naked() -> (UnixStream, Control) {
    let (up, room) = UnixStream::pair().unwrap();
    (up, Control::over(room.into()).unwrap())
}

fn message<M: std::fmt::Debug>(received: Result<Received<M>, ControlError>) -> (M, Descriptors) {
    match received {
        Ok(Received::Message(message, fds)) => (message, fds),
        other => panic!("no message: {other:?}"),
    }
}

#[test]
fn messages_look_as_the_contract_says() {
    let check = |message: &ToRoom, fds: &[&str], json: &str| {
        let names = fds.iter().map(|name| (*name).to_owned()).collect();
        let frame = encode(message, names).unwrap();
        // The order of names says nothing.
        let value = |text: &[u8]| serde_json::from_slice::<serde_json::Value>(text).unwrap();
        assert_eq!(value(&frame[4..]), value(json.as_bytes()));
        let back: Envelope<ToRoom> = serde_json::from_str(json).unwrap();
        assert_eq!(&back.message, message);
    };
    check(
        &ToRoom::start(&SignerSettings {
            site: "fund-1".to_owned(),
            operators: vec![OperatorSettings {
                uid: 0,
                name: "root".into(),
            }],
        })
        .unwrap(),
        &["operator"],
        r#"{"to":"start","settings":{"operators":[{"name":"root","uid":0}],"site":"fund-1"},"fds":["operator"]}"#,
    );
    check(
        &ToRoom::Link {
            peer: Peer::Signer,
            epoch: 7,
        },
        &["from", "to"],
        r#"{"to":"link","peer":"signer","epoch":7,"fds":["from","to"]}"#,
    );
    check(
        &ToRoom::Addresses {
            address: "api.binance.com:443".into(),
            found: vec!["1.2.3.4:443".parse().unwrap()],
        },
        &[],
        r#"{"to":"addresses","address":"api.binance.com:443","found":["1.2.3.4:443"]}"#,
    );
    check(&ToRoom::Stop, &[], r#"{"to":"stop"}"#);
    let (mut up, mut room) = pair();
    room.send(&FromRoom::Stopped {
        ok: false,
        why: Some("disk full".into()),
    })
    .unwrap();
    assert!(matches!(
        message(up.receive()),
        (FromRoom::Stopped { ok: false, why: Some(why) }, _) if why == "disk full"
    ));
}

#[test]
fn descriptors_arrive_by_name_and_in_order() {
    let (up, mut room) = pair();
    let (reader, mut writer) = io::pipe().unwrap();
    let (other, _keep) = io::pipe().unwrap();
    for _ in 0..3 {
        up.send(
            &ToRoom::Secrets,
            &[
                ("listener:0", other.as_fd()),
                ("secrets", reader.as_fd()),
                ("listener:1", other.as_fd()),
            ],
            SOON,
        )
        .unwrap();
    }
    up.send(&ToRoom::Stop, &[], SOON).unwrap();
    writer.write_all(b"123").unwrap();
    for expected in b"123" {
        let (_, mut fds) = message(room.receive());
        assert_eq!(fds.len(), 3);
        let mut pipe = io::PipeReader::from(fds.take("secrets").unwrap());
        let mut byte = [0];
        pipe.read_exact(&mut byte).unwrap();
        assert_eq!(byte[0], *expected);
        assert_eq!(fds.take_numbered("listener").len(), 2);
        assert!(fds.is_empty() && fds.take("secrets").is_none());
    }
    assert_eq!(message(room.receive()).0, ToRoom::Stop);
    drop(up);
    assert!(matches!(room.receive(), Ok(Received::Closed)));
}

#[test]
fn a_large_message_goes_in_parts_and_a_larger_one_not_at_all() {
    let (up, mut room) = pair();
    let text = |length| ToRoom::Start {
        settings: serde_json::Value::String("x".repeat(length)),
    };
    assert!(matches!(
        up.send(&text(CONTROL_BYTES_MAX), &[], SOON),
        Err(ControlError::TooLong(_))
    ));
    let large = text(CONTROL_BYTES_MAX - 100);
    let (pipe, _keep) = io::pipe().unwrap();
    let sender = up.sender();
    let sent = large.clone();
    let thread = std::thread::spawn(move || sender.send(&sent, &[("from", pipe.as_fd())], SOON));
    let (got, mut fds) = message(room.receive_within(SOON));
    assert!(got == large && fds.take("from").is_some());
    thread.join().unwrap().unwrap();
}

#[test]
fn a_room_that_does_not_read_is_told_apart_and_the_channel_stays_shut() {
    let (up, _room) = pair();
    let large = ToRoom::Start {
        settings: serde_json::Value::String("x".repeat(CONTROL_BYTES_MAX - 100)),
    };
    let patience = Duration::from_millis(20);
    assert!(matches!(
        up.send(&large, &[], patience),
        Err(ControlError::TooSlow)
    ));
    assert!(matches!(
        up.send(&ToRoom::Stop, &[], patience),
        Err(ControlError::Closed)
    ));
}

#[test]
fn an_up_that_does_not_read_costs_a_room_a_bounded_heap() {
    let (up, mut room) = pair();
    let page = FromRoom::Metrics {
        token: 1,
        text: "x".repeat(1_000_000),
    };
    let sent = (0..10).take_while(|_| room.send(&page).is_ok()).count();
    assert!((4..=5).contains(&sent), "{sent}");
    drop(up);
    assert!(matches!(room.flush(), Err(ControlError::Closed)));
}

#[test]
fn what_is_no_message_ends_the_channel() {
    let check = |bytes: &[u8], expected: fn(&ControlError) -> bool| {
        let (mut peer, mut room) = naked();
        peer.write_all(bytes).unwrap();
        let error = room.receive().unwrap_err();
        assert!(expected(&error), "{error}");
    };
    check(&[0, 16, 0, 1], |e| {
        matches!(e, ControlError::TooLong(1_048_577))
    });
    check(b"\0\0\0\x02{}", |e| matches!(e, ControlError::Malformed(_)));
    check(b"\0\0\0\0", |e| matches!(e, ControlError::Malformed(_)));
    check(b"\0\0\0\x0d{\"to\":\"fly\"} ", |e| {
        matches!(e, ControlError::Malformed(_))
    });
    check(
        b"\0\0\0\x1f{\"to\":\"secrets\",\"fds\":[\"secrets\"]}"[..35].as_ref(),
        |e| {
            matches!(
                e,
                ControlError::WrongDescriptors | ControlError::Malformed(_)
            )
        },
    );
    let json = br#"{"to":"secrets","fds":["secrets"]}"#;
    check(&[&[0, 0, 0, 34][..], json].concat(), |e| {
        matches!(e, ControlError::WrongDescriptors)
    });
}

#[test]
fn a_rooms_descriptors_are_dropped_and_a_flood_of_them_ends_a_rooms_channel() {
    let (mut up, room) = UpControl::pair().unwrap();
    let (reader, mut writer) = io::pipe().unwrap();
    let frame = encode(
        &FromRoom::Stopped {
            ok: true,
            why: None,
        },
        Vec::new(),
    )
    .unwrap();
    socket::send(room.as_fd(), &frame, &[reader.as_raw_fd()]).unwrap();
    drop(reader);
    let (_, fds) = message(up.receive());
    assert!(fds.is_empty());
    // Nobody has the reading end any more.
    assert_eq!(
        writer.write(b"x").unwrap_err().kind(),
        io::ErrorKind::BrokenPipe
    );

    let (peer, mut room) = naked();
    let (reader, _writer) = io::pipe().unwrap();
    for _ in 0..3 {
        socket::send(
            peer.as_fd(),
            &[0, 0, 1, 0],
            &[reader.as_raw_fd(); DESCRIPTORS_MAX],
        )
        .unwrap();
    }
    assert!(matches!(
        room.receive(),
        Err(ControlError::WrongDescriptors)
    ));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn cuts_do_not_matter(texts in vec(".{0,300}", 1..10), cuts in vec(1usize..500, 1..20)) {
        let (mut peer, mut room) = naked();
        let messages: Vec<ToRoom> = texts
            .into_iter()
            .map(|address| ToRoom::Addresses { address, found: Vec::new() })
            .collect();
        let bytes: Vec<u8> = messages
            .iter()
            .flat_map(|message| encode(message, Vec::new()).unwrap())
            .collect();
        let (mut rest, mut got) = (&bytes[..], Vec::new());
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (now, later) = rest.split_at((*cut).min(rest.len()));
            peer.write_all(now).unwrap();
            rest = later;
            while let Received::Message(message, _) = room.receive().unwrap() {
                got.push(message);
            }
        }
        prop_assert_eq!(got, messages);
    }

    #[test]
    fn garbage_never_panics(garbage in vec(any::<u8>(), 0..3_000), length in 0u32..3_000) {
        let (mut peer, mut room) = naked();
        peer.write_all(&length.to_be_bytes()).unwrap();
        peer.write_all(&garbage).unwrap();
        drop(peer);
        while let Ok(Received::Message(..)) = room.receive() {}
    }
}
