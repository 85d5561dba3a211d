//! The pod network of one node: a bridge, a veth pair for each sandbox, addresses from the node's range, masquerade
//! towards the world, host ports, and routes or tunnels to the pods of other nodes.
//!
//! Every pod has a /32 address and reaches even its neighbours through the bridge's own address, so that the host's
//! connection tracking sees both directions of every flow and service addresses work without bridge filtering.
//! [`plugin`] is the same network for engines that take theirs from a CNI plugin.
//! Knows of Kubernetes only what Nodes say of their addresses; knows nothing of the engine that calls it.

mod ipam;
mod names;
mod network;
mod nodes;
pub mod plugin;
mod rules;

pub use network::{Config, PodNet};
pub use nodes::Nodes;
