use api::GroupVersionKind;
use serde_json::{Value, json};

use super::strategic_merge;

fn pod() -> std::sync::Arc<crate::Schema> {
    crate::builtin(&GroupVersionKind::new("", "v1", "Pod")).unwrap()
}

/// Patches `{"spec": …}` of a Pod.
fn patched(spec: Value, patch: Value) -> Result<Value, String> {
    let mut target = json!({ "spec": spec });
    strategic_merge(&pod(), &mut target, &json!({ "spec": patch })).map_err(|error| error.to_string())?;
    Ok(target["spec"].take())
}

#[test]
fn lists_with_keys_merge_by_key() {
    for (spec, patch, expected) in [
        (
            json!({"containers": [{"name": "a", "image": "1", "args": ["x"]}, {"name": "b"}]}),
            json!({"containers": [{"name": "b", "image": "2"}, {"name": "c"}]}),
            json!({"containers": [{"name": "a", "image": "1", "args": ["x"]}, {"name": "b", "image": "2"}, {"name": "c"}]}),
        ),
        (
            json!({"containers": [{"name": "a", "args": ["x"]}, {"name": "b"}]}),
            json!({"containers": [{"name": "a", "args": ["y"]}, {"name": "b", "$patch": "delete"}]}),
            json!({"containers": [{"name": "a", "args": ["y"]}]}),
        ),
        (
            json!({"containers": [{"name": "a"}, {"name": "b"}]}),
            json!({"containers": [{"name": "c"}, {"$patch": "replace"}]}),
            json!({"containers": [{"name": "c"}]}),
        ),
        (
            json!({"containers": [{"name": "a"}, {"name": "b"}, {"name": "x"}]}),
            json!({"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}),
            json!({"containers": [{"name": "b"}, {"name": "a"}, {"name": "x"}]}),
        ),
        (
            json!({"containers": [{"name": "a", "ports": [{"containerPort": 80, "name": "w"}]}]}),
            json!({"containers": [{"name": "a", "ports": [{"containerPort": 80, "name": null}, {"containerPort": 81}]}]}),
            json!({"containers": [{"name": "a", "ports": [{"containerPort": 80}, {"containerPort": 81}]}]}),
        ),
    ] {
        assert_eq!(patched(spec, patch.clone()).unwrap(), expected, "{patch}");
    }
}

#[test]
fn maps_obey_directives_and_nulls() {
    for (spec, patch, expected) in [
        (
            json!({"nodeSelector": {"a": "1"}}),
            json!({"nodeSelector": {"a": null, "b": "2"}}),
            json!({"nodeSelector": {"b": "2"}}),
        ),
        (
            json!({"nodeSelector": {"a": "1"}}),
            json!({"nodeSelector": {"$patch": "replace", "b": "2"}}),
            json!({"nodeSelector": {"b": "2"}}),
        ),
        (
            json!({"nodeSelector": {"a": "1"}}),
            json!({"nodeSelector": {"$patch": "delete"}}),
            json!({"nodeSelector": {}}),
        ),
        (json!({}), json!({"nodeSelector": {"a": null, "b": "2"}}), json!({"nodeSelector": {"b": "2"}})),
        (json!({"hostname": "a"}), json!({"hostname": null, "subdomain": null}), json!({})),
        (
            json!({"volumes": [{"name": "v", "emptyDir": {}}]}),
            json!({"volumes": [{"name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/x"}}]}),
            json!({"volumes": [{"name": "v", "hostPath": {"path": "/x"}}]}),
        ),
        // An atomic list is replaced.
        (
            json!({"tolerations": [{"key": "a"}]}),
            json!({"tolerations": [{"key": "b"}]}),
            json!({"tolerations": [{"key": "b"}]}),
        ),
    ] {
        assert_eq!(patched(spec, patch.clone()).unwrap(), expected, "{patch}");
    }
}

#[test]
fn lists_of_scalars_merge_as_sets() {
    let mut target = json!({"metadata": {"finalizers": ["a", "b", "c"]}});
    let patch = json!({"metadata": {
        "$deleteFromPrimitiveList/finalizers": ["b"], "$setElementOrder/finalizers": ["d", "a"], "finalizers": ["d"],
    }});
    strategic_merge(&pod(), &mut target, &patch).unwrap();
    assert_eq!(target, json!({"metadata": {"finalizers": ["d", "a", "c"]}}));
}

#[test]
fn errors_are_worded_as_upstream() {
    for (spec, patch, message) in [
        (
            json!({"containers": [{"name": "a"}]}),
            json!({"containers": [{"image": "x"}]}),
            "map: map[image:x] does not contain declared merge key: name",
        ),
        (
            json!({"containers": [{"name": "a"}]}),
            json!({"containers": [{"$patch": "delete"}]}),
            "delete patch type with no merge key defined",
        ),
        (json!({}), json!({"$patch": "twist"}), "unknown patch type: twist in map: map[$patch:twist]"),
        (json!({}), json!({"$retainKeys": ["a"], "b": 1}), "invalid patch format of retainKeys"),
    ] {
        let spec =
            if patch.get("$patch").is_some() || patch.get("$retainKeys").is_some() { json!({"x": 1}) } else { spec };
        assert_eq!(patched(spec, patch).unwrap_err(), message);
    }
}
