//! PodDisruptionBudgets: how many pods may be evicted at present.
//!
//! <https://kubernetes.io/docs/concepts/workloads/pods/disruptions/>

mod plan;
mod run;
#[cfg(test)]
mod tests;

pub(crate) use run::run;
