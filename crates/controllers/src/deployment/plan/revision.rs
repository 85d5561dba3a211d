//! The set of the current template, its revision, and how much history is kept.

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, ReplicaSetSpec};
use kube::api::ObjectMeta;

use super::sets::{self, Sets, annotation, replicas, wanted};
use super::status::Progress;
use super::{REVISION, rolling};
use crate::common::hash::{HASH_LABEL, hash};
use crate::common::owner::controller_reference;

const HISTORY: &str = "deployment.kubernetes.io/revision-history";
/// Annotations that are the Deployment's or the set's own business.
const OWN: &[&str] = &[
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    HISTORY,
    "deployment.kubernetes.io/desired-replicas",
    "deployment.kubernetes.io/max-replicas",
    "deprecated.daemonset.template.generation",
];

fn revision(set: &ReplicaSet) -> i64 {
    annotation(set, REVISION).and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// Keeps the current set's annotations right; makes one if there is none and `create` says so.
pub(super) fn keep(deployment: &Deployment, sets: &mut Sets, progress: &mut Progress<'_>, create: bool) {
    let next = sets.old.iter().map(revision).max().unwrap_or(0) + 1;
    let total = sets.total();
    match &mut sets.new {
        Some(set) => {
            annotate(deployment, set, next);
            set.spec.min_ready_seconds = deployment.spec.min_ready_seconds;
            progress.found(set);
        }
        None if create => {
            let mut set = fresh(deployment);
            annotate(deployment, &mut set, next);
            let size = rolling::size_of_new(deployment, total, 0);
            sets::set_replicas(deployment, &mut set, size);
            progress.created(&set);
            sets.new = Some(set);
        }
        None => {}
    }
}

/// Annotations of the Deployment, and the revision; an earlier one of a set that comes back is remembered.
fn annotate(deployment: &Deployment, set: &mut ReplicaSet, next: i64) {
    let before = revision(set);
    let annotations = set.metadata.annotations.get_or_insert_default();
    let own = deployment.metadata.annotations.iter().flatten();
    annotations.extend(own.filter(|(key, _)| !OWN.contains(&key.as_str())).map(|(k, v)| (k.clone(), v.clone())));
    if before >= next {
        return;
    }
    if let Some(earlier) = annotations.insert(REVISION.into(), next.to_string()) {
        let history = annotations.get(HISTORY).filter(|text| !text.is_empty());
        let history = history.map_or_else(|| earlier.clone(), |text| format!("{text},{earlier}"));
        annotations.insert(HISTORY.into(), history);
    }
}

fn fresh(deployment: &Deployment) -> ReplicaSet {
    let mut template = deployment.spec.template.clone();
    let hash = hash(&template, deployment.status.as_ref().and_then(|status| status.collision_count));
    let labels = template.metadata.get_or_insert_default().labels.get_or_insert_default();
    labels.insert(HASH_LABEL.into(), hash.clone());
    let labels = labels.clone();
    let mut selector = deployment.spec.selector.clone();
    selector.match_labels.get_or_insert_default().insert(HASH_LABEL.into(), hash.clone());
    ReplicaSet {
        metadata: ObjectMeta {
            name: Some(format!("{}-{hash}", deployment.metadata.name.as_deref().unwrap_or_default())),
            namespace: deployment.metadata.namespace.clone(),
            labels: Some(labels),
            owner_references: Some(vec![controller_reference(deployment)]),
            ..ObjectMeta::default()
        },
        spec: ReplicaSetSpec {
            replicas: Some(0),
            min_ready_seconds: deployment.spec.min_ready_seconds,
            selector,
            template: Some(template),
        },
        status: None,
    }
}

/// The revision that the Deployment does not say yet.
pub(super) fn of_deployment(deployment: &Deployment, sets: &Sets) -> Option<String> {
    let current = annotation(sets.new.as_ref()?, REVISION)?;
    let said = deployment.metadata.annotations.as_ref().and_then(|annotations| annotations.get(REVISION));
    (said.map(String::as_str) != Some(current)).then(|| current.to_owned())
}

/// Old sets beyond the history limit, the oldest revisions first; those that still have pods stay.
pub(super) fn surplus(deployment: &Deployment, sets: &Sets) -> Vec<ReplicaSet> {
    let Some(limit) = deployment.spec.revision_history_limit.filter(|limit| *limit != i32::MAX) else {
        return Vec::new();
    };
    let mut alive: Vec<_> = sets.old.iter().filter(|set| set.metadata.deletion_timestamp.is_none()).collect();
    let surplus = alive.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
    alive.sort_by_key(|set| revision(set));
    let done = |set: &&ReplicaSet| {
        let status = set.status.clone().unwrap_or_default();
        replicas(set) == 0 && status.replicas == 0 && set.metadata.generation <= status.observed_generation
    };
    alive.into_iter().take(surplus).filter(done).cloned().collect()
}

/// Whether this set is all there is to be, as its annotations have it.
pub(super) fn is_saturated(deployment: &Deployment, set: &ReplicaSet) -> bool {
    let wanted = wanted(deployment);
    replicas(set) == wanted && sets::desired(set) == Some(wanted) && sets::available(set) == wanted
}
