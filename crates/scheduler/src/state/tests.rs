use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Decision, State};
use crate::plugins::volume_binding::VolumePlan;
use crate::pod::PodInfo;
use crate::profile::Profile;

fn pod(name: &str, cpu: &str, spec: Value) -> Arc<PodInfo> {
    let mut all = json!({"schedulerName": "s",
        "containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]});
    spec.as_object().unwrap().iter().for_each(|(key, value)| all[key] = value.clone());
    let meta = json!({"name": name, "namespace": "ns", "uid": name});
    Arc::new(PodInfo::of(serde_json::from_value(json!({"metadata": meta, "spec": all})).unwrap()))
}

fn node(cpu: &str, heartbeat: &str) -> Node {
    let conditions = json!([{"type": "Ready", "status": "True", "lastHeartbeatTime": heartbeat}]);
    let status = json!({"allocatable": {"cpu": cpu, "memory": "1Gi", "pods": "10"}, "conditions": conditions});
    serde_json::from_value(json!({"metadata": {"name": "n"}, "status": status})).unwrap()
}

const EARLY: &str = "2026-01-01T00:00:00Z";

fn state(now: Instant) -> State {
    let mut state = State::new(vec![Profile { name: "s".into(), ..Profile::default() }]);
    state.node_applied(None, &node("2", EARLY), now);
    state
}

fn text(decision: Decision) -> String {
    match decision {
        Decision::Bind(pod, placement) => format!("{} to {}", pod.key.name, placement.node),
        Decision::Fail(pod, diagnosis, None) => format!("{}: {}", pod.key.name, diagnosis.message()),
        Decision::Fail(pod, _, Some(candidate)) => format!("{} preempts {}", pod.key.name, candidate.victims.len()),
        Decision::WaitUntil(_) => "later".into(),
        Decision::Wait => "wait".into(),
    }
}

#[test]
fn an_assumed_pod_takes_its_room_at_once() {
    let now = Instant::now();
    let mut state = state(now);
    state.pod_applied(None, &pod("a", "2", json!({})), now);
    state.pod_applied(None, &pod("b", "1", json!({})), now);
    state.pod_applied(None, &pod("other", "1", json!({"schedulerName": "t"})), now);
    assert_eq!(text(state.decide(now)), "a to n");
    assert!(text(state.decide(now)).starts_with("b: 0/1 nodes are available: 1 Insufficient cpu."));
    assert_eq!(text(state.decide(now)), "wait");
}

#[test]
fn a_refused_binding_gives_the_room_back_and_is_tried_again() {
    let now = Instant::now();
    let mut state = state(now);
    let first = pod("a", "2", json!({}));
    state.pod_applied(None, &first, now);
    assert_eq!(text(state.decide(now)), "a to n");
    state.pod_applied(Some(&first), &first, now);
    assert_eq!(text(state.decide(now)), "wait", "seen unbound while its binding is under way");
    state.bind_failed(&first, &VolumePlan::default(), now);
    assert_eq!(text(state.decide(now)), "later");
    assert_eq!(text(state.decide(now + Duration::from_secs(1))), "a to n");
}

#[test]
fn what_ends_makes_room_for_what_waits() {
    let now = Instant::now();
    let mut state = state(now);
    let running = pod("a", "2", json!({"nodeName": "n"}));
    state.pod_applied(None, &running, now);
    state.pod_applied(None, &pod("b", "1", json!({})), now);
    assert!(text(state.decide(now)).starts_with("b: "));
    state.node_applied(Some(&node("2", EARLY)), &node("2", "2026-01-01T00:01:00Z"), now);
    assert_eq!(text(state.decide(now)), "wait", "a heartbeat changes nothing");
    let mut ended = (*running).clone();
    ended.terminal = true;
    state.pod_applied(Some(&running), &Arc::new(ended), now);
    assert_eq!(text(state.decide(now + Duration::from_secs(1))), "b to n");
}

#[test]
fn the_important_preempt_the_others() {
    let now = Instant::now();
    let mut state = state(now);
    state.pod_applied(None, &pod("a", "2", json!({"nodeName": "n"})), now);
    state.pod_applied(None, &pod("b", "1", json!({"priority": 5})), now);
    assert_eq!(text(state.decide(now)), "b preempts 1");
}

#[test]
fn room_that_was_made_is_kept_for_whom_it_was_made() {
    let now = Instant::now();
    let mut state = state(now);
    let victim = pod("a", "2", json!({"nodeName": "n"}));
    state.pod_applied(None, &victim, now);
    state.pod_applied(None, &pod("b", "2", json!({"priority": 5})), now);
    assert_eq!(text(state.decide(now)), "b preempts 1");
    state.pod_applied(None, &pod("c", "1", json!({})), now);
    state.pod_deleted("a", now);
    assert!(text(state.decide(now)).starts_with("c: 0/1 nodes are available: 1 Insufficient cpu."));
    assert_eq!(text(state.decide(now + Duration::from_secs(1))), "b to n");
}
