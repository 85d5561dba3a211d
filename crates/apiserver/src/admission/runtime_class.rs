//! RuntimeClass: a pod gets the overhead and the nodes of its class; what says otherwise is turned away.

use api::ApiError;
use serde_json::{Map, Value, json};

use crate::context::Context;

const NO_OVERHEAD: &str = "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead";

pub(super) async fn admit(context: &Context, pod: &mut Value) -> Result<(), ApiError> {
    let name = api::meta::name(pod).to_owned();
    let forbidden = |why: &str| context.kind.forbidden(&name, why);
    let wanted = api::meta::at(pod, "/spec/runtimeClassName").to_owned();
    if wanted.is_empty() {
        let overhead = pod.pointer("/spec/overhead").and_then(Value::as_object).is_some_and(|o| !o.is_empty());
        return if overhead { Err(forbidden(NO_OVERHEAD)) } else { Ok(()) };
    }
    let classes = context.server.own("node.k8s.io", "runtimeclasses", "")?;
    let class = match classes.current(&wanted).await {
        Ok(object) => object.tree()?,
        Err(error) if error.code == 404 => {
            return Err(forbidden(&format!("pod rejected: RuntimeClass \"{wanted}\" not found")));
        }
        Err(error) => return Err(error),
    };
    let spec = api::meta::child_mut(api::meta::map_mut(pod), "spec");
    join(spec, &class).map_err(|why| forbidden(&why))
}

/// What the class says goes into the pod's spec.
fn join(spec: &mut Map<String, Value>, class: &Value) -> Result<(), String> {
    let said = spec.get("overhead").filter(|said| !said.is_null());
    match (class.pointer("/overhead/podFixed"), said) {
        (Some(fixed), None) => drop(spec.insert("overhead".into(), fixed.clone())),
        (Some(fixed), Some(said)) if !same_amounts(fixed, said) => {
            return Err("pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead".to_owned());
        }
        (None, Some(_)) => return Err(NO_OVERHEAD.to_owned()),
        _ => {}
    }
    for (key, value) in class.pointer("/scheduling/nodeSelector").and_then(Value::as_object).into_iter().flatten() {
        let selector = api::meta::child_mut(spec, "nodeSelector");
        match selector.get(key).filter(|own| *own != value) {
            Some(own) => {
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                return Err(format!(
                    "conflict: runtimeClass.scheduling.nodeSelector[{key}] = {}; pod.spec.nodeSelector[{key}] = {}",
                    text(value),
                    text(own)
                ));
            }
            None => drop(selector.insert(key.clone(), value.clone())),
        }
    }
    let more = class.pointer("/scheduling/tolerations").and_then(Value::as_array).cloned().unwrap_or_default();
    if !more.is_empty() {
        let list = spec.entry("tolerations").or_insert_with(|| json!([]));
        let own = list.as_array().cloned().unwrap_or_default();
        let new: Vec<Value> = more.into_iter().filter(|toleration| !own.contains(toleration)).collect();
        *list = own.into_iter().chain(new).collect();
    }
    Ok(())
}

fn same_amounts(one: &Value, other: &Value) -> bool {
    let amounts = |value: &Value| -> Option<Vec<(String, api::Quantity)>> {
        let entries = value.as_object()?.iter();
        entries.map(|(name, text)| Some((name.clone(), api::Quantity::parse(text.as_str()?).ok()?))).collect()
    };
    match (amounts(one), amounts(other)) {
        (Some(one), Some(other)) => one == other,
        _ => one == other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(spec: Value, class: Value) -> Result<Value, String> {
        let mut spec = spec.as_object().cloned().unwrap();
        join(&mut spec, &class).map(|()| spec.into())
    }

    #[test]
    fn a_pod_gets_what_its_class_says() {
        let class = json!({"overhead": {"podFixed": {"cpu": "10m"}},
            "scheduling": {"nodeSelector": {"a": "b"}, "tolerations": [{"key": "k"}]}});
        let expected = json!({"overhead": {"cpu": "10m"}, "nodeSelector": {"a": "b", "c": "d"},
            "tolerations": [{"key": "x"}, {"key": "k"}]});
        assert_eq!(
            joined(json!({"nodeSelector": {"c": "d"}, "tolerations": [{"key": "x"}]}), class.clone()),
            Ok(expected)
        );
        assert!(joined(json!({"overhead": {"cpu": "0.01"}}), class.clone()).is_ok());
        assert!(joined(json!({"overhead": {"cpu": "20m"}}), class.clone()).unwrap_err().contains("doesn't match"));
        assert!(joined(json!({"nodeSelector": {"a": "c"}}), class).unwrap_err().starts_with("conflict: "));
        assert_eq!(joined(json!({"overhead": {"cpu": "20m"}}), json!({})), Err(NO_OVERHEAD.to_owned()));
    }
}
