//! Patch in its four forms.

use api::ApiError;
use schema::managed::{self, ApplyError, Stamp};
use schema::patch::{self, PatchError};
use serde_json::{Value, json};

use super::Validation;
use super::create::Written;
use crate::context::Context;

/// The four patch types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PatchType {
    Json,
    Merge,
    Strategic,
    Apply,
}

impl PatchType {
    /// By content type.
    pub(crate) fn parse(content_type: &str) -> Result<Self, ApiError> {
        match content_type.split(';').next().unwrap_or_default().trim() {
            "application/json-patch+json" => Ok(Self::Json),
            "application/merge-patch+json" => Ok(Self::Merge),
            "application/strategic-merge-patch+json" => Ok(Self::Strategic),
            "application/apply-patch+yaml" | "application/apply-patch+cbor" => Ok(Self::Apply),
            _ => Err(ApiError::unsupported_media_type(
                "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, application/apply-patch+yaml",
            )),
        }
    }
}

impl Context {
    /// PATCH.
    pub(crate) async fn patch(&self, name: &str, how: PatchType, patch: Value) -> Result<Written, ApiError> {
        match how {
            PatchType::Apply => {
                let mut context = self.on(&self.kind, &self.namespace).subresource(&self.subresource);
                context.options.applied = true;
                let written = context.apply(name, patch).await;
                context.take_warnings().into_iter().for_each(|w| self.warn(w));
                written
            }
            _ => {
                self.change(name, |shown| {
                    let mut new = shown.clone();
                    self.patch_tree(how, &mut new, &patch)?;
                    self.check_patched(name, new)
                })
                .await
            }
        }
    }

    /// Applies a patch to a tree of the request's version.
    pub(crate) fn patch_tree(&self, how: PatchType, tree: &mut Value, patch: &Value) -> Result<(), ApiError> {
        match how {
            PatchType::Json => patch::json_patch(tree, patch).map_err(patch_error),
            PatchType::Merge if patch.is_object() => {
                patch::merge_patch(tree, patch);
                Ok(())
            }
            PatchType::Strategic if patch.is_object() => {
                patch::strategic_merge(self.kind.schema()?, tree, patch).map_err(patch_error)
            }
            _ => Err(ApiError::bad_request("json: cannot unmarshal into Go value of type map[string]interface {}")),
        }
    }

    fn check_patched(&self, name: &str, new: Value) -> Result<Value, ApiError> {
        let new = self.admit_body(new)?;
        let said = api::meta::name(&new);
        if said != name {
            return Err(ApiError::bad_request(format!(
                "the name of the object ({said}) does not match the name on the URL ({name})"
            )));
        }
        Ok(new)
    }

    /// Server-side apply: <https://kubernetes.io/docs/reference/using-api/server-side-apply/>
    async fn apply(&self, name: &str, mut applied: Value) -> Result<Written, ApiError> {
        let gvk = &self.kind.gvk;
        let api_version = gvk.gv.to_string();
        for (field, expected) in [("apiVersion", api_version.as_str()), ("kind", &*gvk.kind)] {
            let said = applied.get(field).and_then(Value::as_str).unwrap_or_default();
            if said != expected {
                return Err(ApiError::bad_request(format!(
                    "{field} of the applied configuration is \"{said}\", expected \"{expected}\""
                )));
            }
        }
        if api::meta::of(&applied).is_some_and(|m| m.get("managedFields").is_some_and(|f| !f.is_null())) {
            return Err(ApiError::bad_request("metadata.managedFields must be nil"));
        }
        let said = api::meta::name(&applied);
        if !said.is_empty() && said != name {
            return Err(ApiError::bad_request(format!(
                "the name of the object ({said}) does not match the name on the URL ({name})"
            )));
        }
        if said.is_empty() {
            api::meta::set(&mut applied, "name", name);
        }
        self.check_applied(&applied)?;
        for _ in 0..4 {
            let outcome = match self.current(name).await {
                Ok(_) => self.change(name, |live| self.apply_to(Some(live), &applied)).await,
                Err(error) if error.reason == "NotFound" && self.subresource.is_empty() => {
                    let mut body = self.apply_to(None, &applied)?;
                    if self.kind.resource.namespaced() {
                        api::meta::set(&mut body, "namespace", self.namespace.as_str());
                    }
                    self.create(body).await
                }
                Err(error) => Err(error),
            };
            match outcome {
                Err(error) if matches!(error.reason, "AlreadyExists" | "NotFound") && self.subresource.is_empty() => {}
                other => return other,
            }
        }
        Err(self.kind.stale(name))
    }

    /// Type errors and unknown fields of what is applied, before anything is merged.
    fn check_applied(&self, applied: &Value) -> Result<(), ApiError> {
        let schema = self.kind.schema()?;
        let (kind, gv) = (&self.kind.gvk.kind, &self.kind.gvk.gv);
        schema.check_types(applied).map_err(|e| {
            ApiError::bad_request(format!("{kind} in version \"{}\" cannot be handled as a {kind}: {e}", gv.version))
        })?;
        let unknown = schema.prune(&mut applied.clone());
        match (self.options.validation, unknown.first()) {
            (Validation::Strict, Some(field)) => Err(ApiError::bad_request(format!(
                "failed to create typed patch object ({}; {gv}, Kind={kind}): .{field}: field not declared in schema",
                self.object_name(applied)
            ))),
            (Validation::Warn, Some(_)) => {
                unknown.iter().for_each(|f| self.warn(format!("unknown field \"{f}\"")));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn object_name(&self, object: &Value) -> String {
        if self.namespace.is_empty() {
            api::meta::name(object).to_owned()
        } else {
            format!("{}/{}", self.namespace, api::meta::name(object))
        }
    }

    fn apply_to(&self, live: Option<&Value>, applied: &Value) -> Result<Value, ApiError> {
        let (api_version, now) = (self.kind.gvk.gv.to_string(), api::time::seconds(self.now));
        let stamp = Stamp {
            manager: &self.options.manager,
            api_version: &api_version,
            subresource: &self.subresource,
            now: &now,
        };
        let schema = self.kind.schema()?;
        let mut applied = applied.clone();
        schema.prune(&mut applied);
        let mut merged = managed::apply(schema, live, &applied, self.options.force, &stamp).map_err(apply_error)?;
        schema.apply_defaults(&mut merged);
        Ok(merged)
    }
}

fn patch_error(error: PatchError) -> ApiError {
    match error {
        PatchError::Malformed(why) => ApiError::bad_request(why),
        PatchError::TooManyOperations { .. } => ApiError::too_large(error.to_string()),
        PatchError::Unprocessable(why) => ApiError::new(
            422,
            "Invalid",
            format!("the server rejected our request due to an error in our request: {why}"),
        ),
    }
}

fn apply_error(error: ApplyError) -> ApiError {
    let ApplyError::Conflicts(conflicts) = &error else { return ApiError::bad_request(error.to_string()) };
    let causes: Vec<Value> = conflicts
        .iter()
        .map(|c| json!({"reason": "FieldManagerConflict", "message": c.to_string(), "field": c.field_path}))
        .collect();
    let mut api = ApiError::new(409, "Conflict", error.to_string());
    api.details = Some(Box::new(json!({"causes": causes})));
    api
}
