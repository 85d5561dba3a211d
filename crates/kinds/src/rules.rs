//! The shape of a kind's rules.

use api::field::FieldError;
use serde_json::Value;

/// What names of a kind look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameRule {
    /// RFC 1123 subdomain: most kinds.
    Subdomain,
    /// RFC 1123 label: namespaces.
    Label,
    /// RFC 1035 label: services.
    Label1035,
    /// Any path segment: RBAC kinds.
    PathSegment,
}

impl NameRule {
    /// Whether a name keeps the rule; if not, why.
    pub fn check(self, name: &str) -> Result<(), String> {
        match self {
            Self::Subdomain => api::names::dns_subdomain(name),
            Self::Label => api::names::dns_label(name),
            Self::Label1035 => api::names::dns_1035_label(name),
            Self::PathSegment => api::names::path_segment(name),
        }
    }
}

/// What is particular to a kind. Functions see the storage version.
#[derive(Clone, Copy)]
pub struct Rules {
    /// Shape of names.
    pub names: NameRule,
    /// A `PUT` to a name that does not exist creates it.
    pub create_on_update: bool,
    /// `metadata.generation` counts changes of the spec.
    pub has_generation: bool,
    /// Seconds that a deletion waits when nothing else is said; none: deletion is at once.
    pub grace: Option<fn(&Value) -> i64>,
    /// Fields beside metadata.name and metadata.namespace that can be selected by, with their JSON pointers.
    pub fields: &'static [(&'static str, &'static str)],
    /// Defaults that depend on other fields (static ones are in the schema).
    pub default: fn(&mut Value),
    /// Drops or sets what a creator may not say.
    pub prepare_create: fn(&mut Value),
    /// Restores what an update may not touch without a complaint. Arguments: new, old.
    pub prepare_update: fn(&mut Value, &Value),
    /// Complaints about an object.
    pub validate: fn(&Value) -> Vec<FieldError>,
    /// Complaints about an object that is new, beside those of `validate`.
    pub validate_new: fn(&Value) -> Vec<FieldError>,
    /// Complaints about a change. Arguments: new, old.
    pub validate_update: fn(&Value, &Value) -> Vec<FieldError>,
    /// Restores what a change through a subresource may not touch, beside what no status door may. Arguments: subresource, new, old.
    pub door: fn(&str, &mut Value, &Value),
    /// Complaints about a change through a subresource (beside status). Arguments: subresource, new, old.
    pub validate_door: fn(&str, &Value, &Value) -> Vec<FieldError>,
    /// Complaints about a change through the status subresource. Arguments: new, old.
    pub validate_status: fn(&Value, &Value) -> Vec<FieldError>,
}

impl Rules {
    /// A kind about which nothing is particular.
    pub const PLAIN: Rules = Rules {
        names: NameRule::Subdomain,
        create_on_update: false,
        has_generation: true,
        grace: None,
        fields: &[],
        default: |_| {},
        prepare_create: |_| {},
        prepare_update: |_, _| {},
        validate: |_| Vec::new(),
        validate_new: |_| Vec::new(),
        door: |_, _, _| {},
        validate_door: |_, _, _| Vec::new(),
        validate_update: |_, _| Vec::new(),
        validate_status: |_, _| Vec::new(),
    };
}

/// Named `VERSION.GROUP`, with an empty group for core.
pub(crate) static API_SERVICE: Rules = Rules { names: NameRule::PathSegment, has_generation: false, ..Rules::PLAIN };
