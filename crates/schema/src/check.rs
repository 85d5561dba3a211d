//! Type errors, in the words of Go's json package.

use serde_json::Value;

use crate::node::{Object, Scalar, Schema, Shape};
use crate::path::Path;

/// A value that does not have its field's type; the text is what a Go server answers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TypeMismatch(pub String);

impl Schema {
    /// Checks that every value has the type of its place; the first that does not is reported. Unknown fields and
    /// nulls pass.
    pub fn check_types(&self, value: &Value) -> Result<(), TypeMismatch> {
        check(self, value, &Place { object: None, path: &Path::ROOT })
    }
}

/// Where the walk is: the struct whose field was entered last, and the path.
struct Place<'a> {
    object: Option<&'a Object>,
    path: &'a Path<'a>,
}

impl Place<'_> {
    fn mismatch(&self, found: &str, go_type: &str) -> TypeMismatch {
        TypeMismatch(match self.object {
            Some(object) => format!(
                "json: cannot unmarshal {found} into Go struct field {}.{} of type {go_type}",
                object.short_name(),
                self.path.render_fields()
            ),
            None => format!("json: cannot unmarshal {found} into Go value of type {go_type}"),
        })
    }
}

fn check(schema: &Schema, value: &Value, place: &Place<'_>) -> Result<(), TypeMismatch> {
    match (schema.resolve(), value) {
        (_, Value::Null) | (Shape::Any | Shape::Ref(_), _) => Ok(()),
        (Shape::Scalar(scalar), value) => check_scalar(*scalar, value, place),
        (Shape::Object(object), Value::Object(entries)) => entries.iter().try_for_each(|(key, value)| {
            let Some(field) = object.field(key) else { return Ok(()) };
            let path = place.path.key(key);
            check(&field.schema, value, &Place { object: Some(object), path: &path })
        }),
        // Go names the field that holds the map, not the key.
        (Shape::Map(map), Value::Object(entries)) => {
            entries.values().try_for_each(|value| check(&map.values, value, place))
        }
        (Shape::List(list), Value::Array(items)) => items.iter().try_for_each(|value| check(&list.items, value, place)),
        (_, value) => Err(place.mismatch(json_type(value), &schema.go_type())),
    }
}

fn check_scalar(scalar: Scalar, value: &Value, place: &Place<'_>) -> Result<(), TypeMismatch> {
    let fits = match (scalar, value) {
        (Scalar::String, Value::String(_)) | (Scalar::Bool, Value::Bool(_)) | (Scalar::Double, Value::Number(_)) => {
            true
        }
        (Scalar::Int64, Value::Number(n)) => n.is_i64(),
        (Scalar::Int32 | Scalar::IntOrString, Value::Number(n)) => n.as_i64().is_some_and(|n| i32::try_from(n).is_ok()),
        (Scalar::IntOrString, Value::String(_)) | (Scalar::Quantity, Value::Number(_)) => true,
        (Scalar::Bytes, Value::String(text)) => return check_base64(text),
        (Scalar::Time, Value::String(text)) => return check_time(text),
        (Scalar::Quantity, Value::String(text)) => return check_quantity(text),
        _ => false,
    };
    if fits {
        return Ok(());
    }
    let go_type = Schema { shape: Shape::Scalar(scalar) }.go_type();
    let integer = matches!(scalar, Scalar::Int32 | Scalar::Int64 | Scalar::IntOrString);
    Err(match value {
        Value::Number(n) if integer => place.mismatch(&format!("number {n}"), &go_type),
        _ if scalar == Scalar::IntOrString => {
            TypeMismatch(format!("json: cannot unmarshal {} into Go value of type int32", json_type(value)))
        }
        _ if scalar == Scalar::Time => {
            TypeMismatch(format!("json: cannot unmarshal {} into Go value of type string", json_type(value)))
        }
        _ if scalar == Scalar::Quantity => quantity_error(),
        _ => place.mismatch(json_type(value), &go_type),
    })
}

fn json_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn quantity_error() -> TypeMismatch {
    TypeMismatch(
        "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'".to_owned(),
    )
}

/// Sign, digits with at most one point, then a suffix that upstream knows.
fn check_quantity(text: &str) -> Result<(), TypeMismatch> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(end);
    let number_ok = number.bytes().any(|b| b.is_ascii_digit()) && number.bytes().filter(|b| *b == b'.').count() <= 1;
    if !number_ok {
        return Err(quantity_error());
    }
    const SUFFIXES: [&str; 16] = ["", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    let exponent = suffix.strip_prefix(['e', 'E']).is_some_and(|e| !e.is_empty() && e.parse::<i32>().is_ok());
    if SUFFIXES.contains(&suffix) || exponent { Ok(()) } else { Err(quantity_error()) }
}

fn check_base64(text: &str) -> Result<(), TypeMismatch> {
    let bytes = text.bytes().filter(|b| !matches!(b, b'\n' | b'\r'));
    let mut seen = 0usize;
    let mut padding = 0usize;
    for (at, byte) in bytes.enumerate() {
        let letter = byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
        let pad = byte == b'=' && at % 4 >= 2;
        if !(letter && padding == 0 || pad && padding < 2) {
            return Err(TypeMismatch(format!("illegal base64 data at input byte {at}")));
        }
        padding += usize::from(pad);
        seen += 1;
    }
    if seen.is_multiple_of(4) { Ok(()) } else { Err(TypeMismatch(format!("illegal base64 data at input byte {seen}"))) }
}

/// RFC 3339, fraction allowed.
fn check_time(text: &str) -> Result<(), TypeMismatch> {
    if text.is_empty() || text.parse::<api::k8s_openapi::jiff::Timestamp>().is_ok() {
        return Ok(());
    }
    const LAYOUT: &str = "2006-01-02T15:04:05Z07:00";
    Err(TypeMismatch(format!("parsing time {text:?} as {LAYOUT:?}: cannot parse {text:?} as \"2006\"")))
}

#[cfg(test)]
mod tests;
