//! Kubeconfig files.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::pki::{Pair, PkiError, write};

/// A kubeconfig (YAML, of which JSON is a part) for one user of one cluster.
pub fn render(server: &str, ca: &str, cluster: &str, user: &str, credentials: &Pair) -> String {
    let context = format!("{user}@{cluster}");
    let encode = |text: &str| STANDARD.encode(text);
    let lines = [
        "apiVersion: v1".to_owned(),
        "kind: Config".into(),
        "clusters:".into(),
        format!("- name: {}", json!(cluster)),
        "  cluster:".into(),
        format!("    server: {}", json!(server)),
        format!("    certificate-authority-data: {}", encode(ca)),
        "users:".into(),
        format!("- name: {}", json!(user)),
        "  user:".into(),
        format!("    client-certificate-data: {}", encode(&credentials.certificate)),
        format!("    client-key-data: {}", encode(&credentials.key)),
        "contexts:".into(),
        format!("- name: {}", json!(context)),
        "  context:".into(),
        format!("    cluster: {}", json!(cluster)),
        format!("    user: {}", json!(user)),
        format!("current-context: {}", json!(context)),
    ];
    lines.join("\n") + "\n"
}

/// Writes a kubeconfig for its owner only.
///
/// # Errors
/// When the file cannot be written.
pub fn save(path: &Path, text: &str) -> Result<(), PkiError> {
    write(path, text, 0o600)
}
