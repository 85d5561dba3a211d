//! Writing a status.

use std::fmt::Debug;

use kube::Api;
use kube::api::PostParams;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Replaces the status of the very object that was looked at (upstream's roles let controllers update, not patch).
/// None when it is gone or has changed: that change is on its way to the informer, which brings the reconciler back.
pub(crate) async fn write<K>(api: &Api<K>, new: &K) -> kube::Result<Option<K>>
where
    K: kube::Resource + Clone + DeserializeOwned + Serialize + Debug,
{
    let name = new.meta().name.clone().unwrap_or_default();
    unless_lost(api.replace_status(&name, &PostParams::default(), new).await)
}

/// The same for the object itself.
pub(crate) async fn replace<K>(api: &Api<K>, new: &K) -> kube::Result<Option<K>>
where
    K: kube::Resource + Clone + DeserializeOwned + Serialize + Debug,
{
    let name = new.meta().name.clone().unwrap_or_default();
    unless_lost(api.replace(&name, &PostParams::default(), new).await)
}

fn unless_lost<K>(result: kube::Result<K>) -> kube::Result<Option<K>> {
    match result {
        Err(error) if client::write::is_conflict(&error) || client::write::is_not_found(&error) => Ok(None),
        other => other.map(Some),
    }
}
