use serde_json::json;

use super::*;

fn read(profile: Value) -> Result<Profile, ConfigurationError> {
    let document = json!({"apiVersion": "kubescheduler.config.k8s.io/v1", "kind": "KubeSchedulerConfiguration",
        "percentageOfNodesToScore": 50, "leaderElection": {"leaderElect": false}, "profiles": [profile]});
    profiles(&document).map(|mut all| all.remove(0))
}

#[test]
fn plugins_are_enabled_disabled_and_weighed() {
    let profile = read(json!({"schedulerName": "packer",
        "plugins": {
            "filter": {"disabled": [{"name": "TaintToleration"}]},
            "score": {"disabled": [{"name": "*"}], "enabled": [{"name": "NodeResourcesFit", "weight": 7}]},
            "postFilter": {"disabled": [{"name": "DefaultPreemption"}]}},
        "pluginConfig": [{"name": "NodeResourcesFit", "args": {"scoringStrategy": {"type": "MostAllocated",
            "resources": [{"name": "cpu", "weight": 3}]}}}]}))
    .unwrap();
    assert_eq!(profile.name, "packer");
    assert!(profile.filters.iter().all(|(name, _)| *name != "TaintToleration"));
    assert!(profile.filters.iter().any(|(name, _)| *name == "NodeAffinity"));
    let scores: Vec<_> = profile.scores.iter().map(|(name, weight, _)| (*name, *weight)).collect();
    assert_eq!(scores, [("NodeResourcesFit", 7)]);
    assert_eq!((profile.preempts, profile.fit), (false, Fit { most: true, cpu: 3, memory: 0 }));
}

#[test]
fn what_is_not_there_is_named() {
    let error = read(json!({"plugins": {"multiPoint": {"enabled": [{"name": "Magic"}]}}})).unwrap_err();
    assert_eq!(error.to_string(), "profile \"default-scheduler\" names plugin \"Magic\", which is not there");
    let ratio = json!({"pluginConfig": [{"name": "NodeResourcesFit",
        "args": {"scoringStrategy": {"type": "RequestedToCapacityRatio"}}}]});
    assert!(read(ratio).unwrap_err().to_string().contains("not there yet"));
    assert!(profiles(&json!({"kind": "Pod"})).is_err());
    assert_eq!(read(json!({})).unwrap().scores.len(), plugins::SCORES.len());
}
