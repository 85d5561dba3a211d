//! The order of a merged list.

use serde_json::Value;

/// What identifies an item: a field of it, or the item itself.
#[derive(Clone, Copy)]
pub(super) struct Key<'a>(pub(super) Option<&'a str>);

impl Key<'_> {
    fn of<'v>(&self, item: &'v Value) -> Option<&'v Value> {
        match self.0 {
            Some(key) => item.get(key),
            None => Some(item),
        }
    }

    fn position(&self, order: &[Value], item: &Value) -> Option<usize> {
        let wanted = self.of(item)?;
        order.iter().position(|other| self.of(other) == Some(wanted))
    }
}

/// Items that `wanted` names come in its order; the others keep theirs and go before the first named item that
/// followed them in `before`.
pub(super) fn in_order(items: Vec<Value>, wanted: &[Value], before: &[Value], key: Key<'_>) -> Vec<Value> {
    let mut named = Vec::new();
    let mut others = Vec::new();
    for item in items {
        let was = key.position(before, &item);
        match key.position(wanted, &item) {
            Some(at) => named.push((at, was, item)),
            None => others.push((was, item)),
        }
    }
    named.sort_by_key(|(at, ..)| *at);
    others.sort_by_key(|(was, _)| was.unwrap_or(usize::MAX));
    let mut out = Vec::with_capacity(named.len() + others.len());
    let mut others = others.into_iter().peekable();
    for (_, was, item) in named {
        while let Some((_, other)) = others.next_if(|(other, _)| matches!((other, was), (Some(o), Some(w)) if *o < w)) {
            out.push(other);
        }
        out.push(item);
    }
    out.extend(others.map(|(_, item)| item));
    out
}
