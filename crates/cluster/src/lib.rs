//! Setting clusters up: keys and certificates, kubeconfigs, one address for several API servers.
//!
//! Knows files, formats and connections; runs no part of a cluster.

pub mod balancer;
pub mod kubeconfig;
pub mod pki;
