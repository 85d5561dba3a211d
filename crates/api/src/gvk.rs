//! Names of API groups, versions, kinds and resources.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// An API group and version, `apps/v1`; the core group is the empty string.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct GroupVersion {
    /// Group, empty for core.
    pub group: Arc<str>,
    /// Version.
    pub version: Arc<str>,
}

impl GroupVersion {
    /// Makes one from its parts.
    pub fn new(group: &str, version: &str) -> Self {
        Self { group: group.into(), version: version.into() }
    }

    /// Reads an `apiVersion` (`v1`, `apps/v1`); more than one slash or an empty version is none.
    pub fn parse(api_version: &str) -> Option<Self> {
        match api_version.split_once('/') {
            None if api_version.is_empty() => None,
            None => Some(Self::new("", api_version)),
            Some((group, version)) if !group.is_empty() && !version.is_empty() && !version.contains('/') => {
                Some(Self::new(group, version))
            }
            Some(_) => None,
        }
    }

    /// This group and version with a kind.
    pub fn with_kind(&self, kind: &str) -> GroupVersionKind {
        GroupVersionKind { gv: self.clone(), kind: kind.into() }
    }

    /// This group and version with a resource.
    pub fn with_resource(&self, resource: &str) -> GroupVersionResource {
        GroupVersionResource { gv: self.clone(), resource: resource.into() }
    }
}

impl fmt::Display for GroupVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.group.is_empty() { f.write_str(&self.version) } else { write!(f, "{}/{}", self.group, self.version) }
    }
}

/// A kind within a group and version.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupVersionKind {
    /// Group and version.
    pub gv: GroupVersion,
    /// Kind, `Deployment`.
    pub kind: Arc<str>,
}

impl GroupVersionKind {
    /// Makes one from its parts.
    pub fn new(group: &str, version: &str, kind: &str) -> Self {
        GroupVersion::new(group, version).with_kind(kind)
    }

    /// Group and kind, as error messages name them: `Deployment.apps`.
    pub fn group_kind(&self) -> String {
        if self.gv.group.is_empty() { self.kind.to_string() } else { format!("{}.{}", self.kind, self.gv.group) }
    }
}

impl fmt::Display for GroupVersionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, Kind={}", self.gv, self.kind)
    }
}

/// A resource within a group and version.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupVersionResource {
    /// Group and version.
    pub gv: GroupVersion,
    /// Plural resource name, `deployments`.
    pub resource: Arc<str>,
}

impl GroupVersionResource {
    /// Makes one from its parts.
    pub fn new(group: &str, version: &str, resource: &str) -> Self {
        GroupVersion::new(group, version).with_resource(resource)
    }

    /// Group and resource, as error messages name them: `deployments.apps`.
    pub fn group_resource(&self) -> String {
        if self.gv.group.is_empty() {
            self.resource.to_string()
        } else {
            format!("{}.{}", self.resource, self.gv.group)
        }
    }
}
