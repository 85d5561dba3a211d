//! `application/vnd.kubernetes.protobuf`: reading objects that clients send in protobuf.
//!
//! The envelope is four bytes of magic and a `runtime.Unknown`; field numbers come from tables, not from generated code.
//! <https://kubernetes.io/docs/reference/using-api/api-concepts/#protobuf-encoding>

mod facts;
mod wire;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use facts::{Field, Type};
use wire::{Cursor, Item};

/// The magic that precedes the envelope.
pub const MAGIC: &[u8; 4] = b"k8s\0";
/// Messages nest no deeper.
const MAX_DEPTH: usize = 64;

/// Bytes that are not an object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProtobufError {
    /// No magic.
    #[error("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")]
    Magic,
    /// The bytes break off or are not well formed.
    #[error("proto: illegal wireType or unexpected EOF")]
    Malformed,
    /// Nested too deep.
    #[error("proto: exceeded maximum recursion depth")]
    TooDeep,
    /// No such kind is known in protobuf.
    #[error("no kind \"{kind}\" is registered for version \"{api_version}\" in protobuf")]
    UnknownKind {
        /// `apiVersion` of the envelope.
        api_version: String,
        /// `kind` of the envelope.
        kind: String,
    },
}

/// Reads an enveloped object as a JSON tree.
///
/// # Errors
/// When the bytes are not an object of a known kind.
pub fn decode(bytes: &[u8]) -> Result<Value, ProtobufError> {
    decode_at(bytes, 0)
}

