//! Ranges of Service addresses: one in use stays until its addresses are given back, or another range has them, too.

mod plan;
mod run;
#[cfg(test)]
mod tests;

pub(crate) use run::run;
