//! Conflicts of server-side apply, in upstream's words.

use std::collections::BTreeMap;

use super::managers::{Manager, Operation};
use super::set::Set;

/// Why a configuration was not applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// Others own fields that the configuration would change (409, one cause per conflict).
    #[error("{}", message(.0))]
    Conflicts(Vec<Conflict>),
    /// The configuration brings managed fields of its own.
    #[error("metadata.managedFields must be nil")]
    ManagedFieldsGiven,
    /// The configuration is no object.
    #[error("configuration is not an object")]
    NotAnObject,
}

/// One contested field. Displayed as a status cause says it: `conflict with "kubectl" using apps/v1`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("conflict with {}", self.owner())]
pub struct Conflict {
    /// Who owns the field.
    pub manager: String,
    /// The subresource that it was written through, or empty.
    pub subresource: String,
    /// The version that it was written in, empty for an applier.
    pub api_version: String,
    /// When an updater wrote it last.
    pub time: Option<String>,
    /// The field, `.spec.replicas`.
    pub field_path: String,
}

impl Conflict {
    fn owner(&self) -> String {
        let mut out = format!("{:?}", self.manager);
        if !self.subresource.is_empty() {
            out.push_str(&format!(" with subresource {:?}", self.subresource));
        }
        if !self.api_version.is_empty() {
            out.push_str(&format!(" using {}", self.api_version));
        }
        out
    }
}

/// Adds a conflict for every contested field of a manager.
pub(super) fn collect(manager: &Manager, contested: &Set, out: &mut Vec<Conflict>) {
    let updater = manager.operation == Operation::Update;
    out.extend(contested.paths().into_iter().map(|field_path| Conflict {
        manager: manager.name.clone(),
        subresource: manager.subresource.clone(),
        api_version: if updater { manager.api_version.clone() } else { String::new() },
        time: manager.time.clone().filter(|_| updater),
        field_path,
    }));
}

fn message(conflicts: &[Conflict]) -> String {
    if let [only] = conflicts {
        return format!("Apply failed with 1 conflict: {only}: {}", only.field_path);
    }
    let mut by_owner: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for conflict in conflicts {
        by_owner.entry(conflict.owner()).or_default().push(&conflict.field_path);
    }
    let mut lines = Vec::new();
    for (owner, paths) in by_owner {
        lines.push(format!("conflicts with {owner}:"));
        lines.extend(paths.into_iter().map(|path| format!("- {path}")));
    }
    format!("Apply failed with {} conflicts: {}", conflicts.len(), lines.join("\n"))
}
