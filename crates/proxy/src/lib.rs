//! Service addresses on one node: Services and EndpointSlices as packet filter rules.
//!
//! [`rules`] decides (pure), [`table`] turns decisions into transactions (pure), [`run`] watches and applies. Lookups are
//! maps, so the cost of a packet does not grow with the number of services. Only the table named after the instance
//! is touched.

mod flows;
mod health;
mod rules;
mod run;
mod table;

pub use run::{Config, Proxy, teardown};
