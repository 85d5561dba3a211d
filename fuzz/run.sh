#!/usr/bin/env bash
# Lets every fuzz target run with coverage for so many seconds (60 if not said). What a target finds lies in its corpus
# (new coverage) or under target/fuzz (what broke it).
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-60}
host=$(rustc -vV | sed -n 's/^host: //p')
# Coverage by the compiler itself, which needs no nightly: an explicit target keeps the flags off build scripts.
export RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
 -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 -Cdebug-assertions=on"
cargo build --release -p fuzz --target "$host" --target-dir target/fuzz
mkdir -p target/fuzz/found
for source in crates/*/fuzz/*.rs; do
  name=$(basename "$source" .rs)
  corpus=$(dirname "$source")/corpus/$name
  mkdir -p "target/fuzz/corpus/$name"
  echo "== $name"
  "target/fuzz/$host/release/$name" -max_total_time="$seconds" -rss_limit_mb=4096 -print_final_stats=1 \
    -artifact_prefix="target/fuzz/found/$name-" "target/fuzz/corpus/$name" "$corpus" 2>&1 | tail -n 12
done
