//! The node authorizer: a kubelet reads what the pods on its node need, and writes its own node, lease and pods.
//!
//! <https://kubernetes.io/docs/reference/access-authn-authz/node/>

use std::sync::Arc;

use api::ApiError;
use client::ingress::Classes;
use k8s_openapi::api::networking::v1::IngressClass;
use serde_json::Value;

use crate::context::User;
use crate::kind::Kind;
use crate::registry::list::Selection;
use crate::request::ResourceRequest;
use crate::server::Server;

/// Whether the kubelet of `node` may do this.
pub(crate) async fn allowed(server: &Arc<Server>, node: &str, r: &ResourceRequest) -> bool {
    let reads = matches!(r.verb, "get" | "list" | "watch");
    match (r.group.as_str(), r.resource.as_str(), r.subresource.as_str()) {
        ("", "secrets", "") => {
            // A list or watch of one object by field selector names it nowhere in the path.
            let named = reads && !r.name.is_empty();
            named
                && (needs(server, node, &r.resource, &r.namespace, &r.name).await
                    || shows(server, &r.namespace, &r.name).await)
        }
        ("", "configmaps" | "persistentvolumeclaims", "") => {
            reads && !r.name.is_empty() && needs(server, node, &r.resource, &r.namespace, &r.name).await
        }
        ("", "serviceaccounts", "token") => {
            r.verb == "create" && needs(server, node, "serviceaccounts", &r.namespace, &r.name).await
        }
        ("", "serviceaccounts", "") => {
            r.verb == "get" && needs(server, node, "serviceaccounts", &r.namespace, &r.name).await
        }
        ("", "nodes", "" | "status") => match r.verb {
            "create" => true,
            "get" | "list" | "watch" => true,
            "update" | "patch" => r.name == node,
            // More than upstream's: a machine that leaves takes itself out.
            "delete" => r.name == node && r.subresource.is_empty() && is_unmarked(server, node).await,
            _ => false,
        },
        ("", "pods", "") => reads || matches!(r.verb, "create" | "delete"),
        ("", "pods", "status") => matches!(r.verb, "get" | "update" | "patch"),
        ("", "pods", "eviction") => r.verb == "create",
        ("", "services", "") => reads,
        ("", "events", "") | ("events.k8s.io", "events", "") => matches!(r.verb, "create" | "update" | "patch"),
        // Besides reading: a node says that the data of one of its own volumes is gone.
        ("", "persistentvolumes", "") => reads || (r.verb == "patch" && holds(server, node, &r.name).await),
        ("storage.k8s.io", "csidrivers" | "volumeattachments" | "storageclasses", "") => reads,
        ("storage.k8s.io", "csinodes", "") => r.name == node || r.verb == "create",
        ("coordination.k8s.io", "leases", "") => {
            r.namespace == "kube-node-lease" && (r.name == node || r.verb == "create")
        }
        ("node.k8s.io", "runtimeclasses", "") => reads,
        ("authentication.k8s.io", "tokenreviews", "") => r.verb == "create",
        ("authorization.k8s.io", "subjectaccessreviews" | "localsubjectaccessreviews", "") => r.verb == "create",
        ("certificates.k8s.io", "certificatesigningrequests", "") => reads || r.verb == "create",
        ("certificates.k8s.io", "clustertrustbundles", "") => reads,
        ("resource.k8s.io", "resourceslices" | "resourceclaims" | "deviceclasses", "") => reads,
        _ => false,
    }
}

/// Labels that only others may give to a node.
const OTHERS_LABELS: &str = "node-restriction.kubernetes.io/";

/// Whether a node carries no mark of others', which it would lose by deleting itself and registering anew.
async fn is_unmarked(server: &Arc<Server>, node: &str) -> bool {
    let Ok(nodes) = server.own("", "nodes", "") else { return false };
    nodes.current(node).await.and_then(|object| object.tree()).is_ok_and(|node| unmarked(&node))
}

/// Taints that the cluster sets by itself come again by themselves.
fn unmarked(node: &Value) -> bool {
    let labels = api::meta::of(node).and_then(|m| m.get("labels")).and_then(Value::as_object);
    let restricted = labels.into_iter().flatten().any(|(key, _)| key.contains(OTHERS_LABELS));
    let foreign = |taint: &Value| {
        let key = api::meta::at(taint, "/key");
        !key.starts_with("node.kubernetes.io/") || key == "node.kubernetes.io/unschedulable"
    };
    let taints = node.pointer("/spec/taints").and_then(Value::as_array);
    !restricted && !taints.into_iter().flatten().any(foreign)
}

/// The label of volumes that are folders of a node.
const LOCAL_NODE: &str = "local-path.oxikube.io/node";
/// What holds such a volume until its node has removed the folder.
const LOCAL_FINALIZER: &str = "oxikube.io/local-path";

