//! Which plugins look at the pods of which scheduler name: upstream's `KubeSchedulerConfiguration`. Pure.

#[cfg(test)]
mod tests;

use std::fmt;

use serde::Deserialize;
use serde_json::Value;

use crate::framework::{Filter, Score};
use crate::plugins;

/// The plugins and settings for pods of one `spec.schedulerName`.
#[derive(Clone)]
pub struct Profile {
    pub(crate) name: String,
    pub(crate) filters: Vec<(&'static str, &'static dyn Filter)>,
    pub(crate) scores: Vec<(&'static str, i64, &'static dyn Score)>,
    pub(crate) preempts: bool,
    pub(crate) fit: Fit,
    /// How much the required affinity of others to a pod counts when nodes are compared.
    pub(crate) hard_affinity: i64,
}

/// Which nodes NodeResourcesFit likes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fit {
    /// The fullest one; else the emptiest.
    pub(crate) most: bool,
    pub(crate) cpu: i64,
    pub(crate) memory: i64,
}

impl fmt::Debug for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let filters: Vec<_> = self.filters.iter().map(|(name, _)| name).collect();
        let scores: Vec<_> = self.scores.iter().map(|(name, weight, _)| (name, weight)).collect();
        let mut shown = f.debug_struct("Profile");
        shown.field("name", &self.name).field("filters", &filters).field("scores", &scores).finish_non_exhaustive()
    }
}

