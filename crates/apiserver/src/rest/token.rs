//! `serviceaccounts/NAME/token` (TokenRequest) and TokenReview.

use api::ApiError;
use api::field::FieldError;
use serde_json::{Value, json};

use crate::authn;
use crate::authn::tokens::{Bound, Claims, Reference};
use crate::context::Context;

/// Issues a token for a service account.
pub(crate) async fn request(context: &Context, name: &str, mut request: Value) -> Result<Value, ApiError> {
    let account = context.current(name).await?.tree()?;
    let asked = request.pointer("/spec/expirationSeconds").and_then(Value::as_i64).unwrap_or(3600);
    let invalid = |field: &str, value: Value, why: &str| {
        ApiError::invalid("authentication.k8s.io", "TokenRequest", name, &[FieldError::invalid(field, &value, why)])
    };
    if asked < 600 {
        return Err(invalid("spec.expirationSeconds", asked.into(), "may not specify a duration less than 10 minutes"));
    }
    if asked > 1 << 32 {
        return Err(invalid(
            "spec.expirationSeconds",
            asked.into(),
            "may not specify a duration larger than 2^32 seconds",
        ));
    }
    let audiences: Vec<String> = request
        .pointer("/spec/audiences")
        .and_then(Value::as_array)
        .map(|list| list.iter().filter_map(|a| a.as_str().map(str::to_owned)).collect())
        .filter(|list: &Vec<String>| !list.is_empty())
        .unwrap_or_else(|| vec![context.server.config.issuer.clone()]);
    let mut kubernetes = Bound {
        namespace: context.namespace.clone(),
        serviceaccount: Reference { name: name.into(), uid: api::meta::uid(&account).into() },
        ..Bound::default()
    };
    bind(context, name, &request, &mut kubernetes).await?;
    let now = context.now.as_second();
    let expires = now + asked;
    let claims = Claims {
        aud: audiences.clone(),
        exp: expires,
        iat: now,
        nbf: now,
        iss: context.server.config.issuer.clone(),
        jti: uuid::Uuid::new_v4().to_string(),
        sub: format!("system:serviceaccount:{}:{name}", context.namespace),
        kubernetes,
    };
    let token = context.server.tokens.sign(&claims)?;
    let expires = jiff::Timestamp::from_second(expires).map_err(ApiError::internal)?;
    let map = api::meta::map_mut(&mut request);
    let spec = api::meta::child_mut(map, "spec");
    spec.insert("audiences".into(), json!(audiences));
    spec.insert("expirationSeconds".into(), asked.into());
    map.insert("kind".into(), "TokenRequest".into());
    map.insert("apiVersion".into(), "authentication.k8s.io/v1".into());
    map.insert("metadata".into(), json!({"name": name, "namespace": context.namespace}));
    map.insert("status".into(), json!({"token": token, "expirationTimestamp": api::time::seconds(expires)}));
    Ok(request)
}

/// Ties the token to the pod, node or secret that the request names.
async fn bind(context: &Context, account: &str, request: &Value, bound: &mut Bound) -> Result<(), ApiError> {
    let Some(reference) = request.pointer("/spec/boundObjectRef").filter(|r| !r.is_null()) else { return Ok(()) };
    let (kind, name) = (api::meta::at(reference, "/kind"), api::meta::at(reference, "/name"));
    let (plural, namespace) = match kind {
        "Pod" => ("pods", context.namespace.as_str()),
        "Secret" => ("secrets", context.namespace.as_str()),
        "Node" => ("nodes", ""),
        other => return Err(ApiError::bad_request(format!("cannot bind token to object of type {other}"))),
    };
    let object = context.server.own("", plural, namespace)?.current(name).await?.tree()?;
    let uid = api::meta::uid(&object);
    let asked = api::meta::at(reference, "/uid");
    if !asked.is_empty() && asked != uid {
        let why = format!(
            "the UID in the bound object reference ({asked}) does not match the UID in record. The object might have been deleted and then recreated"
        );
        return Err(ApiError::conflict("", plural, name, &why));
    }
    let found = Reference { name: name.into(), uid: uid.into() };
    match kind {
        "Pod" => {
            if api::meta::at(&object, "/spec/serviceAccountName") != account {
                return Err(ApiError::bad_request(format!(
                    "cannot bind token for serviceaccount \"{account}\" to pod running with different serviceaccount name."
                )));
            }
            let node = api::meta::at(&object, "/spec/nodeName");
            if let (false, Ok(nodes)) = (node.is_empty(), context.server.own("", "nodes", ""))
                && let Ok(node_object) = nodes.current(node).await
            {
                bound.node = Some(Reference { name: node.into(), uid: api::meta::uid(&node_object.tree()?).into() });
            }
            bound.pod = Some(found);
        }
        "Secret" => bound.secret = Some(found),
        _ => bound.node = Some(found),
    }
    Ok(())
}

/// Answers whose token it is.
pub(crate) async fn review(context: &Context, mut review: Value) -> Result<Value, ApiError> {
    let token = api::meta::at(&review, "/spec/token").to_owned();
    let audiences: Vec<String> = review
        .pointer("/spec/audiences")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|a| a.as_str().map(str::to_owned))
        .collect();
    let status = match authn::bearer_of(&context.server, &token, &audiences).await {
        Some(found) => json!({
            "authenticated": true,
            "user": super::review::user_info(&found.user),
            "audiences": found.audiences,
        }),
        None => json!({"authenticated": false, "user": {}, "error": "[invalid bearer token]"}),
    };
    api::meta::map_mut(&mut review).insert("status".into(), status);
    Ok(review)
}
