//! Why a pod does not run.

use k8s_openapi::api::core::v1::{ContainerStatus, Event, Pod};
use scheduler::Explanation;

use super::{Answer, last_warning, told};

fn name(pod: &Pod) -> &str {
    pod.metadata.name.as_deref().unwrap_or_default()
}

/// Whether the pod is ready.
pub(crate) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// Whether the scheduler has to be asked.
pub(crate) fn waits_for_a_node(pod: &Pod) -> bool {
    let spec = pod.spec.as_ref();
    pod.metadata.deletion_timestamp.is_none()
        && spec.is_some_and(|spec| {
            spec.node_name.as_deref().is_none_or(str::is_empty)
                && spec.scheduling_gates.as_ref().is_none_or(Vec::is_empty)
        })
}

/// The answer. `explanation` is there for pods without a node.
pub(crate) fn why(pod: &Pod, events: &[Event], explanation: Option<&Explanation>) -> Answer {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default();
    if pod.metadata.deletion_timestamp.is_some() {
        return terminating(pod);
    }
    if phase == "Succeeded" {
        return Answer::healthy("it has done its work and ended");
    }
    if phase == "Failed" {
        let status = pod.status.clone().unwrap_or_default();
        let why = [status.reason, status.message].into_iter().flatten().collect::<Vec<_>>().join(": ");
        let cause = format!("it failed{}{why}", if why.is_empty() { "" } else { ": " });
        return containers(pod, events).unwrap_or_else(|| {
            Answer::blocked(cause, format!("look at its last output: kubectl logs {} --previous", name(pod)))
        });
    }
    let gates = pod.spec.iter().flat_map(|spec| spec.scheduling_gates.iter().flatten());
    let gates: Vec<&str> = gates.map(|gate| gate.name.as_str()).collect();
    if !gates.is_empty() {
        let cause = format!("scheduling gates hold it back: {}", gates.join(", "));
        return Answer::blocked(cause, "whoever set the gates has to remove them from spec.schedulingGates");
    }
    if let Some(explanation) = explanation {
        return unplaced(pod, explanation);
    }
    if is_ready(pod) {
        return Answer::healthy("it runs and is ready");
    }
    containers(pod, events).unwrap_or_else(|| starting(pod, events))
}

fn terminating(pod: &Pod) -> Answer {
    let finalizers = pod.metadata.finalizers.clone().unwrap_or_default();
    if !finalizers.is_empty() {
        let cause = format!("it is being deleted and held by finalizers: {}", finalizers.join(", "));
        return Answer::blocked(cause, "whoever set a finalizer has to remove it; see who that is by its name");
    }
    let grace = pod.metadata.deletion_grace_period_seconds.unwrap_or(0);
    let cause = format!("it is being deleted and has up to {grace} s to end");
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).unwrap_or_default();
    Answer::blocked(cause, format!("if it stays, see whether its node is there: oxikube why node/{node}"))
}

fn unplaced(pod: &Pod, explanation: &Explanation) -> Answer {
    if let Some(node) = &explanation.fits {
        let spec = pod.spec.as_ref();
        let by = spec.and_then(|spec| spec.scheduler_name.as_deref()).unwrap_or("default-scheduler");
        let cause = format!("it has no node, though it could go to {node}: scheduler {by:?} has not placed it yet");
        return Answer::blocked(cause, "see whether that scheduler runs: oxikube status");
    }
    let plugins: Vec<&str> = explanation.nodes.iter().map(|verdict| verdict.plugin).collect();
    let mut answer = Answer::blocked(explanation.message.clone(), remedy(&plugins));
    if explanation.nodes.is_empty() {
        answer.cause = "there is no node".to_owned();
        answer.remedy = "start one: see oxikube status".to_owned();
    }
    answer.details = explanation.nodes.iter().map(|v| format!("{}: {}", v.node, v.reasons.join(", "))).collect();
    if !explanation.victims.is_empty() {
        answer.details.push(format!("room would be made by removing {}", explanation.victims.join(", ")));
        answer.remedy = "wait: less important pods are being removed for it".to_owned();
    }
    answer
}

