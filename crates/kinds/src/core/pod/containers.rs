//! Validation of containers: names, images, ports, environment, resources, mounts, probes and hooks.

pub(super) mod env;
pub(super) mod mounts;
mod ports;
mod probes;
pub(crate) mod resources;

use std::collections::HashSet;

use api::names;

use crate::check::{self, At, Errors};

/// Complaints about all containers of a spec. `volumes`: names of its volumes.
pub(crate) fn validate(spec: &At<'_>, volumes: &HashSet<&str>, errors: &mut Errors) {
    let (main, init) = (spec.get("containers"), spec.get("initContainers"));
    if main.is_empty() {
        errors.push(main.required(""));
    }
    let mut seen = HashSet::new();
    for container in main.items() {
        common(&container, volumes, &mut seen, errors);
        probes::lifecycle(&container, errors);
        probes::validate(&container, errors);
    }
    for container in init.items() {
        common(&container, volumes, &mut seen, errors);
        init_container(&container, errors);
    }
    for container in spec.get("ephemeralContainers").items() {
        common(&container, volumes, &mut seen, errors);
        ephemeral(&container, spec, errors);
    }
    ports::conflicts(&main, errors);
    if spec.get("hostNetwork").is_true() {
        [&main, &init].into_iter().for_each(|list| ports::on_host_network(list, errors));
    }
}

fn common<'a>(container: &At<'a>, volumes: &HashSet<&str>, seen: &mut HashSet<&'a str>, errors: &mut Errors) {
    let (name, image) = (container.get("name"), container.get("image"));
    check::required_named(&name, names::dns_label, errors);
    if !name.is_empty() && !seen.insert(name.str()) {
        errors.push(name.duplicate());
    }
    if image.is_empty() {
        errors.push(image.required(""));
    } else if image.str().trim() != image.str() {
        errors.push(image.invalid("must not have leading or trailing whitespace"));
    }
    check::required_one_of(&container.get("imagePullPolicy"), &["Always", "IfNotPresent", "Never"], errors);
    check::required_one_of(&container.get("terminationMessagePolicy"), &["FallbackToLogsOnError", "File"], errors);
    ports::validate(&container.get("ports"), errors);
    env::validate(container, errors);
    resources::validate(&container.get("resources"), errors);
    mounts::validate(container, volumes, errors);
    super::security::container(&container.get("securityContext"), errors);
    check::one_of(&container.get("restartPolicy"), &["Always", "Never", "OnFailure"], errors);
}

/// Only a sidecar has probes and hooks; other init containers run to their end.
fn init_container(container: &At<'_>, errors: &mut Errors) {
    if container.get("restartPolicy").str() == "Always" {
        probes::lifecycle(container, errors);
        probes::validate(container, errors);
        return;
    }
    for field in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] {
        let at = container.get(field);
        if at.is_set() {
            errors.push(at.forbidden("may not be set for init containers without restartPolicy=Always"));
        }
    }
}

fn ephemeral(container: &At<'_>, spec: &At<'_>, errors: &mut Errors) {
    for field in ["ports", "livenessProbe", "readinessProbe", "startupProbe", "lifecycle", "resizePolicy"] {
        let at = container.get(field);
        if !at.is_empty() {
            errors.push(at.forbidden("cannot be set for an Ephemeral Container"));
        }
    }
    if !container.get("resources").is_empty() {
        errors.push(container.get("resources").forbidden("cannot be set for an Ephemeral Container"));
    }
    let target = container.get("targetContainerName");
    let known = ["containers", "initContainers"].into_iter().flat_map(|l| spec.get(l).items().collect::<Vec<_>>());
    if !target.is_empty() && !known.into_iter().any(|c| c.get("name").str() == target.str()) {
        errors.push(target_not_found(&target));
    }
    for mount in container.get("volumeMounts").items() {
        for field in ["subPath", "subPathExpr"] {
            let at = mount.get(field);
            if !at.is_empty() {
                errors.push(at.forbidden("cannot be set for an Ephemeral Container"));
            }
        }
    }
}

fn target_not_found(target: &At<'_>) -> api::field::FieldError {
    api::field::FieldError::not_found(&target.path, target.value)
}
