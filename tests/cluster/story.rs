//! `docs/nginx-story.md`, shown by the audit log.

use serde_json::Value;
use tests::{Cluster, Page};

#[test]
fn who_writes_what_in_which_order() {
    let cluster = Cluster::prepared();
    Page::read("nginx-story.md").follow(&cluster, "");
    let log = cluster.directory().join("audit.log");
    let text = std::fs::read_to_string(log).unwrap();
    let lines: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let mut from = 0;
    for (user, verb, resource, subresource) in [
        ("kubernetes-admin", "create", "deployments", ""),
        ("system:serviceaccount:kube-system:deployment-controller", "create", "replicasets", ""),
        ("system:serviceaccount:kube-system:replicaset-controller", "create", "pods", ""),
        ("system:kube-scheduler", "create", "pods", "binding"),
        ("system:node:", "create", "serviceaccounts", "token"),
        ("system:node:", "patch", "pods", "status"),
        ("system:serviceaccount:kube-system:endpointslice-controller", "update", "endpointslices", ""),
    ] {
        let found = lines.iter().skip(from).position(|l| {
            let at = |pointer: &str| l.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
            at("/user/username").starts_with(user)
                && at("/verb") == verb
                && at("/objectRef/resource") == resource
                && at("/objectRef/subresource") == subresource
        });
        let step = found.unwrap_or_else(|| panic!("no line after {from}: {user} {verb} {resource}/{subresource}"));
        from += step;
    }
}
