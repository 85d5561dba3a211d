//! Who a node is to the cluster: its certificate, asked for with a token at first and by the node itself from then on.

use std::time::Duration;

use client::Rotating;
use client::certificate::{self, Certified, Renewal, RequestError, Wanted};
use cluster::discovery::{self, Discovered};
use cluster::node::{NodeFiles, NodeSettings};
use cluster::pki::Pair;

use crate::problem::{During, Problem};

/// A running node's certificate.
pub(crate) struct Identity {
    files: NodeFiles,
    settings: NodeSettings,
    rotating: Rotating,
}

impl Identity {
    pub(crate) async fn open(files: &NodeFiles, settings: &NodeSettings) -> Result<Self, Problem> {
        let path = files.kubeconfig();
        let rotating = Rotating::from_kubeconfig(&path).await.during(format!("cannot use {}", path.display()))?;
        if rotating.is_over() {
            return Err(Problem::new(format!(
                "the certificate of the node {} is over: the node was away for too long; get another one with 'oxikube join' and a new token",
                settings.node
            )));
        }
        Ok(Self { files: files.clone(), settings: settings.clone(), rotating })
    }

    pub(crate) fn client(&self) -> kube::Client {
        self.rotating.client()
    }

    /// Renews the certificate before it ends, where the cluster is to be asked for it.
    pub(crate) async fn keep(self) {
        if self.settings.bootstrap {
            certificate::keep(&self).await;
        }
        std::future::pending().await
    }
}

impl Renewal for Identity {
    const WHAT: &'static str = "the node's certificate";

    fn left(&self) -> Duration {
        self.rotating.left()
    }

    async fn renew(&self) -> Result<(), String> {
        let certified = request(&self.client(), &self.settings).await.map_err(|error| error.to_string())?;
        let text = std::fs::read_to_string(self.files.kubeconfig()).map_err(|error| error.to_string())?;
        let cluster = discovery::parse(&text).map_err(|error| error.to_string())?;
        save(&self.files, &self.settings, &cluster, certified).map_err(|error| error.0)?;
        self.rotating.reload().await.map_err(|error| error.to_string())
    }
}

/// Asks for the node's certificate.
pub(crate) async fn request(client: &kube::Client, settings: &NodeSettings) -> Result<Certified, RequestError> {
    certificate::request(client, &Wanted::NodeClient { node: settings.node.clone() }).await
}

/// Writes down how the node reaches the cluster, and as whom.
pub(crate) fn save(
    files: &NodeFiles,
    settings: &NodeSettings,
    cluster: &Discovered,
    got: Certified,
) -> Result<(), Problem> {
    let user = cluster::node::user(&settings.node);
    let pair = Pair { certificate: got.certificate, key: got.key };
    let text = cluster::kubeconfig::render(&cluster.server, &cluster.ca, &settings.name, &user, &pair);
    cluster::kubeconfig::save(&files.kubeconfig(), &text).during("cannot keep the node's certificate")
}
