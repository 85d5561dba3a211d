//! Volumes that say by labels which zone or region they are in.

use crate::framework::{Cycle, Filter, Rejection};
use crate::snapshot::NodeInfo;

pub(crate) struct VolumeZone;

const LABELS: &[&str] = &[
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
];

impl Filter for VolumeZone {
    fn filter(&self, cycle: &Cycle<'_>, node: &NodeInfo) -> Result<(), Rejection> {
        // A node that tells no place is in every one.
        if !LABELS.iter().any(|label| node.labels.contains_key(*label)) {
            return Ok(());
        }
        for volume in cycle.volumes.bound() {
            let labels = volume.metadata.labels.iter().flatten();
            for (key, value) in labels.filter(|(key, _)| LABELS.contains(&key.as_str())) {
                let here = node.labels.get(key);
                if !here.is_some_and(|here| value.split("__").any(|one| one == here)) {
                    return Err(Rejection::unresolvable("node(s) had no available volume zone"));
                }
            }
        }
        Ok(())
    }
}
