//! Which pod has to go first when something is short, and what it is told.

use std::cmp::Reverse;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;

use super::signals::{Shortage, Signal};
use crate::podlife::Verdict;
use crate::{qos, quantity, spec, statics};

/// Pods of this priority and above are the node's own affair.
const CRITICAL: i32 = 2_000_000_000;

/// What the containers of a pod use of what is short.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    pub(crate) pod: Arc<Pod>,
    /// By container name; of volumes, under no name.
    pub(crate) usage: Vec<(String, i64)>,
}

impl Candidate {
    fn total(&self) -> i64 {
        self.usage.iter().map(|(_, usage)| usage).sum()
    }
}

/// A pod that the kubelet does not take on itself to end.
pub(crate) fn is_critical(pod: &Pod) -> bool {
    statics::is_static(pod) || statics::is_mirror(pod) || spec::pod_spec(pod).priority.is_some_and(|p| p >= CRITICAL)
}

/// Those that use more than they asked for go first, among them the ones of low priority, then the ones that are
/// furthest above what they asked for.
pub(crate) fn first(signal: Signal, candidates: Vec<Candidate>) -> Option<Candidate> {
    let may_go = candidates.into_iter().filter(|candidate| !is_critical(&candidate.pod));
    may_go.min_by_key(|candidate| {
        let above = candidate.total() - requested(&candidate.pod, signal);
        let exceeds = !matches!(signal, Signal::Memory | Signal::Storage) || above > 0;
        (Reverse(exceeds), spec::pod_spec(&candidate.pod).priority.unwrap_or(0), Reverse(above))
    })
}

fn requested(pod: &Pod, signal: Signal) -> i64 {
    match signal {
        Signal::Memory | Signal::Storage => crate::admit::requests(pod, signal.resource()) / 1000,
        Signal::Inodes | Signal::Pids => 0,
    }
}

/// Why it has to go.
pub(crate) fn verdict(shortage: Shortage, candidate: &Candidate) -> Verdict {
    let resource = shortage.signal.resource();
    let amount = |value| amount(shortage.signal, value);
    let mut message = format!(
        "The node was low on resource: {resource}. Threshold quantity: {}, available: {}. ",
        amount(shortage.threshold),
        amount(shortage.available)
    );
    for (name, usage) in candidate.usage.iter().filter(|(name, _)| !name.is_empty()) {
        let entry = spec::find(&candidate.pod, name);
        let request = entry.and_then(|entry| qos::request(&entry.container, resource).and_then(quantity::value));
        let request = request.unwrap_or(0);
        if *usage > request {
            message.push_str(&format!(
                "Container {name} was using {}, request is {}, has larger consumption of {resource}. ",
                amount(*usage),
                amount(request)
            ));
        }
    }
    Verdict { reason: super::EVICTED.to_owned(), message, grace_seconds: Some(0), disruption: true }
}

/// Bytes as people read them.
fn amount(signal: Signal, value: i64) -> String {
    match signal {
        Signal::Memory | Signal::Storage if value != 0 && value % 1024 == 0 => {
            if value % (1 << 20) == 0 {
                format!("{}Mi", value >> 20)
            } else {
                format!("{}Ki", value >> 10)
            }
        }
        _ => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn candidate(name: &str, priority: i32, request: &str, usage: i64) -> Candidate {
        let pod = json!({"metadata": {"name": name}, "spec": {"priority": priority, "containers": [
            {"name": "c", "resources": {"requests": {"memory": request}}}]}});
        Candidate { pod: Arc::new(serde_json::from_value(pod).unwrap()), usage: vec![("c".to_owned(), usage << 20)] }
    }

    fn chosen(candidates: &[Candidate]) -> String {
        let first = first(Signal::Memory, candidates.to_vec());
        first.map(|candidate| spec::name(&candidate.pod).to_owned()).unwrap_or_default()
    }

    #[test]
    fn the_greedy_the_unimportant_and_the_large_go_first() {
        let modest = candidate("modest", -10, "500Mi", 400);
        let greedy = candidate("greedy", 100, "10Mi", 20);
        assert_eq!(chosen(&[modest.clone(), greedy.clone()]), "greedy");
        let unimportant = candidate("unimportant", 0, "10Mi", 11);
        assert_eq!(chosen(&[greedy.clone(), unimportant.clone()]), "unimportant");
        let large = candidate("large", 0, "10Mi", 40);
        assert_eq!(chosen(&[unimportant, large, modest.clone()]), "large");
        assert_eq!(chosen(&[modest]), "modest");
        assert_eq!(chosen(&[candidate("system", CRITICAL, "0", 900)]), "");
    }

    #[test]
    fn it_is_told_in_upstream_s_words() {
        let shortage = Shortage { signal: Signal::Memory, threshold: 100 << 20, available: (90 << 20) + 1024 };
        assert_eq!(
            verdict(shortage, &candidate("greedy", 0, "10Mi", 20)).message,
            "The node was low on resource: memory. Threshold quantity: 100Mi, available: 92161Ki. Container c was using \
             20Mi, request is 10Mi, has larger consumption of memory. "
        );
    }
}
