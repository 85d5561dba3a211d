//! `metav1.Status` and the errors that become one.
//!
//! Reasons, codes and wording are upstream's (`apimachinery/pkg/api/errors`): clients match on them.

use serde_json::{Map, Value, json};

use crate::field::FieldError;

/// An error of the API, one variant per upstream reason.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// HTTP status code.
    pub code: u16,
    /// Machine-readable reason, `NotFound`.
    pub reason: &'static str,
    /// Human-readable message.
    pub message: String,
    /// `details`, absent when null.
    pub details: Option<Box<Value>>,
    /// `metadata.continue`: where a list that broke off can be gone on with.
    pub next: Option<Box<str>>,
}

impl ApiError {
    /// An error without details.
    pub fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: None, next: None }
    }

    fn detailed(mut self, details: Value) -> Self {
        self.details = Some(Box::new(details));
        self
    }

    /// 404 for an object: `pods "a" not found`.
    pub fn not_found(group: &str, resource: &str, name: &str) -> Self {
        Self::new(404, "NotFound", format!("{} \"{name}\" not found", qualified(resource, group)))
            .detailed(object_details(group, resource, name))
    }

    /// 404 for a path.
    pub fn no_such_path() -> Self {
        Self::new(404, "NotFound", "the server could not find the requested resource").detailed(json!({}))
    }

    /// 409 on create.
    pub fn already_exists(group: &str, resource: &str, name: &str) -> Self {
        Self::new(409, "AlreadyExists", format!("{} \"{name}\" already exists", qualified(resource, group)))
            .detailed(object_details(group, resource, name))
    }

    /// 409 on update or delete.
    pub fn conflict(group: &str, resource: &str, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} \"{name}\": {why}", qualified(resource, group));
        Self::new(409, "Conflict", message).detailed(object_details(group, resource, name))
    }

    /// 409 because the resourceVersion is not the present one.
    pub fn stale(group: &str, resource: &str, name: &str) -> Self {
        Self::conflict(
            group,
            resource,
            name,
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    }

    /// 400.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// 401.
    pub fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized")
    }

    /// 403 with a cause; `name` may be empty.
    pub fn forbidden(group: &str, resource: &str, name: &str, why: &str) -> Self {
        let message = if name.is_empty() {
            format!("{} is forbidden: {why}", qualified(resource, group))
        } else {
            format!("{} \"{name}\" is forbidden: {why}", qualified(resource, group))
        };
        Self::new(403, "Forbidden", message).detailed(object_details(group, resource, name))
    }

    /// 405.
    pub fn method_not_supported(group: &str, resource: &str, verb: &str) -> Self {
        let message = format!("{verb} is not supported on resources of kind \"{}\"", qualified(resource, group));
        Self::new(405, "MethodNotAllowed", message).detailed(json!({"group": group, "kind": resource}))
    }

    /// 410: the revision is no longer, or not yet, there.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message)
    }

    /// 413.
    pub fn too_large(message: impl Into<String>) -> Self {
        Self::new(413, "RequestEntityTooLarge", message)
    }

    /// 415.
    pub fn unsupported_media_type(message: impl Into<String>) -> Self {
        Self::new(415, "UnsupportedMediaType", message)
    }

    /// 406.
    pub fn not_acceptable(message: impl Into<String>) -> Self {
        Self::new(406, "NotAcceptable", message)
    }

    /// 422 with one cause a field error.
    pub fn invalid(group: &str, kind: &str, name: &str, errors: &[FieldError]) -> Self {
        let subject = qualified(kind, group);
        let causes: Vec<Value> = errors.iter().map(FieldError::cause).collect();
        let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
        let text = match texts.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let mut details = object_map(group, kind, name);
        details.insert("causes".into(), Value::Array(causes));
        Self::new(422, "Invalid", format!("{subject} \"{name}\" is invalid: {text}")).detailed(Value::Object(details))
    }

    /// 429 with a hint when to come back.
    pub fn too_many_requests(message: impl Into<String>, retry_after_seconds: u32) -> Self {
        Self::new(429, "TooManyRequests", message).detailed(json!({"retryAfterSeconds": retry_after_seconds}))
    }

    /// 500.
    pub fn internal(cause: impl std::fmt::Display) -> Self {
        Self::new(500, "InternalError", format!("Internal error occurred: {cause}"))
            .detailed(json!({"causes": [{"message": cause.to_string()}]}))
    }

    /// 501: named in the README's status table.
    pub fn not_yet(what: &str) -> Self {
        Self::new(501, "NotImplemented", format!("{what} is not there yet"))
    }

    /// 503.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(503, "ServiceUnavailable", message)
    }

    /// 504.
    pub fn timeout(message: impl Into<String>) -> Self {
        Self::new(504, "Timeout", message)
    }

    /// The `Status` object.
    pub fn to_status(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason, "code": self.code,
        });
        if let (Some(details), Some(map)) = (&self.details, status.as_object_mut()) {
            map.insert("details".into(), (**details).clone());
        }
        if let (Some(next), Some(metadata)) = (&self.next, status.get_mut("metadata").and_then(Value::as_object_mut)) {
            metadata.insert("continue".into(), (**next).into());
        }
        status
    }
}

/// The `Status` that answers a delete which left nothing to return.
pub fn success(group: &str, resource: &str, name: &str, uid: &str) -> Value {
    let mut details = object_map(group, resource, name);
    if !uid.is_empty() {
        details.insert("uid".into(), uid.into());
    }
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
}

fn qualified(resource: &str, group: &str) -> String {
    if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") }
}

fn object_map(group: &str, kind: &str, name: &str) -> Map<String, Value> {
    [("name", name), ("group", group), ("kind", kind)]
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(key, value)| (key.to_owned(), Value::from(value)))
        .collect()
}

fn object_details(group: &str, kind: &str, name: &str) -> Value {
    Value::Object(object_map(group, kind, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn not_found_reads_as_upstreams() {
        let status = ApiError::not_found("apps", "deployments", "web").to_status();
        assert_eq!(status.pointer("/message"), Some(&json!("deployments.apps \"web\" not found")));
        assert_eq!(status.pointer("/details"), Some(&json!({"name": "web", "group": "apps", "kind": "deployments"})));
        assert_eq!(status.pointer("/code"), Some(&json!(404)));
    }

    #[test]
    fn several_field_errors_are_bracketed() {
        let errors = [FieldError::required("spec.a", ""), FieldError::invalid("spec.b", &json!("x"), "no")];
        let error = ApiError::invalid("", "Pod", "p", &errors);
        assert_eq!(error.message, "Pod \"p\" is invalid: [spec.a: Required value, spec.b: Invalid value: \"x\": no]");
    }
}
