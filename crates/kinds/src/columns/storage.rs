//! Volumes, claims, classes; config maps and secrets; certificates; the API's own kinds.

use serde_json::Value;

use super::access::{NONE, count, int, joined, list, or, or_none};
use super::{AGE, Column, NAME, number, text, wide};

pub(super) static CONFIG_MAP: &[Column] =
    &[NAME, number("Data", |o, _| (count(o, "/data") + count(o, "/binaryData")).into()), AGE];

pub(super) static SECRET: &[Column] = &[
    NAME,
    text("Type", |o, _| api::meta::at(o, "/type").into()),
    number("Data", |o, _| count(o, "/data").into()),
    AGE,
];

fn modes(o: &Value, pointer: &str) -> Value {
    let short = |mode: &str| match mode {
        "ReadWriteOnce" => "RWO",
        "ReadOnlyMany" => "ROX",
        "ReadWriteMany" => "RWX",
        "ReadWriteOncePod" => "RWOP",
        _ => "?",
    };
    let text: Vec<&str> = list(o, pointer).filter_map(Value::as_str).map(short).collect();
    text.join(",").into()
}

fn class(o: &Value) -> Value {
    match api::meta::annotation(o, "volume.beta.kubernetes.io/storage-class") {
        Some(class) => class.into(),
        None => api::meta::at(o, "/spec/storageClassName").into(),
    }
}

pub(super) static VOLUME: &[Column] = &[
    NAME,
    text("Capacity", |o, _| api::meta::at(o, "/spec/capacity/storage").into()),
    text("Access Modes", |o, _| modes(o, "/spec/accessModes")),
    text("Reclaim Policy", |o, _| api::meta::at(o, "/spec/persistentVolumeReclaimPolicy").into()),
    text("Status", |o, _| if api::meta::is_deleting(o) { "Terminating".into() } else { or(o, "/status/phase", "") }),
    text("Claim", |o, _| match api::meta::at(o, "/spec/claimRef/name") {
        "" => "".into(),
        name => format!("{}/{name}", api::meta::at(o, "/spec/claimRef/namespace")).into(),
    }),
    text("StorageClass", |o, _| class(o)),
    text("VolumeAttributesClass", |o, _| or(o, "/spec/volumeAttributesClassName", "<unset>")),
    text("Reason", |o, _| api::meta::at(o, "/status/reason").into()),
    AGE,
    wide("VolumeMode", |o, _| or(o, "/spec/volumeMode", "<unset>")),
];

pub(super) static CLAIM: &[Column] = &[
    NAME,
    text("Status", |o, _| if api::meta::is_deleting(o) { "Terminating".into() } else { or(o, "/status/phase", "") }),
    text("Volume", |o, _| api::meta::at(o, "/spec/volumeName").into()),
    text("Capacity", |o, _| api::meta::at(o, "/status/capacity/storage").into()),
    text("Access Modes", |o, _| modes(o, "/status/accessModes")),
    text("StorageClass", |o, _| class(o)),
    text("VolumeAttributesClass", |o, _| or(o, "/spec/volumeAttributesClassName", "<unset>")),
    AGE,
    wide("VolumeMode", |o, _| or(o, "/spec/volumeMode", "<unset>")),
];

pub(super) static CLASS: &[Column] = &[
    Column {
        cell: |o, _| {
            let default = api::meta::annotation(o, "storageclass.kubernetes.io/is-default-class") == Some("true");
            let name = api::meta::name(o);
            if default { format!("{name} (default)").into() } else { name.into() }
        },
        ..NAME
    },
    text("Provisioner", |o, _| api::meta::at(o, "/provisioner").into()),
    text("ReclaimPolicy", |o, _| or(o, "/reclaimPolicy", "Delete")),
    text("VolumeBindingMode", |o, _| or(o, "/volumeBindingMode", "Immediate")),
    text("AllowVolumeExpansion", |o, _| o.get("allowVolumeExpansion").and_then(Value::as_bool).unwrap_or(false).into()),
    AGE,
];

