//! JSON patch, RFC 6902.

use serde_json::Value;

use super::PatchError;

const MAX_OPERATIONS: usize = 10_000;
/// Bytes that all copies of one patch may add, so that a short patch cannot make a huge object.
const MAX_COPIED: usize = 3 << 20;

/// Carries out the operations in order. On an error `target` may be partly changed: patch a copy.
pub fn json_patch(target: &mut Value, patch: &Value) -> Result<(), PatchError> {
    let Value::Array(operations) = patch else {
        return Err(PatchError::Malformed(
            "json: cannot unmarshal object into Go value of type jsonpatch.Patch".into(),
        ));
    };
    if operations.len() > MAX_OPERATIONS {
        return Err(PatchError::TooManyOperations { limit: MAX_OPERATIONS, got: operations.len() });
    }
    let mut copied = 0;
    operations.iter().try_for_each(|operation| apply(target, operation, &mut copied))
}

fn apply(target: &mut Value, operation: &Value, copied: &mut usize) -> Result<(), PatchError> {
    let text = |key: &str| operation.get(key).and_then(Value::as_str);
    let op = text("op").unwrap_or("unknown");
    let path = || text("path").ok_or_else(|| unfit(format!("{op} operation failed to decode path: missing value")));
    let from = || text("from").ok_or_else(|| unfit(format!("{op} operation failed to decode from: missing value")));
    let value = || operation.get("value").cloned().unwrap_or(Value::Null);
    match op {
        "add" => add(target, path()?, value(), op),
        "remove" => remove(target, path()?, op).map(drop),
        "replace" => replace(target, path()?, value()),
        "move" => relocate(target, from()?, path()?),
        "copy" => copy(target, from()?, path()?, copied),
        "test" => test(target, path()?, operation.get("value").unwrap_or(&Value::Null)),
        _ => Err(unfit(format!("Unexpected kind: {op}"))),
    }
}

fn replace(target: &mut Value, path: &str, value: Value) -> Result<(), PatchError> {
    if let Some(place) = target.pointer_mut(path) {
        *place = value;
        return Ok(());
    }
    let parent = split(path).and_then(|(parent, _)| target.pointer(parent));
    let what = if parent.is_some_and(|parent| parent.is_object() || parent.is_array()) { "key" } else { "path" };
    Err(unfit(format!("replace operation does not apply: doc is missing {what}: {path}: missing value")))
}

fn copy(target: &mut Value, from: &str, to: &str, copied: &mut usize) -> Result<(), PatchError> {
    let value = target.pointer(from).cloned().ok_or_else(|| no_from("copy", from))?;
    *copied += value.to_string().len();
    if *copied > MAX_COPIED {
        return Err(unfit(format!(
            "Unable to complete the copy, the accumulated size increase of copy is {copied}, exceeding the limit {MAX_COPIED}"
        )));
    }
    add(target, to, value, "copy")
}

fn relocate(target: &mut Value, from: &str, to: &str) -> Result<(), PatchError> {
    if to.strip_prefix(from).is_some_and(|rest| rest.starts_with('/')) {
        return Err(unfit(format!("move operation does not apply: doc is missing path: {to}: missing value")));
    }
    if target.pointer(from).is_none() {
        return Err(no_from("move", from));
    }
    let moved = remove(target, from, "move")?;
    add(target, to, moved, "move")
}

fn test(target: &Value, path: &str, expected: &Value) -> Result<(), PatchError> {
    let found = target.pointer(path).unwrap_or(&Value::Null);
    if same(found, expected) { Ok(()) } else { Err(unfit(format!("testing value {path} failed: test failed"))) }
}

/// Equality where 1 and 1.0 are the same number.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(x), Value::Number(y)) => x == y || x.as_f64() == y.as_f64(),
        (Value::Array(x), Value::Array(y)) => x.len() == y.len() && x.iter().zip(y).all(|(x, y)| same(x, y)),
        (Value::Object(x), Value::Object(y)) => {
            x.len() == y.len() && x.iter().all(|(key, x)| y.get(key).is_some_and(|y| same(x, y)))
        }
        _ => a == b,
    }
}

fn add(target: &mut Value, path: &str, value: Value, op: &str) -> Result<(), PatchError> {
    if path.is_empty() {
        *target = value;
        return Ok(());
    }
    let (parent, last) = split(path).ok_or_else(|| no_path(op, path))?;
    match target.pointer_mut(parent) {
        Some(Value::Object(entries)) => {
            entries.insert(last, value);
        }
        Some(Value::Array(items)) => {
            let at = if last == "-" { items.len() } else { index(&last, items.len() + 1, op, path)? };
            items.insert(at, value);
        }
        _ => return Err(no_path(op, path)),
    }
    Ok(())
}

fn remove(target: &mut Value, path: &str, op: &str) -> Result<Value, PatchError> {
    let (parent, last) = split(path).ok_or_else(|| no_path(op, path))?;
    match target.pointer_mut(parent) {
        Some(Value::Object(entries)) => entries
            .remove(&last)
            .ok_or_else(|| in_path(op, path, &format!("Unable to remove nonexistent key: {last}: missing value"))),
        Some(Value::Array(items)) => {
            let at = index(&last, items.len(), op, path)?;
            Ok(items.remove(at))
        }
        _ => Err(no_path(op, path)),
    }
}

/// The pointer of the parent and the last token, unescaped.
fn split(path: &str) -> Option<(&str, String)> {
    let (parent, last) = path.rsplit_once('/')?;
    Some((parent, last.replace("~1", "/").replace("~0", "~")))
}

/// An array index below `len`; negative ones count from the end, as upstream's library does.
fn index(token: &str, len: usize, op: &str, path: &str) -> Result<usize, PatchError> {
    let number: i64 = token
        .parse()
        .map_err(|_| in_path(op, path, &format!("value was not a proper array index: '{token}': invalid syntax")))?;
    let at = usize::try_from(number.unsigned_abs()).ok();
    let at = if number < 0 { at.and_then(|back| len.checked_sub(back)) } else { at };
    at.filter(|at| *at < len).ok_or_else(|| {
        in_path(op, path, &format!("Unable to access invalid index: {number}: invalid index referenced"))
    })
}

fn unfit(message: String) -> PatchError {
    PatchError::Unprocessable(message)
}

fn in_path(op: &str, path: &str, why: &str) -> PatchError {
    unfit(format!("error in {op} for path: '{path}': {why}"))
}

fn no_path(op: &str, path: &str) -> PatchError {
    unfit(format!("{op} operation does not apply: doc is missing path: {path:?}: missing value"))
}

fn no_from(op: &str, from: &str) -> PatchError {
    unfit(format!("{op} operation does not apply: doc is missing from path: {from}: missing value"))
}

#[cfg(test)]
mod tests;
