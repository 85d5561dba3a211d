//! Kinds about which little more is particular than what may not change: ControllerRevision, RuntimeClass, IngressClass,
//! IPAddress, and those of `resource.k8s.io`.

use serde_json::Value;

use crate::check::{self, At, Errors};
use crate::{NameRule, Rules};

const NO_GENERATION: Rules = Rules { has_generation: false, ..Rules::PLAIN };

pub(crate) static CONTROLLER_REVISION: Rules = Rules {
    validate: |revision| {
        let mut errors = Errors::new();
        check::not_negative(&At::field(revision, "revision"), &mut errors);
        errors
    },
    validate_update: |new, old| stays(new, old, &["/data"]),
    ..NO_GENERATION
};

pub(crate) static RUNTIME_CLASS: Rules = Rules {
    validate: |class| {
        let mut errors = Errors::new();
        check::named(&At::field(class, "handler"), api::names::dns_label, &mut errors);
        errors
    },
    validate_update: |new, old| stays(new, old, &["/handler"]),
    ..NO_GENERATION
};

pub(crate) static INGRESS_CLASS: Rules =
    Rules { validate_update: |new, old| stays(new, old, &["/spec/controller"]), ..Rules::PLAIN };

pub(crate) static ADDRESS: Rules = Rules {
    validate: |address| {
        let mut errors = Errors::new();
        let name = At::new(address.pointer("/metadata/name").unwrap_or(&Value::Null), "metadata.name");
        check::ip(&name, &mut errors);
        let parent = At::field(address, "spec").get("parentRef");
        if check::required(&parent, &mut errors) {
            check::required(&parent.get("resource"), &mut errors);
            check::required(&parent.get("name"), &mut errors);
        }
        errors
    },
    validate_update: |new, old| stays(new, old, &["/spec/parentRef"]),
    // An IPv6 address has colons.
    names: NameRule::PathSegment,
    ..Rules::PLAIN
};

pub(crate) fn resource(kind: &str) -> &'static Rules {
    match kind {
        "ResourceClaim" | "ResourceClaimTemplate" => &CLAIM,
        "ResourceSlice" => &SLICE,
        _ => &Rules::PLAIN,
    }
}

static CLAIM: Rules = Rules { validate_update: |new, old| stays(new, old, &["/spec"]), ..NO_GENERATION };

static SLICE: Rules = Rules {
    fields: &[("spec.nodeName", "/spec/nodeName"), ("spec.driver", "/spec/driver")],
    validate: |slice| {
        let mut errors = Errors::new();
        let spec = At::field(slice, "spec");
        check::required_named(&spec.get("driver"), api::names::dns_subdomain, &mut errors);
        check::required(&spec.get("pool").get("name"), &mut errors);
        errors
    },
    validate_update: |new, old| stays(new, old, &["/spec/pool/name", "/spec/driver", "/spec/nodeName"]),
    ..Rules::PLAIN
};

/// Complaints about changes at places that are for ever.
fn stays(new: &Value, old: &Value, places: &[&str]) -> Errors {
    let mut errors = Errors::new();
    for place in places {
        let path = place.trim_start_matches('/').replace('/', ".");
        let at = |object| At::new(Value::pointer(object, place).unwrap_or(&Value::Null), &*path);
        check::immutable(&at(new), &at(old), check::IMMUTABLE, &mut errors);
    }
    errors
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn some_fields_are_for_ever() {
        let refused = |rules: &Rules, new: Value, old: Value| {
            let errors = (rules.validate_update)(&new, &old);
            errors.first().map(|error| error.field.clone()).unwrap_or_default()
        };
        assert_eq!(refused(&CONTROLLER_REVISION, json!({"data": {"a": 1}}), json!({"data": {"a": 2}})), "data");
        assert_eq!(
            refused(&CONTROLLER_REVISION, json!({"data": {"a": 1}, "revision": 2}), json!({"data": {"a": 1}})),
            ""
        );
        assert_eq!(refused(&RUNTIME_CLASS, json!({"handler": "a"}), json!({"handler": "b"})), "handler");
        let claim = |name: &str| json!({"spec": {"devices": {"requests": [{"name": name}]}}});
        assert_eq!(refused(resource("ResourceClaim"), claim("a"), claim("b")), "spec");
        assert_eq!(refused(resource("ResourceClaim"), claim("a"), claim("a")), "");
        let slice = |pool: &str, count: i32| json!({"spec": {"pool": {"name": pool, "resourceSliceCount": count}}});
        assert_eq!(refused(resource("ResourceSlice"), slice("a", 1), slice("b", 1)), "spec.pool.name");
        assert_eq!(refused(resource("ResourceSlice"), slice("a", 1), slice("a", 2)), "");
    }
}
