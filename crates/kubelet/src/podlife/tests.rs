//! Stories of pods: what is seen goes in, what is to be done and told comes out.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::*;

/// A pod with what is seen of it.
struct Story {
    pod: Pod,
    observed: Observed,
    progress: Progress,
    last: PodStatus,
    gone: bool,
    now: Timestamp,
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + second).unwrap()
}

/// A pod with a ready sandbox and volumes.
fn story(spec: Value) -> Story {
    let pod = serde_json::from_value(json!({
        "metadata": {"name": "p", "namespace": "ns", "uid": "u", "generation": 1}, "spec": spec,
    }))
    .unwrap();
    let sandbox = Sandbox { id: "s0".into(), attempt: 0, ready: true, ips: vec!["10.0.0.1".into()] };
    Story {
        pod,
        observed: Observed { sandboxes: vec![sandbox], containers: vec![] },
        progress: Progress { volumes: Step::Done, ..Progress::default() },
        last: PodStatus::default(),
        gone: false,
        now: at(0),
    }
}

impl Story {
    fn has(mut self, name: &str, attempt: u32, state: State) -> Self {
        let container = spec_container(&self.pod, name);
        self.observed.containers.insert(
            0,
            Record {
                id: format!("{name}{attempt}"),
                name: name.into(),
                sandbox_id: "s0".into(),
                attempt,
                state,
                hash: crate::spec::hash(&container),
                image: "i".into(),
                image_id: "sha256:1".into(),
                created_at: Some(at(0)),
                started_at: Some(at(0)),
                finished_at: None,
                exit_code: 0,
                reason: String::new(),
                message: String::new(),
            },
        );
        self
    }

    fn ended(mut self, name: &str, attempt: u32, exit_code: i32, second: i64) -> Self {
        self = self.has(name, attempt, State::Exited);
        self.observed.containers[0].exit_code = exit_code;
        self.observed.containers[0].finished_at = Some(at(second));
        self
    }

    fn at(mut self, second: i64) -> Self {
        self.now = at(second);
        self
    }

    fn deleted(mut self, grace: i64) -> Self {
        self.pod.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(0)));
        self.pod.metadata.deletion_grace_period_seconds = Some(grace);
        self
    }

    fn plan(&self) -> Plan {
        plan(&Input {
            pod: &self.pod,
            observed: &self.observed,
            progress: &self.progress,
            last: &self.last,
            gone: self.gone,
            verdict: None,
            host_ips: &["192.168.0.1".to_owned()],
            runtime: "test",
            now: self.now,
        })
    }

    /// Actions in short.
    fn does(&self) -> Vec<String> {
        let short = |action: &Action| match action {
            Action::SetUpVolumes => "volumes".into(),
            Action::RunSandbox { attempt } => format!("sandbox {attempt}"),
            Action::StopSandbox { id } => format!("stop {id}"),
            Action::Start { name, attempt } => format!("start {name} {attempt}"),
            Action::Kill { id, grace_seconds, .. } => format!("kill {id} {grace_seconds}"),
            Action::Resize { id, .. } => format!("resize {id}"),
            Action::Remove { id } => format!("remove {id}"),
            Action::CleanUp { all } => format!("clean {all}"),
            Action::Delete => "delete".into(),
        };
        self.plan().actions.iter().map(short).collect()
    }

    fn phase(&self) -> String {
        self.plan().status.phase.unwrap()
    }

    fn condition(&self, kind: &str) -> (String, Option<String>) {
        let status = self.plan().status;
        let found = status.conditions.unwrap().into_iter().find(|condition| condition.type_ == kind).unwrap();
        (found.status, found.reason)
    }

    fn container(&self, name: &str) -> Value {
        let status = self.plan().status;
        serde_json::to_value(containers::told(&status, name).unwrap()).unwrap()
    }
}

fn spec_container(pod: &Pod, name: &str) -> k8s_openapi::api::core::v1::Container {
    crate::spec::find(pod, name).unwrap().container.into_owned()
}

fn one() -> Value {
    json!({"containers": [{"name": "c", "image": "i"}]})
}

fn never() -> Value {
    json!({"containers": [{"name": "c", "image": "i"}], "restartPolicy": "Never"})
}

