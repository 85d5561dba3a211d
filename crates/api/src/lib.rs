//! The language of the Kubernetes API: names, metadata, selectors, quantities, statuses and the catalogue of
//! built-in resources. Pure: no I/O, no runtime.

mod gvk;

pub use gvk::{GroupVersion, GroupVersionKind, GroupVersionResource};
pub use k8s_openapi;
