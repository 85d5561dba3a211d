//! Bootstrap tokens: `cluster-info` is signed with each of them, and those that have expired are deleted.
//!
//! <https://kubernetes.io/docs/reference/access-authn-authz/bootstrap-tokens/>

mod signer;
mod token;

use std::sync::Arc;
use std::time::Duration;

use api::bootstrap::{NAMESPACE, SECRET_TYPE, TokenSecret};
use client::{Informer, ObjectKey, Outcome, Reconciler, Runner, Selection, write};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Api;
use kube::api::{DeleteParams, PostParams, Preconditions};
use tokio_util::sync::CancellationToken;

use crate::context::{Context, start};

const SIGNER: &str = "bootstrap-signer";
const CLEANER: &str = "token-cleaner";

fn tokens(context: &Context) -> Informer<Secret> {
    context.informers.select_in::<Secret>(NAMESPACE, Selection::fields(format!("type={SECRET_TYPE}")))
}

struct Signer {
    client: kube::Client,
    secrets: Informer<Secret>,
    maps: Informer<ConfigMap>,
}

/// Keeps the signatures in `cluster-info`.
pub(crate) async fn run_signer(context: Context, shutdown: CancellationToken) {
    let secrets = tokens(&context);
    let selection = Selection::fields(format!("metadata.name={}", signer::NAME));
    let maps = context.informers.select_in::<ConfigMap>(signer::NAMESPACE, selection);
    let client = context.client(SIGNER);
    let reconciler = Signer { client, secrets: secrets.clone(), maps: maps.clone() };
    let runner = Runner::new(Arc::new(reconciler), 1)
        .watch(&secrets, |_: &Secret| Some(()))
        .watch(&maps, |_: &ConfigMap| Some(()));
    let synced = async {
        secrets.synced().await;
        maps.synced().await;
    };
    start(runner, synced, shutdown).await;
}

impl Reconciler for Signer {
    type Key = ();
    type Error = kube::Error;

    fn name(&self) -> &'static str {
        "bootstrap-signer"
    }

    async fn reconcile(&self, (): &()) -> Result<Outcome, kube::Error> {
        let Some(map) = self.maps.get(signer::NAMESPACE, signer::NAME) else { return Ok(Outcome::Done) };
        let now = Timestamp::now();
        let tokens: Vec<_> = self.secrets.list().iter().filter_map(|secret| TokenSecret::of(secret)).collect();
        let signed = signer::signed(&map, &tokens, now);
        if signed.data != map.data {
            let api = Api::<ConfigMap>::namespaced(self.client.clone(), signer::NAMESPACE);
            api.replace(signer::NAME, &PostParams::default(), &signed).await?;
        }
        let next = tokens.iter().filter_map(|token| token.left(now)).filter(|left| !left.is_zero()).min();
        Ok(next.map_or(Outcome::Done, |left| Outcome::RequeueAfter(left + Duration::from_secs(1))))
    }
}

struct Cleaner {
    client: kube::Client,
    secrets: Informer<Secret>,
}

/// Deletes tokens that have expired.
pub(crate) async fn run_cleaner(context: Context, shutdown: CancellationToken) {
    let secrets = tokens(&context);
    let reconciler = Cleaner { client: context.client(CLEANER), secrets: secrets.clone() };
    let runner =
        Runner::new(Arc::new(reconciler), 1).watch(&secrets, |secret: &Secret| Some(ObjectKey::of(&secret.metadata)));
    start(runner, async { secrets.synced().await }, shutdown).await;
}

impl Reconciler for Cleaner {
    type Key = ObjectKey;
    type Error = kube::Error;

    fn name(&self) -> &'static str {
        "token-cleaner"
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Outcome, kube::Error> {
        let Some(secret) = self.secrets.find(key) else { return Ok(Outcome::Done) };
        match token::left(&secret, Timestamp::now()) {
            None => Ok(Outcome::Done),
            Some(left) if !left.is_zero() => Ok(Outcome::RequeueAfter(left)),
            Some(_) => {
                let preconditions = Preconditions { uid: secret.metadata.uid.clone(), resource_version: None };
                let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
                match Api::<Secret>::namespaced(self.client.clone(), NAMESPACE).delete(&key.name, &params).await {
                    Err(error) if write::is_not_found(&error) => Ok(Outcome::Done),
                    other => other.map(|_| Outcome::Done),
                }
            }
        }
    }
}
