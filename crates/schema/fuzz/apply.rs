//! Server-side apply of whatever is given to a ConfigMap or a pod that others own in part.
#![no_main]

use schema::managed::{Stamp, apply};
use serde_json::{Value, json};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((kind, applied)) = data.split_first() else { return };
    let Ok(mut applied) = serde_json::from_slice::<Value>(applied) else { return };
    let kind = if kind % 2 == 0 { "ConfigMap" } else { "Pod" };
    let Some(schema) = schema::builtin(&api::GroupVersionKind::new("", "v1", kind)) else { return };
    schema.prune(&mut applied);
    if schema.check_types(&applied).is_err() {
        return;
    }
    let stamp = Stamp { manager: "fuzz", api_version: "v1", now: "2026-01-01T00:00:00Z", subresource: "" };
    let first = apply(&schema, None, &applied, true, &stamp);
    if let Ok(live) = first {
        let other = Stamp { manager: "other", ..stamp };
        let nothing = json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": "a"}});
        assert!(apply(&schema, Some(&live), &nothing, true, &other).is_ok());
    }
});
