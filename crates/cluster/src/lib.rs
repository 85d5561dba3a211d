//! Setting clusters up: keys and certificates, kubeconfigs.
//!
//! Knows files and formats; runs nothing.

pub mod kubeconfig;
pub mod pki;
