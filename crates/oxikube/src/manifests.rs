//! Manifests: reading, applying (server-side), waiting until they are rolled out.

use std::path::{Path, PathBuf};
use std::time::Duration;

use kube::api::{DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client};
use serde_json::Value;

use crate::problem::{During, Problem, file};
use crate::progress::Progress;

/// An object of a manifest and where it comes from.
pub(crate) struct Manifest {
    object: Value,
    source: PathBuf,
}

impl Manifest {
    fn kind(&self) -> &str {
        api::meta::at(&self.object, "/kind")
    }

    fn name(&self) -> &str {
        api::meta::name(&self.object)
    }

    fn label(&self) -> String {
        format!("{}/{}", self.kind().to_lowercase(), self.name())
    }
}

/// Reads files and folders (not below), in the order of their names. Lists are taken apart.
pub(crate) fn read(paths: &[PathBuf]) -> Result<Vec<Manifest>, Problem> {
    let mut manifests = Vec::new();
    for path in paths {
        if path.is_dir() {
            let entries = std::fs::read_dir(path).map_err(|e| file(path, &e))?;
            let mut files: Vec<PathBuf> = entries.filter_map(|e| e.ok().map(|e| e.path())).collect();
            files.retain(|f| f.extension().is_some_and(|e| e == "yaml" || e == "yml" || e == "json"));
            files.sort();
            files.iter().try_for_each(|f| read_file(f, &mut manifests))?;
        } else {
            read_file(path, &mut manifests)?;
        }
    }
    Ok(manifests)
}

fn read_file(path: &Path, manifests: &mut Vec<Manifest>) -> Result<(), Problem> {
    let text = std::fs::read_to_string(path).map_err(|e| file(path, &e))?;
    let documents: Vec<Value> =
        serde_saphyr::from_multiple(&text).during(format!("{} is not valid YAML", path.display()))?;
    for document in documents {
        if document.is_null() {
            continue;
        }
        let items = document.get("items").and_then(Value::as_array).cloned();
        for object in items.unwrap_or_else(|| vec![document]) {
            if api::meta::at(&object, "/kind").is_empty() || api::meta::name(&object).is_empty() {
                return Err(Problem::new(format!("{}: an object needs kind and metadata.name", path.display())));
            }
            manifests.push(Manifest { object, source: path.to_owned() });
        }
    }
    Ok(())
}

/// Applies everything, namespaces and definitions as they come.
pub(crate) async fn apply(client: &Client, manifests: &[Manifest], progress: &mut Progress) -> Result<(), Problem> {
    for manifest in manifests {
        progress.start(&format!("applying {}", manifest.label()));
        let api = api_of(client, manifest)?;
        let parameters = PatchParams::apply("oxikube").force();
        let patched = api.patch(manifest.name(), &parameters, &Patch::Apply(&manifest.object)).await;
        patched.during(format!("{}: cannot apply {}", manifest.source.display(), manifest.label()))?;
    }
    progress.done(&format!("{} objects applied", manifests.len()));
    Ok(())
}

fn api_of(client: &Client, manifest: &Manifest) -> Result<Api<DynamicObject>, Problem> {
    let api_version = api::meta::at(&manifest.object, "/apiVersion");
    let gv = api::GroupVersion::parse(api_version)
        .ok_or_else(|| Problem::new(format!("{}: '{api_version}' is no apiVersion", manifest.source.display())))?;
    let gvk = gv.with_kind(manifest.kind());
    let row = api::catalogue::by_kind(&gvk).ok_or_else(|| {
        Problem::new(format!("{}: no kind {} in {api_version} is served", manifest.source.display(), manifest.kind()))
    })?;
    let resource =
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(&gv.group, &gv.version, manifest.kind()), row.plural);
    Ok(if row.namespaced() {
        let namespace = api::meta::namespace(&manifest.object);
        Api::namespaced_with(client.clone(), if namespace.is_empty() { "default" } else { namespace }, &resource)
    } else {
        Api::all_with(client.clone(), &resource)
    })
}

/// Waits until workloads are rolled out and single pods are ready.
pub(crate) async fn wait(client: &Client, manifests: &[Manifest], progress: &mut Progress) -> Result<(), Problem> {
    for manifest in manifests {
        let Some(ready) = readiness(manifest.kind()) else { continue };
        progress.start(&format!("waiting for {}", manifest.label()));
        let api = api_of(client, manifest)?;
        let label = manifest.label();
        let condition = move |object: Option<&DynamicObject>| {
            object.is_some_and(|o| serde_json::to_value(o).is_ok_and(|tree| ready(&tree)))
        };
        // The watch may break while the server settles; until the command's deadline it is tried again.
        while let Err(error) = kube::runtime::wait::await_condition(api.clone(), manifest.name(), condition).await {
            progress.start(&format!("waiting for {label} ({error})"));
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        progress.done(&format!("{label} is available"));
    }
    Ok(())
}

/// When an object of this kind counts as rolled out; none for kinds that are there at once.
fn readiness(kind: &str) -> Option<fn(&Value) -> bool> {
    match kind {
        "Deployment" | "ReplicaSet" | "StatefulSet" => Some(|o| {
            let wanted = o.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(1);
            let updated =
                o.get("kind").is_some_and(|k| k == "ReplicaSet") || number(o, "/status/updatedReplicas") == wanted;
            let available =
                ["/status/availableReplicas", "/status/readyReplicas"].iter().any(|p| number(o, p) == wanted);
            number(o, "/status/observedGeneration") >= api::meta::generation(o)
                && updated
                && available
                && number(o, "/status/replicas") == wanted
        }),
        "DaemonSet" => Some(|o| {
            number(o, "/status/observedGeneration") >= api::meta::generation(o)
                && number(o, "/status/numberAvailable") == number(o, "/status/desiredNumberScheduled")
        }),
        "Pod" => Some(|o| {
            let conditions = o.pointer("/status/conditions").and_then(Value::as_array);
            let ended = api::meta::at(o, "/status/phase") == "Succeeded";
            let ready = |c: &Value| api::meta::at(c, "/type") == "Ready" && api::meta::at(c, "/status") == "True";
            ended || conditions.is_some_and(|list| list.iter().any(ready))
        }),
        "Job" => Some(|o| {
            let conditions = o.pointer("/status/conditions").and_then(Value::as_array);
            conditions.is_some_and(|list| list.iter().any(|c| api::meta::at(c, "/type") == "Complete"))
        }),
        _ => None,
    }
}

fn number(object: &Value, pointer: &str) -> i64 {
    object.pointer(pointer).and_then(Value::as_i64).unwrap_or(0)
}
