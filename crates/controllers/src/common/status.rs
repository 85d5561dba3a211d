//! Status writes. Upstream's roles let most controllers update a status but not patch it.

use std::fmt::Debug;

use client::write::is_conflict;
use kube::api::PostParams;
use kube::{Api, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// How often a conflicting write is tried again.
const ATTEMPTS: usize = 4;

/// Writes what `set` changes of an object's status, if anything. Answers the object as it is then. One that was written
/// by somebody else meanwhile is read again; one that is another object by now is left alone.
pub(crate) async fn write_status<K>(api: &Api<K>, object: &K, set: impl Fn(&mut K)) -> kube::Result<K>
where
    K: Resource + Clone + DeserializeOwned + Serialize + Debug + PartialEq,
{
    let mut seen = object.clone();
    let name = object.meta().name.clone().unwrap_or_default();
    for _ in 0..ATTEMPTS {
        let mut wanted = seen.clone();
        set(&mut wanted);
        if wanted == seen {
            return Ok(seen);
        }
        match api.replace_status(&name, &PostParams::default(), &wanted).await {
            Err(error) if is_conflict(&error) => {}
            other => return other,
        }
        seen = api.get(&name).await?;
        if seen.meta().uid != object.meta().uid {
            break;
        }
    }
    Ok(seen)
}
