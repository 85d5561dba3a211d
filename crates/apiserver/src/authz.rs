//! Who may do what: `system:masters` everything, kubelets what their pods need, all others what RBAC says.

pub(crate) mod covers;
pub(crate) mod node;
pub(crate) mod rbac;

use std::sync::Arc;

use api::ApiError;

use crate::context::User;
use crate::request::{RequestInfo, ResourceRequest};
use crate::server::Server;

/// Paths that anybody may read.
const OPEN: &[&str] = &["/healthz", "/livez", "/readyz", "/version"];

/// Lets a request pass, or says why not.
pub(crate) async fn authorize(server: &Arc<Server>, user: &User, request: &RequestInfo) -> Result<(), ApiError> {
    if allowed(server, user, request).await { Ok(()) } else { Err(refusal(user, request)) }
}

/// Whether a request would pass.
pub(crate) async fn allowed(server: &Arc<Server>, user: &User, request: &RequestInfo) -> bool {
    if user.in_group("system:masters") {
        return true;
    }
    if let RequestInfo::Path { verb, path } = request
        && matches!(*verb, "get" | "head")
        && OPEN.iter().any(|p| path == p || path.strip_prefix(p).is_some_and(|rest| rest.starts_with('/')))
    {
        return true;
    }
    if let (Some(node), RequestInfo::Resource(request)) = (user.node_name(), request)
        && node::allowed(server, node, request).await
    {
        return true;
    }
    server.rbac.allowed(server, user, request).await
}

fn refusal(user: &User, request: &RequestInfo) -> ApiError {
    match request {
        RequestInfo::Path { verb, path } => {
            let message = format!("forbidden: User \"{}\" cannot {verb} path \"{path}\"", user.name);
            let mut error = ApiError::new(403, "Forbidden", message);
            error.details = Some(Box::default());
            error
        }
        RequestInfo::Resource(r) => {
            let why = format!("User \"{}\" cannot {}", user.name, describe(r));
            ApiError::forbidden(&r.group, &r.resource, &r.name, &why)
        }
    }
}

fn describe(r: &ResourceRequest) -> String {
    let resource =
        if r.subresource.is_empty() { r.resource.clone() } else { format!("{}/{}", r.resource, r.subresource) };
    let place = if r.namespace.is_empty() || r.resource == "namespaces" {
        "at the cluster scope".to_owned()
    } else {
        format!("in the namespace \"{}\"", r.namespace)
    };
    format!("{} resource \"{resource}\" in API group \"{}\" {place}", r.verb, r.group)
}