/// What most nodes need.
fn remedy(plugins: &[&str]) -> &'static str {
    let count = |name: &str| plugins.iter().filter(|plugin| **plugin == name).count();
    let most = plugins.iter().max_by_key(|plugin| count(plugin)).copied().unwrap_or_default();
    match most {
        "NodeResourcesFit" => "ask for less in resources.requests, remove other pods, or add a node",
        "TaintToleration" => {
            "see why the node has its taint: oxikube why node/NODE; or add a toleration for it to the pod"
        }
        "NodeUnschedulable" => "let pods onto the node again: kubectl uncordon NODE",
        "NodeAffinity" => {
            "give a node the labels that nodeSelector or affinity ask for: kubectl label node NODE KEY=VALUE"
        }
        "NodePorts" => "the host port is taken: choose another, or use a Service",
        "PodTopologySpread" => {
            "the spread constraints leave no node: raise maxSkew, or add nodes to the emptier domain"
        }
        "InterPodAffinity" => {
            "affinity to other pods leaves no node: start the pods it wants beside it, or relax the rule"
        }
        "VolumeBinding" => "see why its claim is not bound: oxikube why pvc/NAME",
        "VolumeRestrictions" => "another pod uses the claim: wait for it, or use another access mode",
        _ => "see the reasons of the nodes",
    }
}

fn statuses(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    let status = pod.status.as_ref();
    let init = status.and_then(|status| status.init_container_statuses.as_ref());
    init.into_iter().chain(status.and_then(|status| status.container_statuses.as_ref())).flatten()
}

/// The first container that does not do what it should.
fn containers(pod: &Pod, events: &[Event]) -> Option<Answer> {
    let name = name(pod);
    for status in statuses(pod) {
        let state = status.state.clone().unwrap_or_default();
        let waiting = state.waiting.unwrap_or_default();
        let (reason, message) = (waiting.reason.unwrap_or_default(), waiting.message.unwrap_or_default());
        let container = &status.name;
        let answer = match reason.as_str() {
            "CrashLoopBackOff" => crashed(name, status),
            "ErrImagePull" | "ImagePullBackOff" | "ErrImageNeverPull" | "InvalidImageName" => Answer::blocked(
                format!("the image of container {container} cannot be had: {message}"),
                "check the image's name and the registry, or import it: oxikube image import FILE",
            ),
            "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => Answer::blocked(
                format!("container {container} cannot be started: {message}"),
                "create what is missing, or correct the pod",
            ),
            _ => match state.terminated {
                Some(ended) if ended.exit_code != 0 => crashed(name, status),
                _ => continue,
            },
        };
        return Some(answer);
    }
    let unready =
        statuses(pod).find(|status| !status.ready && status.state.as_ref().is_some_and(|s| s.running.is_some()));
    unready.map(|status| {
        let cause = format!("container {} runs, but is not ready", status.name);
        let details = last_warning(events, "Pod", name).map(told);
        Answer::blocked(cause, format!("look at its readiness probe and output: kubectl logs {name}")).with(details)
    })
}

fn crashed(pod: &str, status: &ContainerStatus) -> Answer {
    let ended = |state: &Option<k8s_openapi::api::core::v1::ContainerState>| state.as_ref()?.terminated.clone();
    let last = ended(&status.state).or_else(|| ended(&status.last_state)).unwrap_or_default();
    let container = &status.name;
    let said = last.reason.unwrap_or_default();
    let cause = format!("container {container} ends with exit code {} ({said})", last.exit_code);
    let details = [format!("restarted {} times", status.restart_count), last.message.unwrap_or_default()];
    let remedy = match said.as_str() {
        "OOMKilled" => "it needs more memory than its limit: raise resources.limits.memory".to_owned(),
        _ => format!("look at its last output: kubectl logs {pod} -c {container} --previous"),
    };
    Answer::blocked(cause, remedy).with(details.into_iter().filter(|detail| !detail.is_empty()))
}

