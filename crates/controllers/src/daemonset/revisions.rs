//! The history of a DaemonSet's template, as ControllerRevisions. Pure.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet};
use kube::api::ObjectMeta;
use serde_json::{Value, json};

use super::plan::REVISION;
use crate::common::hash;
use crate::common::owner::controller_reference;

/// What is to be done to the history.
#[derive(Debug)]
pub(super) enum Step {
    /// The current template has this hash, and is the newest revision.
    Current(String),
    /// It was there before: it becomes the newest again.
    Raise(String, i64),
    Create(Box<ControllerRevision>),
}

fn data(set: &DaemonSet) -> Value {
    let mut template = serde_json::to_value(&set.spec.template).unwrap_or_default();
    if let Some(map) = template.as_object_mut() {
        map.insert("$patch".into(), "replace".into());
    }
    json!({"spec": {"template": template}})
}

pub(super) fn hash_of(revision: &ControllerRevision) -> String {
    let labels = revision.metadata.labels.as_ref();
    labels.and_then(|labels| labels.get(REVISION)).cloned().unwrap_or_default()
}

/// Where the current template stands among the revisions of the set.
pub(super) fn step(set: &DaemonSet, revisions: &[Arc<ControllerRevision>]) -> Step {
    let data = data(set);
    let newest = revisions.iter().filter_map(|revision| revision.revision).max().unwrap_or(0);
    let same = |revision: &&Arc<ControllerRevision>| revision.data.0 == data;
    match revisions.iter().filter(same).max_by_key(|revision| revision.revision) {
        Some(known) if known.revision == Some(newest) => Step::Current(hash_of(known)),
        Some(known) => Step::Raise(known.metadata.name.clone().unwrap_or_default(), newest + 1),
        None => Step::Create(Box::new(fresh(set, data, newest + 1))),
    }
}

fn fresh(set: &DaemonSet, data: Value, number: i64) -> ControllerRevision {
    let template = set.spec.template.clone();
    let collisions = set.status.as_ref().and_then(|status| status.collision_count);
    let hash = hash::hash(&template, collisions);
    let mut labels = template.metadata.and_then(|meta| meta.labels).unwrap_or_default();
    labels.insert(REVISION.into(), hash.clone());
    ControllerRevision {
        metadata: ObjectMeta {
            name: Some(format!("{}-{hash}", set.metadata.name.as_deref().unwrap_or_default())),
            namespace: set.metadata.namespace.clone(),
            labels: Some(labels),
            annotations: set.metadata.annotations.clone(),
            owner_references: Some(vec![controller_reference(set)]),
            ..ObjectMeta::default()
        },
        data: k8s_openapi::apimachinery::pkg::runtime::RawExtension(data),
        revision: Some(number),
    }
}

/// The oldest revisions beyond the limit that no pod is of.
pub(super) fn surplus(
    set: &DaemonSet,
    revisions: &[Arc<ControllerRevision>],
    used: impl Fn(&str) -> bool,
) -> Vec<Arc<ControllerRevision>> {
    let limit = set.spec.revision_history_limit.unwrap_or(10);
    let newest = revisions.iter().filter_map(|revision| revision.revision).max().unwrap_or(0);
    let idle = |revision: &&Arc<ControllerRevision>| revision.revision != Some(newest) && !used(&hash_of(revision));
    let mut idle: Vec<_> = revisions.iter().filter(idle).cloned().collect();
    idle.sort_by_key(|revision| revision.revision);
    let surplus = idle.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
    idle.truncate(surplus);
    idle
}
