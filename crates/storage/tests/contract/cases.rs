//! What every engine does.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use storage::{Durability, Key, ListOptions, Page, ReadError, Revision, Store, Watch, Write, WriteError};

use crate::engines::Engine;

/// A change has to arrive within this time, on a slow machine too.
pub(crate) const SOON: Duration = Duration::from_secs(30);

pub(crate) fn put(key: &str, value: &str, expected: Option<Revision>) -> Write {
    Write {
        key: key.into(),
        value: Some(Bytes::copy_from_slice(value.as_bytes())),
        expected,
        durability: Durability::Durable,
        ttl_seconds: None,
    }
}

pub(crate) fn delete(key: &str, expected: Option<Revision>) -> Write {
    Write { value: None, ..put(key, "", expected) }
}

pub(crate) async fn changes(watch: &mut Watch) -> Vec<storage::Event> {
    tokio::time::timeout(SOON, watch.next()).await.expect("no change in time").unwrap()
}

fn keys(page: &Page) -> Vec<&str> {
    page.entries.iter().map(|e| e.key.as_str()).collect()
}

pub(crate) async fn a_write_compares_and_swaps(engine: impl Engine) {
    let store = engine.open().await;
    let key = "/registry/a/x";
    assert!(matches!(store.write(delete(key, None)).await, Err(WriteError::Conflict(None))));
    let (_, first) = store.write(put(key, "1", None)).await.unwrap();
    assert!(matches!(store.write(put(key, "2", None)).await, Err(WriteError::Conflict(Some(_)))));
    assert!(matches!(store.write(delete(key, None)).await, Err(WriteError::Conflict(Some(_)))));
    let (entry, second) = store.write(put(key, "2", Some(first))).await.unwrap();
    assert_eq!((entry.created, entry.modified), (first, second));
    let read = store.get(key).await.unwrap().unwrap();
    assert_eq!((&read.value[..], read.created, read.modified), (&b"2"[..], first, second));
    assert!(store.current().await.unwrap() >= second);
    match store.write(delete(key, Some(first))).await {
        Err(WriteError::Conflict(Some(present))) => assert_eq!(present.modified, second),
        other => panic!("{other:?}"),
    }
    let (gone, third) = store.write(delete(key, Some(second))).await.unwrap();
    assert_eq!((&gone.value[..], third > second), (&b"2"[..], true));
    assert!(matches!(store.write(delete(key, Some(second))).await, Err(WriteError::Conflict(None))));
    assert!(matches!(store.write(put(key, "3", Some(second))).await, Err(WriteError::Conflict(None))));
    assert!(store.get(key).await.unwrap().is_none());
}

pub(crate) async fn pages_are_cut_at_one_revision(engine: impl Engine) {
    let store = engine.open().await;
    for i in 0..5 {
        store.write(put(&format!("/registry/a/{i}"), "x", None)).await.unwrap();
    }
    store.write(put("/registry/ab/0", "x", None)).await.unwrap();
    let options = ListOptions { prefix: "/registry/a/", limit: 2, ..ListOptions::default() };
    let first = store.list(options.clone()).await.unwrap();
    assert_eq!((keys(&first), first.remaining), (vec!["/registry/a/0", "/registry/a/1"], 3));
    let second = store.get("/registry/a/2").await.unwrap().unwrap();
    store.write(delete("/registry/a/2", Some(second.modified))).await.unwrap();
    store.write(put("/registry/a/31", "x", None)).await.unwrap();
    let rest = ListOptions { after: Some("/registry/a/1"), at: Some(first.revision), limit: 0, ..options };
    let rest = store.list(rest).await.unwrap();
    assert_eq!(keys(&rest), ["/registry/a/2", "/registry/a/3", "/registry/a/4"]);
    let now = store.list(ListOptions { prefix: "/registry/a/", ..ListOptions::default() }).await.unwrap();
    assert_eq!(keys(&now), ["/registry/a/0", "/registry/a/1", "/registry/a/3", "/registry/a/31", "/registry/a/4"]);
    let far =
        ListOptions { prefix: "/registry/a/", at: Some(Revision(now.revision.0 + 1000)), ..ListOptions::default() };
    assert!(matches!(store.list(far).await, Err(ReadError::Future { .. })));
}

pub(crate) async fn many_writers_and_every_change_is_seen_once_in_order(engine: impl Engine) {
    let store = engine.open().await;
    let mut watch = store.watch("/registry/a/", store.current().await.unwrap()).unwrap();
    let writers: Vec<_> = (0..32).map(|w| tokio::spawn(write_twenty(store.clone(), w))).collect();
    let mut seen: Vec<(u64, Key)> = Vec::new();
    while seen.len() < 640 {
        seen.extend(changes(&mut watch).await.iter().map(|e| (e.revision.0, e.key().unwrap().clone())));
    }
    let mut acknowledged = HashSet::new();
    for writer in writers {
        acknowledged.extend(writer.await.unwrap());
    }
    assert!(seen.windows(2).all(|w| w[0].0 < w[1].0));
    let seen: HashSet<_> = seen.into_iter().collect();
    assert_eq!(seen, acknowledged);
}

