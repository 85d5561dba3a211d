//! The class that an object gets that names none.

use api::ApiError;
use serde_json::Value;

use crate::context::Context;
use crate::registry::list::Selection;

/// The default of the classes of a kind, where there is one. Any of `keys` is the annotation that makes a default.
pub(super) async fn of(
    context: &Context,
    group: &str,
    plural: &str,
    keys: &[&str],
) -> Result<Option<String>, ApiError> {
    let mut trees = Vec::new();
    for object in context.server.own(group, plural, "")?.select(&Selection::default()).await? {
        trees.push(object.tree()?);
    }
    Ok(choose(&trees, keys).map(str::to_owned))
}

/// The newest of several, then the first by name.
fn choose<'a>(classes: &'a [Value], keys: &[&str]) -> Option<&'a str> {
    let chosen = classes.iter().filter(|c| keys.iter().any(|key| api::meta::annotation(c, key) == Some("true")));
    let rank = |class: &&Value| {
        (std::cmp::Reverse(api::meta::text(class, "creationTimestamp").to_owned()), api::meta::name(class).to_owned())
    };
    chosen.min_by_key(rank).map(api::meta::name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_newest_default_class_is_taken() {
        let class = |name: &str, created: &str, default: &str| json!({"metadata": {"name": name, "creationTimestamp": created, "annotations": {"is-default": default}}});
        let mut classes = vec![class("z", "2026-01-03T00:00:00Z", "false"), class("a", "2026-01-01T00:00:00Z", "true")];
        assert_eq!(choose(&classes, &["other", "is-default"]), Some("a"));
        classes.push(class("b", "2026-01-02T00:00:00Z", "true"));
        assert_eq!(choose(&classes, &["is-default"]), Some("b"));
        assert_eq!(choose(&classes, &["other"]), None);
    }
}
