//! The conditions that a kubelet tells of a pod.

use k8s_openapi::api::core::v1::{ContainerStatus, PodCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::Input;
use super::phase::find;
use crate::spec::{self, Role};

/// There only while resources of a running pod are to be others.
pub(crate) const RESIZE: [&str; 2] = ["PodResizePending", "PodResizeInProgress"];

struct Verdict {
    status: bool,
    reason: Option<&'static str>,
    message: Option<String>,
}

impl Verdict {
    fn yes() -> Self {
        Self { status: true, reason: None, message: None }
    }

    fn no(reason: &'static str, message: Option<String>) -> Self {
        Self { status: false, reason: Some(reason), message }
    }
}

/// Conditions that others write stay as they are: these are only the kubelet's own, with the others after them.
pub(super) fn conditions(
    input: &Input<'_>,
    phase: &str,
    init: &[ContainerStatus],
    main: &[ContainerStatus],
) -> Vec<PodCondition> {
    let sandbox = input.sandbox().is_some_and(|sandbox| spec::is_host_network(input.pod) || !sandbox.ips.is_empty());
    let sandbox = Verdict { status: sandbox, reason: None, message: None };
    let containers = containers_ready(input, phase, init, main);
    let ready = ready(input, &containers);
    let own = [
        ("PodReadyToStartContainers", sandbox),
        ("Initialized", initialized(input, phase, init)),
        ("Ready", ready),
        ("ContainersReady", containers),
        ("PodScheduled", Verdict::yes()),
    ];
    let mut conditions: Vec<PodCondition> =
        own.into_iter().map(|(kind, verdict)| condition(input, kind, verdict)).collect();
    if phase == "Running" || phase == "Pending" {
        let resize = super::resize::conditions(input);
        let told = |(kind, reason, message)| condition(input, kind, Verdict { status: true, reason, message });
        conditions.extend(resize.map(told));
    }
    for other in input.last.conditions.iter().flatten().filter(|other| !RESIZE.contains(&other.type_.as_str())) {
        if !conditions.iter().any(|own| own.type_ == other.type_) {
            conditions.push(other.clone());
        }
    }
    if input.verdict.is_some_and(|verdict| verdict.disruption) {
        disrupted(&mut conditions, input);
    }
    conditions
}

/// A pod that the node had to end says so (KEP-3329).
pub(super) fn disrupted(conditions: &mut Vec<PodCondition>, input: &Input<'_>) {
    let message = input.verdict.map(|verdict| verdict.message.clone());
    let told = Verdict { status: true, reason: Some("TerminationByKubelet"), message };
    conditions.retain(|condition| condition.type_ != "DisruptionTarget");
    conditions.push(condition(input, "DisruptionTarget", told));
}

fn condition(input: &Input<'_>, kind: &str, verdict: Verdict) -> PodCondition {
    let status = if verdict.status { "True" } else { "False" };
    let before = input.last.conditions.iter().flatten().find(|condition| condition.type_ == kind);
    let since = before.filter(|before| before.status == status).and_then(|before| before.last_transition_time.clone());
    PodCondition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: verdict.reason.map(str::to_owned),
        message: verdict.message,
        last_transition_time: Some(since.unwrap_or(Time(whole_seconds(input.now)))),
        observed_generation: input.pod.metadata.generation,
        last_probe_time: None,
    }
}

pub(super) fn whole_seconds(at: jiff::Timestamp) -> jiff::Timestamp {
    jiff::Timestamp::from_second(at.as_second()).unwrap_or(at)
}

fn initialized(input: &Input<'_>, phase: &str, init: &[ContainerStatus]) -> Verdict {
    if phase == "Succeeded" {
        return Verdict { reason: Some("PodCompleted"), ..Verdict::yes() };
    }
    let incomplete: Vec<String> = spec::containers(input.pod)
        .iter()
        .filter(|entry| {
            let status = find(init, entry.name());
            match entry.role {
                Role::Init => !status.is_some_and(|status| status.ready),
                Role::Sidecar => status.is_none_or(|status| status.started != Some(true)),
                _ => false,
            }
        })
        .map(|entry| entry.name().to_owned())
        .collect();
    if incomplete.is_empty() {
        return Verdict::yes();
    }
    let message = format!("containers with incomplete status: [{}]", incomplete.join(" "));
    Verdict::no("ContainersNotInitialized", Some(message))
}

fn containers_ready(input: &Input<'_>, phase: &str, init: &[ContainerStatus], main: &[ContainerStatus]) -> Verdict {
    match phase {
        "Succeeded" => return Verdict::no("PodCompleted", None),
        "Failed" => return Verdict::no("PodFailed", None),
        _ => {}
    }
    let unready: Vec<String> = spec::containers(input.pod)
        .iter()
        .filter(|entry| match entry.role {
            Role::Main => !find(main, entry.name()).is_some_and(|status| status.ready),
            Role::Sidecar => !find(init, entry.name()).is_some_and(|status| status.ready),
            _ => false,
        })
        .map(|entry| entry.name().to_owned())
        .collect();
    if unready.is_empty() {
        return Verdict::yes();
    }
    let message = format!("containers with unready status: [{}]", unready.join(" "));
    Verdict::no("ContainersNotReady", Some(message))
}

fn ready(input: &Input<'_>, containers: &Verdict) -> Verdict {
    if !containers.status {
        return Verdict { status: false, reason: containers.reason, message: containers.message.clone() };
    }
    let mut missing = Vec::new();
    for gate in spec::pod_spec(input.pod).readiness_gates.iter().flatten() {
        let kind = &gate.condition_type;
        let api = input.pod.status.as_ref().and_then(|status| status.conditions.as_ref());
        match api.into_iter().flatten().find(|condition| condition.type_ == *kind) {
            None => missing.push(format!("corresponding condition of pod readiness gate \"{kind}\" does not exist.")),
            Some(condition) if condition.status != "True" => missing
                .push(format!("the status of pod readiness gate \"{kind}\" is not \"True\", but {}", condition.status)),
            Some(_) => {}
        }
    }
    if missing.is_empty() {
        return Verdict::yes();
    }
    Verdict::no("ReadinessGatesNotReady", Some(missing.join(", ")))
}
