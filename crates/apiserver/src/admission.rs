//! Admission: built-in plugins that see every write after authorization, in upstream's order.
//!
//! <https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/>

mod certificates;
mod default_class;
mod escalation;
mod ingress;
mod limit_ranger;
mod namespace_lifecycle;
mod pod_tolerations;
mod priority;
mod runtime_class;
mod service_account;
mod storage;
mod taint_nodes;

use api::ApiError;
use serde_json::Value;

use crate::authz;
use crate::context::Context;

/// What is done to the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Create,
    Update,
    Delete,
}

/// Plugins that may change the object (storage version).
pub(crate) async fn mutate(
    context: &Context,
    operation: Operation,
    object: &mut Value,
    old: Option<&Value>,
) -> Result<(), ApiError> {
    namespace_lifecycle::admit(context, operation).await?;
    let resource = context.kind.resource;
    if !context.subresource.is_empty() || old.is_some() {
        return Ok(());
    }
    match (resource.group, resource.plural) {
        ("", "pods") => {
            limit_ranger::fill(context, object).await?;
            taint_nodes::tolerate(object);
            service_account::admit(context, object).await?;
            priority::admit(context, object).await?;
            runtime_class::admit(context, object).await?;
            pod_tolerations::admit(object, &context.server.config);
        }
        ("", "nodes") => taint_nodes::admit(object),
        ("", "persistentvolumes") => storage::admit_volume(object),
        ("", "persistentvolumeclaims") => storage::admit_claim(context, object).await?,
        ("networking.k8s.io", "ingresses") => ingress::admit(context, object).await?,
        ("certificates.k8s.io", "certificatesigningrequests") => requester(context, object),
        ("scheduling.k8s.io", "priorityclasses") => priority::check_class(context, object).await?,
        _ => {}
    }
    Ok(())
}

/// Who asks for a certificate is what the server knows, not what the request says.
fn requester(context: &Context, object: &mut Value) {
    let spec = api::meta::child_mut(api::meta::map_mut(object), "spec");
    for field in ["username", "uid", "groups", "extra"] {
        spec.remove(field);
    }
    if let Value::Object(info) = crate::rest::review::user_info(&context.user) {
        spec.extend(info);
    }
}

/// Plugins that only say yes or no. `new` is none for deletions.
pub(crate) async fn validate(
    context: &Context,
    operation: Operation,
    new: Option<&Value>,
    old: Option<&Value>,
) -> Result<(), ApiError> {
    if operation == Operation::Delete {
        namespace_lifecycle::protect(context, old)?;
    }
    if let Some(new) = new {
        certificates::check(context, new, old).await?;
    }
    let limited = matches!(
        (context.kind.resource.group, context.kind.resource.plural, operation),
        ("", "pods", Operation::Create) | ("", "persistentvolumeclaims", Operation::Create | Operation::Update)
    );
    if let Some(new) = new.filter(|_| limited && context.subresource.is_empty()) {
        limit_ranger::check(context, new).await?;
    }
    if let Some(new) = new.filter(|_| context.subresource.is_empty()) {
        escalation::check(context, new, old).await?;
        if let Some(old) = old.filter(|_| context.kind.resource.plural == "persistentvolumeclaims") {
            storage::check_resize(context, new, old).await?;
        }
    }
    authz::node::restrict(&context.user, &context.kind, &context.subresource, new, old)
}
