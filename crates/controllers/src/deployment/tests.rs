//! A small cluster in which sets get their pods at once or one by one, and the plan is carried out until it rests.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, ReplicaSetStatus};
use serde_json::{Value, json};

use super::plan::{Observed, Plan, plan, replicas};

struct World {
    deployment: Deployment,
    sets: Vec<ReplicaSet>,
    populated: Vec<String>,
    now: Timestamp,
    /// Pods that become available in each round, at most.
    speed: i32,
}

fn world(spec: Value) -> World {
    let mut all = json!({"selector": {"matchLabels": {"app": "x"}}, "revisionHistoryLimit": 10,
        "progressDeadlineSeconds": 600, "template": template("v1")});
    spec.as_object().unwrap().iter().for_each(|(key, value)| all[key] = value.clone());
    let deployment = json!({"metadata": {"name": "d", "namespace": "ns", "uid": "d", "generation": 1,
        "annotations": {"note": "n"}}, "spec": all});
    let now = "2026-01-01T00:00:00Z".parse().unwrap();
    let deployment = serde_json::from_value(deployment).unwrap();
    World { deployment, sets: Vec::new(), populated: Vec::new(), now, speed: 100 }
}

fn template(image: &str) -> Value {
    json!({"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "c", "image": image}]}})
}

impl World {
    fn look(&self) -> Plan {
        plan(&Observed { deployment: &self.deployment, sets: &self.sets, populated: &self.populated, now: self.now })
    }

    /// Carries one plan out; true when it changed a set.
    fn step(&mut self) -> bool {
        let plan = self.look();
        let moved = plan.create.is_some() || !plan.update.is_empty() || !plan.delete.is_empty();
        if let Some(mut set) = plan.create {
            set.metadata.uid = set.metadata.name.clone();
            set.metadata.creation_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(self.now));
            self.sets.push(set);
        }
        for (set, _) in plan.update {
            let position = self.sets.iter().position(|other| other.metadata.uid == set.metadata.uid).unwrap();
            self.sets[position] = set;
        }
        self.sets.retain(|set| !plan.delete.iter().any(|gone| gone.metadata.uid == set.metadata.uid));
        if let Some(revision) = plan.revision {
            let annotations = self.deployment.metadata.annotations.get_or_insert_default();
            annotations.insert("deployment.kubernetes.io/revision".into(), revision);
        }
        self.deployment.status = Some(plan.status);
        self.now += SignedDuration::from_secs(1);
        moved
    }

    /// What the ReplicaSet controller and the kubelets do.
    fn pods_follow(&mut self) -> bool {
        let mut moved = false;
        for set in &mut self.sets {
            let wanted = replicas(set);
            let old = set.status.clone().unwrap_or_default();
            let available = old.available_replicas.unwrap_or(0);
            let available = (available + self.speed).min(wanted);
            let new = ReplicaSetStatus {
                replicas: wanted,
                ready_replicas: Some(available),
                available_replicas: Some(available),
                ..Default::default()
            };
            moved |= new != old;
            set.status = Some(new);
        }
        moved
    }

    /// Until nothing moves; answers the least available and the most pods that there were.
    fn settle(&mut self) -> (i32, i32) {
        let (mut least, mut most) = (i32::MAX, 0);
        for _ in 0..200 {
            let planned = self.step();
            let followed = self.pods_follow();
            most = most.max(self.sets.iter().map(replicas).sum());
            least = least.min(self.sets.iter().filter_map(|s| s.status.as_ref()?.available_replicas).sum());
            if !planned && !followed && !self.step() {
                return (least, most);
            }
        }
        panic!("never settles: {:?}", self.sizes());
    }

    fn sizes(&self) -> Vec<i32> {
        self.sets.iter().map(replicas).collect()
    }

    fn annotation(&self, set: usize, key: &str) -> &str {
        &self.sets[set].metadata.annotations.as_ref().unwrap()[&format!("deployment.kubernetes.io/{key}")]
    }

    fn set_image(&mut self, image: &str) {
        self.deployment.spec.template = serde_json::from_value(template(image)).unwrap();
        *self.deployment.metadata.generation.as_mut().unwrap() += 1;
    }

    fn condition(&self, kind: &str) -> (String, String) {
        let status = self.deployment.status.as_ref().unwrap();
        let found = status.conditions.iter().flatten().find(|c| c.type_.as_deref() == Some(kind)).unwrap();
        (found.status.clone().unwrap(), found.reason.clone().unwrap())
    }
}

fn pair(a: &str, b: &str) -> (String, String) {
    (a.to_owned(), b.to_owned())
}

#[test]
fn the_first_set_is_complete_at_once() {
    let mut world = world(json!({"replicas": 3}));
    world.step();
    assert_eq!(world.sizes(), [3]);
    assert_eq!(world.condition("Progressing"), pair("True", "NewReplicaSetCreated"));
    assert_eq!(world.condition("Available"), pair("False", "MinimumReplicasUnavailable"));
    world.settle();
    let set = &world.sets[0];
    let hash = set.metadata.name.as_ref().unwrap().strip_prefix("d-").unwrap();
    assert_eq!(set.metadata.labels.as_ref().unwrap()["pod-template-hash"], hash);
    assert_eq!(set.spec.selector.match_labels.as_ref().unwrap()["pod-template-hash"], hash);
    assert_eq!((world.annotation(0, "revision"), world.annotation(0, "desired-replicas")), ("1", "3"));
    assert_eq!((world.annotation(0, "max-replicas"), &*set.metadata.annotations.as_ref().unwrap()["note"]), ("4", "n"));
    assert_eq!(world.condition("Progressing"), pair("True", "NewReplicaSetAvailable"));
    let status = world.deployment.status.as_ref().unwrap();
    assert_eq!((status.replicas, status.updated_replicas, status.unavailable_replicas), (Some(3), Some(3), None));
}

#[test]
fn a_rolling_update_keeps_within_its_bounds() {
    for (replicas, surge, unavailable, least, most) in [
        (10, json!("25%"), json!("25%"), 8, 13),
        (10, json!(1), json!(0), 10, 11),
        (4, json!(0), json!(1), 3, 4),
        (3, json!(0), json!(0), 2, 3),
        (1, json!("25%"), json!("25%"), 1, 2),
    ] {
        let rolling = json!({"maxSurge": surge, "maxUnavailable": unavailable});
        let strategy = json!({"type": "RollingUpdate", "rollingUpdate": rolling});
        let mut world = world(json!({"replicas": replicas, "strategy": strategy}));
        world.settle();
        world.speed = 1;
        world.set_image("v2");
        let (fewest, highest) = world.settle();
        assert!(fewest >= least && highest == most, "{rolling}: {fewest} to {highest}");
        assert_eq!(world.sizes(), [0, replicas]);
        assert_eq!((world.annotation(0, "revision"), world.annotation(1, "revision")), ("1", "2"));
        assert_eq!(world.condition("Progressing"), pair("True", "NewReplicaSetAvailable"));
    }
}

#[test]
fn a_rollback_takes_the_old_set_again() {
    let mut world = world(json!({"replicas": 2}));
    world.settle();
    world.set_image("v2");
    world.settle();
    world.set_image("v1");
    world.settle();
    assert_eq!(world.sizes(), [2, 0]);
    assert_eq!((world.annotation(0, "revision"), world.annotation(0, "revision-history")), ("3", "1"));
    let own = &world.deployment.metadata.annotations.as_ref().unwrap()["deployment.kubernetes.io/revision"];
    assert_eq!(own, "3");
}

#[test]
fn recreate_waits_for_the_last_old_pod() {
    let mut world = world(json!({"replicas": 2, "strategy": {"type": "Recreate"}}));
    world.settle();
    world.populated = vec![world.sets[0].metadata.uid.clone().unwrap()];
    world.set_image("v2");
    world.step();
    world.pods_follow();
    assert!(!world.step(), "a pod of the old set is still there");
    assert_eq!(world.sizes(), [0]);
    world.populated.clear();
    world.settle();
    assert_eq!(world.sizes(), [0, 2]);
}

#[test]
fn resizing_in_the_middle_is_proportional() {
    let rolling = json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 3, "maxUnavailable": 2}});
    let mut world = world(json!({"replicas": 10, "strategy": rolling}));
    world.settle();
    world.speed = 0;
    world.set_image("bad");
    world.settle();
    assert_eq!(world.sizes(), [8, 5]);
    world.deployment.spec.replicas = Some(15);
    world.step();
    assert_eq!(world.sizes(), [11, 7], "as the documentation of Deployments has it");
}

