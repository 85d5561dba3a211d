//! Writes that survive somebody else's write in between.

use std::fmt::Debug;

use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// How often a conflicting update is tried again.
const ATTEMPTS: usize = 8;

/// The status code of an answer of the apiserver, none when there was no answer.
pub fn code(error: &kube::Error) -> Option<u16> {
    match error {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}

/// The object is not there.
pub fn is_not_found(error: &kube::Error) -> bool {
    code(error) == Some(404)
}

/// Somebody wrote in between.
pub fn is_conflict(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 409 && status.reason != "AlreadyExists")
}

/// An object of this name is there already.
pub fn is_already_exists(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 409 && status.reason == "AlreadyExists")
}

/// Reads, changes and writes an object until no one else wrote in between. `change` answers false for "as it should
/// be": nothing is written then.
pub async fn update<K, F>(api: &Api<K>, name: &str, change: F) -> kube::Result<K>
where
    K: Clone + DeserializeOwned + Serialize + Debug,
    F: FnMut(&mut K) -> bool,
{
    update_part(api, name, Part::Main, change).await
}

/// As [`update`], through the status subresource.
pub async fn update_status<K, F>(api: &Api<K>, name: &str, change: F) -> kube::Result<K>
where
    K: Clone + DeserializeOwned + Serialize + Debug,
    F: FnMut(&mut K) -> bool,
{
    update_part(api, name, Part::Status, change).await
}

#[derive(Clone, Copy)]
enum Part {
    Main,
    Status,
}

async fn update_part<K, F>(api: &Api<K>, name: &str, part: Part, mut change: F) -> kube::Result<K>
where
    K: Clone + DeserializeOwned + Serialize + Debug,
    F: FnMut(&mut K) -> bool,
{
    let mut attempt = 0;
    loop {
        let mut object = api.get(name).await?;
        if !change(&mut object) {
            return Ok(object);
        }
        attempt += 1;
        let written = match part {
            Part::Main => api.replace(name, &PostParams::default(), &object).await,
            Part::Status => api.replace_status(name, &PostParams::default(), &object).await,
        };
        match written {
            Err(error) if is_conflict(&error) && attempt < ATTEMPTS => {}
            other => return other,
        }
    }
}

/// Sends a merge patch to the status subresource.
pub async fn merge_status<K>(api: &Api<K>, name: &str, patch: &serde_json::Value) -> kube::Result<K>
where
    K: Clone + DeserializeOwned + Debug,
{
    api.patch_status(name, &PatchParams::default(), &Patch::Merge(patch)).await
}
