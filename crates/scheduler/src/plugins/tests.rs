//! Each row: a node, a pod, pods that are there, and what is said.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::framework::{Diagnosis, schedule};
use crate::plugins::default_preemption::{Candidate, preempt};
use crate::pod::PodInfo;
use crate::profile::Profile;
use crate::snapshot::{Budget, Snapshot};

fn pod(name: &str, spec: Value) -> PodInfo {
    labelled(name, json!({}), spec)
}

fn labelled(name: &str, labels: Value, mut spec: Value) -> PodInfo {
    if spec.get("containers").is_none() {
        spec["containers"] = json!([{"name": "c"}]);
    }
    let meta = json!({"name": name, "namespace": "ns", "uid": name, "labels": labels});
    PodInfo::of(serde_json::from_value(json!({"metadata": meta, "spec": spec})).unwrap())
}

fn asking(name: &str, cpu: &str, priority: i32) -> PodInfo {
    pod(name, json!({"priority": priority, "containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]}))
}

fn cluster(nodes: &[(&str, Value, Value)]) -> Snapshot {
    let mut snapshot = Snapshot::default();
    for (name, labels, spec) in nodes {
        let node = json!({"metadata": {"name": name, "labels": labels}, "spec": spec,
            "status": {"allocatable": {"cpu": "4", "memory": "4Gi", "pods": "10"}}});
        snapshot.set_node(&serde_json::from_value(node).unwrap());
    }
    snapshot
}

fn place(snapshot: &mut Snapshot, pod: PodInfo, node: &str) {
    snapshot.place(Arc::new(pod), node);
}

/// Prepared for a pod.
fn verdict(snapshot: &mut Snapshot, pod: &PodInfo) -> String {
    snapshot.prepare(pod);
    match schedule(pod, &Profile::default(), snapshot, 0) {
        Ok(placement) => placement.node,
        Err(diagnosis) => diagnosis.message(),
    }
}

#[test]
fn filters_say_why() {
    let taint = json!({"taints": [{"key": "k", "value": "v", "effect": "NoSchedule"}]});
    let cordoned = json!({"unschedulable": true,
        "taints": [{"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}]});
    let affinity = |operator: &str, value: &str| {
        json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms":
            [{"matchExpressions": [{"key": "n", "operator": operator, "values": [value]}]}]}}}})
    };
    let mismatch = "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.";
    let rows = [
        (json!({}), json!({}), "a"),
        (taint.clone(), json!({}), "0/1 nodes are available: 1 node(s) had untolerated taint(s)."),
        (taint.clone(), json!({"tolerations": [{"key": "k", "value": "v", "effect": "NoSchedule"}]}), "a"),
        (taint.clone(), json!({"tolerations": [{"operator": "Exists"}]}), "a"),
        (
            taint,
            json!({"tolerations": [{"key": "k", "value": "w"}]}),
            "0/1 nodes are available: 1 node(s) had untolerated taint(s).",
        ),
        (cordoned, json!({}), "0/1 nodes are available: 1 node(s) were unschedulable."),
        (json!({}), json!({"nodeSelector": {"n": "5"}}), "a"),
        (json!({}), json!({"nodeSelector": {"n": "6"}}), mismatch),
        (json!({}), affinity("Gt", "4"), "a"),
        (json!({}), affinity("Lt", "4"), mismatch),
        (json!({}), affinity("NotIn", "5"), mismatch),
        (json!({}), affinity("Sounds", "5"), mismatch),
    ];
    for (node, spec, expected) in rows {
        let mut snapshot = cluster(&[("a", json!({"n": "5"}), node)]);
        assert_eq!(verdict(&mut snapshot, &pod("p", spec.clone())), expected, "{spec}");
    }
    assert_eq!(verdict(&mut cluster(&[]), &pod("p", json!({}))), "no nodes available to schedule pods");
}

#[test]
fn resources_are_summed_per_node_and_given_back() {
    let mut snapshot = cluster(&[("a", json!({}), json!({}))]);
    place(&mut snapshot, asking("one", "3", 0), "a");
    let wanted = asking("two", "2", 0);
    assert_eq!(verdict(&mut snapshot, &wanted), "0/1 nodes are available: 1 Insufficient cpu.");
    snapshot.remove_pod("one");
    assert_eq!(verdict(&mut snapshot, &wanted), "a");
    for n in 0..10 {
        place(&mut snapshot, pod(&n.to_string(), json!({})), "a");
    }
    assert_eq!(verdict(&mut snapshot, &wanted), "0/1 nodes are available: 1 Too many pods.");
}

#[test]
fn host_ports_collide_on_the_same_address_and_protocol() {
    let with = |name: &str, ip: &str, protocol: &str| {
        let port = json!({"containerPort": 80, "hostPort": 80, "hostIP": ip, "protocol": protocol});
        pod(name, json!({"containers": [{"name": "c", "ports": [port]}]}))
    };
    let mut snapshot = cluster(&[("a", json!({}), json!({}))]);
    place(&mut snapshot, with("one", "127.0.0.1", "TCP"), "a");
    let taken = "0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports.";
    for (ip, protocol, expected) in
        [("127.0.0.1", "TCP", taken), ("", "TCP", taken), ("127.0.0.2", "TCP", "a"), ("", "UDP", "a")]
    {
        assert_eq!(verdict(&mut snapshot, &with("two", ip, protocol)), expected, "{ip} {protocol}");
    }
}

#[test]
fn the_emptier_node_and_the_preferred_node_win() {
    let mut snapshot = cluster(&[("a", json!({}), json!({})), ("b", json!({"disk": "ssd"}), json!({}))]);
    place(&mut snapshot, asking("one", "2", 0), "b");
    assert_eq!(verdict(&mut snapshot, &asking("p", "1", 0)), "a");
    let term = json!({"matchExpressions": [{"key": "disk", "operator": "Exists"}]});
    let affinity = json!({"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution":
        [{"weight": 100, "preference": term}]}});
    assert_eq!(verdict(&mut snapshot, &pod("p", json!({"affinity": affinity}))), "b");
}

#[test]
fn pods_of_one_controller_are_spread() {
    let nodes = ["a", "b", "c"].map(|name| (name, json!({}), json!({})));
    let mut snapshot = cluster(&nodes);
    let mut counts = std::collections::BTreeMap::new();
    for n in 0..9 {
        let mut next = pod(&n.to_string(), json!({}));
        next.owner = Some("rs".into());
        let node = verdict(&mut snapshot, &next);
        *counts.entry(node.clone()).or_insert(0) += 1;
        place(&mut snapshot, next, &node);
    }
    assert!(counts.values().all(|count| *count == 3), "{counts:?}");
}

#[test]
fn hard_spread_constraints() {
    let spec = json!({"topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone",
        "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {"matchLabels": {"app": "x"}}}]});
    let zone = |zone: &str| json!({"zone": zone});
    let mut snapshot =
        cluster(&[("a", zone("1"), json!({})), ("b", zone("2"), json!({})), ("c", json!({}), json!({}))]);
    let next = |name: &str| labelled(name, json!({"app": "x"}), spec.clone());
    place(&mut snapshot, next("one"), "a");
    assert_eq!(verdict(&mut snapshot, &next("two")), "b");
    let mut blocked = cluster(&[("c", json!({}), json!({}))]);
    let missing =
        "0/1 nodes are available: 1 node(s) didn't match pod topology spread constraints (missing required label).";
    assert_eq!(verdict(&mut blocked, &next("two")), missing);
}

#[test]
fn affinity_between_pods() {
    let term = json!([{"topologyKey": "zone", "labelSelector": {"matchLabels": {"app": "x"}}}]);
    let near = json!({"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": term}}});
    let far = json!({"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": term}}});
    let x = json!({"app": "x"});
    let nodes = [("a", json!({"zone": "1"}), json!({})), ("b", json!({"zone": "2"}), json!({}))];
    let mut snapshot = cluster(&nodes);
    assert!(verdict(&mut snapshot, &pod("p", near.clone())).contains("2 node(s) didn't match pod affinity rules"));
    assert_eq!(
        verdict(&mut snapshot, &labelled("p", x.clone(), near.clone())).len(),
        1,
        "the first of a group may start"
    );
    place(&mut snapshot, labelled("one", x.clone(), json!({})), "b");
    assert_eq!(verdict(&mut snapshot, &pod("p", near)), "b");
    assert_eq!(verdict(&mut snapshot, &pod("p", far.clone())), "a");
    place(&mut snapshot, labelled("two", json!({}), far), "a");
    let message = verdict(&mut snapshot, &labelled("p", x, json!({"nodeSelector": {"zone": "1"}})));
    assert!(message.contains("1 node(s) didn't satisfy existing pods anti-affinity rules"), "{message}");
}

