//! DefaultStorageClass, StorageObjectInUseProtection and PersistentVolumeClaimResize.

use api::{ApiError, Quantity};
use serde_json::{Value, json};

use super::default_class;
use crate::context::Context;

const CLAIM_FINALIZER: &str = "kubernetes.io/pvc-protection";
const VOLUME_FINALIZER: &str = "kubernetes.io/pv-protection";
const CLASS_BETA: &str = "volume.beta.kubernetes.io/storage-class";
const DEFAULT: &[&str] =
    &["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"];

/// A new volume goes only when nobody uses it.
pub(super) fn admit_volume(volume: &mut Value) {
    protect(volume, VOLUME_FINALIZER);
}

/// A new claim goes only when nobody uses it; one that leaves its class open gets the default one.
pub(super) async fn admit_claim(context: &Context, claim: &mut Value) -> Result<(), ApiError> {
    protect(claim, CLAIM_FINALIZER);
    let named = claim.pointer("/spec/storageClassName").is_some_and(|name| !name.is_null());
    if named || api::meta::annotation(claim, CLASS_BETA).is_some() {
        return Ok(());
    }
    if let Some(name) = default_class::of(context, "storage.k8s.io", "storageclasses", DEFAULT).await? {
        api::meta::child_mut(api::meta::map_mut(claim), "spec").insert("storageClassName".into(), name.into());
    }
    Ok(())
}

fn protect(object: &mut Value, finalizer: &str) {
    let list = api::meta::of_mut(object).entry("finalizers").or_insert_with(|| json!([]));
    if let Some(list) = list.as_array_mut()
        && !list.iter().any(|known| known == finalizer)
    {
        list.push(finalizer.into());
    }
}

/// A claim grows only once it is bound, and only where its class says that it may.
pub(super) async fn check_resize(context: &Context, new: &Value, old: &Value) -> Result<(), ApiError> {
    let size = |claim: &Value| {
        let text = claim.pointer("/spec/resources/requests/storage").and_then(Value::as_str);
        text.and_then(|text| Quantity::parse(text).ok()).unwrap_or_default()
    };
    if size(new) <= size(old) {
        return Ok(());
    }
    let refuse = |why: &str| Err(context.kind.forbidden(api::meta::name(new), why));
    if api::meta::at(old, "/status/phase") != "Bound" {
        return refuse("Only bound persistent volume claims can be expanded");
    }
    let class = |claim: &Value| {
        let own = claim.pointer("/spec/storageClassName").and_then(Value::as_str).unwrap_or_default();
        api::meta::annotation(claim, CLASS_BETA).unwrap_or(own).to_owned()
    };
    let name = class(new);
    if !name.is_empty() && name == class(old) {
        let classes = context.server.own("storage.k8s.io", "storageclasses", "")?;
        if let Ok(found) = classes.current(&name).await
            && found.tree()?.get("allowVolumeExpansion").and_then(Value::as_bool) == Some(true)
        {
            return Ok(());
        }
    }
    refuse(
        "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_finalizer_is_set_once() {
        let mut claim = json!({"metadata": {"finalizers": ["x"]}});
        protect(&mut claim, CLAIM_FINALIZER);
        protect(&mut claim, CLAIM_FINALIZER);
        assert_eq!(claim["metadata"]["finalizers"], json!(["x", CLAIM_FINALIZER]));
    }
}
