//! Setting clusters up: keys and certificates, kubeconfigs, what a node is told, machines in network namespaces.
//!
//! Knows files, formats and links; runs no part of a cluster.

pub mod kubeconfig;
pub mod machines;
pub mod node;
pub mod pki;
