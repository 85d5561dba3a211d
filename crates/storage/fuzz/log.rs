//! Records of the embedded store whose checksum holds but whose payload is anything.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| storage::fuzzing::record(data));
