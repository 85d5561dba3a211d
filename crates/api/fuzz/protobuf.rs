//! Protobuf bodies of any kind.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    // Refused or read; what is read is an object.
    if let Ok(value) = api::protobuf::decode(data) {
        assert!(value.is_object());
    }
});