fn decode_at(bytes: &[u8], depth: usize) -> Result<Value, ProtobufError> {
    let body = bytes.strip_prefix(MAGIC.as_slice()).ok_or(ProtobufError::Magic)?;
    let (mut api_version, mut kind, mut raw) = (String::new(), String::new(), &[][..]);
    let mut unknown = Cursor::new(body);
    while let Some((number, item)) = unknown.next()? {
        match (number, item) {
            (1, Item::Bytes(type_meta)) => {
                let mut fields = Cursor::new(type_meta);
                while let Some((number, item)) = fields.next()? {
                    match number {
                        1 => api_version = item.text()?,
                        2 => kind = item.text()?,
                        _ => {}
                    }
                }
            }
            (2, Item::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
    }
    let package = package(&api_version);
    let package = if facts::message(&package, &kind).is_some() { package } else { "meta.v1".to_owned() };
    if facts::message(&package, &kind).is_none() {
        return Err(ProtobufError::UnknownKind { api_version, kind });
    }
    let mut object = Map::new();
    read_message(&package, &kind, raw, depth, &mut object)?;
    object.insert("apiVersion".into(), api_version.into());
    object.insert("kind".into(), kind.into());
    Ok(Value::Object(object))
}

/// `apps/v1` → `apps.v1`, `rbac.authorization.k8s.io/v1` → `rbac.v1`, `v1` → `core.v1`
fn package(api_version: &str) -> String {
    match api_version.split_once('/') {
        None => format!("core.{api_version}"),
        Some((group, version)) => format!("{}.{version}", group.split('.').next().unwrap_or_default()),
    }
}

fn read_message(
    package: &str,
    name: &str,
    bytes: &[u8],
    depth: usize,
    object: &mut Map<String, Value>,
) -> Result<(), ProtobufError> {
    if depth > MAX_DEPTH {
        return Err(ProtobufError::TooDeep);
    }
    let message = facts::message(package, name).unwrap_or_default();
    let mut cursor = Cursor::new(bytes);
    while let Some((number, item)) = cursor.next()? {
        if let Some(field) = message.iter().find(|f| f.number == number) {
            read_field(field, &field.kind, item, depth, object)?;
        }
    }
    for field in message.iter().filter(|f| f.always) {
        if let Some(zero) = zero(&field.kind) {
            object.entry(&*field.name).or_insert(zero);
        }
    }
    Ok(())
}

/// What Go writes for a field that is never left out.
fn zero(kind: &Type) -> Option<Value> {
    match kind {
        Type::Text => Some("".into()),
        Type::Bool => Some(false.into()),
        Type::Integer => Some(0.into()),
        _ => None,
    }
}

fn read_field(
    field: &Field,
    kind: &Type,
    item: Item<'_>,
    depth: usize,
    object: &mut Map<String, Value>,
) -> Result<(), ProtobufError> {
    match kind {
        Type::Optional(inner) => match (&**inner, field.name.is_empty()) {
            (Type::Message(package, name), true) => read_message(package, name, item.bytes()?, depth + 1, object),
            _ => {
                if let Some(value) = read_value(inner, item, depth)? {
                    object.insert(field.name.to_string(), value);
                }
                Ok(())
            }
        },
        Type::Message(package, name) if field.name.is_empty() => {
            read_message(package, name, item.bytes()?, depth + 1, object)
        }
        Type::List(inner) => {
            let value = read_value(inner, item, depth)?.unwrap_or(Value::Null);
            if let Some(list) = object.entry(&*field.name).or_insert_with(|| json!([])).as_array_mut() {
                list.push(value);
            }
            Ok(())
        }
        Type::Map(inner) => read_entry(field, inner, item.bytes()?, depth, object),
        kind => {
            let value = read_value(kind, item, depth)?;
            if let Some(value) = value.filter(|v| field.always || !is_zero(kind, v)) {
                object.insert(field.name.to_string(), value);
            }
            Ok(())
        }
    }
}

fn read_entry(
    field: &Field,
    kind: &Type,
    bytes: &[u8],
    depth: usize,
    object: &mut Map<String, Value>,
) -> Result<(), ProtobufError> {
    let (mut key, mut value) = (String::new(), None);
    let mut cursor = Cursor::new(bytes);
    while let Some((number, item)) = cursor.next()? {
        match number {
            1 => key = item.text()?,
            2 => value = read_value(kind, item, depth + 1)?,
            _ => {}
        }
    }
    if let Some(map) = object.entry(&*field.name).or_insert_with(|| json!({})).as_object_mut() {
        map.insert(key, value.or_else(|| zero(kind)).unwrap_or(Value::Null));
    }
    Ok(())
}

/// A value that Go leaves out of JSON.
fn is_zero(kind: &Type, value: &Value) -> bool {
    match kind {
        Type::Text | Type::Bytes => value == "",
        Type::Bool => value == &Value::Bool(false),
        Type::Integer | Type::Double => value.as_f64() == Some(0.0),
        _ => false,
    }
}

fn read_value(kind: &Type, item: Item<'_>, depth: usize) -> Result<Option<Value>, ProtobufError> {
    if depth > MAX_DEPTH {
        return Err(ProtobufError::TooDeep);
    }
    Ok(match kind {
        Type::Text => Some(item.text()?.into()),
        Type::Bool => Some((item.number()? != 0).into()),
        Type::Integer => Some(item.number()?.cast_signed().into()),
        Type::Double => Some(f64::from_bits(item.number()?).into()),
        Type::Bytes => Some(STANDARD.encode(item.bytes()?).into()),
        Type::Time => time(item, crate::time::seconds)?,
        Type::MicroTime => time(item, crate::time::micros)?,
        Type::Duration => Some(duration(wire::number_of(item.bytes()?, 1)?.unwrap_or(0).cast_signed()).into()),
        Type::Quantity => Some(wire::text_of(item.bytes()?, 1)?.unwrap_or_else(|| "0".into()).into()),
        Type::IntOrString => {
            let bytes = item.bytes()?;
            if wire::number_of(bytes, 1)?.unwrap_or(0) == 0 {
                Some((wire::number_of(bytes, 2)?.unwrap_or(0) as i32).into())
            } else {
                Some(wire::text_of(bytes, 3)?.unwrap_or_default().into())
            }
        }
        Type::Raw | Type::Fields => raw(item.bytes()?, depth)?,
        Type::Message(package, name) => {
            let mut object = Map::new();
            read_message(package, name, item.bytes()?, depth + 1, &mut object)?;
            Some(Value::Object(object))
        }
        Type::Wrapped(inner) => {
            let mut list = Vec::new();
            let mut cursor = Cursor::new(item.bytes()?);
            while let Some((number, item)) = cursor.next()? {
                if number == 1 {
                    list.extend(read_value(inner, item, depth + 1)?);
                }
            }
            Some(list.into())
        }
        Type::Optional(inner) | Type::List(inner) | Type::Map(inner) => read_value(inner, item, depth + 1)?,
    })
}

fn time(item: Item<'_>, print: fn(jiff::Timestamp) -> String) -> Result<Option<Value>, ProtobufError> {
    let bytes = item.bytes()?;
    let Some(seconds) = wire::number_of(bytes, 1)? else { return Ok(None) };
    let nanos = wire::number_of(bytes, 2)?.unwrap_or(0) as i32;
    let time = jiff::Timestamp::new(seconds.cast_signed(), nanos).map_err(|_| ProtobufError::Malformed)?;
    Ok(Some(print(time).into()))
}

/// Go's spelling of a duration: `1h2m3s`.
fn duration(nanos: i64) -> String {
    let (seconds, rest) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let fraction =
        if rest == 0 { String::new() } else { format!(".{:09}", rest.unsigned_abs()).trim_end_matches('0').to_owned() };
    match (hours, minutes) {
        (0, 0) => format!("{seconds}{fraction}s"),
        (0, minutes) => format!("{minutes}m{seconds}{fraction}s"),
        (hours, minutes) => format!("{hours}h{minutes}m{seconds}{fraction}s"),
    }
}

/// An embedded object: JSON, or an envelope.
fn raw(message: &[u8], depth: usize) -> Result<Option<Value>, ProtobufError> {
    let Some(bytes) = wire::bytes_of(message, 1)? else { return Ok(None) };
    if bytes.starts_with(MAGIC) {
        return decode_at(bytes, depth + 1).map(Some);
    }
    serde_json::from_slice(bytes).map(Some).map_err(|_| ProtobufError::Malformed)
}

#[cfg(test)]
mod tests;