fn diagnosis(snapshot: &mut Snapshot, pod: &PodInfo) -> Diagnosis {
    snapshot.prepare(pod);
    schedule(pod, &Profile::default(), snapshot, 0).unwrap_err()
}

fn preempted(snapshot: &mut Snapshot, pod: &PodInfo) -> Candidate {
    let diagnosis = diagnosis(snapshot, pod);
    preempt(pod, &Profile::default(), snapshot, &diagnosis).unwrap()
}

#[test]
fn preemption_takes_the_cheapest_victims_only() {
    let mut snapshot = cluster(&[("a", json!({}), json!({})), ("b", json!({}), json!({}))]);
    for (name, cpu, priority, node) in [("a1", "2", 5, "a"), ("a2", "2", 1, "a"), ("b1", "4", 7, "b")] {
        place(&mut snapshot, asking(name, cpu, priority), node);
    }
    let wanted = asking("p", "2", 10);
    let candidate = preempted(&mut snapshot, &wanted);
    let victims: Vec<_> = candidate.victims.iter().map(|victim| victim.key.name.as_str()).collect();
    assert_eq!((candidate.node.as_str(), victims), ("a", vec!["a2"]));
}

#[test]
fn preemption_says_why_not() {
    let mut snapshot = cluster(&[("a", json!({}), json!({}))]);
    place(&mut snapshot, asking("one", "4", 0), "a");
    let mut why = |pod: &PodInfo| {
        let mut diagnosis = diagnosis(&mut snapshot, pod);
        diagnosis.preemption = preempt(pod, &Profile::default(), &snapshot, &diagnosis).unwrap_err();
        diagnosis.message()
    };
    let head = "0/1 nodes are available: 1 Insufficient cpu. preemption:";
    let none = format!("{head} 0/1 nodes are available: 1 No preemption victims found for incoming pod.");
    assert_eq!(why(&asking("p", "1", 0)), none);
    let helpless = format!("{head} 0/1 nodes are available: 1 Preemption is not helpful for scheduling.");
    assert_eq!(why(&asking("p", "5", 9)), helpless);
    let mut never = asking("p", "1", 9);
    never.wishes.as_mut().unwrap().preemption = false;
    assert_eq!(why(&never), format!("{head} not eligible due to preemptionPolicy=Never."));
}

