//! Service-account tokens: signed by this server, bound to an account and maybe a pod.
//!
//! <https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/>

use std::sync::Arc;

use api::ApiError;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::context::User;
use crate::server::Server;

/// Signs and checks tokens.
pub(crate) struct Tokens {
    encoding: EncodingKey,
    decoding: DecodingKey,
    issuer: String,
    key_id: String,
    /// The public key as a JSON Web Key, for `/openid/v1/jwks`.
    pub(crate) jwk: Value,
}

/// Claims of a token.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Claims {
    pub(crate) aud: Vec<String>,
    pub(crate) exp: i64,
    pub(crate) iat: i64,
    pub(crate) iss: String,
    pub(crate) jti: String,
    #[serde(rename = "kubernetes.io")]
    pub(crate) kubernetes: Bound,
    pub(crate) nbf: i64,
    pub(crate) sub: String,
}

/// What a token is bound to.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Bound {
    pub(crate) namespace: String,
    pub(crate) serviceaccount: Reference,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pod: Option<Reference>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) node: Option<Reference>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) secret: Option<Reference>,
}

/// An object by name and uid.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Reference {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) uid: String,
}

/// A user with the audiences that the token is good for.
pub(crate) struct TokenUser {
    pub(crate) user: User,
    pub(crate) audiences: Vec<String>,
}

impl Tokens {
    pub(crate) fn new(private: &str, public: &str, issuer: &str) -> Result<Self, ApiError> {
        let bad = |e: jsonwebtoken::errors::Error| ApiError::internal(format!("service-account key: {e}"));
        let der = pem_body(public);
        let key_id = {
            use base64::Engine;
            use sha2::Digest;
            base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(sha2::Sha256::digest(&der))
        };
        Ok(Self {
            encoding: EncodingKey::from_ec_pem(private.as_bytes()).map_err(bad)?,
            decoding: DecodingKey::from_ec_pem(public.as_bytes()).map_err(bad)?,
            issuer: issuer.to_owned(),
            jwk: jwk(&der, &key_id),
            key_id,
        })
    }

    pub(crate) fn sign(&self, claims: &Claims) -> Result<String, ApiError> {
        let mut header = Header::new(Algorithm::ES256);
        header.typ = None;
        header.kid = Some(self.key_id.clone());
        jsonwebtoken::encode(&header, claims, &self.encoding).map_err(ApiError::internal)
    }

    fn verify(&self, token: &str, audiences: &[String]) -> Option<Claims> {
        let mut validation = Validation::new(Algorithm::ES256);
        validation.set_issuer(&[&self.issuer]);
        validation.set_audience(audiences);
        validation.validate_nbf = true;
        validation.leeway = 0;
        jsonwebtoken::decode::<Claims>(token, &self.decoding, &validation).ok().map(|t| t.claims)
    }
}

/// DER inside a PEM.
fn pem_body(pem: &str) -> Vec<u8> {
    use base64::Engine;
    let text: String = pem.lines().filter(|l| !l.starts_with("-----")).collect();
    base64::engine::general_purpose::STANDARD.decode(text.trim()).unwrap_or_default()
}

/// A P-256 public key ends with its two coordinates of 32 bytes.
fn jwk(der: &[u8], key_id: &str) -> Value {
    use base64::Engine;
    let encode = |b: &[u8]| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(b);
    let (_, point) = der.split_at(der.len().saturating_sub(64));
    let (x, y) = point.split_at(point.len() / 2);
    json!({"use": "sig", "kty": "EC", "kid": key_id, "crv": "P-256", "alg": "ES256", "x": encode(x), "y": encode(y)})
}

/// The user behind a token, if it is sound, and what it is bound to still exists. No audiences: the API's own.
pub(crate) async fn authenticate(server: &Arc<Server>, token: &str, audiences: &[String]) -> Option<TokenUser> {
    let own = [server.config.issuer.clone()];
    let audiences = if audiences.is_empty() { &own } else { audiences };
    let claims = server.tokens.verify(token, audiences)?;
    let bound = &claims.kubernetes;
    let account = ("serviceaccounts", &bound.serviceaccount);
    let mut must_exist = vec![account];
    must_exist.extend(bound.pod.as_ref().map(|p| ("pods", p)));
    must_exist.extend(bound.secret.as_ref().map(|s| ("secrets", s)));
    for (plural, reference) in must_exist {
        let context = server.own("", plural, &bound.namespace).ok()?;
        let tree = context.current(&reference.name).await.ok()?.tree().ok()?;
        if api::meta::uid(&tree) != reference.uid {
            return None;
        }
    }
    let mut user = User::service_account(&bound.namespace, &bound.serviceaccount.name);
    user.uid = bound.serviceaccount.uid.clone();
    user.extra.push(("authentication.kubernetes.io/credential-id".into(), vec![format!("JTI={}", claims.jti)]));
    for (prefix, reference) in [("pod", &bound.pod), ("node", &bound.node)] {
        if let Some(reference) = reference {
            for (suffix, value) in [("name", &reference.name), ("uid", &reference.uid)] {
                let key = format!("authentication.kubernetes.io/{prefix}-{suffix}");
                user.extra.push((key, vec![value.clone()]));
            }
        }
    }
    let audiences = claims.aud.into_iter().filter(|a| audiences.contains(a)).collect();
    Some(TokenUser { user, audiences })
}
