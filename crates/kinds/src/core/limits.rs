//! LimitRanges: what follows from what is said, and what contradicts itself.

use std::collections::{BTreeSet, HashSet};

use api::Quantity;
use serde_json::{Map, Value};

use crate::Rules;
use crate::check::{self, At, Errors, resource};

pub(super) static LIMITS: Rules = Rules { has_generation: false, default, validate, ..Rules::PLAIN };

/// Of containers, the most is the default limit, that is the default request, and otherwise the least is.
fn default(range: &mut Value) {
    let limits = range.pointer_mut("/spec/limits").and_then(Value::as_array_mut);
    for limit in limits.into_iter().flatten().filter_map(Value::as_object_mut) {
        if limit.get("type").and_then(Value::as_str) == Some("Container") {
            fill(limit, "default", "max");
            fill(limit, "defaultRequest", "default");
            fill(limit, "defaultRequest", "min");
        }
    }
}

fn fill(limit: &mut Map<String, Value>, into: &str, from: &str) {
    let Some(from) = limit.get(from).and_then(Value::as_object).filter(|map| !map.is_empty()).cloned() else { return };
    let into = api::meta::child_mut(limit, into);
    for (name, amount) in from {
        into.entry(name).or_insert(amount);
    }
}

fn validate(range: &Value) -> Errors {
    let mut errors = Errors::new();
    let mut seen = HashSet::new();
    for limit in At::field(range, "spec").get("limits").items() {
        let kind = limit.get("type");
        kind_of_limit(&kind, &mut errors);
        if !seen.insert(kind.str()) {
            errors.push(kind.duplicate());
        }
        validate_limit(&limit, &mut errors);
    }
    errors
}

fn kind_of_limit(at: &At<'_>, errors: &mut Errors) {
    if let Err(why) = api::names::qualified_name(at.str()) {
        errors.push(at.invalid(why));
    } else if !at.str().contains('/') && !matches!(at.str(), "Pod" | "Container" | "PersistentVolumeClaim") {
        errors.push(at.invalid("must be a standard limit type or fully qualified"));
    }
}

fn validate_limit(limit: &At<'_>, errors: &mut Errors) {
    let kind = limit.get("type").str();
    let mut names = BTreeSet::new();
    for field in ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"] {
        let map = limit.get(field);
        if kind == "Pod" && field.starts_with("default") {
            if !map.is_empty() {
                errors.push(map.forbidden("may not be specified when `type` is 'Pod'"));
            }
            continue;
        }
        for (name, at) in map.entries() {
            if matches!(kind, "Pod" | "Container") {
                resource::container(name, &at, errors);
            } else {
                resource::any(name, &at, errors);
            }
            names.insert(name);
        }
    }
    let bounded = ["min", "max"].iter().any(|side| limit.get(side).get("storage").is_set());
    if kind == "PersistentVolumeClaim" && !bounded {
        let why = "either minimum or maximum storage value is required, but neither was provided";
        errors.push(limit.get("limits").required(why));
    }
    for name in names {
        in_order(limit, name, errors);
    }
}

/// One amount that a limit says of a resource.
struct Said<'a> {
    at: At<'a>,
    amount: Quantity,
}

fn said<'a>(limit: &At<'a>, field: &str, name: &str) -> Option<Said<'a>> {
    let map = limit.get(field);
    let at = At::new(map.value.get(name)?, format!("{}[{name}]", map.path));
    let amount = check::amount(at.value)?;
    Some(Said { at, amount })
}

fn in_order(limit: &At<'_>, name: &str, errors: &mut Errors) {
    let defaults = limit.get("type").str() != "Pod";
    let default = said(limit, "default", name).filter(|_| defaults);
    let request = said(limit, "defaultRequest", name).filter(|_| defaults);
    let (min, max) = (said(limit, "min", name), said(limit, "max", name));
    // Which of the two the complaint is about is upstream's choice.
    let mut ordered = |low: (&Option<Said<'_>>, &str), high: (&Option<Said<'_>>, &str), (field, told_low)| {
        let (Some(less), Some(more)) = (low.0, high.0) else { return };
        if less.amount > more.amount {
            let (few, many) = (less.at.spelled(), more.at.spelled());
            let why = format!("{} value {few} is greater than {} value {many}", low.1, high.1);
            let told = if told_low { less } else { more };
            errors.push(At::new(told.at.value, format!("{}.{field}[{name}]", limit.path)).invalid(why));
        }
    };
    ordered((&min, "min"), (&max, "max"), ("min", true));
    ordered((&min, "min"), (&request, "default request"), ("defaultRequest", false));
    ordered((&request, "default request"), (&max, "max"), ("defaultRequest", true));
    ordered((&request, "default request"), (&default, "default limit"), ("defaultRequest", true));
    ordered((&min, "min"), (&default, "default"), ("default", true));
    ordered((&default, "default"), (&max, "max"), ("default", false));
    if let Some(ratio) = said(limit, "maxLimitRequestRatio", name) {
        check_ratio(&ratio, min.as_ref(), max.as_ref(), errors);
    }
    if let (Some(default), Some(request)) = (&default, &request)
        && !resource::overcommits(name)
        && default.amount != request.amount
    {
        errors.push(request.at.invalid(format!(
            "default value {} must equal to defaultRequest value {} in {name}",
            default.at.spelled(),
            request.at.spelled()
        )));
    }
}

