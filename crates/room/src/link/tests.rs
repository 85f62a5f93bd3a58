use std::io::{Read, Write};

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// A link, what its neighbour writes with, and what it reads with.
fn link() -> (Link, io::PipeWriter, io::PipeReader) {
    let (from, theirs_out) = io::pipe().unwrap();
    let (theirs_in, to) = io::pipe().unwrap();
    (
        Link::new(from.into(), to.into()).unwrap(),
        theirs_out,
        theirs_in,
    )
}

fn frame(kind: u8, cbor: &[u8]) -> Vec<u8> {
    let length = u32::try_from(cbor.len() + 1).unwrap();
    [&length.to_be_bytes()[..], &[kind], cbor].concat()
}

fn taken(link: &mut Link) -> Result<Vec<(u8, Vec<u8>)>, BadFrame> {
    let mut frames = Vec::new();
    while let Some((kind, cbor)) = link.next()? {
        frames.push((kind, cbor.to_vec()));
    }
    Ok(frames)
}

#[test]
fn a_frame_is_as_long_as_the_rooms_words_say() {
    assert_eq!(FRAME_BYTES_MAX, portcullis_model::wire::FRAME_BYTES_MAX);
}

#[test]
fn the_longest_frame_passes_and_a_longer_one_does_not() {
    let (mut link, mut peer, _keep) = link();
    let long = frame(7, &vec![9; FRAME_BYTES_MAX - 1]);
    let writer = std::thread::spawn(move || {
        for _ in 0..9 {
            peer.write_all(&long).unwrap();
        }
        peer.write_all(&[0, 1, 0, 1]).unwrap();
        peer
    });
    let mut count = 0;
    let bad = loop {
        assert!(link.receive().unwrap());
        match link.next() {
            Ok(Some((7, cbor))) => {
                assert_eq!(cbor.len(), FRAME_BYTES_MAX - 1);
                count += 1;
            }
            Ok(Some(_)) => panic!("another kind"),
            Ok(None) => std::thread::yield_now(),
            Err(bad) => break bad,
        }
    };
    assert_eq!((count, bad.length), (9, 65_537));
    writer.join().unwrap();
}

#[test]
fn an_empty_frame_is_none() {
    let (mut link, mut peer, _keep) = link();
    peer.write_all(&[0, 0, 0, 0]).unwrap();
    assert!(link.receive().unwrap());
    assert_eq!(link.next(), Err(BadFrame { length: 0 }));
}

#[test]
fn frames_before_the_end_are_still_taken() {
    let (mut link, mut peer, _keep) = link();
    peer.write_all(&frame(1, b"last words")).unwrap();
    peer.write_all(&frame(2, b"cut off")[..6]).unwrap();
    drop(peer);
    assert!(link.receive().unwrap());
    assert!(!link.receive().unwrap());
    assert_eq!(taken(&mut link).unwrap(), [(1, b"last words".to_vec())]);
    assert!(!link.receive().unwrap());
}

#[test]
fn what_does_not_fit_waits_and_arrives_in_order() {
    let (mut link, _keep, mut peer) = link();
    let mut sent = Vec::new();
    for number in 0..60u32 {
        let one = frame(3, &number.to_be_bytes().repeat(2_000));
        link.out().extend_from_slice(&one);
        sent.extend_from_slice(&one);
        link.flush().unwrap();
    }
    assert!(!link.flush().unwrap());
    assert!(link.output.waiting() > 0);
    let mut got = Vec::new();
    let mut buffer = [0; 10_000];
    while got.len() < sent.len() {
        let count = peer.read(&mut buffer).unwrap();
        got.extend_from_slice(&buffer[..count]);
        link.flush().unwrap();
    }
    assert!(link.flush().unwrap());
    assert!(got == sent);
}

#[test]
fn a_neighbour_that_does_not_read_is_an_error_and_so_is_one_that_is_gone() {
    let (mut link, _keep, peer) = link();
    link.out().resize(LINK_BYTES_MAX, 0);
    assert!(!link.flush().unwrap());
    link.out().resize(LINK_BYTES_MAX + (1 << 20), 0);
    assert_eq!(link.flush().unwrap_err().kind(), io::ErrorKind::Other);
    drop(peer);
    assert_eq!(link.flush().unwrap_err().kind(), io::ErrorKind::BrokenPipe);
}

#[test]
fn a_large_buffer_is_given_back() {
    let (mut link, _keep, mut peer) = link();
    let size = 8 << 20;
    link.out().resize(size, 1);
    let reader = std::thread::spawn(move || {
        let mut all = vec![0; size];
        peer.read_exact(&mut all).unwrap();
    });
    while !link.flush().unwrap() {
        std::thread::yield_now();
    }
    reader.join().unwrap();
    assert!(link.out().capacity() <= OUTPUT_BYTES_KEPT);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Wherever the bytes are cut, the same frames arrive.
    #[test]
    fn cuts_do_not_matter(
        frames in vec((any::<u8>(), vec(any::<u8>(), 0..3_000)), 1..12),
        cuts in vec(1usize..4_000, 1..40),
    ) {
        let (mut link, mut peer, _keep) = link();
        let bytes: Vec<u8> = frames.iter().flat_map(|(kind, cbor)| frame(*kind, cbor)).collect();
        let mut got = Vec::new();
        let mut rest = &bytes[..];
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (now, later) = rest.split_at((*cut).min(rest.len()));
            peer.write_all(now).unwrap();
            rest = later;
            prop_assert!(link.receive().unwrap());
            // Not every turn takes all there is.
            if cut % 3 != 0 {
                got.extend(taken(&mut link).unwrap());
            }
        }
        got.extend(taken(&mut link).unwrap());
        prop_assert_eq!(got, frames);
    }

    /// Garbage is frames or an error, never more: no panic, and nothing that was not sent.
    #[test]
    fn garbage_is_refused(garbage in vec(any::<u8>(), 0..60_000)) {
        let (mut link, mut peer, _keep) = link();
        peer.write_all(&garbage).unwrap();
        prop_assert!(link.receive().unwrap());
        if let Ok(frames) = taken(&mut link) {
            prop_assert!(frames.iter().map(|(_, cbor)| cbor.len() + 5).sum::<usize>() <= garbage.len());
        }
    }
}
