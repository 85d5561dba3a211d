//! Which events are one event again, and which are too many. Numbers are those of client-go's event correlator.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;

use super::{EventType, Occurrence};

/// Events of one object: so many at once, then one per [`REFILL_SECONDS`].
const BURST: f64 = 25.0;
const REFILL_SECONDS: f64 = 300.0;
/// Events that differ in their message only are combined beyond so many within [`SIMILAR_SECONDS`].
const SIMILAR: usize = 10;
const SIMILAR_SECONDS: i64 = 600;
/// Objects and events remembered; all are forgotten when it is reached.
const REMEMBERED: usize = 4096;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Object {
    kind: String,
    namespace: String,
    name: String,
    uid: String,
    field_path: String,
}

/// Names one event that can be counted up.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Slot {
    object: Object,
    event_type: EventType,
    reason: String,
    /// None where messages are combined.
    message: Option<String>,
}

pub(super) enum Verdict {
    Drop,
    Create { slot: Slot, occurrence: Occurrence },
    Count { slot: Slot, name: String, count: i32, first: Timestamp, occurrence: Occurrence },
}

struct Seen {
    name: String,
    count: i32,
    first: Timestamp,
}

struct Bucket {
    tokens: f64,
    at: Timestamp,
}

struct Similar {
    messages: HashSet<String>,
    last: Timestamp,
}

#[derive(Default)]
pub(super) struct Correlator {
    seen: HashMap<Slot, Seen>,
    buckets: HashMap<Object, Bucket>,
    similar: HashMap<Slot, Similar>,
}

impl Correlator {
    pub(super) fn take(&mut self, mut occurrence: Occurrence) -> Verdict {
        let object = Object::of(&occurrence);
        if !self.admit(&object, occurrence.at) {
            return Verdict::Drop;
        }
        let mut slot = Slot {
            object,
            event_type: occurrence.event_type,
            reason: occurrence.reason.clone(),
            message: Some(occurrence.message.clone()),
        };
        if self.combine(&slot, &occurrence) {
            slot.message = None;
            occurrence.message = format!("(combined from similar events): {}", occurrence.message);
        }
        match self.seen.get_mut(&slot) {
            Some(seen) => {
                seen.count = seen.count.saturating_add(1);
                let (name, count, first) = (seen.name.clone(), seen.count, seen.first);
                Verdict::Count { slot, name, count, first, occurrence }
            }
            None => Verdict::Create { slot, occurrence },
        }
    }

    /// The event was written under this name.
    pub(super) fn created(&mut self, slot: &Slot, name: String) {
        if self.seen.len() >= REMEMBERED {
            self.seen.clear();
        }
        let now = Timestamp::now();
        let seen = self.seen.entry(slot.clone()).or_insert(Seen { name: String::new(), count: 1, first: now });
        seen.name = name;
    }

    fn admit(&mut self, object: &Object, now: Timestamp) -> bool {
        if self.buckets.len() >= REMEMBERED && !self.buckets.contains_key(object) {
            self.buckets.clear();
        }
        let bucket = self.buckets.entry(object.clone()).or_insert(Bucket { tokens: BURST, at: now });
        let passed = (now.as_millisecond() - bucket.at.as_millisecond()).max(0) as f64 / 1000.0;
        bucket.tokens = (bucket.tokens + passed / REFILL_SECONDS).min(BURST);
        bucket.at = now;
        if bucket.tokens < 1.0 {
            return false;
        }
        bucket.tokens -= 1.0;
        true
    }

    fn combine(&mut self, slot: &Slot, occurrence: &Occurrence) -> bool {
        if self.similar.len() >= REMEMBERED {
            self.similar.clear();
        }
        let group = Slot { message: None, ..slot.clone() };
        let fresh = || Similar { messages: HashSet::new(), last: occurrence.at };
        let similar = self.similar.entry(group).or_insert_with(fresh);
        if occurrence.at.as_second() - similar.last.as_second() > SIMILAR_SECONDS {
            *similar = fresh();
        }
        similar.last = occurrence.at;
        if similar.messages.len() < SIMILAR {
            similar.messages.insert(occurrence.message.clone());
        }
        similar.messages.len() >= SIMILAR && !similar.messages.contains(&occurrence.message)
    }
}

impl Object {
    fn of(occurrence: &Occurrence) -> Self {
        let object = &occurrence.object;
        Self {
            kind: object.kind.clone().unwrap_or_default(),
            namespace: object.namespace.clone().unwrap_or_default(),
            name: object.name.clone().unwrap_or_default(),
            uid: object.uid.clone().unwrap_or_default(),
            field_path: object.field_path.clone().unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::ObjectReference;

    fn occurrence(message: &str, second: i64) -> Occurrence {
        Occurrence {
            object: ObjectReference { name: Some("a".into()), ..Default::default() },
            event_type: EventType::Normal,
            reason: "Pulled".into(),
            message: message.into(),
            at: Timestamp::from_second(second).unwrap(),
        }
    }

    #[test]
    fn the_same_event_is_counted_up() {
        let mut correlator = Correlator::default();
        let Verdict::Create { slot, .. } = correlator.take(occurrence("x", 1)) else { panic!("new event not created") };
        correlator.created(&slot, "a.1".into());
        let Verdict::Count { name, count, .. } = correlator.take(occurrence("x", 2)) else { panic!("not counted") };
        assert_eq!((name.as_str(), count), ("a.1", 2));
    }

    #[test]
    fn an_object_that_floods_is_cut_off_and_recovers() {
        let mut correlator = Correlator::default();
        let taken = (0..40).filter(|_| !matches!(correlator.take(occurrence("x", 1)), Verdict::Drop)).count();
        assert_eq!(taken, 25);
        assert!(!matches!(correlator.take(occurrence("x", 302)), Verdict::Drop));
    }

    #[test]
    fn similar_messages_are_combined() {
        let mut correlator = Correlator::default();
        for n in 0..10 {
            let Verdict::Create { occurrence: first, .. } = correlator.take(occurrence(&n.to_string(), 1)) else {
                panic!("not created")
            };
            assert_eq!(first.message, n.to_string());
        }
        let Verdict::Create { occurrence: combined, .. } = correlator.take(occurrence("z", 1)) else { panic!("none") };
        assert_eq!(combined.message, "(combined from similar events): z");
    }
}
