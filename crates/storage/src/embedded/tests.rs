//! The embedded engine on a real folder and on one that loses power. What it shares with other engines is tested in
//! `tests/contract`.

use std::collections::BTreeMap;
use std::io;

use bytes::Bytes;

use super::*;
use crate::Durability;

fn put(key: &str, value: &str, expected: Option<Revision>) -> Write {
    Write {
        key: key.into(),
        value: Some(Bytes::copy_from_slice(value.as_bytes())),
        expected,
        durability: Durability::Durable,
        ttl_seconds: None,
    }
}

/// A disk that keeps apart what was synced and what was only written.
#[derive(Clone, Default)]
struct PowerCut {
    files: Arc<Mutex<BTreeMap<String, Content>>>,
    fail_sync: Arc<Mutex<bool>>,
    /// Bytes that there is room for, if that is limited.
    room: Arc<Mutex<Option<usize>>>,
}

#[derive(Clone, Default)]
struct Content {
    synced: Vec<u8>,
    written: Vec<u8>,
}

impl PowerCut {
    /// The power goes: only what was synced stays, and of the rest the first `torn` bytes.
    fn cut(&self, torn: usize) -> Self {
        let after = Self::default();
        for (name, content) in self.files.lock().iter() {
            let mut bytes = content.synced.clone();
            bytes.extend(content.written.iter().skip(bytes.len()).take(torn));
            after.files.lock().insert(name.clone(), Content { synced: bytes.clone(), written: bytes });
        }
        after
    }
}

struct PowerCutFile {
    disk: PowerCut,
    name: String,
}

impl File for PowerCutFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut room = self.disk.room.lock();
        let fits = room.map_or(bytes.len(), |room| room.min(bytes.len()));
        *room = room.map(|room| room - fits);
        self.disk.files.lock().entry(self.name.clone()).or_default().written.extend_from_slice(&bytes[..fits]);
        if fits == bytes.len() { Ok(()) } else { Err(io::ErrorKind::StorageFull.into()) }
    }
    fn sync(&mut self) -> io::Result<()> {
        if *self.disk.fail_sync.lock() {
            return Err(io::Error::other("input/output error"));
        }
        if let Some(content) = self.disk.files.lock().get_mut(&self.name) {
            content.synced = content.written.clone();
        }
        Ok(())
    }
}

impl Disk for PowerCut {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.files.lock().keys().cloned().collect())
    }
    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        self.files.lock().get(name).map(|c| c.written.clone()).ok_or(io::ErrorKind::NotFound.into())
    }
    fn create(&self, name: &str) -> io::Result<Box<dyn File>> {
        self.files.lock().insert(name.into(), Content::default());
        Ok(Box::new(PowerCutFile { disk: self.clone(), name: name.into() }))
    }
    fn truncate(&self, name: &str, length: u64) -> io::Result<()> {
        if let Some(content) = self.files.lock().get_mut(name) {
            content.written.truncate(length as usize);
            content.synced = content.written.clone();
        }
        Ok(())
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut files = self.files.lock();
        let content = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.into(), content);
        Ok(())
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.files.lock().remove(name).map(|_| ()).ok_or(io::ErrorKind::NotFound.into())
    }
    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

fn open(disk: &PowerCut) -> Embedded {
    Embedded::on(Box::new(disk.clone()), &Options::default()).unwrap()
}

#[tokio::test]
async fn a_folder_holds_what_was_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { log_bytes: 2000, ..Options::default() };
    let mut revision = None;
    for round in 0..4 {
        let store = Embedded::open(folder.path(), &options).unwrap();
        let present = store.get("/registry/a/x").await.unwrap();
        assert_eq!(present.as_ref().map(|e| e.modified), revision, "round {round}");
        for i in 0..50 {
            let expected = store.get("/registry/a/x").await.unwrap().map(|e| e.modified);
            let (_, now) = store.write(put("/registry/a/x", &format!("{round}.{i}"), expected)).await.unwrap();
            assert!(revision.is_none_or(|r| now > r));
            revision = Some(now);
        }
    }
    assert!(std::fs::read_dir(folder.path()).unwrap().count() < 8, "old logs are dropped");
}

