//! What all requests share.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use api::ApiError;
use storage::{ReadError, Store};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::audit::Audit;
use crate::authn::tokens::Tokens;
use crate::authz::rbac::Rbac;
use crate::config::Config;
use crate::context::{Context, User};
use crate::kind::Kinds;
use crate::metrics::Metrics;
use crate::openapi::Documents;
use crate::registry::Options;
use crate::rest::figures::Figures;
use crate::rest::service::repair::Suspects;
use crate::stream::kubelet::Kubelets;

/// State of a running API server.
pub(crate) struct Server {
    pub(crate) config: Config,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) kinds: Kinds,
    pub(crate) rbac: Rbac,
    pub(crate) tokens: Tokens,
    pub(crate) suspects: Suspects,
    pub(crate) documents: Documents,
    pub(crate) kubelets: Kubelets,
    pub(crate) metrics: Metrics,
    pub(crate) figures: Figures,
    pub(crate) audit: Audit,
    pub(crate) reads: Semaphore,
    pub(crate) writes: Semaphore,
    /// Set when the objects of the first start are there.
    pub(crate) bootstrapped: AtomicBool,
    pub(crate) stopping: CancellationToken,
}

impl Server {
    /// A context of the server's own doing.
    pub(crate) fn own(self: &Arc<Self>, group: &str, plural: &str, namespace: &str) -> Result<Context, ApiError> {
        let user = User::authenticated("system:apiserver", &["system:masters"]);
        let options = Options { manager: "oxikube".into(), ..Options::default() };
        Ok(Context::new(self.clone(), user, self.kinds.own(group, plural)?.clone(), namespace, options))
    }
}

/// The API's word for what the store says about a read.
pub(crate) fn read_error(error: ReadError) -> ApiError {
    match error {
        ReadError::Compacted { asked, oldest } => {
            ApiError::expired(format!("too old resource version: {asked} ({oldest})"))
        }
        ReadError::Future { asked, current } => crate::registry::list::too_new(asked, current),
        ReadError::Unavailable(why) => ApiError::unavailable(why),
    }
}
