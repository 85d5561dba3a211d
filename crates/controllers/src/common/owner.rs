//! Who an object belongs to.

use api::selector::LabelSelector;
use client::ObjectKey;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::api::{Patch, PatchParams};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use serde_json::json;

/// The reference to the controller, if there is one.
pub(crate) fn controller_of(meta: &ObjectMeta) -> Option<&OwnerReference> {
    meta.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))
}

/// The controller of an object, if it is of this kind.
pub(crate) fn owned_by(kind: &str, meta: &ObjectMeta) -> Option<ObjectKey> {
    let owner = controller_of(meta).filter(|owner| owner.kind == kind)?;
    Some(ObjectKey::new(meta.namespace.clone().unwrap_or_default(), &owner.name))
}

/// A reference to `owner` as the controller.
pub(crate) fn controller_reference<K: Resource<DynamicType = ()>>(owner: &K) -> OwnerReference {
    controller_reference_of::<K>(owner.meta())
}

/// As [`controller_reference`], of an owner of whom only the metadata is at hand.
pub(crate) fn controller_reference_of<K: Resource<DynamicType = ()>>(owner: &ObjectMeta) -> OwnerReference {
    OwnerReference {
        api_version: K::api_version(&()).into_owned(),
        kind: K::kind(&()).into_owned(),
        name: owner.name.clone().unwrap_or_default(),
        uid: owner.uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// What is to happen between an owner and an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claim {
    /// It is the owner's.
    Owned,
    /// It is nobody's and matches: take it.
    Adopt,
    /// It is the owner's and no longer matches: let go.
    Release,
    /// Somebody else's business.
    Foreign,
}

/// Decides by controller reference and selector. Who is being deleted neither adopts nor releases.
pub(crate) fn claim(owner: &ObjectMeta, selector: &LabelSelector, object: &ObjectMeta) -> Claim {
    let matches =
        object.labels.as_ref().map_or_else(|| selector.matches_by(|_| None), |labels| selector.matches(labels));
    let deleting = owner.deletion_timestamp.is_some();
    match controller_of(object) {
        Some(reference) if Some(&reference.uid) != owner.uid.as_ref() => Claim::Foreign,
        Some(_) if matches => Claim::Owned,
        Some(_) if deleting => Claim::Foreign,
        Some(_) => Claim::Release,
        None if !matches || deleting || object.deletion_timestamp.is_some() => Claim::Foreign,
        None => Claim::Adopt,
    }
}

/// Makes `reference` the controller of an object.
pub(crate) async fn adopt<K>(api: &Api<K>, object: &ObjectMeta, reference: &OwnerReference) -> kube::Result<()>
where
    K: Clone + DeserializeOwned + std::fmt::Debug,
{
    let patch = json!({"metadata": {"uid": object.uid, "ownerReferences": [reference]}});
    let name = object.name.as_deref().unwrap_or_default();
    api.patch(name, &PatchParams::default(), &Patch::Strategic(&patch)).await.map(drop)
}

/// Takes the reference of an owner off an object; one that is gone needs nothing.
pub(crate) async fn release<K>(api: &Api<K>, object: &ObjectMeta, owner: &str) -> kube::Result<()>
where
    K: Clone + DeserializeOwned + std::fmt::Debug,
{
    let patch = json!({"metadata": {"uid": object.uid, "ownerReferences": [{"$patch": "delete", "uid": owner}]}});
    let name = object.name.as_deref().unwrap_or_default();
    match api.patch(name, &PatchParams::default(), &Patch::Strategic(&patch)).await {
        Err(error) if client::write::is_not_found(&error) => Ok(()),
        other => other.map(drop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims() {
        let meta = |value: serde_json::Value| serde_json::from_value::<ObjectMeta>(value).unwrap();
        let selector = LabelSelector::parse("a=b").unwrap();
        let owner = meta(json!({"uid": "1"}));
        let dying = meta(json!({"uid": "1", "deletionTimestamp": "2020-01-01T00:00:00Z"}));
        let by = |uid: &str| json!([{"apiVersion": "v1", "kind": "K", "name": "n", "uid": uid, "controller": true}]);
        let rows = [
            (&owner, json!({"labels": {"a": "b"}}), Claim::Adopt),
            (&owner, json!({"labels": {"a": "c"}}), Claim::Foreign),
            (&owner, json!({"labels": {"a": "b"}, "ownerReferences": by("1")}), Claim::Owned),
            (&owner, json!({"labels": {"a": "c"}, "ownerReferences": by("1")}), Claim::Release),
            (&owner, json!({"labels": {"a": "b"}, "ownerReferences": by("2")}), Claim::Foreign),
            (&owner, json!({"labels": {"a": "b"}, "deletionTimestamp": "2020-01-01T00:00:00Z"}), Claim::Foreign),
            (&dying, json!({"labels": {"a": "b"}}), Claim::Foreign),
            (&dying, json!({"labels": {"a": "b"}, "ownerReferences": by("1")}), Claim::Owned),
            (&dying, json!({"ownerReferences": by("1")}), Claim::Foreign),
        ];
        for (owner, object, expected) in rows {
            assert_eq!(claim(owner, &selector, &meta(object.clone())), expected, "{object}");
        }
    }
}