#[test]
fn preemption_spares_what_a_budget_protects() {
    let mut snapshot = cluster(&[("a", json!({}), json!({})), ("b", json!({}), json!({}))]);
    let guarded = |name: &str, priority: i32| {
        let mut pod = asking(name, "4", priority);
        pod.labels.insert("app".into(), "db".into());
        pod
    };
    place(&mut snapshot, guarded("a1", 1), "a");
    place(&mut snapshot, asking("b1", "4", 5), "b");
    let budget = json!({"metadata": {"name": "b", "namespace": "ns"},
        "spec": {"selector": {"matchLabels": {"app": "db"}}}, "status": {"disruptionsAllowed": 0,
            "currentHealthy": 1, "desiredHealthy": 1, "expectedPods": 1}});
    snapshot.budgets.push(Budget::of(&serde_json::from_value(budget).unwrap()));
    assert_eq!(preempted(&mut snapshot, &asking("p", "2", 10)).node, "b");
    snapshot.budgets.clear();
    assert_eq!(preempted(&mut snapshot, &asking("p", "2", 10)).node, "a");
}

#[test]
fn preemption_makes_room_for_those_who_cannot_stand_others() {
    let mut snapshot = cluster(&[("a", json!({"zone": "1"}), json!({}))]);
    place(&mut snapshot, labelled("one", json!({"app": "x"}), json!({})), "a");
    let term = json!([{"topologyKey": "zone", "labelSelector": {"matchLabels": {"app": "x"}}}]);
    let far = json!({"priority": 7,
        "affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": term}}});
    let candidate = preempted(&mut snapshot, &pod("p", far));
    assert_eq!(candidate.victims.len(), 1);
}

