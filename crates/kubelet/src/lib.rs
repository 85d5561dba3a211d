//! The kubelet: the life of the pods on one node.
//!
//! Knows the API server through [`kube::Client`] and a container engine through [`cri::Engine`]; knows neither how the
//! one stores nor how the other makes containers. `podlife` decides, everything else looks and carries out.

mod admit;
mod cgroups;
mod changes;
mod config;
mod container;
mod context;
mod dns;
mod eviction;
mod hosts;
mod housekeeping;
mod images;
mod kubelet;
mod localpath;
mod node;
mod objects;
mod podlife;
mod pods;
mod probes;
mod qos;
mod quantity;
mod record;
mod sandbox;
mod server;
mod services;
mod spec;
mod start_error;
mod statics;
mod volumes;
mod worker;

pub use config::{Config, ServerTls};
pub use eviction::is_eviction_limit;
pub use kubelet::{Kubelet, KubeletError};
pub use server::ServerError;
pub use volumes::tear_down;
