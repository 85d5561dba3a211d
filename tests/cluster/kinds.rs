//! Objects of many kinds, as real kubectl makes and shows them.

use serde_json::json;
use tests::Cluster;

#[test]
fn kubectl_makes_objects_of_many_kinds() {
    let cluster = Cluster::prepared();
    cluster.up(&[]);
    for command in [
        "create job pi --image=pi:1 -- true",
        "create cronjob tick --image=pi:1 --schedule=*/5_*_*_*_*",
        "create deployment web --image=web:1 --replicas=0",
        "autoscale deployment web --min=1 --max=3 --cpu=50%",
        "create service clusterip plain --tcp=80:8080",
        "create service nodeport outside --tcp=80:8080",
        "create service externalname far --external-name=example.com",
        "create ingress front --rule=example.com/*=plain:80",
        "create priorityclass high --value=1000",
        "create poddisruptionbudget spare --selector=a=b --min-available=1",
        "create secret docker-registry registry --docker-username=a --docker-password=b",
        "create role reader --verb=get --resource=pods",
        "create quota all --hard=pods=10",
    ] {
        let words: Vec<String> = command.split(' ').map(|w| w.replace('_', " ")).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        cluster.kubectl(&words).must();
    }
    let job = cluster.get(&["job", "pi"]).unwrap();
    let selector = &job["spec"]["selector"]["matchLabels"]["batch.kubernetes.io/controller-uid"];
    assert_eq!(selector, &job["metadata"]["uid"]);
    assert_eq!(job["spec"]["completionMode"], "NonIndexed");
    let scaler = cluster.get(&["horizontalpodautoscalers.v1.autoscaling", "web"]).unwrap();
    assert_eq!(scaler["spec"]["targetCPUUtilizationPercentage"], 50);
    cluster.apply(
        "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: disk}\n\
         spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}\n",
    );
    assert_eq!(cluster.get(&["pvc", "disk"]).unwrap()["status"], json!({"phase": "Pending"}));
    assert_eq!(cluster.kubectl(&["get", "componentstatuses"]).must(), "");
    cluster.kubectl(&["delete", "service", "plain", "outside", "far"]).must();
}

#[test]
fn events_have_two_faces() {
    let cluster = Cluster::prepared();
    cluster.up(&[]);
    cluster.apply(
        "apiVersion: events.k8s.io/v1\nkind: Event\nmetadata: {name: e}\nnote: hello\nreason: Test\ntype: Normal\n\
         action: a\nreportingController: example.com/c\nreportingInstance: i\neventTime: 2026-01-01T00:00:00.000000Z\n\
         regarding: {kind: Pod, namespace: default, name: p}\n",
    );
    let core = cluster.get(&["events.v1.", "e"]).unwrap();
    assert_eq!((&core["message"], &core["involvedObject"]["name"]), (&json!("hello"), &json!("p")));
    assert_eq!(cluster.get(&["events.v1.events.k8s.io", "e"]).unwrap()["note"], "hello");
}

#[test]
fn changes_that_the_kind_forbids() {
    let cluster = Cluster::prepared();
    cluster.up(&[]);
    cluster.kubectl(&["create", "deployment", "web", "--image=web:1", "--replicas=0"]).must();
    let patch = r#"{"spec": {"selector": {"matchLabels": {"app": "other"}}, "template": {"metadata": {"labels": {"app": "other"}}}}}"#;
    let error = cluster.kubectl(&["patch", "deployment", "web", "-p", patch]).must_fail();
    assert!(error.contains("spec.selector: Invalid value") && error.contains("field is immutable"), "{error}");
    cluster.apply(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\n\
         spec: {nodeSelector: {none: here}, containers: [{name: c, image: 'i:1'}]}\n",
    );
    let patch = r#"{"spec": {"hostNetwork": true}}"#;
    let error = cluster.kubectl(&["patch", "pod", "p", "-p", patch]).must_fail();
    assert!(error.contains("pod updates may not change fields other than `spec.containers[*].image`"), "{error}");
    cluster.kubectl(&["set", "image", "pod/p", "c=i:2"]).must();
    cluster.kubectl(&["debug", "p", "--image=d:1", "-c", "look"]).must();
    let pod = cluster.get(&["pod", "p"]).unwrap();
    assert_eq!(pod["spec"]["ephemeralContainers"][0]["name"], "look");
    cluster.kubectl(&["delete", "pod", "p", "--now"]).must();
}
