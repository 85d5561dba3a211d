//! `pods/NAME/eviction`: a deletion that respects disruption budgets.
//!
//! <https://kubernetes.io/docs/concepts/scheduling-eviction/api-eviction/>

use api::ApiError;
use serde_json::{Value, json};

use crate::context::Context;
use crate::registry::delete::DeleteOptions;
use crate::registry::list::Selection;

/// Evictions that were granted and not seen yet at most.
const UNSEEN: usize = 2000;
const REFUSED: &str = "Cannot evict pod as it would violate the pod's disruption budget.";

/// Deletes the pod, if its budget lets it go.
pub(crate) async fn evict(context: &Context, name: &str, eviction: &Value) -> Result<Value, ApiError> {
    let said = api::meta::name(eviction);
    if !said.is_empty() && said != name {
        return Err(ApiError::bad_request("name in URL does not match name in Eviction object"));
    }
    let mut options = options(eviction)?;
    let pod = context.current(name).await?.tree()?;
    if !is_free(&pod) {
        if let Some(budget) = budget(context, &pod).await?
            && spends(&budget, &pod)
        {
            spend(context, &budget, name).await?;
        }
        say(context, name).await?;
    }
    options.preconditions.get_or_insert_default().uid.get_or_insert_with(|| api::meta::uid(&pod).to_owned());
    context.delete(name, &options).await?;
    Ok(json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}))
}

fn options(eviction: &Value) -> Result<DeleteOptions, ApiError> {
    match eviction.get("deleteOptions").filter(|options| !options.is_null()) {
        Some(options) => serde_json::from_value(options.clone()).map_err(|e| ApiError::bad_request(e.to_string())),
        None => Ok(DeleteOptions::default()),
    }
}

/// Whether no budget counts on the pod: it has ended, has not begun, or is on its way out.
fn is_free(pod: &Value) -> bool {
    let phase = api::meta::at(pod, "/status/phase");
    matches!(phase, "Succeeded" | "Failed" | "Pending") || api::meta::is_deleting(pod)
}

async fn budget(context: &Context, pod: &Value) -> Result<Option<Value>, ApiError> {
    let budgets = context.server.own("policy", "poddisruptionbudgets", &context.namespace)?;
    let mut found = None;
    for object in budgets.select(&Selection::default()).await? {
        let budget = object.tree()?;
        let selector = budget.pointer("/spec/selector").cloned().unwrap_or_default();
        let selector = api::selector::LabelSelector::from_object(&selector).ok().flatten();
        if !selector.is_some_and(|s| s.matches_by(|k| api::meta::label(pod, k))) {
            continue;
        }
        if found.replace(budget).is_some() {
            let why =
                "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
            return Err(ApiError::new(500, "InternalError", why));
        }
    }
    Ok(found)
}

fn number(budget: &Value, pointer: &str) -> i64 {
    budget.pointer(pointer).and_then(Value::as_i64).unwrap_or(0)
}

/// Whether the loss of this pod is a loss: of one that does not work it may not be.
fn spends(budget: &Value, pod: &Value) -> bool {
    let conditions = pod.pointer("/status/conditions").and_then(Value::as_array);
    let ready = |c: &Value| api::meta::at(c, "/type") == "Ready" && api::meta::at(c, "/status") == "True";
    if conditions.into_iter().flatten().any(ready) {
        return true;
    }
    let (has, needs) = (number(budget, "/status/currentHealthy"), number(budget, "/status/desiredHealthy"));
    let always = api::meta::at(budget, "/spec/unhealthyPodEvictionPolicy") == "AlwaysAllow";
    let short = needs <= 0 || has < needs;
    short && !always
}

async fn spend(context: &Context, budget: &Value, pod: &str) -> Result<(), ApiError> {
    let kind = context.server.kinds.own("policy", "poddisruptionbudgets")?;
    let budgets = context.on(kind, &context.namespace).subresource("status");
    let now = api::time::seconds(context.now);
    let spend = |shown: &Value| {
        let refused = |why: &str| Err(kind.forbidden(api::meta::name(budget), why));
        check(shown)?;
        let granted = shown.pointer("/status/disruptedPods").and_then(Value::as_object).map_or(0, serde_json::Map::len);
        if number(shown, "/status/disruptionsAllowed") < 0 {
            return refused("pdb disruptions allowed is negative");
        }
        if granted > UNSEEN {
            return refused("DisruptedPods map too big - too many evictions not confirmed by PDB controller");
        }
        Ok(spent(shown, pod, &now))
    };
    budgets.change(api::meta::name(budget), spend).await.map(drop)
}

