//! ServiceAccount: every pod runs under an account and finds its token, the cluster's CA and its namespace.

use api::ApiError;
use serde_json::{Value, json};

use crate::context::Context;

const MOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const TOKEN_SECONDS: i64 = 3607;

pub(super) async fn admit(context: &Context, pod: &mut Value) -> Result<(), ApiError> {
    if api::meta::annotation(pod, "kubernetes.io/config.mirror").is_some() {
        return Ok(());
    }
    let spec = api::meta::child_mut(api::meta::map_mut(pod), "spec");
    let asked = spec.get("serviceAccountName").and_then(Value::as_str).filter(|n| !n.is_empty());
    let name = asked.unwrap_or("default").to_owned();
    spec.insert("serviceAccountName".into(), name.as_str().into());
    spec.insert("serviceAccount".into(), name.as_str().into());
    let accounts = context.server.own("", "serviceaccounts", &context.namespace)?;
    let Ok(account) = accounts.current(&name).await else {
        let why = format!(
            "error looking up service account {}/{name}: serviceaccount \"{name}\" not found",
            context.namespace
        );
        return Err(context.kind.forbidden(api::meta::name(pod), &why));
    };
    let account = account.tree()?;
    let spec = api::meta::child_mut(api::meta::map_mut(pod), "spec");
    if spec.get("imagePullSecrets").and_then(Value::as_array).is_none_or(Vec::is_empty)
        && let Some(secrets) = account.get("imagePullSecrets")
    {
        spec.insert("imagePullSecrets".into(), secrets.clone());
    }
    let flag = |v: Option<&Value>| v.and_then(Value::as_bool);
    let automount = flag(spec.get("automountServiceAccountToken"))
        .or_else(|| flag(account.get("automountServiceAccountToken")))
        .unwrap_or(true);
    if automount {
        mount_token(spec);
    }
    Ok(())
}

fn mount_token(spec: &mut serde_json::Map<String, Value>) {
    let volume = existing_volume(spec).unwrap_or_else(|| api::names::generate("kube-api-access-"));
    let mut mounted = false;
    for list in ["initContainers", "containers"] {
        for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            let mounts = api::meta::map_mut(container).entry("volumeMounts").or_insert_with(|| json!([]));
            let Some(mounts) = mounts.as_array_mut() else { continue };
            if mounts.iter().any(|m| m.get("mountPath").is_some_and(|p| p == MOUNT)) {
                continue;
            }
            mounts.push(json!({"name": volume, "readOnly": true, "mountPath": MOUNT}));
            mounted = true;
        }
    }
    if !mounted {
        return;
    }
    let volumes = spec.entry("volumes").or_insert_with(|| json!([]));
    if let Some(volumes) = volumes.as_array_mut()
        && !volumes.iter().any(|v| v.get("name").is_some_and(|n| *n == volume.as_str()))
    {
        volumes.push(token_volume(&volume));
    }
}

fn existing_volume(spec: &serde_json::Map<String, Value>) -> Option<String> {
    let volumes = spec.get("volumes").and_then(Value::as_array)?;
    volumes
        .iter()
        .filter_map(|v| v.get("name").and_then(Value::as_str))
        .find(|n| n.starts_with("kube-api-access-"))
        .map(str::to_owned)
}

fn token_volume(name: &str) -> Value {
    json!({
        "name": name,
        "projected": {"defaultMode": 420, "sources": [
            {"serviceAccountToken": {"expirationSeconds": TOKEN_SECONDS, "path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [
                {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}},
            ]}},
        ]},
    })
}
