//! The objects of one informer, their indexes, and who is told of changes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use super::Change;
use super::subscription::{Callback, Handler, HandlerGuard, Subscription, queue};
use crate::ObjectKey;

/// One object with the version that it was read at.
pub(super) struct Entry<P> {
    pub(super) version: String,
    pub(super) value: Arc<P>,
}

struct Index<P> {
    of: fn(&P) -> Vec<String>,
    keys: HashMap<String, BTreeSet<ObjectKey>>,
}

impl<P> Index<P> {
    fn insert(&mut self, key: &ObjectKey, value: &P) {
        for term in (self.of)(value) {
            self.keys.entry(term).or_default().insert(key.clone());
        }
    }

    fn remove(&mut self, key: &ObjectKey, value: &P) {
        for term in (self.of)(value) {
            if let Some(keys) = self.keys.get_mut(&term) {
                keys.remove(key);
                if keys.is_empty() {
                    self.keys.remove(&term);
                }
            }
        }
    }
}

struct Objects<P> {
    namespaces: BTreeMap<String, BTreeMap<String, Entry<P>>>,
    indexes: HashMap<&'static str, Index<P>>,
    count: usize,
}

pub(super) struct Store<P> {
    objects: RwLock<Objects<P>>,
    handlers: Mutex<Handlers<P>>,
    synced: watch::Sender<bool>,
}

struct Handlers<P> {
    next: u64,
    list: Vec<(u64, Handler<P>)>,
}

