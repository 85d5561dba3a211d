use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscalerSpec;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::behavior::{Past, limit};
use super::metrics::read_pods;
use super::replicas::{Figure, Proposal, Question, Tolerance, Wanted, by_ratio, by_share};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_767_225_600 + seconds).unwrap()
}

const EVEN: Tolerance = Tolerance { up: 0.1, down: 0.1 };

/// A pod that has long been there and requests a tenth of a processor.
fn pod(name: &str, ready: bool) -> Arc<Pod> {
    let container = json!({"name": "c", "resources": {"requests": {"cpu": "100m"}}});
    let condition = json!({"type": "Ready", "status": if ready { "True" } else { "False" }, "lastTransitionTime": at(-1000).to_string()});
    let status = json!({"phase": "Running", "startTime": at(-1010).to_string(), "conditions": [condition]});
    Arc::new(
        serde_json::from_value(
            json!({"metadata": {"name": name}, "spec": {"containers": [container]}, "status": status}),
        )
        .unwrap(),
    )
}

fn ask(figures: &[(&str, i64)], pods: &[Arc<Pod>], wanted: Wanted) -> Result<Proposal, String> {
    let figure = |milli: i64| Figure { milli, at: at(0), window: SignedDuration::from_secs(15) };
    let figures: BTreeMap<_, _> = figures.iter().map(|(name, milli)| ((*name).to_owned(), figure(*milli))).collect();
    let current = i32::try_from(pods.len()).unwrap();
    Question { current, pods, figures, resource: "cpu", container: None, wanted, tolerance: EVEN, now: at(0) }.answer()
}

#[test]
fn replicas_follow_the_use() {
    let two = [pod("a", true), pod("b", true)];
    let replicas = |milli: i64| ask(&[("a", milli), ("b", milli)], &two, Wanted::Utilization(50)).unwrap().replicas;
    assert_eq!([replicas(50), replicas(54), replicas(100), replicas(110), replicas(10)], [2, 2, 4, 5, 1]);
    let average = ask(&[("a", 300), ("b", 100)], &two, Wanted::Average(100)).unwrap();
    assert_eq!((average.replicas, average.average, average.utilization), (4, 200, None));
}

#[test]
fn pods_without_a_figure_slow_it_down() {
    let three = [pod("a", true), pod("b", true), pod("c", true)];
    let up = ask(&[("a", 100), ("b", 100)], &three, Wanted::Utilization(50)).unwrap();
    assert_eq!(up.replicas, 4, "the third may use nothing");
    let down = ask(&[("a", 10), ("b", 10)], &three, Wanted::Utilization(50)).unwrap();
    assert_eq!(down.replicas, 3, "the third may use all that it requested");
    let unready = [pod("a", true), pod("b", false)];
    let up = ask(&[("a", 100), ("b", 900)], &unready, Wanted::Utilization(50)).unwrap();
    assert_eq!(up.replicas, 2, "one that never was ready does not count");
    assert!(ask(&[], &three, Wanted::Utilization(50)).is_err());
}

#[test]
fn a_request_must_be_said() {
    let mut silent = (*pod("a", true)).clone();
    silent.spec.as_mut().unwrap().containers[0].resources = None;
    let said = ask(&[("a", 1)], &[Arc::new(silent)], Wanted::Utilization(50)).unwrap_err();
    assert_eq!(said, "missing request for cpu in container c of Pod a");
}

#[test]
fn figures_of_the_whole() {
    assert_eq!((by_ratio(2.0, 3, 3, EVEN), by_ratio(1.05, 3, 3, EVEN)), (6, 3));
    assert_eq!((by_share(900, 100, 3, EVEN), by_share(310, 100, 3, EVEN)), (9, 3));
}

fn spec(behavior: Value) -> HorizontalPodAutoscalerSpec {
    serde_json::from_value(json!({"minReplicas": 1, "maxReplicas": 20, "behavior": behavior,
        "scaleTargetRef": {"kind": "Deployment", "name": "d"}}))
    .unwrap()
}

#[test]
fn more_comes_fast_and_less_comes_late() {
    let mut past = Past::default();
    let spec = spec(json!(null));
    let (number, _, limited) = limit(&spec, 2, 10, &mut past, at(0));
    assert_eq!((number, limited.reason.as_str()), (6, "ScaleUpLimit"), "four at a time, or twice as many");
    let (number, able, _) = limit(&spec, 6, 1, &mut past, at(30));
    assert_eq!((number, able.reason.as_str()), (6, "ScaleDownStabilized"));
    assert_eq!(limit(&spec, 6, 1, &mut past, at(301)).0, 1);
    let (number, _, limited) = limit(&spec, 20, 30, &mut Past::default(), at(0));
    assert_eq!((number, limited.reason.as_str()), (20, "TooManyReplicas"));
}

#[test]
fn policies_set_the_pace() {
    let policies = |kind: &str, value: i32| json!([{"type": kind, "value": value, "periodSeconds": 60}]);
    let slow = spec(json!({
        "scaleUp": {"policies": policies("Pods", 2)},
        "scaleDown": {"stabilizationWindowSeconds": 0, "policies": policies("Percent", 50)}}));
    let mut past = Past::default();
    assert_eq!(limit(&slow, 4, 10, &mut past, at(0)).0, 6);
    past.scaled(4, 6, at(0));
    assert_eq!(limit(&slow, 6, 10, &mut past, at(30)).0, 6, "two a minute");
    assert_eq!(limit(&slow, 6, 10, &mut past, at(61)).0, 8);
    assert_eq!(limit(&slow, 8, 1, &mut Past::default(), at(61)).0, 4);
    let never = spec(json!({"scaleDown": {"stabilizationWindowSeconds": 0, "selectPolicy": "Disabled"}}));
    assert_eq!(limit(&never, 8, 1, &mut Past::default(), at(0)).0, 8);
}

#[test]
fn figures_are_read_by_pod() {
    let container = |name: &str, cpu: &str| json!({"name": name, "usage": {"cpu": cpu}});
    let list = json!({"items": [
        {"metadata": {"name": "a"}, "timestamp": at(0).to_string(), "window": "15s",
            "containers": [container("c", "1500u"), container("d", "20m")]},
        {"metadata": {"name": "b"}, "containers": [{"name": "c", "usage": {}}]}]});
    let all = read_pods(&list, "cpu", None);
    assert_eq!(all.len(), 1);
    assert_eq!(all.get("a"), Some(&Figure { milli: 22, at: at(0), window: SignedDuration::from_secs(15) }));
    assert_eq!(read_pods(&list, "cpu", Some("d")).get("a").unwrap().milli, 20);
}
