//! The order of a merged list.

use std::collections::HashMap;

use serde_json::Value;

/// What identifies an item: a field of it, or the item itself.
#[derive(Clone, Copy)]
pub(super) struct Key<'a>(pub(super) Option<&'a str>);

/// Where items are in a list.
pub(super) struct Positions<'v>(HashMap<&'v Value, usize>);

impl Key<'_> {
    fn of<'v>(&self, item: &'v Value) -> Option<&'v Value> {
        match self.0 {
            Some(key) => item.get(key),
            None => Some(item),
        }
    }

    pub(super) fn positions<'v>(&self, items: &'v [Value]) -> Positions<'v> {
        let mut out = HashMap::with_capacity(items.len());
        for (at, item) in items.iter().enumerate() {
            if let Some(key) = self.of(item) {
                out.entry(key).or_insert(at);
            }
        }
        Positions(out)
    }

    pub(super) fn position(&self, positions: &Positions<'_>, item: &Value) -> Option<usize> {
        positions.0.get(self.of(item)?).copied()
    }
}

/// Items that `wanted` names come in its order; the others keep theirs and go before the first named item that
/// followed them in `before`.
pub(super) fn in_order(items: Vec<Value>, wanted: &[Value], before: &[Value], key: Key<'_>) -> Vec<Value> {
    let (wanted, before) = (key.positions(wanted), key.positions(before));
    let mut named = Vec::new();
    let mut others = Vec::new();
    for item in items {
        let was = key.position(&before, &item);
        match key.position(&wanted, &item) {
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
