//! Objects of other kinds that are refused, and with what words.

use serde_json::{Value, json};

use crate::Rules;

fn rules(api_version: &str, kind: &str) -> &'static Rules {
    let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
    let all = api::catalogue::all();
    let resource = all.iter().find(|r| r.group == group && r.kind == kind).unwrap();
    crate::rules(&resource.gvk(version))
}

pub(crate) fn text(errors: &[api::field::FieldError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join(" | ")
}

/// Merges into a tree; lists item by item, null removes.
pub(crate) fn merge(into: &mut Value, patch: &Value) {
    match (into, patch) {
        (Value::Object(into), Value::Object(patch)) => {
            for (key, value) in patch {
                if value.is_null() {
                    into.remove(key);
                } else {
                    merge(into.entry(key.clone()).or_insert(Value::Null), value);
                }
            }
        }
        (Value::Array(into), Value::Array(patch)) => {
            for (i, value) in patch.iter().enumerate() {
                if into.len() <= i {
                    into.push(Value::Null);
                }
                merge(&mut into[i], value);
            }
        }
        (into, patch) => *into = patch.clone(),
    }
}

fn template() -> Value {
    json!({"metadata": {"labels": {"a": "b"}}, "spec": {"restartPolicy": "Always", "dnsPolicy": "ClusterFirst", "containers": [
        {"name": "c", "image": "i", "imagePullPolicy": "Always", "terminationMessagePolicy": "File"}]}})
}

fn deployment(spec: Value) -> Value {
    let mut all = json!({
        "selector": {"matchLabels": {"a": "b"}}, "template": template(), "replicas": 1,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 1}},
    });
    all.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    json!({"metadata": {"name": "d"}, "spec": all})
}

fn ranges(cidrs: &[&str]) -> Value {
    json!({"metadata": {"name": "r"}, "spec": {"cidrs": cidrs}})
}

/// A set whose container has something mounted.
fn stateful_set(mounted: &str, claims: Value) -> Value {
    let mut template = template();
    template["spec"]["containers"][0]["volumeMounts"] = json!([{"name": mounted, "mountPath": "/data"}]);
    json!({"metadata": {"name": "s"}, "spec": {
        "selector": {"matchLabels": {"a": "b"}}, "template": template, "serviceName": "s", "podManagementPolicy": "OrderedReady",
        "updateStrategy": {"type": "RollingUpdate"}, "volumeClaimTemplates": claims}})
}

fn service(spec: Value) -> Value {
    let mut all = json!({"type": "ClusterIP", "sessionAffinity": "None", "ports": [{"port": 80, "targetPort": 80, "protocol": "TCP"}]});
    all.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    json!({"metadata": {"name": "s"}, "spec": all})
}

