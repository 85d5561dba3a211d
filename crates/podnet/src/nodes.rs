//! Ways to the pods of other nodes.
//!
//! `plan` decides from what the nodes say of themselves and is pure; `apply` brings the kernel there; `watch` listens to
//! Nodes and to the kernel. Knows of Kubernetes only what a Node says: its range of pod addresses and its own address.

mod apply;
mod plan;
#[cfg(test)]
mod tests;
mod watch;

pub(crate) use apply::remove;
pub use watch::Nodes;
