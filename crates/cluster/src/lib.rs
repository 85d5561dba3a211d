//! Setting clusters up: keys and certificates (etcd's, too), kubeconfigs, what a node is told, how a machine that
//! joins tells the right cluster from another, how masters hand each other their keys, machines in network namespaces, one address for several API servers.
//!
//! Knows files, formats, links and connections; runs no part of a cluster.

pub mod balancer;
pub mod discovery;
pub mod etcd;
pub mod kubeconfig;
pub mod machines;
pub mod master;
pub mod node;
pub mod pki;
pub mod sealed;
