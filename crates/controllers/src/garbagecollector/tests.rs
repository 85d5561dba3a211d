use serde_json::{Value, json};

use super::graph::{Graph, Item, OwnerState, Policy, Verdict, Work, judge};

fn item(uid: &str, meta: Value) -> Item {
    let mut all = json!({"uid": uid, "name": uid, "namespace": "ns"});
    meta.as_object().unwrap().iter().for_each(|(key, value)| all[key] = value.clone());
    Item::of(serde_json::from_value(all).unwrap())
}

fn owned(uid: &str, owner: &str, block: bool) -> Item {
    let reference = json!({"apiVersion": "v1", "kind": "K", "name": owner, "uid": owner, "blockOwnerDeletion": block});
    item(uid, json!({"ownerReferences": [reference]}))
}

fn leaving(uid: &str, finalizer: &str) -> Item {
    item(uid, json!({"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": [finalizer]}))
}

fn delete(uid: &str) -> Work {
    Work::Delete(uid.into())
}

#[test]
fn dependents_are_looked_at_when_their_owner_goes() {
    let mut graph = Graph::default();
    assert_eq!(graph.apply(item("a", json!({}))), []);
    assert_eq!(graph.apply(owned("b", "a", true)), [], "its owner is known");
    assert_eq!(graph.remove("a"), [delete("b")]);
    assert_eq!(graph.remove("a"), []);
}

#[test]
fn an_unknown_owner_is_a_reason_to_look() {
    let mut graph = Graph::default();
    assert_eq!(graph.apply(owned("b", "a", true)), [delete("b")]);
    assert_eq!(graph.apply(owned("b", "a", true)), [], "once");
    assert_eq!(graph.unowned(), [delete("b")]);
    graph.apply(item("a", json!({})));
    assert_eq!(graph.unowned(), []);
}

#[test]
fn an_owner_in_the_foreground_waits_for_what_blocks_it() {
    let mut graph = Graph::default();
    graph.apply(item("a", json!({})));
    graph.apply(owned("b", "a", true));
    graph.apply(owned("c", "a", false));
    assert_eq!(graph.apply(leaving("a", "foregroundDeletion")), [delete("a")]);
    let blocking: Vec<_> = graph.blocking("a").into_iter().map(|item| item.uid).collect();
    assert_eq!(blocking, ["b"]);
    assert_eq!(graph.apply(owned("b", "a", false)).first(), Some(&delete("a")), "it blocks no more");
    assert_eq!(graph.remove("c"), [delete("a")]);
}

#[test]
fn an_owner_that_orphans_is_told_of_once() {
    let mut graph = Graph::default();
    graph.apply(owned("b", "a", true));
    assert_eq!(graph.apply(leaving("a", "orphan")), [Work::Orphan("a".into())]);
    assert_eq!(graph.apply(leaving("a", "orphan")), []);
    assert_eq!(graph.apply(item("b", json!({}))), []);
    assert!(graph.dependents("a").is_empty());
}

#[test]
fn verdicts() {
    use OwnerState::{Dangling, Solid, Waiting};
    let delete = Verdict::Delete;
    let finalizers = |name: &str| vec![name.to_owned()];
    let rows: [(&[OwnerState], &str, bool, Verdict); 9] = [
        (&[], "", false, Verdict::Keep),
        (&[Solid], "", false, Verdict::Keep),
        (&[Solid, Dangling], "", false, Verdict::DropOwners(vec!["1".into()])),
        (&[Waiting, Solid], "", true, Verdict::DropOwners(vec!["0".into()])),
        (&[Dangling], "", false, delete(Policy::Background)),
        (&[Dangling], "orphan", false, delete(Policy::Orphan)),
        (&[Dangling], "foregroundDeletion", false, delete(Policy::Foreground)),
        (&[Waiting], "", true, delete(Policy::Foreground)),
        (&[Waiting], "", false, delete(Policy::Background)),
    ];
    for (states, finalizer, dependents, expected) in rows {
        let owners: Vec<_> = states.iter().enumerate().map(|(n, state)| (n.to_string(), *state)).collect();
        assert_eq!(judge(&owners, &finalizers(finalizer), dependents), expected, "{states:?} {finalizer}");
    }
}
