//! Puts finalizers on objects and takes them off, by updates that fail when somebody else wrote in between.

use std::fmt::Debug;

use kube::api::PostParams;
use kube::{Api, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub(crate) async fn add<K>(api: &Api<K>, object: &K, finalizer: &str) -> kube::Result<()>
where
    K: Resource + Clone + DeserializeOwned + Serialize + Debug,
{
    let mut changed = object.clone();
    changed.meta_mut().finalizers.get_or_insert_default().push(finalizer.to_owned());
    replace(api, &changed).await
}

pub(crate) async fn remove<K>(api: &Api<K>, object: &K, finalizer: &str) -> kube::Result<()>
where
    K: Resource + Clone + DeserializeOwned + Serialize + Debug,
{
    let mut changed = object.clone();
    changed.meta_mut().finalizers.get_or_insert_default().retain(|known| known != finalizer);
    replace(api, &changed).await
}

/// One that is gone needs nothing.
async fn replace<K>(api: &Api<K>, object: &K) -> kube::Result<()>
where
    K: Resource + Clone + DeserializeOwned + Serialize + Debug,
{
    match api.replace(object.meta().name.as_deref().unwrap_or_default(), &PostParams::default(), object).await {
        Err(error) if client::write::is_not_found(&error) => Ok(()),
        other => other.map(drop),
    }
}
