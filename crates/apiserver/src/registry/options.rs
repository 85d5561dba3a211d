//! Options of writes: dry run, field manager, field validation.

use api::ApiError;

use crate::request::Query;

/// What to do about unknown and duplicate fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Validation {
    Ignore,
    #[default]
    Warn,
    Strict,
}

/// Options of a write.
#[derive(Debug, Clone, Default)]
pub(crate) struct Options {
    pub(crate) dry_run: bool,
    pub(crate) manager: String,
    pub(crate) force: bool,
    /// A server-side apply, which keeps its own record of managers.
    pub(crate) applied: bool,
    pub(crate) validation: Validation,
}

impl Options {
    /// Reads them from a query; the manager's default is what precedes the slash of the user agent.
    pub(crate) fn parse(query: &Query, user_agent: &str, verb: &str) -> Result<Self, ApiError> {
        let dry_run = match query.get("dryRun") {
            None => false,
            Some("All") => true,
            Some(other) => {
                return Err(unsupported(verb, "dryRun", other, &["All"]));
            }
        };
        let validation = match query.get("fieldValidation") {
            None | Some("Warn") => Validation::Warn,
            Some("Ignore") => Validation::Ignore,
            Some("Strict") => Validation::Strict,
            Some(other) => {
                return Err(unsupported(verb, "fieldValidation", other, &["Ignore", "Strict", "Warn"]));
            }
        };
        let manager = query.get("fieldManager").unwrap_or_else(|| user_agent.split('/').next().unwrap_or_default());
        if manager.len() > 128 {
            return Err(ApiError::bad_request("fieldManager: Too long: may not be more than 128 bytes"));
        }
        let manager = if manager.is_empty() { "unknown" } else { manager };
        Ok(Self { dry_run, manager: manager.to_owned(), force: query.flag("force"), applied: false, validation })
    }
}

/// An option of a write with a value that nobody knows.
fn unsupported(verb: &str, field: &str, value: &str, supported: &[&str]) -> ApiError {
    let kind = match verb {
        "create" => "CreateOptions",
        "update" => "UpdateOptions",
        "patch" => "PatchOptions",
        _ => "DeleteOptions",
    };
    ApiError::invalid(
        "meta.k8s.io",
        kind,
        "",
        &[api::field::FieldError::not_supported(field, &value.into(), supported)],
    )
}
