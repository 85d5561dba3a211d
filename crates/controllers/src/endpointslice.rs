//! EndpointSlices of Services with a selector, and the older Endpoints.

mod endpoints;
mod plan;
mod run;
#[cfg(test)]
mod tests;

pub(crate) use endpoints::run as run_endpoints;
pub(crate) use run::run;

/// Label selector of the slices that are written here.
pub(crate) const OWN_SLICES: &str = "endpointslice.kubernetes.io/managed-by=endpointslice-controller.k8s.io";
