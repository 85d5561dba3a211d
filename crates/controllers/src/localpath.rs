//! The built-in provisioner: volumes that are folders on the node of their first pod.
//!
//! This side makes and deletes the objects; the folder is the node's business. A node tells in an annotation where it
//! keeps such folders; a volume carries a finalizer until its node has removed the folder.

mod plan;
mod run;
#[cfg(test)]
mod tests;

pub(crate) use plan::PROVISIONER;
pub(crate) use run::run;
