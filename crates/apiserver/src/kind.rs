//! A served resource in one version: everything that the generic machinery needs to know of it.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use api::catalogue::{self, Resource};
use api::{ApiError, GroupVersionKind};
use kinds::Rules;
use schema::Schema;

/// A resource in one of its versions.
pub(crate) struct Kind {
    pub(crate) resource: &'static Resource,
    /// Kind in the version of the request.
    pub(crate) gvk: GroupVersionKind,
    /// Kind in the version that is stored.
    pub(crate) storage_gvk: GroupVersionKind,
    pub(crate) rules: &'static Rules,
    /// `/registry/deployments/`
    pub(crate) prefix: String,
    schema: OnceLock<Option<Arc<Schema>>>,
}

impl Kind {
    fn new(resource: &'static Resource, version: &str) -> Self {
        let storage_gvk = resource.storage_gvk();
        Self {
            resource,
            gvk: resource.gvk(version),
            rules: kinds::rules(&storage_gvk),
            storage_gvk,
            prefix: format!("/registry/{}/", resource.storage_prefix()),
            schema: OnceLock::new(),
        }
    }

    /// Schema of the request's version.
    pub(crate) fn schema(&self) -> Result<&Arc<Schema>, ApiError> {
        let built = self.schema.get_or_init(|| schema::builtin(&self.gvk)).as_ref();
        built.ok_or_else(|| ApiError::internal(format!("no schema for {}", self.gvk)))
    }

    /// Where an object is stored.
    pub(crate) fn key(&self, namespace: &str, name: &str) -> String {
        if self.resource.namespaced() {
            format!("{}{namespace}/{name}", self.prefix)
        } else {
            format!("{}{name}", self.prefix)
        }
    }

    /// Start of the keys of a namespace, or of all.
    pub(crate) fn prefix_of(&self, namespace: &str) -> String {
        if self.resource.namespaced() && !namespace.is_empty() {
            format!("{}{namespace}/", self.prefix)
        } else {
            self.prefix.clone()
        }
    }

    pub(crate) fn converts(&self) -> bool {
        self.gvk != self.storage_gvk
    }

    pub(crate) fn has_status(&self) -> bool {
        self.resource.subresource("status").is_some()
    }

    pub(crate) fn not_found(&self, name: &str) -> ApiError {
        ApiError::not_found(self.resource.group, self.resource.plural, name)
    }

    pub(crate) fn stale(&self, name: &str) -> ApiError {
        ApiError::stale(self.resource.group, self.resource.plural, name)
    }

    pub(crate) fn conflict(&self, name: &str, why: &str) -> ApiError {
        ApiError::conflict(self.resource.group, self.resource.plural, name, why)
    }

    pub(crate) fn forbidden(&self, name: &str, why: &str) -> ApiError {
        ApiError::forbidden(self.resource.group, self.resource.plural, name, why)
    }

    pub(crate) fn invalid(&self, name: &str, errors: &[api::field::FieldError]) -> ApiError {
        ApiError::invalid(self.resource.group, self.resource.kind, name, errors)
    }
}

/// All served kinds.
pub(crate) struct Kinds {
    by_resource: HashMap<(&'static str, &'static str, &'static str), Arc<Kind>>,
}

impl Kinds {
    pub(crate) fn builtin() -> Self {
        let mut by_resource = HashMap::new();
        for resource in catalogue::all() {
            for version in resource.versions {
                let kind = Arc::new(Kind::new(resource, version));
                by_resource.insert((resource.group, *version, resource.plural), kind);
            }
        }
        Self { by_resource }
    }

    /// The kind behind a path.
    pub(crate) fn find(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Kind>> {
        let resource = catalogue::by_resource(group, version, plural)?;
        let version = resource.versions.iter().find(|v| **v == version)?;
        self.by_resource.get(&(resource.group, *version, resource.plural))
    }

    /// A kind that the server itself uses, by its core or preferred version.
    pub(crate) fn own(&self, group: &str, plural: &str) -> Result<&Arc<Kind>, ApiError> {
        let resource = catalogue::all().iter().find(|r| r.group == group && r.plural == plural);
        resource
            .and_then(|r| r.versions.first().and_then(|v| self.find(group, v, plural)))
            .ok_or_else(|| ApiError::internal(format!("the catalogue has no {plural}")))
    }

    /// Whether a resource of that plural exists in any group.
    pub(crate) fn knows(&self, plural: &str) -> bool {
        catalogue::all().iter().any(|r| r.plural == plural)
    }
}
