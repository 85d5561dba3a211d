//! Every fuzz target takes its kept corpus without falling over.

#![allow(clippy::expect_used, reason = "a test whose target cannot be started has failed")]

use std::path::Path;
use std::process::Command;

/// Runs a target once over each of its inputs.
fn survives(target: &str, binary: &str, owner: &str) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates").join(owner).join("fuzz/corpus").join(target);
    let inputs = std::fs::read_dir(&corpus).map_or(0, Iterator::count);
    assert!(inputs > 0, "no inputs in {}", corpus.display());
    let mut command = Command::new(binary);
    command.arg("-runs=0").arg(&corpus);
    let output = command.output().expect("the target can be started");
    assert!(output.status.success(), "{target}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn bodies() {
    survives("protobuf", env!("CARGO_BIN_EXE_protobuf"), "api");
    survives("body", env!("CARGO_BIN_EXE_body"), "apiserver");
}

#[test]
fn selectors() {
    survives("selector", env!("CARGO_BIN_EXE_selector"), "api");
}

#[test]
fn patches() {
    survives("patch", env!("CARGO_BIN_EXE_patch"), "schema");
    survives("apply", env!("CARGO_BIN_EXE_apply"), "schema");
}

#[test]
fn archives_and_shims() {
    survives("archive", env!("CARGO_BIN_EXE_archive"), "runtime");
    survives("shim", env!("CARGO_BIN_EXE_shim"), "runtime");
}

#[test]
fn frames() {
    survives("frame", env!("CARGO_BIN_EXE_frame"), "spdy");
}

#[test]
fn the_stores_records() {
    survives("log", env!("CARGO_BIN_EXE_log"), "storage");
}