impl<P: Send + Sync + 'static> Store<P> {
    pub(super) fn new() -> Self {
        let objects = Objects { namespaces: BTreeMap::new(), indexes: HashMap::new(), count: 0 };
        Self {
            objects: RwLock::new(objects),
            handlers: Mutex::new(Handlers { next: 0, list: Vec::new() }),
            synced: watch::Sender::new(false),
        }
    }

    pub(super) fn get(&self, namespace: &str, name: &str) -> Option<Arc<P>> {
        let objects = self.objects.read();
        objects.namespaces.get(namespace)?.get(name).map(|entry| Arc::clone(&entry.value))
    }

    pub(super) fn list(&self) -> Vec<Arc<P>> {
        let objects = self.objects.read();
        objects.namespaces.values().flat_map(BTreeMap::values).map(|entry| Arc::clone(&entry.value)).collect()
    }

    pub(super) fn list_namespace(&self, namespace: &str) -> Vec<Arc<P>> {
        let objects = self.objects.read();
        let names = objects.namespaces.get(namespace);
        names.into_iter().flat_map(BTreeMap::values).map(|entry| Arc::clone(&entry.value)).collect()
    }

    pub(super) fn keys(&self) -> Vec<ObjectKey> {
        let objects = self.objects.read();
        let named = objects.namespaces.iter().flat_map(|(ns, names)| names.keys().map(move |name| (ns, name)));
        named.map(|(namespace, name)| ObjectKey::new(namespace, name)).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.objects.read().count
    }

    pub(super) fn add_index(&self, name: &'static str, of: fn(&P) -> Vec<String>) {
        let mut objects = self.objects.write();
        if objects.indexes.contains_key(name) {
            return;
        }
        let mut index = Index { of, keys: HashMap::new() };
        for (namespace, names) in &objects.namespaces {
            for (name, entry) in names {
                index.insert(&ObjectKey::new(namespace, name), &entry.value);
            }
        }
        objects.indexes.insert(name, index);
    }

    pub(super) fn by_index(&self, name: &str, value: &str) -> Vec<Arc<P>> {
        let objects = self.objects.read();
        let keys = objects.indexes.get(name).and_then(|index| index.keys.get(value));
        let found = keys.into_iter().flatten().filter_map(|key| objects.namespaces.get(&key.namespace)?.get(&key.name));
        found.map(|entry| Arc::clone(&entry.value)).collect()
    }

    pub(super) fn synced(&self) -> watch::Receiver<bool> {
        self.synced.subscribe()
    }

    pub(super) fn subscribe(&self) -> Subscription<P> {
        let (sender, receiver) = queue();
        let mut handlers = self.handlers.lock();
        let id = handlers.add(Handler::Queue(sender));
        drop(handlers);
        receiver.attach(id)
    }

    pub(super) fn on_change(self: &Arc<Self>, handler: Callback<P>) -> HandlerGuard<P> {
        // Held over the replay, so that no change comes before what it changes.
        let mut handlers = self.handlers.lock();
        for (key, new) in self.entries() {
            handler(&Change::Applied { key, old: None, new });
        }
        let id = handlers.add(Handler::Call(handler));
        HandlerGuard::new(Arc::downgrade(self), id)
    }

    fn entries(&self) -> Vec<(ObjectKey, Arc<P>)> {
        let objects = self.objects.read();
        let named = objects.namespaces.iter().flat_map(|(ns, names)| names.iter().map(move |(name, e)| (ns, name, e)));
        named.map(|(ns, name, entry)| (ObjectKey::new(ns, name), Arc::clone(&entry.value))).collect()
    }

    pub(super) fn remove_handler(&self, id: u64) {
        self.handlers.lock().list.retain(|(other, _)| *other != id);
    }

    /// Takes an object as it is now; a repetition of what is known is not a change.
    pub(super) fn apply(&self, key: ObjectKey, entry: Entry<P>) {
        let new = Arc::clone(&entry.value);
        let old = {
            let mut objects = self.objects.write();
            match objects.version(&key) {
                Some(version) if version == entry.version => return,
                _ => objects.insert(&key, entry),
            }
        };
        self.tell(&Change::Applied { key, old, new });
    }

    pub(super) fn delete(&self, key: ObjectKey) {
        let removed = self.objects.write().remove(&key);
        if let Some(old) = removed {
            self.tell(&Change::Deleted { key, old });
        }
    }

    /// Takes a full list: what is not in it is gone.
    pub(super) fn replace(&self, list: BTreeMap<ObjectKey, Entry<P>>) {
        for key in self.keys() {
            if !list.contains_key(&key) {
                self.delete(key);
            }
        }
        for (key, entry) in list {
            self.apply(key, entry);
        }
        self.synced.send_replace(true);
    }

    fn tell(&self, change: &Change<P>) {
        let mut handlers = self.handlers.lock();
        handlers.list.retain(|(_, handler)| handler.deliver(change));
    }
}

impl<P> Handlers<P> {
    fn add(&mut self, handler: Handler<P>) -> u64 {
        self.next += 1;
        self.list.push((self.next, handler));
        self.next
    }
}

impl<P> Objects<P> {
    fn version(&self, key: &ObjectKey) -> Option<&str> {
        self.namespaces.get(&key.namespace)?.get(&key.name).map(|entry| entry.version.as_str())
    }

    fn insert(&mut self, key: &ObjectKey, entry: Entry<P>) -> Option<Arc<P>> {
        let value = Arc::clone(&entry.value);
        let names = self.namespaces.entry(key.namespace.clone()).or_default();
        let old = names.insert(key.name.clone(), entry).map(|entry| entry.value);
        if old.is_none() {
            self.count += 1;
        }
        for index in self.indexes.values_mut() {
            if let Some(old) = &old {
                index.remove(key, old);
            }
            index.insert(key, &value);
        }
        old
    }

    fn remove(&mut self, key: &ObjectKey) -> Option<Arc<P>> {
        let names = self.namespaces.get_mut(&key.namespace)?;
        let old = names.remove(&key.name)?.value;
        if names.is_empty() {
            self.namespaces.remove(&key.namespace);
        }
        self.count -= 1;
        for index in self.indexes.values_mut() {
            index.remove(key, &old);
        }
        Some(old)
    }
}