#[test]
fn a_new_pod_gets_volumes_and_a_sandbox_at_once_and_then_its_containers() {
    let mut new = story(one());
    new.observed.sandboxes.clear();
    new.progress.volumes = Step::Todo;
    assert_eq!(new.does(), ["volumes", "sandbox 0"]);
    assert_eq!(new.phase(), "Pending");
    assert_eq!(new.container("c")["state"]["waiting"]["reason"], "ContainerCreating");
    new.progress.volumes = Step::Doing;
    new.progress.sandbox = Step::Doing;
    assert!(new.does().is_empty());

    let mut ready = story(one());
    assert_eq!(ready.does(), ["start c 0"]);
    assert_eq!(ready.condition("PodReadyToStartContainers").0, "True");
    ready.progress.starting.insert("c".into());
    assert!(ready.does().is_empty());

    let running = story(one()).has("c", 0, State::Running);
    assert!(running.does().is_empty());
    assert_eq!(running.phase(), "Running");
    assert_eq!(running.condition("Ready"), ("True".into(), None));
    assert_eq!(running.container("c")["containerID"], "test://c0");
    assert_eq!(running.plan().status.pod_ip.as_deref(), Some("10.0.0.1"));
}

#[test]
fn restarts_are_at_once_at_first_and_then_back_off() {
    let mut story = story(one()).ended("c", 0, 1, 100).at(100);
    assert_eq!(story.does(), ["start c 1"]);
    let (_, backoff) = story.plan().backoff[0].clone();
    assert_eq!((backoff.pause, backoff.set_at), (SignedDuration::from_secs(10), at(100)));
    story.progress.backoff.insert("c".into(), backoff);

    let mut story = story.ended("c", 1, 1, 101).at(102);
    assert!(story.does().is_empty());
    assert_eq!(story.plan().wake_at, Some(at(111)));
    let status = story.container("c");
    assert_eq!(status["state"]["waiting"]["reason"], "CrashLoopBackOff");
    assert_eq!(status["state"]["waiting"]["message"], "back-off 10s restarting failed container=c pod=p_ns(u)");
    assert_eq!(status["lastState"]["terminated"]["exitCode"], 1);
    assert_eq!(status["restartCount"], 1);
    assert_eq!(story.phase(), "Running");

    story.now = at(111);
    assert_eq!(story.does(), ["start c 2", "remove c0"]);
    assert_eq!(story.plan().backoff[0].1.pause, SignedDuration::from_secs(20));
}

#[test]
fn back_off_is_bounded_and_forgotten_after_a_good_run() {
    let check = |pause: i64, ran: i64, expected: i64| {
        let state = CrashBackoff { pause: SignedDuration::from_secs(pause), set_at: at(0) };
        let ended = at(ran);
        let now = at(ran + 1000);
        match restart::crash_backoff(Some(&state), ended, now) {
            restart::Restart::Now(next) => assert_eq!(next.pause, SignedDuration::from_secs(expected)),
            later => panic!("{later:?}"),
        }
    };
    check(160, 1, 300);
    check(300, 1, 300);
    check(300, 599, 300);
    check(300, 601, 10);
    let state = CrashBackoff { pause: SignedDuration::from_secs(300), set_at: at(0) };
    assert!(matches!(restart::crash_backoff(Some(&state), at(601), at(601)), restart::Restart::Now(_)));
}

#[test]
fn pods_that_are_not_to_be_restarted_end() {
    let check = |policy: &str, exit_code: i32, does: &[&str], phase: &str| {
        let mut spec = one();
        spec["restartPolicy"] = json!(policy);
        let story = story(spec).ended("c", 0, exit_code, 1).at(2);
        assert_eq!(story.does(), does, "{policy} {exit_code}");
        assert_eq!(story.phase(), phase, "{policy} {exit_code}");
    };
    check("Never", 0, &["stop s0"], "Succeeded");
    check("Never", 3, &["stop s0"], "Failed");
    check("OnFailure", 0, &["stop s0"], "Succeeded");
    check("OnFailure", 3, &["start c 1"], "Running");
    check("Always", 0, &["start c 1"], "Running");

    let mut done = story(never()).ended("c", 0, 0, 1).at(2);
    assert_eq!(done.condition("Ready"), ("False".into(), Some("PodCompleted".into())));
    assert_eq!(done.container("c")["state"]["terminated"]["reason"], "Completed");
    done.observed.sandboxes[0].ready = false;
    assert_eq!(done.does(), ["clean false"]);
    done.progress.clean_up = Step::Done;
    assert!(done.does().is_empty());
    assert!(done.plan().over);
}

