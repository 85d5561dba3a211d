//! Update, and the loop that every change of an existing object runs in.

use api::ApiError;
use serde_json::Value;
use storage::Revision;

use super::create::{Written, durability};
use super::{Object, metadata, object};
use crate::admission::{self, Operation};
use crate::context::Context;
use crate::rest;

/// How often a change is computed anew because somebody else was faster.
const ATTEMPTS: usize = 16;

impl Context {
    /// PUT. `body` is in the version of the request.
    pub(crate) async fn update(&self, name: &str, body: Value) -> Result<Written, ApiError> {
        let mut body = self.admit_body(body)?;
        let said = api::meta::name(&body);
        if said.is_empty() {
            api::meta::set(&mut body, "name", name);
        } else if said != name {
            return Err(ApiError::bad_request(format!(
                "the name of the object ({said}) does not match the name on the URL ({name})"
            )));
        }
        let namespace = api::meta::namespace(&body);
        if !namespace.is_empty() && namespace != self.namespace && self.kind.resource.namespaced() {
            return Err(ApiError::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
        if !self.kind.resource.namespaced() {
            api::meta::of_mut(&mut body).remove("namespace");
        }
        let creates = self.kind.rules.create_on_update && self.subresource.is_empty();
        match self.change(name, |_| Ok(body.clone())).await {
            Err(error) if error.reason == "NotFound" && creates => self.create(body).await,
            other => other,
        }
    }

    /// Computes a new object from the present one and stores it, again if somebody else was faster, unless the
    /// new object names the revision that it is based on. `compute` sees and returns the request's version.
    pub(crate) async fn change<F>(&self, name: &str, compute: F) -> Result<Written, ApiError>
    where
        F: Fn(&Value) -> Result<Value, ApiError> + Send + Sync,
    {
        for _ in 0..ATTEMPTS {
            let current = self.current(name).await?;
            let shown = current.tree_for(&self.kind)?;
            let new = compute(&shown)?;
            let pinned = pinned_revision(&new, &shown, &current, name, self)?;
            match self.replace(name, &current, &shown, new).await {
                Err(error) if error.reason == "Conflict" && !pinned && is_stale(&error) => {}
                other => return other,
            }
        }
        Err(self.kind.stale(name))
    }

    async fn replace(&self, name: &str, current: &Object, shown: &Value, mut new: Value) -> Result<Written, ApiError> {
        self.merge_door(&mut new, shown);
        metadata::carry_over(&mut new, shown);
        self.stamp_and_convert(Some(shown), &mut new)?;
        let old = current.tree()?;
        admission::mutate(self, Operation::Update, &mut new, Some(&old)).await?;
        if self.subresource.is_empty() {
            (self.kind.rules.prepare_update)(&mut new, &old);
            if self.kind.rules.has_generation && metadata::spec_changed(&new, &old) {
                let next = api::meta::generation(&old) + 1;
                api::meta::set(&mut new, "generation", next);
            }
        }
        self.check_change(name, &new, &old)?;
        admission::validate(self, Operation::Update, Some(&new), Some(&old)).await?;
        if ends_by_update(&new) {
            return self.finish_deletion(name, current, new).await;
        }
        if object::encode(&mut new)? == current.entry.value {
            let object = Some(current.clone());
            return Ok(Written { tree: current.tree()?, object, created: false });
        }
        let claim = rest::claim(self, &mut new, Some(&old)).await?;
        let durability = durability(self, &new, Some(&old));
        let stored = self.store(name, &mut new, Some(current.revision), durability).await;
        match &stored {
            Ok(Some(_)) => claim.keep(self, &new).await,
            Ok(None) | Err(_) => claim.release(self).await,
        }
        Ok(Written { tree: new, object: stored?, created: false })
    }

    /// Through the status door only status (and metadata) changes; through the front door everything but status.
    fn merge_door(&self, new: &mut Value, old: &Value) {
        match self.subresource.as_str() {
            "" if self.kind.has_status() => copy_field(new, old, "status"),
            "status" | "approval" => {
                let mut merged = old.clone();
                copy_field(&mut merged, new, "status");
                let said = api::meta::of(new).cloned().unwrap_or_default();
                let metadata = api::meta::of_mut(&mut merged);
                for field in ["labels", "annotations", "finalizers", "managedFields", "resourceVersion", "uid"] {
                    match said.get(field) {
                        Some(value) => metadata.insert(field.into(), value.clone()),
                        None => metadata.remove(field),
                    };
                }
                *new = merged;
                (self.kind.rules.door)(&self.subresource, new, old);
            }
            door => (self.kind.rules.door)(door, new, old),
        }
    }

    fn check_change(&self, name: &str, new: &Value, old: &Value) -> Result<(), ApiError> {
        let mut errors = metadata::validate_update(new, old);
        errors.extend(metadata::validate(new, &self.kind));
        let rules = self.kind.rules;
        match self.subresource.as_str() {
            "status" | "approval" => errors.extend((rules.validate_status)(new, old)),
            "" => {
                errors.extend((rules.validate)(new));
                errors.extend((rules.validate_update)(new, old));
            }
            door => {
                errors.extend((rules.validate)(new));
                errors.extend((rules.validate_door)(door, new, old));
            }
        }
        if errors.is_empty() { Ok(()) } else { Err(self.kind.invalid(name, &errors)) }
    }
}

/// A conflict of revisions can be tried again; one of meaning cannot.
fn is_stale(error: &ApiError) -> bool {
    error.message.contains("the object has been modified")
}

/// Whether the new object insists on a revision; fails when that is not the present one, or the uid is another's.
fn pinned_revision(
    new: &Value,
    shown: &Value,
    current: &Object,
    name: &str,
    context: &Context,
) -> Result<bool, ApiError> {
    let uid = api::meta::uid(new);
    if !uid.is_empty() && uid != api::meta::uid(shown) {
        let why =
            format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {}", api::meta::uid(shown));
        return Err(context.kind.conflict(name, &why));
    }
    let said = api::meta::text(new, "resourceVersion");
    if said.is_empty() {
        return Ok(false);
    }
    let said: u64 = said.parse().map_err(|_| {
        let error =
            api::field::FieldError::invalid("metadata.resourceVersion", &said.into(), "must be an unsigned integer");
        context.kind.invalid(name, &[error])
    })?;
    if said != 0 && Revision(said) != current.revision {
        return Err(context.kind.stale(name));
    }
    Ok(said != 0 && api::meta::text(shown, "resourceVersion") != api::meta::text(new, "resourceVersion"))
}

pub(crate) fn copy_field(to: &mut Value, from: &Value, field: &str) {
    let Some(map) = to.as_object_mut() else { return };
    match from.get(field) {
        Some(value) => map.insert(field.into(), value.clone()),
        None => map.remove(field),
    };
}

/// An object that waits for nothing but its last finalizer goes with the update that removes it.
fn ends_by_update(new: &Value) -> bool {
    let waits = api::meta::of(new).and_then(|m| m.get("deletionGracePeriodSeconds")).and_then(Value::as_i64);
    api::meta::is_deleting(new) && waits.unwrap_or(0) == 0 && super::delete::nothing_holds(new)
}
