//! Tells the API server the status: at once, and while one word is on its way the later ones become one.

use std::sync::Arc;
use std::time::Duration;

use client::write;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Map, Value, json};

use super::Worker;
use super::act::Finished;
use crate::{spec, statics};

const WRITE: Duration = Duration::from_secs(20);

/// What became of a word.
pub(super) enum Told {
    /// With the pod as it is at the API server then.
    Taken(Box<PodStatus>, Box<Pod>),
    /// The pod is not there any more.
    Gone,
    Failed,
}

impl Worker {
    pub(super) fn tell(&mut self) {
        let too_early = self.tell_retry.is_some_and(|at| at > Timestamp::now());
        if self.telling || self.gone || self.told == self.status || too_early {
            return;
        }
        self.tell_retry = None;
        let Some(patch) = patch(&self.told, &self.status, told_uid(&self.pod)) else {
            self.told = self.status.clone();
            return;
        };
        self.telling = true;
        let (context, status) = (Arc::clone(&self.context), Box::new(self.status.clone()));
        // Its mirror may not be there yet, or be there again soon.
        let is_static = statics::is_static(&self.pod);
        let (namespace, name) = (spec::namespace(&self.pod).to_owned(), spec::name(&self.pod).to_owned());
        self.work.spawn(async move {
            let api: Api<Pod> = Api::namespaced(context.client.clone(), &namespace);
            let (params, patch) = (PatchParams::default(), Patch::Strategic(&patch));
            let written = tokio::time::timeout(WRITE, api.patch_status(&name, &params, &patch)).await;
            Finished::Told(match written {
                Ok(Ok(answer)) => Told::Taken(status, Box::new(answer)),
                Ok(Err(error)) if write::is_not_found(&error) && !is_static => Told::Gone,
                Ok(Err(error)) => {
                    tracing::warn!(name, namespace, %error, "pod status not written");
                    Told::Failed
                }
                Err(_) => Told::Failed,
            })
        });
    }

    pub(super) fn take_told(&mut self, told: Told) {
        self.telling = false;
        match told {
            Told::Taken(status, answer) => {
                self.told = *status;
                self.tell_failures = 0;
                self.told_at = revision(&answer);
                let newer = if revision(&self.pod) > self.told_at { &*self.pod } else { &*answer };
                contradict(&mut self.told, newer);
            }
            // The watch will say so, too; until then there is nobody to tell.
            Told::Gone => self.told = self.status.clone(),
            Told::Failed => {
                let pause = SignedDuration::from_millis(100 << self.tell_failures.min(6));
                self.tell_failures += 1;
                let now = Timestamp::now();
                self.tell_retry = Some(now.checked_add(pause).unwrap_or(now));
            }
        }
    }
}

/// Conditions of the kubelet's own that others wrote over (a node that was thought dead, say) count as not told.
pub(super) fn contradict(told: &mut PodStatus, api: &Pod) {
    let api = api.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let told = told.conditions.get_or_insert_default();
    told.retain_mut(|condition| {
        let Some(theirs) = api.iter().find(|theirs| theirs.type_ == condition.type_) else { return false };
        if theirs.status != condition.status {
            condition.clone_from(theirs);
        }
        true
    });
}

/// Which state of the object this is; later ones are greater.
pub(super) fn revision(pod: &Pod) -> u64 {
    pod.metadata.resource_version.as_ref().and_then(|version| version.parse().ok()).unwrap_or(0)
}

/// A static pod is told of through its mirror, which has a uid of its own.
fn told_uid(pod: &Pod) -> Option<&str> {
    if statics::is_static(pod) { None } else { Some(spec::uid(pod)) }
}

