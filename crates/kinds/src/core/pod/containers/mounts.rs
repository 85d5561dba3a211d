//! Volume mounts and devices of containers.

use std::collections::HashSet;

use api::field::FieldError;

use crate::check::{self, At, Errors};

pub(super) fn validate(container: &At<'_>, volumes: &HashSet<&str>, errors: &mut Errors) {
    let mut paths = HashSet::new();
    for mount in container.get("volumeMounts").items() {
        let (name, path) = (mount.get("name"), mount.get("mountPath"));
        if check::required(&name, errors) && !volumes.contains(name.str()) {
            errors.push(FieldError::not_found(&name.path, name.value));
        }
        if check::required(&path, errors) && !paths.insert(path.str()) {
            errors.push(path.invalid("must be unique"));
        }
        let (sub, expression) = (mount.get("subPath"), mount.get("subPathExpr"));
        [&sub, &expression].into_iter().for_each(|p| descending(p, errors));
        if !sub.is_empty() && !expression.is_empty() {
            errors.push(expression.invalid("subPathExpr and subPath are mutually exclusive"));
        }
        check::one_of(&mount.get("mountPropagation"), &["Bidirectional", "HostToContainer", "None"], errors);
        let privileged = container.get("securityContext").get("privileged").is_true();
        if mount.get("mountPropagation").str() == "Bidirectional" && !privileged {
            let why = "Bidirectional mount propagation is available only to privileged containers";
            errors.push(mount.get("mountPropagation").forbidden(why));
        }
    }
    for device in container.get("volumeDevices").items() {
        let (name, path) = (device.get("name"), device.get("devicePath"));
        if check::required(&name, errors) && !volumes.contains(name.str()) {
            errors.push(FieldError::not_found(&name.path, name.value));
        }
        if check::required(&path, errors) && !paths.insert(path.str()) {
            errors.push(path.invalid("must not already exist as a path in volumeMounts"));
        }
    }
}

/// A path that stays below where it starts.
pub(crate) fn descending(at: &At<'_>, errors: &mut Errors) {
    if at.str().starts_with('/') {
        errors.push(at.invalid("must be a relative path"));
    }
    if at.str().split('/').any(|part| part == "..") {
        errors.push(at.invalid("must not contain '..'"));
    }
}
