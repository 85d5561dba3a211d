//! The shape of a row of the catalogue.

use crate::{GroupVersion, GroupVersionKind};

/// Whether objects live in a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// In a namespace.
    Namespaced,
    /// Cluster-wide.
    Cluster,
}

/// What may be done with a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verbs {
    /// Stored: create, get, list, watch, update, patch, delete, deletecollection.
    All,
    /// Stored, without deletecollection (Namespace, Service keeps it).
    NoDeleteCollection,
    /// A question that is answered at once and not stored (reviews).
    CreateOnly,
    /// Computed on reading (ComponentStatus).
    ReadOnly,
}

impl Verbs {
    /// The verbs as discovery lists them.
    pub fn list(self) -> &'static [&'static str] {
        match self {
            Self::All => &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"],
            Self::NoDeleteCollection => &["create", "delete", "get", "list", "patch", "update", "watch"],
            Self::CreateOnly => &["create"],
            Self::ReadOnly => &["get", "list"],
        }
    }
}

/// A subresource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subresource {
    /// Last path segment(s): `status`, `scale`, `proxy`.
    pub name: &'static str,
    /// Group of the kind that it speaks, empty for core.
    pub group: &'static str,
    /// Version of that kind; empty: the version of the resource itself.
    pub version: &'static str,
    /// Kind that it speaks.
    pub kind: &'static str,
    /// Verbs as discovery lists them.
    pub verbs: &'static [&'static str],
}

/// A built-in resource.
#[derive(Debug, Clone, Copy)]
pub struct Resource {
    /// API group, empty for core.
    pub group: &'static str,
    /// Served versions, preferred first.
    pub versions: &'static [&'static str],
    /// Version (of `storage_group`) in which objects are stored.
    pub storage_version: &'static str,
    /// Group in which objects are stored; differs for events.k8s.io only.
    pub storage_group: &'static str,
    /// Kind.
    pub kind: &'static str,
    /// Plural, as in paths.
    pub plural: &'static str,
    /// Singular.
    pub singular: &'static str,
    /// Short names.
    pub short: &'static [&'static str],
    /// Categories.
    pub categories: &'static [&'static str],
    /// Scope.
    pub scope: Scope,
    /// Verbs.
    pub verbs: Verbs,
    /// Subresources.
    pub subresources: &'static [Subresource],
    /// Path below `/registry/` where it is not the plural.
    pub prefix: Option<&'static str>,
}

impl Resource {
    /// Path below `/registry/`, without slashes at its ends.
    pub fn storage_prefix(&self) -> String {
        self.prefix.unwrap_or(self.plural).to_owned()
    }

    /// Kind in one of its versions.
    pub fn gvk(&self, version: &str) -> GroupVersionKind {
        GroupVersionKind::new(self.group, version, self.kind)
    }

    /// Kind in its storage version, which is also the hub that its rules are written for.
    pub fn storage_gvk(&self) -> GroupVersionKind {
        GroupVersion::new(self.storage_group, self.storage_version).with_kind(self.kind)
    }

    /// `deployments.apps`, as messages name it.
    pub fn group_resource(&self) -> String {
        if self.group.is_empty() { self.plural.to_owned() } else { format!("{}.{}", self.plural, self.group) }
    }

    /// Whether a deletion answers with the object that went; else with a `Status`.
    pub fn returns_deleted(&self) -> bool {
        matches!(
            (self.group, self.plural),
            (
                "",
                "persistentvolumeclaims"
                    | "persistentvolumes"
                    | "pods"
                    | "podtemplates"
                    | "resourcequotas"
                    | "serviceaccounts"
                    | "services"
            ) | ("resource.k8s.io", _)
                | (
                    "storage.k8s.io",
                    "csidrivers" | "csinodes" | "storageclasses" | "volumeattachments" | "volumeattributesclasses"
                )
        )
    }

    /// The subresource of that name.
    pub fn subresource(&self, name: &str) -> Option<&'static Subresource> {
        self.subresources.iter().find(|s| s.name == name)
    }

    /// Whether objects live in a namespace.
    pub fn namespaced(&self) -> bool {
        self.scope == Scope::Namespaced
    }

    pub(super) const fn new(
        group: &'static str,
        version: &'static [&'static str],
        kind: &'static str,
        plural: &'static str,
        singular: &'static str,
    ) -> Self {
        let storage_version = match version {
            [first, ..] => first,
            [] => "v1",
        };
        Self {
            group,
            versions: version,
            storage_version,
            storage_group: group,
            kind,
            plural,
            singular,
            short: &[],
            categories: &[],
            scope: Scope::Namespaced,
            verbs: Verbs::All,
            subresources: &[],
            prefix: None,
        }
    }

    pub(super) const fn cluster(mut self) -> Self {
        self.scope = Scope::Cluster;
        self
    }

    pub(super) const fn short(mut self, short: &'static [&'static str]) -> Self {
        self.short = short;
        self
    }

    pub(super) const fn category(mut self, categories: &'static [&'static str]) -> Self {
        self.categories = categories;
        self
    }

    pub(super) const fn verbs(mut self, verbs: Verbs) -> Self {
        self.verbs = verbs;
        self
    }

    pub(super) const fn subs(mut self, subresources: &'static [Subresource]) -> Self {
        self.subresources = subresources;
        self
    }

    pub(super) const fn at(mut self, prefix: &'static str) -> Self {
        self.prefix = Some(prefix);
        self
    }

    pub(super) const fn stored_as(mut self, group: &'static str, version: &'static str) -> Self {
        self.storage_group = group;
        self.storage_version = version;
        self
    }
}

impl Subresource {
    pub(super) const fn own(name: &'static str, kind: &'static str) -> Self {
        Self { name, group: "", version: "", kind, verbs: &["get", "patch", "update"] }
    }

    pub(super) const fn other(
        name: &'static str,
        group: &'static str,
        version: &'static str,
        kind: &'static str,
        verbs: &'static [&'static str],
    ) -> Self {
        Self { name, group, version, kind, verbs }
    }
}
