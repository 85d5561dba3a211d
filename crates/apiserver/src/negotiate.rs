//! Media types: what a client sends and what it wants back.

mod strict;

use api::ApiError;
use http::{HeaderMap, header};
use serde_json::Value;

use crate::registry::table::{Include, View};
use crate::request::Query;

/// Reads a body as JSON, YAML or protobuf.
pub(crate) fn decode(headers: &HeaderMap, body: &[u8]) -> Result<Value, ApiError> {
    decode_strictly(headers, body).map(|(value, _)| value)
}

/// As [`decode`], with the paths of fields that are there twice.
pub(crate) fn decode_strictly(headers: &HeaderMap, body: &[u8]) -> Result<(Value, Vec<String>), ApiError> {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("application/json");
    match content_type.split(';').next().unwrap_or_default().trim() {
        "application/json" | "" | "text/json" | "*/*" => json(body),
        "application/yaml" | "text/yaml" | "application/x-yaml" => yaml(body).map(|value| (value, Vec::new())),
        "application/vnd.kubernetes.protobuf" => {
            let decoded = api::protobuf::decode(body).map_err(|e| ApiError::bad_request(e.to_string()))?;
            Ok((decoded, Vec::new()))
        }
        other => Err(ApiError::unsupported_media_type(format!(
            "the body of the request was in an unknown format - accepted media types include: application/json, application/yaml, application/vnd.kubernetes.protobuf (got {other})"
        ))),
    }
}

/// Reads JSON.
fn json(body: &[u8]) -> Result<(Value, Vec<String>), ApiError> {
    strict::read(body)
        .map_err(|e| ApiError::bad_request(format!("the object provided is unrecognized (must be of type object): couldn't get version/kind; json parse error: {e}")))
}

/// Reads YAML, of which JSON is a part.
pub(crate) fn yaml(body: &[u8]) -> Result<Value, ApiError> {
    let text =
        std::str::from_utf8(body).map_err(|e| ApiError::bad_request(format!("error converting YAML to JSON: {e}")))?;
    serde_saphyr::from_str(text).map_err(|e| ApiError::bad_request(format!("error converting YAML to JSON: {e}")))
}

/// What a client wants to see, by its Accept header; the first that we speak counts.
pub(crate) fn view(headers: &HeaderMap, query: &Query) -> Result<View, ApiError> {
    let accept = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or("*/*");
    let mut offered = false;
    for option in accept.split(',') {
        let mut parts = option.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default();
        if !matches!(media, "application/json" | "*/*" | "application/*" | "" | "application/yaml") {
            continue;
        }
        offered = true;
        let mut kind = None;
        let mut version = None;
        for part in parts {
            kind = part.strip_prefix("as=").or(kind);
            version = part.strip_prefix("v=").or(version);
        }
        match (kind, version) {
            (None, _) => return Ok(View::Full),
            (Some("Table"), Some("v1")) => return include(query).map(View::Table),
            (Some("PartialObjectMetadata" | "PartialObjectMetadataList"), Some("v1")) => return Ok(View::Metadata),
            _ => {}
        }
    }
    if offered {
        return Ok(View::Full);
    }
    Err(ApiError::not_acceptable("only the following media types are accepted: application/json, application/yaml"))
}

/// For answers that are neither tables nor metadata: whether the client takes the thing itself.
pub(crate) fn plain(headers: &HeaderMap) -> Result<(), ApiError> {
    let accept = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or("*/*");
    let as_is = |option: &str| !option.split(';').any(|part| part.trim().starts_with("as="));
    if accept.split(',').any(as_is) {
        return Ok(());
    }
    Err(ApiError::not_acceptable("only the following media types are accepted: application/json, application/yaml"))
}

fn include(query: &Query) -> Result<Include, ApiError> {
    match query.get("includeObject") {
        None | Some("Metadata") => Ok(Include::Metadata),
        Some("Object") => Ok(Include::Object),
        Some("None") => Ok(Include::None),
        Some(other) => Err(ApiError::bad_request(format!("unrecognized includeObject value: {other}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(accept: &str) -> Option<View> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, accept.parse().unwrap());
        view(&headers, &Query::default()).ok()
    }

    #[test]
    fn the_first_known_option_counts() {
        assert_eq!(
            seen("application/json;as=Table;v=v1;g=meta.k8s.io,application/json"),
            Some(View::Table(Include::Metadata))
        );
        assert_eq!(seen("application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json"), Some(View::Full));
        assert_eq!(seen("application/vnd.kubernetes.protobuf,application/json"), Some(View::Full));
        assert_eq!(seen("application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"), Some(View::Metadata));
        assert_eq!(seen("text/html"), None);
        let takes = |accept: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, accept.parse().unwrap());
            plain(&headers).is_ok()
        };
        assert!(takes("application/json;as=Table;v=v1;g=meta.k8s.io,application/json"));
        assert!(!takes("application/json;as=Table;v=v1;g=meta.k8s.io"));
    }
}
