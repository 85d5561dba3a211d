//! Pods that are refused, and with what words. Each case merges a fragment of spec into a good pod.

use serde_json::{Value, json};

use super::*;
use crate::tests::merge;

fn good() -> Value {
    let mut pod = json!({"metadata": {"name": "p"}, "spec": {
        "restartPolicy": "Always", "dnsPolicy": "ClusterFirst", "terminationGracePeriodSeconds": 30,
        "volumes": [{"name": "v", "emptyDir": {}}],
        "containers": [{
            "name": "c", "image": "i:1", "terminationMessagePolicy": "File",
            "volumeMounts": [{"name": "v", "mountPath": "/v"}],
        }],
    }});
    default(&mut pod);
    pod
}

fn with(fragment: &Value) -> Value {
    let mut pod = good();
    merge(&mut pod, &json!({"spec": fragment}));
    pod
}

fn said(errors: &Errors) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join(" | ")
}

fn container(fragment: Value) -> Value {
    json!({"containers": [fragment]})
}

#[test]
fn a_good_pod_passes() {
    assert_eq!(said(&validate(&good())), "");
    let rich = with(&json!({
        "tolerations": [{"operator": "Exists"}, {"key": "a", "operator": "Equal", "value": "b", "effect": "NoExecute", "tolerationSeconds": 3}],
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
            {"matchExpressions": [{"key": "a", "operator": "Gt", "values": ["1"]}]}]}}},
        "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}],
        "initContainers": [{"name": "s", "image": "i", "imagePullPolicy": "Always", "terminationMessagePolicy": "File", "restartPolicy": "Always",
            "startupProbe": {"exec": {"command": ["true"]}}}],
        "containers": [{
            "env": [{"name": "A", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.labels['a']"}}}],
            "envFrom": [{"configMapRef": {"name": "c"}}],
            "resources": {"requests": {"cpu": "1", "example.com/x": "1"}, "limits": {"cpu": "1", "example.com/x": "1"}},
            "ports": [{"containerPort": 80, "protocol": "TCP", "name": "http"}],
            "livenessProbe": {"httpGet": {"path": "/", "port": "http", "scheme": "HTTP"}},
            "lifecycle": {"preStop": {"sleep": {"seconds": 1}}},
        }],
    }));
    assert_eq!(said(&validate(&rich)), "");
}

/// Each fragment of a container is refused with such words.
fn refused_in_containers(cases: &[(Value, &str)]) {
    for (fragment, expected) in cases {
        let text = said(&validate(&with(&container(fragment.clone()))));
        assert!(text.contains(expected), "{fragment}: {text}");
    }
}

#[test]
fn names_and_environments_of_containers_that_are_refused() {
    refused_in_containers(&[
        (json!({"name": ""}), "spec.containers[0].name: Required value"),
        (json!({"name": "A"}), "spec.containers[0].name: Invalid value: \"A\": a lowercase RFC 1123 label must"),
        (json!({"image": ""}), "spec.containers[0].image: Required value"),
        (
            json!({"image": " a"}),
            "spec.containers[0].image: Invalid value: \" a\": must not have leading or trailing whitespace",
        ),
        (
            json!({"imagePullPolicy": "x"}),
            "spec.containers[0].imagePullPolicy: Unsupported value: \"x\": supported values: \"Always\", \"IfNotPresent\", \"Never\"",
        ),
        (json!({"ports": [{"protocol": "TCP"}]}), "spec.containers[0].ports[0].containerPort: Required value"),
        (
            json!({"ports": [{"containerPort": 70000, "protocol": "TCP"}]}),
            "spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
        ),
        (
            json!({"ports": [{"containerPort": 1, "protocol": "X"}]}),
            "spec.containers[0].ports[0].protocol: Unsupported value: \"X\": supported values: \"SCTP\", \"TCP\", \"UDP\"",
        ),
        (
            json!({"ports": [{"containerPort": 1, "protocol": "TCP", "name": "9"}]}),
            "spec.containers[0].ports[0].name: Invalid value: \"9\": must contain at least one letter (a-z)",
        ),
        (
            json!({"env": [{"name": "a=b"}]}),
            "spec.containers[0].env[0].name: Invalid value: \"a=b\": a valid environment variable name",
        ),
        (
            json!({"env": [{"name": "a", "valueFrom": {}}]}),
            "spec.containers[0].env[0].valueFrom: Invalid value: \"\": must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`",
        ),
        (
            json!({"env": [{"name": "a", "value": "x", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]}),
            "valueFrom: Invalid value: \"\": may not be specified when `value` is not empty",
        ),
        (
            json!({"env": [{"name": "a", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "spec.x"}}}]}),
            "error converting fieldPath: field label not supported: spec.x",
        ),
        (
            json!({"env": [{"name": "a", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "status.phase"}}}]}),
            "fieldRef.fieldPath: Unsupported value: \"status.phase\": supported values: \"metadata.name\"",
        ),
    ]);
}

