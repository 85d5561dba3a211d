//! Kinds of the apps group.

mod validate;

use serde_json::{Value, json};

use crate::Rules;
use crate::core::default_template;

pub(crate) fn rules(kind: &str) -> &'static Rules {
    match kind {
        "ReplicaSet" => &REPLICA_SET,
        "Deployment" => &DEPLOYMENT,
        "StatefulSet" => &STATEFUL_SET,
        "DaemonSet" => &DAEMON_SET,
        "ControllerRevision" => &crate::fixed::CONTROLLER_REVISION,
        _ => &Rules::PLAIN,
    }
}

static REPLICA_SET: Rules = Rules {
    fields: &[("status.replicas", "/status/replicas")],
    default: default_template,
    prepare_create: |set| status(set, json!({"replicas": 0})),
    validate: validate::replica_set,
    validate_update: validate::selector_stays,
    validate_status: validate::replica_status,
    ..Rules::PLAIN
};

static DEPLOYMENT: Rules = Rules {
    default: default_template,
    prepare_create: |deployment| status(deployment, json!({})),
    validate: validate::deployment,
    validate_update: validate::selector_stays,
    validate_status: validate::replica_status,
    ..Rules::PLAIN
};

static STATEFUL_SET: Rules = Rules {
    default: default_template,
    prepare_create: |set| status(set, json!({"replicas": 0, "availableReplicas": 0})),
    validate: validate::stateful_set,
    validate_update: validate::stateful_set_update,
    ..Rules::PLAIN
};

static DAEMON_SET: Rules = Rules {
    default: default_template,
    prepare_create: |set| {
        status(
            set,
            json!({"currentNumberScheduled": 0, "desiredNumberScheduled": 0, "numberMisscheduled": 0, "numberReady": 0}),
        );
    },
    validate: validate::daemon_set,
    validate_update: validate::selector_stays,
    ..Rules::PLAIN
};

fn status(object: &mut Value, status: Value) {
    api::meta::put(object, "status", status);
}
