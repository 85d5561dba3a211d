//! Service addresses and network policies on one node: Services, EndpointSlices and NetworkPolicies as packet filter
//! rules.
//!
//! [`rules`] and [`policies`] decide (pure), [`table`] turns decisions into transactions (pure), [`run`] and [`enforce`]
//! watch and apply. Lookups are maps, so the cost of a packet does not grow with the number of services or pods. Only the
//! tables named after the instance are touched.

mod enforce;
mod flows;
mod health;
mod policies;
mod rules;
mod run;
mod sync;
mod table;

pub use run::{Config, Proxy, teardown};
