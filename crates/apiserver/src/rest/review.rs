//! Questions about rights: SubjectAccessReview and its relatives, SelfSubjectReview.

use api::ApiError;
use serde_json::{Value, json};

use crate::authz;
use crate::context::{Context, User};
use crate::request::{RequestInfo, ResourceRequest};

/// `authentication.k8s.io UserInfo`
pub(crate) fn user_info(user: &User) -> Value {
    let mut info = json!({"username": user.name, "groups": user.groups});
    if let Some(map) = info.as_object_mut() {
        if !user.uid.is_empty() {
            map.insert("uid".into(), user.uid.as_str().into());
        }
        if !user.extra.is_empty() {
            let extra = user.extra.iter().map(|(k, v)| (k.clone(), json!(v))).collect();
            map.insert("extra".into(), Value::Object(extra));
        }
    }
    info
}

/// Answers a review; `kind` is the kind of the question.
pub(crate) async fn answer(context: &Context, kind: &str, mut review: Value) -> Result<Value, ApiError> {
    let status = match kind {
        "SelfSubjectReview" => json!({"userInfo": user_info(&context.user)}),
        "SelfSubjectAccessReview" => access(context, &context.user, &review).await?,
        "SelfSubjectRulesReview" => rules(context, &review).await,
        _ => access(context, &subject(&review), &review).await?,
    };
    api::meta::map_mut(&mut review).insert("status".into(), status);
    Ok(review)
}

fn subject(review: &Value) -> User {
    let list = |pointer: &str| review.pointer(pointer).and_then(Value::as_array).into_iter().flatten();
    User {
        name: api::meta::at(review, "/spec/user").to_owned(),
        uid: api::meta::at(review, "/spec/uid").to_owned(),
        groups: list("/spec/groups").filter_map(|g| g.as_str().map(str::to_owned)).collect(),
        extra: Vec::new(),
    }
}

async fn access(context: &Context, user: &User, review: &Value) -> Result<Value, ApiError> {
    let spec = review.get("spec").cloned().unwrap_or_default();
    let request = match (spec.get("resourceAttributes"), spec.get("nonResourceAttributes")) {
        (Some(r), None) => resource_request(r),
        (None, Some(r)) => {
            RequestInfo::Path { verb: verb(api::meta::at(r, "/verb")), path: api::meta::at(r, "/path").to_owned() }
        }
        _ => {
            return Err(ApiError::bad_request(
                "spec: Invalid value: exactly one of nonResourceAttributes or resourceAttributes must be specified",
            ));
        }
    };
    let allowed = authz::allowed(&context.server, user, &request).await;
    Ok(if allowed { json!({"allowed": true}) } else { json!({"allowed": false}) })
}

fn resource_request(r: &Value) -> RequestInfo {
    let text = |field: &str| r.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    RequestInfo::Resource(ResourceRequest {
        verb: verb(&text("verb")),
        group: text("group"),
        version: text("version"),
        namespace: text("namespace"),
        resource: text("resource"),
        name: text("name"),
        subresource: text("subresource"),
        rest: String::new(),
    })
}

/// Verbs are few; one that is not known is granted only by `*`.
fn verb(verb: &str) -> &'static str {
    const KNOWN: &[&str] = &[
        "get",
        "list",
        "watch",
        "create",
        "update",
        "patch",
        "delete",
        "deletecollection",
        "impersonate",
        "bind",
        "escalate",
        "use",
        "approve",
        "sign",
        "proxy",
        "post",
        "put",
        "head",
        "options",
        "*",
    ];
    KNOWN.iter().find(|k| **k == verb).copied().unwrap_or("unknown")
}

async fn rules(context: &Context, review: &Value) -> Value {
    let namespace = api::meta::at(review, "/spec/namespace");
    let rules = context.server.rbac.rules(&context.server, &context.user, namespace).await;
    let (mut resources, mut paths) = (Vec::new(), Vec::new());
    if context.user.in_group("system:masters") {
        resources.push(json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}));
        paths.push(json!({"verbs": ["*"], "nonResourceURLs": ["*"]}));
    }
    for rule in rules {
        if !rule.resources.is_empty() {
            let mut entry = json!({"verbs": rule.verbs, "apiGroups": rule.api_groups, "resources": rule.resources});
            if !rule.resource_names.is_empty() {
                api::meta::put(&mut entry, "resourceNames", json!(rule.resource_names));
            }
            resources.push(entry);
        }
        if !rule.non_resource_urls.is_empty() {
            paths.push(json!({"verbs": rule.verbs, "nonResourceURLs": rule.non_resource_urls}));
        }
    }
    json!({"resourceRules": resources, "nonResourceRules": paths, "incomplete": false})
}
