//! Deletes what belongs to nobody any more.

mod graph;
mod run;
#[cfg(test)]
mod tests;

pub(crate) use run::run;