#[test]
fn scaling_up_and_down_a_settled_deployment() {
    let mut world = world(json!({"replicas": 3}));
    world.settle();
    for size in [10, 2, 0, 1] {
        world.deployment.spec.replicas = Some(size);
        world.settle();
        assert_eq!(world.sizes(), [size]);
    }
}

#[test]
fn paused_it_scales_but_does_not_roll() {
    let mut world = world(json!({"replicas": 2}));
    world.settle();
    world.deployment.spec.paused = Some(true);
    world.set_image("v2");
    world.deployment.spec.replicas = Some(4);
    world.settle();
    assert_eq!(world.sizes(), [4]);
    assert_eq!(world.condition("Progressing"), pair("Unknown", "DeploymentPaused"));
    world.deployment.spec.paused = None;
    world.settle();
    assert_eq!(world.sizes(), [0, 4]);
}

#[test]
fn late_progress_is_said_once_and_looked_for_in_time() {
    let mut world = world(json!({"replicas": 1}));
    world.speed = 0;
    world.step();
    assert_eq!(world.look().again.unwrap().as_secs(), 600);
    world.settle();
    world.now += SignedDuration::from_secs(600);
    world.step();
    assert_eq!(world.condition("Progressing"), pair("False", "ProgressDeadlineExceeded"));
    assert_eq!(world.look().again, None);
    world.speed = 1;
    world.settle();
    assert_eq!(world.condition("Progressing"), pair("True", "NewReplicaSetAvailable"));
}

#[test]
fn history_beyond_the_limit_goes() {
    let mut world = world(json!({"replicas": 1, "revisionHistoryLimit": 2}));
    for image in ["v1", "v2", "v3", "v4", "v5"] {
        world.set_image(image);
        world.settle();
    }
    assert_eq!(world.sizes(), [0, 0, 1]);
    assert_eq!(world.annotation(0, "revision"), "3");
}

#[test]
fn a_set_s_failure_is_shown() {
    let mut world = world(json!({"replicas": 1}));
    world.step();
    let failed = json!({"replicas": 0, "conditions": [{"type": "ReplicaFailure", "status": "True",
        "reason": "FailedCreate", "message": "quota"}]});
    world.sets[0].status = Some(serde_json::from_value(failed).unwrap());
    world.step();
    assert_eq!(world.condition("ReplicaFailure"), pair("True", "FailedCreate"));
}
