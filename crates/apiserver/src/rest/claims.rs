//! What a write takes from the cluster's pools, and gives back if it comes to nothing.
//!
//! A key of the store stands for one thing of a pool (a node port, a node's range of addresses) and says who has it.
//! Taking it is a compare-and-swap, so that of two servers over one store only one succeeds.

use api::ApiError;
use bytes::Bytes;
use serde_json::{Value, json};
use storage::{Durability, Entry, Revision, Write, WriteError};

use crate::context::Context;
use crate::registry::delete::{DeleteOptions, Preconditions};
use crate::rest::quota::Charge;
use crate::server::{Server, read_error};

/// What was taken for a write, and what the object no longer needs after it.
#[derive(Default)]
pub(crate) struct Claim {
    /// Address and uid of the object that holds it.
    pub(crate) addresses_taken: Vec<(String, String)>,
    pub(crate) addresses_freed: Vec<String>,
    pub(crate) keys_taken: Vec<(String, Revision)>,
    pub(crate) keys_freed: Vec<String>,
    /// What was taken from quotas.
    pub(crate) charge: Charge,
}

impl Claim {
    /// The write was done: what the object no longer names is free again.
    pub(crate) async fn keep(&self, context: &Context, object: &Value) {
        for address in &self.addresses_freed {
            give_back_address(context, address, Preconditions::default()).await;
        }
        for key in &self.keys_freed {
            let held = context.server.store.get(key).await;
            if let Ok(Some(entry)) = held
                && is_owner(&entry, object)
            {
                give_back_key(&context.server, key, entry.modified).await;
            }
        }
    }

    /// The write was not done.
    pub(crate) async fn release(&self, context: &Context) {
        for (address, uid) in &self.addresses_taken {
            give_back_address(context, address, Preconditions::uid(uid)).await;
        }
        for (key, revision) in &self.keys_taken {
            give_back_key(&context.server, key, *revision).await;
        }
        self.charge.release(context).await;
    }

    /// Takes the thing that a key stands for; false when somebody else has it.
    pub(crate) async fn take_key(&mut self, context: &Context, key: &str, object: &Value) -> Result<bool, ApiError> {
        if context.options.dry_run {
            return context.server.store.get(key).await.map(|held| held.is_none()).map_err(read_error);
        }
        let taken = hold_key(&context.server, key, object).await?;
        self.keys_taken.extend(taken.map(|revision| (key.to_owned(), revision)));
        Ok(taken.is_some())
    }
}

/// Writes a key for its owner; none when it is taken.
pub(crate) async fn hold_key(server: &Server, key: &str, owner: &Value) -> Result<Option<Revision>, ApiError> {
    let value = json!({"namespace": api::meta::namespace(owner), "name": api::meta::name(owner)});
    let write = Write {
        key: key.into(),
        value: Some(Bytes::from(value.to_string())),
        expected: None,
        durability: Durability::Durable,
        ttl_seconds: None,
    };
    match server.store.write(write).await {
        Ok((_, revision)) => Ok(Some(revision)),
        Err(WriteError::Conflict(_)) => Ok(None),
        Err(error) => Err(ApiError::unavailable(error.to_string())),
    }
}

/// Whether the key is held for this object.
pub(crate) fn is_owner(entry: &Entry, object: &Value) -> bool {
    let owner: Value = serde_json::from_slice(&entry.value).unwrap_or_default();
    owner.get("namespace").is_some_and(|n| n == api::meta::namespace(object))
        && owner.get("name").is_some_and(|n| n == api::meta::name(object))
}

/// Removes a key that is still at this revision.
pub(crate) async fn give_back_key(server: &Server, key: &str, revision: Revision) {
    let write = Write {
        key: key.into(),
        value: None,
        expected: Some(revision),
        durability: Durability::Durable,
        ttl_seconds: None,
    };
    match server.store.write(write).await {
        Ok(_) | Err(WriteError::Conflict(_)) => {}
        Err(error) => tracing::warn!(key, %error, "it was not given back"),
    }
}

/// Removes the object that holds a cluster IP.
pub(crate) async fn give_back_address(context: &Context, address: &str, preconditions: Preconditions) {
    let Ok(addresses) = context.server.own("networking.k8s.io", "ipaddresses", "") else { return };
    let options = DeleteOptions { preconditions: Some(preconditions), ..DeleteOptions::default() };
    if let Err(error) = addresses.delete(address, &options).await
        && error.reason != "NotFound"
    {
        tracing::warn!(address, %error, "a cluster IP was not given back");
    }
}
