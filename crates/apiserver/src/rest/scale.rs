//! The scale subresource: a window on `spec.replicas`.

use api::ApiError;
use serde_json::{Value, json};

use crate::context::Context;
use crate::registry::create::Written;
use crate::registry::patch::PatchType;

/// `autoscaling/v1 Scale` of an object.
pub(crate) fn of(object: &Value) -> Value {
    let metadata = |field: &str| api::meta::of(object).and_then(|m| m.get(field)).cloned().unwrap_or_default();
    let number = |pointer: &str| object.pointer(pointer).and_then(Value::as_i64).unwrap_or(0);
    json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1",
        "metadata": {
            "name": metadata("name"), "namespace": metadata("namespace"), "uid": metadata("uid"),
            "resourceVersion": metadata("resourceVersion"), "creationTimestamp": metadata("creationTimestamp"),
        },
        "spec": {"replicas": number("/spec/replicas")},
        "status": {"replicas": number("/status/replicas"), "selector": selector_text(object)},
    })
}

/// The selector in its text form.
fn selector_text(object: &Value) -> String {
    let selector = object.pointer("/spec/selector").cloned().unwrap_or_default();
    let labels = selector.get("matchLabels").or(Some(&selector)).and_then(Value::as_object);
    let mut terms: Vec<String> =
        labels.into_iter().flatten().filter_map(|(k, v)| v.as_str().map(|v| format!("{k}={v}"))).collect();
    for e in selector.get("matchExpressions").and_then(Value::as_array).into_iter().flatten() {
        let values: Vec<&str> =
            e.get("values").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
        let key = api::meta::at(e, "/key");
        terms.push(match api::meta::at(e, "/operator") {
            "In" => format!("{key} in ({})", values.join(",")),
            "NotIn" => format!("{key} notin ({})", values.join(",")),
            "Exists" => key.to_owned(),
            _ => format!("!{key}"),
        });
    }
    terms.sort();
    terms.join(",")
}

/// PUT or PATCH of a scale; `compute` makes the new Scale of the present one.
pub(crate) async fn change<F>(context: &Context, name: &str, compute: F) -> Result<Written, ApiError>
where
    F: Fn(Value) -> Result<Value, ApiError> + Send + Sync,
{
    context
        .change(name, |shown| {
            let scale = compute(of(shown))?;
            let replicas = scale.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(0);
            if replicas < 0 {
                let why = "must be greater than or equal to 0";
                let error = api::field::FieldError::invalid("spec.replicas", &json!(replicas), why);
                return Err(ApiError::invalid("autoscaling", "Scale", name, &[error]));
            }
            let mut new = shown.clone();
            api::meta::child_mut(api::meta::map_mut(&mut new), "spec").insert("replicas".into(), json!(replicas));
            let said = api::meta::text(&scale, "resourceVersion").to_owned();
            if !said.is_empty() {
                api::meta::set(&mut new, "resourceVersion", said);
            }
            Ok(new)
        })
        .await
}

/// Applies a patch to a Scale.
pub(crate) fn patched(mut scale: Value, how: PatchType, patch: &Value) -> Result<Value, ApiError> {
    match how {
        PatchType::Json => {
            schema::patch::json_patch(&mut scale, patch).map_err(|e| ApiError::new(422, "Invalid", e.to_string()))?
        }
        PatchType::Merge | PatchType::Strategic | PatchType::Apply => schema::patch::merge_patch(&mut scale, patch),
    }
    Ok(scale)
}
