use std::sync::Arc;

use k8s_openapi::api::core::v1::{Endpoints, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::{Value, json};

use super::plan::{MAX, Skipped, plan};
use crate::endpointslice::pack::Plan;

fn service(spec: &Value) -> Service {
    serde_json::from_value(json!({"metadata": {"name": "s", "namespace": "ns"}, "spec": spec})).unwrap()
}

fn endpoints(meta: &Value, subsets: &Value) -> Endpoints {
    let mut all = json!({"name": "s", "namespace": "ns", "uid": "u"});
    all.as_object_mut().unwrap().extend(meta.as_object().unwrap().clone());
    serde_json::from_value(json!({"metadata": all, "subsets": subsets})).unwrap()
}

fn subset(addresses: &[&str]) -> Value {
    let addresses: Vec<Value> = addresses.iter().map(|ip| json!({"ip": ip})).collect();
    json!({"addresses": addresses, "ports": [{"name": "web", "port": 80, "protocol": "TCP"}]})
}

/// The plan for a Service without a selector.
fn mirror(endpoints: &Endpoints, existing: &[EndpointSlice]) -> (Plan, Skipped) {
    let existing: Vec<_> = existing.iter().cloned().map(Arc::new).collect();
    plan(Some(&service(&json!({}))), Some(endpoints), &existing)
}

fn numbers(plan: &Plan) -> (usize, usize, usize) {
    (plan.create.len(), plan.update.len(), plan.delete.len())
}

#[test]
fn a_slice_says_what_the_endpoints_say() {
    let meta = json!({"labels": {"l": "v", "endpointslice.kubernetes.io/managed-by": "me"},
        "annotations": {"a": "b", "kubectl.kubernetes.io/last-applied-configuration": "{}"}});
    let subsets = json!([{"addresses": [{"ip": "10.0.0.1", "hostname": "h", "nodeName": "n"}], "notReadyAddresses": [{"ip": "10.0.0.2"}],
        "ports": [{"port": 80}]}, subset(&["fd00::1"])]);
    let (plan, skipped) = mirror(&endpoints(&meta, &subsets), &[]);
    assert_eq!(skipped, Skipped::default());
    let [v4, v6] = &plan.create[..] else { panic!("{plan:?}") };
    let (v4, v6) = (serde_json::to_value(v4).unwrap(), serde_json::to_value(v6).unwrap());
    assert_eq!(v4["metadata"]["generateName"], "s-");
    assert_eq!(v4["metadata"]["annotations"], json!({"a": "b"}));
    assert_eq!(
        v4["metadata"]["labels"],
        json!({"l": "v", "kubernetes.io/service-name": "s",
            "endpointslice.kubernetes.io/managed-by": "endpointslicemirroring-controller.k8s.io"})
    );
    let owner = &v4["metadata"]["ownerReferences"][0];
    assert_eq!((&owner["kind"], &owner["uid"]), (&json!("Endpoints"), &json!("u")));
    assert_eq!(
        v4["endpoints"],
        json!([{"addresses": ["10.0.0.1"], "conditions": {"ready": true}, "hostname": "h", "nodeName": "n"},
            {"addresses": ["10.0.0.2"], "conditions": {"ready": false}}])
    );
    assert_eq!(v4["ports"], json!([{"name": "", "port": 80, "protocol": "TCP"}]));
    assert_eq!((&v6["addressType"], &v6["endpoints"][0]["addresses"]), (&json!("IPv6"), &json!(["fd00::1"])));
}

#[test]
fn slices_follow_changes_and_are_not_written_twice() {
    let first = endpoints(&json!({}), &json!([subset(&["10.0.0.1"])]));
    let made = mirror(&first, &[]).0.create;
    assert_eq!(numbers(&mirror(&first, &made).0), (0, 0, 0));
    let changed = endpoints(&json!({"labels": {"l": "v"}}), &json!([subset(&["10.0.0.2"])]));
    let plan = mirror(&changed, &made).0;
    assert_eq!(numbers(&plan), (0, 1, 0));
    assert_eq!(plan.update[0].endpoints.as_ref().unwrap()[0].addresses, ["10.0.0.2"]);
    assert_eq!(numbers(&mirror(&endpoints(&json!({}), &json!([])), &made).0), (0, 0, 1), "nobody is left");
}

#[test]
fn what_is_not_to_be_mirrored_has_no_slices() {
    let subsets = json!([subset(&["10.0.0.1"])]);
    let plain = endpoints(&json!({}), &subsets);
    let made: Vec<_> = mirror(&plain, &[]).0.create.into_iter().map(Arc::new).collect();
    let alone = service(&json!({}));
    let with_selector = service(&json!({"selector": {"a": "b"}}));
    let skipped = endpoints(&json!({"labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}}), &subsets);
    let electing = endpoints(&json!({"annotations": {"control-plane.alpha.kubernetes.io/leader": "{}"}}), &subsets);
    for (service, endpoints) in [
        (None, Some(&plain)),
        (Some(&alone), None),
        (Some(&with_selector), Some(&plain)),
        (Some(&alone), Some(&skipped)),
        (Some(&alone), Some(&electing)),
    ] {
        assert_eq!(numbers(&plan(service, endpoints, &made).0), (0, 0, 1), "{service:?} {endpoints:?}");
    }
}

#[test]
fn addresses_are_left_out_when_they_are_too_many_or_none() {
    let many: Vec<String> = (0..MAX + 5).map(|i| format!("10.1.{}.{}", i / 250, i % 250)).collect();
    let mut addresses: Vec<&str> = many.iter().map(String::as_str).collect();
    addresses.push("nonsense");
    let (plan, skipped) = mirror(&endpoints(&json!({}), &json!([subset(&addresses)])), &[]);
    assert_eq!(skipped, Skipped { invalid: 1, beyond: 5 });
    assert_eq!(numbers(&plan), (1, 0, 0));
    assert_eq!(plan.create[0].endpoints.as_ref().unwrap().len(), MAX);
}