#[test]
fn objects_that_pass_or_are_refused() {
    let secret = |kind: &str, data: Value| json!({"type": kind, "data": data});
    let role = |rule: Value| json!({"rules": [rule]});
    let binding = |kind: &str, subject: Value| json!({"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": "r"}, "subjects": [subject]});
    let slice = |endpoint: Value| json!({"addressType": "IPv4", "endpoints": [endpoint]});
    for (api_version, kind, object, expected) in [
        ("apps/v1", "Deployment", deployment(json!({})), ""),
        (
            "apps/v1",
            "Deployment",
            deployment(json!({"replicas": -1})),
            "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
        ),
        ("apps/v1", "Deployment", deployment(json!({"selector": null})), "spec.selector: Required value"),
        (
            "apps/v1",
            "Deployment",
            deployment(json!({"selector": {}})),
            "spec.selector: Invalid value: {}: empty selector is invalid for deployment",
        ),
        (
            "apps/v1",
            "Deployment",
            deployment(json!({"selector": {"matchLabels": {"a": "c"}}})),
            "spec.template.metadata.labels: Invalid value: {\"a\":\"b\"}: `selector` does not match template `labels`",
        ),
        (
            "apps/v1",
            "Deployment",
            deployment(json!({"strategy": {"type": "Recreate", "rollingUpdate": {}}})),
            "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'",
        ),
        ("networking.k8s.io/v1", "ServiceCIDR", ranges(&["10.1.0.0/24", "fd00::/108"]), ""),
        ("networking.k8s.io/v1", "ServiceCIDR", ranges(&[]), "spec.cidrs: Required value: at least one CIDR required"),
        (
            "networking.k8s.io/v1",
            "ServiceCIDR",
            ranges(&["10.1.0.0/24", "10.2.0.0/24"]),
            "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64",
        ),
        ("networking.k8s.io/v1", "ServiceCIDR", ranges(&["10.1.0.0"]), "spec.cidrs[0]: Invalid value: \"10.1.0.0\""),
        ("apps/v1", "StatefulSet", stateful_set("data", json!([{"metadata": {"name": "data"}, "spec": {}}])), ""),
        (
            "apps/v1",
            "StatefulSet",
            stateful_set("data", json!([])),
            "spec.template.spec.containers[0].volumeMounts[0].name: Not found: \"data\"",
        ),
        (
            "apps/v1",
            "Deployment",
            deployment(
                json!({"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": "0%"}}}),
            ),
            "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: \"0%\": may not be 0 when `maxSurge` is 0",
        ),
        (
            "apps/v1",
            "Deployment",
            deployment(json!({"progressDeadlineSeconds": 1, "minReadySeconds": 1})),
            "spec.progressDeadlineSeconds: Invalid value: 1: must be greater than minReadySeconds",
        ),
        (
            "apps/v1",
            "ReplicaSet",
            deployment(json!({"selector": {"matchExpressions": [{"key": "a", "operator": "x"}]}})),
            "spec.selector.matchExpressions[0].operator: Invalid value: \"x\": not a valid selector operator",
        ),
        ("v1", "Service", service(json!({})), ""),
        ("v1", "Service", service(json!({"ports": []})), "spec.ports: Required value"),
        ("v1", "Service", service(json!({"ports": [], "clusterIP": "None"})), ""),
        (
            "v1",
            "Service",
            service(json!({"type": "x"})),
            "spec.type: Unsupported value: \"x\": supported values: \"ClusterIP\", \"ExternalName\", \"LoadBalancer\", \"NodePort\"",
        ),
        (
            "v1",
            "Service",
            service(json!({"ports": [{"port": 0, "targetPort": 1, "protocol": "TCP"}]})),
            "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
        ),
        (
            "v1",
            "Service",
            service(json!({"ports": [{"port": 1, "targetPort": 1, "protocol": "TCP", "nodePort": 30000}]})),
            "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'",
        ),
        (
            "v1",
            "Service",
            service(
                json!({"ports": [{"port": 1, "targetPort": 1, "protocol": "TCP"}, {"name": "b", "port": 1, "targetPort": 1, "protocol": "TCP"}]}),
            ),
            "spec.ports[0].name: Required value | spec.ports[1]: Duplicate value: {\"port\":1,\"protocol\":\"TCP\"}",
        ),
        ("v1", "Service", service(json!({"type": "ExternalName"})), "spec.externalName: Required value"),
        (
            "v1",
            "Service",
            service(json!({"clusterIP": "x"})),
            "spec.clusterIPs[0]: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
        ),
        (
            "v1",
            "Service",
            service(json!({"clusterIP": "None", "type": "NodePort"})),
            "spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for NodePort services",
        ),
        (
            "v1",
            "ConfigMap",
            json!({"data": {"a b": "c"}}),
            "data[a b]: Invalid value: \"a b\": a valid config key must consist of",
        ),
        (
            "v1",
            "ConfigMap",
            json!({"data": {"a": "x".repeat(1 << 21)}}),
            "Too long: may not be more than 1048576 bytes",
        ),
        ("v1", "Secret", secret("kubernetes.io/tls", json!({"tls.crt": ""})), "data[tls.key]: Required value"),
        (
            "v1",
            "Secret",
            secret("kubernetes.io/service-account-token", json!({})),
            "metadata.annotations[kubernetes.io/service-account.name]: Required value",
        ),
        (
            "v1",
            "Node",
            json!({"spec": {"taints": [{"key": "a", "effect": "x"}]}}),
            "spec.taints[0].effect: Unsupported value: \"x\": supported values: \"NoSchedule\", \"PreferNoSchedule\", \"NoExecute\"",
        ),
        (
            "v1",
            "Endpoints",
            json!({"subsets": [{}]}),
            "subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`",
        ),
        (
            "v1",
            "Endpoints",
            json!({"subsets": [{"addresses": [{"ip": "127.0.0.1"}]}]}),
            "subsets[0].addresses[0].ip: Invalid value: \"127.0.0.1\": may not be in the loopback range (127.0.0.0/8, ::1/128)",
        ),
        (
            "v1",
            "PersistentVolumeClaim",
            json!({"spec": {}}),
            "spec.accessModes: Required value: at least 1 access mode is required | spec.resources[storage]: Required value",
        ),
        (
            "v1",
            "PersistentVolumeClaim",
            json!({"spec": {"accessModes": ["ReadWriteOncePod", "ReadWriteMany"], "dataSource": {"kind": "X", "name": "n"},
                "resources": {"requests": {"storage": "0"}}}}),
            "spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes | spec.resources[storage]: Invalid value: \"0\": must be greater than zero | spec.dataSource: Invalid value: \"X\": must be 'PersistentVolumeClaim' when referencing the default apiGroup",
        ),
        (
            "v1",
            "PersistentVolume",
            json!({"spec": {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "local": {"path": "/d"}}}),
            "spec.nodeAffinity: Required value: Local volume requires node affinity",
        ),
        (
            "v1",
            "PersistentVolume",
            json!({"spec": {"accessModes": ["Once"], "capacity": {"cpu": "1"}}}),
            "spec.accessModes: Unsupported value: \"Once\": supported values: \"ReadOnlyMany\", \"ReadWriteMany\", \"ReadWriteOnce\", \"ReadWriteOncePod\" | spec.capacity: Unsupported value: {\"cpu\":\"1\"}: supported values: \"storage\" | spec: Required value: must specify a volume type",
        ),
        (
            "storage.k8s.io/v1",
            "StorageClass",
            json!({"reclaimPolicy": "Recycle"}),
            "provisioner: Required value | reclaimPolicy: Unsupported value: \"Recycle\": supported values: \"Delete\", \"Retain\" | volumeBindingMode: Required value",
        ),
        (
            "storage.k8s.io/v1",
            "VolumeAttachment",
            json!({"spec": {"attacher": "a", "nodeName": "n", "source": {}}}),
            "spec.source: Required value: must specify exactly one of inlineVolumeSpec and persistentVolumeName",
        ),
        (
            "storage.k8s.io/v1",
            "CSINode",
            json!({"spec": {"drivers": [{"name": "d", "nodeID": "n", "allocatable": {"count": -1}}, {"name": "d", "nodeID": ""}]}}),
            "spec.drivers[0].allocatable.count: Invalid value: -1: must be greater than or equal to 0 | spec.drivers[1].nodeID: Required value | spec.drivers[1].name: Duplicate value: \"d\"",
        ),
        ("discovery.k8s.io/v1", "EndpointSlice", slice(json!({"addresses": ["10.0.0.1"]})), ""),
        (
            "discovery.k8s.io/v1",
            "EndpointSlice",
            slice(json!({"addresses": []})),
            "endpoints[0].addresses: Required value: must contain at least 1 address",
        ),
        (
            "coordination.k8s.io/v1",
            "Lease",
            json!({"spec": {"leaseDurationSeconds": 0}}),
            "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0",
        ),
        (
            "rbac.authorization.k8s.io/v1",
            "Role",
            role(json!({"verbs": ["get"], "nonResourceURLs": ["/x"]})),
            "rules[0].nonResourceURLs: Invalid value: [\"/x\"]: namespaced rules cannot apply to non-resource URLs",
        ),
        (
            "rbac.authorization.k8s.io/v1",
            "ClusterRole",
            role(json!({})),
            "rules[0].verbs: Required value: verbs must contain at least one value | rules[0].apiGroups: Required value: resource rules must supply at least one api group | rules[0].resources: Required value: resource rules must supply at least one resource",
        ),
        (
            "rbac.authorization.k8s.io/v1",
            "RoleBinding",
            binding("x", json!({"kind": "ServiceAccount", "name": "a"})),
            "roleRef.kind: Unsupported value: \"x\": supported values: \"ClusterRole\", \"Role\"",
        ),
        (
            "rbac.authorization.k8s.io/v1",
            "ClusterRoleBinding",
            binding("ClusterRole", json!({"kind": "ServiceAccount", "name": "a"})),
            "subjects[0].namespace: Required value",
        ),
        (
            "scheduling.k8s.io/v1",
            "PriorityClass",
            json!({"metadata": {"name": "a"}, "value": 2_000_000_000}),
            "value: Forbidden: maximum allowed value of a user defined priority is 1000000000",
        ),
        (
            "batch/v1",
            "CronJob",
            json!({"metadata": {"name": "a"}, "spec": {"schedule": "x", "concurrencyPolicy": "Allow", "jobTemplate": {"spec": {"template": template()}}}}),
            "spec.schedule: Invalid value: \"x\": expected exactly 5 fields, found 1: [x] | spec.jobTemplate.spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\"",
        ),
    ] {
        let found = text(&(rules(api_version, kind).validate)(&object));
        let fits = if expected.is_empty() { found.is_empty() } else { found.contains(expected) };
        assert!(fits, "{kind}: expected {expected}\nfound {found}");
    }
}

