//! What the two sides rely on: no split changes a frame, no bytes cost memory or a panic.

use proptest::collection::vec;
use proptest::prelude::*;

use super::frame::{HEADER, MARKER, header, raw};
use super::{Decoder, Frame, FrameError, Leaving, MAX_CONTROL, MAX_PAYLOAD, VERSION, encode};

fn frames() -> impl Strategy<Value = Frame> {
    prop_oneof![
        (any::<u16>(), any::<u64>())
            .prop_map(|(version, orphan_after_ms)| Frame::Hello { version, orphan_after_ms }),
        any::<u64>().prop_map(|seq| Frame::Heartbeat { seq }),
        (any::<u64>(), any::<u32>()).prop_map(|(seq, processes)| Frame::Beat { seq, processes }),
        Just(Frame::Leaving(Leaving::Orphaned)),
        any::<i32>().prop_map(|number| Frame::Leaving(Leaving::Signal(number))),
        (5_u8..).prop_map(|kind| Frame::Unknown { kind }),
    ]
}

fn decode(
    decoder: &mut Decoder,
    chunks: impl IntoIterator<Item = Vec<u8>>,
) -> Vec<Result<Frame, FrameError>> {
    let mut found = Vec::new();
    for chunk in chunks {
        decoder.feed(&chunk);
        found.extend(decoder.by_ref());
    }
    found
}

/// Cuts `bytes` where `cuts` say, each taken modulo what is left.
fn cut(bytes: &[u8], cuts: &[usize]) -> Vec<Vec<u8>> {
    let mut rest = bytes;
    let mut chunks = Vec::new();
    for at in cuts {
        let (head, tail) = rest.split_at(at % (rest.len() + 1));
        chunks.push(head.to_vec());
        rest = tail;
    }
    chunks.push(rest.to_vec());
    chunks
}

fn headers(lengths: impl Strategy<Value = u32>) -> impl Strategy<Value = Vec<u8>> {
    (any::<u8>(), 0_u32..3, lengths).prop_map(|(kind, stream, length)| header(kind, stream, length).to_vec())
}

/// Garbage that is likely to look like frames: markers, headers and whole frames among random bytes.
fn noise() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        vec(any::<u8>(), 0..40),
        Just(MARKER.to_vec()),
        headers(any::<u32>()),
        headers(0..2 * MAX_PAYLOAD),
        frames().prop_map(|frame| encode(&frame).to_vec()),
    ];
    vec(piece, 0..20).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn what_is_written_is_read_however_it_is_cut(sent in vec(frames(), 0..20), cuts in vec(any::<usize>(), 0..30)) {
        let bytes: Vec<u8> = sent.iter().flat_map(encode).collect();
        let mut decoder = Decoder::new();
        let found = decode(&mut decoder, cut(&bytes, &cuts));
        prop_assert_eq!(found, sent.into_iter().map(Ok).collect::<Vec<_>>());
        prop_assert!(!decoder.is_mid_frame());
    }

    #[test]
    fn garbage_gives_the_same_result_however_it_is_cut(bytes in noise(), cuts in vec(any::<usize>(), 0..30)) {
        let whole = decode(&mut Decoder::new(), [bytes.clone()]);
        prop_assert_eq!(decode(&mut Decoder::new(), cut(&bytes, &cuts)), whole);
    }

    #[test]
    fn memory_is_one_frame_besides_what_was_fed(chunks in vec(noise(), 0..40), resyncs in any::<bool>()) {
        let mut decoder = Decoder::new();
        for chunk in chunks {
            decoder.feed(&chunk);
            while let Some(result) = decoder.next() {
                if result.is_err() && resyncs {
                    decoder.resync();
                }
            }
            let (held, bound) = decoder.memory();
            prop_assert!(held < HEADER + MAX_PAYLOAD as usize, "{held}");
            // The allocation may be rounded up, and keeps room for what is fed next.
            prop_assert!(bound <= 4 * (HEADER + MAX_PAYLOAD as usize), "{bound}");
        }
    }
}

proptest! {
    // Each case is long enough to fill up the largest frame.
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_resynchronised_reader_comes_back_whatever_was_before(bytes in noise(), half in 1_usize..22) {
        let beat = encode(&Frame::Heartbeat { seq: 0 });
        // A writer that died in the middle of a frame, noise, then a healthy writer. A header that is valid by chance
        // costs one payload, what is left of a frame another one.
        let lost = MAX_PAYLOAD as usize / beat.len() + 3;
        let mut stream = [&beat[..half], &bytes].concat();
        for seq in 1..=lost as u64 {
            stream.extend_from_slice(&encode(&Frame::Heartbeat { seq }));
        }
        let found = read_through(&stream);
        prop_assert_eq!(found.last(), Some(&Frame::Heartbeat { seq: lost as u64 }));
    }
}

/// Every frame of a stream that breaks in between.
fn read_through(bytes: &[u8]) -> Vec<Frame> {
    let mut decoder = Decoder::new();
    decoder.feed(bytes);
    let mut found = Vec::new();
    loop {
        match decoder.next() {
            Some(Ok(frame)) => found.push(frame),
            Some(Err(_)) => decoder.resync(),
            None if decoder.is_mid_frame() => decoder.resync(),
            None => return found,
        }
    }
}

