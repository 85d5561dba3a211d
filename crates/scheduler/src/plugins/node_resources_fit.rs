//! Requests against what is left; the least allocated node is best.

use crate::framework::{Cycle, Filter, MAX_SCORE, Rejection, Score};
use crate::snapshot::NodeInfo;

pub(crate) struct NodeResourcesFit;

impl Filter for NodeResourcesFit {
    fn filter(&self, cycle: &Cycle<'_>, node: &NodeInfo) -> Result<(), Rejection> {
        let (wanted, has, used) = (&cycle.pod.requests, &node.allocatable, &node.requested);
        let mut rejection = Rejection { reasons: Vec::new(), resolvable: true, plugin: "" };
        if node.pods.len() >= node.allowed_pods {
            rejection.reasons.push("Too many pods".into());
        }
        let scalars = wanted.scalars.iter().map(|(name, amount)| {
            let of = |sums: &crate::resources::Resources| sums.scalars.get(name).copied().unwrap_or(0);
            (name.as_str(), *amount, of(has), of(used))
        });
        let plain = [
            ("cpu", wanted.milli_cpu, has.milli_cpu, used.milli_cpu),
            ("memory", wanted.memory, has.memory, used.memory),
            ("ephemeral-storage", wanted.ephemeral_storage, has.ephemeral_storage, used.ephemeral_storage),
        ];
        for (name, wanted, has, used) in plain.into_iter().chain(scalars) {
            if wanted > 0 && wanted > has - used {
                rejection.reasons.push(format!("Insufficient {name}"));
                rejection.resolvable &= wanted <= has;
            }
        }
        if rejection.reasons.is_empty() { Ok(()) } else { Err(rejection) }
    }
}

impl Score for NodeResourcesFit {
    fn score(&self, cycle: &Cycle<'_>, node: &NodeInfo) -> i64 {
        let (wanted, has, used) = (&cycle.pod.counted, &node.allocatable, &node.counted);
        let fit = cycle.profile.fit;
        let part = |has: i64, used: i64| match used > has || has <= 0 {
            true => 0,
            false if fit.most => used * MAX_SCORE / has,
            false => (has - used) * MAX_SCORE / has,
        };
        let cpu = part(has.milli_cpu, used.milli_cpu + wanted.milli_cpu);
        let memory = part(has.memory, used.memory + wanted.memory);
        let weights = fit.cpu + fit.memory;
        if weights <= 0 { 0 } else { (cpu * fit.cpu + memory * fit.memory) / weights }
    }
}
