//! Tells the apiserver where a pod goes.

use k8s_openapi::api::core::v1::{Binding, ObjectReference, Pod};
use kube::Api;
use kube::api::{ObjectMeta, PostParams};
use serde_json::Value;

use crate::pod::PodInfo;

pub(crate) async fn bind(client: &kube::Client, pod: &PodInfo, node: &str) -> kube::Result<()> {
    let binding = Binding {
        metadata: ObjectMeta {
            namespace: Some(pod.key.namespace.clone()),
            name: Some(pod.key.name.clone()),
            uid: Some(pod.uid.clone()),
            ..ObjectMeta::default()
        },
        target: ObjectReference { kind: Some("Node".into()), name: Some(node.to_owned()), ..Default::default() },
    };
    let pods = Api::<Pod>::namespaced(client.clone(), &pod.key.namespace);
    let bound: kube::Result<Value> =
        pods.create_subresource("binding", &pod.key.name, &PostParams::default(), &binding).await;
    bound.map(drop)
}
