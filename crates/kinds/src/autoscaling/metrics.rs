//! What an autoscaler goes by.

use api::field::FieldError;

use super::target;
use crate::check::{self, At, Errors, resource};

/// Types, and the field that each wants, in the order in which upstream looks at them.
const SOURCES: [(&str, &str); 5] = [
    ("Object", "object"),
    ("External", "external"),
    ("Pods", "pods"),
    ("Resource", "resource"),
    ("ContainerResource", "containerResource"),
];
const TYPES: &[&str] = &["ContainerResource", "External", "Object", "Pods", "Resource"];

pub(super) fn validate(metrics: &At<'_>, to_zero: bool, errors: &mut Errors) {
    let mut wakes = false;
    for metric in metrics.items() {
        wakes |= matches!(metric.get("type").str(), "Object" | "External");
        one(&metric, errors);
    }
    if to_zero && !wakes {
        let why = "must specify at least one Object or External metric to support scaling to zero replicas";
        errors.push(metrics.forbidden(why));
    }
}

fn one(metric: &At<'_>, errors: &mut Errors) {
    let kind = metric.get("type");
    let unknown = FieldError::not_supported(&kind.path, &kind.str().into(), TYPES);
    if kind.is_empty() {
        errors.push(kind.required("must specify a metric source type"));
    }
    let expected = SOURCES.into_iter().find(|(name, _)| *name == kind.str()).map(|(_, field)| field);
    if expected.is_none() {
        errors.push(unknown.clone());
    }
    let said: Vec<&str> = SOURCES.iter().map(|(_, field)| *field).filter(|f| metric.get(f).is_set()).collect();
    if let Some(first) = said.first() {
        source(first, &metric.get(first), errors);
    }
    match expected {
        Some(field) if !said.contains(&field) => {
            errors.push(metric.get(field).required("must populate information for the given metric source"));
        }
        Some(_) => {}
        None => errors.push(unknown),
    }
    if said.len() > 1 {
        for field in said.into_iter().filter(|field| Some(*field) != expected) {
            errors.push(metric.get(field).forbidden("must populate the given metric source only"));
        }
    }
}

fn source(field: &str, source: &At<'_>, errors: &mut Errors) {
    match field {
        "object" => object(source, errors),
        "external" => external(source, errors),
        "pods" => pods(source, errors),
        _ => resource(field, source, errors),
    }
}

fn object(source: &At<'_>, errors: &mut Errors) {
    target(&source.get("describedObject"), errors);
    identifier(&source.get("metric"), errors);
    let goal = goal(source, errors);
    if !goal.get("value").is_set() && !goal.get("averageValue").is_set() {
        errors.push(goal.get("averageValue").required("must set either a target value or averageValue"));
    }
}

fn external(source: &At<'_>, errors: &mut Errors) {
    identifier(&source.get("metric"), errors);
    let goal = goal(source, errors);
    let (whole, average) = (goal.get("value"), goal.get("averageValue"));
    either(&average, &whole, "a target value for metric", "a per-pod target", errors);
}

/// One of two goals, of which the first is what lacks if there is none, and the second what is too much.
fn either(lacking: &At<'_>, excess: &At<'_>, one: &str, other: &str, errors: &mut Errors) {
    match (lacking.is_set(), excess.is_set()) {
        (false, false) => errors.push(lacking.required(&format!("must set either {one} or {other}"))),
        (true, true) => errors.push(excess.forbidden(format!("may not set both {one} and {other}"))),
        _ => {}
    }
}

fn pods(source: &At<'_>, errors: &mut Errors) {
    identifier(&source.get("metric"), errors);
    let average = goal(source, errors).get("averageValue");
    if !average.is_set() {
        errors.push(average.required("must specify a positive target averageValue"));
    }
}

fn resource(field: &str, source: &At<'_>, errors: &mut Errors) {
    let (name, container) = (source.get("name"), source.get("container"));
    let of_container = field == "containerResource";
    if name.is_empty() {
        errors.push(name.required("must specify a resource name"));
    } else if of_container {
        resource::container(name.str(), &name, errors);
    }
    if of_container {
        if container.is_empty() {
            errors.push(container.required("must specify a container"));
        }
        check::optional_named(&container, api::names::dns_label, errors);
    }
    let goal = goal(source, errors);
    let (share, average) = (goal.get("averageUtilization"), goal.get("averageValue"));
    either(&share, &average, "a target raw value", "a target utilization", errors);
}

/// What the metric is to become.
fn goal<'a>(source: &At<'a>, errors: &mut Errors) -> At<'a> {
    let goal = source.get("target");
    let kind = goal.get("type");
    if kind.is_empty() {
        errors.push(kind.required("must specify a metric target type"));
    }
    if !matches!(kind.str(), "Utilization" | "Value" | "AverageValue") {
        let why = "must be either Utilization, Value, or AverageValue";
        errors.push(FieldError::invalid(&kind.path, &kind.str().into(), why));
    }
    for at in ["value", "averageValue"].map(|field| goal.get(field)) {
        if check::amount(at.value).is_some_and(|amount| amount.is_zero() || amount.is_negative()) {
            errors.push(FieldError::invalid(&at.path, &at.spelled().into(), "must be positive"));
        }
    }
    let share = goal.get("averageUtilization");
    if share.int().is_some_and(|percent| percent < 1) {
        errors.push(share.invalid("must be greater than 0"));
    }
    goal
}

fn identifier(metric: &At<'_>, errors: &mut Errors) {
    let name = metric.get("name");
    if name.is_empty() {
        errors.push(name.required("must specify a metric name"));
    }
    check::optional_named(&name, api::names::path_segment, errors);
}
