//! The administrator's way to the API, and what a machine that joins has to be told.

use api::bootstrap::Token;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Api;

use crate::cli::DataDir;
use crate::instance::Instance;
use crate::problem::{During, Problem};

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