#[test]
fn changes_that_are_refused() {
    let selector = |v: &str| deployment(json!({"selector": {"matchLabels": {"a": v}}}));
    for (api_version, kind, old, new, expected) in [
        (
            "apps/v1",
            "Deployment",
            selector("b"),
            selector("c"),
            "spec.selector: Invalid value: {\"matchLabels\":{\"a\":\"c\"}}: field is immutable",
        ),
        (
            "apps/v1",
            "StatefulSet",
            json!({"spec": {"serviceName": "a"}}),
            json!({"spec": {"serviceName": "b"}}),
            "spec: Forbidden: updates to statefulset spec for fields other than 'replicas'",
        ),
        (
            "networking.k8s.io/v1",
            "ServiceCIDR",
            ranges(&["10.1.0.0/24"]),
            ranges(&["10.2.0.0/24"]),
            "spec.cidrs: Invalid value: [\"10.2.0.0/24\"]: field is immutable",
        ),
        ("networking.k8s.io/v1", "ServiceCIDR", ranges(&["10.1.0.0/24"]), ranges(&["10.1.0.0/24", "fd00::/108"]), ""),
        (
            "v1",
            "Service",
            service(json!({"clusterIP": "10.0.0.1"})),
            service(json!({"clusterIP": "10.0.0.2"})),
            "spec.clusterIPs[0]: Invalid value: [\"10.0.0.2\"]: may not change once set",
        ),
        (
            "v1",
            "PersistentVolumeClaim",
            json!({"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "2Gi"}}},
                "status": {"phase": "Bound", "capacity": {"storage": "1Gi"}}}),
            json!({"spec": {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}},
                "status": {"phase": "Bound"}}),
            "spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims\nchanged: spec.accessModes | spec.resources.requests.storage: Forbidden: field can not be less than status.capacity",
        ),
        (
            "v1",
            "PersistentVolumeClaim",
            json!({"spec": {"volumeMode": "Filesystem"}}),
            json!({"spec": {"volumeMode": "Filesystem", "volumeName": "v", "storageClassName": "c"}}),
            "",
        ),
        (
            "v1",
            "PersistentVolume",
            json!({"spec": {"local": {"path": "/a"}, "nodeAffinity": {"required": {}}}}),
            json!({"spec": {"local": {"path": "/b"}}}),
            "spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after creation | nodeAffinity: Invalid value: null: field is immutable",
        ),
        (
            "storage.k8s.io/v1",
            "StorageClass",
            json!({"provisioner": "a", "reclaimPolicy": "Delete", "volumeBindingMode": "Immediate"}),
            json!({"provisioner": "b", "reclaimPolicy": "Retain", "volumeBindingMode": "Immediate", "parameters": {"a": "b"}}),
            "parameters: Forbidden: updates to parameters are forbidden. | provisioner: Forbidden: updates to provisioner are forbidden. | reclaimPolicy: Forbidden: updates to reclaimPolicy are forbidden.",
        ),
        (
            "storage.k8s.io/v1",
            "CSINode",
            json!({"spec": {"drivers": [{"name": "d", "nodeID": "n"}]}}),
            json!({"spec": {"drivers": [{"name": "d", "nodeID": "n", "allocatable": {"count": 3}}]}}),
            "",
        ),
        (
            "v1",
            "Secret",
            json!({"type": "Opaque"}),
            json!({"type": "x"}),
            "type: Invalid value: \"x\": field is immutable",
        ),
        (
            "v1",
            "ConfigMap",
            json!({"immutable": true, "data": {}}),
            json!({"data": {"a": "b"}}),
            "immutable: Forbidden: field is immutable when `immutable` is set | data: Forbidden: field is immutable when `immutable` is set",
        ),
        (
            "v1",
            "Node",
            json!({"spec": {"podCIDRs": ["10.0.0.0/24"]}}),
            json!({"spec": {"podCIDRs": ["10.0.1.0/24"]}}),
            "spec.podCIDRs: Forbidden: node updates may not change podCIDR except from \"\" to valid",
        ),
        (
            "rbac.authorization.k8s.io/v1",
            "RoleBinding",
            json!({"roleRef": {"name": "a"}}),
            json!({"roleRef": {"name": "b"}}),
            "roleRef: Invalid value: {\"name\":\"b\"}: cannot change roleRef",
        ),
        (
            "discovery.k8s.io/v1",
            "EndpointSlice",
            json!({"addressType": "IPv4"}),
            json!({"addressType": "IPv6"}),
            "addressType: Invalid value: \"IPv6\": field is immutable",
        ),
        (
            "batch/v1",
            "Job",
            json!({"spec": {"completions": 1}}),
            json!({"spec": {"completions": 2}}),
            "spec.completions: Invalid value: 2: field is immutable",
        ),
    ] {
        let found = text(&(rules(api_version, kind).validate_update)(&new, &old));
        assert!(found.contains(expected), "{kind}: expected {expected}\nfound {found}");
    }
}

#[test]
fn an_update_keeps_the_address_and_leaves_node_ports() {
    let port = json!([{"port": 80, "nodePort": 30000}]);
    let old = json!({"spec": {"type": "NodePort", "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"], "ports": port, "externalTrafficPolicy": "Cluster"}});
    let mut new = json!({"spec": {"type": "ClusterIP", "ports": port, "externalTrafficPolicy": "Cluster"}});
    (rules("v1", "Service").prepare_update)(&mut new, &old);
    assert_eq!(
        new,
        json!({"spec": {"type": "ClusterIP", "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"], "ports": [{"port": 80}]}})
    );
}
