//! Every role as its own process, over TLS with a kubeconfig of its own, under upstream's flag names.

pub(crate) mod apiserver;
pub(crate) mod balancer;
pub(crate) mod controller_manager;
pub(crate) mod dns;
pub(crate) mod gateway;
pub(crate) mod kubelet;
pub(crate) mod proxy;
pub(crate) mod scheduler;

use std::future::Future;
use std::path::{Path, PathBuf};

use clap::Args;
use tokio_util::sync::CancellationToken;

use crate::logging::{self, LogArgs};
use crate::problem::{Problem, file};

/// How a role reaches the API server.
#[derive(Debug, Clone, Args)]
pub(crate) struct Kubeconfig {
    /// Kubeconfig of this role
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: PathBuf,
}

impl Kubeconfig {
    pub(crate) async fn client(&self) -> Result<kube::Client, Problem> {
        let remedy = "give one that this cluster made, with --kubeconfig";
        let client = client::connect::from_kubeconfig(&self.kubeconfig).await;
        client.map_err(|error| Problem::new(format!("{error}; {remedy}")))
    }
}

/// Runs a role until a signal comes.
pub(crate) fn run<F, R>(log: &LogArgs, role: F) -> Result<(), Problem>
where
    F: FnOnce(CancellationToken) -> R,
    R: Future<Output = Result<(), Problem>>,
{
    logging::start(log);
    let runtime = super::server::runtime()?;
    let result = runtime.block_on(async {
        let shutdown = CancellationToken::new();
        super::server::stop_by_signal(&shutdown);
        role(shutdown).await
    });
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    result
}

/// The text of a file that a flag names.
pub(crate) fn read(path: &Path) -> Result<String, Problem> {
    std::fs::read_to_string(path).map_err(|e| file(path, &e))
}

/// The node's name: the flag's, or the host's in lower case.
pub(crate) fn node_name(given: Option<&String>) -> Result<String, Problem> {
    crate::compose::node_name(given)
}
