//! Security contexts of pods and containers.

use crate::check::{self, At, Errors};

const MAX_ID: i64 = i32::MAX as i64;

/// Complaints about what a pod asks of the host and of its users.
pub(super) fn pod(spec: &At<'_>, errors: &mut Errors) {
    let context = spec.get("securityContext");
    common(&context, errors);
    check::between(&context.get("fsGroup"), 0, MAX_ID, errors);
    for group in context.get("supplementalGroups").items() {
        check::between(&group, 0, MAX_ID, errors);
    }
    check::one_of(&context.get("fsGroupChangePolicy"), &["Always", "OnRootMismatch"], errors);
    check::one_of(&context.get("supplementalGroupsPolicy"), &["Merge", "Strict"], errors);
    let share = spec.get("shareProcessNamespace");
    if share.is_true() && spec.get("hostPID").is_true() {
        errors.push(share.invalid("ShareProcessNamespace and HostPID cannot both be enabled"));
    }
    let mut seen = std::collections::HashSet::new();
    for sysctl in context.get("sysctls").items() {
        let name = sysctl.get("name");
        if name.is_empty() {
            errors.push(name.required(""));
        } else if !sysctl_name(name.str()) {
            errors.push(name.invalid("must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$"));
        } else if !seen.insert(name.str()) {
            errors.push(name.duplicate());
        }
    }
}

/// Complaints about a container's context.
pub(super) fn container(context: &At<'_>, errors: &mut Errors) {
    common(context, errors);
    check::one_of(&context.get("procMount"), &["Default", "Unmasked"], errors);
    let escalation = context.get("allowPrivilegeEscalation");
    if escalation.value.as_bool() != Some(false) {
        return;
    }
    if context.get("privileged").is_true() {
        errors.push(context.invalid("cannot set `allowPrivilegeEscalation` to false and `privileged` to true"));
    }
    if context.get("capabilities").get("add").items().any(|c| c.str() == "CAP_SYS_ADMIN") {
        let why = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN";
        errors.push(context.invalid(why));
    }
}

fn common(context: &At<'_>, errors: &mut Errors) {
    check::between(&context.get("runAsUser"), 0, MAX_ID, errors);
    check::between(&context.get("runAsGroup"), 0, MAX_ID, errors);
    for profile in ["seccompProfile", "appArmorProfile"] {
        let profile = context.get(profile);
        if !profile.is_set() {
            continue;
        }
        let (kind, local) = (profile.get("type"), profile.get("localhostProfile"));
        check::required_one_of(&kind, &["Localhost", "RuntimeDefault", "Unconfined"], errors);
        let seccomp = profile.path.ends_with("seccompProfile");
        match (kind.str() == "Localhost", local.is_set(), seccomp) {
            (true, false, true) => errors.push(local.required("must be set when seccomp type is Localhost ")),
            (true, false, false) => errors.push(local.required("must be set when AppArmor type is Localhost")),
            (false, true, true) => errors.push(local.invalid("can only be set when seccomp type is Localhost")),
            (false, true, false) => errors.push(local.invalid("can only be set when AppArmor type is Localhost")),
            (true, true, _) => super::containers::mounts::descending(&local, errors),
            (false, false, _) => {}
        }
    }
}

fn sysctl_name(name: &str) -> bool {
    let edge = |c: Option<u8>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    let part = |part: &str| {
        let bytes = part.as_bytes();
        edge(bytes.first().copied())
            && edge(bytes.last().copied())
            && bytes.iter().all(|c| edge(Some(*c)) || matches!(c, b'-' | b'_'))
    };
    name.len() <= 253 && name.split(['.', '/']).all(part)
}
