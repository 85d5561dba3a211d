//! StatefulSets: pods with names of their own, made and replaced in order, each with volumes of its own.
//!
//! <https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/>

mod claims;
mod identity;
mod plan;
mod run;
#[cfg(test)]
mod tests;

pub(crate) use run::run;
