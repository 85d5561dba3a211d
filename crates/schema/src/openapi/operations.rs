//! Paths and operations.

use api::{GroupVersion, GroupVersionKind};
use serde_json::{Map, Value, json};

use super::definitions::name_of;
use super::{Dialect, PathSpec, SubresourceSpec, gvk_json};

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.";
const ANY_BODY: &[&str] = &["*/*"];
const PATCHES: &[&str] = &[
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
];
const PRODUCES: &[&str] = &["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"];
const WATCHES: &[&str] = &["application/json;stream=watch", "application/vnd.kubernetes.protobuf;stream=watch"];

type Query = &'static [(&'static str, &'static str)];
const WRITE: Query = &[("dryRun", "string"), ("fieldManager", "string"), ("fieldValidation", "string")];
const APPLY: Query =
    &[("dryRun", "string"), ("fieldManager", "string"), ("fieldValidation", "string"), ("force", "boolean")];
const DELETE: Query = &[
    ("dryRun", "string"),
    ("gracePeriodSeconds", "integer"),
    ("orphanDependents", "boolean"),
    ("propagationPolicy", "string"),
];
const LIST: Query = &[
    ("allowWatchBookmarks", "boolean"),
    ("continue", "string"),
    ("fieldSelector", "string"),
    ("labelSelector", "string"),
    ("limit", "integer"),
    ("resourceVersion", "string"),
    ("resourceVersionMatch", "string"),
    ("sendInitialEvents", "boolean"),
    ("timeoutSeconds", "integer"),
    ("watch", "boolean"),
];

/// One operation on a path.
struct Operation<'a> {
    method: &'a str,
    action: &'a str,
    /// First word of the identifier, `read`.
    word: &'a str,
    query: Query,
    consumes: &'a [&'a str],
    body: Option<String>,
    /// The definition answered with; none is plain text.
    answer: Option<String>,
    codes: &'a [&'a str],
}

/// What is common to the operations of a path.
struct Target<'a> {
    dialect: Dialect,
    gv: &'a GroupVersion,
    gvk: &'a GroupVersionKind,
    /// Last part of the identifier, `NamespacedDeploymentScale`.
    noun: String,
}

/// Adds the paths of a group and version.
pub(super) fn add(dialect: Dialect, gv: &GroupVersion, resources: &[PathSpec], paths: &mut Map<String, Value>) {
    let base = match &*gv.group {
        "" => format!("/api/{}", gv.version),
        group => format!("/apis/{group}/{}", gv.version),
    };
    paths.insert(format!("{base}/"), discovery(dialect, gv));
    for spec in resources {
        let kind = &*spec.gvk.kind;
        let has = |verb: &str| spec.verbs.iter().any(|known| known == verb);
        let (scope, prefix) = if spec.namespaced { ("/namespaces/{namespace}", "Namespaced") } else { ("", "") };
        let target = |noun: String| Target { dialect, gv, gvk: &spec.gvk, noun };
        let collection = format!("{base}{scope}/{}", spec.plural);
        let name = name_of(&spec.gvk);
        let item = target(format!("{prefix}{kind}"));
        if let Some(path) = item.path(&collection, of_collection(&name, &has)) {
            paths.insert(collection.clone(), path);
        }
        if let Some(path) = item.path(&format!("{collection}/{{name}}"), of_item(&name, &has)) {
            paths.insert(format!("{collection}/{{name}}"), path);
        }
        if spec.namespaced && has("list") {
            let everywhere = format!("{base}/{}", spec.plural);
            let list = of_collection(&name, &|verb| verb == "list");
            if let Some(path) = target(format!("{kind}ForAllNamespaces")).path(&everywhere, list) {
                paths.insert(everywhere, path);
            }
        }
        for sub in &spec.subresources {
            let at = format!("{collection}/{{name}}/{}", sub.name);
            let target = Target { dialect, gv, gvk: &sub.gvk, noun: format!("{prefix}{kind}{}", capital(&sub.name)) };
            if let Some(path) = target.path(&at, of_subresource(sub)) {
                paths.insert(at, path);
            }
        }
    }
}

