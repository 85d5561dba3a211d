//! Who sends a request: an in-process identity, a client certificate, a bearer token, or nobody.

pub(crate) mod bootstrap;
pub(crate) mod certificate;
pub(crate) mod tokens;

use std::sync::Arc;

use api::ApiError;
use http::{HeaderMap, header};

use crate::context::User;
use crate::server::Server;
use tokens::TokenUser;

/// Identity of a part in the same process; only the in-process transport can set it.
#[derive(Debug, Clone)]
pub(crate) struct LocalIdentity(pub(crate) User);

/// The user that the connection's client certificate names.
#[derive(Debug, Clone)]
pub(crate) struct PeerCertificate(pub(crate) Option<Arc<User>>);

/// Finds the user of a request.
pub(crate) async fn authenticate(
    server: &Arc<Server>,
    extensions: &http::Extensions,
    headers: &HeaderMap,
) -> Result<User, ApiError> {
    if let Some(LocalIdentity(user)) = extensions.get() {
        return impersonate(server, user.clone(), headers).await;
    }
    if let Some(PeerCertificate(Some(user))) = extensions.get() {
        return impersonate(server, (**user).clone(), headers).await;
    }
    let bearer = headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok());
    let token = bearer.and_then(|v| v.strip_prefix("Bearer ").or_else(|| v.strip_prefix("bearer "))).map(str::trim);
    match token.filter(|t| !t.is_empty()) {
        Some(token) => {
            let found = bearer_of(server, token, &[]).await.ok_or_else(ApiError::unauthorized)?;
            impersonate(server, found.user, headers).await
        }
        None if bearer.is_some() => Err(ApiError::unauthorized()),
        None => Ok(User::anonymous()),
    }
}

/// The user behind a bearer token, for some of these audiences; none: the API's own. A service account's looks like no
/// bootstrap token, and that is for the API only.
pub(crate) async fn bearer_of(server: &Arc<Server>, token: &str, audiences: &[String]) -> Option<TokenUser> {
    let Some(shown) = api::bootstrap::Token::parse(token) else {
        return tokens::authenticate(server, token, audiences).await;
    };
    let own = &server.config.issuer;
    if !audiences.is_empty() && !audiences.contains(own) {
        return None;
    }
    let user = bootstrap::authenticate(server, &shown).await?;
    Some(TokenUser { user, audiences: vec![own.clone()] })
}

/// `Impersonate-*` headers: acts as somebody else, where the user may.
async fn impersonate(server: &Arc<Server>, user: User, headers: &HeaderMap) -> Result<User, ApiError> {
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
    let Some(name) = text("impersonate-user") else { return Ok(user) };
    let groups: Vec<String> =
        headers.get_all("impersonate-group").iter().filter_map(|v| v.to_str().ok().map(str::to_owned)).collect();
    let mut asked = vec![match name.strip_prefix("system:serviceaccount:").and_then(|r| r.split_once(':')) {
        Some((namespace, name)) => ("serviceaccounts", namespace, name),
        None => ("users", "", name),
    }];
    asked.extend(groups.iter().map(|g| ("groups", "", g.as_str())));
    for (resource, namespace, name) in asked {
        let request = crate::request::ResourceRequest {
            verb: "impersonate",
            version: "v1".into(),
            namespace: namespace.into(),
            resource: resource.into(),
            name: name.into(),
            ..Default::default()
        };
        crate::authz::authorize(server, &user, &crate::request::RequestInfo::Resource(request)).await?;
    }
    let mut other = match name.strip_prefix("system:serviceaccount:").and_then(|r| r.split_once(':')) {
        Some((namespace, name)) => User::service_account(namespace, name),
        None if name == "system:anonymous" => User::anonymous(),
        None => User::authenticated(name, &[]),
    };
    if !groups.is_empty() {
        let always = other.groups.iter().find(|g| *g == "system:authenticated").cloned();
        other.groups = groups;
        other.groups.extend(always);
        other.groups.dedup();
    }
    Ok(other)
}
