//! A private cluster for a test: its own network namespace, data directory and instance name, gone when it is dropped.
//!
//! Needs root, `ip`, `nsenter`, the built `oxikube` binary, kubectl (`KUBECTL`, or the one that `make test` fetches) and
//! the nginx image that `make test` builds.

mod cluster;
mod engine;
mod etcd;
mod machine;
mod machines;
mod network;
mod page;
mod registry;
mod wait;

pub use cluster::{Cluster, Output, binary};
pub use engine::{Daemon, Engine};
pub use etcd::Etcd;
pub use machine::Machine;
pub use machines::signal;
pub use page::Page;
pub use registry::Registry;
pub use wait::eventually;
