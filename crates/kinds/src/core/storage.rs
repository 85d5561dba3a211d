//! PersistentVolumes and their claims.

use serde_json::{Value, json};

use crate::check::{self, At, Errors};

const MODES: &[&str] = &["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];
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
    let spec = At::field(claim, "spec");
    access_modes(&spec, "at least 1 access mode is required", &mut errors);
    let storage = spec.get("resources").get("requests").get("storage");
    if storage.is_set() {
        let at = At::new(storage.value, "spec.resources[storage]");
        if let Some(amount) = check::quantity(&at, &mut errors)
            && amount.is_zero()
        {
            errors.push(at.invalid("must be greater than zero"));
        }
    } else {
        errors.push(At::new(&Value::Null, "spec.resources[storage]").required(""));
    }
    check::label_selector(&spec.get("selector"), &mut errors);
    check::optional_named(&spec.get("storageClassName"), api::names::dns_subdomain, &mut errors);
    check::one_of(&spec.get("volumeMode"), &["Block", "Filesystem"], &mut errors);
    errors
}

fn access_modes(spec: &At<'_>, why: &str, errors: &mut Errors) {
    let modes = spec.get("accessModes");
    if modes.is_empty() {
        errors.push(modes.required(why));
    }
    for mode in modes.items() {
        let at = At::new(mode.value, &*modes.path);
        check::one_of(&at, MODES, errors);
    }
}

/// A bound claim's spec stays, except for the size.
pub(crate) fn validate_claim_update(new: &Value, old: &Value) -> Errors {
    let mut errors = Errors::new();
    let shape = |claim: &Value| {
        let mut spec = claim.get("spec").and_then(Value::as_object).cloned().unwrap_or_default();
        for field in ["resources", "volumeAttributesClassName"] {
            spec.remove(field);
        }
        if spec.get("volumeName").is_none_or(|v| v == "") || api::meta::at(old, "/spec/volumeName").is_empty() {
            spec.remove("volumeName");
        }
        spec
    };
    if shape(new) != shape(old) {
        let why =
            "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";
        errors.push(At::field(new, "spec").forbidden(why));
    }
    let size = |c: &Value| c.pointer("/spec/resources/requests/storage").and_then(check::amount);
    if size(new) < size(old) {
        let why = "field can not be less than status.capacity";
        errors.push(At::field(new, "spec").get("resources").get("requests").get("storage").forbidden(why));
    }
    errors
}

pub(crate) fn validate_volume(volume: &Value) -> Errors {
    let mut errors = Errors::new();
    let spec = At::field(volume, "spec");
    access_modes(&spec, "", &mut errors);
    let capacity = spec.get("capacity");
    if capacity.is_empty() {
        errors.push(capacity.required(""));
    } else if !capacity.get("storage").is_set() {
        errors.push(capacity.not_supported(&["storage"]));
    }
    for (_, amount) in capacity.entries() {
        check::quantity(&amount, &mut errors);
    }
    check::one_of(&spec.get("persistentVolumeReclaimPolicy"), &["Delete", "Recycle", "Retain"], &mut errors);
    check::optional_named(&spec.get("storageClassName"), api::names::dns_subdomain, &mut errors);
    let fields = spec.value.as_object().into_iter().flatten();
    let sources: Vec<_> = fields.filter(|(k, v)| !v.is_null() && !VOLUME_FIELDS.contains(&k.as_str())).collect();
    match sources.as_slice() {
        [] => errors.push(spec.required("must specify a volume type")),
        [_] => {}
        [_, more @ ..] => {
            for (kind, _) in more {
                errors.push(spec.get(kind).forbidden("may not specify more than 1 volume type"));
            }
        }
    }
    errors
}

pub(crate) fn validate_volume_update(new: &Value, old: &Value) -> Errors {
    let mut errors = Errors::new();
    let source = |volume: &Value| {
        let mut spec = volume.get("spec").and_then(Value::as_object).cloned().unwrap_or_default();
        spec.retain(|key, _| !VOLUME_FIELDS.contains(&key.as_str()));
        spec
    };
    if source(new) != source(old) {
        let why = "spec.persistentvolumesource is immutable after creation";
        errors.push(At::field(new, "spec.persistentvolumesource").forbidden(why));
    }
    let (now, was) = (At::field(new, "spec"), At::field(old, "spec"));
    check::immutable(&now.get("volumeMode"), &was.get("volumeMode"), check::IMMUTABLE, &mut errors);
    errors
}