#[test]
fn resources_and_mounts_of_containers_that_are_refused() {
    refused_in_containers(&[
        (
            json!({"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}}),
            "spec.containers[0].resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1",
        ),
        (
            json!({"resources": {"requests": {"cpu": "-1"}}}),
            "spec.containers[0].resources.requests[cpu]: Invalid value: \"-1\": must be greater than or equal to 0",
        ),
        (
            json!({"resources": {"requests": {"disks": "1"}}}),
            "resources.requests[disks]: Invalid value: \"disks\": must be a standard resource type or fully qualified",
        ),
        (json!({"volumeMounts": [{"name": "w"}]}), "spec.containers[0].volumeMounts[0].name: Not found: \"w\""),
        (json!({"volumeMounts": [{"mountPath": ""}]}), "spec.containers[0].volumeMounts[0].mountPath: Required value"),
        (json!({"volumeMounts": [{"subPath": "../x"}]}), "subPath: Invalid value: \"../x\": must not contain '..'"),
    ]);
}

#[test]
fn probes_and_privileges_of_containers_that_are_refused() {
    refused_in_containers(&[
        (json!({"livenessProbe": {}}), "spec.containers[0].livenessProbe: Required value: must specify a handler type"),
        (
            json!({"livenessProbe": {"exec": {"command": ["a"]}, "tcpSocket": {"port": 1}}}),
            "livenessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type",
        ),
        (
            json!({"livenessProbe": {"exec": {"command": ["a"]}, "successThreshold": 2}}),
            "livenessProbe.successThreshold: Invalid value: 2: must be 1",
        ),
        (
            json!({"readinessProbe": {"exec": {"command": ["a"]}, "periodSeconds": -1}}),
            "readinessProbe.periodSeconds: Invalid value: -1: must be greater than or equal to 0",
        ),
        (
            json!({"securityContext": {"runAsUser": -1}}),
            "securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive",
        ),
        (
            json!({"securityContext": {"privileged": true, "allowPrivilegeEscalation": false}}),
            "cannot set `allowPrivilegeEscalation` to false and `privileged` to true",
        ),
    ]);
}

#[test]
fn specs_that_are_refused() {
    let two = json!({"containers": [{}, {"name": "c", "image": "i", "imagePullPolicy": "Always", "terminationMessagePolicy": "File"}]});
    for (fragment, expected) in [
        (json!({"containers": null}), "spec.containers: Required value"),
        (two, "spec.containers[1].name: Duplicate value: \"c\""),
        (
            json!({"restartPolicy": "x"}),
            "spec.restartPolicy: Unsupported value: \"x\": supported values: \"Always\", \"Never\", \"OnFailure\"",
        ),
        (
            json!({"dnsPolicy": "None"}),
            "spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None",
        ),
        (
            json!({"dnsConfig": {"nameservers": ["a"]}}),
            "spec.dnsConfig.nameservers[0]: Invalid value: \"a\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
        ),
        (
            json!({"activeDeadlineSeconds": 0}),
            "spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive",
        ),
        (json!({"nodeSelector": {"a b": "c"}}), "spec.nodeSelector: Invalid value: \"a b\": name part must consist"),
        (json!({"volumes": [{"emptyDir": null}]}), "spec.volumes[0]: Required value: must specify a volume type"),
        (json!({"volumes": [{"hostPath": {"path": "/"}}]}), "Forbidden: may not specify more than 1 volume type"),
        (json!({"volumes": [{}, {"name": "v", "emptyDir": {}}]}), "spec.volumes[1].name: Duplicate value: \"v\""),
        (json!({"volumes": [{"emptyDir": null, "secret": {}}]}), "spec.volumes[0].secret.secretName: Required value"),
        (
            json!({"tolerations": [{"key": "a", "operator": "Exists", "value": "b"}]}),
            "value must be empty when `operator` is 'Exists'",
        ),
        (
            json!({"tolerations": [{"operator": "Equal"}]}),
            "spec.tolerations[0].operator: Invalid value: \"Equal\": operator must be Exists when `key` is empty",
        ),
        (json!({"tolerations": [{"key": "a", "effect": "x"}]}), "spec.tolerations[0].effect: Unsupported value: \"x\""),
        (
            json!({"topologySpreadConstraints": [{"maxSkew": 0, "topologyKey": "", "whenUnsatisfiable": "x"}]}),
            "maxSkew: Invalid value: 0: must be greater than zero | spec.topologySpreadConstraints[0].topologyKey: Required value: can not be empty",
        ),
        (
            json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {}}}}),
            "nodeSelectorTerms: Required value: must have at least one node selector term",
        ),
        (
            json!({"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": ""}]}}}),
            "topologyKey: Required value: can not be empty",
        ),
        (
            json!({"initContainers": [{"name": "i", "image": "i", "imagePullPolicy": "Always", "terminationMessagePolicy": "File", "lifecycle": {}}]}),
            "spec.initContainers[0].lifecycle: Forbidden: may not be set for init containers without restartPolicy=Always",
        ),
        (
            json!({"hostNetwork": true, "containers": [{"ports": [{"containerPort": 1, "hostPort": 2, "protocol": "TCP"}]}]}),
            "spec.containers[0].ports[0].containerPort: Invalid value: 1: must match `hostPort` when `hostNetwork` is true",
        ),
        (
            json!({"hostPID": true, "shareProcessNamespace": true}),
            "ShareProcessNamespace and HostPID cannot both be enabled",
        ),
        (json!({"schedulingGates": [{"name": "a b"}]}), "spec.schedulingGates[0]: Invalid value: \"a b\""),
    ] {
        let text = said(&validate(&with(&fragment)));
        assert!(text.contains(expected), "{fragment}: {text}");
    }
}

