//! Signs `cluster-info`, so that whoever knows a token can trust it. Pure.

use api::bootstrap::{CLUSTER_INFO, KUBECONFIG, SIGNATURE_PREFIX, TokenSecret};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;

pub(super) const NAMESPACE: &str = "kube-public";
pub(super) const NAME: &str = CLUSTER_INFO;

/// The map with a signature for each token, and no others.
pub(super) fn signed(map: &ConfigMap, tokens: &[TokenSecret], now: Timestamp) -> ConfigMap {
    let mut signed = map.clone();
    let Some(data) = signed.data.as_mut() else { return signed };
    data.retain(|key, _| !key.starts_with(SIGNATURE_PREFIX));
    let Some(content) = data.get(KUBECONFIG).cloned() else { return signed };
    for kept in tokens.iter().filter(|kept| kept.signs && !kept.is_expired(now)) {
        data.insert(kept.token.signature_key(), kept.token.sign(&content));
    }
    signed
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Secret;
    use serde_json::json;

    use super::*;
    use crate::bootstrap::token;

    fn secret(id: &str, expires: &str) -> Secret {
        serde_json::from_value(json!({"metadata": {"name": format!("bootstrap-token-{id}")}, "type": api::bootstrap::SECRET_TYPE,
            "data": {"token-id": k8s_openapi::ByteString(id.into()), "token-secret": k8s_openapi::ByteString(b"0123456789abcdef".into()),
                "expiration": k8s_openapi::ByteString(expires.into()),
                "usage-bootstrap-signing": k8s_openapi::ByteString(b"true".into())}}))
        .unwrap()
    }

    #[test]
    fn a_signature_for_each_token_that_lives() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let secrets = [secret("abcdef", "2026-01-01T01:00:00Z"), secret("fedcba", "2025-01-01T00:00:00Z")];
        let tokens: Vec<_> = secrets.iter().filter_map(TokenSecret::of).collect();
        let map: ConfigMap = serde_json::from_value(
            json!({"metadata": {}, "data": {"kubeconfig": "hello", "jws-kubeconfig-000000": "old"}}),
        )
        .unwrap();
        let data = signed(&map, &tokens, now).data.unwrap();
        assert_eq!(data.keys().collect::<Vec<_>>(), ["jws-kubeconfig-abcdef", "kubeconfig"]);
        let signature = data.get("jws-kubeconfig-abcdef").unwrap();
        assert!(signature.starts_with("eyJhbGciOiJIUzI1NiIsImtpZCI6ImFiY2RlZiJ9.."), "{signature}");
        assert_eq!(token::left(&secrets[0], now).unwrap().as_secs(), 3600);
        assert!(token::left(&secrets[1], now).unwrap().is_zero());
    }
}
