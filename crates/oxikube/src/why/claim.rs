//! Why a claim is not bound, or does not go.

use client::volumes::{self, claim_class, claims_of, default_class, waits_for_consumer};
use k8s_openapi::api::core::v1::{Event, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::StorageClass;

use super::{Answer, last_warning, told};

/// The answer; the pods are those of the claim's namespace.
pub(crate) fn why(claim: &PersistentVolumeClaim, classes: &[StorageClass], pods: &[Pod], events: &[Event]) -> Answer {
    let name = claim.metadata.name.as_deref().unwrap_or_default();
    let users = pods.iter().filter(|pod| claims_of(pod).iter().any(|(used, _)| used == name));
    let users: Vec<&str> = users.filter_map(|pod| pod.metadata.name.as_deref()).collect();
    if claim.metadata.deletion_timestamp.is_some() {
        return terminating(claim, &users);
    }
    let phase = claim.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or("Pending");
    match phase {
        "Bound" => return Answer::healthy(format!("it is bound to {}", volumes::volume_name(claim))),
        "Lost" => {
            let cause = format!("its volume {} is gone, and with it the data", volumes::volume_name(claim));
            return Answer::blocked(cause, "delete the claim and restore the data into a new one");
        }
        _ => {}
    }
    let Some(class_name) = claim_class(claim).filter(|class| !class.is_empty()) else {
        return classless(claim, classes);
    };
    let Some(class) = classes.iter().find(|class| class.metadata.name.as_deref() == Some(class_name)) else {
        let there: Vec<&str> = classes.iter().filter_map(|class| class.metadata.name.as_deref()).collect();
        let remedy = format!("name one that is there ({}), or create it", there.join(", "));
        return Answer::blocked(format!("storage class {class_name:?} is not there"), remedy);
    };
    let said = last_warning(events, "PersistentVolumeClaim", name).map(told);
    let selected = volumes::annotation(&claim.metadata, volumes::SELECTED_NODE);
    if waits_for_consumer(class) && selected.is_none() {
        return match users.as_slice() {
            [] => Answer::blocked(
                format!("class {class_name} makes volumes for the first pod that uses the claim, and none does"),
                "create a pod that uses the claim",
            ),
            [first, ..] => Answer::blocked(
                format!("it waits until pod {first} has a node"),
                format!("see why the pod has none: oxikube why pod/{first}"),
            ),
        };
    }
    let cause = format!("no volume fits, and provisioner {} has not made one yet", class.provisioner);
    let remedy = match class.provisioner.as_str() {
        volumes::NO_PROVISIONER => "create a PersistentVolume of this class that is large enough".to_owned(),
        provisioner => format!("see whether {provisioner} runs and what it says"),
    };
    Answer::blocked(cause, remedy).with(said)
}

fn terminating(claim: &PersistentVolumeClaim, users: &[&str]) -> Answer {
    if users.is_empty() {
        let finalizers = claim.metadata.finalizers.clone().unwrap_or_default().join(", ");
        return Answer::blocked(
            format!("it is being deleted and held by finalizers: {finalizers}"),
            "whoever set a finalizer has to remove it",
        );
    }
    let pods = users.join(" ");
    Answer::blocked(
        format!("it is being deleted, but pods still use it: {}", users.join(", ")),
        format!("delete them: kubectl delete pod {pods}"),
    )
}

fn classless(claim: &PersistentVolumeClaim, classes: &[StorageClass]) -> Answer {
    let cause = "no volume without a class fits, and the claim names no class";
    match (claim_class(claim), default_class(classes)) {
        (None, None) => Answer::blocked(
            "the claim names no class, and the cluster has no default one",
            "name a class, or make one the default: kubectl annotate storageclass NAME storageclass.kubernetes.io/is-default-class=true",
        ),
        _ => Answer::blocked(cause, "create a PersistentVolume without a class that is large enough, or name a class"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn text(spec: Value, metadata: Value, pods: &[Pod]) -> String {
        let mut meta = json!({"name": "c", "namespace": "ns"});
        meta.as_object_mut().unwrap().extend(metadata.as_object().unwrap().clone());
        let claim = serde_json::from_value(json!({"metadata": meta, "spec": spec, "status": {"phase": "Pending"}}));
        let class: StorageClass = serde_json::from_value(json!({"metadata": {"name": "local-path"},
            "provisioner": "p", "volumeBindingMode": "WaitForFirstConsumer"}))
        .unwrap();
        why(&claim.unwrap(), &[class], pods, &[]).text()
    }

    #[test]
    fn causes() {
        let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": {"containers": [],
            "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]}}))
        .unwrap();
        let local = json!({"storageClassName": "local-path"});
        assert!(text(local.clone(), json!({}), &[]).contains("create a pod that uses the claim"));
        assert!(text(local.clone(), json!({}), std::slice::from_ref(&pod)).contains("oxikube why pod/p"));
        assert!(text(json!({"storageClassName": "fast"}), json!({}), &[]).contains("one that is there (local-path)"));
        assert!(text(json!({}), json!({}), &[]).contains("no default one"));
        let selected = json!({"annotations": {"volume.kubernetes.io/selected-node": "n"}});
        assert!(text(local.clone(), selected, &[]).contains("provisioner p has not made one"));
        let deleted = json!({"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["a/b"]});
        assert!(text(local.clone(), deleted.clone(), &[pod]).contains("kubectl delete pod p"));
        assert!(text(local, deleted, &[]).contains("a/b"));
    }
}
