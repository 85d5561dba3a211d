//! Other views of objects: `Table` (what `kubectl get` prints) and `PartialObjectMetadata`.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::list::{Listed, list_metadata};
use crate::kind::Kind;

/// What of an object a client asks to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum View {
    /// All of it.
    #[default]
    Full,
    /// Its metadata.
    Metadata,
    /// A row of a table, with this much of the object.
    Table(Include),
}

/// What a table's row carries of its object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Include {
    Metadata,
    Object,
    None,
}

impl View {
    /// One object.
    pub(crate) fn one(self, tree: &Value, kind: &Kind) -> Value {
        self.event(tree, kind, true, Timestamp::now())
    }

    /// An object of a watch; only the first table carries its headings.
    pub(crate) fn event(self, tree: &Value, kind: &Kind, first: bool, now: Timestamp) -> Value {
        match self {
            Self::Full => tree.clone(),
            Self::Metadata => partial(tree),
            Self::Table(include) => {
                let metadata = json!({"resourceVersion": api::meta::text(tree, "resourceVersion")});
                table(kind, vec![row(tree, kind, include, now)], metadata, first)
            }
        }
    }

    /// A bookmark.
    pub(crate) fn bookmark(self, plain: Value, kind: &Kind) -> Value {
        match self {
            Self::Full => plain,
            Self::Metadata => partial(&plain),
            Self::Table(_) => {
                let metadata = plain.get("metadata").cloned().unwrap_or_default();
                let cells: Vec<Value> = kinds::printer(&kind.storage_gvk).columns.iter().map(|_| Value::Null).collect();
                table(kind, vec![json!({"cells": cells, "object": partial(&plain)})], metadata, false)
            }
        }
    }

    /// A list.
    pub(crate) fn list(self, listed: &Listed, kind: &Kind) -> Result<Value, api::ApiError> {
        let now = Timestamp::now();
        let metadata = list_metadata(listed);
        let trees = listed.objects.iter().map(|o| o.tree_for(kind)).collect::<Result<Vec<_>, _>>()?;
        Ok(match self {
            Self::Table(include) => {
                table(kind, trees.iter().map(|t| row(t, kind, include, now)).collect(), metadata, true)
            }
            Self::Metadata => json!({
                "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
                "items": trees.iter().map(partial).collect::<Vec<_>>(),
            }),
            Self::Full => json!({
                "kind": format!("{}List", kind.gvk.kind), "apiVersion": kind.gvk.gv.to_string(),
                "metadata": metadata, "items": trees,
            }),
        })
    }
}

fn partial(tree: &Value) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": tree.get("metadata")})
}

fn row(tree: &Value, kind: &Kind, include: Include, now: Timestamp) -> Value {
    let cells = kinds::printer(&kind.storage_gvk).row(tree, now);
    match include {
        Include::Metadata => json!({"cells": cells, "object": partial(tree)}),
        Include::Object => json!({"cells": cells, "object": tree}),
        Include::None => json!({"cells": cells, "object": null}),
    }
}

fn table(kind: &Kind, rows: Vec<Value>, metadata: Value, headings: bool) -> Value {
    let columns: Vec<Value> = kinds::printer(&kind.storage_gvk)
        .columns
        .iter()
        .map(|c| json!({"name": c.name, "type": c.kind, "format": c.format, "description": "", "priority": c.priority}))
        .collect();
    let columns = if headings { json!(columns) } else { Value::Null };
    json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
        "columnDefinitions": columns, "rows": rows,
    })
}
