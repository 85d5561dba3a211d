//! Discovery: which groups, versions and resources there are; plain and aggregated.
//!
//! <https://kubernetes.io/docs/concepts/overview/kubernetes-api/#discovery-api>

use api::GroupVersion;
use api::catalogue::{self, Resource};
use serde_json::{Value, json};

use crate::rest::figures;

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// The answer to a discovery path, with its content type; none for other paths.
pub(crate) fn answer(path: &str, accept: &str) -> Option<(Value, &'static str)> {
    let aggregated = accept.contains("as=APIGroupDiscoveryList") && accept.contains("v=v2;")
        || accept.contains("as=APIGroupDiscoveryList") && accept.contains("v=v2,")
        || accept.contains("v=v2;as=APIGroupDiscoveryList");
    let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
    let plain = |value| Some((value, "application/json"));
    match segments.as_slice() {
        ["api"] if aggregated => Some((aggregate(|g| g.is_empty()), AGGREGATED)),
        ["apis"] if aggregated => Some((aggregate(|g| !g.is_empty()), AGGREGATED)),
        ["api"] => plain(json!({
            "kind": "APIVersions", "versions": ["v1"],
            "serverAddressByClientCIDRs": [],
        })),
        ["apis"] => plain(json!({
            "kind": "APIGroupList", "apiVersion": "v1",
            "groups": groups().into_iter().filter(|(g, _)| !g.is_empty()).map(|(g, v)| group(g, &v)).collect::<Vec<_>>(),
        })),
        ["api", version] => resources("", version).and_then(plain),
        ["apis", group_name] => {
            let (_, versions) = groups().into_iter().find(|(g, _)| g == group_name)?;
            let mut value = group(group_name, &versions);
            api::meta::put(&mut value, "kind", "APIGroup");
            api::meta::put(&mut value, "apiVersion", "v1");
            plain(value)
        }
        ["apis", figures::GROUP, figures::VERSION] => plain(figures_plain()),
        ["apis", group, version] => resources(group, version).and_then(plain),
        _ => None,
    }
}

/// All groups: those of the catalogue, and the one of figures, of which nothing is stored.
pub(crate) fn groups() -> Vec<(&'static str, Vec<&'static str>)> {
    let mut groups = catalogue::groups();
    groups.push((figures::GROUP, vec![figures::VERSION]));
    groups
}

/// Resources of the group of figures: plural, kind, namespaced.
const FIGURES: [(&str, &str, bool); 2] = [("nodes", "NodeMetrics", false), ("pods", "PodMetrics", true)];

fn figures_plain() -> Value {
    let entry = |(plural, kind, namespaced): (&str, &str, bool)| json!({"name": plural, "singularName": "", "namespaced": namespaced, "kind": kind, "verbs": ["get", "list"]});
    json!({"kind": "APIResourceList", "apiVersion": "v1",
        "groupVersion": format!("{}/{}", figures::GROUP, figures::VERSION), "resources": FIGURES.map(entry)})
}

fn figures_aggregated() -> Value {
    let entry = |(plural, kind, namespaced): (&str, &str, bool)| {
        json!({"resource": plural, "scope": if namespaced { "Namespaced" } else { "Cluster" }, "singularResource": "",
            "responseKind": {"group": figures::GROUP, "version": figures::VERSION, "kind": kind}, "verbs": ["get", "list"]})
    };
    json!({"metadata": {"name": figures::GROUP, "creationTimestamp": null},
        "versions": [{"version": figures::VERSION, "resources": FIGURES.map(entry), "freshness": "Current"}]})
}

fn group(name: &str, versions: &[&str]) -> Value {
    let entry = |v: &&str| json!({"groupVersion": format!("{name}/{v}"), "version": v});
    json!({
        "name": name,
        "versions": versions.iter().map(entry).collect::<Vec<_>>(),
        "preferredVersion": versions.first().map(entry),
    })
}

