//! The Container Runtime Interface as Rust traits.
//!
//! The kubelet is written against [`RuntimeService`], [`ImageService`] and [`Streaming`]; every container engine
//! implements them. Messages are CRI v1's own, so the same traits sit over a gRPC socket without translation:
//! [`Remote`] is an engine behind one, [`server`] puts one there.
//! Knows nothing of Kubernetes objects.
//!
//! Specified by <https://github.com/kubernetes/cri-api> (`runtime.v1`).

pub mod carry;
pub mod client;
mod error;
mod local;
pub mod server;
mod service;
mod streaming;

pub use client::Remote;
pub use error::CriError;
pub use k8s_cri::v1;
pub use local::Local;
pub use service::{EventStream, ImageService, RuntimeService};
pub use streaming::{Duplex, Session, StdioRequest, Streaming, TerminalSize};

/// A container engine: everything that the kubelet needs of one.
pub trait Engine: RuntimeService + ImageService + Streaming {}
impl<T: RuntimeService + ImageService + Streaming> Engine for T {}
