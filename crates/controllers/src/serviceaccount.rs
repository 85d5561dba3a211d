//! ServiceAccount `default` in every namespace.

use std::sync::Arc;

use client::{Informer, Outcome, Reconciler, Runner};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::Api;
use kube::api::{ObjectMeta, PostParams};
use tokio_util::sync::CancellationToken;

use crate::context::{Context, start};

const ACCOUNT: &str = "service-account-controller";
const NAME: &str = "default";

struct ServiceAccounts {
    client: kube::Client,
    namespaces: Informer<Namespace>,
    accounts: Informer<ServiceAccount>,
}

pub(crate) async fn run(context: Context, shutdown: CancellationToken) {
    let namespaces = context.informers.get::<Namespace>();
    let accounts = context.informers.get::<ServiceAccount>();
    let reconciler = Arc::new(ServiceAccounts {
        client: context.client(ACCOUNT),
        namespaces: namespaces.clone(),
        accounts: accounts.clone(),
    });
    let runner = Runner::new(reconciler, 2)
        .watch(&namespaces, |namespace: &Namespace| namespace.metadata.name.clone())
        .watch(&accounts, |account: &ServiceAccount| {
            let meta = &account.metadata;
            meta.namespace.clone().filter(|_| meta.name.as_deref() == Some(NAME))
        });
    let synced = async {
        namespaces.synced().await;
        accounts.synced().await;
    };
    start(runner, synced, shutdown).await;
}

/// Whether content may still be put into a namespace.
pub(crate) fn is_open(namespace: &Namespace) -> bool {
    let phase = namespace.status.as_ref().and_then(|status| status.phase.as_deref());
    namespace.metadata.deletion_timestamp.is_none() && phase != Some("Terminating")
}

impl Reconciler for ServiceAccounts {
    type Key = String;
    type Error = kube::Error;

    fn name(&self) -> &'static str {
        "serviceaccount"
    }

    async fn reconcile(&self, key: &String) -> Result<Outcome, kube::Error> {
        let open = self.namespaces.get("", key).is_some_and(|namespace| is_open(&namespace));
        if !open || self.accounts.get(key, NAME).is_some() {
            return Ok(Outcome::Done);
        }
        let metadata = ObjectMeta { name: Some(NAME.into()), namespace: Some(key.clone()), ..ObjectMeta::default() };
        let account = ServiceAccount { metadata, ..ServiceAccount::default() };
        let api = Api::<ServiceAccount>::namespaced(self.client.clone(), key);
        match api.create(&PostParams::default(), &account).await {
            Err(error) if client::write::is_already_exists(&error) => Ok(Outcome::Done),
            other => other.map(|_| Outcome::Done),
        }
    }
}
