//! Container engines behind the CRI traits.
//!
//! [`native`] is the engine of this project: an image store, overlay snapshots, pinned namespaces, and one small
//! [`shim`] process for each pod, in which libcontainer runs.
//! [`pause`] is what engines of others need of this one.
//! Knows nothing of Kubernetes objects, nor of the other roles.

pub mod docker;
#[doc(hidden)]
pub mod fuzzing;
pub mod native;
pub mod pause;
mod shared;
pub mod shim;
