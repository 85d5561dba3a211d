//! What the conditions of a namespace say about what is left in it. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::NamespaceCondition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// What was found and what went wrong on the way.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Remains {
    /// Objects by resource and group, as `pods.` and `deployments.apps`.
    pub(super) objects: BTreeMap<String, usize>,
    /// Objects by finalizer.
    pub(super) finalizers: BTreeMap<String, usize>,
    pub(super) failures: Vec<String>,
    pub(super) discovery: Option<String>,
}

impl Remains {
    pub(super) fn is_empty(&self) -> bool {
        self.objects.is_empty() && self.failures.is_empty() && self.discovery.is_none()
    }

    pub(super) fn merge(&mut self, other: Self) {
        for (resource, count) in other.objects {
            *self.objects.entry(resource).or_default() += count;
        }
        for (finalizer, count) in other.finalizers {
            *self.finalizers.entry(finalizer).or_default() += count;
        }
        self.failures.extend(other.failures);
        self.discovery = self.discovery.take().or(other.discovery);
    }
}

/// The conditions as they are to be; those that say the same as before keep their time.
pub(super) fn conditions(old: &[NamespaceCondition], remains: &Remains, now: Timestamp) -> Vec<NamespaceCondition> {
    let wanted = wanted(remains);
    let own = |condition: &&NamespaceCondition| !wanted.iter().any(|(kind, ..)| *kind == condition.type_);
    let mut conditions: Vec<_> = old.iter().filter(own).cloned().collect();
    for (kind, status, reason, message) in wanted {
        let status = if status { "True" } else { "False" };
        let before = old.iter().find(|condition| condition.type_ == kind);
        let since =
            before.filter(|before| before.status == status).and_then(|before| before.last_transition_time.clone());
        conditions.push(NamespaceCondition {
            type_: kind.into(),
            status: status.into(),
            reason: Some(reason.into()),
            message: Some(message),
            last_transition_time: since.or(Some(Time(now))),
        });
    }
    conditions
}

type Wanted = (&'static str, bool, &'static str, String);

fn wanted(remains: &Remains) -> Vec<Wanted> {
    let discovery = match &remains.discovery {
        None => (false, "ResourcesDiscovered", "All resources successfully discovered".to_owned()),
        Some(error) => (true, "DiscoveryFailed", format!("Discovery failed for some groups, 1 failing: {error}")),
    };
    let deletion = match remains.failures.as_slice() {
        [] => (false, "ContentDeleted", "All content successfully deleted, may be waiting on finalization".to_owned()),
        failures => {
            let text = failures.join(", ");
            let message = format!("Failed to delete all resource types, {} remaining: {text}", failures.len());
            (true, "ContentDeletionFailed", message)
        }
    };
    let listed = |counts: &BTreeMap<String, usize>, separator: &str| {
        let parts = counts.iter().map(|(name, count)| format!("{name}{separator}{count} resource instances"));
        parts.collect::<Vec<_>>().join(", ")
    };
    let content = match remains.objects.is_empty() {
        true => (false, "ContentRemoved", "All content successfully removed".to_owned()),
        false => {
            let list = listed(&remains.objects, " has ");
            (true, "SomeResourcesRemain", format!("Some resources are remaining: {list}"))
        }
    };
    let finalizers = match remains.finalizers.is_empty() {
        true => (false, "ContentHasNoFinalizers", "All content-preserving finalizers finished".to_owned()),
        false => {
            let list = listed(&remains.finalizers, " in ");
            (true, "SomeFinalizersRemain", format!("Some content in the namespace has finalizers remaining: {list}"))
        }
    };
    let parsed = (false, "ParsedGroupVersions", "All legacy kube types successfully parsed".to_owned());
    let all = [
        ("NamespaceDeletionDiscoveryFailure", discovery),
        ("NamespaceDeletionGroupVersionParsingFailure", parsed),
        ("NamespaceDeletionContentFailure", deletion),
        ("NamespaceContentRemaining", content),
        ("NamespaceFinalizersRemaining", finalizers),
    ];
    all.into_iter().map(|(kind, (status, reason, message))| (kind, status, reason, message)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(conditions: &[NamespaceCondition]) -> Vec<&str> {
        let said = conditions.iter().filter(|condition| condition.status == "True");
        said.filter_map(|condition| condition.message.as_deref()).collect()
    }

    #[test]
    fn conditions_name_what_is_left() {
        let mut remains = Remains { discovery: Some("x".into()), failures: vec!["y".into()], ..Remains::default() };
        remains.objects.extend([("configmaps.".to_owned(), 1), ("deployments.apps".to_owned(), 2)]);
        remains.finalizers.insert("a/b".into(), 1);
        let conditions = conditions(&[], &remains, Timestamp::UNIX_EPOCH);
        assert_eq!(
            messages(&conditions),
            [
                "Discovery failed for some groups, 1 failing: x",
                "Failed to delete all resource types, 1 remaining: y",
                "Some resources are remaining: configmaps. has 1 resource instances, deployments.apps has 2 resource instances",
                "Some content in the namespace has finalizers remaining: a/b in 1 resource instances",
            ]
        );
    }

    #[test]
    fn what_is_said_already_keeps_its_time() {
        let mut remains = Remains::default();
        remains.objects.insert("pods".into(), 2);
        let first = conditions(&[], &remains, Timestamp::UNIX_EPOCH);
        assert_eq!(conditions(&first, &remains, Timestamp::MAX), first);
        let done = conditions(&first, &Remains::default(), Timestamp::MAX);
        assert!(messages(&done).is_empty());
        assert_eq!(done.len(), 5);
    }
}
