//! The scheduler: chooses a node for each pod that has none.
//!
//! `pod` and `snapshot` are what is known, `framework` and `plugins` decide, `queue` says whose turn it is; `state` ties
//! them together, `run` listens to and writes to the apiserver.

mod explain;
mod framework;
mod plugins;
mod pod;
mod profile;
mod queue;
mod resources;
mod run;
mod snapshot;
mod state;
mod volume_writes;
mod volumes;

pub use explain::{Explanation, Verdict, World, explain, place};
pub use profile::{ConfigurationError, Profile, profiles};
pub use run::{Config, Scheduler};
