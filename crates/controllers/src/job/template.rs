//! The pod that a Job makes. Pure.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Container, EnvVar, EnvVarSource, ObjectFieldSelector, Pod, PodTemplateSpec};

use super::indexes::INDEX;
use super::plan::{FAILURES, IGNORED, NewPod, TRACKING};
use crate::common::{owner, pods};

const VARIABLE: &str = "JOB_COMPLETION_INDEX";

pub(super) fn pod(job: &Job, new: &NewPod) -> Pod {
    let spec = job.spec.as_ref();
    let nothing = PodTemplateSpec::default();
    let template = spec.map_or(&nothing, |spec| &spec.template);
    let namespace = job.metadata.namespace.as_deref().unwrap_or_default();
    let mut pod = pods::from_template(template, owner::controller_reference(job), namespace);
    let finalizers = pod.metadata.finalizers.get_or_insert_default();
    if !finalizers.iter().any(|name| name == TRACKING) {
        finalizers.push(TRACKING.to_owned());
    }
    let Some(index) = new.index else { return pod };
    let annotations = pod.metadata.annotations.get_or_insert_default();
    annotations.insert(INDEX.into(), index.to_string());
    if spec.is_some_and(|spec| spec.backoff_limit_per_index.is_some()) {
        annotations.insert(FAILURES.into(), new.failures.to_string());
        if new.ignored > 0 {
            annotations.insert(IGNORED.into(), new.ignored.to_string());
        }
    }
    pod.metadata.labels.get_or_insert_default().insert(INDEX.into(), index.to_string());
    let name = format!("{}-{index}", job.metadata.name.as_deref().unwrap_or_default());
    pod.metadata.generate_name = Some(format!("{name}-"));
    if let Some(spec) = &mut pod.spec {
        spec.containers.iter_mut().for_each(say_index);
        spec.init_containers.iter_mut().flatten().for_each(say_index);
        spec.hostname = Some(name);
    }
    pod
}

/// Tells a container its pod's index, unless it has such a variable.
fn say_index(container: &mut Container) {
    let variables = container.env.get_or_insert_default();
    if variables.iter().any(|variable| variable.name == VARIABLE) {
        return;
    }
    let field = ObjectFieldSelector { field_path: format!("metadata.labels['{INDEX}']"), api_version: None };
    variables.push(EnvVar {
        name: VARIABLE.to_owned(),
        value: None,
        value_from: Some(EnvVarSource { field_ref: Some(field), ..EnvVarSource::default() }),
    });
}
