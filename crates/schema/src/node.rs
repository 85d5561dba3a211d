//! The schema tree.

use std::sync::{Arc, OnceLock};

use serde_json::Value;

use crate::facts::{DefaultFact, ListType, PatchFact};

/// A structural schema: what may be at a place of an object, and how it merges there.
#[derive(Debug)]
pub struct Schema {
    pub(crate) shape: Shape,
}

#[derive(Debug)]
pub(crate) enum Shape {
    /// Anything goes and is kept.
    Any,
    Scalar(Scalar),
    Object(Object),
    Map(Map),
    List(List),
    /// A named type, found when first followed (types may contain themselves).
    Ref(Ref),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scalar {
    String,
    Bool,
    Int32,
    Int64,
    Double,
    Bytes,
    Time,
    Quantity,
    IntOrString,
}

/// A struct: named fields, unknown ones are dropped.
#[derive(Debug)]
pub(crate) struct Object {
    /// Full name, `io.k8s.api.apps.v1.DeploymentSpec`; empty for the inline object of a custom resource.
    pub(crate) name: Box<str>,
    /// Sorted by name.
    pub(crate) fields: Box<[Field]>,
    pub(crate) atomic: bool,
    /// Which fields have defaults; those with a condition come last.
    pub(crate) defaults: Box<[u16]>,
    /// Defaults at a longer path, below parents that exist.
    pub(crate) deep_defaults: Box<[DeepDefault]>,
}

/// A default at a longer path.
pub(crate) type DeepDefault = (Box<[Box<str>]>, DefaultFact);

#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) name: Box<str>,
    pub(crate) schema: Schema,
    /// The map or struct at this field is one value.
    pub(crate) atomic: bool,
    /// Written upstream even when empty: held by value, or required.
    pub(crate) by_value: bool,
    pub(crate) patch: Option<PatchFact>,
    pub(crate) default: Option<DefaultFact>,
}

/// A map of any keys to one type.
#[derive(Debug)]
pub(crate) struct Map {
    pub(crate) values: Box<Schema>,
    pub(crate) atomic: bool,
}

#[derive(Debug)]
pub(crate) struct List {
    pub(crate) items: Box<Schema>,
    pub(crate) kind: ListType,
}

#[derive(Debug)]
pub(crate) struct Ref {
    pub(crate) name: Box<str>,
    pub(crate) target: OnceLock<Arc<Schema>>,
}

impl Schema {
    pub(crate) const ANY: Schema = Schema { shape: Shape::Any };

    /// The shape with references followed.
    pub(crate) fn resolve(&self) -> &Shape {
        match &self.shape {
            Shape::Ref(r) => {
                let target = r.target.get_or_init(|| crate::builtin::named(&r.name).unwrap_or_else(any));
                // A named type is never itself a reference.
                &target.shape
            }
            shape => shape,
        }
    }

    /// The schema of a key of an object or map.
    pub(crate) fn child(&self, key: &str) -> Option<&Schema> {
        match self.resolve() {
            Shape::Object(object) => object.field(key).map(|field| &field.schema),
            Shape::Map(map) => Some(&map.values),
            _ => None,
        }
    }

    /// How a type error names the type, in Go.
    pub(crate) fn go_type(&self) -> String {
        match self.resolve() {
            Shape::Any => "interface {}".to_owned(),
            Shape::Scalar(scalar) => scalar.go_type().to_owned(),
            Shape::Object(object) => {
                let mut parts = object.name.rsplit('.');
                let name = parts.next().unwrap_or_default();
                format!("{}.{name}", parts.next().unwrap_or_default())
            }
            Shape::Map(map) => format!("map[string]{}", map.values.go_type()),
            Shape::List(list) => format!("[]{}", list.items.go_type()),
            Shape::Ref(_) => String::new(),
        }
    }
}

fn any() -> Arc<Schema> {
    Arc::new(Schema::ANY)
}

impl Object {
    pub(crate) fn field(&self, name: &str) -> Option<&Field> {
        let at = self.fields.binary_search_by(|field| (*field.name).cmp(name)).ok()?;
        self.fields.get(at)
    }

    /// Last segment of the name.
    pub(crate) fn short_name(&self) -> &str {
        self.name.rsplit('.').next().unwrap_or_default()
    }
}

impl Scalar {
    fn go_type(self) -> &'static str {
        match self {
            Scalar::String => "string",
            Scalar::Bool => "bool",
            Scalar::Int32 => "int32",
            Scalar::Int64 => "int64",
            Scalar::Double => "float64",
            Scalar::Bytes => "[]uint8",
            Scalar::Time => "v1.Time",
            Scalar::Quantity => "resource.Quantity",
            Scalar::IntOrString => "intstr.IntOrString",
        }
    }

    /// What Go holds where JSON says nothing.
    pub(crate) fn zero(self) -> Value {
        match self {
            Scalar::String | Scalar::Bytes => Value::String(String::new()),
            Scalar::Quantity => Value::String("0".to_owned()),
            Scalar::Bool => Value::Bool(false),
            Scalar::Int32 | Scalar::Int64 | Scalar::Double | Scalar::IntOrString => Value::from(0),
            Scalar::Time => Value::Null,
        }
    }
}
