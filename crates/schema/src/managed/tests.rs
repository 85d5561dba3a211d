use std::sync::Arc;

use api::GroupVersionKind;
use serde_json::{Value, json};

use super::{ApplyError, Stamp, apply, update};
use crate::Schema;

fn deployment() -> Arc<Schema> {
    crate::builtin(&GroupVersionKind::new("apps", "v1", "Deployment")).unwrap()
}

fn stamp(manager: &str) -> Stamp<'_> {
    Stamp { manager, api_version: "apps/v1", subresource: "", now: "2024-01-01T00:00:00Z" }
}

fn at<'a>(manager: &'a str, now: &'a str) -> Stamp<'a> {
    Stamp { now, ..stamp(manager) }
}

fn object(replicas: u32, image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "d", "namespace": "n", "labels": {"app": "d"}},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "d"}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}},
            "template": {"metadata": {"labels": {"app": "d"}}, "spec": {"containers": [
                {"name": "c", "image": image, "resources": {}, "ports": [{"containerPort": 80, "protocol": "TCP"}]}]}}},
    })
}

/// The sets of fields by `manager/operation[/subresource]`.
fn owners(object: &Value) -> Value {
    let mut out = json!({});
    for entry in object["metadata"]["managedFields"].as_array().into_iter().flatten() {
        let sub = entry["subresource"].as_str().map(|s| format!("/{s}")).unwrap_or_default();
        let name = format!("{}/{}{sub}", entry["manager"].as_str().unwrap(), entry["operation"].as_str().unwrap());
        out[name] = entry["fieldsV1"].clone();
    }
    out
}

fn created(manager: &str) -> Value {
    let mut new = object(1, "i:1");
    update(&deployment(), None, &mut new, &stamp(manager));
    new
}

#[test]
fn a_created_object_is_owned_as_upstream_writes_it() {
    assert_eq!(
        created("kubectl-create")["metadata"]["managedFields"],
        json!([{
            "apiVersion": "apps/v1", "fieldsType": "FieldsV1", "manager": "kubectl-create", "operation": "Update",
            "time": "2024-01-01T00:00:00Z",
            "fieldsV1": {
                "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
                "f:spec": {
                    "f:replicas": {}, "f:selector": {},
                    "f:strategy": {"f:rollingUpdate": {".": {}, "f:maxSurge": {}}, "f:type": {}},
                    "f:template": {
                        "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
                        "f:spec": {"f:containers": {"k:{\"name\":\"c\"}": {
                            ".": {}, "f:image": {}, "f:name": {}, "f:resources": {},
                            "f:ports": {".": {}, "k:{\"containerPort\":80,\"protocol\":\"TCP\"}":
                                {".": {}, "f:containerPort": {}, "f:protocol": {}}},
                        }}},
                    },
                },
            },
        }])
    );
}

#[test]
fn an_update_takes_what_it_changes_and_nothing_else() {
    let old = created("a");
    let mut new = old.clone();
    new["spec"]["replicas"] = json!(3);
    new["metadata"]["labels"]["x"] = json!("y");
    new["metadata"]["resourceVersion"] = json!("7");
    new["status"] = json!({"replicas": 9});
    update(&deployment(), Some(&old), &mut new, &at("b", "2024-01-01T00:00:09Z"));
    assert_eq!(
        owners(&new)["b/Update"],
        json!({"f:metadata": {"f:labels": {"f:x": {}}}, "f:spec": {"f:replicas": {}}})
    );
    assert!(owners(&new)["a/Update"]["f:spec"].get("f:replicas").is_none());
    assert_eq!(new["metadata"]["managedFields"][1]["time"], "2024-01-01T00:00:09Z");

    let mut same = new.clone();
    update(&deployment(), Some(&new), &mut same, &at("c", "2024-01-01T00:00:10Z"));
    assert_eq!(same, new, "an update without a change leaves no trace");

    let mut gone = new.clone();
    gone["metadata"]["labels"].as_object_mut().unwrap().remove("x");
    gone["spec"]["replicas"] = json!(4);
    update(&deployment(), Some(&new), &mut gone, &stamp("c"));
    assert!(owners(&gone).get("b/Update").is_none(), "a manager that owns nothing is dropped");
}

#[test]
fn status_is_owned_through_the_subresource() {
    let old = created("a");
    let mut new = old.clone();
    new["status"] = json!({"replicas": 1, "conditions": [{"type": "Available", "status": "True"}]});
    new["spec"]["replicas"] = json!(8);
    update(&deployment(), Some(&old), &mut new, &Stamp { subresource: "status", ..stamp("controller") });
    assert_eq!(
        owners(&new)["controller/Update/status"],
        json!({"f:status": {"f:conditions": {".": {}, "k:{\"type\":\"Available\"}": {".": {}, "f:status": {}, "f:type": {}}},
            "f:replicas": {}}})
    );
    assert_eq!(owners(&new)["a/Update"], owners(&old)["a/Update"]);
}

#[test]
fn the_record_can_be_kept_and_reset() {
    let old = created("a");
    let mut forgot = object(1, "i:1");
    update(&deployment(), Some(&old), &mut forgot, &stamp("b"));
    assert_eq!(owners(&forgot), owners(&old), "a client that does not send the record keeps it");
    let mut reset = object(1, "i:2");
    reset["metadata"]["managedFields"] = json!([{}]);
    update(&deployment(), Some(&old), &mut reset, &stamp("b"));
    assert!(reset["metadata"].get("managedFields").is_none());
    let mut later = object(2, "i:2");
    update(&deployment(), Some(&reset), &mut later, &stamp("b"));
    assert!(later["metadata"].get("managedFields").is_none(), "an untracked object stays so");
}

