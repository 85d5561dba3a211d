//! NamespaceLifecycle: nothing is created in a namespace that is not there or is going; some namespaces stay.

use api::ApiError;
use serde_json::{Value, json};

use super::Operation;
use crate::context::Context;

/// Namespaces that cannot be deleted.
const IMMORTAL: &[&str] = &["default", "kube-system", "kube-public"];

pub(super) async fn admit(context: &Context, operation: Operation) -> Result<(), ApiError> {
    if operation != Operation::Create || !context.kind.resource.namespaced() || !context.subresource.is_empty() {
        return Ok(());
    }
    let namespaces = context.server.own("", "namespaces", "")?;
    let namespace = namespaces.current(&context.namespace).await?.tree()?;
    if !api::meta::is_deleting(&namespace) {
        return Ok(());
    }
    let why = format!("unable to create new content in namespace {} because it is being terminated", context.namespace);
    let mut error = context.kind.forbidden("", &why);
    if let Some(details) = error.details.as_mut().and_then(|d| d.as_object_mut()) {
        let cause = json!({
            "reason": "NamespaceTerminating",
            "message": format!("namespace {} is being terminated", context.namespace),
            "field": "metadata.namespace",
        });
        details.insert("causes".into(), json!([cause]));
    }
    Err(error)
}

pub(super) fn protect(context: &Context, old: Option<&Value>) -> Result<(), ApiError> {
    let name = old.map(api::meta::name).unwrap_or_default();
    if context.kind.resource.plural == "namespaces" && IMMORTAL.contains(&name) {
        return Err(context.kind.forbidden(name, "this namespace may not be deleted"));
    }
    Ok(())
}
