//! ReplicaSets: as many pods as asked for.

mod plan;
mod run;
#[cfg(test)]
mod tests;

pub(crate) use run::run;
