//! DaemonSets: one pod on every node that is fit for it.

mod plan;
mod revisions;
mod run;
#[cfg(test)]
mod tests;

pub(crate) use run::run;
