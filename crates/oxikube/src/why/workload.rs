//! Why a Deployment is not complete.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Event, Pod};

use super::{Answer, last_warning, pod, told};

/// The answer without its pods; none where a pod has to be asked.
pub(crate) fn why(deployment: &Deployment, events: &[Event]) -> Option<Answer> {
    let spec = &deployment.spec;
    let status = deployment.status.clone().unwrap_or_default();
    let name = deployment.metadata.name.as_deref().unwrap_or_default();
    let wanted = spec.replicas.unwrap_or(1);
    let available = status.available_replicas.unwrap_or(0);
    let updated = status.updated_replicas.unwrap_or(0);
    if available >= wanted && updated >= wanted && status.replicas.unwrap_or(0) == wanted {
        return Some(Answer::healthy(format!("all {wanted} replicas are available")));
    }
    if spec.paused == Some(true) && updated < wanted {
        let cause = format!("it is paused: {updated} of {wanted} replicas are of the newest template");
        return Some(Answer::blocked(cause, format!("kubectl rollout resume deployment/{name}")));
    }
    let conditions = status.conditions.unwrap_or_default();
    let failure = conditions.iter().find(|condition| {
        condition.type_.as_deref() == Some("ReplicaFailure") && condition.status.as_deref() == Some("True")
    });
    if let Some(failure) = failure {
        let cause = format!("its pods cannot be created: {}", failure.message.clone().unwrap_or_default());
        return Some(Answer::blocked(
            cause,
            "correct what the message names (quota, account, policy, or the template)",
        ));
    }
    if status.observed_generation < deployment.metadata.generation {
        let cause = "its controller has not seen the last change yet";
        let remedy = "if it stays so, see whether the controller-manager runs: oxikube status";
        return Some(Answer::blocked(cause, remedy).with(last_warning(events, "Deployment", name).map(told)));
    }
    None
}

/// The pod that has to be asked: the youngest that is not ready.
pub(crate) fn culprit(pods: &[Pod]) -> Option<&Pod> {
    let bad = pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none() && !pod::is_ready(pod));
    bad.max_by_key(|pod| pod.metadata.creation_timestamp.as_ref().map(|time| time.0))
}

/// The answer that a pod of it gave.
pub(crate) fn because_of(deployment: &Deployment, answer: Option<Answer>) -> Answer {
    let status = deployment.status.clone().unwrap_or_default();
    let wanted = deployment.spec.replicas.unwrap_or(1);
    let short = format!("{} of {wanted} replicas are available", status.available_replicas.unwrap_or(0));
    match answer {
        Some(pod) => {
            let details = std::iter::once(format!("{}: {}", pod.subject, pod.cause)).chain(pod.details);
            Answer::blocked(short, pod.remedy).with(details)
        }
        None => Answer::blocked(format!("{short}; all of its pods are ready"), "wait: a roll-out is under way"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn deployment(spec: Value, status: Value) -> Deployment {
        let mut all = json!({"replicas": 2, "selector": {}, "template": {}});
        all.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        let value = json!({"metadata": {"name": "d", "generation": 1}, "spec": all, "status": status});
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn causes() {
        let said = |spec, status| why(&deployment(spec, status), &[]).map(|answer| answer.text()).unwrap_or_default();
        let done = json!({"replicas": 2, "availableReplicas": 2, "updatedReplicas": 2, "observedGeneration": 1});
        assert!(said(json!({}), done).contains("all 2 replicas are available"));
        assert!(said(json!({"paused": true}), json!({"observedGeneration": 1})).contains("rollout resume"));
        let failure = json!([{"type": "ReplicaFailure", "status": "True", "message": "exceeded quota"}]);
        assert!(said(json!({}), json!({"conditions": failure, "observedGeneration": 1})).contains("exceeded quota"));
        assert!(said(json!({}), json!({})).contains("has not seen the last change"));
        assert_eq!(said(json!({}), json!({"observedGeneration": 1})), "", "a pod has to be asked");
        let pod = Answer { subject: "pod/p".into(), ..Answer::blocked("no cpu", "add a node") };
        let text = because_of(&deployment(json!({}), json!({})), Some(pod)).text();
        assert_eq!(text, ": 0 of 2 replicas are available\n  pod/p: no cpu\nwhat to do: add a node");
    }
}
