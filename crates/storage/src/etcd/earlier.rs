//! What came of attempts at a write that were not answered: the history tells.
//!
//! What was put shows itself by its value. Of a deletion nothing is left to tell whose it was, so each leaves a mark of
//! its own beside it, in the same transaction.

use std::sync::Arc;

use super::Shared;
use super::index;
use super::keys::deletion;
use crate::{Entry, Event, ReadError, Revision, Write, WriteError};

/// Tells one deletion from all others.
pub(super) fn mark() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// The change that an earlier attempt has made, if one did; `since` is from before the first, `until` from the last.
pub(super) async fn effect(
    shared: &Shared,
    write: &Write,
    mark: &str,
    since: Revision,
    until: Revision,
) -> Result<Option<(Arc<Entry>, Revision)>, WriteError> {
    let unknown = |error: ReadError| {
        WriteError::Stopped(format!("an attempt was not answered, and whether it had its effect is not known: {error}"))
    };
    index::reach(shared, until).await.map_err(unknown)?;
    let changes = |key: &str| history(shared, key, since).map_err(unknown);
    let own = match write.value {
        Some(_) => None,
        None => match changes(&deletion(&write.key))?.iter().find(|event| is_marked(event, mark)) {
            Some(event) => Some(event.revision),
            None => return Ok(None),
        },
    };
    let changed = changes(write.key.as_str())?.into_iter().find(|event| is_of(event, write, own));
    Ok(changed.and_then(|event| Some((event.now.or(event.before)?, event.revision))))
}

/// Changes of one key.
fn history(shared: &Shared, key: &str, since: Revision) -> Result<Vec<Event>, ReadError> {
    let mut watch = shared.tree.watch(key, since)?;
    let (mut changes, current) = (Vec::new(), shared.tree.current());
    while watch.position() < current {
        changes.extend(watch.pending()?.into_iter().filter(|event| event.key().is_some_and(|k| k.as_str() == key)));
    }
    Ok(changes)
}

fn is_marked(deletion: &Event, mark: &str) -> bool {
    deletion.now.as_ref().is_some_and(|entry| entry.value == mark)
}

/// Whether a change of the key is what the write asks for; a deletion is the one of that revision.
fn is_of(event: &Event, write: &Write, deletion: Option<Revision>) -> bool {
    match (&event.now, &write.value) {
        (Some(now), Some(value)) => {
            now.value == *value && event.before.as_ref().map(|before| before.modified) == write.expected
        }
        (None, None) => Some(event.revision) == deletion,
        _ => false,
    }
}
