//! The files of a projected volume.

use std::collections::BTreeMap;
use std::path::PathBuf;

use k8s_openapi::api::core::v1::{
    ConfigMapProjection, DownwardAPIProjection, KeyToPath, Pod, SecretProjection, ServiceAccountTokenProjection,
};

use super::Tokens;
use super::plugin::Source;
use crate::container::{Addresses, Allocatable, field, resource};
use crate::objects::Objects;
use crate::spec;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct File {
    pub(super) data: Vec<u8>,
    pub(super) mode: u32,
}

pub(super) type Payload = BTreeMap<PathBuf, File>;

pub(super) struct Context<'a> {
    pub(super) objects: &'a Objects,
    pub(super) pod: &'a Pod,
    pub(super) tokens: &'a Tokens,
    pub(super) addresses: &'a Addresses,
    pub(super) node: &'a Allocatable,
}

impl Context<'_> {
    pub(super) async fn collect(&self, sources: &[Source]) -> Result<Payload, String> {
        let mut payload = Payload::new();
        for source in sources {
            let mode = source.default_mode;
            if let Some(from) = &source.config_map {
                self.config_map(from, mode, &mut payload).await?;
            }
            if let Some(from) = &source.secret {
                self.secret(from, mode, &mut payload).await?;
            }
            if let Some(from) = &source.downward {
                self.downward(from, mode, &mut payload)?;
            }
            if let Some(from) = &source.token {
                self.token(from, mode, &mut payload).await?;
            }
        }
        Ok(payload)
    }

    async fn config_map(&self, from: &ConfigMapProjection, mode: u32, payload: &mut Payload) -> Result<(), String> {
        let namespace = spec::namespace(self.pod);
        let optional = from.optional == Some(true);
        let Some(object) = self.objects.config_map(namespace, &from.name).await? else {
            return missing(optional, format!("configmap \"{}\" not found", from.name));
        };
        let text = object.data.into_iter().flatten().map(|(key, value)| (key, value.into_bytes()));
        let data: BTreeMap<String, Vec<u8>> =
            text.chain(object.binary_data.into_iter().flatten().map(|(key, value)| (key, value.0))).collect();
        select(&data, from.items.as_deref(), optional, mode, payload)
    }

    async fn secret(&self, from: &SecretProjection, mode: u32, payload: &mut Payload) -> Result<(), String> {
        let namespace = spec::namespace(self.pod);
        let optional = from.optional == Some(true);
        let Some(object) = self.objects.secret(namespace, &from.name).await? else {
            return missing(optional, format!("secret \"{}\" not found", from.name));
        };
        let data = object.data.into_iter().flatten().map(|(key, value)| (key, value.0)).collect();
        select(&data, from.items.as_deref(), optional, mode, payload)
    }

    fn downward(&self, from: &DownwardAPIProjection, mode: u32, payload: &mut Payload) -> Result<(), String> {
        for item in from.items.iter().flatten() {
            let text = if let Some(selector) = &item.field_ref {
                field(self.pod, &selector.field_path, self.addresses)?
            } else if let Some(selector) = &item.resource_field_ref {
                resource(self.pod, "", selector, self.node)?
            } else {
                String::new()
            };
            let mode = item.mode.and_then(|mode| u32::try_from(mode).ok()).unwrap_or(mode);
            payload.insert(PathBuf::from(&item.path), File { data: text.into_bytes(), mode });
        }
        Ok(())
    }

    async fn token(
        &self,
        from: &ServiceAccountTokenProjection,
        mode: u32,
        payload: &mut Payload,
    ) -> Result<(), String> {
        let seconds = from.expiration_seconds.unwrap_or(3600);
        let audience = from.audience.clone().filter(|audience| !audience.is_empty());
        let key = (audience.clone(), seconds);
        let now = jiff::Timestamp::now();
        let known = self.tokens.lock().get(&key).filter(|token| token.renew_at > now).map(|token| token.text.clone());
        let text = match known {
            Some(text) => text,
            None => {
                let token = self.objects.token(self.pod, audience.as_deref(), seconds).await?;
                let text = token.text.clone();
                self.tokens.lock().insert(key, token);
                text
            }
        };
        let mode = if self.has_fs_group() { 0o640 } else { mode };
        payload.insert(PathBuf::from(&from.path), File { data: text.into_bytes(), mode });
        Ok(())
    }

    fn has_fs_group(&self) -> bool {
        spec::pod_spec(self.pod).security_context.as_ref().is_some_and(|context| context.fs_group.is_some())
    }
}

fn missing(optional: bool, message: String) -> Result<(), String> {
    if optional { Ok(()) } else { Err(message) }
}

/// All keys, or those that are listed, at the paths that are listed.
fn select(
    data: &BTreeMap<String, Vec<u8>>,
    items: Option<&[KeyToPath]>,
    optional: bool,
    mode: u32,
    payload: &mut Payload,
) -> Result<(), String> {
    let Some(items) = items.filter(|items| !items.is_empty()) else {
        payload.extend(data.iter().map(|(key, data)| (PathBuf::from(key), File { data: data.clone(), mode })));
        return Ok(());
    };
    for item in items {
        match data.get(&item.key) {
            Some(data) => {
                let mode = item.mode.and_then(|mode| u32::try_from(mode).ok()).unwrap_or(mode);
                payload.insert(PathBuf::from(&item.path), File { data: data.clone(), mode });
            }
            None if optional => {}
            None => return Err(format!("references non-existent config key: {}", item.key)),
        }
    }
    Ok(())
}
