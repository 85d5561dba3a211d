use std::time::Instant;

use api::GroupVersionKind;

use super::{builtin, kinds};
use crate::node::{Schema, Shape};

#[test]
fn every_kind_has_a_schema_without_loose_ends() {
    for (group, version, kinds) in kinds::ALL {
        for kind in *kinds {
            let schema = builtin(&GroupVersionKind::new(group, version, kind)).unwrap();
            let Shape::Object(object) = schema.resolve() else { panic!("{group}/{version} {kind} is no object") };
            assert!(object.field("metadata").is_some() && object.field("kind").is_some(), "{kind}");
            follow(&schema, 0);
        }
    }
    assert!(builtin(&GroupVersionKind::new("", "v1", "Table")).is_none());
}

/// Follows every reference; recursive types end by depth.
fn follow(schema: &Schema, depth: usize) {
    if let Shape::Ref(reference) = &schema.shape {
        assert!(super::named(&reference.name).is_some(), "{} is missing", reference.name);
    }
    if depth > 6 {
        return;
    }
    match schema.resolve() {
        Shape::Object(object) => object.fields.iter().for_each(|field| follow(&field.schema, depth + 1)),
        Shape::Map(map) => follow(&map.values, depth + 1),
        Shape::List(list) => follow(&list.items, depth + 1),
        _ => {}
    }
}

#[test]
fn a_schema_is_made_once() {
    let gvk = GroupVersionKind::new("apps", "v1", "DaemonSet");
    let started = Instant::now();
    let first = builtin(&gvk).unwrap();
    println!("a DaemonSet's schema took {:?}", started.elapsed());
    assert!(std::sync::Arc::ptr_eq(&first, &builtin(&gvk).unwrap()));
}
