//! Jobs: pods that are to end well, a number of times.
//!
//! <https://kubernetes.io/docs/concepts/workloads/controllers/job/>

mod backoff;
mod failure_policy;
mod indexes;
mod plan;
mod run;
mod template;
#[cfg(test)]
mod tests;

pub(crate) use plan::is_finished;
pub(crate) use run::run;
