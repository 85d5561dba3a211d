//! PersistentVolumes and their claims.

use api::field::FieldError;
use serde_json::{Map, Value, json};

use super::pod::{scheduling, volumes};
use crate::check::{self, At, Errors, resource};

const MODES: &[&str] = &["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];
const VOLUME_MODES: &[&str] = &["Block", "Filesystem"];
/// How a resize stands.
const RESIZES: &[&str] = &[
    "ControllerResizeInProgress",
    "ControllerResizeInfeasible",
    "NodeResizeInProgress",
    "NodeResizeInfeasible",
    "NodeResizePending",
];
/// The annotation that came before `spec.storageClassName`.
const CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";
/// Fields of a volume that are not its source.
const VOLUME_FIELDS: &[&str] = &[
    "accessModes",
    "capacity",
    "claimRef",
    "mountOptions",
    "nodeAffinity",
    "persistentVolumeReclaimPolicy",
    "storageClassName",
    "volumeAttributesClassName",
    "volumeMode",
];

pub(crate) fn prepare_create(object: &mut Value) {
    api::meta::put(object, "status", json!({"phase": "Pending"}));
}

pub(crate) fn validate_claim(claim: &Value) -> Errors {
    let mut errors = Errors::new();
    claim_spec(&At::field(claim, "spec"), &mut errors);
    errors
}

/// The spec of a claim, or of a template of claims.
pub(crate) fn claim_spec(spec: &At<'_>, errors: &mut Errors) {
    if spec.get("accessModes").is_empty() {
        errors.push(spec.get("accessModes").required("at least 1 access mode is required"));
    }
    check::label_selector(&spec.get("selector"), errors);
    access_modes(spec, errors);
    let storage = spec.get("resources").get("requests").get("storage");
    let at = At::new(storage.value, format!("{}.resources[storage]", spec.path));
    if storage.is_set() {
        positive(&at, errors);
    } else {
        errors.push(at.required(""));
    }
    check::optional_named(&spec.get("storageClassName"), api::names::dns_subdomain, errors);
    check::one_of(&spec.get("volumeMode"), VOLUME_MODES, errors);
    data_sources(spec, errors);
    check::optional_named(&spec.get("volumeAttributesClassName"), api::names::dns_subdomain, errors);
}

fn positive(at: &At<'_>, errors: &mut Errors) {
    if let Some(amount) = check::amount(at.value).filter(|amount| amount.is_zero() || amount.is_negative()) {
        errors.push(At::new(&json!(amount.to_string()), &*at.path).invalid("must be greater than zero"));
    } else {
        check::quantity(at, errors);
    }
}

fn access_modes(spec: &At<'_>, errors: &mut Errors) {
    let modes = spec.get("accessModes");
    let (mut single, mut others) = (false, false);
    for mode in modes.items() {
        let at = At::new(mode.value, &*modes.path);
        check::one_of(&at, MODES, errors);
        single |= mode.str() == "ReadWriteOncePod";
        others |= mode.str() != "ReadWriteOncePod" && MODES.contains(&mode.str());
    }
    if single && others {
        errors.push(modes.forbidden("may not use ReadWriteOncePod with other access modes"));
    }
}

fn data_sources(spec: &At<'_>, errors: &mut Errors) {
    let (source, reference) = (spec.get("dataSource"), spec.get("dataSourceRef"));
    for one in [&source, &reference].into_iter().filter(|one| one.is_set()) {
        for field in ["name", "kind"] {
            check::required(&one.get(field), errors);
        }
        let (group, kind) = (one.get("apiGroup"), one.get("kind"));
        if group.is_empty() && kind.str() != "PersistentVolumeClaim" {
            let why = "must be 'PersistentVolumeClaim' when referencing the default apiGroup";
            errors.push(At::new(kind.value, &*one.path).invalid(why));
        }
        check::optional_named(&group, api::names::dns_subdomain, errors);
    }
    let namespace = reference.get("namespace");
    check::optional_named(&namespace, api::names::dns_label, errors);
    let told = json!(source.path);
    if !namespace.is_empty() && source.is_set() {
        let why = "may not be specified when dataSourceRef.namespace is specified";
        errors.push(At::new(&told, &*spec.path).invalid(why));
    } else if source.is_set() && reference.is_set() {
        let same = |field: &str| source.get(field).value == reference.get(field).value;
        if !["apiGroup", "kind", "name"].into_iter().all(same) {
            errors.push(At::new(&told, &*spec.path).invalid("must match dataSourceRef"));
        }
    }
}

/// A bound claim's spec stays, except for the size.
pub(crate) fn validate_claim_update(new: &Value, old: &Value) -> Errors {
    let mut errors = Errors::new();
    let (spec, before) = (At::field(new, "spec"), At::field(old, "spec"));
    let (now, was) = shapes(new, old, &mut errors);
    if now != was {
        let why =
            "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";
        let fields = now.keys().chain(was.keys()).filter(|field| now.get(*field) != was.get(*field));
        let mut fields: Vec<String> = fields.map(|field| format!("spec.{field}")).collect();
        fields.sort_unstable();
        fields.dedup();
        errors.push(spec.forbidden(format!("{why}\nchanged: {}", fields.join(", "))));
    }
    let size = |claim: &Value, pointer: &str| claim.pointer(pointer).and_then(check::amount);
    let requested = "/spec/resources/requests/storage";
    let granted = size(old, "/status/capacity/storage").unwrap_or_default();
    if size(new, requested) < size(old, requested) && size(new, requested).is_none_or(|size| size <= granted) {
        let why = "field can not be less than status.capacity";
        errors.push(spec.get("resources").get("requests").get("storage").forbidden(why));
    }
    let (mode, old_mode) = (spec.get("volumeMode"), before.get("volumeMode"));
    check::immutable(&At::new(mode.value, "volumeMode"), &old_mode, check::IMMUTABLE, &mut errors);
    let (class, old_class) = (spec.get("volumeAttributesClassName"), before.get("volumeAttributesClassName"));
    match (old_class.is_set(), class.is_set()) {
        (true, false) => errors.push(class.forbidden("update from non-nil value to nil is forbidden")),
        (true, true) if class.is_empty() && !old_class.is_empty() => {
            errors.push(class.forbidden("update from non-nil value to an empty string is forbidden"));
        }
        _ => {}
    }
    errors
}

/// What of both specs has to be the same.
fn shapes(new: &Value, old: &Value, errors: &mut Errors) -> (Map<String, Value>, Map<String, Value>) {
    let spec = |claim: &Value| {
        let mut spec = claim.get("spec").and_then(Value::as_object).cloned().unwrap_or_default();
        spec.retain(|_, value| !At::new(value, "").is_empty());
        spec
    };
    let (mut now, mut was) = (spec(new), spec(old));
    // Once, by the volume's controller.
    if !was.contains_key("volumeName") {
        now.remove("volumeName");
    }
    let annotation = |claim: &Value| api::meta::annotation(claim, CLASS_ANNOTATION).map(str::to_owned);
    let (said, had) = (annotation(new), annotation(old));
    let class = now.get("storageClassName").and_then(Value::as_str).map(str::to_owned);
    let unset = old.pointer("/spec/storageClassName").is_none_or(Value::is_null);
    let upgraded = had.is_some() && unset && class == had && (said.is_none() || said == had);
    if !upgraded && said != had {
        let place = format!("metadata.annotations[{CLASS_ANNOTATION}]");
        errors.push(At::new(&json!(said.unwrap_or_default()), place).invalid(check::IMMUTABLE));
    }
    if unset && (had.is_none() || class == had) {
        now.remove("storageClassName");
    }
    if api::meta::at(new, "/status/phase") == "Bound" {
        for spec in [&mut now, &mut was] {
            let requests = spec.get_mut("resources").and_then(|r| r.get_mut("requests"));
            if let Some(requests) = requests.and_then(Value::as_object_mut) {
                requests.remove("storage");
            }
            spec.remove("volumeAttributesClassName");
        }
    }
    (now, was)
}

/// Complaints about a claim's status.
pub(crate) fn validate_claim_status(new: &Value, _old: &Value) -> Errors {
    let mut errors = Errors::new();
    let status = At::field(new, "status");
    for field in ["capacity", "allocatedResources"] {
        for (_, amount) in status.get(field).entries() {
            check::quantity(&amount, &mut errors);
        }
    }
    let (resizes, allocated) = (status.get("allocatedResourceStatuses"), status.get("allocatedResources"));
    // Upstream's path lacks the end of the word.
    let told = format!("{}.allocatedResourceStatus", status.path);
    for (name, state) in resizes.entries() {
        grown(name, &told, &mut errors);
        if !RESIZES.contains(&state.str()) {
            errors.push(FieldError::not_supported(&told, &name.into(), RESIZES));
        }
    }
    for (name, _) in allocated.entries() {
        grown(name, &allocated.path, &mut errors);
    }
    errors
}

/// What grows of a claim: its storage, or what a driver has a name for.
fn grown(name: &str, path: &str, errors: &mut Errors) {
    if let Err(why) = api::names::qualified_name(name) {
        errors.push(FieldError::invalid(path, &name.into(), why));
    } else if resource::is_native(name) && name != "storage" {
        errors.push(FieldError::not_supported(path, &name.into(), &["storage"]));
    }
}

pub(crate) fn validate_volume(volume: &Value) -> Errors {
    let mut errors = Errors::new();
    volume_spec(&At::field(volume, "spec"), false, &mut errors);
    errors
}

/// The spec of a volume, or of one that is given inline with an attachment.
pub(crate) fn volume_spec(spec: &At<'_>, inline: bool, errors: &mut Errors) {
    if inline {
        for field in ["claimRef", "capacity", "nodeAffinity", "storageClassName"] {
            if !spec.get(field).is_empty() {
                errors.push(spec.get(field).forbidden("may not be specified in the context of inline volumes"));
            }
        }
        if !spec.get("csi").is_set() {
            errors.push(spec.get("csi").required("has to be specified in the context of inline volumes"));
        }
    }
    if spec.get("accessModes").is_empty() {
        errors.push(spec.get("accessModes").required(""));
    }
    access_modes(spec, errors);
    if !inline {
        capacity(&spec.get("capacity"), errors);
    }
    let policy = spec.get("persistentVolumeReclaimPolicy");
    check::one_of(&policy, &["Delete", "Recycle", "Retain"], errors);
    let affinity = spec.get("nodeAffinity");
    let needed = affinity.get("required");
    if needed.is_set() {
        scheduling::node_selector(&needed, errors);
    } else if affinity.is_set() {
        errors.push(needed.required("must specify required node constraints"));
    }
    source(spec, needed.is_set(), errors);
    if policy.str() == "Recycle" && matches!(spec.get("hostPath").get("path").str(), "/" | "//" | "/.") {
        errors.push(policy.forbidden("may not be 'recycle' for a hostPath mount of '/'"));
    }
    check::optional_named(&spec.get("storageClassName"), api::names::dns_subdomain, errors);
    check::one_of(&spec.get("volumeMode"), VOLUME_MODES, errors);
    attributes_class(spec, errors);
}

fn attributes_class(spec: &At<'_>, errors: &mut Errors) {
    let class = spec.get("volumeAttributesClassName");
    if !class.is_set() {
        return;
    }
    check::required_named(&class, api::names::dns_subdomain, errors);
    if !spec.get("csi").is_set() {
        errors.push(spec.get("csi").required("has to be specified when using volumeAttributesClassName"));
    }
}

fn capacity(capacity: &At<'_>, errors: &mut Errors) {
    if capacity.is_empty() {
        errors.push(capacity.required(""));
    }
    if !capacity.get("storage").is_set() || capacity.entries().count() > 1 {
        errors.push(capacity.not_supported(&["storage"]));
    }
    for (key, amount) in capacity.entries() {
        positive(&At::new(amount.value, format!("{}[{key}]", capacity.path)), errors);
    }
}

/// The one kind of volume that it says.
fn source(spec: &At<'_>, placed: bool, errors: &mut Errors) {
    let fields = spec.value.as_object().into_iter().flatten();
    let sources: Vec<_> = fields.filter(|(k, v)| !v.is_null() && !VOLUME_FIELDS.contains(&k.as_str())).collect();
    let Some(((kind, _), more)) = sources.split_first() else {
        errors.push(spec.required("must specify a volume type"));
        return;
    };
    let at = spec.get(kind);
    if *kind == "local" {
        if check::required(&at.get("path"), errors) && at.get("path").str().split('/').any(|part| part == "..") {
            errors.push(at.get("path").invalid("must not contain '..'"));
        }
        if !placed {
            errors.push(spec.get("nodeAffinity").required("Local volume requires node affinity"));
        }
    } else {
        volumes::one_source(kind, &at, errors);
    }
    if *kind == "csi" {
        check::required(&at.get("volumeHandle"), errors);
    }
    for (kind, _) in more {
        errors.push(spec.get(kind).forbidden("may not specify more than 1 volume type"));
    }
}

pub(crate) fn validate_volume_update(new: &Value, old: &Value) -> Errors {
    let mut errors = Errors::new();
    let source = |volume: &Value| {
        let mut spec = volume.get("spec").and_then(Value::as_object).cloned().unwrap_or_default();
        spec.retain(|key, value| !VOLUME_FIELDS.contains(&key.as_str()) && !value.is_null());
        spec
    };
    let (mut now, was) = (source(new), source(old));
    // A secret for expansion may be given later.
    let secret = "controllerExpandSecretRef";
    if was.get("csi").is_some_and(|csi| csi.get(secret).is_none())
        && let Some(csi) = now.get_mut("csi").and_then(Value::as_object_mut)
    {
        csi.remove(secret);
    }
    if now != was {
        let why = "spec.persistentvolumesource is immutable after creation";
        errors.push(At::new(&Value::Null, "spec.persistentvolumesource").forbidden(why));
    }
    let (now, was) = (At::field(new, "spec"), At::field(old, "spec"));
    let (mode, old_mode) = (now.get("volumeMode"), was.get("volumeMode"));
    check::immutable(&At::new(mode.value, "volumeMode"), &old_mode, check::IMMUTABLE, &mut errors);
    let (affinity, old_affinity) = (now.get("nodeAffinity"), was.get("nodeAffinity"));
    if old_affinity.is_set() {
        check::immutable(&At::new(affinity.value, "nodeAffinity"), &old_affinity, check::IMMUTABLE, &mut errors);
    }
    let class = now.get("volumeAttributesClassName");
    if was.get("volumeAttributesClassName").is_set() && !class.is_set() {
        errors.push(class.forbidden("update from non-nil value to nil is forbidden"));
    }
    errors
}
