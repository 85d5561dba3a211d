//! The cluster's DNS: answers for services, endpoints and pods per the Kubernetes DNS specification, and passes
//! everything else on to the node's own name servers.
//!
//! [`answers`](crate::answers) decides, over a small index that informers feed; the rest serves.

mod answers;
mod entries;
mod index;
mod search;
mod serve;
#[cfg(test)]
mod testing;
mod upstream;
mod zone;

pub use serve::{Config, Dns, DnsError};
