//! What a quota has to count, and what that comes to. Pure.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{ResourceQuota, ResourceQuotaStatus};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kinds::quota::{self, Amounts};
use serde_json::Value;

/// Group and plural of a resource.
pub(super) type Resource = (String, String);

fn hard(quota: &ResourceQuota) -> BTreeMap<String, Quantity> {
    quota.spec.as_ref().and_then(|spec| spec.hard.clone()).unwrap_or_default()
}

/// The resources whose objects it counts.
pub(super) fn needed(quota: &ResourceQuota) -> BTreeSet<Resource> {
    let hard = hard(quota);
    let counted = hard.keys().filter_map(|name| quota::counted(name));
    counted.map(|(group, plural)| (group.to_owned(), plural.to_owned())).collect()
}

/// `objects` by resource.
pub(super) fn status(quota: &ResourceQuota, objects: &BTreeMap<Resource, Vec<Value>>) -> ResourceQuotaStatus {
    let hard = hard(quota);
    let tree = serde_json::to_value(quota).unwrap_or_default();
    let mut used: Amounts = hard
        .keys()
        .filter(|name| quota::counted(name).is_some())
        .map(|name| (name.clone(), Default::default()))
        .collect();
    for ((group, plural), all) in objects {
        for object in all.iter().filter(|object| quota::counts(&tree, group, plural, object)) {
            for (name, amount) in quota::usage(group, plural, object) {
                if let Some(sum) = used.get_mut(&name) {
                    *sum = *sum + amount;
                }
            }
        }
    }
    let used = used.into_iter().map(|(name, amount)| (name.clone(), Quantity(quota::spelled(&name, amount)))).collect();
    ResourceQuotaStatus { hard: Some(hard), used: Some(used) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_there_is_counted() {
        let hard = json!({"pods": "5", "requests.memory": "4Gi", "count/deployments.apps": "2", "nonsense": "1"});
        let quota: ResourceQuota = serde_json::from_value(json!({"metadata": {}, "spec": {"hard": hard}})).unwrap();
        let resource = |group: &str, plural: &str| (group.to_owned(), plural.to_owned());
        assert_eq!(needed(&quota), BTreeSet::from([resource("", "pods"), resource("apps", "deployments")]));
        let pod = json!({"spec": {"containers": [{"resources": {"requests": {"memory": "512Mi"}}}]}});
        let objects = BTreeMap::from([
            (resource("", "pods"), vec![pod.clone(), pod]),
            (resource("apps", "deployments"), vec![json!({})]),
        ]);
        let used = serde_json::to_value(status(&quota, &objects).used).unwrap();
        assert_eq!(used, json!({"pods": "2", "requests.memory": "1Gi", "count/deployments.apps": "1"}));
    }
}