fn starting(pod: &Pod, events: &[Event]) -> Answer {
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).unwrap_or_default();
    match last_warning(events, "Pod", name(pod)) {
        Some(event) => {
            let remedy = match event.reason.as_deref() {
                Some("FailedMount") => "create what the volume needs; a claim is explained by: oxikube why pvc/NAME",
                _ => "see what the event says",
            };
            Answer::blocked(format!("node {node} cannot start it: {}", told(event)), remedy)
        }
        None => Answer::blocked(
            format!("node {node} has not started it yet"),
            format!("if it stays so, see whether the node is well: oxikube why node/{node}"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use scheduler::Verdict;
    use serde_json::{Value, json};

    fn pod(spec: Value, status: Value) -> Pod {
        let mut all = json!({"containers": []});
        all.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "ns"}, "spec": all, "status": status}))
            .unwrap()
    }

    fn container(state: Value) -> Value {
        json!({"phase": "Pending", "containerStatuses": [{"name": "c", "image": "i", "imageID": "", "ready": false,
            "restartCount": 3, "state": state}]})
    }

    fn event(reason: &str) -> Event {
        serde_json::from_value(json!({"metadata": {}, "type": "Warning", "reason": reason, "message": "no such thing",
            "involvedObject": {"kind": "Pod", "name": "p"}}))
        .unwrap()
    }

    #[test]
    fn a_pod_without_a_node_is_explained_node_by_node() {
        let verdict =
            |node: &str, plugin, reason: &str| Verdict { node: node.into(), reasons: vec![reason.into()], plugin };
        let nodes = vec![
            verdict("a", "NodeResourcesFit", "Insufficient cpu"),
            verdict("b", "NodeResourcesFit", "Insufficient cpu"),
            verdict("c", "TaintToleration", "taint k:NoSchedule"),
        ];
        let mut explanation = Explanation { message: "0/3 ...".into(), nodes, fits: None, victims: Vec::new() };
        let answer = why(&pod(json!({}), json!({})), &[], Some(&explanation));
        assert_eq!(answer.details[0], "a: Insufficient cpu");
        assert!(answer.remedy.contains("resources.requests"), "{answer:?}");
        explanation.victims.push("ns/less".into());
        assert!(why(&pod(json!({}), json!({})), &[], Some(&explanation)).remedy.starts_with("wait"));
        let none = Explanation { nodes: Vec::new(), victims: Vec::new(), ..explanation };
        assert_eq!(why(&pod(json!({}), json!({})), &[], Some(&none)).cause, "there is no node");
    }

    #[test]
    fn causes() {
        let on = json!({"nodeName": "n"});
        let said = |status: Value, events: &[Event]| why(&pod(on.clone(), status), events, None).text();
        let pull = json!({"waiting": {"reason": "ErrImagePull", "message": "not found"}});
        assert!(said(container(pull), &[]).contains("the image of container c cannot be had: not found"));
        let crash = json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}});
        assert!(said(container(crash), &[]).contains("raise resources.limits.memory"));
        let text = said(json!({"phase": "Pending"}), &[event("FailedMount")]);
        assert!(text.contains("node n cannot start it: FailedMount: no such thing"), "{text}");
        assert!(said(container(json!({"running": {}})), &[]).contains("runs, but is not ready"));
        let ready = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]});
        assert!(why(&pod(on.clone(), ready), &[], None).healthy);
        let gated = pod(json!({"schedulingGates": [{"name": "g/h"}]}), json!({}));
        assert!(why(&gated, &[], None).cause.contains("g/h") && !waits_for_a_node(&gated));
    }
}
