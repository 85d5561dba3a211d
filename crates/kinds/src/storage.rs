//! Kinds of group `storage.k8s.io`.

use std::collections::HashSet;

use api::field::FieldError;
use serde_json::Value;

use crate::Rules;
use crate::check::{self, At, Errors};
use crate::core::storage::volume_spec;

const MAX_PARAMETERS: usize = 512;
const MAX_PARAMETERS_BYTES: usize = 256 << 10;
const MAX_NODE_ID: usize = 192;

pub(crate) fn rules(kind: &str) -> &'static Rules {
    match kind {
        "StorageClass" => &CLASS,
        "VolumeAttachment" => &ATTACHMENT,
        "CSINode" => &CSI_NODE,
        "CSIDriver" => &CSI_DRIVER,
        "CSIStorageCapacity" => &CSI_CAPACITY,
        "VolumeAttributesClass" => &ATTRIBUTES_CLASS,
        _ => &Rules::PLAIN,
    }
}

static CLASS: Rules = Rules {
    has_generation: false,
    validate: |class| {
        let mut errors = Errors::new();
        provisioner(&At::field(class, "provisioner"), &mut errors);
        parameters(&At::field(class, "parameters"), true, &mut errors);
        check::one_of(&At::field(class, "reclaimPolicy"), &["Delete", "Retain"], &mut errors);
        let mode = At::field(class, "volumeBindingMode");
        check::required_one_of(&mode, &["Immediate", "WaitForFirstConsumer"], &mut errors);
        topologies(&At::field(class, "allowedTopologies"), &mut errors);
        errors
    },
    validate_update: |new, old| {
        let mut errors = Errors::new();
        fixed(new, old, &["parameters", "provisioner", "reclaimPolicy"], &mut errors);
        let (mode, was) = (At::field(new, "volumeBindingMode"), At::field(old, "volumeBindingMode"));
        check::immutable(&mode, &was, check::IMMUTABLE, &mut errors);
        errors
    },
    ..Rules::PLAIN
};

static ATTRIBUTES_CLASS: Rules = Rules {
    has_generation: false,
    validate: |class| {
        let mut errors = Errors::new();
        provisioner(&At::field(class, "driverName"), &mut errors);
        parameters(&At::field(class, "parameters"), false, &mut errors);
        errors
    },
    validate_update: |new, old| {
        let mut errors = Errors::new();
        fixed(new, old, &["driverName", "parameters"], &mut errors);
        errors
    },
    ..Rules::PLAIN
};

/// Fields of the object that an update may not change.
fn fixed(new: &Value, old: &Value, fields: &[&str], errors: &mut Errors) {
    for field in fields {
        let (now, was) = (At::field(new, field), At::field(old, field));
        if now.value != was.value && !(now.is_empty() && was.is_empty()) {
            errors.push(now.forbidden(format!("updates to {field} are forbidden.")));
        }
    }
}

fn provisioner(at: &At<'_>, errors: &mut Errors) {
    if check::required(at, errors)
        && let Err(why) = api::names::qualified_name(&at.str().to_lowercase())
    {
        errors.push(FieldError::invalid(&at.path, &at.str().to_lowercase().into(), why));
    }
}

fn parameters(at: &At<'_>, may_be_empty: bool, errors: &mut Errors) {
    if at.entries().count() > MAX_PARAMETERS {
        errors.push(FieldError::too_long(&at.path, MAX_PARAMETERS));
        return;
    }
    for (key, _) in at.entries().filter(|(key, _)| key.is_empty()) {
        errors.push(FieldError::invalid(&at.path, &key.into(), "field can not be empty."));
    }
    if at.entries().map(|(key, value)| key.len() + value.str().len()).sum::<usize>() > MAX_PARAMETERS_BYTES {
        errors.push(FieldError::too_long(&at.path, MAX_PARAMETERS_BYTES));
    }
    if !may_be_empty && at.is_empty() {
        errors.push(at.required("must contain at least one key/value pair"));
    }
}

fn topologies(at: &At<'_>, errors: &mut Errors) {
    let mut terms = Vec::new();
    for term in at.items() {
        let expressions = term.get("matchLabelExpressions");
        let mut keys = HashSet::new();
        for expression in expressions.items() {
            let (key, values) = (expression.get("key"), expression.get("values"));
            if values.is_empty() {
                errors.push(values.required(""));
            }
            let mut seen = HashSet::new();
            for value in values.items().filter(|value| !seen.insert(value.str())) {
                errors.push(value.duplicate());
            }
            if !keys.insert(key.str()) {
                errors.push(key.duplicate());
            }
            check::named(&key, api::names::qualified_name, errors);
        }
        if terms.contains(&expressions.value) {
            errors.push(FieldError::duplicate(&expressions.path, &"".into()));
        }
        terms.push(expressions.value);
    }
}

static ATTACHMENT: Rules = Rules {
    has_generation: false,
    validate: |attachment| {
        let mut errors = Errors::new();
        let spec = At::field(attachment, "spec");
        check::required_named(&spec.get("attacher"), api::names::dns_subdomain, &mut errors);
        attached(&spec.get("source"), &mut errors);
        check::named(&spec.get("nodeName"), api::names::dns_subdomain, &mut errors);
        errors
    },
    validate_update: |new, old| {
        let mut errors = Errors::new();
        check::immutable(&At::field(new, "spec"), &At::field(old, "spec"), check::IMMUTABLE, &mut errors);
        errors
    },
    ..Rules::PLAIN
};

