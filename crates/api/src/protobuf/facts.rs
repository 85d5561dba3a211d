//! Field numbers, read from the tables when first needed.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use parking_lot::RwLock;

/// The tables, one a package.
static TABLES: &[(&str, &str)] = &[
    ("admissionregistration.v1", include_str!("facts/admissionregistration.v1.txt")),
    ("apps.v1", include_str!("facts/apps.v1.txt")),
    ("authentication.v1", include_str!("facts/authentication.v1.txt")),
    ("authorization.v1", include_str!("facts/authorization.v1.txt")),
    ("autoscaling.v1", include_str!("facts/autoscaling.v1.txt")),
    ("autoscaling.v2", include_str!("facts/autoscaling.v2.txt")),
    ("batch.v1", include_str!("facts/batch.v1.txt")),
    ("certificates.v1", include_str!("facts/certificates.v1.txt")),
    ("coordination.v1", include_str!("facts/coordination.v1.txt")),
    ("core.v1", include_str!("facts/core.v1.txt")),
    ("discovery.v1", include_str!("facts/discovery.v1.txt")),
    ("events.v1", include_str!("facts/events.v1.txt")),
    ("flowcontrol.v1", include_str!("facts/flowcontrol.v1.txt")),
    ("meta.v1", include_str!("facts/meta.v1.txt")),
    ("networking.v1", include_str!("facts/networking.v1.txt")),
    ("node.v1", include_str!("facts/node.v1.txt")),
    ("policy.v1", include_str!("facts/policy.v1.txt")),
    ("rbac.v1", include_str!("facts/rbac.v1.txt")),
    ("resource.v1", include_str!("facts/resource.v1.txt")),
    ("scheduling.v1", include_str!("facts/scheduling.v1.txt")),
    ("storage.v1", include_str!("facts/storage.v1.txt")),
    ("storagemigration.v1", include_str!("facts/storagemigration.v1.txt")),
];

/// What a field holds.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Type {
    Text,
    Bool,
    Integer,
    Double,
    Bytes,
    Time,
    MicroTime,
    Duration,
    Quantity,
    IntOrString,
    /// Any object, as JSON (or an envelope again).
    Raw,
    /// Managed fields, as JSON.
    Fields,
    /// A message: package and name.
    Message(Box<str>, Box<str>),
    /// A list that is a message of its own (`items`).
    Wrapped(Box<Type>),
    List(Box<Type>),
    Map(Box<Type>),
    /// A pointer: zero is a value.
    Optional(Box<Type>),
}

/// A field of a message.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) number: u32,
    /// Name in JSON; empty: its fields stand in the parent.
    pub(super) name: Box<str>,
    pub(super) kind: Type,
    /// There even when zero.
    pub(super) always: bool,
}

/// Fields of a message.
pub(super) type Message = Vec<Field>;

type Cache = RwLock<HashMap<(Box<str>, Box<str>), Arc<Message>>>;
static CACHE: LazyLock<Cache> = LazyLock::new(Cache::default);

/// The message of a package by its name.
pub(super) fn message(package: &str, name: &str) -> Option<Arc<Message>> {
    let key = (Box::from(package), Box::from(name));
    if let Some(found) = CACHE.read().get(&key) {
        return Some(found.clone());
    }
    let (_, table) = TABLES.iter().find(|(p, _)| *p == package)?;
    let row = table.lines().find_map(|l| l.split_once(' ').filter(|(n, _)| *n == name).map(|(_, row)| row))?;
    let parsed = Arc::new(row.split(' ').filter_map(|f| field(package, f)).collect::<Message>());
    CACHE.write().insert(key, parsed.clone());
    Some(parsed)
}

fn field(package: &str, text: &str) -> Option<Field> {
    let (name, rest) = text.split_once('=')?;
    let (number, kind) = rest.split_once(':')?;
    let (kind, always) = kind.strip_suffix('!').map_or((kind, false), |k| (k, true));
    let name = if name == "^" { "" } else { name };
    Some(Field { number: number.parse().ok()?, name: name.into(), kind: parse_type(package, kind)?, always })
}

fn parse_type(package: &str, text: &str) -> Option<Type> {
    let inner = |rest| parse_type(package, rest).map(Box::new);
    if let Some(rest) = text.strip_prefix("[]") {
        return inner(rest).map(Type::List);
    }
    if let Some(rest) = text.strip_prefix("{}") {
        return inner(rest).map(Type::Map);
    }
    if let Some(rest) = text.strip_prefix('*') {
        return inner(rest).map(Type::Optional);
    }
    if let Some(rest) = text.strip_prefix('W') {
        return inner(rest).map(Type::Wrapped);
    }
    if let Some(rest) = text.strip_prefix('M') {
        let (package, name) = rest.rsplit_once('.').unwrap_or((package, rest));
        return Some(Type::Message(package.into(), name.into()));
    }
    Some(match text {
        "s" => Type::Text,
        "b" => Type::Bool,
        "i" => Type::Integer,
        "d" => Type::Double,
        "y" => Type::Bytes,
        "T" => Type::Time,
        "U" => Type::MicroTime,
        "D" => Type::Duration,
        "Q" => Type::Quantity,
        "I" => Type::IntOrString,
        "R" => Type::Raw,
        "F" => Type::Fields,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_of_every_table_is_understood_and_leads_to_a_message() {
        for (package, table) in TABLES {
            for line in table.lines().filter(|l| !l.starts_with('#')) {
                let (name, row) = line.split_once(' ').unwrap();
                let fields = message(package, name).unwrap();
                assert_eq!(fields.len(), row.split(' ').count(), "{package}.{name}");
                for field in fields.iter() {
                    let mut kind = &field.kind;
                    while let Type::List(k) | Type::Map(k) | Type::Optional(k) | Type::Wrapped(k) = kind {
                        kind = k;
                    }
                    if let Type::Message(p, n) = kind {
                        assert!(message(p, n).is_some() || &**n == "TypeMeta", "{package}.{name}: {p}.{n}");
                    }
                }
            }
        }
    }
}
