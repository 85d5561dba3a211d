use serde_json::{Value, json};

use super::*;

fn volume(name: &str, size: &str, more: Value) -> Arc<PersistentVolume> {
    let mut spec = json!({"capacity": {"storage": size}, "accessModes": ["ReadWriteOnce"], "storageClassName": "c"});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let volume = json!({"metadata": {"name": name, "labels": {"name": name}}, "spec": spec,
        "status": {"phase": "Available"}});
    Arc::new(serde_json::from_value(volume).unwrap())
}

fn claim(more: Value) -> PersistentVolumeClaim {
    let mut spec = json!({"resources": {"requests": {"storage": "2Gi"}}, "accessModes": ["ReadWriteOnce"],
        "storageClassName": "c"});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(json!({"metadata": {"name": "a", "namespace": "ns", "uid": "1"}, "spec": spec})).unwrap()
}

fn chosen(claim: &PersistentVolumeClaim, volumes: &[Arc<PersistentVolume>], delayed: bool) -> String {
    let found = best(claim, volumes, None, &HashSet::new(), delayed);
    found.and_then(|volume| volume.metadata.name.clone()).unwrap_or_default()
}

#[test]
fn the_smallest_that_fits_with_the_fewest_modes() {
    let wide = json!({"accessModes": ["ReadWriteOnce", "ReadOnlyMany"]});
    let volumes = [
        volume("small", "1Gi", json!({})),
        volume("big", "9Gi", json!({})),
        volume("right", "3Gi", json!({})),
        volume("wide", "2Gi", wide),
        volume("block", "2Gi", json!({"volumeMode": "Block"})),
        volume("other", "2Gi", json!({"storageClassName": "d"})),
        volume("plain", "2Gi", json!({"storageClassName": ""})),
        volume("theirs", "2Gi", json!({"claimRef": {"namespace": "ns", "name": "a", "uid": "2"}})),
    ];
    assert_eq!(chosen(&claim(json!({})), &volumes, false), "right");
    assert_eq!(chosen(&claim(json!({"accessModes": ["ReadOnlyMany"]})), &volumes, false), "wide");
    assert_eq!(chosen(&claim(json!({"accessModes": ["ReadWriteMany"]})), &volumes, false), "");
    assert_eq!(chosen(&claim(json!({"selector": {"matchLabels": {"name": "big"}}})), &volumes, false), "big");
    assert_eq!(chosen(&claim(json!({"volumeMode": "Block"})), &volumes, false), "block");
    assert_eq!(chosen(&claim(json!({"storageClassName": ""})), &volumes, false), "plain");
    assert_eq!(chosen(&claim(json!({"resources": {"requests": {"storage": "10Gi"}}})), &volumes, false), "");
}

#[test]
fn a_reserved_volume_comes_first_even_for_claims_that_wait() {
    let reserved = volume("mine", "50Gi", json!({"claimRef": {"namespace": "ns", "name": "a"}}));
    let volumes = [volume("right", "2Gi", json!({})), reserved];
    assert_eq!(chosen(&claim(json!({})), &volumes, true), "mine");
    assert_eq!(chosen(&claim(json!({})), &volumes[..1], true), "");
}

#[test]
fn a_volume_is_used_where_it_can_be_reached() {
    let affinity = json!({"nodeAffinity": {"required": {"nodeSelectorTerms":
        [{"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["n1"]}]}]}}});
    let volumes = [volume("near", "2Gi", affinity)];
    let labels = |host: &str| BTreeMap::from([("kubernetes.io/hostname".to_owned(), host.to_owned())]);
    let (here, there) = (labels("n1"), labels("n2"));
    let on = |name, labels| best(&claim(json!({})), &volumes, Some(Place { name, labels }), &HashSet::new(), true);
    assert!(on("n1", &here).is_some() && on("n2", &there).is_none());
    let taken = HashSet::from(["near".to_owned()]);
    let place = Place { name: "n1", labels: &here };
    assert!(best(&claim(json!({})), &volumes, Some(place), &taken, true).is_none());
}

#[test]
fn the_newest_default_class_counts() {
    let class = |name: &str, day: u32, default: &str| -> StorageClass {
        let created = format!("2026-01-0{day}T00:00:00Z");
        let metadata = json!({"name": name, "creationTimestamp": created, "annotations": {DEFAULT_CLASS: default}});
        serde_json::from_value(json!({"metadata": metadata, "provisioner": "p"})).unwrap()
    };
    let classes = [class("a", 1, "true"), class("c", 2, "true"), class("b", 2, "true"), class("d", 3, "false")];
    assert_eq!(default_class(&classes).unwrap().metadata.name.as_deref(), Some("b"));
    assert!(default_class(&classes[3..]).is_none());
}

#[test]
fn claims_of_a_pod() {
    let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": {"containers": [], "volumes": [
        {"name": "a", "persistentVolumeClaim": {"claimName": "x"}}, {"name": "b", "emptyDir": {}},
        {"name": "c", "ephemeral": {}}]}}))
    .unwrap();
    assert_eq!(claims_of(&pod), [("x".to_owned(), false), ("p-c".to_owned(), true)]);
}
