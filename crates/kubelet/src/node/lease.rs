//! The node's lease: the sign that its kubelet lives.

use std::sync::Arc;
use std::time::Duration;

use client::write;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, OwnerReference};
use kube::Api;
use kube::api::{ObjectMeta, PostParams};

use crate::context::Context;

const NAMESPACE: &str = "kube-node-lease";
const WRITE: Duration = Duration::from_secs(10);

/// Renews until cancelled by dropping.
pub(crate) async fn run(context: Arc<Context>) {
    let every = context.config.node_lease_duration / 4;
    let mut known: Option<Lease> = None;
    let mut pause = Duration::from_millis(200);
    loop {
        let renewed = tokio::time::timeout(WRITE, renew(&context, known.take())).await;
        match renewed {
            Ok(Ok(lease)) => {
                known = Some(lease);
                pause = Duration::from_millis(200);
                tokio::time::sleep(every).await;
                continue;
            }
            Ok(Err(error)) => tracing::debug!(%error, "lease not renewed"),
            Err(_) => tracing::warn!("lease not renewed in time"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(7));
    }
}

async fn renew(context: &Context, known: Option<Lease>) -> kube::Result<Lease> {
    let api: Api<Lease> = Api::namespaced(context.client.clone(), NAMESPACE);
    let name = &context.config.node_name;
    let known = match known {
        Some(lease) => Some(lease),
        None => api.get_opt(name).await?,
    };
    let Some(mut lease) = known else {
        return api.create(&PostParams::default(), &fresh(context).await).await;
    };
    let spec = lease.spec.get_or_insert_default();
    spec.holder_identity = Some(name.clone());
    spec.renew_time = Some(MicroTime(Timestamp::now()));
    spec.lease_duration_seconds = i32::try_from(context.config.node_lease_duration.as_secs()).ok();
    match api.replace(name, &PostParams::default(), &lease).await {
        // Written by somebody else meanwhile: read it anew next time.
        Err(error) if write::is_conflict(&error) => {
            let fresh = api.get(name).await?;
            Ok(fresh)
        }
        other => other,
    }
}

async fn fresh(context: &Context) -> Lease {
    let name = &context.config.node_name;
    let nodes: Api<Node> = Api::all(context.client.clone());
    let owner = nodes.get_opt(name).await.ok().flatten().and_then(|node| node.metadata.uid).map(|uid| OwnerReference {
        api_version: "v1".to_owned(),
        kind: "Node".to_owned(),
        name: name.clone(),
        uid,
        ..Default::default()
    });
    Lease {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            namespace: Some(NAMESPACE.to_owned()),
            owner_references: owner.map(|owner| vec![owner]),
            ..Default::default()
        },
        spec: Some(LeaseSpec {
            holder_identity: Some(name.clone()),
            lease_duration_seconds: i32::try_from(context.config.node_lease_duration.as_secs()).ok(),
            renew_time: Some(MicroTime(Timestamp::now())),
            ..Default::default()
        }),
    }
}
