//! Properties of patches, pruning and apply that hold for any input.

use std::sync::Arc;

use crate::managed::{Stamp, apply, update};
use crate::patch::{json_patch, merge_patch, strategic_merge};
use crate::{Schema, builtin};
use api::GroupVersionKind;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

fn deployment() -> Arc<Schema> {
    builtin(&GroupVersionKind::new("apps", "v1", "Deployment")).unwrap()
}

/// Any JSON, with keys that mean something to a Deployment or to a patch.
fn any_json() -> impl Strategy<Value = Value> {
    let key = prop::sample::select(vec![
        "spec",
        "metadata",
        "labels",
        "template",
        "containers",
        "name",
        "image",
        "ports",
        "containerPort",
        "replicas",
        "finalizers",
        "managedFields",
        "fieldsV1",
        "strategy",
        "rollingUpdate",
        "$patch",
        "$retainKeys",
        "$setElementOrder/containers",
        "$deleteFromPrimitiveList/finalizers",
        "zoo",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0..90i64).prop_map(Value::from),
        prop::sample::select(vec!["a", "b", "delete", "replace", "merge", ""]).prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 48, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(key.clone().prop_map(str::to_owned), inner, 0..5)
                .prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

/// A well-formed Deployment. Nothing in it is empty: nobody owns what an empty map or list does not hold.
fn any_deployment() -> impl Strategy<Value = Value> {
    let labels = || prop::collection::btree_map("[ab]", "[xy]", 1..3);
    let container = |name: String| {
        ("[ij]", prop::collection::btree_set(1..4u16, 1..3)).prop_map(move |(image, ports)| {
            let ports: Vec<Value> =
                ports.iter().map(|port| json!({"containerPort": port, "protocol": "TCP"})).collect();
            json!({"name": name, "image": image, "ports": ports})
        })
    };
    let containers = prop::collection::btree_set("[cde]", 1..4)
        .prop_flat_map(move |names| names.into_iter().map(container).collect::<Vec<_>>())
        .prop_shuffle();
    (labels(), 0..3u8, containers, prop::option::of(any::<bool>())).prop_map(|(labels, replicas, containers, paused)| {
        let mut spec = json!({"replicas": replicas, "template": {"spec": {"containers": containers}}});
        if let Some(paused) = paused {
            spec["paused"] = json!(paused);
        }
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "labels": labels}, "spec": spec})
    })
}

/// The merge patch from one value to another.
fn diff(from: &Value, to: &Value) -> Value {
    let (Value::Object(from), Value::Object(to)) = (from, to) else { return to.clone() };
    let gone = from.keys().filter(|key| !to.contains_key(*key)).map(|key| (key.clone(), Value::Null));
    let changed = to.iter().filter(|(key, value)| from.get(*key) != Some(value));
    let changed =
        changed.map(|(key, value)| (key.clone(), from.get(key).map_or(value.clone(), |old| diff(old, value))));
    Value::Object(gone.chain(changed).collect::<Map<_, _>>())
}

fn stamp(manager: &str) -> Stamp<'_> {
    Stamp { manager, api_version: "apps/v1", subresource: "", now: "2024-01-01T00:00:00Z" }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_merge_patch_made_from_a_difference_leads_there(from in any_deployment(), to in any_deployment()) {
        let mut patched = from.clone();
        merge_patch(&mut patched, &diff(&from, &to));
        prop_assert_eq!(patched, to);
    }

    #[test]
    fn nothing_panics_and_pruning_is_stable(value in any_json(), patch in any_json()) {
        let schema = deployment();
        let mut pruned = value.clone();
        schema.prune(&mut pruned);
        prop_assert_eq!(schema.prune(&mut pruned.clone()), Vec::<String>::new());
        let mut defaulted = pruned.clone();
        schema.apply_defaults(&mut defaulted);
        let mut again = defaulted.clone();
        schema.apply_defaults(&mut again);
        prop_assert_eq!(&again, &defaulted);
        drop(schema.check_types(&value));
        drop(strategic_merge(&schema, &mut value.clone(), &patch));
        drop(json_patch(&mut value.clone(), &patch));
        let mut updated = patch.clone();
        update(&schema, Some(&value), &mut updated, &stamp("a"));
        update(&schema, None, &mut updated, &stamp("a"));
        drop(apply(&schema, Some(&value), &patch, false, &stamp("b")));
    }

    #[test]
    fn a_json_patch_undoes_what_it_did(value in any_deployment(), added in any_json()) {
        let mut patched = value.clone();
        let forth = json!([{"op": "add", "path": "/spec/zoo", "value": added}, {"op": "test", "path": "/spec/zoo", "value": added}]);
        json_patch(&mut patched, &forth).unwrap();
        json_patch(&mut patched, &json!([{"op": "remove", "path": "/spec/zoo"}])).unwrap();
        prop_assert_eq!(patched, value);
    }

    #[test]
    fn a_strategic_merge_with_itself_changes_nothing(value in any_deployment()) {
        let mut patched = value.clone();
        strategic_merge(&deployment(), &mut patched, &value).unwrap();
        prop_assert_eq!(patched, value);
    }

    #[test]
    fn one_applier_always_gets_what_it_says(first in any_deployment(), second in any_deployment()) {
        let schema = deployment();
        let live = apply(&schema, None, &first, false, &stamp("me")).unwrap();
        let mut next = apply(&schema, Some(&live), &second, false, &stamp("me")).unwrap();
        prop_assert_eq!(&apply(&schema, Some(&next), &second, false, &stamp("me")).unwrap(), &next);
        next["metadata"].as_object_mut().unwrap().remove("managedFields");
        prop_assert_eq!(next, second);
    }

    #[test]
    fn two_appliers_that_force_agree_with_the_last(first in any_deployment(), second in any_deployment()) {
        let schema = deployment();
        let live = apply(&schema, None, &first, false, &stamp("me")).unwrap();
        let next = apply(&schema, Some(&live), &second, true, &stamp("you")).unwrap();
        prop_assert_eq!(&next["spec"]["replicas"], &second["spec"]["replicas"]);
        // Nobody conflicts with what is there already.
        prop_assert!(apply(&schema, Some(&next), &second, false, &stamp("third")).is_ok());
    }
}
