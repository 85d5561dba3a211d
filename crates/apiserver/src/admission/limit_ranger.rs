//! LimitRanger: what containers, pods and claims ask for when they say nothing, and at least and at most.
//!
//! <https://kubernetes.io/docs/concepts/policy/limit-range/>

use api::{ApiError, Quantity};
use kinds::quota::{self, Amounts};
use serde_json::Value;

use crate::context::Context;
use crate::registry::list::Selection;

const ANNOTATION: &str = "kubernetes.io/limit-ranger";

async fn ranges(context: &Context) -> Result<Vec<Value>, ApiError> {
    let ranges = context.server.own("", "limitranges", &context.namespace)?;
    ranges.select(&Selection::default()).await?.iter().map(crate::registry::Object::tree).collect()
}

fn limits<'a>(range: &'a Value, kind: &str) -> impl Iterator<Item = &'a Value> {
    let all = range.pointer("/spec/limits").and_then(Value::as_array).into_iter().flatten();
    all.filter(move |limit| api::meta::at(limit, "/type") == kind)
}

/// Fills in what containers do not say.
pub(super) async fn fill(context: &Context, pod: &mut Value) -> Result<(), ApiError> {
    let mut set = Vec::new();
    for range in ranges(context).await? {
        for limit in limits(&range, "Container") {
            for list in ["containers", "initContainers"] {
                let containers = pod.get_mut("spec").and_then(|spec| spec.get_mut(list)).and_then(Value::as_array_mut);
                containers.into_iter().flatten().for_each(|container| fill_container(container, list, limit, &mut set));
            }
        }
    }
    if !set.is_empty() {
        let metadata = api::meta::of_mut(pod);
        let said = format!("LimitRanger plugin set: {}", set.join("; "));
        api::meta::child_mut(metadata, "annotations").insert(ANNOTATION.into(), said.into());
    }
    Ok(())
}

fn fill_container(container: &mut Value, list: &str, limit: &Value, set: &mut Vec<String>) {
    let name = api::meta::at(container, "/name").to_owned();
    let kind = if list == "containers" { "container" } else { "init container" };
    for (side, defaults) in [("requests", "defaultRequest"), ("limits", "default")] {
        let defaults = limit.get(defaults).and_then(Value::as_object).cloned().unwrap_or_default();
        let resources = api::meta::child_mut(api::meta::map_mut(container), "resources");
        let missing: Vec<_> = {
            let said = resources.get(side).and_then(Value::as_object);
            defaults.into_iter().filter(|(name, _)| said.is_none_or(|said| !said.contains_key(name))).collect()
        };
        if missing.is_empty() {
            continue;
        }
        let names: Vec<_> = missing.iter().map(|(name, _)| name.as_str()).collect();
        let what = side.strip_suffix('s').unwrap_or(side);
        set.push(format!("{} {what} for {kind} {name}", names.join(", ")));
        api::meta::child_mut(resources, side).extend(missing);
    }
}

/// Refuses what is below the least, above the most, or asks for too little of its limit.
pub(super) async fn check(context: &Context, object: &Value) -> Result<(), ApiError> {
    let mut wrong = Vec::new();
    for range in ranges(context).await? {
        wrong.extend(complaints(&range, context.kind.resource.plural, object));
    }
    let why = match wrong.as_slice() {
        [] => return Ok(()),
        [one] => one.clone(),
        many => format!("[{}]", many.join(", ")),
    };
    Err(context.kind.forbidden(api::meta::name(object), &why))
}

fn complaints(range: &Value, plural: &str, object: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    if plural == "persistentvolumeclaims" {
        let storage = quota::amounts(object.pointer("/spec/resources/requests"));
        for limit in limits(range, "PersistentVolumeClaim") {
            // What a claim asks for is all that it may have.
            compare(limit, "PersistentVolumeClaim", &storage, &storage, &mut wrong);
        }
        return wrong;
    }
    for limit in limits(range, "Container") {
        for list in ["containers", "initContainers"] {
            let containers = object.get("spec").and_then(|spec| spec.get(list)).and_then(Value::as_array);
            for container in containers.into_iter().flatten() {
                let side = |side: &str| quota::amounts(container.get("resources").and_then(|all| all.get(side)));
                compare(limit, "Container", &side("requests"), &side("limits"), &mut wrong);
            }
        }
    }
    let whole = quota::usage("", "pods", object);
    let of = |prefix: &str| -> Amounts {
        whole.iter().filter_map(|(name, amount)| Some((name.strip_prefix(prefix)?.to_owned(), *amount))).collect()
    };
    for limit in limits(range, "Pod") {
        compare(limit, "Pod", &of("requests."), &of("limits."), &mut wrong);
    }
    wrong
}

