//! ClusterRoles that are the sum of others: `aggregationRule` says of which.

use std::sync::Arc;

use client::{Informer, Outcome, Reconciler, Runner, write};
use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule};
use kube::Api;
use kube::api::PostParams;
use tokio_util::sync::CancellationToken;

use crate::context::{Context, start};

const ACCOUNT: &str = "clusterrole-aggregation-controller";

struct Aggregation {
    client: kube::Client,
    roles: Informer<ClusterRole>,
}

pub(crate) async fn run(context: Context, shutdown: CancellationToken) {
    let roles = context.informers.get::<ClusterRole>();
    let reconciler = Aggregation { client: context.client(ACCOUNT), roles: roles.clone() };
    let all = roles.clone();
    let runner = Runner::new(Arc::new(reconciler), 2).watch(&roles, move |changed: &ClusterRole| {
        let concerned =
            |role: &&Arc<ClusterRole>| role.metadata.name == changed.metadata.name || selects(role, changed);
        let sums = all.list().into_iter().filter(|role| role.aggregation_rule.is_some());
        sums.collect::<Vec<_>>()
            .iter()
            .filter(concerned)
            .filter_map(|role| role.metadata.name.clone())
            .collect::<Vec<_>>()
    });
    start(runner, async { roles.synced().await }, shutdown).await;
}

fn selects(sum: &ClusterRole, part: &ClusterRole) -> bool {
    let labels = part.metadata.labels.clone().unwrap_or_default();
    let selectors = sum.aggregation_rule.iter().flat_map(|rule| rule.cluster_role_selectors.iter().flatten());
    selectors.filter_map(|selector| client::selector(Some(selector))).any(|selector| selector.matches(&labels))
}

/// The rules of all that it selects, in the order of their names, each once. `roles` are sorted by name.
fn sum(role: &ClusterRole, roles: &[Arc<ClusterRole>]) -> Vec<PolicyRule> {
    let mut rules: Vec<PolicyRule> = Vec::new();
    for part in roles.iter().filter(|part| part.metadata.name != role.metadata.name && selects(role, part)) {
        for rule in part.rules.iter().flatten() {
            if !rules.contains(rule) {
                rules.push(rule.clone());
            }
        }
    }
    rules
}

impl Reconciler for Aggregation {
    type Key = String;
    type Error = kube::Error;

    fn name(&self) -> &'static str {
        "clusterrole-aggregation"
    }

    async fn reconcile(&self, key: &String) -> Result<Outcome, kube::Error> {
        let Some(role) = self.roles.get("", key).filter(|role| role.aggregation_rule.is_some()) else {
            return Ok(Outcome::Done);
        };
        let rules = Some(sum(&role, &self.roles.list())).filter(|rules| !rules.is_empty());
        if rules == role.rules.clone().filter(|rules| !rules.is_empty()) {
            return Ok(Outcome::Done);
        }
        let new = ClusterRole { rules, ..(*role).clone() };
        match Api::<ClusterRole>::all(self.client.clone()).replace(key, &PostParams::default(), &new).await {
            Err(error) if write::is_not_found(&error) => Ok(Outcome::Done),
            other => other.map(|_| Outcome::Done),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn the_rules_of_all_parts_once_each() {
        let role = |value: Value| Arc::new(serde_json::from_value::<ClusterRole>(value).unwrap());
        let rule = |verb: &str| json!({"verbs": [verb], "apiGroups": [""], "resources": ["pods"]});
        let part = |name: &str, label: &str, verbs: [&str; 2]| {
            role(json!({"metadata": {"name": name, "labels": {label: "true"}}, "rules": verbs.map(rule)}))
        };
        let whole = role(json!({"metadata": {"name": "w", "labels": {"a": "true"}},
            "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"a": "true"}}]}}));
        let all = [
            part("p", "a", ["get", "list"]),
            part("q", "a", ["list", "watch"]),
            part("r", "b", ["x", "y"]),
            whole.clone(),
        ];
        let verbs: Vec<_> = sum(&whole, &all).into_iter().flat_map(|rule| rule.verbs).collect();
        assert_eq!(verbs, ["get", "list", "watch"]);
    }
}
