//! Fuzz targets live in the crates that they fuzz, under `fuzz/`; this package builds them all. `make fuzz` lets each run for a
//! minute with coverage; the tests run each over its kept corpus.
