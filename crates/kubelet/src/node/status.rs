//! The status of the node as it is now.

use std::collections::BTreeMap;
use std::time::Duration;

use cri::v1::StatusRequest;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    ContainerImage, DaemonEndpoint, NodeAddress, NodeCondition, NodeDaemonEndpoints, NodeStatus,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::facts::Facts;
use crate::context::Context;
use crate::eviction::Pressure;

/// Images that a status lists.
const IMAGES: usize = 50;
/// The engine has this long to say how it is.
const QUESTION: Duration = Duration::from_secs(5);

pub(super) async fn status(context: &Context, facts: &Facts, told: &NodeStatus) -> NodeStatus {
    let now = Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default();
    let mut addresses: Vec<NodeAddress> =
        context.host_ips.iter().map(|ip| NodeAddress { type_: "InternalIP".to_owned(), address: ip.clone() }).collect();
    addresses.push(NodeAddress { type_: "Hostname".to_owned(), address: context.config.node_name.clone() });
    let port = context.config.advertise_port.unwrap_or(context.config.address.port());
    let endpoint = DaemonEndpoint { port: i32::from(port) };
    let (ready, images) = tokio::join!(ready(context), images(context));
    let mut conditions = pressure(*context.pressure.borrow());
    conditions.push(ready);
    let before = told.conditions.clone().unwrap_or_default();
    NodeStatus {
        addresses: Some(addresses),
        capacity: Some(resources(facts.cpus * 1000, facts.memory, facts.storage, facts.max_pods)),
        allocatable: Some({
            let left = facts.allocatable();
            resources(left.cpu_milli, left.memory, left.ephemeral_storage, facts.max_pods)
        }),
        conditions: Some(conditions.into_iter().map(|condition| stamp(condition, &before, now)).collect()),
        daemon_endpoints: Some(NodeDaemonEndpoints { kubelet_endpoint: Some(endpoint) }),
        node_info: Some(facts.info.clone()),
        images: Some(images),
        ..Default::default()
    }
}

fn resources(cpu_milli: i64, memory: i64, storage: i64, pods: i64) -> BTreeMap<String, Quantity> {
    let cpu = if cpu_milli % 1000 == 0 { (cpu_milli / 1000).to_string() } else { format!("{cpu_milli}m") };
    let kibi = |bytes: i64| format!("{}Ki", bytes / 1024);
    let all = [
        ("cpu", cpu),
        ("memory", kibi(memory)),
        ("ephemeral-storage", kibi(storage)),
        ("hugepages-1Gi", "0".to_owned()),
        ("hugepages-2Mi", "0".to_owned()),
        ("pods", pods.to_string()),
    ];
    all.into_iter().map(|(name, amount)| (name.to_owned(), Quantity(amount))).collect()
}

fn condition(kind: &str, status: bool, reason: &str, message: impl Into<String>) -> NodeCondition {
    NodeCondition {
        type_: kind.to_owned(),
        status: if status { "True" } else { "False" }.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.into()),
        ..Default::default()
    }
}

fn stamp(mut condition: NodeCondition, before: &[NodeCondition], now: Timestamp) -> NodeCondition {
    let before = before.iter().find(|before| before.type_ == condition.type_);
    let since = before.filter(|before| before.status == condition.status);
    condition.last_transition_time =
        Some(since.and_then(|before| before.last_transition_time.clone()).unwrap_or(Time(now)));
    condition.last_heartbeat_time = Some(Time(now));
    condition
}

fn pressure(now: Pressure) -> Vec<NodeCondition> {
    let tell = |kind: &str, short: bool, yes: (&str, &str), no: (&str, &str)| {
        let (reason, message) = if short { yes } else { no };
        condition(kind, short, reason, message)
    };
    vec![
        tell(
            "MemoryPressure",
            now.memory,
            ("KubeletHasInsufficientMemory", "kubelet has insufficient memory available"),
            ("KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        ),
        tell(
            "DiskPressure",
            now.disk,
            ("KubeletHasDiskPressure", "kubelet has disk pressure"),
            ("KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        ),
        tell(
            "PIDPressure",
            now.pids,
            ("KubeletHasInsufficientPID", "kubelet has insufficient PID available"),
            ("KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        ),
    ]
}

async fn ready(context: &Context) -> NodeCondition {
    let asked = tokio::time::timeout(QUESTION, context.engine.status(StatusRequest::default())).await;
    let not_ready = |message: String| condition("Ready", false, "KubeletNotReady", message);
    let status = match asked {
        Ok(Ok(answer)) => answer.status.unwrap_or_default(),
        Ok(Err(error)) => return not_ready(format!("container runtime is down: {error}")),
        Err(_) => return not_ready("container runtime is down".to_owned()),
    };
    for (kind, what) in
        [("RuntimeReady", "container runtime not ready"), ("NetworkReady", "container runtime network not ready")]
    {
        let found = status.conditions.iter().find(|condition| condition.r#type == kind);
        if let Some(bad) = found.filter(|condition| !condition.status) {
            let (reason, message) = (&bad.reason, &bad.message);
            return not_ready(format!("{what}: {kind}=false reason:{reason} message:{message}"));
        }
    }
    condition("Ready", true, "KubeletReady", "kubelet is posting ready status")
}

async fn images(context: &Context) -> Vec<ContainerImage> {
    let Ok(Ok(images)) = tokio::time::timeout(QUESTION, context.engine.list_images(None)).await else {
        return Vec::new();
    };
    let mut images: Vec<ContainerImage> = images
        .into_iter()
        .map(|image| ContainerImage {
            names: Some(image.repo_digests.into_iter().chain(image.repo_tags).take(5).collect()),
            size_bytes: i64::try_from(image.size).ok(),
        })
        .collect();
    images.sort_by_key(|image| std::cmp::Reverse(image.size_bytes));
    images.truncate(IMAGES);
    images
}

/// Whether something changed besides the time.
pub(super) fn differs(told: &NodeStatus, now: &NodeStatus) -> bool {
    let still = |status: &NodeStatus| {
        let mut status = status.clone();
        // What others write is none of ours.
        let own = ["MemoryPressure", "DiskPressure", "PIDPressure", "Ready"];
        let conditions = status.conditions.get_or_insert_default();
        conditions.retain(|condition| own.contains(&condition.type_.as_str()));
        conditions.sort_by(|a, b| a.type_.cmp(&b.type_));
        for condition in conditions {
            condition.last_heartbeat_time = None;
        }
        (status.addresses, status.capacity, status.allocatable, status.conditions, status.node_info, status.images)
    };
    still(told) != still(now)
}
