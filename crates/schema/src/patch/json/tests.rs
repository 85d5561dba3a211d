use serde_json::{Value, json};

use super::json_patch;

#[test]
fn operations_change_the_document() {
    for (doc, patch, expected) in [
        (json!({"a": 1}), json!([{"op": "add", "path": "/b", "value": 2}]), json!({"a": 1, "b": 2})),
        (json!({"a": [1, 3]}), json!([{"op": "add", "path": "/a/1", "value": 2}]), json!({"a": [1, 2, 3]})),
        (json!({"a": [1]}), json!([{"op": "add", "path": "/a/-", "value": 2}]), json!({"a": [1, 2]})),
        (json!({"a": {"x/y": 1}}), json!([{"op": "remove", "path": "/a/x~1y"}]), json!({"a": {}})),
        (json!({"a": [1, 2]}), json!([{"op": "remove", "path": "/a/-1"}]), json!({"a": [1]})),
        (json!({"a": 1}), json!([{"op": "replace", "path": "/a", "value": null}]), json!({"a": null})),
        (json!({"a": {"b": 1}}), json!([{"op": "move", "from": "/a/b", "path": "/c"}]), json!({"a": {}, "c": 1})),
        (json!({"a": [1]}), json!([{"op": "copy", "from": "/a/0", "path": "/b"}]), json!({"a": [1], "b": 1})),
        (json!({"a": 1}), json!([{"op": "test", "path": "/a", "value": 1.0}]), json!({"a": 1})),
        (json!({"a": 1}), json!([{"op": "test", "path": "/b", "value": null}]), json!({"a": 1})),
        (json!(1), json!([{"op": "add", "path": "", "value": {}}]), json!({})),
    ] {
        let mut target = doc.clone();
        json_patch(&mut target, &patch).unwrap();
        assert_eq!(target, expected, "{doc} with {patch}");
    }
}

#[test]
fn errors_are_worded_as_upstream() {
    let fails = |patch: Value| json_patch(&mut json!({"a": {"l": [1]}}), &patch).unwrap_err().to_string();
    for (patch, message) in [
        (json!({"op": "test", "path": "/a", "value": 1}), "testing value /a failed: test failed"),
        (
            json!({"op": "replace", "path": "/a/x", "value": 1}),
            "replace operation does not apply: doc is missing key: /a/x: missing value",
        ),
        (
            json!({"op": "remove", "path": "/a/x"}),
            "error in remove for path: '/a/x': Unable to remove nonexistent key: x: missing value",
        ),
        (
            json!({"op": "add", "path": "/x/y", "value": 1}),
            "add operation does not apply: doc is missing path: \"/x/y\": missing value",
        ),
        (
            json!({"op": "add", "path": "/a/l/7", "value": 1}),
            "error in add for path: '/a/l/7': Unable to access invalid index: 7: invalid index referenced",
        ),
        (json!({"op": "twist", "path": "/a"}), "Unexpected kind: twist"),
    ] {
        assert_eq!(fails(json!([patch])), message);
    }
    let many = Value::Array(vec![json!({"op": "test", "path": "/b"}); 10_001]);
    assert_eq!(fails(many), "The allowed maximum operations in a JSON patch is 10000, got 10001");
}

#[test]
fn copies_do_not_grow_without_bound() {
    let doubling = vec![json!({"op": "copy", "from": "/a", "path": "/a/-"}); 64];
    let error = json_patch(&mut json!({"a": ["x"]}), &Value::Array(doubling)).unwrap_err().to_string();
    assert!(error.starts_with("Unable to complete the copy"), "{error}");
}
