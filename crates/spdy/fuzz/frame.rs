//! SPDY frames, in two pieces.
#![no_main]

use bytes::BytesMut;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let (one, two) = data.split_at(data.len() / 2);
    let (mut decoder, mut input) = (spdy::Decoder::default(), BytesMut::new());
    for piece in [one, two] {
        input.extend_from_slice(piece);
        while let Ok(Some(_)) = decoder.next(&mut input) {}
    }
});
