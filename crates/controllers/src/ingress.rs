//! Makes the class of the built-in gateway, and says in the status of its Ingresses at which nodes they are answered.
//!
//! A node tells in an annotation at which ports its gateway answers. A port of a node belongs to one: where a service
//! of type LoadBalancer has it, packets go there.

mod plan;
mod run;
#[cfg(test)]
mod tests;

pub(crate) use run::run;
