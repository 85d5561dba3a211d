//! Delete: preconditions, grace, finalizers, propagation.

use api::ApiError;
use futures::FutureExt;
use futures::future::BoxFuture;
use serde::Deserialize;
use serde_json::{Value, json};
use storage::{Durability, Write, WriteError};

use super::Object;
use super::create::Written;
use super::list::Listed;
use crate::admission::{self, Operation};
use crate::context::Context;
use crate::rest;

const ATTEMPTS: usize = 16;

/// `metav1.DeleteOptions`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeleteOptions {
    #[serde(default)]
    pub(crate) grace_period_seconds: Option<i64>,
    #[serde(default)]
    pub(crate) preconditions: Option<Preconditions>,
    #[serde(default)]
    pub(crate) propagation_policy: Option<String>,
    #[serde(default)]
    pub(crate) orphan_dependents: Option<bool>,
    #[serde(default)]
    pub(crate) dry_run: Option<Vec<String>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Preconditions {
    #[serde(default)]
    pub(crate) uid: Option<String>,
    #[serde(default)]
    resource_version: Option<String>,
}

impl Preconditions {
    /// Only the object of this uid.
    pub(crate) fn uid(uid: &str) -> Self {
        Self { uid: Some(uid.to_owned()), resource_version: None }
    }
}

impl DeleteOptions {
    /// The finalizer that the policy asks for.
    fn finalizer(&self) -> Result<Option<&'static str>, ApiError> {
        match (self.propagation_policy.as_deref(), self.orphan_dependents) {
            (Some("Orphan"), _) | (None, Some(true)) => Ok(Some("orphan")),
            (Some("Foreground"), _) => Ok(Some("foregroundDeletion")),
            (Some("Background"), _) | (None, _) => Ok(None),
            (Some(other), _) => Err(ApiError::new(
                422,
                "Invalid",
                format!(
                    "DeleteOptions.meta.k8s.io \"\" is invalid: propagationPolicy: Unsupported value: \"{other}\": supported values: \"Foreground\", \"Background\", \"Orphan\", \"nil\""
                ),
            )),
        }
    }
}

/// What a deletion came to.
pub(crate) enum Deleted {
    /// Gone; the last state.
    Gone(Value),
    /// Waits for grace or finalizers.
    Pending(Written),
}

/// Whether neither finalizers nor, for namespaces, spec.finalizers hold it.
pub(crate) fn nothing_holds(object: &Value) -> bool {
    let own = object.get("kind").is_some_and(|k| k == "Namespace")
        && object.pointer("/spec/finalizers").and_then(Value::as_array).is_some_and(|f| !f.is_empty());
    api::meta::finalizers(object).next().is_none() && !own
}

