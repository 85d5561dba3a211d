//! A Deployment's ReplicaSets: the one of its template, and the old ones.

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::common::hash::same_template;

const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
const MAX: &str = "deployment.kubernetes.io/max-replicas";

pub(super) struct Sets {
    pub(super) new: Option<ReplicaSet>,
    /// From old to young.
    pub(super) old: Vec<ReplicaSet>,
}

pub(in crate::deployment) fn replicas(set: &ReplicaSet) -> i32 {
    set.spec.replicas.unwrap_or(1)
}

pub(super) fn available(set: &ReplicaSet) -> i32 {
    set.status.as_ref().and_then(|status| status.available_replicas).unwrap_or(0)
}

pub(super) fn wanted(deployment: &Deployment) -> i32 {
    deployment.spec.replicas.unwrap_or(1)
}

pub(in crate::deployment) fn is_recreate(deployment: &Deployment) -> bool {
    deployment.spec.strategy.as_ref().and_then(|strategy| strategy.type_.as_deref()) == Some("Recreate")
}

/// How many pods more, and how many fewer, there may be during an update.
pub(super) fn room(deployment: &Deployment) -> (i32, i32) {
    if is_recreate(deployment) {
        return (0, 0);
    }
    let rolling = deployment.spec.strategy.as_ref().and_then(|strategy| strategy.rolling_update.clone());
    let rolling = rolling.unwrap_or_default();
    let quarter = || IntOrString::String("25%".into());
    let total = wanted(deployment);
    let surge = share(&rolling.max_surge.unwrap_or_else(quarter), total, true);
    let unavailable = share(&rolling.max_unavailable.unwrap_or_else(quarter), total, false);
    // Without any room nothing could move.
    let unavailable = if surge == 0 && unavailable == 0 { 1 } else { unavailable };
    (surge, unavailable.min(total))
}

fn share(amount: &IntOrString, total: i32, up: bool) -> i32 {
    match amount {
        IntOrString::Int(number) => (*number).max(0),
        IntOrString::String(text) => {
            let percent: i64 = text.strip_suffix('%').and_then(|digits| digits.parse().ok()).unwrap_or(0);
            let scaled = percent.max(0) * i64::from(total.max(0)) + if up { 99 } else { 0 };
            i32::try_from(scaled / 100).unwrap_or(i32::MAX)
        }
    }
}

pub(super) fn annotation<'a>(set: &'a ReplicaSet, key: &str) -> Option<&'a str> {
    set.metadata.annotations.as_ref()?.get(key).map(String::as_str)
}

fn number(set: &ReplicaSet, key: &str) -> Option<i32> {
    annotation(set, key)?.parse().ok()
}

pub(super) fn desired(set: &ReplicaSet) -> Option<i32> {
    number(set, DESIRED)
}

pub(super) fn maximum(set: &ReplicaSet) -> Option<i32> {
    number(set, MAX)
}

/// What the sizes of a set are to be read against later, when the Deployment is resized in between.
pub(super) fn annotate_size(deployment: &Deployment, set: &mut ReplicaSet) {
    let annotations = set.metadata.annotations.get_or_insert_default();
    annotations.insert(DESIRED.into(), wanted(deployment).to_string());
    annotations.insert(MAX.into(), wanted(deployment).saturating_add(room(deployment).0).to_string());
}

pub(super) fn set_replicas(deployment: &Deployment, set: &mut ReplicaSet, replicas: i32) {
    set.spec.replicas = Some(replicas);
    annotate_size(deployment, set);
}

fn created(set: &ReplicaSet) -> (Option<jiff::Timestamp>, &str) {
    let at = set.metadata.creation_timestamp.as_ref().map(|time| time.0);
    (at, set.metadata.name.as_deref().unwrap_or_default())
}

impl Sets {
    pub(super) fn new(deployment: &Deployment, sets: &[ReplicaSet]) -> Self {
        let mut old = sets.to_vec();
        old.sort_by(|a, b| created(a).cmp(&created(b)));
        // Of several that match, the oldest: all parts choose the same one.
        let matches = |set: &ReplicaSet| {
            set.spec.template.as_ref().is_some_and(|template| same_template(template, &deployment.spec.template))
        };
        let position = old.iter().position(matches);
        let new = position.map(|position| old.remove(position));
        Self { new, old }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &ReplicaSet> {
        self.old.iter().chain(&self.new)
    }

    pub(super) fn total(&self) -> i32 {
        self.all().map(replicas).sum()
    }

    /// The Deployment has another size than when its sets were last sized.
    pub(super) fn resized(&self, deployment: &Deployment) -> bool {
        let active = self.all().filter(|set| replicas(set) > 0);
        active.filter_map(desired).any(|desired| desired != wanted(deployment))
    }

    /// What is to be created, and what differs from what was seen, with its replicas then.
    pub(super) fn changes(self, seen: &[ReplicaSet]) -> (Option<ReplicaSet>, Vec<(ReplicaSet, i32)>) {
        let mut create = None;
        let mut update = Vec::new();
        for set in self.new.into_iter().chain(self.old) {
            match seen.iter().find(|other| other.metadata.uid == set.metadata.uid) {
                None => create = Some(set),
                Some(other) if *other != set => update.push((set, replicas(other))),
                Some(_) => {}
            }
        }
        (create, update)
    }
}
