//! DefaultIngressClass.

use api::ApiError;
use client::ingress::{DEFAULT_CLASS, OLD_CLASS};
use serde_json::Value;

use super::default_class;
use crate::context::Context;

/// A new Ingress that leaves its class open gets the default one.
pub(super) async fn admit(context: &Context, ingress: &mut Value) -> Result<(), ApiError> {
    let named = ingress.pointer("/spec/ingressClassName").is_some_and(|name| !name.is_null());
    if named || api::meta::annotation(ingress, OLD_CLASS).is_some() {
        return Ok(());
    }
    if let Some(name) = default_class::of(context, "networking.k8s.io", "ingressclasses", &[DEFAULT_CLASS]).await? {
        api::meta::child_mut(api::meta::map_mut(ingress), "spec").insert("ingressClassName".into(), name.into());
    }
    Ok(())
}
