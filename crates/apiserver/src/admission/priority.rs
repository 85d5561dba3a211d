//! Priority: a pod's class becomes its number and preemption policy.

use api::ApiError;
use serde_json::{Value, json};

use crate::context::Context;
use crate::registry::list::Selection;

pub(super) async fn admit(context: &Context, pod: &mut Value) -> Result<(), ApiError> {
    let classes = context.server.own("scheduling.k8s.io", "priorityclasses", "")?;
    let asked = api::meta::at(pod, "/spec/priorityClassName").to_owned();
    let class = if asked.is_empty() {
        default_class(&classes).await?
    } else {
        match classes.current(&asked).await {
            Ok(object) => Some(object.tree()?),
            Err(_) => {
                let why = format!("no PriorityClass with name {asked} was found");
                return Err(context.kind.forbidden(api::meta::name(pod), &why));
            }
        }
    };
    let (name, value, policy) = match &class {
        Some(class) => (
            api::meta::name(class),
            class.get("value").and_then(Value::as_i64).unwrap_or(0),
            class.get("preemptionPolicy").and_then(Value::as_str).unwrap_or("PreemptLowerPriority"),
        ),
        None => ("", 0, "PreemptLowerPriority"),
    };
    let said = pod.pointer("/spec/priority").and_then(Value::as_i64);
    if said.is_some_and(|said| said != value) {
        let why = "the integer value of priority must not be provided in pod spec; priority admission controller computed a different value from the given PriorityClass name";
        return Err(context.kind.forbidden(api::meta::name(pod), why));
    }
    let (name, policy) = (name.to_owned(), policy.to_owned());
    let spec = api::meta::child_mut(api::meta::map_mut(pod), "spec");
    if !name.is_empty() {
        spec.insert("priorityClassName".into(), name.into());
    }
    spec.insert("priority".into(), json!(value));
    spec.entry("preemptionPolicy").or_insert_with(|| policy.into());
    Ok(())
}

/// The global default with the lowest value.
async fn default_class(classes: &Context) -> Result<Option<Value>, ApiError> {
    let mut best: Option<Value> = None;
    for object in classes.select(&Selection::default()).await? {
        let tree = object.tree()?;
        let value = |t: &Value| t.get("value").and_then(Value::as_i64).unwrap_or(0);
        if tree.get("globalDefault").and_then(Value::as_bool) == Some(true)
            && best.as_ref().is_none_or(|b| value(&tree) < value(b))
        {
            best = Some(tree);
        }
    }
    Ok(best)
}

/// There is at most one global default.
pub(super) async fn check_class(context: &Context, class: &Value) -> Result<(), ApiError> {
    if class.get("globalDefault").and_then(Value::as_bool) != Some(true) {
        return Ok(());
    }
    match default_class(&context.server.own("scheduling.k8s.io", "priorityclasses", "")?).await? {
        Some(other) if api::meta::name(&other) != api::meta::name(class) => {
            let why = format!(
                "PriorityClass {} is already marked as default. Only one default can exist",
                api::meta::name(&other)
            );
            Err(context.kind.forbidden(api::meta::name(class), &why))
        }
        _ => Ok(()),
    }
}