#[tokio::test]
async fn a_power_cut_loses_nothing_acknowledged_and_no_revision_is_used_twice() {
    for torn in [0, 1, 7, 8, 9, 30, 1000] {
        let disk = PowerCut::default();
        let store = open(&disk);
        let (_, durable) = store.write(put("/registry/a/x", "kept", None)).await.unwrap();
        let cheap = Write { durability: Durability::Cheap, ..put("/registry/events/e", "maybe", None) };
        let (_, answered) = store.write(cheap).await.unwrap();
        let after = disk.cut(torn);
        let store = open(&after);
        assert_eq!(store.get("/registry/a/x").await.unwrap().map(|e| e.modified), Some(durable), "torn at {torn}");
        assert!(store.current().await.unwrap() > answered);
        assert!(matches!(store.watch("/registry/a/", durable), Err(ReadError::Compacted { .. })));
        drop(store);
        let again = open(&after);
        assert_eq!(again.get("/registry/a/x").await.unwrap().map(|e| e.modified), Some(durable), "opened twice");
    }
}

#[tokio::test]
async fn cheap_writes_in_an_older_log_do_not_make_it_unsound() {
    let disk = PowerCut::default();
    let cheap = |key| Write { durability: Durability::Cheap, ..put(key, "x", None) };
    open(&disk).write(cheap("/a")).await.unwrap();
    // The process comes back without a power cut; that follows only then.
    drop(open(&disk));
    let store = Embedded::on(Box::new(disk.cut(5)), &Options::default()).unwrap();
    assert!(store.get("/a").await.unwrap().is_some());

    let small = Options { log_bytes: 10, ..Options::default() };
    let store = Embedded::on(Box::new(disk.clone()), &small).unwrap();
    store.write(cheap("/b")).await.unwrap();
    store.write(cheap("/c")).await.unwrap();
    Embedded::on(Box::new(disk.cut(5)), &small).unwrap();
}

#[tokio::test]
async fn damage_in_the_middle_is_refused() {
    let disk = PowerCut::default();
    let store = open(&disk);
    store.write(put("/registry/a/x", "1", None)).await.unwrap();
    store.write(put("/registry/a/y", "1", None)).await.unwrap();
    drop(store);
    if let Some(content) = disk.files.lock().get_mut("log-1") {
        content.written[45] ^= 1;
    }
    let opened = Embedded::on(Box::new(disk), &Options::default());
    assert!(matches!(opened, Err(OpenError::Damaged { .. })));
}

#[tokio::test]
async fn after_a_failed_sync_nothing_is_acknowledged_any_more() {
    let disk = PowerCut::default();
    let store = open(&disk);
    store.write(put("/registry/a/x", "1", None)).await.unwrap();
    *disk.fail_sync.lock() = true;
    assert!(matches!(store.write(put("/registry/a/y", "1", None)).await, Err(WriteError::Stopped(_))));
    *disk.fail_sync.lock() = false;
    assert!(matches!(store.write(put("/registry/a/z", "1", None)).await, Err(WriteError::Stopped(_))));
    assert!(store.health().is_err());
    assert_eq!(store.get("/registry/a/y").await.unwrap().map(|e| e.modified), None);
}

#[tokio::test]
async fn a_full_disk_is_told_and_forgotten_when_there_is_room() {
    let disk = PowerCut::default();
    let options = Options { log_bytes: 200, ..Options::default() };
    let store = Embedded::on(Box::new(disk.clone()), &options).unwrap();
    let (_, first) = store.write(put("/registry/a/before", "v", None)).await.unwrap();
    // Too little for a write, then for a new log, then for a snapshot: what is torn must not be in the way later.
    for (round, room) in [10, 300, 1500].into_iter().enumerate() {
        *disk.room.lock() = Some(room);
        let mut refused = 0;
        for i in 0..40 {
            match store.write(put(&format!("/registry/a/{round}-{i}"), "some value", None)).await {
                Ok(_) => {}
                Err(WriteError::Stopped(why)) => {
                    assert!(why.contains("no space left"), "{why}");
                    refused += 1;
                }
                Err(other) => panic!("{other}"),
            }
        }
        assert!(refused > 0 && store.health().is_err(), "round {round}");
        let crashed = open(&disk.cut(0));
        let there = |store: &Embedded| store.tree().snapshot().0.len();
        assert_eq!(there(&crashed), there(&store), "round {round}");
        *disk.room.lock() = None;
        store.write(put(&format!("/registry/a/after-{round}"), "v", None)).await.unwrap();
        assert_eq!(store.health(), Ok(()));
    }
    let last = store.current().await.unwrap();
    drop(store);
    let again = open(&disk.cut(0));
    assert!(again.current().await.unwrap() >= last && last > first);
    for name in ["before", "after-0", "after-1", "after-2"] {
        assert!(again.get(&format!("/registry/a/{name}")).await.unwrap().is_some(), "{name}");
    }
}
