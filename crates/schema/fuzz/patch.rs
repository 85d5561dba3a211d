//! JSON, merge and strategic patches of a Deployment. The input: one byte for the format, then the patch.
#![no_main]

use serde_json::{Value, json};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((format, patch)) = data.split_first() else { return };
    let Ok(patch) = serde_json::from_slice::<Value>(patch) else { return };
    let mut target = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "labels": {"app": "web"}},
        "spec": {"replicas": 2, "template": {"spec": {"containers": [
            {"name": "a", "image": "one", "ports": [{"containerPort": 80, "protocol": "TCP"}]}, {"name": "b"}]}}},
    });
    let before = target.clone();
    let done = match format % 3 {
        0 => schema::patch::json_patch(&mut target, &patch).is_ok(),
        1 => {
            schema::patch::merge_patch(&mut target, &patch);
            true
        }
        _ => {
            let gvk = api::GroupVersionKind::new("apps", "v1", "Deployment");
            let Some(schema) = schema::builtin(&gvk) else { return };
            schema::patch::strategic_merge(&schema, &mut target, &patch).is_ok()
        }
    };
    if format % 3 == 0 && !done {
        assert_eq!(target, before, "a JSON patch that fails changes nothing");
    }
});