pub(super) static CSI_NODE: &[Column] = &[NAME, number("Drivers", |o, _| count(o, "/spec/drivers").into()), AGE];

pub(super) static CERTIFICATE_REQUEST: &[Column] = &[
    NAME,
    AGE,
    text("SignerName", |o, _| or_none(o, "/spec/signerName")),
    text("Requestor", |o, _| or_none(o, "/spec/username")),
    text("RequestedDuration", |o, _| match int(o, "/spec/expirationSeconds") {
        0 => NONE.into(),
        seconds => api::time::age(seconds).into(),
    }),
    text("Condition", |o, _| {
        let has = |kind: &str| list(o, "/status/conditions").any(|c| api::meta::at(c, "/type") == kind);
        let mut words = Vec::new();
        for kind in ["Approved", "Denied", "Failed"] {
            if has(kind) {
                words.push(kind);
            }
        }
        if words.is_empty() {
            words.push("Pending");
        }
        if !api::meta::at(o, "/status/certificate").is_empty() {
            words.push("Issued");
        }
        words.join(",").into()
    }),
];

pub(super) static API_SERVICE: &[Column] = &[
    NAME,
    text("Service", |o, _| match api::meta::at(o, "/spec/service/name") {
        "" => "Local".into(),
        name => format!("{}/{name}", api::meta::at(o, "/spec/service/namespace")).into(),
    }),
    text("Available", |o, _| {
        let found = list(o, "/status/conditions").find(|c| api::meta::at(c, "/type") == "Available");
        found.map_or("Unknown".into(), |c| api::meta::at(c, "/status").into())
    }),
    AGE,
];

pub(super) static WEBHOOKS: &[Column] = &[NAME, number("Webhooks", |o, _| count(o, "/webhooks").into()), AGE];

pub(super) static FLOW_SCHEMA: &[Column] = &[
    NAME,
    text("PriorityLevel", |o, _| api::meta::at(o, "/spec/priorityLevelConfiguration/name").into()),
    number("MatchingPrecedence", |o, _| int(o, "/spec/matchingPrecedence").into()),
    text("DistinguisherMethod", |o, _| or_none(o, "/spec/distinguisherMethod/type")),
    AGE,
];

pub(super) static PRIORITY_LEVEL: &[Column] = &[
    NAME,
    text("Type", |o, _| api::meta::at(o, "/spec/type").into()),
    text("NominalConcurrencyShares", |o, _| {
        o.pointer("/spec/limited/nominalConcurrencyShares").map_or(NONE.into(), |n| n.to_string().into())
    }),
    AGE,
];

pub(super) static RUNTIME_CLASS: &[Column] = &[NAME, text("Handler", |o, _| api::meta::at(o, "/handler").into()), AGE];

pub(super) static ATTACHMENT: &[Column] = &[
    NAME,
    text("Attacher", |o, _| api::meta::at(o, "/spec/attacher").into()),
    text("PV", |o, _| api::meta::at(o, "/spec/source/persistentVolumeName").into()),
    text("Node", |o, _| api::meta::at(o, "/spec/nodeName").into()),
    text("Attached", |o, _| o.pointer("/status/attached").and_then(Value::as_bool).unwrap_or(false).into()),
    AGE,
];

pub(super) static COMPONENT: &[Column] = &[
    NAME,
    text("Status", |o, _| {
        joined(
            list(o, "/conditions").map(|c| if api::meta::at(c, "/status") == "True" { "Healthy" } else { "Unhealthy" }),
        )
    }),
    text("Message", |o, _| joined(list(o, "/conditions").map(|c| api::meta::at(c, "/message")))),
    text("Error", |o, _| joined(list(o, "/conditions").map(|c| api::meta::at(c, "/error")))),
];