#[test]
fn affinity_selects_namespaces_and_works_both_ways() {
    let nodes = [("a", json!({"zone": "1"}), json!({})), ("b", json!({"zone": "2"}), json!({}))];
    let mut snapshot = cluster(&nodes);
    let mut other = labelled("one", json!({"app": "x"}), json!({}));
    other.key.namespace = "team".into();
    place(&mut snapshot, other, "b");
    let term = json!([{"topologyKey": "zone", "labelSelector": {"matchLabels": {"app": "x"}},
        "namespaceSelector": {"matchLabels": {"kind": "team"}}}]);
    let near = json!({"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": term}}});
    assert!(verdict(&mut snapshot, &pod("p", near.clone())).contains("didn't match pod affinity rules"));
    snapshot.set_namespace("team", Some([("kind".to_owned(), "team".to_owned())].into()));
    assert_eq!(verdict(&mut snapshot, &pod("p", near)), "b");
    let likes = json!({"affinity": {"podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution":
        [{"weight": 100, "podAffinityTerm": {"topologyKey": "zone", "labelSelector": {"matchLabels": {"app": "y"}}}}]}}});
    place(&mut snapshot, labelled("fan", json!({}), likes), "a");
    let wanted = labelled("star", json!({"app": "y"}), json!({}));
    assert_eq!(verdict(&mut snapshot, &wanted), "a", "who is liked goes where it is liked");
}

#[test]
fn counts_follow_pods_that_come_and_go() {
    let zone = |zone: &str| json!({"zone": zone});
    let mut snapshot = cluster(&[("a", zone("1"), json!({})), ("b", zone("2"), json!({}))]);
    let spec = json!({"topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone",
        "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {"matchLabels": {"app": "x"}}}]});
    let next = |name: &str| labelled(name, json!({"app": "x"}), spec.clone());
    assert_eq!(verdict(&mut snapshot, &next("p")).len(), 1);
    place(&mut snapshot, next("one"), "a");
    assert_eq!(verdict(&mut snapshot, &next("p")), "b");
    place(&mut snapshot, next("one"), "b");
    assert_eq!(verdict(&mut snapshot, &next("p")), "a", "it has moved");
    snapshot.remove_pod("one");
    place(&mut snapshot, next("two"), "a");
    assert_eq!(verdict(&mut snapshot, &next("p")), "b");
}

#[test]
fn a_profile_packs_nodes_and_leaves_filters_out() {
    let mut snapshot = cluster(&[("a", json!({}), json!({})), ("b", json!({}), json!({}))]);
    place(&mut snapshot, asking("one", "1", 0), "b");
    let configuration = json!({"apiVersion": "kubescheduler.config.k8s.io/v1", "kind": "KubeSchedulerConfiguration",
        "profiles": [{"plugins": {"score": {"disabled": [{"name": "*"}], "enabled": [{"name": "NodeResourcesFit"}]},
            "filter": {"disabled": [{"name": "NodeResourcesFit"}]}},
        "pluginConfig": [{"name": "NodeResourcesFit", "args": {"scoringStrategy": {"type": "MostAllocated"}}}]}]});
    let profile = crate::profile::profiles(&configuration).unwrap().remove(0);
    let on = |pod: &PodInfo| schedule(pod, &profile, &snapshot, 0).map(|placement| placement.node).unwrap();
    assert_eq!(on(&asking("p", "1", 0)), "b");
    assert_eq!(on(&asking("p", "100", 0)).len(), 1, "nobody asks whether it fits");
}
