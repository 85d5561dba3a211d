//! What only an engine over a network meets.

use std::sync::Arc;
use std::time::Duration;

use storage::snapshot::{Snapshot, SnapshotError};
use storage::{ListOptions, ReadError, Revision, Store, WriteError, etcd};

use crate::cases::{changes, put};
use crate::engines::{Engine, Etcd};

async fn open(options: &etcd::Options) -> Arc<dyn Store> {
    Arc::new(etcd::Etcd::open(options).await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_at_one_server_sees_what_was_written_at_another() {
    let engine = Etcd::start();
    let (one, other) = (engine.open().await, engine.open().await);
    let mut watch = other.watch("/registry/a/", other.current().await.unwrap()).unwrap();
    let mut written = Vec::new();
    for i in 0..100 {
        let key = format!("/registry/a/{i}");
        let (_, revision) = one.write(put(&key, "x", None)).await.unwrap();
        assert_eq!(other.get(&key).await.unwrap().map(|e| e.modified), Some(revision));
        let page = other.list(ListOptions { prefix: &key, ..ListOptions::default() }).await.unwrap();
        assert!(page.revision >= revision && !page.entries.is_empty());
        written.push(revision);
    }
    let mut seen: Vec<Revision> = Vec::new();
    while seen.len() < 100 {
        seen.extend(changes(&mut watch).await.iter().map(|e| e.revision));
    }
    assert_eq!(seen, written);
}

/// Keys of other programs move etcd's revision too, and nothing of it comes through the watch.
#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_watch_does_not_hold_up_reads() {
    let engine = Etcd::start();
    let foreign = etcd::Options { prefix: "/elsewhere".into(), ..engine.options() };
    let (own, foreign) = (engine.open().await, open(&foreign).await);
    for i in 0..20 {
        foreign.write(put(&format!("/registry/a/{i}"), "x", None)).await.unwrap();
        let read = tokio::time::timeout(Duration::from_secs(20), own.get("/registry/a/0")).await;
        assert!(read.unwrap().unwrap().is_none());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_of_three_members_are_enough_and_one_refuses_in_words() {
    let mut server = tests::Etcd::start(3);
    let options =
        etcd::Options { endpoints: server.endpoints(), patience: Duration::from_secs(60), ..Default::default() };
    let store = open(&options).await;
    let mut watch = store.watch("/registry/a/", store.current().await.unwrap()).unwrap();
    let mut expected = None;
    for lost in 0..3 {
        server.kill(lost);
        // While a new leader is chosen etcd may say no; a client tries again.
        let revision = loop {
            match store.write(put("/registry/a/x", &lost.to_string(), expected)).await {
                Ok((_, revision)) => break revision,
                Err(WriteError::Conflict(Some(present))) if present.value == lost.to_string() => {
                    break present.modified;
                }
                Err(WriteError::Stopped(_)) => {}
                Err(other) => panic!("{other:?}"),
            }
        };
        let seen = changes(&mut watch).await;
        assert_eq!(
            seen.iter().map(|e| e.revision).collect::<Vec<_>>(),
            [revision],
            "the watch goes on at another member"
        );
        expected = Some(revision);
        server.run(lost);
    }
    server.kill(0);
    server.kill(1);
    match store.write(put("/registry/a/y", "x", None)).await {
        Err(WriteError::Stopped(why)) => assert!(why.contains("more than half of its members"), "{why}"),
        other => panic!("{other:?}"),
    }
    match store.get("/registry/a/x").await {
        Err(ReadError::Unavailable(why)) => assert!(why.contains("more than half of its members"), "{why}"),
        other => panic!("{other:?}"),
    }
    assert!(store.health().is_err());
    server.run(0);
    while store.get("/registry/a/x").await.is_err() {}
    assert_eq!(store.get("/registry/a/x").await.unwrap().unwrap().value, "2");
}

/// A member that is stopped answers nothing and closes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_paused_member_is_left_for_another() {
    let server = tests::Etcd::start(3);
    let options =
        etcd::Options { endpoints: server.endpoints(), patience: Duration::from_secs(60), ..Default::default() };
    let store = open(&options).await;
    let mut revision = store.write(put("/registry/a/x", "0", None)).await.unwrap().1;
    for paused in 0..server.size() {
        server.pause(paused);
        revision = loop {
            match store.write(put("/registry/a/x", &format!("{paused}!"), Some(revision))).await {
                Ok((_, revision)) => break revision,
                Err(WriteError::Stopped(_)) => {}
                Err(WriteError::Conflict(Some(present))) if present.value == format!("{paused}!") => {
                    break present.modified;
                }
                Err(other) => panic!("{other:?}"),
            }
        };
        let read = loop {
            if let Ok(read) = store.get("/registry/a/x").await {
                break read;
            }
        };
        assert_eq!(read.unwrap().modified, revision);
        server.resume(paused);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn history_that_etcd_dropped_is_a_gap_for_watchers_not_a_loss() {
    let mut engine = Etcd::start();
    let options = etcd::Options { compaction: Duration::from_millis(100), ..engine.options() };
    let store = open(&options).await;
    let mut expected = None;
    for i in 0..10 {
        expected = Some(store.write(put("/registry/a/x", &i.to_string(), expected)).await.unwrap().1);
    }
    engine.crash();
    let other = open(&options).await;
    for i in 10..40 {
        expected = Some(other.write(put("/registry/a/x", &i.to_string(), expected)).await.unwrap().1);
    }
    let read = loop {
        if let Ok(read) = store.get("/registry/a/x").await {
            break read.unwrap();
        }
    };
    assert_eq!((&read.value[..], Some(read.modified)), (&b"39"[..], expected));
}

/// From the embedded engine to etcd and back: nothing is lost, and no revision comes twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_moves_to_etcd_and_back() {
    let folder = tempfile::tempdir().unwrap();
    let (store_folder, file) = (folder.path().join("store"), folder.path().join("cluster.snapshot"));
    let engine = Etcd::start();
    let options = engine.options();
    let embedded = storage::embedded::Embedded::open(&store_folder, &Default::default()).unwrap();
    let mut last = Revision(0);
    for i in 0..300 {
        last = embedded.write(put(&format!("/registry/a/{i:03}"), &i.to_string(), None)).await.unwrap().1;
    }
    let event = storage::Write { ttl_seconds: Some(3600), ..put("/registry/events/e", "x", None) };
    last = last.max(embedded.write(event).await.unwrap().1);
    // The server goes on while its files are read.
    storage::embedded::save(&store_folder).unwrap().save(&file).unwrap();
    let snapshot = Snapshot::load(&file).unwrap();
    assert_eq!(snapshot.entries.len(), 301);
    drop(embedded);
    let started = etcd::restore(&options, &snapshot, false).await.unwrap();
    assert!(started > last);
    assert!(matches!(etcd::restore(&options, &snapshot, false).await, Err(SnapshotError::NotEmpty(301))));
    let there = engine.open().await;
    assert!(matches!(there.watch("/registry/a/", last), Err(ReadError::Compacted { .. })));
    let page = there.list(ListOptions { prefix: "/registry/a/", ..ListOptions::default() }).await.unwrap();
    assert_eq!(page.entries.len(), 300);
    assert!(page.entries.iter().enumerate().all(|(i, e)| e.value == i.to_string()));
    let first = page.entries.first().unwrap();
    let moved = there.write(put("/registry/a/000", "moved", Some(first.modified))).await.unwrap().1;
    assert!(moved > last && moved >= page.revision);
    let snapshot = etcd::save(&options).await.unwrap();
    let event = snapshot.entries.iter().find(|e| e.key.as_str() == "/registry/events/e").unwrap();
    assert!(event.expires > 0, "what goes by itself still does");
    assert!(matches!(storage::embedded::restore(&store_folder, &snapshot, false), Err(SnapshotError::NotEmpty(301))));
    storage::embedded::restore(&store_folder, &snapshot, true).unwrap();
    let back = storage::embedded::Embedded::open(&store_folder, &Default::default()).unwrap();
    assert!(back.current().await.unwrap() > moved);
    assert_eq!(back.get("/registry/a/000").await.unwrap().unwrap().value, "moved");
    assert!(back.write(put("/registry/a/new", "x", None)).await.unwrap().1 > moved);
    assert!(matches!(back.watch("/registry/a/", moved), Err(ReadError::Compacted { .. })));
}

/// Names of a cluster, as options.
fn owned(engine: &Etcd, names: &[&str]) -> etcd::Options {
    etcd::Options { cluster: names.iter().map(ToString::to_string).collect(), ..engine.options() }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_state_of_another_cluster_or_of_a_newer_version_is_refused() {
    let engine = Etcd::start();
    // State without an owner is taken over.
    drop(engine.open().await);
    drop(open(&owned(&engine, &["a"])).await);
    let refused = |options| async move { etcd::Etcd::open(&options).await.err().unwrap().to_string() };
    let said = refused(owned(&engine, &["b"])).await;
    assert!(said.contains("another cluster") && said.contains("/registry/-/owner"), "{said}");
    drop(open(&etcd::Options { prefix: "/b".into(), ..owned(&engine, &["b"]) }).await);
    // Its name may change when the old one is said, too.
    assert!(refused(owned(&engine, &["a2"])).await.contains("another cluster"));
    drop(open(&owned(&engine, &["a2", "a"])).await);
    let store = open(&owned(&engine, &["a2"])).await;
    let owner = store.get("/registry/-/owner").await.unwrap().unwrap();
    store.write(put("/registry/-/owner", r#"{"format":2}"#, Some(owner.modified))).await.unwrap();
    drop(store);
    for names in [&["a2"][..], &[]] {
        let said = refused(owned(&engine, names)).await;
        assert!(said.contains("newer version (format 2"), "{said}");
    }
    assert!(etcd::save(&engine.options()).await.unwrap_err().to_string().contains("newer version"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_of_another_etcd_is_never_used() {
    let (mut engine, other) = (Etcd::start(), Etcd::start());
    let endpoints = [engine.server.endpoints(), other.server.endpoints()].concat();
    let both = etcd::Options { endpoints: endpoints.clone(), ..engine.options() };
    drop(other.open().await);
    drop(engine.open().await);
    let said = etcd::Etcd::open(&both).await.err().unwrap().to_string();
    assert!(said.contains("different etcd clusters") && endpoints.iter().all(|e| said.contains(e)), "{said}");
    // One that was not there at the start is found out later.
    let mut absent = other;
    absent.server.kill(0);
    let store = open(&both).await;
    absent.server.run(0);
    let (_, first) = store.write(put("/registry/a/x", "1", None)).await.unwrap();
    engine.server.kill(0);
    let Err(WriteError::Stopped(why)) = store.write(put("/registry/a/y", "1", None)).await else {
        panic!("it was done")
    };
    assert!(why.contains("etcd does not answer"), "{why}");
    assert!(absent.open().await.get("/registry/a/y").await.unwrap().is_none());
    engine.server.run(0);
    while store.get("/registry/a/x").await.is_err() {}
    assert_eq!(store.get("/registry/a/x").await.unwrap().unwrap().modified, first);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_etcd_that_is_not_there_is_told_in_one_sentence() {
    let mut engine = Etcd::start();
    engine.server.kill(0);
    let options = etcd::Options { patience: Duration::ZERO, ..engine.options() };
    let said = etcd::Etcd::open(&options).await.err().unwrap().to_string();
    let at = &options.endpoints[0];
    assert!(said.starts_with("etcd does not answer, more than half of its members have to run"), "{said}");
    assert!(said.ends_with(&format!("(asked at {at})")) && said.matches("does not answer").count() == 1, "{said}");
}