/// A strategic merge patch of what differs; none if nothing does.
pub(super) fn patch(old: &PodStatus, new: &PodStatus, uid: Option<&str>) -> Option<Value> {
    let (Ok(Value::Object(old)), Ok(Value::Object(new))) = (serde_json::to_value(old), serde_json::to_value(new))
    else {
        return None;
    };
    let mut status = Map::new();
    for (key, value) in &new {
        if old.get(key) == Some(value) {
            continue;
        }
        let changed = match key.as_str() {
            "conditions" => merge_list(old.get(key), value, "type"),
            "podIPs" | "hostIPs" => merge_list(old.get(key), value, "ip"),
            _ => value.clone(),
        };
        status.insert(key.clone(), changed);
    }
    for key in old.keys().filter(|key| !new.contains_key(*key)) {
        status.insert(key.clone(), Value::Null);
    }
    if status.is_empty() {
        return None;
    }
    Some(match uid {
        Some(uid) => json!({"metadata": {"uid": uid}, "status": status}),
        None => json!({"status": status}),
    })
}

/// Of a list that is merged by a key: the entries that differ, and the ones to be deleted.
fn merge_list(old: Option<&Value>, new: &Value, key: &str) -> Value {
    let none = Vec::new();
    let old = old.and_then(Value::as_array).unwrap_or(&none);
    let new = new.as_array().unwrap_or(&none);
    let same_key = |a: &Value, b: &Value| a.get(key) == b.get(key);
    let mut list: Vec<Value> = Vec::new();
    for entry in new.iter().filter(|entry| !old.contains(entry)) {
        let mut entry = entry.clone();
        // What an entry no longer says has to be said to be gone.
        let before = old.iter().find(|before| same_key(before, &entry)).and_then(Value::as_object);
        if let (Some(before), Value::Object(fields)) = (before, &mut entry) {
            for name in before.keys() {
                fields.entry(name.clone()).or_insert(Value::Null);
            }
        }
        list.push(entry);
    }
    for gone in old.iter().filter(|before| !new.iter().any(|entry| same_key(before, entry))) {
        let mut directive = Map::new();
        directive.insert("$patch".to_owned(), json!("delete"));
        directive.insert(key.to_owned(), gone.get(key).cloned().unwrap_or(Value::Null));
        list.push(Value::Object(directive));
    }
    Value::Array(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(old: Value, new: Value, expected: Value) {
        let of = |value| serde_json::from_value::<PodStatus>(value).unwrap();
        let found = patch(&of(old), &of(new), Some("u")).map_or(Value::Null, |patch| patch["status"].clone());
        assert_eq!(found, expected);
    }

    #[test]
    fn what_others_wrote_over_is_told_again() {
        let of = |ready: &str| -> PodStatus {
            serde_json::from_value(
                json!({"conditions": [{"type": "Ready", "status": ready}, {"type": "PodScheduled", "status": "True"}]}),
            )
            .unwrap()
        };
        let mut told = of("True");
        contradict(&mut told, &Pod { status: Some(of("False")), ..Default::default() });
        let again = patch(&told, &of("True"), None).unwrap();
        assert_eq!(again["status"], json!({"conditions": [{"type": "Ready", "status": "True"}]}));
        let mut told = of("True");
        contradict(&mut told, &Pod { status: Some(of("True")), ..Default::default() });
        assert_eq!(patch(&told, &of("True"), None), None);
    }

    #[test]
    fn only_differences_are_told() {
        check(json!({"phase": "Running"}), json!({"phase": "Running"}), Value::Null);
        check(
            json!({"phase": "Pending", "reason": "x"}),
            json!({"phase": "Running"}),
            json!({"phase": "Running", "reason": null}),
        );
        check(
            json!({"conditions": [{"type": "Ready", "status": "False", "reason": "r"}, {"type": "Other", "status": "True"}]}),
            json!({"conditions": [{"type": "Ready", "status": "True"}, {"type": "Other", "status": "True"}]}),
            json!({"conditions": [{"type": "Ready", "status": "True", "reason": null}]}),
        );
        check(
            json!({"podIPs": [{"ip": "10.0.0.1"}]}),
            json!({"podIPs": [{"ip": "10.0.0.2"}]}),
            json!({"podIPs": [{"ip": "10.0.0.2"}, {"$patch": "delete", "ip": "10.0.0.1"}]}),
        );
    }
}