#[test]
fn init_containers_run_one_after_the_other() {
    let spec = json!({
        "initContainers": [{"name": "a"}, {"name": "s", "restartPolicy": "Always"}, {"name": "b"}],
        "containers": [{"name": "c", "image": "i"}],
    });
    let begin = story(spec.clone());
    assert_eq!(begin.does(), ["start a 0"]);
    assert_eq!(begin.container("c")["state"]["waiting"]["reason"], "PodInitializing");
    assert_eq!(begin.condition("Initialized"), ("False".into(), Some("ContainersNotInitialized".into())));

    assert_eq!(story(spec.clone()).ended("a", 0, 1, 1).at(2).does(), ["start a 1"]);
    assert_eq!(story(spec.clone()).ended("a", 0, 0, 1).at(2).does(), ["start s 0"]);
    let sidecar = story(spec.clone()).ended("a", 0, 0, 1).has("s", 0, State::Running).at(2);
    assert_eq!(sidecar.does(), ["start b 0"]);
    assert_eq!(sidecar.phase(), "Pending");
    let main = story(spec.clone()).ended("a", 0, 0, 1).has("s", 0, State::Running).ended("b", 0, 0, 2).at(3);
    assert_eq!(main.does(), ["start c 0"]);
    let running = main.has("c", 0, State::Running);
    assert_eq!(running.phase(), "Running");
    assert_eq!(running.condition("Initialized").0, "True");
    // Later only the sidecar is kept up.
    let mut restarted = running;
    for record in &mut restarted.observed.containers {
        if record.name == "s" {
            (record.state, record.finished_at) = (State::Exited, Some(at(3)));
        }
    }
    assert_eq!(restarted.does(), ["start s 1"]);
}

#[test]
fn a_failed_init_container_fails_a_pod_that_never_restarts() {
    let spec = json!({"initContainers": [{"name": "a"}], "containers": [{"name": "c"}], "restartPolicy": "Never"});
    let story = story(spec).ended("a", 0, 1, 1).at(2);
    assert_eq!(story.does(), ["stop s0"]);
    assert_eq!(story.phase(), "Failed");
}

#[test]
fn a_deleted_pod_is_stopped_cleaned_up_and_then_deleted() {
    let mut story = story(one()).has("c", 0, State::Running).deleted(30).at(1);
    assert_eq!(story.does(), ["kill c0 30"]);
    story.progress.stopping.insert("c0".into(), at(31));
    assert!(story.does().is_empty(), "a stop under way is left alone");
    story.pod.metadata.deletion_grace_period_seconds = Some(0);
    assert_eq!(story.does(), ["kill c0 1"], "unless it may take less long now");

    story.progress.stopping.clear();
    story.observed.containers[0].state = State::Exited;
    story.observed.containers[0].exit_code = 143;
    assert_eq!(story.does(), ["stop s0"]);
    assert_eq!(story.phase(), "Failed");
    story.observed.sandboxes[0].ready = false;
    assert_eq!(story.does(), ["clean true"]);
    story.progress.remove = Step::Done;
    assert_eq!(story.does(), ["delete"]);
    story.progress.delete = Step::Done;
    assert!(story.does().is_empty());
    assert!(!story.plan().over, "the API server has not confirmed it yet");
    story.gone = true;
    assert!(story.plan().over);
}

