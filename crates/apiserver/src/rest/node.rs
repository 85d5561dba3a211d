//! Ranges of pod addresses: no two nodes have the same one, even if two controllers give them out at once.

use api::ApiError;
use serde_json::Value;

use super::claims::Claim;
use crate::context::Context;

/// Where the claims of ranges are kept.
const PREFIX: &str = "/registry/ranges/podcidrs/";

fn keys(node: &Value) -> Vec<String> {
    let ranges = node.pointer("/spec/podCIDRs").and_then(Value::as_array).into_iter().flatten();
    ranges.filter_map(Value::as_str).map(|range| format!("{PREFIX}{}", range.replace('/', "-"))).collect()
}

pub(super) async fn claim(
    context: &Context,
    new: &Value,
    old: Option<&Value>,
    claim: &mut Claim,
) -> Result<(), ApiError> {
    let (now, before) = (keys(new), old.map(keys).unwrap_or_default());
    for key in now.iter().filter(|key| !before.contains(key)) {
        if !claim.take_key(context, key, new).await? && !held_by(context, key, new).await {
            let range = key.strip_prefix(PREFIX).unwrap_or(key);
            return Err(context
                .kind
                .conflict(api::meta::name(new), &format!("the range {range} belongs to another node")));
        }
    }
    claim.keys_freed = before.into_iter().filter(|key| !now.contains(key)).collect();
    Ok(())
}

/// A node may have what an earlier attempt took for it, or what was never given back when it was removed.
async fn held_by(context: &Context, key: &str, node: &Value) -> bool {
    let held = context.server.store.get(key).await;
    held.is_ok_and(|held| held.is_some_and(|entry| super::claims::is_owner(&entry, node)))
}

pub(super) async fn release(context: &Context, node: &Value) {
    let freed = Claim { keys_freed: keys(node), ..Claim::default() };
    freed.keep(context, node).await;
}
