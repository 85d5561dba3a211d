//! EndpointSlices of Services with a selector, and the older Endpoints.

mod endpoints;
pub(crate) mod pack;
mod plan;
mod run;
#[cfg(test)]
mod tests;
pub(crate) mod write;

pub(crate) use endpoints::run as run_endpoints;
pub(crate) use run::run;

/// Label selector of the slices that are written here.
pub(crate) const OWN_SLICES: &str = "endpointslice.kubernetes.io/managed-by=endpointslice-controller.k8s.io";
pub(crate) const SERVICE_NAME: &str = "kubernetes.io/service-name";
pub(crate) const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
