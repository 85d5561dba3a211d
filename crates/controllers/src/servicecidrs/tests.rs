use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::networking::v1::{IPAddress, ServiceCIDR};
use serde_json::{Value, json};

use super::plan::{Action, FINALIZER, action};

const DELETED: &str = "2026-01-01T00:00:00Z";

fn range(name: &str, cidr: &str, meta: &Value) -> ServiceCIDR {
    let mut all = json!({"name": name, "finalizers": [FINALIZER]});
    all.as_object_mut().unwrap().extend(meta.as_object().unwrap().clone());
    serde_json::from_value(json!({"metadata": all, "spec": {"cidrs": [cidr]}})).unwrap()
}

fn leaving(name: &str, cidr: &str) -> ServiceCIDR {
    range(name, cidr, &json!({"deletionTimestamp": DELETED}))
}

fn decide(range: &ServiceCIDR, others: &[ServiceCIDR], addresses: &[&str], seconds: i64) -> Action {
    let others: Vec<_> = others.iter().chain([range]).cloned().map(Arc::new).collect();
    let address = |ip: &&str| Arc::new(serde_json::from_value::<IPAddress>(json!({"metadata": {"name": ip}})).unwrap());
    let addresses: Vec<_> = addresses.iter().map(address).collect();
    let now = DELETED.parse::<Timestamp>().unwrap() + jiff::SignedDuration::from_secs(seconds);
    action(range, &others, &addresses, now)
}

/// Status and reason of the condition that is to be written.
fn said(action: &Action) -> Option<(&str, &str)> {
    match action {
        Action::SetReady(condition) => Some((&condition.status, &condition.reason)),
        _ => None,
    }
}

#[test]
fn a_range_is_held_first_and_then_ready() {
    let fresh = range("a", "10.1.0.0/24", &json!({"finalizers": []}));
    assert_eq!(decide(&fresh, &[], &[], 0), Action::AddFinalizer);
    let mut held = range("a", "10.1.0.0/24", &json!({}));
    let action = decide(&held, &[], &[], 0);
    assert_eq!(said(&action), Some(("True", "")));
    let Action::SetReady(condition) = action else { panic!() };
    held.status.get_or_insert_default().conditions = Some(vec![condition]);
    assert_eq!(decide(&held, &[], &[], 5), Action::Nothing);
}

#[test]
fn a_range_in_use_stays_until_its_addresses_are_in_another_or_gone() {
    let going = leaving("a", "10.1.0.0/24");
    assert_eq!(said(&decide(&going, &[], &["10.1.0.7"], 60)), Some(("False", "Terminating")));
    assert_eq!(decide(&going, &[], &["10.2.0.7", "nonsense"], 60), Action::RemoveFinalizer);
    let wider = range("b", "10.1.0.0/16", &json!({}));
    assert_eq!(decide(&going, &[wider], &["10.1.0.7"], 60), Action::RemoveFinalizer);
    let wider_goes_too = leaving("b", "10.1.0.0/16");
    assert_eq!(said(&decide(&going, &[wider_goes_too], &["10.1.0.7"], 60)), Some(("False", "Terminating")));
}

#[test]
fn a_range_that_nobody_needs_goes_after_a_while() {
    let going = leaving("a", "10.1.0.0/24");
    assert_eq!(decide(&going, &[], &[], 4), Action::Wait(Duration::from_secs(6)));
    assert_eq!(decide(&going, &[], &[], 10), Action::RemoveFinalizer);
    let gone = range("a", "10.1.0.0/24", &json!({"deletionTimestamp": DELETED, "finalizers": []}));
    assert_eq!(decide(&gone, &[], &["10.1.0.7"], 60), Action::Nothing);
}
