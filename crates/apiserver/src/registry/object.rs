//! A stored object: canonical JSON without its revision, and the place where the revision goes.

use std::sync::Arc;

use api::ApiError;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;
use storage::{Entry, Revision};

use crate::kind::Kind;

/// An entry of the store, read as an object.
#[derive(Clone)]
pub(crate) struct Object {
    pub(crate) entry: Arc<Entry>,
    /// Revision to show; the deletion's for deleted objects.
    pub(crate) revision: Revision,
}

/// What selectors look at.
#[derive(Debug, Default)]
pub(crate) struct Attributes {
    pub(crate) name: Box<str>,
    pub(crate) namespace: Box<str>,
    pub(crate) labels: Vec<(Box<str>, Box<str>)>,
    pub(crate) fields: Vec<(&'static str, Box<str>)>,
}

impl Attributes {
    pub(crate) fn label(&self, key: &str) -> Option<&str> {
        self.labels.iter().find(|(k, _)| &**k == key).map(|(_, v)| &**v)
    }

    pub(crate) fn field(&self, key: &str) -> Option<&str> {
        match key {
            "metadata.name" => Some(&self.name),
            "metadata.namespace" => Some(&self.namespace),
            _ => self.fields.iter().find(|(k, _)| *k == key).map(|(_, v)| &**v),
        }
    }

    fn of(kind: &Kind, object: &Value) -> Self {
        let labels = api::meta::of(object).and_then(|m| m.get("labels")).and_then(Value::as_object);
        let text = |v: &Value| match v {
            Value::String(s) => s.as_str().into(),
            Value::Null => "".into(),
            other => other.to_string().into(),
        };
        Self {
            name: api::meta::name(object).into(),
            namespace: api::meta::namespace(object).into(),
            labels: labels.into_iter().flatten().map(|(k, v)| (k.as_str().into(), text(v))).collect(),
            fields: kind
                .rules
                .fields
                .iter()
                .map(|(name, pointer)| (*name, object.pointer(pointer).map(text).unwrap_or_default()))
                .collect(),
        }
    }
}

impl Object {
    pub(crate) fn new(entry: Arc<Entry>) -> Self {
        Self { revision: entry.modified, entry }
    }

    /// The tree, with its revision, in the storage version.
    pub(crate) fn tree(&self) -> Result<Value, ApiError> {
        let mut tree: Value = serde_json::from_slice(&self.entry.value).map_err(|e| {
            ApiError::internal(format!("the stored object {} cannot be read: {e}", self.entry.key.as_str()))
        })?;
        api::meta::set(&mut tree, "resourceVersion", self.revision.to_string());
        Ok(tree)
    }

    /// The tree in the version of the request.
    pub(crate) fn tree_for(&self, kind: &Kind) -> Result<Value, ApiError> {
        let mut tree = self.tree()?;
        if kind.converts() {
            kinds::convert(&mut tree, &kind.storage_gvk, &kind.gvk);
        }
        Ok(tree)
    }

    /// The JSON text as three shared pieces: before, revision, after.
    pub(crate) fn pieces(&self) -> [Bytes; 3] {
        let value = &self.entry.value;
        match splice_point(value) {
            Some(at) => {
                let revision = format!("\"resourceVersion\":\"{}\",", self.revision);
                [value.slice(..at), revision.into(), value.slice(at..)]
            }
            None => [value.clone(), Bytes::new(), Bytes::new()],
        }
    }

    /// Appends the JSON text.
    pub(crate) fn write_to(&self, out: &mut Vec<u8>) {
        let value = &self.entry.value;
        let Some((before, after)) = splice_point(value).and_then(|at| value.split_at_checked(at)) else {
            out.extend_from_slice(value);
            return;
        };
        out.extend_from_slice(before);
        out.extend_from_slice(b"\"resourceVersion\":\"");
        out.extend_from_slice(self.revision.to_string().as_bytes());
        out.extend_from_slice(b"\",");
        out.extend_from_slice(after);
    }

