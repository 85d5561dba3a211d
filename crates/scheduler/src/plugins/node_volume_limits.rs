//! How many volumes of a CSI driver a node can have.

use std::collections::{HashMap, HashSet};

use crate::framework::{Cycle, Filter, Rejection};
use crate::pod::{ObjectName, PodInfo};
use crate::snapshot::NodeInfo;
use crate::volumes::Volumes;

pub(crate) struct NodeVolumeLimits;

/// Handles by driver.
type Handles = HashMap<String, HashSet<String>>;

fn collect(volumes: &Volumes, pod: &PodInfo, handles: &mut Handles) {
    for used in &pod.claims {
        let key = ObjectName { namespace: pod.key.namespace.clone(), name: used.name.clone() };
        let csi = volumes.volume_of(&key).and_then(|volume| volume.spec.as_ref()?.csi.as_ref());
        if let Some(csi) = csi {
            handles.entry(csi.driver.clone()).or_default().insert(csi.volume_handle.clone());
        }
    }
}

impl Filter for NodeVolumeLimits {
    fn filter(&self, cycle: &Cycle<'_>, node: &NodeInfo) -> Result<(), Rejection> {
        let volumes = cycle.volumes.all();
        let Some((volumes, limits)) = volumes.and_then(|volumes| Some((volumes, volumes.limits(&node.name)?))) else {
            return Ok(());
        };
        let mut wanted = Handles::new();
        collect(volumes, cycle.pod, &mut wanted);
        if wanted.is_empty() {
            return Ok(());
        }
        let mut there = Handles::new();
        node.pods.values().for_each(|pod| collect(volumes, pod, &mut there));
        for (driver, handles) in wanted {
            let Some(limit) = limits.get(&driver) else { continue };
            let used = there.remove(&driver).unwrap_or_default();
            let more = handles.difference(&used).count();
            if more > 0 && used.len() + more > *limit {
                return Err(Rejection::resolvable("node(s) exceed max volume count"));
            }
        }
        Ok(())
    }
}
