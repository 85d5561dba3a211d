//! Events of pods and their containers.

use client::{EventRecorder, reference};
use k8s_openapi::api::core::v1::{ObjectReference, Pod};

use crate::spec::Entry;

/// Tells events of one container.
pub(crate) struct ContainerEvents<'a> {
    recorder: &'a EventRecorder,
    object: ObjectReference,
}

impl<'a> ContainerEvents<'a> {
    pub(crate) fn new(recorder: &'a EventRecorder, pod: &Pod, entry: &Entry<'_>) -> Self {
        let object = ObjectReference { field_path: Some(entry.field_path()), ..reference(pod) };
        Self { recorder, object }
    }

    pub(crate) fn normal(&self, reason: &str, message: impl Into<String>) {
        self.recorder.normal(&self.object, reason, message);
    }

    pub(crate) fn warning(&self, reason: &str, message: impl Into<String>) {
        self.recorder.warning(&self.object, reason, message);
    }
}