/// Whether the volume is a folder of this node.
async fn holds(server: &Arc<Server>, node: &str, name: &str) -> bool {
    let Ok(volumes) = server.own("", "persistentvolumes", "") else { return false };
    let Ok(volume) = volumes.current(name).await.and_then(|object| object.tree()) else { return false };
    local_node(&volume) == Some(node)
}

fn local_node(volume: &Value) -> Option<&str> {
    api::meta::of(volume)?.get("labels")?.get(LOCAL_NODE)?.as_str()
}

/// Whether all that changes is that the node lets go of a volume that is being deleted.
fn lets_go(new: &Value, old: &Value) -> bool {
    let rest = |volume: &Value| {
        let mut rest = volume.clone();
        let metadata = api::meta::of_mut(&mut rest);
        metadata.remove("managedFields");
        metadata.remove("resourceVersion");
        let finalizers = metadata.remove("finalizers").and_then(|list| list.as_array().cloned()).unwrap_or_default();
        (rest, finalizers)
    };
    let ((new, kept), (old, mut had)) = (rest(new), rest(old));
    had.retain(|finalizer| finalizer != LOCAL_FINALIZER);
    api::meta::is_deleting(&old) && new == old && kept == had
}

/// Whether the gateway, which is on every node, shows the certificate in this Secret.
async fn shows(server: &Arc<Server>, namespace: &str, secret: &str) -> bool {
    if namespace.is_empty() {
        return false;
    }
    let mut ingresses = trees(server, "ingresses", namespace).await;
    ingresses.retain(|ingress| names_secret(ingress, secret));
    if ingresses.is_empty() {
        return false;
    }
    let classes = trees(server, "ingressclasses", "").await.into_iter();
    let classes = classes.filter_map(|class| serde_json::from_value::<IngressClass>(class).ok());
    let classes = Classes::of(classes);
    let mut ingresses = ingresses.into_iter().filter_map(|ingress| serde_json::from_value(ingress).ok());
    ingresses.any(|ingress| classes.serve(&ingress))
}

/// The objects of a kind about ingress; none when they cannot be read.
async fn trees(server: &Arc<Server>, plural: &str, namespace: &str) -> Vec<Value> {
    let Ok(kind) = server.own("networking.k8s.io", plural, namespace) else { return Vec::new() };
    let Ok(objects) = kind.select(&Selection::default()).await else { return Vec::new() };
    objects.iter().filter_map(|object| object.tree().ok()).collect()
}

fn names_secret(ingress: &Value, secret: &str) -> bool {
    let shown = |spec| array(spec, "tls").any(|tls| tls.get("secretName").is_some_and(|name| name == secret));
    ingress.get("spec").is_some_and(shown)
}

/// Whether a pod bound to the node refers to this object.
async fn needs(server: &Arc<Server>, node: &str, resource: &str, namespace: &str, name: &str) -> bool {
    if namespace.is_empty() || name.is_empty() {
        return false;
    }
    let Ok(pods) = server.own("", "pods", namespace) else { return false };
    let selection = Selection {
        fields: api::selector::FieldSelector { terms: vec![("spec.nodeName".into(), node.into(), true)] },
        ..Selection::default()
    };
    let Ok(objects) = pods.select(&selection).await else { return false };
    objects.iter().filter_map(|o| o.tree().ok()).any(|pod| refers(&pod, resource, name))
}

/// Whether a pod's spec names the object.
fn refers(pod: &Value, resource: &str, name: &str) -> bool {
    let Some(spec) = pod.get("spec") else { return false };
    match resource {
        "serviceaccounts" => spec.get("serviceAccountName").is_some_and(|n| n == name),
        "persistentvolumeclaims" => {
            volumes(spec).any(|v| v.pointer("/persistentVolumeClaim/claimName").is_some_and(|n| n == name))
                || volumes(spec).any(|v| {
                    v.get("ephemeral").is_some()
                        && format!("{}-{}", api::meta::name(pod), api::meta::at(v, "/name")) == name
                })
        }
        "configmaps" => {
            volumes(spec).any(|v| v.pointer("/configMap/name").is_some_and(|n| n == name))
                || projected(spec).any(|s| s.pointer("/configMap/name").is_some_and(|n| n == name))
                || environment(spec, "configMapRef", "configMapKeyRef", name)
        }
        _ => {
            volumes(spec).any(|v| secret_volume(v, name))
                || projected(spec).any(|s| s.pointer("/secret/name").is_some_and(|n| n == name))
                || array(spec, "imagePullSecrets").any(|s| s.get("name").is_some_and(|n| n == name))
                || environment(spec, "secretRef", "secretKeyRef", name)
        }
    }
}

fn secret_volume(volume: &Value, name: &str) -> bool {
    volume.pointer("/secret/secretName").is_some_and(|n| n == name)
        || volume.as_object().into_iter().flatten().any(|(_, source)| {
            ["secretRef", "nodePublishSecretRef"]
                .iter()
                .any(|field| source.get(field).and_then(|r| r.get("name")).is_some_and(|n| n == name))
        })
}

