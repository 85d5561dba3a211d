//! ConfigMap `kube-root-ca.crt` in every namespace: whom pods are to trust.

use std::collections::BTreeMap;
use std::sync::Arc;

use client::{Informer, Outcome, Reconciler, Runner, Selection};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::Api;
use kube::api::{ObjectMeta, PostParams};
use tokio_util::sync::CancellationToken;

use crate::context::{Context, start};
use crate::serviceaccount::is_open;

const ACCOUNT: &str = "root-ca-cert-publisher";
const NAME: &str = "kube-root-ca.crt";
const FIELD: &str = "ca.crt";
const NOTE: (&str, &str) = (
    "kubernetes.io/description",
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters.",
);

struct RootCa {
    client: kube::Client,
    pem: String,
    namespaces: Informer<Namespace>,
    maps: Informer<ConfigMap>,
}

pub(crate) async fn run(context: Context, shutdown: CancellationToken) {
    let Some(pem) = context.config.root_ca.clone() else { return };
    let namespaces = context.informers.get::<Namespace>();
    let maps = context.informers.select::<ConfigMap>(Selection::fields(format!("metadata.name={NAME}")));
    let client = context.client(ACCOUNT);
    let reconciler = Arc::new(RootCa { client, pem, namespaces: namespaces.clone(), maps: maps.clone() });
    let runner = Runner::new(reconciler, 2)
        .watch(&namespaces, |namespace: &Namespace| namespace.metadata.name.clone())
        .watch(&maps, |map: &ConfigMap| map.metadata.namespace.clone());
    let synced = async {
        namespaces.synced().await;
        maps.synced().await;
    };
    start(runner, synced, shutdown).await;
}

impl RootCa {
    fn wanted(&self, namespace: &str) -> ConfigMap {
        let metadata = ObjectMeta {
            name: Some(NAME.into()),
            namespace: Some(namespace.to_owned()),
            annotations: Some(BTreeMap::from([(NOTE.0.to_owned(), NOTE.1.to_owned())])),
            ..ObjectMeta::default()
        };
        let data = Some(BTreeMap::from([(FIELD.to_owned(), self.pem.clone())]));
        ConfigMap { metadata, data, ..ConfigMap::default() }
    }
}

impl Reconciler for RootCa {
    type Key = String;
    type Error = kube::Error;

    fn name(&self) -> &'static str {
        "root-ca-publisher"
    }

    async fn reconcile(&self, key: &String) -> Result<Outcome, kube::Error> {
        if !self.namespaces.get("", key).is_some_and(|namespace| is_open(&namespace)) {
            return Ok(Outcome::Done);
        }
        let api = Api::<ConfigMap>::namespaced(self.client.clone(), key);
        let wanted = self.wanted(key);
        let Some(map) = self.maps.get(key, NAME) else {
            return match api.create(&PostParams::default(), &wanted).await {
                Err(error) if client::write::is_already_exists(&error) => Ok(Outcome::Done),
                other => other.map(|_| Outcome::Done),
            };
        };
        if map.data != wanted.data {
            let mut map = (*map).clone();
            map.data = wanted.data;
            api.replace(NAME, &PostParams::default(), &map).await?;
        }
        Ok(Outcome::Done)
    }
}
