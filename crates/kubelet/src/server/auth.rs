//! Who asks, and whether they may. Both are the API server's to say, but for certificates of the client CA.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use http::{HeaderMap, Method, StatusCode, header};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::Api;
use kube::api::PostParams;
use parking_lot::Mutex;
use rustls::ServerConnection;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::answer::Refusal;
use super::route::Route;

const REVIEW: Duration = Duration::from_secs(10);
/// Upstream's times for remembered answers.
const TOKEN_LIFE: Duration = Duration::from_secs(120);
const ALLOWED_LIFE: Duration = Duration::from_secs(300);
const DENIED_LIFE: Duration = Duration::from_secs(30);
/// Answers remembered; all are forgotten when it is reached.
const REMEMBERED: usize = 1024;

#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(super) struct User {
    name: String,
    uid: String,
    groups: Vec<String>,
    extra: BTreeMap<String, Vec<String>>,
}

/// The other end of a connection.
pub(super) struct Peer {
    user: Option<User>,
}

impl Peer {
    /// The certificate was verified in the handshake.
    pub(super) fn of(connection: &ServerConnection) -> Self {
        let certificate = connection.peer_certificates().and_then(|chain| chain.first());
        Self { user: certificate.and_then(|der| user(der)) }
    }
}

fn user(der: &[u8]) -> Option<User> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let subject = certificate.subject();
    let name = subject.iter_common_name().next()?.as_str().ok()?.to_owned();
    let mut groups: Vec<String> =
        subject.iter_organization().filter_map(|group| group.as_str().ok().map(str::to_owned)).collect();
    groups.push("system:authenticated".to_owned());
    Some(User { name, groups, ..User::default() })
}

type Question = (User, String, &'static str);

pub(super) struct Auth {
    client: kube::Client,
    node: String,
    tokens: Mutex<HashMap<String, (Instant, Option<User>)>>,
    answers: Mutex<HashMap<Question, (Instant, bool)>>,
}

fn remember<K: std::hash::Hash + Eq, V>(map: &Mutex<HashMap<K, V>>, key: K, value: V) {
    let mut map = map.lock();
    if map.len() >= REMEMBERED {
        map.clear();
    }
    map.insert(key, value);
}

impl Auth {
    pub(super) fn new(client: kube::Client, node: String) -> Self {
        Self { client, node, tokens: Mutex::default(), answers: Mutex::default() }
    }

    pub(super) async fn authenticate(&self, peer: &Peer, headers: &HeaderMap) -> Result<User, Refusal> {
        if let Some(user) = &peer.user {
            return Ok(user.clone());
        }
        let unauthorized = || Refusal::new(StatusCode::UNAUTHORIZED, "Unauthorized");
        let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token =
            value.and_then(|value| value.strip_prefix("Bearer ")).map(str::trim).filter(|token| !token.is_empty());
        let token = token.ok_or_else(unauthorized)?;
        let known = self.tokens.lock().get(token).filter(|(until, _)| *until > Instant::now()).cloned();
        let user = match known {
            Some((_, user)) => user,
            None => {
                let user = self.review_token(token).await?;
                remember(&self.tokens, token.to_owned(), (Instant::now() + TOKEN_LIFE, user.clone()));
                user
            }
        };
        user.ok_or_else(unauthorized)
    }

    async fn review_token(&self, token: &str) -> Result<Option<User>, Refusal> {
        let review =
            TokenReview { spec: TokenReviewSpec { token: token.to_owned(), audiences: None }, ..Default::default() };
        let api: Api<TokenReview> = Api::all(self.client.clone());
        let answer = tokio::time::timeout(REVIEW, api.create(&PostParams::default(), &review)).await;
        let answer = answer.map_err(|_| Refusal::internal("token review timed out"))?.map_err(Refusal::internal)?;
        let status = answer.status.unwrap_or_default();
        if status.authenticated != Some(true) {
            return Ok(None);
        }
        let user = status.user.unwrap_or_default();
        Ok(Some(User {
            name: user.username.unwrap_or_default(),
            uid: user.uid.unwrap_or_default(),
            groups: user.groups.unwrap_or_default(),
            extra: user.extra.unwrap_or_default(),
        }))
    }

    pub(super) async fn authorize(
        &self,
        user: &User,
        method: &Method,
        path: &str,
        route: &Route,
    ) -> Result<(), Refusal> {
        let verb = match *method {
            Method::POST => "create",
            Method::PUT => "update",
            Method::PATCH => "patch",
            Method::DELETE => "delete",
            _ => "get",
        };
        for subresource in route.subresources() {
            if self.may(user, verb, subresource).await? {
                return Ok(());
            }
        }
        let subresource = route.subresources().last().copied().unwrap_or("proxy");
        tracing::debug!(user = user.name, path, "access to the kubelet denied");
        let message =
            format!("Forbidden (user={}, verb={verb}, resource=nodes, subresource(s)=[{subresource}])", user.name);
        Err(Refusal::new(StatusCode::FORBIDDEN, message))
    }

    async fn may(&self, user: &User, verb: &str, subresource: &'static str) -> Result<bool, Refusal> {
        let question = (user.clone(), verb.to_owned(), subresource);
        let known = self.answers.lock().get(&question).filter(|(until, _)| *until > Instant::now()).copied();
        if let Some((_, allowed)) = known {
            return Ok(allowed);
        }
        let attributes = ResourceAttributes {
            verb: Some(verb.to_owned()),
            version: Some("v1".to_owned()),
            resource: Some("nodes".to_owned()),
            subresource: Some(subresource.to_owned()),
            name: Some(self.node.clone()),
            ..Default::default()
        };
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: Some(user.name.clone()),
                uid: Some(user.uid.clone()).filter(|uid| !uid.is_empty()),
                groups: Some(user.groups.clone()),
                extra: Some(user.extra.clone()).filter(|extra| !extra.is_empty()),
                resource_attributes: Some(attributes),
                ..Default::default()
            },
            ..Default::default()
        };
        let api: Api<SubjectAccessReview> = Api::all(self.client.clone());
        let answer = tokio::time::timeout(REVIEW, api.create(&PostParams::default(), &review)).await;
        let answer = answer.map_err(|_| Refusal::internal("access review timed out"))?.map_err(Refusal::internal)?;
        let allowed = answer.status.is_some_and(|status| status.allowed);
        let life = if allowed { ALLOWED_LIFE } else { DENIED_LIFE };
        remember(&self.answers, question, (Instant::now() + life, allowed));
        Ok(allowed)
    }
}
