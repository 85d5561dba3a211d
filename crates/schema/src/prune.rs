//! Dropping what a schema does not know.

use serde_json::Value;

use crate::node::{Schema, Shape};
use crate::path::Path;

impl Schema {
    /// Drops unknown fields, and nulls where Go would hold nothing or a zero value. Returns the paths of the unknown
    /// fields in the strict decoder's words: `spec.template.spec.containers[0].bar`.
    pub fn prune(&self, value: &mut Value) -> Vec<String> {
        let mut unknown = Vec::new();
        prune(self, value, &Path::ROOT, &mut unknown);
        unknown
    }

    /// What Go decodes a null list item or map value to.
    fn zero(&self) -> Value {
        match self.resolve() {
            Shape::Object(_) => Value::Object(serde_json::Map::new()),
            Shape::Scalar(scalar) => scalar.zero(),
            _ => Value::Null,
        }
    }
}

fn prune(schema: &Schema, value: &mut Value, path: &Path<'_>, unknown: &mut Vec<String>) {
    match (schema.resolve(), value) {
        (Shape::Object(object), Value::Object(entries)) => entries.retain(|key, value| {
            let Some(field) = object.field(key) else {
                unknown.push(path.key(key).render());
                return false;
            };
            if value.is_null() && !matches!(field.schema.shape, Shape::Any) {
                return false;
            }
            if value.is_object() || value.is_array() {
                prune(&field.schema, value, &path.key(key), unknown);
            }
            true
        }),
        (Shape::Map(map), Value::Object(entries)) => {
            for (key, value) in entries {
                if value.is_null() {
                    *value = map.values.zero();
                } else if value.is_object() || value.is_array() {
                    prune(&map.values, value, &path.key(key), unknown);
                }
            }
        }
        (Shape::List(list), Value::Array(items)) => {
            for (index, value) in items.iter_mut().enumerate() {
                if value.is_null() {
                    *value = list.items.zero();
                } else if value.is_object() || value.is_array() {
                    prune(&list.items, value, &path.index(index), unknown);
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests;
