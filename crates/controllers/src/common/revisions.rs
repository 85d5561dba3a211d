//! The history of a pod template, as ControllerRevisions.

use std::sync::Arc;

use client::write;
use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::hash;

/// Whose history it is.
pub(crate) struct History<'a> {
    pub(crate) owner: &'a ObjectMeta,
    pub(crate) reference: OwnerReference,
    pub(crate) template: &'a PodTemplateSpec,
    /// How often a name was taken by another template.
    pub(crate) collisions: Option<i32>,
    /// Label of a revision that has its hash.
    pub(crate) label: &'static str,
    /// Revisions that are kept beside those in use.
    pub(crate) limit: Option<i32>,
}

/// What is to be done to the history.
#[derive(Debug)]
pub(crate) enum Step {
    /// The current template is the newest revision.
    Current(Arc<ControllerRevision>),
    /// It was there before: it becomes the newest again.
    Raise(Arc<ControllerRevision>, i64),
    Create(Box<ControllerRevision>),
}

/// The template that a revision holds.
pub(crate) fn template(revision: &ControllerRevision) -> Option<PodTemplateSpec> {
    let mut template = revision.data.0.pointer("/spec/template")?.clone();
    if let Some(map) = template.as_object_mut() {
        map.remove("$patch");
    }
    serde_json::from_value(template).ok()
}

impl History<'_> {
    fn data(&self) -> Value {
        let mut template = serde_json::to_value(self.template).unwrap_or_default();
        if let Some(map) = template.as_object_mut() {
            map.insert("$patch".into(), "replace".into());
        }
        json!({"spec": {"template": template}})
    }

    /// The hash of a revision.
    pub(crate) fn hash_of(&self, revision: &ControllerRevision) -> String {
        let labels = revision.metadata.labels.as_ref();
        labels.and_then(|labels| labels.get(self.label)).cloned().unwrap_or_default()
    }

    /// Where the current template stands among the revisions.
    pub(crate) fn step(&self, revisions: &[Arc<ControllerRevision>]) -> Step {
        let data = self.data();
        let newest = revisions.iter().filter_map(|revision| revision.revision).max().unwrap_or(0);
        let same = |revision: &&Arc<ControllerRevision>| revision.data.0 == data;
        match revisions.iter().filter(same).max_by_key(|revision| revision.revision) {
            Some(known) if known.revision == Some(newest) => Step::Current(Arc::clone(known)),
            Some(known) => Step::Raise(Arc::clone(known), newest + 1),
            None => Step::Create(Box::new(self.fresh(data, newest + 1))),
        }
    }

    fn fresh(&self, data: Value, number: i64) -> ControllerRevision {
        let hash = hash::hash(self.template, self.collisions);
        let meta = self.template.metadata.as_ref();
        let mut labels = meta.and_then(|meta| meta.labels.clone()).unwrap_or_default();
        labels.insert(self.label.into(), hash.clone());
        ControllerRevision {
            metadata: ObjectMeta {
                name: Some(format!("{}-{hash}", self.owner.name.as_deref().unwrap_or_default())),
                namespace: self.owner.namespace.clone(),
                labels: Some(labels),
                annotations: self.owner.annotations.clone(),
                owner_references: Some(vec![self.reference.clone()]),
                ..ObjectMeta::default()
            },
            data: k8s_openapi::apimachinery::pkg::runtime::RawExtension(data),
            revision: Some(number),
        }
    }

    /// The oldest revisions beyond the limit that are not in use.
    pub(crate) fn surplus(
        &self,
        revisions: &[Arc<ControllerRevision>],
        used: impl Fn(&ControllerRevision) -> bool,
    ) -> Vec<Arc<ControllerRevision>> {
        let newest = revisions.iter().filter_map(|revision| revision.revision).max().unwrap_or(0);
        let idle = |revision: &&Arc<ControllerRevision>| revision.revision != Some(newest) && !used(revision);
        let mut idle: Vec<_> = revisions.iter().filter(idle).cloned().collect();
        idle.sort_by_key(|revision| revision.revision);
        let limit = usize::try_from(self.limit.unwrap_or(10)).unwrap_or(0);
        idle.truncate(idle.len().saturating_sub(limit));
        idle
    }

    fn api(&self, client: &kube::Client) -> Api<ControllerRevision> {
        Api::namespaced(client.clone(), self.owner.namespace.as_deref().unwrap_or_default())
    }

    /// The revision of the current template; none while the history is being written, whose change comes.
    pub(crate) async fn revise(
        &self,
        client: &kube::Client,
        revisions: &[Arc<ControllerRevision>],
    ) -> kube::Result<Option<Arc<ControllerRevision>>> {
        let api = self.api(client);
        match self.step(revisions) {
            Step::Current(known) => Ok(Some(known)),
            Step::Raise(known, number) => {
                let (name, patch) = (known.metadata.name.as_deref().unwrap_or_default(), json!({"revision": number}));
                api.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await?;
                Ok(None)
            }
            Step::Create(revision) => match api.create(&PostParams::default(), &revision).await {
                Ok(made) => Ok(Some(Arc::new(made))),
                Err(error) if write::is_already_exists(&error) => Ok(Some(Arc::new(*revision))),
                Err(error) => Err(error),
            },
        }
    }

    /// Deletes what is beyond the limit.
    pub(crate) async fn trim(
        &self,
        client: &kube::Client,
        revisions: &[Arc<ControllerRevision>],
        used: impl Fn(&ControllerRevision) -> bool,
    ) -> kube::Result<()> {
        for revision in self.surplus(revisions, used) {
            let name = revision.metadata.name.as_deref().unwrap_or_default();
            match self.api(client).delete(name, &DeleteParams::default()).await {
                Err(error) if write::is_not_found(&error) => {}
                other => drop(other?),
            }
        }
        Ok(())
    }
}