fn attached(source: &At<'_>, errors: &mut Errors) {
    let (inline, name) = (source.get("inlineVolumeSpec"), source.get("persistentVolumeName"));
    let one = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";
    match (inline.is_set(), name.is_set()) {
        (false, false) => errors.push(source.required(one)),
        (true, true) => errors.push(source.forbidden(one)),
        (true, false) => volume_spec(&inline, true, errors),
        (false, true) if name.is_empty() => errors.push(name.required("must specify non empty persistentVolumeName")),
        (false, true) => check::named(&name, api::names::dns_subdomain, errors),
    }
}

static CSI_NODE: Rules = Rules {
    has_generation: false,
    validate: |node| {
        let mut errors = Errors::new();
        let mut seen = HashSet::new();
        for driver in At::field(node, "spec").get("drivers").items() {
            csi_node_driver(&driver, &mut seen, &mut errors);
        }
        errors
    },
    validate_update: |new, old| {
        let mut errors = Errors::new();
        let (now, was) = (At::field(new, "spec").get("drivers"), At::field(old, "spec").get("drivers"));
        let shape = |driver: &Value| {
            let mut shape = driver.as_object().cloned().unwrap_or_default();
            shape.remove("allocatable");
            shape
        };
        for before in was.items() {
            let same = now.items().find(|driver| driver.get("name").value == before.get("name").value);
            if let Some(after) = same.filter(|after| shape(after.value) != shape(before.value)) {
                errors.push(FieldError::invalid("spec.drivers", after.value, check::IMMUTABLE));
            }
        }
        errors
    },
    ..Rules::PLAIN
};

fn csi_node_driver<'a>(driver: &At<'a>, seen: &mut HashSet<&'a str>, errors: &mut Errors) {
    let (name, id) = (driver.get("name"), driver.get("nodeID"));
    check::csi_driver(&name, errors);
    if check::required(&id, errors) && id.str().len() > MAX_NODE_ID {
        errors.push(id.invalid(format!("must be {MAX_NODE_ID} characters or less")));
    }
    check::not_negative(&driver.get("allocatable").get("count"), errors);
    if !seen.insert(name.str()) {
        errors.push(name.duplicate());
    }
    let mut keys = HashSet::new();
    for key in driver.get("topologyKeys").items() {
        let at = At::new(key.value, &*driver.path);
        if check::required(&at, errors) {
            check::named(&at, api::names::qualified_name, errors);
        }
        if !keys.insert(key.str()) {
            errors.push(FieldError::duplicate(&driver.path, key.value));
        }
    }
}

static CSI_DRIVER: Rules = Rules {
    validate: |driver| {
        let mut errors = Errors::new();
        let name = api::meta::name(driver).into();
        check::csi_driver(&At::new(&name, "name"), &mut errors);
        let spec = At::field(driver, "spec");
        let policies = ["File", "None", "ReadWriteOnceWithFSType"];
        check::one_of(&spec.get("fsGroupPolicy"), &policies, &mut errors);
        token_requests(&spec.get("tokenRequests"), &mut errors);
        for mode in spec.get("volumeLifecycleModes").items() {
            let at = At::new(mode.value, "spec.volumeLifecycleModes");
            check::one_of(&at, &["Persistent", "Ephemeral"], &mut errors);
        }
        let period = spec.get("nodeAllocatableUpdatePeriodSeconds");
        if period.int().is_some_and(|seconds| seconds < 10) {
            errors.push(period.invalid("must be greater than or equal to 10 seconds"));
        }
        errors
    },
    validate_update: |new, old| {
        let mut errors = Errors::new();
        let (now, was) = (At::field(new, "spec"), At::field(old, "spec"));
        // Upstream's path of the first one has a letter too many.
        for (field, place) in [("attachRequired", "attachedRequired"), ("volumeLifecycleModes", "volumeLifecycleModes")]
        {
            let at = At::new(now.get(field).value, format!("spec.{place}"));
            check::immutable(&at, &was.get(field), check::IMMUTABLE, &mut errors);
        }
        errors
    },
    ..Rules::PLAIN
};

fn token_requests(list: &At<'_>, errors: &mut Errors) {
    let mut seen = HashSet::new();
    for request in list.items() {
        let (audience, seconds) = (request.get("audience"), request.get("expirationSeconds"));
        if !seen.insert(audience.str()) {
            errors.push(audience.duplicate());
            continue;
        }
        if seconds.int().is_some_and(|s| s < 600) {
            errors.push(seconds.invalid("may not specify a duration less than 10 minutes"));
        }
        if seconds.int().is_some_and(|s| s > 1 << 32) {
            errors.push(seconds.invalid("may not specify a duration larger than 2^32 seconds"));
        }
    }
}

static CSI_CAPACITY: Rules = Rules {
    has_generation: false,
    validate: |capacity| {
        let mut errors = Errors::new();
        check::label_selector(&At::field(capacity, "nodeTopology"), &mut errors);
        check::named(&At::field(capacity, "storageClassName"), api::names::dns_subdomain, &mut errors);
        let amount = At::field(capacity, "capacity");
        if amount.is_set() {
            check::quantity(&amount, &mut errors);
        }
        errors
    },
    validate_update: |new, old| {
        let mut errors = Errors::new();
        for field in ["nodeTopology", "storageClassName"] {
            let (now, was) = (At::field(new, field), At::field(old, field));
            check::immutable(&now, &was, check::IMMUTABLE, &mut errors);
        }
        errors
    },
    ..Rules::PLAIN
};
