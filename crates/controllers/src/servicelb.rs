//! Gives services of type LoadBalancer the addresses of nodes. There the node's proxy answers.
//!
//! A port of a node belongs to one service. Services with a class of another balancer are left alone.

mod plan;
mod run;
#[cfg(test)]
mod tests;

pub(crate) use plan::{Door, doors, host};
pub(crate) use run::run;
