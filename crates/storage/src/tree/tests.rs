use std::sync::OnceLock;

use bytes::Bytes;

use super::*;

fn entry(key: &str, value: &str, revision: u64) -> Arc<Entry> {
    Arc::new(Entry {
        key: key.into(),
        value: Bytes::copy_from_slice(value.as_bytes()),
        created: Revision(revision),
        modified: Revision(revision),
        expires: 0,
        memo: OnceLock::new(),
    })
}

fn put(tree: &Tree, key: &str, value: &str, revision: u64) {
    let before = tree.get(key);
    tree.publish(vec![Event { revision: Revision(revision), now: Some(entry(key, value, revision)), before }]);
}

fn delete(tree: &Tree, key: &str, revision: u64) {
    let before = tree.get(key);
    tree.publish(vec![Event { revision: Revision(revision), now: None, before }]);
}

fn empty(budget: usize) -> Arc<Tree> {
    Arc::new(Tree::new([], Revision(1), budget))
}

fn keys(page: &Page) -> Vec<&str> {
    page.entries.iter().map(|e| e.key.as_str()).collect()
}

#[test]
fn a_list_at_an_old_revision_shows_what_was_there_then() {
    let tree = empty(1 << 20);
    put(&tree, "/registry/pods/a", "1", 2);
    put(&tree, "/registry/pods/b", "1", 3);
    put(&tree, "/registry/pods/a", "2", 4);
    delete(&tree, "/registry/pods/b", 5);
    put(&tree, "/registry/pods/c", "1", 6);
    let at = |revision| {
        let options = ListOptions { prefix: "/registry/pods/", at: Some(Revision(revision)), ..ListOptions::default() };
        tree.list(&options).unwrap()
    };
    assert_eq!(keys(&at(3)), ["/registry/pods/a", "/registry/pods/b"]);
    assert_eq!(at(3).entries[0].value, "1");
    assert_eq!(keys(&at(5)), ["/registry/pods/a"]);
    assert_eq!(at(5).entries[0].value, "2");
    assert_eq!(keys(&at(6)), ["/registry/pods/a", "/registry/pods/c"]);
}

#[test]
fn pages_follow_each_other_and_count_the_rest() {
    let tree = empty(1 << 20);
    for i in 0..5 {
        put(&tree, &format!("/registry/pods/{i}"), "x", 2 + i);
    }
    put(&tree, "/registry/podsecurity/x", "x", 9);
    let options = ListOptions { prefix: "/registry/pods/", limit: 2, ..ListOptions::default() };
    let first = tree.list(&options).unwrap();
    assert_eq!((keys(&first), first.remaining), (vec!["/registry/pods/0", "/registry/pods/1"], 3));
    let rest = tree.list(&ListOptions { after: Some("/registry/pods/1"), limit: 0, ..options }).unwrap();
    assert_eq!(rest.entries.len(), 3);
}

#[tokio::test]
async fn a_watch_sees_each_change_below_its_prefix_once_and_in_order() {
    let tree = empty(1 << 20);
    put(&tree, "/registry/pods/x/a", "1", 2);
    let mut watch = tree.watch("/registry/pods/x/", Revision(1)).unwrap();
    put(&tree, "/registry/pods/y/a", "1", 3);
    put(&tree, "/registry/pods/x/b", "1", 4);
    let seen: Vec<u64> = watch.next().await.unwrap().iter().map(|e| e.revision.0).collect();
    assert_eq!(seen, [2, 4]);
    let later = tokio::spawn(async move { watch.next().await.unwrap().len() });
    delete(&tree, "/registry/pods/x/a", 5);
    assert_eq!(later.await.unwrap(), 1);
}

#[test]
fn history_beyond_the_budget_is_gone_and_says_so() {
    let tree = empty(2000);
    let mut watch = tree.watch("/registry/pods/", Revision(1)).unwrap();
    for i in 0..100 {
        put(&tree, "/registry/pods/a", "x", 2 + i);
    }
    assert!(matches!(watch.pending(), Err(ReadError::Compacted { .. })));
    assert!(matches!(tree.watch("/registry/pods/", Revision(5)), Err(ReadError::Compacted { .. })));
    assert!(tree.watch("/registry/pods/", Revision(101)).is_ok());
    let old = ListOptions { prefix: "/registry/pods/", at: Some(Revision(3)), ..ListOptions::default() };
    assert!(matches!(tree.list(&old), Err(ReadError::Compacted { .. })));
    let future = ListOptions { prefix: "/registry/pods/", at: Some(Revision(300)), ..ListOptions::default() };
    assert!(matches!(tree.list(&future), Err(ReadError::Future { .. })));
}

#[test]
fn after_a_gap_watchers_that_missed_something_are_told() {
    let tree = empty(1 << 20);
    put(&tree, "/registry/pods/a", "1", 2);
    let mut behind = tree.watch("/registry/pods/", Revision(1)).unwrap();
    let mut level = tree.watch("/registry/pods/", Revision(7)).unwrap();
    tree.reset([entry("/registry/pods/b", "1", 5)], Revision(7));
    assert!(matches!(behind.pending(), Err(ReadError::Compacted { .. })));
    assert!(level.pending().unwrap().is_empty());
    assert!(matches!(tree.watch("/registry/secrets/", Revision(6)), Err(ReadError::Compacted { .. })));
    put(&tree, "/registry/pods/c", "1", 8);
    assert_eq!(level.pending().unwrap().len(), 1);
    let page = tree.list(&ListOptions { prefix: "/registry/pods/", ..ListOptions::default() }).unwrap();
    assert_eq!((keys(&page), page.revision), (vec!["/registry/pods/b", "/registry/pods/c"], Revision(8)));
}
