//! Nodes and namespaces.

use serde_json::Value;

use super::access::{list, or};
use super::{AGE, Column, NAME, text, wide};

pub(super) static NODE: &[Column] = &[
    NAME,
    text("Status", |o, _| status(o).into()),
    text("Roles", |o, _| roles(o).into()),
    AGE,
    text("Version", |o, _| api::meta::at(o, "/status/nodeInfo/kubeletVersion").into()),
    wide("Internal-IP", |o, _| address(o, "InternalIP")),
    wide("External-IP", |o, _| address(o, "ExternalIP")),
    wide("OS-Image", |o, _| or(o, "/status/nodeInfo/osImage", "<unknown>")),
    wide("Kernel-Version", |o, _| or(o, "/status/nodeInfo/kernelVersion", "<unknown>")),
    wide("Container-Runtime", |o, _| or(o, "/status/nodeInfo/containerRuntimeVersion", "<unknown>")),
];

fn status(node: &Value) -> String {
    let ready = list(node, "/status/conditions").find(|c| api::meta::at(c, "/type") == "Ready");
    let mut word = match ready.map(|c| api::meta::at(c, "/status")) {
        Some("True") => "Ready".to_owned(),
        Some(_) => "NotReady".into(),
        None => "Unknown".into(),
    };
    if node.pointer("/spec/unschedulable") == Some(&Value::Bool(true)) {
        word.push_str(",SchedulingDisabled");
    }
    word
}

fn roles(node: &Value) -> String {
    const PREFIX: &str = "node-role.kubernetes.io/";
    let labels = api::meta::of(node).and_then(|m| m.get("labels")).and_then(Value::as_object);
    let mut roles: Vec<&str> = labels
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| match key.strip_prefix(PREFIX) {
            Some(role) => Some(role),
            None => (key == "kubernetes.io/role").then(|| value.as_str().unwrap_or_default()),
        })
        .filter(|r| !r.is_empty())
        .collect();
    roles.sort_unstable();
    if roles.is_empty() { super::access::NONE.into() } else { roles.join(",") }
}

fn address(node: &Value, kind: &str) -> Value {
    let found = list(node, "/status/addresses").find(|a| api::meta::at(a, "/type") == kind);
    found.map_or(super::access::NONE.into(), |a| api::meta::at(a, "/address").into())
}

pub(super) static NAMESPACE: &[Column] = &[NAME, text("Status", |o, _| api::meta::at(o, "/status/phase").into()), AGE];
