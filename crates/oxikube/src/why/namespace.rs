//! Why a namespace does not go.

use k8s_openapi::api::core::v1::Namespace;

use super::Answer;

/// The answer, from what its controller wrote into the conditions.
pub(crate) fn why(namespace: &Namespace) -> Answer {
    if namespace.metadata.deletion_timestamp.is_none() {
        return Answer::healthy("it is there and not being deleted");
    }
    let conditions = namespace.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let bad: Vec<_> = conditions.filter(|condition| condition.status == "True").collect();
    let said = |kind: &str| bad.iter().find(|condition| condition.type_ == kind).and_then(|c| c.message.clone());
    let details = ["NamespaceContentRemaining", "NamespaceDeletionContentFailure"].into_iter().filter_map(said);
    if let Some(message) = said("NamespaceFinalizersRemaining") {
        let remedy = "the finalizer's owner has to remove it; if that no longer runs, take it off by hand: kubectl patch KIND NAME -p '{\"metadata\":{\"finalizers\":null}}' --type=merge";
        return Answer::blocked(format!("it is being deleted: {message}"), remedy).with(details);
    }
    if let Some(message) = said("NamespaceDeletionDiscoveryFailure") {
        let remedy =
            "an API that somebody else serves does not answer: kubectl get apiservice shows which; repair or delete it";
        return Answer::blocked(format!("it is being deleted, but not all kinds are known: {message}"), remedy);
    }
    if let Some(message) = said("NamespaceDeletionContentFailure") {
        return Answer::blocked(format!("it is being deleted: {message}"), "correct what the message names");
    }
    if let Some(message) = said("NamespaceContentRemaining") {
        let remedy = "wait: pods have their time to end; what stays longer explains itself by oxikube why pod/NAME";
        return Answer::blocked(format!("it is being deleted: {message}"), remedy);
    }
    let finalizers = namespace.spec.as_ref().and_then(|spec| spec.finalizers.clone()).unwrap_or_default();
    let own = namespace.metadata.finalizers.clone().unwrap_or_default();
    let held = [finalizers, own].concat().join(", ");
    Answer::blocked(
        format!("it is being deleted and held by: {held}"),
        "see whether the controller-manager runs: oxikube status",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn causes() {
        let said = |conditions: Value| {
            let namespace = json!({"metadata": {"name": "n", "deletionTimestamp": "2026-01-01T00:00:00Z"},
                "spec": {"finalizers": ["kubernetes"]}, "status": {"conditions": conditions}});
            why(&serde_json::from_value(namespace).unwrap()).text()
        };
        let condition = |kind: &str, message: &str| json!({"type": kind, "status": "True", "message": message});
        let both = json!([
            condition("NamespaceContentRemaining", "1 configmap"),
            condition("NamespaceFinalizersRemaining", "x/y in 1 resource instances")
        ]);
        let text = said(both);
        assert!(text.contains("x/y in 1") && text.contains("1 configmap") && text.contains("take it off"), "{text}");
        assert!(said(json!([condition("NamespaceDeletionDiscoveryFailure", "m")])).contains("apiservice"));
        assert!(said(json!([])).contains("held by: kubernetes"));
    }
}
