//! Managed fields and server-side apply.

mod compare;
mod conflict;
mod form;
mod managers;
mod merge;
mod ownership;
mod set;

use std::sync::LazyLock;

use serde_json::{Map, Value};

pub use self::conflict::{ApplyError, Conflict};

use self::compare::Delta;
use self::form::Place;
use self::managers::{Managers, Operation};
use crate::node::Schema;

/// Who writes, through what, and when.
#[derive(Debug, Clone, Copy)]
pub struct Stamp<'a> {
    /// The field manager's name.
    pub manager: &'a str,
    /// The version written in, `apps/v1`.
    pub api_version: &'a str,
    /// The subresource written through, or empty.
    pub subresource: &'a str,
    /// The time, RFC 3339 in whole seconds.
    pub now: &'a str,
}

/// What an object is compared with when it does not exist yet.
static NOTHING: LazyLock<Value> = LazyLock::new(|| Value::Object(Map::new()));

/// Records who owns which field after a create, update or patch (`old` is none on create): writes
/// `metadata.managedFields` of `new`.
///
/// What the request brought there counts, as upstream: none leaves the old record, a single empty entry (`[{}]`)
/// resets it, and an object without a record is not tracked again until it is applied.
pub fn update(schema: &Schema, old: Option<&Value>, new: &mut Value, stamp: &Stamp<'_>) {
    let mut managers = Managers::for_update(old, new, stamp.subresource);
    managers::take(new);
    if managers.is_empty() && old.is_some() {
        return;
    }
    record(schema, old, new, &mut managers, stamp);
    managers.write(new);
}

/// The bookkeeping of an update.
fn record(schema: &Schema, old: Option<&Value>, new: &Value, managers: &mut Managers, stamp: &Stamp<'_>) {
    let mut delta = compare::compare(Place::root(schema), Some(old.unwrap_or(&NOTHING)), Some(new));
    delta.reset(stamp.subresource);
    let mut taken = delta.added;
    taken.union(delta.modified);
    for manager in managers.iter_mut() {
        manager.set = manager.set.difference(&taken).difference(&delta.removed);
    }
    let taken = ownership::without_identity(taken);
    if !taken.is_empty() {
        let mut own = managers.take_own(Operation::Update, stamp);
        own.set.union(taken);
        own.time = Some(stamp.now.to_owned());
        managers.put(own);
    }
    managers.tidy();
}

/// Server-side apply: the merged object with its managed fields, or the conflicts. `live` is none when the object
/// does not exist. Prune, check and default `applied` for unknown fields before, default the outcome after.
pub fn apply(
    schema: &Schema,
    live: Option<&Value>,
    applied: &Value,
    force: bool,
    stamp: &Stamp<'_>,
) -> Result<Value, ApplyError> {
    let root = Place::root(schema);
    if !applied.is_object() {
        return Err(ApplyError::NotAnObject);
    }
    if managers::is_given(applied) {
        return Err(ApplyError::ManagedFieldsGiven);
    }
    let mut managers = live.map(Managers::of).unwrap_or_default();
    if let Some(live) = live.filter(|_| managers.is_empty()) {
        let before = Stamp { manager: "before-first-apply", ..*stamp };
        record(schema, None, live, &mut managers, &before);
    }
    let base = live.unwrap_or(&NOTHING);
    let mut own = managers.take_own(Operation::Apply, stamp);
    let claimed = ownership::reset(ownership::set_of(root, applied), stamp.subresource);
    let mut merged = merge::merge(root, Some(base), applied);
    managers::take(&mut merged);
    let mut object = match own.set.is_empty() {
        true => merged,
        false => ownership::prune(root, merged, &managers, &claimed, &own.set),
    };
    let mut delta = compare::compare(root, Some(base), Some(&object));
    delta.reset(stamp.subresource);
    let unchanged = settle(&mut managers, delta, force)?;
    let claimed = ownership::without_identity(claimed);
    if !unchanged || own.set != claimed || own.time.is_none() {
        own.time = Some(stamp.now.to_owned());
    }
    own.set = claimed;
    stamp.api_version.clone_into(&mut own.api_version);
    managers.put(own);
    managers.tidy();
    managers.write(&mut object);
    Ok(object)
}

/// Finds the conflicts with the other managers, or takes the fields over. Says whether nothing changed.
fn settle(managers: &mut Managers, delta: Delta, force: bool) -> Result<bool, ApplyError> {
    let Delta { added, mut removed, modified } = delta;
    removed.drop_field(&["f:metadata", "f:managedFields"]);
    let mut changed = added;
    changed.union(modified);
    let mut conflicts = Vec::new();
    for other in managers.iter_mut() {
        let contested = other.set.intersection(&changed);
        if !contested.is_empty() && !force {
            conflict::collect(other, &contested, &mut conflicts);
        }
        other.set = other.set.difference(&contested).difference(&removed);
    }
    if conflicts.is_empty() {
        Ok(changed.is_empty() && removed.is_empty())
    } else {
        Err(ApplyError::Conflicts(conflicts))
    }
}

#[cfg(test)]
mod tests;
