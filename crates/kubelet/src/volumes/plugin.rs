//! What kind of volume a volume is. The kinds made of API objects are all projections.

use std::path::PathBuf;

use k8s_openapi::api::core::v1::{
    ConfigMapProjection, DownwardAPIProjection, SecretProjection, ServiceAccountTokenProjection, Volume,
    VolumeProjection,
};

pub(super) enum Kind {
    EmptyDir,
    /// Path, and what has to be there.
    HostPath(PathBuf, Option<String>),
    /// Name of a claim, and whether it is the pod's own.
    Claim(String, bool),
    /// Mounted by the engine.
    Image,
    /// Files, and whether they are to be kept in memory.
    Payload(Vec<Source>, bool),
}

/// One source of files.
#[derive(Default)]
pub(super) struct Source {
    pub(super) config_map: Option<ConfigMapProjection>,
    pub(super) secret: Option<SecretProjection>,
    pub(super) downward: Option<DownwardAPIProjection>,
    pub(super) token: Option<ServiceAccountTokenProjection>,
    pub(super) default_mode: u32,
}

pub(super) fn folder(volume: &Volume) -> &'static str {
    if volume.config_map.is_some() {
        "kubernetes.io~configmap"
    } else if volume.secret.is_some() {
        "kubernetes.io~secret"
    } else if volume.projected.is_some() {
        "kubernetes.io~projected"
    } else if volume.downward_api.is_some() {
        "kubernetes.io~downward-api"
    } else {
        "kubernetes.io~empty-dir"
    }
}

pub(super) fn kind(pod: &str, volume: &Volume) -> Result<Kind, String> {
    if let Some((claim, own)) = client::volumes::claim_of(pod, volume) {
        return Ok(Kind::Claim(claim, own));
    }
    let volume = volume.clone();
    if volume.empty_dir.is_some() {
        return Ok(Kind::EmptyDir);
    }
    if let Some(source) = volume.host_path {
        return Ok(Kind::HostPath(PathBuf::from(source.path), source.type_));
    }
    if volume.image.is_some() {
        return Ok(Kind::Image);
    }
    let payload = |source: Source, in_memory| Ok(Kind::Payload(vec![source], in_memory));
    if let Some(source) = volume.config_map {
        let default_mode = mode(source.default_mode);
        let projection = ConfigMapProjection { name: source.name, items: source.items, optional: source.optional };
        return payload(Source { config_map: Some(projection), default_mode, ..Source::default() }, false);
    }
    if let Some(source) = volume.secret {
        let default_mode = mode(source.default_mode);
        let name = source.secret_name.unwrap_or_default();
        let projection = SecretProjection { name, items: source.items, optional: source.optional };
        return payload(Source { secret: Some(projection), default_mode, ..Source::default() }, true);
    }
    if let Some(source) = volume.downward_api {
        let default_mode = mode(source.default_mode);
        let projection = DownwardAPIProjection { items: source.items };
        return payload(Source { downward: Some(projection), default_mode, ..Source::default() }, false);
    }
    if let Some(source) = volume.projected {
        let default_mode = mode(source.default_mode);
        let sources = source.sources.unwrap_or_default().into_iter();
        let sources: Result<Vec<Source>, String> = sources.map(|from| projection(from, default_mode)).collect();
        return sources.map(|sources| Kind::Payload(sources, true));
    }
    Err("volumes of this kind are not supported yet".to_owned())
}

fn projection(from: VolumeProjection, default_mode: u32) -> Result<Source, String> {
    if from.cluster_trust_bundle.is_some() || from.pod_certificate.is_some() {
        return Err("clusterTrustBundle and podCertificate projections are not supported yet".to_owned());
    }
    Ok(Source {
        config_map: from.config_map,
        secret: from.secret,
        downward: from.downward_api,
        token: from.service_account_token,
        default_mode,
    })
}

fn mode(mode: Option<i32>) -> u32 {
    mode.and_then(|mode| u32::try_from(mode).ok()).unwrap_or(0o644)
}