fn resources(group: &str, version: &str) -> Option<Value> {
    let gv = GroupVersion::new(group, version);
    let mut list = Vec::new();
    for resource in catalogue::of_group_version(&gv) {
        list.push(entry(resource));
        for sub in resource.subresources {
            let mut entry = json!({
                "name": format!("{}/{}", resource.plural, sub.name), "singularName": "",
                "namespaced": resource.namespaced(), "kind": sub.kind, "verbs": sub.verbs,
            });
            if !sub.version.is_empty() {
                api::meta::put(&mut entry, "group", sub.group);
                api::meta::put(&mut entry, "version", sub.version);
            }
            list.push(entry);
        }
    }
    if list.is_empty() {
        return None;
    }
    Some(json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": gv.to_string(), "resources": list}))
}

fn entry(resource: &Resource) -> Value {
    let mut entry = json!({
        "name": resource.plural, "singularName": resource.singular, "namespaced": resource.namespaced(),
        "kind": resource.kind, "verbs": resource.verbs.list(),
    });
    if !resource.short.is_empty() {
        api::meta::put(&mut entry, "shortNames", json!(resource.short));
    }
    if !resource.categories.is_empty() {
        api::meta::put(&mut entry, "categories", json!(resource.categories));
    }
    entry
}

/// `apidiscovery.k8s.io/v2`
fn aggregate(wanted: impl Fn(&str) -> bool) -> Value {
    let mut items: Vec<Value> = catalogue::groups()
        .into_iter()
        .filter(|(group, _)| wanted(group))
        .map(|(group, versions)| {
            let versions: Vec<Value> = versions
                .into_iter()
                .map(|version| {
                    let gv = GroupVersion::new(group, version);
                    let resources: Vec<Value> =
                        catalogue::of_group_version(&gv).map(|r| aggregated_entry(r, &gv)).collect();
                    json!({"version": version, "resources": resources, "freshness": "Current"})
                })
                .collect();
            let metadata = if group.is_empty() {
                json!({"creationTimestamp": null})
            } else {
                json!({"name": group, "creationTimestamp": null})
            };
            json!({"metadata": metadata, "versions": versions})
        })
        .collect();
    if wanted(figures::GROUP) {
        items.push(figures_aggregated());
    }
    json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items})
}

fn aggregated_entry(resource: &Resource, gv: &GroupVersion) -> Value {
    let kind = |group: &str, version: &str, kind: &str| json!({"group": group, "version": version, "kind": kind});
    let mut entry = json!({
        "resource": resource.plural,
        "responseKind": kind(&gv.group, &gv.version, resource.kind),
        "scope": if resource.namespaced() { "Namespaced" } else { "Cluster" },
        "singularResource": resource.singular,
        "verbs": resource.verbs.list(),
    });
    if !resource.short.is_empty() {
        api::meta::put(&mut entry, "shortNames", json!(resource.short));
    }
    if !resource.categories.is_empty() {
        api::meta::put(&mut entry, "categories", json!(resource.categories));
    }
    if !resource.subresources.is_empty() {
        let subs = resource.subresources.iter().map(|s| {
            let (group, version) = if s.version.is_empty() { (&*gv.group, &*gv.version) } else { (s.group, s.version) };
            json!({"subresource": s.name, "responseKind": kind(group, version, s.kind), "verbs": s.verbs})
        });
        api::meta::put(&mut entry, "subresources", subs.collect::<Vec<_>>());
    }
    entry
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_and_aggregated_list_the_same_resources() {
        let (plain, _) = answer("/apis/apps/v1", "application/json").unwrap();
        let names: Vec<&str> =
            plain["resources"].as_array().unwrap().iter().map(|r| api::meta::at(r, "/name")).collect();
        assert!(names.contains(&"deployments") && names.contains(&"deployments/scale"));
        let accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
        let (all, content_type) = answer("/apis", accept).unwrap();
        assert_eq!(content_type, AGGREGATED);
        let apps = all["items"].as_array().unwrap().iter().find(|g| g["metadata"]["name"] == "apps").unwrap();
        assert_eq!(apps["versions"][0]["resources"].as_array().unwrap().len(), 5);
    }

    #[test]
    fn unknown_groups_are_not_there() {
        assert!(answer("/apis/nonsense/v1", "").is_none() && answer("/api/v2", "").is_none());
    }
}
