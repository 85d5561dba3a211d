use std::sync::Arc;

use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::{Value, json};

use super::endpoints::subsets;
use super::pack::Plan;
use super::plan::plan;

fn service(spec: Value) -> Service {
    let mut all = json!({"clusterIP": "10.96.0.1", "ports": [{"name": "web", "port": 80, "targetPort": "http"}]});
    spec.as_object().unwrap().iter().for_each(|(key, value)| all[key] = value.clone());
    let meta = json!({"name": "s", "namespace": "ns", "uid": "s", "labels": {"l": "v"}});
    serde_json::from_value(json!({"metadata": meta, "spec": all})).unwrap()
}

fn pod(name: &str, ip: &str, ready: bool) -> Value {
    json!({"metadata": {"name": name, "namespace": "ns", "uid": name},
        "spec": {"nodeName": "n", "containers": [{"name": "c", "ports": [{"name": "http", "containerPort": 8080}]}]},
        "status": {"podIP": ip, "podIPs": [{"ip": ip}], "phase": "Running",
            "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}]}})
}

fn parse(pods: &[Value]) -> Vec<Arc<Pod>> {
    pods.iter().map(|pod| Arc::new(serde_json::from_value(pod.clone()).unwrap())).collect()
}

fn run(service: &Service, pods: &[Value], existing: &[EndpointSlice]) -> Plan {
    let existing: Vec<_> = existing.iter().cloned().map(Arc::new).collect();
    plan(service, &parse(pods), &existing, |_| Some("z".into()))
}

fn numbers(plan: &Plan) -> (usize, usize, usize) {
    (plan.create.len(), plan.update.len(), plan.delete.len())
}

#[test]
fn a_slice_says_all_about_its_pods() {
    let mut leaving = pod("c", "10.0.0.3", true);
    leaving["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    let mut done = pod("d", "10.0.0.4", true);
    done["status"]["phase"] = json!("Succeeded");
    let pods = [pod("a", "10.0.0.1", true), pod("b", "10.0.0.2", false), leaving, done, pod("e", "", false)];
    let plan = run(&service(json!({})), &pods, &[]);
    let slice = serde_json::to_value(&plan.create[0]).unwrap();
    assert_eq!(slice["metadata"]["generateName"], "s-");
    assert_eq!(
        slice["metadata"]["labels"],
        json!({"l": "v", "kubernetes.io/service-name": "s",
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"})
    );
    assert_eq!(slice["metadata"]["ownerReferences"][0]["kind"], "Service");
    assert_eq!(slice["ports"], json!([{"name": "web", "port": 8080, "protocol": "TCP"}]));
    let conditions: Vec<_> = slice["endpoints"].as_array().unwrap().iter().map(|e| e["conditions"].clone()).collect();
    let condition =
        |ready, serving, terminating| json!({"ready": ready, "serving": serving, "terminating": terminating});
    assert_eq!(
        conditions,
        [condition(true, true, false), condition(false, false, false), condition(false, true, true)]
    );
    let first = &slice["endpoints"][0];
    assert_eq!(
        (&first["nodeName"], &first["zone"], &first["targetRef"]["uid"]),
        (&json!("n"), &json!("z"), &json!("a"))
    );
}

#[test]
fn what_is_right_is_not_written_again() {
    let service = service(json!({}));
    let pods = [pod("a", "10.0.0.1", true)];
    let created = run(&service, &pods, &[]).create;
    assert_eq!(numbers(&run(&service, &pods, &created)), (0, 0, 0));
    assert_eq!(numbers(&run(&service, &[pod("a", "10.0.0.1", false)], &created)), (0, 1, 0));
    let empty = run(&service, &[], &created);
    assert_eq!((empty.create.len(), empty.delete.len()), (1, 1), "a slice without ports stands for nobody");
    assert_eq!(numbers(&run(&service, &[], &empty.create)), (0, 0, 0));
}

#[test]
fn slices_hold_a_hundred_and_are_filled_up() {
    let service = service(json!({}));
    let pods: Vec<_> = (0..230).map(|n| pod(&format!("p{n:03}"), &format!("10.0.1.{n}"), true)).collect();
    let created = run(&service, &pods, &[]).create;
    let sizes: Vec<_> = created.iter().map(|slice| slice.endpoints.as_ref().unwrap().len()).collect();
    assert_eq!(sizes, [100, 100, 30]);
    let mut more = pods.clone();
    more.push(pod("x", "10.0.2.1", true));
    assert_eq!(numbers(&run(&service, &more, &created)), (0, 1, 0), "only the slice with room changes");
    assert_eq!(numbers(&run(&service, &pods[..200], &created)), (0, 0, 1));
}

#[test]
fn pods_with_other_ports_get_other_slices() {
    let mut other = pod("b", "10.0.0.2", true);
    other["spec"]["containers"][0]["ports"][0]["containerPort"] = json!(9090);
    let plan = run(&service(json!({})), &[pod("a", "10.0.0.1", true), other], &[]);
    assert_eq!(plan.create.len(), 2);
}

#[test]
fn headless_services_publish_names_and_may_publish_the_unready() {
    let mut named = pod("a", "10.0.0.1", false);
    named["spec"]["hostname"] = json!("h");
    named["spec"]["subdomain"] = json!("s");
    let service = service(json!({"clusterIP": "None", "publishNotReadyAddresses": true, "ports": null}));
    let plan = run(&service, &[named], &[]);
    let slice = &plan.create[0];
    let endpoint = &slice.endpoints.as_ref().unwrap()[0];
    assert_eq!(endpoint.hostname.as_deref(), Some("h"));
    let conditions = endpoint.conditions.as_ref().unwrap();
    assert_eq!((conditions.ready, conditions.serving), (Some(true), Some(false)));
    assert_eq!(slice.metadata.labels.as_ref().unwrap()["service.kubernetes.io/headless"], "");
    assert_eq!(slice.ports, Some(vec![]));
}

#[test]
fn endpoints_tell_ready_from_unready() {
    let pods = [pod("a", "10.0.0.1", true), pod("b", "10.0.0.2", false)];
    let subsets = subsets(&service(json!({})), &parse(&pods));
    let subset = serde_json::to_value(&subsets[0]).unwrap();
    assert_eq!(subset["addresses"][0]["ip"], "10.0.0.1");
    assert_eq!(subset["notReadyAddresses"][0]["ip"], "10.0.0.2");
    assert_eq!(subset["ports"], json!([{"name": "web", "port": 8080, "protocol": "TCP"}]));
}
