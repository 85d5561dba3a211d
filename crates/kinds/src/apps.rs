//! Kinds of the apps group.

use crate::Rules;

pub(crate) fn rules(kind: &str) -> &'static Rules {
    match kind {
        "ReplicaSet" => &REPLICA_SET,
        _ => &Rules::PLAIN,
    }
}

static REPLICA_SET: Rules = Rules { fields: &[("status.replicas", "/status/replicas")], ..Rules::PLAIN };
