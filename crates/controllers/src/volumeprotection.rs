//! Volumes and claims that are in use stay until they are not (pv-protection and pvc-protection).

mod claims;
mod plan;
mod volumes;

pub(crate) use claims::run as run_claims;
pub(crate) use volumes::run as run_volumes;
