//! The language of the Kubernetes API: names, metadata, selectors, quantities, statuses and the catalogue of
//! built-in resources. Pure: no I/O, no runtime.

pub mod bootstrap;
pub mod catalogue;
pub mod field;
mod gvk;
pub mod meta;
pub mod names;
pub mod protobuf;
mod quantity;
pub mod schedule;
pub mod selector;
pub mod status;
pub mod time;

pub use gvk::{GroupVersion, GroupVersionKind, GroupVersionResource};
pub use k8s_openapi;
pub use quantity::{Quantity, QuantityError};
pub use status::ApiError;
