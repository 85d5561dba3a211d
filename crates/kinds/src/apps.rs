//! Kinds of the apps group.

use crate::Rules;

pub(crate) fn rules(kind: &str) -> &'static Rules {
    match kind {
        "ReplicaSet" => &REPLICA_SET,
        "Deployment" | "StatefulSet" | "DaemonSet" => &crate::core::TEMPLATED,
        _ => &Rules::PLAIN,
    }
}

static REPLICA_SET: Rules = Rules {
    fields: &[("status.replicas", "/status/replicas")],
    default: crate::core::default_template,
    ..Rules::PLAIN
};
