//! Bootstrap tokens: a machine that is to become a node shows one to ask for its certificate.
//!
//! <https://kubernetes.io/docs/reference/access-authn-authz/bootstrap-tokens/>

use std::sync::Arc;

use api::bootstrap::{GROUP, NAMESPACE, Token, TokenSecret, secret_name};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;

use crate::context::User;
use crate::server::Server;

/// The user behind a token, if it is kept as a Secret that lets its bearer in.
pub(crate) async fn authenticate(server: &Arc<Server>, shown: &Token) -> Option<User> {
    let secrets = server.own("", "secrets", NAMESPACE).ok()?;
    let tree = secrets.current(&secret_name(&shown.id)).await.ok()?.tree().ok()?;
    let secret: Secret = serde_json::from_value(tree).ok()?;
    let kept = TokenSecret::of(&secret)?;
    let is_leaving = secret.metadata.deletion_timestamp.is_some();
    if is_leaving || !kept.authenticates || kept.is_expired(Timestamp::now()) || !kept.token.is_same(shown) {
        return None;
    }
    let groups: Vec<&str> = [GROUP].into_iter().chain(kept.groups.iter().map(String::as_str)).collect();
    Some(User::authenticated(&format!("system:bootstrap:{}", shown.id), &groups))
}
