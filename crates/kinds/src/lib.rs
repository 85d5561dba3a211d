//! What is particular to a kind: defaults that depend on other fields, validation, what an update may change, which
//! fields can be selected by, and the columns that `kubectl get` prints.
//!
//! Everything generic (metadata, schemas, patches) is elsewhere; a kind without rules of its own gets [`Rules::PLAIN`].
//! Pure: trees in, trees and complaints out.

mod apps;
mod autoscaling;
mod batch;
mod certificates;
mod check;
mod columns;
mod convert;
mod core;
mod discovery;
mod fixed;
mod misc;
pub mod quota;
mod rbac;
mod rules;
mod storage;
#[cfg(test)]
mod tests;

pub use columns::{Cell, Column, Printer, printer};
pub use convert::convert;
pub use rules::{NameRule, Rules};

use api::GroupVersionKind;

/// The rules of a kind, looked up by its storage version's GVK.
pub fn rules(gvk: &GroupVersionKind) -> &'static Rules {
    match (&*gvk.gv.group, &*gvk.kind) {
        ("", kind) => core::rules(kind),
        ("apps", kind) => apps::rules(kind),
        ("batch", kind) => batch::rules(kind),
        ("rbac.authorization.k8s.io", kind) => rbac::rules(kind),
        ("discovery.k8s.io", "EndpointSlice") => &discovery::ENDPOINT_SLICE,
        ("coordination.k8s.io", "Lease") => &misc::LEASE,
        ("autoscaling", "HorizontalPodAutoscaler") => &autoscaling::AUTOSCALER,
        ("scheduling.k8s.io", "PriorityClass") => &misc::PRIORITY_CLASS,
        ("networking.k8s.io", "NetworkPolicy") => &misc::NETWORK_POLICY,
        ("networking.k8s.io", "Ingress") => &misc::INGRESS,
        ("networking.k8s.io", "IngressClass") => &fixed::INGRESS_CLASS,
        ("networking.k8s.io", "IPAddress") => &fixed::ADDRESS,
        ("node.k8s.io", "RuntimeClass") => &fixed::RUNTIME_CLASS,
        ("resource.k8s.io", kind) => fixed::resource(kind),
        ("networking.k8s.io", "ServiceCIDR") => &misc::SERVICE_CIDR,
        ("policy", "PodDisruptionBudget") => &misc::DISRUPTION_BUDGET,
        ("storage.k8s.io", kind) => storage::rules(kind),
        ("certificates.k8s.io", "CertificateSigningRequest") => &certificates::SIGNING_REQUEST,
        ("apiregistration.k8s.io", _) => &rules::API_SERVICE,
        _ => &Rules::PLAIN,
    }
}