fn of_collection(name: &str, has: &dyn Fn(&str) -> bool) -> Vec<Operation<'static>> {
    let mut out = Vec::new();
    if has("list") {
        out.push(read("list", "list", LIST, format!("{name}List")));
    }
    if has("create") {
        out.push(write("post", "post", "create", name, &["200", "201", "202"]));
    }
    if has("deletecollection") {
        out.push(delete("deletecollection", "deleteCollection"));
    }
    out
}

fn of_item(name: &str, has: &dyn Fn(&str) -> bool) -> Vec<Operation<'static>> {
    let mut out = Vec::new();
    if has("get") {
        out.push(read("get", "read", &[], name.to_owned()));
    }
    if has("update") {
        out.push(write("put", "put", "replace", name, &["200", "201"]));
    }
    if has("patch") {
        out.push(patch(name));
    }
    if has("delete") {
        out.push(delete("delete", "delete"));
    }
    out
}

fn of_subresource(sub: &SubresourceSpec) -> Vec<Operation<'static>> {
    let has = |verb: &str| sub.verbs.iter().any(|known| known == verb);
    if sub.gvk.kind.ends_with("Options") {
        let connect = |method, word| Operation {
            method,
            action: "connect",
            word,
            answer: None,
            ..read("", "", &[], String::new())
        };
        let methods = [("get", "connectGet", "get"), ("post", "connectPost", "create")];
        return methods
            .iter()
            .filter(|(.., verb)| has(verb))
            .map(|(method, word, _)| connect(*method, *word))
            .collect();
    }
    let name = name_of(&sub.gvk);
    let mut out = of_item(&name, &|verb| verb != "delete" && has(verb));
    if has("create") {
        out.push(write("post", "post", "create", &name, &["200", "201", "202"]));
    }
    out
}

fn read(action: &'static str, word: &'static str, query: Query, answer: String) -> Operation<'static> {
    Operation {
        method: "get",
        action,
        word,
        query,
        consumes: ANY_BODY,
        body: None,
        answer: Some(answer),
        codes: &["200"],
    }
}

fn write(
    method: &'static str,
    action: &'static str,
    word: &'static str,
    name: &str,
    codes: &'static [&'static str],
) -> Operation<'static> {
    let name = name.to_owned();
    Operation {
        method,
        action,
        word,
        query: WRITE,
        consumes: ANY_BODY,
        body: Some(name.clone()),
        answer: Some(name),
        codes,
    }
}

fn patch(name: &str) -> Operation<'static> {
    let body = Some(format!("{META}Patch"));
    Operation { query: APPLY, consumes: PATCHES, body, ..write("patch", "patch", "patch", name, &["200", "201"]) }
}

fn delete(action: &'static str, word: &'static str) -> Operation<'static> {
    let (query, codes): (Query, &[&str]) = (DELETE, &["200", "202"]);
    Operation {
        method: "delete",
        action,
        word,
        query,
        consumes: ANY_BODY,
        body: Some(format!("{META}DeleteOptions")),
        answer: Some(format!("{META}Status")),
        codes,
    }
}

