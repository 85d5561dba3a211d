//! Errors about single fields, in upstream's wording (`apimachinery/pkg/util/validation/field`).

use std::fmt;

use serde_json::{Value, json};

/// What is wrong with a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldErrorType {
    /// Not there.
    Required,
    /// Malformed, or changed though it may not.
    Invalid,
    /// There twice.
    Duplicate,
    /// Not one of the allowed values.
    NotSupported,
    /// Not allowed here.
    Forbidden,
    /// Longer than allowed.
    TooLong,
    /// More items than allowed.
    TooMany,
    /// Names something that does not exist.
    NotFound,
    /// Of the wrong type.
    TypeInvalid,
}

impl FieldErrorType {
    fn reason(self) -> &'static str {
        match self {
            Self::Required => "FieldValueRequired",
            Self::Invalid => "FieldValueInvalid",
            Self::Duplicate => "FieldValueDuplicate",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Forbidden => "FieldValueForbidden",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
            Self::NotFound => "FieldValueNotFound",
            Self::TypeInvalid => "FieldValueTypeInvalid",
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::Required => "Required value",
            Self::Invalid | Self::TypeInvalid => "Invalid value",
            Self::Duplicate => "Duplicate value",
            Self::NotSupported => "Unsupported value",
            Self::Forbidden => "Forbidden",
            Self::TooLong => "Too long",
            Self::TooMany => "Too many",
            Self::NotFound => "Not found",
        }
    }
}

/// One complaint about one field.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldError {
    /// Kind of complaint.
    pub kind: FieldErrorType,
    /// Path, `spec.containers[0].name`.
    pub field: String,
    value: Option<String>,
    detail: String,
}

impl FieldError {
    /// `path: Required value: detail`
    pub fn required(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { kind: FieldErrorType::Required, field: field.into(), value: None, detail: detail.into() }
    }

    /// `path: Invalid value: "v": detail`
    pub fn invalid(field: impl Into<String>, value: &Value, detail: impl Into<String>) -> Self {
        let value = Some(value.to_string());
        Self { kind: FieldErrorType::Invalid, field: field.into(), value, detail: detail.into() }
    }

    /// `path: Invalid value: detail`, of what is too large to repeat
    pub fn invalid_as_a_whole(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { kind: FieldErrorType::Invalid, field: field.into(), value: None, detail: detail.into() }
    }

    /// `path: Duplicate value: "v"`
    pub fn duplicate(field: impl Into<String>, value: &Value) -> Self {
        let value = Some(value.to_string());
        Self { kind: FieldErrorType::Duplicate, field: field.into(), value, detail: String::new() }
    }

    /// `path: Unsupported value: "v": supported values: "a", "b"`
    pub fn not_supported(field: impl Into<String>, value: &Value, supported: &[&str]) -> Self {
        let list: Vec<String> = supported.iter().map(|s| format!("\"{s}\"")).collect();
        let detail = if list.is_empty() { String::new() } else { format!("supported values: {}", list.join(", ")) };
        Self { kind: FieldErrorType::NotSupported, field: field.into(), value: Some(value.to_string()), detail }
    }

    /// `path: Forbidden: detail`
    pub fn forbidden(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { kind: FieldErrorType::Forbidden, field: field.into(), value: None, detail: detail.into() }
    }

    /// `path: Too long: may not be more than N bytes`
    pub fn too_long(field: impl Into<String>, max: usize) -> Self {
        let detail = format!("may not be more than {max} bytes");
        Self { kind: FieldErrorType::TooLong, field: field.into(), value: None, detail }
    }

    /// `path: Too many: N: must have at most M items`
    pub fn too_many(field: impl Into<String>, actual: usize, max: usize) -> Self {
        let detail = format!("must have at most {max} items");
        Self { kind: FieldErrorType::TooMany, field: field.into(), value: Some(actual.to_string()), detail }
    }

    /// `path: Not found: "v"`
    pub fn not_found(field: impl Into<String>, value: &Value) -> Self {
        let value = Some(value.to_string());
        Self { kind: FieldErrorType::NotFound, field: field.into(), value, detail: String::new() }
    }

    /// The entry of `details.causes`.
    pub fn cause(&self) -> Value {
        json!({"reason": self.kind.reason(), "message": self.body(), "field": self.field})
    }

    fn body(&self) -> String {
        let mut text = self.kind.text().to_owned();
        if let Some(value) = &self.value {
            text.push_str(": ");
            text.push_str(value);
        }
        if !self.detail.is_empty() {
            text.push_str(": ");
            text.push_str(&self.detail);
        }
        text
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.body())
    }
}
