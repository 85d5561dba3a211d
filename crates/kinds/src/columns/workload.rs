//! Workloads and what scales or guards them.

use jiff::Timestamp;
use serde_json::Value;

use super::access::{NONE, container_images, container_names, int, list, or, or_none, selector, since};
use super::{AGE, Column, NAME, number, text, wide};

const CONTAINERS: Column = wide("Containers", |o, _| container_names(o, "/spec/template/spec"));
const IMAGES: Column = wide("Images", |o, _| container_images(o, "/spec/template/spec"));
const SELECTOR: Column = wide("Selector", |o, _| selector(o.pointer("/spec/selector")));

fn desired(o: &Value) -> i64 {
    o.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(1)
}

fn ready(o: &Value, _: Timestamp) -> Value {
    format!("{}/{}", int(o, "/status/readyReplicas"), desired(o)).into()
}

pub(super) static DEPLOYMENT: &[Column] = &[
    NAME,
    text("Ready", ready),
    number("Up-to-date", |o, _| int(o, "/status/updatedReplicas").into()),
    number("Available", |o, _| int(o, "/status/availableReplicas").into()),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

pub(super) static REPLICA_SET: &[Column] = &[
    NAME,
    number("Desired", |o, _| desired(o).into()),
    number("Current", |o, _| int(o, "/status/replicas").into()),
    number("Ready", |o, _| int(o, "/status/readyReplicas").into()),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

pub(super) static REPLICATION_CONTROLLER: &[Column] = &[
    NAME,
    number("Desired", |o, _| desired(o).into()),
    number("Current", |o, _| int(o, "/status/replicas").into()),
    number("Ready", |o, _| int(o, "/status/readyReplicas").into()),
    AGE,
    CONTAINERS,
    IMAGES,
    wide("Selector", |o, _| super::access::labels(o.pointer("/spec/selector"))),
];

pub(super) static STATEFUL_SET: &[Column] = &[NAME, text("Ready", ready), AGE, CONTAINERS, IMAGES];

pub(super) static DAEMON_SET: &[Column] = &[
    NAME,
    number("Desired", |o, _| int(o, "/status/desiredNumberScheduled").into()),
    number("Current", |o, _| int(o, "/status/currentNumberScheduled").into()),
    number("Ready", |o, _| int(o, "/status/numberReady").into()),
    number("Up-to-date", |o, _| int(o, "/status/updatedNumberScheduled").into()),
    number("Available", |o, _| int(o, "/status/numberAvailable").into()),
    text("Node Selector", |o, _| super::access::labels(o.pointer("/spec/template/spec/nodeSelector"))),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

pub(super) static JOB: &[Column] = &[
    NAME,
    text("Status", |o, _| job_status(o).into()),
    text("Completions", |o, _| {
        let done = int(o, "/status/succeeded");
        match o.pointer("/spec/completions").and_then(Value::as_i64) {
            Some(wanted) => format!("{done}/{wanted}").into(),
            None if int(o, "/spec/parallelism") > 1 => format!("{done}/1 of {}", int(o, "/spec/parallelism")).into(),
            None => format!("{done}/1").into(),
        }
    }),
    text("Duration", |o, now| {
        let start = api::time::parse(api::meta::at(o, "/status/startTime"));
        let end = api::time::parse(api::meta::at(o, "/status/completionTime")).unwrap_or(now);
        start.map_or("".into(), |s| api::time::age(end.as_second() - s.as_second()).into())
    }),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

fn job_status(job: &Value) -> &'static str {
    let is = |kind: &str| {
        list(job, "/status/conditions")
            .any(|c| api::meta::at(c, "/type") == kind && api::meta::at(c, "/status") == "True")
    };
    match () {
        () if is("Complete") => "Complete",
        () if is("Failed") => "Failed",
        () if api::meta::is_deleting(job) => "Terminating",
        () if is("Suspended") => "Suspended",
        () if is("FailureTarget") => "FailureTarget",
        () if is("SuccessCriteriaMet") => "SuccessCriteriaMet",
        () => "Running",
    }
}

pub(super) static CRON_JOB: &[Column] = &[
    NAME,
    text("Schedule", |o, _| api::meta::at(o, "/spec/schedule").into()),
    text("Timezone", |o, _| or_none(o, "/spec/timeZone")),
    text("Suspend", |o, _| {
        (if o.pointer("/spec/suspend") == Some(&Value::Bool(true)) { "True" } else { "False" }).into()
    }),
    number("Active", |o, _| list(o, "/status/active").count().into()),
    text("Last Schedule", |o, now| match api::meta::at(o, "/status/lastScheduleTime") {
        "" => NONE.into(),
        time => since(time, now).into(),
    }),
    AGE,
    wide("Containers", |o, _| container_names(o, "/spec/jobTemplate/spec/template/spec")),
    wide("Images", |o, _| container_images(o, "/spec/jobTemplate/spec/template/spec")),
    wide("Selector", |o, _| selector(o.pointer("/spec/jobTemplate/spec/selector"))),
];

pub(super) static CONTROLLER_REVISION: &[Column] = &[
    NAME,
    text("Controller", |o, _| {
        let owner = list(o, "/metadata/ownerReferences").find(|r| r.get("controller") == Some(&Value::Bool(true)));
        owner.map_or(NONE.into(), |r| {
            let group = api::meta::at(r, "/apiVersion").split_once('/').map_or("", |(g, _)| g);
            let kind = api::meta::at(r, "/kind").to_lowercase();
            let kind = if group.is_empty() { kind } else { format!("{kind}.{group}") };
            format!("{kind}/{}", api::meta::at(r, "/name")).into()
        })
    }),
    number("Revision", |o, _| int(o, "/revision").into()),
    AGE,
];

pub(super) static AUTOSCALER: &[Column] = &[
    NAME,
    text("Reference", |o, _| {
        format!("{}/{}", api::meta::at(o, "/spec/scaleTargetRef/kind"), api::meta::at(o, "/spec/scaleTargetRef/name"))
            .into()
    }),
    text("Targets", |o, _| targets(o)),
    text("MinPods", |o, _| {
        o.pointer("/spec/minReplicas").and_then(Value::as_i64).map_or("<unset>".into(), |n| n.to_string().into())
    }),
    number("MaxPods", |o, _| int(o, "/spec/maxReplicas").into()),
    number("Replicas", |o, _| int(o, "/status/currentReplicas").into()),
    AGE,
];

fn targets(scaler: &Value) -> Value {
    let texts: Vec<String> = list(scaler, "/spec/metrics")
        .map(|m| {
            let resource = api::meta::at(m, "/resource/name");
            let current =
                list(scaler, "/status/currentMetrics").find(|c| api::meta::at(c, "/resource/name") == resource);
            match m.pointer("/resource/target/averageUtilization").and_then(Value::as_i64) {
                Some(wanted) => {
                    let now =
                        current.and_then(|c| c.pointer("/resource/current/averageUtilization")).and_then(Value::as_i64);
                    let now = now.map_or("<unknown>".to_owned(), |n| format!("{n}%"));
                    format!("{resource}: {now}/{wanted}%")
                }
                None => {
                    let wanted = api::meta::at(m, "/resource/target/averageValue");
                    format!("{resource}: <unknown>/{wanted}")
                }
            }
        })
        .collect();
    super::access::joined(texts.iter().map(String::as_str))
}

pub(super) static DISRUPTION_BUDGET: &[Column] = &[
    NAME,
    text("Min Available", |o, _| int_or_percent(o, "/spec/minAvailable")),
    text("Max Unavailable", |o, _| int_or_percent(o, "/spec/maxUnavailable")),
    number("Allowed Disruptions", |o, _| int(o, "/status/disruptionsAllowed").into()),
    AGE,
];

fn int_or_percent(o: &Value, pointer: &str) -> Value {
    match o.pointer(pointer) {
        Some(Value::Number(n)) => n.to_string().into(),
        _ => or(o, pointer, "N/A"),
    }
}

pub(super) static RESOURCE_QUOTA: &[Column] =
    &[NAME, text("Request", |o, _| quota(o, false)), text("Limit", |o, _| quota(o, true)), AGE];

fn quota(o: &Value, limits: bool) -> Value {
    let hard = o.pointer("/status/hard").or_else(|| o.pointer("/spec/hard")).and_then(Value::as_object);
    let texts: Vec<String> = hard
        .into_iter()
        .flatten()
        .filter(|(name, _)| name.starts_with("limits.") == limits)
        .map(|(name, hard)| {
            let used = o.pointer("/status/used").and_then(|u| u.get(name)).and_then(Value::as_str).unwrap_or("0");
            format!("{name}: {used}/{}", hard.as_str().unwrap_or_default())
        })
        .collect();
    texts.join(", ").into()
}
