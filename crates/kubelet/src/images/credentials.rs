//! Credentials for a registry out of a Secret.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cri::v1::AuthConfig;
use k8s_openapi::api::core::v1::Secret;
use serde::Deserialize;

#[derive(Deserialize)]
struct DockerConfig {
    auths: BTreeMap<String, Auth>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Auth {
    username: String,
    password: String,
    auth: String,
    identitytoken: String,
    registrytoken: String,
}

/// Those that match the image, the longest match first.
pub(super) fn for_image(secret: &Secret, image: &str) -> Vec<AuthConfig> {
    let data = secret.data.as_ref();
    let of = |key: &str| data.and_then(|data| data.get(key)).map(|value| value.0.as_slice());
    let auths = match (of(".dockerconfigjson"), of(".dockercfg")) {
        (Some(json), _) => serde_json::from_slice::<DockerConfig>(json).map(|config| config.auths),
        (None, Some(json)) => serde_json::from_slice(json),
        (None, None) => return Vec::new(),
    };
    let Ok(auths) = auths else { return Vec::new() };
    let image = full_name(image);
    let mut matching: Vec<(usize, AuthConfig)> = auths
        .into_iter()
        .filter_map(|(server, auth)| {
            let pattern = server.trim_start_matches("https://").trim_start_matches("http://").trim_end_matches('/');
            let pattern = if pattern == "index.docker.io/v1" { "docker.io" } else { pattern };
            matches(pattern, &image).then(|| (pattern.len(), config(server.clone(), auth)))
        })
        .collect();
    matching.sort_by_key(|(length, _)| std::cmp::Reverse(*length));
    matching.into_iter().map(|(_, config)| config).collect()
}

fn full_name(image: &str) -> String {
    let registry =
        image.split_once('/').map(|(first, _)| first).filter(|f| f.contains(['.', ':']) || *f == "localhost");
    match registry {
        Some(_) => image.to_owned(),
        None => format!("docker.io/{image}"),
    }
}

fn matches(pattern: &str, image: &str) -> bool {
    let (host, path) = pattern.split_once('/').unwrap_or((pattern, ""));
    let (image_host, image_path) = image.split_once('/').unwrap_or((image, ""));
    let host_matches = match host.strip_prefix("*.") {
        Some(suffix) => image_host.split_once('.').is_some_and(|(_, rest)| rest == suffix),
        None => host == image_host || (host == "index.docker.io" && image_host == "docker.io"),
    };
    host_matches && image_path.starts_with(path)
}

fn config(server_address: String, auth: Auth) -> AuthConfig {
    let (mut username, mut password) = (auth.username, auth.password);
    if username.is_empty()
        && let Ok(decoded) = STANDARD.decode(auth.auth.trim())
        && let Ok(text) = String::from_utf8(decoded)
        && let Some((user, secret)) = text.split_once(':')
    {
        (username, password) = (user.to_owned(), secret.to_owned());
    }
    AuthConfig {
        username,
        password,
        auth: String::new(),
        server_address,
        identity_token: auth.identitytoken,
        registry_token: auth.registrytoken,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::ByteString;

    #[test]
    fn the_closest_match_comes_first() {
        let json = format!(
            r#"{{"auths": {{"https://index.docker.io/v1/": {{"auth": "{}"}},
                "r.example:5000": {{"username": "u1", "password": "p1"}},
                "r.example:5000/team": {{"username": "u2", "password": "p2"}}}}}}"#,
            STANDARD.encode("hub:secret")
        );
        let data = BTreeMap::from([(".dockerconfigjson".to_owned(), ByteString(json.into_bytes()))]);
        let secret = Secret { data: Some(data), ..Default::default() };
        let users =
            |image: &str| -> Vec<String> { for_image(&secret, image).into_iter().map(|auth| auth.username).collect() };
        assert_eq!(users("r.example:5000/team/app:1"), ["u2", "u1"]);
        assert_eq!(users("r.example:5000/other"), ["u1"]);
        assert_eq!(users("nginx"), ["hub"]);
        assert!(users("quay.io/x").is_empty());
    }
}
