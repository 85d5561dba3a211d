//! Subresources of pods that are decisions: binding and eviction.

use api::ApiError;
use serde_json::{Value, json};

use crate::context::Context;
use crate::registry::create::Written;
use crate::registry::delete::{DeleteOptions, Deleted};
use crate::registry::list::Selection;

/// `pods/NAME/binding`: the scheduler's decision.
pub(crate) async fn bind(context: &Context, name: &str, binding: &Value) -> Result<Written, ApiError> {
    let node = api::meta::at(binding, "/target/name").to_owned();
    if node.is_empty() {
        let error = api::field::FieldError::required("target.name", "");
        return Err(ApiError::invalid("", "Binding", name, &[error]));
    }
    let annotations = api::meta::of(binding).and_then(|m| m.get("annotations")).cloned();
    context
        .change(name, |shown| {
            let refuse = |why: String| Err(ApiError::conflict("", "pods/binding", name, &why));
            if api::meta::is_deleting(shown) {
                return refuse(format!("pod {name} is being deleted, cannot be assigned to a host"));
            }
            let bound = api::meta::at(shown, "/spec/nodeName");
            if !bound.is_empty() {
                return refuse(format!("pod {name} is already assigned to node \"{bound}\""));
            }
            if shown.pointer("/spec/schedulingGates").and_then(Value::as_array).is_some_and(|g| !g.is_empty()) {
                return refuse(format!("pod {name} has non-empty .spec.schedulingGates"));
            }
            let mut pod = shown.clone();
            set_bound(&mut pod, &node, annotations.as_ref(), &api::time::seconds(context.now));
            Ok(pod)
        })
        .await
}

fn set_bound(pod: &mut Value, node: &str, annotations: Option<&Value>, now: &str) {
    let map = api::meta::map_mut(pod);
    api::meta::child_mut(map, "spec").insert("nodeName".into(), node.into());
    let conditions = api::meta::child_mut(map, "status").entry("conditions").or_insert_with(|| json!([]));
    if let Some(list) = conditions.as_array_mut() {
        list.retain(|c| c.get("type").is_none_or(|t| t != "PodScheduled"));
        list.push(json!({"type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": now}));
    }
    if let Some(annotations) = annotations.and_then(Value::as_object) {
        let metadata = api::meta::of_mut(pod);
        api::meta::child_mut(metadata, "annotations").extend(annotations.clone());
    }
}

/// `pods/NAME/eviction`: a deletion that respects disruption budgets.
pub(crate) async fn evict(context: &Context, name: &str, eviction: &Value) -> Result<Value, ApiError> {
    let options = eviction.get("deleteOptions").cloned().unwrap_or_default();
    let options: DeleteOptions = if options.is_null() {
        DeleteOptions::default()
    } else {
        serde_json::from_value(options).map_err(|e| ApiError::bad_request(e.to_string()))?
    };
    let pod = context.current(name).await?.tree()?;
    let ended = matches!(api::meta::at(&pod, "/status/phase"), "Succeeded" | "Failed" | "Pending");
    if !ended && !api::meta::is_deleting(&pod) {
        spend_budget(context, &pod).await?;
    }
    match context.delete(name, &options).await? {
        Deleted::Gone(_) | Deleted::Pending(_) => {
            Ok(json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}))
        }
    }
}

async fn spend_budget(context: &Context, pod: &Value) -> Result<(), ApiError> {
    let budgets = context.server.own("policy", "poddisruptionbudgets", &context.namespace)?;
    for object in budgets.select(&Selection::default()).await? {
        let budget = object.tree()?;
        let selector = budget.pointer("/spec/selector").cloned().unwrap_or_default();
        let selector = api::selector::LabelSelector::from_object(&selector).ok().flatten();
        if !selector.is_some_and(|s| s.matches_by(|k| api::meta::label(pod, k))) {
            continue;
        }
        let name = api::meta::name(&budget).to_owned();
        let budgets = context.on(&budgets.kind, &context.namespace).subresource("status");
        budgets.change(&name, |shown| spend(shown, api::meta::name(pod), &api::time::seconds(context.now))).await?;
    }
    Ok(())
}

fn spend(budget: &Value, pod: &str, now: &str) -> Result<Value, ApiError> {
    let number = |p: &str| budget.pointer(p).and_then(Value::as_i64).unwrap_or(0);
    let allowed = number("/status/disruptionsAllowed");
    if allowed < 1 {
        let mut error =
            ApiError::too_many_requests("Cannot evict pod as it would violate the pod's disruption budget.", 10);
        let why = format!(
            "The disruption budget {} needs {} healthy pods and has {} currently",
            api::meta::name(budget),
            number("/status/desiredHealthy"),
            number("/status/currentHealthy")
        );
        error.details = Some(Box::new(json!({"causes": [{"reason": "DisruptionBudget", "message": why}]})));
        return Err(error);
    }
    let mut spent = budget.clone();
    let status = api::meta::child_mut(api::meta::map_mut(&mut spent), "status");
    status.insert("disruptionsAllowed".into(), json!(allowed - 1));
    api::meta::child_mut(status, "disruptedPods").insert(pod.to_owned(), now.into());
    Ok(spent)
}