fn array<'a>(value: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> {
    value.get(field).and_then(Value::as_array).into_iter().flatten()
}

fn volumes(spec: &Value) -> impl Iterator<Item = &Value> {
    array(spec, "volumes")
}

fn projected(spec: &Value) -> impl Iterator<Item = &Value> {
    volumes(spec).filter_map(|v| v.get("projected")).flat_map(|p| array(p, "sources"))
}

fn environment(spec: &Value, all: &str, key: &str, name: &str) -> bool {
    let containers = ["containers", "initContainers", "ephemeralContainers"].into_iter().flat_map(|c| array(spec, c));
    let named = |v: Option<&Value>| v.and_then(|r| r.get("name")).is_some_and(|n| n == name);
    containers.into_iter().any(|c| {
        array(c, "envFrom").any(|e| named(e.get(all)))
            || array(c, "env").any(|e| named(e.get("valueFrom").and_then(|f| f.get(key))))
    })
}

/// NodeRestriction: what a kubelet may not write although the authorizer lets it write the kind.
pub(crate) fn restrict(
    user: &User,
    kind: &Kind,
    subresource: &str,
    new: Option<&Value>,
    old: Option<&Value>,
) -> Result<(), ApiError> {
    let Some(node) = user.node_name() else { return Ok(()) };
    let object = new.or(old);
    let name = object.map(api::meta::name).unwrap_or_default();
    match (kind.resource.plural, subresource) {
        ("nodes", _) if name != node => {
            Err(kind.forbidden(name, &format!("node \"{node}\" is not allowed to modify node \"{name}\"")))
        }
        ("pods", "") if new.is_some() && old.is_none() => {
            let mirror = object.and_then(|p| api::meta::annotation(p, "kubernetes.io/config.mirror")).is_some();
            let own = object.is_some_and(|p| api::meta::at(p, "/spec/nodeName") == node);
            if mirror && own {
                Ok(())
            } else {
                let why = format!(
                    "pod does not have \"kubernetes.io/config.mirror\" annotation, node \"{node}\" can only create mirror pods"
                );
                Err(kind.forbidden(name, &why))
            }
        }
        ("persistentvolumes", _) if !new.zip(old).is_some_and(|(new, old)| lets_go(new, old)) => {
            let why = format!("node \"{node}\" may only say that the data of a deleted volume is gone");
            Err(kind.forbidden(name, &why))
        }
        ("pods", _) if object.is_some_and(|p| api::meta::at(p, "/spec/nodeName") != node) => {
            let why = format!("node \"{node}\" can only update pods bound to itself");
            Err(kind.forbidden(name, &why))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_node_that_others_marked_does_not_take_itself_out() {
        let node = |labels: Value, key: &str| json!({"metadata": {"name": "n", "labels": labels}, "spec": {"taints": [{"key": key}]}});
        assert!(unmarked(&json!({"metadata": {"name": "n"}})));
        assert!(unmarked(&node(json!({"a": "b"}), "node.kubernetes.io/not-ready")));
        assert!(!unmarked(&node(json!({}), "node.kubernetes.io/unschedulable")), "cordoned");
        assert!(!unmarked(&node(json!({}), "example.com/gpu")));
        assert!(!unmarked(&node(json!({"x.node-restriction.kubernetes.io/y": ""}), "node.kubernetes.io/not-ready")));
    }

    #[test]
    fn an_ingress_names_its_certificates() {
        let ingress = json!({"spec": {"tls": [{"hosts": ["a"]}, {"secretName": "web-tls"}]}});
        assert!(names_secret(&ingress, "web-tls"));
        assert!(!names_secret(&ingress, "web") && !names_secret(&ingress, ""));
    }

    #[test]
    fn a_node_only_lets_go_of_deleted_volumes() {
        let volume = |finalizers: Value, path: &str, deleted: bool| {
            let at = deleted.then_some("2026-01-01T00:00:00Z");
            json!({"metadata": {"name": "v", "finalizers": finalizers, "deletionTimestamp": at,
                "labels": {LOCAL_NODE: "n"}}, "spec": {"local": {"path": path}}})
        };
        let old = volume(json!(["a", LOCAL_FINALIZER]), "/d", true);
        assert_eq!(local_node(&old), Some("n"));
        assert!(lets_go(&volume(json!(["a"]), "/d", true), &old));
        assert!(!lets_go(&volume(json!([]), "/d", true), &old), "not the finalizer of somebody else");
        assert!(!lets_go(&volume(json!(["a"]), "/e", true), &old));
        let kept = volume(json!(["a", LOCAL_FINALIZER]), "/d", false);
        assert!(!lets_go(&volume(json!(["a"]), "/d", false), &kept));
    }
}
