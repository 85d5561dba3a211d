//! Whether some rules give all that others give. Pure.

use super::rbac::Rule;

/// What is granted but not held; verbs on the same things are one rule.
pub(crate) fn missing(held: &[Rule], granted: &[Rule]) -> Vec<Rule> {
    let mut missing: Vec<Rule> = Vec::new();
    for one in granted.iter().flat_map(single) {
        if held.iter().any(|rule| covers(rule, &one)) {
            continue;
        }
        let same = missing.iter_mut().find(|m| {
            m.api_groups == one.api_groups
                && m.resources == one.resources
                && m.resource_names == one.resource_names
                && m.non_resource_urls == one.non_resource_urls
        });
        match same {
            Some(rule) => {
                rule.verbs.extend(one.verbs.into_iter().filter(|v| !rule.verbs.contains(v)).collect::<Vec<_>>())
            }
            None => missing.push(one),
        }
    }
    missing
}

/// A rule as rules of one verb on one thing each.
fn single(rule: &Rule) -> Vec<Rule> {
    let mut all = Vec::new();
    for verb in &rule.verbs {
        for url in &rule.non_resource_urls {
            let (verbs, non_resource_urls) = (vec![verb.clone()], vec![url.clone()]);
            all.push(Rule { verbs, non_resource_urls, ..Rule::default() });
        }
        for group in &rule.api_groups {
            for resource in &rule.resources {
                let one = Rule {
                    verbs: vec![verb.clone()],
                    api_groups: vec![group.clone()],
                    resources: vec![resource.clone()],
                    ..Rule::default()
                };
                if rule.resource_names.is_empty() {
                    all.push(one);
                    continue;
                }
                let named = rule.resource_names.iter().map(|n| Rule { resource_names: vec![n.clone()], ..one.clone() });
                all.extend(named);
            }
        }
    }
    all
}

fn covers(held: &Rule, one: &Rule) -> bool {
    let has = |list: &[String], wanted: &[String]| {
        list.iter().any(|l| l == "*") || wanted.iter().all(|wanted| list.contains(wanted))
    };
    let resource = |wanted: &String| {
        let sub = wanted.split_once('/').map(|(_, sub)| format!("*/{sub}"));
        held.resources.iter().any(|r| r == "*" || r == wanted || Some(r) == sub.as_ref())
    };
    let url = |wanted: &String| {
        let matches = |u: &String| u.strip_suffix('*').map_or(u == wanted, |prefix| wanted.starts_with(prefix));
        held.non_resource_urls.iter().any(matches)
    };
    let names = held.resource_names.is_empty()
        || !one.resource_names.is_empty() && one.resource_names.iter().all(|n| held.resource_names.contains(n));
    has(&held.verbs, &one.verbs)
        && has(&held.api_groups, &one.api_groups)
        && one.resources.iter().all(resource)
        && one.non_resource_urls.iter().all(url)
        && names
}
