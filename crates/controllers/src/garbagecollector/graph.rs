//! Who owns whom. Pure.

use std::collections::{HashMap, HashSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

pub(super) const FOREGROUND: &str = "foregroundDeletion";
pub(super) const ORPHAN: &str = "orphan";

/// What is kept of an object.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Item {
    pub(super) uid: String,
    pub(super) namespace: String,
    pub(super) name: String,
    /// Index into the resources that are watched.
    pub(super) resource: usize,
    pub(super) owners: Vec<OwnerReference>,
    pub(super) deleting: bool,
    /// It is to go after what depends on it.
    pub(super) foreground: bool,
    /// What depends on it is to stay.
    pub(super) orphan: bool,
}

impl Item {
    pub(super) fn of(meta: ObjectMeta) -> Self {
        let deleting = meta.deletion_timestamp.is_some();
        let has = |name: &str| meta.finalizers.iter().flatten().any(|finalizer| finalizer == name);
        Self {
            deleting,
            foreground: deleting && has(FOREGROUND),
            orphan: deleting && has(ORPHAN),
            uid: meta.uid.unwrap_or_default(),
            namespace: meta.namespace.unwrap_or_default(),
            name: meta.name.unwrap_or_default(),
            owners: meta.owner_references.unwrap_or_default(),
            resource: 0,
        }
    }

    fn reference(&self, owner: &str) -> Option<&OwnerReference> {
        self.owners.iter().find(|reference| reference.uid == owner)
    }
}

/// Something that is to be looked at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Work {
    /// Whether the object of this uid is to go.
    Delete(String),
    /// The dependents of this uid are to be let go.
    Orphan(String),
}

#[derive(Default)]
pub(super) struct Graph {
    items: HashMap<String, Item>,
    /// Dependents by the uid of an owner, whether that is known or not.
    dependents: HashMap<String, HashSet<String>>,
}

impl Graph {
    pub(super) fn get(&self, uid: &str) -> Option<&Item> {
        self.items.get(uid)
    }

    pub(super) fn dependents(&self, owner: &str) -> Vec<Item> {
        let uids = self.dependents.get(owner).into_iter().flatten();
        uids.filter_map(|uid| self.items.get(uid)).cloned().collect()
    }

    /// Dependents that keep an owner from going.
    pub(super) fn blocking(&self, owner: &str) -> Vec<Item> {
        let blocks = |item: &Item| item.reference(owner).is_some_and(|r| r.block_owner_deletion == Some(true));
        self.dependents(owner).into_iter().filter(blocks).collect()
    }

    /// An object as it is now.
    pub(super) fn apply(&mut self, item: Item) -> Vec<Work> {
        let mut work = Vec::new();
        let old = self.items.get(&item.uid).cloned();
        let before = old.as_ref().map(|old| old.owners.clone()).unwrap_or_default();
        for gone in before.iter().filter(|owner| item.reference(&owner.uid).is_none()) {
            self.unlink(&gone.uid, &item.uid);
        }
        for owner in &item.owners {
            self.dependents.entry(owner.uid.clone()).or_default().insert(item.uid.clone());
        }
        // An owner that waits may wait for this one no more.
        let waiting = before.iter().filter(|owner| {
            item.reference(&owner.uid).is_none_or(|now| now.block_owner_deletion != owner.block_owner_deletion)
        });
        let waiting = waiting.filter(|owner| self.items.get(&owner.uid).is_some_and(|owner| owner.foreground));
        work.extend(waiting.map(|owner| Work::Delete(owner.uid.clone())));
        let unsure = |owner: &OwnerReference| self.items.get(&owner.uid).is_none_or(|owner| owner.foreground);
        if !item.deleting && before != item.owners && item.owners.iter().any(unsure) {
            work.push(Work::Delete(item.uid.clone()));
        }
        let was = old.unwrap_or_default();
        if item.foreground && !was.foreground {
            work.push(Work::Delete(item.uid.clone()));
        }
        if item.orphan && !was.orphan {
            work.push(Work::Orphan(item.uid.clone()));
        }
        self.items.insert(item.uid.clone(), item);
        work
    }

    /// An object is gone: what depends on it is to be looked at, and who waited for it.
    pub(super) fn remove(&mut self, uid: &str) -> Vec<Work> {
        let Some(item) = self.items.remove(uid) else { return Vec::new() };
        let mut work: Vec<_> = self.dependents.get(uid).into_iter().flatten().cloned().map(Work::Delete).collect();
        for owner in &item.owners {
            self.unlink(&owner.uid, uid);
            if self.items.get(&owner.uid).is_some_and(|owner| owner.foreground) {
                work.push(Work::Delete(owner.uid.clone()));
            }
        }
        work
    }

    /// Objects with an owner that is not known, to be looked at once everything was seen.
    pub(super) fn unowned(&self) -> Vec<Work> {
        let unsure = |item: &&Item| item.owners.iter().any(|owner| !self.items.contains_key(&owner.uid));
        self.items.values().filter(unsure).map(|item| Work::Delete(item.uid.clone())).collect()
    }

    fn unlink(&mut self, owner: &str, dependent: &str) {
        if let Some(dependents) = self.dependents.get_mut(owner) {
            dependents.remove(dependent);
            if dependents.is_empty() {
                self.dependents.remove(owner);
            }
        }
    }
}

/// How an owner of an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OwnerState {
    /// There, and not waiting for the object to go.
    Solid,
    /// Not there.
    Dangling,
    /// There, and waiting for the object to go.
    Waiting,
}

/// How a deletion spreads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Policy {
    Background,
    Foreground,
    Orphan,
}

/// What is to be done with an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    Keep,
    /// These owners (by uid) are no longer worth a reference.
    DropOwners(Vec<String>),
    Delete(Policy),
}

/// `finalizers` are the object's own; `has_dependents` says whether something depends on it.
pub(super) fn judge(owners: &[(String, OwnerState)], finalizers: &[String], has_dependents: bool) -> Verdict {
    let of = |state: OwnerState| owners.iter().filter(move |(_, known)| *known == state);
    let waiting = of(OwnerState::Waiting).count() > 0;
    if owners.is_empty() {
        return Verdict::Keep;
    }
    if of(OwnerState::Solid).count() > 0 {
        let useless: Vec<_> =
            owners.iter().filter(|(_, s)| *s != OwnerState::Solid).map(|(uid, _)| uid.clone()).collect();
        return if useless.is_empty() { Verdict::Keep } else { Verdict::DropOwners(useless) };
    }
    if waiting && has_dependents {
        return Verdict::Delete(Policy::Foreground);
    }
    let has = |name: &str| finalizers.iter().any(|finalizer| finalizer == name);
    Verdict::Delete(match () {
        () if has(ORPHAN) => Policy::Orphan,
        () if has(FOREGROUND) => Policy::Foreground,
        () => Policy::Background,
    })
}
