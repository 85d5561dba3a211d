//! ConfigMaps, Secrets and tokens that pods of this node refer to: one by one, as the node may read nothing else.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use client::{Informer, Informers, Selection};
use jiff::Timestamp;
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolume, PersistentVolumeClaim, Pod, Secret, ServiceAccount};
use k8s_openapi::api::node::v1::RuntimeClass;
use kube::Api;
use kube::api::PostParams;

use crate::spec;

/// One question to the API server takes at most this long.
const QUESTION: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
pub(crate) enum ObjectError {
    #[error("{0}")]
    Api(#[from] Box<kube::Error>),
    #[error("timed out waiting for the API server")]
    Timeout,
}

/// A watch that lasts as long as this is held.
pub(crate) type Held = Box<dyn Any + Send + Sync>;

pub(crate) struct Objects {
    client: kube::Client,
    informers: Informers,
}

/// A token with the time when it is to be replaced.
#[derive(Debug, Clone)]
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) renew_at: Timestamp,
}

async fn ask<T>(question: impl Future<Output = kube::Result<T>>) -> Result<T, ObjectError> {
    match tokio::time::timeout(QUESTION, question).await {
        Ok(answer) => answer.map_err(|error| ObjectError::Api(Box::new(error))),
        Err(_) => Err(ObjectError::Timeout),
    }
}

fn message(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

impl ObjectError {
    /// As an event tells it.
    pub(crate) fn message(&self) -> String {
        match self {
            Self::Api(error) => message(error),
            Self::Timeout => self.to_string(),
        }
    }
}

fn one(name: &str) -> Selection {
    Selection::fields(format!("metadata.name={name}"))
}

impl Objects {
    pub(crate) fn new(client: kube::Client, informers: Informers) -> Self {
        Self { client, informers }
    }

    /// None if there is none.
    pub(crate) async fn config_map(&self, namespace: &str, name: &str) -> Result<Option<ConfigMap>, ObjectError> {
        if let Some(known) = self.informers.find_in::<ConfigMap>(namespace, &one(name))
            && let Some(object) = known.get(namespace, name)
        {
            return Ok(Some((*object).clone()));
        }
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), namespace);
        ask(api.get_opt(name)).await
    }

    /// None if there is none.
    pub(crate) async fn secret(&self, namespace: &str, name: &str) -> Result<Option<Secret>, ObjectError> {
        if let Some(known) = self.informers.find_in::<Secret>(namespace, &one(name))
            && let Some(object) = known.get(namespace, name)
        {
            return Ok(Some((*object).clone()));
        }
        let api: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        ask(api.get_opt(name)).await
    }

    /// Calls back at every change of a ConfigMap.
    pub(crate) fn watch_config_map(&self, namespace: &str, name: &str, changed: Arc<dyn Fn() + Send + Sync>) -> Held {
        held(&self.informers.select_in::<ConfigMap>(namespace, one(name)), changed)
    }

    /// Calls back at every change of a Secret.
    pub(crate) fn watch_secret(&self, namespace: &str, name: &str, changed: Arc<dyn Fn() + Send + Sync>) -> Held {
        held(&self.informers.select_in::<Secret>(namespace, one(name)), changed)
    }

    /// A token of the pod's service account, bound to the pod.
    pub(crate) async fn token(&self, pod: &Pod, audience: Option<&str>, seconds: i64) -> Result<Token, ObjectError> {
        let account = spec::pod_spec(pod).service_account_name.as_deref().unwrap_or("default");
        let request = TokenRequest {
            spec: Some(TokenRequestSpec {
                audiences: audience.map(|audience| vec![audience.to_owned()]),
                expiration_seconds: Some(seconds),
                bound_object_ref: Some(BoundObjectReference {
                    api_version: Some("v1".to_owned()),
                    kind: Some("Pod".to_owned()),
                    name: pod.metadata.name.clone(),
                    uid: pod.metadata.uid.clone(),
                }),
                ..Default::default()
            }),
            ..Default::default()
        };
        let api: Api<ServiceAccount> = Api::namespaced(self.client.clone(), spec::namespace(pod));
        let answer = ask(api.create_token_request(account, &PostParams::default(), &request)).await?;
        let status = answer.status.unwrap_or_default();
        let now = Timestamp::now();
        let expires = status.expiration_timestamp.map_or(now, |time| time.0);
        let life = expires.duration_since(now);
        // Replaced after four fifths of its life, and once a day.
        let use_for = (life * 4 / 5).min(jiff::SignedDuration::from_hours(24));
        Ok(Token { text: status.token.unwrap_or_default(), renew_at: now.checked_add(use_for).unwrap_or(now) })
    }

    /// None if there is none.
    pub(crate) async fn runtime_class(&self, name: &str) -> Result<Option<RuntimeClass>, ObjectError> {
        let api: Api<RuntimeClass> = Api::all(self.client.clone());
        ask(api.get_opt(name)).await
    }

    /// None if there is none.
    pub(crate) async fn claim(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<PersistentVolumeClaim>, ObjectError> {
        let api: Api<PersistentVolumeClaim> = Api::namespaced(self.client.clone(), namespace);
        ask(api.get_opt(name)).await
    }

    /// None if there is none.
    pub(crate) async fn volume(&self, name: &str) -> Result<Option<PersistentVolume>, ObjectError> {
        let api: Api<PersistentVolume> = Api::all(self.client.clone());
        ask(api.get_opt(name)).await
    }
}

fn held<K: Send + Sync + 'static>(informer: &Informer<K>, changed: Arc<dyn Fn() + Send + Sync>) -> Held {
    let guard = informer.on_change(move |_| changed());
    Box::new((guard, informer.clone()))
}
