//! Merge patches that say only what differs.

use std::fmt::Debug;

use kube::Api;
use kube::api::{Patch, PatchParams};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

/// The merge patch from one value to another, none when they are equal.
pub(crate) fn diff(old: &Value, new: &Value) -> Option<Value> {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            let mut patch = Map::new();
            for (key, value) in new {
                let change = old.get(key).map_or_else(|| Some(value.clone()), |old| diff(old, value));
                if let Some(change) = change {
                    patch.insert(key.clone(), change);
                }
            }
            let gone = old.keys().filter(|key| !new.contains_key(*key));
            patch.extend(gone.map(|key| (key.clone(), Value::Null)));
            (!patch.is_empty()).then_some(Value::Object(patch))
        }
        (old, new) => (old != new).then(|| new.clone()),
    }
}

/// Writes a status where it differs; the object must still be the one of this uid.
pub(crate) async fn write_status<K, S>(api: &Api<K>, object: (&str, &str), old: &S, new: &S) -> kube::Result<bool>
where
    K: Clone + DeserializeOwned + Debug,
    S: Serialize,
{
    let value = |status: &S| serde_json::to_value(status).map_err(kube::Error::SerdeError);
    let Some(status) = diff(&value(old)?, &value(new)?) else { return Ok(false) };
    let (name, uid) = object;
    let patch = json!({"metadata": {"uid": uid}, "status": status});
    api.patch_status(name, &PatchParams::default(), &Patch::Merge(&patch)).await?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_says_only_what_differs() {
        let old = json!({"a": 1, "b": {"c": 2, "d": 3}, "e": [1], "f": 1});
        let new = json!({"a": 1, "b": {"c": 2, "d": 4}, "e": [2]});
        assert_eq!(diff(&old, &new), Some(json!({"b": {"d": 4}, "e": [2], "f": null})));
        assert_eq!(diff(&old, &old), None);
    }
}
