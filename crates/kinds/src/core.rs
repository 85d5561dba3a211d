//! Kinds of the core group.

mod data;
mod endpoints;
mod event;
mod limits;
pub(crate) mod namespace;
mod node;
pub(crate) mod pod;
mod quota;
pub(crate) mod secret;
pub(crate) mod service;
pub(crate) mod storage;

pub(crate) use endpoints::not_special;

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
        "ReplicationController" => &REPLICATION_CONTROLLER,
        "ConfigMap" => &CONFIG_MAP,
        "Endpoints" => &ENDPOINTS,
        "ServiceAccount" => &DATA,
        "PersistentVolume" => &VOLUME,
        "PersistentVolumeClaim" => &CLAIM,
        "LimitRange" => &limits::LIMITS,
        "ResourceQuota" => &quota::QUOTA,
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
    validate: pod::validate,
    validate_new: pod::validate_new,
    validate_update: pod::update::validate,
    door: |door, new, old| match door {
        "ephemeralcontainers" | "resize" => pod::update::through_door(door, new, old),
        _ => {}
    },
    validate_door: |door, new, old| match door {
        "ephemeralcontainers" => pod::update::validate_ephemeral(new, old),
        "resize" => pod::update::validate_resize(new, old),
        _ => Vec::new(),
    },
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
    prepare_update: service::prepare_update,
    validate: service::validate,
    validate_update: service::validate_update,
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
        // The same under the names of events.k8s.io.
        ("regarding.kind", "/involvedObject/kind"),
        ("regarding.namespace", "/involvedObject/namespace"),
        ("regarding.name", "/involvedObject/name"),
        ("regarding.uid", "/involvedObject/uid"),
        ("regarding.apiVersion", "/involvedObject/apiVersion"),
        ("regarding.resourceVersion", "/involvedObject/resourceVersion"),
        ("regarding.fieldPath", "/involvedObject/fieldPath"),
        ("reportingController", "/reportingComponent"),
        ("source", "/source/component"),
        ("type", "/type"),
    ],
    validate_new: event::validate,
    ..Rules::PLAIN
};

static NODE: Rules = Rules {
    has_generation: false,
    fields: &[("spec.unschedulable", "/spec/unschedulable")],
    default: node::default,
    validate: node::validate,
    validate_update: node::validate_update,
    ..Rules::PLAIN
};

static VOLUME: Rules = Rules {
    has_generation: false,
    prepare_create: storage::prepare_create,
    validate: storage::validate_volume,
    validate_update: storage::validate_volume_update,
    ..Rules::PLAIN
};

static CLAIM: Rules = Rules {
    has_generation: false,
    prepare_create: storage::prepare_create,
    validate: storage::validate_claim,
    validate_update: storage::validate_claim_update,
    validate_status: storage::validate_claim_status,
    ..Rules::PLAIN
};

const DATA_RULES: Rules = Rules { create_on_update: true, has_generation: false, ..Rules::PLAIN };

static DATA: Rules = DATA_RULES;

static ENDPOINTS: Rules = Rules { validate: endpoints::validate, ..DATA_RULES };

static CONFIG_MAP: Rules =
    Rules { validate: data::validate_config_map, validate_update: data::validate_update, ..DATA_RULES };

static SECRET: Rules = Rules {
    create_on_update: true,
    has_generation: false,
    fields: &[("type", "/type")],
    default: secret::default,
    validate: data::validate_secret,
    validate_update: data::validate_update,
    ..Rules::PLAIN
};

static REPLICATION_CONTROLLER: Rules = Rules {
    default: |controller| {
        default_template(controller);
        labels_of_template(controller);
    },
    prepare_create: |controller| api::meta::put(controller, "status", serde_json::json!({"replicas": 0})),
    ..Rules::PLAIN
};

/// Selector and labels that are not said are the template's.
fn labels_of_template(controller: &mut Value) {
    let Some(labels) = controller.pointer("/spec/template/metadata/labels").filter(|l| l.is_object()).cloned() else {
        return;
    };
    let spec = api::meta::child_mut(api::meta::map_mut(controller), "spec");
    spec.entry("selector").or_insert_with(|| labels.clone());
    api::meta::of_mut(controller).entry("labels").or_insert(labels);
}

/// Defaults of the pod template at `spec.template`.
pub(crate) fn default_template(object: &mut Value) {
    if let Some(spec) = object.pointer_mut("/spec/template/spec").and_then(Value::as_object_mut) {
        pod::default_spec(spec);
    }
}
