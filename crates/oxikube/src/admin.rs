//! The administrator's way to the API, and what a machine that joins has to be told.

use std::path::Path;
use std::time::Duration;

use api::bootstrap::{Token, TokenSecret};
use cluster::master::SECRET;
use cluster::sealed::SealKey;
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Node, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::json;

use crate::cli::DataDir;
use crate::instance::Instance;
use crate::problem::{During, Problem};

/// How long what masters share is there.
const HANDED_OUT: Duration = Duration::from_secs(2 * 3600);

/// The administrator of the cluster in a data directory.
pub(crate) struct Admin {
    pub(crate) client: kube::Client,
}

impl Admin {
    pub(crate) async fn of(data: &DataDir) -> Result<Self, Problem> {
        let path = Instance::new(&data.data_dir).kubeconfig();
        if !path.exists() {
            return Err(Problem::new(format!(
                "{} is not there; run this where the cluster was started, or start one with 'oxikube init'",
                path.display()
            )));
        }
        let client = client::connect::from_kubeconfig(&path).await.during(format!("cannot use {}", path.display()))?;
        Ok(Self { client })
    }

    /// Where bootstrap tokens are kept.
    pub(crate) fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.client.clone(), api::bootstrap::NAMESPACE)
    }

    /// Has `kubectl get nodes` say that the node is a master.
    pub(crate) async fn mark_master(&self, node: &str) -> Result<(), Problem> {
        let label = json!({"metadata": {"labels": {"node-role.kubernetes.io/control-plane": ""}}});
        let nodes = Api::<Node>::all(self.client.clone());
        let marked = nodes.patch(node, &PatchParams::default(), &Patch::Merge(&label)).await;
        marked.map(drop).during(format!("cannot mark the node {node} as a master"))
    }

    /// Locks what masters share with a new key and leaves it in the cluster for two hours; tells the key.
    pub(crate) async fn upload(&self, pki: &Path) -> Result<SealKey, Problem> {
        let failed = "cannot hand on what masters share";
        let shared = cluster::master::shared(pki).during(failed)?;
        let key = SealKey::generate().during(failed)?;
        let data = cluster::master::seal(&shared, &key).during(failed)?;
        let secrets = self.secrets();
        // It goes with the token that owns it; as in kubeadm, that token lets nobody in.
        let owner = TokenSecret {
            token: Token::generate(),
            expiration: Timestamp::now().checked_add(HANDED_OUT).ok(),
            authenticates: false,
            signs: false,
            groups: Vec::new(),
            description: format!("how long {SECRET} is there"),
        };
        let owner = secrets.create(&PostParams::default(), &owner.secret()).await.during(failed)?;
        let mut secret = Secret {
            data: Some(data.into_iter().map(|(name, value)| (name, ByteString(value))).collect()),
            ..Secret::default()
        };
        secret.metadata.name = Some(SECRET.to_owned());
        secret.metadata.owner_references = Some(vec![OwnerReference {
            api_version: "v1".to_owned(),
            kind: "Secret".to_owned(),
            name: owner.metadata.name.unwrap_or_default(),
            uid: owner.metadata.uid.unwrap_or_default(),
            ..OwnerReference::default()
        }]);
        match secrets.delete(SECRET, &DeleteParams::default()).await {
            Err(error) if !client::write::is_not_found(&error) => return Err(error).during(failed),
            _ => {}
        }
        secrets.create(&PostParams::default(), &secret).await.during(failed)?;
        Ok(key)
    }

    /// The command that makes another machine a node of this cluster.
    pub(crate) async fn join_command(&self, token: &Token) -> Result<String, Problem> {
        let api = Api::<ConfigMap>::namespaced(self.client.clone(), "kube-public");
        let map = api.get(api::bootstrap::CLUSTER_INFO).await.during("cannot read where the cluster is")?;
        let found = cluster::discovery::read(&map.data.unwrap_or_default()).during("cannot tell how to join")?;
        let fingerprint = cluster::discovery::fingerprint(&found.ca).unwrap_or_default();
        let server = found.server.trim_start_matches("https://");
        Ok(format!("oxikube join {server} --token {} --discovery-token-ca-cert-hash {fingerprint}", token.text()))
    }
}
