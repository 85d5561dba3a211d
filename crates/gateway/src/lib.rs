//! The gateway of one node: Ingresses served over HTTP and HTTPS.
//!
//! [`table`] decides (pure): Ingresses, services, endpoints and certificates in, a routing table out. [`run`] watches
//! and opens the [`doors`] while there is an Ingress to serve; [`forward`] passes requests on.

mod answer;
mod certificates;
mod doors;
mod entries;
mod forward;
mod headers;
mod run;
mod table;
mod tell;

pub use run::{Config, Gateway};
