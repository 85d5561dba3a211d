//! HorizontalPodAutoscalers: as many replicas as the load asks for.
//!
//! <https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/>

mod behavior;
mod conditions;
mod metrics;
mod replicas;
mod run;
#[cfg(test)]
mod tests;

pub(crate) use run::run;
