//! Nodes that are not heard of any more.

mod plan;
mod run;
#[cfg(test)]
mod tests;

pub(crate) use run::run;
