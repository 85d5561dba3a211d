//! ConfigMaps and Secrets: keys, sizes, immutability.

use api::field::FieldError;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::check::{self, At, Errors};

/// Largest sum of values.
const MAX: usize = 1 << 20;

/// Keys that a Secret of a type has.
const NEEDED: &[(&str, &[&str])] = &[
    ("kubernetes.io/dockercfg", &[".dockercfg"]),
    ("kubernetes.io/dockerconfigjson", &[".dockerconfigjson"]),
    ("kubernetes.io/ssh-auth", &["ssh-privatekey"]),
    ("kubernetes.io/tls", &["tls.crt", "tls.key"]),
];

pub(crate) fn validate_config_map(map: &Value) -> Errors {
    let mut errors = Errors::new();
    let (data, binary) = (At::field(map, "data"), At::field(map, "binaryData"));
    let mut total = keys(&data, &mut errors, str::len);
    total += keys(&binary, &mut errors, decoded);
    for (key, value) in data.entries().filter(|(key, _)| !binary.get(key).value.is_null()) {
        errors.push(FieldError::invalid(value.path, &key.into(), "duplicate of key present in binaryData"));
    }
    if total > MAX {
        errors.push(FieldError::too_long("", MAX));
    }
    errors
}

fn keys(data: &At<'_>, errors: &mut Errors, size: fn(&str) -> usize) -> usize {
    let mut total = 0;
    for (key, value) in data.entries() {
        if let Err(why) = check::config_key(key) {
            errors.push(FieldError::invalid(value.path.clone(), &key.into(), why));
        }
        total += size(value.str());
    }
    total
}

fn decoded(text: &str) -> usize {
    text.len() / 4 * 3
}

pub(crate) fn validate_secret(secret: &Value) -> Errors {
    let mut errors = Errors::new();
    let data = At::field(secret, "data");
    if keys(&data, &mut errors, decoded) > MAX {
        errors.push(FieldError::too_long("data", MAX));
    }
    let kind = api::meta::at(secret, "/type");
    let missing = |key: &str| FieldError::required(format!("data[{key}]"), "");
    for key in NEEDED.iter().filter(|(t, _)| *t == kind).flat_map(|(_, keys)| *keys) {
        if data.get(key).value.is_null() {
            errors.push(missing(key));
        } else if key.starts_with(".docker") {
            json_document(&data, key, &mut errors);
        }
    }
    if kind == "kubernetes.io/basic-auth"
        && data.get("username").value.is_null()
        && data.get("password").value.is_null()
    {
        errors.push(missing("username"));
        errors.push(missing("password"));
    }
    let account = "kubernetes.io/service-account.name";
    if kind == "kubernetes.io/service-account-token" && api::meta::annotation(secret, account).is_none_or(str::is_empty)
    {
        errors.push(FieldError::required(format!("metadata.annotations[{account}]"), ""));
    }
    errors
}

fn json_document(data: &At<'_>, key: &str, errors: &mut Errors) {
    let bytes = STANDARD.decode(data.get(key).str()).unwrap_or_default();
    if let Err(error) = serde_json::from_slice::<serde_json::Map<String, Value>>(&bytes) {
        let place = format!("data[{key}]");
        errors.push(FieldError::invalid(place, &"<secret contents redacted>".into(), error.to_string()));
    }
}

pub(crate) fn validate_update(new: &Value, old: &Value) -> Errors {
    let mut errors = Errors::new();
    let (now, was) = (At::field(new, "type"), At::field(old, "type"));
    check::immutable(&now, &was, check::IMMUTABLE, &mut errors);
    if old.get("immutable").and_then(Value::as_bool) != Some(true) {
        return errors;
    }
    if new.get("immutable").and_then(Value::as_bool) != Some(true) {
        errors.push(FieldError::forbidden("immutable", "field is immutable when `immutable` is set"));
    }
    for field in ["data", "binaryData"] {
        if new.get(field) != old.get(field) {
            errors.push(FieldError::forbidden(field, "field is immutable when `immutable` is set"));
        }
    }
    errors
}