async fn write_twenty(store: Arc<dyn Store>, writer: usize) -> Vec<(u64, Key)> {
    let mut done = Vec::new();
    for i in 0..20 {
        let (entry, revision) = store.write(put(&format!("/registry/a/{writer}-{i}"), "x", None)).await.unwrap();
        done.push((revision.0, entry.key.clone()));
    }
    done
}

pub(crate) async fn values_with_a_time_to_live_go_by_themselves(engine: impl Engine) {
    let store = engine.open().await;
    let mut watch = store.watch("/registry/events/", store.current().await.unwrap()).unwrap();
    store.write(Write { ttl_seconds: Some(1), ..put("/registry/events/e", "x", None) }).await.unwrap();
    let (_, kept) =
        store.write(Write { ttl_seconds: Some(1), ..put("/registry/events/kept", "x", None) }).await.unwrap();
    store.write(put("/registry/events/kept", "for ever", Some(kept))).await.unwrap();
    let gone = loop {
        if let Some(event) = changes(&mut watch).await.into_iter().find(|e| e.now.is_none()) {
            break event;
        }
    };
    assert_eq!(gone.key().unwrap().as_str(), "/registry/events/e");
    assert!(store.get("/registry/events/e").await.unwrap().is_none());
    assert!(store.get("/registry/events/kept").await.unwrap().is_some());
}

pub(crate) async fn what_was_acknowledged_is_there_after_a_crash_and_no_revision_is_used_twice<E: Engine>(
    mut engine: E,
) {
    let mut answered = Revision(0);
    let mut first = None;
    for round in 0..3 {
        let store = engine.open().await;
        let present = store.get("/registry/a/x").await.unwrap().map(|e| e.modified);
        assert!(present.is_none_or(|p| p <= answered), "round {round}");
        assert_eq!(present.is_some(), round > 0, "round {round}");
        let mut expected = present;
        for i in 0..30 {
            let (_, now) = store.write(put("/registry/a/x", &format!("{round}.{i}"), expected)).await.unwrap();
            assert!(now > answered);
            (answered, expected) = (now, Some(now));
        }
        first = first.or(expected);
        engine.crash();
        if E::GOES_ON {
            let read = store.get("/registry/a/x").await.unwrap().unwrap();
            assert_eq!(read.modified, answered, "the same client goes on");
        }
    }
    let store = engine.open().await;
    assert_eq!(store.get("/registry/a/x").await.unwrap().unwrap().value, "2.29");
    let old = store.watch("/registry/a/", first.unwrap());
    assert!(
        matches!(old, Err(ReadError::Compacted { .. })),
        "what a new server has not seen it does not pretend to know"
    );
}

pub(crate) async fn a_watch_sees_what_was_there_before_and_what_is_now(engine: impl Engine) {
    let store = engine.open().await;
    let mut watch = store.watch("/registry/a/x", store.current().await.unwrap()).unwrap();
    let (_, first) = store.write(put("/registry/a/x", "1", None)).await.unwrap();
    let (_, second) = store.write(put("/registry/a/x", "2", Some(first))).await.unwrap();
    let (_, third) = store.write(delete("/registry/a/x", Some(second))).await.unwrap();
    let mut seen = Vec::new();
    while seen.len() < 3 {
        seen.extend(changes(&mut watch).await);
    }
    let text = |e: &Option<Arc<storage::Entry>>| e.as_ref().map(|e| String::from_utf8_lossy(&e.value).into_owned());
    let seen: Vec<_> = seen.iter().map(|e| (e.revision, text(&e.before), text(&e.now))).collect();
    let (one, two) = (Some("1".to_owned()), Some("2".to_owned()));
    assert_eq!(seen, [(first, None, one.clone()), (second, one, two.clone()), (third, two, None)]);
    let other = store.write(put("/registry/b/x", "1", None)).await.unwrap().1;
    while watch.position() < other {
        assert!(watch.pending().unwrap().is_empty());
        store.current().await.unwrap();
    }
}

pub(crate) async fn large_values_and_lists_go_through(engine: impl Engine) {
    let big = "x".repeat(1_000_000);
    {
        let store = engine.open().await;
        for i in 0..12 {
            store.write(put(&format!("/registry/a/{i}"), &big, None)).await.unwrap();
        }
    }
    let store = engine.open().await;
    let page = store.list(ListOptions { prefix: "/registry/a/", ..ListOptions::default() }).await.unwrap();
    assert_eq!(page.entries.iter().map(|e| e.value.len()).sum::<usize>(), 12_000_000);
}
