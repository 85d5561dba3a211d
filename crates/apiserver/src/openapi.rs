//! OpenAPI documents, made when somebody asks, kept compressed enough to be cheap: one text each.

use std::collections::HashMap;
use std::sync::Arc;

use api::catalogue::{self, Resource};
use api::{ApiError, GroupVersion, GroupVersionKind};
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use parking_lot::Mutex;
use schema::openapi::{PathSpec, SubresourceSpec};
use serde_json::{Map, Value, json};
use sha2::Digest;

use crate::body::{self, Answer};
use crate::request::Query;
use crate::server::Server;

// Asked for with an @ before the version, too, which is no media type; never answered so.
const V2_PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// Documents that were asked for.
#[derive(Default)]
pub(crate) struct Documents {
    made: Mutex<HashMap<String, Bytes>>,
}

impl Documents {
    fn get(&self, name: &str, make: impl FnOnce() -> Vec<u8>) -> Bytes {
        if let Some(found) = self.made.lock().get(name) {
            return found.clone();
        }
        let made = Bytes::from(make());
        self.made.lock().entry(name.to_owned()).or_insert(made).clone()
    }
}

/// The answer to an OpenAPI path; none for other paths.
pub(crate) fn answer(
    server: &Arc<Server>,
    path: &str,
    query: &Query,
    accept: &str,
) -> Option<Result<Answer, ApiError>> {
    let path = path.trim_end_matches('/');
    if path == "/openapi/v2" {
        return Some(Ok(v2(server, accept)));
    }
    if path == "/openapi/v3" {
        return Some(Ok(body::json(StatusCode::OK, &index())));
    }
    let name = path.strip_prefix("/openapi/v3/")?;
    let gv = match name.split('/').collect::<Vec<_>>().as_slice() {
        ["api", version] => GroupVersion::new("", version),
        ["apis", group, version] => GroupVersion::new(group, version),
        _ => return Some(Err(ApiError::no_such_path())),
    };
    let specs = specs(&gv);
    if specs.is_empty() {
        return Some(Err(ApiError::no_such_path()));
    }
    let bytes = server.documents.get(name, || schema::openapi::v3(&gv, &specs).to_string().into_bytes());
    let mut answer = body::json_bytes(StatusCode::OK, body::full(bytes));
    if query.get("hash").is_some() {
        let forever = HeaderValue::from_static("public, immutable, max-age=31536000");
        answer.headers_mut().insert(header::CACHE_CONTROL, forever);
    }
    Some(Ok(answer))
}

/// `/openapi/v3`: where each document is, with a hash that changes with the program's version.
fn index() -> Value {
    let mut paths = Map::new();
    for (group, versions) in catalogue::groups() {
        for version in versions {
            let name = if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") };
            let hash = hex::encode_upper(sha2::Sha256::digest(format!("{} {name}", env!("CARGO_PKG_VERSION"))));
            paths.insert(name.clone(), json!({"serverRelativeURL": format!("/openapi/v3/{name}?hash={hash}")}));
        }
    }
    json!({"paths": paths})
}

fn v2(server: &Arc<Server>, accept: &str) -> Answer {
    let json = server.documents.get("v2.json", || {
        let all: Vec<(GroupVersion, Vec<PathSpec>)> = catalogue::groups()
            .into_iter()
            .flat_map(|(group, versions)| versions.into_iter().map(move |v| GroupVersion::new(group, v)))
            .map(|gv| {
                let specs = specs(&gv);
                (gv, specs)
            })
            .collect();
        schema::openapi::v2(&all).to_string().into_bytes()
    });
    if !accept.contains("proto-openapi") {
        return body::json_bytes(StatusCode::OK, body::full(json));
    }
    let bytes = server.documents.get("v2.protobuf", || {
        let tree: Value = serde_json::from_slice(&json).unwrap_or_default();
        schema::openapi::v2_protobuf(&tree)
    });
    let mut answer = body::json_bytes(StatusCode::OK, body::full(bytes));
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(V2_PROTOBUF));
    answer
}

fn specs(gv: &GroupVersion) -> Vec<PathSpec> {
    catalogue::of_group_version(gv).map(|resource| spec(resource, gv)).collect()
}

fn spec(resource: &Resource, gv: &GroupVersion) -> PathSpec {
    let owned = |verbs: &[&str]| verbs.iter().map(|v| (*v).to_owned()).collect();
    PathSpec {
        gvk: resource.gvk(&gv.version),
        plural: resource.plural.to_owned(),
        namespaced: resource.namespaced(),
        verbs: owned(resource.verbs.list()),
        subresources: resource
            .subresources
            .iter()
            .map(|s| SubresourceSpec {
                name: s.name.to_owned(),
                gvk: if s.version.is_empty() {
                    gv.with_kind(s.kind)
                } else {
                    GroupVersionKind::new(s.group, s.version, s.kind)
                },
                verbs: owned(s.verbs),
            })
            .collect(),
        schema: None,
    }
}
