//! Ends namespaces: first all that is in them, then they themselves.

mod plan;
mod run;

pub(crate) use run::run;
