//! Pods: the status in one word is the work of several rules.

use jiff::Timestamp;
use serde_json::Value;

use super::access::{int, joined, list, or, or_none, since};
use super::{AGE, Column, NAME, text, wide};

pub(super) static POD: &[Column] = &[
    NAME,
    text("Ready", |o, _| ready(o).into()),
    text("Status", |o, _| status(o).into()),
    text("Restarts", restarts),
    AGE,
    wide("IP", |o, _| or_none(o, "/status/podIP")),
    wide("Node", |o, _| or_none(o, "/spec/nodeName")),
    wide("Nominated Node", |o, _| or_none(o, "/status/nominatedNodeName")),
    wide("Readiness Gates", |o, _| gates(o)),
];

fn ready(pod: &Value) -> String {
    let sidecars = list(pod, "/spec/initContainers").filter(|c| is_sidecar(c)).count();
    let total = list(pod, "/spec/containers").count() + sidecars;
    let is_ready = |s: &&Value| s.get("ready") == Some(&Value::Bool(true)) && s.pointer("/state/running").is_some();
    let mains = list(pod, "/status/containerStatuses").filter(is_ready).count();
    let others = list(pod, "/status/initContainerStatuses")
        .filter(|s| sidecar_named(pod, api::meta::at(s, "/name")))
        .filter(is_ready)
        .count();
    format!("{}/{total}", mains + others)
}

fn is_sidecar(container: &Value) -> bool {
    api::meta::at(container, "/restartPolicy") == "Always"
}

fn sidecar_named(pod: &Value, name: &str) -> bool {
    list(pod, "/spec/initContainers").any(|c| api::meta::at(c, "/name") == name && is_sidecar(c))
}

/// What `kubectl get pods` calls a pod.
pub(super) fn status(pod: &Value) -> String {
    let reason = api::meta::at(pod, "/status/reason");
    let phase = api::meta::at(pod, "/status/phase");
    let mut word = if reason.is_empty() { phase.to_owned() } else { reason.to_owned() };
    let gated = list(pod, "/status/conditions")
        .any(|c| api::meta::at(c, "/type") == "PodScheduled" && api::meta::at(c, "/reason") == "SchedulingGated");
    if gated {
        word = "SchedulingGated".into();
    }
    match initializing(pod) {
        Some(init) => word = init,
        None => {
            if let Some(main) = main_word(pod) {
                word = main;
            }
        }
    }
    if api::meta::is_deleting(pod) {
        let lost = reason == "NodeLost";
        let ended = matches!(phase, "Succeeded" | "Failed");
        if lost {
            word = "Unknown".into();
        } else if !ended {
            word = "Terminating".into();
        }
    }
    word
}

/// The word while init containers are at work.
fn initializing(pod: &Value) -> Option<String> {
    let total = list(pod, "/spec/initContainers").count();
    for (i, status) in list(pod, "/status/initContainerStatuses").enumerate() {
        let sidecar = sidecar_named(pod, api::meta::at(status, "/name"));
        if let Some(ended) = status.pointer("/state/terminated") {
            if int(ended, "/exitCode") == 0 {
                continue;
            }
            return Some(format!("Init:{}", ended_word(ended)));
        }
        if sidecar && status.get("started") == Some(&Value::Bool(true)) {
            continue;
        }
        let waiting = api::meta::at(status, "/state/waiting/reason");
        return Some(if waiting.is_empty() || waiting == "PodInitializing" {
            format!("Init:{i}/{total}")
        } else {
            format!("Init:{waiting}")
        });
    }
    None
}

fn ended_word(ended: &Value) -> String {
    let reason = api::meta::at(ended, "/reason");
    if !reason.is_empty() {
        return reason.to_owned();
    }
    match int(ended, "/signal") {
        0 => format!("ExitCode:{}", int(ended, "/exitCode")),
        signal => format!("Signal:{signal}"),
    }
}

/// The word that the main containers give; none when they say nothing of their own.
fn main_word(pod: &Value) -> Option<String> {
    let mut word = None;
    let mut runs = false;
    let statuses: Vec<&Value> = list(pod, "/status/containerStatuses").collect();
    for status in statuses.iter().rev() {
        let waiting = api::meta::at(status, "/state/waiting/reason");
        if !waiting.is_empty() {
            word = Some(waiting.to_owned());
        } else if let Some(ended) = status.pointer("/state/terminated") {
            word = Some(ended_word(ended));
        } else if status.get("ready") == Some(&Value::Bool(true)) && status.pointer("/state/running").is_some() {
            runs = true;
        }
    }
    if word.as_deref() == Some("Completed") && runs {
        let ready = list(pod, "/status/conditions")
            .any(|c| api::meta::at(c, "/type") == "Ready" && api::meta::at(c, "/status") == "True");
        word = Some(if ready { "Running" } else { "NotReady" }.into());
    }
    word
}

