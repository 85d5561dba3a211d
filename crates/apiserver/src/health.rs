//! Health, version, and the list of paths.

use std::sync::Arc;

use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use crate::body::{self, Answer};
use crate::server::Server;

/// `/version`
pub(crate) fn version() -> Value {
    json!({
        "major": "1", "minor": "37", "gitVersion": concat!("v1.37.0+oxikube", env!("CARGO_PKG_VERSION")),
        "gitCommit": "", "gitTreeState": "clean", "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "none", "compiler": "rustc", "platform": "linux/amd64",
        "emulationMajor": "1", "emulationMinor": "37", "minCompatibilityMajor": "1", "minCompatibilityMinor": "36",
    })
}

/// `/.well-known/openid-configuration`
pub(crate) fn openid(server: &Server) -> Value {
    let issuer = &server.config.issuer;
    json!({
        "issuer": issuer, "jwks_uri": format!("{issuer}/openid/v1/jwks"),
        "response_types_supported": ["id_token"], "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
    })
}

/// `/openid/v1/jwks`
pub(crate) fn keys(server: &Server) -> Answer {
    let mut answer = body::json(StatusCode::OK, &json!({"keys": [server.tokens.jwk]}));
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/jwk-set+json"));
    answer
}

/// `/`
pub(crate) fn paths() -> Value {
    let mut paths = vec!["/api".to_owned(), "/api/v1".into(), "/apis".into(), "/apis/".into()];
    for (group, versions) in api::catalogue::groups().into_iter().filter(|(g, _)| !g.is_empty()) {
        paths.push(format!("/apis/{group}"));
        paths.extend(versions.iter().map(|v| format!("/apis/{group}/{v}")));
    }
    let more = ["/healthz", "/livez", "/metrics", "/openapi/v2", "/openapi/v3", "/readyz", "/version"];
    paths.extend(more.map(str::to_owned));
    json!({"paths": paths})
}

/// `/healthz`, `/livez` and `/readyz`, and their single checks.
pub(crate) async fn answer(server: &Arc<Server>, path: &str, verbose: bool) -> Option<Answer> {
    let (probe, single) = match path.trim_start_matches('/').split_once('/') {
        Some((probe, single)) => (probe, Some(single)),
        None => (path.trim_start_matches('/'), None),
    };
    if !matches!(probe, "healthz" | "livez" | "readyz") {
        return None;
    }
    let mut checks = vec![("ping", Ok(())), ("etcd", server.store.health())];
    if probe != "livez" {
        let ready = if server.is_bootstrapped() { Ok(()) } else { Err("not finished".to_owned()) };
        checks.push(("poststarthook/start-system-namespaces-controller", ready.clone()));
        checks.push(("poststarthook/rbac/bootstrap-roles", ready));
    }
    if probe == "readyz" {
        let stopping = if server.stopping.is_cancelled() { Err("process is shutting down".to_owned()) } else { Ok(()) };
        checks.push(("shutdown", stopping));
    }
    if let Some(single) = single {
        checks.retain(|(name, _)| *name == single);
        if checks.is_empty() {
            return None;
        }
    }
    let failed = checks.iter().any(|(_, result)| result.is_err());
    if !failed && !verbose {
        return Some(body::text(StatusCode::OK, "ok"));
    }
    let mut text = String::new();
    for (name, result) in &checks {
        match result {
            Ok(()) => text.push_str(&format!("[+]{name} ok\n")),
            Err(why) => text.push_str(&format!("[-]{name} failed: {why}\n")),
        }
    }
    text.push_str(&format!("{probe} check {}\n", if failed { "failed" } else { "passed" }));
    let code = if failed { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK };
    Some(body::text(code, text))
}
