//! EndpointSlices of Endpoints that somebody keeps by hand, for Services without a selector.

mod plan;
mod run;
#[cfg(test)]
mod tests;

pub(crate) use run::run;