fn restarts(pod: &Value, now: Timestamp) -> Value {
    let statuses = || {
        list(pod, "/status/containerStatuses").chain(
            list(pod, "/status/initContainerStatuses")
                .filter(|s| sidecar_named(pod, api::meta::at(s, "/name")) || initializing(pod).is_some()),
        )
    };
    let total: i64 = statuses().map(|s| int(s, "/restartCount")).sum();
    let last = statuses().map(|s| api::meta::at(s, "/lastState/terminated/finishedAt")).max().unwrap_or_default();
    if total > 0 && !last.is_empty() {
        format!("{total} ({} ago)", since(last, now)).into()
    } else {
        total.to_string().into()
    }
}

fn gates(pod: &Value) -> Value {
    let total = list(pod, "/spec/readinessGates").count();
    if total == 0 {
        return super::access::NONE.into();
    }
    let met = list(pod, "/spec/readinessGates").filter(|g| {
        let wanted = api::meta::at(g, "/conditionType");
        list(pod, "/status/conditions")
            .any(|c| api::meta::at(c, "/type") == wanted && api::meta::at(c, "/status") == "True")
    });
    format!("{}/{total}", met.count()).into()
}

pub(super) static POD_TEMPLATE: &[Column] = &[
    NAME,
    text("Containers", |o, _| super::access::container_names(o, "/template/spec")),
    text("Images", |o, _| super::access::container_images(o, "/template/spec")),
    text("Pod Labels", |o, _| super::access::labels(o.pointer("/template/metadata/labels"))),
];

pub(super) static EVENT: &[Column] = &[
    text("Last Seen", |o, now| {
        let seen = ["/series/lastObservedTime", "/lastTimestamp", "/eventTime", "/firstTimestamp"];
        let seen = seen.iter().map(|p| api::meta::at(o, p)).find(|t| !t.is_empty());
        since(seen.unwrap_or(api::meta::text(o, "creationTimestamp")), now).into()
    }),
    text("Type", |o, _| api::meta::at(o, "/type").into()),
    text("Reason", |o, _| api::meta::at(o, "/reason").into()),
    text("Object", |o, _| {
        let kind = api::meta::at(o, "/involvedObject/kind").to_lowercase();
        format!("{kind}/{}", api::meta::at(o, "/involvedObject/name")).into()
    }),
    wide("Subobject", |o, _| api::meta::at(o, "/involvedObject/fieldPath").into()),
    wide("Source", |o, _| {
        let parts = ["/source/component", "/source/host"].map(|p| api::meta::at(o, p));
        let text = parts.into_iter().filter(|p| !p.is_empty()).collect::<Vec<_>>().join(", ");
        if text.is_empty() { or(o, "/reportingComponent", "") } else { text.into() }
    }),
    text("Message", |o, _| api::meta::at(o, "/message").trim().into()),
    wide("First Seen", |o, now| {
        let seen = ["/firstTimestamp", "/eventTime"].iter().map(|p| api::meta::at(o, p)).find(|t| !t.is_empty());
        since(seen.unwrap_or_default(), now).into()
    }),
    wide("Count", |o, _| {
        let count = int(o, "/series/count").max(int(o, "/count")).max(1);
        count.to_string().into()
    }),
    Column { name: "Name", kind: "string", format: "name", priority: 1, cell: |o, _| api::meta::name(o).into() },
];

pub(super) static LEASE: &[Column] =
    &[NAME, text("Holder", |o, _| api::meta::at(o, "/spec/holderIdentity").into()), AGE];

pub(super) static SERVICE_ACCOUNT: &[Column] =
    &[NAME, super::number("Secrets", |o, _| super::access::count(o, "/secrets").into()), AGE];

pub(super) static PRIORITY_CLASS: &[Column] = &[
    NAME,
    super::number("Value", |o, _| int(o, "/value").into()),
    text("Global-Default", |o, _| o.get("globalDefault").and_then(Value::as_bool).unwrap_or(false).into()),
    AGE,
    text("PreemptionPolicy", |o, _| or(o, "/preemptionPolicy", "")),
];

/// Roles and such: who is bound to what.
pub(super) static ROLE_BINDING: &[Column] = &[
    NAME,
    text("Role", |o, _| format!("{}/{}", api::meta::at(o, "/roleRef/kind"), api::meta::at(o, "/roleRef/name")).into()),
    AGE,
    wide("Users", |o, _| subjects(o, "User")),
    wide("Groups", |o, _| subjects(o, "Group")),
    wide("ServiceAccounts", |o, _| subjects(o, "ServiceAccount")),
];

fn subjects(binding: &Value, kind: &str) -> Value {
    let names: Vec<String> = list(binding, "/subjects")
        .filter(|s| api::meta::at(s, "/kind") == kind)
        .map(|s| match api::meta::at(s, "/namespace") {
            "" => api::meta::at(s, "/name").to_owned(),
            namespace => format!("{namespace}/{}", api::meta::at(s, "/name")),
        })
        .collect();
    let text = joined(names.iter().map(String::as_str));
    if text == super::access::NONE { "".into() } else { text }
}
