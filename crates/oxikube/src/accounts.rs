//! Clients that act under service accounts: each controller under its own, by tokens that are renewed in time.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use client::connect::{Bearer, ConnectError};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::Api;
use kube::api::{ObjectMeta, PostParams};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const NAMESPACE: &str = "kube-system";
/// Tokens live an hour and are renewed after most of it.
const SECONDS: i64 = 3600;
const RENEW: Duration = Duration::from_secs(2400);
const RETRY: Duration = Duration::from_millis(500);

/// Makes clients of service accounts of kube-system.
#[derive(Clone)]
pub(crate) struct Accounts {
    bearer: Arc<Bearer>,
    own: kube::Client,
    shutdown: CancellationToken,
    tasks: TaskTracker,
    /// An account's token is renewed once, however many ask for its client.
    clients: Arc<Mutex<HashMap<String, kube::Client>>>,
}

impl Accounts {
    pub(crate) async fn new(
        kubeconfig: &Path,
        own: kube::Client,
        shutdown: CancellationToken,
    ) -> Result<Self, ConnectError> {
        let bearer = Arc::new(Bearer::from_kubeconfig(kubeconfig).await?);
        Ok(Self { bearer, own, shutdown, tasks: TaskTracker::new(), clients: Arc::default() })
    }

    /// A client of the account; its first request waits for the token.
    pub(crate) fn client(&self, account: &str) -> kube::Client {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        clients.entry(account.to_owned()).or_insert_with(|| self.make(account)).clone()
    }

    fn make(&self, account: &str) -> kube::Client {
        let (tokens, receiver) = tokio::sync::watch::channel(None);
        let client = match self.bearer.client(receiver) {
            Ok(client) => client,
            Err(error) => {
                tracing::error!(account, %error, "acting as the process itself");
                return self.own.clone();
            }
        };
        let (this, name) = (self.clone(), account.to_owned());
        self.tasks.spawn(async move {
            let keep = async {
                loop {
                    let wait = match this.token(&name).await {
                        Ok(token) => {
                            tokens.send_replace(Some(token));
                            RENEW
                        }
                        Err(error) => {
                            tracing::debug!(account = name, %error, "no token yet");
                            RETRY
                        }
                    };
                    tokio::time::sleep(wait).await;
                }
            };
            tokio::select! {
                () = keep => {}
                () = this.shutdown.cancelled() => {}
            }
        });
        client
    }

    async fn token(&self, account: &str) -> kube::Result<String> {
        let api = Api::<ServiceAccount>::namespaced(self.own.clone(), NAMESPACE);
        let spec = TokenRequestSpec { expiration_seconds: Some(SECONDS), ..TokenRequestSpec::default() };
        let request = TokenRequest { spec: Some(spec), ..TokenRequest::default() };
        let answer = match api.create_token_request(account, &PostParams::default(), &request).await {
            Err(error) if client::write::is_not_found(&error) => {
                let metadata = ObjectMeta { name: Some(account.to_owned()), ..ObjectMeta::default() };
                let made = ServiceAccount { metadata, ..ServiceAccount::default() };
                match api.create(&PostParams::default(), &made).await {
                    Err(error) if !client::write::is_already_exists(&error) => return Err(error),
                    _ => {}
                }
                api.create_token_request(account, &PostParams::default(), &request).await?
            }
            other => other?,
        };
        Ok(answer.status.and_then(|s| s.token).unwrap_or_default())
    }
}
