//! The columns that `kubectl get` prints (`meta.k8s.io/v1 Table`): a table a kind, a function a cell.

mod access;
mod node;
mod pod;
mod service;
mod storage;
mod tables;
mod workload;

use api::GroupVersionKind;
use jiff::Timestamp;
use serde_json::Value;

/// Fills one cell of an object's row; the second argument is now.
pub type Cell = fn(&Value, Timestamp) -> Value;

/// One column.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// Heading.
    pub name: &'static str,
    /// `string`, `integer`, `date` …
    pub kind: &'static str,
    /// `name` for the first one, else empty.
    pub format: &'static str,
    /// 0: always shown; 1: with `-o wide`.
    pub priority: i32,
    /// Its cell.
    pub cell: Cell,
}

/// The name, which every kind begins with.
pub(crate) const NAME: Column =
    Column { name: "Name", kind: "string", format: "name", priority: 0, cell: |o, _| api::meta::name(o).into() };

/// How long ago it was made.
pub(crate) const AGE: Column = text("Age", access::age);

/// A column of text.
pub(crate) const fn text(name: &'static str, cell: Cell) -> Column {
    Column { name, kind: "string", format: "", priority: 0, cell }
}

/// A column of text that only `-o wide` shows.
pub(crate) const fn wide(name: &'static str, cell: Cell) -> Column {
    Column { name, kind: "string", format: "", priority: 1, cell }
}

/// A column of numbers.
pub(crate) const fn number(name: &'static str, cell: Cell) -> Column {
    Column { name, kind: "integer", format: "", priority: 0, cell }
}

/// How a kind is printed.
#[derive(Clone, Copy)]
pub struct Printer {
    /// The columns.
    pub columns: &'static [Column],
}

impl Printer {
    /// The cells of an object, as many as columns.
    pub fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        self.columns.iter().map(|c| (c.cell)(object, now)).collect()
    }
}

/// Kinds without columns of their own.
static PLAIN: &[Column] = &[
    NAME,
    Column {
        name: "Created At",
        kind: "date",
        format: "",
        priority: 0,
        cell: |o, _| api::meta::text(o, "creationTimestamp").into(),
    },
];

/// How a kind (in its storage version) is printed.
pub fn printer(gvk: &GroupVersionKind) -> Printer {
    Printer { columns: tables::of(&gvk.gv.group, &gvk.kind).unwrap_or(PLAIN) }
}

#[cfg(test)]
mod tests;
