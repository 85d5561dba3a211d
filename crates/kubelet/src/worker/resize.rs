//! Gives running containers other resources. The pod's control group is widened first and fitted afterwards, since a
//! group cannot have more than the one above it.

use std::sync::Arc;

use client::reference;
use cri::CriError;
use cri::v1::{LinuxContainerResources, UpdateContainerResourcesRequest};
use k8s_openapi::api::core::v1::{Container, Pod, ResourceRequirements};

use super::Worker;
use super::act::{Finished, REQUEST, later};
use crate::container::linux_resources;
use crate::context::Context;
use crate::{cgroups, sandbox, spec};

/// Seconds until a failure is tried again.
const AGAIN: i64 = 5;

/// The group of a pod that is to be fitted.
pub(super) struct Group {
    context: Arc<Context>,
    sandbox_id: String,
    /// The pod with the resources that its containers have at the end.
    after: Pod,
}

impl Group {
    async fn limit(&self, resources: LinuxContainerResources) -> Result<(), String> {
        let context = &self.context;
        if context.config.cgroups_per_qos {
            let (pod, config) = (self.after.clone(), Arc::clone(&context.config));
            let limited = tokio::task::spawn_blocking(move || cgroups::limit(&pod, &config, &resources)).await;
            return limited.unwrap_or_else(|error| Err(error.to_string()));
        }
        match context.engine.update_pod_sandbox_resources(&self.sandbox_id, resources).await {
            // Nothing limits the pod as a whole there.
            Err(CriError::Unimplemented(_)) => Ok(()),
            limited => limited.map_err(|error| error.to_string()),
        }
    }

    async fn widen(&self) -> Result<(), String> {
        let none = LinuxContainerResources { cpu_quota: -1, memory_limit_in_bytes: -1, ..Default::default() };
        self.limit(none).await
    }

    async fn fit(&self) -> Result<(), String> {
        let mut sum = sandbox::sum(&self.after, self.context.memory_capacity);
        for limit in [&mut sum.cpu_quota, &mut sum.memory_limit_in_bytes] {
            *limit = if *limit == 0 { -1 } else { *limit };
        }
        self.limit(sum).await
    }

    /// For a container that is about to start.
    pub(super) async fn run(self) {
        if let Err(error) = self.fit().await {
            tracing::warn!(pod = spec::display(&self.after), error, "control group of a pod not fitted");
        }
    }
}

impl Worker {
    /// What has to be done before a container starts that had other resources before. It has the new ones from here on.
    pub(super) fn regroup(&mut self, name: &str) -> Option<Group> {
        let wanted = spec::find(&self.pod, name)?.container.resources.clone().unwrap_or_default();
        let before = self.progress.given.insert(name.to_owned(), wanted.clone());
        let changed = before.is_some_and(|before| before != wanted);
        if changed { self.group(name) } else { None }
    }

    /// The group when a container has what the pod says, and the others what they were given.
    fn group(&self, name: &str) -> Option<Group> {
        let sandbox_id = self.observed.sandboxes.first()?.id.clone();
        let mut after = (*self.pod).clone();
        let spec = after.spec.as_mut()?;
        let all = spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten());
        for container in all.filter(|container| container.name != name) {
            if let Some(given) = self.progress.given.get(&container.name) {
                container.resources = Some(given.clone());
            }
        }
        Some(Group { context: Arc::clone(&self.context), sandbox_id, after })
    }

    pub(super) fn resize(&mut self, id: String, name: String) {
        let Some(container) = spec::find(&self.pod, &name).map(|entry| entry.container.into_owned()) else { return };
        let given = container.resources.clone().unwrap_or_default();
        let Some(group) = self.group(&name) else { return };
        self.progress.resizing.insert(name.clone());
        let pod = Arc::clone(&self.pod);
        self.work.spawn(async move {
            let result = tokio::time::timeout(REQUEST, give(&group, &pod, &container, id)).await;
            let result = result.unwrap_or_else(|_| Err("timed out resizing the container".to_owned()));
            Finished::Resized { name, given: Box::new(given), result }
        });
    }

    pub(super) fn resized(&mut self, name: String, given: ResourceRequirements, result: Result<(), String>) {
        self.progress.resizing.remove(&name);
        match result {
            Ok(()) => {
                self.progress.resize_failed.remove(&name);
                self.progress.given.insert(name, given);
            }
            Err(error) => {
                tracing::warn!(pod = spec::display(&self.pod), name, error, "container not resized");
                self.context.recorder.warning(&reference(&*self.pod), "ResizeError", error.clone());
                self.progress.resize_failed.insert(name, (error, later(AGAIN)));
            }
        }
    }
}

async fn give(group: &Group, pod: &Pod, container: &Container, id: String) -> Result<(), String> {
    group.widen().await?;
    let linux = linux_resources(pod, container, group.context.memory_capacity);
    let request = UpdateContainerResourcesRequest { container_id: id, linux: Some(linux), ..Default::default() };
    let given = group.context.engine.update_container_resources(request).await.map_err(|error| error.to_string());
    // Whether it has them or not, the pod has its limits again.
    group.fit().await.and(given)
}