    /// The JSON text in the version of the request, as pieces.
    pub(crate) fn pieces_for(&self, kind: &Kind) -> Result<[Bytes; 3], ApiError> {
        if kind.converts() {
            Ok([self.tree_for(kind)?.to_string().into(), Bytes::new(), Bytes::new()])
        } else {
            Ok(self.pieces())
        }
    }

    /// What selectors look at; derived once and kept with the entry.
    pub(crate) fn attributes(&self, kind: &Kind) -> Arc<Attributes> {
        let memo = self.entry.memo.get_or_init(|| Arc::new(read_attributes(kind, &self.entry.value)));
        memo.clone().downcast::<Attributes>().unwrap_or_default()
    }

    /// Keeps what selectors look at while the tree is at hand anyway.
    pub(crate) fn remember(&self, kind: &Kind, tree: &Value) {
        // Somebody may have derived it already; both are the same.
        drop(self.entry.memo.set(Arc::new(Attributes::of(kind, tree))));
    }
}

fn read_attributes(kind: &Kind, bytes: &[u8]) -> Attributes {
    #[derive(Deserialize)]
    struct MetadataOnly {
        metadata: Value,
    }
    let tree = if kind.rules.fields.is_empty() {
        serde_json::from_slice::<MetadataOnly>(bytes).map(|m| serde_json::json!({"metadata": m.metadata}))
    } else {
        serde_json::from_slice::<Value>(bytes)
    };
    tree.map(|t| Attributes::of(kind, &t)).unwrap_or_default()
}

/// The canonical bytes of a tree: keys in order, no revision.
pub(crate) fn encode(tree: &mut Value) -> Result<Bytes, ApiError> {
    if let Some(metadata) = tree.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("resourceVersion");
    }
    serde_json::to_vec(tree).map(Bytes::from).map_err(ApiError::internal)
}

/// Position just inside `"metadata":{` of an object's text.
fn splice_point(bytes: &[u8]) -> Option<usize> {
    const METADATA: &[u8] = b"\"metadata\":{";
    let (mut depth, mut i) = (0usize, 0usize);
    while let Some(b) = bytes.get(i) {
        match b {
            b'"' => {
                if depth == 1 && bytes.get(i..)?.starts_with(METADATA) {
                    let inside = i + METADATA.len();
                    return (bytes.get(inside) != Some(&b'}')).then_some(inside);
                }
                i = end_of_string(bytes, i)?;
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.checked_sub(1)?,
            _ => {}
        }
        i += 1;
    }
    None
}

/// Position after the string that starts at `start`.
fn end_of_string(bytes: &[u8], start: usize) -> Option<usize> {
    let mut i = start + 1;
    loop {
        let rest = bytes.get(i..)?;
        let at = memchr::memchr2(b'"', b'\\', rest)?;
        match rest.get(at)? {
            b'"' => return Some(i + at + 1),
            _ => i += at + 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_revision_goes_into_the_objects_own_metadata() {
        let mut tree = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "data": {"metadata": "{\"metadata\":{\"a\":1}}", "x\\": "\"metadata\":{"},
            "binaryData": {"metadata": {"b": 2}},
            "metadata": {"name": "a", "resourceVersion": "5", "uid": "u"},
        });
        let bytes = encode(&mut tree).unwrap();
        let at = splice_point(&bytes).unwrap();
        assert!(bytes[at..].starts_with(b"\"name\":\"a\",\"uid\""));
        assert!(bytes[..at].ends_with(b"},\"kind\":\"ConfigMap\",\"metadata\":{"));
    }

    #[test]
    fn what_is_no_object_with_metadata_is_left_alone() {
        for text in ["", "{", "{}", "{\"metadata\":{}}", "{\"a\":\"", "{\"metadata\":3}", "}}"] {
            assert_eq!(splice_point(text.as_bytes()), None, "{text}");
        }
    }
}
