//! From a container of a pod to what CRI is asked for.

pub(crate) mod env;
mod field;
pub(crate) mod labels;
mod resources;
mod security;

pub(crate) use field::{Addresses, Allocatable, field, resource};
pub(crate) use resources::linux as linux_resources;
pub(crate) use security::{ImageUser, container as container_security, sandbox as sandbox_security};
