//! Bootstrap tokens: how a machine that is nobody yet is let in, and how it tells the right cluster from another.
//!
//! <https://kubernetes.io/docs/reference/access-authn-authz/bootstrap-tokens/>

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use ring::hmac;

/// Namespace of the Secrets that tokens are kept in.
pub const NAMESPACE: &str = "kube-system";
/// Type of these Secrets.
pub const SECRET_TYPE: &str = "bootstrap.kubernetes.io/token";
/// Group of all who come with a token.
pub const GROUP: &str = "system:bootstrappers";
/// Group of those who come with a token of `oxikube token create`, and with one of kubeadm's.
pub const NODES_GROUP: &str = "system:bootstrappers:kubeadm:default-node-token";

/// The ConfigMap in `kube-public` that says where the cluster is.
pub const CLUSTER_INFO: &str = "cluster-info";
/// Its key with that: a kubeconfig without a user.
pub const KUBECONFIG: &str = "kubeconfig";
/// What its keys with signatures begin with.
pub const SIGNATURE_PREFIX: &str = "jws-kubeconfig-";

const SECRET_PREFIX: &str = "bootstrap-token-";

/// A token as people pass it on: `ID.SECRET`.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// The part that may be known.
    pub id: String,
    secret: String,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Token({}.…)", self.id)
    }
}

fn is_part(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
}

impl Token {
    /// Reads a token; none when it does not look like one.
    pub fn parse(text: &str) -> Option<Self> {
        let (id, secret) = text.split_once('.')?;
        (is_part(id, 6) && is_part(secret, 16)).then(|| Self { id: id.to_owned(), secret: secret.to_owned() })
    }

    /// A new token.
    pub fn generate() -> Self {
        let draw = |length: usize| -> String {
            let digits = (0..length).filter_map(|_| char::from_digit(rand::random_range(0..36), 36));
            digits.collect()
        };
        Self { id: draw(6), secret: draw(16) }
    }

    /// `ID.SECRET`
    pub fn text(&self) -> String {
        format!("{}.{}", self.id, self.secret)
    }

    /// Whether it is the same token; how long this takes says nothing of where they differ.
    pub fn is_same(&self, other: &Self) -> bool {
        let message = b"the same";
        self.id == other.id && hmac::verify(&other.key(), message, hmac::sign(&self.key(), message).as_ref()).is_ok()
    }

    /// Signs a text: a JSON Web Signature (HS256) without the text in it.
    pub fn sign(&self, text: &str) -> String {
        let header = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"HS256","kid":"{}"}}"#, self.id));
        let payload = URL_SAFE_NO_PAD.encode(text);
        let tag = hmac::sign(&self.key(), format!("{header}.{payload}").as_bytes());
        format!("{header}..{}", URL_SAFE_NO_PAD.encode(tag))
    }

    /// Whether this signature of a text was made with the token, by whomever (kubeadm orders its header otherwise).
    pub fn verifies(&self, text: &str, signature: &str) -> bool {
        let Some((header, tag)) = signature.split_once("..") else { return false };
        let Ok(tag) = URL_SAFE_NO_PAD.decode(tag) else { return false };
        let payload = URL_SAFE_NO_PAD.encode(text);
        hmac::verify(&self.key(), format!("{header}.{payload}").as_bytes(), &tag).is_ok()
    }

    /// Key of its signature in `cluster-info`.
    pub fn signature_key(&self) -> String {
        format!("{SIGNATURE_PREFIX}{}", self.id)
    }

    fn key(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, self.secret.as_bytes())
    }
}

/// Name of the Secret of the token with this id.
pub fn secret_name(id: &str) -> String {
    format!("{SECRET_PREFIX}{id}")
}

/// What a Secret says of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenSecret {
    /// The token.
    pub token: Token,
    /// Until when it is good; none means forever.
    pub expiration: Option<Timestamp>,
    /// Whether who shows it is let in.
    pub authenticates: bool,
    /// Whether it signs `cluster-info`.
    pub signs: bool,
    /// Groups beside [`GROUP`].
    pub groups: Vec<String>,
    /// What it is for.
    pub description: String,
}

impl TokenSecret {
    /// Reads a Secret; none when it is not a token's, or not in order.
    pub fn of(secret: &Secret) -> Option<Self> {
        let text = |key: &str| {
            let text = std::str::from_utf8(&secret.data.as_ref()?.get(key)?.0).ok()?;
            (!text.is_empty()).then(|| text.to_owned())
        };
        let token = Token::parse(&format!("{}.{}", text("token-id")?, text("token-secret")?))?;
        let is_named = secret.metadata.name.as_deref() == Some(secret_name(&token.id).as_str());
        if !is_named || secret.type_.as_deref() != Some(SECRET_TYPE) {
            return None;
        }
        let expiration = match text("expiration") {
            Some(text) => Some(text.parse().ok()?),
            None => None,
        };
        let groups = text("auth-extra-groups").unwrap_or_default();
        let groups: Vec<String> = groups.split(',').filter(|g| !g.is_empty()).map(str::to_owned).collect();
        let is_set = |key: &str| text(key).is_some_and(|value| value == "true");
        Some(Self {
            token,
            expiration,
            authenticates: is_set("usage-bootstrap-authentication") && groups.iter().all(|group| is_group(group)),
            signs: is_set("usage-bootstrap-signing"),
            groups,
            description: text("description").unwrap_or_default(),
        })
    }

