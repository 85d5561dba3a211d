//! A whole kubelet between an API server and a container engine, both in memory.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // a test says so by failing

mod pods;
mod serving;
mod support;
