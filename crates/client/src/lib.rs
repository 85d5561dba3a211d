//! How a part of the cluster reaches its apiserver: connections, informers, work queues, reconcilers, leader
//! election, events.
//!
//! Knows `kube::Client` and the metadata of objects; knows nothing of what a kind means. The same code runs over TLS
//! and over the apiserver of the same process.

pub mod certificate;
pub mod connect;
pub mod election;
mod events;
mod informer;
pub mod ingress;
mod key;
mod placement;
mod queue;
mod reconcile;
mod rotating;
mod select;
pub mod volumes;
pub mod write;

pub use election::{Election, Term};
pub use events::{EventRecorder, EventSink, EventType, Occurrence, reference};
pub use informer::{Change, HandlerGuard, Informer, Informers, Selection, Subscription};
pub use key::ObjectKey;
pub use placement::{NodeTerm, tolerates};
pub use queue::{WorkItem, WorkQueue};
pub use reconcile::{Failure, Outcome, Reconciler, Runner};
pub use rotating::Rotating;
pub use select::selector;
