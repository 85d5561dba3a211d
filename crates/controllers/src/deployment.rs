//! Deployments: rolling updates over ReplicaSets, with a history.

mod plan;
mod run;
#[cfg(test)]
mod tests;

pub(crate) use run::run;