    /// What is left of its time; none if it does not expire.
    pub fn left(&self, now: Timestamp) -> Option<Duration> {
        self.expiration.map(|end| Duration::try_from(end.duration_since(now)).unwrap_or_default())
    }

    /// Whether its time is over.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.left(now).is_some_and(|left| left.is_zero())
    }

    /// The Secret to keep it in.
    pub fn secret(&self) -> Secret {
        let mut data = BTreeMap::from([
            ("token-id", self.token.id.clone()),
            ("token-secret", self.token.secret.clone()),
            ("usage-bootstrap-authentication", self.authenticates.to_string()),
            ("usage-bootstrap-signing", self.signs.to_string()),
        ]);
        data.extend(self.expiration.map(|end| ("expiration", crate::time::seconds(end))));
        if !self.groups.is_empty() {
            data.insert("auth-extra-groups", self.groups.join(","));
        }
        if !self.description.is_empty() {
            data.insert("description", self.description.clone());
        }
        let data = data.into_iter().map(|(key, text)| (key.to_owned(), k8s_openapi::ByteString(text.into_bytes())));
        let mut secret =
            Secret { data: Some(data.collect()), type_: Some(SECRET_TYPE.to_owned()), ..Secret::default() };
        secret.metadata.name = Some(secret_name(&self.token.id));
        secret.metadata.namespace = Some(NAMESPACE.to_owned());
        secret
    }
}

/// Tokens put nobody into groups of other kinds.
fn is_group(group: &str) -> bool {
    let rest = group.strip_prefix("system:bootstrappers:").unwrap_or_default();
    rest.len() <= 256
        && rest.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b':' || b == b'-')
        && rest.ends_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept() -> TokenSecret {
        TokenSecret {
            token: Token::generate(),
            expiration: Some("2026-01-01T00:00:00Z".parse().unwrap()),
            authenticates: true,
            signs: true,
            groups: vec![NODES_GROUP.into()],
            description: "for a test".into(),
        }
    }

    #[test]
    fn tokens_are_six_and_sixteen_letters() {
        let token = Token::generate();
        assert_eq!(Token::parse(&token.text()), Some(token.clone()));
        assert!(!format!("{token:?}").contains(&token.secret));
        for bad in ["", "abcdef", "abcdef.0123456789", "ABCDEF.0123456789abcdef", "abcdef.0123456789abcdefg"] {
            assert_eq!(Token::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn tokens_that_differ_anywhere_are_not_the_same() {
        let token = Token::parse("abcdef.0123456789abcdef").unwrap();
        assert!(token.is_same(&token.clone()));
        for other in ["abcdef.0123456789abcdee", "abcdeg.0123456789abcdef"] {
            let other = Token::parse(other).unwrap();
            assert!(!token.is_same(&other) && token.sign("text") != other.sign("text"));
        }
    }

    #[test]
    fn a_signature_is_of_one_text_and_one_token() {
        let token = Token::parse("abcdef.0123456789abcdef").unwrap();
        let signature = token.sign("text");
        assert!(token.verifies("text", &signature) && !token.verifies("other", &signature));
        assert!(!Token::parse("abcdef.0123456789abcdee").unwrap().verifies("text", &signature));
        assert!(!token.verifies("text", "") && !token.verifies("text", "a.b.c"));
    }

    #[test]
    fn a_secret_is_read_as_it_was_written() {
        let written = kept();
        assert_eq!(TokenSecret::of(&written.secret()), Some(written.clone()));
        assert!(written.is_expired("2026-01-01T00:00:00Z".parse().unwrap()));
        assert!(!written.is_expired("2025-12-31T23:59:59Z".parse().unwrap()));
        let mut renamed = written.secret();
        renamed.metadata.name = Some("bootstrap-token-xxxxxx".into());
        assert_eq!(TokenSecret::of(&renamed), None);
        let opaque = Secret { type_: Some("Opaque".into()), ..written.secret() };
        assert_eq!(TokenSecret::of(&opaque), None);
    }

    #[test]
    fn a_token_lets_nobody_into_groups_of_other_kinds() {
        for group in ["system:masters", "system:bootstrappers:", "system:bootstrappers:A"] {
            let written = TokenSecret { groups: vec![group.into()], ..kept() };
            assert!(!TokenSecret::of(&written.secret()).unwrap().authenticates, "{group}");
        }
    }
}
