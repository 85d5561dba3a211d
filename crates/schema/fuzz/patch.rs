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
    match format % 3 {
        // What becomes of the copy that a patch fails on is nobody's concern.
        0 => drop(schema::patch::json_patch(&mut target, &patch)),
        1 => {
            schema::patch::merge_patch(&mut target, &patch);
            let once = target.clone();
            schema::patch::merge_patch(&mut target, &patch);
            assert_eq!(target, once, "a merge patch says what is to be: twice is once");
        }
        _ => {
            let gvk = api::GroupVersionKind::new("apps", "v1", "Deployment");
            let Some(schema) = schema::builtin(&gvk) else { return };
            drop(schema::patch::strategic_merge(&schema, &mut target, &patch));
        }
    }
});
