//! A node for a test.

pub mod apiserver;
pub mod engine;

use std::sync::Arc;
use std::time::Duration;

use kubelet::{Config, Kubelet};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use apiserver::ApiServer;
use engine::FakeEngine;

/// A kubelet at work. Everything it made is gone when this is dropped.
pub struct Node {
    pub api: ApiServer,
    pub engine: Arc<FakeEngine>,
    folder: tempfile::TempDir,
    config: Config,
    shutdown: CancellationToken,
    running: Option<JoinHandle<()>>,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

pub fn config(folder: &tempfile::TempDir) -> Config {
    let mut config = Config::new("n1", folder.path().join("kubelet"));
    config.node_ips = vec!["127.0.0.1".parse().unwrap()];
    config.address = "127.0.0.1:0".parse().unwrap();
    config.memory_backed_secrets = false;
    // How full the disk under the tests is has no say in them.
    config.eviction_hard.clear();
    config
}

impl Node {
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = config(&folder);
        change(&mut config);
        let api = ApiServer::default();
        api.put("configmaps", "ns", json!({"metadata": {"name": "settings"}, "data": {"colour": "blue"}}));
        let mut node =
            Self { api, engine: FakeEngine::new(), folder, config, shutdown: CancellationToken::new(), running: None };
        node.run().await;
        node
    }

    async fn run(&mut self) {
        let engine: Arc<dyn cri::Engine> = Arc::clone(&self.engine) as _;
        let kubelet = Kubelet::build(self.config.clone(), self.api.client(), engine).await.unwrap();
        self.shutdown = CancellationToken::new();
        self.running = Some(tokio::spawn(kubelet.run(self.shutdown.clone())));
    }

    /// Ends the kubelet and starts another one over the same folder, engine and API server.
    pub async fn restart(&mut self) {
        self.shutdown.cancel();
        self.running.take().unwrap().await.unwrap();
        self.run().await;
    }

    /// Creates a pod that is bound to this node.
    pub fn create(&self, name: &str, mut spec: Value) {
        spec["nodeName"] = json!("n1");
        let meta = json!({"name": name, "namespace": "ns", "uid": format!("uid-{name}"), "labels": {"app": name}});
        self.api.put("pods", "ns", json!({"metadata": meta, "spec": spec}));
    }

    pub fn pod(&self, name: &str) -> Option<Value> {
        self.api.get("pods", "ns", name)
    }

    /// Waits until a pod looks as wanted.
    pub async fn wait(&self, name: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut changes = self.api.changes();
        let waited = tokio::time::timeout(Duration::from_secs(20), async {
            loop {
                if let Some(pod) = self.pod(name).filter(|pod| wanted(pod)) {
                    return pod;
                }
                changes.changed().await.unwrap();
            }
        });
        let last = || serde_json::to_string_pretty(&self.pod(name)).unwrap();
        waited.await.unwrap_or_else(|_| panic!("{name} is not {what}: {}\n{:?}", last(), self.api.events()))
    }

    pub async fn ready(&self, name: &str) -> Value {
        self.wait(name, "ready", |pod| condition(pod, "Ready") == "True").await
    }

    pub async fn gone(&self, name: &str) {
        let mut changes = self.api.changes();
        let waited = tokio::time::timeout(Duration::from_secs(20), async {
            while self.pod(name).is_some() {
                changes.changed().await.unwrap();
            }
        });
        waited.await.unwrap_or_else(|_| panic!("{name} is still there: {:?}", self.pod(name)));
    }

    /// What is in a volume of a pod.
    pub fn file(&self, pod: &str, path: &str) -> Option<String> {
        let root = self.folder.path().join("kubelet/pods").join(format!("uid-{pod}")).join("volumes");
        std::fs::read_to_string(root.join(path)).ok()
    }
}

pub fn condition(pod: &Value, kind: &str) -> String {
    let conditions = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let found = conditions.iter().find(|condition| condition["type"] == kind);
    found.map(|condition| condition["status"].as_str().unwrap().to_owned()).unwrap_or_default()
}

/// Waits for something that tells nobody when it changes.
pub async fn until(what: &str, met: impl Fn() -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(20), async {
        while !met() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("never came: {what}"));
}