#[test]
fn sidecars_are_stopped_after_the_main_containers_last_one_first() {
    let spec = json!({
        "initContainers": [{"name": "s", "restartPolicy": "Always"}, {"name": "t", "restartPolicy": "Always"}],
        "containers": [{"name": "c", "image": "i"}], "restartPolicy": "Never",
    });
    let both = story(spec).has("s", 0, State::Running).has("t", 0, State::Running);
    let deleted = story(both.pod.spec.as_ref().map(|spec| serde_json::to_value(spec).unwrap()).unwrap())
        .has("s", 0, State::Running)
        .has("t", 0, State::Running)
        .has("c", 0, State::Running)
        .deleted(5);
    assert_eq!(deleted.does(), ["kill c0 5"]);
    let mut completed = both.ended("c", 0, 0, 1).at(2);
    assert_eq!(completed.does(), ["kill t0 30"]);
    completed.observed.containers.retain(|record| record.name != "t");
    assert_eq!(completed.does(), ["kill s0 30"]);
}

#[test]
fn probes_decide_on_readiness_and_restarts() {
    let spec = json!({"containers": [{"name": "c", "image": "i",
        "startupProbe": {}, "readinessProbe": {}, "livenessProbe": {"terminationGracePeriodSeconds": 7}}]});
    let mut story = story(spec).has("c", 0, State::Running);
    assert_eq!(story.container("c")["started"], false);
    let mut probed = Probed { started: Some(true), ..Probed::default() };
    story.progress.probed.insert("c0".into(), probed.clone());
    assert_eq!(story.container("c")["started"], true);
    assert_eq!(story.condition("Ready"), ("False".into(), Some("ContainersNotReady".into())));
    probed.ready = Some(true);
    story.progress.probed.insert("c0".into(), probed.clone());
    assert_eq!(story.condition("Ready").0, "True");
    probed.failed = Some("liveness");
    story.progress.probed.insert("c0".into(), probed);
    assert_eq!(story.does(), ["kill c0 7"]);
}

#[test]
fn readiness_gates_are_waited_for() {
    let mut spec = one();
    spec["readinessGates"] = json!([{"conditionType": "example.org/x"}]);
    let mut story = story(spec).has("c", 0, State::Running);
    assert_eq!(story.condition("ContainersReady").0, "True");
    assert_eq!(story.condition("Ready"), ("False".into(), Some("ReadinessGatesNotReady".into())));
    let status = json!({"conditions": [{"type": "example.org/x", "status": "True"}]});
    story.pod.status = Some(serde_json::from_value(status).unwrap());
    assert_eq!(story.condition("Ready").0, "True");
}

#[test]
fn a_lost_sandbox_is_replaced_with_all_that_ran_in_it() {
    let mut story = story(one()).ended("c", 0, 137, 1).at(2);
    story.observed.sandboxes[0].ready = false;
    assert_eq!(story.does(), ["sandbox 1"]);
    story.observed.sandboxes.insert(0, Sandbox { id: "s1".into(), attempt: 1, ready: true, ips: vec![] });
    assert_eq!(story.does(), ["start c 1"]);
}

#[test]
fn a_container_that_cannot_be_started_waits_with_its_reason() {
    let mut story = story(one());
    let waiting = Waiting { reason: "ErrImagePull".into(), message: "no such image".into(), retry_at: at(10) };
    story.progress.waiting.insert("c".into(), waiting);
    assert!(story.does().is_empty());
    assert_eq!(story.plan().wake_at, Some(at(10)));
    assert_eq!(story.container("c")["state"]["waiting"]["reason"], "ErrImagePull");
    assert_eq!(story.phase(), "Pending");
    story.now = at(10);
    assert_eq!(story.does(), ["start c 0"]);
}

#[test]
fn a_deadline_ends_a_pod() {
    let mut spec = one();
    spec["activeDeadlineSeconds"] = json!(5);
    let mut story = story(spec).has("c", 0, State::Running);
    story.last.start_time = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(0)));
    assert_eq!(story.plan().wake_at, Some(at(5)));
    story.now = at(5);
    assert_eq!(story.does(), ["kill c0 30"]);
    story.observed.containers[0].state = State::Exited;
    story.observed.containers[0].finished_at = Some(at(6));
    let told = |story: &Story| {
        let status = story.plan().status;
        (status.phase.unwrap_or_default(), status.reason.unwrap_or_default())
    };
    assert_eq!(told(&story), ("Failed".to_owned(), "DeadlineExceeded".to_owned()));
    story.pod.spec.as_mut().unwrap().restart_policy = Some("Never".into());
    assert_eq!(told(&story), ("Failed".to_owned(), "DeadlineExceeded".to_owned()), "even if it ends well when told to");
    story.observed.containers[0].finished_at = Some(at(4));
    assert_eq!(told(&story), ("Succeeded".to_owned(), String::new()), "what ended in time did");
}

