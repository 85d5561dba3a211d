//! An engine behind a gRPC socket: containerd, CRI-O, or whoever speaks CRI v1.

mod containerd;
mod events;
mod images;
mod runtime;
mod sessions;
mod upgrade;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::BoxFuture;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};
use tonic::{Response, Status};

use crate::v1::image_service_client::ImageServiceClient;
use crate::v1::runtime_service_client::RuntimeServiceClient;
use crate::v1::{RuntimeConfig, StatusRequest};
use crate::{CriError, Local, RuntimeService};

/// Lists of thousands of containers are larger than gRPC's own limit of 4 MiB.
const MAX_MESSAGE: usize = 16 << 20;
/// Most calls are answered in this time, or not at all; it is upstream's.
const USUAL: Duration = Duration::from_secs(120);
/// Beyond the time that the call itself was given.
const SLACK: Duration = Duration::from_secs(30);
/// What takes as long as it takes: the caller has a limit of its own.
const LONG: Duration = Duration::from_secs(24 * 3600);

/// Is told the node's pod address range, for engines that leave the network to a plugin.
pub type OnRuntimeConfig = Arc<dyn Fn(RuntimeConfig) -> BoxFuture<'static, Result<(), CriError>> + Send + Sync>;

/// A remote engine. Cheap to clone.
#[derive(Clone)]
pub struct Remote {
    channel: Channel,
    socket: PathBuf,
    on_runtime_config: Option<OnRuntimeConfig>,
    closed: CancellationToken,
}

/// What a verbose status of containerd says of its settings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Settings {
    /// Image of the process that holds a sandbox.
    pub sandbox_image: String,
    /// Where its network plugins are.
    pub cni: CniSettings,
}

/// Folders of network plugins.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CniSettings {
    /// Of the plugins.
    pub bin_dir: PathBuf,
    /// Of their configurations.
    pub conf_dir: PathBuf,
}

impl Remote {
    /// Names the engine; it is spoken to when it is first needed, and again after it was away.
    pub fn new(socket: &Path) -> Result<Self, CriError> {
        let invalid = |e| CriError::InvalidArgument(format!("{} is no socket: {e}", socket.display()));
        let endpoint = Endpoint::from_shared(format!("unix://{}", socket.display())).map_err(invalid)?;
        let channel = endpoint.connect_timeout(Duration::from_secs(10)).connect_lazy();
        Ok(Self { channel, socket: socket.to_owned(), on_runtime_config: None, closed: CancellationToken::new() })
    }

    /// Also tells somebody else of runtime configurations, before the engine.
    #[must_use]
    pub fn on_runtime_config(mut self, told: OnRuntimeConfig) -> Self {
        self.on_runtime_config = Some(told);
        self
    }

    /// The engine's settings, as far as it tells them.
    pub async fn settings(&self) -> Result<Settings, CriError> {
        let status = self.status(StatusRequest { verbose: true }).await?;
        let config = status.info.get("config").map(String::as_str).unwrap_or("{}");
        serde_json::from_str(config).map_err(|e| CriError::Internal(format!("the engine's settings: {e}")))
    }

    fn runtime(&self) -> RuntimeServiceClient<Channel> {
        let client = RuntimeServiceClient::new(self.channel.clone());
        client.max_decoding_message_size(MAX_MESSAGE).max_encoding_message_size(MAX_MESSAGE)
    }

    fn images(&self) -> ImageServiceClient<Channel> {
        let client = ImageServiceClient::new(self.channel.clone());
        client.max_decoding_message_size(MAX_MESSAGE).max_encoding_message_size(MAX_MESSAGE)
    }
}

/// An answer, in time.
async fn within<T>(limit: Duration, call: impl Future<Output = Result<Response<T>, Status>>) -> Result<T, CriError> {
    match tokio::time::timeout(limit, call).await {
        Ok(answer) => Ok(answer?.into_inner()),
        Err(_) => Err(CriError::DeadlineExceeded(format!("the engine did not answer within {} s", limit.as_secs()))),
    }
}

fn missing(what: &str) -> CriError {
    CriError::Internal(format!("the engine's answer has no {what}"))
}

#[async_trait]
impl Local for Remote {
    async fn import(&self, archive: &Path) -> Result<Vec<String>, CriError> {
        containerd::import(self, archive).await
    }

    async fn close(&self) {
        self.closed.cancel();
    }

    async fn purge(&self) -> Result<(), CriError> {
        for sandbox in self.list_pod_sandbox(None).await? {
            self.stop_pod_sandbox(&sandbox.id).await?;
            self.remove_pod_sandbox(&sandbox.id).await?;
        }
        self.close().await;
        Ok(())
    }
}
