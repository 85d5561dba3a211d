//! Ways to a `kube::Client`.

use std::path::{Path, PathBuf};

use http::{Request, Response, Uri};
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};
use tokio::sync::watch;
use tower::{BoxError, Service, ServiceExt};

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The file cannot be read or understood.
    #[error("kubeconfig {path} cannot be used: {}", first_line(source))]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: Box<kube::config::KubeconfigError>,
    },
    /// The environment of a pod is not there.
    #[error("this does not run inside a pod with a service account")]
    InCluster(#[source] kube::config::InClusterError),
    /// Certificates or addresses in the configuration do not work.
    #[error("the client cannot be built from its configuration")]
    Build(#[source] Box<kube::Error>),
}

/// What is wrong, without the picture of the place that a parser draws below.
fn first_line(error: &kube::config::KubeconfigError) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

/// A client over TLS as the file's current context says.
pub async fn from_kubeconfig(path: &Path) -> Result<kube::Client, ConnectError> {
    build(read(path).await?)
}

/// The same, to another server than the file names.
pub async fn from_kubeconfig_to(path: &Path, server: Uri) -> Result<kube::Client, ConnectError> {
    let mut config = read(path).await?;
    config.cluster_url = server;
    build(config)
}

pub(crate) async fn read(path: &Path) -> Result<kube::Config, ConnectError> {
    let failed = |source| ConnectError::Kubeconfig { path: path.to_owned(), source: Box::new(source) };
    let file = Kubeconfig::read_from(path).map_err(failed)?;
    kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.map_err(failed)
}

/// A client for a process inside a pod, with the pod's service account.
pub fn in_cluster() -> Result<kube::Client, ConnectError> {
    build(kube::Config::incluster().map_err(ConnectError::InCluster)?)
}

pub(crate) fn build(mut config: kube::Config) -> Result<kube::Client, ConnectError> {
    // Watches are quiet for minutes; their own timeout ends them.
    config.read_timeout = None;
    kube::Client::try_from(config).map_err(|source| ConnectError::Build(Box::new(source)))
}

/// A client whose transport is a service in this process. `identity` goes into the extensions of each request:
/// whoever the service takes for authenticated.
pub fn local<S, B, I>(service: S, identity: I) -> kube::Client
where
    S: Service<Request<Body>, Response = Response<B>> + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
    I: Clone + Send + Sync + 'static,
{
    let service = service.map_request(move |mut request: Request<Body>| {
        request.extensions_mut().insert(identity.clone());
        request
    });
    kube::Client::new(service, "default")
}

/// Makes clients that show a bearer token which may change while they live.
pub struct Bearer {
    config: kube::Config,
}

impl Bearer {
    /// Address and CA are the file's; its credentials are not used.
    ///
    /// # Errors
    /// When the file cannot be read or understood.
    pub async fn from_kubeconfig(path: &Path) -> Result<Self, ConnectError> {
        let failed = |source| ConnectError::Kubeconfig { path: path.to_owned(), source: Box::new(source) };
        let file = Kubeconfig::read_from(path).map_err(failed)?;
        let mut config =
            kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.map_err(failed)?;
        config.auth_info = kube::config::AuthInfo::default();
        config.read_timeout = None;
        Ok(Self { config })
    }

    /// A client that shows the newest token; requests wait until there is one.
    ///
    /// # Errors
    /// When the CA cannot be used.
    pub fn client(&self, token: watch::Receiver<Option<String>>) -> Result<kube::Client, ConnectError> {
        let inner = kube::Client::try_from(self.config.clone());
        let inner = inner.map_err(|source| ConnectError::Build(Box::new(source)))?;
        let service = tower::service_fn(move |mut request: Request<Body>| {
            let (inner, mut token) = (inner.clone(), token.clone());
            async move {
                let shown = token.wait_for(Option::is_some).await?.clone().unwrap_or_default();
                let value = http::HeaderValue::from_str(&format!("Bearer {shown}"))?;
                request.headers_mut().insert(http::header::AUTHORIZATION, value);
                inner.send(request).await.map_err(BoxError::from)
            }
        });
        Ok(kube::Client::new(service, "default"))
    }
}