fn compare(limit: &Value, kind: &str, requests: &Amounts, bounds: &Amounts, wrong: &mut Vec<String>) {
    let (least, most) = (quota::amounts(limit.get("min")), quota::amounts(limit.get("max")));
    for (name, least) in &least {
        let text = |amount: Quantity| quota::spelled(name, amount);
        let head = format!("minimum {name} usage per {kind} is {}", text(*least));
        match (requests.get(name), bounds.get(name)) {
            (None, _) => wrong.push(format!("{head}.  No request is specified")),
            (Some(request), _) if request < least => wrong.push(format!("{head}, but request is {}", text(*request))),
            (_, Some(bound)) if bound < least => wrong.push(format!("{head}, but limit is {}", text(*bound))),
            _ => {}
        }
    }
    for (name, most) in &most {
        let text = |amount: Quantity| quota::spelled(name, amount);
        let head = format!("maximum {name} usage per {kind} is {}", text(*most));
        match (requests.get(name), bounds.get(name)) {
            (_, None) => wrong.push(format!("{head}.  No limit is specified")),
            (_, Some(bound)) if bound > most => wrong.push(format!("{head}, but limit is {}", text(*bound))),
            (Some(request), _) if request > most => wrong.push(format!("{head}, but request is {}", text(*request))),
            _ => {}
        }
    }
    for (name, most) in quota::amounts(limit.get("maxLimitRequestRatio")) {
        let head = format!("{name} max limit to request ratio per {kind} is {most}");
        let milli = |amounts: &Amounts| amounts.get(&name).map(|amount| amount.milli_value()).filter(|n| *n > 0);
        match (milli(requests), milli(bounds)) {
            (None, _) => wrong.push(format!("{head}, but no request is specified or request is 0")),
            (_, None) => wrong.push(format!("{head}, but no limit is specified or limit is 0")),
            (Some(request), Some(bound)) if exceeds(bound, request, most) => {
                wrong.push(format!("{head}, but provided ratio is {}", ratio(bound, request)));
            }
            _ => {}
        }
    }
}

fn exceeds(bound: i64, request: i64, most: Quantity) -> bool {
    i128::from(bound) * 1000 > i128::from(most.milli_value()) * i128::from(request)
}

/// With six decimals.
fn ratio(bound: i64, request: i64) -> String {
    let millionths = i128::from(bound) * 1_000_000 / i128::from(request.max(1));
    format!("{}.{:06}", millionths / 1_000_000, millionths % 1_000_000)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(resources: Value) -> Value {
        json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "resources": resources}]}})
    }

    #[test]
    fn defaults_fill_what_is_not_said() {
        let limit =
            json!({"type": "Container", "default": {"cpu": "1", "memory": "1Gi"}, "defaultRequest": {"cpu": "100m"}});
        let mut container = json!({"name": "c", "resources": {"limits": {"memory": "2Gi"}}});
        let mut set = Vec::new();
        fill_container(&mut container, "containers", &limit, &mut set);
        let expected = json!({"limits": {"cpu": "1", "memory": "2Gi"}, "requests": {"cpu": "100m"}});
        assert_eq!(container.get("resources"), Some(&expected));
        assert_eq!(set, ["cpu request for container c", "cpu limit for container c"]);
    }

    #[test]
    fn bounds_and_ratios() {
        let range = json!({"spec": {"limits": [
            {"type": "Container", "min": {"cpu": "100m"}, "max": {"cpu": "1"}, "maxLimitRequestRatio": {"cpu": "4"}},
            {"type": "Pod", "max": {"memory": "1Gi"}}]}});
        let good = pod(json!({"requests": {"cpu": "250m"}, "limits": {"cpu": "1", "memory": "1Gi"}}));
        assert_eq!(complaints(&range, "pods", &good), Vec::<String>::new());
        let bad = pod(json!({"requests": {"cpu": "50m"}, "limits": {"cpu": "2", "memory": "2Gi"}}));
        assert_eq!(
            complaints(&range, "pods", &bad),
            [
                "minimum cpu usage per Container is 100m, but request is 50m",
                "maximum cpu usage per Container is 1, but limit is 2",
                "cpu max limit to request ratio per Container is 4, but provided ratio is 40.000000",
                "maximum memory usage per Pod is 1Gi, but limit is 2Gi",
            ]
        );
        let claim = json!({"spec": {"resources": {"requests": {"storage": "1Gi"}}}});
        let range = json!({"spec": {"limits": [{"type": "PersistentVolumeClaim", "min": {"storage": "2Gi"}}]}});
        let said = complaints(&range, "persistentvolumeclaims", &claim);
        assert_eq!(said, ["minimum storage usage per PersistentVolumeClaim is 2Gi, but request is 1Gi"]);
    }
}
