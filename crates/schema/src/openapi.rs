//! OpenAPI documents: v3 per group and version, and v2 (JSON and protobuf) for everything.

mod definitions;
mod operations;
mod protobuf;

use api::{GroupVersion, GroupVersionKind};
use serde_json::{Map, Value, json};

pub use protobuf::v2_protobuf;

/// What is served for one resource.
#[derive(Debug, Clone)]
pub struct PathSpec {
    /// The kind.
    pub gvk: GroupVersionKind,
    /// The resource's name in paths, `deployments`.
    pub plural: String,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
    /// Verbs as discovery lists them: `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`,
    /// `deletecollection`.
    pub verbs: Vec<String>,
    /// Subresources.
    pub subresources: Vec<SubresourceSpec>,
    /// The schema of a custom resource (`openAPIV3Schema`); none for a built-in kind.
    pub schema: Option<Value>,
}

/// What is served for one subresource.
#[derive(Debug, Clone)]
pub struct SubresourceSpec {
    /// Its name in paths, `scale`.
    pub name: String,
    /// The kind it is read and written as.
    pub gvk: GroupVersionKind,
    /// Verbs as discovery lists them; for one that connects (`exec`), `create` and `get`.
    pub verbs: Vec<String>,
}

/// The version of the specification that a document is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dialect {
    V2,
    V3,
}

impl Dialect {
    fn reference(self, name: &str) -> Value {
        let place = if self == Dialect::V2 { "#/definitions/" } else { "#/components/schemas/" };
        json!({ "$ref": format!("{place}{name}") })
    }
}

/// The OpenAPI v3.0 document of a group and version.
pub fn v3(gv: &GroupVersion, resources: &[PathSpec]) -> Value {
    let mut paths = Map::new();
    operations::add(Dialect::V3, gv, resources, &mut paths);
    let schemas = definitions::collect(Dialect::V3, resources.iter());
    json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "unversioned"},
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": security_scheme()},
    })
}

/// The swagger 2.0 document of everything.
pub fn v2(all: &[(GroupVersion, Vec<PathSpec>)]) -> Value {
    let mut paths = Map::new();
    for (gv, resources) in all {
        operations::add(Dialect::V2, gv, resources, &mut paths);
    }
    let definitions = definitions::collect(Dialect::V2, all.iter().flat_map(|(_, resources)| resources));
    json!({
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": "unversioned"},
        "paths": paths,
        "definitions": definitions,
        "securityDefinitions": security_scheme(),
        "security": [{"BearerToken": []}],
    })
}

fn security_scheme() -> Value {
    json!({"BearerToken": {
        "type": "apiKey", "name": "authorization", "in": "header", "description": "Bearer Token authentication",
    }})
}

fn gvk_json(gvk: &GroupVersionKind) -> Value {
    json!({"group": &*gvk.gv.group, "kind": &*gvk.kind, "version": &*gvk.gv.version})
}

#[cfg(test)]
mod tests;
