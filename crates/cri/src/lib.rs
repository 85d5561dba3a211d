//! The Container Runtime Interface as Rust traits.
//!
//! The kubelet is written against [`RuntimeService`], [`ImageService`] and [`Streaming`]; every container engine
//! implements them. Messages are CRI v1's own, so the same traits sit over a gRPC socket without translation.
//! Knows nothing of Kubernetes objects.
//!
//! Specified by <https://github.com/kubernetes/cri-api> (`runtime.v1`).

mod error;
mod service;
mod streaming;

pub use error::CriError;
pub use k8s_cri::v1;
pub use service::{EventStream, ImageService, RuntimeService};
pub use streaming::{Duplex, Session, StdioRequest, Streaming, TerminalSize};

/// A container engine: everything that the kubelet needs of one.
pub trait Engine: RuntimeService + ImageService + Streaming {}
impl<T: RuntimeService + ImageService + Streaming> Engine for T {}
