//! ReplicaSets, and ReplicationControllers, which are the same under an older name: as many pods as asked for.

mod kind;
mod plan;
mod run;
#[cfg(test)]
mod tests;

pub(crate) use run::run;
