//! Every built-in resource: group, versions, kind, names, scope, subresources and where it is stored.
//!
//! One row a resource ([`rows`]); everything that depends on "which resources are there" reads this table. Storage prefixes are
//! upstream's, which are not regular.

mod row;
mod rows;

pub use row::{Resource, Scope, Subresource, Verbs};

use crate::{GroupVersion, GroupVersionKind};

/// All built-in resources, in the order of their rows.
pub fn all() -> &'static [Resource] {
    rows::ROWS
}

/// The resource that a path names: its group, version and plural.
pub fn by_resource(group: &str, version: &str, plural: &str) -> Option<&'static Resource> {
    all().iter().find(|r| r.plural == plural && r.group == group && r.versions.contains(&version))
}

/// The resource of a kind.
pub fn by_kind(gvk: &GroupVersionKind) -> Option<&'static Resource> {
    all().iter().find(|r| r.kind == &*gvk.kind && r.group == &*gvk.gv.group && r.versions.contains(&&*gvk.gv.version))
}

/// Groups in the order in which discovery lists them, each with its versions, preferred first.
pub fn groups() -> Vec<(&'static str, Vec<&'static str>)> {
    let mut groups: Vec<(&'static str, Vec<&'static str>)> = Vec::new();
    for resource in all() {
        let index = groups.iter().position(|(group, _)| *group == resource.group);
        let versions = match index.and_then(|i| groups.get_mut(i)) {
            Some((_, versions)) => versions,
            None => {
                groups.push((resource.group, resource.versions.to_vec()));
                continue;
            }
        };
        for version in resource.versions {
            if !versions.contains(version) {
                versions.push(version);
            }
        }
    }
    groups
}

/// The resources of one group and version.
pub fn of_group_version(gv: &GroupVersion) -> impl Iterator<Item = &'static Resource> + use<'_> {
    all().iter().filter(move |r| r.group == &*gv.group && r.versions.contains(&&*gv.version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plural_is_unique_within_a_group() {
        for (i, a) in all().iter().enumerate() {
            for b in all().iter().skip(i + 1) {
                assert!(!(a.group == b.group && a.plural == b.plural), "{} twice", a.plural);
            }
        }
    }

    #[test]
    fn irregular_storage_prefixes_are_upstreams() {
        let prefix = |g, v, p| by_resource(g, v, p).map(|r| r.storage_prefix());
        assert_eq!(prefix("", "v1", "nodes").as_deref(), Some("minions"));
        assert_eq!(prefix("", "v1", "services").as_deref(), Some("services/specs"));
        assert_eq!(prefix("apps", "v1", "deployments").as_deref(), Some("deployments"));
        assert_eq!(prefix("events.k8s.io", "v1", "events").as_deref(), Some("events"));
    }

    #[test]
    fn autoscaling_prefers_v2() {
        let versions = groups().into_iter().find(|(g, _)| *g == "autoscaling").map(|(_, v)| v);
        assert_eq!(versions, Some(vec!["v2", "v1"]));
    }
}
