use proptest::prelude::*;

use super::*;

fn decode_all(bytes: &[u8], step: usize) -> Result<Vec<Frame>, FrameError> {
    let (mut decoder, mut input, mut frames) = (Decoder::default(), BytesMut::new(), Vec::new());
    for piece in bytes.chunks(step.max(1)) {
        input.extend_from_slice(piece);
        while let Some(frame) = decoder.next(&mut input)? {
            frames.push(frame);
        }
    }
    Ok(frames)
}

fn encode_all(frames: &[Frame]) -> BytesMut {
    let (mut encoder, mut output) = (Encoder::default(), BytesMut::new());
    frames.iter().for_each(|frame| encoder.put(frame, &mut output));
    output
}

/// Pieces of one data frame as one.
fn joined(frames: Vec<Frame>) -> Vec<Frame> {
    let mut all: Vec<Frame> = Vec::new();
    for frame in frames {
        match (all.last_mut(), frame) {
            (Some(Frame::Data { stream, fin: before, data }), Frame::Data { stream: same, fin, data: more })
                if *stream == same && !*before =>
            {
                (*data, *before) = ([&data[..], &more[..]].concat().into(), fin);
            }
            (_, frame) => all.push(frame),
        }
    }
    all
}

fn headers() -> Headers {
    vec![("streamtype".into(), "data".into()), ("requestid".into(), "0".into())]
}

#[test]
fn every_frame_comes_back_however_it_is_cut() {
    let frames = vec![
        Frame::Settings(vec![(7, 65536)]),
        Frame::SynStream { stream: 1, fin: false, unidirectional: false, headers: headers() },
        Frame::SynReply { stream: 1, fin: true, headers: Vec::new() },
        Frame::Data { stream: 1, fin: true, data: Bytes::from_static(b"hello") },
        Frame::Ping(3),
        Frame::WindowUpdate { stream: 0, delta: 9 },
        Frame::Headers { stream: 1, fin: false, headers: headers() },
        Frame::Data { stream: 3, fin: true, data: Bytes::new() },
        Frame::RstStream { stream: 3, status: 5 },
        Frame::GoAway { last: 3, status: 0 },
    ];
    let bytes = encode_all(&frames);
    for step in [1, 3, 8, bytes.len()] {
        assert_eq!(joined(decode_all(&bytes, step).unwrap()), frames, "in pieces of {step}");
    }
}

#[test]
fn nonsense_is_refused() {
    assert_eq!(decode_all(b"GET / HTTP/1.1\r\n", 64).unwrap().len(), 1, "might be data of some stream");
    assert_eq!(decode_all(&[0x80, 2, 0, 6, 0, 0, 0, 4, 0, 0, 0, 1], 64), Err(FrameError::Version(2)));
    assert_eq!(decode_all(&[0x80, 3, 0, 6, 0, 0, 0, 2, 0, 0], 64), Err(FrameError::Malformed(PING)));
    assert_eq!(decode_all(&[0x80, 3, 0, 1, 0, 0xff, 0xff, 0xff], 64), Err(FrameError::TooLong(0xff_ffff)));
    let settings = [0x80, 3, 0, 4, 0, 0, 0, 4, 0xff, 0xff, 0xff, 0xff];
    assert_eq!(decode_all(&settings, 64), Err(FrameError::Malformed(SETTINGS)));
    assert_eq!(decode_all(&[0x80, 3, 0, 99, 0, 0, 0, 1, 7], 64), Ok(Vec::new()), "not known, passed over");
}

proptest! {
    #[test]
    fn any_bytes_have_an_answer(bytes: Vec<u8>, step in 1usize..64) {
        decode_all(&bytes, step).ok();
    }

    /// Behind a plausible head the deeper parts are reached.
    #[test]
    fn any_control_frame_has_an_answer(kind in 0u16..12, flags: u8, body: Vec<u8>, packed: bool) {
        let mut bytes = BytesMut::new();
        let mut body = body;
        if packed {
            body.splice(0..0, [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0x78, 0x9c]);
        }
        head(&mut bytes, kind, flags, body.len());
        bytes.extend_from_slice(&body);
        decode_all(&bytes, 7).ok();
    }

    #[test]
    fn data_comes_back(data: Vec<u8>, stream in 1u32..LOW_31, fin: bool, step in 1usize..64) {
        let frames = vec![Frame::Data { stream, fin, data: data.into() }];
        prop_assert_eq!(joined(decode_all(&encode_all(&frames), step).unwrap()), frames);
    }
}
