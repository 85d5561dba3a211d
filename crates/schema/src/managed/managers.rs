//! The record of managers in `metadata.managedFields`.

use serde_json::{Map, Value, json};

use super::Stamp;
use super::set::Set;

/// Upstream keeps this many managers that update; older ones are folded together.
const MAX_UPDATERS: usize = 10;
const FOLDED: &str = "ancient-changes";

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Operation {
    Apply,
    Update,
}

/// One entry of the record.
#[derive(Debug, Clone)]
pub(super) struct Manager {
    pub(super) name: String,
    pub(super) operation: Operation,
    pub(super) api_version: String,
    pub(super) subresource: String,
    pub(super) time: Option<String>,
    pub(super) set: Set,
}

/// The whole record.
#[derive(Debug, Clone, Default)]
pub(super) struct Managers(Vec<Manager>);

impl Manager {
    fn decode(entry: &Value) -> Option<Manager> {
        let text = |key: &str| entry.get(key).and_then(Value::as_str).map(str::to_owned);
        let operation = match entry.get("operation")?.as_str()? {
            "Apply" => Operation::Apply,
            "Update" => Operation::Update,
            _ => return None,
        };
        Some(Manager {
            name: text("manager").unwrap_or_default(),
            operation,
            api_version: text("apiVersion").unwrap_or_default(),
            subresource: text("subresource").unwrap_or_default(),
            time: text("time"),
            set: entry.get("fieldsV1").map_or(Some(Set::default()), Set::from_json)?,
        })
    }

    fn encode(&self) -> Value {
        let operation = match self.operation {
            Operation::Apply => "Apply",
            Operation::Update => "Update",
        };
        let mut entry = Map::new();
        entry.insert("apiVersion".to_owned(), json!(self.api_version));
        entry.insert("fieldsType".to_owned(), json!("FieldsV1"));
        entry.insert("fieldsV1".to_owned(), self.set.to_json());
        entry.insert("manager".to_owned(), json!(self.name));
        entry.insert("operation".to_owned(), json!(operation));
        if !self.subresource.is_empty() {
            entry.insert("subresource".to_owned(), json!(self.subresource));
        }
        if let Some(time) = &self.time {
            entry.insert("time".to_owned(), json!(time));
        }
        Value::Object(entry)
    }

    /// The same writer by the same way. An applier keeps its entry when it changes version.
    fn is(&self, operation: Operation, stamp: &Stamp<'_>) -> bool {
        self.operation == operation
            && self.name == stamp.manager
            && self.subresource == stamp.subresource
            && (operation == Operation::Apply || self.api_version == stamp.api_version)
    }
}

impl Managers {
    /// The record of an object; one that cannot be read counts as none.
    pub(super) fn of(object: &Value) -> Managers {
        let entries = entries_of(object).unwrap_or_default();
        Managers(entries.iter().map(Manager::decode).collect::<Option<_>>().unwrap_or_default())
    }

    /// The record that an update starts from.
    pub(super) fn for_update(old: Option<&Value>, new: &Value, subresource: &str) -> Managers {
        let live = || old.map(Managers::of).unwrap_or_default();
        if !subresource.is_empty() {
            return live();
        }
        if matches!(entries_of(new), Some([Value::Object(entry)]) if entry.is_empty()) {
            return Managers::default();
        }
        let given = Managers::of(new);
        if given.is_empty() { live() } else { given }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Manager> {
        self.0.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Manager> {
        self.0.iter_mut()
    }

    /// Takes the writer's own entry out, or makes one.
    pub(super) fn take_own(&mut self, operation: Operation, stamp: &Stamp<'_>) -> Manager {
        match self.0.iter().position(|manager| manager.is(operation, stamp)) {
            Some(at) => self.0.remove(at),
            None => Manager {
                name: stamp.manager.to_owned(),
                operation,
                api_version: stamp.api_version.to_owned(),
                subresource: stamp.subresource.to_owned(),
                time: None,
                set: Set::default(),
            },
        }
    }

    pub(super) fn put(&mut self, manager: Manager) {
        self.0.push(manager);
    }

    /// Drops managers that own nothing, puts the rest in upstream's order and folds the oldest updaters.
    pub(super) fn tidy(&mut self) {
        self.0.retain(|manager| !manager.set.is_empty());
        let updaters = self.0.iter().filter(|manager| manager.operation == Operation::Update).count();
        if updaters > MAX_UPDATERS {
            self.fold(updaters - MAX_UPDATERS);
        }
        self.0.sort_by(|a, b| {
            let key = |m: &Manager| (m.operation, m.time.clone(), m.name.clone(), m.api_version.clone());
            key(a).cmp(&key(b)).then_with(|| a.subresource.cmp(&b.subresource))
        });
    }

    /// Folds the oldest updaters of a version into one entry, until `excess` are gone.
    fn fold(&mut self, mut excess: usize) {
        self.0.sort_by(|a, b| (a.operation, &a.time).cmp(&(b.operation, &b.time)));
        let mut kept: Vec<Manager> = Vec::with_capacity(self.0.len());
        let mut folded: Vec<Manager> = Vec::new();
        for manager in std::mem::take(&mut self.0) {
            if manager.operation == Operation::Apply || excess == 0 {
                kept.push(manager);
                continue;
            }
            match folded.iter_mut().find(|known| known.api_version == manager.api_version) {
                Some(known) => {
                    known.set.union(manager.set);
                    known.time = manager.time.max(known.time.take());
                    excess -= 1;
                }
                None => folded.push(Manager { name: FOLDED.to_owned(), subresource: String::new(), ..manager }),
            }
        }
        kept.append(&mut folded);
        self.0 = kept;
    }

    /// Writes the record into an object.
    pub(super) fn write(&self, object: &mut Value) {
        let Some(object) = object.as_object_mut() else { return };
        let metadata = object.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
        if let (Some(metadata), false) = (metadata.as_object_mut(), self.0.is_empty()) {
            metadata.insert("managedFields".to_owned(), self.0.iter().map(Manager::encode).collect());
        }
    }
}

fn entries_of(object: &Value) -> Option<&[Value]> {
    object.get("metadata")?.get("managedFields")?.as_array().map(Vec::as_slice)
}

/// Whether a request brings a record.
pub(super) fn is_given(object: &Value) -> bool {
    entries_of(object).is_some_and(|entries| !entries.is_empty())
}

/// Takes the record out of an object.
pub(super) fn take(object: &mut Value) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
}
