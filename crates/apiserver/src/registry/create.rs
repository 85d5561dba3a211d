//! Create, and what every incoming object goes through.

use api::ApiError;
use futures::FutureExt;
use futures::future::BoxFuture;
use serde_json::Value;
use storage::{Durability, Revision, Write, WriteError};

use super::{Object, Validation, metadata, object};
use crate::admission::{self, Operation};
use crate::context::Context;
use crate::rest;
use schema::managed::Stamp;

/// What a write left: the tree in the storage version, and the stored object unless it was a dry run.
pub(crate) struct Written {
    pub(crate) tree: Value,
    pub(crate) object: Option<Object>,
    pub(crate) created: bool,
}

impl Context {
    /// Creates an object; `body` is in the version of the request.
    pub(crate) fn create(&self, body: Value) -> BoxFuture<'_, Result<Written, ApiError>> {
        // Boxed: the address of a Service is an object that is created on the way.
        self.create_now(body).boxed()
    }

    async fn create_now(&self, body: Value) -> Result<Written, ApiError> {
        let mut tree = self.admit_body(body)?;
        self.fill_namespace(&mut tree)?;
        let generated = fill_name(&mut tree);
        self.stamp_and_convert(None, &mut tree)?;
        admission::mutate(self, Operation::Create, &mut tree, None).await?;
        metadata::begin(&mut tree, &self.kind, self.now);
        drop_status(self, &mut tree);
        (self.kind.rules.prepare_create)(&mut tree);
        self.check_new(&tree)?;
        admission::validate(self, Operation::Create, Some(&tree), None).await?;
        for attempt in 0.. {
            match self.insert(&mut tree).await {
                Err(error) if generated && error.reason == "AlreadyExists" && attempt < 8 => {
                    let prefix = api::meta::text(&tree, "generateName").to_owned();
                    api::meta::set(&mut tree, "name", api::names::generate(&prefix));
                }
                Ok(object) => {
                    if let Some(warning) = super::notyet::warning(self.kind.resource) {
                        self.warn(warning);
                    }
                    return Ok(Written { tree, object, created: true });
                }
                Err(error) => return Err(error),
            }
        }
        Err(ApiError::internal("no free name was found"))
    }

    /// Stores a finished new object; none after a dry run.
    async fn insert(&self, tree: &mut Value) -> Result<Option<Object>, ApiError> {
        let name = api::meta::name(tree).to_owned();
        let claim = rest::claim(self, tree, None).await?;
        let durability = durability(self, tree, None);
        let written = self.store(&name, tree, None, durability).await;
        match &written {
            Ok(Some(_)) => claim.keep(self, tree).await,
            Ok(None) | Err(_) => claim.release(self).await,
        }
        written
    }

    /// Compare-and-swap of a whole object. `expected` none: it must not exist.
    pub(crate) async fn store(
        &self,
        name: &str,
        tree: &mut Value,
        expected: Option<Revision>,
        durability: Durability,
    ) -> Result<Option<Object>, ApiError> {
        let value = object::encode(tree)?;
        if self.options.dry_run {
            if expected.is_none() && self.current(name).await.is_ok() {
                return Err(self.already_exists(name));
            }
            return Ok(None);
        }
        let write = Write {
            key: self.key(name).as_str().into(),
            value: Some(value),
            expected,
            durability,
            ttl_seconds: (self.kind.resource.plural == "events").then_some(self.server.config.event_ttl_seconds),
        };
        match self.server.store.write(write).await {
            Ok((entry, _)) => {
                let object = Object::new(entry);
                object.remember(&self.kind, tree);
                api::meta::set(tree, "resourceVersion", object.revision.to_string());
                Ok(Some(object))
            }
            Err(WriteError::Conflict(Some(_))) if expected.is_none() => Err(self.already_exists(name)),
            Err(WriteError::Conflict(_)) => Err(self.kind.stale(name)),
            Err(error) => Err(ApiError::unavailable(error.to_string())),
        }
    }

    fn already_exists(&self, name: &str) -> ApiError {
        ApiError::already_exists(self.kind.resource.group, self.kind.resource.plural, name)
    }

    /// Type checks, unknown fields and defaults of an incoming object, still in the request's version.
    pub(crate) fn admit_body(&self, mut tree: Value) -> Result<Value, ApiError> {
        self.check_kind(&mut tree)?;
        let schema = self.kind.schema()?;
        let (kind, version) = (&self.kind.gvk.kind, &self.kind.gvk.gv.version);
        let unreadable = |why: String| {
            ApiError::bad_request(format!("{kind} in version \"{version}\" cannot be handled as a {kind}: {why}"))
        };
        schema.check_types(&tree).map_err(|e| unreadable(e.to_string()))?;
        let unknown = schema.prune(&mut tree);
        let complaints = complaints(&unknown, &self.take_duplicates());
        match self.options.validation {
            Validation::Ignore => {}
            _ if complaints.is_empty() => {}
            Validation::Warn => complaints.into_iter().for_each(|text| self.warn(text)),
            Validation::Strict => {
                return Err(unreadable(format!("strict decoding error: {}", complaints.join(", "))));
            }
        }
        schema.apply_defaults(&mut tree);
        Ok(tree)
    }

    fn check_kind(&self, tree: &mut Value) -> Result<(), ApiError> {
        let gvk = &self.kind.gvk;
        let expected = gvk.gv.to_string();
        let Some(map) = tree.as_object_mut() else {
            return Err(ApiError::bad_request("the object provided is unrecognized (must be of type object)"));
        };
        let text = |key: &str| map.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (api_version, kind) = (text("apiVersion"), text("kind"));
        if !kind.is_empty() && kind != *gvk.kind || !api_version.is_empty() && api_version != expected {
            return Err(ApiError::bad_request(if kind == *gvk.kind {
                format!(
                    "the API version in the data ({api_version}) does not match the expected API version ({expected})"
                )
            } else {
                format!(
                    "{kind} in version \"{}\" cannot be handled as a {}: no kind \"{kind}\" is registered for the resource {}",
                    api_version.rsplit('/').next().unwrap_or_default(),
                    gvk.kind,
                    self.kind.resource.plural
                )
            }));
        }
        map.insert("apiVersion".into(), expected.into());
        map.insert("kind".into(), (*gvk.kind).into());
        Ok(())
    }

    fn fill_namespace(&self, tree: &mut Value) -> Result<(), ApiError> {
        if !self.kind.resource.namespaced() {
            api::meta::of_mut(tree).remove("namespace");
            return Ok(());
        }
        let said = api::meta::namespace(tree);
        if said.is_empty() {
            api::meta::set(tree, "namespace", self.namespace.as_str());
        } else if said != self.namespace {
            return Err(ApiError::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
        Ok(())
    }

    /// Records the manager in the request's version, then brings the tree to the storage version and defaults it.
    pub(crate) fn stamp_and_convert(&self, old: Option<&Value>, tree: &mut Value) -> Result<(), ApiError> {
        let api_version = self.kind.gvk.gv.to_string();
        let now = api::time::seconds(self.now);
        let stamp = Stamp {
            manager: &self.options.manager,
            api_version: &api_version,
            subresource: &self.subresource,
            now: &now,
        };
        if !self.options.applied {
            schema::managed::update(self.kind.schema()?, old, tree, &stamp);
        }
        self.to_storage(tree);
        Ok(())
    }

    /// Brings a tree of the request's version to the storage version, with that version's defaults.
    pub(crate) fn to_storage(&self, tree: &mut Value) {
        if self.kind.converts() {
            kinds::convert(tree, &self.kind.gvk, &self.kind.storage_gvk);
        }
        (self.kind.rules.default)(tree);
    }

    fn check_new(&self, tree: &Value) -> Result<(), ApiError> {
        let mut errors = metadata::validate(tree, &self.kind);
        errors.extend((self.kind.rules.validate)(tree));
        errors.extend((self.kind.rules.validate_new)(tree));
        if errors.is_empty() { Ok(()) } else { Err(self.kind.invalid(api::meta::name(tree), &errors)) }
    }
}

/// Takes a name from `generateName` where there is none; says whether it did.
fn fill_name(tree: &mut Value) -> bool {
    let prefix = api::meta::text(tree, "generateName").to_owned();
    if !api::meta::name(tree).is_empty() || prefix.is_empty() {
        return false;
    }
    api::meta::set(tree, "name", api::names::generate(&prefix));
    true
}

/// What a strict decoder says. Within a field that nobody knows nothing more is looked for.
fn complaints(unknown: &[String], twice: &[String]) -> Vec<String> {
    let within = |path: &str, field: &String| {
        path.strip_prefix(field.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    let twice = twice.iter().filter(|path| !unknown.iter().any(|field| within(path, field)));
    let unknown = unknown.iter().map(|field| format!("unknown field \"{field}\""));
    unknown.chain(twice.map(|field| format!("duplicate field \"{field}\""))).collect()
}

/// A creator cannot say the status, where status has a door of its own.
fn drop_status(context: &Context, tree: &mut Value) {
    let resource = context.kind.resource;
    let keeps = match (resource.group, resource.plural) {
        ("", "nodes") => true,
        ("apiregistration.k8s.io", "apiservices") => context.user.name == "system:apiserver",
        _ => false,
    };
    if context.kind.has_status()
        && !keeps
        && let Some(map) = tree.as_object_mut()
    {
        map.remove("status");
    }
}

/// Events may be lost by a power cut, and so may Lease renewals that keep the holder.
pub(crate) fn durability(context: &Context, new: &Value, old: Option<&Value>) -> Durability {
    let holder = |lease: &Value| lease.pointer("/spec/holderIdentity").cloned();
    match (context.kind.resource.plural, old) {
        ("events", _) => Durability::Cheap,
        ("leases", Some(old)) if holder(new) == holder(old) => Durability::Cheap,
        _ => Durability::Durable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_fields_and_those_said_twice_are_told_together() {
        let all = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let said =
            complaints(&all(&["spec.bogus"]), &all(&["spec.bogus", "spec.bogus.a", "spec.bogusToo", "spec.replicas"]));
        let expected =
            ["unknown field \"spec.bogus\"", "duplicate field \"spec.bogusToo\"", "duplicate field \"spec.replicas\""];
        assert_eq!(said, expected);
    }
}