#[test]
fn what_an_update_may_change() {
    let old = with(&json!({"activeDeadlineSeconds": 10, "tolerations": [{"key": "a", "operator": "Exists"}]}));
    for (fragment, expected) in [
        (json!({}), ""),
        (json!({"containers": [{"image": "other"}]}), ""),
        (json!({"activeDeadlineSeconds": 5}), ""),
        (json!({"tolerations": [{"tolerationSeconds": 3}, {"key": "b", "operator": "Exists"}]}), ""),
        (json!({"activeDeadlineSeconds": 11}), "must be less than or equal to previous value"),
        (json!({"activeDeadlineSeconds": null}), "must not update from a positive integer to nil value"),
        (
            json!({"tolerations": [{"key": "c"}]}),
            "spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds",
        ),
        (
            json!({"nodeName": "n"}),
            "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`",
        ),
        (json!({"containers": [{"command": ["x"]}]}), "spec: Forbidden: pod updates may not change"),
        (
            json!({"containers": [{}, {"name": "d"}]}),
            "spec.containers: Forbidden: pod updates may not add or remove containers",
        ),
        (json!({"schedulingGates": [{"name": "g"}]}), "only deletion is allowed, but found new scheduling gate 'g'"),
    ] {
        let mut new = old.clone();
        merge(&mut new, &json!({"spec": fragment}));
        let text = said(&update::validate(&new, &old));
        assert!(if expected.is_empty() { text.is_empty() } else { text.contains(expected) }, "{fragment}: {text}");
    }
}

#[test]
fn a_gated_pod_is_narrowed_and_released() {
    let old = with(&json!({"schedulingGates": [{"name": "g"}], "nodeSelector": {"a": "b"}}));
    let change = |fragment: Value| {
        let mut new = old.clone();
        merge(&mut new, &json!({"spec": fragment}));
        said(&update::validate(&new, &old))
    };
    assert_eq!(change(json!({"nodeSelector": {"c": "d"}, "schedulingGates": null})), "");
    assert!(
        change(json!({"nodeSelector": {"a": "x"}})).contains("only additions are allowed (no mutations or deletions)")
    );
}

#[test]
fn doors_change_their_own_fields_only() {
    let old = good();
    let mut new = with(&json!({"nodeName": "x", "ephemeralContainers": [{"name": "e"}]}));
    update::through_door("ephemeralcontainers", &mut new, &old);
    assert_eq!(new.pointer("/spec/nodeName"), None);
    assert_eq!(said(&update::validate_ephemeral(&new, &old)), "");
    assert!(
        said(&update::validate_ephemeral(&old, &new))
            .contains("existing ephemeral containers \"e\" may not be removed")
    );
    let mut resized =
        with(&json!({"hostname": "x", "containers": [{"image": "y", "resources": {"requests": {"cpu": "1"}}}]}));
    update::through_door("resize", &mut resized, &old);
    assert_eq!(resized.pointer("/spec/containers/0/image"), Some(&json!("i:1")));
    assert_eq!(resized.pointer("/spec/containers/0/resources/requests/cpu"), Some(&json!("1")));
    assert!(
        said(&update::validate_resize(&resized, &old)).contains("Pod QOS Class may not change as a result of resizing")
    );
}