#[test]
fn a_half_frame_costs_no_whole_one() {
    let [dead, alive] = [1, 2].map(|seq| encode(&Frame::Heartbeat { seq }));
    for half in 0..dead.len() {
        let found = read_through(&[&dead[..half], &alive, &alive].concat());
        // What the dead writer's header announced may be filled up by the first frame behind it.
        let healthy = found.iter().filter(|frame| **frame == Frame::Heartbeat { seq: 2 }).count();
        assert!(healthy == 2 || (half >= HEADER && healthy == 1), "{half}: {found:?}");
    }
}

#[test]
fn a_header_of_two_writers_is_refused() {
    // The length of the first would become 65, the type 0xC2: an unknown frame that swallows what follows.
    let mut bytes = [&MARKER[..], &[0, 0, 0], "A\u{a1}".as_bytes(), &[0; 20]].concat();
    bytes.truncate(HEADER);
    assert_eq!(decode(&mut Decoder::new(), [bytes]), [Err(FrameError::Header)]);
}

#[test]
fn a_length_is_refused_before_its_payload_comes() {
    for (kind, max) in
        [(1, MAX_CONTROL), (15, MAX_CONTROL), (16, MAX_PAYLOAD), (0, MAX_PAYLOAD), (255, MAX_PAYLOAD)]
    {
        for length in [max + 1, u32::MAX] {
            let mut decoder = Decoder::new();
            let found = decode(&mut decoder, [header(kind, 0, length).to_vec()]);
            assert_eq!(found, [Err(FrameError::TooLong { kind, length, max })]);
            assert!(decoder.memory().1 < 100);
        }
    }
}

#[test]
fn a_known_frame_is_whole_and_on_no_stream() {
    let cases = [
        (raw(1, 0, b"bottle\0\x01"), 1, 8),
        (raw(1, 0, b"kettle\0\x01\0\0\0\0\0\0\0\0"), 1, 16),
        (raw(2, 0, &[0; 7]), 2, 7),
        (raw(2, 9, &[0; 8]), 2, 8),
        (raw(4, 0, &[9, 0, 0, 0, 0]), 4, 5),
    ];
    for (bytes, kind, length) in cases {
        let found = decode(&mut Decoder::new(), [bytes.to_vec()]);
        assert_eq!(found, [Err(FrameError::Malformed { kind, length })]);
    }
}

#[test]
fn what_a_newer_peer_appends_is_passed_over() {
    let longer = raw(2, 0, b"\0\0\0\0\0\0\0\x07appended");
    assert_eq!(decode(&mut Decoder::new(), [longer.to_vec()]), [Ok(Frame::Heartbeat { seq: 7 })]);
}

#[test]
fn reserved_types_are_reported_and_skipped() {
    let bytes =
        [raw(16, 3, &[b'x'; MAX_PAYLOAD as usize]), raw(95, 1, b""), encode(&Frame::Heartbeat { seq: 1 })];
    assert_eq!(
        decode(&mut Decoder::new(), bytes.iter().map(|bytes| bytes.to_vec())),
        [Ok(Frame::Unknown { kind: 16 }), Ok(Frame::Unknown { kind: 95 }), Ok(Frame::Heartbeat { seq: 1 })]
    );
}

#[test]
fn an_error_ends_the_stream_and_quotes_nothing() {
    let mut decoder = Decoder::new();
    let canary = "canary-5c1";
    let found =
        decode(&mut decoder, [canary.as_bytes().to_vec(), encode(&Frame::Heartbeat { seq: 1 }).to_vec()]);
    assert_eq!(found, [Err(FrameError::Marker)]);
    assert!(!format!("{found:?} {}", FrameError::Marker).contains("canary"));
    assert_eq!(decoder.memory().0, canary.len(), "what comes after an error is dropped");
    decoder.resync();
    decoder.feed(&encode(&Frame::Heartbeat { seq: 2 }));
    assert_eq!(decoder.next(), Some(Ok(Frame::Heartbeat { seq: 2 })));
}

#[test]
fn the_bytes_on_the_wire_are_fixed() {
    let wire = |frame: &Frame| hex::encode(encode(frame));
    assert_eq!(
        wire(&Frame::Hello { version: VERSION, orphan_after_ms: 30_000 }),
        ["f56263", "00000010", "01", "00000000", "a8a7", "626f74746c65", "0001", "0000000000007530"].concat()
    );
    assert_eq!(
        wire(&Frame::Heartbeat { seq: 1 }),
        ["f56263", "00000008", "02", "00000000", "51b3", "0000000000000001"].concat()
    );
    assert_eq!(
        wire(&Frame::Beat { seq: 1, processes: 2 }),
        ["f56263", "0000000c", "03", "00000000", "fd43", "0000000000000001", "00000002"].concat()
    );
    assert_eq!(
        wire(&Frame::Leaving(Leaving::Signal(15))),
        ["f56263", "00000005", "04", "00000000", "d275", "02", "0000000f"].concat()
    );
}

#[test]
#[should_panic(expected = "cannot carry")]
fn a_writer_cannot_exceed_the_bound() {
    let _ = raw(20, 1, &[0; MAX_PAYLOAD as usize + 1]);
}