impl Target<'_> {
    /// A path with its operations; none if it has none.
    fn path(&self, path: &str, operations: Vec<Operation<'_>>) -> Option<Value> {
        if operations.is_empty() {
            return None;
        }
        let mut item = Map::new();
        let mut parameters = Vec::new();
        for (name, what) in [
            ("name", format!("name of the {}", self.gvk.kind)),
            ("namespace", "object name and auth scope, such as for teams and projects".to_owned()),
        ] {
            if path.contains(&format!("{{{name}}}")) {
                let mut parameter = self.parameter("path", name, "string");
                parameter.extend([("description".to_owned(), json!(what)), ("required".to_owned(), json!(true))]);
                parameters.push(Value::Object(parameter));
            }
        }
        parameters.push(Value::Object(self.parameter("query", "pretty", "string")));
        item.insert("parameters".to_owned(), Value::Array(parameters));
        for operation in operations {
            item.insert(operation.method.to_owned(), self.operation(&operation));
        }
        Some(Value::Object(item))
    }

    fn parameter(&self, place: &str, name: &str, kind: &str) -> Map<String, Value> {
        let mut out = Map::new();
        out.insert("in".to_owned(), json!(place));
        out.insert("name".to_owned(), json!(name));
        match self.dialect {
            Dialect::V2 => {
                out.insert("type".to_owned(), json!(kind));
                out.insert("uniqueItems".to_owned(), json!(true));
            }
            Dialect::V3 => {
                out.insert("schema".to_owned(), json!({"type": kind, "uniqueItems": true}));
            }
        }
        out
    }

    fn operation(&self, operation: &Operation<'_>) -> Value {
        let mut parameters: Vec<Value> =
            operation.query.iter().map(|(name, kind)| Value::Object(self.parameter("query", name, kind))).collect();
        let mut out = Map::new();
        let mut put = |key: &str, value: Value| drop(out.insert(key.to_owned(), value));
        let (group, version) = (group_word(&self.gv.group), capital(&self.gv.version));
        let (word, tail) = match operation.word {
            "deleteCollection" => ("delete", "Collection"),
            "connectGet" => ("connect", "Get"),
            "connectPost" => ("connect", "Post"),
            word => (word, ""),
        };
        put("operationId", json!(format!("{word}{group}{version}{tail}{}", self.noun)));
        put("description", json!(format!("{} {}", operation.action, self.gvk.kind)));
        put("tags", json!([tag(self.gv)]));
        put("x-kubernetes-action", json!(operation.action));
        put("x-kubernetes-group-version-kind", gvk_json(self.gvk));
        let mut produces = PRODUCES.to_vec();
        if operation.action == "list" {
            produces.extend(WATCHES);
        }
        let required = operation.method != "delete";
        if let Some(body) = &operation.body {
            let schema = self.dialect.reference(body);
            match self.dialect {
                Dialect::V2 => {
                    parameters.push(json!({"in": "body", "name": "body", "required": required, "schema": schema}));
                }
                Dialect::V3 => {
                    let content = content(operation.consumes, &schema);
                    put("requestBody", json!({"content": content, "required": required}));
                }
            }
        }
        if self.dialect == Dialect::V2 {
            put("consumes", json!(operation.consumes));
            put("produces", json!(produces));
            put("schemes", json!(["https"]));
        }
        if !parameters.is_empty() {
            put("parameters", Value::Array(parameters));
        }
        put("responses", self.responses(operation, &produces));
        Value::Object(out)
    }

    fn responses(&self, operation: &Operation<'_>, produces: &[&str]) -> Value {
        let schema = operation.answer.as_ref().map_or(json!({"type": "string"}), |name| self.dialect.reference(name));
        let mut out = Map::new();
        for code in operation.codes {
            let description = if *code == "201" {
                "Created"
            } else if *code == "202" {
                "Accepted"
            } else {
                "OK"
            };
            let response = match self.dialect {
                Dialect::V2 => json!({"description": description, "schema": schema}),
                Dialect::V3 => json!({"description": description, "content": content(produces, &schema)}),
            };
            out.insert((*code).to_owned(), response);
        }
        out.insert("401".to_owned(), json!({"description": "Unauthorized"}));
        Value::Object(out)
    }
}

fn content(types: &[&str], schema: &Value) -> Value {
    types.iter().map(|media| ((*media).to_owned(), json!({"schema": schema}))).collect::<Map<_, _>>().into()
}

fn discovery(dialect: Dialect, gv: &GroupVersion) -> Value {
    let schema = dialect.reference(&format!("{META}APIResourceList"));
    let ok = match dialect {
        Dialect::V2 => json!({"description": "OK", "schema": schema}),
        Dialect::V3 => json!({"description": "OK", "content": content(PRODUCES, &schema)}),
    };
    json!({"get": {
        "description": "get available resources",
        "operationId": format!("get{}{}APIResources", group_word(&gv.group), capital(&gv.version)),
        "tags": [tag(gv)],
        "responses": {"200": ok, "401": {"description": "Unauthorized"}},
    }})
}

/// `apps_v1`
fn tag(gv: &GroupVersion) -> String {
    let group = group_word(&gv.group);
    let mut letters = group.chars();
    let first = letters.next().map(|c| c.to_ascii_lowercase());
    format!("{}_{}", first.into_iter().chain(letters).collect::<String>(), gv.version)
}

/// A group in an identifier: `Apps`, `RbacAuthorization`, `Core`.
fn group_word(group: &str) -> String {
    let short = group.strip_suffix(".k8s.io").unwrap_or(group);
    if short.is_empty() { "Core".to_owned() } else { short.split(['.', '-']).map(capital).collect() }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|c| c.to_ascii_uppercase()).into_iter().chain(letters).collect()
}