#[test]
fn what_was_told_of_an_ended_pod_stays() {
    let mut told = story(never()).ended("c", 0, 0, 1).at(2);
    told.last = told.plan().status;
    told.observed = Observed::default();
    let plan = told.plan();
    assert_eq!(plan.status, told.last);
    assert_eq!(plan.status.phase.as_deref(), Some("Succeeded"));
}

#[test]
fn a_changed_image_restarts_the_container() {
    let mut story = story(one()).has("c", 0, State::Running);
    story.observed.containers[0].hash = "other".into();
    assert_eq!(story.does(), ["kill c0 30"]);
}

#[test]
fn transition_times_change_with_the_status_only() {
    let mut story = story(one());
    story.last = story.plan().status;
    story.now = at(7);
    let later = story.plan().status;
    assert_eq!(later, story.last, "nothing happened, nothing is to be told");
    let running = story.has("c", 0, State::Running);
    let since = |status: &PodStatus, kind: &str| {
        let conditions = status.conditions.as_ref().unwrap();
        conditions.iter().find(|condition| condition.type_ == kind).unwrap().last_transition_time.clone().unwrap().0
    };
    let status = running.plan().status;
    assert_eq!(since(&status, "Ready"), at(7));
    assert_eq!(since(&status, "PodScheduled"), at(0));
}

fn with_cpu(cpu: &str, policy: &str) -> Value {
    let policy = json!([{"resourceName": "cpu", "restartPolicy": policy}]);
    json!({"containers": [{"name": "c", "image": "i", "resources": {"requests": {"cpu": cpu}}, "resizePolicy": policy}]})
}

#[test]
fn a_running_container_is_given_other_resources() {
    let given = |cpu: &str| serde_json::from_value(json!({"requests": {"cpu": cpu}})).unwrap();
    let mut story = story(with_cpu("200m", "NotRequired")).has("c", 0, State::Running);
    assert_eq!(story.does(), Vec::<String>::new(), "it was started with them");
    story.progress.given.insert("c".into(), given("100m"));
    assert_eq!(story.does(), ["resize c0"]);
    assert_eq!(story.condition("PodResizeInProgress"), ("True".into(), None));
    assert_eq!(story.container("c")["resources"], json!({"requests": {"cpu": "100m"}}));
    story.progress.refusal = Some(resize::Refusal { reason: "Deferred", message: "no".into() });
    assert_eq!(story.does(), Vec::<String>::new());
    assert_eq!(story.condition("PodResizePending"), ("True".into(), Some("Deferred".into())));
    assert_eq!(story.container("c")["allocatedResources"], json!({"cpu": "100m"}));
    story.progress.refusal = None;
    story.last = story.plan().status;
    story.progress.given.insert("c".into(), given("0.2"));
    let status = story.plan().status;
    assert!(status.conditions.unwrap().iter().all(|condition| !RESIZE_CONDITIONS.contains(&condition.type_.as_str())));
    assert_eq!(story.container("c")["resources"], json!({"requests": {"cpu": "200m"}}), "in the pod's own words");
}

#[test]
fn a_container_that_wants_a_restart_for_it_runs_again_however_it_ended() {
    let mut spec = with_cpu("200m", "RestartContainer");
    spec["restartPolicy"] = json!("OnFailure");
    let mut story = story(spec).has("c", 0, State::Running);
    story.progress.given.insert("c".into(), serde_json::from_value(json!({"requests": {"cpu": "100m"}})).unwrap());
    assert_eq!(story.does(), ["kill c0 30"]);
    story.observed.containers[0].state = State::Exited;
    assert!(story.does().first().is_some_and(|first| first != "start c 1"), "without that it has done its work");
    story.progress.restarts.insert("c0".into());
    assert_eq!(story.does(), ["start c 1"]);
}