impl Context {
    /// DELETE of one object.
    pub(crate) fn delete<'a>(
        &'a self,
        name: &'a str,
        options: &'a DeleteOptions,
    ) -> BoxFuture<'a, Result<Deleted, ApiError>> {
        // Boxed: with a Service goes the object that holds its address.
        self.delete_now(name, options).boxed()
    }

    async fn delete_now(&self, name: &str, options: &DeleteOptions) -> Result<Deleted, ApiError> {
        for _ in 0..ATTEMPTS {
            let current = self.current(name).await?;
            match self.delete_at(name, &current, options).await {
                Err(error) if error.reason == "Conflict" && error.message.contains("has been modified") => {}
                other => return other,
            }
        }
        Err(self.kind.stale(name))
    }

    async fn delete_at(&self, name: &str, current: &Object, options: &DeleteOptions) -> Result<Deleted, ApiError> {
        let old = current.tree()?;
        self.check_preconditions(name, &old, current, options)?;
        admission::validate(self, Operation::Delete, None, Some(&old)).await?;
        let mut new = old.clone();
        self.mark(&mut new, &old, options)?;
        if nothing_holds(&new) && grace_of(&new) == 0 {
            return self.remove(name, current, old).await.map(Deleted::Gone);
        }
        if new == old {
            let object = Some(current.clone());
            return Ok(Deleted::Pending(Written { tree: old, object, created: false }));
        }
        let object = self.store(name, &mut new, Some(current.revision), Durability::Durable).await?;
        Ok(Deleted::Pending(Written { tree: new, object, created: false }))
    }

    fn check_preconditions(
        &self,
        name: &str,
        old: &Value,
        current: &Object,
        options: &DeleteOptions,
    ) -> Result<(), ApiError> {
        let Some(preconditions) = &options.preconditions else { return Ok(()) };
        let uid = api::meta::uid(old);
        if let Some(asked) = preconditions.uid.as_deref().filter(|asked| *asked != uid) {
            let why = format!("Precondition failed: UID in precondition: {asked}, UID in object meta: {uid}");
            return Err(self.kind.conflict(name, &why));
        }
        let revision = current.revision.to_string();
        if let Some(asked) = preconditions.resource_version.as_deref().filter(|asked| *asked != revision) {
            let why = format!(
                "Precondition failed: ResourceVersion in precondition: {asked}, ResourceVersion in object meta: {revision}"
            );
            return Err(self.kind.conflict(name, &why));
        }
        Ok(())
    }

    /// Sets deletion time, grace and the policy's finalizer.
    fn mark(&self, new: &mut Value, old: &Value, options: &DeleteOptions) -> Result<(), ApiError> {
        let default = self.kind.rules.grace.map_or(0, |grace| grace(old));
        let graceful = self.kind.rules.grace.is_some();
        let asked = options.grace_period_seconds.filter(|_| graceful && default > 0);
        let grace = asked.map_or(default, |g| if g < 0 { 1 } else { g });
        let already = api::meta::is_deleting(old);
        let finalizer = options.finalizer()?;
        let metadata = api::meta::of_mut(new);
        if let Some(finalizer) = finalizer.filter(|_| !already) {
            let list = metadata.entry("finalizers").or_insert_with(|| json!([]));
            if let Some(list) = list.as_array_mut()
                && !list.iter().any(|f| f == finalizer)
            {
                list.push(finalizer.into());
            }
        }
        let shorter = metadata
            .get("deletionGracePeriodSeconds")
            .and_then(Value::as_i64)
            .is_none_or(|present| graceful && grace < present);
        if already && !shorter {
            return Ok(());
        }
        let at = self.now + jiff::SignedDuration::from_secs(grace);
        metadata.insert("deletionTimestamp".into(), api::time::seconds(at).into());
        metadata.insert("deletionGracePeriodSeconds".into(), grace.into());
        if self.kind.rules.has_generation && !already {
            let next = metadata.get("generation").and_then(Value::as_i64).unwrap_or(0) + 1;
            metadata.insert("generation".into(), next.into());
        }
        if self.kind.resource.plural == "namespaces"
            && let Some(object) = new.as_object_mut()
        {
            api::meta::child_mut(object, "status").insert("phase".into(), "Terminating".into());
        }
        Ok(())
    }

    /// Takes an object out of the store.
    async fn remove(&self, name: &str, current: &Object, mut last: Value) -> Result<Value, ApiError> {
        if self.options.dry_run {
            return Ok(last);
        }
        let write = Write {
            key: self.key(name).as_str().into(),
            value: None,
            expected: Some(current.revision),
            durability: Durability::Durable,
            ttl_seconds: None,
        };
        match self.server.store.write(write).await {
            Ok((_, revision)) => {
                api::meta::set(&mut last, "resourceVersion", revision.to_string());
                rest::released(self, &last).await;
                Ok(last)
            }
            Err(WriteError::Conflict(None)) => Err(self.kind.not_found(name)),
            Err(WriteError::Conflict(Some(_))) => Err(self.kind.stale(name)),
            Err(error) => Err(ApiError::unavailable(error.to_string())),
        }
    }

    /// The end of an object whose last finalizer an update has removed.
    pub(crate) async fn finish_deletion(&self, name: &str, current: &Object, new: Value) -> Result<Written, ApiError> {
        let tree = self.remove(name, current, new).await?;
        Ok(Written { tree, object: None, created: false })
    }

    /// DELETE of a collection, or of a page of it. Returns what was deleted.
    pub(crate) async fn delete_listed(&self, listed: &Listed, options: &DeleteOptions) -> Result<Vec<Value>, ApiError> {
        let mut deleted = Vec::new();
        for object in &listed.objects {
            let attributes = object.attributes(&self.kind);
            let one = self.on(&self.kind, &attributes.namespace);
            match one.delete(&attributes.name, options).await {
                Ok(Deleted::Gone(tree)) => deleted.push(tree),
                Ok(Deleted::Pending(written)) => deleted.push(written.tree),
                Err(error) if error.reason == "NotFound" => {}
                Err(error) => return Err(error),
            }
        }
        Ok(deleted)
    }
}

fn grace_of(object: &Value) -> i64 {
    let metadata = api::meta::of(object);
    metadata.and_then(|m| m.get("deletionGracePeriodSeconds")).and_then(Value::as_i64).unwrap_or(0)
}
