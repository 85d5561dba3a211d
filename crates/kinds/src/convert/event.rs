//! core/v1 Event and events.k8s.io/v1 Event: the same, with other names.

use serde_json::{Map, Value};

const NAMES: [(&str, &str); 7] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
];

pub(super) fn from_core(event: &mut Map<String, Value>) {
    super::rename(event, &NAMES);
}

pub(super) fn to_core(event: &mut Map<String, Value>) {
    super::rename(event, &NAMES.map(|(core, events)| (events, core)));
}
