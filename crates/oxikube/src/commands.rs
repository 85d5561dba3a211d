//! The commands, a file each.

pub(crate) mod certs;
pub(crate) mod cri;
pub(crate) mod down;
pub(crate) mod image;
pub(crate) mod init;
pub(crate) mod join;
pub(crate) mod kubeconfig;
pub(crate) mod man;
pub(crate) mod node;
pub(crate) mod reset;
pub(crate) mod roles;
pub(crate) mod server;
pub(crate) mod snapshot;
pub(crate) mod status;
pub(crate) mod token;
pub(crate) mod up;
pub(crate) mod why;
