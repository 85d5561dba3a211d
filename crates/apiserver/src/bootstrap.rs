//! The objects that every cluster has from its first start.

mod flow;
mod rbac;
mod reconcile;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use api::ApiError;
use futures::{StreamExt, TryStreamExt};
use serde_json::{Value, json};

use crate::server::Server;

/// Makes what is missing.
pub(crate) async fn run(server: &Arc<Server>) -> Result<(), ApiError> {
    for name in ["default", "kube-system", "kube-public", "kube-node-lease"] {
        ensure(server, "", "namespaces", json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}))
            .await?;
    }
    for (name, value, description) in [
        (
            "system-node-critical",
            2_000_001_000,
            "Used for system critical pods that must not be moved from their current node.",
        ),
        (
            "system-cluster-critical",
            2_000_000_000,
            "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
        ),
    ] {
        let class = json!({
            "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name},
            "value": value, "description": description, "preemptionPolicy": "PreemptLowerPriority",
        });
        ensure(server, "scheduling.k8s.io", "priorityclasses", class).await?;
    }
    let cidr = server.config.service_cidr.to_string();
    let range = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR", "metadata": {"name": "kubernetes"},
        "spec": {"cidrs": [cidr]},
    });
    ensure(server, "networking.k8s.io", "servicecidrs", range).await?;
    rbac::run(server).await?;
    ensure_all(server, "flowcontrol.apiserver.k8s.io", flow::objects()).await?;
    ensure_all(server, "apiregistration.k8s.io", api_services()).await?;
    extension_authentication(server).await?;
    cluster_info(server).await?;
    crate::rest::service::repair::run(server).await?;
    kubernetes_service(server).await?;
    dns_service(server).await
}

/// Creates an object unless one of its name is there.
pub(crate) async fn ensure(server: &Arc<Server>, group: &str, plural: &str, object: Value) -> Result<(), ApiError> {
    let context = server.own(group, plural, api::meta::namespace(&object))?;
    if context.current(api::meta::name(&object)).await.is_ok() {
        return Ok(());
    }
    match context.create(object).await {
        Err(error) if error.reason != "AlreadyExists" => Err(error),
        _ => Ok(()),
    }
}

/// How many objects are made at a time.
const AT_ONCE: usize = 64;

/// Creates the objects (plural, object) of a group that are not there.
async fn ensure_all(
    server: &Arc<Server>,
    group: &str,
    objects: impl IntoIterator<Item = (String, Value)>,
) -> Result<(), ApiError> {
    let made = objects.into_iter().map(|(plural, object)| async move { ensure(server, group, &plural, object).await });
    futures::stream::iter(made).buffer_unordered(AT_ONCE).try_collect().await
}

/// One `APIService` a group and version: served here.
fn api_services() -> Vec<(String, Value)> {
    let mut services = Vec::new();
    for (group, versions) in crate::discovery::groups() {
        for (i, version) in versions.iter().enumerate() {
            let name = format!("{version}.{group}");
            let object = json!({
                "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
                "metadata": {"name": name, "labels": {"kube-aggregator.kubernetes.io/automanaged": "onstart"}},
                "spec": {
                    "group": group, "version": version,
                    "groupPriorityMinimum": if group.is_empty() { 18_000 } else { 17_000 },
                    "versionPriority": 15 - i,
                },
                "status": {"conditions": [{
                    "type": "Available", "status": "True", "reason": "Local",
                    "message": "Local APIServices are always available",
                    "lastTransitionTime": api::time::seconds(jiff::Timestamp::now()),
                }]},
            });
            services.push(("apiservices".to_owned(), object));
        }
    }
    services
}

/// What somebody who does not trust the cluster yet may read: where it is, and its CA.
async fn cluster_info(server: &Arc<Server>) -> Result<(), ApiError> {
    use base64::Engine;
    let config = &server.config;
    let ca = base64::engine::general_purpose::STANDARD.encode(&config.client_ca);
    let address = std::net::SocketAddr::new(config.advertise_address, config.advertise_port);
    let kubeconfig = format!(
        "apiVersion: v1\nkind: Config\nclusters:\n- name: \"\"\n  cluster:\n    certificate-authority-data: {ca}\n    server: https://{address}\n"
    );
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "cluster-info", "namespace": "kube-public"},
        "data": {"kubeconfig": kubeconfig},
    });
    ensure(server, "", "configmaps", map).await
}

/// What aggregated API servers need to trust this one.
async fn extension_authentication(server: &Arc<Server>) -> Result<(), ApiError> {
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "extension-apiserver-authentication", "namespace": "kube-system"},
        "data": {"client-ca-file": server.config.client_ca},
    });
    ensure(server, "", "configmaps", map).await
}

/// The Service `kubernetes` and where it leads.
async fn kubernetes_service(server: &Arc<Server>) -> Result<(), ApiError> {
    let first = server.config.service_cidr.hosts().next().map(|ip| ip.to_string()).unwrap_or_default();
    let service = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {
            "name": "kubernetes", "namespace": "default",
            "labels": {"component": "apiserver", "provider": "kubernetes"},
        },
        "spec": {
            "type": "ClusterIP", "clusterIP": first, "sessionAffinity": "None",
            "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": server.config.advertise_port}],
        },
    });
    ensure_service(server, service).await?;
    if server.store.is_shared() {
        // Kept while it serves, beside those of the others.
        return Ok(());
    }
    crate::masters::write_endpoints(server, &BTreeSet::from([server.config.advertise_address])).await
}

/// The Service of the cluster's DNS. It leads nowhere: every node answers at this address itself, unless somebody adds a
/// selector.
async fn dns_service(server: &Arc<Server>) -> Result<(), ApiError> {
    let Some(address) = server.config.cluster_dns.filter(|ip| server.config.service_cidr.contains(ip)) else {
        return Ok(());
    };
    let service = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {
            "name": "kube-dns", "namespace": "kube-system",
            "labels": {
                "k8s-app": "kube-dns", "kubernetes.io/cluster-service": "true", "kubernetes.io/name": "CoreDNS",
            },
        },
        "spec": {
            "type": "ClusterIP", "clusterIP": address.to_string(), "sessionAffinity": "None",
            "ports": [
                {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": 53},
                {"name": "dns-tcp", "port": 53, "protocol": "TCP", "targetPort": 53},
            ],
        },
    });
    ensure_service(server, service).await
}

/// Its address may be taken: by another server that makes this Service just now, or by one that died while it did.
async fn ensure_service(server: &Arc<Server>, service: Value) -> Result<(), ApiError> {
    const ATTEMPTS: usize = 100;
    const PAUSE: Duration = Duration::from_millis(250);
    for _ in 1..ATTEMPTS {
        match ensure(server, "", "services", service.clone()).await {
            Err(error) if error.reason == "Invalid" => tracing::info!(%error, "waiting for the address of a Service"),
            other => return other,
        }
        tokio::time::sleep(PAUSE).await;
        crate::rest::service::repair::run(server).await?;
    }
    ensure(server, "", "services", service).await
}

/// Creates an object, or brings the present one to this content.
pub(crate) async fn replace(server: &Arc<Server>, group: &str, plural: &str, object: Value) -> Result<(), ApiError> {
    let context = server.own(group, plural, api::meta::namespace(&object))?;
    let name = api::meta::name(&object).to_owned();
    match context.update(&name, object.clone()).await {
        Err(error) if error.reason == "NotFound" => context.create(object).await.map(|_| ()),
        other => other.map(|_| ()),
    }
}