impl Default for Profile {
    fn default() -> Self {
        Self {
            name: "default-scheduler".into(),
            filters: plugins::FILTERS.to_vec(),
            scores: plugins::SCORES.to_vec(),
            preempts: true,
            fit: Fit { most: false, cpu: 1, memory: 1 },
            hard_affinity: 1,
        }
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigurationError {
    /// It is something else, or a field has the wrong type.
    #[error("this is no KubeSchedulerConfiguration of kubescheduler.config.k8s.io/v1: {0}")]
    Kind(String),
    /// A plugin that does not exist.
    #[error("profile {profile:?} names plugin {plugin:?}, which is not there")]
    Plugin {
        /// The profile.
        profile: String,
        /// The plugin.
        plugin: String,
    },
    /// Two profiles for the same pods.
    #[error("two profiles have the schedulerName {0:?}")]
    Twice(String),
    /// An argument that has no effect here.
    #[error("profile {profile:?}: {why}")]
    Argument {
        /// The profile.
        profile: String,
        /// What is wrong.
        why: String,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    #[serde(default)]
    profiles: Vec<DocumentProfile>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DocumentProfile {
    scheduler_name: Option<String>,
    #[serde(default)]
    plugins: Plugins,
    #[serde(default)]
    plugin_config: Vec<PluginConfig>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Plugins {
    #[serde(default)]
    multi_point: Set,
    #[serde(default)]
    filter: Set,
    #[serde(default)]
    score: Set,
    #[serde(default)]
    post_filter: Set,
}

#[derive(Default, Deserialize)]
struct Set {
    #[serde(default)]
    enabled: Vec<Named>,
    #[serde(default)]
    disabled: Vec<Named>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
    #[serde(default)]
    weight: i64,
}

#[derive(Deserialize)]
struct PluginConfig {
    name: String,
    #[serde(default)]
    args: Value,
}

/// The profiles of a configuration file that was read into a tree.
///
/// # Errors
/// When it is no such configuration, or asks for what is not there.
pub fn profiles(configuration: &Value) -> Result<Vec<Profile>, ConfigurationError> {
    let text = |field: &str| configuration.get(field).and_then(Value::as_str).unwrap_or_default();
    if text("kind") != "KubeSchedulerConfiguration" || text("apiVersion") != "kubescheduler.config.k8s.io/v1" {
        let said = format!("kind {:?}, apiVersion {:?}", text("kind"), text("apiVersion"));
        return Err(ConfigurationError::Kind(said));
    }
    let document = Document::deserialize(configuration);
    let document = document.map_err(|error| ConfigurationError::Kind(error.to_string()))?;
    let mut profiles: Vec<Profile> = Vec::new();
    for one in &document.profiles {
        let profile = one.build()?;
        if profiles.iter().any(|other| other.name == profile.name) {
            return Err(ConfigurationError::Twice(profile.name));
        }
        profiles.push(profile);
    }
    if profiles.is_empty() {
        profiles.push(Profile::default());
    }
    Ok(profiles)
}

impl DocumentProfile {
    fn build(&self) -> Result<Profile, ConfigurationError> {
        let mut profile = Profile::default();
        profile.name = self.scheduler_name.clone().unwrap_or(profile.name);
        let (multi, filter, score) = (&self.plugins.multi_point, &self.plugins.filter, &self.plugins.score);
        for named in [multi, filter, score, &self.plugins.post_filter].iter().flat_map(|set| set.names()) {
            if named != "*" && !plugins::is_known(named) {
                return Err(ConfigurationError::Plugin { profile: profile.name, plugin: named.to_owned() });
            }
        }
        profile.filters.retain(|(name, _)| multi.keeps(name) && filter.keeps(name));
        let filters = plugins::FILTERS.iter();
        let added = filters.filter(|(name, _)| multi.adds(name).or(filter.adds(name)).is_some());
        for one in added {
            if profile.filters.iter().all(|(name, _)| *name != one.0) {
                profile.filters.push(*one);
            }
        }
        profile.scores.retain(|(name, ..)| multi.keeps(name) && score.keeps(name));
        for (name, default, plugin) in plugins::SCORES {
            let Some(weight) = score.adds(name).or(multi.adds(name)) else { continue };
            profile.scores.retain(|(other, ..)| other != name);
            profile.scores.push((*name, if weight > 0 { weight } else { *default }, *plugin));
        }
        let post = &self.plugins.post_filter;
        profile.preempts = multi.keeps("DefaultPreemption") && post.keeps("DefaultPreemption")
            || multi.adds("DefaultPreemption").or(post.adds("DefaultPreemption")).is_some();
        self.plugin_config.iter().try_for_each(|config| arguments(&mut profile, config))?;
        Ok(profile)
    }
}

impl Set {
    fn names(&self) -> impl Iterator<Item = &str> {
        self.enabled.iter().chain(&self.disabled).map(|named| named.name.as_str())
    }

    fn keeps(&self, name: &str) -> bool {
        !self.disabled.iter().any(|named| named.name == "*" || named.name == name)
    }

    /// With which weight it is added; 0: its own.
    fn adds(&self, name: &str) -> Option<i64> {
        self.enabled.iter().find(|named| named.name == name).map(|named| named.weight)
    }
}

fn arguments(profile: &mut Profile, config: &PluginConfig) -> Result<(), ConfigurationError> {
    let wrong = |why: String| Err(ConfigurationError::Argument { profile: profile.name.clone(), why });
    match config.name.as_str() {
        "NodeResourcesFit" => {
            let strategy = config.args.get("scoringStrategy");
            let kind = strategy.and_then(|s| s.get("type")).and_then(Value::as_str).unwrap_or("LeastAllocated");
            profile.fit.most = match kind {
                "LeastAllocated" => false,
                "MostAllocated" => true,
                other => return wrong(format!("scoringStrategy {other:?} of NodeResourcesFit is not there yet")),
            };
            let resources = strategy.and_then(|s| s.get("resources")).and_then(Value::as_array);
            if let Some(resources) = resources {
                let weight = |name: &str| {
                    let found = resources.iter().find(|r| r.get("name").is_some_and(|n| n == name));
                    found.map_or(0, |r| r.get("weight").and_then(Value::as_i64).unwrap_or(1))
                };
                (profile.fit.cpu, profile.fit.memory) = (weight("cpu"), weight("memory"));
            }
        }
        "InterPodAffinity" => {
            let weight = config.args.get("hardPodAffinityWeight").and_then(Value::as_i64);
            profile.hard_affinity = weight.unwrap_or(profile.hard_affinity);
        }
        name if plugins::is_known(name) => {}
        name => {
            return Err(ConfigurationError::Plugin { profile: profile.name.clone(), plugin: name.to_owned() });
        }
    }
    Ok(())
}
