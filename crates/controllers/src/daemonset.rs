//! DaemonSets: one pod on every node that is fit for it.

mod plan;
mod run;
#[cfg(test)]
mod tests;

pub(crate) use run::run;
