//! Volumes of a pod.

use std::collections::HashSet;

use api::field::FieldError;
use api::names;

use super::containers::{env, mounts};
use crate::check::{self, At, Errors};
use crate::core::storage::claim_spec;

const HOST_PATH_TYPES: &[&str] =
    &["BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];
const DOWNWARD_FIELDS: &[&str] =
    &["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];

/// Complaints about volumes; returns their names.
pub(super) fn validate<'a>(volumes: &At<'a>, errors: &mut Errors) -> HashSet<&'a str> {
    let mut seen = HashSet::new();
    for volume in volumes.items() {
        let name = volume.get("name");
        check::required_named(&name, names::dns_label, errors);
        if !name.is_empty() && !seen.insert(name.str()) {
            errors.push(name.duplicate());
        }
        source(&volume, errors);
    }
    seen
}

/// The one kind of volume that it says.
fn source(volume: &At<'_>, errors: &mut Errors) {
    let fields = volume.value.as_object().into_iter().flatten();
    let mut given = fields.filter(|(key, value)| *key != "name" && !value.is_null()).map(|(key, _)| key.as_str());
    let Some(kind) = given.next() else {
        errors.push(volume.required("must specify a volume type"));
        return;
    };
    one_source(kind, &volume.get(kind), errors);
    for more in given {
        errors.push(volume.get(more).forbidden("may not specify more than 1 volume type"));
    }
}

/// A source of one kind, of a pod's volume or of a PersistentVolume.
pub(crate) fn one_source(kind: &str, at: &At<'_>, errors: &mut Errors) {
    let mut need = |fields: &[&str]| {
        for field in fields {
            check::required(&at.get(field), errors);
        }
    };
    match kind {
        "hostPath" => {
            if check::required(&at.get("path"), errors) && at.get("path").str().split('/').any(|p| p == "..") {
                errors.push(at.get("path").invalid("must not contain '..'"));
            }
            check::one_of(&at.get("type"), HOST_PATH_TYPES, errors);
        }
        "emptyDir" => {
            let size = at.get("sizeLimit");
            if size.is_set() && check::amount(size.value).is_some_and(api::Quantity::is_negative) {
                errors.push(size.forbidden("SizeLimit field must be a valid resource quantity"));
            }
        }
        "configMap" => {
            need(&["name"]);
            files(at, errors);
        }
        "secret" => {
            need(&["secretName"]);
            files(at, errors);
        }
        "downwardAPI" => {
            mode(&at.get("defaultMode"), errors);
            downward(at, errors);
        }
        "projected" => projected(at, errors),
        "persistentVolumeClaim" => need(&["claimName"]),
        "ephemeral" => ephemeral(&at.get("volumeClaimTemplate"), errors),
        "nfs" => {
            need(&["server", "path"]);
            if !at.get("path").is_empty() && !at.get("path").str().starts_with('/') {
                errors.push(at.get("path").invalid("must be an absolute path"));
            }
        }
        "csi" => check::csi_driver(&at.get("driver"), errors),
        "iscsi" => need(&["targetPortal", "iqn"]),
        _ => {}
    }
}

fn ephemeral(template: &At<'_>, errors: &mut Errors) {
    if !template.is_set() {
        errors.push(template.required(""));
        return;
    }
    let metadata = template.get("metadata");
    check::labels(&metadata.get("labels"), errors);
    for (key, _) in
        metadata.entries().filter(|(key, value)| !matches!(*key, "labels" | "annotations") && value.is_set())
    {
        errors.push(metadata.get(key).forbidden("cannot be set"));
    }
    claim_spec(&template.get("spec"), errors);
}

fn mode(at: &At<'_>, errors: &mut Errors) {
    if at.int().is_some_and(|m| !(0..=0o777).contains(&m)) {
        errors.push(at.invalid("must be a number between 0 and 0777 (octal), both inclusive"));
    }
}

/// Keys that become files.
fn files(at: &At<'_>, errors: &mut Errors) {
    mode(&at.get("defaultMode"), errors);
    for item in at.get("items").items() {
        check::required(&item.get("key"), errors);
        local_path(&item.get("path"), errors);
        mode(&item.get("mode"), errors);
    }
}

fn local_path(path: &At<'_>, errors: &mut Errors) {
    if check::required(path, errors) {
        mounts::descending(path, errors);
        if path.str().starts_with("..") && !path.str().starts_with("../") {
            errors.push(path.invalid("must not start with '..'"));
        }
    }
}

fn downward(at: &At<'_>, errors: &mut Errors) {
    for file in at.get("items").items() {
        local_path(&file.get("path"), errors);
        mode(&file.get("mode"), errors);
        let (field, resource) = (file.get("fieldRef"), file.get("resourceFieldRef"));
        match (field.is_set(), resource.is_set()) {
            (true, true) => {
                let why = "fieldRef and resourceFieldRef can not be specified simultaneously";
                errors.push(FieldError::invalid(format!("{}.resource", at.path), resource.value, why));
            }
            (true, false) => env::field_ref(&field, DOWNWARD_FIELDS, errors),
            (false, true) => {
                check::required(&resource.get("containerName"), errors);
                env::resource_ref(&resource, errors);
            }
            (false, false) => {
                let why = "one of fieldRef and resourceFieldRef is required";
                errors.push(FieldError::required(format!("{}.fieldRef", at.path), why));
            }
        }
    }
}

fn projected(at: &At<'_>, errors: &mut Errors) {
    mode(&at.get("defaultMode"), errors);
    for source in at.get("sources").items() {
        let fields = source.value.as_object().into_iter().flatten();
        let mut given = fields.filter(|(_, value)| !value.is_null()).map(|(key, _)| key.as_str());
        if let Some(kind) = given.next() {
            projection(kind, &source.get(kind), errors);
        }
        for more in given {
            errors.push(source.get(more).forbidden("may not specify more than 1 volume type"));
        }
    }
}

fn projection(kind: &str, at: &At<'_>, errors: &mut Errors) {
    match kind {
        "secret" | "configMap" => {
            check::required(&at.get("name"), errors);
            files(at, errors);
        }
        "downwardAPI" => downward(at, errors),
        "serviceAccountToken" => {
            let seconds = at.get("expirationSeconds");
            if seconds.int().is_some_and(|s| s < 600) {
                errors.push(seconds.invalid("may not specify a duration less than 10 minutes"));
            }
            if seconds.int().is_some_and(|s| s > 1 << 32) {
                errors.push(seconds.invalid("may not specify a duration larger than 2^32 seconds"));
            }
            if at.get("path").is_empty() {
                errors.push(at.get("path").required(""));
            } else {
                local_path(&at.get("path"), errors);
            }
        }
        _ => {}
    }
}
