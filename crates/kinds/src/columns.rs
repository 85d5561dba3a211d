//! The columns that `kubectl get` prints (`meta.k8s.io/v1 Table`).

use api::GroupVersionKind;
use jiff::Timestamp;
use serde_json::Value;

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
}

/// Columns of a kind and how to fill them.
#[derive(Clone, Copy)]
pub struct Printer {
    /// The columns.
    pub columns: &'static [Column],
    /// The cells of an object, as many as columns; the second argument is now.
    pub row: fn(&Value, Timestamp) -> Vec<Value>,
}

/// The name column that every kind begins with.
pub(crate) const NAME: Column = Column { name: "Name", kind: "string", format: "name", priority: 0 };

static PLAIN: Printer = Printer {
    columns: &[NAME, Column { name: "Created At", kind: "date", format: "", priority: 0 }],
    row: |object, _| vec![api::meta::name(object).into(), api::meta::text(object, "creationTimestamp").into()],
};

/// How a kind is printed.
pub fn printer(_gvk: &GroupVersionKind) -> &'static Printer {
    &PLAIN
}