/// Refuses where nothing may go.
fn check(budget: &Value) -> Result<(), ApiError> {
    let name = api::meta::name(budget);
    let why = if number(budget, "/status/observedGeneration") < api::meta::generation(budget) {
        format!("The disruption budget {name} is still being processed by the server.")
    } else if number(budget, "/status/disruptionsAllowed") == 0 {
        let (needs, has) = (number(budget, "/status/desiredHealthy"), number(budget, "/status/currentHealthy"));
        format!("The disruption budget {name} needs {needs} healthy pods and has {has} currently")
    } else {
        return Ok(());
    };
    let mut error = ApiError::too_many_requests(REFUSED, 10);
    error.details = Some(Box::new(json!({"causes": [{"reason": "DisruptionBudget", "message": why}]})));
    Err(error)
}

fn spent(budget: &Value, pod: &str, now: &str) -> Value {
    let allowed = number(budget, "/status/disruptionsAllowed") - 1;
    let mut spent = budget.clone();
    let status = api::meta::child_mut(api::meta::map_mut(&mut spent), "status");
    status.insert("disruptionsAllowed".into(), json!(allowed));
    api::meta::child_mut(status, "disruptedPods").insert(pod.to_owned(), now.into());
    if allowed == 0
        && let Some(conditions) = status.get_mut("conditions").and_then(Value::as_array_mut)
    {
        let condition = conditions.iter_mut().find(|c| api::meta::at(c, "/type") == "DisruptionAllowed");
        if let Some(condition) = condition.and_then(Value::as_object_mut) {
            condition.insert("status".into(), "False".into());
            condition.insert("reason".into(), "InsufficientPods".into());
            condition.insert("lastTransitionTime".into(), now.into());
        }
    }
    spent
}

/// Tells the pod's owner why it goes.
async fn say(context: &Context, name: &str) -> Result<(), ApiError> {
    let condition = json!({"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI",
        "message": "Eviction API: evicting", "lastTransitionTime": api::time::seconds(context.now)});
    let pods = context.on(&context.kind, &context.namespace).subresource("status");
    let told = |shown: &Value| {
        let mut pod = shown.clone();
        let status = api::meta::child_mut(api::meta::map_mut(&mut pod), "status");
        let conditions = status.entry("conditions").or_insert_with(|| json!([]));
        if let Some(list) = conditions.as_array_mut() {
            list.retain(|c| api::meta::at(c, "/type") != "DisruptionTarget");
            list.push(condition.clone());
        }
        Ok(pod)
    };
    pods.change(name, told).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(policy: Option<&str>, has: i64, needs: i64, allowed: i64) -> Value {
        json!({"metadata": {"name": "b", "generation": 1}, "spec": {"unhealthyPodEvictionPolicy": policy}, "status": {
            "currentHealthy": has, "desiredHealthy": needs, "disruptionsAllowed": allowed, "observedGeneration": 1}})
    }

    #[test]
    fn pods_that_do_not_work_cost_nothing_when_enough_others_do() {
        let pod = |ready: &str| json!({"status": {"conditions": [{"type": "Ready", "status": ready}]}});
        assert!(spends(&budget(None, 3, 3, 0), &pod("True")));
        assert!(!spends(&budget(None, 3, 3, 0), &pod("False")));
        assert!(spends(&budget(None, 2, 3, 0), &pod("False")));
        assert!(!spends(&budget(Some("AlwaysAllow"), 2, 3, 0), &pod("False")));
    }

    #[test]
    fn a_budget_that_is_used_up_says_so() {
        let error = check(&budget(None, 2, 2, 0)).unwrap_err();
        assert_eq!((error.code, error.message.as_str()), (429, REFUSED));
        let cause = json!({"reason": "DisruptionBudget",
            "message": "The disruption budget b needs 2 healthy pods and has 2 currently"});
        assert_eq!(error.details.unwrap().pointer("/causes/0"), Some(&cause));
        let left = spent(&budget(None, 3, 2, 1), "p", "now");
        assert_eq!(left.pointer("/status/disruptedPods/p"), Some(&json!("now")));
        assert!(check(&left).is_err());
    }
}
