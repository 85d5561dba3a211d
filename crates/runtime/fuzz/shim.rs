//! What comes over a shim's socket.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut buffer = data.to_vec();
    let mut before = buffer.len();
    while let Ok(Some(_)) = runtime::shim::protocol::decode::<runtime::shim::protocol::Envelope>(&mut buffer) {
        assert!(buffer.len() < before, "a message takes bytes");
        before = buffer.len();
    }
});
