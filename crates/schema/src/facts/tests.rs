use std::path::PathBuf;

use serde_json::Value;

use super::{FILES, Fact, ListType, PatchFact, parse};

#[test]
fn every_file_parses() {
    for (group, text) in FILES {
        let facts = parse(text).unwrap_or_else(|line| panic!("{group}: {line}"));
        assert!(!facts.is_empty(), "{group} is empty");
    }
}

/// The published document, if it lies beside the workspace.
fn published() -> Option<Value> {
    let workspace = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let file = ["../shared/spec", "../../shared/spec"]
        .iter()
        .map(|folder| workspace.join(folder).join("openapi-v2-v1.36.json"))
        .find(|file| file.exists())?;
    serde_json::from_slice(&std::fs::read(file).unwrap()).ok()
}

#[test]
fn the_table_agrees_with_the_published_openapi() {
    let Some(document) = published() else {
        println!("SKIPPED: the published OpenAPI document is not beside the workspace; nothing was compared");
        return;
    };
    let mut compared = 0;
    for (name, definition) in document["definitions"].as_object().unwrap() {
        let facts = super::of_type(name).cloned().unwrap_or_default();
        let own = facts.get("").cloned().unwrap_or_default();
        assert_eq!(own.atomic, definition["x-kubernetes-map-type"] == "atomic", "{name}");
        for (field, description) in definition["properties"].as_object().into_iter().flatten() {
            let fact = facts.get(field.as_str()).cloned().unwrap_or_default();
            let expected = expected(description);
            assert_eq!(
                (fact.list, fact.patch, fact.atomic),
                (expected.list, expected.patch, expected.atomic),
                "{name}.{field}"
            );
            compared += 1;
        }
    }
    assert!(compared > 3000, "{compared}");
}

fn expected(description: &Value) -> Fact {
    let list = match description["x-kubernetes-list-type"].as_str() {
        Some("atomic") => Some(ListType::Atomic),
        Some("set") => Some(ListType::Set),
        Some("map") => Some(ListType::Map(
            description["x-kubernetes-list-map-keys"]
                .as_array()
                .unwrap()
                .iter()
                .map(|k| k.as_str().unwrap().into())
                .collect(),
        )),
        _ => None,
    };
    let strategy = description["x-kubernetes-patch-strategy"].as_str();
    let key = description["x-kubernetes-patch-merge-key"].as_str();
    let patch = (strategy.is_some() || key.is_some()).then(|| PatchFact {
        merge: strategy.unwrap_or_default().split(',').any(|s| s == "merge"),
        retain_keys: strategy.unwrap_or_default().split(',').any(|s| s == "retainKeys"),
        key: key.map(Into::into),
    });
    Fact { list, patch, atomic: description["x-kubernetes-map-type"] == "atomic", ..Fact::default() }
}
