//! Request bodies in JSON and YAML.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((first, body)) = data.split_first() else { return };
    apiserver::fuzzing::body(if first % 2 == 0 { "application/json" } else { "application/yaml" }, body);
});