fn check_ratio(ratio: &Said<'_>, min: Option<&Said<'_>>, max: Option<&Said<'_>>, errors: &mut Errors) {
    let text = ratio.at.spelled();
    if ratio.amount < Quantity::units(1) {
        errors.push(ratio.at.invalid(format!("ratio {text} is less than 1")));
    }
    if let (Some(min), Some(max)) = (min, max)
        && let possible = number(max.amount) / number(min.amount)
        && number(ratio.amount) / 1000.0 > possible
    {
        errors.push(ratio.at.invalid(format!("ratio {text} is greater than max/min = {possible:.6}")));
    }
}

#[expect(clippy::cast_precision_loss, reason = "a ratio needs no more digits")]
fn number(amount: Quantity) -> f64 {
    amount.milli_value() as f64
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::tests::text;

    #[test]
    fn what_is_not_said_follows() {
        let mut range = json!({"spec": {"limits": [
            {"type": "Container", "max": {"cpu": "2"}, "min": {"cpu": "1", "memory": "1Gi"}},
            {"type": "Pod", "max": {"cpu": "2"}},
        ]}});
        default(&mut range);
        assert_eq!(range["spec"]["limits"][0]["default"], json!({"cpu": "2"}));
        assert_eq!(range["spec"]["limits"][0]["defaultRequest"], json!({"cpu": "2", "memory": "1Gi"}));
        assert!(range["spec"]["limits"][1].get("default").is_none());
    }

    #[test]
    fn limits_that_contradict_themselves() {
        let cpu = |fields: Value| {
            let mut limit = json!({"type": "Container"});
            for (field, amount) in fields.as_object().unwrap() {
                limit[field] = json!({"cpu": amount});
            }
            limit
        };
        for (limit, expected) in [
            (
                cpu(
                    json!({"min": "1", "defaultRequest": "1", "default": "2", "max": "3", "maxLimitRequestRatio": "3"}),
                ),
                "",
            ),
            (
                cpu(json!({"min": "2", "max": "1"})),
                "spec.limits[0].min[cpu]: Invalid value: \"2\": min value 2 is greater than max value 1",
            ),
            (
                cpu(json!({"min": "2", "defaultRequest": "1"})),
                "spec.limits[0].defaultRequest[cpu]: Invalid value: \"1\": min value 2 is greater than default request value 1",
            ),
            (
                cpu(json!({"default": "1", "defaultRequest": "2"})),
                "spec.limits[0].defaultRequest[cpu]: Invalid value: \"2\": default request value 2 is greater than default limit value 1",
            ),
            (
                cpu(json!({"default": "2", "max": "1"})),
                "spec.limits[0].default[cpu]: Invalid value: \"1\": default value 2 is greater than max value 1",
            ),
            (
                cpu(json!({"min": "1", "max": "2", "maxLimitRequestRatio": "3"})),
                "spec.limits[0].maxLimitRequestRatio[cpu]: Invalid value: \"3\": ratio 3 is greater than max/min = 2.000000",
            ),
            (
                cpu(json!({"maxLimitRequestRatio": "800m"})),
                "spec.limits[0].maxLimitRequestRatio[cpu]: Invalid value: \"800m\": ratio 800m is less than 1",
            ),
            (
                json!({"type": "Container", "default": {"acme.io/gpu": "2"}, "defaultRequest": {"acme.io/gpu": "1"}}),
                "spec.limits[0].defaultRequest[acme.io/gpu]: Invalid value: \"1\": default value 2 must equal to defaultRequest value 1 in acme.io/gpu",
            ),
            (
                json!({"type": "Pod", "default": {"cpu": "1"}}),
                "spec.limits[0].default: Forbidden: may not be specified when `type` is 'Pod'",
            ),
            (
                json!({"type": "Container", "max": {"pods": "1"}}),
                "spec.limits[0].max[pods]: Invalid value: \"pods\": must be a standard resource for containers",
            ),
            (
                json!({"type": "PersistentVolumeClaim", "max": {"cpu": "1"}}),
                "spec.limits[0].limits: Required value: either minimum or maximum storage value is required, but neither was provided",
            ),
            (
                json!({"type": "Node"}),
                "spec.limits[0].type: Invalid value: \"Node\": must be a standard limit type or fully qualified",
            ),
        ] {
            assert_eq!(text(&validate(&json!({"spec": {"limits": [limit]}}))), expected);
        }
        let twice = json!({"spec": {"limits": [{"type": "Pod"}, {"type": "Pod"}]}});
        assert_eq!(text(&validate(&twice)), "spec.limits[1].type: Duplicate value: \"Pod\"");
    }
}
