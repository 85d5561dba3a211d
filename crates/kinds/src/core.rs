//! Kinds of the core group.

pub(crate) mod namespace;
pub(crate) mod pod;
pub(crate) mod secret;
pub(crate) mod service;

use serde_json::Value;

use crate::{NameRule, Rules};

pub(crate) fn rules(kind: &str) -> &'static Rules {
    match kind {
        "Pod" => &POD,
        "Namespace" => &NAMESPACE,
        "Service" => &SERVICE,
        "Event" => &EVENT,
        "Node" => &NODE,
        "Secret" => &SECRET,
        "ReplicationController" => &TEMPLATED,
        "ConfigMap" | "Endpoints" | "ServiceAccount" => &DATA,
        _ => &Rules::PLAIN,
    }
}

static POD: Rules = Rules {
    grace: Some(|pod| {
        let bound = !api::meta::at(pod, "/spec/nodeName").is_empty();
        let ended = matches!(api::meta::at(pod, "/status/phase"), "Succeeded" | "Failed");
        let asked = pod.pointer("/spec/terminationGracePeriodSeconds").and_then(Value::as_i64);
        if bound && !ended { asked.unwrap_or(30) } else { 0 }
    }),
    fields: &[
        ("spec.nodeName", "/spec/nodeName"),
        ("spec.restartPolicy", "/spec/restartPolicy"),
        ("spec.schedulerName", "/spec/schedulerName"),
        ("spec.serviceAccountName", "/spec/serviceAccountName"),
        ("spec.hostNetwork", "/spec/hostNetwork"),
        ("status.phase", "/status/phase"),
        ("status.podIP", "/status/podIP"),
        ("status.nominatedNodeName", "/status/nominatedNodeName"),
    ],
    default: pod::default,
    prepare_create: pod::prepare_create,
    ..Rules::PLAIN
};

static NAMESPACE: Rules = Rules {
    names: NameRule::Label,
    fields: &[("status.phase", "/status/phase")],
    has_generation: false,
    default: namespace::default,
    prepare_create: namespace::prepare_create,
    prepare_update: namespace::prepare_update,
    ..Rules::PLAIN
};

static SERVICE: Rules = Rules {
    names: NameRule::Label1035,
    has_generation: false,
    fields: &[("spec.clusterIP", "/spec/clusterIP"), ("spec.type", "/spec/type")],
    default: service::default,
    prepare_create: service::prepare_create,
    ..Rules::PLAIN
};

static EVENT: Rules = Rules {
    create_on_update: true,
    has_generation: false,
    fields: &[
        ("involvedObject.kind", "/involvedObject/kind"),
        ("involvedObject.namespace", "/involvedObject/namespace"),
        ("involvedObject.name", "/involvedObject/name"),
        ("involvedObject.uid", "/involvedObject/uid"),
        ("involvedObject.apiVersion", "/involvedObject/apiVersion"),
        ("involvedObject.resourceVersion", "/involvedObject/resourceVersion"),
        ("involvedObject.fieldPath", "/involvedObject/fieldPath"),
        ("reason", "/reason"),
        ("reportingComponent", "/reportingComponent"),
        ("source", "/source/component"),
        ("type", "/type"),
    ],
    ..Rules::PLAIN
};

static NODE: Rules =
    Rules { has_generation: false, fields: &[("spec.unschedulable", "/spec/unschedulable")], ..Rules::PLAIN };

static DATA: Rules =
    Rules { create_on_update: true, has_generation: false, fields: &[("type", "/type")], ..Rules::PLAIN };

static SECRET: Rules = Rules {
    create_on_update: true,
    has_generation: false,
    fields: &[("type", "/type")],
    default: secret::default,
    ..Rules::PLAIN
};

/// Kinds that make pods from `spec.template`.
pub(crate) static TEMPLATED: Rules = Rules { default: default_template, ..Rules::PLAIN };

/// Defaults of the pod template at `spec.template`.
pub(crate) fn default_template(object: &mut Value) {
    if let Some(spec) = object.pointer_mut("/spec/template/spec").and_then(Value::as_object_mut) {
        pod::default_spec(spec);
    }
}