fn config(value: Value) -> Value {
    let mut out = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}});
    crate::patch::merge_patch(&mut out, &value);
    out
}

#[test]
fn applying_creates_owns_and_removes() {
    let schema = deployment();
    let first = config(
        json!({"metadata": {"labels": {"a": "1", "b": "2"}}, "spec": {"replicas": 2, "template": {"spec": {
        "containers": [{"name": "x", "image": "i", "env": [{"name": "E", "value": "1"}]}, {"name": "y", "image": "i"}]}}}}),
    );
    let live = apply(&schema, None, &first, false, &stamp("me")).unwrap();
    assert_eq!(
        owners(&live)["me/Apply"],
        json!({
            "f:metadata": {"f:labels": {"f:a": {}, "f:b": {}}},
            "f:spec": {"f:replicas": {}, "f:template": {"f:spec": {"f:containers": {
                "k:{\"name\":\"x\"}": {".": {}, "f:env": {"k:{\"name\":\"E\"}": {".": {}, "f:name": {}, "f:value": {}}},
                    "f:image": {}, "f:name": {}},
                "k:{\"name\":\"y\"}": {".": {}, "f:image": {}, "f:name": {}},
            }}}},
        })
    );
    // Somebody else's additions stay; what the configuration no longer says goes.
    let mut live_too = live.clone();
    live_too["metadata"]["labels"]["z"] = json!("26");
    live_too["spec"]["paused"] = json!(true);
    update(&schema, Some(&live), &mut live_too, &stamp("other"));
    live_too["spec"]["revisionHistoryLimit"] = json!(10); // a default that nobody owns
    let second = config(json!({"metadata": {"labels": {"a": "1"}}, "spec": {"template": {"spec": {
        "containers": [{"name": "x", "image": "j"}]}}}}));
    let outcome = apply(&schema, Some(&live_too), &second, false, &stamp("me")).unwrap();
    assert_eq!(outcome["metadata"]["labels"], json!({"a": "1", "z": "26"}));
    assert_eq!(
        outcome["spec"],
        json!({"paused": true, "revisionHistoryLimit": 10,
            "template": {"spec": {"containers": [{"name": "x", "image": "j"}]}}})
    );
    let again = apply(&schema, Some(&outcome), &second, false, &at("me", "2030-01-01T00:00:00Z")).unwrap();
    assert_eq!(again, outcome, "applying the same again changes nothing, not even the time");
}

#[test]
fn conflicts_are_named_and_can_be_forced() {
    let schema = deployment();
    let live = created("kubectl-client-side-apply");
    let wanted = config(json!({"spec": {"replicas": 5}}));
    let error = apply(&schema, Some(&live), &wanted, false, &stamp("me")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "Apply failed with 1 conflict: conflict with \"kubectl-client-side-apply\" using apps/v1: .spec.replicas"
    );
    let ApplyError::Conflicts(conflicts) = error else { panic!() };
    assert_eq!(conflicts[0].to_string(), "conflict with \"kubectl-client-side-apply\" using apps/v1");
    let two =
        config(json!({"spec": {"replicas": 5, "template": {"spec": {"containers": [{"name": "c", "image": "z"}]}}}}));
    assert_eq!(
        apply(&schema, Some(&live), &two, false, &stamp("me")).unwrap_err().to_string(),
        "Apply failed with 2 conflicts: conflicts with \"kubectl-client-side-apply\" using apps/v1:\n- .spec.replicas\n\
         - .spec.template.spec.containers[name=\"c\"].image"
    );
    let forced = apply(&schema, Some(&live), &wanted, true, &stamp("me")).unwrap();
    assert_eq!(forced["spec"]["replicas"], 5);
    assert_eq!(owners(&forced)["me/Apply"], json!({"f:spec": {"f:replicas": {}}}));
    assert!(owners(&forced)["kubectl-client-side-apply/Update"]["f:spec"].get("f:replicas").is_none());
    // The same value is shared, not contested.
    let shared = apply(&schema, Some(&live), &config(json!({"spec": {"replicas": 1}})), false, &stamp("me")).unwrap();
    assert!(owners(&shared)["kubectl-client-side-apply/Update"]["f:spec"].get("f:replicas").is_some());
}

#[test]
fn keys_have_defaults_and_untracked_objects_get_an_owner() {
    let schema = deployment();
    let mut live = object(1, "i");
    let wanted = config(
        json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 80}]}]}}}}),
    );
    live["metadata"]["uid"] = json!("u");
    let outcome = apply(&schema, Some(&live), &wanted, false, &stamp("me")).unwrap();
    assert_eq!(outcome["spec"]["template"]["spec"]["containers"][0]["ports"].as_array().unwrap().len(), 1);
    assert!(owners(&outcome)["before-first-apply/Update"]["f:spec"].get("f:replicas").is_some());
    let given = config(json!({"metadata": {"managedFields": [{"manager": "x"}]}}));
    assert_eq!(
        apply(&schema, None, &given, false, &stamp("me")).unwrap_err().to_string(),
        "metadata.managedFields must be nil"
    );
}

#[test]
fn many_updaters_are_folded() {
    let schema = deployment();
    let mut live = created("m00");
    for n in 1..15 {
        let mut next = live.clone();
        next["metadata"]["labels"][format!("l{n}")] = json!("x");
        let (name, now) = (format!("m{n:02}"), format!("2024-01-01T00:00:{n:02}Z"));
        update(&schema, Some(&live), &mut next, &at(&name, &now));
        live = next;
    }
    let owners = owners(&live);
    assert_eq!(owners.as_object().unwrap().len(), 10);
    assert!(owners["ancient-changes/Update"]["f:metadata"]["f:labels"].get("f:l1").is_some());
}
